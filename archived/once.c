/*
 * once.c: messages that come with an id of their own (their token), so that one which comes again, since who
 * sends it did not hear of our commit, is stored once. Called by batch.c and room.c. Fails when the store does.
 *
 * Rows of once, for messages of other servers (urn:x-aldis:once:0): day, hash of domain and id -> version. A
 * day's rows go together when they are old: no server sends again for so long.
 *
 * Rows of said, for messages of rooms: token -> version, archive id. A token is the name of mucd's store and a
 * number in it that grows, so these rows are written one behind the other on few pages: 33 bytes a message. They
 * go after as many days, but for the last numbers, which a mucd that was away for long sends again.
 */
#include "archived.h"

#include "counter.h"
#include "jid.h"

#define DAY       (24ull * 3600 * 1000)
#define DAYS_KEPT 8u
#define STEP      1000u /* rows removed in one transaction */
#define KEY_SIZE  40u
#define LAST_KEPT 65536u /* numbers of a store of mucd, however old */

static struct slice
key_of(uint64_t day, const char hash[32], char out[KEY_SIZE])
{
	store_key_u64(out, day);
	memcpy(out + 8, hash, 32);
	return slice_of(out, KEY_SIZE);
}

int
once_take(const struct frame *f, uint64_t now, bool *repeated)
{
	static const char value[] = { VALUE_VERSION };
	char hash[32], key[KEY_SIZE];
	struct buf text = { 0 };
	struct slice found;
	uint64_t day = now / DAY, back;
	struct jid from;
	int error;

	*repeated = false;
	jid_split(f->from, &from);
	buf_add_slice(&text, from.domain);
	buf_add_char(&text, '\0');
	buf_add_slice(&text, f->token);
	store_key_hash(hash, buf_slice(&text));
	buf_free(&text);
	for (back = 0; back < DAYS_KEPT; back++) {
		error = store_get(state.store, TABLE_ONCE, key_of(day - back, hash, key), &found);
		if (error == OK)
			*repeated = true;
		if (error != E_NOT_FOUND)
			return error;
	}
	return store_put(state.store, TABLE_ONCE, key_of(day, hash, key), slice_of(value, sizeof value));
}

/* What is to go. */
struct old {
	uint64_t before;
	unsigned left;
	bool more;
};

static bool
row_expire(void *arg, struct slice key, struct slice value)
{
	struct old *old = arg;
	char copy[KEY_SIZE];

	(void)value;
	if (key.len != KEY_SIZE || store_key_read_u64(key.ptr) >= old->before)
		return false;
	if (old->left-- == 0) {
		old->more = true;
		return false;
	}
	memcpy(copy, key.ptr, KEY_SIZE);
	store_remove(state.store, TABLE_ONCE, slice_of(copy, KEY_SIZE));
	return true;
}

int
once_expire(uint64_t now, bool *more)
{
	struct old old = { .before = now / DAY - (DAYS_KEPT - 1), .left = STEP };
	int error = store_walk(state.store, TABLE_ONCE, SLICE(""), SLICE(""), row_expire, &old);

	*more = old.more;
	return error;
}

/* -- messages of rooms -- */

int
once_room_find(const struct frame *f, uint64_t *id)
{
	struct value_reader r = { 0 };
	int error = store_get(state.store, TABLE_SAID, f->token, &r.rest);

	*id = 0;
	if (error)
		return error;
	value_u8(&r);
	*id = value_u64(&r);
	return r.error;
}

int
once_room_add(const struct frame *f, uint64_t id)
{
	static struct buf value; /* keeps its memory: this is the hot path */

	buf_clear(&value);
	value_add_u8(&value, VALUE_VERSION);
	value_add_u64(&value, id);
	return store_put(state.store, TABLE_SAID, f->token, buf_slice(&value));
}

static bool
take_id(void *arg, struct slice key, struct slice value)
{
	struct value_reader r = { .rest = value };
	uint64_t *id = arg;

	(void)key;
	value_u8(&r);
	*id = value_u64(&r);
	if (r.error)
		*id = UINT64_MAX;
	return false;
}

int
once_room_after(const struct frame *f, uint64_t *id)
{
	*id = UINT64_MAX;
	if (f->token.len != ONCE_SIZE)
		return OK;
	return store_walk(state.store, TABLE_SAID, f->token, slice_part(f->token, 0, 8), take_id, id);
}

/* What is to go of a store of mucd. */
struct said {
	uint64_t before; /* ids that are old */
	uint64_t last;   /* its last number */
	unsigned left;
	bool more;
	int error;
};

static bool
said_expire(void *arg, struct slice key, struct slice value)
{
	struct value_reader r = { .rest = value };
	struct said *said = arg;
	char copy[ONCE_SIZE];
	uint64_t id;

	value_u8(&r);
	id = value_u64(&r);
	if (key.len != sizeof copy || r.error || id >= said->before ||
	    store_key_read_u64(key.ptr + 8) + LAST_KEPT > said->last)
		return false;
	if (said->left == 0) {
		said->more = true;
		return false;
	}
	said->left--;
	memcpy(copy, key.ptr, sizeof copy);
	said->error = store_remove(state.store, TABLE_SAID, slice_of(copy, sizeof copy));
	return said->error == OK;
}

static bool
take_name(void *arg, struct slice key, struct slice value)
{
	(void)value;
	*(uint64_t *)arg = store_key_read_u64(key.ptr);
	return false;
}

/* Removes some rows of the first store of mucd that has a name of at least *name, which is then that one's.
 * Returns 0, E_NOT_FOUND when there is none, or of the store. */
static int
said_expire_store(struct said *said, uint64_t *name)
{
	uint64_t found = 0, wanted = *name;
	struct slice key, value, prefix;
	char from[8];
	int error;

	store_key_u64(from, wanted);
	error = store_walk(state.store, TABLE_SAID, slice_of(from, sizeof from), SLICE(""), take_name,
	    &found);
	if (error || found < wanted)
		return error ? error : E_NOT_FOUND;
	*name = found;
	store_key_u64(from, found);
	prefix = slice_of(from, sizeof from);
	error = store_last(state.store, TABLE_SAID, prefix, &key, &value);
	if (error)
		return error;
	said->last = store_key_read_u64(key.ptr + 8);
	error = store_walk(state.store, TABLE_SAID, prefix, prefix, said_expire, said);
	return error ? error : said->error;
}

/* There are few stores of mucd: another begins when one was lost. */
int
once_room_expire(uint64_t now, bool *more)
{
	struct said said = { .before = id_floor(now - DAYS_KEPT * DAY), .left = STEP };
	uint64_t name = 0;
	int error;

	do {
		error = said_expire_store(&said, &name);
	} while (error == OK && !said.more && name++ != UINT64_MAX);
	*more = said.more;
	return error == E_NOT_FOUND ? OK : error;
}
