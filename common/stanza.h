/*
 * stanza.h: stanzas as frames, and frames as the XML of a stream. No input or output.
 */
#ifndef ALDIS_STANZA_H
#define ALDIS_STANZA_H

#include "frame.h"

/* The conditions of RFC 6120 section 8.3.3, with the type that goes with each. */
enum stanza_error {
	STANZA_ERROR_NONE,
#define STANZA_ERROR(name, text, type) STANZA_ERROR_##name,
#include "stanza_error.def"
#undef STANZA_ERROR
	STANZA_ERROR_COUNT
};

const char *stanza_error_text(enum stanza_error error); /* "item-not-found" */
/* The condition of an error that came; UNDEFINED_CONDITION: none that is known. */
enum stanza_error stanza_error_of(const struct frame *f);

const char *stanza_kind_text(enum stanza_kind kind);    /* "message" */
/* The type attribute to write, NULL when there is none (available, normal). */
const char *stanza_type_text(enum stanza_type type);

/*
 * Reads name and type of a stanza (type absent: SLICE_NONE).
 * Returns 0, or E_MALFORMED when the kind does not have that type (an unknown type of a message is
 * NORMAL, RFC 6121 section 5.2.2); *kind is STANZA_NONE when the name is none of the three.
 */
int stanza_classify(struct slice name, struct slice type, enum stanza_kind *kind,
    enum stanza_type *subtype);

/* Whether a stanza is fit to become part of a stream: its addresses are canonical, its attributes
 * characters of XML, and its payload canonical XML (xmlin.h). */
bool stanza_is_canonical(const struct frame *f);

/*
 * Turns a stanza into the error reply to it: from and to change places, the payload becomes the
 * error element. The original payload is not returned (RFC 6120 section 8.3.1 allows it), but for the mark of
 * a private message of a room, by which the room knows whose error it is. text: for people, may be absent. *reply points into *original and into scratch, which must outlive it;
 * custody fields (origin, seq) are cleared, and handle is that of the original. Returns false when
 * a stanza of this kind gets no error: errors, iq results, presence other than to a subscription or
 * directed one is the caller's matter.
 */
bool stanza_error_reply(const struct frame *original, enum stanza_error error, struct slice text,
    struct buf *scratch, struct frame *reply);

/* Turns an iq get or set into its result, with this canonical payload (empty: none). */
void stanza_result(const struct frame *request, struct slice payload, struct frame *reply);

/*
 * Appends the stanza as XML in a stream with content namespace jabber:client or jabber:server.
 * to: written when f->to is absent. account: the receiver's bare JID; with archive_id set a
 * <stanza-id/> (XEP-0359) by it is added; with FLAG_SPOOL a <delay/> (XEP-0203) from its domain. With
 * FLAG_ROOM both are the room's, the bare JID of `from`.
 * A message with FLAG_CARBON is wrapped (XEP-0280): from account, to `to`.
 */
void stanza_write(const struct frame *f, struct slice to, struct slice account, struct buf *out);

/* Appends a message as it stands in a <forwarded/> (XEP-0297): canonical within an element of
 * another namespace than jabber:client. */
void stanza_forward(const struct frame *f, struct buf *out);

/* An archive id as text: 16 hexadecimal digits. */
void stanza_archive_id(uint64_t id, char text[17]);
/* Reads one in exactly that form. Returns 0 or E_MALFORMED. */
int stanza_archive_id_read(struct slice text, uint64_t *id);

/* Milliseconds since 1970 as XEP-0082 DateTime in UTC, "2026-11-23T01:02:03.456Z". */
void stanza_stamp(uint64_t milliseconds, char text[32]);
/* Reads a XEP-0082 DateTime; what is before 1970 is 0. Returns 0 or E_MALFORMED. */
int stanza_stamp_read(struct slice text, uint64_t *milliseconds);

#endif
