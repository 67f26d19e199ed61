/*
 * jid.c: XMPP addresses. Called wherever an address enters (jid_prepare) or crosses between
 * daemons (jid_parse). Fails on text that is not an address or is too long; aborts when memory is
 * exhausted.
 *
 * ASCII, which is nearly everything, is judged by one table look-up a byte. Other text goes to
 * precis.c and libidn2.
 */
#include "jid.h"

#include <arpa/inet.h>
#include <idn2.h>
#include <stdlib.h>

#include "error.h"
#include "precis.h"

#define LABEL_MAX  63  /* of a domain in its ASCII form (RFC 1035 section 2.3.4) */
#define DOMAIN_MAX 253 /* the same without a final dot */

#define IDN_FLAGS (IDN2_NFC_INPUT | IDN2_NO_TR46 | IDN2_USE_STD3_ASCII_RULES)

/* Where a byte may stand, and what must be done about it. */
enum {
	LOCAL = 1,    /* in a localpart */
	DOMAIN = 2,   /* in a domainpart that is not an IPv6 address */
	RESOURCE = 4, /* in a resourcepart */
	PARTS = LOCAL | DOMAIN | RESOURCE,
	UPPER = 8,  /* mapped to lower case in localpart and domainpart */
	OTHER = 16, /* not ASCII: ask the libraries */
	IDN = 32    /* said of a domain: some label is an A-label or not ASCII */
};

/* The localpart has IdentifierClass's 0x21 to 0x7E without the characters of RFC 7622 section
 * 3.3.1, the resourcepart FreeformClass's 0x20 to 0x7E. */
static const uint8_t bytes[256] = {
	[' '] = RESOURCE,
	['!'] = LOCAL | RESOURCE,
	['"'] = RESOURCE,
	['#' ... '%'] = LOCAL | RESOURCE,
	['&' ... '\''] = RESOURCE,
	['(' ... ','] = LOCAL | RESOURCE,
	['-' ... '.'] = PARTS,
	['/'] = RESOURCE,
	['0' ... '9'] = PARTS,
	[':'] = RESOURCE,
	[';'] = LOCAL | RESOURCE,
	['<'] = RESOURCE,
	['='] = LOCAL | RESOURCE,
	['>'] = RESOURCE,
	['?'] = LOCAL | RESOURCE,
	['@'] = RESOURCE,
	['A' ... 'Z'] = PARTS | UPPER,
	['[' ... '`'] = LOCAL | RESOURCE,
	['a' ... 'z'] = PARTS,
	['{' ... '~'] = LOCAL | RESOURCE,
	[0x80 ... 0xFF] = OTHER,
};

/* What the table says about all bytes of a text, and about any of them. */
struct survey {
	unsigned all;
	unsigned any;
};

static struct survey
survey(struct slice text)
{
	struct survey s = { PARTS, 0 };
	size_t i;

	for (i = 0; i < text.len; i++) {
		unsigned flags = bytes[(uint8_t)text.ptr[i]];

		s.all &= flags;
		s.any |= flags;
	}
	return s;
}

static void
copy_lower(char *out, struct slice text)
{
	size_t i;

	for (i = 0; i < text.len; i++) {
		unsigned char c = (unsigned char)text.ptr[i];

		out[i] = (char)((bytes[c] & UPPER) != 0 ? c + ('a' - 'A') : c);
	}
}

/* Ends the part of len bytes that is now in out, and hands it over. */
static int
part_give(char *out, size_t len, struct slice *part)
{
	out[len] = '\0';
	*part = slice_of(out, len);
	return OK;
}

int
jid_prepare_local(struct slice text, char *out, struct slice *part)
{
	struct survey s = survey(text);
	size_t i, len;
	int error;

	if (text.len == 0)
		return E_MALFORMED;
	if ((s.any & OTHER) == 0) {
		if ((s.all & LOCAL) == 0)
			return E_MALFORMED;
		if (text.len > JID_PART_MAX)
			return E_TOO_BIG;
		copy_lower(out, text);
		return part_give(out, text.len, part);
	}
	error = precis_username(text, out, JID_PART_MAX, &len);
	if (error != OK)
		return error;
	/* Looked at afterwards: the width mapping can produce what RFC 7622 forbids. */
	for (i = 0; i < len; i++)
		if ((bytes[(uint8_t)out[i]] & (LOCAL | OTHER)) == 0)
			return E_MALFORMED;
	return part_give(out, len, part);
}

int
jid_prepare_resource(struct slice text, char *out, struct slice *part)
{
	struct survey s = survey(text);
	size_t len;
	int error;

	if (text.len == 0)
		return E_MALFORMED;
	if ((s.any & OTHER) == 0) {
		if ((s.all & RESOURCE) == 0)
			return E_MALFORMED;
		if (text.len > JID_PART_MAX)
			return E_TOO_BIG;
		memcpy(out, text.ptr, text.len);
		return part_give(out, text.len, part);
	}
	error = precis_opaque(text, out, JID_PART_MAX, &len);
	return error == OK ? part_give(out, len, part) : error;
}

int
jid_prepare_password(struct slice text, char *out, struct slice *password)
{
	return jid_prepare_resource(text, out, password);
}

/* Checks one label of a mapped domain, and adds to *any what is in it. */
static int
label_check(struct slice label, unsigned *any)
{
	unsigned seen = 0;
	bool ascii, xn;
	size_t i;

	if (label.len == 0 || label.ptr[0] == '-' || label.ptr[label.len - 1] == '-')
		return E_MALFORMED;
	for (i = 0; i < label.len; i++) {
		unsigned flags = bytes[(uint8_t)label.ptr[i]];

		if ((flags & (DOMAIN | OTHER)) == 0)
			return E_MALFORMED;
		seen |= flags;
	}
	ascii = (seen & OTHER) == 0;
	xn = slice_starts(label, SLICE("xn--"));
	/* RFC 5890 section 2.3.1 reserves other prefixes of this shape. */
	if (label.len >= 4 && label.ptr[2] == '-' && label.ptr[3] == '-' && !xn)
		return E_MALFORMED;
	*any |= seen | (!ascii || xn ? IDN : 0u);
	return ascii && label.len > LABEL_MAX ? E_TOO_BIG : OK;
}

/* A last label of digits is an IPv4 address or nothing: no host name looks like one (RFC 1123
 * section 2.1), and resolvers would take it for a short form of one. */
static bool
is_number_wrong(struct slice domain, struct slice label)
{
	char text[INET_ADDRSTRLEN];
	struct in_addr address;
	size_t i;

	for (i = 0; i < label.len; i++)
		if (label.ptr[i] < '0' || label.ptr[i] > '9')
			return false;
	if (domain.len >= sizeof(text))
		return true;
	memcpy(text, domain.ptr, domain.len);
	text[domain.len] = '\0';
	return inet_pton(AF_INET, text, &address) != 1;
}

/* Checks a mapped domain that is not an IPv6 address; *any becomes what is in it. */
static int
labels_check(struct slice domain, unsigned *any)
{
	struct slice label, rest = domain;
	const char *dot;
	int error;

	*any = 0;
	if (domain.len == 0)
		return E_MALFORMED;
	do {
		dot = rest.len > 0 ? memchr(rest.ptr, '.', rest.len) : NULL;
		label = slice_part(rest, 0, dot != NULL ? (size_t)(dot - rest.ptr) : rest.len);
		error = label_check(label, any);
		if (error != OK)
			return error;
		rest = slice_part(rest, label.len + 1, rest.len);
	} while (dot != NULL);
	if (is_number_wrong(domain, label))
		return E_MALFORMED;
	return (*any & IDN) == 0 && domain.len > DOMAIN_MAX ? E_TOO_BIG : OK;
}

/* Converts a mapped domain to A-labels, to be freed by idn2_free(). */
static int
idn_ascii(const char *domain, char **ascii)
{
	int rc = idn2_lookup_u8((const uint8_t *)domain, (uint8_t **)ascii, IDN_FLAGS);

	if (rc == IDN2_MALLOC)
		abort();
	if (rc == IDN2_TOO_BIG_LABEL || rc == IDN2_TOO_BIG_DOMAIN)
		return E_TOO_BIG;
	if (rc != IDN2_OK)
		return E_MALFORMED;
	return strlen(*ascii) > DOMAIN_MAX ? E_TOO_BIG : OK;
}

/* Tells whether a domain made of decoded A-labels is a canonical one and stands for them. */
static int
idn_verify(const char *domain, const char *ascii)
{
	char mapped[JID_PART_MAX + 1], *again = NULL;
	struct slice text = slice_string(domain);
	size_t len;
	unsigned any;
	int error;

	/* libidn2 lets a hyphen at the end of a decoded label pass. */
	error = labels_check(text, &any);
	if (error == OK)
		error = precis_domain(text, mapped, JID_PART_MAX, &len);
	if (error == OK && !slice_equal(slice_of(mapped, len), text))
		error = E_MALFORMED;
	if (error == OK)
		error = idn_ascii(domain, &again);
	if (error == OK && strcmp(again, ascii) != 0)
		error = E_MALFORMED;
	idn2_free(again);
	return error;
}

/* Brings the mapped domain in out, a string of *len bytes, into U-labels. */
static int
domain_decode(char *out, size_t *len)
{
	char *ascii = NULL, *domain = NULL;
	int error, rc;

	error = idn_ascii(out, &ascii);
	if (error != OK)
		goto done;
	rc = idn2_to_unicode_8z8z(ascii, &domain, IDN2_NO_TR46);
	if (rc == IDN2_MALLOC)
		abort();
	error = rc == IDN2_OK ? idn_verify(domain, ascii) : E_MALFORMED;
	if (error != OK)
		goto done;
	*len = strlen(domain);
	memcpy(out, domain, *len);
done:
	idn2_free(ascii);
	idn2_free(domain);
	return error;
}

/* Prepares an IPv6 address in brackets. */
static int
domain_ip6(struct slice text, char *out, struct slice *part)
{
	char address[INET6_ADDRSTRLEN];
	struct in6_addr in6;
	size_t len;

	if (text.len < 2 || text.len - 2 >= sizeof(address) || text.ptr[text.len - 1] != ']' ||
	    memchr(text.ptr, '\0', text.len) != NULL)
		return E_MALFORMED;
	memcpy(address, text.ptr + 1, text.len - 2);
	address[text.len - 2] = '\0';
	if (inet_pton(AF_INET6, address, &in6) != 1)
		return E_MALFORMED;
	if (inet_ntop(AF_INET6, &in6, address, sizeof(address)) == NULL)
		abort();
	len = strlen(address);
	out[0] = '[';
	memcpy(out + 1, address, len);
	out[len + 1] = ']';
	return part_give(out, len + 2, part);
}

int
jid_prepare_domain(struct slice text, char *out, struct slice *part)
{
	size_t len = text.len;
	unsigned any;
	int error;

	if (text.len == 0)
		return E_MALFORMED;
	if (text.ptr[0] == '[')
		return domain_ip6(text, out, part);
	if ((survey(text).any & OTHER) == 0) {
		if (text.len > JID_PART_MAX)
			return E_TOO_BIG;
		copy_lower(out, text);
	} else {
		error = precis_domain(text, out, JID_PART_MAX, &len);
		if (error != OK)
			return error;
	}
	if (out[len - 1] == '.')
		len--;
	error = labels_check(slice_of(out, len), &any);
	if (error != OK)
		return error;
	out[len] = '\0';
	if ((any & IDN) != 0)
		error = domain_decode(out, &len);
	return error == OK ? part_give(out, len, part) : error;
}

int
jid_prepare(struct slice text, char *out, struct jid *jid)
{
	struct jid raw, done = { SLICE_NONE, SLICE_NONE, SLICE_NONE, SLICE_NONE };
	char *end = out;
	int error;

	jid_split(text, &raw);
	if (raw.local.ptr != NULL) {
		error = jid_prepare_local(raw.local, end, &done.local);
		if (error != OK)
			return error;
		end += done.local.len;
		*end++ = '@';
	}
	error = jid_prepare_domain(raw.domain, end, &done.domain);
	if (error != OK)
		return error;
	end += done.domain.len;
	if (raw.resource.ptr != NULL) {
		*end++ = '/';
		error = jid_prepare_resource(raw.resource, end, &done.resource);
		if (error != OK)
			return error;
		end += done.resource.len;
	}
	done.full = slice_of(out, (size_t)(end - out));
	*jid = done;
	return OK;
}

/* Tells whether preparing a part gives the same part. */
static bool
is_unchanged(int (*prepare)(struct slice, char *, struct slice *), struct slice part)
{
	char room[JID_PART_MAX + 1];
	struct slice prepared;

	return part.len <= JID_PART_MAX && prepare(part, room, &prepared) == OK &&
	    slice_equal(part, prepared);
}

static bool
is_local(struct slice part)
{
	struct survey s = survey(part);

	if ((s.any & OTHER) != 0)
		return is_unchanged(jid_prepare_local, part);
	return part.len > 0 && part.len <= JID_PART_MAX && (s.all & LOCAL) != 0 &&
	    (s.any & UPPER) == 0;
}

static bool
is_domain(struct slice part)
{
	unsigned any;

	if (part.len > 0 && part.ptr[0] == '[')
		return is_unchanged(jid_prepare_domain, part);
	if (labels_check(part, &any) != OK || (any & UPPER) != 0)
		return false;
	return (any & IDN) == 0 || is_unchanged(jid_prepare_domain, part);
}

static bool
is_resource(struct slice part)
{
	struct survey s = survey(part);

	if ((s.any & OTHER) != 0)
		return is_unchanged(jid_prepare_resource, part);
	return part.len > 0 && part.len <= JID_PART_MAX && (s.all & RESOURCE) != 0;
}

int
jid_parse(struct slice text, struct jid *jid)
{
	struct jid split;

	if (text.len > JID_MAX)
		return E_MALFORMED;
	jid_split(text, &split);
	if (!is_domain(split.domain) || (split.local.ptr != NULL && !is_local(split.local)) ||
	    (split.resource.ptr != NULL && !is_resource(split.resource)))
		return E_MALFORMED;
	*jid = split;
	return OK;
}

void
jid_split(struct slice text, struct jid *jid)
{
	struct slice bare = jid_bare_of(text);
	const char *at = bare.len > 0 ? memchr(bare.ptr, '@', bare.len) : NULL;

	*jid = (struct jid){ text, SLICE_NONE, bare, SLICE_NONE };
	if (at != NULL) {
		size_t len = (size_t)(at - bare.ptr);

		jid->local = slice_of(bare.ptr, len);
		jid->domain = slice_of(at + 1, bare.len - len - 1);
	}
	if (bare.len < text.len)
		jid->resource = slice_of(text.ptr + bare.len + 1, text.len - bare.len - 1);
}

struct slice
jid_bare(const struct jid *jid)
{
	size_t len = jid->full.len;

	if (jid->resource.ptr != NULL)
		len -= jid->resource.len + 1;
	return slice_of(jid->full.ptr, len);
}

struct slice
jid_bare_of(struct slice full)
{
	const char *slash = full.len > 0 ? memchr(full.ptr, '/', full.len) : NULL;

	return slash != NULL ? slice_of(full.ptr, (size_t)(slash - full.ptr)) : full;
}

int
jid_domain_ascii(struct slice domain, char *out)
{
	char text[JID_PART_MAX + 1], *ascii = NULL;
	int error = OK;

	if (domain.len == 0 || domain.len > JID_PART_MAX ||
	    memchr(domain.ptr, '\0', domain.len) != NULL)
		return E_MALFORMED;
	memcpy(text, domain.ptr, domain.len);
	text[domain.len] = '\0';
	if ((survey(domain).any & OTHER) != 0)
		error = idn_ascii(text, &ascii);
	else if (domain.len > DOMAIN_MAX)
		error = E_MALFORMED;
	if (error == OK) {
		const char *from = ascii != NULL ? ascii : text;

		memcpy(out, from, strlen(from) + 1);
	}
	idn2_free(ascii);
	return error == OK ? OK : E_MALFORMED;
}

bool
domain_fits(struct slice name, struct slice domain)
{
	if (!slice_starts(name, SLICE("*.")))
		return slice_equal(name, domain);
	name = slice_part(name, 1, name.len); /* ".example.net" */
	return domain.len > name.len &&
	    slice_equal(slice_part(domain, domain.len - name.len, domain.len), name);
}

size_t
domain_weight(struct slice name)
{
	return name.len + (slice_starts(name, SLICE("*.")) ? 0 : JID_PART_MAX);
}
