/*
 * rate.c: how fast the stanzas of a domain come. Called by traffic.c; cannot fail.
 *
 * Each stanza has its time: a second divided by how many may come in one. Whoever is ahead of the clock by more
 * than the burst waits until it is not.
 */
#include "rate.h"

/* Adds a time to what was used so far. Returns how far that is beyond the burst, in microseconds. */
static uint64_t
use(uint64_t *used, uint64_t cost, uint64_t now)
{
	uint64_t most = now + 2 * (uint64_t)RATE_BURST * 1000; /* nobody pays for longer than that */

	if (*used < now)
		*used = now;
	*used = cost < most - *used ? *used + cost : most;
	return *used > now + RATE_BURST * 1000 ? *used - now - RATE_BURST * 1000 : 0;
}

uint64_t
rate_take(struct rate *rate, uint64_t stanzas, uint64_t bytes, size_t len, uint64_t now)
{
	uint64_t micro = now * 1000, rest = 0, more = 0;

	if (stanzas != 0)
		rest = use(&rate->stanzas, 1000000 / stanzas, micro);
	if (bytes != 0)
		more = use(&rate->bytes, (uint64_t)len * 1000000 / bytes, micro);
	if (more > rest)
		rest = more;
	return (rest + 999) / 1000;
}
