/*
 * page.c: finds the messages that answer a query, a bounded number of rows at a time. Called by
 * mam.c between transactions. Fails when the store does.
 *
 * With an address, the rows of its bare form are looked at, which are those of one peer (in a room: those of one
 * occupant); what else is asked for is compared with the messages. Times bound the ids, by what is known about how far stamps
 * and ids lie apart.
 */
#include "archived.h"

#include "jid.h"

/* One step of a search. */
struct step {
	struct page *page;
	unsigned *budget;
	int error;
};

static uint64_t
id_at(const struct buf *ids, size_t i)
{
	uint64_t id;

	memcpy(&id, buf_slice(ids).ptr + 8 * i, 8);
	return id;
}

/* -- what fits -- */

/* The same in a room: an occupant, or for those who may see it who has sent it. All are the room's own. */
static bool
sender_fits(const struct page *page, const struct frame *f)
{
	struct slice with = buf_slice(&page->query->with);

	if (slice_equal(with, page->jid))
		return true;
	if (slice_equal(jid_bare_of(with), page->jid))
		return slice_equal(f->from, with);
	return page->sees && slice_equal(f->jid, with);
}

/* Whether the address that was asked for is one of a message's. */
static bool
address_fits(const struct page *page, const struct frame *f)
{
	struct slice with = buf_slice(&page->query->with);
	struct slice from = jid_bare_of(f->from), to = jid_bare_of(f->to);

	if (with.len == 0)
		return true;
	if (page->room)
		return sender_fits(page, f);
	if (slice_equal(with, page->jid)) /* messages to oneself */
		return slice_equal(from, with) && slice_equal(to, with);
	if (jid_bare_of(with).len != with.len)
		return slice_equal(f->from, with) || slice_equal(f->to, with);
	return slice_equal(from, with) || slice_equal(to, with);
}

/* Adds a message when it fits; when the page is full it is only noted that there is one more. */
static int
message_try(struct page *page, uint64_t id)
{
	const struct query *query = page->query;
	uint64_t stamp;
	struct frame f;
	int error = message_get(id, &stamp, &f);

	if (error)
		return error == E_NOT_FOUND || error == E_MALFORMED ? OK : error;
	if (stamp < query->start || stamp > query->end || !address_fits(page, &f))
		return OK;
	if (buf_len(&page->found) / 8 >= query->max ||
	    (page->bytes != 0 && page->bytes + f.payload.len > PAGE_BYTES)) {
		page->more = page->done = true;
		return OK;
	}
	page->bytes += f.payload.len + 1;
	buf_add_u64(&page->found, id);
	return OK;
}

/* -- the search -- */

static bool
row_try(void *arg, uint64_t id)
{
	struct step *step = arg;

	if (*step->budget == 0)
		return false;
	--*step->budget;
	step->error = message_try(step->page, id);
	step->page->at = id;
	return step->error == OK && !step->page->done;
}

struct range
page_range(const struct page *page)
{
	const struct query *query = page->query;
	const struct skew *skew = archive_skew();
	struct range range = { .account = page->account, .after = query->after,
		.before = query->before, .backward = query->backward,
		.peer_hash = page->by_peer ? page->peer_hash : NULL };
	uint64_t first = query->start > skew->after ? id_floor(query->start - skew->after) : 0;
	uint64_t last = query->end < UINT64_MAX / 2 ? id_floor(query->end + skew->before + 1) :
	    UINT64_MAX;

	/* What was brought from before that has ids close together. */
	if (query->start < ID_DIRECT + skew->after)
		first = 0;
	if (query->end < ID_DIRECT)
		last = id_floor(ID_DIRECT + skew->before + 1);

	if (first > range.after + 1)
		range.after = first - 1;
	if (last < range.before)
		range.before = last;
	if (page->begun && range.backward)
		range.before = page->at;
	else if (page->begun)
		range.after = page->at;
	return range;
}

/* Looks through the ids that were asked for, which are all there. */
static bool
ids_try(struct step *step, const struct range *range)
{
	const struct buf *ids = &step->page->query->ids;
	size_t count = buf_len(ids) / 8, i;
	uint64_t previous = 0, id;

	for (i = 0; i < count; i++) {
		id = id_at(ids, range->backward ? count - 1 - i : i);
		if (id <= range->after || id >= range->before || id == previous)
			continue;
		if (!row_try(step, id))
			return false;
		previous = id;
	}
	return true;
}

/* Looks through what the index of words gave; it has messages of others, and such as have gone. */
static void
hits_try(struct step *step)
{
	struct page *page = step->page;
	const struct query *query = page->query;
	size_t count = buf_len(&page->hits) / 8;

	while (page->hit < count && *step->budget != 0) {
		uint64_t id = id_at(&page->hits, page->hit);

		page->hit++;
		step->error = archive_has(page->account, &id, 1);
		if (step->error == OK && (!query->has_ids || ids_have(&query->ids, id))) {
			if (!row_try(step, id))
				return;
			continue;
		}
		page->at = id;
		--*step->budget;
		if (step->error != OK && step->error != E_NOT_FOUND)
			return;
		step->error = OK;
	}
	if (page->hit < count)
		return;
	page->wants = !page->hits_end;
	page->done = page->hits_end;
}

/* Whether all ids exist that must. */
static int
needed_check(const struct page *page)
{
	const struct buf *needed = &page->query->needed;

	if (page->query->unknown)
		return E_NOT_FOUND;
	if (buf_len(needed) == 0)
		return OK;
	return page->account == 0 ? E_NOT_FOUND : archive_has(page->account,
	    (const uint64_t *)(const void *)buf_slice(needed).ptr, buf_len(needed) / 8);
}

/* Makes what the index is asked: the own address, the other side's, the words. */
static void
expression_write(struct page *page)
{
	const struct query *query = page->query;
	struct buf *out = &page->expression;

	page->hits_end = buf_len(&query->text) == 0;
	buf_add_string(out, "party:\"");
	phrase_party(page->jid, out);
	if (page->by_peer && !page->room) {
		buf_add_string(out, "\" AND party:\"");
		phrase_party(buf_slice(&query->with), out);
	}
	buf_add_string(out, "\" AND ");
	buf_add_slice(out, buf_slice(&query->text));
}

void
page_begin(struct page *page, const struct query *query, struct slice jid, uint64_t account)
{
	struct slice with = buf_slice(&query->with), bare = jid_bare_of(with);

	*page = (struct page){ .query = query, .jid = jid, .account = account };
	/* A resource of one's own may be in any message. */
	page->by_peer = with.len != 0 && (bare.len == with.len || !slice_equal(bare, jid));
	if (page->by_peer)
		store_key_hash(page->peer_hash, bare);
	if (query->has_text)
		expression_write(page);
}

void
page_begin_room(struct page *page, const struct query *query, struct slice jid, uint64_t account,
    bool sees)
{
	struct slice with = buf_slice(&query->with);
	bool of_room = slice_equal(jid_bare_of(with), jid);

	*page = (struct page){ .query = query, .jid = jid, .account = account, .room = true, .sees = sees };
	page->none = with.len != 0 && !of_room && !sees;
	page->by_peer = of_room && with.len != jid.len;
	if (page->by_peer)
		store_key_hash(page->peer_hash, with);
	if (query->has_text)
		expression_write(page);
}

int
page_step(struct page *page, unsigned *budget)
{
	struct step step = { .page = page, .budget = budget };
	struct range range = page_range(page);
	int error = page->begun ? OK : needed_check(page);
	unsigned before = *budget;

	if (error)
		return error;
	page->wants = false;
	if (page->account == 0 || page->none)
		page->done = true;
	else if (page->query->has_text)
		hits_try(&step);
	else if (page->query->has_ids)
		ids_try(&step, &range);
	else
		error = archive_walk(&range, row_try, &step);
	page->begun = page->begun || *budget != before;
	/* It was stopped by the budget, by the page, or by nothing: then it is at its end. */
	if (*budget != 0 && !page->wants)
		page->done = true;
	return error ? error : step.error;
}

void
page_free(struct page *page)
{
	buf_free(&page->found);
	buf_free(&page->expression);
	buf_free(&page->hits);
}
