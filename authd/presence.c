/*
 * presence.c: subscription stanzas (RFC 6121 section 3) and what they change in the rosters of both
 * sides. Called by main.c, roster_iq.c and account.c. What does not concern an account of ours, or
 * changes nothing, is silent.
 *
 * The frames of one stanza leave in this order: ROSTER_CHANGE of all sides, roster pushes, then
 * stanzas; they are gathered in three buffers. Stanzas for contacts elsewhere are in custody (outbox.c),
 * and leave behind all of these.
 */
#include "authd.h"
#include "counter.h"
#include "log.h"

static struct {
	struct buf changes, pushes, stanzas, grants;
} effects;

/* Hands the gathered frames over in their order. */
static void
effects_end(void)
{
	out_raw(buf_slice(&effects.changes));
	out_raw(buf_slice(&effects.pushes));
	out_raw(buf_slice(&effects.stanzas));
	out_raw(buf_slice(&effects.grants));
	buf_free(&effects.changes);
	buf_free(&effects.pushes);
	buf_free(&effects.stanzas);
	buf_free(&effects.grants);
}

/* Tells the router of a subscription. Presence follows from it: it comes after the stanza that
 * grants it (RFC 6121 section 3.1.5), and its end before the stanza that takes it away. */
static void
change(struct slice account, struct slice contact, unsigned old, unsigned bits)
{
	bool granted = bits & ~old & ROSTER_FROM;
	struct frame f = { .type = FRAME_ROSTER_CHANGE, .number = bits };

	f.jid = account;
	f.to = contact;
	frame_write(&f, granted ? &effects.grants : &effects.changes);
}

/* A subscription stanza to an account's sessions, or to a contact elsewhere, for whom it is kept. */
static void
stanza(const struct frame *original, enum stanza_type type, struct slice from, struct slice to,
    bool local)
{
	struct frame f = { .type = FRAME_STANZA, .kind = STANZA_PRESENCE, .subtype = type,
		.audience = local ? AUDIENCE_AVAILABLE : AUDIENCE_NONE };

	f.from = from;
	f.to = to;
	f.payload = SLICE("");
	if (original != NULL) {
		f.id = original->id;
		f.lang = original->lang;
		if (original->payload.ptr != NULL)
			f.payload = original->payload;
		f.name = original->name;
		f.ns = original->ns;
	}
	if (!local)
		outbox_add(&f);
	else if (frame_write(&f, &effects.stanzas) != OK)
		log_error("subscription stanza dropped", "reason=\"too big\"");
}

/* Stores the new state of an item and tells of it. always: even when nothing has changed. */
static void
item_change(struct slice account, uint64_t id, struct roster_item *item, unsigned bits,
    bool always)
{
	unsigned old = item->bits;
	bool seen = ((old ^ bits) & ~(unsigned)ROSTER_PENDING_IN) != 0;

	if (old == bits && !always)
		return;
	if (old & ROSTER_PENDING_IN && !(bits & ROSTER_PENDING_IN))
		roster_request_remove(id, item->jid);
	item->bits = bits;
	if (old != bits)
		roster_put(id, item);
	if (seen)
		roster_advance(id);
	/* What comes again may be all of it new to the router. */
	change(account, item->jid, always ? 0 : old, bits);
	if (bits & ROSTER_LISTED && (seen || always))
		roster_push(account, id, item, false, &effects.pushes);
}

static bool
domain_is_ours(struct slice bare)
{
	struct jid jid;

	jid_split(bare, &jid);
	return state_domain(jid.domain) != NULL;
}

/* What an inbound stanza does to an account of ours. again: it may have been handled before, so
 * deliver what may be lost. Returns whether it must be answered with *answer. */
static bool
inbound(struct slice account, struct slice contact, enum stanza_type type,
    const struct frame *original, bool again, enum stanza_type *answer)
{
	struct buf memory = { 0 };
	struct roster_item item;
	struct subscription_step step;
	struct account a;
	bool answers = false, blocked;

	if (account_find(account, &a) != OK)
		return false; /* section 8.5.1: all of them are ignored, so that nobody can tell */
	/* Who is blocked asks for nothing; what it ends or grants is kept, unsaid (XEP-0191). */
	blocked = block_covers(a.id, contact);
	if (blocked && type == TYPE_SUBSCRIBE)
		return false;
	roster_get(a.id, contact, &memory, &item);
	step = subscription_inbound(type, item.bits);
	if (item.bits == 0 && step.bits == ROSTER_PENDING_IN && !roster_request_room(a.id)) {
		COUNT(subscriptions_dropped);
		log_warn("subscription request dropped", "account=%s reason=\"too many wait\"",
		    log_quote(account));
		goto done;
	}
	if (step.bits & ROSTER_PENDING_IN && type == TYPE_SUBSCRIBE && original != NULL)
		roster_request_put(a.id, contact, original);
	item_change(account, a.id, &item, step.bits, again);
	if (again && !step.pass && !step.approve)
		step.pass = type == TYPE_SUBSCRIBE ? step.bits & ROSTER_PENDING_IN : true;
	if (step.pass && !blocked)
		stanza(original, type, contact, account, true);
	answers = step.approve;
	*answer = TYPE_SUBSCRIBED;
done:
	buf_free(&memory);
	return answers;
}

/* Whether a subscription request carries a good invitation of the account (XEP-0379): then the
 * contact is approved in advance, and the invitation used. */
static bool
invited(struct slice account, struct slice contact, const struct frame *f)
{
	struct buf scratch = { 0 }, memory = { 0 };
	struct xmlin_element preauth;
	struct roster_item item;
	struct invite invite;
	struct slice token;
	struct account a;
	bool good = f->subtype == TYPE_SUBSCRIBE && f->payload.ptr != NULL &&
	    xmlin_find(f->payload, SLICE(NS_CLIENT), "preauth", NS_PARS, &preauth) &&
	    xmlin_attribute(&preauth, "token", &scratch, &token) == OK &&
	    invite_find(token, f->stamp != 0 ? f->stamp : daemon_now(), false, &invite) == OK &&
	    invite.flags & INVITE_CONTACT && slice_equal(invite.inviter, account);

	good = good && account_find(account, &a) == OK && !block_covers(a.id, contact) &&
	    !slice_equal(account, contact);
	if (good) {
		roster_get(a.id, contact, &memory, &item);
		good = !(item.bits & ROSTER_FROM) &&
		    (item.bits & ROSTER_LISTED || roster_room(a.id, contact.len));
	}
	if (good) {
		item_change(account, a.id, &item, item.bits | ROSTER_APPROVED | ROSTER_LISTED, false);
		invite_use(token);
		log_info("invitation taken", "account=%s by=%s", log_quote(contact), log_quote(account));
	}
	buf_free(&scratch);
	buf_free(&memory);
	return good;
}

static void route(struct slice from, struct slice to, enum stanza_type type,
    const struct frame *original, bool again);

/* The inviter asks back, so that both see each other. */
static void
ask_back(struct slice account, struct slice contact)
{
	struct buf memory = { 0 };
	struct roster_item item;
	struct subscription_step step;
	struct account a;

	if (account_find(account, &a) != OK)
		return;
	roster_get(a.id, contact, &memory, &item);
	step = subscription_outbound(TYPE_SUBSCRIBE, item.bits);
	item_change(account, a.id, &item, step.bits, false);
	if (step.pass)
		route(account, contact, TYPE_SUBSCRIBE, NULL, false);
	buf_free(&memory);
}

/* Brings a stanza from an account of ours to its receiver, and the receiver's answer back. */
static void
route(struct slice from, struct slice to, enum stanza_type type, const struct frame *original,
    bool again)
{
	enum stanza_type answer, nothing;
	bool guest;

	if (!domain_is_ours(to)) {
		/* What is repeated was kept with the change that it has made. */
		if (!again)
			stanza(original, type, from, to, false);
		return;
	}
	guest = original != NULL && invited(to, from, original);
	if (inbound(to, from, type, original, again, &answer))
		inbound(from, to, answer, NULL, again, &nothing);
	if (guest)
		ask_back(to, from);
}

/* Whether an outbound stanza that is repeated would have been routed, judging by the state now. */
static bool
routed_before(enum stanza_type type, unsigned bits)
{
	return type != TYPE_SUBSCRIBED || bits & ROSTER_FROM;
}

static void
outbound(const struct frame *f, struct slice from, struct slice to, bool again)
{
	struct buf memory = { 0 };
	struct roster_item item;
	struct subscription_step step;
	struct account a;

	if (account_find(from, &a) != OK || slice_equal(from, to))
		return;
	roster_get(a.id, to, &memory, &item);
	step = subscription_outbound(f->subtype, item.bits);
	if (!(item.bits & ROSTER_LISTED) && step.bits & ROSTER_LISTED &&
	    !roster_room(a.id, to.len)) {
		request_refuse(f, STANZA_ERROR_RESOURCE_CONSTRAINT, "the roster is full");
		goto done;
	}
	item_change(from, a.id, &item, step.bits, again);
	if (step.pass || (again && routed_before(f->subtype, step.bits)))
		route(from, to, f->subtype, f, again);
done:
	buf_free(&memory);
}

/* A stanza from a contact elsewhere. */
static void
from_remote(const struct frame *f, struct slice account, struct slice contact, bool again)
{
	enum stanza_type answer;
	bool guest = invited(account, contact, f);

	if (inbound(account, contact, f->subtype, f, again, &answer) && !again)
		stanza(NULL, answer, account, contact, false);
	if (guest)
		ask_back(account, contact);
}

void
presence_handle(const struct frame *f, bool repeated)
{
	struct jid from, to;

	if (!subscription_type(f->subtype) || jid_parse(f->from, &from) != OK ||
	    jid_parse(f->to, &to) != OK) {
		log_warn("subscription stanza refused", "from=%s to=%s", log_quote(f->from),
		    log_quote(f->to));
		return;
	}
	if (state_domain(from.domain) != NULL)
		outbound(f, jid_bare(&from), jid_bare(&to), repeated);
	else if (state_domain(to.domain) != NULL)
		from_remote(f, jid_bare(&to), jid_bare(&from), repeated);
	effects_end();
}

void
presence_remove(struct slice account, uint64_t id, const struct roster_item *item, bool push)
{
	struct roster_item gone = { .jid = item->jid };

	if (item->bits & ROSTER_PENDING_IN)
		roster_request_remove(id, item->jid);
	roster_put(id, &gone);
	if (item->bits & ROSTER_LISTED)
		roster_advance(id);
	change(account, item->jid, item->bits, 0);
	if (push)
		roster_push(account, id, &gone, true, &effects.pushes);
	if (item->bits & (ROSTER_TO | ROSTER_PENDING_OUT))
		route(account, item->jid, TYPE_UNSUBSCRIBE, NULL, false);
	if (item->bits & (ROSTER_FROM | ROSTER_PENDING_IN))
		route(account, item->jid, TYPE_UNSUBSCRIBED, NULL, false);
	effects_end();
}

/* One side of a friendship. */
static void
befriend(struct slice account, uint64_t id, struct slice contact)
{
	struct buf memory = { 0 };
	struct roster_item item;

	roster_get(id, contact, &memory, &item);
	item_change(account, id, &item, ROSTER_LISTED | ROSTER_TO | ROSTER_FROM, false);
	buf_free(&memory);
}

int
presence_befriend(struct slice a, struct slice b)
{
	struct account one, two;

	if (account_find(a, &one) != OK || account_find(b, &two) != OK ||
	    !roster_room(one.id, b.len) || !roster_room(two.id, a.len))
		return E_TOO_MANY;
	befriend(a, one.id, b);
	befriend(b, two.id, a);
	effects_end();
	return OK;
}

void
presence_update(struct slice account, uint64_t id, const struct roster_item *item,
    unsigned old_bits)
{
	roster_put(id, item);
	roster_advance(id);
	if (item->bits != old_bits)
		change(account, item->jid, old_bits, item->bits);
	roster_push(account, id, item, false, &effects.pushes);
	effects_end();
}
