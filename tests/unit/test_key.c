/*
 * test_key.c: signatures with the keys of domains, and what is refused.
 * Links: authd
 */
#include "authd_test.h"

#include <gnutls/abstract.h>
#include <gnutls/crypto.h>
#include <gnutls/x509.h>

static gnutls_privkey_t ours[3];

/* Makes a key and adds it to the configuration. */
static void
key_make(struct buf *text, const char *domain, gnutls_pk_algorithm_t algorithm, unsigned bits,
    gnutls_privkey_t *key)
{
	gnutls_x509_privkey_t made;
	gnutls_datum_t pem, base64;

	gnutls_x509_privkey_init(&made);
	assert_int_equal(gnutls_x509_privkey_generate(made, algorithm, bits, 0), 0);
	assert_int_equal(gnutls_x509_privkey_export2_pkcs8(made, GNUTLS_X509_FMT_PEM, NULL,
	    GNUTLS_PKCS_PLAIN, &pem), 0);
	assert_int_equal(gnutls_base64_encode2(&pem, &base64), 0);
	buf_printf(text, "domain\t%s\tkey\t%.*s\n", domain, (int)base64.size, base64.data);
	gnutls_privkey_init(key);
	assert_int_equal(gnutls_privkey_import_x509(*key, made, GNUTLS_PRIVKEY_IMPORT_COPY), 0);
	gnutls_x509_privkey_deinit(made);
	gnutls_free(pem.data);
	gnutls_free(base64.data);
}

/* What names one of our keys. */
static struct slice
id_of(unsigned i)
{
	static unsigned char id[KEY_ID_SIZE];
	gnutls_pubkey_t public;

	gnutls_pubkey_init(&public);
	assert_int_equal(gnutls_pubkey_import_privkey(public, ours[i], 0, 0), 0);
	assert_int_equal(key_identify(public, id), 0);
	gnutls_pubkey_deinit(public);
	return slice_of(id, sizeof id);
}

static int
set_up(void **unused)
{
	struct buf text = { 0 };
	struct config *config;

	(void)unused;
	key_make(&text, "rsa.example", GNUTLS_PK_RSA, 2048, &ours[0]);
	key_make(&text, "ec.example", GNUTLS_PK_ECDSA,
	    GNUTLS_CURVE_TO_BITS(GNUTLS_ECC_CURVE_SECP256R1), &ours[1]);
	key_make(&text, "ed.example", GNUTLS_PK_EDDSA_ED25519,
	    GNUTLS_CURVE_TO_BITS(GNUTLS_ECC_CURVE_ED25519), &ours[2]);
	buf_add_string(&text, "domain\tnone.example\tkey\t\n");
	assert_int_equal(config_read(buf_slice(&text), &config), OK);
	assert_int_equal(key_configure(config), OK);
	config_free(&config);
	buf_free(&text);
	return 0;
}

static int
tear_down(void **unused)
{
	(void)unused;
	key_close();
	gnutls_privkey_deinit(ours[0]);
	gnutls_privkey_deinit(ours[1]);
	gnutls_privkey_deinit(ours[2]);
	return 0;
}

static void
test_sign(void **unused)
{
	static const struct {
		const char *domain;
		unsigned key;
		gnutls_sign_algorithm_t algorithm;
	} cases[] = {
		{ "rsa.example", 0, GNUTLS_SIGN_RSA_SHA256 },
		{ "rsa.example", 0, GNUTLS_SIGN_RSA_PSS_RSAE_SHA256 },
		{ "rsa.example", 0, GNUTLS_SIGN_RSA_PSS_RSAE_SHA512 },
		{ "ec.example", 1, GNUTLS_SIGN_ECDSA_SECP256R1_SHA256 },
		{ "ec.example", 1, GNUTLS_SIGN_ECDSA_SHA256 },
		{ "ed.example", 2, GNUTLS_SIGN_EDDSA_ED25519 },
	};
	gnutls_datum_t data = { (unsigned char *)(uintptr_t)"to be signed", 12 };
	uint8_t hash[32];
	size_t i;

	(void)unused;
	gnutls_hash_fast(GNUTLS_DIG_SHA256, data.data, data.size, hash);
	for (i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct buf result = { 0 };
		gnutls_pubkey_t public;
		gnutls_datum_t signature;

		assert_int_equal(key_use(slice_string(cases[i].domain), id_of(cases[i].key), SLICE("sign"),
		    cases[i].algorithm, slice_of(data.data, data.size), &result), OK);
		gnutls_pubkey_init(&public);
		assert_int_equal(gnutls_pubkey_import_privkey(public, ours[cases[i].key], 0, 0), 0);
		signature = (gnutls_datum_t){ (unsigned char *)result.bytes + result.start,
			(unsigned)buf_len(&result) };
		assert_true(gnutls_pubkey_verify_data2(public, cases[i].algorithm, 0, &data,
		    &signature) >= 0);
		buf_clear(&result);
		if (cases[i].algorithm == GNUTLS_SIGN_ECDSA_SHA256) {
			assert_int_equal(key_use(slice_string(cases[i].domain),
			    id_of(cases[i].key), SLICE("sign-hash"), cases[i].algorithm, slice_of(hash, 32), &result),
			    OK);
			signature = (gnutls_datum_t){ (unsigned char *)result.bytes + result.start,
				(unsigned)buf_len(&result) };
			assert_true(gnutls_pubkey_verify_data2(public, cases[i].algorithm, 0,
			    &data, &signature) >= 0);
		}
		gnutls_pubkey_deinit(public);
		buf_free(&result);
	}
}

static void
test_decrypt(void **unused)
{
	gnutls_datum_t secret = { (unsigned char *)(uintptr_t)"pre-master", 10 }, sealed;
	struct buf result = { 0 };
	gnutls_pubkey_t public;

	(void)unused;
	gnutls_pubkey_init(&public);
	assert_int_equal(gnutls_pubkey_import_privkey(public, ours[0], 0, 0), 0);
	assert_int_equal(gnutls_pubkey_encrypt_data(public, 0, &secret, &sealed), 0);
	assert_int_equal(key_use(SLICE("rsa.example"), id_of(0), SLICE("decrypt"), 0,
	    slice_of(sealed.data, sealed.size), &result), OK);
	assert_true(slice_is(buf_slice(&result), "pre-master"));
	gnutls_free(sealed.data);
	gnutls_pubkey_deinit(public);
	buf_free(&result);
}

static void
test_refused(void **unused)
{
	static const struct {
		const char *domain;
		unsigned key;
		const char *name;
		uint64_t algorithm;
	} cases[] = {
		{ "none.example", 0, "sign", GNUTLS_SIGN_RSA_SHA256 },
		{ "other.example", 0, "sign", GNUTLS_SIGN_RSA_SHA256 },
		{ "rsa.example", 1, "sign", GNUTLS_SIGN_RSA_SHA256 },
		{ "ec.example", 0, "sign", GNUTLS_SIGN_RSA_SHA256 },
		{ "rsa.example", 0, "export", GNUTLS_SIGN_RSA_SHA256 },
		{ "rsa.example", 0, "sign", GNUTLS_SIGN_ECDSA_SECP256R1_SHA256 },
		{ "rsa.example", 0, "sign", 0 },
		{ "rsa.example", 0, "sign", UINT64_MAX },
		{ "rsa.example", 0, "decrypt", 0 },
		{ "ec.example", 1, "decrypt", 0 },
	};
	struct buf result = { 0 };
	size_t i;

	(void)unused;
	for (i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		if (key_use(slice_string(cases[i].domain), id_of(cases[i].key),
		    slice_string(cases[i].name),
		    cases[i].algorithm, SLICE("data"), &result) == OK)
			fail_msg("%s %s", cases[i].domain, cases[i].name);
	}
	assert_int_equal(buf_len(&result), 0);
	assert_int_not_equal(key_use(SLICE("rsa.example"), id_of(0), SLICE("sign"), GNUTLS_SIGN_RSA_SHA256,
	    SLICE_NONE, &result), OK);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_sign), cmocka_unit_test(test_decrypt),
		cmocka_unit_test(test_refused),
	};

	log_set_level(LOG_LEVEL_ERROR);
	return cmocka_run_group_tests(tests, set_up, tear_down);
}
