/*
 * tls.h: certificates, handshakes, channel bindings, and what a peer has shown of itself.
 *
 * A handshake never fails over who the peer is: nothing of its certificate is verified here but that
 * it has the private key. transport_peer_chain() has what the daemon verifies.
 */
#ifndef ALDIS_TLS_H
#define ALDIS_TLS_H

#include <gnutls/gnutls.h>

#include "transport.h"

/* The certificate chain of a domain with its key, which is at authd. Counted. */
struct certificate;

int tls_start(const char *priority);
/* For handshakes that begin from now on. Returns 0, or E_MALFORMED with the reason logged. */
int tls_set_priority(const char *priority);
/* pem: base64 of PEM. Returns 0, or E_MALFORMED with the reason logged. */
int certificate_new(const char *domain, struct slice pem, struct certificate **certificate);
struct slice certificate_pem(const struct certificate *certificate); /* base64, as it was given */
bool certificate_is(const struct certificate *certificate, struct slice pem);
/* The domain's own certificate of the chain, in DER. */
struct slice certificate_leaf(const struct certificate *certificate);
struct certificate *certificate_hold(struct certificate *certificate); /* in any thread */
void certificate_drop(struct certificate **certificate);

/* How a handshake is done. */
struct tls_settings {
	bool client;
	const char *server_name; /* as a client: the domain that is meant (SNI), in ASCII; may be NULL */
	const char *alpn;        /* with TLS from the first byte: what is spoken; NULL: not said */
	const gnutls_datum_t *ticket; /* as a server: the key with which sessions can be resumed; NULL: none */
	bool ask;                /* as a server: the peer is asked for a certificate, and may have none */
};

/* Begins the handshake in OPEN, with nothing left to write: the hook secured() or lost() follows. */
void tls_begin(struct transport *t, const struct tls_settings *settings);
/* Goes on with it: the socket is ready. */
void tls_step(struct transport *t);
/* Gives up a step that no thread has begun. */
void tls_cancel(struct transport *t);
void tls_gauges(void);

/* The channel bindings of a stream. Zero length: there is none. */
struct bindings {
	gnutls_datum_t exporter, unique; /* from gnutls_malloc() */
	unsigned char endpoint[64];      /* as a server */
	size_t endpoint_len;
};
unsigned tls_version(const struct transport *t);  /* as on the wire: 0x0304 */
void bindings_get(const struct transport *t, struct bindings *b);
void bindings_free(struct bindings *b);

#define TLS_NAME_SIZE   256
#define TLS_REASON_SIZE 256
/* As a server, in any thread: the name in the peer's SNI, absent without one. */
struct slice tls_server_name(const struct transport *t, char name[TLS_NAME_SIZE]);
/* Adds version, key exchange and cipher, for people. */
void tls_describe(const struct transport *t, struct buf *out);
/* What a GnuTLS code means, with the alert that the peer has sent. */
const char *tls_reason(const struct transport *t, int code, char reason[TLS_REASON_SIZE]);

/* The peer's certificates as it sent them (DER), its own first: not verified. They live as long as the
 * transport. NULL, with *count 0: it has shown none. */
const gnutls_datum_t *transport_peer_chain(const struct transport *t, unsigned *count);
/* The OCSP response that a server has stapled for the certificate at this place in its chain (DER, not
 * verified; lives as long as the transport). Returns 0 or E_NOT_FOUND. */
int transport_peer_status(const struct transport *t, unsigned i, gnutls_datum_t *response);

#endif
