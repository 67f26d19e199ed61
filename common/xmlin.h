/*
 * xmlin.h: a tiny strict reader of canonical XML, for payloads inside the suite.
 *
 * It accepts exactly what xmlout.h writes (see there) and refuses everything else: it is for daemons
 * that read what an entry daemon has parsed and written, and it validates again. It is a pull reader over a
 * slice and allocates nothing but for unescaping.
 *
 *	struct xmlin in;
 *	xmlin_begin(&in, frame.payload, SLICE("jabber:client"));
 *	while (xmlin_child(&in, &element))            // each top-level element
 *		if (slice_is(element.name, "query")) {
 *			struct xmlin items;
 *			xmlin_begin(&items, element.content, element.ns);
 *			...
 *	if (in.error) ...
 */
#ifndef ALDIS_XMLIN_H
#define ALDIS_XMLIN_H

#include "buf.h"

#define XMLIN_DEPTH_MAX 64 /* of open elements below one another; at most 256 attributes each */

struct xmlin {
	struct slice rest;
	struct slice ns;      /* default namespace in scope */
	int error;            /* the first error; 0 while all is well */
	unsigned depth;
};

struct xmlin_element {
	struct slice name;    /* local name */
	struct slice ns;      /* its namespace, as written (an & in it is &amp;) */
	struct slice head;    /* the attributes as written, for xmlin_attribute() */
	struct slice content; /* what is between its tags, canonical XML; empty when none */
	struct slice whole;   /* with its tags */
};

void xmlin_begin(struct xmlin *in, struct slice canonical, struct slice ns);

/* The next element; text between elements is skipped. False at the end and on an error. The whole
 * element, its content included, has been checked when it is returned. */
bool xmlin_child(struct xmlin *in, struct xmlin_element *element);

/* The first child element with this name and namespace. */
bool xmlin_find(struct slice canonical, struct slice parent_ns, const char *name, const char *ns,
    struct xmlin_element *element);

/* An attribute in no namespace (or "xml:lang"), unescaped into scratch when it has escapes (scratch
 * must outlive *value; it is appended to, which can move what an earlier call put there: take a
 * scratch for each value that is kept). Returns 0, E_NOT_FOUND or E_MALFORMED. */
int xmlin_attribute(const struct xmlin_element *element, const char *name, struct buf *scratch,
    struct slice *value);

/* The character data directly within an element, unescaped; *text points into content or scratch.
 */
int xmlin_text(const struct xmlin_element *element, struct buf *scratch, struct slice *text);

/* Whether a slice is canonical XML altogether: a run of elements and text. */
bool xmlin_valid(struct slice canonical, struct slice ns);

#endif
