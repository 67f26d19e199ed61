/*
 * outqueue.h: what waits for a peer: stanzas to be written, and written ones that nobody has taken
 * responsibility for yet. No input or output.
 */
#ifndef ALDIS_OUTQUEUE_H
#define ALDIS_OUTQUEUE_H

#include "frame.h"

/* A written frame, shared by all sessions that receive it. */
struct kept {
	unsigned refs;
	uint32_t len;
	char frame[];
};

struct kept *kept_new(const struct frame *f); /* without its list of receivers */
struct kept *kept_hold(struct kept *kept);
void kept_drop(struct kept **kept);

struct outqueue_item {
	struct kept *kept;    /* NULL: written, and only its archive id matters */
	uint64_t archive_id;  /* 0: not stored */
	uint64_t mark;        /* position in the stream of its last byte, once written */
	uint32_t bytes;
	uint32_t line : 31;   /* where its receiver begins in the list of the frame */
	uint32_t copy : 1;    /* of a stored message (XEP-0280): nobody waits for a report */
};

/* A ring: first the items that were written and are not yet taken, then those that wait. */
struct outqueue {
	struct outqueue_item *items;
	uint32_t first, count, room;
	uint32_t written;     /* of them, at the front */
	uint32_t early;       /* of these, written before session management was enabled */
	uint32_t loose;       /* items that are not stored */
	size_t bytes, loose_bytes;
	size_t loose_waiting; /* bytes of loose ones that are not written */
};

/* Takes over the reference to kept. */
void outqueue_add(struct outqueue *q, struct kept *kept, uint64_t archive_id, size_t bytes);
void outqueue_copy(struct outqueue *q);     /* the last one is a copy of that message */
void outqueue_line(struct outqueue *q, size_t line); /* the last one is for who is there in the list */
/* What is held as a copy is to be reported; false when it is not here. */
bool outqueue_own(struct outqueue *q, uint64_t archive_id);
/* The first item that was not written, NULL when there is none. */
struct outqueue_item *outqueue_next(struct outqueue *q);
void outqueue_wrote(struct outqueue *q, uint64_t mark); /* the item of outqueue_next() */
void outqueue_manage(struct outqueue *q);   /* from now on, acknowledgements count */
/* All is to be written again, but for what was written before outqueue_manage(). */
void outqueue_rewind(struct outqueue *q);
/* The same, with that as well; every item still has its frame. */
void outqueue_restart(struct outqueue *q);
/* Drops what was written before outqueue_manage(). */
void outqueue_drop_early(struct outqueue *q);
/* Moves all items of another queue, none of them written, to the end. */
void outqueue_append(struct outqueue *q, struct outqueue *other);
/* Calls each() for all items in order. */
void outqueue_each(const struct outqueue *q,
    void (*each)(void *, const struct outqueue_item *), void *arg);
/* The kernel has taken the stream up to mark: calls done() for what was delivered by that. managed:
 * session management is enabled, only items from before count. */
void outqueue_taken(struct outqueue *q, uint64_t mark, bool managed,
    void (*done)(void *, const struct outqueue_item *), void *arg);
/* The client has acknowledged count items; count is at most outqueue_unacknowledged(). */
void outqueue_acknowledged(struct outqueue *q, uint32_t count,
    void (*done)(void *, const struct outqueue_item *), void *arg);
uint32_t outqueue_unacknowledged(const struct outqueue *q);
bool outqueue_holds(const struct outqueue *q, uint64_t archive_id);
/* What all queues hold: items, and bytes of memory, a shared frame once. */
size_t outqueue_total(void);
size_t outqueue_memory(void);
/* Empties it, calling done() (may be NULL) for each item in order. */
void outqueue_clear(struct outqueue *q,
    void (*done)(void *, const struct outqueue_item *), void *arg);

#endif
