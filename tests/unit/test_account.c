/*
 * test_account.c: accounts, their removal with all that belongs to them, registration, vCards,
 * private XML, last activity, and the commands of an administrator.
 * Links: authd
 */
#include "authd_test.h"

#define REGISTER(inner) "<query xmlns='jabber:iq:register'>" inner "</query>"
#define FORM(user, password) \
	REGISTER("<username>" user "</username><password>" password "</password>")

static int
commit(void)
{
	return store_commit(state.store);
}

static int
open_all(void **unused)
{
	test_open(unused);
	command_commit = commit;
	return register_open();
}

static int
close_all(void **unused)
{
	register_close();
	return test_close(unused);
}

/* -- accounts -- */

static void
test_accounts(void **unused)
{
	struct account a, b;
	struct frame f;

	(void)unused;
	assert_int_equal(account_find(SLICE(ROMEO), &a), OK);
	assert_int_equal(account_find(SLICE(JULIET), &b), OK);
	assert_int_not_equal(a.id, b.id);
	assert_true(slice_is(a.jid, ROMEO));
	assert_true(a.created == NOW);
	assert_true(scram_check(SCRAM_SHA1, SLICE("pencil"), &a.keys[SCRAM_SHA1]));
	assert_true(scram_check(SCRAM_SHA512, SLICE("pencil"), &a.keys[SCRAM_SHA512]));
	assert_int_equal(account_create(SLICE(ROMEO), SLICE("x"), NOW), E_EXISTS);
	assert_int_equal(account_find(SLICE("nobody@example.org"), &a), E_NOT_FOUND);
	assert_int_equal(account_set_password(SLICE(ROMEO), SLICE("quill")), OK);
	assert_false(account_check_password(SLICE(ROMEO), SLICE("pencil")));
	assert_true(account_check_password(SLICE(ROMEO), SLICE("quill")));
	account_tell(SLICE(ROMEO));
	account_tell(SLICE("nobody@example.org"));
	test_collect();
	assert_true(test_next(&f));
	assert_int_equal(f.type, FRAME_ACCOUNT_IS);
	assert_int_equal(f.flags, FLAG_EXISTS);
	assert_true(test_next(&f));
	assert_int_equal(f.flags, 0);
	test_silent();
}

/* Everything is there again after the store was opened anew. */
static void
test_reopened(void **unused)
{
	uint8_t grant[SECRET_SIZE], salt[SECRET_SIZE];

	(void)unused;
	memcpy(grant, state.grant_key, SECRET_SIZE);
	memcpy(salt, state.salt_key, SECRET_SIZE);
	store_close(&state.store);
	memset(state.grant_key, 0, SECRET_SIZE);
	memset(state.salt_key, 0, SECRET_SIZE);
	assert_int_equal(state_open(test_directory), OK);
	assert_memory_equal(grant, state.grant_key, SECRET_SIZE);
	assert_memory_equal(salt, state.salt_key, SECRET_SIZE);
	assert_true(account_exists(SLICE(ROMEO)));
}

/* An account with something in every table. */
static void
furnish(void)
{
	test_presence(ROMEO, JULIET, TYPE_SUBSCRIBE, false);
	test_presence(JULIET, ROMEO, TYPE_SUBSCRIBED, false);
	test_presence(JULIET, ROMEO, TYPE_SUBSCRIBE, false);
	test_presence(REMOTE, ROMEO, TYPE_SUBSCRIBE, false);
	test_ask(ROMEO, NULL, TYPE_SET, NS_VCARD, "<vCard xmlns='vcard-temp'/>", false);
	test_ask(ROMEO, NULL, TYPE_SET, NS_PRIVATE,
	    "<query xmlns='jabber:iq:private'><x xmlns='urn:x'/></query>", false);
	last_set(SLICE(ROMEO), NOW);
	test_collect();
	buf_free(&test_said);
}

static void
test_removed(void **unused)
{
	static const enum table tables[] = {
		TABLE_REQUEST, TABLE_VCARD, TABLE_PRIVATE, TABLE_LAST
	};
	struct frame f, forget = { 0 };
	unsigned presences = 0, changes = 0;
	bool remote = false, gone = false;
	size_t i;

	(void)unused;
	furnish();
	assert_int_equal(account_remove(SLICE(ROMEO), false, NOW), OK);
	test_collect();
	while (test_next(&f)) {
		if (f.type == FRAME_ACCOUNT_IS)
			gone = slice_is(f.jid, ROMEO) && f.flags == FLAG_MORE;
		if (f.type == FRAME_FORGET)
			forget = (struct frame){ .number = f.number, .jid = SLICE(ROMEO) };
		changes += f.type == FRAME_ROSTER_CHANGE && slice_is(f.jid, JULIET);
		presences += f.kind == STANZA_PRESENCE && slice_is(f.to, JULIET);
		remote |= f.subtype == TYPE_UNSUBSCRIBED && slice_is(f.to, REMOTE);
		assert_false(f.kind == STANZA_IQ && slice_is(f.to, ROMEO));
	}
	assert_true(gone);
	assert_true(remote);
	assert_int_equal(presences, 2);
	assert_int_equal(changes, 2);
	assert_int_equal(test_bits(JULIET, ROMEO), ROSTER_LISTED);
	assert_false(account_exists(SLICE(ROMEO)));
	for (i = 0; i < sizeof tables / sizeof tables[0]; i++)
		assert_int_equal(store_count(state.store, tables[i]), 0);
	assert_int_equal(store_count(state.store, TABLE_ROSTER), 1);
	assert_int_equal(account_remove(SLICE(ROMEO), false, NOW), E_NOT_FOUND);
	/* The same name again is another account, when archived has nothing of this one. */
	assert_int_equal(account_create(SLICE(ROMEO), SLICE("x"), NOW), E_AGAIN);
	forget_done(&forget);
	assert_int_equal(account_create(SLICE(ROMEO), SLICE("x"), NOW), OK);
	assert_int_equal(test_bits(ROMEO, JULIET), 0);
}

/* The frames that were said: a FORGET of this account, and nothing else of that kind. */
static uint64_t
forget_said(const char *jid)
{
	uint64_t number = 0;
	struct frame f;

	test_collect();
	while (test_next(&f)) {
		if (f.type != FRAME_FORGET)
			continue;
		assert_int_equal(number, 0);
		if (!slice_is(f.jid, jid))
			fail_msg("FORGET of %.*s", SLICE_ARG(f.jid));
		number = f.number;
		assert_int_not_equal(number, 0);
	}
	return number;
}

/* Archived is asked for one deletion at a time until it has answered; a restart changes nothing. */
static void
test_forget_order(void **unused)
{
	struct frame answer = { .type = FRAME_FORGOTTEN };
	const char *first = ROMEO, *second = JULIET;
	uint64_t one, other;

	(void)unused;
	assert_int_equal(account_remove(SLICE(ROMEO), false, NOW), OK);
	one = forget_said(ROMEO);
	assert_int_equal(account_remove(SLICE(JULIET), false, NOW), OK);
	assert_int_equal(forget_said("nobody"), 0);
	store_close(&state.store);
	assert_int_equal(state_open(test_directory), OK);
	assert_true(forget_pending());
	assert_true(forget_waits(SLICE(ROMEO)) && forget_waits(SLICE(JULIET)));
	assert_false(forget_waits(SLICE("nobody@example.org")));
	/* After a restart the first may be another. */
	forget_send(true);
	test_collect();
	{
		struct frame f;

		assert_true(test_next(&f));
		if (slice_is(f.jid, JULIET)) {
			first = JULIET;
			second = ROMEO;
		}
		one = f.number;
	}
	/* What was not asked changes nothing, nor does an answer of another number. */
	answer.jid = slice_string(second);
	answer.number = one;
	forget_done(&answer);
	answer.jid = slice_string(first);
	answer.number = one + 7;
	forget_done(&answer);
	assert_int_equal(forget_said("nobody"), 0);
	assert_true(forget_waits(slice_string(first)));
	forget_send(true);
	assert_true(forget_said(first) == one);
	answer.number = one;
	forget_done(&answer);
	other = forget_said(second);
	assert_true(other != 0 && other != one);
	assert_false(forget_waits(slice_string(first)));
	assert_int_equal(account_create(slice_string(first), SLICE("x"), NOW), OK);
	forget_done(&answer); /* once more */
	assert_true(forget_waits(slice_string(second)));
	answer.jid = slice_string(second);
	answer.number = other;
	forget_done(&answer);
	assert_false(forget_pending());
	forget_send(true);
	assert_int_equal(forget_said("nobody"), 0);
}

/* A transaction that was aborted has deleted nothing, and forgets no deletion. */
static void
test_forget_aborted(void **unused)
{
	struct frame answer = { .type = FRAME_FORGOTTEN, .jid = SLICE(ROMEO) };

	(void)unused;
	assert_int_equal(account_remove(SLICE(ROMEO), false, NOW), OK);
	store_abort(state.store);
	out_clear();
	forget_open();
	assert_false(forget_pending());
	assert_true(account_exists(SLICE(ROMEO)));
	assert_int_equal(account_remove(SLICE(ROMEO), false, NOW), OK);
	answer.number = forget_said(ROMEO);
	forget_done(&answer);
	store_abort(state.store);
	out_clear();
	forget_open();
	assert_true(forget_waits(SLICE(ROMEO)));
	forget_send(true);
	assert_true(forget_said(ROMEO) == answer.number);
}

/* -- registration -- */

static void
test_register(void **unused)
{
	(void)unused;
	test_ask(NULL, "example.org", TYPE_GET, NS_REGISTER, REGISTER(""), false);
	test_error("bad-request"); /* not canonical */
	test_ask(NULL, "example.org", TYPE_GET, NS_REGISTER,
	    "<query xmlns='jabber:iq:register'/>", false);
	test_result("<username/><password/>");
	test_ask(NULL, "example.net", TYPE_GET, NS_REGISTER,
	    "<query xmlns='jabber:iq:register'/>", false);
	test_error("service-unavailable");
	test_ask(NULL, "example.net", TYPE_SET, NS_REGISTER, FORM("bill", "Calliope"), false);
	test_error("service-unavailable");
	test_ask(NULL, "elsewhere.example", TYPE_SET, NS_REGISTER, FORM("b", "C"), false);
	test_error("service-unavailable");
	test_ask(NULL, "example.org", TYPE_SET, NS_REGISTER, FORM("bill", "Calliope"), false);
	{
		struct frame f;

		assert_true(test_next(&f));
		assert_int_equal(f.type, FRAME_ACCOUNT_IS);
	}
	test_result(NULL);
	assert_true(account_check_password(SLICE("bill@example.org"), SLICE("Calliope")));
	test_ask(NULL, "example.org", TYPE_SET, NS_REGISTER, FORM("BILL", "other"), false);
	test_error("conflict");
	/* The same again, as after a crash. */
	test_ask(NULL, "example.org", TYPE_SET, NS_REGISTER, FORM("bill", "Calliope"), true);
	test_result(NULL);
	test_ask(NULL, "example.org", TYPE_SET, NS_REGISTER, FORM("bill", "other"), true);
	test_error("conflict");
}

static void
test_register_malformed(void **unused)
{
	static const char *const forms[] = {
		REGISTER("<username>x</username>"), REGISTER("<username>x</username><password/>"),
		REGISTER("<password>x</password>"), FORM("a b", "x"), FORM("a@b", "x"),
		REGISTER("<username/><password>x</password>"), "<query xmlns='jabber:iq:register'/>",
	};
	size_t i;

	(void)unused;
	for (i = 0; i < sizeof forms / sizeof forms[0]; i++) {
		test_ask(NULL, "example.org", TYPE_SET, NS_REGISTER, forms[i], false);
		test_error("not-acceptable");
	}
}

static void
test_register_rate(void **unused)
{
	char form[256];
	struct frame f;
	unsigned i, made = 0;

	(void)unused;
	for (i = 0; i < 60; i++) {
		snprintf(form, sizeof form, REGISTER("<username>u%u</username>"
		    "<password>p</password>"), i);
		test_ask(NULL, "example.org", TYPE_SET, NS_REGISTER, form, false);
		while (test_next(&f))
			made += f.subtype == TYPE_RESULT;
	}
	assert_int_equal(made, 50);
}

/* Names that are taken count as well: else one could try out who is here. */
static void
test_register_guesses(void **unused)
{
	unsigned i;

	(void)unused;
	for (i = 0; i < 50; i++) {
		test_ask(NULL, "example.org", TYPE_SET, NS_REGISTER, FORM("romeo", "x"), false);
		test_error("conflict");
	}
	test_ask(NULL, "example.org", TYPE_SET, NS_REGISTER, FORM("romeo", "x"), false);
	test_error("not-acceptable");
}

/* A change costs far more than a login: nobody may keep authd busy with them. */
static void
test_change_rate(void **unused)
{
	unsigned i;

	(void)unused;
	for (i = 0; i < 10; i++) {
		test_ask(ROMEO, NULL, TYPE_SET, NS_REGISTER, FORM("romeo", "quill"), false);
		test_result(NULL);
	}
	test_ask(ROMEO, NULL, TYPE_SET, NS_REGISTER, FORM("romeo", "quill"), false);
	test_error("resource-constraint");
}

static void
test_own_registration(void **unused)
{
	struct frame f;

	(void)unused;
	test_ask(ROMEO, NULL, TYPE_GET, NS_REGISTER, "<query xmlns='jabber:iq:register'/>", false);
	test_result("<registered/><username>romeo</username>");
	test_ask(ROMEO, "example.org", TYPE_SET, NS_REGISTER, FORM("romeo", "quill"), false);
	test_result(NULL);
	assert_true(account_check_password(SLICE(ROMEO), SLICE("quill")));
	test_ask(ROMEO, "example.org", TYPE_SET, NS_REGISTER, FORM("juliet", "x"), false);
	test_error("not-allowed");
	test_ask(ROMEO, NULL, TYPE_SET, NS_REGISTER,
	    REGISTER("<username>romeo</username><password/>"), false);
	test_error("bad-request");
	test_ask(ROMEO, JULIET, TYPE_SET, NS_REGISTER, REGISTER("<remove/>"), false);
	test_error("forbidden");
	test_ask(ROMEO, "example.net", TYPE_SET, NS_REGISTER, REGISTER("<remove/>"), false);
	test_error("forbidden");
	test_ask(ROMEO, NULL, TYPE_SET, NS_REGISTER,
	    REGISTER("<remove/><username>x</username>"), false);
	test_error("bad-request");
	assert_true(account_check_password(SLICE(ROMEO), SLICE("quill")));
	test_ask(ROMEO, NULL, TYPE_SET, NS_REGISTER, REGISTER("<remove/>"), false);
	test_result(NULL);
	assert_true(test_next(&f));
	assert_int_equal(f.type, FRAME_ACCOUNT_IS);
	assert_int_equal(f.flags, FLAG_MORE);
	assert_true(test_next(&f));
	assert_int_equal(f.type, FRAME_FORGET);
	test_silent();
	test_ask(ROMEO, NULL, TYPE_SET, NS_REGISTER, REGISTER("<remove/>"), true);
	test_result(NULL);
	test_ask(ROMEO, NULL, TYPE_GET, NS_REGISTER, "<query xmlns='jabber:iq:register'/>", false);
	test_error("registration-required");
}

/* -- vCard, private XML, last activity -- */

static void
test_vcard(void **unused)
{
	static char big[4096] = "<vCard xmlns='vcard-temp'><FN>";

	(void)unused;
	test_ask(ROMEO, NULL, TYPE_GET, NS_VCARD, "<vCard xmlns='vcard-temp'/>", false);
	test_error("item-not-found");
	test_ask(JULIET, ROMEO, TYPE_GET, NS_VCARD, "<vCard xmlns='vcard-temp'/>", false);
	test_error("service-unavailable");
	test_ask(JULIET, "nobody@example.org", TYPE_GET, NS_VCARD, "<vCard xmlns='vcard-temp'/>",
	    false);
	test_error("service-unavailable");
	test_ask(ROMEO, NULL, TYPE_SET, NS_VCARD,
	    "<vCard xmlns='vcard-temp'><FN>R &amp; M</FN></vCard>", false);
	test_result(NULL);
	test_ask(REMOTE, ROMEO, TYPE_GET, NS_VCARD, "<vCard xmlns='vcard-temp'/>", false);
	test_result("<vCard xmlns='vcard-temp'><FN>R &amp; M</FN></vCard>");
	test_ask(JULIET, ROMEO, TYPE_SET, NS_VCARD, "<vCard xmlns='vcard-temp'/>", false);
	test_error("forbidden");
	memset(big + strlen(big), 'x', 2000);
	memcpy(big + strlen(big), "</FN></vCard>", 14);
	test_ask(ROMEO, NULL, TYPE_SET, NS_VCARD, big, false);
	test_error("policy-violation");
}

#define PRIVATE(inner) "<query xmlns='jabber:iq:private'>" inner "</query>"

static void
test_private(void **unused)
{
	(void)unused;
	test_ask(ROMEO, NULL, TYPE_GET, NS_PRIVATE, PRIVATE("<storage xmlns='storage:x'/>"), false);
	test_result(PRIVATE("<storage xmlns='storage:x'/>"));
	test_ask(ROMEO, NULL, TYPE_SET, NS_PRIVATE,
	    PRIVATE("<storage xmlns='storage:x'><a>1</a></storage>"), false);
	test_result(NULL);
	test_ask(ROMEO, ROMEO, TYPE_GET, NS_PRIVATE, PRIVATE("<storage xmlns='storage:x'/>"),
	    false);
	test_result(PRIVATE("<storage xmlns='storage:x'><a>1</a></storage>"));
	test_ask(ROMEO, NULL, TYPE_GET, NS_PRIVATE, PRIVATE("<other xmlns='storage:x'/>"), false);
	test_result(PRIVATE("<other xmlns='storage:x'/>"));
	test_ask(JULIET, ROMEO, TYPE_GET, NS_PRIVATE, PRIVATE("<storage xmlns='storage:x'/>"),
	    false);
	test_error("forbidden");
	test_ask(ROMEO, NULL, TYPE_GET, NS_PRIVATE, "<query xmlns='jabber:iq:private'/>", false);
	test_error("bad-request");
	test_ask(ROMEO, NULL, TYPE_SET, NS_PRIVATE, "<query xmlns='jabber:iq:private'/>", false);
	test_error("not-acceptable");
	test_ask(ROMEO, NULL, TYPE_SET, NS_PRIVATE, PRIVATE("<storage/>"), false);
	test_error("not-acceptable");
	test_ask(ROMEO, NULL, TYPE_SET, NS_PRIVATE, PRIVATE("<a xmlns='u:1'/><a xmlns='u:2'/>"),
	    false);
	test_result(NULL);
	test_ask(ROMEO, NULL, TYPE_SET, NS_PRIVATE, PRIVATE("<a xmlns='u:3'/>"), false);
	test_error("resource-constraint");
	test_ask(ROMEO, NULL, TYPE_SET, NS_PRIVATE, PRIVATE("<a xmlns='u:2'><b/></a>"), false);
	test_result(NULL);
}

static void
test_last(void **unused)
{
	static const char query[] = "<query xmlns='jabber:iq:last'/>";

	(void)unused;
	test_ask(ROMEO, NULL, TYPE_GET, NS_LAST, query, false);
	test_result("<query xmlns='jabber:iq:last' seconds='5'/>");
	last_set(SLICE(ROMEO), NOW + 3000);
	last_set(SLICE("nobody@example.org"), NOW);
	test_ask(ROMEO, NULL, TYPE_GET, NS_LAST, query, false);
	test_result("seconds='2'");
	test_ask(JULIET, ROMEO, TYPE_GET, NS_LAST, query, false);
	test_error("forbidden");
	test_ask(JULIET, "nobody@example.org", TYPE_GET, NS_LAST, query, false);
	test_error("forbidden");
	test_presence(JULIET, ROMEO, TYPE_SUBSCRIBE, false);
	test_ask(JULIET, ROMEO, TYPE_GET, NS_LAST, query, false);
	test_error("forbidden");
	test_presence(ROMEO, JULIET, TYPE_SUBSCRIBED, false);
	test_ask(JULIET, ROMEO, TYPE_GET, NS_LAST, query, false);
	test_result("seconds='2'");
	test_ask(ROMEO, JULIET, TYPE_GET, NS_LAST, query, false);
	test_error("forbidden");
}

/* -- commands -- */

static int
run(const char *name, json_t **result, const char *a, const char *b)
{
	struct slice words[2] = { slice_string(a), slice_string(b) };
	const struct command *command = command_table;

	*result = NULL;
	while (strcmp(command->name, name) != 0)
		command++;
	return command->run(words, (size_t)(a != NULL) + (b != NULL), result);
}

static void
test_commands(void **unused)
{
	static const struct {
		const char *name, *a, *b;
		int error;
	} cases[] = {
		{ "user add", "Paris@Example.ORG", "secret", OK },
		{ "user add", "paris@example.org", "secret", E_EXISTS },
		{ "user add", "paris@example.org", NULL, E_MALFORMED },
		{ "user add", "paris@example.org/x", "secret", E_MALFORMED },
		{ "user add", "example.org", "secret", E_MALFORMED },
		{ "user add", "@", "secret", E_MALFORMED },
		{ "user add", "paris@elsewhere.example", "secret", E_NOT_FOUND },
		{ "user add", "count@example.org", "", E_MALFORMED },
		{ "user passwd", "paris@example.org", "other", OK },
		{ "user passwd", "count@example.org", "other", E_NOT_FOUND },
		{ "user del", "count@example.org", NULL, E_NOT_FOUND },
		{ "user del", NULL, NULL, E_MALFORMED },
		{ "user del", "paris@example.org", NULL, OK },
		{ "user list", "elsewhere.example", NULL, E_NOT_FOUND },
	};
	json_t *result;
	size_t i;

	(void)unused;
	for (i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		int error = run(cases[i].name, &result, cases[i].a, cases[i].b);

		if (error != cases[i].error)
			fail_msg("%s %s: %s", cases[i].name, cases[i].a, error_text(error));
		assert_int_equal(error != OK, json_is_string(result));
		json_decref(result);
	}
	last_set(SLICE(ROMEO), NOW);
	assert_int_equal(run("user add", &result, "a@example.net", "x"), OK);
	json_decref(result);
	assert_int_equal(run("user list", &result, NULL, NULL), OK);
	assert_int_equal(json_array_size(result), 3);
	assert_string_equal(json_string_value(json_object_get(json_array_get(result, 0),
	    "account")), "a@example.net");
	assert_string_equal(json_string_value(json_object_get(json_array_get(result, 2), "last")),
	    "2023-11-14T22:13:20.000Z");
	assert_true(json_is_null(json_object_get(json_array_get(result, 1), "last")));
	json_decref(result);
	assert_int_equal(run("user list", &result, "example.org", NULL), OK);
	assert_int_equal(json_array_size(result), 2);
	json_decref(result);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, open_all, close_all)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_accounts), TEST(test_reopened), TEST(test_removed), TEST(test_forget_order),
		TEST(test_forget_aborted), TEST(test_register),
		TEST(test_register_malformed), TEST(test_register_rate), TEST(test_register_guesses),
		TEST(test_change_rate),
		TEST(test_own_registration), TEST(test_vcard), TEST(test_private),
		TEST(test_last), TEST(test_commands),
	};

	log_set_level(LOG_LEVEL_ERROR);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
