/*
 * moderate.c: messages that are taken back: by a moderator (XEP-0425), with an iq to the room, or by
 * who has sent them (XEP-0424), with a message to all. Called by request.c and message.c. All are told,
 * and what stays in the archive is a tombstone, which archived puts there (outbox_redact()).
 *
 * What a moderator takes back must be there, or all would be told of a message that nobody has. Only
 * the archive knows, so it is asked first, as by a client; nothing is kept meanwhile (seal.c).
 */
#include <gnutls/crypto.h>
#include <gnutls/gnutls.h>

#include "log.h"
#include "mucd.h"
#include "ns.h"
#include "seal.h"
#include "xmlout.h"

#define REASON_MAX 1024 /* bytes of a reason */
#define ID_BYTES   8
#define ID_MAX     1024 /* of a request's id, which is in that of the question to the archive */
#define KIND       "moderate"

/* What a request asks for. */
struct moderation {
	uint64_t archive_id;
	struct slice id;           /* the same as text */
	struct buf id_scratch;
	struct slice reason;       /* text; absent: none */
	struct buf reason_scratch;
};

static void
moderation_free(struct moderation *m)
{
	buf_free(&m->id_scratch);
	buf_free(&m->reason_scratch);
}

static enum stanza_error
moderation_read(const struct frame *f, struct moderation *m)
{
	struct xmlin_element moderate, child;

	if (!xmlin_find(f->payload, SLICE(NS_CLIENT), "moderate", NS_MODERATE, &moderate) ||
	    xmlin_attribute(&moderate, "id", &m->id_scratch, &m->id) != OK)
		return STANZA_ERROR_BAD_REQUEST;
	if (!xmlin_find(moderate.content, moderate.ns, "retract", NS_RETRACT, &child))
		return STANZA_ERROR_FEATURE_NOT_IMPLEMENTED;
	if (stanza_archive_id_read(m->id, &m->archive_id) != OK || m->archive_id == 0)
		return STANZA_ERROR_ITEM_NOT_FOUND;
	if (!xmlin_find(moderate.content, moderate.ns, "reason", NS_MODERATE, &child))
		return STANZA_ERROR_NONE;
	if (xmlin_text(&child, &m->reason_scratch, &m->reason) != OK)
		return STANZA_ERROR_BAD_REQUEST;
	return m->reason.len > REASON_MAX ? STANZA_ERROR_POLICY_VIOLATION : STANZA_ERROR_NONE;
}

/* What <retract/> and <retracted/> have in them. */
static void
moderated_add(const struct client *moderator, const struct moderation *m, struct buf *out)
{
	const struct occupant *o = moderator->occupant;
	struct buf by = { 0 };

	occupant_address(o, &by);
	buf_add_string(out, "<moderated xmlns='" NS_MODERATE "'");
	xml_add_attribute(out, "by", buf_slice(&by));
	buf_add_string(out, "><occupant-id xmlns='" NS_OCCUPANT_ID "'");
	xml_add_attribute(out, "id", slice_string(o->id));
	buf_add_string(out, "/></moderated>");
	if (m->reason.len != 0)
		xml_add_element(out, "reason", m->reason);
	buf_free(&by);
}

/* The message to all, which the archive has as well. */
static void
announce(const struct client *moderator, const struct moderation *m, struct slice id, uint64_t now)
{
	struct room *room = moderator->occupant->room;
	struct buf payload = { 0 };
	struct frame f = { .type = FRAME_STANZA, .kind = STANZA_MESSAGE, .subtype = TYPE_GROUPCHAT,
		.flags = FLAG_CONTENT | FLAG_MUC, .from = room_jid(room), .id = id, .stamp = now,
		.jid = occupant_bare(moderator->occupant),
		.name = SLICE("retract"), .ns = SLICE(NS_RETRACT) };

	buf_add_string(&payload, "<retract xmlns='" NS_RETRACT "'");
	xml_add_attribute(&payload, "id", m->id);
	buf_add_char(&payload, '>');
	moderated_add(moderator, m, &payload);
	buf_add_string(&payload, "</retract>");
	f.payload = buf_slice(&payload);
	if (room->config.logged)
		f.flags |= FLAG_STORE;
	outbox_add(&f, receivers_everyone(room));
	buf_free(&payload);
}

/* What stands in the place of a message that a moderator, or else its sender, has taken back. */
static void
tombstone(const struct client *client, const struct moderation *m, bool moderated, struct slice id,
    uint64_t now)
{
	struct slice own = occupant_bare(client->occupant);
	struct buf payload = { 0 };
	char stamp[32];
	size_t head;

	stanza_stamp(now, stamp);
	buf_add_string(&payload, "<retracted xmlns='" NS_RETRACT "'");
	xml_add_attribute(&payload, "id", id);
	xml_add_attribute(&payload, "stamp", slice_string(stamp));
	buf_add_char(&payload, '>');
	head = buf_len(&payload);
	if (moderated)
		moderated_add(client, m, &payload);
	xml_close(&payload, "retracted", head);
	outbox_redact(client->occupant->room, m->archive_id, moderated ? SLICE_NONE : own,
	    buf_slice(&payload));
	buf_free(&payload);
}

/* An id that no message has. */
static void
id_make(char text[2 * ID_BYTES + 1])
{
	unsigned char bytes[ID_BYTES];
	uint64_t number;

	if (gnutls_rnd(GNUTLS_RND_NONCE, bytes, sizeof bytes) != 0)
		log_panic(__FILE__, __LINE__, "no random bytes");
	memcpy(&number, bytes, sizeof number);
	stanza_archive_id(number, text);
}

/* Asks the archive whether it has the message, in the name of the room. The answer has in its id all that was asked
 * for. */
static void
archive_ask(const struct frame *f, const struct room *room, const struct client *moderator, const struct moderation *m)
{
	struct frame query = { .type = FRAME_ROOM_QUERY, .kind = STANZA_IQ, .subtype = TYPE_SET,
		.jid = room_jid(room), .from = room_jid(room), .name = SLICE("query"), .ns = SLICE(NS_MAM) };
	struct buf words = { 0 }, id = { 0 }, payload = { 0 };
	struct seal s = { KIND, moderator->number, SLICE_NONE, f->id };

	buf_add_slice(&words, m->id);
	buf_add_slice(&words, m->reason);
	s.words = buf_slice(&words);
	seal_write(room, &s, room_jid(room), &id);
	buf_add_string(&payload, "<query xmlns='" NS_MAM "'>");
	form_open(&payload, "submit", NS_MAM, NULL, NULL);
	form_field(&payload, "ids", "list-multi", NULL, m->id);
	form_close(&payload);
	buf_add_string(&payload, "<set xmlns='" NS_RSM "'><max>0</max></set></query>");
	query.id = buf_slice(&id);
	query.payload = buf_slice(&payload);
	answer_send(&query);
	buf_free(&words);
	buf_free(&id);
	buf_free(&payload);
}

/* What is wrong with a request, or NONE. */
static enum stanza_error
refusal(const struct room *room, const struct client *moderator, const char **text)
{
	*text = "Messages are not taken back in this room";
	if (!room->config.moderation)
		return STANZA_ERROR_SERVICE_UNAVAILABLE;
	*text = "Only moderators may take back messages of others";
	return moderator == NULL || moderator->occupant->role != IN_MODERATOR ? STANZA_ERROR_FORBIDDEN :
	    STANZA_ERROR_NONE;
}

void
moderate_request(const struct frame *f, struct room *room, uint64_t now)
{
	const struct client *moderator = client_find(room, f->from);
	struct moderation m = { 0 };
	const char *text;
	enum stanza_error error = refusal(room, moderator, &text);

	(void)now;
	if (error == STANZA_ERROR_NONE) {
		text = NULL;
		error = f->id.len > ID_MAX ? STANZA_ERROR_POLICY_VIOLATION : moderation_read(f, &m);
	}
	if (error != STANZA_ERROR_NONE)
		answer_error(f, error, text);
	else
		archive_ask(f, room, moderator, &m);
	moderation_free(&m);
}

/* Does what was asked for. */
static void
moderate(const struct client *moderator, const struct moderation *m, uint64_t now)
{
	const struct room *room = moderator->occupant->room;
	char id[2 * ID_BYTES + 1];

	id_make(id);
	announce(moderator, m, slice_string(id), now);
	tombstone(moderator, m, true, slice_string(id), now);
	log_info("message taken back", "room=%s by=%s id=%s", log_quote(room_jid(room)),
	    log_quote(client_jid(moderator)), log_quote(m->id));
}

bool
moderate_answer(const struct frame *f, uint64_t now)
{
	struct room *room = room_find(jid_bare_of(f->to));
	struct frame request = { .type = FRAME_STANZA, .kind = STANZA_IQ, .subtype = TYPE_SET };
	struct moderation m = { 0 };
	struct client *moderator;
	enum stanza_error error;
	const char *text;
	struct seal s;

	if (room == NULL || seal_read(room, KIND, f->id, f->from, &s) != OK)
		return false;
	moderator = seal_client(room, &s);
	m.id = slice_part(s.words, 0, 2 * ID_BYTES);
	m.reason = slice_part(s.words, m.id.len, s.words.len);
	if (moderator == NULL || stanza_archive_id_read(m.id, &m.archive_id) != OK)
		return true;
	request.from = client_jid(moderator);
	request.to = room_jid(room);
	request.handle = moderator->handle;
	request.id = s.id;
	error = refusal(room, moderator, &text);
	if (error == STANZA_ERROR_NONE && f->subtype == TYPE_ERROR) {
		error = stanza_error_of(f);
		text = error == STANZA_ERROR_ITEM_NOT_FOUND ? "The room has no such message" : NULL;
	}
	if (error != STANZA_ERROR_NONE) {
		answer_error(&request, error, text);
		return true;
	}
	moderate(moderator, &m, now);
	answer_result(&request, SLICE(""));
	return true;
}

void
moderate_retract(const struct client *sender, const struct frame *f, uint64_t now)
{
	struct xmlin_element retract;
	struct moderation m = { 0 };

	if (xmlin_find(f->payload, SLICE(NS_CLIENT), "retract", NS_RETRACT, &retract) &&
	    xmlin_attribute(&retract, "id", &m.id_scratch, &m.id) == OK &&
	    stanza_archive_id_read(m.id, &m.archive_id) == OK && m.archive_id != 0)
		tombstone(sender, &m, false, f->id, now);
	moderation_free(&m);
}
