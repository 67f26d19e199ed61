/*
 * register.c: registration with a room (XEP-0045 section 7.10; XEP-0077): who has no affiliation becomes a member
 * under a nick that is reserved, and who has one reserves its nick.
 *
 * In a room that is open to everybody, membership means nothing but that, and is had at once. Where it lets
 * somebody in, or gives voice, admins are asked (9.9). Such a request is a message with a form, which says for whom
 * it is, so that nothing is kept until it comes back: what an admin submits it could as well do by itself. What is
 * in memory alone is who has asked, so that nobody asks often; a commit that fails takes that back.
 *
 * Called by request.c and invite.c. Fails with errors for who asks.
 */
#include "mucd.h"

#include <stdlib.h>

#include "log.h"
#include "mem.h"
#include "ns.h"
#include "xmlout.h"

#define ASKED_MAX     2000    /* requests that are remembered; the oldest is forgotten */
#define ASKED_TIME    3600000 /* milliseconds until the same one may ask again */
#define APPROVERS_MAX 50      /* admins and owners that are asked */
#define TEXT_MAX      1024    /* bytes of an answer in the form */
#define VAR_JID       "{urn:x-aldis:muc}jid"

/* -- who has asked -- */

struct asked {
	TAILQ_ENTRY(asked) all;
	uint64_t time;
	size_t len;
	char key[];  /* room, a space, bare JID */
};

static TAILQ_HEAD(asked_list, asked) asked_list = TAILQ_HEAD_INITIALIZER(asked_list);
static struct map *asked_map;
static size_t asked_fresh; /* the last ones in the list, whose admins are asked with this transaction */

static void
asked_forget(struct asked *asked)
{
	map_remove(asked_map, slice_of(asked->key, asked->len));
	TAILQ_REMOVE(&asked_list, asked, all);
	free(asked);
}

/* Notes that somebody asks; false: it has, not long ago. */
static bool
asked_note(const struct room *room, struct slice bare, uint64_t now)
{
	struct buf key = { 0 };
	struct asked *asked;

	if (asked_map == NULL)
		asked_map = map_new();
	while ((asked = TAILQ_FIRST(&asked_list)) != NULL &&
	    (now >= asked->time + ASKED_TIME || map_count(asked_map) >= ASKED_MAX))
		asked_forget(asked);
	buf_add_slice(&key, room_jid(room));
	buf_add_char(&key, ' ');
	buf_add_slice(&key, bare);
	asked = map_get(asked_map, buf_slice(&key));
	if (asked == NULL) {
		asked = mem_alloc(sizeof *asked + buf_len(&key));
		asked->time = now;
		asked->len = buf_len(&key);
		memcpy(asked->key, buf_slice(&key).ptr, asked->len);
		map_put(asked_map, slice_of(asked->key, asked->len), asked);
		TAILQ_INSERT_TAIL(&asked_list, asked, all);
		asked_fresh++;
		buf_free(&key);
		return true;
	}
	buf_free(&key);
	return false;
}

void
register_committed(void)
{
	asked_fresh = 0;
}

void
register_revert(void)
{
	for (; asked_fresh != 0 && !TAILQ_EMPTY(&asked_list); asked_fresh--)
		asked_forget(TAILQ_LAST(&asked_list, asked_list));
	asked_fresh = 0;
}

/* -- the form -- */

static const struct {
	const char *var, *type, *label;
} fields[] = {
	{ "muc#register_roomnick", "text-single", "Nickname" },
	{ "muc#register_first", "text-single", "Given name" },
	{ "muc#register_last", "text-single", "Family name" },
	{ "muc#register_url", "text-single", "Web page" },
	{ "muc#register_email", "text-single", "Email address" },
	{ "muc#register_faqentry", "text-multi", "Something about you" },
};

#define NICK "muc#register_roomnick"

static void
form_send(const struct room *room, const struct frame *f)
{
	struct buf out = { 0 };
	size_t i;

	buf_add_string(&out, "<query xmlns='" NS_REGISTER "'><instructions>Fill in the form to register with "
	    "this room.</instructions>");
	form_open(&out, "form", NS_MUC_REGISTER, "Registration", room->config.members_only ?
	    "An administrator of the room will be asked." : "Choose the nickname that is to be yours.");
	for (i = 0; i < sizeof fields / sizeof fields[0]; i++) {
		form_field_open(&out, fields[i].var, fields[i].type, fields[i].label);
		if (i == 0)
			buf_add_string(&out, "<required/>");
		form_field_close(&out);
	}
	form_close(&out);
	buf_add_string(&out, "</query>");
	answer_result(f, buf_slice(&out));
	buf_free(&out);
}

static void
registered_send(const struct affiliate *a, const struct frame *f)
{
	struct buf out = { 0 };

	buf_add_string(&out, "<query xmlns='" NS_REGISTER "'><registered/>");
	xml_add_element(&out, "username", slice_string(a->nick));
	buf_add_string(&out, "</query>");
	answer_result(f, buf_slice(&out));
	buf_free(&out);
}

/* -- registering -- */

/* Whether admins have a say: where membership is more than a name on a list. */
static bool
needs_approval(const struct room *room, enum affiliation affiliation)
{
	return affiliation < AFFILIATION_MEMBER && (room->config.members_only || room->config.moderated);
}

/* What is asked of one admin. */
static void
approval_send(const struct room *room, const struct affiliate *admin, struct slice payload)
{
	struct frame f = { .type = FRAME_STANZA, .kind = STANZA_MESSAGE, .subtype = TYPE_NORMAL,
		.from = room_jid(room), .to = slice_of(admin->jid, admin->jid_len), .payload = payload,
		.flags = FLAG_CONTENT };

	outbox_message(&f);
}

static void
approval_ask(const struct room *room, const struct form *form, struct slice nick, struct slice bare)
{
	const struct affiliate *a;
	struct buf out = { 0 };
	unsigned count = 0;
	size_t i, at;

	form_open(&out, "form", NS_MUC_REGISTER, "Registration", "Somebody wants to become a member of the room. "
	    "Submit this form to allow or to refuse it.");
	form_field(&out, VAR_JID, "jid-single", "Address", bare);
	form_field(&out, NICK, "text-single", fields[0].label, nick);
	for (i = 1; i < sizeof fields / sizeof fields[0]; i++) {
		struct slice value;

		if (!form_value(form, slice_string(fields[i].var), 0, &value))
			continue;
		form_field_open(&out, fields[i].var, fields[i].type, fields[i].label);
		for (at = 0; form_value(form, slice_string(fields[i].var), at, &value); at++)
			xml_add_element(&out, "value", value);
		form_field_close(&out);
	}
	form_field(&out, "muc#register_allow", "boolean", "Let this one be a member?", SLICE("0"));
	form_close(&out);
	TAILQ_FOREACH (a, &room->affiliates, all) {
		if (a->affiliation >= AFFILIATION_ADMIN && count++ < APPROVERS_MAX)
			approval_send(room, a, buf_slice(&out));
	}
	buf_free(&out);
}

/* Whether the answers in a form are of a size that one reads. */
static bool
form_fits(const struct form *form)
{
	struct slice value;
	size_t i, at, len = 0;

	for (i = 0; i < sizeof fields / sizeof fields[0]; i++) {
		for (at = 0; form_value(form, slice_string(fields[i].var), at, &value); at++) {
			len += value.len;
			if (at == 64 || len > 4 * TEXT_MAX)
				return false;
		}
	}
	return true;
}

static void
submitted(struct room *room, const struct frame *f, const struct form *form, uint64_t now)
{
	struct slice bare = jid_bare_of(f->from), nick;
	const struct affiliate *a = affiliate_find(room, bare);
	enum affiliation affiliation = affiliation_of(room, bare);
	char out[JID_PART_MAX + 1];

	if (!form_value(form, SLICE(NICK), 0, &nick) || nick.len == 0)
		answer_error(f, STANZA_ERROR_BAD_REQUEST, "a nickname is needed");
	else if (jid_prepare_resource(nick, out, &nick) != OK)
		answer_error(f, STANZA_ERROR_NOT_ACCEPTABLE, "this cannot be a nickname");
	else if (!form_fits(form))
		answer_error(f, STANZA_ERROR_NOT_ACCEPTABLE, "the form is too long");
	else if (!admin_nick_free(room, nick, bare))
		answer_error(f, STANZA_ERROR_CONFLICT, "the nickname is taken");
	else if (needs_approval(room, affiliation) && !asked_note(room, bare, now))
		answer_error(f, STANZA_ERROR_RESOURCE_CONSTRAINT, "the administrators were asked already");
	else if (needs_approval(room, affiliation)) {
		approval_ask(room, form, nick, bare);
		answer_result(f, SLICE(""));
	} else if (a == NULL && affiliation < AFFILIATION_ADMIN && map_count(room->by_jid) >= AFFILIATES_OPEN) {
		answer_error(f, STANZA_ERROR_RESOURCE_CONSTRAINT, "administrators alone add to the list");
	} else {
		if (a != NULL)
			affiliation = a->affiliation;
		if (admin_affiliate(room, bare, affiliation < AFFILIATION_MEMBER ? AFFILIATION_MEMBER : affiliation,
		    nick, SLICE_NONE, SLICE_NONE, now) == OK)
			answer_result(f, SLICE(""));
		else
			answer_error(f, STANZA_ERROR_RESOURCE_CONSTRAINT, "the list is as long as it may be");
	}
}

/* Who was a member and no more is one no more; others keep all but the nick. */
static void
removed(struct room *room, const struct frame *f, uint64_t now)
{
	struct slice bare = jid_bare_of(f->from);
	const struct affiliate *a = affiliate_find(room, bare);
	bool inhabited = room->client_count != 0;

	if (a == NULL || a->affiliation < AFFILIATION_MEMBER) {
		answer_error(f, STANZA_ERROR_REGISTRATION_REQUIRED, NULL);
		return;
	}
	admin_affiliate(room, bare, a->affiliation == AFFILIATION_MEMBER ? AFFILIATION_NONE : a->affiliation,
	    SLICE(""), SLICE_NONE, SLICE_NONE, now);
	answer_result(f, SLICE(""));
	if (inhabited && room->client_count == 0)
		room_emptied(room, now);
}

static void
set_request(struct room *room, const struct frame *f, const struct xmlin_element *query, uint64_t now)
{
	struct xmlin_element remove;
	struct form form;
	int error;

	if (xmlin_find(query->content, query->ns, "remove", NS_REGISTER, &remove)) {
		removed(room, f, now);
		return;
	}
	error = form_read(query->content, query->ns, NS_MUC_REGISTER, &form);
	if (error != OK)
		answer_error(f, STANZA_ERROR_BAD_REQUEST, "the form of a registration is needed");
	else if (form.cancelled)
		answer_result(f, SLICE(""));
	else
		submitted(room, f, &form, now);
	form_free(&form);
}

void
register_request(const struct frame *f, struct room *room, uint64_t now)
{
	struct slice bare = jid_bare_of(f->from);
	const struct affiliate *a = affiliate_find(room, bare);
	enum affiliation affiliation = affiliation_of(room, bare);
	struct xmlin_element query;

	if (!xmlin_find(f->payload, SLICE(NS_CLIENT), "query", NS_REGISTER, &query))
		answer_error(f, STANZA_ERROR_BAD_REQUEST, NULL);
	else if (affiliation == AFFILIATION_OUTCAST || (room->locked && affiliation < AFFILIATION_OWNER))
		answer_error(f, STANZA_ERROR_NOT_ALLOWED, NULL);
	else if (f->subtype == TYPE_SET)
		set_request(room, f, &query, now);
	else if (a != NULL && a->affiliation >= AFFILIATION_MEMBER && a->nick != NULL)
		registered_send(a, f);
	else
		form_send(room, f);
}

/* -- approval -- */

/* Makes a member of whom an admin has allowed it. */
static void
approve(struct room *room, const struct frame *f, const struct form *form, uint64_t now)
{
	const struct client *client = client_find(room, f->from);
	struct slice address, nick, actor = client == NULL ? SLICE_NONE :
	    slice_of(client->occupant->nick, client->occupant->nick_len);
	char out[JID_MAX + 1], nick_out[JID_PART_MAX + 1];
	struct jid jid;

	if (!form_value(form, SLICE(VAR_JID), 0, &address) || jid_prepare(address, out, &jid) != OK ||
	    jid.local.ptr == NULL || jid.resource.ptr != NULL ||
	    !form_value(form, SLICE(NICK), 0, &nick) || jid_prepare_resource(nick, nick_out, &nick) != OK)
		answer_error(f, STANZA_ERROR_BAD_REQUEST, "the address or the nickname is missing");
	else if (affiliation_of(room, jid.full) != AFFILIATION_NONE)
		log_debug("registration approved again", "room=%s", log_quote(room_jid(room)));
	else if (!admin_nick_free(room, nick, jid.full))
		answer_error(f, STANZA_ERROR_CONFLICT, "the nickname is taken");
	else if (admin_affiliate(room, jid.full, AFFILIATION_MEMBER, nick, SLICE_NONE, actor, now) != OK)
		answer_error(f, STANZA_ERROR_RESOURCE_CONSTRAINT, "the list is as long as it may be");
}

bool
register_handle(struct room *room, const struct frame *f, uint64_t now)
{
	struct slice allow = SLICE_NONE, type;
	struct form form;
	bool ours;

	if (f->subtype != TYPE_NORMAL)
		return false;
	ours = form_read(f->payload, SLICE(NS_CLIENT), NS_MUC_REGISTER, &form) == OK &&
	    form_value(&form, SLICE("FORM_TYPE"), 0, &type);
	if (ours && !form.cancelled) {
		form_value(&form, SLICE("muc#register_allow"), 0, &allow);
		if (affiliation_of(room, jid_bare_of(f->from)) < AFFILIATION_ADMIN)
			answer_error(f, STANZA_ERROR_FORBIDDEN, NULL);
		else if (slice_is(allow, "1") || slice_is(allow, "true"))
			approve(room, f, &form, now);
	}
	form_free(&form);
	return ours;
}
