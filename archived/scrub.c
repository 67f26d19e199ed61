/*
 * scrub.c: pages of the store that are in no use any more are overwritten, for what was in them. Called by
 * main.c for each step, by those that remove something. What fails is logged, and ends a pass.
 *
 *   (something was removed) -> DUE --(a while later, at once for a deleted account)--> a pass, step by step -> (end)
 *
 * A pass goes through all that is free. So that it holds up nobody, however much became free at once: a step is
 * a few pages, and the next one comes when the loop has had many times as long for other things; between two
 * passes lies a multiple of the time of the first. A deletion begins a new pass at any time, as does the start,
 * since the process may have been killed in between.
 */
#include "archived.h"

#include "counter.h"
#include "log.h"

#define DELAY_TIME 5000 /* milliseconds from what is removed to the pass: more goes with it */
#define PASS_SHARE 20   /* of time, one is spent on passes, unless accounts are deleted */
#define STEP_SHARE 10   /* of a pass, one is spent in steps */

static struct {
	bool wanted;    /* something was removed since the last pass began */
	bool hurried;   /* of an account that was deleted */
	bool running;
	uint64_t due;   /* the next step, or pass, in ticks */
	uint64_t rest;  /* no other pass before this */
	uint64_t began;
	uint64_t next;  /* pages below this one are done */
} self;

void
scrub_removed(void)
{
	self.wanted = true;
}

void
scrub_hurry(void)
{
	self.wanted = self.hurried = true;
}

uint64_t
scrub_when(uint64_t now)
{
	if (self.hurried)
		return now;
	if (self.running)
		return self.due;
	if (!self.wanted)
		return UINT64_MAX;
	if (self.due == 0)
		self.due = now + DELAY_TIME > self.rest ? now + DELAY_TIME : self.rest;
	return self.due;
}

/* What the last transaction has freed is left alone by store_scrub(), hence another one. */
static int
begin(uint64_t now)
{
	int error = meta_put("scrubbed", now);

	if (error == OK)
		error = state_commit();
	else
		state_abort();
	self.wanted = self.hurried = false;
	self.running = true;
	self.began = now;
	self.next = 0;
	return error;
}

static void
end(uint64_t now)
{
	self.running = false;
	self.due = 0;
	self.rest = now + PASS_SHARE * (now - self.began);
}

void
scrub_step(uint64_t now)
{
	bool more = false;
	int error = OK;

	if (!self.running || self.hurried)
		error = begin(now);
	if (error == OK)
		error = store_scrub(state.store, &self.next, STORE_SCRUB_PAGES, &more);
	self.due = now + STORE_SCRUB_TIME;
	if (error == E_AGAIN)
		return;
	if (error)
		log_warn("free pages not overwritten", "reason=\"%s\"", error_text(error));
	if (error || !more)
		end(now);
}

void
scrub_took(uint64_t now, uint64_t took)
{
	if (self.running && self.due < now + STEP_SHARE * took)
		self.due = now + STEP_SHARE * took;
}

void
scrub_gauges(void)
{
	GAUGE(scrubbing, self.running);
}
