/*
 * test_room_errors.c: errors that come to rooms: which of them say that somebody is gone, and which go on to somebody.
 *
 * Links: mucd
 */
#include "room_engine.h"

#define ROOM "cave@" DOMAIN
#define FAR  "far@b.test/1"
#define MARK "<x xmlns='" NS_MUC_USER "'/>"

static int
set_up(void **state)
{
	(void)state;
	room_with(ROOM, "owner@a.test/1", 11);
	presence(FAR, 0, ROOM "/far", TYPE_AVAILABLE, MUC_X);
	presence("visitor@b.test/1", 0, ROOM "/visitor", TYPE_AVAILABLE, MUC_X);
	assert_int_equal(inbox_run(now), OK);
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

/* An error of somebody elsewhere; what the room says of it. */
static const char *
error(enum stanza_kind kind, const char *to, const char *id, const char *type, const char *condition, const char *more)
{
	char payload[512];

	snprintf(payload, sizeof payload, "<error type='%s'><%s xmlns='" NS_STANZAS "'/></error>%s", type, condition, more);
	ack_all();
	buf_clear(&answered);
	give((struct frame){ .kind = kind, .subtype = TYPE_ERROR, .from = SLICE(FAR), .to = slice_string(to),
		.id = slice_string(id), .flags = FLAG_ERROR, .payload = slice_string(payload) });
	assert_int_equal(inbox_run(now), OK);
	assert_int_equal(buf_len(&answered), 0);
	return texts(&sent);
}

static bool
is_in(void)
{
	return client_find(room_find(SLICE(ROOM)), SLICE(FAR)) != NULL;
}

/* Those of XEP-0045 section 18.1 say that somebody is gone, and others that servers send; whatever is to wait does
 * not, since the one at the other end of a link that is down is there. */
static void
test_gone(void **state)
{
	static const char *const gone[] = { "gone", "item-not-found", "recipient-unavailable", "redirect",
		"remote-server-not-found", "remote-server-timeout", "service-unavailable", "jid-malformed" };
	static const char *const not_gone[] = { "bad-request", "forbidden", "resource-constraint", "undefined-condition" };
	static const enum stanza_kind kinds[] = { STANZA_MESSAGE, STANZA_PRESENCE };
	size_t i, k;

	(void)state;
	for (k = 0; k < 2; k++) {
		for (i = 0; i < sizeof gone / sizeof gone[0]; i++) {
			error(kinds[k], ROOM "/owner", NULL, "wait", gone[i], "");
			assert_true(is_in());
			has(error(kinds[k], ROOM "/owner", NULL, "cancel", gone[i], ""), "presence gone " ROOM "/far 1: ");
			assert_false(is_in());
			presence(FAR, 0, ROOM "/far", TYPE_AVAILABLE, MUC_X);
			assert_int_equal(inbox_run(now), OK);
		}
		for (i = 0; i < sizeof not_gone / sizeof not_gone[0]; i++) {
			assert_string_equal(error(kinds[k], ROOM, NULL, "cancel", not_gone[i], ""), "");
			assert_true(is_in());
		}
	}
}

static const char *
tick(uint64_t seconds)
{
	now += seconds * 1000;
	ack_all();
	buf_clear(&answered);
	inbox_tick();
	assert_int_equal(inbox_run(now), OK);
	return texts(&answered);
}

/* A ping that has not reached who is silent is sent again, and that one leaves when none does in time. */
static void
test_silent(void **state)
{
	(void)state;
	has(tick(61), "<ping");
	error(STANZA_IQ, ROOM, "aldis-watch", "wait", "remote-server-timeout", "");
	assert_true(is_in());
	has(tick(30), "<ping");
	assert_string_equal(tick(30), "");
	error(STANZA_IQ, ROOM, "aldis-watch", "wait", "remote-server-timeout", "");
	presence("visitor@b.test/1", 0, ROOM "/visitor", TYPE_AVAILABLE, "");
	has(tick(30), "<ping");
	assert_true(is_in());
	tick(31);
	assert_false(is_in());
	has(texts(&sent), "<status code='333'/>");
	/* One whose server says that it is away for a while has been heard of. */
	presence(FAR, 0, ROOM "/far", TYPE_AVAILABLE, MUC_X);
	has_not(tick(0), "far@b.test");
	has(tick(61), "<ping");
	error(STANZA_IQ, ROOM, "aldis-watch", "wait", "recipient-unavailable", "");
	assert_string_equal(tick(59), "");
	assert_true(is_in());
	has(tick(2), "<ping");
	error(STANZA_IQ, ROOM, "aldis-watch", "cancel", "item-not-found", "");
	assert_false(is_in());
}

/* An error for a private message goes to who has sent that: its condition, and nothing else. */
static void
test_private(void **state)
{
	const char *text;
	struct room *room = room_find(SLICE(ROOM));

	(void)state;
	room->config.private_messages = WHOM_NOBODY;
	text = error(STANZA_MESSAGE, ROOM "/owner", "pm1", "modify", "not-acceptable", MARK "<body>not his</body>"
	    "<text xmlns='" NS_STANZAS "'>hidden</text>");
	assert_string_equal(text, "message error " ROOM "/far 1: <error type='modify'><not-acceptable xmlns='" NS_STANZAS
	    "'/></error>" MARK "\n");
	text = error(STANZA_MESSAGE, ROOM "/owner", "pm2", "cancel", "no-such-thing", MARK);
	has(text, "<undefined-condition");
	/* Of a message to all, most likely: nobody is told. */
	assert_string_equal(error(STANZA_MESSAGE, ROOM "/owner", "m1", "modify", "not-acceptable", ""), "");
	assert_string_equal(error(STANZA_MESSAGE, ROOM "/owner", "m1", "modify", "not-acceptable", "<x xmlns='" NS_MUC_USER
	    "'><item role='none'/></x>"), "");
	assert_string_equal(error(STANZA_MESSAGE, ROOM "/nobody", "m1", "modify", "not-acceptable", MARK), "");
	assert_true(is_in());
	/* First the error, then that its sender is gone. */
	text = error(STANZA_MESSAGE, ROOM "/owner", "pm3", "cancel", "service-unavailable", MARK);
	assert_true(slice_starts(slice_string(text), SLICE("message error " ROOM "/far 1: <error type='cancel'>"
	    "<service-unavailable")));
	has(text, "presence gone " ROOM "/far");
	assert_false(is_in());
}

/* As many errors as messages. */
static void
test_limit(void **state)
{
	int i, count = 0;

	(void)state;
	for (i = 0; i < 10; i++)
		count += error(STANZA_MESSAGE, ROOM "/owner", "pm1", "modify", "not-acceptable", MARK)[0] != '\0';
	assert_int_equal(count, 6); /* message-rate is 2, and three seconds may come at once */
}

/* The servers of others need not return a message, but ours returns the mark. */
static void
test_mark(void **state)
{
	struct frame f = { .kind = STANZA_MESSAGE, .subtype = TYPE_CHAT, .from = SLICE(ROOM "/owner"), .to = SLICE(FAR),
		.payload = SLICE("<body>psst</body>" MARK) }, reply;
	struct buf scratch = { 0 };

	(void)state;
	assert_true(stanza_error_reply(&f, STANZA_ERROR_REMOTE_SERVER_TIMEOUT, SLICE_NONE, &scratch, &reply));
	assert_true(slice_is(reply.payload, "<error type='wait'><remote-server-timeout xmlns='" NS_STANZAS "'/></error>"
	    MARK));
	assert_int_equal(stanza_error_of(&reply), STANZA_ERROR_REMOTE_SERVER_TIMEOUT);
	buf_clear(&scratch);
	f.payload = SLICE("<x xmlns='" NS_MUC_USER "'><invite to='a@b.test'/></x>");
	assert_true(stanza_error_reply(&f, STANZA_ERROR_GONE, SLICE_NONE, &scratch, &reply));
	assert_true(slice_is(reply.payload, "<error type='cancel'><gone xmlns='" NS_STANZAS "'/></error>"));
	buf_free(&scratch);
}

static int
tests_run(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_gone, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_silent, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_private, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_limit, set_up, tear_down),
		cmocka_unit_test(test_mark),
	};

	open_all();
	return cmocka_run_group_tests(tests, NULL, NULL);
}

int
main(void)
{
	return engine_tests(tests_run);
}
