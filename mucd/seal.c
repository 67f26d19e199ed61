/*
 * seal.c: ids of stanzas that a room sends in the name of an occupant. Called by relay.c and invite.c.
 *
 * What comes back, an answer or an error, has the id that we gave, and all that has to be known is in
 * it: whose client it was, and the id and the words that belong to it. So there is no table of what is
 * under way, which would need a bound and a time, and a mucd that was killed meanwhile knows as well
 * where an answer belongs. A MAC with the key of the room shows that the id is ours, and was sent to
 * whom it comes back from. Fails when it is not.
 *
 *   KIND "-" client in hexadecimal "-" 24 digits of the MAC "-" length of words "-" words id
 */
#include <gnutls/crypto.h>
#include <gnutls/gnutls.h>
#include <inttypes.h>

#include "log.h"
#include "mucd.h"
#include "seal.h"

#define MAC_BYTES  12
#define MAC_DIGITS (2 * MAC_BYTES)

static void
mac(const struct room *room, const struct seal *s, struct slice peer, char text[MAC_DIGITS + 1])
{
	unsigned char digest[32];
	struct buf input = { 0 };
	size_t i;

	buf_printf(&input, "%s %016" PRIx64 " %zu %zu ", s->kind, s->client, peer.len, s->words.len);
	buf_add_slice(&input, peer);
	buf_add_slice(&input, s->words);
	buf_add_slice(&input, s->id);
	if (gnutls_hmac_fast(GNUTLS_MAC_SHA256, room->occupant_key, sizeof room->occupant_key,
	    buf_slice(&input).ptr, buf_len(&input), digest) != 0)
		log_panic(__FILE__, __LINE__, "HMAC failed");
	for (i = 0; i < MAC_BYTES; i++) {
		text[2 * i] = "0123456789abcdef"[digest[i] >> 4];
		text[2 * i + 1] = "0123456789abcdef"[digest[i] & 15];
	}
	text[MAC_DIGITS] = '\0';
	buf_free(&input);
}

void
seal_write(const struct room *room, const struct seal *s, struct slice peer, struct buf *out)
{
	char text[MAC_DIGITS + 1];

	mac(room, s, peer, text);
	buf_printf(out, "%s-%016" PRIx64 "-%s-%zu-", s->kind, s->client, text, s->words.len);
	buf_add_slice(out, s->words);
	buf_add_slice(out, s->id);
}

/* Takes what is before the next "-". */
static bool
part_take(struct slice *text, struct slice *part)
{
	const char *end = text->len != 0 ? memchr(text->ptr, '-', text->len) : NULL;

	if (end == NULL)
		return false;
	*part = slice_part(*text, 0, (size_t)(end - text->ptr));
	*text = slice_part(*text, part->len + 1, text->len);
	return true;
}

int
seal_read(const struct room *room, const char *kind, struct slice text, struct slice peer,
    struct seal *s)
{
	struct slice word, client, digits, length;
	char expected[MAC_DIGITS + 1];
	uint64_t len;

	if (!part_take(&text, &word) || !slice_is(word, kind) || !part_take(&text, &client) ||
	    stanza_archive_id_read(client, &s->client) != OK || !part_take(&text, &digits) ||
	    !part_take(&text, &length) || slice_number(length, text.len, &len) != OK)
		return E_MALFORMED;
	s->kind = kind;
	s->words = slice_part(text, 0, (size_t)len);
	s->id = slice_part(text, (size_t)len, text.len);
	mac(room, s, peer, expected);
	if (digits.len != MAC_DIGITS || gnutls_memcmp(digits.ptr, expected, MAC_DIGITS) != 0)
		return E_MISMATCH;
	return OK;
}

struct client *
seal_client(const struct room *room, const struct seal *s)
{
	struct occupant *o;
	struct client *c;

	TAILQ_FOREACH(o, &room->occupants, all)
		TAILQ_FOREACH(c, &o->clients, siblings)
			if (c->number == s->client)
				return c;
	return NULL;
}
