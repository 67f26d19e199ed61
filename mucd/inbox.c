/*
 * inbox.c: what comes from the router: it waits until it is handled, all of an iteration in one transaction with
 * the watermarks of those who have sent it and with what the rooms say to it. Called by main.c.
 *
 * When the commit fails, the disk being full most likely, nothing of it has happened: memory is read anew from
 * the store, and the same frames are handled again later. What waits here is bounded by what the entry daemons may
 * have under way.
 */
#include "counter.h"
#include "log.h"
#include "mucd.h"
#include "watermark.h"

static struct watermarks *marks;
static struct buf queue;       /* frames */
static struct buf taken;       /* pairs of origin and seq, to be acknowledged */
static bool tick_due;
static bool failing;           /* the last commit failed */

int
inbox_open(void)
{
	marks = watermarks_new();
	return watermarks_load(marks, store, TABLE_WATERMARK);
}

/* -- frames -- */

/* Whether a stanza is from an address to one of ours. Handlers believe both. */
static bool
is_ours(const struct frame *f)
{
	struct jid from, to;

	return f->kind != STANZA_NONE && jid_parse(f->from, &from) == OK && jid_parse(f->to, &to) == OK &&
	    domain_find(to.domain) != NULL;
}

bool
inbox_add(const struct frame *f, struct slice whole)
{
	if (f->type != FRAME_OCCUPANTS && (f->type != FRAME_STANZA || !is_ours(f)))
		return false;
	buf_add_slice(&queue, whole);
	daemon_dirty();
	return true;
}

/* Notes that an occupant at another server is there. */
static void
note_heard(const struct frame *f, uint64_t now)
{
	struct room *room;
	struct client *client;

	if (f->handle != 0 || f->subtype == TYPE_ERROR)
		return;
	room = room_find(jid_bare_of(f->to));
	client = room != NULL ? client_find(room, f->from) : NULL;
	if (client == NULL)
		return;
	client->heard = now;
	client->asked = 0;
	client->again = false;
}

static void
stanza(const struct frame *f, uint64_t now)
{
	bool reads = f->kind == STANZA_IQ && f->subtype == TYPE_GET;

	if (f->seq != 0) {
		buf_add_u64(&taken, f->origin);
		buf_add_u64(&taken, f->seq);
		if (!reads && !watermark_take(marks, f->origin, f->seq))
			return;
	}
	note_heard(f, now);
	if (f->kind == STANZA_MESSAGE)
		message_handle(f, now);
	else if (f->kind == STANZA_PRESENCE)
		enter_presence(f, now);
	else if (!watch_answer(f, now))
		request_handle(f, now);
}

/* -- transactions -- */

/* Nothing of this transaction has happened. */
static void
revert(int error)
{
	if (!failing)
		log_error("commit failed", "error=\"%s\"", error_text(error));
	failing = true;
	watermarks_revert(marks);
	outbox_revert();
	answers_clear();
	register_revert();
	rooms_forget();
	buf_clear(&taken);
}

static void
acknowledge(void)
{
	size_t i;

	for (i = 0; i + 16 <= buf_len(&taken); i += 16) {
		struct frame f = { .type = FRAME_ACK };
		uint64_t origin;

		memcpy(&origin, buf_slice(&taken).ptr + i, 8);
		memcpy(&f.seq, buf_slice(&taken).ptr + i + 8, 8);
		f.origin = (uint32_t)origin;
		daemon_ack(&f);
	}
	buf_clear(&taken);
}

static int
commit(void)
{
	int error = rooms_save(), committed;

	if (error == OK)
		error = outbox_save();
	watermarks_save(marks, store, TABLE_WATERMARK);
	/* What failed before fails here as well, and leaves nothing of the transaction. */
	committed = store_commit(store);
	if (committed != OK || error != OK) {
		error = committed != OK ? committed : error;
		revert(error);
		return error;
	}
	COUNT(commits);
	acknowledge();
	register_committed();
	outbox_send();
	answers_flush();
	rooms_trim();
	return OK;
}

int
inbox_commit(void)
{
	size_t bytes = outbox_pending();
	int error = commit();

	if (error == OK && failing) {
		log_info("commits again", "said-bytes=%zu", bytes);
		failing = false;
	}
	return error;
}

/* What was said may be what fills the disk: rows of what has arrived go alone, and make room. The store gives what
 * one transaction has freed to the one after the next, so there is another. */
static int
make_room(void)
{
	int error = commit();

	if (error == OK)
		error = state_touch();
	return error == OK ? commit() : error;
}

/* Handles what has come, as much as one transaction takes. Returns how many bytes of it. */
static size_t
handle_some(uint64_t now)
{
	struct slice rest = buf_slice(&queue), whole;
	size_t done = 0;
	struct frame f;

	while (outbox_pending() < RUN_BYTES && answers_pending() < RUN_BYTES && !outbox_full() &&
	    frame_next(rest, &whole) == OK) {
		rest = slice_part(rest, whole.len, rest.len);
		done += whole.len;
		if (frame_read(whole, &f) != OK)
			continue;
		if (f.type == FRAME_OCCUPANTS)
			watch_gone(&f, now);
		else
			stanza(&f, now);
	}
	return done;
}

int
inbox_run(uint64_t now)
{
	bool full = daemon_router() != NULL && link_full(daemon_router()), tick;
	size_t done;
	int error;

	if (failing && !outbox_idle() && (error = make_room()) != OK)
		return error;
	done = full ? 0 : handle_some(now);
	tick = tick_due && !full && !outbox_full();
	if (done == 0 && !tick)
		return OK;
	tick_due &= !tick;
	if (tick && watch_tick(now))
		inbox_tick();
	error = inbox_commit();
	if (error) {
		tick_due |= tick;
		return error;
	}
	buf_consume(&queue, done);
	buf_trim(&queue, RUN_BYTES);
	if (buf_len(&queue) != 0 && outbox_full())
		COUNT(outbox_full);
	else if (buf_len(&queue) != 0)
		daemon_dirty();
	return OK;
}

void
inbox_tick(void)
{
	tick_due = true;
	daemon_dirty();
}

void
inbox_gauges(void)
{
	GAUGE(inbox_bytes, buf_len(&queue));
}
