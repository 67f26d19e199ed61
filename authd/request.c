/*
 * request.c: IQ requests to accounts and domains: finds who handles a namespace, checks what came,
 * and answers. Called by main.c; what is wrong with a request is answered with a stanza error.
 */
#include "authd.h"
#include "log.h"

static const struct {
	const char *ns;
	const char *name;
	bool strangers; /* those who are not authenticated may ask */
	void (*handle)(const struct request *r);
} handlers[] = {
	{ NS_ROSTER, "query", false, roster_iq },
	{ NS_VCARD, "vCard", false, vcard_iq },
	{ NS_PRIVATE, "query", false, private_iq },
	{ NS_BLOCKING, NULL, false, block_iq }, /* three names */
	{ NS_PUSH, NULL, false, push_iq },         /* two names */
	{ NS_REGISTER, "query", true, register_iq },
	{ NS_LAST, "query", false, last_iq },
	{ NS_EXTDISCO, NULL, false, extdisco_iq }, /* two names */
	{ NS_PARS, "preauth", true, register_preauth },
};

static struct buf remembered; /* frames without payload, until the commit */

void
request_answer(const struct frame *f, struct slice payload)
{
	struct frame reply;

	stanza_result(f, payload, &reply);
	out_send(&reply);
}

void
request_refuse(const struct frame *f, enum stanza_error error, const char *text)
{
	struct buf scratch = { 0 };
	struct frame reply;

	if (stanza_error_reply(f, error, slice_string(text), &scratch, &reply))
		out_send(&reply);
	buf_free(&scratch);
}

/* Reads the one child of a request. */
static int
query_read(const struct frame *f, const char *name, struct xmlin_element *query)
{
	struct xmlin in;
	struct xmlin_element second;

	if (f->payload.ptr == NULL)
		return E_MALFORMED;
	xmlin_begin(&in, f->payload, SLICE(NS_CLIENT));
	if (!xmlin_child(&in, query) || xmlin_child(&in, &second) || in.error)
		return E_MALFORMED;
	return slice_equal(query->ns, f->ns) && (name == NULL || slice_is(query->name, name)) ? OK
	    : E_MALFORMED;
}

/* Whether the account that is asked has blocked who asks: then it looks as if it were not there. */
static bool
is_blocked(const struct request *r)
{
	struct account a;

	return !r->own && r->from.ptr != NULL && account_find(r->account, &a) == OK &&
	    block_covers(a.id, r->f->from);
}

/* Reads the addresses of a request: the router has stamped `from`, but it is checked again. */
static int
addresses_read(const struct frame *f, struct request *r)
{
	struct jid from, to;

	if (f->from.ptr != NULL) {
		if (jid_parse(f->from, &from) != OK)
			return E_MALFORMED;
		r->from = jid_bare(&from);
		r->account = r->from;
	}
	if (f->to.ptr != NULL) {
		if (jid_parse(f->to, &to) != OK)
			return E_MALFORMED;
		r->account = jid_bare(&to);
	}
	r->own = r->from.ptr != NULL && slice_equal(r->from, r->account);
	return r->account.ptr != NULL ? OK : E_MALFORMED;
}

void
request_handle(const struct frame *f, bool repeated, uint64_t now)
{
	struct request r = { .f = f, .set = f->subtype == TYPE_SET, .repeated = repeated,
		.now = now };
	size_t i, count = sizeof handlers / sizeof handlers[0];

	if (f->subtype != TYPE_GET && f->subtype != TYPE_SET)
		return;
	if (addresses_read(f, &r) != OK) {
		log_warn("request refused", "from=%s to=%s reason=address", log_quote(f->from),
		    log_quote(f->to));
		request_refuse(f, STANZA_ERROR_BAD_REQUEST, NULL);
		return;
	}
	for (i = 0; i < count; i++) {
		if (slice_is(f->ns, handlers[i].ns))
			break;
	}
	if (i == count || is_blocked(&r))
		request_refuse(f, STANZA_ERROR_SERVICE_UNAVAILABLE, NULL);
	else if (r.from.ptr == NULL && !handlers[i].strangers)
		request_refuse(f, STANZA_ERROR_NOT_AUTHORIZED, NULL);
	else if (query_read(f, handlers[i].name, &r.query) != OK)
		request_refuse(f, STANZA_ERROR_BAD_REQUEST, NULL);
	else
		handlers[i].handle(&r);
}

/* -- when the commit fails -- */

void
request_remember(const struct frame *f)
{
	struct frame head = *f;

	head.payload = SLICE_NONE;
	frame_write(&head, &remembered);
}

void
request_committed(void)
{
	buf_clear(&remembered);
	buf_trim(&remembered, 65536);
}

void
request_failed(int error)
{
	enum stanza_error condition = error == E_FULL ? STANZA_ERROR_RESOURCE_CONSTRAINT :
	    STANZA_ERROR_INTERNAL_SERVER_ERROR;
	struct slice rest = buf_slice(&remembered), whole;
	struct frame f;

	while (frame_next(rest, &whole) == OK) {
		rest = slice_part(rest, whole.len, rest.len);
		if (frame_read(whole, &f) == OK)
			request_refuse(&f, condition, NULL);
	}
	request_committed();
}
