/*
 * test_prefs.c: preferences of archives: what is decided about each side of a message, what is asked of the
 * roster, and what is left of copies that go.
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
#include "ns.h"

#define JULIET SLICE("juliet@capulet.example")
#define ROMEO  SLICE("romeo@montague.example")
#define GARDEN SLICE("romeo@montague.example/garden")
#define NOW    1790000000000ull
#define ORIGIN 5
#define BOTH   (FLAG_FROM_LOCAL | FLAG_TO_LOCAL)

static char directory[64];
static uint64_t seq;
static struct out out;

static int
setup(void **arg)
{
	(void)arg;
	snprintf(directory, sizeof directory, "/tmp/test_prefs.XXXXXX");
	assert_non_null(mkdtemp(directory));
	seq = 0;
	return state_open(directory, 64u << 20, 100, NOW);
}

static int
teardown(void **arg)
{
	char path[96];

	(void)arg;
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
	assert_int_equal(state_open(directory, 64u << 20, 100, NOW), OK);
}

static void
take(const struct frame *f)
{
	struct buf bytes = { 0 };

	assert_int_equal(frame_write(f, &bytes), OK);
	assert_true(batch_add(f->type, buf_slice(&bytes)));
	buf_free(&bytes);
	buf_clear(&out.frames);
	buf_clear(&out.acks);
	assert_int_equal(batch_run(NOW + seq, &out), OK);
}

/* The i-th frame that was answered. */
static bool
answer(size_t i, struct frame *f)
{
	struct slice rest = buf_slice(&out.frames), whole;

	for (; frame_next(rest, &whole) == OK; i--) {
		if (i == 0)
			return frame_read(whole, f) == OK;
		rest = slice_part(rest, whole.len, rest.len);
	}
	return false;
}

static void
prefer(struct slice jid, const char *words)
{
	char payload[512];
	struct frame f = { .type = FRAME_STANZA, .kind = STANZA_IQ, .subtype = TYPE_SET, .origin = ORIGIN,
		.seq = ++seq, .handle = HANDLE(ORIGIN, 9), .from = jid, .id = SLICE("p"),
		.name = SLICE("prefs"), .ns = SLICE(NS_MAM) };

	snprintf(payload, sizeof payload, "<prefs xmlns='" NS_MAM "' default=%s", words);
	f.payload = slice_string(payload);
	take(&f);
	assert_true(answer(0, &f));
	assert_int_equal(f.subtype, TYPE_RESULT);
	assert_int_equal(buf_len(&out.acks), 16);
}

/* Stores a message. Returns its id; *bits: the third number of STORED without the account. */
static uint64_t
message(struct slice from, struct slice to, uint32_t flags, uint64_t *bits)
{
	struct frame f = { .type = FRAME_STANZA, .kind = STANZA_MESSAGE, .subtype = TYPE_CHAT,
		.flags = FLAG_STORE | FLAG_CONTENT | flags, .origin = ORIGIN, .seq = ++seq,
		.handle = HANDLE(ORIGIN, 9), .from = from, .to = to, .payload = SLICE("<body>a</body>") };
	size_t i = 0;

	take(&f);
	while (answer(i, &f) && f.type != FRAME_STORED)
		i++;
	assert_int_equal(f.type, FRAME_STORED);
	*bits = frame_at(&f, 2) & ~STORED_ACCOUNT;
	return frame_at(&f, 1);
}

static bool
has(struct slice jid, uint64_t id)
{
	struct account *account;
	bool found = account_find(jid, &account) == OK && archive_has(account->id, &id, 1) == OK;

	store_abort(state.store);
	return found;
}

static size_t
rows(enum table table)
{
	size_t count = (size_t)store_count(state.store, table);

	store_abort(state.store);
	return count;
}

static void
deliver(struct slice jid, uint64_t id)
{
	struct account *account;
	uint64_t pair[2];
	struct frame f = { .type = FRAME_DELIVERED, .origin = ORIGIN, .seq = ++seq };

	assert_int_equal(account_find(jid, &account), OK);
	pair[0] = account->id;
	pair[1] = id;
	f.numbers = slice_of(pair, sizeof pair);
	take(&f);
}

static void
test_sides(void **arg)
{
	static const struct {
		const char *juliet, *romeo; /* what they prefer */
		uint64_t bits;
	} cases[] = {
		{ "'always'/>", "'always'/>", 0 },
		{ "'never'/>", "'always'/>", STORED_TO_SKIPS },
		{ "'always'/>", "'never'/>", STORED_FROM_SKIPS },
		{ "'never'/>", "'never'/>", STORED_FROM_SKIPS | STORED_TO_SKIPS },
		{ "'never'><always><jid>romeo@montague.example</jid></always></prefs>", "'always'/>", 0 },
		{ "'never'><always><jid>romeo@montague.example/x</jid></always></prefs>", "'always'/>",
		    STORED_TO_SKIPS },
		{ "'never'><always><jid>romeo@montague.example/garden</jid></always>"
		    "<never><jid>romeo@montague.example</jid></never></prefs>", "'always'/>", 0 },
		{ "'always'><never><jid>romeo@montague.example</jid></never></prefs>", "'always'/>", STORED_TO_SKIPS },
		{ "'always'/>", "'always'><never><jid>juliet@capulet.example</jid></never></prefs>",
		    STORED_FROM_SKIPS },
	};
	size_t i, left = 0;

	(void)arg;
	for (i = 0; i < sizeof cases / sizeof *cases; i++) {
		uint64_t bits, id;

		prefer(JULIET, cases[i].juliet);
		prefer(ROMEO, cases[i].romeo);
		id = message(GARDEN, JULIET, BOTH, &bits);
		assert_true(bits == cases[i].bits);
		assert_int_equal(has(JULIET, id), !(bits & STORED_TO_SKIPS));
		assert_int_equal(has(ROMEO, id), !(bits & STORED_FROM_SKIPS));
		reopen(); /* copies are made again as it was decided, whatever is wanted now */
		prefer(JULIET, "'never'/>");
		prefer(ROMEO, "'never'/>");
		assert_int_equal(has(JULIET, id), !(bits & STORED_TO_SKIPS));
		assert_int_equal(has(ROMEO, id), !(bits & STORED_FROM_SKIPS));
		/* it waits in any case, and is gone when nobody has it */
		assert_int_equal(spool_total(), 1);
		deliver(JULIET, id);
		left += bits != (STORED_FROM_SKIPS | STORED_TO_SKIPS);
		assert_int_equal(rows(TABLE_MESSAGE), left);
	}
	prefer(JULIET, "'always'/>");
	assert_int_equal(rows(TABLE_PREFS), 1);
}

/* What one says to oneself has one copy, which is there if one of both ways wants it. */
static void
test_self(void **arg)
{
	uint64_t bits;

	(void)arg;
	prefer(ROMEO, "'roster'/>");
	assert_true(has(ROMEO, message(GARDEN, ROMEO, BOTH, &bits)) && bits == 0);
	assert_int_equal(rows(TABLE_ASKED), 0);
	prefer(ROMEO, "'never'><always><jid>romeo@montague.example/garden</jid></always></prefs>");
	assert_true(has(ROMEO, message(GARDEN, ROMEO, BOTH, &bits)) && bits == 0);
	prefer(ROMEO, "'never'/>");
	assert_false(has(ROMEO, message(GARDEN, ROMEO, BOTH, &bits)));
	assert_true(bits == (STORED_FROM_SKIPS | STORED_TO_SKIPS));
}

/* authd says whether Romeo is in Juliet's roster. */
static void
roster(uint64_t number, uint64_t id, uint32_t flags)
{
	struct frame f = { .type = FRAME_ROSTER_IS, .jid = JULIET, .to = ROMEO, .number = number,
		.archive_id = id, .flags = flags };

	take(&f);
}

static void
test_roster(void **arg)
{
	struct account *juliet;
	struct frame f;
	uint64_t bits, listed, stranger, lost;

	(void)arg;
	prefer(JULIET, "'roster'/>");
	assert_int_equal(account_find(JULIET, &juliet), OK);
	listed = message(GARDEN, JULIET, BOTH, &bits);
	assert_true(bits == 0 && answer(0, &f));
	assert_int_equal(f.type, FRAME_ROSTER_ASK);
	assert_true(slice_equal(f.jid, JULIET) && slice_equal(f.to, ROMEO));
	assert_true(f.archive_id == listed && f.number == juliet->id);
	stranger = message(GARDEN, JULIET, BOTH, &bits);
	lost = message(GARDEN, JULIET, BOTH, &bits);
	assert_int_equal(rows(TABLE_ASKED), 3);
	roster(juliet->id, listed, FLAG_EXISTS);
	assert_true(has(JULIET, stranger));
	roster(juliet->id, stranger, 0);
	assert_true(has(JULIET, listed) && !has(JULIET, stranger) && has(ROMEO, stranger));
	/* What was not asked takes nothing away, nor what was answered. */
	roster(juliet->id, listed, 0);
	assert_int_equal(account_find(ROMEO, &juliet), OK);
	roster(juliet->id, listed, 0);
	roster(77, 88, 0);
	assert_true(has(JULIET, listed) && has(ROMEO, listed));
	/* The spool is not concerned; the message goes with the last that has it. */
	assert_int_equal(spool_total(), 3);
	reopen();
	assert_true(has(JULIET, listed) && !has(JULIET, stranger) && has(JULIET, lost));
	buf_clear(&out.frames);
	assert_int_equal(prefs_ask_again(&out), OK);
	assert_int_equal(state_commit(), OK);
	assert_true(answer(0, &f) && f.type == FRAME_ROSTER_ASK && f.archive_id == lost);
	assert_true(slice_equal(f.jid, JULIET) && slice_equal(f.to, ROMEO));
	assert_false(answer(1, &f));
	roster(f.number, lost, 0);
	assert_int_equal(rows(TABLE_ASKED), 0);
	assert_false(has(JULIET, lost));
}

/* A copy that goes before the message was delivered leaves the message to the spool alone. */
static void
test_last(void **arg)
{
	struct account *juliet;
	uint64_t bits, id;

	(void)arg;
	prefer(JULIET, "'roster'/>");
	assert_int_equal(account_find(JULIET, &juliet), OK);
	id = message(SLICE("x@far.example/y"), JULIET, FLAG_TO_LOCAL, &bits);
	roster(juliet->id, id, 0);
	assert_false(has(JULIET, id));
	assert_int_equal(rows(TABLE_MESSAGE), 1);
	deliver(JULIET, id);
	assert_int_equal(rows(TABLE_MESSAGE), 0);
}

static void
test_forgotten(void **arg)
{
	struct frame f = { .type = FRAME_FORGET, .jid = JULIET };
	uint64_t bits, id;

	(void)arg;
	prefer(JULIET, "'never'/>");
	take(&f);
	assert_int_equal(rows(TABLE_PREFS), 0);
	id = message(GARDEN, JULIET, BOTH, &bits);
	assert_true(bits == 0 && has(JULIET, id));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_sides, setup, teardown),
		cmocka_unit_test_setup_teardown(test_self, setup, teardown),
		cmocka_unit_test_setup_teardown(test_roster, setup, teardown),
		cmocka_unit_test_setup_teardown(test_last, setup, teardown),
		cmocka_unit_test_setup_teardown(test_forgotten, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
