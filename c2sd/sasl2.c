/*
 * sasl2.c: the SASL profile of XEP-0388, whose stream goes on after success without a new header.
 *
 * Called by stream.c with elements of its namespace, by sasl.c when authd has granted an account.
 * The exchange itself, its limits and its failures are those of sasl.c: a stream with wishes
 * (c->login->wishes) has begun one in this profile, and they go when it ends.
 *
 *   <authenticate/> -> (sasl.c, authd) -> granted -> <success/>, features
 */
#include "c2sd.h"

#include "log.h"
#include "mem.h"
#include "ns.h"
#include "xmlout.h"

static void
on_authenticate(struct conn *c, const struct xml_element *element)
{
	struct wishes *w = c->login->wishes;
	const char *condition = authenticate_read(element, w);

	if (condition != NULL)
		sasl_fail(c, condition, SLICE_NONE);
	else
		sasl_start(c, element_attribute(element, "mechanism"), w->has_data ?
		    buf_slice(&w->data) : SLICE_NONE);
	/* A failure has taken them away. */
	if (c->login != NULL && c->login->wishes != NULL)
		buf_free(&c->login->wishes->data);
}

void
sasl2_element(struct conn *c, const struct xml_element *element)
{
	bool waits = c->stream == STREAM_LOGIN_WAIT;

	/* While an exchange is under way there is nothing else. */
	if (waits && (c->login->wishes == NULL || slice_is(element->name, "authenticate"))) {
		stream_error(c, "policy-violation", "one authentication at a time", NULL);
		return;
	}
	if (!waits)
		c->login->wishes = wishes_new();
	if (slice_is(element->name, "authenticate"))
		on_authenticate(c, element);
	else if (slice_is(element->name, "response"))
		sasl_respond(c, element->text);
	else if (slice_is(element->name, "abort"))
		sasl_abort(c);
	else
		sasl_fail(c, "malformed-request", SLICE_NONE);
}

void
sasl2_failure(struct conn *c, const char *condition, struct slice text)
{
	struct buf *out = conn_out(c);

	buf_printf(out, "<failure xmlns='" NS_SASL2 "'><%s xmlns='" NS_SASL "'/>", condition);
	if (text.len > 0)
		xml_add_element(out, "text", text);
	buf_add_string(out, "</failure>");
	wishes_free(&c->login->wishes);
}

/* Begins <success/> for who authenticated or was bound as jid. */
static void
success_begin(struct conn *c, struct slice jid)
{
	struct wishes *w = c->login->wishes;
	struct buf *out = conn_out(c);

	buf_add_string(out, "<success xmlns='" NS_SASL2 "'>");
	if (w->has_final) {
		buf_add_string(out, "<additional-data>");
		sasl_encode(out, buf_slice(&w->final));
		buf_add_string(out, "</additional-data>");
	}
	xml_add_element(out, "authorization-identifier", jid);
}

void
sasl2_granted(struct conn *c, struct slice data)
{
	struct wishes *w = c->login->wishes;

	if (w->software != NULL || w->device != NULL)
		log_info("client", "jid=%s software=%s device=%s", c->login->jid,
		    log_quote(slice_string(w->software)), log_quote(slice_string(w->device)));
	w->has_final = data.ptr != NULL;
	buf_add_slice(&w->final, data);
	stream_granted(c);
	success_begin(c, slice_string(c->login->jid));
	buf_add_string(conn_out(c), "</success>");
	features_bound(conn_out(c), slice_string(c->domain->caps));
	wishes_free(&c->login->wishes);
}
