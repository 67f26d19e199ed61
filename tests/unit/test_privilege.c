/*
 * test_privilege.c: every row of tables 3 to 11 of XEP-0045: what roles may do, what affiliations may, how roles and
 * affiliations change, and who has which role on entering.
 *
 * Links: mucd
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "mucd.h"

#define OK_    STANZA_ERROR_NONE
#define FORBID STANZA_ERROR_FORBIDDEN
#define DENY   STANZA_ERROR_NOT_ALLOWED

static struct domain domain = { .name = SLICE("rooms.test") };
static struct room room = { .domain = &domain };

static void
room_reset(void)
{
	room.config = (struct room_config){ .private_messages = WHOM_ANYONE, .change_subject = true };
}

/* Table 3. */
static void
test_role_privileges(void **state)
{
	static const struct { enum privilege privilege; bool has[IN_COUNT]; } rows[] = {
		/*                          none   visitor participant moderator */
		{ PRIVILEGE_PRESENT,      { false, true,   true,       true } },
		{ PRIVILEGE_HEAR,         { false, true,   true,       true } },
		{ PRIVILEGE_PRESENCE,     { false, true,   true,       true } },
		{ PRIVILEGE_NICK,         { false, true,   true,       true } },
		{ PRIVILEGE_PRIVATE,      { false, true,   true,       true } },
		{ PRIVILEGE_INVITE,       { false, true,   true,       true } },
		{ PRIVILEGE_SPEAK,        { false, false,  true,       true } },
		{ PRIVILEGE_SUBJECT,      { false, false,  true,       true } },
		{ PRIVILEGE_KICK,         { false, false,  false,      true } },
		{ PRIVILEGE_GRANT_VOICE,  { false, false,  false,      true } },
		{ PRIVILEGE_REVOKE_VOICE, { false, false,  false,      true } },
	};
	size_t i;
	unsigned role;

	(void)state;
	room_reset();
	assert_int_equal(sizeof rows / sizeof rows[0], PRIVILEGE_COUNT);
	for (i = 0; i < PRIVILEGE_COUNT; i++) {
		for (role = 0; role < IN_COUNT; role++)
			assert_int_equal(privilege_has(&room, (enum role_in_room)role, rows[i].privilege),
			    rows[i].has[role]);
	}
}

/* What of table 3 the configuration decides. */
static void
test_configured(void **state)
{
	static const bool may[WHOM_COUNT][IN_COUNT] = {
		[WHOM_NOBODY] = { false, false, false, false },
		[WHOM_MODERATORS] = { false, false, false, true },
		[WHOM_PARTICIPANTS] = { false, false, true, true },
		[WHOM_ANYONE] = { false, true, true, true },
	};
	unsigned whom, role;

	(void)state;
	room_reset();
	room.config.change_subject = false;
	assert_false(privilege_has(&room, IN_PARTICIPANT, PRIVILEGE_SUBJECT));
	assert_true(privilege_has(&room, IN_MODERATOR, PRIVILEGE_SUBJECT));
	for (whom = 0; whom < WHOM_COUNT; whom++) {
		room.config.private_messages = (enum whom)whom;
		for (role = 0; role < IN_COUNT; role++)
			assert_int_equal(privilege_has(&room, (enum role_in_room)role, PRIVILEGE_PRIVATE),
			    may[whom][role]);
	}
}

/* Tables 4 and 5: changes of roles. From each role to each, by a moderator of no affiliation, by an admin, and by those
 * who may change nothing; of somebody without an affiliation. */
static void
test_role_changes(void **state)
{
	static const enum stanza_error by_moderator[IN_COUNT][IN_COUNT] = {
		/*                    none visitor participant moderator */
		[IN_VISITOR] =      { OK_, OK_,    OK_,        FORBID },
		[IN_PARTICIPANT] =  { OK_, OK_,    OK_,        FORBID },
		[IN_MODERATOR] =    { DENY, DENY,  DENY,       OK_ },
	};
	unsigned from, to;

	(void)state;
	for (from = IN_VISITOR; from < IN_COUNT; from++) {
		for (to = IN_NONE; to < IN_COUNT; to++) {
			enum role_in_room a = (enum role_in_room)from, b = (enum role_in_room)to;

			assert_int_equal(privilege_role(IN_MODERATOR, AFFILIATION_NONE, a, AFFILIATION_NONE, b,
			    false), by_moderator[from][to]);
			assert_int_equal(privilege_role(IN_MODERATOR, AFFILIATION_ADMIN, a, AFFILIATION_NONE, b,
			    false), OK_);
			assert_int_equal(privilege_role(IN_MODERATOR, AFFILIATION_OWNER, a, AFFILIATION_NONE, b,
			    false), OK_);
			assert_int_equal(privilege_role(IN_PARTICIPANT, AFFILIATION_NONE, a, AFFILIATION_NONE, b,
			    false), FORBID);
			assert_int_equal(privilege_role(IN_VISITOR, AFFILIATION_NONE, a, AFFILIATION_NONE, b, false),
			    FORBID);
		}
	}
	/* Nobody takes the voice of who is above. */
	assert_int_equal(privilege_role(IN_MODERATOR, AFFILIATION_NONE, IN_PARTICIPANT, AFFILIATION_MEMBER, IN_NONE,
	    false), DENY);
	assert_int_equal(privilege_role(IN_MODERATOR, AFFILIATION_ADMIN, IN_MODERATOR, AFFILIATION_OWNER, IN_NONE,
	    false), DENY);
	assert_int_equal(privilege_role(IN_MODERATOR, AFFILIATION_OWNER, IN_MODERATOR, AFFILIATION_ADMIN,
	    IN_PARTICIPANT, false), DENY);
}

/* Tables 6 and 7: what an affiliation may do: who enters an open room, who one for members, and who is what there. */
static void
test_default_roles(void **state)
{
	static const struct { enum affiliation affiliation; enum role_in_room open, moderated, members; } rows[] = {
		{ AFFILIATION_OUTCAST, IN_NONE,        IN_NONE,        IN_NONE },
		{ AFFILIATION_NONE,    IN_PARTICIPANT, IN_VISITOR,     IN_NONE },
		{ AFFILIATION_MEMBER,  IN_PARTICIPANT, IN_PARTICIPANT, IN_PARTICIPANT },
		{ AFFILIATION_ADMIN,   IN_MODERATOR,   IN_MODERATOR,   IN_MODERATOR },
		{ AFFILIATION_OWNER,   IN_MODERATOR,   IN_MODERATOR,   IN_MODERATOR },
	};
	size_t i;

	(void)state;
	for (i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		room_reset();
		assert_int_equal(affiliation_role(&room, rows[i].affiliation), rows[i].open);
		room.config.moderated = true;
		assert_int_equal(affiliation_role(&room, rows[i].affiliation), rows[i].moderated);
		room_reset();
		room.config.members_only = true;
		assert_int_equal(affiliation_role(&room, rows[i].affiliation), rows[i].members);
	}
}

/* Tables 8 to 11: changes of affiliations: from each to each, by who may. */
static void
test_affiliation_changes(void **state)
{
	static const enum stanza_error by_admin[AFFILIATION_COUNT][AFFILIATION_COUNT] = {
		/*                        outcast none    member  admin   owner */
		[AFFILIATION_OUTCAST] = { OK_,    OK_,    OK_,    FORBID, FORBID },
		[AFFILIATION_NONE] =    { OK_,    OK_,    OK_,    FORBID, FORBID },
		[AFFILIATION_MEMBER] =  { OK_,    OK_,    OK_,    FORBID, FORBID },
		[AFFILIATION_ADMIN] =   { DENY,   FORBID, FORBID, FORBID, FORBID },
		[AFFILIATION_OWNER] =   { DENY,   FORBID, FORBID, FORBID, FORBID },
	};
	unsigned from, to, actor;

	(void)state;
	for (from = 0; from < AFFILIATION_COUNT; from++) {
		for (to = 0; to < AFFILIATION_COUNT; to++) {
			enum affiliation a = (enum affiliation)from, b = (enum affiliation)to;

			assert_int_equal(privilege_affiliate(AFFILIATION_OWNER, a, b, false), OK_);
			assert_int_equal(privilege_affiliate(AFFILIATION_ADMIN, a, b, false), by_admin[from][to]);
			for (actor = 0; actor < AFFILIATION_ADMIN; actor++)
				assert_int_equal(privilege_affiliate((enum affiliation)actor, a, b, false), FORBID);
		}
	}
	assert_int_equal(privilege_affiliate(AFFILIATION_OWNER, AFFILIATION_OWNER, AFFILIATION_OUTCAST, true),
	    STANZA_ERROR_CONFLICT);
}

static void
test_names(void **state)
{
	enum affiliation affiliation;
	enum role_in_room role;
	unsigned i;

	(void)state;
	for (i = 0; i < AFFILIATION_COUNT; i++) {
		assert_true(affiliation_read(slice_string(affiliation_text((enum affiliation)i)), &affiliation));
		assert_int_equal(affiliation, i);
	}
	for (i = 0; i < IN_COUNT; i++) {
		assert_true(role_in_room_read(slice_string(role_in_room_text((enum role_in_room)i)), &role));
		assert_int_equal(role, i);
	}
	assert_false(affiliation_read(SLICE("Owner"), &affiliation));
	assert_false(role_in_room_read(SLICE(""), &role));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_role_privileges), cmocka_unit_test(test_configured),
		cmocka_unit_test(test_role_changes), cmocka_unit_test(test_default_roles),
		cmocka_unit_test(test_affiliation_changes), cmocka_unit_test(test_names),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
