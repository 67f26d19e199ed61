/*
 * usage.c: how much archives have. Called by index.c and archive.c when copies come and go, by retention.c
 * and command.c. Fails when the store does.
 *
 * Rows: account -> version, copies, bytes of their payloads, when some were removed because of their age or
 * size, accounts, JID. A domain has a number like an account (account.c) and a row with the sums of its
 * accounts; so all of it is as durable as the copies.
 */
#include "archived.h"

#include "jid.h"

static int
row_read(struct slice value, struct usage *usage, struct slice *jid)
{
	struct value_reader r = { .rest = value };

	value_u8(&r);
	usage->messages = value_u64(&r);
	usage->bytes = value_u64(&r);
	usage->removed = value_u64(&r);
	usage->accounts = value_u64(&r);
	*jid = value_slice(&r);
	return r.error;
}

int
usage_get(uint64_t account, struct usage *usage, struct slice *jid)
{
	struct slice value;
	char key[8];
	int error;

	*usage = (struct usage){ 0 };
	*jid = SLICE_NONE;
	store_key_u64(key, account);
	error = store_get(state.store, TABLE_USAGE, slice_of(key, sizeof key), &value);
	return error ? error : row_read(value, usage, jid);
}

static int
row_put(uint64_t account, const struct usage *usage, struct slice jid)
{
	struct buf value = { 0 };
	char key[8];
	int error;

	store_key_u64(key, account);
	value_add_u8(&value, VALUE_VERSION);
	value_add_u64(&value, usage->messages);
	value_add_u64(&value, usage->bytes);
	value_add_u64(&value, usage->removed);
	value_add_u64(&value, usage->accounts);
	value_add_slice(&value, jid);
	error = store_put(state.store, TABLE_USAGE, slice_of(key, sizeof key), buf_slice(&value));
	buf_free(&value);
	return error;
}

struct slice
usage_domain(struct slice jid)
{
	const char *at = jid.len != 0 ? memchr(jid.ptr, '@', jid.len) : NULL;

	return at != NULL ? slice_part(jid, (size_t)(at - jid.ptr) + 1, jid.len) : SLICE_NONE;
}

/* Adds to a number, not below 0. */
static void
add(uint64_t *number, int64_t by)
{
	if (by < 0 && (uint64_t)-by > *number)
		*number = 0;
	else
		*number += (uint64_t)by;
}

/* Changes the row of an account, which may be new, and that of its domain. */
static int
change(uint64_t account, struct slice new_jid, int64_t messages, int64_t bytes, uint64_t removed)
{
	struct usage usage, sum;
	struct slice jid, ignored;
	struct account *domain;
	char memory[JID_MAX];
	bool was_empty;
	int error = usage_get(account, &usage, &jid);

	if (error == E_NOT_FOUND && messages > 0)
		error = OK;
	if (error)
		return error == E_NOT_FOUND || error == E_MALFORMED ? OK : error;
	if (jid.ptr == NULL)
		jid = new_jid;
	if (jid.len > sizeof memory)
		return OK;
	memcpy(memory, jid.ptr, jid.len); /* it points into the store, which changes */
	jid.ptr = memory;
	was_empty = usage.messages == 0;
	add(&usage.messages, messages);
	add(&usage.bytes, bytes);
	if (removed != 0)
		usage.removed = removed;
	error = row_put(account, &usage, jid);
	if (error == OK)
		error = account_make(usage_domain(jid), &domain);
	if (error)
		return error;
	error = usage_get(domain->id, &sum, &ignored);
	if (error && error != E_NOT_FOUND && error != E_MALFORMED)
		return error;
	add(&sum.messages, messages);
	add(&sum.bytes, bytes);
	add(&sum.accounts, (int)was_empty - (int)(usage.messages == 0));
	if (removed != 0)
		sum.removed = removed;
	return row_put(domain->id, &sum, usage_domain(jid));
}

int
usage_add(uint64_t account, uint64_t messages, uint64_t bytes, uint64_t id)
{
	struct slice jid = SLICE_NONE;
	struct account *side;
	uint64_t stamp;
	struct frame f;
	int error = message_get(id, &stamp, &f);

	/* Whose copy it is, when there is no row yet, is in the message. */
	if (error == OK) {
		jid = jid_bare_of(f.to);
		if (account_find(jid_bare_of(f.from), &side) == OK && side->id == account)
			jid = jid_bare_of(f.from);
	}
	if (error && error != E_NOT_FOUND && error != E_MALFORMED)
		return error;
	return usage_domain(jid).ptr != NULL ?
	    change(account, jid, (int64_t)messages, (int64_t)bytes, 0) : OK;
}

int
usage_remove(uint64_t account, uint64_t bytes)
{
	return change(account, SLICE_NONE, -1, -(int64_t)bytes, 0);
}

int
usage_removed(uint64_t account, uint64_t now)
{
	return change(account, SLICE_NONE, 0, 0, now);
}

int
usage_resized(uint64_t account, uint64_t before, uint64_t after)
{
	return change(account, SLICE_NONE, 0, (int64_t)after - (int64_t)before, 0);
}

int
usage_forget(uint64_t account)
{
	char key[8];
	int error;

	store_key_u64(key, account);
	error = store_remove(state.store, TABLE_USAGE, slice_of(key, sizeof key));
	return error == E_NOT_FOUND ? OK : error;
}

/* A walk over accounts. */
struct usage_walk {
	usage_each *each;
	void *arg;
};

static bool
walk_row(void *arg, struct slice key, struct slice value)
{
	struct usage_walk *walk = arg;
	struct usage usage;
	struct slice jid;

	if (row_read(value, &usage, &jid) != OK || usage_domain(jid).ptr == NULL)
		return true;
	return walk->each(walk->arg, store_key_read_u64(key.ptr), &usage, jid);
}

int
usage_walk(uint64_t after, usage_each *each, void *arg)
{
	struct usage_walk walk = { each, arg };
	char key[8];

	store_key_u64(key, after + 1);
	return store_walk(state.store, TABLE_USAGE, slice_of(key, sizeof key), SLICE(""), walk_row, &walk);
}
