/*
 * adhoc_target.c: what ad-hoc commands there are: those of XEP-0133 and XEP-0401, which are made of ours, and all of
 * ours (control.c); what their nodes are called, and the form of each. Called by adhoc.c and adhoc_run.c.
 *
 * A form has one stage and is made of the command, so nothing is kept between its request and its submission.
 */
#include "adhoc.h"

#include "ns.h"

#define ROOM_COMMAND "room " /* what commands about rooms begin with */

/* -- the commands of XEP-0133 ------------------------------------------------------------------ */

const struct admin_command adhoc_commands[ADMIN_COMMANDS] = {
	{ "add-user", "Add a user", "user\nadd", FORM_ADD, false, NULL, NULL, NULL, RESULT_DONE },
	{ "delete-user", "Delete users", "user\ndel", FORM_ACCOUNTS, false, NULL, NULL, NULL,
	    RESULT_DONE },
	{ "change-user-password", "Change a user's password", "user\npasswd", FORM_PASSWORD, false,
	    NULL, NULL, NULL, RESULT_DONE },
	{ "end-user-session", "End users' sessions", "session\nkick", FORM_ACCOUNTS, false, NULL, NULL,
	    NULL, RESULT_DONE },
	{ "user-stats", "Statistics of a user", "session\nlist", FORM_ACCOUNT, false, "session", NULL,
	    "onlineresources", RESULT_LIST },
	{ "get-registered-users-num", "Number of registered users", "user\nlist", FORM_NONE, true,
	    "account", NULL, "registeredusersnum", RESULT_NUMBER },
	{ "get-online-users-num", "Number of online users", "session\nlist", FORM_NONE, false, "session",
	    NULL, "onlineusersnum", RESULT_NUMBER },
	{ "get-active-users-num", "Number of active users", "session\nlist", FORM_NONE, false, "session",
	    "available", "activeusersnum", RESULT_NUMBER },
	{ "get-registered-users-list", "List of registered users", "user\nlist", FORM_NONE, true,
	    "account", NULL, "registereduserjids", RESULT_LIST },
	{ "get-online-users-list", "List of online users", "session\nlist", FORM_NONE, false, "session",
	    NULL, "onlineuserjids", RESULT_LIST },
	{ "get-active-users-list", "List of active users", "session\nlist", FORM_NONE, false, "session",
	    "available", "activeuserjids", RESULT_LIST },
};

/* Those of XEP-0401, which have nodes of their own. */
const struct admin_command adhoc_invites[2] = {
	{ NS_INVITE "#invite", "Invite a contact", "invite", FORM_NONE, false, NULL, NULL, NULL,
	    RESULT_INVITE },
	{ NS_INVITE "#create-account", "Invite to an account", "invite", FORM_INVITE, false, NULL, NULL,
	    NULL, RESULT_INVITE },
};

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
bool
adhoc_may_give(enum right right, struct slice name)
{
	return right == RIGHT_ALL || (right == RIGHT_ROOMS && slice_starts(name, SLICE(ROOM_COMMAND)));
}

/* The node of one of our own commands, its words joined by hyphens. */
void
adhoc_node_write(struct slice name, struct buf *out)
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

	adhoc_node_write(name, &node);
	if (!t->found && adhoc_may_give(t->right, name) && slice_equal(buf_slice(&node), t->node)) {
		t->found = true;
		t->name = name;
		t->arguments = arguments;
		t->help = help;
	}
	buf_free(&node);
}

/* Whether who asks may give this command of XEP-0401 on this domain. One invites to oneself in one's
 * own domain only: that is where the account is made. */
bool
adhoc_invite_allowed(const struct admin_command *command, enum right right, const struct frame *f)
{
	struct slice domain = jid_bare_of(f->to);

	if (right == RIGHT_NONE || adhoc_inviters(domain) == INVITERS_NOBODY)
		return false;
	return command == INVITE_CONTACT ? slice_equal(adhoc_domain_of(jid_bare_of(f->from)), domain) :
	    right >= RIGHT_DOMAIN;
}

static bool
invite_find(const struct frame *f, struct slice node, enum right right, struct target *t)
{
	const struct admin_command *command = INVITE_CONTACT;

	for (; command <= INVITE_ACCOUNT; command++) {
		if (!slice_is(node, command->node) || !adhoc_invite_allowed(command, right, f))
			continue;
		t->admin = command;
		t->help = slice_string(command->label);
		t->found = true;
	}
	return t->found;
}

/* Finds what a node names, among what there is for who asks. */
bool
adhoc_target_find(const struct frame *f, enum right right, struct target *t)
{
	struct slice prefix = SLICE(NODE_ADMIN), node = f->node;
	size_t i;

	*t = (struct target){ .node = node, .right = right };
	if (invite_find(f, node, right, t) || right < RIGHT_ROOMS)
		return t->found;
	if (slice_starts(node, prefix) && right >= RIGHT_DOMAIN) {
		for (i = 0; i < ADMIN_COMMANDS && !t->found; i++) {
			if (!slice_is(slice_part(node, prefix.len, SIZE_MAX), adhoc_commands[i].node))
				continue;
			t->admin = &adhoc_commands[i];
			t->help = slice_string(t->admin->label);
			t->found = true;
		}
	} else {
		control_each(target_each, t);
	}
	return t->found;
}

/* Takes the next word off the front of a run of words. */
bool
adhoc_word_next(struct slice *rest, struct slice *word)
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

void
adhoc_form_make(const struct target *t, struct adhoc_form *form)
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
	while (adhoc_word_next(&rest, &word)) {
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
