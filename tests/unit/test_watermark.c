/*
 * test_watermark.c: watermarks in a store: there again after a restart, the oldest origins gone, rows that are none
 * ignored.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#include "error.h"
#include "watermark.h"

static const char *const tables[] = { "watermark", NULL };

static char directory[64];
static struct store *store;

static int
setup(void **state)
{
	(void)state;
	snprintf(directory, sizeof directory, "/tmp/test_watermark.XXXXXX");
	if (mkdtemp(directory) == NULL)
		return 1;
	return store_open(directory, tables, 1 << 24, &store);
}

static int
teardown(void **state)
{
	char path[96];

	(void)state;
	store_close(&store);
	snprintf(path, sizeof path, "%s/data.mdb", directory);
	unlink(path);
	snprintf(path, sizeof path, "%s/lock.mdb", directory);
	unlink(path);
	return rmdir(directory);
}

static void
test_kept(void **state)
{
	struct watermarks *marks = watermarks_new();

	(void)state;
	assert_false(watermarks_save(marks, store, 0));
	assert_true(watermark_take(marks, 7, 5));
	assert_true(watermark_take(marks, 0x01020304, 1));
	assert_true(watermarks_save(marks, store, 0));
	assert_int_equal(store_commit(store), OK);
	assert_false(watermarks_save(marks, store, 0)); /* nothing has moved since */
	watermarks_free(&marks);
	marks = watermarks_new();
	assert_int_equal(watermarks_load(marks, store, 0), OK);
	assert_false(watermark_take(marks, 7, 5));
	assert_true(watermark_take(marks, 7, 6));
	assert_false(watermark_take(marks, 0x01020304, 1));
	watermarks_free(&marks);
}

static void
test_oldest_give_way(void **state)
{
	struct watermarks *marks = watermarks_new();
	uint32_t origin;

	(void)state;
	for (origin = 1; origin <= WATERMARK_ORIGINS + 10; origin++)
		assert_true(watermark_take(marks, origin, 9));
	assert_true(watermarks_save(marks, store, 0));
	assert_int_equal(store_commit(store), OK);
	watermarks_free(&marks);
	marks = watermarks_new();
	assert_int_equal(watermarks_load(marks, store, 0), OK);
	assert_int_equal(store_commit(store), OK);
	assert_int_equal(store_count(store, 0), WATERMARK_ORIGINS);
	assert_true(watermark_take(marks, 10, 1));
	assert_false(watermark_take(marks, 11, 9));
	assert_false(watermark_take(marks, WATERMARK_ORIGINS + 10, 9));
	watermarks_free(&marks);
}

static void
test_malformed(void **state)
{
	static const struct { const char *key; size_t key_len; const char *value; size_t len; } rows[] = {
		{ "abc", 3, "\1\0\0\0\0\0\0\0\7", 9 },      /* no origin */
		{ "\0\0\0\1", 4, "\2\0\0\0\0\0\0\0\7", 9 }, /* another version */
		{ "\0\0\0\2", 4, "\1\0\0\0", 4 },           /* cut short */
		{ "\0\0\0\3", 4, "\1\0\0\0\0\0\0\0\7", 9 },
	};
	struct watermarks *marks = watermarks_new();
	size_t i;

	(void)state;
	for (i = 0; i < sizeof rows / sizeof rows[0]; i++)
		store_put(store, 0, slice_of(rows[i].key, rows[i].key_len), slice_of(rows[i].value, rows[i].len));
	assert_int_equal(store_commit(store), OK);
	assert_int_equal(watermarks_load(marks, store, 0), OK);
	assert_true(watermark_take(marks, 1, 1));
	assert_true(watermark_take(marks, 2, 1));
	assert_false(watermark_take(marks, 3, 7));
	assert_true(watermark_take(marks, 3, 8));
	watermarks_free(&marks);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_kept, setup, teardown),
		cmocka_unit_test_setup_teardown(test_oldest_give_way, setup, teardown),
		cmocka_unit_test_setup_teardown(test_malformed, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
