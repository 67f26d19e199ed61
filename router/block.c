/*
 * block.c: who has blocked whom (XEP-0191), by the lists that authd keeps: of accounts with sessions they
 * come with the roster, of others with the answer whether they exist.
 *
 * Called by route.c, deliver.c, drain.c, presence.c. A receiver that has blocked looks like one that is
 * not there; nobody blocks another session of its own account, or the server.
 */
#include "block.h"

#include "router.h"

#include <stdlib.h>

#include "counter.h"
#include "mem.h"
#include "ns.h"

/* Whether a list of this account covers an address that is not the account's own. */
static bool
covers(struct slice list, struct slice owner, struct slice other)
{
	return list.len != 0 && other.ptr != NULL && !slice_equal(jid_bare_of(other), owner) &&
	    block_matches(list, other);
}

bool
block_is(struct slice owner, struct slice other)
{
	const struct account *account = account_find(owner);

	return covers(account != NULL ? account_blocks(account) : existence_blocks(owner), owner,
	    other);
}

bool
block_apart(const struct account *a, struct slice a_jid, const struct account *b, struct slice b_jid)
{
	return (a != NULL && covers(account_blocks(a), account_jid(a), b_jid)) ||
	    (b != NULL && covers(account_blocks(b), account_jid(b), a_jid));
}

bool
block_outgoing(const struct frame *f, const struct session *sender)
{
	const struct account *account = sender->account;

	return f->to.ptr != NULL && !registry_local_domain(f->to) &&
	    covers(account_blocks(account), account_jid(account), f->to);
}

/* An error with a condition of this specification's (section 3.3). */
void
block_refuse(const struct frame *f)
{
	struct buf scratch = { 0 };
	struct frame reply;

	if (f->archive_id != 0)
		deliver_drop(f);
	if (stanza_error_reply(f, STANZA_ERROR_NOT_ACCEPTABLE, SLICE_NONE, &scratch, &reply)) {
		reply.payload = SLICE("<error type='cancel'><not-acceptable xmlns='" NS_STANZAS "'/>"
		    "<blocked xmlns='" NS_BLOCKING ":errors'/></error>");
		COUNT(bounced);
		route_reply(&reply);
	}
	buf_free(&scratch);
}

/* Tells the sessions of a contact that may see this session what the new list makes of it. */
static void
tell_contact(struct session *s, const struct account *contact, struct slice before, struct slice now)
{
	struct slice own = account_jid(s->account);
	struct session *other;

	TAILQ_FOREACH(other, &contact->sessions, siblings) {
		bool was = covers(before, own, session_jid(other));
		bool is = covers(now, own, session_jid(other));

		if (was == is || !other->available || other->killed ||
		    covers(account_blocks(contact), account_jid(contact), session_jid(s)))
			continue;
		presence_show(s, other, was);
	}
}

/* Those that got directed presence and may not have more of it. */
static void
withdraw_directed(struct session *s, struct slice list)
{
	size_t i = 0;

	while (i < s->directed_count) {
		struct slice jid = slice_string(s->directed[i]);

		if (!covers(list, account_jid(s->account), jid)) {
			i++;
			continue;
		}
		if (!(account_bits(s->account, jid_bare_of(jid)) & ROSTER_FROM))
			presence_withdraw(s, jid);
		session_directed_remove(s, jid);
	}
}

void
block_changed(struct peer *authd, const struct frame *f)
{
	struct account *account = account_find(f->jid);
	struct slice before;
	struct session *s;
	size_t i;

	if (!account_is_ours(f->jid) || !block_valid(f->text)) {
		peer_refuse(authd, f, "malformed list");
		return;
	}
	existence_set(f->jid, true, (f->flags & FLAG_PUSH) != 0, f->text);
	if (account == NULL)
		return;
	before = account_blocks(account);
	TAILQ_FOREACH(s, &account->sessions, siblings) {
		if (s->killed || s->state != SESSION_BOUND)
			continue;
		withdraw_directed(s, f->text);
		for (i = 0; s->available && i < account->contact_count; i++) {
			const struct contact *c = &account->contacts[i];
			const struct account *other = account_find(slice_of(c->jid, c->len));

			if ((c->bits & ROSTER_FROM) && other != NULL && other != account)
				tell_contact(s, other, before, f->text);
		}
	}
	account_set_blocks(account, f->text);
}
