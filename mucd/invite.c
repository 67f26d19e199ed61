/*
 * invite.c: invitations by way of the room and how they are declined (XEP-0045 section 7.8.2), requests
 * for voice and their approval (7.13, 8.6). All of them are messages without a type to the room. Called
 * by message.c. Keeps nothing but when an occupant has asked for voice: whose invitation it is that
 * comes back with an error is in its id (seal.c).
 */
#include "mucd.h"
#include "ns.h"
#include "seal.h"
#include "xmlout.h"

#define KIND        "invite"
#define INVITES_MAX 20            /* in one message */
#define ID_MAX      1024          /* of an id that is sent on in another one */
#define VOICE_TIME  (60u * 1000u) /* between two requests for voice of one occupant */

/* -- messages of the room ---------------------------------------------------------------------- */

static struct frame
message_of(const struct room *room, struct slice id, struct slice payload, const char *name,
    const char *ns)
{
	return (struct frame){ .type = FRAME_STANZA, .kind = STANZA_MESSAGE, .subtype = TYPE_NORMAL,
		.flags = FLAG_CONTENT | FLAG_IM | FLAG_MUC, .from = room_jid(room), .id = id,
		.payload = payload, .name = slice_string(name), .ns = slice_string(ns) };
}

/* To all clients of an occupant. */
static void
receivers_of(struct receivers *r, const struct occupant *occupant)
{
	const struct client *c;

	TAILQ_FOREACH(c, &occupant->clients, siblings)
		receivers_add(r, c);
}

/* Copies the children of an invitation, or of what declines one, that belong to it. */
static void
children_copy(const struct xmlin_element *element, struct buf *out)
{
	struct xmlin_element child;
	struct xmlin in;

	xmlin_begin(&in, element->content, element->ns);
	while (xmlin_child(&in, &child))
		if (slice_is(child.ns, NS_MUC_USER) &&
		    (slice_is(child.name, "reason") || slice_is(child.name, "continue")))
			buf_add_slice(out, child.whole);
}

/* -- invitations ------------------------------------------------------------------------------- */

/* One of those in a message. */
struct invitation {
	struct xmlin_element element;
	char text[JID_MAX + 1];
	struct jid to;       /* whom; points into text, or is the address of an occupant elsewhere */
	bool occupant;       /* who that is, the one who invites need not know */
	bool vain;           /* it is not sent, and nobody is told so */
};

/* Whom one invites can be an occupant of another room, of whom the one who invites knows no more. */
static enum stanza_error
occupant_resolve(const struct room *into, const struct frame *f, struct invitation *i)
{
	struct room *room = room_find(jid_bare(&i->to));
	const struct occupant *o;

	if (room == NULL || client_find(room, f->from) == NULL || i->to.resource.ptr == NULL)
		return STANZA_ERROR_ITEM_NOT_FOUND;
	o = occupant_find(room, i->to.resource);
	if (o == NULL)
		return STANZA_ERROR_ITEM_NOT_FOUND;
	/* As a member of this room its address would be in a list. */
	if (into->config.members_only && !access_real_jids(room, f->from))
		return STANZA_ERROR_NOT_ALLOWED;
	i->occupant = true;
	return jid_prepare(occupant_bare(o), i->text, &i->to) == OK
	    ? STANZA_ERROR_NONE : STANZA_ERROR_ITEM_NOT_FOUND;
}

static enum stanza_error
invitation_read(const struct room *room, const struct frame *f, struct invitation *i)
{
	enum stanza_error error = STANZA_ERROR_NONE;
	struct buf scratch = { 0 };
	struct slice to;

	i->occupant = i->vain = false;
	if (xmlin_attribute(&i->element, "to", &scratch, &to) != OK)
		error = STANZA_ERROR_BAD_REQUEST;
	else if (jid_prepare(to, i->text, &i->to) != OK)
		error = STANZA_ERROR_JID_MALFORMED;
	else if (domain_find(i->to.domain) != NULL)
		error = occupant_resolve(room, f, i);
	else if (i->to.local.ptr == NULL)
		error = STANZA_ERROR_JID_MALFORMED; /* all of a domain would become members */
	if (error == STANZA_ERROR_NONE && affiliation_of(room, jid_bare(&i->to)) == AFFILIATION_OUTCAST) {
		/* Who has banned an address to see whether an occupant has it sees no difference. */
		i->vain = i->occupant;
		error = i->vain ? STANZA_ERROR_NONE : STANZA_ERROR_FORBIDDEN;
	}
	buf_free(&scratch);
	return error;
}

/* Whether somebody may invite (section 7.8.2): into a room for members only, who may make members of
 * others, and members when the owners have said so. */
static bool
may_invite(const struct room *room, const struct frame *f)
{
	enum affiliation a = affiliation_of(room, jid_bare_of(f->from));

	return a >= AFFILIATION_ADMIN || !room->config.members_only ||
	    (a == AFFILIATION_MEMBER && room->config.invites);
}

/* Makes members of those who are not, where only they may enter. */
static enum stanza_error
invitation_admit(struct room *room, const struct client *sender, const struct invitation *i,
    uint64_t now)
{
	struct slice bare = jid_bare(&i->to);
	int error;

	if (!room->config.members_only || affiliation_of(room, bare) != AFFILIATION_NONE)
		return STANZA_ERROR_NONE;
	if (map_count(room->by_jid) >= AFFILIATES_OPEN &&
	    affiliation_of(room, occupant_bare(sender->occupant)) < AFFILIATION_ADMIN)
		return STANZA_ERROR_RESOURCE_CONSTRAINT;
	error = admin_affiliate(room, bare, AFFILIATION_MEMBER, SLICE_NONE, SLICE_NONE,
	    occupant_nick(sender->occupant), now);
	if (error == E_FULL)
		return STANZA_ERROR_RESOURCE_CONSTRAINT;
	return error ? STANZA_ERROR_FORBIDDEN : STANZA_ERROR_NONE;
}

static void
invitation_send(const struct room *room, const struct client *sender, const struct frame *f,
    const struct invitation *i)
{
	struct seal s = { KIND, sender->number, SLICE(""), f->id };
	struct buf payload = { 0 }, id = { 0 };
	struct frame out;
	size_t head;

	xml_open(&payload, "x", SLICE(NS_MUC_USER));
	buf_add_string(&payload, "><invite");
	xml_add_attribute(&payload, "from", jid_bare_of(f->from));
	buf_add_char(&payload, '>');
	head = buf_len(&payload);
	children_copy(&i->element, &payload);
	xml_close(&payload, "invite", head);
	if (room->config.password_protected)
		xml_add_element(&payload, "password", buf_slice(&room->config.password));
	buf_add_string(&payload, "</x>");
	seal_write(room, &s, jid_bare(&i->to), &id);
	out = message_of(room, buf_slice(&id), buf_slice(&payload), "x", NS_MUC_USER);
	out.to = i->to.full;
	out.lang = f->lang;
	outbox_message(&out);
	buf_free(&id);
	buf_free(&payload);
}

/* All of them, if each can be invited. */
static enum stanza_error
invitations_send(struct room *room, const struct client *sender, const struct frame *f,
    struct invitation *all, size_t count, uint64_t now)
{
	enum stanza_error error = STANZA_ERROR_NONE;
	size_t i;

	for (i = 0; i < count && error == STANZA_ERROR_NONE; i++)
		error = invitation_read(room, f, &all[i]);
	for (i = 0; i < count && error == STANZA_ERROR_NONE; i++)
		error = invitation_admit(room, sender, &all[i], now);
	for (i = 0; i < count && error == STANZA_ERROR_NONE; i++)
		if (!all[i].vain)
			invitation_send(room, sender, f, &all[i]);
	return error;
}

static void
invite(struct room *room, const struct client *sender, const struct frame *f,
    const struct xmlin_element *x, uint64_t now)
{
	static struct invitation all[INVITES_MAX];
	enum stanza_error error;
	struct xmlin_element child;
	struct xmlin in;
	size_t count = 0;

	xmlin_begin(&in, x->content, x->ns);
	while (xmlin_child(&in, &child)) {
		if (!slice_is(child.name, "invite") || !slice_is(child.ns, NS_MUC_USER))
			continue;
		if (count == INVITES_MAX) {
			answer_error(f, STANZA_ERROR_POLICY_VIOLATION, "Too many invitations at once");
			return;
		}
		all[count++].element = child;
	}
	if (sender == NULL)
		answer_error(f, STANZA_ERROR_NOT_ACCEPTABLE, "You are not in this room");
	else if (!may_invite(room, f))
		answer_error(f, STANZA_ERROR_FORBIDDEN, "You may not invite others to this room");
	else if (f->id.len > ID_MAX)
		answer_error(f, STANZA_ERROR_POLICY_VIOLATION, "The id is too long");
	else if ((error = invitations_send(room, sender, f, all, count, now)) != STANZA_ERROR_NONE)
		answer_error(f, error, NULL);
}

/* An invitation that did not arrive: who has sent it learns so. */
static bool
invite_failed(const struct room *room, const struct frame *f)
{
	struct frame out = *f;
	struct client *client;
	struct buf payload = { 0 };
	struct seal s;

	if (seal_read(room, KIND, f->id, jid_bare_of(f->from), &s) != OK)
		return false;
	client = seal_client(room, &s);
	if (client == NULL)
		return true;
	out.from = room_jid(room);
	out.to = client_jid(client);
	out.handle = client->handle;
	out.id = s.id;
	out.flags = FLAG_ERROR;
	out.origin = 0;
	out.seq = 0;
	pass_error(f->payload, access_real_jids(room, out.to), &payload);
	out.payload = buf_slice(&payload);
	out.name = SLICE("error");
	out.ns = SLICE(NS_CLIENT);
	answer_send(&out);
	buf_free(&payload);
	return true;
}

/* -- declining --------------------------------------------------------------------------------- */

/* Who has invited: an occupant, by its address or by that in the room. */
static struct occupant *
inviter_find(const struct room *room, const struct jid *to)
{
	if (slice_equal(jid_bare(to), room_jid(room)))
		return to->resource.ptr != NULL ? occupant_find(room, to->resource) : NULL;
	return occupant_of(room, jid_bare(to));
}

/* What reaches nobody is not answered either: an error would tell who is in the room. */
static void
decline_send(const struct room *room, const struct frame *f, const struct xmlin_element *element,
    const struct jid *to)
{
	const struct occupant *inviter = inviter_find(room, to);
	struct receivers receivers = { 0 };
	struct buf payload = { 0 };
	struct frame out;
	size_t head;

	xml_open(&payload, "x", SLICE(NS_MUC_USER));
	buf_add_string(&payload, "><decline");
	xml_add_attribute(&payload, "from", jid_bare_of(f->from));
	buf_add_char(&payload, '>');
	head = buf_len(&payload);
	children_copy(element, &payload);
	xml_close(&payload, "decline", head);
	buf_add_string(&payload, "</x>");
	out = message_of(room, f->id, buf_slice(&payload), "x", NS_MUC_USER);
	out.lang = f->lang;
	if (inviter != NULL) {
		receivers_of(&receivers, inviter);
		outbox_add(&out, &receivers);
		receivers_free(&receivers);
	} else if (affiliation_of(room, jid_bare(to)) >= AFFILIATION_MEMBER) {
		/* A room is no way to write to whom one likes. */
		out.to = jid_bare(to);
		outbox_message(&out);
	}
	buf_free(&payload);
}

static void
decline(struct room *room, const struct frame *f, const struct xmlin_element *element)
{
	struct buf scratch = { 0 };
	char text[JID_MAX + 1];
	struct slice value;
	struct jid to;

	if (xmlin_attribute(element, "to", &scratch, &value) != OK)
		answer_error(f, STANZA_ERROR_BAD_REQUEST, "Whose invitation is declined?");
	else if (jid_prepare(value, text, &to) != OK)
		answer_error(f, STANZA_ERROR_JID_MALFORMED, NULL);
	else if (affiliation_of(room, jid_bare_of(f->from)) == AFFILIATION_OUTCAST)
		answer_error(f, STANZA_ERROR_FORBIDDEN, NULL);
	else
		decline_send(room, f, element, &to);
	buf_free(&scratch);
}

/* -- voice ------------------------------------------------------------------------------------- */

/* Asks all moderators; false when there is none. */
static bool
voice_forward(const struct room *room, const struct client *sender)
{
	struct receivers receivers = { 0 };
	struct buf payload = { 0 };
	const struct occupant *o;
	struct frame out;
	bool any = false;

	form_open(&payload, "form", NS_MUC_REQUEST, "Request for voice",
	    "To let this person speak, say so and submit this form.");
	form_field(&payload, "muc#role", "list-single", "Requested role", SLICE("participant"));
	form_field(&payload, "muc#jid", "jid-single", "Address", client_jid(sender));
	form_field(&payload, "muc#roomnick", "text-single", "Nickname",
	    occupant_nick(sender->occupant));
	form_field(&payload, "muc#request_allow", "boolean", "Grant voice?", SLICE("false"));
	form_close(&payload);
	TAILQ_FOREACH(o, &room->occupants, all) {
		if (o->role == IN_MODERATOR) {
			receivers_of(&receivers, o);
			any = true;
		}
	}
	out = message_of(room, SLICE_NONE, buf_slice(&payload), "x", NS_DATA);
	if (any)
		outbox_add(&out, &receivers);
	receivers_free(&receivers);
	buf_free(&payload);
	return any;
}

static void
voice_ask(const struct room *room, struct client *sender, const struct frame *f,
    const struct form *form, uint64_t now)
{
	struct occupant *o = sender->occupant;
	struct slice role;

	if (!form_value(form, SLICE("muc#role"), 0, &role) || !slice_is(role, "participant"))
		answer_error(f, STANZA_ERROR_BAD_REQUEST, "Only the role of a participant can be asked for");
	else if (o->role != IN_VISITOR)
		answer_error(f, STANZA_ERROR_NOT_ALLOWED, "You have voice");
	else if (o->voice_asked != 0 && now < o->voice_asked + VOICE_TIME)
		answer_error(f, STANZA_ERROR_RESOURCE_CONSTRAINT, "You have asked already");
	else if (!voice_forward(room, sender))
		answer_error(f, STANZA_ERROR_RECIPIENT_UNAVAILABLE, "No moderator is here");
	else
		o->voice_asked = now;
}

/* The one whom a form is about: by nick, and by address if the form has one. */
static struct occupant *
voice_whom(const struct room *room, const struct form *form)
{
	struct slice nick, address;
	struct occupant *o;

	if (!form_value(form, SLICE("muc#roomnick"), 0, &nick))
		return NULL;
	o = occupant_find(room, nick);
	if (o != NULL && form_value(form, SLICE("muc#jid"), 0, &address) &&
	    !slice_equal(jid_bare_of(address), occupant_bare(o)))
		return NULL; /* another one has this nick by now */
	return o;
}

static void
voice_answer(const struct room *room, const struct client *sender, const struct frame *f,
    const struct form *form)
{
	struct change change = { .actor_nick = occupant_nick(sender->occupant) };
	struct occupant *o = voice_whom(room, form);
	struct slice role, allow = SLICE("");

	form_value(form, SLICE("muc#request_allow"), 0, &allow);
	if (sender->occupant->role != IN_MODERATOR)
		answer_error(f, STANZA_ERROR_FORBIDDEN, "You are no moderator");
	else if (form_value(form, SLICE("muc#role"), 0, &role) && !slice_is(role, "participant"))
		answer_error(f, STANZA_ERROR_BAD_REQUEST, "Only the role of a participant was asked for");
	else if (o == NULL)
		answer_error(f, STANZA_ERROR_ITEM_NOT_FOUND, "That person has left");
	else if ((slice_is(allow, "1") || slice_is(allow, "true")) && o->role == IN_VISITOR) {
		o->voice_asked = 0;
		occupant_set_role(o, IN_PARTICIPANT);
		presence_tell(o, &change, NULL);
	}
}

/* A form of muc#request; false: there is none. */
static bool
voice(struct room *room, struct client *sender, const struct frame *f, uint64_t now)
{
	struct slice type;
	struct form form;
	bool ours = form_read(f->payload, SLICE(NS_CLIENT), NS_MUC_REQUEST, &form) == OK &&
	    form_value(&form, SLICE("FORM_TYPE"), 0, &type);

	if (ours && sender == NULL)
		answer_error(f, STANZA_ERROR_NOT_ACCEPTABLE, "You are not in this room");
	else if (ours && !form.cancelled && form_has(&form, SLICE("muc#request_allow")))
		voice_answer(room, sender, f, &form);
	else if (ours && !form.cancelled)
		voice_ask(room, sender, f, &form, now);
	form_free(&form);
	return ours;
}

/* -- which of them it is ----------------------------------------------------------------------- */

bool
invite_handle(struct room *room, struct client *sender, const struct frame *f, uint64_t now)
{
	struct xmlin_element x, child;

	if (f->subtype == TYPE_ERROR)
		return invite_failed(room, f);
	if (f->subtype != TYPE_NORMAL)
		return false;
	if (!xmlin_find(f->payload, SLICE(NS_CLIENT), "x", NS_MUC_USER, &x))
		return voice(room, sender, f, now);
	if (xmlin_find(x.content, x.ns, "invite", NS_MUC_USER, &child))
		invite(room, sender, f, &x, now);
	else if (xmlin_find(x.content, x.ns, "decline", NS_MUC_USER, &child))
		decline(room, f, &child);
	else
		return voice(room, sender, f, now);
	return true;
}
