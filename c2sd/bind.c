/*
 * bind.c: resource binding (RFC 6120 section 7), and requests to register an account, which a
 * client may send before it has one (XEP-0077).
 *
 * Called by stream.c with elements, by main.c with the router's answers. While the router is away
 * a client that binds waits, and a new router is asked again.
 */
#include "c2sd.h"

#include <stdlib.h>

#include "error.h"
#include "log.h"
#include "mem.h"
#include "ns.h"
#include "xmlin.h"
#include "xmlout.h"

#define ATTEMPTS_MAX 10u
#define ID_MAX       1024u
#define TOKEN_MAX    128u  /* bytes of one that is kept */

/* Writes an iq error to a stream without a session. */
static void
add_error(struct conn *c, struct slice id, enum stanza_error error)
{
	struct frame f = { .type = FRAME_STANZA, .kind = STANZA_IQ, .subtype = TYPE_SET,
	    .id = id }, reply;
	struct buf scratch = { 0 };

	if (stanza_error_reply(&f, error, SLICE_NONE, &scratch, &reply))
		stanza_write(&reply, SLICE_NONE, SLICE_NONE, conn_out(c));
	buf_free(&scratch);
}

/* -- binding ----------------------------------------------------------------------------------- */

/* The error with this name; those that bind has no use for become internal-server-error. */
static enum stanza_error
error_of(struct slice condition)
{
	unsigned i;

	for (i = STANZA_ERROR_NONE + 1; i < STANZA_ERROR_COUNT; i++) {
		if (slice_is(condition, stanza_error_text((enum stanza_error)i)))
			return (enum stanza_error)i;
	}
	return STANZA_ERROR_INTERNAL_SERVER_ERROR;
}

/* Refuses to bind; the client may try again, but not for ever. */
static void
refuse(struct conn *c, struct slice id, enum stanza_error error)
{
	if (c->login->wishes != NULL) {
		sasl2_unbound(c, slice_string(stanza_error_text(error)));
		return;
	}
	add_error(c, id, error);
	c->stream = STREAM_BIND;
	if (++c->login->requests >= ATTEMPTS_MAX)
		stream_error(c, "policy-violation", "too many attempts to bind", NULL);
}

int
bind_resource(const struct xml_element *element, struct buf *scratch, char *prepared,
    struct slice *resource)
{
	struct xmlin_element bind, wanted, more;
	struct slice text;
	struct xmlin in;

	*resource = SLICE_NONE;
	if (!xmlin_find(element->payload, SLICE(NS_CLIENT), "bind", NS_BIND, &bind))
		return E_MALFORMED;
	xmlin_begin(&in, bind.content, bind.ns);
	if (!xmlin_child(&in, &wanted))
		return in.error;
	if (xmlin_child(&in, &more) || in.error || !slice_is(wanted.name, "resource") ||
	    !slice_is(wanted.ns, NS_BIND))
		return E_MALFORMED;
	/* Text and nothing else. */
	xmlin_begin(&in, wanted.content, wanted.ns);
	if (xmlin_child(&in, &more) || in.error || xmlin_text(&wanted, scratch, &text) != OK)
		return E_MALFORMED;
	return text.len == 0 ? OK : jid_prepare_resource(text, prepared, resource);
}

/* iq set with <bind/>. */
static void
on_bind(struct conn *c, const struct xml_element *element)
{
	char prepared[JID_PART_MAX + 1];
	struct buf scratch = { 0 };
	struct slice resource;
	int error;

	error = bind_resource(element, &scratch, prepared, &resource);
	if (element->id.len == 0 || element->id.len > ID_MAX || element->children != 1 ||
	    error != OK) {
		refuse(c, element->id, STANZA_ERROR_BAD_REQUEST);
	} else {
		MEM_FREE(&c->login->bind_id);
		MEM_FREE(&c->login->resource);
		c->login->bind_id = slice_dup(element->id);
		c->login->resource = slice_dup(resource);
		c->stream = STREAM_BIND_WAIT;
		bind_ask(c);
	}
	buf_free(&scratch);
}

void
bind_element(struct conn *c, const struct xml_element *element)
{
	bool iq = slice_is(element->ns, NS_CLIENT) && slice_is(element->name, "iq");

	if (iq && slice_is(element->type, "set") && slice_is(element->child_ns, NS_BIND) &&
	    slice_is(element->child_name, "bind"))
		on_bind(c, element);
	else if (slice_is(element->ns, NS_SM) && slice_is(element->name, "resume"))
		resume_element(c, element);
	else if (slice_is(element->ns, NS_SM) && slice_is(element->name, "enable"))
		management_failed(c, "unexpected-request", false, 0);
	else
		stream_error(c, "not-authorized", "bind a resource first", NULL);
}

void
bind_ask(struct conn *c)
{
	struct frame f = {
		.type = FRAME_SESSION_BIND,
		.handle = c->handle,
		.resource = slice_string(c->login->resource),
	};

	if (c->login->wishes != NULL)
		f.flags = (c->login->wishes->agent[0] != '\0' ? FLAG_INLINE : 0u) |
		    (c->login->wishes->carbons ? FLAG_CARBONS : 0u);
	daemon_send(&f);
}

/* The answer to <bind/> of RFC 6120. */
static void
add_bound(struct conn *c, struct slice jid)
{
	struct buf *out = conn_out(c);

	buf_add_string(out, "<iq type='result'");
	xml_add_attribute(out, "id", slice_string(c->login->bind_id));
	buf_add_string(out, "><bind xmlns='" NS_BIND "'>");
	xml_add_element(out, "jid", jid);
	buf_add_string(out, "</bind></iq>");
}

void
bind_done(struct conn *c, struct session *s)
{
	session_attach(s, c);
	log_info("session bound", "jid=%s address=%s handle=%016llx", s->jid,
	    conn_address(c), (unsigned long long)s->handle);
}

/* The resource is bound: the session begins. */
static void
on_bound(struct conn *c, const struct frame *f)
{
	struct session *s;
	struct jid jid;

	if (jid_parse(f->jid, &jid) != OK || jid.resource.ptr == NULL ||
	    !slice_is(jid_bare(&jid), c->login->jid)) {
		log_error("binding refused", "jid=%s account=%s", log_quote(f->jid), c->login->jid);
		refuse(c, slice_string(c->login->bind_id), STANZA_ERROR_INTERNAL_SERVER_ERROR);
		return;
	}
	s = session_new(c->handle, f->jid, c->login->token);
	feed_from(s, f->archive_id);
	s->copies_since = f->archive_id;
	if (c->login->wishes != NULL) {
		s->carbons = c->login->wishes->carbons;
		metadata_ask(c, s);
		return;
	}
	add_bound(c, f->jid);
	bind_done(c, s);
}

void
bind_answer(struct conn *c, const struct frame *f)
{
	if (c->stream != STREAM_BIND_WAIT || c->login->arriving != NULL)
		return;
	if (f->type == FRAME_SESSION_BOUND)
		on_bound(c, f);
	else
		refuse(c, slice_string(c->login->bind_id), error_of(f->condition));
}

/* -- registration ------------------------------------------------------------------------------ */

static bool
is_preauth(const struct xml_element *element)
{
	return slice_is(element->child_ns, NS_PARS) && slice_is(element->child_name, "preauth");
}

/* Keeps the token that a stream shows; it counts when authd has found it good. */
static void
token_take(struct login *login, const struct xml_element *element)
{
	struct xmlin_element preauth;
	struct buf scratch = { 0 };
	struct slice token;

	MEM_FREE(&login->invite);
	MEM_FREE(&login->invite_id);
	if (xmlin_find(element->payload, SLICE(NS_CLIENT), "preauth", NS_PARS, &preauth) &&
	    xmlin_attribute(&preauth, "token", &scratch, &token) == OK && token.len <= TOKEN_MAX) {
		login->invite = slice_dup(token);
		login->invite_id = slice_dup(element->id);
	}
	buf_free(&scratch);
}

void
register_element(struct conn *c, const struct xml_element *element)
{
	bool get = slice_is(element->type, "get");
	struct frame f = {
		.type = FRAME_STANZA,
		.kind = STANZA_IQ,
		.subtype = get ? TYPE_GET : TYPE_SET,
		.flags = element->flags & FLAG_FROM_ENTRY,
		.id = element->id,
		.to = slice_string(c->domain->name),
		.lang = element->lang.ptr != NULL ? element->lang : slice_string(c->lang),
		.payload = element->payload,
		.name = element->child_name,
		.ns = element->child_ns,
		.address = slice_string(conn_address(c)),
	};
	uint64_t seq;
	size_t len;

	if (!c->domain->registration || (!slice_is(element->child_ns, NS_REGISTER) &&
	    !is_preauth(element)) || (!get && !slice_is(element->type, "set"))) {
		stream_error(c, "not-authorized", "authenticate first", NULL);
	} else if (element->id.len == 0 || element->children != 1) {
		add_error(c, element->id, STANZA_ERROR_BAD_REQUEST);
	} else if (++c->login->requests > ATTEMPTS_MAX) {
		stream_error(c, "policy-violation", "too many requests", NULL);
	} else if (!daemon_router_up()) {
		add_error(c, element->id, STANZA_ERROR_RESOURCE_CONSTRAINT);
	} else {
		stream_know(c);
		f.handle = c->handle;
		if (is_preauth(element))
			token_take(c->login, element);
		else if (c->login->invite_id == NULL)
			f.token = slice_string(c->login->invite);
		uplink_send(NULL, &f, &seq, &len);
	}
}

void
register_answer(struct conn *c, const struct frame *f)
{
	if (c->login != NULL && c->login->invite_id != NULL && slice_is(f->id, c->login->invite_id)) {
		if (f->subtype != TYPE_RESULT)
			MEM_FREE(&c->login->invite);
		MEM_FREE(&c->login->invite_id);
	}
	if (c->login != NULL && (c->stream == STREAM_LOGIN || c->stream == STREAM_LOGIN_WAIT))
		stanza_write(f, SLICE_NONE, SLICE_NONE, conn_out(c));
}
