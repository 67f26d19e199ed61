/*
 * verify.h: whether the certificate of a peer server is that of its domain.
 *
 * Everything here is safe in any thread, logs nothing and opens nothing, except trust_new(). The
 * outcome is a list of named checks, each with a verdict and a reason, and one verdict for each
 * kind of trust: PKIX (RFC 5280 with RFC 9525) and DANE. What follows from them is the caller's
 * policy. Reasons are printable ASCII, whatever the peer has written into its certificate.
 */
#ifndef ALDIS_VERIFY_H
#define ALDIS_VERIFY_H

#include <time.h>

#include <gnutls/x509.h>

#include "buf.h"
#include "slice.h"
#include "tlsa.h"

#define VERIFY_SENT   16u  /* certificates of a peer */
#define VERIFY_REASON 160u /* bytes, NUL included */

/* -- trust.c: trust anchors and revocation lists ------------------------------------------------- */

/* Counted, and never changed once made: to reload is to make another. */
struct trust;

/*
 * anchors: PEM; absent: those of old, or, without old, the system's, which opens files: before
 * sandbox_enter(). crls: PEM. Returns 0, or E_MALFORMED when anchors or a CRL cannot be read, E_NOT_FOUND
 * when there are no anchors in them, E_TOO_MANY after 64 CRLs.
 */
int trust_new(struct slice anchors, const struct slice *crls, size_t crl_count, const struct trust *old,
    struct trust **trust);
struct trust *trust_hold(struct trust *trust);
void trust_drop(struct trust **trust);
gnutls_x509_trust_list_t trust_list(const struct trust *trust);
/* The nth CRL that this issuer has signed, by its name; NULL: no more. */
gnutls_x509_crl_t trust_crl(const struct trust *trust, gnutls_x509_crt_t issuer, size_t n);

/* -- identity.c: whose certificate it is --------------------------------------------------------- */

/*
 * Whether a certificate is that of a domain (canonical, jid.h), by its subjectAltName and nothing else:
 * dNSName, where "*" may stand for the whole left-most label if two more follow, the SRV-ID
 * _xmpp-server, id-on-xmppAddr, and iPAddress when the domain is an address. reason, VERIFY_REASON bytes:
 * the name that matched, or those that there are.
 */
bool identity_matches(gnutls_x509_crt_t certificate, struct slice domain, char *reason);
/* The same for a host name in ASCII, by dNSName alone. */
bool identity_matches_host(gnutls_x509_crt_t certificate, struct slice host, char *reason);

/* -- ocsp.c: the status of a certificate from its authority (RFC 6960) --------------------------- */

#define OCSP_URL     512u         /* bytes, NUL included */
#define OCSP_MAX     (64u << 10)  /* bytes of a response */
#define OCSP_AGE_MAX (10 * 86400) /* seconds, of a response that does not say until when it holds */

/* The http URL at which the authority of a certificate is asked; "": it names none. */
void ocsp_url(gnutls_x509_crt_t certificate, char url[OCSP_URL]);
/* Writes a request for a certificate, the same one each time. Returns 0 or E_SYSTEM. */
int ocsp_request(gnutls_x509_crt_t certificate, gnutls_x509_crt_t issuer, struct buf *der);
/* Both for a chain as the peer sent it. Returns 0, E_MALFORMED, E_NOT_FOUND (no issuer is known), E_SYSTEM. */
int ocsp_request_for(const struct trust *trust, const gnutls_datum_t *chain, size_t count, struct buf *der,
    char url[OCSP_URL]);
/*
 * Checks a response, stapled or fetched: its signature by the issuer or whom the issuer has given the
 * right to, that it is of this certificate, its age, and what it says. Returns 0 (good), E_MALFORMED,
 * E_FORBIDDEN (revoked), E_NOT_FOUND (its authority says that it does not know the certificate), E_MISMATCH (of
 * another certificate, or not signed by who may), E_AGAIN (out of date, or the responder has no answer); always
 * with a reason. until: how long a response that is good, or says "revoked", may be used again; 0: not at all.
 */
int ocsp_check(struct slice response, gnutls_x509_crt_t certificate, gnutls_x509_crt_t issuer, time_t now,
    char *reason, time_t *until);

/* -- verify.c: all of it ------------------------------------------------------------------------- */

enum verify_check {
#define VERIFY_CHECK(name, text) VERIFY_##name,
#include "verify_check.def"
#undef VERIFY_CHECK
	VERIFY_CHECKS
};

enum verify_verdict { VERIFY_NOT_DONE, VERIFY_OK, VERIFY_FAILED };

const char *verify_check_text(enum verify_check check);       /* "chain" */
const char *verify_verdict_text(enum verify_verdict verdict); /* "not done" */

struct verify_peer {
	const gnutls_datum_t *chain;  /* DER, the peer's own certificate first, as it sent them */
	size_t count;
	struct slice domain;          /* canonical: who it should be */
	const char *target;           /* host name of a secure SRV record, for DANE; NULL: none */
	const struct tlsa_set *tlsa;  /* NULL: none */
	bool is_client;               /* it is the client of this TLS connection */
	struct slice ocsp;            /* a response, stapled or fetched; absent: none */
	bool ocsp_fetched;            /* it was not stapled: one that says nothing is as if it were not there */
	bool ocsp_required;           /* without a good one the certificate is not good */
	const char *ocsp_missing;     /* why there is none; NULL: nobody was asked */
	time_t now;
};

struct verify_result {
	struct {
		enum verify_verdict verdict;
		char reason[VERIFY_REASON];
	} checks[VERIFY_CHECKS];
	enum verify_verdict pkix, dane;
	bool dane_alone;              /* DANE has said yes without any authority (usages 2 and 3) */
	time_t ocsp_until;            /* how long the response may be used again; 0: not at all */
};

/* Checks. trust: held by the caller until it returns. Takes milliseconds: call it on the thread pool. */
void verify(const struct trust *trust, const struct verify_peer *peer, struct verify_result *result);

#endif
