/*
 * room_world.h: rooms in memory for unit tests of what answers requests in mucd, and what is said is
 * kept as text: a line of said for each stanza, "answer ..." or "outbox ...".
 */
#ifndef ALDIS_TEST_ROOM_WORLD_H
#define ALDIS_TEST_ROOM_WORLD_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>

#include "error.h"
#include "mem.h"
#include "mucd.h"
#include "ns.h"

#define ROOM "coven@rooms.test"

static struct domain the_domain = { .name = SLICE("rooms.test"), .title = SLICE("Rooms & more"),
	.history = 20, .history_max = 100, .occupants_max = 100 };
static struct room rooms[4]; /* numbers 1 to 4; jid NULL: none */
static struct buf said;
static uint64_t last_client;

/* -- making it ----------------------------------------------------------------------------------- */

static struct room *
room_new(size_t i, const char *jid)
{
	struct room *r = &rooms[i];

	*r = (struct room){ .number = i + 1, .domain = &the_domain, .jid = slice_dup(slice_string(jid)),
		.jid_len = strlen(jid) };
	memset(r->occupant_key, (int)i + 1, sizeof r->occupant_key);
	TAILQ_INIT(&r->affiliates);
	TAILQ_INIT(&r->hats);
	TAILQ_INIT(&r->occupants);
	r->config.public_room = r->config.logged = r->config.moderation = true;
	r->config.private_messages = WHOM_ANYONE;
	r->config.broadcast = 1u << IN_VISITOR | 1u << IN_PARTICIPANT | 1u << IN_MODERATOR;
	return r;
}

static struct client *
enter(struct room *r, const char *full, const char *nick, enum role_in_room role)
{
	size_t len = strlen(full);
	struct slice bare = jid_bare_of(slice_string(full));
	struct client *c = mem_alloc(sizeof *c + len + 1);
	struct occupant *o = occupant_find(r, slice_string(nick));

	if (o == NULL) {
		o = mem_alloc(sizeof *o);
		o->room = r;
		o->nick = slice_dup(slice_string(nick));
		o->nick_len = strlen(nick);
		o->bare = slice_dup(bare);
		o->bare_len = bare.len;
		o->role = role;
		memcpy(o->id, "occupant", 9);
		TAILQ_INIT(&o->clients);
		TAILQ_INSERT_TAIL(&r->occupants, o, all);
		r->occupant_count++;
	}
	memcpy(c->jid, full, len);
	c->jid_len = len;
	c->occupant = o;
	c->number = ++last_client;
	c->handle = 100 + c->number;
	TAILQ_INSERT_TAIL(&o->clients, c, siblings);
	r->client_count++;
	return c;
}

static void
affiliate(struct room *r, const char *bare, enum affiliation affiliation, const char *nick)
{
	size_t len = strlen(bare);
	struct affiliate *a = mem_alloc(sizeof *a + len + 1);

	memcpy(a->jid, bare, len);
	a->jid_len = len;
	a->affiliation = affiliation;
	a->nick = nick != NULL ? slice_dup(slice_string(nick)) : NULL;
	TAILQ_INSERT_TAIL(&r->affiliates, a, all);
}

static void
room_drop(struct room *r)
{
	struct affiliate *a;
	struct occupant *o;
	struct client *c;

	while ((a = TAILQ_FIRST(&r->affiliates)) != NULL) {
		TAILQ_REMOVE(&r->affiliates, a, all);
		free(a->nick);
		free(a);
	}
	while ((o = TAILQ_FIRST(&r->occupants)) != NULL) {
		while ((c = TAILQ_FIRST(&o->clients)) != NULL) {
			TAILQ_REMOVE(&o->clients, c, siblings);
			free(c);
		}
		TAILQ_REMOVE(&r->occupants, o, all);
		free(o->nick);
		free(o->bare);
		free(o);
	}
	free(r->jid);
	receivers_free(&r->everyone);
	buf_free(&r->subject);
	buf_free(&r->vcard);
	buf_free(&r->avatar);
	buf_free(&r->avatar_type);
	buf_free(&r->config.name);
	buf_free(&r->config.password);
	*r = (struct room){ 0 };
}

static int
world_end(void **state)
{
	size_t i;

	(void)state;
	for (i = 0; i < sizeof rooms / sizeof *rooms; i++)
		if (rooms[i].jid != NULL)
			room_drop(&rooms[i]);
	buf_free(&said);
	last_client = 0;
	return 0;
}

/* What was said since the last call, as a string. */
static const char *
heard(void)
{
	static char text[65536];
	struct slice s = buf_slice(&said);

	assert_true(s.len < sizeof text);
	memcpy(text, s.ptr, s.len);
	text[s.len] = '\0';
	buf_clear(&said);
	return text;
}

static void
assert_has(const char *text, const char *part)
{
	if (strstr(text, part) == NULL)
		fail_msg("\"%s\" is not in \"%s\"", part, text);
}

static void
assert_has_not(const char *text, const char *part)
{
	if (strstr(text, part) != NULL)
		fail_msg("\"%s\" is in \"%s\"", part, text);
}

/* -- what the others do, as far as it matters here ------------------------------------------------- */

/* What hats are kept in, which no room here has. */
struct store *store;

void
daemon_dirty(void)
{
}

struct domain *
domain_find(struct slice name)
{
	return slice_equal(name, the_domain.name) ? &the_domain : NULL;
}

bool
domain_may_create(const struct domain *domain, struct slice bare, bool local)
{
	(void)domain;
	(void)bare;
	return local;
}

struct room *
room_find(struct slice jid)
{
	size_t i;

	for (i = 0; i < sizeof rooms / sizeof *rooms; i++)
		if (rooms[i].jid != NULL && slice_equal(room_jid(&rooms[i]), jid))
			return &rooms[i];
	return NULL;
}

int
rooms_walk(const struct domain *domain, uint64_t above,
    bool (*each)(void *arg, const struct room *room), void *arg)
{
	size_t i;

	(void)domain;
	for (i = 0; i < sizeof rooms / sizeof *rooms; i++)
		if (rooms[i].jid != NULL && rooms[i].number > above && !each(arg, &rooms[i]))
			break;
	return OK;
}

struct affiliate *
affiliate_find(const struct room *room, struct slice bare)
{
	struct affiliate *a;

	TAILQ_FOREACH(a, &room->affiliates, all)
		if (slice_equal(slice_of(a->jid, a->jid_len), bare))
			return a;
	return NULL;
}

enum affiliation
affiliation_of(const struct room *room, struct slice bare)
{
	const struct affiliate *a = affiliate_find(room, bare);

	return a != NULL ? a->affiliation : AFFILIATION_NONE;
}

struct occupant *
occupant_find(const struct room *room, struct slice nick)
{
	struct occupant *o;

	TAILQ_FOREACH(o, &room->occupants, all)
		if (slice_equal(slice_of(o->nick, o->nick_len), nick))
			return o;
	return NULL;
}

struct occupant *
occupant_of(const struct room *room, struct slice bare)
{
	struct occupant *o;

	TAILQ_FOREACH(o, &room->occupants, all)
		if (slice_equal(slice_of(o->bare, o->bare_len), bare))
			return o;
	return NULL;
}

struct client *
client_find(const struct room *room, struct slice full)
{
	struct occupant *o;
	struct client *c;

	TAILQ_FOREACH(o, &room->occupants, all)
		TAILQ_FOREACH(c, &o->clients, siblings)
			if (slice_equal(slice_of(c->jid, c->jid_len), full))
				return c;
	return NULL;
}

void
occupant_set_role(struct occupant *occupant, enum role_in_room role)
{
	occupant->role = role;
}

void
occupant_address(const struct occupant *occupant, struct buf *out)
{
	buf_add_slice(out, room_jid(occupant->room));
	buf_add_char(out, '/');
	buf_add_slice(out, occupant_nick(occupant));
}

void
room_save(struct room *room)
{
	room->dirty = true;
}

/* -- what is said -------------------------------------------------------------------------------- */

static void
say(const char *how, const struct frame *f)
{
	const char *type = stanza_type_text(f->subtype);

	buf_printf(&said, "%s %s %s from=%.*s to=%.*s id=%.*s handle=%u: %.*s\n", how,
	    f->type == FRAME_STANZA ? stanza_kind_text(f->kind) : frame_text(f->type),
	    type != NULL ? type : "-", SLICE_ARG(f->from), SLICE_ARG(f->to), SLICE_ARG(f->id),
	    (unsigned)f->handle, SLICE_ARG(f->payload));
	if (f->type == FRAME_STANZA)
		assert_true(stanza_is_canonical(f));
}

void
answer_send(const struct frame *f)
{
	say(f->flags & FLAG_AVAILABLE ? "answer+" : "answer", f);
}

void
answer_result(const struct frame *request, struct slice payload)
{
	struct frame reply;

	stanza_result(request, payload, &reply);
	answer_send(&reply);
}

void
answer_error(const struct frame *stanza, enum stanza_error error, const char *text)
{
	struct buf scratch = { 0 };
	struct frame reply;

	if (stanza_error_reply(stanza, error, slice_string(text), &scratch, &reply))
		answer_send(&reply);
	buf_free(&scratch);
}

void
receivers_add(struct receivers *r, const struct client *client)
{
	buf_add_u64(&r->handles, client->handle);
}

void
receivers_free(struct receivers *r)
{
	buf_free(&r->handles);
	buf_free(&r->elsewhere);
}

const struct receivers *
receivers_everyone(struct room *room)
{
	const struct occupant *o;
	const struct client *c;

	buf_clear(&room->everyone.handles);
	TAILQ_FOREACH(o, &room->occupants, all)
		TAILQ_FOREACH(c, &o->clients, siblings)
			receivers_add(&room->everyone, c);
	return &room->everyone;
}

void
outbox_add(struct frame *f, const struct receivers *r)
{
	size_t i;
	struct frame handles = { .numbers = buf_slice(&r->handles) };

	buf_add_string(&said, "to");
	for (i = 0; i < frame_count(&handles); i++)
		buf_printf(&said, " %u", (unsigned)frame_at(&handles, i));
	say(f->flags & FLAG_STORE ? " store" : " outbox", f);
}

void
outbox_message(struct frame *f)
{
	say("message", f);
}

void
outbox_redact(const struct room *room, uint64_t archive_id, struct slice own, struct slice payload)
{
	buf_printf(&said, "redact %.*s %u own=%.*s %.*s\n", SLICE_ARG(room_jid(room)), (unsigned)archive_id,
	    SLICE_ARG(own), SLICE_ARG(payload));
}

void
message_announce(struct room *room, struct slice payload)
{
	buf_printf(&said, "announce %.*s %.*s\n", SLICE_ARG(room_jid(room)), SLICE_ARG(payload));
}

void
presence_tell(struct occupant *occupant, const struct change *change, const struct client *but)
{
	(void)but;
	buf_printf(&said, "presence %s role=%d actor=%.*s\n", occupant->nick, occupant->role,
	    SLICE_ARG(change->actor_nick));
}

int
admin_affiliate(struct room *room, struct slice bare, enum affiliation affiliation, struct slice nick,
    struct slice reason, struct slice actor_nick, uint64_t now)
{
	(void)nick;
	(void)reason;
	(void)actor_nick;
	(void)now;
	buf_printf(&said, "affiliate %.*s %.*s %d\n", SLICE_ARG(room_jid(room)), SLICE_ARG(bare), affiliation);
	return OK;
}

void
form_info(const struct room *room, bool inside, struct buf *out)
{
	(void)room;
	buf_add_string(out, inside ? "<x xmlns='" NS_DATA "' type='result'/>" : "<x xmlns='" NS_DATA "'/>");
}

static void
other(const char *who, const struct frame *f)
{
	buf_printf(&said, "%s %.*s\n", who, SLICE_ARG(f->id));
}

void
admin_request(struct room *room, const struct frame *f, uint64_t now)
{
	(void)room;
	(void)now;
	other("admin", f);
}

void
owner_request(struct room *room, const struct frame *f, uint64_t now)
{
	(void)room;
	(void)now;
	other("owner", f);
}

void
register_request(const struct frame *f, struct room *room, uint64_t now)
{
	(void)room;
	(void)now;
	other("register", f);
}

/* -- asking -------------------------------------------------------------------------------------- */

/* A stanza with one child, whose name, namespace and node become those of the frame. */
static struct frame
stanza_with(enum stanza_kind kind, enum stanza_type type, const char *from, const char *to,
    const char *payload)
{
	static struct buf scratch;
	struct frame f = { .type = FRAME_STANZA, .kind = kind, .subtype = type, .handle = 7,
		.from = slice_string(from), .to = slice_string(to), .id = SLICE("i1"),
		.payload = slice_string(payload) };
	struct xmlin_element child;
	struct xmlin in;

	xmlin_begin(&in, f.payload, SLICE(NS_CLIENT));
	if (xmlin_child(&in, &child)) {
		f.name = child.name;
		f.ns = child.ns;
		buf_free(&scratch);
		xmlin_attribute(&child, "node", &scratch, &f.node);
	}
	return f;
}

#endif
