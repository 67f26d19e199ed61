/*
 * tls.c: credentials, handshakes, channel bindings.
 *
 * Called by the daemon (STARTTLS, direct TLS) and transport.c (socket events). A handshake runs step by
 * step on the thread pool, since it costs a private-key operation of authd and a key exchange of
 * ours; between steps the loop waits for the socket. A handshake that fails closes its connection.
 * The daemon chooses the certificate.
 */
#include "tls.h"

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

#include <gnutls/abstract.h>
#include <gnutls/crypto.h>
#include <gnutls/x509.h>

#include "counter.h"
#include "daemon.h"
#include "error.h"
#include "key.h"
#include "listener.h"
#include "log.h"
#include "mem.h"

#define CHAIN_MAX 16u

struct certificate {
	atomic_uint refs;
	char *domain;
	char *pem;                  /* base64, as it was configured */
	gnutls_pcert_st chain[CHAIN_MAX];
	unsigned count;
	gnutls_privkey_t key;       /* external: authd has it */
	unsigned char key_id[KEY_ID_SIZE];
	gnutls_pk_algorithm_t algorithm;
	unsigned bits;
	unsigned char endpoint[64]; /* hash of the certificate for tls-server-end-point */
	size_t endpoint_len;        /* 0: not defined for its signature */
};

/* A step of a handshake on a thread of the pool. */
struct step {
	uv_work_t work;
	struct transport *transport;
	int result;
};

static gnutls_certificate_credentials_t credentials;
static gnutls_priority_t priorities;
static size_t steps; /* in a thread or waiting for one: one of a connection at most */

/* -- private keys at authd --------------------------------------------------------------------- */

/* Asks authd; the result is a GnuTLS error code. */
static int
ask(const struct certificate *certificate, const char *what, unsigned algorithm,
    const gnutls_datum_t *data, gnutls_datum_t *result)
{
	switch (key_use(certificate->domain, certificate->key_id, what, algorithm, data, result)) {
	case OK:
		return 0;
	case E_AGAIN:
		return GNUTLS_E_TIMEDOUT;
	default:
		return GNUTLS_E_PK_SIGN_FAILED;
	}
}

static int
sign_data(gnutls_privkey_t key, gnutls_sign_algorithm_t algorithm, void *arg, unsigned flags,
    const gnutls_datum_t *data, gnutls_datum_t *signature)
{
	(void)key;
	(void)flags;
	return ask(arg, "sign", (unsigned)algorithm, data, signature);
}

static int
sign_hash(gnutls_privkey_t key, gnutls_sign_algorithm_t algorithm, void *arg, unsigned flags,
    const gnutls_datum_t *hash, gnutls_datum_t *signature)
{
	(void)key;
	(void)flags;
	return ask(arg, "sign-hash", (unsigned)algorithm, hash, signature);
}

static int
decrypt(gnutls_privkey_t key, void *arg, const gnutls_datum_t *cipher, gnutls_datum_t *plain)
{
	(void)key;
	return ask(arg, "decrypt", 0, cipher, plain);
}

/* Tells GnuTLS what the key can do, from the certificate. */
static int
key_info(gnutls_privkey_t key, unsigned flags, void *arg)
{
	const struct certificate *certificate = arg;
	gnutls_sign_algorithm_t algorithm;

	(void)key;
	if (flags & GNUTLS_PRIVKEY_INFO_PK_ALGO)
		return (int)certificate->algorithm;
	if (flags & GNUTLS_PRIVKEY_INFO_PK_ALGO_BITS)
		return (int)certificate->bits;
	if (flags & GNUTLS_PRIVKEY_INFO_HAVE_SIGN_ALGO) {
		algorithm = (gnutls_sign_algorithm_t)GNUTLS_FLAGS_TO_SIGN_ALGO(flags);
		return gnutls_sign_supports_pk_algorithm(algorithm, certificate->algorithm) != 0;
	}
	return 0;
}

/* -- certificates ------------------------------------------------------------------------------ */

/* The hash of RFC 5929 section 4.1. For EdDSA nobody has defined one. */
static void
set_endpoint(struct certificate *certificate, gnutls_x509_crt_t leaf)
{
	int algorithm = gnutls_x509_crt_get_signature_algorithm(leaf);
	gnutls_digest_algorithm_t hash;
	size_t len;

	if (algorithm < 0 || algorithm == GNUTLS_SIGN_EDDSA_ED25519 ||
	    algorithm == GNUTLS_SIGN_EDDSA_ED448)
		return;
	hash = gnutls_sign_get_hash_algorithm((gnutls_sign_algorithm_t)algorithm);
	if (hash == GNUTLS_DIG_MD5 || hash == GNUTLS_DIG_SHA1)
		hash = GNUTLS_DIG_SHA256;
	len = (size_t)gnutls_hash_get_len(hash);
	if (hash == GNUTLS_DIG_UNKNOWN || len > sizeof certificate->endpoint)
		return;
	if (gnutls_hash_fast(hash, certificate->chain[0].cert.data, certificate->chain[0].cert.size,
	    certificate->endpoint) == 0)
		certificate->endpoint_len = len;
}

/* Reads the chain of a PEM text. Returns a GnuTLS code. */
static int
read_chain(struct certificate *certificate, const gnutls_datum_t *pem)
{
	gnutls_x509_crt_t *crts = NULL;
	unsigned count = 0, i;
	int code;

	code = gnutls_x509_crt_list_import2(&crts, &count, pem, GNUTLS_X509_FMT_PEM, 0);
	if (code < 0)
		return code;
	for (i = 0; i < count && i < CHAIN_MAX && code >= 0; i++) {
		code = gnutls_pcert_import_x509(&certificate->chain[i], crts[i], 0);
		if (code >= 0)
			certificate->count++;
	}
	if (code >= 0)
		set_endpoint(certificate, crts[0]);
	for (i = 0; i < count; i++)
		gnutls_x509_crt_deinit(crts[i]);
	gnutls_free(crts);
	return code;
}

/* Makes the key that stands for the one of authd. Returns a GnuTLS code. */
static int
make_key(struct certificate *certificate)
{
	int code = gnutls_pubkey_get_pk_algorithm(certificate->chain[0].pubkey, &certificate->bits);
	size_t len = KEY_ID_SIZE;

	if (code < 0)
		return code;
	certificate->algorithm = (gnutls_pk_algorithm_t)code;
	code = gnutls_pubkey_get_key_id(certificate->chain[0].pubkey, GNUTLS_KEYID_USE_SHA256,
	    certificate->key_id, &len);
	if (code < 0)
		return code;
	code = gnutls_privkey_init(&certificate->key);
	if (code < 0)
		return code;
	return gnutls_privkey_import_ext4(certificate->key, certificate, sign_data, sign_hash,
	    decrypt, NULL, key_info, 0);
}

int
certificate_new(const char *domain, struct slice pem, struct certificate **result)
{
	gnutls_datum_t coded = { (unsigned char *)(uintptr_t)pem.ptr, (unsigned)pem.len };
	struct certificate *certificate = mem_alloc(sizeof *certificate);
	gnutls_datum_t text = { NULL, 0 };
	int code;

	certificate->refs = 1;
	certificate->domain = mem_string(domain);
	certificate->pem = slice_dup(pem);
	code = gnutls_base64_decode2(&coded, &text);
	if (code >= 0)
		code = read_chain(certificate, &text);
	if (code >= 0)
		code = make_key(certificate);
	gnutls_free(text.data);
	if (code < 0) {
		log_error("certificate refused", "domain=%s reason=\"%s\"", domain,
		    gnutls_strerror(code));
		certificate_drop(&certificate);
		return E_MALFORMED;
	}
	*result = certificate;
	return OK;
}

bool
certificate_is(const struct certificate *certificate, struct slice pem)
{
	return slice_is(pem, certificate->pem);
}

struct slice
certificate_pem(const struct certificate *certificate)
{
	return slice_string(certificate->pem);
}

struct slice
certificate_leaf(const struct certificate *certificate)
{
	return slice_of(certificate->chain[0].cert.data, certificate->chain[0].cert.size);
}

struct certificate *
certificate_hold(struct certificate *certificate)
{
	if (certificate != NULL)
		certificate->refs++;
	return certificate;
}

void
certificate_drop(struct certificate **certificate)
{
	struct certificate *c = *certificate;
	unsigned i;

	*certificate = NULL;
	if (c == NULL || --c->refs > 0)
		return;
	for (i = 0; i < c->count; i++)
		gnutls_pcert_deinit(&c->chain[i]);
	if (c->key != NULL)
		gnutls_privkey_deinit(c->key);
	free(c->domain);
	free(c->pem);
	free(c);
}

/* -- sessions ---------------------------------------------------------------------------------- */

struct slice
tls_server_name(const struct transport *t, char name[TLS_NAME_SIZE])
{
	size_t len = TLS_NAME_SIZE;
	unsigned type;
	bool named = gnutls_server_name_get(t->tls, name, &len, &type, 0) == 0 &&
	    type == GNUTLS_NAME_DNS;

	return named ? slice_string(name) : SLICE_NONE;
}

/* Has the daemon choose the certificate; may be NULL. */
static void
choose(struct transport *t)
{
	char name[TLS_NAME_SIZE];

	certificate_drop(&t->certificate);
	t->certificate = t->hooks->certificate(t, t->client ? SLICE_NONE :
	    tls_server_name(t, name));
}

/* GnuTLS asks for the certificate of a handshake, on a thread of the pool. The connection holds it,
 * also when the domain gets another one meanwhile. */
static int
choose_certificate(gnutls_session_t tls, const struct gnutls_cert_retr_st *info,
    gnutls_pcert_st **chain,
    unsigned *count, gnutls_ocsp_data_st **ocsp, unsigned *ocsp_count, gnutls_privkey_t *key,
    unsigned *flags)
{
	struct transport *t = gnutls_session_get_ptr(tls);
	struct certificate *certificate;

	(void)info;
	*ocsp = NULL;
	*ocsp_count = 0;
	*flags = 0;
	choose(t);
	certificate = t->certificate;
	if (certificate == NULL) {
		*chain = NULL;
		*count = 0;
		*key = NULL;
		return t->client ? 0 : -1;
	}
	*chain = certificate->chain;
	*count = certificate->count;
	*key = certificate->key;
	return 0;
}

int
tls_set_priority(const char *priority)
{
	gnutls_priority_t fresh;
	const char *where = NULL;
	int code;

	code = gnutls_priority_init(&fresh, priority, &where);
	if (code < 0) {
		log_error("tls-priority refused", "reason=\"%s\" at=%s", gnutls_strerror(code),
		    log_quote(slice_string(where != NULL ? where : "")));
		return E_MALFORMED;
	}
	/* Sessions hold the old one. */
	if (priorities != NULL)
		gnutls_priority_deinit(priorities);
	priorities = fresh;
	return OK;
}

int
tls_start(const char *priority)
{
	int error = tls_set_priority(priority);

	if (error)
		return error;
	if (gnutls_certificate_allocate_credentials(&credentials) < 0)
		return E_SYSTEM;
	gnutls_certificate_set_retrieve_function3(credentials, choose_certificate);
	return OK;
}

/* Makes the TLS session of a connection. Returns a GnuTLS code. */
static int
make_session(struct transport *t, const struct tls_settings *settings)
{
	struct slice name = slice_string(settings->alpn);
	gnutls_datum_t alpn = { (unsigned char *)(uintptr_t)name.ptr, (unsigned)name.len };
	int code;

	code = gnutls_init(&t->tls, (settings->client ? GNUTLS_CLIENT | GNUTLS_NO_TICKETS :
	    GNUTLS_SERVER) | GNUTLS_NONBLOCK | GNUTLS_NO_SIGNAL);
	if (code < 0)
		return code;
	gnutls_session_set_ptr(t->tls, t);
	code = gnutls_priority_set(t->tls, priorities);
	if (code >= 0)
		code = gnutls_credentials_set(t->tls, GNUTLS_CRD_CERTIFICATE, credentials);
	if (code >= 0 && settings->ticket != NULL)
		code = gnutls_session_ticket_enable_server(t->tls, settings->ticket);
	if (code >= 0 && alpn.size != 0)
		code = gnutls_alpn_set_protocols(t->tls, &alpn, 1,
		    settings->client ? 0 : GNUTLS_ALPN_MANDATORY);
	if (code >= 0 && settings->server_name != NULL)
		code = gnutls_server_name_set(t->tls, GNUTLS_NAME_DNS, settings->server_name,
		    strlen(settings->server_name));
	gnutls_certificate_server_set_request(t->tls,
	    settings->ask ? GNUTLS_CERT_REQUEST : GNUTLS_CERT_IGNORE);
	gnutls_handshake_set_timeout(t->tls, GNUTLS_INDEFINITE_TIMEOUT);
	gnutls_transport_set_ptr(t->tls, t);
	gnutls_transport_set_pull_function(t->tls, transport_pull);
	gnutls_transport_set_push_function(t->tls, transport_push);
	return code;
}

/* -- handshakes -------------------------------------------------------------------------------- */

const char *
tls_reason(const struct transport *t, int code, char reason[TLS_REASON_SIZE])
{
	const char *alert = NULL;

	if (code == GNUTLS_E_FATAL_ALERT_RECEIVED)
		alert = gnutls_alert_get_name(gnutls_alert_get(t->tls));
	(void)snprintf(reason, TLS_REASON_SIZE, "%s%s%s", gnutls_strerror(code),
	    alert != NULL ? ": " : "", alert != NULL ? alert : "");
	return reason;
}

/* On a thread of the pool. */
static void
work(uv_work_t *w)
{
	struct step *step = w->data;

	do
		step->result = gnutls_handshake(step->transport->tls);
	while (step->result < 0 && step->result != GNUTLS_E_AGAIN &&
	    gnutls_error_is_fatal(step->result) == 0);
}

static void
failed(struct transport *t, int code)
{
	char reason[TLS_REASON_SIZE];

	tls_reason(t, code, reason);
	COUNT(handshakes_failed);
	log_info("handshake failed", "address=%s reason=\"%s\"", address_text(t->address), reason);
	gnutls_alert_send_appropriate(t->tls, code);
	transport_lose(t, reason);
}

/* Back on the loop. */
static void
worked(uv_work_t *w, int status)
{
	struct step *step = w->data;
	struct transport *t = step->transport;
	int result = step->result;

	(void)status; /* cancelled: the connection is dead */
	free(step);
	steps--;
	t->step = NULL;
	t->threaded = false;
	daemon_dirty();
	if (t->state != TRANSPORT_HANDSHAKE) {
		transport_close(t); /* its time was up meanwhile */
		return;
	}
	if (result == GNUTLS_E_AGAIN) {
		transport_watch(t, gnutls_record_get_direction(t->tls) ? UV_WRITABLE : UV_READABLE);
		return;
	}
	if (result < 0) {
		failed(t, result);
		return;
	}
	COUNT(handshakes);
	/* A session that was resumed has not asked for one. */
	if (t->certificate == NULL && !t->client)
		choose(t);
	transport_secured(t);
}

void
tls_step(struct transport *t)
{
	struct step *step = mem_alloc(sizeof *step);

	transport_watch(t, 0);
	step->transport = t;
	step->work.data = step;
	if (uv_queue_work(t->poll.loop, &step->work, work, worked) != 0) {
		free(step);
		transport_close(t);
		return;
	}
	t->threaded = true;
	t->step = step;
	steps++;
}

void
tls_cancel(struct transport *t)
{
	if (t->step != NULL)
		uv_cancel((uv_req_t *)&t->step->work); /* worked() is called all the same */
}

void
tls_gauges(void)
{
	GAUGE(handshakes_waiting, steps);
}

void
tls_begin(struct transport *t, const struct tls_settings *settings)
{
	char reason[TLS_REASON_SIZE];
	int code;

	t->client = settings->client;
	code = make_session(t, settings);
	if (code < 0) {
		tls_reason(t, code, reason);
		log_error("TLS session failed", "reason=\"%s\"", reason);
		transport_lose(t, reason);
		return;
	}
	t->state = TRANSPORT_HANDSHAKE;
	if (t->client)
		tls_step(t);
	else
		transport_watch(t, UV_READABLE);
}

/* -- channel bindings -------------------------------------------------------------------------- */

unsigned
tls_version(const struct transport *t)
{
	/* GnuTLS counts from SSL 3.0, which is 0x0300 on the wire. */
	return t->tls == NULL ? 0 :
	    0x0300u + (unsigned)gnutls_protocol_get_version(t->tls) - GNUTLS_SSL3;
}

void
bindings_get(const struct transport *t, struct bindings *b)
{
	bool tls13 = gnutls_protocol_get_version(t->tls) >= GNUTLS_TLS1_3;
	bool extended = gnutls_session_ext_master_secret_status(t->tls) != 0;

	memset(b, 0, sizeof *b);
	/* Without the extended master secret two sessions can share their secrets (RFC 7627),
	 * and then these two bind nothing. */
	if (tls13 || extended)
		gnutls_session_channel_binding(t->tls, GNUTLS_CB_TLS_EXPORTER, &b->exporter);
	if (!tls13 && extended)
		gnutls_session_channel_binding(t->tls, GNUTLS_CB_TLS_UNIQUE, &b->unique);
	if (t->certificate != NULL && !t->client) {
		memcpy(b->endpoint, t->certificate->endpoint, t->certificate->endpoint_len);
		b->endpoint_len = t->certificate->endpoint_len;
	}
}

void
bindings_free(struct bindings *b)
{
	gnutls_free(b->exporter.data);
	gnutls_free(b->unique.data);
	memset(b, 0, sizeof *b);
}

/* -- the peer ---------------------------------------------------------------------------------- */

void
tls_describe(const struct transport *t, struct buf *out)
{
	char *text = t->tls != NULL ? gnutls_session_get_desc(t->tls) : NULL;

	buf_add_string(out, text != NULL ? text : "none");
	gnutls_free(text);
}

const gnutls_datum_t *
transport_peer_chain(const struct transport *t, unsigned *count)
{
	*count = 0;
	return t->tls != NULL ? gnutls_certificate_get_peers(t->tls, count) : NULL;
}

int
transport_peer_status(const struct transport *t, unsigned i, gnutls_datum_t *response)
{
	if (t->tls == NULL || gnutls_ocsp_status_request_get2(t->tls, i, response) < 0 ||
	    response->size == 0)
		return E_NOT_FOUND;
	return OK;
}
