/*
 * privilege_change.c: who may change whose role and affiliation (XEP-0045 sections 5.1.3, 5.2.3, 8 and 9), as
 * tables. Called by admin.c. The answer is the error for who asks, or none.
 */
#include "mucd.h"

#define OK_    STANZA_ERROR_NONE
#define FORBID STANZA_ERROR_FORBIDDEN
#define DENY   STANZA_ERROR_NOT_ALLOWED

/* What an admin may do: from the affiliation that somebody has to that which it shall have. The lists of owners
 * and admins are the owners' matter (10.5, 10.8), and nobody bans who is above (9.1). */
static const enum stanza_error by_admin[AFFILIATION_COUNT][AFFILIATION_COUNT] = {
	/*                        outcast none    member  admin   owner */
	[AFFILIATION_OUTCAST] = { OK_,    OK_,    OK_,    FORBID, FORBID },
	[AFFILIATION_NONE] =    { OK_,    OK_,    OK_,    FORBID, FORBID },
	[AFFILIATION_MEMBER] =  { OK_,    OK_,    OK_,    FORBID, FORBID },
	[AFFILIATION_ADMIN] =   { DENY,   FORBID, FORBID, FORBID, FORBID },
	[AFFILIATION_OWNER] =   { DENY,   FORBID, FORBID, FORBID, FORBID },
};

enum stanza_error
privilege_affiliate(enum affiliation actor, enum affiliation from, enum affiliation to, bool self)
{
	if (actor < AFFILIATION_ADMIN)
		return FORBID;
	if (self && to == AFFILIATION_OUTCAST)
		return STANZA_ERROR_CONFLICT;
	return actor == AFFILIATION_OWNER ? OK_ : by_admin[from][to];
}

/* What a change of a role needs: the role of moderator, or the affiliation of an admin. */
static const enum { NOTHING, MODERATOR, ADMIN } role_needs[IN_COUNT][IN_COUNT] = {
	/*                    none       visitor    participant moderator */
	[IN_VISITOR] =      { MODERATOR, MODERATOR, MODERATOR,  ADMIN },
	[IN_PARTICIPANT] =  { MODERATOR, MODERATOR, MODERATOR,  ADMIN },
	[IN_MODERATOR] =    { ADMIN,     ADMIN,     ADMIN,      ADMIN },
};

/* One whose affiliation is that of the moderator keeps its voice, but for those who have none: whom a moderator
 * without an affiliation can moderate. */
static bool
outranks(enum affiliation target, enum affiliation actor, enum role_in_room to)
{
	if (to == IN_NONE)
		return target > actor;
	return target > actor || (target == actor && target != AFFILIATION_NONE);
}

enum stanza_error
privilege_role(enum role_in_room actor, enum affiliation actor_affiliation, enum role_in_room from,
    enum affiliation affiliation, enum role_in_room to, bool self)
{
	bool admin = actor_affiliation >= AFFILIATION_ADMIN;

	if (from == to)
		return actor == IN_MODERATOR || admin ? OK_ : FORBID;
	if (to == IN_MODERATOR)
		return admin ? OK_ : FORBID;
	if (actor != IN_MODERATOR && !(admin && from == IN_MODERATOR && to != IN_NONE))
		return FORBID;
	if (self && to == IN_NONE)
		return OK_; /* as some take their leave */
	if (role_needs[from][to] == ADMIN && !admin)
		return DENY;
	/* An admin or owner is a moderator, always (8.4, 9.7). */
	if (to != IN_NONE && to < from && affiliation >= AFFILIATION_ADMIN)
		return DENY;
	return to < from && outranks(affiliation, actor_affiliation, to) ? DENY : OK_;
}

/* Who may read the list of an affiliation (9.2, 9.5, 10.5, 10.8). Those of owners and admins are hidden where
 * addresses are. */
bool
privilege_reads_list(const struct room *room, enum affiliation reader, enum role_in_room role,
    enum affiliation list)
{
	bool shown = room->config.non_anonymous && reader != AFFILIATION_OUTCAST &&
	    ((role != IN_NONE && room->config.member_list & 1u << role) || (reader >= AFFILIATION_MEMBER &&
	    room->config.member_list & 1u << IN_PARTICIPANT));

	if (reader == AFFILIATION_OWNER)
		return true;
	if (list == AFFILIATION_OUTCAST)
		return reader == AFFILIATION_ADMIN;
	if (list == AFFILIATION_MEMBER && (reader == AFFILIATION_ADMIN || (role == IN_MODERATOR &&
	    room->config.member_list & 1u << IN_MODERATOR)))
		return true;
	return shown;
}
