/*
 * test_srv.c: SRV and TLSA records: reading, ordering (RFC 2782), matching (RFC 6698).
 *
 * Links: s2sd
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>
#include <gnutls/crypto.h>
#include <gnutls/gnutls.h>

#include "error.h"
#include "srv.h"
#include "tlsa.h"

static void
test_read(void **state)
{
	static const struct {
		struct slice rdata;
		int code;
		const char *target;
	} rows[] = {
		{ { "\0\1\0\2\x14\x95\4Host\7example\0", 20 }, OK, "host.example" },
		{ { "\0\1\0\2\x14\x95\1_\0", 9 }, OK, "_" },
		{ { "\0\1\0\2\0\0\0", 7 }, OK, "" },
		{ { "\0\1\0\2\0\0\1a\0", 9 }, E_MALFORMED, NULL },      /* port 0 of a host */
		{ { "", 0 }, E_MALFORMED, NULL },
		{ { "\0\1\0\2\x14\x95", 6 }, E_MALFORMED, NULL },       /* no name */
		{ { "\0\1\0\2\x14\x95\1a", 8 }, E_MALFORMED, NULL },    /* no end */
		{ { "\0\1\0\2\x14\x95\5ab\0", 10 }, E_MALFORMED, NULL },
		{ { "\0\1\0\2\x14\x95\xc0\x0c", 8 }, E_MALFORMED, NULL }, /* compressed */
		{ { "\0\1\0\2\x14\x95\1a\0x", 10 }, E_MALFORMED, NULL },
		{ { "\0\1\0\2\x14\x95\3a.b\0", 11 }, E_MALFORMED, NULL },
		{ { "\0\1\0\2\x14\x95\3a b\0", 11 }, E_MALFORMED, NULL },
		{ { "\0\1\0\2\x14\x95\2a\xff\0", 10 }, E_MALFORMED, NULL },
		{ { "\0\1\0\2\x14\x95\2a\0\0", 10 }, E_MALFORMED, NULL },
	};
	char longest[6 + 5 * 64 + 1] = "\0\1\0\2\x14\x95";
	struct srv srv;
	size_t i;

	(void)state;
	for (i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		if (srv_read(rows[i].rdata, &srv) != rows[i].code)
			fail_msg("row %zu", i);
		if (rows[i].target != NULL)
			assert_string_equal(srv.target, rows[i].target);
	}
	assert_int_equal(srv_read(rows[0].rdata, &srv), 0);
	assert_true(srv.priority == 1 && srv.weight == 2 && srv.port == 5269);
	/* 253 characters are the longest name that there can be */
	for (i = 0; i < 5; i++) {
		longest[6 + 64 * i] = 63;
		memset(&longest[7 + 64 * i], 'a', 63);
	}
	longest[6 + 64 * 3] = 61;
	longest[6 + 64 * 3 + 62] = 0;
	assert_int_equal(srv_read(slice_of(longest, 6 + 64 * 3 + 63), &srv), 0);
	assert_int_equal(strlen(srv.target), 253);
	longest[6 + 64 * 3] = 63;
	longest[6 + 64 * 3 + 62] = 'a';
	assert_int_equal(srv_read(slice_of(longest, sizeof longest), &srv), E_MALFORMED);
}

static uint32_t
lowest(void *arg, uint32_t n)
{
	(void)arg;
	(void)n;
	return 0;
}

static uint32_t
highest(void *arg, uint32_t n)
{
	(void)arg;
	return n;
}

static uint32_t
any(void *arg, uint32_t n)
{
	(void)arg;
	return (uint32_t)random() % (n + 1);
}

static void
orders(uint32_t (*random)(void *, uint32_t), const char *expected)
{
	struct srv records[] = {
		{ .priority = 10, .weight = 5, .target = "a" }, { .priority = 5, .weight = 0, .target = "b" },
		{ .priority = 10, .weight = 0, .target = "c" }, { .priority = 10, .weight = 60, .target = "d" },
		{ .priority = 5, .weight = 65535, .target = "e" }, { .priority = 65535, .target = "f" },
	};
	char text[8] = "";
	size_t i;

	srv_order(records, 6, random, NULL);
	for (i = 0; i < 6; i++)
		text[i] = records[i].target[0];
	assert_string_equal(text, expected);
}

static void
test_order(void **state)
{
	unsigned first = 0, i;

	(void)state;
	srv_order(NULL, 0, lowest, NULL);
	orders(lowest, "becadf");
	orders(highest, "ebdacf");
	/* what weighs three times as much is first three times as often */
	for (i = 0; i < 4000; i++) {
		struct srv two[] = { { .weight = 10, .target = "a" }, { .weight = 30, .target = "b" } };

		srv_order(two, 2, any, NULL);
		first += two[0].target[0] == 'b';
	}
	assert_in_range(first, 2800, 3200);
}

static void
test_tlsa(void **state)
{
	static const struct {
		struct slice rdata;
		int code;
	} rows[] = {
		{ { "\3\1\1" "01234567890123456789012345678901", 35 }, OK },
		{ { "\2\0\0x", 4 }, OK },
		{ { "\3\1\1" "0123456789012345678901234567890", 34 }, E_MALFORMED },
		{ { "\3\1\2" "01234567890123456789012345678901", 35 }, E_MALFORMED },
		{ { "\3\1\0", 3 }, E_MALFORMED },
		{ { "", 0 }, E_MALFORMED },
		{ { "\4\1\0x", 4 }, E_UNSUPPORTED },
		{ { "\3\2\0x", 4 }, E_UNSUPPORTED },
		{ { "\3\1\3x", 4 }, E_UNSUPPORTED },
		{ { "\xff\1\0x", 4 }, E_UNSUPPORTED },
	};
	static char big[TLSA_DATA_MAX + 4] = "\3\0\0";
	struct tlsa_set set = { .count = 0 };
	size_t i;

	(void)state;
	for (i = 0; i < sizeof rows / sizeof rows[0]; i++)
		assert_int_equal(tlsa_add(&set, rows[i].rdata), rows[i].code);
	assert_int_equal(tlsa_add(&set, slice_of(big, sizeof big)), E_TOO_BIG);
	assert_int_equal(tlsa_add(&set, slice_of(big, sizeof big - 1)), OK);
	assert_int_equal(set.count, 3);
	assert_int_equal(set.unusable, 9);
	while (set.count < TLSA_MAX)
		assert_int_equal(tlsa_add(&set, rows[0].rdata), OK);
	assert_int_equal(tlsa_add(&set, rows[0].rdata), E_TOO_MANY);
	tlsa_clear(&set);
	assert_int_equal(set.count, 0);
	assert_string_equal(tlsa_usage_text(TLSA_DANE_EE), "DANE-EE");
	assert_string_equal(tlsa_usage_text(200), "unknown");
}

static void
test_matches(void **state)
{
	static const gnutls_digest_algorithm_t digests[] = { GNUTLS_DIG_UNKNOWN, GNUTLS_DIG_SHA256, GNUTLS_DIG_SHA512 };
	struct slice certificate = SLICE("certificate"), spki = SLICE("key");
	uint8_t selector, matching;

	(void)state;
	for (selector = 0; selector < 2; selector++) {
		for (matching = 0; matching < 3; matching++) {
			struct slice what = selector == TLSA_SPKI ? spki : certificate;
			struct tlsa tlsa = { TLSA_DANE_EE, selector, matching, what };
			char digest[64];

			if (matching != TLSA_FULL) {
				gnutls_hash_fast(digests[matching], what.ptr, what.len, digest);
				tlsa.data = slice_of(digest, matching == TLSA_SHA2_256 ? 32 : 64);
			}
			assert_true(tlsa_matches(&tlsa, certificate, spki));
			assert_false(tlsa_matches(&tlsa, spki, certificate));
		}
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_read),
		cmocka_unit_test(test_order),
		cmocka_unit_test(test_tlsa),
		cmocka_unit_test(test_matches),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
