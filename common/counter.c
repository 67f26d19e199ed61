/*
 * counter.c: the counters and their names. Called everywhere; cannot fail.
 */
#include "counter.h"

#include <stddef.h>

#define NAME_MAX_BYTES 40

uint64_t counters[COUNTER_COUNT];

/* Writes each '_' as '-', once. */
static void
names_hyphenate(char names[COUNTER_COUNT][NAME_MAX_BYTES])
{
	size_t i, k;

	for (i = 0; i < COUNTER_COUNT; i++) {
		for (k = 0; names[i][k] != '\0'; k++) {
			if (names[i][k] == '_')
				names[i][k] = '-';
		}
	}
}

const char *
counter_name(enum counter counter)
{
	static char names[COUNTER_COUNT][NAME_MAX_BYTES] = {
#define COUNTER(name, text) [COUNTER_##name] = #name,
#include "counter.def"
#undef COUNTER
	};
	static int hyphenated;

	if (!hyphenated) {
		names_hyphenate(names);
		hyphenated = 1;
	}
	return (unsigned)counter < COUNTER_COUNT ? names[counter] : "unknown";
}

const char *
counter_help(enum counter counter)
{
	static const char *const texts[COUNTER_COUNT] = {
#define COUNTER(name, text) [COUNTER_##name] = text,
#include "counter.def"
#undef COUNTER
	};

	return (unsigned)counter < COUNTER_COUNT ? texts[counter] : "";
}
