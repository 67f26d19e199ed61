/*
 * session.c: bound sessions: what comes for them, what goes from them, and their end.
 *
 * Called by sessions.c with the router's frames, by inbound.c with the client's stanzas, by conn.c
 * when bytes can be written or have gone, by uplink.c when frames were taken. The states are drawn
 * in c2sd.h. A stored message is reported as delivered when the client has acknowledged it, or
 * without stream management when the kernel has taken its last byte; until then it is on the
 * spool.
 */
#include "c2sd.h"

#include <stdlib.h>

#include "counter.h"
#include "error.h"
#include "log.h"
#include "map.h"
#include "mem.h"
#include "ns.h"

#define STORED_PART 2u     /* of queue-total: above it what is stored is left to the spool */
#define QUEUE_PART  4u     /* a queue may take this part of what is left of that */
#define MOVED_MAX   4096u  /* sessions that have gone to another c2sd lately */
#define LOOSE_LIMIT 4u     /* times the limits of a queue, for what is not stored */
#define HARD_LIMIT  8u     /* times the limits, for all */
#define ITEM_BYTES  256u   /* of a stanza besides its payload, about */
/* Of a query, in the window: so few are under way that their answers fit in the queue. */
#define QUERY_WEIGHT (128u << 10)

static struct map *by_handle, *by_sm_id;
static unsigned of_state[SESSION_ENDED + 1];
static unsigned paused_count;

static void taken(struct uplink_sender *sender, uint64_t seq);
static void due(struct deadline *d);
static void hold_back(struct session *s);

/* -- tables ------------------------------------------------------------------------------------ */

struct session *
session_find(uint64_t handle)
{
	return by_handle != NULL ? map_get(by_handle, slice_of(&handle, sizeof handle)) : NULL;
}

struct session *
session_each(size_t *at)
{
	return by_handle != NULL ? map_each(by_handle, at) : NULL;
}

struct session *
session_by_sm_id(struct slice id)
{
	return by_sm_id != NULL ? map_get(by_sm_id, id) : NULL;
}

void
session_name(struct session *s, struct slice sm_id)
{
	if (by_sm_id == NULL)
		by_sm_id = map_new();
	s->sm_id = slice_dup(sm_id);
	map_put(by_sm_id, slice_string(s->sm_id), s);
}

void
session_forget_name(struct session *s)
{
	if (s->sm_id == NULL)
		return;
	map_remove(by_sm_id, slice_string(s->sm_id));
	MEM_FREE(&s->sm_id);
}

void
sessions_gauges(void)
{
	GAUGE(sessions, of_state[SESSION_ATTACHED] + of_state[SESSION_DETACHED] +
	    of_state[SESSION_LEAVING] + of_state[SESSION_ARRIVING]);
	GAUGE(sessions_detached, of_state[SESSION_DETACHED]);
	GAUGE(sessions_paused, paused_count);
	GAUGE(sessions_ended, of_state[SESSION_ENDED]);
	GAUGE(sessions_moved, of_state[SESSION_LEAVING] + of_state[SESSION_MOVED]);
	GAUGE(queue_stanzas, outqueue_total());
	GAUGE(queue_bytes, outqueue_memory());
	csi_gauges();
}

bool
sessions_may_move(void)
{
	return of_state[SESSION_LEAVING] + of_state[SESSION_MOVED] < MOVED_MAX;
}

void
session_set_state(struct session *s, enum session_state state)
{
	of_state[s->state]--;
	of_state[state]++;
	s->state = (uint8_t)state;
}

static void
set_paused(struct session *s, bool paused)
{
	if (s->paused == paused)
		return;
	if (paused)
		feed_pause(s);
	s->paused = paused;
	paused_count += paused ? 1u : -1u;
}

/* -- beginning --------------------------------------------------------------------------------- */

struct session *
session_new(uint64_t handle, struct slice jid, const unsigned char token[32])
{
	struct session *s = mem_alloc(sizeof *s);

	if (by_handle == NULL)
		by_handle = map_new();
	s->sender.taken = taken;
	s->deadline.due = due;
	s->handle = handle;
	s->jid = slice_dup(jid);
	s->jid_len = (uint16_t)jid.len;
	s->bare_len = (uint16_t)jid_bare_of(jid).len;
	memcpy(s->token, token, sizeof s->token);
	memcpy(s->first_token, token, sizeof s->first_token);
	s->state = SESSION_ARRIVING;
	of_state[SESSION_ARRIVING]++;
	map_put(by_handle, slice_of(&s->handle, sizeof s->handle), s);
	return s;
}

void
session_tell_away(struct session *s, bool away, uint64_t waiting)
{
	struct frame f = { .type = FRAME_SESSION_AWAY, .handle = s->handle, .number = waiting,
		.flags = away ? 0 : FLAG_AVAILABLE };

	s->away = away;
	daemon_send(&f);
}

void
session_attach(struct session *s, struct conn *c)
{
	deadline_clear(&s->deadline);
	if (s->away)
		session_tell_away(s, false, 0);
	session_set_state(s, SESSION_ATTACHED);
	s->conn = c;
	MEM_FREE(&s->lang);
	s->lang = slice_dup(slice_string(c->lang));
	c->session = s;
	stream_bound(c);
	hold_back(s);
	conn_touch(c);
}

/* -- from the client --------------------------------------------------------------------------- */

/* Stanzas and bytes that wait to be written, against this part of the limits of a queue; what is
 * stored counts as stanzas only, since SESSION_PAUSE bounds its bytes. */
static bool
waits_more(const struct session *s, unsigned part)
{
	const struct outqueue *q = &s->queue;

	return q->count - q->written > settings.queue_stanzas / part ||
	    q->loose_waiting > settings.queue_bytes / part;
}

/* Stops reading a client while too much of it waits to be taken, or for it to be written. */
static void
hold_back(struct session *s)
{
	if (s->conn == NULL || s->conn->net.blocked)
		return;
	if (sm_window_full(&s->sm))
		COUNT(windows_full);
	else if (waits_more(s, 1))
		COUNT(answers_full);
	else
		return;
	conn_block(s->conn, true);
}

/* Puts a stanza of the client into the window. */
static void
window_add(struct session *s, uint64_t seq, size_t len)
{
	sm_read(&s->sm, seq, len);
	hold_back(s);
}

void
session_handled(struct session *s)
{
	window_add(s, 0, 0);
}

/* A query to an archive: its answer is a page of messages, which come at once. */
static bool
is_query(const struct frame *f)
{
	return f->kind == STANZA_IQ && f->subtype == TYPE_SET && slice_is(f->ns, NS_MAM);
}

int
session_send(struct session *s, struct frame *f)
{
	uint64_t seq;
	size_t len;
	int error;

	f->handle = s->handle;
	error = uplink_send(&s->sender, f, &seq, &len);
	if (error != OK)
		return error;
	window_add(s, seq, len + (is_query(f) ? QUERY_WEIGHT : 0));
	return OK;
}

void
session_ease(struct session *s)
{
	if (s->conn != NULL && s->conn->net.blocked && sm_window_low(&s->sm) && !waits_more(s, 2))
		conn_ease(s->conn);
}

/* One of its frames was taken. */
static void
taken(struct uplink_sender *sender, uint64_t seq)
{
	struct session *s = (struct session *)sender;

	sm_handled(&s->sm, seq);
	if (s->state == SESSION_ATTACHED) {
		session_ease(s);
		if (s->sm.answer)
			conn_touch(s->conn);
	} else {
		session_settle(s);
	}
}

/* -- to the client ----------------------------------------------------------------------------- */

static bool
is_request(const struct frame *f)
{
	return f->kind == STANZA_IQ && (f->subtype == TYPE_GET || f->subtype == TYPE_SET);
}

/* Counts a stanza that a session is left with when it ends; a request is answered in its name. */
static void
leave_over(struct session *s, const struct frame *f)
{
	struct buf scratch = { 0 };
	struct frame reply;

	s->undelivered++;
	if (!is_request(f) || f->from.ptr == NULL)
		return;
	if (stanza_error_reply(f, STANZA_ERROR_RECIPIENT_UNAVAILABLE, SLICE_NONE, &scratch,
	    &reply)) {
		reply.from = SLICE_NONE; /* the router stamps it */
		session_send(s, &reply);
		COUNT(bounced);
	}
	buf_free(&scratch);
}

/* Writes one stanza to the connection; returns its length. */
static size_t
write_stanza(struct session *s, const struct frame *f)
{
	struct buf *out = conn_out(s->conn);
	size_t before = buf_len(out);

	stanza_write(f, session_jid(s), session_bare(s), out);
	COUNT(stanzas_out);
	return buf_len(out) - before;
}

/* Whether a stanza that comes out of the spool is here, or was delivered. */
static bool
is_repeated(const struct session *s, const struct frame *f)
{
	return outqueue_holds(&s->queue, f->archive_id) ||
	    (s->delivering > 0 && uplink_delivering(s->handle, f->archive_id));
}

/* Whether nothing has to wait: then the stanza is written without a copy. */
static bool
is_clear(struct session *s)
{
	return s->state == SESSION_ATTACHED && !s->sm.enabled && conn_is_open(s->conn) &&
	    outqueue_next(&s->queue) == NULL && buf_len(&s->conn->net.out) < OUT_HIGH;
}

/* Passes what has come too late on to where the session is now. */
static void
pass_on(const struct session *s, const struct frame *f)
{
	struct frame copy = *f;

	copy.handle = s->moved_to;
	copy.numbers = SLICE_NONE;
	copy.flags |= FLAG_HANDOVER;
	daemon_send(&copy);
}

/* Puts a stanza into a queue. */
static void
keep(struct outqueue *q, const struct frame *f, struct kept **kept)
{
	if (*kept == NULL)
		*kept = kept_new(f);
	outqueue_add(q, kept_hold(*kept), feed_id(f), (*kept)->len);
	if (f->archive_id == 0 && feed_id(f) != 0)
		outqueue_copy(q);
}

/* Puts a stanza behind those that come from another c2sd. When there are too many the session does
 * not arrive: it ends, with an answer to each request. */
static void
keep_later(const struct session *s, const struct frame *f, struct kept **kept)
{
	struct conn *c = stream_find(s->handle);
	struct outqueue *later;

	if (c == NULL || c->login == NULL)
		return;
	if (c->login->later == NULL)
		c->login->later = mem_alloc(sizeof *c->login->later);
	later = c->login->later;
	keep(later, f, kept);
	if (later->bytes > HARD_LIMIT * settings.queue_bytes ||
	    later->count > HARD_LIMIT * settings.queue_stanzas) {
		COUNT(queues_overflowed);
		stream_error(c, "policy-violation", "too much came meanwhile", NULL);
	}
}

void
session_take_later(struct session *s, struct outqueue **later)
{
	if (*later != NULL)
		outqueue_append(&s->queue, *later);
	MEM_FREE(later);
}

/* Bytes that a queue may take: its share of the limit for each, or of what is left for all. */
static size_t
allowance(size_t limit)
{
	size_t max = settings.queue_total / STORED_PART;
	size_t left = outqueue_memory() < max ? max - outqueue_memory() : 0;

	return left / QUEUE_PART < limit ? left / QUEUE_PART : limit;
}

/* Whether no more of what is stored is taken. */
static bool
is_over(const struct session *s)
{
	const struct outqueue *q = &s->queue;

	return s->paused && (outqueue_memory() > settings.queue_total / STORED_PART ||
	    q->bytes > HARD_LIMIT * settings.queue_bytes ||
	    q->count > HARD_LIMIT * settings.queue_stanzas);
}

void
session_report(struct session *s, uint64_t archive_id)
{
	s->delivering++;
	uplink_delivered(s->handle, archive_id);
}

/* What is on the spool has come as a copy: it is reported when the client has that. */
static void
own_copy(struct session *s, const struct frame *f)
{
	if (!is_repeated(s, f))
		session_report(s, f->archive_id);
	else
		outqueue_own(&s->queue, f->archive_id);
}

void
session_deliver(struct session *s, const struct frame *f, struct kept **kept)
{
	struct outqueue *q = &s->queue;

	if (metadata_answer(s, f))
		return;
	/* What a room says to a session that has moved, the router says to that as well. */
	if ((f->flags & FLAG_ROOM) && !(f->flags & FLAG_HANDOVER) &&
	    (s->state == SESSION_MOVED || !room_takes(s, f)))
		return;
	if (f->kind == STANZA_PRESENCE && (f->subtype == TYPE_ERROR ||
	    (f->subtype == TYPE_UNAVAILABLE && (f->flags & FLAG_ROOM))))
		presence_refused(s->presence, f->from);
	/* With what is stored the session is fed where it is now: passed on it could come after that, a
	 * second time. */
	if (s->state == SESSION_MOVED && feed_id(f) == 0)
		pass_on(s, f);
	if (s->state == SESSION_ENDED)
		leave_over(s, f);
	if (s->state == SESSION_MOVED || s->state == SESSION_ENDED)
		return;
	if (f->archive_id != 0 && (f->flags & (FLAG_CARBON | FLAG_ROOM)) == FLAG_CARBON) {
		own_copy(s, f);
		return;
	}
	if (feed_id(f) != 0 && !(f->flags & FLAG_HANDOVER) &&
	    ((f->archive_id != 0 && (f->flags & FLAG_SPOOL) && is_repeated(s, f)) ||
	    !feed_takes(s, f, is_over(s))))
		return;
	if (f->kind == STANZA_IQ && f->subtype == TYPE_RESULT && f->number != 0)
		s->copies_since = f->number;
	if (s->state == SESSION_ARRIVING && !(f->flags & FLAG_HANDOVER)) {
		keep_later(s, f, kept);
		return;
	}
	if (s->csi != NULL && csi_hold(s, f, kept))
		return;
	if (is_clear(s)) {
		write_stanza(s, f);
		if (feed_id(f) == 0 && !is_request(f))
			return;
		/* A request that is lost with the connection is answered, see session_end(). */
		if (is_request(f))
			keep(q, f, kept);
		else
			outqueue_add(q, NULL, feed_id(f), f->payload.len + ITEM_BYTES);
		if (f->archive_id == 0 && feed_id(f) != 0)
			outqueue_copy(q);
		outqueue_wrote(q, conn_written(s->conn));
	} else {
		keep(q, f, kept);
		if (s->conn != NULL)
			conn_touch(s->conn);
	}
	session_limits(s);
}

void
session_write(struct session *s)
{
	struct outqueue_item *item;
	struct frame f;

	while (buf_len(&s->conn->net.out) < OUT_HIGH && (item = outqueue_next(&s->queue)) != NULL) {
		ASSERT(item->kept != NULL &&
		    frame_read(slice_of(item->kept->frame, item->kept->len), &f) == OK);
		sm_wrote(&s->sm, write_stanza(s, &f));
		outqueue_wrote(&s->queue, conn_written(s->conn));
	}
	if (!s->sm.enabled)
		s->sm.unasked = 0;
	session_ease(s);
	management_write(s, false);
}

/* A stanza has reached the client. */
static void
delivered(void *arg, const struct outqueue_item *item)
{
	if (item->archive_id != 0 && !item->copy)
		session_report(arg, item->archive_id);
}

void
session_taken(struct session *s, uint64_t mark)
{
	if (s->queue.count == 0)
		return;
	outqueue_taken(&s->queue, mark, s->sm.enabled, delivered, s);
	session_limits(s);
}

void
session_acknowledge(struct session *s, uint32_t acknowledged)
{
	outqueue_acknowledged(&s->queue, acknowledged, delivered, s);
	session_limits(s);
}

/* Ends a session whose client lets too much gather that is not stored. */
static void
overflow(struct session *s)
{
	struct conn *c = s->conn;

	COUNT(queues_overflowed);
	log_warn("queue overflow", "jid=%s stanzas=%u bytes=%zu", s->jid, s->queue.count,
	    s->queue.bytes);
	if (c != NULL)
		stream_error(c, "policy-violation", "the client does not read", NULL);
	else
		session_end(s, "policy-violation");
}

/* Ends those sessions that hold most of what is not stored, until all queues fit in queue-total. */
void
session_make_room(void)
{
	struct session *s, *worst;
	size_t at, loose, most;

	while (outqueue_memory() > settings.queue_total) {
		worst = NULL;
		most = 0;
		for (at = 0; (s = map_each(by_handle, &at)) != NULL; ) {
			loose = s->queue.loose_bytes + csi_bytes(s->csi);
			if ((s->state == SESSION_ATTACHED || s->state == SESSION_DETACHED) &&
			    loose > most) {
				worst = s;
				most = loose;
			}
		}
		if (worst == NULL)
			return;
		overflow(worst);
	}
}

void
session_limits(struct session *s)
{
	struct frame f = { .handle = s->handle };
	struct outqueue *q = &s->queue;
	size_t bytes = allowance(settings.queue_bytes);

	if (s->state != SESSION_ATTACHED && s->state != SESSION_DETACHED)
		return;
	if (q->loose > LOOSE_LIMIT * settings.queue_stanzas ||
	    q->loose_bytes > LOOSE_LIMIT * settings.queue_bytes) {
		overflow(s);
		return;
	}
	hold_back(s);
	if (!s->paused && (q->count > settings.queue_stanzas || q->bytes > bytes)) {
		COUNT(queues_full);
		f.type = FRAME_SESSION_PAUSE;
		set_paused(s, true);
		daemon_send(&f);
	} else if (s->paused && q->count <= settings.queue_stanzas / 2 &&
	    q->bytes <= bytes / 2) {
		f.type = FRAME_SESSION_DRAIN;
		feed_ask(s, &f);
		set_paused(s, false);
		daemon_send(&f);
	}
}

/* -- the end ----------------------------------------------------------------------------------- */

void
session_free(struct session *s)
{
	if (s->sm.count > 0)
		uplink_forget(&s->sender);
	deadline_clear(&s->deadline);
	session_forget_name(s);
	set_paused(s, false);
	map_remove(by_handle, slice_of(&s->handle, sizeof s->handle));
	of_state[s->state]--;
	presence_free(&s->presence);
	outqueue_clear(&s->queue, NULL, NULL);
	sm_free(&s->sm);
	free(s->jid);
	free(s->why);
	free(s->lang);
	free(s);
}

static void
bounce(void *arg, const struct outqueue_item *item)
{
	struct frame f = { .kind = STANZA_NONE };

	if (item->kept != NULL)
		ASSERT(frame_read(slice_of(item->kept->frame, item->kept->len), &f) == OK);
	leave_over(arg, &f);
}

/* Says that it is not available any more: at once, while the end waits until all is taken. */
static void
withdraw(struct session *s)
{
	struct frame f = { .type = FRAME_STANZA, .kind = STANZA_PRESENCE,
		.subtype = TYPE_UNAVAILABLE, .payload = SLICE(""), .number = 128 };

	if (s->presence != NULL)
		session_send(s, &f);
}

bool
session_is_settled(const struct session *s)
{
	return s->sm.count == 0 && s->delivering == 0;
}

void
session_settle(struct session *s)
{
	struct frame f = {
		.type = FRAME_SESSION_END,
		.handle = s->handle,
		.number = s->undelivered,
		.condition = slice_string(s->why),
	};

	if (!session_is_settled(s))
		return;
	if (s->state == SESSION_LEAVING) {
		resume_leave(s);
	} else if (s->state == SESSION_DETACHED && s->moved_to != 0) {
		resume_taken(s);
	} else if (s->state == SESSION_ENDED && uplink_live()) {
		daemon_send(&f);
		session_free(s);
	}
}

void
session_end(struct session *s, const char *why)
{
	if (s->state == SESSION_ENDED || s->state == SESSION_MOVED)
		return;
	if (s->conn != NULL)
		session_part(s);
	outqueue_clear(&s->queue, bounce, s);
	withdraw(s);
	log_info("session ended", "jid=%s reason=\"%s\" undelivered=%llu", s->jid, why,
	    (unsigned long long)s->undelivered);
	deadline_clear(&s->deadline);
	session_forget_name(s);
	set_paused(s, false);
	s->why = mem_string(why);
	session_set_state(s, SESSION_ENDED);
	session_settle(s);
}

void
session_part(struct session *s)
{
	struct conn *c = s->conn;

	s->conn = NULL;
	if (c != NULL && c->session == s)
		c->session = NULL;
	csi_end(s);
	sm_detach(&s->sm);
}

void
session_lost(struct session *s, bool properly, const char *why)
{
	session_part(s);
	if (properly || s->sm_id == NULL) {
		session_end(s, why);
		return;
	}
	log_info("session detached", "jid=%s reason=\"%s\" waiting=%u", s->jid, why,
	    s->queue.count);
	session_set_state(s, SESSION_DETACHED);
	session_tell_away(s, true, s->queue.count - s->queue.loose + s->skipped);
	deadline_set(&s->deadline, s->resume_seconds * UINT64_C(1000));
}

/* A time is up: of resumption, of the wait before a move or after it, or for metadata. */
static void
due(struct deadline *d)
{
	struct session *s = (struct session *)((char *)d - offsetof(struct session, deadline));

	if (s->state == SESSION_DETACHED || s->state == SESSION_LEAVING)
		resume_late(s);
	else if (s->state == SESSION_MOVED)
		session_free(s);
	else if (s->state == SESSION_ARRIVING)
		metadata_late(s);
}
