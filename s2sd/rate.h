/*
 * rate.h: how fast the stanzas of a domain come, and how long it is to be read no more. No input or output.
 */
#ifndef ALDIS_RATE_H
#define ALDIS_RATE_H

#include <stddef.h>
#include <stdint.h>

#define RATE_BURST 5000u /* milliseconds' worth that may come at once */

/* Zeroed: nothing has come yet. */
struct rate {
	uint64_t stanzas, bytes; /* microseconds of the clock at which all that has come would have had its time */
};

/* A stanza with so many bytes has come at this time, in milliseconds. stanzas, bytes: what may come in a second;
 * 0: any number. Returns the milliseconds for which nothing more should be read, at most RATE_BURST. */
uint64_t rate_take(struct rate *rate, uint64_t stanzas, uint64_t bytes, size_t len, uint64_t now);

#endif
