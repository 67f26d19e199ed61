/*
 * map.h: a hash table from bytes to pointers, keyed with SipHash so that outsiders who choose the
 * keys cannot make it slow.
 *
 * The map does not own keys or values: a key must live as long as its entry (usually it is a part
 * of the value).
 */
#ifndef ALDIS_MAP_H
#define ALDIS_MAP_H

#include "slice.h"

struct map;

struct map *map_new(void);
void map_free(struct map **map);           /* the values stay */
void *map_get(const struct map *map, struct slice key);   /* NULL when there is none */
void *map_put(struct map *map, struct slice key, void *value); /* the value that was there, or NULL */
void *map_remove(struct map *map, struct slice key);      /* the value that was there, or NULL */
size_t map_count(const struct map *map);

/* Iterates in no order: for (size_t at = 0; (value = map_each(map, &at)); ). While iterating only
 * map_remove() of the entry just returned is allowed. */
void *map_each(const struct map *map, size_t *at);

/* A keyed hash of bytes, the same for the life of the process. */
uint64_t map_hash(struct slice key);

#endif
