/*
 * secret.c: secrets with which servers and components prove who they are: those of external components
 * (XEP-0114), and the one of dialback (XEP-0220). Called by key.c for s2sd, which faces the network and has
 * none of them.
 */
#include "authd.h"

#include <stdlib.h>

#include <gnutls/crypto.h>

#include "mem.h"

#define FAILURES_FREE 5u     /* in a row, before the next attempt has to wait */
#define DELAY_FIRST   250u   /* milliseconds, doubled with each further one */
#define DELAY_MAX     10000u

struct secret {
	char *domain, *text;
	unsigned failures; /* in a row */
	uint64_t until;    /* daemon_ticks() before which nothing is compared */
};

static struct secret *secrets;
static size_t count;

int
secret_configure(const struct config *config)
{
	struct slice title;

	secret_close();
	while (config_title(config, "component", count, &title)) {
		struct secret *secret;

		secrets = mem_grow(secrets, (count + 1) * sizeof *secrets);
		secret = &secrets[count++];
		*secret = (struct secret){ .domain = slice_dup(title) };
		secret->text = slice_dup(config_text(config, "component", secret->domain, "secret"));
	}
	return OK;
}

void
secret_close(void)
{
	while (count > 0) {
		count--;
		explicit_bzero(secrets[count].text, strlen(secrets[count].text));
		free(secrets[count].text);
		free(secrets[count].domain);
	}
	MEM_FREE(&secrets);
}

static struct secret *
secret_of(struct slice domain)
{
	size_t i;

	for (i = 0; i < count; i++) {
		if (slice_is(domain, secrets[i].domain))
			return secrets[i].text[0] != '\0' ? &secrets[i] : NULL;
	}
	return NULL;
}

/* XEP-0114 section 3: SHA-1 of the stream's id and the secret. */
static int
handshake(const struct secret *secret, struct slice id, struct buf *digest)
{
	struct buf text = { .secret = true };
	unsigned char hash[20];
	int code;

	buf_add_slice(&text, id);
	buf_add_string(&text, secret->text);
	code = gnutls_hash_fast(GNUTLS_DIG_SHA1, buf_slice(&text).ptr, buf_len(&text), hash);
	buf_free(&text);
	if (code == 0)
		buf_add_hex(digest, hash, sizeof hash);
	return code == 0 ? OK : E_SYSTEM;
}

/* Counts an attempt that was wrong: the more, the longer nothing is compared. */
static void
fail(struct secret *secret, uint64_t now)
{
	unsigned beyond;

	secret->failures += secret->failures < UINT16_MAX;
	if (secret->failures < FAILURES_FREE)
		return;
	beyond = secret->failures - FAILURES_FREE;
	secret->until = now + (beyond < 6 && DELAY_FIRST << beyond < DELAY_MAX ? DELAY_FIRST << beyond : DELAY_MAX);
}

/* Whether a component has said the digest that it must. Who asks gets a yes or a no: with the digest it could
 * have any stream's id proven. */
static int
compare(struct slice domain, struct slice id, struct slice said, uint64_t now, struct buf *result)
{
	struct secret *secret = secret_of(domain);
	struct buf digest = { .secret = true };
	int error;

	if (secret == NULL)
		return E_NOT_FOUND;
	if (now < secret->until)
		return E_TOO_MANY;
	error = handshake(secret, id, &digest);
	if (error == OK && (said.len != buf_len(&digest) ||
	    gnutls_memcmp(said.ptr, buf_slice(&digest).ptr, said.len) != 0))
		error = E_MISMATCH;
	buf_free(&digest);
	if (error == E_MISMATCH)
		fail(secret, now);
	if (error != OK)
		return error;
	secret->failures = 0;
	buf_add_char(result, 'y');
	return OK;
}

int
secret_dialback(struct slice secret, struct slice text, struct buf *result)
{
	struct buf key = { .secret = true };
	unsigned char hash[32];
	int code;

	code = gnutls_hash_fast(GNUTLS_DIG_SHA256, secret.ptr, secret.len, hash);
	buf_add_hex(&key, hash, sizeof hash);
	if (code == 0)
		code = gnutls_hmac_fast(GNUTLS_MAC_SHA256, buf_slice(&key).ptr, buf_len(&key), text.ptr,
		    text.len, hash);
	buf_free(&key);
	if (code == 0)
		buf_add_hex(result, hash, sizeof hash);
	return code == 0 ? OK : E_SYSTEM;
}

int
secret_use(const struct frame *f, uint64_t now, struct buf *result)
{
	struct slice name = f->name, data = f->data;

	if (slice_is(name, "component"))
		return compare(f->domain, data, f->text, now, result);
	if (slice_is(name, "dialback"))
		return secret_dialback(slice_of(state.dialback_key, sizeof state.dialback_key), data, result);
	return E_UNSUPPORTED;
}
