/*
 * state.c: the store, and the begin and end of each transaction. Called by main.c and batch.c.
 * Fails when the store does.
 */
#include "archived.h"

#include "counter.h"
#include "log.h"

#define INDEX_COPIES 32768

struct state state = { .index_copies = INDEX_COPIES, .page_messages = 50 };

const char *const state_tables[] = {
	[TABLE_MESSAGE] = "message",
	[TABLE_ACCOUNT] = "account",
	[TABLE_ARCHIVE] = "archive",
	[TABLE_SPOOL] = "spool",
	[TABLE_WATERMARK] = "watermark",
	[TABLE_META] = "meta",
	[TABLE_PEER] = "peer",
	[TABLE_REMOVED] = "removed",
	[TABLE_PREFS] = "prefs",
	[TABLE_ASKED] = "asked",
	[TABLE_USAGE] = "usage",
	[TABLE_ONCE] = "once",
	[TABLE_SAID] = "said",
	[TABLE_COUNT] = NULL,
};

/* Begins the ids above all that were given out; those of messages that are gone are in meta. */
static int
ids_load(void)
{
	struct slice key, value;
	uint64_t last;
	int error = meta_get("last-id", 0, &last);

	if (error)
		return error;
	id_begin(last);
	error = store_last(state.store, TABLE_MESSAGE, SLICE(""), &key, &value);
	if (error == OK)
		id_begin(store_key_read_u64(key.ptr));
	return error == E_NOT_FOUND ? OK : error;
}

int
state_open(const char *directory, uint64_t size, uint64_t spool_messages, uint64_t now)
{
	int error = store_open(directory, state_tables, size, &state.store);

	state.spool_messages = spool_messages;
	if (error == OK)
		error = ids_load();
	if (error == OK)
		error = account_open();
	if (error == OK)
		error = archive_open();
	if (error == OK)
		error = spool_open();
	if (error == OK)
		error = forget_open();
	if (error == OK)
		error = index_open();
	if (error == OK)
		error = batch_open(now);
	if (error)
		log_error("store not loaded", "reason=\"%s\"", error_text(error));
	return error;
}

void
state_close(void)
{
	undeliverable_close();
	mam_close();
	batch_close();
	index_close();
	forget_close();
	spool_close();
	account_close();
	store_close(&state.store);
}

/* Tells the files that keep store contents in memory how the transaction ended. */
static void
settle(bool committed)
{
	account_settle(committed);
	archive_settle(committed);
	spool_settle(committed);
	forget_settle(committed);
	mam_settle(committed);
	index_settle(committed);
}

int
state_commit(void)
{
	static uint64_t saved_id;
	int error = account_save();

	if (error == OK)
		error = archive_save();
	if (error == OK && id_last() != saved_id)
		error = meta_put("last-id", id_last());
	if (error == OK)
		error = store_commit(state.store);
	else
		store_abort(state.store);
	if (error == OK) {
		saved_id = id_last();
		search_committed(saved_id);
		COUNT(commits);
	}
	settle(error == OK);
	return error;
}

void
state_abort(void)
{
	store_abort(state.store);
	settle(false);
}

struct slice
place_key(uint64_t account, uint64_t id, char out[PLACE_SIZE])
{
	store_key_u64(out, account);
	store_key_u64(out + 8, id);
	return slice_of(out, PLACE_SIZE);
}

uint64_t
place_id(struct slice key)
{
	return key.len == PLACE_SIZE ? store_key_read_u64(key.ptr + 8) : 0;
}

/* A removal of many rows of an account on its way. */
struct removal {
	place_remove *remove;
	uint64_t account;
	size_t left;
	int error;
	bool more;
};

static bool
removal_step(void *arg, struct slice key, struct slice value)
{
	struct removal *removal = arg;

	if (removal->left == 0) {
		removal->more = true;
		return false;
	}
	removal->left--;
	removal->error = removal->remove(removal->account, place_id(key), value);
	return removal->error == OK;
}

int
places_remove_some(enum table table, uint64_t account, size_t limit, place_remove *remove,
    bool *more)
{
	struct removal removal = { .remove = remove, .account = account, .left = limit };
	char key[PLACE_SIZE];
	struct slice prefix = slice_part(place_key(account, 0, key), 0, 8);
	int error = store_walk(state.store, table, prefix, prefix, removal_step, &removal);

	*more = removal.more;
	return error ? error : removal.error;
}

int
meta_get(const char *name, uint64_t fallback, uint64_t *number)
{
	struct value_reader r = { 0 };
	int error = store_get(state.store, TABLE_META, slice_string(name), &r.rest);

	*number = fallback;
	if (error)
		return error == E_NOT_FOUND ? OK : error;
	if (value_u8(&r) != VALUE_VERSION)
		return E_MALFORMED;
	*number = value_u64(&r);
	return r.error;
}

int
meta_put(const char *name, uint64_t number)
{
	char value[9] = { VALUE_VERSION };

	store_key_u64(value + 1, number);
	return store_put(state.store, TABLE_META, slice_string(name),
	    slice_of(value, sizeof value));
}
