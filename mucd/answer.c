/*
 * answer.c: what mucd says that need not be kept: answers to requests, errors of them. It is sent when
 * what it is about is on disk. Called by all that handle stanzas. Fails when an answer is larger than a
 * frame: a result becomes an error to who has asked.
 *
 * What waits here for the end of an iteration is bounded by inbox.c, which handles no more when it is much.
 */
#include "log.h"
#include "mucd.h"

#define ANSWER_BYTES (FRAME_MAX - (64u << 10)) /* of one: the router adds to some */

static struct buf out; /* whole frames */

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

void
answers_flush(void)
{
	struct slice rest = buf_slice(&out), whole;
	struct frame f;

	while (frame_next(rest, &whole) == OK) {
		rest = slice_part(rest, whole.len, rest.len);
		if (frame_read(whole, &f) == OK)
			daemon_send(&f);
	}
	buf_clear(&out);
	buf_trim(&out, 1 << 20);
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
