/*
 * hold.c: the order of what a session sends, and store-then-forward (DESIGN section 3).
 *
 * A message to be stored goes to archived the moment it arrives and waits here; what the router
 * does itself waits behind it. What goes to another daemon that takes responsibility (authd) never
 * waits: frames of one origin must reach a taker in the order of their numbers, or its watermark
 * would swallow one.
 *
 * Called by route.c and peer.c. When archived dies, frames that are being stored stay here: their
 * senders send them again (RESEND), and hold_again() passes them on.
 */
#include "router.h"

#include <stdlib.h>

#include "counter.h"
#include "log.h"
#include "mem.h"

/* A well-behaved c2sd keeps to a window of 128 stanzas and 512 KiB a session, and one stanza
 * more. */
#define QUEUE_MAX   1024
#define QUEUE_BYTES (2 * FRAME_MAX)

/* Messages being stored whose c2sd has died: they are delivered all the same. */
static struct helds orphans = TAILQ_HEAD_INITIALIZER(orphans);
static size_t held_count, held_bytes;
/* Stored messages that wait behind others: their turn comes later than that of messages with higher ids. */
static struct helds late = TAILQ_HEAD_INITIALIZER(late);
static uint64_t turned = UINT64_MAX; /* the highest archive id whose turn it was; UINT64_MAX: not known */
static uint64_t announced;           /* the last one that there was when archived registered */

static struct helds *
helds_new(void)
{
	struct helds *list = mem_alloc(sizeof *list);

	TAILQ_INIT(list);
	return list;
}

/* Puts a copy of a frame at the end of a session's queue; NULL when that is too long. There is
 * always room for the end of a session. */
static struct held *
held_push(struct session *s, const struct frame *f, bool ready)
{
	struct buf bytes = { .secret = (f->flags & FLAG_SECRET) != 0 };
	struct held *h;

	if (((s->queue_len >= QUEUE_MAX || s->queue_bytes >= QUEUE_BYTES) &&
	    f->type != FRAME_SESSION_END) || frame_write(f, &bytes))
		return NULL;
	h = mem_alloc(sizeof *h + buf_len(&bytes));
	memcpy(h->frame, buf_slice(&bytes).ptr, buf_len(&bytes));
	h->len = buf_len(&bytes);
	buf_free(&bytes);
	h->session = s;
	h->origin = f->origin;
	h->seq = f->seq;
	h->ready = ready;
	h->secret = bytes.secret;
	if (s->queue == NULL)
		s->queue = helds_new();
	TAILQ_INSERT_TAIL(s->queue, h, order);
	s->queue_len++;
	s->queue_bytes += h->len;
	held_count++;
	held_bytes += h->len;
	return h;
}

static void
held_free(struct held *h)
{
	struct session *s = h->session;

	TAILQ_REMOVE(s->queue, h, order);
	s->queue_len--;
	s->queue_bytes -= h->len;
	held_count--;
	held_bytes -= h->len;
	if (TAILQ_EMPTY(s->queue))
		MEM_FREE(&s->queue);
	if (h->secret)
		explicit_bzero(h->frame, h->len);
	if (h->late)
		TAILQ_REMOVE(&late, h, behind);
	free(h);
}

/* Does what a frame of a session asks for, now that its turn has come; s may be gone afterwards. */
static void
frame_turn(struct session *s, const struct frame *f)
{
	if (f->type == FRAME_SESSION_END)
		session_ended(s, f);
	else
		route_stanza(f, s);
}

/* Forwards what archived has stored, or leaves it to the spool. */
static void
held_turn(struct held *h)
{
	struct session *s = h->session;
	struct frame f;

	ASSERT(frame_read(slice_of(h->frame, h->len), &f) == 0);
	f.archive_id = h->archive_id;
	f.token = SLICE_NONE;
	f.flags |= h->skips;
	if (!h->refused && f.archive_id > turned)
		turned = f.archive_id;
	if (h->refused) {
		route_error(&f, STANZA_ERROR_SERVICE_UNAVAILABLE, "Too many messages wait for this account");
		peer_ack(f.origin, f.seq);
	} else if (h->discard) {
		peer_ack(f.origin, f.seq);
	} else {
		frame_turn(s, &f);
	}
}

void
hold_run(struct session *s)
{
	struct held *h;

	while (s->queue != NULL && s->state == SESSION_BOUND) {
		struct frame f;

		h = TAILQ_FIRST(s->queue);
		if (!h->ready)
			return;
		ASSERT(frame_read(slice_of(h->frame, h->len), &f) == 0);
		if (f.type == FRAME_SESSION_END) {
			/* The last of its session: nothing follows. */
			char *bytes = mem_copy(h->frame, h->len);

			ASSERT(frame_read(slice_of(bytes, h->len), &f) == 0);
			while (s->queue != NULL)
				held_free(TAILQ_FIRST(s->queue));
			session_ended(s, &f);
			free(bytes);
			return;
		}
		held_turn(h);
		held_free(h);
	}
}

/* Ends a session whose queue is full. A later frame may have passed this one, so that it could not
 * come again: it is done with, and nobody can ask its sender's client for what became of it. */
static void
overflow(struct session *s, const struct frame *f)
{
	COUNT(held_overflowed);
	log_warn("queue full", "session=%s length=%u", s->jid, s->queue_len);
	session_kill(s, "policy-violation", "Too much is under way");
	peer_ack(f->origin, f->seq);
}

void
hold_frame(struct session *s, const struct frame *f)
{
	if (s->queue == NULL && s->state != SESSION_LOADING)
		frame_turn(s, f);
	else if (held_push(s, f, true) == NULL)
		overflow(s, f);
}

/* Passes a message to archived, unless it is away: then it comes again. */
static void
store_send(const struct frame *f)
{
	struct peer *archived = peer_of(ROLE_ARCHIVED);

	if (archived != NULL)
		follow_send(archived, f);
}

void
hold_store(struct session *s, struct peer *peer, const struct frame *f)
{
	struct held *h = held_push(s, f, false);

	if (h == NULL) {
		overflow(s, f);
		return;
	}
	if (peer->storing == NULL)
		peer->storing = helds_new();
	TAILQ_INSERT_TAIL(peer->storing, h, storing);
	store_send(f);
}

bool
hold_again(struct session *s, uint32_t origin, uint64_t seq)
{
	struct held *h;
	struct frame kept;

	if (s->queue == NULL)
		return false;
	TAILQ_FOREACH(h, s->queue, order) {
		if (h->seq != seq || h->origin != origin)
			continue;
		if (!h->ready) {
			/* As it was stamped and marked when it came first. */
			ASSERT(frame_read(slice_of(h->frame, h->len), &kept) == 0);
			store_send(&kept);
		}
		return true;
	}
	return false;
}

/* Takes the message with this number off the list of those being stored. */
static struct held *
storing_take(struct helds *list, uint32_t origin, uint64_t seq)
{
	struct held *h;

	if (list == NULL)
		return NULL;
	TAILQ_FOREACH(h, list, storing) {
		if (h->seq == seq && h->origin == origin) {
			TAILQ_REMOVE(list, h, storing);
			return h;
		}
	}
	return NULL;
}

/* Marks one message as stored, and lets its session's queue go on; false when it is not one that is
 * being stored. */
static bool
stored(uint32_t origin, uint64_t seq, uint64_t id, uint64_t spool)
{
	struct peer *peer = peer_by_incarnation(origin);
	struct held *h;

	if (peer != NULL && peer->role == ROLE_AUTHD)
		return peer_kept(peer, seq);
	h = storing_take(peer ? peer->storing : &orphans, origin, seq);
	if (h == NULL)
		return false;
	h->ready = true;
	h->archive_id = id;
	h->discard = id == 0;
	h->refused = id == STORED_REFUSED;
	h->skips = (spool & STORED_FROM_SKIPS ? FLAG_FROM_SKIPS : 0u) |
	    (spool & STORED_TO_SKIPS ? FLAG_TO_SKIPS : 0u);
	if (!h->discard && !h->refused &&
	    (h->session->state != SESSION_BOUND || TAILQ_FIRST(h->session->queue) != h)) {
		h->late = true;
		TAILQ_INSERT_TAIL(&late, h, behind);
	}
	deliver_spool(slice_of(h->frame, h->len), spool & STORED_ACCOUNT);
	hold_run(h->session);
	return true;
}

void
hold_stored(struct peer *archived, const struct frame *f)
{
	bool waited = true;
	size_t i;

	if (frame_count(f) == 0 && f->archive_id == UINT64_MAX) {
		peer_refuse(archived, f, "no id");
		return;
	}
	if (frame_count(f) == 0 && archived->state != PEER_LIVE)
		announced = f->archive_id;
	else if (frame_count(f) == 0)
		hold_turn(f->archive_id);
	for (i = 0; i + 2 < frame_count(f); i += 3)
		waited &= fanout_stored(f->origin, frame_at(f, i), frame_at(f, i + 1), frame_at(f, i + 2)) ||
		    stored(f->origin, frame_at(f, i), frame_at(f, i + 1), frame_at(f, i + 2));
	if (frame_count(f) % 3 != 0)
		peer_refuse(archived, f, "not triples");
	else if (!waited)
		peer_drop(archived, f, "nobody waits for it");
}

void
hold_turn(uint64_t id)
{
	if (turned != UINT64_MAX && id > turned)
		turned = id;
}

uint64_t
hold_turned(void)
{
	return turned;
}

uint64_t
hold_announced(void)
{
	return announced;
}

void
hold_catch_up(void)
{
	if (turned == UINT64_MAX || turned < announced)
		turned = announced;
}

bool
hold_is_late(uint64_t id)
{
	const struct held *h;

	TAILQ_FOREACH(h, &late, behind) {
		if (h->archive_id == id)
			return true;
	}
	return false;
}

void
hold_gauges(void)
{
	GAUGE(held, held_count);
	GAUGE(held_bytes, held_bytes);
}

void
hold_peer_gone(struct peer *peer)
{
	struct held *h;

	if (peer->role == ROLE_ARCHIVED) {
		/* Nobody sends these again; what of them was committed is on the spool. */
		while ((h = TAILQ_FIRST(&orphans)) != NULL) {
			TAILQ_REMOVE(&orphans, h, storing);
			h->ready = h->discard = true;
			hold_run(h->session);
		}
	}
	if (peer->storing == NULL)
		return;
	TAILQ_CONCAT(&orphans, peer->storing, storing);
	MEM_FREE(&peer->storing);
}
