/*
 * passed.c: which daemon was given which of an entry daemon's frames in custody, so that it alone
 * can acknowledge them: an acknowledgement by another one would have the origin forget what nobody
 * has taken.
 *
 * The frames of one origin come in the order of their numbers, so this is a queue: numbers are
 * added at its end and go, for the most part, at its front. Called by peer.c and route.c.
 */
#include "router.h"

#include <stdlib.h>

#include "mem.h"

#define PASSED_MAX (1u << 20) /* frames on their way of one origin */

struct passed {
	struct entry {
		uint64_t seq;
		enum role role; /* NONE: acknowledged */
	} *entries;
	size_t start, end, room;
};

struct passed *
passed_new(void)
{
	return mem_alloc(sizeof(struct passed));
}

void
passed_free(struct passed **passed)
{
	if (*passed == NULL)
		return;
	free((*passed)->entries);
	MEM_FREE(passed);
}

void
passed_clear(struct passed *passed)
{
	MEM_FREE(&passed->entries);
	passed->start = passed->end = passed->room = 0;
}

bool
passed_add(struct passed *passed, uint64_t seq, enum role role)
{
	size_t count = passed->end - passed->start;

	if (count == PASSED_MAX)
		return false;
	if (passed->end == passed->room && passed->start >= count) {
		if (count != 0)
			memcpy(passed->entries, passed->entries + passed->start,
			    count * sizeof *passed->entries);
		passed->start = 0;
		passed->end = count;
	}
	if (passed->end == passed->room) {
		passed->room = passed->room ? 2 * passed->room : 64;
		passed->entries = mem_grow(passed->entries, passed->room * sizeof *passed->entries);
	}
	passed->entries[passed->end++] = (struct entry){ seq, role };
	return true;
}

/* Where the first number is that is not below seq. */
static size_t
position(const struct passed *passed, uint64_t seq)
{
	size_t low = passed->start, high = passed->end;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (passed->entries[middle].seq < seq)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

/* Appends a number to a run of pairs first, last. */
static void
pairs_add(struct buf *pairs, uint64_t seq)
{
	uint64_t last;

	if (buf_len(pairs) != 0) {
		memcpy(&last, pairs->bytes + pairs->end - 8, 8);
		if (last + 1 == seq) {
			memcpy(pairs->bytes + pairs->end - 8, &seq, 8);
			return;
		}
	}
	buf_add_u64(pairs, seq);
	buf_add_u64(pairs, seq);
}

bool
passed_take(struct passed *passed, uint64_t first, uint64_t last, enum role role, struct buf *pairs)
{
	size_t at;
	bool own = true;

	for (at = position(passed, first); at < passed->end; at++) {
		struct entry *entry = &passed->entries[at];

		if (entry->seq > last)
			break;
		if (entry->role == role) {
			pairs_add(pairs, entry->seq);
			entry->role = ROLE_NONE;
		} else if (entry->role != ROLE_NONE) {
			own = false;
		}
	}
	while (passed->start < passed->end && passed->entries[passed->start].role == ROLE_NONE)
		passed->start++;
	if (passed->start == passed->end)
		passed->start = passed->end = 0;
	return own;
}
