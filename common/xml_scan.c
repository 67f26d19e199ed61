/*
 * xml_scan.c: finds where tags and stanzas begin and end, before libxml2 sees a byte.
 *
 * Called by xml.c. It keeps the budgets of bytes, depth, elements and attributes, and refuses
 * restricted XML (RFC 6120 section 11.1) at its first characters: a DTD or an entity declaration
 * never reaches libxml2. It does not judge well-formedness: of well-formed XML it sees the tags
 * exactly, and anything else is refused by libxml2 or by the comparison of depths in xml.c.
 */
#include "xml_private.h"

#include "xmlin.h"

#define MARK_CDATA     "[CDATA["
#define MARK_CDATA_END "]]>"

static bool
is_space(char c)
{
	return c == ' ' || c == '\n' || c == '\t' || c == '\r';
}

/* Moves on within an opening tag to the next character that matters there, or to the end. */
static const char *
skip_plain(const char *at, const char *end)
{
	static const bool matters[256] = {
		['"'] = true, ['\''] = true, ['='] = true, ['/'] = true, ['>'] = true,
	};

	while (at < end && !matters[(unsigned char)*at])
		at++;
	return at;
}

/* The character after '<'; what it begins. Returns NULL or a condition. */
static const char *
scan_begin(struct xml_scan *scan, const struct xml_limits *limits, char c)
{
	if (c == '?') {
		if (scan->depth != 0 || scan->declared)
			return CONDITION_RESTRICTED;
		scan->state = SCAN_DECLARATION;
		scan->matched = 0;
		return NULL;
	}
	if (c == '!') {
		scan->state = SCAN_BANG;
		scan->matched = 0;
		return scan->depth == 0 ? CONDITION_RESTRICTED : NULL;
	}
	if (c == '/') {
		scan->state = SCAN_CLOSE;
		return scan->depth == 0 ? CONDITION_MALFORMED : NULL;
	}
	if (c == '\0')
		return scan->depth == 0 ? CONDITION_ENCODING : CONDITION_MALFORMED;
	scan->state = SCAN_OPEN;
	scan->attributes = 0;
	scan->value = false;
	if (scan->depth - scan->inner * (scan->depth != 0) > limits->depth ||
	    scan->depth > XMLIN_DEPTH_MAX + scan->inner || scan->elements == limits->elements)
		return CONDITION_POLICY;
	if (scan->depth != 0)
		scan->elements++;
	return NULL;
}

/* A tag has ended; leave: it ended its element. */
static enum scan_event
scan_tag_ended(struct xml_scan *scan, bool open, bool leave)
{
	bool header = open && scan->depth == 0;
	bool begins = open && !leave && scan->depth == scan->inner + 1;

	scan->state = SCAN_TEXT;
	if (open)
		scan->depth++;
	if (leave)
		scan->depth--;
	if (header)
		return SCAN_HEADER;
	if (scan->depth == 0)
		return SCAN_END;
	if (scan->depth <= scan->inner)
		return SCAN_CLOSED;
	if (begins && scan->document)
		return SCAN_OPENED;
	return scan->depth == scan->inner + 1 ? SCAN_ELEMENT : SCAN_MORE;
}

/* Reads on within an opening tag. Returns an event or SCAN_MORE. */
static enum scan_event
scan_open(struct xml_scan *scan, const struct xml_limits *limits, const char **at, const char *end,
    const char **condition)
{
	unsigned most = limits->attributes < XML_ATTRIBUTES_MAX ? limits->attributes : XML_ATTRIBUTES_MAX;

	while (*at < end) {
		char c;

		*at = skip_plain(*at, end);
		if (*at == end)
			break;
		c = *(*at)++;
		if (c == '>')
			return scan_tag_ended(scan, true, false);
		if (c == '/') {
			scan->state = SCAN_SLASH;
			break;
		}
		if ((c != '=') != scan->value) { /* a stray quote would hide what follows it */
			*condition = CONDITION_MALFORMED;
			return SCAN_ERROR;
		}
		scan->value = c == '=';
		if (!scan->value) {
			scan->state = SCAN_QUOTE;
			scan->quote = c;
			break;
		}
		if (++scan->attributes > most) {
			*condition = CONDITION_POLICY;
			return SCAN_ERROR;
		}
	}
	return SCAN_MORE;
}

/* Moves behind the next c. Returns false when there is none. */
static bool
skip_behind(const char **at, const char *end, char c)
{
	const char *found = memchr(*at, c, (size_t)(end - *at));

	*at = found != NULL ? found + 1 : end;
	return found != NULL;
}

/* Reads on within a CDATA section, to its end or the end of the bytes. */
static void
scan_cdata(struct xml_scan *scan, const char **at, const char *end)
{
	while (*at < end && scan->state == SCAN_CDATA) {
		char c = *(*at)++;

		if (c == MARK_CDATA_END[scan->matched])
			scan->matched++;
		else if (c != ']')
			scan->matched = 0;
		if (scan->matched == sizeof MARK_CDATA_END - 1)
			scan->state = SCAN_TEXT;
	}
}

/* Reads on within an XML declaration; it is kept and checked by the caller. */
static enum scan_event
scan_declaration(struct xml_scan *scan, const char **at, const char *end)
{
	while (*at < end) {
		char c = *(*at)++;

		if (c == '>' && scan->matched == 1) {
			scan->declared = true;
			scan->state = SCAN_HEAD;
			return SCAN_DECLARED;
		}
		scan->matched = c == '?';
	}
	return SCAN_MORE;
}

/* The one character, or the run of them, with which each state goes on. */
static enum scan_event
scan_step(struct xml_scan *scan, const struct xml_limits *limits, const char **at, const char *end,
    const char **condition)
{
	switch ((enum scan_state)scan->state) {
	case SCAN_HEAD:
		if (**at == '<') {
			scan->state = SCAN_LT;
		} else if (!is_space(**at)) {
			unsigned char c = (unsigned char)**at;

			*condition = c >= 0xFE || c == 0 ? CONDITION_ENCODING : CONDITION_MALFORMED;
			return SCAN_ERROR;
		}
		++*at;
		return SCAN_MORE;
	case SCAN_DECLARATION:
		*condition = CONDITION_RESTRICTED;
		return scan_declaration(scan, at, end);
	case SCAN_TEXT:
		if (scan->depth == scan->inner + 1 && **at != '<') {
			*condition = CONDITION_FORMAT;
			return SCAN_ERROR;
		}
		if (skip_behind(at, end, '<'))
			scan->state = SCAN_LT;
		return SCAN_MORE;
	case SCAN_LT:
		*condition = scan_begin(scan, limits, **at);
		if (scan->state != SCAN_OPEN)
			++*at;
		return *condition != NULL ? SCAN_ERROR : SCAN_MORE;
	case SCAN_OPEN:
		return scan_open(scan, limits, at, end, condition);
	case SCAN_QUOTE:
		if (skip_behind(at, end, scan->quote))
			scan->state = SCAN_OPEN;
		return SCAN_MORE;
	case SCAN_SLASH:
		scan->state = SCAN_OPEN;
		if (**at != '>')
			return SCAN_MORE;
		++*at;
		return scan_tag_ended(scan, true, true);
	case SCAN_CLOSE:
		return skip_behind(at, end, '>') ? scan_tag_ended(scan, false, true) : SCAN_MORE;
	case SCAN_BANG:
		if (**at != MARK_CDATA[scan->matched]) {
			*condition = CONDITION_RESTRICTED;
			return SCAN_ERROR;
		}
		++*at;
		if (++scan->matched < sizeof MARK_CDATA - 1)
			return SCAN_MORE;
		scan->matched = 0;
		scan->state = SCAN_CDATA;
		*condition = CONDITION_FORMAT;
		return scan->depth == scan->inner + 1 ? SCAN_ERROR : SCAN_MORE;
	case SCAN_CDATA:
		scan_cdata(scan, at, end);
		return SCAN_MORE;
	}
	return SCAN_ERROR;
}

enum scan_event
xml_scan(struct xml_scan *scan, const struct xml_limits *limits, struct slice bytes, size_t *used,
    size_t *whole, const char **condition)
{
	const char *at = bytes.ptr, *end = at + bytes.len;
	enum scan_event event = SCAN_MORE;
	unsigned before;

	*whole = 0;
	while (at < end && event == SCAN_MORE) {
		before = scan->state;
		event = scan_step(scan, limits, &at, end, condition);
		if (scan->state == SCAN_TEXT && before != SCAN_TEXT)
			*whole = (size_t)(at - bytes.ptr);
	}
	*used = (size_t)(at - bytes.ptr);
	scan->bytes += *used;
	/* Its length is known here only, with the bytes before this piece. */
	if ((event == SCAN_DECLARED || scan->state == SCAN_DECLARATION) &&
	    scan->bytes > XML_DECLARATION)
		return SCAN_ERROR;
	if (event == SCAN_MORE && scan->state == SCAN_HEAD)
		scan->bytes = 0;
	return event;
}

/* Takes name='value' with white space before it off the front of an XML declaration. */
static bool
declaration_take(struct slice *rest, const char *name, struct slice *value)
{
	struct slice s = *rest;
	const char *close;

	while (s.len != 0 && is_space(*s.ptr))
		s = slice_part(s, 1, s.len);
	if (s.ptr == rest->ptr || !slice_starts(s, slice_string(name)))
		return false;
	s = slice_part(s, strlen(name), s.len);
	while (s.len != 0 && is_space(*s.ptr))
		s = slice_part(s, 1, s.len);
	if (s.len == 0 || *s.ptr != '=')
		return false;
	do
		s = slice_part(s, 1, s.len);
	while (s.len != 0 && is_space(*s.ptr));
	if (s.len == 0 || (*s.ptr != '\'' && *s.ptr != '"'))
		return false;
	close = memchr(s.ptr + 1, *s.ptr, s.len - 1);
	if (close == NULL)
		return false;
	*value = slice_of(s.ptr + 1, (size_t)(close - s.ptr) - 1);
	*rest = slice_part(s, value->len + 2, s.len);
	return true;
}

static bool
is_utf8(struct slice encoding)
{
	static const char name[] = "utf-8";
	size_t i;

	if (encoding.len != sizeof name - 1)
		return false;
	for (i = 0; i < encoding.len; i++)
		if ((encoding.ptr[i] | 0x20) != (name[i] | 0x20))
			return false;
	return true;
}

const char *
xml_scan_declaration(struct slice declaration)
{
	struct slice rest, value;

	if (declaration.len < 8 || !slice_starts(declaration, SLICE("<?xml")) ||
	    !is_space(declaration.ptr[5]))
		return CONDITION_RESTRICTED;
	rest = slice_part(declaration, 5, declaration.len - 7);
	if (!declaration_take(&rest, "version", &value) || !slice_is(value, "1.0"))
		return CONDITION_MALFORMED;
	if (declaration_take(&rest, "encoding", &value) && !is_utf8(value))
		return CONDITION_ENCODING;
	if (declaration_take(&rest, "standalone", &value) && !slice_is(value, "yes") &&
	    !slice_is(value, "no"))
		return CONDITION_MALFORMED;
	while (rest.len != 0 && is_space(*rest.ptr))
		rest = slice_part(rest, 1, rest.len);
	return rest.len == 0 ? NULL : CONDITION_MALFORMED;
}
