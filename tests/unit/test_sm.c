/*
 * test_sm.c: the counters of stream management (XEP-0198) and the window of stanzas that are not
 * handled.
 *
 * Links: entry
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "error.h"
#include "sm.h"

/* A stanza counts when it and all before it were acknowledged. */
static void
test_handled_in_order(void **state)
{
	struct sm sm = { 0 };
	uint64_t seq;

	(void)state;
	sm_enable(&sm);
	for (seq = 10; seq < 15; seq++)
		sm_read(&sm, seq, 100);
	assert_int_equal(sm_h(&sm), 0);
	sm_handled(&sm, 11);
	sm_handled(&sm, 12);
	assert_int_equal(sm_h(&sm), 0);
	sm_handled(&sm, 10);
	assert_int_equal(sm_h(&sm), 3);
	sm_handled(&sm, 99);
	sm_handled(&sm, 10);
	sm_handled(&sm, 0);
	assert_int_equal(sm_h(&sm), 3);
	sm_handled(&sm, 14);
	sm_handled(&sm, 13);
	assert_int_equal(sm_h(&sm), 5);
	assert_null(sm.stanzas);
	assert_int_equal(sm.bytes, 0);
}

/* What is answered here counts in its place. */
static void
test_handled_here(void **state)
{
	struct sm sm = { 0 };

	(void)state;
	sm_enable(&sm);
	sm_read(&sm, 0, 0);
	assert_int_equal(sm_h(&sm), 1);
	sm_read(&sm, 1, 10);
	sm_read(&sm, 0, 0);
	assert_int_equal(sm_h(&sm), 1);
	sm_handled(&sm, 1);
	assert_int_equal(sm_h(&sm), 3);
}

static void
test_before_enable(void **state)
{
	struct sm sm = { 0 };

	(void)state;
	sm_read(&sm, 1, 10);
	sm_read(&sm, 2, 10);
	sm_enable(&sm);
	assert_int_equal(sm_h(&sm), 0);
	sm_handled(&sm, 1);
	sm_handled(&sm, 2);
	assert_int_equal(sm_h(&sm), 0);
	sm_read(&sm, 3, 10);
	sm_handled(&sm, 3);
	assert_int_equal(sm_h(&sm), 1);
}

static void
test_window(void **state)
{
	struct sm sm = { 0 };
	uint64_t seq;

	(void)state;
	for (seq = 1; seq <= 128; seq++) {
		assert_false(sm_window_full(&sm));
		sm_read(&sm, seq, 10);
	}
	assert_true(sm_window_full(&sm));
	for (seq = 1; seq <= 63; seq++)
		sm_handled(&sm, seq);
	assert_false(sm_window_low(&sm));
	sm_handled(&sm, 64);
	assert_true(sm_window_low(&sm));
	sm_read(&sm, 200, 600000);
	assert_true(sm_window_full(&sm));
	assert_false(sm_window_low(&sm));
	sm_free(&sm);
}

static void
test_acknowledge(void **state)
{
	struct sm sm = { 0 };
	uint32_t n = 77;

	(void)state;
	sm_enable(&sm);
	assert_int_equal(sm_acknowledge(&sm, 3, 5, &n), OK);
	assert_int_equal(n, 3);
	assert_int_equal(sm_acknowledge(&sm, 3, 2, &n), OK);
	assert_int_equal(n, 0);
	assert_int_equal(sm_acknowledge(&sm, 6, 2, &n), E_MISMATCH);
	assert_int_equal(sm_acknowledge(&sm, 2, 2, &n), E_MISMATCH); /* goes back */
	assert_int_equal(sm.acked, 3);
	sm.acked = UINT32_MAX - 1;
	assert_int_equal(sm_acknowledge(&sm, 2, 10, &n), OK); /* over the end of 32 bits */
	assert_int_equal(n, 4);
}

/* An <r/> is answered when what came before it is handled, and again when it waited in vain. */
static void
test_answer(void **state)
{
	struct sm sm = { 0 };

	(void)state;
	sm_enable(&sm);
	sm_request(&sm);
	assert_true(sm_answer_due(&sm));
	sm_answered(&sm);
	assert_false(sm.answer);
	sm_read(&sm, 1, 1);
	sm_request(&sm);
	sm_read(&sm, 2, 1);
	assert_false(sm_answer_due(&sm));
	assert_true(sm_answer_waits(&sm));
	sm_answered(&sm); /* out of patience */
	assert_false(sm_answer_waits(&sm));
	assert_true(sm.answer);
	sm_handled(&sm, 1);
	assert_true(sm_answer_due(&sm));
	sm_request(&sm);
	sm_answered(&sm);
	assert_true(sm.answer); /* the second one is about stanza 2 */
	sm_handled(&sm, 2);
	assert_true(sm_answer_due(&sm));
	sm_answered(&sm);
	assert_false(sm.answer);
}

static void
test_ask(void **state)
{
	struct sm sm = { 0 };
	unsigned i;

	(void)state;
	for (i = 0; i < 10; i++)
		sm_wrote(&sm, 10);
	assert_false(sm_ask_due(&sm)); /* not enabled */
	sm_detach(&sm);
	sm_enable(&sm);
	for (i = 0; i < 4; i++)
		sm_wrote(&sm, 10);
	assert_false(sm_ask_due(&sm));
	sm_wrote(&sm, 10);
	assert_true(sm_ask_due(&sm));
	sm_asked(&sm);
	sm_wrote(&sm, 100000);
	assert_false(sm_ask_due(&sm)); /* one at a time */
	sm.asked = false;
	assert_true(sm_ask_due(&sm));
	sm_detach(&sm);
	assert_false(sm_ask_due(&sm));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_handled_in_order),
		cmocka_unit_test(test_handled_here),
		cmocka_unit_test(test_before_enable),
		cmocka_unit_test(test_window),
		cmocka_unit_test(test_acknowledge),
		cmocka_unit_test(test_answer),
		cmocka_unit_test(test_ask),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
