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

void
rsm_count(struct rsm *r, uint64_t number)
{
	r->count++;
	r->below += number < r->before;
	r->up_to += number <= r->after;
}

void
rsm_begin(struct rsm *r)
{
	/* The last page is what is left when all but max of those before it were left out. */
	if (r->backward)
		r->skip = r->below > r->up_to + r->max ? r->below - r->up_to - r->max : 0;
	r->index = r->up_to + r->skip;
}

bool
rsm_takes(struct rsm *r, uint64_t number)
{
	if (number <= r->after || number >= r->before)
		return false;
	if (r->skip != 0) {
		r->skip--;
		return false;
	}
	if (r->taken == r->max)
		return false;
	if (r->taken++ == 0)
		r->first = number;
	r->last = number;
	return true;
}

void
rsm_write(const struct rsm *r, struct buf *out)
{
	if (!r->asked && r->taken == r->count)
		return;
	buf_add_string(out, "<set xmlns='" NS_RSM "'>");
	if (r->taken != 0) {
		buf_add_string(out, "<first index='");
		buf_add_number(out, r->index);
		buf_add_string(out, "'>");
		buf_add_number(out, r->first);
		buf_add_string(out, "</first><last>");
		buf_add_number(out, r->last);
		buf_add_string(out, "</last>");
	}
	buf_add_string(out, "<count>");
	buf_add_number(out, r->count);
	buf_add_string(out, "</count></set>");
}
