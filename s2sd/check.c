/*
 * check.c: what both kinds of streams between servers need of DNS, of certificates and of the history.
 *
 * Called by main.c at the start, then by incoming.c and outgoing.c. Files are read before the lock-down.
 *
 *   VERIFYING --(good, its authority is to be asked)--> ASKING --(a response, or none)--> VERIFYING again --> done
 *       '---(all others)---------------------------------'--(none is needed)-------------------------------^
 */
#include "s2sd.h"

#include <fcntl.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "counter.h"
#include "error.h"
#include "log.h"
#include "mem.h"
#include "ns.h"
#include "responder.h"
#include "xmlin.h"

#define CRLS_MAX      16u
#define FILE_MAX      (8u << 20)
#define DNS_TIME      5000u        /* milliseconds of each round */
#define DOMAINS_KEPT  2000u
#define HISTORY_BYTES (16u << 20)
#define ANSWERS       1000u        /* responses of OCSP that are kept */
#define ANSWERS_BYTES (4u << 20)

struct resolver *resolver;
struct attempts *history;

static struct trust *trust;
static struct resolver_options options;
static struct answers *answers;
static size_t checks;

/* -- the start ---------------------------------------------------------------------------------- */

/* Appends the content of a file. */
static int
file_read(const char *path, struct buf *out)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n = -1;

	while (fd >= 0 && buf_len(out) < FILE_MAX &&
	    (n = read(fd, buf_reserve(out, 65536), 65536)) > 0)
		buf_added(out, (size_t)n);
	if (n != 0)
		log_error("file not read", "path=%s reason=\"%s\"", path,
		    n > 0 ? "too big" : strerror(errno));
	if (fd >= 0)
		close(fd);
	return n == 0 ? OK : E_SYSTEM;
}

/* The value of an option, NULL when it is empty; to be freed. */
static char *
path_option(const struct config *config, const char *option)
{
	struct slice text = config_text(config, "s2s", "", option);

	return text.len != 0 ? slice_dup(text) : NULL;
}

static int
trust_read(const struct config *config)
{
	struct buf anchors = { 0 }, crls[CRLS_MAX] = { { 0 } };
	char *path = path_option(config, "ca-file");
	struct slice lists[CRLS_MAX], name;
	int error = OK;
	size_t i;

	if (path != NULL)
		error = file_read(path, &anchors);
	free(path);
	for (i = 0; error == OK && config_list(config, "s2s", "", "crl-files", i, &name); i++) {
		if (i == CRLS_MAX)
			return E_TOO_MANY;
		path = slice_dup(name);
		error = file_read(path, &crls[i]);
		lists[i] = buf_slice(&crls[i]);
		free(path);
	}
	if (error == OK)
		error = trust_new(buf_len(&anchors) != 0 ? buf_slice(&anchors) : SLICE_NONE, lists, i, NULL,
		    &trust);
	if (error)
		log_error("trust anchors not read", "reason=\"%s\"", error_text(error));
	buf_free(&anchors);
	for (i = 0; i < CRLS_MAX; i++)
		buf_free(&crls[i]);
	return error;
}

int
checks_configure(const struct config *config)
{
	static const char root_key[] = "/usr/share/dns/root.key";

	options = (struct resolver_options){
		.nameserver = path_option(config, "nameserver"),
		.hosts = "/etc/hosts",
		.trust_anchor = path_option(config, "trust-anchor"),
		.dnssec = config_flag(config, "s2s", "", "dnssec"),
		.timeout = DNS_TIME,
	};
	if (options.trust_anchor == NULL && access(root_key, R_OK) == 0)
		options.trust_anchor = root_key;
	if (access(options.hosts, R_OK) != 0)
		options.hosts = NULL;
	history = attempts_new(DOMAINS_KEPT, HISTORY_BYTES);
	answers = answers_new(ANSWERS, ANSWERS_BYTES);
	return trust_read(config);
}

int
checks_start(uv_loop_t *loop)
{
	int error = resolver_new(loop, &options, &resolver);

	return error != OK ? error : responders_start(loop, resolver);
}

void
checks_gauges(void)
{
	GAUGE(resolutions, resolver_busy(resolver));
	GAUGE(checks, checks);
	GAUGE(ocsp_asking, responders_busy());
	GAUGE(ocsp_answers, answers_count(answers));
	GAUGE(history_domains, attempts_domains(history));
	GAUGE(history_bytes, attempts_bytes(history));
}

/* -- certificates ------------------------------------------------------------------------------- */

/* A verification on its way: all that it needs is its own, since the stream may end meanwhile. */
struct check {
	uv_work_t work;
	struct stream *stream; /* NULL: cancelled */
	struct attempt *attempt;
	void (*done)(struct stream *s, const struct verify_result *result);
	struct trust *trust;
	gnutls_datum_t chain[VERIFY_SENT];
	unsigned count;
	char *domain, *target;
	struct tlsa_set tlsa;
	struct buf ocsp;
	bool has_tlsa, is_client;
	enum ocsp_fetch fetch;
	bool wanted;           /* its authority is to be asked */
	bool again;            /* it was asked: this is the second time */
	bool fetched;          /* the response was not stapled */
	char responder[OCSP_URL], url[OCSP_URL]; /* the one configured, that in the certificate */
	char missing[VERIFY_REASON]; /* why there is no response; "": nobody was asked */
	struct buf request;
	struct inquiry *inquiry;
	struct verify_result result;
};

static void
check_free(struct check *c)
{
	while (c->count > 0)
		free(c->chain[--c->count].data);
	trust_drop(&c->trust);
	tlsa_clear(&c->tlsa);
	buf_free(&c->ocsp);
	buf_free(&c->request);
	free(c->domain);
	free(c->target);
	free(c);
	checks--;
}

/* Whether the authority is to be asked: only about a certificate that is good so far, so that it is one of ours
 * which has named the URL, and only when something depends on it. */
static bool
wants_answer(const struct check *c)
{
	const struct verify_result *r = &c->result;

	return c->fetch != OCSP_OFF && r->pkix == VERIFY_OK && r->checks[VERIFY_OCSP].verdict == VERIFY_NOT_DONE &&
	    r->dane != VERIFY_FAILED && !r->dane_alone;
}

static void
run(uv_work_t *work)
{
	struct check *c = work->data;
	struct verify_peer peer = {
		.chain = c->chain, .count = c->count, .domain = slice_string(c->domain),
		.target = c->target, .tlsa = c->has_tlsa ? &c->tlsa : NULL, .is_client = c->is_client,
		.ocsp = buf_len(&c->ocsp) != 0 ? buf_slice(&c->ocsp) : SLICE_NONE, .now = time(NULL),
		.ocsp_fetched = c->fetched, .ocsp_required = c->again && c->fetch == OCSP_REQUIRE,
		.ocsp_missing = c->missing[0] != '\0' ? c->missing : NULL,
	};

	verify(c->trust, &peer, &c->result);
	c->wanted = !c->again && wants_answer(c);
	if (c->wanted && ocsp_request_for(c->trust, c->chain, c->count, &c->request, c->url) != OK)
		c->url[0] = c->responder[0] = '\0';
}

static void finished(uv_work_t *work, int status);

static void
check_run(struct check *c)
{
	c->work.data = c;
	uv_queue_work(daemon_loop(), &c->work, run, finished);
}

static void
check_end(struct check *c)
{
	if (c->stream != NULL)
		c->done(c->stream, &c->result);
	check_free(c);
	daemon_dirty();
}

/* -- asking the authority (OCSP) ------------------------------------------------------------------ */

/* There is no response. */
static void
go_without(struct check *c, const char *why)
{
	attempt_step(c->attempt, daemon_ticks(), "ocsp", ATTEMPT_FAILED, "reason='%s'",
	    attempt_text(slice_string(why)));
	snprintf(c->missing, sizeof c->missing, "%s", why);
	c->again = true;
	check_run(c);
}

static void
go_with(struct check *c, struct slice response, const char *from)
{
	attempt_step(c->attempt, daemon_ticks(), "ocsp", ATTEMPT_OK, "from=%s bytes=%zu", from, response.len);
	buf_add_slice(&c->ocsp, response);
	c->again = c->fetched = true;
	check_run(c);
}

static void
answered(void *arg, struct slice response, const char *why)
{
	struct check *c = arg;

	c->inquiry = NULL;
	if (response.ptr != NULL) {
		go_with(c, response, "responder");
	} else {
		COUNT(ocsp_unanswered);
		go_without(c, why);
	}
	daemon_dirty();
}

static void
ask(struct check *c)
{
	const char *url = c->responder[0] != '\0' ? c->responder : c->url;
	struct slice kept = answers_get(answers, buf_slice(&c->request), time(NULL));
	int error;

	if (kept.ptr != NULL) {
		go_with(c, kept, "memory");
		return;
	}
	if (url[0] == '\0') {
		go_without(c, "the certificate names no responder");
		return;
	}
	attempt_step(c->attempt, daemon_ticks(), "ocsp", ATTEMPT_NOTED, "url='%s' from=%s",
	    attempt_text(slice_string(url)), url == c->responder ? "configuration" : "certificate");
	error = responder_ask(url, buf_slice(&c->request), answered, c, &c->inquiry);
	if (error == OK) {
		COUNT(ocsp_asked);
		return;
	}
	if (error == E_FULL)
		COUNT(ocsp_refused);
	go_without(c, error == E_FULL ? "too many requests are under way" : "nobody can be asked at this URL");
}

/* Keeps a response that has proven to be one. */
static void
keep_answer(const struct check *c)
{
	if (c->fetched && c->result.ocsp_until != 0)
		answers_put(answers, buf_slice(&c->request), buf_slice(&c->ocsp), c->result.ocsp_until, time(NULL));
}

static void
finished(uv_work_t *work, int status)
{
	struct check *c = work->data;

	(void)status;
	if (c->again)
		keep_answer(c);
	if (c->wanted && c->stream != NULL)
		ask(c);
	else
		check_end(c);
}

/* -- beginning ------------------------------------------------------------------------------------ */

/* Copies TLSA records, which belong to the resolution. */
static void
copy_tlsa(struct check *c, const struct candidate *candidate)
{
	struct buf rdata = { 0 };
	size_t i;

	c->has_tlsa = true;
	c->target = mem_string(candidate->target);
	for (i = 0; i < candidate->tlsa->count; i++) {
		const struct tlsa *record = &candidate->tlsa->records[i];

		buf_clear(&rdata);
		buf_add_char(&rdata, (char)record->usage);
		buf_add_char(&rdata, (char)record->selector);
		buf_add_char(&rdata, (char)record->matching);
		buf_add_slice(&rdata, record->data);
		tlsa_add(&c->tlsa, buf_slice(&rdata));
	}
	c->tlsa.unusable = candidate->tlsa->unusable;
	buf_free(&rdata);
}

struct check *
check_begin(struct stream *s, struct attempt *attempt, struct slice domain,
    const struct candidate *candidate, void (*done)(struct stream *s, const struct verify_result *result))
{
	const struct policy *policy = policy_of(domain);
	struct check *c = mem_alloc(sizeof *c);
	gnutls_datum_t status;
	const gnutls_datum_t *chain;
	unsigned count, i;

	checks++;
	c->stream = s;
	c->attempt = attempt;
	c->done = done;
	c->fetch = policy->ocsp_fetch;
	snprintf(c->responder, sizeof c->responder, "%s", policy->ocsp_responder);
	c->trust = trust_hold(trust);
	c->domain = slice_dup(domain);
	c->is_client = candidate == NULL;
	chain = transport_peer_chain(&s->net, &count);
	for (i = 0; i < count && i < VERIFY_SENT; i++) {
		c->chain[i].data = mem_copy(chain[i].data, chain[i].size);
		c->chain[i].size = chain[i].size;
		c->count++;
	}
	if (candidate != NULL && candidate->tlsa != NULL)
		copy_tlsa(c, candidate);
	if (candidate != NULL && transport_peer_status(&s->net, 0, &status) == OK)
		buf_add(&c->ocsp, status.data, status.size);
	check_run(c);
	return c;
}

/* What is on a thread ends there; who waits for an answer does not wait any more. */
void
check_cancel(struct check **check)
{
	struct check *c = *check;

	*check = NULL;
	if (c == NULL)
		return;
	c->stream = NULL;
	c->attempt = NULL;
	if (c->inquiry != NULL) {
		responder_cancel(&c->inquiry);
		check_free(c);
	}
}

bool
check_is_good(const struct verify_result *result)
{
	return result->dane != VERIFY_NOT_DONE ? result->dane == VERIFY_OK : result->pkix == VERIFY_OK;
}

const char *
check_reason(const struct verify_result *result)
{
	size_t i;

	for (i = 0; i < VERIFY_CHECKS; i++) {
		if (result->checks[i].verdict == VERIFY_FAILED)
			return result->checks[i].reason;
	}
	return "it has shown no certificate";
}

void
check_report(struct attempt *attempt, const struct stream *s, const struct verify_result *result)
{
	static const enum attempt_verdict verdicts[] = {
		[VERIFY_NOT_DONE] = ATTEMPT_SKIPPED, [VERIFY_OK] = ATTEMPT_OK,
		[VERIFY_FAILED] = ATTEMPT_FAILED,
	};
	struct buf tls = { 0 };
	size_t i;

	tls_describe(&s->net, &tls);
	attempt_step(attempt, daemon_ticks(), "tls", ATTEMPT_OK, "session='%s'",
	    attempt_text(buf_slice(&tls)));
	buf_free(&tls);
	for (i = 0; i < VERIFY_CHECKS; i++)
		attempt_step(attempt, daemon_ticks(), "certificate", verdicts[result->checks[i].verdict],
		    "check='%s' reason='%s'", verify_check_text((enum verify_check)i),
		    attempt_text(slice_string(result->checks[i].reason)));
}

/* -- features ----------------------------------------------------------------------------------- */

/* Whether EXTERNAL is among the mechanisms of SASL. */
static bool
has_external(const struct xmlin_element *mechanisms)
{
	struct xmlin_element mechanism;
	struct buf scratch = { 0 };
	bool found = false;
	struct xmlin in;

	xmlin_begin(&in, mechanisms->content, mechanisms->ns);
	while (xmlin_child(&in, &mechanism)) {
		struct slice text;

		buf_clear(&scratch);
		found |= xmlin_text(&mechanism, &scratch, &text) == OK && slice_is(text, "EXTERNAL");
	}
	buf_free(&scratch);
	return found;
}

void
features_read(const struct xml_element *element, struct features *features)
{
	struct xmlin_element child;
	struct xmlin in;

	*features = (struct features){ 0 };
	xmlin_begin(&in, element->payload, SLICE(NS_STREAM));
	while (xmlin_child(&in, &child)) {
		features->starttls |= slice_is(child.ns, NS_TLS);
		features->external |= slice_is(child.ns, NS_SASL) && has_external(&child);
		features->dialback |= slice_is(child.ns, NS_DIALBACK_FEATURE);
		features->bidi |= slice_is(child.ns, NS_BIDI_FEATURE);
		features->sm |= slice_is(child.ns, NS_SM);
		features->once |= slice_is(child.ns, NS_ONCE);
	}
}
