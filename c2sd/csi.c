/*
 * csi.c: client state indication (XEP-0352): what is held back from a client that is inactive.
 *
 * Called by stream.c with the client's elements, by session.c with each stanza for the session and when
 * its connection is gone. Presence and chat states are kept, of each sender the last one only, and
 * headlines without a body; they go out, in order, before anything else does, when too much is held, and
 * when the client is active again. They get their place in the queue, and count for stream management,
 * only then: what was folded away never was sent. A new stream is active, a resumed one too.
 *
 * The part up to "sessions" has no input or output. Nothing here can fail.
 */
#include "c2sd.h"

#include <stdlib.h>

#include "counter.h"
#include "error.h"
#include "log.h"
#include "mem.h"
#include "ns.h"

#define HELD_PART 2u /* a session may hold this part of what its queue may */
#define ROOM_MIN  8u

struct item {
	struct kept *kept;
	uint32_t hash; /* of who it is from and to; 0: it is not folded */
};

struct csi {
	struct item *items;
	uint32_t count, room;
	size_t bytes;
};

static size_t held; /* of all sessions */

struct csi *
csi_new(void)
{
	return mem_alloc(sizeof(struct csi));
}

/* Presence of which only the last counts. */
static bool
is_state(const struct frame *f)
{
	if (f->from.ptr == NULL)
		return false;
	if (f->kind == STANZA_PRESENCE)
		return f->subtype == TYPE_AVAILABLE || f->subtype == TYPE_UNAVAILABLE;
	return f->kind == STANZA_MESSAGE && f->subtype != TYPE_ERROR && f->archive_id == 0 &&
	    !(f->flags & (FLAG_CONTENT | FLAG_ERROR));
}

/* Whether a room itself says something, which no later word makes needless. */
static bool
is_of_room(const struct frame *f)
{
	return (f->flags & FLAG_ROOM) && f->kind == STANZA_MESSAGE && f->from.ptr != NULL &&
	    memchr(f->from.ptr, '/', f->from.len) == NULL;
}

bool
csi_takes(const struct frame *f)
{
	if (is_of_room(f))
		return false;
	return is_state(f) || (f->kind == STANZA_MESSAGE && f->subtype == TYPE_HEADLINE &&
	    f->archive_id == 0 && !(f->flags & FLAG_BODY));
}

static uint32_t
hash_add(uint32_t hash, struct slice text)
{
	size_t i;

	for (i = 0; i < text.len; i++)
		hash = (hash ^ (unsigned char)text.ptr[i]) * 16777619u; /* FNV-1a */
	return hash;
}

static uint32_t
hash_of(const struct frame *f)
{
	uint32_t hash;

	if (!is_state(f))
		return 0;
	hash = hash_add(hash_add(2166136261u + (uint32_t)f->kind, f->from), f->to);
	return hash != 0 ? hash : 1;
}

/* Whether a stanza takes the place of an earlier one. */
static bool
replaces(const struct frame *f, const struct kept *kept)
{
	struct frame old;

	ASSERT(frame_read(slice_of(kept->frame, kept->len), &old) == OK);
	return is_state(&old) && f->kind == old.kind && slice_equal(f->from, old.from) &&
	    (f->to.ptr != NULL) == (old.to.ptr != NULL) && slice_equal(f->to, old.to);
}

/* Takes out what a stanza takes the place of. */
static void
fold(struct csi *csi, const struct frame *f, uint32_t hash)
{
	uint32_t i;

	for (i = 0; i < csi->count; i++) {
		struct item *item = &csi->items[i];

		if (item->hash != hash || !replaces(f, item->kept))
			continue;
		csi->bytes -= item->kept->len;
		kept_drop(&item->kept);
		held--;
		memmove(item, item + 1, (--csi->count - i) * sizeof *item);
		COUNT(csi_folded);
		return;
	}
}

void
csi_add(struct csi *csi, const struct frame *f, struct kept *kept)
{
	uint32_t hash = hash_of(f);

	if (hash != 0)
		fold(csi, f, hash);
	if (csi->count == csi->room) {
		csi->room = csi->room ? csi->room * 2 : ROOM_MIN;
		csi->items = mem_grow(csi->items, csi->room * sizeof *csi->items);
	}
	csi->items[csi->count++] = (struct item){ kept, hash };
	csi->bytes += kept->len;
	held++;
}

void
csi_flush(struct csi *csi, struct outqueue *q)
{
	uint32_t i;

	for (i = 0; i < csi->count; i++)
		outqueue_add(q, csi->items[i].kept, 0, csi->items[i].kept->len);
	held -= csi->count;
	csi->count = csi->room = 0;
	csi->bytes = 0;
	MEM_FREE(&csi->items);
}

size_t
csi_bytes(const struct csi *csi)
{
	return csi != NULL ? csi->bytes : 0;
}

void
csi_gauges(void)
{
	GAUGE(csi_held, held);
}

/* -- sessions ---------------------------------------------------------------------------------- */

/* Gives a session what was held back from it. */
static void
release(struct session *s)
{
	if (s->csi->count == 0)
		return;
	csi_flush(s->csi, &s->queue);
	if (s->conn != NULL)
		conn_touch(s->conn);
}

bool
csi_hold(struct session *s, const struct frame *f, struct kept **kept)
{
	if (!csi_takes(f)) {
		release(s);
		return false;
	}
	if (*kept == NULL)
		*kept = kept_new(f);
	csi_add(s->csi, f, kept_hold(*kept));
	if (s->csi->count > settings.queue_stanzas / HELD_PART ||
	    s->csi->bytes > settings.queue_bytes / HELD_PART) {
		COUNT(csi_full);
		release(s);
		session_limits(s);
	}
	return true;
}

void
csi_begin(struct session *s)
{
	if (s->csi == NULL && settings.client_state)
		s->csi = csi_new();
}

void
csi_end(struct session *s)
{
	if (s->csi == NULL)
		return;
	release(s);
	MEM_FREE(&s->csi);
}

void
csi_element(struct conn *c, const struct xml_element *element)
{
	struct session *s = c->session;

	if (slice_is(element->name, "inactive")) {
		csi_begin(s); /* it does nothing when it is switched off: it may have been offered */
	} else if (slice_is(element->name, "active")) {
		csi_end(s);
		session_limits(s);
	} else {
		stream_error(c, "unsupported-stanza-type", NULL, NULL);
	}
}
