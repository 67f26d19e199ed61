/*
 * test_authenticate.c: what <authenticate/> may say (XEP-0388).
 *
 * Links: c2sd
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "c2sd.h"
#include "ns.h"

#define AGENT   "d4565fa7-4d72-4749-b3d3-740edbf87770"
#define INITIAL "<initial-response>AGEAYg==</initial-response>"

/* Reads an element with this payload; returns the condition. */
static const char *
reads(const char *payload, struct wishes **w)
{
	struct xml_element element = { .ns = SLICE(NS_SASL2), .payload = slice_string(payload) };

	*w = wishes_new();
	return authenticate_read(&element, *w);
}

static void
refuses(const char *payload, const char *wanted)
{
	struct wishes *w;
	const char *condition = reads(payload, &w);

	assert_non_null(condition);
	assert_string_equal(condition, wanted);
	wishes_free(&w);
	assert_null(w);
}

static void
test_initial(void **unused)
{
	struct wishes *w;

	(void)unused;
	assert_null(reads(INITIAL, &w));
	assert_true(w->has_data && w->data.secret);
	assert_true(slice_equal(buf_slice(&w->data), SLICE("\0a\0b")));
	wishes_free(&w);
	assert_null(reads("<initial-response/>", &w));
	assert_true(w->has_data && buf_len(&w->data) == 0);
	wishes_free(&w);
	assert_null(reads("", &w));
	assert_false(w->has_data);
	wishes_free(&w);
	refuses("<initial-response>=</initial-response>", "incorrect-encoding");
	refuses("<initial-response>AGEAYg</initial-response>", "incorrect-encoding");
	refuses("<initial-response>AGEA<a/></initial-response>", "malformed-request");
	refuses(INITIAL INITIAL, "malformed-request");
}

static void
test_agent(void **unused)
{
	struct wishes *w;

	(void)unused;
	assert_null(reads(INITIAL "<user-agent id='" AGENT "'><software>a &amp; b</software>"
	    "<device/><more xmlns='urn:x'/></user-agent>", &w));
	assert_string_equal(w->agent, AGENT);
	assert_string_equal(w->software, "a & b");
	assert_string_equal(w->device, "");
	wishes_free(&w);
	assert_null(reads("<user-agent/>", &w));
	assert_string_equal(w->agent, "");
	assert_null(w->software);
	wishes_free(&w);
	refuses("<user-agent id=''/>", "malformed-request");
	refuses("<user-agent/><user-agent/>", "malformed-request");
	refuses("<user-agent><device/><device/></user-agent>", "malformed-request");
	refuses("<user-agent><software><a/></software></user-agent>", "malformed-request");
}

static void
test_uuid(void **unused)
{
	char uuid[UUID_LEN + 1];

	(void)unused;
	assert_true(uuid_read(SLICE("D4565FA7-4D72-4749-B3D3-740EDBF87770"), uuid));
	assert_string_equal(uuid, AGENT);
	assert_false(uuid_read(SLICE_NONE, uuid));
	assert_false(uuid_read(SLICE(AGENT "0"), uuid));
	assert_false(uuid_read(SLICE("d4565fa7-4d72-1749-b3d3-740edbf87770"), uuid)); /* version */
	assert_false(uuid_read(SLICE("d4565fa7-4d72-4749-c3d3-740edbf87770"), uuid)); /* variant */
	assert_false(uuid_read(SLICE("d4565fa7-4d72-4749-b3d3_740edbf87770"), uuid));
	assert_false(uuid_read(SLICE("d4565fa7-4d72-4749-b3d3-740edbf8777g"), uuid));
}

static void
test_bind(void **unused)
{
	struct wishes *w;

	(void)unused;
	assert_null(reads("<bind xmlns='" NS_BIND2 "'><tag>Lamp</tag><enable xmlns='" NS_CARBONS "'/><enable xmlns='" NS_SM
	    "' resume='1' max='9'/><enable xmlns='urn:x'/></bind>", &w));
	assert_true(w->bind && w->carbons && w->enable && w->enable_resume);
	assert_int_equal(w->enable_max, 9);
	assert_string_equal(w->tag, "Lamp");
	wishes_free(&w);
	assert_null(reads("<bind xmlns='" NS_BIND2 "'/><resume xmlns='" NS_SM
	    "' previd='x' h='no'/>", &w));
	assert_true(w->bind && !w->carbons && !w->enable && w->resume);
	assert_string_equal(w->previd, "x");
	assert_string_equal(w->h, "no");
	wishes_free(&w);
	refuses("<bind xmlns='" NS_BIND2 "'/><bind xmlns='" NS_BIND2 "'/>", "malformed-request");
	refuses("<bind xmlns='" NS_BIND2 "'><tag/><tag/></bind>", "malformed-request");
}

/* The resource of a client for an account. */
static char *
resource(const char *agent, const char *tag, const char *account)
{
	struct wishes *w = wishes_new();
	struct buf out = { 0 };
	char *text;

	if (agent != NULL)
		assert_true(uuid_read(slice_string(agent), w->agent));
	w->tag = tag != NULL ? slice_dup(slice_string(tag)) : NULL;
	wishes_resource(w, slice_string(account), &out);
	text = slice_dup(buf_slice(&out));
	buf_free(&out);
	wishes_free(&w);
	return text;
}

static void
differs(const char *text, char *other, bool wanted)
{
	assert_int_equal(strcmp(text, other) != 0, wanted);
	free(other);
}

static void
test_resource(void **unused)
{
	char *text = resource(AGENT, "Lamp", "juliet@capulet.example");

	(void)unused;
	assert_int_equal(strlen(text), 5 + 16);
	assert_memory_equal(text, "Lamp/", 5);
	assert_null(strstr(text, "d4565fa7"));
	differs(text, resource(AGENT, "Lamp", "juliet@capulet.example"), false);
	differs(text + 5, resource(AGENT, NULL, "juliet@capulet.example"), false);
	differs(text + 5, resource(AGENT, "", "juliet@capulet.example"), false);
	differs(text + 5, resource(AGENT, "\x7f", "juliet@capulet.example"), false);
	differs(text, resource(AGENT, "Lamp", "romeo@capulet.example"), true);
	differs(text, resource(NULL, "Lamp", "juliet@capulet.example"), true);
	free(text);
}

/* What is not known is left out; what is not XML of ours cannot be. */
static void
test_others(void **unused)
{
	struct wishes *w;

	(void)unused;
	assert_null(reads("<initial-response xmlns='urn:x'>=</initial-response>"
	    "<what><ever/></what>" INITIAL, &w));
	assert_true(w->has_data);
	wishes_free(&w);
	refuses("<a", "malformed-request");
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_initial),
		cmocka_unit_test(test_agent),
		cmocka_unit_test(test_uuid),
		cmocka_unit_test(test_bind),
		cmocka_unit_test(test_resource),
		cmocka_unit_test(test_others),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
