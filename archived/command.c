/*
 * command.c: what administrators can ask of archived. Called through daemon_command(); reads the
 * store between transactions and fails when that does.
 */
#include "archived.h"

#include "jid.h"
#include "stanza.h"

#define LIST_MAX 5000 /* rows of an answer, which must fit in a frame */

/* An answer under construction. */
struct list {
	json_t *rows;
	int error;
};

static void
set_text(json_t *row, const char *name, struct slice text)
{
	json_object_set_new(row, name, json_stringn(text.ptr != NULL ? text.ptr : "", text.len));
}

static void
set_stamp(json_t *row, const char *name, uint64_t stamp)
{
	char text[32];

	stanza_stamp(stamp, text);
	json_object_set_new(row, name, json_string(text));
}

/* Adds a row for an account: its address is in its oldest message. */
static void
list_account(void *arg, uint64_t account, uint64_t count)
{
	struct list *list = arg;
	uint64_t id, stamp;
	struct frame f;
	json_t *row;

	if (json_array_size(list->rows) == LIST_MAX || list->error)
		return;
	list->error = spool_first(account, &id);
	if (list->error || message_get(id, &stamp, &f))
		return;
	row = json_object();
	set_text(row, "account", spool_owner(&f));
	json_object_set_new(row, "messages", json_integer((json_int_t)count));
	set_stamp(row, "oldest", stamp);
	json_array_append_new(list->rows, row);
}

/* Adds a row for a message. */
static bool
list_message(void *arg, struct slice key, struct slice value)
{
	struct list *list = arg;
	char id[17];
	struct frame f;
	uint64_t stamp;
	json_t *row;

	(void)value;
	if (json_array_size(list->rows) == LIST_MAX)
		return false;
	if (message_get(place_id(key), &stamp, &f))
		return true;
	stanza_archive_id(place_id(key), id);
	row = json_object();
	json_object_set_new(row, "id", json_string(id));
	set_stamp(row, "stamp", stamp);
	set_text(row, "from", f.from);
	json_object_set_new(row, "size", json_integer((json_int_t)f.payload.len));
	json_array_append_new(list->rows, row);
	return true;
}

/* Lists the messages that wait for one account. */
static int
list_messages(struct list *list, struct slice text, json_t **result)
{
	char out[JID_MAX + 1], key[PLACE_SIZE];
	struct account *account;
	struct slice prefix;
	struct jid jid;
	int error = jid_prepare(text, out, &jid);

	if (error) {
		*result = json_string("not an address");
		return error;
	}
	error = account_find(jid_bare(&jid), &account);
	if (error)
		return error == E_NOT_FOUND ? OK : error;
	prefix = slice_part(place_key(account->id, 0, key), 0, 8);
	return store_walk(state.store, TABLE_SPOOL, prefix, prefix, list_message, list);
}

static int
run_queue_list(struct slice *words, size_t count, json_t **result)
{
	struct list list = { .rows = json_array() };

	if (count == 0)
		spool_each(list_account, &list);
	else if (count == 1)
		list.error = list_messages(&list, words[0], result);
	else
		list.error = E_MALFORMED;
	if (list.error)
		json_decref(list.rows);
	else
		*result = list.rows;
	return list.error;
}

/* Has the index of words made anew. */
static int
run_reindex(struct slice *words, size_t count, json_t **result)
{
	(void)words;
	if (count != 0)
		return E_MALFORMED;
	if (!search_reset()) {
		*result = json_string("there is no index: see the log");
		return E_SYSTEM;
	}
	daemon_dirty();
	*result = json_string("the index is being made anew");
	return OK;
}

/* -- how much archives have -- */

#define SOON 4096 /* copies that are written at once, so that they are counted */
#define NEAR 1000 /* messages among which the first and the last of a domain are looked for */

/* A search for a message of a domain. */
struct nearest {
	struct slice domain;
	uint64_t id; /* found; 0: none */
	unsigned left;
};

static bool
is_of_domain(struct slice jid, struct slice domain)
{
	return slice_equal(usage_domain(jid_bare_of(jid)), domain);
}

static bool
nearest_try(void *arg, struct slice key, struct slice value)
{
	struct nearest *nearest = arg;
	uint64_t id = store_key_read_u64(key.ptr), stamp;
	struct frame f;

	(void)value;
	if (nearest->left-- == 0)
		return false;
	if (message_get(id, &stamp, &f) == OK && message_is_archived(&f) &&
	    (is_of_domain(f.from, nearest->domain) || is_of_domain(f.to, nearest->domain)))
		nearest->id = id;
	return nearest->id == 0;
}

/* Adds when the first or last message came; nothing when there is none, or it is not near. */
static void
set_end(json_t *row, const char *name, uint64_t id)
{
	uint64_t stamp;
	struct frame f;

	if (id != 0 && message_get(id, &stamp, &f) == OK)
		set_stamp(row, name, stamp);
	else
		json_object_set_new(row, name, json_string(""));
}

static bool
take_id(void *arg, uint64_t id)
{
	*(uint64_t *)arg = id;
	return false;
}

/* The first or last message of an account, or of a domain. */
static int
end_find(const struct account *account, bool of_domain, bool last, uint64_t *id)
{
	struct range range = { .account = account->id, .before = UINT64_MAX, .backward = last };
	struct nearest nearest = { .domain = slice_of(account->jid, account->len), .left = NEAR };
	int error;

	*id = 0;
	if (!of_domain)
		return archive_walk(&range, take_id, id);
	error = last ? store_walk_back(state.store, TABLE_MESSAGE,
	    SLICE("\377\377\377\377\377\377\377\377"), SLICE(""), nearest_try, &nearest) :
	    store_walk(state.store, TABLE_MESSAGE, SLICE(""), SLICE(""), nearest_try, &nearest);
	*id = nearest.id;
	return error;
}

static int
archive_row(struct slice jid, json_t *rows)
{
	bool of_domain = usage_domain(jid).ptr == NULL;
	uint64_t first = 0, last = 0;
	struct usage usage = { 0 };
	struct account *account;
	struct slice ignored;
	json_t *row;
	int error = account_find(jid, &account);

	if (error == OK)
		error = usage_get(account->id, &usage, &ignored);
	if (error == OK)
		error = end_find(account, of_domain, false, &first);
	if (error == OK)
		error = end_find(account, of_domain, true, &last);
	if (error && error != E_NOT_FOUND)
		return error;
	row = json_object();
	set_text(row, "archive", jid);
	if (of_domain)
		json_object_set_new(row, "accounts", json_integer((json_int_t)usage.accounts));
	json_object_set_new(row, "messages", json_integer((json_int_t)usage.messages));
	json_object_set_new(row, "bytes", json_integer((json_int_t)usage.bytes));
	set_end(row, "oldest", first);
	set_end(row, "newest", last);
	if (usage.removed != 0)
		set_stamp(row, "removed", usage.removed);
	else
		json_object_set_new(row, "removed", json_string(""));
	json_array_append_new(rows, row);
	return OK;
}

static int
run_archive_show(struct slice *words, size_t count, json_t **result)
{
	json_t *rows = json_array();
	char out[JID_MAX + 1];
	struct slice domain;
	struct jid jid;
	int error = OK;
	size_t i;

	if (index_count() != 0 && index_count() <= SOON) {
		error = index_all();
		error = error ? error : state_commit();
		if (error)
			state_abort();
	}
	if (count > 1) {
		error = E_MALFORMED;
	} else if (count == 1 && (error = jid_prepare(words[0], out, &jid)) != OK) {
		*result = json_string("not an address");
	} else if (count == 1) {
		error = archive_row(jid_bare(&jid), rows);
	} else {
		for (i = 0; error == OK && retention_domain(i, &domain); i++)
			error = archive_row(domain, rows);
	}
	if (error)
		json_decref(rows);
	else
		*result = rows;
	return error;
}

const struct command archived_commands[] = {
	{ "queue list", "[JID]", "accounts with waiting messages, or the messages of one",
	    run_queue_list },
	{ "archive reindex", "", "drop the index of words in archives, and make it anew",
	    run_reindex },
	{ "archive show", "[JID]", "how much the archive of an account or domain has, or of all domains",
	    run_archive_show },
	{ NULL, NULL, NULL, NULL },
};
