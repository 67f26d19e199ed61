/*
 * key.h: private keys that authd holds, used by handshakes over a link of its own.
 */
#ifndef ALDIS_KEY_H
#define ALDIS_KEY_H

#include <gnutls/gnutls.h>

/* Takes the link to authd: a new one replaces the old. */
void key_link(int fd);
/* What names a key: the SHA-256 of its public half. */
#define KEY_ID_SIZE 32
/* Has authd use the key of a domain with this id, on a thread of the pool; blocks for 5 seconds at
 * most, also when authd does not have that key yet.
 * what: "sign", "sign-hash" or "decrypt". result is from gnutls_malloc(). Returns 0, E_AGAIN (no
 * answer in time), E_FORBIDDEN (refused). */
int key_use(const char *domain, const unsigned char id[KEY_ID_SIZE], const char *what,
    unsigned algorithm, const gnutls_datum_t *data, gnutls_datum_t *result);

/* Has authd use a secret that we do not have: KEY_USE with KEY_SECRET (frame.h); s2sd only. */
int key_secret(const char *domain, const char *what, const gnutls_datum_t *data,
    gnutls_datum_t *result);
/* The same, to compare what somebody has said. Returns 0 when it is right, else as above. */
int key_compare(const char *domain, const char *what, const gnutls_datum_t *data, const char *said);

#endif
