/*
 * test_ctl_print.c: how aldisctl shows JSON.
 *
 * Links: router/aldisctl
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "ctl.h"

static void
assert_shown(const char *json, const char *expected)
{
	json_t *value = json_loads(json, JSON_DECODE_ANY, NULL);
	char *shown = NULL;
	size_t len;
	FILE *out;

	assert_non_null(value);
	out = open_memstream(&shown, &len);
	ctl_print(value, out);
	fclose(out);
	assert_string_equal(shown, expected);
	free(shown);
	json_decref(value);
}

static void
test_table(void **state)
{
	(void)state;
	assert_shown("[{\"process\":\"router\",\"pid\":7},{\"process\":\"c2sd\",\"pid\":1234}]",
	    "process   pid\n"
	    "router      7\n"
	    "c2sd     1234\n");
}

static void
test_table_of_different_rows(void **state)
{
	(void)state;
	assert_shown("[{\"a\":1},{\"b\":\"x\",\"a\":null},{\"a\":true,\"b\":[1,2]}]",
	    "a    b\n"
	    "1    -\n"
	    "-    x\n"
	    "yes  [1,2]\n");
}

static void
test_wide_letters(void **state)
{
	(void)state;
	assert_shown("[{\"n\":\"\\u6f22\\u5b57\",\"m\":\"x\"},{\"n\":\"abcde\",\"m\":\"y\"}]",
	    "n      m\n"
	    "\xe6\xbc\xa2\xe5\xad\x97   x\n"
	    "abcde  y\n");
}

static void
test_object(void **state)
{
	(void)state;
	assert_shown("{\"version\":\"0.1\",\"sessions\":3,\"none\":\"\",\"list\":[{\"x\":1}]}",
	    "version   0.1\n"
	    "sessions  3\n"
	    "none      -\n"
	    "\n"
	    "list:\n"
	    "x\n"
	    "1\n");
}

static void
test_plain(void **state)
{
	(void)state;
	assert_shown("\"done\"", "done\n");
	assert_shown("5", "5\n");
	assert_shown("[\"a\",\"b\"]", "a\nb\n");
	assert_shown("[]", "");
	assert_shown("null", "");
	assert_shown("true", "");
	assert_shown("{}", "");
}

/* A resource is chosen by a user: it must not steer the administrator's terminal, or fake lines. */
static void
test_hostile_text(void **state)
{
	(void)state;
	assert_shown("\"\\u001b[2J\\n\\u009b\\u202e\\u2028x\"",
	    "\\u{1b}[2J\\u{a}\\u{9b}\\u{202e}\\u{2028}x\n");
	assert_shown("[{\"\\u0007k\":\"v\"}]", "\\u{7}k\nv\n");
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_table),
		cmocka_unit_test(test_table_of_different_rows),
		cmocka_unit_test(test_wide_letters),
		cmocka_unit_test(test_object),
		cmocka_unit_test(test_plain),
		cmocka_unit_test(test_hostile_text),
	};

	return cmocka_run_group_tests_name("ctl_print", tests, NULL, NULL);
}
