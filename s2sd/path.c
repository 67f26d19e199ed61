/*
 * path.c: from one of our domains to a remote one: the queue, and the stream while there is one.
 *
 * Called by remote.c with stanzas of the router, by traffic.c and the kinds of streams. The states are drawn
 * in s2sd.h. While there is no stream, what is stored stays on the spool (and comes again when there is one),
 * and the rest is answered with the error of the last attempt.
 */
#include "s2sd.h"

#include <stdlib.h>

#include <gnutls/crypto.h>

#include "counter.h"
#include "error.h"
#include "log.h"
#include "mem.h"
#include "patience.h"

#define HARD_LIMIT 8u /* of the limits of a queue, for what was under way at a pause */

static size_t by_state[PATH_DOWN + 1];

static void
set_state(struct path *path, enum path_state state)
{
	by_state[path->state]--;
	path->state = (uint8_t)state;
	by_state[state]++;
}

size_t
paths_trying(void)
{
	return by_state[PATH_TRYING];
}

void
paths_gauges(void)
{
	GAUGE(paths_up, by_state[PATH_UP]);
	GAUGE(paths_trying, by_state[PATH_TRYING]);
	GAUGE(paths_down, by_state[PATH_DOWN]);
	GAUGE(queue_stanzas, outqueue_total());
	GAUGE(queue_bytes, outqueue_memory());
}

/* -- beginning and end -------------------------------------------------------------------------- */

static void
path_try(struct path *path)
{
	deadline_clear(&path->retry);
	set_state(path, PATH_TRYING);
	if (path->remote->component)
		path_failed(path, STANZA_ERROR_REMOTE_SERVER_TIMEOUT, false, "The component is not there");
	else
		outgoing_begin(path);
}

void
path_test(struct path *path)
{
	if (path->state == PATH_IDLE || path->state == PATH_DOWN)
		path_try(path);
}

void
path_heard(struct remote *remote, struct slice local)
{
	struct path *path;

	LIST_FOREACH(path, &remote->paths, of_remote) {
		/* Once in a wait: that they reach us says no more than that we may reach them. */
		if (!slice_is(local, path->local) || path->state != PATH_DOWN || path->hopeless || path->hurried ||
		    remote->component)
			continue;
		path->hurried = true;
		path_try(path);
		return;
	}
}

/* Tries again while something waits, else forgets about it. */
static void
retry_due(struct deadline *d)
{
	struct path *path = (struct path *)((char *)d - offsetof(struct path, retry));

	path->hurried = false;
	if (path->skipped && !path->remote->component) {
		path_try(path);
		return;
	}
	set_state(path, PATH_IDLE);
	remote_settle(path->remote);
}

struct path *
path_get(struct remote *remote, struct slice local)
{
	struct path *path;

	LIST_FOREACH(path, &remote->paths, of_remote) {
		if (slice_is(local, path->local))
			return path;
	}
	path = mem_alloc(sizeof *path);
	path->remote = remote;
	path->local = slice_dup(local);
	path->retry.due = retry_due;
	by_state[PATH_IDLE]++;
	LIST_INSERT_HEAD(&remote->paths, path, of_remote);
	return path;
}

void
path_free(struct path *path)
{
	if (path->state == PATH_TRYING)
		outgoing_cancel(&path->outgoing);
	by_state[path->state]--;
	deadline_clear(&path->retry);
	outqueue_clear(&path->queue, NULL, NULL);
	LIST_REMOVE(path, of_remote);
	free(path->local);
	free(path->reason);
	free(path);
}

/* -- to the stream ------------------------------------------------------------------------------ */

/* Whether a stanza that comes out of the spool is here, or was delivered. */
static bool
is_repeated(const struct path *path, const struct frame *f)
{
	return outqueue_holds(&path->queue, f->archive_id) ||
	    (path->remote->delivering > 0 && uplink_delivering(path->remote->handle, f->archive_id));
}

/* Nobody takes it now: what is stored waits, the rest is answered. */
static void
leave(struct path *path, const struct frame *f)
{
	if (frame_spooled(f) != 0 && !path->hopeless)
		path->skipped = true;
	else
		remote_bounce(path->remote, f, path->error, path->reason);
}

/* Whether a queue has no room for one more. */
static bool
is_full(const struct path *path)
{
	const struct outqueue *q = &path->queue;

	return q->count > HARD_LIMIT * settings.queue_stanzas ||
	    q->bytes > HARD_LIMIT * settings.queue_bytes || outqueue_memory() > settings.queue_total;
}

/* What a room says is a stanza for each receiver, all of one frame. It is delivered when the last of them is: those
 * before it have no place on the spool. Who has it since the row came before gets it no more. */
static void
enqueue_room(struct path *path, const struct frame *f)
{
	struct slice rest = f->text, line;
	struct frame row = *f;
	struct kept *kept;
	size_t at = 0;
	bool first = true;

	row.number = frame_count(f) != 0 ? frame_at(f, 0) : 0; /* its id in the archive of the room */
	kept = kept_new(&row);
	for (; slice_line(&rest, &line); at = f->text.len - rest.len) {
		bool last = rest.len == 0;

		if (!last && path->row == f->archive_id && at < path->row_had)
			continue;
		outqueue_add(&path->queue, first ? kept : kept_hold(kept), last ? f->archive_id : 0,
		    first ? kept->len : sizeof(struct outqueue_item));
		outqueue_line(&path->queue, at);
		first = false;
	}
}

void
path_deliver(struct path *path, const struct frame *f)
{
	struct kept *kept;

	if (frame_spooled(f) != 0 && is_repeated(path, f))
		return;
	if (path->state == PATH_IDLE)
		path_try(path);
	if (path->state == PATH_DOWN) {
		leave(path, f);
		return;
	}
	if (is_full(path)) {
		COUNT(queues_overflowed);
		if (frame_spooled(f) != 0)
			path->skipped = true;
		else
			remote_bounce(path->remote, f, STANZA_ERROR_RESOURCE_CONSTRAINT,
			    "Too much waits for this server");
		remote_limits(path->remote);
		return;
	}
	/* What is behind a message that was left to the spool must not come before it: neither live nor out of
	 * the spool, until that is drained from its beginning (remote_draining()). */
	if (frame_spooled(f) != 0 && path->skipped)
		return;
	if (f->flags & FLAG_ROOM) {
		enqueue_room(path, f);
	} else {
		kept = kept_new(f);
		outqueue_add(&path->queue, kept, frame_spooled(f), kept->len);
	}
	if (path->stream != NULL)
		transport_touch(&path->stream->net);
	remote_limits(path->remote);
}

/* Makes of what a room says the stanza for one of its receivers. */
static void
receiver_set(struct frame *f, const struct outqueue_item *item)
{
	struct slice rest = slice_part(f->text, item->line, SIZE_MAX);

	slice_line(&rest, &f->to);
	f->text = SLICE_NONE;
}

void
path_write(struct path *path)
{
	struct stream *s = path->stream;
	struct outqueue_item *item;
	struct frame f;

	while (buf_len(&s->net.out) < OUT_HIGH && (item = outqueue_next(&path->queue)) != NULL) {
		ASSERT(item->kept != NULL &&
		    frame_read(slice_of(item->kept->frame, item->kept->len), &f) == OK);
		if (f.flags & FLAG_ROOM)
			receiver_set(&f, item);
		traffic_stanza(s, &f);
		outqueue_wrote(&path->queue, transport_written(&s->net));
	}
}

/* A stanza has reached the other server. */
static void
delivered(void *arg, const struct outqueue_item *item)
{
	struct path *path = arg;
	struct frame f;

	path->useful = true;
	path->hurried = false;
	path->failures = 0;
	if (item->archive_id == 0) {
		if (item->kept != NULL && frame_read(slice_of(item->kept->frame, item->kept->len), &f) == OK &&
		    (f.flags & FLAG_ROOM)) {
			path->row = f.archive_id;
			path->row_had = item->line + 1;
		}
		return;
	}
	path->remote->delivering++;
	uplink_delivered(path->remote->handle, item->archive_id);
}

void
path_taken(struct path *path, uint64_t mark)
{
	if (path->queue.count == 0)
		return;
	outqueue_taken(&path->queue, mark, path->stream->sm.enabled, delivered, path);
	remote_limits(path->remote);
}

void
path_managed(struct path *path)
{
	outqueue_manage(&path->queue);
}

bool
path_acknowledge(struct path *path, uint32_t h)
{
	uint32_t outstanding = outqueue_unacknowledged(&path->queue), count;

	if (sm_acknowledge(&path->stream->sm, h, outstanding, &count) != OK)
		return false;
	outqueue_acknowledged(&path->queue, count, delivered, path);
	remote_limits(path->remote);
	return true;
}

/* -- streams come and go ------------------------------------------------------------------------ */

void
path_up(struct path *path, struct stream *s)
{
	if (path->state == PATH_UP)
		return; /* the peer has opened another one */
	if (path->state == PATH_TRYING && path->outgoing != NULL)
		outgoing_cancel(&path->outgoing); /* it came from the other side (XEP-0288) */
	deadline_clear(&path->retry);
	set_state(path, PATH_UP);
	path->stream = s;
	path->useful = false;
	s->path = path;
	log_info("path up", "from=%s to=%s address=%s", path->local, path->remote->name,
	    address_text(s->net.address));
	if (path->skipped)
		remote_drain(path->remote);
	remote_settle(path->remote);
	transport_touch(&s->net);
}

/* Gives up what only memory has, with an answer to each request, and leaves the rest to the spool. */
static void
give_up(void *arg, const struct outqueue_item *item)
{
	struct path *path = arg;
	struct frame f;

	if (item->archive_id != 0)
		path->skipped = true;
	else if (item->kept != NULL && frame_read(slice_of(item->kept->frame, item->kept->len), &f) == OK &&
	    !(f.flags & FLAG_ROOM)) /* it comes again with the last of its row */
		remote_bounce(path->remote, &f, path->error, path->reason);
}

/* The same for what will never be better: stored messages are given up as well. */
static void
give_up_all(void *arg, const struct outqueue_item *item)
{
	struct path *path = arg;
	struct frame f;

	if (item->kept != NULL && frame_read(slice_of(item->kept->frame, item->kept->len), &f) == OK) {
		if (item->archive_id != 0 || !(f.flags & FLAG_ROOM))
			remote_bounce(path->remote, &f, path->error, path->reason);
	} else if (item->archive_id != 0)
		path->skipped = true;
}

static void
go_down(struct path *path, enum stanza_error error, bool permanent, const char *reason)
{
	char *text = mem_string(reason);
	uint32_t random;

	gnutls_rnd(GNUTLS_RND_NONCE, &random, sizeof random);
	free(path->reason);
	path->reason = text;
	path->error = error;
	path->hopeless = permanent;
	path->stream = NULL;
	set_state(path, PATH_DOWN);
	outqueue_clear(&path->queue, permanent ? give_up_all : give_up, path);
	deadline_set(&path->retry, patience(path->failures++, random));
	remote_limits(path->remote);
	/* What was left to the spool in better times is given up as well. */
	if (permanent && path->skipped) {
		path->skipped = false;
		remote_drain(path->remote);
	}
	remote_settle(path->remote);
}

void
path_lost(struct path *path, const char *why)
{
	bool waits = path->queue.count != 0;

	log_info("path lost", "from=%s to=%s reason=\"%s\" waiting=%u", path->local, path->remote->name,
	    why, path->queue.count);
	path->stream = NULL;
	if (path->remote->component) {
		go_down(path, STANZA_ERROR_REMOTE_SERVER_TIMEOUT, false, "The component is not there");
	} else if (waits && !path->useful && path->failures > 0) {
		go_down(path, STANZA_ERROR_REMOTE_SERVER_TIMEOUT, false, why);
	} else if (waits) {
		/* What was not acknowledged is written again to the next stream: at once, but only once to a server
		 * that takes streams and no stanzas. */
		path->failures += path->useful ? 0 : 1;
		outqueue_restart(&path->queue);
		path_try(path);
	} else {
		set_state(path, PATH_IDLE);
		remote_settle(path->remote);
	}
}

void
path_failed(struct path *path, enum stanza_error error, bool permanent, const char *reason)
{
	log_info("path down", "from=%s to=%s reason=\"%s\" failures=%u", path->local, path->remote->name,
	    reason, path->failures + 1);
	path->outgoing = NULL;
	go_down(path, error, permanent, reason);
}
