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

static uint64_t now = 1000;

static int
use(const char *domain, const char *name, const char *data, const char *said, struct buf *result)
{
	struct frame f = { .type = FRAME_KEY_USE, .domain = slice_string(domain), .name = slice_string(name),
		.data = slice_string(data), .text = slice_string(said) };

	return secret_use(&f, now, result);
}

static void
expect_use(const char *data, const char *expected)
{
	struct buf result = { 0 };

	assert_int_equal(use("example.org", "dialback", data, NULL, &result), OK);
	assert_true(slice_is(buf_slice(&result), expected));
	buf_free(&result);
}

/* What a component has said is right, or for this reason not; the answer has nothing of the digest. */
static void
expect_compared(const char *domain, const char *id, const char *said, int error)
{
	struct buf result = { 0 };

	assert_int_equal(use(domain, "component", id, said, &result), error);
	assert_int_equal(buf_len(&result), error == OK ? 1 : 0);
	buf_free(&result);
}

static void
expect_none(const char *domain, const char *name, int error)
{
	struct buf result = { 0 };

	assert_int_equal(use(domain, name, "3BF96D32", "x", &result), error);
	assert_int_equal(buf_len(&result), 0);
	buf_free(&result);
}

/* sha1("3BF96D32s3cr3t"), sha1("abc") */
#define RIGHT "ba33290100f616a33656a931798d6c9011cfa840"
#define ABC   "a9993e364706816aba3e25717850c26c9cd0d89d"

static void
test_handshake(void **unused)
{
	(void)unused;
	expect_none("plays.example.org", "component", E_NOT_FOUND);
	configure("component\tplays.example.org\tsecret\ts3cr3t\ncomponent\tmute.example.org\tsecret\t\n"
	    "component\tother.example.org\tsecret\tabc\n");
	expect_compared("plays.example.org", "3BF96D32", RIGHT, OK);
	expect_compared("other.example.org", "", ABC, OK);
	expect_compared("plays.example.org", "3BF96D33", RIGHT, E_MISMATCH);
	expect_compared("plays.example.org", "3BF96D32", ABC, E_MISMATCH);
	expect_compared("plays.example.org", "3BF96D32", RIGHT "0", E_MISMATCH);
	expect_compared("plays.example.org", "3BF96D32", RIGHT, OK);
	expect_compared("plays.example.org", "3BF96D32", "", E_MISMATCH);
	expect_compared("plays.example.org", "3BF96D32", NULL, E_MISMATCH);
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
	expect_compared("other.example.org", "3BF96D32", RIGHT, OK);
	secret_close();
	expect_none("other.example.org", "component", E_NOT_FOUND);
}

/* Who guesses has to wait, longer each time; another component does not, and one that is right begins anew. */
static void
test_guesses(void **unused)
{
	unsigned i;

	(void)unused;
	configure("component\ta.test\tsecret\ts3cr3t\ncomponent\tb.test\tsecret\ts3cr3t\n");
	for (i = 0; i < 5; i++)
		expect_compared("a.test", "3BF96D32", ABC, E_MISMATCH);
	expect_compared("a.test", "3BF96D32", RIGHT, E_TOO_MANY);
	expect_compared("b.test", "3BF96D32", RIGHT, OK);
	now += 249;
	expect_compared("a.test", "3BF96D32", ABC, E_TOO_MANY);
	now += 1;
	expect_compared("a.test", "3BF96D32", ABC, E_MISMATCH);
	now += 499;
	expect_compared("a.test", "3BF96D32", RIGHT, E_TOO_MANY);
	for (i = 0; i < 100; i++) {
		now += 10000;
		expect_compared("a.test", "3BF96D32", ABC, E_MISMATCH);
	}
	now += 9999;
	expect_compared("a.test", "3BF96D32", RIGHT, E_TOO_MANY);
	now += 1;
	expect_compared("a.test", "3BF96D32", RIGHT, OK);
	expect_compared("a.test", "3BF96D32", ABC, E_MISMATCH);
	expect_compared("a.test", "3BF96D32", RIGHT, OK);
	secret_close();
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
	expect_use("xmpp.example.com example.org D60000229F",
	    "49cb9ae4444f280f564cfd5188f5a6edbf6dc40a22af959d1f589d84bc327a21");
	expect_use("", "787d40208f9f01869f2b72665c33f5fe25a5a4feaf95babcf9b1ee14bc4ba578");
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
		cmocka_unit_test(test_guesses),
		cmocka_unit_test(test_dialback),
		cmocka_unit_test(test_dialback_key),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
