/*
 * room.c: what rooms say ("rooms" in frame.def): each session has a place in it, so that nothing comes twice when it
 * comes again; and which of it was taken, which the router is told once in an iteration.
 *
 * Called by sessions.c and session.c with what the router says, by main.c. A session takes its place with it to another
 * c2sd (resume.c); it outlives the router. Cannot fail.
 */
#include "c2sd.h"

static uint64_t seen; /* the last number that came and was not reported; 0: none */

bool
room_takes(struct session *s, const struct frame *f)
{
	uint64_t id = f->flags & FLAG_SPOOL ? f->archive_id : UINT64_MAX;

	if (f->number < s->room_number || (f->number == s->room_number && id <= s->room_id))
		return false;
	s->room_number = f->number;
	s->room_id = id;
	return true;
}

void
room_seen(const struct frame *f)
{
	if (f->flags & (FLAG_MORE | FLAG_HANDOVER))
		return;
	if (f->number <= seen)
		room_report(); /* it comes again: the router tells them apart by their order */
	seen = f->number;
	daemon_dirty();
}

void
room_report(void)
{
	struct frame taken = { .type = FRAME_TAKEN, .number = seen };

	if (seen != 0)
		daemon_send(&taken);
	seen = 0;
}

void
room_router_gone(void)
{
	seen = 0;
}
