/*
 * history.c: the last messages of a room for who enters it (XEP-0045 section 7.2.13). Called by batch.c, in the
 * transaction in which the HISTORY came, at its place: what was stored before it is in it, also in the same
 * transaction, and what comes after it is not. Fails when the store does.
 *
 * The archive is walked back until there are enough messages, then they are written in their order: to the
 * router, or on the spool of a receiver elsewhere, behind what the room has said to it before. Who has sent one
 * is never in it. Characters are those of the whole stanzas, as they are sent.
 */
#include "archived.h"

#include "counter.h"
#include "jid.h"
#include "log.h"

struct history {
	const struct frame *asked;
	uint64_t left;           /* messages */
	uint64_t characters;     /* left */
	size_t bytes, rows;
	struct buf ids;          /* found, the last one first */
	int error;
};

/* The message as it is sent. */
static void
message_make(const struct history *history, uint64_t id, uint64_t stamp, struct frame *f)
{
	const struct frame *asked = history->asked;

	f->flags = (f->flags & FLAG_FROM_ENTRY) | FLAG_ROOM | FLAG_SPOOL;
	f->to = asked->to;
	f->jid = SLICE_NONE;
	f->handle = asked->handle;
	f->number = asked->number;
	f->archive_id = id;
	f->stamp = stamp;
}

/* Characters of a stanza, in UTF-8, with the address that it is written with. */
static uint64_t
characters_of(const struct frame *f, const struct frame *asked)
{
	static struct buf xml; /* keeps its memory */
	uint64_t count = 0;
	size_t i;

	buf_clear(&xml);
	stanza_write(f, asked->from, asked->jid, &xml);
	for (i = 0; i < buf_len(&xml); i++)
		count += ((unsigned char)buf_slice(&xml).ptr[i] & 0xc0) != 0x80;
	buf_trim(&xml, 4096);
	return count;
}

/* Takes a message that was found, or not; false: no others are to be looked at. */
static bool
message_try(void *arg, uint64_t id)
{
	struct history *history = arg;
	uint64_t stamp, count;
	struct frame f;
	int error;

	if (history->left == 0 || history->bytes >= HISTORY_BYTES || history->rows++ == HISTORY_ROWS)
		return false;
	error = message_get(id, &stamp, &f);
	if (error && error != E_NOT_FOUND && error != E_MALFORMED)
		history->error = error;
	if (error || !(f.flags & (FLAG_CONTENT | FLAG_BODY)) || stamp < history->asked->stamp)
		return history->error == OK;
	if (history->characters != UINT64_MAX) {
		message_make(history, id, stamp, &f);
		count = characters_of(&f, history->asked);
		if (count > history->characters)
			return false;
		history->characters -= count;
	}
	history->left--;
	history->bytes += f.payload.len;
	buf_add_u64(&history->ids, id);
	return true;
}

static int
messages_find(struct history *history)
{
	uint64_t since = history->asked->stamp, after = archive_skew()->after;
	struct range range = { .before = UINT64_MAX, .backward = true,
		.after = since > after ? id_floor(since - after) : 0 };
	int error = room_account(history->asked->jid, &range.account);

	/* It may be asked for again, when what comes behind it has been stored. */
	if (error == OK)
		error = once_room_after(history->asked, &range.before);

	if (range.after != 0)
		range.after--;
	if (error == OK && range.account != 0)
		error = archive_walk(&range, message_try, history);
	return error ? error : history->error;
}

/* Reads the next one of those that were found, from the oldest on, as it is sent. */
static int
message_next(const struct history *history, size_t *at, uint64_t *id, struct frame *f)
{
	uint64_t stamp;
	int error;

	*at -= 8;
	memcpy(id, buf_slice(&history->ids).ptr + *at, 8);
	error = message_get(*id, &stamp, f);
	if (error == OK)
		message_make(history, *id, stamp, f);
	return error;
}

static int
messages_write(const struct history *history, struct buf *out)
{
	size_t i = buf_len(&history->ids);
	struct frame f;
	uint64_t id;
	int error = OK;

	while (i != 0 && error == OK) {
		error = message_next(history, &i, &id, &f);
		if (error)
			break;
		error = frame_write(&f, out);
		if (error == E_TOO_BIG) {
			log_error("message left out", "id=%016llx reason=\"%s\"", (unsigned long long)id,
			    error_text(error));
			error = OK;
		}
	}
	return error;
}

/* Puts the messages on the spool of a receiver elsewhere. */
static int
messages_store(const struct history *history)
{
	size_t i = buf_len(&history->ids);
	struct frame f;
	uint64_t id;
	int error = OK;

	while (i != 0 && error == OK) {
		error = message_next(history, &i, &id, &f);
		if (error)
			break;
		error = elsewhere_store(&f, history->asked->to, id);
	}
	return error == OK && buf_len(&history->ids) != 0 ? once_room_add(history->asked, id_last()) : error;
}

/* Whether somebody is named who gets it. */
static bool
has_receiver(const struct frame *f)
{
	struct jid to, from;

	if (f->from.ptr != NULL && jid_parse(f->from, &from) != OK)
		return false;
	return f->to.ptr != NULL ? jid_parse(f->to, &to) == OK && f->token.len == ONCE_SIZE : f->handle != 0;
}

/* Whether the spool of a receiver elsewhere has it since the HISTORY came before. */
static int
is_done(const struct frame *f, bool *done)
{
	uint64_t id;
	int error = f->to.ptr != NULL && f->token.len == ONCE_SIZE ? once_room_find(f, &id) : E_NOT_FOUND;

	*done = error == OK;
	return error == E_NOT_FOUND ? OK : error;
}

int
history_answer(const struct frame *f, struct buf *out)
{
	struct frame end = { .type = FRAME_HISTORY_END, .origin = f->origin, .seq = f->seq,
		.handle = f->handle, .number = f->number };
	struct history history = { .asked = f };
	bool done;
	int error = is_done(f, &done);

	if (!done && frame_count(f) == 2 && has_receiver(f)) {
		history.left = frame_at(f, 0) < HISTORY_MESSAGES ? frame_at(f, 0) : HISTORY_MESSAGES;
		history.characters = frame_at(f, 1);
	}
	if (error == OK && history.left != 0 && history.characters != 0)
		error = messages_find(&history);
	if (error == OK)
		error = f->to.ptr != NULL ? messages_store(&history) : messages_write(&history, out);
	buf_free(&history.ids);
	COUNT(histories);
	return error ? error : frame_write(&end, out);
}
