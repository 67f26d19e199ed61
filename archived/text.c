/*
 * text.c: the index of words: an FTS5 table of SQLite. Called by search.c, from one thread at a
 * time, which need not be that of the loop: nothing here knows the store, logs or counts. Fails as
 * the disk does (E_FULL, E_SYSTEM), and with E_MALFORMED when the files are not what they were.
 *
 * A row is a message, under its archive id, with two columns: its parties (a word each that stands
 * for the bare address, see phrase.c), and its words. The table is contentless: it keeps no text,
 * so removing a row takes the words again. How far the index has come is in the same transactions
 * as the rows, so a crash at any moment leaves an index that knows where to go on.
 *
 * A transaction may stay open over many calls of text_add(): each commit leaves a segment, and small
 * segments are what merges are made of. What is in it is found already. Everything else that writes
 * commits it first.
 *
 * The files are the write-ahead log's kind, which needs neither a rollback journal nor, with one
 * connection that keeps the files for itself, shared memory.
 */
#include "archived.h"

#include <sqlite3.h>
#include <stdio.h>

#define SCHEMA_VERSION 2   /* also of what phrase.c makes of a message */
#define MERGE_PAGES    64  /* written by a step of a merge */

static const char pragmas[] =
    "PRAGMA locking_mode=EXCLUSIVE;"
    "PRAGMA temp_store=MEMORY;"
    "PRAGMA journal_mode=MEMORY;" /* for the one change to the next */
    "PRAGMA journal_mode=WAL;"
    "PRAGMA synchronous=NORMAL;"
    "PRAGMA cache_size=-8192;"
    "PRAGMA trusted_schema=OFF;"
    "PRAGMA secure_delete=ON;";

static const char schema[] =
    "BEGIN;"
    "CREATE VIRTUAL TABLE words USING fts5(party, text, content='',"
    " tokenize='unicode61 remove_diacritics 2');"
    "INSERT INTO words(words, rank) VALUES('automerge', 8);" /* segments of a level; merging half of 4 */
    "CREATE TABLE state(name TEXT PRIMARY KEY, number INTEGER) WITHOUT ROWID;"
    "PRAGMA user_version=2;"
    "COMMIT;";

enum statement {
	BEGIN, COMMIT, ROLLBACK, DURABLE, QUICK, ADD, REMOVE, HAS, FORWARD, BACKWARD, MERGE, STATE_GET,
	STATE_PUT, VERSION, STATEMENT_COUNT
};

static const char *const texts[STATEMENT_COUNT] = {
	[BEGIN] = "BEGIN IMMEDIATE",
	[COMMIT] = "COMMIT",
	[ROLLBACK] = "ROLLBACK",
	[DURABLE] = "PRAGMA synchronous=FULL",
	[QUICK] = "PRAGMA synchronous=NORMAL",
	[ADD] = "INSERT INTO words(rowid, party, text) VALUES(?1, ?2, ?3)",
	[REMOVE] = "INSERT INTO words(words, rowid, party, text) VALUES('delete', ?1, ?2, ?3)",
	[HAS] = "SELECT 1 FROM words WHERE rowid = ?1",
	[FORWARD] = "SELECT rowid FROM words WHERE words MATCH ?1 AND rowid > ?2 AND rowid < ?3"
	    " ORDER BY rowid ASC LIMIT ?4",
	[BACKWARD] = "SELECT rowid FROM words WHERE words MATCH ?1 AND rowid > ?2 AND rowid < ?3"
	    " ORDER BY rowid DESC LIMIT ?4",
	[MERGE] = "INSERT INTO words(words, rank) VALUES('merge', ?1)",
	[STATE_GET] = "SELECT number FROM state WHERE name = ?1",
	[STATE_PUT] = "REPLACE INTO state(name, number) VALUES(?1, ?2)",
	[VERSION] = "PRAGMA user_version",
};

static sqlite3 *db;
static sqlite3_stmt *statements[STATEMENT_COUNT]; /* made when they are first needed */
static char reason[200];

static int
error_of(int code)
{
	switch (code & 0xff) {
	case SQLITE_OK:
	case SQLITE_ROW:
	case SQLITE_DONE:
		return OK;
	case SQLITE_FULL:
		return E_FULL;
	case SQLITE_CORRUPT:
	case SQLITE_NOTADB:
		return E_MALFORMED;
	}
	return E_SYSTEM;
}

/* Makes an error of SQLite one of ours and keeps its text. */
static int
failed(int code)
{
	int error = error_of(code);

	if (error)
		snprintf(reason, sizeof reason, "%s",
		    db != NULL ? sqlite3_errmsg(db) : sqlite3_errstr(code));
	return error;
}

const char *
text_reason(void)
{
	return reason;
}

/* -- statements -- */

static int
statement_get(enum statement which, sqlite3_stmt **statement)
{
	int code = SQLITE_OK;

	if (statements[which] == NULL)
		code = sqlite3_prepare_v3(db, texts[which], -1, SQLITE_PREPARE_PERSISTENT,
		    &statements[which], NULL);
	*statement = statements[which];
	return failed(code);
}

/* Runs a statement to its end; *number: the first column of its row when there is one. */
static int
statement_run(sqlite3_stmt *statement, int64_t *number)
{
	int code, error;

	while ((code = sqlite3_step(statement)) == SQLITE_ROW)
		if (number != NULL)
			*number = sqlite3_column_int64(statement, 0);
	error = failed(code);
	sqlite3_reset(statement);
	sqlite3_clear_bindings(statement);
	return error;
}

static int
run(enum statement which)
{
	sqlite3_stmt *statement;
	int error = statement_get(which, &statement);

	return error ? error : statement_run(statement, NULL);
}

static void
bind_slice(sqlite3_stmt *statement, int at, struct slice s)
{
	sqlite3_bind_text(statement, at, s.ptr != NULL ? s.ptr : "", (int)s.len, SQLITE_STATIC);
}

/* -- numbers that are kept -- */

int
text_state_get(const char *name, uint64_t *number)
{
	sqlite3_stmt *statement;
	int64_t value = 0;
	int error = statement_get(STATE_GET, &statement);

	if (error)
		return error;
	bind_slice(statement, 1, slice_string(name));
	error = statement_run(statement, &value);
	*number = (uint64_t)value;
	return error;
}

static int
state_put(const char *name, uint64_t number)
{
	sqlite3_stmt *statement;
	int error = statement_get(STATE_PUT, &statement);

	if (error)
		return error;
	bind_slice(statement, 1, slice_string(name));
	sqlite3_bind_int64(statement, 2, (int64_t)number);
	return statement_run(statement, NULL);
}

/* -- transactions -- */

/* Commits when all was well; otherwise nothing of the transaction is left. */
static int
end(int error)
{
	char kept[sizeof reason];

	if (error == OK)
		error = run(COMMIT);
	if (error == OK || sqlite3_get_autocommit(db))
		return error;
	memcpy(kept, reason, sizeof kept);
	run(ROLLBACK);
	memcpy(reason, kept, sizeof kept);
	return error;
}

/* durable: on disk when it has been committed; otherwise at some time after it, and in order. */
static int
begin(bool durable)
{
	int error = sqlite3_get_autocommit(db) ? OK : end(OK);

	if (error == OK)
		error = run(durable ? DURABLE : QUICK);
	return error ? error : run(BEGIN);
}

int
text_state_put(const char *name, uint64_t number)
{
	int error = begin(true);

	return error ? error : end(state_put(name, number));
}

/* -- opening and closing -- */

void
text_close(void)
{
	unsigned i;

	for (i = 0; i < STATEMENT_COUNT; i++) {
		sqlite3_finalize(statements[i]);
		statements[i] = NULL;
	}
	sqlite3_close(db);
	db = NULL;
}

/* Opens what is in the files. E_NOT_FOUND: nothing. */
static int
open_files(void)
{
	sqlite3_stmt *statement;
	int64_t version = 0;
	uint64_t number;
	int error = failed(sqlite3_open_v2(TEXTFILE_NAME, &db,
	    SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, "aldis"));

	if (error == OK)
		error = failed(sqlite3_exec(db, pragmas, NULL, NULL, NULL));
	if (error == OK)
		error = statement_get(VERSION, &statement);
	if (error == OK)
		error = statement_run(statement, &version);
	if (error == OK && version == 0)
		return E_NOT_FOUND;
	if (error == OK && version != SCHEMA_VERSION) {
		snprintf(reason, sizeof reason, "of another version");
		return E_MALFORMED;
	}
	if (error == OK)
		error = text_state_get("cursor", &number);
	if (error == OK)
		error = statement_get(HAS, &statement);
	if (error == OK)
		error = statement_run(statement, NULL);
	/* A table that is not there, or is not ours. */
	return error == E_SYSTEM && sqlite3_errcode(db) == SQLITE_ERROR ? E_MALFORMED : error;
}

int
text_open(void)
{
	int error = open_files();

	if (error == E_NOT_FOUND)
		error = failed(sqlite3_exec(db, schema, NULL, NULL, NULL));
	if (error)
		text_close();
	return error;
}

int
text_reset(void)
{
	int error;

	text_close();
	error = textfile_empty();
	if (error)
		snprintf(reason, sizeof reason, "the files cannot be emptied");
	return error ? error : text_open();
}

bool
text_is_open(void)
{
	return db != NULL;
}

bool
text_is_gathering(void)
{
	return db != NULL && !sqlite3_get_autocommit(db);
}

/* -- rows -- */

void
text_row_add(struct buf *rows, uint64_t id, struct slice party, struct slice words)
{
	value_add_u64(rows, id);
	value_add_slice(rows, party);
	value_add_slice(rows, words);
}

/* Whether a message is in the index. */
static int
has(uint64_t id, bool *there)
{
	sqlite3_stmt *statement;
	int64_t found = 0;
	int error = statement_get(HAS, &statement);

	if (error)
		return error;
	sqlite3_bind_int64(statement, 1, (int64_t)id);
	error = statement_run(statement, &found);
	*there = found != 0;
	return error;
}

/* Puts rows in, or takes them out; those that are there already, or are not, are left alone. */
static int
rows_run(enum statement which, struct slice rows, uint64_t *count)
{
	struct value_reader r = { .rest = rows };
	sqlite3_stmt *statement;
	int error = statement_get(which, &statement);

	while (error == OK && r.rest.len != 0) {
		uint64_t id = value_u64(&r);
		struct slice party = value_slice(&r), words = value_slice(&r);
		bool there;

		error = has(id, &there);
		if (error || there == (which == ADD))
			continue;
		sqlite3_bind_int64(statement, 1, (int64_t)id);
		bind_slice(statement, 2, party);
		bind_slice(statement, 3, words);
		error = statement_run(statement, NULL);
		++*count;
	}
	return error;
}

int
text_add(struct slice rows, uint64_t cursor, bool more, uint64_t *count)
{
	int error = sqlite3_get_autocommit(db) ? begin(false) : OK;

	if (error)
		return error;
	error = rows_run(ADD, rows, count);
	if (error == OK)
		error = state_put("cursor", cursor);
	return error == OK && more ? OK : end(error);
}

int
text_remove(struct slice rows, uint64_t *count)
{
	int error = begin(true);

	if (error)
		return error;
	error = rows_run(REMOVE, rows, count);
	return end(error || *count == 0 ? error : state_put("purge", 1));
}

int
text_find(struct slice expression, uint64_t after, uint64_t before, bool backward, unsigned limit,
    struct buf *ids)
{
	sqlite3_stmt *statement;
	int code, error = statement_get(backward ? BACKWARD : FORWARD, &statement);

	if (error)
		return error;
	bind_slice(statement, 1, expression);
	sqlite3_bind_int64(statement, 2, after < INT64_MAX ? (int64_t)after : INT64_MAX);
	sqlite3_bind_int64(statement, 3, before < INT64_MAX ? (int64_t)before : INT64_MAX);
	sqlite3_bind_int64(statement, 4, limit);
	while ((code = sqlite3_step(statement)) == SQLITE_ROW)
		buf_add_u64(ids, (uint64_t)sqlite3_column_int64(statement, 0));
	error = failed(code);
	sqlite3_reset(statement);
	sqlite3_clear_bindings(statement);
	return error;
}

/* What FTS5 has removed stays in its older segments until they are merged, hence this. It is
 * written into the log, which is emptied at the end. */
int
text_purge(bool first, bool *done)
{
	sqlite3_stmt *statement;
	int before, error = begin(false);

	if (error)
		return error;
	before = sqlite3_total_changes(db);
	error = statement_get(MERGE, &statement);
	if (error == OK) {
		sqlite3_bind_int(statement, 1, first ? -MERGE_PAGES : MERGE_PAGES);
		error = statement_run(statement, NULL);
	}
	/* One change is that of the statement itself. */
	*done = sqlite3_total_changes(db) - before < 2;
	error = end(error != OK || !*done ? error : state_put("purge", 0));
	if (error == OK && *done)
		error = failed(sqlite3_wal_checkpoint_v2(db, NULL, SQLITE_CHECKPOINT_TRUNCATE, NULL,
		    NULL));
	return error;
}
