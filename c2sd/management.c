/*
 * management.c: the elements of stream management (XEP-0198 sections 3 and 4) on a bound stream.
 *
 * Called by stream.c with elements, by session.c when something was written or handled. sm.c
 * counts.
 */
#include "c2sd.h"

#include <stdio.h>

#include <gnutls/crypto.h>

#include "counter.h"
#include "error.h"
#include "log.h"
#include "mem.h"
#include "ns.h"
#include "xmlout.h"

struct slice
element_attribute(const struct xml_element *element, const char *name)
{
	unsigned i;

	if (strcmp(name, "id") == 0)
		return element->id;
	for (i = 0; i < element->attributes; i++) {
		if (slice_is(element->attribute[i].name, name))
			return element->attribute[i].value;
	}
	return SLICE_NONE;
}

void
management_failed(struct conn *c, const char *condition, bool known, uint32_t h)
{
	struct buf *out = conn_out(c);

	if (buf_len(out) >= OUT_HIGH) {
		COUNT(output_overflowed);
		stream_error(c, "policy-violation", "the client does not read", NULL);
		return;
	}
	buf_add_string(out, "<failed xmlns='" NS_SM "'");
	if (known)
		buf_printf(out, " h='%u'", h);
	buf_printf(out, "><%s xmlns='" NS_STANZAS "'/></failed>", condition);
}

/* An SM-ID: the handle, by which another c2sd finds us, and what nobody can guess. */
static void
name_session(struct session *s)
{
	unsigned char random[18];
	char id[16 + 1 + 2 * sizeof random + 1];
	size_t i;

	gnutls_rnd(GNUTLS_RND_KEY, random, sizeof random);
	snprintf(id, sizeof id, "%016llx-", (unsigned long long)s->handle);
	for (i = 0; i < sizeof random; i++)
		snprintf(id + 17 + 2 * i, 3, "%02x", random[i]);
	session_name(s, slice_string(id));
}

void
management_wanted(struct slice resume_text, struct slice max_text, bool *resume, uint64_t *max)
{
	*resume = slice_is(resume_text, "true") || slice_is(resume_text, "1");
	if (slice_number(max_text, UINT32_MAX, max) != OK)
		*max = UINT32_MAX;
}

void
management_enable(struct session *s, bool resume, uint64_t max, struct buf *out)
{
	uint64_t ours = settings.resume_time / 1000;

	/* What waits is written after the answer, and counts. */
	sm_enable(&s->sm);
	outqueue_manage(&s->queue);
	buf_add_string(out, "<enabled xmlns='" NS_SM "'");
	s->resume_seconds = (uint32_t)(max < ours ? max : ours);
	if (resume && s->resume_seconds > 0) {
		name_session(s);
		xml_add_attribute(out, "id", slice_string(s->sm_id));
		buf_printf(out, " resume='true' max='%u'", s->resume_seconds);
	}
	buf_add_string(out, "/>");
}

static void
on_enable(struct conn *c, struct session *s, const struct xml_element *element)
{
	uint64_t max;
	bool resume;

	if (s->sm.enabled) {
		management_failed(c, "unexpected-request", false, 0);
		return;
	}
	management_wanted(element_attribute(element, "resume"), element_attribute(element, "max"),
	    &resume, &max);
	management_enable(s, resume, max, conn_out(c));
}

void
management_too_high(struct conn *c, uint32_t h, uint32_t sent)
{
	char extra[128];

	snprintf(extra, sizeof extra,
	    "<handled-count-too-high xmlns='" NS_SM "' h='%u' send-count='%u'/>",
	    h, sent);
	stream_error(c, "undefined-condition", NULL, extra);
}

bool
management_acknowledge(struct conn *c, struct session *s, uint32_t h)
{
	uint32_t outstanding = outqueue_unacknowledged(&s->queue), count;

	if (sm_acknowledge(&s->sm, h, outstanding, &count) == OK) {
		session_acknowledge(s, count);
		return true;
	}
	management_too_high(c, h, s->sm.acked + outstanding);
	return false;
}

static void
on_a(struct conn *c, struct session *s, const struct xml_element *element)
{
	uint64_t h;

	if (slice_number(element_attribute(element, "h"), UINT32_MAX, &h) != OK) {
		stream_error(c, "bad-format", "an acknowledgement without h", NULL);
		return;
	}
	s->sm.asked = false;
	if (management_acknowledge(c, s, (uint32_t)h))
		conn_touch(c);
}

void
management_element(struct conn *c, const struct xml_element *element)
{
	struct session *s = c->session;

	if (slice_is(element->name, "enable")) {
		on_enable(c, s, element);
	} else if (slice_is(element->name, "resume")) {
		management_failed(c, "unexpected-request", false, 0);
	} else if (!s->sm.enabled) {
		stream_error(c, "unsupported-stanza-type", "stream management is not enabled",
		    NULL);
	} else if (slice_is(element->name, "r")) {
		sm_request(&s->sm);
		management_write(s, false);
	} else if (slice_is(element->name, "a")) {
		on_a(c, s, element);
	} else {
		stream_error(c, "unsupported-stanza-type", NULL, NULL);
	}
}

/*
 * A client's <r/> is answered when what it had sent before is handled, which takes a commit, or
 * after a second with what is. Ours goes out when enough was sent, or a second later. While a
 * client does not read nothing is said: one answer, later, is for all that it asked.
 */
void
management_write(struct session *s, bool late)
{
	struct sm *sm = &s->sm;

	if (s->conn == NULL || !sm->enabled || buf_len(&s->conn->net.out) >= OUT_HIGH)
		return;
	if (sm_answer_due(sm) || (late && sm_answer_waits(sm))) {
		buf_printf(conn_out(s->conn), "<a xmlns='" NS_SM "' h='%u'/>", sm_h(sm));
		sm_answered(sm);
	} else if (sm_answer_waits(sm)) {
		deadline_hasten(&s->conn->net.deadline, 1000);
	}
	if (sm_ask_due(sm) || (late && sm->unasked > 0 && !sm->asked)) {
		buf_add_string(conn_out(s->conn), "<r xmlns='" NS_SM "'/>");
		sm_asked(sm);
	} else if (sm->unasked > 0 && !sm->asked) {
		deadline_hasten(&s->conn->net.deadline, 1000);
	}
}
