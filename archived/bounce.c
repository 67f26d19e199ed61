/*
 * bounce.c: messages that come back because there is nobody to receive them: they leave the archive of that
 * account, the error goes into the sender's, and an account that does not exist is none here either. Called by
 * batch.c. Fails when the store does.
 */
#include "archived.h"

#include "jid.h"
#include "log.h"

/* Removes an account of which nothing is left: it may never have existed. */
static int
account_remove_empty(struct account *account)
{
	char key[PLACE_SIZE];
	struct slice prefix = slice_part(place_key(account->id, 0, key), 0, 8), k, v;
	int error = store_last(state.store, TABLE_ARCHIVE, prefix, &k, &v);

	if (error == E_NOT_FOUND)
		error = store_last(state.store, TABLE_SPOOL, prefix, &k, &v);
	if (error != E_NOT_FOUND || prefs_exist(account))
		return error == E_NOT_FOUND ? OK : error;
	error = usage_forget(account->id);
	return error ? error : account_remove(account);
}

/* Writes the error for the sender's archive when that has the message which comes back. */
static int
bounce_write(const struct account *receiver, uint64_t id, struct buf *whole)
{
	struct account *sender;
	struct buf scratch = { 0 };
	struct frame f, reply;
	bool waits = false, sent = false;
	uint64_t stamp;
	int error = place_has(TABLE_ARCHIVE, receiver->id, id, &waits);

	if (error == OK)
		error = place_has(TABLE_SPOOL, receiver->id, id, &waits);
	if (error == OK)
		error = waits ? message_get(id, &stamp, &f) : E_NOT_FOUND;
	if (error == OK)
		error = account_find(jid_bare_of(f.from), &sender);
	if (error == OK && sender != receiver)
		error = place_has(TABLE_ARCHIVE, sender->id, id, &sent);
	if (error == OK && sent && stanza_error_reply(&f, STANZA_ERROR_SERVICE_UNAVAILABLE, SLICE_NONE,
	    &scratch, &reply)) {
		reply.flags |= FLAG_STORE | FLAG_TO_LOCAL;
		error = frame_write(&reply, whole);
	}
	buf_free(&scratch);
	return error == E_NOT_FOUND || error == E_MALFORMED || error == E_TOO_BIG ? OK : error;
}

/* Puts the error that a sender gets into its archive, so that its message does not look delivered there. */
static int
bounce_add(struct slice whole, uint64_t now)
{
	struct account *from, *to;
	struct frame f;
	uint64_t id;
	int error;

	ASSERT(frame_read(whole, &f) == OK);
	error = account_sides(&f, &from, &to);
	if (error)
		return error;
	id = id_next(now);
	error = message_add(id, now, whole);
	if (error == OK)
		index_add(&f, id, from, to);
	return error;
}

int
bounce_take(struct account *account, uint64_t id, uint64_t now)
{
	struct buf whole = { 0 };
	int error = index_all();

	if (error == OK)
		error = bounce_write(account, id, &whole);
	if (error == OK)
		error = spool_remove(account->id, id);
	if (error == OK)
		error = archive_remove(account->id, id);
	if (error == OK && buf_len(&whole) != 0)
		error = bounce_add(buf_slice(&whole), now);
	buf_free(&whole);
	return error ? error : account_remove_empty(account);
}
