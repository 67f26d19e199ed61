/*
 * account.c: accounts and their credentials in the store. Called by sasl.c, register.c, command.c
 * and all who must know whether an account exists. Fails when the store does; then the commit of
 * this iteration fails as well.
 *
 * Row: version, u64 id, u64 created, u32 flags, JID, then for each hash u32 iterations, salt,
 * StoredKey, ServerKey: 0 and empty when there are none.
 */
#include <stdlib.h>
#include <gnutls/gnutls.h>

#include "authd.h"
#include "log.h"

static struct slice
account_key(struct slice bare, char out[32])
{
	store_key_hash(out, bare);
	return slice_of(out, 32);
}

/* Copies a counted string of at most max bytes; wrong lengths are an error of the reader. */
static size_t
bytes_read(struct value_reader *r, uint8_t *out, size_t max)
{
	struct slice bytes = value_slice(r);

	if (bytes.len > max)
		r->error = E_MALFORMED;
	if (r->error)
		return 0;
	memcpy(out, bytes.ptr, bytes.len);
	return bytes.len;
}

int
account_of(struct slice value, struct account *a)
{
	struct value_reader r = { value, OK };
	unsigned i;

	memset(a, 0, sizeof *a);
	if (value_u8(&r) != VALUE_VERSION)
		return E_MALFORMED;
	a->id = value_u64(&r);
	a->created = value_u64(&r);
	a->flags = value_u32(&r);
	a->jid = value_slice(&r);
	for (i = 0; i < SCRAM_HASHES; i++) {
		struct scram_keys *keys = &a->keys[i];
		size_t size = scram_size((enum scram_hash)i);

		keys->iterations = value_u32(&r);
		keys->salt_len = bytes_read(&r, keys->salt, sizeof keys->salt);
		size = keys->iterations != 0 ? size : 0;
		if (bytes_read(&r, keys->stored, sizeof keys->stored) != size ||
		    bytes_read(&r, keys->server, sizeof keys->server) != size ||
		    (keys->iterations == 0) != (keys->salt_len == 0))
			return E_MALFORMED;
	}
	return r.error || a->jid.len == 0 ? E_MALFORMED : OK;
}

static int
account_write(const struct account *a)
{
	struct buf value = { 0 };
	char key[32];
	unsigned i;
	int error;

	value_add_u8(&value, VALUE_VERSION);
	value_add_u64(&value, a->id);
	value_add_u64(&value, a->created);
	value_add_u32(&value, a->flags);
	value_add_slice(&value, a->jid);
	for (i = 0; i < SCRAM_HASHES; i++) {
		const struct scram_keys *keys = &a->keys[i];
		size_t size = keys->iterations != 0 ? scram_size((enum scram_hash)i) : 0;

		value_add_u32(&value, keys->iterations);
		value_add_slice(&value, slice_of(keys->salt, keys->salt_len));
		value_add_slice(&value, slice_of(keys->stored, size));
		value_add_slice(&value, slice_of(keys->server, size));
	}
	error = store_put(state.store, TABLE_ACCOUNT, account_key(a->jid, key), buf_slice(&value));
	gnutls_memset(value.bytes, 0, value.room);
	buf_free(&value);
	return error;
}

int
account_find(struct slice bare, struct account *a)
{
	struct account found;
	struct slice value;
	char key[32];
	int error;

	error = store_get(state.store, TABLE_ACCOUNT, account_key(bare, key), &value);
	if (error)
		return error;
	if (account_of(value, &found) != OK || !slice_equal(found.jid, bare)) {
		log_error("account unreadable", "account=%s", log_quote(bare));
		return E_NOT_FOUND;
	}
	if (a != NULL)
		*a = found;
	return OK;
}

bool
account_exists(struct slice bare)
{
	return account_find(bare, NULL) == OK;
}

/* Takes the next id, which is never used again. */
static int
id_take(uint64_t *id)
{
	static const struct slice name = { "next-account", 12 };
	struct buf record = { 0 };
	struct slice value;
	int error = store_get(state.store, TABLE_META, name, &value);

	if (error != OK && error != E_NOT_FOUND)
		return error;
	*id = 1;
	if (error == OK) {
		struct value_reader r = { value, OK };

		if (value_u8(&r) != VALUE_VERSION)
			return E_MALFORMED;
		*id = value_u64(&r);
		if (r.error)
			return E_MALFORMED;
	}
	value_add_u8(&record, VALUE_VERSION);
	value_add_u64(&record, *id + 1);
	error = store_put(state.store, TABLE_META, name, buf_slice(&record));
	buf_free(&record);
	return error;
}

/* Makes the keys for those hashes that are offered: none is kept that nobody can use. */
static int
keys_make(struct account *a, struct slice password)
{
	unsigned i;
	int error = OK;

	memset(a->keys, 0, sizeof a->keys);
	for (i = 0; error == OK && i < SCRAM_HASHES; i++) {
		if (mechanism_hash_used((enum scram_hash)i))
			error = scram_make((enum scram_hash)i, password, state.iterations,
			    &a->keys[i]);
	}
	return error;
}

void
account_tell(struct slice bare)
{
	struct frame f = { .type = FRAME_ACCOUNT_IS };
	struct buf blocks = { 0 };
	struct account a;

	f.jid = bare;
	if (account_find(bare, &a) == OK) {
		f.flags = FLAG_EXISTS | (push_any(a.id) ? FLAG_PUSH : 0);
		block_get(a.id, &blocks);
		f.text = buf_slice(&blocks);
	}
	out_send(&f);
	buf_free(&blocks);
}

int
account_create(struct slice bare, struct slice password, uint64_t now)
{
	struct account a = { .created = now, .jid = bare };
	int error;

	if (account_exists(bare))
		return E_EXISTS;
	if (forget_waits(bare))
		return E_AGAIN;
	error = keys_make(&a, password);
	if (error == OK)
		error = id_take(&a.id);
	if (error == OK)
		error = account_write(&a);
	if (error == OK) {
		log_info("account created", "account=%s", log_quote(bare));
		account_tell(bare);
	}
	gnutls_memset(a.keys, 0, sizeof a.keys);
	return error;
}

int
account_create_empty(struct slice bare, uint32_t flags, uint64_t now)
{
	struct account a = { .created = now, .jid = bare, .flags = flags };
	int error;

	if (account_exists(bare))
		return E_EXISTS;
	if (forget_waits(bare))
		return E_AGAIN;
	error = id_take(&a.id);
	if (error == OK)
		error = account_write(&a);
	if (error == OK)
		account_tell(bare);
	return error;
}

int
account_set_flags(struct slice bare, uint32_t flags)
{
	struct account a;
	int error = account_find(bare, &a);

	if (error)
		return error;
	a.jid = bare;
	a.flags = flags;
	error = account_write(&a);
	gnutls_memset(a.keys, 0, sizeof a.keys);
	return error;
}

int
account_set_password(struct slice bare, struct slice password)
{
	struct account a;
	int error = account_find(bare, &a);

	if (error)
		return error;
	a.jid = bare; /* that of the store moves */
	error = keys_make(&a, password);
	if (error == OK)
		error = account_write(&a);
	/* Whoever got in with the old one does not stay in with a token. */
	if (error == OK)
		fast_revoke_all(a.id);
	if (error == OK)
		log_info("password changed", "account=%s", log_quote(bare));
	gnutls_memset(a.keys, 0, sizeof a.keys);
	return error;
}

bool
account_check_password(struct slice bare, struct slice password)
{
	struct account a;

	return account_find(bare, &a) == OK && a.keys[account_hash(&a)].iterations != 0 &&
	    scram_check(account_hash(&a), password, &a.keys[account_hash(&a)]);
}

enum scram_hash
account_hash(const struct account *a)
{
	return a->keys[SCRAM_SHA256].iterations != 0 ? SCRAM_SHA256 :
	    a->keys[SCRAM_SHA512].iterations != 0 ? SCRAM_SHA512 : SCRAM_SHA1;
}

int
account_add_keys(struct slice bare, enum scram_hash hash, const struct scram_keys *keys,
    enum scram_hash proven_hash, const struct scram_keys *proven)
{
	struct account a;
	int error = account_find(bare, &a);

	if (error == OK && proven != NULL && (a.keys[proven_hash].iterations == 0 ||
	    gnutls_memcmp(a.keys[proven_hash].stored, proven->stored, scram_size(proven_hash)) != 0))
		error = E_MISMATCH;
	if (error == OK) {
		a.jid = bare; /* that of the store moves */
		a.keys[hash] = *keys;
		error = account_write(&a);
	}
	if (error == OK && proven != NULL)
		log_info("password keys added", "account=%s mechanism=%s", log_quote(bare),
		    scram_name(hash));
	gnutls_memset(a.keys, 0, sizeof a.keys);
	return error;
}

struct removal {
	struct slice account;
	uint64_t id;
};

/* Ends the subscriptions with one contact. */
static bool
contact_remove(void *arg, const struct roster_item *item)
{
	const struct removal *removal = arg;
	struct roster_item copy = { .bits = item->bits };
	struct buf jid = { 0 };

	buf_add_slice(&jid, item->jid); /* that of the store moves */
	copy.jid = buf_slice(&jid);
	presence_remove(removal->account, removal->id, &copy, false);
	buf_free(&jid);
	return true;
}

void
account_clear(uint64_t id)
{
	static const enum table tables[] = {
		TABLE_ROSTER, TABLE_REQUEST, TABLE_VERSION, TABLE_VCARD, TABLE_PRIVATE, TABLE_LAST,
		TABLE_BLOCK, TABLE_FAST, TABLE_INVITE, TABLE_REPORT, TABLE_PUSH
	};
	size_t i;

	for (i = 0; i < sizeof tables / sizeof tables[0]; i++)
		state_remove_all(tables[i], id);
}

int
account_remove(struct slice bare, bool quiet, uint64_t now)
{
	struct removal removal = { .account = bare };
	struct account a;
	char key[32];
	int error = account_find(bare, &a);

	if (error)
		return error;
	removal.id = a.id;
	if (!quiet)
		roster_each(a.id, contact_remove, &removal);
	account_clear(a.id);
	error = store_remove(state.store, TABLE_ACCOUNT, account_key(bare, key));
	if (error == OK)
		error = forget_add(bare, now);
	if (error == OK) {
		struct frame f = { .type = FRAME_ACCOUNT_IS, .flags = FLAG_MORE, .jid = bare };

		log_info("account removed", "account=%s", log_quote(bare));
		out_send(&f);
		forget_send(false);
	}
	return error;
}

struct walk {
	bool (*each)(void *arg, const struct account *a);
	void *arg;
};

static bool
account_row(void *arg, struct slice key, struct slice value)
{
	const struct walk *walk = arg;
	struct account a;

	(void)key;
	return account_of(value, &a) != OK || walk->each(walk->arg, &a);
}

void
account_each(bool (*each)(void *arg, const struct account *a), void *arg)
{
	struct walk walk = { each, arg };

	store_walk(state.store, TABLE_ACCOUNT, SLICE(""), SLICE(""), account_row, &walk);
}
