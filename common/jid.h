/*
 * jid.h: XMPP addresses (RFC 7622).
 *
 * A JID is kept as one string in canonical form, localpart@domainpart/resourcepart, with the
 * positions of its separators beside it. Canonical means: the localpart enforced by the PRECIS
 * UsernameCaseMapped profile (RFC 8265 section 3.3) and free of the characters that RFC 7622
 * section 3.3.1 forbids, the domainpart an IDNA2008 U-label in lower case, an IPv4 or a bracketed
 * IPv6 address, without a final dot (section 3.2), the resourcepart enforced by the PRECIS
 * OpaqueString profile (RFC 8265 section 4.2). Each part is 1 to 1023 bytes long. Two canonical
 * JIDs are equal exactly when their bytes are.
 *
 * ASCII takes a fast path that does not call libunistring or libidn2.
 */
#ifndef ALDIS_JID_H
#define ALDIS_JID_H

#include "slice.h"

#define JID_PART_MAX 1023
#define JID_MAX      (3 * JID_PART_MAX + 2)

/* A view of a canonical JID: slices into one string that somebody else owns. Absent parts are
 * SLICE_NONE; domain is never absent. full spans all parts. */
struct jid {
	struct slice full;
	struct slice local;
	struct slice domain;
	struct slice resource;
};

/*
 * Brings text into canonical form. out: at least JID_MAX + 1 bytes, owned by the caller; *jid
 * points into it afterwards; a NUL follows. Returns 0, E_MALFORMED when the text is not a JID, or
 * E_TOO_BIG when a part is too long.
 */
int jid_prepare(struct slice text, char *out, struct jid *jid);

/*
 * Splits text that must already be canonical, without changing it: for addresses in frames.
 * Returns 0 or E_MALFORMED when it is not exactly what jid_prepare() would give.
 */
int jid_parse(struct slice text, struct jid *jid);

/*
 * Splits text at its separators without checking the parts: only for strings that this process has
 * prepared or parsed before.
 */
void jid_split(struct slice text, struct jid *jid);

/* localpart@domainpart of a JID, a prefix of jid->full. */
struct slice jid_bare(const struct jid *jid);

/* The same without a struct jid: the prefix of a canonical address before the first '/'. */
struct slice jid_bare_of(struct slice full);

/* Prepares one part alone. out holds JID_PART_MAX + 1 bytes; *part points into it afterwards. */
int jid_prepare_local(struct slice text, char *out, struct slice *part);
int jid_prepare_domain(struct slice text, char *out, struct slice *part);
int jid_prepare_resource(struct slice text, char *out, struct slice *part);

/* A password by the OpaqueString profile, as SASL mechanisms compare it (RFC 8265 section 4.2,
 * RFC 5802 asks SASLprep, which OpaqueString succeeds). out holds JID_PART_MAX + 1 bytes. */
int jid_prepare_password(struct slice text, char *out, struct slice *password);

/* The ASCII form (A-labels) of a canonical domainpart, for certificates and DNS.
 * out holds 256 bytes, NUL-terminated. Returns 0 or E_MALFORMED. */
int jid_domain_ascii(struct slice domain, char *out);

/* Names of domains in the configuration: a domain, or "*." and one, which stands for all below it. */
bool domain_fits(struct slice name, struct slice domain);
size_t domain_weight(struct slice name); /* of several that fit, the one with most counts; at least 1 */

#endif
