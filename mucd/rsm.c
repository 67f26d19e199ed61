/*
 * rsm.c: pages of a list (XEP-0059) whose items have numbers that grow. Called by disco.c; reads and
 * writes the set, and says which items are on the page. What is wrong with a set is the asker's fault.
 */
#include "mucd.h"
#include "ns.h"
#include "rsm.h"
#include "xmlout.h"

static bool
read_max(struct rsm *r, struct slice value)
{
	uint64_t max;

	if (slice_number(value, UINT32_MAX, &max) != OK)
		return false;
	r->max = max < r->max ? (size_t)max : r->max;
	return true;
}

static bool
read_after(struct rsm *r, struct slice value)
{
	return value.len == 0 || slice_number(value, UINT64_MAX - 1, &r->after) == OK;
}

/* Empty, it asks for the last page. */
static bool
read_before(struct rsm *r, struct slice value)
{
	r->backward = true;
	return value.len == 0 || slice_number(value, UINT64_MAX - 1, &r->before) == OK;
}

static bool
read_index(struct rsm *r, struct slice value)
{
	uint64_t index;

	if (slice_number(value, UINT32_MAX, &index) != OK)
		return false;
	r->skip = (size_t)index;
	return true;
}

static const struct {
	const char *name;
	bool (*read)(struct rsm *r, struct slice value);
	enum stanza_error error;
} parts[] = {
	{ "max", read_max, STANZA_ERROR_BAD_REQUEST },
	{ "after", read_after, STANZA_ERROR_ITEM_NOT_FOUND },
	{ "before", read_before, STANZA_ERROR_ITEM_NOT_FOUND },
	{ "index", read_index, STANZA_ERROR_BAD_REQUEST },
};

#define PARTS (sizeof parts / sizeof *parts)

static enum stanza_error
part_read(struct rsm *r, const struct xmlin_element *part)
{
	enum stanza_error error = STANZA_ERROR_NONE;
	struct buf scratch = { 0 };
	struct slice value;
	size_t i;

	for (i = 0; i < PARTS && !slice_is(part->name, parts[i].name); i++)
		;
	if (i == PARTS || !slice_is(part->ns, NS_RSM))
		return STANZA_ERROR_NONE;
	if (xmlin_text(part, &scratch, &value) != OK || !parts[i].read(r, value))
		error = parts[i].error;
	buf_free(&scratch);
	return error;
}

enum stanza_error
rsm_read(struct slice payload, const char *ns, size_t max, struct rsm *r)
{
	enum stanza_error error = STANZA_ERROR_NONE;
	struct xmlin_element query, set, part;
	struct xmlin in;

	*r = (struct rsm){ .max = max, .before = UINT64_MAX };
	if (!xmlin_find(payload, SLICE(NS_CLIENT), "query", ns, &query) ||
	    !xmlin_find(query.content, query.ns, "set", NS_RSM, &set))
		return STANZA_ERROR_NONE;
	r->asked = true;
	xmlin_begin(&in, set.content, set.ns);
	while (error == STANZA_ERROR_NONE && xmlin_child(&in, &part))
		error = part_read(r, &part);
	return error;
}

struct place {
	uint64_t number;
	size_t len;
};

static struct place
place_at(const struct rsm *r, size_t i)
{
	struct place place;

	memcpy(&place, buf_slice(&r->places).ptr + i * sizeof place, sizeof place);
	return place;
}

/* How many items are on the page. */
static size_t
taken(const struct rsm *r)
{
	return buf_len(&r->places) / sizeof(struct place);
}

bool
rsm_takes(struct rsm *r, uint64_t number)
{
	r->count++;
	r->below += number < r->before;
	r->up_to += number <= r->after;
	if (number <= r->after || number >= r->before || r->max == 0)
		return false;
	if (r->backward)
		return true;
	if (r->skipped < r->skip) {
		r->skipped++;
		return false;
	}
	return taken(r) < r->max;
}

void
rsm_add(struct rsm *r, uint64_t number, struct slice item)
{
	struct place place = { number, item.len };

	if (taken(r) == r->max) {
		buf_consume(&r->items, place_at(r, 0).len);
		buf_consume(&r->places, sizeof place);
	}
	buf_add(&r->places, &place, sizeof place);
	buf_add_slice(&r->items, item);
}

void
rsm_write(const struct rsm *r, struct buf *out)
{
	size_t count = taken(r);

	buf_add_slice(out, buf_slice(&r->items));
	if (!r->asked && count == r->count)
		return;
	buf_add_string(out, "<set xmlns='" NS_RSM "'>");
	if (count != 0) {
		buf_add_string(out, "<first index='");
		buf_add_number(out, r->backward ? r->below - count : r->up_to + r->skip);
		buf_add_string(out, "'>");
		buf_add_number(out, place_at(r, 0).number);
		buf_add_string(out, "</first><last>");
		buf_add_number(out, place_at(r, count - 1).number);
		buf_add_string(out, "</last>");
	}
	buf_add_string(out, "<count>");
	buf_add_number(out, r->count);
	buf_add_string(out, "</count></set>");
}

void
rsm_free(struct rsm *r)
{
	buf_free(&r->items);
	buf_free(&r->places);
}
