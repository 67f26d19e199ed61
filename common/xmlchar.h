/*
 * xmlchar.h: the characters of XML 1.0 (fifth edition, productions 2, 4 and 5) in UTF-8 (RFC 3629).
 *
 * Stricter than libxml2, which lets some overlong forms pass. Used by the readers of XML only.
 */
#ifndef ALDIS_XMLCHAR_H
#define ALDIS_XMLCHAR_H

#include "slice.h"

/* Where a check stands that gets its bytes piece by piece; zeroed at the start. */
struct xmlchar {
	uint32_t point;  /* bits of the character so far */
	uint32_t least;  /* smallest code point that needs so many bytes */
	unsigned need;   /* bytes of it that are still to come */
};

/* Checks that the next bytes are characters of XML; a character may go on in the next piece. */
bool xmlchar_check(struct xmlchar *chars, struct slice bytes);

/* Reads one character. Returns its length in bytes, or 0 when there is no valid one. */
unsigned xmlchar_read(const char *at, const char *end, uint32_t *point);

/* Length of the name without a colon (NCName) that bytes begin with; 0: none. */
size_t xmlchar_name(const char *at, const char *end);

#endif
