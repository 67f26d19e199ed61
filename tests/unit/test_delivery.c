/*
 * test_delivery.c: what the router does with stanzas: RFC 6121 section 8 for every type and kind of
 * address, store-then-forward, order, custody, and what it makes of lies.
 *
 * Links: router
 */
#include "delivery_world.h"

/* -- section 8 as a table --------------------------------------------------------------------------------- */

/* Romeo's sessions: "home" with priority 5 and "work" with 0 are available, "quiet" is with -1, "mute" sent no presence. */
enum outcome { DROPPED, ERROR, HOME, WORK, QUIET, MUTE, HOME_WORK, HOME_WORK_QUIET, SPOOLED };

static const struct rule {
	enum stanza_kind kind;
	enum stanza_type type;
	const char *to;
	bool content;
	enum outcome outcome;
} rules[] = {
	/* 8.5.2: a bare JID with available resources */
	{ STANZA_MESSAGE, TYPE_NORMAL, "romeo@localhost", true, HOME_WORK },
	{ STANZA_MESSAGE, TYPE_CHAT, "romeo@localhost", true, HOME_WORK },
	{ STANZA_MESSAGE, TYPE_CHAT, "romeo@localhost", false, HOME_WORK },
	{ STANZA_MESSAGE, TYPE_HEADLINE, "romeo@localhost", true, HOME_WORK },
	{ STANZA_MESSAGE, TYPE_GROUPCHAT, "romeo@localhost", true, ERROR },
	{ STANZA_MESSAGE, TYPE_ERROR, "romeo@localhost", true, DROPPED },
	{ STANZA_PRESENCE, TYPE_AVAILABLE, "romeo@localhost", false, HOME_WORK_QUIET },
	{ STANZA_PRESENCE, TYPE_UNAVAILABLE, "romeo@localhost", false, HOME_WORK_QUIET },
	{ STANZA_IQ, TYPE_GET, "romeo@localhost", false, ERROR },
	{ STANZA_IQ, TYPE_SET, "romeo@localhost", false, ERROR },
	{ STANZA_IQ, TYPE_RESULT, "romeo@localhost", false, DROPPED },
	{ STANZA_IQ, TYPE_ERROR, "romeo@localhost", false, DROPPED },
	/* 8.5.3.1: a full JID that matches */
	{ STANZA_MESSAGE, TYPE_NORMAL, "romeo@localhost/work", true, WORK },
	{ STANZA_MESSAGE, TYPE_CHAT, "romeo@localhost/quiet", true, QUIET },
	{ STANZA_MESSAGE, TYPE_CHAT, "romeo@localhost/mute", true, MUTE },
	{ STANZA_MESSAGE, TYPE_GROUPCHAT, "romeo@localhost/work", true, WORK },
	{ STANZA_MESSAGE, TYPE_HEADLINE, "romeo@localhost/work", true, WORK },
	{ STANZA_MESSAGE, TYPE_ERROR, "romeo@localhost/work", true, WORK },
	{ STANZA_PRESENCE, TYPE_AVAILABLE, "romeo@localhost/work", false, WORK },
	{ STANZA_PRESENCE, TYPE_UNAVAILABLE, "romeo@localhost/work", false, WORK },
	{ STANZA_IQ, TYPE_GET, "romeo@localhost/work", false, WORK },
	{ STANZA_IQ, TYPE_SET, "romeo@localhost/mute", false, MUTE },
	{ STANZA_IQ, TYPE_RESULT, "romeo@localhost/work", false, WORK },
	{ STANZA_IQ, TYPE_ERROR, "romeo@localhost/work", false, WORK },
	/* 8.5.3.2: a full JID that does not */
	{ STANZA_MESSAGE, TYPE_NORMAL, "romeo@localhost/gone", true, ERROR },
	{ STANZA_MESSAGE, TYPE_CHAT, "romeo@localhost/gone", true, HOME_WORK },
	{ STANZA_MESSAGE, TYPE_GROUPCHAT, "romeo@localhost/gone", true, ERROR },
	{ STANZA_MESSAGE, TYPE_HEADLINE, "romeo@localhost/gone", true, DROPPED },
	{ STANZA_MESSAGE, TYPE_ERROR, "romeo@localhost/gone", true, DROPPED },
	{ STANZA_PRESENCE, TYPE_AVAILABLE, "romeo@localhost/gone", false, DROPPED },
	{ STANZA_IQ, TYPE_GET, "romeo@localhost/gone", false, ERROR },
	{ STANZA_IQ, TYPE_RESULT, "romeo@localhost/gone", false, DROPPED },
	/* 8.5.2.2: a bare JID without available resources (Paris has one with a negative priority) */
	{ STANZA_MESSAGE, TYPE_NORMAL, "paris@localhost", true, SPOOLED },
	{ STANZA_MESSAGE, TYPE_CHAT, "paris@localhost", true, SPOOLED },
	{ STANZA_MESSAGE, TYPE_CHAT, "paris@localhost", false, DROPPED },
	{ STANZA_MESSAGE, TYPE_HEADLINE, "paris@localhost", true, DROPPED },
	{ STANZA_MESSAGE, TYPE_GROUPCHAT, "paris@localhost", true, ERROR },
	{ STANZA_MESSAGE, TYPE_ERROR, "paris@localhost", true, DROPPED },
	{ STANZA_MESSAGE, TYPE_CHAT, "paris@localhost/gone", true, SPOOLED },
	/* 8.3, 10.5: the server itself, and domains that nobody serves */
	{ STANZA_MESSAGE, TYPE_CHAT, "localhost", true, ERROR },
	{ STANZA_MESSAGE, TYPE_CHAT, "romeo@elsewhere.example", true, ERROR },
	{ STANZA_PRESENCE, TYPE_AVAILABLE, "localhost", false, DROPPED },
	{ STANZA_PRESENCE, TYPE_AVAILABLE, "romeo@elsewhere.example", false, ERROR },
	{ STANZA_IQ, TYPE_GET, "localhost", false, ERROR },
	{ STANZA_IQ, TYPE_GET, "elsewhere.example", false, ERROR },
	{ STANZA_IQ, TYPE_RESULT, "localhost", false, DROPPED },
};

enum { JULIET_N = 1, HOME_N, WORK_N, QUIET_N, MUTE_N, PARIS_N };

static const struct {
	unsigned count;
	unsigned sessions[3];
} receivers[] = {
	[DROPPED] = { 0, { 0 } },
	[ERROR] = { 1, { JULIET_N } },
	[HOME] = { 1, { HOME_N } },
	[WORK] = { 1, { WORK_N } },
	[QUIET] = { 1, { QUIET_N } },
	[MUTE] = { 1, { MUTE_N } },
	[HOME_WORK] = { 2, { HOME_N, WORK_N } },
	[HOME_WORK_QUIET] = { 3, { HOME_N, WORK_N, QUIET_N } },
	[SPOOLED] = { 0, { 0 } },
};

static bool
is_among(const struct frame *f, uint64_t handle)
{
	size_t i;

	if (f->handle == handle)
		return true;
	for (i = 0; i < frame_count(f); i++) {
		if (frame_at(f, i) == handle)
			return true;
	}
	return false;
}

static void
drive(const struct rule *rule)
{
	struct frame f = stanza(JULIET_N, rule->kind, rule->type, rule->to), got;
	bool stored;
	unsigned i;

	f.number = 128;
	f.flags = rule->content ? FLAG_CONTENT | FLAG_BODY : 0;
	world_say(c2sd, &f);
	stored = world_next(archived, &got);
	if (stored) {
		assert_int_equal(got.type, FRAME_STANZA);
		assert_true(got.flags & FLAG_STORE);
		assert_true(slice_is(got.from, "juliet@localhost/balcony"));
		world_silent(c2sd); /* nobody sees it before it is on disk */
		say_stored(f.seq, ++next_id);
	}
	if (rule->outcome == SPOOLED)
		assert_true(stored);
	if (receivers[rule->outcome].count != 0) {
		got = world_expect(c2sd, FRAME_STANZA);
		assert_int_equal(got.subtype == TYPE_ERROR,
		    rule->outcome == ERROR || rule->type == TYPE_ERROR);
		if (rule->outcome != ERROR)
			assert_true(slice_is(got.from, "juliet@localhost/balcony"));
		assert_true(!stored || rule->outcome == ERROR || got.archive_id == next_id);
		for (i = 0; i < receivers[rule->outcome].count; i++)
			assert_true(is_among(&got, handle_of(receivers[rule->outcome].sessions[i])));
		assert_true((got.handle != 0) + frame_count(&got) == receivers[rule->outcome].count);
	}
	expect_ack(f.seq);
	world_silent(c2sd);
	if (stored && rule->outcome == ERROR)
		world_expect(archived, FRAME_DROP);
}

static void
everybody_in(void)
{
	log_in(JULIET_N, "juliet@localhost", "balcony");
	log_in(HOME_N, "romeo@localhost", "home");
	log_in(WORK_N, "romeo@localhost", "work");
	log_in(QUIET_N, "romeo@localhost", "quiet");
	log_in(MUTE_N, "romeo@localhost", "mute");
	log_in(PARIS_N, "paris@localhost", "hall");
	send_presence(HOME_N, 5);
	send_presence(WORK_N, 0);
	send_presence(QUIET_N, -1);
	send_presence(PARIS_N, -1);
	world_discard(c2sd);
}

static void
section_8(void **state)
{
	size_t i;

	(void)state;
	everybody_in();
	for (i = 0; i < sizeof rules / sizeof *rules; i++) {
		print_message("  to %s kind %d type %d\n", rules[i].to, (int)rules[i].kind,
		    (int)rules[i].type);
		drive(&rules[i]);
	}
}

/* Which types are stored, and what hints do to that (XEP-0313 section 6.1, XEP-0334). */
static void
what_is_stored(void **state)
{
	static const struct { enum stanza_type type; uint32_t flags; bool stored; } rows[] = {
		{ TYPE_NORMAL, FLAG_CONTENT, true },
		{ TYPE_CHAT, FLAG_CONTENT, true },
		{ TYPE_CHAT, FLAG_IM, false },
		{ TYPE_CHAT, FLAG_CONTENT | FLAG_NO_STORE, false },
		{ TYPE_CHAT, FLAG_CONTENT | FLAG_NO_PERMANENT, true },
		{ TYPE_CHAT, FLAG_CONTENT | FLAG_KEEP | FLAG_NO_STORE, false },
		{ TYPE_HEADLINE, FLAG_CONTENT | FLAG_BODY, false },
		{ TYPE_HEADLINE, FLAG_CONTENT | FLAG_KEEP, true },
		{ TYPE_HEADLINE, FLAG_CONTENT | FLAG_KEEP | FLAG_NO_STORE, false },
		{ TYPE_GROUPCHAT, FLAG_CONTENT | FLAG_BODY | FLAG_KEEP, false },
		{ TYPE_ERROR, FLAG_CONTENT | FLAG_ERROR, false },
	};
	struct frame f, got;
	size_t i;

	(void)state;
	everybody_in();
	for (i = 0; i < sizeof rows / sizeof *rows; i++) {
		print_message("  type %d flags %x\n", (int)rows[i].type, (unsigned)rows[i].flags);
		f = stanza(JULIET_N, STANZA_MESSAGE, rows[i].type, "romeo@localhost/home");
		f.flags = rows[i].flags;
		world_say(c2sd, &f);
		assert_int_equal(world_next(archived, &got), rows[i].stored);
		if (rows[i].stored) {
			assert_int_equal(got.flags & rows[i].flags, rows[i].flags);
			say_stored(f.seq, ++next_id);
		}
		got = world_expect(c2sd, FRAME_STANZA);
		assert_int_equal(got.archive_id, rows[i].stored ? next_id : 0);
		expect_ack(f.seq);
	}
}

/* A headline that is to be stored waits like a message, also for an address that is not there. */
static void
stored_headline(void **state)
{
	static const char *const to[] = { "quiet@localhost", "quiet@localhost/x" };
	struct frame f, is = { .type = FRAME_ACCOUNT_IS };
	size_t i;

	(void)state;
	log_in(JULIET_N, "juliet@localhost", "balcony");
	for (i = 0; i < 2; i++) {
		f = stanza(JULIET_N, STANZA_MESSAGE, TYPE_HEADLINE, to[i]);
		f.flags = FLAG_CONTENT | FLAG_KEEP;
		world_say(c2sd, &f);
		world_expect(archived, FRAME_STANZA);
		say_stored(f.seq, ++next_id);
		world_expect(authd, FRAME_ACCOUNT_ASK);
		expect_ack(f.seq);
	}
	is.jid = SLICE("quiet@localhost");
	world_say(authd, &is);
	for (i = 0; i < 2; i++) {
		assert_int_equal(world_expect(c2sd, FRAME_STANZA).subtype, TYPE_ERROR);
		world_expect(archived, FRAME_DROP);
	}
	world_silent(c2sd);
}

/* 8.5.1: the account does not exist; authd is asked once, after the commit. */
static void
no_such_account(void **state)
{
	struct frame f, got, is = { .type = FRAME_ACCOUNT_IS, .jid = SLICE("nobody@localhost") };

	(void)state;
	log_in(JULIET_N, "juliet@localhost", "balcony");
	f = stanza(JULIET_N, STANZA_MESSAGE, TYPE_CHAT, "nobody@localhost/x");
	f.flags = FLAG_CONTENT;
	world_say(c2sd, &f);
	world_expect(archived, FRAME_STANZA);
	say_stored(f.seq, ++next_id);
	got = world_expect(authd, FRAME_ACCOUNT_ASK);
	assert_true(slice_is(got.jid, "nobody@localhost"));
	expect_ack(f.seq);
	world_say(authd, &is);
	got = world_expect(c2sd, FRAME_STANZA);
	assert_int_equal(got.subtype, TYPE_ERROR);
	assert_true(slice_is(got.from, "nobody@localhost/x"));
	got = world_expect(archived, FRAME_DROP);
	assert_true(got.archive_id == next_id && (got.flags & FLAG_BOUNCE));
	/* What is known is not asked again, and not stored either. */
	f = stanza(JULIET_N, STANZA_MESSAGE, TYPE_CHAT, "nobody@localhost");
	f.flags = FLAG_CONTENT;
	world_say(c2sd, &f);
	got = world_expect(c2sd, FRAME_STANZA);
	assert_int_equal(got.subtype, TYPE_ERROR);
	expect_ack(f.seq);
	world_silent(archived);
}

/* -- order and custody -------------------------------------------------------------------------------------- */

static struct frame
say_chat(unsigned n, const char *to)
{
	struct frame f = stanza(n, STANZA_MESSAGE, TYPE_CHAT, to);

	f.flags = FLAG_CONTENT;
	world_say(c2sd, &f);
	return f;
}

/* What is not stored waits behind what is being stored. */
static void
order_is_kept(void **state)
{
	struct frame chat, leave, got;

	(void)state;
	everybody_in();
	chat = say_chat(JULIET_N, "romeo@localhost/work");
	leave = stanza(JULIET_N, STANZA_PRESENCE, TYPE_UNAVAILABLE, "romeo@localhost/work");
	world_say(c2sd, &leave);
	world_silent(c2sd);
	world_expect(archived, FRAME_STANZA);
	say_stored(chat.seq, ++next_id);
	got = world_expect(c2sd, FRAME_STANZA);
	assert_int_equal(got.kind, STANZA_MESSAGE);
	got = world_expect(c2sd, FRAME_STANZA);
	assert_int_equal(got.kind, STANZA_PRESENCE);
	expect_ack(leave.seq);
}

/* archived dies with a message: it comes again, and what had been committed is not forwarded twice. */
static void
archived_restarts(void **state)
{
	struct frame first, second, got;
	unsigned i;

	(void)state;
	everybody_in();
	first = say_chat(JULIET_N, "romeo@localhost/work");
	second = say_chat(JULIET_N, "romeo@localhost/work");
	world_expect(archived, FRAME_STANZA);
	world_expect(archived, FRAME_STANZA);
	world_die(archived);
	start_archived();
	world_expect(c2sd, FRAME_RESEND);
	/* Drains are asked for anew, for all: what was for one of them alone is on the spool, too. */
	for (i = JULIET_N; i <= PARIS_N; i++)
		world_expect(archived, FRAME_DRAIN);
	world_silent(archived);
	/* Until the echo, what c2sd has in custody does not count. */
	world_say(c2sd, &second);
	world_silent(archived);
	world_echo(c2sd);
	world_say(c2sd, &first);
	world_say(c2sd, &second);
	got = world_expect(archived, FRAME_STANZA);
	assert_true(got.seq == first.seq && (got.flags & FLAG_STORE));
	got = world_expect(archived, FRAME_STANZA);
	assert_true(got.seq == second.seq && (got.flags & FLAG_STORE));
	say_stored(first.seq, 0); /* had been committed: the spool delivers it */
	expect_ack(first.seq);
	world_silent(c2sd);
	say_stored(second.seq, ++next_id);
	expect_ack(second.seq); /* Romeo drains: it is on the spool, and comes with the rest */
	world_silent(c2sd);
}

/* A c2sd dies with a message of its client in the store: the receiver gets it all the same. */
static void
sender_dies(void **state)
{
	struct link *other;
	struct frame f;

	(void)state;
	everybody_in();
	f = say_chat(JULIET_N, "paris@localhost");
	world_expect(archived, FRAME_STANZA);
	other = c2sd;
	world_die(other);
	c2sd = NULL;
	say_stored(f.seq, ++next_id);
	world_ticks += 10000;
	sessions_tick();
	assert_int_equal(session_count(), 0);
}

/* The router has lost all: sessions come back with their tokens, forged ones do not. */
static void
replay(void **state)
{
	char token[32];
	struct frame f = { .type = FRAME_SESSION_REPLAY, .handle = handle_of(9),
		.jid = SLICE("romeo@localhost/home"), .token = slice_of(token, 32),
		.flags = FLAG_AVAILABLE, .number = 130, .payload = SLICE("<priority>2</priority>") };
	struct frame roster = { .type = FRAME_ROSTER, .jid = SLICE("romeo@localhost"),
		.flags = FLAG_EXISTS, .payload = SLICE("") };
	struct frame got;

	(void)state;
	world_token(handle_of(9), "romeo@localhost", token);
	world_say(c2sd, &f); /* only before READY */
	world_silent(authd);
	assert_int_equal(session_count(), 0);
	world_die(c2sd);
	register_c2sd();
	world_say(c2sd, &f);
	world_expect(authd, FRAME_ROSTER_LOAD);
	world_say(authd, &roster);
	world_silent(c2sd); /* no second SESSION_BOUND */
	world_silent(archived); /* not all sessions are told */
	assert_non_null(session_find(handle_of(9)));

	f.handle = handle_of(10); /* a token for another stream */
	world_say(c2sd, &f);
	got = world_expect(c2sd, FRAME_SESSION_KILL);
	assert_true(got.handle == handle_of(10));
	f.handle = HANDLE(6, 9); /* another daemon's stream */
	world_token(f.handle, "romeo@localhost", token);
	world_say(c2sd, &f);
	world_expect(c2sd, FRAME_SESSION_KILL);
	assert_int_equal(session_count(), 1);
	world_say(c2sd, &(struct frame){ .type = FRAME_READY });
	world_expect(archived, FRAME_DRAIN);
}

/* A session is handed over to a stream that has ended meanwhile: it ends too, and does not stay as
 * one that nobody holds. */
static void
moved_to_nobody(void **state)
{
	struct frame f = { .type = FRAME_SESSION_MOVE, .handle = handle_of(JULIET_N),
		.number = HANDLE(INCARNATION, 99), .flags = FLAG_MORE,
		.jid = SLICE("juliet@localhost/balcony") };

	(void)state;
	log_in(JULIET_N, "juliet@localhost", "balcony");
	world_say(c2sd, &f);
	assert_null(session_find(handle_of(JULIET_N)));
	assert_int_equal(session_count(), 0);
	f.flags = 0; /* the last of it */
	world_say(c2sd, &f);
	world_silent(c2sd);
}

/* A c2sd speaks for a stream without a session, and reports what is not its own. */
static void
lies(void **state)
{
	struct frame f, got;
	struct buf numbers = { 0 };

	(void)state;
	everybody_in();
	f = stanza(42, STANZA_MESSAGE, TYPE_CHAT, "romeo@localhost");
	f.from = SLICE("juliet@localhost/balcony");
	world_say(c2sd, &f);
	expect_ack(f.seq);
	world_silent(archived);
	/* A forged address on a real stream is replaced. */
	f = stanza(JULIET_N, STANZA_PRESENCE, TYPE_AVAILABLE, "romeo@localhost/work");
	f.from = SLICE("nurse@localhost/x");
	world_say(c2sd, &f);
	got = world_expect(c2sd, FRAME_STANZA);
	assert_true(slice_is(got.from, "juliet@localhost/balcony"));
	expect_ack(f.seq);
	/* An address that is not canonical. */
	f = stanza(JULIET_N, STANZA_MESSAGE, TYPE_CHAT, "Romeo@LOCALHOST");
	world_say(c2sd, &f);
	expect_ack(f.seq);
	world_silent(archived);
	/* Deliveries of sessions that it does not hold. */
	buf_add_u64(&numbers, HANDLE(77, 1));
	buf_add_u64(&numbers, 101);
	f = (struct frame){ .type = FRAME_DELIVERED, .origin = INCARNATION, .seq = ++next_seq,
		.numbers = buf_slice(&numbers) };
	world_say(c2sd, &f);
	got = world_expect(archived, FRAME_DELIVERED);
	assert_int_equal(frame_count(&got), 0);
	buf_free(&numbers);
}

/* A stanza in the name of an account that authd has not granted. */
static void
no_grant_no_bind(void **state)
{
	struct frame bind = { .type = FRAME_SESSION_BIND, .handle = handle_of(3),
		.resource = SLICE("x") };

	(void)state;
	world_say(c2sd, &bind);
	world_silent(c2sd);
	world_silent(authd);
	assert_int_equal(session_count(), 0);
}

static void
conflict_replaces(void **state)
{
	struct frame got, end = { .type = FRAME_SESSION_END, .handle = handle_of(1) };
	char token[32];
	struct frame grant = { .type = FRAME_AUTH_SUCCESS, .handle = handle_of(2),
		.jid = SLICE("juliet@localhost"), .token = slice_of(token, 32) };
	struct frame bind = { .type = FRAME_SESSION_BIND, .handle = handle_of(2),
		.resource = SLICE("balcony") };

	(void)state;
	log_in(1, "juliet@localhost", "balcony");
	world_token(handle_of(2), "juliet@localhost", token);
	world_say(authd, &grant); /* nobody has asked */
	world_silent(c2sd);
	authenticate(2);
	world_say(authd, &grant);
	world_expect(c2sd, FRAME_AUTH_SUCCESS);
	world_say(c2sd, &bind);
	got = world_expect(c2sd, FRAME_SESSION_KILL);
	assert_true(got.handle == handle_of(1) && slice_is(got.condition, "conflict"));
	got = world_expect(c2sd, FRAME_SESSION_BOUND);
	assert_true(got.handle == handle_of(2));
	world_say(c2sd, &end);
	assert_null(session_find(handle_of(1)));
	assert_non_null(session_find(handle_of(2)));
}

/* A session that does not read gets nothing stored; it is fed when it reads again. */
static void
pause_and_drain(void **state)
{
	struct frame f, got, pause = { .type = FRAME_SESSION_PAUSE, .handle = handle_of(HOME_N) };
	struct frame drain = { .type = FRAME_SESSION_DRAIN, .handle = handle_of(HOME_N) };
	struct frame spooled = { .type = FRAME_STANZA, .kind = STANZA_MESSAGE, .subtype = TYPE_CHAT,
		.handle = handle_of(HOME_N), .from = SLICE("juliet@localhost/balcony"),
		.to = SLICE("romeo@localhost"), .payload = SLICE(""), .flags = FLAG_SPOOL, .number = 77 };
	struct frame done = { .type = FRAME_DRAINED, .handle = handle_of(HOME_N) };

	(void)state;
	log_in(JULIET_N, "juliet@localhost", "balcony");
	log_in(HOME_N, "romeo@localhost", "home");
	send_presence(HOME_N, 0);
	world_say(c2sd, &pause);
	f = say_chat(JULIET_N, "romeo@localhost");
	world_expect(archived, FRAME_STANZA);
	say_stored(f.seq, ++next_id);
	expect_ack(f.seq);
	world_silent(c2sd);
	world_say(c2sd, &drain);
	got = world_expect(archived, FRAME_DRAIN);
	assert_true(got.archive_id < next_id);
	spooled.archive_id = next_id;
	world_say(archived, &spooled);
	got = world_expect(c2sd, FRAME_STANZA);
	assert_true(got.archive_id == next_id && (got.flags & FLAG_SPOOL));
	/* What is stored while it drains comes by the drain alone. */
	f = say_chat(JULIET_N, "romeo@localhost");
	world_expect(archived, FRAME_STANZA);
	say_stored(f.seq, ++next_id);
	expect_ack(f.seq);
	world_silent(c2sd);
	world_say(archived, &done);
	f = say_chat(JULIET_N, "romeo@localhost");
	world_expect(archived, FRAME_STANZA);
	say_stored(f.seq, ++next_id);
	got = world_expect(c2sd, FRAME_STANZA);
	assert_true(got.archive_id == next_id);
}

/* -- what restarts and several origins do ------------------------------------------------------------------ */

/* A session has got a stored message. */
static void
say_delivered(unsigned n, uint64_t id)
{
	struct buf numbers = { 0 };
	struct frame f = { .type = FRAME_DELIVERED, .origin = INCARNATION, .seq = ++next_seq };

	buf_add_u64(&numbers, handle_of(n));
	buf_add_u64(&numbers, id);
	f.numbers = buf_slice(&numbers);
	world_say(c2sd, &f);
	buf_free(&numbers);
}

/* archived feeds a session with a message. */
static void
say_fed(unsigned n, const char *from, const char *to, uint64_t id)
{
	struct frame f = { .type = FRAME_STANZA, .kind = STANZA_MESSAGE, .subtype = TYPE_CHAT,
		.handle = handle_of(n), .from = slice_string(from), .to = slice_string(to),
		.payload = SLICE(""), .flags = FLAG_SPOOL | FLAG_CONTENT | FLAG_BODY, .number = 77,
		.archive_id = id };

	world_say(archived, &f);
}

/* After a restart the number of a spool is not known: the message must go by its address. */
static void
delivered_without_spool(void **state)
{
	struct frame got;

	(void)state;
	log_in(HOME_N, "romeo@localhost", "home");
	say_delivered(HOME_N, 55);
	got = world_expect(archived, FRAME_DROP);
	assert_true(slice_is(got.jid, "romeo@localhost") && got.archive_id == 55);
	assert_true(got.flags == 0);
	got = world_expect(archived, FRAME_DELIVERED);
	assert_true(frame_count(&got) == 0 && got.seq == next_seq);
}

/* What a session missed while it was paused it is fed out of the archive, from where c2sd says that it is;
 * what its sibling took off the spool meanwhile as well, and nothing before. */
static void
fed_from_its_level(void **state)
{
	struct frame f, got;
	struct frame pause = { .type = FRAME_SESSION_PAUSE, .handle = handle_of(HOME_N) };
	struct frame drain = { .type = FRAME_SESSION_DRAIN, .handle = handle_of(HOME_N), .number = 3 };
	uint64_t level;

	(void)state;
	log_in(JULIET_N, "juliet@localhost", "balcony");
	log_in(HOME_N, "romeo@localhost", "home");
	log_in(WORK_N, "romeo@localhost", "work");
	send_presence(HOME_N, 0);
	send_presence(WORK_N, 0);
	f = say_chat(JULIET_N, "romeo@localhost");
	say_stored(f.seq, level = ++next_id);
	got = world_expect(c2sd, FRAME_STANZA);
	assert_true(is_among(&got, handle_of(HOME_N)) && is_among(&got, handle_of(WORK_N)));
	got = world_expect(c2sd, FRAME_ACK);
	assert_true(got.archive_id == level);
	world_say(c2sd, &pause);
	f = say_chat(JULIET_N, "romeo@localhost");
	say_stored(f.seq, ++next_id);
	got = world_expect(c2sd, FRAME_STANZA);
	assert_false(is_among(&got, handle_of(HOME_N)));
	expect_ack(f.seq);
	world_discard(archived);
	drain.archive_id = level;
	world_say(c2sd, &drain);
	assert_true(world_fed.handle == drain.handle && world_fed.flags == FLAG_MORE);
	assert_true(world_fed.archive_id == level && world_fed.number == 3);
	got = world_expect(archived, FRAME_DRAIN);
	assert_true(got.archive_id == 0 && got.stamp == level && !(got.flags & FLAG_CARBONS));
	say_fed(HOME_N, "juliet@localhost/balcony", "romeo@localhost", next_id);
	got = world_expect(c2sd, FRAME_STANZA);
	assert_true(got.archive_id == next_id && got.handle == drain.handle);
	/* What its account has sent is no message for it, nor what was to its sibling alone. */
	say_fed(HOME_N, "romeo@localhost/work", "juliet@localhost", next_id + 1);
	say_fed(HOME_N, "juliet@localhost/balcony", "romeo@localhost/work", next_id + 2);
	world_silent(c2sd);
	world_say(archived, &(struct frame){ .type = FRAME_DRAINED, .handle = drain.handle });
	assert_true(world_fed.handle == drain.handle && world_fed.flags == 0);
	assert_true(world_fed.archive_id == hold_turned());
	next_id += 2;
}

/* A link that was full: nothing stored overtakes what was kept back, until a drain is over. */
static void
congestion_keeps_order(void **state)
{
	struct frame f, got, done = { .type = FRAME_DRAINED, .handle = handle_of(HOME_N) };
	unsigned i;

	(void)state;
	log_in(JULIET_N, "juliet@localhost", "balcony");
	log_in(HOME_N, "romeo@localhost", "home");
	send_presence(HOME_N, 0);
	c2sd->full = true;
	f = say_chat(JULIET_N, "romeo@localhost"); /* the acknowledgement finds the link full */
	world_expect(archived, FRAME_STANZA);
	say_stored(f.seq, ++next_id);
	world_expect(c2sd, FRAME_STANZA);
	expect_ack(f.seq);
	f = say_chat(JULIET_N, "romeo@localhost");
	world_expect(archived, FRAME_STANZA);
	say_stored(f.seq, ++next_id);
	expect_ack(f.seq);
	c2sd->full = false; /* below the mark, but not drained */
	for (i = 0; i < 2; i++) {
		f = say_chat(JULIET_N, "romeo@localhost");
		world_expect(archived, FRAME_STANZA);
		say_stored(f.seq, ++next_id);
		expect_ack(f.seq);
		world_silent(c2sd);
	}
	c2sd->events->drained(c2sd->arg, c2sd);
	got = world_expect(archived, FRAME_DRAIN);
	assert_true(got.handle == handle_of(HOME_N) && got.archive_id < next_id - 2);
	world_say(archived, &done);
	f = say_chat(JULIET_N, "romeo@localhost");
	world_expect(archived, FRAME_STANZA);
	say_stored(f.seq, ++next_id);
	got = world_expect(c2sd, FRAME_STANZA);
	assert_true(got.archive_id == next_id);
}

/* A new router waits for the roster of a sender, whose message is on disk: it comes in its turn, behind
 * messages with higher ids, once to each, also to who is fed meanwhile. */
static void
late_turn_is_the_only_one(void **state)
{
	struct link *other = world_start(ROLE_C2SD, 1, 6);
	char token[32];
	struct frame replay = { .type = FRAME_SESSION_REPLAY, .handle = HANDLE(6, 1),
		.jid = SLICE("paris@localhost/hall"), .token = slice_of(token, 32),
		.archive_id = next_id };
	struct frame roster = { .type = FRAME_ROSTER, .jid = SLICE("paris@localhost"),
		.flags = FLAG_EXISTS, .payload = SLICE("") };
	struct frame pause = { .type = FRAME_SESSION_PAUSE, .handle = handle_of(HOME_N) };
	struct frame drain = { .type = FRAME_SESSION_DRAIN, .handle = handle_of(HOME_N),
		.archive_id = next_id + 2 };
	struct frame stored = { .type = FRAME_STORED, .origin = 6 }, f, got;
	uint64_t numbers[3] = { 1, next_id + 1, 77 };

	(void)state;
	log_in(JULIET_N, "juliet@localhost", "balcony");
	log_in(HOME_N, "romeo@localhost", "home");
	log_in(WORK_N, "romeo@localhost", "work");
	send_presence(HOME_N, 0);
	send_presence(WORK_N, 0);
	world_hello(other, "");
	world_token(HANDLE(6, 1), "paris@localhost", token);
	world_say(other, &replay);
	world_expect(authd, FRAME_ROSTER_LOAD);
	world_ready(other);
	world_echo(other);
	f = (struct frame){ .type = FRAME_STANZA, .kind = STANZA_MESSAGE, .subtype = TYPE_CHAT,
		.handle = HANDLE(6, 1), .to = SLICE("romeo@localhost"), .origin = 6, .seq = 1,
		.flags = FLAG_CONTENT, .payload = SLICE("") };
	world_say(other, &f);
	stored.numbers = slice_of(numbers, sizeof numbers);
	world_say(archived, &stored);
	world_silent(c2sd);
	/* Another one goes before it. */
	f = say_chat(JULIET_N, "romeo@localhost");
	say_stored(f.seq, next_id + 2);
	got = world_expect(c2sd, FRAME_STANZA);
	assert_true(got.archive_id == next_id + 2 && frame_count(&got) == 2);
	expect_ack(f.seq);
	world_discard(archived);
	/* Who is fed now is not given it by that. */
	world_say(c2sd, &pause);
	world_say(c2sd, &drain);
	world_expect(archived, FRAME_DRAIN);
	say_fed(HOME_N, "paris@localhost/hall", "romeo@localhost", next_id + 1);
	world_silent(c2sd);
	world_say(authd, &roster);
	got = world_expect(c2sd, FRAME_STANZA);
	assert_true(got.archive_id == next_id + 1 && frame_count(&got) == 2);
	assert_false(hold_is_late(next_id + 1));
	next_id += 2;
	world_die(other);
}

/* archived sends romeo's mute session what waits for an address. */
static void
say_spooled(const char *to, uint64_t id)
{
	struct frame f = { .type = FRAME_STANZA, .kind = STANZA_MESSAGE, .subtype = TYPE_CHAT,
		.handle = handle_of(MUTE_N), .from = SLICE("juliet@localhost/balcony"),
		.to = slice_string(to), .payload = SLICE(""), .flags = FLAG_SPOOL, .number = 77,
		.archive_id = id };

	world_say(archived, &f);
}

static void
expect_message(uint64_t id)
{
	struct frame got = world_expect(c2sd, FRAME_STANZA);

	assert_true(got.archive_id == id);
}

/* A session without presence is fed too, with what is for itself alone. What is behind something
 * that it might get with its presence waits for that, but not for ever. */
static void
mute_is_fed(void **state)
{
	(void)state;
	bind_only(MUTE_N, "romeo@localhost", "mute");
	world_expect(archived, FRAME_DRAIN);
	say_spooled("romeo@localhost/mute", next_id + 1);
	expect_message(next_id + 1);
	say_spooled("romeo@localhost", next_id + 2);
	say_spooled("romeo@localhost/mute", next_id + 3);
	world_silent(c2sd);
	world_say(archived, &(struct frame){ .type = FRAME_DRAINED, .handle = handle_of(MUTE_N) });
	drains_tick();
	world_silent(archived);
	assert_true(drains_waiting());
	world_ticks += 5000;
	drains_tick();
	assert_false(drains_waiting());
	world_expect(archived, FRAME_DRAIN);
	say_spooled("romeo@localhost/mute", next_id + 1);
	expect_message(next_id + 1);
	say_spooled("romeo@localhost", next_id + 2);
	world_silent(c2sd);
	say_spooled("romeo@localhost/mute", next_id + 3);
	expect_message(next_id + 3);
}

/* A message to the full address of a new session does not overtake what waits for its presence. */
static void
presence_is_awaited(void **state)
{
	struct frame f;

	(void)state;
	log_in(JULIET_N, "juliet@localhost", "balcony");
	bind_only(MUTE_N, "romeo@localhost", "mute");
	world_expect(archived, FRAME_DRAIN);
	say_spooled("romeo@localhost", next_id + 1);
	world_say(archived, &(struct frame){ .type = FRAME_DRAINED, .handle = handle_of(MUTE_N) });
	f = say_chat(JULIET_N, "romeo@localhost/mute");
	world_expect(archived, FRAME_STANZA);
	say_stored(f.seq, next_id + 2);
	expect_ack(f.seq);
	world_silent(c2sd);
	f = stanza(MUTE_N, STANZA_PRESENCE, TYPE_AVAILABLE, NULL);
	f.number = 128;
	world_say(c2sd, &f);
	world_discard(c2sd);
	world_expect(archived, FRAME_DRAIN);
	say_spooled("romeo@localhost", next_id + 1);
	say_spooled("romeo@localhost/mute", next_id + 2);
	expect_message(next_id + 1);
	expect_message(next_id + 2);
}

/* The same when nothing waited yet: the first one comes while the client is about to send presence. */
static void
late_one_is_not_overtaken(void **state)
{
	struct frame f;

	(void)state;
	log_in(JULIET_N, "juliet@localhost", "balcony");
	log_in(MUTE_N, "romeo@localhost", "mute");
	f = say_chat(JULIET_N, "romeo@localhost");
	world_expect(archived, FRAME_STANZA);
	say_stored(f.seq, next_id + 1);
	expect_ack(f.seq);
	f = say_chat(JULIET_N, "romeo@localhost/mute");
	world_expect(archived, FRAME_STANZA);
	say_stored(f.seq, next_id + 2);
	expect_ack(f.seq);
	world_silent(c2sd);
	assert_true(drains_waiting());
	f = stanza(MUTE_N, STANZA_PRESENCE, TYPE_AVAILABLE, NULL);
	f.number = 128;
	world_say(c2sd, &f);
	world_expect(archived, FRAME_DRAIN);
}

/* A session is asked for before the new router has heard of it: the answer waits until it has. */
static void
resumed_before_replay(void **state)
{
	struct link *other = world_start(ROLE_C2SD, 1, 6);
	char token[32];
	struct frame got, f = { .type = FRAME_SESSION_REPLAY, .handle = HANDLE(6, 1),
		.jid = SLICE("romeo@localhost/home"), .token = slice_of(token, 32) };
	struct frame grant = { .type = FRAME_AUTH_SUCCESS, .handle = handle_of(9),
		.jid = SLICE("romeo@localhost"), .token = slice_of(token, 32) };
	struct frame roster = { .type = FRAME_ROSTER, .jid = SLICE("romeo@localhost"),
		.flags = FLAG_EXISTS, .payload = SLICE("") };
	struct frame ask = { .type = FRAME_SESSION_RESUME, .handle = handle_of(9),
		.archive_id = HANDLE(6, 1), .text = SLICE("the SM-ID") };

	(void)state;
	world_hello(other, "");
	world_expect(other, FRAME_WELCOME);
	world_expect(other, FRAME_MECHANISMS);
	authenticate(9);
	world_token(handle_of(9), "romeo@localhost", token);
	world_say(authd, &grant);
	world_expect(c2sd, FRAME_AUTH_SUCCESS);
	world_say(c2sd, &ask);
	world_silent(c2sd);
	world_token(HANDLE(6, 1), "romeo@localhost", token);
	world_say(other, &f);
	world_expect(authd, FRAME_ROSTER_LOAD);
	world_say(authd, &roster);
	world_ready(other);
	world_expect(other, FRAME_RESEND);
	got = world_expect(other, FRAME_SESSION_RESUME);
	assert_true(got.handle == handle_of(9) && slice_is(got.text, "the SM-ID"));
	ask.archive_id = HANDLE(6, 2); /* nobody has it */
	world_say(c2sd, &ask);
	got = world_expect(c2sd, FRAME_SESSION_MOVE);
	assert_true(slice_is(got.condition, "item-not-found"));
	world_die(other);
}

/* A session is handed over while it is fed: what archived answers goes to its old handle, and it is fed under the
 * new one. */
static void
moved_while_fed(void **state)
{
	struct link *other = world_start(ROLE_C2SD, 1, 6);
	char token[32];
	struct frame got, f = { .type = FRAME_SESSION_REPLAY, .handle = HANDLE(6, 1),
		.jid = SLICE("romeo@localhost/home"), .token = slice_of(token, 32), .archive_id = next_id };
	struct frame grant = { .type = FRAME_AUTH_SUCCESS, .handle = handle_of(9),
		.jid = SLICE("romeo@localhost"), .token = slice_of(token, 32) };
	struct frame roster = { .type = FRAME_ROSTER, .jid = SLICE("romeo@localhost"),
		.flags = FLAG_EXISTS, .payload = SLICE("") };
	struct frame ask = { .type = FRAME_SESSION_RESUME, .handle = handle_of(9),
		.archive_id = HANDLE(6, 1), .text = SLICE("the SM-ID") };
	struct frame move = { .type = FRAME_SESSION_MOVE, .handle = HANDLE(6, 1), .number = handle_of(9),
		.flags = FLAG_MORE, .jid = SLICE("romeo@localhost/home"), .archive_id = next_id };

	(void)state;
	world_hello(other, "");
	world_expect(other, FRAME_WELCOME);
	world_expect(other, FRAME_MECHANISMS);
	world_token(HANDLE(6, 1), "romeo@localhost", token);
	world_say(other, &f);
	world_expect(authd, FRAME_ROSTER_LOAD);
	world_say(authd, &roster);
	world_ready(other);
	world_expect(other, FRAME_RESEND);
	got = world_expect(archived, FRAME_DRAIN);
	assert_true(got.handle == HANDLE(6, 1));
	authenticate(9);
	world_token(handle_of(9), "romeo@localhost", token);
	world_say(authd, &grant);
	world_expect(c2sd, FRAME_AUTH_SUCCESS);
	world_say(c2sd, &ask);
	world_expect(other, FRAME_SESSION_RESUME);
	world_say(other, &move);
	world_expect(c2sd, FRAME_SESSION_MOVE);
	world_say(archived, &(struct frame){ .type = FRAME_DRAINED, .handle = HANDLE(6, 1) });
	move = (struct frame){ .type = FRAME_SESSION_MOVE, .handle = HANDLE(6, 1), .number = handle_of(9) };
	world_say(other, &move);
	world_expect(c2sd, FRAME_SESSION_MOVE);
	got = world_expect(archived, FRAME_DRAIN);
	assert_true(got.handle == handle_of(9));
	world_die(other);
}

/* While a new router waits for the roster of a session, nothing overtakes what is on the spool. */
static void
replayed_is_fed_first(void **state)
{
	struct link *other = world_start(ROLE_C2SD, 1, 6);
	char token[32];
	struct frame f = { .type = FRAME_SESSION_REPLAY, .handle = HANDLE(6, 1),
		.jid = SLICE("romeo@localhost/mute"), .token = slice_of(token, 32),
		.flags = FLAG_AVAILABLE, .number = 128, .payload = SLICE(""), .archive_id = next_id };
	struct frame roster = { .type = FRAME_ROSTER, .jid = SLICE("romeo@localhost"),
		.flags = FLAG_EXISTS, .payload = SLICE("") };
	struct frame spooled = { .type = FRAME_STANZA, .kind = STANZA_MESSAGE, .subtype = TYPE_CHAT,
		.handle = HANDLE(6, 1), .from = SLICE("juliet@localhost/balcony"),
		.to = SLICE("romeo@localhost"), .payload = SLICE(""), .flags = FLAG_SPOOL,
		.number = 77, .archive_id = next_id + 1 };
	struct frame got;

	(void)state;
	log_in(JULIET_N, "juliet@localhost", "balcony");
	world_hello(other, "");
	world_expect(other, FRAME_WELCOME);
	world_expect(other, FRAME_MECHANISMS);
	world_token(HANDLE(6, 1), "romeo@localhost", token);
	world_say(other, &f);
	world_expect(authd, FRAME_ROSTER_LOAD);
	world_ready(other);
	world_expect(other, FRAME_RESEND);
	world_echo(other);
	f = say_chat(JULIET_N, "romeo@localhost/mute");
	world_expect(archived, FRAME_STANZA);
	say_stored(f.seq, next_id + 2);
	expect_ack(f.seq);
	world_silent(other);
	world_say(authd, &roster);
	world_expect(archived, FRAME_DRAIN);
	world_say(archived, &spooled);
	spooled.to = SLICE("romeo@localhost/mute");
	spooled.archive_id = next_id + 2;
	world_say(archived, &spooled);
	got = world_expect(other, FRAME_STANZA);
	assert_true(got.archive_id == next_id + 1);
	got = world_expect(other, FRAME_STANZA);
	assert_true(got.archive_id == next_id + 2);
	world_die(other);
}

/* authd dies with a question: it is asked again. */
static void
asked_again(void **state)
{
	struct frame f, got, is = { .type = FRAME_ACCOUNT_IS, .jid = SLICE("ghost@localhost") };

	(void)state;
	log_in(JULIET_N, "juliet@localhost", "balcony");
	f = say_chat(JULIET_N, "ghost@localhost");
	world_expect(archived, FRAME_STANZA);
	say_stored(f.seq, ++next_id);
	world_expect(authd, FRAME_ACCOUNT_ASK);
	expect_ack(f.seq);
	world_die(authd);
	start_authd();
	world_expect(c2sd, FRAME_MECHANISMS);
	world_expect(c2sd, FRAME_RESEND);
	world_echo(c2sd);
	world_expect(authd, FRAME_ROSTER_LOAD);
	got = world_expect(authd, FRAME_ACCOUNT_ASK);
	assert_true(slice_is(got.jid, "ghost@localhost"));
	world_say(authd, &is);
	got = world_expect(c2sd, FRAME_STANZA);
	assert_int_equal(got.subtype, TYPE_ERROR);
	world_expect(archived, FRAME_DROP);
}

/* authd dies with exchanges: who waits for its answer is told, and nobody else. */
static void
exchange_fails(void **state)
{
	struct frame start = { .type = FRAME_AUTH_START, .handle = handle_of(21),
		.name = SLICE("PLAIN"), .domain = SLICE("localhost") }, got;
	struct frame challenge = { .type = FRAME_AUTH_CHALLENGE, .handle = handle_of(22) };
	struct frame abort = { .type = FRAME_AUTH_ABORT, .handle = handle_of(23) };

	(void)state;
	world_say(c2sd, &start);
	start.handle = challenge.handle;
	world_say(c2sd, &start);
	world_say(authd, &challenge);
	world_expect(c2sd, FRAME_AUTH_CHALLENGE);
	start.handle = abort.handle;
	world_say(c2sd, &start);
	world_say(c2sd, &abort);
	world_silent(c2sd);
	world_die(authd);
	got = world_expect(c2sd, FRAME_AUTH_FAILURE);
	assert_true(got.handle == handle_of(21));
	assert_true(slice_is(got.condition, "temporary-auth-failure"));
	world_silent(c2sd);
	world_say(c2sd, &start);
	world_expect(c2sd, FRAME_AUTH_FAILURE);
	start_authd();
}

/* A session is killed with a message in the store, and archived dies: it must come through. */
static void
killed_while_storing(void **state)
{
	struct frame f, got;

	(void)state;
	log_in(JULIET_N, "juliet@localhost", "balcony");
	f = say_chat(JULIET_N, "paris@localhost");
	world_expect(archived, FRAME_STANZA);
	session_kill(session_find(handle_of(JULIET_N)), "conflict", "x");
	world_expect(c2sd, FRAME_SESSION_KILL);
	world_die(archived);
	start_archived();
	world_expect(c2sd, FRAME_RESEND);
	world_echo(c2sd);
	world_say(c2sd, &f);
	got = world_expect(archived, FRAME_STANZA);
	assert_true(got.seq == f.seq);
	say_stored(f.seq, ++next_id);
	expect_ack(f.seq);
}

/* An account is gone when the roster of its sessions comes after a restart. */
static void
replay_without_account(void **state)
{
	char token[32];
	struct frame f = { .type = FRAME_SESSION_REPLAY, .handle = handle_of(9),
		.jid = SLICE("rosaline@localhost/home"), .token = slice_of(token, 32) };
	struct frame roster = { .type = FRAME_ROSTER, .jid = SLICE("rosaline@localhost"),
		.payload = SLICE("") };
	struct frame end = { .type = FRAME_SESSION_END, .handle = handle_of(9) };

	(void)state;
	world_die(c2sd);
	register_c2sd();
	world_token(handle_of(9), "rosaline@localhost", token);
	world_say(c2sd, &f);
	world_expect(authd, FRAME_ROSTER_LOAD);
	world_say(authd, &roster);
	world_expect(c2sd, FRAME_SESSION_KILL);
	world_say(c2sd, &end);
	assert_int_equal(session_count(), 0);
	assert_int_equal(account_count(), 0);
}

/* -- what a daemon that was taken over may try -------------------------------------------------------------- */

/* A message behind the end of its session. */
static void
message_after_end(void **state)
{
	struct frame first, second, end = { .type = FRAME_SESSION_END, .handle = handle_of(JULIET_N) };

	(void)state;
	log_in(JULIET_N, "juliet@localhost", "balcony");
	first = say_chat(JULIET_N, "paris@localhost");
	world_expect(archived, FRAME_STANZA);
	world_say(c2sd, &end);
	second = say_chat(JULIET_N, "paris@localhost");
	expect_ack(second.seq);
	world_silent(archived);
	say_stored(first.seq, ++next_id);
	expect_ack(first.seq);
	assert_int_equal(session_count(), 0);
	say_stored(second.seq, ++next_id);
}

/* A stanza that is no frame any more with the address that it gets here. */
static void
too_large(void **state)
{
	size_t len = FRAME_MAX - FRAME_HEAD - 100;
	char *payload = mem_alloc(len);
	struct frame f, got;

	(void)state;
	log_in(JULIET_N, "juliet@localhost", "balcony");
	memset(payload, ' ', len);
	f = stanza(JULIET_N, STANZA_PRESENCE, TYPE_AVAILABLE, NULL);
	f.payload = slice_of(payload, len);
	world_say(c2sd, &f);
	got = world_expect(c2sd, FRAME_STANZA);
	assert_int_equal(got.subtype, TYPE_ERROR);
	expect_ack(f.seq);
	f = stanza(JULIET_N, STANZA_MESSAGE, TYPE_CHAT, "paris@localhost");
	f.flags = FLAG_CONTENT;
	f.payload = slice_of(payload, len);
	world_say(c2sd, &f);
	got = world_expect(c2sd, FRAME_STANZA);
	assert_int_equal(got.subtype, TYPE_ERROR);
	expect_ack(f.seq);
	world_silent(archived);
	free(payload);
}

/* More than a session may have under way ends it, and its end is taken all the same. */
static void
queue_full(void **state)
{
	struct frame f, end = { .type = FRAME_SESSION_END, .handle = handle_of(JULIET_N) };
	unsigned i;

	(void)state;
	log_in(JULIET_N, "juliet@localhost", "balcony");
	for (i = 0; i < 1024; i++)
		say_chat(JULIET_N, "paris@localhost");
	world_silent(c2sd);
	f = say_chat(JULIET_N, "paris@localhost");
	world_expect(c2sd, FRAME_SESSION_KILL);
	expect_ack(f.seq);
	world_say(c2sd, &end);
	world_discard(archived);
	for (i = 1; i < f.seq; i++)
		say_stored(i, ++next_id);
	assert_int_equal(session_count(), 0);
}

static void
no_line(void *arg, struct peer *peer, struct slice value)
{
	(void)arg;
	(void)peer;
	(void)value;
	fail_msg("a line that must not be there");
}

/* Only who takes responsibility acknowledges; only a service gets what is for accounts. */
static void
false_services(void **state)
{
	struct link *other = world_start(ROLE_C2SD, 1, 6);
	struct frame f, ack = { .type = FRAME_ACK, .origin = INCARNATION };
	struct buf numbers = { 0 };
	bool known;

	(void)state;
	world_hello(other, "account-ns urn:x:stolen\nserver-ns urn:x:stolen\ndomain stolen.example\n"
	    "command user add\tJID\tsteal a password\nfeature urn:x:fine\n");
	registry_each("command", no_line, NULL);
	registry_account_ns(SLICE("urn:x:stolen"), &known);
	assert_false(known);
	registry_server_ns(SLICE("urn:x:stolen"), &known);
	assert_false(known);
	registry_domain(SLICE("stolen.example"), &known);
	assert_false(known);
	log_in(JULIET_N, "juliet@localhost", "balcony");
	f = say_chat(JULIET_N, "paris@localhost");
	world_expect(archived, FRAME_STANZA);
	buf_add_u64(&numbers, 1);
	buf_add_u64(&numbers, f.seq);
	ack.numbers = buf_slice(&numbers);
	world_say(other, &ack);
	world_silent(c2sd);
	world_say(authd, &ack); /* archived has it */
	world_silent(c2sd);
	say_stored(f.seq, ++next_id);
	expect_ack(f.seq);
	buf_free(&numbers);
	world_die(other);
}

int
main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
	static const struct CMUnitTest tests[] = {
		TEST(section_8),
		TEST(what_is_stored),
		TEST(stored_headline),
		TEST(no_such_account),
		TEST(order_is_kept),
		TEST(archived_restarts),
		TEST(sender_dies),
		TEST(replay),
		TEST(moved_to_nobody),
		TEST(lies),
		TEST(no_grant_no_bind),
		TEST(conflict_replaces),
		TEST(pause_and_drain),
		TEST(delivered_without_spool),
		TEST(fed_from_its_level),
		TEST(congestion_keeps_order),
		TEST(late_turn_is_the_only_one),
		TEST(mute_is_fed),
		TEST(presence_is_awaited),
		TEST(moved_while_fed),
		TEST(replayed_is_fed_first),
		TEST(late_one_is_not_overtaken),
		TEST(resumed_before_replay),
		TEST(asked_again),
		TEST(exchange_fails),
		TEST(killed_while_storing),
		TEST(replay_without_account),
		TEST(message_after_end),
		TEST(too_large),
		TEST(queue_full),
		TEST(false_services),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
