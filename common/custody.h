/*
 * custody.h: who is responsible for a frame until whom (DESIGN section 3).
 *
 * The sender numbers each frame that matters and keeps it until it is acknowledged. After a router
 * or a taker has come back it sends all that it still keeps again, in order. A taker keeps the
 * highest number that it has taken of each origin, its watermark, and commits it in the same
 * transaction as the effect; a frame at or below the watermark was taken before and is acknowledged
 * again, not done again. This holds because frames of one origin reach one taker in the order of
 * their numbers: no process on the way may change their order or hold one back that a later one
 * to the same taker overtakes. So the router drops what comes for a new taker until the origin has
 * answered its RESEND with a RESEND (frame.def).
 *
 * No input or output, no clock.
 */
#ifndef ALDIS_CUSTODY_H
#define ALDIS_CUSTODY_H

#include "buf.h"

/* The sender's side. */
struct custody;

struct custody *custody_new(void);
void custody_free(struct custody **custody);

/* The number that the next kept frame will carry (1, 2, 3, ...). */
uint64_t custody_next(const struct custody *custody);

/* Keeps a copy of a written frame, which carries custody_next(). tag is the caller's, given back
 * when the frame is acknowledged. */
void custody_keep(struct custody *custody, struct slice frame, void *tag);

/* Takes first..last off; calls taken() (may be NULL) for each frame that was still kept. Numbers
 * never given out are ignored: the other side is not believed. taken() may keep frames but not
 * acknowledge any. */
void custody_ack(struct custody *custody, uint64_t first, uint64_t last,
    void (*taken)(void *arg, uint64_t seq, void *tag), void *arg);

/* Gives a tag up: its frames are kept on, with a NULL tag. */
void custody_forget_tag(struct custody *custody, const void *tag);

/* Calls each() for all frames kept, in order. */
void custody_resend(const struct custody *custody,
    void (*each)(void *arg, struct slice frame, void *tag), void *arg);

size_t custody_count(const struct custody *custody); /* frames kept */
size_t custody_bytes(const struct custody *custody); /* their bytes */

/* The taker's side: watermarks in memory. The taker stores what changed with watermarks_changed()
 * in its transaction, and loads it at start with watermark_set(). */
struct watermarks;

struct watermarks *watermarks_new(void);
void watermarks_free(struct watermarks **marks);
void watermark_set(struct watermarks *marks, uint32_t origin, uint64_t seq);
/* True when this frame is new, and the mark moves to it; false when it was taken before. */
bool watermark_take(struct watermarks *marks, uint32_t origin, uint64_t seq);
/* Calls changed() for each mark that moved since the last call. Call it once in each transaction,
 * before the commit: the first watermark_take() or watermarks_changed() after it means that the
 * commit went well. */
void watermarks_changed(struct watermarks *marks,
    void (*changed)(void *arg, uint32_t origin, uint64_t seq), void *arg);
/* Puts the marks that moved in this transaction back, told by watermarks_changed() or not: it was
 * aborted. */
void watermarks_revert(struct watermarks *marks);
/* Forgets an origin that will not be heard of again. */
void watermark_forget(struct watermarks *marks, uint32_t origin);

/* Acknowledgements gathered during one loop iteration: numbers of one origin become ranges. */
struct acks;

struct acks *acks_new(void);
void acks_free(struct acks **acks);
void acks_add(struct acks *acks, uint32_t origin, uint64_t seq);
/* Calls send() with the pairs first,last of each origin (a `numbers` field), then forgets them. */
void acks_flush(struct acks *acks, void (*send)(void *arg, uint32_t origin, struct slice pairs),
    void *arg);

#endif
