/*
 * feed.c: where a session is in what was stored, so that it misses nothing and gets nothing twice
 * (router/drain.c).
 *
 *   (live) --(SESSION_FEED with FLAG_MORE, SESSION_PAUSE)--> fed --(SESSION_FEED)--> (live)
 *   (bound, replayed, moved here) ---------------------------^
 *
 * What is stored comes to live sessions in the order of its ids, so for all of them one number says what has
 * come. A session that is fed has its own. Called by session.c, bind.c, resume.c and uplink.c with what the
 * router says. No input or output; cannot fail.
 */
#include "c2sd.h"

static uint64_t seen; /* what was stored up to this id has come to live sessions */

uint64_t
feed_id(const struct frame *f)
{
	if (f->flags & FLAG_ROOM)
		return 0; /* it is on no spool */
	return f->archive_id != 0 || !(f->flags & FLAG_CARBON) ? f->archive_id : f->number;
}

void
feed_seen(uint64_t id)
{
	if (id > seen)
		seen = id;
}

uint64_t
feed_level(const struct session *s)
{
	return s->fed ? s->level : seen;
}

void
feed_from(struct session *s, uint64_t level)
{
	s->level = level;
	s->fed = true;
	s->skipped = false;
}

void
feed_pause(struct session *s)
{
	s->level = feed_level(s);
	s->fed = true;
}

void
feed_ask(struct session *s, struct frame *f)
{
	f->archive_id = s->level;
	f->number = ++s->drains;
	s->skipped = true; /* what is still on its way comes again */
}

bool
feed_takes(struct session *s, const struct frame *f, bool over)
{
	uint64_t id = feed_id(f);

	/* What waited behind others at the router comes once. */
	if (s->fed && !(f->flags & FLAG_SPOOL) && id <= s->level)
		return true;
	s->skipped |= over;
	if (!s->skipped && s->fed && id > s->level)
		s->level = id;
	return !s->skipped;
}

void
feed_frame(const struct frame *f)
{
	struct session *s = session_find(f->handle);

	if (!(f->flags & FLAG_MORE))
		feed_seen(f->archive_id);
	if (s == NULL)
		return;
	if (f->flags & FLAG_MORE) {
		if (!s->fed || s->level == UINT64_MAX)
			s->level = f->archive_id;
		s->fed = true;
		if (f->number != 0 && f->number == s->drains)
			s->skipped = false;
	} else if (s->paused || s->skipped) {
		/* SESSION_PAUSE is on its way: all of this has come before. */
		if (!s->skipped && f->archive_id > s->level)
			s->level = f->archive_id;
	} else {
		s->fed = false;
	}
}
