/*
 * setting.c: the configuration of a room (XEP-0045 section 10.2), field by field.
 *
 * room_config.def has the fields; here is how each kind of them is read, written and offered. Called for the
 * forms of the owners, for what everybody may know of a room (section 6.4), and for administrators. No state.
 * A value is either taken or refused with what is wrong with it, for people.
 */
#include "mucd.h"

#include <stdlib.h>

#include "log.h"
#include "ns.h"
#include "xmlout.h"

#define LINE_MAX_BYTES  1024   /* of one value */
#define LANG_MAX_BYTES  64
#define JIDS_MAX        32     /* contacts */
#define ACCOUNTS_MAX    10000  /* of a list in a form */
#define LINES_MAX       (1u << 20) /* bytes of such a list */

#define MEMBER(type, s, setting) ((type *)(void *)((char *)(s) + (setting)->offset))
#define MEMBER_CONST(type, s, setting) ((const type *)(const void *)((const char *)(s) + (setting)->offset))

/* -- text -- */

/* The only value of a field; none is an empty one. */
static const char *
one(const struct slice *values, size_t count, struct slice *value)
{
	*value = count != 0 ? values[0] : SLICE("");
	if (count > 1)
		return "has more than one value";
	if (value->len > LINE_MAX_BYTES)
		return "is longer than 1024 bytes";
	return form_is_line(*value) ? NULL : "has characters that do not belong into one line";
}

static void
text_set(struct buf *text, struct slice value)
{
	buf_clear(text);
	buf_add_slice(text, value);
}

static const char *
line_read(struct settings *s, const struct setting *setting, const struct slice *values, size_t count)
{
	struct slice value;
	const char *why = one(values, count, &value);

	if (why == NULL)
		text_set(MEMBER(struct buf, s, setting), value);
	return why;
}

static void
line_write(const struct settings *s, const struct setting *setting, struct buf *lines)
{
	const struct buf *text = MEMBER_CONST(struct buf, s, setting);

	if (buf_len(text) == 0)
		return;
	buf_add_slice(lines, buf_slice(text));
	buf_add_char(lines, '\n');
}

#define line_choices NULL

/* A tag of RFC 5646 by its form. */
static const char *
lang_read(struct settings *s, const struct setting *setting, const struct slice *values, size_t count)
{
	struct slice value;
	const char *why = one(values, count, &value);
	size_t i, part = 0;

	for (i = 0; why == NULL && i < value.len; i++) {
		char c = value.ptr[i];
		bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');

		part = c == '-' ? 0 : part + 1;
		if (part > 8 || (c == '-' && (i == 0 || i + 1 == value.len || value.ptr[i - 1] == '-')) ||
		    (c != '-' && !letter && (i < 2 || c < '0' || c > '9')))
			why = "is no tag of a language";
	}
	if (why == NULL && value.len > LANG_MAX_BYTES)
		why = "is no tag of a language";
	if (why == NULL)
		text_set(MEMBER(struct buf, s, setting), value);
	return why;
}

#define lang_write line_write
#define lang_choices NULL

static const char *
uri_read(struct settings *s, const struct setting *setting, const struct slice *values, size_t count)
{
	struct slice value;
	const char *why = one(values, count, &value);

	if (why == NULL && value.len != 0 && (!slice_starts(value, SLICE("xmpp:")) || value.len < 6 ||
	    memchr(value.ptr, ' ', value.len) != NULL))
		why = "is no XMPP URI";
	if (why == NULL)
		text_set(MEMBER(struct buf, s, setting), value);
	return why;
}

#define uri_write line_write
#define uri_choices NULL

#define secret_read line_read
#define secret_write line_write
#define secret_choices NULL

/* -- yes or no -- */

static const char *
flag_read(struct settings *s, const struct setting *setting, const struct slice *values, size_t count)
{
	static const struct {
		const char *text;
		bool value;
	} words[] = { { "1", true }, { "true", true }, { "0", false }, { "false", false }, { "", false } };
	struct slice value;
	const char *why = one(values, count, &value);
	size_t i;

	for (i = 0; why == NULL && i < sizeof words / sizeof words[0]; i++) {
		if (!slice_is(value, words[i].text))
			continue;
		*MEMBER(bool, s, setting) = words[i].value;
		return NULL;
	}
	return why != NULL ? why : "is neither true nor false";
}

static void
flag_write(const struct settings *s, const struct setting *setting, struct buf *lines)
{
	buf_add_string(lines, *MEMBER_CONST(bool, s, setting) ? "1\n" : "0\n");
}

#define flag_choices NULL

/* -- one of several -- */

struct choice {
	const char *value, *label;
	unsigned number;
};

static const struct choice whom_table[] = {
	{ "anyone", "Everybody in the room", WHOM_ANYONE },
	{ "participants", "Those with voice", WHOM_PARTICIPANTS },
	{ "moderators", "Moderators", WHOM_MODERATORS },
	{ "none", "Nobody", WHOM_NOBODY },
	{ NULL, NULL, 0 },
};
static const struct choice whois_table[] = {
	{ "moderators", "Moderators", false },
	{ "anyone", "Everybody in the room", true },
	{ NULL, NULL, 0 },
};
static const struct choice roles_table[] = {
	{ "moderator", "Moderators", IN_MODERATOR },
	{ "participant", "Participants", IN_PARTICIPANT },
	{ "visitor", "Visitors", IN_VISITOR },
	{ NULL, NULL, 0 },
};

static const struct choice *
choice_find(const struct choice *table, struct slice value)
{
	for (; table->value != NULL; table++) {
		if (slice_is(value, table->value))
			return table;
	}
	return NULL;
}

static void
choice_write(const struct choice *table, unsigned number, struct buf *lines)
{
	for (; table->value != NULL; table++) {
		if (table->number == number)
			buf_printf(lines, "%s\n", table->value);
	}
}

static void
choices_write(const struct choice *table, struct buf *out)
{
	for (; table->value != NULL; table++)
		form_option(out, table->label, slice_string(table->value));
}

static const char *
whom_read(struct settings *s, const struct setting *setting, const struct slice *values, size_t count)
{
	const struct choice *choice = count == 1 ? choice_find(whom_table, values[0]) : NULL;

	if (choice == NULL)
		return "is one of anyone, participants, moderators and none";
	*MEMBER(enum whom, s, setting) = (enum whom)choice->number;
	return NULL;
}

static void
whom_write(const struct settings *s, const struct setting *setting, struct buf *lines)
{
	choice_write(whom_table, *MEMBER_CONST(enum whom, s, setting), lines);
}

static void
whom_choices(const struct settings *s, const struct setting *setting, struct buf *out)
{
	(void)s;
	(void)setting;
	choices_write(whom_table, out);
}

static const char *
whois_read(struct settings *s, const struct setting *setting, const struct slice *values, size_t count)
{
	const struct choice *choice = count == 1 ? choice_find(whois_table, values[0]) : NULL;

	if (choice == NULL)
		return "is one of moderators and anyone";
	*MEMBER(bool, s, setting) = choice->number;
	return NULL;
}

static void
whois_write(const struct settings *s, const struct setting *setting, struct buf *lines)
{
	choice_write(whois_table, *MEMBER_CONST(bool, s, setting), lines);
}

static void
whois_choices(const struct settings *s, const struct setting *setting, struct buf *out)
{
	(void)s;
	(void)setting;
	choices_write(whois_table, out);
}

/* -- several of several -- */

static const char *
roles_read(struct settings *s, const struct setting *setting, const struct slice *values, size_t count)
{
	unsigned mask = 0;
	size_t i;

	for (i = 0; i < count; i++) {
		const struct choice *choice = choice_find(roles_table, values[i]);

		if (choice == NULL && values[i].len == 0 && count == 1)
			break; /* none of them */
		if (choice == NULL)
			return "is any of moderator, participant and visitor";
		mask |= 1u << choice->number;
	}
	*MEMBER(unsigned, s, setting) = mask;
	return NULL;
}

static void
roles_write(const struct settings *s, const struct setting *setting, struct buf *lines)
{
	unsigned mask = *MEMBER_CONST(unsigned, s, setting);
	const struct choice *choice;

	for (choice = roles_table; choice->value != NULL; choice++) {
		if (mask & 1u << choice->number)
			buf_printf(lines, "%s\n", choice->value);
	}
}

static void
roles_choices(const struct settings *s, const struct setting *setting, struct buf *out)
{
	(void)s;
	(void)setting;
	choices_write(roles_table, out);
}

/* -- numbers -- */

static void
number_write(const struct settings *s, const struct setting *setting, struct buf *lines)
{
	buf_printf(lines, "%u\n", *MEMBER_CONST(uint32_t, s, setting));
}

static const char *
maxusers_read(struct settings *s, const struct setting *setting, const struct slice *values, size_t count)
{
	uint64_t number = 0;

	if (count != 1)
		return "is a number or none";
	if (!slice_is(values[0], "none")) {
		if (slice_number(values[0], UINT32_MAX, &number) != OK || number == 0)
			return "is a number or none";
		if (s->domain != NULL && number > s->domain->occupants_max)
			return "is more than this service allows";
	}
	*MEMBER(uint32_t, s, setting) = (uint32_t)number;
	return NULL;
}

static void
maxusers_write(const struct settings *s, const struct setting *setting, struct buf *lines)
{
	if (*MEMBER_CONST(uint32_t, s, setting) == 0)
		buf_add_string(lines, "none\n");
	else
		number_write(s, setting, lines);
}

static void
maxusers_choices(const struct settings *s, const struct setting *setting, struct buf *out)
{
	static const uint32_t numbers[] = { 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000 };
	uint32_t now = *MEMBER_CONST(uint32_t, s, setting);
	char text[16];
	size_t i;

	for (i = 0; i < sizeof numbers / sizeof numbers[0] && numbers[i] <= s->domain->occupants_max; i++) {
		if (now != 0 && now < numbers[i] && (i == 0 || now > numbers[i - 1])) {
			snprintf(text, sizeof text, "%u", now);
			form_option(out, text, slice_string(text));
		}
		snprintf(text, sizeof text, "%u", numbers[i]);
		form_option(out, text, slice_string(text));
	}
	if (now != 0 && (i == 0 || now > numbers[i - 1])) {
		snprintf(text, sizeof text, "%u", now);
		form_option(out, text, slice_string(text));
	}
	form_option(out, "As many as the service allows", SLICE("none"));
}

/* No value: what the service allows. */
static const char *
history_read(struct settings *s, const struct setting *setting, const struct slice *values, size_t count)
{
	uint64_t most = s->domain != NULL ? s->domain->history_max : UINT32_MAX, number = most;

	if (count > 1 || (count == 1 && values[0].len != 0 && slice_number(values[0], UINT32_MAX, &number) != OK))
		return "is a number";
	if (number > most)
		return "is more than this service allows";
	*MEMBER(uint32_t, s, setting) = (uint32_t)number;
	return NULL;
}

#define history_write number_write
#define history_choices NULL

/* -- addresses -- */

/* Adds an address as a line, once; accounts: it is that of one. */
static const char *
address_add(struct buf *lines, struct map *seen, struct slice value, bool account)
{
	char out[JID_MAX + 1];
	struct jid jid;
	struct slice bare;
	char *key;

	if (jid_prepare(value, out, &jid) != OK)
		return "has something in it that is no address";
	if (account && jid.local.ptr == NULL)
		return "has something in it that is no address of an account";
	bare = jid_bare(&jid);
	if (map_get(seen, bare) != NULL)
		return NULL;
	if (buf_len(lines) + bare.len >= LINES_MAX)
		return "is too long";
	key = slice_dup(bare);
	map_put(seen, slice_string(key), key);
	buf_add_slice(lines, bare);
	buf_add_char(lines, '\n');
	return NULL;
}

/* Reads a list; empty values are none. */
static const char *
addresses_read(struct buf *lines, const struct slice *values, size_t count, size_t most, bool account)
{
	struct buf made = { 0 };
	struct map *seen = map_new();
	const char *why = count > most ? "has too many addresses" : NULL;
	size_t i, at = 0;
	char *key;

	for (i = 0; i < count && why == NULL; i++) {
		if (values[i].len != 0)
			why = address_add(&made, seen, values[i], account);
	}
	while ((key = map_each(seen, &at)) != NULL)
		free(key);
	map_free(&seen);
	if (why == NULL) {
		buf_free(lines);
		*lines = made;
	} else {
		buf_free(&made);
	}
	return why;
}

static const char *
jids_read(struct settings *s, const struct setting *setting, const struct slice *values, size_t count)
{
	return addresses_read(MEMBER(struct buf, s, setting), values, count, JIDS_MAX, false);
}

static const char *
accounts_read(struct settings *s, const struct setting *setting, const struct slice *values, size_t count)
{
	return addresses_read(MEMBER(struct buf, s, setting), values, count, ACCOUNTS_MAX, true);
}

static void
jids_write(const struct settings *s, const struct setting *setting, struct buf *lines)
{
	buf_add_slice(lines, buf_slice(MEMBER_CONST(struct buf, s, setting)));
}

#define jids_choices NULL
#define accounts_write jids_write
#define accounts_choices NULL

/* -- the table -- */

#define ROOMCONFIG "muc#roomconfig_"
#define MUC        "muc#"

const struct setting setting_table[] = {
#define SETTING(name, prefix, type, member, kind, fallback, label) \
	{ name, prefix name, type, label, fallback, offsetof(struct settings, member), kind##_read, \
	    kind##_write, kind##_choices },
#include "room_config.def"
#undef SETTING
	{ NULL, NULL, NULL, NULL, NULL, 0, NULL, NULL, NULL },
};

const struct setting *
setting_find(struct slice name_or_var)
{
	const struct setting *setting;

	for (setting = setting_table; setting->name != NULL; setting++) {
		if (slice_is(name_or_var, setting->name) || slice_is(name_or_var, setting->var))
			return setting;
	}
	return NULL;
}

const char *
setting_read(const struct setting *setting, struct settings *s, const struct slice *values, size_t count)
{
	return setting->read(s, setting, values, count);
}

/* -- all of them -- */

static void
texts_copy(struct room_config *to, const struct room_config *from)
{
	size_t i;
	const struct {
		struct buf *to;
		const struct buf *from;
	} texts[] = {
		{ &to->name, &from->name }, { &to->description, &from->description },
		{ &to->lang, &from->lang }, { &to->contact_ids, &from->contact_ids },
		{ &to->subject_lang, &from->subject_lang }, { &to->password, &from->password },
		{ &to->pubsub, &from->pubsub }, { &to->ldapgroup, &from->ldapgroup },
	};

	for (i = 0; i < sizeof texts / sizeof texts[0]; i++) {
		*texts[i].to = (struct buf){ 0 };
		buf_add_slice(texts[i].to, buf_slice(texts[i].from));
	}
}

void
room_config_free(struct room_config *config)
{
	size_t i;
	struct buf *texts[] = { &config->name, &config->description, &config->lang, &config->contact_ids,
		&config->subject_lang, &config->password, &config->pubsub, &config->ldapgroup };

	for (i = 0; i < sizeof texts / sizeof texts[0]; i++)
		buf_free(texts[i]);
}

void
settings_of(const struct room *room, struct settings *s)
{
	const struct affiliate *affiliate;

	*s = (struct settings){ .domain = room->domain, .config = room->config };
	texts_copy(&s->config, &room->config);
	TAILQ_FOREACH (affiliate, &room->affiliates, all) {
		struct buf *list = affiliate->affiliation == AFFILIATION_OWNER ? &s->owners :
		    affiliate->affiliation == AFFILIATION_ADMIN ? &s->admins : NULL;

		if (list == NULL)
			continue;
		buf_add(list, affiliate->jid, affiliate->jid_len);
		buf_add_char(list, '\n');
	}
}

void
settings_free(struct settings *s)
{
	room_config_free(&s->config);
	buf_free(&s->admins);
	buf_free(&s->owners);
}

const char *
settings_check(const struct settings *s)
{
	if (s->config.password_protected && buf_len(&s->config.password) == 0)
		return "a room that is protected by a password needs a password";
	return NULL;
}

/* The words of a default. */
static size_t
words_read(const char *text, struct slice *words, size_t most)
{
	size_t count = 0;

	while (*text != '\0' && count < most) {
		size_t len = strcspn(text, " ");

		words[count++] = slice_of(text, len);
		text += len;
		text += strspn(text, " ");
	}
	return count;
}

void
room_config_default(struct room_config *config, const struct domain *domain)
{
	struct settings s = { .domain = domain };
	const struct setting *setting;
	struct slice words[8];

	for (setting = setting_table; setting->name != NULL; setting++) {
		const char *why = setting_read(setting, &s, words,
		    words_read(setting->fallback, words, sizeof words / sizeof words[0]));

		ASSERT(why == NULL);
	}
	*config = s.config;
	buf_free(&s.admins);
	buf_free(&s.owners);
}

/* -- forms -- */

void
form_config(const struct room *room, struct buf *out)
{
	const struct setting *setting;
	struct settings s;
	struct buf lines = { 0 }, title = { 0 };

	settings_of(room, &s);
	buf_printf(&title, "Configuration of %.*s", SLICE_ARG(room_jid(room)));
	buf_add_char(&title, '\0');
	form_open(out, "form", NS_MUC_ROOMCONFIG, title.bytes, room->locked ?
	    "The room is new, and waits for its configuration: submit this form, or cancel it to give the "
	    "room up." : "Change what shall be different.");
	for (setting = setting_table; setting->name != NULL; setting++) {
		struct slice rest, line;

		buf_clear(&lines);
		setting->write(&s, setting, &lines);
		form_field_open(out, setting->var, setting->type, setting->label);
		rest = buf_slice(&lines);
		while (slice_line(&rest, &line))
			xml_add_element(out, "value", line);
		if (setting->choices != NULL)
			setting->choices(&s, setting, out);
		form_field_close(out);
	}
	form_close(out);
	buf_free(&lines);
	buf_free(&title);
	settings_free(&s);
}

/* Fields of the configuration that everybody may know, under their own names. */
static void
info_settings(const struct settings *s, struct buf *out)
{
	static const char *const names[] = { "roomname", "changesubject", "allowinvites", "allowpm",
		"maxhistoryfetch", "lang", "pubsub" };
	struct buf lines = { 0 };
	size_t i;

	for (i = 0; i < sizeof names / sizeof names[0]; i++) {
		const struct setting *setting = setting_find(slice_string(names[i]));

		buf_clear(&lines);
		setting->write(s, setting, &lines);
		if (buf_len(&lines) != 0)
			form_field(out, setting->var, setting->type, setting->label, buf_slice(&lines));
	}
	buf_free(&lines);
}

/* The text of the subject. */
static void
info_subject(const struct room *room, struct buf *out)
{
	struct buf scratch = { 0 };
	struct xmlin_element subject;
	struct slice text;

	if (!xmlin_find(buf_slice(&room->subject), SLICE(NS_CLIENT), "subject", NS_CLIENT, &subject))
		return;
	if (xmlin_text(&subject, &scratch, &text) == OK && text.len != 0) {
		form_field_open(out, "muc#roominfo_subject", "text-single", "Subject");
		xml_add_element(out, "value", text);
		form_field_close(out);
	}
	buf_free(&scratch);
}

/* A field of one value, when there is one. */
static void
info_text(struct buf *out, const char *var, const char *type, const char *label, struct slice text)
{
	if (text.len != 0)
		form_field(out, var, type, label, text);
}

void
form_info(const struct room *room, bool inside, struct buf *out)
{
	char hash[HATS_HASH_SIZE];
	struct buf number = { 0 };
	struct settings s;

	settings_of(room, &s);
	form_open(out, "result", NS_MUC_ROOMINFO, NULL, NULL);
	info_text(out, "muc#roominfo_description", "text-single", "Description",
	    buf_slice(&s.config.description));
	info_text(out, "muc#roominfo_contactjid", "jid-multi", "Whom to ask about the room",
	    buf_len(&s.config.contact_ids) != 0 ? buf_slice(&s.config.contact_ids) :
	    s.config.non_anonymous ? buf_slice(&s.owners) : SLICE(""));
	info_text(out, "muc#roominfo_lang", "text-single", "Language", buf_slice(&s.config.lang));
	info_text(out, "muc#roominfo_ldapgroup", "text-single", "Group", buf_slice(&s.config.ldapgroup));
	if (inside)
		info_subject(room, out);
	form_field(out, "muc#roominfo_subjectmod", "boolean", "Participants may change the subject",
	    s.config.change_subject ? SLICE("1") : SLICE("0"));
	buf_add_number(&number, room->occupant_count);
	if (inside)
		form_field(out, "muc#roominfo_occupants", "text-single", "Occupants", buf_slice(&number));
	if (buf_len(&room->avatar) != 0)
		form_field(out, "muc#roominfo_avatarhash", "text-multi", "Hash of the avatar",
		    buf_slice(&room->avatar));
	info_settings(&s, out);
	if (!TAILQ_EMPTY(&room->hats)) {
		hats_hash(room, hash);
		form_field(out, "hats#hash", "text-single", "Hash of the hats", slice_string(hash));
	}
	form_close(out);
	buf_free(&number);
	settings_free(&s);
}
