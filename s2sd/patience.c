/*
 * patience.c: how long a server that could not be reached is left alone. Called by path.c; cannot fail.
 */
#include "patience.h"

#define DOUBLINGS 8u

uint64_t
patience(unsigned failures, uint32_t random)
{
	uint64_t time = (uint64_t)PATIENCE_FIRST << (failures < DOUBLINGS ? failures : DOUBLINGS);

	if (time > PATIENCE_MOST)
		time = PATIENCE_MOST;
	return time / 2 + random % time;
}
