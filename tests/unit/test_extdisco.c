/*
 * test_extdisco.c: services besides XMPP (XEP-0215), and credentials that a TURN server would compute.
 *
 * Links: authd
 */
#include "authd_test.h"

#define SERVICES    "<services xmlns='" NS_EXTDISCO "'/>"
#define ATTRIBUTES  " username='1700086405:" ROMEO "' password='HW4kLDk4WmP/LwA5ryNYGWQ5YPM=' " \
	"expires='2023-11-15T22:13:25.000Z'/>"

static void
ask(const char *to, const char *payload)
{
	test_ask(ROMEO, to, TYPE_GET, NS_EXTDISCO, payload, false);
}

static void
test_credentials(void **unused)
{
	(void)unused;
	ask("example.org", "<credentials xmlns='" NS_EXTDISCO "'><service type='turn' "
	    "host='turn.example.org' port='80'/></credentials>");
	test_result("<credentials xmlns='" NS_EXTDISCO "'><service type='turn' host='turn.example.org' "
	    "port='80' transport='tcp' restricted='true'" ATTRIBUTES "</credentials>");
	ask("example.org", SERVICES);
	test_result("<service type='stun' host='stun.example.org'/><service type='turn'");
	ask("example.org", SERVICES);
	test_result("host='2001:db8::1' port='5349' transport='tcp' restricted='true'" ATTRIBUTES);
}

static void
test_refused(void **unused)
{
	(void)unused;
	ask("example.net", SERVICES);
	test_error("service-unavailable");
	test_ask("nobody@example.org", "example.org", TYPE_GET, NS_EXTDISCO, SERVICES, false);
	test_error("forbidden");
	test_ask(REMOTE, "example.org", TYPE_GET, NS_EXTDISCO, SERVICES, false);
	test_error("forbidden");
	test_ask(NULL, "example.org", TYPE_GET, NS_EXTDISCO, SERVICES, false);
	test_error("not-authorized");
	ask(NULL, SERVICES);
	test_error("service-unavailable");
	ask("example.org", "<credentials xmlns='" NS_EXTDISCO "'><service type='stun' "
	    "host='stun.example.org' port='3478'/></credentials>");
	test_error("item-not-found");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, test_open, test_close)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_credentials),
		TEST(test_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
