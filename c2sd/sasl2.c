/*
 * sasl2.c: the SASL profile of XEP-0388, whose stream goes on after success without a new header.
 *
 * Called by stream.c with elements of its namespace, by sasl.c when authd has granted an account.
 * The exchange itself, its limits and its failures are those of sasl.c: a stream with wishes
 * (c->login->wishes) has begun one in this profile, and they go when it ends.
 *
 * Between the client's proof and success may be tasks (XEP-0480), one after the other: <continue/>, <next/>,
 * <task-data/> with a salt, <task-data/> with a hash. c2sd passes on what authd and the client say.
 *
 *   <authenticate/> -> (sasl.c, authd) -> granted -> wants to resume -> resumed -> <success/>
 *                                            |              | failed
 *                                            +--------------+-> wants to bind -> bound -> <success/>,
 *                                                                      |            ^     features
 *                                                                      '------------+
 * What was wished for is done before <success/> is written, which says how it went (XEP-0386,
 * XEP-0198 section "SASL2 And BIND2 Interaction").
 */
#include "c2sd.h"

#include "error.h"
#include "log.h"
#include "mem.h"
#include "ns.h"
#include "xmlout.h"

#define TOKEN_MAX 1024u

static void
on_authenticate(struct conn *c, const struct xml_element *element)
{
	struct wishes *w = c->login->wishes;
	const char *condition = authenticate_read(element, w);

	if (condition == NULL && w->version != NULL &&
	    strcmp(w->version, c->login->version) != 0) {
		w->mismatch = true;
		condition = "aborted";
	}
	if (condition != NULL)
		sasl_fail(c, condition, SLICE_NONE);
	else
		sasl_start(c, element_attribute(element, "mechanism"), w->has_data ?
		    buf_slice(&w->data) : SLICE_NONE);
	/* A failure has taken them away. */
	if (c->login != NULL && c->login->wishes != NULL)
		buf_free(&c->login->wishes->data);
}

/* Base64 between tags, when there is anything. */
static void
add_data(struct buf *out, const char *before, struct slice data, const char *after)
{
	if (data.ptr == NULL)
		return;
	buf_add_string(out, before);
	sasl_encode(out, data);
	buf_add_string(out, after);
}

/* The client begins the task that was offered (XEP-0480); authd compares the names. */
static void
on_next(struct conn *c, const struct xml_element *element)
{
	struct slice name = element_attribute(element, "task");

	if (c->login->wishes->task != TASK_OFFERED || name.len == 0)
		sasl_confused(c, "malformed-request");
	else
		sasl_step(c, name, SLICE_NONE);
}

static void
on_task_data(struct conn *c, const struct xml_element *element)
{
	struct buf data = { 0 };

	if (c->login->wishes->task != TASK_BEGUN || task_data_read(element, &data) != OK)
		sasl_confused(c, "malformed-request");
	else
		sasl_step(c, SLICE_NONE, buf_slice(&data));
	buf_free(&data);
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
	else if (waits && slice_is(element->name, "next"))
		on_next(c, element);
	else if (waits && slice_is(element->name, "task-data"))
		on_task_data(c, element);
	else if (slice_is(element->name, "response") && c->login->wishes->task == TASK_NONE)
		sasl_respond(c, element->text);
	else if (slice_is(element->name, "abort"))
		sasl_abort(c);
	else
		sasl_confused(c, "malformed-request");
}

void
sasl2_challenge(struct conn *c, const struct frame *f)
{
	struct wishes *w = c->login->wishes;
	struct buf *out = conn_out(c);

	if (f->name.ptr != NULL) {
		w->task = TASK_OFFERED;
		buf_add_string(out, "<continue xmlns='" NS_SASL2 "'>");
		add_data(out, "<additional-data>", f->data, "</additional-data>");
		buf_add_string(out, "<tasks>");
		xml_add_element(out, "task", f->name);
		buf_add_string(out, "</tasks></continue>");
	} else if (f->number != 0) {
		w->task = TASK_BEGUN;
		buf_printf(out, "<task-data xmlns='" NS_SASL2 "'><salt xmlns='" NS_SCRAM_UPGRADE
		    "' iterations='%llu'>", (unsigned long long)f->number);
		sasl_encode(out, f->data);
		buf_add_string(out, "</salt></task-data>");
	} else if (f->data.len > 0) {
		add_data(out, "<challenge xmlns='" NS_SASL2 "'>", f->data, "</challenge>");
	} else {
		buf_add_string(out, "<challenge xmlns='" NS_SASL2 "'/>");
	}
}

void
sasl2_failure(struct conn *c, const char *condition, struct slice text)
{
	struct buf *out = conn_out(c);

	buf_printf(out, "<failure xmlns='" NS_SASL2 "'><%s xmlns='" NS_SASL "'/>", condition);
	if (c->login->wishes != NULL && c->login->wishes->mismatch)
		buf_add_string(out, "<config-version-mismatch xmlns='" NS_IAP "'/>");
	if (text.len > 0)
		xml_add_element(out, "text", text);
	buf_add_string(out, "</failure>");
	wishes_free(&c->login->wishes);
}

/* Begins <success/>. */
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

/* The new token, and it is gone from here: from the output too, when that has been sealed. */
static void
add_token(struct conn *c)
{
	struct wishes *w = c->login->wishes;
	struct buf *out = conn_out(c);
	char stamp[32];

	if (buf_len(&w->token) == 0)
		return;
	out->secret = true;
	stanza_stamp(w->token_expiry, stamp);
	buf_printf(out, "<token xmlns='" NS_FAST "' expiry='%s'", stamp);
	xml_add_attribute(out, "token", buf_slice(&w->token));
	buf_add_string(out, "/>");
	buf_free(&w->token);
}

/* <success/> for who authenticated or was bound as jid; s: the session that it was bound to, or
 * NULL; metadata: of its archive, absent when it is not known. */
static void
success(struct conn *c, struct slice jid, struct session *s, struct slice metadata)
{
	struct wishes *w = c->login->wishes;
	struct buf *out = conn_out(c);

	success_begin(c, jid);
	if (w->unresumed != NULL)
		buf_printf(out, "<failed xmlns='" NS_SM "'><%s xmlns='" NS_STANZAS "'/></failed>",
		    w->unresumed);
	add_token(c);
	if (s != NULL) {
		buf_add_string(out, "<bound xmlns='" NS_BIND2 "'>");
		if (metadata.ptr != NULL)
			buf_add_slice(out, metadata);
		if (w->enable)
			management_enable(s, w->enable_resume, w->enable_max, out);
		buf_add_string(out, "</bound>");
	}
	buf_add_string(out, "</success>");
	stream_features(c, s != NULL);
	wishes_free(&c->login->wishes);
}

/* Binds a resource, if that was wished for. */
static void
go_on(struct conn *c)
{
	struct login *login = c->login;
	struct buf resource = { 0 };

	if (!login->wishes->bind) {
		c->stream = STREAM_BIND;
		success(c, slice_string(login->jid), NULL, SLICE_NONE);
		return;
	}
	wishes_resource(login->wishes, slice_string(login->jid), &resource);
	MEM_FREE(&login->resource);
	login->resource = slice_dup(buf_slice(&resource));
	buf_free(&resource);
	c->stream = STREAM_BIND_WAIT;
	bind_ask(c);
}

void
sasl2_granted(struct conn *c, const struct frame *f)
{
	struct wishes *w = c->login->wishes;

	if (w->software != NULL || w->device != NULL)
		log_info("client", "jid=%s software=%s device=%s", c->login->jid,
		    log_quote(slice_string(w->software)), log_quote(slice_string(w->device)));
	w->has_final = f->data.ptr != NULL;
	buf_add_slice(&w->final, f->data);
	buf_add_slice(&w->token, slice_part(f->text, 0, TOKEN_MAX));
	w->token_expiry = f->stamp;
	stream_granted(c);
	if (w->resume)
		resume_begin(c, slice_string(w->previd), slice_string(w->h));
	else
		go_on(c);
}

void
sasl2_bound(struct conn *c, struct session *s, struct slice metadata)
{
	if (c->login->wishes->inactive)
		csi_begin(s);
	success(c, session_jid(s), s, metadata);
}

/* It has authenticated all the same: it may bind by RFC 6120, and see what is wrong. */
void
sasl2_unbound(struct conn *c, struct slice condition)
{
	log_info("binding failed", "jid=%s condition=%s", c->login->jid, log_quote(condition));
	c->stream = STREAM_BIND;
	success(c, slice_string(c->login->jid), NULL, SLICE_NONE);
}

/* No features follow: the stream goes on where the other was broken (XEP-0198). */
void
sasl2_resumed(struct conn *c, const struct session *s)
{
	struct buf *out = conn_out(c);

	success_begin(c, session_bare(s));
	add_resumed(out, s);
	add_token(c);
	buf_add_string(out, "</success>");
}

void
sasl2_unresumed(struct conn *c, const char *condition)
{
	c->login->wishes->unresumed = condition;
	go_on(c);
}
