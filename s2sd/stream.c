/*
 * stream.c: XML streams between servers, and those of components (RFC 6120 section 4): headers, errors,
 * closing, their time, and who has proven what on them.
 *
 * Called by the transport through hooks, and by incoming.c, outgoing.c and component.c, which do what each
 * kind of stream is about until it is READY; traffic.c does what comes then. What a peer does wrong ends its
 * stream with the error that RFC 6120 names.
 */
#include "s2sd.h"

#include <stdlib.h>

#include <gnutls/crypto.h>

#include "counter.h"
#include "error.h"
#include "log.h"
#include "mem.h"
#include "ns.h"
#include "xmlin.h"
#include "xmlout.h"

#define LANG_MAX 64u
#define ID_MAX   1024u
#define ANSWERS_MAX (256u << 10) /* bytes of answers that a peer has not read, beside a stanza */

static LIST_HEAD(, stream) all = LIST_HEAD_INITIALIZER(all);
static TAILQ_HEAD(, stream) choked = TAILQ_HEAD_INITIALIZER(choked);
static size_t counts[STREAM_KIND_COUNT];

static const struct stream_role *const roles[STREAM_KIND_COUNT] = {
	[STREAM_INCOMING] = &incoming_role,
	[STREAM_OUTGOING] = &outgoing_role,
	[STREAM_COMPONENT] = &component_role,
};

/* Child elements of stanzas that only we may set. */
static const struct slice strip[] = {
	{ NS_CARBONS, sizeof NS_CARBONS - 1 },
	{ NULL, 0 },
};

static struct stream *
stream_of(const struct transport *t)
{
	return (struct stream *)(uintptr_t)t;
}

size_t
stream_count(enum stream_kind kind)
{
	return counts[kind];
}

void
streams_gauges(void)
{
	GAUGE(streams_incoming, counts[STREAM_INCOMING]);
	GAUGE(streams_outgoing, counts[STREAM_OUTGOING]);
	GAUGE(components, counts[STREAM_COMPONENT]);
}

/* -- proofs ------------------------------------------------------------------------------------- */

/* Streams on which a remote domain has proven itself to one of ours. */
static size_t
streams_of(const struct remote *remote, const struct domain *local)
{
	const struct proof *proof;
	size_t count = 0;

	LIST_FOREACH(proof, &remote->proofs, of_remote) {
		if (proof->stream->kind == STREAM_INCOMING && proof->local == local)
			count++;
	}
	return count;
}

bool
stream_prove(struct stream *s, struct remote *remote, struct domain *local)
{
	struct proof *proof;
	size_t count = 0;

	LIST_FOREACH(proof, &s->proofs, of_stream) {
		if (proof->remote == remote && proof->local == local)
			return true;
		count++;
	}
	if (count >= PROOFS_MAX || (s->kind == STREAM_INCOMING && streams_of(remote, local) >= settings.domain_streams))
		return false;
	proof = mem_alloc(sizeof *proof);
	proof->stream = s;
	proof->remote = remote;
	proof->local = local;
	LIST_INSERT_HEAD(&s->proofs, proof, of_stream);
	LIST_INSERT_HEAD(&remote->proofs, proof, of_remote);
	remote_settle(remote);
	if (s->kind == STREAM_INCOMING)
		path_heard(remote, slice_string(local->name));
	return true;
}

static void
proofs_clear(struct stream *s)
{
	struct proof *proof;

	while ((proof = LIST_FIRST(&s->proofs)) != NULL) {
		LIST_REMOVE(proof, of_stream);
		LIST_REMOVE(proof, of_remote);
		remote_settle(proof->remote);
		free(proof);
	}
}

struct proof *
stream_proof(const struct stream *s, struct slice from, struct slice to)
{
	struct proof *proof;

	LIST_FOREACH(proof, &s->proofs, of_stream) {
		if (slice_is(from, proof->remote->name) &&
		    (proof->local == NULL || slice_is(to, proof->local->name)))
			return proof;
	}
	return NULL;
}

/* -- output ------------------------------------------------------------------------------------- */

bool
stream_is_open(const struct stream *s)
{
	return s->net.state == TRANSPORT_OPEN && s->state != STREAM_ENDED;
}

struct buf *
stream_out(struct stream *s)
{
	return transport_out(&s->net);
}

void
stream_header(struct stream *s, struct slice from, struct slice to)
{
	struct buf *out = stream_out(s);
	unsigned char random[16];
	size_t i;

	buf_printf(out, "<?xml version='1.0'?><stream:stream xmlns='%s' xmlns:stream='" NS_STREAM "'",
	    roles[s->kind]->ns);
	if (s->kind != STREAM_COMPONENT)
		buf_add_string(out, " xmlns:db='" NS_DIALBACK "' version='1.0' xml:lang='en'");
	xml_add_attribute(out, "from", from);
	xml_add_attribute(out, "to", to);
	if (s->kind != STREAM_OUTGOING) {
		free(s->id);
		s->id = mem_alloc(2 * sizeof random + 1);
		gnutls_rnd(GNUTLS_RND_NONCE, random, sizeof random);
		for (i = 0; i < sizeof random; i++)
			snprintf(s->id + 2 * i, 3, "%02x", random[i]);
		xml_add_attribute(out, "id", slice_string(s->id));
	}
	buf_add_char(out, '>');
	s->header_sent = true;
}

void
stream_restart(struct stream *s)
{
	s->state = STREAM_HEADER;
	s->header_sent = false;
	xml_stream_restart(s->xml);
}

void
stream_ready(struct stream *s)
{
	s->state = STREAM_READY;
	s->authenticated = true;
	s->used = daemon_ticks();
	xml_stream_set_limits(s->xml, &settings.limits);
	if (s->domain != NULL)
		xml_stream_set_domain(s->xml, slice_string(s->domain->name));
	stream_rearm(s);
}

/* -- the end ------------------------------------------------------------------------------------ */

/* What is left of a stream is its transport. */
static void
ended(struct stream *s, const char *why)
{
	struct path *path = s->path;

	if (s->state == STREAM_ENDED)
		return;
	s->state = STREAM_ENDED;
	s->path = NULL;
	counts[s->kind]--;
	roles[s->kind]->lost(s, why);
	callback_lost(s);
	if (path != NULL)
		path_lost(path, why);
	proofs_clear(s);
	sm_detach(&s->sm);
	sm_free(&s->sm);
}

void
stream_error(struct stream *s, const char *condition, const char *text)
{
	stream_error_with(s, condition, text, "");
}

void
stream_error_with(struct stream *s, const char *condition, const char *text, const char *extra)
{
	struct buf *out;

	if (!stream_is_open(s))
		return;
	COUNT(stream_errors);
	log_info("stream error", "address=%s domain=%s condition=%s text=%s", address_text(s->net.address),
	    log_quote(slice_string(s->remote)), condition,
	    log_quote(slice_string(text != NULL ? text : "")));
	if (!s->header_sent)
		stream_header(s, SLICE_NONE, SLICE_NONE);
	out = stream_out(s);
	buf_printf(out, "<stream:error><%s xmlns='" NS_STREAMS "'/>", condition);
	if (text != NULL) {
		buf_add_string(out, "<text xmlns='" NS_STREAMS "' xml:lang='en'>");
		xml_add_text(out, slice_string(text));
		buf_add_string(out, "</text>");
	}
	buf_add_string(out, extra);
	buf_add_string(out, "</stream:error></stream:stream>");
	xml_stream_stop(s->xml);
	ended(s, condition);
	transport_finish(&s->net);
}

void
stream_finish(struct stream *s, const char *why)
{
	if (!stream_is_open(s)) {
		stream_lose(s, why);
		return;
	}
	if (s->header_sent)
		buf_add_string(stream_out(s), "</stream:stream>");
	xml_stream_stop(s->xml);
	ended(s, why);
	transport_finish(&s->net);
}

void
stream_lose(struct stream *s, const char *why)
{
	ended(s, why);
	transport_close(&s->net);
}

/* -- headers ------------------------------------------------------------------------------------ */

static bool
version_supported(struct slice version)
{
	const char *dot = version.ptr != NULL ? memchr(version.ptr, '.', version.len) : NULL;
	uint64_t major;

	return dot != NULL && slice_number(slice_part(version, 0, (size_t)(dot - version.ptr)), 1000,
	    &major) == OK && major >= 1;
}

/* Takes what the header says of the peer and of us. NULL when it is fine, else the condition. */
static const char *
take_addresses(struct stream *s, const struct xml_header *h)
{
	char prepared[JID_PART_MAX + 1];
	struct slice name;

	if (s->kind == STREAM_COMPONENT)
		return NULL;
	if (h->from.ptr != NULL) {
		if (jid_prepare_domain(h->from, prepared, &name) != OK)
			return "invalid-from";
		if (s->remote != NULL && s->authenticated && !slice_is(name, s->remote))
			return "invalid-from";
		if (s->kind == STREAM_INCOMING) {
			free(s->remote);
			s->remote = slice_dup(name);
		}
	}
	if (s->kind == STREAM_OUTGOING || h->to.ptr == NULL)
		return NULL;
	if (jid_prepare_domain(h->to, prepared, &name) != OK || domain_find(name) == NULL)
		return "host-unknown";
	if (s->domain != NULL && s->authenticated && !slice_is(name, s->domain->name))
		return "not-authorized";
	s->domain = domain_find(name);
	return NULL;
}

static void
on_header(void *arg, const struct xml_header *h)
{
	struct stream *s = arg;
	const char *wrong;

	if (!stream_is_open(s))
		return;
	if (s->state != STREAM_HEADER) {
		stream_error(s, "bad-format", "a header was not expected");
		return;
	}
	wrong = take_addresses(s, h);
	if (!slice_is(h->ns, NS_STREAM) || !slice_is(h->content_ns, roles[s->kind]->ns))
		wrong = "invalid-namespace";
	else if (!slice_is(h->name, "stream"))
		wrong = "bad-format";
	else if (wrong == NULL && s->kind != STREAM_COMPONENT && !version_supported(h->version))
		wrong = "unsupported-version";
	if (s->kind == STREAM_OUTGOING) {
		free(s->id);
		s->id = h->id.len <= ID_MAX ? slice_dup(h->id) : NULL;
	}
	MEM_FREE(&s->lang);
	if (h->lang.len > 0 && h->lang.len <= LANG_MAX)
		s->lang = slice_dup(h->lang);
	s->state = STREAM_NEGOTIATE;
	if (wrong != NULL)
		stream_error(s, wrong, NULL);
	else
		roles[s->kind]->header(s, h);
}

/* -- elements ----------------------------------------------------------------------------------- */

/* The peer has closed its stream: so do we. */
static void
on_end(void *arg)
{
	struct stream *s = arg;

	if (!stream_is_open(s))
		return;
	transport_flush(&s->net);
	stream_finish(s, "closed by the peer");
}

void
peer_said(const struct xml_element *element, struct buf *out)
{
	struct xmlin_element child;
	struct buf scratch = { 0 };
	struct slice text;
	struct xmlin in;

	buf_add_slice(out, element->child_name);
	xmlin_begin(&in, element->payload, element->ns);
	while (xmlin_child(&in, &child)) {
		if (!slice_is(child.name, "text") || xmlin_text(&child, &scratch, &text) != OK || text.len == 0)
			continue;
		buf_add_string(out, ": ");
		buf_add_slice(out, text);
		break;
	}
	buf_free(&scratch);
}

static void
peer_error(struct stream *s, const struct xml_element *element)
{
	struct buf said = { 0 };
	char why[256];

	peer_said(element, &said);
	snprintf(why, sizeof why, "the peer says: %.*s", SLICE_ARG(buf_slice(&said)));
	log_info("stream error of the peer", "address=%s domain=%s said=%s",
	    address_text(s->net.address), log_quote(slice_string(s->remote)), log_quote(buf_slice(&said)));
	buf_free(&said);
	stream_finish(s, why);
}

static void
on_element(void *arg, const struct xml_element *element)
{
	struct stream *s = arg;

	if (!stream_is_open(s))
		return;
	s->stanza_began = 0;
	if (slice_is(element->ns, NS_STREAM) && slice_is(element->name, "error"))
		peer_error(s, element);
	else if (s->state == STREAM_NEGOTIATE ||
	    (s->state == STREAM_READY && slice_is(element->ns, NS_DIALBACK)))
		roles[s->kind]->element(s, element);
	else if (s->state == STREAM_READY)
		traffic_element(s, element);
	else
		stream_error(s, "bad-format", NULL);
}

static const struct xml_events events = { on_header, on_element, on_end };

/* -- hooks of the transport --------------------------------------------------------------------- */

static void
connected(struct transport *t)
{
	struct stream *s = stream_of(t);

	if (roles[s->kind]->connected != NULL)
		roles[s->kind]->connected(s);
}

static void
secured(struct transport *t)
{
	struct stream *s = stream_of(t);

	s->secured = true;
	stream_restart(s);
	roles[s->kind]->secured(s);
}

static void
bytes_read(struct transport *t, struct slice bytes)
{
	struct stream *s = stream_of(t);
	const char *condition = "undefined-condition";
	int error;

	s->probed = false;
	if (s->state == STREAM_ENDED)
		return;
	error = xml_stream_feed(s->xml, bytes, &condition);
	if (!stream_is_open(s))
		return;
	if (error != OK) {
		stream_error(s, condition, NULL);
	} else if (!xml_stream_busy(s->xml)) {
		s->stanza_began = 0;
		if (roles[s->kind]->fed != NULL)
			roles[s->kind]->fed(s);
	} else if (s->stanza_began == 0 && s->state == STREAM_READY) {
		s->stanza_began = daemon_ticks();
		deadline_hasten(&s->net.deadline, settings.stanza_time);
	}
}

/* Before it is known who speaks there may be keys. */
static bool
is_secret(const struct transport *t)
{
	return stream_of(t)->state != STREAM_READY;
}

/* Stops reading while the router does not take what we send. */
static bool
choke(struct stream *s)
{
	if (s->state != STREAM_READY || !uplink_full())
		return false;
	if (!s->choked) {
		s->choked = true;
		COUNT(custody_full);
		TAILQ_INSERT_TAIL(&choked, s, choke);
	}
	transport_block(&s->net, true);
	return true;
}

static void
unchoke(struct stream *s)
{
	if (s->choked)
		TAILQ_REMOVE(&choked, s, choke);
	s->choked = false;
}

void
streams_ease(void)
{
	struct stream *s;

	while (!uplink_full() && (s = TAILQ_FIRST(&choked)) != NULL) {
		unchoke(s);
		if (stream_is_open(s))
			stream_ease(s);
	}
}

/* Bytes that wait to be sent beyond those of stanzas, which path.c bounds. */
static bool
is_unheard(const struct stream *s, size_t part)
{
	return buf_len(&s->net.out) + buf_len(&s->net.wire) > ANSWERS_MAX / part + settings.limits.stanza_bytes;
}

/* Stops reading a peer that does not read what it is told. */
static bool
hush(struct stream *s)
{
	if (!is_unheard(s, 1))
		return false;
	if (!s->unheard)
		COUNT(answers_full);
	s->unheard = true;
	transport_block(&s->net, true);
	return true;
}

void
stream_ease(struct stream *s)
{
	bool ready = s->state == STREAM_READY;

	if (s->net.blocked && LIST_EMPTY(&s->jobs) && !s->checking && !s->unheard && s->rest == 0 &&
	    (!ready || (sm_window_low(&s->sm) && !uplink_full())))
		transport_block(&s->net, false);
}

static bool
may_read(struct transport *t)
{
	return !choke(stream_of(t)) && !hush(stream_of(t));
}

static void
wrote(struct transport *t)
{
	struct stream *s = stream_of(t);

	if (s->path != NULL)
		path_taken(s->path, t->sealed);
	if (s->unheard && !is_unheard(s, 2)) {
		s->unheard = false;
		stream_ease(s);
	}
	if (s->path != NULL && s->state == STREAM_READY && stream_is_open(s))
		path_write(s->path);
	if (s->state == STREAM_READY && stream_is_open(s))
		traffic_write(s, false);
}

/* A silent peer: asks whether it is there, and gives it up when there is no answer. */
static void
check_silence(struct stream *s)
{
	uint64_t silence = daemon_ticks() - s->net.heard;

	if (s->net.blocked) {
		s->net.heard = daemon_ticks(); /* it is us who do not listen */
	} else if (silence >= 2 * settings.idle_time && s->probed) {
		if (s->net.sealed == s->probed_at && (s->sm.enabled || !transport_alive(&s->net))) {
			stream_lose(s, "silent");
			return;
		}
		s->net.heard = daemon_ticks();
		s->probed = false;
	} else if (silence >= settings.idle_time && !s->probed) {
		s->probed = true;
		if (s->sm.enabled && !s->sm.asked) {
			buf_add_string(stream_out(s), "<r xmlns='" NS_SM "'/>");
			sm_asked(&s->sm);
		} else {
			buf_add_char(stream_out(s), ' ');
		}
		transport_flush(&s->net);
		s->probed_at = s->net.sealed;
		if (!stream_is_open(s))
			return;
	}
	stream_rearm(s);
}

/* Whether it is ours to close when nothing happens: nobody's stanzas are lost by that. */
static bool
may_close(const struct stream *s)
{
	return s->kind == STREAM_OUTGOING && s->state == STREAM_READY && settings.close_time != 0 &&
	    (s->path == NULL || s->path->queue.count == 0) && (LIST_EMPTY(&s->proofs) || s->sm.enabled);
}

void
stream_rearm(struct stream *s)
{
	uint64_t now = daemon_ticks(), at;

	at = s->state == STREAM_READY ? s->net.heard + (s->probed ? 2 : 1) * settings.idle_time : s->until;
	if (s->stanza_began != 0 && s->stanza_began + settings.stanza_time < at)
		at = s->stanza_began + settings.stanza_time;
	if (s->rest != 0 && s->rest < at)
		at = s->rest;
	if (may_close(s) && s->used + settings.close_time < at)
		at = s->used + settings.close_time;
	if ((sm_answer_waits(&s->sm) || (s->sm.unasked > 0 && !s->sm.asked)) && now + 1000 < at)
		at = now + 1000;
	deadline_set(&s->net.deadline, at > now ? at - now : 0);
}

static void
due(struct transport *t)
{
	struct stream *s = stream_of(t);

	if (s->state == STREAM_ENDED || t->state != TRANSPORT_OPEN) {
		stream_lose(s, "out of time");
	} else if (s->state != STREAM_READY) {
		if (daemon_ticks() >= s->until)
			stream_error(s, "connection-timeout", "the negotiation took too long");
		else
			stream_rearm(s);
	} else if (s->stanza_began != 0 && daemon_ticks() - s->stanza_began >= settings.stanza_time &&
	    !s->net.blocked) {
		stream_error(s, "policy-violation", "a stanza took too long");
	} else if (may_close(s) && daemon_ticks() - s->used >= settings.close_time) {
		stream_finish(s, "nothing to say");
	} else {
		if (s->stanza_began != 0 && s->net.blocked)
			s->stanza_began = daemon_ticks(); /* it is us who do not listen */
		if (s->rest != 0 && daemon_ticks() >= s->rest) {
			s->rest = 0;
			stream_ease(s);
		}
		traffic_write(s, true);
		if (stream_is_open(s))
			check_silence(s);
	}
}

static void
lost(struct transport *t, const char *why)
{
	ended(stream_of(t), why);
	unchoke(stream_of(t));
}

static void
freed(struct transport *t)
{
	struct stream *s = stream_of(t);

	LIST_REMOVE(s, all);
	xml_stream_free(&s->xml);
	free(s->remote);
	free(s->id);
	free(s->lang);
	free(s);
}

static struct certificate *
certificate(struct transport *t, struct slice sni)
{
	return domain_certificate(sni, stream_of(t)->domain);
}

static const struct transport_hooks hooks = {
	.connected = connected,
	.secured = secured,
	.read = bytes_read,
	.is_secret = is_secret,
	.may_read = may_read,
	.wrote = wrote,
	.due = due,
	.lost = lost,
	.freed = freed,
	.certificate = certificate,
};

void
stream_encrypt(struct stream *s, const struct tls_settings *how)
{
	transport_flush(&s->net);
	if (!stream_is_open(s))
		return;
	if (buf_len(&s->net.out) + buf_len(&s->net.wire) != 0)
		stream_lose(s, "does not read");
	else
		tls_begin(&s->net, how);
}

struct stream *
stream_new(enum stream_kind kind, int fd, struct address *address, bool connecting)
{
	struct stream *s = mem_alloc(sizeof *s);

	s->kind = (uint8_t)kind;
	LIST_INIT(&s->proofs);
	LIST_INIT(&s->questions);
	LIST_INIT(&s->jobs);
	if (transport_open(&s->net, &hooks, fd, address, connecting) != OK) {
		free(s);
		return NULL;
	}
	s->xml = xml_stream_new(&settings.login_limits, strip, &events, s);
	s->until = daemon_ticks() + settings.login_time;
	deadline_set(&s->net.deadline, settings.login_time);
	LIST_INSERT_HEAD(&all, s, all);
	counts[kind]++;
	return s;
}

void
streams_configured(void)
{
	struct stream *s, *next;

	for (s = LIST_FIRST(&all); s != NULL; s = next) {
		next = LIST_NEXT(s, all);
		if (s->domain != NULL && !s->domain->served)
			stream_error(s, "host-gone", NULL);
	}
}
