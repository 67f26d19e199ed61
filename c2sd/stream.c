/*
 * stream.c: XML streams of clients (RFC 6120 section 4): headers, features, errors, closing, and
 * their time.
 *
 * Called by conn.c with the bytes that were read, through xml.h; sasl.c, bind.c, inbound.c do what
 * happens within. The states are drawn in c2sd.h. What a client does wrong ends its stream with
 * the error that RFC 6120 names.
 */
#include "c2sd.h"

#include <stdlib.h>

#include <gnutls/crypto.h>

#include "counter.h"
#include "error.h"
#include "log.h"
#include "map.h"
#include "mem.h"
#include "ns.h"
#include "xmlout.h"

#define LANG_MAX 64u /* RFC 5646 has tags of 35 characters at most */

static struct map *streams; /* by handle */

/* Child elements of stanzas that only we may set. */
static const struct slice strip[] = {
	{ NS_SID, sizeof NS_SID - 1 },
	{ NS_CARBONS, sizeof NS_CARBONS - 1 },
	{ NS_OCCUPANT_ID, sizeof NS_OCCUPANT_ID - 1 },
	{ NS_ONCE, sizeof NS_ONCE - 1 },
	{ NULL, 0 },
};

/* -- handles ----------------------------------------------------------------------------------- */

uint64_t
handle_new(void)
{
	static uint32_t counter;

	return HANDLE(daemon_incarnation(), ++counter);
}

struct conn *
stream_find(uint64_t handle)
{
	return streams != NULL ? map_get(streams, slice_of(&handle, sizeof handle)) : NULL;
}

void
stream_know(struct conn *c)
{
	if (streams == NULL)
		streams = map_new();
	if (!c->known)
		map_put(streams, slice_of(&c->handle, sizeof c->handle), c);
	c->known = true;
}

void
stream_forget(struct conn *c)
{
	if (c->known)
		map_remove(streams, slice_of(&c->handle, sizeof c->handle));
	c->known = false;
}

/* -- beginning and end ------------------------------------------------------------------------- */

void
stream_begin(struct conn *c, uint64_t login_time)
{
	c->stream = c->direct ? STREAM_TLS : STREAM_HEADER;
	c->handle = handle_new();
	c->login = mem_alloc(sizeof *c->login);
	c->login->until = daemon_ticks() + login_time;
	c->xml = xml_stream_new(&settings.login_limits, strip, &stream_events, c);
	deadline_set(&c->net.deadline, login_time);
}

static void
login_free(struct conn *c)
{
	struct login *login = c->login;

	c->login = NULL;
	if (login == NULL)
		return;
	if (login->arriving != NULL) {
		session_take_later(login->arriving, &login->later);
		session_end(login->arriving, "resumption interrupted");
	}
	free(login->jid);
	free(login->bind_id);
	free(login->resource);
	free(login->previd);
	free(login->from);
	free(login->invite);
	free(login->invite_id);
	wishes_free(&login->wishes);
	free(login);
}

/* Gives back what authd and the router hold for a stream that ends before it is bound. */
static void
login_abandon(struct conn *c)
{
	struct frame f = { .type = FRAME_SESSION_END, .handle = c->handle,
	    .condition = SLICE("not bound") };

	if (c->login == NULL)
		return;
	if (c->stream == STREAM_LOGIN_WAIT)
		sasl_drop(c);
	else if (c->login->jid != NULL && c->login->arriving == NULL)
		daemon_send(&f); /* one that is arriving says so when its frames are taken */
	stream_forget(c);
	login_free(c);
}

void
stream_bound(struct conn *c)
{
	stream_forget(c);
	login_free(c);
	c->stream = STREAM_BOUND;
	stream_rearm(c);
}

void
stream_lost(struct conn *c, const char *why)
{
	struct session *s = c->session;

	if (s != NULL) {
		c->session = NULL;
		session_lost(s, false, why);
	} else if (c->login != NULL) {
		log_debug("connection lost", "address=%s reason=\"%s\"", conn_address(c),
		    why);
		login_abandon(c);
	}
	c->stream = STREAM_ENDED;
	conn_close(c);
}

/* -- headers ----------------------------------------------------------------------------------- */

/* Sends our header. from: what the client's header had, or absent. */
static void
send_header(struct conn *c, struct slice from)
{
	struct domain *domain = c->domain != NULL ? c->domain : domain_default();
	unsigned char id[16];
	struct buf *out = conn_out(c);

	gnutls_rnd(GNUTLS_RND_NONCE, id, sizeof id);
	buf_add_string(out,
	    "<?xml version='1.0'?><stream:stream xmlns='" NS_CLIENT "' xmlns:stream='"
	    NS_STREAM "' id='");
	buf_add_hex(out, id, sizeof id);
	buf_add_char(out, '\'');
	if (domain != NULL)
		xml_add_attribute(out, "from", slice_string(domain->name));
	xml_add_attribute(out, "to", from);
	buf_add_string(out, " version='1.0' xml:lang='en'>");
	c->header_sent = true;
}

/* Whether a version is 1.0 or later (RFC 6120 section 4.7.5). */
static bool
version_supported(struct slice version)
{
	const char *dot = version.ptr != NULL ? memchr(version.ptr, '.', version.len) : NULL;
	uint64_t major, minor;
	size_t len;

	if (dot == NULL)
		return false;
	len = (size_t)(dot - version.ptr);
	return slice_number(slice_part(version, 0, len), 1000, &major) == OK &&
	    slice_number(slice_part(version, len + 1, version.len), 1000000, &minor) == OK &&
	    major >= 1;
}

/* Checks to whom the header is addressed; sets c->domain. NULL when it is fine. */
static const char *
check_to(struct conn *c, struct slice to)
{
	char prepared[JID_PART_MAX + 1];
	struct domain *domain;
	struct slice name;

	if (to.ptr == NULL)
		return "improper-addressing";
	if (jid_prepare_domain(to, prepared, &name) != OK)
		return "host-unknown";
	domain = domain_find(name);
	if (domain == NULL)
		return "host-unknown";
	if (c->stream == STREAM_BIND_HEADER && c->domain != domain)
		return "not-authorized";
	c->domain = domain;
	return NULL;
}

/* Checks from whom it is; *from becomes the prepared address. NULL when it is fine. */
static const char *
check_from(const struct conn *c, char *prepared, struct slice *from)
{
	struct jid jid;

	if (from->ptr == NULL)
		return NULL;
	if (jid_prepare(*from, prepared, &jid) != OK) {
		*from = SLICE_NONE;
		return "invalid-from";
	}
	*from = jid.full;
	if (c->domain != NULL && !slice_is(jid.domain, c->domain->name))
		return "invalid-from";
	if (c->login != NULL && c->login->jid != NULL && !slice_is(jid_bare(&jid), c->login->jid))
		return "invalid-from";
	return NULL;
}

/* The condition of what is wrong with a header, NULL when it is fine. */
static const char *
check_header(struct conn *c, const struct xml_header *h, char *prepared, struct slice *from)
{
	const char *to_wrong, *from_wrong;

	to_wrong = check_to(c, h->to);
	from_wrong = check_from(c, prepared, from);
	if (!slice_is(h->ns, NS_STREAM))
		return "invalid-namespace";
	if (!slice_is(h->name, "stream"))
		return "bad-format";
	if (!slice_is(h->content_ns, NS_CLIENT))
		return "invalid-namespace";
	if (to_wrong != NULL)
		return to_wrong;
	if (from_wrong != NULL)
		return from_wrong;
	return version_supported(h->version) ? NULL : "unsupported-version";
}

static void
set_lang(struct conn *c, struct slice lang)
{
	MEM_FREE(&c->lang);
	if (lang.len > 0 && lang.len <= LANG_MAX)
		c->lang = slice_dup(lang);
}

static void
login_features(struct conn *c)
{
	struct feature_login offer = {
		.mechanisms = slice_string(c->domain->mechanisms),
		.fast = slice_string(c->domain->fast),
		.registration = c->domain->registration,
		.client_state = settings.client_state,
		.limits = { settings.login_bytes, settings.login_time / 1000 },
	};

	if (c->domain->mechanisms == NULL) {
		c->login->features_owed = true;
		stream_know(c);
		return;
	}
	c->login->features_owed = false;
	offer.bindings = sasl_bindings(c);
	features_login(conn_out(c), &offer, c->login->version);
}

void
stream_features(struct conn *c, bool bound)
{
	const struct feature_limits limits = {
		settings.limits.stanza_bytes, settings.idle_time / 1000
	};

	features_bound(conn_out(c), bound, slice_string(c->domain->caps), &limits,
	    settings.client_state);
}

static void
on_header(void *arg, const struct xml_header *h)
{
	struct conn *c = arg;
	char prepared[JID_MAX + 1];
	struct slice from = h->from;
	const char *wrong;

	if (c->stream == STREAM_ENDED || !conn_is_open(c))
		return;
	if (c->stream != STREAM_HEADER && c->stream != STREAM_LOGIN_HEADER &&
	    c->stream != STREAM_BIND_HEADER) {
		stream_error(c, "bad-format", "a header was not expected", NULL);
		return;
	}
	wrong = check_header(c, h, prepared, &from);
	set_lang(c, h->lang);
	send_header(c, from);
	if (wrong != NULL) {
		stream_error(c, wrong, NULL, NULL);
		return;
	}
	xml_stream_set_domain(c->xml, slice_string(c->domain->name));
	MEM_FREE(&c->login->from);
	c->login->from = slice_dup(jid_bare_of(from));
	if (c->stream == STREAM_HEADER) {
		features_starttls(conn_out(c));
		c->stream = STREAM_STARTTLS;
	} else if (c->stream == STREAM_LOGIN_HEADER) {
		login_features(c);
		c->stream = STREAM_LOGIN;
	} else {
		stream_features(c, false);
		c->stream = STREAM_BIND;
	}
}

void
stream_secured(struct conn *c)
{
	c->stream = STREAM_LOGIN_HEADER;
	c->header_sent = false;
	xml_stream_restart(c->xml);
}

void
stream_authenticated(struct conn *c)
{
	c->stream = STREAM_BIND_HEADER;
	c->header_sent = false;
	xml_stream_free(&c->xml);
	c->xml = xml_stream_new(&settings.limits, strip, &stream_events, c);
	xml_stream_set_domain(c->xml, slice_string(c->domain->name));
}

void
stream_granted(struct conn *c)
{
	c->stream = STREAM_BIND;
	xml_stream_set_limits(c->xml, &settings.limits);
}

/* -- errors and the end ------------------------------------------------------------------------ */

void
stream_error_only(struct conn *c, const char *condition, const char *text, const char *extra)
{
	struct buf *out;

	if (c->stream == STREAM_ENDED || !conn_is_open(c))
		return;
	COUNT(stream_errors);
	log_info("stream error", "address=%s jid=%s condition=%s text=%s", conn_address(c),
	    c->session != NULL ? log_quote(session_jid(c->session)) : "\"\"", condition,
	    log_quote(slice_string(text != NULL ? text : "")));
	if (!c->header_sent)
		send_header(c, SLICE_NONE);
	out = conn_out(c);
	buf_printf(out, "<stream:error><%s xmlns='" NS_STREAMS "'/>", condition);
	if (text != NULL) {
		buf_add_string(out, "<text xmlns='" NS_STREAMS "' xml:lang='en'>");
		xml_add_text(out, slice_string(text));
		buf_add_string(out, "</text>");
	}
	if (extra != NULL)
		buf_add_string(out, extra);
	buf_add_string(out, "</stream:error></stream:stream>");
	login_abandon(c);
	c->stream = STREAM_ENDED;
	xml_stream_stop(c->xml);
	conn_finish(c);
}

void
stream_error(struct conn *c, const char *condition, const char *text, const char *extra)
{
	struct session *s = c->session;

	stream_error_only(c, condition, text, extra);
	if (s != NULL && c->session == s) {
		c->session = NULL;
		session_lost(s, true, condition);
	}
}

/* The client has closed its stream: so do we. */
static void
on_end(void *arg)
{
	struct conn *c = arg;
	struct session *s = c->session;

	if (c->stream == STREAM_ENDED || !conn_is_open(c))
		return;
	if (!c->header_sent) {
		stream_error(c, "bad-format", NULL, NULL);
		return;
	}
	conn_flush(c);
	if (!conn_is_open(c))
		return;
	buf_add_string(conn_out(c), "</stream:stream>");
	if (s != NULL) {
		c->session = NULL;
		session_lost(s, true, "closed by the client");
	}
	login_abandon(c);
	c->stream = STREAM_ENDED;
	xml_stream_stop(c->xml);
	conn_finish(c);
}

/* -- elements ---------------------------------------------------------------------------------- */

static bool
is_stanza(const struct xml_element *element)
{
	return slice_is(element->ns, NS_CLIENT) && (slice_is(element->name, "message") ||
	    slice_is(element->name, "presence") || slice_is(element->name, "iq"));
}

/* Before TLS there is only STARTTLS. */
static void
starttls_element(struct conn *c, const struct xml_element *element)
{
	if (slice_is(element->ns, NS_TLS) && slice_is(element->name, "starttls")) {
		c->stream = STREAM_TLS; /* stream_feed() goes on */
		return;
	}
	if ((slice_is(element->ns, NS_SASL) || slice_is(element->ns, NS_SASL2)) &&
	    ++c->login->failures < settings.login_attempts) {
		if (slice_is(element->ns, NS_SASL2))
			sasl2_failure(c, "encryption-required", SLICE_NONE);
		else
			buf_add_string(conn_out(c),
			    "<failure xmlns='" NS_SASL "'><encryption-required/></failure>");
		return;
	}
	stream_error(c, is_stanza(element) ? "not-authorized" : "policy-violation",
	    "use STARTTLS first",
	    NULL);
}

static void
login_element(struct conn *c, const struct xml_element *element)
{
	if (slice_is(element->ns, NS_SASL2))
		sasl2_element(c, element);
	else if (c->login->wishes != NULL) /* XEP-0388: nothing else until it is over */
		stream_error(c, "policy-violation", "one authentication at a time", NULL);
	else if (slice_is(element->ns, NS_SASL))
		sasl_element(c, element);
	else if (is_stanza(element) && slice_is(element->name, "iq"))
		register_element(c, element);
	else
		stream_error(c, is_stanza(element) ? "not-authorized" : "unsupported-stanza-type",
		    NULL, NULL);
}

/* The client had to wait for our answer. */
static void
early_element(struct conn *c, const struct xml_element *element)
{
	stream_error(c, is_stanza(element) ? "not-authorized" : "policy-violation",
	    "wait for the answer",
	    NULL);
}

static void
bound_element(struct conn *c, const struct xml_element *element)
{
	c->stanza_began = 0;
	if (slice_is(element->ns, NS_CLIENT))
		inbound_element(c, element);
	else if (slice_is(element->ns, NS_SM))
		management_element(c, element);
	else if (slice_is(element->ns, NS_CSI))
		csi_element(c, element);
	else
		stream_error(c, "unsupported-stanza-type", NULL, NULL);
}

static void
on_element(void *arg, const struct xml_element *element)
{
	static void (*const handlers[STREAM_STATE_COUNT])(struct conn *,
	    const struct xml_element *) = {
		[STREAM_STARTTLS] = starttls_element,
		[STREAM_TLS] = early_element,
		[STREAM_LOGIN] = login_element,
		[STREAM_LOGIN_WAIT] = login_element,
		[STREAM_BIND_HEADER] = early_element,
		[STREAM_BIND] = bind_element,
		[STREAM_BIND_WAIT] = early_element,
		[STREAM_RESUME_WAIT] = early_element,
		[STREAM_BOUND] = bound_element,
	};
	struct conn *c = arg;

	if (c->stream == STREAM_ENDED || !conn_is_open(c))
		return;
	if (slice_is(element->ns, NS_STREAM) && slice_is(element->name, "error")) {
		log_info("stream error of the client", "address=%s condition=%s",
		    conn_address(c), log_quote(element->child_name));
		on_end(c);
		return;
	}
	if (handlers[c->stream] == NULL)
		stream_error(c, "bad-format", NULL, NULL);
	else
		handlers[c->stream](c, element);
}

const struct xml_events stream_events = { on_header, on_element, on_end };

/* -- bytes ------------------------------------------------------------------------------------- */

/* After <starttls/>: nothing may follow it before the handshake, an attacker could have put it
 * there. */
static void
start_tls(struct conn *c)
{
	if (xml_stream_busy(c->xml)) {
		stream_error(c, "policy-violation", "bytes after starttls", NULL);
		return;
	}
	buf_add_string(conn_out(c), "<proceed xmlns='" NS_TLS "'/>");
	conn_flush(c);
	if (!conn_is_open(c))
		return;
	if (buf_len(&c->net.out) + buf_len(&c->net.wire) != 0)
		stream_lost(c, "does not read");
	else
		conn_encrypt(c);
}

void
stream_feed(struct conn *c, struct slice bytes)
{
	const char *condition = "undefined-condition";
	struct login *login = c->login;
	int error;

	if (c->stream == STREAM_ENDED)
		return;
	if (login != NULL && login->jid == NULL) {
		login->bytes += bytes.len;
		if (login->bytes > settings.login_bytes) {
			stream_error(c, "policy-violation",
			    "too many bytes before authentication", NULL);
			return;
		}
	}
	error = xml_stream_feed(c->xml, bytes, &condition);
	if (c->stream == STREAM_ENDED || !conn_is_open(c))
		return;
	if (error != OK) {
		stream_error(c, condition, NULL, NULL);
	} else if (c->stream == STREAM_TLS) {
		start_tls(c);
	} else if (c->stream == STREAM_BOUND) {
		if (!xml_stream_busy(c->xml))
			c->stanza_began = 0;
		else if (c->stanza_began == 0) {
			c->stanza_began = daemon_ticks();
			deadline_hasten(&c->net.deadline, settings.stanza_time);
		}
	}
}

/* -- time -------------------------------------------------------------------------------------- */

void
stream_rearm(struct conn *c)
{
	uint64_t now = daemon_ticks(), at;
	struct session *s = c->session;

	if (s == NULL)
		return;
	at = c->net.heard + (c->probed ? 2 : 1) * settings.idle_time;
	if (c->stanza_began != 0 && c->stanza_began + settings.stanza_time < at)
		at = c->stanza_began + settings.stanza_time;
	if ((sm_answer_waits(&s->sm) || (s->sm.unasked > 0 && !s->sm.asked)) && now + 1000 < at)
		at = now + 1000;
	deadline_set(&c->net.deadline, at > now ? at - now : 0);
}

/* A silent client: asks whether it is there, and gives it up when there is no answer. */
static void
check_silence(struct conn *c)
{
	struct session *s = c->session;
	uint64_t silence = daemon_ticks() - c->net.heard;

	if (c->net.blocked)
		c->net.heard = daemon_ticks(); /* it is us who do not listen */
	else if (silence >= 2 * settings.idle_time && c->probed) {
		/* A client need not answer white space; its TCP does, or it takes what we send. */
		if (c->net.sealed == c->probed_at && (s->sm.enabled || !transport_alive(&c->net))) {
			stream_lost(c, "silent");
			return;
		}
		c->net.heard = daemon_ticks();
		c->probed = false;
	} else if (silence >= settings.idle_time && !c->probed) {
		c->probed = true;
		if (s->sm.enabled && !s->sm.asked) {
			buf_add_string(conn_out(c), "<r xmlns='" NS_SM "'/>");
			sm_asked(&s->sm);
		} else {
			buf_add_char(conn_out(c), ' ');
		}
		conn_flush(c);
		c->probed_at = c->net.sealed;
		if (c->session == NULL)
			return;
	}
	stream_rearm(c);
}

void
stream_due(struct conn *c)
{
	uint64_t now = daemon_ticks();

	if (c->net.state == TRANSPORT_FINISHING || c->net.state == TRANSPORT_LINGERING ||
	    c->net.state == TRANSPORT_HANDSHAKE) {
		if (c->net.state == TRANSPORT_HANDSHAKE)
			log_info("handshake failed", "address=%s reason=\"out of time\"",
			    conn_address(c));
		conn_close(c);
	} else if (c->login != NULL) {
		if (now >= c->login->until)
			stream_error(c, "connection-timeout", "authentication took too long", NULL);
		else
			deadline_set(&c->net.deadline, c->login->until - now);
	} else if (c->session != NULL) {
		if (c->stanza_began != 0 && now - c->stanza_began >= settings.stanza_time) {
			stream_error(c, "policy-violation", "a stanza took too long", NULL);
			return;
		}
		management_write(c->session, true);
		check_silence(c);
	}
}

/* -- the router -------------------------------------------------------------------------------- */

void
streams_router_gone(void)
{
	struct conn *c;
	size_t at;

	if (streams == NULL)
		return;
	for (at = 0; (c = map_each(streams, &at)) != NULL; ) {
		if (c->stream == STREAM_LOGIN_WAIT)
			sasl_abandon(c);
	}
}

void
streams_mechanisms(void)
{
	struct conn *c;
	size_t at;

	if (streams == NULL)
		return;
	for (at = 0; (c = map_each(streams, &at)) != NULL; ) {
		if (c->login != NULL && c->login->features_owed && c->stream == STREAM_LOGIN)
			login_features(c);
	}
}

/* Tells a new router of a stream that has authenticated and is not bound. */
static void
replay_grant(struct conn *c)
{
	struct frame f = {
		.type = FRAME_SESSION_REPLAY,
		.handle = c->handle,
		.jid = slice_string(c->login->jid),
		.token = slice_of(c->login->token, sizeof c->login->token),
	};

	daemon_send(&f);
}

void
streams_configured(void)
{
	struct conn *c;
	size_t at;

	for (at = 0; streams != NULL && (c = map_each(streams, &at)) != NULL; ) {
		if (c->domain != NULL && !c->domain->served)
			stream_error(c, "host-gone", NULL, NULL);
	}
}

void
streams_router_back(void)
{
	struct conn *c;
	size_t at;

	if (streams == NULL)
		return;
	for (at = 0; (c = map_each(streams, &at)) != NULL; ) {
		if (c->login == NULL || c->login->jid == NULL || c->login->arriving != NULL)
			continue;
		replay_grant(c);
		if (c->stream == STREAM_BIND_WAIT)
			bind_ask(c);
		else if (c->stream == STREAM_RESUME_WAIT &&
		    session_by_sm_id(slice_string(c->login->previd)) == NULL)
			resume_ask(c); /* else it is one of ours, see resume_here() */
	}
}
