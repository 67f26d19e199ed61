/*
 * authd_test.h: a store in a temporary directory, two domains, and what the engines of authd said,
 * for the unit tests of authd.
 */
#ifndef ALDIS_AUTHD_TEST_H
#define ALDIS_AUTHD_TEST_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#include "authd.h"
#include "log.h"
#include "mem.h"

#define NOW     1700000000000ull
#define ROMEO   "romeo@example.org"
#define JULIET  "juliet@example.org"
#define REMOTE  "nurse@remote.example"

static const char test_config[] =
    "auth\t\tmechanisms\tSCRAM-SHA-512-PLUS SCRAM-SHA-256-PLUS SCRAM-SHA-1-PLUS SCRAM-SHA-512 "
    "SCRAM-SHA-256 SCRAM-SHA-1 PLAIN\n"
    "auth\t\titerations\t4096\n"
    "auth\t\tfailures-account\t5\n"
    "auth\t\tfailures-address\t20\n"
    "auth\t\tfailures-time\t600\n"
    "auth\t\troster-items\t50\n"
    "auth\t\tvcard-size\t2000\n"
    "auth\t\tvcard-strangers\tyes\n"
    "auth\t\tprivate-size\t2000\n"
    "auth\t\tprivate-items\t3\n"
    "auth\t\tblock-items\t5\n"
    "auth\t\tfast-mechanisms\tHT-SHA-256-EXPR HT-SHA-256-UNIQ HT-SHA-256-ENDP HT-SHA-256-NONE\n"
    "auth\t\ttokens\t3\n"
    "auth\t\ttoken-lifetime\t2592000\n"
    "auth\t\ttoken-rotation\t86400\n"
    "auth\t\tticket-time\t21600\n"
    "auth\t\tservice-time\t86400\n"
    "auth\t\treports\t3\n"
    "auth\t\tinvitations\t3\n"
    "auth\t\tinvitation-time\t3600\n"
    "domain\texample.org\tservice-secret\tbm9ydGg=\n"
    "domain\texample.org\tservices\tstun:stun.example.org\n"
    "domain\texample.org\tservices\tturn:turn.example.org:3478?transport=udp\n"
    "domain\texample.org\tservices\tturn:turn.example.org:80?transport=tcp\n"
    "domain\texample.org\tservices\tturns:[2001:db8::1]:5349?transport=tcp\n"
    "domain\texample.org\tinvite-page\t\n"
    "domain\texample.org\treport-to\tjuliet@example.org\n"
    "push\t\tservices\t3\n"
    "push\t\terrors\t2\n"
    "domain\texample.org\tregistration\tyes\n"
    "domain\texample.net\tservice-secret\t\n"
    "domain\texample.net\tinvite-page\t\n"
    "domain\texample.net\tregistration\tno\n";

static char test_directory[64];

static inline void
test_rows_clear(void)
{
	char path[128];

	snprintf(path, sizeof path, "%s/data.mdb", test_directory);
	unlink(path);
	snprintf(path, sizeof path, "%s/lock.mdb", test_directory);
	unlink(path);
	rmdir(test_directory);
}

static inline int
test_open(void **unused)
{
	struct config *config;

	(void)unused;
	snprintf(test_directory, sizeof test_directory, "/tmp/authd-test-XXXXXX");
	assert_non_null(mkdtemp(test_directory));
	assert_int_equal(config_read(slice_string(test_config), &config), OK);
	assert_int_equal(state_configure(config), OK);
	config_free(&config);
	assert_int_equal(state_open(test_directory), OK);
	assert_int_equal(account_create(SLICE(ROMEO), SLICE("pencil"), NOW), OK);
	assert_int_equal(account_create(SLICE(JULIET), SLICE("rosaline"), NOW), OK);
	assert_int_equal(store_commit(state.store), OK);
	out_clear();
	outbox_resend();
	return 0;
}

static inline int
test_close(void **unused)
{
	(void)unused;
	request_committed();
	out_clear();
	state_close();
	test_rows_clear();
	return 0;
}

/* Commits, and takes the frame at the front of what was said. */
static struct buf test_said;

static inline void
test_collect(void)
{
	struct frame f;

	assert_int_equal(store_commit(state.store), OK);
	request_committed();
	buf_clear(&test_said);
	buf_add_slice(&test_said, out_frames());
	out_clear();
	while (outbox_next(&f))
		assert_int_equal(frame_write(&f, &test_said), OK);
}

static inline bool
test_next(struct frame *f)
{
	static struct buf memory;
	struct slice whole;

	if (frame_next(buf_slice(&test_said), &whole) != OK) {
		buf_free(&test_said);
		buf_free(&memory);
		return false;
	}
	buf_clear(&memory);
	buf_add_slice(&memory, whole);
	buf_consume(&test_said, whole.len);
	assert_int_equal(frame_read(buf_slice(&memory), f), OK);
	/* Whatever is said in XML is canonical. */
	if (f->type == FRAME_STANZA)
		assert_true(f->payload.ptr != NULL && xmlin_valid(f->payload, SLICE(NS_CLIENT)));
	return true;
}

static inline void
test_silent(void)
{
	struct frame f;

	assert_false(test_next(&f));
}

static inline bool
slice_has(struct slice s, const char *text)
{
	return s.ptr != NULL && memmem(s.ptr, s.len, text, strlen(text)) != NULL;
}

/* An IQ from a session of an account. */
static inline void
test_ask(const char *from, const char *to, enum stanza_type type, const char *ns,
    const char *payload, bool repeated)
{
	struct frame f = { .type = FRAME_STANZA, .kind = STANZA_IQ, .subtype = type,
		.handle = 7 };
	struct buf full = { 0 };

	if (from != NULL)
		buf_printf(&full, "%s/x", from);
	f.from = from != NULL ? buf_slice(&full) : SLICE_NONE;
	f.to = slice_string(to);
	f.id = SLICE("id1");
	f.ns = slice_string(ns);
	f.payload = slice_string(payload);
	f.address = SLICE("192.0.2.1");
	request_handle(&f, repeated, NOW + 5000);
	test_collect();
	buf_free(&full);
}

static inline void
test_result(const char *has)
{
	struct frame f;

	assert_true(test_next(&f));
	assert_int_equal(f.type, FRAME_STANZA);
	assert_int_equal(f.subtype, TYPE_RESULT);
	assert_int_equal(f.handle, 7);
	assert_true(slice_is(f.id, "id1"));
	if (has == NULL)
		assert_int_equal(f.payload.len, 0);
	else if (!slice_has(f.payload, has))
		fail_msg("%.*s has no %s", SLICE_ARG(f.payload), has);
}

static inline void
test_error(const char *condition)
{
	struct frame f;

	assert_true(test_next(&f));
	assert_int_equal(f.subtype, TYPE_ERROR);
	if (!slice_has(f.payload, condition))
		fail_msg("%.*s is not %s", SLICE_ARG(f.payload), condition);
}

/* A subscription stanza. */
static inline void
test_presence(const char *from, const char *to, enum stanza_type type, bool repeated)
{
	struct frame f = { .type = FRAME_STANZA, .kind = STANZA_PRESENCE, .subtype = type,
		.handle = 7 };

	f.from = slice_string(from);
	f.to = slice_string(to);
	f.payload = SLICE("<status>please</status>");
	presence_handle(&f, repeated);
	test_collect();
}

/* The bits of an item. */
static inline unsigned
test_bits(const char *account, const char *contact)
{
	struct buf memory = { 0 };
	struct roster_item item;
	struct account a;

	assert_int_equal(account_find(slice_string(account), &a), OK);
	roster_get(a.id, slice_string(contact), &memory, &item);
	buf_free(&memory);
	return item.bits;
}

#endif
