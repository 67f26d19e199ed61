/*
 * test_path.c: remote domains of s2sd and the paths to them, with a router, streams and attempts that the
 * test plays: queues and their bounds, what comes twice, giving up, trying again; and what holds for whom.
 *
 * Links: entry s2sd/path.c s2sd/remote.c s2sd/policy.c s2sd/patience.c
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "s2sd.h"

#include "error.h"
#include "mem.h"

#define INCARNATION 8u
#define CAPULET "capulet.example"
#define NURSE   "nurse@capulet.example"
#define ROMEO   "romeo@localhost/r"

struct settings settings;

/* -- stand-ins ----------------------------------------------------------------------------------------- */

static struct buf sent;    /* to the router */
static struct buf heard;   /* the frame that was read last */
static struct buf wire;    /* what was written to a stream */
static char written[4096]; /* ids of stanzas that were written, a space after each */
static bool router_full;
static uint64_t ticks = 1000, flush_at;
static unsigned refused;
static unsigned begun, cancelled;
static struct path *trying;
static char component[64];
static LIST_HEAD(, deadline) deadlines = LIST_HEAD_INITIALIZER(deadlines);

struct link *
daemon_router(void)
{
	return (struct link *)&sent;
}

bool
daemon_router_up(void)
{
	return true;
}

uint32_t
daemon_incarnation(void)
{
	return INCARNATION;
}

uint64_t
daemon_ticks(void)
{
	return ticks;
}

void
daemon_dirty(void)
{
}

void
daemon_dirty_at(uint64_t at)
{
	flush_at = at;
}

void
daemon_send(const struct frame *f)
{
	assert_int_equal(frame_write(f, &sent), OK);
}

void
daemon_refuse(const struct frame *f, const char *reason)
{
	(void)f;
	(void)reason;
	refused++;
}

void
link_send_raw(struct link *link, struct slice frame)
{
	(void)link;
	buf_add_slice(&sent, frame);
}

bool
link_full(const struct link *link)
{
	(void)link;
	return router_full;
}

void
deadline_clear(struct deadline *d)
{
	if (d->at != 0)
		LIST_REMOVE(d, slot);
	d->at = 0;
}

void
deadline_set(struct deadline *d, uint64_t milliseconds)
{
	deadline_clear(d);
	d->at = ticks + milliseconds;
	LIST_INSERT_HEAD(&deadlines, d, slot);
}

void
deadline_hasten(struct deadline *d, uint64_t milliseconds)
{
	if (d->at == 0 || d->at > ticks + milliseconds)
		deadline_set(d, milliseconds);
}

static void
wait_for(uint64_t milliseconds)
{
	uint64_t end = ticks + milliseconds;
	struct deadline *d, *first;

	for (;;) {
		first = NULL;
		LIST_FOREACH(d, &deadlines, slot) {
			if (d->at <= end && (first == NULL || d->at < first->at))
				first = d;
		}
		if (first == NULL)
			break;
		if (first->at > ticks)
			ticks = first->at;
		deadline_clear(first);
		first->due(first);
	}
	ticks = end;
}

bool
domain_is_here(struct slice name)
{
	return slice_is(name, "localhost") || (component[0] != '\0' && slice_is(name, component));
}

struct domain *
component_find(struct slice name)
{
	static struct domain theirs;

	return component[0] != '\0' && slice_is(name, component) ? &theirs : NULL;
}

void
outgoing_begin(struct path *path)
{
	static char token;

	begun++;
	trying = path;
	path->outgoing = (struct outgoing *)&token;
}

void
outgoing_cancel(struct outgoing **o)
{
	if (*o != NULL)
		cancelled++;
	*o = NULL;
}

void
traffic_stanza(struct stream *s, const struct frame *f)
{
	size_t len = strlen(written);

	buf_add_slice(&s->net.out, f->payload);
	buf_add_slice(&wire, f->payload);
	sm_wrote(&s->sm, f->payload.len);
	if (f->flags & FLAG_ROOM)
		snprintf(written + len, sizeof written - len, "%.*s:%.1s:%u ", SLICE_ARG(f->id), f->to.ptr,
		    (unsigned)f->number);
	else
		snprintf(written + len, sizeof written - len, "%.*s ", SLICE_ARG(f->id));
}

void
traffic_taken(struct stream *s, uint64_t seq)
{
	(void)s;
	(void)seq;
}

void
stream_error(struct stream *s, const char *condition, const char *text)
{
	struct proof *proof = LIST_FIRST(&s->proofs);

	(void)condition;
	(void)text;
	LIST_REMOVE(proof, of_stream);
	LIST_REMOVE(proof, of_remote);
	free(proof);
}

void
transport_touch(struct transport *t)
{
	(void)t;
}

uint64_t
transport_written(const struct transport *t)
{
	return t->sealed + buf_len(&t->out);
}

const char *
address_text(const struct address *address)
{
	(void)address;
	return "192.0.2.1";
}

/* -- the router ---------------------------------------------------------------------------------------- */

static bool
next(struct frame *f)
{
	struct slice whole;

	if (buf_len(&sent) == 0)
		return false;
	assert_int_equal(frame_next(buf_slice(&sent), &whole), OK);
	buf_clear(&heard);
	buf_add_slice(&heard, whole);
	buf_consume(&sent, whole.len);
	assert_int_equal(frame_read(buf_slice(&heard), f), OK);
	return true;
}

static struct frame
expect(enum frame_type type)
{
	struct frame f;

	if (!next(&f))
		fail_msg("no frame, expected %s", frame_text(type));
	if (f.type != type)
		fail_msg("%s, expected %s", frame_text(f.type), frame_text(type));
	return f;
}

/* s2sd asks for all of the spool, and the router says that it begins. */
static void
drain_begins(void)
{
	struct frame f = expect(FRAME_SESSION_DRAIN);

	remote_draining(&f);
}

static void
silent(void)
{
	struct frame f;

	if (next(&f))
		fail_msg("unexpected %s", frame_text(f.type));
}

static void
acknowledge(uint64_t seq)
{
	uint64_t pair[2] = { seq, seq };
	struct frame f = { .type = FRAME_ACK, .origin = INCARNATION, .numbers = slice_of(pair, sizeof pair) };

	uplink_ack(&f);
}

static struct frame
stanza(enum stanza_kind kind, const char *id, uint64_t archive_id)
{
	return (struct frame){ .type = FRAME_STANZA, .kind = (uint8_t)kind,
		.subtype = kind == STANZA_IQ ? TYPE_GET : TYPE_CHAT, .archive_id = archive_id,
		.from = SLICE(ROMEO), .to = SLICE(NURSE), .id = slice_string(id), .payload = SLICE("<x/>"),
		.name = SLICE("x"), .ns = SLICE("jabber:client") };
}

static void
deliver(const struct frame *f)
{
	struct buf bytes = { 0 };
	struct frame copy;

	assert_int_equal(frame_write(f, &bytes), OK);
	assert_int_equal(frame_read(buf_slice(&bytes), &copy), OK);
	remotes_stanza(&copy);
	buf_free(&bytes);
}

static void
deliver_live(const char *id, uint64_t archive_id)
{
	struct frame f = stanza(STANZA_MESSAGE, id, archive_id);

	deliver(&f);
}

static void
deliver_spooled(const char *id, uint64_t archive_id)
{
	struct frame f = stanza(STANZA_MESSAGE, id, archive_id);

	f.flags = FLAG_SPOOL;
	deliver(&f);
}

static void
deliver_request(const char *id)
{
	struct frame f = stanza(STANZA_IQ, id, 0);

	deliver(&f);
}

/* -- streams ------------------------------------------------------------------------------------------- */

static struct stream stream;

static struct path *
path(void)
{
	struct remote *remote = remote_find(SLICE(CAPULET));

	assert_non_null(remote);
	return path_get(remote, remote->component ? SLICE("") : SLICE("localhost"));
}

static void
come_up(bool managed)
{
	sm_free(&stream.sm);
	buf_free(&stream.net.out);
	stream = (struct stream){ .state = STREAM_READY };
	if (managed)
		sm_enable(&stream.sm);
	path_up(path(), &stream);
	if (managed)
		path_managed(path());
}

static void
write_out(void)
{
	written[0] = '\0';
	path_write(path());
}

/* The kernel takes all that was written. */
static void
take(void)
{
	stream.net.sealed += buf_len(&stream.net.out);
	buf_clear(&stream.net.out);
	path_taken(path(), stream.net.sealed);
	uplink_report();
}

/* The ids of what was reported delivered; the report is acknowledged. */
static void
expect_delivered(uint64_t first, size_t count)
{
	struct frame f = expect(FRAME_DELIVERED);
	size_t i;

	assert_int_equal(frame_count(&f), 2 * count);
	for (i = 0; i < count; i++) {
		assert_true(frame_at(&f, 2 * i) == remote_find(SLICE(CAPULET))->handle);
		assert_true(frame_at(&f, 2 * i + 1) == first + i);
	}
	acknowledge(f.seq);
}

static int
set_up(void **state)
{
	static bool started;

	(void)state;
	settings = (struct settings){ .queue_stanzas = 10, .queue_bytes = 1 << 20, .queue_total = 1 << 20,
		.federation = true };
	if (!started)
		uplink_start(remote_reported);
	started = true;
	uplink_limit(1 << 20);
	buf_clear(&sent);
	uplink_resend();
	begun = cancelled = refused = 0;
	written[0] = '\0';
	component[0] = '\0';
	return 0;
}

static void
drop_paths(void *arg, struct remote *remote)
{
	struct path *p;

	(void)arg;
	LIST_FOREACH(p, &remote->paths, of_remote) {
		p->skipped = false;
		if (p->state == PATH_UP) {
			outqueue_clear(&p->queue, NULL, NULL);
			path_lost(p, "over");
		} else if (p->state == PATH_TRYING) {
			path_failed(p, STANZA_ERROR_REMOTE_SERVER_TIMEOUT, false, "over");
			p->skipped = false;
		}
	}
}

/* All ends when the router has acknowledged all and nothing is tried any more. */
static int
tear_down(void **state)
{
	struct frame f;

	(void)state;
	remotes_each(drop_paths, NULL);
	while (next(&f)) {
		if (f.seq != 0)
			acknowledge(f.seq);
	}
	wait_for(3600 * 1000);
	remotes_each(drop_paths, NULL);
	uplink_report();
	while (next(&f)) {
		if (f.seq != 0)
			acknowledge(f.seq);
	}
	wait_for(3600 * 1000);
	assert_null(remote_find(SLICE(CAPULET)));
	assert_int_equal(outqueue_total(), 0);
	buf_clear(&sent);
	sm_free(&stream.sm);
	buf_free(&stream.net.out);
	stream = (struct stream){ 0 };
	return 0;
}

/* -- tests --------------------------------------------------------------------------------------------- */

static void
test_life(void **state)
{
	struct frame f;

	(void)state;
	deliver_live("a", 100);
	f = expect(FRAME_REMOTE_OPEN);
	assert_true(slice_is(f.domain, CAPULET) && HANDLE_INCARNATION(f.handle) == INCARNATION);
	assert_int_equal(begun, 1);
	deliver_request("b");
	assert_int_equal(begun, 1);
	come_up(false);
	write_out();
	assert_string_equal(written, "a b ");
	silent();
	take();
	expect_delivered(100, 1);
	/* over, with nothing that waits: it is forgotten after a while */
	path_lost(path(), "closed by the peer");
	wait_for(9000);
	silent();
	wait_for(2000);
	assert_true(expect(FRAME_SESSION_END).handle == f.handle);
	assert_null(remote_find(SLICE(CAPULET)));
	assert_int_equal(begun, 1);
}

/* What is there, or was delivered and is not acknowledged, is not written again. */
static void
test_repeated(void **state)
{
	struct frame f;

	(void)state;
	deliver_live("a", 100);
	expect(FRAME_REMOTE_OPEN);
	come_up(false);
	deliver_spooled("a", 100);
	write_out();
	deliver_spooled("a", 100);
	take();
	deliver_spooled("a", 100);
	write_out();
	assert_string_equal(written, "");
	f = expect(FRAME_DELIVERED);
	deliver_spooled("a", 100);
	assert_null(outqueue_next(&path()->queue));
	acknowledge(f.seq);
	silent();
}

/* A report of delivery goes with what else is sent, before or after it, or when it has waited. */
static void
test_report(void **state)
{
	struct frame said = { .type = FRAME_STANZA, .kind = STANZA_MESSAGE, .payload = SLICE("") }, f;
	uint64_t seq, handle;
	unsigned i;
	size_t len;

	(void)state;
	deliver_live("a", 100);
	expect(FRAME_REMOTE_OPEN);
	handle = remote_find(SLICE(CAPULET))->handle;
	for (i = 0; i < 2; i++) {
		remote_find(SLICE(CAPULET))->delivering++;
		if (i == 0)
			uplink_delivered(handle, 1);
		assert_int_equal(uplink_send(NULL, &said, &seq, &len), OK);
		if (i == 1)
			uplink_delivered(handle, 1);
		uplink_flush();
		acknowledge(expect(FRAME_STANZA).seq);
		acknowledge(expect(FRAME_DELIVERED).seq);
	}
	remote_find(SLICE(CAPULET))->delivering++;
	uplink_delivered(handle, 2);
	uplink_flush();
	silent();
	assert_true(uplink_delivering(handle, 2));
	assert_int_equal(flush_at, ticks + 20);
	ticks = flush_at - 1;
	uplink_flush();
	silent();
	ticks++;
	uplink_flush();
	f = expect(FRAME_DELIVERED);
	assert_true(frame_count(&f) == 2 && frame_at(&f, 1) == 2);
	acknowledge(f.seq);
}

/* With stream management only acknowledgements count, and what was not acknowledged is written again. */
static void
test_managed(void **state)
{
	(void)state;
	deliver_live("a", 100);
	deliver_live("b", 101);
	expect(FRAME_REMOTE_OPEN);
	come_up(true);
	deliver_request("c");
	write_out();
	assert_string_equal(written, "a b c ");
	take();
	silent();
	assert_false(path_acknowledge(path(), 4));
	assert_true(path_acknowledge(path(), 1));
	uplink_report();
	expect_delivered(100, 1);
	path_lost(path(), "reset");
	assert_int_equal(begun, 2);
	come_up(true);
	write_out();
	assert_string_equal(written, "b c ");
	assert_true(path_acknowledge(path(), 2));
	uplink_report();
	expect_delivered(101, 1);
	assert_int_equal(path()->queue.count, 0);
}

/* -- what rooms say -- */

static struct frame
said(const char *id, uint64_t archive_id, const char *receivers)
{
	static const uint64_t in_room[] = { 7 };
	struct frame f = stanza(STANZA_MESSAGE, id, archive_id);

	f.subtype = TYPE_GROUPCHAT;
	f.flags = FLAG_ROOM | FLAG_TO_REMOTE;
	f.to = SLICE(CAPULET);
	f.text = slice_string(receivers);
	f.numbers = slice_of(in_room, sizeof in_room);
	return f;
}

static void
deliver_said(const char *id, uint64_t archive_id)
{
	struct frame f = said(id, archive_id, "a@" CAPULET "/x\nb@" CAPULET "/y\nc@" CAPULET "/z\n");

	deliver(&f);
}

/* One row is a stanza for each of its receivers; it is delivered with the last of them. */
static void
test_room(void **state)
{
	(void)state;
	deliver_said("m", 100);
	deliver_live("n", 101);
	expect(FRAME_REMOTE_OPEN);
	come_up(true);
	write_out();
	assert_string_equal(written, "m:a:7 m:b:7 m:c:7 n ");
	deliver_said("m", 100);
	assert_true(path_acknowledge(path(), 2));
	uplink_report();
	silent();
	deliver_said("m", 100); /* comes out of the spool once more */
	write_out();
	assert_string_equal(written, "");
	path_lost(path(), "reset");
	come_up(true);
	write_out();
	assert_string_equal(written, "m:c:7 n ");
	assert_true(path_acknowledge(path(), 2));
	uplink_report();
	expect_delivered(100, 2);
}

/* A row of which some have had their part comes again for the others. */
static void
test_room_rest(void **state)
{
	(void)state;
	deliver_said("m", 100);
	expect(FRAME_REMOTE_OPEN);
	come_up(true);
	write_out();
	assert_string_equal(written, "m:a:7 m:b:7 m:c:7 ");
	assert_true(path_acknowledge(path(), 2));
	path_lost(path(), "reset");
	path_failed(path(), STANZA_ERROR_REMOTE_SERVER_TIMEOUT, false, "connection refused");
	wait_for(9000);
	come_up(true);
	expect(FRAME_SESSION_PAUSE);
	drain_begins();
	deliver_said("m", 100);
	deliver_said("n", 101);
	write_out();
	assert_string_equal(written, "m:c:7 n:a:7 n:b:7 n:c:7 ");
	assert_true(path_acknowledge(path(), 4));
	uplink_report();
	expect_delivered(100, 2);
}

/* Ten thousand receivers need no more memory than the list of them. */
static void
test_room_large(void **state)
{
	struct buf list = { 0 }, payload = { 0 };
	size_t before = outqueue_memory();
	struct frame f;
	unsigned i;

	(void)state;
	for (i = 0; i < 10000; i++)
		buf_printf(&list, "%u@" CAPULET "/x\n", i);
	buf_add_string(&list, "z@" CAPULET "/x\n");
	buf_add_string(&payload, "<body>");
	for (i = 0; i < 50000; i++)
		buf_add_char(&payload, 'x');
	buf_add_string(&payload, "</body>");
	f = said("m", 100, "");
	f.text = buf_slice(&list);
	f.payload = buf_slice(&payload);
	deliver(&f);
	expect(FRAME_REMOTE_OPEN);
	expect(FRAME_SESSION_PAUSE);
	assert_int_equal(path()->queue.count, 10001);
	assert_in_range(outqueue_memory() - before, 1, 2 << 20);
	outqueue_clear(&path()->queue, NULL, NULL);
	buf_free(&list);
	buf_free(&payload);
}

/* No stream: the whole row waits on the spool, and nobody is answered. */
static void
test_room_waits(void **state)
{
	(void)state;
	deliver_said("m", 100);
	expect(FRAME_REMOTE_OPEN);
	path_failed(path(), STANZA_ERROR_REMOTE_SERVER_TIMEOUT, false, "connection refused");
	silent();
	deliver_said("n", 101);
	silent();
	wait_for(9000);
	come_up(false);
	expect(FRAME_SESSION_PAUSE);
	drain_begins();
	deliver_said("m", 100);
	deliver_said("n", 101);
	write_out();
	assert_string_equal(written, "m:a:7 m:b:7 m:c:7 n:a:7 n:b:7 n:c:7 ");
	take();
	expect_delivered(100, 2);
}

/* It will never be better: archived is told of the row once. */
static void
test_room_hopeless(void **state)
{
	struct frame f;

	(void)state;
	deliver_said("m", 100);
	expect(FRAME_REMOTE_OPEN);
	path_failed(path(), STANZA_ERROR_REMOTE_SERVER_NOT_FOUND, true, "no such domain");
	f = expect(FRAME_UNDELIVERABLE);
	assert_true(frame_count(&f) == 2 && frame_at(&f, 1) == 100);
	acknowledge(f.seq);
	silent();
}

/* What the router says wrongly is given up, once it is on a spool. */
static void
test_room_wrong(void **state)
{
	static const char *const receivers[] = { "", "a@" CAPULET "/x\nb@elsewhere.example/y\n", "a@" CAPULET "\n",
		"@\n" };
	struct frame f;
	size_t i;

	(void)state;
	deliver_live("n", 99);
	expect(FRAME_REMOTE_OPEN);
	come_up(false);
	for (i = 0; i < 6; i++) {
		f = said("m", 100 + i, i < 4 ? receivers[i] : "a@" CAPULET "/x\n");
		f.handle = path()->remote->handle;
		f.to = i == 4 ? SLICE("a@" CAPULET) : f.to;
		f.flags &= i == 5 ? ~(uint32_t)FLAG_TO_REMOTE : ~0u;
		deliver(&f);
		assert_int_equal(refused, i + 1);
		if (i == 5)
			break; /* on no spool */
		f = expect(FRAME_UNDELIVERABLE);
		assert_true(frame_at(&f, 1) == 100 + i);
		acknowledge(f.seq);
	}
	silent();
	write_out();
	take();
	expect_delivered(99, 1);
}

/* What was written before stream management was enabled, and never left, is written again as well. */
static void
test_early(void **state)
{
	(void)state;
	deliver_live("a", 100);
	expect(FRAME_REMOTE_OPEN);
	deliver_request("b");
	come_up(false);
	write_out();
	assert_string_equal(written, "a b ");
	sm_enable(&stream.sm);
	path_managed(path());
	deliver_live("c", 101);
	write_out();
	assert_string_equal(written, "c ");
	path_lost(path(), "reset");
	assert_int_equal(begun, 2);
	come_up(true);
	write_out();
	assert_string_equal(written, "a b c ");
	assert_true(path_acknowledge(path(), 3));
	uplink_report();
	expect_delivered(100, 2);
}

/* No stream: what is stored waits on the spool, the rest is answered at once; then it is tried again. */
static void
test_failed(void **state)
{
	struct frame f;

	(void)state;
	deliver_live("a", 100);
	deliver_request("b");
	expect(FRAME_REMOTE_OPEN);
	path_failed(path(), STANZA_ERROR_REMOTE_SERVER_TIMEOUT, false, "connection refused");
	f = expect(FRAME_STANZA);
	assert_true(f.subtype == TYPE_ERROR && slice_is(f.id, "b") && slice_is(f.from, NURSE));
	assert_true(slice_is(f.to, ROMEO) && f.handle == remote_find(SLICE(CAPULET))->handle);
	acknowledge(f.seq);
	silent();
	/* meanwhile */
	deliver_request("c");
	f = expect(FRAME_STANZA);
	assert_true(f.subtype == TYPE_ERROR && slice_is(f.id, "c"));
	acknowledge(f.seq);
	deliver_live("d", 101);
	silent();
	assert_int_equal(path()->queue.count, 0);
	wait_for(1000);
	assert_int_equal(begun, 1);
	wait_for(8000);
	assert_int_equal(begun, 2);
	/* a live one must not overtake those on the spool */
	deliver_live("e", 102);
	come_up(false);
	expect(FRAME_SESSION_PAUSE);
	drain_begins();
	deliver_spooled("a", 100);
	deliver_spooled("d", 101);
	deliver_spooled("e", 102);
	write_out();
	assert_string_equal(written, "a d e ");
	take();
	expect_delivered(100, 3);
}

/* Who could not be reached and comes by itself is tried at once, but only once until the wait is over. */
static void
test_heard(void **state)
{
	uint64_t from = ticks;

	(void)state;
	deliver_live("a", 100);
	expect(FRAME_REMOTE_OPEN);
	path_heard(path()->remote, SLICE("localhost"));
	assert_int_equal(begun, 1);
	path_failed(path(), STANZA_ERROR_REMOTE_SERVER_TIMEOUT, false, "connection refused");
	path_heard(path()->remote, SLICE("elsewhere"));
	assert_int_equal(begun, 1);
	path_heard(path()->remote, SLICE("localhost"));
	assert_int_equal(begun, 2);
	path_failed(path(), STANZA_ERROR_REMOTE_SERVER_TIMEOUT, false, "connection refused");
	path_heard(path()->remote, SLICE("localhost"));
	assert_int_equal(begun, 2);
	while (begun == 2 && ticks - from < 60 * 1000)
		wait_for(500);
	assert_int_equal(begun, 3);
	path_failed(path(), STANZA_ERROR_REMOTE_SERVER_NOT_FOUND, true, "no such domain");
	path_heard(path()->remote, SLICE("localhost"));
	assert_int_equal(begun, 3);
}

/* Longer and longer, but never longer than fifteen minutes, and never a storm. */
static void
test_retry(void **state)
{
	unsigned i;

	(void)state;
	deliver_live("a", 100);
	expect(FRAME_REMOTE_OPEN);
	for (i = 0; i < 40; i++) {
		uint64_t from = ticks;

		path_failed(path(), STANZA_ERROR_REMOTE_SERVER_TIMEOUT, false, "nothing");
		while (begun == i + 1 && ticks - from < 3600 * 1000)
			wait_for(500);
		assert_int_equal(begun, i + 2);
		assert_true(ticks - from >= 2500 && ticks - from <= 15 * 60 * 1000 + 500);
		if (i > 10)
			assert_true(ticks - from >= 5 * 60 * 1000);
	}
	assert_int_equal(path()->failures, 40);
	come_up(false);
	assert_int_equal(path()->failures, 40);
	expect(FRAME_SESSION_PAUSE);
	drain_begins();
	deliver_spooled("a", 100);
	write_out();
	take(); /* only what arrives shows that it is better */
	assert_int_equal(path()->failures, 0);
	expect_delivered(100, 1);
}

/* It will never be better: stored messages are given up for good, those on the spool as well. */
static void
test_hopeless(void **state)
{
	struct frame f;

	(void)state;
	deliver_live("a", 100);
	expect(FRAME_REMOTE_OPEN);
	path_failed(path(), STANZA_ERROR_REMOTE_SERVER_TIMEOUT, false, "no answer");
	silent();
	wait_for(9000);
	assert_int_equal(begun, 2);
	deliver_request("b");
	path_failed(path(), STANZA_ERROR_REMOTE_SERVER_NOT_FOUND, true, "no such domain");
	f = expect(FRAME_STANZA);
	assert_true(f.subtype == TYPE_ERROR && slice_is(f.id, "b"));
	acknowledge(f.seq);
	/* the one that was left to the spool comes out of it, and is given up */
	expect(FRAME_SESSION_PAUSE);
	drain_begins();
	deliver_spooled("a", 100);
	f = expect(FRAME_UNDELIVERABLE);
	assert_true(frame_count(&f) == 2 && frame_at(&f, 1) == 100);
	assert_true(frame_at(&f, 0) == remote_find(SLICE(CAPULET))->handle);
	assert_true(slice_is(f.condition, "remote-server-not-found") && slice_is(f.text, "no such domain"));
	acknowledge(f.seq);
	deliver_live("c", 101);
	f = expect(FRAME_UNDELIVERABLE);
	assert_true(frame_at(&f, 1) == 101);
	acknowledge(f.seq);
	silent();
	/* nothing waits: it is not tried again, until something comes */
	wait_for(100000);
	expect(FRAME_SESSION_END);
	assert_int_equal(begun, 2);
	deliver_live("d", 102);
	assert_int_equal(begun, 3);
}

/* What is in the queue when it is hopeless is given up at once. */
static void
test_hopeless_queue(void **state)
{
	struct frame f;

	(void)state;
	deliver_live("a", 100);
	deliver_live("b", 101);
	expect(FRAME_REMOTE_OPEN);
	path_failed(path(), STANZA_ERROR_REMOTE_SERVER_NOT_FOUND, true, "no such domain");
	f = expect(FRAME_UNDELIVERABLE);
	assert_true(frame_at(&f, 1) == 100);
	acknowledge(f.seq);
	f = expect(FRAME_UNDELIVERABLE);
	assert_true(frame_at(&f, 1) == 101);
	acknowledge(f.seq);
	silent();
}

/* Answers and errors get no answer, and neither does presence. */
static void
test_not_answered(void **state)
{
	struct frame f = stanza(STANZA_IQ, "a", 0);

	(void)state;
	f.subtype = TYPE_RESULT;
	deliver(&f);
	f.subtype = TYPE_ERROR;
	deliver(&f);
	f = stanza(STANZA_MESSAGE, "b", 0);
	f.subtype = TYPE_ERROR;
	deliver(&f);
	f = stanza(STANZA_PRESENCE, "c", 0);
	f.subtype = TYPE_AVAILABLE;
	deliver(&f);
	expect(FRAME_REMOTE_OPEN);
	path_failed(path(), STANZA_ERROR_REMOTE_SERVER_TIMEOUT, false, "nothing");
	silent();
}

/* A domain that does not read: it is paused at its limit, and fed again when half of it has gone. */
static void
test_pause(void **state)
{
	uint64_t i;

	(void)state;
	for (i = 0; i < 11; i++)
		deliver_live("x", 100 + i);
	expect(FRAME_REMOTE_OPEN);
	expect(FRAME_SESSION_PAUSE);
	silent();
	come_up(false);
	write_out();
	silent();
	take();
	drain_begins();
	expect_delivered(100, 11);
	silent();
	assert_false(remote_find(SLICE(CAPULET))->paused);
}

/* Eight times the limit is under way: the rest stays on the spool and comes when there is room, and what is
 * live afterwards is taken again. */
static void
test_overflow(void **state)
{
	struct frame f;
	uint64_t i;

	(void)state;
	deliver_live("x", 100);
	expect(FRAME_REMOTE_OPEN);
	come_up(false);
	for (i = 1; i < 90; i++)
		deliver_live("x", 100 + i);
	expect(FRAME_SESSION_PAUSE);
	silent();
	assert_int_equal(path()->queue.count, 81);
	assert_true(path()->skipped);
	deliver_request("r");
	f = expect(FRAME_STANZA);
	assert_true(f.subtype == TYPE_ERROR && slice_is(f.id, "r"));
	acknowledge(f.seq);
	write_out();
	take();
	drain_begins();
	expect_delivered(100, 81);
	for (i = 81; i < 90; i++)
		deliver_spooled("x", 100 + i);
	deliver_live("y", 190);
	write_out();
	assert_string_equal(written, "x x x x x x x x x y ");
	take();
	expect_delivered(181, 10);
}

/* Others have all the room: it is paused too, and fed when they have gone. */
static void
test_crowded(void **state)
{
	struct outqueue others = { 0 };
	char *big = mem_alloc(300000);
	struct frame f = stanza(STANZA_MESSAGE, "big", 1);
	unsigned i;

	(void)state;
	memset(big, 'x', 300000);
	f.payload = slice_of(big, 300000);
	for (i = 0; i < 4; i++)
		outqueue_add(&others, kept_new(&f), 1, 300000);
	deliver_live("a", 100);
	expect(FRAME_REMOTE_OPEN);
	expect(FRAME_SESSION_PAUSE);
	silent();
	assert_int_equal(path()->queue.count, 0);
	come_up(false);
	/* what it does in order to come up ends the pause neither */
	drain_begins();
	deliver_spooled("a", 100);
	expect(FRAME_SESSION_PAUSE);
	silent();
	wait_for(5000);
	silent();
	assert_non_null(remote_find(SLICE(CAPULET)));
	outqueue_clear(&others, NULL, NULL);
	wait_for(2000);
	drain_begins();
	deliver_spooled("a", 100);
	deliver_live("b", 101);
	write_out();
	assert_string_equal(written, "a b ");
	take();
	expect_delivered(100, 2);
	silent();
	free(big);
}

/* A component that is not there; its connection has no path to try. */
static void
test_component(void **state)
{
	struct frame f;

	(void)state;
	snprintf(component, sizeof component, CAPULET);
	deliver_live("a", 100);
	expect(FRAME_REMOTE_OPEN);
	silent();
	assert_int_equal(begun, 0);
	deliver_request("b");
	f = expect(FRAME_STANZA);
	assert_int_equal(f.subtype, TYPE_ERROR);
	acknowledge(f.seq);
	come_up(false);
	expect(FRAME_SESSION_PAUSE);
	drain_begins();
	deliver_spooled("a", 100);
	/* from any of our domains */
	f = stanza(STANZA_MESSAGE, "c", 101);
	f.from = SLICE("nurse@verona.example");
	deliver(&f);
	write_out();
	assert_string_equal(written, "a c ");
	take();
	expect_delivered(100, 2);
	deliver_live("d", 102);
	path_lost(path(), "gone");
	silent();
	assert_int_equal(begun, 0);
	assert_true(path()->skipped);
	path()->skipped = false;
}

/* Frames of a router that lies. */
static void
test_malformed(void **state)
{
	struct frame f = stanza(STANZA_MESSAGE, "a", 100);

	(void)state;
	f.to = SLICE_NONE;
	deliver(&f);
	f.to = SLICE("@");
	deliver(&f);
	f.to = SLICE("Nurse@Capulet.example");
	deliver(&f);
	f = stanza(STANZA_MESSAGE, "a", 100);
	f.from = SLICE_NONE;
	deliver(&f);
	f = stanza(STANZA_MESSAGE, "a", 100);
	f.payload = SLICE("<x>");
	deliver(&f);
	assert_int_equal(refused, 5);
	silent();
	/* a handle of another domain: the address counts */
	remote_get(SLICE("verona.example"));
	expect(FRAME_REMOTE_OPEN);
	f = stanza(STANZA_MESSAGE, "a", 100);
	f.handle = remote_find(SLICE("verona.example"))->handle;
	deliver(&f);
	assert_true(slice_is(expect(FRAME_REMOTE_OPEN).domain, CAPULET));
	assert_int_equal(path()->queue.count, 1);
	f = (struct frame){ .type = FRAME_SESSION_KILL, .handle = 77 };
	remote_kill(&f);
	remote_reported(77);
	silent();
}

static void
test_waiting(void **state)
{
	struct frame f = { .type = FRAME_REMOTE_WAITING };

	(void)state;
	f.text = SLICE("capulet.example\n\nlocalhost\nNot.Prepared\n@\n" "verona.example");
	remotes_waiting(&f);
	assert_true(slice_is(expect(FRAME_REMOTE_OPEN).domain, CAPULET));
	assert_true(slice_is(expect(FRAME_REMOTE_OPEN).domain, "verona.example"));
	silent();
	remotes_waiting(&f); /* told once */
	silent();
	settings.federation = false;
	f.text = SLICE("montague.example\n");
	remotes_waiting(&f);
	silent();
}

/* Many are begun a few at a time, in their order, and none while too many are tried. */
static void
test_waiting_many(void **state)
{
	struct frame f = { .type = FRAME_REMOTE_WAITING };
	struct buf text = { 0 };
	char name[32];
	unsigned i;

	(void)state;
	for (i = 0; i < 100; i++)
		buf_printf(&text, "d%u.example\n", i);
	f.text = buf_slice(&text);
	remotes_waiting(&f);
	buf_free(&text);
	for (i = 0; i < 64; i++) {
		snprintf(name, sizeof name, "d%u.example", i);
		assert_true(slice_is(expect(FRAME_REMOTE_OPEN).domain, name));
		path_test(path_get(remote_find(slice_string(name)), SLICE("localhost")));
	}
	silent();
	assert_int_equal(paths_trying(), 64);
	wait_for(1000);
	silent();
	for (i = 0; i < 40; i++) {
		snprintf(name, sizeof name, "d%u.example", i);
		path_failed(LIST_FIRST(&remote_find(slice_string(name))->paths), STANZA_ERROR_REMOTE_SERVER_TIMEOUT,
		    false, "x");
	}
	wait_for(200);
	for (i = 64; i < 100; i++) {
		snprintf(name, sizeof name, "d%u.example", i);
		assert_true(slice_is(expect(FRAME_REMOTE_OPEN).domain, name));
	}
	silent();
}

/* A new router hears of all, and of pauses; the killed one is told once it is quiet. */
static void
test_router(void **state)
{
	uint64_t i;
	struct frame f;

	(void)state;
	for (i = 0; i < 11; i++)
		deliver_live("x", 100 + i);
	expect(FRAME_REMOTE_OPEN);
	expect(FRAME_SESSION_PAUSE);
	remotes_replay();
	f = expect(FRAME_REMOTE_OPEN);
	assert_true(f.handle == remote_find(SLICE(CAPULET))->handle);
	expect(FRAME_SESSION_PAUSE);
	silent();
	for (i = 0; i < 11; i++)
		deliver_spooled("x", 100 + i); /* what it sent before it heard that */
	assert_int_equal(path()->queue.count, 11);
	f = (struct frame){ .type = FRAME_SESSION_KILL, .handle = f.handle };
	remote_kill(&f);
	assert_true(remote_find(SLICE(CAPULET))->killed);
}

/* Two of our domains have a path each. */
static void
test_paths(void **state)
{
	struct frame f = stanza(STANZA_MESSAGE, "b", 101);
	struct path *other;

	(void)state;
	deliver_live("a", 100);
	expect(FRAME_REMOTE_OPEN);
	f.from = SLICE("paris@second.example");
	deliver(&f);
	silent();
	assert_int_equal(begun, 2);
	other = trying;
	assert_string_equal(other->local, "second.example");
	come_up(false);
	path_failed(other, STANZA_ERROR_REMOTE_SERVER_TIMEOUT, false, "no");
	write_out();
	assert_string_equal(written, "a ");
	take();
	expect_delivered(100, 1);
}

/* -- policies ------------------------------------------------------------------------------------------ */

static void
test_policy(void **state)
{
	struct config *config;
	const struct policy *policy;

	(void)state;
	settings.dialback = true;
	assert_int_equal(config_read(SLICE(
	    "peer\t*.example.net\tocsp-fetch\t\npeer\t*.example.net\tocsp-responder\t\n"
	    "peer\t*.example.net\tpolicy\trefuse\npeer\t*.example.net\tdirect-tls\tno\n"
	    "peer\t*.example.net\tauthentication\t\n"
	    "peer\t*.a.example.net\tocsp-fetch\t\npeer\t*.a.example.net\tocsp-responder\t\n"
	    "peer\t*.a.example.net\tpolicy\tallow\npeer\t*.a.example.net\tdirect-tls\tno\n"
	    "peer\t*.a.example.net\tauthentication\tcertificate\n"
	    "peer\tb.a.example.net\tocsp-fetch\t\npeer\tb.a.example.net\tocsp-responder\t\n"
	    "peer\tb.a.example.net\tpolicy\tallow\npeer\tb.a.example.net\tdirect-tls\tyes\n"
	    "peer\tb.a.example.net\tauthentication\t\n"
	    "peer\tb.a.example.net\taddress\t192.0.2.1:5269\n"
	    "peer\tb.a.example.net\taddress\t[2001:db8::1]:5270\n"), &config), OK);
	policies_configure(config);
	config_free(&config);
	policy = policy_of(SLICE("example.net")); /* "*." is for what is below it */
	assert_true(!policy->refuse && policy->dialback && policy->addresses[0] == NULL);
	assert_true(policy_of(SLICE("x.example.net"))->refuse);
	assert_true(policy_of(SLICE("x.example.net"))->dialback);
	assert_false(policy_of(SLICE("xexample.net"))->refuse);
	policy = policy_of(SLICE("x.a.example.net"));
	assert_true(!policy->refuse && !policy->dialback);
	assert_true(policy_of(SLICE("a.example.net"))->refuse);
	policy = policy_of(SLICE("b.a.example.net"));
	assert_true(policy->dialback && policy->direct_tls && !policy->refuse);
	assert_string_equal(policy->addresses[0], "192.0.2.1:5269");
	assert_string_equal(policy->addresses[1], "[2001:db8::1]:5270");
	assert_null(policy->addresses[2]);
	assert_true(policy_of(SLICE("x.b.a.example.net")) != policy);
	assert_false(policy_of(SLICE(""))->refuse);
	/* none are left */
	settings.dialback = false;
	assert_int_equal(config_read(SLICE(""), &config), OK);
	policies_configure(config);
	config_free(&config);
	assert_false(policy_of(SLICE("x.example.net"))->refuse);
	assert_false(policy_of(SLICE("x.example.net"))->dialback);
}

#define TEST(name) cmocka_unit_test_setup_teardown(test_##name, set_up, tear_down)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(life), TEST(room), TEST(room_rest), TEST(room_large), TEST(room_waits), TEST(room_hopeless), TEST(room_wrong),
		TEST(repeated),
		TEST(report),
		TEST(managed),
		TEST(early),
		TEST(failed),
		TEST(heard), TEST(retry),
		TEST(hopeless),
		TEST(hopeless_queue),
		TEST(not_answered),
		TEST(pause),
		TEST(overflow),
		TEST(crowded),
		TEST(component),
		TEST(malformed),
		TEST(waiting),
		TEST(waiting_many),
		TEST(router),
		TEST(paths),
		TEST(policy),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
