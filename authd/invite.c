/*
 * invite.c: invitations: tokens with which an account can be made where registration is closed
 * (XEP-0445), and which put who takes them and their inviter into each other's roster (XEP-0379,
 * XEP-0401). Called by register.c, presence.c and command.c; fails when the store does.
 *
 * A token is the number of the inviter's account and random letters. The store has its hash alone,
 * below that number: so a copy of the store is no bunch of keys, what an account has open is counted
 * in one walk, and goes with the account. What administrators make has the number 0.
 *
 * Row: version, u64 created, u64 expires, u32 uses, u32 flags, domain, inviter, name.
 * Reservation of a name: hash of the bare JID -> version, key of the row that reserves it. It counts
 * as long as that row is there and has not expired.
 */
#include <gnutls/crypto.h>
#include <inttypes.h>
#include <stdlib.h>

#include "authd.h"
#include "counter.h"
#include "log.h"

#define RANDOM_BYTES 16
#define OPEN_MAX     10000 /* invitations that administrators may have open */

/* The part of a token behind the account's number: 128 bits in base 32. */
static void
letters_make(uint64_t id, char token[INVITE_TOKEN])
{
	static const char letters[] = "abcdefghijklmnopqrstuvwxyz234567";
	uint8_t random[RANDOM_BYTES];
	unsigned bits = 0, held = 0;
	size_t i, at;

	if (gnutls_rnd(GNUTLS_RND_KEY, random, sizeof random) != 0)
		log_panic(__FILE__, __LINE__, "no random bytes");
	at = (size_t)snprintf(token, INVITE_TOKEN, "%" PRIx64 "x", id);
	for (i = 0; i < sizeof random || held != 0; ) {
		if (held < 5 && i < sizeof random) {
			bits = bits << 8 | random[i++];
			held += 8;
		} else if (held < 5) {
			bits <<= 5 - held;
			held = 5;
		}
		held -= 5;
		token[at++] = letters[bits >> held & 31];
		bits &= (1u << held) - 1;
	}
	token[at] = '\0';
}

/* The key of a token's row; false when it is none of ours. */
static bool
row_key(struct slice token, char out[KEY_HASHED], struct slice *key)
{
	uint64_t id = 0;
	size_t i;

	if (token.len >= INVITE_TOKEN)
		return false;
	for (i = 0; i < token.len && i < 16 && token.ptr[i] != 'x'; i++) {
		char c = token.ptr[i];

		if ((c < '0' || c > '9') && (c < 'a' || c > 'f'))
			return false;
		id = id << 4 | (uint64_t)(c <= '9' ? c - '0' : c - 'a' + 10);
	}
	if (i == 0 || i >= token.len || token.ptr[i] != 'x')
		return false;
	*key = state_key_hashed(id, token, out);
	return true;
}

static int
row_read(struct slice value, struct invite *invite)
{
	struct value_reader r = { value, OK };

	*invite = (struct invite){ 0 };
	if (value_u8(&r) != VALUE_VERSION)
		return E_MALFORMED;
	invite->created = value_u64(&r);
	invite->expires = value_u64(&r);
	invite->uses = value_u32(&r);
	invite->flags = value_u32(&r);
	invite->domain = value_slice(&r);
	invite->inviter = value_slice(&r);
	invite->name = value_slice(&r);
	return r.error;
}

static int
row_write(struct slice key, const struct invite *invite)
{
	struct buf value = { 0 };
	int error;

	value_add_u8(&value, VALUE_VERSION);
	value_add_u64(&value, invite->created);
	value_add_u64(&value, invite->expires);
	value_add_u32(&value, invite->uses);
	value_add_u32(&value, invite->flags);
	value_add_slice(&value, invite->domain);
	value_add_slice(&value, invite->inviter);
	value_add_slice(&value, invite->name);
	error = store_put(state.store, TABLE_INVITE, key, buf_slice(&value));
	buf_free(&value);
	return error;
}

/* -- names that are reserved ------------------------------------------------------------------- */

static struct slice
name_key(struct slice bare, char out[32])
{
	store_key_hash(out, bare);
	return slice_of(out, 32);
}

/* The row that reserves a name, as its key; false when none does. */
static bool
reserved_by(struct slice bare, uint64_t now, char out[KEY_HASHED], struct slice *key)
{
	struct invite invite;
	struct slice value;
	char hash[32];

	if (store_get(state.store, TABLE_RESERVED, name_key(bare, hash), &value) != OK ||
	    value.len != 1 + KEY_HASHED || value.ptr[0] != VALUE_VERSION)
		return false;
	memcpy(out, value.ptr + 1, KEY_HASHED);
	*key = slice_of(out, KEY_HASHED);
	return store_get(state.store, TABLE_INVITE, *key, &value) == OK &&
	    row_read(value, &invite) == OK && invite.expires > now;
}

bool
invite_reserved(struct slice bare, uint64_t now)
{
	char out[KEY_HASHED];
	struct slice key;

	return reserved_by(bare, now, out, &key);
}

static void
reserve(struct slice bare, struct slice key)
{
	struct buf value = { 0 };
	char hash[32];

	value_add_u8(&value, VALUE_VERSION);
	buf_add_slice(&value, key);
	store_put(state.store, TABLE_RESERVED, name_key(bare, hash), buf_slice(&value));
	buf_free(&value);
}

/* Takes back a reservation that this row has made. */
static void
release(struct slice domain, struct slice name, struct slice key)
{
	struct buf bare = { 0 };
	struct slice value;
	char hash[32];

	if (name.len == 0)
		return;
	buf_printf(&bare, "%.*s@%.*s", SLICE_ARG(name), SLICE_ARG(domain));
	if (store_get(state.store, TABLE_RESERVED, name_key(buf_slice(&bare), hash), &value) == OK &&
	    value.len == 1 + KEY_HASHED && slice_equal(slice_part(value, 1, KEY_HASHED), key))
		store_remove(state.store, TABLE_RESERVED, slice_of(hash, sizeof hash));
	buf_free(&bare);
}

/* -- rows -------------------------------------------------------------------------------------- */

static void
row_remove(struct slice key, const struct invite *invite)
{
	struct buf domain = { 0 }, name = { 0 };
	char copy[KEY_HASHED];

	memcpy(copy, key.ptr, KEY_HASHED);
	buf_add_slice(&domain, invite->domain);
	buf_add_slice(&name, invite->name);
	store_remove(state.store, TABLE_INVITE, slice_of(copy, KEY_HASHED));
	release(buf_slice(&domain), buf_slice(&name), slice_of(copy, KEY_HASHED));
	buf_free(&domain);
	buf_free(&name);
}

struct sweep {
	uint64_t now;
	size_t open;
};

/* Counts what is open, and removes what has expired so long ago that no stream may use it. */
static bool
sweep_row(void *arg, struct slice key, struct slice value)
{
	struct sweep *sweep = arg;
	struct invite invite;

	if (key.len != KEY_HASHED)
		return true;
	if (row_read(value, &invite) != OK || invite.expires + INVITE_LATE <= sweep->now)
		row_remove(key, &invite);
	else if (invite.expires > sweep->now)
		sweep->open++;
	return true;
}

static size_t
sweep(struct slice prefix, uint64_t now)
{
	struct sweep all = { .now = now };

	store_walk(state.store, TABLE_INVITE, prefix, prefix, sweep_row, &all);
	return all.open;
}

/* Removes a reservation whose invitation is gone, with its inviter. */
static bool
reserved_row(void *arg, struct slice hash, struct slice value)
{
	char key[KEY_HASHED], copy[32];
	struct slice row;

	(void)arg;
	if (hash.len != sizeof copy)
		return true;
	memcpy(copy, hash.ptr, sizeof copy);
	if (value.len == 1 + KEY_HASHED)
		memcpy(key, value.ptr + 1, KEY_HASHED);
	if (value.len != 1 + KEY_HASHED ||
	    store_get(state.store, TABLE_INVITE, slice_of(key, KEY_HASHED), &row) == E_NOT_FOUND)
		store_remove(state.store, TABLE_RESERVED, slice_of(copy, sizeof copy));
	return true;
}

void
invite_open(uint64_t now)
{
	sweep(SLICE(""), now);
	store_walk(state.store, TABLE_RESERVED, SLICE(""), SLICE(""), reserved_row, NULL);
}

int
invite_create(const struct invite *invite, uint64_t now, char token[INVITE_TOKEN])
{
	char prefix[8], out[KEY_HASHED];
	struct buf bare = { 0 };
	struct slice key;
	struct account a = { 0 };
	int error = OK;

	if (invite->inviter.len != 0 && account_find(invite->inviter, &a) != OK)
		return E_NOT_FOUND;
	if (sweep(state_key(a.id, prefix), now) >= (a.id != 0 ? state.invitations : OPEN_MAX)) {
		COUNT(invitations_refused);
		return E_TOO_MANY;
	}
	buf_printf(&bare, "%.*s@%.*s", SLICE_ARG(invite->name), SLICE_ARG(invite->domain));
	if (invite->name.len != 0 && (account_exists(buf_slice(&bare)) ||
	    invite_reserved(buf_slice(&bare), now)))
		error = E_EXISTS;
	letters_make(a.id, token);
	if (error == OK && !row_key(slice_string(token), out, &key))
		error = E_MALFORMED;
	if (error == OK)
		error = row_write(key, invite);
	if (error == OK && invite->name.len != 0)
		reserve(buf_slice(&bare), key);
	if (error == OK) {
		COUNT(invitations);
		log_info("invitation made", "domain=%s by=%s name=%s uses=%u",
		    log_quote(invite->domain), log_quote(invite->inviter), log_quote(invite->name),
		    invite->uses);
	}
	buf_free(&bare);
	return error;
}

int
invite_find(struct slice token, uint64_t now, bool late, struct invite *invite)
{
	char out[KEY_HASHED];
	struct slice key, value;

	if (!row_key(token, out, &key) ||
	    store_get(state.store, TABLE_INVITE, key, &value) != OK ||
	    row_read(value, invite) != OK || invite->uses == 0 ||
	    invite->expires + (late ? INVITE_LATE : 0) <= now)
		return E_NOT_FOUND;
	return OK;
}

bool
invite_reserves(struct slice token, struct slice bare, uint64_t now)
{
	char mine_out[KEY_HASHED], other_out[KEY_HASHED];
	struct slice mine, other;

	return row_key(token, mine_out, &mine) && reserved_by(bare, now, other_out, &other) &&
	    slice_equal(mine, other);
}

void
invite_use(struct slice token)
{
	struct buf copy = { 0 };
	struct invite invite;
	char out[KEY_HASHED];
	struct slice key, value;

	if (!row_key(token, out, &key) || store_get(state.store, TABLE_INVITE, key, &value) != OK)
		return;
	buf_add_slice(&copy, value); /* that of the store moves */
	if (row_read(buf_slice(&copy), &invite) == OK) {
		if (invite.uses > 1) {
			invite.uses--;
			row_write(key, &invite);
		} else {
			row_remove(key, &invite);
		}
		COUNT(invitations_used);
	}
	buf_free(&copy);
}

/* -- for administrators ------------------------------------------------------------------------ */

void
invite_id(struct slice key, char id[INVITE_ID])
{
	size_t i;

	for (i = 0; i < (INVITE_ID - 1) / 2; i++)
		snprintf(id + 2 * i, 3, "%02x", (unsigned)(unsigned char)key.ptr[8 + i]);
}

struct walk {
	void (*each)(void *arg, const char *id, const struct invite *invite);
	void *arg;
	struct slice wanted; /* of revoke */
	char found[KEY_HASHED];
	bool is_found;
};

static bool
walk_row(void *arg, struct slice key, struct slice value)
{
	struct walk *walk = arg;
	struct invite invite;
	char id[INVITE_ID];

	if (key.len != KEY_HASHED || row_read(value, &invite) != OK)
		return true;
	invite_id(key, id);
	if (walk->each != NULL) {
		walk->each(walk->arg, id, &invite);
	} else if (slice_is(walk->wanted, id)) {
		memcpy(walk->found, key.ptr, KEY_HASHED);
		walk->is_found = true;
	}
	return true;
}

void
invite_each(void (*each)(void *arg, const char *id, const struct invite *invite), void *arg)
{
	struct walk walk = { .each = each, .arg = arg };

	store_walk(state.store, TABLE_INVITE, SLICE(""), SLICE(""), walk_row, &walk);
}

int
invite_revoke(struct slice id)
{
	struct walk walk = { .wanted = id };
	struct invite invite;
	struct slice value;
	int error = store_walk(state.store, TABLE_INVITE, SLICE(""), SLICE(""), walk_row, &walk);

	if (error)
		return error;
	if (!walk.is_found || store_get(state.store, TABLE_INVITE,
	    slice_of(walk.found, KEY_HASHED), &value) != OK || row_read(value, &invite) != OK)
		return E_NOT_FOUND;
	log_info("invitation revoked", "id=%s domain=%s", log_quote(id), log_quote(invite.domain));
	row_remove(slice_of(walk.found, KEY_HASHED), &invite);
	return OK;
}

/* -- its address ------------------------------------------------------------------------------- */

/* A part of a JID within a URI (RFC 5122). */
static void
uri_add(struct slice text, struct buf *out)
{
	static const char safe[] = "-._~!$'()*+,";
	size_t i;

	for (i = 0; i < text.len; i++) {
		unsigned char c = (unsigned char)text.ptr[i];
		bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
		    (c != 0 && strchr(safe, c) != NULL);

		if (plain)
			buf_add_char(out, (char)c);
		else
			buf_printf(out, "%%%02X", (unsigned)c);
	}
}

void
invite_uri(const struct invite *invite, const char *token, struct buf *out)
{
	bool contact = (invite->flags & INVITE_ROSTER) != 0;
	struct jid jid = { .domain = invite->domain, .local = invite->name };

	if (contact)
		jid_split(invite->inviter, &jid);
	buf_add_string(out, "xmpp:");
	if (jid.local.len != 0) {
		uri_add(jid.local, out);
		buf_add_char(out, '@');
	}
	uri_add(jid.domain, out);
	buf_printf(out, "?%s;preauth=%s%s", contact ? "roster" : "register", token,
	    contact && invite->flags & INVITE_REGISTER ? ";ibr=y" : "");
}
