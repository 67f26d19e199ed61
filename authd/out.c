/*
 * out.c: the frames of one loop iteration, which wait until what they tell of is on disk. Called
 * by all engines; main.c sends them after the commit, or drops them when it failed.
 */
#include "authd.h"
#include "log.h"

#define KEEP (256u << 10) /* memory kept between iterations */

static struct buf out;

void
out_send(const struct frame *f)
{
	if (frame_senders(f->type) & IS_SECRET)
		out.secret = true;
	if (frame_write(f, &out) != OK)
		log_error("frame dropped", "type=%s reason=\"too big\"", frame_text(f->type));
}

void
out_raw(struct slice frames)
{
	buf_add_slice(&out, frames);
}

struct slice
out_frames(void)
{
	return buf_slice(&out);
}

void
out_clear(void)
{
	buf_clear(&out);
	out.secret = false;
	buf_trim(&out, KEEP);
}
