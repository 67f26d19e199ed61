/*
 * prefs.c: what an account wants to have in its archive (XEP-0441). Called by mam.c with requests, and by
 * batch.c for each message and its receivers. Fails when the store does.
 *
 * Rows of prefs: account -> version, default, addresses always and never archived (lists of block.h). An
 * account without a row has everything archived. Rows of asked: account, archive id -> version.
 *
 * With the default 'roster' a copy is made, and authd is asked whether the other one is in the roster:
 *
 *   (message committed) -> ASKED, in the archive -> (ROSTER_IS: listed) -> stays
 *                                                -> (ROSTER_IS: not)    -> gone
 *
 * A question that was lost with a process is asked again. Asking before would hold up what is behind the
 * message, and a copy that came later would be behind what a client has read.
 */
#include "archived.h"

#include <stdlib.h>

#include "block.h"
#include "counter.h"
#include "jid.h"
#include "mem.h"
#include "ns.h"
#include "xmlout.h"

#define ITEMS_MAX 1000         /* addresses of both lists */
#define BYTES_MAX (256u << 10) /* of them: the answer is a frame */
#define ASK_AGAIN 500          /* questions that are asked again at once */

struct prefs {
	enum verdict other;          /* for whom is in neither list */
	struct slice always, never;  /* lists of block.h */
};

static const char *const defaults[] = {
	[VERDICT_KEEP] = "always", [VERDICT_LEAVE] = "never", [VERDICT_ASK] = "roster",
};

static size_t asked; /* rows of the table, exactly whenever they are asked again */

/* -- rows -- */

static struct slice
prefs_key(uint64_t account, char out[8])
{
	store_key_u64(out, account);
	return slice_of(out, 8);
}

/* Reads the preferences of an account; they point into the store. */
static int
prefs_get(struct account *account, struct prefs *prefs)
{
	struct value_reader r = { 0 };
	unsigned other;
	char key[8];
	int error = E_NOT_FOUND;

	*prefs = (struct prefs){ .other = VERDICT_KEEP };
	if (account->id != 0 && account->prefs != ACCOUNT_PREFS_NONE)
		error = store_get(state.store, TABLE_PREFS, prefs_key(account->id, key), &r.rest);
	account->prefs = error == OK ? ACCOUNT_PREFS : ACCOUNT_PREFS_NONE;
	if (error)
		return error == E_NOT_FOUND ? OK : error;
	value_u8(&r);
	other = value_u8(&r);
	prefs->always = value_slice(&r);
	prefs->never = value_slice(&r);
	if (r.error || other > VERDICT_ASK)
		return E_MALFORMED;
	prefs->other = (enum verdict)other;
	return OK;
}

static int
prefs_put(struct account *account, const struct prefs *prefs)
{
	struct buf value = { 0 };
	char key[8];
	int error;

	if (prefs->other == VERDICT_KEEP && prefs->always.len == 0 && prefs->never.len == 0) {
		error = store_remove(state.store, TABLE_PREFS, prefs_key(account->id, key));
		account->prefs = ACCOUNT_PREFS_NONE;
		return error == E_NOT_FOUND ? OK : error;
	}
	value_add_u8(&value, VALUE_VERSION);
	value_add_u8(&value, (uint8_t)prefs->other);
	value_add_slice(&value, prefs->always);
	value_add_slice(&value, prefs->never);
	error = store_put(state.store, TABLE_PREFS, prefs_key(account->id, key), buf_slice(&value));
	account->prefs = ACCOUNT_PREFS;
	buf_free(&value);
	return error;
}

int
prefs_remove(uint64_t account)
{
	char key[8];
	int error = store_remove(state.store, TABLE_PREFS, prefs_key(account, key));

	return error == E_NOT_FOUND ? OK : error;
}

bool
prefs_exist(struct account *account)
{
	struct prefs prefs;

	return prefs_get(account, &prefs) != OK || account->prefs == ACCOUNT_PREFS;
}

/* -- what they say -- */

/* An address as it is goes before its bare form, and among equals never before always. */
int
prefs_verdict(struct account *account, struct slice other, enum verdict *verdict)
{
	struct slice bare = jid_bare_of(other);
	struct prefs prefs;
	int error = prefs_get(account, &prefs);

	if (error || account->prefs == ACCOUNT_PREFS_NONE)
		*verdict = VERDICT_KEEP;
	else if (block_has(prefs.never, other))
		*verdict = VERDICT_LEAVE;
	else if (block_has(prefs.always, other))
		*verdict = VERDICT_KEEP;
	else if (block_has(prefs.never, bare))
		*verdict = VERDICT_LEAVE;
	else if (block_has(prefs.always, bare))
		*verdict = VERDICT_KEEP;
	else
		*verdict = prefs.other;
	/* Nobody has oneself in the roster. */
	if (*verdict == VERDICT_ASK && slice_equal(bare, slice_of(account->jid, account->len)))
		*verdict = VERDICT_KEEP;
	return error == E_MALFORMED ? OK : error;
}

/* -- requests -- */

/* Preferences that are being read. */
struct reading {
	char *items[ITEMS_MAX];       /* of the list at hand */
	size_t count, total, bytes;   /* of that list, of both */
	enum stanza_error error;
	const char *why;
};

static bool
fail(struct reading *r, enum stanza_error error, const char *why)
{
	r->error = error;
	r->why = why;
	return false;
}

static int
by_address(const void *one, const void *other)
{
	return slice_compare(slice_string(*(char *const *)one), slice_string(*(char *const *)other));
}

static bool
item_read(struct reading *r, const struct xmlin_element *element)
{
	char out[JID_MAX + 1];
	struct buf scratch = { 0 };
	struct slice text;
	struct jid jid;
	bool good = xmlin_text(element, &scratch, &text) == OK && jid_prepare(text, out, &jid) == OK;

	buf_free(&scratch);
	if (!good)
		return fail(r, STANZA_ERROR_JID_MALFORMED, "Not an address");
	if (r->total == ITEMS_MAX || r->bytes + jid.full.len > BYTES_MAX)
		return fail(r, STANZA_ERROR_POLICY_VIOLATION, "Too many addresses");
	r->items[r->count++] = slice_dup(jid.full);
	r->total++;
	r->bytes += jid.full.len;
	return true;
}

/* Reads the addresses of a list, sorted and each once. */
static bool
list_read(struct reading *r, const struct xmlin_element *list, struct buf *out)
{
	struct xmlin_element child;
	struct xmlin in;
	bool good = true;
	size_t i;

	r->count = 0;
	xmlin_begin(&in, list->content, list->ns);
	while (good && xmlin_child(&in, &child))
		if (slice_is(child.name, "jid") && slice_is(child.ns, NS_MAM))
			good = item_read(r, &child);
	if (good && in.error)
		good = fail(r, STANZA_ERROR_BAD_REQUEST, NULL);
	qsort(r->items, r->count, sizeof *r->items, by_address);
	for (i = 0; i < r->count; i++) {
		if (i == 0 || strcmp(r->items[i], r->items[i - 1]) != 0) {
			buf_add_string(out, r->items[i]);
			buf_add_char(out, '\n');
		}
	}
	for (i = 0; i < r->count; i++)
		free(r->items[i]);
	return good;
}

static bool
default_read(struct reading *r, const struct xmlin_element *element, enum verdict *verdict)
{
	struct buf scratch = { 0 };
	struct slice text;
	size_t i = VERDICT_COUNT;

	if (xmlin_attribute(element, "default", &scratch, &text) == OK)
		for (i = 0; i < VERDICT_COUNT && !slice_is(text, defaults[i]); i++)
			;
	buf_free(&scratch);
	if (i == VERDICT_COUNT)
		return fail(r, STANZA_ERROR_BAD_REQUEST, "default is always, never or roster");
	*verdict = (enum verdict)i;
	return true;
}

/* Reads <prefs/>. A list that is there twice is a mistake. */
static bool
prefs_read(struct reading *r, const struct xmlin_element *element, enum verdict *verdict,
    struct buf *always, struct buf *never)
{
	bool good = default_read(r, element, verdict), has_always = false, has_never = false;
	struct xmlin_element child;
	struct xmlin in;

	xmlin_begin(&in, element->content, element->ns);
	while (good && xmlin_child(&in, &child)) {
		bool is_always = slice_is(child.name, "always"), is_never = slice_is(child.name, "never");

		if (!slice_is(child.ns, NS_MAM) || !(is_always || is_never))
			continue;
		if (is_always ? has_always : has_never)
			good = fail(r, STANZA_ERROR_BAD_REQUEST, "A list is there twice");
		else
			good = list_read(r, &child, is_always ? always : never);
		has_always |= is_always;
		has_never |= is_never;
	}
	return good && (in.error == OK || fail(r, STANZA_ERROR_BAD_REQUEST, NULL));
}

static void
list_write(struct buf *out, const char *name, struct slice list)
{
	struct slice jid;

	buf_add_char(out, '<');
	buf_add_string(out, name);
	if (list.len == 0) {
		buf_add(out, "/>", 2);
		return;
	}
	buf_add_char(out, '>');
	while (block_next(&list, &jid))
		xml_add_element(out, "jid", jid);
	buf_add(out, "</", 2);
	buf_add_string(out, name);
	buf_add_char(out, '>');
}

static void
prefs_write(const struct prefs *prefs, struct buf *out)
{
	xml_open(out, "prefs", SLICE(NS_MAM));
	xml_add_attribute(out, "default", slice_string(defaults[prefs->other]));
	buf_add_char(out, '>');
	list_write(out, "always", prefs->always);
	list_write(out, "never", prefs->never);
	buf_add_string(out, "</prefs>");
}

int
prefs_show(struct slice jid, struct buf *payload)
{
	struct account *account;
	struct prefs prefs = { .other = VERDICT_KEEP };
	int error = account_find(jid, &account);

	if (error == OK)
		error = prefs_get(account, &prefs);
	if (error == OK || error == E_NOT_FOUND)
		prefs_write(&prefs, payload);
	return error == E_NOT_FOUND ? OK : error;
}

int
prefs_set(struct slice jid, const struct xmlin_element *element, struct buf *payload,
    enum stanza_error *wrong, const char **text)
{
	struct reading *r = mem_alloc(sizeof *r);
	struct buf always = { 0 }, never = { 0 };
	struct prefs prefs = { .other = VERDICT_KEEP };
	struct account *account;
	int error = OK;

	if (prefs_read(r, element, &prefs.other, &always, &never)) {
		prefs.always = buf_slice(&always);
		prefs.never = buf_slice(&never);
		error = account_make(jid, &account);
		if (error == OK)
			error = prefs_put(account, &prefs);
		if (error == OK)
			prefs_write(&prefs, payload);
	}
	*wrong = r->error;
	*text = r->why;
	buf_free(&always);
	buf_free(&never);
	free(r);
	return error;
}

/* -- the roster -- */

static int
ask(const struct account *account, uint64_t id, struct slice other, struct out *out)
{
	struct frame f = { .type = FRAME_ROSTER_ASK, .archive_id = id, .number = account->id,
		.jid = slice_of(account->jid, account->len), .to = jid_bare_of(other) };

	return frame_write(&f, &out->frames);
}

int
prefs_ask(const struct account *account, uint64_t id, struct slice other, struct out *out)
{
	static const char value[] = { VALUE_VERSION };
	char key[PLACE_SIZE];
	int error = store_put(state.store, TABLE_ASKED, place_key(account->id, id, key),
	    slice_of(value, sizeof value));

	asked++;
	return error ? error : ask(account, id, other, out);
}

int
prefs_answered(const struct frame *f)
{
	char key[PLACE_SIZE];
	int error = store_remove(state.store, TABLE_ASKED, place_key(f->number, f->archive_id, key));

	if (error)
		return error == E_NOT_FOUND ? OK : error; /* it was asked twice */
	asked -= asked != 0;
	if (f->flags & FLAG_EXISTS)
		return OK;
	COUNT(copies_unlisted);
	error = index_all();
	return error ? error : archive_remove(f->number, f->archive_id);
}

/* A walk over what was asked. */
struct again {
	struct out *out;
	size_t count;
	int error;
};

/* The message says who has it and who the other one is; without it there is nothing to be kept. */
static bool
ask_again(void *arg, struct slice key, struct slice value)
{
	struct again *again = arg;
	uint64_t number = store_key_read_u64(key.ptr), id = place_id(key), stamp;
	char copy[PLACE_SIZE];
	struct account *account;
	struct frame f;
	bool own;

	(void)value;
	if (++again->count > ASK_AGAIN)
		return false;
	again->error = message_get(id, &stamp, &f);
	if (again->error == OK)
		again->error = account_find(jid_bare_of(f.from), &account);
	own = again->error == OK && account->id == number;
	if (!own && (again->error == OK || again->error == E_NOT_FOUND))
		again->error = account_find(jid_bare_of(f.to), &account);
	if (again->error == OK && account->id == number)
		again->error = ask(account, id, own ? f.to : f.from, again->out);
	else if (again->error == OK || again->error == E_NOT_FOUND)
		again->error = store_remove(state.store, TABLE_ASKED, place_key(number, id, copy));
	return again->error == OK;
}

int
prefs_ask_again(struct out *out)
{
	struct again again = { .out = out };
	int error;

	asked = (size_t)store_count(state.store, TABLE_ASKED);
	if (asked == 0)
		return OK;
	error = store_walk(state.store, TABLE_ASKED, SLICE(""), SLICE(""), ask_again, &again);
	return error ? error : again.error;
}

void
prefs_gauges(void)
{
	GAUGE(copies_asked, asked);
}
