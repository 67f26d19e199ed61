/*
 * test_place.c: where a session of c2sd is in what rooms say.
 *
 * Links: c2sd
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

#include "c2sd.h"

/* Each row comes after those before it. */
static void
test_place(void **state)
{
	static const struct {
		uint64_t number, id;
		uint32_t flags;
		bool taken;
	} rows[] = {
		{ 5, 0, 0, true },
		{ 5, 0, 0, false },
		{ 5, 90, 0, false },          /* stored or not, it is the same */
		{ 4, 0, 0, false },
		{ 5, 100, FLAG_SPOOL, false },
		{ 7, 10, FLAG_SPOOL, true },  /* a history */
		{ 7, 12, FLAG_SPOOL, true },
		{ 7, 12, FLAG_SPOOL, false },
		{ 7, 11, FLAG_SPOOL, false }, /* again, from its beginning */
		{ 7, 13, FLAG_SPOOL, true },
		{ 6, 99, FLAG_SPOOL, false },
		{ 8, 13, 0, true },           /* live, behind it */
		{ 7, 14, FLAG_SPOOL, false },
		{ UINT64_MAX, 0, 0, true },
	};
	struct session *s = calloc(1, sizeof *s);
	size_t i;

	(void)state;
	for (i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct frame f = { .type = FRAME_STANZA, .kind = STANZA_MESSAGE, .number = rows[i].number,
			.archive_id = rows[i].id, .flags = rows[i].flags | FLAG_ROOM };

		print_message("  row %zu\n", i);
		assert_int_equal(room_takes(s, &f), rows[i].taken);
	}
	free(s);
}

/* It is on no spool: nobody hears that it was delivered, and no level moves. */
static void
test_no_spool(void **state)
{
	struct frame f = { .type = FRAME_STANZA, .kind = STANZA_MESSAGE, .archive_id = 9, .flags = FLAG_ROOM };

	(void)state;
	assert_true(feed_id(&f) == 0);
	f.flags |= FLAG_SPOOL;
	assert_true(feed_id(&f) == 0);
	f.flags = 0;
	assert_true(feed_id(&f) == 9);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_place),
		cmocka_unit_test(test_no_spool),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
