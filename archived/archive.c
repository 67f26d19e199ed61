/*
 * archive.c: messages, and the copies that accounts have of them. Called by batch.c, index.c,
 * spool.c, forget.c and page.c. Fails when the store does.
 *
 * Rows of message: archive id -> version, stamp, the stanza as the frame in which it came. Rows of
 * archive: account, archive id -> version, direction, the peer's account, the peer's hash. Rows of
 * peer: account, the peer's hash, archive id -> version; they come and go with those of archive.
 *
 * Ids have the time of the commit, stamps that at which the router took the message. What lies
 * between them at most is kept in meta, so that a search by time knows which ids to look at.
 */
#include "archived.h"

#include "log.h"

#define COPY_SIZE    (1 + 1 + 8 + PEER_HASH_SIZE)
#define PEER_SIZE    (8 + PEER_KEY + 8)
#define PEER_KEY     8     /* bytes of a peer's hash in a key: who reads the message sees the rest */
#define SKEW_INITIAL 1000  /* milliseconds; each doubles when it must */

static struct skew skew, saved_skew;

int
archive_open(void)
{
	int error = meta_get("stamps-before", SKEW_INITIAL, &skew.before);

	if (error == OK)
		error = meta_get("stamps-after", SKEW_INITIAL, &skew.after);
	saved_skew = skew;
	return error;
}

const struct skew *
archive_skew(void)
{
	return &skew;
}

int
archive_save(void)
{
	int error = OK;

	if (skew.before != saved_skew.before)
		error = meta_put("stamps-before", skew.before);
	if (error == OK && skew.after != saved_skew.after)
		error = meta_put("stamps-after", skew.after);
	return error;
}

void
archive_settle(bool committed)
{
	if (committed)
		saved_skew = skew;
	else
		skew = saved_skew;
}

/* Notes the stamp of a message; the bounds grow by doubling, so that they are seldom written. */
static void
skew_note(uint64_t id, uint64_t stamp)
{
	uint64_t time = id_time(id);

	if (stamp < ID_DIRECT)
		return; /* was brought, with an id below all others */
	while (stamp + skew.before < time)
		skew.before *= 2;
	while (time + skew.after < stamp && skew.after < UINT64_MAX / 4)
		skew.after *= 2;
}

int
message_add(uint64_t id, uint64_t stamp, struct slice frame)
{
	static struct buf value; /* keeps its memory: this is the hot path */
	char key[8];

	skew_note(id, stamp);
	store_key_u64(key, id);
	buf_clear(&value);
	value_add_u8(&value, VALUE_VERSION);
	value_add_u64(&value, stamp);
	buf_add_slice(&value, frame);
	return store_append(state.store, TABLE_MESSAGE, slice_of(key, sizeof key),
	    buf_slice(&value));
}

int
message_read(struct slice value, uint64_t *stamp, struct frame *f)
{
	struct value_reader r = { .rest = value };

	if (value_u8(&r) != VALUE_VERSION)
		return E_MALFORMED;
	*stamp = value_u64(&r);
	return r.error ? r.error : frame_read(r.rest, f);
}

int
message_get(uint64_t id, uint64_t *stamp, struct frame *f)
{
	struct slice value;
	char key[8];
	int error;

	store_key_u64(key, id);
	error = store_get(state.store, TABLE_MESSAGE, slice_of(key, sizeof key), &value);
	return error ? error : message_read(value, stamp, f);
}

/* Keeps a message that goes until the index of words has forgotten it too. */
static int
message_keep_removed(uint64_t id)
{
	struct buf copy = { 0 };
	struct slice value;
	uint64_t stamp;
	struct frame f;
	char key[8];
	int error;

	if (!search_may_have(id))
		return OK;
	store_key_u64(key, id);
	/* Of one that was replaced the index has what it was before. */
	error = store_get(state.store, TABLE_REMOVED, slice_of(key, sizeof key), &value);
	if (error != E_NOT_FOUND)
		return error;
	error = store_get(state.store, TABLE_MESSAGE, slice_of(key, sizeof key), &value);
	if (error || message_read(value, &stamp, &f) != OK || !message_is_archived(&f))
		return error == E_NOT_FOUND ? OK : error;
	buf_add_slice(&copy, value);
	error = store_put(state.store, TABLE_REMOVED, slice_of(key, sizeof key), buf_slice(&copy));
	buf_free(&copy);
	search_removed();
	return error;
}

int
message_replace(uint64_t id, uint64_t stamp, struct slice frame)
{
	struct buf value = { 0 };
	struct slice old;
	char key[8];
	int error = message_keep_removed(id);

	store_key_u64(key, id);
	if (error == OK)
		error = store_get(state.store, TABLE_MESSAGE, slice_of(key, sizeof key), &old);
	if (error)
		return error;
	/* Bytes of the same number are written over those in their page, where else some would be left. */
	memset(buf_reserve(&value, old.len), 0, old.len);
	buf_added(&value, old.len);
	error = store_put(state.store, TABLE_MESSAGE, slice_of(key, sizeof key), buf_slice(&value));
	buf_clear(&value);
	value_add_u8(&value, VALUE_VERSION);
	value_add_u64(&value, stamp);
	buf_add_slice(&value, frame);
	if (error == OK)
		error = store_put(state.store, TABLE_MESSAGE, slice_of(key, sizeof key), buf_slice(&value));
	buf_free(&value);
	return error;
}

/* account 0 has none; *has stays when it was set. */
int
place_has(enum table table, uint64_t account, uint64_t id, bool *has)
{
	char key[PLACE_SIZE];
	struct slice value;
	int error;

	if (account == 0 || *has)
		return OK;
	error = store_get(state.store, table, place_key(account, id, key), &value);
	*has = error == OK;
	return error == E_NOT_FOUND ? OK : error;
}

int
message_release(uint64_t id, uint64_t one, uint64_t other)
{
	bool has = false;
	char key[8];
	int error = place_has(TABLE_ARCHIVE, one, id, &has);

	if (error == OK)
		error = place_has(TABLE_ARCHIVE, other, id, &has);
	if (error == OK)
		error = place_has(TABLE_SPOOL, one, id, &has);
	if (error == OK)
		error = place_has(TABLE_SPOOL, other, id, &has);
	if (error == OK && !has)
		error = message_keep_removed(id);
	if (error || has)
		return error;
	store_key_u64(key, id);
	error = store_remove(state.store, TABLE_MESSAGE, slice_of(key, sizeof key));
	scrub_removed();
	return error == E_NOT_FOUND ? OK : error;
}

static struct slice
peer_key(uint64_t account, const char *peer_hash, uint64_t id, char out[PEER_SIZE])
{
	store_key_u64(out, account);
	memcpy(out + 8, peer_hash, PEER_KEY);
	store_key_u64(out + 8 + PEER_KEY, id);
	return slice_of(out, PEER_SIZE);
}

/* A copy enters an archive. */
int
archive_put(uint64_t account, uint64_t id, enum direction direction, uint64_t peer,
    const char peer_hash[PEER_HASH_SIZE])
{
	char key[PEER_SIZE], value[COPY_SIZE];
	int error;

	value[0] = VALUE_VERSION;
	value[1] = (char)direction;
	store_key_u64(value + 2, peer);
	memcpy(value + 10, peer_hash, PEER_HASH_SIZE);
	error = store_put(state.store, TABLE_ARCHIVE, place_key(account, id, key),
	    slice_of(value, sizeof value));
	if (error)
		return error;
	return store_put(state.store, TABLE_PEER, peer_key(account, peer_hash, id, key),
	    slice_of(value, 1));
}

static bool
take_id(void *arg, struct slice key, struct slice value)
{
	(void)value;
	*(uint64_t *)arg = place_id(key);
	return false;
}

/* Bytes of a message, as usage.c counts them. */
static uint64_t
message_size(uint64_t id)
{
	uint64_t stamp;
	struct frame f;

	return message_get(id, &stamp, &f) == OK ? f.payload.len : 0;
}

/* A copy leaves an archive, for whatever reason: the one place where that happens. Its row was read; the
 * message goes when that was the last. */
static int
copy_remove(uint64_t account, uint64_t id, struct slice value)
{
	struct value_reader r = { .rest = value };
	char key[PEER_SIZE], hash[PEER_HASH_SIZE] = { 0 };
	uint64_t peer, bytes = message_size(id);
	int error;

	value_u8(&r);
	value_u8(&r);
	peer = value_u64(&r);
	if (r.rest.len == sizeof hash)
		memcpy(hash, r.rest.ptr, sizeof hash);
	error = store_remove(state.store, TABLE_PEER, peer_key(account, hash, id, key));
	if (error == OK || error == E_NOT_FOUND)
		error = store_remove(state.store, TABLE_ARCHIVE, place_key(account, id, key));
	if (error == OK)
		error = usage_remove(account, bytes);
	if (error == OK)
		error = spool_last(account, id);
	if (error == OK && peer != 0 && peer != account)
		error = spool_last(peer, id);
	return error ? error : message_release(id, account, peer);
}

int
archive_has_row(uint64_t account, uint64_t id)
{
	char key[PLACE_SIZE];
	struct slice value;

	return store_get(state.store, TABLE_ARCHIVE, place_key(account, id, key), &value);
}

uint64_t
archive_first(uint64_t account)
{
	char room[PLACE_SIZE];
	struct slice key = slice_part(place_key(account, 0, room), 0, 8);
	uint64_t id = UINT64_MAX;

	return store_walk(state.store, TABLE_ARCHIVE, key, key, take_id, &id) == OK ? id : UINT64_MAX;
}

int
archive_remove(uint64_t account, uint64_t id)
{
	char key[PLACE_SIZE];
	struct slice value;
	int error = store_get(state.store, TABLE_ARCHIVE, place_key(account, id, key), &value);

	if (error)
		return error == E_NOT_FOUND ? OK : error;
	return copy_remove(account, id, value);
}

/* A removal of an account's oldest copies. */
struct oldest {
	uint64_t account, before, excess, freed;
	size_t left, removed;
	int error;
};

static bool
oldest_step(void *arg, struct slice key, struct slice value)
{
	struct oldest *oldest = arg;
	uint64_t id = place_id(key);

	if (oldest->left == 0 || (id >= oldest->before && oldest->freed >= oldest->excess))
		return false;
	oldest->left--;
	oldest->freed += message_size(id);
	oldest->error = copy_remove(oldest->account, id, value);
	oldest->removed += oldest->error == OK;
	return oldest->error == OK;
}

int
archive_remove_oldest(uint64_t account, uint64_t before, uint64_t excess, size_t limit, size_t *removed)
{
	struct oldest oldest = { .account = account, .before = before, .excess = excess, .left = limit };
	char room[PLACE_SIZE];
	struct slice key = slice_part(place_key(account, 0, room), 0, 8);
	int error = store_walk(state.store, TABLE_ARCHIVE, key, key, oldest_step, &oldest);

	*removed = oldest.removed;
	return error ? error : oldest.error;
}

int
archive_remove_some(uint64_t account, size_t count, bool *more)
{
	return places_remove_some(TABLE_ARCHIVE, account, count, copy_remove, more);
}

/* -- looking for copies -- */

/* A walk over a table; ids are the last eight bytes of its keys. */
struct walk {
	const struct range *range;
	bool (*each)(void *arg, uint64_t id);
	void *arg;
	bool stopped;
};

static bool
walk_id(struct walk *walk, uint64_t id)
{
	if (id <= walk->range->after || id >= walk->range->before)
		walk->stopped = true;
	else
		walk->stopped = !walk->each(walk->arg, id);
	return !walk->stopped;
}

static bool
walk_row(void *arg, struct slice key, struct slice value)
{
	(void)value;
	return walk_id(arg, store_key_read_u64(key.ptr + key.len - 8));
}

static int
walk_table(struct walk *walk)
{
	const struct range *range = walk->range;
	uint64_t from = range->backward ? range->before : range->after + 1;
	bool all = range->peer_hash == NULL;
	enum table table = all ? TABLE_ARCHIVE : TABLE_PEER;
	char room[PEER_SIZE];
	struct slice key = all ? place_key(range->account, from, room) :
	    peer_key(range->account, range->peer_hash, from, room);
	struct slice prefix = slice_part(key, 0, key.len - 8);

	return range->backward ? store_walk_back(state.store, table, key, prefix, walk_row, walk) :
	    store_walk(state.store, table, key, prefix, walk_row, walk);
}

/* The last id of an account in the table, 0: none. */
static int
table_last(uint64_t account, uint64_t *id)
{
	char room[PLACE_SIZE];
	struct slice key, value;
	int error = store_last(state.store, TABLE_ARCHIVE,
	    slice_part(place_key(account, 0, room), 0, 8), &key, &value);

	*id = error == OK ? place_id(key) : 0;
	return error == E_NOT_FOUND ? OK : error;
}

/* Walks over copies that are not in the table. */
static void
walk_memory(struct walk *walk, const struct buf *ids)
{
	size_t count = buf_len(ids) / 8, i;

	for (i = 0; i < count && !walk->stopped; i++) {
		size_t at = walk->range->backward ? count - 1 - i : i;
		uint64_t id;

		memcpy(&id, buf_slice(ids).ptr + 8 * at, 8);
		if (id > walk->range->after && id < walk->range->before)
			walk_id(walk, id);
	}
}

int
archive_walk(const struct range *range, bool (*each)(void *arg, uint64_t id), void *arg)
{
	static struct buf ids; /* keeps its memory */
	struct walk walk = { .range = range, .each = each, .arg = arg };
	uint64_t last;
	int error;

	if (range->before == 0 || range->after >= range->before - 1)
		return OK;
	if (!range->backward)
		error = walk_table(&walk);
	else
		error = OK;
	if (error || walk.stopped)
		return error;
	error = table_last(range->account, &last);
	if (error)
		return error;
	buf_clear(&ids);
	index_find(range->account, range->peer_hash,
	    last > range->after ? last : range->after, &ids);
	walk_memory(&walk, &ids);
	return range->backward && !walk.stopped ? walk_table(&walk) : OK;
}

bool
ids_have(const struct buf *ids, uint64_t id)
{
	size_t low = 0, high = buf_len(ids) / 8;
	uint64_t found;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		memcpy(&found, buf_slice(ids).ptr + 8 * middle, 8);
		if (found == id)
			return true;
		if (found < id)
			low = middle + 1;
		else
			high = middle;
	}
	return false;
}

int
archive_has(uint64_t account, const uint64_t *ids, size_t count)
{
	struct buf copies = { 0 };
	char key[PLACE_SIZE];
	struct slice value;
	int error = OK;
	size_t i;

	for (i = 0; i < count && error == OK; i++) {
		error = store_get(state.store, TABLE_ARCHIVE, place_key(account, ids[i], key), &value);
		if (error != E_NOT_FOUND)
			continue;
		if (buf_len(&copies) == 0)
			index_find(account, NULL, 0, &copies);
		if (ids_have(&copies, ids[i]))
			error = OK;
	}
	buf_free(&copies);
	return error;
}
