/*
 * once.c: the id by which two servers of this kind tell that a message comes a second time. Called by
 * traffic.c. No input or output.
 *
 * What a peer has not acknowledged is sent again to the next stream, though it may have stored it: that
 * cannot be known. So each stored message has an element with an id, which stays the same whoever was
 * restarted meanwhile; the other side's archived looks whether it has it (archived/once.c). A server that
 * does not know the element is not sent it: it has said so in its features.
 *
 *	<once xmlns='urn:x-aldis:once:0' id='32 hexadecimal digits'/>
 */
#include "s2sd.h"

#include <gnutls/crypto.h>

#include "error.h"
#include "xmlin.h"

void
once_add(const struct frame *f, struct buf *payload)
{
	unsigned char hash[32];
	struct buf text = { 0 };

	/* The archive's id does not leave the house: it tells how much there is in it. */
	buf_add_u64(&text, f->archive_id);
	buf_add_slice(&text, f->from);
	buf_add_char(&text, '\0');
	buf_add_slice(&text, f->to);
	buf_add_char(&text, '\0');
	buf_add_slice(&text, f->payload);
	gnutls_hash_fast(GNUTLS_DIG_SHA256, buf_slice(&text).ptr, buf_len(&text), hash);
	buf_free(&text);
	buf_add_slice(payload, f->payload);
	buf_add_string(payload, "<once xmlns='" NS_ONCE "' id='");
	buf_add_hex(payload, hash, ONCE_SIZE);
	buf_add_string(payload, "'/>");
}

static int
digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* Reads an id; false when it is none. */
static bool
id_read(struct slice id, char token[ONCE_SIZE])
{
	size_t i;

	if (id.len != 2 * ONCE_SIZE)
		return false;
	for (i = 0; i < ONCE_SIZE; i++) {
		int high = digit(id.ptr[2 * i]), low = digit(id.ptr[2 * i + 1]);

		if (high < 0 || low < 0)
			return false;
		token[i] = (char)(high << 4 | low);
	}
	return true;
}

bool
once_take(struct slice *payload, struct buf *scratch, char token[ONCE_SIZE])
{
	struct xmlin_element element;
	struct buf value = { 0 };
	struct slice id;
	bool found = false, good = false;

	while (xmlin_find(*payload, SLICE(NS_CLIENT), "once", NS_ONCE, &element)) {
		size_t at = (size_t)(element.whole.ptr - payload->ptr);
		struct buf rest = { 0 };

		if (!found)
			good = xmlin_attribute(&element, "id", &value, &id) == OK && id_read(id, token);
		found = true;
		buf_add_slice(&rest, slice_part(*payload, 0, at));
		buf_add_slice(&rest, slice_part(*payload, at + element.whole.len, payload->len));
		buf_free(scratch);
		*scratch = rest;
		*payload = buf_len(scratch) != 0 ? buf_slice(scratch) : SLICE("");
	}
	buf_free(&value);
	return good;
}
