/*
 * xmlchar.c: which bytes are characters of XML and of its names. Called by xml.c for every byte
 * that enters and by xmlin.c; cannot fail but by saying no.
 */
#include "xmlchar.h"

/* Whether all bytes of a word are printable ASCII: none of 0x00..0x1F, none of 0x80..0xFF. */
static inline bool
word_plain(uint64_t word)
{
	const uint64_t high = UINT64_C(0x8080808080808080);

	return (word & high) == 0 && ((word - UINT64_C(0x2020202020202020)) & high) == 0;
}

static inline bool
point_valid(uint32_t point)
{
	if (point < 0x20)
		return point == 0x9 || point == 0xA || point == 0xD;
	return point < 0xD800 || (point > 0xDFFF && point < 0xFFFE) ||
	    (point > 0xFFFF && point <= 0x10FFFF);
}

/* Begins a character with its first byte. */
static inline bool
chars_first(struct xmlchar *chars, unsigned char c)
{
	if (c >= 0xC2 && c <= 0xDF)
		*chars = (struct xmlchar){ c & 0x1Fu, 0x80, 1 };
	else if (c >= 0xE0 && c <= 0xEF)
		*chars = (struct xmlchar){ c & 0x0Fu, 0x800, 2 };
	else if (c >= 0xF0 && c <= 0xF4)
		*chars = (struct xmlchar){ c & 0x07u, 0x10000, 3 };
	else
		return false;
	return true;
}

/* Adds a byte after the first. */
static inline bool
chars_next(struct xmlchar *chars, unsigned char c)
{
	if ((c & 0xC0) != 0x80)
		return false;
	chars->point = chars->point << 6 | (c & 0x3Fu);
	chars->need--;
	return chars->need != 0 || (chars->point >= chars->least && point_valid(chars->point));
}

bool
xmlchar_check(struct xmlchar *chars, struct slice bytes)
{
	const char *at = bytes.ptr;
	const char *end = at + bytes.len;

	while (at < end) {
		unsigned char c = (unsigned char)*at;
		uint64_t word;

		if (chars->need != 0) {
			if (!chars_next(chars, c))
				return false;
		} else if (c >= 0x80) {
			if (!chars_first(chars, c))
				return false;
		} else {
			while (end - at >= 8 && (memcpy(&word, at, 8), word_plain(word)))
				at += 8;
			if (at == end)
				break;
			c = (unsigned char)*at;
			if (c >= 0x80)
				continue;
			if (!point_valid(c))
				return false;
		}
		at++;
	}
	return true;
}

unsigned
xmlchar_read(const char *at, const char *end, uint32_t *point)
{
	struct xmlchar chars;
	unsigned len = 1;

	if (at == end)
		return 0;
	*point = (unsigned char)*at;
	if (*point < 0x80)
		return point_valid(*point) ? 1 : 0;
	if (!chars_first(&chars, (unsigned char)*at))
		return 0;
	do {
		if (at + len == end || !chars_next(&chars, (unsigned char)at[len]))
			return 0;
		len++;
	} while (chars.need != 0);
	*point = chars.point;
	return len;
}

static const struct range {
	uint32_t first, last;
	bool start; /* may begin a name */
} ranges[] = {
	{ '-', '.', false }, { '0', '9', false }, { 'A', 'Z', true }, { '_', '_', true },
	{ 'a', 'z', true }, { 0xB7, 0xB7, false }, { 0xC0, 0xD6, true }, { 0xD8, 0xF6, true },
	{ 0xF8, 0x2FF, true }, { 0x300, 0x36F, false }, { 0x370, 0x37D, true },
	{ 0x37F, 0x1FFF, true }, { 0x200C, 0x200D, true }, { 0x203F, 0x2040, false },
	{ 0x2070, 0x218F, true }, { 0x2C00, 0x2FEF, true }, { 0x3001, 0xD7FF, true },
	{ 0xF900, 0xFDCF, true }, { 0xFDF0, 0xFFFD, true }, { 0x10000, 0xEFFFF, true },
};

static bool
point_in_name(uint32_t point, bool start)
{
	size_t i;

	for (i = 0; i < sizeof ranges / sizeof ranges[0]; i++)
		if (point <= ranges[i].last)
			return point >= ranges[i].first && (ranges[i].start || !start);
	return false;
}

size_t
xmlchar_name(const char *at, const char *end)
{
	const char *from = at;
	uint32_t point;
	unsigned len;

	while (at < end) {
		unsigned char c = (unsigned char)*at;

		if (c >= 'a' && c <= 'z') {
			at++;
			continue;
		}
		len = xmlchar_read(at, end, &point);
		if (len == 0 || !point_in_name(point, at == from))
			break;
		at += len;
	}
	return (size_t)(at - from);
}
