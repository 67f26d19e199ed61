/*
 * export.c: what aldisctl asks for when it writes accounts into a file (XEP-0227). Called by the daemon
 * framework through the table in import.c; reads the store, and changes nothing.
 *
 * An answer is a page: "rows", each an element in canonical form, and "next", the cursor with which to ask
 * for what follows, absent at the end. So no process holds more than a page, and nothing is kept between
 * two of them: an account that changes meanwhile is exported in part as before and in part as after.
 */
#include <gnutls/gnutls.h>
#include <stdlib.h>

#include "authd.h"
#include "block.h"
#include "xmlout.h"

#define PAGE_BYTES (256u << 10) /* no further row after so many */
#define PAGE_ROWS  1000
#define KEY_TEXT   (2 * STORE_KEY_MAX + 1)

struct page {
	json_t *rows;
	size_t bytes;
	size_t looked;          /* rows of the store */
	struct buf row;         /* under construction */
	char next[KEY_TEXT];    /* the last key; more: there are others behind it */
	bool more;
	const struct account *account;
	struct slice domain;
};

/* -- cursors: keys in hexadecimal -- */

static void
key_write(struct slice key, char text[KEY_TEXT])
{
	static const char digits[] = "0123456789abcdef";
	size_t i;

	for (i = 0; i < key.len; i++) {
		text[2 * i] = digits[(unsigned char)key.ptr[i] >> 4];
		text[2 * i + 1] = digits[key.ptr[i] & 15];
	}
	text[2 * i] = '\0';
}

/* Reads a key of exactly so many bytes. Returns 0 or E_MALFORMED. */
static int
key_read(struct slice text, char *key, size_t len)
{
	static const char digits[] = "0123456789abcdef";
	size_t i;

	if (text.len != 2 * len)
		return E_MALFORMED;
	for (i = 0; i < text.len; i++) {
		const char *digit = memchr(digits, text.ptr[i], 16);
		int value;

		if (digit == NULL)
			return E_MALFORMED;
		value = (int)(digit - digits);
		key[i / 2] = (char)(i % 2 == 0 ? value << 4 : key[i / 2] | value);
	}
	return OK;
}

/* -- pages -- */

/* Whether another row of the store may be looked at; if not, the page goes on with it. */
static bool
page_room(struct page *page)
{
	page->more = page->bytes >= PAGE_BYTES || page->looked >= PAGE_ROWS;
	page->looked++;
	return !page->more;
}

/* Takes the row that was written. */
static void
row_end(struct page *page)
{
	struct slice row = buf_slice(&page->row);

	page->bytes += row.len;
	json_array_append_new(page->rows, json_stringn(row.ptr, row.len));
	if (page->row.bytes != NULL)
		gnutls_memset(page->row.bytes, 0, page->row.room);
	buf_clear(&page->row);
}

static json_t *
page_result(struct page *page)
{
	json_t *result = json_object();

	json_object_set_new(result, "rows", page->rows);
	if (page->more)
		json_object_set_new(result, "next", json_string(page->next));
	buf_free(&page->row);
	return result;
}

/* -- the parts of an account -- */

static void
binary_add(struct page *page, const char *name, const uint8_t *bytes, size_t len)
{
	const gnutls_datum_t raw = { (unsigned char *)(uintptr_t)bytes, (unsigned)len };
	gnutls_datum_t coded;

	if (gnutls_base64_encode2(&raw, &coded) != 0)
		abort(); /* out of memory */
	xml_add_element(&page->row, name, slice_of(coded.data, coded.size));
	gnutls_memset(coded.data, 0, coded.size);
	gnutls_free(coded.data);
}

/* Section "SCRAM credentials": a row for each hash that there are keys of. */
static void
credentials_part(struct page *page, struct slice from)
{
	unsigned hash;

	(void)from;
	for (hash = 0; hash < SCRAM_HASHES; hash++) {
		const struct scram_keys *keys = &page->account->keys[hash];
		size_t size = scram_size((enum scram_hash)hash);

		if (keys->iterations == 0)
			continue;
		xml_open(&page->row, "scram-credentials", SLICE(NS_PIE_SCRAM));
		xml_add_attribute(&page->row, "mechanism",
		    slice_string(scram_name((enum scram_hash)hash)));
		buf_printf(&page->row, "><iter-count>%u</iter-count>", keys->iterations);
		binary_add(page, "salt", keys->salt, keys->salt_len);
		binary_add(page, "server-key", keys->server, size);
		binary_add(page, "stored-key", keys->stored, size);
		buf_add_string(&page->row, "</scram-credentials>");
		row_end(page);
	}
}

/* What walks over the rows of an account in a table. */
struct part_walk {
	struct page *page;
	void (*row)(struct page *page, struct slice key, struct slice value);
};

static bool
walk_row(void *arg, struct slice key, struct slice value)
{
	const struct part_walk *walk = arg;

	if (!page_room(walk->page))
		return false;
	key_write(key, walk->page->next);
	walk->row(walk->page, key, value);
	return true;
}

/* Goes on behind a key, or from an account's first one. */
static void
part_walk(struct page *page, enum table table, struct slice from,
    void (*row)(struct page *page, struct slice key, struct slice value))
{
	struct part_walk walk = { page, row };
	char prefix[8], start[KEY_HASHED + 1] = { 0 };

	state_key(page->account->id, prefix);
	memcpy(start, prefix, sizeof prefix);
	if (from.len != 0 && (key_read(from, start, KEY_HASHED) != OK ||
	    memcmp(start, prefix, sizeof prefix) != 0))
		return;
	store_walk(state.store, table, slice_of(start, from.len != 0 ? sizeof start : 8),
	    slice_of(prefix, sizeof prefix), walk_row, &walk);
}

static void
item_row(struct page *page, struct slice key, struct slice value)
{
	struct roster_item item;

	(void)key;
	if (roster_item_of(value, &item) != OK || !(item.bits & ROSTER_LISTED))
		return;
	roster_write(&item, false, &page->row);
	row_end(page);
}

static void
roster_part(struct page *page, struct slice from)
{
	part_walk(page, TABLE_ROSTER, from, item_row);
}

/* Section "Incoming Subscription Requests". */
static void
request_row(struct page *page, struct slice key, struct slice value)
{
	struct frame f = { .type = FRAME_STANZA, .kind = STANZA_PRESENCE, .subtype = TYPE_SUBSCRIBE };
	struct roster_item item;

	(void)key;
	if (roster_item_of(value, &item) != OK || !(item.bits & ROSTER_PENDING_IN))
		return;
	f.from = item.jid;
	roster_request_get(page->account->id, item.jid, &f);
	xml_open(&page->row, "presence", SLICE(NS_CLIENT));
	xml_add_attribute(&page->row, "type", SLICE("subscribe"));
	xml_add_attribute(&page->row, "id", f.id);
	xml_add_attribute(&page->row, "from", f.from);
	xml_add_attribute(&page->row, "xml:lang", f.lang);
	buf_add_string(&page->row, f.payload.len == 0 ? "/>" : ">");
	buf_add_slice(&page->row, f.payload);
	buf_add_string(&page->row, f.payload.len == 0 ? "" : "</presence>");
	row_end(page);
}

static void
requests_part(struct page *page, struct slice from)
{
	part_walk(page, TABLE_ROSTER, from, request_row);
}

static void
element_row(struct page *page, struct slice key, struct slice value)
{
	(void)key;
	if (value.len < 2 || value.ptr[0] != VALUE_VERSION)
		return;
	buf_add_slice(&page->row, slice_part(value, 1, value.len));
	row_end(page);
}

static void
vcard_part(struct page *page, struct slice from)
{
	(void)from;
	part_walk(page, TABLE_VCARD, SLICE_NONE, element_row);
	page->more = false;
}

static void
private_part(struct page *page, struct slice from)
{
	part_walk(page, TABLE_PRIVATE, from, element_row);
}

/* Section "Privacy Lists": what is blocked, as the items of a list that denies. */
static void
blocks_part(struct page *page, struct slice from)
{
	struct buf list = { 0 };
	struct slice rest, jid;
	unsigned order = 0;

	(void)from;
	block_get(page->account->id, &list);
	rest = buf_slice(&list);
	while (block_next(&rest, &jid)) {
		buf_add_string(&page->row, "<item type='jid'");
		xml_add_attribute(&page->row, "value", jid);
		buf_printf(&page->row, " action='deny' order='%u'/>", ++order);
		row_end(page);
	}
	buf_free(&list);
}

static const struct {
	const char *name;
	void (*write)(struct page *page, struct slice from);
} parts[] = {
	{ "credentials", credentials_part },
	{ "roster", roster_part },
	{ "requests", requests_part },
	{ "vcard", vcard_part },
	{ "private", private_part },
	{ "blocks", blocks_part },
};

int
export_part(struct slice *words, size_t count, json_t **result)
{
	char out[JID_MAX + 1];
	struct account account;
	struct page page = { .account = &account };
	struct slice bare;
	size_t i;
	int error;

	if (count < 2 || count > 3)
		return E_MALFORMED;
	error = import_account(words[0], out, &bare, result);
	if (error)
		return error;
	for (i = 0; i < sizeof parts / sizeof parts[0]; i++) {
		if (slice_is(words[1], parts[i].name))
			break;
	}
	if (i == sizeof parts / sizeof parts[0])
		return E_NOT_FOUND;
	if (account_find(bare, &account) != OK) {
		*result = json_string("no such account");
		return E_NOT_FOUND;
	}
	page.rows = json_array();
	parts[i].write(&page, count == 3 ? words[2] : SLICE_NONE);
	*result = page_result(&page);
	gnutls_memset(account.keys, 0, sizeof account.keys);
	return OK;
}

/* -- which accounts there are -- */

int
export_domains(struct slice *words, size_t count, json_t **result)
{
	size_t i;

	(void)words;
	if (count != 0)
		return E_MALFORMED;
	*result = json_array();
	for (i = 0; i < state.domain_count; i++)
		json_array_append_new(*result, json_string(state.domains[i].name));
	return OK;
}

/* Adds an account of the domain, unless it is on its way in. */
static bool
account_row(void *arg, struct slice key, struct slice value)
{
	struct page *page = arg;
	struct account a;
	struct jid jid;

	if (!page_room(page))
		return false;
	key_write(key, page->next);
	if (account_of(value, &a) != OK || (a.flags & ACCOUNT_IMPORTING))
		return true;
	jid_split(a.jid, &jid);
	if (slice_equal(jid.domain, page->domain)) {
		buf_add_slice(&page->row, a.jid);
		row_end(page);
	}
	gnutls_memset(a.keys, 0, sizeof a.keys);
	return true;
}

int
export_accounts(struct slice *words, size_t count, json_t **result)
{
	char out[JID_PART_MAX + 1], start[33] = { 0 };
	struct page page = { 0 };
	int error;

	if (count < 1 || count > 2 || (count == 2 && key_read(words[1], start, 32) != OK))
		return E_MALFORMED;
	if (jid_prepare_domain(words[0], out, &page.domain) != OK || state_domain(page.domain) == NULL) {
		*result = json_string("no such domain here");
		return E_NOT_FOUND;
	}
	page.rows = json_array();
	error = store_walk(state.store, TABLE_ACCOUNT, slice_of(start, count == 2 ? sizeof start : 0),
	    SLICE(""), account_row, &page);
	*result = page_result(&page);
	return error;
}
