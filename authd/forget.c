/*
 * forget.c: deleted accounts of which archived may still have messages. Called by account.c and
 * main.c. Fails when the store does.
 *
 *   (account_remove) -> WAITING -> (FORGET sent, one at a time) -> ASKED -> (FORGOTTEN) -> gone
 *
 * A row is written with the transaction that deletes the account, and removed when archived has
 * committed that the address has nothing any more; so it does not matter which of authd, the router and
 * archived is away or dies meanwhile. As long as there is a row no account of that name can be made,
 * or it would see what was the last one's. The next FORGET is sent after the answer to this one: then
 * archived can tell by the number of its last one whether it has done it.
 *
 * Row in meta: "forget:", hash of the bare JID -> version, u64 number, JID. Numbers have the time in
 * them, so that none is used again after an older copy of the store was put in place.
 */
#include "authd.h"
#include "counter.h"
#include "log.h"

#define NAME      "forget:"
#define NAME_SIZE (sizeof NAME - 1 + 32)
#define PER_MS    1000 /* numbers of a millisecond */

static uint64_t asked;  /* the number that archived was asked for; 0: none */
static uint64_t last;   /* number given out */
static size_t waiting;  /* rows */

static struct slice
name_of(struct slice bare, char out[NAME_SIZE])
{
	memcpy(out, NAME, sizeof NAME - 1);
	store_key_hash(out + sizeof NAME - 1, bare);
	return slice_of(out, NAME_SIZE);
}

static int
row_read(struct slice value, uint64_t *number, struct slice *bare)
{
	struct value_reader r = { value, OK };

	if (value_u8(&r) != VALUE_VERSION)
		return E_MALFORMED;
	*number = value_u64(&r);
	*bare = value_slice(&r);
	return r.error;
}

/* What the walk over the rows finds. */
struct head {
	uint64_t number;
	struct buf bare;
	size_t count;
};

static bool
row_first(void *arg, struct slice key, struct slice value)
{
	struct head *head = arg;
	struct slice bare;

	(void)key;
	if (row_read(value, &head->number, &bare) != OK)
		return true;
	buf_add_slice(&head->bare, bare);
	return false;
}

static bool
row_count(void *arg, struct slice key, struct slice value)
{
	(void)key;
	(void)value;
	(*(size_t *)arg)++;
	return true;
}

void
forget_open(void)
{
	asked = 0;
	waiting = 0;
	store_walk(state.store, TABLE_META, SLICE(NAME), SLICE(NAME), row_count, &waiting);
}

int
forget_add(struct slice bare, uint64_t now)
{
	struct buf value = { 0 };
	char name[NAME_SIZE];
	int error;

	last = last < now * PER_MS ? now * PER_MS : last + 1;
	value_add_u8(&value, VALUE_VERSION);
	value_add_u64(&value, last);
	value_add_slice(&value, bare);
	error = store_put(state.store, TABLE_META, name_of(bare, name), buf_slice(&value));
	buf_free(&value);
	waiting++;
	return error;
}

bool
forget_waits(struct slice bare)
{
	char name[NAME_SIZE];
	struct slice value;

	return waiting != 0 &&
	    store_get(state.store, TABLE_META, name_of(bare, name), &value) != E_NOT_FOUND;
}

bool
forget_pending(void)
{
	return waiting != 0;
}

void
forget_send(bool again)
{
	struct frame f = { .type = FRAME_FORGET };
	struct head head = { 0 };

	if (waiting == 0 || (asked != 0 && !again))
		return;
	store_walk(state.store, TABLE_META, SLICE(NAME), SLICE(NAME), row_first, &head);
	asked = head.number;
	if (head.number == 0)
		waiting = 0;
	f.jid = buf_slice(&head.bare);
	f.number = head.number;
	if (head.number != 0)
		out_send(&f);
	buf_free(&head.bare);
}

void
forget_done(const struct frame *f)
{
	char name[NAME_SIZE];
	struct slice value, bare;
	uint64_t number;

	if (f->number == 0 || f->number != asked ||
	    store_get(state.store, TABLE_META, name_of(f->jid, name), &value) != OK ||
	    row_read(value, &number, &bare) != OK || number != f->number)
		return; /* an answer to what was asked twice */
	store_remove(state.store, TABLE_META, name_of(f->jid, name));
	log_info("account forgotten", "account=%s", log_quote(f->jid));
	waiting -= waiting > 0;
	asked = 0;
	forget_send(false);
}

void
forget_gauges(void)
{
	GAUGE(forgetting, waiting);
}
