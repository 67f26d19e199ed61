/*
 * test_inbound.c: stanzas of clients: what is let through, and as what (RFC 6120 section 8), and
 * what a new router is told of presence.
 *
 * Links: c2sd
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "c2sd.h"
#include "ns.h"

static char to[JID_MAX + 1];
static struct frame f;
static enum stanza_error error;
static const char *condition;

static enum inbound_verdict
judge(const struct xml_element *element)
{
	error = STANZA_ERROR_NONE;
	condition = NULL;
	return inbound_frame(element, SLICE("juliet@example.com/balcony"),
	    SLICE("juliet@example.com"), SLICE("it"), to, &f, &error, &condition);
}

static struct xml_element
stanza(const char *name, const char *type)
{
	return (struct xml_element){
		.name = slice_string(name), .ns = SLICE(NS_CLIENT), .type = slice_string(type),
		.payload = SLICE(""), .id = SLICE("1"),
	};
}

static void
test_message(void **state)
{
	struct xml_element e = stanza("message", "chat");

	(void)state;
	e.to = SLICE("ROMEO@Example.NET");
	e.flags = FLAG_CONTENT | FLAG_BODY | FLAG_STORE;
	e.child_name = SLICE("body");
	assert_int_equal(judge(&e), INBOUND_FINE);
	assert_int_equal(f.kind, STANZA_MESSAGE);
	assert_int_equal(f.subtype, TYPE_CHAT);
	assert_true(slice_is(f.to, "romeo@example.net"));
	assert_null(f.from.ptr);
	assert_true(slice_is(f.lang, "it"));
	assert_int_equal(f.flags, FLAG_CONTENT | FLAG_BODY);
	e.lang = SLICE("en");
	e.to = SLICE_NONE;
	e.type = SLICE("who-knows");
	assert_int_equal(judge(&e), INBOUND_FINE);
	assert_null(f.to.ptr);
	assert_true(slice_is(f.lang, "en"));
	assert_int_equal(f.subtype, TYPE_NORMAL);
}

static void
test_from(void **state)
{
	static const struct {
		const char *from;
		enum inbound_verdict verdict;
	} rows[] = {
		{ "juliet@example.com/balcony", INBOUND_FINE },
		{ "juliet@example.com", INBOUND_FINE },
		{ "Juliet@EXAMPLE.com", INBOUND_FINE },
		{ "juliet@example.com/other", INBOUND_STREAM_ERROR },
		{ "romeo@example.com", INBOUND_STREAM_ERROR },
		{ "example.com", INBOUND_STREAM_ERROR },
		{ "", INBOUND_STREAM_ERROR },
		{ "@", INBOUND_STREAM_ERROR },
	};
	struct xml_element e = stanza("message", NULL);
	size_t i;

	(void)state;
	for (i = 0; i < sizeof rows / sizeof *rows; i++) {
		e.from = slice_string(rows[i].from);
		assert_int_equal(judge(&e), rows[i].verdict);
		if (rows[i].verdict != INBOUND_FINE)
			assert_string_equal(condition, "invalid-from");
	}
}

static void
test_bad_to(void **state)
{
	struct xml_element e = stanza("message", NULL);

	(void)state;
	e.to = SLICE("a b@example.com");
	assert_int_equal(judge(&e), INBOUND_ERROR);
	assert_int_equal(error, STANZA_ERROR_JID_MALFORMED);
	e.to = SLICE("");
	assert_int_equal(judge(&e), INBOUND_ERROR);
	e = stanza("message", "error");
	e.to = SLICE("@@");
	assert_int_equal(judge(&e), INBOUND_DROP); /* an error is not answered with an error */
}

static void
test_iq(void **state)
{
	struct xml_element e = stanza("iq", "get");

	(void)state;
	e.children = 1;
	assert_int_equal(judge(&e), INBOUND_FINE);
	e.children = 2;
	assert_int_equal(judge(&e), INBOUND_ERROR);
	assert_int_equal(error, STANZA_ERROR_BAD_REQUEST);
	e.children = 0;
	assert_int_equal(judge(&e), INBOUND_ERROR);
	e.children = 1;
	e.id = SLICE_NONE;
	assert_int_equal(judge(&e), INBOUND_ERROR);
	e = stanza("iq", NULL);
	assert_int_equal(judge(&e), INBOUND_ERROR);
	e = stanza("iq", "chat");
	assert_int_equal(judge(&e), INBOUND_ERROR);
	e = stanza("iq", "result");
	assert_int_equal(judge(&e), INBOUND_FINE);
	e.children = 2;
	assert_int_equal(judge(&e), INBOUND_DROP);
}

static void
test_presence(void **state)
{
	struct xml_element e = stanza("presence", NULL);

	(void)state;
	e.priority = -128;
	assert_int_equal(judge(&e), INBOUND_FINE);
	assert_int_equal(f.number, 0);
	e.priority = 127;
	assert_int_equal(judge(&e), INBOUND_FINE);
	assert_int_equal(f.number, 255);
	e.type = SLICE("gone");
	assert_int_equal(judge(&e), INBOUND_ERROR);
}

static void
test_no_stanza(void **state)
{
	struct xml_element e = stanza("query", NULL);

	(void)state;
	assert_int_equal(judge(&e), INBOUND_STREAM_ERROR);
	assert_string_equal(condition, "unsupported-stanza-type");
}

static void
note(struct presence **p, const char *type, const char *address, unsigned priority)
{
	struct frame presence = { .type = FRAME_STANZA, .kind = STANZA_PRESENCE,
	    .to = slice_string(address),
		.subtype = type == NULL ? TYPE_AVAILABLE : TYPE_UNAVAILABLE, .number = priority,
		.payload = SLICE("<show>away</show>") };

	presence_note(p, &presence);
}

static void
test_presence_is_told(void **state)
{
	struct presence *p = NULL;
	struct frame told = { .type = FRAME_SESSION_REPLAY };
	struct buf text = { 0 };

	(void)state;
	note(&p, NULL, NULL, 130);
	note(&p, NULL, "room@muc.example.com/j", 128);
	note(&p, NULL, "romeo@example.net", 128);
	note(&p, NULL, "romeo@example.net", 128);
	note(&p, "unavailable", "nobody@example.net", 128);
	presence_tell(p, &told, "", &text);
	assert_true(told.flags & FLAG_AVAILABLE);
	assert_int_equal(told.number, 130);
	assert_true(slice_is(told.payload, "<show>away</show>"));
	assert_true(slice_is(buf_slice(&text), "room@muc.example.com/j\nromeo@example.net\n"));
	buf_clear(&text);
	note(&p, "unavailable", "room@muc.example.com/j", 128);
	presence_tell(p, &told, "to ", &text);
	assert_true(slice_is(buf_slice(&text), "to romeo@example.net\n"));
	note(&p, "unavailable", NULL, 128);
	assert_null(p);
	buf_free(&text);
}

static void
test_directed_is_bounded(void **state)
{
	struct presence *p = NULL;
	char address[32];
	unsigned i;

	(void)state;
	for (i = 0; i < DIRECTED_MAX + 50; i++) {
		snprintf(address, sizeof address, "u%u@example.net", i);
		note(&p, NULL, address, 128);
	}
	assert_int_equal(p->count, DIRECTED_MAX);
	presence_free(&p);
	assert_null(p);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_message),
		cmocka_unit_test(test_from),
		cmocka_unit_test(test_bad_to),
		cmocka_unit_test(test_iq),
		cmocka_unit_test(test_presence),
		cmocka_unit_test(test_no_stanza),
		cmocka_unit_test(test_presence_is_told),
		cmocka_unit_test(test_directed_is_bounded),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
