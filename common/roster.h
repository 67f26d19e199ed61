/*
 * roster.h: subscription states as the router and authd tell them to each other (RFC 6121 section
 * 2.1.2, A.1).
 */
#ifndef ALDIS_ROSTER_H
#define ALDIS_ROSTER_H

#include "buf.h"

enum roster_bit {
	ROSTER_TO          = 1,  /* the user sees the contact's presence */
	ROSTER_FROM        = 2,  /* the contact sees the user's presence */
	ROSTER_PENDING_OUT = 4,  /* the user has asked (ask='subscribe') */
	ROSTER_PENDING_IN  = 8,  /* the contact has asked */
	ROSTER_APPROVED    = 16, /* pre-approved (RFC 6121 section 3.4) */
	ROSTER_LISTED      = 32, /* is in the roster that clients see: not pending in alone */
	ROSTER_BITS        = 63
};

/* A list of (bits, canonical bare JID), the payload of a ROSTER frame. */
static inline void
roster_pack(struct buf *out, unsigned bits, struct slice jid)
{
	uint16_t len = (uint16_t)jid.len;

	buf_add_char(out, (char)bits);
	buf_add(out, &len, 2);
	buf_add_slice(out, jid);
}

/* Takes the first entry off a list; false when it is empty or malformed (then list->len != 0). */
static inline bool
roster_unpack(struct slice *list, unsigned *bits, struct slice *jid)
{
	uint16_t len;

	if (list->len < 3)
		return false;
	*bits = (unsigned char)list->ptr[0];
	memcpy(&len, list->ptr + 1, 2);
	if (list->len - 3 < len || *bits > ROSTER_BITS)
		return false;
	*jid = slice_of(list->ptr + 3, len);
	*list = slice_of(list->ptr + 3 + len, list->len - 3 - len);
	return true;
}

#endif
