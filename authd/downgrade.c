/*
 * downgrade.c: what a server-first-message of SCRAM says of the connection, so that a client sees
 * when somebody has changed it on the way: the mechanisms and channel bindings that were offered
 * (XEP-0474), and the version of TLS (XEP-0515). Called by sasl.c. What c2sd says that cannot be is
 * left out; nothing can fail.
 */
#include <gnutls/crypto.h>
#include <gnutls/gnutls.h>
#include <stdlib.h>

#include "authd.h"

#define WORDS_MAX 64u

static int
compare(const void *a, const void *b)
{
	return slice_compare(*(const struct slice *)a, *(const struct slice *)b);
}

/* Adds the words of a line in order, each behind the one before and a delimiter. Returns false when
 * there are too many. */
static bool
words_add(struct slice line, struct buf *out)
{
	struct slice words[WORDS_MAX];
	size_t count = 0, i;

	while (line.len > 0) {
		const char *space = memchr(line.ptr, ' ', line.len);
		size_t len = space != NULL ? (size_t)(space - line.ptr) : line.len;

		if (len > 0 && count == WORDS_MAX)
			return false;
		if (len > 0)
			words[count++] = slice_part(line, 0, len);
		line = slice_part(line, space != NULL ? len + 1 : len, line.len);
	}
	qsort(words, count, sizeof *words, compare);
	for (i = 0; i < count; i++) {
		if (i > 0)
			buf_add_char(out, '\x1e');
		buf_add_slice(out, words[i]);
	}
	return true;
}

/* ",h=": the hash of mechanisms and, on another line, channel bindings. */
static void
offered_add(enum scram_hash hash, struct slice offered, struct buf *out)
{
	const char *end = memchr(offered.ptr, '\n', offered.len);
	size_t len = end != NULL ? (size_t)(end - offered.ptr) : offered.len;
	uint8_t digest[SCRAM_KEY_MAX];
	gnutls_datum_t raw = { digest, (unsigned)scram_size(hash) }, coded;
	struct buf list = { 0 };
	bool fits = words_add(slice_part(offered, 0, len), &list);

	if (end != NULL) {
		buf_add_char(&list, '\x1f');
		fits = words_add(slice_part(offered, len + 1, offered.len), &list) && fits;
	}
	if (fits && gnutls_hash_fast((gnutls_digest_algorithm_t)scram_digest(hash),
	    buf_slice(&list).ptr, buf_len(&list), digest) == 0 &&
	    gnutls_base64_encode2(&raw, &coded) == 0) {
		buf_add_string(out, ",h=");
		buf_add(out, coded.data, coded.size);
		gnutls_free(coded.data);
	}
	buf_free(&list);
}

void
downgrade_attributes(enum scram_hash hash, struct slice offered, uint64_t tls, struct buf *out)
{
	if (offered.len > 0)
		offered_add(hash, offered, out);
	if (tls > 0 && tls <= UINT16_MAX)
		buf_printf(out, ",t=%04x", (unsigned)tls);
}
