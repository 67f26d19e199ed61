/*
 * test_xml.c: the XML entry: what goes in well-formed comes out canonical, whatever the pieces it
 * comes in, and everything else is refused with its condition.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include <cmocka.h>

#include "error.h"
#include "mem.h"
#include "ns.h"
#include "xml.h"
#include "xmlin.h"

#define HEADER                                                                                   \
	"<stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams' "  \
	"to='a.example' version='1.0'>"

#define SPACES_60 "                                                            "

static const struct xml_limits limits = { 65536, 16, 32, 500, false };

static const struct slice strip[] = {
	{ NS_SID, sizeof NS_SID - 1 }, { NS_CARBONS, sizeof NS_CARBONS - 1 }, { NULL, 0 },
};

/* A stream and everything it said, as text. */
struct reader {
	struct xml_stream *stream;
	struct buf log;
	struct xml_element last;
	unsigned headers, elements, ends;
	unsigned stop_at, restart_at; /* number of the element at which to */
	bool restart_header;
	const char *condition;
	int error;
};

static void
on_header(void *arg, const struct xml_header *h)
{
	struct reader *r = arg;

	r->headers++;
	buf_printf(&r->log, "H %.*s %.*s %.*s to=%.*s from=%.*s id=%.*s v=%.*s lang=%.*s\n",
	    SLICE_ARG(h->name), SLICE_ARG(h->ns), SLICE_ARG(h->content_ns), SLICE_ARG(h->to),
	    SLICE_ARG(h->from), SLICE_ARG(h->id), SLICE_ARG(h->version), SLICE_ARG(h->lang));
}

static void
on_element(void *arg, const struct xml_element *e)
{
	struct reader *r = arg;
	unsigned i;

	r->elements++;
	r->last = *e;
	assert_non_null(e->payload.ptr);
	assert_true(xmlin_valid(e->payload, e->ns));
	if (r->stop_at == r->elements)
		xml_stream_stop(r->stream);
	if (r->restart_at == r->elements)
		xml_stream_restart(r->stream);
	buf_printf(&r->log, "E %.*s {%.*s}", SLICE_ARG(e->name), SLICE_ARG(e->ns));
	if (e->from.ptr != NULL)
		buf_printf(&r->log, " from=%.*s", SLICE_ARG(e->from));
	if (e->to.ptr != NULL)
		buf_printf(&r->log, " to=%.*s", SLICE_ARG(e->to));
	if (e->id.ptr != NULL)
		buf_printf(&r->log, " id=%.*s", SLICE_ARG(e->id));
	if (e->type.ptr != NULL)
		buf_printf(&r->log, " type=%.*s", SLICE_ARG(e->type));
	if (e->lang.ptr != NULL)
		buf_printf(&r->log, " lang=%.*s", SLICE_ARG(e->lang));
	for (i = 0; i < e->attributes; i++)
		buf_printf(&r->log, " (%.*s=%.*s)", SLICE_ARG(e->attribute[i].name),
		    SLICE_ARG(e->attribute[i].value));
	buf_printf(&r->log, " text=%.*s child=%.*s {%.*s}", SLICE_ARG(e->text), SLICE_ARG(e->child_name),
	    SLICE_ARG(e->child_ns));
	if (e->child_node.ptr != NULL)
		buf_printf(&r->log, " node=%.*s", SLICE_ARG(e->child_node));
	buf_printf(&r->log, " n=%u p=%d f=%x: ", e->children, e->priority, (unsigned)e->flags);
	buf_add_slice(&r->log, e->payload);
	buf_add_char(&r->log, '\n');
}

static void
on_end(void *arg)
{
	struct reader *r = arg;

	r->ends++;
	buf_add_string(&r->log, "end\n");
}

static const struct xml_events events = { on_header, on_element, on_end };

static void
reader_begin(struct reader *r, const struct xml_limits *l)
{
	*r = (struct reader){ .stream = xml_stream_new(l, strip, &events, r) };
	xml_stream_set_domain(r->stream, SLICE("a.example"));
}

/* Feeds a copy of exactly the length, so that a sanitizer sees a read beyond it. */
static void
reader_feed(struct reader *r, struct slice bytes, size_t piece)
{
	while (bytes.len != 0 && r->error == 0) {
		struct slice part = slice_part(bytes, 0, piece);
		char *copy = mem_copy(part.ptr, part.len);

		r->error = xml_stream_feed(r->stream, slice_of(copy, part.len), &r->condition);
		free(copy);
		bytes = slice_part(bytes, part.len, bytes.len);
	}
}

static void
reader_end(struct reader *r)
{
	xml_stream_free(&r->stream);
	buf_free(&r->log);
}

static const size_t pieces[] = { SIZE_MAX, 1, 2, 3, 7, 64 };
#define PIECES (sizeof pieces / sizeof pieces[0])

/* Input is refused with a condition, however it is cut. */
static void
refuse_with(struct slice input, const char *condition, const struct xml_limits *l)
{
	size_t i;

	for (i = 0; i < PIECES; i++) {
		struct reader r;

		reader_begin(&r, l);
		reader_feed(&r, input, pieces[i]);
		if (r.error == 0 || strcmp(r.condition, condition) != 0)
			fail_msg("%.*s in pieces of %zu: %s instead of %s", (int)(input.len < 300 ?
			    input.len : 300), input.ptr, pieces[i], r.condition ? r.condition : "accepted",
			    condition);
		assert_int_equal(xml_stream_memory(r.stream), 0);
		/* Nothing more is read. */
		reader_feed(&r, SLICE("<message/>"), SIZE_MAX);
		assert_int_not_equal(xml_stream_feed(r.stream, SLICE("<a/>"), &r.condition), 0);
		assert_string_equal(r.condition, condition);
		reader_end(&r);
	}
}

static void
refuse(const char *input, const char *condition)
{
	refuse_with(slice_string(input), condition, &limits);
}

/* Input says this, however it is cut. */
static void
expect_slice(struct slice input, const char *log)
{
	size_t i;

	for (i = 0; i < PIECES; i++) {
		struct reader r;

		reader_begin(&r, &limits);
		reader_feed(&r, input, pieces[i]);
		if (r.error != 0)
			fail_msg("%.*s: %s (pieces of %zu)", SLICE_ARG(input), r.condition, pieces[i]);
		buf_add_char(&r.log, '\0');
		assert_string_equal(r.log.bytes + r.log.start, log);
		if (!xml_stream_busy(r.stream))
			assert_int_equal(xml_stream_memory(r.stream), 0);
		reader_end(&r);
	}
}

/* A stanza's payload in canonical form. */
static void
canonical(const char *stanza, const char *payload)
{
	struct buf input = { 0 };
	size_t i;

	buf_printf(&input, HEADER "%s", stanza);
	for (i = 0; i < PIECES; i++) {
		struct slice log;
		struct reader r;
		const char *at;

		reader_begin(&r, &limits);
		reader_feed(&r, buf_slice(&input), pieces[i]);
		if (r.error != 0)
			fail_msg("%s: %s (pieces of %zu)", stanza, r.condition, pieces[i]);
		assert_int_equal(r.elements, 1);
		buf_truncate(&r.log, buf_len(&r.log) - 1);
		log = buf_slice(&r.log);
		at = memmem(log.ptr, log.len, ": <", 3);
		at = at != NULL ? at + 2 : log.ptr + log.len;
		buf_add_char(&r.log, '\0');
		at = r.log.bytes + (at - log.ptr);
		assert_string_equal(at, payload);
		reader_end(&r);
	}
	buf_free(&input);
}

static void
test_header(void **state)
{
	(void)state;
	expect_slice(SLICE(HEADER), "H stream http://etherx.jabber.org/streams jabber:client "
	    "to=a.example from= id= v=1.0 lang=\n");
	expect_slice(SLICE(" \n<?xml version='1.0'?>\r\n" HEADER " \n"),
	    "H stream http://etherx.jabber.org/streams jabber:client to=a.example from= id= v=1.0 "
	    "lang=\n");
	expect_slice(SLICE("<?xml version=\"1.0\" encoding='Utf-8' standalone = 'yes' ?>"
	    "<s:stream xml:lang='de' id='&lt;&amp;&#38;' from='r@b' xmlns:s='http://etherx.jabber.org/"
	    "streams'></s:stream>"), "H stream http://etherx.jabber.org/streams  to= from=r@b id=<&& "
	    "v= lang=de\nend\n");
	expect_slice(SLICE("<open xmlns='urn:ietf:params:xml:ns:xmpp-framing' to='x'/><a/>"),
	    "H open urn:ietf:params:xml:ns:xmpp-framing urn:ietf:params:xml:ns:xmpp-framing to=x from= "
	    "id= v= lang=\nend\n");
	expect_slice(SLICE("<a><b/></a>"), "H a   to= from= id= v= lang=\n"
	    "E b {} text= child= {} n=0 p=0 f=0: \nend\n");
}

static void
test_declaration_refused(void **state)
{
	(void)state;
	refuse("<?xml version='1.0' encoding='UTF-16'?>" HEADER, "unsupported-encoding");
	refuse("<?xml version='1.0' encoding='ISO-8859-1'?>" HEADER, "unsupported-encoding");
	refuse("<?xml version='1.0' encoding='UTF-7'?>" HEADER, "unsupported-encoding");
	refuse("<?xml version='1.1'?>" HEADER, "not-well-formed");
	refuse("<?xml encoding='UTF-8'?>" HEADER, "not-well-formed");
	refuse("<?xml version='1.0' a='b'?>" HEADER, "not-well-formed");
	refuse("<?xml version='1.0'encoding='UTF-8'?>" HEADER, "not-well-formed");
	refuse("<?xml version='1.0' standalone='x'?>" HEADER, "not-well-formed");
	refuse("<?xml version='1.0?>" HEADER, "not-well-formed");
	refuse("<?xml version='1.0'?><?xml version='1.0'?>" HEADER, "restricted-xml");
	refuse("<?xml-stylesheet href='x'?>" HEADER, "restricted-xml");
	refuse(HEADER "<?xml version='1.0'?>", "restricted-xml");
	/* Too long, whether it ends or not. */
	refuse("<?xml version='1.0'" SPACES_60 SPACES_60 "?>" HEADER, "restricted-xml");
	refuse("<?xml version='1.0'" SPACES_60 SPACES_60, "restricted-xml");
	refuse_with(SLICE("\xFF\xFE<\0s\0"), "unsupported-encoding", &limits);
	refuse_with(SLICE("\xFE\xFF\0<\0s"), "unsupported-encoding", &limits);
	refuse_with(SLICE("<\0s\0t\0"), "unsupported-encoding", &limits);
	refuse_with(SLICE("\0<\0s\0t"), "unsupported-encoding", &limits);
	refuse_with(SLICE("\0\0\xFE\xFF\0\0\0<"), "unsupported-encoding", &limits);
	refuse("\xEF\xBB\xBF" HEADER, "not-well-formed"); /* RFC 6120 11.6: a character, no mark */
	refuse("+ADw-" HEADER, "not-well-formed");
}

static void
test_restricted(void **state)
{
	(void)state;
	refuse("<!DOCTYPE a>" HEADER, "restricted-xml");
	refuse("<!DOCTYPE lolz [<!ENTITY l 'lol'><!ENTITY m '&l;&l;&l;&l;&l;&l;&l;&l;'>]>"
	    "<lolz>&m;</lolz>", "restricted-xml");
	refuse(HEADER "<!DOCTYPE a SYSTEM 'file:///etc/passwd'>", "restricted-xml");
	refuse(HEADER "<message><!ENTITY a 'b'></message>", "restricted-xml");
	refuse(HEADER "<!-- a -->", "restricted-xml");
	refuse(HEADER "<message><!-- a --></message>", "restricted-xml");
	refuse("<!-- a -->" HEADER, "restricted-xml");
	refuse(HEADER "<message><?php a?></message>", "restricted-xml");
	refuse(HEADER "<?a?>", "restricted-xml");
	refuse(HEADER "<message>&lol;</message>", "restricted-xml");
	refuse(HEADER "<message><body>a&nbsp;b</body></message>", "restricted-xml");
	refuse(HEADER "<message to='&nbsp;'/>", "restricted-xml");
	refuse(HEADER "<message><![INCLUDE[a]]></message>", "restricted-xml");
}

static void
test_malformed(void **state)
{
	static const char *const inputs[] = {
		"<message></presence>", "<message to='a' to='b'/>", "<message to=a/>",
		"<message to='a\"/>'\" b/>", "<message to/>", "<message>&</message>",
		"<message>&amp</message>", "<message>&#0;</message>", "<message>&#xD800;</message>",
		"<message>&#x110000;</message>", "<message>\x01</message>", "<message>]]></message>",
		"<message to='<'/>", "<1/>", "< message/>", "<message><body></message></body>",
		"</stream>", "</stream:foo>", "<message/ >", "<message / >", "<message></message to=''>",
		"<a:b:c xmlns:a='x'/>", "<message xmlns:a=''/>", "<>", "<message><//></message>",
		"<message xmlns:xml='x'/>", "<message xmlns:xmlns='x'/>", "<:a/>", "<a:/>",
		"<message a:b='1' c:b='2' xmlns:a='x' xmlns:c='x'/>", "<message to='a'id='b'/>",
		"<message><a></b></message>", "<message><a b></message>", "<message>\xEF\xBF\xBE</message>",
		"<message xmlns='http://www.w3.org/XML/1998/namespace'/>",
		"<message xmlns:q='http://www.w3.org/2000/xmlns/'/>",
	};
	struct buf input = { 0 };
	size_t i;

	(void)state;
	for (i = 0; i < sizeof inputs / sizeof inputs[0]; i++) {
		buf_clear(&input);
		buf_printf(&input, HEADER "%s", inputs[i]);
		refuse_with(buf_slice(&input), "not-well-formed", &limits);
	}
	buf_free(&input);
	refuse_with(SLICE(HEADER "<message>a\0b</message>"), "not-well-formed", &limits);
	refuse("stream", "not-well-formed");
	refuse("</stream>", "not-well-formed");
	refuse("<s xmlns:a='b' xmlns:a='c'>", "not-well-formed");
	refuse(HEADER "<a:message/>", "bad-namespace-prefix");
	refuse(HEADER "<message><a:b/></message>", "bad-namespace-prefix");
	refuse(HEADER "<message a:b='c'/>", "bad-namespace-prefix");
	refuse(HEADER "<message><xml:b/></message>", "bad-namespace-prefix");
	refuse(HEADER "<xmlns:b/>", "bad-namespace-prefix");
	refuse("<stream:stream xmlns='jabber:client'>", "bad-namespace-prefix");
	refuse(HEADER "hello", "bad-format");
	refuse(HEADER "<message/>  &#32;", "bad-format");
	refuse(HEADER "<![CDATA[ ]]>", "bad-format");
}

static void
test_utf8(void **state)
{
	static const char *const bad[] = {
		"\xC0\xAF", "\xC1\xBF", "\xE0\x80\xAF", "\xE0\x9F\xBF", "\xF0\x80\x80\xAF",
		"\xF0\x8F\xBF\xBF", "\xED\xA0\x80", "\xED\xBF\xBF", "\xF4\x90\x80\x80", "\xF5\x80\x80\x80",
		"\x80", "\xBF", "\xC3", "\xC3(", "\xE2\x82", "\xE2\x28\xA1", "\xF0\x90\x8C", "\xFE", "\xFF",
		"\xEF\xBF\xBF", "\xF8\x88\x80\x80\x80",
	};
	struct buf input = { 0 };
	size_t i;

	(void)state;
	for (i = 0; i < sizeof bad / sizeof bad[0]; i++) {
		buf_clear(&input);
		buf_printf(&input, HEADER "<message><body>%s</body></message>", bad[i]);
		refuse_with(buf_slice(&input), "not-well-formed", &limits);
		buf_clear(&input);
		buf_printf(&input, HEADER "<message to='%s'/>", bad[i]);
		refuse_with(buf_slice(&input), "not-well-formed", &limits);
		buf_clear(&input);
		buf_printf(&input, HEADER "<message><a%s/></message>", bad[i]);
		refuse_with(buf_slice(&input), "not-well-formed", &limits);
	}
	buf_free(&input);
	canonical("<message><body>gr\xC3\xBC\xC3\x9F \xE2\x82\xAC \xF0\x9F\x9A\xA2 \xEE\x80\x80"
	    "\xF4\x8F\xBF\xBD</body></message>", "<body>gr\xC3\xBC\xC3\x9F \xE2\x82\xAC "
	    "\xF0\x9F\x9A\xA2 \xEE\x80\x80\xF4\x8F\xBF\xBD</body>");
	canonical("<message><\xC3\xBC a\xC3\xBC='\xE2\x82\xAC'/></message>",
	    "<\xC3\xBC a\xC3\xBC='\xE2\x82\xAC'/>");
}

static void
test_canonical(void **state)
{
	(void)state;
	canonical("<message/>", "");
	canonical("<message></message>", "");
	canonical("<message> <body  > a </body > </message >", "<body> a </body>");
	canonical("<message><a></a></message>", "<a/>");
	canonical("<message><a><![CDATA[]]></a></message>", "<a/>");
	canonical("<message><a><![CDATA[<&]]]>x]]&gt;]</a></message>",
	    "<a>&lt;&amp;]x]]&gt;]</a>");
	canonical("<message><a><![CDATA[a]]><![CDATA[b]]]]><![CDATA[>]]></a></message>",
	    "<a>ab]]&gt;</a>");
	canonical("<message><a>&amp;&lt;&gt;&quot;&apos;&#x41;&#66;&#xD;\r\n\r\t</a></message>",
	    "<a>&amp;&lt;&gt;\"'AB&#xD;\n\n\t</a>");
	canonical("<message><a><![CDATA[a\r\nb\r\rc\r]]>\n<![CDATA[\r\n\n]]></a><b c='d\r\ne\r'/></message>",
	    "<a>a\nb\n\nc\n\n\n\n</a><b c='d e '/>");
	canonical("<message><a b='&amp;&lt;&gt;&quot;&apos;&#38;&amp;#38;'/></message>",
	    "<a b='&amp;&lt;&gt;\"&apos;&amp;&amp;#38;'/>");
	canonical("<message><a b=\"'>\" c='\">/' d='&#9;&#10;&#13;\t\n'/></message>",
	    "<a b='&apos;&gt;' c='\"&gt;/' d='&#x9;&#xA;&#xD;  '/>");
	canonical("<message><a xmlns='u&amp;v'><b xmlns='u&#38;v'/></a></message>",
	    "<a xmlns='u&amp;v'><b/></a>");
	canonical("<message><a><b><c/>x</b></a>y<d/></message>", "<a><b><c/>x</b></a><d/>");
}

static void
test_namespaces(void **state)
{
	(void)state;
	canonical("<message><x xmlns='jabber:x:data'><y/></x><z/></message>",
	    "<x xmlns='jabber:x:data'><y/></x><z/>");
	canonical("<message xmlns:p='urn:p'><p:x><p:y/><z/></p:x></message>",
	    "<x xmlns='urn:p'><y/><z xmlns='jabber:client'/></x>");
	canonical("<message xmlns:p='jabber:client'><p:x/></message>", "<x/>");
	canonical("<p:message xmlns:p='jabber:client'><x/><p:y/></p:message>", "<x/><y/>");
	canonical("<message><x xmlns=''><y/><z xmlns='jabber:client'/></x></message>",
	    "<x xmlns=''><y/><z xmlns='jabber:client'/></x>");
	canonical("<message><stream:x/></message>", "<x xmlns='http://etherx.jabber.org/streams'/>");
	canonical("<message><x xmlns:a='urn:a' xmlns:b='urn:b' b:c='1' d='2' a:c='3' b:e='4' "
	    "xml:lang='de' xml:space='preserve'/></message>", "<x xmlns:ns1='urn:b' xmlns:ns2='urn:a' "
	    "ns1:c='1' d='2' ns2:c='3' ns1:e='4' xml:lang='de' xml:space='preserve'/>");
	canonical("<message xmlns:a='urn:a'><x xmlns='urn:a' a:b='1'><y a:b='2'/></x></message>",
	    "<x xmlns='urn:a' xmlns:ns1='urn:a' ns1:b='1'><y xmlns:ns1='urn:a' ns1:b='2'/></x>");
	canonical("<message><x xmlns='vcard-temp'/></message>", "<x xmlns='vcard-temp'/>");
	canonical("<message><x xmlns='not a uri &lt;'/></message>", "<x xmlns='not a uri &lt;'/>");
	/* Prefixes of the header hold in every stanza, whichever parser reads it. */
	expect_slice(SLICE("<stream:stream xmlns='jabber:server' xmlns:q='urn:&apos;&amp;q' "
	    "xmlns:stream='http://etherx.jabber.org/streams'><q:a/> <a q:b='1'><q:b/></a> "
	    "<stream:error/></stream:stream>"),
	    "H stream http://etherx.jabber.org/streams jabber:server to= from= id= v= lang=\n"
	    "E a {urn:'&q} text= child= {} n=0 p=0 f=0: \n"
	    "E a {jabber:server} text= child=b {urn:'&q} n=1 p=0 f=0: "
	    "<b xmlns='urn:&apos;&amp;q'/>\n"
	    "E error {http://etherx.jabber.org/streams} text= child= {} n=0 p=0 f=0: \nend\n");
}

#define HEADER_LOG                                                                               \
	"H stream http://etherx.jabber.org/streams jabber:client to=a.example from= id= v=1.0 lang=\n"

static void
test_element(void **state)
{
	(void)state;
	expect_slice(SLICE(HEADER "<iq to='&amp;&lt;' from=\"f'\" id='1&#38;2' type='get' xml:lang='en' "
	    "x='y' z='&amp;'><query xmlns='q' node='n&amp;m'/><b/></iq>"), HEADER_LOG
	    "E iq {jabber:client} from=f' to=&< id=1&2 type=get lang=en (x=y) (z=&) text= child=query "
	    "{q} node=n&m n=2 p=0 f=0: <query xmlns='q' node='n&amp;m'/><b/>\n");
	expect_slice(SLICE(HEADER "<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'>AGEA"
	    "<![CDATA[Yg&]]>=&lt;</auth>"), HEADER_LOG
	    "E auth {urn:ietf:params:xml:ns:xmpp-sasl} (mechanism=PLAIN) text=AGEAYg&=< child= {} n=0 "
	    "p=0 f=0: \n");
	expect_slice(SLICE(HEADER "<iq to='' id=''/>"), HEADER_LOG
	    "E iq {jabber:client} to= id= text= child= {} n=0 p=0 f=0: \n");
	refuse(HEADER "<a b1='' b2='' b3='' b4='' b5='' b6='' b7='' b8='' b9='' b10='' b11='' b12='' "
	    "b13='' b14='' b15='' b16='' b17=''/>", "policy-violation");
}

/* Reads one stanza, the element then stands in *e without its slices. */
static void
one(const char *stanza, struct xml_element *e)
{
	struct buf input = { 0 };
	struct reader r;

	reader_begin(&r, &limits);
	buf_printf(&input, HEADER "%s", stanza);
	reader_feed(&r, buf_slice(&input), SIZE_MAX);
	assert_int_equal(r.error, 0);
	assert_int_equal(r.elements, 1);
	*e = r.last;
	buf_free(&input);
	reader_end(&r);
}

/* Every row of the table, alone in a message. */
static void
test_message_children(void **state)
{
#define OWN ""
	static const struct { const char *ns, *name; uint32_t flags; } rows[] = {
#define MESSAGE_CHILD(ns, name, flags, text) { ns, name, flags },
#include "message_child.def"
#undef MESSAGE_CHILD
	};
#undef OWN
	char stanza[256], ns[128];
	struct xml_element e;
	size_t i;

	(void)state;
	for (i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		snprintf(ns, sizeof ns, *rows[i].ns != '\0' ? " xmlns='%s'" : "%s", rows[i].ns);
		snprintf(stanza, sizeof stanza, "<message type='chat'><%s%s/></message>",
		    rows[i].name != NULL ? rows[i].name : "other", ns);
		one(stanza, &e);
		if (e.flags != rows[i].flags)
			fail_msg("%s: %x", stanza, (unsigned)e.flags);
	}
}

static void
test_flags(void **state)
{
	static const struct { const char *stanza; uint32_t flags; } rows[] = {
		{ "<message/>", 0 },
		{ "<message> text </message>", 0 },
		{ "<message><body>a</body></message>", FLAG_CONTENT | FLAG_BODY },
		{ "<message><subject/></message>", FLAG_CONTENT },
		{ "<message><thread>t</thread></message>", 0 },
		{ "<message><active xmlns='" NS_CHATSTATES "'/><thread/></message>", FLAG_IM },
		{ "<message><received xmlns='" NS_RECEIPTS "' id='1'/></message>",
		    FLAG_CONTENT | FLAG_IM },
		{ "<message><markable xmlns='" NS_MARKERS "'/></message>", FLAG_IM },
		{ "<message><x xmlns='" NS_CONFERENCE "' jid='a'/></message>", FLAG_CONTENT | FLAG_IM },
		{ "<message><x xmlns='" NS_MUC_USER "'/></message>", FLAG_MUC },
		{ "<message><x xmlns='" NS_MUC_USER "'/><composing xmlns='" NS_CHATSTATES "'/></message>",
		    FLAG_MUC | FLAG_IM },
		{ "<message><x xmlns='" NS_MUC_USER "'><decline to='a'/></x></message>",
		    FLAG_CONTENT | FLAG_MUC },
		{ "<message><x xmlns='" NS_MUC_USER "'><invite to='a'/></x></message>",
		    FLAG_CONTENT | FLAG_MUC | FLAG_IM },
		{ "<message><x xmlns='" NS_MUC_USER "'><invite xmlns='y'/></x></message>", FLAG_MUC },
		{ "<message><x xmlns='y'><invite xmlns='" NS_MUC_USER "'/></x></message>", FLAG_CONTENT },
		{ "<message><x xmlns='" NS_MUC_USER "'><y><invite/></y></x></message>", FLAG_MUC },
		{ "<message><private xmlns='" NS_CARBONS "'/></message>", FLAG_PRIVATE },
		{ "<message><a><private xmlns='" NS_CARBONS "'/></a></message>", FLAG_CONTENT },
		{ "<message><received xmlns='" NS_CARBONS "'/></message>", 0 },
		{ "<iq><private xmlns='" NS_CARBONS "'/></iq>", 0 },
		{ "<message><body xmlns='x'/></message>", FLAG_CONTENT },
		{ "<message><store xmlns='" NS_HINTS "'/></message>", FLAG_CONTENT | FLAG_KEEP },
		{ "<message><composing xmlns='" NS_CHATSTATES "'/><store xmlns='" NS_HINTS "'/></message>",
		    FLAG_CONTENT | FLAG_KEEP | FLAG_IM },
		{ "<message><composing xmlns='" NS_CHATSTATES "'/><origin-id xmlns='" NS_SID "' id='1'/>"
		    "<markable xmlns='" NS_MARKERS "'/></message>", FLAG_IM },
		{ "<message><encrypted xmlns='x'/><no-store xmlns='" NS_HINTS "'/></message>",
		    FLAG_CONTENT | FLAG_NO_STORE },
		{ "<message type='error'><body/><no-copy xmlns='" NS_HINTS "'/><no-store xmlns='" NS_HINTS
		    "'/><store xmlns='" NS_HINTS "'/><error/></message>",
		    FLAG_CONTENT | FLAG_BODY | FLAG_ERROR },
		{ "<message><a><store xmlns='" NS_HINTS "'/></a></message>", FLAG_CONTENT },
		{ "<iq><store xmlns='" NS_HINTS "'/></iq>", 0 },
		{ "<message><no-store xmlns='" NS_HINTS "'/></message>", FLAG_NO_STORE },
		{ "<message><body/><no-permanent-store xmlns='" NS_HINTS "'/></message>",
		    FLAG_CONTENT | FLAG_BODY | FLAG_NO_PERMANENT },
		{ "<message><no-copy xmlns='" NS_HINTS "'/></message>", FLAG_PRIVATE },
		{ "<message><stanza-id xmlns='" NS_SID "'/></message>", 0 },
		{ "<message><delay xmlns='" NS_DELAY "'/></message>", 0 },
		{ "<message><x><body xmlns='jabber:client'/></x></message>", FLAG_CONTENT },
		{ "<message type='error'><error/></message>", FLAG_CONTENT | FLAG_ERROR },
		{ "<iq type='error'><error/></iq>", FLAG_ERROR },
		{ "<iq type='error'><error xmlns='x'/></iq>", 0 },
		{ "<presence><body/></presence>", 0 },
		{ "<stream:message><stream:body/></stream:message>", FLAG_CONTENT | FLAG_BODY },
	};
	static const struct { const char *text; int priority; } priorities[] = {
		{ "5", 5 }, { " -7\n", -7 }, { "+3", 3 }, { "1000", 127 }, { "-1000", -128 }, { "", 0 },
		{ "x", 0 }, { "1 2", 0 }, { "--1", 0 }, { "-", 0 }, { "99999999999999999999999", 0 },
		{ "<a>4</a>5", 5 }, { "-128", -128 }, { "127", 127 }, { "12<![CDATA[7]]>", 127 },
	};
	struct xml_element e;
	size_t i;

	(void)state;
	for (i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		one(rows[i].stanza, &e);
		if (e.flags != rows[i].flags)
			fail_msg("%s: %x", rows[i].stanza, (unsigned)e.flags);
	}
	for (i = 0; i < sizeof priorities / sizeof priorities[0]; i++) {
		char stanza[128];

		snprintf(stanza, sizeof stanza, "<presence><show/><priority>%s</priority>"
		    "<priority>9</priority></presence>", priorities[i].text);
		one(stanza, &e);
		if (e.priority != priorities[i].priority)
			fail_msg("%s: %d", stanza, e.priority);
	}
	one("<message><priority>5</priority></message>", &e);
	assert_int_equal(e.priority, 0);
}

/* On a stream of another server ids of archives are its own: nobody forges that of a receiver's archive. */
static void
test_strip_server(void **state)
{
	static const struct {
		const char *attributes;
		bool kept;
	} cases[] = {
		{ "from='room@b.example/nick'><stanza-id by='room@b.example'", true },
		{ "from='u@b.example/x'><stanza-id by='U@B.example'", true },
		{ "from='u@b.example/x'><stanza-id by='romeo@a.example'", false },
		{ "from='u@b.example/x'><stanza-id by='romeo@c.example'", false },
		{ "from='u@b.example/x'><stanza-id by='a.example'", false },
		{ "from='u@b.example/x'><stanza-id by=''", false },
		{ "from='u@b.example/x'><stanza-id by='@'", false },
		{ "from='u@b.example/x'><stanza-id id='1'", false },
		{ "from='@'><stanza-id by='@'", false },
		{ "to='u@b.example'><stanza-id by='u@b.example'", false },
		{ "from='u@b.example'><origin-id id='1'", true },
	};
	size_t i;

	(void)state;
	for (i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct reader r = { .stream = xml_stream_new(&limits, strip + 1, &events, &r) };
		char stanza[256];

		snprintf(stanza, sizeof stanza, "<message %s xmlns='" NS_SID "'/></message>",
		    cases[i].attributes);
		reader_feed(&r, SLICE(HEADER), SIZE_MAX);
		reader_feed(&r, slice_string(stanza), SIZE_MAX);
		assert_int_equal(r.elements, 1);
		if (cases[i].kept != (r.last.children == 1))
			fail_msg("%s", stanza);
		reader_end(&r);
	}
}

static bool
is_rooms(struct slice domain)
{
	return slice_is(domain, "rooms.a.example");
}

static void
test_strip(void **state)
{
	(void)state;
	canonical("<message><stanza-id xmlns='" NS_SID "' by='a'/><body>a</body>"
	    "<x:stanza-id xmlns:x='" NS_SID "'><y>z<stanza-id/></y></x:stanza-id><z/>"
	    "<sent xmlns='" NS_CARBONS "'/></message>", "<body>a</body><z/>");
	/* A wish about carbons is the sender's (XEP-0280 section 8), a carbon never is. */
	canonical("<message><private xmlns='" NS_CARBONS "'/><received xmlns='" NS_CARBONS "'><a/>"
	    "</received></message>", "<private xmlns='" NS_CARBONS "'/>");
	canonical("<presence><sent xmlns='" NS_CARBONS "'/></presence>", "");
	canonical("<iq><enable xmlns='" NS_CARBONS "'/></iq>", "<enable xmlns='" NS_CARBONS "'/>");
	canonical("<message><a><stanza-id xmlns='" NS_SID "'/></a></message>",
	    "<a><stanza-id xmlns='" NS_SID "'/></a>");
	canonical("<auth><stanza-id xmlns='" NS_SID "'/></auth>", "<stanza-id xmlns='" NS_SID "'/>");
	canonical("<message><delay xmlns='" NS_DELAY "' from='a.example' stamp='x'>q</delay><b/>"
	    "<delay xmlns='" NS_DELAY "' stamp='x'/><delay xmlns='" NS_DELAY "' from='j@A.Example/r'/>"
	    "<delay xmlns='" NS_DELAY "' from='@@'/></message>", "<b/>");
	canonical("<message><delay xmlns='" NS_DELAY "' from='rooms.a.example'/></message>",
	    "<delay xmlns='" NS_DELAY "' from='rooms.a.example'/>");
	/* another domain of ours, unless it is that of the sender */
	xml_set_ours(is_rooms);
	canonical("<message><delay xmlns='" NS_DELAY "' from='Rooms.a.example'/>"
	    "<delay xmlns='" NS_DELAY "' from='x@rooms.a.example/y'/><c/></message>", "<c/>");
	canonical("<message from='b.example'><delay xmlns='" NS_DELAY "' from='rooms.a.example'/>"
	    "<delay xmlns='" NS_DELAY "' from='b.example'/></message>",
	    "<delay xmlns='" NS_DELAY "' from='b.example'/>");
	canonical("<message from='den@rooms.a.example/n'><delay xmlns='" NS_DELAY "' from='rooms.a.example'/>"
	    "</message>", "<delay xmlns='" NS_DELAY "' from='rooms.a.example'/>");
	xml_set_ours(NULL);
}

static void
test_pipelined(void **state)
{
	(void)state;
	expect_slice(SLICE(HEADER "<message id='1'><body>a&gt;b</body></message>\n<iq id='2'/> <presence"
	    " id='3'></presence><message id='4'/></stream:stream><message id='5'/>"), HEADER_LOG
	    "E message {jabber:client} id=1 text= child=body {jabber:client} n=1 p=0 f=3: "
	    "<body>a&gt;b</body>\n"
	    "E iq {jabber:client} id=2 text= child= {} n=0 p=0 f=0: \n"
	    "E presence {jabber:client} id=3 text= child= {} n=0 p=0 f=0: \n"
	    "E message {jabber:client} id=4 text= child= {} n=0 p=0 f=0: \nend\n");
	expect_slice(SLICE(HEADER "</stream:stream >"), HEADER_LOG "end\n");
}

static void
test_memory(void **state)
{
	struct reader r;

	(void)state;
	reader_begin(&r, &limits);
	assert_int_equal(xml_stream_memory(r.stream), 0);
	reader_feed(&r, SLICE(HEADER), SIZE_MAX);
	assert_int_equal(xml_stream_memory(r.stream), 0);
	assert_false(xml_stream_busy(r.stream));
	reader_feed(&r, SLICE(" \n\t "), 1);
	assert_int_equal(xml_stream_memory(r.stream), 0);
	reader_feed(&r, SLICE("<message><body>a"), SIZE_MAX);
	assert_true(xml_stream_memory(r.stream) > 0);
	assert_true(xml_stream_busy(r.stream));
	reader_feed(&r, SLICE("b</body></message"), SIZE_MAX);
	assert_true(xml_stream_busy(r.stream));
	reader_feed(&r, SLICE("> "), SIZE_MAX);
	assert_false(xml_stream_busy(r.stream));
	assert_int_equal(xml_stream_memory(r.stream), 0);
	reader_feed(&r, SLICE("<"), SIZE_MAX);
	assert_true(xml_stream_busy(r.stream));
	assert_true(xml_stream_memory(r.stream) <= 256);
	assert_int_equal(r.error, 0);
	assert_int_equal(r.elements, 1);
	reader_end(&r);
}

static void
test_stop_and_restart(void **state)
{
	struct reader r;

	(void)state;
	reader_begin(&r, &limits);
	r.stop_at = 2;
	reader_feed(&r, SLICE(HEADER "<a/><starttls/><b/><!-- -->"), SIZE_MAX);
	assert_int_equal(r.error, 0);
	assert_int_equal(r.elements, 2);
	assert_int_equal(xml_stream_memory(r.stream), 0);
	reader_feed(&r, SLICE("<c/>"), SIZE_MAX);
	assert_int_equal(r.elements, 2);
	xml_stream_restart(r.stream);
	r.restart_at = 3;
	reader_feed(&r, SLICE("<?xml version='1.0'?>" HEADER "<auth/>\n<?xml version='1.0'?><s:stream "
	    "xmlns='x' xmlns:s='y'><s:q/><q/></s:stream>"), SIZE_MAX);
	assert_int_equal(r.error, 0);
	assert_int_equal(r.headers, 3);
	assert_int_equal(r.elements, 5);
	assert_true(slice_is(slice_part(buf_slice(&r.log), buf_len(&r.log) - 4, 4), "end\n"));
	reader_end(&r);
	/* Both at once: what is at hand is not read, what comes later is a new stream. */
	reader_begin(&r, &limits);
	r.stop_at = r.restart_at = 1;
	reader_feed(&r, SLICE(HEADER "<proceed/><!-- injected -->"), SIZE_MAX);
	reader_feed(&r, SLICE(HEADER "<a/>"), SIZE_MAX);
	assert_int_equal(r.error, 0);
	assert_int_equal(r.headers, 2);
	assert_int_equal(r.elements, 2);
	/* In the middle of a stanza, from outside. */
	reader_feed(&r, SLICE("<a><b"), SIZE_MAX);
	xml_stream_restart(r.stream);
	assert_int_equal(xml_stream_memory(r.stream), 0);
	reader_feed(&r, SLICE(HEADER "<a/>"), 1);
	assert_int_equal(r.elements, 3);
	reader_end(&r);
}

static void
add_many(struct buf *b, const char *s, size_t times)
{
	while (times-- > 0)
		buf_add_string(b, s);
}

static void
test_limits(void **state)
{
	struct buf input = { 0 };
	unsigned i;

	(void)state;
	/* depth: 16, the stanza included */
	buf_printf(&input, HEADER "<a>");
	add_many(&input, "<a>", 15);
	add_many(&input, "</a>", 16);
	buf_add_char(&input, '\0');
	expect_slice(slice_of(buf_slice(&input).ptr, buf_len(&input) - 1), HEADER_LOG
	    "E a {jabber:client} text= child=a {jabber:client} n=1 p=0 f=0: "
	    "<a><a><a><a><a><a><a><a><a><a><a><a><a><a><a/></a></a></a></a></a></a></a></a></a></a></a>"
	    "</a></a></a>\n");
	buf_clear(&input);
	buf_printf(&input, HEADER);
	add_many(&input, "<a>", 17);
	refuse_with(buf_slice(&input), "policy-violation", &limits);
	buf_clear(&input);
	buf_printf(&input, HEADER);
	add_many(&input, "<a>", 20000);
	refuse_with(buf_slice(&input), "policy-violation", &limits);
	/* elements: 500 */
	buf_clear(&input);
	buf_printf(&input, HEADER "<m>");
	add_many(&input, "<a/>", 500);
	refuse_with(buf_slice(&input), "policy-violation", &limits);
	/* attributes: 32, and 10,000 */
	buf_clear(&input);
	buf_printf(&input, HEADER "<m><a");
	for (i = 0; i < 10000; i++)
		buf_printf(&input, " a%u='='", i);
	refuse_with(buf_slice(&input), "policy-violation", &limits);
	buf_clear(&input);
	buf_printf(&input, "<a");
	for (i = 0; i < 33; i++)
		buf_printf(&input, " xmlns:a%u='b'", i);
	refuse_with(buf_slice(&input), "policy-violation", &limits);
	/* expansion: a short prefix of a long namespace on many elements */
	buf_clear(&input);
	buf_printf(&input, HEADER "<m xmlns:a='%01000d'>", 7);
	add_many(&input, "<a:a/>", 100);
	buf_add_string(&input, "</m>");
	refuse_with(buf_slice(&input), "policy-violation", &limits);
	/* declarations that would have to be kept */
	buf_clear(&input);
	buf_printf(&input, "<a xmlns='%03000d'>", 7);
	refuse_with(buf_slice(&input), "policy-violation", &limits);
	buf_free(&input);
}

/* Something endless is refused at the limit, and needs no more memory than a few times that. */
static void
endless(const char *begin, const char *piece)
{
	size_t fed = 0, most = 0;
	struct reader r;

	reader_begin(&r, &limits);
	reader_feed(&r, slice_string(begin), SIZE_MAX);
	while (r.error == 0 && fed < 10u << 20) {
		reader_feed(&r, slice_string(piece), SIZE_MAX);
		fed += strlen(piece);
		if (xml_stream_memory(r.stream) > most)
			most = xml_stream_memory(r.stream);
	}
	assert_int_equal(r.error, E_TOO_BIG);
	assert_string_equal(r.condition, "policy-violation");
	assert_true(fed <= limits.stanza_bytes + strlen(piece));
	assert_true(most <= 4 * limits.stanza_bytes);
	reader_end(&r);
}

static void
test_endless(void **state)
{
	char piece[5001];
	struct buf whole = { 0 };
	struct reader r;

	(void)state;
	memset(piece, 'a', sizeof piece - 1);
	piece[sizeof piece - 1] = '\0';
	endless(HEADER "<message><body>", piece);
	endless(HEADER "<message><body>", "]]]]]]]]]]]]]]]]");
	endless(HEADER "<message><body><![CDATA[", piece);
	endless(HEADER "<message to='", piece);
	endless(HEADER "<message ", piece);
	endless(HEADER "<", piece);
	endless(HEADER "<message></", piece);
	endless(HEADER "<message>&", piece);
	endless("<stream:stream xmlns='", piece);
	/* 10 MB at once */
	buf_add_string(&whole, HEADER "<message><body>");
	add_many(&whole, piece, 2000);
	buf_add_string(&whole, "</body></message>");
	reader_begin(&r, &limits);
	reader_feed(&r, buf_slice(&whole), SIZE_MAX);
	assert_int_equal(r.error, E_TOO_BIG);
	assert_int_equal(r.elements, 0);
	reader_end(&r);
	buf_free(&whole);
	/* white space may go on for ever */
	memset(piece, '\n', sizeof piece - 1);
	reader_begin(&r, &limits);
	reader_feed(&r, SLICE(HEADER), SIZE_MAX);
	reader_feed(&r, slice_string(piece), SIZE_MAX);
	assert_int_equal(xml_stream_memory(r.stream), 0);
	reader_end(&r);
	reader_begin(&r, &limits);
	memset(piece, 'a', sizeof piece - 1);
	reader_feed(&r, SLICE("<?xml version='1.0"), SIZE_MAX);
	reader_feed(&r, slice_string(piece), SIZE_MAX);
	assert_string_equal(r.condition, "restricted-xml");
	reader_end(&r);
}

/* Names that never come again do not pile up, not within one chunk either. */
static void
test_unique_names(void **state)
{
	size_t most = 0, memory;
	struct buf input = { 0 };
	struct reader r;
	unsigned i, j;

	(void)state;
	reader_begin(&r, &limits);
	reader_feed(&r, SLICE(HEADER), SIZE_MAX);
	for (i = 0; i < 40; i++) {
		buf_clear(&input);
		for (j = 0; j < 1000; j++)
			buf_printf(&input, "<m%u-%u xmlns='urn:%u-%u' a%u-%u='x'><n%u-%u/></m%u-%u>", i, j,
			    i, j, i, j, i, j, i, j);
		buf_add_string(&input, "<m>");
		reader_feed(&r, buf_slice(&input), 16384);
		assert_int_equal(r.error, 0);
		memory = xml_stream_memory(r.stream);
		most = memory > most ? memory : most;
		reader_feed(&r, SLICE("</m>"), SIZE_MAX);
		assert_int_equal(xml_stream_memory(r.stream), 0);
	}
	assert_int_equal(r.elements, 40 * 1001);
	assert_true(most < 256u << 10);
	buf_free(&input);
	reader_end(&r);
}

/* Long text is cut within characters, line ends, entities and CDATA ends, and stays the same. */
static void
test_long_text(void **state)
{
	static const char unit[] = "\xE2\x82\xAC&amp;\r\n]]&gt;x<![CDATA[]]&]]>\xF0\x9F\x9A\xA2]";
	static const char canonical_unit[] =
	    "\xE2\x82\xAC&amp;\n]]&gt;x]]&amp;\xF0\x9F\x9A\xA2]";
	struct buf input = { 0 }, expected = { 0 };
	struct reader r;
	size_t piece;

	(void)state;
	buf_add_string(&input, HEADER "<message><body>");
	add_many(&input, unit, 1000);
	buf_add_string(&input, "</body></message>");
	buf_add_string(&expected, "<body>");
	add_many(&expected, canonical_unit, 1000);
	buf_add_string(&expected, "</body>\n");
	for (piece = 1; piece < 6000; piece += piece < 40 ? 1 : 997) {
		struct slice log;

		reader_begin(&r, &limits);
		reader_feed(&r, buf_slice(&input), piece);
		assert_int_equal(r.error, 0);
		assert_int_equal(r.elements, 1);
		log = buf_slice(&r.log);
		assert_true(log.len > buf_len(&expected));
		log = slice_part(log, log.len - buf_len(&expected), log.len);
		assert_true(slice_equal(log, buf_slice(&expected)));
		reader_end(&r);
	}
	buf_free(&input);
	buf_free(&expected);
}

static void
silent_header(void *arg, const struct xml_header *h)
{
	(void)arg;
	(void)h;
}

static void
silent_element(void *arg, const struct xml_element *e)
{
	*(size_t *)arg += e->payload.len;
}

static void
silent_end(void *arg)
{
	(void)arg;
}

static const char chat[] =
    "<message from='juliet@capulet.example/balcony' to='romeo@montague.example' type='chat' "
    "id='f2d9c1be-2a5f-4f0e-9c1b-77e0f9a3b001' xml:lang='en'><body>Art thou not Romeo, and a "
    "Montague? If they do see thee, they will murder thee. By whose direction foundest thou out "
    "this place?</body><active xmlns='http://jabber.org/protocol/chatstates'/><request "
    "xmlns='urn:xmpp:receipts'/><origin-id xmlns='urn:xmpp:sid:1' "
    "id='f2d9c1be-2a5f-4f0e-9c1b-77e0f9a3b001'/></message>";

/* Microseconds that a message takes when so many come in one chunk. */
static double
measure(unsigned messages, unsigned rounds)
{
	static const struct xml_events silent = { silent_header, silent_element, silent_end };
	struct xml_stream *stream;
	const char *condition;
	struct buf chunk = { 0 };
	struct timespec a, b;
	size_t total = 0;
	unsigned i;

	stream = xml_stream_new(&limits, strip, &silent, &total);
	assert_int_equal(xml_stream_feed(stream, SLICE(HEADER), &condition), 0);
	add_many(&chunk, chat, messages);
	clock_gettime(CLOCK_MONOTONIC, &a);
	for (i = 0; i < rounds; i++)
		assert_int_equal(xml_stream_feed(stream, buf_slice(&chunk), &condition), 0);
	clock_gettime(CLOCK_MONOTONIC, &b);
	xml_stream_free(&stream);
	buf_free(&chunk);
	return ((double)(b.tv_sec - a.tv_sec) * 1e6 + (double)(b.tv_nsec - a.tv_nsec) / 1e3) / rounds /
	    messages;
}

static void
test_speed(void **state)
{
	(void)state;
	print_message("a message of %zu bytes: %.2f us alone, %.2f us in a chunk of 20\n",
	    sizeof chat - 1, measure(1, 10000), measure(20, 500));
}

/* Requests that set a password are told from others, in whatever pieces they come. */
static void
test_secret(void **state)
{
	static const struct {
		const char *stanza;
		bool secret;
	} cases[] = {
		{ "<iq type='set' id='1'><query xmlns='jabber:iq:register'><password>x</password>"
		  "</query></iq>", true },
		{ "<iq type='set' id='1'><query xmlns='jabber:iq:private'/></iq>", false },
		{ "<message><query xmlns='jabber:iq:register'/></message>", false },
	};
	struct xml_limits all = limits;
	size_t i, j;

	(void)state;
	all.secret = true;
	for (i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		for (j = 0; j < 2 * PIECES; j++) {
			struct reader r;

			reader_begin(&r, j < PIECES ? &limits : &all);
			reader_feed(&r, SLICE(HEADER), SIZE_MAX);
			assert_int_equal(xml_stream_secret(r.stream), j >= PIECES);
			reader_feed(&r, slice_string(cases[i].stanza), pieces[j % PIECES]);
			assert_int_equal(r.error, 0);
			assert_int_equal((r.last.flags & FLAG_SECRET) != 0, cases[i].secret);
			assert_int_equal(xml_stream_secret(r.stream),
			    j >= PIECES || cases[i].secret);
			reader_feed(&r, SLICE("<message/>"), SIZE_MAX);
			assert_int_equal(xml_stream_secret(r.stream), j >= PIECES);
			reader_end(&r);
		}
	}
}

static bool
holds(void *arg, struct slice name, struct slice ns, unsigned depth)
{
	(void)arg;
	assert_true(ns.len != 0 && depth >= 1 && depth <= XML_INNER_MAX);
	return slice_is(name, "box") || (depth == 2 && slice_is(name, "second"));
}

static void
on_open(void *arg, const struct xml_element *e)
{
	struct reader *r = arg;

	buf_printf(&r->log, "open %.*s {%.*s}%s%.*s\n", SLICE_ARG(e->name), SLICE_ARG(e->ns),
	    e->attributes ? " " : "", SLICE_ARG(e->attributes ? e->attribute[0].value : SLICE("")));
}

static void
on_close(void *arg)
{
	buf_add_string(&((struct reader *)arg)->log, "close\n");
}

static const struct xml_document document = { holds, on_open, on_close };

/* Reads a document in pieces of a size; *said: what was told of it. */
static int
document_read(const char *text, size_t piece, char *said, size_t room)
{
	struct reader r = { 0 };
	int error;

	reader_begin(&r, &limits);
	xml_stream_set_document(r.stream, &document);
	reader_feed(&r, slice_string(text), piece);
	error = r.error;
	snprintf(said, room, "%.*s", SLICE_ARG(buf_slice(&r.log)));
	reader_end(&r);
	return error;
}

/* Elements that hold top-level elements, with the declarations of all that are open. */
static void
test_document(void **state)
{
	static const char text[] = "<?xml version='1.0'?>\n<root xmlns='urn:r' xmlns:p='urn:p'>\n"
	    "<box n='1' xmlns:q='urn:q'> <second xmlns='urn:2' a='x&amp;y'>\n"
	    "<p:one><q:two/></p:one><second><box/></second> <message><delay xmlns='urn:xmpp:delay'/>"
	    "</message> </second><q:three>t<four/></q:three></box> <box/> <second/> "
	    "<p:box><box><box><box><box/></box></box></box></p:box></root>";
	static const char wanted[] = "H root {urn:r} {urn:r} to= from= id= v= lang=\n"
	    "open box {urn:r} 1\nopen second {urn:2} x&y\n"
	    "E one {urn:p} text= child=two {urn:q} n=1 p=0 f=0: <two xmlns='urn:q'/>\n"
	    "E second {urn:2} text= child=box {urn:2} n=1 p=0 f=0: <box/>\n"
	    "E message {urn:2} text= child=delay {urn:xmpp:delay} n=1 p=0 f=0: "
	    "<delay xmlns='urn:xmpp:delay'/>\nclose\n"
	    "E three {urn:q} text=t child=four {urn:r} n=1 p=0 f=0: <four xmlns='urn:r'/>\nclose\n"
	    "open box {urn:r}\nclose\nE second {urn:r} text= child= {} n=0 p=0 f=0: \n"
	    "open box {urn:p}\nopen box {urn:r}\nopen box {urn:r}\nopen box {urn:r}\n"
	    "E box {urn:r} text= child= {} n=0 p=0 f=0: \nclose\nclose\nclose\nclose\nend\n";
	char said[4096], expected[4096];
	size_t piece, i, at = 0;

	(void)state;
	/* The log writes "H name ns content-ns"; braces are only for reading here. */
	for (i = 0; wanted[i] != '\0'; i++) {
		if (i < 22 && (wanted[i] == '{' || wanted[i] == '}'))
			continue;
		expected[at++] = wanted[i];
	}
	expected[at] = '\0';
	for (piece = 1; piece < sizeof text; piece++) {
		assert_int_equal(document_read(text, piece, said, sizeof said), 0);
		assert_string_equal(said, expected);
	}
}

static void
test_document_refused(void **state)
{
	static const char *const texts[] = {
		"<root xmlns='urn:r'><box>text</box></root>",
		"<root xmlns='urn:r'><box><![CDATA[x]]></box></root>",
		"<root xmlns='urn:r'><box><!-- x --></box></root>",
		"<root xmlns='urn:r'><box><one></box></one></root>",
		"<root xmlns='urn:r'><box></root>",
		"<root xmlns='urn:r'><box xmlns:q='urn:q'/><q:x/></root>",
		"<root xmlns='urn:r'><box xmlns:q='urn:q'></box><q:x/></root>",
		"<!DOCTYPE root><root xmlns='urn:r'/>",
		"<root xmlns='urn:r'><box><x a='1' a='2'/></box></root>",
	};
	char said[4096];
	size_t i, piece;

	(void)state;
	for (i = 0; i < sizeof texts / sizeof texts[0]; i++) {
		for (piece = 1; piece < 60; piece++)
			assert_int_not_equal(document_read(texts[i], piece, said, sizeof said), 0);
	}
}

int
main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_header),
		cmocka_unit_test(test_declaration_refused),
		cmocka_unit_test(test_restricted),
		cmocka_unit_test(test_malformed),
		cmocka_unit_test(test_utf8),
		cmocka_unit_test(test_canonical),
		cmocka_unit_test(test_namespaces),
		cmocka_unit_test(test_element),
		cmocka_unit_test(test_message_children),
		cmocka_unit_test(test_flags),
		cmocka_unit_test(test_strip),
		cmocka_unit_test(test_strip_server),
		cmocka_unit_test(test_pipelined),
		cmocka_unit_test(test_memory),
		cmocka_unit_test(test_stop_and_restart),
		cmocka_unit_test(test_limits),
		cmocka_unit_test(test_endless),
		cmocka_unit_test(test_unique_names),
		cmocka_unit_test(test_long_text),
		cmocka_unit_test(test_document),
		cmocka_unit_test(test_document_refused),
		cmocka_unit_test(test_secret),
		cmocka_unit_test(test_speed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
