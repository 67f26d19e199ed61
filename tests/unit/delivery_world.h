/*
 * delivery_world.h: a router with authd, archived and one c2sd, and what its clients do. Included by one
 * test program each.
 */
#ifndef ALDIS_DELIVERY_WORLD_H
#define ALDIS_DELIVERY_WORLD_H

#include "router_world.h"

#define INCARNATION 5u

static struct link *authd, *archived, *c2sd;
static uint64_t next_seq;
/* Archive ids grow over all tests of a program. */
static __attribute__((unused)) uint64_t next_id = 1000;

static uint64_t
handle_of(unsigned n)
{
	return HANDLE(INCARNATION, n);
}

static void
start_authd(void)
{
	struct frame mechanisms = { .type = FRAME_MECHANISMS, .token = slice_of(world_key, 32),
		.text = SLICE("localhost PLAIN") };

	authd = world_start(ROLE_AUTHD, 0, 2);
	world_hello(authd, "account-ns jabber:iq:roster\nserver-ns jabber:iq:register\n");
	world_expect(authd, FRAME_WELCOME);
	world_say(authd, &mechanisms);
	world_ready(authd);
}

static void
start_archived(void)
{
	archived = world_start(ROLE_ARCHIVED, 0, 3);
	world_hello(archived, "");
	world_expect(archived, FRAME_WELCOME);
	world_ready(archived);
}

/* A c2sd that is to say which sessions it has. */
static void
register_c2sd(void)
{
	c2sd = world_start(ROLE_C2SD, 0, INCARNATION);
	world_hello(c2sd, "");
	world_expect(c2sd, FRAME_WELCOME);
	world_expect(c2sd, FRAME_MECHANISMS);
}

static void
start_c2sd(void)
{
	register_c2sd();
	world_ready(c2sd);
	world_expect(c2sd, FRAME_RESEND);
	world_echo(c2sd);
}

static int
set_up(void **state)
{
	struct config *config;
	struct slice text = SLICE("domain\tlocalhost\tregistration\tno\n"
	    "c2s\t\tresource-conflict\treplace\nc2s\t\tsessions-per-account\t20\n");

	(void)state;
	next_seq = 0;
	next_id += 1000;
	assert_int_equal(config_read(text, &config), 0);
	registry_set_domains(config);
	sessions_configure(config);
	request_start();
	config_free(&config);
	start_authd();
	start_archived();
	start_c2sd();
	return 0;
}

static int
tear_down(void **state)
{
	(void)state;
	/* In this order nothing is left: orphans end when their time is over. */
	if (c2sd != NULL)
		world_die(c2sd);
	world_die(archived);
	world_ticks += 100000;
	sessions_tick();
	deliver_exists(SLICE("paris@localhost"), true, false, SLICE_NONE); /* what still waits to hear that */
	world_die(authd);
	assert_int_equal(session_count(), 0);
	assert_int_equal(account_count(), 0);
	return 0;
}

/* -- clients ------------------------------------------------------------------------------------------ */

/* A client of c2sd has begun to authenticate: authd's answer is waited for. */
static void
authenticate(unsigned n)
{
	struct frame f = { .type = FRAME_AUTH_START, .handle = handle_of(n) };

	world_say(c2sd, &f);
	world_expect(authd, FRAME_AUTH_START);
}

/* archived has nothing more for a session that asks. */
static void
say_drained(unsigned n)
{
	struct frame ask = world_expect(archived, FRAME_DRAIN);
	struct frame done = { .type = FRAME_DRAINED, .handle = handle_of(n) };

	assert_true(ask.handle == handle_of(n));
	world_say(archived, &done);
}

/* A client logs in; what waits for it has been asked for and not been sent. */
static void
bind_only(unsigned n, const char *bare, const char *resource)
{
	char token[32];
	struct frame grant = { .type = FRAME_AUTH_SUCCESS, .handle = handle_of(n),
		.jid = slice_string(bare), .token = slice_of(token, 32) };
	struct frame bind = { .type = FRAME_SESSION_BIND, .handle = handle_of(n),
		.resource = slice_string(resource) };
	struct frame roster = { .type = FRAME_ROSTER, .jid = slice_string(bare),
		.flags = FLAG_EXISTS, .payload = SLICE("") };
	struct frame f;
	bool loaded = account_find(slice_string(bare)) != NULL;

	world_token(handle_of(n), bare, token);
	authenticate(n);
	world_say(authd, &grant);
	f = world_expect(c2sd, FRAME_AUTH_SUCCESS);
	world_say(c2sd, &bind);
	if (!loaded) {
		f = world_expect(authd, FRAME_ROSTER_LOAD);
		world_say(authd, &roster);
	}
	f = world_expect(c2sd, FRAME_SESSION_BOUND);
	assert_true(f.handle == handle_of(n));
}

static void
log_in(unsigned n, const char *bare, const char *resource)
{
	bind_only(n, bare, resource);
	say_drained(n);
}

static struct frame
stanza(unsigned n, enum stanza_kind kind, enum stanza_type type, const char *to)
{
	return (struct frame){ .type = FRAME_STANZA, .kind = kind, .subtype = type,
		.handle = handle_of(n), .to = slice_string(to), .origin = INCARNATION,
		.seq = ++next_seq, .payload = SLICE(""), .id = SLICE("x") };
}

static __attribute__((unused)) void
send_presence(unsigned n, int priority)
{
	struct frame f = stanza(n, STANZA_PRESENCE, TYPE_AVAILABLE, NULL);

	f.number = (uint64_t)(priority + 128);
	world_say(c2sd, &f);
	world_discard(c2sd);
	world_discard(authd);
	if (priority >= 0)
		say_drained(n);
}

static __attribute__((unused)) void
say_stored(uint64_t seq, uint64_t id)
{
	struct buf numbers = { 0 };
	struct frame f = { .type = FRAME_STORED, .origin = INCARNATION };

	buf_add_u64(&numbers, seq);
	buf_add_u64(&numbers, id);
	buf_add_u64(&numbers, 77);
	f.numbers = buf_slice(&numbers);
	world_say(archived, &f);
	buf_free(&numbers);
}

static __attribute__((unused)) void
expect_ack(uint64_t seq)
{
	struct frame f = world_expect(c2sd, FRAME_ACK);

	assert_true(frame_count(&f) == 2);
	assert_true(frame_at(&f, 0) <= seq && seq <= frame_at(&f, 1));
}

#endif
