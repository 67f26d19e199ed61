/*
 * test_carbon.c: which messages the router copies, and to which sessions (XEP-0280).
 *
 * Links: router
 */
#include "delivery_world.h"

#include "ns.h"

/* Juliet: "balcony" speaks, "chamber" and "mute" want copies, "garden" does not. Romeo: "home" and "work"
 * are available, "quiet" is with a negative priority, "hall" sent no presence; all but "work" want copies. */
enum { BALCONY = 1, CHAMBER, GARDEN, MUTE, HOME, WORK, QUIET, HALL, LAST = HALL };

#define BIT(n) (1u << (n))

static struct frame
want(unsigned n, enum stanza_type type, const char *name, const char *to)
{
	struct frame f = stanza(n, STANZA_IQ, type, to);

	f.ns = SLICE(NS_CARBONS);
	f.name = slice_string(name);
	world_say(c2sd, &f);
	return world_expect(c2sd, FRAME_STANZA);
}

static void
enable(unsigned n)
{
	struct frame got = want(n, TYPE_SET, "enable", NULL);

	assert_int_equal(got.subtype, TYPE_RESULT);
	assert_true(got.handle == handle_of(n));
	world_discard(c2sd);
}

static void
everybody_in(void)
{
	log_in(BALCONY, "juliet@localhost", "balcony");
	log_in(CHAMBER, "juliet@localhost", "chamber");
	log_in(GARDEN, "juliet@localhost", "garden");
	log_in(MUTE, "juliet@localhost", "mute");
	log_in(HOME, "romeo@localhost", "home");
	log_in(WORK, "romeo@localhost", "work");
	log_in(QUIET, "romeo@localhost", "quiet");
	log_in(HALL, "romeo@localhost", "hall");
	send_presence(BALCONY, 0);
	send_presence(CHAMBER, 0);
	send_presence(GARDEN, 0);
	send_presence(HOME, 5);
	send_presence(WORK, 0);
	send_presence(QUIET, -1);
	enable(BALCONY);
	enable(CHAMBER);
	enable(MUTE);
	enable(HOME);
	enable(QUIET);
	enable(HALL);
}

static unsigned
receivers_of(const struct frame *f)
{
	unsigned bits = 0;
	size_t i;

	if (f->handle != 0)
		return BIT(f->handle & 0xff);
	for (i = 0; i < frame_count(f); i++) {
		assert_false(bits & BIT(frame_at(f, i) & 0xff)); /* nobody twice */
		bits |= BIT(frame_at(f, i) & 0xff);
	}
	return bits;
}

/* -- who gets what -------------------------------------------------------------------------------- */

#define BODY (FLAG_CONTENT | FLAG_BODY)
#define SENT (BIT(CHAMBER) | BIT(MUTE))

static const struct rule {
	enum stanza_type type;
	uint32_t flags;
	const char *to;
	unsigned sent, received; /* copies */
	unsigned original;       /* 0: nobody has it now, or an error to the sender */
	bool error;
} rules[] = {
	/* to a full JID: its siblings get a copy */
	{ TYPE_CHAT, BODY, "romeo@localhost/home", SENT, BIT(QUIET) | BIT(HALL), BIT(HOME), false },
	{ TYPE_CHAT, BODY, "romeo@localhost/work", SENT, BIT(HOME) | BIT(QUIET) | BIT(HALL), BIT(WORK),
	    false },
	{ TYPE_NORMAL, BODY, "romeo@localhost/work", SENT, BIT(HOME) | BIT(QUIET) | BIT(HALL),
	    BIT(WORK), false },
	/* to the bare JID: who takes those has the message */
	{ TYPE_CHAT, BODY, "romeo@localhost", SENT, BIT(QUIET) | BIT(HALL), BIT(HOME) | BIT(WORK), false },
	{ TYPE_CHAT, BODY, "romeo@localhost/gone", SENT, BIT(QUIET) | BIT(HALL), BIT(HOME) | BIT(WORK), false },
	/* what is not stored: chat states */
	{ TYPE_CHAT, FLAG_IM, "romeo@localhost/home", SENT, BIT(QUIET) | BIT(HALL), BIT(HOME), false },
	{ TYPE_NORMAL, FLAG_IM, "romeo@localhost/home", SENT, BIT(QUIET) | BIT(HALL), BIT(HOME),
	    false },
	/* receipts, markers, invitations: without a body, but of instant messaging */
	{ TYPE_NORMAL, FLAG_CONTENT | FLAG_IM, "romeo@localhost/home", SENT, BIT(QUIET) | BIT(HALL),
	    BIT(HOME), false },
	/* not eligible */
	{ TYPE_NORMAL, FLAG_CONTENT, "romeo@localhost/home", 0, 0, BIT(HOME), false },
	{ TYPE_NORMAL, 0, "romeo@localhost/home", 0, 0, BIT(HOME), false },
	{ TYPE_HEADLINE, BODY, "romeo@localhost/home", 0, 0, BIT(HOME), false },
	{ TYPE_GROUPCHAT, BODY, "romeo@localhost/home", 0, 0, BIT(HOME), false },
	{ TYPE_CHAT, BODY | FLAG_PRIVATE, "romeo@localhost/home", 0, 0, BIT(HOME), false },
	{ TYPE_NORMAL, BODY | FLAG_IM | FLAG_PRIVATE, "romeo@localhost/home", 0, 0, BIT(HOME), false },
	/* errors of clients */
	{ TYPE_ERROR, FLAG_ERROR, "romeo@localhost/home", SENT, BIT(QUIET) | BIT(HALL), BIT(HOME),
	    false },
	/* the bounce of a copy, to the account that it came from, goes nowhere */
	{ TYPE_ERROR, FLAG_ERROR, "juliet@localhost", 0, 0, 0, false },
	/* a message that says it is of a room, from an account: no reason to keep it from the others */
	{ TYPE_CHAT, BODY | FLAG_MUC, "romeo@localhost/home", SENT, BIT(QUIET) | BIT(HALL), BIT(HOME),
	    false },
	/* to oneself: one copy for each */
	{ TYPE_CHAT, BODY, "juliet@localhost/garden", 0, SENT, BIT(GARDEN), false },
	{ TYPE_CHAT, BODY, "juliet@localhost", 0, BIT(MUTE), BIT(BALCONY) | BIT(CHAMBER) | BIT(GARDEN), false },
	/* what bounces: the siblings see the message, and what became of it */
	{ TYPE_NORMAL, BODY, "romeo@localhost/gone", SENT, SENT, 0, true },
	{ TYPE_CHAT, BODY, "romeo@elsewhere.example", SENT, SENT, 0, true },
	{ TYPE_CHAT, BODY, "localhost", SENT, SENT, 0, true },
	{ TYPE_GROUPCHAT, BODY, "romeo@localhost", 0, 0, 0, true },
	{ TYPE_CHAT, BODY | FLAG_PRIVATE, "localhost", 0, 0, 0, true },
};

static void
check_copy(const struct frame *f, const struct rule *rule, unsigned receivers, uint64_t id)
{
	assert_true(f->flags & FLAG_CARBON);
	assert_int_equal(receivers_of(f), receivers);
	assert_int_equal(f->subtype, rule->type);
	assert_true(slice_is(f->from, "juliet@localhost/balcony"));
	assert_true(slice_is(f->to, rule->to));
	assert_true(slice_is(f->payload, "<body>a</body>"));
	assert_true(f->archive_id == 0 && f->number == id && f->seq == 0 && f->origin == 0);
	assert_false(f->flags & (FLAG_STORE | FLAG_FROM_LOCAL | FLAG_TO_LOCAL));
}

static void
drive(const struct rule *rule)
{
	struct frame f = stanza(BALCONY, STANZA_MESSAGE, rule->type, rule->to), got;
	uint64_t id = 0;

	f.flags = rule->flags;
	f.payload = SLICE("<body>a</body>");
	world_say(c2sd, &f);
	if (world_next(archived, &got)) {
		world_silent(c2sd); /* no copy before it is on disk */
		id = ++next_id;
		say_stored(f.seq, id);
	}
	if (rule->sent != 0) {
		got = world_expect(c2sd, FRAME_STANZA);
		check_copy(&got, rule, rule->sent, id);
	}
	if (rule->error) {
		got = world_expect(c2sd, FRAME_STANZA);
		assert_int_equal(got.subtype, TYPE_ERROR);
		assert_int_equal(receivers_of(&got), BIT(BALCONY));
		assert_false(got.flags & FLAG_CARBON);
	} else if (rule->original != 0) {
		got = world_expect(c2sd, FRAME_STANZA);
		assert_int_equal(receivers_of(&got), rule->original);
		assert_false(got.flags & FLAG_CARBON);
		assert_true(got.archive_id == id);
	}
	if (rule->received != 0) {
		got = world_expect(c2sd, FRAME_STANZA);
		if (rule->error) {
			assert_int_equal(got.subtype, TYPE_ERROR);
			assert_true(got.flags & FLAG_CARBON);
			assert_int_equal(receivers_of(&got), rule->received);
			assert_true(slice_is(got.to, "juliet@localhost/balcony"));
		} else {
			check_copy(&got, rule, rule->received, id);
		}
	}
	expect_ack(f.seq);
	world_silent(c2sd);
	world_discard(archived);
}

static void
rules_of_copies(void **state)
{
	size_t i;

	(void)state;
	everybody_in();
	for (i = 0; i < sizeof rules / sizeof *rules; i++) {
		print_message("  rule %zu: to %s type %d\n", i, rules[i].to, (int)rules[i].type);
		drive(&rules[i]);
	}
}

/* A private message of a room's occupant goes to each session that joined, by the room. */
static void
occupants(void **state)
{
	struct link *mucd = world_start(ROLE_MUCD, 0, 9);
	struct frame f = { .type = FRAME_STANZA, .kind = STANZA_MESSAGE, .subtype = TYPE_CHAT,
		.from = SLICE("room@muc.localhost/tybalt"), .to = SLICE("romeo@localhost/home"),
		.flags = BODY | FLAG_MUC, .payload = SLICE("<body>a</body>") }, got;

	(void)state;
	everybody_in();
	world_hello(mucd, "domain muc.localhost\n");
	world_expect(mucd, FRAME_WELCOME);
	world_ready(mucd);
	world_expect(c2sd, FRAME_RESEND);
	world_echo(c2sd);
	world_say(mucd, &f);
	got = world_expect(c2sd, FRAME_STANZA);
	assert_int_equal(receivers_of(&got), BIT(HOME));
	world_silent(c2sd);
	/* The room itself invites: copied. */
	f.from = SLICE("room@muc.localhost");
	f.subtype = TYPE_NORMAL;
	f.flags = FLAG_CONTENT | FLAG_MUC | FLAG_IM;
	world_say(mucd, &f);
	got = world_expect(c2sd, FRAME_STANZA);
	assert_int_equal(receivers_of(&got), BIT(HOME));
	got = world_expect(c2sd, FRAME_STANZA);
	assert_int_equal(receivers_of(&got), BIT(QUIET) | BIT(HALL));
	/* It may not make copies itself. */
	world_refused = 0;
	f.flags = BODY | FLAG_CARBON;
	world_say(mucd, &f);
	assert_int_equal(world_refused, 1);
	world_silent(c2sd);
	/* What is said to an occupant is copied, also when its daemon is away and it comes again. */
	world_die(mucd);
	f = stanza(BALCONY, STANZA_MESSAGE, TYPE_CHAT, "room@muc.localhost/tybalt");
	f.flags = BODY | FLAG_MUC;
	world_say(c2sd, &f);
	got = world_expect(c2sd, FRAME_STANZA);
	assert_true(got.flags & FLAG_CARBON);
	assert_int_equal(receivers_of(&got), SENT);
	world_silent(c2sd);
	world_say(c2sd, &f);
	world_silent(c2sd);
}

/* -- sessions that are fed ------------------------------------------------------------------------- */

static void
feed(unsigned n, const char *from, const char *to, uint32_t flags, uint64_t id)
{
	struct frame f = { .type = FRAME_STANZA, .kind = STANZA_MESSAGE, .subtype = TYPE_CHAT,
		.handle = handle_of(n), .from = slice_string(from), .to = slice_string(to),
		.payload = SLICE("<body>a</body>"), .flags = FLAG_SPOOL | flags, .number = 77,
		.archive_id = id };

	world_say(archived, &f);
}

static void
expect_fed(unsigned n, uint32_t flags, uint64_t archive_id, uint64_t copy_of)
{
	struct frame got = world_expect(c2sd, FRAME_STANZA);

	assert_true(got.handle == handle_of(n));
	assert_int_equal(got.flags & (FLAG_SPOOL | FLAG_CARBON), flags);
	assert_true(got.archive_id == archive_id);
	assert_true(copy_of == 0 || got.number == copy_of);
}

/* What it missed comes as it would have come: for itself, or as a copy of either direction. */
static void
copies_are_fed(void **state)
{
	struct frame pause = { .type = FRAME_SESSION_PAUSE, .handle = handle_of(HOME) };
	struct frame more = { .type = FRAME_SESSION_DRAIN, .handle = handle_of(HOME) };
	struct frame ask, f;

	(void)state;
	everybody_in();
	world_say(c2sd, &pause);
	f = stanza(BALCONY, STANZA_MESSAGE, TYPE_CHAT, "romeo@localhost/work");
	f.flags = BODY;
	world_say(c2sd, &f);
	more.archive_id = next_id;
	say_stored(f.seq, ++next_id);
	world_expect(c2sd, FRAME_STANZA); /* of juliet's */
	world_expect(c2sd, FRAME_STANZA);
	ask = world_expect(c2sd, FRAME_STANZA);
	assert_int_equal(receivers_of(&ask), BIT(QUIET) | BIT(HALL)); /* no copy to who is paused */
	expect_ack(f.seq);
	world_discard(archived);
	world_say(c2sd, &more);
	ask = world_expect(archived, FRAME_DRAIN);
	assert_true((ask.flags & FLAG_CARBONS) && ask.stamp == more.archive_id);
	feed(HOME, "juliet@localhost/balcony", "romeo@localhost/work", BODY, next_id);
	expect_fed(HOME, FLAG_SPOOL | FLAG_CARBON, 0, next_id);
	feed(HOME, "juliet@localhost/balcony", "romeo@localhost", BODY, next_id + 1);
	expect_fed(HOME, FLAG_SPOOL, next_id + 1, 0);
	feed(HOME, "romeo@localhost/work", "juliet@localhost", BODY, next_id + 2);
	expect_fed(HOME, FLAG_SPOOL | FLAG_CARBON, 0, next_id + 2);
	feed(HOME, "romeo@localhost/home", "juliet@localhost", BODY, next_id + 3); /* its own */
	feed(HOME, "juliet@localhost/balcony", "romeo@localhost/work", BODY | FLAG_PRIVATE, next_id + 4);
	world_silent(c2sd);
	next_id += 4;
}

/* With a negative priority it has had a copy: when that rises the spool's message is only marked. */
static void
copy_is_no_second(void **state)
{
	struct frame f, got;

	(void)state;
	log_in(BALCONY, "juliet@localhost", "balcony");
	log_in(QUIET, "romeo@localhost", "quiet");
	send_presence(QUIET, -1);
	f = stanza(BALCONY, STANZA_MESSAGE, TYPE_CHAT, "romeo@localhost");
	f.flags = BODY;
	world_say(c2sd, &f);
	say_stored(f.seq, ++next_id); /* before it wants copies */
	expect_ack(f.seq);
	got = want(QUIET, TYPE_SET, "enable", NULL);
	assert_true(got.number == next_id);
	world_discard(c2sd);
	f = stanza(BALCONY, STANZA_MESSAGE, TYPE_CHAT, "romeo@localhost");
	f.flags = BODY;
	world_say(c2sd, &f);
	say_stored(f.seq, ++next_id);
	got = world_expect(c2sd, FRAME_STANZA);
	assert_true((got.flags & FLAG_CARBON) && got.number == next_id);
	expect_ack(f.seq);
	world_discard(archived);
	f = stanza(QUIET, STANZA_PRESENCE, TYPE_AVAILABLE, NULL);
	f.number = 128;
	world_say(c2sd, &f);
	world_discard(c2sd);
	world_expect(archived, FRAME_DRAIN);
	feed(QUIET, "juliet@localhost/balcony", "romeo@localhost", BODY, next_id - 1);
	expect_fed(QUIET, FLAG_SPOOL, next_id - 1, 0);
	feed(QUIET, "juliet@localhost/balcony", "romeo@localhost", BODY, next_id);
	expect_fed(QUIET, FLAG_SPOOL | FLAG_CARBON, next_id, 0);
	world_silent(c2sd);
}

/* -- on and off ----------------------------------------------------------------------------------- */

static void
requests(void **state)
{
	static const struct {
		enum stanza_type type;
		const char *name, *to, *condition;
	} bad[] = {
		{ TYPE_SET, "enable", "romeo@localhost", "not-allowed" },
		{ TYPE_SET, "disable", "nobody@localhost", "not-allowed" },
		{ TYPE_GET, "enable", NULL, "not-allowed" },
		{ TYPE_SET, "private", NULL, "bad-request" },
		{ TYPE_SET, "enable", "localhost", "service-unavailable" },
	};
	static const struct rule all = { TYPE_CHAT, BODY, "romeo@localhost/work", SENT,
		BIT(HOME) | BIT(QUIET) | BIT(HALL), BIT(WORK), false };
	static const struct rule fewer = { TYPE_CHAT, BODY, "romeo@localhost/work", BIT(MUTE),
		BIT(HOME) | BIT(QUIET) | BIT(HALL), BIT(WORK), false };
	struct frame got;
	size_t i;

	(void)state;
	everybody_in();
	for (i = 0; i < sizeof bad / sizeof *bad; i++) {
		got = want(GARDEN, bad[i].type, bad[i].name, bad[i].to);
		assert_int_equal(got.subtype, TYPE_ERROR);
		assert_non_null(memmem(got.payload.ptr, got.payload.len, bad[i].condition,
		    strlen(bad[i].condition)));
		world_discard(c2sd);
	}
	enable(CHAMBER); /* twice is not wrong */
	drive(&all);
	for (i = 0; i < 2; i++) {
		got = want(CHAMBER, TYPE_SET, "disable", "juliet@localhost");
		assert_int_equal(got.subtype, TYPE_RESULT);
		assert_true(slice_is(got.from, "juliet@localhost"));
		world_discard(c2sd);
		drive(&fewer);
	}
	enable(CHAMBER);
	drive(&all);
}

/* A session that a new router is told of, and one that is bound with the wish. */
static void
is_replayed(void **state)
{
	char token[32];
	struct frame f = { .type = FRAME_SESSION_REPLAY, .handle = handle_of(9),
		.jid = SLICE("romeo@localhost/home"), .token = slice_of(token, 32),
		.flags = FLAG_CARBONS };
	struct frame bind = { .type = FRAME_SESSION_BIND, .handle = handle_of(10),
		.resource = SLICE("work"), .flags = FLAG_CARBONS };
	struct frame grant = { .type = FRAME_AUTH_SUCCESS, .handle = handle_of(10),
		.jid = SLICE("romeo@localhost"), .token = slice_of(token, 32) };
	struct frame roster = { .type = FRAME_ROSTER, .jid = SLICE("romeo@localhost"),
		.flags = FLAG_EXISTS, .payload = SLICE("") };

	(void)state;
	world_die(c2sd);
	register_c2sd();
	world_token(handle_of(9), "romeo@localhost", token);
	world_say(c2sd, &f);
	assert_true(session_find(handle_of(9))->carbons);
	world_ready(c2sd);
	world_expect(c2sd, FRAME_RESEND);
	world_echo(c2sd);
	world_expect(authd, FRAME_ROSTER_LOAD);
	world_token(handle_of(10), "romeo@localhost", token);
	authenticate(10);
	world_say(authd, &grant);
	assert_false(session_find(handle_of(10))->carbons);
	world_say(c2sd, &bind);
	assert_true(session_find(handle_of(10))->carbons);
	world_say(authd, &roster);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(rules_of_copies, set_up, tear_down),
		cmocka_unit_test_setup_teardown(occupants, set_up, tear_down),
		cmocka_unit_test_setup_teardown(copies_are_fed, set_up, tear_down),
		cmocka_unit_test_setup_teardown(copy_is_no_second, set_up, tear_down),
		cmocka_unit_test_setup_teardown(requests, set_up, tear_down),
		cmocka_unit_test_setup_teardown(is_replayed, set_up, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
