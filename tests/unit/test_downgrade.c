/*
 * test_downgrade.c: what clients are told against downgrades (XEP-0474, XEP-0515).
 *
 * Links: authd
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "authd.h"

static void
says(enum scram_hash hash, const char *offered, uint64_t tls, const char *wanted)
{
	struct buf out = { 0 };

	downgrade_attributes(hash, slice_string(offered), tls, &out);
	assert_int_equal(buf_len(&out), strlen(wanted));
	assert_memory_equal(buf_slice(&out).ptr, wanted, strlen(wanted));
	buf_free(&out);
}

/* The example of XEP-0474; the order in which things were offered does not count. */
static void
test_example(void **unused)
{
	(void)unused;
	says(SCRAM_SHA1, "SCRAM-SHA-1 SCRAM-SHA-1-PLUS\ntls-server-end-point tls-exporter", 0,
	    ",h=G6k/rBLDqgOhRRaCuuatSDFkJ08=");
	says(SCRAM_SHA1, " SCRAM-SHA-1-PLUS  SCRAM-SHA-1 \ntls-exporter tls-server-end-point ", 0,
	    ",h=G6k/rBLDqgOhRRaCuuatSDFkJ08=");
}

static void
test_hashes(void **unused)
{
	(void)unused;
	says(SCRAM_SHA256, "SCRAM-SHA-256", 0, ",h=5IlFKz4VKe4+I01or1SYZH07/h8E/JKh4/0iRkqB2IY=");
}

static void
test_tls(void **unused)
{
	(void)unused;
	says(SCRAM_SHA1, NULL, 0x0304, ",t=0304");
	says(SCRAM_SHA1, "", 0x0303, ",t=0303");
	says(SCRAM_SHA1, "", 0x10304, "");
}

/* More than there can be: nothing is said. */
static void
test_too_many(void **unused)
{
	struct buf list = { 0 };
	unsigned i;

	(void)unused;
	for (i = 0; i < 65; i++)
		buf_add_string(&list, "a ");
	buf_add_char(&list, '\0');
	says(SCRAM_SHA1, buf_slice(&list).ptr, 0, "");
	buf_free(&list);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_example),
		cmocka_unit_test(test_hashes),
		cmocka_unit_test(test_tls),
		cmocka_unit_test(test_too_many),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
