/*
 * rooms.c: owns the conversation in rooms: all connections enter, connection I room I modulo the number of
 * rooms, and the first speakers of them speak. xmppload.c drives it. What a receiver misses, hears twice or
 * out of the order of its speaker is counted and makes the run fail.
 *
 * The first to enter a room makes it and accepts its default configuration; the others come then. A body is as
 * in chat.c. A speaker's window goes on when its own message comes back to it.
 *
 *   (logged in) -> ENTERING -> [CONFIGURING ->] INSIDE
 *
 * The Aldis developers
 */
#include "load.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MARK "aldis-load "
#define MARK_LEN 11u
#define MARK_TEXT (MARK_LEN + 3u * 9u + 17u)
#define AT_A_TIME 50u /* entering */

enum { OUTSIDE, ENTERING, CONFIGURING, INSIDE };

static unsigned char *states;
static uint32_t *expected;  /* next number, of a receiver and a speaker */
static unsigned next, entering, inside;

static unsigned
room_of(const struct conn *c)
{
	return c->index % c->load->o.rooms;
}

/* Who speaks: the first of each room. */
static bool
speaks(const struct conn *c)
{
	return c->index < c->load->o.speakers;
}

/* Occupants of the room of a connection. */
static unsigned
occupants(const struct conn *c)
{
	const struct options *o = &c->load->o;

	return o->number / o->rooms + (room_of(c) < o->number % o->rooms);
}

static void
enter(struct conn *c)
{
	char text[320];
	int len = snprintf(text, sizeof text,
	    "<presence to='load%x-%u@%s/n%u'><x xmlns='http://jabber.org/protocol/muc'>"
	    "<history maxstanzas='0'/></x></presence>",
	    c->load->run, room_of(c), c->load->o.service, c->index);

	conn_send(c, text, (size_t)len);
	c->sm_out++;
	states[c->index] = ENTERING;
	entering++;
}

/* Lets more of them in: first who makes a room. */
static void
go_on(struct load *load)
{
	if (next >= load->o.rooms && inside < load->o.rooms)
		return;
	while (next < load->o.number && entering < AT_A_TIME &&
	    (next < load->o.rooms || inside >= load->o.rooms))
		enter(&load->conns[next++]);
}

void
rooms_begin(struct load *load)
{
	load->entering = true;
	states = calloc(load->o.number, 1);
	expected = calloc((size_t)load->o.number * load->o.speakers, sizeof *expected);
	if (states == NULL || expected == NULL)
		abort();
	go_on(load);
}

bool
rooms_entered(const struct load *load)
{
	return states != NULL && inside == load->o.number;
}

static void
configure(struct conn *c)
{
	char text[320];
	int len = snprintf(text, sizeof text,
	    "<iq type='set' id='owner' to='load%x-%u@%s'><query xmlns='http://jabber.org/protocol/muc#owner'>"
	    "<x xmlns='jabber:x:data' type='submit'/></query></iq>",
	    c->load->run, room_of(c), c->load->o.service);

	conn_send(c, text, (size_t)len);
	c->sm_out++;
	states[c->index] = CONFIGURING;
}

static void
is_inside(struct conn *c)
{
	states[c->index] = INSIDE;
	inside++;
	entering--;
	go_on(c->load);
}

/* A stanza while a connection is on its way into its room. */
static void
entering_stanza(struct conn *c, struct slice s)
{
	bool presence = slice_starts(s, "<presence"), iq = slice_starts(s, "<iq");
	const char *tag = memchr(s.ptr, '>', s.len);
	struct slice start = {s.ptr, tag != NULL ? (size_t)(tag - s.ptr) : s.len};
	char why[200];

	if ((presence || iq) && (slice_has(start, "type='error'") || slice_has(start, "type=\"error\""))) {
		(void)snprintf(why, sizeof why, "not in its room: %.*s", s.len < 170 ? (int)s.len : 170, s.ptr);
		conn_fail(c, why);
	} else if (states[c->index] == CONFIGURING && iq) {
		is_inside(c);
	} else if (states[c->index] == ENTERING && presence && slice_has(s, "110") && slice_has(s, "<status")) {
		if (slice_has(s, "201") && c->index < c->load->o.rooms)
			configure(c);
		else
			is_inside(c);
	}
}

static void
say(struct conn *c)
{
	struct load *load = c->load;
	char text[1024];
	int len;

	len = snprintf(text, sizeof text,
	    "<message to='load%x-%u@%s' type='groupchat' id='m%x-%x'>"
	    "<body>" MARK "%08x %08x %08x %016llx %s</body></message>",
	    load->run, room_of(c), load->o.service, c->index, (unsigned)c->seq, load->run, c->index,
	    (unsigned)c->seq, (unsigned long long)load_now(), load->filler);
	if (len < 0 || (size_t)len >= sizeof text)
		return;
	conn_send(c, text, (size_t)len);
	c->seq++;
	c->outstanding++;
	c->sm_out++;
	load->sent += occupants(c);
	if (c->sm && load->o.sm_every > 0 && c->seq % load->o.sm_every == 0)
		conn_sends(c, "<r xmlns='urn:xmpp:sm:3'/>");
}

static bool
open_yet(const struct load *load)
{
	return load->phase == LOAD_RUN && (load->o.messages == 0 || load->sent < load->o.messages);
}

void
rooms_pump(struct conn *c)
{
	if (!speaks(c) || c->phase != CONN_OPEN || c->load->o.rate != 0)
		return;
	while (c->outstanding < c->load->o.window && open_yet(c->load))
		say(c);
}

void
rooms_due(struct load *load, uint64_t now)
{
	while (open_yet(load)) {
		uint64_t due = chat_next(load);
		struct conn *c;

		if (due > now)
			return;
		if (now - due > load->lag)
			load->lag = now - due;
		c = &load->conns[load->turn++ % load->o.speakers];
		if (c->phase != CONN_OPEN)
			return;
		say(c);
	}
}

static void
hear(struct conn *c, uint64_t speaker, uint64_t seq, uint64_t stamp)
{
	struct load *load = c->load;
	uint64_t now = load_now();
	uint32_t *expect;

	if (speaker >= load->o.speakers) {
		load->bounced++;
		return;
	}
	expect = &expected[(size_t)c->index * load->o.speakers + speaker];
	if (seq < *expect) {
		load->duplicate++;
		return;
	}
	load->disordered += seq != *expect;
	*expect = (uint32_t)seq + 1;
	load->received++;
	if (now <= load->end)
		load->in_window++;
	histogram_add(&load->latency, now > stamp ? now - stamp : 0);
	if (speaker == c->index) {
		if (c->outstanding > 0)
			c->outstanding--;
		rooms_pump(c);
	}
}

void
rooms_stanza(struct conn *c, struct slice s)
{
	uint64_t run, speaker, seq, stamp;
	const char *mark;

	if (login_sm(c, s))
		return;
	if (states == NULL || states[c->index] != INSIDE) {
		if (states != NULL)
			entering_stanza(c, s);
		return;
	}
	if (!slice_starts(s, "<message"))
		return;
	mark = memmem(s.ptr, s.len, MARK, MARK_LEN);
	if (mark == NULL || (size_t)(s.ptr + s.len - mark) < MARK_TEXT)
		return;
	mark += MARK_LEN;
	if (chat_hex(mark, 8, &run) && chat_hex(mark + 9, 8, &speaker) && chat_hex(mark + 18, 8, &seq) &&
	    chat_hex(mark + 27, 16, &stamp) && run == c->load->run)
		hear(c, speaker, seq, stamp);
}
