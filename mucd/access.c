/*
 * access.c: what somebody may know of a room who need not be in it. Called by what answers requests;
 * changes nothing and cannot fail.
 *
 * A hidden room (XEP-0045 section 4.2) is kept from those alone who could not enter it whatever they
 * know: who could enter learns no more here than by entering, and clients ask what a room is like
 * before they do (section 6.4).
 */
#include "mucd.h"

bool
access_inside(const struct room *room, struct slice full)
{
	return client_find(room, full) != NULL || occupant_of(room, jid_bare_of(full)) != NULL;
}

bool
access_known(const struct room *room, struct slice full)
{
	enum affiliation a = affiliation_of(room, jid_bare_of(full));

	if (access_inside(room, full) || a == AFFILIATION_OWNER)
		return true;
	if (room->locked)
		return false; /* it is not there yet (section 10.1) */
	if (room->config.public_room || a >= AFFILIATION_MEMBER)
		return true;
	return a != AFFILIATION_OUTCAST && !room->config.members_only;
}

bool
access_reads(const struct room *room, struct slice full)
{
	enum affiliation a = affiliation_of(room, jid_bare_of(full));

	if (a == AFFILIATION_OUTCAST)
		return false;
	if (a >= AFFILIATION_MEMBER || access_inside(room, full))
		return true;
	return !room->locked && !room->config.members_only && !room->config.password_protected;
}

bool
access_real_jids(const struct room *room, struct slice full)
{
	const struct client *client = client_find(room, full);

	return room->config.non_anonymous ||
	    affiliation_of(room, jid_bare_of(full)) >= AFFILIATION_ADMIN ||
	    (client != NULL && client->occupant->role == IN_MODERATOR);
}
