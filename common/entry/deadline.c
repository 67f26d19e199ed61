/*
 * deadline.c: a wheel of one-second slots and one timer, which runs only when something waits.
 *
 * Called by the daemon's streams and sessions for everything that has a time limit; cannot fail. A deadline is
 * met within a second after its time. The timer is set to the next slot that is not empty, so that
 * idle connections wake nobody up before their time.
 */
#include "deadline.h"

#include "daemon.h"

#define SLOTS 512u
#define SLOT_MS 1000u

static LIST_HEAD(slot, deadline) wheel[SLOTS];
static uv_timer_t timer;
static uint64_t done;   /* slot number up to which all was handled */
static uint64_t armed;  /* slot number for which the timer is set, 0: none */

/* The number of the slot in which a time falls; a deadline is due when its slot is over. */
static uint64_t
slot_of(uint64_t at)
{
	return at / SLOT_MS + 1;
}

static void tick(uv_timer_t *unused);

/* Sets the timer for the end of a slot. */
static void
arm(uint64_t slot)
{
	uint64_t now = uv_now(timer.loop), at = slot * SLOT_MS;

	if (armed != 0 && armed <= slot)
		return;
	armed = slot;
	uv_timer_start(&timer, tick, at > now ? at - now : 0, 0);
}

/* Calls what is due in one slot; those of later rounds stay. */
static void
run_slot(struct slot *slot, uint64_t number)
{
	struct deadline *d, *next;
	struct slot due = LIST_HEAD_INITIALIZER(due);

	for (d = LIST_FIRST(slot); d != NULL; d = next) {
		next = LIST_NEXT(d, slot);
		if (slot_of(d->at) > number)
			continue;
		LIST_REMOVE(d, slot);
		LIST_INSERT_HEAD(&due, d, slot);
	}
	while ((d = LIST_FIRST(&due)) != NULL) {
		LIST_REMOVE(d, slot);
		d->at = 0;
		d->due(d);
	}
}

static void
tick(uv_timer_t *unused)
{
	uint64_t now = uv_now(timer.loop) / SLOT_MS, slot;
	unsigned i;

	(void)unused;
	armed = 0;
	slot = done + 1;
	if (now - done > SLOTS)
		slot = now - SLOTS + 1;
	done = now;
	for (; slot <= now; slot++)
		run_slot(&wheel[slot % SLOTS], now);
	for (i = 1; i <= SLOTS; i++) {
		if (!LIST_EMPTY(&wheel[(now + i) % SLOTS])) {
			arm(now + i);
			break;
		}
	}
	daemon_dirty();
}

void
deadlines_start(uv_loop_t *loop)
{
	uv_timer_init(loop, &timer);
	done = uv_now(loop) / SLOT_MS;
}

void
deadline_set(struct deadline *d, uint64_t milliseconds)
{
	uint64_t at = uv_now(timer.loop) + milliseconds;

	if (d->at != 0) {
		if (slot_of(d->at) == slot_of(at))
			return;
		LIST_REMOVE(d, slot);
	}
	if (slot_of(at) <= done)
		at = done * SLOT_MS;
	d->at = at;
	LIST_INSERT_HEAD(&wheel[slot_of(at) % SLOTS], d, slot);
	arm(slot_of(at));
}

void
deadline_hasten(struct deadline *d, uint64_t milliseconds)
{
	if (d->at == 0 || d->at > uv_now(timer.loop) + milliseconds)
		deadline_set(d, milliseconds);
}

void
deadline_clear(struct deadline *d)
{
	if (d->at == 0)
		return;
	LIST_REMOVE(d, slot);
	d->at = 0;
}
