/*
 * test_room_limits.c: what rooms say, answer and ask archives at once is bounded, and in order, on a store in a
 * temporary directory.
 *
 * Links: mucd
 */
#include "room_engine.h"

static size_t
count(const struct buf *frames)
{
	struct slice rest = buf_slice(frames), whole;
	size_t n;

	for (n = 0; frame_next(rest, &whole) == OK; n++)
		rest = slice_part(rest, whole.len, rest.len);
	return n;
}

/* However long the addresses of those in a room are, what is said there is one frame for all of them. */
static void
test_long_addresses(void **state)
{
	struct room *room = room_with("long@" DOMAIN, "z@a.test/1", 65);
	uint32_t most = room->domain->occupants_max;
	size_t entered = 0, i;
	char from[2100], to[64];
	struct frame f;

	(void)state;
	room->domain->occupants_max = 2200;
	for (i = 0; i < 2200; i++) {
		snprintf(from, sizeof from, "%01023zu@b.test/%01023zu", i, i);
		snprintf(to, sizeof to, "long@" DOMAIN "/%zu", i);
		presence(from, 0, to, TYPE_AVAILABLE, MUC_X);
		assert_int_equal(inbox_run(now), OK);
		ack_all();
	}
	entered = room->client_count - 1;
	assert_in_range(entered, 50, 2000);
	assert_int_equal(count(&answered), 2200 - entered);
	say("z@a.test/1", 65, "long@" DOMAIN, "<body>to all</body>");
	assert_int_equal(inbox_run(now), OK);
	assert_int_equal(frame_read(buf_slice(&sent), &f), OK);
	assert_int_equal(f.text.len, entered * (2 * 1023 + strlen("@b.test/\n")));
	ack_all();
	buf_clear(&answered);
	room->domain->occupants_max = most;
}

static int
tests_run(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_long_addresses),
	};

	open_all();
	return cmocka_run_group_tests(tests, NULL, NULL);
}

int
main(void)
{
	return engine_tests(tests_run);
}
