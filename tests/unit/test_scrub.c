/*
 * test_scrub.c: when free pages of archived's store are overwritten, and that what was removed is gone then.
 *
 * Links: archived
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#include "archived.h"

#define NOW   1790000000000ull
#define COUNT 600u /* messages, of some pages each */
#define MARK  "a word that nobody else has"

static char directory[64];
static uint64_t now = 1000; /* ticks */

static int
set_up(void **unused)
{
	(void)unused;
	snprintf(directory, sizeof directory, "/tmp/test_scrub.XXXXXX");
	assert_non_null(mkdtemp(directory));
	return state_open(directory, 64u << 20, 100000, NOW);
}

static int
tear_down(void **unused)
{
	char command[96];

	(void)unused;
	state_close();
	snprintf(command, sizeof command, "rm -r %s", directory);
	return system(command);
}

static bool
in_file(void)
{
	char path[96], *bytes;
	bool found;
	long len;
	FILE *file;

	snprintf(path, sizeof path, "%s/data.mdb", directory);
	file = fopen(path, "rb");
	assert_non_null(file);
	assert_int_equal(fseek(file, 0, SEEK_END), 0);
	len = ftell(file);
	rewind(file);
	bytes = malloc((size_t)len);
	assert_int_equal(fread(bytes, 1, (size_t)len, file), len);
	fclose(file);
	found = memmem(bytes, (size_t)len, MARK, strlen(MARK)) != NULL;
	free(bytes);
	return found;
}

static struct slice
key_of(unsigned n, char key[8])
{
	store_key_u64(key, n);
	return slice_of(key, 8);
}

static void
messages_put(void)
{
	static char big[10000];
	char key[8];
	unsigned i;

	memset(big, 'x', sizeof big);
	memcpy(big + 6000, MARK, strlen(MARK));
	for (i = 0; i < COUNT; i++)
		assert_int_equal(store_put(state.store, TABLE_MESSAGE, key_of(i, key),
		    slice_of(big, sizeof big)), OK);
	assert_int_equal(state_commit(), OK);
}

static void
messages_remove(void)
{
	unsigned i;

	for (i = 0; i < COUNT; i++)
		assert_int_equal(message_release(i, 0, 0), OK);
	assert_int_equal(state_commit(), OK);
}

/* Takes a pass to its end; how many steps that was. */
static unsigned
pass(uint64_t took)
{
	unsigned steps = 0;
	uint64_t at;

	while ((at = scrub_when(now)) != UINT64_MAX) {
		now = at > now ? at : now;
		scrub_step(now);
		scrub_took(now, took);
		steps++;
	}
	return steps;
}

/* Some seconds after it was removed, step by step; what is removed again waits for its time. */
static void
test_removed(void **unused)
{
	uint64_t begin, took;

	(void)unused;
	assert_true(scrub_when(now) == UINT64_MAX);
	messages_put();
	messages_remove();
	assert_true(in_file());
	begin = scrub_when(now);
	assert_true(begin > now && begin <= now + 10000);
	assert_true(scrub_when(now + 1) == begin);
	assert_true(pass(0) > 3);
	assert_false(in_file());
	took = now - begin;
	scrub_removed();
	assert_true(scrub_when(now) >= now + 5 * took);
	assert_true(scrub_when(now) > now);
	pass(0);
}

/* A step that takes long is followed by a long pause. */
static void
test_slow(void **unused)
{
	(void)unused;
	messages_put();
	messages_remove();
	now = scrub_when(now);
	scrub_step(now);
	scrub_took(now, 100);
	assert_true(scrub_when(now) >= now + 900);
	assert_true(in_file());
	pass(100);
	assert_false(in_file());
	/* and by no pass for a time */
	scrub_removed();
	assert_true(scrub_when(now) > now + 10000);
	pass(0);
}

/* A deleted account waits for nothing, and has the pass begin anew. */
static void
test_hurry(void **unused)
{
	(void)unused;
	messages_put();
	messages_remove();
	now = scrub_when(now);
	scrub_step(now);
	messages_put();
	messages_remove();
	scrub_hurry();
	assert_true(scrub_when(now) == now);
	scrub_step(now);
	assert_true(scrub_when(now) > now);
	pass(0);
	assert_false(in_file());
}

#define TEST(name) cmocka_unit_test_setup_teardown(test_##name, set_up, tear_down)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(removed),
		TEST(slow),
		TEST(hurry),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
