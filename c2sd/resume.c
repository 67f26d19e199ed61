/*
 * resume.c: resumption of a session by a new stream (XEP-0198 section 5), on this c2sd or from
 * another one.
 *
 * Called by bind.c with <resume/>, by main.c with the router's frames. A session that is held by
 * another c2sd is asked for by way of the router, which checks that both are the same account's.
 * The holder waits until its frames are taken, so that h is right, and sends state and stanzas
 * over; after that it only passes on what still comes. A session that cannot be resumed is
 * answered with <failed/>, and the client binds anew.
 */
#include "c2sd.h"

#include <stdlib.h>

#include "counter.h"
#include "error.h"
#include "log.h"
#include "mem.h"
#include "ns.h"
#include "xmlout.h"

#define MOVED_MS 10000u
#define ID_LEN   (16 + 1 + 36)

uint64_t
resume_handle(struct slice id)
{
	uint64_t handle = 0;
	size_t i;

	if (id.len != ID_LEN || id.ptr[16] != '-')
		return 0;
	for (i = 0; i < 16; i++) {
		const char *digit = memchr("0123456789abcdef", id.ptr[i], 16);

		if (digit == NULL)
			return 0;
		handle = handle << 4 | (uint64_t)(strchr("0123456789abcdef", *digit) -
		    "0123456789abcdef");
	}
	return handle;
}

static void
refuse(struct conn *c, const char *condition)
{
	MEM_FREE(&c->login->previd);
	if (c->login->wishes != NULL) {
		sasl2_unresumed(c, condition);
		return;
	}
	c->stream = STREAM_BIND;
	management_failed(c, condition, false, 0); /* may end the stream */
}

/* Ends the stream that has the session now. */
static void
take_over(struct session *s)
{
	struct conn *old = s->conn;

	if (old == NULL)
		return;
	session_part(s);
	stream_error_only(old, "conflict", "resumed by another stream", NULL);
}

/* Tells a stream elsewhere that the session is not resumed by it. */
static void
refuse_there(const struct session *s, uint64_t stream)
{
	struct frame f = { .type = FRAME_SESSION_MOVE, .handle = s->handle, .number = stream,
		.condition = SLICE("item-not-found") };

	daemon_send(&f);
}

/* Another stream than the one that waits for the session will have it, or none. */
static void
forsake(struct session *s, uint64_t stream)
{
	struct conn *c = stream_find(s->moved_to);

	if (s->moved_to == 0 || s->moved_to == stream)
		return;
	if (s->state == SESSION_LEAVING)
		refuse_there(s, s->moved_to);
	else if (c != NULL && c->stream == STREAM_RESUME_WAIT)
		refuse(c, "item-not-found");
	s->moved_to = 0;
}

/* Whether a session can be resumed: also one that waits for a stream, which may be gone. */
static bool
is_resumable(const struct session *s)
{
	return s->state == SESSION_ATTACHED || s->state == SESSION_DETACHED ||
	    s->state == SESSION_LEAVING;
}

/* Resumes a session of ours when its frames are taken, so that h is right: what a client is not
 * told of it sends again, and its receiver would get it twice. */
static void
resume_here(struct conn *c, struct session *s, uint32_t h)
{
	take_over(s);
	forsake(s, c->handle);
	session_set_state(s, SESSION_DETACHED);
	deadline_set(&s->deadline, s->resume_seconds * UINT64_C(1000));
	c->login->previd = mem_string(s->sm_id);
	c->login->resume_h = h;
	c->stream = STREAM_RESUME_WAIT;
	s->moved_to = c->handle;
	stream_know(c);
	session_settle(s);
}

void
resume_taken(struct session *s)
{
	struct conn *c = stream_find(s->moved_to);

	s->moved_to = 0;
	if (c != NULL && c->stream == STREAM_RESUME_WAIT)
		resume_attach(c, s, c->login->resume_h);
}

void
resume_element(struct conn *c, const struct xml_element *element)
{
	resume_begin(c, element_attribute(element, "previd"), element_attribute(element, "h"));
}

void
resume_begin(struct conn *c, struct slice previd, struct slice h_text)
{
	struct session *s;
	uint64_t h;

	if (previd.ptr == NULL || slice_number(h_text, UINT32_MAX, &h) != OK) {
		refuse(c, "bad-request");
		return;
	}
	s = session_by_sm_id(previd);
	if (s != NULL && slice_is(session_bare(s), c->login->jid) && is_resumable(s)) {
		resume_here(c, s, (uint32_t)h);
	} else if (s != NULL || resume_handle(previd) == 0) {
		refuse(c, "item-not-found");
	} else {
		c->login->previd = slice_dup(previd);
		c->login->resume_h = (uint32_t)h;
		c->stream = STREAM_RESUME_WAIT;
		resume_ask(c);
	}
}

void
resume_ask(struct conn *c)
{
	struct frame f = {
		.type = FRAME_SESSION_RESUME,
		.handle = c->handle,
		.text = slice_string(c->login->previd),
		.number = c->login->resume_h,
		.archive_id = resume_handle(slice_string(c->login->previd)),
	};

	stream_know(c);
	daemon_send(&f);
}

void
add_resumed(struct buf *out, const struct session *s)
{
	buf_add_string(out, "<resumed xmlns='" NS_SM "'");
	xml_add_attribute(out, "previd", slice_string(s->sm_id));
	buf_printf(out, " h='%u'/>", sm_h(&s->sm));
}

void
resume_attach(struct conn *c, struct session *s, uint32_t h)
{
	struct frame end = {
		.type = FRAME_SESSION_END, .handle = c->handle, .condition = SLICE("resumed"),
	};

	if (!management_acknowledge(c, s, h))
		return;
	outqueue_rewind(&s->queue);
	if (c->login->wishes != NULL)
		sasl2_resumed(c, s);
	else
		add_resumed(conn_out(c), s);
	if (s->handle != c->handle)
		daemon_send(&end);
	COUNT(sessions_resumed);
	log_info("session resumed", "jid=%s address=%s handle=%016llx again=%u", s->jid,
	    conn_address(c), (unsigned long long)s->handle, s->queue.count);
	session_attach(s, c);
	session_limits(s);
}

/* -- the holder -------------------------------------------------------------------------------- */

void
resume_asked(const struct frame *f)
{
	struct session *s = session_by_sm_id(f->text);
	struct frame refusal = {
		.type = FRAME_SESSION_MOVE,
		.handle = s != NULL ? s->handle : HANDLE(daemon_incarnation(), 0),
		.number = f->handle,
		.condition = SLICE("item-not-found"),
	};

	if (s == NULL || !is_resumable(s) || (s->state != SESSION_LEAVING && !sessions_may_move())) {
		daemon_send(&refusal);
		return;
	}
	refusal.archive_id = s->sm.acked + outqueue_unacknowledged(&s->queue);
	if ((uint32_t)f->number - s->sm.acked > outqueue_unacknowledged(&s->queue)) {
		refusal.condition = SLICE("undefined-condition");
		daemon_send(&refusal);
		return;
	}
	take_over(s);
	forsake(s, f->handle);
	s->moved_to = f->handle;
	session_set_state(s, SESSION_LEAVING);
	deadline_set(&s->deadline, s->resume_seconds * UINT64_C(1000));
	session_settle(s);
}

void
resume_late(struct session *s)
{
	forsake(s, 0);
	session_end(s, "not resumed");
}

static void
send_item(void *arg, const struct outqueue_item *item)
{
	const struct session *s = arg;
	struct frame f;

	if (item->kept == NULL || frame_read(slice_of(item->kept->frame, item->kept->len),
	    &f) != OK)
		return;
	f.handle = s->moved_to;
	f.flags |= FLAG_HANDOVER;
	daemon_send(&f);
}

/* State as lines "word value". */
static void
add_state(const struct session *s, uint64_t priority, struct buf *text)
{
	buf_printf(text, "sm-id %s\nin %u\nacked %u\nwritten %u\nseconds %u\nlast %llu\n", s->sm_id,
	    sm_h(&s->sm), s->sm.acked, outqueue_unacknowledged(&s->queue), s->resume_seconds,
	    (unsigned long long)feed_level(s));
	buf_printf(text, "copies %llu\n", (unsigned long long)s->copies_since);
	buf_printf(text, "room %llu\nroom-id %llu\ngrant ", (unsigned long long)s->room_number,
	    (unsigned long long)s->room_id);
	buf_add_hex(text, s->first_token, sizeof s->first_token);
	buf_printf(text, "\npriority %u\ninterested %u\ncarbons %u\nblocks %u\npaused %u\n",
	    (unsigned)priority, s->interested, s->carbons, s->blocks, s->paused);
}

void
resume_leave(struct session *s)
{
	struct frame f = { .jid = session_jid(s) }, last = { .type = FRAME_SESSION_MOVE };
	struct buf text = { 0 };

	if (!daemon_router_up()) {
		/* The other one will ask again. */
		session_set_state(s, SESSION_DETACHED);
		deadline_set(&s->deadline, s->resume_seconds * UINT64_C(1000));
		return;
	}
	outqueue_drop_early(&s->queue);
	presence_tell(s->presence, &f, "directed ", &text);
	add_state(s, f.number, &text);
	f.type = FRAME_SESSION_MOVE;
	f.flags |= FLAG_MORE;
	f.archive_id = feed_level(s);
	f.handle = last.handle = s->handle;
	f.number = last.number = s->moved_to;
	f.text = buf_slice(&text);
	daemon_send(&f);
	outqueue_each(&s->queue, send_item, s);
	daemon_send(&last);
	log_info("session moved", "jid=%s stanzas=%u", s->jid, s->queue.count);
	buf_free(&text);
	outqueue_clear(&s->queue, NULL, NULL);
	session_forget_name(s);
	session_set_state(s, SESSION_MOVED);
	deadline_set(&s->deadline, MOVED_MS);
}

/* -- the new holder ---------------------------------------------------------------------------- */

/* What add_state() has written. */
struct state {
	struct slice sm_id, grant;
	uint64_t in, acked, written, seconds, last, copies, priority, interested, carbons, blocks, paused, room, room_id;
};

static const struct {
	const char *word;
	size_t offset;
} numbers[] = {
	{ "in", offsetof(struct state, in) },
	{ "acked", offsetof(struct state, acked) },
	{ "written", offsetof(struct state, written) },
	{ "seconds", offsetof(struct state, seconds) },
	{ "last", offsetof(struct state, last) },
	{ "copies", offsetof(struct state, copies) },
	{ "priority", offsetof(struct state, priority) },
	{ "interested", offsetof(struct state, interested) },
	{ "carbons", offsetof(struct state, carbons) },
	{ "blocks", offsetof(struct state, blocks) },
	{ "paused", offsetof(struct state, paused) },
	{ "room", offsetof(struct state, room) },
	{ "room-id", offsetof(struct state, room_id) },
};

static void
read_line(struct session *s, struct state *state, struct slice line)
{
	struct slice word, value;
	uint64_t number;
	size_t i;

	if (!features_word(&line, &word) || line.len == 0)
		return;
	value = slice_part(line, 1, line.len);
	if (slice_is(word, "sm-id"))
		state->sm_id = value;
	else if (slice_is(word, "grant"))
		state->grant = value;
	else if (slice_is(word, "directed"))
		presence_add_directed(&s->presence, value);
	for (i = 0; i < sizeof numbers / sizeof *numbers; i++) {
		if (slice_is(word, numbers[i].word) && slice_number(value, UINT64_MAX,
		    &number) == OK)
			*(uint64_t *)(void *)((char *)state + numbers[i].offset) = number;
	}
}

static void
read_state(struct session *s, struct state *state, struct slice text)
{
	struct slice line;

	while (slice_line(&text, &line))
		read_line(s, state, line);
}

/* The token with which a session began: its router is shown that the name that it had then is its own. */
static void
read_grant(struct session *s, struct slice hex)
{
	size_t i;
	unsigned char token[sizeof s->first_token];

	if (hex.len != 2 * sizeof token)
		return;
	for (i = 0; i < hex.len; i++) {
		const char *digit = memchr("0123456789abcdef", hex.ptr[i], 16);
		unsigned value;

		if (digit == NULL)
			return;
		value = *digit <= '9' ? (unsigned)(*digit - '0') : (unsigned)(*digit - 'a') + 10;
		token[i / 2] = (unsigned char)(i % 2 != 0 ? (unsigned)(token[i / 2] << 4) | value : value);
	}
	memcpy(s->first_token, token, sizeof token);
}

/* The session begins to arrive. */
static void
arrive(struct conn *c, const struct frame *f)
{
	struct frame presence = {
		.kind = STANZA_PRESENCE, .subtype = TYPE_AVAILABLE, .payload = f->payload,
		    .id = f->id,
		.lang = f->lang,
	};
	struct state state = { .sm_id = SLICE_NONE };
	struct session *s;
	struct jid jid;

	if (c->login->arriving != NULL || jid_parse(f->jid, &jid) != OK ||
	    jid.resource.ptr == NULL || !slice_is(jid_bare(&jid), c->login->jid)) {
		log_error("session refused", "jid=%s account=%s", log_quote(f->jid), c->login->jid);
		return;
	}
	s = session_new(c->handle, f->jid, c->login->token);
	read_state(s, &state, f->text);
	presence.number = state.priority;
	if (f->flags & FLAG_AVAILABLE)
		presence_note(&s->presence, &presence);
	sm_enable(&s->sm);
	s->sm.seen = state.in;
	s->sm.acked = (uint32_t)state.acked;
	s->resume_seconds = (uint32_t)state.seconds;
	feed_from(s, state.last);
	s->copies_since = state.copies;
	s->room_number = state.room;
	s->room_id = state.room_id;
	read_grant(s, state.grant);
	s->interested = state.interested != 0;
	s->carbons = state.carbons != 0;
	s->blocks = state.blocks != 0;
	s->arrived_written = (uint32_t)state.written;
	if (session_by_sm_id(slice_string(c->login->previd)) == NULL)
		session_name(s, slice_string(c->login->previd));
	c->login->arriving = s;
}

/* All of it has come. */
static void
arrived(struct conn *c)
{
	struct session *s = c->login->arriving;

	c->login->arriving = NULL;
	while (s->arrived_written > 0 && outqueue_next(&s->queue) != NULL) {
		outqueue_wrote(&s->queue, 0);
		s->arrived_written--;
	}
	session_take_later(s, &c->login->later);
	session_set_state(s, SESSION_DETACHED);
	deadline_set(&s->deadline, s->resume_seconds * UINT64_C(1000));
	resume_attach(c, s, c->login->resume_h);
}

void
resume_moved(const struct frame *f)
{
	struct conn *c = stream_find(f->number);

	if (c == NULL || c->stream != STREAM_RESUME_WAIT)
		return;
	if (slice_is(f->condition, "undefined-condition"))
		management_too_high(c, c->login->resume_h, (uint32_t)f->archive_id);
	else if (f->condition.ptr != NULL)
		refuse(c, "item-not-found");
	else if (f->flags & FLAG_MORE)
		arrive(c, f);
	else if (c->login->arriving != NULL)
		arrived(c);
	else
		refuse(c, "item-not-found");
}
