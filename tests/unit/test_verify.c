/*
 * test_verify.c: whose certificate a peer shows, and whether to believe it, with certificates made here:
 * names, chains, dates, purposes, strength, CRLs, OCSP (by openssl), DANE.
 *
 * Links: s2sd
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <arpa/inet.h>
#include <pthread.h>
#include <unistd.h>

#include <cmocka.h>
#include <gnutls/abstract.h>
#include <gnutls/crypto.h>
#include <gnutls/gnutls.h>
#include <gnutls/x509-ext.h>

#include "error.h"
#include "mem.h"
#include "verify.h"

#define DAY 86400

/* What a certificate is to be; zero is a good one of its kind. */
struct wish {
	const char *subject;
	const char *names[6];   /* "dns:", "ip:", "srv:", "xmpp:", "oid:" and the value */
	bool authority;
	int from, until;        /* days from now; 0, 0: -1 to 30 */
	const char *purpose;    /* NULL: none */
	unsigned usage;         /* 0: none, or that of an authority */
	gnutls_digest_algorithm_t digest;
	unsigned serial;
	bool staple;
	const char *ocsp_url;
};

struct made {
	gnutls_x509_crt_t certificate;
	gnutls_x509_privkey_t key;
	gnutls_datum_t der;
};

static struct made root, middle, leaf, stranger, other_root;
static struct trust *trust;
static time_t now;
static gnutls_x509_privkey_t keys[5];

/* -- making certificates ------------------------------------------------------------------------- */

/* An otherName whose string has a tag of DER. */
static void
other_name(gnutls_x509_crt_t crt, const char *oid, char tag, const char *value)
{
	char der[256];
	size_t len = strlen(value);

	der[0] = tag;
	der[1] = (char)len;
	memcpy(der + 2, value, len);
	assert_int_equal(gnutls_x509_crt_set_subject_alt_othername(crt, oid, der, (unsigned)len + 2,
	    GNUTLS_FSAN_APPEND), 0);
}

static void
name_add(gnutls_x509_crt_t crt, const char *name)
{
	const char *value = strchr(name, ':') + 1;

	switch (name[0]) {
	case 'd':
		assert_int_equal(gnutls_x509_crt_set_subject_alt_name(crt, GNUTLS_SAN_DNSNAME, value,
		    (unsigned)strlen(value), GNUTLS_FSAN_APPEND), 0);
		break;
	case 'i':
		assert_int_equal(gnutls_x509_crt_set_subject_alt_name(crt, GNUTLS_SAN_IPADDRESS, value, 4,
		    GNUTLS_FSAN_APPEND), 0);
		break;
	case 's':
		other_name(crt, "1.3.6.1.5.5.7.8.7", 0x16, value);
		break;
	case 'x':
		other_name(crt, "1.3.6.1.5.5.7.8.5", 0x0c, value);
		break;
	default:
		other_name(crt, "1.2.3.4", 0x0c, value);
	}
}

/* As if it had come from a peer: GnuTLS reads some parts at import only. */
static gnutls_x509_crt_t
again(gnutls_x509_crt_t certificate, gnutls_datum_t *der)
{
	gnutls_x509_crt_t read;

	assert_int_equal(gnutls_x509_crt_export2(certificate, GNUTLS_X509_FMT_DER, der), 0);
	gnutls_x509_crt_deinit(certificate);
	gnutls_x509_crt_init(&read);
	assert_int_equal(gnutls_x509_crt_import(read, der, GNUTLS_X509_FMT_DER), 0);
	return read;
}

static struct made
make(const struct wish *wish, const struct made *issuer, gnutls_x509_privkey_t key)
{
	struct made m = { .key = key };
	gnutls_x509_crt_t c;
	uint32_t serial = htonl(wish->serial != 0 ? wish->serial : (uint32_t)random() | 1);
	bool dated = wish->from != 0 || wish->until != 0;
	unsigned i;

	gnutls_x509_crt_init(&m.certificate);
	c = m.certificate;
	gnutls_x509_crt_set_version(c, 3);
	gnutls_x509_crt_set_serial(c, &serial, sizeof serial);
	gnutls_x509_crt_set_dn(c, wish->subject, NULL);
	gnutls_x509_crt_set_key(c, key);
	gnutls_x509_crt_set_activation_time(c, now + (dated ? wish->from : -1) * DAY);
	gnutls_x509_crt_set_expiration_time(c, now + (dated ? wish->until : 30) * DAY);
	gnutls_x509_crt_set_basic_constraints(c, wish->authority, -1);
	if (wish->authority)
		gnutls_x509_crt_set_key_usage(c, GNUTLS_KEY_KEY_CERT_SIGN | GNUTLS_KEY_CRL_SIGN);
	if (wish->usage != 0)
		gnutls_x509_crt_set_key_usage(c, wish->usage);
	if (wish->purpose != NULL)
		gnutls_x509_crt_set_key_purpose_oid(c, wish->purpose, 0);
	if (wish->ocsp_url != NULL) {
		gnutls_datum_t url = { (unsigned char *)(uintptr_t)wish->ocsp_url, (unsigned)strlen(wish->ocsp_url) };

		gnutls_x509_crt_set_authority_info_access(c, GNUTLS_IA_OCSP_URI, &url);
	}
	if (wish->staple) {
		gnutls_x509_tlsfeatures_t features;

		gnutls_x509_tlsfeatures_init(&features);
		gnutls_x509_tlsfeatures_add(features, 5);
		gnutls_x509_crt_set_tlsfeatures(c, features);
		gnutls_x509_tlsfeatures_deinit(features);
	}
	for (i = 0; i < 6 && wish->names[i] != NULL; i++)
		name_add(c, wish->names[i]);
	assert_int_equal(gnutls_x509_crt_sign2(c, issuer != NULL ? issuer->certificate : c,
	    issuer != NULL ? issuer->key : key, wish->digest != 0 ? wish->digest : GNUTLS_DIG_SHA256, 0), 0);
	m.certificate = again(c, &m.der);
	return m;
}

static void
unmake(struct made *m)
{
	gnutls_x509_crt_deinit(m->certificate);
	gnutls_free(m->der.data);
}

/* PEM of a CRL by an authority. */
static char *
crl_make(const struct made *issuer, unsigned serial, int until)
{
	uint32_t number = htonl(serial);
	gnutls_x509_crl_t crl;
	gnutls_datum_t pem;
	char *text;

	gnutls_x509_crl_init(&crl);
	gnutls_x509_crl_set_version(crl, 2);
	gnutls_x509_crl_set_this_update(crl, now - 2 * DAY);
	gnutls_x509_crl_set_next_update(crl, now + until * DAY);
	gnutls_x509_crl_set_number(crl, "\1", 1);
	gnutls_x509_crl_set_crt_serial(crl, &number, sizeof number, now - 2 * DAY);
	assert_int_equal(gnutls_x509_crl_sign2(crl, issuer->certificate, issuer->key, GNUTLS_DIG_SHA256, 0), 0);
	assert_int_equal(gnutls_x509_crl_export2(crl, GNUTLS_X509_FMT_PEM, &pem), 0);
	gnutls_x509_crl_deinit(crl);
	text = mem_string((char *)pem.data);
	gnutls_free(pem.data);
	return text;
}

static char *
pem_of(gnutls_x509_crt_t certificate)
{
	gnutls_datum_t pem;
	char *text;

	assert_int_equal(gnutls_x509_crt_export2(certificate, GNUTLS_X509_FMT_PEM, &pem), 0);
	text = mem_string((char *)pem.data);
	gnutls_free(pem.data);
	return text;
}

/* -- names --------------------------------------------------------------------------------------- */

static bool
names(const char *name, const char *second, const char *domain, char *reason)
{
	struct wish wish = { .subject = "CN=example.org", .names = { name, second } };
	struct made m = make(&wish, NULL, keys[0]);
	bool matches = identity_matches(m.certificate, slice_string(domain), reason);
	const char *at;

	assert_true(reason[0] != '\0');
	for (at = reason; *at != '\0'; at++)
		assert_in_range(*at, ' ', '~');
	unmake(&m);
	return matches;
}

static void
test_names(void **state)
{
	static const struct {
		const char *name, *domain;
		bool matches;
	} rows[] = {
		{ "dns:example.org", "example.org", true },
		{ "dns:EXAMPLE.org", "example.org", true },
		{ "dns:example.org.", "example.org", false },
		{ "dns:example.org", "a.example.org", false },
		{ "dns:a.example.org", "example.org", false },
		{ "dns:*.example.org", "a.example.org", true },
		{ "dns:*.example.org", "example.org", false },
		{ "dns:*.example.org", "a.b.example.org", false },
		{ "dns:a*.example.org", "ab.example.org", false },
		{ "dns:*a.example.org", "ba.example.org", false },
		{ "dns:b.*.example.org", "b.a.example.org", false },
		{ "dns:*.*.example.org", "b.a.example.org", false },
		{ "dns:*.org", "example.org", false },
		{ "dns:*.", "example", false },
		{ "dns:*", "example", false },
		{ "dns:*", "example.org", false },
		{ "dns:xn--bcher-kva.example", "b\xc3\xbc" "cher.example", true },
		{ "dns:*.example", "b\xc3\xbc" "cher.example", false },
		{ "srv:_xmpp-server.example.org", "example.org", true },
		{ "srv:_XMPP-Server.Example.Org", "example.org", true },
		{ "srv:_xmpp-client.example.org", "example.org", false },
		{ "srv:_xmpps-server.example.org", "example.org", false },
		{ "srv:_xmpp-server.", "example.org", false },
		{ "srv:example.org", "example.org", false },
		{ "srv:_xmpp-server.*.example.org", "a.example.org", false },
		{ "srv:_xmpp-server.xn--bcher-kva.example", "b\xc3\xbc" "cher.example", true },
		{ "xmpp:example.org", "example.org", true },
		{ "xmpp:Example.ORG", "example.org", true },
		{ "xmpp:b\xc3\xbc" "cher.example", "b\xc3\xbc" "cher.example", true },
		{ "xmpp:juliet@example.org", "example.org", false },
		{ "xmpp:example.org/x", "example.org", false },
		{ "xmpp:*.example.org", "a.example.org", false },
		{ "xmpp:", "example.org", false },
		{ "oid:example.org", "example.org", false },
		{ "dns:192.0.2.1", "192.0.2.1", false },
		{ "ip:\xc0\5\2\1", "192.5.2.1", true },
		{ "ip:\xc0\5\2\2", "192.5.2.1", false },
		{ "ip:\xc0\5\2\1", "[2001:db8::1]", false },
		{ NULL, "example.org", false }, /* the common name counts for nothing */
	};
	char reason[VERIFY_REASON];
	size_t i;

	(void)state;
	for (i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		if (names(rows[i].name, NULL, rows[i].domain, reason) != rows[i].matches)
			fail_msg("row %zu: %s, %s: %s", i, rows[i].name, rows[i].domain, reason);
	}
	assert_true(names("dns:other.example", "xmpp:example.org", "example.org", reason));
	assert_true(names("oid:x", "dns:example.org", "example.org", reason));
}

/* A name with a NUL in it, and one that is not what its tag says. */
static void
test_strange_names(void **state)
{
	char reason[VERIFY_REASON], longest[256];
	gnutls_x509_crt_t c;
	gnutls_datum_t der;
	char *at;
	size_t i;

	(void)state;
	gnutls_x509_crt_init(&c);
	gnutls_x509_crt_set_version(c, 3);
	gnutls_x509_crt_set_serial(c, "\1", 1);
	gnutls_x509_crt_set_activation_time(c, now);
	gnutls_x509_crt_set_expiration_time(c, now + DAY);
	gnutls_x509_crt_set_key(c, keys[0]);
	gnutls_x509_crt_set_subject_alt_name(c, GNUTLS_SAN_DNSNAME, "example.org1.evil.example", 25, GNUTLS_FSAN_APPEND);
	gnutls_x509_crt_set_subject_alt_othername(c, "1.3.6.1.5.5.7.8.5", "\x16\x0b" "example.org", 13, GNUTLS_FSAN_APPEND);
	gnutls_x509_crt_set_subject_alt_othername(c, "1.3.6.1.5.5.7.8.7", "\x0c\x18_xmpp-server.example.org", 26, GNUTLS_FSAN_APPEND);
	gnutls_x509_crt_set_subject_alt_name(c, GNUTLS_SAN_DNSNAME, "\x1b[31m\x01", 6, GNUTLS_FSAN_APPEND);
	memset(longest, 'a', sizeof longest);
	for (i = 0; i < 20; i++)
		gnutls_x509_crt_set_subject_alt_name(c, GNUTLS_SAN_DNSNAME, longest, 60, GNUTLS_FSAN_APPEND);
	gnutls_x509_crt_set_subject_alt_name(c, GNUTLS_SAN_DNSNAME, "host.example", 12, GNUTLS_FSAN_APPEND);
	assert_int_equal(gnutls_x509_crt_sign2(c, c, keys[0], GNUTLS_DIG_SHA256, 0), 0);
	c = again(c, &der);
	at = memmem(der.data, der.size, "org1.evil", 9);
	assert_non_null(at);
	at[3] = '\0';
	gnutls_x509_crt_deinit(c);
	gnutls_x509_crt_init(&c);
	assert_int_equal(gnutls_x509_crt_import(c, &der, GNUTLS_X509_FMT_DER), 0);
	gnutls_free(der.data);
	if (identity_matches(c, SLICE("example.org"), reason))
		fail_msg("%s", reason);
	for (i = 0; reason[i] != '\0'; i++)
		assert_in_range(reason[i], ' ', '~');
	assert_true(identity_matches(c, SLICE("host.example"), reason));
	assert_string_equal(reason, "dNSName host.example");
	assert_true(identity_matches_host(c, SLICE("host.example"), reason));
	assert_false(identity_matches_host(c, SLICE(""), reason));
	assert_false(identity_matches_host(c, slice_of(longest, 256), reason));
	gnutls_x509_crt_deinit(c);
}

/* -- chains -------------------------------------------------------------------------------------- */

static struct verify_result
check(const struct made *const *sent, size_t count, struct verify_peer peer)
{
	struct verify_result result;
	gnutls_datum_t chain[VERIFY_SENT + 1];
	size_t i;

	for (i = 0; i < count; i++)
		chain[i] = sent[i]->der;
	peer.chain = chain;
	peer.count = count;
	peer.domain = SLICE("example.org");
	if (peer.now == 0)
		peer.now = now;
	verify(trust, &peer, &result);
	return result;
}

/* Which checks of a chain failed, as text. */
static const char *
failed(const struct verify_result *result)
{
	static char text[256];
	size_t i, len = 0;

	text[0] = '\0';
	for (i = 0; i < VERIFY_CHECKS; i++) {
		assert_non_null(memchr(result->checks[i].reason, '\0', VERIFY_REASON));
		if (result->checks[i].verdict == VERIFY_FAILED)
			len += (size_t)snprintf(text + len, sizeof text - len, "%s ", verify_check_text((enum verify_check)i));
	}
	return text;
}

#define CHECK_CHAIN(peer, ...)                                                                       \
	check((const struct made *const[]){ __VA_ARGS__ },                                           \
	    sizeof((const struct made *const[]){ __VA_ARGS__ }) / sizeof(struct made *), (struct verify_peer)peer)
#define NOTHING { .now = 0 }

static void
fails(const struct wish *wish, gnutls_x509_privkey_t key, bool is_client, const char *expected)
{
	struct made m = make(wish, &middle, key);
	struct verify_peer peer = { .is_client = is_client };
	struct verify_result r = CHECK_CHAIN(peer, &m, &middle);

	assert_string_equal(failed(&r), expected);
	assert_int_equal(r.pkix, expected[0] == '\0' ? VERIFY_OK : VERIFY_FAILED);
	unmake(&m);
}

static void
test_chain(void **state)
{
	struct verify_result r = CHECK_CHAIN(NOTHING, &leaf, &middle);
	struct made broken = leaf;

	(void)state;
	assert_string_equal(failed(&r), "");
	assert_int_equal(r.pkix, VERIFY_OK);
	assert_int_equal(r.dane, VERIFY_NOT_DONE);
	assert_int_equal(r.checks[VERIFY_CRL].verdict, VERIFY_NOT_DONE);
	assert_int_equal(r.checks[VERIFY_OCSP].verdict, VERIFY_NOT_DONE);
	assert_string_equal(r.checks[VERIFY_NAME].reason, "dNSName example.org");
	assert_string_equal(verify_verdict_text(r.pkix), "ok");
	/* in another order, with the anchor, with what does not belong there */
	r = CHECK_CHAIN(NOTHING, &leaf, &root, &stranger, &middle);
	assert_string_equal(failed(&r), "");
	r = CHECK_CHAIN(NOTHING, &leaf);
	assert_string_equal(failed(&r), "chain ");
	assert_string_equal(r.checks[VERIFY_CHAIN].reason, "no trust anchor");
	r = CHECK_CHAIN(NOTHING, &stranger, &middle);
	assert_string_equal(failed(&r), "chain ");
	r = CHECK_CHAIN(NOTHING, &leaf, &leaf, &leaf, &leaf, &leaf, &leaf, &leaf, &leaf, &leaf, &leaf, &leaf,
	    &leaf, &leaf, &leaf, &leaf, &leaf, &leaf);
	assert_string_equal(failed(&r), "certificate ");
	r = check(NULL, 0, (struct verify_peer)NOTHING);
	assert_string_equal(failed(&r), "certificate ");
	assert_int_equal(r.pkix, VERIFY_FAILED);
	broken.der.size -= 1;
	r = CHECK_CHAIN(NOTHING, &broken, &middle);
	assert_string_equal(r.checks[VERIFY_CERTIFICATE].reason, "malformed");
	/* one that was changed after it was signed */
	broken.der.data = mem_copy(leaf.der.data, leaf.der.size);
	broken.der.size = leaf.der.size;
	broken.der.data[broken.der.size - 1] ^= 1;
	r = CHECK_CHAIN(NOTHING, &broken, &middle);
	assert_string_equal(failed(&r), "chain ");
	free(broken.der.data);
	/* time goes on */
	r = CHECK_CHAIN({ .now = now + 31 * DAY }, &leaf, &middle);
	assert_string_equal(failed(&r), "dates ");
	r = CHECK_CHAIN({ .now = now + 61 * DAY }, &leaf, &middle);
	assert_string_equal(failed(&r), "dates ");
	r = CHECK_CHAIN({ .now = now - 2 * DAY }, &leaf, &middle);
	assert_string_equal(failed(&r), "dates ");
}

/* Verifies often, as threads of the pool do, all with the same anchors. */
static void *
verify_often(void *good)
{
	gnutls_datum_t chain[] = { leaf.der, middle.der };
	struct verify_peer peer = { .chain = chain, .count = 2, .domain = SLICE("example.org"), .now = now };
	struct verify_result result;
	int i;

	for (i = 0; i < 50; i++) {
		struct trust *held = trust_hold(trust);

		verify(held, &peer, &result);
		*(int *)good += result.pkix == VERIFY_OK;
		trust_drop(&held);
	}
	return NULL;
}

static void
test_threads(void **state)
{
	pthread_t threads[4];
	int good[4] = { 0 }, i;

	(void)state;
	for (i = 0; i < 4; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, verify_often, &good[i]), 0);
	for (i = 0; i < 4; i++) {
		pthread_join(threads[i], NULL);
		assert_int_equal(good[i], 50);
	}
}

static void
test_wishes(void **state)
{
	gnutls_x509_privkey_t weak;
	struct made no_authority, below;
	struct verify_result r;

	(void)state;
	fails(&(struct wish){ .subject = "CN=example.org", .names = { "dns:other.example" } }, keys[2], false, "name ");
	fails(&(struct wish){ .subject = "CN=x", .names = { "dns:example.org" }, .from = -9, .until = -8 }, keys[2],
	    false, "dates ");
	fails(&(struct wish){ .subject = "CN=x", .names = { "dns:example.org" }, .from = 1, .until = 8 }, keys[2],
	    false, "dates ");
	fails(&(struct wish){ .subject = "CN=x", .names = { "dns:example.org" },
	    .purpose = GNUTLS_KP_TLS_WWW_SERVER }, keys[2], false, "");
	fails(&(struct wish){ .subject = "CN=x", .names = { "dns:example.org" },
	    .purpose = GNUTLS_KP_TLS_WWW_SERVER }, keys[2], true, "");
	fails(&(struct wish){ .subject = "CN=x", .names = { "dns:example.org" },
	    .purpose = GNUTLS_KP_TLS_WWW_CLIENT }, keys[2], true, "");
	fails(&(struct wish){ .subject = "CN=x", .names = { "dns:example.org" },
	    .purpose = GNUTLS_KP_TLS_WWW_CLIENT }, keys[2], false, "purpose ");
	fails(&(struct wish){ .subject = "CN=x", .names = { "dns:example.org" },
	    .purpose = GNUTLS_KP_CODE_SIGNING }, keys[2], true, "purpose ");
	fails(&(struct wish){ .subject = "CN=x", .names = { "dns:example.org" },
	    .usage = GNUTLS_KEY_KEY_CERT_SIGN }, keys[2], false, "purpose ");
	fails(&(struct wish){ .subject = "CN=x", .names = { "dns:example.org" },
	    .usage = GNUTLS_KEY_DIGITAL_SIGNATURE }, keys[2], false, "");
	fails(&(struct wish){ .subject = "CN=x", .names = { "dns:example.org" }, .digest = GNUTLS_DIG_SHA1 }, keys[2],
	    false, "algorithm ");
	fails(&(struct wish){ .subject = "CN=x", .names = { "dns:example.org" }, .staple = true }, keys[2], false,
	    "ocsp ");
	fails(&(struct wish){ .subject = "CN=x", .names = { "dns:example.org" }, .staple = true }, keys[2], true, "");
	gnutls_x509_privkey_init(&weak);
	gnutls_x509_privkey_generate(weak, GNUTLS_PK_RSA, 1024, 0);
	fails(&(struct wish){ .subject = "CN=x", .names = { "dns:example.org" } }, weak, false, "algorithm ");
	gnutls_x509_privkey_deinit(weak);
	/* everything at once, each with its own reason */
	fails(&(struct wish){ .subject = "CN=x", .from = -9, .until = -8, .purpose = GNUTLS_KP_CODE_SIGNING,
	    .digest = GNUTLS_DIG_SHA1 }, keys[2], false, "dates purpose algorithm name ");
	/* signed by who may not */
	no_authority = make(&(struct wish){ .subject = "CN=no authority" }, &middle, keys[3]);
	below = make(&(struct wish){ .subject = "CN=x", .names = { "dns:example.org" } }, &no_authority, keys[2]);
	r = CHECK_CHAIN(NOTHING, &below, &no_authority, &middle);
	assert_string_equal(failed(&r), "chain ");
	assert_string_equal(r.checks[VERIFY_CHAIN].reason, "signed by who is no authority");
	unmake(&below);
	unmake(&no_authority);
}

static void
test_trust(void **state)
{
	static const struct slice none = { NULL, 0 };
	struct slice bad = SLICE("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"), crl = SLICE("nonsense");
	struct trust *other = NULL, *held;
	char *pem = pem_of(root.certificate);

	(void)state;
	assert_int_equal(trust_new(bad, NULL, 0, NULL, &other), E_MALFORMED);
	assert_int_not_equal(trust_new(SLICE(""), NULL, 0, NULL, &other), OK);
	assert_int_equal(trust_new(slice_string(pem), &crl, 1, NULL, &other), E_MALFORMED);
	assert_null(other);
	assert_int_equal(trust_new(none, NULL, 0, trust, &other), OK);
	held = trust_hold(other);
	trust_drop(&other);
	assert_null(other);
	assert_non_null(trust_list(held));
	trust_drop(&held);
	free(pem);
}

/* Verifies the usual chain with these CRLs. */
static void
crl_gives(char *one, char *two, enum verify_verdict verdict, const char *reason)
{
	static const struct slice none = { NULL, 0 };
	struct slice crls[2] = { slice_string(one), slice_string(two) };
	struct trust *usual = trust;
	struct verify_result r;

	assert_int_equal(trust_new(none, crls, two != NULL ? 2 : 1, usual, &trust), 0);
	r = CHECK_CHAIN(NOTHING, &leaf, &middle);
	assert_string_equal(r.checks[VERIFY_CRL].reason, reason);
	assert_int_equal(r.checks[VERIFY_CRL].verdict, verdict);
	assert_int_equal(r.pkix, verdict == VERIFY_FAILED ? VERIFY_FAILED : VERIFY_OK);
	trust_drop(&trust);
	trust = usual;
	free(one);
	free(two);
}

static void
test_crl(void **state)
{
	struct made twin = make(&(struct wish){ .subject = "CN=middle", .authority = true }, NULL, keys[3]);

	(void)state;
	crl_gives(crl_make(&middle, 77, 5), NULL, VERIFY_OK, "1 of 2 certificates");
	crl_gives(crl_make(&middle, 77, 5), crl_make(&root, 78, 5), VERIFY_OK, "2 of 2 certificates");
	crl_gives(crl_make(&middle, 1001, 5), NULL, VERIFY_FAILED, "certificate: revoked");
	crl_gives(crl_make(&middle, 1001, -1), NULL, VERIFY_FAILED, "certificate: revoked");
	crl_gives(crl_make(&root, 1000, 5), NULL, VERIFY_FAILED, "authority: revoked");
	crl_gives(crl_make(&middle, 77, -1), NULL, VERIFY_FAILED, "certificate: a CRL is out of date");
	crl_gives(crl_make(&middle, 77, -1), crl_make(&middle, 77, 5), VERIFY_OK, "1 of 2 certificates");
	crl_gives(crl_make(&other_root, 1001, 5), NULL, VERIFY_NOT_DONE, "no CRL of an authority of the path");
	/* signed by somebody else in the name of the authority */
	crl_gives(crl_make(&twin, 1001, 5), NULL, VERIFY_NOT_DONE, "no CRL of an authority of the path");
	unmake(&twin);
}

/* -- OCSP ---------------------------------------------------------------------------------------- */

static void
file_write(const char *dir, const char *name, const void *bytes, size_t len)
{
	char path[512];
	FILE *file;

	snprintf(path, sizeof path, "%s/%s", dir, name);
	file = fopen(path, "w");
	assert_non_null(file);
	assert_int_equal(fwrite(bytes, 1, len, file), len);
	fclose(file);
}

static void
key_write(const char *dir, const char *name, gnutls_x509_privkey_t key)
{
	gnutls_datum_t pem;

	gnutls_x509_privkey_export2_pkcs8(key, GNUTLS_X509_FMT_PEM, NULL, 0, &pem);
	file_write(dir, name, pem.data, pem.size);
	gnutls_free(pem.data);
}

static void
certificate_write(const char *dir, const char *name, const struct made *m)
{
	char *pem = pem_of(m->certificate);

	file_write(dir, name, pem, strlen(pem));
	free(pem);
}

/* Has openssl answer the request in dir/request: signer "middle", "helper" or "root". */
static struct buf
respond(const char *dir, char status, const char *signer, const char *more)
{
	char command[2048], index[256], path[512];
	struct buf out = { 0 };
	FILE *file;
	int len;

	len = snprintf(index, sizeof index, "%c\t350101000000Z\t%s\t%s\tunknown\t/CN=x\n",
	    status == 'R' ? 'R' : 'V', status == 'R' ? "250101000000Z" : "", status == 'U' ? "03FF" : "03E9");
	file_write(dir, "index", index, (size_t)len);
	snprintf(command, sizeof command, "cd %s && openssl ocsp -index index -CA middle.pem -rsigner %s.pem "
	    "-rkey %s.key -reqin request -respout response %s >log 2>&1", dir, signer, signer, more);
	assert_int_equal(system(command), 0);
	snprintf(path, sizeof path, "%s/response", dir);
	file = fopen(path, "r");
	assert_non_null(file);
	buf_added(&out, fread(buf_reserve(&out, 8192), 1, 8192, file));
	fclose(file);
	return out;
}

static void
ocsp_gives(struct buf response, time_t at, int code, const char *reason)
{
	char why[VERIFY_REASON] = "";
	time_t until;
	int got = ocsp_check(buf_slice(&response), leaf.certificate, middle.certificate, at, why, &until);

	if (code != OK && code != E_FORBIDDEN)
		assert_true(until == 0); /* nothing to keep */
	if (got != code || strncmp(why, reason, strlen(reason)) != 0)
		fail_msg("%s, not %s: %s", error_text(got), error_text(code), why);
	buf_free(&response);
}

static void
ocsp_verify(const char *dir)
{
	struct buf response = respond(dir, 'V', "middle", "-ndays 2"), cut = { 0 };
	struct verify_result r;
	size_t i;

	r = CHECK_CHAIN({ .ocsp = buf_slice(&response) }, &leaf, &middle);
	if (r.checks[VERIFY_OCSP].verdict != VERIFY_OK)
		fail_msg("%s", r.checks[VERIFY_OCSP].reason);
	assert_int_equal(r.pkix, VERIFY_OK);
	r = CHECK_CHAIN({ .ocsp = SLICE("") }, &leaf, &middle);
	assert_string_equal(failed(&r), "ocsp ");
	assert_int_equal(r.pkix, VERIFY_FAILED);
	/* no part of it is good */
	for (i = 0; i < buf_len(&response); i += 7) {
		buf_clear(&cut);
		buf_add(&cut, buf_slice(&response).ptr, i);
		r = CHECK_CHAIN({ .ocsp = buf_slice(&cut) }, &leaf, &middle);
		assert_int_equal(r.checks[VERIFY_OCSP].verdict, VERIFY_FAILED);
	}
	/* of another certificate, and of one whose issuer is not there */
	r = CHECK_CHAIN({ .ocsp = buf_slice(&response) }, &stranger, &other_root);
	assert_int_equal(r.checks[VERIFY_OCSP].verdict, VERIFY_FAILED);
	r = CHECK_CHAIN({ .ocsp = buf_slice(&response) }, &stranger);
	assert_int_equal(r.checks[VERIFY_OCSP].verdict, VERIFY_NOT_DONE);
	buf_free(&cut);
	buf_free(&response);
}

/* What was asked for and says nothing is as if it were not there, unless a good one is required; what the authority
 * has signed counts, also that it does not know the certificate. */
static void
ocsp_fetched(const char *dir)
{
	static const struct {
		char status;
		const char *signer;
		int days;           /* later */
		enum verify_verdict tried, required;
		bool kept;
	} rows[] = {
		{ 'V', "middle", 0, VERIFY_OK, VERIFY_OK, true },
		{ 'R', "middle", 0, VERIFY_FAILED, VERIFY_FAILED, true },
		{ 'R', "middle", 3, VERIFY_FAILED, VERIFY_FAILED, true },
		{ 'U', "middle", 0, VERIFY_FAILED, VERIFY_FAILED, false },
		{ 'V', "middle", 3, VERIFY_NOT_DONE, VERIFY_FAILED, false },
		{ 'V', "sibling", 0, VERIFY_NOT_DONE, VERIFY_FAILED, false },
		{ 'R', "sibling", 0, VERIFY_NOT_DONE, VERIFY_FAILED, false },
	};
	struct verify_peer peer;
	struct verify_result r;
	size_t i;

	for (i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		struct buf response = respond(dir, rows[i].status, rows[i].signer, "-ndays 2");
		peer = (struct verify_peer){ .ocsp = buf_slice(&response), .ocsp_fetched = true,
			.now = now + rows[i].days * DAY };
		r = CHECK_CHAIN(peer, &leaf, &middle);
		assert_int_equal(r.checks[VERIFY_OCSP].verdict, rows[i].tried);
		assert_int_equal(r.pkix, rows[i].tried == VERIFY_FAILED ? VERIFY_FAILED : VERIFY_OK);
		assert_int_equal(r.ocsp_until != 0, rows[i].kept);
		assert_true(r.ocsp_until <= now + 2 * DAY + 600);
		peer.ocsp_required = true;
		r = CHECK_CHAIN(peer, &leaf, &middle);
		assert_int_equal(r.checks[VERIFY_OCSP].verdict, rows[i].required);
		assert_int_equal(r.pkix, rows[i].required);
		buf_free(&response);
	}
	peer = (struct verify_peer){ .ocsp_missing = "out of time" };
	r = CHECK_CHAIN(peer, &leaf, &middle);
	assert_int_equal(r.pkix, VERIFY_OK);
	assert_string_equal(r.checks[VERIFY_OCSP].reason, "no response: out of time");
	peer.ocsp_required = true;
	r = CHECK_CHAIN(peer, &leaf, &middle);
	assert_int_equal(r.pkix, VERIFY_FAILED);
	assert_string_equal(failed(&r), "ocsp ");
}

static void
test_ocsp(void **state)
{
	char dir[256], url[OCSP_URL], command[300], why[VERIFY_REASON];
	const char *tmp = getenv("TMPDIR");
	struct buf request = { 0 }, big = { 0 };
	gnutls_datum_t chain[] = { leaf.der, middle.der };
	struct made helper, sibling;
	time_t until;

	(void)state;
	snprintf(dir, sizeof dir, "%.200s/aldis-ocsp-XXXXXX", tmp != NULL ? tmp : "/tmp");
	assert_non_null(mkdtemp(dir));
	assert_int_equal(ocsp_request_for(trust, chain, 2, &request, url), 0);
	assert_string_equal(url, "http://ocsp.example/");
	ocsp_url(stranger.certificate, url); /* it has one that is not http */
	assert_string_equal(url, "");
	assert_int_equal(ocsp_request_for(trust, chain, 1, &request, url), E_NOT_FOUND); /* no issuer */
	assert_int_equal(ocsp_request_for(trust, chain, 0, &request, url), E_MALFORMED);
	file_write(dir, "request", buf_slice(&request).ptr, buf_len(&request));
	helper = make(&(struct wish){ .subject = "CN=helper", .purpose = GNUTLS_KP_OCSP_SIGNING }, &middle, keys[3]);
	sibling = make(&(struct wish){ .subject = "CN=sibling" }, &middle, keys[3]);
	certificate_write(dir, "middle.pem", &middle);
	certificate_write(dir, "helper.pem", &helper);
	certificate_write(dir, "sibling.pem", &sibling);
	certificate_write(dir, "root.pem", &root);
	key_write(dir, "middle.key", keys[1]);
	key_write(dir, "helper.key", keys[3]);
	key_write(dir, "sibling.key", keys[3]);
	key_write(dir, "root.key", keys[0]);
	ocsp_gives(respond(dir, 'V', "middle", "-ndays 2"), now, OK, "good for ");
	ocsp_gives(respond(dir, 'V', "helper", "-ndays 2"), now, OK, "good for ");
	ocsp_gives(respond(dir, 'V', "middle", ""), now, OK, "good for "); /* without an end */
	ocsp_gives(respond(dir, 'V', "middle", "-ndays 2"), now + 3 * DAY, E_AGAIN, "the response is out of date");
	ocsp_gives(respond(dir, 'V', "middle", ""), now + 11 * DAY, E_AGAIN, "the response is out of date");
	ocsp_gives(respond(dir, 'V', "middle", ""), now - DAY, E_AGAIN, "the response is of the future");
	ocsp_gives(respond(dir, 'R', "middle", "-ndays 2"), now, E_FORBIDDEN, "revoked");
	/* once revoked, always revoked */
	ocsp_gives(respond(dir, 'R', "middle", "-ndays 2"), now + 3 * DAY, E_FORBIDDEN, "revoked");
	/* by who has no right to say so, though it is known */
	ocsp_gives(respond(dir, 'V', "sibling", "-ndays 2"), now, E_MISMATCH, "not signed by");
	ocsp_gives(respond(dir, 'V', "root", "-ndays 2"), now, E_MISMATCH, "not signed by");
	ocsp_gives(respond(dir, 'U', "middle", "-ndays 2"), now, E_NOT_FOUND, "the authority does not know");
	ocsp_verify(dir);
	ocsp_fetched(dir);
	buf_add(&big, memset(buf_reserve(&big, OCSP_MAX + 1), 0, OCSP_MAX + 1), 0);
	buf_added(&big, OCSP_MAX + 1);
	assert_int_equal(ocsp_check(buf_slice(&big), leaf.certificate, middle.certificate, now, why, &until), E_MALFORMED);
	buf_free(&big);
	buf_free(&request);
	unmake(&helper);
	unmake(&sibling);
	snprintf(command, sizeof command, "rm -rf %s", dir);
	assert_int_equal(system(command), 0);
}

/* -- DANE ---------------------------------------------------------------------------------------- */

/* A TLSA record that names this certificate. */
static void
tlsa_put(struct tlsa_set *set, uint8_t usage, uint8_t selector, uint8_t matching, const struct made *m)
{
	char rdata[4096] = { (char)usage, (char)selector, (char)matching };
	gnutls_datum_t what = m->der;
	gnutls_pubkey_t key;
	size_t len;

	gnutls_pubkey_init(&key);
	gnutls_pubkey_import_x509(key, m->certificate, 0);
	if (selector == TLSA_SPKI)
		gnutls_pubkey_export2(key, GNUTLS_X509_FMT_DER, &what);
	gnutls_pubkey_deinit(key);
	len = matching == TLSA_FULL ? what.size : matching == TLSA_SHA2_256 ? 32 : 64;
	if (matching == TLSA_FULL)
		memcpy(rdata + 3, what.data, what.size);
	else
		gnutls_hash_fast(matching == TLSA_SHA2_256 ? GNUTLS_DIG_SHA256 : GNUTLS_DIG_SHA512, what.data,
		    what.size, rdata + 3);
	if (selector == TLSA_SPKI)
		gnutls_free(what.data);
	assert_int_equal(tlsa_add(set, slice_of(rdata, 3 + len)), 0);
}

/* Checks a chain of up to three against one record. */
static void
dane_gives(uint8_t usage, const struct made *named, const struct made *first, const struct made *second,
    const char *target, enum verify_verdict verdict)
{
	uint8_t selector, matching;

	for (selector = 0; selector < 2; selector++) {
		for (matching = 0; matching < 3; matching++) {
			struct tlsa_set set = { .count = 0 };
			struct verify_peer peer = { .tlsa = &set, .target = target };
			struct verify_result r;

			tlsa_put(&set, usage, selector, matching, named);
			r = second != NULL ? CHECK_CHAIN(peer, first, second) : CHECK_CHAIN(peer, first);
			if (r.dane != verdict)
				fail_msg("%s %d %d: %s", tlsa_usage_text(usage), selector, matching,
				    r.checks[VERIFY_DANE].reason);
			tlsa_clear(&set);
		}
	}
}

static void
test_dane(void **state)
{
	struct wish old = { .subject = "CN=x", .names = { "dns:wrong.example" }, .from = -9, .until = -8 };
	struct wish host = { .subject = "CN=x", .names = { "dns:host.example" } };
	struct made expired = make(&old, &other_root, keys[4]), at_host = make(&host, &other_root, keys[4]);
	struct tlsa_set set = { .count = 0 };
	struct verify_result r;

	(void)state;
	/* 3: the certificate, whatever else it says */
	dane_gives(TLSA_DANE_EE, &leaf, &leaf, &middle, NULL, VERIFY_OK);
	dane_gives(TLSA_DANE_EE, &expired, &expired, NULL, NULL, VERIFY_OK);
	dane_gives(TLSA_DANE_EE, &middle, &leaf, &middle, NULL, VERIFY_FAILED);
	/* 2: an authority that nobody here trusts */
	dane_gives(TLSA_DANE_TA, &other_root, &stranger, &other_root, NULL, VERIFY_OK);
	dane_gives(TLSA_DANE_TA, &middle, &leaf, &middle, NULL, VERIFY_OK);
	dane_gives(TLSA_DANE_TA, &other_root, &leaf, &middle, NULL, VERIFY_FAILED);
	dane_gives(TLSA_DANE_TA, &other_root, &leaf, &other_root, NULL, VERIFY_FAILED); /* sent, but not on the path */
	dane_gives(TLSA_DANE_TA, &stranger, &stranger, &other_root, NULL, VERIFY_FAILED); /* no authority */
	dane_gives(TLSA_DANE_TA, &other_root, &expired, &other_root, NULL, VERIFY_FAILED);
	dane_gives(TLSA_DANE_TA, &other_root, &at_host, &other_root, NULL, VERIFY_FAILED);
	dane_gives(TLSA_DANE_TA, &other_root, &at_host, &other_root, "host.example", VERIFY_OK);
	dane_gives(TLSA_DANE_TA, &other_root, &at_host, &other_root, "other.example", VERIFY_FAILED);
	/* 1 and 0: besides PKIX */
	dane_gives(TLSA_PKIX_EE, &leaf, &leaf, &middle, NULL, VERIFY_OK);
	dane_gives(TLSA_PKIX_EE, &stranger, &stranger, &other_root, NULL, VERIFY_FAILED);
	dane_gives(TLSA_PKIX_TA, &middle, &leaf, &middle, NULL, VERIFY_OK);
	dane_gives(TLSA_PKIX_TA, &root, &leaf, &middle, NULL, VERIFY_OK); /* an anchor that was not sent */
	dane_gives(TLSA_PKIX_TA, &leaf, &leaf, &middle, NULL, VERIFY_FAILED);
	dane_gives(TLSA_PKIX_TA, &other_root, &stranger, &other_root, NULL, VERIFY_FAILED);
	/* an authority that is in the record and was not sent */
	tlsa_put(&set, TLSA_DANE_TA, TLSA_CERT, TLSA_FULL, &other_root);
	r = CHECK_CHAIN({ .tlsa = &set }, &stranger);
	assert_int_equal(r.dane, VERIFY_OK);
	assert_int_equal(r.pkix, VERIFY_FAILED);
	assert_string_equal(r.checks[VERIFY_DANE].reason, "DANE-TA 0 0");
	/* one of several is enough, and the strongest is named */
	tlsa_put(&set, TLSA_DANE_EE, TLSA_SPKI, TLSA_SHA2_256, &leaf);
	tlsa_put(&set, TLSA_DANE_EE, TLSA_SPKI, TLSA_SHA2_512, &stranger);
	r = CHECK_CHAIN({ .tlsa = &set }, &stranger);
	assert_string_equal(r.checks[VERIFY_DANE].reason, "DANE-EE 1 2");
	r = check(NULL, 0, (struct verify_peer){ .tlsa = &set });
	assert_int_equal(r.dane, VERIFY_FAILED);
	tlsa_clear(&set);
	/* nothing that can be used is as if there were nothing */
	assert_int_equal(tlsa_add(&set, SLICE("\x09\x09\x09x")), E_UNSUPPORTED);
	r = CHECK_CHAIN({ .tlsa = &set }, &leaf, &middle);
	assert_int_equal(r.dane, VERIFY_NOT_DONE);
	unmake(&expired);
	unmake(&at_host);
}

/* -- all ----------------------------------------------------------------------------------------- */

static int
setup(void **state)
{
	char *pem;
	size_t i;
	int code;

	(void)state;
	now = time(NULL);
	for (i = 0; i < sizeof keys / sizeof keys[0]; i++) {
		gnutls_x509_privkey_init(&keys[i]);
		gnutls_x509_privkey_generate(keys[i], GNUTLS_PK_ECDSA, GNUTLS_CURVE_TO_BITS(GNUTLS_ECC_CURVE_SECP256R1), 0);
	}
	root = make(&(struct wish){ .subject = "CN=root", .authority = true, .from = -9, .until = 60 }, NULL, keys[0]);
	middle = make(&(struct wish){ .subject = "CN=middle", .authority = true, .serial = 1000, .from = -9,
	    .until = 50 }, &root, keys[1]);
	leaf = make(&(struct wish){ .subject = "CN=x", .names = { "dns:example.org" }, .serial = 1001,
	    .ocsp_url = "http://ocsp.example/" }, &middle, keys[2]);
	other_root = make(&(struct wish){ .subject = "CN=other", .authority = true }, NULL, keys[3]);
	stranger = make(&(struct wish){ .subject = "CN=x", .names = { "dns:example.org" },
	    .ocsp_url = "https://not.http.example/" }, &other_root, keys[4]);
	pem = pem_of(root.certificate);
	code = trust_new(slice_string(pem), NULL, 0, NULL, &trust);
	free(pem);
	return code;
}

static int
teardown(void **state)
{
	size_t i;

	(void)state;
	trust_drop(&trust);
	unmake(&root);
	unmake(&middle);
	unmake(&leaf);
	unmake(&stranger);
	unmake(&other_root);
	for (i = 0; i < sizeof keys / sizeof keys[0]; i++)
		gnutls_x509_privkey_deinit(keys[i]);
	return 0;
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_names),
		cmocka_unit_test(test_strange_names),
		cmocka_unit_test(test_chain),
		cmocka_unit_test(test_threads),
		cmocka_unit_test(test_wishes),
		cmocka_unit_test(test_trust),
		cmocka_unit_test(test_crl),
		cmocka_unit_test(test_ocsp),
		cmocka_unit_test(test_dane),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
