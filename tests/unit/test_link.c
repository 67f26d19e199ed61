/* test_link.c: frames over a socket, with another process that is cut short, malicious or slow. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "counter.h"
#include "error.h"
#include "link.h"

static uv_loop_t loop;
static int other; /* our end of the socket at which the other process would be */
static struct link *subject;

static struct {
	size_t frames, closed, drained;
	uint64_t numbers[64];
	size_t payload;
	bool pause_each, close_on_frame;
} seen;

static void
on_frame(void *arg, struct link *l, const struct frame *f, struct slice whole)
{
	assert_ptr_equal(arg, &seen);
	assert_ptr_equal(l, subject);
	assert_true(whole.len >= FRAME_HEAD);
	if (seen.frames < 64)
		seen.numbers[seen.frames] = f->number;
	seen.frames++;
	seen.payload += f->payload.len;
	if (seen.pause_each)
		link_pause(l, true);
	if (seen.close_on_frame)
		link_close(&subject);
}

static void
on_closed(void *arg, struct link *l)
{
	(void)arg;
	assert_ptr_equal(l, subject);
	seen.closed++;
	subject = NULL;
}

static void
on_drained(void *arg, struct link *l)
{
	(void)arg;
	(void)l;
	seen.drained++;
}

static const struct link_events events = { on_frame, on_closed, on_drained };

/* Lets the loop handle what is there now. */
static void
turn(void)
{
	int i;

	for (i = 0; i < 6; i++)
		uv_run(&loop, UV_RUN_NOWAIT);
}

static void
make_link(enum role peer)
{
	int fds[2];

	memset(&seen, 0, sizeof seen);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
	other = fds[1];
	fcntl(other, F_SETFL, O_NONBLOCK);
	subject = link_new(&loop, fds[0], peer, 2, 99, &events, &seen);
}

static int
setup(void **state)
{
	(void)state;
	make_link(ROLE_C2SD);
	return 0;
}

static int
teardown(void **state)
{
	(void)state;
	link_before_flush(&loop, NULL);
	link_close(&subject);
	if (other >= 0)
		close(other);
	turn();
	return 0;
}

static struct slice
make_frame(struct buf *b, enum frame_type type, uint64_t number, size_t payload)
{
	static char filler[FRAME_MAX];
	struct frame f = { .type = type, .number = number };

	if (payload != 0)
		f.payload = slice_of(filler, payload);
	assert_int_equal(frame_write(&f, b), OK);
	return buf_slice(b);
}

static void
put(struct slice bytes)
{
	while (bytes.len != 0) {
		ssize_t n = send(other, bytes.ptr, bytes.len, MSG_NOSIGNAL);

		if (n > 0)
			bytes = slice_part(bytes, (size_t)n, bytes.len);
		turn();
	}
}

static void
test_frames_in(void **state)
{
	struct buf b = { 0 };
	int i;

	(void)state;
	for (i = 0; i < 3; i++)
		make_frame(&b, FRAME_STANZA, (uint64_t)i + 10, 5);
	put(buf_slice(&b));
	turn();
	assert_int_equal(seen.frames, 3);
	assert_int_equal(seen.numbers[0], 10);
	assert_int_equal(seen.numbers[2], 12);
	assert_int_equal(seen.payload, 15);
	assert_int_equal(link_peer(subject), ROLE_C2SD);
	assert_int_equal(link_index(subject), 2);
	assert_int_equal(link_incarnation(subject), 99);
	buf_free(&b);
}

static void
test_byte_by_byte(void **state)
{
	struct buf b = { 0 };
	size_t i, one;

	(void)state;
	one = make_frame(&b, FRAME_STANZA, 1, 3).len;
	make_frame(&b, FRAME_READY, 2, 0);
	for (i = 0; i < buf_len(&b); i++) {
		put(slice_part(buf_slice(&b), i, 1));
		turn();
		assert_int_equal(seen.frames, (i + 1 >= one) + (i + 1 == buf_len(&b)));
	}
	buf_free(&b);
}

static void
test_large_frame(void **state)
{
	struct buf b = { 0 };

	(void)state;
	make_frame(&b, FRAME_STANZA, 1, FRAME_MAX - FRAME_HEAD - 4);
	make_frame(&b, FRAME_STANZA, 2, 700000);
	put(buf_slice(&b));
	turn();
	assert_int_equal(seen.frames, 2);
	assert_int_equal(seen.payload, FRAME_MAX - FRAME_HEAD - 4 + 700000);
	buf_free(&b);
}

static void
test_too_long_closes(void **state)
{
	uint32_t len = FRAME_MAX + 1;

	(void)state;
	put(slice_of(&len, sizeof len));
	turn();
	assert_int_equal(seen.closed, 1);
}

static void
test_too_short_closes(void **state)
{
	struct buf b = { 0 };
	uint32_t len = FRAME_HEAD - 1;

	(void)state;
	make_frame(&b, FRAME_READY, 1, 0);
	buf_add(&b, &len, sizeof len);
	put(buf_slice(&b));
	turn();
	assert_int_equal(seen.frames, 1);
	assert_int_equal(seen.closed, 1);
	buf_free(&b);
}

/* A frame of the right length with nonsense in it is dropped alone. */
static void
test_malformed_frame_is_dropped(void **state)
{
	struct buf b = { 0 };
	uint64_t before = counters[COUNTER_frames_refused];

	(void)state;
	make_frame(&b, FRAME_READY, 1, 0);
	b.bytes[b.start + 4] = (char)FRAME_COUNT;
	make_frame(&b, FRAME_READY, 2, 0);
	put(buf_slice(&b));
	turn();
	assert_int_equal(seen.frames, 1);
	assert_int_equal(seen.numbers[0], 2);
	assert_int_equal(seen.closed, 0);
	assert_int_equal(counters[COUNTER_frames_refused], before + 1);
	buf_free(&b);
}

/* c2sd may not say what authd, archived or the router say. */
static void
test_role_refused(void **state)
{
	struct buf b = { 0 };

	(void)state;
	make_frame(&b, FRAME_AUTH_SUCCESS, 1, 0);
	make_frame(&b, FRAME_STORED, 2, 0);
	make_frame(&b, FRAME_WELCOME, 3, 0);
	make_frame(&b, FRAME_SESSION_BIND, 4, 0);
	put(buf_slice(&b));
	turn();
	assert_int_equal(seen.frames, 1);
	assert_int_equal(seen.numbers[0], 4);
	buf_free(&b);
}

static void
test_end_after_last_frame(void **state)
{
	struct buf b = { 0 };

	(void)state;
	make_frame(&b, FRAME_READY, 1, 0);
	/* Unread output makes the end an error on our side: what came before still counts. */
	link_send(subject, &(struct frame){ .type = FRAME_WELCOME });
	turn();
	assert_int_equal(send(other, b.bytes, buf_len(&b), 0), (int)buf_len(&b));
	close(other);
	other = -1;
	turn();
	assert_int_equal(seen.frames, 1);
	assert_int_equal(seen.closed, 1);
	buf_free(&b);
}

static void
test_send_after_end(void **state)
{
	(void)state;
	close(other);
	other = -1;
	assert_int_equal(link_send(subject, &(struct frame){ .type = FRAME_READY }), OK);
	turn();
	assert_int_equal(seen.closed, 1);
}

static unsigned before_calls;

static void
before(void)
{
	struct frame f = { .type = FRAME_READY, .number = 3 };

	if (before_calls++ == 0)
		link_send(subject, &f);
}

/* What is queued, in whatever order, arrives as one piece, and the flush hook comes first. */
static void
test_one_write(void **state)
{
	struct frame f = { .type = FRAME_READY };
	char bytes[4096];
	struct slice rest, whole;
	uint64_t number;

	(void)state;
	for (f.number = 1; f.number <= 2; f.number++)
		assert_int_equal(link_send(subject, &f), OK);
	assert_int_equal(recv(other, bytes, sizeof bytes, MSG_DONTWAIT), -1);
	assert_int_equal(link_pending(subject), 2 * FRAME_HEAD);
	before_calls = 0;
	link_before_flush(&loop, before);
	uv_run(&loop, UV_RUN_NOWAIT);
	assert_int_equal(before_calls, 1);
	rest = slice_of(bytes, (size_t)recv(other, bytes, sizeof bytes, MSG_DONTWAIT));
	assert_int_equal(rest.len, 3 * FRAME_HEAD);
	for (number = 1; number <= 3; number++) {
		struct frame read;

		assert_int_equal(frame_next(rest, &whole), OK);
		assert_int_equal(frame_read(whole, &read), OK);
		assert_int_equal(read.number, number);
		rest = slice_part(rest, whole.len, rest.len);
	}
	assert_int_equal(link_pending(subject), 0);
}

static void
test_too_big_to_send(void **state)
{
	static char filler[FRAME_MAX];
	struct frame f = { .type = FRAME_STANZA };

	(void)state;
	f.payload = slice_of(filler, sizeof filler);
	assert_int_equal(link_send(subject, &f), E_TOO_BIG);
	assert_int_equal(link_pending(subject), 0);
}

/* A reader that is slow: all arrives, in order, and drained() is called once. */
static void
test_partial_writes(void **state)
{
	static char bytes[100000];
	struct buf all = { 0 };
	struct frame f = { .type = FRAME_STANZA };
	struct slice rest, whole;
	uint64_t number;

	(void)state;
	f.payload = slice_of(bytes, sizeof bytes);
	for (f.number = 0; f.number < 80; f.number++)
		assert_int_equal(link_send(subject, &f), OK);
	assert_true(link_full(subject));
	turn();
	assert_true(link_full(subject));
	assert_int_equal(seen.drained, 0);
	while (buf_len(&all) < 80 * (sizeof bytes + FRAME_HEAD + 4)) {
		ssize_t n = recv(other, bytes, sizeof bytes, MSG_DONTWAIT);

		if (n > 0)
			buf_add(&all, bytes, (size_t)n);
		uv_run(&loop, UV_RUN_NOWAIT);
	}
	turn();
	assert_int_equal(seen.drained, 1);
	assert_false(link_full(subject));
	rest = buf_slice(&all);
	for (number = 0; number < 80; number++) {
		struct frame read;

		assert_int_equal(frame_next(rest, &whole), OK);
		assert_int_equal(frame_read(whole, &read), OK);
		assert_int_equal(read.number, number);
		rest = slice_part(rest, whole.len, rest.len);
	}
	assert_int_equal(rest.len, 0);
	buf_free(&all);
}

/* The mark that was set, the gauges, and the end of a link that nobody reads. */
static void
test_full(void **state)
{
	static char bytes[FRAME_MAX - 1024];
	uint64_t full = counters[COUNTER_links_full], lost = counters[COUNTER_links_lost];
	struct frame f = { .type = FRAME_STANZA };
	unsigned i;

	(void)state;
	link_set_full(subject, 1000);
	f.payload = slice_of(bytes, 900);
	assert_int_equal(link_send(subject, &f), OK);
	assert_false(link_full(subject));
	assert_int_equal(link_send(subject, &f), OK);
	assert_true(link_full(subject));
	link_gauges();
	assert_int_equal(counters[COUNTER_link_output], link_pending(subject));
	assert_int_equal(counters[COUNTER_links_full], full + 1);
	turn();
	assert_int_equal(seen.drained, 1);
	link_gauges();
	assert_int_equal(counters[COUNTER_link_output], 0);
	f.payload = slice_of(bytes, sizeof bytes);
	for (i = 0; i < 60; i++)
		assert_int_equal(link_send(subject, &f), OK);
	turn();
	assert_int_equal(seen.closed, 0);
	for (i = 0; i < 8; i++)
		link_send(subject, &f);
	turn();
	assert_int_equal(seen.closed, 1);
	assert_int_equal(counters[COUNTER_links_full], full + 2);
	assert_int_equal(counters[COUNTER_links_lost], lost + 1);
	link_gauges();
	assert_int_equal(counters[COUNTER_link_output], 0);
}

/* Each frame pauses the link: one comes per continuation, none is lost. */
static void
test_pause(void **state)
{
	struct buf b = { 0 };
	size_t i;

	(void)state;
	for (i = 0; i < 4; i++)
		make_frame(&b, FRAME_READY, i, 0);
	seen.pause_each = true;
	assert_int_equal(send(other, b.bytes, buf_len(&b), 0), (int)buf_len(&b));
	for (i = 1; i <= 4; i++) {
		turn();
		assert_int_equal(seen.frames, i);
		assert_int_equal(seen.numbers[i - 1], i - 1);
		link_pause(subject, false);
	}
	turn();
	assert_int_equal(seen.frames, 4);
	buf_free(&b);
}

static void
test_end_while_paused(void **state)
{
	(void)state;
	link_pause(subject, true);
	turn();
	close(other);
	other = -1;
	turn();
	assert_int_equal(seen.closed, 1);
}

static void
test_close_in_handler(void **state)
{
	struct buf b = { 0 };
	struct frame f = { .type = FRAME_READY };

	(void)state;
	make_frame(&b, FRAME_READY, 1, 0);
	make_frame(&b, FRAME_READY, 2, 0);
	seen.close_on_frame = true;
	link_send(subject, &f);
	put(buf_slice(&b));
	assert_int_equal(seen.frames, 1);
	assert_int_equal(seen.closed, 0);
	assert_null(subject);
	buf_free(&b);
}

int
main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(test_frames_in), TEST(test_byte_by_byte), TEST(test_large_frame),
		TEST(test_too_long_closes), TEST(test_too_short_closes),
		TEST(test_malformed_frame_is_dropped), TEST(test_role_refused),
		TEST(test_end_after_last_frame), TEST(test_send_after_end), TEST(test_one_write),
		TEST(test_too_big_to_send), TEST(test_partial_writes), TEST(test_full), TEST(test_pause),
		TEST(test_end_while_paused), TEST(test_close_in_handler),
	};

	uv_loop_init(&loop);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
