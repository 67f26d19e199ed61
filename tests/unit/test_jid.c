/*
 * test_jid.c: addresses against RFC 7622's examples and rules, and against each other.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "error.h"
#include "jid.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))
/* A literal that may hold NUL bytes or may not be UTF-8. */
#define BYTES(literal) { (literal), sizeof(literal) - 1 }

/* The parts of a struct jid lie in full, in order, and make it up. */
static void
assert_parts(const struct jid *jid)
{
	const char *at = jid->full.ptr;

	if (jid->local.ptr != NULL) {
		assert_ptr_equal(jid->local.ptr, at);
		at += jid->local.len;
		assert_int_equal(*at++, '@');
	}
	assert_non_null(jid->domain.ptr);
	assert_ptr_equal(jid->domain.ptr, at);
	at += jid->domain.len;
	assert_true(slice_equal(jid_bare(jid),
	    slice_of(jid->full.ptr, (size_t)(at - jid->full.ptr))));
	assert_true(slice_equal(jid_bare(jid), jid_bare_of(jid->full)));
	if (jid->resource.ptr != NULL) {
		assert_int_equal(*at++, '/');
		assert_ptr_equal(jid->resource.ptr, at);
		at += jid->resource.len;
	}
	assert_ptr_equal(at, jid->full.ptr + jid->full.len);
}

/* Whatever the text is: what jid_prepare() gives is canonical, and jid_parse() takes just that. */
static int
check_text(struct slice text)
{
	char out[JID_MAX + 1], again[JID_MAX + 1];
	struct jid jid, parsed, second, split;
	int error = jid_prepare(text, out, &jid);
	int parse_error = jid_parse(text, &parsed);

	if (error != OK) {
		assert_true(error == E_MALFORMED || error == E_TOO_BIG);
		assert_int_equal(parse_error, E_MALFORMED);
		return error;
	}
	assert_ptr_equal(jid.full.ptr, out);
	assert_true(jid.full.len <= JID_MAX);
	assert_int_equal(out[jid.full.len], '\0');
	assert_parts(&jid);
	assert_int_equal(parse_error, slice_equal(text, jid.full) ? OK : E_MALFORMED);
	assert_int_equal(jid_parse(jid.full, &parsed), OK);
	assert_memory_equal(&parsed, &jid, sizeof(jid));
	jid_split(jid.full, &split);
	assert_memory_equal(&split, &jid, sizeof(jid));
	assert_int_equal(jid_prepare(jid.full, again, &second), OK);
	assert_true(slice_equal(second.full, jid.full));
	return OK;
}

static void
assert_prepares(const char *text, const char *canonical)
{
	char out[JID_MAX + 1];
	struct jid jid;
	int error = check_text(slice_string(text));

	if (error != OK)
		fail_msg("<%s> was refused: %s", text, error_text(error));
	jid_prepare(slice_string(text), out, &jid);
	assert_string_equal(out, canonical);
}

static void
assert_refused(struct slice text)
{
	if (check_text(text) != E_MALFORMED)
		fail_msg("<%.*s> was not refused as malformed", SLICE_ARG(text));
}

static const struct {
	const char *text;
	const char *canonical; /* NULL: the text itself */
} rfc7622_valid[] = {
	{ "juliet@example.com", NULL },
	{ "juliet@example.com/foo", NULL },
	{ "juliet@example.com/foo bar", NULL },
	{ "juliet@example.com/foo@bar", NULL },
	{ "foo\\20bar@example.com", NULL },
	{ "fussball@example.com", NULL },
	{ "fu\u00DFball@example.com", NULL },
	{ "\u03C0@example.com", NULL },
	{ "\u03A3@example.com/foo", "\u03C3@example.com/foo" },
	{ "\u03C3@example.com/foo", NULL },
	{ "\u03C2@example.com/foo", NULL },
	{ "king@example.com/\u265A", NULL },
	{ "example.com", NULL },
	{ "example.com/foobar", NULL },
	{ "a.example.com/b@example.net", NULL },
	/* Row 18 of the other table: its leading space is valid, says verified erratum 4560. */
	{ "juliet@example.com/ foo", NULL },
};

static const char *const rfc7622_invalid[] = {
	"\"juliet\"@example.com",
	"foo bar@example.com",
	"@example.com/",
	"henry\u2163@example.com",
	"\u265A@example.com",
	"juliet@",
	"/foobar",
};

static void
test_rfc7622(void **state)
{
	size_t i;

	(void)state;
	for (i = 0; i < COUNT(rfc7622_valid); i++)
		assert_prepares(rfc7622_valid[i].text, rfc7622_valid[i].canonical != NULL ?
		    rfc7622_valid[i].canonical : rfc7622_valid[i].text);
	for (i = 0; i < COUNT(rfc7622_invalid); i++)
		assert_refused(slice_string(rfc7622_invalid[i]));
}

static void
test_separators(void **state)
{
	static const struct {
		const char *text, *local, *domain, *resource;
	} rows[] = {
		{ "a@b/c", "a", "b", "c" },
		{ "a@b/c/d", "a", "b", "c/d" },
		{ "a@b//", "a", "b", "/" },
		{ "a@b/@", "a", "b", "@" },
		{ "b/c@d/e", NULL, "b", "c@d/e" },
		{ "b/@", NULL, "b", "@" },
		{ "a/b@", NULL, "a", "b@" },
		{ "b", NULL, "b", NULL },
	};
	static const char *const bad[] = {
		"", "@", "/", "@/", "a@", "@b", "a@/c", "/c", "a@b/", "b/", "a@b@c", "a@@b", "@@b",
		"a@b@c/d", " ", "a@ b", "a@b ", " a@b", "a@b\n", "\ta@b", "a@b:5222",
		"a&b@c", "a'b@c", "a:b@c", "a<b@c", "a>b@c", "a\"b@c",
	};
	char out[JID_MAX + 1];
	struct jid jid;
	size_t i;

	(void)state;
	for (i = 0; i < COUNT(bad); i++)
		assert_refused(slice_string(bad[i]));
	for (i = 0; i < COUNT(rows); i++) {
		assert_int_equal(jid_prepare(slice_string(rows[i].text), out, &jid), OK);
		assert_true(slice_is(jid.domain, rows[i].domain));
		assert_int_equal(jid.local.ptr == NULL, rows[i].local == NULL);
		assert_int_equal(jid.resource.ptr == NULL, rows[i].resource == NULL);
		assert_true(slice_is(jid.local, rows[i].local));
		assert_true(slice_is(jid.resource, rows[i].resource));
	}
	assert_refused(SLICE_NONE);
}

/* Writes count copies of unit, and a NUL; returns where they end. */
static char *
repeat(char *at, const char *unit, size_t count)
{
	size_t len = strlen(unit);

	for (; count > 0; count--) {
		memcpy(at, unit, len);
		at += len;
	}
	*at = '\0';
	return at;
}

static void
assert_part(int (*prepare)(struct slice, char *, struct slice *), const char *unit, size_t count,
    const char *tail, int expected, size_t expected_len)
{
	char text[8192], out[JID_PART_MAX + 1];
	struct slice part;

	repeat(repeat(text, unit, count), tail, 1);
	assert_int_equal(prepare(slice_string(text), out, &part), expected);
	if (expected != OK)
		return;
	assert_ptr_equal(part.ptr, out);
	assert_int_equal(part.len, expected_len);
	assert_int_equal(out[part.len], '\0');
}

static void
test_lengths(void **state)
{
	(void)state;
	assert_part(jid_prepare_local, "a", 1023, "", OK, 1023);
	assert_part(jid_prepare_local, "a", 1024, "", E_TOO_BIG, 0);
	assert_part(jid_prepare_local, "\u00DF", 511, "a", OK, 1023);
	assert_part(jid_prepare_local, "\u00DF", 512, "", E_TOO_BIG, 0);
	/* Limits hold after mapping, whether it shrinks the text or makes it grow. */
	assert_part(jid_prepare_local, "\uFF21", 1023, "", OK, 1023);
	assert_part(jid_prepare_local, "\uFF21", 1024, "", E_TOO_BIG, 0);
	assert_part(jid_prepare_local, "\u0130", 341, "", OK, 1023);
	assert_part(jid_prepare_local, "\u0130", 342, "", E_TOO_BIG, 0);
	assert_part(jid_prepare_local, "\u00DF", 4000, "", E_TOO_BIG, 0);
	assert_part(jid_prepare_local, "", 0, "", E_MALFORMED, 0);
	assert_part(jid_prepare_resource, "a", 1023, "", OK, 1023);
	assert_part(jid_prepare_resource, "a", 1024, "", E_TOO_BIG, 0);
	assert_part(jid_prepare_resource, "\u3000", 1023, "", OK, 1023);
	assert_part(jid_prepare_resource, "\u3000", 1024, "", E_TOO_BIG, 0);
	assert_part(jid_prepare_resource, "\u00DF", 512, "", E_TOO_BIG, 0);
	assert_part(jid_prepare_resource, "", 0, "", E_MALFORMED, 0);
	assert_part(jid_prepare_password, "a", 1023, "", OK, 1023);
	assert_part(jid_prepare_password, "a", 1024, "", E_TOO_BIG, 0);
	assert_part(jid_prepare_domain, "a", 63, "", OK, 63);
	assert_part(jid_prepare_domain, "a", 64, "", E_TOO_BIG, 0);
	assert_part(jid_prepare_domain, "a.", 126, "a", OK, 253);
	assert_part(jid_prepare_domain, "a.", 127, "", OK, 253);
	assert_part(jid_prepare_domain, "a.", 127, "a", E_TOO_BIG, 0);
	assert_part(jid_prepare_domain, "a.", 2000, "", E_TOO_BIG, 0);
	/* A domain's limit holds for its ASCII form: 247 and 255 bytes, without the final dot. */
	assert_part(jid_prepare_domain, "\u00DF.", 31, "", OK, 92);
	assert_part(jid_prepare_domain, "\u00DF.", 32, "", E_TOO_BIG, 0);
	assert_part(jid_prepare_domain, "xn--zca.", 31, "", OK, 92);
	assert_part(jid_prepare_domain, "xn--zca.", 32, "", E_TOO_BIG, 0);
	assert_part(jid_prepare_domain, "\uFF41", 63, "", OK, 63);
	assert_part(jid_prepare_domain, "\uFF41", 64, "", E_TOO_BIG, 0);
	assert_part(jid_prepare_domain, "", 0, "", E_MALFORMED, 0);
}

static void
test_whole_length(void **state)
{
	char text[2 * JID_MAX], *at;

	(void)state;
	at = repeat(text, "a", JID_PART_MAX);
	*at++ = '@';
	at = repeat(at, "a.", 126);
	*at++ = 'a';
	*at++ = '/';
	at = repeat(at, "r", JID_PART_MAX);
	assert_int_equal(check_text(slice_string(text)), OK);
	repeat(at, "r", 1);
	assert_int_equal(check_text(slice_string(text)), E_TOO_BIG);
	repeat(at, "r", JID_PART_MAX);
	assert_int_equal(check_text(slice_string(text)), E_TOO_BIG);
}

static void
test_utf8(void **state)
{
	static const struct slice bad[] = {
		BYTES("\x80"),             /* a continuation alone */
		BYTES("\xC3"),             /* cut short */
		BYTES("\xE2\x82"),
		BYTES("\xF0\x9F\x98"),
		BYTES("\xC3\x28"),         /* no continuation */
		BYTES("\xC0\xAF"),         /* overlong '/' */
		BYTES("\xE0\x80\xAF"),
		BYTES("\xF0\x80\x80\xAF"),
		BYTES("\xC1\x81"),         /* overlong 'A' */
		BYTES("\xC0\x80"),         /* overlong NUL */
		BYTES("\xED\xA0\x80"),     /* surrogates */
		BYTES("\xED\xBF\xBF"),
		BYTES("\xF4\x90\x80\x80"), /* past U+10FFFF */
		BYTES("\xF8\x88\x80\x80\x80"),
		BYTES("\xFE"),
		BYTES("\xFF\xFE"),
		BYTES("\x00"),
		BYTES("\x1F"),
		BYTES("\x7F"),
		BYTES("\xC2\x85"),         /* a control */
		BYTES("\xEF\xBF\xBF"),     /* not a character */
		BYTES("\xEE\x80\x80"),     /* private use */
	};
	static const char *const frames[][2] = {
		{ "", "@b/c" }, { "x", "y@b/c" }, { "a@", "/c" }, { "a@x", "y/c" },
		{ "a@b/", "" }, { "a@b/x", "y" }, { "a@b/\u00DF", "" }, { "\u00DF", "@b" },
	};
	char text[64], out[JID_PART_MAX + 1];
	struct slice part;
	size_t i, j;

	(void)state;
	for (i = 0; i < COUNT(bad); i++) {
		for (j = 0; j < COUNT(frames); j++) {
			char *at = repeat(text, frames[j][0], 1);

			memcpy(at, bad[i].ptr, bad[i].len);
			at = repeat(at + bad[i].len, frames[j][1], 1);
			assert_refused(slice_of(text, (size_t)(at - text)));
		}
		assert_int_equal(jid_prepare_password(bad[i], out, &part), E_MALFORMED);
	}
}

static void
test_mapping(void **state)
{
	(void)state;
	assert_prepares("Juliet@Example.COM/Balcony", "juliet@example.com/Balcony");
	assert_prepares("\uFF2A\uFF55@x", "ju@x");
	assert_prepares("A\u030A@x/A\u030A", "\u00E5@x/\u00C5");
	assert_prepares("\u212B@x/\u212B", "\u00E5@x/\u00C5");
	assert_prepares("\u1100\u1161@x/\u1100\u1161", "\uAC00@x/\uAC00");
	assert_prepares("\u0391\u03A3@x", "\u03B1\u03C2@x"); /* a final sigma */
	assert_prepares("\u0130@x", "i\u0307@x");
	assert_prepares("a@b/c\u00A0d\u1680e\u2003f\u3000g", "a@b/c d e f g");
	/* FreeformClass keeps what IdentifierClass refuses. */
	assert_prepares("a@b/\uFF21\u2163\u00BD\u01C5", "a@b/\uFF21\u2163\u00BD\u01C5");
	assert_refused(SLICE("\u00BD@b"));
	assert_refused(SLICE("a\u00A0b@b"));
	assert_refused(SLICE("\uFB01@b")); /* a ligature */
	/* Neither class has these: soft hyphen, tatweel, a jamo alone, an unassigned one. */
	assert_refused(SLICE("a@b/\u00AD"));
	assert_refused(SLICE("a@b/\u0640"));
	assert_refused(SLICE("a@b/\u1160"));
	assert_refused(SLICE("a@b/\u0378"));
	/* The width mapping produces what a localpart must not have. */
	assert_refused(SLICE("a\uFF20z@b"));
	assert_refused(SLICE("a\uFF0Fz@b"));
	assert_refused(SLICE("a\uFF06z@b"));
	assert_refused(SLICE("a\u3000z@b"));
	assert_prepares("a@b/\uFF20", "a@b/\uFF20");
}

static void
test_bidi(void **state)
{
	static const char *const good[] = {
		"\u05D0\u05D1@x", "\u05D01@x", "\u05D0\u05B0@x", "\u0627\u0661@x",
		"\u05D0-\u05D1@x",
		"\u05D01\u05D1@x", "x@x/1\u05D0", "x@x/\u05D0a",
	};
	static const char *const bad[] = {
		"1\u05D0@x", "\u05D0a@x", "a\u05D0@x", "\u0661@x", "a\u0661@x", "\u05D0-@x",
		"\u0627\u06611@x", "\u05B0\u05D0@x", "-\u05D0@x", "a@\u05D0a", "a@\u05D0.a\u05D0",
	};
	size_t i;

	(void)state;
	for (i = 0; i < COUNT(good); i++)
		assert_prepares(good[i], good[i]);
	for (i = 0; i < COUNT(bad); i++)
		assert_refused(slice_string(bad[i]));
}

/* RFC 5892 appendix A, in its order. */
static void
test_contexts(void **state)
{
	static const char *const good[] = {
		"\u0915\u094D\u200C\u0937", "\u0628\u200C\u0628", "\u0628\u064E\u200C\u064E\u0628",
		"\u0915\u094D\u200D\u0937",
		"l\u00B7l", "xl\u00B7lx",
		"\u0375\u03B1",
		"\u05D0\u05F3", "\u05D0\u05F4\u05D0",
		"\u30FB\u30A2", "a\u30FB\u3042", "\u6F22\u30FBa",
		"\u0627\u0660\u0669", "\u0627\u06F0\u06F9",
	};
	static const char *const bad[] = {
		"\u200C", "a\u200Cb", "\u0628\u200C", "\u200C\u0628", "\u0628\u200Ca",
		"a\u200C\u0628",
		"\u200D", "a\u200D", "\u0628\u200D\u0628",
		"\u00B7", "l\u00B7", "\u00B7l", "l\u00B7a", "a\u00B7l",
		"\u0375", "\u0375a", "\u03B1\u0375",
		"\u05F3", "a\u05F3", "\u05F3\u05D0", "\u05F4\u05D0",
		"\u30FB", "a\u30FBb",
		"\u0627\u0660\u06F0",
	};
	char text[64];
	size_t i;

	(void)state;
	for (i = 0; i < COUNT(good); i++) {
		repeat(repeat(text, good[i], 1), "@x", 1);
		assert_prepares(text, text);
		repeat(repeat(text, "x/", 1), good[i], 1);
		assert_prepares(text, text);
	}
	for (i = 0; i < COUNT(bad); i++) {
		repeat(repeat(text, bad[i], 1), "@x", 1);
		assert_refused(slice_string(text));
		repeat(repeat(text, "x/", 1), bad[i], 1);
		assert_refused(slice_string(text));
	}
	/* A rule holds for the mapped text. */
	assert_prepares("L\u00B7L@x", "l\u00B7l@x");
}

static void
test_domains(void **state)
{
	static const struct {
		const char *text;
		const char *canonical;
	} good[] = {
		{ "EXAMPLE.com.", "example.com" },
		{ "xn--strae-oqa.de", "stra\u00DFe.de" },
		{ "XN--STRAE-OQA.DE", "stra\u00DFe.de" },
		{ "Stra\u00DFe.DE", "stra\u00DFe.de" },
		{ "xn--strae-oqa.stra\u00DFe", "stra\u00DFe.stra\u00DFe" },
		{ "M\u00DCNCHEN.de", "m\u00FCnchen.de" },
		{ "mu\u0308nchen.de", "m\u00FCnchen.de" },
		{ "xn--mnchen-3ya.de", "m\u00FCnchen.de" },
		{ "\uFF45\uFF58.\uFF23\uFF2F\uFF2D", "ex.com" },
		{ "\u00DF\u3002de", "\u00DF.de" },
		{ "\u00DF\uFF0Ede\uFF61", "\u00DF.de" },
		{ "\u0391\u03A3.gr", "\u03B1\u03C3.gr" }, /* no final sigma from a capital one */
		{ "\u03B1\u03C2.gr", "\u03B1\u03C2.gr" },
		{ "\u0915\u094D\u200D\u0937.in", "\u0915\u094D\u200D\u0937.in" },
		{ "1.2.3.4", "1.2.3.4" },
		{ "1.2.3.4.", "1.2.3.4" },
		{ "\uFF11.2.3.4", "1.2.3.4" },
		{ "1.example", "1.example" },
		{ "[::1]", "[::1]" },
		{ "[2001:DB8:0:0::0001]", "[2001:db8::1]" },
		{ "[::ffff:192.0.2.1]", "[::ffff:192.0.2.1]" },
		{ "[::FFFF:C000:201]", "[::ffff:192.0.2.1]" },
		{ "[2001:db8:0:1:1:1:1:1]", "[2001:db8:0:1:1:1:1:1]" },
	};
	static const char *const bad[] = {
		".", "..", "a..b", ".a", "a..", "-a", "a-", "a.-b", "a_b", "a!", "a b", "a%62",
		"ab--cd", "xn--", "xn--a", "xn--abc-", "xn--a-", "xn--cafe-yvc", "xn--\u00DF",
		"a\u00DF--", "\u00DF--x-", "\u00DF..de", "\u00DF.a_b", "\u00DF.-b",
		"\u2603.com", "a\uFF0Fb", "a\uFF20b", "\uFF3B::1]", "\u0300a", "a\u200Cb", "\u0378",
		"xn--ls8h",      /* an emoji */
		"xn--stxn--sqa", /* a hyphen at the end, once decoded */
		"127.1", "1", "1.2.3.400", "01.02.03.04", "1.2.3", "1.2.3.4.5",
		"[", "[]", "]", "[::1", "::1", "[::1].", "[::1]a", "[::g]", "[1.2.3.4]", "[::1%lo]",
		"[v1.a]", "[fe80::1%25eth0]", "[:::]", "[::\u0661]",
		"[1111:2222:3333:4444:5555:6666:7777:8888:9999:aaaa:bbbb:cccc]",
	};
	char out[JID_PART_MAX + 1];
	struct slice part;
	size_t i;

	(void)state;
	for (i = 0; i < COUNT(good); i++) {
		assert_prepares(good[i].text, good[i].canonical);
		assert_int_equal(jid_prepare_domain(slice_string(good[i].text), out, &part), OK);
		assert_true(slice_is(part, good[i].canonical));
	}
	for (i = 0; i < COUNT(bad); i++)
		assert_refused(slice_string(bad[i]));
	assert_refused((struct slice)BYTES("[::1\0]"));
	assert_refused((struct slice)BYTES("\u00DF\0.de"));
}

static void
test_domain_ascii(void **state)
{
	static const char *const rows[][2] = {
		{ "example.com", "example.com" },
		{ "stra\u00DFe.de", "xn--strae-oqa.de" },
		{ "m\u00FCnchen.example", "xn--mnchen-3ya.example" },
		{ "192.0.2.1", "192.0.2.1" },
		{ "[::1]", "[::1]" },
	};
	char out[256], long_text[512];
	size_t i;

	(void)state;
	for (i = 0; i < COUNT(rows); i++) {
		assert_int_equal(jid_domain_ascii(slice_string(rows[i][0]), out), OK);
		assert_string_equal(out, rows[i][1]);
	}
	assert_int_equal(jid_domain_ascii(SLICE_NONE, out), E_MALFORMED);
	assert_int_equal(jid_domain_ascii(SLICE("a\0b"), out), E_MALFORMED);
	assert_int_equal(jid_domain_ascii(SLICE("\u2603"), out), E_MALFORMED);
	repeat(long_text, "a.", 127);
	assert_int_equal(jid_domain_ascii(slice_string(long_text), out), E_MALFORMED);
	repeat(long_text, "\u00DF.", 100);
	assert_int_equal(jid_domain_ascii(slice_string(long_text), out), E_MALFORMED);
}

static void
test_parse_wants_canonical(void **state)
{
	static const char *const rows[] = {
		"Juliet@example.com", "juliet@Example.com", "juliet@example.com.", "a@xn--zca.de",
		"A\u030A@b", "\u00C5@b", "a@\u00C4.de", "a@b/A\u030A", "a@b/\u00A0", "\uFF41@b",
		"a@[0::1]", "a@[::1]x", "a@b\u3002c",
	};
	struct jid jid;
	size_t i;

	(void)state;
	for (i = 0; i < COUNT(rows); i++) {
		assert_int_equal(jid_parse(slice_string(rows[i]), &jid), E_MALFORMED);
		check_text(slice_string(rows[i]));
	}
	assert_int_equal(jid_parse(SLICE("a@b/c d"), &jid), OK);
	assert_int_equal(jid_parse(SLICE("\u00E5@\u00E4.de/\u00C5"), &jid), OK);
	assert_true(slice_is(jid_bare(&jid), "\u00E5@\u00E4.de"));
	assert_true(slice_is(jid_bare_of(SLICE("b")), "b"));
	assert_true(slice_is(jid_bare_of(SLICE("a@b/c@d/e")), "a@b"));
	assert_int_equal(jid_parse(SLICE_NONE, &jid), E_MALFORMED);
}

static void
test_password(void **state)
{
	char out[JID_PART_MAX + 1];
	struct slice password;

	(void)state;
	assert_int_equal(jid_prepare_password(SLICE("Correct\u00A0Horse"), out, &password), OK);
	assert_string_equal(out, "Correct Horse");
	assert_int_equal(jid_prepare_password(SLICE("e\u0301/@\u20AC"), out, &password), OK);
	assert_true(slice_is(password, "\u00E9/@\u20AC"));
	assert_int_equal(jid_prepare_password(SLICE(""), out, &password), E_MALFORMED);
	assert_int_equal(jid_prepare_password(SLICE_NONE, out, &password), E_MALFORMED);
	assert_int_equal(jid_prepare_password(SLICE("a\tb"), out, &password), E_MALFORMED);
}

/* Writes a code point as UTF-8, a surrogate too. */
static size_t
encode(uint32_t cp, char *out)
{
	size_t i, more = cp < 0x80 ? 0 : cp < 0x800 ? 1 : cp < 0x10000 ? 2 : 3;
	static const uint8_t first[] = { 0x00, 0xC0, 0xE0, 0xF0 };

	out[0] = (char)(first[more] | cp >> 6 * more);
	for (i = 1; i <= more; i++)
		out[i] = (char)(0x80 | (cp >> 6 * (more - i) & 0x3F));
	return more + 1;
}

/* How far to go on from a code point: every hundredth will do where all are alike. */
static uint32_t
stride(uint32_t cp)
{
	static const struct {
		uint32_t first, last;
	} alike[] = {
		{ 0x3400, 0x4DBF },   { 0x4E00, 0x9FFF },   { 0xAC00, 0xD7A3 },
		{ 0xD800, 0xF8FF },   { 0x17000, 0x18AFF }, { 0x20000, 0x2F7FF },
		{ 0x30000, 0xDFFFF }, { 0xE0200, 0x10FF00 },
	};
	size_t i;

	for (i = 0; i < COUNT(alike); i++)
		if (cp >= alike[i].first && cp + 100 <= alike[i].last)
			return 100;
	return 1;
}

static void
test_every_character(void **state)
{
	char text[16];
	uint32_t cp;

	(void)state;
	for (cp = 0; cp <= 0x10FFFF; cp += stride(cp)) {
		size_t len = encode(cp, text);

		memcpy(text + len, "@x", 2);
		check_text(slice_of(text, len + 2));
		memcpy(text, "x@", 2);
		len = encode(cp, text + 2);
		check_text(slice_of(text, len + 2));
		text[1] = '/';
		check_text(slice_of(text, len + 2));
	}
}

/* Code points and pieces that do something. */
static const char *const pieces[] = {
	"a", "A", "l", "s", "1", "9", "-", "--", ".", "@", "/", "[", "]", ":", "::1", " ", "xn--",
	"zca", "strae-oqa", "\u00DF", "\u00C5", "\u030A", "\u0301", "\u0323", "\u0307", "\u0130",
	"\u03A3", "\u03C3", "\u03C2", "\u0391", "\u0345", "\u1FB3", "\u1FBC", "\u1E9E",
	"\u01C4", "\u01C5",
	"\u00B7", "\u0375", "\u05D0", "\u05F3", "\u05B0", "\u0628", "\u064E", "\u0660", "\u06F1",
	"\u200C", "\u200D", "\u0915", "\u094D", "\u0958", "\u30FB", "\u30A2", "\uFF71", "\uFF9E",
	"\u3002", "\uFF0E", "\uFF21", "\uFF20", "\uFF0F", "\uFF1C", "\u0338", "\u3000", "\u00A0",
	"\u1100", "\u1161", "\u11A8", "\uAC00", "\uFFA1", "\u212A", "\u2126", "\u2163", "\u265A",
	"\u13A0", "\uAB70", "\u10A0", "\u2D00", "\U00010400", "\U0001F600", "\U0001D15E", "\u0344",
	"\u0F73", "\u0F71", "\u0F72", "\xC3", "\xED\xA0\x80",
};

static void
test_generated(void **state)
{
	uint32_t seed = 7622;
	size_t round, accepted = 0;

	(void)state;
	for (round = 0; round < 40000; round++) {
		char text[256], *at = text;
		size_t count;

		seed = seed * 1664525 + 1013904223;
		for (count = 1 + (seed >> 24) % 7; count > 0; count--) {
			seed = seed * 1664525 + 1013904223;
			at = repeat(at, pieces[(seed >> 16) % COUNT(pieces)], 1);
		}
		if (round % 3 == 0)
			at = repeat(at, "@x", 1);
		else if (round % 3 == 1) {
			memmove(text + 2, text, (size_t)(at - text));
			memcpy(text, "x/", 2);
			at += 2;
		}
		accepted += check_text(slice_of(text, (size_t)(at - text))) == OK;
	}
	/* Not vacuous. */
	assert_true(accepted > 4000);
}

int
main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_rfc7622),
		cmocka_unit_test(test_separators),
		cmocka_unit_test(test_lengths),
		cmocka_unit_test(test_whole_length),
		cmocka_unit_test(test_utf8),
		cmocka_unit_test(test_mapping),
		cmocka_unit_test(test_bidi),
		cmocka_unit_test(test_contexts),
		cmocka_unit_test(test_domains),
		cmocka_unit_test(test_domain_ascii),
		cmocka_unit_test(test_parse_wants_canonical),
		cmocka_unit_test(test_password),
		cmocka_unit_test(test_every_character),
		cmocka_unit_test(test_generated),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
