/*
 * test_blocklist.c: authd's block lists (XEP-0191): what changes them, what is said of it and to whom, what
 * they do to requests and subscriptions; and the reports that come with them (XEP-0377).
 *
 * Links: authd
 */
#include "authd_test.h"

#define BLOCK(items)   "<block xmlns='" NS_BLOCKING "'>" items "</block>"
#define UNBLOCK(items) "<unblock xmlns='" NS_BLOCKING "'>" items "</unblock>"
#define ITEM(jid)      "<item jid='" jid "'/>"
#define REPORTED(jid, attributes, content) "<item jid='" jid "'><report xmlns='" NS_REPORTING "'" \
	attributes ">" content "</report></item>"
#define SPAM " reason='urn:xmpp:reporting:spam'"
#define LIST "<blocklist xmlns='" NS_BLOCKING "'/>"

static void
set(const char *from, const char *payload)
{
	test_ask(from, NULL, TYPE_SET, NS_BLOCKING, payload, false);
}

static void
expect_list(const char *account, const char *items)
{
	struct buf wanted = { 0 };

	test_ask(account, NULL, TYPE_GET, NS_BLOCKING, LIST, false);
	buf_printf(&wanted, "<blocklist xmlns='" NS_BLOCKING "'%s%s%s%c", items[0] != '\0' ? ">" : "/>",
	    items, items[0] != '\0' ? "</blocklist>" : "", '\0');
	test_result(buf_slice(&wanted).ptr);
	test_silent();
	buf_free(&wanted);
}

/* The router first, then the sessions that have asked, then the answer. */
static void
expect_change(const char *list, const char *push)
{
	struct frame f;

	assert_true(test_next(&f) && f.type == FRAME_BLOCKS && slice_is(f.jid, ROMEO));
	assert_true(slice_is(f.text, list));
	assert_true(test_next(&f) && f.type == FRAME_STANZA && f.audience == AUDIENCE_BLOCKS);
	assert_true(f.subtype == TYPE_SET && slice_is(f.to, ROMEO) && f.id.len != 0);
	assert_true(slice_is(f.payload, push));
	test_result(NULL);
	test_silent();
}

static void
test_changes(void **unused)
{
	(void)unused;
	expect_list(ROMEO, "");
	set(ROMEO, BLOCK(ITEM("Nurse@Remote.Example") ITEM("a.example") ITEM("a.example")));
	expect_change("a.example\nnurse@remote.example\n", BLOCK(ITEM("a.example") ITEM(REMOTE)));
	expect_list(ROMEO, ITEM("a.example") ITEM(REMOTE));
	expect_list(JULIET, "");
	set(ROMEO, UNBLOCK(ITEM("never@blocked.example") ITEM("a.example")));
	expect_change(REMOTE "\n", UNBLOCK(ITEM("a.example") ITEM("never@blocked.example")));
	set(ROMEO, BLOCK(ITEM("b.example/R")));
	expect_change("b.example/R\n" REMOTE "\n", BLOCK(ITEM("b.example/R")));
	set(ROMEO, "<unblock xmlns='" NS_BLOCKING "'/>");
	expect_change("", "<unblock xmlns='" NS_BLOCKING "'/>");
	assert_int_equal(store_count(state.store, TABLE_BLOCK), 0);
}

static void
test_errors(void **unused)
{
	static const struct { const char *payload, *condition; } rows[] = {
		{ "<block xmlns='" NS_BLOCKING "'/>", "bad-request" },
		{ BLOCK("<item/>"), "bad-request" },
		{ BLOCK("<entry jid='a.example'/>"), "bad-request" },
		{ BLOCK("<item xmlns='x' jid='a.example'/>"), "bad-request" },
		{ BLOCK(ITEM("a.example") ITEM("@")), "jid-malformed" },
		{ BLOCK(ITEM("")), "jid-malformed" },
		{ "<list xmlns='" NS_BLOCKING "'/>", "bad-request" },
		{ LIST, "bad-request" },
		{ BLOCK(ITEM("a") ITEM("b") ITEM("c") ITEM("d") ITEM("e") ITEM("f")),
		    "resource-constraint" },
	};
	size_t i;

	(void)unused;
	for (i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		set(ROMEO, rows[i].payload);
		test_error(rows[i].condition);
		test_silent();
	}
	expect_list(ROMEO, "");
	set(ROMEO, BLOCK(ITEM("a") ITEM("b") ITEM("c") ITEM("d") ITEM("e")));
	buf_clear(&test_said);
	set(ROMEO, BLOCK(ITEM("f")));
	test_error("resource-constraint");
	set(ROMEO, BLOCK(ITEM("e")));
	expect_change("a\nb\nc\nd\ne\n", BLOCK(ITEM("e")));
	test_ask(ROMEO, NULL, TYPE_GET, NS_BLOCKING, BLOCK(ITEM("a")), false);
	test_error("bad-request");
	test_ask(JULIET, ROMEO, TYPE_GET, NS_BLOCKING, LIST, false);
	test_error("forbidden");
	test_ask("nobody@example.org", NULL, TYPE_SET, NS_BLOCKING, BLOCK(ITEM("a")), false);
	test_error("forbidden");
	test_ask(NULL, "example.org", TYPE_GET, NS_BLOCKING, LIST, false);
	test_error("not-authorized");
}

/* Who is blocked finds what is found where nobody is. */
static void
test_blocked_contact(void **unused)
{
	static const char *const asked[][2] = {
		{ NS_VCARD, "<vCard xmlns='" NS_VCARD "'/>" },
		{ NS_LAST, "<query xmlns='" NS_LAST "'/>" },
	};
	struct frame f;
	size_t i;

	(void)unused;
	set(ROMEO, BLOCK(ITEM(JULIET)));
	buf_clear(&test_said);
	for (i = 0; i < sizeof asked / sizeof asked[0]; i++) {
		test_ask(JULIET, ROMEO, TYPE_GET, asked[i][0], asked[i][1], false);
		test_error("service-unavailable");
	}
	test_presence(JULIET, ROMEO, TYPE_SUBSCRIBE, false);
	while (test_next(&f))
		assert_true(slice_is(f.to, JULIET) || slice_is(f.jid, JULIET));
	assert_int_equal(test_bits(ROMEO, JULIET), 0);
	test_ask(ROMEO, JULIET, TYPE_GET, NS_VCARD, asked[0][1], false);
	test_error("service-unavailable");
}

/* It comes with the roster and with the knowledge that there is such an account, and goes with it. */
static void
test_told(void **unused)
{
	struct frame f;

	(void)unused;
	set(ROMEO, BLOCK(ITEM("a.example")));
	buf_clear(&test_said);
	roster_load(SLICE(ROMEO));
	test_collect();
	assert_true(test_next(&f) && f.type == FRAME_ROSTER && slice_is(f.text, "a.example\n"));
	account_tell(SLICE(ROMEO));
	test_collect();
	assert_true(test_next(&f) && f.type == FRAME_ACCOUNT_IS && slice_is(f.text, "a.example\n"));
	assert_int_equal(account_remove(SLICE(ROMEO), false, NOW), OK);
	test_collect();
	buf_clear(&test_said);
	assert_int_equal(store_count(state.store, TABLE_BLOCK), 0);
}

/* -- reports -- */

static struct {
	unsigned count;
	char text[2000];
} seen;

static void
see(void *arg, const struct report *report)
{
	(void)arg;
	seen.count++;
	snprintf(seen.text, sizeof seen.text, "%llu %u %.*s %.*s %.*s [%.*s] %.*s [%.*s]",
	    (unsigned long long)report->number, report->flags, SLICE_ARG(report->reporter),
	    SLICE_ARG(report->reported), SLICE_ARG(report->reason), SLICE_ARG(report->text),
	    SLICE_ARG(report->lang), SLICE_ARG(report->ids));
}

static unsigned
reports(void)
{
	memset(&seen, 0, sizeof seen);
	report_each(see, NULL);
	return seen.count;
}

static void
test_report(void **unused)
{
	struct frame f;
	bool told = false;

	(void)unused;
	set(ROMEO, BLOCK(ITEM("a.example") REPORTED("Nurse@remote.example", SPAM,
	    "<text xml:lang='en'>a &lt; b</text><text>second</text><third-party/><report-origin xmlns='x'/>"
	    "<stanza-id xmlns='" NS_SID "' by='" ROMEO "' id='1'/><stanza-id by='" ROMEO "' id='2'/>"
	    "<stanza-id xmlns='" NS_SID "' by='@' id='3'/><stanza-id xmlns='" NS_SID "' by='" ROMEO "'/>"
	    "<stanza-id xmlns='" NS_SID "' by='" ROMEO "' id='4'/>")));
	assert_true(test_next(&f) && f.type == FRAME_BLOCKS);
	while (test_next(&f) && !(f.kind == STANZA_IQ && f.subtype == TYPE_RESULT)) {
		if (f.kind != STANZA_MESSAGE)
			continue;
		told = true;
		assert_true(slice_is(f.from, "example.org") && slice_is(f.to, JULIET));
		assert_true(slice_has(f.payload, REMOTE) && !slice_has(f.payload, "a &lt; b"));
	}
	assert_true(told);
	assert_int_equal(reports(), 1);
	assert_string_equal(seen.text, "1 2 " ROMEO " " REMOTE " urn:xmpp:reporting:spam [a < b] en ["
	    ROMEO " 1\n" ROMEO " 4\n]");
	assert_int_equal(report_find(2, see, NULL), E_NOT_FOUND);
	assert_int_equal(report_find(1, see, NULL), OK);
	assert_int_equal(report_remove(2), E_NOT_FOUND);
	assert_int_equal(report_remove(1), OK);
	assert_int_equal(reports(), 0);
	set(ROMEO, BLOCK(REPORTED("b.example", SPAM, "<third-party/>")));
	buf_clear(&test_said);
	assert_int_equal(reports(), 1);
	assert_string_equal(seen.text, "2 2 " ROMEO " b.example urn:xmpp:reporting:spam []  []");
}

/* What is wrong with a report is no matter to the block; what is wrong with the block is to the report. */
static void
test_reports_dropped(void **unused)
{
	struct buf long_text = { 0 };
	unsigned i;

	(void)unused;
	set(ROMEO, BLOCK(REPORTED("a.example", "", "<third-party/>")
	    REPORTED("b.example", " reason=''", "<third-party/>")));
	buf_clear(&test_said);
	expect_list(ROMEO, ITEM("a.example") ITEM("b.example"));
	set(ROMEO, BLOCK(REPORTED("a.example", SPAM, "<third-party/>") ITEM("@")));
	test_error("jid-malformed");
	set(ROMEO, UNBLOCK(REPORTED("a.example", SPAM, "<third-party/>")));
	buf_clear(&test_said);
	test_ask(ROMEO, NULL, TYPE_SET, NS_BLOCKING,
	    BLOCK(REPORTED("a.example", SPAM, "<third-party/>")), true);
	buf_clear(&test_said);
	set(ROMEO, BLOCK("<item jid='a.example'><report xmlns='urn:xmpp:reporting:0'" SPAM "/></item>"));
	buf_clear(&test_said);
	assert_int_equal(reports(), 0);
	buf_printf(&long_text, "<block xmlns='" NS_BLOCKING "'><item jid='a.example'><report xmlns='"
	    NS_REPORTING "'" SPAM "><text>");
	for (i = 0; i < 3000; i++)
		buf_add_string(&long_text, "\xc3\xa9");
	buf_add_string(&long_text, "</text></report></item></block>");
	buf_add_char(&long_text, '\0');
	for (i = 0; i < 5; i++) {
		set(ROMEO, buf_slice(&long_text).ptr);
		buf_clear(&test_said);
		assert_int_equal(reports(), i < 3 ? i + 1 : 3);
	}
	set(JULIET, BLOCK(REPORTED("a.example", SPAM, "<third-party/>")));
	buf_clear(&test_said);
	assert_int_equal(reports(), 4);
	assert_int_equal(account_remove(SLICE(ROMEO), false, NOW), OK);
	test_collect();
	buf_clear(&test_said);
	assert_int_equal(reports(), 1);
	buf_free(&long_text);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, test_open, test_close)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_changes),
		TEST(test_errors),
		TEST(test_blocked_contact),
		TEST(test_told),
		TEST(test_report),
		TEST(test_reports_dropped),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
