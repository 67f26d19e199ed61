/*
 * transport.c: the bytes of a connection, in and out, in clear or through TLS.
 *
 * The loop calls it for each ready socket; the daemon's streams append to its output, which is
 * written once at the end of the loop iteration. A readable socket costs one recv(2): GnuTLS takes
 * its records from what that has brought, and what it encrypts is gathered for one send(2).
 * Between iterations an idle connection has no buffers. Whatever fails ends the connection through
 * the hook lost().
 */
#include "transport.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

#include "counter.h"
#include "daemon.h"
#include "error.h"
#include "listener.h"
#include "log.h"
#include "tls.h"

#define READ_SIZE    65536u
#define RECORD_SIZE  16384u  /* of a TLS record */
#define SEAL_SIZE    65536u  /* encrypted at a time */
#define WRITE_ROUNDS 8u      /* of one connection before others get their turn */
#define LINGER_MS    3000u
#define FINISH_MS    5000u
#define SPARE_SIZE   (256u << 10)

#define WIRE_MAX     (2 * SEAL_SIZE) /* what we seal at a time, and what TLS says by itself */

TAILQ_HEAD(transports, transport);

static uv_loop_t *loop;
static size_t count;
static LIST_HEAD(, transport) all = LIST_HEAD_INITIALIZER(all);
static struct transports dirty = TAILQ_HEAD_INITIALIZER(dirty);

static char input[READ_SIZE];  /* as it came from the socket */
static struct slice pulled;    /* the part of input that GnuTLS has not taken */
static struct buf spares[2];   /* memory of output buffers, for whoever needs it next */

#define TRANSPORT_OF(handle, member) \
	((struct transport *)((char *)(handle) - offsetof(struct transport, member)))

static void ready(uv_poll_t *poll, int status, int events);
static void read_records(struct transport *t);

void
transports_start(uv_loop_t *l)
{
	loop = l;
}

size_t
transport_count(void)
{
	return count;
}

void
transports_gauges(void)
{
	const struct transport *t;
	size_t in = 0, out = 0;

	LIST_FOREACH(t, &all, all) {
		in += buf_len(&t->cipher);
		out += buf_len(&t->out) + buf_len(&t->wire);
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
			b->secret = false;
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
	struct transport *t = TRANSPORT_OF(d, deadline);

	t->hooks->due(t);
}

int
transport_open(struct transport *t, const struct transport_hooks *hooks, int fd,
    struct address *address, bool connecting)
{
	t->hooks = hooks;
	t->fd = fd;
	t->address = address;
	t->deadline.due = deadline_due;
	t->heard = daemon_ticks();
	if (uv_poll_init(loop, &t->poll, fd) != 0) {
		log_warn("connection refused", "reason=\"the loop does not take it\"");
		close(fd);
		address_drop(&t->address);
		return E_SYSTEM;
	}
	LIST_INSERT_HEAD(&all, t, all);
	count++;
	if (connecting)
		t->state = TRANSPORT_CONNECTING;
	transport_watch(t, connecting ? UV_WRITABLE : UV_READABLE);
	return OK;
}

static void
freed(uv_handle_t *handle)
{
	struct transport *t = TRANSPORT_OF(handle, poll);

	close(t->fd);
	if (t->tls != NULL)
		gnutls_deinit(t->tls);
	certificate_drop(&t->certificate);
	address_drop(&t->address);
	buf_free(&t->out);
	buf_free(&t->wire);
	buf_free(&t->cipher);
	LIST_REMOVE(t, all);
	t->hooks->freed(t);
	count--;
	listeners_resume();
}

void
transport_lose(struct transport *t, const char *why)
{
	t->hooks->lost(t, why);
	transport_close(t);
}

void
transport_close(struct transport *t)
{
	if (t->state != TRANSPORT_DEAD) {
		t->state = TRANSPORT_DEAD;
		deadline_clear(&t->deadline);
		t->hooks->lost(t, "closed");
		if (t->is_dirty)
			TAILQ_REMOVE(&dirty, t, dirty);
		t->is_dirty = false;
		tls_cancel(t);
	}
	if (t->threaded || uv_is_closing((uv_handle_t *)&t->poll))
		return;
	uv_close((uv_handle_t *)&t->poll, freed);
}

void
transport_finish(struct transport *t)
{
	if (t->state != TRANSPORT_OPEN) {
		if (t->state == TRANSPORT_HANDSHAKE || t->state == TRANSPORT_CONNECTING)
			transport_close(t);
		return;
	}
	t->state = TRANSPORT_FINISHING;
	t->blocked = true;
	deadline_set(&t->deadline, FINISH_MS);
	transport_touch(t);
}

void
transport_watch(struct transport *t, int events)
{
	if (t->watched == events || t->state == TRANSPORT_DEAD)
		return;
	t->watched = (uint8_t)events;
	if (events == 0)
		uv_poll_stop(&t->poll);
	else
		uv_poll_start(&t->poll, events, ready);
}

/* Watches for what an open or finishing connection waits for. */
static void
watch_again(struct transport *t)
{
	int events = (t->blocked ? 0 : UV_READABLE) | (t->write_blocked ? UV_WRITABLE : 0);

	if (t->state == TRANSPORT_LINGERING)
		events = UV_READABLE;
	transport_watch(t, events);
}

void
transport_secured(struct transport *t)
{
	t->state = TRANSPORT_OPEN;
	t->heard = daemon_ticks();
	watch_again(t);
	t->hooks->secured(t);
}

bool
transport_alive(const struct transport *t)
{
	struct tcp_info info = { 0 };
	socklen_t len = sizeof info;

	return getsockopt(t->fd, IPPROTO_TCP, TCP_INFO, &info, &len) == 0 &&
	    info.tcpi_unacked == 0 && info.tcpi_retransmits == 0 && buf_len(&t->wire) == 0;
}

/* -- transport functions of GnuTLS ------------------------------------------------------------- */

ssize_t
transport_pull(gnutls_transport_ptr_t arg, void *bytes, size_t len)
{
	struct transport *t = arg;
	struct slice from;

	if (t->threaded || t->state == TRANSPORT_HANDSHAKE)
		return recv(t->fd, bytes, len, MSG_DONTWAIT);
	from = buf_len(&t->cipher) != 0 ? buf_slice(&t->cipher) : pulled;
	if (from.len == 0) {
		errno = EAGAIN;
		return -1;
	}
	if (len > from.len)
		len = from.len;
	memcpy(bytes, from.ptr, len);
	if (buf_len(&t->cipher) != 0)
		buf_consume(&t->cipher, len);
	else
		pulled = slice_part(pulled, len, pulled.len);
	return (ssize_t)len;
}

ssize_t
transport_push(gnutls_transport_ptr_t arg, const void *bytes, size_t len)
{
	struct transport *t = arg;

	if (t->threaded || t->state == TRANSPORT_HANDSHAKE)
		return send(t->fd, bytes, len, MSG_NOSIGNAL | MSG_DONTWAIT);
	borrow(&t->wire);
	buf_add(&t->wire, bytes, len);
	return (ssize_t)len;
}

/* -- reading ----------------------------------------------------------------------------------- */

static bool
wants_input(const struct transport *t)
{
	return t->state == TRANSPORT_OPEN && !t->blocked;
}

/* Gives what is in a record to the stream. It is read where GnuTLS has put it, so that when there
 * was a password in it nothing of it is left. */
static void
feed_record(struct transport *t, gnutls_packet_t packet)
{
	gnutls_datum_t data;
	bool secret = t->hooks->is_secret(t);

	gnutls_packet_get(packet, &data, NULL);
	t->hooks->read(t, slice_of(data.data, data.size));
	if (secret || t->hooks->is_secret(t))
		gnutls_memset(data.data, 0, data.size);
	gnutls_packet_deinit(packet);
}

/* Bytes of the peer that GnuTLS has not taken yet. */
static size_t
unread(const struct transport *t)
{
	return buf_len(&t->cipher) + pulled.len;
}

/* One record out of what was pulled. Returns false when there is no more for now. */
static bool
read_record(struct transport *t)
{
	gnutls_packet_t packet = NULL;
	char reason[TLS_REASON_SIZE];
	size_t before = unread(t);
	ssize_t n = gnutls_record_recv_packet(t->tls, &packet);

	if (n > 0) {
		feed_record(t, packet);
		return true;
	}
	if (n == 0) {
		transport_lose(t, "closed by the peer");
		return false;
	}
	/* It says so too after a record that has nothing for us, such as a session ticket. */
	if (n == GNUTLS_E_AGAIN)
		return unread(t) != 0 && unread(t) < before;
	if (n == GNUTLS_E_INTERRUPTED || n == GNUTLS_E_WARNING_ALERT_RECEIVED)
		return true;
	transport_lose(t, n == GNUTLS_E_REHANDSHAKE ? "renegotiation" :
	    tls_reason(t, (int)n, reason));
	return false;
}

static void
read_records(struct transport *t)
{
	while (wants_input(t) && read_record(t))
		;
	/* What it has answered by itself, such as a key update. */
	if (buf_len(&t->wire) > WIRE_MAX) {
		COUNT(output_overflowed);
		transport_lose(t, "does not read");
	} else if (buf_len(&t->wire) != 0) {
		transport_touch(t);
	}
}

static void
read_socket(struct transport *t)
{
	ssize_t n;

	if (!t->hooks->may_read(t))
		return;
	n = recv(t->fd, input, sizeof input, MSG_DONTWAIT);
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n <= 0) {
		transport_lose(t, n == 0 ? "closed by the peer" : strerror(errno));
		return;
	}
	t->heard = daemon_ticks();
	if (t->tls == NULL) {
		t->hooks->read(t, slice_of(input, (size_t)n));
		return;
	}
	pulled = slice_of(input, (size_t)n);
	read_records(t);
	if (pulled.len != 0 && t->state == TRANSPORT_OPEN)
		buf_add_slice(&t->cipher, pulled);
	pulled = SLICE_NONE;
}

/* Reads what comes after the end of the stream, for nothing. */
static void
linger(struct transport *t)
{
	ssize_t n = recv(t->fd, input, sizeof input, MSG_DONTWAIT);

	if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR))
		transport_close(t);
}

/* A socket of ours is connected, or is not going to be. */
static void
connected(struct transport *t, int status)
{
	int error = 0;
	socklen_t len = sizeof error;

	if (getsockopt(t->fd, SOL_SOCKET, SO_ERROR, &error, &len) != 0)
		error = errno;
	if (error == 0 && status < 0)
		error = -status;
	if (error != 0) {
		transport_lose(t, strerror(error));
		return;
	}
	t->state = TRANSPORT_OPEN;
	t->heard = daemon_ticks();
	watch_again(t);
	transport_touch(t);
	t->hooks->connected(t);
}

static void
ready(uv_poll_t *poll, int status, int events)
{
	struct transport *t = TRANSPORT_OF(poll, poll);

	daemon_dirty();
	if (status < 0)
		t->watched = 0; /* libuv has stopped watching it */
	if (t->state == TRANSPORT_HANDSHAKE) {
		tls_step(t);
		return;
	}
	if (t->state == TRANSPORT_CONNECTING) {
		connected(t, status);
		return;
	}
	if (status < 0) {
		/* The socket has an error: reading tells which. */
		events = UV_READABLE;
		if (t->state == TRANSPORT_OPEN && t->blocked) {
			transport_lose(t, "connection broken");
			return;
		}
		if (t->state == TRANSPORT_FINISHING) {
			transport_close(t);
			return;
		}
	}
	if (events & UV_READABLE && t->state == TRANSPORT_LINGERING)
		linger(t);
	else if (events & UV_READABLE && wants_input(t))
		read_socket(t);
	if (events & UV_WRITABLE && t->state != TRANSPORT_DEAD) {
		t->write_blocked = false;
		transport_touch(t);
	}
	/* What had come before the error was read first. */
	if (status < 0)
		watch_again(t);
}

void
transport_block(struct transport *t, bool blocked)
{
	if (t->blocked == blocked || t->state != TRANSPORT_OPEN)
		return;
	t->blocked = blocked;
	watch_again(t);
	if (!blocked && buf_len(&t->cipher) != 0)
		transport_touch(t);
}

/* -- writing ----------------------------------------------------------------------------------- */

struct buf *
transport_out(struct transport *t)
{
	transport_touch(t);
	borrow(&t->out);
	return &t->out;
}

void
transport_touch(struct transport *t)
{
	if (t->is_dirty || t->state == TRANSPORT_DEAD)
		return;
	t->is_dirty = true;
	TAILQ_INSERT_TAIL(&dirty, t, dirty);
	daemon_dirty();
}

uint64_t
transport_written(const struct transport *t)
{
	return t->sealed + buf_len(&t->out);
}

/* Sends what is in wire. Returns false when not all of it went. */
static bool
send_wire(struct transport *t)
{
	struct slice rest = buf_slice(&t->wire);
	ssize_t n;

	if (rest.len == 0)
		return true;
	n = send(t->fd, rest.ptr, rest.len, MSG_NOSIGNAL | MSG_DONTWAIT);
	if (n < 0 && errno != EAGAIN && errno != EINTR) {
		transport_lose(t, strerror(errno));
		return false;
	}
	if (n > 0)
		buf_consume(&t->wire, (size_t)n);
	if (buf_len(&t->wire) == 0)
		return true;
	t->write_blocked = true;
	return false;
}

/* Moves bytes from out to wire, encrypted if need be. wire is empty. Returns false on failure. */
static bool
seal(struct transport *t)
{
	size_t left = buf_len(&t->out);

	if (t->tls == NULL) {
		give_back(&t->wire);
		t->wire = t->out;
		t->out = (struct buf){ 0 };
		t->sealed += left;
		return true;
	}
	if (left > SEAL_SIZE)
		left = SEAL_SIZE;
	while (left > 0) {
		size_t len = left < RECORD_SIZE ? left : RECORD_SIZE;
		ssize_t n = gnutls_record_send(t->tls, buf_slice(&t->out).ptr, len);

		if (n <= 0) {
			transport_lose(t, gnutls_strerror((int)n));
			return false;
		}
		buf_consume(&t->out, (size_t)n);
		t->sealed += (size_t)n;
		left -= (size_t)n;
	}
	return true;
}

/* All was written after the end of the stream. Returns true when there is more to write. */
static bool
say_bye(struct transport *t)
{
	if (t->tls != NULL && !t->said_bye) {
		t->said_bye = true;
		gnutls_bye(t->tls, GNUTLS_SHUT_WR);
		return buf_len(&t->wire) != 0;
	}
	shutdown(t->fd, SHUT_WR);
	t->state = TRANSPORT_LINGERING;
	deadline_set(&t->deadline, LINGER_MS);
	return false;
}

/* One send(2), and the next bytes made ready for it. Returns whether to go on. */
static bool
write_round(struct transport *t)
{
	if (!send_wire(t))
		return false;
	t->hooks->wrote(t);
	if (t->state == TRANSPORT_DEAD)
		return false;
	if (buf_len(&t->out) != 0)
		return seal(t);
	return t->state == TRANSPORT_FINISHING && say_bye(t);
}

void
transport_flush(struct transport *t)
{
	unsigned round;

	if (t->state != TRANSPORT_OPEN && t->state != TRANSPORT_FINISHING)
		return;
	for (round = 0; round < WRITE_ROUNDS && !t->write_blocked && write_round(t); round++)
		;
	if (t->state == TRANSPORT_DEAD)
		return;
	if (round == WRITE_ROUNDS)
		t->write_blocked = true; /* goes on in the next iteration */
	give_back(&t->out);
	give_back(&t->wire);
	watch_again(t);
}

void
transports_flush(void)
{
	struct transport *t;
	bool was_blocked;

	while ((t = TAILQ_FIRST(&dirty)) != NULL) {
		if (wants_input(t) && buf_len(&t->cipher) != 0 && t->hooks->may_read(t))
			read_records(t);
		if (!t->is_dirty)
			continue;
		was_blocked = t->blocked;
		transport_flush(t);
		if (!t->is_dirty)
			continue;
		TAILQ_REMOVE(&dirty, t, dirty);
		t->is_dirty = false;
		/* What it had sent before it had to wait: the socket does not tell of it. */
		if (was_blocked && wants_input(t) && buf_len(&t->cipher) != 0)
			transport_touch(t);
	}
}
