/*
 * xmlout.h: writing canonical XML.
 *
 * Canonical form (DESIGN section 3): UTF-8, no declaration, no prefixes but xml:, attribute values
 * in single quotes, an element declares xmlns only when its namespace differs from its parent's,
 * empty elements are written <name/>, and of characters only & < > are escaped in text (and CR as
 * &#xD;), in attribute values also ' (&apos;), and TAB, LF, CR as &#x9; &#xA; &#xD;. Attributes in
 * a namespace other than xml: carry a prefix declared on their own element (ns1, ns2, ...).
 */
#ifndef ALDIS_XMLOUT_H
#define ALDIS_XMLOUT_H

#include "buf.h"

/* Character data. What is written must be valid UTF-8 and characters of XML: nothing else can be.
 */
void xml_add_text(struct buf *out, struct slice text);
/* An attribute's value, escaped, without its quotes. */
void xml_add_value(struct buf *out, struct slice value);
/* " name='value'"; nothing when value is absent. */
void xml_add_attribute(struct buf *out, const char *name, struct slice value);
/* "<name xmlns='ns'" without the closing bracket; ns absent: no xmlns. */
void xml_open(struct buf *out, const char *name, struct slice ns);
/* Ends an element: "</name>", or, when nothing was added since its start tag ended at head, makes that "<name/>".
 * head: length of out then, with the closing bracket. */
void xml_close(struct buf *out, const char *name, size_t head);
/* "<name>text</name>", text escaped. */
void xml_add_element(struct buf *out, const char *name, struct slice text);

#endif
