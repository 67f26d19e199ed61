/*
 * router_world.h: a router without sockets, for unit tests: its links are lists of frames.
 *
 * Included by one test program each. It stands in for link.c and daemon.c.
 */
#ifndef ALDIS_ROUTER_WORLD_H
#define ALDIS_ROUTER_WORLD_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>
#include <gnutls/crypto.h>

#include "mem.h"
#include "router.h"

struct link {
	enum role role;
	unsigned index;
	uint32_t incarnation;
	const struct link_events *events;
	void *arg;
	struct buf sent; /* what the router sent and nobody has read */
	struct buf read; /* the frame that was read last */
	bool full, paused;
};

static struct link *world_links[16];
static unsigned world_link_count;
static uint64_t world_ticks = 1000;
static uv_loop_t world_loop;

/* -- stand-ins ------------------------------------------------------------------------------------ */

struct link *
link_new(uv_loop_t *loop, int fd, enum role peer, unsigned index, uint32_t incarnation,
    const struct link_events *events, void *arg)
{
	struct link *l = mem_alloc(sizeof *l);

	(void)loop;
	(void)fd;
	l->role = peer;
	l->index = index;
	l->incarnation = incarnation;
	l->events = events;
	l->arg = arg;
	world_links[world_link_count++] = l;
	return l;
}

static void
world_unlink(struct link *l)
{
	unsigned i;

	for (i = 0; i < world_link_count; i++) {
		if (world_links[i] == l)
			world_links[i] = world_links[--world_link_count];
	}
	buf_free(&l->sent);
	buf_free(&l->read);
	free(l);
}

void
link_close(struct link **link)
{
	world_unlink(*link);
	*link = NULL;
}

static bool world_feeds; /* whether SESSION_FEED is among what was sent */
static struct frame world_fed; /* the last one, without its slices */

static __attribute__((unused)) unsigned world_resent; /* RESEND to authd, which is not among what was sent */

int
link_send(struct link *link, const struct frame *f)
{
	if (f->type == FRAME_SESSION_FEED && !world_feeds) {
		world_fed = (struct frame){ .type = f->type, .handle = f->handle, .flags = f->flags,
			.archive_id = f->archive_id, .number = f->number };
		return 0;
	}
	if (f->type == FRAME_RESEND && link->role == ROLE_AUTHD) {
		world_resent++;
		return 0;
	}
	return frame_write(f, &link->sent);
}

void
link_send_raw(struct link *link, struct slice frame)
{
	buf_add_slice(&link->sent, frame);
}

bool
link_full(const struct link *link)
{
	return link->full;
}

size_t
link_pending(const struct link *link)
{
	return buf_len(&link->sent);
}

static unsigned world_refused; /* frames that were refused with a line in the log */

void
link_refuse(struct link *link, enum frame_type type, const char *reason)
{
	(void)link;
	(void)type;
	(void)reason;
	world_refused++;
}

void
link_pause(struct link *link, bool paused)
{
	link->paused = paused;
}

void
link_set_full(struct link *link, size_t bytes)
{
	(void)link;
	(void)bytes;
}

void
daemon_gauges(void)
{
}

uv_loop_t *
daemon_loop(void)
{
	return &world_loop;
}

uint64_t
daemon_now(void)
{
	return 1800000000000 + world_ticks;
}

uint64_t
daemon_ticks(void)
{
	return world_ticks;
}

void
daemon_dirty(void)
{
}

void
daemon_ask(const char *what)
{
	(void)what;
}

int
daemon_command(struct slice *words, size_t count, json_t **result)
{
	(void)words;
	(void)count;
	*result = NULL;
	return 0;
}

void
daemon_lost(enum role peer, unsigned index, uint32_t incarnation)
{
	(void)peer;
	(void)index;
	(void)incarnation;
}

/* -- what tests do --------------------------------------------------------------------------------- */

/* A daemon says something to the router. */
static __attribute__((unused)) void
world_say(struct link *l, const struct frame *f)
{
	struct buf bytes = { 0 };
	struct frame copy;

	assert_int_equal(frame_write(f, &bytes), 0);
	assert_int_equal(frame_read(buf_slice(&bytes), &copy), 0);
	l->events->frame(l->arg, l, &copy, buf_slice(&bytes));
	buf_free(&bytes);
	peers_flush();
}

/* The next frame for a daemon; false when there is none. Valid until the next call for that link. */
static __attribute__((unused)) bool
world_next(struct link *l, struct frame *f)
{
	struct slice whole;

	if (buf_len(&l->sent) == 0)
		return false;
	assert_int_equal(frame_next(buf_slice(&l->sent), &whole), 0);
	buf_clear(&l->read);
	buf_add_slice(&l->read, whole);
	buf_consume(&l->sent, whole.len);
	assert_int_equal(frame_read(buf_slice(&l->read), f), 0);
	return true;
}

/* The next frame must be of this type. */
static __attribute__((unused)) struct frame
world_expect(struct link *l, enum frame_type type)
{
	struct frame f;

	if (!world_next(l, &f))
		fail_msg("no frame, expected %s", frame_text(type));
	if (f.type != type)
		fail_msg("%s, expected %s", frame_text(f.type), frame_text(type));
	return f;
}

static __attribute__((unused)) void
world_silent(struct link *l)
{
	struct frame f;

	if (world_next(l, &f))
		fail_msg("unexpected %s to %s", frame_text(f.type), role_text(l->role));
}

static __attribute__((unused)) void
world_discard(struct link *l)
{
	buf_clear(&l->sent);
}

static __attribute__((unused)) struct link *
world_start(enum role role, unsigned index, uint32_t incarnation)
{
	peer_linked(role, index, incarnation, -1);
	return world_links[world_link_count - 1];
}

static __attribute__((unused)) void
world_die(struct link *l)
{
	l->events->closed(l->arg, l);
	world_unlink(l);
}

static const __attribute__((unused)) char world_key[] = "a key of thirty-two bytes in all.";

/* authd's grant for a stream and account. */
static __attribute__((unused)) void
world_token(uint64_t handle, const char *bare, char token[32])
{
	struct buf text = { 0 };

	buf_add_u64(&text, handle);
	buf_add_string(&text, bare);
	assert_int_equal(gnutls_hmac_fast(GNUTLS_MAC_SHA256, world_key, 32,
	    buf_slice(&text).ptr, buf_len(&text), token), 0);
	buf_free(&text);
}

static __attribute__((unused)) void
world_hello(struct link *l, const char *serves)
{
	struct frame hello = { .type = FRAME_HELLO, .text = slice_string(serves) };

	world_say(l, &hello);
}

static __attribute__((unused)) void
world_ready(struct link *l)
{
	struct frame ready = { .type = FRAME_READY };

	world_say(l, &ready);
}

/* An entry daemon answers RESEND. */
static __attribute__((unused)) void
world_echo(struct link *l)
{
	struct frame f = { .type = FRAME_RESEND };

	world_say(l, &f);
}

#endif
