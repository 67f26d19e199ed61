/*
 * owner.c: what owners do with a room (muc#owner, XEP-0045 section 10): configure it, the first time and later,
 * and destroy it.
 *
 * Called by request.c, and for the changes alone by administrators' commands. A form is taken whole or not at
 * all; what is not in it stays as it is, and what is none of ours is ignored (XEP-0004 section 3.1).
 */
#include "mucd.h"

#include <stdlib.h>

#include "log.h"
#include "ns.h"
#include "xmlout.h"

#define TEXT_MAX       1024   /* bytes of a reason or a password */

/* -- what follows from another configuration -- */

/* A status code that says more than that something is different (10.2.1). */
static const struct {
	const char *name;
	unsigned on, off;
} codes[] = { { "enablelogging", 170, 171 }, { "whois", 172, 173 } };

/* The status code that a setting calls for when it has changed. */
static unsigned
code_of(const struct setting *setting, struct slice value)
{
	size_t i;

	for (i = 0; i < sizeof codes / sizeof codes[0]; i++) {
		if (strcmp(setting->name, codes[i].name) == 0)
			return slice_is(value, "1\n") || slice_is(value, "anyone\n") ? codes[i].on : codes[i].off;
	}
	return 104;
}

/* Writes the status codes for what is different; none: empty. */
static void
codes_write(const struct room_config *from, const struct room_config *to, struct buf *out)
{
	const struct settings before = { .config = *from }, after = { .config = *to }; /* both only borrow */
	const struct setting *setting;
	struct buf a = { 0 }, b = { 0 };
	bool other = false;

	for (setting = setting_table; setting->name != NULL; setting++) {
		unsigned code;

		buf_clear(&a);
		buf_clear(&b);
		setting->write(&before, setting, &a);
		setting->write(&after, setting, &b);
		if (slice_equal(buf_slice(&a), buf_slice(&b)))
			continue;
		code = code_of(setting, buf_slice(&b));
		if (code != 104 || !other)
			buf_printf(out, "<status code='%u'/>", code);
		other = other || code == 104;
	}
	buf_free(&a);
	buf_free(&b);
}

/* Those who may not be in a room for members only leave it. */
static void
strangers_expel(struct room *room)
{
	const struct change change = { .status = STATUS_322, .affiliation = AFFILIATION_NONE };
	struct occupant *o, *next;

	TAILQ_FOREACH (o, &room->occupants, all)
		o->leaving = affiliation_of(room, slice_of(o->bare, o->bare_len)) == AFFILIATION_NONE;
	for (o = TAILQ_FIRST(&room->occupants); o != NULL; o = next) {
		next = TAILQ_NEXT(o, all);
		if (o->leaving)
			presence_expel(o, &change);
	}
}

/* There are no visitors in a room that is not moderated any more. */
static void
visitors_raise(struct room *room)
{
	const struct change change = { 0 };
	struct occupant *o;

	TAILQ_FOREACH (o, &room->occupants, all) {
		if (o->role != IN_VISITOR)
			continue;
		occupant_set_role(o, IN_PARTICIPANT);
		presence_tell(o, &change, NULL);
	}
}

void
owner_configure(struct room *room, struct room_config *config, uint64_t now)
{
	struct room_config old = room->config;
	struct buf payload = { 0 };
	size_t begin;

	(void)now;
	buf_add_string(&payload, "<x xmlns='" NS_MUC_USER "'>");
	begin = buf_len(&payload);
	codes_write(&old, config, &payload);
	room->config = *config;
	*config = (struct room_config){ 0 };
	room_save(room);
	if (buf_len(&payload) > begin) {
		buf_add_string(&payload, "</x>");
		message_announce(room, buf_slice(&payload));
	}
	if (room->config.members_only && !old.members_only)
		strangers_expel(room);
	if (!room->config.moderated && old.moderated)
		visitors_raise(room);
	if (room->config.broadcast != old.broadcast)
		presence_broadcast_changed(room, old.broadcast);
	room_config_free(&old);
	buf_free(&payload);
}

/* -- the lists in the form -- */

/* Lines as a set; they stay where they are. */
static struct map *
lines_set(const struct buf *lines)
{
	struct slice rest = buf_slice(lines), line;
	struct map *set = map_new();

	while (slice_line(&rest, &line))
		map_put(set, line, set);
	return set;
}

/* How much longer the list of affiliations becomes with those in a set. */
static size_t
set_new(const struct room *room, const struct buf *lines)
{
	struct slice rest = buf_slice(lines), line;
	size_t count = 0;

	while (slice_line(&rest, &line))
		count += affiliate_find(room, line) == NULL;
	return count;
}

struct lists {
	struct map *owners, *admins;
	bool admins_given, members_only;
};

/* What somebody becomes that is an owner or an admin, and stays neither or is the other (10.2). */
static enum affiliation
list_place(const struct lists *lists, const struct affiliate *a)
{
	struct slice bare = slice_of(a->jid, a->jid_len);

	if (map_get(lists->owners, bare) != NULL)
		return AFFILIATION_OWNER;
	if (map_get(lists->admins, bare) != NULL)
		return AFFILIATION_ADMIN;
	if (a->affiliation == AFFILIATION_OWNER && !lists->admins_given)
		return AFFILIATION_ADMIN;
	return lists->members_only ? AFFILIATION_MEMBER : AFFILIATION_NONE;
}

/* Gives an affiliation to all in some lines who have another one. */
static void
lines_affiliate(struct room *room, struct slice lines, enum affiliation affiliation, struct slice actor_nick,
    uint64_t now)
{
	struct slice line;

	while (slice_line(&lines, &line)) {
		const struct affiliate *a = affiliate_find(room, line);

		if (a == NULL || a->affiliation != affiliation)
			admin_affiliate(room, line, affiliation, SLICE_NONE, SLICE_NONE, actor_nick, now);
	}
}

/* Owners come first, and go last. */
static void
lists_apply(struct room *room, const struct settings *s, struct slice actor_nick, uint64_t now)
{
	struct lists lists = { lines_set(&s->owners), lines_set(&s->admins), s->admins_given,
		s->config.members_only };
	struct buf lines[AFFILIATION_COUNT] = { 0 };
	const struct affiliate *a;
	struct slice rest = buf_slice(&s->admins), line;
	size_t i;

	TAILQ_FOREACH (a, &room->affiliates, all) {
		enum affiliation to;

		if (a->affiliation < AFFILIATION_ADMIN)
			continue;
		to = list_place(&lists, a);
		buf_add(&lines[to], a->jid, a->jid_len);
		buf_add_char(&lines[to], '\n');
	}
	while (slice_line(&rest, &line)) {
		if (map_get(lists.owners, line) == NULL) {
			buf_add_slice(&lines[AFFILIATION_ADMIN], line);
			buf_add_char(&lines[AFFILIATION_ADMIN], '\n');
		}
	}
	lines_affiliate(room, buf_slice(&s->owners), AFFILIATION_OWNER, actor_nick, now);
	for (i = AFFILIATION_COUNT; i-- > 0; ) {
		lines_affiliate(room, buf_slice(&lines[i]), (enum affiliation)i, actor_nick, now);
		buf_free(&lines[i]);
	}
	map_free(&lists.owners);
	map_free(&lists.admins);
}

int
owner_apply(struct room *room, struct settings *s, struct slice actor_nick, uint64_t now, const char **why)
{
	*why = settings_check(s);
	if (*why != NULL)
		return E_MISMATCH;
	if (buf_len(&s->owners) == 0 && affiliation_count(room, AFFILIATION_OWNER) != 0) {
		*why = "a room needs an owner";
		return E_FORBIDDEN;
	}
	if (map_count(room->by_jid) + set_new(room, &s->owners) + set_new(room, &s->admins) > AFFILIATES_MAX) {
		*why = "the list is longer than it may be";
		return E_FULL;
	}
	lists_apply(room, s, actor_nick, now);
	owner_configure(room, &s->config, now);
	return OK;
}

/* -- destroying -- */

void
owner_destroy(struct room *room, struct slice alternative, struct slice reason, struct slice password)
{
	struct buf element = { 0 };
	struct change change = { .affiliation = AFFILIATION_NONE };
	struct occupant *o;

	buf_add_string(&element, "<destroy");
	xml_add_attribute(&element, "jid", alternative);
	if (reason.len == 0 && password.len == 0) {
		buf_add_string(&element, "/>");
	} else {
		buf_add_char(&element, '>');
		if (reason.len != 0)
			xml_add_element(&element, "reason", reason);
		if (password.len != 0)
			xml_add_element(&element, "password", password);
		buf_add_string(&element, "</destroy>");
	}
	change.destroy = buf_slice(&element);
	log_info("room destroyed", "room=%s", log_quote(room_jid(room)));
	while ((o = TAILQ_FIRST(&room->occupants)) != NULL)
		presence_expel(o, &change);
	room_remove(room, true);
	buf_free(&element);
}

/* The text of a child; absent when there is none. Returns 0, E_MALFORMED or E_TOO_BIG. */
static int
child_text(const struct xmlin_element *element, const char *name, struct buf *scratch, struct slice *text)
{
	struct xmlin_element child;
	int error;

	*text = SLICE_NONE;
	if (!xmlin_find(element->content, element->ns, name, NS_MUC_OWNER, &child))
		return OK;
	error = xmlin_text(&child, scratch, text);
	return error == OK && text->len > TEXT_MAX ? E_TOO_BIG : error;
}

static void
destroy_request(struct room *room, const struct frame *f, const struct xmlin_element *element)
{
	struct buf scratch = { 0 }, reason_scratch = { 0 }, password_scratch = { 0 };
	struct slice text, reason, password, alternative = SLICE_NONE;
	char out[JID_MAX + 1];
	struct jid jid;
	int error;

	if (xmlin_attribute(element, "jid", &scratch, &text) == OK) {
		if (jid_prepare(text, out, &jid) != OK) {
			answer_error(f, STANZA_ERROR_JID_MALFORMED, NULL);
			buf_free(&scratch);
			return;
		}
		alternative = jid.full;
	}
	error = child_text(element, "reason", &reason_scratch, &reason);
	if (error == OK)
		error = child_text(element, "password", &password_scratch, &password);
	if (error != OK) {
		answer_error(f, error == E_TOO_BIG ? STANZA_ERROR_NOT_ACCEPTABLE : STANZA_ERROR_BAD_REQUEST,
		    error == E_TOO_BIG ? "the reason or the password is too long" : NULL);
	} else {
		answer_result(f, SLICE(""));
		owner_destroy(room, alternative, reason, password);
	}
	buf_free(&scratch);
	buf_free(&reason_scratch);
	buf_free(&password_scratch);
}

/* -- requests -- */

static void
form_send(const struct room *room, const struct frame *f)
{
	struct buf out = { 0 };

	buf_add_string(&out, "<query xmlns='" NS_MUC_OWNER "'>");
	form_config(room, &out);
	buf_add_string(&out, "</query>");
	answer_result(f, buf_slice(&out));
	buf_free(&out);
}

/* Takes the fields of a form. False: one is wrong, text says which and why. */
static bool
fields_take(const struct form *form, struct settings *s, struct buf *text)
{
	struct buf values = { 0 };
	struct slice var;
	bool good = true;
	size_t i;

	for (i = 0; good && form_var(form, i, &var); i++) {
		const struct setting *setting = setting_find(var);
		const char *why;
		size_t count;

		if (setting == NULL || !slice_is(var, setting->var))
			continue;
		buf_clear(&values);
		count = form_values(form, var, &values);
		why = setting_read(setting, s, (const struct slice *)(const void *)buf_slice(&values).ptr, count);
		if (why != NULL) {
			buf_printf(text, "%s %s", setting->var, why);
			buf_add_char(text, '\0');
			good = false;
		}
	}
	s->admins_given = form_has(form, SLICE("muc#roomconfig_roomadmins"));
	buf_free(&values);
	return good;
}

static enum stanza_error
apply_error(int error)
{
	return error == E_FORBIDDEN ? STANZA_ERROR_CONFLICT : error == E_FULL ? STANZA_ERROR_RESOURCE_CONSTRAINT :
	    STANZA_ERROR_NOT_ACCEPTABLE;
}

static void
submitted(struct room *room, const struct frame *f, const struct form *form, uint64_t now)
{
	const struct client *client = client_find(room, f->from);
	char *nick = client != NULL ? slice_dup(slice_of(client->occupant->nick, client->occupant->nick_len)) : NULL;
	struct settings s;
	struct buf text = { 0 };
	const char *why;
	int error;

	settings_of(room, &s);
	if (!fields_take(form, &s, &text)) {
		answer_error(f, STANZA_ERROR_NOT_ACCEPTABLE, text.bytes);
	} else if ((error = owner_apply(room, &s, slice_string(nick), now, &why)) != OK) {
		answer_error(f, apply_error(error), why);
	} else {
		if (room->locked) {
			room->locked = false;
			room_save(room);
		}
		answer_result(f, SLICE(""));
		if (room->client_count == 0)
			room_emptied(room, now);
	}
	settings_free(&s);
	buf_free(&text);
	free(nick);
}

static void
form_request(struct room *room, const struct frame *f, const struct xmlin_element *query, uint64_t now)
{
	struct form form;
	int error = form_read(query->content, query->ns, NS_MUC_ROOMCONFIG, &form);

	if (error != OK) {
		answer_error(f, STANZA_ERROR_BAD_REQUEST, error == E_NOT_FOUND ? "a form is needed" :
		    "this is not the form of a configuration");
	} else if (!form.cancelled) {
		submitted(room, f, &form, now);
	} else {
		answer_result(f, SLICE(""));
		if (room->locked) /* 10.1.3 */
			owner_destroy(room, SLICE_NONE, SLICE_NONE, SLICE_NONE);
	}
	form_free(&form);
}

void
owner_request(struct room *room, const struct frame *f, uint64_t now)
{
	struct xmlin_element query, destroy;

	if (!xmlin_find(f->payload, SLICE(NS_CLIENT), "query", NS_MUC_OWNER, &query))
		answer_error(f, STANZA_ERROR_BAD_REQUEST, NULL);
	else if (affiliation_of(room, jid_bare_of(f->from)) != AFFILIATION_OWNER)
		answer_error(f, STANZA_ERROR_FORBIDDEN, NULL);
	else if (f->subtype == TYPE_GET)
		form_send(room, f);
	else if (xmlin_find(query.content, query.ns, "destroy", NS_MUC_OWNER, &destroy))
		destroy_request(room, f, &destroy);
	else
		form_request(room, f, &query, now);
}
