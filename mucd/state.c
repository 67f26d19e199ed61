/*
 * state.c: the store of mucd: its tables, and numbers by name. Called at the start by main.c, then by the files
 * that own a table. Fails when the store does.
 */
#include "mucd.h"

#define STORE_SIZE (64ull << 30) /* address space, not disk */

struct store *store;

static const char *const tables[] = {
	[TABLE_META] = "meta",
	[TABLE_WATERMARK] = "watermark",
	[TABLE_NAME] = "name",
	[TABLE_ROOM] = "room",
	[TABLE_AFFILIATION] = "affiliation",
	[TABLE_CLIENT] = "client",
	[TABLE_OUTBOX] = "outbox",
	[TABLE_FORGET] = "forget",
	[TABLE_HAT] = "hat",
	[TABLE_COUNT] = NULL,
};

int
state_open(const char *directory)
{
	return store_open(directory, tables, STORE_SIZE, &store);
}

int
meta_get(const char *name, uint64_t fallback, uint64_t *number)
{
	struct slice value;
	struct value_reader r;
	int error = store_get(store, TABLE_META, slice_string(name), &value);

	*number = fallback;
	if (error == E_NOT_FOUND)
		return OK;
	if (error)
		return error;
	r = (struct value_reader){ value, OK };
	value_u8(&r);
	*number = value_u64(&r);
	return r.error;
}

int
meta_put(const char *name, uint64_t number)
{
	char value[9] = { VALUE_VERSION };

	store_key_u64(value + 1, number);
	return store_put(store, TABLE_META, slice_string(name), slice_of(value, sizeof value));
}

int
state_touch(void)
{
	return meta_put("touched", 0);
}
