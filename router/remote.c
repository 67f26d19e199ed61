/*
 * remote.c: domains elsewhere that s2sd deals with: other servers, and external components (XEP-0114).
 *
 *   (first stanza for it, or a stream from it) -> s2sd: REMOTE_OPEN -> fed from its spool -> SESSION_END
 *
 * Each is a session whose address is the domain. A stanza for a domain of which s2sd has not told yet goes
 * to it without a handle, and s2sd tells of it then. A stored message does not: older ones may be on the spool,
 * so s2sd hears that something waits, and gets all of it in order. What was stored stays on the domain's spool
 * until s2sd reports it delivered; what was not stored is s2sd's to deliver, or to answer with an error. Called
 * by route.c, presence.c and peer.c.
 */
#include "router.h"

#include "counter.h"
#include "log.h"

/* Stored messages for domains of which s2sd has not told were left to the spool: it is to hear of them. */
static bool unheard;

struct slice
remote_spool_of(struct slice to)
{
	struct jid jid;

	jid_split(to, &jid);
	return registry_local_domain(jid.domain) ? jid_bare(&jid) : jid.domain;
}

/* The session of a domain; NULL: s2sd has told of none. */
static struct session *
remote_find(struct slice domain)
{
	struct account *account = account_find(domain);
	struct session *s;

	if (account == NULL || !account->remote)
		return NULL;
	TAILQ_FOREACH(s, &account->sessions, siblings) {
		if (s->peer != NULL && !s->killed && !s->ending)
			return s;
	}
	return NULL;
}

/* Why s2sd may not open this; NULL when it may. */
static const char *
open_fault(struct peer *s2sd, const struct frame *f)
{
	struct jid jid;
	bool known;

	if (HANDLE_INCARNATION(f->handle) != s2sd->incarnation || session_find(f->handle) != NULL)
		return "handle";
	if (jid_parse(f->domain, &jid) != 0 || jid.local.ptr != NULL || jid.resource.ptr != NULL)
		return "malformed domain";
	if (registry_local_domain(f->domain) || registry_domain(f->domain, &known) != s2sd)
		return "not its domain";
	return remote_find(f->domain) != NULL ? "open already" : NULL;
}

void
remote_open(struct peer *s2sd, const struct frame *f)
{
	static const unsigned char no_token[32];
	struct frame kill = { .type = FRAME_SESSION_KILL, .handle = f->handle,
		.condition = SLICE("conflict") };
	const char *fault = open_fault(s2sd, f);
	struct session *s;

	if (fault != NULL) {
		peer_refuse(s2sd, f, fault);
		peer_send(s2sd, &kill);
		return;
	}
	s = session_new(s2sd, f->handle, f->domain, no_token);
	s->remote = s->available = true;
	s->state = SESSION_BOUND;
	s->joined = daemon_ticks();
	s->account = account_remote(f->domain);
	TAILQ_INSERT_TAIL(&s->account->sessions, s, siblings);
	drain_join(s, UINT64_MAX);
	drain_begin(s);
}

void
remotes_ask(void)
{
	struct peer *archived = peer_of(ROLE_ARCHIVED);
	struct frame f = { .type = FRAME_REMOTE_WAITING };

	if (archived == NULL || peer_of(ROLE_S2SD) == NULL)
		return;
	unheard = false;
	peer_send(archived, &f);
}

void
remotes_drained(void)
{
	if (unheard)
		remotes_ask();
}

void
remote_waiting(struct peer *peer, const struct frame *f)
{
	struct peer *s2sd = peer_of(ROLE_S2SD);
	struct frame out = { .type = FRAME_REMOTE_WAITING, .text = f->text };

	(void)peer;
	if (s2sd != NULL)
		peer_send(s2sd, &out);
}

/* What archived has stored of its own accord: an error for what waited in vain, a subscription stanza that
 * authd had in custody, or what a room says to those at a domain elsewhere. */
static const char *
spooled_fault(const struct frame *f)
{
	bool message = f->kind == STANZA_MESSAGE, subscription = route_is_subscription(f), ours;
	struct jid from, to;

	if (f->from.ptr == NULL || f->to.ptr == NULL || jid_parse(f->from, &from) != 0 ||
	    jid_parse(f->to, &to) != 0)
		return "malformed stanza";
	ours = registry_local_domain(from.domain);
	if (f->flags & FLAG_ROOM)
		return f->archive_id != 0 && registry_rooms(from.domain) && !registry_local_domain(to.domain) ? NULL :
		    "not of a room to elsewhere";
	if (f->subtype == TYPE_ERROR && f->archive_id == 0 && registry_rooms(to.domain))
		return ours ? "not an error of a domain elsewhere" : NULL;
	if (subscription && f->archive_id != 0)
		return ours && !registry_local_domain(to.domain) ? NULL : "not from here to elsewhere";
	/* An error to a subscription is for those who are there, as presence is. */
	return f->subtype == TYPE_ERROR && !ours && ((message && f->archive_id != 0) ||
	    (f->kind == STANZA_PRESENCE && f->archive_id == 0)) ? NULL : "not an error of a domain elsewhere";
}

void
remote_spooled(struct peer *archived, const struct frame *f)
{
	struct frame out = { .type = FRAME_STANZA, .kind = f->kind, .subtype = f->subtype, .id = f->id,
		.from = f->from, .to = f->to, .lang = f->lang, .payload = f->payload, .name = f->name,
		.ns = f->ns, .flags = f->flags & (FLAG_FROM_ENTRY | REMOTE_ROOM), .archive_id = f->archive_id,
		.stamp = f->stamp, .text = f->text, .numbers = f->numbers };
	const char *fault = spooled_fault(f);
	struct account *domain;
	struct jid to;

	if (fault != NULL) {
		peer_refuse(archived, f, fault);
		return;
	}
	jid_split(f->to, &to);
	/* Those that are fed get it from archived, in its place. */
	if (f->archive_id != 0)
		hold_turn(f->archive_id);
	domain = account_find(remote_spool_of(f->to));
	if (f->number != 0 && domain != NULL)
		domain->spool = f->number;
	if (f->kind == STANZA_PRESENCE && !(f->flags & FLAG_ROOM))
		presence_deliver(&out);
	else if (registry_local_domain(to.domain))
		deliver_message(&out);
	else
		remote_send(&out);
}

const char *
remote_fault(const struct session *s, const struct frame *f)
{
	struct slice own = account_jid(s->account);
	struct jid from, to;

	if (f->from.ptr == NULL || jid_parse(f->from, &from) != 0 || !slice_equal(from.domain, own))
		return "not its address";
	if (f->to.ptr == NULL || jid_parse(f->to, &to) != 0)
		return "no receiver";
	/* Nobody elsewhere sends through us to others; a component does, as its domain is one of ours. */
	if (registry_named(own) || registry_local_domain(to.domain))
		return NULL;
	return registry_named(to.domain) && !registry_private(to.domain) ? NULL : "not for a domain of ours";
}

bool
remote_forbids(const struct frame *f)
{
	struct jid from, to;

	if (f->from.ptr == NULL)
		return false;
	jid_split(f->to, &to);
	jid_split(f->from, &from);
	return !registry_local_domain(from.domain) && registry_private(from.domain) &&
	    !registry_named(to.domain) && !registry_local_domain(to.domain);
}

/* Nobody takes a stanza to an address elsewhere. */
static void
refuse(const struct frame *f, enum stanza_error error, const char *text)
{
	/* What is on the spool stays there. */
	if (f->archive_id == 0 && (f->kind != STANZA_MESSAGE || (f->flags & FLAG_CONTENT)))
		route_error(f, error, text);
}

/* Says that messages wait for a domain: s2sd tells of it, and gets its spool. */
static void
announce(struct peer *s2sd, struct slice domain)
{
	struct frame f = { .type = FRAME_REMOTE_WAITING, .text = domain };

	if (s2sd->congested)
		unheard = true;
	else
		peer_send(s2sd, &f);
}

/* Whether a stored message is left to the spool for now. */
static bool
is_left(struct session *s, const struct frame *f)
{
	return f->archive_id != 0 &&
	    (s == NULL || s->paused || s->draining || !drain_passes(s, f->archive_id));
}

bool
remote_takes_room(const struct frame *f, struct slice to)
{
	struct frame out = *f;
	struct jid jid;

	jid_split(to, &jid);
	if (registry_local_domain(jid.domain))
		return false; /* it has become ours: who was there has gone */
	out.to = to;
	if (registry_elsewhere(jid.domain) && !remote_forbids(&out))
		return true;
	refuse(&out, STANZA_ERROR_REMOTE_SERVER_NOT_FOUND, NULL);
	return false;
}

/* What mucd calls the session that has sent a stanza; 0: it is from elsewhere. */
static uint64_t
sender_name(const struct frame *f)
{
	const struct account *account = account_find(jid_bare_of(f->from));
	const struct session *s = account != NULL && !account->remote ? session_of_resource(account, f->from) : NULL;

	return s != NULL ? s->first_handle : 0;
}

void
remote_send(const struct frame *f)
{
	struct frame out = *f;
	struct session *s;
	struct peer *peer;
	struct jid to;
	bool known;

	jid_split(f->to, &to);
	peer = registry_domain(to.domain, &known);
	if (!known && !registry_elsewhere(to.domain)) {
		refuse(f, STANZA_ERROR_REMOTE_SERVER_NOT_FOUND, NULL);
		return;
	}
	if (remote_forbids(f)) {
		refuse(f, STANZA_ERROR_NOT_ALLOWED, "This service is for its own server alone");
		return;
	}
	if (peer == NULL || peer->state != PEER_LIVE) {
		refuse(f, STANZA_ERROR_RESOURCE_CONSTRAINT, "The service is away");
		return;
	}
	s = peer->role == ROLE_S2SD ? remote_find(to.domain) : NULL;
	if (peer->role == ROLE_S2SD && is_left(s, f)) {
		if (s == NULL)
			announce(peer, to.domain);
		return;
	}
	out.audience = AUDIENCE_NONE;
	out.flags &= FLAG_FROM_ENTRY | (f->flags & FLAG_ROOM ? REMOTE_ROOM : 0u);
	out.origin = 0;
	out.seq = 0;
	if (!(f->flags & FLAG_ROOM))
		out.numbers = out.text = SLICE_NONE;
	out.handle = s != NULL ? s->handle : peer->role == ROLE_MUCD && f->from.ptr != NULL ? sender_name(f) : 0;
	COUNT(stanzas_elsewhere);
	peer_send(peer, &out);
	if (f->kind == STANZA_PRESENCE && f->subtype == TYPE_SUBSCRIBED)
		presence_granted(f);
}
