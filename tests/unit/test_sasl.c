/*
 * test_sasl.c: SASL exchanges as frames: every mechanism against a client made here, what must fail
 * and how, and how those who fail are slowed down.
 * Links: authd
 */
#include "log.h"
#include "counter.h"
#include "authd_test.h"

#include <gnutls/crypto.h>
#include <gnutls/gnutls.h>

#include "scram_client.h"

#define HANDLE_A 0x100000001ull

static uint64_t ticks;
static unsigned jobs;
static bool hold;               /* the threads are busy */
static struct sasl_job *held[200];
static size_t held_count;

static void
verify(struct sasl_job *job)
{
	if (hold) {
		assert_true(held_count < sizeof held / sizeof held[0]);
		held[held_count++] = job;
		return;
	}
	sasl_job_run(job);
	sasl_job_done(job, ticks);
	free(job);
	jobs++;
}

static int
open_all(void **unused)
{
	ticks = 1000000;
	jobs = 0;
	hold = false;
	held_count = 0;
	test_open(unused);
	return sasl_open(verify);
}

static int
close_all(void **unused)
{
	sasl_close();
	return test_close(unused);
}

/* What a login is made of. */
struct attempt {
	const char *mechanism;
	enum scram_hash hash;
	const char *user, *password, *header;
	struct slice binding;      /* what the client takes for it */
	const char *address;
	bool bound;                /* the connection has channel bindings */
};

static struct frame
frame_of(enum frame_type type, const struct attempt *a, struct slice data)
{
	struct frame f = { .type = type, .handle = HANDLE_A, .flags = FLAG_TLS };

	f.data = data;
	if (type != FRAME_AUTH_START)
		return f;
	f.name = slice_string(a->mechanism);
	f.domain = SLICE("example.org");
	f.address = slice_string(a->address != NULL ? a->address : "192.0.2.7");
	if (a->bound) {
		f.binding_exporter = SLICE("exporter-bytes");
		f.binding_unique = SLICE("unique-bytes");
		f.binding_endpoint = SLICE("endpoint-bytes");
	}
	return f;
}

/* The condition of a failure, "success", or "challenge"; *f is the frame. */
static const char *
outcome(struct frame *f)
{
	static char text[64];

	if (!test_next(f))
		return "silence";
	assert_true(f->handle == HANDLE_A);
	if (f->type == FRAME_AUTH_SUCCESS)
		return "success";
	if (f->type == FRAME_AUTH_CHALLENGE)
		return "challenge";
	assert_int_equal(f->type, FRAME_AUTH_FAILURE);
	snprintf(text, sizeof text, "%.*s", SLICE_ARG(f->condition));
	return text;
}

/* The grant of a success. */
static void
check_grant(const struct frame *f, const char *jid)
{
	uint64_t handle = HANDLE_A;
	struct buf text = { 0 };
	uint8_t token[32];

	assert_true(slice_is(f->jid, jid));
	buf_add(&text, &handle, 8);
	buf_add_string(&text, jid);
	gnutls_hmac_fast(GNUTLS_MAC_SHA256, state.grant_key, SECRET_SIZE, buf_slice(&text).ptr,
	    buf_len(&text), token);
	assert_true(slice_equal(f->token, slice_of(token, 32)));
	buf_free(&text);
}

/* Logs in with SCRAM and returns how it ended. initial: the first message comes with AUTH_START. */
static const char *
scram(const struct attempt *a, bool initial)
{
	struct scram_client client = { .hash = a->hash, .header = a->header ? a->header : "n,,",
		.binding = a->binding };
	struct buf out = { 0 };
	struct frame f;
	const char *result;

	scram_client_first(&client, a->user ? a->user : "romeo", &out);
	f = frame_of(FRAME_AUTH_START, a, initial ? buf_slice(&out) : SLICE_NONE);
	sasl_frame(&f, ticks);
	test_collect();
	result = outcome(&f);
	if (!initial && strcmp(result, "challenge") == 0) {
		assert_non_null(f.data.ptr);
		assert_int_equal(f.data.len, 0);
		f = frame_of(FRAME_AUTH_STEP, a, buf_slice(&out));
		sasl_frame(&f, ticks);
		test_collect();
		result = outcome(&f);
	}
	if (strcmp(result, "challenge") == 0) {
		buf_add_slice(&client.server_first, f.data);
		buf_clear(&out);
		scram_client_final(&client, slice_string(a->password ? a->password : "pencil"), &out);
		f = frame_of(FRAME_AUTH_STEP, a, buf_slice(&out));
		sasl_frame(&f, ticks);
		test_collect();
		result = outcome(&f);
		if (strcmp(result, "success") == 0) {
			check_grant(&f, ROMEO);
			assert_true(scram_client_verify(&client, f.data));
		}
	}
	scram_client_free(&client);
	buf_free(&out);
	return result;
}

static const char *
plain(struct slice message, const char *address, uint32_t flags)
{
	struct attempt a = { .mechanism = "PLAIN", .address = address };
	struct frame f = frame_of(FRAME_AUTH_START, &a, message);

	f.flags = flags;
	sasl_frame(&f, ticks);
	test_collect();
	return outcome(&f);
}

/* -- tests -- */

static const struct {
	const char *mechanism;
	enum scram_hash hash;
	bool plus;
} mechanisms[] = {
	{ "SCRAM-SHA-1", SCRAM_SHA1, false }, { "SCRAM-SHA-256", SCRAM_SHA256, false },
	{ "SCRAM-SHA-512", SCRAM_SHA512, false }, { "SCRAM-SHA-1-PLUS", SCRAM_SHA1, true },
	{ "SCRAM-SHA-256-PLUS", SCRAM_SHA256, true }, { "SCRAM-SHA-512-PLUS", SCRAM_SHA512, true },
};

#define MECHANISMS (sizeof mechanisms / sizeof mechanisms[0])

static void
test_mechanisms(void **unused)
{
	size_t i;

	(void)unused;
	for (i = 0; i < MECHANISMS; i++) {
		struct attempt a = { .mechanism = mechanisms[i].mechanism,
			.hash = mechanisms[i].hash, .bound = mechanisms[i].plus };

		if (mechanisms[i].plus) {
			a.header = "p=tls-exporter,,";
			a.binding = SLICE("exporter-bytes");
		}
		assert_string_equal(scram(&a, true), "success");
		assert_string_equal(scram(&a, false), "success");
		a.password = "pencils";
		assert_string_equal(scram(&a, true), "not-authorized");
		a.password = "pencil";
		a.user = "ROMEO"; /* prepared */
		assert_string_equal(scram(&a, true), "success");
		a.user = "nobody";
		assert_string_equal(scram(&a, true), "not-authorized");
		a.user = "no body";
		assert_string_equal(scram(&a, true), "not-authorized");
		ticks += 700000; /* the failures are forgotten */
	}
	assert_false(sasl_busy());
}

static void
test_bindings(void **unused)
{
	static const char *const headers[] = {
		"p=tls-exporter,,", "p=tls-unique,,", "p=tls-server-end-point,,"
	};
	static const char *const data[] = { "exporter-bytes", "unique-bytes", "endpoint-bytes" };
	size_t i, b;

	(void)unused;
	for (i = 3; i < MECHANISMS; i++) {
		struct attempt a = { .mechanism = mechanisms[i].mechanism,
			.hash = mechanisms[i].hash, .bound = true };

		for (b = 0; b < 3; b++) {
			a.header = headers[b];
			a.binding = slice_string(data[b]);
			assert_string_equal(scram(&a, true), "success");
			a.binding = SLICE("of somebody in the middle");
			if (strcmp(scram(&a, true), "success") == 0)
				fail_msg("%s takes a wrong binding", headers[b]);
		}
		a.header = "p=tls-unheard-of,,";
		assert_string_equal(scram(&a, true), "malformed-request");
		a.header = "n,,";
		assert_string_equal(scram(&a, true), "malformed-request");
		a.bound = false;
		a.header = "p=tls-exporter,,";
		assert_string_equal(scram(&a, true), "malformed-request");
		ticks += 700000; /* the failures are forgotten */
	}
}

static void
test_downgrade(void **unused)
{
	size_t i;

	(void)unused;
	for (i = 0; i < 3; i++) {
		struct attempt a = { .mechanism = mechanisms[i].mechanism,
			.hash = mechanisms[i].hash, .header = "y,," };

		assert_string_equal(scram(&a, true), "success");
		a.bound = true; /* -PLUS is offered here */
		assert_string_equal(scram(&a, true), "malformed-request");
		a.header = "n,,";
		assert_string_equal(scram(&a, true), "success");
		a.header = "p=tls-exporter,,";
		assert_string_equal(scram(&a, true), "malformed-request");
	}
}

static void
test_authzid(void **unused)
{
	size_t i;

	(void)unused;
	for (i = 0; i < 3; i++) {
		struct attempt a = { .mechanism = mechanisms[i].mechanism,
			.hash = mechanisms[i].hash, .header = "n,a=romeo@example.org," };

		assert_string_equal(scram(&a, true), "success");
		a.header = "n,a=juliet@example.org,";
		assert_string_equal(scram(&a, true), "invalid-authzid");
		a.header = "n,a=romeo,";
		assert_string_equal(scram(&a, true), "invalid-authzid");
	}
	assert_string_equal(plain(SLICE("romeo@example.org\0romeo\0pencil"), NULL, FLAG_TLS),
	    "success");
	assert_string_equal(plain(SLICE("juliet@example.org\0romeo\0pencil"), NULL, FLAG_TLS),
	    "invalid-authzid");
}

static void
test_plain(void **unused)
{
	static const struct {
		struct slice message;
		const char *result;
	} cases[] = {
		{ { "\0romeo\0pencil", 13 }, "success" },
		{ { "\0romeo\0pencils", 14 }, "not-authorized" },
		{ { "\0nobody\0pencil", 14 }, "not-authorized" },
		{ { "\0romeo\0\xff\xfe", 9 }, "not-authorized" },
		{ { "\0romeo\0", 7 }, "malformed-request" },
		{ { "\0\0pencil", 8 }, "malformed-request" },
		{ { "romeo\0pencil", 12 }, "malformed-request" },
		{ { "\0romeo\0pencil\0x", 15 }, "malformed-request" },
		{ { "", 0 }, "malformed-request" },
	};
	size_t i;

	(void)unused;
	for (i = 0; i < sizeof cases / sizeof cases[0]; i++)
		assert_string_equal(plain(cases[i].message, NULL, FLAG_TLS), cases[i].result);
	assert_int_equal(jobs, 4); /* nobody took as long as romeo */
	assert_string_equal(plain(SLICE("\0romeo\0pencil"), NULL, 0), "encryption-required");
	assert_false(sasl_busy());
}

static void
test_wrong(void **unused)
{
	struct attempt a = { .mechanism = "SCRAM-SHA-256", .hash = SCRAM_SHA256 };
	struct frame f = frame_of(FRAME_AUTH_STEP, &a, SLICE("n,,n=romeo,r=abc"));

	(void)unused;
	sasl_frame(&f, ticks);
	test_collect();
	assert_string_equal(outcome(&f), "temporary-auth-failure");
	a.mechanism = "DIGEST-MD5";
	f = frame_of(FRAME_AUTH_START, &a, SLICE("x"));
	sasl_frame(&f, ticks);
	test_collect();
	assert_string_equal(outcome(&f), "invalid-mechanism");
	a.mechanism = "SCRAM-SHA-256";
	f = frame_of(FRAME_AUTH_START, &a, SLICE("x"));
	f.domain = SLICE("example.com");
	sasl_frame(&f, ticks);
	test_collect();
	assert_string_equal(outcome(&f), "invalid-mechanism");
	f = frame_of(FRAME_AUTH_START, &a, SLICE("rubbish"));
	sasl_frame(&f, ticks);
	test_collect();
	assert_string_equal(outcome(&f), "malformed-request");
	/* A second start takes the place of the first, an abort ends it. */
	f = frame_of(FRAME_AUTH_START, &a, SLICE("n,,n=romeo,r=abc"));
	sasl_frame(&f, ticks);
	sasl_frame(&f, ticks);
	test_collect();
	assert_string_equal(outcome(&f), "challenge");
	assert_string_equal(outcome(&f), "challenge");
	test_silent();
	f = frame_of(FRAME_AUTH_ABORT, &a, SLICE_NONE);
	sasl_frame(&f, ticks);
	sasl_frame(&f, ticks);
	test_collect();
	assert_string_equal(outcome(&f), "aborted");
	test_silent();
	assert_false(sasl_busy());
}

static void
test_rubbish_final(void **unused)
{
	static const struct slice messages[] = {
		{ "", 0 }, { "c=biws", 6 }, { "c=biws,r=x,p=y", 14 }, { "\0\0", 2 }, { ",,,,", 4 },
	};
	size_t i, m;

	(void)unused;
	for (m = 0; m < 3; m++) {
		for (i = 0; i < sizeof messages / sizeof messages[0]; i++) {
			struct attempt a = { .mechanism = mechanisms[m].mechanism };
			struct frame f = frame_of(FRAME_AUTH_START, &a, SLICE("n,,n=juliet,r=abc"));
			const char *result;

			sasl_frame(&f, ticks);
			f = frame_of(FRAME_AUTH_STEP, &a, messages[i]);
			sasl_frame(&f, ticks);
			test_collect();
			assert_string_equal(outcome(&f), "challenge");
			result = outcome(&f);
			if (strcmp(result, "malformed-request") != 0 &&
			    strcmp(result, "not-authorized") != 0)
				fail_msg("%s", result);
			ticks += 700000;
		}
	}
}

static void
test_timeout(void **unused)
{
	struct attempt a = { .mechanism = "SCRAM-SHA-256" };
	struct frame f = frame_of(FRAME_AUTH_START, &a, SLICE_NONE);

	(void)unused;
	sasl_frame(&f, ticks);
	assert_false(sasl_tick(ticks + 59999));
	assert_true(sasl_busy());
	assert_false(sasl_tick(ticks + 60000));
	assert_false(sasl_busy());
	test_collect();
	assert_string_equal(outcome(&f), "challenge");
	assert_string_equal(outcome(&f), "temporary-auth-failure");
}

static void
test_slowed(void **unused)
{
	struct attempt a = { .mechanism = "SCRAM-SHA-256", .hash = SCRAM_SHA256,
		.password = "wrong" };
	struct frame f;
	unsigned i;

	(void)unused;
	for (i = 0; i < 5; i++)
		assert_string_equal(scram(&a, true), "not-authorized");
	assert_string_equal(scram(&a, true), "silence");
	assert_true(sasl_tick(ticks + 200));
	assert_false(sasl_tick(ticks + 250));
	test_collect();
	assert_string_equal(outcome(&f), "challenge");
	sasl_forget();
	/* The right user, from elsewhere: later, but not refused. */
	assert_string_equal(plain(SLICE("\0romeo\0pencil"), "2001:db8::1", FLAG_TLS), "silence");
	sasl_tick(ticks + 10000);
	test_collect();
	assert_string_equal(outcome(&f), "success");
	/* Another account is not slowed. */
	assert_string_equal(plain(SLICE("\0juliet\0rosaline"), NULL, FLAG_TLS), "success");
	/* A response that nobody asked for ends what is delayed. */
	assert_string_equal(plain(SLICE("\0romeo\0pencil"), NULL, FLAG_TLS), "silence");
	f = frame_of(FRAME_AUTH_STEP, &a, SLICE("x"));
	sasl_frame(&f, ticks);
	test_collect();
	assert_string_equal(outcome(&f), "malformed-request");
	assert_false(sasl_tick(ticks + 20000));
	ticks += 700000;
	assert_string_equal(plain(SLICE("\0romeo\0pencil"), NULL, FLAG_TLS), "success");
}

static void
test_address_slowed(void **unused)
{
	char message[64];
	unsigned i;

	(void)unused;
	for (i = 0; i < 20; i++) {
		int len = snprintf(message, sizeof message, "%cuser%u%cpassword", 0, i, 0);

		assert_string_equal(plain(slice_of(message, (size_t)len), "2001:db8::1", FLAG_TLS),
		    "not-authorized");
	}
	/* Another address of the same network is the same, another network is not. */
	assert_string_equal(plain(SLICE("\0romeo\0pencil"), "2001:db8::9:9", FLAG_TLS), "silence");
	sasl_forget();
	assert_string_equal(plain(SLICE("\0romeo\0pencil"), "2001:db8:1::1", FLAG_TLS), "success");
}

/* Guesses side by side are slowed too; exchanges that prove nothing count for nothing. */
static void
test_side_by_side(void **unused)
{
	struct attempt a = { .mechanism = "SCRAM-SHA-256" };
	struct frame f;
	unsigned i, round;

	(void)unused;
	for (round = 0; round < 2; round++) {
		for (i = 0; i <= 20; i++) {
			f = frame_of(FRAME_AUTH_START, &a, SLICE("n,,n=romeo,r=abc"));
			f.handle = HANDLE_A + i;
			sasl_frame(&f, ticks);
			test_collect();
			assert_int_equal(test_next(&f), i < 20);
		}
		for (i = 0; i <= 20; i++) {
			f = frame_of(FRAME_AUTH_ABORT, &a, SLICE_NONE);
			f.handle = HANDLE_A + i;
			sasl_frame(&f, ticks);
		}
		assert_false(sasl_busy());
		test_collect();
		buf_free(&test_said);
	}
	assert_string_equal(plain(SLICE("\0romeo\0pencil"), NULL, FLAG_TLS), "success");
}

/* Who gives up at once cannot pile up work that goes on without him. */
static void
test_checks_bounded(void **unused)
{
	struct attempt a = { .mechanism = "PLAIN" };
	struct frame f;
	size_t i;

	(void)unused;
	hold = true;
	for (i = 0; i < 150; i++) {
		f = frame_of(FRAME_AUTH_START, &a, SLICE("\0romeo\0guess"));
		f.handle = HANDLE_A + 1 + i;
		sasl_frame(&f, ticks);
		f = frame_of(FRAME_AUTH_ABORT, &a, SLICE_NONE);
		f.handle = HANDLE_A + 1 + i;
		sasl_frame(&f, ticks);
	}
	assert_int_equal(held_count, 64);
	test_collect();
	buf_free(&test_said);
	assert_string_equal(plain(SLICE("\0romeo\0pencil"), NULL, FLAG_TLS), "silence");
	hold = false;
	assert_true(sasl_tick(ticks += 200)); /* still no room */
	while (held_count > 0) {
		sasl_job_run(held[--held_count]);
		sasl_job_done(held[held_count], ticks);
		free(held[held_count]);
	}
	assert_false(sasl_tick(ticks += 200));
	test_collect();
	assert_string_equal(outcome(&f), "success");
	assert_false(sasl_busy());
}

static void
test_false_challenge(void **unused)
{
	char first[256] = "", text[256];
	unsigned i;

	(void)unused;
	for (i = 0; i < 3; i++) {
		struct attempt a = { .mechanism = "SCRAM-SHA-512" };
		struct frame f = frame_of(FRAME_AUTH_START, &a, SLICE("n,,n=nobody,r=abc"));

		sasl_frame(&f, ticks);
		test_collect();
		assert_string_equal(outcome(&f), "challenge");
		snprintf(text, sizeof text, "%.*s", SLICE_ARG(f.data));
		if (i == 0)
			snprintf(first, sizeof first, "%s", strstr(text, ",s="));
		assert_string_equal(first, strstr(text, ",s="));
		assert_non_null(strstr(text, ",i=4096"));
		sasl_forget();
	}
}

static void
say(enum frame_type type, uint64_t handle)
{
	struct frame f = frame_of(type, &(struct attempt){ .mechanism = "SCRAM-SHA-256" }, SLICE_NONE);

	f.handle = handle;
	sasl_frame(&f, ticks);
}

/* Connections that begin and drop at once leave nothing; those that stay fill a table of fixed size, and
 * give their places back when their time is over. */
static void
test_exchanges_bounded(void **unused)
{
	uint64_t refused = counters[COUNTER_exchanges_refused], i;
	struct frame f;

	(void)unused;
	log_set_level(LOG_LEVEL_ERROR);
	for (i = 1; i <= 1000000; i++) {
		say(FRAME_AUTH_START, i);
		say(FRAME_AUTH_ABORT, i);
		out_clear();
	}
	sasl_gauges();
	assert_int_equal(counters[COUNTER_exchanges], 0);
	for (i = 1; i <= 20000; i++)
		say(FRAME_AUTH_START, i);
	out_clear();
	sasl_gauges();
	assert_int_equal(counters[COUNTER_exchanges], 20000);
	say(FRAME_AUTH_START, HANDLE_A);
	test_collect();
	assert_string_equal(outcome(&f), "temporary-auth-failure");
	assert_int_equal(counters[COUNTER_exchanges_refused], refused + 1);
	ticks += 60000;
	assert_false(sasl_tick(ticks));
	out_clear();
	sasl_gauges();
	assert_int_equal(counters[COUNTER_exchanges], 0);
	assert_string_equal(scram(&(struct attempt){ .mechanism = "SCRAM-SHA-256",
	    .hash = SCRAM_SHA256 }, true), "success");
	log_set_level(LOG_LEVEL_INFO);
}

static void
test_list(void **unused)
{
	struct buf text = { 0 };

	(void)unused;
	mechanism_list(&text);
	assert_true(slice_starts(buf_slice(&text), SLICE("example.org SCRAM-SHA-512-PLUS ")));
	assert_true(slice_has(buf_slice(&text), " PLAIN HT-SHA-256-EXPR "));
	assert_true(slice_has(buf_slice(&text), "-NONE register\nexample.net SCRAM-SHA-512-PLUS "));
	assert_true(slice_has(buf_slice(&text), "-NONE\n"));
	buf_free(&text);
	/* What is not offered is refused, though it is known. */
	free(state.mechanisms);
	state.mechanisms = mem_string("SCRAM-SHA-256-PLUS");
	assert_string_equal(plain(SLICE("\0romeo\0pencil"), NULL, FLAG_TLS), "invalid-mechanism");
	assert_string_equal(scram(&(struct attempt){ .mechanism = "SCRAM-SHA-256" }, true),
	    "invalid-mechanism");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, open_all, close_all)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_mechanisms), TEST(test_bindings), TEST(test_downgrade),
		TEST(test_authzid), TEST(test_plain), TEST(test_wrong), TEST(test_rubbish_final),
		TEST(test_timeout), TEST(test_slowed), TEST(test_address_slowed),
		TEST(test_side_by_side), TEST(test_checks_bounded), TEST(test_false_challenge),
		TEST(test_exchanges_bounded), TEST(test_list),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
