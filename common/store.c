/*
 * store.c: the store on LMDB. Called by the daemons that store, through store.h. Fails when disk or
 * map are full (E_FULL), and when the disk does (E_SYSTEM); the first error of a transaction stays
 * until store_commit() or store_abort() has ended it.
 *
 * Reads use the write transaction while there is one, so that they see what it has done. Otherwise
 * they use a read transaction, which is kept and renewed, since making one costs more than a
 * look-up.
 */
#include "store.h"

#include <errno.h>
#include <gnutls/crypto.h>
#include <lmdb.h>
#include <stdlib.h>
#include <unistd.h>

#include "error.h"
#include "log.h"
#include "mem.h"

#define READERS 8 /* the daemon itself, and backups */

struct store {
	MDB_env *env;
	MDB_dbi tables[STORE_TABLES_MAX];
	unsigned count;
	MDB_txn *write;    /* NULL: none */
	MDB_txn *read;     /* NULL: none was made yet */
	bool reading;      /* read is live */
	int error;         /* of this transaction */
	uint64_t changes;  /* counts puts and removals */
};

/* Makes an error of LMDB one of ours. */
static int
error_of(int code)
{
	switch (code) {
	case 0:
		return OK;
	case MDB_NOTFOUND:
		return E_NOT_FOUND;
	case MDB_MAP_FULL:
	case ENOSPC:
	case EDQUOT:
		return E_FULL;
	}
	return E_SYSTEM;
}

/* Remembers the first error of a transaction, and logs what is not expected in operation. */
static int
failed(struct store *store, const char *what, int code)
{
	int error = error_of(code);

	if (error == OK || error == E_NOT_FOUND)
		return error;
	if (error == E_SYSTEM)
		log_error("store failed", "operation=%s error=\"%s\"", what, mdb_strerror(code));
	if (store->error == OK)
		store->error = error;
	return error;
}

static MDB_val
val_of(struct slice s)
{
	return (MDB_val){ s.len, (void *)(uintptr_t)s.ptr };
}

static struct slice
slice_of_val(const MDB_val *v)
{
	return slice_of(v->mv_size != 0 ? v->mv_data : "", v->mv_size);
}

/* -- opening and closing -- */

/* Opens the tables by name in one transaction. */
static int
tables_open(struct store *store, const char *const *tables)
{
	MDB_txn *txn;
	int code = mdb_txn_begin(store->env, NULL, 0, &txn);

	if (code)
		return code;
	for (; code == 0 && tables[store->count] != NULL; store->count++) {
		ASSERT(store->count < STORE_TABLES_MAX);
		code = mdb_dbi_open(txn, tables[store->count], MDB_CREATE,
		    &store->tables[store->count]);
	}
	if (code) {
		mdb_txn_abort(txn);
		return code;
	}
	return mdb_txn_commit(txn);
}

int
store_open(const char *directory, const char *const *tables, uint64_t size, struct store **store)
{
	struct store *s = mem_alloc(sizeof *s);
	size_t page = (size_t)sysconf(_SC_PAGESIZE);
	int code = mdb_env_create(&s->env), dead;

	if (code == 0)
		code = mdb_env_set_maxdbs(s->env, STORE_TABLES_MAX);
	if (code == 0)
		code = mdb_env_set_maxreaders(s->env, READERS);
	if (code == 0)
		code = mdb_env_set_mapsize(s->env, (size_t)(size + page - 1) & ~(page - 1));
	if (code == 0)
		code = mdb_env_open(s->env, directory, MDB_NOTLS, 0600);
	if (code == 0)
		code = mdb_reader_check(s->env, &dead);
	if (code == 0)
		code = tables_open(s, tables);
	if (code) {
		log_error("store not opened", "directory=%s error=\"%s\"", directory,
		    mdb_strerror(code));
		store_close(&s);
	}
	*store = s;
	return code == 0 ? OK : E_SYSTEM;
}

void
store_close(struct store **store)
{
	if (*store == NULL)
		return;
	store_abort(*store);
	if ((*store)->read != NULL)
		mdb_txn_abort((*store)->read);
	if ((*store)->env != NULL)
		mdb_env_close((*store)->env);
	MEM_FREE(store);
}

/* -- transactions -- */

/* Ends the read transaction, whose snapshot keeps old pages from being used again. */
static void
read_end(struct store *store)
{
	if (store->reading)
		mdb_txn_reset(store->read);
	store->reading = false;
}

/* Finds the transaction to read in, and begins one when there is none. */
static int
read_begin(struct store *store, MDB_txn **txn)
{
	int code = 0;

	if (store->error)
		return store->error;
	*txn = store->write != NULL ? store->write : store->read;
	if (store->write != NULL || store->reading)
		return OK;
	if (store->read == NULL)
		code = mdb_txn_begin(store->env, NULL, MDB_RDONLY, &store->read);
	else
		code = mdb_txn_renew(store->read);
	store->reading = code == 0;
	*txn = store->read;
	return failed(store, "read", code);
}

static int
write_begin(struct store *store)
{
	if (store->error)
		return store->error;
	if (store->write != NULL)
		return OK;
	return failed(store, "begin", mdb_txn_begin(store->env, NULL, 0, &store->write));
}

int
store_commit(struct store *store)
{
	MDB_txn *txn = store->write;
	int error;

	read_end(store);
	if (store->error == OK && txn != NULL) {
		int code = mdb_txn_commit(txn); /* frees it in any case */

		store->write = NULL;
		failed(store, "commit", code);
		/* LMDB cannot go on after a failed write of its root; a new process can. */
		if (code == MDB_PANIC)
			log_panic(__FILE__, __LINE__, "the store needs to be opened anew");
	}
	error = store->error;
	store_abort(store);
	return error;
}

void
store_abort(struct store *store)
{
	read_end(store);
	if (store->write != NULL)
		mdb_txn_abort(store->write);
	store->write = NULL;
	store->error = OK;
}

/* -- keys and values -- */

int
store_get(struct store *store, unsigned table, struct slice key, struct slice *value)
{
	MDB_val k = val_of(key), v;
	MDB_txn *txn;
	int error = read_begin(store, &txn);

	if (error)
		return error;
	error = failed(store, "get", mdb_get(txn, store->tables[table], &k, &v));
	if (error == OK)
		*value = slice_of_val(&v);
	return error;
}

/* Puts with the flags of LMDB; code: its result, for those who want to look at it. */
static int
put(struct store *store, unsigned table, struct slice key, struct slice value, unsigned flags,
    int *code)
{
	MDB_val k = val_of(key), v = val_of(value);
	int error;

	ASSERT(key.len != 0 && key.len <= STORE_KEY_MAX);
	*code = 0;
	error = write_begin(store);
	if (error)
		return error;
	store->changes++;
	*code = mdb_put(store->write, store->tables[table], &k, &v, flags);
	return *code == MDB_KEYEXIST ? E_EXISTS : failed(store, "put", *code);
}

int
store_put(struct store *store, unsigned table, struct slice key, struct slice value)
{
	int code;

	return put(store, table, key, value, 0, &code);
}

int
store_append(struct store *store, unsigned table, struct slice key, struct slice value)
{
	int code, error = put(store, table, key, value, MDB_APPEND, &code);

	/* Out of order: put it where it belongs. */
	if (code == MDB_KEYEXIST)
		error = put(store, table, key, value, 0, &code);
	return error;
}

int
store_remove(struct store *store, unsigned table, struct slice key)
{
	MDB_val k = val_of(key);
	int error = write_begin(store);

	if (error)
		return error;
	store->changes++;
	return failed(store, "remove", mdb_del(store->write, store->tables[table], &k, NULL));
}

/* -- walking -- */

/* Moves to the key after the one in place, from which the walk was called; the cursor is found
 * again when the walker has changed the store. */
static int
walk_next(MDB_cursor *cursor, bool changed, struct slice place, MDB_val *k, MDB_val *v)
{
	int code;

	if (!changed)
		return mdb_cursor_get(cursor, k, v, MDB_NEXT);
	*k = val_of(place);
	code = mdb_cursor_get(cursor, k, v, MDB_SET_RANGE);
	if (code == 0 && slice_equal(slice_of_val(k), place))
		code = mdb_cursor_get(cursor, k, v, MDB_NEXT);
	return code;
}

/* Walks in a transaction that has been found. */
static int
walk(struct store *store, MDB_txn *txn, unsigned table, struct slice from, struct slice prefix,
    bool (*each)(void *arg, struct slice key, struct slice value), void *arg)
{
	char place[STORE_KEY_MAX];
	MDB_val k = val_of(slice_compare(from, prefix) < 0 ? prefix : from), v;
	MDB_cursor *cursor;
	int code = mdb_cursor_open(txn, store->tables[table], &cursor);

	if (code)
		return code;
	code = mdb_cursor_get(cursor, &k, &v, k.mv_size != 0 ? MDB_SET_RANGE : MDB_FIRST);
	while (code == 0 && slice_starts(slice_of_val(&k), prefix)) {
		uint64_t changes = store->changes;
		size_t len = k.mv_size;

		memcpy(place, k.mv_data, len);
		if (!each(arg, slice_of_val(&k), slice_of_val(&v)) || store->error)
			break;
		code = walk_next(cursor, store->changes != changes, slice_of(place, len), &k, &v);
	}
	mdb_cursor_close(cursor);
	return code;
}

int
store_walk(struct store *store, unsigned table, struct slice from, struct slice prefix,
    bool (*each)(void *arg, struct slice key, struct slice value), void *arg)
{
	MDB_txn *txn;
	int error = read_begin(store, &txn);

	if (error)
		return error;
	error = failed(store, "walk", walk(store, txn, table, from, prefix, each, arg));
	return error == E_NOT_FOUND ? store->error : error;
}

int
store_walk_back(struct store *store, unsigned table, struct slice before, struct slice prefix,
    bool (*each)(void *arg, struct slice key, struct slice value), void *arg)
{
	MDB_val k = val_of(before), v;
	MDB_cursor *cursor;
	MDB_txn *txn;
	int code, error = read_begin(store, &txn);

	if (error)
		return error;
	ASSERT(before.len != 0);
	code = mdb_cursor_open(txn, store->tables[table], &cursor);
	if (code)
		return failed(store, "walk", code);
	code = mdb_cursor_get(cursor, &k, &v, MDB_SET_RANGE);
	code = mdb_cursor_get(cursor, &k, &v, code == MDB_NOTFOUND ? MDB_LAST : MDB_PREV);
	while (code == 0 && slice_starts(slice_of_val(&k), prefix) &&
	    each(arg, slice_of_val(&k), slice_of_val(&v)))
		code = mdb_cursor_get(cursor, &k, &v, MDB_PREV);
	mdb_cursor_close(cursor);
	error = failed(store, "walk", code);
	return error == E_NOT_FOUND ? OK : error;
}

/* Makes the first key after all that begin with prefix; false when there is none. */
static bool
prefix_end(struct slice prefix, char end[STORE_KEY_MAX], size_t *len)
{
	ASSERT(prefix.len <= STORE_KEY_MAX);
	memcpy(end, prefix.len != 0 ? prefix.ptr : "", prefix.len);
	for (*len = prefix.len; *len > 0; (*len)--) {
		if ((unsigned char)end[*len - 1] != 0xff) {
			end[*len - 1]++;
			return true;
		}
	}
	return false;
}

int
store_last(struct store *store, unsigned table, struct slice prefix, struct slice *key,
    struct slice *value)
{
	char end[STORE_KEY_MAX];
	MDB_cursor *cursor;
	MDB_val k = { 0 }, v;
	MDB_txn *txn;
	int code, error = read_begin(store, &txn);

	if (error)
		return error;
	code = mdb_cursor_open(txn, store->tables[table], &cursor);
	if (code)
		return failed(store, "last", code);
	code = MDB_NOTFOUND;
	if (prefix_end(prefix, end, &k.mv_size)) {
		k.mv_data = end;
		code = mdb_cursor_get(cursor, &k, &v, MDB_SET_RANGE);
	}
	if (code == 0)
		code = mdb_cursor_get(cursor, &k, &v, MDB_PREV);
	else if (code == MDB_NOTFOUND)
		code = mdb_cursor_get(cursor, &k, &v, MDB_LAST);
	if (code == 0 && !slice_starts(slice_of_val(&k), prefix))
		code = MDB_NOTFOUND;
	if (code == 0) {
		*key = slice_of_val(&k);
		*value = slice_of_val(&v);
	}
	mdb_cursor_close(cursor);
	return failed(store, "last", code);
}

uint64_t
store_count(struct store *store, unsigned table)
{
	MDB_stat stat;
	MDB_txn *txn;

	if (read_begin(store, &txn) || mdb_stat(txn, store->tables[table], &stat))
		return 0;
	return stat.ms_entries;
}

int
store_copy(struct store *store, const char *directory)
{
	int code;

	if (store->write != NULL)
		return E_AGAIN;
	code = mdb_env_copy(store->env, directory);
	if (code)
		log_error("store not copied", "directory=%s error=\"%s\"", directory,
		    mdb_strerror(code));
	return error_of(code) == E_NOT_FOUND ? E_SYSTEM : error_of(code);
}

/* -- overwriting ------------------------------------------------------------------------------- */

/* The lowest numbers of pages from one on, of many: the whole list of a large store is not sorted each time. */
struct lowest {
	uint64_t from, below; /* what is wanted */
	uint64_t *pages;      /* twice the limit */
	size_t count, limit;
	bool more;            /* some were left out */
};

static int
by_number(const void *a, const void *b)
{
	uint64_t one, other;

	memcpy(&one, a, 8);
	memcpy(&other, b, 8);
	return one < other ? -1 : one > other;
}

/* Sorts, and leaves out what is above the limit. */
static void
lowest_cut(struct lowest *l)
{
	qsort(l->pages, l->count, sizeof *l->pages, by_number);
	if (l->count <= l->limit)
		return;
	l->count = l->limit;
	l->below = l->pages[l->limit - 1];
	l->more = true;
}

static void
lowest_add(struct lowest *l, uint64_t page)
{
	if (page < l->from)
		return;
	if (page >= l->below) {
		l->more = true;
		return;
	}
	l->pages[l->count++] = page;
	if (l->count == 2 * l->limit)
		lowest_cut(l);
}

/* Gathers the numbers of free pages. LMDB keeps them in its own table, by the number of
 * the transaction that has freed them. Those of the last one are left alone: they belong to what it
 * would go back to if that one were damaged. So these are the pages which LMDB itself may use for the
 * next transaction. */
static int
free_pages(MDB_txn *txn, struct lowest *found)
{
	uint64_t current = mdb_txn_id(txn), freed, count, page, i;
	MDB_cursor *cursor;
	MDB_val k, v;
	int code = mdb_cursor_open(txn, 0, &cursor);

	if (code)
		return code;
	while ((code = mdb_cursor_get(cursor, &k, &v, MDB_NEXT)) == 0) {
		memcpy(&freed, k.mv_data, sizeof freed);
		if (freed >= current)
			break;
		memcpy(&count, v.mv_data, sizeof count);
		for (i = 1; i <= count && (i + 1) * sizeof page <= v.mv_size; i++) {
			memcpy(&page, (char *)v.mv_data + i * sizeof page, sizeof page);
			lowest_add(found, page);
		}
	}
	mdb_cursor_close(cursor);
	lowest_cut(found);
	return code == MDB_NOTFOUND ? 0 : code;
}

/* Overwrites one page, unless that was done before. */
static int
page_wipe(int fd, size_t size, uint64_t page, char *scratch, const char *zeros, bool *wrote)
{
	off_t at = (off_t)(page * size);

	if (pread(fd, scratch, size, at) != (ssize_t)size)
		return errno != 0 ? errno : EIO;
	if (memcmp(scratch, zeros, size) == 0)
		return 0;
	*wrote = true;
	return pwrite(fd, zeros, size, at) == (ssize_t)size ? 0 : errno != 0 ? errno : EIO;
}

/* Overwrites pages. */
static int
pages_wipe(struct store *store, const struct lowest *found, uint64_t *next)
{
	bool wrote = false;
	char *memory;
	size_t i;
	MDB_stat stat;
	int fd, code = mdb_env_stat(store->env, &stat);

	if (code == 0)
		code = mdb_env_get_fd(store->env, &fd);
	if (code)
		return code;
	memory = mem_alloc(2 * (size_t)stat.ms_psize);
	for (i = 0; i < found->count && code == 0; i++) {
		errno = 0;
		code = page_wipe(fd, stat.ms_psize, found->pages[i], memory, memory + stat.ms_psize, &wrote);
		*next = found->pages[i] + 1;
	}
	free(memory);
	if (code == 0 && wrote && fdatasync(fd) != 0)
		code = errno;
	return code;
}

int
store_scrub(struct store *store, uint64_t *next, size_t pages, bool *more)
{
	struct lowest found = { .from = *next, .below = UINT64_MAX, .limit = pages };
	MDB_txn *txn;
	int code, error;

	*more = false;
	if (store->write != NULL)
		return E_AGAIN;
	read_end(store); /* the newest state is to be read */
	error = read_begin(store, &txn);
	if (error)
		return error;
	found.pages = mem_array(2 * pages, sizeof *found.pages);
	code = free_pages(txn, &found);
	read_end(store);
	if (code == 0)
		code = pages_wipe(store, &found, next);
	free(found.pages);
	*more = found.more;
	if (code == 0)
		return OK;
	log_error("store not overwritten", "error=\"%s\"", mdb_strerror(code));
	return E_SYSTEM;
}

void
store_key_hash(char out[32], struct slice bytes)
{
	int code = gnutls_hash_fast(GNUTLS_DIG_SHA256, bytes.ptr != NULL ? bytes.ptr : "",
	    bytes.len, out);

	ASSERT(code == 0);
}
