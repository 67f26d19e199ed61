/*
 * happy.c: the order and the times of connection attempts. Called by those who open streams; cannot
 * fail.
 *
 *   WAITING --next()--> CONNECTING --connected()--> CONNECTED --failed()--> FAILED
 *      ^                  |    '--failed(), late()----------------------------^
 *      '--another is connected
 */
#include "happy.h"

static bool
is_six(const struct candidate *candidate)
{
	return candidate->address.any.sa_family == AF_INET6;
}

/* Takes the next candidate of a family out of a group of one priority, if there is one. */
static bool
take(struct happy *happy, const struct candidate *candidates, size_t end, bool six, size_t *at)
{
	for (; *at < end; ++*at) {
		if (is_six(&candidates[*at]) == six) {
			happy->order[happy->count++].candidate = (uint8_t)(*at)++;
			return true;
		}
	}
	return false;
}

/* Lets the families of a group take turns; within each the order stays. */
static void
interleave(struct happy *happy, const struct candidate *candidates, size_t from, size_t end)
{
	size_t six = from, four = from, want = happy->count + end - from;

	while (happy->count < want) {
		take(happy, candidates, end, true, &six);
		take(happy, candidates, end, false, &four);
	}
}

void
happy_start(struct happy *happy, const struct resolution *resolution, uint64_t limit)
{
	const struct candidate *candidates = resolution->candidates;
	size_t from, end;

	*happy = (struct happy){ .limit = limit };
	for (from = 0; from < resolution->count; from = end) {
		for (end = from + 1; end < resolution->count &&
		    candidates[end].priority == candidates[from].priority; end++)
			;
		interleave(happy, candidates, from, end);
	}
}

/* The first in the order that is in a state; happy->count when there is none. */
static size_t
find(const struct happy *happy, enum happy_state state)
{
	size_t i;

	for (i = 0; i < happy->count && happy->order[i].state != state; i++)
		;
	return i;
}

static size_t
place(const struct happy *happy, size_t candidate)
{
	size_t i;

	for (i = 0; i < happy->count && happy->order[i].candidate != candidate; i++)
		;
	return i;
}

/* Whether an attempt may begin, at some time. */
static bool
can_begin(const struct happy *happy)
{
	return find(happy, HAPPY_CONNECTED) == happy->count && find(happy, HAPPY_WAITING) < happy->count;
}

bool
happy_next(struct happy *happy, uint64_t now, size_t *candidate)
{
	size_t at = find(happy, HAPPY_WAITING);

	if (!can_begin(happy) || (happy->begun && !happy->hasty && now - happy->last < HAPPY_STAGGER))
		return false;
	happy->begun = true;
	happy->hasty = false;
	happy->last = happy->order[at].began = now;
	happy->order[at].state = HAPPY_CONNECTING;
	*candidate = happy->order[at].candidate;
	return true;
}

bool
happy_late(struct happy *happy, uint64_t now, size_t *candidate)
{
	size_t i;

	for (i = 0; i < happy->count; i++) {
		if (happy->order[i].state != HAPPY_CONNECTING || now - happy->order[i].began < happy->limit)
			continue;
		*candidate = happy->order[i].candidate;
		happy_failed(happy, *candidate);
		return true;
	}
	return false;
}

bool
happy_due(const struct happy *happy, uint64_t *when)
{
	bool due = can_begin(happy);
	size_t i;

	*when = !happy->begun || happy->hasty ? happy->last : happy->last + HAPPY_STAGGER;
	for (i = 0; i < happy->count; i++) {
		uint64_t end = happy->order[i].began + happy->limit;

		if (happy->order[i].state != HAPPY_CONNECTING || (due && end >= *when))
			continue;
		*when = end;
		due = true;
	}
	return due;
}

void
happy_failed(struct happy *happy, size_t candidate)
{
	size_t at = place(happy, candidate);

	if (at == happy->count || happy->order[at].state == HAPPY_FAILED)
		return;
	happy->order[at].state = HAPPY_FAILED;
	/* The last one that began, or the one that all others had to wait for. */
	if (happy->order[at].began == happy->last || find(happy, HAPPY_CONNECTING) == happy->count)
		happy->hasty = true;
}

bool
happy_connected(struct happy *happy, size_t candidate)
{
	size_t at = place(happy, candidate), i;

	if (at == happy->count || happy->order[at].state != HAPPY_CONNECTING)
		return false;
	happy->order[at].state = HAPPY_CONNECTED;
	for (i = 0; i < happy->count; i++) {
		if (happy->order[i].state == HAPPY_CONNECTING)
			happy->order[i].state = HAPPY_WAITING;
	}
	return true;
}

enum happy_state
happy_state(const struct happy *happy, size_t candidate)
{
	size_t at = place(happy, candidate);

	return at < happy->count ? (enum happy_state)happy->order[at].state : HAPPY_FAILED;
}

bool
happy_over(const struct happy *happy)
{
	size_t i;

	for (i = 0; i < happy->count && happy->order[i].state == HAPPY_FAILED; i++)
		;
	return i == happy->count;
}
