/*
 * fuzz_xmlin.c: the reader of canonical XML against its writer, and against libxml2.
 *
 * Options: -max_len=4096
 *
 * Input: a byte of choice, then a payload, or (odd choice) instructions to the writer.
 * Asserts: a payload that xmlin takes is well-formed to libxml2's tree parser; it passes through
 * the XML entry unchanged; written anew, element by element, it comes out byte for byte; a frame
 * with it is canonical and written to a stream as it is. What the writer was told to write is read.
 */
#include "fuzz.h"

#include <libxml/parser.h>
#include <libxml/tree.h>

#include "ns.h"
#include "stanza.h"
#include "xml.h"
#include "xmlchar.h"
#include "xmlin.h"
#include "xmlout.h"

#define HEADER "<s:s xmlns='jabber:client' xmlns:s='http://etherx.jabber.org/streams'>"

static const struct xml_limits limits = { 1u << 20, 64, 256, 100000, false };

/* -- written anew ------------------------------------------------------------------------------ */

static void write_content(struct slice content, struct slice ns, unsigned depth, struct buf *out);

/* One attribute off the front of a head; false at its end. The name is with its prefix. */
static bool
attribute_next(struct slice *head, struct slice *name)
{
	const char *equals, *quote;

	if (head->len == 0)
		return false;
	equals = memchr(head->ptr, '=', head->len);
	CHECK(*head->ptr == ' ' && equals != NULL && equals[1] == '\'');
	*name = slice_part(*head, 1, (size_t)(equals - head->ptr) - 1);
	quote = memchr(equals + 2, '\'', (size_t)(head->ptr + head->len - equals) - 2);
	CHECK(quote != NULL);
	*head = slice_part(*head, (size_t)(quote + 1 - head->ptr), head->len);
	return true;
}

static void
write_element(const struct xmlin_element *e, struct slice parent, unsigned depth, struct buf *out)
{
	char *name = slice_dup(e->name), *attribute;
	struct slice head = e->head, found, value;
	struct buf scratch = { 0 };

	/* The namespace is as it was written; xml_open() escapes. */
	CHECK(xmlin_attribute(e, "xmlns", &scratch, &value) == E_NOT_FOUND);
	buf_add_char(out, '<');
	buf_add_slice(out, e->name);
	if (!slice_equal(e->ns, parent)) {
		buf_printf(out, " xmlns='%.*s'", SLICE_ARG(e->ns));
		CHECK(attribute_next(&head, &found) && slice_is(found, "xmlns"));
	}
	while (attribute_next(&head, &found)) {
		attribute = slice_dup(found);
		buf_clear(&scratch);
		CHECK(xmlin_attribute(e, attribute, &scratch, &value) == OK && value.ptr != NULL);
		xml_add_attribute(out, attribute, value);
		free(attribute);
	}
	if (e->content.len == 0) {
		buf_add_string(out, "/>");
	} else {
		buf_add_char(out, '>');
		write_content(e->content, e->ns, depth + 1, out);
		buf_add_string(out, "</");
		buf_add_string(out, name);
		buf_add_char(out, '>');
	}
	free(name);
	buf_free(&scratch);
}

/* All elements, and the text between them. */
static void
write_content(struct slice content, struct slice ns, unsigned depth, struct buf *out)
{
	struct xmlin_element e, text_only = { .ns = ns };
	struct buf scratch = { 0 };
	const char *at = content.ptr;
	struct slice text;
	struct xmlin in;

	CHECK(depth <= XMLIN_DEPTH_MAX);
	xmlin_begin(&in, content, ns);
	while (xmlin_child(&in, &e)) {
		CHECK(e.whole.ptr >= at && e.name.len != 0);
		text_only.content = slice_of(at, (size_t)(e.whole.ptr - at));
		CHECK(xmlin_text(&text_only, &scratch, &text) == OK);
		xml_add_text(out, text);
		write_element(&e, ns, depth, out);
		at = e.whole.ptr + e.whole.len;
		buf_clear(&scratch);
	}
	CHECK(in.error == OK);
	text_only.content = slice_of(at, (size_t)(content.ptr + content.len - at));
	CHECK(xmlin_text(&text_only, &scratch, &text) == OK);
	xml_add_text(out, text);
	buf_free(&scratch);
}

/* -- through the entry ------------------------------------------------------------------------- */

static void
on_header(void *arg, const struct xml_header *h)
{
	(void)arg;
	(void)h;
}

static void
on_element(void *arg, const struct xml_element *e)
{
	struct buf *out = arg;

	buf_add_slice(out, e->payload);
}

static void
on_end(void *arg)
{
	(void)arg;
	CHECK(false);
}

static const struct xml_events events = { on_header, on_element, on_end };

/* The payload, in an element so that its text is kept, is what the entry makes of it. Its depth and
 * the number of attributes may be beyond what may enter. */
static void
check_entry(struct slice payload)
{
	struct buf in = { 0 }, out = { 0 }, expected = { 0 };
	const char *condition = NULL;
	struct xml_stream *stream = xml_stream_new(&limits, NULL, &events, &out);
	int error;

	buf_printf(&expected, payload.len != 0 ? "<x>%.*s</x>" : "<x/>", SLICE_ARG(payload));
	buf_add_string(&in, HEADER "<message>");
	buf_add_slice(&in, buf_slice(&expected));
	buf_add_string(&in, "</message>");
	error = xml_stream_feed(stream, buf_slice(&in), &condition);
	if (error == E_TOO_BIG)
		CHECK(payload.len > 64 * strlen("<a>"));
	else
		CHECK(error == OK && slice_equal(buf_slice(&out), buf_slice(&expected)));
	xml_stream_free(&stream);
	buf_free(&in);
	buf_free(&out);
	buf_free(&expected);
}

static void
check_libxml(struct slice payload)
{
	struct buf in = { 0 };
	xmlDocPtr doc;

	buf_printf(&in, "<x xmlns='" NS_CLIENT "'>%.*s</x>", SLICE_ARG(payload));
	doc = xmlReadMemory(buf_slice(&in).ptr, (int)buf_len(&in), NULL, NULL,
	    XML_PARSE_NONET | XML_PARSE_NOERROR | XML_PARSE_NOWARNING);
	CHECK(doc != NULL);
	xmlFreeDoc(doc);
	xmlResetLastError();
	buf_free(&in);
}

static void
check_stanza(struct slice payload)
{
	struct frame f = { .type = FRAME_STANZA, .kind = STANZA_MESSAGE, .subtype = TYPE_CHAT,
		.payload = payload, .from = SLICE("romeo@montague.example"), .id = SLICE("'<&>") };
	struct xmlin_element e;
	struct buf out = { 0 };
	struct xmlin in;

	stanza_write(&f, SLICE("juliet@capulet.example"), SLICE_NONE, &out);
	CHECK(payload.len == 0 || memmem(buf_slice(&out).ptr, buf_len(&out), payload.ptr,
	    payload.len) != NULL);
	xmlin_begin(&in, buf_slice(&out), SLICE(NS_CLIENT));
	while (xmlin_child(&in, &e))
		;
	CHECK(in.error != E_MALFORMED); /* it is deeper by one */
	buf_free(&out);
}

/* Looks for things in it that may not be there; nothing of it fails. */
static void
look(struct slice payload)
{
	struct xmlin_element e;
	struct buf scratch = { 0 };
	struct slice value;

	if (xmlin_find(payload, SLICE(NS_CLIENT), "x", "a", &e))
		CHECK(slice_is(e.name, "x") && slice_is(e.ns, "a"));
	if (xmlin_find(payload, SLICE(NS_CLIENT), "query", NS_CLIENT, &e))
		xmlin_attribute(&e, "a", &scratch, &value);
	buf_free(&scratch);
}

static void
check_payload(struct slice payload)
{
	struct frame f = { .type = FRAME_STANZA, .payload = payload };
	bool valid = xmlin_valid(payload, SLICE(NS_CLIENT));
	struct buf out = { 0 };

	CHECK(stanza_is_canonical(&f) == valid);
	look(payload);
	if (!valid || memchr(payload.ptr, '\0', payload.len) != NULL) {
		CHECK(!valid);
		return;
	}
	write_content(payload, SLICE(NS_CLIENT), 0, &out);
	CHECK(slice_equal(buf_slice(&out), payload));
	check_libxml(payload);
	check_entry(payload);
	check_stanza(payload);
	buf_free(&out);
}

/* -- the writer -------------------------------------------------------------------------------- */

#define DEPTH 8

static const char *const names[] = { "a", "body", "x-y.z", "\xC3\xA9l\xC3\xA9ment" };
static const char *const namespaces[] = { NS_CLIENT, "a", "urn:x&y", "it's <here>" };

/* Text that may be written, or empty. */
static struct slice
text_of(struct fuzz *f)
{
	struct slice text = fuzz_until(f, 0xFF);
	struct xmlchar chars = { 0 };

	return xmlchar_check(&chars, text) && chars.need == 0 ? text : SLICE("");
}

static void
open_element(struct fuzz *f, uint8_t what, struct slice parent, struct slice *ns, struct buf *out)
{
	*ns = slice_string(namespaces[what / 4 % 4]);
	xml_open(out, names[what % 4], slice_equal(*ns, parent) ? SLICE_NONE : *ns);
	if (what & 0x10)
		xml_add_attribute(out, "one", text_of(f));
	if (what & 0x20)
		xml_add_attribute(out, "xml:lang", text_of(f));
	if (what & 0x40)
		xml_add_attribute(out, "none", SLICE_NONE);
}

/* Writes what the input says, and has it read. */
static void
check_writer(struct fuzz *f)
{
	struct slice ns[DEPTH + 1] = { SLICE(NS_CLIENT) }, text;
	const char *name[DEPTH + 1];
	struct buf out = { 0 };
	unsigned depth = 0;
	uint8_t what;

	while (fuzz_left(f) != 0) {
		what = fuzz_byte(f);
		if (what < 0x80 && depth < DEPTH) {
			name[depth + 1] = names[what % 4];
			open_element(f, what, ns[depth], &ns[depth + 1], &out);
			depth++;
			/* Not empty: the writer's own way to write that is xml_add_element(). */
			buf_add_string(&out, ">.");
		} else if (what < 0xA0) {
			xml_add_element(&out, names[what % 4], text_of(f));
		} else if (what < 0xC0 && depth != 0) {
			buf_printf(&out, "</%s>", name[depth--]);
		} else {
			text = text_of(f);
			xml_add_text(&out, text);
		}
	}
	while (depth != 0)
		buf_printf(&out, "</%s>", name[depth--]);
	CHECK(xmlin_valid(buf_slice(&out), SLICE(NS_CLIENT)));
	text = fuzz_copy(buf_slice(&out));
	check_payload(text);
	fuzz_free(text);
	buf_free(&out);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz f = fuzz_begin(data, size);
	struct slice payload;

	if ((fuzz_byte(&f) & 1) != 0) {
		check_writer(&f);
		return 0;
	}
	payload = fuzz_copy(fuzz_take(&f, fuzz_left(&f)));
	check_payload(payload);
	fuzz_free(payload);
	return 0;
}
