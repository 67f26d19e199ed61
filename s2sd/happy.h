/*
 * happy.h: which of several addresses to connect to next, and when (RFC 8305, "happy eyeballs").
 *
 * Priorities of SRV stand above all; within one the families take turns, IPv6 first. A new attempt
 * begins 250 ms after the last one, or as soon as that has failed. An attempt that takes too long
 * has failed. Once one is connected the others that are under way are given up, to be tried again
 * should the connection turn out to be of no use (RFC 6120 section 3.2.1).
 *
 * No input or output, no clock but the one passed in: milliseconds that never go back.
 */
#ifndef ALDIS_HAPPY_H
#define ALDIS_HAPPY_H

#include "resolve.h"

#define HAPPY_STAGGER 250u /* RFC 8305 section 5 */

enum happy_state {
	HAPPY_WAITING,    /* not tried yet, or given up for another */
	HAPPY_CONNECTING,
	HAPPY_CONNECTED,
	HAPPY_FAILED,
};

struct happy {
	size_t count;
	uint64_t limit;                   /* milliseconds that an attempt may take */
	uint64_t last;                    /* when the last one began */
	bool begun, hasty;                /* hasty: it has failed, the next one need not wait */
	struct {
		uint8_t candidate;        /* its number in the resolution */
		uint8_t state;
		uint64_t began;
	} order[RESOLVE_CANDIDATES];
};

void happy_start(struct happy *happy, const struct resolution *resolution, uint64_t limit);

/* The candidate to connect to now, which counts as connecting from here on. Returns false when it is
 * not time for one, or there is none. Call it until it returns false. */
bool happy_next(struct happy *happy, uint64_t now, size_t *candidate);
/* A candidate whose time is over, which counts as failed from here on: close it. Call it until it
 * returns false. */
bool happy_late(struct happy *happy, uint64_t now, size_t *candidate);
/* When one of the two has something to say again, if nothing happens before. Returns false: never. */
bool happy_due(const struct happy *happy, uint64_t *when);

/* A connection has failed: before it was made, or after it (TLS, the stream). */
void happy_failed(struct happy *happy, size_t candidate);
/* A connection was made: nothing begins until it has failed, and the others that are connecting are
 * to be closed. Returns false when it is to be closed itself: another was first. */
bool happy_connected(struct happy *happy, size_t candidate);
enum happy_state happy_state(const struct happy *happy, size_t candidate);
/* Whether all have failed. */
bool happy_over(const struct happy *happy);

#endif
