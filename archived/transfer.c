/*
 * transfer.c: messages of an account for aldisctl, which writes them into a file or brings them out of
 * one (XEP-0227), and those of a room, which are only written. Called by the daemon framework between transactions; what is brought is one transaction
 * a piece. Fails when the store does.
 *
 * What goes out is a page: "rows", elements in canonical form, and "next", the id behind which the next
 * page goes on, absent at the end. Nothing is kept between two of them.
 *
 * What comes in are messages as frames. Each gets an id with the time of its stamp, so that an archive is
 * in the order of time and found by it; a message that has been here under its id gets that one again.
 * Which id that is follows from the message alone, so that what is brought twice is recognised, and is
 * there once. It is shared with the other side's copy, as if it had been delivered here.
 *
 *   id: id_brought() of the stamp and a hash of the message (or the next number that is free when another
 *   message has it)
 */
#include "archived.h"

#include <stdlib.h>

#include "jid.h"
#include "log.h"
#include "ns.h"
#include "xmlout.h"

#define PAGE_ROWS   500
#define PAGE_BYTES_MAX (256u << 10)         /* no further row after so many */
#define TRIES       64                      /* numbers of a moment */
#define OWN_SKEW    60000                   /* milliseconds between an id of ours and its stamp */

static int
refuse(json_t **result, int error, const char *text)
{
	*result = json_string(text);
	return error;
}

/* Reads the address and the table that words name. */
static int
words_read(struct slice *words, char out[JID_MAX + 1], struct slice *bare, enum table *table,
    json_t **result)
{
	struct jid jid;

	if (jid_prepare(words[0], out, &jid) != OK || jid.local.ptr == NULL || jid.resource.ptr != NULL)
		return refuse(result, E_MALFORMED, "this is not the address of an account");
	*bare = jid.full;
	if (slice_is(words[1], "archive"))
		*table = TABLE_ARCHIVE;
	else if (slice_is(words[1], "spool"))
		*table = TABLE_SPOOL;
	else
		return refuse(result, E_MALFORMED, "neither archive nor spool");
	return OK;
}

/* -- out -- */

struct export {
	enum table table;
	struct slice account;   /* bare JID */
	bool room;              /* it is that of a room: who has sent a message is told */
	json_t *rows;
	size_t bytes, looked;
	uint64_t last;
	bool more;
	struct buf row;
};

static void
delay_add(struct buf *out, struct slice from, uint64_t stamp)
{
	char text[32];

	stanza_stamp(stamp, text);
	xml_open(out, "delay", SLICE(NS_DELAY));
	xml_add_attribute(out, "from", from);
	xml_add_attribute(out, "stamp", slice_string(text));
	buf_add_string(out, "/>");
}

/* Section "Message Archive"; of a room as its owners get them (XEP-0313). */
static void
result_add(struct export *page, uint64_t id, uint64_t stamp, const struct frame *f)
{
	struct buf payload = { 0 };
	struct frame shown = *f;
	char text[17];

	if (page->room) {
		room_payload(f->payload, &payload);
		room_sender(f, &payload);
		shown.payload = buf_slice(&payload);
		shown.to = SLICE_NONE;
	}

	stanza_archive_id(id, text);
	xml_open(&page->row, "result", SLICE(NS_MAM));
	xml_add_attribute(&page->row, "id", slice_of(text, 16));
	buf_add_char(&page->row, '>');
	xml_open(&page->row, "forwarded", SLICE(NS_FORWARD));
	buf_add_char(&page->row, '>');
	delay_add(&page->row, SLICE_NONE, stamp);
	stanza_forward(&shown, &page->row);
	buf_add_string(&page->row, "</forwarded></result>");
	buf_free(&payload);
}

/* Section "Offline Messages": with the time at which it came, and the id that it has here. */
static void
offline_add(struct export *page, uint64_t id, uint64_t stamp, const struct frame *f)
{
	struct buf payload = { 0 };
	char text[17];
	struct frame copy = *f;
	struct jid jid;

	jid_split(page->account, &jid);
	buf_add_slice(&payload, f->payload);
	delay_add(&payload, jid.domain, stamp);
	xml_open(&payload, "stanza-id", SLICE(NS_SID));
	stanza_archive_id(id, text);
	xml_add_attribute(&payload, "by", page->account);
	xml_add_attribute(&payload, "id", slice_of(text, 16));
	buf_add_string(&payload, "/>");
	copy.payload = buf_slice(&payload);
	stanza_forward(&copy, &page->row);
	buf_free(&payload);
}

static bool
page_add(struct export *page, uint64_t id)
{
	struct frame f;
	uint64_t stamp;

	page->more = page->bytes >= PAGE_BYTES_MAX || page->looked >= PAGE_ROWS;
	if (page->more)
		return false;
	page->looked++;
	page->last = id;
	if (message_get(id, &stamp, &f) != OK)
		return true;
	buf_clear(&page->row);
	if (page->table == TABLE_ARCHIVE)
		result_add(page, id, stamp, &f);
	else
		offline_add(page, id, stamp, &f);
	page->bytes += buf_len(&page->row);
	json_array_append_new(page->rows, json_stringn(buf_slice(&page->row).ptr, buf_len(&page->row)));
	return true;
}

static bool
archive_row(void *arg, uint64_t id)
{
	return page_add(arg, id);
}

static bool
spool_row(void *arg, struct slice key, struct slice value)
{
	(void)value;
	return page_add(arg, place_id(key));
}

static int
page_fill(struct export *page, uint64_t account, uint64_t after)
{
	struct range range = { .account = account, .after = after, .before = UINT64_MAX };
	char room[PLACE_SIZE];
	struct slice key;

	if (after == UINT64_MAX)
		return OK;
	if (page->table == TABLE_ARCHIVE)
		return archive_walk(&range, archive_row, page);
	key = place_key(account, after + 1, room);
	return store_walk(state.store, TABLE_SPOOL, key, slice_part(key, 0, 8), spool_row, page);
}

/* Answers with a page of what is behind an id. */
static int
page_answer(struct export *page, uint64_t after, json_t **result)
{
	struct account *account;
	char text[17];
	int error;

	page->rows = json_array();
	error = account_find(page->account, &account);
	if (error == OK)
		error = page_fill(page, account->id, after);
	*result = json_pack("{s:o}", "rows", page->rows);
	if (page->more) {
		stanza_archive_id(page->last, text);
		json_object_set_new(*result, "next", json_stringn(text, 16));
	}
	buf_free(&page->row);
	if (error == E_NOT_FOUND)
		error = OK; /* nothing was ever stored for it */
	if (error) {
		json_decref(*result);
		*result = NULL;
	}
	return error;
}

static int
run_export(struct slice *words, size_t count, json_t **result)
{
	char out[JID_MAX + 1];
	struct export page = { 0 };
	uint64_t after = 0;
	int error;

	if (count < 2 || count > 3 || (count == 3 && stanza_archive_id_read(words[2], &after) != OK))
		return E_MALFORMED;
	error = words_read(words, out, &page.account, &page.table, result);
	return error ? error : page_answer(&page, after, result);
}

static int
run_room(struct slice *words, size_t count, json_t **result)
{
	struct export page = { .table = TABLE_ARCHIVE, .room = true };
	char out[JID_MAX + 1];
	uint64_t after = 0;
	struct jid jid;

	if (count < 1 || count > 2 || (count == 2 && stanza_archive_id_read(words[1], &after) != OK))
		return E_MALFORMED;
	if (jid_prepare(words[0], out, &jid) != OK || jid.local.ptr == NULL || jid.resource.ptr != NULL)
		return refuse(result, E_MALFORMED, "this is not the address of a room");
	page.account = jid.full;
	return page_answer(&page, after, result);
}

/* -- in -- */

/* A piece on its way in. */
struct piece {
	enum table table;
	struct account *account;
	uint64_t taken, known, refused;
};

/* Whether a frame is a message that this account can have, in the form in which messages are stored. */
static bool
is_fit(const struct piece *piece, const struct frame *f)
{
	struct slice bare = slice_of(piece->account->jid, piece->account->len);
	bool receives = slice_equal(jid_bare_of(f->to), bare);
	struct jid from, to;

	if (f->type != FRAME_STANZA || f->kind != STANZA_MESSAGE ||
	    (f->flags & ~(uint32_t)FLAG_FROM_ENTRY) != 0 || (f->flags & FLAG_NO_STORE) ||
	    jid_parse(f->from, &from) != OK || jid_parse(f->to, &to) != OK || !stanza_is_canonical(f))
		return false;
	if (piece->table == TABLE_SPOOL)
		return receives;
	return receives || slice_equal(jid_bare_of(f->from), bare);
}

static bool
text_same(struct slice a, struct slice b)
{
	return a.len == b.len && (a.len == 0 || memcmp(a.ptr, b.ptr, a.len) == 0);
}

/* Whether an id is this message's: what was said when by whom to whom. Returns 0, E_NOT_FOUND when the id
 * is free, E_EXISTS when another message has it, or an error of the store. */
static int
id_try(uint64_t id, const struct frame *f)
{
	struct frame old;
	uint64_t stamp;
	int error = message_get(id, &stamp, &old);

	if (error)
		return error == E_MALFORMED ? E_EXISTS : error;
	return stamp == f->stamp && old.subtype == f->subtype && text_same(old.from, f->from) &&
	    text_same(old.to, f->to) && text_same(old.id, f->id) && text_same(old.payload, f->payload) ?
	    OK : E_EXISTS;
}

/* The number of a message within its millisecond. */
static uint64_t
number_of(const struct frame *f)
{
	struct buf text = { 0 };
	char hash[32];

	buf_add_slice(&text, f->from);
	buf_add_char(&text, '\n');
	buf_add_slice(&text, f->to);
	buf_add_char(&text, '\n');
	buf_add_slice(&text, f->id);
	buf_add_char(&text, '\n');
	buf_add_slice(&text, f->payload);
	store_key_hash(hash, buf_slice(&text));
	buf_free(&text);
	return (uint64_t)(unsigned char)hash[0] << 8 | (unsigned char)hash[1];
}

/* Finds the id of a message. Returns as id_try() does. */
static int
id_find(const struct frame *f, uint64_t now, uint64_t *id)
{
	uint64_t wanted = f->archive_id, time = id_time(wanted), first, i;
	int error;

	/* An id that it had here, going by its time. */
	if (wanted != 0 && time <= now && time < f->stamp + OWN_SKEW && f->stamp < time + OWN_SKEW) {
		*id = wanted;
		error = id_try(wanted, f);
		if (error != E_EXISTS)
			return error;
	}
	first = f->stamp < ID_DIRECT ? 0 : number_of(f);
	for (i = 0; i < TRIES; i++) {
		*id = id_brought(f->stamp, first + i);
		error = id_try(*id, f);
		if (error != E_EXISTS)
			return error;
	}
	return E_EXISTS;
}

/* The account that is the other side of a message, which may have none here. */
static int
peer_find(const struct piece *piece, const struct frame *f, struct account **peer,
    enum direction *direction)
{
	struct slice bare = slice_of(piece->account->jid, piece->account->len);
	struct slice from = jid_bare_of(f->from), to = jid_bare_of(f->to);
	int error;

	*direction = slice_equal(from, to) ? DIRECTION_SELF :
	    slice_equal(from, bare) ? DIRECTION_OUT : DIRECTION_IN;
	error = account_find(*direction == DIRECTION_IN ? from : to, peer);
	return error == E_NOT_FOUND ? OK : error;
}

/* Whether an account has a row in a table for a message: 0 or E_NOT_FOUND. */
static int
row_find(enum table table, uint64_t account, uint64_t id)
{
	char key[PLACE_SIZE];
	struct slice value;

	return store_get(state.store, table, place_key(account, id, key), &value);
}

/* Gives the account its copy. When the other side has one of the same message, that one must know of
 * this: the message goes with the last of the two. */
static int
copy_add(const struct piece *piece, uint64_t id, enum direction direction, const struct account *peer)
{
	const struct account *account = piece->account;
	int error;

	if (peer->id != 0 && peer->id != account->id) {
		error = row_find(TABLE_ARCHIVE, peer->id, id);
		if (error == OK)
			error = archive_put(peer->id, id,
			    direction == DIRECTION_IN ? DIRECTION_OUT : DIRECTION_IN, account->id,
			    account->hash);
		if (error != OK && error != E_NOT_FOUND)
			return error;
	}
	return archive_put(account->id, id, direction, peer->id, peer->hash);
}

/* Puts a message into its table, unless it is there. */
static int
message_bring(struct piece *piece, const struct frame *f, uint64_t now)
{
	struct frame stored = *f;
	struct buf whole = { 0 };
	enum direction direction;
	struct account *peer;
	uint64_t id;
	int found, error;

	if (!is_fit(piece, f) || f->stamp > now || (piece->table == TABLE_SPOOL &&
	    spool_count(piece->account->id) >= state.spool_messages)) {
		piece->refused++;
		return OK;
	}
	error = peer_find(piece, f, &peer, &direction);
	if (error)
		return error;
	found = id_find(f, now, &id);
	if (found == E_EXISTS) {
		piece->refused++;
		return OK;
	}
	if (found != OK && found != E_NOT_FOUND)
		return found;
	if (found == OK && row_find(piece->table, piece->account->id, id) == OK) {
		piece->known++;
		return OK;
	}
	stored.flags |= FLAG_STORE;
	stored.archive_id = 0;
	if (found == E_NOT_FOUND)
		error = frame_write(&stored, &whole);
	if (found == E_NOT_FOUND && error == OK)
		error = message_add(id, f->stamp, buf_slice(&whole));
	buf_free(&whole);
	id_begin(id); /* those that are given out from now on are above it */
	if (error == OK && piece->table == TABLE_ARCHIVE)
		error = copy_add(piece, id, direction, peer);
	else if (error == OK)
		error = spool_add(piece->account->id, id, peer->id, false);
	piece->taken += error == OK;
	return error;
}

/* Takes the messages of a piece in the open transaction. */
static int
piece_take(struct piece *piece, struct slice bare, struct slice data)
{
	struct slice whole;
	struct frame f;
	int error;

	account_trim();
	error = account_make(bare, &piece->account);
	/* What is gathered is written first: the table has all that is older than what it gets now. */
	if (error == OK)
		error = index_all();
	while (error == OK && data.len != 0) {
		if (frame_next(data, &whole) != OK || frame_read(whole, &f) != OK)
			return E_MALFORMED;
		error = message_bring(piece, &f, daemon_now());
		data = slice_part(data, whole.len, data.len);
	}
	return error;
}

/* Tells the router the last id, or it would feed each new session with all that is behind the last message. */
static void
last_tell(void)
{
	struct frame last = { .type = FRAME_STORED, .archive_id = id_last() };

	daemon_send(&last);
}

static int
run_import(struct slice *words, size_t count, json_t **result)
{
	char out[JID_MAX + 1];
	struct slice data = daemon_command_data(), bare;
	struct piece piece = { 0 };
	int error;

	if (count != 2 || data.ptr == NULL)
		return E_MALFORMED;
	error = words_read(words, out, &bare, &piece.table, result);
	if (error)
		return error;
	/* Pieces of an account that was deleted could be taken for what comes now. */
	if (forget_pending())
		return refuse(result, E_AGAIN, "messages of a deleted account are being removed, try again");
	error = piece_take(&piece, bare, data);
	if (error)
		state_abort();
	else
		error = state_commit();
	if (error)
		return error == E_FULL ? refuse(result, error, "the disk is full") : error;
	if (piece.taken != 0)
		last_tell();
	if (piece.taken != 0 && piece.table == TABLE_ARCHIVE && search_reset())
		daemon_dirty(); /* its ids may be behind those that the index of words follows */
	*result = json_pack("{s:I, s:I, s:I}", "taken", (json_int_t)piece.taken, "known",
	    (json_int_t)piece.known, "refused", (json_int_t)piece.refused);
	return OK;
}

const struct command archived_transfers[] = {
	{ "export messages", "JID TABLE [CURSOR]", "a page of messages", run_export },
	{ "import messages", "JID TABLE", "messages of an account", run_import },
	{ "room messages", "JID [CURSOR]", "a page of a room's messages", run_room },
	{ NULL, NULL, NULL, NULL },
};
