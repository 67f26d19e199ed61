/*
 * custody.c: frames kept until they are acknowledged, watermarks, and gathered acknowledgements.
 * Called by every daemon that sends or takes frames in custody; cannot fail (mem.h).
 */
#include "custody.h"

#include <stdlib.h>

#include "frame.h"
#include "map.h"
#include "mem.h"

#define COMPACT_MIN 64   /* dead entries before the array is compacted */
#define PAIRS_MAX   8192 /* ranges in one acknowledgement */

/* -- the sender's side -- */

struct kept {
	uint64_t seq;
	char *bytes; /* NULL: acknowledged */
	size_t len;
	void *tag;
};

/* Entries are in the order of seq; numbers that were acknowledged long ago have no entry, so that
 * one frame that waits for a slow taker does not hold the place of all that came after it. */
struct custody {
	struct kept *kept;
	size_t start; /* entries before it are dead */
	size_t end;
	size_t room;
	size_t count; /* alive */
	size_t bytes;
	uint64_t next;
};

/* Frees a written frame. */
static void
kept_free(char *bytes, size_t len)
{
	if (bytes != NULL && frame_is_secret(slice_of(bytes, len)))
		explicit_bzero(bytes, len);
	free(bytes);
}

struct custody *
custody_new(void)
{
	struct custody *custody = mem_alloc(sizeof *custody);

	custody->next = 1;
	return custody;
}

void
custody_free(struct custody **custody)
{
	size_t i;

	if (*custody == NULL)
		return;
	for (i = (*custody)->start; i < (*custody)->end; i++)
		kept_free((*custody)->kept[i].bytes, (*custody)->kept[i].len);
	free((*custody)->kept);
	MEM_FREE(custody);
}

uint64_t
custody_next(const struct custody *custody)
{
	return custody->next;
}

void
custody_keep(struct custody *custody, struct slice frame, void *tag)
{
	if (custody->end == custody->room) {
		custody->room = custody->room != 0 ? custody->room * 2 : 16;
		custody->kept = mem_grow(custody->kept, custody->room * sizeof *custody->kept);
	}
	custody->kept[custody->end++] = (struct kept){
		custody->next++, mem_copy(frame.ptr, frame.len), frame.len, tag };
	custody->count++;
	custody->bytes += frame.len;
}

/* Finds the first entry whose number is at least seq. */
static size_t
kept_find(const struct custody *custody, uint64_t seq)
{
	size_t low = custody->start, high = custody->end;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (custody->kept[middle].seq < seq)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

/* Drops dead entries: those in front at once, all when they are most of the array. */
static void
kept_compact(struct custody *custody)
{
	size_t from, to = 0;

	while (custody->start < custody->end && custody->kept[custody->start].bytes == NULL)
		custody->start++;
	if (custody->end - custody->count < COMPACT_MIN ||
	    custody->end - custody->count < custody->count)
		return;
	for (from = custody->start; from < custody->end; from++) {
		if (custody->kept[from].bytes != NULL)
			custody->kept[to++] = custody->kept[from];
	}
	custody->start = 0;
	custody->end = to;
}

void
custody_ack(struct custody *custody, uint64_t first, uint64_t last,
    void (*taken)(void *arg, uint64_t seq, void *tag), void *arg)
{
	size_t end = custody->end, i;

	for (i = kept_find(custody, first); i < end && custody->kept[i].seq <= last; i++) {
		struct kept entry = custody->kept[i];

		if (entry.bytes == NULL)
			continue;
		custody->kept[i].bytes = NULL;
		custody->count--;
		custody->bytes -= entry.len;
		kept_free(entry.bytes, entry.len);
		if (taken != NULL)
			taken(arg, entry.seq, entry.tag);
	}
	kept_compact(custody);
}

void
custody_forget_tag(struct custody *custody, const void *tag)
{
	size_t i;

	for (i = custody->start; i < custody->end; i++) {
		if (custody->kept[i].tag == tag)
			custody->kept[i].tag = NULL;
	}
}

void
custody_resend(const struct custody *custody,
    void (*each)(void *arg, struct slice frame, void *tag), void *arg)
{
	size_t i;

	for (i = custody->start; i < custody->end; i++) {
		const struct kept *entry = &custody->kept[i];

		if (entry->bytes != NULL)
			each(arg, slice_of(entry->bytes, entry->len), entry->tag);
	}
}

size_t
custody_count(const struct custody *custody)
{
	return custody->count;
}

size_t
custody_bytes(const struct custody *custody)
{
	return custody->bytes;
}

/* -- the taker's side -- */

struct mark {
	uint32_t origin;
	uint64_t seq;
	uint64_t settled; /* what the transactions before this one have made durable */
	struct mark *next_moved;
	bool moved;
};

/*
 * A mark moves with watermark_take(), is told by watermarks_changed(), and is settled when the
 * next transaction begins: with the first watermark_take() or watermarks_changed() after that.
 */
struct watermarks {
	struct map *marks;
	struct mark *moved;
	bool told; /* those in moved were told */
};

struct watermarks *
watermarks_new(void)
{
	struct watermarks *marks = mem_alloc(sizeof *marks);

	marks->marks = map_new();
	return marks;
}

void
watermarks_free(struct watermarks **marks)
{
	struct mark *mark;
	size_t at = 0;

	if (*marks == NULL)
		return;
	while ((mark = map_each((*marks)->marks, &at)) != NULL)
		free(mark);
	map_free(&(*marks)->marks);
	MEM_FREE(marks);
}

static struct mark *
mark_find(const struct watermarks *marks, uint32_t origin)
{
	return map_get(marks->marks, slice_of(&origin, sizeof origin));
}

/* Finds or makes the mark of an origin. */
static struct mark *
mark_get(struct watermarks *marks, uint32_t origin)
{
	struct mark *mark = mark_find(marks, origin);

	if (mark == NULL) {
		mark = mem_alloc(sizeof *mark);
		mark->origin = origin;
		map_put(marks->marks, slice_of(&mark->origin, sizeof mark->origin), mark);
	}
	return mark;
}

/* Empties the list of moved marks, which end as settled or go back. */
static void
moved_end(struct watermarks *marks, bool settled)
{
	while (marks->moved != NULL) {
		struct mark *mark = marks->moved;

		marks->moved = mark->next_moved;
		mark->moved = false;
		if (settled)
			mark->settled = mark->seq;
		else
			mark->seq = mark->settled;
	}
	marks->told = false;
}

void
watermark_set(struct watermarks *marks, uint32_t origin, uint64_t seq)
{
	struct mark *mark = mark_get(marks, origin);

	mark->seq = mark->settled = seq;
}

bool
watermark_take(struct watermarks *marks, uint32_t origin, uint64_t seq)
{
	struct mark *mark = mark_get(marks, origin);

	if (marks->told)
		moved_end(marks, true);
	if (seq <= mark->seq)
		return false;
	mark->seq = seq;
	if (!mark->moved) {
		mark->moved = true;
		mark->next_moved = marks->moved;
		marks->moved = mark;
	}
	return true;
}

void
watermarks_changed(struct watermarks *marks,
    void (*changed)(void *arg, uint32_t origin, uint64_t seq), void *arg)
{
	const struct mark *mark;

	if (marks->told)
		moved_end(marks, true);
	for (mark = marks->moved; mark != NULL; mark = mark->next_moved)
		changed(arg, mark->origin, mark->seq);
	marks->told = true;
}

void
watermarks_revert(struct watermarks *marks)
{
	moved_end(marks, false);
}

void
watermark_forget(struct watermarks *marks, uint32_t origin)
{
	struct mark *mark = mark_find(marks, origin);
	struct mark **at;

	if (mark == NULL)
		return;
	for (at = &marks->moved; *at != NULL; at = &(*at)->next_moved) {
		if (*at == mark) {
			*at = mark->next_moved;
			break;
		}
	}
	map_remove(marks->marks, slice_of(&mark->origin, sizeof mark->origin));
	free(mark);
}

/* -- gathered acknowledgements -- */

struct range {
	uint64_t first, last;
};

struct gathered {
	uint32_t origin;
	struct range *ranges;
	size_t count, room;
};

/* Few origins come in one iteration; their ranges keep their memory for the next. */
struct acks {
	struct gathered *origins;
	size_t count, room;
	size_t last; /* the one added to last */
};

struct acks *
acks_new(void)
{
	return mem_alloc(sizeof(struct acks));
}

/* Forgets all origins and their memory. */
static void
acks_clear(struct acks *acks)
{
	size_t i;

	for (i = 0; i < acks->count; i++)
		free(acks->origins[i].ranges);
	MEM_FREE(&acks->origins);
	acks->count = acks->room = acks->last = 0;
}

void
acks_free(struct acks **acks)
{
	if (*acks == NULL)
		return;
	acks_clear(*acks);
	MEM_FREE(acks);
}

/* Finds or makes what is gathered for an origin. */
static struct gathered *
gathered_get(struct acks *acks, uint32_t origin)
{
	size_t i;

	if (acks->last < acks->count && acks->origins[acks->last].origin == origin)
		return &acks->origins[acks->last];
	for (i = 0; i < acks->count; i++) {
		if (acks->origins[i].origin == origin)
			break;
	}
	if (i == acks->count) {
		if (acks->count == acks->room) {
			acks->room = acks->room != 0 ? acks->room * 2 : 8;
			acks->origins = mem_grow(acks->origins,
			    acks->room * sizeof *acks->origins);
		}
		acks->origins[acks->count++] = (struct gathered){ .origin = origin };
	}
	acks->last = i;
	return &acks->origins[i];
}

void
acks_add(struct acks *acks, uint32_t origin, uint64_t seq)
{
	struct gathered *g = gathered_get(acks, origin);
	struct range *last = g->count != 0 ? &g->ranges[g->count - 1] : NULL;

	if (last != NULL && seq >= last->first && seq <= last->last)
		return;
	if (last != NULL && last->last != UINT64_MAX && seq == last->last + 1) {
		last->last = seq;
		return;
	}
	if (g->count == g->room) {
		g->room = g->room != 0 ? g->room * 2 : 8;
		g->ranges = mem_grow(g->ranges, g->room * sizeof *g->ranges);
	}
	g->ranges[g->count++] = (struct range){ seq, seq };
}

void
acks_flush(struct acks *acks, void (*send)(void *arg, uint32_t origin, struct slice pairs),
    void *arg)
{
	size_t i, at;

	for (i = 0; i < acks->count; i++) {
		struct gathered *g = &acks->origins[i];

		for (at = 0; at < g->count; at += PAIRS_MAX) {
			size_t n = g->count - at < PAIRS_MAX ? g->count - at : PAIRS_MAX;

			send(arg, g->origin, slice_of(&g->ranges[at], n * sizeof(struct range)));
		}
	}
	acks_clear(acks);
}
