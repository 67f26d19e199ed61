/*
 * hat.c: the hats of a room and who wears them (XEP-0317), in memory with the room and in the store: a row for each
 * hat, with the bare JIDs of its wearers. Called by room.c, by presence.c for what presences show, and by
 * hat_command.c. Fails when the store does, which the commit reports.
 */
#include "mucd.h"

#include <gnutls/crypto.h>
#include <gnutls/gnutls.h>
#include <stdlib.h>

#include "log.h"
#include "mem.h"
#include "ns.h"
#include "xmlout.h"

#define KEY_SIZE 16

/* -- rows -- */

static struct slice
row_key(const struct room *room, uint64_t number, char out[KEY_SIZE])
{
	store_key_u64(out, room->number);
	store_key_u64(out + 8, number);
	return slice_of(out, KEY_SIZE);
}

static void
hat_save(const struct room *room, const struct hat *hat)
{
	struct buf row = { 0 };
	char key[KEY_SIZE];
	const char *bare;
	size_t at = 0;

	value_add_u8(&row, VALUE_VERSION);
	value_add_slice(&row, slice_string(hat->uri));
	value_add_slice(&row, slice_string(hat->title));
	value_add_slice(&row, slice_string(hat->hue));
	value_add_u32(&row, (uint32_t)map_count(hat->wearers));
	while ((bare = map_each(hat->wearers, &at)) != NULL)
		value_add_slice(&row, slice_string(bare));
	store_put(store, TABLE_HAT, row_key(room, hat->number, key), buf_slice(&row));
	buf_free(&row);
	daemon_dirty();
}

static struct hat *
hat_new(struct room *room, uint64_t number, struct slice uri)
{
	struct hat *hat = mem_alloc(sizeof *hat);

	hat->number = number;
	hat->uri = slice_dup(uri);
	hat->wearers = map_new();
	TAILQ_INSERT_TAIL(&room->hats, hat, all);
	return hat;
}

static void
hat_free(struct room *room, struct hat *hat)
{
	size_t at = 0;
	char *bare;

	TAILQ_REMOVE(&room->hats, hat, all);
	while ((bare = map_each(hat->wearers, &at)) != NULL)
		free(bare);
	map_free(&hat->wearers);
	free(hat->uri);
	free(hat->title);
	free(hat->hue);
	free(hat);
}

static void
hat_set(struct hat *hat, struct slice title, struct slice hue)
{
	free(hat->title);
	hat->title = slice_dup(title);
	free(hat->hue);
	hat->hue = hue.len != 0 ? slice_dup(hue) : NULL;
}

static void
wearer_add(struct hat *hat, struct slice bare)
{
	char *copy = slice_dup(bare);

	free(map_put(hat->wearers, slice_of(copy, bare.len), copy));
}

static bool
row_load(void *arg, struct slice key, struct slice value)
{
	struct room *room = arg;
	struct value_reader r = { value, OK };
	struct slice uri, title, hue;
	struct hat *hat;
	uint32_t count;

	value_u8(&r);
	uri = value_slice(&r);
	title = value_slice(&r);
	hue = value_slice(&r);
	count = value_u32(&r);
	if (r.error || key.len != KEY_SIZE || uri.ptr == NULL || title.ptr == NULL)
		return true;
	hat = hat_new(room, store_key_read_u64(key.ptr + 8), uri);
	hat_set(hat, title, hue);
	while (count-- != 0 && r.error == OK) {
		struct slice bare = value_slice(&r);

		if (bare.len != 0 && hat_is_worn(hat, bare) == false)
			wearer_add(hat, bare);
	}
	return true;
}

int
hats_load(struct room *room)
{
	char prefix[8];

	store_key_u64(prefix, room->number);
	return store_walk(store, TABLE_HAT, slice_of(prefix, 8), slice_of(prefix, 8), row_load, room);
}

static bool
row_remove(void *arg, struct slice key, struct slice value)
{
	(void)arg;
	(void)value;
	store_remove(store, TABLE_HAT, key);
	return true;
}

int
hats_remove(const struct room *room)
{
	char prefix[8];

	store_key_u64(prefix, room->number);
	return store_walk(store, TABLE_HAT, slice_of(prefix, 8), slice_of(prefix, 8), row_remove, NULL);
}

void
hats_free(struct room *room)
{
	struct hat *hat;

	while ((hat = TAILQ_FIRST(&room->hats)) != NULL)
		hat_free(room, hat);
}

/* -- hats -- */

struct hat *
hat_find(const struct room *room, struct slice uri)
{
	struct hat *hat;

	TAILQ_FOREACH(hat, &room->hats, all) {
		if (slice_is(uri, hat->uri))
			return hat;
	}
	return NULL;
}

int
hat_make(struct room *room, struct slice uri, struct slice title, struct slice hue)
{
	struct hat *hat, *last = NULL;
	size_t count = 0;

	TAILQ_FOREACH(hat, &room->hats, all) {
		count++;
		last = hat;
	}
	hat = hat_find(room, uri);
	if (hat == NULL && count >= HATS_MAX)
		return E_FULL;
	if (hat == NULL)
		hat = hat_new(room, last != NULL ? last->number + 1 : 1, uri);
	hat_set(hat, title, hue);
	hat_save(room, hat);
	return OK;
}

void
hat_destroy(struct room *room, struct hat *hat)
{
	char key[KEY_SIZE];

	store_remove(store, TABLE_HAT, row_key(room, hat->number, key));
	hat_free(room, hat);
	daemon_dirty();
}

/* -- who wears them -- */

bool
hat_is_worn(const struct hat *hat, struct slice bare)
{
	return map_get(hat->wearers, bare) != NULL;
}

int
hat_put_on(struct room *room, struct hat *hat, struct slice bare)
{
	const struct hat *other;
	size_t on = 0, worn = 0;

	if (hat_is_worn(hat, bare))
		return E_EXISTS;
	TAILQ_FOREACH(other, &room->hats, all) {
		on += hat_is_worn(other, bare);
		worn += map_count(other->wearers);
	}
	if (on >= HATS_ON_MAX || worn >= HATS_WORN_MAX)
		return E_FULL;
	wearer_add(hat, bare);
	hat_save(room, hat);
	return OK;
}

int
hat_take_off(struct room *room, struct hat *hat, struct slice bare)
{
	char *copy = map_remove(hat->wearers, bare);

	if (copy == NULL)
		return E_NOT_FOUND;
	free(copy);
	hat_save(room, hat);
	return OK;
}

/* -- what is shown -- */

void
hats_write(const struct room *room, struct slice bare, struct buf *out)
{
	const struct hat *hat;
	bool open = false;

	TAILQ_FOREACH(hat, &room->hats, all) {
		if (!hat_is_worn(hat, bare))
			continue;
		if (!open)
			buf_add_string(out, "<hats xmlns='" NS_HATS "'>");
		open = true;
		buf_add_string(out, "<hat");
		xml_add_attribute(out, "title", slice_string(hat->title));
		xml_add_attribute(out, "uri", slice_string(hat->uri));
		xml_add_attribute(out, "hue", slice_string(hat->hue));
		buf_add_string(out, "/>");
	}
	if (open)
		buf_add_string(out, "</hats>");
}

void
hats_hash(const struct room *room, char text[HATS_HASH_SIZE])
{
	static const char digits[] = "0123456789abcdef";
	unsigned char hash[(HATS_HASH_SIZE - 1) / 2];
	const struct hat *hat;
	struct buf all = { 0 };
	size_t i;

	TAILQ_FOREACH(hat, &room->hats, all) {
		value_add_slice(&all, slice_string(hat->uri));
		value_add_slice(&all, slice_string(hat->title));
		value_add_slice(&all, slice_string(hat->hue));
	}
	if (gnutls_hash_fast(GNUTLS_DIG_SHA1, buf_slice(&all).ptr, buf_len(&all), hash) != 0)
		log_panic(__FILE__, __LINE__, "SHA-1 failed");
	for (i = 0; i < sizeof hash; i++) {
		text[2 * i] = digits[hash[i] >> 4];
		text[2 * i + 1] = digits[hash[i] & 15];
	}
	text[HATS_HASH_SIZE - 1] = '\0';
	buf_free(&all);
}
