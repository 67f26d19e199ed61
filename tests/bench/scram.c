/*
 * scram.c: owns the client side of SCRAM-SHA-1 (RFC 5802), without channel binding. login.c calls
 * it.
 *
 * Not GNU SASL, because that derives the keys anew for each login: thousands of hashes that would
 * make a run measure the clients. Every function fails on text from the server that is not as the
 * RFC wants it.
 *
 * The Aldis developers
 */
#include "load.h"

#include <gnutls/crypto.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int
scram_base64(const void *data, size_t len, char *out)
{
	gnutls_datum_t in = {(unsigned char *)(uintptr_t)data, (unsigned)len}, text;

	if (gnutls_base64_encode2(&in, &text) != 0)
		return -1;
	if (text.size >= SCRAM_TEXT) {
		gnutls_free(text.data);
		return -1;
	}
	memcpy(out, text.data, text.size);
	out[text.size] = '\0';
	gnutls_free(text.data);
	return 0;
}

/* Decodes into `out` and ends it with a NUL; returns the length, or -1. */
static int
scram_unbase64(const char *ptr, size_t len, char *out, size_t cap)
{
	gnutls_datum_t text = {(unsigned char *)(uintptr_t)ptr, (unsigned)len}, data;
	int size;

	if (len == 0 || gnutls_base64_decode2(&text, &data) != 0)
		return -1;
	size = data.size < cap ? (int)data.size : -1;
	if (size >= 0) {
		memcpy(out, data.data, data.size);
		out[data.size] = '\0';
	}
	gnutls_free(data.data);
	return size;
}

/* Decodes the text content of a SASL element. */
static int
scram_content(struct slice s, char *out, size_t cap)
{
	const char *from = memchr(s.ptr, '>', s.len), *to;

	if (from == NULL)
		return -1;
	from++;
	to = memchr(from, '<', s.len - (size_t)(from - s.ptr));
	return to == NULL ? -1 : scram_unbase64(from, (size_t)(to - from), out, cap);
}

static int
scram_hmac(const void *key, size_t key_len, const char *text, size_t len, unsigned char *out)
{
	return gnutls_hmac_fast(GNUTLS_MAC_SHA1, key, key_len, text, len, out);
}

int
scram_first(struct scram *s, const char *user, char *out)
{
	unsigned char random[18];
	char nonce[SCRAM_TEXT], text[160];
	int len;

	if (gnutls_rnd(GNUTLS_RND_NONCE, random, sizeof random) != 0
	    || scram_base64(random, sizeof random, nonce) != 0)
		return -1;
	memcpy(s->nonce, nonce, 24);
	s->nonce[24] = '\0';
	len = snprintf(s->first_bare, sizeof s->first_bare, "n=%s,r=%s", user, s->nonce);
	if (len < 0 || (size_t)len >= sizeof s->first_bare)
		return -1;
	len = snprintf(text, sizeof text, "n,,%s", s->first_bare);
	return scram_base64(text, (size_t)len, out);
}

/* Derives the three keys of an account, unless the last login had the same salt. */
static int
scram_derive(struct scram_keys *keys, const char *password, const char *salt, unsigned iterations)
{
	gnutls_datum_t secret = {(unsigned char *)(uintptr_t)password, (unsigned)strlen(password)};
	unsigned char salted[SCRAM_HASH];
	char raw[128];
	gnutls_datum_t binary = {(unsigned char *)raw, 0};
	int len;

	if (keys->iterations == iterations && strcmp(keys->salt, salt) == 0)
		return 0;
	len = scram_unbase64(salt, strlen(salt), raw, sizeof raw);
	if (len < 0 || iterations == 0 || iterations > 1000000)
		return -1;
	binary.size = (unsigned)len;
	if (gnutls_pbkdf2(GNUTLS_MAC_SHA1, &secret, &binary, iterations, salted, SCRAM_HASH) != 0
	    || scram_hmac(salted, SCRAM_HASH, "Client Key", 10, keys->client) != 0
	    || gnutls_hash_fast(GNUTLS_DIG_SHA1, keys->client, SCRAM_HASH, keys->stored) != 0
	    || scram_hmac(salted, SCRAM_HASH, "Server Key", 10, keys->server) != 0)
		return -1;
	keys->iterations = iterations;
	(void)snprintf(keys->salt, sizeof keys->salt, "%s", salt);
	return 0;
}

/* Reads "r=...,s=...,i=..." and cuts it up in place; `text` itself stays whole in the caller's
 * other copy. */
static int
scram_parse(char *text, const char *own, char **nonce, char **salt, unsigned *iterations)
{
	char *s = strstr(text, ",s="), *i = strstr(text, ",i="), *end;
	unsigned long count;

	if (strncmp(text, "r=", 2) != 0 || s == NULL || i == NULL || i < s)
		return -1;
	*nonce = text + 2;
	*salt = s + 3;
	*s = *i = '\0';
	count = strtoul(i + 3, &end, 10);
	if (end == i + 3 || count > 1000000 || strncmp(*nonce, own, strlen(own)) != 0
	    || strlen(*salt) > 120)
		return -1;
	*iterations = (unsigned)count;
	return 0;
}

int
scram_final(struct scram *s, struct scram_keys *keys, const char *password, struct slice challenge,
    char *out)
{
	char server[256] = "", parts[256], auth[768], final[256], proof_text[SCRAM_TEXT], *nonce,
	     *salt;
	unsigned char proof[SCRAM_HASH];
	unsigned iterations;
	int len;

	if (scram_content(challenge, server, sizeof server) < 0)
		return -1;
	memcpy(parts, server, sizeof parts);
	if (scram_parse(parts, s->nonce, &nonce, &salt, &iterations) != 0
	    || scram_derive(keys, password, salt, iterations) != 0)
		return -1;
	len = snprintf(auth, sizeof auth, "%s,%s,c=biws,r=%s", s->first_bare, server, nonce);
	if (len < 0 || (size_t)len >= sizeof auth
	    || scram_hmac(keys->stored, SCRAM_HASH, auth, (size_t)len, proof) != 0
	    || scram_hmac(keys->server, SCRAM_HASH, auth, (size_t)len, s->signature) != 0)
		return -1;
	for (size_t i = 0; i < SCRAM_HASH; i++)
		proof[i] ^= keys->client[i];
	if (scram_base64(proof, SCRAM_HASH, proof_text) != 0)
		return -1;
	len = snprintf(final, sizeof final, "c=biws,r=%s,p=%s", nonce, proof_text);
	if (len < 0 || (size_t)len >= sizeof final)
		return -1;
	return scram_base64(final, (size_t)len, out);
}

int
scram_verify(const struct scram *s, struct slice success)
{
	char text[128], wanted[SCRAM_TEXT];

	if (scram_content(success, text, sizeof text) < 0
	    || scram_base64(s->signature, SCRAM_HASH, wanted) != 0)
		return -1;
	return strncmp(text, "v=", 2) == 0 && strcmp(text + 2, wanted) == 0 ? 0 : -1;
}
