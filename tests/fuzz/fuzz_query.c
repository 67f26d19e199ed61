/*
 * fuzz_query.c: what is asked of an archive (XEP-0313, XEP-0059, XEP-0431), with any payload, and what
 * the index of words gets of messages.
 *
 * Input: a byte of choice, then a payload: a query, or (odd choice) the children of a message.
 * Asserts: a query is refused with an error and nothing is left of it, or is within its bounds, with
 * an address in canonical form and sorted ids; read again it is the same. What is typed is never syntax
 * for FTS5: that takes the expression, and finds nobody else's message. The words of a message
 * are valid UTF-8 and bounded, and the same each time: what is added to the index can be removed,
 * and leaves it whole.
 *
 * Links: archived
 * Options: -max_len=4000
 */
#include "fuzz.h"

#include <sqlite3.h>
#include <unistr.h>

#include "archived.h"
#include "jid.h"
#include "ns.h"
#include "xmlchar.h"

#define PAGE_MESSAGES 50

static sqlite3 *db;
static sqlite3_stmt *find, *add, *removed, *check;

static sqlite3_stmt *
prepare(const char *text)
{
	sqlite3_stmt *statement;

	CHECK(sqlite3_prepare_v2(db, text, -1, &statement, NULL) == SQLITE_OK);
	return statement;
}

int
LLVMFuzzerInitialize(int *argc, char ***argv)
{
	(void)argc;
	(void)argv;
	state.page_messages = PAGE_MESSAGES;
	CHECK(sqlite3_open(":memory:", &db) == SQLITE_OK);
	CHECK(sqlite3_exec(db, "CREATE VIRTUAL TABLE words USING fts5(party, text, content='',"
	    " tokenize='unicode61 remove_diacritics 2');"
	    "INSERT INTO words(rowid, party, text) VALUES(1, 'theirs', 'love lark a b c');",
	    NULL, NULL, NULL) == SQLITE_OK);
	find = prepare("SELECT rowid FROM words WHERE words MATCH ?1");
	add = prepare("INSERT INTO words(rowid, party, text) VALUES(2, 'mine', ?1)");
	removed = prepare("INSERT INTO words(words, rowid, party, text) VALUES('delete', 2, 'mine', ?1)");
	check = prepare("INSERT INTO words(words) VALUES('integrity-check')");
	return 0;
}

/* Runs a statement. Returns whether it had a row. */
static bool
run(sqlite3_stmt *statement, struct slice text)
{
	int code;

	if (sqlite3_bind_parameter_count(statement) != 0)
		sqlite3_bind_text(statement, 1, text.ptr != NULL ? text.ptr : "", (int)text.len,
		    SQLITE_STATIC);
	code = sqlite3_step(statement);
	CHECK(code == SQLITE_ROW || code == SQLITE_DONE);
	sqlite3_reset(statement);
	return code == SQLITE_ROW;
}

/* -- queries ----------------------------------------------------------------------------------- */

static void
check_ids(const struct buf *ids)
{
	uint64_t last = 0, id;
	size_t i;

	CHECK(buf_len(ids) % 8 == 0 && buf_len(ids) / 8 <= QUERY_IDS);
	for (i = 0; i < buf_len(ids); i += 8) {
		memcpy(&id, buf_slice(ids).ptr + i, 8);
		CHECK(id >= last && ids_have(ids, id));
		last = id;
	}
}

/* Searches with what was typed, as somebody who has no message. */
static void
check_text(const struct query *query)
{
	struct buf expression = { 0 };

	if (buf_len(&query->text) == 0)
		return;
	CHECK(query->has_text);
	buf_add_string(&expression, "party:\"mine\" AND ");
	buf_add_slice(&expression, buf_slice(&query->text));
	CHECK(!run(find, buf_slice(&expression)));
	buf_free(&expression);
}

static void
check_query(const struct query *query)
{
	struct jid jid;

	CHECK(buf_len(&query->with) == 0 || jid_parse(buf_slice(&query->with), &jid) == OK);
	CHECK(buf_len(&query->queryid) <= QUERY_ID_MAX);
	CHECK(query->has_queryid || buf_len(&query->queryid) == 0);
	CHECK(query->has_ids || buf_len(&query->ids) == 0);
	CHECK(buf_len(&query->needed) % 8 == 0);
	CHECK(query->max <= PAGE_MESSAGES);
	check_ids(&query->ids);
	check_text(query);
}

static bool
is_same(const struct buf *a, const struct buf *b)
{
	return slice_equal(buf_slice(a), buf_slice(b));
}

static void
feed_query(struct slice payload)
{
	struct xmlin_element element;
	struct query query, again;
	const char *text, *text_again;
	enum stanza_error error;
	struct xmlin in;

	xmlin_begin(&in, payload, SLICE(NS_CLIENT));
	if (!xmlin_child(&in, &element))
		return;
	error = query_read(&element, &query, &text);
	CHECK(query_read(&element, &again, &text_again) == error && text == text_again);
	if (error == STANZA_ERROR_NONE) {
		check_query(&query);
		CHECK(is_same(&query.with, &again.with) && is_same(&query.ids, &again.ids));
		CHECK(is_same(&query.needed, &again.needed) && is_same(&query.text, &again.text));
		CHECK(query.after == again.after && query.before == again.before);
		CHECK(query.start == again.start && query.end == again.end);
		query_free(&query);
		query_free(&again);
	}
	CHECK(buf_len(&query.with) == 0 && buf_len(&query.ids) == 0 && buf_len(&query.text) == 0);
}

/* -- messages ---------------------------------------------------------------------------------- */

static void
feed_message(struct slice payload)
{
	struct frame f = { .payload = payload };
	struct buf words = { 0 }, again = { 0 };

	phrase_words(&f, &words);
	phrase_words(&f, &again);
	CHECK(is_same(&words, &again) && buf_len(&words) <= 4 * payload.len);
	CHECK(memchr(buf_slice(&words).ptr != NULL ? buf_slice(&words).ptr : "", 0,
	    buf_len(&words)) == NULL);
	CHECK(u8_check((const uint8_t *)buf_slice(&words).ptr, buf_len(&words)) == NULL);
	if (buf_len(&words) != 0) {
		run(add, buf_slice(&words));
		run(removed, buf_slice(&again));
		run(check, SLICE(""));
		CHECK(!run(find, SLICE("party:\"mine\"")));
	}
	buf_free(&words);
	buf_free(&again);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz f = fuzz_begin(data, size);
	bool message = fuzz_byte(&f) & 1;
	struct slice payload = fuzz_copy(fuzz_take(&f, fuzz_left(&f)));

	if (message)
		feed_message(payload);
	else
		feed_query(payload);
	fuzz_free(payload);
	return 0;
}
