/*
 * watermark.c: watermarks in a store. Called by daemons that handle frames in custody and have a commit for each
 * iteration. Fails when the store does.
 */
#include "watermark.h"

#include <string.h>

#include "error.h"

#define VERSION  1 /* first byte of a row */
#define KEY_SIZE 4 /* an origin */

struct rows {
	struct watermarks *marks;
	struct store *store;
	unsigned table;
	uint64_t left;     /* rows that have not been read */
	bool moved;
};

static bool
row_load(void *arg, struct slice key, struct slice value)
{
	struct rows *rows = arg;
	struct value_reader k = { key, OK }, r = { value, OK };
	uint32_t origin = value_u32(&k);
	uint64_t seq;
	char copy[KEY_SIZE];

	if (key.len == sizeof copy && rows->left-- > WATERMARK_ORIGINS) {
		memcpy(copy, key.ptr, sizeof copy);
		store_remove(rows->store, rows->table, slice_of(copy, sizeof copy));
		return true;
	}
	if (value_u8(&r) != VERSION)
		return true;
	seq = value_u64(&r);
	if (k.error == OK && r.error == OK)
		watermark_set(rows->marks, origin, seq);
	return true;
}

int
watermarks_load(struct watermarks *marks, struct store *store, unsigned table)
{
	struct rows rows = { .marks = marks, .store = store, .table = table, .left = store_count(store, table) };

	return store_walk(store, table, SLICE(""), SLICE(""), row_load, &rows);
}

static void
row_store(void *arg, uint32_t origin, uint64_t seq)
{
	struct rows *rows = arg;
	struct buf key = { 0 }, value = { 0 };

	rows->moved = true;
	value_add_u32(&key, origin);
	value_add_u8(&value, VERSION);
	value_add_u64(&value, seq);
	store_put(rows->store, rows->table, buf_slice(&key), buf_slice(&value));
	buf_free(&key);
	buf_free(&value);
}

bool
watermarks_save(struct watermarks *marks, struct store *store, unsigned table)
{
	struct rows rows = { .store = store, .table = table };

	watermarks_changed(marks, row_store, &rows);
	return rows.moved;
}
