/*
 * privilege.c: what roles and affiliations are called, and what a role may do (XEP-0045 section 5): tables
 * alone. Called by whoever reads or writes one of them, or is asked for something. Cannot fail.
 */
#include "mucd.h"

static const char *const affiliations[AFFILIATION_COUNT] = {
	[AFFILIATION_OUTCAST] = "outcast",
	[AFFILIATION_NONE] = "none",
	[AFFILIATION_MEMBER] = "member",
	[AFFILIATION_ADMIN] = "admin",
	[AFFILIATION_OWNER] = "owner",
};

static const char *const roles[IN_COUNT] = {
	[IN_NONE] = "none",
	[IN_VISITOR] = "visitor",
	[IN_PARTICIPANT] = "participant",
	[IN_MODERATOR] = "moderator",
};

const char *
affiliation_text(enum affiliation affiliation)
{
	return affiliations[affiliation];
}

bool
affiliation_read(struct slice text, enum affiliation *affiliation)
{
	unsigned i;

	for (i = 0; i < AFFILIATION_COUNT; i++) {
		if (slice_is(text, affiliations[i])) {
			*affiliation = (enum affiliation)i;
			return true;
		}
	}
	return false;
}

const char *
role_in_room_text(enum role_in_room role)
{
	return roles[role];
}

bool
role_in_room_read(struct slice text, enum role_in_room *role)
{
	unsigned i;

	for (i = 0; i < IN_COUNT; i++) {
		if (slice_is(text, roles[i])) {
			*role = (enum role_in_room)i;
			return true;
		}
	}
	return false;
}

/* Table 3, what a role may do; what the configuration decides as well is in the second column. */
static const bool allowed[PRIVILEGE_COUNT][IN_COUNT] = {
	/*                           none   visitor participant moderator */
	[PRIVILEGE_PRESENT] =      { false, true,   true,       true },
	[PRIVILEGE_HEAR] =         { false, true,   true,       true },
	[PRIVILEGE_PRESENCE] =     { false, true,   true,       true },
	[PRIVILEGE_NICK] =         { false, true,   true,       true },
	[PRIVILEGE_PRIVATE] =      { false, true,   true,       true },
	[PRIVILEGE_INVITE] =       { false, true,   true,       true },
	[PRIVILEGE_SPEAK] =        { false, false,  true,       true },
	[PRIVILEGE_SUBJECT] =      { false, false,  true,       true },
	[PRIVILEGE_KICK] =         { false, false,  false,      true },
	[PRIVILEGE_GRANT_VOICE] =  { false, false,  false,      true },
	[PRIVILEGE_REVOKE_VOICE] = { false, false,  false,      true },
};

bool
privilege_has(const struct room *room, enum role_in_room role, enum privilege privilege)
{
	if (!allowed[privilege][role])
		return false;
	if (privilege == PRIVILEGE_SUBJECT)
		return role == IN_MODERATOR || room->config.change_subject;
	if (privilege == PRIVILEGE_PRIVATE) {
		switch (room->config.private_messages) {
		case WHOM_NOBODY:
			return false;
		case WHOM_MODERATORS:
			return role == IN_MODERATOR;
		case WHOM_PARTICIPANTS:
			return role >= IN_PARTICIPANT;
		default:
			return true;
		}
	}
	return true;
}
