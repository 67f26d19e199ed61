/*
 * room.c: what mucd asks: which of its occupants' sessions are gone (OCCUPANTS), and for a room's archive
 * (ROOM_QUERY), which archived answers in the room's name. Called by peer.c and route.c.
 *
 * A query is remembered until its answer has come, so that archived speaks as a room to nobody else, and who has asked
 * is told when archived dies.
 */
#include "router.h"

#include <stdlib.h>

#include "counter.h"
#include "log.h"
#include "mem.h"

#define QUERIES_MAX   1024u
#define QUERIES_BYTES (16u << 20)

/* -- sessions of occupants --------------------------------------------------------------------------- */

static uint32_t asker;       /* incarnation of the mucd that waits for an answer; 0: none */
static struct buf occupants; /* what it has asked for */

/* Whether a session is somewhere in the domains of mucd, as far as it has said: it may have gone while mucd was
 * away. */
static bool
is_directed(const struct session *s, const struct peer *mucd)
{
	struct jid to;
	bool known;
	size_t i;

	for (i = 0; i < s->directed_count; i++) {
		jid_split(slice_string(s->directed[i]), &to);
		if (registry_domain(to.domain, &known) == mucd)
			return true;
	}
	return false;
}

void
rooms_replayed(void)
{
	struct peer *mucd = asker != 0 ? peer_by_incarnation(asker) : NULL;
	struct frame f = { .type = FRAME_OCCUPANTS, .numbers = buf_slice(&occupants) };
	struct buf gone = { 0 };
	size_t i;

	peers_ask_held();
	if (mucd == NULL || peers_replaying())
		return;
	asker = 0;
	for (i = 0; i < frame_count(&f); i++) {
		const struct session *s = session_named(frame_at(&f, i));

		if (s == NULL || s->killed || s->account == NULL || !is_directed(s, mucd))
			buf_add_u64(&gone, frame_at(&f, i));
	}
	f.numbers = buf_len(&gone) != 0 ? buf_slice(&gone) : SLICE("");
	peer_send(mucd, &f);
	buf_free(&gone);
	buf_free(&occupants);
}

void
room_occupants(struct peer *mucd, const struct frame *f)
{
	if (asker == mucd->incarnation && buf_len(&occupants) + f->numbers.len > FRAME_MAX - FRAME_HEAD - 4) {
		peer_refuse(mucd, f, "too much at once");
		return;
	}
	if (asker != mucd->incarnation)
		buf_clear(&occupants);
	asker = mucd->incarnation;
	buf_add_slice(&occupants, f->numbers);
	rooms_replayed();
}

/* -- archives ---------------------------------------------------------------------------------------- */

struct query {
	TAILQ_ENTRY(query) all;
	size_t len;
	char frame[]; /* without its payload */
};

static TAILQ_HEAD(, query) queries = TAILQ_HEAD_INITIALIZER(queries);
static size_t query_count, query_bytes;

static struct frame
frame_of(const struct query *q)
{
	struct frame f;

	ASSERT(frame_read(slice_of(q->frame, q->len), &f) == 0);
	return f;
}

static void
query_add(const struct frame *f)
{
	struct frame head = *f;
	struct buf bytes = { 0 };
	struct query *q;

	head.payload = SLICE_NONE;
	frame_write(&head, &bytes);
	q = mem_alloc(sizeof *q + buf_len(&bytes));
	q->len = buf_len(&bytes);
	memcpy(q->frame, buf_slice(&bytes).ptr, q->len);
	buf_free(&bytes);
	TAILQ_INSERT_TAIL(&queries, q, all);
	query_count++;
	query_bytes += q->len;
}

static void
query_free(struct query *q)
{
	TAILQ_REMOVE(&queries, q, all);
	query_count--;
	query_bytes -= q->len;
	free(q);
}

/* The stream of who asks today; 0: none. */
static uint64_t
stream_of(const struct frame *f)
{
	const struct session *s = session_named(f->handle);

	return s != NULL && s->peer != NULL && !s->killed && slice_equal(session_jid(s), f->from) ? s->handle : 0;
}

/* Answers a query with an error in the name of the room. */
static void
query_fail(const struct frame *f, const char *text)
{
	struct frame stanza = { .type = FRAME_STANZA, .kind = STANZA_IQ, .subtype = f->subtype, .id = f->id,
		.from = f->from, .to = f->jid, .handle = stream_of(f) };

	COUNT(room_queries_refused);
	if (f->handle == 0 || stanza.handle != 0)
		route_error(&stanza, STANZA_ERROR_RESOURCE_CONSTRAINT, text);
}

static const char *
query_fault(const struct peer *mucd, const struct frame *f)
{
	struct jid room, from;

	if (f->jid.ptr == NULL || !route_owns(mucd, f->jid) || jid_parse(f->jid, &room) != 0 ||
	    room.local.ptr == NULL || room.resource.ptr != NULL)
		return "not its address";
	if (f->subtype != TYPE_GET && f->subtype != TYPE_SET)
		return "not a request";
	if (f->from.ptr == NULL || jid_parse(f->from, &from) != 0 ||
	    (f->handle != 0) != registry_local_domain(from.domain))
		return "not its receivers";
	return NULL;
}

void
room_query(struct peer *mucd, const struct frame *f)
{
	struct peer *archived = peer_of(ROLE_ARCHIVED);
	const char *fault = query_fault(mucd, f);
	struct frame out = { .type = FRAME_ROOM_QUERY, .kind = STANZA_IQ, .subtype = f->subtype,
		.handle = f->handle, .jid = f->jid, .from = f->from, .id = f->id, .lang = f->lang, .name = f->name,
		.ns = f->ns, .payload = f->payload, .flags = f->flags & FLAG_AVAILABLE };

	if (fault != NULL) {
		peer_refuse(mucd, f, fault);
	} else if (f->handle != 0 && stream_of(f) == 0) {
		peer_drop(mucd, f, "no session");
	} else if (archived == NULL) {
		query_fail(&out, "The archive is away");
	} else if (query_count >= QUERIES_MAX || query_bytes >= QUERIES_BYTES) {
		query_fail(&out, "Too much is asked at once");
	} else {
		query_add(&out);
		peer_send(archived, &out);
	}
}

/* The query that archived answers with this. */
static struct query *
query_find(const struct frame *f, bool answer)
{
	struct query *q;

	TAILQ_FOREACH(q, &queries, all) {
		struct frame asked = frame_of(q);

		if (asked.handle == f->handle && slice_equal(asked.jid, f->from) && slice_equal(asked.from, f->to) &&
		    (!answer || slice_equal(asked.id, f->id)))
			return q;
	}
	return NULL;
}

bool
room_answer(struct peer *archived, const struct frame *f)
{
	bool answer = f->kind == STANZA_IQ && (f->subtype == TYPE_RESULT || f->subtype == TYPE_ERROR);
	struct query *q = f->from.ptr != NULL && f->to.ptr != NULL ? query_find(f, answer) : NULL;
	struct frame out = { .type = FRAME_STANZA, .kind = f->kind, .subtype = f->subtype, .id = f->id,
		.from = f->from, .to = f->to, .lang = f->lang, .payload = f->payload, .name = f->name, .ns = f->ns,
		.flags = f->flags };
	struct frame asked;

	if (q == NULL)
		return false;
	if ((!answer && (f->kind != STANZA_MESSAGE || f->subtype != TYPE_NORMAL)) || f->numbers.ptr != NULL ||
	    f->audience != AUDIENCE_NONE || f->archive_id != 0 || (f->flags & ~(uint32_t)FLAG_ERROR)) {
		peer_refuse(archived, f, "neither an answer nor a result");
		return true;
	}
	asked = frame_of(q);
	out.handle = stream_of(&asked);
	if (asked.handle == 0 || out.handle != 0)
		route_reply(&out);
	if (answer)
		query_free(q);
	return true;
}

/* -- both ---------------------------------------------------------------------------------------------- */

void
rooms_peer_gone(struct peer *peer)
{
	struct query *q;

	if (peer->incarnation == asker) {
		asker = 0;
		buf_free(&occupants);
	}
	while (peer->role == ROLE_ARCHIVED && (q = TAILQ_FIRST(&queries)) != NULL) {
		struct frame f = frame_of(q);

		query_fail(&f, "The archive was interrupted");
		query_free(q);
	}
	rooms_replayed();
}

void
rooms_gauges(void)
{
	GAUGE(room_queries, query_count);
}
