/*
 * scram_client.h: the client side of SCRAM for all hashes, over GnuTLS, for the tests of authd.
 */
#ifndef ALDIS_SCRAM_CLIENT_H
#define ALDIS_SCRAM_CLIENT_H

#include <gnutls/crypto.h>
#include <gnutls/gnutls.h>

struct scram_client {
	enum scram_hash hash;
	const char *header;          /* gs2-header, "n,," */
	struct slice binding;        /* data of the channel binding */
	struct buf first_bare;
	struct buf server_first;     /* to be filled in */
	uint8_t signature[SCRAM_KEY_MAX]; /* that the server must send */
};

static inline void
base64_add(struct buf *out, const void *bytes, size_t len)
{
	const gnutls_datum_t in = { (unsigned char *)(uintptr_t)bytes, (unsigned)len };
	gnutls_datum_t text;

	assert_int_equal(gnutls_base64_encode2(&in, &text), 0);
	buf_add(out, text.data, text.size);
	gnutls_free(text.data);
}

static inline gnutls_datum_t
base64_decode(struct slice text)
{
	const gnutls_datum_t in = { (unsigned char *)(uintptr_t)text.ptr, (unsigned)text.len };
	gnutls_datum_t out;

	assert_int_equal(gnutls_base64_decode2(&in, &out), 0);
	return out;
}

/* name: a saslname, escaped. */
static inline void
scram_client_first(struct scram_client *c, const char *name, struct buf *out)
{
	buf_printf(&c->first_bare, "n=%s,r=clientnonce", name);
	buf_add_string(out, c->header);
	buf_add_slice(out, buf_slice(&c->first_bare));
}

/* The value of an attribute of the server's first message. */
static inline struct slice
server_part(const struct scram_client *c, char name)
{
	struct slice rest = buf_slice(&c->server_first);
	size_t i, end;

	for (i = 0; i + 1 < rest.len; i = end + 1) {
		for (end = i; end < rest.len && rest.ptr[end] != ','; end++)
			;
		if (rest.ptr[i] == name && rest.ptr[i + 1] == '=')
			return slice_part(rest, i + 2, end - i - 2);
	}
	fail_msg("no %c=", name);
	return SLICE_NONE;
}

static inline void
scram_client_final(struct scram_client *c, struct slice password, struct buf *out)
{
	gnutls_mac_algorithm_t mac = (gnutls_mac_algorithm_t)scram_mac(c->hash);
	gnutls_datum_t salt = base64_decode(server_part(c, 's'));
	const gnutls_datum_t key = { (unsigned char *)(uintptr_t)password.ptr,
		(unsigned)password.len };
	uint8_t salted[64], client[64], stored[64], server[64], signature[64];
	size_t size = scram_size(c->hash), i;
	struct buf channel = { 0 }, auth = { 0 }, final = { 0 };
	struct slice nonce = server_part(c, 'r');
	uint64_t iterations;

	assert_int_equal(slice_number(server_part(c, 'i'), 1000000, &iterations), OK);
	buf_add_string(&channel, c->header);
	buf_add_slice(&channel, c->binding);
	buf_add_string(&final, "c=");
	base64_add(&final, buf_slice(&channel).ptr, buf_len(&channel));
	buf_printf(&final, ",r=%.*s", SLICE_ARG(nonce));
	buf_add_slice(&auth, buf_slice(&c->first_bare));
	buf_add_char(&auth, ',');
	buf_add_slice(&auth, buf_slice(&c->server_first));
	buf_add_char(&auth, ',');
	buf_add_slice(&auth, buf_slice(&final));
	assert_int_equal(gnutls_pbkdf2(mac, &key, &salt, (unsigned)iterations, salted, size), 0);
	gnutls_hmac_fast(mac, salted, size, "Client Key", 10, client);
	gnutls_hash_fast((gnutls_digest_algorithm_t)scram_digest(c->hash), client, size, stored);
	gnutls_hmac_fast(mac, salted, size, "Server Key", 10, server);
	gnutls_hmac_fast(mac, stored, size, buf_slice(&auth).ptr, buf_len(&auth), signature);
	gnutls_hmac_fast(mac, server, size, buf_slice(&auth).ptr, buf_len(&auth), c->signature);
	for (i = 0; i < size; i++)
		client[i] ^= signature[i];
	buf_add_slice(out, buf_slice(&final));
	buf_add_string(out, ",p=");
	base64_add(out, client, size);
	gnutls_free(salt.data);
	buf_free(&channel);
	buf_free(&auth);
	buf_free(&final);
}

static inline bool
scram_client_verify(const struct scram_client *c, struct slice message)
{
	struct buf right = { 0 };
	bool same;

	buf_add_string(&right, "v=");
	base64_add(&right, c->signature, scram_size(c->hash));
	same = slice_equal(buf_slice(&right), message);
	buf_free(&right);
	return same;
}

static inline void
scram_client_free(struct scram_client *c)
{
	buf_free(&c->first_bare);
	buf_free(&c->server_first);
}

#endif
