/*
 * xml.h: the one way in which XML enters the suite (RFC 6120 section 11, DESIGN promise 5).
 *
 * Bytes of a stream go in, stream headers and stanzas come out through callbacks. Refused are DTDs,
 * entities other than the five predefined, comments, processing instructions, invalid UTF-8, and
 * whatever passes a limit. A parser exists only while a piece of a stanza is being read: between
 * stanzas an xml_stream holds no libxml2 context and no buffers. libxml2 SAX2 push parser inside,
 * xmlDictSetLimit against unique names.
 *
 * Used by the entry daemons (c2sd, s2sd) only. No input or output, no clock.
 */
#ifndef ALDIS_XML_H
#define ALDIS_XML_H

#include "buf.h"
#include "frame.h"
#include "slice.h"

struct xml_limits {
	size_t stanza_bytes;   /* of one stanza as it came, and of its canonical form; also of the header */
	unsigned depth;        /* of elements within a stanza, itself included; at most 64 */
	unsigned attributes;   /* of one element, namespace declarations included; at most 256 */
	unsigned elements;     /* of one stanza */
	bool secret;           /* passwords may come: nothing of what was read stays in memory */
};

#define XML_ATTRIBUTES 16 /* of a top-level element that are kept; more are refused by limits */

/* A top-level element of a stream: a stanza, or another element ("nonza"). All slices are valid
 * during the callback only. */
struct xml_element {
	struct slice name;    /* local name */
	struct slice ns;      /* namespace; the stream's content namespace for stanzas */
	struct slice from, to, id, type, lang; /* as the peer wrote them, unescaped; absent: SLICE_NONE */
	struct {
		struct slice name, value;          /* all other attributes in no namespace */
	} attribute[XML_ATTRIBUTES];
	unsigned attributes;
	struct slice payload; /* canonical XML of the children, empty but not absent when none */
	struct slice text;    /* character data directly within, for nonzas such as <auth/>, unescaped */
	/* the first child element */
	struct slice child_name, child_ns, child_node; /* child_node: its node attribute */
	unsigned children;    /* number of child elements */
	int priority;         /* of a presence: its <priority/>, 0 when absent, clamped to -128..127 */
	uint32_t flags;       /* FLAG_CONTENT, FLAG_BODY, FLAG_NO_STORE, FLAG_ERROR, FLAG_SECRET,
	                       * FLAG_PRIVATE, FLAG_IM, FLAG_MUC, FLAG_NO_PERMANENT, FLAG_KEEP of frame.h */
};

/* The stream header: an opening tag. */
struct xml_header {
	struct slice name, ns;      /* "stream" in http://etherx.jabber.org/streams, or what came */
	struct slice content_ns;    /* default namespace; absent when none is declared */
	struct slice from, to, id, version, lang;
};

struct xml_stream;

/* A callback may free nothing of the stream; to stop reading it calls xml_stream_stop(), after
 * which the rest of the bytes given to xml_stream_feed() is not read. */
struct xml_events {
	void (*header)(void *arg, const struct xml_header *header);
	void (*element)(void *arg, const struct xml_element *element);
	void (*end)(void *arg); /* </stream:stream> */
};

/* What a document has besides, such as a file that was exported: elements that hold top-level elements
 * themselves. Nothing of it is stripped. */
struct xml_document {
	/* Whether one at the place of a top-level element does; depth: 1 within the root. Asked while it is
	 * read. */
	bool (*holds)(void *arg, struct slice name, struct slice ns, unsigned depth);
	void (*open)(void *arg, const struct xml_element *element); /* its start tag */
	void (*close)(void *arg);
};

#define XML_INNER_MAX 4 /* such elements within each other */

/*
 * strip: namespaces of child elements to leave out of stanzas, wherever they stand directly below
 * the stanza (server-owned elements, DESIGN section 4), as a list that ends with an absent slice;
 * may be NULL. A <delay xmlns='urn:xmpp:delay'/> directly below a stanza is stripped when its from
 * attribute is absent, in the domain of the stream (xml_stream_set_domain()), or in another domain of ours
 * (xml_set_ours()) that is not that of the stanza's own from. A <stanza-id/> (XEP-0359),
 * where strip leaves it, is stripped unless its by attribute is in the domain of the stanza's own from.
 * limits and strip are borrowed.
 */
struct xml_stream *xml_stream_new(const struct xml_limits *limits, const struct slice *strip,
    const struct xml_events *events, void *arg);
void xml_stream_free(struct xml_stream **stream);

/* Other limits, for what is read from now on. Between stanzas only. */
void xml_stream_set_limits(struct xml_stream *stream, const struct xml_limits *limits);

/* What is read is a document; before its first byte. Borrowed. */
void xml_stream_set_document(struct xml_stream *stream, const struct xml_document *document);

/* For all streams of this process: which domains (canonical) are ours. NULL: none. */
void xml_set_ours(bool (*is_ours)(struct slice domain));

/* Domain in whose name nobody else may set a <delay/>; copied. */
void xml_stream_set_domain(struct xml_stream *stream, struct slice domain);

/* Expect a new stream header next (after STARTTLS and SASL, RFC 6120 sections 5.4.3.3, 6.4.6). */
void xml_stream_restart(struct xml_stream *stream);

/* From within a callback: read nothing more of the bytes at hand, nor later ones until
 * xml_stream_restart(), which may be called in the same callback. */
void xml_stream_stop(struct xml_stream *stream);

/*
 * Reads bytes. Returns 0, or an error after which nothing more can be read; *condition is then the
 * stream error condition of RFC 6120 section 4.9.3 that names it ("not-well-formed",
 * "restricted-xml", "policy-violation" for limits, "bad-namespace-prefix", "invalid-namespace",
 * "unsupported-encoding", ...).
 */
int xml_stream_feed(struct xml_stream *stream, struct slice bytes, const char **condition);

/* Whether a stanza has been begun and not ended: for time budgets. */
bool xml_stream_busy(const struct xml_stream *stream);

/* Whether there may have been a password in the bytes that were fed last. Then nothing of them is
 * left here when its stanza has ended. */
bool xml_stream_secret(const struct xml_stream *stream);

/* Bytes of memory the stream holds now beyond its own struct, for tests of promise 6. Its domain
 * and the namespace declarations of its header (at most 2 KiB, about 90 bytes of most clients) are
 * not counted: they stay. */
size_t xml_stream_memory(const struct xml_stream *stream);

#endif
