/*
 * inbound.c: stanzas from clients become frames (RFC 6120 section 8).
 *
 * Called by stream.c for each stanza of a bound stream. What the client may not say ends its
 * stream or is answered with an error here; the rest goes to the router in custody.
 * inbound_frame() decides without input or output.
 */
#include "c2sd.h"

#include <stdlib.h>

#include "counter.h"
#include "error.h"
#include "log.h"
#include "ns.h"
#include "xmlout.h"

#define ID_MAX 4096u

/* Whether `from` is the client's own address, in whatever form it was written (RFC 6120 section
 * 8.1.2.1). */
static bool
from_fits(struct slice from, struct slice full, struct slice bare)
{
	char prepared[JID_MAX + 1];
	struct jid jid;

	if (from.ptr == NULL || slice_equal(from, full) || slice_equal(from, bare))
		return true;
	return jid_prepare(from, prepared, &jid) == OK &&
	    (slice_equal(jid.full, full) || slice_equal(jid.full, bare));
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

/* Whether a stanza of this type may be answered with an error. */
static bool
error_wanted(enum stanza_kind kind, enum stanza_type type)
{
	return type != TYPE_ERROR && !(kind == STANZA_IQ && type == TYPE_RESULT);
}

enum inbound_verdict
inbound_frame(const struct xml_element *element, struct slice full, struct slice bare,
    struct slice lang, char *to, struct frame *f, enum stanza_error *error, const char **condition)
{
	struct jid jid;
	int wrong;

	*f = (struct frame){
		.type = FRAME_STANZA, .id = element->id, .payload = element->payload,
		.lang = element->lang.ptr != NULL ? element->lang : lang,
		.name = element->child_name, .ns = element->child_ns, .node = element->child_node,
		.flags = element->flags & FLAG_FROM_ENTRY,
	};
	wrong = stanza_classify(element->name, element->type, &f->kind, &f->subtype);
	*condition = "unsupported-stanza-type";
	if (f->kind == STANZA_NONE)
		return INBOUND_STREAM_ERROR;
	*condition = "invalid-from";
	if (!from_fits(element->from, full, bare))
		return INBOUND_STREAM_ERROR;
	*error = STANZA_ERROR_BAD_REQUEST;
	if (wrong || element->id.len > ID_MAX)
		return INBOUND_ERROR;
	if (f->kind == STANZA_IQ && !iq_fits(element, f->subtype))
		return error_wanted(f->kind, f->subtype) ? INBOUND_ERROR : INBOUND_DROP;
	if (element->to.ptr != NULL) {
		*error = STANZA_ERROR_JID_MALFORMED;
		if (jid_prepare(element->to, to, &jid) != OK)
			return error_wanted(f->kind, f->subtype) ? INBOUND_ERROR : INBOUND_DROP;
		f->to = jid.full;
	}
	if (f->kind == STANZA_PRESENCE)
		f->number = (uint64_t)(element->priority + 128);
	return INBOUND_FINE;
}

/* Hands the session something that this daemon answers by itself. */
static void
answer(struct session *s, const struct frame *reply)
{
	struct kept *kept = NULL;
	struct frame f = *reply;

	f.from = f.from.ptr != NULL ? f.from : session_bare(s);
	f.to = session_jid(s);
	session_deliver(s, &f, &kept);
	kept_drop(&kept);
}

static void
answer_error(struct session *s, const struct xml_element *element, struct frame *f,
    enum stanza_error error)
{
	struct buf scratch = { 0 };
	struct frame reply;

	if (f->kind == STANZA_IQ && f->subtype == TYPE_NONE)
		f->subtype = TYPE_GET; /* of an unknown type: it is answered all the same */
	else if (f->subtype == TYPE_NONE)
		f->subtype = TYPE_PROBE;
	/* The address as the client wrote it, which need not be one: it must know what was
	 * wrong. */
	f->to = f->to.ptr != NULL ? f->to : element->to;
	f->from = session_jid(s);
	if (stanza_error_reply(f, error, SLICE_NONE, &scratch, &reply)) {
		COUNT(bounced);
		answer(s, &reply);
	}
	buf_free(&scratch);
}

/* Whether it is a request that the stream itself answers. */
static bool
is_for_stream(const struct frame *f)
{
	return f->kind == STANZA_IQ && f->subtype == TYPE_SET && (slice_is(f->ns, NS_BIND) ||
	    (slice_is(f->ns, NS_SESSION) && slice_is(f->name, "session")));
}

static void
answer_stream(struct session *s, const struct xml_element *element, struct frame *f)
{
	struct frame reply;

	if (slice_is(f->ns, NS_BIND)) {
		answer_error(s, element, f, STANZA_ERROR_NOT_ALLOWED); /* one resource a stream */
	} else {
		stanza_result(f, SLICE(""), &reply);
		answer(s, &reply);
	}
}

/* What a new router will have to know about this session. */
static void
take_note(struct session *s, const struct frame *f)
{
	bool own = f->to.ptr == NULL || slice_equal(f->to, session_bare(s));

	if (f->kind == STANZA_PRESENCE)
		presence_note(&s->presence, f);
	else if (f->kind != STANZA_IQ || !own)
		return;
	else if (f->subtype == TYPE_GET && slice_is(f->ns, NS_ROSTER))
		s->interested = true;
	else if (f->subtype == TYPE_GET && slice_is(f->ns, NS_BLOCKING))
		s->blocks = true;
	else if (f->subtype == TYPE_SET && slice_is(f->ns, NS_CARBONS) && slice_is(f->name, "enable"))
		s->carbons = true;
	else if (f->subtype == TYPE_SET && slice_is(f->ns, NS_CARBONS) && slice_is(f->name, "disable"))
		s->carbons = false;
}

void
inbound_element(struct conn *c, const struct xml_element *element)
{
	enum stanza_error error = STANZA_ERROR_NONE;
	enum inbound_verdict verdict;
	struct session *s = c->session;
	const char *condition;
	char to[JID_MAX + 1];
	struct frame f;

	COUNT(stanzas_in);
	verdict = inbound_frame(element, session_jid(s), session_bare(s), slice_string(s->lang),
	    to, &f, &error, &condition);
	if (verdict == INBOUND_STREAM_ERROR) {
		stream_error(c, condition, NULL, NULL);
		return;
	}
	if (verdict == INBOUND_FINE && !is_for_stream(&f)) {
		if (session_send(s, &f) == OK) {
			take_note(s, &f);
			return;
		}
		error = STANZA_ERROR_NOT_ACCEPTABLE; /* larger than a frame can be */
		verdict = INBOUND_ERROR;
	}
	session_handled(s);
	/* The answer may be one too many for its client, and end the session. */
	if (verdict == INBOUND_ERROR)
		answer_error(s, element, &f, error);
	else if (verdict == INBOUND_FINE)
		answer_stream(s, element, &f);
}
