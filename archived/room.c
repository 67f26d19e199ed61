/*
 * room.c: messages into the archives of rooms. Called by batch.c, mam.c and transfer.c. Fails when the store
 * does.
 *
 * A room has an archive as an account has one, under its bare JID, and no spool. A message is in it once, whoever
 * is in the room, with the bare JID of who has sent it, which only some may see.
 *
 * The table peer has it under the occupant, room/nick: by this everybody may ask, so it must be cheap. Who may see
 * the senders can ask by them as well; then all messages of the room are looked at.
 */
#include "archived.h"

#include "jid.h"
#include "ns.h"
#include "xmlout.h"

bool
room_is_message(const struct frame *f)
{
	const uint32_t places = FLAG_STORE | FLAG_FROM_LOCAL | FLAG_TO_LOCAL | FLAG_TO_REMOTE;
	struct jid from, to, sender;

	if (f->kind != STANZA_MESSAGE || f->subtype != TYPE_GROUPCHAT ||
	    (f->flags & places) != (FLAG_STORE | FLAG_FROM_LOCAL) || f->token.len != ONCE_SIZE)
		return false;
	if (jid_parse(f->from, &from) != OK || jid_parse(f->to, &to) != OK ||
	    to.local.ptr == NULL || to.resource.ptr != NULL || !slice_equal(jid_bare(&from), f->to))
		return false;
	return f->jid.ptr == NULL ||
	    (jid_parse(f->jid, &sender) == OK && sender.resource.ptr == NULL);
}

bool
room_is_said(const struct frame *f)
{
	struct jid from;

	return (f->kind == STANZA_MESSAGE || f->kind == STANZA_PRESENCE) && !(f->flags & FLAG_STORE) &&
	    f->token.len == ONCE_SIZE && f->text.len != 0 && jid_parse(f->from, &from) == OK;
}

/* Writes the stanza of a message, and not who is to get it. */
static int
message_write(const struct frame *f, uint64_t now, uint64_t id)
{
	static struct buf whole; /* keeps its memory: this is the hot path */
	uint64_t stamp = f->stamp != 0 ? f->stamp : now;
	struct frame copy = { .type = FRAME_STANZA, .kind = f->kind, .subtype = f->subtype,
		.flags = f->flags & (FLAG_FROM_ENTRY | FLAG_FROM_LOCAL | FLAG_STORE | FLAG_ROOM),
		.stamp = stamp, .from = f->from, .to = f->to, .id = f->id, .lang = f->lang,
		.payload = f->payload, .name = f->name, .ns = f->ns, .jid = f->jid };
	int error;

	buf_clear(&whole);
	error = frame_write(&copy, &whole);
	return error ? error : message_add(id, stamp, buf_slice(&whole));
}

/* Puts a message into the archive of its room. */
static int
archive_add(const struct frame *f, uint64_t now, uint64_t id)
{
	struct account *room, *occupant;
	int error = account_sides(f, &room, &occupant);

	if (error == OK && message_is_archived(f)) {
		error = message_write(f, now, id);
		index_add(f, id, room, occupant);
	}
	return error;
}

int
room_store(const struct frame *f, uint64_t now, uint64_t *id, bool *repeated)
{
	bool archived = (f->flags & FLAG_STORE) != 0;
	uint64_t place;
	int error = once_room_find(f, &place);

	*repeated = error == OK;
	if (error == E_NOT_FOUND) {
		place = id_next(now); /* also for what has no archive: what comes behind it has a higher one */
		error = archived ? archive_add(f, now, place) : OK;
		if (error == OK)
			error = once_room_add(f, place);
	}
	*id = archived ? place : 0;
	return error;
}

int
room_account(struct slice jid, uint64_t *account)
{
	struct account *room;
	int error = account_find(jid, &room);

	*account = error == OK ? room->id : 0;
	return error == E_NOT_FOUND ? OK : error;
}

void
room_payload(struct slice payload, struct buf *out)
{
	struct xmlin_element child;
	struct xmlin in;

	xmlin_begin(&in, payload, SLICE(NS_CLIENT));
	while (xmlin_child(&in, &child))
		if (!slice_is(child.ns, NS_MUC_USER))
			buf_add_slice(out, child.whole);
}

void
room_sender(const struct frame *message, struct buf *out)
{
	if (message->jid.ptr == NULL)
		return;
	xml_open(out, "x", SLICE(NS_MUC_USER));
	buf_add_string(out, "><item");
	xml_add_attribute(out, "jid", message->jid);
	buf_add_string(out, "/></x>");
}
