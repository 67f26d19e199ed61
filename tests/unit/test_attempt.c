/*
 * test_attempt.c: the history of attempts to reach a peer: what is kept, how it is shown, and that nothing
 * a peer writes makes it longer or stranger.
 *
 * Links: s2sd
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "attempt.h"

/* The JSON of a domain as text; to be freed. */
static char *
shown(const struct attempts *attempts, const char *domain)
{
	json_t *json = attempts_json(attempts, slice_string(domain));
	char *text;

	if (json == NULL)
		return NULL;
	text = json_dumps(json, JSON_COMPACT | JSON_SORT_KEYS);
	json_decref(json);
	assert_non_null(text);
	return text;
}

static void
shows(const struct attempts *attempts, const char *domain, const char *expected)
{
	char *text = shown(attempts, domain);

	if (expected == NULL)
		assert_null(text);
	else
		assert_string_equal(text, expected);
	free(text);
}

static void
test_steps(void **state)
{
	struct attempts *attempts = attempts_new(8, 1 << 20);
	struct attempt *a;

	(void)state;
	shows(attempts, "example.org", NULL);
	a = attempt_begin(attempts, SLICE("example.org"), ATTEMPT_OUT, 1000, 1764295000123);
	attempt_step(a, 1003, "dns", ATTEMPT_OK, "type=%s name=%s secure=%d", "SRV", "_xmpp-server._tcp.example.org", 1);
	attempt_step(a, 1004, "tls", ATTEMPT_FAILED, "reason='%s' empty= alone", attempt_text(SLICE("it's \"over\"\\")));
	attempt_step(a, 1005, "policy", ATTEMPT_SKIPPED, NULL);
	shows(attempts, "example.org",
	    "[{\"began\":1764295000123,\"direction\":\"out\",\"domain\":\"example.org\",\"steps\":["
	    "{\"at\":3,\"name\":\"_xmpp-server._tcp.example.org\",\"secure\":\"1\",\"step\":\"dns\",\"type\":\"SRV\","
	    "\"verdict\":\"ok\"},"
	    "{\"at\":4,\"empty\":\"\",\"reason\":\"it\\\\x27s \\\"over\\\"\\\\x5c\",\"step\":\"tls\",\"verdict\":\"failed\"},"
	    "{\"at\":5,\"step\":\"policy\",\"verdict\":\"skipped\"}],\"steps-left-out\":0}]");
	attempt_end(&a, 1010, ATTEMPT_FAILED, "no TLS");
	assert_null(a);
	a = attempt_begin(attempts, SLICE("example.org"), ATTEMPT_IN, 2000, 1764295001000);
	attempt_end(&a, 2412, ATTEMPT_OK, "authenticated");
	shows(attempts, "example.org",
	    "[{\"began\":1764295001000,\"direction\":\"in\",\"domain\":\"example.org\",\"milliseconds\":412,"
	    "\"result\":\"authenticated\",\"steps\":[],\"steps-left-out\":0,\"verdict\":\"ok\"},"
	    "{\"began\":1764295000123,\"direction\":\"out\",\"domain\":\"example.org\",\"milliseconds\":10,"
	    "\"result\":\"no TLS\",\"steps\":["
	    "{\"at\":3,\"name\":\"_xmpp-server._tcp.example.org\",\"secure\":\"1\",\"step\":\"dns\",\"type\":\"SRV\","
	    "\"verdict\":\"ok\"},"
	    "{\"at\":4,\"empty\":\"\",\"reason\":\"it\\\\x27s \\\"over\\\"\\\\x5c\",\"step\":\"tls\",\"verdict\":\"failed\"},"
	    "{\"at\":5,\"step\":\"policy\",\"verdict\":\"skipped\"}],\"steps-left-out\":0,\"verdict\":\"failed\"}]");
	attempts_free(&attempts);
	assert_null(attempts);
}

static void
test_texts(void **state)
{
	static const struct {
		struct slice text;
		const char *escaped;
	} rows[] = {
		{ { NULL, 0 }, "" },
		{ { "plain text", 10 }, "plain text" },
		{ { "b\xc3\xbc" "cher", 7 }, "b\xc3\xbc" "cher" },
		{ { "a\0b", 3 }, "a\\x00b" },
		{ { "\n\r\t\x1b[31m", 8 }, "\\x0a\\x0d\\x09\\x1b[31m" },
		{ { "\xc3", 1 }, "\\xc3" },
		{ { "\xed\xa0\x80", 3 }, "\\xed\\xa0\\x80" },             /* a surrogate */
		{ { "\xf4\x90\x80\x80", 4 }, "\\xf4\\x90\\x80\\x80" },    /* past the end */
		{ { "\xc0\xaf", 2 }, "\\xc0\\xaf" },                      /* overlong */
		{ { "\xe2\x80\xae", 3 }, "\\xe2\\x80\\xae" },             /* right to left */
		{ { "\xc2\x9b", 2 }, "\\xc2\\x9b" },                      /* a control of C1 */
		{ { "a' b='c", 7 }, "a\\x27 b=\\x27c" },
	};
	char big[1000];
	size_t i;

	(void)state;
	for (i = 0; i < sizeof rows / sizeof rows[0]; i++)
		assert_string_equal(attempt_text(rows[i].text), rows[i].escaped);
	memset(big, 'x', sizeof big);
	assert_int_equal(strlen(attempt_text(slice_of(big, sizeof big))), ATTEMPT_TEXT - 1);
	memset(big, 1, sizeof big);
	assert_int_equal(strlen(attempt_text(slice_of(big, sizeof big))), (ATTEMPT_TEXT - 1) / 4 * 4);
	/* a character of several bytes is not cut in two */
	for (i = 0; i + 1 < sizeof big; i += 2)
		memcpy(big + i, "\xc3\xbc", 2);
	assert_int_equal(strlen(attempt_text(slice_of(big, sizeof big))), (ATTEMPT_TEXT - 1) / 2 * 2);
}

/* What a caller forgets to escape is still shown as text. */
static void
test_rough(void **state)
{
	struct attempts *attempts = attempts_new(8, 1 << 20);
	struct attempt *a = attempt_begin(attempts, SLICE("\xff' \n<x>"), ATTEMPT_IN, 0, 0);
	char big[2000], *text;
	size_t i;
	json_t *json;

	(void)state;
	memset(big, 'y', sizeof big - 1);
	big[sizeof big - 1] = '\0';
	attempt_step(a, 0, "a name that is much longer than it may be", ATTEMPT_NOTED, "k='%s", big);
	attempt_step(a, 0, "x", ATTEMPT_NOTED, "a=\xff\xfe\n b='unfinished");
	attempt_step(a, 0, "x", ATTEMPT_NOTED, "at=9 step=9 verdict=9 =9 %s=9 a=1 a=2", big + 1900);
	attempt_step(a, 0, "x", ATTEMPT_NOTED, "a=1 b=2 c=3 d=4 e=5 f=6 g=7 h=8 i=9");
	attempt_step(a, 0, "x", ATTEMPT_NOTED, "no fields at all");
	/* cut in the middle of a character */
	for (i = 0; i + 2 < sizeof big; i += 2)
		memcpy(big + i, "\xc3\xbc", 2);
	attempt_step(a, 0, "x", ATTEMPT_NOTED, "k=%s", big);
	attempt_end(&a, 5, ATTEMPT_FAILED, "\x1b]0;title\x07");
	text = shown(attempts, "\xff' \n<x>");
	assert_non_null(strstr(text, "\"domain\":\"\\\\xff\\\\x27 \\\\x0a<x>\""));
	assert_non_null(strstr(text, "\"step\":\"a name that is much lon\""));
	assert_non_null(strstr(text, "{\"a\":\"\\\\xff\\\\xfe\\\\x0a\",\"at\":0,\"b\":\"unfinished\","));
	assert_non_null(strstr(text, "{\"a\":\"1\",\"at\":0,\"step\":\"x\",\"verdict\":\"noted\"}"));
	assert_non_null(strstr(text, "\"h\":\"8\",\"step\""));
	assert_non_null(strstr(text, "\"result\":\"\\\\x1b]0;title\\\\x07\""));
	for (i = 0; text[i] != '\0'; i++)
		assert_true((unsigned char)text[i] >= ' ');
	json = json_loads(text, 0, NULL);
	assert_non_null(json);
	json_decref(json);
	free(text);
	attempts_free(&attempts);
}

static void
test_bounds(void **state)
{
	struct attempts *attempts = attempts_new(4, 1 << 20);
	struct attempt *a, *open;
	char domain[32];
	json_t *json;
	size_t i;

	(void)state;
	a = attempt_begin(attempts, SLICE("a"), ATTEMPT_OUT, 0, 0);
	for (i = 0; i < ATTEMPT_STEPS + 7; i++)
		attempt_step(a, i, "step", ATTEMPT_OK, "n=%zu", i);
	attempt_end(&a, 100, ATTEMPT_OK, "");
	json = attempts_json(attempts, SLICE("a"));
	assert_int_equal(json_array_size(json_object_get(json_array_get(json, 0), "steps")), ATTEMPT_STEPS);
	assert_int_equal(json_integer_value(json_object_get(json_array_get(json, 0), "steps-left-out")), 7);
	json_decref(json);
	/* the oldest attempts go, one that is under way stays */
	open = attempt_begin(attempts, SLICE("a"), ATTEMPT_OUT, 0, 1);
	for (i = 0; i < 2 * ATTEMPT_KEPT; i++) {
		a = attempt_begin(attempts, SLICE("a"), ATTEMPT_OUT, 0, 100 + i);
		attempt_end(&a, 1, ATTEMPT_OK, "");
	}
	json = attempts_json(attempts, SLICE("a"));
	assert_int_equal(json_array_size(json), ATTEMPT_KEPT + 1);
	assert_int_equal(json_integer_value(json_object_get(json_array_get(json, 0), "began")), 131);
	assert_int_equal(json_integer_value(json_object_get(json_array_get(json, ATTEMPT_KEPT - 1), "began")), 116);
	assert_int_equal(json_integer_value(json_object_get(json_array_get(json, ATTEMPT_KEPT), "began")), 1);
	json_decref(json);
	/* the domains heard of longest ago go, but not the one with the open attempt */
	for (i = 0; i < 100; i++) {
		snprintf(domain, sizeof domain, "d%zu", i);
		a = attempt_begin(attempts, slice_string(domain), ATTEMPT_OUT, 0, 0);
		attempt_end(&a, 1, ATTEMPT_FAILED, "refused");
		assert_in_range(attempts_domains(attempts), 1, 4);
	}
	json = attempts_summary(attempts);
	assert_int_equal(json_object_size(json), 4);
	assert_string_equal(json_string_value(json_object_get(json_object_get(json, "d99"), "result")), "refused");
	assert_int_equal(json_integer_value(json_object_get(json_object_get(json, "a"), "attempts")), ATTEMPT_KEPT + 1);
	assert_non_null(json_object_get(json, "d97"));
	json_decref(json);
	/* what took long is not forgotten when it ends */
	attempt_end(&open, 1, ATTEMPT_OK, "at last");
	json = attempts_json(attempts, SLICE("a"));
	assert_int_equal(json_array_size(json), ATTEMPT_KEPT);
	assert_string_equal(json_string_value(json_object_get(json_array_get(json, 0), "result")), "at last");
	json_decref(json);
	attempts_free(&attempts);
}

static void
test_bytes(void **state)
{
	struct attempts *attempts = attempts_new(1000, 100000);
	struct attempt *a;
	char domain[32];
	size_t i, n;

	(void)state;
	for (i = 0; i < 500; i++) {
		snprintf(domain, sizeof domain, "d%zu", i);
		a = attempt_begin(attempts, slice_string(domain), ATTEMPT_OUT, 0, 0);
		for (n = 0; n < ATTEMPT_STEPS; n++)
			attempt_step(a, n, "step", ATTEMPT_OK, "a='%0500d'", 0);
		attempt_end(&a, 1, ATTEMPT_OK, "");
		assert_in_range(attempts_bytes(attempts), 1, 100000);
	}
	assert_in_range(attempts_domains(attempts), 1, 4);
	attempts_free(&attempts);
}

static void
test_domain(void **state)
{
	struct attempts *attempts = attempts_new(1, 1 << 20);
	struct attempt *a = attempt_begin(attempts, SLICE(""), ATTEMPT_IN, 0, 0), *other;

	(void)state;
	attempt_domain(a, SLICE("example.org"));
	assert_int_equal(attempts_domains(attempts), 1);
	shows(attempts, "", NULL);
	attempt_domain(a, SLICE("example.org"));
	/* beyond the bound as long as both are under way */
	other = attempt_begin(attempts, SLICE("example.net"), ATTEMPT_OUT, 0, 0);
	assert_int_equal(attempts_domains(attempts), 2);
	attempt_end(&a, 1, ATTEMPT_OK, "x");
	assert_int_equal(attempts_domains(attempts), 1);
	attempt_domain(other, SLICE("example.com"));
	attempt_end(&other, 1, ATTEMPT_OK, "x");
	shows(attempts, "example.com", "[{\"began\":0,\"direction\":\"out\",\"domain\":\"example.com\",\"milliseconds\":1,"
	    "\"result\":\"x\",\"steps\":[],\"steps-left-out\":0,\"verdict\":\"ok\"}]");
	attempts_free(&attempts);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_steps),
		cmocka_unit_test(test_texts),
		cmocka_unit_test(test_rough),
		cmocka_unit_test(test_bounds),
		cmocka_unit_test(test_bytes),
		cmocka_unit_test(test_domain),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
