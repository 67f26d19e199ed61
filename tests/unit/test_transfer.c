/*
 * test_transfer.c: ids of messages that are brought.
 * Links: archived
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "archived.h"

#define DAY 86400000ull

/* The order of stamps is that of ids, whatever the number, and nothing leaves its 64 bits. */
static void
test_order(void **arg)
{
	static const uint64_t stamps[] = {
		1, 1000, 946684799999, 1262304000000, ID_DIRECT - DAY, ID_DIRECT - DAY + 1000, ID_DIRECT - 1000,
		ID_DIRECT, ID_DIRECT + 1, ID_DIRECT + DAY, 1800000000000, 4000000000000,
	};
	uint64_t last = 0;
	size_t i;

	(void)arg;
	for (i = 0; i < sizeof stamps / sizeof stamps[0]; i++) {
		uint64_t first = id_brought(stamps[i], 0);

		assert_true(first > last);
		last = id_brought(stamps[i], stamps[i] < ID_DIRECT ? 63 : 0xffff);
		assert_true(last > first);
	}
}

/* From 2020-01-02 on an id has the time of its stamp; what is before is below all of these. */
static void
test_times(void **arg)
{
	(void)arg;
	assert_true(id_time(id_brought(ID_DIRECT, 7)) == ID_DIRECT);
	assert_true(id_time(id_brought(1800000000123, 7)) == 1800000000123);
	assert_true(id_brought(ID_DIRECT - 1, 63) < id_floor(ID_DIRECT));
	assert_true(id_brought(1, 0) > 0);
	/* Different ones of a moment are different, also from what archived gives out itself. */
	assert_true(id_brought(ID_DIRECT, 1) != id_brought(ID_DIRECT, 2));
	assert_true(id_brought(1000000000000, 1) != id_brought(1000000000000, 2));
	assert_true(id_next(ID_DIRECT) != id_brought(ID_DIRECT, 0));
}

int
main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_order),
		cmocka_unit_test(test_times),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
