/*
 * block.c: block lists as text, see block.h. Called by authd and the router. Cannot fail.
 */
#include "block.h"

#include "jid.h"

bool
block_next(struct slice *list, struct slice *jid)
{
	const char *end = list->len != 0 ? memchr(list->ptr, '\n', list->len) : NULL;

	if (end == NULL)
		return false;
	*jid = slice_of(list->ptr, (size_t)(end - list->ptr));
	*list = slice_part(*list, jid->len + 1, SIZE_MAX);
	return true;
}

/* Halves the list until the line is found: low and high are where lines begin. */
bool
block_has(struct slice list, struct slice jid)
{
	size_t low = 0, high = list.len;

	while (low < high) {
		size_t at = low + (high - low) / 2;
		struct slice rest, line;
		int order;

		while (at > low && list.ptr[at - 1] != '\n')
			at--;
		rest = slice_part(list, at, high - at);
		if (!block_next(&rest, &line))
			return false;
		order = slice_compare(line, jid);
		if (order == 0)
			return true;
		if (order < 0)
			low = at + line.len + 1;
		else
			high = at;
	}
	return false;
}

bool
block_matches(struct slice list, struct slice text)
{
	struct buf place = { 0 };
	struct jid jid;
	bool found;

	if (list.len == 0 || text.ptr == NULL || jid_parse(text, &jid) != 0)
		return false;
	if (block_has(list, jid.full) || block_has(list, jid.domain) ||
	    (jid.local.ptr != NULL && block_has(list, jid_bare(&jid))))
		return true;
	if (jid.resource.ptr == NULL || jid.local.ptr == NULL)
		return false;
	buf_add_slice(&place, jid.domain);
	buf_add_char(&place, '/');
	buf_add_slice(&place, jid.resource);
	found = block_has(list, buf_slice(&place));
	buf_free(&place);
	return found;
}

void
block_change(struct slice list, struct slice jid, bool add, struct buf *out)
{
	struct slice line;
	bool due = add;

	while (block_next(&list, &line)) {
		int order = slice_compare(line, jid);

		if (due && order > 0) {
			buf_add_slice(out, jid);
			buf_add_char(out, '\n');
			due = false;
		}
		if (order == 0)
			continue;
		buf_add_slice(out, line);
		buf_add_char(out, '\n');
	}
	if (due) {
		buf_add_slice(out, jid);
		buf_add_char(out, '\n');
	}
}

bool
block_valid(struct slice list)
{
	struct slice line, before = SLICE_NONE;
	struct jid jid;

	while (block_next(&list, &line)) {
		if (jid_parse(line, &jid) != 0 ||
		    (before.ptr != NULL && slice_compare(before, line) >= 0))
			return false;
		before = line;
	}
	return list.len == 0;
}
