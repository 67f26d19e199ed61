/*
 * block.c: block lists (XEP-0191): requests, the store, and telling the router, which enforces them.
 * Called by request.c, presence.c, account.c and roster.c. One row an account: version, list (block.h).
 */
#include "authd.h"
#include "block.h"
#include "log.h"
#include "xmlout.h"

#define BLOCK_BYTES_MAX (256u << 10) /* of a list, so that it fits a frame beside a roster */

void
block_get(uint64_t id, struct buf *list)
{
	struct slice value;
	char key[8];

	if (store_get(state.store, TABLE_BLOCK, state_key(id, key), &value) == OK && value.len > 1 &&
	    value.ptr[0] == VALUE_VERSION)
		buf_add_slice(list, slice_part(value, 1, value.len));
}

bool
block_covers(uint64_t id, struct slice jid)
{
	struct buf list = { 0 };
	bool covers;

	block_get(id, &list);
	covers = block_matches(buf_slice(&list), jid);
	buf_free(&list);
	return covers;
}

void
block_set(uint64_t id, struct slice list)
{
	struct buf value = { 0 };
	char key[8];

	value_add_u8(&value, VALUE_VERSION);
	buf_add_slice(&value, list);
	if (list.len == 0)
		store_remove(state.store, TABLE_BLOCK, state_key(id, key));
	else
		store_put(state.store, TABLE_BLOCK, state_key(id, key), buf_slice(&value));
	buf_free(&value);
}

static void
write_items(struct slice list, const char *name, struct buf *out)
{
	struct slice jid;

	xml_open(out, name, SLICE(NS_BLOCKING));
	buf_add_string(out, list.len == 0 ? "/>" : ">");
	if (list.len == 0)
		return;
	while (block_next(&list, &jid)) {
		buf_add_string(out, "<item");
		xml_add_attribute(out, "jid", jid);
		buf_add_string(out, "/>");
	}
	buf_printf(out, "</%s>", name);
}

/* Tells the router, and all sessions that have asked for the list. */
static void
tell(const struct request *r, uint64_t account, struct slice list, struct slice items)
{
	static unsigned number;
	struct frame change = { .type = FRAME_BLOCKS, .jid = r->account, .text = list,
		.flags = push_any(account) ? FLAG_PUSH : 0 };
	struct frame push = { .type = FRAME_STANZA, .kind = STANZA_IQ, .subtype = TYPE_SET,
		.audience = AUDIENCE_BLOCKS, .from = r->account, .to = r->account,
		.name = r->query.name, .ns = SLICE(NS_BLOCKING) };
	struct buf payload = { 0 }, id = { 0 };

	buf_printf(&id, "block-%llx-%u", (unsigned long long)r->now, ++number);
	push.id = buf_slice(&id);
	write_items(items, slice_is(r->query.name, "block") ? "block" : "unblock", &payload);
	push.payload = buf_slice(&payload);
	out_send(&change);
	out_send(&push);
	buf_free(&payload);
	buf_free(&id);
}

/* Reads the items of a request into a list of their own. */
static enum stanza_error
items_read(const struct xmlin_element *query, struct buf *items)
{
	struct buf scratch = { 0 }, with = { 0 };
	char prepared[JID_MAX + 1];
	enum stanza_error error = STANZA_ERROR_NONE;
	struct xmlin_element item;
	struct slice text;
	struct xmlin in;
	struct jid jid;

	xmlin_begin(&in, query->content, query->ns);
	while (error == STANZA_ERROR_NONE && xmlin_child(&in, &item)) {
		buf_clear(&scratch);
		if (!slice_is(item.name, "item") || !slice_is(item.ns, NS_BLOCKING) ||
		    xmlin_attribute(&item, "jid", &scratch, &text) != OK)
			error = STANZA_ERROR_BAD_REQUEST;
		else if (jid_prepare(text, prepared, &jid) != OK)
			error = STANZA_ERROR_JID_MALFORMED;
		else if (buf_len(items) > BLOCK_BYTES_MAX)
			error = STANZA_ERROR_RESOURCE_CONSTRAINT;
		else if (!block_has(buf_slice(items), jid.full)) {
			buf_clear(&with);
			block_change(buf_slice(items), jid.full, true, &with);
			buf_clear(items);
			buf_add_slice(items, buf_slice(&with));
		}
	}
	buf_free(&scratch);
	buf_free(&with);
	return error == STANZA_ERROR_NONE && in.error ? STANZA_ERROR_BAD_REQUEST : error;
}

/* Puts the items into the list, or takes them out; none: takes out all. */
static void
apply(struct slice items, bool add, struct buf *list)
{
	struct buf next = { 0 };
	struct slice jid;

	if (items.len == 0)
		buf_clear(list);
	while (block_next(&items, &jid)) {
		buf_clear(&next);
		block_change(buf_slice(list), jid, add, &next);
		buf_clear(list);
		buf_add_slice(list, buf_slice(&next));
	}
	buf_free(&next);
}

bool
block_fits(struct slice list)
{
	struct slice rest = list, jid;
	size_t count = 0;

	while (block_next(&rest, &jid))
		count++;
	return count <= state.block_items && list.len <= BLOCK_BYTES_MAX;
}

/* Keeps the reports that are in the items of a request, which have been read before. */
static void
reports_take(const struct request *r, uint64_t id)
{
	struct buf scratch = { 0 };
	char prepared[JID_MAX + 1];
	struct xmlin_element item, report;
	struct slice text;
	struct xmlin in;
	struct jid jid;

	xmlin_begin(&in, r->query.content, r->query.ns);
	while (xmlin_child(&in, &item)) {
		buf_clear(&scratch);
		if (xmlin_find(item.content, item.ns, "report", NS_REPORTING, &report) &&
		    xmlin_attribute(&item, "jid", &scratch, &text) == OK &&
		    jid_prepare(text, prepared, &jid) == OK)
			report_add(r->account, id, jid.full, &report, r->now);
	}
	buf_free(&scratch);
}

static void
set(const struct request *r, uint64_t id)
{
	bool add = slice_is(r->query.name, "block");
	struct buf list = { 0 }, items = { 0 };
	enum stanza_error error = STANZA_ERROR_BAD_REQUEST;

	block_get(id, &list);
	if (add || slice_is(r->query.name, "unblock"))
		error = items_read(&r->query, &items);
	if (error == STANZA_ERROR_NONE && add && buf_len(&items) == 0)
		error = STANZA_ERROR_BAD_REQUEST;
	if (error == STANZA_ERROR_NONE) {
		apply(buf_slice(&items), add, &list);
		if (add && !block_fits(buf_slice(&list)))
			error = STANZA_ERROR_RESOURCE_CONSTRAINT;
	}
	if (error != STANZA_ERROR_NONE) {
		request_refuse(r->f, error, NULL);
	} else {
		block_set(id, buf_slice(&list));
		tell(r, id, buf_slice(&list), buf_slice(&items));
		if (add && !r->repeated)
			reports_take(r, id);
		request_answer(r->f, SLICE(""));
	}
	buf_free(&list);
	buf_free(&items);
}

void
block_iq(const struct request *r)
{
	struct buf list = { 0 }, payload = { 0 };
	struct account a;

	if (!r->own || account_find(r->account, &a) != OK) {
		request_refuse(r->f, STANZA_ERROR_FORBIDDEN, NULL);
	} else if (r->set) {
		set(r, a.id);
	} else if (!slice_is(r->query.name, "blocklist")) {
		request_refuse(r->f, STANZA_ERROR_BAD_REQUEST, NULL);
	} else {
		block_get(a.id, &list);
		write_items(buf_slice(&list), "blocklist", &payload);
		request_answer(r->f, buf_slice(&payload));
	}
	buf_free(&list);
	buf_free(&payload);
}
