/*
 * index.c: copies on their way into the archive table. Called by batch.c, archive.c and state.c. Fails
 * when the store does.
 *
 * The archive table is ordered by account, so the copies of one batch would fall on as many pages
 * as there are accounts in it, and each page would be written for one row: that made a commit six
 * times as long. Copies are therefore gathered here, and go into the table sorted, many to a page,
 * a bounded number with each transaction. Nothing depends on memory: what a copy says follows from
 * the message, and at the start the gathered copies are made again from all messages after the one
 * that the number "indexed" in meta names.
 *
 *   (message committed) -> FRESH -> (enough of them) -> SORTED -> (written, piece by piece) -> gone
 *
 * Who wants to remove rows calls index_all() first; who looks for some asks index_find() as well.
 * Those of an account come in the order of their ids, so what is in the table is older than what is
 * here, but for copies that were made again at the start and had been written.
 */
#include "archived.h"

#include <stdlib.h>

#include "counter.h"
#include "mem.h"

#define PIECE   16    /* rows that go with a transaction, at least: more would make those behind it wait */
#define HURRY   512   /* the same while somebody waits for them */

struct copy {
	uint64_t account;
	uint64_t id;
	uint64_t peer;
	char peer_hash[PEER_HASH_SIZE];
	enum direction direction;
	uint32_t bytes; /* of the payload */
	bool again;     /* made again at the start: it may be in the table */
};

/* Copies: those before written are in the table, those after added came with the transaction at
 * hand; before it, written was settled. */
struct copies {
	struct copy *copy;
	size_t count, room;
	size_t written, settled;
	size_t added;
};

static struct copies fresh, sorted;
static uint64_t hurried; /* all up to this id are to be written soon; 0: none */
static bool loading;     /* at the start */

static void
fresh_add(const struct account *account, uint64_t id, enum direction direction,
    const struct account *peer, uint64_t peer_id, size_t bytes)
{
	struct copy *copy;

	if (fresh.count == fresh.room) {
		fresh.room = fresh.room != 0 ? fresh.room * 2 : 1024;
		fresh.copy = mem_grow(fresh.copy, fresh.room * sizeof *fresh.copy);
	}
	copy = &fresh.copy[fresh.count++];
	*copy = (struct copy){ .account = account->id, .id = id, .peer = peer_id,
		.direction = direction, .bytes = (uint32_t)bytes, .again = loading };
	memcpy(copy->peer_hash, peer->hash, PEER_HASH_SIZE);
}

void
index_add(const struct frame *f, uint64_t id, const struct account *from,
    const struct account *to)
{
	bool sends = f->flags & FLAG_FROM_LOCAL, receives = f->flags & FLAG_TO_LOCAL;
	bool from_skips = f->flags & FLAG_FROM_SKIPS, to_skips = f->flags & FLAG_TO_SKIPS;

	if (sends && receives && from == to) {
		if (!from_skips || !to_skips)
			fresh_add(from, id, DIRECTION_SELF, to, to->id, f->payload.len);
		return;
	}
	if (sends && !from_skips)
		fresh_add(from, id, DIRECTION_OUT, to, receives ? to->id : 0, f->payload.len);
	if (receives && !to_skips)
		fresh_add(to, id, DIRECTION_IN, from, sends ? from->id : 0, f->payload.len);
}

/* Where an account's copies begin among those that are sorted and not written. */
static size_t
sorted_position(uint64_t account)
{
	size_t low = sorted.written, high = sorted.count;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (sorted.copy[middle].account < account)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

/* Appends the id of a copy when it is one that is looked for. */
static void
copy_find(const struct copy *copy, const char *peer_hash, uint64_t above, struct buf *ids)
{
	if (copy->id > above &&
	    (peer_hash == NULL || memcmp(copy->peer_hash, peer_hash, PEER_HASH_SIZE) == 0))
		buf_add_u64(ids, copy->id);
}

/* Where those above an id begin among the fresh ones that are not written, which are in the order of ids. */
static size_t
fresh_position(uint64_t above)
{
	size_t low = fresh.written, high = fresh.count;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (fresh.copy[middle].id <= above)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

void
index_find(uint64_t account, const char *peer_hash, uint64_t above, struct buf *ids)
{
	size_t i;

	for (i = sorted_position(account); i < sorted.count && sorted.copy[i].account == account; i++)
		copy_find(&sorted.copy[i], peer_hash, above, ids);
	for (i = fresh_position(above); i < fresh.count; i++)
		if (fresh.copy[i].account == account)
			copy_find(&fresh.copy[i], peer_hash, above, ids);
}

/* New copies of an account, one behind the other. */
struct run {
	uint64_t account, messages, bytes, id;
};

/* Counts what was written of an account. */
static int
run_end(struct run *run)
{
	int error = run->messages != 0 ? usage_add(run->account, run->messages, run->bytes, run->id) : OK;

	*run = (struct run){ 0 };
	return error;
}

/* Puts a copy into the table; one that is there already is not counted twice. */
static int
copy_write(const struct copy *copy, struct run *run)
{
	int error = OK, found = copy->again ? archive_has_row(copy->account, copy->id) : E_NOT_FOUND;

	if (found != OK && found != E_NOT_FOUND)
		return found;
	if (run->account != copy->account)
		error = run_end(run);
	if (found == E_NOT_FOUND) {
		run->account = copy->account;
		run->id = copy->id;
		run->messages++;
		run->bytes += copy->bytes;
	}
	return error ? error : archive_put(copy->account, copy->id, copy->direction, copy->peer,
	    copy->peer_hash);
}

/* Puts at most limit of those that are not in the table into it. */
static int
copies_write(struct copies *copies, size_t limit)
{
	struct run run = { 0 };
	int error = OK;

	for (; error == OK && copies->written < copies->count && limit > 0; limit--) {
		error = copy_write(&copies->copy[copies->written], &run);
		copies->written += error == OK;
	}
	return error ? error : run_end(&run);
}

void
index_hurry(void)
{
	hurried = id_last();
}

bool
index_written(void)
{
	return sorted.written == sorted.count && (fresh.written == fresh.count ||
	    fresh.copy[fresh.written].id > hurried);
}

size_t
index_count(void)
{
	return fresh.count - fresh.written + sorted.count - sorted.written;
}

int
index_some(void)
{
	size_t before = sorted.written, limit = 2 * (fresh.count - fresh.added);
	size_t least = hurried != 0 ? HURRY : PIECE, i;
	uint64_t last = 0;
	int error = copies_write(&sorted, limit > least ? limit : least);

	if (error || before == sorted.written || sorted.written < sorted.count)
		return error;
	for (i = 0; i < sorted.count; i++) {
		if (sorted.copy[i].id > last)
			last = sorted.copy[i].id;
	}
	return meta_put("indexed", last);
}

int
index_all(void)
{
	int error;

	if (sorted.written == sorted.count && fresh.written == fresh.count)
		return OK;
	error = copies_write(&sorted, SIZE_MAX);
	if (error == OK)
		error = copies_write(&fresh, SIZE_MAX);
	return error ? error : meta_put("indexed", id_last());
}

static int
by_account(const void *one, const void *other)
{
	const struct copy *a = one, *b = other;

	if (a->account != b->account)
		return a->account < b->account ? -1 : 1;
	return a->id < b->id ? -1 : a->id > b->id;
}

/* Forgets what is in the table, and sorts the fresh ones when their turn has come. */
static void
copies_advance(void)
{
	if (fresh.written != 0) {
		fresh.count -= fresh.written;
		memmove(fresh.copy, fresh.copy + fresh.written, fresh.count * sizeof *fresh.copy);
		fresh.written = 0;
	}
	sorted.settled = sorted.written;
	if (hurried != 0 && index_written())
		hurried = 0;
	if (sorted.written == sorted.count && (fresh.count >= state.index_copies ||
	    (hurried != 0 && !index_written()))) {
		struct copies done = sorted;

		sorted = fresh;
		qsort(sorted.copy, sorted.count, sizeof *sorted.copy, by_account);
		sorted.settled = 0;
		fresh = (struct copies){ .copy = done.copy, .room = done.room };
	}
	fresh.added = fresh.count;
}

void
index_settle(bool committed)
{
	if (committed) {
		copies_advance();
		return;
	}
	sorted.written = sorted.settled;
	fresh.written = 0;
	fresh.count = fresh.added;
}

void
index_gauges(void)
{
	GAUGE(index_copies, index_count());
}

/* -- making them again -- */

static bool
message_load(void *arg, struct slice key, struct slice value)
{
	uint64_t id = store_key_read_u64(key.ptr), stamp;
	struct account *from, *to;
	int *error = arg;
	struct frame f;

	(void)value;
	if (message_get(id, &stamp, &f) != OK || !message_is_archived(&f))
		return true;
	*error = account_sides(&f, &from, &to);
	if (*error == OK)
		index_add(&f, id, from, to);
	return *error == OK;
}

int
index_open(void)
{
	uint64_t indexed;
	char from[8];
	int error = meta_get("indexed", 0, &indexed), each = OK;

	if (error)
		return error;
	store_key_u64(from, indexed + 1);
	loading = true;
	error = store_walk(state.store, TABLE_MESSAGE, slice_of(from, sizeof from), SLICE(""),
	    message_load, &each);
	loading = false;
	hurried = 0;
	fresh.added = fresh.count;
	return error ? error : each;
}

void
index_close(void)
{
	MEM_FREE(&fresh.copy);
	MEM_FREE(&sorted.copy);
	fresh = sorted = (struct copies){ 0 };
}
