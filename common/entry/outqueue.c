/*
 * outqueue.c: a ring of what waits for a peer: stanzas to be written, and written ones that
 * nobody has taken responsibility for yet.
 *
 * Called by the daemon's sessions, which bound it. No input or output, no clock; cannot fail.
 */
#include "outqueue.h"

#include <stdlib.h>

#include "log.h"
#include "mem.h"

#define ROOM_MIN 4u

static size_t total;  /* items of all queues */
static size_t memory; /* bytes of all kept frames and rings */

size_t
outqueue_total(void)
{
	return total;
}

size_t
outqueue_memory(void)
{
	return memory;
}

struct kept *
kept_new(const struct frame *f)
{
	static struct buf bytes;
	struct frame copy = *f;
	struct kept *kept;

	copy.numbers = SLICE_NONE;
	buf_clear(&bytes);
	frame_write(&copy, &bytes); /* came as a frame, so it fits one */
	kept = mem_alloc(sizeof *kept + buf_len(&bytes));
	memory += sizeof *kept + buf_len(&bytes);
	kept->refs = 1;
	kept->len = (uint32_t)buf_len(&bytes);
	memcpy(kept->frame, buf_slice(&bytes).ptr, buf_len(&bytes));
	return kept;
}

struct kept *
kept_hold(struct kept *kept)
{
	kept->refs++;
	return kept;
}

void
kept_drop(struct kept **kept)
{
	if (*kept != NULL && --(*kept)->refs == 0) {
		memory -= sizeof **kept + (*kept)->len;
		free(*kept);
	}
	*kept = NULL;
}

/* The item at this place, counted from the front. */
static struct outqueue_item *
item_at(const struct outqueue *q, uint32_t i)
{
	return &q->items[(q->first + i) & (q->room - 1)];
}

/* Doubles the ring; its size is a power of two. */
static void
grow(struct outqueue *q)
{
	uint32_t room = q->room ? q->room * 2 : ROOM_MIN, i;
	struct outqueue_item *items = mem_array(room, sizeof *items);

	for (i = 0; i < q->count; i++)
		items[i] = *item_at(q, i);
	free(q->items);
	memory += (room - q->room) * sizeof *items;
	q->items = items;
	q->room = room;
	q->first = 0;
}

void
outqueue_add(struct outqueue *q, struct kept *kept, uint64_t archive_id, size_t bytes)
{
	struct outqueue_item *item;

	if (q->count == q->room)
		grow(q);
	item = item_at(q, q->count++);
	*item = (struct outqueue_item){ .kept = kept, .archive_id = archive_id,
		.bytes = (uint32_t)bytes };
	q->bytes += bytes;
	total++;
	if (archive_id == 0) {
		q->loose++;
		q->loose_bytes += bytes;
		q->loose_waiting += bytes;
	}
}

void
outqueue_copy(struct outqueue *q)
{
	item_at(q, q->count - 1)->copy = true;
}

void
outqueue_line(struct outqueue *q, size_t line)
{
	item_at(q, q->count - 1)->line = (uint32_t)line & 0x7fffffff;
}

bool
outqueue_own(struct outqueue *q, uint64_t archive_id)
{
	uint32_t i;

	for (i = 0; i < q->count; i++) {
		if (item_at(q, i)->archive_id != archive_id)
			continue;
		item_at(q, i)->copy = false;
		return true;
	}
	return false;
}

struct outqueue_item *
outqueue_next(struct outqueue *q)
{
	return q->written < q->count ? item_at(q, q->written) : NULL;
}

void
outqueue_wrote(struct outqueue *q, uint64_t mark)
{
	struct outqueue_item *item;

	ASSERT(q->written < q->count);
	item = item_at(q, q->written++);
	item->mark = mark;
	if (item->archive_id == 0)
		q->loose_waiting -= item->bytes;
}

void
outqueue_manage(struct outqueue *q)
{
	q->early = q->written;
}

/* Takes the front item off. */
static void
shift(struct outqueue *q, void (*done)(void *, const struct outqueue_item *), void *arg)
{
	struct outqueue_item item = *item_at(q, 0);

	q->first = (q->first + 1) & (q->room - 1);
	q->count--;
	total--;
	if (q->written > 0)
		q->written--;
	else if (item.archive_id == 0)
		q->loose_waiting -= item.bytes;
	if (q->early > 0)
		q->early--;
	q->bytes -= item.bytes;
	if (item.archive_id == 0) {
		q->loose--;
		q->loose_bytes -= item.bytes;
	}
	if (done != NULL)
		done(arg, &item);
	kept_drop(&item.kept);
}

/* Gives the memory of an empty ring back. */
static void
trim(struct outqueue *q)
{
	if (q->count != 0)
		return;
	memory -= q->room * sizeof *q->items;
	MEM_FREE(&q->items);
	q->first = q->room = 0;
}

void
outqueue_drop_early(struct outqueue *q)
{
	while (q->early > 0)
		shift(q, NULL, NULL);
	trim(q);
}

void
outqueue_rewind(struct outqueue *q)
{
	outqueue_drop_early(q);
	outqueue_restart(q);
}

void
outqueue_restart(struct outqueue *q)
{
	q->written = q->early = 0;
	q->loose_waiting = q->loose_bytes;
}

void
outqueue_taken(struct outqueue *q, uint64_t mark, bool managed,
    void (*done)(void *, const struct outqueue_item *), void *arg)
{
	if (q->count == 0)
		return;
	while ((managed ? q->early : q->written) > 0 && item_at(q, 0)->mark <= mark)
		shift(q, done, arg);
	trim(q);
}

uint32_t
outqueue_unacknowledged(const struct outqueue *q)
{
	return q->written - q->early;
}

void
outqueue_acknowledged(struct outqueue *q, uint32_t count,
    void (*done)(void *, const struct outqueue_item *), void *arg)
{
	if (count == 0)
		return;
	ASSERT(count <= outqueue_unacknowledged(q));
	while (q->early > 0)
		shift(q, done, arg);
	while (count-- > 0)
		shift(q, done, arg);
	trim(q);
}

void
outqueue_append(struct outqueue *q, struct outqueue *other)
{
	uint32_t i;

	for (i = 0; i < other->count; i++) {
		const struct outqueue_item *item = item_at(other, i);

		outqueue_add(q, item->kept != NULL ? kept_hold(item->kept) : NULL, item->archive_id,
		    item->bytes);
		item_at(q, q->count - 1)->copy = item->copy;
	}
	outqueue_clear(other, NULL, NULL);
}

void
outqueue_each(const struct outqueue *q, void (*each)(void *, const struct outqueue_item *),
    void *arg)
{
	uint32_t i;

	for (i = 0; i < q->count; i++)
		each(arg, item_at(q, i));
}

bool
outqueue_holds(const struct outqueue *q, uint64_t archive_id)
{
	uint32_t i;

	for (i = 0; i < q->count; i++) {
		if (item_at(q, i)->archive_id == archive_id)
			return true;
	}
	return false;
}

void
outqueue_clear(struct outqueue *q, void (*done)(void *, const struct outqueue_item *), void *arg)
{
	while (q->count > 0)
		shift(q, done, arg);
	trim(q);
}
