/*
 * tlsa.c: TLSA records: reading them, and what they match. Called by resolve.c and verify.c. Fails
 * on records that are malformed or unknown, which are left out.
 */
#include <gnutls/crypto.h>
#include <gnutls/gnutls.h>
#include <stdlib.h>

#include "error.h"
#include "mem.h"
#include "tlsa.h"

#define HEAD 3u /* usage, selector, matching type */

/* Bytes of association data that a matching type has; 0: any number. */
static size_t
matching_size(uint8_t matching)
{
	return matching == TLSA_SHA2_256 ? 32 : matching == TLSA_SHA2_512 ? 64 : 0;
}

static int
tlsa_check(const struct tlsa_set *set, struct slice rdata)
{
	const uint8_t *b = (const uint8_t *)rdata.ptr;
	size_t size;

	if (rdata.len <= HEAD)
		return E_MALFORMED;
	if (b[0] > TLSA_DANE_EE || b[1] > TLSA_SPKI || b[2] > TLSA_SHA2_512)
		return E_UNSUPPORTED;
	size = matching_size(b[2]);
	if (size != 0 && rdata.len - HEAD != size)
		return E_MALFORMED;
	if (rdata.len - HEAD > TLSA_DATA_MAX)
		return E_TOO_BIG;
	return set->count == TLSA_MAX ? E_TOO_MANY : OK;
}

int
tlsa_add(struct tlsa_set *set, struct slice rdata)
{
	int code = tlsa_check(set, rdata);
	struct tlsa *tlsa;

	if (code != OK) {
		set->unusable++;
		return code;
	}
	tlsa = &set->records[set->count++];
	tlsa->usage = (uint8_t)rdata.ptr[0];
	tlsa->selector = (uint8_t)rdata.ptr[1];
	tlsa->matching = (uint8_t)rdata.ptr[2];
	tlsa->data = slice_of(mem_copy(rdata.ptr + HEAD, rdata.len - HEAD), rdata.len - HEAD);
	return OK;
}

void
tlsa_clear(struct tlsa_set *set)
{
	size_t i;

	for (i = 0; i < set->count; i++)
		free((void *)(uintptr_t)set->records[i].data.ptr);
	*set = (struct tlsa_set){ .count = 0 };
}

bool
tlsa_matches(const struct tlsa *tlsa, struct slice certificate, struct slice spki)
{
	struct slice what = tlsa->selector == TLSA_SPKI ? spki : certificate;
	uint8_t digest[64];

	if (tlsa->matching == TLSA_FULL)
		return slice_equal(what, tlsa->data);
	return gnutls_hash_fast(tlsa->matching == TLSA_SHA2_256 ? GNUTLS_DIG_SHA256 : GNUTLS_DIG_SHA512,
	    what.ptr, what.len, digest) == 0 &&
	    slice_equal(slice_of(digest, matching_size(tlsa->matching)), tlsa->data);
}

const char *
tlsa_usage_text(uint8_t usage)
{
	static const char *const texts[] = { "PKIX-TA", "PKIX-EE", "DANE-TA", "DANE-EE" };

	return usage < sizeof texts / sizeof texts[0] ? texts[usage] : "unknown";
}
