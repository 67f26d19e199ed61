/*
 * deadline.h: one coarse timer for everything in a process that waits: to the second, at no cost for
 * what is set and cleared again.
 */
#ifndef ALDIS_DEADLINE_H
#define ALDIS_DEADLINE_H

#include <sys/queue.h>

#include <uv.h>

/* Something that happens at a time, to the second. Embedded in what waits. */
struct deadline {
	LIST_ENTRY(deadline) slot;
	uint64_t at;                       /* daemon_ticks(); 0: not set */
	void (*due)(struct deadline *d);   /* is unset when this is called */
};

void deadlines_start(uv_loop_t *loop);
/* Sets or moves a deadline to this many milliseconds from now. */
void deadline_set(struct deadline *d, uint64_t milliseconds);
/* The same, unless it is set to an earlier time. */
void deadline_hasten(struct deadline *d, uint64_t milliseconds);
void deadline_clear(struct deadline *d);

#endif
