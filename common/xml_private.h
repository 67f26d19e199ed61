/*
 * xml_private.h: what the files of the XML entry share: xml_scan.c (where things begin and end,
 * limits, restricted XML), xml_sax.c (libxml2, canonical writing, xml_memory.c) and xml.c (the stream). Private
 * to them.
 */
#ifndef ALDIS_XML_PRIVATE_H
#define ALDIS_XML_PRIVATE_H

#include "xml.h"
#include "xmlchar.h"

#define XML_PIECE       4096 /* bytes that are read between two checks of the limits */
#define XML_DECLARATION 128  /* bytes of an XML declaration */
#define XML_ATTRIBUTES_MAX 256 /* of any element, whatever the limits say: what xmlin.c reads */

/* Stream error conditions of RFC 6120 section 4.9.3. */
#define CONDITION_FORMAT     "bad-format"
#define CONDITION_PREFIX     "bad-namespace-prefix"
#define CONDITION_MALFORMED  "not-well-formed"
#define CONDITION_POLICY     "policy-violation"
#define CONDITION_RESTRICTED "restricted-xml"
#define CONDITION_ENCODING   "unsupported-encoding"

/* -- xml_scan.c -------------------------------------------------------------------------------- */

/*
 * Where the scanner stands. A stream is HEAD until its header has been read; between stanzas it is
 * TEXT at depth 1.
 *
 *   HEAD -> LT -> DECLARATION -> HEAD       TEXT -> LT -> OPEN <-> QUOTE, OPEN <-> SLASH -> TEXT
 *   HEAD -> LT -> OPEN ... -> TEXT          TEXT -> LT -> CLOSE -> TEXT
 *                                           TEXT -> LT -> BANG -> CDATA -> TEXT
 */
enum scan_state {
	SCAN_HEAD, SCAN_DECLARATION, SCAN_TEXT, SCAN_LT, SCAN_OPEN, SCAN_QUOTE, SCAN_SLASH, SCAN_CLOSE,
	SCAN_BANG, SCAN_CDATA,
};

enum scan_event {
	SCAN_MORE,     /* all bytes were taken */
	SCAN_DECLARED, /* the XML declaration has ended */
	SCAN_HEADER,   /* the stream header has ended; at depth 0: its element too */
	SCAN_OPENED,   /* the start tag of a top-level element; in documents only */
	SCAN_CLOSED,   /* the end tag of an element that holds top-level elements */
	SCAN_ELEMENT,  /* a top-level element has ended */
	SCAN_END,      /* the stream's end tag */
	SCAN_ERROR,    /* *condition says which */
};

struct xml_scan {
	uint8_t state;       /* enum scan_state */
	char quote;
	uint8_t matched;     /* bytes of the mark that is looked for: "[CDATA[", "]]>", "?>" */
	bool declared;       /* the XML declaration has been */
	bool value;          /* an attribute's '=' was read, its quote comes next */
	bool document;       /* elements may hold top-level elements: SCAN_OPENED is wanted */
	unsigned inner;      /* open elements that do, besides that of the stream */
	unsigned depth;      /* open elements, that of the stream included */
	unsigned elements, attributes;
	size_t bytes;        /* of the top-level thing that has been begun */
	struct xmlchar chars;
};

/*
 * Reads bytes up to the end of a top-level thing. *used: how many were read. *whole: so many of
 * them, from the first, end with a whole tag; the rest is a piece of text or of a tag.
 */
enum scan_event xml_scan(struct xml_scan *scan, const struct xml_limits *limits, struct slice bytes,
    size_t *used, size_t *whole, const char **condition);

/* Whether nothing has been begun and the stream is open. */
static inline bool
xml_scan_between(const struct xml_scan *scan)
{
	return scan->state == SCAN_TEXT && scan->depth == scan->inner + 1;
}

/* Checks an XML declaration. Returns NULL when it is one of UTF-8, or the condition. */
const char *xml_scan_declaration(struct slice declaration);

/* -- xml_memory.c ------------------------------------------------------------------------------ */

void xml_memory_take_over(void);   /* before libxml2 is used */
void xml_memory_wipe(bool wipe);   /* from now on: whether what libxml2 frees is wiped */

/* -- xml_sax.c --------------------------------------------------------------------------------- */

/* A libxml2 parser with what it has read of a header or top-level element. */
struct xml_parse;

/* prologue: an opening tag of a stream in whose scope things are read, and of so many elements in it
 * that hold top-level elements; absent: a header comes. All are borrowed. */
struct xml_parse *xml_parse_new(const struct xml_limits *limits, const struct slice *strip,
    const struct slice *domain, struct slice prologue, unsigned inner);

/* In documents: which elements hold top-level elements. */
void xml_parse_holds(struct xml_parse *parse,
    bool (*holds)(void *arg, struct slice name, struct slice ns, unsigned depth), void *arg);
/* Whether such an element was opened by what was fed since the last call, and its element with an
 * opening tag that declares the same prefixes; whether one was closed. */
const struct xml_element *xml_parse_opened(struct xml_parse *parse, struct slice *prologue);
bool xml_parse_closed(struct xml_parse *parse);
void xml_parse_free(struct xml_parse **parse);

/* Reads bytes that end with a whole tag, or within text. Returns NULL or the condition. */
const char *xml_parse_feed(struct xml_parse *parse, struct slice bytes);

/* Depth of open elements as libxml2 sees it, that of the stream included. */
unsigned xml_parse_depth(const struct xml_parse *parse);

/* The header that was read, and the opening tag that declares the same prefixes. Valid until freed;
 * NULL when libxml2 has seen none. */
const struct xml_header *xml_parse_header(struct xml_parse *parse, struct slice *prologue);

/* The element that was read; valid until the next bytes are fed. NULL when libxml2 has not seen its
 * end since the last call. */
const struct xml_element *xml_parse_element(struct xml_parse *parse);

/* Whether it has read so much that a fresh one should follow. */
bool xml_parse_worn(const struct xml_parse *parse);

/* Whether there is a password in what it has read, or may be. */
bool xml_parse_secret(const struct xml_parse *parse);

/* Bytes of memory it holds; of libxml2's own an estimate. */
size_t xml_parse_memory(const struct xml_parse *parse);

#endif
