/*
 * presence.c: owns the presence of one account with contacts: connection 0 is the account, all others are
 * its contacts, each of an account of its own. xmppload.c drives it.
 *
 * Who is not yet in a mutual subscription subscribes to the other, as clients do, so the same works with every
 * server, and a second run finds what the first one made. Then the account changes its presence; what is counted
 * is what contacts get. What a contact misses, gets twice or out of order is counted and makes the run fail. A
 * status begins "aldis-load RUN SEQ NANOSECONDS ", as a body in chat.c.
 *
 *   (logged in) -> ASKED -roster-> SUBSCRIBING -all mutual-> PROVING -the first change has come to all-> READY
 *
 * The Aldis developers
 */
#include "load.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MARK "aldis-load "
#define MARK_LEN 11u
#define MARK_TEXT (MARK_LEN + 2u * 9u + 16u)
#define AT_A_TIME 20u /* subscriptions under way */

static enum { IDLE, ASKED, SUBSCRIBING, PROVING, READY } state;
static bool *mutual;
static unsigned next, under_way, mutuals;
static unsigned *heard; /* contacts that have a change, by its number modulo the window */
static unsigned slots;

static void
subscribe(struct conn *from, const struct conn *to, const char *type)
{
	const struct options *o = &from->load->o;
	char text[256];
	int len = snprintf(text, sizeof text, "<presence type='%s' to='%s%05u@%s'/>", type, o->prefix,
	    to->user, o->domain);

	conn_send(from, text, (size_t)len);
	from->sm_out++;
}

static void
change(struct conn *c)
{
	struct load *load = c->load;
	char text[1024];
	int len = snprintf(text, sizeof text,
	    "<presence><show>%s</show><status>" MARK "%08x %08x %016llx %s</status></presence>",
	    c->seq % 2 == 0 ? "away" : "dnd", load->run, (unsigned)c->seq,
	    (unsigned long long)load_now(), load->filler);

	if (len < 0 || (size_t)len >= sizeof text)
		return;
	heard[c->seq % slots] = 0;
	conn_send(c, text, (size_t)len);
	c->seq++;
	c->outstanding++;
	c->sm_out++;
}

/* Lets more of them subscribe; when there is nobody left, a first change shows that all get it. */
static void
go_on(struct load *load)
{
	while (next < load->o.number && under_way < AT_A_TIME) {
		struct conn *contact = &load->conns[next];

		if (!mutual[next]) {
			subscribe(&load->conns[0], contact, "subscribe");
			subscribe(contact, &load->conns[0], "subscribe");
			under_way++;
		}
		next++;
	}
	if (mutuals == load->o.number - 1 && state == SUBSCRIBING) {
		state = PROVING;
		change(&load->conns[0]);
	}
}

void
presence_begin(struct load *load)
{
	load->entering = true;
	/* Open loop, a change may be on its way for as long as draining lasts. */
	slots = load->o.rate > 0 ? 65536u : load->o.window + 1u;
	mutual = calloc(load->o.number, sizeof *mutual);
	heard = calloc(slots, sizeof *heard);
	if (mutual == NULL || heard == NULL)
		abort();
	next = 1;
	state = ASKED;
	conn_sends(&load->conns[0], "<iq type='get' id='contacts'><query xmlns='jabber:iq:roster'/></iq>");
	load->conns[0].sm_out++;
}

bool
presence_ready(void)
{
	return state == READY;
}

/* The value of an attribute in a start tag; empty when it is not there. */
static struct slice
attribute(struct slice tag, const char *name)
{
	size_t len = strlen(name);
	const char *at = tag.ptr, *end = tag.ptr + tag.len, *stop;

	while ((at = memmem(at, (size_t)(end - at), name, len)) != NULL) {
		if (at > tag.ptr && at[-1] == ' ' && at + len + 1 < end && at[len] == '=') {
			at += len + 2;
			stop = memchr(at, at[-1], (size_t)(end - at));
			return (struct slice){at, stop == NULL ? 0 : (size_t)(stop - at)};
		}
		at += len;
	}
	return (struct slice){tag.ptr, 0};
}

static bool
slice_is(struct slice s, const char *text)
{
	return s.len == strlen(text) && memcmp(s.ptr, text, s.len) == 0;
}

static struct slice
start_tag(struct slice s)
{
	const char *end = memchr(s.ptr, '>', s.len);

	return (struct slice){s.ptr, end == NULL ? s.len : (size_t)(end - s.ptr)};
}

/* Which of the contacts has this address; 0: none. */
static unsigned
contact_of(const struct load *load, struct slice jid)
{
	size_t prefix = strlen(load->o.prefix);
	unsigned user = 0;

	if (jid.len < prefix + 6 || memcmp(jid.ptr, load->o.prefix, prefix) != 0)
		return 0;
	for (size_t i = prefix; i < jid.len && jid.ptr[i] != '@'; i++) {
		if (jid.ptr[i] < '0' || jid.ptr[i] > '9' || i > prefix + 6)
			return 0;
		user = user * 10 + (unsigned)(jid.ptr[i] - '0');
	}
	return user > load->o.first && user - load->o.first < load->o.number ? user - load->o.first : 0;
}

/* Takes notice of mutual subscriptions in a roster, or in a push of one of its items. */
static void
roster(struct load *load, struct slice s)
{
	const char *at = s.ptr, *end = s.ptr + s.len;

	while ((at = memmem(at, (size_t)(end - at), "<item ", 6)) != NULL) {
		struct slice tag = start_tag((struct slice){at, (size_t)(end - at)});
		unsigned contact = contact_of(load, attribute(tag, "jid"));

		if (contact != 0 && !mutual[contact] && slice_is(attribute(tag, "subscription"), "both")) {
			mutual[contact] = true;
			mutuals++;
			under_way -= under_way > 0 && contact < next;
		}
		at += tag.len;
	}
}

/* What has to do with subscriptions; true when it was that. */
static bool
setup_stanza(struct conn *c, struct slice s)
{
	struct load *load = c->load;
	struct slice tag = start_tag(s);

	if (slice_starts(s, "<presence") && slice_is(attribute(tag, "type"), "subscribe")) {
		unsigned contact = c->index != 0 ? c->index : contact_of(load, attribute(tag, "from"));

		if (contact != 0)
			subscribe(c, &load->conns[c->index != 0 ? 0 : contact], "subscribed");
		return true;
	}
	if (!slice_starts(s, "<iq") || c->index != 0)
		return false;
	roster(load, s);
	if (state == ASKED && slice_is(attribute(tag, "id"), "contacts"))
		state = SUBSCRIBING;
	if (state == SUBSCRIBING)
		go_on(load);
	return true;
}

static bool
open_yet(const struct load *load)
{
	return load->phase == LOAD_RUN && (load->o.messages == 0 || load->sent < load->o.messages);
}

static void
change_counted(struct load *load)
{
	load->sent += load->o.number - 1;
	load->changes++;
	change(&load->conns[0]);
}

void
presence_pump(struct load *load)
{
	if (load->conns[0].phase != CONN_OPEN || load->o.rate != 0)
		return;
	while (load->conns[0].outstanding < load->o.window && open_yet(load))
		change_counted(load);
}

void
presence_due(struct load *load, uint64_t now)
{
	uint64_t due;

	while (open_yet(load) && (due = chat_next(load)) <= now) {
		if (now - due > load->lag)
			load->lag = now - due;
		if (load->conns[0].phase != CONN_OPEN)
			return;
		load->turn++;
		change_counted(load);
	}
}

/* A contact has a change. */
static void
hear(struct conn *c, uint64_t seq, uint64_t stamp)
{
	struct load *load = c->load;
	struct conn *account = &load->conns[0];
	uint64_t now = load_now();

	if (seq < c->expect) {
		load->duplicate++;
		return;
	}
	load->disordered += seq != c->expect;
	c->expect = (uint32_t)seq + 1;
	if (seq > 0) {
		load->received++;
		if (now <= load->end)
			load->in_window++;
		histogram_add(&load->latency, now > stamp ? now - stamp : 0);
	}
	if (++heard[seq % slots] < load->o.number - 1)
		return;
	account->outstanding--;
	if (state == PROVING)
		state = READY;
	else
		presence_pump(load);
}

void
presence_stanza(struct conn *c, struct slice s)
{
	uint64_t run, seq, stamp;
	const char *mark;

	if (login_sm(c, s) || state == IDLE || setup_stanza(c, s) || c->index == 0 || !slice_starts(s, "<presence"))
		return;
	mark = memmem(s.ptr, s.len, MARK, MARK_LEN);
	if (mark == NULL || (size_t)(s.ptr + s.len - mark) < MARK_TEXT)
		return;
	mark += MARK_LEN;
	if (!chat_hex(mark, 8, &run) || !chat_hex(mark + 9, 8, &seq) || !chat_hex(mark + 18, 16, &stamp))
		return;
	if (run == c->load->run)
		hear(c, seq, stamp);
	else
		c->load->stale++;
}
