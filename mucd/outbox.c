/*
 * outbox.c: what rooms say, in one order for all of them, on disk until the router says that it has arrived.
 * Called by all that handle stanzas, by inbox.c around each commit, and by main.c for what the router says.
 * Fails when the store does, which the commit reports.
 *
 *   (outbox_add) -> PENDING -> (commit) -> WAITING -> (room in the window) -> SENT, in custody
 *                      '-> (commit failed) -> gone, and said again                |
 *                                      gone <- (commit) <- DONE <- (all of a row acknowledged)
 *
 * Each frame has a number that no other ever had or will have. A row is a run of frames, since who enters a room of
 * a thousand is told of a thousand: it is removed when the last of them is acknowledged. What came before a row
 * is acknowledged again after a restart; the numbers tell everybody what has come already.
 */
#include <gnutls/crypto.h>
#include <gnutls/gnutls.h>
#include <stdlib.h>

#include "counter.h"
#include "log.h"
#include "mem.h"
#include "mucd.h"

#define ROW_BYTES   (128u << 10) /* of a row, before the next one begins */
#define KEPT_BYTES  (64u << 20)  /* above which nothing more is handled */
#define SENT_FRAMES 2048u        /* that the router has at most, and has not acknowledged; it takes 4096, */
#define SENT_BYTES  (16u << 20)  /* and 32 MiB with what it has added */
#define TIME_SHIFT  20           /* numbers in a millisecond: more than are ever said */
#define NUMBER_NAME "outbox"     /* in meta: the next number */
#define STORE_NAME  "store"      /* in meta: names this store, in tokens */

/* A row that is on disk. */
struct row {
	TAILQ_ENTRY(row) waiting;
	uint64_t number; /* of its first frame */
	size_t left;     /* frames that are not acknowledged */
	size_t unsent;   /* frames of these that wait */
};

/* Something that leaves the archive of a room, and that the router has not acknowledged. */
struct erasure {
	TAILQ_ENTRY(erasure) all;
	uint64_t seq;
	size_t room_len;
	char room[];
};

static struct custody *custody;  /* of what was sent */
static struct buf waiting;       /* frames that are not, in their order */
static size_t waiting_count;
static TAILQ_HEAD(, row) waiting_rows = TAILQ_HEAD_INITIALIZER(waiting_rows);
static struct buf pending;       /* frames of this transaction */
static size_t pending_count;
static uint64_t next_number, committed_number;
static uint64_t store_name;
static TAILQ_HEAD(erasures, erasure) erasures = TAILQ_HEAD_INITIALIZER(erasures); /* by seq */
static struct buf done;          /* numbers of rows to be removed */

/* -- receivers -- */

void
receivers_add(struct receivers *r, const struct client *client)
{
	if (client->handle != 0) {
		buf_add_u64(&r->handles, client->handle);
		return;
	}
	buf_add_slice(&r->elsewhere, client_jid(client));
	buf_add_char(&r->elsewhere, '\n');
}

void
receivers_free(struct receivers *r)
{
	buf_free(&r->handles);
	buf_free(&r->elsewhere);
}

const struct receivers *
receivers_everyone(struct room *room)
{
	const struct occupant *o;
	const struct client *client;

	if (room->everyone_known)
		return &room->everyone;
	buf_clear(&room->everyone.handles);
	buf_clear(&room->everyone.elsewhere);
	TAILQ_FOREACH(o, &room->occupants, all)
		TAILQ_FOREACH(client, &o->clients, siblings)
			receivers_add(&room->everyone, client);
	room->everyone_known = true;
	return &room->everyone;
}

/* -- what leaves archives -- */

static void
erasure_note(const struct frame *f)
{
	struct erasure *e;

	if (f->type != FRAME_FORGET && f->type != FRAME_REDACT)
		return;
	e = mem_alloc(sizeof *e + f->jid.len + 1);
	e->seq = f->seq;
	e->room_len = f->jid.len;
	memcpy(e->room, f->jid.ptr, f->jid.len);
	TAILQ_INSERT_TAIL(&erasures, e, all);
}

static void
erasure_free(struct erasure *e)
{
	TAILQ_REMOVE(&erasures, e, all);
	free(e);
}

static void
erasure_end(uint64_t seq)
{
	struct erasure *e = TAILQ_FIRST(&erasures);

	while (e != NULL && e->seq < seq)
		e = TAILQ_NEXT(e, all);
	if (e != NULL && e->seq == seq)
		erasure_free(e);
}

bool
outbox_erases(struct slice room)
{
	const struct erasure *e;

	TAILQ_FOREACH(e, &erasures, all) {
		if (slice_equal(slice_of(e->room, e->room_len), room))
			return true;
	}
	return false;
}

/* -- adding -- */

/* Gives a frame its place. */
static void
put(struct frame *f)
{
	int error;

	f->number = next_number;
	f->origin = daemon_incarnation();
	f->seq = custody_next(custody) + waiting_count + pending_count;
	error = frame_write(f, &pending);
	if (error) {
		log_error("frame not kept", "type=%s reason=\"%s\"", frame_text(f->type), error_text(error));
		return;
	}
	next_number++;
	pending_count++;
	erasure_note(f);
	daemon_dirty();
}

/* The name of the next frame in archived's store. */
static struct slice
token_make(char token[ONCE_SIZE])
{
	store_key_u64(token, store_name);
	store_key_u64(token + 8, next_number);
	return slice_of(token, ONCE_SIZE);
}

void
outbox_add(struct frame *f, const struct receivers *r)
{
	char token[ONCE_SIZE];
	bool stored = (f->flags & FLAG_STORE) != 0;

	if (!stored && buf_len(&r->handles) == 0 && buf_len(&r->elsewhere) == 0)
		return;
	f->type = FRAME_STANZA;
	f->flags |= FLAG_ROOM | (stored ? FLAG_FROM_LOCAL : 0u);
	f->handle = 0;
	f->to = stored ? jid_bare_of(f->from) : SLICE_NONE;
	f->token = stored || buf_len(&r->elsewhere) != 0 ? token_make(token) : SLICE_NONE;
	f->numbers = buf_len(&r->handles) != 0 ? buf_slice(&r->handles) : SLICE_NONE;
	f->text = buf_len(&r->elsewhere) != 0 ? buf_slice(&r->elsewhere) : SLICE_NONE;
	if (f->stamp == 0)
		f->stamp = daemon_now();
	put(f);
	f->token = SLICE_NONE;
}

void
outbox_message(struct frame *f)
{
	char token[ONCE_SIZE];

	f->type = FRAME_STANZA;
	f->flags |= FLAG_STORE | FLAG_CONTENT;
	f->handle = 0;
	f->token = token_make(token);
	if (f->stamp == 0)
		f->stamp = daemon_now();
	put(f);
	f->token = SLICE_NONE;
}

void
outbox_history(const struct room *room, const struct client *client, uint64_t since, uint64_t stanzas,
    uint64_t characters)
{
	char token[ONCE_SIZE];
	struct frame f = { .type = FRAME_HISTORY, .jid = room_jid(room), .handle = client->handle, .stamp = since,
		.token = token_make(token) };
	struct buf numbers = { 0 };

	if (client->handle == 0)
		f.to = client_jid(client);
	else
		f.from = client_jid(client);
	buf_add_u64(&numbers, stanzas);
	buf_add_u64(&numbers, characters);
	f.numbers = buf_slice(&numbers);
	put(&f);
	buf_free(&numbers);
}

void
outbox_redact(const struct room *room, uint64_t archive_id, struct slice own, struct slice payload)
{
	struct frame f = { .type = FRAME_REDACT, .jid = room_jid(room), .archive_id = archive_id, .from = own,
		.payload = payload };

	put(&f);
}

void
outbox_forget(struct slice room)
{
	char token[ONCE_SIZE];
	struct frame f = { .type = FRAME_FORGET, .jid = room, .token = token_make(token) };

	put(&f);
}

/* -- rows -- */

/* Takes a run of frames that make one row off the front. */
static struct slice
run_next(struct slice *rest, size_t *count, uint64_t *number)
{
	struct slice run = { rest->ptr, 0 }, whole;
	struct frame f;

	*count = 0;
	*number = 0;
	while (run.len < ROW_BYTES && frame_next(*rest, &whole) == OK) {
		if (*count == 0 && frame_read(whole, &f) == OK)
			*number = f.number;
		(*count)++;
		run.len += whole.len;
		*rest = slice_part(*rest, whole.len, rest->len);
	}
	return run;
}

static struct slice
row_key(uint64_t number, char key[8])
{
	store_key_u64(key, number);
	return slice_of(key, 8);
}

/* Removes the rows that are done. */
static int
done_remove(void)
{
	size_t i;
	int error = OK;

	for (i = 0; i < buf_len(&done) / 8 && error == OK; i++) {
		uint64_t number;
		char key[8];

		memcpy(&number, buf_slice(&done).ptr + 8 * i, 8);
		error = store_remove(store, TABLE_OUTBOX, row_key(number, key));
		if (error == E_NOT_FOUND)
			error = OK;
	}
	return error;
}

int
outbox_save(void)
{
	struct slice rest = buf_slice(&pending);
	struct buf row = { 0 };
	int error = done_remove();

	while (error == OK && rest.len != 0) {
		size_t count;
		uint64_t number;
		struct slice run = run_next(&rest, &count, &number);
		char key[8];

		buf_clear(&row);
		value_add_u8(&row, VALUE_VERSION);
		buf_add_slice(&row, run);
		error = store_append(store, TABLE_OUTBOX, row_key(number, key), buf_slice(&row));
	}
	if (error == OK && next_number != committed_number)
		error = meta_put(NUMBER_NAME, next_number);
	buf_free(&row);
	return error;
}

/* Puts the frames of a row behind those that wait. */
static void
run_wait(struct slice run, size_t count, uint64_t number)
{
	struct row *row = mem_alloc(sizeof *row);

	row->number = number;
	row->left = row->unsent = count;
	TAILQ_INSERT_TAIL(&waiting_rows, row, waiting);
	buf_add_slice(&waiting, run);
	waiting_count += count;
}

/* Sends what there is room for. */
static void
advance(void)
{
	struct row *row;
	struct slice whole;

	while (custody_count(custody) < SENT_FRAMES && custody_bytes(custody) < SENT_BYTES &&
	    frame_next(buf_slice(&waiting), &whole) == OK) {
		row = TAILQ_FIRST(&waiting_rows);
		if (--row->unsent == 0)
			TAILQ_REMOVE(&waiting_rows, row, waiting);
		custody_keep(custody, whole, row);
		if (daemon_router_up())
			link_send_raw(daemon_router(), whole);
		waiting_count--;
		buf_consume(&waiting, whole.len);
	}
	buf_trim(&waiting, ROW_BYTES);
}

void
outbox_send(void)
{
	struct slice rest = buf_slice(&pending);

	while (rest.len != 0) {
		size_t count;
		uint64_t number;
		struct slice run = run_next(&rest, &count, &number);

		run_wait(run, count, number);
	}
	advance();
	COUNT_BY(outbox_frames, pending_count);
	buf_clear(&pending);
	buf_trim(&pending, 4 * ROW_BYTES);
	pending_count = 0;
	committed_number = next_number;
	buf_clear(&done);
}

void
outbox_revert(void)
{
	struct erasure *e;

	while ((e = TAILQ_LAST(&erasures, erasures)) != NULL && e->seq >= custody_next(custody) + waiting_count)
		erasure_free(e);
	buf_clear(&pending);
	pending_count = 0;
	next_number = committed_number;
}

size_t
outbox_pending(void)
{
	return buf_len(&pending);
}

bool
outbox_idle(void)
{
	return buf_len(&done) == 0;
}

/* -- the router -- */

static void
taken(void *arg, uint64_t seq, void *tag)
{
	struct row *row = tag;

	(void)arg;
	erasure_end(seq);
	if (--row->left != 0)
		return;
	buf_add_u64(&done, row->number);
	free(row);
}

void
outbox_acked(const struct frame *f)
{
	size_t i;

	if (f->origin != daemon_incarnation() || frame_count(f) % 2 != 0) {
		daemon_refuse(f, "not ours");
		return;
	}
	for (i = 0; i + 1 < frame_count(f); i += 2)
		custody_ack(custody, frame_at(f, i), frame_at(f, i + 1), taken, NULL);
	advance();
	daemon_dirty(); /* there may be room for more to be handled */
}

static void
send_again(void *arg, struct slice frame, void *tag)
{
	(void)arg;
	(void)tag;
	link_send_raw(daemon_router(), frame);
}

void
outbox_resend(void)
{
	if (daemon_router() != NULL)
		custody_resend(custody, send_again, NULL);
}

bool
outbox_full(void)
{
	return custody_bytes(custody) + buf_len(&waiting) + buf_len(&pending) > KEPT_BYTES;
}

void
outbox_gauges(void)
{
	GAUGE(outbox_waiting, custody_count(custody) + waiting_count);
	GAUGE(outbox_bytes, custody_bytes(custody) + buf_len(&waiting));
}

/* -- the start -- */

/* Gives the frames of a row the numbers that they have in our custody. */
static bool
row_load(void *arg, struct slice key, struct slice value)
{
	int *error = arg;
	struct slice rest = slice_part(value, 1, value.len), whole;
	struct buf run = { 0 };
	struct frame f;
	size_t count = 0;

	while (frame_next(rest, &whole) == OK && frame_read(whole, &f) == OK) {
		rest = slice_part(rest, whole.len, rest.len);
		f.origin = daemon_incarnation();
		f.seq = custody_next(custody) + waiting_count + count;
		if (f.number >= next_number)
			next_number = f.number + 1;
		if (frame_write(&f, &run) != OK)
			continue;
		erasure_note(&f);
		count++;
	}
	if (key.len != 8 || rest.len != 0 || count == 0)
		*error = E_MALFORMED;
	else
		run_wait(buf_slice(&run), count, store_key_read_u64(key.ptr));
	buf_free(&run);
	return *error == OK;
}

int
outbox_open(void)
{
	int error = meta_get(NUMBER_NAME, 1, &next_number), bad = OK;

	custody = custody_new();
	if (error == OK)
		error = meta_get(STORE_NAME, 0, &store_name);
	if (error == OK)
		error = store_walk(store, TABLE_OUTBOX, SLICE(""), SLICE(""), row_load, &bad);
	if (error == OK && bad != OK)
		error = bad;
	/* A store that was restored knows less than what was said since: numbers and tokens may not come twice. */
	if (next_number < daemon_now() << TIME_SHIFT)
		next_number = daemon_now() << TIME_SHIFT;
	committed_number = next_number;
	advance();
	if (error || store_name != 0)
		return error;
	if (gnutls_rnd(GNUTLS_RND_NONCE, &store_name, sizeof store_name) != 0 || store_name == 0)
		return E_SYSTEM;
	error = meta_put(STORE_NAME, store_name);
	return error != OK ? error : store_commit(store);
}
