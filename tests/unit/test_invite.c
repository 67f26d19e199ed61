/*
 * test_invite.c: invitations: tokens, what they make, names that they reserve, and their end.
 *
 * Links: authd
 */
#include "authd_test.h"

#define HOUR 3600000ull
#define FORM(name) "<query xmlns='" NS_REGISTER "'><username>" name "</username>" \
	"<password>x</password></query>"

static char token[INVITE_TOKEN];

static int
open_all(void **unused)
{
	test_open(unused);
	return register_open();
}

static int
close_all(void **unused)
{
	register_close();
	return test_close(unused);
}

static int
make(const char *inviter, const char *name, unsigned uses, uint64_t time)
{
	struct invite invite = {
		.created = NOW, .expires = NOW + time, .uses = uses,
		.flags = INVITE_REGISTER | (inviter != NULL ? INVITE_CONTACT : 0),
		.domain = SLICE("example.org"), .inviter = slice_string(inviter),
		.name = slice_string(name),
	};
	int error = invite_create(&invite, NOW, token);

	test_collect();
	buf_clear(&test_said);
	return error;
}

static bool
good(uint64_t now, bool late)
{
	struct invite invite;

	return invite_find(slice_string(token), now, late, &invite) == OK;
}

/* Asks to register with the token, as a stream that has shown it. */
static void
take(const char *form)
{
	struct frame f = { .type = FRAME_STANZA, .kind = STANZA_IQ, .subtype = TYPE_SET,
		.handle = 7, .id = SLICE("id1"), .to = SLICE("example.org"), .ns = SLICE(NS_REGISTER),
		.payload = slice_string(form), .address = SLICE("192.0.2.1"),
		.token = slice_string(token) };

	request_handle(&f, false, NOW + 5000);
	test_collect();
}

static void
test_end(void **unused)
{
	(void)unused;
	assert_int_equal(make(NULL, NULL, 2, HOUR), OK);
	assert_true(good(NOW, false));
	assert_true(good(NOW + HOUR - 1, false));
	assert_false(good(NOW + HOUR, false));
	assert_true(good(NOW + HOUR, true));
	assert_true(good(NOW + HOUR + INVITE_LATE - 1, true));
	assert_false(good(NOW + HOUR + INVITE_LATE, true));
	invite_use(slice_string(token));
	assert_true(good(NOW, false));
	invite_use(slice_string(token));
	assert_false(good(NOW, true));
	invite_use(slice_string(token)); /* does nothing */
}

static void
test_tokens(void **unused)
{
	static const char *const bad[] = { "", "x", "0", "0x", "0xA", "g0x", "123456789abcdef01x",
		"0x234567234567234567234567234567234567234567234567234567234567234567234567" };
	char other[INVITE_TOKEN];
	struct invite invite;
	size_t i;

	(void)unused;
	make(ROMEO, NULL, 1, HOUR);
	memcpy(other, token, sizeof other);
	make(ROMEO, NULL, 1, HOUR);
	assert_string_not_equal(other, token);
	assert_true(strlen(token) >= 28 && strlen(token) < INVITE_TOKEN);
	for (i = 0; i < sizeof bad / sizeof bad[0]; i++)
		assert_int_equal(invite_find(slice_string(bad[i]), NOW, true, &invite), E_NOT_FOUND);
	other[strlen(other) - 1] = other[strlen(other) - 1] == 'a' ? 'b' : 'a';
	assert_int_equal(invite_find(slice_string(other), NOW, true, &invite), E_NOT_FOUND);
}

/* What has expired counts no more, and is removed when no stream can use it. */
static void
test_bound(void **unused)
{
	(void)unused;
	assert_int_equal(make(ROMEO, NULL, 1, 1), OK);
	assert_int_equal(make(ROMEO, NULL, 1, HOUR), OK);
	assert_int_equal(make(ROMEO, NULL, 1, HOUR), OK);
	assert_int_equal(make(ROMEO, NULL, 1, HOUR), E_TOO_MANY);
	assert_int_equal(make(JULIET, NULL, 1, HOUR), OK);
	assert_int_equal(make(NULL, NULL, 1, HOUR), OK);
	assert_int_equal(make("nobody@example.org", NULL, 1, HOUR), E_NOT_FOUND);
	assert_int_equal(store_count(state.store, TABLE_INVITE), 5);
	invite_open(NOW + 1 + INVITE_LATE);
	assert_int_equal(store_count(state.store, TABLE_INVITE), 4);
	assert_int_equal(make(ROMEO, NULL, 1, HOUR), OK);
}

static void
test_names(void **unused)
{
	char first[INVITE_TOKEN];

	(void)unused;
	assert_int_equal(make(ROMEO, "romeo", 1, HOUR), E_EXISTS);
	assert_int_equal(make(ROMEO, "nurse", 1, HOUR), OK);
	memcpy(first, token, sizeof first);
	assert_int_equal(make(NULL, "nurse", 1, HOUR), E_EXISTS);
	assert_true(invite_reserved(SLICE("nurse@example.org"), NOW));
	assert_false(invite_reserved(SLICE("nurse@example.org"), NOW + HOUR));
	assert_false(invite_reserved(SLICE("nurse@example.net"), NOW));
	make(NULL, NULL, 1, HOUR);
	take(FORM("nurse"));
	test_error("conflict");
	memcpy(token, first, sizeof first);
	take(FORM("other"));
	test_error("not-acceptable");
	take(FORM("nurse"));
	assert_true(account_exists(SLICE("nurse@example.org")));
	assert_false(good(NOW, true));
	assert_int_equal(store_count(state.store, TABLE_RESERVED), 0);
}

/* A reservation goes with its inviter. */
static void
test_inviter_goes(void **unused)
{
	(void)unused;
	assert_int_equal(make(ROMEO, "nurse", 1, HOUR), OK);
	assert_int_equal(account_remove(SLICE(ROMEO), false, NOW), OK);
	assert_false(good(NOW, true));
	assert_false(invite_reserved(SLICE("nurse@example.org"), NOW));
	assert_int_equal(store_count(state.store, TABLE_RESERVED), 1);
	invite_open(NOW);
	assert_int_equal(store_count(state.store, TABLE_RESERVED), 0);
	test_collect();
}

/* The account, its side, the inviter's side, and the answer, in this order. */
static void
test_contacts(void **unused)
{
	struct frame f;
	unsigned changes = 0, pushes = 0;

	(void)unused;
	make(ROMEO, NULL, 1, HOUR);
	take(FORM("nurse"));
	assert_true(test_next(&f) && f.type == FRAME_ACCOUNT_IS && f.flags == FLAG_EXISTS);
	while (test_next(&f) && f.subtype != TYPE_RESULT) {
		changes += f.type == FRAME_ROSTER_CHANGE;
		pushes += f.type == FRAME_STANZA && f.audience == AUDIENCE_INTERESTED;
	}
	assert_true(slice_is(f.id, "id1"));
	assert_int_equal(changes, 2);
	assert_int_equal(pushes, 2);
	assert_int_equal(test_bits(ROMEO, "nurse@example.org"), ROSTER_LISTED | ROSTER_TO | ROSTER_FROM);
	assert_int_equal(test_bits("nurse@example.org", ROMEO), ROSTER_LISTED | ROSTER_TO | ROSTER_FROM);
}

static void
ask_contact(const char *from)
{
	struct frame f = { .type = FRAME_STANZA, .kind = STANZA_PRESENCE, .subtype = TYPE_SUBSCRIBE,
		.handle = 7, .from = slice_string(from), .to = SLICE(ROMEO), .stamp = NOW };
	struct buf payload = { 0 };

	buf_printf(&payload, "<preauth xmlns='" NS_PARS "' token='%s'/>", token);
	f.payload = buf_slice(&payload);
	presence_handle(&f, false);
	test_collect();
	buf_free(&payload);
}

/* A contact elsewhere gets its approval, and is asked back. */
static void
test_remote_contact(void **unused)
{
	struct frame f;
	bool approved = false, asked = false;

	(void)unused;
	make(ROMEO, NULL, 1, HOUR);
	ask_contact(REMOTE);
	while (test_next(&f)) {
		bool out = f.type == FRAME_STANZA && f.kind == STANZA_PRESENCE && slice_is(f.to, REMOTE);

		approved = approved || (out && f.subtype == TYPE_SUBSCRIBED);
		asked = asked || (out && f.subtype == TYPE_SUBSCRIBE);
		assert_false(slice_is(f.to, ROMEO) && f.subtype == TYPE_SUBSCRIBE);
	}
	assert_true(approved && asked);
	assert_int_equal(test_bits(ROMEO, REMOTE),
	    ROSTER_LISTED | ROSTER_FROM | ROSTER_PENDING_OUT | ROSTER_APPROVED);
	assert_false(good(NOW, true));
	ask_contact("other@remote.example");
	assert_int_equal(test_bits(ROMEO, "other@remote.example"), ROSTER_PENDING_IN);
	buf_clear(&test_said);
}

static void
test_uri(void **unused)
{
	struct invite invite = { .domain = SLICE("example.org"), .name = SLICE("a/b&c?d") };
	struct buf uri = { 0 };

	(void)unused;
	invite_uri(&invite, "1x2", &uri);
	assert_true(slice_is(buf_slice(&uri), "xmpp:a%2Fb%26c%3Fd@example.org?register;preauth=1x2"));
	buf_clear(&uri);
	invite.inviter = SLICE(ROMEO);
	invite.flags = INVITE_ROSTER | INVITE_REGISTER;
	invite_uri(&invite, "1x2", &uri);
	assert_true(slice_is(buf_slice(&uri), "xmpp:" ROMEO "?roster;preauth=1x2;ibr=y"));
	buf_free(&uri);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, open_all, close_all)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_end),
		TEST(test_tokens),
		TEST(test_bound),
		TEST(test_names),
		TEST(test_inviter_goes),
		TEST(test_contacts),
		TEST(test_remote_contact),
		TEST(test_uri),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
