/*
 * relay.c: requests between occupants (XEP-0045 section 6.6, 15.4): the addresses become those of
 * occupants, so that nobody learns who somebody is, and the answer finds the client that has asked,
 * also when its nick has several (seal.c). A client that asks whether it is still in the room
 * (XEP-0410) is answered by the room. Called by request.c. Nothing is kept.
 */
#include "mucd.h"
#include "ns.h"
#include "seal.h"
#include "xmlout.h"

#define KIND   "relay"
#define ID_MAX 1024 /* of an id that is sent on in another one */

/* -- requests ---------------------------------------------------------------------------------- */

/* Who asks is not in the room. What does not tell whether there is such a room, or an occupant, tells
 * a client all the same that it has to enter again. */
static void
refuse_stranger(const struct frame *f)
{
	if (slice_is(f->ns, NS_DISCO_INFO) || slice_is(f->ns, NS_DISCO_ITEMS))
		answer_error(f, STANZA_ERROR_BAD_REQUEST, "You are not in this room");
	else
		answer_error(f, STANZA_ERROR_NOT_ACCEPTABLE, "You are not in this room");
}

static bool
is_ping(const struct frame *f)
{
	return f->subtype == TYPE_GET && slice_is(f->ns, NS_PING) && slice_is(f->name, "ping");
}

static bool
is_vcard(const struct frame *f)
{
	return f->subtype == TYPE_GET && slice_is(f->ns, NS_VCARD);
}

/* Whether somebody may write to others privately, requests included. */
static bool
may_ask(const struct room *room, const struct occupant *asking, const struct frame *f)
{
	return is_ping(f) || is_vcard(f) || privilege_has(room, asking->role, PRIVILEGE_PRIVATE);
}

static void
send_on(const struct frame *f, const struct room *room, const struct client *asking,
    const struct occupant *target)
{
	const struct client *client = TAILQ_LAST(&target->clients, clients);
	struct seal s = { KIND, asking->number, occupant_nick(target), f->id };
	struct buf from = { 0 }, id = { 0 };
	struct frame out = *f;

	/* A vCard is the account's, whose server has it. */
	out.to = is_vcard(f) ? occupant_bare(target) : client_jid(client);
	out.handle = is_vcard(f) ? 0 : client->handle;
	seal_write(room, &s, out.to, &id);
	occupant_address(asking->occupant, &from);
	out.id = buf_slice(&id);
	out.from = buf_slice(&from);
	out.flags = 0;
	out.origin = 0;
	out.seq = 0;
	if (answer_send(&out) != OK)
		answer_error(f, STANZA_ERROR_POLICY_VIOLATION, "The request is too large");
	buf_free(&id);
	buf_free(&from);
}

void
relay_request(const struct frame *f, struct room *room, uint64_t now)
{
	const struct client *asking = room != NULL ? client_find(room, f->from) : NULL;
	const struct occupant *target;
	struct jid to;

	(void)now;
	jid_split(f->to, &to);
	if (asking == NULL) {
		refuse_stranger(f);
		return;
	}
	target = occupant_find(room, to.resource);
	if (target == NULL)
		answer_error(f, STANZA_ERROR_ITEM_NOT_FOUND, "Nobody has this nick");
	else if (target == asking->occupant && is_ping(f))
		answer_result(f, SLICE(""));
	else if (!may_ask(room, asking->occupant, f))
		answer_error(f, STANZA_ERROR_FORBIDDEN, "Private requests are not allowed in this room");
	else if (f->id.len > ID_MAX)
		answer_error(f, STANZA_ERROR_POLICY_VIOLATION, "The id is too long");
	else
		send_on(f, room, asking, target);
}

/* -- answers ----------------------------------------------------------------------------------- */

/* Copies a vCard without the address of its owner. */
static void
vcard_copy(const struct xmlin_element *vcard, struct buf *out)
{
	struct xmlin_element child;
	struct xmlin in;
	size_t head;

	buf_add_string(out, "<vCard xmlns='" NS_VCARD "'>");
	head = buf_len(out);
	xmlin_begin(&in, vcard->content, vcard->ns);
	while (xmlin_child(&in, &child))
		if (!slice_is(child.name, "JABBERID"))
			buf_add_slice(out, child.whole);
	xml_close(out, "vCard", head);
}

/* Who has asked hears that what was answered does not arrive. */
static void
answer_fail(const struct frame *answer)
{
	struct frame request = { .type = FRAME_STANZA, .kind = STANZA_IQ, .subtype = TYPE_GET, .from = answer->to,
		.to = answer->from, .id = answer->id, .handle = answer->handle };

	answer_error(&request, STANZA_ERROR_RESOURCE_CONSTRAINT, "The answer is longer than it may be");
}

void
relay_answer(const struct frame *f, uint64_t now)
{
	struct room *room = room_find(jid_bare_of(f->to));
	struct buf from = { 0 }, payload = { 0 };
	struct xmlin_element vcard;
	struct client *asking;
	struct frame out = *f;
	struct seal s;

	(void)now;
	if (room == NULL || seal_read(room, KIND, f->id, f->from, &s) != OK)
		return;
	asking = seal_client(room, &s);
	if (asking == NULL)
		return;
	buf_add_slice(&from, room_jid(room));
	buf_add_char(&from, '/');
	buf_add_slice(&from, s.words);
	out.from = buf_slice(&from);
	out.to = client_jid(asking);
	out.handle = asking->handle;
	out.id = s.id;
	out.flags = f->flags & FLAG_ERROR;
	out.origin = 0;
	out.seq = 0;
	if (f->subtype == TYPE_ERROR) {
		pass_error(f->payload, access_real_jids(room, out.to), &payload);
		out.payload = buf_slice(&payload);
		out.name = SLICE("error");
		out.ns = SLICE(NS_CLIENT);
	} else if (!access_real_jids(room, out.to) &&
	    xmlin_find(f->payload, SLICE(NS_CLIENT), "vCard", NS_VCARD, &vcard)) {
		vcard_copy(&vcard, &payload);
		out.payload = buf_slice(&payload);
	}
	if (answer_send(&out) != OK)
		answer_fail(&out);
	buf_free(&payload);
	buf_free(&from);
}
