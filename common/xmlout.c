/*
 * xmlout.c: the writer of canonical XML. Called by every daemon that makes elements and for every
 * stanza that enters; cannot fail, the caller bounds the length.
 */
#include "xmlout.h"

/* Which characters are written as which escape. */
struct escape {
	const char *text;
	uint8_t len;
};

static const struct escape text_escapes[128] = {
	['&'] = { "&amp;", 5 }, ['<'] = { "&lt;", 4 }, ['>'] = { "&gt;", 4 }, ['\r'] = { "&#xD;", 5 },
};

static const struct escape value_escapes[128] = {
	['&'] = { "&amp;", 5 }, ['<'] = { "&lt;", 4 }, ['>'] = { "&gt;", 4 }, ['\r'] = { "&#xD;", 5 },
	['\''] = { "&apos;", 6 }, ['\t'] = { "&#x9;", 5 }, ['\n'] = { "&#xA;", 5 },
};

static void
add_escaped(struct buf *out, struct slice s, const struct escape *escapes)
{
	size_t from = 0, i;

	if (s.len == 0)
		return;
	for (i = 0; i < s.len; i++) {
		unsigned char c = (unsigned char)s.ptr[i];

		if (c > '>' || escapes[c].len == 0)
			continue;
		buf_add(out, s.ptr + from, i - from);
		buf_add(out, escapes[c].text, escapes[c].len);
		from = i + 1;
	}
	buf_add(out, s.ptr + from, s.len - from);
}

void
xml_add_text(struct buf *out, struct slice text)
{
	add_escaped(out, text, text_escapes);
}

void
xml_add_value(struct buf *out, struct slice value)
{
	add_escaped(out, value, value_escapes);
}

void
xml_add_attribute(struct buf *out, const char *name, struct slice value)
{
	if (value.ptr == NULL)
		return;
	buf_add_char(out, ' ');
	buf_add_string(out, name);
	buf_add(out, "='", 2);
	xml_add_value(out, value);
	buf_add_char(out, '\'');
}

void
xml_open(struct buf *out, const char *name, struct slice ns)
{
	buf_add_char(out, '<');
	buf_add_string(out, name);
	xml_add_attribute(out, "xmlns", ns);
}

void
xml_add_element(struct buf *out, const char *name, struct slice text)
{
	xml_open(out, name, SLICE_NONE);
	if (text.len == 0) {
		buf_add(out, "/>", 2);
		return;
	}
	buf_add_char(out, '>');
	xml_add_text(out, text);
	buf_add(out, "</", 2);
	buf_add_string(out, name);
	buf_add_char(out, '>');
}

void
xml_close(struct buf *out, const char *name, size_t head)
{
	if (buf_len(out) == head) {
		buf_truncate(out, head - 1);
		buf_add(out, "/>", 2);
		return;
	}
	buf_add(out, "</", 2);
	buf_add_string(out, name);
	buf_add_char(out, '>');
}
