/* test_buf.c: the byte buffer, and that a secret one leaves nothing behind. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>

#include "buf.h"

static void
test_consume(void **state)
{
	struct buf b = { 0 };
	size_t i;

	(void)state;
	for (i = 0; i < 1000; i++)
		buf_add_number(&b, i % 10);
	buf_consume(&b, 995);
	assert_true(slice_is(buf_slice(&b), "56789"));
	buf_reserve(&b, b.room - 5);
	assert_true(slice_is(buf_slice(&b), "56789"));
	buf_truncate(&b, 2);
	assert_true(slice_is(buf_slice(&b), "56"));
	buf_fit(&b);
	assert_true(slice_is(buf_slice(&b), "56") && b.room == b.end);
	buf_add_string(&b, "789");
	assert_true(slice_is(buf_slice(&b), "56789"));
	buf_clear(&b);
	assert_int_equal(buf_len(&b), 0);
	buf_fit(&b);
	assert_null(b.bytes);
	buf_free(&b);
	assert_null(b.bytes);
}

/* Whether a run of bytes is zero. */
static bool
is_wiped(const char *bytes, size_t len)
{
	while (len > 0 && bytes[len - 1] == 0)
		len--;
	return len == 0;
}

static void
test_secret(void **state)
{
	struct buf b = { .secret = true };

	(void)state;
	buf_reserve(&b, 64);
	buf_add_string(&b, "0123456789");
	buf_consume(&b, 4);
	assert_true(is_wiped(b.bytes, 4));
	assert_true(slice_is(buf_slice(&b), "456789"));
	buf_reserve(&b, b.room - 6); /* moves what is there to the front */
	assert_int_equal(b.start, 0);
	assert_true(slice_is(buf_slice(&b), "456789"));
	assert_true(is_wiped(b.bytes + 6, b.room - 6));
	buf_truncate(&b, 2);
	assert_true(slice_is(buf_slice(&b), "45"));
	assert_true(is_wiped(b.bytes + 2, b.room - 2));
	buf_reserve(&b, 100000);
	assert_true(slice_is(buf_slice(&b), "45"));
	assert_true(b.secret);
	buf_fit(&b);
	assert_true(b.room >= 100000);
	buf_clear(&b);
	assert_true(is_wiped(b.bytes, b.room));
	buf_add_string(&b, "678");
	buf_consume(&b, 3);
	assert_true(is_wiped(b.bytes, b.room));
	buf_free(&b);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_consume),
		cmocka_unit_test(test_secret),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
