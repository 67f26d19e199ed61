/*
 * test_scram.c: keys and messages of SCRAM: the examples of RFC 5802 and RFC 7677, both servers
 * against a client made here, and messages that are wrong.
 * Links: authd
 */
#include "authd_test.h"

#include <gnutls/crypto.h>
#include <gnutls/gnutls.h>

#include "scram_client.h"

struct example {
	enum scram_hash hash;
	const char *first, *nonce, *salt, *challenge, *final, *result;
};

static const struct example examples[] = {
	{ SCRAM_SHA1, "n,,n=user,r=fyko+d2lbbFgONRv9qkxdawL", "3rfcNHYJY1ZVvWVs7j",
	    "QSXCR+Q6sek8bf92",
	    "r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j,s=QSXCR+Q6sek8bf92,i=4096",
	    "c=biws,r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j,p=v0X8v3Bz2T0CJGbJQyF0X+HI4Ts=",
	    "v=rmF9pqV8S7suAoZWja4dJRkFsKQ=" },
	{ SCRAM_SHA256, "n,,n=user,r=rOprNGfwEbeRWgbNEkqO", "%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0",
	    "W22ZaJ0SNY7soEsUEjb6gQ==",
	    "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096",
	    "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,"
	    "p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=",
	    "v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=" },
};

static void
keys_of(enum scram_hash hash, const char *salt, struct scram_keys *keys)
{
	const gnutls_datum_t in = { (unsigned char *)(uintptr_t)salt, (unsigned)strlen(salt) };
	gnutls_datum_t out;

	assert_int_equal(gnutls_base64_decode2(&in, &out), 0);
	*keys = (struct scram_keys){ .iterations = 4096, .salt_len = out.size };
	memcpy(keys->salt, out.data, out.size);
	gnutls_free(out.data);
	assert_int_equal(scram_derive(hash, SLICE("pencil"), keys), OK);
}

static void
test_examples(void **unused)
{
	size_t i;

	(void)unused;
	for (i = 0; i < sizeof examples / sizeof examples[0]; i++) {
		const struct example *e = &examples[i];
		struct buf scratch = { 0 }, out = { 0 };
		struct scram_first first;
		struct scram_keys keys;
		struct scram_mech *mech;

		keys_of(e->hash, e->salt, &keys);
		assert_int_equal(scram_first_read(slice_string(e->first), &scratch, &first), OK);
		assert_true(slice_is(first.username, "user"));
		mech = scram_mech_new(e->hash, &keys, &first, SLICE_NONE);
		scram_mech_challenge(mech, slice_string(e->nonce), SLICE(""), &out);
		assert_true(slice_is(buf_slice(&out), e->challenge));
		buf_clear(&out);
		assert_int_equal(scram_mech_final(mech, slice_string(e->final), &out), OK);
		assert_true(slice_is(buf_slice(&out), e->result));
		buf_free(&out);
		buf_free(&scratch);
		scram_mech_free(&mech);
		assert_null(mech);
	}
}

/* Runs our server against the client; returns what the server says of the final message. */
static int
converse(enum scram_hash hash, const char *password, const char *header, struct slice binding,
    struct slice server_binding)
{
	struct buf scratch = { 0 }, out = { 0 };
	struct scram_client client = { .hash = hash, .header = header, .binding = binding };
	struct scram_first first;
	struct scram_keys keys;
	struct scram_mech *mech;
	int error;

	assert_int_equal(scram_make(hash, SLICE("pencil"), 4096, &keys), OK);
	scram_client_first(&client, "a=2Cb=3D", &out);
	assert_int_equal(scram_first_read(buf_slice(&out), &scratch, &first), OK);
	assert_true(slice_is(first.username, "a,b="));
	mech = scram_mech_new(hash, &keys, &first, server_binding);
	buf_clear(&client.server_first);
	scram_mech_challenge(mech, SLICE("servernonce"), SLICE(""),
	    &client.server_first);
	buf_clear(&out);
	scram_client_final(&client, slice_string(password), &out);
	buf_clear(&scratch);
	error = scram_mech_final(mech, buf_slice(&out), &scratch);
	if (error == OK)
		assert_true(scram_client_verify(&client, buf_slice(&scratch)));
	scram_client_free(&client);
	scram_mech_free(&mech);
	buf_free(&scratch);
	buf_free(&out);
	return error;
}

static void
test_client(void **unused)
{
	unsigned h;

	(void)unused;
	for (h = 0; h < SCRAM_HASHES; h++) {
		enum scram_hash hash = (enum scram_hash)h;

		assert_int_equal(converse(hash, "pencil", "n,,", SLICE_NONE, SLICE_NONE), OK);
		assert_int_equal(converse(hash, "Pencil", "n,,", SLICE_NONE, SLICE_NONE),
		    E_MISMATCH);
		assert_int_equal(converse(hash, "pencil", "p=tls-server-end-point,,",
		    SLICE("certificate"), SLICE("certificate")), OK);
		assert_int_equal(converse(hash, "pencil", "p=tls-server-end-point,,",
		    SLICE("certificate"), SLICE("another")), E_MISMATCH);
		/* A binding that was cut out of the header is seen in c=. */
		assert_int_equal(converse(hash, "pencil", "p=tls-exporter,,", SLICE_NONE,
		    SLICE("bytes")), E_MISMATCH);
	}
}

static void
test_first_malformed(void **unused)
{
	static const char *const wrong[] = {
		"", "n", "n,", "n,,", "x,,n=a,r=b", "nn,,n=a,r=b", "p,,n=a,r=b", "p=,,n=a,r=b",
		"n,a=,n=a,r=b", "n,b=c,n=a,r=b", "n,,n=,r=b", "n,,n=a", "n,,n=a,r=", "n,,r=b,n=a",
		"n,,m=x,n=a,r=b", "n,,n=a=,r=b", "n,,n=a=2c,r=b", "n,,n=a=4D,r=b", "n,,n=a=2,r=b",
		"n,,n=a,r=b c", "n,,n=a,r=\x7f", "n,a=x", "n,a=x,", "n,,n=a,x=b",
	};
	struct buf scratch = { 0 };
	struct scram_first first;
	size_t i;

	(void)unused;
	for (i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
		buf_clear(&scratch);
		if (scram_first_read(slice_string(wrong[i]), &scratch, &first) != E_MALFORMED)
			fail_msg("taken: %s", wrong[i]);
	}
	assert_int_equal(scram_first_read(slice_of("n,,n=a\0,r=b", 11), &scratch, &first),
	    E_MALFORMED);
	buf_clear(&scratch);
	assert_int_equal(scram_first_read(SLICE("n,a=u=40x,n=a,r=b"), &scratch, &first),
	    E_MALFORMED);
	buf_clear(&scratch);
	assert_int_equal(scram_first_read(SLICE("y,a=a=3Db,n=a,r=b,e=x"), &scratch, &first), OK);
	assert_true(slice_is(first.authzid, "a=b"));
	assert_true(slice_is(first.header, "y,a=a=3Db,"));
	assert_true(slice_is(first.bare, "n=a,r=b,e=x"));
	buf_free(&scratch);
}

static void
test_final_malformed(void **unused)
{
	static const struct {
		const char *message;
		int error;
	} wrong[] = {
		{ "", E_MALFORMED },
		{ "c=biws", E_MALFORMED },
		{ "c=biws,r=ab", E_MALFORMED },
		{ "c=biws,r=ab,p=", E_MALFORMED },
		{ "c=biws,r=ab,p=!!", E_MALFORMED },
		{ "c=biws,r=ab,p=YWJj", E_MALFORMED },
		{ "r=ab,c=biws,p=v0X8v3Bz2T0CJGbJQyF0X+HI4Ts=", E_MALFORMED },
		{ "c=biws,r=ab,p=v0X8v3Bz2T0CJGbJQyF0X+HI4Ts=,x=y", E_MALFORMED },
		{ "c=biws,r=ab,p=v0X8v3Bz2T0CJGbJQyF0X+HI4Ts=", E_MISMATCH },
		{ "c=biws,r=ac,p=v0X8v3Bz2T0CJGbJQyF0X+HI4Ts=", E_MISMATCH },
		{ "c=eSws,r=ab,p=v0X8v3Bz2T0CJGbJQyF0X+HI4Ts=", E_MISMATCH },
	};
	struct buf scratch = { 0 }, out = { 0 };
	struct scram_first first;
	struct scram_keys keys;
	size_t i;

	(void)unused;
	keys_of(SCRAM_SHA1, "QSXCR+Q6sek8bf92", &keys);
	for (i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
		struct scram_mech *mech;

		buf_clear(&scratch);
		assert_int_equal(scram_first_read(SLICE("n,,n=u,r=a"), &scratch, &first), OK);
		mech = scram_mech_new(SCRAM_SHA1, &keys, &first, SLICE_NONE);
		scram_mech_challenge(mech, SLICE("b"), SLICE(""), &out);
		assert_int_equal(scram_mech_final(mech, slice_string(wrong[i].message), &out),
		    wrong[i].error);
		scram_mech_free(&mech);
	}
	buf_free(&scratch);
	buf_free(&out);
}

static void
test_keys(void **unused)
{
	static const uint8_t secret[SECRET_SIZE] = { 1, 2, 3 }, other[SECRET_SIZE] = { 2 };
	struct scram_keys a, b;
	unsigned h;

	(void)unused;
	for (h = 0; h < SCRAM_HASHES; h++) {
		enum scram_hash hash = (enum scram_hash)h;

		assert_int_equal(scram_make(hash, SLICE("pencil"), 4096, &a), OK);
		assert_int_equal(scram_make(hash, SLICE("pencil"), 4096, &b), OK);
		assert_memory_not_equal(a.salt, b.salt, SCRAM_SALT);
		assert_true(scram_check(hash, SLICE("pencil"), &a));
		assert_false(scram_check(hash, SLICE("pencils"), &a));

		scram_false(hash, secret, SLICE("no@example.org"), 4096, &a);
		scram_false(hash, secret, SLICE("no@example.org"), 4096, &b);
		assert_memory_equal(&a, &b, sizeof a);
		assert_int_equal(a.salt_len, SCRAM_SALT);
		scram_false(hash, secret, SLICE("on@example.org"), 4096, &b);
		assert_memory_not_equal(a.salt, b.salt, SCRAM_SALT);
		scram_false(hash, other, SLICE("no@example.org"), 4096, &b);
		assert_memory_not_equal(a.salt, b.salt, SCRAM_SALT);
		assert_false(scram_check(hash, SLICE("pencil"), &a));
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_examples),
		cmocka_unit_test(test_client),
		cmocka_unit_test(test_first_malformed),
		cmocka_unit_test(test_final_malformed),
		cmocka_unit_test(test_keys),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
