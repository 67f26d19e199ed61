/*
 * forget.c: the spool and archive of a deleted account, or room, are removed piece by piece. Called by
 * batch.c and main.c. Fails when the store does.
 *
 *   (FORGET) -> PENDING, in meta; the address has lost its number -> (steps) -> gone
 *
 * Both are one transaction, so nothing that was stored for the account is found any more from the
 * commit on, and a restart goes on with what is left.
 */
#include "archived.h"

#include <stdlib.h>

#include "counter.h"
#include "log.h"
#include "mem.h"

#define STEP 500 /* rows of one step */
#define NAME "forget:"
#define NAME_SIZE (sizeof NAME - 1 + 8)

static uint64_t *pending;
static size_t count, room;
static size_t settled; /* how many of them a transaction has committed */
static uint64_t done;  /* finished by the open transaction; 0: none */

static struct slice
name_of(uint64_t account, char out[NAME_SIZE])
{
	memcpy(out, NAME, sizeof NAME - 1);
	store_key_u64(out + sizeof NAME - 1, account);
	return slice_of(out, NAME_SIZE);
}

static void
pending_add(uint64_t account)
{
	if (count == room) {
		room = room != 0 ? room * 2 : 8;
		pending = mem_grow(pending, room * sizeof *pending);
	}
	pending[count++] = account;
}

static bool
row_load(void *arg, struct slice key, struct slice value)
{
	(void)arg;
	(void)value;
	if (key.len == NAME_SIZE)
		pending_add(store_key_read_u64(key.ptr + sizeof NAME - 1));
	return true;
}

int
forget_open(void)
{
	int error = store_walk(state.store, TABLE_META, SLICE(NAME), SLICE(NAME), row_load, NULL);

	settled = count;
	return error;
}

void
forget_close(void)
{
	MEM_FREE(&pending);
	count = room = settled = 0;
	done = 0;
}

static int
forget_begin(const struct account *account)
{
	static const char value[] = { VALUE_VERSION };
	char name[NAME_SIZE];

	pending_add(account->id);
	return store_put(state.store, TABLE_META, name_of(account->id, name),
	    slice_of(value, sizeof value));
}

void
forget_gauges(void)
{
	GAUGE(forgetting, count);
}

bool
forget_pending(void)
{
	return settled != 0;
}

int
forget_step(void)
{
	uint64_t account = pending[0];
	char name[NAME_SIZE];
	bool more = false;
	int error = spool_remove_some(account, STEP, &more);

	if (error == OK && !more)
		error = archive_remove_some(account, STEP, &more);
	if (error == OK && !more)
		error = usage_forget(account);
	if (error || more)
		return error;
	done = account;
	log_info("account forgotten", "number=%llu", (unsigned long long)account);
	return store_remove(state.store, TABLE_META, name_of(account, name));
}

void
forget_settle(bool committed)
{
	if (!committed) {
		count = settled;
	} else if (done != 0) {
		ASSERT(pending[0] == done);
		memmove(pending, pending + 1, --count * sizeof *pending);
	}
	settled = count;
	done = 0;
}

/* Removes an account's number, and with it all that is found by it. */
static int
account_forget(struct slice jid)
{
	struct account *account;
	int error = account_find(jid, &account);

	if (error)
		return error == E_NOT_FOUND ? OK : error;
	error = index_all();
	if (error == OK)
		error = forget_begin(account);
	if (error == OK)
		error = prefs_remove(account->id);
	return error ? error : account_remove(account);
}

/* A deletion that comes again must not hit the next account, or room, of that name. A room's is known by its token;
 * of authd's, which has one under way at a time, the last number is enough to tell. */
static int
forget_find(const struct frame *f, bool *before)
{
	uint64_t last;
	int error;

	if (f->token.len == ONCE_SIZE) {
		error = once_room_find(f, &last);
		*before = error == OK;
		return error == E_NOT_FOUND ? OK : error;
	}
	error = meta_get("forgotten", 0, &last);
	*before = f->number != 0 && f->number == last;
	return error;
}

int
forget_take(const struct frame *f)
{
	bool before;
	int error = forget_find(f, &before);

	if (error || before)
		return error;
	error = account_forget(f->jid);
	if (error)
		return error;
	return f->token.len == ONCE_SIZE ? once_room_add(f, id_last()) : meta_put("forgotten", f->number);
}
