/*
 * link.h: a socket to another process of the suite, carrying frames.
 *
 * What is sent in one loop iteration is written at its end in one system call; what comes is read
 * in large pieces and handed out frame by frame. A frame that does not fit the form, or that its
 * sender's role may not send, is dropped and logged; a stream that cannot be understood any more
 * closes the link, and the supervisor then restarts whoever is at the other end.
 */
#ifndef ALDIS_LINK_H
#define ALDIS_LINK_H

#include <uv.h>

#include "frame.h"

struct link;

struct link_events {
	void (*frame)(void *arg, struct link *link, const struct frame *f, struct slice whole);
	/* The link is gone: the other process died. The link frees itself after this returns. */
	void (*closed)(void *arg, struct link *link);
	/* The output has drained to a quarter of what is full after link_full() had been true; may be
	 * NULL. */
	void (*drained)(void *arg, struct link *link);
};

/* Takes fd, an AF_UNIX stream socket. peer: the role at the other end; index and incarnation as the
 * supervisor said. */
struct link *link_new(uv_loop_t *loop, int fd, enum role peer, unsigned index, uint32_t incarnation,
    const struct link_events *events, void *arg);

/* Closes the link: no event follows. Clears the pointer. */
void link_close(struct link **link);

/* Queues a frame; it is written at the end of the loop iteration. Frames that are too large are
 * dropped and logged (E_TOO_BIG). */
int link_send(struct link *link, const struct frame *f);
/* The same for a frame already written. */
void link_send_raw(struct link *link, struct slice frame);

/* before() is called once in each loop iteration, before its output is written; it may send. */
void link_before_flush(uv_loop_t *loop, void (*before)(void));

/* Counts a frame that its receiver does not take, and logs it: the 1st, 2nd, 4th, 8th, ... of a
 * link, so that a flood of them does not fill the log. */
void link_refuse(struct link *link, enum frame_type type, const char *reason);

/* Whether more output waits than a well-behaved sender would add to: 4 MiB, or what was set. */
bool link_full(const struct link *link);
void link_set_full(struct link *link, size_t bytes);
size_t link_pending(const struct link *link); /* bytes of output that wait */

/* Stop and continue reading: back-pressure. */
void link_pause(struct link *link, bool paused);

/* Sets the gauges of what all links hold. */
void link_gauges(void);

enum role link_peer(const struct link *link);
unsigned link_index(const struct link *link);
uint32_t link_incarnation(const struct link *link);
void *link_data(const struct link *link);
void link_set_data(struct link *link, void *data);

#endif
