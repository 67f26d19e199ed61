/*
 * test_spool.c: archived's engine, from frames to what it answers, on a store in a temporary
 * directory.
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
#include "counter.h"

#define ROMEO  SLICE("romeo@montague.example")
#define JULIET SLICE("juliet@capulet.example")
#define SIZE   (8u << 20)
#define NOW    1790000000000ull
#define ORIGIN 5
#define BOTH   (FLAG_FROM_LOCAL | FLAG_TO_LOCAL)

static char directory[64];
static uint64_t now = NOW;
static struct out out;
static char said[8192]; /* what the engine answered, in words */

/* -- surroundings -- */

static void
clear_files(void)
{
	char path[96];

	snprintf(path, sizeof path, "%s/data.mdb", directory);
	unlink(path);
	snprintf(path, sizeof path, "%s/lock.mdb", directory);
	unlink(path);
}

static void
reopen(uint64_t size, uint64_t limit)
{
	state_close();
	assert_int_equal(state_open(directory, size, limit, now), OK);
}

/* The store alone is opened anew and larger: to the engine it is a disk on which there is room. */
static void
grow(void)
{
	store_close(&state.store);
	assert_int_equal(store_open(directory, state_tables, 64u << 20, &state.store), OK);
}

static int
setup(void **arg)
{
	(void)arg;
	snprintf(directory, sizeof directory, "/tmp/test_spool.XXXXXX");
	assert_non_null(mkdtemp(directory));
	now = NOW;
	return state_open(directory, SIZE, 100, now);
}

static int
teardown(void **arg)
{
	(void)arg;
	state_close();
	buf_free(&out.frames);
	buf_free(&out.acks);
	clear_files();
	return rmdir(directory);
}

static void
add(const struct frame *f)
{
	struct buf bytes = { 0 };

	assert_int_equal(frame_write(f, &bytes), OK);
	assert_true(batch_add(f->type, buf_slice(&bytes)));
	buf_free(&bytes);
}

static void
message(uint64_t seq, struct slice from, struct slice to, uint32_t flags, const char *payload)
{
	struct frame f = {
		.type = FRAME_STANZA, .kind = STANZA_MESSAGE, .subtype = TYPE_CHAT,
		.flags = FLAG_STORE | FLAG_CONTENT | flags, .origin = ORIGIN, .seq = seq,
		.handle = HANDLE(ORIGIN, 77), .from = from, .to = to,
		.payload = slice_string(payload), .stamp = NOW + seq,
	};

	add(&f);
}

static void
chat(uint64_t seq, const char *payload)
{
	message(seq, SLICE("romeo@montague.example/garden"), JULIET, BOTH, payload);
}

static void
drain(struct slice jid, uint64_t after, uint64_t number)
{
	struct frame f = { .type = FRAME_DRAIN, .jid = jid, .archive_id = after,
		.number = number, .stamp = UINT64_MAX, .handle = HANDLE(9, 1) };

	add(&f);
}

static void
delivered(uint64_t seq, uint64_t account, uint64_t id)
{
	uint64_t pair[2] = { account, id };
	struct frame f = { .type = FRAME_DELIVERED, .origin = ORIGIN, .seq = seq,
		.numbers = slice_of(pair, sizeof pair) };

	add(&f);
}

static void
drop(struct slice jid, uint64_t id, uint32_t flags)
{
	struct frame f = { .type = FRAME_DROP, .jid = jid, .archive_id = id, .flags = flags };

	add(&f);
}

static void
forget(struct slice jid)
{
	static uint64_t number = 100;
	struct frame f = { .type = FRAME_FORGET, .jid = jid, .number = ++number };

	add(&f);
}

static void
say(const char *format, ...) __attribute__((format(printf, 1, 2)));

static void
say(const char *format, ...)
{
	size_t len = strlen(said);
	va_list args;

	va_start(args, format);
	vsnprintf(said + len, sizeof said - len, format, args);
	va_end(args);
}

static uint64_t ids[64]; /* archive ids in the order in which they were given */
static size_t id_count;

/* The position of an id among those given: "#1" is the first. */
static const char *
name_of(uint64_t id)
{
	static char ring[8][24];
	static unsigned next;
	char *name = ring[next++ % 8];

	if (id == 0)
		return "0";
	if (id == STORED_REFUSED)
		return "refused";
	for (size_t i = 0; i < id_count; i++) {
		if (ids[i] == id) {
			snprintf(name, 24, "#%zu", i + 1);
			return name;
		}
	}
	assert_true(id_count < 64);
	ids[id_count++] = id;
	snprintf(name, 24, "#%zu", id_count);
	return name;
}

static void
say_frame(const struct frame *f)
{
	if (f->type == FRAME_STORED) {
		assert_int_equal(f->origin, ORIGIN);
		assert_int_equal(frame_count(f) % 3, 0);
		for (size_t i = 0; i < frame_count(f); i += 3)
			say("stored %d %s %d; ", (int)frame_at(f, i), name_of(frame_at(f, i + 1)),
			    (int)frame_at(f, i + 2));
	} else if (f->type == FRAME_STANZA) {
		assert_true(f->handle == HANDLE(9, 1) && f->origin == 0 && f->seq == 0);
		assert_int_equal(f->flags & ~(uint32_t)FLAG_FROM_ENTRY, FLAG_SPOOL);
		assert_int_equal(f->kind, STANZA_MESSAGE);
		assert_int_equal(f->subtype, TYPE_CHAT);
		say("%s %.*s %d; ", name_of(f->archive_id), SLICE_ARG(f->payload), (int)f->number);
	} else if (f->type == FRAME_FORGOTTEN) {
		say("forgotten %.*s %d; ", SLICE_ARG(f->jid), (int)f->number);
	} else {
		assert_int_equal(f->type, FRAME_DRAINED);
		assert_true(f->handle == HANDLE(9, 1));
		say("drained %s%s %d; ", name_of(f->archive_id),
		    f->flags & FLAG_MORE ? " more" : "", (int)f->number);
	}
}

/* Runs transactions until nothing waits, and says what they answered. */
static const char *
answers(void)
{
	said[0] = '\0';
	do {
		struct slice whole, rest;
		struct frame f;

		assert_int_equal(batch_run(now, &out), OK);
		rest = buf_slice(&out.frames);
		while (frame_next(rest, &whole) == OK) {
			assert_int_equal(frame_read(whole, &f), OK);
			say_frame(&f);
			rest = slice_part(rest, whole.len, rest.len);
		}
		assert_int_equal(rest.len, 0);
		for (size_t i = 0; i < buf_len(&out.acks); i += 16) {
			uint64_t pair[2];

			memcpy(pair, buf_slice(&out.acks).ptr + i, 16);
			assert_int_equal(pair[0], ORIGIN);
			say("ack %d; ", (int)pair[1]);
		}
		buf_clear(&out.frames);
		buf_clear(&out.acks);
	} while (batch_bytes() != 0);
	return said;
}

static uint64_t
rows(enum table table)
{
	uint64_t count;

	if (table == TABLE_ARCHIVE) {
		assert_int_equal(index_all(), OK);
		assert_int_equal(state_commit(), OK);
	}
	count = store_count(state.store, table);
	store_abort(state.store);
	return count;
}

static void
begin(void)
{
	id_count = 0;
}

/* -- tests -- */

static void
test_store_and_deliver(void **arg)
{
	(void)arg;
	begin();
	chat(1, "one");
	chat(2, "two");
	assert_string_equal(answers(), "stored 1 #1 2; stored 2 #2 2; ");
	assert_true(ids[0] < ids[1]);
	assert_int_equal(spool_total(), 2);
	assert_int_equal(rows(TABLE_MESSAGE), 2);
	assert_int_equal(rows(TABLE_ARCHIVE), 4);
	drain(JULIET, 0, 0);
	assert_string_equal(answers(), "#1 one 2; #2 two 2; drained #2 2; ");
	drain(JULIET, ids[0], 10);
	assert_string_equal(answers(), "#2 two 2; drained #2 2; ");
	drain(JULIET, UINT64_MAX, 10);
	assert_string_equal(answers(), "drained refused 2; ");
	drain(SLICE("nobody@capulet.example"), 0, 10);
	drain(ROMEO, 0, 10);
	assert_string_equal(answers(), "drained 0 0; drained 0 1; ");
	delivered(3, 2, ids[0]);
	assert_string_equal(answers(), "ack 3; ");
	assert_int_equal(spool_total(), 1);
	drain(JULIET, 0, 0);
	assert_string_equal(answers(), "#2 two 2; drained #2 2; ");
	delivered(4, 2, ids[1]);
	delivered(5, 2, ids[1]);
	delivered(6, 999, 999);
	assert_string_equal(answers(), "ack 4; ack 5; ack 6; ");
	assert_int_equal(spool_total(), 0);
	spool_gauges();
	assert_int_equal(counters[COUNTER_spool], 0);
	/* the archive keeps them */
	assert_int_equal(rows(TABLE_MESSAGE), 2);
	assert_int_equal(rows(TABLE_ARCHIVE), 4);
}

/* What a session asks for that has all up to a level. */
static void
feed(struct slice jid, uint64_t after, uint64_t level, uint64_t number, uint32_t flags)
{
	struct frame f = { .type = FRAME_DRAIN, .jid = jid, .archive_id = after, .stamp = level,
		.number = number, .flags = flags, .handle = HANDLE(9, 1) };

	add(&f);
}

/* Up to its level a session is fed from the spool, behind it from the archive: also with what another one
 * has taken off the spool, and with what the account has sent if it wants copies. */
static void
test_feed(void **arg)
{
	unsigned round;

	(void)arg;
	begin();
	chat(1, "one");
	chat(2, "two");
	chat(3, "three");
	message(4, SLICE("juliet@capulet.example/x"), ROMEO, BOTH, "four");
	chat(5, "five");
	answers();
	delivered(6, 2, ids[0]);
	delivered(7, 2, ids[2]);
	answers();
	/* out of memory, and out of the table */
	for (round = 0; round < 2; round++) {
		feed(JULIET, 0, ids[1], 0, 0);
		assert_string_equal(answers(), "#2 two 2; #3 three 2; #5 five 2; drained #5 2; ");
		feed(JULIET, 0, ids[1], 0, FLAG_CARBONS);
		assert_string_equal(answers(),
		    "#2 two 2; #3 three 2; #4 four 2; #5 five 2; drained #5 2; ");
		feed(JULIET, 0, ids[1], 2, FLAG_CARBONS);
		assert_string_equal(answers(), "#2 two 2; #3 three 2; drained #3 more 2; ");
		feed(JULIET, ids[2], ids[1], 1, 0);
		assert_string_equal(answers(), "drained #4 more 2; ");
		feed(JULIET, ids[3], ids[1], 1, 0);
		assert_string_equal(answers(), "#5 five 2; drained #5 2; ");
		feed(JULIET, ids[4], ids[4], 0, 0);
		feed(JULIET, 0, ids[4], 0, 0);
		assert_string_equal(answers(), "drained #5 2; #2 two 2; #5 five 2; drained #5 2; ");
		rows(TABLE_ARCHIVE);
	}
	/* What comes with it, in its order. */
	chat(8, "six");
	feed(JULIET, 0, ids[4], 0, 0);
	chat(9, "seven");
	assert_string_equal(answers(),
	    "stored 8 #6 2; #2 two 2; #5 five 2; #6 six 2; drained #6 2; stored 9 #7 2; ");
}

/* STORED comes in the order of ids, whoever the messages are from. */
static void
test_stored_in_order(void **arg)
{
	struct frame f = { .type = FRAME_STANZA, .kind = STANZA_MESSAGE, .subtype = TYPE_CHAT,
		.flags = FLAG_STORE | FLAG_CONTENT | BOTH, .from = SLICE("romeo@montague.example/x"),
		.to = JULIET, .payload = SLICE("a") }, got;
	static const uint32_t origins[] = { ORIGIN, ORIGIN, ORIGIN + 1, ORIGIN };
	struct slice whole, rest;
	uint64_t last = 0;
	size_t i, at = 0;

	(void)arg;
	begin();
	for (i = 0; i < 4; i++) {
		f.origin = origins[i];
		f.seq = i + 1;
		add(&f);
	}
	assert_int_equal(batch_run(now, &out), OK);
	for (rest = buf_slice(&out.frames); frame_next(rest, &whole) == OK;
	    rest = slice_part(rest, whole.len, rest.len)) {
		assert_int_equal(frame_read(whole, &got), OK);
		assert_int_equal(got.type, FRAME_STORED);
		for (i = 0; i + 2 < frame_count(&got); i += 3, at++) {
			assert_int_equal(got.origin, origins[at]);
			assert_int_equal(frame_at(&got, i), at + 1);
			assert_true(frame_at(&got, i + 1) > last);
			last = frame_at(&got, i + 1);
		}
	}
	assert_int_equal(at, 4);
	buf_clear(&out.frames);
	buf_clear(&out.acks);
}

static void
test_stanza_survives(void **arg)
{
	struct frame f = {
		.type = FRAME_STANZA, .kind = STANZA_MESSAGE, .subtype = TYPE_CHAT,
		.flags = FLAG_STORE | FLAG_CONTENT | FLAG_BODY | BOTH, .origin = ORIGIN, .seq = 1,
		.from = SLICE("romeo@montague.example/garden"),
		.to = SLICE("juliet@capulet.example/x"),
		.id = SLICE("m1"), .lang = SLICE("it"), .payload = SLICE("<body>ciao</body>"),
		.name = SLICE("body"), .ns = SLICE("jabber:client"), .stamp = NOW - 5,
	}, back;
	struct slice whole;

	(void)arg;
	begin();
	add(&f);
	answers();
	reopen(SIZE, 100);
	drain(JULIET, 0, 0);
	assert_int_equal(batch_run(now, &out), OK);
	assert_int_equal(frame_next(buf_slice(&out.frames), &whole), OK);
	assert_int_equal(frame_read(whole, &back), OK);
	assert_int_equal(back.flags, FLAG_CONTENT | FLAG_BODY | FLAG_SPOOL);
	assert_true(back.stamp == NOW - 5 && back.archive_id == ids[0] && back.number == 2);
	for (unsigned i = 0; i < FIELD_COUNT; i++)
		assert_true(slice_equal(back.field[i], f.field[i]));
	buf_clear(&out.frames);
}

/* Answers come in the order of what was asked. */
static void
test_order(void **arg)
{
	(void)arg;
	begin();
	chat(1, "one");
	drain(JULIET, 0, 0);
	chat(2, "two");
	chat(3, "three");
	drain(JULIET, 0, 2);
	chat(4, "four");
	assert_string_equal(answers(), "stored 1 #1 2; #1 one 2; drained #1 2; "
	    "stored 2 #2 2; stored 3 #3 2; #1 one 2; #2 two 2; drained #2 more 2; "
	    "stored 4 #4 2; ");
	/* what a router that has died asked for is nobody's */
	chat(5, "five");
	drain(JULIET, 0, 0);
	batch_router_gone();
	drain(JULIET, ids[3], 0);
	assert_string_equal(answers(), "stored 5 #5 2; #5 five 2; drained #5 2; ");
	drain(JULIET, ids[4], 0);
	assert_string_equal(answers(), "drained #5 2; ");
}

static void
test_repeated(void **arg)
{
	(void)arg;
	begin();
	chat(1, "one");
	chat(1, "one");
	chat(3, "three");
	assert_string_equal(answers(), "stored 1 #1 2; stored 1 0 0; stored 3 #2 2; ");
	delivered(4, 2, ids[0]);
	chat(2, "late");
	delivered(4, 2, ids[1]);
	assert_string_equal(answers(), "stored 2 0 0; ack 4; ack 4; ");
	reopen(SIZE, 100);
	chat(1, "one");
	chat(3, "three");
	delivered(4, 2, ids[1]);
	chat(5, "five");
	assert_string_equal(answers(), "stored 1 0 0; stored 3 0 0; stored 5 #3 2; ack 4; ");
	assert_int_equal(spool_total(), 2);
	drain(JULIET, 0, 0);
	assert_string_equal(answers(), "#2 three 2; #3 five 2; drained #3 2; ");
}

static void
test_expire(void **arg)
{
	(void)arg;
	begin();
	chat(7, "seven");
	answers();
	now += 29ull * 86400 * 1000;
	assert_int_equal(batch_expire(now), OK);
	chat(7, "seven");
	assert_string_equal(answers(), "stored 7 0 0; ");
	now += 2ull * 86400 * 1000;
	assert_int_equal(batch_expire(now), OK);
	assert_int_equal(rows(TABLE_WATERMARK), 0);
	chat(7, "seven");
	assert_string_equal(answers(), "stored 7 #2 2; ");
}

static void
test_ids(void **arg)
{
	uint64_t last, id, millisecond;

	(void)arg;
	begin();
	id = id_next(NOW);
	assert_true(id > id_next(0) - 2);
	millisecond = (NOW - 1577836800000ull) << 22;
	assert_true(id >= millisecond);
	/* many in a millisecond, and a clock that steps back */
	for (last = id_last(), id = 0; id < 200000; id++) {
		uint64_t next = id_next(id % 2 ? NOW : NOW - 1000000);

		assert_true(next > last);
		assert_int_equal(next >> 16 & 63, 0);
		last = next;
	}
	assert_true(id_next(UINT64_MAX - 1) > last);
	assert_true(id_next(0) > last);
}

/* Ids stay above those of messages that are no longer there. */
static void
test_ids_after_restart(void **arg)
{
	uint64_t saved;

	(void)arg;
	begin();
	message(1, ROMEO, JULIET, BOTH | FLAG_NO_STORE, "secret");
	answers();
	delivered(2, 2, ids[0]);
	answers();
	assert_int_equal(rows(TABLE_MESSAGE), 0);
	assert_int_equal(meta_get("last-id", 0, &saved), OK);
	assert_true(saved >= ids[0]);
}

static void
test_full_spool(void **arg)
{
	(void)arg;
	begin();
	reopen(SIZE, 2);
	for (uint64_t seq = 1; seq <= 4; seq++)
		chat(seq, "x");
	/* another account is not concerned, nor is one elsewhere */
	message(5, JULIET, ROMEO, BOTH, "y");
	message(6, JULIET, SLICE("x@far.example"), FLAG_FROM_LOCAL, "z");
	assert_string_equal(answers(), "stored 1 #1 2; stored 2 #2 2; stored 3 refused 0; "
	    "stored 4 refused 0; stored 5 #3 1; stored 6 #4 0; ");
	assert_int_equal(rows(TABLE_MESSAGE), 4);
	chat(3, "x");
	chat(2, "x");
	assert_string_equal(answers(), "stored 3 refused 0; stored 2 0 0; ");
	delivered(7, 2, ids[0]);
	chat(8, "x");
	chat(9, "x");
	assert_string_equal(answers(), "stored 8 #5 2; stored 9 refused 0; ack 7; ");
	/* the count is right after a restart as well */
	reopen(SIZE, 2);
	chat(10, "x");
	drop(JULIET, ids[1], 0);
	chat(11, "x");
	assert_string_equal(answers(), "stored 10 refused 0; stored 11 #6 2; ");
	/* A refusal whose answer was lost stays one over a restart: it is below the watermark. */
	reopen(SIZE, 100);
	chat(9, "9");
	chat(10, "10");
	chat(11, "11");
	assert_string_equal(answers(), "stored 9 refused 0; stored 10 refused 0; stored 11 0 0; ");
}

static void
test_drop_and_bounce(void **arg)
{
	struct account *account;
	uint64_t last, stamp;
	struct frame f;

	(void)arg;
	begin();
	chat(1, "one");
	chat(2, "two");
	answers();
	drop(JULIET, ids[0], 0);
	assert_string_equal(answers(), "");
	assert_int_equal(rows(TABLE_ARCHIVE), 4);
	drop(JULIET, ids[1], FLAG_BOUNCE);
	drop(JULIET, ids[1], FLAG_BOUNCE);
	drop(SLICE("nobody@capulet.example"), ids[1], FLAG_BOUNCE);
	answers();
	/* the sender keeps a copy, and gets the error, once */
	assert_int_equal(index_all(), OK);
	assert_int_equal(rows(TABLE_ARCHIVE), 4);
	assert_int_equal(rows(TABLE_MESSAGE), 3);
	last = id_last();
	assert_int_equal(message_get(last, &stamp, &f), OK);
	assert_int_equal(f.subtype, TYPE_ERROR);
	assert_true(slice_equal(f.from, JULIET) && slice_is(f.to, "romeo@montague.example/garden"));
	assert_non_null(memmem(f.payload.ptr, f.payload.len, "<service-unavailable ", 21));
	store_abort(state.store);
	state_close();
	assert_int_equal(state_open(directory, SIZE, 100, now), OK);
	assert_int_equal(account_find(ROMEO, &account), OK);
	assert_int_equal(archive_has(account->id, &last, 1), OK);
	store_abort(state.store);
	assert_int_equal(spool_total(), 0);
	assert_int_equal(account_find(JULIET, &account), OK);
	/* from elsewhere to one who does not exist: nothing stays */
	message(3, SLICE("x@far.example/y"), SLICE("ghost@capulet.example"), FLAG_TO_LOCAL, "boo");
	assert_string_equal(answers(), "stored 3 #3 5; ");
	drop(SLICE("ghost@capulet.example"), ids[2], FLAG_BOUNCE);
	answers();
	assert_int_equal(rows(TABLE_MESSAGE), 3);
	assert_int_equal(account_find(SLICE("ghost@capulet.example"), &account), E_NOT_FOUND);
	store_abort(state.store);
}

static void
test_not_archived(void **arg)
{
	(void)arg;
	begin();
	message(1, ROMEO, JULIET, BOTH | FLAG_NO_STORE, "secret");
	message(2, ROMEO, SLICE("x@far.example"), FLAG_FROM_LOCAL | FLAG_NO_STORE, "secret");
	message(3, ROMEO, SLICE("romeo@montague.example/x"), BOTH, "note");
	assert_string_equal(answers(), "stored 1 #1 2; stored 2 #2 0; stored 3 #3 1; ");
	assert_int_equal(rows(TABLE_MESSAGE), 2);
	assert_int_equal(rows(TABLE_ARCHIVE), 1);
	delivered(4, 2, ids[0]);
	delivered(5, 1, ids[2]);
	answers();
	assert_int_equal(rows(TABLE_MESSAGE), 1);
	/* Not to be kept for good: it waits, and comes with the flag, and no restart makes copies of it. */
	message(6, ROMEO, JULIET, BOTH | FLAG_NO_PERMANENT, "brief");
	assert_string_equal(answers(), "stored 6 #4 2; ");
	reopen(SIZE, 100);
	drain(JULIET, 0, 0);
	assert_string_equal(answers(), "#4 brief 2; drained #4 2; ");
	assert_int_equal(rows(TABLE_ARCHIVE), 1);
	delivered(7, 2, ids[3]);
	answers();
	assert_int_equal(rows(TABLE_MESSAGE), 1);
}

static void
test_forget(void **arg)
{
	struct account *account;
	int steps = 0;

	(void)arg;
	begin();
	reopen(SIZE, 10000);
	for (uint64_t seq = 1; seq <= 1200; seq++)
		chat(seq, "x");
	message(1201, JULIET, ROMEO, BOTH, "kept");
	message(1202, SLICE("x@far.example"), JULIET, FLAG_TO_LOCAL, "far");
	while (batch_bytes() != 0) {
		assert_int_equal(batch_run(now, &out), OK);
		buf_clear(&out.frames);
	}
	forget(JULIET);
	chat(1203, "to a new account");
	forget(SLICE("nobody@capulet.example"));
	assert_string_equal(answers(), "forgotten juliet@capulet.example 101; "
	    "stored 1203 #1 5; forgotten nobody@capulet.example 102; ");
	assert_true(forget_pending());
	/* at once nothing is found any more; a restart goes on */
	drain(JULIET, 0, 0);
	assert_string_equal(answers(), "#1 to a new account 5; drained #1 5; ");
	assert_int_equal(forget_step(), OK);
	assert_int_equal(state_commit(), OK);
	reopen(SIZE, 10000);
	while (forget_pending()) {
		assert_int_equal(forget_step(), OK);
		if (steps++ == 1)
			state_abort();
		else
			assert_int_equal(state_commit(), OK);
		assert_true(steps < 20);
	}
	assert_true(steps > 2);
	assert_int_equal(spool_count(2), 0);
	assert_int_equal(spool_total(), 2);
	/* Romeo keeps his copies: 1200 sent, one received, one to the new account, which has one
	 * too */
	assert_int_equal(rows(TABLE_ARCHIVE), 1203);
	assert_int_equal(rows(TABLE_MESSAGE), 1202);
	assert_int_equal(account_find(JULIET, &account), OK);
	assert_int_equal(account->id, 5);
	forget(JULIET);
	forget(ROMEO);
	answers();
	while (forget_pending()) {
		assert_int_equal(forget_step(), OK);
		assert_int_equal(state_commit(), OK);
	}
	assert_int_equal(rows(TABLE_ARCHIVE) + rows(TABLE_MESSAGE) + rows(TABLE_SPOOL), 0);
	assert_int_equal(rows(TABLE_ACCOUNT), 2); /* domains */
}

/* A deletion that comes again, also after a restart, does not hit the next account of the name. */
static void
test_forget_again(void **arg)
{
	struct frame f = { .type = FRAME_FORGET, .jid = JULIET, .number = 7 };

	(void)arg;
	begin();
	chat(1, "old");
	add(&f);
	assert_string_equal(answers(), "stored 1 #1 2; forgotten juliet@capulet.example 7; ");
	chat(2, "new");
	add(&f);
	assert_string_equal(answers(), "stored 2 #2 5; forgotten juliet@capulet.example 7; ");
	reopen(SIZE, 10000);
	add(&f);
	drain(JULIET, 0, 0);
	assert_string_equal(answers(), "forgotten juliet@capulet.example 7; #2 new 5; drained #2 5; ");
	f.number = 8;
	add(&f);
	drain(JULIET, 0, 0);
	assert_string_equal(answers(), "forgotten juliet@capulet.example 8; drained 0 0; ");
}

static void
test_drain_bounds(void **arg)
{
	static char big[200 << 10];
	uint64_t after = 0;

	(void)arg;
	begin();
	reopen(64u << 20, 10000);
	memset(big, 'x', sizeof big - 1);
	for (uint64_t seq = 1; seq <= 10; seq++)
		chat(seq, big);
	answers();
	for (int messages = 0; messages < 10;) {
		struct slice whole, rest;
		struct frame f;

		drain(JULIET, after, 1000);
		assert_int_equal(batch_run(now, &out), OK);
		assert_true(buf_len(&out.frames) < DRAIN_BYTES + sizeof big + 1000);
		for (rest = buf_slice(&out.frames); frame_next(rest, &whole) == OK;
		     rest = slice_part(rest, whole.len, rest.len)) {
			assert_int_equal(frame_read(whole, &f), OK);
			messages += f.type == FRAME_STANZA;
		}
		assert_int_equal(f.type, FRAME_DRAINED);
		assert_int_equal(f.flags, messages < 10 ? FLAG_MORE : 0);
		assert_true(f.archive_id > after);
		after = f.archive_id;
		buf_clear(&out.frames);
	}
	/* many drains at once: a transaction has an end */
	for (int i = 0; i < 20; i++)
		drain(JULIET, 0, 1000);
	assert_int_equal(batch_run(now, &out), OK);
	assert_true(buf_len(&out.frames) < OUT_BYTES + DRAIN_BYTES + sizeof big + 1000);
	assert_true(batch_bytes() != 0);
	buf_clear(&out.frames);
	while (batch_bytes() != 0) {
		assert_int_equal(batch_run(now, &out), OK);
		buf_clear(&out.frames);
	}
	/* no more than the cap, in small messages */
	for (uint64_t seq = 11; seq <= 210; seq++)
		message(seq, JULIET, ROMEO, BOTH, "y");
	while (batch_bytes() != 0) {
		assert_int_equal(batch_run(now, &out), OK);
		buf_clear(&out.frames);
	}
	drain(ROMEO, 0, UINT64_MAX);
	assert_int_equal(batch_run(now, &out), OK);
	{
		struct slice whole, rest = buf_slice(&out.frames);
		int frames = 0;

		for (; frame_next(rest, &whole) == OK; frames++)
			rest = slice_part(rest, whole.len, rest.len);
		assert_int_equal(frames, DRAIN_MESSAGES + 1);
	}
	buf_clear(&out.frames);
}

/* Frames that say nonsense are answered or ignored, and the rest goes on. */
static void
test_nonsense(void **arg)
{
	struct frame f = { .type = FRAME_STANZA, .kind = STANZA_MESSAGE, .origin = ORIGIN,
		.flags = FLAG_STORE | BOTH };
	char raw[FRAME_HEAD] = { 0 };
	uint32_t len = sizeof raw;

	(void)arg;
	begin();
	assert_false(batch_add(FRAME_CONTROL, SLICE("x")));
	assert_false(batch_add(FRAME_HELLO, SLICE("x")));
	f.seq = 1; /* no addresses */
	add(&f);
	f.seq = 2;
	f.from = ROMEO;
	f.to = JULIET;
	f.kind = STANZA_IQ;
	add(&f);
	f.seq = 3;
	f.kind = STANZA_MESSAGE;
	f.flags = FLAG_STORE;
	add(&f);
	f.seq = 4;
	f.flags = BOTH;
	add(&f);
	f.seq = 0; /* not in custody: stored, and nobody waits for the answer */
	f.flags = FLAG_STORE | BOTH;
	add(&f);
	memcpy(raw, &len, 4);
	raw[4] = (char)FRAME_COUNT;
	assert_true(batch_add(FRAME_STANZA, slice_of(raw, len)));
	f = (struct frame){ .type = FRAME_DRAIN };
	add(&f);
	f.type = FRAME_FORGET;
	add(&f);
	f.type = FRAME_DROP;
	add(&f);
	f = (struct frame){ .type = FRAME_DELIVERED, .origin = ORIGIN, .seq = 5,
		.numbers = SLICE("12345678") };
	add(&f);
	chat(6, "six");
	assert_string_equal(answers(),
	    "stored 1 refused 0; stored 3 refused 0; stored 4 refused 0; stored 6 #1 2; "
	    "ack 2; ack 5; ");
	assert_int_equal(spool_total(), 2);
}

/* A full disk: nothing is acknowledged, nothing is half there, and it goes on when there is
 * room. */
static void
test_full_disk(void **arg)
{
	static char big[100 << 10];
	uint64_t seq, stored, spooled, archived;
	int error = OK;

	(void)arg;
	begin();
	state_close();
	clear_files();
	reopen((1u << 20) + (48u << 10), 10000); /* copies fit where no message does */
	memset(big, 'x', sizeof big - 1);
	for (seq = 1; error == OK && seq < 100; seq++) {
		chat(seq, big);
		error = batch_run(now, &out);
		if (error == OK)
			buf_clear(&out.frames);
	}
	assert_int_equal(error, E_FULL);
	stored = rows(TABLE_MESSAGE);
	spooled = spool_total();
	archived = rows(TABLE_ARCHIVE);
	assert_int_equal(stored, seq - 2);
	assert_int_equal(spooled, stored);
	for (int i = 0; i < 5; i++) {
		message(1000 + (uint64_t)i, JULIET, SLICE("new@capulet.example"), BOTH, big);
		assert_int_equal(batch_run(now, &out), E_FULL);
		assert_int_equal(buf_len(&out.frames) + buf_len(&out.acks), 0);
		assert_true(batch_bytes() > sizeof big);
		assert_int_equal(spool_total(), spooled);
		spool_gauges();
		assert_int_equal(counters[COUNTER_spool], spooled);
	}
	assert_int_equal(rows(TABLE_MESSAGE), stored);
	assert_int_equal(rows(TABLE_ARCHIVE), archived);
	/* the same frames, tried again in a store that may grow */
	grow();
	assert_int_equal(batch_run(now, &out), OK);
	assert_int_equal(batch_bytes(), 0);
	assert_int_equal(rows(TABLE_MESSAGE), stored + 6);
	assert_int_equal(rows(TABLE_ARCHIVE), archived + 12);
	assert_int_equal(spool_total(), spooled + 6);
	buf_clear(&out.frames);
	buf_clear(&out.acks);
	chat(seq - 1, big);
	chat(2000, "x");
	assert_true(slice_starts(slice_string(answers()), SLICE("stored ")));
	assert_non_null(strstr(said, " 0 0; stored 2000 #1 2; "));
}

static void
test_commands(void **arg)
{
	const struct command *list = &archived_commands[0];
	struct slice juliet = SLICE("Juliet@capulet.example"), bad = SLICE("@"),
		nobody = SLICE("nobody@capulet.example"), two[2] = { JULIET, JULIET };
	json_t *result = NULL, *row;
	char id[17];

	(void)arg;
	begin();
	assert_string_equal(list->name, "queue list");
	assert_int_equal(list->run(NULL, 0, &result), OK);
	assert_int_equal(json_array_size(result), 0);
	json_decref(result);
	chat(1, "one");
	chat(2, "three");
	message(3, JULIET, ROMEO, BOTH, "x");
	answers();
	assert_int_equal(list->run(NULL, 0, &result), OK);
	assert_int_equal(json_array_size(result), 2);
	for (size_t i = 0; i < 2; i++) {
		row = json_array_get(result, i);
		if (strcmp(json_string_value(json_object_get(row, "account")),
		    "juliet@capulet.example") == 0) {
			assert_int_equal(json_integer_value(json_object_get(row, "messages")), 2);
			assert_string_equal(json_string_value(json_object_get(row, "oldest")),
			    "2026-09-21T14:13:20.001Z");
		} else {
			assert_int_equal(json_integer_value(json_object_get(row, "messages")), 1);
		}
	}
	json_decref(result);
	assert_int_equal(list->run(&juliet, 1, &result), OK);
	assert_int_equal(json_array_size(result), 2);
	row = json_array_get(result, 1);
	snprintf(id, sizeof id, "%016llx", (unsigned long long)ids[1]);
	assert_string_equal(json_string_value(json_object_get(row, "id")), id);
	assert_string_equal(json_string_value(json_object_get(row, "from")),
	    "romeo@montague.example/garden");
	assert_int_equal(json_integer_value(json_object_get(row, "size")), 5);
	json_decref(result);
	assert_int_equal(list->run(&nobody, 1, &result), OK);
	assert_int_equal(json_array_size(result), 0);
	json_decref(result);
	result = NULL;
	assert_int_equal(list->run(&bad, 1, &result), E_MALFORMED);
	assert_true(json_is_string(result));
	json_decref(result);
	assert_int_equal(list->run(two, 2, &result), E_MALFORMED);
	store_abort(state.store);
}

static bool
copy_check(void *arg, struct slice key, struct slice value)
{
	unsigned *seen = arg;
	struct value_reader r = { .rest = value };

	bool sends = store_key_read_u64(key.ptr) == 1;

	assert_int_equal(value_u8(&r), VALUE_VERSION);
	assert_int_equal(value_u8(&r), sends ? DIRECTION_OUT : DIRECTION_IN);
	assert_int_equal(value_u64(&r), sends ? 2 : 1);
	assert_int_equal(r.rest.len, PEER_HASH_SIZE);
	(*seen)++;
	return true;
}

/* Copies reach the archive table in pieces, also when transactions fail and processes die
 * meanwhile. */
static void
test_index(void **arg)
{
	size_t usual = state.index_copies;
	uint64_t seq = 0, indexed = 0, before = 0;
	unsigned seen = 0, reached = 0;

	(void)arg;
	state.index_copies = 3000;
	reopen(64u << 20, 100000);
	for (int round = 0; round < 60; round++) {
		for (int i = 0; i < 100; i++)
			chat(++seq, "x");
		if (round % 7 == 3) {
			assert_int_equal(index_some(), OK);
			state_abort();
		}
		if (round % 11 == 5) {
			assert_int_equal(index_all(), OK);
			state_abort();
		}
		assert_int_equal(batch_run(now++, &out), OK);
		buf_clear(&out.frames);
		if (round % 23 == 22)
			reopen(64u << 20, 100000);
		assert_int_equal(meta_get("indexed", 0, &indexed), OK);
		assert_true(indexed >= before && indexed <= id_last());
		reached += indexed > before;
		before = indexed;
	}
	assert_true(reached >= 2 && indexed < id_last());
	assert_true(store_count(state.store, TABLE_ARCHIVE) < 2 * seq);
	assert_int_equal(rows(TABLE_ARCHIVE), 2 * seq);
	assert_int_equal(meta_get("indexed", 0, &indexed), OK);
	assert_true(indexed == id_last());
	assert_int_equal(store_walk(state.store, TABLE_ARCHIVE, SLICE(""), SLICE(""), copy_check,
	    &seen), OK);
	assert_int_equal(seen, 2 * seq);
	store_abort(state.store);
	state.index_copies = usual;
}

/* A random run against a plain model, with restarts and failed commits in between. */
static void
test_random(void **arg)
{
	bool waits[600] = { false };
	uint64_t id_of[600] = { 0 }, seq = 0, last = 0;
	unsigned seed = 3, messages = 0, expected = 0;
	size_t usual = state.index_copies;

	(void)arg;
	state.index_copies = 100;
	reopen(SIZE, 10000);
	while (messages < 599) {
		unsigned what = (unsigned)rand_r(&seed) % 10;
		unsigned pick = messages != 0 ? (unsigned)rand_r(&seed) % messages + 1 : 0;

		if (what < 6) {
			struct slice whole;
			struct frame f;

			chat(++seq, "x");
			assert_int_equal(batch_run(now++, &out), OK);
			assert_int_equal(frame_next(buf_slice(&out.frames), &whole), OK);
			assert_int_equal(frame_read(whole, &f), OK);
			id_of[++messages] = frame_at(&f, 1);
			assert_true(id_of[messages] > last);
			last = id_of[messages];
			waits[messages] = true;
			expected++;
		} else if (what < 8 && pick != 0) {
			delivered(++seq, 2, id_of[pick]);
			assert_int_equal(batch_run(now, &out), OK);
			expected -= waits[pick];
			waits[pick] = false;
		} else if (what == 8) {
			reopen(SIZE, 10000);
			now -= 50;
		} else {
			assert_int_equal(spool_add(2, UINT64_MAX, 0, true), OK);
			if (pick != 0)
				assert_int_equal(spool_remove(2, id_of[pick]), OK);
			state_abort();
		}
		buf_clear(&out.frames);
		buf_clear(&out.acks);
		assert_int_equal(spool_total(), expected);
		assert_int_equal(spool_count(2), expected);
	}
	assert_int_equal(rows(TABLE_SPOOL), expected);
	assert_int_equal(rows(TABLE_ARCHIVE), 2 * messages);
	state.index_copies = usual;
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_store_and_deliver),
		TEST(test_feed),
		TEST(test_stored_in_order),
		TEST(test_stanza_survives),
		TEST(test_order),
		TEST(test_repeated),
		TEST(test_expire),
		TEST(test_ids),
		TEST(test_ids_after_restart),
		TEST(test_full_spool),
		TEST(test_drop_and_bounce),
		TEST(test_not_archived),
		TEST(test_forget), TEST(test_forget_again),
		TEST(test_drain_bounds),
		TEST(test_nonsense),
		TEST(test_full_disk),
		TEST(test_commands),
		TEST(test_index),
		TEST(test_random),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
