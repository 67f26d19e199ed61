/*
 * test_room_engine.c: the rooms of mucd from frames to what they say, on a store in a temporary directory: entering,
 * messages, the outbox, a commit that fails, and what is left after a kill.
 *
 * Links: mucd
 */
#include "room_engine.h"

/* -- tests -- */

/* What a killed process has left: who is in the room, and what has not arrived, in its order. */
static void
test_killed(void **state)
{
	uint64_t number = 0;
	struct slice rest, whole;
	struct room *room;
	struct frame f;
	pid_t child = fork();
	int status;

	(void)state;
	if (child == 0) {
		open_all();
		room_with("hall@" DOMAIN, "juliet@a.test/balcony", 11);
		presence("romeo@b.test/orchard", 0, "hall@" DOMAIN "/romeo", TYPE_AVAILABLE, MUC_X "<status>here</status>");
		say("juliet@a.test/balcony", 11, "hall@" DOMAIN, "<body>wherefore</body>");
		inbox_run(now);
		_exit(0);
	}
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_int_equal(status, 0);
	last_seq = 3;
	open_all();
	room = room_find(SLICE("hall@" DOMAIN));
	assert_non_null(room);
	assert_int_equal(room->occupant_count, 2);
	assert_int_equal(client_find(room, SLICE("juliet@a.test/balcony"))->handle, 11);
	assert_int_equal(affiliation_of(room, SLICE("juliet@a.test")), AFFILIATION_OWNER);
	assert_true(slice_is(buf_slice(&client_find(room, SLICE("romeo@b.test/orchard"))->presence),
	    "<status>here</status>"));
	buf_clear(&sent);
	outbox_resend();
	rest = buf_slice(&sent);
	while (frame_next(rest, &whole) == OK && frame_read(whole, &f) == OK) {
		rest = slice_part(rest, whole.len, rest.len);
		assert_int_equal(f.origin, daemon_incarnation());
		assert_true(f.number > number);
		number = f.number;
	}
	assert_true(number >= now << 20); /* above all that a store said that was restored since */
	assert_true(slice_starts(f.payload, SLICE("<body>wherefore</body><occupant-id xmlns='" NS_OCCUPANT_ID "' id='")));
	assert_int_equal(f.token.len, ONCE_SIZE);
	assert_true(f.flags & FLAG_STORE && f.flags & FLAG_ROOM);
	assert_true(slice_is(f.jid, "juliet@a.test"));
	assert_true(slice_is(f.text, "romeo@b.test/orchard\n"));
	/* What the dead one had taken is acknowledged again, and not done again. */
	buf_clear(&sent);
	last_seq = 2;
	say("juliet@a.test/balcony", 11, "hall@" DOMAIN, "<body>wherefore</body>");
	assert_int_equal(inbox_run(now), OK);
	assert_int_equal(buf_len(&sent), 0);
	assert_int_equal(buf_len(&acked), 8);
	last_seq = 100;
}

/* Rows go when all of them has arrived, with a later commit. */
static void
test_rows(void **state)
{
	(void)state;
	buf_clear(&sent);
	outbox_resend();
	ack_all();
	assert_false(outbox_idle());
	assert_int_equal(inbox_commit(), OK);
	assert_true(outbox_idle());
	assert_int_equal(store_count(store, TABLE_OUTBOX), 0);
	outbox_resend();
	assert_int_equal(buf_len(&sent), 0);
}

/* Entering: presences of the others, the own, history, subject; and to the others. */
static void
test_order(void **state)
{
	struct room *room = room_with("order@" DOMAIN, "a@a.test/1", 21);

	(void)state;
	presence("b@a.test/1", 22, "order@" DOMAIN "/b", TYPE_AVAILABLE, MUC_X);
	say("b@a.test/1", 22, "order@" DOMAIN, "<body>1</body>");
	presence("b@a.test/1", 22, "order@" DOMAIN "/b", TYPE_UNAVAILABLE, "");
	assert_int_equal(inbox_run(now), OK);
	assert_string_equal(words(&sent),
	    "presence:owner:1 presence:b:1 presence:b:1 HISTORY::2 message::1 message:b:2 presence-:b:1 presence-:b:1");
	assert_int_equal(room->client_count, 1);
	ack_all();
}

/* When a commit fails nothing has happened, and the same is handled again. */
static void
test_commit_fails(void **state)
{
	const struct rlimit none = { 4096, RLIM_INFINITY }, all = { RLIM_INFINITY, RLIM_INFINITY };
	struct room *room;

	(void)state;
	room_with("full@" DOMAIN, "a@a.test/1", 31);
	buf_clear(&acked);
	presence("b@a.test/1", 32, "full@" DOMAIN "/b", TYPE_AVAILABLE, MUC_X);
	presence("x@a.test/1", 33, "full@" DOMAIN, TYPE_AVAILABLE, MUC_X);
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &none), 0);
	assert_int_not_equal(inbox_run(now), OK);
	assert_int_equal(buf_len(&sent) + buf_len(&answered) + buf_len(&acked), 0);
	room = room_find(SLICE("full@" DOMAIN));
	assert_non_null(room);
	assert_int_equal(room->client_count, 1);
	assert_int_not_equal(inbox_run(now), OK);
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &all), 0);
	assert_int_equal(inbox_run(now), OK);
	room = room_find(SLICE("full@" DOMAIN));
	assert_int_equal(room->client_count, 2);
	assert_string_equal(words(&answered), "presence!::0");
	assert_string_equal(words(&sent), "presence:owner:1 presence:b:1 presence:b:1 HISTORY::2 message::1");
	assert_int_equal(buf_len(&acked), 16);
	ack_all();
}

/* One nick with several clients: the last presence counts, and who leaves while others stay tells itself alone. */
static void
test_clients(void **state)
{
	struct room *room = room_with("shared@" DOMAIN, "a@a.test/1", 41);
	struct occupant *o;

	(void)state;
	presence("b@a.test/1", 42, "shared@" DOMAIN "/b", TYPE_AVAILABLE, MUC_X "<status>one</status>");
	now++;
	presence("b@a.test/2", 43, "shared@" DOMAIN "/b", TYPE_AVAILABLE, MUC_X "<status>two</status>");
	assert_int_equal(inbox_run(now), OK);
	o = occupant_find(room, SLICE("b"));
	assert_int_equal(room->occupant_count, 2);
	assert_true(slice_is(client_jid(TAILQ_LAST(&o->clients, clients)), "b@a.test/2"));
	now++;
	presence("b@a.test/1", 42, "shared@" DOMAIN "/b", TYPE_AVAILABLE, "<status>again</status>");
	assert_int_equal(inbox_run(now), OK);
	assert_true(slice_is(client_jid(TAILQ_LAST(&o->clients, clients)), "b@a.test/1"));
	rooms_forget();
	room = room_find(SLICE("shared@" DOMAIN));
	o = occupant_find(room, SLICE("b"));
	assert_true(slice_is(client_jid(TAILQ_LAST(&o->clients, clients)), "b@a.test/1"));
	assert_int_equal(clients_of_account(SLICE("b@a.test")), 3); /* and in full@ */
	buf_clear(&sent);
	presence("b@a.test/1", 42, "shared@" DOMAIN "/b", TYPE_UNAVAILABLE, "");
	assert_int_equal(inbox_run(now), OK);
	assert_string_equal(words(&sent), "presence-:b:1");
	/* A session that has ended takes its clients along; the successor of one does not go with it. */
	buf_clear(&sent);
	give((struct frame){ .kind = STANZA_PRESENCE, .subtype = TYPE_AVAILABLE, .handle = 53, .from = SLICE("b@a.test/2"),
		.to = SLICE("shared@" DOMAIN "/b"), .payload = SLICE(MUC_X) });
	assert_int_equal(inbox_run(now), OK);
	assert_int_equal(client_find(room, SLICE("b@a.test/2"))->handle, 53);
	ack_all();
}

/* Nobody more than there is room for, and no more messages than there may be. */
static void
test_limits(void **state)
{
	int i;

	(void)state;
	room_with("small@" DOMAIN, "a@a.test/1", 61);
	presence("c@a.test/1", 62, "small@" DOMAIN "/c", TYPE_AVAILABLE, MUC_X);
	presence("d@a.test/1", 63, "small@" DOMAIN "/d", TYPE_AVAILABLE, MUC_X);
	presence("e@a.test/1", 64, "small@" DOMAIN "/e", TYPE_AVAILABLE, MUC_X);
	assert_int_equal(inbox_run(now), OK);
	assert_string_equal(words(&answered), "presence!:e:0");
	ack_all();
	buf_clear(&answered);
	for (i = 0; i < 8; i++)
		say("c@a.test/1", 62, "small@" DOMAIN, "<body>x</body>");
	assert_int_equal(inbox_run(now), OK);
	assert_string_equal(words(&answered), "message!::0 message!::0");
	buf_clear(&answered);
	now += 500;
	say("c@a.test/1", 62, "small@" DOMAIN, "<body>x</body>");
	assert_int_equal(inbox_run(now), OK);
	assert_int_equal(buf_len(&answered), 0);
	ack_all();
}

/* Who is elsewhere and silent is asked, and leaves when it does not answer; a room that nobody uses ends. */
static void
test_watch(void **state)
{
	struct room *room = room_with("silent@" DOMAIN, "a@a.test/1", 71);

	(void)state;
	presence("far@b.test/1", 0, "silent@" DOMAIN "/far", TYPE_AVAILABLE, MUC_X);
	assert_int_equal(inbox_run(now), OK);
	ack_all();
	now += 61 * 1000;
	inbox_tick();
	assert_int_equal(inbox_run(now), OK);
	assert_non_null(strstr(words(&answered), "iq::0"));
	now += 60 * 1000;
	inbox_tick();
	assert_int_equal(inbox_run(now), OK);
	assert_non_null(client_find(room, SLICE("far@b.test/1")));
	now += 61 * 1000;
	buf_clear(&sent);
	inbox_tick();
	assert_int_equal(inbox_run(now), OK);
	assert_null(client_find(room, SLICE("far@b.test/1")));
	assert_non_null(strstr(words(&sent), "presence-:far:1"));
	ack_all();
	presence("a@a.test/1", 71, "silent@" DOMAIN "/owner", TYPE_UNAVAILABLE, "");
	assert_int_equal(inbox_run(now), OK);
	assert_non_null(room_find(SLICE("silent@" DOMAIN)));
	now += 200 * 1000;
	buf_clear(&sent);
	inbox_tick();
	assert_int_equal(inbox_run(now), OK);
	assert_null(room_find(SLICE("silent@" DOMAIN)));
	assert_non_null(strstr(words(&sent), "FORGET"));
	ack_all();
}

static int
tests_run(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_killed), cmocka_unit_test(test_rows), cmocka_unit_test(test_order),
		cmocka_unit_test(test_commit_fails), cmocka_unit_test(test_clients), cmocka_unit_test(test_limits),
		cmocka_unit_test(test_watch),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

int
main(void)
{
	return engine_tests(tests_run);
}
