/*
 * fuzz_stanza.c: what the XML entry takes, against libxml2's tree parser.
 *
 * Options: -max_len=4096
 *
 * Input: a byte of choice (even: what is to be stripped is stripped), then what follows the header
 * of a stream.
 * Asserts, of each top-level element that the entry takes: libxml2's tree parser reads the same
 * bytes as one element with the same name, namespace, attributes and text; its children, written in
 * canonical form by this file alone, less what is documented to be stripped, are the payload byte
 * for byte; the payload is canonical, and xmlin reads it to its end; and the stanza, written out
 * and read again, has the same payload and addresses, and is then written as the same bytes.
 */
#include "fuzz.h"

#include <libxml/parser.h>
#include <libxml/tree.h>

#include "jid.h"
#include "ns.h"
#include "stanza.h"
#include "xml.h"
#include "xmlin.h"

#define DOMAIN "capulet.example"
#define HEADER                                                                              \
	"<stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams' " \
	"xmlns:o='urn:other' to='" DOMAIN "' version='1.0'>"
#define FOOTER "</stream:stream>"

static const struct xml_limits limits = { 1u << 20, 64, 256, 100000, false };
static const struct slice strip[] = {
	{ NS_SID, sizeof NS_SID - 1 }, { NS_OCCUPANT_ID, sizeof NS_OCCUPANT_ID - 1 }, { NULL, 0 },
};

/* -- canonical form, written from a tree ------------------------------------------------------- */

/* A second writer, on purpose: it shares no line with xmlout.c and xml_sax.c. */
static void
add_escaped(struct buf *out, const char *text, bool value)
{
	char reference[8];

	for (; *text != '\0'; text++) {
		if (*text == '&')
			buf_add_string(out, "&amp;");
		else if (*text == '<')
			buf_add_string(out, "&lt;");
		else if (*text == '>')
			buf_add_string(out, "&gt;");
		else if (value && *text == '\'')
			buf_add_string(out, "&apos;");
		else if (*text == '\r' || (value && (*text == '\n' || *text == '\t'))) {
			snprintf(reference, sizeof reference, "&#x%X;", (unsigned)*text);
			buf_add_string(out, reference);
		} else
			buf_add_char(out, *text);
	}
}

static const char *
href(const xmlNs *ns)
{
	return ns != NULL && ns->href != NULL ? (const char *)ns->href : "";
}

static bool
is_xml_ns(const xmlNs *ns)
{
	return ns != NULL && strcmp(href(ns), "http://www.w3.org/XML/1998/namespace") == 0;
}

/* The number of the prefix of an attribute, which is that of the first with its namespace. */
static unsigned
prefix_number(const xmlNode *node, const xmlAttr *attribute, bool *first)
{
	const xmlAttr *a, *b;
	unsigned number = 0;

	for (a = node->properties; a != NULL; a = a->next) {
		if (a->ns == NULL || is_xml_ns(a->ns))
			continue;
		for (b = node->properties; b != a; b = b->next)
			if (b->ns != NULL && strcmp(href(b->ns), href(a->ns)) == 0)
				break;
		if (b == a)
			number++;
		if (strcmp(href(a->ns), href(attribute->ns)) == 0) {
			*first = a == attribute;
			return number;
		}
	}
	CHECK(false);
	return 0;
}

static void
write_attributes(const xmlNode *node, struct buf *out)
{
	const xmlAttr *a;
	xmlChar *value;
	unsigned number;
	bool first;

	for (a = node->properties; a != NULL; a = a->next) {
		if (a->ns == NULL || is_xml_ns(a->ns))
			continue;
		number = prefix_number(node, a, &first);
		if (!first)
			continue;
		buf_printf(out, " xmlns:ns%u='", number);
		add_escaped(out, href(a->ns), true);
		buf_add_char(out, '\'');
	}
	for (a = node->properties; a != NULL; a = a->next) {
		if (is_xml_ns(a->ns))
			buf_add_string(out, " xml:");
		else if (a->ns != NULL)
			buf_printf(out, " ns%u:", prefix_number(node, a, &first));
		else
			buf_add_char(out, ' ');
		buf_printf(out, "%s='", (const char *)a->name);
		value = xmlNodeGetContent((const xmlNode *)a);
		add_escaped(out, (const char *)value, true);
		xmlFree(value);
		buf_add_char(out, '\'');
	}
}

/* Writes an element and what is in it; trees are 64 deep at most. */
static void
write_node(const xmlNode *node, const char *parent, struct buf *out)
{
	const xmlNode *child;
	size_t before;

	if (node->type != XML_ELEMENT_NODE) {
		CHECK(node->type == XML_TEXT_NODE || node->type == XML_CDATA_SECTION_NODE);
		add_escaped(out, (const char *)node->content, false);
		return;
	}
	buf_printf(out, "<%s", (const char *)node->name);
	if (strcmp(href(node->ns), parent) != 0) {
		buf_add_string(out, " xmlns='");
		add_escaped(out, href(node->ns), true);
		buf_add_char(out, '\'');
	}
	write_attributes(node, out);
	buf_add_char(out, '>');
	before = buf_len(out);
	for (child = node->children; child != NULL; child = child->next)
		write_node(child, href(node->ns), out);
	if (buf_len(out) == before) { /* nothing, or text of no characters */
		buf_truncate(out, before - 1);
		buf_add_string(out, "/>");
	} else {
		buf_printf(out, "</%s>", (const char *)node->name);
	}
}

/* -- what is stripped (xml.h) ------------------------------------------------------------------ */

static bool
is_stanza_name(const char *name)
{
	return strcmp(name, "message") == 0 || strcmp(name, "presence") == 0 || strcmp(name, "iq") == 0;
}

static bool
is_delay_of_ours(const xmlNode *child)
{
	xmlChar *from = xmlGetNoNsProp(child, (const xmlChar *)"from");
	char out[JID_MAX + 1];
	struct jid jid;
	bool ours;

	ours = from == NULL || jid_prepare(slice_string((const char *)from), out, &jid) != OK ||
	    slice_is(jid.domain, DOMAIN);
	xmlFree(from);
	return ours;
}

static bool
is_stripped(const xmlNode *child, bool strips)
{
	const char *ns = href(child->ns), *name = (const char *)child->name;

	if (child->type != XML_ELEMENT_NODE || !is_stanza_name((const char *)child->parent->name))
		return false;
	if (strips && (strcmp(ns, NS_OCCUPANT_ID) == 0 ||
	    (strcmp(ns, NS_SID) == 0 && strcmp(name, "origin-id") != 0)))
		return true;
	return strcmp(ns, NS_DELAY) == 0 && strcmp(name, "delay") == 0 && is_delay_of_ours(child);
}

/* -- reading ----------------------------------------------------------------------------------- */

struct element {
	struct slice from, to, id, type, lang, name, ns, payload, text; /* copies */
	struct { struct slice name, value; } attribute[XML_ATTRIBUTES];
	unsigned attributes;
	bool came;
};

static struct slice
copy_of(struct slice s)
{
	return slice_of(slice_dup(s), s.len);
}

static void
element_clear(struct element *e)
{
	unsigned i;

	fuzz_free(e->from);
	fuzz_free(e->to);
	fuzz_free(e->id);
	fuzz_free(e->type);
	fuzz_free(e->lang);
	fuzz_free(e->name);
	fuzz_free(e->ns);
	fuzz_free(e->payload);
	fuzz_free(e->text);
	for (i = 0; i < e->attributes; i++) {
		fuzz_free(e->attribute[i].name);
		fuzz_free(e->attribute[i].value);
	}
	*e = (struct element){ 0 };
}

static void
on_header(void *arg, const struct xml_header *h)
{
	(void)arg;
	(void)h;
}

static void
on_element(void *arg, const struct xml_element *from)
{
	struct element *e = arg;

	CHECK(!e->came);
	e->came = true;
	e->from = copy_of(from->from);
	e->to = copy_of(from->to);
	e->id = copy_of(from->id);
	e->type = copy_of(from->type);
	e->lang = copy_of(from->lang);
	e->name = copy_of(from->name);
	e->ns = copy_of(from->ns);
	e->payload = copy_of(from->payload);
	e->text = copy_of(from->text);
	for (; e->attributes < from->attributes; e->attributes++) {
		e->attribute[e->attributes].name = copy_of(from->attribute[e->attributes].name);
		e->attribute[e->attributes].value = copy_of(from->attribute[e->attributes].value);
	}
}

static void
on_end(void *arg)
{
	(void)arg;
}

static const struct xml_events events = { on_header, on_element, on_end };

static struct xml_stream *
stream_new(bool strips, struct element *e)
{
	struct xml_stream *stream = xml_stream_new(&limits, strips ? strip : NULL, &events, e);
	const char *condition;

	xml_stream_set_domain(stream, SLICE(DOMAIN));
	CHECK(xml_stream_feed(stream, SLICE(HEADER), &condition) == OK);
	return stream;
}

/* -- against the tree -------------------------------------------------------------------------- */

static void
check_same(struct slice ours, xmlChar *theirs)
{
	CHECK((ours.ptr == NULL) == (theirs == NULL));
	CHECK(theirs == NULL || slice_is(ours, (const char *)theirs));
	xmlFree(theirs);
}

static void
check_attributes(const struct element *e, const xmlNode *node)
{
	const xmlAttr *a;
	unsigned i, count = 0;
	char *name;

	check_same(e->from, xmlGetNoNsProp(node, (const xmlChar *)"from"));
	check_same(e->to, xmlGetNoNsProp(node, (const xmlChar *)"to"));
	check_same(e->id, xmlGetNoNsProp(node, (const xmlChar *)"id"));
	check_same(e->type, xmlGetNoNsProp(node, (const xmlChar *)"type"));
	check_same(e->lang, xmlGetNsProp(node, (const xmlChar *)"lang",
	    (const xmlChar *)"http://www.w3.org/XML/1998/namespace"));
	for (i = 0; i < e->attributes; i++) {
		name = slice_dup(e->attribute[i].name);
		check_same(e->attribute[i].value, xmlGetNoNsProp(node, (const xmlChar *)name));
		free(name);
	}
	for (a = node->properties; a != NULL; a = a->next)
		count += a->ns == NULL;
	CHECK(count == e->attributes + (e->from.ptr != NULL) + (e->to.ptr != NULL) +
	    (e->id.ptr != NULL) + (e->type.ptr != NULL));
}

static void
check_tree(const struct element *e, const xmlNode *node, bool strips)
{
	struct buf payload = { 0 }, text = { 0 };
	const xmlNode *child;

	CHECK(node->type == XML_ELEMENT_NODE);
	CHECK(slice_is(e->name, (const char *)node->name) && slice_is(e->ns, href(node->ns)));
	check_attributes(e, node);
	for (child = node->children; child != NULL; child = child->next) {
		if (child->type != XML_ELEMENT_NODE)
			buf_add_string(&text, (const char *)child->content);
		else if (!is_stripped(child, strips))
			write_node(child, href(node->ns), &payload);
	}
	CHECK(slice_equal(buf_slice(&payload), e->payload));
	CHECK(slice_equal(buf_slice(&text), e->text));
	buf_free(&payload);
	buf_free(&text);
}

/* Reads the bytes of one element with libxml2. */
static void
check_libxml(const struct element *e, struct slice bytes, bool strips)
{
	struct buf text = { 0 };
	const xmlNode *node, *found = NULL;
	xmlDocPtr doc;

	buf_add_string(&text, HEADER);
	buf_add_slice(&text, bytes);
	buf_add_string(&text, FOOTER);
	doc = xmlReadMemory(buf_slice(&text).ptr, (int)buf_len(&text), NULL, NULL,
	    XML_PARSE_NONET | XML_PARSE_NOENT | XML_PARSE_NOERROR | XML_PARSE_NOWARNING);
	CHECK(doc != NULL && doc->intSubset == NULL && doc->extSubset == NULL);
	for (node = xmlDocGetRootElement(doc)->children; node != NULL; node = node->next) {
		CHECK(node->type == XML_ELEMENT_NODE || xmlIsBlankNode(node));
		CHECK(node->type != XML_ELEMENT_NODE || found == NULL);
		found = node->type == XML_ELEMENT_NODE ? node : found;
	}
	CHECK(found != NULL);
	check_tree(e, found, strips);
	xmlFreeDoc(doc);
	xmlResetLastError();
	buf_free(&text);
}

/* -- written and read again -------------------------------------------------------------------- */

static bool
frame_of(const struct element *e, struct frame *f)
{
	*f = (struct frame){ .type = FRAME_STANZA, .from = e->from, .to = e->to, .id = e->id,
		.lang = e->lang, .payload = e->payload };
	return slice_is(e->ns, NS_CLIENT) &&
	    stanza_classify(e->name, e->type, &f->kind, &f->subtype) == OK &&
	    f->kind != STANZA_NONE;
}

static void
check_again(const struct element *e, bool strips)
{
	struct element again = { 0 };
	struct buf first = { 0 }, second = { 0 };
	struct xml_stream *stream;
	const char *condition;
	struct frame f, g;

	if (!frame_of(e, &f))
		return;
	/* The parser leaves addresses as they came: inbound.c prepares them. */
	g = f;
	g.from = g.to = SLICE_NONE;
	CHECK(stanza_is_canonical(&g));
	stanza_write(&f, SLICE_NONE, SLICE_NONE, &first);
	stream = stream_new(strips, &again);
	CHECK(xml_stream_feed(stream, buf_slice(&first), &condition) == OK && again.came);
	xml_stream_free(&stream);
	CHECK(slice_equal(again.payload, e->payload) && slice_equal(again.from, e->from) &&
	    slice_equal(again.to, e->to) && slice_equal(again.id, e->id) &&
	    slice_equal(again.lang, e->lang) && slice_equal(again.name, e->name));
	CHECK(frame_of(&again, &g) && g.kind == f.kind && g.subtype == f.subtype);
	stanza_write(&g, SLICE_NONE, SLICE_NONE, &second);
	CHECK(slice_equal(buf_slice(&first), buf_slice(&second)));
	element_clear(&again);
	buf_free(&first);
	buf_free(&second);
}

/* Reads a payload with xmlin, all elements below one another. */
static void
check_xmlin(struct slice content, struct slice ns)
{
	struct xmlin_element e;
	struct buf scratch = { 0 };
	struct slice text;
	struct xmlin in;

	xmlin_begin(&in, content, ns);
	while (xmlin_child(&in, &e)) {
		CHECK(xmlin_text(&e, &scratch, &text) == OK);
		check_xmlin(e.content, e.ns);
	}
	CHECK(in.error == OK && in.rest.len == 0);
	buf_free(&scratch);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz f = fuzz_begin(data, size);
	bool strips = (fuzz_byte(&f) & 1) == 0;
	struct element e = { 0 };
	struct xml_stream *stream = stream_new(strips, &e);
	const char *begin = (const char *)f.at, *condition;
	struct buf ns = { 0 };
	int error = OK;

	/* A byte at a time, so that it is known where each element ends. */
	while (fuzz_left(&f) != 0 && error == OK) {
		error = xml_stream_feed(stream, fuzz_take(&f, 1), &condition);
		if (!e.came)
			continue;
		check_libxml(&e, slice_of(begin, (size_t)((const char *)f.at - begin)), strips);
		buf_clear(&ns);
		buf_add_char(&ns, '=');
		add_escaped(&ns, e.ns.ptr, true); /* as it stands in canonical XML */
		check_xmlin(e.payload, slice_part(buf_slice(&ns), 1, buf_len(&ns)));
		check_again(&e, strips);
		element_clear(&e);
		begin = (const char *)f.at;
	}
	xml_stream_free(&stream);
	buf_free(&ns);
	return 0;
}
