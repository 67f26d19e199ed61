/*
 * test_flow.c: the bounds of the router's queues: which daemons it reads when others do not take
 * what it has for them, frames held for sessions, messages that wait to hear of their receiver,
 * logins.
 *
 * Links: router
 */
#include "router_world.h"

#include "counter.h"

#define MIB ((size_t)1 << 20)
#define FIRST 5u  /* incarnations of the c2sd */
#define SECOND 6u

static struct link *authd, *archived, *first, *second;
static uint64_t next_seq;

static struct link *
start_c2sd(unsigned index, uint32_t incarnation)
{
	struct link *l = world_start(ROLE_C2SD, index, incarnation);

	world_hello(l, "");
	world_ready(l);
	world_echo(l);
	world_discard(l);
	return l;
}

static int
set_up(void **state)
{
	struct frame mechanisms = { .type = FRAME_MECHANISMS, .token = slice_of(world_key, 32),
		.text = SLICE("localhost PLAIN") };
	struct config *config;

	(void)state;
	assert_int_equal(config_read(SLICE("domain\tlocalhost\tregistration\tno\n"
	    "c2s\t\tresource-conflict\treplace\nc2s\t\tsessions-per-account\t20\n"), &config), 0);
	registry_set_domains(config);
	sessions_configure(config);
	config_free(&config);
	authd = world_start(ROLE_AUTHD, 0, 2);
	world_hello(authd, "server-ns jabber:iq:register\n");
	world_say(authd, &mechanisms);
	world_ready(authd);
	archived = world_start(ROLE_ARCHIVED, 0, 3);
	world_hello(archived, "");
	world_ready(archived);
	first = start_c2sd(0, FIRST);
	second = start_c2sd(1, SECOND);
	world_discard(authd);
	world_discard(archived);
	next_seq = 0;
	return 0;
}

static void
die(struct link **l)
{
	if (*l != NULL)
		world_die(*l);
	*l = NULL;
}

static int
tear_down(void **state)
{
	(void)state;
	die(&first);
	die(&second);
	die(&archived);
	world_ticks += 20000;
	sessions_tick();
	die(&authd);
	flow_check();
	assert_int_equal(session_count(), 0);
	return 0;
}

/* A bound session with this resource; its presence is available. */
static uint64_t
login(struct link *l, uint32_t incarnation, const char *jid)
{
	static uint32_t count;
	uint64_t handle = HANDLE(incarnation, ++count);
	struct frame start = { .type = FRAME_AUTH_START, .handle = handle };
	struct frame success = { .type = FRAME_AUTH_SUCCESS, .handle = handle };
	struct frame bind = { .type = FRAME_SESSION_BIND, .handle = handle, .resource = SLICE("r") };
	struct frame roster = { .type = FRAME_ROSTER, .flags = FLAG_EXISTS, .payload = SLICE("") };
	char token[32];

	world_token(handle, jid, token);
	success.jid = roster.jid = slice_string(jid);
	success.token = slice_of(token, sizeof token);
	world_say(l, &start);
	world_say(authd, &success);
	world_say(l, &bind);
	world_say(authd, &roster);
	world_discard(authd);
	world_discard(l);
	return handle;
}

static struct frame
message(uint64_t handle, const char *to, size_t bytes)
{
	static char text[FRAME_MAX];
	struct frame f = { .type = FRAME_STANZA, .kind = STANZA_MESSAGE, .subtype = TYPE_CHAT,
		.flags = FLAG_CONTENT, .handle = handle, .seq = ++next_seq };

	if (text[0] == '\0')
		memset(text, 'x', sizeof text);
	f.to = slice_string(to);
	f.payload = slice_of(text, bytes);
	return f;
}

/* A headline, which is not stored. */
static void
headline(struct link *l, uint64_t handle, const char *to, size_t bytes)
{
	struct frame f = message(handle, to, bytes);

	f.subtype = TYPE_HEADLINE;
	world_say(l, &f);
}

/* Fills the output for a c2sd until the router stops reading; returns the bytes. */
static size_t
fill(struct link *from, uint64_t handle, const char *to, struct link *target)
{
	target->full = true;
	while (!from->paused && buf_len(&target->sent) < 100 * MIB)
		headline(from, handle, to, MIB);
	return buf_len(&target->sent);
}

static void
drained(struct link *l, size_t left)
{
	while (buf_len(&l->sent) > left)
		buf_consume(&l->sent, buf_len(&l->sent) - left);
	l->full = false;
	l->events->drained(l->arg, l);
}

static void
test_entry_that_does_not_keep_up(void **state)
{
	uint64_t juliet = login(first, FIRST, "juliet@localhost");
	uint64_t stops = counters[COUNTER_flow_stops];
	size_t bytes;

	(void)state;
	login(second, SECOND, "romeo@localhost");
	bytes = fill(first, juliet, "romeo@localhost/r", second);
	assert_true(bytes > 64 * MIB && bytes < 66 * MIB);
	assert_true(first->paused && second->paused && authd->paused && archived->paused);
	assert_int_equal(counters[COUNTER_flow_stops], stops + 1);
	flow_gauges();
	assert_int_equal(counters[COUNTER_flow_stopped], 4);
	assert_true(flow_waiting());
	/* It takes some of it: that is no reason to go on, nor to give it up. */
	buf_consume(&second->sent, 30 * MIB);
	world_ticks += 6000;
	flow_tick();
	assert_true(first->paused);
	drained(second, MIB);
	assert_false(first->paused || second->paused || authd->paused || archived->paused);
	flow_gauges();
	assert_int_equal(counters[COUNTER_flow_stopped], 0);
	assert_false(flow_waiting());
	world_discard(second);
	headline(first, juliet, "romeo@localhost/r", 10);
	world_expect(second, FRAME_STANZA);
}

static void
test_entry_that_takes_nothing(void **state)
{
	uint64_t juliet = login(first, FIRST, "juliet@localhost");
	unsigned links = world_link_count;

	(void)state;
	login(second, SECOND, "romeo@localhost");
	fill(first, juliet, "romeo@localhost/r", second);
	world_ticks += 4000;
	flow_tick();
	assert_true(first->paused);
	world_ticks += 2000;
	flow_tick();
	/* Its link is closed, and the others are read again. */
	second = NULL;
	assert_int_equal(world_link_count, links - 1);
	assert_false(first->paused || authd->paused || archived->paused);
}

static void
test_taker_that_does_not_keep_up(void **state)
{
	uint64_t handles[40];
	char jid[64];
	size_t i, n = 0;

	(void)state;
	for (i = 0; i < 40; i++) {
		snprintf(jid, sizeof jid, "user%zu@localhost", i);
		handles[i] = login(first, FIRST, jid);
	}
	archived->full = true;
	while (!first->paused && n < 400) {
		struct frame f = message(handles[n++ % 40], "nobody@localhost", MIB);

		world_say(first, &f);
	}
	assert_true(buf_len(&archived->sent) > 192 * MIB && buf_len(&archived->sent) < 194 * MIB);
	assert_true(first->paused && second->paused);
	/* Those that the entry daemons wait for are read. */
	assert_false(authd->paused || archived->paused);
	hold_gauges();
	assert_int_equal(counters[COUNTER_held], n);
	assert_true(counters[COUNTER_held_bytes] >= n * MIB);
	/* However long it takes: it may have a full disk. */
	world_ticks += 60000;
	flow_tick();
	assert_true(first->paused);
	drained(archived, 0);
	assert_false(first->paused || second->paused);
}

static void
test_held_bytes(void **state)
{
	uint64_t juliet = login(first, FIRST, "juliet@localhost");
	uint64_t before = counters[COUNTER_held_overflowed];
	unsigned i;
	struct frame f;

	(void)state;
	for (i = 0; i < 9; i++) {
		f = message(juliet, "romeo@localhost", MIB - 512);
		world_say(first, &f);
	}
	assert_int_equal(counters[COUNTER_held_overflowed], before);
	hold_gauges();
	assert_true(counters[COUNTER_held_bytes] > 8 * MIB);
	f = message(juliet, "romeo@localhost", 10);
	world_say(first, &f);
	assert_int_equal(counters[COUNTER_held_overflowed], before + 1);
	f = world_expect(first, FRAME_SESSION_KILL);
	assert_true(slice_is(f.condition, "policy-violation"));
	world_discard(archived);
}

/* Has archived store a message, and returns whether the router asks for its receiver. */
static bool
stored(uint64_t handle, const char *to, size_t bytes)
{
	struct frame f = message(handle, to, bytes), answer = { .type = FRAME_STORED };
	struct buf numbers = { 0 };
	bool asked;

	world_say(first, &f);
	buf_add_u64(&numbers, f.seq);
	buf_add_u64(&numbers, 1000 + f.seq);
	buf_add_u64(&numbers, 1);
	answer.origin = FIRST;
	answer.numbers = buf_slice(&numbers);
	world_say(archived, &answer);
	buf_free(&numbers);
	world_discard(archived);
	world_discard(first);
	asked = buf_len(&authd->sent) != 0;
	world_discard(authd);
	return asked;
}

static void
test_receivers_asked_for(void **state)
{
	uint64_t juliet = login(first, FIRST, "juliet@localhost");
	uint64_t dropped = counters[COUNTER_asked_dropped];
	struct frame is = { .type = FRAME_ACCOUNT_IS };
	char jid[64];
	unsigned i;

	(void)state;
	for (i = 0; i < 10000; i++) {
		snprintf(jid, sizeof jid, "n%u@localhost", i);
		assert_true(stored(juliet, jid, 5000));
	}
	deliver_gauges();
	assert_int_equal(counters[COUNTER_asked], 10000);
	assert_true(counters[COUNTER_asked_bytes] < 16 * MIB);
	/* One more stays on the spool, as if its receiver existed. */
	assert_false(stored(juliet, "more@localhost", 5000));
	assert_int_equal(counters[COUNTER_asked_dropped], dropped + 1);
	/* authd answers: who sent to nobody is told, and there is room again. */
	for (i = 0; i < 10000; i++) {
		snprintf(jid, sizeof jid, "n%u@localhost", i);
		is.jid = slice_string(jid);
		is.flags = i % 2 ? FLAG_EXISTS : 0;
		world_say(authd, &is);
		if (i % 2 == 0) {
			struct frame f = world_expect(first, FRAME_STANZA);

			assert_int_equal(f.subtype, TYPE_ERROR);
		}
		world_silent(first);
	}
	deliver_gauges();
	assert_int_equal(counters[COUNTER_asked], 0);
	assert_int_equal(counters[COUNTER_asked_bytes], 0);
	assert_true(stored(juliet, "late@localhost", 10));
	is.jid = SLICE("late@localhost");
	is.flags = FLAG_EXISTS;
	world_say(authd, &is);
	account_gauges();
	assert_in_range(counters[COUNTER_existences], 1, 10000);
	world_discard(archived);
}

static void
test_existences(void **state)
{
	char jid[64];
	unsigned i;

	(void)state;
	for (i = 0; i < 30000; i++) {
		snprintf(jid, sizeof jid, "e%u@localhost", i);
		existence_set(slice_string(jid), false, false, SLICE_NONE);
	}
	account_gauges();
	assert_in_range(counters[COUNTER_existences], 1, 10000);
	assert_int_equal(existence_get(slice_string(jid)), EXISTENCE_NO);
}

static void
auth(enum frame_type type, uint64_t handle)
{
	struct frame f = { .type = type, .handle = handle, .name = SLICE("SCRAM-SHA-256"),
		.domain = SLICE("localhost") };

	world_say(first, &f);
}

static void
test_logins(void **state)
{
	uint64_t refused = counters[COUNTER_exchanges_refused];
	uint32_t i;
	struct frame f;

	(void)state;
	/* A million of connections that drop at once leave nothing. */
	for (i = 0; i < 1000000; i++) {
		auth(FRAME_AUTH_START, HANDLE(FIRST, 1000 + i));
		auth(FRAME_AUTH_ABORT, HANDLE(FIRST, 1000 + i));
		world_discard(authd);
	}
	assert_int_equal(exchange_count(), 0);
	for (i = 0; i < 16384; i++) {
		auth(FRAME_AUTH_START, HANDLE(FIRST, 1000 + i));
		world_discard(authd);
	}
	world_silent(first);
	assert_int_equal(exchange_count(), 16384);
	auth(FRAME_AUTH_START, HANDLE(FIRST, 100));
	f = world_expect(first, FRAME_AUTH_FAILURE);
	assert_true(slice_is(f.condition, "temporary-auth-failure"));
	assert_int_equal(counters[COUNTER_exchanges_refused], refused + 1);
	/* There is room again when one has gone. */
	auth(FRAME_AUTH_ABORT, HANDLE(FIRST, 1000));
	world_discard(authd);
	auth(FRAME_AUTH_START, HANDLE(FIRST, 100));
	world_expect(authd, FRAME_AUTH_START);
	world_silent(first);
}

static void
test_logins_while_authd_does_not_keep_up(void **state)
{
	uint64_t refused = counters[COUNTER_exchanges_refused];
	struct frame f;

	(void)state;
	auth(FRAME_AUTH_START, HANDLE(FIRST, 1));
	world_expect(authd, FRAME_AUTH_START);
	authd->full = true;
	auth(FRAME_AUTH_STEP, HANDLE(FIRST, 1));
	world_expect(authd, FRAME_AUTH_STEP);
	auth(FRAME_AUTH_START, HANDLE(FIRST, 2));
	world_silent(authd);
	f = world_expect(first, FRAME_AUTH_FAILURE);
	assert_true(slice_is(f.condition, "temporary-auth-failure"));
	assert_int_equal(counters[COUNTER_exchanges_refused], refused + 1);
	/* What has begun goes on. */
	auth(FRAME_AUTH_STEP, HANDLE(FIRST, 1));
	world_expect(authd, FRAME_AUTH_STEP);
	drained(authd, 0);
	auth(FRAME_AUTH_START, HANDLE(FIRST, 2));
	world_expect(authd, FRAME_AUTH_START);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_entry_that_does_not_keep_up),
		TEST(test_entry_that_takes_nothing),
		TEST(test_taker_that_does_not_keep_up),
		TEST(test_held_bytes),
		TEST(test_receivers_asked_for),
		TEST(test_existences),
		TEST(test_logins),
		TEST(test_logins_while_authd_does_not_keep_up),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
