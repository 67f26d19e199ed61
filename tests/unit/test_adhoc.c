/*
 * test_adhoc.c: the XML of ad-hoc commands: what is read of clients, and that what is written is
 * canonical, whatever daemons answer.
 *
 * Links: router
 */
#include "router_world.h"

#include "ns.h"
#include "xmlin.h"

#define COMMAND(attributes, content) \
	"<command xmlns='" NS_COMMANDS "' node='x'" attributes ">" content "</command>"
#define FORM(content) "<x xmlns='" NS_DATA "' type='submit'>" content "</x>"

static void
expect_fault(const char *payload, const char *condition)
{
	struct adhoc_request r;
	const char *found = adhoc_request_read(slice_string(payload), &r);

	if (condition == NULL)
		assert_null(found);
	else
		assert_string_equal(found, condition);
	adhoc_request_free(&r);
}

static void
test_faults(void **state)
{
	(void)state;
	expect_fault("", "bad-payload");
	expect_fault("<command xmlns='x'/>", "bad-payload");
	expect_fault("<command xmlns='" NS_COMMANDS "' action='x'/>", "malformed-action");
	expect_fault("<command xmlns='" NS_COMMANDS "'/>", NULL);
	expect_fault(COMMAND("", "<x xmlns='" NS_DATA "' type='result'/>"), "bad-payload");
	expect_fault(COMMAND("", FORM("<field var='a'><value>b</value></field>")), NULL);
	expect_fault(COMMAND("", FORM("<field var='a'><value><b/></value></field>")), NULL);
	expect_fault(COMMAND("", FORM("<field var='a'><value>b\nc</value></field>")), "bad-payload");
	expect_fault(COMMAND("", FORM("<field var='a'><value>b</value>")), "bad-payload");
	expect_fault(COMMAND("", "<note>x</note><y xmlns='z'/>"), NULL);
}

static void
test_values(void **state)
{
	struct adhoc_request r;
	struct slice value;

	(void)state;
	assert_null(adhoc_request_read(SLICE(COMMAND(" action='complete' sessionid='&lt;1&gt;'",
	    FORM("<field var='a' type='hidden'><value>1 &amp; 2</value><value>x</value></field>"
	    "<field><value>none</value></field><field var='b'><value/></field>"
	    "<field var='c'/><field xmlns='y' var='d'><value>z</value></field>"))), &r));
	assert_int_equal(r.action, ADHOC_COMPLETE);
	assert_true(r.submitted);
	assert_true(slice_is(buf_slice(&r.session), "<1>"));
	assert_true(adhoc_value(&r, "a", 0, &value) && slice_is(value, "1 & 2"));
	assert_true(adhoc_value(&r, "a", 1, &value) && slice_is(value, "x"));
	assert_false(adhoc_value(&r, "a", 2, &value));
	assert_true(adhoc_value(&r, "b", 0, &value) && value.len == 0);
	assert_false(adhoc_value(&r, "c", 0, &value));
	assert_false(adhoc_value(&r, "d", 0, &value));
	assert_int_equal(r.count, 3);
	adhoc_request_free(&r);
}

/* What a result becomes; it is canonical within a command. */
static char *
written(const char *json)
{
	struct buf out = { 0 };
	json_t *result = json_loads(json, JSON_DECODE_ANY | JSON_ALLOW_NUL, NULL);
	char *text;

	assert_non_null(result);
	adhoc_result_write(result, &out);
	json_decref(result);
	assert_true(xmlin_valid(buf_slice(&out), SLICE(NS_COMMANDS)));
	text = slice_dup(buf_slice(&out));
	buf_free(&out);
	return text;
}

static void
expect_written(const char *json, const char *xml)
{
	char *text = written(json);

	assert_string_equal(text, xml);
	free(text);
}

static void
test_results(void **state)
{
	(void)state;
	expect_written("true", "<note type='info'>Done</note>");
	expect_written("[]", "<note type='info'>None</note>");
	expect_written("null", "<note type='info'>null</note>");
	expect_written("\"\"", "<note type='info'/>");
	expect_written("\"a<b\"", "<note type='info'>a&lt;b</note>");
	expect_written("{}", "<x xmlns='" NS_DATA "' type='result'/>");
	expect_written("{\"kicked\": 2, \"who\": null, \"\": 1, \"a'b\": [1, \"]\"]}",
	    "<x xmlns='" NS_DATA "' type='result'><field var='kicked'><value>2</value></field>"
	    "<field var='who'><value/></field><field var='a&apos;b'><value>[1,\"]\"]</value></field></x>");
	expect_written("[{\"a\": 1, \"b\": \"\"}, {\"a\": false}, {}, 3]",
	    "<x xmlns='" NS_DATA "' type='result'><reported><field var='a' label='a'/>"
	    "<field var='b' label='b'/></reported>"
	    "<item><field var='a'><value>1</value></field><field var='b'><value/></field></item>"
	    "<item><field var='a'><value>false</value></field></item><item/><item/></x>");
	expect_written("[{}]", "<x xmlns='" NS_DATA "' type='result'><reported/><item/></x>");
	expect_written("[1, 2]", "<note type='info'>[1,2]</note>");
	/* What XML cannot have. */
	expect_written("\"a\\u0000\\u0001\\u001b[2J\\ufffe\"", "<note type='info'>a??" "?[2J??" "?</note>");
}

/* An answer stays within its bound, and says that it is not all. */
static void
test_large(void **state)
{
	json_t *array = json_array();
	char *json, *text;
	size_t i;

	(void)state;
	for (i = 0; i < 20000; i++)
		json_array_append_new(array, json_pack("{s:s, s:I}", "account", "somebody@localhost",
		    "number", (json_int_t)i));
	json = json_dumps(array, 0);
	text = written(json);
	assert_true(strlen(text) < ADHOC_RESULT_MAX + 1000);
	assert_non_null(strstr(text, "<note type='warn'>"));
	free(text);
	free(json);
	json_decref(array);
}

static void
test_form(void **state)
{
	struct adhoc_form form = { .form_type = NS_ADMIN, .title = SLICE(""), .count = 1,
		.fields = { { "jid", "A & B", "jid-single", true } } };
	struct buf out = { 0 };

	(void)state;
	adhoc_form_write(&form, &out);
	assert_true(xmlin_valid(buf_slice(&out), SLICE(NS_COMMANDS)));
	assert_true(slice_is(buf_slice(&out), "<actions execute='complete'><complete/></actions>"
	    "<x xmlns='" NS_DATA "' type='form'><field var='FORM_TYPE' type='hidden'><value>" NS_ADMIN
	    "</value></field><title/><field var='jid' type='jid-single' label='A &amp; B'><required/>"
	    "</field></x>"));
	buf_free(&out);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_faults),
		cmocka_unit_test(test_values),
		cmocka_unit_test(test_results),
		cmocka_unit_test(test_large),
		cmocka_unit_test(test_form),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
