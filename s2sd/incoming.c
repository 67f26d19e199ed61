/*
 * incoming.c: streams that other servers open.
 *
 *   header -> STARTTLS, unless direct -> header, the certificate checked -> features -> EXTERNAL (XEP-0178) ->
 *      header and features again -> READY; or dialback (callback.c), which makes a stream READY as well
 *
 * Called by stream.c. Without TLS nobody gets further than STARTTLS. Whom the policy refuses, and who has no
 * good certificate where dialback is not allowed, is told so in a stream error.
 */
#include "s2sd.h"

#include <stdlib.h>

#include "counter.h"
#include "error.h"
#include "log.h"
#include "mem.h"
#include "ns.h"

struct incoming {
	struct attempt *attempt;
	struct check *check;
	bool proceed;       /* <starttls/> was read */
	bool trusted;       /* the certificate is good for the domain in the header */
	bool bidi;          /* it wants stanzas of ours on the same stream (XEP-0288) */
	bool authenticated;
};

/* What the peer is refused for. */
static void
refuse(struct stream *s, const char *step, const char *condition, const char *why)
{
	struct incoming *in = s->negotiation;

	COUNT(streams_refused);
	attempt_step(in->attempt, daemon_ticks(), step, ATTEMPT_FAILED, "reason='%s'",
	    attempt_text(slice_string(why)));
	stream_error(s, condition, why);
}

/* -- features ----------------------------------------------------------------------------------- */

/* Behind TLS, once it is known what the certificate is worth. */
static void
send_features(struct stream *s, const char *why)
{
	struct incoming *in = s->negotiation;
	const struct policy *policy = policy_of(slice_string(s->remote));
	struct buf *out;

	if (!in->trusted && !policy->dialback) {
		refuse(s, "policy", "not-authorized", why);
		return;
	}
	out = stream_out(s);
	buf_add_string(out, "<stream:features>");
	if (in->trusted)
		buf_add_string(out, "<mechanisms xmlns='" NS_SASL "'><mechanism>EXTERNAL</mechanism>"
		    "</mechanisms>");
	if (policy->dialback)
		buf_add_string(out, "<dialback xmlns='" NS_DIALBACK_FEATURE "'><errors/></dialback>");
	if (in->trusted)
		buf_add_string(out, "<bidi xmlns='" NS_BIDI_FEATURE "'/>");
	buf_add_string(out, ONCE_FEATURE);
	buf_add_string(out, "</stream:features>");
}

static void
on_checked(struct stream *s, const struct verify_result *result)
{
	struct incoming *in = s->negotiation;

	in->check = NULL;
	in->trusted = check_is_good(result);
	check_report(in->attempt, s, result);
	send_features(s, check_reason(result));
	s->checking = false;
	if (stream_is_open(s))
		stream_ease(s);
}

/* -- headers ------------------------------------------------------------------------------------ */

/* Whether a header names whom we can deal with. */
static bool
admit(struct stream *s)
{
	struct incoming *in = s->negotiation;
	struct slice remote = slice_string(s->remote);

	if (s->remote == NULL)
		return true; /* it may still ask about keys */
	attempt_domain(in->attempt, remote);
	if (domain_is_here(remote)) {
		refuse(s, "policy", "invalid-from", "That is a domain of this server");
		return false;
	}
	if (!settings.federation || policy_of(remote)->refuse) {
		refuse(s, "policy", "policy-violation", "Refused by the administrator");
		return false;
	}
	return true;
}

static void
on_header(struct stream *s, const struct xml_header *h)
{
	struct incoming *in = s->negotiation;
	struct buf *out;

	stream_header(s, s->domain != NULL ? slice_string(s->domain->name) : SLICE_NONE,
	    slice_string(s->remote));
	if (h->to.ptr == NULL && s->domain == NULL) {
		stream_error(s, "improper-addressing", NULL);
		return;
	}
	if (!admit(s))
		return;
	if (!s->secured) {
		out = stream_out(s);
		buf_add_string(out, "<stream:features><starttls xmlns='" NS_TLS "'><required/></starttls>"
		    "</stream:features>");
	} else if (in->authenticated) {
		out = stream_out(s);
		buf_add_string(out, "<stream:features><sm xmlns='" NS_SM "'/>" ONCE_FEATURE
		    "</stream:features>");
		stream_ready(s);
	} else {
		/* What it says before its certificate was checked waits. */
		s->checking = true;
		transport_block(&s->net, true);
		in->check = check_begin(s, in->attempt, slice_string(s->remote), NULL, on_checked);
	}
}

/* What is ours goes on this stream from the peer's first element on: <enable/> when it does stream management,
 * before which what is written and lost with the stream would count as delivered; and it is ready itself. */
void
incoming_spoke(struct stream *s)
{
	struct incoming *in = s->negotiation;

	if (in == NULL || !in->bidi || !in->authenticated)
		return;
	in->bidi = false;
	path_up(path_get(remote_get(slice_string(s->remote)), slice_string(s->domain->name)), s);
}

/* -- elements ----------------------------------------------------------------------------------- */

static void
begin_tls(struct stream *s)
{
	struct tls_settings how = { .ask = true, .alpn = s->direct ? "xmpp-server" : NULL };

	stream_encrypt(s, &how);
}

static void
on_fed(struct stream *s)
{
	struct incoming *in = s->negotiation;

	if (in == NULL || !in->proceed || s->secured)
		return;
	in->proceed = false;
	buf_add_string(stream_out(s), "<proceed xmlns='" NS_TLS "'/>");
	begin_tls(s);
}

static void
sasl_failure(struct stream *s, const char *condition)
{
	struct incoming *in = s->negotiation;

	COUNT(logins_failed);
	attempt_step(in->attempt, daemon_ticks(), "authentication", ATTEMPT_FAILED,
	    "mechanism=EXTERNAL condition=%s", condition);
	buf_printf(stream_out(s), "<failure xmlns='" NS_SASL "'><%s/></failure>", condition);
}

/* Whether an authorization identity is the domain in the header, or none was sent. */
static bool
is_own(const struct stream *s, struct slice text)
{
	char prepared[JID_PART_MAX + 1];
	struct buf bytes = { 0 };
	struct slice name;
	bool own;

	if (text.len == 0 || slice_is(text, "="))
		return true;
	own = base64_read(text, &bytes) == OK &&
	    jid_prepare_domain(buf_slice(&bytes), prepared, &name) == OK && slice_is(name, s->remote);
	buf_free(&bytes);
	return own;
}

static void
take_auth(struct stream *s, const struct xml_element *element)
{
	struct incoming *in = s->negotiation;
	struct slice mechanism = SLICE_NONE;
	unsigned i;

	for (i = 0; i < element->attributes; i++) {
		if (slice_is(element->attribute[i].name, "mechanism"))
			mechanism = element->attribute[i].value;
	}
	if (!slice_is(element->name, "auth") || in->authenticated) {
		stream_error(s, "policy-violation", NULL);
	} else if (!slice_is(mechanism, "EXTERNAL")) {
		sasl_failure(s, "invalid-mechanism");
	} else if (!in->trusted || !is_own(s, element->text)) {
		sasl_failure(s, "not-authorized");
	} else if (!LIST_EMPTY(&s->questions) || !LIST_EMPTY(&s->jobs)) {
		sasl_failure(s, "temporary-auth-failure"); /* their answers belong to this stream */
	} else if (!stream_prove(s, remote_get(slice_string(s->remote)), s->domain)) {
		refuse(s, "authentication", "policy-violation", "Too many streams of this domain");
	} else {
		COUNT(logins);
		attempt_step(in->attempt, daemon_ticks(), "authentication", ATTEMPT_OK,
		    "mechanism=EXTERNAL");
		log_info("stream authenticated", "domain=%s to=%s address=%s mechanism=EXTERNAL", s->remote,
		    s->domain->name, address_text(s->net.address));
		in->authenticated = s->authenticated = true;
		buf_add_string(stream_out(s), "<success xmlns='" NS_SASL "'/>");
		stream_restart(s);
	}
}

static void
on_element(struct stream *s, const struct xml_element *element)
{
	struct incoming *in = s->negotiation;

	if (!s->secured) {
		if (slice_is(element->ns, NS_TLS) && slice_is(element->name, "starttls")) {
			in->proceed = true;
			xml_stream_stop(s->xml);
		} else {
			refuse(s, "tls", "policy-violation", "Use STARTTLS first");
		}
	} else if (in->check != NULL) {
		refuse(s, "authentication", "policy-violation", "The features come first");
	} else if (slice_is(element->ns, NS_DIALBACK)) {
		callback_element(s, element);
	} else if (slice_is(element->ns, NS_BIDI) && !in->authenticated) {
		in->bidi = in->trusted;
	} else if (slice_is(element->ns, NS_SASL)) {
		take_auth(s, element);
	} else {
		refuse(s, "authentication", "not-authorized", "Authentication comes first");
	}
}

static void
on_secured(struct stream *s)
{
	(void)s; /* the peer's header follows */
}

static void
on_lost(struct stream *s, const char *why)
{
	struct incoming *in = s->negotiation;

	s->negotiation = NULL;
	if (in == NULL)
		return;
	check_cancel(&in->check);
	attempt_end(&in->attempt, daemon_ticks(), LIST_EMPTY(&s->proofs) ? ATTEMPT_FAILED : ATTEMPT_OK, why);
	free(in);
}

void
incoming_called_back(struct stream *s, bool valid, const char *reason)
{
	struct incoming *in = s->negotiation;

	attempt_step(in->attempt, daemon_ticks(), "authentication", valid ? ATTEMPT_OK : ATTEMPT_FAILED,
	    "mechanism=dialback reason='%s'", reason);
}

const struct stream_role incoming_role = {
	.ns = NS_SERVER,
	.header = on_header,
	.element = on_element,
	.secured = on_secured,
	.fed = on_fed,
	.lost = on_lost,
};

void
incoming_new(int fd, struct address *address, bool direct)
{
	struct stream *s = stream_new(STREAM_INCOMING, fd, address, false);
	struct incoming *in;

	if (s == NULL)
		return;
	in = mem_alloc(sizeof *in);
	in->attempt = attempt_begin(history, SLICE("unknown"), ATTEMPT_IN, daemon_ticks(), daemon_now());
	attempt_step(in->attempt, daemon_ticks(), "accepted", ATTEMPT_NOTED, "address=%s tls=%s",
	    address_text(s->net.address), direct ? "direct" : "starttls");
	s->negotiation = in;
	s->direct = direct;
	if (direct)
		begin_tls(s);
}
