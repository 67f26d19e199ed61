/*
 * redact.c: messages of rooms that were taken back, by their senders (XEP-0424) or by moderators (XEP-0425).
 * Called by batch.c and main.c. Fails when the store does.
 *
 * Another payload stands in the place of the message, under its id, and beside the occupant id that it had. Its
 * words leave the index of words as those of a message that goes (search.c), and its bytes are overwritten: in
 * their place at once, where else they were in the file with the free pages (main.c).
 */
#include "archived.h"

#include "counter.h"
#include "jid.h"
#include "log.h"
#include "ns.h"

static bool scrub;

/* What is in the place of a message: the children that its sender did not choose, then what is told. */
static void
payload_write(const struct frame *old, struct slice told, struct buf *out)
{
	struct xmlin_element child;

	if (xmlin_find(old->payload, SLICE(NS_CLIENT), "occupant-id", NS_OCCUPANT_ID, &child))
		buf_add_slice(out, child.whole);
	buf_add_slice(out, told);
}

/* Sets what of a frame follows from its payload. */
static void
payload_set(struct frame *f, struct slice payload)
{
	struct xmlin_element child;
	struct xmlin in;

	f->payload = payload;
	f->node = SLICE_NONE;
	f->flags = (f->flags & ~(uint32_t)FLAG_BODY) | FLAG_CONTENT;
	xmlin_begin(&in, payload, SLICE(NS_CLIENT));
	if (xmlin_child(&in, &child)) {
		f->name = child.name;
		f->ns = child.ns;
	}
}

/* Whether a message is one of this room, and of its sender when that one takes it back. */
static bool
may_redact(const struct frame *f, const struct frame *message)
{
	return (message->flags & FLAG_ROOM) && slice_equal(message->to, f->jid) &&
	    (f->from.ptr == NULL || slice_equal(message->jid, f->from));
}

/* Puts the payload of f in the place of a message. */
static int
message_redact(const struct frame *f, uint64_t account)
{
	struct buf payload = { 0 }, whole = { 0 };
	struct frame message;
	uint64_t stamp, before;
	int error = message_get(f->archive_id, &stamp, &message);

	if (error == OK && !may_redact(f, &message))
		error = E_NOT_FOUND;
	if (error)
		return error;
	before = message.payload.len;
	payload_write(&message, f->payload, &payload);
	if (slice_equal(buf_slice(&payload), message.payload)) {
		buf_free(&payload);
		return OK;
	}
	payload_set(&message, buf_slice(&payload));
	error = frame_write(&message, &whole);
	if (error == OK)
		error = message_replace(f->archive_id, stamp, buf_slice(&whole));
	if (error == OK)
		error = usage_resized(account, before, buf_len(&payload));
	buf_free(&payload);
	buf_free(&whole);
	if (error == OK) {
		COUNT(redactions);
		scrub = true;
	}
	return error;
}

int
redact_take(const struct frame *f)
{
	struct frame fit = { .kind = STANZA_MESSAGE, .from = f->jid, .to = f->jid, .payload = f->payload };
	uint64_t account;
	int error;

	if (!stanza_is_canonical(&fit)) {
		daemon_refuse(f, "not canonical");
		return OK;
	}
	error = room_account(f->jid, &account);
	if (error || account == 0)
		return error;
	error = index_all(); /* usage.c counts what is in the table */
	if (error == OK)
		error = archive_has_row(account, f->archive_id);
	if (error == OK)
		error = message_redact(f, account);
	return error == E_NOT_FOUND || error == E_MALFORMED || error == E_TOO_BIG ? OK : error;
}

bool
redact_scrub(void)
{
	bool was = scrub;

	scrub = false;
	return was;
}
