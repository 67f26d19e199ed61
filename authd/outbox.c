/*
 * outbox.c: subscription stanzas to contacts elsewhere, on disk until archived has them on the spool of
 * their domain. Called by presence.c and main.c. Fails when the store does.
 *
 *   (the transaction that changes the roster) -> KEPT -> (sent, in custody) -> (ACK) -> gone
 *
 * A row is written with what the stanza is about, so neither is there without the other; it is sent when
 * that is committed, and again at each RESEND of the router. Numbers grow as long as this process lives. After
 * a restart the same rows come with another origin: archived knows them by their tokens.
 *
 * Row in outbox: u64 number -> version, token, frame.
 */
#include <gnutls/crypto.h>

#include "authd.h"
#include "counter.h"
#include "log.h"

static uint64_t last;     /* number given out */
static uint64_t sent;     /* all rows up to this one were */
static bool takes;       /* the router takes them */
static size_t waiting;    /* rows */

static bool
row_count(void *arg, struct slice key, struct slice value)
{
	(void)arg;
	(void)value;
	waiting++;
	last = store_key_read_u64(key.ptr) > last ? store_key_read_u64(key.ptr) : last;
	return true;
}

void
outbox_open(void)
{
	waiting = 0;
	store_walk(state.store, TABLE_OUTBOX, SLICE(""), SLICE(""), row_count, NULL);
}

void
outbox_add(const struct frame *f)
{
	char key[8], token[ONCE_SIZE];
	struct buf value = { 0 }, whole = { 0 };

	if (frame_write(f, &whole) != OK || gnutls_rnd(GNUTLS_RND_NONCE, token, sizeof token) != 0) {
		log_error("subscription stanza dropped", "reason=\"too big\"");
		buf_free(&whole);
		return;
	}
	store_key_u64(key, ++last);
	value_add_u8(&value, VALUE_VERSION);
	value_add_slice(&value, slice_of(token, sizeof token));
	value_add_slice(&value, buf_slice(&whole));
	store_put(state.store, TABLE_OUTBOX, slice_of(key, sizeof key), buf_slice(&value));
	waiting++;
	buf_free(&whole);
	buf_free(&value);
}

void
outbox_resend(void)
{
	takes = true;
	sent = 0;
}

void
outbox_stop(void)
{
	takes = false;
}

/* What the walk from a number finds. */
struct row {
	uint64_t number;
	struct slice value;
};

static bool
row_first(void *arg, struct slice key, struct slice value)
{
	struct row *row = arg;

	row->number = store_key_read_u64(key.ptr);
	row->value = value;
	return false;
}

bool
outbox_next(struct frame *f)
{
	struct value_reader r = { .error = OK };
	struct row row;
	struct slice token;
	char key[8];

	while (takes && sent < last) {
		row.number = 0;
		store_key_u64(key, sent + 1);
		store_walk(state.store, TABLE_OUTBOX, slice_of(key, sizeof key), SLICE(""), row_first, &row);
		sent = row.number != 0 ? row.number : last;
		if (row.number == 0)
			return false;
		r.rest = row.value;
		value_u8(&r);
		token = value_slice(&r);
		if (frame_read(value_slice(&r), f) == OK && r.error == OK) {
			f->token = token;
			f->seq = row.number;
			return true;
		}
		log_error("subscription stanza unreadable", "number=%llu", (unsigned long long)row.number);
	}
	return false;
}

/* Those of a range that there are. */
struct range {
	uint64_t last;
};

static bool
row_taken(void *arg, struct slice key, struct slice value)
{
	const struct range *range = arg;
	char copy[8];

	(void)value;
	if (store_key_read_u64(key.ptr) > range->last)
		return false;
	memcpy(copy, key.ptr, sizeof copy);
	store_remove(state.store, TABLE_OUTBOX, slice_of(copy, sizeof copy));
	waiting -= waiting > 0;
	return true;
}

void
outbox_taken(const struct frame *f)
{
	struct range range;
	char key[8];
	size_t i;

	for (i = 0; i + 1 < frame_count(f); i += 2) {
		/* What was not sent nobody can have. */
		range.last = frame_at(f, i + 1) < sent ? frame_at(f, i + 1) : sent;
		store_key_u64(key, frame_at(f, i));
		store_walk(state.store, TABLE_OUTBOX, slice_of(key, sizeof key), SLICE(""), row_taken, &range);
	}
}

void
outbox_gauges(void)
{
	GAUGE(outbox, waiting);
}
