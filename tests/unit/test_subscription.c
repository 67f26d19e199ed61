/*
 * test_subscription.c: every row of the tables in RFC 6121 appendix A, pre-approval, and both sides of
 * a subscription in the store.
 * Links: authd
 */
#include "authd_test.h"

/* -- the tables -- */

enum { NONE, NONE_OUT, NONE_IN, NONE_OUT_IN, STATE_TO, TO_IN, STATE_FROM, FROM_OUT, BOTH, STATES };
#define SAME (-1)

static const unsigned bits_of[STATES] = {
	[NONE] = 0, [NONE_OUT] = ROSTER_PENDING_OUT, [NONE_IN] = ROSTER_PENDING_IN,
	[NONE_OUT_IN] = ROSTER_PENDING_OUT | ROSTER_PENDING_IN, [STATE_TO] = ROSTER_TO,
	[TO_IN] = ROSTER_TO | ROSTER_PENDING_IN, [STATE_FROM] = ROSTER_FROM,
	[FROM_OUT] = ROSTER_FROM | ROSTER_PENDING_OUT, [BOTH] = ROSTER_TO | ROSTER_FROM,
};

struct test_table {
	const char *name;
	enum stanza_type type;
	bool inbound;
	struct {
		bool pass; /* MUST, not MUST NOT */
		int state;
	} rows[STATES];
};

static const struct test_table tables[] = {
	{ "A.2.1", TYPE_SUBSCRIBE, false, {
		{ true, NONE_OUT }, { true, SAME }, { true, NONE_OUT_IN }, { true, SAME },
		{ true, SAME }, { true, SAME }, { true, FROM_OUT }, { true, SAME },
		{ true, SAME } } },
	{ "A.2.2", TYPE_UNSUBSCRIBE, false, {
		{ true, SAME }, { true, NONE }, { true, SAME }, { true, NONE_IN }, { true, NONE },
		{ true, NONE_IN }, { true, SAME }, { true, STATE_FROM }, { true, STATE_FROM } } },
	{ "A.2.3", TYPE_SUBSCRIBED, false, {
		{ false, SAME }, { false, SAME }, { true, STATE_FROM }, { true, FROM_OUT },
		{ false, SAME }, { true, BOTH }, { false, SAME }, { false, SAME },
		{ false, SAME } } },
	{ "A.2.4", TYPE_UNSUBSCRIBED, false, {
		{ false, SAME }, { false, SAME }, { true, NONE }, { true, NONE_OUT },
		{ false, SAME }, { true, STATE_TO }, { true, NONE }, { true, NONE_OUT },
		{ true, STATE_TO } } },
	{ "A.3.1", TYPE_SUBSCRIBE, true, {
		{ true, NONE_IN }, { true, NONE_OUT_IN }, { false, SAME }, { false, SAME },
		{ true, TO_IN }, { false, SAME }, { false, SAME }, { false, SAME },
		{ false, SAME } } },
	{ "A.3.2", TYPE_UNSUBSCRIBE, true, {
		{ false, SAME }, { false, SAME }, { true, NONE }, { true, NONE_OUT },
		{ false, SAME }, { true, STATE_TO }, { true, NONE }, { true, NONE_OUT },
		{ true, STATE_TO } } },
	{ "A.3.3", TYPE_SUBSCRIBED, true, {
		{ false, SAME }, { true, STATE_TO }, { false, SAME }, { true, TO_IN },
		{ false, SAME }, { false, SAME }, { false, SAME }, { true, BOTH },
		{ false, SAME } } },
	{ "A.3.4", TYPE_UNSUBSCRIBED, true, {
		{ false, SAME }, { true, NONE }, { false, SAME }, { true, NONE_IN },
		{ true, NONE }, { true, NONE_IN }, { false, SAME }, { true, STATE_FROM },
		{ true, STATE_FROM } } },
};

#define STATE_MASK 15u

static void
test_tables(void **unused)
{
	size_t t;
	int s;

	(void)unused;
	for (t = 0; t < sizeof tables / sizeof tables[0]; t++) {
		for (s = 0; s < STATES; s++) {
			struct subscription_step step = tables[t].inbound ?
			    subscription_inbound(tables[t].type, bits_of[s]) :
			    subscription_outbound(tables[t].type, bits_of[s]);
			int next = tables[t].rows[s].state;

			if (step.pass != tables[t].rows[s].pass ||
			    (step.bits & STATE_MASK) != bits_of[next == SAME ? s : next])
				fail_msg("%s row %d: pass %d bits %u", tables[t].name, s + 1,
				    step.pass, step.bits);
		}
	}
}

static void
test_approval_table(void **unused)
{
	struct subscription_step step;
	int s;

	(void)unused;
	for (s = 0; s < STATES; s++) {
		bool noted = s == NONE || s == NONE_OUT || s == STATE_TO;

		step = subscription_outbound(TYPE_SUBSCRIBED, bits_of[s]);
		assert_int_equal(!!(step.bits & ROSTER_APPROVED), noted);
		if (noted)
			assert_true(step.bits & ROSTER_LISTED);
		step = subscription_outbound(TYPE_UNSUBSCRIBED, bits_of[s] | ROSTER_APPROVED);
		assert_false(step.bits & ROSTER_APPROVED);
		/* Approved before: the answer is given and nobody is asked. */
		step = subscription_inbound(TYPE_SUBSCRIBE, bits_of[s] | ROSTER_APPROVED);
		assert_true(step.approve);
		assert_false(step.pass);
		assert_true(step.bits & ROSTER_FROM);
		assert_false(step.bits & ROSTER_PENDING_IN);
		/* Only who is subscribed gets an answer without it. */
		step = subscription_inbound(TYPE_SUBSCRIBE, bits_of[s]);
		assert_int_equal(step.approve, !!(bits_of[s] & ROSTER_FROM));
	}
	assert_false(subscription_inbound(TYPE_SUBSCRIBE, 0).bits & ROSTER_LISTED);
	assert_true(subscription_inbound(TYPE_UNSUBSCRIBED,
	    ROSTER_TO | ROSTER_LISTED).bits & ROSTER_LISTED);
}

/* -- both sides -- */

/* The next frame is a change of an account's item to these bits. */
static void
expect_change(const char *account, const char *contact, unsigned bits)
{
	struct frame f;

	assert_true(test_next(&f));
	assert_int_equal(f.type, FRAME_ROSTER_CHANGE);
	assert_true(slice_is(f.jid, account));
	assert_true(slice_is(f.to, contact));
	assert_int_equal(f.number, bits);
}

static void
expect_push(const char *account, const char *has)
{
	struct frame f;

	assert_true(test_next(&f));
	assert_int_equal(f.type, FRAME_STANZA);
	assert_int_equal(f.kind, STANZA_IQ);
	assert_int_equal(f.subtype, TYPE_SET);
	assert_int_equal(f.audience, AUDIENCE_INTERESTED);
	assert_true(slice_is(f.to, account));
	if (!slice_has(f.payload, has))
		fail_msg("%.*s has no %s", SLICE_ARG(f.payload), has);
}

static void
expect_stanza(const char *from, const char *to, enum stanza_type type, enum audience audience)
{
	struct frame f;

	assert_true(test_next(&f));
	assert_int_equal(f.type, FRAME_STANZA);
	assert_int_equal(f.kind, STANZA_PRESENCE);
	assert_int_equal(f.subtype, type);
	assert_int_equal(f.audience, audience);
	assert_true(slice_is(f.from, from));
	assert_true(slice_is(f.to, to));
	assert_int_equal(f.handle, 0);
}

#define L  ROSTER_LISTED
#define TO ROSTER_TO
#define FR ROSTER_FROM
#define PO ROSTER_PENDING_OUT
#define PI ROSTER_PENDING_IN

/* Romeo subscribes to Juliet, and she approves. */
static void
subscribe(void)
{
	test_presence(ROMEO, JULIET, TYPE_SUBSCRIBE, false);
	test_presence(JULIET, ROMEO, TYPE_SUBSCRIBED, false);
	buf_free(&test_said);
}

static void
test_local(void **unused)
{
	(void)unused;
	test_presence(ROMEO, JULIET, TYPE_SUBSCRIBE, false);
	expect_change(ROMEO, JULIET, PO | L);
	expect_change(JULIET, ROMEO, PI);
	expect_push(ROMEO, "<item jid='juliet@example.org' subscription='none' ask='subscribe'/>");
	expect_stanza(ROMEO, JULIET, TYPE_SUBSCRIBE, AUDIENCE_AVAILABLE);
	test_silent();
	test_presence(JULIET, ROMEO, TYPE_SUBSCRIBED, false);
	expect_change(ROMEO, JULIET, TO | L);
	expect_push(JULIET, "subscription='from'/>");
	expect_push(ROMEO, "subscription='to'/>");
	expect_stanza(JULIET, ROMEO, TYPE_SUBSCRIBED, AUDIENCE_AVAILABLE);
	expect_change(JULIET, ROMEO, FR | L); /* presence follows, and comes last */
	test_silent();
	/* Asked again: answered at once, without her. */
	test_presence(ROMEO, JULIET, TYPE_SUBSCRIBE, false);
	test_silent();
	test_presence(ROMEO, JULIET, TYPE_UNSUBSCRIBE, false);
	expect_change(ROMEO, JULIET, L);
	expect_change(JULIET, ROMEO, L);
	expect_push(ROMEO, "subscription='none'/>");
	expect_push(JULIET, "subscription='none'/>");
	expect_stanza(ROMEO, JULIET, TYPE_UNSUBSCRIBE, AUDIENCE_AVAILABLE);
	test_silent();
}

static void
test_denied(void **unused)
{
	(void)unused;
	test_presence(ROMEO, JULIET, TYPE_SUBSCRIBE, false);
	buf_free(&test_said);
	test_presence(JULIET, ROMEO, TYPE_UNSUBSCRIBED, false);
	expect_change(JULIET, ROMEO, 0);
	expect_change(ROMEO, JULIET, L);
	expect_push(ROMEO, "subscription='none'/>");
	expect_stanza(JULIET, ROMEO, TYPE_UNSUBSCRIBED, AUDIENCE_AVAILABLE);
	test_silent();
	subscribe();
	test_presence(JULIET, ROMEO, TYPE_UNSUBSCRIBED, false);
	assert_int_equal(test_bits(JULIET, ROMEO), L);
	assert_int_equal(test_bits(ROMEO, JULIET), L);
}

static void
test_remote(void **unused)
{
	(void)unused;
	test_presence(ROMEO, REMOTE, TYPE_SUBSCRIBE, false);
	expect_change(ROMEO, REMOTE, PO | L);
	expect_push(ROMEO, "ask='subscribe'");
	expect_stanza(ROMEO, REMOTE, TYPE_SUBSCRIBE, AUDIENCE_NONE);
	test_silent();
	test_presence(REMOTE, ROMEO, TYPE_SUBSCRIBED, false);
	expect_change(ROMEO, REMOTE, TO | L);
	expect_push(ROMEO, "subscription='to'/>");
	expect_stanza(REMOTE, ROMEO, TYPE_SUBSCRIBED, AUDIENCE_AVAILABLE);
	test_silent();
	/* An approval that nobody asked for is nothing. */
	test_presence("tybalt@remote.example", ROMEO, TYPE_SUBSCRIBED, false);
	test_silent();
	test_presence(REMOTE, ROMEO, TYPE_SUBSCRIBE, false);
	expect_change(ROMEO, REMOTE, TO | PI | L);
	expect_stanza(REMOTE, ROMEO, TYPE_SUBSCRIBE, AUDIENCE_AVAILABLE);
	test_silent();
	test_presence(ROMEO, REMOTE, TYPE_SUBSCRIBED, false);
	assert_int_equal(test_bits(ROMEO, REMOTE), TO | FR | L);
	buf_free(&test_said);
	test_presence(REMOTE, ROMEO, TYPE_SUBSCRIBE, false);
	expect_stanza(ROMEO, REMOTE, TYPE_SUBSCRIBED, AUDIENCE_NONE);
	test_silent();
}

/* The next frames are the kept ones; returns the number of the first. */
static uint64_t
expect_kept(const enum stanza_type *types, size_t count)
{
	struct frame f;
	uint64_t first = 0;
	size_t i;

	for (i = 0; i < count; i++) {
		assert_true(test_next(&f));
		assert_int_equal(f.type, FRAME_STANZA);
		assert_int_equal(f.subtype, types[i]);
		assert_int_equal(f.token.len, ONCE_SIZE);
		assert_true(slice_is(f.from, ROMEO) && slice_is(f.to, REMOTE));
		first = i == 0 ? f.seq : first;
		assert_int_equal(f.seq, first + i);
	}
	test_silent();
	return first;
}

static void
taken(uint64_t first, uint64_t last)
{
	uint64_t pair[] = { first, last };
	struct frame f = { .type = FRAME_ACK, .numbers = slice_of(pair, sizeof pair) };

	outbox_taken(&f);
	assert_int_equal(store_commit(state.store), OK);
}

/* What goes elsewhere is kept until it was taken, in its order, also over a restart; and what is repeated is
 * not kept again. */
static void
test_outbox(void **unused)
{
	static const enum stanza_type types[] = { TYPE_SUBSCRIBE, TYPE_UNSUBSCRIBE, TYPE_SUBSCRIBE };
	struct frame f;
	char token[ONCE_SIZE];
	uint64_t first;

	(void)unused;
	test_presence(ROMEO, REMOTE, TYPE_SUBSCRIBE, false);
	test_presence(ROMEO, REMOTE, TYPE_SUBSCRIBE, true);
	while (test_next(&f))
		assert_true(f.type != FRAME_STANZA || f.kind == STANZA_IQ);
	test_presence(ROMEO, REMOTE, TYPE_UNSUBSCRIBE, false);
	test_presence(ROMEO, REMOTE, TYPE_SUBSCRIBE, false);
	buf_free(&test_said);
	outbox_resend();
	test_collect();
	first = expect_kept(types, 3);
	outbox_stop();
	test_collect();
	test_silent();
	taken(first + 10, first + 20); /* nothing of these was sent */
	taken(first, first);
	store_close(&state.store);
	assert_int_equal(state_open(test_directory), OK);
	outbox_resend();
	test_collect();
	assert_int_equal(expect_kept(types + 1, 2), first + 1);
	outbox_resend();
	assert_true(outbox_next(&f));
	memcpy(token, f.token.ptr, ONCE_SIZE);
	outbox_resend();
	assert_true(outbox_next(&f));
	assert_memory_equal(token, f.token.ptr, ONCE_SIZE);
	test_collect();
	expect_kept(types + 2, 1);
	taken(first, UINT64_MAX);
	outbox_resend();
	test_collect();
	test_silent();
}

static void
test_nobody(void **unused)
{
	(void)unused;
	test_presence(REMOTE, "nobody@example.org", TYPE_SUBSCRIBE, false);
	test_presence(REMOTE, "nobody@example.org", TYPE_SUBSCRIBED, false);
	test_presence(REMOTE, "nobody@example.org", TYPE_UNSUBSCRIBE, false);
	test_presence("nobody@example.org", ROMEO, TYPE_SUBSCRIBE, false);
	test_presence(ROMEO, ROMEO, TYPE_SUBSCRIBE, false);
	test_presence(REMOTE, "x@other.example", TYPE_SUBSCRIBE, false);
	test_presence(ROMEO, "NOT@Canonical", TYPE_SUBSCRIBE, false);
	test_presence(ROMEO, JULIET, TYPE_PROBE, false);
	test_silent();
	/* As with somebody who does not answer (RFC 6121 section 8.5.1). */
	test_presence(ROMEO, "nobody@example.org", TYPE_SUBSCRIBE, false);
	expect_change(ROMEO, "nobody@example.org", PO | L);
	expect_push(ROMEO, "ask='subscribe'");
	test_silent();
}

static void
test_approved_before(void **unused)
{
	(void)unused;
	test_presence(JULIET, ROMEO, TYPE_SUBSCRIBED, false);
	expect_change(JULIET, ROMEO, L | ROSTER_APPROVED);
	expect_push(JULIET, "subscription='none' approved='true'/>");
	test_silent();
	test_presence(ROMEO, JULIET, TYPE_SUBSCRIBE, false);
	expect_change(ROMEO, JULIET, PO | L);
	expect_change(ROMEO, JULIET, TO | L);
	expect_push(ROMEO, "ask='subscribe'");
	expect_push(JULIET, "subscription='from' approved='true'/>");
	expect_push(ROMEO, "subscription='to'/>");
	expect_stanza(JULIET, ROMEO, TYPE_SUBSCRIBED, AUDIENCE_AVAILABLE);
	expect_change(JULIET, ROMEO, FR | L | ROSTER_APPROVED);
	test_silent();
}

static void
test_repeated(void **unused)
{
	(void)unused;
	test_presence(ROMEO, JULIET, TYPE_SUBSCRIBE, false);
	buf_free(&test_said);
	test_presence(ROMEO, JULIET, TYPE_SUBSCRIBE, true);
	expect_change(ROMEO, JULIET, PO | L);
	expect_change(JULIET, ROMEO, PI);
	expect_push(ROMEO, "ask='subscribe'");
	expect_stanza(ROMEO, JULIET, TYPE_SUBSCRIBE, AUDIENCE_AVAILABLE);
	test_silent();
	test_presence(JULIET, ROMEO, TYPE_SUBSCRIBED, false);
	buf_free(&test_said);
	test_presence(JULIET, ROMEO, TYPE_SUBSCRIBED, true);
	expect_change(ROMEO, JULIET, TO | L);
	expect_push(JULIET, "subscription='from'/>");
	expect_push(ROMEO, "subscription='to'/>");
	expect_stanza(JULIET, ROMEO, TYPE_SUBSCRIBED, AUDIENCE_AVAILABLE);
	expect_change(JULIET, ROMEO, FR | L); /* presence follows, and comes last */
	test_silent();
	/* A pre-approval was not routed before, and is not now. */
	test_presence(JULIET, REMOTE, TYPE_SUBSCRIBED, false);
	buf_free(&test_said);
	test_presence(JULIET, REMOTE, TYPE_SUBSCRIBED, true);
	expect_change(JULIET, REMOTE, L | ROSTER_APPROVED);
	expect_push(JULIET, "approved='true'");
	test_silent();
}

static void
test_pending(void **unused)
{
	struct frame f;

	(void)unused;
	test_presence(REMOTE, ROMEO, TYPE_SUBSCRIBE, false);
	test_presence(JULIET, ROMEO, TYPE_SUBSCRIBE, false);
	buf_free(&test_said);
	roster_pending(SLICE(ROMEO), 99);
	test_collect();
	assert_true(test_next(&f));
	assert_int_equal(f.subtype, TYPE_SUBSCRIBE);
	assert_int_equal(f.handle, 99);
	assert_true(slice_is(f.to, ROMEO));
	assert_true(slice_is(f.payload, "<status>please</status>"));
	assert_true(test_next(&f));
	test_silent();
	test_presence(ROMEO, REMOTE, TYPE_UNSUBSCRIBED, false);
	test_presence(ROMEO, JULIET, TYPE_SUBSCRIBED, false);
	buf_free(&test_said);
	roster_pending(SLICE(ROMEO), 99);
	roster_pending(SLICE("nobody@example.org"), 99);
	test_collect();
	test_silent();
	assert_int_equal(store_count(state.store, TABLE_REQUEST), 0);
}

static void
test_pending_bounded(void **unused)
{
	char from[64];
	unsigned i;

	(void)unused;
	for (i = 0; i < ROSTER_PENDING_MAX + 20; i++) {
		snprintf(from, sizeof from, "spam%u@remote.example", i);
		test_presence(from, ROMEO, TYPE_SUBSCRIBE, false);
	}
	test_silent();
	assert_int_equal(store_count(state.store, TABLE_REQUEST), ROSTER_PENDING_MAX);
}

static void
test_load(void **unused)
{
	struct frame f;
	struct slice list, jid = SLICE_NONE;
	unsigned bits = 0;

	(void)unused;
	subscribe();
	roster_load(SLICE(JULIET));
	roster_load(SLICE("nobody@example.org"));
	test_collect();
	assert_true(test_next(&f));
	assert_int_equal(f.type, FRAME_ROSTER);
	assert_int_equal(f.flags, FLAG_EXISTS);
	list = f.payload;
	assert_true(roster_unpack(&list, &bits, &jid));
	assert_int_equal(bits, FR | L);
	assert_true(slice_is(jid, ROMEO));
	assert_int_equal(list.len, 0);
	assert_true(test_next(&f));
	assert_int_equal(f.flags, 0);
	test_silent();
}

/* Who is in a roster. */
static void
test_tell(void **unused)
{
	static const struct { const char *account, *contact; uint32_t flags; } cases[] = {
		{ JULIET, ROMEO, FLAG_EXISTS },
		{ ROMEO, JULIET, FLAG_EXISTS },
		{ JULIET, "nurse@far.example", 0 },
		{ "nobody@example.org", ROMEO, 0 },
	};
	struct frame f, ask = { .type = FRAME_ROSTER_ASK, .archive_id = 5, .number = 6 };
	size_t i;

	(void)unused;
	subscribe();
	for (i = 0; i < sizeof cases / sizeof *cases; i++) {
		ask.jid = slice_string(cases[i].account);
		ask.to = slice_string(cases[i].contact);
		roster_tell(&ask);
		test_collect();
		assert_true(test_next(&f));
		assert_int_equal(f.type, FRAME_ROSTER_IS);
		assert_int_equal(f.flags, cases[i].flags);
		assert_true(f.archive_id == 5 && f.number == 6 && slice_equal(f.jid, ask.jid) &&
		    slice_equal(f.to, ask.to));
	}
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, test_open, test_close)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_tables), cmocka_unit_test(test_approval_table),
		TEST(test_local), TEST(test_denied), TEST(test_remote), TEST(test_outbox), TEST(test_nobody),
		TEST(test_approved_before), TEST(test_repeated), TEST(test_pending),
		TEST(test_pending_bounded), TEST(test_load), TEST(test_tell),
	};

	log_set_level(LOG_LEVEL_ERROR);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
