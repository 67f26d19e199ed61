/*
 * test_answers.c: responses of OCSP that are kept until they are out of date, within bounds.
 *
 * Links: s2sd
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "responder.h"

#define NOW 1000

static void
put(struct answers *answers, const char *request, const char *response, time_t until)
{
	answers_put(answers, slice_string(request), slice_string(response), until, NOW);
}

static void
gives(struct answers *answers, const char *request, time_t now, const char *response)
{
	struct slice found = answers_get(answers, slice_string(request), now);

	if (response == NULL)
		assert_null(found.ptr);
	else
		assert_true(slice_is(found, response));
}

static void
test_time(void **state)
{
	struct answers *answers = answers_new(10, 10000);

	(void)state;
	gives(answers, "a", NOW, NULL);
	put(answers, "a", "good", NOW + 10);
	put(answers, "b", "revoked", NOW + 20);
	put(answers, "c", "late", NOW);
	gives(answers, "a", NOW + 9, "good");
	gives(answers, "c", NOW, NULL);
	gives(answers, "a", NOW + 10, NULL);
	gives(answers, "a", NOW, NULL); /* it is forgotten */
	gives(answers, "b", NOW + 10, "revoked");
	assert_int_equal(answers_count(answers), 1);
	put(answers, "b", "good again", NOW + 30);
	gives(answers, "b", NOW + 29, "good again");
	put(answers, "b", "late", NOW - 1); /* what is known is no more than the last */
	gives(answers, "b", NOW, NULL);
	answers_free(&answers);
	assert_null(answers);
}

static void
test_bounds(void **state)
{
	struct answers *answers = answers_new(3, 1000);
	char name[8], big[2000];
	int i;

	(void)state;
	for (i = 0; i < 100; i++) {
		snprintf(name, sizeof name, "%d", i);
		put(answers, name, name, NOW + 10);
		assert_true(answers_count(answers) <= 3);
	}
	gives(answers, "96", NOW, NULL);
	gives(answers, "97", NOW, "97");
	gives(answers, "99", NOW, "99");
	memset(big, 'x', sizeof big);
	big[sizeof big - 1] = '\0';
	put(answers, "big", big, NOW + 10); /* by itself too big: the others stay */
	gives(answers, "big", NOW, NULL);
	gives(answers, "99", NOW, "99");
	big[500] = '\0';
	put(answers, "x", big, NOW + 10);
	put(answers, "y", big, NOW + 10);
	gives(answers, "x", NOW, NULL);
	gives(answers, "y", NOW, big);
	answers_free(&answers);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_time),
		cmocka_unit_test(test_bounds),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
