/*
 * test_room_invite.c: invitations, how they are declined, and requests for voice.
 *
 * Links: mucd/invite.c mucd/access.c mucd/privilege.c mucd/seal.c mucd/pass.c mucd/form.c
 */
#include "room_world.h"

#define A "a@x.test/1"
#define B "b@x.test/1"
#define C "c@x.test/1"

static struct room *
coven(void)
{
	struct room *r = room_new(0, ROOM);

	affiliate(r, "a@x.test", AFFILIATION_OWNER, NULL);
	affiliate(r, "out@x.test", AFFILIATION_OUTCAST, NULL);
	enter(r, A, "anna", IN_MODERATOR);
	enter(r, B, "ben", IN_VISITOR);
	return r;
}

static bool taken; /* the last message was one of invite.c's */

static const char *
message_at(uint64_t now, enum stanza_type type, const char *from, const char *id, const char *payload)
{
	struct frame f = stanza_with(STANZA_MESSAGE, type, from, ROOM, payload);
	struct room *r = room_find(SLICE(ROOM));

	f.id = slice_string(id);
	taken = invite_handle(r, client_find(r, f.from), &f, now);
	return heard();
}

static const char *
message(const char *from, const char *payload)
{
	return message_at(1000, TYPE_NORMAL, from, "i1", payload);
}

#define X(in)          "<x xmlns='" NS_MUC_USER "'>" in "</x>"
#define INVITE(to, in) "<invite to='" to "'>" in "</invite>"

static void
test_invite(void **state)
{
	struct room *r = coven();
	const char *line;

	(void)state;
	line = message(B, X(INVITE("C@x.test", "<reason>Come</reason><continue thread='t'/><a xmlns='urn:a'/>")));
	assert_true(taken);
	assert_has(line, "message message - from=" ROOM " to=c@x.test id=invite-");
	assert_has(line, ": <x xmlns='" NS_MUC_USER "'><invite from='b@x.test'><reason>Come</reason>"
	    "<continue thread='t'/></invite></x>\n");
	r->config.password_protected = true;
	buf_add_string(&r->config.password, "cauldron");
	assert_has(message(B, X(INVITE("c@x.test/r", "<reason/>"))), "</invite><password>cauldron</password></x>");
	assert_has(message(B, X("<invite to='c@x.test'/>")), "<invite from='b@x.test'/>");
	line = message(A, X("<invite to='c@x.test'/><invite to='d@x.test'/>"));
	assert_has(line, "to=c@x.test");
	assert_has(line, "to=d@x.test");
}

static void
test_invite_refused(void **state)
{
	struct buf many = { 0 };
	int i;

	(void)state;
	coven();
	assert_has(message(C, X("<invite to='d@x.test'/>")), "<not-acceptable");
	assert_has(message(B, X("<invite/>")), "<bad-request");
	assert_has(message(B, X("<invite to='@'/>")), "<jid-malformed");
	assert_has(message(B, X("<invite to='x.test'/>")), "<jid-malformed");
	assert_has(message(B, X("<invite to='out@x.test'/>")), "<forbidden");
	assert_has_not(message(B, X("<invite to='c@x.test'/><invite to='@'/>")), "message message -");
	buf_add_string(&many, "<x xmlns='" NS_MUC_USER "'>");
	for (i = 0; i < 21; i++)
		buf_printf(&many, "<invite to='u%d@x.test'/>", i);
	buf_add(&many, "</x>", sizeof "</x>");
	assert_has(message(B, many.bytes), "<policy-violation");
	buf_free(&many);
	assert_string_equal(message(B, "<body>hello</body>"), "");
	assert_false(taken);
	assert_string_equal(message_at(1000, TYPE_CHAT, B, "i1", X("<invite to='c@x.test'/>")), "");
	assert_false(taken);
}

/* Where members alone may enter, who may make members invites, and who is invited becomes one. */
static void
test_members_only(void **state)
{
	struct room *r = coven();
	char jid[32];
	unsigned i;

	(void)state;
	r->config.members_only = true;
	assert_has(message(B, X("<invite to='c@x.test'/>")), "<forbidden");
	assert_has(message(A, X("<invite to='c@x.test/r'/>")), "affiliate " ROOM " c@x.test 2\nmessage message -");
	assert_has_not(message(A, X("<invite to='a@x.test'/>")), "affiliate");
	affiliate(r, "b@x.test", AFFILIATION_MEMBER, NULL);
	assert_has(message(B, X("<invite to='c@x.test'/>")), "<forbidden");
	r->config.invites = true;
	assert_has(message(B, X("<invite to='c@x.test'/>")), "affiliate " ROOM " c@x.test 2");
	/* What is left of the list is for admins. */
	for (i = 0; map_count(r->by_jid) < AFFILIATES_OPEN; i++) {
		snprintf(jid, sizeof jid, "u%u@x.test", i);
		affiliate(r, jid, AFFILIATION_MEMBER, NULL);
	}
	assert_has(message(B, X("<invite to='c@x.test'/>")), "<resource-constraint");
	assert_has(message(A, X("<invite to='c@x.test'/>")), "affiliate " ROOM " c@x.test 2");
}

/* Somebody in another room is invited by the address there, which tells nobody who that is. */
static void
test_invite_occupant(void **state)
{
	struct room *heath = room_new(1, "heath@rooms.test"), *r = coven();

	(void)state;
	enter(heath, C, "cat", IN_PARTICIPANT);
	assert_has(message(A, X("<invite to='heath@rooms.test/cat'/>")), "<item-not-found");
	enter(heath, A, "ann", IN_PARTICIPANT);
	assert_has(message(A, X("<invite to='heath@rooms.test/cat'/>")), "to=c@x.test id=invite");
	assert_has(message(A, X("<invite to='heath@rooms.test/dog'/>")), "<item-not-found");
	/* A ban of an address that is only guessed shows nothing. */
	affiliate(r, "c@x.test", AFFILIATION_OUTCAST, NULL);
	assert_string_equal(message(A, X("<invite to='heath@rooms.test/cat'/>")), "");
	assert_has(message(A, X("<invite to='c@x.test'/>")), "<forbidden");
	affiliate_find(r, SLICE("c@x.test"))->affiliation = AFFILIATION_NONE;
	r->config.members_only = true;
	assert_has_not(message(A, X("<invite to='heath@rooms.test/cat'/>")), "c@x.test");
	heath->config.non_anonymous = true;
	assert_has(message(A, X("<invite to='heath@rooms.test/cat'/>")), "affiliate " ROOM " c@x.test 2");
	assert_has(message(A, X("<invite to='heath@rooms.test'/>")), "<item-not-found");
}

/* Who has invited somebody that is not there learns so, and nobody else can make it believe that. */
static void
test_invitation_fails(void **state)
{
	const char *line, *begin, *end;
	char id[256];

	(void)state;
	coven();
	line = message(B, X("<invite to='c@x.test'/>"));
	begin = strstr(line, "id=") + 3;
	end = strstr(begin, " handle=");
	snprintf(id, sizeof id, "%.*s", (int)(end - begin), begin);
	assert_string_equal(message_at(1000, TYPE_ERROR, "d@x.test", id, "<error type='cancel'/>"), "");
	assert_false(taken);
	assert_string_equal(message_at(1000, TYPE_ERROR, "c@x.test", "i1", "<error type='cancel'/>"), "");
	assert_false(taken);
	assert_string_equal(message_at(1000, TYPE_ERROR, "c@x.test", id,
	    "<error by='c@x.test' type='cancel'/>"), "answer message error from=" ROOM " to=" B " id=i1 handle=102: <error type='cancel'/>\n");
	assert_true(taken);
}

#define DECLINE(to) X("<decline to='" to "'><reason>No</reason></decline>")

static void
test_decline(void **state)
{
	struct room *r = coven();

	(void)state;
	enter(r, "b@x.test/2", "ben", IN_VISITOR);
	assert_has(message(C, DECLINE("b@x.test")), "to 102 103 outbox message - from=" ROOM " to= id=i1 handle=0: "
	    "<x xmlns='" NS_MUC_USER "'><decline from='c@x.test'><reason>No</reason></decline></x>");
	assert_has(message(C, DECLINE(ROOM "/anna")), "to 101 outbox");
	/* No error tells who is inside. */
	assert_string_equal(message(C, DECLINE(ROOM "/nobody")), "");
	assert_string_equal(message(C, DECLINE("stranger@x.test")), "");
	assert_has(message(C, DECLINE("@")), "<jid-malformed");
	assert_has(message(C, X("<decline/>")), "<bad-request");
	assert_has(message("out@x.test/1", DECLINE("b@x.test")), "<forbidden");
	affiliate(r, "away@x.test", AFFILIATION_MEMBER, NULL);
	assert_has(message(C, DECLINE("away@x.test")), "message message - from=" ROOM " to=away@x.test");
}

#define FIELD(var, value) "<field var='" var "'><value>" value "</value></field>"
#define FORM(in)          "<x xmlns='" NS_DATA "' type='submit'>" FIELD("FORM_TYPE", NS_MUC_REQUEST) in "</x>"
#define ASK               FORM(FIELD("muc#role", "participant"))
#define GRANT(nick, jid, allow) FORM(FIELD("muc#role", "participant") FIELD("muc#jid", jid) \
    FIELD("muc#roomnick", nick) FIELD("muc#request_allow", allow))

static void
test_voice(void **state)
{
	struct room *r = coven();
	struct occupant *ben = occupant_find(r, SLICE("ben"));
	const char *line = message(B, ASK);

	(void)state;
	assert_true(taken);
	assert_has(line, "to 101 outbox message - from=" ROOM);
	assert_has(line, "<field var='muc#jid' type='jid-single' label='Address'><value>" B "</value></field>");
	assert_has(line, "<value>ben</value>");
	assert_has(line, "<field var='muc#request_allow' type='boolean' label='Grant voice?'><value>false</value>");
	assert_has(message_at(2000, TYPE_NORMAL, B, "i2", ASK), "<resource-constraint");
	assert_has(message_at(62000, TYPE_NORMAL, B, "i2", ASK), "to 101 outbox");
	assert_has(message(B, GRANT("ben", B, "true")), "<forbidden");
	assert_has(message(A, GRANT("ben", "d@x.test/1", "true")), "<item-not-found");
	assert_has(message(A, GRANT("dan", B, "true")), "<item-not-found");
	assert_string_equal(message(A, GRANT("ben", B, "false")), "");
	assert_int_equal(ben->role, IN_VISITOR);
	assert_string_equal(message(A, GRANT("ben", B, "true")), "presence ben participant none by anna\n");
	assert_has(message_at(200000, TYPE_NORMAL, B, "i2", ASK), "<not-allowed");
	assert_string_equal(message(A, GRANT("ben", B, "true")), "");
}

static void
test_voice_refused(void **state)
{
	struct room *r = coven();

	(void)state;
	assert_has(message(C, ASK), "<not-acceptable");
	assert_has(message(B, FORM(FIELD("muc#role", "moderator"))), "<bad-request");
	assert_has(message(B, FORM("")), "<bad-request");
	assert_string_equal(message(B, "<x xmlns='" NS_DATA "' type='submit'>" FIELD("FORM_TYPE", "urn:other") "</x>"),
	    "");
	assert_false(taken);
	occupant_find(r, SLICE("anna"))->role = IN_PARTICIPANT;
	assert_has(message(B, ASK), "<recipient-unavailable");
}

#define TEST(name) cmocka_unit_test_teardown(name, world_end)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_invite), TEST(test_invite_refused), TEST(test_members_only),
		TEST(test_invite_occupant), TEST(test_invitation_fails), TEST(test_decline), TEST(test_voice),
		TEST(test_voice_refused),
	};

	return cmocka_run_group_tests_name("room invite", tests, NULL, NULL);
}
