/*
 * framer.c: owns the cutting of a server's byte stream into stanzas. conn.c calls it with what it
 * has read.
 *
 * It counts tags and trusts the server to send well-formed XML without CDATA; it cannot fail, a
 * wrong server only makes it wait for ever, which the time limits end.
 *
 * The Aldis developers
 */
#include "load.h"

#include <string.h>

/* Finds the '>' of the tag at `pos`, minding quotes; returns its place, or 0 when it is not there
 * yet. */
static size_t
framer_tag_end(const char *data, size_t pos, size_t len)
{
	while (++pos < len) {
		char ch = data[pos];

		if (ch == '>')
			return pos;
		if (ch == '\'' || ch == '"') {
			const char *quote = memchr(data + pos + 1, ch, len - pos - 1);

			if (quote == NULL)
				return 0;
			pos = (size_t)(quote - data);
		}
	}
	return 0;
}

static void
framer_emit(struct framer *f, const char *data, size_t end, struct slice *out)
{
	out->ptr = data + f->start;
	out->len = end - f->start;
	f->start = end;
}

enum framer_event
framer_next(struct framer *f, const char *data, size_t len, struct slice *out)
{
	for (;;) {
		const char *open = f->pos < len ? memchr(data + f->pos, '<', len - f->pos) : NULL;
		size_t at, end;

		if (open == NULL) {
			f->pos = len;
			if (f->depth <= 1)
				f->start = len;
			return FRAMER_MORE;
		}
		at = (size_t)(open - data);
		f->pos = at;
		if (f->depth <= 1)
			f->start = at;
		end = framer_tag_end(data, at, len);
		if (end == 0)
			return FRAMER_MORE;
		f->pos = end + 1;
		if (data[at + 1] == '?')
			continue;
		if (data[at + 1] == '/') {
			if (f->depth > 0)
				f->depth--;
			if (f->depth == 0) {
				framer_emit(f, data, f->pos, out);
				return FRAMER_CLOSE;
			}
		} else if (data[end - 1] != '/') {
			f->depth++;
			if (f->depth == 1) {
				framer_emit(f, data, f->pos, out);
				return FRAMER_OPEN;
			}
			continue;
		}
		if (f->depth == 1) {
			framer_emit(f, data, f->pos, out);
			return FRAMER_STANZA;
		}
	}
}

bool
slice_starts(struct slice s, const char *prefix)
{
	size_t len = strlen(prefix);

	return s.len >= len && memcmp(s.ptr, prefix, len) == 0;
}

bool
slice_has(struct slice s, const char *needle)
{
	return memmem(s.ptr, s.len, needle, strlen(needle)) != NULL;
}
