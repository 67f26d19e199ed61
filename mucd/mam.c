/*
 * mam.c: requests to the archive of a room (XEP-0313). Called by request.c. Who may ask sees what it
 * would see in the room; archived has the messages, and answers in the room's name. Nothing is kept.
 */
#include "mucd.h"
#include "ns.h"

static void
ask(const struct frame *f, const struct room *room)
{
	struct frame query = { .type = FRAME_ROOM_QUERY, .kind = STANZA_IQ, .subtype = f->subtype,
		.handle = f->handle, .jid = room_jid(room), .from = f->from, .id = f->id,
		.lang = f->lang, .payload = f->payload, .name = f->name, .ns = f->ns };

	if (access_real_jids(room, f->from))
		query.flags |= FLAG_AVAILABLE;
	if (answer_send(&query) != OK)
		answer_error(f, STANZA_ERROR_POLICY_VIOLATION, "The request is too large");
}

void
mam_request(const struct frame *f, struct room *room)
{
	/* What accounts prefer is no matter of rooms. */
	if (!slice_is(f->name, "query") && !slice_is(f->name, "metadata"))
		answer_error(f, STANZA_ERROR_FEATURE_NOT_IMPLEMENTED, NULL);
	else if (!room->config.logged)
		answer_error(f, STANZA_ERROR_SERVICE_UNAVAILABLE, "This room shows no archive");
	else if (!access_reads(room, f->from))
		answer_error(f, STANZA_ERROR_FORBIDDEN, "Only who may enter this room may read its archive");
	else
		ask(f, room);
}
