/*
 * conn.c: owns one connection: its socket, TLS session and buffers. xmppload.c's loop feeds it
 * events, login.c and chat.c speak through it.
 *
 * Any failure of the socket, of TLS or of the peer ends the connection and is told through
 * conn_ops.down. The certificate is not verified: it is made for the run, and the clients' cost is
 * not what is measured.
 *
 * The Aldis developers
 */
#include "load.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>
#include <netinet/tcp.h>

#define RECORD 16384u

/* Makes room for `more` bytes. */
static void
buf_reserve(struct buf *b, size_t more)
{
	if (b->len + more <= b->cap)
		return;
	while (b->len + more > b->cap)
		b->cap = b->cap == 0 ? 2048 : b->cap * 2;
	b->data = realloc(b->data, b->cap);
	if (b->data == NULL)
		abort();
}

static void
buf_free(struct buf *b)
{
	free(b->data);
	memset(b, 0, sizeof *b);
}

int
conn_setup(struct load *load)
{
	if (gnutls_certificate_allocate_credentials(&load->credentials) != 0)
		return -1;
	return gnutls_priority_init(
	    &load->priority, "NORMAL:-VERS-ALL:+VERS-TLS1.3:-CIPHER-ALL:+AES-128-GCM:-GROUP-ALL:+GROUP-X25519", NULL);
}

void
conn_close(struct conn *c)
{
	if (c->phase == CONN_CLOSED)
		return;
	if (c->tls != NULL) {
		if (c->phase == CONN_OPEN)
			(void)gnutls_bye(c->tls, GNUTLS_SHUT_WR);
		gnutls_deinit(c->tls);
		c->tls = NULL;
	}
	(void)close(c->fd);
	c->fd = -1;
	c->phase = CONN_CLOSED;
	buf_free(&c->in);
	buf_free(&c->out);
	c->out_done = 0;
}

void
conn_fail(struct conn *c, const char *why)
{
	if (c->phase == CONN_CLOSED)
		return;
	conn_close(c);
	c->load->ops->down(c, why);
}

/* Asks for EPOLLOUT when there is something to write, and only then. */
static void
conn_poll(struct conn *c, bool out)
{
	struct epoll_event event = {
	    .events = out ? EPOLLIN | EPOLLOUT : EPOLLIN, .data = {.ptr = c}};

	if (c->polled_out == out)
		return;
	c->polled_out = out;
	if (epoll_ctl(c->load->epoll, EPOLL_CTL_MOD, c->fd, &event) != 0)
		conn_fail(c, strerror(errno));
}

/* Connects from one of many addresses, so that ports suffice for more than some ten thousand. */
static int
conn_bind(const struct conn *c)
{
	struct sockaddr_in from = {.sin_family = AF_INET};
	int one = 1;

	if (c->load->o.sources == 0)
		return 0;
	from.sin_addr.s_addr = htonl(INADDR_LOOPBACK + c->index % c->load->o.sources);
	if (setsockopt(c->fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &one, sizeof one) != 0)
		return -1;
	return bind(c->fd, (const struct sockaddr *)&from, sizeof from);
}

void
conn_open(struct conn *c)
{
	struct epoll_event event = {.events = EPOLLIN | EPOLLOUT, .data = {.ptr = c}};
	int one = 1;

	c->phase = CONN_CONNECTING;
	c->polled_out = true;
	c->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (c->fd < 0) {
		conn_fail(c, strerror(errno));
		return;
	}
	(void)setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
	if (conn_bind(c) != 0
	    || (connect(c->fd, (struct sockaddr *)&c->load->address, sizeof c->load->address) != 0
		&& errno != EINPROGRESS)
	    || epoll_ctl(c->load->epoll, EPOLL_CTL_ADD, c->fd, &event) != 0)
		conn_fail(c, strerror(errno));
}

void
conn_restart(struct conn *c)
{
	c->in.len = 0;
	memset(&c->framer, 0, sizeof c->framer);
}

/* GnuTLS asks here for bytes: one read of the socket an event, shared out as it wants them. */
static ssize_t
conn_pull(gnutls_transport_ptr_t ptr, void *data, size_t len)
{
	struct conn *c = ptr;
	struct rx *rx = &c->load->rx;

	if (rx->pos == rx->len) {
		ssize_t got = -1;

		errno = EAGAIN;
		if (!rx->dry)
			got = recv(c->fd, rx->data, sizeof rx->data, 0);
		if (got <= 0) {
			gnutls_transport_set_errno(c->tls, errno);
			return got;
		}
		rx->dry = (size_t)got < sizeof rx->data;
		rx->pos = 0;
		rx->len = (size_t)got;
	}
	if (len > rx->len - rx->pos)
		len = rx->len - rx->pos;
	memcpy(data, rx->data + rx->pos, len);
	rx->pos += len;
	return (ssize_t)len;
}

static ssize_t
conn_push(gnutls_transport_ptr_t ptr, const void *data, size_t len)
{
	struct conn *c = ptr;
	ssize_t sent = send(c->fd, data, len, MSG_NOSIGNAL);

	if (sent < 0)
		gnutls_transport_set_errno(c->tls, errno);
	return sent;
}

/* Takes the handshake as far as it goes. */
static void
conn_handshake(struct conn *c)
{
	int rc;

	do
		rc = gnutls_handshake(c->tls);
	while (rc < 0 && !gnutls_error_is_fatal(rc) && c->load->rx.pos < c->load->rx.len);
	if (rc < 0 && !gnutls_error_is_fatal(rc)) {
		conn_poll(c, gnutls_record_get_direction(c->tls) == 1);
		return;
	}
	if (rc < 0) {
		conn_fail(c, gnutls_strerror(rc));
		return;
	}
	if (c->load->tls_text[0] == '\0') {
		char *text = gnutls_session_get_desc(c->tls);

		if (text != NULL) {
			size_t len = strnlen(text, sizeof c->load->tls_text - 1);

			memcpy(c->load->tls_text, text, len);
			c->load->tls_text[len] = '\0';
		}
		gnutls_free(text);
	}
	c->phase = CONN_OPEN;
	conn_poll(c, false);
	c->load->ops->up(c);
}

void
conn_starttls(struct conn *c)
{
	const char *domain = c->load->o.domain;
	gnutls_datum_t alpn = {(unsigned char *)(uintptr_t) "xmpp-client", 11};

	conn_restart(c);
	c->load->rx.pos = c->load->rx.len = 0;
	if (gnutls_init(&c->tls, GNUTLS_CLIENT | GNUTLS_NONBLOCK | GNUTLS_NO_SIGNAL) != 0
	    || gnutls_priority_set(c->tls, c->load->priority) != 0
	    || gnutls_credentials_set(c->tls, GNUTLS_CRD_CERTIFICATE, c->load->credentials) != 0
	    || gnutls_server_name_set(c->tls, GNUTLS_NAME_DNS, domain, strlen(domain)) != 0
	    || (c->load->o.tls == TLS_DIRECT
		&& gnutls_alpn_set_protocols(c->tls, &alpn, 1, 0) != 0)) {
		conn_fail(c, "cannot set up TLS");
		return;
	}
	gnutls_handshake_set_timeout(c->tls, 0);
	gnutls_transport_set_ptr(c->tls, c);
	gnutls_transport_set_pull_function(c->tls, conn_pull);
	gnutls_transport_set_push_function(c->tls, conn_push);
	c->phase = CONN_HANDSHAKE;
	conn_handshake(c);
}

void
conn_send(struct conn *c, const char *data, size_t len)
{
	if (c->phase != CONN_OPEN)
		return;
	buf_reserve(&c->out, len);
	memcpy(c->out.data + c->out.len, data, len);
	c->out.len += len;
	if (!c->dirty) {
		c->dirty = true;
		c->load->dirty[c->load->dirty_count++] = c;
	}
}

void
conn_sends(struct conn *c, const char *text)
{
	conn_send(c, text, strlen(text));
}

/* Writes one piece; returns what was written, 0 for "not now", -1 after a failure. */
static ssize_t
conn_write(struct conn *c, const char *data, size_t len)
{
	ssize_t rc;

	if (c->tls == NULL) {
		rc = send(c->fd, data, len, MSG_NOSIGNAL);
		if (rc < 0 && (errno == EAGAIN || errno == EINTR))
			return 0;
		if (rc < 0)
			conn_fail(c, strerror(errno));
		return rc;
	}
	rc = gnutls_record_send(c->tls, data, len < RECORD ? len : RECORD);
	if (rc == GNUTLS_E_AGAIN || rc == GNUTLS_E_INTERRUPTED)
		return 0;
	if (rc < 0) {
		conn_fail(c, gnutls_strerror((int)rc));
		return -1;
	}
	return rc;
}

static void
conn_flush(struct conn *c)
{
	if (c->phase != CONN_OPEN)
		return;
	while (c->out_done < c->out.len) {
		ssize_t wrote = conn_write(c, c->out.data + c->out_done, c->out.len - c->out_done);

		if (wrote < 0)
			return;
		if (wrote == 0) {
			conn_poll(c, true);
			return;
		}
		c->out_done += (size_t)wrote;
	}
	c->out.len = c->out_done = 0;
	conn_poll(c, false);
}

void
conn_flush_all(struct load *load)
{
	while (load->dirty_count > 0) {
		struct conn *c = load->dirty[--load->dirty_count];

		c->dirty = false;
		conn_flush(c);
	}
}

/* Hands on what is whole in the buffer and keeps the rest. */
static void
conn_deliver(struct conn *c)
{
	struct slice s;

	for (;;) {
		enum framer_event event = framer_next(&c->framer, c->in.data, c->in.len, &s);

		if (event == FRAMER_MORE)
			break;
		c->load->ops->stanza(c, event, s);
		if (c->phase != CONN_OPEN || c->in.len == 0)
			return;
	}
	if (c->framer.start == 0)
		return;
	memmove(c->in.data, c->in.data + c->framer.start, c->in.len - c->framer.start);
	c->in.len -= c->framer.start;
	c->framer.pos -= c->framer.start;
	c->framer.start = 0;
}

/* Reads into the buffer; returns 1, 0 for "nothing now", -1 after a failure. */
static int
conn_fill(struct conn *c)
{
	ssize_t got;

	buf_reserve(&c->in, RECORD);
	if (c->tls == NULL) {
		got = recv(c->fd, c->in.data + c->in.len, c->in.cap - c->in.len, 0);
		if (got < 0 && (errno == EAGAIN || errno == EINTR))
			return 0;
		if (got < 0)
			conn_fail(c, strerror(errno));
	} else {
		got = gnutls_record_recv(c->tls, c->in.data + c->in.len, c->in.cap - c->in.len);
		/* It also answers E_AGAIN after a session ticket, with more in hand. */
		if (got < 0 && !gnutls_error_is_fatal((int)got))
			return got == GNUTLS_E_AGAIN && c->load->rx.pos == c->load->rx.len ? 0 : 1;
		if (got < 0)
			conn_fail(c, gnutls_strerror((int)got));
	}
	if (got == 0)
		conn_fail(c, "closed by the server");
	if (got <= 0)
		return -1;
	c->in.len += (size_t)got;
	return 1;
}

static void
conn_read(struct conn *c)
{
	size_t before;
	int rc;

	do {
		before = c->in.len;
		rc = conn_fill(c);
		if (rc > 0 && c->in.len > before)
			conn_deliver(c);
	} while (rc > 0 && c->phase == CONN_OPEN && c->tls != NULL);
	/* A hundred thousand idle connections are to fit into the memory of one machine. */
	if (c->load->o.mode == MODE_IDLE && c->step == LOGIN_DONE && c->in.len == 0) {
		buf_free(&c->in);
		if (c->out.len == 0)
			buf_free(&c->out);
	}
}

/* The socket is connected, or not. */
static void
conn_connected(struct conn *c)
{
	int error = 0;
	socklen_t len = sizeof error;

	if (getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &error, &len) != 0 || error != 0) {
		conn_fail(c, strerror(error));
		return;
	}
	c->phase = CONN_OPEN;
	conn_poll(c, false);
	if (c->phase == CONN_OPEN)
		c->load->ops->up(c);
}

void
conn_event(struct conn *c, uint32_t events)
{
	struct rx *rx = &c->load->rx;

	rx->pos = rx->len = 0;
	rx->dry = false;
	if (c->phase == CONN_CONNECTING)
		conn_connected(c);
	else if (c->phase == CONN_HANDSHAKE)
		conn_handshake(c);
	else if (c->phase == CONN_OPEN && (events & EPOLLOUT) != 0)
		conn_flush(c);
	/* The handshake may have read more than it needed, after an event that was about writing. */
	if (c->phase == CONN_OPEN
	    && ((events & (EPOLLIN | EPOLLHUP | EPOLLERR)) != 0 || rx->pos < rx->len))
		conn_read(c);
}
