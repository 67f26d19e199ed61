/*
 * account.c: which number stands for which account, so that keys are short. Called by batch.c,
 * index.c and spool.c. Fails when the store does.
 *
 * Rows: hash of bare JID -> number, JID. Numbers are never used again. Addresses that came lately
 * are kept in memory, with those elsewhere, for their hashes.
 */
#include "archived.h"

#include <stdlib.h>

#include "counter.h"
#include "jid.h"
#include "map.h"
#include "mem.h"

#define CACHE_MAX 32768

static struct map *cache;
static uint64_t next_id;  /* the next account's */
static uint64_t saved_id; /* the same in the last transaction that was committed */

int
account_open(void)
{
	int error = meta_get("next-account", 1, &next_id);

	cache = map_new();
	saved_id = next_id;
	return error;
}

static void
cache_clear(void)
{
	struct account *account;
	size_t at = 0;

	if (cache == NULL)
		return;
	while ((account = map_each(cache, &at)) != NULL)
		free(account);
	map_free(&cache);
}

void
account_close(void)
{
	cache_clear();
}

void
account_trim(void)
{
	if (map_count(cache) < CACHE_MAX)
		return;
	cache_clear();
	cache = map_new();
}

void
account_gauges(void)
{
	GAUGE(accounts_cached, map_count(cache));
}

/* Finds or makes the entry of an address; its number is perhaps not known. */
static struct account *
account_peer(struct slice jid)
{
	struct account *account = map_get(cache, jid);

	if (account != NULL)
		return account;
	account = mem_alloc(sizeof *account + jid.len);
	memcpy(account->jid, jid.ptr, jid.len);
	account->len = jid.len;
	store_key_hash(account->hash, jid);
	map_put(cache, slice_of(account->jid, account->len), account);
	return account;
}

/* Reads the number of an account that has come up. Returns 0, E_NOT_FOUND, or of the store. */
static int
number_get(struct account *account)
{
	struct value_reader r = { 0 };
	int error;

	if (account->id != 0)
		return OK;
	error = store_get(state.store, TABLE_ACCOUNT,
	    slice_of(account->hash, sizeof account->hash), &r.rest);
	if (error)
		return error;
	value_u8(&r);
	account->id = value_u64(&r);
	return account->id != 0 ? OK : E_NOT_FOUND;
}

/* Reads the number of an account, or gives it one. */
static int
number_make(struct account *account)
{
	struct buf value = { 0 };
	int error = number_get(account);

	if (error != E_NOT_FOUND)
		return error;
	value_add_u8(&value, VALUE_VERSION);
	value_add_u64(&value, next_id);
	value_add_slice(&value, slice_of(account->jid, account->len));
	error = store_put(state.store, TABLE_ACCOUNT,
	    slice_of(account->hash, sizeof account->hash), buf_slice(&value));
	buf_free(&value);
	if (error == OK)
		account->id = next_id++;
	return error;
}

int
account_find(struct slice jid, struct account **account)
{
	*account = account_peer(jid);
	return number_get(*account);
}

int
account_make(struct slice jid, struct account **account)
{
	*account = account_peer(jid);
	return number_make(*account);
}

/* The hash of an occupant alone: there are many, and each would have its place in the cache. */
static struct account *
account_occupant(struct slice jid)
{
	static struct account occupant;

	store_key_hash(occupant.hash, jid);
	return &occupant;
}

int
account_sides(const struct frame *f, struct account **from, struct account **to)
{
	int error = OK;

	/* Both are copied first: f may point into the store, which changes. */
	*from = account_peer(jid_bare_of(f->from));
	*to = f->flags & FLAG_ROOM ? account_occupant(f->from) : account_peer(jid_bare_of(f->to));
	if (f->flags & FLAG_FROM_LOCAL)
		error = number_make(*from);
	if (error == OK && (f->flags & FLAG_TO_LOCAL))
		error = number_make(*to);
	return error;
}

int
account_remove(struct account *account)
{
	account->id = 0;
	account->prefs = ACCOUNT_PREFS_UNKNOWN;
	return store_remove(state.store, TABLE_ACCOUNT,
	    slice_of(account->hash, sizeof account->hash));
}

int
account_save(void)
{
	return next_id != saved_id ? meta_put("next-account", next_id) : OK;
}

void
account_settle(bool committed)
{
	if (committed) {
		saved_id = next_id;
		return;
	}
	/* Which of them the transaction has changed is not worth knowing. */
	next_id = saved_id;
	cache_clear();
	cache = map_new();
}
