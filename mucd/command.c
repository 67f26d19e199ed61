/*
 * command.c: what an administrator can do with rooms. Called by the daemon framework for frames of aldisctl(8) and
 * ad-hoc commands; fails with a text that says why.
 *
 * Rooms are changed by the functions that change them for their owners and admins, so those who are in them
 * are told. What was done is on disk when it is answered.
 */
#include "mucd.h"

#include <stdlib.h>

#include "log.h"
#include "ns.h"
#include "xmlchar.h"
#include "xmlout.h"

#define LIST_MAX   10000        /* rooms in one answer */
#define LIST_BYTES (2u << 20)   /* of an answer, which must fit a frame */
#define TEXT_MAX   1024         /* bytes of a reason */
#define VALUES_MAX 512          /* of one setting */

int (*command_commit)(void);

/* -- words -- */

/* Sets the text of a failure and returns it. */
static int
refuse(json_t **result, int error, const char *text)
{
	*result = json_string(text);
	return error;
}

/* Whether it can stand in a stanza. */
static bool
is_text(struct slice text)
{
	struct xmlchar chars = { 0 };

	return text.len <= TEXT_MAX && xmlchar_check(&chars, text) && chars.need == 0;
}

/* Reads the address of a room in one of our domains. */
static int
address_read(struct slice word, char out[JID_MAX + 1], struct slice *bare, struct domain **domain,
    json_t **result)
{
	struct jid jid;

	if (jid_prepare(word, out, &jid) != OK || jid.local.ptr == NULL || jid.resource.ptr != NULL)
		return refuse(result, E_MALFORMED, "a room is name@domain");
	*domain = domain_find(jid.domain);
	if (*domain == NULL)
		return refuse(result, E_NOT_FOUND, "this domain has no rooms here");
	*bare = jid.full;
	return OK;
}

/* Finds the room that the first of so many words names. */
static int
room_read(struct slice *words, size_t count, size_t least, size_t most, struct room **room, json_t **result)
{
	char out[JID_MAX + 1];
	struct domain *domain;
	struct slice bare;
	int error;

	if (count < least || count > most)
		return refuse(result, E_MALFORMED, "this command has other arguments");
	error = address_read(words[0], out, &bare, &domain, result);
	if (error)
		return error;
	*room = room_find(bare);
	return *room != NULL ? OK : refuse(result, E_NOT_FOUND, "no such room");
}

/* Reads a reason, when there is one. */
static int
reason_read(struct slice *words, size_t count, size_t i, struct slice *reason, json_t **result)
{
	*reason = i < count && words[i].len != 0 ? words[i] : SLICE_NONE;
	if (reason->ptr != NULL && !is_text(*reason))
		return refuse(result, E_MALFORMED, "the reason is too long, or is no text");
	return OK;
}

/* Makes what was done durable; the answer says whether it is. */
static int
finish(json_t **result)
{
	int error = command_commit();

	rooms_trim();
	if (error == E_FULL)
		return refuse(result, error, "the disk is full");
	if (error)
		return refuse(result, error, "the store failed; see the log");
	*result = json_true();
	return OK;
}

/* -- JSON -- */

static json_t *
json_slice(struct slice text)
{
	json_t *value = text.len != 0 ? json_stringn(text.ptr, text.len) : NULL;

	return value != NULL ? value : json_null();
}

static json_t *
json_stamp(uint64_t stamp)
{
	char text[32];

	if (stamp == 0)
		return json_null();
	stanza_stamp(stamp, text);
	return json_string(text);
}

struct list {
	json_t *array;
	size_t bytes;
};

/* One row of "room list". */
static bool
list_row(void *arg, const struct room *room)
{
	struct list *list = arg;
	json_t *object = json_object();

	json_object_set_new(object, "room", json_slice(room_jid(room)));
	json_object_set_new(object, "name", json_slice(buf_slice(&room->config.name)));
	json_object_set_new(object, "occupants", json_integer((json_int_t)room->occupant_count));
	json_object_set_new(object, "persistent", json_boolean(room->config.persistent));
	json_object_set_new(object, "public", json_boolean(room->config.public_room));
	json_object_set_new(object, "members-only", json_boolean(room->config.members_only));
	json_object_set_new(object, "active", json_stamp(room->active));
	json_array_append_new(list->array, object);
	list->bytes += 160 + room->jid_len + buf_len(&room->config.name);
	return json_array_size(list->array) <= LIST_MAX && list->bytes <= LIST_BYTES;
}

static int
room_list(struct slice *words, size_t count, json_t **result)
{
	struct list list = { 0 };
	char out[JID_PART_MAX + 1];
	const struct domain *domain = NULL;
	struct slice name;
	size_t i;
	int error = OK;

	if (count > 1)
		return refuse(result, E_MALFORMED, "at most one domain");
	if (count == 1 && (jid_prepare_domain(words[0], out, &name) != OK ||
	    (domain = domain_find(name)) == NULL))
		return refuse(result, E_NOT_FOUND, "this domain has no rooms here");
	list.array = json_array();
	if (domain != NULL)
		error = rooms_walk(domain, 0, list_row, &list);
	for (i = 0; count == 0 && error == OK && (domain = domain_at(i)) != NULL; i++)
		error = rooms_walk(domain, 0, list_row, &list);
	rooms_trim();
	if (error == OK && json_array_size(list.array) <= LIST_MAX && list.bytes <= LIST_BYTES) {
		*result = list.array;
		return OK;
	}
	json_decref(list.array);
	return error != OK ? refuse(result, error, "the store failed; see the log") :
	    refuse(result, E_TOO_MANY, "more rooms than one answer holds: name a domain");
}

/* The values of a setting, as "room configure" takes them. */
static json_t *
json_setting(const struct settings *s, const struct setting *setting)
{
	struct buf lines = { 0 }, text = { 0 };
	struct slice rest, line;
	json_t *value;

	setting->write(s, setting, &lines);
	rest = buf_slice(&lines);
	while (slice_line(&rest, &line)) {
		if (buf_len(&text) != 0)
			buf_add_char(&text, ',');
		buf_add_slice(&text, line);
	}
	if (strcmp(setting->type, "boolean") == 0)
		value = json_boolean(slice_is(buf_slice(&text), "1"));
	else if (strcmp(setting->type, "text-private") == 0 && buf_len(&text) != 0)
		value = json_string("(set)");
	else
		value = json_slice(buf_slice(&text));
	buf_free(&lines);
	buf_free(&text);
	return value;
}

static int
room_show(struct slice *words, size_t count, json_t **result)
{
	const struct setting *setting;
	struct settings s;
	struct room *room;
	int error = room_read(words, count, 1, 1, &room, result);

	if (error)
		return error;
	*result = json_object();
	json_object_set_new(*result, "room", json_slice(room_jid(room)));
	json_object_set_new(*result, "created", json_stamp(room->created));
	json_object_set_new(*result, "active", json_stamp(room->active));
	json_object_set_new(*result, "occupants", json_integer((json_int_t)room->occupant_count));
	json_object_set_new(*result, "configured", json_boolean(!room->locked));
	settings_of(room, &s);
	for (setting = setting_table; setting->name != NULL; setting++)
		json_object_set_new(*result, setting->name, json_setting(&s, setting));
	settings_free(&s);
	rooms_trim();
	return OK;
}

/* -- rooms -- */

static int
owner_read(struct slice word, char out[JID_MAX + 1], struct slice *bare, json_t **result)
{
	struct jid jid;

	if (jid_prepare(word, out, &jid) != OK || jid.local.ptr == NULL || jid.resource.ptr != NULL)
		return refuse(result, E_MALFORMED, "an owner is user@domain");
	*bare = jid.full;
	return OK;
}

/* A room that nobody has entered is one that stays. */
static int
room_create(struct slice *words, size_t count, json_t **result)
{
	char out[JID_MAX + 1], owner_out[JID_MAX + 1];
	struct slice bare, owner = SLICE_NONE;
	struct domain *domain;
	struct room *room;
	int error;

	if (count < 1 || count > 2)
		return refuse(result, E_MALFORMED, "a room and perhaps its owner are needed");
	error = address_read(words[0], out, &bare, &domain, result);
	if (error == OK && count == 2)
		error = owner_read(words[1], owner_out, &owner, result);
	if (error)
		return error;
	if (room_find(bare) != NULL)
		return refuse(result, E_EXISTS, "this room exists already");
	room = room_make(domain, bare, daemon_now());
	if (room == NULL)
		return refuse(result, E_FULL, "the domain has as many rooms as it may have");
	room->config.persistent = true;
	room->locked = false;
	if (owner.ptr != NULL)
		affiliation_set(room, owner, AFFILIATION_OWNER, SLICE_NONE, SLICE_NONE);
	room_save(room);
	log_info("room created", "room=%s by=administrator", log_quote(bare));
	return finish(result);
}

/* Reads "option=value"; a list is separated by commas. */
static int
option_read(struct settings *s, struct slice word, json_t **result)
{
	const char *equals = memchr(word.ptr, '=', word.len), *why;
	struct slice name = slice_part(word, 0, equals != NULL ? (size_t)(equals - word.ptr) : word.len), rest;
	const struct setting *setting = setting_find(name);
	struct slice values[VALUES_MAX];
	size_t count = 0;

	if (equals == NULL || setting == NULL) {
		*result = json_sprintf("no such setting: %s", log_quote(name));
		return E_MALFORMED;
	}
	rest = slice_part(word, name.len + 1, SIZE_MAX);
	if (strstr(setting->type, "-multi") == NULL) {
		values[count++] = rest;
		rest = SLICE("");
	}
	while (rest.len != 0) {
		const char *comma = memchr(rest.ptr, ',', rest.len);
		size_t len = comma != NULL ? (size_t)(comma - rest.ptr) : rest.len;

		if (count == VALUES_MAX)
			return refuse(result, E_TOO_MANY, "too many values");
		values[count++] = slice_part(rest, 0, len);
		rest = slice_part(rest, len + 1, SIZE_MAX);
	}
	s->admins_given = s->admins_given || strcmp(setting->name, "roomadmins") == 0;
	why = setting_read(setting, s, values, count);
	if (why == NULL)
		return OK;
	*result = json_sprintf("%s %s", setting->name, why);
	return E_MALFORMED;
}

static int
room_configure(struct slice *words, size_t count, json_t **result)
{
	struct settings s;
	struct room *room;
	const char *why;
	size_t i;
	int error = room_read(words, count, 2, SIZE_MAX, &room, result);

	if (error)
		return error;
	settings_of(room, &s);
	for (i = 1; i < count && error == OK; i++)
		error = option_read(&s, words[i], result);
	if (error == OK) {
		error = owner_apply(room, &s, SLICE_NONE, daemon_now(), &why);
		if (error)
			refuse(result, error == E_FORBIDDEN ? E_EXISTS : error, why);
	}
	settings_free(&s);
	if (error)
		return error;
	room->locked = false;
	room_save(room);
	if (room->client_count == 0)
		room_emptied(room, daemon_now());
	return finish(result);
}

static int
room_destroy(struct slice *words, size_t count, json_t **result)
{
	struct slice reason;
	struct room *room;
	int error = room_read(words, count, 1, 2, &room, result);

	if (error == OK)
		error = reason_read(words, count, 1, &reason, result);
	if (error)
		return error;
	owner_destroy(room, SLICE_NONE, reason, SLICE_NONE);
	return finish(result);
}

static int
room_clear(struct slice *words, size_t count, json_t **result)
{
	struct room *room;
	int error = room_read(words, count, 1, 1, &room, result);

	if (error)
		return error;
	log_info("room cleared", "room=%s", log_quote(room_jid(room)));
	outbox_forget(room_jid(room));
	return finish(result);
}

/* -- affiliations and occupants -- */

static int
room_affiliations(struct slice *words, size_t count, json_t **result)
{
	const struct affiliate *a;
	struct room *room;
	size_t bytes = 0;
	int error = room_read(words, count, 1, 1, &room, result);

	if (error)
		return error;
	*result = json_array();
	TAILQ_FOREACH (a, &room->affiliates, all) {
		struct slice reason = slice_string(a->reason), nick = slice_string(a->nick);
		json_t *object = json_object();

		json_object_set_new(object, "jid", json_slice(slice_of(a->jid, a->jid_len)));
		json_object_set_new(object, "affiliation", json_string(affiliation_text(a->affiliation)));
		json_object_set_new(object, "nick", json_slice(nick));
		json_object_set_new(object, "reason", json_slice(reason));
		json_array_append_new(*result, object);
		bytes += 64 + a->jid_len + nick.len + reason.len;
		if (bytes > LIST_BYTES) {
			json_decref(*result);
			return refuse(result, E_TOO_MANY, "more affiliations than one answer holds");
		}
	}
	rooms_trim();
	return OK;
}

static int
room_affiliate(struct slice *words, size_t count, json_t **result)
{
	char out[JID_MAX + 1];
	enum affiliation affiliation;
	bool inhabited;
	struct slice reason;
	struct room *room;
	struct jid jid;
	int error = room_read(words, count, 3, 4, &room, result);

	if (error == OK)
		error = reason_read(words, count, 3, &reason, result);
	if (error)
		return error;
	if (jid_prepare(words[1], out, &jid) != OK || jid.resource.ptr != NULL)
		return refuse(result, E_MALFORMED, "an affiliation is that of an account or a domain");
	if (!affiliation_read(words[2], &affiliation))
		return refuse(result, E_MALFORMED, "an affiliation is owner, admin, member, none or outcast");
	if (jid.local.ptr == NULL && affiliation > AFFILIATION_MEMBER)
		return refuse(result, E_MALFORMED, "a domain cannot be administrator or owner");
	inhabited = room->client_count != 0;
	error = admin_affiliate(room, jid.full, affiliation, SLICE_NONE, reason, SLICE_NONE, daemon_now());
	if (error == E_FORBIDDEN)
		return refuse(result, E_EXISTS, "this is the last owner of the room");
	if (error)
		return refuse(result, error, "the list is as long as it may be");
	if (inhabited && room->client_count == 0)
		room_emptied(room, daemon_now());
	return finish(result);
}

static int
room_kick(struct slice *words, size_t count, json_t **result)
{
	struct change change = { .status = STATUS_307 };
	char out[JID_PART_MAX + 1];
	struct occupant *o = NULL;
	struct slice nick;
	struct room *room;
	int error = room_read(words, count, 2, 3, &room, result);

	if (error == OK)
		error = reason_read(words, count, 2, &change.reason, result);
	if (error)
		return error;
	if (jid_prepare_resource(words[1], out, &nick) == OK)
		o = occupant_find(room, nick);
	if (o == NULL)
		return refuse(result, E_NOT_FOUND, "nobody in the room goes by this nick");
	change.affiliation = affiliation_of(room, slice_of(o->bare, o->bare_len));
	presence_expel(o, &change);
	if (room->client_count == 0)
		room_emptied(room, daemon_now());
	return finish(result);
}

/* -- for files -- */

/* The form of the configuration as it would be submitted, the affiliations, and the hats; each an element
 * in canonical form. */
static int
export_state(struct slice *words, size_t count, json_t **result)
{
	const struct setting *setting;
	const struct affiliate *a;
	const struct hat *hat;
	struct settings s;
	struct buf out = { 0 }, lines = { 0 };
	json_t *rows = json_array();
	struct room *room;
	size_t bytes = 0;
	int error = room_read(words, count, 1, 1, &room, result);

	if (error) {
		json_decref(rows);
		return error;
	}
	settings_of(room, &s);
	form_open(&out, "submit", NS_MUC_ROOMCONFIG, NULL, NULL);
	for (setting = setting_table; setting->name != NULL; setting++) {
		buf_clear(&lines);
		setting->write(&s, setting, &lines);
		form_field(&out, setting->var, setting->type, NULL, buf_slice(&lines));
	}
	form_close(&out);
	json_array_append_new(rows, json_slice(buf_slice(&out)));
	TAILQ_FOREACH (a, &room->affiliates, all) {
		buf_clear(&out);
		admin_item(&out, affiliation_text(a->affiliation), SLICE(NS_MUC_ADMIN), slice_of(a->jid, a->jid_len),
		    slice_string(a->nick), NULL, slice_string(a->reason));
		json_array_append_new(rows, json_slice(buf_slice(&out)));
		bytes += buf_len(&out);
	}
	TAILQ_FOREACH (hat, &room->hats, all) {
		buf_clear(&out);
		hat_command_export(hat, &out);
		json_array_append_new(rows, json_slice(buf_slice(&out)));
		bytes += buf_len(&out);
	}
	settings_free(&s);
	buf_free(&out);
	buf_free(&lines);
	rooms_trim();
	*result = json_pack("{s:o}", "rows", rows);
	if (bytes <= LIST_BYTES)
		return OK;
	json_decref(*result);
	return refuse(result, E_TOO_MANY, "more affiliations and hats than one answer holds");
}

const struct command mucd_transfers[] = {
	{ "room state", "ROOM", "configuration and affiliations of a room", export_state },
	{ NULL, NULL, NULL, NULL },
};

const struct command mucd_commands[] = {
	{ "room list", "[DOMAIN]", "list rooms", room_list },
	{ "room show", "ROOM", "show a room and its configuration", room_show },
	{ "room create", "ROOM [OWNER]", "make a room that stays", room_create },
	{ "room configure", "ROOM SETTING...", "change the configuration of a room: setting=value", room_configure },
	{ "room destroy", "ROOM [REASON]", "end a room, with all its data", room_destroy },
	{ "room clear", "ROOM", "delete all messages of a room", room_clear },
	{ "room affiliations", "ROOM", "list who is what in a room", room_affiliations },
	{ "room affiliate", "ROOM JID AFFILIATION [REASON]", "make somebody an owner, admin, member, none or outcast",
	    room_affiliate },
	{ "room kick", "ROOM NICK [REASON]", "remove an occupant from a room", room_kick },
	{ NULL, NULL, NULL, NULL },
};
