/*
 * test_push.c: push services of accounts (XEP-0357): requests, what is published, what refusals do.
 * Links: authd
 */
#include "authd_test.h"

#define SERVICE "push.example.net"
#define ENABLE(attributes) "<enable xmlns='urn:xmpp:push:0'" attributes "/>"
#define DISABLE(attributes) "<disable xmlns='urn:xmpp:push:0'" attributes "/>"
#define OPTIONS "<x xmlns='jabber:x:data' type='submit'><field var='FORM_TYPE'><value>" \
    "http://jabber.org/protocol/pubsub#publish-options</value></field>" \
    "<field var='secret'><value>a&amp;b</value></field></x>"

static void
ask(const char *payload)
{
	test_ask(ROMEO, NULL, TYPE_SET, NS_PUSH, payload, false);
}

/* Whether the router was told that there are services, or none any more. */
static void
told(bool any)
{
	struct frame f;

	assert_true(test_next(&f));
	assert_int_equal(f.type, FRAME_ACCOUNT_IS);
	assert_true(slice_is(f.jid, ROMEO));
	assert_int_equal(f.flags, FLAG_EXISTS | (any ? FLAG_PUSH : 0));
}

static void
enabled(const char *payload, bool first)
{
	ask(payload);
	if (first)
		told(true);
	test_result(NULL);
	test_silent();
}

/* Publishes; the id of what goes to a service is left in id. */
static bool
publish(uint64_t count, char id[64], const char *has)
{
	struct frame f = { .type = FRAME_PUSH, .jid = SLICE(ROMEO), .number = count };
	struct frame out;

	push_publish(&f);
	test_collect();
	if (!test_next(&out))
		return false;
	assert_int_equal(out.kind, STANZA_IQ);
	assert_int_equal(out.subtype, TYPE_SET);
	assert_true(slice_is(out.from, "example.org") && slice_is(out.to, SERVICE));
	if (has != NULL && !slice_has(out.payload, has))
		fail_msg("%.*s", SLICE_ARG(out.payload));
	snprintf(id, 64, "%.*s", SLICE_ARG(out.id));
	return true;
}

static void
answer(const char *from, const char *id, const char *type, uint64_t now)
{
	struct buf payload = { 0 };
	struct frame f = { .type = FRAME_STANZA, .kind = STANZA_IQ, .from = slice_string(from),
		.to = SLICE("example.org"), .id = slice_string(id),
		.subtype = type != NULL ? TYPE_ERROR : TYPE_RESULT };

	if (type != NULL)
		buf_printf(&payload, "<error type='%s'><x xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error>",
		    type);
	f.payload = buf_slice(&payload);
	push_answer(&f, now);
	test_collect();
	buf_free(&payload);
}

static void
test_requests(void **unused)
{
	static const struct { const char *payload, *condition; } rows[] = {
		{ ENABLE(" node='n'"), "bad-request" },
		{ ENABLE(" jid='a@@b'"), "jid-malformed" },
		{ ENABLE(" jid='example.org'"), "not-acceptable" },
		{ ENABLE(" jid='juliet@example.org/x'"), "not-acceptable" },
		{ DISABLE(""), "bad-request" },
		{ "<other xmlns='urn:xmpp:push:0' jid='" SERVICE "'/>", "bad-request" },
		{ "<enable xmlns='urn:xmpp:push:0' jid='" SERVICE "'><x xmlns='jabber:x:data'/></enable>",
		  "bad-request" },
		{ "<enable xmlns='urn:xmpp:push:0' jid='" SERVICE "'>" OPTIONS OPTIONS "</enable>",
		  "bad-request" },
	};
	struct account a;
	size_t i;

	(void)unused;
	for (i = 0; i < sizeof rows / sizeof *rows; i++) {
		ask(rows[i].payload);
		test_error(rows[i].condition);
		test_silent();
	}
	test_ask(ROMEO, NULL, TYPE_GET, NS_PUSH, ENABLE(" jid='" SERVICE "'"), false);
	test_error("bad-request");
	test_ask(JULIET, ROMEO, TYPE_SET, NS_PUSH, ENABLE(" jid='" SERVICE "'"), false);
	test_error("forbidden");
	assert_int_equal(account_find(SLICE(ROMEO), &a), OK);
	assert_false(push_any(a.id));
}

static void
test_bound(void **unused)
{
	(void)unused;
	enabled(ENABLE(" jid='" SERVICE "' node='1'"), true);
	enabled(ENABLE(" jid='" SERVICE "' node='2'"), false);
	enabled(ENABLE(" jid='" SERVICE "'"), false);
	ask(ENABLE(" jid='" SERVICE "' node='4'"));
	test_error("resource-constraint");
	enabled(ENABLE(" jid='" SERVICE "' node='2'"), false);
	enabled(DISABLE(" jid='" SERVICE "' node='2'"), false);
	enabled(ENABLE(" jid='" SERVICE "' node='4'"), false);
	enabled(DISABLE(" jid='other.example.net'"), false);
	ask(DISABLE(" jid='PUSH.example.net'"));
	told(false);
	test_result(NULL);
	/* Again: it is done already. */
	enabled(DISABLE(" jid='" SERVICE "'"), false);
}

static void
test_publish(void **unused)
{
	struct frame f = { .type = FRAME_PUSH, .jid = SLICE(ROMEO), .number = 2,
		.from = SLICE("juliet@example.org/x"), .text = SLICE("a<b"), };
	struct frame out;
	char id[64];

	(void)unused;
	assert_false(publish(1, id, NULL));
	enabled("<enable xmlns='urn:xmpp:push:0' jid='" SERVICE "' node='n&amp;1'>" OPTIONS "</enable>", true);
	assert_true(publish(7, id, "<publish node='n&amp;1'><item><notification xmlns='urn:xmpp:push:0'>"));
	assert_true(publish(7, id, "<field var='message-count'><value>7</value></field></x>"));
	assert_true(publish(7, id, "</publish><publish-options>" OPTIONS "</publish-options></pubsub>"));
	push_publish(&f);
	test_collect();
	assert_true(test_next(&out));
	assert_true(slice_has(out.payload, "<value>juliet@example.org/x</value>"));
	assert_true(slice_has(out.payload, "<value>a&lt;b</value>"));
	/* What is no text of XML is not passed on. */
	f.text = SLICE("\001\xff");
	push_publish(&f);
	test_collect();
	test_silent();
	f.jid = SLICE("nobody@example.org");
	push_publish(&f);
	test_collect();
	test_silent();
}

static void
test_refused(void **unused)
{
	char id[64], old[64];

	(void)unused;
	enabled(ENABLE(" jid='" SERVICE "' node='n'"), true);
	assert_true(publish(1, old, NULL));
	answer(SERVICE, old, "cancel", NOW);
	assert_true(publish(1, id, NULL));
	assert_string_not_equal(id, old);
	answer(SERVICE, id, NULL, NOW); /* a result: what was before does not count */
	assert_true(publish(1, id, NULL));
	answer(SERVICE, id, "wait", NOW);
	answer("other.example.net", id, "cancel", NOW);
	answer(SERVICE "/x", id, "cancel", NOW);
	answer(SERVICE, "push-0000000000000000-1", "cancel", NOW);
	answer(SERVICE, "push-", "cancel", NOW);
	answer(SERVICE, "", "cancel", NOW);
	answer(SERVICE, id, "auth", NOW);
	assert_true(publish(1, id, NULL));
	test_silent();
	answer(SERVICE, id, "cancel", NOW);
	told(false);
	assert_false(publish(1, id, NULL));
	answer(SERVICE, id, "cancel", NOW); /* it is gone */
	test_silent();
}

static void
test_always_wait(void **unused)
{
	uint64_t day = UINT64_C(24) * 3600 * 1000, i;
	char id[64];

	(void)unused;
	enabled(ENABLE(" jid='" SERVICE "'"), true);
	for (i = 0; i < 30; i++) {
		assert_true(publish(1, id, NULL));
		answer(SERVICE, id, "wait", NOW + i * day);
		test_silent();
	}
	assert_true(publish(1, id, NULL));
	answer(SERVICE, id, "wait", NOW + i * day);
	told(false);
}

static void
test_removed(void **unused)
{
	struct account a;

	(void)unused;
	enabled(ENABLE(" jid='" SERVICE "'"), true);
	assert_int_equal(account_find(SLICE(ROMEO), &a), OK);
	assert_true(push_any(a.id));
	assert_int_equal(account_remove(SLICE(ROMEO), false, 0), OK);
	assert_false(push_any(a.id));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_requests, test_open, test_close),
		cmocka_unit_test_setup_teardown(test_bound, test_open, test_close),
		cmocka_unit_test_setup_teardown(test_publish, test_open, test_close),
		cmocka_unit_test_setup_teardown(test_refused, test_open, test_close),
		cmocka_unit_test_setup_teardown(test_always_wait, test_open, test_close),
		cmocka_unit_test_setup_teardown(test_removed, test_open, test_close),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
