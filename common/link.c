/*
 * link.c: frames over sockets between processes. Called by daemon.c for the link to the router, by
 * the router for its links to all, and by c2sd and authd for the link between them.
 *
 * Output gathers in a buffer per link and is written by a prepare handle, the last thing that the
 * loop does before it waits: so one iteration makes one send(2) a link. A link ends when the other
 * process dies, sends what is no frame, or does not read for so long that its output passes
 * OUTPUT_MAX. Who sends is to stop long before that: link_full() and drained() say when. Input is
 * never more than one frame and what one recv(2) brings.
 */
#include "link.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/queue.h>
#include <sys/socket.h>
#include <unistd.h>

#include "counter.h"
#include "error.h"
#include "log.h"
#include "mem.h"

#define READ_SIZE   (256u << 10) /* bytes of one recv(2) */
#define READ_ROUNDS 8            /* recv(2) calls before others get their turn */
#define KEEP_SIZE   (64u << 10)  /* memory that an empty buffer keeps */
#define FULL_MARK   (4u << 20)
#define LOW_PART    4            /* drained() comes when less than this part of it is left */
#define OUTPUT_MAX  (256u << 20)

struct link {
	uv_poll_t poll;
	TAILQ_ENTRY(link) all;
	TAILQ_ENTRY(link) dirty;   /* output to be written before the loop waits */
	TAILQ_ENTRY(link) resumed; /* input to be handed out, after a pause */
	int fd;
	enum role peer;
	unsigned index;
	uint32_t incarnation;
	const struct link_events *events;
	void *arg;
	void *data;
	struct buf in;             /* the beginning of a frame, or what came before a pause */
	struct buf out;
	size_t full;               /* bytes of output above which link_full() is true */
	int watched;               /* events that the poll handle waits for */
	uint64_t refused;          /* frames dropped */
	bool is_dirty, is_resumed;
	bool paused;
	bool was_full;             /* drained() is owed */
	bool overflowed;
	bool closed;
};

TAILQ_HEAD(links, link);

/* One loop a process, so this is shared by all links. */
static struct {
	uv_prepare_t prepare;
	bool started;
	void (*before)(void);
	struct links all, dirty, resumed;
} flusher = {
	.all = TAILQ_HEAD_INITIALIZER(flusher.all),
	.dirty = TAILQ_HEAD_INITIALIZER(flusher.dirty),
	.resumed = TAILQ_HEAD_INITIALIZER(flusher.resumed),
};

static char shared[READ_SIZE];

static void link_ready(uv_poll_t *poll, int status, int events);

static void
link_freed(uv_handle_t *handle)
{
	struct link *link = handle->data;

	buf_free(&link->in);
	buf_free(&link->out);
	free(link);
}

/* Closes the socket; the memory goes when the loop has let go of it. */
static void
link_end(struct link *link)
{
	link->closed = true;
	TAILQ_REMOVE(&flusher.all, link, all);
	if (link->is_dirty)
		TAILQ_REMOVE(&flusher.dirty, link, dirty);
	if (link->is_resumed)
		TAILQ_REMOVE(&flusher.resumed, link, resumed);
	link->is_dirty = link->is_resumed = false;
	uv_close((uv_handle_t *)&link->poll, link_freed);
	close(link->fd);
}

/* Ends a link that is of no more use, and says so. */
static void
link_lost(struct link *link, const char *reason)
{
	if (link->closed)
		return;
	log_debug("link closed", "peer=%s index=%u reason=\"%s\"", role_text(link->peer),
	    link->index, reason);
	link_end(link);
	link->events->closed(link->arg, link);
}

/* Has the loop wait for what matters now. */
static void
link_watch(struct link *link, bool writing)
{
	int events = (link->paused ? UV_DISCONNECT : UV_READABLE) | (writing ? UV_WRITABLE : 0);

	if (link->closed || events == link->watched)
		return;
	link->watched = events;
	uv_poll_start(&link->poll, events, link_ready);
}

static void
mark_dirty(struct link *link)
{
	if (link->is_dirty)
		return;
	link->is_dirty = true;
	TAILQ_INSERT_TAIL(&flusher.dirty, link, dirty);
}

void
link_refuse(struct link *link, enum frame_type type, const char *reason)
{
	COUNT(frames_refused);
	link->refused++;
	if ((link->refused & (link->refused - 1)) == 0)
		log_warn("frame refused", "peer=%s index=%u type=%s reason=\"%s\" refused=%llu",
		    role_text(link->peer), link->index, frame_text(type), reason,
		    (unsigned long long)link->refused);
}

/* Hands one frame out if its sender may send it. */
static void
deliver_one(struct link *link, struct slice whole)
{
	struct frame f;

	COUNT(frames_in);
	if (frame_read(whole, &f))
		link_refuse(link, FRAME_NONE, "malformed");
	else if ((frame_senders(f.type) & ROLE_BIT(link->peer)) == 0)
		link_refuse(link, f.type, "not for this role");
	else
		link->events->frame(link->arg, link, &f, whole);
}

/* Hands out the whole frames in bytes, and wipes those that are secret; returns how many bytes they
 * were. */
static size_t
deliver(struct link *link, struct slice bytes)
{
	size_t done = 0;
	int error = OK;
	bool secret;

	while (!link->closed && !link->paused) {
		struct slice whole;

		error = frame_next(slice_part(bytes, done, bytes.len), &whole);
		if (error)
			break;
		done += whole.len;
		secret = frame_is_secret(whole);
		deliver_one(link, whole);
		if (secret)
			explicit_bzero((char *)(uintptr_t)whole.ptr, whole.len);
	}
	if (!link->closed && error != OK && error != E_AGAIN) {
		log_warn("link malformed", "peer=%s index=%u reason=\"%s\"", role_text(link->peer),
		    link->index, error_text(error));
		link_lost(link, error_text(error));
	}
	return done;
}

/* Whether what was not handed out may be secret: the beginning of a frame, or more of them when the
 * link was paused. */
static bool
rest_is_secret(const struct link *link, struct slice rest)
{
	return link->paused || frame_is_secret(rest);
}

/* Hands out what is in the link's own buffer. */
static void
deliver_kept(struct link *link)
{
	size_t done = deliver(link, buf_slice(&link->in));

	if (link->closed)
		return;
	buf_consume(&link->in, done);
	link->in.secret = rest_is_secret(link, buf_slice(&link->in));
	buf_trim(&link->in, KEEP_SIZE);
}

/* Keeps what was not handed out of the shared buffer. */
static void
keep(struct link *link, char *bytes, size_t len)
{
	link->in.secret = rest_is_secret(link, slice_of(bytes, len));
	buf_add(&link->in, bytes, len);
	if (link->in.secret)
		explicit_bzero(bytes, len);
}

/* How much to read so that the frame that has begun becomes whole, and not much more. */
static size_t
missing(const struct link *link)
{
	struct slice have = buf_slice(&link->in);
	uint32_t len;

	if (have.len < sizeof len)
		return KEEP_SIZE;
	memcpy(&len, have.ptr, sizeof len);
	return len > have.len && len - have.len > KEEP_SIZE ? len - have.len : KEEP_SIZE;
}

/* Reads once; returns true when there may be more. */
static bool
read_once(struct link *link)
{
	bool own = buf_len(&link->in) != 0;
	size_t room = own ? missing(link) : sizeof shared;
	char *at = own ? buf_reserve(&link->in, room) : shared;
	ssize_t got;

	do
		got = recv(link->fd, at, room, MSG_DONTWAIT);
	while (got < 0 && errno == EINTR);
	if (got < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
		return false;
	if (got <= 0) {
		link_lost(link, got == 0 ? "end of stream" : strerror(errno));
		return false;
	}
	if (own) {
		buf_added(&link->in, (size_t)got);
		deliver_kept(link);
	} else {
		size_t done = deliver(link, slice_of(shared, (size_t)got));

		if (!link->closed)
			keep(link, shared + done, (size_t)got - done);
	}
	return (size_t)got == room && !link->closed && !link->paused;
}

/* Writes what it can. What remains goes on when the socket takes more. */
static void
link_write(struct link *link)
{
	struct slice bytes = buf_slice(&link->out);
	ssize_t sent = 0;

	if (link->overflowed) {
		COUNT(links_lost);
		log_error("link full", "peer=%s index=%u bytes=%zu", role_text(link->peer),
		    link->index, bytes.len);
		link_lost(link, "it does not read");
		return;
	}
	if (bytes.len != 0) {
		do
			sent = send(link->fd, bytes.ptr, bytes.len, MSG_NOSIGNAL | MSG_DONTWAIT);
		while (sent < 0 && errno == EINTR);
		if (sent < 0 && errno != EAGAIN && errno != EWOULDBLOCK && errno != ENOBUFS) {
			/* The frames that wait to be read come first: the reader finds the end. */
			buf_free(&link->out);
			if (link->paused)
				link_lost(link, "not connected");
			return;
		}
		if (sent > 0)
			buf_consume(&link->out, (size_t)sent);
		if (buf_len(&link->out) == 0)
			link->out.secret = false;
		buf_trim(&link->out, KEEP_SIZE);
	}
	link_watch(link, buf_len(&link->out) != 0 || link->was_full);
}

static void
link_ready(uv_poll_t *poll, int status, int events)
{
	struct link *link = poll->data;
	unsigned round = 0;

	if (status < 0) {
		/* The other process has died; what it said before still counts. */
		link->watched = 0;
		while (!link->paused && read_once(link))
			;
		link_lost(link, "not connected");
		return;
	}
	if (link->paused && (events & UV_DISCONNECT) != 0) {
		link_lost(link, "not connected");
		return;
	}
	if ((events & UV_READABLE) != 0) {
		while (!link->closed && !link->paused && round++ < READ_ROUNDS && read_once(link))
			;
	}
	if (link->closed || (events & UV_WRITABLE) == 0)
		return;
	link_write(link);
	if (!link->closed && link->was_full && buf_len(&link->out) < link->full / LOW_PART) {
		link->was_full = false;
		link_watch(link, buf_len(&link->out) != 0);
		if (link->events->drained != NULL)
			link->events->drained(link->arg, link);
	}
}

/* The last thing before the loop waits: hands out, lets the daemon finish, writes. */
static void
flush(uv_prepare_t *prepare)
{
	struct link *link;

	(void)prepare;
	while ((link = TAILQ_FIRST(&flusher.resumed)) != NULL) {
		TAILQ_REMOVE(&flusher.resumed, link, resumed);
		link->is_resumed = false;
		deliver_kept(link);
	}
	if (flusher.before != NULL)
		flusher.before();
	while ((link = TAILQ_FIRST(&flusher.dirty)) != NULL) {
		TAILQ_REMOVE(&flusher.dirty, link, dirty);
		link->is_dirty = false;
		/* A socket that takes no more goes on by itself. */
		if ((link->watched & UV_WRITABLE) == 0 || link->overflowed)
			link_write(link);
	}
}

static void
flusher_start(uv_loop_t *loop)
{
	if (flusher.started)
		return;
	flusher.started = true;
	uv_prepare_init(loop, &flusher.prepare);
	uv_prepare_start(&flusher.prepare, flush);
	uv_unref((uv_handle_t *)&flusher.prepare);
}

void
link_before_flush(uv_loop_t *loop, void (*before)(void))
{
	flusher_start(loop);
	flusher.before = before;
}

struct link *
link_new(uv_loop_t *loop, int fd, enum role peer, unsigned index, uint32_t incarnation,
    const struct link_events *events, void *arg)
{
	struct link *link = mem_alloc(sizeof *link);

	flusher_start(loop);
	link->fd = fd;
	link->peer = peer;
	link->index = index;
	link->incarnation = incarnation;
	link->events = events;
	link->arg = arg;
	link->full = FULL_MARK;
	TAILQ_INSERT_TAIL(&flusher.all, link, all);
	ASSERT(uv_poll_init(loop, &link->poll, fd) == 0);
	link->poll.data = link;
	link_watch(link, false);
	return link;
}

void
link_close(struct link **link)
{
	if (*link == NULL)
		return;
	if (!(*link)->closed)
		link_end(*link);
	*link = NULL;
}

/* What every sent frame does besides being appended. */
static void
queued(struct link *link)
{
	COUNT(frames_out);
	if (buf_len(&link->out) > link->full && !link->was_full) {
		link->was_full = true;
		COUNT(links_full);
	}
	if (buf_len(&link->out) > OUTPUT_MAX)
		link->overflowed = true;
	mark_dirty(link);
}

int
link_send(struct link *link, const struct frame *f)
{
	int error;

	if (link->closed || link->overflowed)
		return E_CLOSED;
	if ((frame_senders(f->type) & IS_SECRET) != 0 || (f->flags & FLAG_SECRET) != 0)
		link->out.secret = true; /* until it is empty */
	error = frame_write(f, &link->out);
	if (error) {
		log_warn("frame too large", "peer=%s type=%s", role_text(link->peer),
		    frame_text(f->type));
		return error;
	}
	queued(link);
	return OK;
}

void
link_send_raw(struct link *link, struct slice frame)
{
	if (link->closed || link->overflowed)
		return;
	if (frame_is_secret(frame))
		link->out.secret = true;
	buf_add_slice(&link->out, frame);
	queued(link);
}

bool
link_full(const struct link *link)
{
	return buf_len(&link->out) > link->full;
}

void
link_set_full(struct link *link, size_t bytes)
{
	link->full = bytes;
}

void
link_gauges(void)
{
	const struct link *link;
	size_t in = 0, out = 0;

	TAILQ_FOREACH(link, &flusher.all, all) {
		in += buf_len(&link->in);
		out += buf_len(&link->out);
	}
	GAUGE(link_input, in);
	GAUGE(link_output, out);
}

size_t
link_pending(const struct link *link)
{
	return buf_len(&link->out);
}

void
link_pause(struct link *link, bool paused)
{
	if (link->closed || link->paused == paused)
		return;
	link->paused = paused;
	link_watch(link, (link->watched & UV_WRITABLE) != 0);
	if (!paused && buf_len(&link->in) != 0 && !link->is_resumed) {
		link->is_resumed = true;
		TAILQ_INSERT_TAIL(&flusher.resumed, link, resumed);
	}
}

enum role
link_peer(const struct link *link)
{
	return link->peer;
}

unsigned
link_index(const struct link *link)
{
	return link->index;
}

uint32_t
link_incarnation(const struct link *link)
{
	return link->incarnation;
}

void *
link_data(const struct link *link)
{
	return link->data;
}

void
link_set_data(struct link *link, void *data)
{
	link->data = data;
}
