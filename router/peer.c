/*
 * peer.c: the daemons at the other ends of the links: registration, replay, acknowledgements.
 *
 * Called by main.c for what the supervisor says, and by the links. A daemon that says what its role
 * may not is ignored and logged; one that dies is forgotten here, and its sessions get a grace
 * time.
 */
#include "router.h"

#include <stdlib.h>

#include "block.h"
#include "counter.h"
#include "error.h"
#include "log.h"
#include "mem.h"

struct peers peers = TAILQ_HEAD_INITIALIZER(peers);

static bool grants_known;        /* authd has said how grants are verified */
static struct buf mechanisms;    /* its last MECHANISMS, without the key */
static uint64_t taker_gone;      /* ticks when one died that has not been missed for AWAY_TIME; 0: none */

static void frame_received(void *arg, struct link *link, const struct frame *f, struct slice whole);
static void link_closed(void *arg, struct link *link);
static void link_drained(void *arg, struct link *link);

static const struct link_events events = {
	.frame = frame_received,
	.closed = link_closed,
	.drained = link_drained,
};

/* Whether its frames in custody come from clients or servers. */
bool
peer_is_entry(const struct peer *peer)
{
	return peer->role == ROLE_C2SD || peer->role == ROLE_S2SD;
}

/* Whether it takes responsibility for frames. */
static bool
is_taker(const struct peer *peer)
{
	return !peer_is_entry(peer) && peer->role != ROLE_SNMPD;
}

/* Forgets a peer whose link is closed or about to be. */
static void
peer_forget(struct peer *peer)
{
	struct peer *other;

	follow_all(peer);
	TAILQ_REMOVE(&peers, peer, all);
	TAILQ_FOREACH(other, &peers, all) {
		if (peer->role == ROLE_AUTHD)
			follow_all(other);
	}
	registry_remove(peer);
	if (peer->role == ROLE_AUTHD || peer->role == ROLE_C2SD)
		exchanges_end(peer->role == ROLE_AUTHD ? 0 : peer->incarnation);
	hold_peer_gone(peer);
	fanout_peer_gone(peer);
	sessions_orphan(peer);
	rooms_peer_gone(peer);
	control_peer_gone(peer->incarnation);
	acks_free(&peer->acks);
	passed_free(&peer->passed);
	buf_free(&peer->serves);
	free(peer);
}

void
peer_linked(enum role role, unsigned index, uint32_t incarnation, int fd)
{
	struct peer *peer, *old;

	TAILQ_FOREACH(old, &peers, all) {
		if (old->role == role && old->index == index)
			break;
	}
	if (old != NULL) {
		link_close(&old->link);
		peer_forget(old);
	}
	peer = mem_alloc(sizeof *peer);
	peer->role = role;
	peer->index = index;
	peer->incarnation = incarnation;
	peer->acks = acks_new();
	peer->passed = passed_new();
	TAILQ_INIT(&peer->given);
	peer->resyncing = true; /* nothing in custody counts before the first RESEND */
	TAILQ_INSERT_TAIL(&peers, peer, all);
	peer->link = link_new(daemon_loop(), fd, role, index, incarnation, &events, peer);
}

struct peer *
peer_of(enum role role)
{
	struct peer *peer;

	TAILQ_FOREACH(peer, &peers, all) {
		if (peer->role == role && peer->state == PEER_LIVE)
			return peer;
	}
	return NULL;
}

struct peer *
peer_by_incarnation(uint32_t incarnation)
{
	struct peer *peer;

	TAILQ_FOREACH(peer, &peers, all) {
		if (peer->incarnation == incarnation)
			return peer;
	}
	return NULL;
}

void
peer_send(struct peer *peer, const struct frame *f)
{
	int error = link_send(peer->link, f);

	if (error)
		log_warn("frame dropped", "to=%s type=%s reason=\"%s\"", role_text(peer->role),
		    frame_text(f->type), error_text(error));
	if (link_full(peer->link)) {
		peer->congested = true;
		flow_check();
	}
}

void
peer_refuse(struct peer *peer, const struct frame *f, const char *reason)
{
	link_refuse(peer->link, f->type, reason);
}

void
peer_drop(struct peer *peer, const struct frame *f, const char *reason)
{
	/* As link_refuse(): a flood must not fill the log. */
	peer->dropped++;
	if ((peer->dropped & (peer->dropped - 1)) == 0)
		log_info("frame dropped", "peer=%s index=%u type=%s reason=\"%s\" dropped=%u",
		    role_text(peer->role), peer->index, frame_text(f->type), reason, peer->dropped);
}

void
peer_ack(uint32_t origin, uint64_t seq)
{
	struct peer *peer = peer_by_incarnation(origin);

	if (peer != NULL && seq != 0) {
		acks_add(peer->acks, origin, seq);
		daemon_dirty();
	}
}

static void
acks_send(void *arg, uint32_t origin, struct slice pairs)
{
	struct frame f = { .type = FRAME_ACK, .origin = origin, .numbers = pairs };

	if (hold_turned() != UINT64_MAX)
		f.archive_id = hold_turned();
	peer_send(arg, &f);
}

void
peers_flush(void)
{
	struct peer *peer;

	TAILQ_FOREACH(peer, &peers, all)
		acks_flush(peer->acks, acks_send, peer);
	flow_check();
}

/* What was passed on before the echo comes again, and is acknowledged again. */
static void
on_echo(struct peer *peer, const struct frame *f)
{
	if (peer->echoes == 0) {
		peer_refuse(peer, f, "not asked for");
		return;
	}
	peer->echoes--;
	peer->resyncing = false;
	peer->last = 0;
	passed_clear(peer->passed);
	if (peer->role == ROLE_MUCD)
		fanout_anew(peer);
	follow_clear(peer);
}

/* Asks one daemon to send again what it has in custody. */
static void
peer_resync(struct peer *peer)
{
	struct frame f = { .type = FRAME_RESEND };

	peer->resyncing = true;
	peer->echoes++;
	peer_send(peer, &f);
}

void
peer_pass(struct peer *peer, const struct frame *f)
{
	struct peer *origin = peer_by_incarnation(f->origin);

	/* With too many on their way all are sent again: one that is left out would be passed by those
	 * behind it. */
	if (origin != NULL && !passed_add(origin->passed, f->seq, peer->role)) {
		log_warn("too much under way", "from=%s.%u", role_text(origin->role), origin->index);
		peer_resync(origin);
		return;
	}
	follow_send(peer, f);
}

/* Whether it has frames in custody. */
static bool
is_origin(const struct peer *peer)
{
	return peer_is_entry(peer) || peer->role == ROLE_AUTHD;
}

/* Whether it waits to be asked for what it has in custody: what rooms and other servers say is for sessions that a
 * new router may not have been told of yet, and would come back as an error. */
static bool
is_held(const struct peer *peer)
{
	return (peer->role == ROLE_MUCD || peer->role == ROLE_S2SD) && peer->state == PEER_LIVE && peer->resyncing &&
	    peer->echoes == 0;
}

void
peers_resync(void)
{
	struct peer *peer;

	TAILQ_FOREACH(peer, &peers, all) {
		if (is_origin(peer) && peer->state == PEER_LIVE && !is_held(peer))
			peer_resync(peer);
	}
}

bool
peer_kept(struct peer *authd, uint64_t seq)
{
	struct buf pairs = { 0 };
	bool given = passed_take(authd->passed, seq, seq, ROLE_ARCHIVED, &pairs);

	if (buf_len(&pairs) != 0)
		peer_ack(authd->incarnation, seq);
	buf_free(&pairs);
	return given;
}

void
peers_ask_held(void)
{
	bool replaying = peers_replaying();
	struct peer *peer;

	TAILQ_FOREACH(peer, &peers, all) {
		if (is_held(peer) && (!replaying || daemon_ticks() - peer->joined >= REPLAY_TIME))
			peer_resync(peer);
	}
}

/* When a taker has been away for too long, what waits for it is sent again to be refused. */
void
peers_tick(void)
{
	peers_ask_held();
	if (taker_gone == 0 || daemon_ticks() - taker_gone < AWAY_TIME)
		return;
	taker_gone = 0;
	peers_resync();
}

bool
peers_waiting(void)
{
	struct peer *peer;

	TAILQ_FOREACH(peer, &peers, all) {
		if (is_held(peer))
			return true;
	}
	return taker_gone != 0;
}

bool
peers_replaying(void)
{
	struct peer *peer;

	TAILQ_FOREACH(peer, &peers, all) {
		if (peer->role == ROLE_C2SD && peer->state != PEER_LIVE)
			return true;
	}
	return false;
}

static void
mechanisms_send(struct peer *peer)
{
	struct frame f = { .type = FRAME_MECHANISMS, .text = buf_slice(&mechanisms) };

	peer_send(peer, &f);
}

/* Lets a daemon in that has said HELLO. */
static void
peer_welcome(struct peer *peer)
{
	struct frame f = { .type = FRAME_WELCOME };

	peer->state = PEER_REGISTERED;
	registry_add(peer, buf_slice(&peer->serves));
	peer_send(peer, &f);
	if (peer->role == ROLE_C2SD)
		mechanisms_send(peer);
	if (peer->role == ROLE_C2SD)
		disco_caps_send(peer);
	if (peer->role == ROLE_S2SD)
		registry_tell(peer);
}

void
peer_grants_known(void)
{
	struct peer *peer;

	grants_known = true;
	TAILQ_FOREACH(peer, &peers, all) {
		if (peer_is_entry(peer) && peer->hello && peer->state == PEER_CONNECTED)
			peer_welcome(peer);
	}
}

static void
on_hello(struct peer *peer, const struct frame *f)
{
	if (peer->hello) {
		peer_refuse(peer, f, "a second time");
		return;
	}
	peer->hello = true;
	buf_add_slice(&peer->serves, f->text);
	if (!peer_is_entry(peer) || grants_known)
		peer_welcome(peer);
}

/* The replay of a daemon is complete: it is served from now on. */
static void
on_ready(struct peer *peer, const struct frame *f)
{
	struct peer *authd = peer_of(ROLE_AUTHD);

	if (peer->state != PEER_REGISTERED) {
		peer_refuse(peer, f, "not due");
		return;
	}
	peer->state = PEER_LIVE;
	peer->joined = daemon_ticks();
	log_info("daemon ready", "name=%s index=%u incarnation=%u", role_text(peer->role), peer->index,
	    peer->incarnation);
	if (peer->role == ROLE_C2SD)
		peer_resync(peer);
	peers_ask_held();
	if (peer_is_entry(peer)) {
		sessions_ask_again();
		drains_go_on();
		rooms_replayed();
		if (peer->role == ROLE_S2SD)
			remotes_ask();
		if (peer->role == ROLE_S2SD && authd != NULL)
			peer_resync(authd); /* what it keeps may be for a domain of which nobody knew */
		return;
	}
	if (peer->role == ROLE_AUTHD) {
		account_reload_all();
		deliver_ask_all();
	}
	if (is_taker(peer))
		peers_resync();
	if (peer->role == ROLE_ARCHIVED) {
		fanout_archived(peer);
		drain_all();
		remotes_ask();
	}
}

static void
on_mechanisms(struct peer *peer, const struct frame *f)
{
	struct peer *other;

	if (f->token.len != 32) {
		peer_refuse(peer, f, "no key");
		return;
	}
	session_set_grant_key(f->token);
	buf_clear(&mechanisms);
	buf_add_slice(&mechanisms, f->text);
	TAILQ_FOREACH(other, &peers, all) {
		if (other->role == ROLE_C2SD && other->state != PEER_CONNECTED)
			mechanisms_send(other);
	}
	peer_grants_known();
}

/* Whether an exchange may begin or go on: none begins while authd does not keep up. */
static bool
auth_begin(struct peer *peer, const struct peer *authd, const struct frame *f)
{
	return (f->type != FRAME_AUTH_START || !authd->congested) && exchange_begin(peer, f->handle);
}

/* Passes what c2sd says about authentication to authd. */
static void
on_auth_request(struct peer *peer, const struct frame *f)
{
	struct peer *authd = peer_of(ROLE_AUTHD);
	struct frame failure = { .type = FRAME_AUTH_FAILURE, .handle = f->handle,
		.condition = SLICE("temporary-auth-failure") };

	if (HANDLE_INCARNATION(f->handle) != peer->incarnation) {
		peer_refuse(peer, f, "handle of another daemon");
		return;
	}
	if (f->type == FRAME_AUTH_ABORT)
		exchange_end(f->handle);
	if (authd != NULL && (f->type == FRAME_AUTH_ABORT || auth_begin(peer, authd, f))) {
		peer_send(authd, f);
	} else if (f->type != FRAME_AUTH_ABORT) {
		COUNT(exchanges_refused);
		peer_send(peer, &failure);
	}
}

/* Passes authd's answer to the c2sd that holds the stream; a success leaves a grant here. */
static void
on_auth_answer(struct peer *peer, const struct frame *f)
{
	struct peer *entry = peer_by_incarnation(HANDLE_INCARNATION(f->handle));
	struct frame failure = { .type = FRAME_AUTH_FAILURE, .handle = f->handle,
		.condition = SLICE("temporary-auth-failure") };

	if (!exchange_end(f->handle)) {
		peer_drop(peer, f, "not asked"); /* the client may have given up at the same time */
		return;
	}
	if (entry == NULL || entry->state == PEER_CONNECTED)
		return;
	if (f->type == FRAME_AUTH_SUCCESS && !session_grant(f))
		peer_send(entry, &failure);
	else
		peer_send(entry, f);
}

/* ACK: what a taker was given is acknowledged to its origin, and nothing else. */
static void
on_ack(struct peer *peer, const struct frame *f)
{
	struct peer *entry = peer_by_incarnation(f->origin);
	struct frame ack = { .type = FRAME_ACK, .origin = f->origin };
	struct buf pairs = { 0 };
	bool good = frame_count(f) % 2 == 0;
	size_t i;

	if (peer->role == ROLE_ARCHIVED && (entry == NULL || entry->role == ROLE_MUCD)) {
		fanout_acked(peer, f);
		return;
	}
	for (i = 0; entry != NULL && i + 1 < frame_count(f); i += 2) {
		uint64_t first = frame_at(f, i), last = frame_at(f, i + 1);

		good &= first != 0 && first <= last &&
		    passed_take(entry->passed, first, last, peer->role, &pairs);
	}
	if (!good)
		peer_refuse(peer, f, "frames of another daemon");
	else if (buf_len(&pairs) == 0)
		peer_drop(peer, f, "nobody waits for it");
	ack.numbers = buf_slice(&pairs);
	if (buf_len(&pairs) != 0)
		peer_send(entry, &ack);
	if (buf_len(&pairs) != 0 && peer->role == ROLE_AUTHD)
		follow_taken(entry, frame_at(&ack, frame_count(&ack) - 1));
	buf_free(&pairs);
}

bool
peer_in_order(struct peer *peer, const struct frame *f)
{
	if (f->seq <= peer->last) {
		peer_refuse(peer, f, "out of order");
		return false;
	}
	peer->last = f->seq;
	return true;
}

/* What has reached clients or domains elsewhere, or never will: names become archived's, nobody else's
 * pass. */
static void
on_delivered(struct peer *peer, const struct frame *f)
{
	struct peer *archived = peer_of(ROLE_ARCHIVED);
	struct buf numbers = { 0 };
	struct frame out = { .type = f->type, .origin = peer->incarnation, .seq = f->seq,
		.condition = f->condition, .text = f->text };
	struct frame drop = { .type = FRAME_DROP };
	bool foreign = false;
	size_t i;

	if (peer->resyncing || !peer_in_order(peer, f) || archived == NULL)
		return;
	if (f->seq > peer->seen)
		peer->seen = f->seq;
	for (i = 0; i + 1 < frame_count(f); i += 2) {
		struct session *s = session_find(frame_at(f, i));

		if (s == NULL || s->peer != peer || s->account == NULL) {
			foreign |= HANDLE_INCARNATION(frame_at(f, i)) != peer->incarnation;
			continue;
		}
		if (s->account->spool == 0 && f->type == FRAME_DELIVERED) {
			/* After a restart its number is not known yet. Should this be lost with archived, the
			 * report comes again. */
			drop.jid = account_jid(s->account);
			drop.archive_id = frame_at(f, i + 1);
			peer_send(archived, &drop);
			continue;
		}
		if (s->account->spool == 0)
			continue; /* it is on the spool, and comes again */
		buf_add_u64(&numbers, s->account->spool);
		buf_add_u64(&numbers, frame_at(f, i + 1));
	}
	if (foreign)
		peer_refuse(peer, f, "session of another daemon");
	out.numbers = buf_slice(&numbers);
	peer_pass(archived, &out);
	buf_free(&numbers);
}

/* Whether a session is there and this daemon's; what names another's is refused. */
static bool
is_own(struct peer *peer, const struct session *s, const struct frame *f)
{
	if (HANDLE_INCARNATION(f->handle) != peer->incarnation || (s != NULL && s->peer != peer))
		peer_refuse(peer, f, "session of another daemon");
	return s != NULL && s->peer == peer;
}

static void
on_session_end(struct peer *peer, const struct frame *f)
{
	struct session *s = session_find(f->handle);

	if (!is_own(peer, s, f) || s->ending)
		return;
	s->ending = s->queue != NULL || s->state == SESSION_LOADING;
	hold_frame(s, f);
}

static void
on_session_flow(struct peer *peer, const struct frame *f)
{
	struct session *s = session_find(f->handle);

	if (!is_own(peer, s, f))
		return;
	if (f->type == FRAME_SESSION_AWAY)
		push_away(s, f);
	else if (f->type == FRAME_SESSION_PAUSE)
		drain_pause(s);
	else
		drain_resume(s, f->archive_id, f->number);
}

/* What comes before the echo of RESEND comes again after it. */
static void
inbound(struct peer *peer, const struct frame *f)
{
	if (peer->resyncing || !peer_in_order(peer, f))
		return;
	if (peer_is_entry(peer))
		route_inbound(peer, f);
	else
		route_kept(peer, f);
}

static void
on_stanza(struct peer *peer, const struct frame *f)
{
	if (peer_is_entry(peer) && (f->flags & FLAG_HANDOVER))
		session_handover(peer, f);
	else if (is_origin(peer) && f->seq != 0)
		inbound(peer, f);
	else if (peer->role == ROLE_ARCHIVED && (f->flags & (FLAG_ROOM | FLAG_TO_REMOTE)) == FLAG_ROOM)
		fanout_history(peer, f);
	else if (peer->role == ROLE_ARCHIVED && (f->flags & FLAG_SPOOL))
		drain_stanza(peer, f);
	else if (peer->role == ROLE_ARCHIVED)
		route_archive(peer, f);
	else if (peer->role == ROLE_MUCD && (f->flags & (FLAG_ROOM | FLAG_STORE)))
		fanout_frame(peer, f);
	else
		route_service(peer, f);
}

static void
on_account_is(struct peer *peer, const struct frame *f)
{
	if (!account_is_ours(f->jid)) {
		peer_refuse(peer, f, "not an account of ours");
		return;
	}
	if (!block_valid(f->text)) {
		peer_refuse(peer, f, "malformed list");
		return;
	}
	deliver_exists(f->jid, (f->flags & FLAG_EXISTS) != 0, (f->flags & FLAG_PUSH) != 0, f->text);
}

/* An account was deleted: its sessions end first, so that nothing of it is stored behind this. When
 * archived is away it comes again. A room's has its place among what its rooms say. */
static void
on_forget(struct peer *peer, const struct frame *f)
{
	struct peer *archived = peer_of(ROLE_ARCHIVED);
	struct frame forget = { .type = FRAME_FORGET, .jid = f->jid, .number = f->number };
	struct peer *other;

	if (peer->role == ROLE_MUCD) {
		fanout_frame(peer, f);
		return;
	}
	if (!account_is_ours(f->jid)) {
		peer_refuse(peer, f, "not an account of ours");
		return;
	}
	deliver_exists(f->jid, false, false, SLICE(""));
	TAILQ_FOREACH(other, &peers, all)
		follow_all(other);
	if (archived != NULL)
		peer_send(archived, &forget);
}

static void
on_forgotten(struct peer *peer, const struct frame *f)
{
	struct peer *authd = peer_of(ROLE_AUTHD);
	struct frame forgotten = { .type = FRAME_FORGOTTEN, .jid = f->jid, .number = f->number };
	struct jid jid;

	if (jid_parse(f->jid, &jid) != 0 || jid.resource.ptr != NULL)
		peer_refuse(peer, f, "malformed address");
	else if (authd != NULL)
		peer_send(authd, &forgotten);
}

/* What the router does with each frame: a row for each type that a daemon may send it. */
static void (*const handlers[FRAME_COUNT])(struct peer *, const struct frame *) = {
	[FRAME_HELLO] = on_hello,
	[FRAME_READY] = on_ready,
	[FRAME_RESEND] = on_echo,
	[FRAME_MECHANISMS] = on_mechanisms,
	[FRAME_AUTH_START] = on_auth_request,
	[FRAME_AUTH_STEP] = on_auth_request,
	[FRAME_AUTH_ABORT] = on_auth_request,
	[FRAME_AUTH_CHALLENGE] = on_auth_answer,
	[FRAME_AUTH_SUCCESS] = on_auth_answer,
	[FRAME_AUTH_FAILURE] = on_auth_answer,
	[FRAME_ACK] = on_ack,
	[FRAME_STANZA] = on_stanza,
	[FRAME_SESSION_BIND] = session_bind,
	[FRAME_SESSION_REPLAY] = session_replay,
	[FRAME_SESSION_END] = on_session_end,
	[FRAME_REMOTE_OPEN] = remote_open,
	[FRAME_REMOTE_WAITING] = remote_waiting,
	[FRAME_UNDELIVERABLE] = on_delivered,
	[FRAME_SPOOLED] = remote_spooled,
	[FRAME_SESSION_PAUSE] = on_session_flow,
	[FRAME_SESSION_DRAIN] = on_session_flow,
	[FRAME_SESSION_AWAY] = on_session_flow,
	[FRAME_PUSH] = push_counted,
	[FRAME_SESSION_RESUME] = session_resume,
	[FRAME_SESSION_MOVE] = session_move,
	[FRAME_DELIVERED] = on_delivered,
	[FRAME_ROSTER] = account_roster,
	[FRAME_ROSTER_CHANGE] = account_roster_change,
	[FRAME_BLOCKS] = block_changed,
	[FRAME_ROSTER_ASK] = account_roster_ask,
	[FRAME_ROSTER_IS] = account_roster_is,
	[FRAME_ACCOUNT_IS] = on_account_is,
	[FRAME_FORGET] = on_forget,
	[FRAME_FORGOTTEN] = on_forgotten,
	[FRAME_STORED] = hold_stored,
	[FRAME_DRAINED] = drain_done,
	[FRAME_CONTROL_REPLY] = control_reply,
	[FRAME_TAKEN] = fanout_taken,
	[FRAME_HISTORY] = fanout_frame,
	[FRAME_HISTORY_END] = fanout_history_end,
	[FRAME_REDACT] = fanout_frame,
	[FRAME_OCCUPANTS] = room_occupants,
	[FRAME_ROOM_QUERY] = room_query,
};

/* Whether a frame may come yet: HELLO is the first. */
static bool
is_due(const struct peer *peer, enum frame_type type)
{
	return type == FRAME_HELLO || peer->state != PEER_CONNECTED;
}

static void
frame_received(void *arg, struct link *link, const struct frame *f, struct slice whole)
{
	struct peer *peer = arg;
	void (*handler)(struct peer *, const struct frame *) = handlers[f->type];

	(void)link;
	(void)whole;
	if (handler == NULL || !is_due(peer, f->type)) {
		peer_refuse(peer, f, handler == NULL ? "not for the router" : "before HELLO");
		return;
	}
	handler(peer, f);
	daemon_dirty();
}

/* What is to be done when a daemon's link is closed. */
static void
peer_gone(struct peer *peer)
{
	if (is_taker(peer))
		taker_gone = daemon_ticks();
	log_warn("daemon gone", "name=%s index=%u incarnation=%u", role_text(peer->role), peer->index,
	    peer->incarnation);
	daemon_lost(peer->role, peer->index, peer->incarnation);
	peer_forget(peer);
}

static void
link_closed(void *arg, struct link *link)
{
	(void)link;
	peer_gone(arg);
}

void
peer_lose(struct peer *peer, const char *reason)
{
	log_error("link given up", "to=%s.%u bytes=%zu reason=\"%s\"", role_text(peer->role),
	    peer->index, link_pending(peer->link), reason);
	link_close(&peer->link);
	peer_gone(peer);
}

/* Its output has drained: its sessions were fed nothing stored meanwhile. */
static void
link_drained(void *arg, struct link *link)
{
	struct peer *peer = arg;

	(void)link;
	peer->congested = false;
	drain_peer(peer);
	if (peer->role == ROLE_S2SD)
		remotes_drained();
	flow_check();
}
