/*
 * test_room_pass.c: what of the stanzas of its occupants a room passes on, and what of errors that come back.
 *
 * Links: mucd/pass.c
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "mucd.h"
#include "ns.h"

static char room_name[] = "coven@rooms.test";
static struct domain domain = { .name = SLICE("rooms.test") };
static struct room room = { .domain = &domain, .jid = room_name, .jid_len = sizeof room_name - 1 };

#define ID(by)      "<stanza-id xmlns='" NS_SID "' by='" by "' id='1'/>"
#define DELAY(from) "<delay xmlns='" NS_DELAY "' from='" from "' stamp='2026-01-01T00:00:00Z'/>"

static struct xmlin_element
element(const char *text)
{
	struct xmlin_element e;
	struct xmlin in;

	xmlin_begin(&in, slice_string(text), SLICE(NS_CLIENT));
	assert_true(xmlin_child(&in, &e));
	return e;
}

static const struct {
	const char *text;
	bool message, presence;
} rows[] = {
	{ "<body>hello</body>", true, true },
	{ "<a xmlns='urn:a'/>", true, true },
	{ "<x xmlns='jabber:x:conference' jid='hall@rooms.test'/>", true, true },
	{ "<origin-id xmlns='" NS_SID "' id='1'/>", true, true },
	{ "<x xmlns='" NS_MUC "'/>", false, false },
	{ "<x xmlns='" NS_MUC_USER "'/>", false, false },
	{ "<query xmlns='" NS_MUC_ADMIN "'/>", false, false },
	{ "<occupant-id xmlns='" NS_OCCUPANT_ID "' id='1'/>", false, false },
	{ "<hats xmlns='urn:xmpp:hats:0'><hat title='Owner' uri='urn:owner'/></hats>", false, false },
	{ "<hats xmlns='urn:xmpp:hats:1'/>", false, false },
	{ "<hat xmlns='urn:xmpp:hats:0' title='Owner' uri='urn:owner'/>", false, false },
	{ "<x xmlns='jabber:x:delay' stamp='20260101T00:00:00'/>", false, false },
	{ "<x xmlns='jabber:x:delay' from='a@x.test' stamp='20260101T00:00:00'/>", false, false },
	{ "<delay xmlns='" NS_DELAY "' stamp='2026-01-01T00:00:00Z'/>", false, false },
	{ DELAY("coven@rooms.test"), false, false },
	{ DELAY("coven@rooms.test/anna"), false, false },
	{ DELAY("Coven@Rooms.Test"), false, false },
	{ DELAY("coven@rooms.test."), false, false },
	{ DELAY("COVEN@ROOMS.TEST/Anna"), false, false },
	{ DELAY("rooms.test"), false, false },
	{ DELAY("@"), false, false },
	{ DELAY(""), false, false },
	{ DELAY("covent@rooms.test"), true, false },
	{ DELAY("a@x.test/1"), true, false },
	{ ID("coven@rooms.test"), false, true },
	{ ID("Coven@rooms.TEST"), false, true },
	{ ID("\xef\xbd\x83oven@rooms.test"), false, true }, /* a full-width c */
	{ ID("coven@rooms.test/x"), false, true },
	{ ID("rooms.test"), false, true },
	{ ID(""), false, true },
	{ "<stanza-id xmlns='" NS_SID "' id='1'/>", false, true },
	{ ID("a@x.test"), true, true },
};

static void
test_children(void **state)
{
	size_t i;

	(void)state;
	for (i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct xmlin_element e = element(rows[i].text);

		if (pass_message(&room, &e) != rows[i].message || pass_presence(&e) != rows[i].presence)
			fail_msg("%s", rows[i].text);
	}
}

static void
assert_error(const char *text, bool words, const char *wanted)
{
	struct buf out = { 0 };

	pass_error(slice_string(text), words, &out);
	assert_true(xmlin_valid(buf_slice(&out), SLICE(NS_CLIENT)));
	buf_add_char(&out, '\0');
	assert_string_equal(out.bytes, wanted);
	buf_free(&out);
}

/* Who has said it, and to where somebody has gone, are addresses. */
static void
test_errors(void **state)
{
	(void)state;
	assert_error("<error by='a@x.test' code='404' type='cancel'><item-not-found xmlns='" NS_STANZAS "'/><text xmlns='"
	    NS_STANZAS "'>Nobody</text><b xmlns='urn:a'/></error>", true, "<error type='cancel'><item-not-found xmlns='"
	    NS_STANZAS "'/><text xmlns='" NS_STANZAS "'>Nobody</text><b xmlns='urn:a'/></error>");
	assert_error("<error type='cancel'><gone xmlns='" NS_STANZAS "'/><text xmlns='" NS_STANZAS "'>a@x.test/y</text><b "
	    "xmlns='urn:a'/></error>", false, "<error type='cancel'><gone xmlns='" NS_STANZAS "'/></error>");
	assert_error("<error type='cancel'><gone xmlns='" NS_STANZAS "'>xmpp:a@y.test</gone></error>", true,
	    "<error type='cancel'><gone xmlns='" NS_STANZAS "'/></error>");
	assert_error("<error type='modify'><redirect xmlns='" NS_STANZAS "'>xmpp:a@y.test</redirect></error>", true,
	    "<error type='modify'><redirect xmlns='" NS_STANZAS "'/></error>");
	assert_error("<vCard xmlns='" NS_VCARD "'><JABBERID>a@x.test</JABBERID></vCard><error type='cancel'/>", true,
	    "<error type='cancel'/>");
}

int
main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_children), cmocka_unit_test(test_errors) };

	return cmocka_run_group_tests_name("room pass", tests, NULL, NULL);
}
