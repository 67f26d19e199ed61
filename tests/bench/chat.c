/*
 * chat.c: owns the conversation of the pairs: connection 0 with 1, 2 with 3 and so on, both ways.
 * xmppload.c drives it. A message that is lost, doubled or out of order is counted and makes the
 * run fail.
 *
 * A body begins "aldis-load RUN SENDER SEQ NANOSECONDS " in hexadecimal of fixed width. Sender and
 * receiver are in one process, so the receiver takes the message off its sender's window itself,
 * and clocks are the same. A message of an earlier run, from a server's offline storage, is counted
 * apart.
 *
 * The Aldis developers
 */
#include "load.h"

#include <stdio.h>
#include <string.h>

#define MARK "aldis-load "
#define MARK_LEN 11u
#define MARK_TEXT (MARK_LEN + 3u * 9u + 17u)

static struct conn *
chat_peer(struct conn *c)
{
	return &c->load->conns[c->index ^ 1u];
}

bool
chat_hex(const char *text, unsigned digits, uint64_t *value)
{
	*value = 0;
	for (unsigned i = 0; i < digits; i++) {
		char ch = text[i];
		uint64_t digit;

		if (ch >= '0' && ch <= '9')
			digit = (uint64_t)(ch - '0');
		else if (ch >= 'a' && ch <= 'f')
			digit = (uint64_t)(ch - 'a') + 10;
		else
			return false;
		*value = *value << 4 | digit;
	}
	return true;
}

static void
chat_send(struct conn *c)
{
	struct load *load = c->load;
	struct conn *peer = chat_peer(c);
	char text[1024];
	int len;

	len = snprintf(text, sizeof text,
	    "<message to='%s%05u@%s/%s%u' type='chat' id='m%x-%x'>"
	    "<body>" MARK "%08x %08x %08x %016llx %s</body></message>",
	    load->o.prefix, peer->user, load->o.domain, load->o.resource, peer->index, c->index, (unsigned)c->seq,
	    load->run, c->index, (unsigned)c->seq, (unsigned long long)load_now(), load->filler);
	if (len < 0 || (size_t)len >= sizeof text)
		return;
	conn_send(c, text, (size_t)len);
	c->seq++;
	c->outstanding++;
	c->sm_out++;
	load->sent++;
	if (c->sm && load->o.sm_every > 0 && c->seq % load->o.sm_every == 0)
		conn_sends(c, "<r xmlns='urn:xmpp:sm:3'/>");
}

static bool
chat_open(const struct load *load)
{
	return load->phase == LOAD_RUN && (load->o.messages == 0 || load->sent < load->o.messages);
}

void
chat_pump(struct conn *c)
{
	if (c->phase != CONN_OPEN || c->load->o.rate != 0)
		return;
	while (c->outstanding < c->load->o.window && chat_open(c->load))
		chat_send(c);
}

uint64_t
chat_next(const struct load *load)
{
	uint64_t count = load->o.mode == MODE_CHAT ? load->sent : load->turn;

	return load->begin + count * UINT64_C(1000000000) / load->o.rate;
}

void
chat_due(struct load *load, uint64_t now)
{
	uint64_t due;

	while (chat_open(load) && (due = chat_next(load)) <= now) {
		struct conn *c = &load->conns[load->turn++ % load->o.number];

		if (now - due > load->lag)
			load->lag = now - due;
		if (c->phase != CONN_OPEN)
			return;
		chat_send(c);
	}
}

static void
chat_receive(struct conn *c, uint64_t sender, uint64_t seq, uint64_t stamp)
{
	struct load *load = c->load;
	struct conn *from = chat_peer(c);
	uint64_t now = load_now();

	if (sender != from->index) {
		load->bounced++;
		return;
	}
	if (seq != c->expect) {
		if (seq < c->expect)
			load->duplicate++;
		else
			load->disordered++;
		if (seq < c->expect)
			return;
	}
	c->expect = (uint32_t)seq + 1;
	if (from->outstanding > 0)
		from->outstanding--;
	load->received++;
	if (now <= load->end)
		load->in_window++;
	histogram_add(&load->latency, now > stamp ? now - stamp : 0);
	chat_pump(from);
}

void
chat_stanza(struct conn *c, struct slice s)
{
	uint64_t run, sender, seq, stamp;
	const char *mark;

	if (login_sm(c, s) || !slice_starts(s, "<message"))
		return;
	mark = memmem(s.ptr, s.len, MARK, MARK_LEN);
	if (mark == NULL || (size_t)(s.ptr + s.len - mark) < MARK_TEXT)
		return;
	mark += MARK_LEN;
	if (!chat_hex(mark, 8, &run) || !chat_hex(mark + 9, 8, &sender)
	    || !chat_hex(mark + 18, 8, &seq) || !chat_hex(mark + 27, 16, &stamp))
		return;
	if (run == c->load->run)
		chat_receive(c, sender, seq, stamp);
	else
		c->load->stale++;
}
