/*
 * carbon.c: copies of messages for the other sessions of their sender's and their receiver's account
 * (XEP-0280), and the requests that turn them on and off.
 *
 * Called by route.c and deliver.c when it is a message's turn, so a copy never comes before the
 * commit. A copy is the frame itself with FLAG_CARBON, one for each c2sd, which writes the wrapper. It
 * is not stored: the archive has the message, and the copy carries its id. A session that is fed has its
 * copies made by drain.c, out of the archive. Nothing here can fail.
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
		stanza_result(f, SLICE(""), &reply);
		if (enable && !sender->carbons)
			sender->copies_since = hold_turned();
		if (enable)
			reply.number = sender->copies_since;
		sender->carbons = enable;
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

bool
carbon_wanted(const struct frame *f, const struct session *s)
{
	return s->carbons && is_eligible(f) && !slice_equal(session_jid(s), f->from) &&
	    !(is_from_occupant(f) && slice_equal(jid_bare_of(f->to), account_jid(s->account)));
}

bool
carbon_had(const struct frame *f, const struct session *s)
{
	return f->archive_id > s->copies_since && carbon_wanted(f, s);
}

void
carbon_make(struct frame *f)
{
	f->flags = (f->flags & (FLAG_FROM_ENTRY | FLAG_SPOOL)) | FLAG_CARBON;
	f->number = f->archive_id;
	f->archive_id = 0;
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
		if (f->archive_id != 0 && !drain_passes(s, f->archive_id))
			continue;
		receivers_add(r, s);
		any = true;
	}
	if (!any)
		return;
	COUNT(carbons);
	out.flags &= ~(unsigned)FLAG_SPOOL;
	carbon_make(&out);
	if (f->flags & skips)
		out.flags |= FLAG_NO_PERMANENT;
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

void
carbon_received(const struct frame *f, const struct account *account, const struct session *taker)
{
	if (!is_eligible(f) || is_from_occupant(f))
		return;
	if (taker != NULL)
		copy(f, account, FLAG_TO_SKIPS, session_jid(taker), NULL);
	else
		copy(f, account, FLAG_TO_SKIPS, SLICE_NONE, takes_messages);
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
