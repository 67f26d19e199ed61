/*
 * key.c: private keys that authd holds (DESIGN promise 3): one exchange of frames at a time over
 * the link between this process and authd.
 *
 * key_use() is called by GnuTLS in the middle of a handshake, on a thread of the pool, and blocks
 * until authd has answered; key_link() is called on the loop. A signature is small and quick, so
 * the threads take turns. When authd is being restarted key_use() waits for the new link. It fails
 * when no answer comes in time, and the handshake with it.
 */
#include "c2sd.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "error.h"

#define PATIENCE_MS 5000
#define SLICE_MS    50
#define READ_SIZE   8192u

static pthread_mutex_t turn = PTHREAD_MUTEX_INITIALIZER;
static _Atomic int fresh = -1; /* a link that key_use() has not yet taken over */

/* Of whose turn it is. */
static int line = -1;
static uint64_t number;
static struct buf in = { .secret = true }, out; /* a result may be the secret of a TLS session */

void
key_link(int fd)
{
	int old = atomic_exchange(&fresh, fd);

	if (old >= 0)
		close(old);
}

static int64_t
milliseconds(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static void
hang_up(void)
{
	if (line >= 0)
		close(line);
	line = -1;
	buf_clear(&in);
}

/* Takes over a link that has come; true when there is a new one. */
static bool
renew(void)
{
	int fd = atomic_exchange(&fresh, -1);

	if (fd < 0)
		return false;
	hang_up();
	line = fd;
	return true;
}

/* Waits for the link to become ready, for SLICE_MS at most. */
static void
wait_for(short events)
{
	struct pollfd p = { .fd = line, .events = events };

	poll(&p, line >= 0, SLICE_MS);
}

/* Writes what is in out. Returns 0, E_AGAIN, or E_CLOSED. */
static int
put(void)
{
	struct slice rest = buf_slice(&out);
	ssize_t n;

	if (rest.len == 0)
		return OK;
	n = send(line, rest.ptr, rest.len, MSG_NOSIGNAL | MSG_DONTWAIT);
	if (n > 0)
		buf_consume(&out, (size_t)n);
	else if (errno != EAGAIN && errno != EINTR)
		return E_CLOSED;
	return buf_len(&out) == 0 ? OK : E_AGAIN;
}

/* Reads more bytes. Returns 0, E_AGAIN, or E_CLOSED. */
static int
get(void)
{
	ssize_t n = recv(line, buf_reserve(&in, READ_SIZE), READ_SIZE, MSG_DONTWAIT);

	if (n > 0)
		buf_added(&in, (size_t)n);
	else if (n == 0 || (errno != EAGAIN && errno != EINTR))
		return E_CLOSED;
	return n > 0 ? OK : E_AGAIN;
}

/* Takes the frame of an answer. Returns 0, E_FORBIDDEN, E_NOT_FOUND, or E_AGAIN when it is not our
 * answer. */
static int
take_answer(struct slice whole, gnutls_datum_t *result)
{
	struct frame f;

	if (frame_read(whole, &f) != OK || f.type != FRAME_KEY_RESULT || f.number != number)
		return E_AGAIN;
	if (f.data.ptr == NULL || f.data.len == 0)
		return slice_is(f.condition, "item-not-found") ? E_NOT_FOUND : E_FORBIDDEN;
	result->data = gnutls_malloc(f.data.len);
	if (result->data == NULL)
		return E_FORBIDDEN;
	memcpy(result->data, f.data.ptr, f.data.len);
	result->size = (unsigned)f.data.len;
	return OK;
}

/* Looks for the answer in what was read; E_AGAIN when it is not there. */
static int
find_answer(gnutls_datum_t *result)
{
	struct slice whole;
	int error;

	while ((error = frame_next(buf_slice(&in), &whole)) == OK) {
		error = take_answer(whole, result);
		buf_consume(&in, whole.len);
		if (error != E_AGAIN)
			return error;
	}
	return error == E_AGAIN ? E_AGAIN : E_CLOSED;
}

/* One attempt over the link there is. Returns 0, E_FORBIDDEN, E_AGAIN after until, E_CLOSED. */
static int
exchange(const struct frame *question, int64_t until, gnutls_datum_t *result)
{
	int error = E_AGAIN;

	buf_clear(&out);
	frame_write(question, &out);
	while (error == E_AGAIN && milliseconds() < until) {
		error = put();
		if (error == E_AGAIN)
			wait_for(POLLOUT);
	}
	if (error != OK)
		return error;
	for (error = E_AGAIN; error == E_AGAIN && milliseconds() < until; ) {
		wait_for(POLLIN);
		error = get();
		if (error == OK)
			error = find_answer(result);
		if (error == E_AGAIN && atomic_load(&fresh) >= 0)
			error = E_CLOSED; /* authd was restarted: ask the new one */
	}
	return error;
}

int
key_use(const char *domain, const unsigned char id[KEY_ID_SIZE], const char *what,
    unsigned algorithm, const gnutls_datum_t *data, gnutls_datum_t *result)
{
	int64_t until = milliseconds() + PATIENCE_MS;
	struct frame f = {
		.type = FRAME_KEY_USE,
		.domain = slice_string(domain),
		.token = slice_of(id, KEY_ID_SIZE),
		.name = slice_string(what),
		.archive_id = algorithm,
		.data = slice_of(data->data, data->size),
	};
	int error = E_AGAIN;

	pthread_mutex_lock(&turn);
	while (milliseconds() < until) {
		if (!renew() && line < 0) {
			wait_for(0);
			continue;
		}
		f.number = ++number;
		error = exchange(&f, until, result);
		if (error == E_NOT_FOUND) {
			/* A new certificate has come here before its key has come to authd. */
			pthread_mutex_unlock(&turn);
			poll(NULL, 0, SLICE_MS);
			pthread_mutex_lock(&turn);
		} else if (error != E_CLOSED) {
			break;
		} else {
			hang_up();
			error = E_AGAIN;
		}
	}
	pthread_mutex_unlock(&turn);
	return error == E_NOT_FOUND ? E_FORBIDDEN : error;
}
