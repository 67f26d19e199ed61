/*
 * test_pushing.c: when the router asks for push notifications (XEP-0357), and what of the answers it takes.
 * Links: router
 */
#include "delivery_world.h"

enum { JULIET_N = 1, PHONE_N, DESK_N };

#define ROMEO "romeo@localhost"
#define INTERVAL 10000

static int
set_up_all(void **state)
{
	struct config *config;

	assert_int_equal(config_read(SLICE("push\t\tinterval\t10\n"), &config), 0);
	push_configure(config);
	config_free(&config);
	return set_up(state);
}

static int
tear_down_all(void **state)
{
	int error = tear_down(state);

	world_ticks += INTERVAL;
	push_tick();
	world_ticks += INTERVAL;
	push_tick();
	return error;
}

/* Juliet writes to Romeo, and it is stored. Returns its archive id. */
static uint64_t
write_to(const char *to)
{
	struct frame f = stanza(JULIET_N, STANZA_MESSAGE, TYPE_CHAT, to);

	f.flags = FLAG_CONTENT | FLAG_BODY;
	world_say(c2sd, &f);
	world_expect(archived, FRAME_STANZA);
	say_stored(f.seq, ++next_id);
	world_discard(c2sd);
	return next_id;
}

/* authd tells of Romeo. */
static void
is(bool push)
{
	struct frame f = { .type = FRAME_ACCOUNT_IS, .jid = SLICE(ROMEO),
		.flags = FLAG_EXISTS | (push ? FLAG_PUSH : 0) };

	world_say(authd, &f);
}

static void
expect_asked(uint64_t id)
{
	struct frame f = world_expect(archived, FRAME_PUSH);

	assert_true(slice_is(f.jid, ROMEO));
	assert_true(f.archive_id == id);
}

static void
say_counted(uint64_t id, uint64_t number)
{
	struct frame f = { .type = FRAME_PUSH, .jid = SLICE(ROMEO), .archive_id = id, .number = number };

	world_say(archived, &f);
}

static void
expect_push(uint64_t number)
{
	struct frame f = world_expect(authd, FRAME_PUSH);

	assert_true(slice_is(f.jid, ROMEO));
	assert_true(f.number == number);
}

static void
away(unsigned n, bool away, uint64_t waiting)
{
	struct frame f = { .type = FRAME_SESSION_AWAY, .handle = handle_of(n), .number = waiting,
		.flags = away ? 0 : FLAG_AVAILABLE };

	world_say(c2sd, &f);
}

static void
pass(uint64_t time)
{
	world_ticks += time;
	push_tick();
}

static void
offline(void **state)
{
	uint64_t id;

	(void)state;
	log_in(JULIET_N, "juliet@localhost", "balcony");
	id = write_to(ROMEO);
	world_expect(authd, FRAME_ACCOUNT_ASK);
	world_silent(archived);
	is(true); /* it exists, and has services: the message that waited to hear that is told of */
	expect_asked(id);
	say_counted(id, 3);
	expect_push(3);
	/* More of them in an interval are told of at its end, once. */
	id = write_to(ROMEO);
	write_to(ROMEO);
	world_silent(archived);
	pass(INTERVAL - 1);
	world_silent(archived);
	pass(1);
	expect_asked(id);
	/* An answer comes once, to what was asked. */
	say_counted(id + 1, 5);
	world_silent(authd);
	say_counted(id, 5);
	expect_push(5);
	say_counted(id, 5);
	world_silent(authd);
	assert_true(push_waiting());
	pass(INTERVAL);
	assert_false(push_waiting());
	world_silent(archived);
}

static void
without_services(void **state)
{
	(void)state;
	log_in(JULIET_N, "juliet@localhost", "balcony");
	is(false);
	write_to(ROMEO);
	world_silent(archived);
	assert_false(push_waiting());
	say_counted(1, 1); /* nobody has asked */
	world_silent(authd);
}

/* What is not worth a notification does not hold up the next one. */
static void
not_due(void **state)
{
	uint64_t id, second;

	(void)state;
	log_in(JULIET_N, "juliet@localhost", "balcony");
	is(true);
	id = write_to(ROMEO);
	expect_asked(id);
	second = write_to(ROMEO);
	say_counted(id, 0);
	expect_asked(second);
	say_counted(second, 0);
	assert_false(push_waiting());
	id = write_to(ROMEO);
	expect_asked(id);
	say_counted(id, 1);
	expect_push(1);
}

static void
sessions(void **state)
{
	uint64_t id;

	(void)state;
	log_in(JULIET_N, "juliet@localhost", "balcony");
	log_in(PHONE_N, ROMEO, "phone");
	is(true);
	write_to(ROMEO); /* it has sent no presence yet: it will be given that */
	world_silent(archived);
	send_presence(PHONE_N, 0);
	write_to(ROMEO);
	world_silent(archived);
	away(PHONE_N, true, 0);
	world_silent(archived);
	id = write_to(ROMEO);
	expect_asked(id);
	log_in(DESK_N, ROMEO, "desk");
	send_presence(DESK_N, 1);
	say_counted(id, 1);
	world_silent(authd); /* a client is back meanwhile */
	assert_false(push_waiting());
	write_to(ROMEO);
	write_to(ROMEO "/phone");
	world_silent(archived);
	/* The connections of both have gone, with something that they do not have. */
	away(DESK_N, true, 2);
	expect_asked(0);
	away(PHONE_N, false, 0);
	pass(INTERVAL);
	assert_false(push_waiting());
	is(false); /* nothing is owed for those that are left */
	world_discard(c2sd);
}

static void
daemons_away(void **state)
{
	uint64_t id;

	(void)state;
	log_in(JULIET_N, "juliet@localhost", "balcony");
	is(true);
	id = write_to(ROMEO);
	expect_asked(id);
	/* archived dies, and is asked again. */
	world_die(archived);
	pass(INTERVAL);
	start_archived();
	world_discard(archived);
	pass(1000);
	expect_asked(id);
	world_discard(c2sd);
	/* authd dies, and gets it later. */
	world_die(authd);
	say_counted(id, 2);
	start_authd();
	world_discard(authd);
	world_discard(archived);
	pass(1000);
	expect_asked(id);
	say_counted(id, 2);
	expect_push(2);
	world_discard(c2sd);
}

/* Answers to the server go to authd, by their id; nobody else's. */
static void
answers(void **state)
{
	static const struct { const char *to, *id; enum stanza_type type; bool passed; } rows[] = {
		{ "localhost", "push-1", TYPE_RESULT, true },
		{ "localhost", "push-1", TYPE_ERROR, true },
		{ "localhost", "other", TYPE_RESULT, false },
		{ "localhost/x", "push-1", TYPE_RESULT, false },
		{ ROMEO, "push-1", TYPE_RESULT, false },
	};
	struct frame f;
	uint64_t seq;
	size_t i;

	(void)state;
	log_in(JULIET_N, "juliet@localhost", "balcony");
	for (i = 0; i < sizeof rows / sizeof *rows; i++) {
		f = stanza(JULIET_N, STANZA_IQ, rows[i].type, rows[i].to);
		f.id = slice_string(rows[i].id);
		seq = f.seq;
		world_say(c2sd, &f);
		expect_ack(seq);
		if (rows[i].passed) {
			f = world_expect(authd, FRAME_STANZA);
			assert_true(slice_is(f.from, "juliet@localhost/balcony") && f.seq == 0);
		}
		world_silent(authd);
	}
	world_discard(c2sd);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(offline, set_up_all, tear_down_all),
		cmocka_unit_test_setup_teardown(without_services, set_up_all, tear_down_all),
		cmocka_unit_test_setup_teardown(not_due, set_up_all, tear_down_all),
		cmocka_unit_test_setup_teardown(sessions, set_up_all, tear_down_all),
		cmocka_unit_test_setup_teardown(daemons_away, set_up_all, tear_down_all),
		cmocka_unit_test_setup_teardown(answers, set_up_all, tear_down_all),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
