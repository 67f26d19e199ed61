/*
 * subscription.c: subscription states and what each stanza makes of them: the tables of RFC 6121
 * appendix A.2 (outbound) and A.3 (inbound), and pre-approval (section 3.4). Called by presence.c;
 * no store, no frames.
 */
#include "authd.h"

#define TO  ROSTER_TO
#define FR  ROSTER_FROM
#define PO  ROSTER_PENDING_OUT
#define PI  ROSTER_PENDING_IN

#define STATE_BITS (TO | FR | PO | PI)
/* Bits that put an item into the roster that clients see. */
#define VISIBLE    (TO | FR | PO | ROSTER_APPROVED)

/* A cell of the tables: whether the stanza passes, and the new state. */
struct cell {
	bool pass;
	unsigned bits;
};

enum column { SUBSCRIBE, UNSUBSCRIBE, SUBSCRIBED, UNSUBSCRIBED, COLUMNS };

struct row {
	unsigned bits;
	struct cell cell[COLUMNS];
};

#define STATES 9

/* clang-format off */
/* A.2.1 to A.2.4: the account's own stanza is routed to the contact? */
static const struct row outbound[STATES] = {
	/* state       subscribe             unsubscribe         subscribed            unsubscribed */
	{ 0,       { { true, PO },           { true, 0 },        { false, 0 },         { false, 0 } } },
	{ PO,      { { true, PO },           { true, 0 },        { false, PO },        { false, PO } } },
	{ PI,      { { true, PO | PI },      { true, PI },       { true, FR },         { true, 0 } } },
	{ PO | PI, { { true, PO | PI },      { true, PI },       { true, FR | PO },    { true, PO } } },
	{ TO,      { { true, TO },           { true, 0 },        { false, TO },        { false, TO } } },
	{ TO | PI, { { true, TO | PI },      { true, PI },       { true, TO | FR },    { true, TO } } },
	{ FR,      { { true, FR | PO },      { true, FR },       { false, FR },        { true, 0 } } },
	{ FR | PO, { { true, FR | PO },      { true, FR },       { false, FR | PO },   { true, PO } } },
	{ TO | FR, { { true, TO | FR },      { true, FR },       { false, TO | FR },   { true, TO } } },
};

/* A.3.1 to A.3.4: the contact's stanza is delivered to the account's sessions? */
static const struct row inbound[STATES] = {
	/* state       subscribe             unsubscribe         subscribed            unsubscribed */
	{ 0,       { { true, PI },           { false, 0 },       { false, 0 },         { false, 0 } } },
	{ PO,      { { true, PO | PI },      { false, PO },      { true, TO },         { true, 0 } } },
	{ PI,      { { false, PI },          { true, 0 },        { false, PI },        { false, PI } } },
	{ PO | PI, { { false, PO | PI },     { true, PO },       { true, TO | PI },    { true, PI } } },
	{ TO,      { { true, TO | PI },      { false, TO },      { false, TO },        { true, 0 } } },
	{ TO | PI, { { false, TO | PI },     { true, TO },       { false, TO | PI },   { true, PI } } },
	{ FR,      { { false, FR },          { true, 0 },        { false, FR },        { false, FR } } },
	{ FR | PO, { { false, FR | PO },     { true, PO },       { true, TO | FR },    { true, FR } } },
	{ TO | FR, { { false, TO | FR },     { true, TO },       { false, TO | FR },   { true, FR } } },
};
/* clang-format on */

static const enum column columns[TYPE_COUNT] = {
	[TYPE_SUBSCRIBE] = SUBSCRIBE,
	[TYPE_UNSUBSCRIBE] = UNSUBSCRIBE,
	[TYPE_SUBSCRIBED] = SUBSCRIBED,
	[TYPE_UNSUBSCRIBED] = UNSUBSCRIBED,
};

bool
subscription_type(enum stanza_type type)
{
	return type == TYPE_SUBSCRIBE || columns[type] != SUBSCRIBE;
}

/* Looks a cell up, and keeps the bits that the tables do not know. */
static struct subscription_step
look(const struct row table[STATES], enum stanza_type type, unsigned bits)
{
	struct subscription_step step = { false, false, bits };
	unsigned i;

	for (i = 0; i < STATES; i++) {
		const struct cell *cell = &table[i].cell[columns[type]];

		if (table[i].bits != (bits & STATE_BITS))
			continue;
		step.pass = cell->pass;
		step.bits = (bits & ~(unsigned)STATE_BITS) | cell->bits;
	}
	return step;
}

/* An item that becomes visible is listed from then on. */
static struct subscription_step
listed(struct subscription_step step)
{
	if (step.bits & VISIBLE)
		step.bits |= ROSTER_LISTED;
	return step;
}

struct subscription_step
subscription_outbound(enum stanza_type type, unsigned bits)
{
	struct subscription_step step = look(outbound, type, bits);

	/* Section 3.4.1: an approval that nobody has asked for is kept until somebody does;
	 * section 3.2: a denial takes it back. */
	if (type == TYPE_SUBSCRIBED && !(bits & (FR | PI)))
		step.bits |= ROSTER_APPROVED;
	if (type == TYPE_UNSUBSCRIBED)
		step.bits &= ~(unsigned)ROSTER_APPROVED;
	return listed(step);
}

struct subscription_step
subscription_inbound(enum stanza_type type, unsigned bits)
{
	struct subscription_step step = look(inbound, type, bits);

	if (type != TYPE_SUBSCRIBE)
		return listed(step);
	/* Section 3.1.3: who is subscribed already, or approved before, gets his answer at once. */
	if (bits & FR) {
		step.approve = true;
	} else if (bits & ROSTER_APPROVED) {
		step.approve = true;
		step.pass = false;
		step.bits = (bits & ~(unsigned)PI) | FR;
	}
	return listed(step);
}
