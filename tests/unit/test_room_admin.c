/*
 * test_room_admin.c: who may change and read which list of a room, and what follows from it (XEP-0045 sections 8 to
 * 10): requests in, what is said to whom out.
 *
 * Links: mucd/form.c mucd/setting.c mucd/owner.c mucd/admin.c mucd/register.c mucd/privilege_change.c mucd/privilege.c mucd/hat.c
 */
#include "room_world.h"

#define ADMIN(content) "<query xmlns='" NS_MUC_ADMIN "'>" content "</query>"
#define NOTHING(ns) "<query xmlns='" ns "'/>"
#define OWNER(content) "<query xmlns='" NS_MUC_OWNER "'>" content "</query>"
#define NO_FIELD OWNER("<x xmlns='" NS_DATA "' type='submit'/>")
#define SUBMIT(content) OWNER("<x xmlns='" NS_DATA "' type='submit'>" content "</x>")
#define FIELD_OF(var, value) "<field var='muc#roomconfig_" var "'><value>" value "</value></field>"
#define REGISTER(content) "<query xmlns='" NS_REGISTER "'>" content "</query>"
#define NICK_FORM(nick) REGISTER("<x xmlns='" NS_DATA "' type='submit'><field var='FORM_TYPE'><value>" \
	NS_MUC_REGISTER "</value></field><field var='muc#register_roomnick'><value>" nick "</value></field></x>")

/* What somebody's request brings about. */
static const char *
admin(const char *name, const char *payload)
{
	struct buf address = { 0 };
	struct frame f = world_request(name, TYPE_SET, payload, &address);

	admin_request(world, &f, 1);
	buf_free(&address);
	return heard();
}

static const char *
list(const char *name, const char *payload)
{
	struct buf address = { 0 };
	struct frame f = world_request(name, TYPE_GET, payload, &address);
	const char *line;

	admin_request(world, &f, 1);
	buf_free(&address);
	line = heard();
	if (strcmp(line, "result\n") != 0)
		return line;
	buf_add_char(&world_answer, '\0');
	return world_answer.bytes;
}

static const char *
owner(const char *name, enum stanza_type type, const char *payload)
{
	struct buf address = { 0 };
	struct frame f = world_request(name, type, payload, &address);

	owner_request(world, &f, 1);
	buf_free(&address);
	return heard();
}

static const char *
registers(const char *name, enum stanza_type type, const char *payload, uint64_t now)
{
	struct buf address = { 0 };
	struct frame f = world_request(name, type, payload, &address);

	register_request(&f, world, now);
	buf_free(&address);
	return heard();
}

static int
setup(void **state)
{
	world_setup(state);
	world_enter("owner@a.test", "own", IN_MODERATOR);
	world_enter("admin@a.test", "adm", IN_MODERATOR);
	world_enter("member@a.test", "mem", IN_PARTICIPANT);
	world_enter("some@a.test", "some", IN_PARTICIPANT);
	world_enter("mod@a.test", "mod", IN_MODERATOR);
	return 0;
}

/* -- tables -- */

/* Section 5.1.3: actor, its affiliation; whom; to what; what comes of it. */
static const struct {
	enum role_in_room actor;
	enum affiliation affiliation;
	enum role_in_room from;
	enum affiliation target;
	enum role_in_room to;
	enum stanza_error error;
} roles[] = {
#define N AFFILIATION_NONE
#define M AFFILIATION_MEMBER
#define A AFFILIATION_ADMIN
#define O AFFILIATION_OWNER
#define FORBID STANZA_ERROR_FORBIDDEN
#define DENY STANZA_ERROR_NOT_ALLOWED
#define YES STANZA_ERROR_NONE
	/* kicks */
	{ IN_MODERATOR, N, IN_PARTICIPANT, N, IN_NONE, YES }, { IN_MODERATOR, N, IN_PARTICIPANT, M, IN_NONE, DENY },
	{ IN_MODERATOR, M, IN_VISITOR, M, IN_NONE, YES }, { IN_MODERATOR, M, IN_MODERATOR, A, IN_NONE, DENY },
	{ IN_MODERATOR, M, IN_MODERATOR, O, IN_NONE, DENY }, { IN_MODERATOR, A, IN_MODERATOR, O, IN_NONE, DENY },
	{ IN_MODERATOR, N, IN_MODERATOR, N, IN_NONE, DENY }, { IN_MODERATOR, A, IN_MODERATOR, N, IN_NONE, YES },
	{ IN_MODERATOR, A, IN_MODERATOR, A, IN_NONE, YES }, { IN_MODERATOR, O, IN_MODERATOR, O, IN_NONE, YES },
	{ IN_PARTICIPANT, M, IN_VISITOR, N, IN_NONE, FORBID }, { IN_VISITOR, N, IN_VISITOR, N, IN_NONE, FORBID },
	{ IN_NONE, O, IN_PARTICIPANT, N, IN_NONE, FORBID },
	/* voice */
	{ IN_MODERATOR, N, IN_VISITOR, N, IN_PARTICIPANT, YES }, { IN_MODERATOR, N, IN_VISITOR, M, IN_PARTICIPANT, YES },
	{ IN_PARTICIPANT, M, IN_VISITOR, N, IN_PARTICIPANT, FORBID },
	{ IN_MODERATOR, N, IN_PARTICIPANT, N, IN_VISITOR, YES }, { IN_MODERATOR, N, IN_PARTICIPANT, M, IN_VISITOR, DENY },
	{ IN_MODERATOR, M, IN_PARTICIPANT, M, IN_VISITOR, DENY }, { IN_MODERATOR, A, IN_PARTICIPANT, M, IN_VISITOR, YES },
	{ IN_MODERATOR, O, IN_MODERATOR, A, IN_VISITOR, DENY }, { IN_MODERATOR, O, IN_MODERATOR, O, IN_VISITOR, DENY },
	{ IN_MODERATOR, N, IN_MODERATOR, N, IN_VISITOR, DENY },
	/* moderators */
	{ IN_MODERATOR, A, IN_PARTICIPANT, N, IN_MODERATOR, YES }, { IN_NONE, A, IN_PARTICIPANT, N, IN_MODERATOR, YES },
	{ IN_MODERATOR, M, IN_PARTICIPANT, N, IN_MODERATOR, FORBID },
	{ IN_MODERATOR, A, IN_MODERATOR, N, IN_PARTICIPANT, YES }, { IN_MODERATOR, A, IN_MODERATOR, A, IN_PARTICIPANT, DENY },
	{ IN_MODERATOR, O, IN_MODERATOR, A, IN_PARTICIPANT, DENY },
	{ IN_MODERATOR, M, IN_MODERATOR, N, IN_PARTICIPANT, DENY },
};

static void
test_role_table(void **state)
{
	size_t i;

	(void)state;
	for (i = 0; i < sizeof roles / sizeof roles[0]; i++) {
		enum stanza_error error = privilege_role(roles[i].actor, roles[i].affiliation, roles[i].from,
		    roles[i].target, roles[i].to, false);

		if (error != roles[i].error)
			fail_msg("row %zu: %d", i, (int)error);
	}
	assert_int_equal(privilege_role(IN_MODERATOR, N, IN_MODERATOR, N, IN_NONE, true), YES);
}

/* Section 5.2.3, all of it. */
static void
test_affiliation_table(void **state)
{
	enum affiliation from, to;

	(void)state;
	for (from = AFFILIATION_OUTCAST; from < AFFILIATION_COUNT; from++) {
		for (to = AFFILIATION_OUTCAST; to < AFFILIATION_COUNT; to++) {
			enum stanza_error by_admin = from >= A ? (to == AFFILIATION_OUTCAST ? DENY : FORBID) :
			    to >= A ? FORBID : YES;

			assert_int_equal(privilege_affiliate(O, from, to, false), YES);
			assert_int_equal(privilege_affiliate(A, from, to, false), by_admin);
			assert_int_equal(privilege_affiliate(M, from, to, false), FORBID);
			assert_int_equal(privilege_affiliate(N, from, to, false), FORBID);
		}
	}
	assert_int_equal(privilege_affiliate(O, O, AFFILIATION_OUTCAST, true), STANZA_ERROR_CONFLICT);
	assert_int_equal(privilege_affiliate(A, A, AFFILIATION_OUTCAST, true), STANZA_ERROR_CONFLICT);
}

/* -- roles -- */

static void
test_kick(void **state)
{
	(void)state;
	assert_string_equal(admin("mod", ADMIN("<item nick='some' role='none'><reason>Avaunt!</reason></item>")),
	    "gone some none 307 by mod for Avaunt!\nresult\n");
	assert_string_equal(admin("mod", ADMIN("<item nick='some' role='none'/>")), "error item-not-found\n");
	assert_string_equal(admin("mod", ADMIN("<item nick='adm' role='none'/>")), "error not-allowed\n");
	assert_string_equal(admin("adm", ADMIN("<item nick='mem' role='none'/>")), "error forbidden\n");
	assert_string_equal(admin("admin", ADMIN("<item nick='own' role='none'/>")), "error not-allowed\n");
	assert_string_equal(admin("admin", ADMIN("<item nick='mem' role='none'/>")), "gone mem member 307 by adm\nresult\n");
	assert_string_equal(admin("mod", ADMIN("<item nick='mod' role='none'/>")), "gone mod none 307 by mod\nresult\n");
	assert_string_equal(admin("mod", ADMIN("<item nick='adm' role='none'/>")), "error forbidden\n");
}

static void
test_voice(void **state)
{
	(void)state;
	assert_string_equal(admin("mod", ADMIN("<item nick='some' role='visitor'><reason>So</reason></item>")),
	    "presence some visitor none by mod for So\nresult\n");
	assert_string_equal(admin("mod", ADMIN("<item nick='some' role='visitor'/>")), "result\n");
	assert_string_equal(admin("mod", ADMIN("<item nick='some' role='participant'/>")),
	    "presence some participant none by mod\nresult\n");
	assert_string_equal(admin("mod", ADMIN("<item nick='mem' role='visitor'/>")), "error not-allowed\n");
	assert_string_equal(admin("owner", ADMIN("<item nick='adm' role='visitor'/>")), "error not-allowed\n");
	assert_string_equal(admin("some", ADMIN("<item nick='some' role='moderator'/>")), "error forbidden\n");
	assert_string_equal(admin("admin", ADMIN("<item nick='some' role='moderator'/>")),
	    "presence some moderator none by adm\nresult\n");
	assert_string_equal(admin("admin", ADMIN("<item nick='some' role='participant'/>")),
	    "presence some participant none by adm\nresult\n");
}

/* All or nothing. */
static void
test_several(void **state)
{
	(void)state;
	assert_string_equal(admin("admin", ADMIN("<item nick='some' role='visitor'/><item nick='own' role='visitor'/>")),
	    "error not-allowed\n");
	assert_int_equal(occupant_find(world, SLICE("some"))->role, IN_PARTICIPANT);
	assert_string_equal(admin("admin", ADMIN("<item nick='some' role='visitor'/><item nick='mem' role='visitor'/>"
	    "<item affiliation='outcast' jid='x@a.test'/>")), "presence some visitor none by adm\n"
	    "presence mem visitor member by adm\noutbox own,adm,mod <x xmlns='" NS_MUC_USER "'><item affiliation='outcast' "
	    "jid='x@a.test' role='none'><actor nick='adm'/></item></x>\nresult\n");
	assert_string_equal(admin("admin", ADMIN("<item affiliation='member' jid='y@a.test'/>"
	    "<item affiliation='outcast' jid='Y@a.test/r'/>")), "error bad-request\n");
	assert_string_equal(admin("admin", ADMIN("<item nick='some' role='visitor'/><item nick='some' role='none'/>")),
	    "error bad-request\n");
	assert_string_equal(admin("admin", ADMIN("<item affiliation='member' jid='y@a.test' nick='n'/>"
	    "<item affiliation='member' jid='z@a.test' nick='n'/>")), "error conflict\n");
}

static void
test_bad(void **state)
{
	static const struct {
		const char *payload, *error;
	} rows[] = {
		{ NOTHING(NS_MUC_ADMIN), "error bad-request\n" },
		{ ADMIN("<item/>"), "error bad-request\n" },
		{ ADMIN("<item role='none'/>"), "error bad-request\n" },
		{ ADMIN("<item role='none' nick=''/>"), "error bad-request\n" },
		{ ADMIN("<item role='king' nick='some'/>"), "error bad-request\n" },
		{ ADMIN("<item affiliation='king' jid='x@a.test'/>"), "error bad-request\n" },
		{ ADMIN("<item affiliation='member'/>"), "error bad-request\n" },
		{ ADMIN("<item affiliation='member' role='none' jid='x@a.test' nick='some'/>"), "error bad-request\n" },
		{ ADMIN("<item affiliation='member' jid='@'/>"), "error jid-malformed\n" },
		{ ADMIN("<item affiliation='member' jid=''/>"), "error jid-malformed\n" },
		{ ADMIN("<item affiliation='owner' jid='a.test'/>"), "error not-acceptable\n" },
		{ ADMIN("<item affiliation='member' jid='x@a.test' nick='mem'/>"), "error conflict\n" },
		{ ADMIN("<item affiliation='member' jid='x@a.test' nick='&#x9;'/>"), "error not-acceptable\n" },
		{ "<query xmlns='other'/>", "error bad-request\n" },
	};
	size_t i;

	(void)state;
	for (i = 0; i < sizeof rows / sizeof rows[0]; i++)
		assert_string_equal(admin("owner", rows[i].payload), rows[i].error);
	for (i = 0; i < 13; i++)
		assert_string_equal(admin("some", rows[i].payload), "error forbidden\n");
}

/* -- affiliations -- */

static void
test_ban(void **state)
{
	(void)state;
	affiliation_set(world, SLICE("member@a.test"), AFFILIATION_MEMBER, SLICE("reserved"), SLICE_NONE);
	assert_string_equal(admin("admin", ADMIN("<item affiliation='outcast' jid='member@a.test/any'>"
	    "<reason>Treason</reason></item>")), "gone mem outcast 301 by adm for Treason\nresult\n");
	assert_null(affiliate_of_nick(world, SLICE("reserved")));
	assert_string_equal(affiliate_find(world, SLICE("member@a.test"))->reason, "Treason");
	assert_string_equal(admin("admin", ADMIN("<item affiliation='outcast' jid='owner@a.test'/>")),
	    "error not-allowed\n");
	assert_string_equal(admin("admin", ADMIN("<item affiliation='outcast' jid='admin@a.test'/>")),
	    "error conflict\n");
	assert_string_equal(admin("mod", ADMIN("<item affiliation='outcast' jid='some@a.test'/>")),
	    "error forbidden\n");
	/* A domain: those of it who are something stay what they are. */
	assert_string_equal(admin("owner", ADMIN("<item affiliation='outcast' jid='a.test'/>")),
	    "gone some outcast 301 by own\ngone mod outcast 301 by own\nresult\n");
	world_admin = "boss@a.test";
	assert_string_equal(admin("owner", ADMIN("<item affiliation='outcast' jid='boss@a.test'/>")),
	    "error not-allowed\n");
}

static void
test_members(void **state)
{
	(void)state;
	assert_string_equal(admin("admin", ADMIN("<item affiliation='member' jid='some@a.test' nick='witch'/>")),
	    "presence some participant member by adm\nresult\n");
	assert_string_equal(affiliate_of_nick(world, SLICE("witch"))->jid, "some@a.test");
	/* What is not said of the nick leaves it; an empty one unsets it. */
	assert_string_equal(admin("admin", ADMIN("<item affiliation='member' jid='some@a.test'/>")), "result\n");
	assert_non_null(affiliate_of_nick(world, SLICE("witch")));
	assert_string_equal(admin("admin", ADMIN("<item affiliation='member' jid='some@a.test' nick=''/>")), "result\n");
	assert_null(affiliate_of_nick(world, SLICE("witch")));
	assert_string_equal(admin("admin", ADMIN("<item affiliation='none' jid='some@a.test'/>")),
	    "presence some participant none by adm\nresult\n");
	world->config.members_only = true;
	assert_string_equal(admin("admin", ADMIN("<item affiliation='none' jid='member@a.test'/>")),
	    "gone mem none 321 by adm\nresult\n");
	world->config.non_anonymous = true;
	world->config.password_protected = true;
	buf_add_string(&world->config.password, "fire");
	assert_string_equal(admin("admin", ADMIN("<item affiliation='member' jid='new@a.test'/>")),
	    "outbox own,adm,some,mod <x xmlns='" NS_MUC_USER "'><item affiliation='member' jid='new@a.test' role='none'>"
	    "<actor nick='adm'/></item></x>\nmessage new@a.test <x xmlns='" NS_MUC_USER "'><invite from='admin@a.test'/>"
	    "<password>fire</password></x>\nresult\n");
}

static void
test_owners(void **state)
{
	(void)state;
	assert_string_equal(admin("owner", ADMIN("<item affiliation='admin' jid='owner@a.test'/>")),
	    "error conflict\n");
	assert_string_equal(admin("owner", ADMIN("<item affiliation='none' jid='owner@a.test'/>"
	    "<item affiliation='owner' jid='admin@a.test'/>")), "presence adm moderator owner by own\n"
	    "presence own participant none by own\nresult\n");
	assert_int_equal(affiliation_count(world, AFFILIATION_OWNER), 1);
	assert_string_equal(admin("owner", ADMIN("<item affiliation='owner' jid='owner@a.test'/>")),
	    "error forbidden\n");
	assert_string_equal(admin("admin", ADMIN("<item affiliation='admin' jid='some@a.test'/>")),
	    "presence some moderator admin by adm\nresult\n");
	assert_string_equal(admin("some", ADMIN("<item affiliation='admin' jid='mem@a.test'/>")), "error forbidden\n");
	assert_string_equal(admin("admin", ADMIN("<item affiliation='none' jid='some@a.test'/>")),
	    "presence some participant none by adm\nresult\n");
}

/* -- lists -- */

static void
test_lists(void **state)
{
	(void)state;
	assert_string_equal(list("admin", ADMIN("<item affiliation='member'/>")), ADMIN("<item affiliation='member' "
	    "jid='member@a.test' nick='mem' role='participant'/>"));
	assert_string_equal(list("admin", ADMIN("<item affiliation='outcast'/>")), "<query xmlns='" NS_MUC_ADMIN "'/>");
	affiliation_set(world, SLICE("x@a.test"), AFFILIATION_OUTCAST, SLICE_NONE, SLICE("Treason"));
	assert_string_equal(list("admin", ADMIN("<item affiliation='outcast'/>")), ADMIN("<item affiliation='outcast' "
	    "jid='x@a.test'><reason>Treason</reason></item>"));
	assert_string_equal(list("mod", ADMIN("<item role='participant'/>")), ADMIN("<item affiliation='member' "
	    "jid='member@a.test/x' nick='mem' role='participant'/><item affiliation='none' jid='some@a.test/x' nick='some' "
	    "role='participant'/>"));
	assert_string_equal(list("mod", ADMIN("<item role='moderator'/>")), "error forbidden\n");
	assert_string_equal(list("mod", ADMIN("<item affiliation='outcast'/>")), "error forbidden\n");
	assert_string_equal(list("some", ADMIN("<item role='participant'/>")), "error forbidden\n");
	/* Where addresses are hidden, only owners read the lists of owners and admins. */
	assert_string_equal(list("admin", ADMIN("<item affiliation='owner'/>")), "error forbidden\n");
	assert_string_equal(list("member", ADMIN("<item affiliation='member'/>")), "error forbidden\n");
	assert_string_equal(list("owner", ADMIN("<item affiliation='owner'/>")), ADMIN("<item affiliation='owner' "
	    "jid='owner@a.test' nick='own' role='moderator'/>"));
	world->config.non_anonymous = true;
	assert_string_equal(list("some", ADMIN("<item affiliation='admin'/>")), ADMIN("<item affiliation='admin' "
	    "jid='admin@a.test' nick='adm' role='moderator'/>"));
	assert_string_equal(list("stranger", ADMIN("<item affiliation='member'/>")), "error forbidden\n");
	world->config.member_list = 1u << IN_MODERATOR;
	assert_string_equal(list("some", ADMIN("<item affiliation='member'/>")), "error forbidden\n");
	assert_string_equal(list("owner", ADMIN("<item/>")), "error bad-request\n");
	assert_string_equal(list("owner", NOTHING(NS_MUC_ADMIN)), "error bad-request\n");
	assert_string_equal(list("owner", ADMIN("<item affiliation='none'/>")), "error bad-request\n");
	assert_string_equal(list("owner", ADMIN("<item role='none'/>")), "error bad-request\n");
	assert_string_equal(list("owner", ADMIN("<item role='visitor'/><item role='participant'/>")), "error bad-request\n");
}

/* -- owners -- */

static void
test_configuration(void **state)
{
	(void)state;
	assert_string_equal(owner("admin", TYPE_GET, NOTHING(NS_MUC_OWNER)), "error forbidden\n");
	assert_string_equal(owner("owner", TYPE_GET, NOTHING(NS_MUC_OWNER)), "result\n");
	assert_string_equal(owner("owner", TYPE_SET, NOTHING(NS_MUC_OWNER)), "error bad-request\n");
	assert_string_equal(owner("owner", TYPE_SET, OWNER("<x xmlns='" NS_DATA "' type='form'/>")), "error bad-request\n");
	assert_string_equal(owner("owner", TYPE_SET, OWNER("<x xmlns='" NS_DATA "' type='cancel'/>")), "result\n");
	assert_false(world_removed);
	assert_string_equal(owner("owner", TYPE_SET, SUBMIT(FIELD_OF("unknown", "x"))), "result\n");
	assert_string_equal(owner("owner", TYPE_SET, SUBMIT(FIELD_OF("roomname", "Cave"))), "room <x xmlns='" NS_MUC_USER
	    "'><status code='104'/></x>\nresult\n");
	assert_string_equal(owner("owner", TYPE_SET, SUBMIT(FIELD_OF("enablelogging", "0") FIELD_OF("whois", "anyone"))),
	    "room <x xmlns='" NS_MUC_USER "'><status code='172'/><status code='171'/></x>\nresult\n");
	assert_string_equal(owner("owner", TYPE_SET, SUBMIT(FIELD_OF("enablelogging", "1") FIELD_OF("whois", "moderators")
	    "<field var='muc#roomconfig_roomname'><value/></field>")), "room <x xmlns='" NS_MUC_USER
	    "'><status code='104'/><status code='173'/>"
	    "<status code='170'/></x>\nresult\n");
	assert_string_equal(owner("owner", TYPE_SET, SUBMIT(FIELD_OF("roomname", "x") FIELD_OF("passwordprotectedroom", "1"))),
	    "error not-acceptable\n");
	assert_int_equal(buf_len(&world->config.name), 0);
	assert_string_equal(owner("owner", TYPE_SET, SUBMIT(FIELD_OF("lang", "x y"))), "error not-acceptable\n");
	buf_add_char(&world_answer, '\0');
	assert_string_equal(world_answer.bytes, "muc#roomconfig_lang is no tag of a language");
	assert_string_equal(owner("owner", TYPE_SET, SUBMIT(FIELD_OF("presencebroadcast", "moderator"))), "room <x xmlns='"
	    NS_MUC_USER "'><status code='104'/></x>\nbroadcast 14 8\nresult\n");
}

static void
test_types(void **state)
{
	(void)state;
	world->config.moderated = true;
	occupant_find(world, SLICE("some"))->role = IN_VISITOR;
	assert_string_equal(owner("owner", TYPE_SET, SUBMIT(FIELD_OF("moderatedroom", "0"))), "room <x xmlns='"
	    NS_MUC_USER "'><status code='104'/></x>\npresence some participant none\nresult\n");
	assert_string_equal(owner("owner", TYPE_SET, SUBMIT(FIELD_OF("membersonly", "1"))), "room <x xmlns='"
	    NS_MUC_USER "'><status code='104'/></x>\ngone some none 322\ngone mod none 322\nresult\n");
}

static void
test_form_lists(void **state)
{
	(void)state;
	assert_string_equal(owner("owner", TYPE_SET, SUBMIT("<field var='muc#roomconfig_roomowners'/>")), "error conflict\n");
	assert_string_equal(owner("owner", TYPE_SET, SUBMIT(FIELD_OF("roomadmins", "some@a.test"))),
	    "presence some moderator admin by own\npresence adm participant none by own\nresult\n");
	/* Who was the owner becomes an admin (10.2). */
	assert_string_equal(owner("owner", TYPE_SET, SUBMIT(FIELD_OF("roomowners", "member@a.test"))),
	    "presence mem moderator owner by own\npresence own moderator admin by own\nresult\n");
	assert_int_equal(affiliation_count(world, AFFILIATION_OWNER), 1);
	assert_int_equal(affiliation_count(world, AFFILIATION_ADMIN), 2);
	assert_string_equal(owner("member", TYPE_SET, SUBMIT(FIELD_OF("roomowners", "new@a.test")
	    FIELD_OF("roomadmins", "some@a.test") FIELD_OF("membersonly", "1"))),
	    "outbox own,mem,some,mod <x xmlns='" NS_MUC_USER "'><item affiliation='owner' jid='new@a.test' role='none'>"
	    "<actor nick='mem'/></item></x>\npresence mem participant member by mem\npresence own participant member by mem\n"
	    "room <x xmlns='" NS_MUC_USER "'><status code='104'/></x>\ngone adm none 322\ngone mod none 322\nresult\n");
}

/* Thousands of changes at once are made all, and told as long as it is not too much. */
static void
test_form_many(void **state)
{
	struct buf form = { 0 };
	const char *line;
	size_t told = 0;
	unsigned i;

	(void)state;
	buf_add_string(&form, "<query xmlns='" NS_MUC_OWNER "'><x xmlns='" NS_DATA "' type='submit'>"
	    "<field var='muc#roomconfig_roomadmins'>");
	for (i = 0; i < 9600; i++)
		buf_printf(&form, "<value>%098u@a.test</value>", i);
	buf_add_string(&form, "</field></x></query>");
	buf_add_char(&form, '\0');
	line = owner("owner", TYPE_SET, form.bytes);
	assert_in_range(strlen(line), 1u << 20, 3u << 20);
	assert_non_null(strstr(line, "\nresult\n"));
	for (; (line = strstr(line, "outbox ")) != NULL; line++)
		told++;
	assert_in_range(told, 3000, 9500);
	assert_int_equal(affiliation_count(world, AFFILIATION_ADMIN), 9600);
	buf_free(&form);
	/* One change is told. */
	assert_true(strncmp(admin("owner", ADMIN("<item affiliation='admin' jid='new@a.test'/>")), "outbox own", 10) == 0);
}

static void
test_locked(void **state)
{
	(void)state;
	world->locked = true;
	assert_string_equal(owner("owner", TYPE_SET, NO_FIELD), "result\n");
	assert_false(world->locked);
	world->locked = true;
	assert_string_equal(owner("owner", TYPE_SET, OWNER("<x xmlns='" NS_DATA "' type='cancel'/>")),
	    "result\ngone own none <destroy/>\ngone adm none <destroy/>\ngone mem none <destroy/>\ngone some none <destroy/>\n"
	    "gone mod none <destroy/>\n");
	assert_true(world_removed);
}

static void
test_destroy(void **state)
{
	(void)state;
	assert_string_equal(owner("admin", TYPE_SET, OWNER("<destroy/>")), "error forbidden\n");
	assert_string_equal(owner("owner", TYPE_SET, OWNER("<destroy jid='@'/>")), "error jid-malformed\n");
	assert_false(world_removed);
	while (world->occupant_count > 1)
		world_leave(TAILQ_LAST(&world->occupants, occupants));
	assert_string_equal(owner("owner", TYPE_SET, OWNER("<destroy jid='Other@rooms.test'><reason>Macbeth &lt;</reason>"
	    "<password>p</password></destroy>")), "result\ngone own none <destroy jid='other@rooms.test'><reason>Macbeth &lt;"
	    "</reason><password>p</password></destroy>\n");
	assert_true(world_removed);
}

/* -- registration -- */

static void
test_register(void **state)
{
	(void)state;
	assert_string_equal(registers("some", TYPE_GET, NOTHING(NS_REGISTER), 1), "result\n");
	assert_string_equal(registers("some", TYPE_SET, NOTHING(NS_REGISTER), 1), "error bad-request\n");
	assert_string_equal(registers("some", TYPE_SET, REGISTER("<x xmlns='" NS_DATA "' type='submit'>"
	    "<field var='muc#register_roomnick'><value/></field></x>"), 1), "error bad-request\n");
	assert_string_equal(registers("some", TYPE_SET, NICK_FORM("mem"), 1), "error conflict\n");
	assert_string_equal(registers("some", TYPE_SET, NICK_FORM("witch"), 1), "presence some participant member\nresult\n");
	assert_string_equal(registers("mod", TYPE_SET, NICK_FORM("witch"), 1), "error conflict\n");
	assert_string_equal(registers("some", TYPE_GET, NOTHING(NS_REGISTER), 1), "result\n");
	buf_add_char(&world_answer, '\0');
	assert_string_equal(world_answer.bytes, REGISTER("<registered/><username>witch</username>"));
	assert_string_equal(registers("some", TYPE_SET, REGISTER("<remove/>"), 1), "presence some participant none\nresult\n");
	assert_string_equal(registers("some", TYPE_SET, REGISTER("<remove/>"), 1), "error registration-required\n");
	assert_string_equal(registers("owner", TYPE_SET, NICK_FORM("king"), 1), "result\n");
	assert_int_equal(affiliation_of(world, SLICE("owner@a.test")), AFFILIATION_OWNER);
	assert_string_equal(registers("owner", TYPE_SET, REGISTER("<remove/>"), 1), "result\n");
	assert_null(affiliate_of_nick(world, SLICE("king")));
	affiliation_set(world, SLICE("x@a.test"), AFFILIATION_OUTCAST, SLICE_NONE, SLICE_NONE);
	assert_string_equal(registers("x", TYPE_GET, NOTHING(NS_REGISTER), 1), "error not-allowed\n");
}

/* However many register, admins and owners find room in the list. */
static void
test_register_many(void **state)
{
	char jid[32];
	unsigned i;

	(void)state;
	for (i = 0; map_count(world->by_jid) < AFFILIATES_OPEN; i++) {
		snprintf(jid, sizeof jid, "u%u@a.test", i);
		affiliation_set(world, slice_string(jid), AFFILIATION_MEMBER, SLICE_NONE, SLICE_NONE);
	}
	assert_string_equal(registers("some", TYPE_SET, NICK_FORM("witch"), 1), "error resource-constraint\n");
	assert_null(affiliate_find(world, SLICE("some@a.test")));
	assert_string_equal(registers("u1", TYPE_SET, NICK_FORM("witch"), 1), "result\n");
	assert_non_null(strstr(admin("admin", ADMIN("<item affiliation='member' jid='some@a.test'/>")), "result\n"));
	assert_int_equal(affiliation_of(world, SLICE("some@a.test")), AFFILIATION_MEMBER);
}

/* In a room for members only admins have a say, and are not asked twice. */
static void
test_approval(void **state)
{
	struct buf address = { 0 };
	struct frame f;
	const char *line;

	(void)state;
	world->config.members_only = true;
	line = registers("new", TYPE_SET, NICK_FORM("newt"), 1000);
	assert_true(strncmp(line, "message owner@a.test <x ", 24) == 0);
	assert_non_null(strstr(line, "\nmessage admin@a.test <x "));
	assert_non_null(strstr(line, "\nresult\n"));
	/* Unless the commit fails: then it is handled again. */
	register_revert();
	line = registers("new", TYPE_SET, NICK_FORM("newt"), 1500);
	assert_true(strncmp(line, "message owner@a.test <x ", 24) == 0);
	register_committed();
	register_revert();
	assert_string_equal(registers("new", TYPE_SET, NICK_FORM("newt"), 2000), "error resource-constraint\n");
	assert_null(affiliate_find(world, SLICE("new@a.test")));
#define ANSWER(allow) "<x xmlns='" NS_DATA "' type='submit'><field var='FORM_TYPE'><value>" NS_MUC_REGISTER \
	"</value></field><field var='{urn:x-aldis:muc}jid'><value>new@a.test</value></field>" \
	"<field var='muc#register_roomnick'><value>newt</value></field>" \
	"<field var='muc#register_allow'><value>" allow "</value></field></x>"
	f = world_request("member", TYPE_NORMAL, ANSWER("1"), &address);
	assert_true(register_handle(world, &f, 3000));
	assert_string_equal(heard(), "error forbidden\n");
	f = world_request("admin", TYPE_NORMAL, ANSWER("0"), &address);
	assert_true(register_handle(world, &f, 3000));
	assert_string_equal(heard(), "");
	assert_null(affiliate_find(world, SLICE("new@a.test")));
	f = world_request("admin", TYPE_NORMAL, ANSWER("true"), &address);
	assert_true(register_handle(world, &f, 3000));
	assert_non_null(strstr(heard(), "jid='new@a.test'"));
	assert_int_equal(affiliation_of(world, SLICE("new@a.test")), AFFILIATION_MEMBER);
	assert_string_equal(affiliate_of_nick(world, SLICE("newt"))->jid, "new@a.test");
	f = world_request("admin", TYPE_NORMAL, "<body>x</body>", &address);
	assert_false(register_handle(world, &f, 3000));
	buf_free(&address);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_role_table),
		cmocka_unit_test(test_affiliation_table),
		cmocka_unit_test_setup_teardown(test_kick, setup, world_end),
		cmocka_unit_test_setup_teardown(test_voice, setup, world_end),
		cmocka_unit_test_setup_teardown(test_several, setup, world_end),
		cmocka_unit_test_setup_teardown(test_bad, setup, world_end),
		cmocka_unit_test_setup_teardown(test_ban, setup, world_end),
		cmocka_unit_test_setup_teardown(test_members, setup, world_end),
		cmocka_unit_test_setup_teardown(test_owners, setup, world_end),
		cmocka_unit_test_setup_teardown(test_lists, setup, world_end),
		cmocka_unit_test_setup_teardown(test_configuration, setup, world_end),
		cmocka_unit_test_setup_teardown(test_types, setup, world_end),
		cmocka_unit_test_setup_teardown(test_form_lists, setup, world_end),
		cmocka_unit_test_setup_teardown(test_form_many, setup, world_end),
		cmocka_unit_test_setup_teardown(test_locked, setup, world_end),
		cmocka_unit_test_setup_teardown(test_destroy, setup, world_end),
		cmocka_unit_test_setup_teardown(test_register, setup, world_end),
		cmocka_unit_test_setup_teardown(test_register_many, setup, world_end),
		cmocka_unit_test_setup_teardown(test_approval, setup, world_end),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
