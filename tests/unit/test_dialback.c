/*
 * test_dialback.c: the elements of server dialback (XEP-0220) as they come through the parser, and its keys,
 * with the values of XEP-0185's example.
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

#include "dialback.h"
#include "error.h"

#define KEY "37c69b1cf07a3f67c04a5ef5902fa5114f2c76fe4a2686482ba5b89323075643"

/* What came of an element. */
struct seen {
	bool is;
	int code;
	const char *condition;
	struct dialback dialback;
	struct buf again; /* written out again */
};

static void
on_element(void *arg, const struct xml_element *element)
{
	struct seen *seen = arg;

	seen->is = dialback_is(element);
	if (!seen->is)
		return;
	seen->code = dialback_read(element, &seen->dialback, &seen->condition);
	buf_clear(&seen->again);
	if (seen->code == OK)
		dialback_write(&seen->dialback, &seen->again);
	buf_add_char(&seen->again, '\0');
}

static void
on_header(void *arg, const struct xml_header *header)
{
	(void)arg;
	(void)header;
}

static void
on_end(void *arg)
{
	(void)arg;
}

static struct seen
read_element(const char *text)
{
	static const struct xml_limits limits = { 65536, 32, 64, 1000, false };
	static const struct xml_events events = { on_header, on_element, on_end };
	struct seen seen = { .code = -1 };
	struct xml_stream *stream = xml_stream_new(&limits, NULL, &events, &seen);
	const char *condition;

	assert_int_equal(xml_stream_feed(stream, SLICE("<stream:stream xmlns='jabber:server' version='1.0' "
	    "xmlns:stream='http://etherx.jabber.org/streams' xmlns:db='jabber:server:dialback'>"), &condition), 0);
	assert_int_equal(xml_stream_feed(stream, slice_string(text), &condition), 0);
	xml_stream_free(&stream);
	return seen;
}

static void
test_elements(void **state)
{
	static const struct {
		const char *text, *again; /* NULL: the same */
	} rows[] = {
		{ "<db:result from='example.org' to='xmpp.example.com'>" KEY "</db:result>", NULL },
		{ "<db:result to='XMPP.example.com' from='Example.ORG.'>\n    " KEY "\r\n\t</db:result>",
		  "<db:result from='example.org' to='xmpp.example.com'>" KEY "</db:result>" },
		{ "<db:verify from='xmpp.example.com' to='example.org' id='D60000229F'>" KEY "</db:verify>", NULL },
		{ "<x:verify xmlns:x='jabber:server:dialback' from='a' to='b' id='i&amp;&apos;'>&lt;k&gt;</x:verify>",
		  "<db:verify from='a' to='b' id='i&amp;&apos;'>&lt;k&gt;</db:verify>" },
		{ "<db:result from='a' to='b' type='valid'/>", NULL },
		{ "<db:result from='a' to='b' type='invalid'>what is this</db:result>",
		  "<db:result from='a' to='b' type='invalid'/>" },
		{ "<db:verify from='a' to='b' id='x' type='valid'/>", NULL },
		{ "<db:verify from='[2001:db8::1]' to='192.0.2.1' id='x' type='invalid'/>", NULL },
		{ "<db:result from='a' to='b' type='error'><error type='cancel'><item-not-found "
		  "xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error></db:result>", NULL },
		{ "<db:verify from='a' to='b' id='x' type='error'><error type='wait'><text "
		  "xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'>later</text><resource-constraint "
		  "xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error></db:verify>",
		  "<db:verify from='a' to='b' id='x' type='error'><error type='wait'><resource-constraint "
		  "xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error></db:verify>" },
		{ "<db:result from='a' to='b' type='error'><error><item-not-found xmlns='urn:x'/></error></db:result>",
		  "<db:result from='a' to='b' type='error'><error type='cancel'><undefined-condition "
		  "xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error></db:result>" },
		{ "<db:result from='a' to='b' type='error'/>",
		  "<db:result from='a' to='b' type='error'><error type='cancel'><undefined-condition "
		  "xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error></db:result>" },
	};
	size_t i;

	(void)state;
	for (i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		struct seen seen = read_element(rows[i].text);

		assert_true(seen.is);
		if (seen.code != OK)
			fail_msg("row %zu: %s", i, seen.condition);
		assert_string_equal(buf_slice(&seen.again).ptr, rows[i].again != NULL ? rows[i].again : rows[i].text);
		buf_free(&seen.again);
	}
}

static void
test_malformed(void **state)
{
	static const struct {
		const char *text, *condition;
	} rows[] = {
		{ "<db:result to='b'>k</db:result>", "improper-addressing" },
		{ "<db:result from='a'>k</db:result>", "improper-addressing" },
		{ "<db:result from='' to='b'>k</db:result>", "improper-addressing" },
		{ "<db:result from='a' to=''>k</db:result>", "improper-addressing" },
		{ "<db:result from='juliet@a' to='b'>k</db:result>", "improper-addressing" },
		{ "<db:result from='a/x' to='b'>k</db:result>", "improper-addressing" },
		{ "<db:result from='a' to='b c'>k</db:result>", "improper-addressing" },
		{ "<db:result from='a..b' to='b'>k</db:result>", "improper-addressing" },
		{ "<db:result from='[::1' to='b'>k</db:result>", "improper-addressing" },
		{ "<db:verify from='a' to='@' id='x' type='valid'/>", "improper-addressing" },
		{ "<db:result from='a' to='b'/>", "bad-format" },
		{ "<db:result from='a' to='b'>  \n</db:result>", "bad-format" },
		{ "<db:result from='a' to='b'>two words</db:result>", "bad-format" },
		{ "<db:result from='a' to='b'>k<x xmlns='urn:x'/></db:result>", "bad-format" },
		{ "<db:result from='a' to='b' type=''>k</db:result>", "bad-format" },
		{ "<db:result from='a' to='b' type='VALID'/>", "bad-format" },
		{ "<db:result from='a' to='b' type='valid '/>", "bad-format" },
		{ "<db:verify from='a' to='b'>k</db:verify>", "bad-format" },
		{ "<db:verify from='a' to='b' id=''>k</db:verify>", "bad-format" },
		{ "<db:verify from='a' to='b' id='x y'>k</db:verify>", "bad-format" },
		{ "<db:verify from='a' to='b' id='&#x9;'>k</db:verify>", "bad-format" },
		{ "<db:verify from='a' to='b' type='valid'/>", "bad-format" },
		{ "<db:verify from='a' to='b' id='x'/>", "bad-format" },
	};
	char text[1024], word[DIALBACK_KEY_MAX + 2];
	struct seen seen;
	size_t i;

	(void)state;
	for (i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		seen = read_element(rows[i].text);
		assert_true(seen.is);
		if (seen.code != E_MALFORMED || strcmp(seen.condition, rows[i].condition) != 0)
			fail_msg("row %zu: %d", i, seen.code);
		buf_free(&seen.again);
	}
	memset(word, 'k', sizeof word);
	for (i = 0; i < 2; i++) {
		snprintf(text, sizeof text, "<db:result from='a' to='b'>%.*s</db:result>",
		    (int)(DIALBACK_KEY_MAX + i), word);
		seen = read_element(text);
		assert_int_equal(seen.code, i == 0 ? OK : E_TOO_BIG);
		buf_free(&seen.again);
		snprintf(text, sizeof text, "<db:verify from='a' to='b' id='%.*s' type='valid'/>",
		    (int)(DIALBACK_ID_MAX + i), word);
		seen = read_element(text);
		assert_int_equal(seen.code, i == 0 ? OK : E_TOO_BIG);
		assert_true(i == 0 || strcmp(seen.condition, "policy-violation") == 0);
		buf_free(&seen.again);
	}
	assert_false(read_element("<db:other from='a' to='b'>k</db:other>").is);
	assert_false(read_element("<result xmlns='urn:x' from='a' to='b'>k</result>").is);
}

static int
sign(void *arg, struct slice text, char key[DIALBACK_KEY])
{
	return arg == NULL ? E_AGAIN : dialback_mac(slice_string(arg), text, key);
}

static void
test_keys(void **state)
{
	static char secret[] = "s3cr3tf0rd14lb4ck", other[] = "another";
	struct slice target = SLICE("xmpp.example.com"), sender = SLICE("example.org"), id = SLICE("D60000229F");
	struct dialback request = { .kind = DIALBACK_VERIFY, .from = target, .to = sender, .id = id,
		.key = SLICE(KEY) };
	char key[DIALBACK_KEY], wrong[] = KEY;
	size_t i;

	(void)state;
	assert_int_equal(dialback_key(target, sender, id, sign, secret, key), 0);
	assert_string_equal(key, KEY);
	assert_int_equal(dialback_verify(&request, sign, secret), 0);
	assert_int_equal(dialback_verify(&request, sign, other), E_MISMATCH);
	assert_int_equal(dialback_verify(&request, sign, NULL), E_AGAIN);
	request.key = slice_of(wrong, sizeof wrong - 1);
	for (i = 0; i < sizeof wrong - 1; i++) {
		wrong[i] ^= 1;
		assert_int_equal(dialback_verify(&request, sign, secret), E_MISMATCH);
		wrong[i] ^= 1;
	}
	assert_int_equal(dialback_verify(&request, sign, secret), 0);
	request.key = SLICE(KEY "0");
	assert_int_equal(dialback_verify(&request, sign, secret), E_MISMATCH);
	request.key = SLICE("");
	assert_int_equal(dialback_verify(&request, sign, secret), E_MISMATCH);
	/* of other domains, another stream, the other direction */
	request.key = SLICE(KEY);
	request.id = SLICE("D60000229E");
	assert_int_equal(dialback_verify(&request, sign, secret), E_MISMATCH);
	request.id = id;
	request.from = sender;
	request.to = target;
	assert_int_equal(dialback_verify(&request, sign, secret), E_MISMATCH);
	/* what could be read in two ways */
	assert_int_equal(dialback_key(SLICE("a b"), sender, id, sign, secret, key), E_MALFORMED);
	assert_int_equal(dialback_key(target, SLICE(""), id, sign, secret, key), E_MALFORMED);
	assert_int_equal(dialback_key(target, sender, SLICE(""), sign, secret, key), E_MALFORMED);
	assert_int_equal(dialback_key(target, sender, SLICE("a b"), sign, secret, key), E_MALFORMED);
}

static void
test_answers(void **state)
{
	struct dialback request = { .kind = DIALBACK_VERIFY, .from = SLICE("a"), .to = SLICE("b"), .id = SLICE("x"),
		.key = SLICE("k") }, answer;
	struct buf out = { 0 };

	(void)state;
	dialback_answer(&request, DIALBACK_VALID, STANZA_ERROR_FORBIDDEN, &answer);
	dialback_write(&answer, &out);
	dialback_answer(&request, DIALBACK_ERROR, STANZA_ERROR_ITEM_NOT_FOUND, &answer);
	dialback_write(&answer, &out);
	request.kind = DIALBACK_RESULT;
	request.id = SLICE_NONE;
	dialback_answer(&request, DIALBACK_INVALID, STANZA_ERROR_NONE, &answer);
	dialback_write(&answer, &out);
	buf_add_char(&out, '\0');
	assert_string_equal(buf_slice(&out).ptr, "<db:verify from='b' to='a' id='x' type='valid'/>"
	    "<db:verify from='b' to='a' id='x' type='error'><error type='cancel'><item-not-found "
	    "xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error></db:verify>"
	    "<db:result from='b' to='a' type='invalid'/>");
	buf_free(&out);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_elements),
		cmocka_unit_test(test_malformed),
		cmocka_unit_test(test_keys),
		cmocka_unit_test(test_answers),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
