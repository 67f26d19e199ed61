/*
 * elsewhere.c: what a room says to occupants at other domains, on the spools of these domains. Called by batch.c and
 * history.c, in the transaction in which it came. Fails when the store does.
 *
 * There is one row for a domain, with the list of its receivers: s2sd writes a stanza for each of them, and reports
 * the row when the last of them has it. It is the same spool as that of messages between accounts, so presences,
 * messages and the history of who has entered come in the order in which the room said them, however long the
 * domain is away.
 *
 * The frame of a row: FLAG_ROOM, FLAG_TO_REMOTE, from: the room or an occupant, to: the domain, text: the receivers,
 * a line each; numbers: the id in the archive of the room, when it has one; FLAG_SPOOL when it was said long ago.
 */
#include "archived.h"

#include <stdlib.h>

#include "jid.h"
#include "log.h"
#include "map.h"
#include "mem.h"
#include "stanza.h"

/* The receivers at one domain. */
struct group {
	struct buf lines;
	struct slice domain;
	struct group *next;
};

struct groups {
	struct map *by_domain;
	struct group *first, **last;
};

static void
group_add(struct groups *groups, struct slice domain, struct slice line)
{
	struct group *group = map_get(groups->by_domain, domain);

	if (group == NULL) {
		group = mem_alloc(sizeof *group);
		group->domain = domain;
		map_put(groups->by_domain, domain, group);
		*groups->last = group;
		groups->last = &group->next;
	}
	buf_add_slice(&group->lines, line);
	buf_add_char(&group->lines, '\n');
}

/* Puts a stanza on the spool of one domain. */
static int
group_store(const struct group *group, const struct frame *said, uint64_t room_id)
{
	struct frame f = { .type = FRAME_STANZA, .kind = said->kind, .subtype = said->subtype, .from = said->from,
		.to = group->domain, .id = said->id, .lang = said->lang, .payload = said->payload,
		.name = said->name, .ns = said->ns, .stamp = said->stamp, .text = buf_slice(&group->lines),
		.flags = (said->flags & (FLAG_FROM_ENTRY | FLAG_SPOOL)) | FLAG_ROOM | FLAG_STORE | FLAG_TO_REMOTE |
		    FLAG_NO_PERMANENT };

	int error;

	if (room_id != 0)
		f.numbers = slice_of(&room_id, sizeof room_id);
	error = batch_store(&f);
	if (error != E_TOO_BIG)
		return error;
	log_error("message left out", "to=%s reason=\"%s\"", log_quote(f.to), error_text(error));
	return OK;
}

int
elsewhere_store(const struct frame *said, struct slice receivers, uint64_t room_id)
{
	struct groups groups = { .by_domain = map_new(), .last = &groups.first };
	struct group *group;
	struct slice line;
	struct jid jid;
	int error = OK;

	while (slice_line(&receivers, &line)) {
		if (jid_parse(line, &jid) == OK)
			group_add(&groups, jid.domain, line);
	}
	while ((group = groups.first) != NULL) {
		groups.first = group->next;
		if (error == OK)
			error = group_store(group, said, room_id);
		buf_free(&group->lines);
		free(group);
	}
	map_free(&groups.by_domain);
	return error;
}

int
elsewhere_each(const struct frame *row, int (*each)(void *arg, const struct frame *f), void *arg)
{
	struct slice rest = row->text;
	struct frame f = *row;
	int error = OK;

	if (!(row->flags & FLAG_ROOM))
		return each(arg, row);
	f.text = f.numbers = SLICE_NONE;
	while (error == OK && slice_line(&rest, &f.to))
		error = each(arg, &f);
	return error;
}
