/*
 * counter.h: what a daemon counts. Rows of counter.def become names in "aldisctl show counters".
 */
#ifndef ALDIS_COUNTER_H
#define ALDIS_COUNTER_H

#include <stdint.h>

enum counter {
#define COUNTER(name, text) COUNTER_##name,
#include "counter.def"
#undef COUNTER
	COUNTER_COUNT
};

extern uint64_t counters[COUNTER_COUNT];

#define COUNT(name)        (counters[COUNTER_##name]++)
#define COUNT_BY(name, n)  (counters[COUNTER_##name] += (uint64_t)(n))
#define GAUGE(name, value) (counters[COUNTER_##name] = (uint64_t)(value))

const char *counter_name(enum counter counter); /* "frames-in" */
const char *counter_help(enum counter counter);

#endif
