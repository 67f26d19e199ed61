/*
 * sessions.c: what the router says to sessions, by their handles, and what is done with all of them: told to a
 * new router, looked through after a reload.
 *
 * Called by main.c with the router's frames and when it comes back, by settings.c. What is wrong with a
 * frame is logged, and it is dropped.
 */
#include "c2sd.h"

#include <stdlib.h>

#include "error.h"
#include "log.h"

static void
replay(struct session *s)
{
	struct frame f = {
		.type = FRAME_SESSION_REPLAY,
		.handle = s->handle,
		.jid = session_jid(s),
		.token = slice_of(s->token, sizeof s->token),
		.flags = (s->interested ? FLAG_INTERESTED : 0) | (s->carbons ? FLAG_CARBONS : 0) |
		    (s->blocks ? FLAG_BLOCKS : 0),
		.archive_id = feed_level(s),
		.numbers = slice_of(&s->copies_since, sizeof s->copies_since),
		.stamp = resume_handle(slice_string(s->sm_id)),
		.data = slice_of(s->first_token, sizeof s->first_token),
	};
	struct frame pause = { .type = FRAME_SESSION_PAUSE, .handle = s->handle };
	struct buf text = { 0 };

	presence_tell(s->presence, &f, "", &text);
	f.text = buf_len(&text) != 0 ? buf_slice(&text) : SLICE_NONE;
	daemon_send(&f);
	if (s->paused)
		daemon_send(&pause);
	if (s->away)
		session_tell_away(s, true, 0);
	feed_from(s, f.archive_id);
	buf_free(&text);
}

void
sessions_replay(void)
{
	struct session *s;
	size_t at;

	for (at = 0; (s = session_each(&at)) != NULL; ) {
		if (s->state != SESSION_MOVED)
			replay(s);
	}
}

/* The connection of a session, or that to which it arrives: with that it ends. */
static struct conn *
conn_of(const struct session *s)
{
	return s->state == SESSION_ARRIVING ? stream_find(s->handle) : s->conn;
}

void
sessions_configured(void)
{
	struct session *s;
	struct jid jid;
	size_t at;

	for (at = 0; (s = session_each(&at)) != NULL; ) {
		if (jid_parse(session_jid(s), &jid) != OK || domain_find(jid.domain) != NULL)
			continue;
		if (conn_of(s) != NULL)
			stream_error(conn_of(s), "host-gone", NULL, NULL);
		else
			session_end(s, "the domain is gone");
	}
}

void
sessions_resent(void)
{
	struct session *s;
	size_t at;

	for (at = 0; (s = session_each(&at)) != NULL; ) {
		if (s->state == SESSION_ENDED)
			session_settle(s);
	}
}

static void
deliver_to(uint64_t handle, const struct frame *f, struct kept **kept)
{
	struct session *s = session_find(handle);
	struct conn *c;

	if (s != NULL) {
		session_deliver(s, f, kept);
		return;
	}
	c = stream_find(handle);
	if (c != NULL)
		register_answer(c, f);
	else if (HANDLE_INCARNATION(handle) != daemon_incarnation())
		daemon_refuse(f, "stream of another daemon");
	else
		log_debug("stanza dropped", "handle=%016llx reason=\"gone\"",
		    (unsigned long long)handle);
}

/* Takes a stored message that may not be written off the spool. */
static void
refuse_one(uint64_t handle, const struct frame *f)
{
	struct session *s = session_find(handle);

	if (s != NULL && feed_id(f) != 0)
		session_report(s, f->archive_id);
}

/* Refuses a stanza that is not canonical: the daemon that it entered by was taken over, and its bytes
 * would become part of our clients' streams. */
static void
refuse(const struct frame *f)
{
	size_t i;

	daemon_refuse(f, "not canonical");
	if (f->handle != 0)
		refuse_one(f->handle, f);
	for (i = 0; f->handle == 0 && i < frame_count(f); i++)
		refuse_one(frame_at(f, i), f);
}

void
sessions_stanza(const struct frame *f)
{
	struct kept *kept = NULL;
	size_t i;

	if (f->flags & FLAG_ROOM)
		room_seen(f);
	if (!stanza_is_canonical(f)) {
		refuse(f);
		return;
	}
	if (!(f->flags & (FLAG_SPOOL | FLAG_HANDOVER)))
		feed_seen(feed_id(f));
	if (f->handle != 0)
		deliver_to(f->handle, f, &kept);
	for (i = 0; f->handle == 0 && i < frame_count(f); i++)
		deliver_to(frame_at(f, i), f, &kept);
	kept_drop(&kept);
	session_make_room();
}

void
sessions_reported(uint64_t handle)
{
	struct session *s = session_find(handle);

	if (s == NULL || s->delivering == 0)
		return;
	s->delivering--;
	session_settle(s);
}

/* Conditions of stream errors (RFC 6120 section 4.9.3). */
static const char *const conditions[] = {
	"bad-format", "bad-namespace-prefix", "conflict", "connection-timeout", "host-gone",
	"host-unknown", "improper-addressing", "internal-server-error", "invalid-from",
	"invalid-namespace", "invalid-xml", "not-authorized", "not-well-formed", "policy-violation",
	"remote-connection-failed", "reset", "resource-constraint", "restricted-xml",
	"system-shutdown", "undefined-condition", "unsupported-encoding", "unsupported-feature",
	"unsupported-stanza-type", "unsupported-version", NULL
};

void
session_kill(const struct frame *f)
{
	struct session *s = session_find(f->handle);
	struct conn *c = s != NULL ? conn_of(s) : stream_find(f->handle);
	struct frame end = { .type = FRAME_SESSION_END, .handle = f->handle };
	const char *condition = slice_among(f->condition, conditions, "undefined-condition");
	char *text = slice_dup(f->text);

	if (c != NULL) {
		stream_error(c, condition, text, NULL);
	} else if (s == NULL || s->state == SESSION_MOVED) {
		daemon_send(&end);
	} else {
		session_end(s, condition); /* one that has ended says so when its frames are taken */
	}
	free(text);
}
