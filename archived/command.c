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

const struct command archived_commands[] = {

	{ "queue list", "[JID]", "accounts with waiting messages, or the messages of one",
	    run_queue_list },
	{ "archive reindex", "", "drop the index of words in archives, and make it anew",
	    run_reindex },
	{ NULL, NULL, NULL, NULL },
};
