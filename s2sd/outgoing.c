/*
 * outgoing.c: streams that we open to other servers: from a domain to a stream on which stanzas can be sent.
 *
 *   RESOLVING -> CONNECTING (happy.c) -> the peer's header and features -> STARTTLS, unless direct ->
 *      header and features again, the certificate checked -> EXTERNAL, or dialback -> management -> up
 *
 * Called by path.c, and by stream.c for the stream. What fails at one address is tried at the next; each step
 * goes into the history, which "aldisctl peer show" gives. A stream that is made to ask whether a dialback key
 * is good (XEP-0220) goes the same way, and asks its question instead of authenticating.
 */
#include "s2sd.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include <netinet/tcp.h>

#include "counter.h"
#include "error.h"
#include "happy.h"
#include "log.h"
#include "mem.h"
#include "ns.h"
#include "xmlout.h"

#define CONNECT_TIME 10000u /* milliseconds that one address may take */
#define WHY_SIZE     256u /* bytes of a reason, NUL included */

enum stage {
	STAGE_TLS,      /* features are expected that offer STARTTLS */
	STAGE_PROCEED,
	STAGE_HANDSHAKE,
	STAGE_FEATURES, /* behind TLS */
	STAGE_AUTH,     /* the answer to <auth/> */
	STAGE_DIALBACK, /* the answer to <db:result/> */
	STAGE_LAST,     /* features behind authentication */
	STAGE_MANAGE,   /* the answer to <enable/> */
};

struct outgoing {
	struct path *path;         /* NULL: there is a question */
	struct question *question;
	char *local, *remote;
	struct resolve *resolve;
	struct resolution *resolution;
	struct happy happy;
	uv_timer_t timer;          /* of happy, to the millisecond */
	struct stream *streams[RESOLVE_CANDIDATES];
	struct attempt *attempt;
	struct check *check;
	uint64_t until;
	size_t at;                 /* the candidate of the stream */
	struct stream *stream;     /* the one that is connected */
	enum stage stage;
	struct features features;
	bool has_features, checked, trusted;
	bool forged;               /* the certificate is not the one that DNSSEC says it is */
	bool bidi;
	enum stanza_error error;   /* of the last failure */
	char why[WHY_SIZE];
};

static void advance(struct outgoing *o);
static void go_on(struct outgoing *o);

/* -- the end ------------------------------------------------------------------------------------ */

static void
timer_closed(uv_handle_t *handle)
{
	struct outgoing *o = handle->data;

	free(o->local);
	free(o->remote);
	free(o);
}

/* Lets go of all that it has; the streams are closed but for one. */
static void
outgoing_free(struct outgoing *o, const struct stream *but, enum attempt_verdict verdict,
    const char *result)
{
	size_t i;

	check_cancel(&o->check);
	if (o->resolve != NULL)
		resolve_cancel(&o->resolve);
	for (i = 0; i < RESOLVE_CANDIDATES; i++) {
		struct stream *s = o->streams[i];

		if (s == NULL)
			continue;
		o->streams[i] = NULL;
		s->negotiation = NULL;
		if (s != but)
			stream_finish(s, "given up");
	}
	resolution_free(&o->resolution);
	attempt_end(&o->attempt, daemon_ticks(), verdict, result);
	uv_close((uv_handle_t *)&o->timer, timer_closed);
}

void
outgoing_cancel(struct outgoing **o)
{
	struct outgoing *old = *o;

	*o = NULL;
	if (old != NULL)
		outgoing_free(old, NULL, ATTEMPT_SKIPPED, "given up");
}

/* Nothing is left to try. */
static void
give_up(struct outgoing *o, bool permanent)
{
	struct path *path = o->path;
	struct question *question = o->question;
	enum stanza_error error = o->error;
	char *why = mem_string(o->why);

	if (path != NULL)
		path->outgoing = NULL;
	outgoing_free(o, NULL, ATTEMPT_FAILED, why);
	if (path != NULL)
		path_failed(path, error, permanent, why);
	else
		question_answered(question, DIALBACK_ERROR, error);
	free(why);
}

static void
note(struct outgoing *o, enum stanza_error error, const char *why)
{
	o->error = error;
	snprintf(o->why, sizeof o->why, "%s", why);
}

/* The stream at hand is of no use: the next address, if there is one. */
static void
fail(struct outgoing *o, const char *step, const char *why)
{
	struct stream *s = o->stream;

	note(o, STANZA_ERROR_REMOTE_SERVER_TIMEOUT, why);
	attempt_step(o->attempt, daemon_ticks(), step, ATTEMPT_FAILED, "reason='%s'",
	    attempt_text(slice_string(why)));
	check_cancel(&o->check);
	o->stream = NULL;
	o->streams[o->at] = NULL;
	if (s != NULL) {
		s->negotiation = NULL;
		stream_finish(s, why);
	}
	happy_failed(&o->happy, o->at);
	advance(o);
}

/* -- addresses ---------------------------------------------------------------------------------- */

static void
address_write(const struct candidate *c, char *text, size_t size)
{
	char host[INET6_ADDRSTRLEN] = "?";

	uv_ip_name(&c->address.any, host, sizeof host);
	snprintf(text, size, c->address.any.sa_family == AF_INET6 ? "[%s]:%u" : "%s:%u", host, c->port);
}

/* Opens a connection to a candidate. Returns false when it fails at once. */
static bool
connect_to(struct outgoing *o, size_t at)
{
	const struct candidate *c = &o->resolution->candidates[at];
	socklen_t len = c->address.any.sa_family == AF_INET6 ? sizeof c->address.six
	    : sizeof c->address.four;
	struct sockaddr_storage peer = { 0 };
	struct stream *s;
	char text[80];
	int fd, on = 1;

	address_write(c, text, sizeof text);
	fd = socket(c->address.any.sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd >= 0)
		setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
	if (fd < 0 || (connect(fd, &c->address.any, len) != 0 && errno != EINPROGRESS)) {
		attempt_step(o->attempt, daemon_ticks(), "connect", ATTEMPT_FAILED,
		    "address=%s reason='%s'", text, strerror(errno));
		note(o, STANZA_ERROR_REMOTE_SERVER_TIMEOUT, strerror(errno));
		if (fd >= 0)
			close(fd);
		return false;
	}
	attempt_step(o->attempt, daemon_ticks(), "connect", ATTEMPT_NOTED, "address=%s target='%s' "
	    "priority=%u weight=%u tls=%s", text, attempt_text(slice_string(c->target)), c->priority,
	    c->weight, c->direct ? "direct" : "starttls");
	memcpy(&peer, &c->address, len);
	s = stream_new(STREAM_OUTGOING, fd, address_new(&peer), true);
	if (s == NULL)
		return false;
	s->direct = c->direct;
	s->domain = domain_find(slice_string(o->local));
	s->remote = mem_string(o->remote);
	s->negotiation = o;
	o->streams[at] = s;
	return true;
}

static size_t
candidate_of(const struct outgoing *o, const struct stream *s)
{
	size_t i;

	for (i = 0; i < RESOLVE_CANDIDATES - 1 && o->streams[i] != s; i++)
		;
	return i;
}

static void
timer_due(uv_timer_t *timer)
{
	struct outgoing *o = timer->data;

	daemon_dirty();
	if (daemon_ticks() < o->until) {
		advance(o);
		return;
	}
	attempt_step(o->attempt, daemon_ticks(), o->stream != NULL ? "stream" : "connect", ATTEMPT_FAILED,
	    "reason='out of time'");
	note(o, STANZA_ERROR_REMOTE_SERVER_TIMEOUT, o->why[0] != '\0' ? o->why : "out of time");
	give_up(o, false);
}

/* Begins what happy.c says is to begin, and sets the timer for what comes then. */
static void
advance(struct outgoing *o)
{
	uint64_t now = daemon_ticks(), when = 0;
	size_t at;

	while (happy_late(&o->happy, now, &at)) {
		struct stream *s = o->streams[at];

		attempt_step(o->attempt, now, "connect", ATTEMPT_FAILED, "reason='out of time'");
		note(o, STANZA_ERROR_REMOTE_SERVER_TIMEOUT, "the connection takes too long");
		o->streams[at] = NULL;
		if (s != NULL) {
			s->negotiation = NULL;
			stream_lose(s, "out of time");
		}
	}
	while (happy_next(&o->happy, now, &at)) {
		if (!connect_to(o, at))
			happy_failed(&o->happy, at);
	}
	if (happy_over(&o->happy)) {
		give_up(o, false);
		return;
	}
	if (!happy_due(&o->happy, &when) || when > o->until)
		when = o->until;
	uv_timer_start(&o->timer, timer_due, when > now ? when - now : 0, 0);
}

static void
on_answer(void *arg, const struct dns_answer *answer)
{
	struct outgoing *o = arg;

	attempt_step(o->attempt, daemon_ticks(), "dns", answer->outcome == RESOLVE_OK ? ATTEMPT_OK
	    : answer->outcome <= RESOLVE_NODATA ? ATTEMPT_NOTED : ATTEMPT_FAILED,
	    "name='%s' type=%s outcome=%s secure=%s records=%zu ttl=%u reason='%s'",
	    attempt_text(slice_string(answer->name)), answer->type,
	    resolve_outcome_text(answer->outcome), answer->secure ? "yes" : "no", answer->records,
	    answer->ttl, attempt_text(slice_string(answer->why)));
}

static void
on_resolved(void *arg, struct resolution *resolution)
{
	struct outgoing *o = arg;
	enum resolve_outcome outcome = resolution->outcome;
	bool permanent = outcome == RESOLVE_NXDOMAIN || outcome == RESOLVE_NODATA ||
	    outcome == RESOLVE_NOT_OFFERED;

	o->resolve = NULL;
	o->resolution = resolution;
	daemon_dirty();
	if (outcome != RESOLVE_OK) {
		note(o, permanent ? STANZA_ERROR_REMOTE_SERVER_NOT_FOUND
		    : STANZA_ERROR_REMOTE_SERVER_TIMEOUT, resolution->why[0] != '\0' ? resolution->why
		    : resolve_outcome_text(outcome));
		give_up(o, permanent);
		return;
	}
	happy_start(&o->happy, resolution, CONNECT_TIME);
	advance(o);
}

/* -- beginning ---------------------------------------------------------------------------------- */

static void
refuse(struct outgoing *o, const char *step, const char *why)
{
	attempt_step(o->attempt, daemon_ticks(), step, ATTEMPT_FAILED, "reason='%s'", why);
	note(o, STANZA_ERROR_REMOTE_SERVER_NOT_FOUND, why);
	give_up(o, true);
}

/* From one of our domains to another server. */
static void
begin(struct outgoing *o, struct slice local, struct slice remote)
{
	static const struct resolve_events events = { on_answer, on_resolved };
	const struct policy *policy = policy_of(remote);
	struct configured peers[POLICY_ADDRESSES];
	size_t count;

	uv_timer_init(daemon_loop(), &o->timer);
	o->timer.data = o;
	o->local = slice_dup(local);
	o->remote = slice_dup(remote);
	o->until = daemon_ticks() + settings.login_time;
	o->attempt = attempt_begin(history, remote, ATTEMPT_OUT, daemon_ticks(), daemon_now());
	attempt_step(o->attempt, daemon_ticks(), "policy", policy->refuse ? ATTEMPT_FAILED : ATTEMPT_OK,
	    "from='%s' name='%s' authentication=%s for=%s", o->local,
	    policy->name != NULL ? policy->name : "", policy->dialback ? "dialback" : "certificate",
	    o->question != NULL ? "verification" : "stanzas");
	if (!settings.federation || policy->refuse) {
		refuse(o, "policy", settings.federation ? "Refused by the administrator"
		    : "There is no federation here");
		return;
	}
	for (count = 0; count < POLICY_ADDRESSES && policy->addresses[count] != NULL; count++) {
		configured_read(slice_string(policy->addresses[count]), &peers[count]);
		peers[count].direct = policy->direct_tls;
	}
	switch (resolve_begin(resolver, remote, peers, count, &events, o, &o->resolve)) {
	case OK:
		return;
	case E_MALFORMED:
		refuse(o, "dns", "No such domain can be in DNS");
		return;
	default:
		note(o, STANZA_ERROR_RESOURCE_CONSTRAINT, "Too many domains are looked up");
		give_up(o, false);
	}
}

void
outgoing_begin(struct path *path)
{
	struct outgoing *o = mem_alloc(sizeof *o);

	o->path = path;
	path->outgoing = o;
	begin(o, slice_string(path->local), slice_string(path->remote->name));
}

struct outgoing *
outgoing_ask(struct question *question, struct slice local, struct slice remote)
{
	struct outgoing *o = mem_alloc(sizeof *o);

	o->question = question;
	question->outgoing = o;
	begin(o, local, remote);
	return o;
}

/* -- the stream --------------------------------------------------------------------------------- */

static void
begin_tls(struct outgoing *o)
{
	struct stream *s = o->stream;
	char ascii[256];
	struct tls_settings how = { .client = true, .alpn = s->direct ? "xmpp-server" : NULL };

	if (jid_domain_ascii(slice_string(s->remote), ascii) == OK)
		how.server_name = ascii;
	o->stage = STAGE_HANDSHAKE;
	stream_encrypt(s, &how);
}

static void
send_header(struct outgoing *o)
{
	stream_header(o->stream, slice_string(o->local), slice_string(o->remote));
}

static void
on_connected(struct stream *s)
{
	struct outgoing *o = s->negotiation;
	size_t at, i;

	if (o == NULL)
		return;
	at = candidate_of(o, s);
	if (!happy_connected(&o->happy, at)) {
		o->streams[at] = NULL;
		s->negotiation = NULL;
		stream_lose(s, "another was first");
		return;
	}
	attempt_step(o->attempt, daemon_ticks(), "connected", ATTEMPT_OK, "address=%s",
	    address_text(s->net.address));
	o->stream = s;
	o->at = at;
	o->has_features = o->checked = o->trusted = o->forged = o->bidi = false;
	for (i = 0; i < RESOLVE_CANDIDATES; i++) {
		struct stream *other = o->streams[i];

		if (other == NULL || other == s)
			continue;
		o->streams[i] = NULL;
		other->negotiation = NULL;
		stream_lose(other, "another was first");
	}
	uv_timer_start(&o->timer, timer_due, o->until > daemon_ticks() ? o->until - daemon_ticks() : 0, 0);
	if (s->direct) {
		begin_tls(o);
	} else {
		o->stage = STAGE_TLS;
		send_header(o);
	}
}

static void
on_checked(struct stream *s, const struct verify_result *result)
{
	struct outgoing *o = s->negotiation;

	if (o == NULL)
		return;
	o->check = NULL;
	o->checked = true;
	o->trusted = check_is_good(result);
	o->forged = result->dane == VERIFY_FAILED;
	check_report(o->attempt, s, result);
	if (!o->trusted)
		note(o, STANZA_ERROR_REMOTE_SERVER_TIMEOUT, check_reason(result));
	go_on(o);
}

static void
on_secured(struct stream *s)
{
	struct outgoing *o = s->negotiation;

	if (o == NULL)
		return;
	o->stage = STAGE_FEATURES;
	o->has_features = false;
	o->check = check_begin(s, o->attempt, slice_string(s->remote), &o->resolution->candidates[o->at],
	    on_checked);
	send_header(o);
}

static void
on_header(struct stream *s, const struct xml_header *h)
{
	(void)s;
	(void)h; /* features follow */
}

/* Stanzas can be sent. */
static void
done(struct outgoing *o)
{
	struct path *path = o->path;
	struct stream *s = o->stream;

	attempt_step(o->attempt, daemon_ticks(), "stream", ATTEMPT_OK, "management=%s bidi=%s",
	    s->sm.enabled ? "yes" : "no", o->bidi ? "yes" : "no");
	path->outgoing = NULL;
	if (o->bidi)
		stream_prove(s, path->remote, s->domain);
	stream_ready(s);
	outgoing_free(o, s, ATTEMPT_OK, "connected");
	path_up(path, s);
}

/* SASL EXTERNAL (XEP-0178): by the certificate that we have shown. */
static void
authenticate(struct outgoing *o)
{
	struct buf *out = stream_out(o->stream);

	if (o->features.bidi) {
		buf_add_string(out, "<bidi xmlns='" NS_BIDI "'/>");
		o->bidi = true;
	}
	buf_add_string(out, "<auth xmlns='" NS_SASL "' mechanism='EXTERNAL'>");
	base64_add(out, slice_string(o->local));
	buf_add_string(out, "</auth>");
	o->stage = STAGE_AUTH;
}

/* Features and certificate are there: authenticates by what both sides and the policy allow. */
static void
go_on(struct outgoing *o)
{
	const struct policy *policy = policy_of(slice_string(o->stream->remote));
	char why[WHY_SIZE + 32];

	if (o->stage != STAGE_FEATURES || !o->has_features || !o->checked)
		return;
	if (o->question != NULL && !o->forged) {
		/* Dialback is as good as DNS: a certificate that is not good does not make it worse. */
		question_write(o->question, stream_out(o->stream));
		o->stage = STAGE_DIALBACK;
	} else if (o->forged || (!o->trusted && !policy->dialback)) {
		snprintf(why, sizeof why, "The certificate is not good: %s", o->why);
		fail(o, "policy", why);
	} else if (o->features.external && o->stream->domain != NULL &&
	    domain_is_certified(o->stream->domain)) {
		authenticate(o);
	} else if (policy->dialback && o->stream->id != NULL) {
		key_prove(o->stream, slice_string(o->local), slice_string(o->remote));
		o->stage = STAGE_DIALBACK;
	} else {
		fail(o, "authentication", o->stream->domain == NULL || domain_is_certified(o->stream->domain)
		    ? "It does not accept our certificate" : "We have no certificate for our domain");
	}
}

static void
take_features(struct outgoing *o, const struct xml_element *element)
{
	struct stream *s = o->stream;

	features_read(element, &o->features);
	/* On a stream in both directions the peer learns that we do the same. */
	if (o->features.once && o->stage == STAGE_LAST && o->bidi)
		buf_add_string(stream_out(s), ONCE_FEATURE);
	s->once |= s->secured && o->features.once;
	if (o->stage == STAGE_TLS) {
		if (!o->features.starttls) {
			fail(o, "tls", "It does not offer TLS");
			return;
		}
		buf_add_string(stream_out(s), "<starttls xmlns='" NS_TLS "'/>");
		o->stage = STAGE_PROCEED;
	} else if (o->stage == STAGE_FEATURES) {
		o->has_features = true;
		go_on(o);
	} else if (o->stage == STAGE_LAST) {
		if (o->features.sm) {
			buf_add_string(stream_out(s), "<enable xmlns='" NS_SM "'/>");
			o->stage = STAGE_MANAGE;
		} else {
			done(o);
		}
	} else {
		fail(o, "stream", "Features were not expected");
	}
}

static void
take_proceed(struct outgoing *o, const struct xml_element *element)
{
	if (o->stage == STAGE_PROCEED && slice_is(element->name, "proceed")) {
		xml_stream_stop(o->stream->xml);
		o->stage = STAGE_HANDSHAKE; /* on_fed() begins it, when nothing follows */
	} else {
		fail(o, "tls", "It refuses TLS");
	}
}

static void
on_fed(struct stream *s)
{
	struct outgoing *o = s->negotiation;

	if (o != NULL && o->stream == s && o->stage == STAGE_HANDSHAKE && !s->secured)
		begin_tls(o);
}

static void
take_sasl(struct outgoing *o, const struct xml_element *element)
{
	struct stream *s = o->stream;
	const struct policy *policy = policy_of(slice_string(s->remote));
	struct buf said = { 0 };
	char why[WHY_SIZE];

	if (o->stage == STAGE_AUTH && slice_is(element->name, "success")) {
		attempt_step(o->attempt, daemon_ticks(), "authentication", ATTEMPT_OK,
		    "mechanism=EXTERNAL");
		o->stage = STAGE_LAST;
		stream_restart(s);
		send_header(o);
		return;
	}
	peer_said(element, &said);
	snprintf(why, sizeof why, "It refuses our certificate: %.*s", SLICE_ARG(buf_slice(&said)));
	buf_free(&said);
	if (o->stage == STAGE_AUTH && policy->dialback && s->id != NULL) {
		attempt_step(o->attempt, daemon_ticks(), "authentication", ATTEMPT_FAILED,
		    "mechanism=EXTERNAL reason='%s'", attempt_text(slice_string(why)));
		o->bidi = false;
		key_prove(s, slice_string(o->local), slice_string(o->remote));
		o->stage = STAGE_DIALBACK;
	} else {
		fail(o, "authentication", why);
	}
}

/* The verdict of the other server, on our own key or on that of a question; any that was not asked for is
 * refused. */
static void
take_dialback(struct outgoing *o, const struct xml_element *element)
{
	enum dialback_kind wanted = o->question != NULL ? DIALBACK_VERIFY : DIALBACK_RESULT;
	struct question *question = o->question;
	struct stream *s = o->stream;
	const char *condition;
	struct dialback d;

	if (dialback_read(element, &d, &condition) != OK) {
		stream_error(s, condition, NULL);
	} else if (o->stage != STAGE_DIALBACK || d.kind != wanted || d.type == DIALBACK_REQUEST ||
	    !slice_is(d.from, o->remote) || !slice_is(d.to, o->local) ||
	    (question != NULL && !slice_is(d.id, question->id))) {
		stream_error(s, "invalid-from", "a result of dialback that nobody asked for");
	} else if (question != NULL) {
		question->outgoing = NULL;
		outgoing_free(o, NULL, ATTEMPT_OK, d.type == DIALBACK_VALID ? "key is valid" : "key is not valid");
		question_answered(question, d.type, d.condition);
	} else if (d.type != DIALBACK_VALID) {
		fail(o, "authentication", "It does not accept our dialback key");
	} else {
		attempt_step(o->attempt, daemon_ticks(), "authentication", ATTEMPT_OK, "mechanism=dialback");
		done(o);
	}
}

static void
take_management(struct outgoing *o, const struct xml_element *element)
{
	struct stream *s = o->stream;

	if (o->stage != STAGE_MANAGE) {
		fail(o, "stream", "An answer was not expected");
		return;
	}
	if (slice_is(element->name, "enabled")) {
		sm_enable(&s->sm);
		path_managed(o->path);
	}
	done(o);
}

static void
on_element(struct stream *s, const struct xml_element *element)
{
	struct outgoing *o = s->negotiation;

	if (o == NULL || o->stream != s)
		stream_error(s, "policy-violation", NULL);
	else if (slice_is(element->ns, NS_STREAM) && slice_is(element->name, "features"))
		take_features(o, element);
	else if (slice_is(element->ns, NS_TLS))
		take_proceed(o, element);
	else if (slice_is(element->ns, NS_SASL))
		take_sasl(o, element);
	else if (slice_is(element->ns, NS_DIALBACK))
		take_dialback(o, element);
	else if (slice_is(element->ns, NS_SM))
		take_management(o, element);
	else
		stream_error(s, "unsupported-stanza-type", NULL);
}

static void
on_lost(struct stream *s, const char *why)
{
	struct outgoing *o = s->negotiation;
	size_t at;

	s->negotiation = NULL;
	if (o == NULL)
		return;
	at = candidate_of(o, s);
	o->streams[at] = NULL;
	attempt_step(o->attempt, daemon_ticks(), o->stream == s ? "stream" : "connect", ATTEMPT_FAILED,
	    "reason='%s'", attempt_text(slice_string(why)));
	if (o->stream == s) {
		check_cancel(&o->check);
		o->stream = NULL;
	}
	note(o, STANZA_ERROR_REMOTE_SERVER_TIMEOUT, why);
	happy_failed(&o->happy, at);
	advance(o);
}

const struct stream_role outgoing_role = {
	.ns = NS_SERVER,
	.connected = on_connected,
	.header = on_header,
	.element = on_element,
	.secured = on_secured,
	.fed = on_fed,
	.lost = on_lost,
};
