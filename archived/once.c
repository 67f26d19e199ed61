/*
 * once.c: messages of other servers that have an id of their own there (urn:x-aldis:once:0), so that one
 * which its server sends again, since it did not hear of our commit, is stored once. Called by batch.c and
 * main.c. Fails when the store does.
 *
 * Rows: day, hash of domain and id -> version. A day's rows go together when they are old: no server sends
 * again for so long.
 */
#include "archived.h"

#include "counter.h"
#include "jid.h"

#define DAY       (24ull * 3600 * 1000)
#define DAYS_KEPT 8u
#define STEP      1000u /* rows removed in one transaction */
#define KEY_SIZE  40u

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
