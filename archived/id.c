/*
 * id.c: archive ids. Called by batch.c, archive.c and page.c; cannot fail.
 *
 * 42 bits of milliseconds since 2020, 6 bits of the node, 16 bits of a counter. Ids grow strictly,
 * also when the clock steps back and over a restart: then they count on from the last one, and when
 * the counter is full, into the next millisecond.
 */
#include "archived.h"

#define EPOCH        1577836800000ull /* 2020-01-01 in milliseconds since 1970 */
#define TIME_SHIFT   22
#define TIME_MAX     ((1ull << 42) - 1)
#define COUNTER_MASK 0xffffull

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
id_time(uint64_t id)
{
	return (id >> TIME_SHIFT) + EPOCH;
}

uint64_t
id_last(void)
{
	return last;
}
