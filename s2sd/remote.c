/*
 * remote.c: remote domains: what the router knows of them, what comes from them and what is for them.
 *
 *   (a stanza for it, or a proof on a stream) -> REMOTE_OPEN -> ... -> nothing is left of it, for a while
 *      -> SESSION_END -> gone
 *
 * Called by main.c with frames of the router, by stream.c and path.c. While the router has a domain, its
 * stanzas are in custody under its handle; so it stays until all of them are taken.
 */
#include "s2sd.h"

#include <stdlib.h>

#include "counter.h"
#include "error.h"
#include "log.h"
#include "map.h"
#include "mem.h"

#define RELIEF_TIME 1000u  /* between looks whether a paused one has room again */
#define TRYING_MAX  64u   /* paths that are tried, before more are begun for what waits */
#define TRYING_TIME 200u  /* milliseconds until the next look */
#define WAITING_BYTES (8u << 20) /* of names of domains that are to be begun */
#define QUIET_TIME 10000u /* milliseconds for which one stays that has nothing left */

static struct map *by_name, *by_handle;

struct remote *
remote_find(struct slice name)
{
	return by_name != NULL ? map_get(by_name, name) : NULL;
}

static struct remote *
remote_by_handle(uint64_t handle)
{
	return by_handle != NULL ? map_get(by_handle, slice_of(&handle, sizeof handle)) : NULL;
}

void
remotes_each(void (*each)(void *arg, struct remote *remote), void *arg)
{
	struct remote *remote;
	size_t at = 0;

	while (by_name != NULL && (remote = map_each(by_name, &at)) != NULL)
		each(arg, remote);
}

void
remotes_gauges(void)
{
	GAUGE(remotes, by_name != NULL ? map_count(by_name) : 0);
}

/* -- to the router ------------------------------------------------------------------------------ */

static void
tell(const struct remote *remote, enum frame_type type)
{
	struct frame f = { .type = type, .handle = remote->handle };

	if (type == FRAME_REMOTE_OPEN)
		f.domain = slice_string(remote->name);
	daemon_send(&f);
}

/* One of its frames was taken. */
static void
taken(struct uplink_sender *sender, uint64_t seq)
{
	struct remote *remote = (struct remote *)sender;
	struct proof *proof, *next;

	remote->untaken--;
	for (proof = LIST_FIRST(&remote->proofs); proof != NULL; proof = next) {
		next = LIST_NEXT(proof, of_remote);
		traffic_taken(proof->stream, seq);
	}
	remote_settle(remote);
}

int
remote_send(struct remote *remote, struct frame *f, uint64_t *seq, size_t *len)
{
	int error;

	f->handle = remote->handle;
	error = uplink_send(&remote->sender, f, seq, len);
	if (error == OK)
		remote->untaken++;
	return error;
}

/* Whether its sender is told when a stanza does not arrive: not of presence, but for subscriptions. */
static bool
is_missed(const struct frame *f)
{
	return f->kind != STANZA_PRESENCE || (f->subtype >= TYPE_SUBSCRIBE &&
	    f->subtype <= TYPE_UNSUBSCRIBED);
}

void
remote_bounce(struct remote *remote, const struct frame *f, enum stanza_error error, const char *text)
{
	uint64_t pair[2] = { remote->handle, frame_spooled(f) }, seq;
	struct frame hopeless = { .type = FRAME_UNDELIVERABLE,
		.condition = slice_string(stanza_error_text(error)), .text = slice_string(text),
		.numbers = slice_of(pair, sizeof pair) };
	struct buf scratch = { 0 };
	struct frame reply;
	size_t len;

	if (frame_spooled(f) != 0) {
		if (uplink_send(&remote->sender, &hopeless, &seq, &len) == OK)
			remote->untaken++;
	} else if (f->from.ptr != NULL && f->to.ptr != NULL && is_missed(f) &&
	    stanza_error_reply(f, error, slice_string(text), &scratch, &reply)) {
		COUNT(bounced);
		remote_send(remote, &reply, &seq, &len);
	}
	buf_free(&scratch);
}

/* -- beginning and end -------------------------------------------------------------------------- */

static void
remote_free(struct remote *remote)
{
	uplink_forget(&remote->sender);
	deadline_clear(&remote->deadline);
	deadline_clear(&remote->relief);
	map_remove(by_name, slice_string(remote->name));
	map_remove(by_handle, slice_of(&remote->handle, sizeof remote->handle));
	free(remote->name);
	free(remote);
}

/* Whether there is nothing more to it: no stream, no path that does or waits for something. */
static bool
is_quiet(const struct remote *remote)
{
	const struct path *path;

	if (!LIST_EMPTY(&remote->proofs) || remote->untaken != 0 || remote->delivering != 0 ||
	    remote->paused)
		return false;
	LIST_FOREACH(path, &remote->paths, of_remote) {
		if (path->state != PATH_IDLE || path->queue.count != 0)
			return false;
	}
	return true;
}

static void
quiet_due(struct deadline *d)
{
	struct remote *remote = (struct remote *)((char *)d - offsetof(struct remote, deadline));

	if (!is_quiet(remote))
		return;
	while (!LIST_EMPTY(&remote->paths))
		path_free(LIST_FIRST(&remote->paths));
	log_info("remote domain released", "domain=%s", remote->name);
	tell(remote, FRAME_SESSION_END);
	remote_free(remote);
}

void
remote_settle(struct remote *remote)
{
	if (is_quiet(remote))
		deadline_set(&remote->deadline, remote->killed ? 0 : QUIET_TIME);
	else
		deadline_clear(&remote->deadline);
}

/* There may be room now in what all domains have together. */
static void
relief_due(struct deadline *d)
{
	remote_limits((struct remote *)((char *)d - offsetof(struct remote, relief)));
}

struct remote *
remote_get(struct slice name)
{
	static uint32_t counter;
	struct remote *remote = remote_find(name);

	if (remote != NULL)
		return remote;
	if (by_name == NULL) {
		by_name = map_new();
		by_handle = map_new();
	}
	remote = mem_alloc(sizeof *remote);
	remote->sender.taken = taken;
	remote->handle = HANDLE(daemon_incarnation(), ++counter);
	remote->name = slice_dup(name);
	remote->component = component_find(name) != NULL;
	remote->deadline.due = quiet_due;
	remote->relief.due = relief_due;
	LIST_INIT(&remote->proofs);
	LIST_INIT(&remote->paths);
	map_put(by_name, slice_string(remote->name), remote);
	map_put(by_handle, slice_of(&remote->handle, sizeof remote->handle), remote);
	tell(remote, FRAME_REMOTE_OPEN);
	remote_settle(remote);
	return remote;
}

/* -- from the router ---------------------------------------------------------------------------- */

/* Whether a domain is served here and not by way of us. */
static bool
is_ours(struct slice name)
{
	return domain_is_here(name) && component_find(name) == NULL;
}

/* Whether what a room says is for a domain, and names receivers there. */
static bool
is_of_room(const struct frame *f, const struct jid *to)
{
	struct slice rest = f->text, line;
	struct jid jid;

	if (!(f->flags & FLAG_TO_REMOTE) || f->archive_id == 0 || rest.len == 0 || frame_count(f) > 1 ||
	    to->local.ptr != NULL || to->resource.ptr != NULL)
		return false;
	while (slice_line(&rest, &line)) {
		if (jid_parse(line, &jid) != OK || jid.resource.ptr == NULL || !slice_equal(jid.domain, to->domain))
			return false;
	}
	return true;
}

void
remotes_stanza(const struct frame *f)
{
	struct jid from, to;
	struct remote *remote;

	if (f->from.ptr == NULL || f->to.ptr == NULL || jid_parse(f->from, &from) != OK ||
	    jid_parse(f->to, &to) != OK || !stanza_is_canonical(f) || is_ours(to.domain) ||
	    ((f->flags & FLAG_ROOM) && !is_of_room(f, &to))) {
		daemon_refuse(f, "malformed stanza, or to ourselves");
		/* It must not stay on the spool for ever. */
		remote = remote_by_handle(f->handle);
		if (remote != NULL && frame_spooled(f) != 0)
			remote_bounce(remote, f, STANZA_ERROR_NOT_ACCEPTABLE, NULL);
		return;
	}
	remote = f->handle != 0 ? remote_by_handle(f->handle) : remote_get(to.domain);
	/* It may have ended here while the router sent this. */
	if (remote == NULL || !slice_is(to.domain, remote->name))
		remote = remote_get(to.domain);
	path_deliver(path_get(remote, remote->component ? SLICE("") : from.domain), f);
}

/* Domains of which the router has said that messages wait for them, a line each: those are begun a few at a
 * time, as there are thousands of them after a restart. */
static struct buf waiting;

static void open_some(struct deadline *d);
static struct deadline opener = { .due = open_some };

/* A path to a domain is found when its first message comes out of the spool: telling the router is all
 * that it takes. */
static void
open_some(struct deadline *d)
{
	size_t tried = paths_trying();

	(void)d;
	while (buf_len(&waiting) > 0 && tried++ < TRYING_MAX) {
		struct slice lines = buf_slice(&waiting), name;

		slice_line(&lines, &name);
		/* The configuration may be another one now. */
		if (!is_ours(name))
			remote_get(name);
		buf_consume(&waiting, name.len + 1);
	}
	if (buf_len(&waiting) > 0)
		deadline_set(&opener, TRYING_TIME);
	else
		buf_free(&waiting);
}

void
remotes_waiting(const struct frame *f)
{
	struct slice lines = f->text, line, name;
	char prepared[JID_PART_MAX + 1];

	while (slice_line(&lines, &line)) {
		if (jid_prepare_domain(line, prepared, &name) == OK && slice_equal(line, name) &&
		    (settings.federation || component_find(name) != NULL) && !is_ours(name)) {
			buf_add_slice(&waiting, name);
			buf_add_char(&waiting, '\n');
		} else {
			log_warn("messages wait in vain", "domain=%s", log_quote(line));
		}
		if (buf_len(&waiting) > WAITING_BYTES) {
			log_warn("too many domains wait", "bytes=%zu", buf_len(&waiting));
			break; /* until a message is sent to them, or the next start */
		}
	}
	open_some(NULL);
}

void
remote_kill(const struct frame *f)
{
	struct remote *remote = remote_by_handle(f->handle);
	struct proof *proof;

	if (remote == NULL)
		return;
	log_warn("remote domain refused by the router", "domain=%s reason=%s", remote->name,
	    log_quote(f->condition));
	remote->killed = true;
	while ((proof = LIST_FIRST(&remote->proofs)) != NULL)
		stream_error(proof->stream, "not-authorized", NULL);
	remote_settle(remote);
}

void
remote_reported(uint64_t handle)
{
	struct remote *remote = remote_by_handle(handle);

	if (remote == NULL || remote->delivering == 0)
		return;
	remote->delivering--;
	remote_settle(remote);
}

/* What was left to the spool comes now, from its beginning: nothing that the router sent before is on its
 * way any more. */
static void
begin_anew(struct remote *remote)
{
	struct path *path;

	LIST_FOREACH(path, &remote->paths, of_remote) {
		if (path->state != PATH_DOWN)
			path->skipped = false;
	}
}

void
remotes_replay(void)
{
	struct remote *remote;
	size_t at = 0;

	while (by_name != NULL && (remote = map_each(by_name, &at)) != NULL) {
		tell(remote, FRAME_REMOTE_OPEN);
		begin_anew(remote);
		if (remote->paused)
			tell(remote, FRAME_SESSION_PAUSE);
	}
}

/* -- how much waits ----------------------------------------------------------------------------- */

void
remote_limits(struct remote *remote)
{
	bool crowded = outqueue_memory() > settings.queue_total / 2;
	size_t stanzas = 0, bytes = 0;
	const struct path *path;

	LIST_FOREACH(path, &remote->paths, of_remote) {
		stanzas += path->queue.count;
		bytes += path->queue.bytes;
	}
	if (!remote->paused &&
	    (stanzas > settings.queue_stanzas || bytes > settings.queue_bytes || crowded)) {
		COUNT(queues_full);
		remote->paused = true;
		tell(remote, FRAME_SESSION_PAUSE);
		remote_settle(remote);
	} else if (remote->paused && !crowded && stanzas <= settings.queue_stanzas / 2 &&
	    bytes <= settings.queue_bytes / 2) {
		remote_drain(remote);
		remote_settle(remote);
	}
	/* What makes room may be the queue of another domain. */
	if (remote->paused)
		deadline_hasten(&remote->relief, RELIEF_TIME);
}

void
remote_drain(struct remote *remote)
{
	if (!remote->paused)
		tell(remote, FRAME_SESSION_PAUSE); /* so that it begins anew */
	remote->paused = false;
	deadline_clear(&remote->relief);
	tell(remote, FRAME_SESSION_DRAIN);
}

void
remote_draining(const struct frame *f)
{
	struct remote *remote = remote_by_handle(f->handle);

	if (remote != NULL)
		begin_anew(remote);
}
