/*
 * test_disco.c: what the server says of itself, and the hash of it that c2sd announces.
 *
 * Links: router
 */
#include "router_world.h"

#include "ns.h"

#define FIXED NS_CAPS "<" NS_COMMANDS "<" NS_DISCO_INFO "<" NS_DISCO_ITEMS "<jabber:iq:last<" \
	"jabber:iq:version<msgoffline<" NS_CARBONS "<" NS_CARBONS_RULES "<urn:xmpp:ping<urn:xmpp:time<"

static struct link *authd, *c2sd;

static void
configure(const char *text)
{
	struct config *config;

	assert_int_equal(config_read(slice_string(text), &config), 0);
	registry_set_domains(config);
	serverinfo_configure(config);
	config_free(&config);
	disco_changed();
}

/* The verification string of this, as base64. */
static void
ver_of(const char *text, char ver[29])
{
	unsigned char hash[20];
	gnutls_datum_t binary = { hash, sizeof hash }, base64;

	assert_int_equal(gnutls_hash_fast(GNUTLS_DIG_SHA1, text, strlen(text), hash), 0);
	assert_int_equal(gnutls_base64_encode2(&binary, &base64), 0);
	assert_int_equal(base64.size, 28);
	memcpy(ver, base64.data, 29);
	gnutls_free(base64.data);
}

/* The next CAPS has this line. */
static void
expect_caps(const char *domain, const char *text)
{
	struct frame f;
	char ver[29], line[128], *lines;

	disco_flush();
	f = world_expect(c2sd, FRAME_CAPS);
	ver_of(text, ver);
	snprintf(line, sizeof line, "%s %s\n", domain, ver);
	lines = slice_dup(f.text);
	assert_non_null(strstr(lines, line));
	free(lines);
}

static int
setup(void **state)
{
	struct frame mechanisms = { .type = FRAME_MECHANISMS, .token = slice_of(world_key, 32),
		.text = SLICE("localhost PLAIN") };

	(void)state;
	configure("domain\tlocalhost\tx\ty\n");
	authd = world_start(ROLE_AUTHD, 0, 2);
	world_hello(authd, "feature vcard-temp\nfeature urn:xmpp:ping\nidentity auth generic A&B\n");
	world_say(authd, &mechanisms);
	world_ready(authd);
	c2sd = world_start(ROLE_C2SD, 0, 5);
	world_hello(c2sd, "");
	world_expect(c2sd, FRAME_WELCOME);
	world_expect(c2sd, FRAME_MECHANISMS);
	return 0;
}

/* Sorted, nothing twice, and said again only when it is something else. */
static void
test_hash(void **state)
{
	(void)state;
	expect_caps("localhost", "auth/generic//A&B<server/im//Aldis<" FIXED "vcard-temp<");
	disco_changed();
	disco_flush();
	world_silent(c2sd);
}

static void
test_contacts(void **state)
{
	(void)state;
	configure("domain\tlocalhost\tcontact-support\thttps://b/\n"
	    "domain\tlocalhost\tcontact-support\thttps://a/?x&y\n"
	    "domain\tlocalhost\tcontact-abuse\tmailto:abuse@localhost\n");
	expect_caps("localhost", "auth/generic//A&B<server/im//Aldis<" FIXED "vcard-temp<"
	    NS_SERVERINFO "<abuse-addresses<mailto:abuse@localhost<support-addresses<https://a/?x&y<"
	    "https://b/<");
}

/* What a daemon that was restarted does not serve any more is gone; while it is away nothing is. */
static void
test_registrations(void **state)
{
	struct link *archived = world_start(ROLE_ARCHIVED, 0, 3);

	(void)state;
	configure("domain\tlocalhost\tx\ty\ndomain\tother\tx\ty\n");
	world_hello(archived, "feature a\nfeature b\n");
	expect_caps("other", "auth/generic//A&B<server/im//Aldis<a<b<" FIXED "vcard-temp<");
	world_die(archived);
	disco_flush();
	world_silent(c2sd);
	archived = world_start(ROLE_ARCHIVED, 0, 4);
	world_hello(archived, "feature b\n");
	expect_caps("other", "auth/generic//A&B<server/im//Aldis<b<" FIXED "vcard-temp<");
}

/* A c2sd that comes later is told what was announced. */
static void
test_later(void **state)
{
	struct link *other = world_start(ROLE_C2SD, 1, 6);

	(void)state;
	world_hello(other, "");
	world_expect(other, FRAME_WELCOME);
	world_expect(other, FRAME_MECHANISMS);
	world_expect(other, FRAME_CAPS);
	world_silent(other);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_hash),
		cmocka_unit_test(test_contacts),
		cmocka_unit_test(test_registrations),
		cmocka_unit_test(test_later),
	};

	return cmocka_run_group_tests(tests, setup, NULL);
}
