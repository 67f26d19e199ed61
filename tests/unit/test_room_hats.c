/*
 * test_room_hats.c: hats of rooms (XEP-0317): who gives and takes them, by which commands, who sees them, and what is
 * left of them.
 *
 * Links: mucd
 */
#include "room_engine.h"

#define ROOM    "school@" DOMAIN
#define TEACHER "http://a.test/hats#Teacher"
#define PROCTOR "urn:hats:proctor"

#define FORM(fields) "<x xmlns='" NS_DATA "' type='submit'><field var='FORM_TYPE'><value>" NS_HATS_COMMANDS \
	"</value></field>" fields "</x>"
#define FIELD(name, value) "<field var='hats#" name "'><value>" value "</value></field>"

static const char *
iq(const char *who, enum stanza_type type, const char *name, const char *ns, const char *node, const char *payload)
{
	char from[64];

	snprintf(from, sizeof from, "%s@a.test/1", who);
	buf_clear(&answered);
	give((struct frame){ .kind = STANZA_IQ, .subtype = type, .handle = 90, .from = slice_string(from),
		.to = SLICE(ROOM), .id = SLICE("q"), .name = slice_string(name), .ns = slice_string(ns),
		.node = slice_string(node), .payload = slice_string(payload) });
	assert_int_equal(inbox_run(now), OK);
	return texts(&answered);
}

/* Gives a command; what the room says of it is in sent alone. */
static const char *
command(const char *who, const char *node, const char *more, const char *form)
{
	char payload[4096];

	ack_all();
	snprintf(payload, sizeof payload, "<command xmlns='" NS_COMMANDS "' node='" NS_HATS_COMMANDS ":%s'%s>%s</command>",
	    node, more, form);
	if (form[0] == '\0')
		snprintf(payload, sizeof payload, "<command xmlns='" NS_COMMANDS "' node='" NS_HATS_COMMANDS ":%s'%s/>",
		    node, more);
	return iq(who, TYPE_SET, "command", NS_COMMANDS, NULL, payload);
}

/* A room with its owner, a member and a guest in it. */
static int
set_up(void **state)
{
	struct room *room = room_with(ROOM, "owner@a.test/1", 11);

	(void)state;
	affiliation_set(room, SLICE("admin@a.test"), AFFILIATION_ADMIN, SLICE_NONE, SLICE_NONE);
	presence("terry@a.test/1", 12, ROOM "/terry", TYPE_AVAILABLE, MUC_X);
	presence("guest@a.test/1", 13, ROOM "/guest", TYPE_AVAILABLE, MUC_X);
	assert_int_equal(inbox_run(now), OK);
	ack_all();
	buf_clear(&answered);
	return 0;
}

static int
tear_down(void **state)
{
	struct room *room = room_find(SLICE(ROOM));

	(void)state;
	owner_destroy(room, SLICE_NONE, SLICE_NONE, SLICE_NONE);
	assert_int_equal(inbox_commit(), OK);
	assert_int_equal(store_count(store, TABLE_HAT), 0);
	ack_all();
	return 0;
}

/* A form, what is submitted, and who is told; then the same by who may not. */
static void
test_give_and_take(void **state)
{
	const char *text;

	(void)state;
	text = command("owner", "create", " action='execute'", "");
	has(text, "status='executing'><actions execute='complete'><complete/></actions>");
	has(text, "<field var='hats#title' type='text-single' label='Title'><required/></field>");
	has(text, "node='urn:xmpp:hats:commands:create' sessionid='");
	text = command("owner", "create", " sessionid='s1'", FORM(FIELD("title", "Teacher &amp; guide") FIELD("uri", TEACHER)
	    FIELD("hue", "327.255249")));
	has(text, "node='urn:xmpp:hats:commands:create' sessionid='s1' status='completed'/>");
	has(texts(&sent), "message  " ROOM " 3: <x xmlns='" NS_MUC_USER "'><status code='104'/></x>");
	text = command("admin", "assign", "", "");
	has(text, "<option label='Teacher &amp; guide'><value>" TEACHER "</value></option></field></x>");
	text = command("admin", "assign", "", FORM(FIELD("jid", "Terry@A.test/phone") FIELD("uri", TEACHER)));
	has(text, "status='completed'");
	text = texts(&sent);
	has(text, "<hats xmlns='" NS_HATS "'><hat title='Teacher &amp; guide' uri='" TEACHER
	    "' hue='327.255249'/></hats><occupant-id");
	has_not(text, "/guest");
	has_not(text, "104");
	/* Once more, and nobody is told. */
	has(command("owner", "assign", "", FORM(FIELD("jid", "terry@a.test") FIELD("uri", TEACHER))), "completed");
	assert_int_equal(buf_len(&sent), 0);
	text = command("owner", "unassign", " action='execute'", FORM(FIELD("jid", "terry@a.test") FIELD("uri", TEACHER)));
	has(text, "completed");
	text = texts(&sent);
	has(text, "presence  " ROOM "/terry");
	has_not(text, "<hats");
	has(command("owner", "unassign", "", FORM(FIELD("jid", "terry@a.test") FIELD("uri", TEACHER))), "<item-not-found");
	has(command("terry", "assign", "", FORM(FIELD("jid", "terry@a.test") FIELD("uri", TEACHER))), "<forbidden");
	has(command("terry", "create", "", ""), "<forbidden");
	has(command("guest", "destroy", "", FORM(FIELD("uri", TEACHER))), "<forbidden");
	assert_int_equal(buf_len(&sent), 0);
}

/* They are there after a restart, for all who come later, and clients cannot make their own. */
static void
test_kept(void **state)
{
	struct room *room;
	const char *text;

	(void)state;
	command("owner", "create", "", FORM(FIELD("title", "Teacher") FIELD("uri", TEACHER)));
	command("owner", "create", "", FORM(FIELD("title", "Proctor") FIELD("uri", PROCTOR)));
	command("owner", "assign", "", FORM(FIELD("jid", "late@a.test") FIELD("uri", PROCTOR)));
	command("owner", "assign", "", FORM(FIELD("jid", "late@a.test") FIELD("uri", TEACHER)));
	ack_all();
	rooms_forget();
	room = room_find(SLICE(ROOM));
	assert_true(hat_is_worn(hat_find(room, SLICE(TEACHER)), SLICE("late@a.test")));
	presence("guest@a.test/1", 13, ROOM "/guest", TYPE_UNAVAILABLE, "");
	presence("late@a.test/1", 14, ROOM "/late", TYPE_AVAILABLE, MUC_X "<hats xmlns='" NS_HATS "'><hat title='King' "
	    "uri='urn:king'/></hats>");
	assert_int_equal(inbox_run(now), OK);
	text = texts(&sent);
	has(text, "<hats xmlns='" NS_HATS "'><hat title='Teacher' uri='" TEACHER "'/><hat title='Proctor' uri='" PROCTOR
	    "'/></hats>");
	has_not(text, "King");
	ack_all();
	presence("late@a.test/1", 14, ROOM "/late", TYPE_UNAVAILABLE, "<hats xmlns='" NS_HATS "'><hat title='King' "
	    "uri='urn:king'/></hats>");
	assert_int_equal(inbox_run(now), OK);
	text = texts(&sent);
	has(text, "presence gone " ROOM "/late");
	has_not(text, "<hat");
}

/* Another title for who wears it; and nobody wears what is destroyed. */
static void
test_change(void **state)
{
	const char *text;

	(void)state;
	command("owner", "create", "", FORM(FIELD("title", "Teacher") FIELD("uri", TEACHER)));
	command("owner", "assign", "", FORM(FIELD("jid", "terry@a.test") FIELD("uri", TEACHER)));
	command("owner", "create", "", FORM(FIELD("title", "Head") FIELD("uri", TEACHER) FIELD("hue", "12")));
	text = texts(&sent);
	has(text, "104");
	has(text, "<hat title='Head' uri='" TEACHER "' hue='12'/>");
	command("owner", "create", "", FORM(FIELD("title", "Head") FIELD("uri", TEACHER) FIELD("hue", "12")));
	assert_int_equal(buf_len(&sent), 0);
	has(command("owner", "destroy", "", FORM(FIELD("uri", TEACHER))), "completed");
	text = texts(&sent);
	has(text, "104");
	has(text, "presence  " ROOM "/terry");
	has_not(text, "<hats");
	has(command("owner", "destroy", "", FORM(FIELD("uri", TEACHER))), "<item-not-found");
	has(command("owner", "assign", "", FORM(FIELD("jid", "terry@a.test") FIELD("uri", TEACHER))), "<item-not-found");
}

static void
test_lists(void **state)
{
	const char *text, *before;
	char hash[HATS_HASH_SIZE];
	struct room *room = room_find(SLICE(ROOM));

	(void)state;
	text = iq("guest", TYPE_GET, "query", NS_DISCO_INFO, NULL, "<query xmlns='" NS_DISCO_INFO "'/>");
	has(text, "<feature var='" NS_HATS "'/>");
	has_not(text, "hats#hash");
	command("owner", "create", "", FORM(FIELD("title", "Teacher") FIELD("uri", TEACHER)));
	hats_hash(room, hash);
	text = iq("guest", TYPE_GET, "query", NS_DISCO_INFO, NULL, "<query xmlns='" NS_DISCO_INFO "'/>");
	has(text, "<field var='hats#hash' type='text-single'");
	has(text, hash);
	command("owner", "create", "", FORM(FIELD("title", "Teacher") FIELD("uri", TEACHER) FIELD("hue", "1")));
	before = iq("guest", TYPE_GET, "query", NS_DISCO_INFO, NULL, "<query xmlns='" NS_DISCO_INFO "'/>");
	has_not(before, hash);
	command("owner", "assign", "", FORM(FIELD("jid", "terry@a.test") FIELD("uri", TEACHER)));
	text = command("guest", "list", "", "");
	has(text, "<item><field var='hats#uri'><value>" TEACHER "</value></field><field var='hats#title'><value>Teacher"
	    "</value></field><field var='hats#hue'><value>1</value></field></item></x></command>");
	has_not(text, "terry");
	has(command("guest", "list-assigned", "", ""), "<forbidden");
	has(command("owner", "list-assigned", "", ""), "<item><field var='hats#jid'><value>terry@a.test</value></field>");
	room->config.non_anonymous = true;
	has(command("guest", "list-assigned", "", ""), "terry@a.test");
	room->config.password_protected = true; /* who is outside is not told, though there are no secrets inside */
	has(command("stranger", "list-assigned", "", ""), "<forbidden");
	has(command("stranger", "list", "", ""), "<forbidden");
	room->config.non_anonymous = room->config.password_protected = false;
	text = iq("owner", TYPE_GET, "query", NS_DISCO_ITEMS, NS_COMMANDS, "<query xmlns='" NS_DISCO_ITEMS "' node='"
	    NS_COMMANDS "'/>");
	has(text, "<item jid='" ROOM "' node='urn:xmpp:hats:commands:unassign' name='Take a hat from somebody'/>");
	text = iq("guest", TYPE_GET, "query", NS_DISCO_ITEMS, NS_COMMANDS, "<query xmlns='" NS_DISCO_ITEMS "' node='"
	    NS_COMMANDS "'/>");
	has(text, "commands:list'");
	has_not(text, "assign");
	text = iq("guest", TYPE_GET, "query", NS_DISCO_INFO, NS_HATS_COMMANDS ":list", "<query xmlns='" NS_DISCO_INFO
	    "' node='" NS_HATS_COMMANDS ":list'/>");
	has(text, "<identity category='automation' type='command-node' name='List hats'/>");
}

static void
test_wrong(void **state)
{
	static const struct { const char *node, *more, *form, *error; } wrong[] = {
		{ "create", "", FORM(FIELD("title", "x")), "<not-acceptable" },
		{ "create", "", FORM(FIELD("title", "x") FIELD("uri", "no uri")), "<not-acceptable" },
		{ "create", "", FORM(FIELD("title", "x") FIELD("uri", "nouri")), "<not-acceptable" },
		{ "create", "", FORM(FIELD("title", "x") FIELD("uri", "1:a")), "<not-acceptable" },
		{ "create", "", FORM(FIELD("title", "x") FIELD("uri", "a:")), "<not-acceptable" },
		{ "create", "", FORM(FIELD("title", "x") FIELD("uri", "a:\xc3\xa4")), "<not-acceptable" },
		{ "create", "", FORM("<field var='hats#title'><value/></field>" FIELD("uri", "a:b")), "<not-acceptable" },
		{ "create", "", FORM(FIELD("title", "a\xc2\x85" "b") FIELD("uri", "a:b")), "<not-acceptable" },
		{ "create", "", FORM(FIELD("title", "x") FIELD("uri", "a:b") FIELD("hue", "361")), "<not-acceptable" },
		{ "create", "", FORM(FIELD("title", "x") FIELD("uri", "a:b") FIELD("hue", "-1")), "<not-acceptable" },
		{ "create", "", FORM(FIELD("title", "x") FIELD("uri", "a:b") FIELD("hue", ".")), "<not-acceptable" },
		{ "assign", "", FORM(FIELD("uri", TEACHER)), "<jid-malformed" },
		{ "assign", "", FORM(FIELD("jid", "a.test") FIELD("uri", TEACHER)), "<jid-malformed" },
		{ "assign", "", FORM(FIELD("jid", "a@a.test") FIELD("uri", TEACHER)), "<item-not-found" },
		{ "assign", " action='prev'", "", "<bad-request" },
		{ "assign", "", "<x xmlns='" NS_DATA "' type='form'/>", "<bad-request" },
		{ "assign", " action='cancel'", "", "status='canceled'" },
		{ "assign", "", "<x xmlns='" NS_DATA "' type='cancel'/>", "status='canceled'" },
		{ "wear", "", "", "<item-not-found" },
	};
	char title[256], form[1024];
	size_t i;

	(void)state;
	for (i = 0; i < sizeof wrong / sizeof wrong[0]; i++)
		has(command("owner", wrong[i].node, wrong[i].more, wrong[i].form), wrong[i].error);
	memset(title, 't', 129);
	title[129] = '\0';
	snprintf(form, sizeof form, FORM("%s<field var='hats#title'><value>%s</value></field>"), FIELD("uri", "a:b"), title);
	has(command("owner", "create", "", form), "<not-acceptable");
	assert_true(TAILQ_EMPTY(&room_find(SLICE(ROOM))->hats));
	assert_int_equal(buf_len(&sent), 0);
}

static void
test_bounds(void **state)
{
	struct room *room = room_find(SLICE(ROOM));
	char text[64], form[1024];
	int i;

	(void)state;
	for (i = 0; i < HATS_MAX; i++) {
		snprintf(text, sizeof text, "urn:hat:%d", i);
		assert_int_equal(hat_make(room, slice_string(text), SLICE("x"), SLICE_NONE), OK);
	}
	has(command("owner", "create", "", FORM(FIELD("title", "x") FIELD("uri", "urn:hat:99"))), "<resource-constraint");
	for (i = 0; i <= HATS_ON_MAX; i++) {
		snprintf(form, sizeof form, FORM("%s<field var='hats#uri'><value>urn:hat:%d</value></field>"),
		    FIELD("jid", "terry@a.test"), i);
		has(command("owner", "assign", "", form), i < HATS_ON_MAX ? "completed" : "<resource-constraint");
	}
	for (i = 0; i < HATS_WORN_MAX - HATS_ON_MAX; i++) {
		snprintf(text, sizeof text, "u%d@a.test", i);
		assert_int_equal(hat_put_on(room, hat_find(room, SLICE("urn:hat:0")), slice_string(text)), OK);
	}
	assert_int_equal(hat_put_on(room, hat_find(room, SLICE("urn:hat:0")), SLICE("one@a.test")), E_FULL);
	assert_int_equal(inbox_commit(), OK);
	rooms_forget();
	room = room_find(SLICE(ROOM));
	assert_int_equal(map_count(hat_find(room, SLICE("urn:hat:0"))->wearers), HATS_WORN_MAX - HATS_ON_MAX + 1);
}

static int
tests_run(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_give_and_take, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_kept, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_change, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_lists, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_wrong, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_bounds, set_up, tear_down),
	};

	open_all();
	return cmocka_run_group_tests(tests, NULL, NULL);
}

int
main(void)
{
	return engine_tests(tests_run);
}
