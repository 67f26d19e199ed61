/*
 * xml.c: a stream of XML: its header, its stanzas, its end, and when a parser exists.
 *
 * Called by the entry daemons with the bytes that their peers send. The scanner (xml_scan.c) cuts
 * them at the ends of top-level elements; libxml2 (xml_sax.c) gets whole tags only, and callbacks
 * are made after it has returned, so that they may do anything to the stream but free it. When no
 * stanza has been begun at the end of the bytes, the parser is freed; the next one first reads an
 * opening tag with the namespace declarations of the peer's header. What can fail is the peer.
 */
#include "xml.h"

#include <stdlib.h>

#include "error.h"
#include "mem.h"
#include "xml_private.h"

struct xml_stream {
	const struct xml_limits *limits;
	const struct slice *strip;
	const struct xml_events *events;
	const struct xml_document *document; /* NULL: a stream */
	void *arg;
	struct slice domain;    /* owned */
	struct slice prologue;  /* owned; absent until the header was read */
	size_t prologue_len[XML_INNER_MAX + 1]; /* of it, before each element that holds others */
	struct xml_parse *parse;
	struct buf pending;     /* the part of a tag or text that libxml2 has not got yet */
	struct xml_scan scan;
	const char *condition;  /* why it has failed */
	int error;
	bool inside;            /* a callback runs */
	bool skip;              /* read nothing more of the bytes at hand */
	bool closed;            /* read nothing more */
	bool restart;           /* expect a header when the callback has returned */
	bool secret;            /* a password was in what was fed last */
	bool cr;                /* what was fed last ended with a carriage return */
};

static int
stream_fail(struct xml_stream *s, const char *condition)
{
	s->condition = condition;
	s->error = strcmp(condition, CONDITION_POLICY) == 0 ? E_TOO_BIG : E_MALFORMED;
	return s->error;
}

static void
slice_replace(struct slice *owned, struct slice s)
{
	free((void *)(uintptr_t)owned->ptr);
	*owned = slice_of(slice_dup(s), s.len);
}

/* Gives all memory back that serves the reading of a stanza. */
static void
stream_rest(struct xml_stream *s)
{
	xml_parse_free(&s->parse);
	buf_free(&s->pending);
}

struct xml_stream *
xml_stream_new(const struct xml_limits *limits, const struct slice *strip,
    const struct xml_events *events, void *arg)
{
	struct xml_stream *s = mem_alloc(sizeof *s);

	s->limits = limits;
	s->strip = strip;
	s->events = events;
	s->arg = arg;
	return s;
}

void
xml_stream_free(struct xml_stream **stream)
{
	struct xml_stream *s = *stream;

	if (s == NULL)
		return;
	stream_rest(s);
	slice_replace(&s->domain, SLICE_NONE);
	slice_replace(&s->prologue, SLICE_NONE);
	MEM_FREE(stream);
}

void
xml_stream_set_limits(struct xml_stream *s, const struct xml_limits *limits)
{
	s->limits = limits;
}

void
xml_stream_set_document(struct xml_stream *s, const struct xml_document *document)
{
	s->document = document;
	s->scan.document = true;
}

void
xml_stream_set_domain(struct xml_stream *s, struct slice domain)
{
	slice_replace(&s->domain, domain);
}

/* Forgets the header and all after it. */
static void
stream_restart(struct xml_stream *s)
{
	stream_rest(s);
	slice_replace(&s->prologue, SLICE_NONE);
	s->scan = (struct xml_scan){ .document = s->document != NULL };
	s->restart = false;
	s->closed = false;
}

void
xml_stream_restart(struct xml_stream *s)
{
	if (s->inside)
		s->restart = true;
	else
		stream_restart(s);
}

void
xml_stream_stop(struct xml_stream *s)
{
	s->skip = true;
	s->closed = true;
}

/* Gives libxml2 bytes, and makes a parser when there is none. */
static int
stream_parse(struct xml_stream *s, struct slice bytes)
{
	const char *condition;

	if (s->parse == NULL) {
		s->parse = xml_parse_new(s->limits, s->strip, &s->domain, s->prologue,
		    s->scan.inner);
		if (s->document != NULL)
			xml_parse_holds(s->parse, s->document->holds, s->arg);
	}
	condition = xml_parse_feed(s->parse, bytes);
	s->secret |= xml_parse_secret(s->parse);
	return condition == NULL ? OK : stream_fail(s, condition);
}

/* Gives libxml2 what is pending and bytes that end with a whole tag. */
static int
stream_parse_whole(struct xml_stream *s, struct slice bytes)
{
	int error;

	if (buf_len(&s->pending) == 0)
		return stream_parse(s, bytes);
	buf_add_slice(&s->pending, bytes);
	error = stream_parse(s, buf_slice(&s->pending));
	buf_clear(&s->pending);
	return error;
}

/* How much of long text can be parsed: not the begin of a character or "]]>". */
static size_t
text_cut(const struct xml_stream *s, struct slice text)
{
	size_t len = text.len;

	if (s->scan.chars.need != 0) {
		while (len > 1 && ((unsigned char)text.ptr[len - 1] & 0xC0) == 0x80)
			len--;
		len--;
	}
	while (len > 0 && text.ptr[len - 1] == ']')
		len--;
	return len;
}

/* Takes bytes of which so many end with a whole tag: those are parsed, the rest waits. */
static int
stream_take(struct xml_stream *s, struct slice bytes, size_t whole)
{
	struct slice text;
	size_t len;
	int error = OK;

	if (whole != 0)
		error = stream_parse_whole(s, slice_part(bytes, 0, whole));
	if (error != OK || whole == bytes.len)
		return error;
	s->pending.secret |= xml_stream_secret(s);
	buf_add_slice(&s->pending, slice_part(bytes, whole, bytes.len));
	if (buf_len(&s->pending) < XML_PIECE ||
	    (s->scan.state != SCAN_TEXT && s->scan.state != SCAN_CDATA))
		return OK;
	text = buf_slice(&s->pending);
	len = text_cut(s, text);
	if (len != 0) {
		error = stream_parse(s, slice_part(text, 0, len));
		buf_consume(&s->pending, len);
	}
	return error;
}

/* Checks the XML declaration that is pending with these bytes. */
static int
stream_declared(struct xml_stream *s, struct slice bytes)
{
	const char *condition;

	buf_add_slice(&s->pending, bytes);
	condition = xml_scan_declaration(buf_slice(&s->pending));
	buf_clear(&s->pending);
	s->scan.bytes = 0;
	return condition == NULL ? OK : stream_fail(s, condition);
}

/* Goes into an element that holds top-level ones: its opening tag joins the prologue. */
static void
inner_enter(struct xml_stream *s, struct slice tag)
{
	struct buf prologue = { 0 };

	s->prologue_len[s->scan.inner++] = s->prologue.len;
	buf_add_slice(&prologue, s->prologue);
	buf_add_slice(&prologue, tag);
	slice_replace(&s->prologue, buf_slice(&prologue));
	buf_free(&prologue);
}

/* In a document: tells of the start and the end of elements that hold top-level ones. *done: there was
 * one, or it is a start tag of another. */
static int
inner_deliver(struct xml_stream *s, enum scan_event event, bool *done)
{
	struct slice tag;
	const struct xml_element *opened = xml_parse_opened(s->parse, &tag);
	bool closed = xml_parse_closed(s->parse);

	*done = opened != NULL || closed || event == SCAN_OPENED || event == SCAN_CLOSED;
	if (xml_parse_depth(s->parse) != s->scan.depth || closed != (event == SCAN_CLOSED ||
	    (event == SCAN_ELEMENT && opened != NULL)) || (event == SCAN_CLOSED && opened != NULL))
		return stream_fail(s, CONDITION_MALFORMED);
	if (opened == NULL && !closed)
		return OK;
	s->scan.bytes = 0;
	s->scan.elements = 0;
	if (event == SCAN_OPENED)
		inner_enter(s, tag);
	else if (event == SCAN_CLOSED)
		s->prologue.len = s->prologue_len[--s->scan.inner];
	s->inside = true;
	if (opened != NULL)
		s->document->open(s->arg, opened);
	if (closed)
		s->document->close(s->arg);
	s->inside = false;
	return OK;
}

/* Tells of a top-level thing that has been read. */
static int
stream_deliver(struct xml_stream *s, enum scan_event event)
{
	const struct xml_header *header = NULL;
	const struct xml_element *element = NULL;
	struct slice prologue;
	bool done = false;
	int error = OK;

	if (s->scan.document && event != SCAN_HEADER && event != SCAN_END)
		error = inner_deliver(s, event, &done);
	if (error || done)
		return error;
	if (event == SCAN_HEADER)
		header = xml_parse_header(s->parse, &prologue);
	else if (event == SCAN_ELEMENT)
		element = xml_parse_element(s->parse);
	/* The two readers must agree on what ends here. */
	if (xml_parse_depth(s->parse) != s->scan.depth || (event == SCAN_HEADER && header == NULL) ||
	    (event == SCAN_ELEMENT && element == NULL))
		return stream_fail(s, CONDITION_MALFORMED);
	s->scan.bytes = 0;
	s->scan.elements = 0;
	s->inside = true;
	if (header != NULL) {
		slice_replace(&s->prologue, prologue);
		s->events->header(s->arg, header);
	} else if (element != NULL) {
		s->events->element(s->arg, element);
	}
	if (s->scan.depth == 0 && !s->closed && !s->restart) {
		s->closed = true;
		s->events->end(s->arg);
	}
	s->inside = false;
	if (s->restart)
		stream_restart(s);
	else if (xml_parse_worn(s->parse))
		xml_parse_free(&s->parse);
	return OK;
}

static struct slice
skip_space(struct slice bytes)
{
	while (bytes.len != 0 && (*bytes.ptr == ' ' || *bytes.ptr == '\n' || *bytes.ptr == '\r' ||
	    *bytes.ptr == '\t'))
		bytes = slice_part(bytes, 1, bytes.len);
	return bytes;
}

/* Reads a piece, up to the end of a top-level thing, off the front of *bytes. */
static int
stream_read(struct xml_stream *s, struct slice *bytes)
{
	const char *condition = CONDITION_MALFORMED;
	struct slice piece;
	size_t room, used, whole;
	enum scan_event event;
	int error;

	if (!xml_stream_busy(s)) {
		*bytes = skip_space(*bytes);
		if (bytes->len == 0)
			return OK;
	}
	room = s->limits->stanza_bytes - s->scan.bytes;
	if (room == 0)
		return stream_fail(s, CONDITION_POLICY);
	piece = slice_part(*bytes, 0, room < XML_PIECE ? room : XML_PIECE);
	event = xml_scan(&s->scan, s->limits, piece, &used, &whole, &condition);
	if (event == SCAN_ERROR)
		return stream_fail(s, condition);
	piece = slice_part(piece, 0, used);
	if (!xmlchar_check(&s->scan.chars, piece))
		return stream_fail(s, CONDITION_MALFORMED);
	*bytes = slice_part(*bytes, used, bytes->len);
	if (event == SCAN_DECLARED)
		return stream_declared(s, piece);
	error = stream_take(s, piece, whole);
	if (error == OK && event != SCAN_MORE)
		error = stream_deliver(s, event);
	return error;
}

/* Makes every line end one newline (XML 1.0 section 2.11): libxml2's push parser leaves those in CDATA as they are. out:
 * where what is returned lies when it is not in bytes. */
static struct slice
line_ends(struct xml_stream *s, struct slice bytes, struct buf *out)
{
	size_t i;

	if (bytes.len == 0)
		return bytes;
	if (s->cr && *bytes.ptr == '\n')
		bytes = slice_part(bytes, 1, bytes.len);
	s->cr = bytes.len != 0 && bytes.ptr[bytes.len - 1] == '\r';
	if (bytes.len == 0 || memchr(bytes.ptr, '\r', bytes.len) == NULL)
		return bytes;
	out->secret = true; /* perhaps */
	for (i = 0; i < bytes.len; i++) {
		if (bytes.ptr[i] != '\r')
			buf_add_char(out, bytes.ptr[i]);
		else if (i + 1 == bytes.len || bytes.ptr[i + 1] != '\n')
			buf_add_char(out, '\n');
	}
	return buf_slice(out);
}

int
xml_stream_feed(struct xml_stream *s, struct slice bytes, const char **condition)
{
	struct buf lines = { 0 };
	int error = s->error;

	s->skip = false;
	s->secret = false;
	bytes = line_ends(s, bytes, &lines);
	while (error == OK && bytes.len != 0 && !s->closed && !s->skip)
		error = stream_read(s, &bytes);
	if (error != OK || s->closed || !xml_stream_busy(s))
		stream_rest(s);
	buf_free(&lines);
	*condition = s->condition;
	return error;
}

bool
xml_stream_busy(const struct xml_stream *s)
{
	return s->scan.bytes != 0;
}

bool
xml_stream_secret(const struct xml_stream *s)
{
	return s->secret || s->limits->secret || (s->parse != NULL && xml_parse_secret(s->parse));
}

size_t
xml_stream_memory(const struct xml_stream *s)
{
	return s->pending.room + (s->parse != NULL ? xml_parse_memory(s->parse) : 0);
}
