/*
 * test_passed.c: who may acknowledge what, against a simple model of it.
 *
 * Links: router/passed.c
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

#include "router.h"

#define COUNT_MAX 2000

static uint64_t
pair_at(const struct buf *pairs, size_t i)
{
	uint64_t n;

	memcpy(&n, buf_slice(pairs).ptr + 8 * i, 8);
	return n;
}

static void
only_its_own(void **state)
{
	struct passed *passed = passed_new();
	struct buf pairs = { 0 };

	(void)state;
	assert_true(passed_add(passed, 1, ROLE_AUTHD));
	assert_true(passed_add(passed, 2, ROLE_ARCHIVED));
	assert_true(passed_add(passed, 3, ROLE_AUTHD));
	assert_true(passed_add(passed, 4, ROLE_AUTHD));
	assert_true(passed_add(passed, 9, ROLE_AUTHD));
	assert_false(passed_take(passed, 1, 1, ROLE_MUCD, &pairs));
	assert_int_equal(buf_len(&pairs), 0);
	/* All that is authd's, in runs; archived's is told. */
	assert_false(passed_take(passed, 1, UINT64_MAX, ROLE_AUTHD, &pairs));
	assert_int_equal(buf_len(&pairs), 6 * 8);
	assert_true(pair_at(&pairs, 0) == 1 && pair_at(&pairs, 1) == 1);
	assert_true(pair_at(&pairs, 2) == 3 && pair_at(&pairs, 3) == 4);
	assert_true(pair_at(&pairs, 4) == 9 && pair_at(&pairs, 5) == 9);
	buf_clear(&pairs);
	/* Once more is nothing, and no fault. */
	assert_true(passed_take(passed, 3, 9, ROLE_AUTHD, &pairs));
	assert_true(passed_take(passed, 100, UINT64_MAX, ROLE_MUCD, &pairs));
	assert_true(passed_take(passed, 9, 3, ROLE_MUCD, &pairs));
	assert_int_equal(buf_len(&pairs), 0);
	assert_true(passed_take(passed, 2, 2, ROLE_ARCHIVED, &pairs));
	assert_true(pair_at(&pairs, 0) == 2);
	buf_free(&pairs);
	passed_free(&passed);
	assert_null(passed);
}

/* Random numbers, roles and ranges, in a queue whose front moves on. */
static void
as_the_model(void **state)
{
	static enum role model[COUNT_MAX];
	struct passed *passed = passed_new();
	struct buf pairs = { 0 };
	uint64_t next = 0;
	size_t round, i;

	(void)state;
	srandom(1);
	for (round = 0; round < 20000; round++) {
		enum role role = random() % 2 ? ROLE_AUTHD : ROLE_ARCHIVED;
		uint64_t first, last, n, taken = 0, expected = 0;
		bool good = true;

		if (random() % 2 && next < COUNT_MAX - 3) {
			next += 1 + (uint64_t)(random() % 3);
			model[next] = role;
			assert_true(passed_add(passed, next, role));
			continue;
		}
		first = (uint64_t)random() % COUNT_MAX;
		last = first + (uint64_t)random() % 8;
		for (n = first; n <= last && n < COUNT_MAX; n++) {
			good &= model[n] == ROLE_NONE || model[n] == role;
			expected += model[n] == role;
			model[n] = model[n] == role ? ROLE_NONE : model[n];
		}
		buf_clear(&pairs);
		assert_int_equal(passed_take(passed, first, last, role, &pairs), good);
		for (i = 0; i < buf_len(&pairs) / 16; i++) {
			assert_true(pair_at(&pairs, 2 * i) >= first && pair_at(&pairs, 2 * i + 1) <= last);
			taken += pair_at(&pairs, 2 * i + 1) - pair_at(&pairs, 2 * i) + 1;
		}
		assert_true(taken == expected);
	}
	buf_free(&pairs);
	passed_free(&passed);
}

/* There is an end to it, and what is acknowledged makes room. */
static void
bounded(void **state)
{
	struct passed *passed = passed_new();
	struct buf pairs = { 0 };
	uint64_t seq = 0;

	(void)state;
	while (passed_add(passed, ++seq, ROLE_AUTHD))
		assert_true(seq < 1u << 24);
	assert_true(passed_take(passed, 1, seq / 2, ROLE_AUTHD, &pairs));
	assert_int_equal(buf_len(&pairs), 16);
	assert_true(passed_add(passed, seq, ROLE_AUTHD));
	passed_clear(passed);
	assert_true(passed_add(passed, 1, ROLE_AUTHD));
	buf_free(&pairs);
	passed_free(&passed);
}

int
main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(only_its_own),
		cmocka_unit_test(as_the_model),
		cmocka_unit_test(bounded),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
