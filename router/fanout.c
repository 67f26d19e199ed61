/*
 * fanout.c: what rooms say, from mucd to all who get it ("rooms" in frame.def).
 *
 *   arrived --(what archived must do first is passed to it at once)--> in order --(its turn)--> given --> (gone)
 *
 * mucd's frames in custody are one queue, for all rooms: one whose turn it is goes on when archived has answered, and
 * all behind it wait. Then it is split: a frame for each c2sd with the handles that its sessions have today. When each
 * of these daemons has said TAKEN, or died, mucd gets the ACK. For receivers elsewhere it is archived that takes it:
 * it puts it on the spools of their domains, and gives it back for those that are not fed (remote_spooled()).
 *
 * The router is custodian of nothing: when it dies mucd sends all again, and who had it drops it by its number. When
 * archived dies what it has not answered is sent to the next one from here, in order. When mucd dies the queue goes on
 * until its next instance sends the same again.
 *
 * Called by peer.c and hold.c. What mucd may not say is refused, and acknowledged: it would never become better.
 */
#include "router.h"

#include <stdlib.h>

#include "counter.h"
#include "log.h"
#include "mem.h"

#define WINDOW_FRAMES 4096u
#define WINDOW_BYTES  (32u << 20)

/* A frame of mucd. It is in one or both of the lists, or given to somebody. */
struct said {
	TAILQ_ENTRY(said) order;
	TAILQ_ENTRY(said) asked;
	bool in_order;          /* its turn has not come */
	bool in_asked;          /* archived has not answered */
	bool refused;           /* archived does not take it */
	unsigned given;         /* daemons that have not taken it */
	enum frame_type type;
	uint32_t origin;
	uint32_t skips;         /* of an invitation: FLAG_FROM_SKIPS, FLAG_TO_SKIPS */
	uint64_t seq, number;
	uint64_t archive_id;
	struct buf frame;
	struct buf history;     /* of a HISTORY: what was given of it, written frames */
};

/* One daemon has not taken what it was given. */
struct given {
	TAILQ_ENTRY(given) of_peer;
	struct said *said;
};

static TAILQ_HEAD(saids, said) order = TAILQ_HEAD_INITIALIZER(order), asked = TAILQ_HEAD_INITIALIZER(asked);
static size_t said_count, said_bytes;
/* The same of the mucd that has sent most lately: its window. */
static struct {
	uint32_t origin;
	size_t frames, bytes;
} window;
static uint64_t history_last; /* the highest number of a HISTORY */

static struct frame
frame_of(const struct said *s)
{
	struct frame f;

	ASSERT(frame_read(buf_slice(&s->frame), &f) == 0);
	return f;
}

/* -- beginning and end ------------------------------------------------------------------------------- */

static void
count_bytes(const struct said *s, size_t bytes, bool more)
{
	said_bytes += more ? bytes : -bytes;
	if (s->origin == window.origin)
		window.bytes += more ? bytes : -bytes;
}

static struct said *
said_new(struct peer *mucd, const struct frame *f)
{
	struct said *s = mem_alloc(sizeof *s);

	if (window.origin != mucd->incarnation) {
		window.origin = mucd->incarnation;
		window.frames = window.bytes = 0;
	}
	s->type = f->type;
	s->origin = mucd->incarnation;
	s->seq = f->seq;
	s->number = f->number;
	frame_write(f, &s->frame); /* it came as one */
	said_count++;
	window.frames++;
	count_bytes(s, buf_len(&s->frame), true);
	return s;
}

static void
said_free(struct said *s)
{
	said_count--;
	if (s->origin == window.origin)
		window.frames--;
	count_bytes(s, buf_len(&s->frame) + buf_len(&s->history), false);
	buf_free(&s->frame);
	buf_free(&s->history);
	free(s);
}

static void
order_leave(struct said *s)
{
	if (s->in_order)
		TAILQ_REMOVE(&order, s, order);
	s->in_order = false;
}

static void
asked_leave(struct said *s)
{
	if (s->in_asked)
		TAILQ_REMOVE(&asked, s, asked);
	s->in_asked = false;
}

/* Acknowledges it when nothing of it is left to do. */
static void
said_settle(struct said *s)
{
	if (s->in_order || s->in_asked || s->given != 0)
		return;
	peer_ack(s->origin, s->seq);
	said_free(s);
}

static void
given_add(struct peer *peer, struct said *s)
{
	struct given *g = mem_alloc(sizeof *g);

	g->said = s;
	s->given++;
	TAILQ_INSERT_TAIL(&peer->given, g, of_peer);
}

/* What a daemon has been given of this and has not taken; NULL: nothing. */
static struct given *
given_find(const struct peer *peer, const struct said *s)
{
	struct given *g;

	TAILQ_FOREACH_REVERSE(g, &peer->given, givens, of_peer) {
		if (g->said == s)
			return g;
	}
	return NULL;
}

static void
given_end(struct peer *peer, struct given *g)
{
	struct said *s = g->said;

	TAILQ_REMOVE(&peer->given, g, of_peer);
	free(g);
	s->given--;
	said_settle(s);
}

/* -- archived ---------------------------------------------------------------------------------------- */

/* Passes to archived what it is to do; when it is away it gets it as soon as it is back. */
static void
archived_send(struct peer *archived, const struct said *s)
{
	struct frame f = frame_of(s);

	if (s->type == FRAME_STANZA)
		f.numbers = SLICE_NONE;
	peer_send(archived, &f);
}

static void
archived_ask(struct said *s)
{
	struct peer *archived = peer_of(ROLE_ARCHIVED);

	s->in_asked = true;
	TAILQ_INSERT_TAIL(&asked, s, asked);
	if (archived != NULL)
		archived_send(archived, s);
}

void
fanout_archived(struct peer *archived)
{
	struct said *s;

	TAILQ_FOREACH(s, &asked, asked) {
		/* What has come of a history comes again. */
		count_bytes(s, buf_len(&s->history), false);
		buf_free(&s->history);
		archived_send(archived, s);
	}
}

static struct said *
asked_find(uint32_t origin, uint64_t seq)
{
	struct said *s;

	TAILQ_FOREACH(s, &asked, asked) {
		if (s->seq == seq && s->origin == origin)
			return s;
	}
	return NULL;
}

/* -- its turn ---------------------------------------------------------------------------------------- */

/* The stanza as its receivers get it. */
static struct frame
stanza_make(const struct said *s)
{
	struct frame f = frame_of(s);

	return (struct frame){ .type = FRAME_STANZA, .kind = f.kind, .subtype = f.subtype, .id = f.id,
		.from = f.from, .lang = f.lang, .payload = f.payload, .name = f.name, .ns = f.ns,
		.flags = (f.flags & FLAG_FROM_ENTRY) | FLAG_ROOM, .archive_id = s->archive_id,
		.number = s->number, .stamp = f.stamp };
}

/* Who gets it of those whom mucd names. */
static struct session *
receiver(uint64_t name, struct slice from)
{
	struct session *s = session_named(name);

	if (s == NULL || s->peer == NULL || s->killed || s->account == NULL ||
	    block_is(account_jid(s->account), from))
		return NULL;
	return s;
}

/* Splits a stanza, and gives each daemon its part. */
static void
stanza_give(struct said *s)
{
	struct frame f = frame_of(s), out = stanza_make(s);
	struct receivers *r = receivers_begin();
	size_t i;

	for (i = 0; i < frame_count(&f); i++) {
		struct session *to = receiver(frame_at(&f, i), f.from);

		if (to == NULL)
			continue;
		if (f.kind == STANZA_PRESENCE && f.subtype != TYPE_AVAILABLE)
			session_directed_remove(to, f.from);
		receivers_add(r, to);
	}
	for (i = 0; i < receivers_count(r); i++)
		given_add(receivers_peer(r, i), s);
	receivers_send(r, &out);
	COUNT(rooms_routed);
}

/* Tells a daemon that all of a history has come, which is what it takes. */
static void
history_close(struct peer *peer, struct given *g)
{
	struct frame end = { .type = FRAME_HISTORY_END, .number = g->said->number };

	TAILQ_REMOVE(&peer->given, g, of_peer);
	TAILQ_INSERT_TAIL(&peer->given, g, of_peer);
	peer_send(peer, &end);
}

/* Does what a frame asks for, now that archived has done its part. */
static void
said_turn(struct said *s)
{
	struct given *g;
	struct peer *peer;

	if (s->type == FRAME_STANZA && !s->refused)
		stanza_give(s);
	if (s->type != FRAME_HISTORY)
		return;
	TAILQ_FOREACH(peer, &peers, all) {
		g = given_find(peer, s);
		if (g != NULL)
			history_close(peer, g);
	}
}

static void
run(void)
{
	struct said *s;

	while ((s = TAILQ_FIRST(&order)) != NULL && !s->in_asked) {
		order_leave(s);
		said_turn(s);
		said_settle(s);
	}
}

/* -- messages to somebody who need not be in the room -------------------------------------------------- */

/* Whose spool a message waits on: FLAG_TO_LOCAL, FLAG_TO_REMOTE; 0: it is not stored. */
static uint32_t
spool_flag(const struct frame *f)
{
	struct jid to;

	jid_split(f->to, &to);
	if (!registry_local_domain(to.domain))
		return registry_elsewhere(to.domain) ? FLAG_TO_REMOTE : 0;
	return to.local.ptr != NULL && existence_get(jid_bare(&to)) != EXISTENCE_NO &&
	    !block_is(jid_bare(&to), f->from) ? FLAG_TO_LOCAL : 0;
}

/* One that cannot be stored: for a service, or in vain. */
static void
message_pass(const struct frame *f)
{
	struct jid to;

	jid_split(f->to, &to);
	if (registry_local_domain(to.domain))
		route_error(f, STANZA_ERROR_SERVICE_UNAVAILABLE, NULL);
	else
		remote_send(f);
}

static void
message_give(const struct said *s)
{
	struct frame f = frame_of(s);

	f.token = SLICE_NONE;
	f.archive_id = s->archive_id;
	f.flags |= s->skips;
	if (s->refused)
		route_error(&f, STANZA_ERROR_SERVICE_UNAVAILABLE, "Too many messages wait for this account");
	else if (s->archive_id != 0 && (f.flags & FLAG_TO_LOCAL))
		deliver_message(&f);
	else if (s->archive_id != 0)
		remote_send(&f);
}

/* -- from mucd ------------------------------------------------------------------------------------------ */

/* Why a frame cannot be taken; NULL when it can. */
static const char *
frame_fault(struct peer *mucd, const struct frame *f)
{
	const char *fault = f->seq == 0 ? "not in custody" : fanout_fault(mucd, f);

	if (fault == NULL && (f->type == FRAME_HISTORY || (f->type == FRAME_STANZA && (f->flags & FLAG_ROOM)))) {
		if (f->number <= mucd->said)
			return "number";
		mucd->said = f->number;
	}
	return fault;
}

/* Leaves of the receivers elsewhere those whose domains are; the room hears of the others. lines: written anew. */
static void
elsewhere_reduce(struct frame *f, struct buf *lines)
{
	struct slice rest = f->text, to;

	while (slice_line(&rest, &to)) {
		if (!remote_takes_room(f, to))
			continue;
		buf_add_slice(lines, to);
		buf_add_char(lines, '\n');
	}
	f->text = buf_len(lines) != 0 ? buf_slice(lines) : SLICE_NONE;
}

/* Whether archived has something to do before a frame can go on. */
static bool
is_for_archived(const struct frame *f)
{
	struct jid to;

	if (f->type == FRAME_STANZA)
		return (f->flags & FLAG_STORE) || f->text.len != 0;
	if (f->type != FRAME_HISTORY || f->to.ptr == NULL)
		return true;
	jid_split(f->to, &to);
	return !registry_local_domain(to.domain) && registry_elsewhere(to.domain);
}

/* Leaves of a frame what is passed on. */
static void
frame_reduce(const struct peer *mucd, struct frame *f)
{
	f->origin = mucd->incarnation;
	f->resource = f->domain = f->data = f->condition = f->address = f->agent = f->wanted = f->tasks = SLICE_NONE;
	f->binding_exporter = f->binding_unique = f->binding_endpoint = SLICE_NONE;
	if (f->type != FRAME_STANZA)
		return;
	if (f->stamp == 0)
		f->stamp = daemon_now();
	if (!(f->flags & FLAG_ROOM))
		f->jid = SLICE_NONE;
}

/* Takes a frame into its queues. */
static void
frame_queue(struct peer *mucd, const struct frame *f)
{
	bool message = f->type == FRAME_STANZA && !(f->flags & FLAG_ROOM);
	struct said *s = said_new(mucd, f);

	if (f->type == FRAME_HISTORY && f->number > history_last)
		history_last = f->number;
	if (!message) {
		s->in_order = true;
		TAILQ_INSERT_TAIL(&order, s, order);
	}
	if (is_for_archived(f))
		archived_ask(s);
	run();
}

void
fanout_frame(struct peer *mucd, const struct frame *f)
{
	struct frame out = *f;
	struct buf lines = { 0 };
	const char *fault;

	if (mucd->resyncing || (f->seq != 0 && !peer_in_order(mucd, f)))
		return;
	fault = frame_fault(mucd, f);
	if (fault != NULL) {
		peer_refuse(mucd, f, fault);
		peer_ack(mucd->incarnation, f->seq);
		return;
	}
	if (window.origin == mucd->incarnation && (window.frames >= WINDOW_FRAMES || window.bytes >= WINDOW_BYTES)) {
		peer_refuse(mucd, f, "more than its window");
		return;
	}
	frame_reduce(mucd, &out);
	if (f->type == FRAME_STANZA && !(f->flags & FLAG_ROOM)) {
		out.flags |= spool_flag(&out);
		if (!(out.flags & (FLAG_TO_LOCAL | FLAG_TO_REMOTE))) {
			out.flags &= FLAG_FROM_ENTRY;
			message_pass(&out);
			peer_ack(mucd->incarnation, f->seq);
			return;
		}
	}
	if (f->type == FRAME_STANZA)
		elsewhere_reduce(&out, &lines);
	frame_queue(mucd, &out);
	buf_free(&lines);
}

/* Forgets what has not had its turn: it comes again. */
static void
said_drop(struct said *s)
{
	struct given *g;
	struct peer *peer;

	/* Of a history some may have been given, but not its end. */
	TAILQ_FOREACH(peer, &peers, all) {
		g = s->type == FRAME_HISTORY ? given_find(peer, s) : NULL;
		if (g == NULL)
			continue;
		TAILQ_REMOVE(&peer->given, g, of_peer);
		free(g);
		s->given--;
	}
	order_leave(s);
	asked_leave(s);
	if (s->given == 0)
		said_free(s);
}

void
fanout_anew(struct peer *mucd)
{
	struct said *s;

	mucd->said = 0;
	while ((s = TAILQ_FIRST(&order)) != NULL || (s = TAILQ_FIRST(&asked)) != NULL)
		said_drop(s);
}

/* -- answers ---------------------------------------------------------------------------------------------- */

bool
fanout_stored(uint32_t origin, uint64_t seq, uint64_t id, uint64_t spool)
{
	struct said *s = asked_find(origin, seq);

	if (s == NULL || s->type != FRAME_STANZA)
		return false;
	asked_leave(s);
	s->refused = id == STORED_REFUSED;
	s->archive_id = s->refused ? 0 : id;
	s->skips = (spool & STORED_FROM_SKIPS ? FLAG_FROM_SKIPS : 0u) | (spool & STORED_TO_SKIPS ? FLAG_TO_SKIPS : 0u);
	/* All with lower ids were stored before: they have had their turn, or are known to be late. */
	hold_turn(s->archive_id);
	if (s->in_order) {
		if (s->refused)
			log_warn("message refused", "number=%llu reason=\"archived does not take it\"",
			    (unsigned long long)s->number);
		run();
		return true;
	}
	deliver_spool(buf_slice(&s->frame), spool & STORED_ACCOUNT);
	message_give(s);
	said_settle(s);
	return true;
}

void
fanout_acked(struct peer *archived, const struct frame *f)
{
	bool waited = false, good = frame_count(f) % 2 == 0;
	struct said *s, *next;
	size_t i;

	for (i = 0; i + 1 < frame_count(f); i += 2) {
		uint64_t first = frame_at(f, i), last = frame_at(f, i + 1);

		good &= first != 0 && first <= last;
		for (s = TAILQ_FIRST(&asked); s != NULL; s = next) {
			next = TAILQ_NEXT(s, asked);
			if (s->origin != f->origin || s->seq < first || s->seq > last)
				continue;
			if (s->type == FRAME_STANZA || s->type == FRAME_HISTORY) {
				good = false; /* STORED and HISTORY_END say that these are done */
				continue;
			}
			waited = true;
			asked_leave(s);
		}
	}
	if (!good)
		peer_refuse(archived, f, "not to be acknowledged");
	else if (!waited)
		peer_drop(archived, f, "nobody waits for it");
	run();
}

/* Why this is no part of a history that archived is asked for; NULL when it is. */
static const char *
part_fault(const struct said *s, const struct frame *f)
{
	struct frame h;
	struct jid from;

	if (s == NULL || s->type != FRAME_HISTORY || s->number != f->number || !s->in_asked)
		return "not asked for";
	h = frame_of(s);
	if (f->kind != STANZA_MESSAGE || f->subtype == TYPE_ERROR || !route_type_fits(f->kind, f->subtype) ||
	    f->from.ptr == NULL || jid_parse(f->from, &from) != 0 || !slice_equal(jid_bare(&from), h.jid))
		return "not its address";
	if (h.handle == 0 || f->handle != h.handle || f->to.ptr != NULL || f->numbers.ptr != NULL ||
	    f->audience != AUDIENCE_NONE)
		return "not its receivers";
	if (!(f->flags & FLAG_SPOOL) || (f->flags & ~(uint32_t)(FLAG_FROM_ENTRY | FLAG_ROOM | FLAG_SPOOL)) ||
	    f->archive_id == 0 || f->archive_id == UINT64_MAX)
		return "flags";
	return NULL;
}

/* Gives one message of a history to who has asked. */
static void
part_give(struct said *s, const struct frame *f)
{
	struct session *to = receiver(f->handle, f->from);

	if (to == NULL)
		return;
	deliver_to(to, f);
	if (given_find(to->peer, s) == NULL)
		given_add(to->peer, s);
}

void
fanout_history(struct peer *archived, const struct frame *f)
{
	struct said *s = TAILQ_FIRST(&order);
	const char *fault = part_fault(s, f);
	struct frame out = { .type = FRAME_STANZA, .kind = f->kind, .subtype = f->subtype, .id = f->id,
		.from = f->from, .lang = f->lang, .payload = f->payload, .name = f->name, .ns = f->ns,
		.flags = (f->flags & (FLAG_FROM_ENTRY | FLAG_ROOM | FLAG_SPOOL)) | FLAG_MORE,
		.handle = f->handle, .archive_id = f->archive_id, .number = f->number, .stamp = f->stamp };

	if (fault != NULL && (s == NULL || s->number != f->number) && f->number <= history_last)
		peer_drop(archived, f, fault); /* mucd has begun anew meanwhile */
	else if (fault != NULL)
		peer_refuse(archived, f, fault);
	if (fault != NULL)
		return;
	count_bytes(s, buf_len(&s->history), false);
	frame_write(&out, &s->history);
	count_bytes(s, buf_len(&s->history), true);
	part_give(s, &out);
}

void
fanout_history_end(struct peer *archived, const struct frame *f)
{
	struct said *s = asked_find(f->origin, f->seq);

	if (s == NULL || s->type != FRAME_HISTORY) {
		peer_drop(archived, f, "nobody waits for it");
		return;
	}
	asked_leave(s);
	run();
}

/* -- who has taken it --------------------------------------------------------------------------------------- */

void
fanout_taken(struct peer *peer, const struct frame *f)
{
	struct given *g, *last, *next;
	bool done = false;

	TAILQ_FOREACH(last, &peer->given, of_peer) {
		if (last->said->number == f->number && !last->said->in_order)
			break;
	}
	if (last == NULL) {
		peer_refuse(peer, f, "not given to it");
		return;
	}
	for (g = TAILQ_FIRST(&peer->given); !done; g = next) {
		next = TAILQ_NEXT(g, of_peer);
		done = g == last;
		if (!g->said->in_order) /* a history of which the end has not come */
			given_end(peer, g);
	}
}

void
fanout_peer_gone(struct peer *peer)
{
	struct given *g;

	while ((g = TAILQ_FIRST(&peer->given)) != NULL)
		given_end(peer, g);
}

/* Whether mucd has named this session as a receiver. */
static bool
is_named(const struct frame *f, uint64_t name)
{
	size_t i;

	if (f->type == FRAME_HISTORY)
		return f->handle == name;
	for (i = 0; i < frame_count(f); i++) {
		if (frame_at(f, i) == name)
			return true;
	}
	return false;
}

/* Gives the new holder of a session what has come of a history. */
static void
history_again(struct said *s, const struct session *to)
{
	struct slice rest = buf_slice(&s->history), whole;
	struct frame f;

	while (frame_next(rest, &whole) == 0 && frame_read(whole, &f) == 0) {
		f.handle = to->handle;
		peer_send(to->peer, &f);
		rest = slice_part(rest, whole.len, SIZE_MAX);
	}
	if (!s->in_order)
		history_close(to->peer, given_find(to->peer, s));
}

void
fanout_moved(const struct session *to, const struct peer *from)
{
	struct given *g;

	TAILQ_FOREACH(g, &from->given, of_peer) {
		struct frame f = frame_of(g->said), out;

		if (!is_named(&f, to->first_handle))
			continue;
		given_add(to->peer, g->said);
		if (g->said->type == FRAME_HISTORY) {
			history_again(g->said, to);
			continue;
		}
		out = stanza_make(g->said);
		out.handle = to->handle;
		peer_send(to->peer, &out);
	}
}

void
fanout_gauges(void)
{
	GAUGE(said, said_count);
	GAUGE(said_bytes, said_bytes);
}
