/*
 * test_roster.c: roster get, set and removal, versions, and the errors of RFC 6121 section 2.
 * Links: authd
 */
#include "authd_test.h"

#define QUERY(inner) "<query xmlns='jabber:iq:roster'>" inner "</query>"
#define EMPTY        "<query xmlns='jabber:iq:roster'/>"

static void
ask(enum stanza_type type, const char *payload)
{
	test_ask(ROMEO, NULL, type, NS_ROSTER, payload, false);
}

/* The version that the next result carries. */
static void
take_version(char version[40])
{
	struct frame f;
	const char *at;

	assert_true(test_next(&f));
	assert_int_equal(f.subtype, TYPE_RESULT);
	at = memmem(f.payload.ptr, f.payload.len, "ver='", 5);
	assert_non_null(at);
	snprintf(version, 40, "%.*s", (int)strcspn(at + 5, "'"), at + 5);
}

/* Takes a roster push and asserts what it has. */
static void
expect_push(const char *has)
{
	struct frame f;

	do {
		assert_true(test_next(&f));
	} while (f.type == FRAME_ROSTER_CHANGE);
	assert_int_equal(f.audience, AUDIENCE_INTERESTED);
	assert_int_equal(f.subtype, TYPE_SET);
	assert_true(slice_is(f.to, ROMEO));
	assert_true(slice_has(f.payload, "<query xmlns='jabber:iq:roster' ver='"));
	if (!slice_has(f.payload, has))
		fail_msg("%.*s has no %s", SLICE_ARG(f.payload), has);
}

static void
test_set(void **unused)
{
	(void)unused;
	ask(TYPE_SET, QUERY("<item jid='Juliet@example.org' name='J &amp; &lt;me&gt; &apos;'>"
	    "<group>Lovers</group><group>A &amp; B</group></item>"));
	expect_push("<item jid='juliet@example.org' subscription='none' "
	    "name='J &amp; &lt;me&gt; &apos;'><group>Lovers</group><group>A &amp; B</group></item>");
	test_result(NULL);
	test_silent();
	assert_int_equal(test_bits(ROMEO, JULIET), ROSTER_LISTED);
	ask(TYPE_GET, EMPTY);
	test_result("name='J &amp; &lt;me&gt; &apos;'><group>Lovers</group>");
	/* Without name and groups: they are gone. Other subscription values are ignored. */
	ask(TYPE_SET, QUERY("<item jid='juliet@example.org' name='' subscription='both' "
	    "ask='subscribe' approved='true'/>"));
	expect_push("<item jid='juliet@example.org' subscription='none'/>");
	test_result(NULL);
	/* A resource is not part of a roster's address. */
	ask(TYPE_SET, QUERY("<item jid='nurse@remote.example/phone'/>"));
	expect_push("<item jid='nurse@remote.example' subscription='none'/>");
	test_result(NULL);
	assert_int_equal(test_bits(ROMEO, REMOTE), ROSTER_LISTED);
}

static void
test_version(void **unused)
{
	char first[40], second[40], text[128];

	(void)unused;
	ask(TYPE_GET, EMPTY);
	take_version(first);
	snprintf(text, sizeof text, "<query xmlns='jabber:iq:roster' ver='%s'/>", first);
	ask(TYPE_GET, text);
	test_result(NULL);
	ask(TYPE_SET, QUERY("<item jid='juliet@example.org'/>"));
	buf_free(&test_said);
	ask(TYPE_GET, text);
	take_version(second);
	assert_string_not_equal(first, second);
	snprintf(text, sizeof text, "<query xmlns='jabber:iq:roster' ver='%s'/>", second);
	ask(TYPE_GET, text);
	test_result(NULL);
	ask(TYPE_GET, "<query xmlns='jabber:iq:roster' ver=''/>");
	test_result("juliet");
	/* What no client sees changes no version. */
	test_presence(REMOTE, ROMEO, TYPE_SUBSCRIBE, false);
	buf_free(&test_said);
	ask(TYPE_GET, text);
	test_result(NULL);
	ask(TYPE_GET, EMPTY);
	take_version(first);
	assert_string_equal(first, second);
}

static void
test_errors(void **unused)
{
	static char long_name[1200], text[2600];
	static const struct {
		const char *payload, *condition;
	} cases[] = {
		{ EMPTY, "bad-request" },
		{ QUERY("<item jid='a@b.c'/><item jid='d@b.c'/>"), "bad-request" },
		{ QUERY("<item/>"), "bad-request" },
		{ QUERY("<thing jid='a@b.c'/>"), "bad-request" },
		{ QUERY("<item jid='a@b.c'><group>x</group><group>x</group></item>"),
		    "bad-request" },
		{ QUERY("<item jid='a@b.c'><group/></item>"), "not-acceptable" },
		{ QUERY("<item jid='@b.c'/>"), "jid-malformed" },
		{ QUERY("<item jid=''/>"), "jid-malformed" },
		{ QUERY("<item jid='a b@c.d'/>"), "jid-malformed" },
		{ QUERY("<item jid='romeo@example.org'/>"), "not-allowed" },
		{ QUERY("<item jid='a@b.c' subscription='remove'/>"), "item-not-found" },
		{ QUERY("<item jid='a@b.c'>"), "bad-request" },
		{ "<query xmlns='jabber:iq:roster'><item jid=\"a@b.c\"/></query>", "bad-request" },
		{ "<other xmlns='jabber:iq:roster'/>", "bad-request" },
		{ "<query xmlns='jabber:iq:private'/>", "bad-request" },
		{ EMPTY EMPTY, "bad-request" },
		{ "", "bad-request" },
	};
	size_t i;

	(void)unused;
	for (i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		ask(TYPE_SET, cases[i].payload);
		test_error(cases[i].condition);
		test_silent();
	}
	memset(long_name, 'x', ROSTER_TEXT_MAX + 1);
	snprintf(text, sizeof text, QUERY("<item jid='a@b.c' name='%s'/>"), long_name);
	ask(TYPE_SET, text);
	test_error("not-acceptable");
	snprintf(text, sizeof text, QUERY("<item jid='a@b.c'><group>%s</group></item>"), long_name);
	ask(TYPE_SET, text);
	test_error("not-acceptable");
	test_silent();
	test_ask(JULIET, ROMEO, TYPE_GET, NS_ROSTER, EMPTY, false);
	test_error("forbidden");
	test_ask(JULIET, ROMEO, TYPE_SET, NS_ROSTER, QUERY("<item jid='a@b.c'/>"), false);
	test_error("forbidden");
	test_ask(NULL, "example.org", TYPE_GET, NS_ROSTER, EMPTY, false);
	test_error("not-authorized");
	test_ask(ROMEO, NULL, TYPE_GET, "urn:example", "<query xmlns='urn:example'/>", false);
	test_error("service-unavailable");
	ask(TYPE_RESULT, EMPTY);
	test_silent();
	assert_int_equal(store_count(state.store, TABLE_ROSTER), 0);
}

static void
test_full(void **unused)
{
	char text[128];
	unsigned i;

	(void)unused;
	for (i = 0; i < 50; i++) {
		snprintf(text, sizeof text, QUERY("<item jid='c%u@example.net'/>"), i);
		ask(TYPE_SET, text);
		expect_push("subscription='none'/>");
		test_result(NULL);
	}
	ask(TYPE_SET, QUERY("<item jid='one@more.example'/>"));
	test_error("resource-constraint");
	test_silent();
	/* What is there can be changed, and asked for. */
	ask(TYPE_SET, QUERY("<item jid='c0@example.net' name='zero'/>"));
	expect_push("name='zero'");
	test_presence(ROMEO, "c1@remote.example", TYPE_SUBSCRIBE, false);
	test_error("resource-constraint");
	test_silent();
}

static void
test_remove(void **unused)
{
	struct frame f;

	(void)unused;
	test_presence(ROMEO, JULIET, TYPE_SUBSCRIBE, false);
	test_presence(JULIET, ROMEO, TYPE_SUBSCRIBED, false);
	test_presence(JULIET, ROMEO, TYPE_SUBSCRIBE, false);
	test_presence(ROMEO, JULIET, TYPE_SUBSCRIBED, false);
	buf_free(&test_said);
	assert_int_equal(test_bits(ROMEO, JULIET),
	    ROSTER_TO | ROSTER_FROM | ROSTER_LISTED);
	ask(TYPE_SET, QUERY("<item jid='juliet@example.org' subscription='remove'/>"));
	assert_true(test_next(&f));
	assert_int_equal(f.type, FRAME_ROSTER_CHANGE);
	assert_true(slice_is(f.jid, ROMEO));
	assert_int_equal(f.number, 0);
	expect_push("<item jid='juliet@example.org' subscription='remove'/>");
	assert_int_equal(test_bits(ROMEO, JULIET), 0);
	assert_int_equal(test_bits(JULIET, ROMEO), ROSTER_LISTED);
	buf_free(&test_said);
	/* Done again after a crash: the answer is the same. */
	test_ask(ROMEO, NULL, TYPE_SET, NS_ROSTER,
	    QUERY("<item jid='juliet@example.org' subscription='remove'/>"), true);
	test_result(NULL);
	test_silent();
}

/* What Juliet is told when Romeo removes her. */
static void
test_remove_tells(void **unused)
{
	static const enum stanza_type types[] = { TYPE_UNSUBSCRIBE, TYPE_UNSUBSCRIBED };
	struct frame f;
	unsigned told = 0, change = 0;

	(void)unused;
	test_presence(ROMEO, REMOTE, TYPE_SUBSCRIBE, false);
	test_presence(REMOTE, ROMEO, TYPE_SUBSCRIBED, false);
	test_presence(REMOTE, ROMEO, TYPE_SUBSCRIBE, false);
	buf_free(&test_said);
	ask(TYPE_SET, QUERY("<item jid='nurse@remote.example' subscription='remove'/>"));
	while (test_next(&f)) {
		change += f.type == FRAME_ROSTER_CHANGE;
		if (f.kind != STANZA_PRESENCE)
			continue;
		assert_true(told < 2);
		assert_int_equal(f.subtype, types[told++]);
		assert_true(slice_is(f.to, REMOTE));
	}
	assert_int_equal(told, 2);
	assert_int_equal(change, 1);
	assert_int_equal(store_count(state.store, TABLE_REQUEST), 0);
	assert_int_equal(store_count(state.store, TABLE_ROSTER), 0);
}

static void
test_pending_is_hidden(void **unused)
{
	(void)unused;
	test_presence(REMOTE, ROMEO, TYPE_SUBSCRIBE, false);
	buf_free(&test_said);
	ask(TYPE_GET, EMPTY);
	test_result("'/>");
	ask(TYPE_SET, QUERY("<item jid='nurse@remote.example' subscription='remove'/>"));
	test_error("item-not-found");
	ask(TYPE_SET, QUERY("<item jid='nurse@remote.example' name='Nurse'/>"));
	expect_push("name='Nurse'");
	assert_int_equal(test_bits(ROMEO, REMOTE), ROSTER_LISTED | ROSTER_PENDING_IN);
}

/* When the commit fails, requests get an error, and nothing has happened. */
static void
test_commit_fails(void **unused)
{
	struct frame f = { .type = FRAME_STANZA, .kind = STANZA_IQ, .subtype = TYPE_SET,
		.handle = 7 };

	(void)unused;
	f.from = SLICE(ROMEO "/x");
	f.id = SLICE("id1");
	f.ns = SLICE(NS_ROSTER);
	f.payload = SLICE(QUERY("<item jid='a@b.c'/>"));
	request_remember(&f);
	request_handle(&f, false, NOW);
	store_abort(state.store);
	out_clear();
	request_failed(E_FULL);
	test_collect();
	test_error("resource-constraint");
	test_silent();
	assert_int_equal(test_bits(ROMEO, "a@b.c"), 0);
	request_failed(E_SYSTEM);
	test_collect();
	test_silent();
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, test_open, test_close)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_set), TEST(test_version), TEST(test_errors), TEST(test_full),
		TEST(test_remove), TEST(test_remove_tells), TEST(test_pending_is_hidden),
		TEST(test_commit_fails),
	};

	log_set_level(LOG_LEVEL_ERROR);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
