/*
 * histogram.c: owns the counting of latencies. chat.c and xmppload.c add to it. Nothing can fail.
 *
 * Log-linear: a row a power of two, 64 buckets a row; values under 64 nanoseconds share the first
 * row.
 *
 * The Aldis developers
 */
#include "load.h"

#define SUB_BITS 6u

void
histogram_add(struct histogram *h, uint64_t ns)
{
	unsigned row = 0;
	size_t at;

	if (ns >= HISTOGRAM_SUB)
		row = 63u - (unsigned)__builtin_clzll(ns) - SUB_BITS + 1u;
	if (row >= HISTOGRAM_ROWS)
		row = HISTOGRAM_ROWS - 1u;
	at = row == 0 ? (size_t)ns : (size_t)(ns >> (row - 1u)) & (HISTOGRAM_SUB - 1u);
	h->bucket[row * HISTOGRAM_SUB + at]++;
	h->count++;
	h->sum += ns;
	if (ns > h->max)
		h->max = ns;
}

/* The middle of a bucket. */
static uint64_t
histogram_value(size_t at)
{
	uint64_t row = at / HISTOGRAM_SUB, sub = at % HISTOGRAM_SUB;

	if (row == 0)
		return sub;
	return ((HISTOGRAM_SUB + sub) << (row - 1)) + ((UINT64_C(1) << (row - 1)) >> 1);
}

uint64_t
histogram_quantile(const struct histogram *h, double share)
{
	uint64_t wanted = (uint64_t)((double)h->count * share), seen = 0;

	for (size_t i = 0; i < HISTOGRAM_ROWS * HISTOGRAM_SUB; i++) {
		seen += h->bucket[i];
		if (seen > wanted)
			return histogram_value(i) < h->max ? histogram_value(i) : h->max;
	}
	return h->max;
}
