/*
 * admin.c: lists of a room by role and by affiliation, and changes of them (muc#admin, XEP-0045 sections 8, 9, and
 * 10.3 to 10.8).
 *
 * A request with several changes is checked whole before the first of them is made; nothing of it is done when
 * one is refused. What each needs is in privilege_change.c. Called by request.c, and for the changes alone by
 * the forms of owners, by registration and by administrators' commands.
 */
#include "mucd.h"

#include <stdlib.h>

#include "log.h"
#include "mem.h"
#include "ns.h"
#include "xmlout.h"

#define ITEMS_MAX      1000          /* changes in one request */
#define REASON_MAX     1024          /* bytes */
#define LIST_BYTES_MAX (2u << 20)    /* of a list in an answer, which must fit a frame */
#define ABSENT_BYTES   (2u << 20)    /* said in a transaction, after which changes of who is absent are not told */

/* Who asks. */
struct actor {
	struct slice bare;
	const struct occupant *occupant; /* NULL: not in the room */
	enum role_in_room role;
	enum affiliation affiliation;
};

static struct actor
actor_of(const struct room *room, const struct frame *f)
{
	struct actor actor = { .bare = jid_bare_of(f->from) };
	const struct client *client = client_find(room, f->from);
	const struct occupant *o;

	actor.affiliation = affiliation_of(room, actor.bare);
	actor.occupant = client != NULL ? client->occupant : NULL;
	/* "The bare JID of one of the moderators" (section 8): any of its occupants. */
	TAILQ_FOREACH (o, &room->occupants, all) {
		if (!slice_equal(slice_of(o->bare, o->bare_len), actor.bare))
			continue;
		if (actor.occupant == NULL)
			actor.occupant = o;
		if (o->role > actor.role)
			actor.role = o->role;
	}
	return actor;
}

static struct slice
actor_nick(const struct actor *actor)
{
	return actor->occupant != NULL ? slice_of(actor->occupant->nick, actor->occupant->nick_len) : SLICE_NONE;
}

/* -- changes of affiliations -- */

/* Tells those in the room of somebody who is not: where addresses are hidden, moderators alone (10.3 to 10.7). Nobody
 * has to be told (a room MAY), and thousands of changes in one form for thousands of occupants would be gigabytes:
 * what is much already is not added to. The first of a stanza always is told, since none begins above RUN_BYTES. */
static void
absent_tell(struct room *room, struct slice bare, enum affiliation affiliation, const struct change *change)
{
	struct buf payload = { 0 };
	struct receivers receivers = { 0 };
	struct frame f = { .type = FRAME_STANZA, .kind = STANZA_MESSAGE, .subtype = TYPE_NORMAL,
		.from = room_jid(room) };
	const struct occupant *o;
	const struct client *client;

	if (outbox_pending() >= ABSENT_BYTES)
		return;
	TAILQ_FOREACH (o, &room->occupants, all) {
		if (!room->config.non_anonymous && o->role != IN_MODERATOR)
			continue;
		TAILQ_FOREACH (client, &o->clients, siblings)
			receivers_add(&receivers, client);
	}
	buf_add_string(&payload, "<x xmlns='" NS_MUC_USER "'><item");
	xml_add_attribute(&payload, "affiliation", slice_string(affiliation_text(affiliation)));
	xml_add_attribute(&payload, "jid", bare);
	buf_add_string(&payload, " role='none'");
	if (change->actor_nick.ptr == NULL && change->reason.len == 0) {
		buf_add_string(&payload, "/></x>");
	} else {
		buf_add_char(&payload, '>');
		if (change->actor_nick.ptr != NULL) {
			buf_add_string(&payload, "<actor");
			xml_add_attribute(&payload, "nick", change->actor_nick);
			buf_add_string(&payload, "/>");
		}
		if (change->reason.len != 0)
			xml_add_element(&payload, "reason", change->reason);
		buf_add_string(&payload, "</item></x>");
	}
	f.payload = buf_slice(&payload);
	outbox_add(&f, &receivers);
	receivers_free(&receivers);
	buf_free(&payload);
}

/* The role that somebody in the room has after a change of its affiliation: what an affiliation brings is
 * given, what it brought is taken with it only from those who were admins. */
static enum role_in_room
role_after(const struct room *room, const struct occupant *o, enum affiliation from, enum affiliation to)
{
	enum role_in_room role = affiliation_role(room, to);

	if (from >= AFFILIATION_ADMIN && to < AFFILIATION_ADMIN)
		return role;
	return role > o->role ? role : o->role;
}

/* The status with which somebody must leave who is this now; 0: it may stay. */
static unsigned
status_of(const struct room *room, enum affiliation affiliation)
{
	if (affiliation == AFFILIATION_OUTCAST)
		return STATUS_301;
	return affiliation == AFFILIATION_NONE && room->config.members_only ? STATUS_321 : 0;
}

/* What follows for one in the room: it leaves, or all are told. */
static void
occupant_changed(struct room *room, struct occupant *o, enum affiliation from, enum affiliation to,
    const struct change *why)
{
	struct change change = *why;

	change.affiliation = to;
	change.status = status_of(room, to);
	if (change.status != 0) {
		presence_expel(o, &change);
		return;
	}
	occupant_set_role(o, role_after(room, o, from, to));
	presence_tell(o, &change, NULL);
}

/* Of a bare JID: itself; of a domain: all of it. */
static bool
covers(struct slice bare, const struct occupant *o)
{
	struct slice other = slice_of(o->bare, o->bare_len);
	struct jid jid;

	if (slice_equal(bare, other))
		return true;
	if (memchr(bare.ptr, '@', bare.len) != NULL)
		return false;
	jid_split(other, &jid);
	return slice_equal(jid.domain, bare);
}

/* Whether somebody must leave who was something else before. */
static bool
leaves(const struct room *room, const struct occupant *o, enum affiliation from)
{
	enum affiliation now = affiliation_of(room, slice_of(o->bare, o->bare_len));

	return now != from && status_of(room, now) != 0;
}

/* Notes what those that it is about are before a change, does it, and lets what follows follow. */
static bool
affiliation_change(struct room *room, struct slice bare, enum affiliation to, struct slice nick,
    const struct change *change)
{
	struct occupant *o, *next;
	struct buf before = { 0 };
	bool found = false;
	size_t i = 0;

	TAILQ_FOREACH (o, &room->occupants, all) {
		if (covers(bare, o))
			buf_add_char(&before, (char)affiliation_of(room, slice_of(o->bare, o->bare_len)));
	}
	affiliation_set(room, bare, to, nick, change->reason);
	TAILQ_FOREACH (o, &room->occupants, all) {
		if (buf_len(&before) <= 1)
			break; /* nobody leaves with another one */
		o->leaving = covers(bare, o) && leaves(room, o, (enum affiliation)buf_slice(&before).ptr[i++]);
	}
	i = 0;
	for (o = TAILQ_FIRST(&room->occupants); o != NULL; o = next) {
		enum affiliation from, now;

		next = TAILQ_NEXT(o, all); /* it may leave */
		if (!covers(bare, o))
			continue;
		from = (enum affiliation)buf_slice(&before).ptr[i++];
		now = affiliation_of(room, slice_of(o->bare, o->bare_len));
		found = true;
		if (now != from)
			occupant_changed(room, o, from, now, change);
	}
	buf_free(&before);
	return found;
}

int
admin_affiliate(struct room *room, struct slice bare, enum affiliation affiliation, struct slice nick,
    struct slice reason, struct slice actor_nick, uint64_t now)
{
	const struct affiliate *affiliate = affiliate_find(room, bare);
	enum affiliation from = affiliate != NULL ? affiliate->affiliation : AFFILIATION_NONE;
	struct change change = { .actor_nick = actor_nick, .reason = reason };
	char *kept = NULL;
	bool found;

	(void)now;
	if (from == AFFILIATION_OWNER && affiliation != AFFILIATION_OWNER &&
	    affiliation_count(room, AFFILIATION_OWNER) <= 1)
		return E_FORBIDDEN;
	if (affiliate == NULL && affiliation == AFFILIATION_NONE)
		return OK;
	if (affiliate == NULL && map_count(room->by_jid) >= AFFILIATES_MAX)
		return E_FULL;
	/* A reservation ends with what it was for (9.1, 9.4). */
	if (affiliation <= AFFILIATION_NONE)
		nick = SLICE_NONE;
	else if (nick.ptr == NULL && affiliate != NULL && affiliate->nick != NULL)
		nick = slice_string(kept = mem_string(affiliate->nick));
	else if (nick.len == 0)
		nick = SLICE_NONE;
	found = affiliation_change(room, bare, affiliation, nick, &change);
	if (!found && from != affiliation)
		absent_tell(room, bare, affiliation, &change);
	free(kept);
	return OK;
}

/* -- requests for a list -- */

void
admin_item(struct buf *out, const char *affiliation, struct slice ns, struct slice jid, struct slice nick,
    const char *role, struct slice reason)
{
	xml_open(out, "item", ns);
	xml_add_attribute(out, "affiliation", slice_string(affiliation));
	xml_add_attribute(out, "jid", jid);
	xml_add_attribute(out, "nick", nick);
	xml_add_attribute(out, "role", slice_string(role));
	if (reason.len == 0) {
		buf_add_string(out, "/>");
		return;
	}
	buf_add_char(out, '>');
	xml_add_element(out, "reason", reason);
	buf_add_string(out, "</item>");
}

/* All with an affiliation: the nick is that which is reserved, or that of who is in the room. */
static void
affiliates_list(const struct room *room, enum affiliation affiliation, struct buf *out)
{
	const struct affiliate *a;

	TAILQ_FOREACH (a, &room->affiliates, all) {
		struct slice bare = slice_of(a->jid, a->jid_len), nick = slice_string(a->nick);
		const struct occupant *o = occupant_of(room, bare);

		if (a->affiliation != affiliation)
			continue;
		if (nick.ptr == NULL && o != NULL)
			nick = slice_of(o->nick, o->nick_len);
		admin_item(out, affiliation_text(affiliation), SLICE_NONE, bare, nick, o != NULL ? role_in_room_text(o->role) : NULL,
		    slice_string(a->reason));
		if (buf_len(out) > LIST_BYTES_MAX)
			return;
	}
}

/* All with a role, each client. */
static void
occupants_list(const struct room *room, enum role_in_room role, struct buf *out)
{
	const struct occupant *o;
	const struct client *client;

	TAILQ_FOREACH (o, &room->occupants, all) {
		if (o->role != role)
			continue;
		TAILQ_FOREACH (client, &o->clients, siblings) {
			admin_item(out, affiliation_text(affiliation_of(room, slice_of(o->bare, o->bare_len))),
			    SLICE_NONE, slice_of(client->jid, client->jid_len), slice_of(o->nick, o->nick_len),
			    role_in_room_text(role), SLICE_NONE);
			if (buf_len(out) > LIST_BYTES_MAX)
				return;
		}
	}
}

/* Reads an attribute of an item; false: it is there and is none of its words. */
static bool
words_read(const struct xmlin_element *item, enum affiliation *affiliation, enum role_in_room *role,
    bool *by_role, bool *good)
{
	struct buf scratch = { 0 };
	struct slice text;
	bool by_affiliation = xmlin_attribute(item, "affiliation", &scratch, &text) == OK;

	*good = !by_affiliation || affiliation_read(text, affiliation);
	buf_clear(&scratch);
	*by_role = xmlin_attribute(item, "role", &scratch, &text) == OK;
	if (*by_role)
		*good = *good && role_in_room_read(text, role);
	buf_free(&scratch);
	return by_affiliation != *by_role; /* one of them */
}

static void
list_request(const struct room *room, const struct actor *actor, const struct xmlin_element *query,
    const struct frame *f)
{
	struct xmlin_element item, second;
	enum affiliation affiliation = AFFILIATION_NONE;
	enum role_in_room role = IN_NONE;
	struct xmlin in;
	struct buf out = { 0 };
	bool by_role, good, may;
	size_t open;

	xmlin_begin(&in, query->content, query->ns);
	if (!xmlin_child(&in, &item) || !slice_is(item.name, "item") || xmlin_child(&in, &second) ||
	    !words_read(&item, &affiliation, &role, &by_role, &good) || !good ||
	    (by_role ? role == IN_NONE : affiliation == AFFILIATION_NONE)) {
		answer_error(f, STANZA_ERROR_BAD_REQUEST, "one item with an affiliation or a role is needed");
		return;
	}
	if (!by_role)
		may = privilege_reads_list(room, actor->affiliation, actor->role, affiliation);
	else if (role == IN_MODERATOR)
		may = actor->affiliation >= AFFILIATION_ADMIN;
	else
		may = actor->role == IN_MODERATOR || actor->affiliation >= AFFILIATION_ADMIN;
	if (!may) {
		answer_error(f, STANZA_ERROR_FORBIDDEN, NULL);
		return;
	}
	buf_add_string(&out, "<query xmlns='" NS_MUC_ADMIN "'>");
	open = buf_len(&out);
	if (by_role)
		occupants_list(room, role, &out);
	else
		affiliates_list(room, affiliation, &out);
	if (buf_len(&out) == open) {
		buf_truncate(&out, open - 1);
		buf_add_string(&out, "/>");
	} else {
		buf_add_string(&out, "</query>");
	}
	if (buf_len(&out) > LIST_BYTES_MAX)
		answer_error(f, STANZA_ERROR_RESOURCE_CONSTRAINT, "the list is longer than an answer can be");
	else
		answer_result(f, buf_slice(&out));
	buf_free(&out);
}

/* -- requests for changes -- */

/* One of them, read and prepared. */
struct item {
	bool by_role;
	enum affiliation affiliation;
	enum role_in_room role;
	char *jid;     /* bare; NULL: by nick */
	char *nick;    /* NULL: none was given; may be empty */
	char *reason;  /* may be NULL */
};

struct items {
	struct item *all;
	size_t count;
};

static void
items_free(struct items *items)
{
	size_t i;

	for (i = 0; i < items->count; i++) {
		free(items->all[i].jid);
		free(items->all[i].nick);
		free(items->all[i].reason);
	}
	free(items->all);
}

/* What is wrong with a request. */
struct fault {
	enum stanza_error error;
	const char *text;
};

static bool
fault(struct fault *fault, enum stanza_error error, const char *text)
{
	fault->error = error;
	fault->text = text;
	return false;
}

static bool
nick_read(const struct xmlin_element *element, struct item *item, struct fault *why)
{
	char out[JID_PART_MAX + 1];
	struct buf scratch = { 0 };
	struct slice nick;
	bool given = xmlin_attribute(element, "nick", &scratch, &nick) == OK, good = true;

	if (given && nick.len == 0)
		item->nick = mem_string("");
	else if (given && jid_prepare_resource(nick, out, &nick) == OK)
		item->nick = slice_dup(nick);
	else if (given)
		good = fault(why, STANZA_ERROR_NOT_ACCEPTABLE, "this cannot be a nick");
	buf_free(&scratch);
	return good;
}

static bool
jid_read(const struct xmlin_element *element, struct item *item, struct fault *why)
{
	char out[JID_MAX + 1];
	struct buf scratch = { 0 };
	struct slice text;
	struct jid jid;
	bool good = true;

	if (xmlin_attribute(element, "jid", &scratch, &text) != OK)
		good = item->by_role || fault(why, STANZA_ERROR_BAD_REQUEST, "an affiliation is that of an address");
	else if (jid_prepare(text, out, &jid) != OK)
		good = fault(why, STANZA_ERROR_JID_MALFORMED, NULL);
	else if (jid.local.ptr == NULL && !item->by_role && item->affiliation > AFFILIATION_MEMBER)
		good = fault(why, STANZA_ERROR_NOT_ACCEPTABLE, "a domain cannot be administrator or owner");
	else if (!item->by_role)
		item->jid = slice_dup(jid_bare(&jid));
	buf_free(&scratch);
	return good;
}

static bool
reason_read(const struct xmlin_element *element, struct item *item, struct fault *why)
{
	struct xmlin_element reason;
	struct buf scratch = { 0 };
	struct slice text;
	bool good = true;

	if (!xmlin_find(element->content, element->ns, "reason", NS_MUC_ADMIN, &reason))
		return true;
	if (xmlin_text(&reason, &scratch, &text) != OK)
		good = fault(why, STANZA_ERROR_BAD_REQUEST, NULL);
	else if (text.len > REASON_MAX)
		good = fault(why, STANZA_ERROR_NOT_ACCEPTABLE, "the reason is too long");
	else if (text.len != 0)
		item->reason = slice_dup(text);
	buf_free(&scratch);
	return good;
}

static bool
item_read(const struct xmlin_element *element, struct item *item, struct fault *why)
{
	bool good;

	if (!words_read(element, &item->affiliation, &item->role, &item->by_role, &good) || !good)
		return fault(why, STANZA_ERROR_BAD_REQUEST, "an item changes an affiliation or a role");
	if (!nick_read(element, item, why) || !jid_read(element, item, why) ||
	    !reason_read(element, item, why))
		return false;
	if (item->by_role && (item->nick == NULL || item->nick[0] == '\0'))
		return fault(why, STANZA_ERROR_BAD_REQUEST, "a role is that of a nick");
	return true;
}

static bool
items_read(const struct xmlin_element *query, struct items *items, struct fault *why)
{
	struct xmlin_element element;
	struct xmlin in;

	xmlin_begin(&in, query->content, query->ns);
	while (xmlin_child(&in, &element)) {
		if (!slice_is(element.name, "item") || !slice_is(element.ns, NS_MUC_ADMIN))
			continue;
		if (items->count == ITEMS_MAX)
			return fault(why, STANZA_ERROR_POLICY_VIOLATION, "too many changes at once");
		if (items->count % 16 == 0)
			items->all = mem_grow(items->all, (items->count + 16) * sizeof *items->all);
		items->all[items->count] = (struct item){ 0 };
		if (!item_read(&element, &items->all[items->count++], why))
			return false;
	}
	return in.error == OK && items->count != 0 ? true :
	    fault(why, STANZA_ERROR_BAD_REQUEST, "no item");
}

bool
admin_nick_free(const struct room *room, struct slice nick, struct slice bare)
{
	const struct affiliate *a = affiliate_of_nick(room, nick);
	const struct occupant *o = occupant_find(room, nick);

	return (a == NULL || slice_equal(slice_of(a->jid, a->jid_len), bare)) &&
	    (o == NULL || slice_equal(slice_of(o->bare, o->bare_len), bare));
}

static bool
role_check(const struct room *room, const struct actor *actor, const struct item *item, struct fault *why)
{
	const struct occupant *o = occupant_find(room, slice_string(item->nick));
	struct slice bare;
	enum stanza_error error;

	if (o == NULL)
		return fault(why, STANZA_ERROR_ITEM_NOT_FOUND, "nobody goes by this nick");
	bare = slice_of(o->bare, o->bare_len);
	error = privilege_role(actor->role, actor->affiliation, o->role, affiliation_of(room, bare), item->role,
	    slice_equal(bare, actor->bare));
	return error == STANZA_ERROR_NONE || fault(why, error, NULL);
}

static bool
affiliation_check(const struct room *room, const struct actor *actor, const struct item *item,
    struct fault *why)
{
	struct slice bare = slice_string(item->jid);
	const struct affiliate *a = affiliate_find(room, bare);
	enum affiliation from = a != NULL ? a->affiliation : AFFILIATION_NONE;
	bool self = slice_equal(bare, actor->bare);
	enum stanza_error error;

	error = privilege_affiliate(actor->affiliation, from, item->affiliation, self);
	if (error != STANZA_ERROR_NONE)
		return fault(why, error, NULL);
	if (domain_is_admin(room->domain, bare) && item->affiliation < AFFILIATION_OWNER)
		return fault(why, STANZA_ERROR_NOT_ALLOWED, "the service has made this one an owner");
	if (item->nick != NULL && item->nick[0] != '\0' && item->affiliation >= AFFILIATION_MEMBER &&
	    !admin_nick_free(room, slice_string(item->nick), bare))
		return fault(why, STANZA_ERROR_CONFLICT, "the nick is taken");
	return true;
}

static bool
same(const struct item *a, const struct item *b)
{
	return a->by_role == b->by_role && strcmp(a->by_role ? a->nick : a->jid, a->by_role ? b->nick : b->jid) == 0;
}

/* Whether two changes are about the same one, or reserve the same nick. */
static bool
items_differ(const struct items *items, struct fault *why)
{
	size_t i, j;

	for (i = 0; i < items->count; i++) {
		for (j = 0; j < i; j++) {
			const struct item *a = &items->all[i], *b = &items->all[j];

			if (same(a, b))
				return fault(why, STANZA_ERROR_BAD_REQUEST, "two changes of the same one");
			if (!a->by_role && !b->by_role && a->nick != NULL && b->nick != NULL && a->nick[0] != '\0' &&
			    strcmp(a->nick, b->nick) == 0)
				return fault(why, STANZA_ERROR_CONFLICT, "a nick is for one");
		}
	}
	return true;
}

/* What holds for all of them together: an owner is left, and the list is not too long. */
static bool
items_together(const struct room *room, const struct items *items, struct fault *why)
{
	size_t owners = affiliation_count(room, AFFILIATION_OWNER), entries = map_count(room->by_jid), i;
	bool lost = false;

	for (i = 0; i < items->count; i++) {
		const struct item *item = &items->all[i];
		const struct affiliate *a = item->by_role ? NULL : affiliate_find(room, slice_string(item->jid));
		bool was = a != NULL && a->affiliation == AFFILIATION_OWNER;

		if (item->by_role)
			continue;
		entries += a == NULL && item->affiliation != AFFILIATION_NONE;
		if (item->affiliation == AFFILIATION_OWNER && !was)
			owners++;
		if (item->affiliation != AFFILIATION_OWNER && was) {
			owners--;
			lost = true;
		}
	}
	if (lost && owners == 0)
		return fault(why, STANZA_ERROR_CONFLICT, "a room needs an owner");
	return entries <= AFFILIATES_MAX ||
	    fault(why, STANZA_ERROR_RESOURCE_CONSTRAINT, "the list is as long as it may be");
}

static bool
items_check(const struct room *room, const struct actor *actor, const struct items *items, struct fault *why)
{
	size_t i;

	if (!items_differ(items, why))
		return false;
	for (i = 0; i < items->count; i++) {
		const struct item *item = &items->all[i];

		if (item->by_role ? !role_check(room, actor, item, why) :
		    !affiliation_check(room, actor, item, why))
			return false;
	}
	return items_together(room, items, why);
}

static void
role_apply(struct room *room, const struct item *item, struct slice nick)
{
	struct occupant *o = occupant_find(room, slice_string(item->nick));
	struct change change = { .actor_nick = nick, .reason = slice_string(item->reason) };

	if (o == NULL || o->role == item->role) /* another item has removed it */
		return;
	change.affiliation = affiliation_of(room, slice_of(o->bare, o->bare_len));
	if (item->role == IN_NONE) {
		change.status = STATUS_307;
		presence_expel(o, &change);
		return;
	}
	occupant_set_role(o, item->role);
	presence_tell(o, &change, NULL);
}

/* A new member of a room for members only is invited (9.5). */
static void
member_invite(const struct room *room, const struct actor *actor, const struct item *item)
{
	struct buf payload = { 0 };
	struct frame f = { .type = FRAME_STANZA, .kind = STANZA_MESSAGE, .subtype = TYPE_NORMAL,
		.from = room_jid(room), .to = slice_string(item->jid), .flags = FLAG_CONTENT | FLAG_MUC };

	buf_add_string(&payload, "<x xmlns='" NS_MUC_USER "'><invite");
	xml_add_attribute(&payload, "from", actor->bare);
	if (item->reason != NULL) {
		buf_add_char(&payload, '>');
		xml_add_element(&payload, "reason", slice_string(item->reason));
		buf_add_string(&payload, "</invite>");
	} else {
		buf_add_string(&payload, "/>");
	}
	if (room->config.password_protected)
		xml_add_element(&payload, "password", buf_slice(&room->config.password));
	buf_add_string(&payload, "</x>");
	f.payload = buf_slice(&payload);
	outbox_message(&f);
	buf_free(&payload);
}

static void
affiliation_apply(struct room *room, const struct actor *actor, const struct item *item, struct slice nick,
    uint64_t now)
{
	struct slice bare = slice_string(item->jid);
	bool invites = room->config.members_only && item->affiliation == AFFILIATION_MEMBER &&
	    memchr(item->jid, '@', bare.len) != NULL && affiliation_of(room, bare) == AFFILIATION_NONE;

	if (admin_affiliate(room, bare, item->affiliation, slice_string(item->nick), slice_string(item->reason),
	    nick, now) == OK && invites)
		member_invite(room, actor, item);
}

/* New owners first: there is one at any moment. */
static void
items_apply(struct room *room, const struct actor *actor, const struct items *items, uint64_t now)
{
	char *nick = slice_dup(actor_nick(actor)); /* the actor may leave by its own request */
	unsigned pass;
	size_t i;

	for (pass = 0; pass < 2; pass++) {
		for (i = 0; i < items->count; i++) {
			const struct item *item = &items->all[i];
			bool owner = !item->by_role && item->affiliation == AFFILIATION_OWNER;

			if (owner != (pass == 0))
				continue;
			if (item->by_role)
				role_apply(room, item, slice_string(nick));
			else
				affiliation_apply(room, actor, item, slice_string(nick), now);
		}
	}
	free(nick);
}

static void
change_request(struct room *room, const struct actor *actor, const struct xmlin_element *query,
    const struct frame *f, uint64_t now)
{
	bool inhabited = room->client_count != 0;
	struct items items = { 0 };
	struct fault why = { 0 };

	if (actor->role != IN_MODERATOR && actor->affiliation < AFFILIATION_ADMIN) {
		answer_error(f, STANZA_ERROR_FORBIDDEN, NULL);
		return;
	}
	if (items_read(query, &items, &why) && items_check(room, actor, &items, &why)) {
		items_apply(room, actor, &items, now);
		answer_result(f, SLICE(""));
		if (inhabited && room->client_count == 0)
			room_emptied(room, now);
	} else {
		answer_error(f, why.error, why.text);
	}
	items_free(&items);
}

void
admin_request(struct room *room, const struct frame *f, uint64_t now)
{
	struct actor actor = actor_of(room, f);
	struct xmlin_element query;

	if (!xmlin_find(f->payload, SLICE(NS_CLIENT), "query", NS_MUC_ADMIN, &query))
		answer_error(f, STANZA_ERROR_BAD_REQUEST, NULL);
	else if (f->subtype == TYPE_GET)
		list_request(room, &actor, &query, f);
	else
		change_request(room, &actor, &query, f, now);
}
