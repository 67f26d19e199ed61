/*
 * batch.c: takes frames from the router: each transaction has the effects of all that came, the
 * watermarks of their origins, and nothing else. Called by main.c at the end of each loop
 * iteration. Fails when the store does; then nothing is acknowledged, and the same frames are tried
 * again.
 *
 * What a frame asks for is answered in the order in which the frames came: what a DRAIN finds, and
 * which message is STORED before or after it, depends on that.
 */
#include "archived.h"

#include "counter.h"
#include "jid.h"
#include "log.h"

#define ORIGIN_TIME  (30ull * 86400 * 1000) /* milliseconds for which an origin is remembered */
#define BATCH_KEEP   (1 << 20) /* memory kept while there is nothing to do */
#define BATCH_BYTES  (2 << 20) /* of frames in one transaction */
#define STORED_MAX   8192      /* messages in one STORED */

/* The transaction at hand. */
static struct {
	uint64_t now;
	struct out *out;
	uint64_t stored, repeated, refused; /* for the counters */
} run;

static struct buf frames;       /* what has not been taken */
static size_t stale;            /* of these, bytes from a router that is gone */
static struct watermarks *marks;
/* STORED under construction. Those of an origin that come one after the other are in one frame: their
 * turn at the router is to come in the order of their ids. */
static struct {
	uint32_t origin;
	struct buf numbers;
} stored;

/* -- answers -- */

/* Writes out what is stored so far: something that comes after it follows. */
static void
stored_flush(void)
{
	struct frame f = { .type = FRAME_STORED, .origin = stored.origin,
		.numbers = buf_slice(&stored.numbers) };

	if (buf_len(&stored.numbers) != 0)
		frame_write(&f, &run.out->frames);
	buf_clear(&stored.numbers);
}

/* Answers one message; nobody waits for the answer to one that is not in custody. */
static void
stored_add(const struct frame *f, uint64_t id, uint64_t account)
{
	if (f->seq == 0)
		return;
	if (f->origin != stored.origin || buf_len(&stored.numbers) >= STORED_MAX * 24)
		stored_flush();
	stored.origin = f->origin;
	buf_add_u64(&stored.numbers, f->seq);
	buf_add_u64(&stored.numbers, id);
	buf_add_u64(&stored.numbers, account);
}

static void
ack_add(const struct frame *f)
{
	buf_add_u64(&run.out->acks, f->origin);
	buf_add_u64(&run.out->acks, f->seq);
}

/* Refuses a message for good. */
static int
refuse(const struct frame *f)
{
	run.refused++;
	stored_add(f, STORED_REFUSED, 0);
	return f->seq != 0 ? refused_add(f) : OK;
}

/* -- messages -- */

/* What the two sides of a message want: FLAG_FROM_SKIPS, FLAG_TO_SKIPS; *ask: of which of them the
 * roster must be asked, in the same bits. */
static int
sides_want(const struct frame *f, struct account *from, struct account *to, uint32_t *skips,
    uint32_t *ask)
{
	enum verdict sender = VERDICT_KEEP, receiver = VERDICT_KEEP;
	int error = OK;

	if (f->flags & FLAG_FROM_LOCAL)
		error = prefs_verdict(from, f->to, &sender);
	if (error == OK && (f->flags & FLAG_TO_LOCAL))
		error = prefs_verdict(to, f->from, &receiver);
	if (from == to && (sender == VERDICT_KEEP || receiver == VERDICT_KEEP))
		sender = receiver = VERDICT_KEEP;
	*skips = (sender == VERDICT_LEAVE ? FLAG_FROM_SKIPS : 0u) |
	    (receiver == VERDICT_LEAVE ? FLAG_TO_SKIPS : 0u);
	*ask = (sender == VERDICT_ASK ? FLAG_FROM_SKIPS : 0u) |
	    (receiver == VERDICT_ASK ? FLAG_TO_SKIPS : 0u);
	return error;
}

/* Writes a message, with what its sides want when that is not everything. */
static int
message_write(const struct frame *f, struct slice whole, uint64_t id)
{
	uint64_t stamp = f->stamp != 0 ? f->stamp : run.now;
	struct buf changed = { 0 };
	int error;

	if (!(f->flags & (FLAG_FROM_SKIPS | FLAG_TO_SKIPS)))
		return message_add(id, stamp, whole);
	error = frame_write(f, &changed);
	if (error == OK)
		error = message_add(id, stamp, buf_slice(&changed));
	buf_free(&changed);
	return error;
}

/* Whether somebody has a copy of a message in the archive. */
static bool
has_copies(const struct frame *f)
{
	return message_is_archived(f) &&
	    ((f->flags & (FLAG_FROM_LOCAL | FLAG_FROM_SKIPS)) == FLAG_FROM_LOCAL ||
	    (f->flags & (FLAG_TO_LOCAL | FLAG_TO_SKIPS)) == FLAG_TO_LOCAL);
}

static uint64_t
stored_bits(const struct frame *f)
{
	return (f->flags & FLAG_FROM_SKIPS ? STORED_FROM_SKIPS : 0u) |
	    (f->flags & FLAG_TO_SKIPS ? STORED_TO_SKIPS : 0u);
}

/* Whether the router does not hold what it has sent: a subscription stanza, or what a room says to others elsewhere. */
static bool
is_released(const struct frame *f)
{
	return f->kind == STANZA_PRESENCE || (f->flags & FLAG_ROOM);
}

/* Gives back to the router what it does not hold, behind what was stored before. */
static int
release(const struct frame *f, uint64_t id, uint64_t spool)
{
	struct frame spooled = *f;

	stored_flush();
	spooled.type = FRAME_SPOOLED;
	spooled.flags &= FLAG_FROM_ENTRY | (f->flags & FLAG_ROOM ? FLAG_ROOM | FLAG_TO_REMOTE | FLAG_SPOOL : 0u);
	spooled.token = SLICE_NONE;
	spooled.origin = 0;
	spooled.seq = 0;
	spooled.archive_id = id;
	spooled.number = spool;
	return frame_write(&spooled, &run.out->frames);
}

/* Rooms leave half of a spool to others. Who is refused then is out of its room: there may be no gap in what it is told
 * that it does not hear of. */
static uint64_t
spool_limit(const struct frame *f)
{
	return f->flags & FLAG_ROOM ? (state.spool_messages + 1) / 2 : state.spool_messages;
}

/* Gives a message its id and its places. */
static int
message_take(const struct frame *asked, struct slice whole)
{
	struct frame copy = *asked;
	const struct frame *f = &copy;
	bool receives = f->flags & (FLAG_TO_LOCAL | FLAG_TO_REMOTE);
	bool remote = f->flags & FLAG_TO_REMOTE;
	struct account *from, *to, *owner;
	uint32_t skips = 0, ask = 0;
	uint64_t id, sender = 0;
	int error = account_sides(f, &from, &to);

	owner = to;
	if (error == OK && remote)
		error = account_make(spool_owner(f), &owner);
	if (error == OK && message_is_archived(f))
		error = sides_want(f, from, to, &skips, &ask);
	if (error)
		return error;
	copy.flags = (copy.flags & ~(uint32_t)(FLAG_FROM_SKIPS | FLAG_TO_SKIPS)) | skips;
	if (receives && spool_count(owner->id) >= spool_limit(f)) {
		log_debug("message refused", "to=%s reason=\"spool full\"", log_quote(f->to));
		error = is_released(f) ? undeliverable_tell(f, f->flags & FLAG_ROOM ? STANZA_ERROR_SERVICE_UNAVAILABLE :
		    STANZA_ERROR_RESOURCE_CONSTRAINT, SLICE("Too much waits for this server"), run.now,
		    &run.out->frames) : OK;
		return error ? error : refuse(f);
	}
	if (f->flags & FLAG_FROM_LOCAL)
		sender = from->id;
	id = id_next(run.now);
	if (has_copies(f) || receives)
		error = message_write(f, whole, id);
	if (message_is_archived(f))
		index_add(f, id, from, to);
	if (error == OK && (ask & FLAG_FROM_SKIPS))
		error = prefs_ask(from, id, f->to, run.out);
	if (error == OK && (ask & FLAG_TO_SKIPS))
		error = prefs_ask(to, id, f->from, run.out);
	if (error == OK && receives)
		error = spool_add(owner->id, id, sender, (has_copies(f) ? SPOOL_ARCHIVED : 0u) |
		    (remote ? SPOOL_REMOTE : 0u));
	if (error == OK && is_released(f))
		error = release(f, id, owner->id);
	if (error == OK)
		stored_add(f, id, (receives ? owner->id : 0) | stored_bits(f));
	run.stored++;
	return error;
}

int
batch_store(struct frame *f)
{
	struct buf whole = { 0 };
	struct frame copy;
	int error = frame_write(f, &whole);

	if (error == OK) /* f may point into the store, which changes */
		error = frame_read(buf_slice(&whole), &copy);
	if (error == OK)
		error = message_take(&copy, buf_slice(&whole));
	buf_free(&whole);
	return error;
}

/* Takes a request to an account's archive; one of a router that is gone comes again. */
static int
take_request(const struct frame *f, struct slice whole)
{
	struct jid from, to;

	if (whole.ptr < buf_slice(&frames).ptr + stale)
		return OK;
	if ((f->subtype != TYPE_GET && f->subtype != TYPE_SET) || jid_parse(f->from, &from) ||
	    (f->to.ptr != NULL && jid_parse(f->to, &to))) {
		daemon_refuse(f, "not a request");
		run.refused++;
		if (f->seq != 0)
			ack_add(f);
		return OK;
	}
	return mam_take(f, whole, run.out);
}

/* Takes what a room says: into its archive, and for others elsewhere. Not its number at the sender but its token tells
 * whether it was stored: mucd has to know the id that it got. */
static int
take_room(const struct frame *f)
{
	bool repeated;
	uint64_t id;
	int error;

	if (!room_is_message(f) && !room_is_said(f)) {
		daemon_refuse(f, "not a message of a room");
		return refuse(f);
	}
	error = room_store(f, run.now, &id, &repeated);
	if (error)
		return error;
	run.stored += !repeated && id != 0;
	run.repeated += repeated;
	stored_add(f, id, 0);
	return repeated ? OK : elsewhere_store(f, f->text, id);
}

/* Messages; and subscription stanzas for a domain elsewhere, of which no archive has anything. */
static bool
is_to_be_stored(const struct frame *f)
{
	return f->kind == STANZA_MESSAGE || (f->kind == STANZA_PRESENCE && f->subtype >= TYPE_SUBSCRIBE &&
	    f->subtype <= TYPE_UNSUBSCRIBED && (f->flags & FLAG_TO_REMOTE) &&
	    !(f->flags & (FLAG_FROM_LOCAL | FLAG_TO_LOCAL)) && !message_is_archived(f));
}

static int
take_stanza(const struct frame *f, struct slice whole)
{
	struct jid from, to;
	bool repeated = false;
	int error;

	if (!(f->flags & FLAG_STORE) ||
	    !(f->flags & (FLAG_FROM_LOCAL | FLAG_TO_LOCAL | FLAG_TO_REMOTE)) ||
	    !is_to_be_stored(f) || jid_parse(f->from, &from) || jid_parse(f->to, &to)) {
		daemon_refuse(f, "not a message to be stored");
		return refuse(f);
	}
	if (f->token.len == ONCE_SIZE && !(f->flags & FLAG_FROM_LOCAL)) {
		error = once_take(f, run.now, &repeated);
		if (error)
			return error;
	}
	if (!repeated)
		return message_take(f, whole);
	run.repeated++;
	stored_add(f, 0, 0);
	return OK;
}

/* -- the other frames -- */

static int
take_delivered(const struct frame *f, struct slice whole)
{
	int error = OK;
	size_t i;

	(void)whole;
	for (i = 0; i + 1 < frame_count(f) && error == OK; i += 2)
		error = spool_remove(frame_at(f, i), frame_at(f, i + 1));
	return error;
}

static int
take_drop(const struct frame *f, struct slice whole)
{
	struct account *account;
	int error = account_find(f->jid, &account);

	(void)whole;
	if (error)
		return error == E_NOT_FOUND ? OK : error;
	return f->flags & FLAG_BOUNCE ? bounce_take(account, f->archive_id, run.now) :
	    spool_remove(account->id, f->archive_id);
}

static int
take_forget(const struct frame *f, struct slice whole)
{
	struct frame answer = { .type = FRAME_FORGOTTEN, .jid = f->jid, .number = f->number };
	int error = forget_take(f);

	(void)whole;
	if (error || f->seq != 0) /* mucd's is acknowledged */
		return error;
	stored_flush();
	return frame_write(&answer, &run.out->frames);
}

static int
take_undeliverable(const struct frame *f, struct slice whole)
{
	(void)whole;
	return undeliverable_take(f, run.now, &run.out->frames);
}

static int
take_waiting(const struct frame *f, struct slice whole)
{
	(void)f;
	return whole.ptr < buf_slice(&frames).ptr + stale ? OK
	    : undeliverable_domains(&run.out->frames);
}

static int
take_drain(const struct frame *f, struct slice whole)
{
	if (whole.ptr < buf_slice(&frames).ptr + stale)
		return OK;
	stored_flush();
	return spool_drain(f, &run.out->frames);
}

static int
take_roster(const struct frame *f, struct slice whole)
{
	(void)whole;
	return prefs_answered(f);
}

/* A question of a router that is gone is asked again. */
static int
take_push(const struct frame *f, struct slice whole)
{
	if (whole.ptr < buf_slice(&frames).ptr + stale)
		return OK;
	stored_flush();
	return notify_answer(f, &run.out->frames);
}

/* Of no watermark: what it asks for changes nothing, and who did not get the answer asks again. */
static int
take_history(const struct frame *f, struct slice whole)
{
	if (whole.ptr < buf_slice(&frames).ptr + stale)
		return OK;
	stored_flush();
	return history_answer(f, &run.out->frames);
}

static int
take_room_query(const struct frame *f, struct slice whole)
{
	return whole.ptr < buf_slice(&frames).ptr + stale ? OK : mam_take_room(f, whole, run.out);
}

static int
take_redact(const struct frame *f, struct slice whole)
{
	(void)whole;
	return redact_take(f);
}

/* What archived takes from the router. */
static int (*const takers[FRAME_COUNT])(const struct frame *f, struct slice whole) = {
	[FRAME_STANZA] = take_stanza,
	[FRAME_DELIVERED] = take_delivered,
	[FRAME_DROP] = take_drop,
	[FRAME_FORGET] = take_forget,
	[FRAME_DRAIN] = take_drain,
	[FRAME_UNDELIVERABLE] = take_undeliverable,
	[FRAME_REMOTE_WAITING] = take_waiting,
	[FRAME_ROSTER_IS] = take_roster,
	[FRAME_PUSH] = take_push,
	[FRAME_HISTORY] = take_history,
	[FRAME_ROOM_QUERY] = take_room_query,
	[FRAME_REDACT] = take_redact,
};

/* Frames that are taken whether they came before or not, and say themselves what is done. */
static bool
has_no_mark(const struct frame *f)
{
	return f->type == FRAME_HISTORY || f->type == FRAME_ROOM_QUERY;
}

/* Whether a frame has what its taker reads: the account, for those that are about one. */
static bool
is_whole(const struct frame *f)
{
	struct jid jid;

	return f->type == FRAME_STANZA || f->type == FRAME_DELIVERED ||
	    f->type == FRAME_UNDELIVERABLE || f->type == FRAME_REMOTE_WAITING ||
	    (jid_parse(f->jid, &jid) == OK && jid.resource.ptr == NULL);
}

/* Acknowledges what was taken before. */
static void
repeat(const struct frame *f)
{
	if (f->type != FRAME_STANZA) {
		ack_add(f);
		return;
	}
	run.repeated++;
	stored_add(f, refused_has(f) ? STORED_REFUSED : 0, 0);
}

/* Takes one frame, unless it was taken before. */
static int
take(struct slice whole)
{
	struct frame f;
	int error;

	error = frame_read(whole, &f);
	if (error || !is_whole(&f)) {
		run.refused++;
		daemon_refuse(&f, "no account");
		return OK;
	}
	if (f.type == FRAME_STANZA && (f.flags & FLAG_ROOM))
		return take_room(&f);
	if (f.type == FRAME_STANZA && f.kind == STANZA_IQ)
		return take_request(&f, whole);
	if (has_no_mark(&f))
		return takers[f.type](&f, whole);
	if (f.seq != 0 && !watermark_take(marks, f.origin, f.seq)) {
		repeat(&f);
		return OK;
	}
	error = takers[f.type](&f, whole);
	if (error == OK && f.seq != 0 && f.type != FRAME_STANZA)
		ack_add(&f);
	return error;
}

/* -- the transaction -- */

static void
mark_store(void *arg, uint32_t origin, uint64_t seq)
{
	char key[4], value[17] = { VALUE_VERSION };
	unsigned i;

	(void)arg;
	for (i = 0; i < 4; i++)
		key[i] = (char)(origin >> (24 - 8 * i));
	store_key_u64(value + 1, seq);
	store_key_u64(value + 9, run.now);
	/* An error stays with the transaction until its commit. */
	store_put(state.store, TABLE_WATERMARK, slice_of(key, sizeof key),
	    slice_of(value, sizeof value));
}

/* Takes frames until there are no more, or the answers are many; *used: their bytes. */
static int
take_all(size_t *used)
{
	struct slice whole, rest = buf_slice(&frames);
	int error = OK;

	while (error == OK && buf_len(&run.out->frames) < OUT_BYTES &&
	    buf_len(&frames) - rest.len < BATCH_BYTES && frame_next(rest, &whole) == OK) {
		error = take(whole);
		rest = slice_part(rest, whole.len, rest.len);
	}
	*used = buf_len(&frames) - rest.len;
	return error;
}

int
batch_run(uint64_t now, struct out *out)
{
	size_t used;
	int error;

	run.now = now;
	run.out = out;
	refused_begin();
	run.stored = run.repeated = run.refused = 0;
	account_trim();
	error = take_all(&used);
	if (error == OK)
		error = index_some();
	if (error) {
		state_abort();
	} else {
		stored_flush();
		watermarks_changed(marks, mark_store, NULL);
		error = state_commit();
	}
	buf_clear(&stored.numbers);
	if (error) {
		watermarks_revert(marks);
		refused_revert();
		buf_clear(&out->frames);
		buf_clear(&out->acks);
		return error;
	}
	COUNT_BY(messages_stored, run.stored);
	COUNT_BY(messages_repeated, run.repeated);
	COUNT_BY(messages_refused, run.refused);
	buf_consume(&frames, used);
	buf_trim(&frames, BATCH_KEEP);
	stale = stale > used ? stale - used : 0;
	return OK;
}

int
batch_give_up(uint64_t now, struct out *out, bool *more)
{
	int error;

	run.now = now;
	run.out = out;
	refused_begin();
	error = undeliverable_expire(now, &out->frames, more);
	if (error == OK && !*more)
		error = once_expire(now, more);
	if (error == OK && !*more)
		error = once_room_expire(now, more);
	if (error)
		state_abort();
	else
		error = state_commit();
	if (error) {
		refused_revert();
		buf_clear(&out->frames);
	}
	return error;
}

bool
batch_add(enum frame_type type, struct slice whole)
{
	if (takers[type] == NULL)
		return false;
	buf_add_slice(&frames, whole);
	return true;
}

size_t
batch_bytes(void)
{
	return buf_len(&frames);
}

void
batch_router_gone(void)
{
	stale = buf_len(&frames);
	mam_router_gone();
}

/* -- watermarks on disk -- */

static bool
mark_load(void *arg, struct slice key, struct slice value)
{
	const uint64_t *now = arg;
	struct value_reader origin = { .rest = key }, r = { .rest = value };
	uint32_t number = value_u32(&origin);
	uint64_t seq, time;
	char copy[4];

	value_u8(&r);
	seq = value_u64(&r);
	time = value_u64(&r);
	if (origin.error || r.error)
		return true;
	if (time + ORIGIN_TIME >= *now) {
		watermark_set(marks, number, seq);
		return true;
	}
	memcpy(copy, key.ptr, sizeof copy);
	watermark_forget(marks, number);
	store_remove(state.store, TABLE_WATERMARK, slice_of(copy, sizeof copy));
	return true;
}

int
batch_expire(uint64_t now)
{
	int error = store_walk(state.store, TABLE_WATERMARK, SLICE(""), SLICE(""), mark_load, &now);

	if (error) {
		state_abort();
		return error;
	}
	return state_commit();
}

int
batch_open(uint64_t now)
{
	int error;

	marks = watermarks_new();
	error = refused_open();
	return error ? error : batch_expire(now);
}

void
batch_close(void)
{
	buf_free(&stored.numbers);
	buf_free(&frames);
	stale = 0;
	watermarks_free(&marks);
	refused_close();
}
