/*
 * test_once.c: the ids by which messages between servers come once.
 *
 * Links: s2sd
 */
#include "s2sd.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#define ID "00112233445566778899aabbccddeeff"
#define ELEMENT "<once xmlns='" NS_ONCE "' id='" ID "'/>"

static void
test_there_and_back(void **state)
{
	struct frame f = { .archive_id = 7, .from = SLICE("a@a.test/x"), .to = SLICE("b@b.test"),
		.payload = SLICE("<body>hi</body>") };
	struct buf first = { 0 }, again = { 0 }, other = { 0 }, scratch = { 0 };
	char token[ONCE_SIZE], same[ONCE_SIZE];
	struct slice payload;

	(void)state;
	once_add(&f, &first);
	once_add(&f, &again);
	assert_true(slice_equal(buf_slice(&first), buf_slice(&again)));
	f.archive_id = 8;
	once_add(&f, &other);
	assert_false(slice_equal(buf_slice(&first), buf_slice(&other)));
	payload = buf_slice(&first);
	assert_true(once_take(&payload, &scratch, token));
	assert_true(slice_is(payload, "<body>hi</body>"));
	payload = buf_slice(&other);
	assert_true(once_take(&payload, &scratch, same));
	assert_memory_not_equal(token, same, ONCE_SIZE);
	buf_free(&first);
	buf_free(&again);
	buf_free(&other);
	buf_free(&scratch);
}

/* All such elements go, and the first counts, if it is one. */
static void
test_what_comes(void **state)
{
	static const struct {
		const char *payload, *left;
		bool good;
	} rows[] = {
		{ "<body>x</body>", "<body>x</body>", false },
		{ "", "", false },
		{ ELEMENT, "", true },
		{ ELEMENT "<body>x</body>" ELEMENT, "<body>x</body>", true },
		{ "<once xmlns='" NS_ONCE "'/><body>x</body>", "<body>x</body>", false },
		{ "<once xmlns='" NS_ONCE "' id='short'/>", "", false },
		{ "<once xmlns='" NS_ONCE "' id='00112233445566778899AABBCCDDEEFF'/>", "", false },
		{ "<once xmlns='" NS_ONCE "' id='0011'/>" ELEMENT, "", false },
		{ "<once xmlns='urn:other' id='" ID "'/>", "<once xmlns='urn:other' id='" ID "'/>", false },
		{ "<x xmlns='a:b'>" ELEMENT "</x>", "<x xmlns='a:b'>" ELEMENT "</x>", false },
	};
	struct buf scratch = { 0 };
	char token[ONCE_SIZE];
	size_t i;

	(void)state;
	for (i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		struct slice payload = slice_string(rows[i].payload);

		assert_int_equal(once_take(&payload, &scratch, token), rows[i].good);
		assert_non_null(payload.ptr);
		assert_true(slice_is(payload, rows[i].left));
		if (rows[i].good)
			assert_memory_equal(token, "\x00\x11\x22\x33\x44\x55\x66\x77\x88\x99\xaa\xbb\xcc\xdd\xee\xff",
			    ONCE_SIZE);
	}
	buf_free(&scratch);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_there_and_back),
		cmocka_unit_test(test_what_comes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
