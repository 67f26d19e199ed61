/*
 * test_store.c: tables, transactions, walks and full disks, on a store in a temporary directory;
 * and the values in it.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "error.h"
#include "store.h"

enum { ONE, TWO };

static const char *const tables[] = { "one", "two", NULL };

static char directory[64];

static struct store *
opened(uint64_t size)
{
	struct store *store;

	assert_int_equal(store_open(directory, tables, size, &store), OK);
	return store;
}

static void
clear(void)
{
	char path[96];

	snprintf(path, sizeof path, "%s/data.mdb", directory);
	unlink(path);
	snprintf(path, sizeof path, "%s/lock.mdb", directory);
	unlink(path);
}

static int
setup(void **state)
{
	(void)state;
	snprintf(directory, sizeof directory, "/tmp/test_store.XXXXXX");
	return mkdtemp(directory) == NULL;
}

static int
teardown(void **state)
{
	(void)state;
	clear();
	return rmdir(directory);
}

static void
assert_value(struct store *store, unsigned table, const char *key, const char *value)
{
	struct slice got;

	if (value == NULL) {
		assert_int_equal(store_get(store, table, slice_string(key), &got), E_NOT_FOUND);
		return;
	}
	assert_int_equal(store_get(store, table, slice_string(key), &got), OK);
	assert_true(slice_is(got, value));
}

static void
test_transactions(void **state)
{
	struct store *store = opened(1 << 20);

	(void)state;
	assert_value(store, ONE, "juliet", NULL);
	assert_int_equal(store_put(store, ONE, SLICE("juliet"), SLICE("capulet")), OK);
	/* what was written is read in the same transaction, and only in its table */
	assert_value(store, ONE, "juliet", "capulet");
	assert_value(store, TWO, "juliet", NULL);
	store_abort(store);
	assert_value(store, ONE, "juliet", NULL);
	assert_int_equal(store_put(store, ONE, SLICE("juliet"), SLICE("capulet")), OK);
	assert_int_equal(store_put(store, ONE, SLICE("juliet"), SLICE("montague")), OK);
	assert_int_equal(store_put(store, TWO, SLICE("empty"), SLICE("")), OK);
	assert_int_equal(store_commit(store), OK);
	store_close(&store);
	assert_null(store);

	store = opened(1 << 20);
	assert_value(store, ONE, "juliet", "montague");
	assert_value(store, TWO, "empty", "");
	assert_int_equal(store_count(store, ONE), 1);
	assert_int_equal(store_remove(store, ONE, SLICE("nobody")), E_NOT_FOUND);
	assert_int_equal(store_remove(store, ONE, SLICE("juliet")), OK);
	assert_value(store, ONE, "juliet", NULL);
	assert_int_equal(store_commit(store), OK);
	assert_int_equal(store_commit(store), OK);
	assert_value(store, ONE, "juliet", NULL);
	assert_int_equal(store_count(store, ONE), 0);
	/* an open transaction at the end is undone */
	assert_int_equal(store_put(store, ONE, SLICE("x"), SLICE("y")), OK);
	store_close(&store);
	store = opened(1 << 20);
	assert_value(store, ONE, "x", NULL);
	store_close(&store);
	clear();
}

/* A read keeps no snapshot beyond the commit. */
static void
test_reads_follow(void **state)
{
	struct store *store = opened(1 << 20);
	char text[16];

	(void)state;
	for (int i = 0; i < 100; i++) {
		if (i > 0)
			assert_value(store, ONE, "k", text);
		snprintf(text, sizeof text, "%d", i);
		assert_int_equal(store_put(store, ONE, SLICE("k"), slice_string(text)), OK);
		assert_value(store, ONE, "k", text);
		assert_int_equal(store_commit(store), OK);
	}
	store_close(&store);
	clear();
}

static void
test_append(void **state)
{
	struct store *store = opened(1 << 22);
	struct slice key, value;
	char id[8];

	(void)state;
	for (uint64_t i = 1; i <= 1000; i++) {
		store_key_u64(id, i * 3);
		assert_int_equal(store_append(store, ONE, slice_of(id, 8), SLICE("v")), OK);
	}
	/* out of order, and again */
	store_key_u64(id, 100);
	assert_int_equal(store_append(store, ONE, slice_of(id, 8), SLICE("late")), OK);
	store_key_u64(id, 3000);
	assert_int_equal(store_append(store, ONE, slice_of(id, 8), SLICE("again")), OK);
	assert_int_equal(store_commit(store), OK);
	assert_int_equal(store_count(store, ONE), 1001);
	assert_int_equal(store_last(store, ONE, SLICE(""), &key, &value), OK);
	assert_true(store_key_read_u64(key.ptr) == 3000 && slice_is(value, "again"));
	store_key_u64(id, 100);
	assert_int_equal(store_get(store, ONE, slice_of(id, 8), &value), OK);
	assert_true(slice_is(value, "late"));
	store_close(&store);
	clear();
}

static bool
take_key(void *arg, struct slice key, struct slice value)
{
	struct buf *seen = arg;

	(void)value;
	buf_add_slice(seen, key);
	buf_add_char(seen, ' ');
	return buf_len(seen) < 11;
}

static void
test_walk_back(void **state)
{
	static const char *const keys[] = { "a1", "a2", "a3", "b1", "b2" };
	static const struct {
		const char *before, *prefix, *seen;
	} cases[] = {
		{ "a3", "a", "a2 a1 " }, { "a9", "a", "a3 a2 a1 " }, { "a1", "a", "" }, { "b1", "a", "a3 a2 a1 " },
		{ "b9", "b", "b2 b1 " }, { "c", "b", "b2 b1 " }, { "a25", "a", "a2 a1 " },
		{ "c", "", "b2 b1 a3 a2 " }, { "b2", "a", "" }, { "0", "", "" },
	};
	struct store *store = opened(1 << 20);
	struct buf seen = { 0 };

	(void)state;
	assert_int_equal(store_walk_back(store, ONE, SLICE("a"), SLICE(""), take_key, &seen), OK);
	for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++)
		store_put(store, ONE, slice_string(keys[i]), SLICE("v"));
	for (int committed = 0; committed < 2; committed++) {
		for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
			buf_clear(&seen);
			assert_int_equal(store_walk_back(store, ONE, slice_string(cases[i].before),
			    slice_string(cases[i].prefix), take_key, &seen), OK);
			assert_true(slice_is(buf_slice(&seen), cases[i].seen));
		}
		assert_int_equal(store_commit(store), OK);
	}
	buf_free(&seen);
	store_close(&store);
	clear();
}

static void
test_last(void **state)
{
	static const char *const keys[] = { "a1", "a2", "b", "b\xff", "b\xff\xff", "c" };
	static const struct {
		const char *prefix;
		const char *last;
	} cases[] = {
		{ "a", "a2" }, { "a1", "a1" }, { "b", "b\xff\xff" }, { "b\xff", "b\xff\xff" },
		{ "c", "c" }, { "d", NULL }, { "a3", NULL }, { "", "c" }, { "\xff", NULL },
		{ "aa", NULL }, { "A", NULL },
	};
	struct store *store = opened(1 << 20);
	struct slice key, value;

	(void)state;
	assert_int_equal(store_last(store, ONE, SLICE(""), &key, &value), E_NOT_FOUND);
	assert_int_equal(store_last(store, ONE, SLICE("a"), &key, &value), E_NOT_FOUND);
	for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++)
		store_put(store, ONE, slice_string(keys[i]), SLICE("v"));
	for (int committed = 0; committed < 2; committed++) {
		for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
			int error = store_last(store, ONE, slice_string(cases[i].prefix), &key,
			    &value);

			assert_int_equal(error, cases[i].last != NULL ? OK : E_NOT_FOUND);
			if (error == OK)
				assert_true(slice_is(key, cases[i].last));
		}
		assert_int_equal(store_commit(store), OK);
	}
	store_close(&store);
	clear();
}

/* What a walk does at each key. */
struct walk {
	struct store *store;
	char seen[256];
	bool remove;
	bool other;
	size_t stop; /* after so many characters; 0: never */
};

static bool
step(void *arg, struct slice key, struct slice value)
{
	struct walk *walk = arg;
	char copy[8] = { 0 };

	assert_true(slice_is(value, "v") && key.len < sizeof copy);
	memcpy(copy, key.ptr, key.len);
	snprintf(walk->seen + strlen(walk->seen), sizeof walk->seen - strlen(walk->seen), "%s", copy);
	if (walk->other)
		assert_int_equal(store_put(walk->store, TWO, slice_string(copy), SLICE("w")), OK);
	if (walk->remove)
		assert_int_equal(store_remove(walk->store, ONE, slice_string(copy)), OK);
	return walk->stop == 0 || strlen(walk->seen) < walk->stop;
}

static const char *
walked(struct walk *walk, struct store *store, const char *from, const char *prefix)
{
	walk->store = store;
	walk->seen[0] = '\0';
	assert_int_equal(store_walk(store, ONE, slice_string(from), slice_string(prefix), step,
	    walk), OK);
	return walk->seen;
}

static void
test_walk(void **state)
{
	static const char *const keys[] = { "a1", "a2", "a3", "b1", "b2", "b3", "b4", "c1" };
	struct store *store = opened(1 << 20);
	struct walk walk = { 0 };

	(void)state;
	assert_string_equal(walked(&walk, store, "", ""), "");
	for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++)
		store_put(store, ONE, slice_string(keys[i]), SLICE("v"));
	assert_string_equal(walked(&walk, store, "", "b"), "b1b2b3b4");
	assert_int_equal(store_commit(store), OK);
	assert_string_equal(walked(&walk, store, "", ""), "a1a2a3b1b2b3b4c1");
	assert_string_equal(walked(&walk, store, "b2", "b"), "b2b3b4");
	assert_string_equal(walked(&walk, store, "a9", "b"), "b1b2b3b4");
	assert_string_equal(walked(&walk, store, "c", "b"), "");
	assert_string_equal(walked(&walk, store, "b4", ""), "b4c1");
	assert_string_equal(walked(&walk, store, "", "d"), "");
	walk.stop = 4;
	assert_string_equal(walked(&walk, store, "", "b"), "b1b2");
	walk.stop = 0;
	/* removing while walking, from a read that becomes a write and within a write */
	walk.remove = walk.other = true;
	assert_string_equal(walked(&walk, store, "", "b"), "b1b2b3b4");
	assert_int_equal(store_count(store, TWO), 4);
	assert_string_equal(walked(&walk, store, "", ""), "a1a2a3c1");
	assert_string_equal(walked(&walk, store, "", ""), "");
	assert_int_equal(store_commit(store), OK);
	assert_int_equal(store_count(store, ONE), 0);
	assert_int_equal(store_count(store, TWO), 8);
	store_close(&store);
	clear();
}

/* Removing a whole table while walking crosses pages that become empty. */
static bool
step_remove(void *arg, struct slice key, struct slice value)
{
	struct walk *walk = arg;
	char copy[8];

	(void)value;
	memcpy(copy, key.ptr, 8);
	assert_int_equal(store_remove(walk->store, ONE, slice_of(copy, 8)), OK);
	walk->stop++;
	return true;
}

static void
test_walk_many(void **state)
{
	struct store *store = opened(1 << 24);
	struct walk walk = { .store = store };
	char id[8], filler[200] = { 0 };

	(void)state;
	for (uint64_t i = 0; i < 5000; i++) {
		store_key_u64(id, i);
		assert_int_equal(store_append(store, ONE, slice_of(id, 8),
		    slice_of(filler, 200)), OK);
	}
	assert_int_equal(store_walk(store, ONE, SLICE(""), SLICE(""), step_remove, &walk), OK);
	assert_int_equal(walk.stop, 5000);
	assert_int_equal(store_commit(store), OK);
	assert_int_equal(store_count(store, ONE), 0);
	store_close(&store);
	clear();
}

static void
test_full(void **state)
{
	static char big[4000];
	struct store *store = opened(256 << 10);
	struct slice value;
	char id[8];
	uint64_t i, kept;
	int error = OK;

	(void)state;
	store_put(store, TWO, SLICE("before"), SLICE("v"));
	assert_int_equal(store_commit(store), OK);
	for (i = 0; error == OK && i < 1000; i++) {
		store_key_u64(id, i);
		error = store_append(store, ONE, slice_of(id, 8), slice_of(big, sizeof big));
	}
	assert_int_equal(error, E_FULL);
	/* it stays until the transaction ends, which leaves nothing of it */
	assert_int_equal(store_put(store, TWO, SLICE("x"), SLICE("v")), E_FULL);
	assert_int_equal(store_get(store, TWO, SLICE("before"), &value), E_FULL);
	assert_int_equal(store_commit(store), E_FULL);
	assert_int_equal(store_count(store, ONE), 0);
	assert_value(store, TWO, "x", NULL);
	assert_value(store, TWO, "before", "v");
	/* filled to the brim one by one, it recovers when it may grow */
	for (kept = 0, error = OK; error == OK; kept++) {
		store_key_u64(id, kept);
		store_append(store, ONE, slice_of(id, 8), slice_of(big, sizeof big));
		error = store_commit(store);
	}
	assert_int_equal(error, E_FULL);
	kept--;
	assert_true(kept > 10);
	assert_int_equal(store_count(store, ONE), kept);
	store_close(&store);
	store = opened(512 << 10);
	assert_int_equal(store_count(store, ONE), kept);
	assert_int_equal(store_put(store, ONE, SLICE("again"), slice_of(big, sizeof big)), OK);
	assert_int_equal(store_commit(store), OK);
	store_close(&store);
	clear();
}

static void
test_copy(void **state)
{
	struct store *store = opened(1 << 20), *copy;
	char target[96], path[128];

	(void)state;
	snprintf(target, sizeof target, "%s/copy", directory);
	assert_int_equal(mkdir(target, 0700), 0);
	store_put(store, ONE, SLICE("k"), SLICE("v"));
	assert_int_equal(store_copy(store, target), E_AGAIN);
	assert_int_equal(store_commit(store), OK);
	assert_int_equal(store_copy(store, target), OK);
	assert_int_equal(store_open(target, tables, 1 << 20, &copy), OK);
	assert_value(copy, ONE, "k", "v");
	store_close(&copy);
	assert_int_not_equal(store_copy(store, "/nonexistent"), OK);
	store_close(&store);
	snprintf(path, sizeof path, "%s/data.mdb", target);
	unlink(path);
	snprintf(path, sizeof path, "%s/lock.mdb", target);
	unlink(path);
	rmdir(target);
	clear();
}

static void
test_open_fails(void **state)
{
	struct store *store;

	(void)state;
	assert_int_equal(store_open("/nonexistent", tables, 1 << 20, &store), E_SYSTEM);
	assert_null(store);
}

static void
test_keys(void **state)
{
	char low[8], high[8], hash[32];

	(void)state;
	store_key_u64(low, 0x01ff);
	store_key_u64(high, 0x0200);
	assert_true(memcmp(low, high, 8) < 0);
	assert_memory_equal(low, "\0\0\0\0\0\0\1\xff", 8);
	assert_true(store_key_read_u64(low) == 0x01ff);
	store_key_u64(low, UINT64_MAX - 1);
	assert_true(store_key_read_u64(low) == UINT64_MAX - 1);
	store_key_hash(hash, SLICE("abc"));
	assert_memory_equal(hash, "\xba\x78\x16\xbf\x8f\x01\xcf\xea\x41\x41\x40\xde\x5d\xae\x22\x23"
	    "\xb0\x03\x61\xa3\x96\x17\x7a\x9c\xb4\x10\xff\x61\xf2\x00\x15\xad", 32);
	store_key_hash(hash, SLICE_NONE);
	assert_memory_equal(hash, "\xe3\xb0\xc4\x42", 4);
}

static void
test_values(void **state)
{
	struct buf out = { 0 };
	struct value_reader r;
	struct slice s;

	(void)state;
	value_add_u8(&out, 1);
	value_add_u32(&out, 0xfedcba98);
	value_add_u64(&out, 0xfedcba9876543210);
	value_add_slice(&out, SLICE("text"));
	value_add_slice(&out, SLICE(""));
	value_add_slice(&out, SLICE_NONE);
	r = (struct value_reader){ .rest = buf_slice(&out) };
	assert_int_equal(value_u8(&r), 1);
	assert_true(value_u32(&r) == 0xfedcba98);
	assert_true(value_u64(&r) == 0xfedcba9876543210);
	assert_true(slice_is(value_slice(&r), "text"));
	s = value_slice(&r);
	assert_true(s.ptr != NULL && s.len == 0);
	assert_null(value_slice(&r).ptr);
	assert_int_equal(r.error, OK);
	assert_int_equal(r.rest.len, 0);
	/* too short: the first error stays, and nothing is read */
	assert_int_equal(value_u8(&r), 0);
	assert_int_equal(r.error, E_MALFORMED);
	r = (struct value_reader){ .rest = slice_of("\0\0\0\5text", 8) };
	assert_null(value_slice(&r).ptr);
	assert_int_equal(r.error, E_MALFORMED);
	assert_int_equal(value_u8(&r), 0);
	assert_int_equal(value_u64(&r), 0);
	for (size_t len = 0; len < buf_len(&out); len++) {
		r = (struct value_reader){ .rest = slice_part(buf_slice(&out), 0, len) };
		value_u8(&r);
		value_u32(&r);
		value_u64(&r);
		for (int i = 0; i < 3; i++)
			value_slice(&r);
		assert_int_equal(r.error, E_MALFORMED);
	}
	buf_free(&out);
}

static void
put_text(struct store *store, unsigned table, struct slice key, const char *text)
{
	assert_int_equal(store_put(store, table, key, slice_string(text)), OK);
}

/* How often bytes are in the file. */
static unsigned
times_in_file(const char *text)
{
	char path[96];
	unsigned found = 0;
	size_t len = 0, at = 0;
	char *bytes;
	FILE *file;

	snprintf(path, sizeof path, "%s/data.mdb", directory);
	file = fopen(path, "r");
	assert_non_null(file);
	fseek(file, 0, SEEK_END);
	len = (size_t)ftell(file);
	rewind(file);
	bytes = malloc(len);
	assert_int_equal(fread(bytes, 1, len, file), len);
	fclose(file);
	while (at < len) {
		const char *next = memmem(bytes + at, len - at, text, strlen(text));

		if (next == NULL)
			break;
		found++;
		at = (size_t)(next - bytes) + 1;
	}
	free(bytes);
	return found;
}

static void
scrub(struct store *store)
{
	uint64_t next = 0;
	unsigned calls = 0;
	bool more = true;

	while (more) {
		assert_int_equal(store_scrub(store, &next, 7, &more), OK);
		calls++;
	}
	assert_true(calls > 2);
}

/* What was removed is in the file until its pages are overwritten; what is there stays. */
static void
test_scrub(void **arg)
{
	struct store *store = opened(16 << 20);
	static char big[10000];
	uint64_t next = 0;
	char key[8];
	struct slice value;
	bool more;

	(void)arg;
	memset(big, 'x', sizeof big);
	memcpy(big + 5000, "in the middle", 13);
	for (uint64_t i = 0; i < 300; i++) {
		store_key_u64(key, i);
		put_text(store, ONE, slice_of(key, 8), "a secret of average length, such as one writes in a chat");
		if (i % 10 == 0)
			assert_int_equal(store_put(store, TWO, slice_of(key, 8), slice_of(big, sizeof big)), OK);
		if (i % 7 == 0)
			assert_int_equal(store_commit(store), OK);
	}
	store_key_u64(key, 1000);
	put_text(store, ONE, slice_of(key, 8), "this one stays");
	assert_int_equal(store_commit(store), OK);
	for (uint64_t i = 0; i < 300; i++) {
		store_key_u64(key, i);
		assert_int_equal(store_remove(store, ONE, slice_of(key, 8)), OK);
		if (i % 10 == 0)
			assert_int_equal(store_remove(store, TWO, slice_of(key, 8)), OK);
		if (i % 50 == 0)
			assert_int_equal(store_commit(store), OK);
	}
	assert_int_equal(store_scrub(store, &next, 7, &more), E_AGAIN);
	assert_int_equal(store_commit(store), OK);
	assert_true(times_in_file("a secret of average") > 0 && times_in_file("in the middle") > 0);
	put_text(store, TWO, SLICE("done"), "done");
	assert_int_equal(store_commit(store), OK);
	scrub(store);
	/* Of small rows LMDB may leave copies in unused room of pages that are in use. */
	assert_int_equal(times_in_file("in the middle"), 0);
	store_key_u64(key, 1000);
	assert_int_equal(store_get(store, ONE, slice_of(key, 8), &value), OK);
	assert_true(slice_is(value, "this one stays"));
	store_close(&store);
	store = opened(16 << 20);
	assert_int_equal(store_get(store, ONE, slice_of(key, 8), &value), OK);
	assert_true(slice_is(value, "this one stays"));
	/* The pages are used again. */
	for (uint64_t i = 0; i < 300; i++) {
		store_key_u64(key, i);
		put_text(store, ONE, slice_of(key, 8), "again");
	}
	assert_int_equal(store_commit(store), OK);
	assert_int_equal(store_count(store, ONE), 301);
	store_close(&store);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_transactions),
		cmocka_unit_test(test_reads_follow),
		cmocka_unit_test(test_append),
		cmocka_unit_test(test_walk_back),
		cmocka_unit_test(test_last),
		cmocka_unit_test(test_walk),
		cmocka_unit_test(test_walk_many),
		cmocka_unit_test(test_full),
		cmocka_unit_test(test_copy),
		cmocka_unit_test(test_scrub),
		cmocka_unit_test(test_open_fails),
		cmocka_unit_test(test_keys),
		cmocka_unit_test(test_values),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
