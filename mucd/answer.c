/*
 * answer.c: what mucd says that need not be kept: answers to requests, errors of them. It is sent when
 * what it is about is on disk. Called by all that handle stanzas; cannot fail.
 */
#include "mucd.h"

static struct buf out; /* whole frames */

void
answer_send(const struct frame *f)
{
	frame_write(f, &out);
	daemon_dirty();
}

void
answer_result(const struct frame *request, struct slice payload)
{
	struct frame reply;

	stanza_result(request, payload, &reply);
	answer_send(&reply);
}

void
answer_error(const struct frame *stanza, enum stanza_error error, const char *text)
{
	struct buf scratch = { 0 };
	struct frame reply;

	if (stanza_error_reply(stanza, error, slice_string(text), &scratch, &reply))
		answer_send(&reply);
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

void
answers_clear(void)
{
	buf_clear(&out);
}
