/*
 * disco.c: service discovery (XEP-0030) of the domain and of rooms, with the form of a room (XEP-0128,
 * XEP-0045 section 6.4) and the nick that is reserved for who asks (7.12). Called by request.c, which
 * has seen that the room may be known to who asks. Changes nothing; what is wrong with a request is
 * answered with a stanza error.
 */
#include "mucd.h"
#include "ns.h"
#include "rsm.h"
#include "xmlout.h"

#define PAGE_MAX 500 /* items in one answer, so that it fits in a frame whatever they are called */

#define NODE_NICK    "x-roomuser-item"
#define NODE_TRAFFIC NS_MUC "#traffic"

/* -- writing ----------------------------------------------------------------------------------- */

/* Returns where the start tag ends. */
static size_t
query_open(const struct frame *f, struct buf *out)
{
	xml_open(out, "query", f->ns);
	if (f->node.len != 0)
		xml_add_attribute(out, "node", f->node);
	buf_add_char(out, '>');
	return buf_len(out);
}

static void
query_answer(const struct frame *f, struct buf *out, size_t head)
{
	xml_close(out, "query", head);
	answer_result(f, buf_slice(out));
	buf_free(out);
}

static void
identity_add(struct slice name, struct buf *out)
{
	buf_add_string(out, "<identity category='conference' type='text'");
	if (name.len != 0)
		xml_add_attribute(out, "name", name);
	buf_add_string(out, "/>");
}

static void
feature_add(const char *name, struct buf *out)
{
	buf_add_string(out, "<feature var='");
	buf_add_string(out, name);
	buf_add_string(out, "'/>");
}

static void
features_add(const char *const *names, struct buf *out)
{
	for (; *names != NULL; names++)
		feature_add(*names, out);
}

/* The name of a room for people: what its owners say, or its address. */
static struct slice
name_of(const struct room *room)
{
	const char *at = memchr(room->jid, '@', room->jid_len);
	struct slice name = buf_slice(&room->config.name);

	if (name.len != 0 || at == NULL)
		return name;
	return slice_of(room->jid, (size_t)(at - room->jid));
}

/* -- information ------------------------------------------------------------------------------- */

static void
info_domain(const struct frame *f, const struct domain *domain)
{
	static const char *const names[] = { NS_DISCO_INFO, NS_DISCO_ITEMS, NS_MUC, NS_MUC_STABLE_ID,
		NS_MUC_UNIQUE, NS_OCCUPANT_ID, NS_RSM, NS_PING, NS_TIME, NS_VERSION, NS_LAST, NS_VCARD,
		NS_COMMANDS /* the router answers them */, NULL };
	struct buf out = { 0 };
	size_t head;

	head = query_open(f, &out);
	identity_add(domain->title, &out);
	features_add(names, &out);
	query_answer(f, &out, head);
}

/* What a room is, in the words of section 15.3 of XEP-0045. */
static void
types_add(const struct room_config *c, struct buf *out)
{
	feature_add(c->public_room ? "muc_public" : "muc_hidden", out);
	feature_add(c->persistent ? "muc_persistent" : "muc_temporary", out);
	feature_add(c->members_only ? "muc_membersonly" : "muc_open", out);
	feature_add(c->moderated ? "muc_moderated" : "muc_unmoderated", out);
	feature_add(c->non_anonymous ? "muc_nonanonymous" : "muc_semianonymous", out);
	feature_add(c->password_protected ? "muc_passwordprotected" : "muc_unsecured", out);
}

static void
info_room(const struct frame *f, const struct room *room)
{
	static const char *const names[] = { NS_DISCO_INFO, NS_DISCO_ITEMS, NS_MUC, NS_MUC_STABLE_ID,
		NS_MUC_SELF_PING, NS_MUC_REQUEST, NS_MUC_REGISTER, NS_MUC_ROOMCONFIG, NS_MUC_ROOMINFO,
		NS_REGISTER, NS_OCCUPANT_ID, NS_SID, NS_RETRACT, NS_RETRACT "#tombstone", NS_VCARD,
		NS_PING, NS_TIME, NS_VERSION, NS_COMMANDS, NS_HATS, NULL };
	static const char *const archive[] = { NS_MAM, NS_MAM_EXTENDED, NS_FULLTEXT, NULL };
	struct buf out = { 0 };
	size_t head;

	head = query_open(f, &out);
	identity_add(name_of(room), &out);
	features_add(names, &out);
	if (room->config.logged)
		features_add(archive, &out);
	if (room->config.moderation)
		feature_add(NS_MODERATE, &out);
	types_add(&room->config, &out);
	form_info(room, access_reads(room, f->from), &out);
	query_answer(f, &out, head);
}

/* The nick that is reserved for who asks, or an empty answer. */
static void
info_nick(const struct frame *f, const struct room *room)
{
	const struct affiliate *own = affiliate_find(room, jid_bare_of(f->from));
	struct buf out = { 0 };
	size_t head;

	head = query_open(f, &out);
	if (own != NULL && own->nick != NULL)
		identity_add(slice_string(own->nick), &out);
	query_answer(f, &out, head);
}

/* A command of a room (XEP-0050 section 2.3). */
static void
info_command(const struct frame *f)
{
	struct buf out = { 0 };
	size_t head = query_open(f, &out);

	buf_add_string(&out, "<identity category='automation' type='command-node'");
	xml_add_attribute(&out, "name", slice_string(hat_command_name(f->node)));
	buf_add_string(&out, "/>");
	feature_add(NS_COMMANDS, &out);
	feature_add(NS_DATA, &out);
	query_answer(f, &out, head);
}

static void
info(const struct frame *f, struct room *room)
{
	if (room != NULL && slice_is(f->node, NODE_NICK))
		info_nick(f, room);
	else if (room != NULL && slice_is(f->node, NODE_TRAFFIC))
		answer_error(f, STANZA_ERROR_SERVICE_UNAVAILABLE, "All namespaces pass");
	else if (room != NULL && hat_command_name(f->node) != NULL)
		info_command(f);
	else if (f->node.len != 0)
		answer_error(f, STANZA_ERROR_ITEM_NOT_FOUND, NULL);
	else if (room != NULL)
		info_room(f, room);
	else
		info_domain(f, domain_find(f->to));
}

/* -- items ------------------------------------------------------------------------------------- */

static bool
is_listed(const struct room *room)
{
	return room->config.public_room && !room->locked;
}

static bool
room_add(void *arg, const struct room *room)
{
	struct rsm *rsm = arg;
	struct buf item = { 0 };

	if (!is_listed(room) || !rsm_takes(rsm, room->number))
		return true;
	buf_add_string(&item, "<item");
	xml_add_attribute(&item, "jid", room_jid(room));
	xml_add_attribute(&item, "name", name_of(room));
	buf_add_string(&item, "/>");
	rsm_add(rsm, room->number, buf_slice(&item));
	buf_free(&item);
	return true;
}

/* The public rooms of a domain. */
static void
items_domain(const struct frame *f, const struct domain *domain)
{
	struct rsm rsm;
	enum stanza_error error = rsm_read(f->payload, NS_DISCO_ITEMS, PAGE_MAX, &rsm);
	struct buf out = { 0 };
	size_t head;

	if (error != STANZA_ERROR_NONE) {
		answer_error(f, error, "The page is not to be found");
		return;
	}
	rooms_walk(domain, 0, room_add, &rsm);
	head = query_open(f, &out);
	rsm_write(&rsm, &out);
	rsm_free(&rsm);
	query_answer(f, &out, head);
}

/* Whether who asks sees an occupant, as it sees its presence. */
static bool
is_shown(const struct room *room, const struct occupant *occupant, const struct client *asking)
{
	return asking->occupant == occupant || asking->occupant->role == IN_MODERATOR ||
	    (room->config.broadcast & 1u << occupant->role) != 0;
}

/* The occupants of a room, for an occupant; to others that is nobody's business (section 6.5). */
static void
items_room(const struct frame *f, const struct room *room)
{
	const struct client *asking = client_find(room, f->from);
	const struct occupant *o;
	struct buf out = { 0 }, jid = { 0 };
	size_t count = 0, head;

	head = query_open(f, &out);
	TAILQ_FOREACH(o, &room->occupants, all) {
		if (asking == NULL || !is_shown(room, o, asking))
			continue;
		if (count++ == PAGE_MAX)
			break;
		buf_clear(&jid);
		buf_add_slice(&jid, room_jid(room));
		buf_add_char(&jid, '/');
		buf_add(&jid, o->nick, o->nick_len);
		buf_add_string(&out, "<item");
		xml_add_attribute(&out, "jid", buf_slice(&jid));
		xml_add_attribute(&out, "name", slice_of(o->nick, o->nick_len));
		buf_add_string(&out, "/>");
	}
	buf_free(&jid);
	query_answer(f, &out, head);
}

/* The commands of a room. */
static void
items_commands(const struct frame *f, const struct room *room)
{
	struct buf out = { 0 };
	size_t head = query_open(f, &out);

	hat_command_items(room, f->from, &out);
	query_answer(f, &out, head);
}

static void
items(const struct frame *f, struct room *room)
{
	if (room != NULL && slice_is(f->node, NS_COMMANDS))
		items_commands(f, room);
	else if (f->node.len != 0)
		answer_error(f, STANZA_ERROR_ITEM_NOT_FOUND, NULL);
	else if (room != NULL)
		items_room(f, room);
	else
		items_domain(f, domain_find(f->to));
}

void
disco_request(const struct frame *f, struct room *room)
{
	if (slice_is(f->ns, NS_DISCO_ITEMS))
		items(f, room);
	else
		info(f, room);
}
