/*
 * test_xmlin.c: the reader of canonical XML accepts what is canonical and nothing else, and what
 * xml.c makes of a random document is canonical and says the same as the document.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include <libxml/parser.h>
#include <libxml/tree.h>

#include "error.h"
#include "xml.h"
#include "xmlin.h"
#include "xmlout.h"

#define NS SLICE("jabber:client")

static void
test_valid(void **state)
{
	static const char *const good[] = {
		"", "text", "<a/>", "<a/>text<b>x</b>", "<a xmlns='x'><b/></a>", "<a xmlns=''/>",
		"<a xmlns='x'><b xmlns='jabber:client'/></a>", "<a b='' c='\"&amp;&lt;&gt;&apos;&#x9;&#xA;&#xD;'/>",
		"a\n\t&amp;&lt;&gt;&#xD;'\"", "<a xml:lang='de'/>", "<a xmlns:ns1='u' ns1:b='1' b='2'/>",
		"<a xmlns='x' xmlns:ns1='x' xmlns:ns2='y' ns1:a='' ns2:a='' ns1:b=''/>",
		"<a-b.c_1/>", "<\xC3\xBC/>", "<a>\xE2\x82\xAC</a>", "<a><b><c/></b>x<d/></a>",
	};
	static const char *const bad[] = {
		"<", "<a", "<a>", "<a/", "</a>", "<a></a>", "<a/><", "<a ></a>", "<a />", "<a>x</a >",
		"<a>x</b>", "<a>x</aa>", "<a><b>x</a></b>", "<1/>", "<a:b/>", "<a b=\"1\"/>", "<a b='1'  c='2'/>",
		"<a b='1'c='2'/>", "<a b = '1'/>", "<a b/>", "<a b='<'/>", "<a b='>'/>", "<a b='&'/>",
		"<a b='\n'/>", "<a b='\t'/>", "<a b='\r'/>", "<a b='&quot;'/>", "<a b='&#xd;'/>", "<a b='&#13;'/>",
		"<a b='1' b='2'/>", "a>b", "a&b", "a&apos;b", "a&#xA;b", "a&quot;b", "a\rb", "a\x01", "a\xC0\xAF",
		"\xED\xA0\x80", "\xEF\xBF\xBF", "\xE2\x82", "<!-- -->", "<?a?>", "<![CDATA[x]]>", "<!DOCTYPE a>",
		"<a xmlns='jabber:client'/>", "<a xmlns='x'><b xmlns='x'/></a>", "<a b='1' xmlns='x'/>",
		"<a xmlns='x' xmlns='y'/>", "<a xmlns:ns1='u'/>", "<a xmlns:ns2='u' ns2:b=''/>",
		"<a xmlns:ns1='u' xmlns:ns2='u' ns1:b='' ns2:c=''/>", "<a ns1:b=''/>", "<a xmlns:x='u' x:b=''/>",
		"<a xmlns:ns1='u' xmlns:ns2='v' ns2:b='' ns1:b=''/>", "<a xmlns:ns1='' ns1:b=''/>",
		"<a xmlns:ns01='u' ns01:b=''/>", "<a ns0:b=''/>", "<a xmlns:ns1='u' ns1:b='' ns1:b=''/>",
		"<a xml:='x'/>", "<a xml:a:b='x'/>", "<a xmlns:ns1='http://www.w3.org/XML/1998/namespace' ns1:a=''/>",
		"<a xmlns='http://www.w3.org/XML/1998/namespace'/>", "<a xmlns:ns1='u'><b ns1:c=''/></a>",
	};
	size_t i;

	(void)state;
	for (i = 0; i < sizeof good / sizeof good[0]; i++)
		if (!xmlin_valid(slice_string(good[i]), NS))
			fail_msg("refused: %s", good[i]);
	for (i = 0; i < sizeof bad / sizeof bad[0]; i++)
		if (xmlin_valid(slice_string(bad[i]), NS))
			fail_msg("accepted: %s", bad[i]);
	assert_false(xmlin_valid(SLICE("a\0b"), NS));
	assert_false(xmlin_valid(SLICE("<a xmlns=''/>"), SLICE_NONE));
	assert_true(xmlin_valid(SLICE_NONE, SLICE_NONE));
}

static void
test_depth(void **state)
{
	struct xmlin_element element;
	struct buf b = { 0 };
	struct xmlin in;
	int depth, i;

	(void)state;
	for (depth = XMLIN_DEPTH_MAX; depth <= 100000; depth += depth < 70 ? 1 : 99930) {
		buf_clear(&b);
		for (i = 0; i < depth; i++)
			buf_add_string(&b, "<a>");
		buf_add_string(&b, "x");
		for (i = 0; i < depth; i++)
			buf_add_string(&b, "</a>");
		xmlin_begin(&in, buf_slice(&b), NS);
		assert_int_equal(xmlin_child(&in, &element), depth <= XMLIN_DEPTH_MAX);
		assert_int_equal(in.error, depth <= XMLIN_DEPTH_MAX ? OK : E_TOO_BIG);
	}
	buf_clear(&b);
	buf_add_string(&b, "<a");
	for (i = 0; i < 257; i++)
		buf_printf(&b, " a%d=''", i);
	buf_add_string(&b, "/>");
	assert_false(xmlin_valid(buf_slice(&b), NS));
	buf_free(&b);
}

static void
test_read(void **state)
{
	struct slice s = SLICE("x<query xmlns='q' node='a&amp;b' xml:lang='en'><item jid='j'/>t&lt;"
	    "<item jid='k'/>u</query>y<body>plain</body><e/>");
	struct buf one = { 0 }, two = { 0 };
	struct xmlin_element e, item;
	struct xmlin in, items;
	struct slice value;

	(void)state;
	xmlin_begin(&in, s, NS);
	assert_true(xmlin_child(&in, &e));
	assert_true(slice_is(e.name, "query"));
	assert_true(slice_is(e.ns, "q"));
	assert_true(slice_starts(e.whole, SLICE("<query")));
	assert_true(slice_is(slice_part(e.whole, e.whole.len - 9, 9), "u</query>"));
	assert_int_equal(xmlin_attribute(&e, "node", &one, &value), OK);
	assert_true(slice_is(value, "a&b"));
	assert_int_equal(xmlin_attribute(&e, "xml:lang", &two, &value), OK);
	assert_true(slice_is(value, "en"));
	assert_int_equal(buf_len(&two), 0);
	assert_int_equal(xmlin_attribute(&e, "xmlns", &two, &value), E_NOT_FOUND);
	assert_int_equal(xmlin_attribute(&e, "lang", &two, &value), E_NOT_FOUND);
	assert_null(value.ptr);
	assert_int_equal(xmlin_text(&e, &two, &value), OK);
	assert_true(slice_is(value, "t<u"));
	xmlin_begin(&items, e.content, e.ns);
	assert_true(xmlin_child(&items, &item));
	assert_true(slice_is(item.ns, "q"));
	assert_true(slice_is(item.content, ""));
	assert_true(xmlin_child(&items, &item));
	assert_int_equal(xmlin_attribute(&item, "jid", &two, &value), OK);
	assert_true(slice_is(value, "k"));
	assert_false(xmlin_child(&items, &item));
	assert_int_equal(items.error, OK);
	assert_true(xmlin_child(&in, &e));
	buf_clear(&two);
	assert_int_equal(xmlin_text(&e, &two, &value), OK);
	assert_true(slice_is(value, "plain"));
	assert_int_equal(buf_len(&two), 0);
	assert_true(xmlin_child(&in, &e));
	assert_int_equal(xmlin_text(&e, &two, &value), OK);
	assert_int_equal(value.len, 0);
	assert_false(xmlin_child(&in, &e));
	assert_false(xmlin_child(&in, &e));
	assert_true(xmlin_find(s, NS, "body", "jabber:client", &e));
	assert_true(slice_is(e.content, "plain"));
	assert_false(xmlin_find(s, NS, "query", "jabber:client", &e));
	xmlin_begin(&in, SLICE("<a/>x<b"), NS);
	assert_true(xmlin_child(&in, &e));
	assert_false(xmlin_child(&in, &e));
	assert_int_equal(in.error, E_MALFORMED);
	assert_false(xmlin_child(&in, &e));
	buf_free(&one);
	buf_free(&two);
}

static void
test_write(void **state)
{
	struct buf b = { 0 };

	(void)state;
	xml_open(&b, "a", SLICE("u&v"));
	xml_add_attribute(&b, "b", SLICE("<'\">\t\r\n&"));
	xml_add_attribute(&b, "c", SLICE_NONE);
	xml_add_attribute(&b, "d", SLICE(""));
	buf_add_string(&b, ">");
	xml_add_text(&b, SLICE("<'\">\t\r\n&"));
	xml_add_element(&b, "e", SLICE("f"));
	xml_add_element(&b, "g", SLICE_NONE);
	buf_add_string(&b, "</a>");
	assert_true(slice_is(buf_slice(&b), "<a xmlns='u&amp;v' b='&lt;&apos;\"&gt;&#x9;&#xD;&#xA;&amp;' d=''>"
	    "&lt;'\"&gt;\t&#xD;\n&amp;<e>f</e><g/></a>"));
	assert_true(xmlin_valid(buf_slice(&b), NS));
	buf_free(&b);
}

/* -- random documents ------------------------------------------------------------------------------- */

#define HEADER                                                                                   \
	"<stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams' "  \
	"xmlns:h='urn:h&amp;'>"

static uint64_t seed = 88172645463325252u;

static unsigned
dice(unsigned n)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return (unsigned)(seed >> 33) % n;
}

static void
add_value(struct buf *b, char quote)
{
	static const char *const bits[] = {
		"a", "b c", "&amp;", "&lt;", "&gt;", ">", "/>", "=", "&#13;", "&#xA;", "&#9;", "\n", "\t", "\r\n",
		"\xC3\xBC", "\xE2\x82\xAC", "\xF0\x9F\x9A\xA2", "&quot;", "&apos;", "&#38;", "&amp;amp;", "]]", "&#x1F6A2;",
	};
	unsigned n = dice(5);

	while (n-- > 0)
		buf_add_string(b, bits[dice(sizeof bits / sizeof bits[0])]);
	if (dice(4) == 0)
		buf_add_char(b, quote == '"' ? '\'' : '"');
}

static void
add_text(struct buf *b)
{
	static const char *const bits[] = {
		"text", " ", "\n", "\r\n", "\r", "&amp;", "&lt;", "&gt;", "&#13;", "<![CDATA[]]>", "'", "\"", "]]",
		"<![CDATA[<a b='&amp;'>]]>", "<![CDATA[]]]]>", "\xC3\xBC", "\xF0\x9F\x9A\xA2", "&#65;", "]x>",
	};
	unsigned n = dice(4);

	while (n-- > 0) {
		buf_add_string(b, bits[dice(sizeof bits / sizeof bits[0])]);
		buf_add_char(b, '.');
	}
}

static void
add_element(struct buf *b, unsigned depth)
{
	static const char *const names[] = { "a", "b", "p:a", "q:c", "h:d", "stream:e", "x.y-z", "\xC3\xBC" };
	static const char *const attributes[] = { "m", "n", "p:m", "q:m", "xml:lang", "h:m", "p:n" };
	static const char *const uris[] = { "urn:1", "urn:2", "jabber:client", "u&amp;v", "urn:3" };
	const char *name = names[dice(sizeof names / sizeof names[0])];
	unsigned i, n = dice(4);

	/* p and q are always bound to different names, so that no attribute is there twice */
	buf_printf(b, "<%s xmlns:p='%s'%s xmlns:q=\"%s\"", name, uris[dice(2)], dice(2) ? " " : "\n",
	    uris[2 + dice(3)]);
	if (dice(3) == 0)
		buf_printf(b, " xmlns='%s'", dice(5) == 0 ? "" : uris[dice(5)]);
	for (i = 0; i < sizeof attributes / sizeof attributes[0]; i++)
		if (dice(4) == 0) {
			char quote = dice(2) ? '"' : '\'';

			buf_printf(b, " %s%s=%s%c", attributes[i], dice(9) ? "" : " ", dice(9) ? "" : "\t", quote);
			add_value(b, quote);
			buf_add_char(b, quote);
		}
	if (dice(4) == 0) {
		buf_add_string(b, dice(2) ? "/>" : " />");
		return;
	}
	buf_add_char(b, '>');
	while (depth < 6 && n-- > 0) {
		add_text(b);
		add_element(b, depth + 1);
	}
	add_text(b);
	buf_printf(b, "</%s%s>", name, dice(5) ? "" : " ");
}

static void
on_header(void *arg, const struct xml_header *header)
{
	(void)arg;
	(void)header;
}

static void
on_element(void *arg, const struct xml_element *element)
{
	struct buf *payload = arg;

	assert_true(xmlin_valid(element->payload, element->ns));
	if (payload->room == 0 || buf_len(payload) == 0) {
		buf_add_string(payload, "<w xmlns='");
		xml_add_value(payload, element->ns);
		buf_add_string(payload, "'>");
		buf_add_slice(payload, element->payload);
		buf_add_string(payload, "</w>");
	}
}

static void
on_end(void *arg)
{
	(void)arg;
}

/* Reads a document in random pieces. */
static int
feed(struct slice document, struct buf *payload)
{
	static const struct xml_limits limits = { 1 << 20, 30, 60, 5000, false };
	static const struct xml_events events = { on_header, on_element, on_end };
	struct xml_stream *stream = xml_stream_new(&limits, NULL, &events, payload);
	unsigned most = 1 + dice(2) * 4 + dice(2) * 300 + dice(2) * 6000;
	const char *condition;
	int error = OK;

	while (document.len != 0 && error == OK) {
		struct slice piece = slice_part(document, 0, 1 + dice(most));

		error = xml_stream_feed(stream, piece, &condition);
		document = slice_part(document, piece.len, document.len);
	}
	if (error == OK && xml_stream_busy(stream))
		error = E_AGAIN;
	xml_stream_free(&stream);
	return error;
}

static xmlDocPtr
tree(struct slice s)
{
	return xmlReadMemory(s.ptr, (int)s.len, NULL, "UTF-8",
	    XML_PARSE_NOENT | XML_PARSE_NOCDATA | XML_PARSE_NONET | XML_PARSE_NOERROR |
	    XML_PARSE_NOWARNING);
}

/* Writes down what a tree says; top: text directly within is not said. */
static void
say(const xmlNode *node, struct buf *out, bool top)
{
	const xmlAttr *a;

	for (; node != NULL; node = node->next) {
		if (node->type == XML_TEXT_NODE || node->type == XML_CDATA_SECTION_NODE) {
			if (!top)
				buf_add_string(out, (const char *)node->content);
			continue;
		}
		assert_int_equal(node->type, XML_ELEMENT_NODE);
		buf_printf(out, "\x01{%s}%s", node->ns != NULL ? (const char *)node->ns->href : "",
		    (const char *)node->name);
		for (a = node->properties; a != NULL; a = a->next) {
			xmlChar *value = xmlNodeListGetString(node->doc, a->children, 1);

			buf_printf(out, "\x02{%s}%s=%s", a->ns != NULL ? (const char *)a->ns->href : "",
			    (const char *)a->name, value != NULL ? (const char *)value : "");
			xmlFree(value);
		}
		buf_add_char(out, '\x03');
		say(node->children, out, false);
		buf_add_char(out, '\x04');
	}
}

static void
make_document(struct buf *document)
{
	buf_clear(document);
	buf_add_string(document, HEADER "<message id='1'>");
	add_element(document, 0);
	add_text(document);
	add_element(document, 0);
	buf_add_string(document, "</message></stream:stream>");
}

static void
test_differential(void **state)
{
	struct buf document = { 0 }, payload = { 0 }, a = { 0 }, b = { 0 };
	xmlDocPtr before, after;
	unsigned i;

	(void)state;
	for (i = 0; i < 3000; i++) {
		make_document(&document);
		buf_clear(&payload);
		buf_clear(&a);
		buf_clear(&b);
		if (feed(buf_slice(&document), &payload) != OK)
			fail_msg("refused: %.*s", SLICE_ARG(buf_slice(&document)));
		before = tree(buf_slice(&document));
		after = tree(buf_slice(&payload));
		assert_non_null(before);
		assert_non_null(after);
		say(xmlDocGetRootElement(before)->children->children, &a, true);
		say(xmlDocGetRootElement(after)->children, &b, false);
		if (!slice_equal(buf_slice(&a), buf_slice(&b)))
			fail_msg("%.*s\nbecame\n%.*s\nsaying\n%.*s\nnot\n%.*s", SLICE_ARG(buf_slice(&document)),
			    SLICE_ARG(buf_slice(&payload)), SLICE_ARG(buf_slice(&b)), SLICE_ARG(buf_slice(&a)));
		xmlFreeDoc(before);
		xmlFreeDoc(after);
	}
	buf_free(&document);
	buf_free(&payload);
	buf_free(&a);
	buf_free(&b);
}

/* What has been damaged is refused, or a well-formed document still. */
static void
test_damage(void **state)
{
	static const char bytes[] = "<>&'\"/=! ;:]x\xC3\x80";
	struct buf document = { 0 }, payload = { 0 };
	unsigned i, n, accepted = 0;
	xmlDocPtr doc;

	(void)state;
	for (i = 0; i < 6000; i++) {
		struct buf *hurt = i % 2 ? &document : &payload;
		struct slice s;

		if (i % 8 < 2) {
			make_document(&document);
			buf_clear(&payload);
			assert_int_equal(feed(buf_slice(&document), &payload), OK);
		}
		for (n = 1 + dice(2); n > 0; n--)
			hurt->bytes[hurt->start + dice((unsigned)buf_len(hurt))] =
			    bytes[dice(sizeof bytes - 1)];
		s = buf_slice(hurt);
		if (hurt == &payload) {
			if (!xmlin_valid(s, SLICE("none")))
				continue;
		} else {
			struct buf again = { 0 };
			int error = feed(s, &again);

			buf_free(&again);
			if (error != OK)
				continue;
		}
		accepted++;
		doc = tree(s);
		if (doc == NULL && !(hurt == &document && memmem(s.ptr, s.len, "</stream:stream>", 16) == NULL))
			fail_msg("accepted: %.*s", SLICE_ARG(s));
		xmlFreeDoc(doc);
	}
	assert_true(accepted > 100);
	buf_free(&document);
	buf_free(&payload);
}

int
main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_valid),
		cmocka_unit_test(test_depth),
		cmocka_unit_test(test_read),
		cmocka_unit_test(test_write),
		cmocka_unit_test(test_differential),
		cmocka_unit_test(test_damage),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
