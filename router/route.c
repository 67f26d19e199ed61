/*
 * route.c: where a stanza goes.
 *
 * A stanza from an entry daemon is stamped with the address that was granted to its stream, and
 * then is one of three: a message to be stored (hold.c), something for a daemon that takes
 * responsibility (passed on at once, in the order of arrival), or the router's own matter, which
 * waits its turn in the session's queue. What leaves the local domains goes to the daemon that has
 * registered the domain, or by way of s2sd (remote.c).
 */
#include "router.h"

#include "counter.h"
#include "log.h"
#include "ns.h"

enum target { TARGET_STORE, TARGET_DAEMON, TARGET_SELF };

struct route {
	enum target target;
	struct peer *peer; /* DAEMON: NULL when it is away */
	struct jid to;     /* full.ptr == NULL: none */
	bool local;        /* `to` has one of our domains, or there is none */
};

bool
route_type_fits(enum stanza_kind kind, enum stanza_type type)
{
	static const struct {
		enum stanza_type first, last;
	} range[STANZA_KIND_COUNT] = {
		[STANZA_MESSAGE] = { TYPE_NORMAL, TYPE_HEADLINE },
		[STANZA_PRESENCE] = { TYPE_AVAILABLE, TYPE_PROBE },
		[STANZA_IQ] = { TYPE_GET, TYPE_RESULT },
	};

	if (kind == STANZA_NONE)
		return false;
	return type == TYPE_ERROR || (type >= range[kind].first && type <= range[kind].last);
}

bool
route_is_subscription(const struct frame *f)
{
	return f->kind == STANZA_PRESENCE &&
	    (f->subtype == TYPE_SUBSCRIBE || f->subtype == TYPE_SUBSCRIBED ||
	    f->subtype == TYPE_UNSUBSCRIBE || f->subtype == TYPE_UNSUBSCRIBED);
}

static bool
is_request(const struct frame *f)
{
	return f->kind == STANZA_IQ && (f->subtype == TYPE_GET || f->subtype == TYPE_SET);
}

/* Whether a message must be on disk before anybody sees it: DESIGN promise 1. A headline is for now,
 * unless its sender says otherwise; what is said in a room is in the room's archive. */
static bool
is_to_be_stored(const struct frame *f)
{
	if (f->kind != STANZA_MESSAGE || !(f->flags & FLAG_CONTENT) || (f->flags & FLAG_NO_STORE))
		return false;
	return f->subtype == TYPE_NORMAL || f->subtype == TYPE_CHAT ||
	    (f->subtype == TYPE_HEADLINE && (f->flags & FLAG_KEEP));
}

/* Requests to an account or to the server that a daemon has registered for. */
static void
classify_request(const struct frame *f, const struct session *sender, struct route *r)
{
	bool known;
	struct account *account;

	if (r->to.full.ptr != NULL && r->to.local.ptr == NULL) {
		r->peer = registry_server_ns(f->ns, &known);
		/* What authd does for a domain is for those who have an account here. */
		known = known && (sender == NULL || !sender->remote);
	} else if (r->to.resource.ptr == NULL) {
		r->peer = registry_account_ns(f->ns, &known);
		/* The idle time of an account that is online is the router's to tell, but for strangers: they
		 * get the same answer whether it is online or not, and so of the same daemon. */
		account = r->to.full.ptr ? account_find(r->to.full)
		    : sender ? sender->account : NULL;
		if (known && slice_is(f->ns, NS_LAST) && account != NULL && sender != NULL &&
		    (account == sender->account || account_bits(sender->account, r->to.full) & ROSTER_TO))
			known = false;
		/* An archive is for its account alone. */
		if (known && slice_is(f->ns, NS_MAM) && r->to.full.ptr != NULL &&
		    (sender == NULL || account != sender->account))
			known = false;
	} else {
		known = false;
	}
	if (known)
		r->target = TARGET_DAEMON;
}

/* Decides who deals with a stanza. */
static void
classify(const struct frame *f, const struct session *sender, struct route *r)
{
	bool known = false;

	*r = (struct route){ .target = TARGET_SELF, .local = true };
	if (f->to.ptr != NULL) {
		jid_split(f->to, &r->to);
		r->local = registry_local_domain(r->to.domain);
	}
	if (sender != NULL && (block_outgoing(f, sender) ||
	    (!r->local && sender->remote && remote_forbids(f))))
		return; /* refused in its turn */
	if (route_is_subscription(f) && sender != NULL && r->to.full.ptr != NULL &&
	    (r->local || !sender->remote)) {
		r->target = TARGET_DAEMON;
		r->peer = peer_of(ROLE_AUTHD);
	} else if (!r->local && registry_elsewhere(r->to.domain)) {
		if (is_to_be_stored(f))
			r->target = TARGET_STORE;
	} else if (!r->local) {
		r->peer = registry_domain(r->to.domain, &known);
		if (known && (r->peer == NULL || r->peer->role != ROLE_MUCD || !adhoc_serves(f, sender)))
			r->target = TARGET_DAEMON;
	} else if (is_to_be_stored(f) && (f->to.ptr == NULL || r->to.local.ptr != NULL)) {
		struct slice account = f->to.ptr ? jid_bare(&r->to) : jid_bare_of(f->from);

		if (existence_get(account) != EXISTENCE_NO && !block_is(account, f->from))
			r->target = TARGET_STORE;
	} else if (is_request(f)) {
		classify_request(f, sender, r);
	}
}

/* Passes a stanza to the daemon that takes responsibility for it. */
static void
pass_on(struct session *sender, const struct frame *f, const struct route *r)
{
	struct frame out = *f;

	if (r->peer == NULL || r->peer->state != PEER_LIVE) {
		/* It comes again when that daemon is back: the sender keeps it. */
		if (registry_away(f->to.ptr ? r->to.domain : SLICE_NONE, f->ns) < AWAY_TIME)
			return;
		route_error(f, STANZA_ERROR_RESOURCE_CONSTRAINT, "The service is away");
		peer_ack(f->origin, f->seq);
		return;
	}
	if (sender != NULL && slice_is(f->ns, NS_BLOCKING) && f->subtype == TYPE_GET &&
	    (f->to.ptr == NULL || slice_equal(f->to, account_jid(sender->account))))
		sender->blocks = true;
	if (sender != NULL && slice_is(f->ns, NS_ROSTER) && f->subtype == TYPE_GET &&
	    (f->to.ptr == NULL || slice_equal(f->to, account_jid(sender->account))))
		sender->interested = true;
	if (route_is_subscription(f))
		out.to = jid_bare_of(f->to);
	if (r->peer->role == ROLE_MUCD)
		out.handle = sender == NULL || sender->remote ? 0 : sender->first_handle;
	peer_pass(r->peer, &out);
}

/* Whom a session has told that it is there is told when it goes, also by a daemon of ours; false when there are
 * too many of these. */
static bool
note_directed(struct session *sender, const struct frame *f)
{
	if (sender->remote || f->kind != STANZA_PRESENCE || f->to.ptr == NULL)
		return true;
	if (f->subtype == TYPE_UNAVAILABLE)
		session_directed_remove(sender, f->to);
	return f->subtype != TYPE_AVAILABLE || session_directed_add(sender, f->to);
}

/* Leaves of a frame the fields that a stanza has: nothing else is passed on. */
static void
frame_limit(struct frame *f)
{
	f->numbers = f->jid = f->resource = f->domain = f->data = SLICE_NONE;
	f->token = f->text = f->address = f->condition = SLICE_NONE;
	f->binding_exporter = f->binding_unique = f->binding_endpoint = SLICE_NONE;
}

/* A request from a stream that has not authenticated: only in-band registration (XEP-0077), and the
 * token of an invitation to it (XEP-0445). */
static void
inbound_stranger(struct peer *peer, const struct frame *f)
{
	struct frame out = *f;
	bool known;
	struct peer *server = registry_server_ns(f->ns, &known);

	if (f->seq > peer->seen)
		peer->seen = f->seq;
	peer_ack(peer->incarnation, f->seq);
	if (peer->role != ROLE_C2SD || !is_request(f) ||
	    (!slice_is(f->ns, NS_REGISTER) && !slice_is(f->ns, NS_PARS)) ||
	    HANDLE_INCARNATION(f->handle) != peer->incarnation || f->to.ptr == NULL ||
	    !registry_local_domain(f->to)) {
		/* A session that was killed has its last stanzas under way. */
		if (HANDLE_INCARNATION(f->handle) == peer->incarnation)
			peer_drop(peer, f, "no session");
		else
			peer_refuse(peer, f, "session of another daemon");
		return;
	}
	frame_limit(&out);
	out.address = f->address; /* authd slows those down that make many accounts */
	out.token = f->token;     /* of its invitation, which authd looks at again */
	out.from = SLICE_NONE;
	out.flags = f->flags & FLAG_FROM_ENTRY;
	out.origin = 0;
	out.seq = 0;
	if (server != NULL && server->state == PEER_LIVE && !server->congested)
		peer_send(server, &out);
	else
		route_error(&out, STANZA_ERROR_RESOURCE_CONSTRAINT, "The service is away");
}

/* Bytes of a frame when it is written. */
static size_t
frame_size(const struct frame *f)
{
	size_t size = FRAME_HEAD, i;

	for (i = 0; i < FIELD_COUNT; i++)
		size += f->field[i].ptr ? 4 + f->field[i].len : 0;
	return size;
}

/* Checks and stamps what an entry daemon has sent; false when it is dropped. */
static bool
inbound_stamp(struct peer *peer, const struct session *s, const struct frame *f, struct frame *out)
{
	struct slice token = s->remote && f->token.len == ONCE_SIZE ? f->token : SLICE_NONE;
	const char *fault = s->remote ? remote_fault(s, f) : NULL;
	struct slice from = s->remote ? f->from : session_jid(s);
	struct jid to;

	if (!route_type_fits(f->kind, f->subtype) || (f->to.ptr != NULL && jid_parse(f->to, &to) != 0))
		fault = "malformed stanza";
	if (fault != NULL) {
		peer_refuse(peer, f, fault);
		return false;
	}
	*out = *f;
	out->from = route_is_subscription(f) ? jid_bare_of(from) : from;
	out->audience = AUDIENCE_NONE;
	out->flags = f->flags & FLAG_FROM_ENTRY;
	out->origin = peer->incarnation;
	out->archive_id = 0;
	out->stamp = daemon_now();
	frame_limit(out);
	out->token = token; /* for archived */
	/* With the addresses that it gets here it must still be a frame. */
	if (frame_size(out) > FRAME_MAX - 2 * (4 + JID_MAX)) {
		route_error(out, STANZA_ERROR_NOT_ACCEPTABLE, "Too large");
		return false;
	}
	return true;
}

/* Marks a message for archived: which accounts it belongs to. */
static void
mark_for_store(struct frame *f, const struct session *s, bool local)
{
	f->flags |= FLAG_STORE | (local ? FLAG_TO_LOCAL : FLAG_TO_REMOTE);
	if (!s->remote)
		f->flags |= FLAG_FROM_LOCAL;
	if (f->to.ptr == NULL)
		f->to = account_jid(s->account);
}

void
route_inbound(struct peer *peer, const struct frame *f)
{
	struct session *s = session_find(f->handle);
	struct frame out;
	struct route r;
	bool again = f->seq <= peer->seen;

	if (s == NULL || s->peer != peer || s->account == NULL) {
		inbound_stranger(peer, f);
		return;
	}
	if (!again)
		peer->seen = f->seq;
	else if (hold_again(s, peer->incarnation, f->seq))
		return;
	if (s->killed || s->ending || !inbound_stamp(peer, s, f, &out)) {
		peer_ack(peer->incarnation, f->seq);
		return;
	}
	classify(&out, s, &r);
	if (r.target == TARGET_STORE) {
		mark_for_store(&out, s, r.local);
		hold_store(s, peer, &out);
	} else if (r.target == TARGET_DAEMON) {
		/* When it comes again its copies are made already. */
		if (!again)
			carbon_sent(&out, s);
		if (note_directed(s, &out)) {
			pass_on(s, &out, &r);
		} else {
			route_error(&out, STANZA_ERROR_RESOURCE_CONSTRAINT, "Too much directed presence");
			peer_ack(out.origin, out.seq);
		}
	} else if (again) {
		peer_ack(out.origin, out.seq);
	} else {
		hold_frame(s, &out);
	}
}

static void
route_message(const struct frame *f, const struct route *r, const struct session *sender)
{
	carbon_sent(f, sender);
	if (!r->local)
		remote_send(f);
	else if (r->to.full.ptr != NULL && r->to.local.ptr == NULL)
		route_error(f, STANZA_ERROR_SERVICE_UNAVAILABLE, NULL);
	else
		deliver_message(f);
}

static void
route_presence(const struct frame *f, const struct route *r, struct session *sender)
{
	if (f->subtype == TYPE_ERROR) {
		if (!r->local || r->to.resource.ptr != NULL)
			presence_deliver(f);
	} else if (route_is_subscription(f)) {
		presence_deliver(f); /* from one domain elsewhere to another: authd has no part in it */
	} else if (f->to.ptr == NULL) {
		presence_broadcast(sender, f);
	} else {
		presence_directed(sender, f);
	}
}

static void
route_iq(const struct frame *f, const struct route *r, struct session *sender)
{
	if (!r->local && r->peer != NULL && r->peer->role == ROLE_MUCD && adhoc_serves(f, sender)) {
		adhoc_serve(f, sender);
	} else if (!r->local) {
		remote_send(f);
	} else if (r->to.resource.ptr != NULL && r->to.local.ptr != NULL) {
		deliver_iq(f);
	} else if (!is_request(f)) {
		push_answered(f); /* nothing else is asked in the name of the server or of an account */
	} else if (r->to.full.ptr != NULL && r->to.local.ptr == NULL) {
		request_server(f, sender);
	} else {
		request_account(f, sender, r->to.full.ptr ? jid_bare(&r->to)
		    : account_jid(sender->account));
	}
}

void
route_stanza(const struct frame *f, struct session *sender)
{
	struct route r;

	classify(f, sender, &r);
	if (block_outgoing(f, sender))
		block_refuse(f);
	else if (r.target == TARGET_STORE && f->archive_id == 0)
		/* It was refused when it came, and would not be now: it is not on disk. */
		route_error(f, STANZA_ERROR_SERVICE_UNAVAILABLE, NULL);
	else if (f->kind == STANZA_MESSAGE)
		route_message(f, &r, sender);
	else if (f->kind == STANZA_PRESENCE)
		route_presence(f, &r, sender);
	else
		route_iq(f, &r, sender);
	peer_ack(f->origin, f->seq);
}

void
route_reply(const struct frame *f)
{
	struct peer *peer = f->handle ? peer_by_incarnation(HANDLE_INCARNATION(f->handle)) : NULL;
	struct frame out = *f;
	struct jid to;

	out.origin = 0;
	out.seq = 0;
	out.archive_id = 0;
	if (peer != NULL && peer_is_entry(peer)) {
		COUNT(iqs_routed);
		peer_send(peer, &out);
		return;
	}
	out.handle = 0;
	if (f->to.ptr == NULL || jid_parse(f->to, &to) != 0)
		return;
	if (!registry_local_domain(to.domain))
		remote_send(&out);
	else if (f->kind == STANZA_IQ && to.local.ptr == NULL && !is_request(f))
		push_answered(&out);
	else if (f->kind == STANZA_IQ)
		deliver_iq(&out);
	else if (f->kind == STANZA_MESSAGE)
		deliver_message(&out);
	else
		presence_deliver(&out);
}

void
route_error(const struct frame *f, enum stanza_error error, const char *text)
{
	struct buf scratch = { 0 };
	struct frame reply;

	if (stanza_error_reply(f, error, slice_string(text), &scratch, &reply)) {
		COUNT(bounced);
		route_reply(&reply);
		carbon_error(f, &reply);
	}
	buf_free(&scratch);
}

/* authd speaks for accounts and domains, others for what they serve. */
bool
route_owns(const struct peer *peer, struct slice from)
{
	struct jid jid;
	bool known;

	if (from.ptr == NULL)
		return peer->role == ROLE_AUTHD;
	if (jid_parse(from, &jid) != 0)
		return false;
	/* authd also forwards what a remote contact has asked of an account here. A domain can have
	 * become ours after it was registered. */
	return peer->role == ROLE_AUTHD ||
	    (!registry_local_domain(jid.domain) && registry_domain(jid.domain, &known) == peer);
}

/* The stream that mucd answers: it knows a session by the handle with which that began. NULL: it has gone, or was none. */
static struct session *
answered_session(const struct frame *f)
{
	struct session *s = session_named(f->handle);

	return s != NULL && s->account != NULL && !s->killed ? s : NULL;
}

/* Whether a daemon may name these receivers. Audiences are those of an account, whose roster and
 * presence are authd's; it also answers streams that are not sessions yet. */
static bool
service_reaches(const struct peer *peer, const struct frame *f)
{
	if (f->numbers.ptr != NULL)
		return false;
	if (peer->role == ROLE_AUTHD)
		return true;
	return f->audience == AUDIENCE_NONE &&
	    (f->handle == 0 || peer->role == ROLE_MUCD || session_find(f->handle) != NULL);
}

/* Why a service daemon may not send this stanza; NULL when it may. */
static const char *
service_fault(const struct peer *peer, const struct frame *f)
{
	struct jid to;

	if (!route_type_fits(f->kind, f->subtype) || (f->to.ptr != NULL && jid_parse(f->to, &to) != 0))
		return "malformed stanza";
	if (!route_owns(peer, f->from))
		return "not its address";
	if (!service_reaches(peer, f))
		return "not its receivers";
	if (f->flags & ~(unsigned)FLAG_FROM_ENTRY)
		return "flags";
	/* What a contact elsewhere asks of an account goes to authd, which has the roster. */
	if (peer->role != ROLE_AUTHD && route_is_subscription(f))
		return "subscription";
	return NULL;
}

/* What mucd says that is not kept: to the stream that a session has today. Who is refused or left is not there any
 * more. False: nobody gets it. */
static bool
room_answers(struct peer *mucd, struct frame *f)
{
	struct session *s = f->handle != 0 ? answered_session(f) : NULL;
	struct account *account;

	if (f->handle != 0 && s == NULL) {
		peer_drop(mucd, f, "no session");
		return false;
	}
	if (s == NULL && f->to.ptr != NULL) {
		account = account_find(jid_bare_of(f->to));
		s = account != NULL && !account->remote ? session_of_resource(account, f->to) : NULL;
	}
	if (s != NULL && f->kind == STANZA_PRESENCE && f->subtype != TYPE_AVAILABLE)
		session_directed_remove(s, f->from);
	if (f->handle != 0)
		f->handle = s->handle;
	return true;
}

/* What authd keeps for a contact elsewhere: archived puts it on the spool of the domain, and only then is it
 * sent (remote_spooled()). A domain that no daemon has named yet may be one of s2sd's, which is to come. */
void
route_kept(struct peer *authd, const struct frame *f)
{
	struct peer *archived = peer_of(ROLE_ARCHIVED);
	const char *fault = service_fault(authd, f);
	struct frame out = *f;
	struct jid from, to;

	if (fault == NULL && (!route_is_subscription(f) || f->from.ptr == NULL || f->to.ptr == NULL ||
	    f->handle != 0 || f->audience != AUDIENCE_NONE || f->token.len != ONCE_SIZE))
		fault = "not a subscription";
	if (fault == NULL) {
		jid_split(f->from, &from);
		jid_split(f->to, &to);
		fault = registry_local_domain(from.domain) && !registry_local_domain(to.domain) ? NULL
		    : "not from here to elsewhere";
	}
	if (fault != NULL) {
		peer_refuse(authd, f, fault);
		peer_ack(authd->incarnation, f->seq);
		return;
	}
	frame_limit(&out);
	out.origin = authd->incarnation;
	if (registry_elsewhere(to.domain)) {
		out.token = f->token;
		out.stamp = daemon_now();
		out.flags |= FLAG_STORE | FLAG_TO_REMOTE | FLAG_NO_PERMANENT;
		if (archived != NULL)
			peer_pass(archived, &out);
	} else if (registry_heard(ROLE_S2SD)) {
		remote_send(&out);
		peer_ack(authd->incarnation, f->seq);
	}
}

/* What a room asks an account for somebody who is in it: the vCard of an occupant (XEP-0045 section 15.4), which
 * the daemon has that has registered for it. False: it is another stanza. */
static bool
service_asks(const struct frame *f)
{
	struct peer *peer;
	struct jid to;
	bool known;

	if (f->kind != STANZA_IQ || f->subtype != TYPE_GET || !slice_is(f->ns, NS_VCARD) || f->to.ptr == NULL)
		return false;
	jid_split(f->to, &to);
	if (to.local.ptr == NULL || to.resource.ptr != NULL || !registry_local_domain(to.domain))
		return false;
	peer = registry_account_ns(f->ns, &known);
	if (peer == NULL || peer->state != PEER_LIVE || peer->congested)
		route_error(f, STANZA_ERROR_RESOURCE_CONSTRAINT, "The service is away");
	else
		peer_send(peer, f);
	return true;
}

void
route_service(struct peer *peer, const struct frame *f)
{
	const char *fault = service_fault(peer, f);
	struct frame out = *f;

	if (fault != NULL) {
		peer_refuse(peer, f, fault);
		return;
	}
	frame_limit(&out);
	if (peer->role == ROLE_MUCD && !room_answers(peer, &out))
		return;
	if (f->audience != AUDIENCE_NONE)
		deliver_audience(&out);
	else if (!service_asks(&out))
		route_reply(&out);
}

/* Why archived may not send this to a session; NULL when it may: what an account has asked of its
 * archive, and messages with results before that. */
static const char *
archive_fault(const struct session *s, const struct frame *f)
{
	bool answer = f->kind == STANZA_IQ && (f->subtype == TYPE_RESULT || f->subtype == TYPE_ERROR);
	bool result = f->kind == STANZA_MESSAGE && f->subtype == TYPE_NORMAL;

	if (!answer && !result)
		return "neither an answer nor a result";
	if (s->account == NULL || !slice_equal(f->from, account_jid(s->account)))
		return "not its address";
	if (!slice_equal(f->to, session_jid(s)) || f->numbers.ptr != NULL ||
	    f->audience != AUDIENCE_NONE)
		return "not its receivers";
	return f->flags & ~(unsigned)FLAG_ERROR || f->archive_id != 0 ? "flags" : NULL;
}

void
route_archive(struct peer *archived, const struct frame *f)
{
	struct session *s = session_find(f->handle);
	const char *fault = s != NULL ? archive_fault(s, f) : NULL;
	struct frame out = *f;

	if (room_answer(archived, f))
		return;
	/* It may have ended meanwhile. */
	if (s == NULL) {
		peer_drop(archived, f, "no session");
		return;
	}
	if (fault != NULL) {
		peer_refuse(archived, f, fault);
		return;
	}
	frame_limit(&out);
	route_reply(&out);
}
