/*
 * verify.c: the checks of a peer's certificate. Called by those who have made TLS, on threads of the
 * pool. Nothing fails but checks, each with its reason.
 *
 * The path is made first: from the peer's certificate over those that it sent, each of which has
 * signed the one before, to a trust anchor. What else a peer sends counts for nothing, also not
 * for DANE. The checks look at the path; GnuTLS has the last word on it in the check of the chain.
 */
#include <stdio.h>
#include <stdlib.h>

#include <gnutls/abstract.h>
#include <gnutls/gnutls.h>

#include "error.h"
#include "mem.h"
#include "verify.h"

#define CLOCK_FREE   GNUTLS_VERIFY_DISABLE_TIME_CHECKS /* the dates are a check of their own */
#define NO_MATTER    (GNUTLS_CERT_INVALID | GNUTLS_CERT_INSECURE_ALGORITHM)
#define CRL_DATES    (GNUTLS_CERT_REVOCATION_DATA_SUPERSEDED | GNUTLS_CERT_REVOCATION_DATA_ISSUED_IN_FUTURE)
#define USAGES       (GNUTLS_KEY_DIGITAL_SIGNATURE | GNUTLS_KEY_KEY_ENCIPHERMENT | GNUTLS_KEY_KEY_AGREEMENT)
#define TLS_STATUS_REQUEST 5u /* RFC 7633: the certificate must come with a status */

struct path {
	gnutls_x509_crt_t sent[VERIFY_SENT];  /* what can be read of what was sent */
	size_t sent_count;
	gnutls_x509_crt_t certificates[VERIFY_SENT + 1]; /* of sent, each signed by the next, without an anchor */
	size_t count;
	gnutls_x509_crt_t anchor;              /* NULL: there is none */
};

struct verification {
	const struct trust *trust;
	const struct verify_peer *peer;
	struct verify_result *result;
	struct path path;
};

const char *
verify_check_text(enum verify_check check)
{
	static const char *const texts[] = {
#define VERIFY_CHECK(name, text) text,
#include "verify_check.def"
#undef VERIFY_CHECK
	};

	return texts[check];
}

const char *
verify_verdict_text(enum verify_verdict verdict)
{
	return verdict == VERIFY_OK ? "ok" : verdict == VERIFY_FAILED ? "failed" : "not done";
}

__attribute__((format(printf, 4, 5))) static void
say(struct verification *v, enum verify_check check, enum verify_verdict verdict, const char *format, ...)
{
	va_list args;

	v->result->checks[check].verdict = verdict;
	va_start(args, format);
	vsnprintf(v->result->checks[check].reason, VERIFY_REASON, format, args);
	va_end(args);
}

static enum verify_verdict
verdict(const struct verification *v, enum verify_check check)
{
	return v->result->checks[check].verdict;
}

/* -- the path ------------------------------------------------------------------------------------ */

/* Whether a certificate was signed by another one. */
static bool
is_signed_by(gnutls_x509_crt_t certificate, gnutls_x509_crt_t issuer)
{
	unsigned status = 0;

	return gnutls_x509_crt_check_issuer(certificate, issuer) &&
	    gnutls_x509_crt_verify(certificate, &issuer, 1,
	    CLOCK_FREE | GNUTLS_VERIFY_DISABLE_CA_SIGN | GNUTLS_VERIFY_ALLOW_BROKEN, &status) >= 0 &&
	    (status & (GNUTLS_CERT_SIGNATURE_FAILURE | GNUTLS_CERT_SIGNER_NOT_FOUND)) == 0;
}

static bool
path_has(const struct path *path, gnutls_x509_crt_t certificate)
{
	size_t i;

	for (i = 0; i < path->count && path->certificates[i] != certificate; i++)
		;
	return i < path->count;
}

/* The certificate of those sent that signed the last one of the path; NULL: none. */
static gnutls_x509_crt_t
path_next(const struct path *path)
{
	gnutls_x509_crt_t last = path->certificates[path->count - 1];
	size_t i;

	for (i = 0; i < path->sent_count; i++) {
		if (!path_has(path, path->sent[i]) && is_signed_by(last, path->sent[i]))
			return path->sent[i];
	}
	return NULL;
}

static void
path_build(struct path *path, const struct trust *trust)
{
	gnutls_x509_crt_t next = path->sent[0];

	while (next != NULL) {
		path->certificates[path->count++] = next;
		if (gnutls_x509_trust_list_get_issuer(trust_list(trust), next, &path->anchor,
		    GNUTLS_TL_GET_COPY) < 0)
			path->anchor = NULL;
		else if (is_signed_by(next, path->anchor) || gnutls_x509_crt_equals(next, path->anchor))
			return;
		else
			gnutls_x509_crt_deinit(path->anchor);
		path->anchor = NULL;
		next = path_next(path);
	}
}

/* Reads the chain; what follows a certificate that cannot be read is not looked at. */
static int
path_read(struct path *path, const gnutls_datum_t *chain, size_t count)
{
	for (; path->sent_count < count && path->sent_count < VERIFY_SENT; path->sent_count++) {
		gnutls_x509_crt_t *certificate = &path->sent[path->sent_count];

		if (gnutls_x509_crt_init(certificate) < 0)
			break;
		if (gnutls_x509_crt_import(*certificate, &chain[path->sent_count], GNUTLS_X509_FMT_DER) < 0) {
			gnutls_x509_crt_deinit(*certificate);
			break;
		}
	}
	return path->sent_count > 0 ? OK : E_MALFORMED;
}

static void
path_free(struct path *path)
{
	size_t i;

	for (i = 0; i < path->sent_count; i++)
		gnutls_x509_crt_deinit(path->sent[i]);
	if (path->anchor != NULL)
		gnutls_x509_crt_deinit(path->anchor);
}

/* The issuer of a certificate of the path, NULL when it is not known. */
static gnutls_x509_crt_t
path_issuer(const struct path *path, size_t n)
{
	return n + 1 < path->count ? path->certificates[n + 1] : path->anchor;
}

int
ocsp_request_for(const struct trust *trust, const gnutls_datum_t *chain, size_t count, struct buf *der,
    char url[OCSP_URL])
{
	struct path path = { .count = 0 };
	int code = path_read(&path, chain, count);

	if (code == OK) {
		path_build(&path, trust);
		ocsp_url(path.sent[0], url);
		code = path_issuer(&path, 0) == NULL ? E_NOT_FOUND
		    : ocsp_request(path.sent[0], path_issuer(&path, 0), der);
	}
	path_free(&path);
	return code;
}

/* -- checks -------------------------------------------------------------------------------------- */

static void
check_certificate(struct verification *v)
{
	uint8_t digest[32];
	size_t size = sizeof digest, i;
	char text[2 * sizeof digest + 1] = "";

	if (gnutls_x509_crt_get_fingerprint(v->path.sent[0], GNUTLS_DIG_SHA256, digest, &size) == 0) {
		for (i = 0; i < size; i++)
			snprintf(text + 2 * i, 3, "%02x", digest[i]);
	}
	say(v, VERIFY_CERTIFICATE, VERIFY_OK, "sha256 %s, %zu of %zu in the path", text, v->path.count,
	    v->peer->count);
}

/* A few words for what GnuTLS says of a chain. */
static const char *
chain_reason(unsigned status)
{
	static const struct {
		unsigned bit;
		const char *text;
	} rows[] = {
		{ GNUTLS_CERT_SIGNER_NOT_FOUND, "no trust anchor" },
		{ GNUTLS_CERT_SIGNATURE_FAILURE, "a signature is wrong" },
		{ GNUTLS_CERT_SIGNER_NOT_CA, "signed by who is no authority" },
		{ GNUTLS_CERT_SIGNER_CONSTRAINTS_FAILURE, "against the constraints of an authority" },
		{ GNUTLS_CERT_PURPOSE_MISMATCH, "against the purposes of an authority" },
		{ GNUTLS_CERT_UNKNOWN_CRIT_EXTENSIONS, "an unknown critical extension" },
		{ GNUTLS_CERT_REVOKED, "revoked" },
	};
	size_t i;

	for (i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		if ((status & rows[i].bit) != 0)
			return rows[i].text;
	}
	return "invalid";
}

/* Whether it may be used for a purpose, also as one that says nothing of purposes. */
static bool
has_purpose(gnutls_x509_crt_t certificate, const char *oid)
{
	return gnutls_x509_crt_check_key_purpose(certificate, oid, 0) != 0;
}

/* The purpose for which a certificate is good here. A server that is the client of a connection may
 * show one that is for servers only: public authorities issue no others any more. NULL: none. */
static const char *
purpose_of(gnutls_x509_crt_t certificate, bool is_client)
{
	if (is_client && has_purpose(certificate, GNUTLS_KP_TLS_WWW_CLIENT))
		return GNUTLS_KP_TLS_WWW_CLIENT;
	return has_purpose(certificate, GNUTLS_KP_TLS_WWW_SERVER) ? GNUTLS_KP_TLS_WWW_SERVER : NULL;
}

/* Verifies certificates, each signed by the next, up to an anchor of list. Returns what is wrong, as
 * GnuTLS says it, 0: nothing. */
static unsigned
chain_status(gnutls_x509_trust_list_t list, gnutls_x509_crt_t *certificates, size_t count, const char *purpose)
{
	gnutls_typed_vdata_st data = { .type = GNUTLS_DT_KEY_PURPOSE_OID,
		.data = (unsigned char *)(uintptr_t)purpose };
	unsigned status = 0;

	if (gnutls_x509_trust_list_verify_crt2(list, certificates, (unsigned)count, &data, purpose != NULL,
	    CLOCK_FREE | GNUTLS_VERIFY_ALLOW_BROKEN, &status, NULL) < 0)
		return GNUTLS_CERT_INVALID | GNUTLS_CERT_SIGNER_NOT_FOUND;
	return status == NO_MATTER || status == GNUTLS_CERT_INSECURE_ALGORITHM ? 0 : status;
}

static void
check_chain(struct verification *v)
{
	unsigned status = chain_status(trust_list(v->trust), v->path.certificates, v->path.count,
	    purpose_of(v->path.sent[0], v->peer->is_client));

	if (v->path.anchor == NULL)
		status |= GNUTLS_CERT_SIGNER_NOT_FOUND;
	if (status != 0)
		say(v, VERIFY_CHAIN, VERIFY_FAILED, "%s", chain_reason(status));
	else
		say(v, VERIFY_CHAIN, VERIFY_OK, "%zu to a trust anchor", v->path.count);
}

static bool
dates_good(gnutls_x509_crt_t certificate, time_t now, char *reason)
{
	time_t from = gnutls_x509_crt_get_activation_time(certificate);
	time_t until = gnutls_x509_crt_get_expiration_time(certificate);

	if (from == (time_t)-1 || until == (time_t)-1)
		snprintf(reason, VERIFY_REASON, "no dates");
	else if (now < from)
		snprintf(reason, VERIFY_REASON, "not valid for %lld more seconds", (long long)(from - now));
	else if (now > until)
		snprintf(reason, VERIFY_REASON, "expired for %lld seconds", (long long)(now - until));
	else
		return true;
	return false;
}

static void
check_dates(struct verification *v)
{
	char reason[VERIFY_REASON];
	size_t i;

	for (i = 0; i < v->path.count; i++) {
		if (!dates_good(v->path.certificates[i], v->peer->now, reason)) {
			say(v, VERIFY_DATES, VERIFY_FAILED, "%s: %.100s", i == 0 ? "certificate" : "authority", reason);
			return;
		}
	}
	if (v->path.anchor != NULL && !dates_good(v->path.anchor, v->peer->now, reason)) {
		say(v, VERIFY_DATES, VERIFY_FAILED, "trust anchor: %.100s", reason);
		return;
	}
	say(v, VERIFY_DATES, VERIFY_OK, "%lld seconds left",
	    (long long)(gnutls_x509_crt_get_expiration_time(v->path.sent[0]) - v->peer->now));
}

static void
check_purpose(struct verification *v)
{
	const char *purpose = purpose_of(v->path.sent[0], v->peer->is_client);
	unsigned usage = 0;

	if (gnutls_x509_crt_get_key_usage(v->path.sent[0], &usage, NULL) >= 0 && (usage & USAGES) == 0)
		say(v, VERIFY_PURPOSE, VERIFY_FAILED, "the key is not for TLS");
	else if (purpose == NULL)
		say(v, VERIFY_PURPOSE, VERIFY_FAILED, "not for TLS %s",
		    v->peer->is_client ? "clients or servers" : "servers");
	else
		say(v, VERIFY_PURPOSE, VERIFY_OK, "%s",
		    strcmp(purpose, GNUTLS_KP_TLS_WWW_SERVER) == 0 ? "server" : "client");
}

static bool
key_strong(gnutls_x509_crt_t certificate, char *reason)
{
	unsigned bits = 0;
	int algorithm = gnutls_x509_crt_get_pk_algorithm(certificate, &bits);
	const char *name = algorithm < 0 ? NULL : gnutls_pk_get_name((gnutls_pk_algorithm_t)algorithm);

	snprintf(reason, VERIFY_REASON, "%s key of %u bits", name != NULL ? name : "unknown", bits);
	return algorithm > 0 &&
	    gnutls_pk_bits_to_sec_param((gnutls_pk_algorithm_t)algorithm, bits) >= GNUTLS_SEC_PARAM_MEDIUM;
}

static bool
signature_strong(gnutls_x509_crt_t certificate, char *reason)
{
	int algorithm = gnutls_x509_crt_get_signature_algorithm(certificate);
	const char *name = algorithm < 0 ? NULL : gnutls_sign_get_name((gnutls_sign_algorithm_t)algorithm);

	snprintf(reason, VERIFY_REASON, "signed with %s", name != NULL ? name : "an unknown algorithm");
	return algorithm > 0 && gnutls_sign_is_secure2((gnutls_sign_algorithm_t)algorithm,
	    GNUTLS_SIGN_FLAG_SECURE_FOR_CERTS);
}

/* How an anchor signed itself does not matter, its key does. */
static void
check_algorithm(struct verification *v)
{
	char reason[VERIFY_REASON];
	size_t i;

	for (i = 0; i < v->path.count; i++) {
		gnutls_x509_crt_t c = v->path.certificates[i];
		bool is_anchor = v->path.anchor != NULL && gnutls_x509_crt_equals(c, v->path.anchor);

		if (!key_strong(c, reason) || (!is_anchor && !signature_strong(c, reason))) {
			say(v, VERIFY_ALGORITHM, VERIFY_FAILED, "%s: %.100s", i == 0 ? "certificate" : "authority",
			    reason);
			return;
		}
	}
	if (v->path.anchor != NULL && !key_strong(v->path.anchor, reason)) {
		say(v, VERIFY_ALGORITHM, VERIFY_FAILED, "trust anchor: %.100s", reason);
		return;
	}
	key_strong(v->path.sent[0], reason);
	say(v, VERIFY_ALGORITHM, VERIFY_OK, "%s", reason);
}

static void
check_name(struct verification *v)
{
	char reason[VERIFY_REASON];
	bool matches = identity_matches(v->path.sent[0], v->peer->domain, reason);

	say(v, VERIFY_NAME, matches ? VERIFY_OK : VERIFY_FAILED, "%s", reason);
}

/* -- revocation ---------------------------------------------------------------------------------- */

static bool
crl_signed_by(gnutls_x509_crl_t crl, gnutls_x509_crt_t issuer)
{
	unsigned status = 0;

	if (gnutls_x509_crl_verify(crl, &issuer, 1, CLOCK_FREE, &status) < 0)
		return false;
	if ((status & CRL_DATES) != 0) /* which GnuTLS looks at all the same */
		status &= ~(unsigned)(CRL_DATES | GNUTLS_CERT_INVALID);
	return status == 0;
}

/* What the CRLs say of one certificate: OK, E_NOT_FOUND (there is none of its issuer), or an error with
 * its reason. */
static int
crl_check(const struct trust *trust, gnutls_x509_crt_t certificate, gnutls_x509_crt_t issuer, time_t now,
    const char **reason)
{
	gnutls_x509_crl_t crl;
	size_t n;
	int code = E_NOT_FOUND;

	for (n = 0; (crl = trust_crl(trust, issuer, n)) != NULL; n++) {
		time_t next = gnutls_x509_crl_get_next_update(crl);

		if (!crl_signed_by(crl, issuer))
			continue; /* of another authority with the same name */
		if (gnutls_x509_crt_check_revocation(certificate, &crl, 1) != 0) {
			*reason = "revoked";
			return E_FORBIDDEN;
		}
		if (code != OK)
			*reason = "a CRL is out of date";
		if (next == (time_t)-1 || next >= now)
			code = OK;
		else if (code == E_NOT_FOUND)
			code = E_AGAIN;
	}
	return code;
}

static void
check_crl(struct verification *v)
{
	const char *reason = "";
	size_t i, checked = 0;

	for (i = 0; i < v->path.count; i++) {
		gnutls_x509_crt_t issuer = path_issuer(&v->path, i);
		int code = issuer == NULL ? E_NOT_FOUND
		    : crl_check(v->trust, v->path.certificates[i], issuer, v->peer->now, &reason);

		if (code != OK && code != E_NOT_FOUND) {
			say(v, VERIFY_CRL, VERIFY_FAILED, "%s: %s", i == 0 ? "certificate" : "authority", reason);
			return;
		}
		checked += code == OK;
	}
	if (checked == 0)
		say(v, VERIFY_CRL, VERIFY_NOT_DONE, "no CRL of an authority of the path");
	else
		say(v, VERIFY_CRL, VERIFY_OK, "%zu of %zu certificates", checked, v->path.count);
}

/* Whether the certificate says that its status has to come with it. */
static bool
must_staple(gnutls_x509_crt_t certificate)
{
	gnutls_x509_tlsfeatures_t features;
	unsigned n, feature = 0;
	bool must = false;

	if (gnutls_x509_tlsfeatures_init(&features) < 0)
		return false;
	if (gnutls_x509_crt_get_tlsfeatures(certificate, features, 0, NULL) >= 0) {
		for (n = 0; !must && gnutls_x509_tlsfeatures_get(features, n, &feature) >= 0; n++)
			must = feature == TLS_STATUS_REQUEST;
	}
	gnutls_x509_tlsfeatures_deinit(features);
	return must;
}

/* What follows from there being no response. */
static void
ocsp_missing(struct verification *v)
{
	const char *why = v->peer->ocsp_missing;

	if (!v->peer->is_client && must_staple(v->path.sent[0]))
		say(v, VERIFY_OCSP, VERIFY_FAILED, "no response, and the certificate demands one");
	else
		say(v, VERIFY_OCSP, v->peer->ocsp_required ? VERIFY_FAILED : VERIFY_NOT_DONE, "no response%s%.120s",
		    why != NULL ? ": " : "", why != NULL ? why : "");
}

/* What follows from what a response is worth. Whoever can keep the answer of a responder away can also send
 * another; but nobody can make up what the authority has signed. */
static enum verify_verdict
ocsp_verdict(const struct verify_peer *peer, int code)
{
	if (code == OK)
		return VERIFY_OK;
	if (peer->ocsp_fetched && !peer->ocsp_required && code != E_FORBIDDEN && code != E_NOT_FOUND)
		return VERIFY_NOT_DONE;
	return VERIFY_FAILED;
}

static void
check_ocsp(struct verification *v)
{
	gnutls_x509_crt_t issuer = path_issuer(&v->path, 0);
	char reason[VERIFY_REASON] = "";
	int code;

	if (v->peer->ocsp.ptr == NULL) {
		ocsp_missing(v);
	} else if (issuer == NULL) {
		say(v, VERIFY_OCSP, VERIFY_NOT_DONE, "the issuer is not known");
	} else {
		code = ocsp_check(v->peer->ocsp, v->path.sent[0], issuer, v->peer->now, reason,
		    &v->result->ocsp_until);
		say(v, VERIFY_OCSP, ocsp_verdict(v->peer, code), "%s", reason);
	}
}

/* -- DANE ---------------------------------------------------------------------------------------- */

/* DER of a certificate and of its key; to be freed. */
struct der {
	gnutls_datum_t certificate, spki;
};

static void
der_free(struct der *der)
{
	gnutls_free(der->certificate.data);
	gnutls_free(der->spki.data);
}

static int
der_of(gnutls_x509_crt_t certificate, struct der *der)
{
	gnutls_pubkey_t key;
	int code = E_SYSTEM;

	*der = (struct der){ { NULL, 0 }, { NULL, 0 } };
	if (gnutls_pubkey_init(&key) < 0)
		return E_SYSTEM;
	if (gnutls_pubkey_import_x509(key, certificate, 0) >= 0 &&
	    gnutls_pubkey_export2(key, GNUTLS_X509_FMT_DER, &der->spki) >= 0 &&
	    gnutls_x509_crt_export2(certificate, GNUTLS_X509_FMT_DER, &der->certificate) >= 0)
		code = OK;
	gnutls_pubkey_deinit(key);
	if (code != OK)
		der_free(der);
	return code;
}

static bool
tlsa_names(const struct tlsa *tlsa, gnutls_x509_crt_t certificate)
{
	struct der der;
	bool names;

	if (der_of(certificate, &der) != OK)
		return false;
	names = tlsa_matches(tlsa, slice_of(der.certificate.data, der.certificate.size),
	    slice_of(der.spki.data, der.spki.size));
	der_free(&der);
	return names;
}

/* Whether a record names an authority of the path up to the anchor, which a peer need not send. */
static bool
names_authority(const struct verification *v, const struct tlsa *tlsa)
{
	size_t i;

	for (i = 1; i < v->path.count; i++) {
		if (tlsa_names(tlsa, v->path.certificates[i]))
			return true;
	}
	return v->path.anchor != NULL && tlsa_names(tlsa, v->path.anchor);
}

/* An authority that a record has as a whole. NULL: it has none. */
static gnutls_x509_crt_t
tlsa_certificate(const struct tlsa *tlsa)
{
	gnutls_datum_t der = { (unsigned char *)(uintptr_t)tlsa->data.ptr, (unsigned)tlsa->data.len };
	gnutls_x509_crt_t certificate;

	if (tlsa->selector != TLSA_CERT || tlsa->matching != TLSA_FULL || gnutls_x509_crt_init(&certificate) < 0)
		return NULL;
	if (gnutls_x509_crt_import(certificate, &der, GNUTLS_X509_FMT_DER) >= 0)
		return certificate;
	gnutls_x509_crt_deinit(certificate);
	return NULL;
}

/* The authority that a record of usage 2 means, and how many certificates of own are below it. own:
 * of those sent, whatever anchors we have. Returns a copy, NULL: none. */
static gnutls_x509_crt_t
dane_authority(const struct tlsa *tlsa, const struct path *own, size_t *below)
{
	gnutls_x509_crt_t copy = tlsa_certificate(tlsa);
	struct der der;
	size_t i;

	if (copy != NULL && is_signed_by(own->certificates[own->count - 1], copy)) {
		*below = own->count;
		return copy;
	}
	if (copy != NULL)
		gnutls_x509_crt_deinit(copy);
	for (i = 1; i < own->count && !tlsa_names(tlsa, own->certificates[i]); i++)
		;
	*below = i;
	if (i == own->count || der_of(own->certificates[i], &der) != OK)
		return NULL;
	if (gnutls_x509_crt_init(&copy) >= 0 &&
	    gnutls_x509_crt_import(copy, &der.certificate, GNUTLS_X509_FMT_DER) < 0) {
		gnutls_x509_crt_deinit(copy);
		copy = NULL;
	}
	der_free(&der);
	return copy;
}

/* Whether the certificates below an authority are good, with nothing but it to trust. */
static bool
dane_chain_good(const struct verification *v, struct path *own, size_t below, gnutls_x509_crt_t authority)
{
	gnutls_x509_trust_list_t list;
	char reason[VERIFY_REASON];
	const char *purpose = purpose_of(own->certificates[0], v->peer->is_client);
	bool good = purpose != NULL;
	size_t i;

	for (i = 0; good && i < below; i++) {
		good = dates_good(own->certificates[i], v->peer->now, reason) &&
		    key_strong(own->certificates[i], reason) && signature_strong(own->certificates[i], reason);
	}
	if (!good || gnutls_x509_trust_list_init(&list, 0) < 0) {
		gnutls_x509_crt_deinit(authority);
		return false;
	}
	if (gnutls_x509_trust_list_add_cas(list, &authority, 1, 0) == 1) {
		good = chain_status(list, own->certificates, below, purpose) == 0;
	} else {
		gnutls_x509_crt_deinit(authority);
		good = false;
	}
	gnutls_x509_trust_list_deinit(list, 1);
	return good;
}

/* Usage 2: the path as far as it was sent, whose names are those of the domain or of the host that a
 * secure SRV record names (RFC 7673 section 4). */
static bool
dane_ta_good(const struct verification *v, const struct tlsa *tlsa)
{
	struct path own = v->path;
	gnutls_x509_crt_t authority, next;
	char reason[VERIFY_REASON];
	size_t below;

	while (own.count < VERIFY_SENT && (next = path_next(&own)) != NULL)
		own.certificates[own.count++] = next;
	authority = dane_authority(tlsa, &own, &below);
	if (authority == NULL || !dane_chain_good(v, &own, below, authority))
		return false;
	return verdict(v, VERIFY_NAME) == VERIFY_OK || (v->peer->target != NULL &&
	    identity_matches_host(own.certificates[0], slice_string(v->peer->target), reason));
}

static bool
dane_good(const struct verification *v, const struct tlsa *tlsa)
{
	switch (tlsa->usage) {
	case TLSA_DANE_EE: /* names and dates are those of DNS (RFC 7671 section 5.1) */
		return tlsa_names(tlsa, v->path.sent[0]);
	case TLSA_DANE_TA:
		return dane_ta_good(v, tlsa);
	case TLSA_PKIX_EE:
		return v->result->pkix == VERIFY_OK && tlsa_names(tlsa, v->path.sent[0]);
	}
	return v->result->pkix == VERIFY_OK && names_authority(v, tlsa);
}

/* One record that is met is enough. */
static void
check_dane(struct verification *v)
{
	static const uint8_t order[] = { TLSA_DANE_EE, TLSA_DANE_TA, TLSA_PKIX_EE, TLSA_PKIX_TA };
	const struct tlsa_set *set = v->peer->tlsa;
	size_t i, n;

	if (set == NULL || set->count == 0) {
		say(v, VERIFY_DANE, VERIFY_NOT_DONE, "%s", set != NULL ? "no usable TLSA record" : "no TLSA record");
		return;
	}
	for (n = 0; n < sizeof order; n++) {
		for (i = 0; i < set->count; i++) {
			const struct tlsa *tlsa = &set->records[i];

			if (tlsa->usage != order[n] || !dane_good(v, tlsa))
				continue;
			v->result->dane_alone = tlsa->usage == TLSA_DANE_EE || tlsa->usage == TLSA_DANE_TA;
			say(v, VERIFY_DANE, VERIFY_OK, "%s %u %u", tlsa_usage_text(tlsa->usage),
			    (unsigned)tlsa->selector, (unsigned)tlsa->matching);
			return;
		}
	}
	say(v, VERIFY_DANE, VERIFY_FAILED, "none of %zu TLSA records is met", set->count);
}

/* -- all of it ----------------------------------------------------------------------------------- */

static enum verify_verdict
pkix_verdict(const struct verification *v)
{
	static const enum verify_check needed[] = { VERIFY_CERTIFICATE, VERIFY_CHAIN, VERIFY_DATES, VERIFY_PURPOSE,
		VERIFY_ALGORITHM, VERIFY_NAME };
	size_t i;

	for (i = 0; i < sizeof needed / sizeof needed[0]; i++) {
		if (verdict(v, needed[i]) != VERIFY_OK)
			return VERIFY_FAILED;
	}
	return verdict(v, VERIFY_CRL) == VERIFY_FAILED || verdict(v, VERIFY_OCSP) == VERIFY_FAILED
	    ? VERIFY_FAILED : VERIFY_OK;
}

static void
checks_do(struct verification *v)
{
	path_build(&v->path, v->trust);
	check_certificate(v);
	check_chain(v);
	check_dates(v);
	check_purpose(v);
	check_algorithm(v);
	check_name(v);
	check_crl(v);
	check_ocsp(v);
	v->result->pkix = pkix_verdict(v);
	check_dane(v);
	v->result->dane = verdict(v, VERIFY_DANE);
}

void
verify(const struct trust *trust, const struct verify_peer *peer, struct verify_result *result)
{
	struct verification v = { trust, peer, result, { .count = 0 } };
	bool has_tlsa = peer->tlsa != NULL && peer->tlsa->count > 0;

	memset(result, 0, sizeof *result);
	if (peer->count > VERIFY_SENT) {
		say(&v, VERIFY_CERTIFICATE, VERIFY_FAILED, "more than %u certificates", VERIFY_SENT);
	} else if (path_read(&v.path, peer->chain, peer->count) != OK) {
		say(&v, VERIFY_CERTIFICATE, VERIFY_FAILED, "%s", peer->count == 0 ? "none" : "malformed");
	} else {
		checks_do(&v);
		path_free(&v.path);
		return;
	}
	result->pkix = VERIFY_FAILED;
	result->dane = has_tlsa ? VERIFY_FAILED : VERIFY_NOT_DONE;
}
