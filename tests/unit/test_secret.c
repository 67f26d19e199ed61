/*
 * test_secret.c: what authd makes of its secrets for s2sd: handshakes of components (XEP-0114) and keys of
 * dialback (XEP-0185, with the values of its example).
 *
 * Links: authd
 */
#include "authd_test.h"

static void
configure(const char *text)
{
	struct config *config;

	assert_int_equal(config_read(slice_string(text), &config), OK);
	assert_int_equal(secret_configure(config), OK);
	config_free(&config);
}

static void
expect_use(const char *domain, const char *name, struct slice data, const char *expected)
{
	struct buf result = { 0 };

	assert_int_equal(secret_use(slice_string(domain), slice_string(name), data, &result), OK);
	assert_true(slice_is(buf_slice(&result), expected));
	buf_free(&result);
}

static void
expect_none(const char *domain, const char *name, int error)
{
	struct buf result = { 0 };

	assert_int_equal(secret_use(slice_string(domain), slice_string(name), SLICE("3BF96D32"), &result),
	    error);
	assert_int_equal(buf_len(&result), 0);
	buf_free(&result);
}

static void
test_handshake(void **unused)
{
	(void)unused;
	expect_none("plays.example.org", "component", E_NOT_FOUND);
	configure("component\tplays.example.org\tsecret\ts3cr3t\ncomponent\tmute.example.org\tsecret\t\n"
	    "component\tother.example.org\tsecret\tabc\n");
	/* sha1("3BF96D32s3cr3t"), sha1("abc") */
	expect_use("plays.example.org", "component", SLICE("3BF96D32"),
	    "ba33290100f616a33656a931798d6c9011cfa840");
	expect_use("other.example.org", "component", SLICE(""), "a9993e364706816aba3e25717850c26c9cd0d89d");
	expect_none("mute.example.org", "component", E_NOT_FOUND);
	expect_none("plays.example.org.", "component", E_NOT_FOUND);
	expect_none("example.org", "component", E_NOT_FOUND);
	expect_none("", "component", E_NOT_FOUND);
	expect_none(NULL, "component", E_NOT_FOUND);
	expect_none("plays.example.org", "handshake", E_UNSUPPORTED);
	expect_none("plays.example.org", "", E_UNSUPPORTED);
	expect_none("plays.example.org", NULL, E_UNSUPPORTED);
	/* of a new configuration, nothing is left of the one before */
	configure("component\tother.example.org\tsecret\ts3cr3t\n");
	expect_none("plays.example.org", "component", E_NOT_FOUND);
	expect_use("other.example.org", "component", SLICE("3BF96D32"),
	    "ba33290100f616a33656a931798d6c9011cfa840");
	secret_close();
	expect_none("other.example.org", "component", E_NOT_FOUND);
}

static void
test_dialback(void **unused)
{
	struct buf result = { 0 };
	size_t i;

	(void)unused;
	/* XEP-0185, section 4 */
	assert_int_equal(secret_dialback(SLICE("s3cr3tf0rd14lb4ck"),
	    SLICE("xmpp.example.com example.org D60000229F"), &result), OK);
	assert_true(slice_is(buf_slice(&result),
	    "37c69b1cf07a3f67c04a5ef5902fa5114f2c76fe4a2686482ba5b89323075643"));
	buf_free(&result);
	for (i = 0; i < sizeof state.dialback_key; i++)
		state.dialback_key[i] = (uint8_t)i;
	expect_use("example.org", "dialback", SLICE("xmpp.example.com example.org D60000229F"),
	    "49cb9ae4444f280f564cfd5188f5a6edbf6dc40a22af959d1f589d84bc327a21");
	/* whatever the domain is */
	expect_use("", "dialback", SLICE("xmpp.example.com example.org D60000229F"),
	    "49cb9ae4444f280f564cfd5188f5a6edbf6dc40a22af959d1f589d84bc327a21");
	expect_use("", "dialback", SLICE(""), "787d40208f9f01869f2b72665c33f5fe25a5a4feaf95babcf9b1ee14bc4ba578");
}

/* The key is made once, and the same after a restart. */
static void
test_dialback_key(void **unused)
{
	uint8_t zero[sizeof state.dialback_key] = { 0 }, first[sizeof zero];

	(void)unused;
	assert_int_equal(test_open(NULL), 0);
	memcpy(first, state.dialback_key, sizeof first);
	assert_memory_not_equal(first, zero, sizeof zero);
	memset(state.dialback_key, 0, sizeof state.dialback_key);
	state_close();
	assert_int_equal(state_open(test_directory), OK);
	assert_memory_equal(state.dialback_key, first, sizeof first);
	test_close(NULL);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_handshake),
		cmocka_unit_test(test_dialback),
		cmocka_unit_test(test_dialback_key),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
