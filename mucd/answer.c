/*
 * answer.c: what mucd says that need not be kept: answers to requests, errors of them. It is sent when
 * what it is about is on disk. Called by all that handle stanzas. Fails when an answer is larger than a
 * frame: a result becomes an error to who has asked.
 *
 * What waits here for the end of an iteration is bounded by inbox.c, which handles no more when it is much. A
 * request to an archive out of which something is to go waits until that is gone: what rooms say may have to
 * wait for its turn (outbox.c), and nobody may read meanwhile what a room that has ended has left.
 */
#include "log.h"
#include "mucd.h"

#define ANSWER_BYTES (FRAME_MAX - (64u << 10)) /* of one: the router adds to some */
#define HELD_BYTES   (1u << 20)                /* of requests to archives, after which more are refused */

static struct buf out;  /* whole frames */
static struct buf held; /* of these, requests to archives */

int
answer_send(const struct frame *f)
{
	size_t before = buf_len(&out);
	int error = frame_write(f, &out);

	if (error == OK && buf_len(&out) - before > ANSWER_BYTES) {
		buf_truncate(&out, before);
		error = E_TOO_BIG;
	}
	if (error == OK)
		daemon_dirty();
	return error;
}

void
answer_result(const struct frame *request, struct slice payload)
{
	struct frame reply;

	stanza_result(request, payload, &reply);
	if (answer_send(&reply) != OK)
		answer_error(request, STANZA_ERROR_RESOURCE_CONSTRAINT, "The answer is longer than it may be");
}

void
answer_error(const struct frame *stanza, enum stanza_error error, const char *text)
{
	struct buf scratch = { 0 };
	struct frame reply;

	if (stanza_error_reply(stanza, error, slice_string(text), &scratch, &reply) && answer_send(&reply) != OK)
		log_warn("error not sent", "to=%s reason=\"its id is too long\"", log_quote(reply.to));
	buf_free(&scratch);
}

/* Sends a request to an archive back. */
static void
query_refuse(const struct frame *query)
{
	struct frame request = { .type = FRAME_STANZA, .kind = STANZA_IQ, .subtype = query->subtype, .from = query->from,
		.to = query->jid, .id = query->id, .handle = query->handle };
	struct buf scratch = { 0 };
	struct frame reply;

	if (stanza_error_reply(&request, STANZA_ERROR_RESOURCE_CONSTRAINT, SLICE("Too much is asked at once"), &scratch,
	    &reply))
		daemon_send(&reply);
	buf_free(&scratch);
}

/* Sends some frames, but for those that have to wait. */
static void
frames_send(struct slice frames)
{
	struct slice whole;
	struct frame f;

	for (; frame_next(frames, &whole) == OK; frames = slice_part(frames, whole.len, frames.len)) {
		if (frame_read(whole, &f) != OK)
			continue;
		if (f.type != FRAME_ROOM_QUERY || !outbox_erases(f.jid))
			daemon_send(&f);
		else if (buf_len(&held) < HELD_BYTES)
			buf_add_slice(&held, whole);
		else
			query_refuse(&f);
	}
}

void
answers_flush(void)
{
	frames_send(buf_slice(&out));
	buf_clear(&out);
	buf_trim(&out, RUN_BYTES);
}

void
answers_release(void)
{
	struct buf before = held;

	if (buf_len(&before) == 0)
		return;
	held = (struct buf){ 0 };
	frames_send(buf_slice(&before));
	buf_free(&before);
}

size_t
answers_pending(void)
{
	return buf_len(&out);
}

void
answers_clear(void)
{
	buf_clear(&out);
}
