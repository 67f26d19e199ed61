/*
 * archive.c: messages, and the copies that accounts have of them. Called by batch.c, index.c,
 * spool.c and forget.c. Fails when the store does.
 *
 * Rows of message: archive id -> version, stamp, the stanza as the frame in which it came. Rows of
 * archive: account, archive id -> version, direction, the peer's account, the peer's hash.
 */
#include "archived.h"

#include "log.h"

#define COPY_SIZE (1 + 1 + 8 + PEER_HASH_SIZE)

int
message_add(uint64_t id, uint64_t stamp, struct slice frame)
{
	static struct buf value; /* keeps its memory: this is the hot path */
	char key[8];

	store_key_u64(key, id);
	buf_clear(&value);
	value_add_u8(&value, VALUE_VERSION);
	value_add_u64(&value, stamp);
	buf_add_slice(&value, frame);
	return store_append(state.store, TABLE_MESSAGE, slice_of(key, sizeof key),
	    buf_slice(&value));
}

int
message_get(uint64_t id, uint64_t *stamp, struct frame *f)
{
	struct value_reader r = { 0 };
	char key[8];
	int error;

	store_key_u64(key, id);
	error = store_get(state.store, TABLE_MESSAGE, slice_of(key, sizeof key), &r.rest);
	if (error)
		return error;
	if (value_u8(&r) != VALUE_VERSION)
		return E_MALFORMED;
	*stamp = value_u64(&r);
	return r.error ? r.error : frame_read(r.rest, f);
}

/* Tells whether an account has a place for a message in a table. */
static int
has_place(enum table table, uint64_t account, uint64_t id, bool *has)
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
	int error = has_place(TABLE_ARCHIVE, one, id, &has);

	if (error == OK)
		error = has_place(TABLE_ARCHIVE, other, id, &has);
	if (error == OK)
		error = has_place(TABLE_SPOOL, one, id, &has);
	if (error == OK)
		error = has_place(TABLE_SPOOL, other, id, &has);
	if (error || has)
		return error;
	store_key_u64(key, id);
	error = store_remove(state.store, TABLE_MESSAGE, slice_of(key, sizeof key));
	return error == E_NOT_FOUND ? OK : error;
}

int
archive_put(uint64_t account, uint64_t id, enum direction direction, uint64_t peer,
    const char peer_hash[PEER_HASH_SIZE])
{
	char key[PLACE_SIZE], value[COPY_SIZE];

	value[0] = VALUE_VERSION;
	value[1] = (char)direction;
	store_key_u64(value + 2, peer);
	memcpy(value + 10, peer_hash, PEER_HASH_SIZE);
	return store_put(state.store, TABLE_ARCHIVE, place_key(account, id, key),
	    slice_of(value, sizeof value));
}

/* Removes a copy whose row was read, and the message when that was the last. */
static int
copy_remove(uint64_t account, uint64_t id, struct slice value)
{
	struct value_reader r = { .rest = value };
	char key[PLACE_SIZE];
	uint64_t peer;
	int error;

	value_u8(&r);
	value_u8(&r);
	peer = value_u64(&r);
	error = store_remove(state.store, TABLE_ARCHIVE, place_key(account, id, key));
	return error ? error : message_release(id, account, peer);
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

int
archive_remove_some(uint64_t account, size_t count, bool *more)
{
	return places_remove_some(TABLE_ARCHIVE, account, count, copy_remove, more);
}
