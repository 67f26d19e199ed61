/*
 * resolve.c: resolutions under way. Called by those who open streams; libunbound's thread asks and
 * answers through a pipe that the loop polls. A resolution fails, as its outcome says, when DNS does.
 *
 *   SRV --(records)--------------> ADDRESSES --(secure targets)--> TLSA --> DONE
 *    '--(proven that there are none)---^  '--(none is secure)---------------^
 *
 * A round ends when all its questions are answered, or its time is over: then what is missing
 * counts as RESOLVE_TIMEOUT, and what has come is used.
 */
#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <unbound.h>

#include <gnutls/crypto.h>
#include <gnutls/gnutls.h>

#include "error.h"
#include "jid.h"
#include "mem.h"
#include "resolve.h"
#include "resolve_private.h"

#define TYPE_A    1
#define TYPE_AAAA 28
#define TYPE_SRV  33
#define TYPE_TLSA 52
#define CLASS_IN  1

#define QUESTIONS   (2 + 2 * RESOLVE_TARGETS) /* of one round at most */
#define RECORDS_MAX 64u                       /* SRV records of both services */
#define QUESTION_NAME 300u

enum round { ROUND_SRV, ROUND_ADDRESSES, ROUND_TLSA, ROUND_DONE };

/* A host and its addresses, of both families: of one SRV record, of the domain, or configured. */
struct resolve_target {
	struct srv srv;
	enum resolve_source source;
	struct {
		uint8_t bytes[16];
		bool six, secure;
	} addresses[2 * RESOLVE_ADDRESSES];
	size_t count;
	struct tlsa_set tlsa;
	bool dropped;            /* its TLSA records cannot be known: it is not to be used */
};

/* A question to libunbound. */
struct question {
	struct resolve *resolve; /* NULL: free, or answered */
	int id;
	int type;
	bool direct;             /* SRV: of _xmpps-server */
	struct resolve_target *target;
	char name[QUESTION_NAME];
};

struct resolve {
	struct resolver *resolver;
	const struct resolve_events *events;
	void *arg;
	uv_timer_t timer;
	enum round round;
	char domain[256];        /* A-labels */
	struct question questions[QUESTIONS];
	size_t asked, waiting;
	struct srv records[RECORDS_MAX];
	size_t records_count;
	bool has_srv, srv_secure; /* some SRV record was there; what the answers said is secure */
	struct resolution *resolution;
};

static const char *
type_text(int type)
{
	switch (type) {
	case TYPE_A:
		return "A";
	case TYPE_AAAA:
		return "AAAA";
	case TYPE_SRV:
		return "SRV";
	}
	return "TLSA";
}

const char *
resolve_outcome_text(enum resolve_outcome outcome)
{
	static const char *const texts[] = { "ok", "nxdomain", "nodata", "not-offered", "timeout", "servfail",
		"bogus" };

	return texts[outcome];
}

const char *
resolve_source_text(enum resolve_source source)
{
	static const char *const texts[] = { "srv", "address", "literal", "configured" };

	return texts[source];
}

void
resolution_free(struct resolution **resolution)
{
	size_t i;

	if (*resolution == NULL)
		return;
	for (i = 0; i < (*resolution)->targets_count; i++) {
		tlsa_clear(&(*resolution)->targets[i]->tlsa);
		free((*resolution)->targets[i]);
	}
	MEM_FREE(resolution);
}

/* -- asking -------------------------------------------------------------------------------------- */

static void round_end(struct resolve *r);

/* Says how a question ended, and remembers the worst that has happened in its round. */
static void
report(struct question *q, const struct dns_answer *answer)
{
	struct resolve *r = q->resolve;

	if (answer->outcome > r->resolution->outcome) {
		r->resolution->outcome = answer->outcome;
		snprintf(r->resolution->why, sizeof r->resolution->why, "%s of %s: %s%s%.120s", answer->type,
		    answer->name, resolve_outcome_text(answer->outcome), answer->why[0] != '\0' ? ": " : "",
		    answer->why);
	}
	if (answer->records > 0 && (r->resolution->ttl == 0 || answer->ttl < r->resolution->ttl))
		r->resolution->ttl = answer->ttl > 0 ? answer->ttl : 1;
	if (r->events->answer != NULL)
		r->events->answer(r->arg, answer);
}

/* Keeps SRV records; one that is malformed is as if it were not there. */
static void
take_srv(struct question *q, const struct ub_result *result)
{
	struct resolve *r = q->resolve;
	size_t i;

	for (i = 0; result->data[i] != NULL; i++) {
		struct srv *srv = &r->records[r->records_count];

		if (r->records_count == RECORDS_MAX) {
			r->resolution->truncated = true;
			return;
		}
		r->has_srv = true;
		srv->direct = q->direct;
		srv->secure = result->secure != 0;
		if (srv_read(slice_of(result->data[i], (size_t)result->len[i]), srv) == OK)
			r->records_count++;
	}
}

static void
take_addresses(struct question *q, const struct ub_result *result)
{
	struct resolve_target *target = q->target;
	bool six = q->type == TYPE_AAAA;
	int size = six ? 16 : 4;
	size_t i, taken = 0;

	for (i = 0; result->data[i] != NULL; i++) {
		if (result->len[i] != size)
			continue;
		if (taken++ == RESOLVE_ADDRESSES) {
			q->resolve->resolution->truncated = true;
			return;
		}
		memcpy(target->addresses[target->count].bytes, result->data[i], (size_t)size);
		target->addresses[target->count].six = six;
		target->addresses[target->count++].secure = result->secure != 0;
	}
}

/* Records that do not come with a proof are none (RFC 7673 section 3.4). */
static void
take_tlsa(struct question *q, const struct ub_result *result)
{
	size_t i;

	for (i = 0; result->secure && result->data[i] != NULL; i++)
		tlsa_add(&q->target->tlsa, slice_of(result->data[i], (size_t)result->len[i]));
}

static void
take(struct question *q, const struct ub_result *result)
{
	switch (q->type) {
	case TYPE_SRV:
		take_srv(q, result);
		break;
	case TYPE_TLSA:
		take_tlsa(q, result);
		break;
	default:
		take_addresses(q, result);
	}
}

static enum resolve_outcome
outcome_of(const struct ub_result *result)
{
	if (result->bogus)
		return RESOLVE_BOGUS;
	if (result->nxdomain)
		return RESOLVE_NXDOMAIN;
	if (result->rcode != 0)
		return RESOLVE_SERVFAIL;
	return result->havedata ? RESOLVE_OK : RESOLVE_NODATA;
}

/* What holds for a question that was not answered, or with a failure. */
static void
question_failed(struct question *q, enum resolve_outcome outcome)
{
	if (q->type == TYPE_TLSA && outcome > RESOLVE_NODATA)
		q->target->dropped = true;
	if (q->type == TYPE_SRV)
		q->resolve->srv_secure = false;
}

/* An answer of libunbound; result is ours to free. */
static void
on_answer(void *arg, int error, struct ub_result *result)
{
	struct question *q = arg;
	struct resolve *r = q->resolve;
	struct dns_answer answer = { q->name, type_text(q->type), RESOLVE_SERVFAIL, false, 0, 0, "" };
	size_t i;

	if (error != 0 || result == NULL) {
		answer.why = ub_strerror(error);
	} else {
		answer.outcome = outcome_of(result);
		answer.secure = result->secure != 0;
		answer.ttl = result->ttl > 0 ? (unsigned)result->ttl : 0;
		answer.why = result->bogus && result->why_bogus != NULL ? result->why_bogus : "";
	}
	if (answer.outcome == RESOLVE_OK) {
		for (i = 0; result->data[i] != NULL; i++)
			answer.records++;
		take(q, result);
	}
	if (answer.outcome > RESOLVE_NODATA)
		question_failed(q, answer.outcome);
	else if (q->type == TYPE_SRV && !answer.secure)
		r->srv_secure = false;
	report(q, &answer);
	if (result != NULL)
		ub_resolve_free(result);
	q->resolve = NULL;
	if (--r->waiting == 0)
		round_end(r);
}

/* Puts a question; what libunbound does not take is answered with a failure when the round begins. */
static void
ask(struct resolve *r, int type, struct resolve_target *target, bool direct, const char *name)
{
	struct question *q = &r->questions[r->asked];
	int code;

	*q = (struct question){ .resolve = r, .type = type, .target = target, .direct = direct };
	snprintf(q->name, sizeof q->name, "%s", name);
	code = ub_resolve_async(r->resolver->context, q->name, type, CLASS_IN, q, on_answer, &q->id);
	if (code == 0) {
		r->asked++;
		r->waiting++;
		return;
	}
	question_failed(q, RESOLVE_SERVFAIL);
	report(q, &(struct dns_answer){ q->name, type_text(type), RESOLVE_SERVFAIL, false, 0, 0,
	    ub_strerror(code) });
	q->resolve = NULL;
}

/* Forgets the questions that have no answer yet. */
static void
questions_cancel(struct resolve *r, bool late)
{
	size_t i;

	for (i = 0; i < r->asked; i++) {
		struct question *q = &r->questions[i];

		if (q->resolve == NULL)
			continue;
		ub_cancel(r->resolver->context, q->id);
		if (late) {
			question_failed(q, RESOLVE_TIMEOUT);
			report(q, &(struct dns_answer){ q->name, type_text(q->type), RESOLVE_TIMEOUT, false,
			    0, 0, "" });
		}
		q->resolve = NULL;
	}
	r->asked = r->waiting = 0;
}

/* -- what becomes of it -------------------------------------------------------------------------- */

static void
on_closed(uv_handle_t *handle)
{
	free(handle->data);
}

static void
resolve_close(struct resolve *r)
{
	r->resolver->busy--;
	uv_close((uv_handle_t *)&r->timer, on_closed);
}

static void
candidate_add(struct resolution *resolution, const struct resolve_target *target, size_t n)
{
	struct candidate *c = &resolution->candidates[resolution->count];

	if (resolution->count == RESOLVE_CANDIDATES) {
		resolution->truncated = true;
		return;
	}
	resolution->count++;
	*c = (struct candidate){ .port = target->srv.port, .priority = target->srv.priority,
		.weight = target->srv.weight, .direct = target->srv.direct, .source = target->source,
		.secure = target->srv.secure && target->addresses[n].secure, .target = target->srv.target };
	if (target->addresses[n].six) {
		c->address.six.sin6_family = AF_INET6;
		c->address.six.sin6_port = htons(target->srv.port);
		memcpy(&c->address.six.sin6_addr, target->addresses[n].bytes, 16);
	} else {
		c->address.four.sin_family = AF_INET;
		c->address.four.sin_port = htons(target->srv.port);
		memcpy(&c->address.four.sin_addr, target->addresses[n].bytes, 4);
	}
	/* Also of an insecure address of the same target: the certificate is asked for all the same. */
	if (target->tlsa.count + target->tlsa.unusable > 0)
		c->tlsa = &target->tlsa;
}

/* Makes candidates of a target's addresses, those of IPv6 first, whichever came first. */
static void
target_take(struct resolution *resolution, const struct resolve_target *target)
{
	size_t n;

	if (target->dropped)
		return;
	for (n = 0; n < target->count; n++) {
		if (target->addresses[n].six)
			candidate_add(resolution, target, n);
	}
	for (n = 0; n < target->count; n++) {
		if (!target->addresses[n].six)
			candidate_add(resolution, target, n);
	}
}

static void
resolve_done(struct resolve *r)
{
	struct resolution *resolution = r->resolution;
	size_t i;

	r->round = ROUND_DONE;
	for (i = 0; i < resolution->targets_count; i++)
		target_take(resolution, resolution->targets[i]);
	if (resolution->count > 0) {
		resolution->outcome = RESOLVE_OK;
		resolution->why[0] = '\0';
	} else if (resolution->outcome == RESOLVE_OK) {
		resolution->outcome = RESOLVE_NODATA;
		snprintf(resolution->why, sizeof resolution->why, "no usable record of %.200s", r->domain);
	}
	r->resolution = NULL;
	resolve_close(r);
	r->events->done(r->arg, resolution);
}

static struct resolve_target *
target_add(struct resolve *r, enum resolve_source source, const struct srv *srv)
{
	struct resolution *resolution = r->resolution;
	struct resolve_target *target;

	if (resolution->targets_count == RESOLVE_TARGETS) {
		resolution->truncated = true;
		return NULL;
	}
	target = mem_alloc(sizeof *target);
	target->source = source;
	target->srv = *srv;
	resolution->targets[resolution->targets_count++] = target;
	return target;
}

/* Takes a host that is an address itself. */
static bool
target_literal(struct resolve_target *target)
{
	uint8_t bytes[16];
	bool six = inet_pton(AF_INET6, target->srv.target, bytes) == 1;

	if (!six && inet_pton(AF_INET, target->srv.target, bytes) != 1)
		return false;
	memcpy(target->addresses[0].bytes, bytes, six ? 16 : 4);
	target->addresses[0].six = six;
	target->count = 1;
	return true;
}

static void
on_time(uv_timer_t *timer)
{
	struct resolve *r = timer->data;

	questions_cancel(r, true);
	round_end(r);
}

/* The round's questions are put: waits for them, or, when there are none, for the loop. */
static void
round_wait(struct resolve *r)
{
	uv_timer_start(&r->timer, on_time, r->waiting > 0 ? r->resolver->timeout : 0, 0);
}

static void
round_begin(struct resolve *r, enum round round)
{
	r->round = round;
	r->asked = r->waiting = 0;
}

static void
round_srv(struct resolve *r)
{
	char name[QUESTION_NAME];

	round_begin(r, ROUND_SRV);
	r->srv_secure = true;
	snprintf(name, sizeof name, "_xmpp-server._tcp.%s", r->domain);
	ask(r, TYPE_SRV, NULL, false, name);
	snprintf(name, sizeof name, "_xmpps-server._tcp.%s", r->domain);
	ask(r, TYPE_SRV, NULL, true, name);
	round_wait(r);
}

static void
round_addresses(struct resolve *r)
{
	struct resolution *resolution = r->resolution;
	size_t i;

	resolution->outcome = RESOLVE_OK; /* what matters now is whether there are addresses */
	round_begin(r, ROUND_ADDRESSES);
	for (i = 0; i < resolution->targets_count; i++) {
		struct resolve_target *target = resolution->targets[i];

		if (target->count > 0)
			continue;
		ask(r, TYPE_AAAA, target, false, target->srv.target);
		ask(r, TYPE_A, target, false, target->srv.target);
	}
	round_wait(r);
}

static bool
target_secure(const struct resolve_target *target)
{
	size_t i;

	for (i = 0; i < target->count; i++) {
		if (target->srv.secure && target->addresses[i].secure)
			return true;
	}
	return false;
}

static void
round_tlsa(struct resolve *r)
{
	struct resolution *resolution = r->resolution;
	char name[QUESTION_NAME];
	size_t i;

	round_begin(r, ROUND_TLSA);
	for (i = 0; i < resolution->targets_count; i++) {
		struct resolve_target *target = resolution->targets[i];

		if (!target_secure(target))
			continue;
		snprintf(name, sizeof name, "_%u._tcp.%s", (unsigned)target->srv.port, target->srv.target);
		ask(r, TYPE_TLSA, target, false, name);
	}
	if (r->waiting > 0)
		round_wait(r);
	else
		resolve_done(r);
}

static uint32_t
random_number(void *arg, uint32_t n)
{
	uint64_t number = 0;

	(void)arg;
	gnutls_rnd(GNUTLS_RND_NONCE, &number, sizeof number);
	return (uint32_t)(number % ((uint64_t)n + 1));
}

/* The SRV records are there, or there are none. */
static void
srv_end(struct resolve *r)
{
	size_t i;

	srv_order(r->records, r->records_count, random_number, NULL);
	for (i = 0; i < r->records_count; i++) {
		if (r->records[i].target[0] != '\0')
			target_add(r, SOURCE_SRV, &r->records[i]);
	}
	if (r->resolution->targets_count > 0) {
		round_addresses(r);
	} else if (r->has_srv && r->records_count > 0 && r->resolution->outcome <= RESOLVE_NODATA) {
		r->resolution->outcome = RESOLVE_NOT_OFFERED;
		snprintf(r->resolution->why, sizeof r->resolution->why, "SRV of %.200s: not-offered", r->domain);
		resolve_done(r);
	} else if (r->resolution->outcome > RESOLVE_NODATA) {
		resolve_done(r);
	} else if (r->has_srv) {
		r->resolution->outcome = RESOLVE_NODATA;
		snprintf(r->resolution->why, sizeof r->resolution->why, "SRV of %.200s: malformed", r->domain);
		resolve_done(r);
	} else {
		struct srv srv = { .port = XMPP_SERVER_PORT, .secure = r->srv_secure };

		snprintf(srv.target, sizeof srv.target, "%s", r->domain);
		target_add(r, SOURCE_ADDRESS, &srv);
		round_addresses(r);
	}
}

static void
round_end(struct resolve *r)
{
	uv_timer_stop(&r->timer);
	switch (r->round) {
	case ROUND_SRV:
		srv_end(r);
		break;
	case ROUND_ADDRESSES:
		round_tlsa(r);
		break;
	default:
		resolve_done(r);
	}
}

/* Makes targets of what the configuration says, in its order. */
static int
configured_take(struct resolve *r, const struct configured *peers, size_t count)
{
	char host[JID_PART_MAX + 1];
	struct slice part;
	size_t i;

	for (i = 0; i < count; i++) {
		struct srv srv = { .priority = (uint16_t)i, .port = peers[i].port, .direct = peers[i].direct,
			.secure = !peers[i].plain };
		struct resolve_target *target;

		if (peers[i].host.len < SRV_NAME)
			memcpy(srv.target, peers[i].host.ptr, peers[i].host.len);
		target = target_add(r, SOURCE_CONFIGURED, &srv);
		if (target == NULL || target_literal(target))
			continue;
		if (jid_prepare_domain(peers[i].host, host, &part) != OK ||
		    jid_domain_ascii(part, target->srv.target) != OK)
			return E_MALFORMED;
	}
	return OK;
}

/* Takes a domain that is an address. */
static bool
literal_take(struct resolve *r, struct slice domain)
{
	struct srv srv = { .port = XMPP_SERVER_PORT };
	bool bracketed = domain.len > 2 && domain.ptr[0] == '[';
	struct slice text = bracketed ? slice_part(domain, 1, domain.len - 2) : domain;
	uint8_t bytes[16];

	if (text.len >= INET6_ADDRSTRLEN)
		return false;
	memcpy(srv.target, text.ptr, text.len);
	if (inet_pton(bracketed ? AF_INET6 : AF_INET, srv.target, bytes) != 1)
		return false;
	return target_literal(target_add(r, SOURCE_LITERAL, &srv));
}

int
resolve_begin(struct resolver *resolver, struct slice domain, const struct configured *peers,
    size_t count, const struct resolve_events *events, void *arg, struct resolve **resolve)
{
	struct resolve *r;
	bool literal;

	if (resolver->busy == RESOLVE_MAX)
		return E_FULL;
	r = mem_alloc(sizeof *r);
	r->resolution = mem_alloc(sizeof *r->resolution);
	r->resolver = resolver;
	r->events = events;
	r->arg = arg;
	literal = count == 0 && literal_take(r, domain);
	if ((!literal && jid_domain_ascii(domain, r->domain) != OK) ||
	    configured_take(r, peers, count) != OK) {
		resolution_free(&r->resolution);
		free(r);
		return E_MALFORMED;
	}
	uv_timer_init(resolver->loop, &r->timer);
	r->timer.data = r;
	resolver->busy++;
	*resolve = r;
	if (literal || count > 0)
		round_addresses(r);
	else
		round_srv(r);
	return OK;
}

void
resolve_cancel(struct resolve **resolve)
{
	struct resolve *r = *resolve;

	*resolve = NULL;
	questions_cancel(r, false);
	resolution_free(&r->resolution);
	resolve_close(r);
}

/* -- configured peers ---------------------------------------------------------------------------- */

/* The host of "HOST[:PORT]"; *port stays what it is without one. */
static int
host_read(struct slice text, struct slice *host, uint16_t *port)
{
	const char *end;
	struct slice rest;
	uint64_t n;
	bool bracketed = text.len > 0 && text.ptr[0] == '[';

	end = text.len > 0 ? memchr(text.ptr, bracketed ? ']' : ':', text.len) : NULL;
	if (end == NULL) {
		*host = text;
		return bracketed || text.len == 0 ? E_MALFORMED : OK;
	}
	*host = slice_part(text, bracketed, (size_t)(end - text.ptr) - bracketed);
	rest = slice_part(text, (size_t)(end - text.ptr) + bracketed, text.len);
	if (host->len == 0 || (rest.len > 0 && rest.ptr[0] != ':'))
		return E_MALFORMED;
	if (rest.len == 0)
		return OK;
	if (slice_number(slice_part(rest, 1, rest.len), UINT16_MAX, &n) != OK || n == 0)
		return E_MALFORMED;
	*port = (uint16_t)n;
	return OK;
}

int
configured_read(struct slice text, struct configured *configured)
{
	static const struct slice tls = { " tls", 4 };
	char host[JID_PART_MAX + 1], ascii[256], address[INET6_ADDRSTRLEN] = "";
	uint8_t bytes[16];
	struct slice part;
	bool bracketed = text.len > 0 && text.ptr[0] == '[';

	*configured = (struct configured){ .port = XMPP_SERVER_PORT };
	configured->direct = text.len > tls.len &&
	    slice_equal(slice_part(text, text.len - tls.len, tls.len), tls);
	if (configured->direct)
		text.len -= tls.len;
	if (host_read(text, &configured->host, &configured->port) != OK)
		return E_MALFORMED;
	if (bracketed) {
		if (configured->host.len >= sizeof address)
			return E_MALFORMED;
		memcpy(address, configured->host.ptr, configured->host.len);
		return inet_pton(AF_INET6, address, bytes) == 1 ? OK : E_MALFORMED;
	}
	return jid_prepare_domain(configured->host, host, &part) == OK &&
	    jid_domain_ascii(part, ascii) == OK ? OK : E_MALFORMED;
}
