/*
 * test_feed.c: where a session is in what was stored: what it takes and leaves, and what it tells a router.
 *
 * Links: c2sd
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "c2sd.h"

static const unsigned char token[32];

static struct frame
stored(uint64_t id, uint32_t flags)
{
	return (struct frame){ .type = FRAME_STANZA, .kind = STANZA_MESSAGE, .archive_id = id,
		.flags = flags };
}

static bool
takes(struct session *s, uint64_t id, uint32_t flags, bool over)
{
	struct frame f = stored(id, flags);

	return feed_takes(s, &f, over);
}

static void
say(struct session *s, uint32_t flags, uint64_t id, uint64_t number)
{
	struct frame f = { .type = FRAME_SESSION_FEED, .handle = s->handle, .flags = flags,
		.archive_id = id, .number = number };

	feed_frame(&f);
}

/* A copy has the id of its message. */
static void
test_id(void **state)
{
	struct frame f = stored(5, 0);

	(void)state;
	assert_true(feed_id(&f) == 5);
	f = (struct frame){ .flags = FLAG_CARBON, .number = 6 };
	assert_true(feed_id(&f) == 6);
	f.flags = 0;
	assert_true(feed_id(&f) == 0);
}

static void
test_pause(void **state)
{
	struct session *s = session_new(HANDLE(1, 1), SLICE("a@b/c"), token);
	struct frame ask = { .type = FRAME_SESSION_DRAIN };

	(void)state;
	feed_seen(10);
	feed_seen(9);
	assert_true(feed_level(s) == 10);
	feed_pause(s);
	feed_seen(12); /* to others */
	assert_true(takes(s, 11, 0, false)); /* on its way when it paused */
	assert_true(takes(s, 8, 0, true));   /* late: it comes once */
	assert_false(takes(s, 12, 0, true));
	assert_false(takes(s, 13, 0, false)); /* behind what was left out */
	assert_true(feed_level(s) == 11);
	feed_ask(s, &ask);
	assert_true(ask.archive_id == 11 && ask.number == 1);
	say(s, FLAG_MORE, 10, 0); /* crossed it */
	assert_false(takes(s, 14, 0, false));
	say(s, 0, 20, 0);
	assert_true(feed_level(s) == 11);
	say(s, FLAG_MORE, 11, 1);
	assert_true(takes(s, 12, FLAG_SPOOL, false));
	assert_true(takes(s, 3, FLAG_SPOOL, false)); /* off the spool */
	assert_true(feed_level(s) == 12);
	say(s, 0, 30, 0);
	assert_false(s->fed);
	assert_true(feed_level(s) == 30);
	session_free(s);
}

/* Bound before anybody knows the last id; told later. */
static void
test_unknown(void **state)
{
	struct session *s = session_new(HANDLE(1, 2), SLICE("a@b/d"), token);

	(void)state;
	feed_from(s, UINT64_MAX);
	assert_true(feed_level(s) == UINT64_MAX);
	say(s, FLAG_MORE, 40, 0);
	assert_true(feed_level(s) == 40);
	say(s, FLAG_MORE, 35, 0); /* it is fed already */
	assert_true(feed_level(s) == 40);
	feed_from(s, 41);
	assert_true(takes(s, 42, FLAG_SPOOL, false) && feed_level(s) == 42);
	session_free(s);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_id),
		cmocka_unit_test(test_pause),
		cmocka_unit_test(test_unknown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
