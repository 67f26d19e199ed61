/*
 * tlsa.h: TLSA records (RFC 6698): which certificate or key a peer at a name and port must show.
 * No input or output.
 */
#ifndef ALDIS_TLSA_H
#define ALDIS_TLSA_H

#include "slice.h"

#define TLSA_MAX      16u   /* records of one name and port that are kept */
#define TLSA_DATA_MAX 8192u /* bytes of association data, a whole certificate at most */

/* The fields by the names of RFC 7218. */
enum tlsa_usage { TLSA_PKIX_TA, TLSA_PKIX_EE, TLSA_DANE_TA, TLSA_DANE_EE };
enum tlsa_selector { TLSA_CERT, TLSA_SPKI };
enum tlsa_matching { TLSA_FULL, TLSA_SHA2_256, TLSA_SHA2_512 };

struct tlsa {
	uint8_t usage, selector, matching;
	struct slice data; /* owned by the set */
};

/* The records of one name and port. A zeroed struct is empty. */
struct tlsa_set {
	struct tlsa records[TLSA_MAX];
	size_t count;      /* usable ones, in the order of DNS */
	size_t unusable;   /* left out: of an unknown usage, selector or matching type, or malformed */
};

/* Adds the data of a record, which is copied. One that cannot be used is counted and left out (RFC
 * 6698 section 4.1), as is one that does not fit. Returns 0, E_MALFORMED, E_UNSUPPORTED, E_TOO_BIG,
 * E_TOO_MANY. */
int tlsa_add(struct tlsa_set *set, struct slice rdata);
void tlsa_clear(struct tlsa_set *set);

/* Whether a record names this certificate. certificate, spki: DER of the whole and of its
 * SubjectPublicKeyInfo. */
bool tlsa_matches(const struct tlsa *tlsa, struct slice certificate, struct slice spki);

const char *tlsa_usage_text(uint8_t usage); /* "DANE-EE" */

#endif
