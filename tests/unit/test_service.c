/*
 * test_service.c: services besides XMPP as the configuration writes them.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "error.h"
#include "service.h"

static void
test_good(void **state)
{
	static const struct { const char *text, *type, *host, *port, *transport; } rows[] = {
		{ "stun:stun.example.org", "stun", "stun.example.org", NULL, NULL },
		{ "stuns:a:5349", "stuns", "a", "5349", NULL },
		{ "turn:192.0.2.1:3478?transport=udp", "turn", "192.0.2.1", "3478", "udp" },
		{ "turns:[2001:db8::1]:1?transport=tcp", "turns", "2001:db8::1", "1", "tcp" },
		{ "turn:[::]", "turn", "::", NULL, NULL },
		{ "ftp:Host-1.example:65535", "ftp", "Host-1.example", "65535", NULL },
		{ "x:a?transport=x", "x", "a", NULL, "x" },
	};
	struct service s;
	size_t i;

	(void)state;
	for (i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		if (service_read(slice_string(rows[i].text), &s) != OK || !slice_is(s.type, rows[i].type) ||
		    !slice_is(s.host, rows[i].host) || !slice_equal(s.port, slice_string(rows[i].port)) ||
		    (s.port.ptr != NULL) != (rows[i].port != NULL) ||
		    !slice_equal(s.transport, slice_string(rows[i].transport)))
			fail_msg("%s", rows[i].text);
	}
}

static void
test_bad(void **state)
{
	static const char *const bad[] = {
		"", "stun", "stun:", ":a", "Stun:a", "1stun:a", "stun:a:", "stun:a:0", "stun:a:00080", "stun:a:65536",
		"stun:a:x", "stun:a b", "stun:a/", "stun:a@b", "stun:a?", "stun:a?transport=", "stun:a?transport=UDP",
		"stun:a?transport=udp&x", "stun:a?x=y", "stun:[::1", "stun:[]", "stun:[a]b", "stun:a:1:2",
		"stun:a'", "stun://a", "a234567890a234567890a234567890a23:a",
	};
	struct service s;
	size_t i;

	(void)state;
	for (i = 0; i < sizeof bad / sizeof bad[0]; i++) {
		if (service_read(slice_string(bad[i]), &s) != E_MALFORMED)
			fail_msg("%s", bad[i]);
	}
	assert_int_equal(service_read(SLICE_NONE, &s), E_MALFORMED);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_good),
		cmocka_unit_test(test_bad),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
