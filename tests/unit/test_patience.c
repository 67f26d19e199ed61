/*
 * test_patience.c: when a server that could not be reached is tried again.
 *
 * Links: s2sd
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "patience.h"

#define PATHS   10000u
#define WINDOWS 20u

/* A number that looks random, the same in each run. */
static uint32_t
next(void)
{
	static uint64_t seed = 1;

	seed = seed * 6364136223846793005u + 1442695040888963407u;
	return (uint32_t)(seed >> 32);
}

static void
test_range(void **state)
{
	unsigned failures, i;

	(void)state;
	for (failures = 0; failures < 100; failures++) {
		uint64_t time = PATIENCE_FIRST;

		for (i = 0; i < failures && time < PATIENCE_MOST; i++)
			time *= 2;
		if (time > PATIENCE_MOST)
			time = PATIENCE_MOST;
		assert_int_equal(patience(failures, 0), time / 2);
		assert_int_equal(patience(failures, (uint32_t)time - 1), time / 2 + time - 1);
		for (i = 0; i < 1000; i++)
			assert_in_range(patience(failures, next()), time / 2, time / 2 + time - 1);
	}
	assert_int_equal(patience(UINT32_MAX, 0), PATIENCE_MOST / 2);
}

/* Many that have failed at the same moment: no part of the time has much more than its share, neither at the second
 * attempt nor at any after it. */
static void
test_no_stampede(void **state)
{
	static uint64_t at[PATHS];
	unsigned failures, i;

	(void)state;
	for (failures = 0; failures < 12; failures++) {
		unsigned seen[WINDOWS] = { 0 };
		uint64_t first = UINT64_MAX, last = 0;

		for (i = 0; i < PATHS; i++) {
			uint64_t wait = patience(failures, next());

			at[i] += wait;
			first = wait < first ? wait : first;
			last = wait > last ? wait : last;
			seen[(wait - patience(failures, 0)) * WINDOWS / (2 * patience(failures, 0))]++;
		}
		assert_true(last > 2 * first);
		for (i = 0; i < WINDOWS; i++)
			assert_in_range(seen[i], PATHS / WINDOWS / 2, 2 * PATHS / WINDOWS);
	}
	for (i = 1; i < PATHS; i++)
		assert_true(at[i] > 10 * PATIENCE_FIRST);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_range),
		cmocka_unit_test(test_no_stampede),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
