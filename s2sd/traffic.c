/*
 * traffic.c: stanzas on a stream that is READY, and stream management on it (XEP-0198).
 *
 * Called by stream.c with what the peer sends, by path.c with what is written. A stanza goes to the router in
 * custody, under the handle of the domain that it is from; what the peer may not say ends its stream.
 */
#include "s2sd.h"

#include <stdlib.h>

#include "counter.h"
#include "error.h"
#include "log.h"
#include "ns.h"
#include "xmlout.h"

#define ID_MAX 4096u

/* -- from the peer ------------------------------------------------------------------------------ */

/* Stops reading while too much of a stream waits to be taken. */
static void
hold_back(struct stream *s)
{
	if (s->net.blocked || !sm_window_full(&s->sm))
		return;
	COUNT(windows_full);
	transport_block(&s->net, true);
}

/* Stops reading for a while when more comes of a domain than may in a time. */
static void
slow_down(struct stream *s, struct remote *remote, size_t bytes)
{
	uint64_t rest;

	s->used = daemon_ticks();
	if (remote->component)
		return;
	rest = rate_take(&remote->rate, settings.domain_stanzas, settings.domain_bytes, bytes, daemon_ticks());
	if (rest == 0 || !stream_is_open(s))
		return;
	if (s->rest == 0)
		COUNT(domains_slowed);
	s->rest = daemon_ticks() + rest;
	transport_block(&s->net, true);
	deadline_hasten(&s->net.deadline, rest);
}

void
traffic_taken(struct stream *s, uint64_t seq)
{
	if (s->state != STREAM_READY)
		return;
	sm_handled(&s->sm, seq);
	stream_ease(s);
	if (s->sm.answer)
		transport_touch(&s->net);
}

/* Whether an iq has the children that its type asks for (RFC 6120 section 8.2.3). */
static bool
iq_fits(const struct xml_element *element, enum stanza_type type)
{
	if (element->id.len == 0)
		return false;
	if (type == TYPE_GET || type == TYPE_SET)
		return element->children == 1;
	return type != TYPE_RESULT || element->children <= 1;
}

/* Answers what is wrong with a stanza, to where it came from. */
static void
refuse(struct stream *s, const struct frame *f, enum stanza_error error)
{
	struct buf scratch = { 0 };
	struct frame reply, copy = *f;

	if (copy.subtype == TYPE_NONE)
		copy.subtype = f->kind == STANZA_IQ ? TYPE_GET : TYPE_PROBE;
	if (stanza_error_reply(&copy, error, SLICE_NONE, &scratch, &reply)) {
		COUNT(bounced);
		traffic_stanza(s, &reply);
	}
	buf_free(&scratch);
}

/* Whether a domain has proven itself on a stream, to whomever. */
static bool
stream_has(const struct stream *s, struct slice from)
{
	const struct proof *proof;

	LIST_FOREACH(proof, &s->proofs, of_stream) {
		if (slice_is(from, proof->remote->name))
			return true;
	}
	return false;
}

/* What is wrong with the addresses of a stanza: a condition for the stream, or NULL. */
static const char *
check_addresses(const struct stream *s, const struct xml_element *element, char from_text[JID_MAX + 1],
    char to_text[JID_MAX + 1], struct jid *from, struct jid *to, struct proof **proof)
{
	if (element->from.ptr == NULL || element->to.ptr == NULL)
		return "improper-addressing";
	if (jid_prepare(element->from, from_text, from) != OK)
		return "invalid-from";
	if (jid_prepare(element->to, to_text, to) != OK)
		return "improper-addressing";
	*proof = stream_proof(s, from->domain, to->domain);
	if (*proof != NULL)
		return NULL;
	/* Not proven at all, or not to us: RFC 6120 sections 4.9.3.6 and 4.9.3.9. */
	return stream_has(s, from->domain) && domain_find(to->domain) == NULL ? "host-unknown" : "invalid-from";
}

static void
on_stanza(struct stream *s, const struct xml_element *element)
{
	char from_text[JID_MAX + 1], to_text[JID_MAX + 1];
	struct proof *proof = NULL;
	struct jid from, to;
	const char *condition;
	struct frame f = {
		.type = FRAME_STANZA, .id = element->id, .payload = element->payload,
		.lang = element->lang.ptr != NULL ? element->lang : slice_string(s->lang),
		.name = element->child_name, .ns = element->child_ns, .node = element->child_node,
		.flags = element->flags & FLAG_FROM_ENTRY,
	};
	struct buf scratch = { 0 };
	char token[ONCE_SIZE];
	uint64_t seq = 0;
	size_t len = 0;
	int wrong;

	COUNT(stanzas_in);
	wrong = stanza_classify(element->name, element->type, &f.kind, &f.subtype);
	if (f.kind == STANZA_NONE) {
		stream_error(s, "unsupported-stanza-type", NULL);
		return;
	}
	condition = check_addresses(s, element, from_text, to_text, &from, &to, &proof);
	if (condition != NULL) {
		stream_error(s, condition, NULL);
		return;
	}
	f.from = from.full;
	f.to = to.full;
	if (f.kind == STANZA_MESSAGE && s->kind != STREAM_COMPONENT &&
	    once_take(&f.payload, &scratch, token))
		f.token = slice_of(token, sizeof token);
	if (f.kind == STANZA_PRESENCE)
		f.number = (uint64_t)(element->priority + 128);
	if (wrong || element->id.len > ID_MAX || (f.kind == STANZA_IQ && !iq_fits(element, f.subtype)))
		refuse(s, &f, STANZA_ERROR_BAD_REQUEST);
	else if (remote_send(proof->remote, &f, &seq, &len) != OK)
		refuse(s, &f, STANZA_ERROR_NOT_ACCEPTABLE); /* larger than a frame can be */
	sm_read(&s->sm, seq, len);
	hold_back(s);
	slow_down(s, proof->remote, element->payload.len);
	buf_free(&scratch);
}

/* -- acknowledgements --------------------------------------------------------------------------- */

static struct slice
attribute(const struct xml_element *element, const char *name)
{
	unsigned i;

	for (i = 0; i < element->attributes; i++) {
		if (slice_is(element->attribute[i].name, name))
			return element->attribute[i].value;
	}
	return SLICE_NONE;
}

/* The peer enables it: what it sends from now on is counted. Streams between servers are not resumed: what
 * was not acknowledged is written again to the next. */
static void
on_enable(struct stream *s)
{
	if (s->sm.enabled) {
		buf_add_string(stream_out(s), "<failed xmlns='" NS_SM "'><unexpected-request xmlns='"
		    NS_STANZAS "'/></failed>");
		return;
	}
	sm_enable(&s->sm);
	if (s->path != NULL)
		path_managed(s->path);
	buf_add_string(stream_out(s), "<enabled xmlns='" NS_SM "'/>");
}

/* XEP-0198 section 4. */
static void
too_high(struct stream *s, uint32_t h, uint32_t sent)
{
	char extra[128];

	snprintf(extra, sizeof extra, "<handled-count-too-high xmlns='" NS_SM "' h='%u' send-count='%u'/>", h, sent);
	stream_error_with(s, "undefined-condition", "more was acknowledged than was sent", extra);
}

static void
on_a(struct stream *s, const struct xml_element *element)
{
	uint32_t sent;
	uint64_t h;

	if (slice_number(attribute(element, "h"), UINT32_MAX, &h) != OK) {
		stream_error(s, "bad-format", "an acknowledgement without h");
		return;
	}
	s->sm.asked = false;
	sent = s->path != NULL ? s->sm.acked + outqueue_unacknowledged(&s->path->queue) : 0;
	if (s->path != NULL ? !path_acknowledge(s->path, (uint32_t)h) : h != 0)
		too_high(s, (uint32_t)h, sent);
	else
		transport_touch(&s->net);
}

static void
on_management(struct stream *s, const struct xml_element *element)
{
	if (slice_is(element->name, "enable")) {
		on_enable(s);
	} else if (slice_is(element->name, "resume")) {
		buf_add_string(stream_out(s), "<failed xmlns='" NS_SM "'><item-not-found xmlns='"
		    NS_STANZAS "'/></failed>");
	} else if (!s->sm.enabled) {
		stream_error(s, "unsupported-stanza-type", "stream management is not enabled");
	} else if (slice_is(element->name, "r")) {
		sm_request(&s->sm);
		transport_touch(&s->net);
	} else if (slice_is(element->name, "a")) {
		on_a(s, element);
	} else {
		stream_error(s, "unsupported-stanza-type", NULL);
	}
}

void
traffic_element(struct stream *s, const struct xml_element *element)
{
	if (slice_is(element->ns, NS_ONCE) && s->kind != STREAM_COMPONENT) {
		s->once = true; /* comes before <enable/> */
		return;
	}
	if (s->kind == STREAM_INCOMING && s->path == NULL)
		incoming_spoke(s);
	if (slice_is(element->ns, incoming_role.ns) || slice_is(element->ns, component_role.ns))
		on_stanza(s, element);
	else if (slice_is(element->ns, NS_SM) && s->kind != STREAM_COMPONENT)
		on_management(s, element);
	else
		stream_error(s, "unsupported-stanza-type", NULL);
}

/* As in c2sd: <r/> is answered when what came before it is handled, or after a second. */
void
traffic_write(struct stream *s, bool late)
{
	struct sm *sm = &s->sm;

	if (!sm->enabled || buf_len(&s->net.out) >= OUT_HIGH)
		return;
	if (sm_answer_due(sm) || (late && sm_answer_waits(sm))) {
		buf_printf(stream_out(s), "<a xmlns='" NS_SM "' h='%u'/>", sm_h(sm));
		sm_answered(sm);
	} else if (sm_answer_waits(sm)) {
		deadline_hasten(&s->net.deadline, 1000);
	}
	if (sm_ask_due(sm) || (late && sm->unasked > 0 && !sm->asked)) {
		buf_add_string(stream_out(s), "<r xmlns='" NS_SM "'/>");
		sm_asked(sm);
	} else if (sm->unasked > 0 && !sm->asked) {
		deadline_hasten(&s->net.deadline, 1000);
	}
}

/* -- to the peer -------------------------------------------------------------------------------- */

void
traffic_stanza(struct stream *s, const struct frame *f)
{
	struct buf *out = stream_out(s);
	size_t before = buf_len(out);
	struct buf payload = { 0 };
	struct frame copy = *f;
	struct jid from;

	/* A subscription stanza that comes twice does no more than once. */
	if (s->once && frame_spooled(f) != 0 && f->kind == STANZA_MESSAGE) {
		once_add(f, &payload);
		copy.payload = buf_slice(&payload);
	}
	/* The ids of our archives are for those whose archives they are, and for occupants of a room. */
	copy.archive_id = f->flags & FLAG_ROOM ? f->number : 0;
	jid_split(f->from, &from);
	stanza_write(&copy, SLICE_NONE, from.domain, out);
	sm_wrote(&s->sm, buf_len(out) - before);
	s->used = daemon_ticks();
	COUNT(stanzas_out);
	buf_free(&payload);
}
