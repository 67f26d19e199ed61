/*
 * fast.c: tokens with which a client's installation logs in again (XEP-0484), and the proof that it
 * has one (draft-schmaus-kitten-sasl-ht-09). Called by sasl.c, account.c and command.c. Fails on
 * proofs that fit no token; when the store fails, so does the commit of this iteration.
 *
 * Of each installation (the id of its user agent) there is a row with two slots:
 *
 *	issue -> FRESH ----- used -----> CURRENT ------ expired, invalidated, revoked -> gone
 *	           |                        |
 *	           +-- issued once more,    +-- FRESH is used: the client has it now
 *	               unused: replaced
 *
 * so that a client which lost the answer with its new token still has the one before. A token is
 * durable before the client sees it, and so is the count that it was used with: main.c sends what is
 * in the transaction when that is on disk.
 *
 * The token itself is stored, not a hash: the proof is made with it, so that whoever has what proves
 * it has the token. It is random, and of use here only.
 *
 * Row: version, u64 used, user agent, its words about itself, then for each slot u8 mechanism (0:
 * empty, and that is all), token, u64 issued, u64 expiry, u64 count.
 */
#include <gnutls/crypto.h>
#include <gnutls/gnutls.h>

#include "authd.h"
#include "counter.h"
#include "log.h"

#define USED_STEP 3600000 /* milliseconds by which the time of the last use may be off */

struct slot {
	uint8_t mechanism; /* enum fast_mechanism; 0: empty */
	char token[FAST_TOKEN];
	uint64_t issued, expiry, count;
};

struct row {
	uint64_t used;
	char agent[FAST_AGENT + 1];
	char words[FAST_WORDS + 1];
	struct slot fresh, current;
};

/* -- rows -- */

static int
slot_read(struct value_reader *r, struct slot *slot)
{
	struct slice token;

	*slot = (struct slot){ .mechanism = value_u8(r) };
	if (slot->mechanism == FAST_NO || r->error)
		return r->error;
	token = value_slice(r);
	slot->issued = value_u64(r);
	slot->expiry = value_u64(r);
	slot->count = value_u64(r);
	if (r->error || token.len != FAST_TOKEN || slot->mechanism >= FAST_MECHANISMS)
		return E_MALFORMED;
	memcpy(slot->token, token.ptr, FAST_TOKEN);
	return OK;
}

/* Copies a counted string into room for so many bytes and a NUL. */
static int
text_read(struct value_reader *r, char *text, size_t max)
{
	struct slice s = value_slice(r);

	if (r->error || s.len > max)
		return E_MALFORMED;
	memcpy(text, s.ptr != NULL ? s.ptr : "", s.len);
	text[s.len] = '\0';
	return OK;
}

static int
row_read(struct slice value, struct row *row)
{
	struct value_reader r = { value, OK };

	if (value_u8(&r) != VALUE_VERSION)
		return E_MALFORMED;
	row->used = value_u64(&r);
	if (text_read(&r, row->agent, FAST_AGENT) != OK ||
	    text_read(&r, row->words, FAST_WORDS) != OK || slot_read(&r, &row->fresh) != OK ||
	    slot_read(&r, &row->current) != OK)
		return E_MALFORMED;
	return OK;
}

static void
slot_write(struct buf *out, const struct slot *slot)
{
	value_add_u8(out, slot->mechanism);
	if (slot->mechanism == FAST_NO)
		return;
	value_add_slice(out, slice_of(slot->token, FAST_TOKEN));
	value_add_u64(out, slot->issued);
	value_add_u64(out, slot->expiry);
	value_add_u64(out, slot->count);
}

/* Stores a row, or removes it when it has no token any more. */
static int
row_write(uint64_t id, const struct row *row)
{
	struct buf value = { .secret = true };
	char key[KEY_HASHED];
	struct slice k = state_key_hashed(id, slice_string(row->agent), key);
	int error;

	if (row->fresh.mechanism == FAST_NO && row->current.mechanism == FAST_NO)
		return store_remove(state.store, TABLE_FAST, k);
	value_add_u8(&value, VALUE_VERSION);
	value_add_u64(&value, row->used);
	value_add_slice(&value, slice_string(row->agent));
	value_add_slice(&value, slice_string(row->words));
	slot_write(&value, &row->fresh);
	slot_write(&value, &row->current);
	error = store_put(state.store, TABLE_FAST, k, buf_slice(&value));
	buf_free(&value);
	return error;
}

/* Reads the row of an installation; *row is empty when there is none. */
static int
row_find(uint64_t id, struct slice agent, struct row *row)
{
	char key[KEY_HASHED];
	struct slice value;
	int error;

	memset(row, 0, sizeof *row);
	if (agent.len > FAST_AGENT)
		return E_NOT_FOUND;
	error = store_get(state.store, TABLE_FAST, state_key_hashed(id, agent, key), &value);
	if (error == OK && (row_read(value, row) != OK || !slice_is(agent, row->agent))) {
		log_error("token unreadable", "agent=%s", log_quote(agent));
		memset(row, 0, sizeof *row);
		error = E_NOT_FOUND;
	}
	return error;
}

/* -- proofs -- */

int
fast_message_read(struct slice message, struct slice *user, struct slice *hash)
{
	const char *nul = memchr(message.ptr, '\0', message.len);

	if (nul == NULL)
		return E_MALFORMED;
	*user = slice_of(message.ptr, (size_t)(nul - message.ptr));
	*hash = slice_part(message, user->len + 1, message.len);
	return user->len != 0 && hash->len == FAST_HASH ? OK : E_MALFORMED;
}

/* HMAC(token, who || channel binding). */
static int
hash_make(const struct slot *slot, const char *who, struct slice binding, uint8_t out[FAST_HASH])
{
	gnutls_hmac_hd_t mac;

	if (gnutls_hmac_init(&mac, GNUTLS_MAC_SHA256, slot->token, FAST_TOKEN) != 0)
		return E_SYSTEM;
	gnutls_hmac(mac, who, strlen(who));
	if (binding.len != 0)
		gnutls_hmac(mac, binding.ptr, binding.len);
	gnutls_hmac_deinit(mac, out);
	return OK;
}

/* Whether a proof fits the token of a slot. An empty slot takes as long. */
static bool
slot_fits(const struct slot *slot, const struct fast_proof *p)
{
	uint8_t hash[FAST_HASH];

	return hash_make(slot, "Initiator", p->binding, hash) == OK &&
	    gnutls_memcmp(hash, p->hash.ptr, FAST_HASH) == 0 && slot->mechanism != FAST_NO &&
	    slot->mechanism == (uint8_t)p->mechanism;
}

/* Takes note of a use; returns whether there is anything to be stored. */
static bool
use_note(struct row *row, const struct fast_proof *p, bool fresh)
{
	bool changed = fresh || p->count != 0 || p->invalidate || p->now - row->used >= USED_STEP;

	if (fresh) {
		row->current = row->fresh;
		row->fresh = (struct slot){ 0 };
	}
	if (p->count != 0)
		row->current.count = p->count;
	if (p->invalidate)
		row->fresh = row->current = (struct slot){ 0 };
	row->used = p->now;
	return changed;
}

int
fast_check(const struct fast_proof *p, struct fast_result *result)
{
	const struct slot *slot;
	struct row row;
	bool fresh, current;
	int error;

	*result = (struct fast_result){ 0 };
	row_find(p->id, p->agent, &row);
	fresh = slot_fits(&row.fresh, p);
	current = slot_fits(&row.current, p);
	slot = fresh ? &row.fresh : &row.current;
	if (!fresh && !current)
		error = E_MISMATCH;
	else if (slot->expiry <= p->now)
		error = E_FORBIDDEN;
	else if (p->count != 0 && p->count <= slot->count)
		error = E_EXISTS;
	else
		error = hash_make(slot, "Responder", p->binding, result->answer);
	if (error == OK) {
		result->due = !p->invalidate && p->now - slot->issued >= state.token_rotation;
		result->stored = use_note(&row, p, fresh);
	}
	if (result->stored)
		error = row_write(p->id, &row);
	gnutls_memset(&row, 0, sizeof row);
	return error;
}

/* -- issuing and ending -- */

/* What the rows of an account are looked through for. */
struct census {
	uint64_t now;
	size_t count;
	uint64_t oldest;               /* use of the one that was used least lately */
	char agent[FAST_AGENT + 1];    /* whose that is */
};

static bool
slot_over(const struct slot *slot, uint64_t now)
{
	return slot->mechanism == FAST_NO || slot->expiry <= now;
}

/* Removes a row whose tokens have expired, and counts the others. */
static bool
census_take(void *arg, struct slice key, struct slice value)
{
	struct census *census = arg;
	char copy[KEY_HASHED];
	struct row row;

	if (row_read(value, &row) != OK ||
	    (slot_over(&row.fresh, census->now) && slot_over(&row.current, census->now))) {
		memcpy(copy, key.ptr, sizeof copy);
		store_remove(state.store, TABLE_FAST, slice_of(copy, sizeof copy));
	} else if (census->count++ == 0 || row.used < census->oldest) {
		census->oldest = row.used;
		memcpy(census->agent, row.agent, sizeof census->agent);
	}
	gnutls_memset(&row, 0, sizeof row);
	return true;
}

/* Makes room for one installation more. */
static void
room_make(uint64_t id, uint64_t now)
{
	struct census census = { .now = now };
	char key[8];
	struct slice prefix = state_key(id, key);

	store_walk(state.store, TABLE_FAST, prefix, prefix, census_take, &census);
	if (census.count >= state.tokens)
		fast_revoke(id, slice_string(census.agent));
}

/* Random digits. */
static int
token_make(char token[FAST_TOKEN])
{
	uint8_t random[FAST_TOKEN / 2];
	size_t i;

	if (gnutls_rnd(GNUTLS_RND_KEY, random, sizeof random) != 0)
		return E_SYSTEM;
	for (i = 0; i < sizeof random; i++) {
		token[2 * i] = "0123456789abcdef"[random[i] >> 4];
		token[2 * i + 1] = "0123456789abcdef"[random[i] & 15];
	}
	gnutls_memset(random, 0, sizeof random);
	return OK;
}

int
fast_issue(const struct fast_wish *wish, struct buf *token, uint64_t *expiry)
{
	struct row row;
	int error;

	if (state.tokens == 0 || wish->agent.len == 0 || wish->agent.len > FAST_AGENT)
		return E_FORBIDDEN;
	if (row_find(wish->id, wish->agent, &row) != OK) {
		room_make(wish->id, wish->now);
		memcpy(row.agent, wish->agent.ptr, wish->agent.len);
		row.used = wish->now;
	}
	if (wish->words.len != 0) {
		size_t len = wish->words.len < FAST_WORDS ? wish->words.len : FAST_WORDS;

		memcpy(row.words, wish->words.ptr, len);
		row.words[len] = '\0';
	}
	row.fresh = (struct slot){ .mechanism = (uint8_t)wish->mechanism, .issued = wish->now,
		.expiry = wish->now + state.token_lifetime };
	error = token_make(row.fresh.token);
	if (error == OK)
		error = row_write(wish->id, &row);
	if (error == OK) {
		COUNT(tokens_issued);
		*expiry = row.fresh.expiry;
		buf_add(token, row.fresh.token, FAST_TOKEN);
	}
	gnutls_memset(&row, 0, sizeof row);
	return error;
}

int
fast_revoke(uint64_t id, struct slice agent)
{
	char key[KEY_HASHED];

	return store_remove(state.store, TABLE_FAST, state_key_hashed(id, agent, key));
}

void
fast_revoke_all(uint64_t id)
{
	state_remove_all(TABLE_FAST, id);
}

/* -- for administrators -- */

struct walk {
	void (*each)(void *arg, const struct fast_entry *entry);
	void *arg;
};

static bool
entry_tell(void *arg, struct slice key, struct slice value)
{
	const struct walk *walk = arg;
	struct row row;
	struct fast_entry entry = { 0 };

	(void)key;
	if (row_read(value, &row) != OK)
		return true;
	entry.agent = slice_string(row.agent);
	entry.words = slice_string(row.words);
	entry.used = row.used;
	entry.issued = row.fresh.mechanism != FAST_NO ? row.fresh.issued : row.current.issued;
	entry.expiry = row.fresh.expiry > row.current.expiry ? row.fresh.expiry :
	    row.current.expiry;
	entry.mechanism = (enum fast_mechanism)(row.current.mechanism != FAST_NO ?
	    row.current.mechanism : row.fresh.mechanism);
	walk->each(walk->arg, &entry);
	gnutls_memset(&row, 0, sizeof row);
	return true;
}

void
fast_each(uint64_t id, void (*each)(void *arg, const struct fast_entry *entry), void *arg)
{
	struct walk walk = { each, arg };
	char key[8];
	struct slice prefix = state_key(id, key);

	store_walk(state.store, TABLE_FAST, prefix, prefix, entry_tell, &walk);
}
