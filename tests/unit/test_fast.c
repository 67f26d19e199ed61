/*
 * test_fast.c: tokens (XEP-0484): their slots, what ends them, and exchanges with them as frames.
 * Links: authd
 */
#include "authd_test.h"
#include "counter.h"

#include <gnutls/crypto.h>
#include <gnutls/gnutls.h>

#define AGENT  "d4565fa7-4d72-4749-b3d3-740edbf87770"
#define OTHER  "d4565fa7-4d72-4749-b3d3-740edbf87771"
#define DAY    86400000ull
#define STREAM 0x100000001ull

static struct account romeo;

static void
verify(struct sasl_job *job)
{
	sasl_job_run(job);
	sasl_job_done(job, 1000);
	free(job);
}

static int
open_all(void **unused)
{
	test_open(unused);
	assert_int_equal(account_find(SLICE(ROMEO), &romeo), OK);
	return sasl_open(verify);
}

static int
close_all(void **unused)
{
	sasl_close();
	return test_close(unused);
}

/* Issues a token to a client of Romeo's. */
static void
issue(const char *agent, enum fast_mechanism mechanism, uint64_t now, char token[FAST_TOKEN])
{
	const struct fast_wish wish = { .id = romeo.id, .agent = slice_string(agent),
		.words = SLICE("a client"), .mechanism = mechanism, .now = now };
	struct buf text = { 0 };
	uint64_t expiry;

	assert_int_equal(fast_issue(&wish, &text, &expiry), OK);
	assert_int_equal(buf_len(&text), FAST_TOKEN);
	assert_int_equal(expiry, now + 30 * DAY);
	memcpy(token, buf_slice(&text).ptr, FAST_TOKEN);
	buf_free(&text);
}

static void
prove(const char token[FAST_TOKEN], const char *who, struct slice binding, uint8_t out[FAST_HASH])
{
	char text[64];
	int len = snprintf(text, sizeof text, "%s%.*s", who, (int)binding.len,
	    binding.ptr != NULL ? binding.ptr : "");

	gnutls_hmac_fast(GNUTLS_MAC_SHA256, token, FAST_TOKEN, text, (size_t)len, out);
}

static struct fast_result result;

/* Uses a token. */
static int
use_as(const char token[FAST_TOKEN], const struct fast_proof *how)
{
	struct fast_proof p = *how;
	uint8_t hash[FAST_HASH], answer[FAST_HASH];
	int error;

	prove(token, "Initiator", p.binding, hash);
	p.id = romeo.id;
	p.agent = p.agent.ptr != NULL ? p.agent : SLICE(AGENT);
	p.mechanism = p.mechanism != FAST_NO ? p.mechanism : FAST_NONE;
	p.hash = slice_of(hash, sizeof hash);
	p.now = p.now != 0 ? p.now : NOW;
	error = fast_check(&p, &result);
	if (error == OK) {
		prove(token, "Responder", p.binding, answer);
		assert_memory_equal(answer, result.answer, sizeof answer);
	}
	return error;
}

#define USE(token, ...) use_as(token, &(const struct fast_proof){ __VA_ARGS__ })

static void
test_slots(void **unused)
{
	char first[FAST_TOKEN], second[FAST_TOKEN], third[FAST_TOKEN];

	(void)unused;
	issue(AGENT, FAST_NONE, NOW, first);
	assert_int_equal(USE(first), OK);
	assert_true(result.stored && !result.due);
	assert_int_equal(USE(first), OK); /* again and again */
	assert_false(result.stored);
	issue(AGENT, FAST_NONE, NOW, second);
	assert_memory_not_equal(first, second, FAST_TOKEN);
	assert_int_equal(USE(first), OK);
	/* One that was never used gives way to the next. */
	issue(AGENT, FAST_NONE, NOW, third);
	assert_int_equal(USE(second), E_MISMATCH);
	assert_int_equal(USE(first), OK);
	assert_int_equal(USE(third), OK);
	assert_int_equal(USE(first), E_MISMATCH);
	assert_int_equal(USE(third), OK);
}

static void
test_bound(void **unused)
{
	char token[FAST_TOKEN];

	(void)unused;
	issue(AGENT, FAST_EXPORTER, NOW, token);
	assert_int_equal(USE(token), E_MISMATCH); /* of another mechanism */
	assert_int_equal(USE(token, .mechanism = FAST_UNIQUE, .binding = SLICE("x")), E_MISMATCH);
	assert_int_equal(USE(token, .mechanism = FAST_EXPORTER, .binding = SLICE("x")), OK);
	assert_int_equal(USE(token, .mechanism = FAST_EXPORTER, .binding = SLICE("x"),
	    .agent = SLICE(OTHER)), E_MISMATCH);
	assert_int_equal(USE(token, .mechanism = FAST_EXPORTER, .binding = SLICE("x"),
	    .agent = SLICE("d4565fa7-4d72-4749-b3d3-740edbf87770-more")), E_MISMATCH);
	romeo.id = 0;
	assert_int_equal(USE(token, .mechanism = FAST_EXPORTER, .binding = SLICE("x")), E_MISMATCH);
}

static void
test_time(void **unused)
{
	char token[FAST_TOKEN];

	(void)unused;
	issue(AGENT, FAST_NONE, NOW, token);
	assert_int_equal(USE(token, .now = NOW + DAY - 1), OK);
	assert_false(result.due);
	assert_int_equal(USE(token, .now = NOW + DAY), OK);
	assert_true(result.due);
	assert_int_equal(USE(token, .now = NOW + 30 * DAY), E_FORBIDDEN);
	assert_false(result.stored);
	assert_int_equal(USE(token, .now = NOW + 30 * DAY - 1), OK);
}

static void
test_count(void **unused)
{
	char token[FAST_TOKEN], next[FAST_TOKEN];

	(void)unused;
	issue(AGENT, FAST_NONE, NOW, token);
	assert_int_equal(USE(token, .count = 5), OK);
	assert_true(result.stored);
	assert_int_equal(USE(token, .count = 5), E_EXISTS);
	assert_int_equal(USE(token, .count = 4), E_EXISTS);
	assert_int_equal(USE(token, .count = 6), OK);
	assert_int_equal(USE(token), OK);
	/* Each token has its own. */
	issue(AGENT, FAST_NONE, NOW, next);
	assert_int_equal(USE(token, .count = 6), E_EXISTS);
	assert_int_equal(USE(next, .count = 1), OK);
	/* It is there after a restart. */
	assert_int_equal(store_commit(state.store), OK);
	store_close(&state.store);
	assert_int_equal(state_open(test_directory), OK);
	assert_int_equal(USE(next, .count = 1), E_EXISTS);
	assert_int_equal(USE(next, .count = 2), OK);
}

static void
test_ends(void **unused)
{
	char token[FAST_TOKEN], next[FAST_TOKEN];

	(void)unused;
	issue(AGENT, FAST_NONE, NOW, token);
	assert_int_equal(USE(token), OK);
	issue(AGENT, FAST_NONE, NOW, next);
	assert_int_equal(USE(token, .invalidate = true, .now = NOW + 2 * DAY), OK);
	assert_true(result.stored && !result.due);
	assert_int_equal(USE(token), E_MISMATCH);
	assert_int_equal(USE(next), E_MISMATCH);
	issue(AGENT, FAST_NONE, NOW, token);
	issue(OTHER, FAST_NONE, NOW, next);
	assert_int_equal(fast_revoke(romeo.id, SLICE(AGENT)), OK);
	assert_int_equal(fast_revoke(romeo.id, SLICE(AGENT)), E_NOT_FOUND);
	assert_int_equal(USE(token), E_MISMATCH);
	assert_int_equal(USE(next, .agent = SLICE(OTHER)), OK);
	assert_int_equal(account_set_password(SLICE(ROMEO), SLICE("other")), OK);
	assert_int_equal(USE(next, .agent = SLICE(OTHER)), E_MISMATCH);
	issue(AGENT, FAST_NONE, NOW, token);
	assert_int_equal(account_remove(SLICE(ROMEO), false, NOW), OK);
	assert_int_equal(USE(token), E_MISMATCH);
	assert_int_equal(store_count(state.store, TABLE_FAST), 0);
}

static void
entry_count(void *arg, const struct fast_entry *entry)
{
	size_t *count = arg;

	assert_true(slice_is(entry->words, "a client"));
	assert_int_equal(entry->expiry, entry->issued + 30 * DAY);
	assert_int_equal(entry->mechanism, FAST_NONE);
	++*count;
}

/* Who has used its token least lately gives way; what has expired goes first. */
static void
test_bounded(void **unused)
{
	static const char *const agents[] = { "a", "b", "c", "d", "e" };
	char token[5][FAST_TOKEN];
	size_t count = 0, i;

	(void)unused;
	for (i = 0; i < 3; i++)
		issue(agents[i], FAST_NONE, NOW + i, token[i]);
	assert_int_equal(USE(token[0], .agent = SLICE("a"), .now = NOW + DAY), OK);
	issue("d", FAST_NONE, NOW + DAY, token[3]);
	assert_int_equal(USE(token[1], .agent = SLICE("b")), E_MISMATCH);
	assert_int_equal(USE(token[0], .agent = SLICE("a"), .now = NOW + DAY), OK);
	assert_int_equal(USE(token[2], .agent = SLICE("c"), .now = NOW + DAY), OK);
	fast_each(romeo.id, entry_count, &count);
	assert_int_equal(count, 3);
	issue("e", FAST_NONE, NOW + 30 * DAY + 100, token[4]);
	count = 0;
	fast_each(romeo.id, entry_count, &count);
	assert_int_equal(count, 2);
}

static void
test_damaged(void **unused)
{
	char key[KEY_HASHED], token[FAST_TOKEN];
	const struct fast_wish wish = { .id = romeo.id, .agent = SLICE("") };
	struct buf text = { 0 };
	uint64_t expiry;

	(void)unused;
	log_set_level(LOG_LEVEL_ERROR);
	issue(AGENT, FAST_NONE, NOW, token);
	store_put(state.store, TABLE_FAST, state_key_hashed(romeo.id, SLICE(AGENT), key),
	    SLICE("\1rubbish"));
	assert_int_equal(USE(token), E_MISMATCH);
	issue(AGENT, FAST_NONE, NOW, token);
	assert_int_equal(USE(token), OK);
	assert_int_equal(fast_issue(&wish, &text, &expiry), E_FORBIDDEN);
	log_set_level(LOG_LEVEL_INFO);
}

/* -- exchanges -- */

static struct frame
start_frame(const char *mechanism, struct slice data)
{
	struct frame f = { .type = FRAME_AUTH_START, .handle = STREAM, .flags = FLAG_TLS };

	f.data = data;
	f.name = slice_string(mechanism);
	f.domain = SLICE("example.org");
	f.address = SLICE("192.0.2.7");
	f.binding_exporter = SLICE("exporter");
	f.binding_endpoint = SLICE("endpoint");
	f.agent = SLICE(AGENT);
	f.node = SLICE("a client");
	return f;
}

/* The condition of a failure, or "success"; *f is the frame. */
static const char *
says(const struct frame *start, struct frame *f)
{
	static char text[64];

	sasl_frame(start, 1000);
	test_collect();
	assert_true(test_next(f));
	if (f->type == FRAME_AUTH_SUCCESS)
		return "success";
	assert_int_equal(f->type, FRAME_AUTH_FAILURE);
	snprintf(text, sizeof text, "%.*s", SLICE_ARG(f->condition));
	return text;
}

static void
message(const char *user, const char token[FAST_TOKEN], struct slice binding, struct buf *out)
{
	uint8_t hash[FAST_HASH];

	buf_clear(out);
	prove(token, "Initiator", binding, hash);
	buf_add_string(out, user);
	buf_add_char(out, '\0');
	buf_add(out, hash, sizeof hash);
}

static void
test_exchange(void **unused)
{
	struct frame f = start_frame("PLAIN", SLICE("\0romeo\0pencil")), said;
	struct buf out = { 0 };
	char token[FAST_TOKEN];

	(void)unused;
	f.wanted = SLICE("HT-SHA-256-EXPR");
	assert_string_equal(says(&f, &said), "success");
	assert_int_equal(said.text.len, FAST_TOKEN);
	assert_true(said.stamp > daemon_now());
	assert_true(said.flags & FLAG_STORE);
	memcpy(token, said.text.ptr, FAST_TOKEN);
	message("romeo", token, SLICE("exporter"), &out);
	f = start_frame("HT-SHA-256-EXPR", buf_slice(&out));
	f.from = SLICE(ROMEO);
	f.stamp = 1;
	assert_string_equal(says(&f, &said), "success");
	assert_int_equal(said.data.len, FAST_HASH);
	assert_null(said.text.ptr);
	assert_true(said.flags & FLAG_STORE);
	assert_string_equal(says(&f, &said), "not-authorized"); /* the same count */
	f.stamp = 2;
	f.from = SLICE(JULIET);
	assert_string_equal(says(&f, &said), "invalid-authzid");
	f.from = SLICE_NONE;
	f.binding_exporter = SLICE_NONE;
	assert_string_equal(says(&f, &said), "malformed-request");
	f.binding_exporter = SLICE("another");
	assert_string_equal(says(&f, &said), "not-authorized");
	f.binding_exporter = SLICE("exporter");
	f.agent = SLICE_NONE;
	assert_string_equal(says(&f, &said), "malformed-request");
	f.agent = SLICE(AGENT);
	f.data = slice_part(f.data, 0, 20);
	assert_string_equal(says(&f, &said), "malformed-request");
	message("nobody", token, SLICE("exporter"), &out);
	f.data = buf_slice(&out);
	assert_string_equal(says(&f, &said), "not-authorized");
	message("romeo", token, SLICE("exporter"), &out);
	f.data = buf_slice(&out);
	f.flags |= FLAG_INVALIDATE;
	f.wanted = SLICE("HT-SHA-256-NONE");
	assert_string_equal(says(&f, &said), "success"); /* and another was asked for */
	assert_int_equal(said.text.len, FAST_TOKEN);
	f.stamp = 3;
	assert_string_equal(says(&f, &said), "not-authorized");
	buf_free(&out);
}

/* No token for what is not offered, or nobody can name. */
static void
test_not_issued(void **unused)
{
	struct frame f = start_frame("PLAIN", SLICE("\0romeo\0pencil")), said;

	(void)unused;
	f.wanted = SLICE("PLAIN");
	assert_string_equal(says(&f, &said), "success");
	assert_null(said.text.ptr);
	assert_false(said.flags & FLAG_STORE);
	f.wanted = SLICE("HT-SHA-256-NONE");
	f.agent = SLICE_NONE;
	assert_string_equal(says(&f, &said), "success");
	assert_null(said.text.ptr);
	f.agent = SLICE(AGENT);
	f.data = SLICE("\0romeo\0wrong");
	assert_string_equal(says(&f, &said), "not-authorized");
	assert_int_equal(store_count(state.store, TABLE_FAST), 0);
	state.tokens = 0;
	f.data = SLICE("\0romeo\0pencil");
	assert_string_equal(says(&f, &said), "success");
	assert_null(said.text.ptr);
	f.name = SLICE("HT-SHA-256-NONE");
	assert_string_equal(says(&f, &said), "invalid-mechanism");
}

/* Guesses are slowed like those of passwords. */
static void
test_slowed(void **unused)
{
	struct frame f, said;
	struct buf out = { 0 };
	char token[FAST_TOKEN] = { 0 };
	unsigned i;

	(void)unused;
	message("romeo", token, SLICE_NONE, &out);
	f = start_frame("HT-SHA-256-NONE", buf_slice(&out));
	for (i = 0; i < 5; i++)
		assert_string_equal(says(&f, &said), "not-authorized");
	sasl_frame(&f, 1000);
	test_collect();
	test_silent();
	assert_true(sasl_tick(1000));
	sasl_forget();
	buf_free(&out);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, open_all, close_all)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_slots), TEST(test_bound), TEST(test_time), TEST(test_count),
		TEST(test_ends), TEST(test_bounded), TEST(test_damaged), TEST(test_exchange),
		TEST(test_not_issued), TEST(test_slowed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
