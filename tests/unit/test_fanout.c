/*
 * test_fanout.c: what rooms say, at the router: one order, who gets it, who has taken it, what each death does, and
 * what mucd, archived and entry daemons may not say.
 *
 * Links: router
 */
#include "delivery_world.h"

#define MUCD   9u
#define OTHER  6u
#define S2SD   7u
#define ROOM   "room@rooms.localhost"
#define NICK   ROOM "/nick"
#define REMOTE "iago@venice.example/ship"

static struct link *mucd, *other, *s2sd;
static uint64_t mucd_seq, room_number;
static uint32_t mucd_incarnation;

static void
start_mucd(uint32_t incarnation)
{
	mucd = world_start(ROLE_MUCD, 0, incarnation);
	mucd_incarnation = incarnation;
	mucd_seq = 0;
	world_hello(mucd, "domain rooms.localhost\n");
	world_expect(mucd, FRAME_WELCOME);
	world_ready(mucd);
	world_expect(mucd, FRAME_RESEND);
	world_echo(mucd);
	world_discard(c2sd); /* it is asked for what mucd has not taken */
	world_echo(c2sd);
	world_discard(c2sd);
}

static int
set_up_rooms(void **state)
{
	set_up(state);
	room_number += 100;
	world_refused = 0;
	start_mucd(MUCD);
	log_in(1, "juliet@localhost", "balcony");
	log_in(2, "romeo@localhost", "home");
	world_discard(c2sd);
	return 0;
}

static int
tear_down_rooms(void **state)
{
	if (mucd != NULL)
		world_die(mucd);
	if (other != NULL)
		world_die(other);
	if (s2sd != NULL)
		world_die(s2sd);
	mucd = other = s2sd = NULL;
	fanout_anew(&(struct peer){ .role = ROLE_MUCD }); /* what was not answered */
	return tear_down(state);
}

static void
start_s2sd(void)
{
	s2sd = world_start(ROLE_S2SD, 0, S2SD);
	world_hello(s2sd, "domain *\n");
	world_expect(s2sd, FRAME_WELCOME);
	world_expect(s2sd, FRAME_DOMAINS);
	world_ready(s2sd);
	world_expect(s2sd, FRAME_RESEND);
	world_echo(s2sd);
	world_discard(archived);
}

/* A stanza of the room to these handles; stored: it goes into its archive. */
static struct frame
room_stanza(enum stanza_kind kind, enum stanza_type type, const uint64_t *handles, size_t count, bool stored)
{
	struct frame f = { .type = FRAME_STANZA, .kind = kind, .subtype = type, .from = SLICE(NICK), .id = SLICE("x"),
		.payload = SLICE("<body>x</body>"), .flags = FLAG_ROOM, .origin = mucd_incarnation,
		.seq = ++mucd_seq, .number = ++room_number, .numbers = slice_of(handles, 8 * count) };

	if (stored) {
		f.flags |= FLAG_STORE | FLAG_FROM_LOCAL | FLAG_CONTENT | FLAG_BODY;
		f.to = SLICE(ROOM);
		f.jid = SLICE("juliet@localhost");
		f.token = SLICE("0123456789abcdef");
	}
	return f;
}

static void
say_stored_by(uint32_t origin, uint64_t seq, uint64_t id, uint64_t spool)
{
	uint64_t triple[3] = { seq, id, spool };
	struct frame f = { .type = FRAME_STORED, .origin = origin, .numbers = slice_of(triple, sizeof triple) };

	world_say(archived, &f);
}

static void
say_taken(struct link *l, uint64_t number)
{
	struct frame f = { .type = FRAME_TAKEN, .number = number };

	world_say(l, &f);
}

static void
expect_mucd_ack(uint64_t first, uint64_t last)
{
	struct frame f = world_expect(mucd, FRAME_ACK);

	assert_int_equal(f.origin, mucd_incarnation);
	assert_int_equal(frame_count(&f), 2);
	assert_int_equal(frame_at(&f, 0), first);
	assert_int_equal(frame_at(&f, 1), last);
}

static const uint64_t both[] = { HANDLE(INCARNATION, 1), HANDLE(INCARNATION, 2) };

/* What is not stored waits behind what is being stored; nobody sees a message before it is on disk. */
static void
one_order(void **state)
{
	struct frame message = room_stanza(STANZA_MESSAGE, TYPE_GROUPCHAT, both, 2, true), leave, got;

	(void)state;
	world_say(mucd, &message);
	leave = room_stanza(STANZA_PRESENCE, TYPE_UNAVAILABLE, both, 1, false);
	world_say(mucd, &leave);
	got = world_expect(archived, FRAME_STANZA);
	assert_int_equal(got.origin, MUCD);
	assert_int_equal(got.seq, message.seq);
	assert_int_equal(got.number, message.number);
	assert_true(got.numbers.ptr == NULL && got.text.ptr == NULL && slice_is(got.to, ROOM));
	assert_true(got.flags == message.flags && slice_is(got.jid, "juliet@localhost") && got.stamp != 0);
	world_silent(archived);
	world_silent(c2sd);
	say_stored_by(MUCD, message.seq, ++next_id, 5);
	got = world_expect(c2sd, FRAME_STANZA);
	assert_true(got.handle == 0 && frame_count(&got) == 2 && frame_at(&got, 0) == both[0]);
	assert_true(got.archive_id == next_id && got.number == message.number && got.origin == 0 && got.seq == 0);
	assert_true(got.flags == (FLAG_ROOM | FLAG_CONTENT | FLAG_BODY));
	assert_true(got.to.ptr == NULL && got.jid.ptr == NULL && got.token.ptr == NULL);
	assert_true(hold_turned() == next_id);
	got = world_expect(c2sd, FRAME_STANZA);
	assert_true(got.number == leave.number && frame_count(&got) == 1 && got.archive_id == 0);
	world_silent(c2sd);
	world_silent(mucd);
	say_taken(c2sd, leave.number);
	expect_mucd_ack(message.seq, leave.seq);
	assert_int_equal(world_refused, 0);
}

/* One frame for each c2sd; all of them must have taken it. */
static void
split(void **state)
{
	uint64_t handles[] = { HANDLE(INCARNATION, 1), HANDLE(OTHER, 77), HANDLE(INCARNATION, 99), HANDLE(OTHER, 1) };
	struct frame f = { .type = FRAME_STANZA }, got;
	char token[32];
	struct frame replay = { .type = FRAME_SESSION_REPLAY, .handle = HANDLE(OTHER, 1),
		.jid = SLICE("paris@localhost/hall"), .token = slice_of(token, 32), .archive_id = next_id };
	struct frame roster = { .type = FRAME_ROSTER, .jid = SLICE("paris@localhost"), .flags = FLAG_EXISTS,
		.payload = SLICE("") };

	(void)state;
	other = world_start(ROLE_C2SD, 1, OTHER);
	world_hello(other, "");
	world_token(HANDLE(OTHER, 1), "paris@localhost", token);
	world_say(other, &replay);
	world_expect(authd, FRAME_ROSTER_LOAD);
	world_say(authd, &roster);
	world_ready(other);
	world_echo(other);
	world_discard(other);
	world_discard(archived);
	f = room_stanza(STANZA_PRESENCE, TYPE_AVAILABLE, handles, 4, false);
	world_say(mucd, &f);
	got = world_expect(c2sd, FRAME_STANZA);
	assert_true(frame_count(&got) == 1 && frame_at(&got, 0) == handles[0]);
	got = world_expect(other, FRAME_STANZA);
	assert_true(frame_count(&got) == 1 && frame_at(&got, 0) == handles[3]);
	say_taken(c2sd, f.number);
	world_silent(mucd);
	say_taken(other, f.number);
	expect_mucd_ack(f.seq, f.seq);
	/* One that dies has taken all. */
	f = room_stanza(STANZA_PRESENCE, TYPE_AVAILABLE, handles, 4, false);
	world_say(mucd, &f);
	say_taken(c2sd, f.number);
	world_silent(mucd);
	world_die(other);
	other = NULL;
	peers_flush();
	expect_mucd_ack(f.seq, f.seq);
	/* Without anybody it is done at once. */
	f = room_stanza(STANZA_PRESENCE, TYPE_AVAILABLE, handles + 1, 2, false);
	world_say(mucd, &f);
	expect_mucd_ack(f.seq, f.seq);
	assert_int_equal(world_refused, 0);
	world_ticks += 100000;
	sessions_tick();
	world_discard(authd);
}

/* The next archived gets what the last one has not answered, in its order, and the order of all holds. */
static void
archived_dies(void **state)
{
	uint64_t amounts[] = { 20, UINT64_MAX };
	struct frame first = room_stanza(STANZA_MESSAGE, TYPE_GROUPCHAT, both, 2, true), second, history, got;

	(void)state;
	history = (struct frame){ .type = FRAME_HISTORY, .jid = SLICE(ROOM), .handle = both[1],
		.origin = MUCD, .seq = ++mucd_seq, .number = ++room_number, .numbers = slice_of(amounts, 16) };
	second = room_stanza(STANZA_MESSAGE, TYPE_GROUPCHAT, both, 2, true);
	world_say(mucd, &first);
	world_say(mucd, &history);
	world_die(archived);
	world_say(mucd, &second);
	world_silent(c2sd);
	start_archived();
	got = world_expect(archived, FRAME_STANZA);
	assert_int_equal(got.seq, first.seq);
	got = world_expect(archived, FRAME_HISTORY);
	assert_true(got.seq == history.seq && got.origin == MUCD && got.handle == both[1]);
	got = world_expect(archived, FRAME_STANZA);
	assert_int_equal(got.seq, second.seq);
	world_discard(archived); /* DRAIN */
	world_discard(c2sd);     /* RESEND */
	world_echo(c2sd);
	say_stored_by(MUCD, first.seq, ++next_id, 0);
	assert_int_equal(world_expect(c2sd, FRAME_STANZA).number, first.number);
	say_stored_by(MUCD, second.seq, ++next_id, 0);
	world_silent(c2sd);
	got = (struct frame){ .type = FRAME_HISTORY_END, .origin = MUCD, .seq = history.seq };
	world_say(archived, &got);
	expect_mucd_ack(history.seq, history.seq);
	assert_int_equal(world_expect(c2sd, FRAME_STANZA).number, second.number);
	say_taken(c2sd, second.number);
	got = world_expect(mucd, FRAME_ACK);
	assert_int_equal(frame_count(&got), 4);
	assert_int_equal(world_refused, 0);
}

/* What a killed mucd has said goes on; the next one sends it again, and is acknowledged for itself. */
static void
mucd_dies(void **state)
{
	struct frame f = room_stanza(STANZA_MESSAGE, TYPE_GROUPCHAT, both, 2, true), again;

	(void)state;
	world_say(mucd, &f);
	world_expect(archived, FRAME_STANZA);
	world_die(mucd);
	say_stored_by(MUCD, f.seq, ++next_id, 0);
	assert_int_equal(world_expect(c2sd, FRAME_STANZA).number, f.number);
	start_mucd(MUCD + 1);
	again = f;
	again.origin = MUCD + 1;
	again.seq = ++mucd_seq;
	world_say(mucd, &again);
	assert_int_equal(world_expect(archived, FRAME_STANZA).origin, MUCD + 1);
	say_stored_by(MUCD + 1, again.seq, next_id, 0); /* its token was known */
	assert_int_equal(world_expect(c2sd, FRAME_STANZA).number, f.number);
	say_taken(c2sd, f.number);
	world_silent(mucd); /* that was for the first one */
	say_taken(c2sd, f.number);
	expect_mucd_ack(again.seq, again.seq);
	/* What has not had its turn is forgotten when the next one begins: it comes again. */
	f = room_stanza(STANZA_MESSAGE, TYPE_GROUPCHAT, both, 2, true);
	world_say(mucd, &f);
	world_expect(archived, FRAME_STANZA);
	world_die(mucd);
	start_mucd(MUCD + 2);
	say_stored_by(MUCD + 1, f.seq, ++next_id, 0);
	world_silent(c2sd);
	assert_int_equal(world_refused, 0);
}

static struct frame
part(uint64_t id)
{
	return (struct frame){ .type = FRAME_STANZA, .kind = STANZA_MESSAGE, .subtype = TYPE_GROUPCHAT,
		.flags = FLAG_ROOM | FLAG_SPOOL | FLAG_CONTENT, .from = SLICE(NICK), .payload = SLICE("<body>y</body>"),
		.handle = both[0], .number = room_number, .archive_id = id, .stamp = 5 };
}

static void
history(void **state)
{
	uint64_t amounts[] = { 20, UINT64_MAX };
	struct frame f = { .type = FRAME_HISTORY, .jid = SLICE(ROOM), .handle = both[0], .origin = MUCD,
		.seq = ++mucd_seq, .number = ++room_number, .numbers = slice_of(amounts, 16) }, got, live;
	struct frame end = { .type = FRAME_HISTORY_END, .origin = MUCD, .seq = f.seq };
	struct frame p = part(7);
	unsigned i;

	(void)state;
	world_say(archived, &p);
	assert_int_equal(world_refused, 1); /* nobody has asked */
	world_say(mucd, &f);
	world_expect(archived, FRAME_HISTORY);
	p = part(8);
	live = room_stanza(STANZA_MESSAGE, TYPE_GROUPCHAT, both, 2, false);
	world_say(mucd, &live);
	world_say(archived, &p);
	got = world_expect(c2sd, FRAME_STANZA);
	assert_true(got.handle == both[0] && got.archive_id == 8 && got.number == f.number && got.stamp == 5);
	assert_true(got.flags == (FLAG_ROOM | FLAG_SPOOL | FLAG_CONTENT | FLAG_MORE));
	for (i = 0; i < 6; i++) {
		struct frame bad = p;

		bad.handle = i == 0 ? both[1] : bad.handle;
		bad.from = i == 1 ? SLICE("other@rooms.localhost/nick") : bad.from;
		bad.number = i == 2 ? bad.number + 1000 : bad.number;
		bad.kind = i == 3 ? STANZA_PRESENCE : bad.kind;
		bad.flags |= i == 4 ? FLAG_STORE : 0u;
		bad.archive_id = i == 5 ? 0 : bad.archive_id;
		world_say(archived, &bad);
		assert_int_equal(world_refused, 2 + i);
	}
	say_taken(c2sd, f.number); /* before its end it is not taken */
	assert_int_equal(world_refused, 8);
	world_silent(c2sd);
	world_say(archived, &end);
	got = world_expect(c2sd, FRAME_HISTORY_END);
	assert_true(got.number == f.number && got.origin == 0);
	assert_int_equal(world_expect(c2sd, FRAME_STANZA).number, live.number);
	say_taken(c2sd, f.number);
	expect_mucd_ack(f.seq, f.seq);
	world_say(archived, &p); /* too late, which is no lie */
	assert_int_equal(world_refused, 8);
	say_taken(c2sd, live.number);
	expect_mucd_ack(live.seq, live.seq);
}

/* An invitation: it is stored for its receiver, and delivered without waiting for what rooms say. */
static void
message(void **state)
{
	struct frame f = { .type = FRAME_STANZA, .kind = STANZA_MESSAGE, .subtype = TYPE_NORMAL, .from = SLICE(ROOM),
		.to = SLICE("romeo@localhost/home"), .flags = FLAG_STORE | FLAG_CONTENT, .origin = MUCD,
		.payload = SLICE("<x/>"), .token = SLICE("0123456789abcdef") }, got;
	struct frame before = room_stanza(STANZA_MESSAGE, TYPE_GROUPCHAT, both, 2, true);

	(void)state;
	world_say(mucd, &before);
	world_expect(archived, FRAME_STANZA);
	f.seq = ++mucd_seq;
	world_say(mucd, &f);
	got = world_expect(archived, FRAME_STANZA);
	assert_true(got.flags == (FLAG_STORE | FLAG_CONTENT | FLAG_TO_LOCAL) && got.token.len == ONCE_SIZE);
	say_stored_by(MUCD, f.seq, ++next_id, 77);
	got = world_expect(c2sd, FRAME_STANZA);
	assert_true(frame_at(&got, 0) == both[1] && got.archive_id == next_id && got.token.ptr == NULL);
	assert_true(hold_turned() == next_id);
	expect_mucd_ack(f.seq, f.seq);
	/* One that was stored before is on the spool. */
	f.seq = ++mucd_seq;
	world_say(mucd, &f);
	world_expect(archived, FRAME_STANZA);
	say_stored_by(MUCD, f.seq, 0, 77);
	world_silent(c2sd);
	expect_mucd_ack(f.seq, f.seq);
	/* To nobody there is: the room is told. */
	deliver_exists(SLICE("nobody@localhost"), false, false, SLICE_NONE);
	f.seq = ++mucd_seq;
	f.to = SLICE("nobody@localhost");
	world_say(mucd, &f);
	world_silent(archived);
	got = world_expect(mucd, FRAME_STANZA);
	assert_true(got.subtype == TYPE_ERROR && slice_is(got.to, ROOM));
	expect_mucd_ack(f.seq, f.seq);
	start_s2sd();
	f.seq = ++mucd_seq;
	f.to = SLICE("iago@venice.example");
	world_say(mucd, &f);
	assert_true(world_expect(archived, FRAME_STANZA).flags & FLAG_TO_REMOTE);
	say_stored_by(MUCD, f.seq, ++next_id, 78);
	/* s2sd has not told of the domain: it hears that something waits. */
	world_expect(s2sd, FRAME_REMOTE_WAITING);
	expect_mucd_ack(f.seq, f.seq);
	assert_int_equal(world_refused, 0);
}

/* What is for archived alone is acknowledged by it. */
static void
orders(void **state)
{
	struct frame first = { .type = FRAME_REDACT, .jid = SLICE(ROOM), .archive_id = 4, .payload = SLICE("<x/>"),
		.origin = MUCD, .seq = ++mucd_seq };
	struct frame redact = { .type = FRAME_REDACT, .jid = SLICE(ROOM), .archive_id = 5, .payload = SLICE("<x/>"),
		.origin = MUCD, .seq = ++mucd_seq };
	uint64_t range[] = { first.seq, redact.seq };
	struct frame ack = { .type = FRAME_ACK, .origin = MUCD, .numbers = slice_of(range, 16) }, told;

	(void)state;
	told = room_stanza(STANZA_MESSAGE, TYPE_GROUPCHAT, both, 1, false);
	world_say(mucd, &first);
	world_say(mucd, &redact);
	world_say(mucd, &told);
	assert_int_equal(world_expect(archived, FRAME_REDACT).seq, first.seq);
	assert_int_equal(world_expect(archived, FRAME_REDACT).seq, redact.seq);
	world_silent(c2sd);
	world_silent(mucd);
	world_say(archived, &ack);
	expect_mucd_ack(first.seq, redact.seq);
	assert_int_equal(world_expect(c2sd, FRAME_STANZA).number, told.number);
	world_say(archived, &ack); /* again: nobody waits for it */
	assert_int_equal(world_refused, 0);
	told = room_stanza(STANZA_MESSAGE, TYPE_GROUPCHAT, both, 1, true);
	world_say(mucd, &told);
	range[0] = range[1] = told.seq;
	world_say(archived, &ack); /* of a message STORED alone says that it is stored */
	assert_int_equal(world_refused, 1);
}

/* A session is known to mucd by the handle with which it began. */
static void
moved(void **state)
{
	struct frame resume = { .type = FRAME_SESSION_RESUME, .handle = HANDLE(OTHER, 3), .archive_id = both[0],
		.text = SLICE("id") };
	struct frame move = { .type = FRAME_SESSION_MOVE, .handle = both[0], .number = HANDLE(OTHER, 3),
		.flags = FLAG_MORE, .archive_id = next_id, .text = SLICE("") };
	char token[32];
	struct frame grant = { .type = FRAME_AUTH_SUCCESS, .handle = HANDLE(OTHER, 3),
		.jid = SLICE("juliet@localhost"), .token = slice_of(token, 32) };
	struct frame start = { .type = FRAME_AUTH_START, .handle = HANDLE(OTHER, 3) };
	struct frame f, late, got;

	(void)state;
	other = world_start(ROLE_C2SD, 1, OTHER);
	world_hello(other, "");
	world_ready(other);
	world_echo(other);
	world_token(HANDLE(OTHER, 3), "juliet@localhost", token);
	world_say(other, &start);
	world_say(authd, &grant);
	world_discard(authd);
	world_discard(other);
	world_say(other, &resume);
	world_expect(c2sd, FRAME_SESSION_RESUME);
	late = room_stanza(STANZA_MESSAGE, TYPE_GROUPCHAT, both, 2, false);
	world_say(mucd, &late); /* on its way to the former holder when that lets it go */
	world_expect(c2sd, FRAME_STANZA);
	world_say(c2sd, &move);
	world_expect(other, FRAME_SESSION_MOVE);
	got = world_expect(other, FRAME_STANZA);
	assert_true(got.handle == HANDLE(OTHER, 3) && got.number == late.number);
	f = room_stanza(STANZA_MESSAGE, TYPE_GROUPCHAT, both, 2, false);
	world_say(mucd, &f);
	got = world_expect(other, FRAME_STANZA);
	assert_true(frame_count(&got) == 1 && frame_at(&got, 0) == HANDLE(OTHER, 3));
	got = world_expect(c2sd, FRAME_STANZA);
	assert_true(frame_count(&got) == 1 && frame_at(&got, 0) == both[1]);
	say_taken(c2sd, f.number);
	world_silent(mucd);
	say_taken(other, late.number);
	expect_mucd_ack(late.seq, late.seq);
	say_taken(other, f.number);
	expect_mucd_ack(f.seq, f.seq);
	/* An answer to what it asked before. */
	f = (struct frame){ .type = FRAME_STANZA, .kind = STANZA_IQ, .subtype = TYPE_RESULT, .from = SLICE(ROOM),
		.handle = both[0], .payload = SLICE("") };
	world_say(mucd, &f);
	assert_true(world_expect(other, FRAME_STANZA).handle == HANDLE(OTHER, 3));
	assert_int_equal(world_refused, 0);
	world_die(other);
	other = NULL;
	world_ticks += 100000;
	sessions_tick();
	world_discard(mucd);
	world_discard(authd);
}

static struct frame
to_room(unsigned n, enum stanza_type type)
{
	struct frame f = stanza(n, STANZA_PRESENCE, type, NICK);

	f.number = 128;
	return f;
}

/* Whom a session has told that it is there hears of its end, but for those that it has left. */
static void
directed(void **state)
{
	struct frame f = to_room(1, TYPE_AVAILABLE), end = { .type = FRAME_SESSION_END, .handle = both[0] }, got;
	struct frame ask = { .type = FRAME_OCCUPANTS, .numbers = slice_of(both, 16) };

	(void)state;
	world_say(c2sd, &f);
	got = world_expect(mucd, FRAME_STANZA);
	assert_true(got.handle == both[0] && got.seq == f.seq && slice_is(got.from, "juliet@localhost/balcony"));
	world_say(mucd, &ask);
	got = world_expect(mucd, FRAME_OCCUPANTS); /* Romeo is nowhere */
	assert_true(frame_count(&got) == 1 && frame_at(&got, 0) == both[1]);
	f = to_room(2, TYPE_AVAILABLE);
	world_say(c2sd, &f);
	world_expect(mucd, FRAME_STANZA);
	world_say(mucd, &ask);
	got = world_expect(mucd, FRAME_OCCUPANTS);
	assert_true(frame_count(&got) == 0 && got.numbers.ptr != NULL);
	/* Romeo is removed by the room. */
	f = room_stanza(STANZA_PRESENCE, TYPE_UNAVAILABLE, both + 1, 1, false);
	world_say(mucd, &f);
	world_say(mucd, &ask);
	got = world_expect(mucd, FRAME_OCCUPANTS);
	assert_true(frame_count(&got) == 1 && frame_at(&got, 0) == both[1]);
	world_say(c2sd, &end);
	got = world_expect(mucd, FRAME_STANZA);
	assert_true(got.subtype == TYPE_UNAVAILABLE && got.handle == both[0] && got.seq == 0 && slice_is(got.to, NICK));
	world_silent(mucd);
	/* It is refused: it was not there. */
	f = to_room(2, TYPE_AVAILABLE);
	world_say(c2sd, &f);
	world_expect(mucd, FRAME_STANZA);
	f = (struct frame){ .type = FRAME_STANZA, .kind = STANZA_PRESENCE, .subtype = TYPE_ERROR, .from = SLICE(NICK),
		.to = SLICE("romeo@localhost/home"), .handle = both[1], .payload = SLICE("<error/>") };
	world_say(mucd, &f);
	assert_int_equal(world_expect(c2sd, FRAME_STANZA).subtype, TYPE_UNAVAILABLE);
	assert_int_equal(world_expect(c2sd, FRAME_STANZA).subtype, TYPE_ERROR);
	world_say(mucd, &ask);
	got = world_expect(mucd, FRAME_OCCUPANTS);
	assert_int_equal(frame_count(&got), 2);
	world_discard(authd);
}

/* OCCUPANTS waits until all c2sd have told their sessions. */
static void
occupants(void **state)
{
	struct frame ask = { .type = FRAME_OCCUPANTS, .numbers = slice_of(both, 16) }, got;

	(void)state;
	other = world_start(ROLE_C2SD, 1, OTHER);
	world_say(mucd, &ask);
	world_silent(mucd);
	world_die(other); /* or one that will never tell */
	other = NULL;
	got = world_expect(mucd, FRAME_OCCUPANTS);
	assert_int_equal(frame_count(&got), 2);
}

static void
queries(void **state)
{
	struct frame ask = { .type = FRAME_ROOM_QUERY, .subtype = TYPE_SET, .jid = SLICE(ROOM), .handle = both[0],
		.from = SLICE("juliet@localhost/balcony"), .id = SLICE("q"), .payload = SLICE("<query xmlns='urn:xmpp:mam:2'/>"),
		.flags = FLAG_AVAILABLE };
	struct frame result = { .type = FRAME_STANZA, .kind = STANZA_MESSAGE, .subtype = TYPE_NORMAL,
		.from = SLICE(ROOM), .to = SLICE("juliet@localhost/balcony"), .handle = both[0], .payload = SLICE("<x/>") };
	struct frame fin = result, got;

	(void)state;
	fin.kind = STANZA_IQ;
	fin.subtype = TYPE_RESULT;
	fin.id = SLICE("q");
	world_say(archived, &result);
	assert_int_equal(world_refused, 1);
	world_say(mucd, &ask);
	got = world_expect(archived, FRAME_ROOM_QUERY);
	assert_true(got.flags == FLAG_AVAILABLE && got.handle == both[0] && got.payload.len != 0);
	world_say(archived, &result);
	assert_true(world_expect(c2sd, FRAME_STANZA).handle == both[0]);
	result.to = SLICE("romeo@localhost/home");
	world_say(archived, &result);
	assert_int_equal(world_refused, 2);
	world_silent(c2sd);
	world_say(archived, &fin);
	assert_true(slice_is(world_expect(c2sd, FRAME_STANZA).id, "q"));
	world_say(archived, &fin);
	assert_int_equal(world_refused, 3);
	/* Not silence when archived dies, or is away. */
	world_say(mucd, &ask);
	world_die(archived);
	got = world_expect(c2sd, FRAME_STANZA);
	assert_true(got.subtype == TYPE_ERROR && slice_is(got.from, ROOM) && slice_is(got.id, "q"));
	world_say(mucd, &ask);
	assert_int_equal(world_expect(c2sd, FRAME_STANZA).subtype, TYPE_ERROR);
	start_archived();
	world_discard(archived);
	world_discard(c2sd);
	world_echo(c2sd);
	ask.jid = SLICE("room@elsewhere.example");
	world_say(mucd, &ask);
	assert_int_equal(world_refused, 4);
	ask.jid = SLICE(ROOM);
	ask.from = SLICE("romeo@localhost/home"); /* not who has this stream */
	world_say(mucd, &ask);
	world_silent(archived);
	world_discard(archived);
}

/* What archived has put on a domain's spool, as it gives it back, or feeds it to the domain. */
static struct frame
elsewhere(enum frame_type type, uint64_t id, uint64_t handle)
{
	static const uint64_t in_room = 44;

	return (struct frame){ .type = type, .kind = STANZA_MESSAGE, .subtype = TYPE_GROUPCHAT, .handle = handle,
		.flags = FLAG_ROOM | FLAG_TO_REMOTE | FLAG_CONTENT | (type == FRAME_STANZA ? FLAG_SPOOL : 0u),
		.from = SLICE(NICK), .to = SLICE("venice.example"), .text = SLICE(REMOTE "\n"), .archive_id = id,
		.numbers = slice_of(&in_room, sizeof in_room), .number = 3, .stamp = 5, .payload = SLICE("<body>y</body>") };
}

static void
expect_elsewhere(uint64_t id, uint64_t handle, bool spool)
{
	struct frame f = world_expect(s2sd, FRAME_STANZA);

	assert_true(f.archive_id == id && f.handle == handle && slice_is(f.to, "venice.example"));
	assert_true(slice_is(f.text, REMOTE "\n") && frame_count(&f) == 1 && frame_at(&f, 0) == 44);
	assert_true((f.flags & (FLAG_ROOM | FLAG_TO_REMOTE)) == (FLAG_ROOM | FLAG_TO_REMOTE));
	assert_true(((f.flags & FLAG_SPOOL) != 0) == spool);
}

/* What the configuration says of domains that others serve. */
static void
serve(const char *text)
{
	struct config *config;

	assert_int_equal(config_read(slice_string(text), &config), 0);
	registry_set_served(config);
	config_free(&config);
}

/* For receivers elsewhere archived takes it, presence as well, and gives it back when it is on the spools. */
static void
receivers_elsewhere(void **state)
{
	uint64_t venice = HANDLE(S2SD, 1);
	struct frame f = room_stanza(STANZA_PRESENCE, TYPE_AVAILABLE, both, 1, false), got;
	struct frame open = { .type = FRAME_REMOTE_OPEN, .handle = venice, .domain = SLICE("venice.example") };
	struct frame drained = { .type = FRAME_DRAINED, .handle = venice, .number = 3, .jid = SLICE("venice.example") };

	(void)state;
	serve("s2s\t\tfederation\tyes\nrooms\trooms.localhost\tadmins\ta@localhost\n");
	start_s2sd();
	f.text = SLICE(REMOTE "\n" "cassio@venice.example/fort\n" "gone@localhost/here\n" "x@rooms.localhost/nick");
	f.token = SLICE("0123456789abcdef");
	world_say(mucd, &f);
	got = world_expect(archived, FRAME_STANZA);
	assert_true(slice_is(got.text, REMOTE "\n" "cassio@venice.example/fort\n") && got.numbers.ptr == NULL);
	world_silent(c2sd);
	got = world_expect(mucd, FRAME_STANZA); /* nobody in a room of its own is reached */
	assert_true(got.subtype == TYPE_ERROR && slice_is(got.from, "x@rooms.localhost/nick"));
	say_stored_by(MUCD, f.seq, 0, 0);
	assert_int_equal(world_expect(c2sd, FRAME_STANZA).number, f.number);
	say_taken(c2sd, f.number);
	expect_mucd_ack(f.seq, f.seq);
	/* s2sd does not know the domain yet: it hears of it, and is fed. */
	f = elsewhere(FRAME_SPOOLED, ++next_id, 0);
	world_say(archived, &f);
	assert_true(slice_is(world_expect(s2sd, FRAME_REMOTE_WAITING).text, "venice.example"));
	world_say(s2sd, &open);
	world_expect(archived, FRAME_DRAIN);
	f = elsewhere(FRAME_STANZA, next_id, venice);
	world_say(archived, &f);
	expect_elsewhere(next_id, venice, true);
	f = elsewhere(FRAME_SPOOLED, ++next_id, 0); /* behind that: it is fed too */
	world_say(archived, &f);
	world_silent(s2sd);
	f = elsewhere(FRAME_STANZA, next_id, venice);
	world_say(archived, &f);
	expect_elsewhere(next_id, venice, true);
	world_say(archived, &drained);
	f = elsewhere(FRAME_SPOOLED, ++next_id, 0);
	world_say(archived, &f);
	expect_elsewhere(next_id, venice, false);
	/* Also while mucd is away. */
	world_die(mucd);
	mucd = NULL;
	world_discard(s2sd); /* which domains there are now */
	f = elsewhere(FRAME_SPOOLED, ++next_id, 0);
	world_say(archived, &f);
	expect_elsewhere(next_id, venice, false);
	assert_int_equal(world_refused, 0);
	start_mucd(MUCD + 1);
	world_discard(s2sd);
	/* The room hears of what is given up. */
	f = (struct frame){ .type = FRAME_SPOOLED, .kind = STANZA_MESSAGE, .subtype = TYPE_ERROR, .from = SLICE(REMOTE),
		.to = SLICE(NICK), .flags = FLAG_ERROR, .payload = SLICE("<error type='cancel'/>") };
	world_say(archived, &f);
	got = world_expect(mucd, FRAME_STANZA);
	assert_true(got.subtype == TYPE_ERROR && slice_is(got.from, REMOTE) && slice_is(got.to, NICK));
	/* And archived speaks for no one else. */
	f.from = SLICE("juliet@localhost");
	world_say(archived, &f);
	f = elsewhere(FRAME_SPOOLED, ++next_id, 0);
	f.from = SLICE("juliet@localhost/balcony");
	world_say(archived, &f);
	assert_int_equal(world_refused, 2);
	world_silent(s2sd);
	world_silent(mucd);
	world_discard(archived);
	serve("s2s\t\tfederation\tno\n");
}

/* What mucd may not say does nothing, and is acknowledged: it would come again for ever. */
static void
faults(void **state)
{
	unsigned i, before;

	(void)state;
	for (i = 0; i < 15; i++) {
		struct frame f = room_stanza(STANZA_MESSAGE, TYPE_GROUPCHAT, both, 2, true);

		print_message("  fault %u\n", i);
		f.from = i == 0 ? SLICE("juliet@localhost/balcony") : i == 1 ? SLICE("room@rooms.localhost./x") :
		    i == 2 ? SLICE_NONE : f.from;
		f.to = i == 3 ? SLICE("other@rooms.localhost") : i == 4 ? SLICE_NONE : f.to;
		f.flags |= i == 5 ? FLAG_TO_LOCAL : i == 6 ? FLAG_SPOOL : 0u;
		f.token = i == 7 ? SLICE("short") : f.token;
		f.jid = i == 8 ? SLICE("juliet@localhost/balcony") : f.jid;
		f.text = i == 9 ? SLICE("a@b.example/c\nA@b.example/c") : f.text;
		f.handle = i == 10 ? both[0] : 0;
		f.number = i == 11 ? 0 : f.number;
		f.kind = i == 12 ? STANZA_PRESENCE : f.kind;
		f.flags &= i == 13 ? ~(uint32_t)(FLAG_STORE) : i == 14 ? ~(uint32_t)(FLAG_STORE | FLAG_FROM_LOCAL) : ~0u;
		f.text = i == 14 ? SLICE(REMOTE) : f.text;
		f.token = i == 14 ? SLICE_NONE : f.token;
		before = world_refused;
		world_say(mucd, &f);
		assert_int_equal(world_refused, before + 1);
		world_silent(archived);
		world_silent(c2sd);
		expect_mucd_ack(f.seq, f.seq);
	}
}

static void
bounded(void **state)
{
	struct frame f;
	unsigned i;

	(void)state;
	for (i = 0; i < 4096; i++) {
		f = room_stanza(STANZA_MESSAGE, TYPE_GROUPCHAT, both, 2, true);
		world_say(mucd, &f);
	}
	assert_int_equal(world_refused, 0);
	f = room_stanza(STANZA_MESSAGE, TYPE_GROUPCHAT, both, 2, true);
	world_say(mucd, &f);
	assert_int_equal(world_refused, 1);
	world_silent(mucd);
	world_discard(archived);
	world_die(mucd);
	start_mucd(MUCD + 3); /* and nothing of it is left */
	f = room_stanza(STANZA_MESSAGE, TYPE_GROUPCHAT, both, 2, true);
	world_say(mucd, &f);
	world_expect(archived, FRAME_STANZA);
	say_taken(c2sd, f.number);
	assert_int_equal(world_refused, 2); /* it was not given that */
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up_rooms, tear_down_rooms)
		TEST(one_order), TEST(split), TEST(archived_dies), TEST(mucd_dies), TEST(history), TEST(message),
		TEST(orders), TEST(moved), TEST(directed), TEST(occupants), TEST(queries), TEST(receivers_elsewhere), TEST(faults), TEST(bounded),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
