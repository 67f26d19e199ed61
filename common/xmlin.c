/*
 * xmlin.c: the strict reader of canonical XML. Called by every daemon that looks into a payload;
 * what is not exactly what xmlout.h describes is refused with E_MALFORMED, deeper than
 * XMLIN_DEPTH_MAX with E_TOO_BIG. It does not recurse: open elements are on a stack of fixed size.
 */
#include "xmlin.h"

#include "error.h"
#include "xmlchar.h"

#define ATTRIBUTES_MAX 256 /* of one element, as where XML enters */
#define NS_XML         "http://www.w3.org/XML/1998/namespace"
#define NS_XMLNS       "http://www.w3.org/2000/xmlns/"

/* What is being read. */
struct cursor {
	const char *at, *end;
};

static const struct escape {
	struct slice text;
	char c;
	bool value_only; /* only in attribute values */
} escapes[] = {
	{ { "&amp;", 5 }, '&', false }, { { "&lt;", 4 }, '<', false }, { { "&gt;", 4 }, '>', false },
	{ { "&#xD;", 5 }, '\r', false }, { { "&apos;", 6 }, '\'', true }, { { "&#x9;", 5 }, '\t', true },
	{ { "&#xA;", 5 }, '\n', true },
};

/* The escape that bytes begin with; NULL: none. */
static const struct escape *
escape_at(const char *at, const char *end)
{
	struct slice s = slice_of(at, (size_t)(end - at));
	size_t i;

	for (i = 0; i < sizeof escapes / sizeof escapes[0]; i++)
		if (slice_starts(s, escapes[i].text))
			return &escapes[i];
	return NULL;
}

static void
unescape(struct slice s, struct buf *out)
{
	const char *at = s.ptr, *end = s.ptr + s.len, *amp;
	const struct escape *escape;

	while (at < end && (amp = memchr(at, '&', (size_t)(end - at))) != NULL) {
		buf_add(out, at, (size_t)(amp - at));
		escape = escape_at(amp, end);
		buf_add_char(out, escape != NULL ? escape->c : '&');
		at = amp + (escape != NULL ? escape->text.len : 1);
	}
	buf_add(out, at, (size_t)(end - at));
}

/* -- checking and cutting ---------------------------------------------------------------------- */

static bool
take(struct cursor *c, const char *literal)
{
	size_t len = strlen(literal);

	if ((size_t)(c->end - c->at) < len || memcmp(c->at, literal, len) != 0)
		return false;
	c->at += len;
	return true;
}

/* Reads characters and escapes up to stop (or, in text, the end). */
static bool
take_characters(struct cursor *c, bool value, char stop)
{
	const struct escape *escape;
	uint32_t point;
	unsigned len;

	while (c->at < c->end && *c->at != stop) {
		switch (*c->at) {
		case '&':
			escape = escape_at(c->at, c->end);
			if (escape == NULL || (escape->value_only && !value))
				return false;
			c->at += escape->text.len;
			continue;
		case '<': case '>': case '\r':
			return false;
		case '\t': case '\n':
			if (value)
				return false;
			break;
		default:
			break;
		}
		len = xmlchar_read(c->at, c->end, &point);
		if (len == 0)
			return false;
		c->at += len;
	}
	return true;
}

/* Reads ='value' and gives what is between the quotes. */
static bool
take_value(struct cursor *c, struct slice *value)
{
	const char *from;

	if (!take(c, "='"))
		return false;
	from = c->at;
	if (!take_characters(c, true, '\'') || c->at == c->end)
		return false;
	*value = slice_of(from, (size_t)(c->at - from));
	c->at++;
	return true;
}

static bool
take_name(struct cursor *c, struct slice *name)
{
	*name = slice_of(c->at, xmlchar_name(c->at, c->end));
	c->at += name->len;
	return name->len != 0;
}

/* "nsN:" of a prefix we write, without leading zeros; 0: another prefix. */
static unsigned
prefix_number(struct slice prefix)
{
	uint64_t number;

	if (prefix.len < 3 || !slice_starts(prefix, SLICE("ns")) || prefix.ptr[2] == '0' ||
	    slice_number(slice_part(prefix, 2, prefix.len), ATTRIBUTES_MAX, &number) != 0)
		return 0;
	return (unsigned)number;
}

/* The namespaces of the prefixes of one element, and the names of its attributes. */
struct names {
	unsigned declared, used;
	unsigned count;
	struct slice uri[ATTRIBUTES_MAX];
	struct slice name[ATTRIBUTES_MAX];   /* with prefix */
};

/* Reads the declarations xmlns:ns1, xmlns:ns2, ... */
static bool
take_prefixes(struct cursor *c, struct names *names)
{
	struct slice name, uri;
	unsigned i;

	while (take(c, " xmlns:")) {
		if (!take_name(c, &name) || prefix_number(name) != names->declared + 1 ||
		    !take_value(c, &uri) || uri.len == 0 || slice_is(uri, NS_XML) ||
		    slice_is(uri, NS_XMLNS) || names->declared == ATTRIBUTES_MAX)
			return false;
		for (i = 0; i < names->declared; i++)
			if (slice_equal(names->uri[i], uri))
				return false;
		names->uri[names->declared++] = uri;
	}
	return true;
}

/* Reads one attribute behind its space. */
static bool
take_attribute(struct cursor *c, struct names *names)
{
	const char *from = c->at;
	struct slice name, value;
	unsigned number, i;

	if (!take_name(c, &name))
		return false;
	if (take(c, ":")) {
		number = prefix_number(name);
		if (number > names->declared || number > names->used + 1 ||
		    (number == 0 && !slice_is(name, "xml")))
			return false;
		if (number > names->used)
			names->used = number;
		if (!take_name(c, &value))
			return false;
	} else if (slice_is(name, "xmlns")) {
		return false;
	}
	name = slice_of(from, (size_t)(c->at - from));
	for (i = 0; i < names->count; i++)
		if (slice_equal(names->name[i], name))
			return false;
	if (names->count == ATTRIBUTES_MAX || !take_value(c, &value))
		return false;
	names->name[names->count++] = name;
	return true;
}

/* Reads a start tag up to, not with, its "/>" or ">". */
static bool
take_start(struct cursor *c, struct slice parent_ns, struct xmlin_element *e)
{
	struct names names;
	const char *head;

	names.declared = names.used = names.count = 0;
	if (!take(c, "<") || !take_name(c, &e->name))
		return false;
	head = c->at;
	e->ns = parent_ns;
	if (take(c, " xmlns=")) {
		c->at--; /* the '=' belongs to the value */
		if (!take_value(c, &e->ns) || slice_equal(e->ns, parent_ns) ||
		    slice_is(e->ns, NS_XML) || slice_is(e->ns, NS_XMLNS))
			return false;
	}
	if (!take_prefixes(c, &names))
		return false;
	while (take(c, " "))
		if (!take_attribute(c, &names))
			return false;
	e->head = slice_of(head, (size_t)(c->at - head));
	return names.used == names.declared;
}

/* An element whose end tag has not been read. */
struct open {
	struct slice name, ns;
	const char *content;
};

/*
 * Reads one element, with all that is in it.
 * Returns 0, E_MALFORMED or E_TOO_BIG.
 */
static int
take_element(struct cursor *c, struct slice parent_ns, struct xmlin_element *first)
{
	struct open open[XMLIN_DEPTH_MAX];
	struct xmlin_element e;
	const char *from = c->at;
	unsigned depth = 0;

	do {
		struct slice ns = depth == 0 ? parent_ns : open[depth - 1].ns;

		if (depth != 0 && take(c, "</")) {
			struct open *top = &open[--depth];

			first->content = slice_of(top->content, (size_t)(c->at - 2 - top->content));
			if (first->content.len == 0 ||
			    (size_t)(c->end - c->at) <= top->name.len ||
			    memcmp(c->at, top->name.ptr, top->name.len) != 0)
				return E_MALFORMED;
			c->at += top->name.len;
			if (!take(c, ">"))
				return E_MALFORMED;
			continue;
		}
		if (depth != 0 && c->at < c->end && *c->at != '<') {
			if (!take_characters(c, false, '<'))
				return E_MALFORMED;
			continue;
		}
		if (!take_start(c, ns, &e))
			return E_MALFORMED;
		if (depth == XMLIN_DEPTH_MAX)
			return E_TOO_BIG;
		if (depth == 0)
			*first = e;
		if (take(c, "/>")) {
			if (depth == 0)
				first->content = SLICE("");
			continue;
		}
		if (!take(c, ">"))
			return E_MALFORMED;
		open[depth++] = (struct open){ e.name, e.ns, c->at };
	} while (depth != 0);
	first->whole = slice_of(from, (size_t)(c->at - from));
	return OK;
}

/* -- what others call -------------------------------------------------------------------------- */

void
xmlin_begin(struct xmlin *in, struct slice canonical, struct slice ns)
{
	*in = (struct xmlin){ .rest = canonical, .ns = ns };
}

bool
xmlin_child(struct xmlin *in, struct xmlin_element *element)
{
	struct cursor c = { in->rest.ptr, in->rest.ptr };

	if (in->error != OK || in->rest.len == 0)
		return false;
	c.end += in->rest.len;
	if (!take_characters(&c, false, '<'))
		in->error = E_MALFORMED;
	else if (c.at < c.end)
		in->error = take_element(&c, in->ns, element);
	else
		c.at = c.end = NULL;
	if (in->error != OK || c.at == NULL) {
		in->rest = SLICE("");
		return false;
	}
	in->rest = slice_of(c.at, (size_t)(c.end - c.at));
	return true;
}

bool
xmlin_find(struct slice canonical, struct slice parent_ns, const char *name, const char *ns,
    struct xmlin_element *element)
{
	struct xmlin in;

	xmlin_begin(&in, canonical, parent_ns);
	while (xmlin_child(&in, element))
		if (slice_is(element->name, name) && slice_is(element->ns, ns))
			return true;
	return false;
}

int
xmlin_attribute(const struct xmlin_element *element, const char *name, struct buf *scratch,
    struct slice *value)
{
	struct cursor c = { element->head.ptr, element->head.ptr };
	struct slice raw, found;
	const char *from;
	size_t at;

	*value = SLICE_NONE;
	c.end = element->head.len != 0 ? c.at + element->head.len : c.at;
	while (c.at < c.end) {
		if (!take(&c, " "))
			return E_MALFORMED;
		from = c.at;
		if (!take_name(&c, &found) || (take(&c, ":") && !take_name(&c, &found)))
			return E_MALFORMED;
		found = slice_of(from, (size_t)(c.at - from));
		if (!take_value(&c, &raw))
			return E_MALFORMED;
		if (!slice_is(found, name) || slice_is(found, "xmlns"))
			continue;
		*value = raw;
		if (memchr(raw.ptr, '&', raw.len) == NULL)
			return OK;
		at = buf_len(scratch);
		unescape(raw, scratch);
		*value = slice_part(buf_slice(scratch), at, SIZE_MAX);
		return OK;
	}
	return E_NOT_FOUND;
}

int
xmlin_text(const struct xmlin_element *element, struct buf *scratch, struct slice *text)
{
	struct cursor c = { element->content.ptr, element->content.ptr };
	size_t at = buf_len(scratch);
	struct xmlin_element child;
	struct slice run;
	int error;

	*text = SLICE("");
	if (element->content.len == 0)
		return OK;
	c.end += element->content.len;
	for (;;) {
		run = slice_of(c.at, 0);
		if (!take_characters(&c, false, '<'))
			return E_MALFORMED;
		run.len = (size_t)(c.at - run.ptr);
		if (run.len == element->content.len && memchr(run.ptr, '&', run.len) == NULL) {
			*text = run;
			return OK;
		}
		unescape(run, scratch);
		if (c.at == c.end)
			break;
		error = take_element(&c, element->ns, &child);
		if (error != OK)
			return error;
	}
	*text = slice_part(buf_slice(scratch), at, SIZE_MAX);
	return OK;
}

bool
xmlin_valid(struct slice canonical, struct slice ns)
{
	struct xmlin_element element;
	struct xmlin in;

	xmlin_begin(&in, canonical, ns);
	while (xmlin_child(&in, &element))
		;
	return in.error == OK;
}
