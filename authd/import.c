/*
 * import.c: accounts that aldisctl brings out of a file (XEP-0227). Called by the daemon framework; each
 * command is one transaction. Nothing of the file is believed: addresses are prepared, elements are read
 * by the strict reader and written anew, and the limits of an account are those that clients have.
 *
 *   none -> (import begin) -> IMPORTING -> (import part ...) -> IMPORTING -> (import end) -> an account
 *                                  ^---(import begin, after something was killed)---'
 *
 * Until its end nobody can log in: what is there is a part of the account. An account that is there and
 * whole is left alone, or deleted first when it is to be replaced; its contacts are not told then.
 */
#include <gnutls/gnutls.h>
#include <stdlib.h>

#include "authd.h"
#include "block.h"
#include "log.h"
#include "xmlout.h"

#define NOTES_MAX      100      /* things left out that are told of one part */
#define ITERATIONS_MAX 10000000 /* what a client would have to compute */

static int
refuse(json_t **result, int error, const char *text)
{
	*result = json_string(text);
	return error;
}

int
import_account(struct slice word, char out[JID_MAX + 1], struct slice *bare, json_t **result)
{
	struct jid jid;

	if (jid_prepare(word, out, &jid) != OK || jid.local.ptr == NULL || jid.resource.ptr != NULL)
		return refuse(result, E_MALFORMED, "this is not the address of an account");
	if (state_domain(jid.domain) == NULL)
		return refuse(result, E_NOT_FOUND, "no such domain here");
	*bare = jid.full;
	return OK;
}

/* Commits; *result becomes what is said when that went well. */
static int
finish(int error, json_t *said, json_t **result)
{
	int committed = command_commit();

	if (error == OK)
		error = committed;
	if (error == OK) {
		*result = said;
		return OK;
	}
	json_decref(said);
	return refuse(result, error, error == E_FULL ? "the disk is full" :
	    "the store failed; see the log");
}

/* -- begin and end -- */

static int
begin_existing(const struct account *a, struct slice bare, bool replace, json_t **result)
{
	if (a->flags & ACCOUNT_IMPORTING) {
		account_clear(a->id);
		return finish(OK, json_pack("{s:s}", "state", "again"), result);
	}
	if (!replace)
		return refuse(result, E_EXISTS, "this account exists already");
	log_info("account replaced", "account=%s", log_quote(bare));
	return finish(account_remove(bare, true, daemon_now()), json_pack("{s:s}", "state", "removed"),
	    result);
}

static int
import_begin(struct slice *words, size_t count, json_t **result)
{
	char out[JID_MAX + 1];
	struct account a;
	struct slice bare;
	bool replace = count == 2 && slice_is(words[1], "replace");
	int error;

	if (count < 1 || count > 2 || (count == 2 && !replace))
		return E_MALFORMED;
	error = import_account(words[0], out, &bare, result);
	if (error)
		return error;
	if (account_find(bare, &a) == OK)
		return begin_existing(&a, bare, replace, result);
	if (invite_reserved(bare, daemon_now()))
		return refuse(result, E_EXISTS, "an invitation reserves this name: revoke it first");
	if (forget_waits(bare))
		return refuse(result, E_AGAIN,
		    "messages of the last account of this name are being removed, try again");
	return finish(account_create_empty(bare, ACCOUNT_IMPORTING | ACCOUNT_DISABLED, daemon_now()),
	    json_pack("{s:s}", "state", "new"), result);
}

/* Finds an account that is being imported. */
static int
importing(struct slice word, char out[JID_MAX + 1], struct slice *bare, struct account *a,
    json_t **result)
{
	int error = import_account(word, out, bare, result);

	if (error)
		return error;
	if (account_find(*bare, a) != OK || !(a->flags & ACCOUNT_IMPORTING))
		return refuse(result, E_NOT_FOUND, "this account is not being imported");
	return OK;
}

static int
import_end(struct slice *words, size_t count, json_t **result)
{
	char out[JID_MAX + 1];
	struct account a;
	struct slice bare;
	bool keys;
	int error;

	if (count != 1)
		return E_MALFORMED;
	error = importing(words[0], out, &bare, &a, result);
	if (error)
		return error;
	keys = a.keys[account_hash(&a)].iterations != 0;
	error = account_set_flags(bare, a.flags & ~(ACCOUNT_IMPORTING | ACCOUNT_DISABLED));
	if (error == OK) {
		log_info("account imported", "account=%s", log_quote(bare));
		account_tell(bare);
	}
	gnutls_memset(a.keys, 0, sizeof a.keys);
	return finish(error, json_pack("{s:b}", "credentials", keys), result);
}

/* -- parts -- */

/* A part on its way in. */
struct part {
	struct slice bare;
	const struct account *account;
	uint64_t taken;
	json_t *left; /* out, and why */
	struct buf scratch;
};

static void
leave(struct part *part, struct slice what, const char *why)
{
	if (json_array_size(part->left) < NOTES_MAX)
		json_array_append_new(part->left, json_pack("{s:s%, s:s}", "what",
		    what.ptr != NULL ? what.ptr : "", what.len < 200 ? what.len : 200, "reason", why));
}

/* The text of a child, in base64. Returns its length, 0 when it is none or longer than max. */
static size_t
binary_read(struct part *part, const struct xmlin_element *element, const char *name, uint8_t *out,
    size_t max)
{
	struct xmlin_element child;
	struct slice text;
	gnutls_datum_t coded, raw;
	size_t len = 0;

	if (!xmlin_find(element->content, element->ns, name, NS_PIE_SCRAM, &child) ||
	    xmlin_text(&child, &part->scratch, &text) != OK)
		return 0;
	coded = (gnutls_datum_t){ (unsigned char *)(uintptr_t)text.ptr, (unsigned)text.len };
	if (text.len == 0 || gnutls_base64_decode2(&coded, &raw) != 0)
		return 0;
	if (raw.size <= max) {
		memcpy(out, raw.data, raw.size);
		len = raw.size;
	}
	gnutls_memset(raw.data, 0, raw.size);
	gnutls_free(raw.data);
	return len;
}

/* Section "SCRAM credentials". */
static int
credentials_take(struct part *part, const struct xmlin_element *element)
{
	struct scram_keys keys = { 0 };
	struct xmlin_element count;
	struct slice name, text;
	uint64_t iterations = 0;
	unsigned hash = SCRAM_HASHES;
	int error = OK;

	if (xmlin_attribute(element, "mechanism", &part->scratch, &name) != OK)
		name = SLICE("");
	for (hash = 0; hash < SCRAM_HASHES && !slice_is(name, scram_name((enum scram_hash)hash)); hash++)
		;
	if (hash == SCRAM_HASHES) {
		leave(part, name, "no keys of this mechanism are kept here");
		return OK;
	}
	if (xmlin_find(element->content, element->ns, "iter-count", NS_PIE_SCRAM, &count) &&
	    xmlin_text(&count, &part->scratch, &text) == OK)
		slice_number(text, ITERATIONS_MAX, &iterations);
	keys.iterations = (uint32_t)iterations;
	keys.salt_len = binary_read(part, element, "salt", keys.salt, sizeof keys.salt);
	if (keys.iterations == 0 || keys.salt_len == 0 ||
	    binary_read(part, element, "server-key", keys.server, sizeof keys.server) !=
	    scram_size((enum scram_hash)hash) ||
	    binary_read(part, element, "stored-key", keys.stored, sizeof keys.stored) !=
	    scram_size((enum scram_hash)hash)) {
		leave(part, name, "malformed keys");
	} else {
		error = account_add_keys(part->bare, (enum scram_hash)hash, &keys, (enum scram_hash)hash,
		    NULL);
		part->taken++;
	}
	gnutls_memset(&keys, 0, sizeof keys);
	return error;
}

static int
item_take(struct part *part, const struct xmlin_element *element)
{
	char jid_out[JID_MAX + 1];
	struct buf memory = { 0 };
	struct roster_item item, old;
	uint64_t id = part->account->id;
	size_t bytes, i;

	if (roster_item_read(element, &part->scratch, jid_out, &item) != STANZA_ERROR_NONE) {
		leave(part, element->head, "malformed roster item");
		return OK;
	}
	if (slice_equal(item.jid, part->bare)) {
		leave(part, item.jid, "an account is not in its own roster");
		return OK;
	}
	bytes = item.jid.len + item.name.len;
	for (i = 0; i < item.groups; i++)
		bytes += item.group[i].len;
	roster_get(id, item.jid, &memory, &old);
	if (!(old.bits & ROSTER_LISTED) && !roster_room(id, bytes)) {
		leave(part, item.jid, "the roster is full");
	} else {
		if (!(item.bits & ROSTER_FROM))
			item.bits |= old.bits & ROSTER_PENDING_IN;
		roster_put(id, &item);
		part->taken++;
	}
	buf_free(&memory);
	return OK;
}

/* Section "Incoming Subscription Requests". */
static int
request_take(struct part *part, const struct xmlin_element *element)
{
	struct frame f = { .type = FRAME_STANZA, .kind = STANZA_PRESENCE, .subtype = TYPE_SUBSCRIBE };
	struct buf memory = { 0 }, id = { 0 }, lang = { 0 };
	char jid_out[JID_MAX + 1];
	uint64_t account = part->account->id;
	struct roster_item item;
	struct slice text;
	struct jid jid;

	if (xmlin_attribute(element, "type", &part->scratch, &text) != OK ||
	    !slice_is(text, "subscribe") ||
	    xmlin_attribute(element, "from", &part->scratch, &text) != OK ||
	    jid_prepare(text, jid_out, &jid) != OK || slice_equal(jid_bare(&jid), part->bare)) {
		leave(part, element->head, "not a subscription request");
		return OK;
	}
	xmlin_attribute(element, "id", &id, &f.id);
	xmlin_attribute(element, "xml:lang", &lang, &f.lang);
	f.payload = element->content;
	roster_get(account, jid_bare(&jid), &memory, &item);
	if (item.bits & ROSTER_FROM) {
		leave(part, item.jid, "has the subscription already");
	} else if (item.bits == 0 && !roster_request_room(account)) {
		leave(part, item.jid, "too many requests wait");
	} else {
		item.bits |= ROSTER_PENDING_IN;
		roster_request_put(account, item.jid, &f);
		roster_put(account, &item);
		part->taken++;
	}
	buf_free(&memory);
	buf_free(&id);
	buf_free(&lang);
	return OK;
}

static int
vcard_take(struct part *part, const struct xmlin_element *element)
{
	if (vcard_put(part->account->id, element) != STANZA_ERROR_NONE)
		leave(part, SLICE("vCard"), "the vCard is too large");
	else
		part->taken++;
	return OK;
}

static int
private_take(struct part *part, const struct xmlin_element *element)
{
	if (private_put(part->account->id, element) != STANZA_ERROR_NONE)
		leave(part, element->ns, "not an element for private storage, too large, or one too many");
	else
		part->taken++;
	return OK;
}

/* An item of what is blocked: of the default privacy list, or of a block list. */
static int
block_take(struct part *part, const struct xmlin_element *element)
{
	struct buf list = { 0 }, with = { 0 };
	char jid_out[JID_MAX + 1];
	struct slice text;
	struct jid jid;

	if ((xmlin_attribute(element, "value", &part->scratch, &text) != OK &&
	    xmlin_attribute(element, "jid", &part->scratch, &text) != OK) ||
	    jid_prepare(text, jid_out, &jid) != OK) {
		leave(part, element->head, "not an address to block");
		return OK;
	}
	block_get(part->account->id, &list);
	block_change(buf_slice(&list), jid.full, true, &with);
	if (!block_fits(buf_slice(&with))) {
		leave(part, jid.full, "the block list is full");
	} else {
		block_set(part->account->id, buf_slice(&with));
		part->taken++;
	}
	buf_free(&list);
	buf_free(&with);
	return OK;
}

/* Parts by name, the elements that they have (NULL: any), and the namespace that those are within. */
static const struct {
	const char *name, *element, *ns, *within;
	int (*take)(struct part *part, const struct xmlin_element *element);
} parts[] = {
	{ "credentials", "scram-credentials", NS_PIE_SCRAM, NS_CLIENT, credentials_take },
	{ "roster", "item", NS_ROSTER, NS_ROSTER, item_take },
	{ "requests", "presence", NS_CLIENT, NS_CLIENT, request_take },
	{ "vcard", "vCard", NS_VCARD, NS_CLIENT, vcard_take },
	{ "private", NULL, NULL, NS_PRIVATE, private_take },
	{ "blocks", "item", NS_BLOCKING, NS_BLOCKING, block_take },
};

/* Takes the elements of a part one by one. */
static int
elements_take(size_t which, struct part *part, struct slice data)
{
	struct xmlin_element element;
	struct xmlin in;
	int error = OK;

	xmlin_begin(&in, data, slice_string(parts[which].within));
	while (error == OK && xmlin_child(&in, &element)) {
		buf_clear(&part->scratch);
		buf_reserve(&part->scratch, element.whole.len); /* unescaping only shortens */
		if (parts[which].element != NULL && (!slice_is(element.name, parts[which].element) ||
		    !slice_is(element.ns, parts[which].ns)))
			leave(part, element.name, "does not belong here");
		else
			error = parts[which].take(part, &element);
	}
	return error ? error : in.error;
}

/* The password of a file that has one; only what is made of it is kept. */
static int
password_take(struct part *part, struct slice data)
{
	char out[JID_PART_MAX + 1];
	struct slice password;
	int error = OK;

	if (jid_prepare_password(data, out, &password) != OK)
		leave(part, SLICE("password"), "empty, too long, or has characters that are not allowed");
	else
		error = account_set_password(part->bare, password);
	part->taken += error == OK;
	gnutls_memset(out, 0, sizeof out);
	return error;
}

static int
import_part(struct slice *words, size_t count, json_t **result)
{
	char out[JID_MAX + 1];
	struct slice data = daemon_command_data();
	struct part part = { 0 };
	struct account a;
	size_t i;
	int error;

	if (count != 2 || data.ptr == NULL)
		return E_MALFORMED;
	error = importing(words[0], out, &part.bare, &a, result);
	if (error)
		return error;
	part.account = &a;
	part.left = json_array();
	for (i = 0; i < sizeof parts / sizeof parts[0] && !slice_is(words[1], parts[i].name); i++)
		;
	part.scratch.secret = true;
	if (i < sizeof parts / sizeof parts[0])
		error = elements_take(i, &part, data);
	else if (slice_is(words[1], "password"))
		error = password_take(&part, data);
	else
		error = E_NOT_FOUND;
	buf_free(&part.scratch);
	gnutls_memset(a.keys, 0, sizeof a.keys);
	if (error == E_MALFORMED || error == E_NOT_FOUND) {
		json_decref(part.left);
		return error;
	}
	return finish(error, json_pack("{s:I, s:o}", "taken", (json_int_t)part.taken, "left", part.left),
	    result);
}

const struct command transfer_table[] = {
	{ "export domains", "", "the domains of accounts", export_domains },
	{ "export accounts", "DOMAIN [CURSOR]", "a page of the accounts of a domain", export_accounts },
	{ "export part", "JID PART [CURSOR]", "a page of a part of an account", export_part },
	{ "import begin", "JID [replace]", "an account comes", import_begin },
	{ "import part", "JID PART", "elements of an account", import_part },
	{ "import end", "JID", "the account is whole", import_end },
	{ NULL, NULL, NULL, NULL },
};
