/*
 * test_stanza.c: names and types, error replies, results, and stanzas as XML.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "error.h"
#include "ns.h"
#include "stanza.h"
#include "xmlin.h"

static void
test_classify(void **state)
{
	static const struct {
		const char *name, *type;
		int error;
		enum stanza_kind kind;
		enum stanza_type subtype;
	} rows[] = {
		{ "message", NULL, OK, STANZA_MESSAGE, TYPE_NORMAL },
		{ "message", "normal", OK, STANZA_MESSAGE, TYPE_NORMAL },
		{ "message", "chat", OK, STANZA_MESSAGE, TYPE_CHAT },
		{ "message", "groupchat", OK, STANZA_MESSAGE, TYPE_GROUPCHAT },
		{ "message", "error", OK, STANZA_MESSAGE, TYPE_ERROR },
		{ "message", "subscribe", OK, STANZA_MESSAGE, TYPE_NORMAL },
		{ "message", "", OK, STANZA_MESSAGE, TYPE_NORMAL },
		{ "presence", NULL, OK, STANZA_PRESENCE, TYPE_AVAILABLE },
		{ "presence", "unavailable", OK, STANZA_PRESENCE, TYPE_UNAVAILABLE },
		{ "presence", "probe", OK, STANZA_PRESENCE, TYPE_PROBE },
		{ "presence", "available", E_MALFORMED, STANZA_PRESENCE, TYPE_NONE },
		{ "presence", "", E_MALFORMED, STANZA_PRESENCE, TYPE_NONE },
		{ "iq", "get", OK, STANZA_IQ, TYPE_GET },
		{ "iq", "error", OK, STANZA_IQ, TYPE_ERROR },
		{ "iq", NULL, E_MALFORMED, STANZA_IQ, TYPE_NONE },
		{ "iq", "chat", E_MALFORMED, STANZA_IQ, TYPE_NONE },
		{ "iqs", "get", OK, STANZA_NONE, TYPE_NONE },
		{ "", NULL, OK, STANZA_NONE, TYPE_NONE },
	};
	enum stanza_type subtype;
	enum stanza_kind kind;
	size_t i;

	(void)state;
	for (i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		assert_int_equal(stanza_classify(slice_string(rows[i].name), slice_string(rows[i].type),
		    &kind, &subtype), rows[i].error);
		assert_int_equal(kind, rows[i].kind);
		assert_int_equal(subtype, rows[i].subtype);
	}
	assert_string_equal(stanza_kind_text(STANZA_IQ), "iq");
	assert_string_equal(stanza_type_text(TYPE_UNSUBSCRIBED), "unsubscribed");
	assert_null(stanza_type_text(TYPE_NORMAL));
	assert_null(stanza_type_text(TYPE_AVAILABLE));
	assert_null(stanza_type_text(TYPE_NONE));
	assert_string_equal(stanza_error_text(STANZA_ERROR_GONE), "gone");
	assert_string_equal(stanza_error_text(STANZA_ERROR_NONE), "undefined-condition");
}

static void
written(const struct frame *f, const char *to, const char *account, const char *expected)
{
	struct buf out = { 0 };

	buf_add_char(&out, '!'); /* it appends */
	stanza_write(f, slice_string(to), slice_string(account), &out);
	buf_add_char(&out, '\0');
	assert_string_equal(out.bytes + out.start + 1, expected);
	buf_truncate(&out, buf_len(&out) - 1);
	assert_true(xmlin_valid(slice_part(buf_slice(&out), 1, SIZE_MAX), SLICE(NS_CLIENT)));
	buf_free(&out);
}

static struct frame
message(void)
{
	struct frame f = { .type = FRAME_STANZA, .kind = STANZA_MESSAGE, .subtype = TYPE_CHAT };

	f.from = SLICE("j@a.example/it's");
	f.to = SLICE("r@b.example");
	f.id = SLICE("<&>\"\n");
	f.lang = SLICE("en");
	f.payload = SLICE("<body>a</body>");
	f.handle = 7;
	f.origin = 8;
	f.seq = 9;
	return f;
}

static void
test_write(void **state)
{
	struct frame f = message();

	(void)state;
	written(&f, "x", NULL, "<message from='j@a.example/it&apos;s' to='r@b.example' "
	    "id='&lt;&amp;&gt;\"&#xA;' type='chat' xml:lang='en'><body>a</body></message>");
	f = (struct frame){ .kind = STANZA_PRESENCE, .subtype = TYPE_AVAILABLE };
	f.from = SLICE("a");
	written(&f, "b/c", "b", "<presence from='a' to='b/c'/>");
	f.kind = STANZA_IQ;
	f.subtype = TYPE_RESULT;
	f.id = SLICE("");
	written(&f, NULL, NULL, "<iq from='a' id='' type='result'/>");
	f = (struct frame){ .kind = STANZA_MESSAGE, .subtype = TYPE_NORMAL };
	f.payload = SLICE("<body>a</body>");
	f.archive_id = 0x1234abcd;
	f.stamp = UINT64_C(1795395723456);
	written(&f, NULL, NULL, "<message><body>a</body></message>");
	written(&f, NULL, "r@b.example", "<message><body>a</body><stanza-id xmlns='urn:xmpp:sid:0' "
	    "by='r@b.example' id='000000001234abcd'/></message>");
	f.flags = FLAG_SPOOL;
	written(&f, NULL, "r@b.example", "<message><body>a</body><stanza-id xmlns='urn:xmpp:sid:0' "
	    "by='r@b.example' id='000000001234abcd'/><delay xmlns='urn:xmpp:delay' from='b.example' "
	    "stamp='2026-11-23T01:02:03.456Z'/></message>");
	f.flags |= FLAG_NO_PERMANENT; /* there is no archive with that id */
	written(&f, NULL, "r@b.example", "<message><body>a</body><delay xmlns='urn:xmpp:delay' "
	    "from='b.example' stamp='2026-11-23T01:02:03.456Z'/></message>");
	f.flags = FLAG_NO_PERMANENT;
	written(&f, NULL, "r@b.example", "<message><body>a</body></message>");
	f.flags = FLAG_SPOOL;
	f.archive_id = 0;
	f.payload = SLICE_NONE;
	written(&f, NULL, "b.example", "<message><delay xmlns='urn:xmpp:delay' from='b.example' "
	    "stamp='2026-11-23T01:02:03.456Z'/></message>");
}

static void
test_write_carbon(void **state)
{
	struct frame f = message();

	(void)state;
	f.id = SLICE("i");
	f.flags = FLAG_CARBON | FLAG_BODY;
	written(&f, "r@b.example/'", "r@b.example", "<message from='r@b.example' to='r@b.example/&apos;' "
	    "type='chat'><received xmlns='urn:xmpp:carbons:2'><forwarded xmlns='urn:xmpp:forward:0'>"
	    "<message xmlns='jabber:client' from='j@a.example/it&apos;s' to='r@b.example' id='i' "
	    "type='chat' xml:lang='en'><body>a</body></message></forwarded></received></message>");
	/* It has the archive's id for the account whose copy it is. */
	f.number = 0x1234abcd;
	f.lang = SLICE_NONE;
	f.subtype = TYPE_NORMAL;
	written(&f, "j@a.example/x", "j@a.example", "<message from='j@a.example' to='j@a.example/x'>"
	    "<sent xmlns='urn:xmpp:carbons:2'><forwarded xmlns='urn:xmpp:forward:0'>"
	    "<message xmlns='jabber:client' from='j@a.example/it&apos;s' to='r@b.example' id='i'>"
	    "<body>a</body><stanza-id xmlns='urn:xmpp:sid:0' by='j@a.example' id='000000001234abcd'/>"
	    "</message></forwarded></sent></message>");
	/* Of messages only. */
	f.kind = STANZA_PRESENCE;
	f.subtype = TYPE_AVAILABLE;
	f.payload = SLICE_NONE;
	written(&f, "j@a.example/x", "j@a.example",
	    "<presence from='j@a.example/it&apos;s' to='r@b.example' id='i'/>");
}

static void
test_error_reply(void **state)
{
	struct frame f = message(), reply;
	struct buf scratch = { 0 };

	(void)state;
	buf_add_string(&scratch, "before");
	assert_true(stanza_error_reply(&f, STANZA_ERROR_ITEM_NOT_FOUND, SLICE("a < b"), &scratch,
	    &reply));
	assert_int_equal(reply.type, FRAME_STANZA);
	assert_int_equal(reply.kind, STANZA_MESSAGE);
	assert_int_equal(reply.subtype, TYPE_ERROR);
	assert_int_equal(reply.handle, 7);
	assert_int_equal(reply.origin, 0);
	assert_int_equal(reply.seq, 0);
	assert_int_equal(reply.flags, FLAG_ERROR);
	written(&reply, NULL, NULL, "<message from='r@b.example' to='j@a.example/it&apos;s' "
	    "id='&lt;&amp;&gt;\"&#xA;' type='error'><error type='cancel'><item-not-found "
	    "xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/><text "
	    "xmlns='urn:ietf:params:xml:ns:xmpp-stanzas' xml:lang='en'>a &lt; b</text></error>"
	    "</message>");
	assert_true(stanza_error_reply(&f, (enum stanza_error)99, SLICE_NONE, &scratch, &reply));
	assert_true(slice_is(reply.payload, "<error type='cancel'><undefined-condition "
	    "xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error>"));
	f.subtype = TYPE_ERROR;
	assert_false(stanza_error_reply(&f, STANZA_ERROR_GONE, SLICE_NONE, &scratch, &reply));
	f.kind = STANZA_IQ;
	f.subtype = TYPE_RESULT;
	assert_false(stanza_error_reply(&f, STANZA_ERROR_GONE, SLICE_NONE, &scratch, &reply));
	f.kind = STANZA_NONE;
	assert_false(stanza_error_reply(&f, STANZA_ERROR_GONE, SLICE_NONE, &scratch, &reply));
	/* In place. */
	f = message();
	f.kind = STANZA_IQ;
	f.subtype = TYPE_GET;
	assert_true(stanza_error_reply(&f, STANZA_ERROR_GONE, SLICE_NONE, &scratch, &f));
	assert_true(slice_is(f.to, "j@a.example/it's"));
	assert_int_equal(f.subtype, TYPE_ERROR);
	buf_free(&scratch);
}

static void
test_result(void **state)
{
	struct frame f = { .type = FRAME_STANZA, .kind = STANZA_IQ, .subtype = TYPE_GET }, reply;

	(void)state;
	f.from = SLICE("a");
	f.id = SLICE("1");
	f.handle = 3;
	stanza_result(&f, SLICE("<query xmlns='q'/>"), &reply);
	assert_int_equal(reply.handle, 3);
	assert_true(slice_is(reply.name, "query"));
	assert_true(slice_is(reply.ns, "q"));
	written(&reply, NULL, NULL, "<iq to='a' id='1' type='result'><query xmlns='q'/></iq>");
	stanza_result(&f, SLICE_NONE, &reply);
	assert_null(reply.name.ptr);
	written(&reply, NULL, NULL, "<iq to='a' id='1' type='result'/>");
}

static void
test_stamp_read(void **state)
{
	static const struct { const char *text; uint64_t ms; } rows[] = {
		{ "1970-01-01T00:00:00Z", 0 },
		{ "1969-12-31T23:59:59.999Z", 0 },
		{ "0000-01-01T00:00:00Z", 0 },
		{ "2000-02-28T23:59:59.999Z", 951782399999 },
		{ "2000-02-29T00:00:00Z", 951782400000 },
		{ "2000-02-29T01:30:00+01:30", 951782400000 },
		{ "2000-02-28T19:00:00.0-05:00", 951782400000 },
		{ "2000-02-29T00:00:00.5Z", 951782400500 },
		{ "2000-02-29T00:00:00.1239999999999999Z", 951782400123 },
		{ "2016-12-31T23:59:60Z", 1483228800000 },
		{ "9999-12-31T23:59:59.999Z", 253402300799999 },
	};
	static const char *const wrong[] = {
		"", "2000", "2000-02-29", "2000-02-29T00:00:00", "2000-02-29 00:00:00Z", "2001-02-29T00:00:00Z",
		"1900-02-29T00:00:00Z", "2000-00-01T00:00:00Z", "2000-13-01T00:00:00Z", "2000-04-31T00:00:00Z",
		"2000-01-00T00:00:00Z", "2000-01-01T24:00:00Z", "2000-01-01T00:60:00Z", "2000-01-01T00:00:61Z",
		"2000-01-01T00:00:00.Z", "2000-01-01T00:00:00+1:00", "2000-01-01T00:00:00+15:00",
		"2000-01-01T00:00:00Zx", "2000-01-01T00:00:00+01:00x", "+000-01-01T00:00:00Z",
		"10000-01-01T00:00:00Z", "20000101T00:00:00", "2000-01-01T00:00:00z",
	};
	uint64_t ms, id;
	size_t i;

	(void)state;
	for (i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		assert_int_equal(stanza_stamp_read(slice_string(rows[i].text), &ms), OK);
		assert_true(ms == rows[i].ms);
	}
	for (i = 0; i < sizeof wrong / sizeof wrong[0]; i++)
		assert_int_equal(stanza_stamp_read(slice_string(wrong[i]), &ms), E_MALFORMED);
	assert_int_equal(stanza_archive_id_read(SLICE("fedcba9876543210"), &id), OK);
	assert_true(id == UINT64_C(0xfedcba9876543210));
	assert_int_equal(stanza_archive_id_read(SLICE("FEDCBA9876543210"), &id), E_MALFORMED);
	assert_int_equal(stanza_archive_id_read(SLICE("fedcba987654321"), &id), E_MALFORMED);
	assert_int_equal(stanza_archive_id_read(SLICE("fedcba98765432100"), &id), E_MALFORMED);
	assert_int_equal(stanza_archive_id_read(SLICE(""), &id), E_MALFORMED);
}

static void
test_stamp(void **state)
{
	static const struct { uint64_t ms; const char *text; } rows[] = {
		{ 0, "1970-01-01T00:00:00.000Z" },
		{ 951782399999, "2000-02-28T23:59:59.999Z" },
		{ 951782400000, "2000-02-29T00:00:00.000Z" },
		{ 951868800000, "2000-03-01T00:00:00.000Z" },
		{ 1795395723456, "2026-11-23T01:02:03.456Z" },
		{ 4107542400000, "2100-03-01T00:00:00.000Z" },
		{ 253402300799999, "9999-12-31T23:59:59.999Z" },
		{ UINT64_MAX, "9999-12-31T23:59:59.999Z" },
	};
	char text[32], id[17];
	size_t i;

	(void)state;
	for (i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		stanza_stamp(rows[i].ms, text);
		assert_string_equal(text, rows[i].text);
	}
	stanza_archive_id(UINT64_C(0xfedcba9876543210), id);
	assert_string_equal(id, "fedcba9876543210");
	stanza_archive_id(1, id);
	assert_string_equal(id, "0000000000000001");
}

/* Payloads of a daemon that was taken over: they would close the receiver's stream, or open another. */
static void
test_canonical(void **state)
{
	static const struct {
		const char *payload;
		bool canonical;
	} rows[] = {
		{ "", true },
		{ "<body>a &lt; b</body><x xmlns='urn:x'/>", true },
		{ "</message></stream:stream>", false },
		{ "<body>a</body></message><message><body>b</body>", false },
		{ "<body>a", false },
		{ "<body></body>", false },
		{ "<body>a & b</body>", false },
		{ "<!-- --><body>a</body>", false },
		{ "<?x?>", false },
		{ "<stream:error/>", false },
		{ "<body>\xff</body>", false },
	};
	size_t i;

	(void)state;
	for (i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		struct frame f = { .payload = slice_string(rows[i].payload) };

		assert_int_equal(stanza_is_canonical(&f), rows[i].canonical);
	}
}

int
main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_classify),
		cmocka_unit_test(test_write),
		cmocka_unit_test(test_write_carbon),
		cmocka_unit_test(test_error_reply),
		cmocka_unit_test(test_result),
		cmocka_unit_test(test_stamp),
		cmocka_unit_test(test_stamp_read),
		cmocka_unit_test(test_canonical),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
