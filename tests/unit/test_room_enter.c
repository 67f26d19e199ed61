/*
 * test_room_enter.c: presence to rooms from end to end of mucd: nicks that are reserved and have to be used, and
 * probes.
 *
 * Links: mucd
 */
#include "room_engine.h"

#define ROOM "cave@" DOMAIN

static int
set_up(void **state)
{
	struct room *room = room_with(ROOM, "owner@a.test/1", 11);

	(void)state;
	affiliation_set(room, SLICE("hag@a.test"), AFFILIATION_MEMBER, SLICE("thirdwitch"), SLICE_NONE);
	affiliation_set(room, SLICE("free@a.test"), AFFILIATION_MEMBER, SLICE_NONE, SLICE_NONE);
	room->config.reserved_nicks = true;
	room_save(room);
	assert_int_equal(inbox_commit(), OK);
	ack_all();
	buf_clear(&answered);
	return 0;
}

static int
tear_down(void **state)
{
	(void)state;
	owner_destroy(room_find(SLICE(ROOM)), SLICE_NONE, SLICE_NONE, SLICE_NONE);
	assert_int_equal(inbox_commit(), OK);
	ack_all();
	return 0;
}

/* What the room tells one who sends a presence, and what it answers. */
static const char *
sends(const char *from, uint64_t handle, const char *nick, const char *payload)
{
	char to[128];

	snprintf(to, sizeof to, ROOM "/%s", nick);
	ack_all();
	buf_clear(&answered);
	presence(from, handle, to, TYPE_AVAILABLE, payload);
	assert_int_equal(inbox_run(now), OK);
	return buf_len(&answered) != 0 ? texts(&answered) : texts(&sent);
}

/* Who has a reserved nick gets it, told by 210; who is in under it cannot take another. */
static void
test_reserved(void **state)
{
	const char *text = sends("hag@a.test/1", 21, "witch", MUC_X);

	(void)state;
	has(text, "presence  " ROOM "/thirdwitch 1: ");
	has(text, "<status code='110'/><status code='170'/><status code='210'/></x>");
	has_not(text, ROOM "/witch");
	text = sends("hag@a.test/1", 21, "witch", "");
	has(text, "presence error " ROOM "/witch 0: <error type='modify'><not-acceptable");
	has(text, "<text");
	assert_non_null(occupant_find(room_find(SLICE(ROOM)), SLICE("thirdwitch")));
	text = sends("hag@a.test/1", 21, "thirdwitch", "<show>away</show>");
	has(text, "presence  " ROOM "/thirdwitch 1: <show>away</show>");
	/* Who believes that it enters is told under which nick it is in. */
	text = sends("hag@a.test/1", 21, "witch", MUC_X);
	has(text, "<status code='210'/>");
	has_not(text, "<status code='303'/>");
	/* Another client of the same user comes under the same nick. */
	text = sends("hag@a.test/2", 22, "hag", MUC_X);
	has(text, ROOM "/thirdwitch");
	assert_int_equal(room_find(SLICE(ROOM))->occupant_count, 2);
}

/* Others choose their nicks, but for those that are reserved. */
static void
test_not_reserved(void **state)
{
	(void)state;
	has(sends("free@a.test/1", 31, "thirdwitch", MUC_X), "<conflict");
	has_not(sends("free@a.test/1", 31, "free", MUC_X), "210");
	has(sends("free@a.test/1", 31, "freer", ""), "<status code='303'/>");
	room_find(SLICE(ROOM))->config.reserved_nicks = false;
	has_not(sends("hag@a.test/1", 32, "witch", MUC_X), "210");
	assert_non_null(occupant_find(room_find(SLICE(ROOM)), SLICE("witch")));
}

/* Who was in before keeps its nick until it enters again or wants another one. */
static void
test_later(void **state)
{
	struct room *room = room_find(SLICE(ROOM));

	(void)state;
	room->config.reserved_nicks = false;
	sends("hag@a.test/1", 41, "witch", MUC_X);
	room->config.reserved_nicks = true;
	has(sends("hag@a.test/1", 41, "witch", "<show>xa</show>"), ROOM "/witch 1: <show>xa</show>");
	has(sends("hag@a.test/1", 41, "hag", ""), "<not-acceptable");
	has(sends("hag@a.test/1", 41, "thirdwitch", ""), "<status code='303'/>");
	room->config.reserved_nicks = false;
	sends("hag@a.test/1", 41, "witch", "");
	room->config.reserved_nicks = true;
	has(sends("hag@a.test/1", 41, "witch", MUC_X), "<status code='210'/>");
	assert_non_null(occupant_find(room, SLICE("thirdwitch")));
	assert_null(occupant_find(room, SLICE("witch")));
}

/* The setting is in the row of the room. */
static void
test_kept(void **state)
{
	(void)state;
	rooms_forget();
	assert_true(room_find(SLICE(ROOM))->config.reserved_nicks);
}

/* What somebody at another server is told after a probe. */
static const char *
probes(const char *from, const char *to)
{
	ack_all();
	buf_clear(&answered);
	presence(from, 0, to, TYPE_PROBE, "");
	assert_int_equal(inbox_run(now), OK);
	assert_int_equal(buf_len(&answered), 0);
	return texts(&sent);
}

/* Who is in the room is told what it may see, others nothing. */
static void
test_probe(void **state)
{
	struct room *room = room_find(SLICE(ROOM));
	const char *text;

	(void)state;
	sends("hag@a.test/1", 51, "thirdwitch", MUC_X "<show>away</show>");
	sends("far@b.test/1", 0, "far", MUC_X);
	text = probes("far@b.test/1", ROOM "/thirdwitch");
	has(text, "presence  " ROOM "/thirdwitch 0: <show>away</show>");
	has_not(text, "jid=");
	has_not(text, "110");
	has(probes("far@b.test", ROOM "/far"), "<status code='110'/>"); /* in the name of the account */
	text = probes("far@b.test", ROOM);
	has(text, ROOM "/owner");
	has(text, ROOM "/thirdwitch");
	has(text, "<status code='110'/>");
	has(probes("far@b.test/1", ROOM "/nobody"), "presence gone " ROOM "/nobody 0: <x");
	room->config.broadcast = 1u << IN_MODERATOR;
	has(probes("far@b.test/1", ROOM "/thirdwitch"), "presence gone " ROOM "/thirdwitch 0: <x");
	room->config.broadcast |= 1u << IN_PARTICIPANT;
	assert_string_equal(probes("far@b.test/2", ROOM "/thirdwitch"), "");
	assert_string_equal(probes("stranger@b.test", ROOM), "");
	assert_string_equal(probes("stranger@b.test", ROOM "/owner"), "");
	assert_string_equal(probes("stranger@b.test", "none@" DOMAIN), "");
	assert_string_equal(probes("stranger@b.test", DOMAIN), "");
	assert_int_equal(room->client_count, 3);
}

static int
tests_run(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_reserved, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_not_reserved, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_later, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_kept, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_probe, set_up, tear_down),
	};

	open_all();
	return cmocka_run_group_tests(tests, NULL, NULL);
}

int
main(void)
{
	return engine_tests(tests_run);
}
