/*
 * spool.c: messages that were accepted and have not reached their receivers. Called by batch.c,
 * forget.c and command.c. Fails when the store does.
 *
 *   (STORED) -> WAITING -> (DRAIN, or live) -> WAITING -> (DELIVERED, DROP) -> gone
 *
 * A message is on the spool from the commit that gave it its id until the commit of its DELIVERED;
 * that it was sent to its receiver changes nothing.
 *
 * Rows: account, archive id -> version, bits, the sender's account. How many wait for each account is
 * counted at the start and kept in memory.
 */
#include "archived.h"

#include <stdlib.h>

#include "counter.h"
#include "jid.h"
#include "log.h"
#include "map.h"
#include "mem.h"

#define ROW_SIZE (1 + 1 + 8)

struct waiting {
	uint64_t account;
	uint64_t count;
	bool remote;
};

/* What the open transaction has done to the counts. */
struct change {
	uint64_t account;
	int by;
	bool remote;
};

static struct map *waiting;
static uint64_t total;
static struct change *changes;
static size_t change_count, change_room;

/* -- counts -- */

/* Counts messages of an account in or out. */
static void
count(uint64_t account, int by, bool remote)
{
	struct waiting *w = map_get(waiting, slice_of(&account, sizeof account));

	if (w == NULL) {
		w = mem_alloc(sizeof *w);
		w->account = account;
		w->remote = remote;
		map_put(waiting, slice_of(&w->account, sizeof w->account), w);
	}
	ASSERT(by > 0 || w->count > 0);
	w->count += (uint64_t)(int64_t)by;
	total += (uint64_t)(int64_t)by;
	if (w->count == 0) {
		map_remove(waiting, slice_of(&w->account, sizeof w->account));
		free(w);
	}
}

/* Counts and remembers how to undo it. */
static void
change(uint64_t account, int by, bool remote)
{
	count(account, by, remote);
	if (change_count == change_room) {
		change_room = change_room != 0 ? change_room * 2 : 256;
		changes = mem_grow(changes, change_room * sizeof *changes);
	}
	changes[change_count++] = (struct change){ account, by, remote };
}

void
spool_settle(bool committed)
{
	while (!committed && change_count > 0) {
		change_count--;
		count(changes[change_count].account, -changes[change_count].by,
		    changes[change_count].remote);
	}
	change_count = 0;
}

uint64_t
spool_count(uint64_t account)
{
	const struct waiting *w = map_get(waiting, slice_of(&account, sizeof account));

	return w != NULL ? w->count : 0;
}

uint64_t
spool_total(void)
{
	return total;
}

void
spool_gauges(void)
{
	GAUGE(spool, total);
	GAUGE(spool_accounts, map_count(waiting));
}

void
spool_each(void (*each)(void *arg, uint64_t account, uint64_t count), void *arg)
{
	const struct waiting *w;
	size_t at = 0;

	while ((w = map_each(waiting, &at)) != NULL)
		each(arg, w->account, w->count);
}

void
spool_each_remote(void (*each)(void *arg, uint64_t account), void *arg)
{
	const struct waiting *w;
	size_t at = 0;

	while ((w = map_each(waiting, &at)) != NULL) {
		if (w->remote)
			each(arg, w->account);
	}
}

static bool
row_count(void *arg, struct slice key, struct slice value)
{
	(void)arg;
	count(store_key_read_u64(key.ptr), 1, value.len > 1 && (value.ptr[1] & SPOOL_REMOTE));
	return true;
}

int
spool_open(void)
{
	waiting = map_new();
	total = 0;
	return store_walk(state.store, TABLE_SPOOL, SLICE(""), SLICE(""), row_count, NULL);
}

void
spool_close(void)
{
	struct waiting *w;
	size_t at = 0;

	if (waiting == NULL)
		return;
	while ((w = map_each(waiting, &at)) != NULL)
		free(w);
	map_free(&waiting);
	MEM_FREE(&changes);
	change_count = change_room = 0;
}

/* -- rows -- */

struct slice
spool_owner(const struct frame *f)
{
	struct jid to;

	if (!(f->flags & FLAG_TO_REMOTE))
		return jid_bare_of(f->to);
	jid_split(f->to, &to);
	return to.domain;
}

int
spool_add(uint64_t account, uint64_t id, uint64_t sender, unsigned bits)
{
	char key[PLACE_SIZE], value[ROW_SIZE];
	int error;

	value[0] = VALUE_VERSION;
	value[1] = (char)bits;
	store_key_u64(value + 2, sender);
	error = store_put(state.store, TABLE_SPOOL, place_key(account, id, key),
	    slice_of(value, sizeof value));
	if (error == OK)
		change(account, 1, (bits & SPOOL_REMOTE) != 0);
	return error;
}

static bool
take_id(void *arg, struct slice key, struct slice value)
{
	uint64_t *id = arg;

	(void)value;
	*id = place_id(key);
	return false;
}

int
spool_first(uint64_t account, uint64_t *id)
{
	char key[PLACE_SIZE];
	struct slice prefix = slice_part(place_key(account, 0, key), 0, 8);
	int error;

	*id = 0;
	error = store_walk(state.store, TABLE_SPOOL, prefix, prefix, take_id, id);
	return error == OK && *id == 0 ? E_NOT_FOUND : error;
}

bool
spool_has(uint64_t account, uint64_t id)
{
	char key[PLACE_SIZE];
	struct slice value;

	return store_get(state.store, TABLE_SPOOL, place_key(account, id, key), &value) == OK;
}

int
spool_last(uint64_t account, uint64_t id)
{
	char key[PLACE_SIZE], copy[ROW_SIZE];
	struct slice value;
	int error = store_get(state.store, TABLE_SPOOL, place_key(account, id, key), &value);

	if (error || value.len != ROW_SIZE || !(value.ptr[1] & SPOOL_ARCHIVED))
		return error == E_NOT_FOUND ? OK : error;
	memcpy(copy, value.ptr, ROW_SIZE);
	copy[1] &= (char)~SPOOL_ARCHIVED;
	return store_put(state.store, TABLE_SPOOL, place_key(account, id, key),
	    slice_of(copy, ROW_SIZE));
}

/* Removes a row that was read. The message goes too when no copy is left: that is looked up when
 * the archive had none, or when check says that it may have lost it since. */
static int
row_remove(uint64_t account, uint64_t id, struct slice value, bool check)
{
	struct value_reader r = { .rest = value };
	char key[PLACE_SIZE];
	uint64_t sender;
	unsigned bits;
	int error;

	value_u8(&r);
	bits = value_u8(&r);
	sender = value_u64(&r);
	error = store_remove(state.store, TABLE_SPOOL, place_key(account, id, key));
	if (error)
		return error;
	change(account, -1, (bits & SPOOL_REMOTE) != 0);
	return (bits & SPOOL_ARCHIVED) && !check ? OK : message_release(id, account, sender);
}

int
spool_remove(uint64_t account, uint64_t id)
{
	char key[PLACE_SIZE];
	struct slice value;
	int error = store_get(state.store, TABLE_SPOOL, place_key(account, id, key), &value);

	if (error)
		return error == E_NOT_FOUND ? OK : error;
	return row_remove(account, id, value, false);
}

/* One of many: the archive's copies may be going as well. */
static int
row_remove_seen(uint64_t account, uint64_t id, struct slice value)
{
	return row_remove(account, id, value, true);
}

int
spool_remove_some(uint64_t account, size_t limit, bool *more)
{
	return places_remove_some(TABLE_SPOOL, account, limit, row_remove_seen, more);
}

/* -- draining -- */

/* A DRAIN on its way. */
struct drain {
	const struct frame *asked;
	struct buf *out;
	size_t before;   /* bytes in out before it */
	uint64_t account;
	uint64_t left;
	uint64_t last;   /* archive id looked at last */
	int error;
	bool more;
};

/* Whether a session has use for a message that is behind its level: what its account has sent it gets as a
 * copy only. */
static bool
is_wanted(const struct drain *drain, uint64_t id, const struct frame *f)
{
	return id <= drain->asked->stamp || (drain->asked->flags & FLAG_CARBONS) != 0 ||
	    slice_equal(jid_bare_of(f->to), drain->asked->jid);
}

/* Appends one message as it goes to a session. */
static int
drain_message(struct drain *drain, uint64_t id)
{
	struct frame f;
	uint64_t stamp;
	bool room;
	int error = message_get(id, &stamp, &f);

	if (error || !is_wanted(drain, id, &f))
		return error;
	f.type = FRAME_STANZA;
	f.audience = AUDIENCE_NONE;
	if (f.flags & FLAG_TO_SKIPS)
		f.flags |= FLAG_NO_PERMANENT;
	room = (f.flags & (FLAG_ROOM | FLAG_TO_REMOTE)) == (FLAG_ROOM | FLAG_TO_REMOTE);
	f.flags = (f.flags & FLAG_FROM_ENTRY) | FLAG_SPOOL | (room ? FLAG_ROOM | FLAG_TO_REMOTE : 0u);
	f.origin = 0;
	f.seq = 0;
	f.handle = drain->asked->handle;
	if (!room)
		f.numbers = f.text = SLICE_NONE;
	f.token = SLICE_NONE;
	f.archive_id = id;
	f.number = drain->account;
	f.stamp = stamp;
	return frame_write(&f, drain->out);
}

static bool
drain_id(void *arg, uint64_t id)
{
	struct drain *drain = arg;
	int error;

	if (drain->left == 0 || buf_len(drain->out) - drain->before >= DRAIN_BYTES) {
		drain->more = true;
		return false;
	}
	error = drain_message(drain, id);
	drain->last = id;
	if (error == OK) {
		drain->left--;
		return true;
	}
	/* A row that cannot be read must not hide those behind it. */
	log_error("message unreadable", "id=%016llx reason=\"%s\"", (unsigned long long)id,
	    error_text(error));
	if (error != E_NOT_FOUND && error != E_MALFORMED && error != E_TOO_BIG)
		drain->error = error;
	return drain->error == OK;
}

static bool
drain_row(void *arg, struct slice key, struct slice value)
{
	struct drain *drain = arg;

	(void)value;
	return place_id(key) <= drain->asked->stamp && drain_id(drain, place_id(key));
}

/* First what is on the spool up to the level, then what is in the archive behind that. */
static int
drain_walk(struct drain *drain, uint64_t after)
{
	struct range range = { .account = drain->account, .before = UINT64_MAX,
		.after = after > drain->asked->stamp ? after : drain->asked->stamp };
	char from[PLACE_SIZE];
	struct slice key = place_key(drain->account, after + 1, from);
	int error = OK;

	if (after < drain->asked->stamp)
		error = store_walk(state.store, TABLE_SPOOL, key, slice_part(key, 0, 8), drain_row, drain);
	if (error == OK && drain->error == OK && !drain->more && range.after < id_last())
		error = archive_walk(&range, drain_id, drain);
	return error ? error : drain->error;
}

int
spool_drain(const struct frame *f, struct buf *out)
{
	struct drain drain = { .asked = f, .out = out, .before = buf_len(out),
		.last = f->archive_id };
	struct frame end = { .type = FRAME_DRAINED, .handle = f->handle, .jid = f->jid };
	struct account *account;
	int error = account_find(f->jid, &account);

	if (error != OK && error != E_NOT_FOUND)
		return error;
	drain.account = account->id;
	drain.left = f->number != 0 && f->number < DRAIN_MESSAGES ? f->number : DRAIN_MESSAGES;
	if (error == OK && f->archive_id != UINT64_MAX)
		error = drain_walk(&drain, f->archive_id);
	if (error != OK && error != E_NOT_FOUND)
		return error;
	end.archive_id = drain.last;
	end.number = drain.account;
	end.flags = drain.more ? FLAG_MORE : 0;
	return frame_write(&end, out);
}
