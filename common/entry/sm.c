/*
 * sm.c: the counters of stream management (XEP-0198), and the window of stanzas that were read
 * from a peer and that nobody in the suite has taken responsibility for.
 *
 * Called by the daemon's sessions. No input or output, no clock; cannot fail but
 * for what a peer claims. A stanza is handled when its frame, and those of all stanzas before
 * it, were acknowledged: for a message that is to be stored this is the moment after the commit.
 * The window is kept for every session, with stream management or not.
 */
#include "sm.h"

#include <stdlib.h>

#include "error.h"
#include "mem.h"

#define WINDOW_STANZAS 128u
#define WINDOW_BYTES   (512u << 10)
#define ASK_STANZAS    5u
#define ASK_BYTES      (50u << 10)
#define ROOM_MIN       8u

static struct sm_stanza *
stanza_at(const struct sm *sm, uint32_t i)
{
	return &sm->stanzas[(sm->first + i) & (sm->room - 1)];
}

void
sm_enable(struct sm *sm)
{
	sm->enabled = true;
	sm->base = sm->seen;
}

/* Doubles the ring; its size is a power of two. */
static void
grow(struct sm *sm)
{
	uint32_t room = sm->room ? sm->room * 2 : ROOM_MIN, i;
	struct sm_stanza *stanzas = mem_array(room, sizeof *stanzas);

	for (i = 0; i < sm->count; i++)
		stanzas[i] = *stanza_at(sm, i);
	free(sm->stanzas);
	sm->stanzas = stanzas;
	sm->room = room;
	sm->first = 0;
}

void
sm_read(struct sm *sm, uint64_t seq, size_t bytes)
{
	sm->seen++;
	if (seq == 0 && sm->count == 0)
		return;
	if (sm->count == sm->room)
		grow(sm);
	*stanza_at(sm, sm->count++) = (struct sm_stanza){ seq, (uint32_t)bytes, seq == 0 };
	sm->bytes += bytes;
}

/* The place of a number in the window, which is sorted but for the zeros of what was handled here;
 * count when it is not there. */
static uint32_t
place_of(const struct sm *sm, uint64_t seq)
{
	uint32_t i;

	for (i = 0; i < sm->count; i++) {
		if (stanza_at(sm, i)->seq == seq)
			break;
	}
	return i;
}

void
sm_handled(struct sm *sm, uint64_t seq)
{
	uint32_t i = place_of(sm, seq);

	if (seq == 0 || i == sm->count)
		return;
	stanza_at(sm, i)->done = true;
	while (sm->count > 0 && stanza_at(sm, 0)->done) {
		sm->bytes -= stanza_at(sm, 0)->bytes;
		sm->first = (sm->first + 1) & (sm->room - 1);
		sm->count--;
	}
	if (sm->count == 0) {
		MEM_FREE(&sm->stanzas);
		sm->room = sm->first = 0;
	}
}

/* Stanzas handled since the session began. */
static uint64_t
handled(const struct sm *sm)
{
	return sm->seen - sm->count;
}

uint32_t
sm_h(const struct sm *sm)
{
	return handled(sm) > sm->base ? (uint32_t)(handled(sm) - sm->base) : 0;
}

bool
sm_window_full(const struct sm *sm)
{
	return sm->count >= WINDOW_STANZAS || sm->bytes >= WINDOW_BYTES;
}

bool
sm_window_low(const struct sm *sm)
{
	return sm->count <= WINDOW_STANZAS / 2 && sm->bytes <= WINDOW_BYTES / 2;
}

void
sm_request(struct sm *sm)
{
	if (!sm->answer)
		sm->answer_first = sm->seen;
	sm->answer = true;
	sm->answered_late = false;
	sm->answer_last = sm->seen;
}

bool
sm_answer_due(const struct sm *sm)
{
	return sm->answer && handled(sm) >= sm->answer_first;
}

bool
sm_answer_waits(const struct sm *sm)
{
	return sm->answer && !sm->answered_late;
}

void
sm_answered(struct sm *sm)
{
	if (handled(sm) >= sm->answer_last)
		sm->answer = false;
	else if (handled(sm) >= sm->answer_first)
		sm->answer_first = sm->answer_last;
	else
		sm->answered_late = true;
}

int
sm_acknowledge(struct sm *sm, uint32_t h, uint32_t outstanding, uint32_t *count)
{
	uint32_t n = h - sm->acked; /* modulo 2^32, as XEP-0198 section 4 has it */

	if (n > outstanding)
		return E_MISMATCH;
	sm->acked = h;
	*count = n;
	return OK;
}

void
sm_wrote(struct sm *sm, size_t bytes)
{
	sm->unasked++;
	sm->unasked_bytes += bytes;
}

bool
sm_ask_due(const struct sm *sm)
{
	return sm->enabled && !sm->asked &&
	    (sm->unasked >= ASK_STANZAS || sm->unasked_bytes >= ASK_BYTES);
}

void
sm_asked(struct sm *sm)
{
	sm->asked = true;
	sm->unasked = 0;
	sm->unasked_bytes = 0;
}

void
sm_detach(struct sm *sm)
{
	sm->asked = false;
	sm->answer = false;
	sm->unasked = 0;
	sm->unasked_bytes = 0;
}

void
sm_free(struct sm *sm)
{
	MEM_FREE(&sm->stanzas);
	sm->first = sm->count = sm->room = 0;
	sm->bytes = 0;
}
