/*
 * sasl.c: SASL negotiation (RFC 6120 section 6), relayed between a client and authd.
 *
 * Called by stream.c with elements of the SASL namespace, by sasl2.c with those of the newer profile,
 * by main.c with authd's answers. Nothing
 * here knows a mechanism. Each exchange has a handle of its own, so that an answer which comes
 * after the client has given up finds nobody.
 */
#include "c2sd.h"

#include <stdlib.h>

#include "counter.h"
#include "error.h"
#include "log.h"
#include "mem.h"
#include "ns.h"
#include "xmlout.h"

#define TRIALS_MAX 16 /* failed attempts of all kinds on one connection */

#define CODED_MAX 12288u /* of base64 */

/* Conditions that a client may be told (RFC 6120 section 6.5). */
static const char *const conditions[] = {
	"aborted", "account-disabled", "credentials-expired", "encryption-required",
	    "incorrect-encoding",
	"invalid-authzid", "invalid-mechanism", "malformed-request", "mechanism-too-weak",
	"not-authorized", "temporary-auth-failure", NULL
};

unsigned
sasl_bindings(struct conn *c)
{
	struct bindings b;
	unsigned bits;

	bindings_get(&c->net, &b);
	bits = (b.exporter.size != 0 ? BINDING_EXPORTER : 0u) |
	    (b.unique.size != 0 ? BINDING_UNIQUE : 0u) | (b.endpoint_len != 0 ?
	    BINDING_ENDPOINT : 0u);
	bindings_free(&b);
	return bits;
}

/* Ends the exchange on our side; what still comes for it finds nobody. */
static void
exchange_over(struct conn *c)
{
	if (c->stream != STREAM_LOGIN_WAIT)
		return;
	stream_forget(c);
	c->handle = handle_new();
	c->stream = STREAM_LOGIN;
}

/* "<failure/>" in the profile of RFC 6120. */
static void
failure(struct conn *c, const char *condition, struct slice text)
{
	struct buf *out = conn_out(c);

	buf_printf(out, "<failure xmlns='" NS_SASL "'><%s/>", condition);
	if (text.len > 0) {
		buf_add_string(out, "<text xml:lang='en'>");
		xml_add_text(out, text);
		buf_add_string(out, "</text>");
	}
	buf_add_string(out, "</failure>");
}

/* Tells the client that its attempt has failed, and ends the stream after too many. Only guesses
 * count as login-attempts: a client may try several mechanisms until one suits both sides. */
void
sasl_fail(struct conn *c, const char *condition, struct slice text)
{
	exchange_over(c);
	if (c->login->wishes != NULL)
		sasl2_failure(c, condition, text);
	else
		failure(c, condition, text);
	c->login->trials++;
	if (strcmp(condition, "not-authorized") == 0)
		c->login->failures++;
	if (c->login->failures >= settings.login_attempts || c->login->trials >= TRIALS_MAX)
		stream_error(c, "policy-violation", "too many failed attempts", NULL);
}

/* The value of a digit of base64, or -1. */
static int
digit(char c)
{
	static const char digits[] =
	    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
	const char *at = memchr(digits, c, sizeof digits - 1);

	return at != NULL ? (int)(at - digits) : -1;
}

/* Not done by GnuTLS, which leaves copies of it in memory: it may be a password. */
int
sasl_decode(struct slice text, struct buf *data)
{
	uint32_t bits = 0;
	size_t i, padding = 0;

	data->secret = true;
	if (text.len == 0)
		return OK;
	if (text.len > CODED_MAX || text.len % 4 != 0)
		return E_MALFORMED;
	buf_reserve(data, text.len);
	for (i = 0; i < text.len; i++) {
		bool pads = text.ptr[i] == '=' && i + 2 >= text.len;
		int value = pads ? 0 : digit(text.ptr[i]);

		if (value < 0 || (padding != 0 && !pads))
			return E_MALFORMED;
		padding += pads;
		bits = bits << 6 | (uint32_t)value;
		if (i % 4 != 3)
			continue;
		buf_add_char(data, (char)(bits >> 16));
		buf_add_char(data, (char)(bits >> 8));
		buf_add_char(data, (char)bits);
	}
	buf_truncate(data, buf_len(data) - padding);
	return OK;
}

void
sasl_encode(struct buf *out, struct slice data)
{
	gnutls_datum_t raw = { (unsigned char *)(uintptr_t)data.ptr, (unsigned)data.len };
	gnutls_datum_t coded = { NULL, 0 };

	if (data.len > 0 && gnutls_base64_encode2(&raw, &coded) == 0)
		buf_add(out, coded.data, coded.size);
	gnutls_free(coded.data);
}

/* "<name xmlns='ns'>base64</name>"; data absent: no content. */
static void
add_coded(struct buf *out, const char *name, const char *ns, struct slice data)
{
	buf_printf(out, "<%s xmlns='%s'", name, ns);
	if (data.ptr == NULL) {
		buf_add_string(out, "/>");
		return;
	}
	buf_add_char(out, '>');
	if (data.len == 0)
		buf_add_char(out, '=');
	sasl_encode(out, data);
	buf_printf(out, "</%s>", name);
}

/* Decodes what an element of RFC 6120 holds: there "=" is a message of no bytes. */
static int
decode(struct slice text, struct buf *data)
{
	return sasl_decode(slice_is(text, "=") ? SLICE("") : text, data);
}

/* -- what clients send ------------------------------------------------------------------------- */

/* What a client says of itself, and its wishes for a token (XEP-0484). */
static void
agent_tell(struct conn *c, const struct wishes *w, struct buf *words, struct frame *f)
{
	if (buf_len(&w->tasks) != 0)
		f->tasks = buf_slice(&w->tasks);
	if (w->agent[0] == '\0')
		return;
	buf_printf(words, "%s%s%s", w->software != NULL ? w->software : "",
	    w->software != NULL && w->device != NULL ? ", " : "",
	    w->device != NULL ? w->device : "");
	f->agent = slice_string(w->agent);
	f->node = buf_slice(words);
	f->stamp = w->count;
	f->flags |= w->invalidate ? FLAG_INVALIDATE : 0u;
	if (domain_offers_fast(c->domain, slice_string(w->wanted), sasl_bindings(c)))
		f->wanted = slice_string(w->wanted);
}

/* Whether a mechanism may be used on this stream: with a token another than without. */
static bool
offers(struct conn *c, struct slice mechanism)
{
	const struct wishes *w = c->login->wishes;
	unsigned bindings = sasl_bindings(c);

	if (mechanism.ptr == NULL)
		return false;
	return w != NULL && w->fast ? domain_offers_fast(c->domain, mechanism, bindings) :
	    domain_offers(c->domain, mechanism, bindings != 0);
}

static void
start_send(struct conn *c, struct slice mechanism, struct slice response)
{
	const struct wishes *w = c->login->wishes;
	struct buf offered = { 0 }, words = { 0 };
	struct bindings b;
	struct frame f = {
		.type = FRAME_AUTH_START,
		.flags = FLAG_TLS,
		.name = mechanism,
		.domain = slice_string(c->domain->name),
		.address = slice_string(conn_address(c)),
		.data = response,
		.from = slice_string(c->login->from),
		.number = tls_version(&c->net),
	};

	features_offered(&offered, slice_string(c->domain->mechanisms), sasl_bindings(c));
	f.text = buf_slice(&offered);
	bindings_get(&c->net, &b);
	if (b.exporter.size != 0)
		f.binding_exporter = slice_of(b.exporter.data, b.exporter.size);
	if (b.unique.size != 0)
		f.binding_unique = slice_of(b.unique.data, b.unique.size);
	if (b.endpoint_len != 0)
		f.binding_endpoint = slice_of(b.endpoint, b.endpoint_len);
	if (w != NULL)
		agent_tell(c, w, &words, &f);
	stream_know(c);
	f.handle = c->handle;
	daemon_send(&f);
	bindings_free(&b);
	buf_free(&offered);
	buf_free(&words);
	c->stream = STREAM_LOGIN_WAIT;
}

void
sasl_start(struct conn *c, struct slice mechanism, struct slice response)
{
	if (c->domain->mechanisms == NULL || !daemon_router_up() || uplink_congested())
		sasl_fail(c, "temporary-auth-failure", SLICE_NONE);
	else if (!offers(c, mechanism))
		sasl_fail(c, "invalid-mechanism", SLICE_NONE);
	else
		start_send(c, mechanism, response);
}

static void
on_auth(struct conn *c, const struct xml_element *element)
{
	struct buf data = { 0 };

	if (c->stream == STREAM_LOGIN_WAIT) {
		sasl_abandon(c); /* one exchange at a time */
		return;
	}
	if (decode(element->text, &data) != OK)
		sasl_fail(c, "incorrect-encoding", SLICE_NONE);
	else
		sasl_start(c, element_attribute(element, "mechanism"), element->text.len > 0 ?
		    buf_slice(&data) : SLICE_NONE);
	buf_free(&data);
}

void
sasl_step(struct conn *c, struct slice name, struct slice data)
{
	struct frame f = { .type = FRAME_AUTH_STEP, .handle = c->handle };

	f.name = name;
	f.data = data;
	daemon_send(&f);
}

void
sasl_confused(struct conn *c, const char *condition)
{
	struct frame f = { .type = FRAME_AUTH_ABORT, .handle = c->handle };

	if (c->stream == STREAM_LOGIN_WAIT)
		daemon_send(&f);
	sasl_fail(c, condition, SLICE_NONE);
}

void
sasl_respond(struct conn *c, struct slice text)
{
	struct buf data = { 0 };

	if (c->stream != STREAM_LOGIN_WAIT) {
		sasl_fail(c, "malformed-request", SLICE_NONE);
	} else if (sasl_decode(text, &data) != OK) {
		sasl_confused(c, "incorrect-encoding");
	} else {
		sasl_step(c, SLICE_NONE, buf_slice(&data));
	}
	buf_free(&data);
}

void
sasl_abort(struct conn *c)
{
	sasl_confused(c, "aborted");
}

void
sasl_element(struct conn *c, const struct xml_element *element)
{
	if (slice_is(element->name, "auth"))
		on_auth(c, element);
	else if (slice_is(element->name, "response"))
		sasl_respond(c, slice_is(element->text, "=") ? SLICE("") : element->text);
	else if (slice_is(element->name, "abort"))
		sasl_abort(c);
	else
		sasl_fail(c, "malformed-request", SLICE_NONE);
}

void
sasl_drop(struct conn *c)
{
	struct frame f = { .type = FRAME_AUTH_ABORT, .handle = c->handle };

	if (c->stream != STREAM_LOGIN_WAIT)
		return;
	daemon_send(&f);
	exchange_over(c);
}

void
sasl_abandon(struct conn *c)
{
	if (c->stream != STREAM_LOGIN_WAIT)
		return;
	sasl_drop(c);
	sasl_fail(c, daemon_router_up() ? "malformed-request" : "temporary-auth-failure",
	    SLICE_NONE);
}

/* -- what authd answers ------------------------------------------------------------------------ */

static void
on_success(struct conn *c, const struct frame *f)
{
	struct login *login = c->login;
	struct jid jid;

	if (jid_parse(f->jid, &jid) != OK || jid.resource.ptr != NULL ||
	    !slice_is(jid.domain, c->domain->name) || f->token.len != sizeof login->token) {
		log_error("grant refused", "jid=%s domain=%s", log_quote(f->jid), c->domain->name);
		sasl_abandon(c);
		return;
	}
	login->jid = slice_dup(f->jid);
	memcpy(login->token, f->token.ptr, sizeof login->token);
	log_info("login", "jid=%s address=%s handle=%016llx", login->jid, conn_address(c),
	    (unsigned long long)c->handle);
	if (login->wishes != NULL) {
		sasl2_granted(c, f);
		return;
	}
	add_coded(conn_out(c), "success", NS_SASL, f->data);
	stream_authenticated(c);
}

void
sasl_frame(struct conn *c, const struct frame *f)
{
	if (c->stream != STREAM_LOGIN_WAIT)
		return;
	if (f->type == FRAME_AUTH_CHALLENGE) {
		if (c->login->wishes != NULL)
			sasl2_challenge(c, f);
		else
			add_coded(conn_out(c), "challenge", NS_SASL, f->data.len > 0 ? f->data :
			    SLICE_NONE);
	} else if (f->type == FRAME_AUTH_FAILURE) {
		log_info("login failed", "address=%s domain=%s condition=%s",
		    conn_address(c), c->domain->name, log_quote(f->condition));
		sasl_fail(c, slice_among(f->condition, conditions, "not-authorized"), f->text);
	} else {
		on_success(c, f);
	}
}
