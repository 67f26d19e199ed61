/*
 * throttle.c: counts failed attempts by account and by address, and says how long the next one has
 * to wait. Called by sasl.c and register.c; cannot fail.
 *
 * A table has a fixed size: sets of four entries, found by a keyed hash. What has failed least
 * often gives way, so that nobody can wash his failures away with attempts on many names. The
 * answer is always a delay, never a refusal: who attacks an account must not lock its owner out.
 */
#include <arpa/inet.h>
#include <stdlib.h>

#include "authd.h"
#include "map.h"
#include "mem.h"

#define SETS  4096u
#define WAYS  4u
#define FIRST 250u /* milliseconds of the first delay; it doubles with every failure */

struct entry {
	uint64_t hash;
	uint64_t last;  /* when it failed */
	unsigned count; /* 0: free */
};

struct throttle {
	unsigned limit;
	uint64_t window;
	struct entry entries[SETS][WAYS];
};

struct throttle *
throttle_new(unsigned limit, uint64_t window)
{
	struct throttle *throttle = mem_alloc(sizeof *throttle);

	throttle->limit = limit;
	throttle->window = window;
	return throttle;
}

void
throttle_free(struct throttle **throttle)
{
	MEM_FREE(throttle);
}

static bool
entry_live(const struct throttle *throttle, const struct entry *e, uint64_t now)
{
	return e->count != 0 && now - e->last < throttle->window;
}

/* Finds the entry of a key, NULL when there is none. */
static struct entry *
entry_find(struct throttle *throttle, struct slice key, uint64_t now)
{
	uint64_t hash = map_hash(key);
	struct entry *set = throttle->entries[hash % SETS];
	unsigned i;

	for (i = 0; i < WAYS; i++) {
		if (set[i].hash == hash && entry_live(throttle, &set[i], now))
			return &set[i];
	}
	return NULL;
}

unsigned
throttle_count(struct throttle *throttle, struct slice key, uint64_t now)
{
	struct entry *e = entry_find(throttle, key, now);

	return e != NULL ? e->count : 0;
}

void
throttle_fail(struct throttle *throttle, struct slice key, uint64_t now)
{
	uint64_t hash = map_hash(key);
	struct entry *set = throttle->entries[hash % SETS];
	struct entry *e = entry_find(throttle, key, now);
	unsigned i;

	if (e == NULL) {
		e = &set[0];
		for (i = 0; i < WAYS; i++) {
			if (!entry_live(throttle, &set[i], now)) {
				e = &set[i];
				break;
			}
			if (set[i].count < e->count ||
			    (set[i].count == e->count && set[i].last < e->last))
				e = &set[i];
		}
		*e = (struct entry){ .hash = hash };
	}
	e->last = now;
	if (e->count < UINT16_MAX)
		e->count++;
}

void
throttle_undo(struct throttle *throttle, struct slice key, uint64_t now)
{
	struct entry *e = entry_find(throttle, key, now);

	if (e != NULL)
		e->count--;
}

unsigned
throttle_delay(struct throttle *throttle, struct slice key, uint64_t now)
{
	unsigned count = throttle_count(throttle, key, now), over;

	if (count < throttle->limit)
		return 0;
	over = count - throttle->limit;
	return over >= 6 || FIRST << over > THROTTLE_MAX ? THROTTLE_MAX : FIRST << over;
}

size_t
throttle_size(const struct throttle *throttle, uint64_t now)
{
	size_t live = 0, set, way;

	for (set = 0; set < SETS; set++) {
		for (way = 0; way < WAYS; way++)
			live += entry_live(throttle, &throttle->entries[set][way], now);
	}
	return live;
}

struct slice
throttle_address(struct slice text, char out[THROTTLE_ADDRESS])
{
	static const uint8_t mapped[12] = { [10] = 0xff, [11] = 0xff };
	char copy[INET6_ADDRSTRLEN];
	uint8_t six[16];

	if (text.ptr == NULL)
		return SLICE("");
	if (text.len >= sizeof copy)
		return slice_part(text, 0, THROTTLE_ADDRESS);
	memcpy(copy, text.ptr, text.len);
	copy[text.len] = '\0';
	if (inet_pton(AF_INET6, copy, six) == 1) {
		bool four = memcmp(six, mapped, sizeof mapped) == 0;

		memcpy(out, four ? six + 12 : six, four ? 4 : 8);
		return slice_of(out, four ? 4 : 8);
	}
	if (inet_pton(AF_INET, copy, out) == 1)
		return slice_of(out, 4);
	return text;
}
