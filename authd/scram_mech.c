/*
 * scram_mech.c: the server side of SCRAM (RFC 5802, RFC 7677) over GnuTLS. Called by sasl.c. Fails on
 * messages that are malformed or prove nothing.
 *
 * GNU SASL is not used: it has no SCRAM-SHA-512 and no tls-server-end-point, and lets nobody add
 * attributes to the server-first-message (downgrade.c), of which the proof is made.
 */
#include <gnutls/crypto.h>
#include <gnutls/gnutls.h>
#include <stdlib.h>

#include "authd.h"
#include "mem.h"

struct scram_mech {
	enum scram_hash hash;
	struct scram_keys keys;
	char *first_bare;     /* client-first-message-bare */
	char *nonce_client;
	char *channel;        /* base64 of what c= must say */
	struct buf server_first;
	struct buf nonce;     /* both parts */
};

/* -- reading -- */

/* Takes what stands before the next comma, and the comma. */
static struct slice
part_take(struct slice *rest)
{
	const char *comma = memchr(rest->ptr, ',', rest->len);
	size_t len = comma != NULL ? (size_t)(comma - rest->ptr) : rest->len;
	struct slice part = slice_of(rest->ptr, len);

	*rest = slice_part(*rest, comma != NULL ? len + 1 : len, rest->len);
	return part;
}

/* Takes "X=value" off; absent when the next part is something else. */
static struct slice
attribute_take(struct slice *rest, char name)
{
	if (rest->len < 2 || rest->ptr[0] != name || rest->ptr[1] != '=')
		return SLICE_NONE;
	return slice_part(part_take(rest), 2, SIZE_MAX);
}

/* Undoes the escapes of a saslname (RFC 5802 section 5.1); scratch has room. */
static int
name_decode(struct slice name, struct buf *scratch, struct slice *decoded)
{
	size_t start = buf_len(scratch), i;

	if (name.len == 0)
		return E_MALFORMED;
	for (i = 0; i < name.len; i++) {
		char c = name.ptr[i];

		if (c == '=') {
			struct slice escape = slice_part(name, i + 1, 2);

			if (slice_is(escape, "2C"))
				c = ',';
			else if (!slice_is(escape, "3D"))
				return E_MALFORMED;
			i += 2;
		}
		buf_add_char(scratch, c);
	}
	*decoded = slice_part(buf_slice(scratch), start, buf_len(scratch));
	return OK;
}

/* Whether a nonce is made of printable ASCII; it holds no comma already. */
static bool
nonce_valid(struct slice nonce)
{
	size_t i;

	for (i = 0; i < nonce.len; i++) {
		if (nonce.ptr[i] < 0x21 || nonce.ptr[i] > 0x7e)
			return false;
	}
	return nonce.len != 0;
}

/* Reads gs2-header: flag "," [ "a=" authzid ] ",". */
static int
header_read(struct slice message, struct buf *scratch, struct scram_first *first,
    struct slice *rest)
{
	struct slice part;

	*rest = message;
	part = part_take(rest);
	if (part.len == 0 || rest->len == 0)
		return E_MALFORMED;
	first->flag = part.ptr[0];
	if (first->flag == 'p') {
		if (part.len < 3 || part.ptr[1] != '=')
			return E_MALFORMED;
		first->binding = slice_part(part, 2, part.len);
	} else if (part.len != 1 || (first->flag != 'n' && first->flag != 'y')) {
		return E_MALFORMED;
	}
	if (rest->ptr[0] == ',') {
		part_take(rest);
	} else {
		part = attribute_take(rest, 'a');
		if (part.ptr == NULL || name_decode(part, scratch, &first->authzid) != OK)
			return E_MALFORMED;
	}
	first->header = slice_of(message.ptr, (size_t)(rest->ptr - message.ptr));
	return first->header.ptr[first->header.len - 1] == ',' ? OK : E_MALFORMED;
}

int
scram_first_read(struct slice message, struct buf *scratch, struct scram_first *first)
{
	struct slice rest, name;
	int error;

	*first = (struct scram_first){ 0 };
	if (message.len == 0 || memchr(message.ptr, '\0', message.len) != NULL)
		return E_MALFORMED;
	buf_reserve(scratch, message.len); /* decoding only shortens: it never moves */
	error = header_read(message, scratch, first, &rest);
	if (error)
		return error;
	first->bare = rest;
	/* "m=" is a mandatory extension; there is none that we know. */
	name = attribute_take(&rest, 'n');
	if (name.ptr == NULL || name_decode(name, scratch, &first->username) != OK)
		return E_MALFORMED;
	first->nonce = attribute_take(&rest, 'r');
	return first->nonce.ptr != NULL && nonce_valid(first->nonce) ? OK : E_MALFORMED;
}

/* -- the exchange -- */

/* Base64 without line breaks, NUL-terminated. */
static char *
base64(struct slice bytes)
{
	const gnutls_datum_t in = { (unsigned char *)(uintptr_t)bytes.ptr, (unsigned)bytes.len };
	gnutls_datum_t out;
	char *text;

	if (bytes.len == 0 || gnutls_base64_encode2(&in, &out) != 0)
		return mem_string("");
	text = slice_dup(slice_of(out.data, out.size));
	gnutls_free(out.data);
	return text;
}

struct scram_mech *
scram_mech_new(enum scram_hash hash, const struct scram_keys *keys,
    const struct scram_first *first, struct slice binding)
{
	struct scram_mech *mech = mem_alloc(sizeof *mech);
	struct buf channel = { 0 };

	mech->hash = hash;
	mech->keys = *keys;
	mech->first_bare = slice_dup(first->bare);
	mech->nonce_client = slice_dup(first->nonce);
	buf_add_slice(&channel, first->header);
	if (first->flag == 'p')
		buf_add_slice(&channel, binding);
	mech->channel = base64(buf_slice(&channel));
	buf_free(&channel);
	return mech;
}

void
scram_mech_free(struct scram_mech **mech)
{
	struct scram_mech *m = *mech;

	if (m == NULL)
		return;
	free(m->first_bare);
	free(m->nonce_client);
	free(m->channel);
	buf_free(&m->server_first);
	buf_free(&m->nonce);
	gnutls_memset(m, 0, sizeof *m);
	MEM_FREE(mech);
}

void
scram_mech_challenge(struct scram_mech *mech, struct slice nonce, struct slice attributes,
    struct buf *out)
{
	char *salt = base64(slice_of(mech->keys.salt, mech->keys.salt_len));

	buf_add_string(&mech->nonce, mech->nonce_client);
	buf_add_slice(&mech->nonce, nonce);
	buf_add_string(&mech->server_first, "r=");
	buf_add_slice(&mech->server_first, buf_slice(&mech->nonce));
	buf_printf(&mech->server_first, ",s=%s,i=%u", salt, mech->keys.iterations);
	buf_add_slice(&mech->server_first, attributes);
	buf_add_slice(out, buf_slice(&mech->server_first));
	free(salt);
}

/* Splits the client-final-message: checks c= and r=, decodes p=. */
static int
final_read(const struct scram_mech *mech, struct slice message, struct slice *without_proof,
    uint8_t proof[SCRAM_KEY_MAX])
{
	size_t size = scram_size(mech->hash);
	struct slice rest = message, channel, nonce, text = SLICE_NONE;
	gnutls_datum_t in, out;
	bool fits;

	channel = attribute_take(&rest, 'c');
	nonce = attribute_take(&rest, 'r');
	if (channel.ptr == NULL || nonce.ptr == NULL)
		return E_MALFORMED;
	while (rest.len != 0) {
		const char *at = rest.ptr;

		text = attribute_take(&rest, 'p');
		if (text.ptr != NULL) {
			*without_proof = slice_of(message.ptr, (size_t)(at - message.ptr) - 1);
			break;
		}
		part_take(&rest); /* an optional extension */
	}
	if (text.ptr == NULL || text.len == 0 || rest.len != 0)
		return E_MALFORMED;
	in = (gnutls_datum_t){ (unsigned char *)(uintptr_t)text.ptr, (unsigned)text.len };
	if (gnutls_base64_decode2(&in, &out) != 0)
		return E_MALFORMED;
	fits = out.size == size;
	if (fits)
		memcpy(proof, out.data, size);
	gnutls_free(out.data);
	if (!fits)
		return E_MALFORMED;
	return slice_is(channel, mech->channel) && slice_equal(nonce, buf_slice(&mech->nonce)) ?
	    OK : E_MISMATCH;
}

int
scram_mech_final(struct scram_mech *mech, struct slice message, struct buf *out)
{
	gnutls_mac_algorithm_t mac = (gnutls_mac_algorithm_t)scram_mac(mech->hash);
	size_t size = scram_size(mech->hash), i;
	uint8_t client[SCRAM_KEY_MAX], proof[SCRAM_KEY_MAX], stored[SCRAM_KEY_MAX];
	struct slice without_proof = SLICE_NONE;
	struct buf auth = { 0 };
	char *signature;
	int error = final_read(mech, message, &without_proof, proof);

	if (error)
		return error;
	buf_printf(&auth, "%s,", mech->first_bare);
	buf_add_slice(&auth, buf_slice(&mech->server_first));
	buf_add_char(&auth, ',');
	buf_add_slice(&auth, without_proof);
	/* client: the client's signature, then with its proof its key */
	error = gnutls_hmac_fast(mac, mech->keys.stored, size, buf_slice(&auth).ptr,
	    buf_len(&auth), client);
	for (i = 0; i < size; i++)
		client[i] ^= proof[i];
	if (error == 0)
		error = gnutls_hash_fast((gnutls_digest_algorithm_t)scram_digest(mech->hash),
		    client, size, stored);
	if (error != 0 || gnutls_memcmp(stored, mech->keys.stored, size) != 0) {
		error = E_MISMATCH;
		goto done;
	}
	error = gnutls_hmac_fast(mac, mech->keys.server, size, buf_slice(&auth).ptr,
	    buf_len(&auth), client) == 0 ? OK : E_SYSTEM;
	signature = base64(slice_of(client, size));
	buf_printf(out, "v=%s", signature);
	free(signature);
done:
	gnutls_memset(client, 0, sizeof client);
	buf_free(&auth);
	return error;
}
