/*
 * query.c: reads what is asked of an archive: the form of XEP-0313, with the field of XEP-0431, and
 * the set of XEP-0059. Called by mam.c; no store, no output. What is wrong with a query is the
 * asker's fault.
 */
#include "archived.h"

#include <stdlib.h>

#include "jid.h"
#include "ns.h"

/* A query that is being read. */
struct reading {
	struct query *query;
	enum stanza_error error;
	const char *text;
	struct buf scratch;
	unsigned seen; /* fields, by their place in the table */
};

static bool
fail(struct reading *r, enum stanza_error error, const char *text)
{
	r->error = error;
	r->text = text;
	return false;
}

/* -- fields of the form -- */

static bool
read_with(struct reading *r, struct slice value)
{
	char out[JID_MAX + 1];
	struct jid jid;

	if (jid_prepare(value, out, &jid) != OK)
		return fail(r, STANZA_ERROR_JID_MALFORMED, "with is not an address");
	buf_add_slice(&r->query->with, jid.full);
	return true;
}

static bool
read_start(struct reading *r, struct slice value)
{
	return stanza_stamp_read(value, &r->query->start) == OK ||
	    fail(r, STANZA_ERROR_BAD_REQUEST, "start is not a DateTime");
}

static bool
read_end(struct reading *r, struct slice value)
{
	return stanza_stamp_read(value, &r->query->end) == OK ||
	    fail(r, STANZA_ERROR_BAD_REQUEST, "end is not a DateTime");
}

/* Reads an id that must exist. */
static uint64_t
read_id(struct reading *r, struct slice value)
{
	uint64_t id;

	if (stanza_archive_id_read(value, &id) != OK)
		r->query->unknown = true;
	else
		buf_add_u64(&r->query->needed, id);
	return id;
}

static bool
read_after(struct reading *r, struct slice value)
{
	uint64_t id = read_id(r, value);

	if (id > r->query->after)
		r->query->after = id;
	return true;
}

static bool
read_before(struct reading *r, struct slice value)
{
	uint64_t id = read_id(r, value);

	if (id < r->query->before)
		r->query->before = id;
	return true;
}

static bool
read_one_id(struct reading *r, struct slice value)
{
	if (buf_len(&r->query->ids) / 8 == QUERY_IDS)
		return fail(r, STANZA_ERROR_POLICY_VIOLATION, "Too many ids");
	buf_add_u64(&r->query->ids, read_id(r, value));
	r->query->has_ids = true;
	return true;
}

/* Messages of rooms are in the archives of rooms: with and without them is the same. */
static bool
read_groupchat(struct reading *r, struct slice value)
{
	return slice_is(value, "true") || slice_is(value, "1") || slice_is(value, "false") ||
	    slice_is(value, "0") ||
	    fail(r, STANZA_ERROR_BAD_REQUEST, "include-groupchat is not a boolean");
}

static bool
read_text(struct reading *r, struct slice value)
{
	r->query->has_text = true;
	return phrase_read(value, &r->query->text) == OK ||
	    fail(r, STANZA_ERROR_POLICY_VIOLATION, "Too many words");
}

static bool
read_type(struct reading *r, struct slice value)
{
	return slice_is(value, NS_MAM) || fail(r, STANZA_ERROR_BAD_REQUEST, "Unknown FORM_TYPE");
}

static const struct field {
	const char *name;
	bool (*read)(struct reading *r, struct slice value);
	bool many; /* may have several values, and none */
} fields[] = {
	{ "FORM_TYPE", read_type, false },
	{ "with", read_with, false },
	{ "start", read_start, false },
	{ "end", read_end, false },
	{ "before-id", read_before, false },
	{ "after-id", read_after, false },
	{ "ids", read_one_id, true },
	{ "include-groupchat", read_groupchat, false },
	{ "{" NS_FULLTEXT "}fulltext", read_text, false },
};

#define FIELD_TYPE 1u /* in seen: FORM_TYPE, the first */

/* Reads the values of a field; an empty one of a field with one value is none. */
static bool
values_read(struct reading *r, const struct field *field, const struct xmlin_element *element)
{
	struct xmlin_element child;
	unsigned count = 0;
	struct slice value;
	struct xmlin in;

	xmlin_begin(&in, element->content, element->ns);
	while (xmlin_child(&in, &child)) {
		if (!slice_is(child.name, "value") || !slice_is(child.ns, NS_DATA))
			continue;
		buf_clear(&r->scratch);
		if ((count++ != 0 && !field->many) || xmlin_text(&child, &r->scratch, &value) != OK)
			return fail(r, STANZA_ERROR_BAD_REQUEST, "A field has too many values");
		if ((value.len != 0 || field->many) && !field->read(r, value))
			return false;
	}
	return in.error == OK || fail(r, STANZA_ERROR_BAD_REQUEST, NULL);
}

static bool
field_read(struct reading *r, const struct xmlin_element *element)
{
	struct slice name;
	unsigned i;

	buf_clear(&r->scratch);
	if (xmlin_attribute(element, "var", &r->scratch, &name) != OK)
		return fail(r, STANZA_ERROR_BAD_REQUEST, "A field has no name");
	for (i = 0; i < sizeof fields / sizeof fields[0] && !slice_is(name, fields[i].name); i++)
		;
	if (i == sizeof fields / sizeof fields[0])
		return fail(r, STANZA_ERROR_FEATURE_NOT_IMPLEMENTED, "Unknown field");
	if (r->seen & 1u << i)
		return fail(r, STANZA_ERROR_BAD_REQUEST, "A field is there twice");
	r->seen |= 1u << i;
	return values_read(r, &fields[i], element);
}

/* Reads the form (XEP-0004). */
static bool
form_read(struct reading *r, const struct xmlin_element *form)
{
	struct xmlin_element child;
	struct slice type;
	struct xmlin in;

	buf_clear(&r->scratch);
	if (r->seen != 0 || xmlin_attribute(form, "type", &r->scratch, &type) != OK ||
	    !slice_is(type, "submit"))
		return fail(r, STANZA_ERROR_BAD_REQUEST, "Not a form that was filled in");
	xmlin_begin(&in, form->content, form->ns);
	while (xmlin_child(&in, &child))
		if (slice_is(child.name, "field") && slice_is(child.ns, NS_DATA) &&
		    !field_read(r, &child))
			return false;
	return (in.error == OK && (r->seen & FIELD_TYPE)) ||
	    fail(r, STANZA_ERROR_BAD_REQUEST, "No FORM_TYPE");
}

/* -- the set -- */

static bool
set_max(struct reading *r, struct slice value)
{
	uint64_t max;

	if (slice_number(value, UINT32_MAX, &max) != OK)
		return fail(r, STANZA_ERROR_BAD_REQUEST, "max is not a number");
	if (max < r->query->max)
		r->query->max = max;
	return true;
}

/* Empty, it asks for the last page. */
static bool
set_before(struct reading *r, struct slice value)
{
	r->query->backward = true;
	r->query->paged |= value.len != 0;
	return value.len == 0 || read_before(r, value);
}

static bool
set_after(struct reading *r, struct slice value)
{
	r->query->paged |= value.len != 0;
	return value.len == 0 || read_after(r, value);
}

static bool
set_index(struct reading *r, struct slice value)
{
	(void)value;
	return fail(r, STANZA_ERROR_FEATURE_NOT_IMPLEMENTED, "Pages have no numbers");
}

static const struct {
	const char *name;
	bool (*read)(struct reading *r, struct slice value);
} parts[] = {
	{ "max", set_max }, { "before", set_before }, { "after", set_after }, { "index", set_index },
};

static bool
set_read(struct reading *r, const struct xmlin_element *set)
{
	struct xmlin_element child;
	struct slice value;
	struct xmlin in;
	size_t i;

	xmlin_begin(&in, set->content, set->ns);
	while (xmlin_child(&in, &child)) {
		for (i = 0; i < sizeof parts / sizeof parts[0]; i++) {
			if (!slice_is(child.name, parts[i].name) || !slice_is(child.ns, NS_RSM))
				continue;
			buf_clear(&r->scratch);
			if (xmlin_text(&child, &r->scratch, &value) != OK)
				return fail(r, STANZA_ERROR_BAD_REQUEST, NULL);
			if (!parts[i].read(r, value))
				return false;
		}
	}
	return in.error == OK || fail(r, STANZA_ERROR_BAD_REQUEST, NULL);
}

/* -- the query -- */

static bool
flip_read(struct reading *r, const struct xmlin_element *element)
{
	(void)element;
	r->query->flip = true;
	return true;
}

static const struct {
	const char *name, *ns;
	bool (*read)(struct reading *r, const struct xmlin_element *element);
} children[] = {
	{ "x", NS_DATA, form_read }, { "set", NS_RSM, set_read }, { "flip-page", NS_MAM, flip_read },
};

static bool
children_read(struct reading *r, const struct xmlin_element *element)
{
	struct xmlin_element child;
	struct xmlin in;
	size_t i;

	xmlin_begin(&in, element->content, element->ns);
	while (xmlin_child(&in, &child)) {
		for (i = 0; i < sizeof children / sizeof children[0]; i++)
			if (slice_is(child.name, children[i].name) &&
			    slice_is(child.ns, children[i].ns) && !children[i].read(r, &child))
				return false;
	}
	return in.error == OK || fail(r, STANZA_ERROR_BAD_REQUEST, NULL);
}

/* Reads what is not a filter. */
static bool
attributes_read(struct reading *r, const struct xmlin_element *element)
{
	struct slice value;
	int error = xmlin_attribute(element, "queryid", &r->scratch, &value);

	if (error == OK && value.len > QUERY_ID_MAX)
		return fail(r, STANZA_ERROR_POLICY_VIOLATION, "queryid is too long");
	if (error == OK) {
		r->query->has_queryid = true;
		buf_add_slice(&r->query->queryid, value);
	}
	if (xmlin_attribute(element, "node", &r->scratch, &value) != E_NOT_FOUND)
		return fail(r, STANZA_ERROR_FEATURE_NOT_IMPLEMENTED, "No nodes here");
	return true;
}

static int
by_number(const void *one, const void *other)
{
	uint64_t a, b;

	memcpy(&a, one, sizeof a);
	memcpy(&b, other, sizeof b);
	return a < b ? -1 : a > b;
}

enum stanza_error
query_read(const struct xmlin_element *element, struct query *query, const char **text)
{
	struct reading r = { .query = query };

	*query = (struct query){ .end = UINT64_MAX, .before = UINT64_MAX,
		.max = state.page_messages };
	if (attributes_read(&r, element) && children_read(&r, element) && buf_len(&query->ids) != 0)
		qsort(query->ids.bytes + query->ids.start, buf_len(&query->ids) / 8, 8, by_number);
	buf_free(&r.scratch);
	*text = r.text;
	if (r.error)
		query_free(query);
	return r.error;
}

void
query_free(struct query *query)
{
	buf_free(&query->with);
	buf_free(&query->queryid);
	buf_free(&query->ids);
	buf_free(&query->needed);
	buf_free(&query->text);
}
