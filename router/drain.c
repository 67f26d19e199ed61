/*
 * drain.c: sessions that are fed from the spool.
 *
 *   LIVE --(available | room again | archived back)--> DRAINING --(DRAINED, no more)--> LIVE
 *   LIVE or DRAINING --(SESSION_PAUSE)--> paused --(SESSION_DRAIN)--> DRAINING
 *
 * While a session drains, stored messages are not given to it live: archived sends them, since it answers
 * in the order of its commits. What a session may get twice its c2sd recognises by the archive id.
 *
 * After a time in which something was kept from a session it is fed from the beginning of its
 * spool: messages of several origins do not come live in the order of their ids, so no id tells
 * what it has.
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

/* Asks archived for the next messages after the session's position. */
static void
drain_ask(struct session *s)
{
	struct peer *archived = peer_of(ROLE_ARCHIVED);
	struct frame f = { .type = FRAME_DRAIN, .handle = s->handle,
		.jid = account_jid(s->account), .archive_id = s->drain_id, .number = DRAIN_BATCH };

	s->draining = true;
	s->asked = archived != NULL;
	if (archived != NULL)
		peer_send(archived, &f);
}

void
drain_begin(struct session *s, uint64_t after)
{
	if (s->draining && s->asked) {
		s->drain_again = true; /* when the answer that is under way has come */
		return;
	}
	s->drain_again = false;
	if (after == 0)
		s->held_back = false;
	s->drain_id = after;
	drain_ask(s);
}

void
drain_owe(struct session *s)
{
	s->draining = true;
	s->drain_id = 0;
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
	if (is_fed(s) && !s->paused)
		drain_begin(s, 0);
	return true;
}

void
drain_all(void)
{
	session_each(drain_anew, NULL);
}

static bool
drain_of_peer(void *arg, struct session *s)
{
	if (s->peer == arg && s->draining && !s->asked && is_fed(s) && !s->paused)
		drain_begin(s, s->drain_id);
	return true;
}

void
drain_peer(struct peer *peer)
{
	session_each(drain_of_peer, peer);
}

void
drain_account(struct account *account)
{
	struct session *s;

	TAILQ_FOREACH(s, &account->sessions, siblings) {
		if (is_fed(s) && !s->paused)
			drain_begin(s, 0);
	}
}

static void
hold_back(struct session *s)
{
	s->held_back = some_held = true;
}

void
drain_missed(struct account *account)
{
	struct session *s;

	TAILQ_FOREACH(s, &account->sessions, siblings) {
		if (!s->unseen || s->held_back)
			continue;
		hold_back(s);
		s->draining = true;
	}
}

/* Whether what archived sends out of a spool is a message for the account of this session, or for the
 * domain. */
static bool
is_for(const struct session *s, const struct frame *f, struct jid *to)
{
	struct jid from;

	return f->archive_id != 0 && f->kind == STANZA_MESSAGE && f->from.ptr != NULL &&
	    f->to.ptr != NULL && jid_parse(f->from, &from) == 0 && jid_parse(f->to, to) == 0 &&
	    slice_equal(remote_spool_of(f->to), account_jid(s->account));
}

void
drain_stanza(struct peer *archived, const struct frame *f)
{
	struct session *s = session_find(f->handle), *other;
	struct frame out = *f;
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
	/* What is for another session that lives is that one's; a session without presence, or with a
	 * negative priority, gets what is for itself. */
	other = to.resource.ptr ? session_of_resource(s->account, to.full) : NULL;
	if (other != NULL ? other != s : !s->available || s->priority < 0) {
		if (other == NULL && s->unseen)
			hold_back(s);
		return;
	}
	/* What came before its sender was blocked waits until that is blocked no more. */
	if (s->held_back || block_is(account_jid(s->account), f->from))
		return;
	out.flags = (f->flags & FLAG_FROM_ENTRY) | FLAG_SPOOL;
	out.numbers = SLICE_NONE;
	COUNT(messages_routed);
	deliver_to(s, &out);
}

void
drain_done(struct peer *archived, const struct frame *f)
{
	struct session *s = session_find(f->handle);

	if (s == NULL || s->account == NULL)
		return;
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
		drain_begin(s, 0);
	} else if (s->peer->congested || s->held_back) {
		return; /* drain_peer() goes on, or the presence or drains_tick() */
	} else if (f->flags & FLAG_MORE) {
		drain_ask(s);
	} else {
		s->draining = false;
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
		drain_begin(s, 0);
	return true;
}

void
drains_tick(void)
{
	if (!some_held)
		return;
	some_held = false;
	session_each(drain_overdue, NULL);
}

bool
drains_waiting(void)
{
	return some_held;
}

void
drain_pause(struct session *s)
{
	if (s->paused)
		return;
	s->paused = true;
	if (!s->draining)
		s->drain_id = 0;
}

void
drain_resume(struct session *s)
{
	if (!s->paused || s->account == NULL)
		return;
	s->paused = false;
	drain_begin(s, 0); /* c2sd may have left some of what it got before the pause to the spool */
}
