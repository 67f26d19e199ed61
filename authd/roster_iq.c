/*
 * roster_iq.c: requests in jabber:iq:roster (RFC 6121 sections 2.1 to 2.6). Called by request.c.
 */
#include "authd.h"
#include "xmlout.h"

/* -- get -- */

static bool
item_add(void *arg, const struct roster_item *item)
{
	if (item->bits & ROSTER_LISTED)
		roster_write(item, false, arg);
	return true;
}

/* Answers with the roster, or with nothing to a client that has this version (section 2.6.2). */
static void
get(const struct request *r, const struct account *a)
{
	struct buf payload = { 0 }, items = { 0 }, scratch = { 0 };
	char version[40];
	struct slice known;

	if (xmlin_attribute(&r->query, "ver", &scratch, &known) != OK)
		known = SLICE_NONE;
	roster_version(a->id, version);
	if (known.ptr != NULL && slice_is(known, version)) {
		request_answer(r->f, SLICE(""));
	} else {
		xml_open(&payload, "query", SLICE(NS_ROSTER));
		xml_add_attribute(&payload, "ver", slice_string(version));
		roster_each(a->id, item_add, &items);
		buf_add_string(&payload, buf_len(&items) == 0 ? "/>" : ">");
		buf_add_slice(&payload, buf_slice(&items));
		buf_add_string(&payload, buf_len(&items) == 0 ? "" : "</query>");
		request_answer(r->f, buf_slice(&payload));
	}
	buf_free(&payload);
	buf_free(&items);
	buf_free(&scratch);
}

/* -- set -- */

/* What a roster set says. */
struct wish {
	struct slice jid;    /* bare JID */
	bool remove;
	struct slice name;   /* absent: none */
	size_t groups;
	struct slice group[ROSTER_GROUPS_MAX];
};

/* Reads the groups of an item (section 2.3.3 has the errors). */
static enum stanza_error
groups_read(const struct xmlin_element *item, struct buf *scratch, struct wish *wish)
{
	struct xmlin in;
	struct xmlin_element group;
	size_t i;

	xmlin_begin(&in, item->content, item->ns);
	while (xmlin_child(&in, &group)) {
		struct slice text;

		if (!slice_is(group.name, "group") || !slice_is(group.ns, NS_ROSTER))
			continue;
		if (xmlin_text(&group, scratch, &text) != OK)
			return STANZA_ERROR_BAD_REQUEST;
		if (text.len == 0 || text.len > ROSTER_TEXT_MAX || wish->groups == ROSTER_GROUPS_MAX)
			return STANZA_ERROR_NOT_ACCEPTABLE;
		for (i = 0; i < wish->groups; i++) {
			if (slice_equal(wish->group[i], text))
				return STANZA_ERROR_BAD_REQUEST;
		}
		wish->group[wish->groups++] = text;
	}
	return in.error ? STANZA_ERROR_BAD_REQUEST : STANZA_ERROR_NONE;
}

/* Reads the attributes of an item; jid_out holds JID_MAX + 1 bytes. */
static enum stanza_error
attributes_read(const struct xmlin_element *item, struct buf *scratch, char *jid_out,
    struct wish *wish)
{
	struct slice text;
	struct jid jid;

	if (xmlin_attribute(item, "jid", scratch, &text) != OK)
		return STANZA_ERROR_BAD_REQUEST;
	if (jid_prepare(text, jid_out, &jid) != OK)
		return STANZA_ERROR_JID_MALFORMED;
	wish->jid = jid_bare(&jid);
	/* Any other value is ignored (section 2.1.2.5). */
	wish->remove = xmlin_attribute(item, "subscription", scratch, &text) == OK &&
	    slice_is(text, "remove");
	if (xmlin_attribute(item, "name", scratch, &wish->name) != OK)
		wish->name = SLICE_NONE;
	if (wish->name.len > ROSTER_TEXT_MAX)
		return STANZA_ERROR_NOT_ACCEPTABLE;
	if (wish->name.len == 0)
		wish->name = SLICE_NONE;
	return STANZA_ERROR_NONE;
}

enum stanza_error
roster_item_read(const struct xmlin_element *element, struct buf *scratch, char *jid_out,
    struct roster_item *item)
{
	static const char *const states[] = { "none", "to", "from", "both" };
	struct wish wish = { 0 };
	struct slice text;
	enum stanza_error error;
	unsigned sees;

	buf_reserve(scratch, element->whole.len);
	error = attributes_read(element, scratch, jid_out, &wish);
	if (error == STANZA_ERROR_NONE)
		error = groups_read(element, scratch, &wish);
	if (error != STANZA_ERROR_NONE)
		return error;
	*item = (struct roster_item){ .bits = ROSTER_LISTED, .jid = wish.jid, .name = wish.name,
		.groups = wish.groups };
	memcpy(item->group, wish.group, sizeof item->group);
	if (xmlin_attribute(element, "subscription", scratch, &text) != OK)
		text = SLICE("none");
	for (sees = 0; sees < 4 && !slice_is(text, states[sees]); sees++)
		;
	if (sees == 4)
		return STANZA_ERROR_BAD_REQUEST; /* "remove", or nonsense */
	item->bits |= sees; /* ROSTER_TO, ROSTER_FROM */
	if (xmlin_attribute(element, "ask", scratch, &text) == OK && slice_is(text, "subscribe") &&
	    !(item->bits & ROSTER_TO))
		item->bits |= ROSTER_PENDING_OUT;
	if (xmlin_attribute(element, "approved", scratch, &text) == OK &&
	    (slice_is(text, "true") || slice_is(text, "1")) && !(item->bits & ROSTER_FROM))
		item->bits |= ROSTER_APPROVED;
	return STANZA_ERROR_NONE;
}

/* Reads a roster set; the slices of *wish point into scratch, the request and jid_out. */
static enum stanza_error
wish_read(const struct xmlin_element *query, struct buf *scratch, char *jid_out,
    struct wish *wish)
{
	struct xmlin in;
	struct xmlin_element item, second;
	enum stanza_error error;

	*wish = (struct wish){ 0 };
	buf_reserve(scratch, query->whole.len); /* unescaping only shortens: it never moves */
	xmlin_begin(&in, query->content, query->ns);
	if (!xmlin_child(&in, &item) || xmlin_child(&in, &second) || in.error ||
	    !slice_is(item.name, "item") || !slice_is(item.ns, NS_ROSTER))
		return STANZA_ERROR_BAD_REQUEST;
	error = attributes_read(&item, scratch, jid_out, wish);
	if (error == STANZA_ERROR_NONE && !wish->remove)
		error = groups_read(&item, scratch, wish);
	return error;
}

static void
item_remove(const struct request *r, const struct account *a, const struct roster_item *item)
{
	if (item->bits & ROSTER_LISTED)
		presence_remove(r->account, a->id, item, true);
	else if (!r->repeated) {
		request_refuse(r->f, STANZA_ERROR_ITEM_NOT_FOUND, NULL);
		return;
	}
	request_answer(r->f, SLICE(""));
}

/* Adds an item or changes its name and groups. */
static void
item_set(const struct request *r, const struct account *a, struct roster_item *item,
    const struct wish *wish)
{
	unsigned old = item->bits;
	size_t bytes = wish->jid.len + wish->name.len, i;

	for (i = 0; i < wish->groups; i++)
		bytes += wish->group[i].len;
	if (!(old & ROSTER_LISTED) && !roster_room(a->id, bytes)) {
		request_refuse(r->f, STANZA_ERROR_RESOURCE_CONSTRAINT, "the roster is full");
		return;
	}
	item->bits |= ROSTER_LISTED;
	item->name = wish->name;
	item->groups = wish->groups;
	memcpy(item->group, wish->group, sizeof item->group);
	presence_update(r->account, a->id, item, old);
	request_answer(r->f, SLICE(""));
}

static void
set(const struct request *r, const struct account *a)
{
	struct buf scratch = { 0 }, memory = { 0 };
	char jid_out[JID_MAX + 1];
	struct roster_item item;
	struct wish wish;
	enum stanza_error error = wish_read(&r->query, &scratch, jid_out, &wish);

	if (error != STANZA_ERROR_NONE) {
		request_refuse(r->f, error, NULL);
	} else if (slice_equal(wish.jid, r->account)) {
		request_refuse(r->f, STANZA_ERROR_NOT_ALLOWED, "this is your own address");
	} else {
		roster_get(a->id, wish.jid, &memory, &item);
		if (wish.remove)
			item_remove(r, a, &item);
		else
			item_set(r, a, &item, &wish);
	}
	buf_free(&scratch);
	buf_free(&memory);
}

void
roster_iq(const struct request *r)
{
	struct account a;

	if (!r->own)
		request_refuse(r->f, STANZA_ERROR_FORBIDDEN, NULL);
	else if (account_find(r->account, &a) != OK)
		request_refuse(r->f, STANZA_ERROR_ITEM_NOT_FOUND, NULL);
	else if (r->set)
		set(r, &a);
	else
		get(r, &a);
}
