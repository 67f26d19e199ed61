/*
 * client.c: owns one client: it logs in, chats, and when its connection is gone comes back and
 * resumes its session (XEP-0198 section 5). chatters.c starts it and tells it what to say, conn.c
 * feeds it stanzas.
 *
 * What was not acknowledged is sent again after a resumption. When a session cannot be resumed it
 * is given up: sent again it would be another message to the server, and nobody could tell one that
 * it had stored from one that it had doubled.
 *
 * Nothing here fails: a connection that goes wrong in any way is journalled and made anew.
 *
 * The Aldis developers
 */
#include "storm.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#define MS         UINT64_C(1000000)
#define RETRY_TIME (100 * MS)   /* after a connection that was up, or was not to be had */
#define STUCK_TIME (15000 * MS) /* a login may take */
#define ASK_TIME   (250 * MS)   /* an <r/> this long after the last, while something waits */
#define ASK_AFTER  5u
#define SASL_NS    "urn:ietf:params:xml:ns:xmpp-sasl"
#define SM_NS      "urn:xmpp:sm:3"
#define MARK       "storm "

static unsigned
client_index(const struct client *c)
{
	return (unsigned)(c - storm.clients);
}

static struct client *
client_of(const struct conn *conn)
{
	return &storm.clients[conn->index];
}

static void
note(const struct client *c, enum journal_kind kind, unsigned how, unsigned peer, uint64_t number)
{
	journal_add(kind, how, client_index(c), peer, number);
}

/* -- what waits for the server's acknowledgement ----------------------------------------------- */

static struct unacked *
unacked_at(struct client *c, unsigned i)
{
	return &c->queue[(c->first + i) % WINDOW_MAX];
}

static void
unacked_pop(struct client *c, enum journal_kind kind)
{
	struct unacked *u = unacked_at(c, 0);

	if (u->number == NUMBER_SHOWN && kind == JOURNAL_ACKED)
		note(c, JOURNAL_SHOWN, 0, 0, 0);
	else if (u->number != 0 && u->number != NUMBER_SHOWN)
		note(c, kind, 0, 0, u->number);
	free(u->text);
	c->first = (c->first + 1) % WINDOW_MAX;
	c->count--;
}

/* Takes note of the server's h; false when that cannot be. */
static bool
acknowledged(struct client *c, struct slice s)
{
	const char *h = memmem(s.ptr, s.len, " h=", 3), *end = s.ptr + s.len;
	uint32_t value = 0, more;

	if (h == NULL)
		return false;
	for (h += 4; h < end && *h >= '0' && *h <= '9'; h++)
		value = value * 10 + (uint32_t)(*h - '0');
	more = value - c->handled;
	if (more > c->count)
		return false;
	for (c->handled = value; more > 0; more--)
		unacked_pop(c, JOURNAL_ACKED);
	return true;
}

static void
ask(struct client *c)
{
	conn_sends(c->conn, "<r xmlns='" SM_NS "'/>");
	c->asked = load_now();
	c->since_ask = 0;
}

/* Sends a stanza and keeps it; there is room. */
void
client_send(struct client *c, uint32_t number, const char *text, size_t len)
{
	struct unacked *u = unacked_at(c, c->count++);

	u->number = number;
	u->len = (uint32_t)len;
	u->text = malloc(len);
	if (u->text == NULL)
		abort();
	memcpy(u->text, text, len);
	conn_send(c->conn, text, len);
	if (++c->since_ask >= ASK_AFTER)
		ask(c);
}

/* The session is lost, and with it the knowledge of what the server has. */
static void
session_forget(struct client *c)
{
	while (c->count > 0)
		unacked_pop(c, JOURNAL_GIVEN_UP);
	c->sm_id[0] = '\0';
	c->in = c->handled = 0;
	c->waiting = 0;
	c->inside = false;
}

/* Ends a connection because of an element that should not have come. */
static void
wrong(struct client *c, const char *what, struct slice s)
{
	char why[240];

	(void)snprintf(why, sizeof why, "%s: %.*s", what, s.len < 180 ? (int)s.len : 180, s.ptr);
	conn_fail(c->conn, why);
}

/* -- negotiation ------------------------------------------------------------------------------- */

static void
header(struct client *c)
{
	char text[256];
	int len = snprintf(text, sizeof text,
	    "<?xml version='1.0'?><stream:stream to='%s' version='1.0' xmlns='jabber:client'"
	    " xmlns:stream='http://etherx.jabber.org/streams'>",
	    c->conn->load->o.domain);

	conn_restart(c->conn);
	conn_send(c->conn, text, (size_t)len);
	c->step = STEP_FEATURES;
}

static void
authenticate(struct client *c)
{
	char user[64], text[SCRAM_TEXT], stanza[SCRAM_TEXT + 128];
	int len;

	(void)snprintf(user, sizeof user, "%s%05u", c->conn->load->o.prefix, client_index(c));
	if (scram_first(&c->conn->scram, user, text) < 0) {
		conn_fail(c->conn, "user name too long");
		return;
	}
	len = snprintf(stanza, sizeof stanza,
	    "<auth xmlns='" SASL_NS "' mechanism='SCRAM-SHA-1'>%s</auth>", text);
	conn_send(c->conn, stanza, (size_t)len);
	c->step = STEP_CHALLENGE;
}

static void
bind_resource(struct client *c)
{
	conn_sends(c->conn,
	    "<iq type='set' id='bind'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'>"
	    "<resource>storm</resource></bind></iq>");
	c->step = STEP_BOUND;
}

static void
on_features(struct client *c, struct slice s)
{
	char text[256];
	int len;

	(void)s;
	if (!c->authenticated) {
		authenticate(c);
	} else if (c->sm_id[0] != '\0') {
		len = snprintf(text, sizeof text, "<resume xmlns='" SM_NS "' previd='%s' h='%u'/>",
		    c->sm_id, c->in);
		conn_send(c->conn, text, (size_t)len);
		c->step = STEP_RESUMED;
	} else {
		bind_resource(c);
	}
}

static void
on_challenge(struct client *c, struct slice s)
{
	char text[SCRAM_TEXT], stanza[SCRAM_TEXT + 128];
	int len;

	if (!slice_starts(s, "<challenge")
	    || scram_final(&c->conn->scram, &storm.keys[client_index(c)],
		   c->conn->load->o.password, s, text)
		!= 0) {
		wrong(c, "no challenge", s);
		return;
	}
	len = snprintf(stanza, sizeof stanza, "<response xmlns='" SASL_NS "'>%s</response>", text);
	conn_send(c->conn, stanza, (size_t)len);
	c->step = STEP_SUCCESS;
}

static void
on_success(struct client *c, struct slice s)
{
	if (!slice_starts(s, "<success") || scram_verify(&c->conn->scram, s) != 0) {
		wrong(c, "no success", s);
		return;
	}
	c->authenticated = true;
	header(c);
}

static void
is_up(struct client *c, enum up how)
{
	c->step = STEP_UP;
	note(c, JOURNAL_UP, how, c->port, c->began);
}

static void
on_resumed(struct client *c, struct slice s)
{
	unsigned i;

	if (!slice_starts(s, "<resumed")) {
		if (!slice_starts(s, "<failed")) {
			wrong(c, "neither resumed nor failed", s);
			return;
		}
		note(c, JOURNAL_REFUSED, 0, c->port, 0);
		session_forget(c);
		bind_resource(c);
		return;
	}
	if (!acknowledged(c, s)) {
		wrong(c, "h is wrong", s);
		return;
	}
	is_up(c, UP_RESUMED);
	for (i = 0; i < c->count; i++)
		conn_send(c->conn, unacked_at(c, i)->text, unacked_at(c, i)->len);
	ask(c);
}

static void
on_bound(struct client *c, struct slice s)
{
	if (!slice_has(s, "type='result'")) {
		wrong(c, "not bound", s);
		return;
	}
	conn_sends(c->conn, "<enable xmlns='" SM_NS "' resume='true'/>");
	c->step = STEP_ENABLED;
}

static void
on_enabled(struct client *c, struct slice s)
{
	const char *id = memmem(s.ptr, s.len, " id='", 5), *end;

	end = id != NULL ? memchr(id + 5, '\'', (size_t)(s.ptr + s.len - id - 5)) : NULL;
	if (!slice_starts(s, "<enabled") || end == NULL
	    || (size_t)(end - id - 5) >= sizeof c->sm_id) {
		wrong(c, "no session management", s);
		return;
	}
	memcpy(c->sm_id, id + 5, (size_t)(end - id - 5));
	c->sm_id[end - id - 5] = '\0';
	is_up(c, UP_NEW);
	client_show(c, true);
	room_enter(c);
}

/* -- a stream that is up ----------------------------------------------------------------------- */

/* Reads "storm FROM TO NUMBER" in hexadecimal. */
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

static void
on_message(struct client *c, struct slice s)
{
	unsigned long mark[3];
	const char *tag = memchr(s.ptr, '>', s.len);
	struct slice start = {s.ptr, tag != NULL ? (size_t)(tag - s.ptr) : s.len};

	/* An error has the id of our message, and not its body. */
	if (slice_has(start, "type='error'")) {
		const char *id = memmem(start.ptr, start.len, " id='", 5);

		note(c, JOURNAL_BOUNCED, 0, 0, id != NULL ? strtoul(id + 5, NULL, 16) : 0);
	} else if (!room_message(c, s) && read_mark(s, mark)) {
		note(c, JOURNAL_GOT, mark[1] != client_index(c), (unsigned)mark[0], mark[2]);
	}
}

static void
on_iq(struct client *c, struct slice s)
{
	const char *id = memmem(s.ptr, s.len, " id='q", 6);

	if (id == NULL)
		return;
	c->waiting &= ~(UINT64_C(1) << (strtoul(id + 6, NULL, 10) % 64));
	note(c, JOURNAL_ANSWERED, slice_has(s, "type='error'"), 0, strtoul(id + 6, NULL, 10));
}

static void
on_stanza(struct client *c, struct slice s)
{
	char text[64];
	int len;

	if (slice_starts(s, "<a ")) {
		if (!acknowledged(c, s))
			wrong(c, "h is wrong", s);
		return;
	}
	if (slice_starts(s, "<r ") || slice_starts(s, "<r/")) {
		len = snprintf(text, sizeof text, "<a xmlns='" SM_NS "' h='%u'/>", c->in);
		conn_send(c->conn, text, (size_t)len);
		return;
	}
	c->in++;
	if (slice_starts(s, "<message"))
		on_message(c, s);
	else if (slice_starts(s, "<iq"))
		on_iq(c, s);
	else if (slice_starts(s, "<presence"))
		room_presence(c, s);
}

/* What is done with an element in each step. */
static void (*const steps[STEP_COUNT])(struct client *c, struct slice s) = {
	[STEP_FEATURES] = on_features,
	[STEP_CHALLENGE] = on_challenge,
	[STEP_SUCCESS] = on_success,
	[STEP_RESUMED] = on_resumed,
	[STEP_BOUND] = on_bound,
	[STEP_ENABLED] = on_enabled,
	[STEP_UP] = on_stanza,
};

/* -- what conn.c calls ------------------------------------------------------------------------- */

static void
went_up(struct conn *conn)
{
	struct client *c = client_of(conn);
	struct sockaddr_in address;
	socklen_t len = sizeof address;

	if (conn->tls != NULL) {
		header(c);
		return;
	}
	if (getsockname(conn->fd, (struct sockaddr *)&address, &len) == 0)
		c->port = ntohs(address.sin_port);
	c->step = STEP_TLS;
	conn_starttls(conn);
}

static void
came(struct conn *conn, enum framer_event event, struct slice s)
{
	struct client *c = client_of(conn);
	char why[200];

	if (event == FRAMER_OPEN)
		return;
	if (event == FRAMER_CLOSE) {
		conn_fail(conn, "stream closed by the server");
	} else if (slice_starts(s, "<stream:error")) {
		(void)snprintf(why, sizeof why, "%.*s", s.len < 190 ? (int)s.len : 190, s.ptr);
		conn_fail(conn, why);
	} else if (steps[c->step] != NULL) {
		/* A message may come before session management is enabled. */
		if ((c->step == STEP_BOUND || c->step == STEP_ENABLED) && slice_starts(s, "<message"))
			on_message(c, s);
		else
			steps[c->step](c, s);
	}
}

static void
went_down(struct conn *conn, const char *why)
{
	struct client *c = client_of(conn);
	uint64_t now = load_now();
	enum down how = c->broken ? c->down : c->step == STEP_UP ? DOWN_LOST : DOWN_FAILED;

	note(c, JOURNAL_DOWN, how, c->port, c->began);
	if (how != DOWN_BROKEN && how != DOWN_LEFT)
		(void)fprintf(stderr, "%llu.%03llu %05u port %u step %u: %s\n",
		    (unsigned long long)(now / (1000 * MS)),
		    (unsigned long long)(now / MS % 1000), client_index(c), c->port,
		    (unsigned)c->step, why);
	c->step = STEP_AWAY;
	c->broken = c->paused = false;
	c->due = now + RETRY_TIME;
}

const struct conn_ops client_ops = {went_up, came, went_down};

/* -- what chatters.c calls --------------------------------------------------------------------- */

void
client_connect(struct client *c)
{
	c->wanted = true;
	c->authenticated = false;
	c->began = load_now();
	c->port = 0;
	c->step = STEP_TLS;
	conn_restart(c->conn);
	conn_open(c->conn);
}

/* Closes the connection ourselves. */
static void
cut(struct client *c, enum down how)
{
	c->broken = true;
	c->down = how;
	conn_fail(c->conn, "cut");
}

void
client_tick(struct client *c, uint64_t now)
{
	if (c->step == STEP_AWAY && c->wanted && now >= c->due)
		client_connect(c);
	else if (c->step != STEP_AWAY && c->step != STEP_UP && now - c->began > STUCK_TIME)
		cut(c, DOWN_STUCK);
	else if (c->step == STEP_UP && !c->paused && c->count > 0 && now - c->asked > ASK_TIME)
		ask(c);
}

static bool
has_room(const struct client *c, unsigned window)
{
	return c->step == STEP_UP && !c->paused && c->count < window;
}

bool
client_has_room(const struct client *c)
{
	return has_room(c, storm.window);
}

bool
client_say(struct client *c, unsigned peer, bool full)
{
	const struct options *options = &storm.clients[peer].conn->load->o;
	char text[512];
	int len;

	if (!has_room(c, storm.window))
		return false;
	c->number++;
	len = snprintf(text, sizeof text,
	    "<message to='%s%05u@%s%s' type='chat' id='%x'>"
	    "<body>" MARK "%08x %08x %08x%s</body></message>",
	    options->prefix, peer, options->domain, full ? "/storm" : "", c->number,
	    client_index(c), peer, c->number, c->conn->load->filler);
	note(c, JOURNAL_SENT, full, peer, c->number);
	client_send(c, c->number, text, (size_t)len);
	return true;
}

void
client_ping(struct client *c, bool roster)
{
	char text[160];
	int len;

	if (!has_room(c, WINDOW_MAX - 8) || (c->waiting >> ((c->requests + 1) % 64) & 1) != 0)
		return;
	len = snprintf(text, sizeof text, "<iq type='get' id='q%u'><%s xmlns='%s'/></iq>",
	    ++c->requests, roster ? "query" : "ping",
	    roster ? "jabber:iq:roster" : "urn:xmpp:ping");
	c->waiting |= UINT64_C(1) << (c->requests % 64);
	note(c, JOURNAL_ASKED, roster, 0, c->requests);
	client_send(c, 0, text, (size_t)len);
}

void
client_show(struct client *c, bool first)
{
	static const char text[] = "<presence><status>in the storm</status></presence>";

	if (has_room(c, WINDOW_MAX - 8))
		client_send(c, first ? NUMBER_SHOWN : 0, text, sizeof text - 1);
}

void
client_break(struct client *c)
{
	if (c->step != STEP_UP || c->paused)
		return;
	(void)shutdown(c->conn->fd, SHUT_RDWR);
	cut(c, DOWN_BROKEN);
}

void
client_leave(struct client *c)
{
	char text[96];
	int len;

	if (c->step != STEP_UP || c->paused)
		return;
	len = snprintf(text, sizeof text, "<a xmlns='" SM_NS "' h='%u'/></stream:stream>", c->in);
	conn_send(c->conn, text, (size_t)len);
	conn_flush_all(c->conn->load);
	session_forget(c);
	cut(c, DOWN_LEFT);
	c->due = 0;
}

void
client_pause(struct client *c, bool paused)
{
	struct epoll_event event = {.events = EPOLLIN, .data = {.ptr = c->conn}};

	if (c->step != STEP_UP || c->paused == paused)
		return;
	c->paused = paused;
	c->conn->polled_out = false;
	(void)epoll_ctl(c->conn->load->epoll, paused ? EPOLL_CTL_DEL : EPOLL_CTL_ADD, c->conn->fd,
	    &event);
}

bool
client_is_quiet(const struct client *c)
{
	return c->step == STEP_UP && c->count == 0 && c->waiting == 0;
}
