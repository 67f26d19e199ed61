/*
 * drain.c: sessions that are fed: with what is on the spool, and with what they have missed.
 *
 *   LIVE --(bound | available | a sibling ended | no room | archived back)--> DRAINING
 *   DRAINING --(DRAINED, no more)--> LIVE
 *   LIVE or DRAINING --(SESSION_PAUSE)--> paused --(SESSION_DRAIN)--> DRAINING
 *
 * A session that is not LIVE has a level: all that was stored up to this id and was for it was given to it.
 * It is given nothing stored, and no copy of it, when its turn comes: archived sends it all, first what is
 * on the spool up to the level, then what is behind it in the archive, whether another session has taken it
 * off the spool or not. So what a session misses costs one number, and it is bounded by the disk.
 * This holds because turns come in the order of ids, but for messages that wait in the queue of a session
 * whose roster is not here yet: those are left out of what is fed (hold_is_late()) and given in their turn.
 *
 * A domain elsewhere (remote.c) has a spool and no archive: it is fed with all of its spool each time.
 *
 * A new router does not feed the sessions that it was told of while a c2sd has not told its own: what is for
 * one of those would look as if it was for all of its account.
 *
 * c2sd knows the level of each of its sessions as well, and tells a new router (SESSION_REPLAY).
 *
 * What a session may get twice from the spool its c2sd recognises by the archive id. What it has had as a
 * copy is marked: c2sd reports it as delivered when its client has that, and does not write it.
 *
 * A session that is bound and has sent no presence yet gets what is for its full address. When its
 * spool has something for the account that it may not have before its presence, that and all behind
 * it waits for the presence, for a short time: else the client would see its messages out of order.
 */
#include "router.h"

#include "counter.h"
#include "log.h"

#define DRAIN_BATCH 64   /* messages a DRAIN asks for */
#define SEEN_TIME   5000 /* milliseconds in which a client's presence is expected */

static bool some_held; /* perhaps: sessions that are held back */
static bool some_wait; /* perhaps: sessions for which nothing was asked, since not all are known */

/* Tells c2sd that a session is fed from its level on, or that it is up to date. */
static void
tell(const struct session *s, uint32_t flags, uint64_t level, uint64_t number)
{
	struct frame f = { .type = FRAME_SESSION_FEED, .handle = s->handle, .flags = flags,
		.archive_id = level, .number = number };

	if (s->peer != NULL && !s->killed && !s->remote)
		peer_send(s->peer, &f);
}

/* From now on a session is fed; level counts when it was up to date until now. */
static void
lag(struct session *s, uint64_t level)
{
	if (!s->draining && !s->paused) {
		s->level = s->drain_id = level;
		tell(s, FLAG_MORE, level, 0);
	}
	s->draining = true;
}

/* Whether sessions may be missing that live. */
static bool
is_early(void)
{
	static uint64_t began;

	if (began == 0)
		began = daemon_ticks();
	return daemon_ticks() - began < REPLAY_TIME && peers_replaying();
}

/* Asks archived for the next messages after the session's position. */
static void
drain_ask(struct session *s)
{
	struct peer *archived = peer_of(ROLE_ARCHIVED);
	struct frame f = { .type = FRAME_DRAIN, .handle = s->handle,
		.jid = account_jid(s->account), .archive_id = s->drain_id, .number = DRAIN_BATCH,
		.stamp = s->remote ? UINT64_MAX : s->level, .flags = s->carbons ? FLAG_CARBONS : 0 };

	s->asked = archived != NULL && !(s->replayed && is_early());
	if (s->asked)
		peer_send(archived, &f);
	else if (archived != NULL)
		some_wait = true;
}

void
drain_join(struct session *s, uint64_t level)
{
	s->level = level;
	s->draining = true;
}

void
drain_begin(struct session *s)
{
	lag(s, hold_turned());
	if (s->asked) {
		s->drain_again = true; /* when the answer that is under way has come */
		return;
	}
	s->drain_again = false;
	s->held_back = false;
	s->drain_id = 0;
	drain_ask(s);
}

bool
drain_passes(struct session *s, uint64_t id)
{
	if (s->paused || s->draining)
		return id <= s->level; /* it is late */
	if (s->peer != NULL && s->peer->congested && id >= hold_turned()) {
		lag(s, id - 1);
		return false;
	}
	return true;
}

/* Whether a session can be fed: drain_stanza() says with what. */
static bool
is_fed(const struct session *s)
{
	return s->state == SESSION_BOUND && s->peer != NULL && !s->killed && !s->ending;
}

static bool
drain_anew(void *arg, struct session *s)
{
	(void)arg;
	s->asked = false;
	if (s->state == SESSION_GRANTED)
		return true;
	if (s->level == UINT64_MAX && !s->remote && (s->draining || s->paused)) {
		s->level = hold_announced();
		tell(s, FLAG_MORE, s->level, 0);
	}
	if (is_fed(s) && !s->paused)
		drain_begin(s);
	return true;
}

void
drain_all(void)
{
	session_each(drain_anew, NULL);
	hold_catch_up();
}

static bool
drain_of_peer(void *arg, struct session *s)
{
	if (s->peer == arg && s->draining && !s->asked && is_fed(s) && !s->paused)
		drain_ask(s);
	return true;
}

void
drain_peer(struct peer *peer)
{
	session_each(drain_of_peer, peer);
}

static bool
drain_waiting(void *arg, struct session *s)
{
	(void)arg;
	if (s->draining && !s->asked && !s->held_back && is_fed(s) && !s->paused && !s->peer->congested)
		drain_ask(s);
	return true;
}

void
drains_go_on(void)
{
	if (!some_wait || is_early())
		return;
	some_wait = false;
	session_each(drain_waiting, NULL);
}

void
drain_account(struct account *account)
{
	struct session *s;

	TAILQ_FOREACH(s, &account->sessions, siblings) {
		if (is_fed(s) && !s->paused)
			drain_begin(s);
	}
}

static void
hold_back(struct session *s)
{
	s->held_back = some_held = true;
}

void
drain_missed(struct account *account, uint64_t id)
{
	struct session *s;

	TAILQ_FOREACH(s, &account->sessions, siblings) {
		if (!s->unseen || s->held_back)
			continue;
		hold_back(s);
		lag(s, id - 1);
	}
}

/* Whether what archived sends is a message of the account of this session, or for the domain: behind the
 * level of an account's also one that the account has sent. */
static bool
is_for(const struct session *s, const struct frame *f, struct jid *to)
{
	struct slice account = account_jid(s->account);
	struct jid from;

	if (f->archive_id == 0 ||
	    (f->kind != STANZA_MESSAGE && !(s->remote && (route_is_subscription(f) || (f->flags & FLAG_ROOM)))) ||
	    f->from.ptr == NULL || f->to.ptr == NULL ||
	    jid_parse(f->from, &from) != 0 || jid_parse(f->to, to) != 0)
		return false;
	return slice_equal(remote_spool_of(f->to), account) ||
	    (!s->remote && f->archive_id > s->level && slice_equal(jid_bare(&from), account));
}

/* How a session gets what it is fed. WAIT: perhaps, with its presence. */
enum share { SHARE_NONE, SHARE_ORIGINAL, SHARE_COPY, SHARE_HAD, SHARE_WAIT };

static enum share
share_of(const struct session *s, const struct frame *f, const struct jid *to)
{
	struct slice account = account_jid(s->account);
	bool missed = f->archive_id > s->level, ours = slice_equal(jid_bare(to), account);
	const struct session *other = ours && to->resource.ptr != NULL ?
	    session_of_resource(s->account, to->full) : NULL;

	if (s->remote)
		return SHARE_ORIGINAL;
	if (ours && (other == s || (other == NULL && takes_messages(s)))) {
		/* What came before its sender was blocked, or was stored before a new router knew that it is, waits
		 * until that is blocked no more. */
		if (block_is(account, f->from))
			return SHARE_NONE;
		if (missed)
			return SHARE_ORIGINAL;
		return other == NULL && carbon_had(f, s) ? SHARE_HAD : SHARE_ORIGINAL;
	}
	if (ours && other == NULL && s->unseen)
		return SHARE_WAIT;
	return missed && carbon_wanted(f, s) ? SHARE_COPY : SHARE_NONE;
}

/* Gives a session its share of a message. */
static void
share(struct session *s, const struct frame *f, enum share share)
{
	struct frame out = *f;

	if (share == SHARE_NONE)
		return;
	out.flags = (f->flags & FLAG_FROM_ENTRY) | FLAG_SPOOL;
	if (s->remote && (f->flags & FLAG_ROOM))
		out.flags |= REMOTE_ROOM;
	else
		out.numbers = out.text = SLICE_NONE;
	if (share == SHARE_COPY)
		carbon_make(&out);
	if (share == SHARE_HAD)
		out.flags |= FLAG_CARBON;
	COUNT(messages_routed);
	deliver_to(s, &out);
	if (f->kind == STANZA_PRESENCE && f->subtype == TYPE_SUBSCRIBED)
		presence_granted(f);
}

void
drain_stanza(struct peer *archived, const struct frame *f)
{
	struct session *s = session_find(f->handle);
	enum share how;
	struct jid to;

	if (s == NULL || s->killed || s->peer == NULL || s->account == NULL)
		return; /* it has gone meanwhile */
	if (!s->draining || !is_for(s, f, &to)) {
		peer_refuse(archived, f, s->draining ? "not its spool" : "not asked for");
		return;
	}
	s->account->spool = f->number;
	if (s->paused || s->drain_again)
		return; /* asked for once more later */
	s->drain_id = f->archive_id;
	how = share_of(s, f, &to);
	if (how == SHARE_WAIT)
		hold_back(s);
	if (s->held_back)
		return;
	if (!hold_is_late(f->archive_id))
		share(s, f, how);
	if (f->archive_id > s->level)
		s->level = f->archive_id;
}

void
drain_done(struct peer *archived, const struct frame *f)
{
	struct session *s = session_find(f->handle);

	if (s == NULL || s->account == NULL || s->peer == NULL)
		return; /* it has gone meanwhile, or its daemon has */
	if (!s->draining) {
		peer_refuse(archived, f, "not asked for");
		return;
	}
	s->asked = false;
	if (f->number != 0)
		s->account->spool = f->number;
	if (s->paused || s->killed || s->peer == NULL)
		return;
	if (s->drain_again) {
		s->drain_again = false;
		drain_begin(s);
	} else if (s->peer->congested || s->held_back) {
		return; /* drain_peer() goes on, or the presence or drains_tick() */
	} else if (f->flags & FLAG_MORE) {
		if (f->archive_id > s->drain_id)
			s->drain_id = f->archive_id;
		drain_ask(s);
	} else {
		s->draining = false;
		tell(s, 0, hold_turned(), 0);
	}
}

static bool
drain_overdue(void *arg, struct session *s)
{
	(void)arg;
	if (!s->held_back)
		return true;
	if (daemon_ticks() - s->joined < SEEN_TIME) {
		some_held = true;
		return true;
	}
	s->held_back = s->unseen = false;
	if (is_fed(s) && !s->paused)
		drain_begin(s);
	return true;
}

void
drains_tick(void)
{
	drains_go_on();
	if (!some_held)
		return;
	some_held = false;
	session_each(drain_overdue, NULL);
}

bool
drains_waiting(void)
{
	return some_held || some_wait;
}

void
drain_pause(struct session *s)
{
	if (s->paused)
		return;
	if (!s->draining)
		s->level = hold_turned();
	s->paused = true;
}

void
drain_resume(struct session *s, uint64_t level, uint64_t number)
{
	if (!s->paused || s->account == NULL)
		return;
	if (level != UINT64_MAX)
		s->level = level;
	s->draining = true;
	s->paused = false;
	tell(s, FLAG_MORE, s->level, number);
	/* Says to s2sd that what it gets from here on begins anew. */
	if (s->remote && s->peer != NULL)
		peer_send(s->peer, &(struct frame){ .type = FRAME_SESSION_DRAIN, .handle = s->handle });
	drain_begin(s); /* from the beginning: c2sd may have left some of the spool out */
}
