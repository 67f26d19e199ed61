/*
 * room.c: owns what a client does in its room: it enters when it has a new session, speaks, and journals
 * what it hears. client.c calls it for the stanzas of rooms, chatters.c to have it speak.
 *
 * Client i is in room i modulo the number of rooms, as "nI". What is said is "clamour FROM ROOM NUMBER".
 *
 * The Aldis developers
 */
#include "storm.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MARK    "clamour "
#define HISTORY 10

static unsigned
client_index(const struct client *c)
{
	return (unsigned)(c - storm.clients);
}

static unsigned
room_of(const struct client *c)
{
	return client_index(c) % storm.rooms;
}

void
room_enter(struct client *c)
{
	char text[320];
	int len;

	c->inside = false;
	if (storm.rooms == 0)
		return;
	len = snprintf(text, sizeof text,
	    "<presence to='room%02u@rooms.%s/n%05u'><x xmlns='http://jabber.org/protocol/muc'>"
	    "<history maxstanzas='%d'/></x></presence>",
	    room_of(c), c->conn->load->o.domain, client_index(c), HISTORY);
	client_send(c, 0, text, (size_t)len);
}

bool
room_say(struct client *c)
{
	char text[512];
	int len;

	if (!c->inside || !client_has_room(c))
		return false;
	c->number++;
	len = snprintf(text, sizeof text,
	    "<message to='room%02u@rooms.%s' type='groupchat' id='%x'><body>" MARK "%08x %08x %08x%s</body></message>",
	    room_of(c), c->conn->load->o.domain, c->number, client_index(c), room_of(c), c->number,
	    c->conn->load->filler);
	journal_add(JOURNAL_SPOKEN, 0, client_index(c), room_of(c), c->number);
	client_send(c, c->number, text, (size_t)len);
	return true;
}

/* Reads "clamour FROM ROOM NUMBER" in hexadecimal. */
static bool
read_mark(struct slice s, unsigned long numbers[3])
{
	const char *mark = memmem(s.ptr, s.len, ">" MARK, sizeof MARK);
	char text[28];
	unsigned i;

	if (mark == NULL || (size_t)(s.ptr + s.len - mark) < sizeof MARK + 26)
		return false;
	memcpy(text, mark + sizeof MARK, 26);
	text[26] = '\0';
	for (i = 0; i < 3; i++)
		numbers[i] = strtoul(text + 9 * i, NULL, 16);
	return true;
}

bool
room_message(struct client *c, struct slice s)
{
	unsigned long mark[3];

	if (!read_mark(s, mark))
		return false;
	journal_add(JOURNAL_HEARD, slice_has(s, "urn:xmpp:delay"), client_index(c), (unsigned)mark[0], mark[2]);
	return true;
}

void
room_presence(struct client *c, struct slice s)
{
	const char *tag = memchr(s.ptr, '>', s.len);
	struct slice start = {s.ptr, tag != NULL ? (size_t)(tag - s.ptr) : s.len};

	if (storm.rooms == 0)
		return;
	if (slice_has(start, "type='error'")) {
		journal_add(JOURNAL_EXCLUDED, 1, client_index(c), room_of(c), 0);
		(void)fprintf(stderr, "%05u not in its room: %.*s\n", client_index(c),
		    s.len < 400 ? (int)s.len : 400, s.ptr);
	} else if (slice_has(s, "code='110'")) {
		c->inside = !slice_has(start, "type='unavailable'");
		journal_add(c->inside ? JOURNAL_ENTERED : JOURNAL_EXCLUDED, 0, client_index(c), room_of(c), 0);
	} else {
		journal_add(JOURNAL_SEEN, slice_has(start, "type='unavailable'"), client_index(c), room_of(c), 0);
	}
}
