/*
 * presence.c: the last broadcast presence of a session and the addresses that it sent directed
 * presence to, kept here so that a new router can be told (SESSION_REPLAY). Called by inbound.c,
 * session.c and resume.c. No input or output; cannot fail.
 */
#include "c2sd.h"

#include <stdlib.h>

#include "error.h"
#include "mem.h"

/* The place of an address among those of directed presence, count when it is not there. */
static uint32_t
place_of(const struct presence *p, struct slice address)
{
	uint32_t i;

	for (i = 0; i < p->count; i++) {
		if (slice_is(address, p->directed[i]))
			break;
	}
	return i;
}

void
presence_add_directed(struct presence **presence, struct slice address)
{
	struct presence *p;

	if (*presence == NULL)
		*presence = mem_alloc(sizeof **presence);
	p = *presence;
	if (p->count == DIRECTED_MAX || place_of(p, address) < p->count)
		return;
	if (p->count == p->room) {
		p->room = p->room ? p->room * 2 : 4;
		p->directed = mem_grow(p->directed, p->room * sizeof *p->directed);
	}
	p->directed[p->count++] = slice_dup(address);
}

static void
forget_directed(struct presence *p, struct slice address)
{
	uint32_t i = place_of(p, address);

	if (i == p->count)
		return;
	free(p->directed[i]);
	p->directed[i] = p->directed[--p->count];
}

void
presence_refused(struct presence *presence, struct slice address)
{
	if (presence != NULL)
		forget_directed(presence, address);
}

static void
forget_all(struct presence *p)
{
	while (p->count > 0)
		free(p->directed[--p->count]);
	MEM_FREE(&p->directed);
	p->room = 0;
}

/* Keeps what a broadcast presence says, without what belongs to its transport. */
static void
keep_broadcast(struct presence **presence, const struct frame *f)
{
	struct frame copy = {
		.type = FRAME_STANZA, .kind = STANZA_PRESENCE, .subtype = TYPE_AVAILABLE,
		.number = f->number, .payload = f->payload, .id = f->id, .lang = f->lang,
	};

	if (*presence == NULL)
		*presence = mem_alloc(sizeof **presence);
	buf_free(&(*presence)->broadcast);
	frame_write(&copy, &(*presence)->broadcast);
	buf_fit(&(*presence)->broadcast);
}

void
presence_note(struct presence **presence, const struct frame *f)
{
	bool available = f->subtype == TYPE_AVAILABLE;

	if (!available && f->subtype != TYPE_UNAVAILABLE)
		return;
	if (f->to.ptr == NULL) {
		if (available)
			keep_broadcast(presence, f);
		else
			presence_free(presence);
	} else if (available) {
		presence_add_directed(presence, f->to);
	} else if (*presence != NULL) {
		forget_directed(*presence, f->to);
	}
}

void
presence_tell(const struct presence *presence, struct frame *f, const char *prefix,
    struct buf *text)
{
	struct frame last;
	uint32_t i;

	if (presence == NULL)
		return;
	if (buf_len(&presence->broadcast) != 0 &&
	    frame_read(buf_slice(&presence->broadcast), &last) == OK) {
		f->flags |= FLAG_AVAILABLE;
		f->number = last.number;
		f->payload = last.payload;
		f->id = last.id;
		f->lang = last.lang;
	}
	for (i = 0; i < presence->count; i++) {
		buf_add_string(text, prefix);
		buf_add_string(text, presence->directed[i]);
		buf_add_char(text, '\n');
	}
}

void
presence_free(struct presence **presence)
{
	if (*presence == NULL)
		return;
	forget_all(*presence);
	buf_free(&(*presence)->broadcast);
	MEM_FREE(presence);
}
