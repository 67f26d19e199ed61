/*
 * transport.c: the bytes of a connection, in and out.
 *
 * The loop calls it for each ready socket; stream.c and session.c append to its output, which is
 * written once at the end of the loop iteration. A readable socket costs one recv(2): GnuTLS takes
 * its records from what that has brought, and what it encrypts is gathered for one send(2).
 * Between iterations an idle connection has no buffers. Whatever fails ends the connection through
 * stream_lost().
 */
#include "c2sd.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "counter.h"
#include "log.h"
#include "mem.h"

#define READ_SIZE    65536u
#define RECORD_SIZE  16384u  /* of a TLS record */
#define SEAL_SIZE    65536u  /* encrypted at a time */
#define WRITE_ROUNDS 8u      /* of one connection before others get their turn */
#define LINGER_MS    3000u
#define FINISH_MS    5000u
#define SPARE_SIZE   (256u << 10)

#define WIRE_MAX     (2 * SEAL_SIZE) /* what we seal at a time, and what TLS says by itself */

TAILQ_HEAD(conns, conn);

static uv_loop_t *loop;
static size_t count;
static LIST_HEAD(, conn) all = LIST_HEAD_INITIALIZER(all);
static struct conns dirty = TAILQ_HEAD_INITIALIZER(dirty);
static struct conns choked = TAILQ_HEAD_INITIALIZER(choked);

static char input[READ_SIZE];  /* as it came from the socket */
static struct slice pulled;    /* the part of input that GnuTLS has not taken */
static struct buf spares[2];   /* memory of output buffers, for whoever needs it next */

static void ready(uv_poll_t *poll, int status, int events);
static void read_records(struct conn *c);

void
conns_start(uv_loop_t *l)
{
	loop = l;
}

size_t
conn_count(void)
{
	return count;
}

void
conns_gauges(void)
{
	const struct conn *c;
	size_t in = 0, out = 0;

	LIST_FOREACH(c, &all, all) {
		in += buf_len(&c->cipher);
		out += buf_len(&c->out) + buf_len(&c->wire);
	}
	GAUGE(connections, count);
	GAUGE(input_bytes, in);
	GAUGE(output_bytes, out);
}

/* -- memory ------------------------------------------------------------------------------------ */

/* Gives an empty buffer memory that another has left. */
static void
borrow(struct buf *b)
{
	unsigned i;

	for (i = 0; i < 2 && b->bytes == NULL; i++) {
		*b = spares[i];
		spares[i] = (struct buf){ 0 };
	}
}

/* Leaves the memory of an empty buffer to others. */
static void
give_back(struct buf *b)
{
	unsigned i;

	if (buf_len(b) != 0 || b->bytes == NULL)
		return;
	for (i = 0; i < 2; i++) {
		if (spares[i].bytes == NULL && b->room <= SPARE_SIZE) {
			buf_clear(b);
			spares[i] = *b;
			*b = (struct buf){ 0 };
			return;
		}
	}
	buf_free(b);
}

/* -- the life of a connection ------------------------------------------------------------------ */

static void
deadline_due(struct deadline *d)
{
	stream_due((struct conn *)((char *)d - offsetof(struct conn, deadline)));
}

void
conn_new(int fd, struct address *address, bool direct)
{
	struct conn *c = mem_alloc(sizeof *c);

	c->fd = fd;
	c->address = address;
	c->direct = direct;
	c->deadline.due = deadline_due;
	c->heard = daemon_ticks();
	if (uv_poll_init(loop, &c->poll, fd) != 0) {
		log_warn("connection refused", "reason=\"the loop does not take it\"");
		close(fd);
		address_drop(&c->address);
		free(c);
		return;
	}
	LIST_INSERT_HEAD(&all, c, all);
	count++;
	stream_begin(c, settings.login_time);
	if (direct)
		tls_begin(c, true);
	else
		conn_watch(c, UV_READABLE);
}

static void
freed(uv_handle_t *handle)
{
	struct conn *c = (struct conn *)((char *)handle - offsetof(struct conn, poll));

	close(c->fd);
	if (c->tls != NULL)
		gnutls_deinit(c->tls);
	certificate_drop(&c->certificate);
	xml_stream_free(&c->xml);
	address_drop(&c->address);
	buf_free(&c->out);
	buf_free(&c->wire);
	buf_free(&c->cipher);
	free(c->lang);
	LIST_REMOVE(c, all);
	free(c);
	count--;
	listeners_resume();
}

void
conn_close(struct conn *c)
{
	if (c->state != CONN_DEAD) {
		c->state = CONN_DEAD;
		deadline_clear(&c->deadline);
		stream_lost(c, "closed");
		if (c->is_dirty)
			TAILQ_REMOVE(&dirty, c, dirty);
		if (c->choked)
			TAILQ_REMOVE(&choked, c, choke);
		c->is_dirty = c->choked = false;
		tls_cancel(c);
	}
	if (c->threaded || uv_is_closing((uv_handle_t *)&c->poll))
		return;
	uv_close((uv_handle_t *)&c->poll, freed);
}

void
conn_finish(struct conn *c)
{
	if (c->state != CONN_OPEN) {
		if (c->state == CONN_HANDSHAKE)
			conn_close(c);
		return;
	}
	c->state = CONN_FINISHING;
	c->blocked = true;
	deadline_set(&c->deadline, FINISH_MS);
	conn_touch(c);
}

void
conn_watch(struct conn *c, int events)
{
	if (c->watched == events || c->state == CONN_DEAD)
		return;
	c->watched = (uint8_t)events;
	if (events == 0)
		uv_poll_stop(&c->poll);
	else
		uv_poll_start(&c->poll, events, ready);
}

/* Watches for what an open or finishing connection waits for. */
static void
watch_again(struct conn *c)
{
	int events = (c->blocked ? 0 : UV_READABLE) | (c->write_blocked ? UV_WRITABLE : 0);

	if (c->state == CONN_LINGERING)
		events = UV_READABLE;
	conn_watch(c, events);
}

void
conn_secured(struct conn *c)
{
	c->state = CONN_OPEN;
	c->heard = daemon_ticks();
	watch_again(c);
	stream_secured(c);
}

bool
conn_alive(const struct conn *c)
{
	struct tcp_info info = { 0 };
	socklen_t len = sizeof info;

	return getsockopt(c->fd, IPPROTO_TCP, TCP_INFO, &info, &len) == 0 &&
	    info.tcpi_unacked == 0 && info.tcpi_retransmits == 0 && buf_len(&c->wire) == 0;
}

/* -- transport functions of GnuTLS ------------------------------------------------------------- */

ssize_t
conn_pull(gnutls_transport_ptr_t arg, void *bytes, size_t len)
{
	struct conn *c = arg;
	struct slice from;

	if (c->threaded || c->state == CONN_HANDSHAKE)
		return recv(c->fd, bytes, len, MSG_DONTWAIT);
	from = buf_len(&c->cipher) != 0 ? buf_slice(&c->cipher) : pulled;
	if (from.len == 0) {
		errno = EAGAIN;
		return -1;
	}
	if (len > from.len)
		len = from.len;
	memcpy(bytes, from.ptr, len);
	if (buf_len(&c->cipher) != 0)
		buf_consume(&c->cipher, len);
	else
		pulled = slice_part(pulled, len, pulled.len);
	return (ssize_t)len;
}

ssize_t
conn_push(gnutls_transport_ptr_t arg, const void *bytes, size_t len)
{
	struct conn *c = arg;

	if (c->threaded || c->state == CONN_HANDSHAKE)
		return send(c->fd, bytes, len, MSG_NOSIGNAL | MSG_DONTWAIT);
	borrow(&c->wire);
	buf_add(&c->wire, bytes, len);
	return (ssize_t)len;
}

/* -- reading ----------------------------------------------------------------------------------- */

static bool
wants_input(const struct conn *c)
{
	return c->state == CONN_OPEN && !c->blocked;
}

/* Gives what is in a record to the stream. It is read where GnuTLS has put it, so that when there
 * was a password in it nothing of it is left. */
static void
feed_record(struct conn *c, gnutls_packet_t packet)
{
	gnutls_datum_t data;
	bool secret = c->login != NULL;

	gnutls_packet_get(packet, &data, NULL);
	stream_feed(c, slice_of(data.data, data.size));
	if (secret || xml_stream_secret(c->xml))
		gnutls_memset(data.data, 0, data.size);
	gnutls_packet_deinit(packet);
}

/* One record out of what was pulled. Returns false when there is no more for now. */
static bool
read_record(struct conn *c)
{
	gnutls_packet_t packet = NULL;
	ssize_t n = gnutls_record_recv_packet(c->tls, &packet);

	if (n > 0) {
		feed_record(c, packet);
		return true;
	}
	if (n == 0) {
		stream_lost(c, "closed by the peer");
		return false;
	}
	if (n == GNUTLS_E_AGAIN)
		return false;
	if (n == GNUTLS_E_INTERRUPTED || n == GNUTLS_E_WARNING_ALERT_RECEIVED)
		return true;
	stream_lost(c, n == GNUTLS_E_REHANDSHAKE ? "renegotiation" : gnutls_strerror((int)n));
	return false;
}

static void
read_records(struct conn *c)
{
	while (wants_input(c) && read_record(c))
		;
	/* What it has answered by itself, such as a key update. */
	if (buf_len(&c->wire) > WIRE_MAX) {
		COUNT(output_overflowed);
		stream_lost(c, "does not read");
	} else if (buf_len(&c->wire) != 0) {
		conn_touch(c);
	}
}

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
read_socket(struct conn *c)
{
	ssize_t n;

	if (choke(c))
		return;
	n = recv(c->fd, input, sizeof input, MSG_DONTWAIT);
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n <= 0) {
		stream_lost(c, n == 0 ? "closed by the peer" : strerror(errno));
		return;
	}
	c->heard = daemon_ticks();
	c->probed = false;
	if (c->tls == NULL) {
		stream_feed(c, slice_of(input, (size_t)n));
		return;
	}
	pulled = slice_of(input, (size_t)n);
	read_records(c);
	if (pulled.len != 0 && c->state == CONN_OPEN)
		buf_add_slice(&c->cipher, pulled);
	pulled = SLICE_NONE;
}

/* Reads what comes after the end of the stream, for nothing. */
static void
linger(struct conn *c)
{
	ssize_t n = recv(c->fd, input, sizeof input, MSG_DONTWAIT);

	if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR))
		conn_close(c);
}

static void
ready(uv_poll_t *poll, int status, int events)
{
	struct conn *c = (struct conn *)((char *)poll - offsetof(struct conn, poll));

	daemon_dirty();
	if (c->state == CONN_HANDSHAKE) {
		tls_step(c);
		return;
	}
	if (status < 0) {
		/* The socket has an error: reading tells which. */
		events = UV_READABLE;
		if (c->state == CONN_OPEN && c->blocked) {
			stream_lost(c, "connection broken");
			return;
		}
		if (c->state == CONN_FINISHING) {
			conn_close(c);
			return;
		}
	}
	if (events & UV_READABLE && c->state == CONN_LINGERING)
		linger(c);
	else if (events & UV_READABLE && wants_input(c))
		read_socket(c);
	if (events & UV_WRITABLE && c->state != CONN_DEAD) {
		c->write_blocked = false;
		conn_touch(c);
	}
}

void
conn_block(struct conn *c, bool blocked)
{
	if (c->blocked == blocked || c->state != CONN_OPEN)
		return;
	c->blocked = blocked;
	watch_again(c);
	if (!blocked && buf_len(&c->cipher) != 0)
		conn_touch(c);
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
		TAILQ_REMOVE(&choked, c, choke);
		c->choked = false;
		if (c->session != NULL)
			session_ease(c->session);
		else
			conn_block(c, false);
	}
}

/* -- writing ----------------------------------------------------------------------------------- */

struct buf *
conn_out(struct conn *c)
{
	conn_touch(c);
	borrow(&c->out);
	return &c->out;
}

void
conn_touch(struct conn *c)
{
	if (c->is_dirty || c->state == CONN_DEAD)
		return;
	c->is_dirty = true;
	TAILQ_INSERT_TAIL(&dirty, c, dirty);
	daemon_dirty();
}

uint64_t
conn_written(const struct conn *c)
{
	return c->sealed + buf_len(&c->out);
}

/* Sends what is in wire. Returns false when not all of it went. */
static bool
send_wire(struct conn *c)
{
	struct slice rest = buf_slice(&c->wire);
	ssize_t n;

	if (rest.len == 0)
		return true;
	n = send(c->fd, rest.ptr, rest.len, MSG_NOSIGNAL | MSG_DONTWAIT);
	if (n < 0 && errno != EAGAIN && errno != EINTR) {
		stream_lost(c, strerror(errno));
		return false;
	}
	if (n > 0)
		buf_consume(&c->wire, (size_t)n);
	if (buf_len(&c->wire) == 0)
		return true;
	c->write_blocked = true;
	return false;
}

/* Moves bytes from out to wire, encrypted if need be. wire is empty. Returns false on failure. */
static bool
seal(struct conn *c)
{
	size_t left = buf_len(&c->out);

	if (c->tls == NULL) {
		give_back(&c->wire);
		c->wire = c->out;
		c->out = (struct buf){ 0 };
		c->sealed += left;
		return true;
	}
	if (left > SEAL_SIZE)
		left = SEAL_SIZE;
	while (left > 0) {
		size_t len = left < RECORD_SIZE ? left : RECORD_SIZE;
		ssize_t n = gnutls_record_send(c->tls, buf_slice(&c->out).ptr, len);

		if (n <= 0) {
			stream_lost(c, gnutls_strerror((int)n));
			return false;
		}
		buf_consume(&c->out, (size_t)n);
		c->sealed += (size_t)n;
		left -= (size_t)n;
	}
	return true;
}

/* All was written after the end of the stream. Returns true when there is more to write. */
static bool
say_bye(struct conn *c)
{
	if (c->tls != NULL && !c->said_bye) {
		c->said_bye = true;
		gnutls_bye(c->tls, GNUTLS_SHUT_WR);
		return buf_len(&c->wire) != 0;
	}
	shutdown(c->fd, SHUT_WR);
	c->state = CONN_LINGERING;
	deadline_set(&c->deadline, LINGER_MS);
	return false;
}

/* One send(2), and the next bytes made ready for it. Returns whether to go on. */
static bool
write_round(struct conn *c)
{
	if (!send_wire(c))
		return false;
	if (c->session != NULL) {
		session_taken(c->session, c->sealed);
		if (c->session != NULL && c->state == CONN_OPEN)
			session_write(c->session);
	}
	if (c->state == CONN_DEAD)
		return false;
	if (buf_len(&c->out) != 0)
		return seal(c);
	return c->state == CONN_FINISHING && say_bye(c);
}

void
conn_flush(struct conn *c)
{
	unsigned round;

	if (c->state != CONN_OPEN && c->state != CONN_FINISHING)
		return;
	for (round = 0; round < WRITE_ROUNDS && !c->write_blocked && write_round(c); round++)
		;
	if (c->state == CONN_DEAD)
		return;
	if (round == WRITE_ROUNDS)
		c->write_blocked = true; /* goes on in the next iteration */
	give_back(&c->out);
	give_back(&c->wire);
	watch_again(c);
}

void
conns_flush(void)
{
	struct conn *c;
	bool was_blocked;

	while ((c = TAILQ_FIRST(&dirty)) != NULL) {
		if (wants_input(c) && buf_len(&c->cipher) != 0 && !choke(c))
			read_records(c);
		if (!c->is_dirty)
			continue;
		was_blocked = c->blocked;
		conn_flush(c);
		if (!c->is_dirty)
			continue;
		TAILQ_REMOVE(&dirty, c, dirty);
		c->is_dirty = false;
		/* What it had sent before it had to wait: the socket does not tell of it. */
		if (was_blocked && wants_input(c) && buf_len(&c->cipher) != 0)
			conn_touch(c);
	}
}
