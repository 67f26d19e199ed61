/*
 * presence.c: presence of local accounts (RFC 6121 section 4).
 *
 * Called by route.c when it is a stanza's turn, and by account.c and session.c for what follows
 * from their changes. Contacts elsewhere get what is for them by way of remote.c, each its own stanza.
 */
#include "router.h"

#include <stdlib.h>

#include "counter.h"
#include "log.h"
#include "mem.h"
#include "ns.h"

/* The presence that a session has sent last. */
static struct frame
presence_of(const struct session *s)
{
	struct frame f;

	ASSERT(frame_read(slice_of(s->presence, s->presence_len), &f) == 0);
	f.to = SLICE_NONE;
	f.origin = 0;
	f.seq = 0;
	f.handle = 0;
	return f;
}

static struct frame
unavailable_of(const struct session *s)
{
	return (struct frame){ .type = FRAME_STANZA, .kind = STANZA_PRESENCE,
		.subtype = TYPE_UNAVAILABLE, .from = session_jid(s), .payload = SLICE("") };
}

/* All available sessions of an account but one, unless one side has blocked the other. */
static void
add_available(struct receivers *r, struct account *account, const struct session *but,
    const struct frame *f)
{
	const struct account *sender = f->from.ptr ? account_find(jid_bare_of(f->from)) : NULL;
	struct session *s;

	TAILQ_FOREACH(s, &account->sessions, siblings) {
		if (s != but && s->available && s->state == SESSION_BOUND &&
		    !block_apart(sender, f->from, account, session_jid(s)))
			receivers_add(r, s);
	}
}

/* Sends presence to a contact elsewhere, unless the account has blocked it; false when the contact is
 * local. */
static bool
send_elsewhere(const struct frame *f, const struct account *account, struct slice contact)
{
	struct frame out = *f;
	struct jid to;

	jid_split(contact, &to);
	if (registry_local_domain(to.domain))
		return false;
	out.to = contact;
	if (!block_is(account_jid(account), contact))
		remote_send(&out);
	return true;
}

/* Sends presence to all who are subscribed to this account's, and to its own sessions. */
static void
presence_fan_out(struct session *s, const struct frame *f, const struct session *but)
{
	struct receivers *r = receivers_begin();
	const struct account *account = s->account;
	struct frame out = *f;
	size_t i;

	add_available(r, s->account, but, f);
	for (i = 0; i < account->contact_count; i++) {
		const struct contact *c = &account->contacts[i];
		struct account *other;

		if (!(c->bits & ROSTER_FROM) || send_elsewhere(f, account, slice_of(c->jid, c->len)))
			continue;
		other = account_find(slice_of(c->jid, c->len));
		if (other != NULL && other != account)
			add_available(r, other, NULL, f);
	}
	COUNT(presences_routed);
	out.to = SLICE_NONE;
	receivers_send(r, &out);
}

void
presence_show(const struct session *s, struct session *to, bool shown)
{
	struct frame f = shown ? presence_of(s) : unavailable_of(s);

	deliver_to(to, &f);
}

void
presence_withdraw(const struct session *s, struct slice to)
{
	struct frame f = unavailable_of(s);

	f.to = to;
	presence_deliver(&f);
}

/* Gives a session the presence of all available sessions of an account. */
static void
presence_tell(const struct account *account, struct session *to)
{
	struct session *s;

	TAILQ_FOREACH(s, &account->sessions, siblings) {
		struct frame f;

		if (s == to || !s->available || s->killed ||
		    block_apart(account, session_jid(s), to->account, session_jid(to)))
			continue;
		f = presence_of(s);
		deliver_to(to, &f);
	}
}

/* The first presence of a session: it learns what its contacts do (RFC 6121 section 4.2.2, 4.3). */
static void
presence_probe_all(struct session *s)
{
	const struct account *account = s->account;
	struct peer *authd = peer_of(ROLE_AUTHD);
	struct frame pending = { .type = FRAME_ROSTER_PENDING, .handle = s->handle,
		.jid = account_jid(account) };
	struct frame probe = { .type = FRAME_STANZA, .kind = STANZA_PRESENCE, .subtype = TYPE_PROBE,
		.from = session_jid(s), .payload = SLICE("") };
	size_t i;

	presence_tell(account, s);
	for (i = 0; i < account->contact_count; i++) {
		const struct contact *c = &account->contacts[i];
		struct account *other;

		if (!(c->bits & ROSTER_TO) || send_elsewhere(&probe, account, slice_of(c->jid, c->len)))
			continue;
		other = account_find(slice_of(c->jid, c->len));
		if (other != NULL && other != account && other->loaded &&
		    (account_bits(other, account_jid(account)) & ROSTER_FROM))
			presence_tell(other, s);
	}
	if (authd != NULL)
		peer_send(authd, &pending);
}

/* Tells those who got directed presence and are not subscribed that the session is gone. */
static void
directed_withdraw(struct session *s, const struct frame *unavailable)
{
	struct frame f = *unavailable;

	while (s->directed_count != 0) {
		char *jid = s->directed[--s->directed_count];

		f.to = slice_string(jid);
		if (!(account_bits(s->account, jid_bare_of(f.to)) & ROSTER_FROM))
			presence_deliver(&f);
		free(jid);
	}
	MEM_FREE(&s->directed);
}

void
presence_broadcast(struct session *s, const struct frame *f)
{
	bool initial = !s->available;
	int before = s->priority;

	if (f->subtype == TYPE_PROBE)
		return;
	if (f->subtype == TYPE_UNAVAILABLE) {
		if (!s->available) {
			directed_withdraw(s, f);
			return;
		}
		presence_fan_out(s, f, NULL);
		session_set_presence(s, NULL);
		directed_withdraw(s, f);
		return;
	}
	session_set_presence(s, f);
	presence_fan_out(s, f, NULL);
	if (initial)
		presence_probe_all(s);
	if (s->held_back || (s->priority >= 0 && (initial || before < 0)))
		drain_begin(s);
}

/* Presence to an address: to one resource, or to all available ones of an account. */
void
presence_deliver(const struct frame *f)
{
	struct slice bare = jid_bare_of(f->to);
	struct account *account = account_find(bare);
	struct receivers *r = receivers_begin();
	struct session *s;
	struct jid to;

	jid_split(f->to, &to);
	if (!registry_local_domain(to.domain)) {
		remote_send(f);
		return;
	}
	if (account == NULL)
		return;
	if (bare.len == f->to.len) {
		add_available(r, account, NULL, f);
	} else {
		s = session_of_resource(account, f->to);
		if (s != NULL && !block_is(bare, f->from))
			receivers_add(r, s);
	}
	COUNT(presences_routed);
	receivers_send(r, f);
}

/* A client's probe: answered when the account lets its sender see its presence. */
static void
presence_probe(struct session *s, const struct frame *f)
{
	struct slice bare = jid_bare_of(f->to);
	struct account *account = account_find(bare);
	struct frame refusal = { .type = FRAME_STANZA, .kind = STANZA_PRESENCE,
		.subtype = TYPE_UNSUBSCRIBED, .from = bare, .to = account_jid(s->account),
		.payload = SLICE("") };
	bool own = account == s->account;

	if (block_is(bare, session_jid(s)))
		return; /* no answer at all (XEP-0191 section 3.3) */
	/* The sender's own roster says it as well as the other's, which may not be loaded. */
	if (!own && !(account_bits(s->account, bare) & ROSTER_TO)) {
		deliver_to(s, &refusal);
	} else if (account != NULL) {
		presence_tell(account, s);
	} else {
		refusal.subtype = TYPE_UNAVAILABLE;
		deliver_to(s, &refusal);
	}
}

/* A probe from elsewhere: who may not see the presence gets no answer, so that nobody learns who has
 * an account, or is online. */
static void
presence_probe_remote(const struct frame *f)
{
	struct account *account = account_find(jid_bare_of(f->to));
	struct session *s;

	if (account == NULL || account->remote ||
	    !(account_bits(account, jid_bare_of(f->from)) & ROSTER_FROM))
		return;
	TAILQ_FOREACH(s, &account->sessions, siblings) {
		struct frame out;

		if (!s->available || s->killed || block_is(account_jid(account), f->from))
			continue;
		out = presence_of(s);
		out.to = jid_bare_of(f->from);
		remote_send(&out);
	}
}

void
presence_directed(struct session *s, const struct frame *f)
{
	struct jid to;

	jid_split(f->to, &to);
	if (f->subtype == TYPE_PROBE && registry_local_domain(to.domain)) {
		if (s->remote)
			presence_probe_remote(f);
		else
			presence_probe(s, f);
		return;
	}
	if (s->remote) {
		presence_deliver(f); /* its own server keeps what it was directed to */
		return;
	}
	if (f->subtype == TYPE_PROBE)
		return; /* it is ours to send (RFC 6121 section 4.3) */
	if (registry_local_domain(to.domain) && to.local.ptr == NULL)
		return; /* the server itself has no use for it */
	if (f->subtype == TYPE_UNAVAILABLE) {
		session_directed_remove(s, f->to);
	} else if (!session_directed_add(s, f->to)) {
		route_error(f, STANZA_ERROR_RESOURCE_CONSTRAINT, "Too much directed presence");
		return;
	}
	presence_deliver(f);
}

void
presence_gone(struct session *s)
{
	struct frame f = unavailable_of(s);

	if (s->account == NULL || s->killed || s->remote)
		return;
	if (s->available) {
		session_set_presence(s, NULL);
		presence_fan_out(s, &f, s);
	}
	directed_withdraw(s, &f);
}

void
presence_granted(const struct frame *f)
{
	struct account *account = account_find(f->from);
	struct session *s;

	if (account == NULL || account->remote || !(account_bits(account, f->to) & ROSTER_FROM))
		return;
	TAILQ_FOREACH(s, &account->sessions, siblings) {
		struct frame presence;

		if (!s->available || s->killed)
			continue;
		presence = presence_of(s);
		send_elsewhere(&presence, account, f->to);
	}
}

/* A contact may see the account's presence from now on, or no more (RFC 6121 sections 3.1.5,
 * 3.2.2). */
void
presence_changed(struct account *account, struct slice contact, unsigned before, unsigned now)
{
	struct session *s;
	struct jid to;

	if (!((before ^ now) & ROSTER_FROM))
		return;
	jid_split(contact, &to);
	if ((now & ROSTER_FROM) && !registry_local_domain(to.domain) && registry_elsewhere(to.domain))
		return; /* presence_granted(), when that has been said */
	TAILQ_FOREACH(s, &account->sessions, siblings) {
		struct frame f;

		if (!s->available || s->killed)
			continue;
		f = now & ROSTER_FROM ? presence_of(s) : unavailable_of(s);
		f.to = contact;
		presence_deliver(&f);
	}
}
