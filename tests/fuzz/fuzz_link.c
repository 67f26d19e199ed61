/*
 * fuzz_link.c: a link over a real socket, whose other end sends anything in any pieces.
 *
 * Input: a byte of choice (who is at the other end, and with which frame the link is paused), then
 * what that end writes, in pieces: a byte of length (times 16), then the bytes. A length of 0
 * pauses the link for the next piece, 255 has it send a frame of its own.
 * Asserts: exactly those frames are handed out, in order, that frame_next() and frame_read() find
 * in the same bytes and whose type that role may send; the link closes once, when the bytes cannot
 * be understood or at their end, and not before; a paused link hands out nothing.
 *
 * Options: -max_len=4096
 */
#include "fuzz.h"

#include <sys/socket.h>
#include <unistd.h>

#include "link.h"

static uv_loop_t *loop;
static struct link *link_open;
static bool paused;
static unsigned pause_at;  /* with this frame, in its callback, the link is paused; 0: with none */
static unsigned count;
static unsigned closed_count;
static struct buf handed; /* whole frames, in order */

static void
on_frame(void *arg, struct link *link, const struct frame *f, struct slice whole)
{
	(void)arg;
	CHECK(link == link_open && !paused && closed_count == 0);
	CHECK((frame_senders(f->type) & ROLE_BIT(link_peer(link))) != 0);
	buf_add_slice(&handed, whole);
	if (++count == pause_at) {
		paused = true;
		link_pause(link, true);
	}
}

static void
on_closed(void *arg, struct link *link)
{
	(void)arg;
	CHECK(link == link_open);
	closed_count++;
	link_open = NULL;
}

static const struct link_events events = { on_frame, on_closed, NULL };

static void
turn(void)
{
	int i;

	for (i = 0; i < 3; i++)
		uv_run(loop, UV_RUN_NOWAIT);
}

/* What must have been handed out of these bytes. Returns whether they can be understood. */
static bool
expected(struct slice bytes, enum role peer, struct buf *out)
{
	struct slice whole;
	struct frame f;
	int error;

	while ((error = frame_next(bytes, &whole)) == OK) {
		bytes = slice_part(bytes, whole.len, bytes.len);
		if (frame_read(whole, &f) == OK && (frame_senders(f.type) & ROLE_BIT(peer)) != 0)
			buf_add_slice(out, whole);
	}
	return error == E_AGAIN;
}

static void
set_paused(bool wanted)
{
	paused = wanted;
	if (link_open != NULL)
		link_pause(link_open, wanted);
	turn();
}

/* One piece. Returns false when the other end can write no more. */
static bool
piece(struct fuzz *f, int fd, struct buf *written)
{
	static const struct frame ours = { .type = FRAME_RESEND, .handle = 7 };
	uint8_t len = fuzz_byte(f);
	struct slice bytes;

	if (len == 0)
		set_paused(!paused);
	if (len == 255 && link_open != NULL)
		CHECK(link_send(link_open, &ours) == OK);
	bytes = fuzz_take(f, (size_t)(len == 255 ? 1 : len) * 16);
	if (bytes.len != 0 && send(fd, bytes.ptr, bytes.len, MSG_NOSIGNAL | MSG_DONTWAIT) !=
	    (ssize_t)bytes.len)
		return false;
	buf_add_slice(written, bytes);
	turn();
	return true;
}

int
LLVMFuzzerInitialize(int *argc, char ***argv)
{
	(void)argc;
	(void)argv;
	loop = uv_default_loop();
	return 0;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const enum role roles[] = { ROLE_C2SD, ROLE_ROUTER, ROLE_AUTHD, ROLE_ARCHIVED };
	struct fuzz f = fuzz_begin(data, size);
	uint8_t choice = fuzz_byte(&f);
	enum role peer = roles[choice % 4];
	struct buf written = { 0 }, wanted = { 0 };
	bool understood;
	int fds[2];

	CHECK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fds) == 0);
	closed_count = count = 0;
	pause_at = choice / 16;
	link_open = link_new(loop, fds[0], peer, 0, 3, &events, NULL);
	while (fuzz_left(&f) != 0 && piece(&f, fds[1], &written))
		;
	set_paused(false);
	if (paused) /* by the frame that has come only now */
		set_paused(false);
	understood = expected(buf_slice(&written), peer, &wanted);
	CHECK(slice_equal(buf_slice(&handed), buf_slice(&wanted)));
	CHECK(closed_count == (understood ? 0 : 1));
	close(fds[1]);
	turn();
	CHECK(closed_count == 1 && link_open == NULL);
	CHECK(slice_equal(buf_slice(&handed), buf_slice(&wanted)));
	buf_clear(&handed);
	buf_trim(&handed, 0);
	buf_free(&written);
	buf_free(&wanted);
	return 0;
}
