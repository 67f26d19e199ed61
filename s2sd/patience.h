/*
 * patience.h: how long a server that could not be reached is left alone. No input or output.
 */
#ifndef ALDIS_PATIENCE_H
#define ALDIS_PATIENCE_H

#include <stdint.h>

#define PATIENCE_FIRST 5000u            /* milliseconds until the second attempt, about */
#define PATIENCE_MOST  (10u * 60 * 1000)

/* Milliseconds until the next attempt, after so many failures before this one: twice as long each time, up to a
 * most, and then between half of that and one and a half times, so that all who wait do not come at once. random:
 * any number. */
uint64_t patience(unsigned failures, uint32_t random);

#endif
