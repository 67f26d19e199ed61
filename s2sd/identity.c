/*
 * identity.c: whether a certificate names a domain (RFC 9525, RFC 6120 section 13.7.1.2). Called by
 * verify.c on threads of the pool; cannot fail. The subject's common name is never looked at.
 */
#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>

#include <gnutls/x509-ext.h>

#include "error.h"
#include "jid.h"
#include "verify.h"

#define OID_NAMES "2.5.29.17" /* subjectAltName */
#define OID_SRV  "1.3.6.1.5.5.7.8.7" /* id-on-dnsSRV, RFC 4985 */
#define OID_XMPP "1.3.6.1.5.5.7.8.5" /* id-on-xmppAddr */

#define TAG_UTF8 0x0c
#define TAG_IA5  0x16

#define NAMES_MAX 1024u /* of a certificate that are looked at */

static const struct slice service = { "_xmpp-server.", 13 };

/* Whom a certificate is compared with. */
struct reference {
	struct slice domain;     /* canonical; absent: a host name is meant, by dNSName alone */
	char ascii[256];
	uint8_t address[16];
	size_t address_len;      /* 0: it is no address */
};

/* One name of a certificate. */
struct presented {
	const char *kind;        /* "dNSName" */
	struct slice value;
};

static char
lower(char c)
{
	return c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c;
}

static bool
equal_nocase(struct slice a, struct slice b)
{
	size_t i;

	for (i = 0; a.len == b.len && i < a.len; i++) {
		if (lower(a.ptr[i]) != lower(b.ptr[i]))
			return false;
	}
	return a.len == b.len;
}

/* What follows the left-most label, with its dot; empty when there is but one label. */
static struct slice
parent(struct slice name)
{
	const char *dot = memchr(name.ptr, '.', name.len);

	return dot == NULL ? slice_part(name, name.len, 0) : slice_part(name, (size_t)(dot - name.ptr), name.len);
}

/* Compares a DNS name of a certificate with a domain in A-labels. A wildcard is a whole label, the
 * left-most, and stands for exactly one; at least two labels follow it. */
static bool
dns_matches(struct slice presented, struct slice ascii)
{
	struct slice rest;

	if (presented.len < 2 || presented.ptr[0] != '*')
		return presented.len > 0 && equal_nocase(presented, ascii);
	rest = slice_part(presented, 1, presented.len);
	if (rest.len < 2 || rest.ptr[0] != '.' || parent(slice_part(rest, 1, rest.len)).len < 2)
		return false;
	return memchr(rest.ptr, '*', rest.len) == NULL && parent(ascii).len < ascii.len &&
	    equal_nocase(rest, parent(ascii));
}

static bool
xmpp_matches(struct slice presented, const struct reference *reference)
{
	char out[JID_MAX + 1];
	struct jid jid;

	return jid_prepare(presented, out, &jid) == OK && jid.local.ptr == NULL && jid.resource.ptr == NULL &&
	    slice_equal(jid.domain, reference->domain);
}

static bool
srv_matches(struct slice presented, const struct reference *reference)
{
	struct slice name = slice_part(presented, service.len, presented.len);

	return equal_nocase(slice_part(presented, 0, service.len), service) && name.len > 0 &&
	    equal_nocase(name, slice_string(reference->ascii));
}

static bool
presented_matches(const struct presented *p, unsigned type, const struct reference *reference)
{
	if (type == GNUTLS_SAN_DNSNAME)
		return reference->address_len == 0 && dns_matches(p->value, slice_string(reference->ascii));
	if (reference->domain.ptr == NULL)
		return false;
	if (type == GNUTLS_SAN_IPADDRESS)
		return reference->address_len > 0 &&
		    slice_equal(p->value, slice_of(reference->address, reference->address_len));
	return p->kind[0] == 'S' ? reference->address_len == 0 && srv_matches(p->value, reference)
	    : xmpp_matches(p->value, reference);
}

/* Reads a string of DER, of less than 64 KiB, that fills what is given. */
static int
der_string(struct slice der, uint8_t tag, struct slice *value)
{
	const uint8_t *b = (const uint8_t *)der.ptr;
	size_t head = 2, len;

	if (der.len < 2 || b[0] != tag)
		return E_MALFORMED;
	len = b[1];
	if (len == 0x81 && der.len > 2) {
		len = b[2];
		head = 3;
	} else if (len == 0x82 && der.len > 3) {
		len = (size_t)b[2] << 8 | b[3];
		head = 4;
	} else if (len >= 0x80) {
		return E_MALFORMED;
	}
	*value = slice_part(der, head, len);
	return der.len - head == len ? OK : E_MALFORMED;
}

/* Names the kind of an otherName and takes its value out. Returns false when it is of no interest. */
static bool
other_name(const gnutls_datum_t *oid, struct presented *p)
{
	struct slice text = slice_of(oid->data, oid->size);

	/* The length may count a NUL. */
	if (text.len > 0 && text.ptr[text.len - 1] == '\0')
		text.len--;
	if (slice_is(text, OID_SRV)) {
		p->kind = "SRVName";
		return der_string(p->value, TAG_IA5, &p->value) == OK;
	}
	p->kind = "xmppAddr";
	return slice_is(text, OID_XMPP) && der_string(p->value, TAG_UTF8, &p->value) == OK;
}

/* Reads the nth name. Returns 0, E_NOT_FOUND at the end, E_UNSUPPORTED for one to pass over. */
static int
presented_read(gnutls_subject_alt_names_t names, unsigned n, struct presented *p, unsigned *type)
{
	gnutls_datum_t value, oid = { NULL, 0 };

	if (gnutls_subject_alt_names_get(names, n, type, &value, &oid) < 0)
		return E_NOT_FOUND;
	p->value = slice_of(value.data, value.size);
	switch (*type) {
	case GNUTLS_SAN_DNSNAME:
		p->kind = "dNSName";
		return OK;
	case GNUTLS_SAN_IPADDRESS:
		p->kind = "iPAddress";
		return OK;
	case GNUTLS_SAN_OTHERNAME:
		return other_name(&oid, p) ? OK : E_UNSUPPORTED;
	}
	return E_UNSUPPORTED;
}

/* Appends a name to a reason, if it fits. */
static void
reason_add(char *reason, const struct presented *p)
{
	size_t at = strlen(reason), i;
	int n;

	if (at + p->value.len + 16 > VERIFY_REASON)
		return;
	if (strcmp(p->kind, "iPAddress") == 0) {
		snprintf(reason + at, VERIFY_REASON - at, "%siPAddress", at > 0 ? ", " : "");
		return;
	}
	n = snprintf(reason + at, VERIFY_REASON - at, "%s%s ", at > 0 ? ", " : "", p->kind);
	at += (size_t)n;
	for (i = 0; i < p->value.len; i++)
		reason[at++] = p->value.ptr[i] > ' ' && p->value.ptr[i] < 0x7f ? p->value.ptr[i] : '?';
	reason[at] = '\0';
}

/* Reads the extension; NULL: there is none, or it is malformed. */
static gnutls_subject_alt_names_t
names_read(gnutls_x509_crt_t certificate)
{
	gnutls_subject_alt_names_t names;
	gnutls_datum_t der;
	int code;

	if (gnutls_x509_crt_get_extension_by_oid2(certificate, OID_NAMES, 0, &der, NULL) < 0)
		return NULL;
	code = gnutls_subject_alt_names_init(&names);
	if (code >= 0 && (code = gnutls_x509_ext_import_subject_alt_names(&der, names, 0)) < 0)
		gnutls_subject_alt_names_deinit(names);
	gnutls_free(der.data);
	return code < 0 ? NULL : names;
}

static bool
search(gnutls_x509_crt_t certificate, const struct reference *reference, char *reason)
{
	gnutls_subject_alt_names_t names = names_read(certificate);
	struct presented p;
	unsigned n, type;
	bool found = false;
	int code = names == NULL ? E_NOT_FOUND : OK;

	reason[0] = '\0';
	for (n = 0; !found && n < NAMES_MAX && code != E_NOT_FOUND; n++) {
		code = presented_read(names, n, &p, &type);
		found = code == OK && presented_matches(&p, type, reference);
		if (found)
			reason[0] = '\0'; /* this one says it all */
		if (code == OK)
			reason_add(reason, &p);
	}
	if (names != NULL)
		gnutls_subject_alt_names_deinit(names);
	if (reason[0] == '\0')
		snprintf(reason, VERIFY_REASON, "%s", found ? "a long name" : "no name in subjectAltName");
	return found;
}

/* Reads a domain that is an address. */
static void
address_read(struct reference *reference)
{
	struct slice text = reference->domain;
	char copy[INET6_ADDRSTRLEN] = "";
	bool six = text.len > 2 && text.ptr[0] == '[';

	if (six)
		text = slice_part(text, 1, text.len - 2);
	if (text.len >= sizeof copy)
		return;
	memcpy(copy, text.ptr, text.len);
	if (inet_pton(six ? AF_INET6 : AF_INET, copy, reference->address) == 1)
		reference->address_len = six ? 16 : 4;
}

bool
identity_matches(gnutls_x509_crt_t certificate, struct slice domain, char *reason)
{
	struct reference reference = { .domain = domain };

	address_read(&reference);
	if (reference.address_len == 0 && jid_domain_ascii(domain, reference.ascii) != OK) {
		snprintf(reason, VERIFY_REASON, "the domain has no ASCII form");
		return false;
	}
	return search(certificate, &reference, reason);
}

bool
identity_matches_host(gnutls_x509_crt_t certificate, struct slice host, char *reason)
{
	struct reference reference = { .domain = SLICE_NONE };

	if (host.len == 0 || host.len >= sizeof reference.ascii)
		return false;
	memcpy(reference.ascii, host.ptr, host.len);
	return search(certificate, &reference, reason);
}
