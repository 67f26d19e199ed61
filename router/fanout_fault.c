/*
 * fanout_fault.c: what mucd may say in the name of its rooms. Called by fanout.c for each frame that is in custody.
 * Nothing is changed; says why a frame may not be taken.
 */
#include "router.h"

/* Whether an address is a room's: bare, with a local part, in a domain of this daemon. */
static bool
is_room(const struct peer *mucd, struct slice jid)
{
	struct jid parts;

	return jid.ptr != NULL && jid_parse(jid, &parts) == 0 && parts.local.ptr != NULL &&
	    parts.resource.ptr == NULL && route_owns(mucd, jid);
}

static bool
is_full(struct slice jid)
{
	struct jid parts;

	return jid_parse(jid, &parts) == 0 && parts.resource.ptr != NULL;
}

static bool
are_full(struct slice lines)
{
	struct slice line;

	while (slice_line(&lines, &line)) {
		if (!is_full(line))
			return false;
	}
	return true;
}

/* What is to be stored in the archive of a room. */
static bool
fits_archive(const struct peer *mucd, const struct frame *f)
{
	struct jid sender;

	return f->kind == STANZA_MESSAGE && (f->flags & FLAG_FROM_LOCAL) && f->token.len == ONCE_SIZE &&
	    f->to.ptr != NULL && slice_equal(f->to, jid_bare_of(f->from)) && is_room(mucd, f->to) &&
	    (f->jid.ptr == NULL || (jid_parse(f->jid, &sender) == 0 && sender.resource.ptr == NULL));
}

static const char *
stanza_fault(const struct peer *mucd, const struct frame *f)
{
	bool room = (f->flags & FLAG_ROOM) != 0;
	uint32_t flags = FLAG_FROM_ENTRY | FLAG_STORE | (room ? FLAG_ROOM | FLAG_FROM_LOCAL : 0u);
	struct jid to;

	if (!route_type_fits(f->kind, f->subtype) || (f->kind == STANZA_PRESENCE && f->subtype != TYPE_AVAILABLE &&
	    f->subtype != TYPE_UNAVAILABLE && f->subtype != TYPE_ERROR))
		return "malformed stanza";
	if (f->from.ptr == NULL || !route_owns(mucd, f->from))
		return "not its address";
	if ((f->flags & ~flags) || ((f->flags & FLAG_FROM_LOCAL) && !(f->flags & FLAG_STORE)))
		return "flags";
	if (f->audience != AUDIENCE_NONE || f->handle != 0 || f->archive_id != 0 || !are_full(f->text))
		return "not its receivers";
	if (f->text.len != 0 && f->token.len != ONCE_SIZE)
		return "no token";
	if (room)
		return (f->flags & FLAG_STORE) && !fits_archive(mucd, f) ? "not for its archive" : NULL;
	if (f->kind != STANZA_MESSAGE || f->token.len != ONCE_SIZE || f->to.ptr == NULL ||
	    jid_parse(f->to, &to) != 0)
		return "malformed stanza";
	return f->numbers.ptr != NULL || f->text.ptr != NULL ? "not its receivers" : NULL;
}

static const char *
history_fault(const struct peer *mucd, const struct frame *f)
{
	if (!is_room(mucd, f->jid))
		return "not its address";
	if ((f->handle != 0) == (f->to.ptr != NULL) || (f->to.ptr != NULL && !is_full(f->to)))
		return "not its receivers";
	return frame_count(f) == 2 ? NULL : "how much";
}

static const char *
room_fault(const struct peer *mucd, const struct frame *f)
{
	return is_room(mucd, f->jid) ? NULL : "not its address";
}

/* What there is to say. */
static const struct kind {
	enum frame_type type;
	const char *(*fault)(const struct peer *mucd, const struct frame *f);
} kinds[] = {
	{ FRAME_STANZA, stanza_fault },
	{ FRAME_HISTORY, history_fault },
	{ FRAME_REDACT, room_fault },
	{ FRAME_FORGET, room_fault },
};

const char *
fanout_fault(const struct peer *mucd, const struct frame *f)
{
	size_t i;

	for (i = 0; i < sizeof kinds / sizeof *kinds; i++) {
		if (kinds[i].type == f->type)
			return kinds[i].fault(mucd, f);
	}
	return "not what rooms say";
}
