/*
 * command.c: what an administrator can do with accounts. Called by the daemon framework for frames
 * of aldisctl(8) and ad-hoc commands; fails with a text that says why.
 */
#include <gnutls/gnutls.h>
#include <stdlib.h>

#include "authd.h"
#include "log.h"

#define REPORTS_MAX 2000 /* reports in one answer */
#define LIST_MAX 20000 /* accounts in one answer, which must fit a frame */

int (*command_commit)(void);

/* Sets the text of a failure and returns it. */
static int
refuse(json_t **result, int error, const char *text)
{
	*result = json_string(text);
	return error;
}

/* Prepares the address of an account in one of our domains. */
static int
address_read(struct slice word, char out[JID_MAX + 1], struct slice *bare, json_t **result)
{
	struct jid jid;

	if (jid_prepare(word, out, &jid) != OK)
		return refuse(result, E_MALFORMED, "this is not an address");
	if (jid.local.ptr == NULL || jid.resource.ptr != NULL)
		return refuse(result, E_MALFORMED, "an account is user@domain");
	if (state_domain(jid.domain) == NULL)
		return refuse(result, E_NOT_FOUND, "no such domain here");
	*bare = jid.full;
	return OK;
}

/* Makes what was done durable; the answer says whether it is. What failed in the store fails the
 * commit too, with all else of this iteration. */
static int
finish(int error, json_t **result)
{
	int committed = command_commit();

	if (error == OK)
		error = committed;
	if (error == E_FULL)
		return refuse(result, error, "the disk is full");
	if (error)
		return refuse(result, error, "the store failed; see the log");
	*result = json_true();
	return OK;
}

/* Reads JID and password, and hands them to one of the two functions. */
static int
password_read(struct slice *words, size_t count, char out[JID_MAX + 1], struct slice *bare,
    char password_out[JID_PART_MAX + 1], struct slice *password, json_t **result)
{
	int error;

	if (count != 2)
		return refuse(result, E_MALFORMED, "an address and a password are needed");
	error = address_read(words[0], out, bare, result);
	if (error)
		return error;
	if (jid_prepare_password(words[1], password_out, password) != OK)
		return refuse(result, E_MALFORMED,
		    "the password is empty, too long, or has characters that are not allowed");
	return OK;
}

static int
user_add(struct slice *words, size_t count, json_t **result)
{
	char out[JID_MAX + 1], password_out[JID_PART_MAX + 1];
	struct slice bare, password;
	int error = password_read(words, count, out, &bare, password_out, &password, result);

	if (error)
		return error;
	if (account_exists(bare))
		error = refuse(result, E_EXISTS, "this account exists already");
	else if (invite_reserved(bare, daemon_now()))
		error = refuse(result, E_EXISTS, "an invitation reserves this name: revoke it first");
	else if (forget_waits(bare))
		error = refuse(result, E_AGAIN,
		    "messages of the last account of this name are being removed, try again");
	else
		error = finish(account_create(bare, password, daemon_now()), result);
	gnutls_memset(password_out, 0, sizeof password_out);
	return error;
}

static int
user_passwd(struct slice *words, size_t count, json_t **result)
{
	char out[JID_MAX + 1], password_out[JID_PART_MAX + 1];
	struct slice bare, password;
	int error = password_read(words, count, out, &bare, password_out, &password, result);

	if (error)
		return error;
	if (!account_exists(bare))
		error = refuse(result, E_NOT_FOUND, "no such account");
	else
		error = finish(account_set_password(bare, password), result);
	gnutls_memset(password_out, 0, sizeof password_out);
	return error;
}

static int
user_del(struct slice *words, size_t count, json_t **result)
{
	char out[JID_MAX + 1];
	struct slice bare;
	int error;

	if (count != 1)
		return refuse(result, E_MALFORMED, "an address is needed");
	error = address_read(words[0], out, &bare, result);
	if (error)
		return error;
	if (!account_exists(bare))
		return refuse(result, E_NOT_FOUND, "no such account");
	return finish(account_remove(bare, false, daemon_now()), result);
}

struct list {
	json_t *array;
	struct slice domain; /* absent: all */
};

/* A time as XEP-0082 writes it, null for none. */
static json_t *
json_stamp(uint64_t stamp)
{
	char text[32];

	if (stamp == 0)
		return json_null();
	stanza_stamp(stamp, text);
	return json_string(text);
}

static bool
account_add(void *arg, const struct account *a)
{
	struct list *list = arg;
	struct jid jid;
	json_t *object;

	jid_split(a->jid, &jid);
	if (list->domain.ptr != NULL && !slice_equal(jid.domain, list->domain))
		return true;
	object = json_object();
	json_object_set_new(object, "account", json_stringn(a->jid.ptr, a->jid.len));
	json_object_set_new(object, "created", json_stamp(a->created));
	json_object_set_new(object, "last", json_stamp(last_get(a->id)));
	json_array_append_new(list->array, object);
	return json_array_size(list->array) <= LIST_MAX;
}

static int
account_order(const void *a, const void *b)
{
	return strcmp(json_string_value(json_object_get(*(json_t *const *)a, "account")),
	    json_string_value(json_object_get(*(json_t *const *)b, "account")));
}

/* The same objects ordered by account. */
static json_t *
sorted(json_t *array)
{
	size_t count = json_array_size(array), i;
	json_t **objects = calloc(count + 1, sizeof *objects), *out = json_array();

	if (objects == NULL)
		abort();
	for (i = 0; i < count; i++)
		objects[i] = json_array_get(array, i);
	qsort(objects, count, sizeof *objects, account_order);
	for (i = 0; i < count; i++)
		json_array_append(out, objects[i]);
	free(objects);
	json_decref(array);
	return out;
}

/* Begins a list of all domains, or of the one that is given. */
static int
list_begin(struct list *list, struct slice *words, size_t count, char out[JID_PART_MAX + 1],
    json_t **result)
{
	*list = (struct list){ 0 };
	if (count > 1)
		return refuse(result, E_MALFORMED, "at most one domain");
	if (count == 1 && (jid_prepare_domain(words[0], out, &list->domain) != OK ||
	    state_domain(list->domain) == NULL))
		return refuse(result, E_NOT_FOUND, "no such domain here");
	list->array = json_array();
	return OK;
}

/* Ends it, unless it is too long; what: is in it. */
static int
list_end(struct list *list, const char *what, json_t **result)
{
	char text[80];

	if (json_array_size(list->array) > LIST_MAX) {
		json_decref(list->array);
		snprintf(text, sizeof text, "more %s than one answer holds", what);
		return refuse(result, E_TOO_MANY, text);
	}
	*result = list->array;
	return OK;
}

static int
user_list(struct slice *words, size_t count, json_t **result)
{
	struct list list;
	char out[JID_PART_MAX + 1];
	int error = list_begin(&list, words, count, out, result);

	if (error)
		return error;
	account_each(account_add, &list);
	error = list_end(&list, "accounts", result);
	if (error == OK)
		*result = sorted(*result);
	return error;
}

/* One row of "user tokens". */
static void
token_add(void *arg, const struct fast_entry *entry)
{
	json_t *object = json_object(), *words = json_stringn(entry->words.ptr, entry->words.len);

	json_object_set_new(object, "agent", json_stringn(entry->agent.ptr, entry->agent.len));
	json_object_set_new(object, "client", words != NULL ? words : json_null());
	json_object_set_new(object, "mechanism", json_string(mechanism_fast_name(entry->mechanism)));
	json_object_set_new(object, "issued", json_stamp(entry->issued));
	json_object_set_new(object, "used", json_stamp(entry->used));
	json_object_set_new(object, "expires", json_stamp(entry->expiry));
	json_array_append_new(arg, object);
}

/* Finds the account that the first word names; at most max words. */
static int
account_word(struct slice *words, size_t count, size_t max, struct account *a, json_t **result)
{
	char out[JID_MAX + 1];
	struct slice bare;
	int error;

	if (count < 1 || count > max)
		return refuse(result, E_MALFORMED, "an address is needed");
	error = address_read(words[0], out, &bare, result);
	if (error)
		return error;
	if (account_find(bare, a) != OK)
		return refuse(result, E_NOT_FOUND, "no such account");
	gnutls_memset(a->keys, 0, sizeof a->keys);
	return OK;
}

static int
user_tokens(struct slice *words, size_t count, json_t **result)
{
	struct account a;
	int error = account_word(words, count, 1, &a, result);

	if (error)
		return error;
	*result = json_array();
	fast_each(a.id, token_add, *result);
	return OK;
}

static int
user_revoke(struct slice *words, size_t count, json_t **result)
{
	struct account a;
	int error = account_word(words, count, 2, &a, result);

	if (error)
		return error;
	log_info("tokens revoked", "account=%s agent=%s", log_quote(a.jid),
	    log_quote(count > 1 ? words[1] : SLICE("all")));
	if (count == 1)
		fast_revoke_all(a.id);
	else if (fast_revoke(a.id, words[1]) == E_NOT_FOUND)
		return refuse(result, E_NOT_FOUND, "this client has no token");
	return finish(OK, result);
}

/* -- invitations -- */

/* The words "key=value" of an invitation. */
struct wanted {
	struct invite invite;
	char domain[JID_PART_MAX + 1];
	char inviter[JID_MAX + 1];
	char name[JID_PART_MAX + 1];
	bool account; /* its URI is for registration */
};

/* A time: a number, with s, m, h or d behind it or nothing for seconds; 366 days at most. */
static int
time_read(struct slice text, uint64_t *milliseconds)
{
	static const struct {
		char letter;
		uint64_t factor;
	} units[] = { { 's', 1 }, { 'm', 60 }, { 'h', 3600 }, { 'd', 86400 } };
	uint64_t factor = 1, number = 0;
	size_t i;

	for (i = 0; text.len > 1 && i < sizeof units / sizeof units[0]; i++) {
		if (text.ptr[text.len - 1] != units[i].letter)
			continue;
		factor = units[i].factor;
		text.len--;
		break;
	}
	if (slice_number(text, 366ull * 86400 / factor, &number) != OK || number == 0)
		return E_MALFORMED;
	*milliseconds = 1000 * factor * number;
	return OK;
}

static const char *
wanted_domain(struct wanted *w, struct slice value)
{
	return jid_prepare_domain(value, w->domain, &w->invite.domain) == OK &&
	    state_domain(w->invite.domain) != NULL ? NULL : "no such domain here";
}

static const char *
wanted_account(struct wanted *w, struct slice value)
{
	w->account = true;
	return value.len == 0 || jid_prepare_local(value, w->name, &w->invite.name) == OK ? NULL :
	    "this cannot be the name of an account";
}

static const char *
wanted_contact(struct wanted *w, struct slice value)
{
	struct jid jid;

	if (jid_prepare(value, w->inviter, &jid) != OK || jid.local.ptr == NULL ||
	    jid.resource.ptr != NULL || !account_exists(jid.full))
		return "no such account";
	w->invite.inviter = jid.full;
	w->invite.flags |= INVITE_CONTACT;
	return NULL;
}

static const char *
wanted_time(struct wanted *w, struct slice value)
{
	return time_read(value, &w->invite.expires) == OK ? NULL :
	    "this is not a time of at most 366 days";
}

static const char *
wanted_uses(struct wanted *w, struct slice value)
{
	uint64_t uses = 0;

	if (slice_number(value, INVITE_USES, &uses) != OK || uses == 0)
		return "an invitation can be used 1 to 1000 times";
	w->invite.uses = (uint32_t)uses;
	return NULL;
}

static const struct {
	const char *key;
	const char *(*read)(struct wanted *w, struct slice value); /* why it is wrong; NULL: it is not */
} wanted_words[] = {
	{ "account=", wanted_account },
	{ "contact=", wanted_contact },
	{ "domain=", wanted_domain },
	{ "time=", wanted_time },
	{ "uses=", wanted_uses },
};

static const char *
wanted_word(struct wanted *w, struct slice word)
{
	size_t i;

	for (i = 0; i < sizeof wanted_words / sizeof wanted_words[0]; i++) {
		struct slice key = slice_string(wanted_words[i].key);

		if (slice_starts(word, key))
			return wanted_words[i].read(w, slice_part(word, key.len, SIZE_MAX));
	}
	return "words are account=NAME, contact=JID, domain=DOMAIN, time=TIME and uses=NUMBER";
}

/* What follows from the words together; why they do not fit, or NULL. */
static const char *
wanted_complete(struct wanted *w, uint64_t now)
{
	struct invite *invite = &w->invite;
	const struct domain *domain;
	struct jid jid;

	if (invite->domain.ptr == NULL && invite->inviter.ptr != NULL) {
		jid_split(invite->inviter, &jid);
		invite->domain = jid.domain;
	} else if (invite->domain.ptr == NULL && state.domain_count == 1) {
		invite->domain = slice_string(state.domains[0].name);
	} else if (invite->domain.ptr == NULL) {
		return "which domain?";
	}
	domain = state_domain(invite->domain);
	if (domain == NULL)
		return "no such domain here";
	if (domain->registration != REGISTRATION_NO)
		invite->flags |= INVITE_REGISTER;
	if (invite->flags & INVITE_CONTACT && !w->account)
		invite->flags |= INVITE_ROSTER;
	if (!(invite->flags & (INVITE_REGISTER | INVITE_ROSTER)))
		return "there is no registration in this domain";
	if (invite->name.len != 0 && invite->uses > 1)
		return "a name can be taken once";
	invite->created = now;
	invite->expires = now + (invite->expires != 0 ? invite->expires : state.invitation_time);
	return NULL;
}

/* The URI of an invitation, a page that has it, and when it expires. */
static json_t *
invite_json(const struct invite *invite, const char *token)
{
	const char *page = state_domain(invite->domain)->invite_page;
	struct buf uri = { 0 };
	json_t *object = json_object();
	struct slice text;

	invite_uri(invite, token, &uri);
	text = buf_slice(&uri);
	json_object_set_new(object, "uri", json_stringn(text.ptr, text.len));
	if (page[0] != '\0') {
		struct slice rest = slice_part(text, 5, SIZE_MAX); /* behind "xmpp:" */

		json_object_set_new(object, "landing-url",
		    json_sprintf("%s%.*s", page, SLICE_ARG(rest)));
	}
	json_object_set_new(object, "expire", json_stamp(invite->expires));
	buf_free(&uri);
	return object;
}

static int
invite(struct slice *words, size_t count, json_t **result)
{
	struct wanted w = { .invite.uses = 1 };
	char token[INVITE_TOKEN];
	const char *problem = NULL;
	size_t i;
	int error;

	for (i = 0; i < count && problem == NULL; i++)
		problem = wanted_word(&w, words[i]);
	if (problem == NULL)
		problem = wanted_complete(&w, daemon_now());
	if (problem != NULL)
		return refuse(result, E_MALFORMED, problem);
	error = invite_create(&w.invite, daemon_now(), token);
	if (error == E_EXISTS)
		error = refuse(result, error, "this name is taken");
	else if (error == E_TOO_MANY)
		error = refuse(result, error, "too many invitations are open");
	else
		error = finish(error, result);
	if (error == OK) {
		json_decref(*result);
		*result = invite_json(&w.invite, token);
	}
	gnutls_memset(token, 0, sizeof token);
	return error;
}

static void
invite_add(void *arg, const char *id, const struct invite *invite)
{
	struct list *list = arg;
	json_t *object;

	if (list->domain.ptr != NULL && !slice_equal(invite->domain, list->domain))
		return;
	if (json_array_size(list->array) > LIST_MAX)
		return;
	object = json_object();
	json_object_set_new(object, "id", json_string(id));
	json_object_set_new(object, "domain", json_stringn(invite->domain.ptr, invite->domain.len));
	json_object_set_new(object, "account", invite->name.len == 0 ? json_null() :
	    json_stringn(invite->name.ptr, invite->name.len));
	json_object_set_new(object, "inviter", invite->inviter.len == 0 ? json_null() :
	    json_stringn(invite->inviter.ptr, invite->inviter.len));
	json_object_set_new(object, "uses", json_integer(invite->uses));
	json_object_set_new(object, "created", json_stamp(invite->created));
	json_object_set_new(object, "expire", json_stamp(invite->expires));
	json_array_append_new(list->array, object);
}

static int
invite_list(struct slice *words, size_t count, json_t **result)
{
	struct list list;
	char out[JID_PART_MAX + 1];
	int error = list_begin(&list, words, count, out, result);

	if (error)
		return error;
	invite_each(invite_add, &list);
	return list_end(&list, "invitations", result);
}

static int
invite_remove(struct slice *words, size_t count, json_t **result)
{
	int error;

	if (count != 1)
		return refuse(result, E_MALFORMED, "the id of an invitation is needed");
	error = invite_revoke(words[0]);
	if (error == E_NOT_FOUND)
		return refuse(result, error, "no such invitation");
	return finish(error, result);
}

/* -- reports -- */

static void
report_row(void *arg, const struct report *report)
{
	struct list *list = arg;
	struct jid jid;
	json_t *object;

	jid_split(report->reporter, &jid);
	if ((list->domain.ptr != NULL && !slice_equal(jid.domain, list->domain)) ||
	    json_array_size(list->array) >= REPORTS_MAX)
		return;
	object = json_object();
	json_object_set_new(object, "number", json_integer((json_int_t)report->number));
	json_object_set_new(object, "time", json_stamp(report->time));
	json_object_set_new(object, "reporter",
	    json_stringn(report->reporter.ptr, report->reporter.len));
	json_object_set_new(object, "reported",
	    json_stringn(report->reported.ptr, report->reported.len));
	json_object_set_new(object, "reason", json_stringn(report->reason.ptr, report->reason.len));
	json_array_append_new(list->array, object);
}

/* An answer has the first of them; those that were dealt with are deleted. */
static int
report_list(struct slice *words, size_t count, json_t **result)
{
	struct list list = { 0 };
	char out[JID_PART_MAX + 1];

	if (count > 1)
		return refuse(result, E_MALFORMED, "at most one domain");
	if (count == 1 && (jid_prepare_domain(words[0], out, &list.domain) != OK ||
	    state_domain(list.domain) == NULL))
		return refuse(result, E_NOT_FOUND, "no such domain here");
	list.array = json_array();
	report_each(report_row, &list);
	*result = list.array;
	return OK;
}

static void
report_details(void *arg, const struct report *report)
{
	struct list list = { .array = json_array() };
	json_t **result = arg, *ids = json_array();
	struct slice rest = report->ids;

	report_row(&list, report);
	*result = json_incref(json_array_get(list.array, 0));
	json_decref(list.array);
	json_object_set_new(*result, "text", report->text.ptr == NULL ? json_null() :
	    json_stringn(report->text.ptr, report->text.len));
	json_object_set_new(*result, "lang", report->lang.ptr == NULL ? json_null() :
	    json_stringn(report->lang.ptr, report->lang.len));
	while (rest.len != 0) {
		const char *end = memchr(rest.ptr, '\n', rest.len);
		size_t len = end != NULL ? (size_t)(end - rest.ptr) : rest.len;

		json_array_append_new(ids, json_stringn(rest.ptr, len));
		rest = slice_part(rest, len + 1, SIZE_MAX);
	}
	json_object_set_new(*result, "stanza-ids", ids);
	json_object_set_new(*result, "report-origin", json_boolean(report->flags & REPORT_ORIGIN));
	json_object_set_new(*result, "third-party",
	    json_boolean(report->flags & REPORT_THIRD_PARTY));
}

static int
number_read(struct slice *words, size_t count, uint64_t *number, json_t **result)
{
	if (count != 1 || slice_number(words[0], INT64_MAX, number) != OK || *number == 0)
		return refuse(result, E_MALFORMED, "the number of a report is needed");
	return OK;
}

static int
report_show(struct slice *words, size_t count, json_t **result)
{
	uint64_t number;
	int error = number_read(words, count, &number, result);

	if (error)
		return error;
	error = report_find(number, report_details, result);
	return error == E_NOT_FOUND ? refuse(result, error, "no such report") : error;
}

static int
report_delete(struct slice *words, size_t count, json_t **result)
{
	uint64_t number;
	int error = number_read(words, count, &number, result);

	if (error)
		return error;
	error = report_remove(number);
	return error == E_NOT_FOUND ? refuse(result, error, "no such report") : finish(error, result);
}

const struct command command_table[] = {
	{ "report list", "[DOMAIN]", "list reports of blocked contacts", report_list },
	{ "report show", "NUMBER", "show a report", report_show },
	{ "report delete", "NUMBER", "delete a report", report_delete },
	{ "invite",
	    "[account=NAME] [contact=JID] [domain=DOMAIN] [time=TIME] [uses=NUMBER]",
	    "make an invitation, for an account or to a contact", invite },
	{ "invite list", "[DOMAIN]", "list the invitations that are open", invite_list },
	{ "invite revoke", "ID", "make an invitation void", invite_remove },
	{ "user add", "JID PASSWORD", "make an account; the password is asked for", user_add },
	{ "user passwd", "JID PASSWORD", "change the password of an account", user_passwd },
	{ "user del", "JID", "delete an account with all its data", user_del },
	{ "user list", "[DOMAIN]", "list accounts", user_list },
	{ "user tokens", "JID", "list clients that may log in with a token", user_tokens },
	{ "user revoke", "JID [AGENT]", "end the tokens of all clients, or of one", user_revoke },
	{ NULL, NULL, NULL, NULL },
};
