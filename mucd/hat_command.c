/*
 * hat_command.c: the ad-hoc commands of a room (XEP-0050), which are those about its hats (XEP-0317 section 3.2
 * and on). Called by request.c for commands, by disco.c for what there is, and by command.c for files. What is
 * wrong is answered with an error.
 *
 * Nothing is kept between a form and its answer: who sends the form at once gets the same, and the session id is
 * only given back.
 */
#include "mucd.h"

#include <gnutls/crypto.h>
#include <gnutls/gnutls.h>

#include "log.h"
#include "ns.h"
#include "xmlout.h"

#define URI_MAX       256u        /* bytes */
#define TITLE_MAX     128u
#define HUE_MAX       16u
#define SESSION_MAX   256u        /* bytes of a session id that is given back */
#define SESSION_BYTES 8
#define LIST_BYTES    (2u << 20)  /* of a list in an answer, which must fit a frame */

/* Fields of a form, as bits. */
enum field { FIELD_JID = 1, FIELD_TITLE = 2, FIELD_NEW_URI = 4, FIELD_URI = 8, FIELD_HUE = 16 };

/* A command that was given, and what its form has. */
struct call {
	struct room *room;
	struct slice bare, uri, title, hue; /* hue: absent, none */
	struct hat *hat;                    /* with this URI; NULL: there is none */
	char jid_out[JID_MAX + 1];
	const char *text;                   /* with an error, for people */
};

struct hat_command {
	const char *node, *name, *instructions;
	unsigned fields;
	bool (*may)(const struct room *room, struct slice full);
	enum stanza_error (*run)(struct call *c, struct buf *out);
};

/* -- telling ----------------------------------------------------------------------------------- */

static void
occupant_tell(struct occupant *o)
{
	static const struct change none;

	presence_tell(o, &none, NULL);
}

/* Tells of all in the room whose hats have changed; bare: of this one; absent: of whoever wears the hat. */
static void
wearers_tell(struct room *room, const struct hat *hat, struct slice bare)
{
	struct occupant *o;

	TAILQ_FOREACH(o, &room->occupants, all) {
		if (bare.ptr != NULL ? slice_equal(occupant_bare(o), bare) : hat_is_worn(hat, occupant_bare(o)))
			occupant_tell(o);
	}
}

/* The list of hats is part of what a room is. */
static void
list_changed(struct room *room)
{
	message_announce(room, SLICE("<x xmlns='" NS_MUC_USER "'><status code='104'/></x>"));
}

/* -- what the commands do ---------------------------------------------------------------------- */

static enum stanza_error
create(struct call *c, struct buf *out)
{
	(void)out;
	if (c->hat != NULL && slice_is(c->title, c->hat->title) && slice_equal(c->hue, slice_string(c->hat->hue)))
		return STANZA_ERROR_NONE;
	if (hat_make(c->room, c->uri, c->title, c->hue) != OK) {
		c->text = "The room has as many hats as it may have";
		return STANZA_ERROR_RESOURCE_CONSTRAINT;
	}
	list_changed(c->room);
	wearers_tell(c->room, hat_find(c->room, c->uri), SLICE_NONE);
	return STANZA_ERROR_NONE;
}

static enum stanza_error
destroy(struct call *c, struct buf *out)
{
	struct buf worn = { 0 };
	struct occupant *o;
	size_t i;

	(void)out;
	TAILQ_FOREACH(o, &c->room->occupants, all) {
		if (hat_is_worn(c->hat, occupant_bare(o)))
			buf_add(&worn, &o, sizeof o);
	}
	hat_destroy(c->room, c->hat);
	list_changed(c->room);
	for (i = 0; i < buf_len(&worn) / sizeof o; i++) {
		memcpy(&o, buf_slice(&worn).ptr + i * sizeof o, sizeof o);
		occupant_tell(o);
	}
	buf_free(&worn);
	return STANZA_ERROR_NONE;
}

static enum stanza_error
assign(struct call *c, struct buf *out)
{
	int error = hat_put_on(c->room, c->hat, c->bare);

	(void)out;
	if (error == E_FULL) {
		c->text = "So many hats may not be worn";
		return STANZA_ERROR_RESOURCE_CONSTRAINT;
	}
	if (error == OK)
		wearers_tell(c->room, c->hat, c->bare);
	return STANZA_ERROR_NONE;
}

static enum stanza_error
unassign(struct call *c, struct buf *out)
{
	(void)out;
	if (hat_take_off(c->room, c->hat, c->bare) != OK) {
		c->text = "This one does not wear this hat";
		return STANZA_ERROR_ITEM_NOT_FOUND;
	}
	wearers_tell(c->room, c->hat, c->bare);
	return STANZA_ERROR_NONE;
}

static void
value_write(struct buf *out, const char *var, const char *value)
{
	if (value == NULL)
		return;
	form_field_open(out, var, NULL, NULL);
	xml_add_element(out, "value", slice_string(value));
	form_field_close(out);
}

/* One row of a list. */
static void
item_write(struct buf *out, const char *bare, const struct hat *hat)
{
	buf_add_string(out, "<item>");
	value_write(out, "hats#jid", bare);
	value_write(out, "hats#uri", hat->uri);
	value_write(out, "hats#title", hat->title);
	value_write(out, "hats#hue", hat->hue);
	buf_add_string(out, "</item>");
}

static void
reported_open(struct buf *out, const char *title, bool wearers)
{
	form_open(out, "result", NS_HATS_COMMANDS, title, NULL);
	buf_add_string(out, "<reported>");
	if (wearers)
		form_field(out, "hats#jid", "jid-single", "User", SLICE(""));
	form_field(out, "hats#uri", "text-single", "URI", SLICE(""));
	form_field(out, "hats#title", "text-single", "Title", SLICE(""));
	form_field(out, "hats#hue", "text-single", "Hue", SLICE(""));
	buf_add_string(out, "</reported>");
}

void
hat_command_export(const struct hat *hat, struct buf *out)
{
	const char *bare;
	size_t at = 0;

	form_open(out, "result", NS_HATS_COMMANDS, NULL, NULL);
	value_write(out, "hats#uri", hat->uri);
	value_write(out, "hats#title", hat->title);
	value_write(out, "hats#hue", hat->hue);
	form_field_open(out, "hats#jid", "jid-multi", NULL);
	while ((bare = map_each(hat->wearers, &at)) != NULL)
		xml_add_element(out, "value", slice_string(bare));
	form_field_close(out);
	form_close(out);
}

static enum stanza_error
list(struct call *c, struct buf *out)
{
	const struct hat *hat;

	reported_open(out, "Hats", false);
	TAILQ_FOREACH(hat, &c->room->hats, all)
		item_write(out, NULL, hat);
	form_close(out);
	return STANZA_ERROR_NONE;
}

static enum stanza_error
list_assigned(struct call *c, struct buf *out)
{
	const struct hat *hat;
	const char *bare;
	size_t at;

	reported_open(out, "Hats, and who wears them", true);
	TAILQ_FOREACH(hat, &c->room->hats, all) {
		for (at = 0; (bare = map_each(hat->wearers, &at)) != NULL && buf_len(out) < LIST_BYTES; )
			item_write(out, bare, hat);
	}
	form_close(out);
	c->text = "The list is longer than an answer can be";
	return buf_len(out) < LIST_BYTES ? STANZA_ERROR_NONE : STANZA_ERROR_RESOURCE_CONSTRAINT;
}

/* -- who may ----------------------------------------------------------------------------------- */

static bool
is_admin(const struct room *room, struct slice full)
{
	return affiliation_of(room, jid_bare_of(full)) >= AFFILIATION_ADMIN;
}

/* Whether somebody may know which account wears what. */
static bool
sees_wearers(const struct room *room, struct slice full)
{
	return access_reads(room, full) && access_real_jids(room, full);
}

static const struct hat_command commands[] = {
	{ NS_HATS_COMMANDS ":create", "Make or change a hat", "Fill in this form to make a hat. One that has this URI "
	    "gets this title and hue.", FIELD_TITLE | FIELD_NEW_URI | FIELD_HUE, is_admin, create },
	{ NS_HATS_COMMANDS ":destroy", "Remove a hat", "Choose the hat that nobody shall wear any more.", FIELD_URI,
	    is_admin, destroy },
	{ NS_HATS_COMMANDS ":assign", "Give somebody a hat", "Say who is to wear a hat.", FIELD_JID | FIELD_URI,
	    is_admin, assign },
	{ NS_HATS_COMMANDS ":unassign", "Take a hat from somebody", "Say who is not to wear a hat any more.",
	    FIELD_JID | FIELD_URI, is_admin, unassign },
	{ NS_HATS_COMMANDS ":list", "List hats", NULL, 0, access_reads, list },
	{ NS_HATS_COMMANDS ":list-assigned", "List who wears a hat", NULL, 0, sees_wearers, list_assigned },
	{ NULL, NULL, NULL, 0, NULL, NULL },
};

static const struct hat_command *
hat_command_find(struct slice node)
{
	const struct hat_command *command;

	for (command = commands; command->node != NULL; command++) {
		if (slice_is(node, command->node))
			return command;
	}
	return NULL;
}

const char *
hat_command_name(struct slice node)
{
	const struct hat_command *command = hat_command_find(node);

	return command != NULL ? command->name : NULL;
}

void
hat_command_items(const struct room *room, struct slice full, struct buf *out)
{
	const struct hat_command *command;

	for (command = commands; command->node != NULL; command++) {
		if (!command->may(room, full))
			continue;
		buf_add_string(out, "<item");
		xml_add_attribute(out, "jid", room_jid(room));
		xml_add_attribute(out, "node", slice_string(command->node));
		xml_add_attribute(out, "name", slice_string(command->name));
		buf_add_string(out, "/>");
	}
}

/* -- forms ------------------------------------------------------------------------------------- */

static void
field_write(struct buf *out, const char *var, const char *type, const char *label, bool required)
{
	form_field_open(out, var, type, label);
	if (required)
		buf_add_string(out, "<required/>");
	form_field_close(out);
}

static void
form_write(const struct room *room, const struct hat_command *command, struct buf *out)
{
	const struct hat *hat;

	buf_add_string(out, "<actions execute='complete'><complete/></actions>");
	form_open(out, "form", NS_HATS_COMMANDS, command->name, command->instructions);
	if (command->fields & FIELD_JID)
		field_write(out, "hats#jid", "jid-single", "User", true);
	if (command->fields & FIELD_TITLE)
		field_write(out, "hats#title", "text-single", "Title", true);
	if (command->fields & FIELD_NEW_URI)
		field_write(out, "hats#uri", "text-single", "URI", true);
	if (command->fields & FIELD_URI) {
		form_field_open(out, "hats#uri", "list-single", "Hat");
		buf_add_string(out, "<required/>");
		TAILQ_FOREACH(hat, &room->hats, all)
			form_option(out, hat->title, slice_string(hat->uri));
		form_field_close(out);
	}
	if (command->fields & FIELD_HUE)
		field_write(out, "hats#hue", "text-single", "Hue, in degrees", false);
	form_close(out);
}

/* Whether a text is a URI by its characters (RFC 3986 section 2, 3.1). */
static bool
is_uri(struct slice text)
{
	size_t i, scheme = 0;

	if (text.len > URI_MAX)
		return false;
	for (i = 0; i < text.len; i++) {
		unsigned char c = (unsigned char)text.ptr[i];
		bool letter = (c | 0x20) >= 'a' && (c | 0x20) <= 'z';

		if (c <= ' ' || c >= 0x7f || strchr("<>\"{}|\\^`", c) != NULL)
			return false;
		if (scheme == 0 && c == ':')
			scheme = i;
		else if (scheme == 0 && !letter && (i == 0 || strchr("0123456789+-.", c) == NULL))
			return false;
	}
	return scheme != 0 && scheme + 1 < text.len;
}

/* Whether a text is an angle of a colour (XEP-0392 section 5.2). */
static bool
is_hue(struct slice text)
{
	size_t i, point = text.len;
	uint64_t degrees;

	for (i = 0; i < text.len; i++) {
		if (text.ptr[i] == '.' && point == text.len)
			point = i;
		else if (text.ptr[i] < '0' || text.ptr[i] > '9')
			return false;
	}
	return text.len <= HUE_MAX && slice_number(slice_part(text, 0, point), 360, &degrees) == OK;
}

/* Reads the fields that a command needs; they point into the form. */
static enum stanza_error
fields_read(const struct form *form, unsigned fields, struct call *c)
{
	struct slice address = SLICE_NONE;
	struct jid jid;

	form_value(form, SLICE("hats#jid"), 0, &address);
	form_value(form, SLICE("hats#uri"), 0, &c->uri);
	form_value(form, SLICE("hats#title"), 0, &c->title);
	if (!form_value(form, SLICE("hats#hue"), 0, &c->hue) || c->hue.len == 0)
		c->hue = SLICE_NONE;
	if (fields & FIELD_JID) {
		if (jid_prepare(address, c->jid_out, &jid) != OK || jid.local.ptr == NULL) {
			c->text = "hats#jid is the address of an account";
			return STANZA_ERROR_JID_MALFORMED;
		}
		c->bare = jid_bare(&jid);
	}
	c->text = NULL;
	if ((fields & FIELD_NEW_URI) && !is_uri(c->uri))
		c->text = "hats#uri is no URI, or is longer than 256 bytes";
	else if ((fields & FIELD_TITLE) && (c->title.len == 0 || c->title.len > TITLE_MAX || !form_is_line(c->title)))
		c->text = "hats#title is one line of at most 128 bytes";
	else if ((fields & FIELD_HUE) && c->hue.ptr != NULL && !is_hue(c->hue))
		c->text = "hats#hue is an angle in degrees";
	if (c->text != NULL)
		return STANZA_ERROR_NOT_ACCEPTABLE;
	c->hat = hat_find(c->room, c->uri);
	c->text = "The room has no such hat";
	return (fields & FIELD_URI) && c->hat == NULL ? STANZA_ERROR_ITEM_NOT_FOUND : STANZA_ERROR_NONE;
}

/* -- requests ---------------------------------------------------------------------------------- */

/* Writes a command element around what it has in it, and answers with it. */
static void
command_answer(const struct frame *f, const struct hat_command *command, struct slice session, const char *status,
    struct slice content)
{
	unsigned char bytes[SESSION_BYTES];
	struct buf out = { 0 }, made = { 0 };
	size_t head;

	if (session.len == 0) {
		if (gnutls_rnd(GNUTLS_RND_NONCE, bytes, sizeof bytes) != 0)
			log_panic(__FILE__, __LINE__, "no random bytes");
		buf_add_hex(&made, bytes, sizeof bytes);
		session = buf_slice(&made);
	}
	xml_open(&out, "command", SLICE(NS_COMMANDS));
	xml_add_attribute(&out, "node", slice_string(command->node));
	xml_add_attribute(&out, "sessionid", session);
	xml_add_attribute(&out, "status", slice_string(status));
	buf_add_char(&out, '>');
	head = buf_len(&out);
	buf_add_slice(&out, content);
	xml_close(&out, "command", head);
	answer_result(f, buf_slice(&out));
	buf_free(&out);
	buf_free(&made);
}

/* Runs a command that has what it needs. */
static void
run(const struct frame *f, struct room *room, const struct hat_command *command, const struct form *form,
    struct slice session)
{
	struct call c = { .room = room };
	struct buf content = { 0 };
	enum stanza_error error = fields_read(form, command->fields, &c);

	if (error == STANZA_ERROR_NONE)
		error = command->run(&c, &content);
	if (error != STANZA_ERROR_NONE) {
		answer_error(f, error, c.text);
	} else {
		command_answer(f, command, session, "completed", buf_slice(&content));
		if (command->fields != 0)
			log_info("hat changed", "room=%s by=%s command=%s", log_quote(room_jid(room)),
			    log_quote(f->from), command->node + sizeof NS_HATS_COMMANDS);
	}
	buf_free(&content);
}

/* What is to be done with a command. */
enum action { ACTION_CANCEL, ACTION_GO_ON, ACTION_BAD };

static enum action
action_of(const struct xmlin_element *element)
{
	static const struct {
		const char *text;
		enum action action;
	} words[] = { { "execute", ACTION_GO_ON }, { "complete", ACTION_GO_ON }, { "next", ACTION_GO_ON },
		{ "cancel", ACTION_CANCEL } };
	struct buf scratch = { 0 };
	enum action action = ACTION_BAD;
	struct slice text;
	size_t i;

	if (xmlin_attribute(element, "action", &scratch, &text) != OK)
		text = SLICE("execute");
	for (i = 0; i < sizeof words / sizeof words[0]; i++) {
		if (slice_is(text, words[i].text))
			action = words[i].action;
	}
	buf_free(&scratch);
	return action;
}

static void
perform(const struct frame *f, struct room *room, const struct hat_command *command,
    const struct xmlin_element *element, struct slice session)
{
	enum action action = action_of(element);
	struct buf content = { 0 };
	struct form form;
	int error = form_read(element->content, element->ns, NS_HATS_COMMANDS, &form);

	if (action == ACTION_BAD || (error != OK && error != E_NOT_FOUND)) {
		answer_error(f, STANZA_ERROR_BAD_REQUEST, action == ACTION_BAD ? "There is no such action" :
		    "This is not the form of this command");
	} else if (action == ACTION_CANCEL || form.cancelled) {
		command_answer(f, command, session, "canceled", SLICE(""));
	} else if (command->fields != 0 && form.empty) {
		form_write(room, command, &content);
		command_answer(f, command, session, "executing", buf_slice(&content));
	} else {
		run(f, room, command, &form, session);
	}
	form_free(&form);
	buf_free(&content);
}

void
hat_command_request(const struct frame *f, struct room *room, uint64_t now)
{
	const struct hat_command *command = NULL;
	struct buf node_scratch = { 0 }, scratch = { 0 };
	struct xmlin_element element;
	struct slice node, session = SLICE_NONE;

	(void)now;
	if (!xmlin_find(f->payload, SLICE(NS_CLIENT), "command", NS_COMMANDS, &element)) {
		answer_error(f, STANZA_ERROR_BAD_REQUEST, NULL);
		return;
	}
	if (xmlin_attribute(&element, "node", &node_scratch, &node) == OK)
		command = hat_command_find(node);
	if (xmlin_attribute(&element, "sessionid", &scratch, &session) != OK)
		session = SLICE_NONE;
	if (command == NULL)
		answer_error(f, STANZA_ERROR_ITEM_NOT_FOUND, "There is no such command");
	else if (!command->may(room, f->from))
		answer_error(f, STANZA_ERROR_FORBIDDEN, NULL);
	else if (session.len > SESSION_MAX)
		answer_error(f, STANZA_ERROR_BAD_REQUEST, "This is no id of a session");
	else
		perform(f, room, command, &element, session);
	buf_free(&node_scratch);
	buf_free(&scratch);
}
