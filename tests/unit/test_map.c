/*
 * test_map.c: the hash table against a plain array that does the same.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "map.h"

#define KEYS 3000

struct item {
	char key[16];
	size_t len;
	bool in;
	unsigned seen;
};

static struct item items[KEYS];

static struct slice
key_of(const struct item *item)
{
	return slice_of(item->key, item->len);
}

static void
items_make(void)
{
	memset(items, 0, sizeof items);
	for (int i = 0; i < KEYS; i++)
		items[i].len = (size_t)snprintf(items[i].key, 16, "%d", i * 7);
}

static void
test_random(void **state)
{
	struct map *map = map_new();
	size_t count = 0;
	unsigned seed = 1;

	(void)state;
	items_make();
	for (int step = 0; step < 200000; step++) {
		struct item *item = &items[(unsigned)rand_r(&seed) % KEYS];
		void *before = item->in ? item : NULL;

		switch (rand_r(&seed) % 3) {
		case 0:
			assert_ptr_equal(map_put(map, key_of(item), item), before);
			count += !item->in;
			item->in = true;
			break;
		case 1:
			assert_ptr_equal(map_remove(map, key_of(item)), before);
			count -= item->in;
			item->in = false;
			break;
		default:
			assert_ptr_equal(map_get(map, key_of(item)), before);
		}
		assert_int_equal(map_count(map), count);
	}
	map_free(&map);
	assert_null(map);
	map_free(&map);
}

static void
test_each_removing(void **state)
{
	struct map *map = map_new();
	struct item *item;
	size_t at, left = 0;

	(void)state;
	items_make();
	for (int i = 0; i < KEYS; i++)
		map_put(map, key_of(&items[i]), &items[i]);
	for (at = 0; (item = map_each(map, &at)) != NULL;) {
		item->seen++;
		if ((item - items) % 3 != 0)
			assert_ptr_equal(map_remove(map, key_of(item)), item);
	}
	for (int i = 0; i < KEYS; i++) {
		assert_int_equal(items[i].seen, 1);
		assert_ptr_equal(map_get(map, key_of(&items[i])), i % 3 == 0 ? &items[i] : NULL);
		left += i % 3 == 0;
	}
	assert_int_equal(map_count(map), left);
	for (at = 0; (item = map_each(map, &at)) != NULL;)
		map_remove(map, key_of(item));
	assert_int_equal(map_count(map), 0);
	map_free(&map);
}

/* Entries that come and go for ever must not make the table grow or slow. */
static void
test_turnover(void **state)
{
	struct map *map = map_new();

	(void)state;
	items_make();
	for (int round = 0; round < 500; round++) {
		for (int i = 0; i < 100; i++)
			map_put(map, key_of(&items[(round * 31 + i) % KEYS]), &items[i]);
		for (int i = 0; i < 100; i++)
			assert_non_null(
			    map_remove(map, key_of(&items[(round * 31 + i) % KEYS])));
		assert_int_equal(map_count(map), 0);
	}
	map_free(&map);
}

/* A replaced entry's key lives in the new value. */
static void
test_key_replaced(void **state)
{
	struct map *map = map_new();
	char *old = strdup("romeo"), *new = strdup("romeo");

	(void)state;
	assert_null(map_put(map, slice_string(old), old));
	assert_ptr_equal(map_put(map, slice_string(new), new), old);
	free(old);
	assert_ptr_equal(map_get(map, SLICE("romeo")), new);
	assert_int_equal(map_count(map), 1);
	map_free(&map);
	free(new);
}

static void
test_odd_keys(void **state)
{
	struct map *map = map_new();
	char zeros[20] = { 0 };
	int values[20];

	(void)state;
	assert_null(map_get(map, SLICE("")));
	assert_null(map_remove(map, SLICE("")));
	for (size_t i = 0; i < 20; i++)
		assert_null(map_put(map, slice_of(zeros, i), &values[i]));
	for (size_t i = 0; i < 20; i++)
		assert_ptr_equal(map_get(map, slice_of(zeros, i)), &values[i]);
	assert_ptr_equal(map_get(map, SLICE_NONE), &values[0]);
	map_free(&map);
}

static void
test_hash(void **state)
{
	uint64_t all = 0;

	(void)state;
	assert_true(map_hash(SLICE("a")) == map_hash(SLICE("a")));
	assert_true(map_hash(SLICE("a")) != map_hash(SLICE("b")));
	assert_true(map_hash(SLICE("12345678")) != map_hash(slice_of("12345678\0", 9)));
	for (uint64_t i = 0; i < 64; i++)
		all |= map_hash(slice_of(&i, 8));
	assert_true(all == UINT64_MAX);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_random),
		cmocka_unit_test(test_each_removing),
		cmocka_unit_test(test_turnover),
		cmocka_unit_test(test_key_replaced),
		cmocka_unit_test(test_odd_keys),
		cmocka_unit_test(test_hash),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
