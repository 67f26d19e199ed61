/*
 * key.c: private keys that authd holds (DESIGN promise 3): frames over the link between this
 * process and authd.
 *
 * key_use() is called by GnuTLS in the middle of a handshake, on a thread of the pool, and blocks
 * until authd has answered; key_link() is called on the loop. All threads may have a question under
 * way, as authd answers on threads too, and a token can take long. One thread that waits reads for
 * all:
 *
 *   ask -> WAITS           another reads; woken when its answer has come, or to read itself
 *            |
 *            v
 *          READS           until its own answer is there; then it wakes another to go on
 *
 * When authd is being restarted the questions wait for the new link and are asked again; so is one
 * about a key that authd does not have, since a new certificate may come here before its key has
 * come there. key_use() fails when no answer comes in time, and the handshake with it.
 */
#include "key.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/queue.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "buf.h"
#include "error.h"
#include "frame.h"

#define PATIENCE_MS 5000
#define SLICE_MS    50
#define READ_SIZE   8192u

/* What a thread has asked. */
struct question {
	LIST_ENTRY(question) all;
	struct frame frame;
	gnutls_datum_t *result;
	pthread_cond_t changed; /* it is done, or must read */
	bool sent;
	bool done;
	int64_t not_before;     /* milliseconds(), for the next attempt */
	int error;
};

static _Atomic int fresh = -1; /* a link that has not been taken over yet */

/* All that follows belongs to who has the lock; line is closed by the thread that reads only. */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static LIST_HEAD(, question) questions = LIST_HEAD_INITIALIZER(questions);
static bool reading;           /* a thread does */
static int line = -1;
static bool broken;            /* line is of no more use */
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

/* -- the link ---------------------------------------------------------------------------------- */

/* Drops a link that is broken, and takes over one that has come: then all is asked again. */
static void
renew(void)
{
	struct question *q;
	int fd = atomic_exchange(&fresh, -1);

	if (fd < 0 && !broken)
		return;
	if (line >= 0)
		close(line);
	line = fd;
	broken = false;
	buf_clear(&in);
	buf_clear(&out);
	LIST_FOREACH(q, &questions, all)
		q->sent = false;
}

/* Writes what has not been asked yet, as far as the socket takes it. */
static void
put(void)
{
	int64_t now = milliseconds();
	struct question *q;
	struct slice rest;
	ssize_t n;

	if (line < 0 || broken)
		return;
	LIST_FOREACH(q, &questions, all) {
		if (q->sent || q->done || q->not_before > now)
			continue;
		q->frame.number = ++number;
		q->sent = true;
		frame_write(&q->frame, &out);
	}
	rest = buf_slice(&out);
	if (rest.len == 0)
		return;
	n = send(line, rest.ptr, rest.len, MSG_NOSIGNAL | MSG_DONTWAIT);
	if (n > 0)
		buf_consume(&out, (size_t)n);
	else if (n < 0 && errno != EAGAIN && errno != EINTR)
		broken = true;
}

/* Reads what has come. Returns whether there was anything. */
static bool
get(void)
{
	ssize_t n = recv(line, buf_reserve(&in, READ_SIZE), READ_SIZE, MSG_DONTWAIT);

	if (n > 0)
		buf_added(&in, (size_t)n);
	else if (n == 0 || (errno != EAGAIN && errno != EINTR))
		broken = true;
	return n > 0;
}

/* Gives an answer to who has asked for it; one for nobody came too late. */
static void
answer(const struct frame *f)
{
	struct question *q;

	LIST_FOREACH(q, &questions, all) {
		if (q->sent && !q->done && q->frame.number == f->number)
			break;
	}
	if (q == NULL)
		return;
	q->error = E_FORBIDDEN;
	if (slice_is(f->condition, "item-not-found")) {
		q->sent = false;
		q->not_before = milliseconds() + SLICE_MS;
		return;
	}
	q->done = true;
	pthread_cond_signal(&q->changed);
	if (f->data.ptr == NULL || f->data.len == 0)
		return;
	q->result->data = gnutls_malloc(f->data.len);
	if (q->result->data == NULL)
		return;
	memcpy(q->result->data, f->data.ptr, f->data.len);
	q->result->size = (unsigned)f->data.len;
	q->error = OK;
}

/* Hands out the answers that were read. */
static void
hand_out(void)
{
	struct slice whole;
	struct frame f;
	int error;

	while ((error = frame_next(buf_slice(&in), &whole)) == OK) {
		if (frame_read(whole, &f) == OK && f.type == FRAME_KEY_RESULT)
			answer(&f);
		buf_consume(&in, whole.len);
	}
	if (error != E_AGAIN)
		broken = true;
}

/* -- threads ----------------------------------------------------------------------------------- */

/* Waits for the socket, for SLICE_MS at most, and handles what comes. Lets the lock go meanwhile. */
static void
read_for_all(void)
{
	struct pollfd p = { .events = POLLIN };

	renew();
	put();
	p.fd = broken ? -1 : line;
	if (buf_len(&out) != 0)
		p.events |= POLLOUT;
	reading = true;
	pthread_mutex_unlock(&lock);
	poll(&p, p.fd >= 0, SLICE_MS);
	pthread_mutex_lock(&lock);
	reading = false;
	if (p.fd >= 0 && get())
		hand_out();
}

/* Waits until the thread that reads has the answer, or has gone. */
static void
wait_for_reader(struct question *q)
{
	struct timespec t;

	clock_gettime(CLOCK_REALTIME, &t);
	t.tv_nsec += 2 * SLICE_MS * 1000000;
	t.tv_sec += t.tv_nsec / 1000000000;
	t.tv_nsec %= 1000000000;
	pthread_cond_timedwait(&q->changed, &lock, &t);
}

/* Asks a question and waits for the answer. */
static int
ask(const struct frame *f, gnutls_datum_t *result)
{
	int64_t until = milliseconds() + PATIENCE_MS;
	struct question q = {
		.frame = *f,
		.result = result,
		.changed = PTHREAD_COND_INITIALIZER,
		.error = E_AGAIN,
	};

	pthread_mutex_lock(&lock);
	LIST_INSERT_HEAD(&questions, &q, all);
	put();
	while (!q.done && milliseconds() < until) {
		if (reading)
			wait_for_reader(&q);
		else
			read_for_all();
	}
	LIST_REMOVE(&q, all);
	if (!reading && !LIST_EMPTY(&questions))
		pthread_cond_signal(&LIST_FIRST(&questions)->changed);
	pthread_mutex_unlock(&lock);
	return q.error;
}

int
key_use(const char *domain, const unsigned char id[KEY_ID_SIZE], const char *what,
    unsigned algorithm, const gnutls_datum_t *data, gnutls_datum_t *result)
{
	struct frame f = {
		.type = FRAME_KEY_USE,
		.domain = slice_string(domain),
		.token = slice_of(id, KEY_ID_SIZE),
		.name = slice_string(what),
		.archive_id = algorithm,
		.data = slice_of(data->data, data->size),
	};

	return ask(&f, result);
}

int
key_compare(const char *domain, const char *what, const gnutls_datum_t *data, const char *said)
{
	gnutls_datum_t right = { NULL, 0 };
	struct frame f = {
		.type = FRAME_KEY_USE,
		.domain = slice_string(domain),
		.name = slice_string(what),
		.archive_id = KEY_SECRET,
		.data = slice_of(data->data, data->size),
		.text = slice_string(said),
	};
	int error = ask(&f, &right);

	if (error == OK && (right.size != 1 || right.data[0] != 'y'))
		error = E_FORBIDDEN;
	gnutls_free(right.data);
	return error;
}

int
key_secret(const char *domain, const char *what, const gnutls_datum_t *data, gnutls_datum_t *result)
{
	struct frame f = {
		.type = FRAME_KEY_USE,
		.domain = slice_string(domain),
		.name = slice_string(what),
		.archive_id = KEY_SECRET,
		.data = slice_of(data->data, data->size),
	};

	return ask(&f, result);
}
