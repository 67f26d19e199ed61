/*
 * test_room_requests.c: requests to rooms, their domain and their occupants: who gets which answer.
 *
 * Links: mucd/request.c mucd/access.c mucd/privilege.c mucd/disco.c mucd/rsm.c mucd/relay.c mucd/seal.c mucd/pass.c
 * Links: mucd/vcard.c mucd/mam.c mucd/moderate.c mucd/hat.c mucd/hat_command.c mucd/form.c
 */
#include "room_world.h"

#define INFO  "<query xmlns='" NS_DISCO_INFO "'/>"
#define ITEMS "<query xmlns='" NS_DISCO_ITEMS "'/>"
#define PING  "<ping xmlns='" NS_PING "'/>"
#define VCARD "<vCard xmlns='" NS_VCARD "'/>"
#define A     "a@x.test/1"
#define B     "b@x.test/1"
#define C     "c@x.test/1"

static const char *
request(enum stanza_type type, const char *from, const char *to, const char *payload)
{
	struct frame f = stanza_with(STANZA_IQ, type, from, to, payload);

	request_handle(&f, 1000000);
	return heard();
}

static struct room *
coven(void)
{
	struct room *r = room_new(0, ROOM);

	affiliate(r, "a@x.test", AFFILIATION_OWNER, "queen");
	enter(r, A, "anna", IN_MODERATOR);
	enter(r, B, "ben", IN_PARTICIPANT);
	return r;
}

/* -- which service ------------------------------------------------------------------------------- */

static void
test_table(void **state)
{
	const char *answer;

	(void)state;
	coven();
	assert_has(request(TYPE_GET, C, "rooms.test", PING), "answer iq result from=rooms.test to=" C);
	assert_has(request(TYPE_SET, C, "rooms.test", INFO), "<not-allowed");
	assert_has(request(TYPE_GET, C, "rooms.test", "<a xmlns='urn:a'/>"), "<service-unavailable");
	assert_has(request(TYPE_GET, C, ROOM, "<a xmlns='urn:a'/>"), "<service-unavailable");
	assert_has(request(TYPE_GET, C, ROOM, PING "<b/>"), "<bad-request");
	assert_has(request(TYPE_GET, C, ROOM, ""), "<bad-request");
	assert_has(request(TYPE_GET, C, "none@rooms.test", PING), "<item-not-found");
	assert_has(request(TYPE_GET, C, "rooms.test/x", PING), "<item-not-found");
	assert_string_equal(request(TYPE_GET, C, "other.test", PING), "");
	assert_string_equal(request(TYPE_SET, C, ROOM, "<query xmlns='" NS_MUC_ADMIN "'/>"), "admin i1\n");
	assert_string_equal(request(TYPE_GET, C, ROOM, "<query xmlns='" NS_MUC_OWNER "'/>"), "owner i1\n");
	assert_string_equal(request(TYPE_GET, C, ROOM, "<query xmlns='" NS_REGISTER "'/>"), "register i1\n");
	assert_has(request(TYPE_GET, C, ROOM, "<query xmlns='" NS_VERSION "'/>"), "<name>Aldis</name>");
	assert_has(request(TYPE_GET, C, ROOM, "<time xmlns='" NS_TIME "'/>"), "1970-01-01T00:16:40.000Z");
	answer = request(TYPE_GET, C, "rooms.test", "<unique xmlns='" NS_MUC_UNIQUE "'/>");
	assert_has(answer, "iq result");
	assert_int_equal(strcspn(strstr(answer, "'>") + 2, "<"), 20);
}

/* A hidden room is not there for those who cannot enter it, whatever they ask. */
static void
test_hidden(void **state)
{
	struct room *r = coven();
	static const char *const asked[] = { INFO, ITEMS, PING, VCARD, "<query xmlns='" NS_MAM "'/>",
		"<a xmlns='urn:a'/>" };
	size_t i;

	(void)state;
	r->config.public_room = false;
	assert_has(request(TYPE_GET, C, ROOM, INFO), "muc_hidden");
	r->config.members_only = true;
	for (i = 0; i < sizeof asked / sizeof *asked; i++)
		assert_has(request(TYPE_GET, C, ROOM, asked[i]), "<item-not-found");
	assert_has(request(TYPE_GET, B, ROOM, INFO), "muc_hidden");
	affiliate(r, "c@x.test", AFFILIATION_MEMBER, NULL);
	assert_has(request(TYPE_GET, C, ROOM, INFO), "muc_membersonly");
	r->config.members_only = false;
	affiliate(r, "d@x.test", AFFILIATION_OUTCAST, NULL);
	assert_has(request(TYPE_GET, "d@x.test/1", ROOM, INFO), "<item-not-found");
	r->config.public_room = true;
	r->locked = true;
	assert_has(request(TYPE_GET, "e@x.test/1", ROOM, INFO), "<item-not-found");
	assert_has(request(TYPE_GET, A, ROOM, INFO), "muc_public");
}

/* -- discovery ----------------------------------------------------------------------------------- */

static void
test_info(void **state)
{
	struct room *r = coven();
	const char *answer;

	(void)state;
	answer = request(TYPE_GET, C, "rooms.test", INFO);
	assert_has(answer, "<identity category='conference' type='text' name='Rooms &amp; more'/>");
	assert_has(answer, "<feature var='" NS_MUC "'/>");
	answer = request(TYPE_GET, C, ROOM, INFO);
	assert_has(answer, "type='text' name='coven'/>");
	assert_has(answer, "<feature var='" NS_MAM "'/>");
	assert_has(answer, "<feature var='" NS_MODERATE "'/>");
	assert_has(answer, "type='result'/>");
	buf_add_string(&r->config.name, "A Dark Cave");
	r->config.logged = r->config.moderation = false;
	r->config.password_protected = true;
	answer = request(TYPE_GET, C, ROOM, INFO);
	assert_has(answer, "name='A Dark Cave'/>");
	assert_has(answer, "muc_passwordprotected");
	assert_has_not(answer, NS_MAM);
	assert_has_not(answer, NS_MODERATE);
	assert_has_not(answer, "type='result'/>"); /* what is said in there is not told outside */
	assert_has(request(TYPE_GET, B, ROOM, INFO), "type='result'/>");
}

static void
test_nodes(void **state)
{
	(void)state;
	coven();
	assert_has(request(TYPE_GET, A, ROOM, "<query xmlns='" NS_DISCO_INFO "' node='x-roomuser-item'/>"),
	    "node='x-roomuser-item'><identity category='conference' type='text' name='queen'/></query>");
	assert_has(request(TYPE_GET, C, ROOM, "<query xmlns='" NS_DISCO_INFO "' node='x-roomuser-item'/>"),
	    "node='x-roomuser-item'/>");
	assert_has(request(TYPE_GET, C, ROOM, "<query xmlns='" NS_DISCO_INFO "' node='" NS_MUC "#traffic'/>"),
	    "<service-unavailable");
	assert_has(request(TYPE_GET, C, ROOM, "<query xmlns='" NS_DISCO_INFO "' node='n'/>"), "<item-not-found");
	assert_has(request(TYPE_GET, C, "rooms.test", "<query xmlns='" NS_DISCO_ITEMS "' node='n'/>"),
	    "<item-not-found");
}

static void
test_items(void **state)
{
	struct room *r;
	const char *answer;

	(void)state;
	coven();
	room_new(1, "heath@rooms.test");
	room_new(2, "secret@rooms.test")->config.public_room = false;
	room_new(3, "new@rooms.test")->locked = true;
	answer = request(TYPE_GET, C, "rooms.test", ITEMS);
	assert_has(answer, "<item jid='" ROOM "' name='coven'/><item jid='heath@rooms.test' name='heath'/></query>");
	r = &rooms[0];
	assert_has(request(TYPE_GET, B, ROOM, ITEMS), "<item jid='" ROOM "/anna' name='anna'/>");
	assert_has_not(request(TYPE_GET, C, ROOM, ITEMS), "<item");
	r->config.broadcast = 1u << IN_PARTICIPANT;
	assert_has_not(request(TYPE_GET, B, ROOM, ITEMS), "anna");
	assert_has(request(TYPE_GET, A, ROOM, ITEMS), "ben");
}

#define PAGE(set) "<query xmlns='" NS_DISCO_ITEMS "'><set xmlns='" NS_RSM "'>" set "</set></query>"

static void
test_pages(void **state)
{
	static const char *const names[] = { "r1@rooms.test", "r2@rooms.test", "r3@rooms.test", "r4@rooms.test" };
	const char *answer;
	size_t i;

	(void)state;
	for (i = 0; i < 4; i++)
		room_new(i, names[i]);
	answer = request(TYPE_GET, C, "rooms.test", PAGE("<max>2</max>"));
	assert_has(answer, "'r2'/><set xmlns='" NS_RSM "'><first index='0'>1</first><last>2</last><count>4</count>");
	answer = request(TYPE_GET, C, "rooms.test", PAGE("<max>2</max><after>2</after>"));
	assert_has(answer, "<item jid='r3@rooms.test' name='r3'/><item jid='r4@rooms.test' name='r4'/><set");
	assert_has(answer, "<first index='2'>3</first><last>4</last><count>4</count>");
	answer = request(TYPE_GET, C, "rooms.test", PAGE("<max>3</max><before/>"));
	assert_has(answer, "<first index='1'>2</first><last>4</last>");
	answer = request(TYPE_GET, C, "rooms.test", PAGE("<max>2</max><before>4</before>"));
	assert_has(answer, "<first index='1'>2</first><last>3</last>");
	answer = request(TYPE_GET, C, "rooms.test", PAGE("<max>2</max><index>3</index>"));
	assert_has(answer, "<first index='3'>4</first><last>4</last>");
	answer = request(TYPE_GET, C, "rooms.test", PAGE("<max>1</max><before>4</before><after>1</after>"));
	assert_has(answer, "'><item jid='r3@rooms.test' name='r3'/><set");
	assert_has(answer, "<first index='2'>3</first><last>3</last><count>4</count>");
	answer = request(TYPE_GET, C, "rooms.test", PAGE("<max>9</max><before/><after>3</after>"));
	assert_has(answer, "<first index='3'>4</first><last>4</last>");
	answer = request(TYPE_GET, C, "rooms.test", PAGE("<max>0</max><before/>"));
	assert_has(answer, "<set xmlns='" NS_RSM "'><count>4</count></set>");
	answer = request(TYPE_GET, C, "rooms.test", PAGE("<max>0</max>"));
	assert_has(answer, "<set xmlns='" NS_RSM "'><count>4</count></set>");
	assert_has_not(answer, "<item");
	answer = request(TYPE_GET, C, "rooms.test", PAGE("<after>4</after>"));
	assert_has(answer, "<set xmlns='" NS_RSM "'><count>4</count></set>");
	assert_has(request(TYPE_GET, C, "rooms.test", PAGE("<max>x</max>")), "<bad-request");
	assert_has(request(TYPE_GET, C, "rooms.test", PAGE("<after>coven</after>")), "<item-not-found");
}

/* -- between occupants --------------------------------------------------------------------------- */

/* The id in a line of what was said. */
static const char *
id_in(const char *line)
{
	static char id[512];
	const char *begin = strstr(line, " id=") + 4;

	snprintf(id, sizeof id, "%.*s", (int)(strstr(begin, " handle=") - begin), begin);
	return id;
}

static const char *
answered(enum stanza_type type, const char *from, const char *to, const char *id, const char *payload)
{
	struct frame f = stanza_with(STANZA_IQ, type, from, to, payload);

	f.id = slice_string(id);
	request_handle(&f, 1000000);
	return heard();
}

/* An element of some length, as a string. */
static void
long_line(struct buf *out, size_t len)
{
	buf_add_string(out, "<a xmlns='urn:a'>");
	while (buf_len(out) < len)
		buf_add_char(out, 'a');
	buf_add_string(out, "</a>");
	buf_add_char(out, '\0');
}

static void
test_relay(void **state)
{
	struct room *r = coven();
	const char *line, *id;
	struct buf large = { 0 };

	(void)state;
	enter(r, "b@x.test/2", "ben", IN_PARTICIPANT);
	line = request(TYPE_SET, A, ROOM "/ben", "<a xmlns='urn:a'/>");
	assert_has(line, "answer iq set from=" ROOM "/anna to=b@x.test/2 id=relay-");
	assert_has(line, "handle=103: <a xmlns='urn:a'/>");
	id = id_in(line);
	/* From nobody else, to nobody else, and not with another id. */
	assert_string_equal(answered(TYPE_RESULT, B, ROOM "/anna", id, ""), "");
	assert_string_equal(answered(TYPE_RESULT, "b@x.test/2", "none@rooms.test/anna", id, ""), "");
	assert_string_equal(answered(TYPE_RESULT, "b@x.test/2", ROOM "/anna", "relay-0-0-0-x", ""), "");
	assert_string_equal(answered(TYPE_RESULT, "b@x.test/2", ROOM "/anna", "i1", ""), "");
	assert_string_equal(answered(TYPE_RESULT, "b@x.test/2", ROOM "/anna", id, "<b xmlns='urn:a'/>"),
	    "answer iq result from=" ROOM "/ben to=" A " id=i1 handle=101: <b xmlns='urn:a'/>\n");
	assert_has(answered(TYPE_ERROR, "b@x.test/2", ROOM "/anna", id, "<error by='b@x.test' type='cancel'/>"),
	    "answer iq error from=" ROOM "/ben to=" A " id=i1 handle=101: <error type='cancel'/>\n");
	/* What cannot be sent on is an error to who waits for it. */
	long_line(&large, FRAME_MAX / 2 + 1);
	line = answered(TYPE_RESULT, "b@x.test/2", ROOM "/anna", id, large.bytes);
	assert_has(line, "answer iq error from=" ROOM "/ben to=" A " id=i1");
	assert_has(line, "<resource-constraint");
	line = request(TYPE_SET, A, ROOM "/ben", large.bytes);
	assert_has(line, "answer iq error from=" ROOM "/ben to=" A " id=i1");
	assert_has(line, "<policy-violation");
	buf_free(&large);
}

/* Of several clients with one nick the one that has asked gets the answer, whatever its nick is then. */
static void
test_relay_to_the_right_client(void **state)
{
	struct room *r = coven();
	struct client *second = enter(r, "a@x.test/2", "anna", IN_MODERATOR);
	const char *id = id_in(request(TYPE_GET, "a@x.test/2", ROOM "/ben", INFO));

	(void)state;
	free(second->occupant->nick);
	second->occupant->nick = slice_dup(SLICE("ann"));
	second->occupant->nick_len = 3;
	assert_has(answered(TYPE_RESULT, B, ROOM "/anna", id, INFO), "to=a@x.test/2 id=i1");
	id = id_in(request(TYPE_GET, "a@x.test/2", ROOM "/ben", INFO));
	TAILQ_REMOVE(&second->occupant->clients, second, siblings);
	assert_string_equal(answered(TYPE_RESULT, B, ROOM "/ann", id, INFO), "");
	free(second);
}

static void
test_relay_refused(void **state)
{
	struct room *r = coven();

	(void)state;
	assert_has(request(TYPE_GET, C, ROOM "/ben", INFO), "<bad-request");
	assert_has(request(TYPE_GET, C, ROOM "/ben", ITEMS), "<bad-request");
	assert_has(request(TYPE_GET, C, ROOM "/ben", VCARD), "<not-acceptable");
	assert_has(request(TYPE_GET, A, ROOM "/nobody", VCARD), "<item-not-found");
	r->config.private_messages = WHOM_MODERATORS;
	assert_has(request(TYPE_GET, B, ROOM "/anna", INFO), "<forbidden");
	assert_has(request(TYPE_GET, A, ROOM "/ben", INFO), "answer iq get");
	r->config.private_messages = WHOM_NOBODY;
	assert_has(request(TYPE_GET, A, ROOM "/ben", INFO), "<forbidden");
	assert_has(request(TYPE_GET, B, ROOM "/anna", PING), "answer iq get");
}

static void
test_self_ping(void **state)
{
	(void)state;
	coven();
	assert_has(request(TYPE_GET, B, ROOM "/ben", PING), "answer iq result from=" ROOM "/ben to=" B " id=i1");
	assert_has(request(TYPE_GET, B, ROOM "/benjamin", PING), "<item-not-found");
	assert_has(request(TYPE_GET, "b@x.test/other", ROOM "/ben", PING), "<not-acceptable");
	assert_has(request(TYPE_GET, C, ROOM "/ben", PING), "<not-acceptable");
	assert_has(request(TYPE_GET, C, "none@rooms.test/ben", PING), "<not-acceptable");
	assert_has(request(TYPE_GET, A, ROOM "/ben", PING), "answer iq get from=" ROOM "/anna to=" B);
}

static void
test_vcard_of_occupant(void **state)
{
	struct room *r = coven();
	const char *line = request(TYPE_GET, B, ROOM "/anna", VCARD), *id;
	const char *vcard = "<vCard xmlns='vcard-temp'><FN>A</FN><JABBERID>a@x.test</JABBERID></vCard>";

	(void)state;
	assert_has(line, "from=" ROOM "/ben to=a@x.test id=");
	assert_has(line, "handle=0:");
	id = id_in(line);
	assert_has(answered(TYPE_RESULT, "a@x.test", ROOM "/ben", id, vcard),
	    "from=" ROOM "/anna to=" B " id=i1 handle=102: <vCard xmlns='vcard-temp'><FN>A</FN></vCard>\n");
	r->config.non_anonymous = true;
	assert_has(answered(TYPE_RESULT, "a@x.test", ROOM "/ben", id, vcard), "JABBERID");
}

/* -- the archive, the vCard, what is taken back --------------------------------------------------- */

static void
test_archive(void **state)
{
	struct room *r = coven();
	const char *query = "<query xmlns='" NS_MAM "'/>";

	(void)state;
	assert_has(request(TYPE_SET, C, ROOM, query), "answer ROOM_QUERY set from=" C);
	assert_has(request(TYPE_GET, C, ROOM, "<metadata xmlns='" NS_MAM "'/>"), "answer ROOM_QUERY get");
	assert_has(request(TYPE_SET, A, ROOM, query), "answer+ ROOM_QUERY");
	assert_has(request(TYPE_GET, C, ROOM, "<prefs xmlns='" NS_MAM "'/>"), "<feature-not-implemented");
	r->config.password_protected = true;
	assert_has(request(TYPE_SET, C, ROOM, query), "<forbidden");
	assert_has(request(TYPE_SET, B, ROOM, query), "answer ROOM_QUERY");
	affiliate(r, "c@x.test", AFFILIATION_OUTCAST, NULL);
	r->config.password_protected = false;
	assert_has(request(TYPE_SET, C, ROOM, query), "<forbidden");
	r->config.non_anonymous = true;
	assert_has(request(TYPE_SET, B, ROOM, query), "answer+ ROOM_QUERY");
	r->config.logged = false;
	assert_has(request(TYPE_SET, A, ROOM, query), "<service-unavailable");
}

static void
test_vcard(void **state)
{
	struct room *r = coven();
	const char *said_then;
	const char *vcard = "<vCard xmlns='vcard-temp'><PHOTO><TYPE>image/png</TYPE><BINVAL>YW\nJj</BINVAL></PHOTO>"
	    "<PHOTO><BINVAL>eHl6</BINVAL></PHOTO></vCard>";

	(void)state;
	assert_has(request(TYPE_GET, C, "rooms.test", VCARD), "<FN>Rooms &amp; more</FN>");
	assert_has(request(TYPE_GET, C, ROOM, VCARD), "<item-not-found");
	assert_has(request(TYPE_SET, B, ROOM, vcard), "<forbidden");
	said_then = request(TYPE_SET, A, ROOM, vcard);
	assert_has(said_then, "room <x xmlns='" NS_MUC_USER "'><status code='104'/></x>");
	assert_has(said_then, "to 101 102 outbox presence - from=" ROOM);
	assert_has(said_then, "<photo>a9993e364706816aba3e25717850c26c9cd0d89d</photo>");
	assert_has(said_then, "answer iq result");
	assert_true(r->dirty);
	assert_true(slice_is(buf_slice(&r->avatar_type), "image/png"));
	assert_true(slice_is(buf_slice(&r->avatar), "a9993e364706816aba3e25717850c26c9cd0d89d\n"
	    "66b27417d37e024c46526c2f6d358a754fc552f3"));
	assert_has(request(TYPE_GET, C, ROOM, VCARD), vcard);
	vcard_show(client_find(r, slice_string(B)));
	assert_has(heard(), "to 102 outbox presence");
	assert_has(request(TYPE_SET, A, ROOM, "<vCard xmlns='vcard-temp'><PHOTO><BINVAL>!</BINVAL></PHOTO></vCard>"),
	    "<bad-request");
	said_then = request(TYPE_SET, A, ROOM, VCARD);
	assert_has(said_then, "<photo/>");
	assert_has(request(TYPE_GET, C, ROOM, VCARD), "<item-not-found");
}

#define MODERATE(id, in) "<moderate xmlns='" NS_MODERATE "' id='" id "'>" in "</moderate>"
#define RETRACT          "<retract xmlns='" NS_RETRACT "'/>"

/* The archive's answer to a question with this text, in which its id is. */
static const char *
archive_answers(const char *question, const char *from, const char *payload)
{
	const char *id = strstr(question, " id="), *end = strstr(question, " handle=");
	char copy[512];
	struct frame f = { .type = FRAME_STANZA, .kind = STANZA_IQ, .subtype = payload[0] == '\0' ? TYPE_RESULT : TYPE_ERROR,
		.from = slice_string(from), .to = SLICE(ROOM), .payload = slice_string(payload) };

	assert_non_null(id);
	assert_non_null(end);
	snprintf(copy, sizeof copy, "%.*s", (int)(end - id - 4), id + 4);
	f.id = slice_string(copy);
	request_handle(&f, 1000000);
	return heard();
}

static void
test_moderate(void **state)
{
	struct room *r = coven();
	const char *what = MODERATE("0000000000000011", RETRACT "<reason>Un&lt;kind</reason>");
	const char *said_then;
	char asked[1024];

	(void)state;
	assert_has(request(TYPE_SET, B, ROOM, what), "<forbidden");
	assert_has(request(TYPE_SET, C, ROOM, what), "<forbidden");
	assert_has(request(TYPE_SET, A, ROOM, MODERATE("11", RETRACT)), "<item-not-found");
	assert_has(request(TYPE_SET, A, ROOM, MODERATE("0000000000000011", "<edit/>")), "<feature-not-implemented");
	snprintf(asked, sizeof asked, "%s", request(TYPE_SET, A, ROOM, what));
	assert_has(asked, "answer ROOM_QUERY set from=" ROOM " to= id=moderate-");
	assert_has(asked, "type='list-multi'><value>0000000000000011</value></field></x><set xmlns='" NS_RSM
	    "'><max>0</max></set></query>");
	/* It is not there: only who has asked is told. */
	said_then = archive_answers(asked, ROOM, "<error type='cancel'><item-not-found xmlns='" NS_STANZAS "'/></error>");
	assert_has(said_then, "answer iq error from=" ROOM " to=" A " id=i1 handle=101: <error type='cancel'><item-not-found");
	assert_has_not(said_then, "redact");
	assert_has(archive_answers(asked, ROOM, "<error type='wait'><resource-constraint xmlns='" NS_STANZAS "'/></error>"),
	    "<resource-constraint");
	assert_string_equal(archive_answers(asked, B, ""), ""); /* not the room's to itself */
	said_then = archive_answers(asked, ROOM, "");
	assert_has(said_then, "to 101 102 store message groupchat from=" ROOM);
	assert_has(said_then, "<retract xmlns='" NS_RETRACT "' id='0000000000000011'><moderated xmlns='" NS_MODERATE
	    "' by='" ROOM "/anna'><occupant-id xmlns='" NS_OCCUPANT_ID "' id='occupant'/></moderated>"
	    "<reason>Un&lt;kind</reason></retract>");
	assert_has(said_then, "redact " ROOM " 17 own= <retracted xmlns='" NS_RETRACT "' id='");
	assert_has(said_then, "stamp='1970-01-01T00:16:40.000Z'><moderated");
	assert_has(said_then, "answer iq result from=" ROOM " to=" A " id=i1 handle=101");
	/* Who may not any more when the answer comes. */
	occupant_find(r, SLICE("anna"))->role = IN_PARTICIPANT;
	assert_has(archive_answers(asked, ROOM, ""), "<forbidden");
	occupant_find(r, SLICE("anna"))->role = IN_MODERATOR;
	r->config.moderation = false;
	assert_has(request(TYPE_SET, A, ROOM, what), "<service-unavailable");
	assert_has(archive_answers(asked, ROOM, ""), "<service-unavailable");
}

static void
test_retract(void **state)
{
	struct room *r = coven();
	struct client *ben = client_find(r, slice_string(B));
	struct frame f = stanza_with(STANZA_MESSAGE, TYPE_GROUPCHAT, B, ROOM,
	    "<body>gone</body><retract xmlns='" NS_RETRACT "' id='0000000000000012'/>");

	(void)state;
	moderate_retract(ben, &f, 1000000);
	assert_string_equal(heard(), "redact " ROOM " 18 own=b@x.test <retracted xmlns='" NS_RETRACT
	    "' id='i1' stamp='1970-01-01T00:16:40.000Z'/>\n");
	f = stanza_with(STANZA_MESSAGE, TYPE_GROUPCHAT, B, ROOM, "<retract xmlns='" NS_RETRACT "' id='mine'/>");
	moderate_retract(ben, &f, 1000000);
	assert_string_equal(heard(), "");
}

#define TEST(name) cmocka_unit_test_teardown(name, world_end)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_table), TEST(test_hidden), TEST(test_info), TEST(test_nodes), TEST(test_items),
		TEST(test_pages), TEST(test_relay), TEST(test_relay_to_the_right_client),
		TEST(test_relay_refused), TEST(test_self_ping), TEST(test_vcard_of_occupant),
		TEST(test_archive), TEST(test_vcard), TEST(test_moderate), TEST(test_retract),
	};

	return cmocka_run_group_tests_name("room requests", tests, NULL, NULL);
}
