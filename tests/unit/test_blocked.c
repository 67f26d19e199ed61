/*
 * test_blocked.c: what the router does with stanzas between those of whom one has blocked the other
 * (XEP-0191), at the moments at which only it can go wrong: while lists change, and for who is not there.
 *
 * Links: router
 */
#include "delivery_world.h"

#include "ns.h"

enum { BALCONY = 1, HOME };

#define BODY (FLAG_CONTENT | FLAG_BODY)

static void
everybody_in(void)
{
	log_in(BALCONY, "juliet@localhost", "balcony");
	log_in(HOME, "romeo@localhost", "home");
	send_presence(BALCONY, 0);
	send_presence(HOME, 0);
}

static void
say_blocks(const char *account, const char *list)
{
	struct frame f = { .type = FRAME_BLOCKS, .jid = slice_string(account),
		.text = slice_string(list) };

	world_say(authd, &f);
}

static struct frame
chat(unsigned n, const char *to)
{
	struct frame f = stanza(n, STANZA_MESSAGE, TYPE_CHAT, to);

	f.flags = BODY;
	f.payload = SLICE("<body>a</body>");
	world_say(c2sd, &f);
	return f;
}

static void
expect_error(unsigned n, const char *condition)
{
	struct frame got = world_expect(c2sd, FRAME_STANZA);

	assert_int_equal(got.subtype, TYPE_ERROR);
	assert_true(got.handle == handle_of(n));
	assert_non_null(memmem(got.payload.ptr, got.payload.len, condition, strlen(condition)));
}

/* The receiver blocks while the message is being stored: it is taken back. */
static void
blocked_while_stored(void **state)
{
	struct frame f, got;

	(void)state;
	everybody_in();
	f = chat(BALCONY, "romeo@localhost/home");
	world_expect(archived, FRAME_STANZA);
	say_blocks("romeo@localhost", "juliet@localhost\n");
	say_stored(f.seq, ++next_id);
	expect_error(BALCONY, "service-unavailable");
	got = world_expect(archived, FRAME_DROP);
	assert_true(got.archive_id == next_id && (got.flags & FLAG_BOUNCE));
	assert_true(slice_is(got.jid, "romeo@localhost"));
	world_discard(c2sd);
	/* Now it is known before: nothing is stored. */
	chat(BALCONY, "romeo@localhost");
	expect_error(BALCONY, "service-unavailable");
	world_silent(archived);
}

/* The sender blocks while its message is being stored. */
static void
blocks_while_stored(void **state)
{
	struct frame f, got;

	(void)state;
	everybody_in();
	f = chat(BALCONY, "romeo@localhost/home");
	world_expect(archived, FRAME_STANZA);
	say_blocks("juliet@localhost", "romeo@localhost/home\n");
	say_stored(f.seq, ++next_id);
	expect_error(BALCONY, "<blocked xmlns='urn:xmpp:blocking:errors'/>");
	got = world_expect(archived, FRAME_DROP);
	assert_true(got.archive_id == next_id);
}

/* It blocks no more when the turn of a message comes that was not stored because it did. */
static void
unblocks_in_between(void **state)
{
	struct frame first, got;

	(void)state;
	everybody_in();
	say_blocks("romeo@localhost", "juliet@localhost\n");
	first = chat(BALCONY, "juliet@localhost/balcony"); /* others wait behind it */
	world_expect(archived, FRAME_STANZA);
	chat(BALCONY, "romeo@localhost/home");
	world_silent(archived);
	say_blocks("romeo@localhost", "");
	say_stored(first.seq, next_id + 52);
	got = world_expect(c2sd, FRAME_STANZA);
	assert_int_equal(got.subtype, TYPE_CHAT);
	expect_error(BALCONY, "service-unavailable"); /* nobody sees what is not on disk */
}

/* Of an account without sessions the list comes with the answer whether it exists. */
static void
offline(void **state)
{
	struct frame is = { .type = FRAME_ACCOUNT_IS, .jid = SLICE("verona@localhost"),
		.flags = FLAG_EXISTS, .text = SLICE("juliet@localhost\n") };
	struct frame f, got;

	(void)state;
	everybody_in();
	f = chat(BALCONY, "verona@localhost");
	world_expect(archived, FRAME_STANZA);
	say_stored(f.seq, next_id + 60);
	world_expect(authd, FRAME_ACCOUNT_ASK);
	expect_ack(f.seq);
	world_say(authd, &is);
	expect_error(BALCONY, "service-unavailable");
	got = world_expect(archived, FRAME_DROP);
	assert_true(got.archive_id == next_id + 60 && (got.flags & FLAG_BOUNCE));
	/* Known for a while: refused before it is stored; another's message is not. */
	chat(BALCONY, "verona@localhost");
	expect_error(BALCONY, "service-unavailable");
	world_silent(archived);
	world_discard(c2sd);
	chat(HOME, "verona@localhost");
	world_expect(archived, FRAME_STANZA);
	world_silent(authd);
	/* And then asked for again. */
	world_ticks += 61000;
	f = chat(BALCONY, "verona@localhost");
	world_expect(archived, FRAME_STANZA);
}

/* A list that is too long to be kept is asked for each time. */
static void
offline_lists_are_bounded(void **state)
{
	struct buf list = { 0 };
	char jid[32];
	unsigned i;

	(void)state;
	for (i = 0; buf_len(&list) < (1u << 20); i++)
		buf_printf(&list, "%08u.example\n", i);
	for (i = 0; i < 20; i++) {
		snprintf(jid, sizeof jid, "u%u@localhost", i);
		existence_set(slice_string(jid), true, false, buf_slice(&list));
		assert_int_equal(existence_get(slice_string(jid)),
		    i < 15 ? EXISTENCE_YES : EXISTENCE_UNKNOWN);
		assert_int_equal(existence_blocks(slice_string(jid)).len, i < 15 ? buf_len(&list) : 0);
	}
	for (i = 0; i < 20; i++) { /* what is forgotten makes room */
		snprintf(jid, sizeof jid, "u%u@localhost", i);
		existence_set(slice_string(jid), true, false, SLICE_NONE);
		assert_int_equal(existence_get(slice_string(jid)), EXISTENCE_YES);
	}
	buf_free(&list);
}

/* What waits on the spool from before is not given to who has blocked its sender. */
static void
spool_waits(void **state)
{
	struct frame ask, f = { .type = FRAME_STANZA, .kind = STANZA_MESSAGE, .subtype = TYPE_CHAT,
		.from = SLICE("juliet@localhost/balcony"), .to = SLICE("romeo@localhost"),
		.archive_id = 70, .flags = FLAG_SPOOL | BODY, .number = 77,
		.payload = SLICE("<body>a</body>") };
	struct frame pause = { .type = FRAME_SESSION_PAUSE, .handle = handle_of(HOME) };
	struct frame more = { .type = FRAME_SESSION_DRAIN, .handle = handle_of(HOME),
		.archive_id = next_id };

	(void)state;
	everybody_in();
	world_say(c2sd, &pause);
	say_blocks("romeo@localhost", "juliet@localhost\n");
	world_say(c2sd, &more);
	ask = world_expect(archived, FRAME_DRAIN);
	f.handle = ask.handle;
	world_say(archived, &f);
	world_silent(c2sd);
	f.from = SLICE("nurse@localhost/x");
	f.archive_id = 71;
	world_say(archived, &f);
	ask = world_expect(c2sd, FRAME_STANZA);
	assert_true(ask.archive_id == 71);
}

/* What authd may not say. */
static void
malformed(void **state)
{
	(void)state;
	everybody_in();
	world_refused = 0;
	say_blocks("romeo@localhost", "juliet@localhost");
	say_blocks("romeo@localhost", "z@x\na@x\n");
	say_blocks("romeo@elsewhere.example", "juliet@localhost\n");
	say_blocks("@@", "");
	assert_int_equal(world_refused, 4);
	assert_false(block_is(SLICE("romeo@localhost"), SLICE("juliet@localhost")));
	/* Nobody blocks himself, whatever the list says. */
	say_blocks("romeo@localhost", "localhost\nromeo@localhost\n");
	assert_true(block_is(SLICE("romeo@localhost"), SLICE("juliet@localhost")));
	assert_false(block_is(SLICE("romeo@localhost"), SLICE("romeo@localhost/home")));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(blocked_while_stored, set_up, tear_down),
		cmocka_unit_test_setup_teardown(blocks_while_stored, set_up, tear_down),
		cmocka_unit_test_setup_teardown(unblocks_in_between, set_up, tear_down),
		cmocka_unit_test_setup_teardown(offline, set_up, tear_down),
		cmocka_unit_test_setup_teardown(offline_lists_are_bounded, set_up, tear_down),
		cmocka_unit_test_setup_teardown(spool_waits, set_up, tear_down),
		cmocka_unit_test_setup_teardown(malformed, set_up, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
