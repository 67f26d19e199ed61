/*
 * test_undeliverable.c: messages to domains elsewhere that wait too long or can never arrive: one error
 * for each sender, whatever fails meanwhile.
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
#include "jid.h"
#include "counter.h"

#define ROMEO   "romeo@montague.example"
#define CAPULET "capulet.example"
#define NURSE   "nurse@capulet.example"
#define SIZE    (8u << 20)
#define NOW     1790000000000ull
#define ORIGIN  5
#define LIMIT   100
#define PATIENCE 60000u

static char directory[64];
static uint64_t now = NOW; /* only grows, as ids do */
static struct out out;
static struct buf kept;      /* frames that the engine answered last */
static struct frame said[256];
static size_t said_count;

/* How long messages wait, in milliseconds. */
static void
set_patience(uint64_t milliseconds)
{
	struct buf text = { 0 };
	struct config *config = NULL;

	buf_printf(&text, "s2s\t\tmessage-time\t%llu\n", (unsigned long long)(milliseconds / 1000));
	assert_int_equal(config_read(buf_slice(&text), &config), OK);
	undeliverable_configure(config);
	config_free(&config);
	buf_free(&text);
}

static int
setup(void **arg)
{
	(void)arg;
	snprintf(directory, sizeof directory, "/tmp/test_undeliverable.XXXXXX");
	assert_non_null(mkdtemp(directory));
	now += 1000 * PATIENCE;
	set_patience(PATIENCE);
	return state_open(directory, SIZE, LIMIT, now);
}

static int
teardown(void **arg)
{
	char path[96];

	(void)arg;
	state_close();
	buf_free(&out.frames);
	buf_free(&out.acks);
	buf_free(&kept);
	snprintf(path, sizeof path, "%s/data.mdb", directory);
	unlink(path);
	snprintf(path, sizeof path, "%s/lock.mdb", directory);
	unlink(path);
	return rmdir(directory);
}

/* As when the process dies: what was not committed is gone. */
static void
restart(void)
{
	buf_clear(&out.frames);
	buf_clear(&out.acks);
	state_abort();
	state_close();
	assert_int_equal(state_open(directory, SIZE, LIMIT, now), OK);
}

static void
add(const struct frame *f)
{
	struct buf bytes = { 0 };

	assert_int_equal(frame_write(f, &bytes), OK);
	assert_true(batch_add(f->type, buf_slice(&bytes)));
	buf_free(&bytes);
}

/* Takes what was answered. */
static void
listen_to(void)
{
	struct slice rest, whole;

	buf_clear(&kept);
	buf_add_slice(&kept, buf_slice(&out.frames));
	buf_clear(&out.frames);
	buf_clear(&out.acks);
	rest = buf_slice(&kept);
	for (said_count = 0; frame_next(rest, &whole) == OK; said_count++) {
		assert_true(said_count < 256);
		assert_int_equal(frame_read(whole, &said[said_count]), OK);
		rest = slice_part(rest, whole.len, rest.len);
	}
	assert_int_equal(rest.len, 0);
}

static void
run(void)
{
	assert_int_equal(batch_run(now, &out), OK);
	assert_int_equal(batch_bytes(), 0);
	listen_to();
}

static struct frame
message(uint64_t seq, const char *from, const char *to, uint32_t flags)
{
	return (struct frame){ .type = FRAME_STANZA, .kind = STANZA_MESSAGE, .subtype = TYPE_CHAT,
		.flags = FLAG_STORE | FLAG_CONTENT | FLAG_BODY | flags, .origin = ORIGIN, .seq = seq,
		.handle = HANDLE(ORIGIN, 1), .from = slice_string(from), .to = slice_string(to),
		.id = SLICE("m1"), .payload = SLICE("<body>ciao</body>"), .stamp = now };
}

/* Stores a message for a domain elsewhere; returns its id, and the number of the spool. */
static uint64_t
store(uint64_t seq, const char *from, const char *to, uint32_t flags, uint64_t *spool)
{
	struct frame f = message(seq, from, to, FLAG_TO_REMOTE | flags);

	add(&f);
	run();
	assert_int_equal(said_count, 1);
	assert_int_equal(said[0].type, FRAME_STORED);
	if (spool != NULL)
		*spool = frame_at(&said[0], 2);
	return frame_at(&said[0], 1);
}

static void
give_up(uint64_t seq, uint64_t spool, uint64_t id, const char *condition, struct slice text)
{
	uint64_t pair[2] = { spool, id };
	struct frame f = { .type = FRAME_UNDELIVERABLE, .origin = ORIGIN, .seq = seq,
		.numbers = slice_of(pair, sizeof pair), .condition = slice_string(condition),
		.text = text };

	add(&f);
}

/* What waits on a spool, from its beginning. */
static void
drain(const char *jid)
{
	struct frame f = { .type = FRAME_DRAIN, .jid = slice_string(jid), .handle = HANDLE(9, 1),
		.number = 250, .stamp = UINT64_MAX };

	add(&f);
	run();
	assert_true(said_count >= 1);
	assert_int_equal(said[--said_count].type, FRAME_DRAINED);
}

/* The sender has exactly this many errors waiting, each with this condition. */
static void
expect_errors(const char *jid, size_t count, const char *condition)
{
	char element[128];
	size_t i;

	drain(jid);
	assert_int_equal(said_count, count);
	snprintf(element, sizeof element, "<%s xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/>", condition);
	for (i = 0; i < count; i++) {
		char *payload = slice_dup(said[i].payload);

		assert_int_equal(said[i].kind, STANZA_MESSAGE);
		assert_int_equal(said[i].subtype, TYPE_ERROR);
		assert_true(slice_is(said[i].from, NURSE) && slice_is(said[i].id, "m1"));
		assert_non_null(strstr(payload, element));
		free(payload);
	}
}

static void
expire(void)
{
	bool more;

	do
		assert_int_equal(batch_give_up(now, &out, &more), OK);
	while (more);
	listen_to();
}

/* -- age -- */

static void
test_expire(void **arg)
{
	(void)arg;
	store(1, ROMEO "/x", NURSE, FLAG_FROM_LOCAL, NULL);
	now += PATIENCE / 2;
	store(2, ROMEO "/x", NURSE "/y", FLAG_FROM_LOCAL, NULL);
	now += PATIENCE / 2;
	expire();
	assert_int_equal(said_count, 0);
	now += 2;
	expire();
	assert_int_equal(said_count, 1);
	assert_int_equal(said[0].type, FRAME_SPOOLED);
	assert_true(slice_equal(jid_bare_of(said[0].to), SLICE(ROMEO)));
	expect_errors(ROMEO, 1, "remote-server-timeout");
	drain(CAPULET);
	assert_int_equal(said_count, 1);
	expire();
	assert_int_equal(said_count, 0);
	/* never, when the administrator says so */
	set_patience(0);
	now += 100 * PATIENCE;
	expire();
	assert_int_equal(said_count, 0);
}

/* Messages to accounts here wait for ever. */
static void
test_expire_elsewhere_only(void **arg)
{
	struct frame f = message(1, ROMEO "/x", "juliet@montague.example", FLAG_FROM_LOCAL | FLAG_TO_LOCAL);

	(void)arg;
	add(&f);
	run();
	now += 10 * PATIENCE;
	expire();
	assert_int_equal(said_count, 0);
	assert_int_equal(spool_total(), 1);
}

/* -- subscription stanzas -- */

static struct frame
request(uint32_t origin, uint64_t seq, const char *token)
{
	return (struct frame){ .type = FRAME_STANZA, .kind = STANZA_PRESENCE, .subtype = TYPE_SUBSCRIBE,
		.flags = FLAG_STORE | FLAG_TO_REMOTE | FLAG_NO_PERMANENT, .origin = origin, .seq = seq,
		.token = slice_string(token), .from = SLICE(ROMEO), .to = SLICE(NURSE),
		.payload = SLICE("<status>please</status>"), .stamp = now };
}

/* On the spool among messages, given back to the router, in nobody's archive, and once whoever sends it. */
static void
test_subscription(void **arg)
{
	struct frame f = request(ORIGIN, 2, "0123456789abcdef");
	struct account *account;
	uint64_t first = store(1, ROMEO "/x", NURSE, FLAG_FROM_LOCAL, NULL), id;
	bool has = false;

	(void)arg;
	add(&f);
	run();
	assert_int_equal(said_count, 2);
	assert_int_equal(said[0].type, FRAME_SPOOLED);
	assert_int_equal(said[0].kind, STANZA_PRESENCE);
	assert_int_equal(said[0].subtype, TYPE_SUBSCRIBE);
	id = said[0].archive_id;
	assert_true(id > first && said[0].token.ptr == NULL && said[0].seq == 0);
	assert_int_equal(said[1].type, FRAME_STORED);
	assert_true(frame_at(&said[1], 0) == 2 && frame_at(&said[1], 1) == id);
	assert_int_equal(said[0].number, frame_at(&said[1], 2));
	assert_int_equal(index_all(), OK);
	assert_int_equal(account_find(SLICE(ROMEO), &account), OK);
	assert_int_equal(place_has(TABLE_ARCHIVE, account->id, first, &has), OK);
	assert_true(has);
	has = false;
	assert_int_equal(place_has(TABLE_ARCHIVE, account->id, id, &has), OK);
	assert_false(has);
	/* the same again, of the same process and of the next */
	add(&f);
	f = request(ORIGIN + 1, 1, "0123456789abcdef");
	add(&f);
	run();
	assert_int_equal(said_count, 2);
	assert_true(said[0].type == FRAME_STORED && frame_at(&said[0], 1) == 0);
	assert_true(said[1].type == FRAME_STORED && frame_at(&said[1], 1) == 0);
	store(3, ROMEO "/x", NURSE, FLAG_FROM_LOCAL, NULL);
	drain(CAPULET);
	assert_int_equal(said_count, 3);
	assert_int_equal(said[1].kind, STANZA_PRESENCE);
	assert_true(slice_is(said[1].payload, "<status>please</status>"));
	/* what is no subscription, or for an archive, is not taken */
	f = request(ORIGIN, 4, "0000000000000000");
	f.subtype = TYPE_AVAILABLE;
	add(&f);
	f = request(ORIGIN, 5, "0000000000000000");
	f.flags &= ~(uint32_t)FLAG_NO_PERMANENT;
	add(&f);
	f = request(ORIGIN, 6, "0000000000000000");
	f.flags |= FLAG_TO_LOCAL;
	add(&f);
	run();
	assert_int_equal(said_count, 1);
	assert_int_equal(frame_count(&said[0]), 9);
	assert_true(frame_at(&said[0], 1) == STORED_REFUSED && frame_at(&said[0], 7) == STORED_REFUSED);
}

/* One that waits too long, and one for which there is no room: an error for who is there, stored nowhere. */
static void
test_subscription_given_up(void **arg)
{
	struct frame f = request(ORIGIN, 1, "0123456789abcdef");
	uint64_t seq;

	(void)arg;
	add(&f);
	run();
	now += 2 * PATIENCE;
	expire();
	assert_int_equal(said_count, 1);
	assert_int_equal(said[0].type, FRAME_SPOOLED);
	assert_true(said[0].kind == STANZA_PRESENCE && said[0].subtype == TYPE_ERROR);
	assert_true(said[0].archive_id == 0 && slice_is(said[0].from, NURSE) && slice_is(said[0].to, ROMEO));
	assert_int_equal(spool_total(), 0);
	for (seq = 2; seq < 2 + LIMIT; seq++)
		store(seq, ROMEO "/x", NURSE, FLAG_FROM_LOCAL, NULL);
	f = request(ORIGIN, seq, "fedcba9876543210");
	add(&f);
	run();
	assert_int_equal(said_count, 2);
	assert_true(said[0].type == FRAME_SPOOLED && said[0].subtype == TYPE_ERROR);
	assert_true(said[1].type == FRAME_STORED && frame_at(&said[1], 1) == STORED_REFUSED);
}

/* More than a transaction gives up, of several domains. */
static void
test_expire_many(void **arg)
{
	char to[64], from[64];
	uint64_t seq;

	(void)arg;
	for (seq = 1; seq <= 240; seq++) {
		snprintf(to, sizeof to, "nurse@d%d.example", (int)seq % 7);
		snprintf(from, sizeof from, "user%d@montague.example/x", (int)seq % 5);
		store(seq, from, to, FLAG_FROM_LOCAL, NULL);
	}
	now += PATIENCE + 2;
	expire();
	assert_int_equal(said_count, 240);
	assert_int_equal(spool_total(), 240);
	drain("d1.example");
	assert_int_equal(said_count, 0);
	for (seq = 0; seq < 5; seq++) {
		snprintf(from, sizeof from, "user%d@montague.example", (int)seq);
		drain(from);
		assert_int_equal(said_count, 48);
	}
}

/* -- never -- */

static void
test_undeliverable(void **arg)
{
	uint64_t spool, id = store(1, ROMEO "/x", NURSE, FLAG_FROM_LOCAL, &spool);
	char *payload;

	(void)arg;
	give_up(2, spool, id, "remote-server-not-found", SLICE("no <such> domain"));
	run();
	assert_int_equal(said_count, 1);
	assert_int_equal(said[0].type, FRAME_SPOOLED);
	expect_errors(ROMEO, 1, "remote-server-not-found");
	payload = slice_dup(said[0].payload);
	assert_non_null(strstr(payload, "no &lt;such&gt; domain</text>"));
	free(payload);
	/* said again, also by who comes after: it is not there any more */
	give_up(2, spool, id, "remote-server-not-found", SLICE("again"));
	give_up(3, spool, id, "remote-server-not-found", SLICE("again"));
	give_up(4, spool, id + 1, "remote-server-not-found", SLICE("again"));
	give_up(5, 999, id, "remote-server-not-found", SLICE("again"));
	run();
	assert_int_equal(said_count, 0);
	expect_errors(ROMEO, 1, "remote-server-not-found");
	/* a condition that is none */
	id = store(6, ROMEO "/x", NURSE, FLAG_FROM_LOCAL, &spool);
	give_up(7, spool, id, "no-such-condition", SLICE_NONE);
	run();
	expect_errors(ROMEO, 2, "remote-server-not-found");
}

/* s2sd's words become part of a stanza: what is no text of XML, or very long, is left out. */
static void
test_words(void **arg)
{
	static char much[100000];
	const struct slice bad[] = { SLICE("a\x01z"), SLICE("a\xffz"), SLICE("a\0z"), SLICE("a\xed\xa0\x80"),
		SLICE("a\xc3"), slice_of(much, sizeof much) };
	uint64_t seq = 0, spool, id;
	size_t i;

	(void)arg;
	memset(much, 'x', sizeof much);
	for (i = 0; i < sizeof bad / sizeof *bad; i++) {
		id = store(++seq, ROMEO "/x", NURSE, FLAG_FROM_LOCAL, &spool);
		give_up(++seq, spool, id, "remote-server-not-found", bad[i]);
		run();
		assert_int_equal(said_count, 1);
	}
	expect_errors(ROMEO, i, "remote-server-not-found");
	for (i = 0; i < said_count; i++) {
		char *payload = slice_dup(said[i].payload);

		assert_null(strstr(payload, "<text"));
		free(payload);
	}
}

/* A message for an account here that is named like this is taken off, and nobody is told. */
static void
test_not_elsewhere(void **arg)
{
	struct frame f = message(1, ROMEO "/x", "juliet@montague.example", FLAG_FROM_LOCAL | FLAG_TO_LOCAL);

	(void)arg;
	add(&f);
	run();
	give_up(2, frame_at(&said[0], 2), frame_at(&said[0], 1), "remote-server-not-found", SLICE_NONE);
	run();
	assert_int_equal(said_count, 0);
	drain(ROMEO);
	assert_int_equal(said_count, 0);
}

/* The sender is a component: the error waits on its domain's spool. It may be given up as well, silently. */
static void
test_sender_elsewhere(void **arg)
{
	uint64_t spool, id = store(1, "bot@muse.montague.example", NURSE, 0, &spool);

	(void)arg;
	give_up(2, spool, id, "remote-server-not-found", SLICE("gone"));
	run();
	assert_int_equal(said_count, 1);
	assert_true(slice_is(said[0].to, "bot@muse.montague.example"));
	expect_errors("muse.montague.example", 1, "remote-server-not-found");
	now += PATIENCE + 2;
	expire();
	assert_int_equal(said_count, 0);
	assert_int_equal(spool_total(), 0);
	assert_int_equal(store_count(state.store, TABLE_MESSAGE), 0);
	store_abort(state.store);
}

/* -- failures -- */

/* Killed before the commit: all as before, and the next time one error. After it: no second one. */
static void
test_crash(void **arg)
{
	struct buf unused = { 0 };
	bool more;

	(void)arg;
	store(1, ROMEO "/x", NURSE, FLAG_FROM_LOCAL, NULL);
	now += PATIENCE + 2;
	/* begun, and never committed */
	assert_int_equal(undeliverable_expire(now, &unused, &more), OK);
	restart();
	drain(CAPULET);
	assert_int_equal(said_count, 1);
	drain(ROMEO);
	assert_int_equal(said_count, 0);
	expire();
	assert_int_equal(said_count, 1);
	restart();
	expire();
	assert_int_equal(said_count, 0);
	expect_errors(ROMEO, 1, "remote-server-timeout");
	drain(CAPULET);
	assert_int_equal(said_count, 0);
	buf_free(&unused);
}

/* What s2sd has said comes again when it was not acknowledged: done once. */
static void
test_crash_of_report(void **arg)
{
	uint64_t spool, id = store(1, ROMEO "/x", NURSE, FLAG_FROM_LOCAL, &spool);

	(void)arg;
	give_up(2, spool, id, "gone", SLICE_NONE);
	restart(); /* before the transaction */
	give_up(2, spool, id, "gone", SLICE_NONE);
	run();
	assert_int_equal(said_count, 1);
	restart();
	give_up(2, spool, id, "gone", SLICE_NONE);
	run();
	assert_int_equal(said_count, 0);
	expect_errors(ROMEO, 1, "gone");
}

/* Delivered at the same time as it was given up: the first one counts. */
static void
test_delivered_meanwhile(void **arg)
{
	uint64_t spool, id = store(1, ROMEO "/x", NURSE, FLAG_FROM_LOCAL, &spool), pair[2] = { spool, id };
	struct frame f = { .type = FRAME_DELIVERED, .origin = ORIGIN, .seq = 2,
		.numbers = slice_of(pair, sizeof pair) };

	(void)arg;
	add(&f);
	run();
	give_up(3, spool, id, "gone", SLICE_NONE);
	run();
	now += PATIENCE + 2;
	expire();
	expect_errors(ROMEO, 0, "gone");
}

/* The sender has no room for an error: the message is given up all the same. */
static void
test_full_spool(void **arg)
{
	struct frame f;
	uint64_t seq = 0, spool, id;

	(void)arg;
	while (seq < LIMIT) {
		f = message(++seq, "juliet@montague.example/x", ROMEO, FLAG_FROM_LOCAL | FLAG_TO_LOCAL);
		add(&f);
		run();
	}
	id = store(++seq, ROMEO "/x", NURSE, FLAG_FROM_LOCAL, &spool);
	give_up(++seq, spool, id, "gone", SLICE_NONE);
	run();
	drain(CAPULET);
	assert_int_equal(said_count, 0);
	drain(ROMEO);
	assert_int_equal(said_count, LIMIT);
}

/* A domain's spool has its bound as an account's: the message is refused. */
static void
test_full_domain(void **arg)
{
	char to[64];
	uint64_t seq = 0;
	struct frame f;

	(void)arg;
	while (seq < LIMIT) {
		seq++;
		snprintf(to, sizeof to, "u%d@" CAPULET, (int)seq);
		store(seq, ROMEO "/x", to, FLAG_FROM_LOCAL, NULL);
	}
	f = message(++seq, ROMEO "/x", NURSE, FLAG_FROM_LOCAL | FLAG_TO_REMOTE);
	add(&f);
	run();
	assert_int_equal(said[0].type, FRAME_STORED);
	assert_true(frame_at(&said[0], 1) == STORED_REFUSED);
	store(++seq, ROMEO "/x", "nurse@verona.example", FLAG_FROM_LOCAL, NULL);
}

/* -- domains -- */

static void
test_domains(void **arg)
{
	struct frame ask = { .type = FRAME_REMOTE_WAITING };
	uint64_t spool, id;

	(void)arg;
	add(&ask);
	run();
	assert_int_equal(said_count, 0);
	id = store(1, ROMEO "/x", NURSE, FLAG_FROM_LOCAL, &spool);
	store(2, ROMEO "/x", "nurse@" CAPULET "/y", FLAG_FROM_LOCAL, NULL);
	restart();
	add(&ask);
	run();
	assert_int_equal(said_count, 1);
	assert_int_equal(said[0].type, FRAME_REMOTE_WAITING);
	assert_true(slice_is(said[0].text, CAPULET "\n"));
	store(3, ROMEO "/x", "verona.example", FLAG_FROM_LOCAL, NULL);
	add(&ask);
	run();
	assert_int_equal(said_count, 1);
	assert_true(slice_is(said[0].text, CAPULET "\nverona.example\n")); /* the oldest first */
	give_up(4, spool, id, "gone", SLICE_NONE);
	give_up(5, spool, id + 1, "gone", SLICE_NONE);
	run();
	add(&ask);
	run();
	assert_true(said_count == 1 && slice_is(said[0].text, "verona.example\n"));
}

/* More domains than one frame names. */
static void
test_many_domains(void **arg)
{
	struct frame ask = { .type = FRAME_REMOTE_WAITING };
	size_t lines = 0, i, j;
	char to[160];
	int seq;

	(void)arg;
	for (seq = 1; seq <= 700; seq++) {
		snprintf(to, sizeof to, "%060d.%060d.example", seq, seq);
		store((uint64_t)seq, ROMEO "/x", to, FLAG_FROM_LOCAL, NULL);
	}
	add(&ask);
	run();
	assert_true(said_count > 1);
	for (i = 0; i < said_count; i++) {
		assert_int_equal(said[i].type, FRAME_REMOTE_WAITING);
		for (j = 0; j < said[i].text.len; j++)
			lines += said[i].text.ptr[j] == '\n';
	}
	assert_int_equal(lines, 700);
}

#define TEST(name) cmocka_unit_test_setup_teardown(test_##name, setup, teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(expire),
		TEST(expire_elsewhere_only),
		TEST(subscription),
		TEST(subscription_given_up),
		TEST(expire_many),
		TEST(undeliverable),
		TEST(words),
		TEST(not_elsewhere),
		TEST(sender_elsewhere),
		TEST(crash),
		TEST(crash_of_report),
		TEST(delivered_meanwhile),
		TEST(full_spool),
		TEST(full_domain),
		TEST(domains),
		TEST(many_domains),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
