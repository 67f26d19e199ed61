/*
 * conn.c: the connection of a client: a transport with a stream on it, and the back-pressure of the
 * router on both.
 *
 * Called by main.c for each connection that was accepted, by transport.c through hooks, by stream.c
 * and session.c. What fails ends the connection through stream_lost().
 */
#include "c2sd.h"

#include <stdlib.h>

#include "counter.h"
#include "log.h"
#include "mem.h"

static TAILQ_HEAD(, conn) choked = TAILQ_HEAD_INITIALIZER(choked);

static struct conn *
conn_of(const struct transport *t)
{
	return (struct conn *)(uintptr_t)t;
}

/* -- back-pressure ----------------------------------------------------------------------------- */

/* Stops reading bound streams while the router does not take what we send. */
static bool
choke(struct conn *c)
{
	if (c->session == NULL || !uplink_full())
		return false;
	if (!c->choked) {
		c->choked = true;
		COUNT(custody_full);
		TAILQ_INSERT_TAIL(&choked, c, choke);
	}
	conn_block(c, true);
	return true;
}

static void
unchoke(struct conn *c)
{
	if (c->choked)
		TAILQ_REMOVE(&choked, c, choke);
	c->choked = false;
}

void
conn_ease(struct conn *c)
{
	if (!choke(c))
		conn_block(c, false);
}

void
conns_ease(void)
{
	struct conn *c;

	while (!uplink_full() && (c = TAILQ_FIRST(&choked)) != NULL) {
		unchoke(c);
		if (c->session != NULL)
			session_ease(c->session);
		else
			conn_block(c, false);
	}
}

/* -- hooks of the transport -------------------------------------------------------------------- */

static void
secured(struct transport *t)
{
	struct conn *c = conn_of(t);
	struct certificate *certificate;
	char name[TLS_NAME_SIZE];

	if (c->domain == NULL) {
		c->domain = domain_meant(tls_server_name(t, name), NULL, &certificate);
		certificate_drop(&certificate);
	}
	stream_secured(c);
}

static void
bytes_read(struct transport *t, struct slice bytes)
{
	conn_of(t)->probed = false;
	stream_feed(conn_of(t), bytes);
}

/* Until a client is bound, and while an element is read that has a password in it. */
static bool
is_secret(const struct transport *t)
{
	const struct conn *c = conn_of(t);

	return c->login != NULL || xml_stream_secret(c->xml);
}

static bool
may_read(struct transport *t)
{
	return !choke(conn_of(t));
}

static void
wrote(struct transport *t)
{
	struct conn *c = conn_of(t);

	if (c->session == NULL)
		return;
	session_taken(c->session, t->sealed);
	if (c->session != NULL && conn_is_open(c))
		session_write(c->session);
}

static void
due(struct transport *t)
{
	stream_due(conn_of(t));
}

static void
lost(struct transport *t, const char *why)
{
	stream_lost(conn_of(t), why);
	unchoke(conn_of(t));
}

static void
freed(struct transport *t)
{
	struct conn *c = conn_of(t);

	xml_stream_free(&c->xml);
	free(c->lang);
	free(c);
}

/* By SNI, then by the `to` of the stream. */
static struct certificate *
certificate(struct transport *t, struct slice sni)
{
	struct certificate *chosen;

	domain_meant(sni, conn_of(t)->domain, &chosen);
	return chosen;
}

static const struct transport_hooks hooks = {
	.secured = secured,
	.read = bytes_read,
	.is_secret = is_secret,
	.may_read = may_read,
	.wrote = wrote,
	.due = due,
	.lost = lost,
	.freed = freed,
	.certificate = certificate,
};

/* -- beginning --------------------------------------------------------------------------------- */

void
conn_new(int fd, struct address *address, bool direct)
{
	struct conn *c = mem_alloc(sizeof *c);

	if (transport_open(&c->net, &hooks, fd, address, false) != 0) {
		free(c);
		return;
	}
	c->direct = direct;
	stream_begin(c, settings.login_time);
	if (direct)
		conn_encrypt(c);
}

void
conn_encrypt(struct conn *c)
{
	struct tls_settings how = { .alpn = c->direct ? "xmpp-client" : NULL };
	gnutls_datum_t ticket;

	if (domain_default() == NULL) {
		log_error("no certificate", "address=%s", conn_address(c));
		conn_close(c);
		return;
	}
	if (ticket_key(&ticket))
		how.ticket = &ticket;
	tls_begin(&c->net, &how);
}
