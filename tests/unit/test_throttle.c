/*
 * test_throttle.c: how failures are counted, forgotten and delayed.
 * Links: authd
 */
#include "authd_test.h"

#define WINDOW 600000

static void
test_delay(void **unused)
{
	static const unsigned delays[] = {
		0, 0, 0, 250, 500, 1000, 2000, 4000, 8000, 10000, 10000
	};
	struct throttle *t = throttle_new(3, WINDOW);
	unsigned i;

	(void)unused;
	for (i = 0; i < sizeof delays / sizeof delays[0]; i++) {
		assert_int_equal(throttle_count(t, SLICE("a"), 100), i);
		assert_int_equal(throttle_delay(t, SLICE("a"), 100), delays[i]);
		throttle_fail(t, SLICE("a"), 100);
	}
	for (i = 0; i < 100000; i++)
		throttle_fail(t, SLICE("a"), 100);
	assert_int_equal(throttle_delay(t, SLICE("a"), 100), THROTTLE_MAX);
	assert_int_equal(throttle_delay(t, SLICE("b"), 100), 0);
	throttle_free(&t);
	assert_null(t);
}

static void
test_forgotten(void **unused)
{
	struct throttle *t = throttle_new(1, WINDOW);

	(void)unused;
	throttle_fail(t, SLICE("a"), 0);
	throttle_fail(t, SLICE("a"), 1000);
	assert_int_equal(throttle_count(t, SLICE("a"), 1000 + WINDOW - 1), 2);
	assert_int_equal(throttle_count(t, SLICE("a"), 1000 + WINDOW), 0);
	throttle_undo(t, SLICE("a"), 1000);
	assert_int_equal(throttle_count(t, SLICE("a"), 1000), 1);
	throttle_undo(t, SLICE("a"), 1000);
	throttle_undo(t, SLICE("a"), 1000);
	throttle_undo(t, SLICE("never"), 1000);
	assert_int_equal(throttle_count(t, SLICE("a"), 1000), 0);
	throttle_free(&t);
}

/* A flood of other names does not wash failures away. */
static void
test_flood(void **unused)
{
	struct throttle *t = throttle_new(1, WINDOW);
	unsigned i;

	(void)unused;
	for (i = 0; i < 10; i++)
		throttle_fail(t, SLICE("victim"), 0);
	for (i = 0; i < 200000; i++)
		throttle_fail(t, slice_of(&i, sizeof i), 1);
	assert_int_equal(throttle_count(t, SLICE("victim"), 2), 10);
	assert_true(throttle_size(t, 2) > 16000 && throttle_size(t, 2) <= 16384);
	assert_int_equal(throttle_size(t, 2 + WINDOW), 0);
	throttle_free(&t);
}

static bool
same(const char *a, const char *b)
{
	char out_a[THROTTLE_ADDRESS], out_b[THROTTLE_ADDRESS];

	return slice_equal(throttle_address(slice_string(a), out_a),
	    throttle_address(slice_string(b), out_b));
}

static void
test_address(void **unused)
{
	(void)unused;
	assert_true(same("192.0.2.1", "192.0.2.1"));
	assert_false(same("192.0.2.1", "192.0.2.2"));
	assert_true(same("192.0.2.1", "::ffff:192.0.2.1"));
	assert_true(same("2001:db8::1", "2001:db8:0:0:ffff::2"));
	assert_false(same("2001:db8::1", "2001:db8:0:1::1"));
	assert_true(same(NULL, ""));
	assert_true(same("what is this?", "what is this?"));
	assert_false(same("what is this?", "what is that?"));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_delay), cmocka_unit_test(test_forgotten),
		cmocka_unit_test(test_flood), cmocka_unit_test(test_address),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
