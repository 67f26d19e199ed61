/*
 * test_happy.c: in which order and when addresses are connected to (RFC 8305, RFC 2782).
 *
 * Links: s2sd
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "happy.h"

#define LIMIT 10000

/* A resolution with these candidates: "6" or "4" each, a space ends a priority. */
static struct happy
begun(const char *text)
{
	static struct resolution resolution;
	struct happy happy;
	uint16_t priority = 0;

	resolution.count = 0;
	for (; *text != '\0'; text++) {
		struct candidate *c = &resolution.candidates[resolution.count];

		if (*text == ' ') {
			priority++;
			continue;
		}
		*c = (struct candidate){ .priority = priority };
		c->address.any.sa_family = *text == '6' ? AF_INET6 : AF_INET;
		resolution.count++;
	}
	happy_start(&happy, &resolution, LIMIT);
	return happy;
}

/* What begins at this time, as letters: a is candidate 0. */
static const char *
begin(struct happy *happy, uint64_t now)
{
	static char text[RESOLVE_CANDIDATES + 1];
	size_t candidate, len = 0;

	while (happy_next(happy, now, &candidate)) {
		assert_int_equal(happy_state(happy, candidate), HAPPY_CONNECTING);
		text[len++] = (char)('a' + candidate);
	}
	text[len] = '\0';
	return text;
}

static uint64_t
due(const struct happy *happy)
{
	uint64_t when;

	assert_true(happy_due(happy, &when));
	return when;
}

static void
test_order(void **state)
{
	static const struct {
		const char *candidates, *order;
	} rows[] = {
		{ "", "" }, { "4", "a" }, { "444", "abc" }, { "4466", "cadb" }, { "6664", "adbc" },
		{ "64 46 4", "abdce" }, { "4 6", "ab" }, { "444 6", "abcd" },
	};
	size_t i, n;

	(void)state;
	for (i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		struct happy happy = begun(rows[i].candidates);

		for (n = 0; rows[i].order[n] != '\0'; n++) {
			assert_string_equal(begin(&happy, 1000 + n * HAPPY_STAGGER),
			    ((char[]){ rows[i].order[n], '\0' }));
		}
		assert_string_equal(begin(&happy, 100000), "");
		assert_int_equal(happy_over(&happy), n == 0);
	}
}

static void
test_times(void **state)
{
	struct happy happy = begun("6464");
	uint64_t when;
	size_t late;

	(void)state;
	assert_true(due(&happy) <= 5000);
	assert_string_equal(begin(&happy, 5000), "a");
	assert_int_equal(due(&happy), 5250);
	assert_string_equal(begin(&happy, 5249), "");
	assert_string_equal(begin(&happy, 5250), "b");
	/* one that is not the last fails: the last one keeps its time */
	happy_failed(&happy, 0);
	assert_string_equal(begin(&happy, 5300), "");
	/* the last one fails: the next begins */
	happy_failed(&happy, 1);
	assert_string_equal(begin(&happy, 5301), "c");
	assert_int_equal(due(&happy), 5551);
	assert_string_equal(begin(&happy, 9000), "d"); /* the loop was late: one, not all at once */
	assert_int_equal(due(&happy), 5301 + LIMIT);
	assert_false(happy_late(&happy, 5300 + LIMIT, &late));
	assert_true(happy_late(&happy, 5301 + LIMIT, &late));
	assert_int_equal(late, 2);
	assert_false(happy_late(&happy, 5301 + LIMIT, &late));
	assert_false(happy_over(&happy));
	assert_int_equal(due(&happy), 9000 + LIMIT);
	assert_true(happy_late(&happy, 90000, &late));
	assert_int_equal(late, 3);
	assert_true(happy_over(&happy));
	assert_false(happy_due(&happy, &when));
	assert_string_equal(begin(&happy, 100000), "");
}

static void
test_connected(void **state)
{
	struct happy happy = begun("646");
	uint64_t when;

	(void)state;
	assert_string_equal(begin(&happy, 0), "a");
	assert_string_equal(begin(&happy, 250), "b");
	assert_true(happy_connected(&happy, 1));
	/* the other was on its way: closed by its owner, and waiting again */
	assert_int_equal(happy_state(&happy, 0), HAPPY_WAITING);
	assert_false(happy_connected(&happy, 0));
	assert_false(happy_due(&happy, &when));
	assert_string_equal(begin(&happy, 10000), "");
	assert_false(happy_over(&happy));
	/* it was of no use: the others, at once, the one that was given up first */
	happy_failed(&happy, 1);
	assert_string_equal(begin(&happy, 10001), "a");
	happy_failed(&happy, 1);
	assert_string_equal(begin(&happy, 10002), "");
	happy_failed(&happy, 0);
	assert_string_equal(begin(&happy, 10003), "c");
	happy_failed(&happy, 2);
	assert_true(happy_over(&happy));
	/* what is not there */
	happy_failed(&happy, 31);
	assert_false(happy_connected(&happy, 31));
	assert_int_equal(happy_state(&happy, 31), HAPPY_FAILED);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_order),
		cmocka_unit_test(test_times),
		cmocka_unit_test(test_connected),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
