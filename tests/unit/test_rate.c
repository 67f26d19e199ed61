/*
 * test_rate.c: how long a domain of which much comes is read no more.
 *
 * Links: s2sd
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "rate.h"

#define START 1000000

static void
test_any(void **state)
{
	struct rate rate = { 0 };
	unsigned i;

	(void)state;
	for (i = 0; i < 100000; i++)
		assert_int_equal(rate_take(&rate, 0, 0, SIZE_MAX, START), 0);
}

static void
test_burst(void **state)
{
	struct rate rate = { 0 };
	unsigned i;

	(void)state;
	for (i = 0; i < 10 * RATE_BURST / 1000; i++)
		assert_int_equal(rate_take(&rate, 10, 0, 0, START), 0);
	assert_int_equal(rate_take(&rate, 10, 0, 0, START), 100);
	assert_int_equal(rate_take(&rate, 10, 0, 0, START), 200);
	/* Its time has passed, and that of one more. */
	assert_int_equal(rate_take(&rate, 10, 0, 0, START + 300), 0);
	assert_int_equal(rate_take(&rate, 10, 0, 0, START + 300), 100);
	/* After a silence there is a burst again, and not more than one. */
	for (i = 0; i < 10 * RATE_BURST / 1000; i++)
		assert_int_equal(rate_take(&rate, 10, 0, 0, START + 1000000), 0);
	assert_int_equal(rate_take(&rate, 10, 0, 0, START + 1000000), 100);
}

/* Whoever waits as told gets through what may come in the time. */
static void
test_long_run(void **state)
{
	struct rate rate = { 0 };
	uint64_t now = START, rest;
	unsigned i;

	(void)state;
	for (i = 0; i < 10000; i++) {
		rest = rate_take(&rate, 100, 100000, 500, now);
		assert_true(rest <= RATE_BURST);
		now += rest;
	}
	/* 100 seconds by the stanzas, 50 by the bytes; the burst is for nothing. */
	assert_in_range(now - START, 100000 - RATE_BURST, 100000 - RATE_BURST + 20);
}

static void
test_bytes(void **state)
{
	struct rate rate = { 0 };

	(void)state;
	assert_int_equal(rate_take(&rate, 1000, 1000, 5000, START), 0);
	assert_int_equal(rate_take(&rate, 1000, 1000, 500, START), 500);
	/* One that is larger than all that may come: nobody waits for ever. */
	assert_int_equal(rate_take(&rate, 1000, 1000, 1u << 30, START), RATE_BURST);
	assert_int_equal(rate_take(&rate, 1000, 1, SIZE_MAX / 2000000, START), RATE_BURST);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_any),
		cmocka_unit_test(test_burst),
		cmocka_unit_test(test_long_run),
		cmocka_unit_test(test_bytes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
