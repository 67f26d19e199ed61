/*
 * roster.c: roster items in the store (RFC 6121 section 2), and their form in XML and in frames.
 * Called by roster_iq.c, presence.c, account.c and main.c. Rows that cannot be read are skipped.
 *
 * Item: version, u8 bits, JID, name, u32 number of groups, groups.
 * Request: version, id, lang, payload of the subscription request as it came.
 */
#include <inttypes.h>
#include <stdio.h>

#include "authd.h"
#include "log.h"
#include "xmlout.h"

/* -- items -- */

int
roster_item_of(struct slice value, struct roster_item *item)
{
	struct value_reader r = { value, OK };
	size_t i;

	memset(item, 0, sizeof *item);
	if (value_u8(&r) != VALUE_VERSION)
		return E_MALFORMED;
	item->bits = value_u8(&r);
	item->jid = value_slice(&r);
	item->name = value_slice(&r);
	item->groups = value_u32(&r);
	if (r.error || item->groups > ROSTER_GROUPS_MAX || item->bits > ROSTER_BITS)
		return E_MALFORMED;
	for (i = 0; i < item->groups; i++)
		item->group[i] = value_slice(&r);
	return r.error || item->jid.len == 0 ? E_MALFORMED : OK;
}

int
roster_get(uint64_t id, struct slice contact, struct buf *memory, struct roster_item *item)
{
	char key[KEY_HASHED];
	struct slice value;
	int error;

	error = store_get(state.store, TABLE_ROSTER, state_key_hashed(id, contact, key), &value);
	if (error == OK) {
		buf_clear(memory);
		buf_add_slice(memory, value);
		error = roster_item_of(buf_slice(memory), item);
	}
	if (error == OK && slice_equal(item->jid, contact))
		return OK;
	*item = (struct roster_item){ .jid = contact };
	return E_NOT_FOUND;
}

void
roster_put(uint64_t id, const struct roster_item *item)
{
	char key[KEY_HASHED];
	struct slice k = state_key_hashed(id, item->jid, key);
	struct buf value = { 0 };
	size_t i;

	if (item->bits == 0) {
		store_remove(state.store, TABLE_ROSTER, k);
		return;
	}
	value_add_u8(&value, VALUE_VERSION);
	value_add_u8(&value, (uint8_t)item->bits);
	value_add_slice(&value, item->jid);
	value_add_slice(&value, item->name);
	value_add_u32(&value, (uint32_t)item->groups);
	for (i = 0; i < item->groups; i++)
		value_add_slice(&value, item->group[i]);
	store_put(state.store, TABLE_ROSTER, k, buf_slice(&value));
	buf_free(&value);
}

struct walk {
	bool (*each)(void *arg, const struct roster_item *item);
	void *arg;
};

static bool
item_row(void *arg, struct slice key, struct slice value)
{
	const struct walk *walk = arg;
	struct roster_item item;

	(void)key;
	return roster_item_of(value, &item) != OK || walk->each(walk->arg, &item);
}

void
roster_each(uint64_t id, bool (*each)(void *arg, const struct roster_item *item), void *arg)
{
	struct walk walk = { each, arg };
	char key[8];
	struct slice prefix = state_key(id, key);

	store_walk(state.store, TABLE_ROSTER, prefix, prefix, item_row, &walk);
}

static bool
size_row(void *arg, struct slice key, struct slice value)
{
	struct roster_size *size = arg;

	(void)key;
	size->all++;
	size->bytes += value.len;
	if (value.len > 1 && value.ptr[1] & ROSTER_LISTED)
		size->listed++;
	return true;
}

void
roster_measure(uint64_t id, struct roster_size *size)
{
	char key[8];
	struct slice prefix = state_key(id, key);

	*size = (struct roster_size){ 0 };
	store_walk(state.store, TABLE_ROSTER, prefix, prefix, size_row, size);
}

bool
roster_room(uint64_t id, size_t bytes)
{
	struct roster_size size;

	roster_measure(id, &size);
	return size.listed < state.roster_items && size.bytes + bytes <= ROSTER_BYTES_MAX;
}

bool
roster_request_room(uint64_t id)
{
	struct roster_size size;

	roster_measure(id, &size);
	return size.all - size.listed < ROSTER_PENDING_MAX && size.bytes < 2 * ROSTER_BYTES_MAX;
}

/* -- the version -- */

static uint64_t
version_get(uint64_t id)
{
	char key[8];
	struct slice value;
	struct value_reader r;

	if (store_get(state.store, TABLE_VERSION, state_key(id, key), &value) != OK)
		return 0;
	r = (struct value_reader){ value, OK };
	return value_u8(&r) == VALUE_VERSION ? value_u64(&r) : 0;
}

void
roster_version(uint64_t id, char text[40])
{
	snprintf(text, 40, "%" PRIx64 "-%" PRIx64, id, version_get(id));
}

void
roster_advance(uint64_t id)
{
	struct buf value = { 0 };
	char key[8];

	value_add_u8(&value, VALUE_VERSION);
	value_add_u64(&value, version_get(id) + 1);
	store_put(state.store, TABLE_VERSION, state_key(id, key), buf_slice(&value));
	buf_free(&value);
}

/* -- XML -- */

void
roster_write(const struct roster_item *item, bool removed, struct buf *out)
{
	static const char *const subscriptions[] = { "none", "to", "from", "both" };
	const char *subscription = subscriptions[item->bits & (ROSTER_TO | ROSTER_FROM)];
	size_t i;

	xml_open(out, "item", SLICE_NONE);
	xml_add_attribute(out, "jid", item->jid);
	xml_add_attribute(out, "subscription", slice_string(removed ? "remove" : subscription));
	if (removed) {
		buf_add_string(out, "/>");
		return;
	}
	if (item->bits & ROSTER_PENDING_OUT)
		xml_add_attribute(out, "ask", SLICE("subscribe"));
	if (item->bits & ROSTER_APPROVED)
		xml_add_attribute(out, "approved", SLICE("true"));
	xml_add_attribute(out, "name", item->name);
	if (item->groups == 0) {
		buf_add_string(out, "/>");
		return;
	}
	buf_add_char(out, '>');
	for (i = 0; i < item->groups; i++)
		xml_add_element(out, "group", item->group[i]);
	buf_add_string(out, "</item>");
}

void
roster_push(struct slice account, uint64_t id, const struct roster_item *item, bool removed,
    struct buf *out)
{
	static uint64_t pushes;
	struct frame f = { .type = FRAME_STANZA, .kind = STANZA_IQ, .subtype = TYPE_SET,
		.audience = AUDIENCE_INTERESTED };
	struct buf payload = { 0 };
	char version[40], stanza_id[32];

	roster_version(id, version);
	snprintf(stanza_id, sizeof stanza_id, "push-%" PRIx64, ++pushes);
	xml_open(&payload, "query", SLICE(NS_ROSTER));
	xml_add_attribute(&payload, "ver", slice_string(version));
	buf_add_char(&payload, '>');
	roster_write(item, removed, &payload);
	buf_add_string(&payload, "</query>");
	f.to = account;
	f.id = slice_string(stanza_id);
	f.payload = buf_slice(&payload);
	f.name = SLICE("query");
	f.ns = SLICE(NS_ROSTER);
	if (frame_write(&f, out) != OK)
		log_error("roster push dropped", "account=%s", log_quote(account));
	buf_free(&payload);
}

/* -- pending requests -- */

void
roster_request_put(uint64_t id, struct slice contact, const struct frame *f)
{
	char key[KEY_HASHED];
	struct buf value = { 0 };

	value_add_u8(&value, VALUE_VERSION);
	value_add_slice(&value, slice_part(f->id, 0, ROSTER_TEXT_MAX));
	value_add_slice(&value, slice_part(f->lang, 0, ROSTER_TEXT_MAX));
	/* Of one that is too long, the request itself is what counts. */
	value_add_slice(&value, f->payload.len <= ROSTER_REQUEST_MAX ? f->payload : SLICE(""));
	store_put(state.store, TABLE_REQUEST, state_key_hashed(id, contact, key),
	    buf_slice(&value));
	buf_free(&value);
}

void
roster_request_get(uint64_t id, struct slice contact, struct frame *f)
{
	char key[KEY_HASHED];
	struct slice value;
	struct value_reader r;

	f->payload = SLICE("");
	if (store_get(state.store, TABLE_REQUEST, state_key_hashed(id, contact, key), &value) != OK)
		return;
	r = (struct value_reader){ value, OK };
	if (value_u8(&r) != VALUE_VERSION)
		return;
	f->id = value_slice(&r);
	f->lang = value_slice(&r);
	f->payload = value_slice(&r);
}

void
roster_request_remove(uint64_t id, struct slice contact)
{
	char key[KEY_HASHED];

	store_remove(state.store, TABLE_REQUEST, state_key_hashed(id, contact, key));
}

struct pending {
	struct slice account;
	uint64_t id;
	uint64_t handle;
};

/* Sends one waiting request to a session. */
static bool
request_send(void *arg, const struct roster_item *item)
{
	const struct pending *pending = arg;
	struct frame f = { .type = FRAME_STANZA, .kind = STANZA_PRESENCE,
		.subtype = TYPE_SUBSCRIBE, .handle = pending->handle };

	if (!(item->bits & ROSTER_PENDING_IN))
		return true;
	f.from = item->jid;
	f.to = pending->account;
	roster_request_get(pending->id, item->jid, &f);
	out_send(&f);
	return true;
}

void
roster_pending(struct slice account, uint64_t handle)
{
	struct pending pending = { .account = account, .handle = handle };
	struct account a;

	if (handle == 0 || account_find(account, &a) != OK)
		return;
	pending.id = a.id;
	roster_each(a.id, request_send, &pending);
}

static bool
item_pack(void *arg, const struct roster_item *item)
{
	struct buf *list = arg;

	if (buf_len(list) > FRAME_MAX - 65536)
		return false;
	roster_pack(list, item->bits, item->jid);
	return true;
}

void
roster_load(struct slice account)
{
	struct frame f = { .type = FRAME_ROSTER };
	struct buf list = { 0 }, blocks = { 0 };
	struct account a;

	f.jid = account;
	if (account_find(account, &a) == OK) {
		f.flags = FLAG_EXISTS | (push_any(a.id) ? FLAG_PUSH : 0);
		roster_each(a.id, item_pack, &list);
		block_get(a.id, &blocks);
		f.text = buf_slice(&blocks);
	}
	f.payload = buf_slice(&list);
	out_send(&f);
	buf_free(&list);
	buf_free(&blocks);
}

void
roster_tell(const struct frame *asked)
{
	struct frame f = { .type = FRAME_ROSTER_IS, .jid = asked->jid, .to = asked->to,
		.archive_id = asked->archive_id, .number = asked->number };
	struct buf memory = { 0 };
	struct roster_item item;
	struct account a;

	if (account_find(asked->jid, &a) == OK && roster_get(a.id, asked->to, &memory, &item) == OK &&
	    (item.bits & ROSTER_LISTED))
		f.flags = FLAG_EXISTS;
	out_send(&f);
	buf_free(&memory);
}
