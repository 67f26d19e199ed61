/*
 * map.c: the hash table. Called everywhere; cannot fail (mem.h).
 *
 * Open addressing with linear probing and SipHash-1-3. A removed slot becomes a grave where one
 * is needed, so that nothing moves while somebody iterates; graves go when the table is rebuilt.
 */
#include "map.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/random.h>

#include "log.h"
#include "mem.h"

#define ROOM_MIN 8

struct slot {
	uint64_t hash;
	struct slice key;
	void *value; /* NULL: empty, or a grave */
};

struct map {
	struct slot *slots;
	size_t room;  /* a power of two, or 0 */
	size_t count; /* entries */
	size_t used;  /* entries and graves */
};

/* What a grave's value points to. */
static char grave;

static uint64_t secret[2];
static bool has_secret;

/* Draws the key of the hash. */
static void
secret_draw(void)
{
	while (getrandom(secret, sizeof secret, 0) != (ssize_t)sizeof secret)
		ASSERT(errno == EINTR);
	has_secret = true;
}

static inline uint64_t
rotate(uint64_t x, unsigned by)
{
	return x << by | x >> (64 - by);
}

static inline void
sip_round(uint64_t v[4])
{
	v[0] += v[1];
	v[2] += v[3];
	v[1] = rotate(v[1], 13) ^ v[0];
	v[3] = rotate(v[3], 16) ^ v[2];
	v[0] = rotate(v[0], 32);
	v[2] += v[1];
	v[0] += v[3];
	v[1] = rotate(v[1], 17) ^ v[2];
	v[3] = rotate(v[3], 21) ^ v[0];
	v[2] = rotate(v[2], 32);
}

uint64_t
map_hash(struct slice key)
{
	uint64_t v[4], word;
	size_t left = key.len;
	const char *at = key.ptr;

	if (!has_secret)
		secret_draw();
	v[0] = secret[0] ^ 0x736f6d6570736575;
	v[1] = secret[1] ^ 0x646f72616e646f6d;
	v[2] = secret[0] ^ 0x6c7967656e657261;
	v[3] = secret[1] ^ 0x7465646279746573;
	for (; left >= 8; left -= 8, at += 8) {
		memcpy(&word, at, 8);
		v[3] ^= word;
		sip_round(v);
		v[0] ^= word;
	}
	word = 0;
	if (left != 0)
		memcpy(&word, at, left);
	word |= (uint64_t)key.len << 56;
	v[3] ^= word;
	sip_round(v);
	v[0] ^= word;
	v[2] ^= 0xff;
	sip_round(v);
	sip_round(v);
	sip_round(v);
	return v[0] ^ v[1] ^ v[2] ^ v[3];
}

struct map *
map_new(void)
{
	return mem_alloc(sizeof(struct map));
}

void
map_free(struct map **map)
{
	if (*map == NULL)
		return;
	free((*map)->slots);
	MEM_FREE(map);
}

/* Finds the slot of a key, or NULL. */
static struct slot *
map_find(const struct map *map, struct slice key, uint64_t hash)
{
	size_t at;

	if (map->room == 0)
		return NULL;
	for (at = hash & (map->room - 1); map->slots[at].value != NULL;
	    at = (at + 1) & (map->room - 1)) {
		struct slot *slot = &map->slots[at];

		if (slot->hash == hash && slot->value != &grave && slice_equal(slot->key, key))
			return slot;
	}
	return NULL;
}

/* Puts an entry where there is none of its key. */
static void
map_insert(struct map *map, struct slot entry)
{
	size_t at = entry.hash & (map->room - 1);

	while (map->slots[at].value != NULL && map->slots[at].value != &grave)
		at = (at + 1) & (map->room - 1);
	if (map->slots[at].value == NULL)
		map->used++;
	map->slots[at] = entry;
	map->count++;
}

/* Builds the table anew, without graves and with room for more. */
static void
map_rebuild(struct map *map)
{
	struct map old = *map;
	size_t at;

	map->room = ROOM_MIN;
	while (map->room / 2 <= map->count)
		map->room *= 2;
	map->slots = mem_array(map->room, sizeof *map->slots);
	map->count = map->used = 0;
	for (at = 0; at < old.room; at++) {
		if (old.slots[at].value != NULL && old.slots[at].value != &grave)
			map_insert(map, old.slots[at]);
	}
	free(old.slots);
}

void *
map_get(const struct map *map, struct slice key)
{
	struct slot *slot;

	if (map->count == 0)
		return NULL;
	slot = map_find(map, key, map_hash(key));
	return slot != NULL ? slot->value : NULL;
}

void *
map_put(struct map *map, struct slice key, void *value)
{
	uint64_t hash = map_hash(key);
	struct slot *slot = map_find(map, key, hash);
	void *before;

	ASSERT(value != NULL);
	if (slot != NULL) {
		before = slot->value;
		slot->key = key;
		slot->value = value;
		return before;
	}
	if (map->room == 0 || map->used + 1 > map->room / 4 * 3)
		map_rebuild(map);
	map_insert(map, (struct slot){ hash, key, value });
	return NULL;
}

void *
map_remove(struct map *map, struct slice key)
{
	struct slot *slot;
	size_t at, mask = map->room - 1;
	void *before;

	if (map->count == 0)
		return NULL;
	slot = map_find(map, key, map_hash(key));
	if (slot == NULL)
		return NULL;
	before = slot->value;
	*slot = (struct slot){ .value = &grave };
	map->count--;
	/* At the end of a run no grave is needed, nor are those before it. */
	at = (size_t)(slot - map->slots);
	if (map->slots[(at + 1) & mask].value == NULL) {
		for (; map->slots[at].value == &grave; at = (at - 1) & mask) {
			map->slots[at].value = NULL;
			map->used--;
		}
	}
	return before;
}

size_t
map_count(const struct map *map)
{
	return map->count;
}

void *
map_each(const struct map *map, size_t *at)
{
	while (*at < map->room) {
		void *value = map->slots[(*at)++].value;

		if (value != NULL && value != &grave)
			return value;
	}
	return NULL;
}
