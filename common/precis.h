/*
 * precis.h: PRECIS string classes and the profiles that XMPP addresses and passwords need
 * (RFC 8264, RFC 8265). Used by jid.c alone.
 *
 * All take UTF-8 and give UTF-8 in out, at most room bytes and without a NUL, with its length in
 * *len. They return 0, E_MALFORMED for invalid UTF-8, an empty text or characters that the profile
 * refuses, or E_TOO_BIG when the result needs more than room bytes, or the text more than
 * PRECIS_TEXT_MAX. What they return is stable: applying the same function again changes nothing.
 */
#ifndef ALDIS_PRECIS_H
#define ALDIS_PRECIS_H

#include "slice.h"

/* Mapping shrinks a text to a third at most (full-width letters), so this loses nobody whose result
 * is at most 1023 bytes, and it bounds the work that a hostile text can cause. */
#define PRECIS_TEXT_MAX 4096

/* UsernameCaseMapped (RFC 8265 section 3.3). */
int precis_username(struct slice text, char *out, size_t room, size_t *len);

/* OpaqueString (RFC 8265 section 4.2). */
int precis_opaque(struct slice text, char *out, size_t room, size_t *len);

/*
 * The mapping of a domain name before IDNA2008 (RFC 5895 section 2): lower case, width, NFC, and
 * the ideographic full stop to a dot. Checks no characters: that is for IDNA to do.
 */
int precis_domain(struct slice text, char *out, size_t room, size_t *len);

#endif
