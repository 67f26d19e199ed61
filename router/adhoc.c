/*
 * adhoc.c: the commands of administrators' clients: ad-hoc commands (XEP-0050) on our domains, with
 * the service administration set (XEP-0133), and invitations (XEP-0401).
 *
 * They are the commands of aldisctl(8), which control.c runs. Who may is the configuration's matter:
 * those of `admins` may give all of them; those of a domain's `admins` only what XEP-0133 has, about
 * accounts of that domain. Who may invite says the domain's `invite`; all that others than
 * administrators can do here is to invite to themselves. The address of who asks was stamped by the router. A payload is read
 * only when it comes from one of these.
 *
 * A form has one stage and is made of the command, so nothing is kept between its request and its
 * submission. What is kept is who waits for a command that a daemon works on; control.c has the time
 * limit. Should the router die meanwhile, there is no answer, and the command is not done twice.
 */
#include "router.h"

#include <gnutls/crypto.h>
#include <stdio.h>
#include <stdlib.h>

#include "counter.h"
#include "log.h"
#include "mem.h"
#include "ns.h"
#include "xmlout.h"

#define RUNS_MAX    64  /* commands under way */
#define NODE_OWN    "urn:x-aldis:command#"
#define NODE_ADMIN  NS_ADMIN "#"

#define ROOM_COMMAND "room " /* what commands about rooms begin with */

/* RIGHT_INVITE: to invite contacts only; RIGHT_ROOMS: on a domain with rooms, commands about them. */
enum right { RIGHT_NONE, RIGHT_INVITE, RIGHT_ROOMS, RIGHT_DOMAIN, RIGHT_ALL };
enum inviters { INVITERS_NOBODY, INVITERS_ADMINS, INVITERS_ALL };

static struct map *admins;        /* of everything: bare JIDs */
static struct map *domain_admins; /* "DOMAIN JID" */
static struct map *inviters;      /* domain -> "DOMAIN WORD", the word of its `invite` */

/* -- who may ----------------------------------------------------------------------------------- */

static void
names_free(struct map **names)
{
	size_t at = 0;
	char *name;

	while (*names != NULL && (name = map_each(*names, &at)) != NULL)
		free(name);
	map_free(names);
}

/* Adds the accounts that an option names. */
static void
names_read(struct map *names, const struct config *config, const char *section, const char *domain)
{
	char text[JID_MAX + 1], *name, *old;
	struct slice value;
	struct buf key = { 0 };
	struct jid jid;
	size_t i;

	for (i = 0; config_list(config, section, domain, "admins", i, &value); i++) {
		if (jid_prepare(value, text, &jid) != 0)
			continue;
		buf_clear(&key);
		if (domain[0] != '\0')
			buf_printf(&key, "%s ", domain);
		buf_add_slice(&key, jid_bare(&jid));
		name = slice_dup(buf_slice(&key));
		old = map_remove(names, slice_string(name));
		free(old);
		map_put(names, slice_string(name), name);
	}
	buf_free(&key);
}

static enum inviters
inviters_of(struct slice domain)
{
	struct slice text = slice_string(map_get(inviters, domain));
	struct slice word = slice_part(text, domain.len + 1, SIZE_MAX);

	if (slice_is(word, "all"))
		return INVITERS_ALL;
	return slice_is(word, "admins") ? INVITERS_ADMINS : INVITERS_NOBODY;
}

static void
inviters_read(struct slice domain, struct slice word)
{
	struct buf text = { 0 };
	char *line;

	buf_printf(&text, "%.*s %.*s", SLICE_ARG(domain), SLICE_ARG(word));
	line = slice_dup(buf_slice(&text));
	free(map_put(inviters, slice_of(line, domain.len), line));
	buf_free(&text);
}

void
adhoc_configure(const struct config *config)
{
	struct slice title;
	char *domain;
	size_t i;

	names_free(&admins);
	names_free(&domain_admins);
	names_free(&inviters);
	inviters = map_new();
	admins = map_new();
	domain_admins = map_new();
	names_read(admins, config, "", "");
	for (i = 0; config_title(config, "domain", i, &title); i++) {
		domain = slice_dup(title);
		names_read(domain_admins, config, "domain", domain);
		inviters_read(title, config_text(config, "domain", domain, "invite"));
		free(domain);
	}
	for (i = 0; config_title(config, "rooms", i, &title); i++) {
		domain = slice_dup(title);
		names_read(domain_admins, config, "rooms", domain);
		free(domain);
	}
}

static struct slice
domain_of(struct slice bare)
{
	struct jid jid;

	jid_split(bare, &jid);
	return jid.domain;
}

static enum right
right_of(const struct frame *f, const struct session *sender)
{
	struct slice domain = jid_bare_of(f->to);
	bool local = registry_local_domain(domain);
	struct buf key = { 0 };
	enum right right = RIGHT_NONE;

	if (sender == NULL || sender->account == NULL)
		return RIGHT_NONE;
	if (map_get(admins, account_jid(sender->account)) != NULL)
		return local ? RIGHT_ALL : RIGHT_ROOMS;
	buf_printf(&key, "%.*s %.*s", SLICE_ARG(domain), SLICE_ARG(account_jid(sender->account)));
	if (map_get(domain_admins, buf_slice(&key)) != NULL)
		right = local ? RIGHT_DOMAIN : RIGHT_ROOMS;
	buf_free(&key);
	if (right == RIGHT_NONE && inviters_of(domain) == INVITERS_ALL &&
	    slice_equal(domain_of(account_jid(sender->account)), domain))
		right = RIGHT_INVITE;
	return right;
}

/* -- the commands of XEP-0133 ------------------------------------------------------------------ */

/* A command under way, for whoever asked. */
struct run {
	struct buf head;             /* the request without its payload */
	const struct admin_command *admin; /* NULL: one of our own */
	enum right right;
	struct buf text;             /* secret: commands to be given, each ended by a NUL */
	struct buf notes;            /* what to say about those that failed */
	unsigned failed;
};

static void result_done(struct run *run, json_t *result, struct buf *out);
static void result_number(struct run *run, json_t *result, struct buf *out);
static void result_list(struct run *run, json_t *result, struct buf *out);
static void result_invite(struct run *run, json_t *result, struct buf *out);

enum form { FORM_NONE, FORM_ACCOUNT, FORM_ACCOUNTS, FORM_ADD, FORM_PASSWORD, FORM_INVITE };

static const struct admin_command {
	const char *node, *label;
	const char *command;  /* its words, a line each */
	enum form form;
	bool domain;          /* the domain is its last word */
	const char *key;      /* of the rows of its result, which are sessions or accounts */
	const char *only;     /* the flag of a row that counts; NULL: all do */
	const char *var;      /* the field of its result */
	void (*result)(struct run *run, json_t *result, struct buf *out);
} admin_commands[] = {
	{ "add-user", "Add a user", "user\nadd", FORM_ADD, false, NULL, NULL, NULL, result_done },
	{ "delete-user", "Delete users", "user\ndel", FORM_ACCOUNTS, false, NULL, NULL, NULL,
	    result_done },
	{ "change-user-password", "Change a user's password", "user\npasswd", FORM_PASSWORD, false,
	    NULL, NULL, NULL, result_done },
	{ "end-user-session", "End users' sessions", "session\nkick", FORM_ACCOUNTS, false, NULL, NULL,
	    NULL, result_done },
	{ "user-stats", "Statistics of a user", "session\nlist", FORM_ACCOUNT, false, "session", NULL,
	    "onlineresources", result_list },
	{ "get-registered-users-num", "Number of registered users", "user\nlist", FORM_NONE, true,
	    "account", NULL, "registeredusersnum", result_number },
	{ "get-online-users-num", "Number of online users", "session\nlist", FORM_NONE, false, "session",
	    NULL, "onlineusersnum", result_number },
	{ "get-active-users-num", "Number of active users", "session\nlist", FORM_NONE, false, "session",
	    "available", "activeusersnum", result_number },
	{ "get-registered-users-list", "List of registered users", "user\nlist", FORM_NONE, true,
	    "account", NULL, "registereduserjids", result_list },
	{ "get-online-users-list", "List of online users", "session\nlist", FORM_NONE, false, "session",
	    NULL, "onlineuserjids", result_list },
	{ "get-active-users-list", "List of active users", "session\nlist", FORM_NONE, false, "session",
	    "available", "activeuserjids", result_list },
};

#define ADMIN_COMMANDS (sizeof admin_commands / sizeof *admin_commands)

/* Those of XEP-0401, which have nodes of their own. */
static const struct admin_command invite_commands[] = {
	{ NS_INVITE "#invite", "Invite a contact", "invite", FORM_NONE, false, NULL, NULL, NULL,
	    result_invite },
	{ NS_INVITE "#create-account", "Invite to an account", "invite", FORM_INVITE, false, NULL, NULL,
	    NULL, result_invite },
};

#define INVITE_CONTACT (&invite_commands[0])
#define INVITE_ACCOUNT (&invite_commands[1])

static const struct {
	enum form form;
	struct adhoc_field field;
} admin_fields[] = {
	{ FORM_ACCOUNT, { "accountjid", "The address of the account", "jid-single", true } },
	{ FORM_ACCOUNTS, { "accountjids", "The addresses of the accounts", "jid-multi", true } },
	{ FORM_ADD, { "accountjid", "The address of the account", "jid-single", true } },
	{ FORM_ADD, { "password", "The password", "text-private", true } },
	{ FORM_ADD, { "password-verify", "The password again", "text-private", true } },
	{ FORM_PASSWORD, { "accountjid", "The address of the account", "jid-single", true } },
	{ FORM_PASSWORD, { "password", "The password", "text-private", true } },
	{ FORM_INVITE, { "username", "The name of the account", "text-single", false } },
	{ FORM_INVITE, { "roster-subscription", "Become contacts", "boolean", false } },
};

/* -- nodes ------------------------------------------------------------------------------------- */

/* Whether who has a right may give a command of our own. */
static bool
may_give(enum right right, struct slice name)
{
	return right == RIGHT_ALL || (right == RIGHT_ROOMS && slice_starts(name, SLICE(ROOM_COMMAND)));
}

/* A command that a node names. */
struct target {
	enum right right;                  /* of who asks */
	const struct admin_command *admin; /* NULL: one of our own */
	struct slice node;                 /* looked for */
	struct slice name, arguments, help;
	bool found;
};

/* The node of one of our own commands, its words joined by hyphens. */
static void
node_write(struct slice name, struct buf *out)
{
	size_t i;

	buf_add_string(out, NODE_OWN);
	for (i = 0; i < name.len; i++)
		buf_add_char(out, name.ptr[i] == ' ' ? '-' : name.ptr[i]);
}

static void
target_each(void *arg, struct slice name, struct slice arguments, struct slice help)
{
	struct target *t = arg;
	struct buf node = { 0 };

	node_write(name, &node);
	if (!t->found && may_give(t->right, name) && slice_equal(buf_slice(&node), t->node)) {
		t->found = true;
		t->name = name;
		t->arguments = arguments;
		t->help = help;
	}
	buf_free(&node);
}

/* Whether who asks may give this command of XEP-0401 on this domain. One invites to oneself in one's
 * own domain only: that is where the account is made. */
static bool
invite_allowed(const struct admin_command *command, enum right right, const struct frame *f)
{
	struct slice domain = jid_bare_of(f->to);

	if (right == RIGHT_NONE || inviters_of(domain) == INVITERS_NOBODY)
		return false;
	return command == INVITE_CONTACT ? slice_equal(domain_of(jid_bare_of(f->from)), domain) :
	    right >= RIGHT_DOMAIN;
}

static bool
invite_find(const struct frame *f, struct slice node, enum right right, struct target *t)
{
	const struct admin_command *command = INVITE_CONTACT;

	for (; command <= INVITE_ACCOUNT; command++) {
		if (!slice_is(node, command->node) || !invite_allowed(command, right, f))
			continue;
		t->admin = command;
		t->help = slice_string(command->label);
		t->found = true;
	}
	return t->found;
}

/* Finds what a node names, among what there is for who asks. */
static bool
target_find(const struct frame *f, enum right right, struct target *t)
{
	struct slice prefix = SLICE(NODE_ADMIN), node = f->node;
	size_t i;

	*t = (struct target){ .node = node, .right = right };
	if (invite_find(f, node, right, t) || right < RIGHT_ROOMS)
		return t->found;
	if (slice_starts(node, prefix) && right >= RIGHT_DOMAIN) {
		for (i = 0; i < ADMIN_COMMANDS && !t->found; i++) {
			if (!slice_is(slice_part(node, prefix.len, SIZE_MAX), admin_commands[i].node))
				continue;
			t->admin = &admin_commands[i];
			t->help = slice_string(t->admin->label);
			t->found = true;
		}
	} else {
		control_each(target_each, t);
	}
	return t->found;
}

/* Takes the next word off the front of a run of words. */
static bool
word_next(struct slice *rest, struct slice *word)
{
	const char *space;

	while (rest->len != 0 && rest->ptr[0] == ' ')
		*rest = slice_part(*rest, 1, SIZE_MAX);
	if (rest->len == 0)
		return false;
	space = memchr(rest->ptr, ' ', rest->len);
	*word = slice_part(*rest, 0, space != NULL ? (size_t)(space - rest->ptr) : rest->len);
	*rest = slice_part(*rest, word->len, SIZE_MAX);
	return true;
}

/* Makes a field of a word of a command's arguments: "JID", or "[JID]" when it may be left out, or "JID..." when
 * there may be several. What has another form becomes one field for all words. */
static bool
field_make(struct slice word, struct adhoc_field *field)
{
	bool optional = word.len > 2 && word.ptr[0] == '[' && word.ptr[word.len - 1] == ']', several;
	size_t i;

	if (optional)
		word = slice_part(word, 1, word.len - 2);
	several = word.len > 3 && memcmp(word.ptr + word.len - 3, "...", 3) == 0;
	if (several)
		word = slice_part(word, 0, word.len - 3);
	if (word.len >= sizeof field->var)
		return false;
	*field = (struct adhoc_field){ .type = several ? "text-multi" : "text-single", .required = !optional };
	for (i = 0; i < word.len; i++) {
		if (word.ptr[i] < 'A' || word.ptr[i] > 'Z')
			return false;
		field->var[i] = (char)(word.ptr[i] - 'A' + 'a');
	}
	if (slice_is(word, "PASSWORD"))
		field->type = "text-private";
	field->label = field->var;
	return true;
}

static void
form_make(const struct target *t, struct adhoc_form *form)
{
	struct slice rest = t->arguments, word;
	size_t i;

	*form = (struct adhoc_form){ .title = t->help };
	if (t->admin != NULL) {
		form->form_type = t->admin == INVITE_ACCOUNT ? NULL : NS_ADMIN;
		for (i = 0; i < sizeof admin_fields / sizeof *admin_fields; i++) {
			if (admin_fields[i].form == t->admin->form)
				form->fields[form->count++] = admin_fields[i].field;
		}
		return;
	}
	while (word_next(&rest, &word)) {
		if (t->right == RIGHT_ROOMS && slice_is(word, "[DOMAIN]"))
			continue; /* it is known */
		if (form->count < ADHOC_FIELDS_MAX && field_make(word, &form->fields[form->count])) {
			form->count++;
			continue;
		}
		form->fields[0] = (struct adhoc_field){ "arguments", "arguments", "text-single", false };
		form->count = 1;
		return;
	}
}

/* -- service discovery ------------------------------------------------------------------------- */

static void
answer(const struct frame *f, struct slice payload)
{
	struct frame reply;

	stanza_result(f, payload, &reply);
	route_reply(&reply);
}

bool
adhoc_info(const struct frame *f, struct session *sender)
{
	enum right right = right_of(f, sender);
	bool list = slice_is(f->node, NS_COMMANDS);
	struct buf out = { 0 };
	struct target t = { .help = SLICE("Commands") };

	if (!list && right < RIGHT_ROOMS && (slice_starts(f->node, SLICE(NODE_ADMIN)) ||
	    slice_starts(f->node, SLICE(NODE_OWN)))) {
		route_error(f, STANZA_ERROR_FORBIDDEN, NULL);
		return true;
	}
	if (!list && !target_find(f, right, &t))
		return false;
	xml_open(&out, "query", SLICE(NS_DISCO_INFO));
	xml_add_attribute(&out, "node", f->node);
	buf_printf(&out, "><identity category='automation' type='%s'",
	    list ? "command-list" : "command-node");
	xml_add_attribute(&out, "name", t.help);
	buf_add_string(&out, "/><feature var='" NS_COMMANDS "'/>");
	if (!list)
		buf_add_string(&out, "<feature var='" NS_DATA "'/>");
	buf_add_string(&out, "</query>");
	answer(f, buf_slice(&out));
	buf_free(&out);
	return true;
}

struct items {
	struct buf *out;
	struct slice jid;
	enum right right;
};

static void
item_write(const struct items *items, struct slice node, struct slice label)
{
	buf_add_string(items->out, "<item");
	xml_add_attribute(items->out, "jid", items->jid);
	xml_add_attribute(items->out, "node", node);
	xml_add_attribute(items->out, "name", label);
	buf_add_string(items->out, "/>");
}

static void
item_each(void *arg, struct slice name, struct slice arguments, struct slice help)
{
	const struct items *items = arg;
	struct buf node = { 0 };

	(void)arguments;
	if (!may_give(items->right, name))
		return;
	node_write(name, &node);
	item_write(items, buf_slice(&node), help);
	buf_free(&node);
}

static void
invite_items(const struct frame *f, enum right right, const struct items *items)
{
	const struct admin_command *command = INVITE_CONTACT;

	for (; command <= INVITE_ACCOUNT; command++) {
		if (invite_allowed(command, right, f))
			item_write(items, slice_string(command->node), slice_string(command->label));
	}
}

bool
adhoc_items(const struct frame *f, struct session *sender)
{
	enum right right = right_of(f, sender);
	struct buf out = { 0 };
	struct items items = { &out, jid_bare_of(f->to), right };
	struct target t;
	size_t i, content;

	if (!slice_is(f->node, NS_COMMANDS) && !target_find(f, right, &t))
		return false;
	xml_open(&out, "query", SLICE(NS_DISCO_ITEMS));
	xml_add_attribute(&out, "node", f->node);
	buf_add_char(&out, '>');
	content = buf_len(&out);
	if (slice_is(f->node, NS_COMMANDS)) { /* a command has no items */
		for (i = 0; i < ADMIN_COMMANDS && right >= RIGHT_DOMAIN; i++) {
			char node[sizeof NODE_ADMIN + 32];

			snprintf(node, sizeof node, NODE_ADMIN "%s", admin_commands[i].node);
			item_write(&items, slice_string(node), slice_string(admin_commands[i].label));
		}
		invite_items(f, right, &items);
		control_each(item_each, &items);
	}
	adhoc_close(&out, content, "query");
	answer(f, buf_slice(&out));
	buf_free(&out);
	return true;
}

/* -- answers to commands ----------------------------------------------------------------------- */

/* "<command ...>" of an answer; session: what the client has given, or empty for a new one. Returns
 * where its content begins. */
static size_t
command_open(const struct frame *f, const char *status, struct slice session, struct buf *out)
{
	unsigned char random[8];
	char made[2 * sizeof random + 1];
	size_t i;

	if (session.len == 0) {
		gnutls_rnd(GNUTLS_RND_NONCE, random, sizeof random);
		for (i = 0; i < sizeof random; i++)
			snprintf(made + 2 * i, 3, "%02x", random[i]);
		session = slice_string(made);
	}
	xml_open(out, "command", SLICE(NS_COMMANDS));
	xml_add_attribute(out, "node", f->node);
	xml_add_attribute(out, "sessionid", session);
	xml_add_attribute(out, "status", slice_string(status));
	buf_add_char(out, '>');
	return buf_len(out);
}

/* bad-request with a condition of XEP-0050. */
static void
bad_request(const struct frame *f, const char *condition)
{
	struct buf payload = { 0 };
	struct frame reply;

	buf_printf(&payload, "<error type='modify'><bad-request xmlns='" NS_STANZAS "'/>"
	    "<%s xmlns='" NS_COMMANDS "'/></error>", condition);
	stanza_result(f, SLICE(""), &reply);
	reply.subtype = TYPE_ERROR;
	reply.flags = FLAG_ERROR;
	reply.name = SLICE("error");
	reply.ns = SLICE(NS_CLIENT);
	reply.payload = buf_slice(&payload);
	COUNT(bounced);
	route_reply(&reply);
	buf_free(&payload);
}

/* -- running ----------------------------------------------------------------------------------- */

static unsigned runs;

static void
run_free(struct run *run)
{
	buf_free(&run->head);
	buf_free(&run->text);
	buf_free(&run->notes);
	free(run);
	runs--;
}

static void
result_done(struct run *run, json_t *result, struct buf *out)
{
	(void)run;
	(void)result;
	adhoc_note_write("info", SLICE("Done"), out);
}

/* The row's account, or its whole address for statistics; absent when it does not count. */
static struct slice
row_take(const struct run *run, json_t *row, struct slice domain)
{
	const struct admin_command *admin = run->admin;
	json_t *value = json_object_get(row, admin->key);
	struct slice jid = slice_of(json_string_value(value), json_string_length(value));
	struct jid parts;

	if (jid.ptr == NULL || jid_parse(jid, &parts) != 0 ||
	    (admin->only != NULL && !json_is_true(json_object_get(row, admin->only))))
		return SLICE_NONE;
	if (admin->form == FORM_ACCOUNT)
		return parts.resource;
	return slice_equal(parts.domain, domain) ? jid_bare(&parts) : SLICE_NONE;
}

/* Accounts once each, however many sessions they have. */
static json_t *
rows_take(struct run *run, json_t *result)
{
	json_t *set = json_object();
	struct frame f;
	size_t i;

	ASSERT(frame_read(buf_slice(&run->head), &f) == 0);
	for (i = 0; i < json_array_size(result); i++) {
		struct slice name = row_take(run, json_array_get(result, i), jid_bare_of(f.to));
		char *key = slice_dup(name);

		if (key != NULL)
			json_object_set_new(set, key, json_true());
		free(key);
	}
	return set;
}

static void
field_open(const struct run *run, struct buf *out)
{
	buf_printf(out, "<x xmlns='" NS_DATA "' type='result'><field var='FORM_TYPE' type='hidden'>"
	    "<value>" NS_ADMIN "</value></field><field var='%s'", run->admin->var);
	xml_add_attribute(out, "label", slice_string(run->admin->label));
	buf_add_char(out, '>');
}

static void
result_number(struct run *run, json_t *result, struct buf *out)
{
	json_t *set = rows_take(run, result);

	field_open(run, out);
	buf_printf(out, "<value>%zu</value></field></x>", json_object_size(set));
	json_decref(set);
}

static void
result_list(struct run *run, json_t *result, struct buf *out)
{
	json_t *set = rows_take(run, result), *value;
	bool more = false;
	const char *name;
	size_t content;

	field_open(run, out);
	content = buf_len(out);
	json_object_foreach(set, name, value) {
		if (buf_len(out) > ADHOC_RESULT_MAX) {
			more = true;
			break;
		}
		buf_add_string(out, "<value>");
		adhoc_text_write(slice_string(name), out);
		buf_add_string(out, "</value>");
	}
	adhoc_close(out, content, "field");
	buf_add_string(out, "</x>");
	if (more)
		adhoc_note_write("warn", SLICE("There is more than fits into an answer"), out);
	json_decref(set);
}

/* The fields of an invitation (XEP-0401 section 5.1). */
static void
result_invite(struct run *run, json_t *result, struct buf *out)
{
	static const char *const vars[] = { "uri", "landing-url", "expire" };
	size_t i;

	(void)run;
	buf_add_string(out, "<x xmlns='" NS_DATA "' type='result'><field var='FORM_TYPE' type='hidden'>"
	    "<value>" NS_INVITE "#invitation</value></field>");
	for (i = 0; i < sizeof vars / sizeof *vars; i++) {
		const char *text = json_string_value(json_object_get(result, vars[i]));

		if (text == NULL)
			continue;
		buf_printf(out, "<field var='%s' type='text-single'><value>", vars[i]);
		adhoc_text_write(slice_string(text), out);
		buf_add_string(out, "</value></field>");
	}
	buf_add_string(out, "</x>");
}

/* All its commands have been given; result: of the last, NULL when it failed. */
static void
run_finish(struct run *run, json_t *result)
{
	struct buf out = { 0 };
	struct frame f;
	size_t content;

	ASSERT(frame_read(buf_slice(&run->head), &f) == 0);
	content = command_open(&f, "completed", f.resource, &out);
	if (result != NULL && run->failed == 0) {
		if (run->admin != NULL)
			run->admin->result(run, result, &out);
		else
			adhoc_result_write(result, &out);
	}
	buf_add_slice(&out, buf_slice(&run->notes));
	adhoc_close(&out, content, "command");
	f.resource = SLICE_NONE;
	answer(&f, buf_slice(&out));
	buf_free(&out);
	run_free(run);
}

static void run_next(struct run *run, json_t *result);

static void
run_done(void *arg, struct slice problem, json_t *result)
{
	struct run *run = arg;

	if (problem.ptr != NULL) {
		run->failed++;
		adhoc_note_write("error", problem, &run->notes);
	}
	daemon_dirty();
	run_next(run, problem.ptr != NULL ? NULL : result);
}

/* Gives the next command, or answers. */
static void
run_next(struct run *run, json_t *result)
{
	struct slice rest = buf_slice(&run->text), text;
	struct buf copy = { .secret = true };

	if (rest.len == 0) {
		run_finish(run, result);
		return;
	}
	text = slice_part(rest, 0, strnlen(rest.ptr, rest.len));
	buf_add_slice(&copy, text);
	buf_consume(&run->text, text.len + 1);
	control_run(buf_slice(&copy), run_done, run); /* run may be gone afterwards */
	buf_free(&copy);
}

/* -- from a form to commands ------------------------------------------------------------------- */

/* An account that who asks may administer; it is prepared into out. */
static bool
account_take(const struct run *run, struct slice domain, struct slice value, char out[JID_MAX + 1],
    struct slice *account)
{
	struct jid jid;

	if (jid_prepare(value, out, &jid) != 0 || jid.local.ptr == NULL)
		return false;
	*account = jid.full;
	return run->right == RIGHT_ALL || slice_equal(jid.domain, domain);
}

/* The command of an invitation, likewise. */
static const char *
invite_text(struct run *run, const struct frame *f, const struct adhoc_request *r)
{
	struct slice inviter = jid_bare_of(f->from), domain = jid_bare_of(f->to), value;
	bool account = run->admin == INVITE_ACCOUNT;
	bool contact = !account || (adhoc_value(r, "roster-subscription", 0, &value) &&
	    (slice_is(value, "1") || slice_is(value, "true")));

	buf_printf(&run->text, "%s\ndomain=%.*s", run->admin->command, SLICE_ARG(domain));
	if (contact)
		buf_printf(&run->text, "\ncontact=%.*s", SLICE_ARG(inviter));
	if (account) {
		buf_add_string(&run->text, "\naccount=");
		if (adhoc_value(r, "username", 0, &value))
			buf_add_slice(&run->text, value);
	}
	buf_add_char(&run->text, '\0');
	return NULL;
}

/* Why a form of XEP-0133 cannot become commands; NULL: it has. */
static const char *
admin_text(struct run *run, const struct frame *f, const struct adhoc_request *r)
{
	const char *var = run->admin->form == FORM_ACCOUNTS ? "accountjids" : "accountjid";
	struct slice domain = jid_bare_of(f->to), value, account, password, again;
	char prepared[JID_MAX + 1];
	size_t i;

	if (run->admin == INVITE_CONTACT || run->admin == INVITE_ACCOUNT)
		return invite_text(run, f, r);
	if (run->admin->form == FORM_NONE) {
		buf_add_string(&run->text, run->admin->command);
		if (run->admin->domain) {
			buf_add_char(&run->text, '\n');
			buf_add_slice(&run->text, domain);
		}
		buf_add_char(&run->text, '\0');
		return NULL;
	}
	for (i = 0; adhoc_value(r, var, i, &value); i++) {
		if (!account_take(run, domain, value, prepared, &account))
			return "This is not an account that you administer";
		buf_add_string(&run->text, run->admin->command);
		buf_add_char(&run->text, '\n');
		buf_add_slice(&run->text, account);
		if (run->admin->form == FORM_ADD || run->admin->form == FORM_PASSWORD) {
			if (!adhoc_value(r, "password", 0, &password) || password.len == 0)
				return "A password is needed";
			if (run->admin->form == FORM_ADD && (!adhoc_value(r, "password-verify", 0, &again) ||
			    !slice_equal(password, again)))
				return "The two passwords are not the same";
			buf_add_char(&run->text, '\n');
			buf_add_slice(&run->text, password);
		}
		buf_add_char(&run->text, '\0');
		if (run->admin->form != FORM_ACCOUNTS)
			return NULL;
	}
	return i == 0 ? "An address is needed" : NULL;
}

/* Appends the values of a field as words. */
static void
own_words(struct run *run, const struct adhoc_field *field, const struct adhoc_request *r)
{
	bool several = strcmp(field->type, "text-multi") == 0;
	struct slice value, word;
	size_t i;

	for (i = 0; adhoc_value(r, field->var, i, &value) && (i == 0 || several); i++) {
		if (several && value.len == 0)
			continue;
		if (strcmp(field->var, "arguments") != 0) {
			buf_add_char(&run->text, '\n');
			buf_add_slice(&run->text, value);
			continue;
		}
		while (word_next(&value, &word)) {
			buf_add_char(&run->text, '\n');
			buf_add_slice(&run->text, word);
		}
	}
}

/* On a domain with rooms a command is about one of that domain, and a list is that of the domain. */
static const char *
room_check(struct run *run, struct slice domain, const struct adhoc_form *form, const struct adhoc_request *r)
{
	char out[JID_MAX + 1];
	struct slice value;
	struct jid jid;

	if (form->count == 0) {
		buf_add_char(&run->text, '\n');
		buf_add_slice(&run->text, domain);
		return NULL;
	}
	if (strcmp(form->fields[0].var, "room") != 0 ||
	    !adhoc_value(r, "room", 0, &value) || jid_prepare(value, out, &jid) != 0 ||
	    !slice_equal(jid.domain, domain))
		return "This is not a room of this domain";
	return NULL;
}

/* Likewise of a form of our own commands: what is left out must be last. */
static const char *
own_text(struct run *run, struct slice domain, const struct target *t, const struct adhoc_form *form,
    const struct adhoc_request *r)
{
	struct slice rest = t->name, word;
	bool left_out = false;
	const char *fault;
	size_t i;

	while (word_next(&rest, &word)) {
		if (buf_len(&run->text) != 0)
			buf_add_char(&run->text, '\n');
		buf_add_slice(&run->text, word);
	}
	fault = run->right == RIGHT_ROOMS ? room_check(run, domain, form, r) : NULL;
	if (fault != NULL)
		return fault;
	for (i = 0; i < form->count; i++) {
		struct slice value;
		bool given = adhoc_value(r, form->fields[i].var, 0, &value) && value.len != 0;

		if ((!given && form->fields[i].required) || (given && left_out))
			return "Something is missing";
		left_out = !given;
		if (given)
			own_words(run, &form->fields[i], r);
	}
	buf_add_char(&run->text, '\0');
	return NULL;
}

/* Keeps of a request what its answer needs; the session's id in `resource`, which a STANZA has not. */
static void
head_keep(struct run *run, const struct frame *f, struct slice session)
{
	struct frame head = *f;

	head.payload = SLICE_NONE;
	head.resource = session;
	head.flags = 0;
	frame_write(&head, &run->head);
}

static void
run_begin(const struct frame *f, enum right right, const struct target *t,
    const struct adhoc_form *form, const struct adhoc_request *r)
{
	struct run *run;
	const char *problem;

	if (runs >= (right == RIGHT_INVITE ? RUNS_MAX / 2 : RUNS_MAX)) {
		COUNT(adhoc_refused);
		route_error(f, STANZA_ERROR_RESOURCE_CONSTRAINT, "Too many commands are under way");
		return;
	}
	run = mem_alloc(sizeof *run);
	runs++;
	run->text.secret = true;
	run->admin = t->admin;
	run->right = right;
	head_keep(run, f, buf_slice(&r->session));
	problem = t->admin != NULL ? admin_text(run, f, r) : own_text(run, jid_bare_of(f->to), t, form, r);
	if (problem != NULL) {
		buf_clear(&run->text);
		run->failed++;
		adhoc_note_write("error", slice_string(problem), &run->notes);
	} else {
		log_info("command of a client", "node=%s by=%s", log_quote(f->node), log_quote(f->from));
	}
	run_next(run, NULL);
}

/* Answers a request whose form is still to be filled in, or that gives it up. */
static void
form_answer(const struct frame *f, const struct adhoc_form *form, const struct adhoc_request *r)
{
	bool cancel = r->action == ADHOC_CANCEL;
	struct buf out = { 0 };
	size_t content;

	content = command_open(f, cancel ? "canceled" : "executing", buf_slice(&r->session), &out);
	if (!cancel)
		adhoc_form_write(form, &out);
	adhoc_close(&out, content, "command");
	answer(f, buf_slice(&out));
	buf_free(&out);
}

void
adhoc_command(const struct frame *f, struct session *sender)
{
	enum right right = right_of(f, sender);
	struct adhoc_request r;
	struct adhoc_form form;
	const char *condition;
	struct target t;

	if (right == RIGHT_NONE || (right == RIGHT_INVITE && !slice_starts(f->node,
	    SLICE(NS_INVITE "#")))) {
		route_error(f, STANZA_ERROR_FORBIDDEN, NULL);
		return;
	}
	if (!target_find(f, right, &t)) {
		route_error(f, STANZA_ERROR_ITEM_NOT_FOUND, NULL);
		return;
	}
	condition = adhoc_request_read(f->payload, &r);
	form_make(&t, &form);
	/* There is one stage: some clients call what follows its form the next one. */
	if (condition == NULL && (r.action == ADHOC_PREV || (r.action == ADHOC_NEXT && !r.submitted)))
		condition = "bad-action";
	if (condition != NULL)
		bad_request(f, condition);
	else if (r.action == ADHOC_CANCEL || (form.count != 0 && !r.submitted))
		form_answer(f, &form, &r);
	else
		run_begin(f, right, &t, &form, &r);
	adhoc_request_free(&r);
}

bool
adhoc_serves(const struct frame *f, const struct session *sender)
{
	struct jid to;

	if (f->kind != STANZA_IQ || (f->subtype != TYPE_GET && f->subtype != TYPE_SET) || f->to.ptr == NULL ||
	    sender == NULL || sender->account == NULL)
		return false;
	jid_split(f->to, &to);
	if (to.local.ptr != NULL || to.resource.ptr != NULL)
		return false;
	if (slice_is(f->ns, NS_COMMANDS))
		return true;
	return f->subtype == TYPE_GET && (slice_is(f->ns, NS_DISCO_INFO) || slice_is(f->ns, NS_DISCO_ITEMS)) &&
	    (slice_is(f->node, NS_COMMANDS) || slice_starts(f->node, SLICE(NODE_OWN)));
}

void
adhoc_serve(const struct frame *f, struct session *sender)
{
	if (slice_is(f->ns, NS_COMMANDS) && f->subtype == TYPE_SET)
		adhoc_command(f, sender);
	else if (slice_is(f->ns, NS_COMMANDS))
		route_error(f, STANZA_ERROR_NOT_ALLOWED, NULL);
	else if (!(slice_is(f->ns, NS_DISCO_INFO) ? adhoc_info(f, sender) : adhoc_items(f, sender)))
		route_error(f, STANZA_ERROR_ITEM_NOT_FOUND, NULL);
}

void
adhoc_gauges(void)
{
	GAUGE(adhoc, runs);
}
