/*
 * scram.c: salted keys of passwords (RFC 5802 section 3, RFC 7677). Called by account.c and sasl.c.
 * Fails only when GnuTLS does.
 */
#include <gnutls/crypto.h>
#include <gnutls/gnutls.h>

#include "authd.h"

static const struct {
	const char *name;
	size_t size;
	gnutls_mac_algorithm_t mac;
	gnutls_digest_algorithm_t digest;
} hashes[SCRAM_HASHES] = {
	[SCRAM_SHA1] = { "SCRAM-SHA-1", 20, GNUTLS_MAC_SHA1, GNUTLS_DIG_SHA1 },
	[SCRAM_SHA256] = { "SCRAM-SHA-256", 32, GNUTLS_MAC_SHA256, GNUTLS_DIG_SHA256 },
	[SCRAM_SHA512] = { "SCRAM-SHA-512", 64, GNUTLS_MAC_SHA512, GNUTLS_DIG_SHA512 },
};

size_t
scram_size(enum scram_hash hash)
{
	return hashes[hash].size;
}

const char *
scram_name(enum scram_hash hash)
{
	return hashes[hash].name;
}

int
scram_mac(enum scram_hash hash)
{
	return (int)hashes[hash].mac;
}

int
scram_digest(enum scram_hash hash)
{
	return (int)hashes[hash].digest;
}

int
scram_derive(enum scram_hash hash, struct slice password, struct scram_keys *keys)
{
	const gnutls_datum_t key = { (unsigned char *)(uintptr_t)password.ptr,
		(unsigned)password.len };
	const gnutls_datum_t salt = { keys->salt, (unsigned)keys->salt_len };
	gnutls_mac_algorithm_t mac = hashes[hash].mac;
	size_t size = hashes[hash].size;
	uint8_t salted[SCRAM_KEY_MAX];
	int error;

	error = gnutls_pbkdf2(mac, &key, &salt, keys->iterations, salted, size) == 0 ?
	    scram_derive_salted(hash, salted, keys) : E_SYSTEM;
	gnutls_memset(salted, 0, sizeof salted);
	return error;
}

int
scram_derive_salted(enum scram_hash hash, const uint8_t *salted, struct scram_keys *keys)
{
	gnutls_mac_algorithm_t mac = hashes[hash].mac;
	size_t size = hashes[hash].size;
	uint8_t client[SCRAM_KEY_MAX];
	int code = gnutls_hmac_fast(mac, salted, size, "Client Key", 10, client);

	if (code == 0)
		code = gnutls_hash_fast(hashes[hash].digest, client, size, keys->stored);
	if (code == 0)
		code = gnutls_hmac_fast(mac, salted, size, "Server Key", 10, keys->server);
	gnutls_memset(client, 0, sizeof client);
	return code == 0 ? OK : E_SYSTEM;
}

int
scram_salt(uint32_t iterations, struct scram_keys *keys)
{
	*keys = (struct scram_keys){ .iterations = iterations, .salt_len = SCRAM_SALT };
	return gnutls_rnd(GNUTLS_RND_NONCE, keys->salt, SCRAM_SALT) == 0 ? OK : E_SYSTEM;
}

int
scram_make(enum scram_hash hash, struct slice password, uint32_t iterations,
    struct scram_keys *keys)
{
	int error = scram_salt(iterations, keys);

	return error ? error : scram_derive(hash, password, keys);
}

/* HMAC-SHA512 of a purpose, a hash and a JID. */
static void
false_part(const uint8_t secret[SECRET_SIZE], const char *purpose, enum scram_hash hash,
    struct slice jid, uint8_t out[64])
{
	gnutls_hmac_hd_t mac;

	memset(out, 0, 64);
	if (gnutls_hmac_init(&mac, GNUTLS_MAC_SHA512, secret, SECRET_SIZE) != 0)
		return;
	gnutls_hmac(mac, purpose, strlen(purpose) + 1);
	gnutls_hmac(mac, hashes[hash].name, strlen(hashes[hash].name) + 1);
	gnutls_hmac(mac, jid.ptr != NULL ? jid.ptr : "", jid.len);
	gnutls_hmac_deinit(mac, out);
}

void
scram_false(enum scram_hash hash, const uint8_t secret[SECRET_SIZE], struct slice jid,
    uint32_t iterations, struct scram_keys *keys)
{
	uint8_t salt[64];

	*keys = (struct scram_keys){ .iterations = iterations, .salt_len = SCRAM_SALT };
	false_part(secret, "salt", hash, jid, salt);
	memcpy(keys->salt, salt, SCRAM_SALT);
	false_part(secret, "stored", hash, jid, keys->stored);
	false_part(secret, "server", hash, jid, keys->server);
}

bool
scram_check(enum scram_hash hash, struct slice password, const struct scram_keys *keys)
{
	struct scram_keys tried = *keys;
	bool right;

	if (scram_derive(hash, password, &tried) != OK)
		return false;
	right = gnutls_memcmp(tried.stored, keys->stored, hashes[hash].size) == 0;
	gnutls_memset(&tried, 0, sizeof tried);
	return right;
}
