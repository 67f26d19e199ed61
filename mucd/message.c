/*
 * message.c: messages to a room and to its occupants (XEP-0045 sections 7.4, 7.5, 8.1). Called by inbox.c for
 * each message. What is refused is answered with an error; nothing else fails.
 *
 * A message to all is copied once, with what is the room's to say put into it; the list of those who get it is made
 * once for many messages (receivers_everyone()).
 */
#include "mucd.h"

#include "counter.h"
#include "log.h"
#include "ns.h"
#include "xmlout.h"

#define SUBJECT_BYTES 4096u /* of a subject, most */
#define RATE_SCALE    1000u /* parts of one message, in an occupant's allowance */
#define RATE_BURST    3u    /* seconds for which an allowance gathers */

/* Buffers that are used again for the next message. */
static struct buf payload_buf, from_buf;

/* What a message has in it. */
struct content {
	size_t children;          /* that are passed on */
	bool body, subject, thread;
	struct slice subject_element;
	struct slice name, ns;    /* of the first child that is passed on */
};

/* -- what is passed on -- */

/* Copies the children of a message and notes what they are. Returns 0 or E_MALFORMED. */
static int
content_copy(const struct room *room, struct slice payload, struct buf *out, struct content *c)
{
	struct xmlin_element e;
	struct xmlin in;

	*c = (struct content){ 0 };
	xmlin_begin(&in, payload, SLICE(NS_CLIENT));
	while (xmlin_child(&in, &e)) {
		bool own = slice_is(e.ns, NS_CLIENT);

		if (!pass_message(room, &e))
			continue;
		if (c->children++ == 0) {
			c->name = e.name;
			c->ns = e.ns;
		}
		c->body |= own && slice_is(e.name, "body");
		c->thread |= own && slice_is(e.name, "thread");
		if (own && slice_is(e.name, "subject") && !c->subject) {
			c->subject = true;
			c->subject_element = e.whole;
		}
		buf_add_slice(out, e.whole);
	}
	return in.error;
}

static void
occupant_id_add(const struct occupant *o, struct buf *out)
{
	buf_add_string(out, "<occupant-id xmlns='" NS_OCCUPANT_ID "' id='");
	buf_add_string(out, o->id);
	buf_add_string(out, "'/>");
}

/* -- to all -- */

/* Whether an occupant has sent more than it may; an allowance grows with time. */
static bool
is_too_fast(struct occupant *o, uint64_t now)
{
	uint64_t rate = o->room->domain->rate, most = rate * RATE_BURST * RATE_SCALE;
	uint64_t passed = now > o->rate_time ? now - o->rate_time : 0;

	if (rate == 0)
		return false;
	o->rate = o->rate_time == 0 || passed >= RATE_BURST * 1000 ? most : o->rate + passed * rate;
	if (o->rate > most)
		o->rate = most;
	o->rate_time = now;
	if (o->rate < RATE_SCALE)
		return true;
	o->rate -= RATE_SCALE;
	return false;
}

/* A message that has a subject and nothing to read changes that of the room (section 8.1). */
static bool
is_subject(const struct content *c)
{
	return c->subject && !c->body && !c->thread;
}

/* What is wrong with a message to all; NONE: nothing. */
static enum stanza_error
refusal(const struct occupant *o, const struct content *c, const char **text)
{
	*text = NULL;
	if (c->children == 0) {
		*text = "There is nothing in it";
		return STANZA_ERROR_BAD_REQUEST;
	}
	if (is_subject(c)) {
		if (c->subject_element.len > SUBJECT_BYTES) {
			*text = "The subject is too long";
			return STANZA_ERROR_NOT_ACCEPTABLE;
		}
		*text = "You may not change the subject";
		return privilege_has(o->room, o->role, PRIVILEGE_SUBJECT) ? STANZA_ERROR_NONE :
		    STANZA_ERROR_FORBIDDEN;
	}
	*text = "You have no voice in this room";
	return privilege_has(o->room, o->role, PRIVILEGE_SPEAK) ? STANZA_ERROR_NONE : STANZA_ERROR_FORBIDDEN;
}

static void
subject_set(struct occupant *o, const struct content *c, uint64_t now)
{
	struct room *room = o->room;

	buf_clear(&room->subject);
	buf_add_slice(&room->subject, c->subject_element);
	buf_clear(&room->subject_nick);
	buf_add_slice(&room->subject_nick, occupant_nick(o));
	room->subject_stamp = now;
	room_save(room);
}

/* Whether a message goes into the archive of the room. */
static bool
is_kept(const struct room *room, const struct frame *f, const struct content *c)
{
	if (!room->config.logged || f->flags & (FLAG_NO_STORE | FLAG_NO_PERMANENT))
		return false;
	return (f->flags & FLAG_CONTENT) != 0 || is_subject(c);
}

/* Fills in what a message of an occupant has in common, whoever gets it. */
static struct frame
message_of(const struct occupant *o, const struct frame *f, const struct content *c)
{
	struct frame out = { .type = FRAME_STANZA, .kind = STANZA_MESSAGE, .subtype = f->subtype, .id = f->id,
		.lang = f->lang, .name = c->name, .ns = c->ns, .stamp = f->stamp };

	buf_clear(&from_buf);
	occupant_address(o, &from_buf);
	out.from = buf_slice(&from_buf);
	out.payload = buf_slice(&payload_buf);
	return out;
}

static void
groupchat(struct room *room, struct client *sender, const struct frame *f, uint64_t now)
{
	struct occupant *o = sender->occupant;
	enum stanza_error error;
	struct content c;
	struct frame out;
	const char *text;

	buf_clear(&payload_buf);
	if (content_copy(room, f->payload, &payload_buf, &c) != OK) {
		answer_error(f, STANZA_ERROR_BAD_REQUEST, NULL);
		return;
	}
	error = refusal(o, &c, &text);
	if (error == STANZA_ERROR_NONE && is_too_fast(o, now)) {
		COUNT(room_messages_limited);
		text = "You send too many messages";
		error = STANZA_ERROR_RESOURCE_CONSTRAINT;
	}
	if (error != STANZA_ERROR_NONE) {
		COUNT(room_messages_refused);
		answer_error(f, error, text);
		return;
	}
	COUNT(room_messages);
	if (is_subject(&c))
		subject_set(o, &c, now);
	occupant_id_add(o, &payload_buf);
	out = message_of(o, f, &c);
	out.flags = (f->flags & (FLAG_CONTENT | FLAG_BODY | FLAG_IM)) | FLAG_MUC;
	if (is_kept(room, f, &c)) {
		out.flags |= FLAG_STORE | FLAG_CONTENT;
		out.jid = occupant_bare(o);
	}
	outbox_add(&out, receivers_everyone(room));
	moderate_retract(sender, f, now);
	room_touch(room, now);
}

void
message_announce(struct room *room, struct slice payload)
{
	struct frame f = { .type = FRAME_STANZA, .kind = STANZA_MESSAGE, .subtype = TYPE_GROUPCHAT,
		.flags = FLAG_MUC, .from = room_jid(room), .payload = payload, .name = SLICE("x"),
		.ns = SLICE(NS_MUC_USER) };

	outbox_add(&f, receivers_everyone(room));
}

/* -- to one -- */

static void
private_send(const struct occupant *from, const struct occupant *to, const struct frame *f,
    const struct content *c)
{
	struct receivers r = { 0 };
	const struct client *client;
	struct frame out;

	buf_add_string(&payload_buf, "<x xmlns='" NS_MUC_USER "'/>");
	occupant_id_add(from, &payload_buf);
	out = message_of(from, f, c);
	out.flags = (f->flags & (FLAG_CONTENT | FLAG_BODY | FLAG_IM | FLAG_ERROR | FLAG_PRIVATE)) | FLAG_MUC;
	TAILQ_FOREACH(client, &to->clients, siblings)
		receivers_add(&r, client);
	outbox_add(&out, &r);
	receivers_free(&r);
}

/* An error of an occupant. It comes to the address of who has said what it is for, and says nothing of whether that was
 * said to all, when its sender would get an error of each receiver. So only what has the mark of a private message goes
 * on, and of that the condition alone: there is no privilege for sending errors, and nobody shall write with them. */
static void
private_error(struct occupant *from, const struct frame *f, struct slice nick, uint64_t now)
{
	struct occupant *to = occupant_find(from->room, nick);
	struct frame out = { .kind = STANZA_MESSAGE, .subtype = TYPE_NORMAL, .to = f->from, .id = f->id,
		.payload = SLICE("<x xmlns='" NS_MUC_USER "'/>") }, reply;
	struct buf scratch = { 0 };
	struct xmlin_element x;
	struct receivers r = { 0 };
	const struct client *client;

	if (to == NULL || !xmlin_find(f->payload, SLICE(NS_CLIENT), "x", NS_MUC_USER, &x) || x.content.len != 0 ||
	    is_too_fast(from, now))
		return;
	buf_clear(&from_buf);
	occupant_address(from, &from_buf);
	out.to = buf_slice(&from_buf);
	stanza_error_reply(&out, stanza_error_of(f), SLICE_NONE, &scratch, &reply);
	reply.flags |= FLAG_MUC;
	TAILQ_FOREACH(client, &to->clients, siblings)
		receivers_add(&r, client);
	outbox_add(&reply, &r);
	receivers_free(&r);
	buf_free(&scratch);
}

/* A message to an occupant (section 7.5). */
static void
private(struct room *room, struct client *sender, struct slice nick, const struct frame *f, uint64_t now)
{
	struct occupant *o = sender->occupant, *to = occupant_find(room, nick);
	struct content c;

	buf_clear(&payload_buf);
	if (f->subtype == TYPE_GROUPCHAT || content_copy(room, f->payload, &payload_buf, &c) != OK) {
		answer_error(f, STANZA_ERROR_BAD_REQUEST, NULL);
	} else if (to == NULL) {
		answer_error(f, STANZA_ERROR_ITEM_NOT_FOUND, "Nobody here has this nick");
	} else if (!privilege_has(room, o->role, PRIVILEGE_PRIVATE)) {
		answer_error(f, STANZA_ERROR_FORBIDDEN, "You may not send private messages in this room");
	} else if (is_too_fast(o, now)) {
		COUNT(room_messages_limited);
		answer_error(f, STANZA_ERROR_RESOURCE_CONSTRAINT, "You send too many messages");
	} else {
		COUNT(room_private);
		private_send(o, to, f, &c);
	}
}

/* -- every message -- */

/* A message to the room that is not for all: an invitation, a request for voice, an answer to one. */
static void
to_room(struct room *room, struct client *sender, const struct frame *f, uint64_t now)
{
	if (register_handle(room, f, now) || invite_handle(room, sender, f, now))
		return;
	if (sender == NULL)
		answer_error(f, STANZA_ERROR_NOT_ACCEPTABLE, "You are not in this room");
	else if (f->subtype != TYPE_ERROR)
		answer_error(f, STANZA_ERROR_BAD_REQUEST, "Messages to all have the type groupchat");
}

/* An error of one who is in the room; it may mean that it is not there any more. */
static void
error_handle(struct room *room, struct client *sender, const struct frame *f, uint64_t now)
{
	struct jid to;

	jid_split(f->to, &to);
	if (to.resource.ptr != NULL)
		private_error(sender->occupant, f, to.resource, now);
	else
		to_room(room, sender, f, now);
	if (watch_says_gone(f))
		enter_gone(sender, "error for a message", now);
}

void
message_handle(const struct frame *f, uint64_t now)
{
	struct room *room;
	struct client *sender;
	struct jid to;

	jid_split(f->to, &to);
	room = to.local.ptr != NULL ? room_find(jid_bare(&to)) : NULL;
	sender = room != NULL ? client_find(room, f->from) : NULL;
	if (f->payload.len + f->id.len + f->lang.len > SAID_BYTES)
		answer_error(f, STANZA_ERROR_POLICY_VIOLATION, "The message is too large for a room");
	else if (room == NULL)
		answer_error(f, to.local.ptr != NULL ? STANZA_ERROR_ITEM_NOT_FOUND :
		    STANZA_ERROR_SERVICE_UNAVAILABLE, NULL);
	else if (sender != NULL && f->subtype == TYPE_ERROR)
		error_handle(room, sender, f, now);
	else if (to.resource.ptr == NULL && f->subtype != TYPE_GROUPCHAT)
		to_room(room, sender, f, now);
	else if (sender == NULL)
		answer_error(f, STANZA_ERROR_NOT_ACCEPTABLE, "You are not in this room");
	else if (to.resource.ptr != NULL)
		private(room, sender, to.resource, f, now);
	else
		groupchat(room, sender, f, now);
}
