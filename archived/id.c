/*
 * id.c: archive ids. Called by batch.c, archive.c and page.c; cannot fail.
 *
 * 42 bits of milliseconds since 2020, 6 bits of the node, 16 bits of a counter. Ids grow strictly,
 * also when the clock steps back and over a restart: then they count on from the last one, and when
 * the counter is full, into the next millisecond.
 *
 * Messages that are brought from elsewhere have ids by their stamps, with a node that no archived has. Those
 * from before 2020-01-02 share the ids of 2020-01-01 in their order: three of these for a millisecond of
 * theirs are enough to keep them apart.
 */
#include "archived.h"

#define EPOCH        1577836800000ull /* 2020-01-01 in milliseconds since 1970 */
#define TIME_SHIFT   22
#define TIME_MAX     ((1ull << 42) - 1)
#define COUNTER_MASK 0xffffull
#define NODE_BROUGHT (63ull << 16)
#define DENSE        3 /* ids for a millisecond before ID_DIRECT */

static uint64_t last;

void
id_begin(uint64_t id)
{
	if (id > last)
		last = id;
}

uint64_t
id_next(uint64_t now)
{
	uint64_t time = now > EPOCH ? now - EPOCH : 0;
	uint64_t id = (time < TIME_MAX ? time : TIME_MAX) << TIME_SHIFT;

	if (id <= last && (last & COUNTER_MASK) != COUNTER_MASK)
		id = last + 1;
	else if (id <= last)
		id = ((last >> TIME_SHIFT) + 1) << TIME_SHIFT;
	last = id;
	return id;
}

uint64_t
id_floor(uint64_t time)
{
	time = time > EPOCH ? time - EPOCH : 0;
	return (time < TIME_MAX ? time : TIME_MAX) << TIME_SHIFT;
}

uint64_t
id_brought(uint64_t stamp, uint64_t number)
{
	uint64_t place = stamp * DENSE + number;

	if (stamp >= ID_DIRECT)
		return id_floor(stamp) | NODE_BROUGHT | (number & COUNTER_MASK);
	return (place >> 16) << TIME_SHIFT | NODE_BROUGHT | (place & COUNTER_MASK);
}

uint64_t
id_time(uint64_t id)
{
	return (id >> TIME_SHIFT) + EPOCH;
}

uint64_t
id_last(void)
{
	return last;
}
