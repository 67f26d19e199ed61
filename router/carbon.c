/*
 * carbon.c: copies of messages for the other sessions of their sender's and their receiver's account
 * (XEP-0280), and the requests that turn them on and off.
 *
 * Called by route.c and deliver.c when it is a message's turn, so a copy never comes before the
 * commit. A copy is the frame itself with FLAG_CARBON, one for each c2sd, which writes the wrapper. It
 * is not stored: the archive has the message, and the copy carries its id. What is drawn from a spool
 * later is not copied. Nothing here can fail.
 */
#include "router.h"

#include "counter.h"
#include "ns.h"

void
carbon_request(const struct frame *f, struct session *sender, struct slice account)
{
	bool enable = slice_is(f->name, "enable");
	struct frame reply;

	if (!slice_equal(account, account_jid(sender->account)) || f->subtype != TYPE_SET) {
		route_error(f, STANZA_ERROR_NOT_ALLOWED, NULL);
	} else if (!enable && !slice_is(f->name, "disable")) {
		route_error(f, STANZA_ERROR_BAD_REQUEST, NULL);
	} else {
		sender->carbons = enable;
		stanza_result(f, SLICE(""), &reply);
		route_reply(&reply);
	}
}

/* Whether a message is one of those that are copied: the rules of urn:xmpp:carbons:rules:0. */
static bool
is_eligible(const struct frame *f)
{
	if (f->kind != STANZA_MESSAGE || (f->flags & FLAG_PRIVATE) || f->subtype == TYPE_GROUPCHAT)
		return false;
	return f->subtype == TYPE_CHAT || f->subtype == TYPE_ERROR || (f->flags & FLAG_IM) ||
	    (f->subtype == TYPE_NORMAL && (f->flags & FLAG_BODY));
}

/* Whether a message is from an occupant of a room, which gives it to all sessions that have joined. */
static bool
is_from_occupant(const struct frame *f)
{
	struct jid from;

	return (f->flags & FLAG_MUC) && f->from.ptr != NULL && jid_parse(f->from, &from) == 0 &&
	    from.resource.ptr != NULL && !registry_local_domain(from.domain);
}

/* Sends copies to the sessions of an account that want them, but for that of this address and those
 * that are passed over. skips: the flag that says that the account does not have it in its archive. */
static void
copy(const struct frame *f, const struct account *account, uint32_t skips, struct slice but,
    bool (*passed_over)(const struct session *s))
{
	struct receivers *r = receivers_begin();
	struct frame out = *f;
	struct session *s;
	bool any = false;

	TAILQ_FOREACH(s, &account->sessions, siblings) {
		if (!s->carbons || s->killed || s->state != SESSION_BOUND || s->peer == NULL ||
		    slice_equal(session_jid(s), but) || (passed_over != NULL && passed_over(s)) ||
		    (f->from.ptr != NULL && slice_equal(session_jid(s), f->from)))
			continue;
		receivers_add(r, s);
		any = true;
	}
	if (!any)
		return;
	COUNT(carbons);
	out.flags = (f->flags & FLAG_FROM_ENTRY) | FLAG_CARBON;
	if (f->flags & skips)
		out.flags |= FLAG_NO_PERMANENT;
	out.number = f->archive_id;
	out.archive_id = 0;
	if (out.to.ptr == NULL)
		out.to = account_jid(account);
	receivers_send(r, &out);
}

/* A message to one's own account is copied once, when it is received. */
void
carbon_sent(const struct frame *f, const struct session *sender)
{
	const struct account *account = sender->account;

	if (!is_eligible(f) || f->to.ptr == NULL || sender->remote ||
	    slice_equal(jid_bare_of(f->to), account_jid(account)))
		return;
	copy(f, account, FLAG_FROM_SKIPS, session_jid(sender), NULL);
}

/* Those that get messages to the bare JID, now or from the spool. */
static bool
gets_original(const struct session *s)
{
	return !s->available || takes_messages(s);
}

void
carbon_received(const struct frame *f, const struct account *account, const struct session *taker)
{
	if (!is_eligible(f) || is_from_occupant(f))
		return;
	if (taker != NULL)
		copy(f, account, FLAG_TO_SKIPS, session_jid(taker), NULL);
	else
		copy(f, account, FLAG_TO_SKIPS, SLICE_NONE, gets_original);
}

void
carbon_error(const struct frame *original, const struct frame *error)
{
	const struct account *account;

	if (!is_eligible(original) || error->to.ptr == NULL)
		return;
	account = account_find(jid_bare_of(error->to));
	if (account != NULL)
		copy(error, account, 0, error->to, NULL);
}
