/*
 * test_retention.c: messages that are too old or too many leave archives, step by step, also over a restart;
 * how much archives have is known all the time.
 *
 * Links: archived
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#include "archived.h"

#define JULIET "juliet@capulet.example"
#define ROMEO  "romeo@montague.example"
#define NOW    1790000000000ull
#define ORIGIN 5
#define COUNT  1000u

static char directory[64];
static uint64_t now = NOW, seq; /* ids grow from test to test, so the time does */
static struct out out;

static void
configure(const char *text)
{
	struct config *config;

	assert_int_equal(config_read(slice_string(text), &config), OK);
	retention_configure(config);
	config_free(&config);
}

#define DOMAIN(name, time, size) \
	"domain\t" name "\tarchive-time\t" time "\ndomain\t" name "\tarchive-size\t" size "\n"

static int
setup(void **arg)
{
	(void)arg;
	snprintf(directory, sizeof directory, "/tmp/test_retention.XXXXXX");
	assert_non_null(mkdtemp(directory));
	seq = 0;
	return state_open(directory, 64u << 20, 100000, now);
}

static int
teardown(void **arg)
{
	char path[96];

	(void)arg;
	retention_close();
	state_close();
	buf_free(&out.frames);
	buf_free(&out.acks);
	snprintf(path, sizeof path, "%s/data.mdb", directory);
	unlink(path);
	snprintf(path, sizeof path, "%s/lock.mdb", directory);
	unlink(path);
	return rmdir(directory);
}

static void
reopen(void)
{
	state_close();
	assert_int_equal(state_open(directory, 64u << 20, 100000, now), OK);
}

/* Romeo writes to Juliet, a message each second; what is sent waits on the spool. */
static void
messages(unsigned count)
{
	struct frame f = { .type = FRAME_STANZA, .kind = STANZA_MESSAGE, .subtype = TYPE_CHAT,
		.flags = FLAG_STORE | FLAG_CONTENT | FLAG_FROM_LOCAL | FLAG_TO_LOCAL, .origin = ORIGIN,
		.handle = HANDLE(ORIGIN, 9), .from = SLICE(ROMEO "/r"), .to = SLICE(JULIET),
		.payload = SLICE("<a/>") };

	while (count-- != 0) {
		struct buf bytes = { 0 };

		now += 1000;
		f.seq = ++seq;
		f.stamp = now;
		assert_int_equal(frame_write(&f, &bytes), OK);
		assert_true(batch_add(f.type, buf_slice(&bytes)));
		buf_free(&bytes);
		assert_int_equal(batch_run(now, &out), OK);
		buf_clear(&out.frames);
		buf_clear(&out.acks);
	}
}

static uint64_t
rows(enum table table)
{
	uint64_t count = store_count(state.store, table);

	store_abort(state.store);
	return count;
}

/* One step; at most 200 copies go in it. */
static void
step(void)
{
	uint64_t before = rows(TABLE_ARCHIVE);

	assert_int_equal(retention_step(), OK);
	assert_int_equal(state_commit(), OK);
	assert_true(rows(TABLE_ARCHIVE) + 200 >= before);
}

static void
pass(void)
{
	retention_begin(now);
	while (retention_pending())
		step();
}

static void
has(const char *jid, uint64_t messages, uint64_t bytes, uint64_t accounts, uint64_t removed)
{
	struct account *account;
	struct usage usage;
	struct slice name;

	assert_int_equal(account_find(slice_string(jid), &account), OK);
	assert_int_equal(usage_get(account->id, &usage, &name), OK);
	assert_true(slice_is(name, jid));
	assert_int_equal(usage.messages, messages);
	assert_int_equal(usage.bytes, bytes);
	assert_int_equal(usage.accounts, accounts);
	assert_int_equal(usage.removed, removed);
	store_abort(state.store);
}

static void
test_time(void **arg)
{
	uint64_t began;

	(void)arg;
	messages(COUNT);
	configure(DOMAIN("capulet.example", "100", "0") DOMAIN("montague.example", "0", "0"));
	began = now;
	retention_begin(now);
	while (rows(TABLE_ARCHIVE) == 0)
		step();
	step();
	step();
	assert_true(retention_pending());
	/* In the middle of it all ends, and nothing is counted twice. */
	reopen();
	assert_int_equal(index_all(), OK);
	assert_int_equal(state_commit(), OK);
	pass();
	has(JULIET, 101, 404, 0, began);
	has("capulet.example", 101, 404, 1, began);
	has(ROMEO, COUNT, COUNT * 4, 0, 0);
	has("montague.example", COUNT, COUNT * 4, 1, 0);
	assert_int_equal(rows(TABLE_ARCHIVE), COUNT + 101);
	assert_int_equal(rows(TABLE_PEER), COUNT + 101);
	assert_int_equal(rows(TABLE_MESSAGE), COUNT);
	assert_int_equal(spool_total(), COUNT);
	/* When neither has them any more they are on the spool alone. */
	configure(DOMAIN("capulet.example", "100", "0") DOMAIN("montague.example", "100", "0"));
	now += 1000000;
	pass();
	assert_int_equal(rows(TABLE_ARCHIVE), 0);
	assert_int_equal(rows(TABLE_MESSAGE), COUNT);
	has(ROMEO, 0, 0, 0, now);
	has("montague.example", 0, 0, 0, now);
	assert_int_equal(spool_total(), COUNT);
}

/* The oldest go, whatever their age, and no more than must. */
static void
test_size(void **arg)
{
	struct account *juliet;

	(void)arg;
	messages(COUNT);
	configure(DOMAIN("capulet.example", "0", "402") DOMAIN("montague.example", "0", "4000"));
	pass();
	has(JULIET, 100, 400, 0, now);
	has(ROMEO, COUNT, 4000, 0, 0);
	assert_int_equal(account_find(SLICE(JULIET), &juliet), OK);
	assert_true(id_time(archive_first(juliet->id)) == now - 99000);
	store_abort(state.store);
	/* What comes is counted when it is written. */
	messages(10);
	pass();
	has(JULIET, 100, 400, 0, now);
}

/* An account that is deleted, or of which nothing is left, counts for nothing. */
static void
test_deleted(void **arg)
{
	struct frame f = { .type = FRAME_FORGET, .jid = SLICE(JULIET) };
	struct buf bytes = { 0 };

	(void)arg;
	messages(COUNT);
	assert_int_equal(index_all(), OK);
	assert_int_equal(state_commit(), OK);
	has("capulet.example", COUNT, COUNT * 4, 1, 0);
	assert_int_equal(frame_write(&f, &bytes), OK);
	assert_true(batch_add(f.type, buf_slice(&bytes)));
	buf_free(&bytes);
	assert_int_equal(batch_run(now, &out), OK);
	while (forget_pending()) {
		assert_int_equal(forget_step(), OK);
		assert_int_equal(state_commit(), OK);
	}
	has("capulet.example", 0, 0, 0, 0);
	has(ROMEO, COUNT, COUNT * 4, 0, 0);
	assert_int_equal(rows(TABLE_USAGE), 3);
}

static void
test_interval(void **arg)
{
	(void)arg;
	configure(DOMAIN("a.example", "0", "0"));
	assert_int_equal(retention_interval(), 600000);
	configure(DOMAIN("a.example", "0", "1"));
	assert_int_equal(retention_interval(), 60000);
	configure(DOMAIN("a.example", "86400", "0") DOMAIN("b.example", "100", "1"));
	assert_int_equal(retention_interval(), 10000);
	configure(DOMAIN("a.example", "1", "0"));
	assert_int_equal(retention_interval(), 1000);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_time, setup, teardown),
		cmocka_unit_test_setup_teardown(test_size, setup, teardown),
		cmocka_unit_test_setup_teardown(test_deleted, setup, teardown),
		cmocka_unit_test_setup_teardown(test_interval, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
