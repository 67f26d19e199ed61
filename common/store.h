/*
 * store.h: what a daemon keeps on disk: named tables of ordered keys, one writer, transactions.
 *
 * LMDB stands behind it. A daemon opens its store before the sandbox closes, names all tables then,
 * and does all reading and writing of one loop iteration in one transaction, which store_commit()
 * makes durable. Keys are fixed-width, at most 64 bytes, compared bytewise (numbers big-endian:
 * store_key_u64()); a value's first byte is its version. Slices that are returned point into the
 * map and are valid until the next change of the store or the end of the transaction.
 */
#ifndef ALDIS_STORE_H
#define ALDIS_STORE_H

#include "buf.h"

#define STORE_TABLES_MAX 32
#define STORE_KEY_MAX    64

struct store;

/*
 * Opens or makes the store in directory/data.mdb.
 * tables: names, ended by NULL; a table is its index in this list from then on. size: the largest
 * that it may grow, in bytes. Returns 0 or E_SYSTEM (logged with the reason).
 */
int store_open(const char *directory, const char *const *tables, uint64_t size,
    struct store **store);
void store_close(struct store **store);

/* A write transaction begins with the first call that needs one, and ends here. store_commit()
 * returns 0 after fdatasync(2), E_FULL when disk or map are full, E_SYSTEM; after an error nothing
 * of the transaction is there, and the next one can begin. Removing needs room too, for copies of
 * the pages that it changes: a store that has reached its size may refuse that as well until it may
 * grow. Nothing to commit is no error. */
int store_commit(struct store *store);
void store_abort(struct store *store);

/* Returns 0, E_NOT_FOUND, or an error that store_commit() will return as well. */
int store_get(struct store *store, unsigned table, struct slice key, struct slice *value);
int store_put(struct store *store, unsigned table, struct slice key, struct slice value);
/* A key larger than all in the table (ids that grow). */
int store_append(struct store *store, unsigned table, struct slice key, struct slice value);
int store_remove(struct store *store, unsigned table, struct slice key);

/*
 * Walks the keys >= from that begin with prefix, in order, until each() returns false.
 * each() may remove the key at hand with store_remove(), and change other tables; key and value are
 * gone after its first change. Returns 0 or an error.
 */
int store_walk(struct store *store, unsigned table, struct slice from, struct slice prefix,
    bool (*each)(void *arg, struct slice key, struct slice value), void *arg);
/* The same backwards, over keys < before; each() must not change the store. */
int store_walk_back(struct store *store, unsigned table, struct slice before, struct slice prefix,
    bool (*each)(void *arg, struct slice key, struct slice value), void *arg);
/* The last key that begins with prefix. */
int store_last(struct store *store, unsigned table, struct slice prefix, struct slice *key,
    struct slice *value);
uint64_t store_count(struct store *store, unsigned table);

/* A consistent copy while the store is in use; directory exists. E_AGAIN while a write transaction
 * is open: commit first. */
int store_copy(struct store *store, const char *directory);

/*
 * Overwrites pages that are in no use any more, for what was in them: a page that a transaction has
 * freed keeps its bytes in the file until it is used again. Call it between transactions, when another
 * one has been committed after that which removed something, with *next 0 at first and until *more is
 * false; each call overwrites at most so many pages and leaves them on disk. Returns 0, E_AGAIN while
 * a write transaction is open, or E_SYSTEM.
 */
int store_scrub(struct store *store, uint64_t *next, size_t pages, bool *more);
#define STORE_SCRUB_PAGES 256 /* a good number of pages for one call, */
#define STORE_SCRUB_TIME  20  /* and of milliseconds between two */

/* Big-endian numbers in keys. */
void store_key_u64(char out[8], uint64_t n);
uint64_t store_key_read_u64(const char in[8]);

/* SHA-256 of bytes: the key of what has no bound on its length (JIDs). */
void store_key_hash(char out[32], struct slice bytes);

/* Values: a version byte, then numbers and counted strings, read back with the first error kept. */
struct value_reader {
	struct slice rest;
	int error;
};
void value_add_u8(struct buf *out, uint8_t n);
void value_add_u32(struct buf *out, uint32_t n);
void value_add_u64(struct buf *out, uint64_t n);
void value_add_slice(struct buf *out, struct slice s); /* keeps absent apart from empty */
uint8_t value_u8(struct value_reader *r);
uint32_t value_u32(struct value_reader *r);
uint64_t value_u64(struct value_reader *r);
struct slice value_slice(struct value_reader *r);

#endif
