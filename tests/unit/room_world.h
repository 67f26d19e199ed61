/*
 * room_world.h: rooms in memory for unit tests of what changes them or answers about them: the parts of mucd that keep
 * rooms, tell occupants and answer are replaced by lists and a log, a line for each thing that was said, in order.
 *
 * What of mucd a test links takes the place of the stand-in here (those are WEAK).
 *
 *	"presence NICK ROLE AFFILIATION CODES", "gone NICK AFFILIATION CODES", "room PAYLOAD" (to all), and in full
 *	"answer KIND TYPE from= to= id= handle=: PAYLOAD", "to HANDLES outbox ...", "message ...", "redact ...";
 *	with world_setup(), a room and who is what in it, these in short: "result", "error CONDITION",
 *	"outbox NICKS PAYLOAD", "message TO PAYLOAD"
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
#define WEAK __attribute__((weak))

static struct domain the_domain = { .name = SLICE("rooms.test"), .title = SLICE("Rooms & more"), .rooms_max = 10,
	.history = 20, .history_max = 50, .occupants_max = 100 };
static struct room rooms[4];     /* numbers 1 to 4; jid NULL: none */
static struct room *world;       /* that of world_setup() */
static struct buf said;
static struct buf world_answer;  /* payload of the last result, or text of the last error */
static const char *world_admin;  /* of the domain */
static bool world_ended, world_removed;
static uint64_t last_client;

/* -- making it ----------------------------------------------------------------------------------- */

static inline struct room *
room_new(size_t i, const char *jid)
{
	struct room *r = &rooms[i];

	*r = (struct room){ .number = i + 1, .domain = &the_domain, .jid = slice_dup(slice_string(jid)),
		.jid_len = strlen(jid), .by_jid = map_new(), .by_nick = map_new(), .by_client = map_new() };
	memset(r->occupant_key, (int)i + 1, sizeof r->occupant_key);
	TAILQ_INIT(&r->affiliates);
	TAILQ_INIT(&r->hats);
	TAILQ_INIT(&r->occupants);
	r->config.public_room = r->config.logged = r->config.moderation = true;
	r->config.private_messages = WHOM_ANYONE;
	r->config.broadcast = 1u << IN_VISITOR | 1u << IN_PARTICIPANT | 1u << IN_MODERATOR;
	return r;
}

static inline struct client *
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
		map_put(r->by_nick, occupant_nick(o), o);
		r->occupant_count++;
	}
	memcpy(c->jid, full, len);
	c->jid_len = len;
	c->occupant = o;
	c->number = ++last_client;
	c->handle = 100 + c->number;
	TAILQ_INSERT_TAIL(&o->clients, c, siblings);
	map_put(r->by_client, client_jid(c), c);
	r->client_count++;
	return c;
}

static inline void
affiliate(struct room *r, const char *bare, enum affiliation affiliation, const char *nick)
{
	affiliation_set(r, slice_string(bare), affiliation, slice_string(nick), SLICE_NONE);
}

static inline void
world_leave(struct occupant *o)
{
	struct client *client;

	while ((client = TAILQ_FIRST(&o->clients)) != NULL) {
		TAILQ_REMOVE(&o->clients, client, siblings);
		map_remove(o->room->by_client, client_jid(client));
		o->room->client_count--;
		free(client);
	}
	TAILQ_REMOVE(&o->room->occupants, o, all);
	map_remove(o->room->by_nick, occupant_nick(o));
	o->room->occupant_count--;
	free(o->nick);
	free(o->bare);
	free(o);
}

static inline void
room_drop(struct room *r)
{
	struct buf *const texts[] = { &r->subject, &r->vcard, &r->avatar, &r->avatar_type, &r->config.name,
		&r->config.description, &r->config.lang, &r->config.contact_ids, &r->config.subject_lang,
		&r->config.password, &r->config.pubsub, &r->config.ldapgroup };
	struct affiliate *a;
	struct occupant *o;
	size_t i;

	while ((o = TAILQ_FIRST(&r->occupants)) != NULL)
		world_leave(o);
	while ((a = TAILQ_FIRST(&r->affiliates)) != NULL)
		affiliation_set(r, slice_of(a->jid, a->jid_len), AFFILIATION_NONE, SLICE_NONE, SLICE_NONE);
	map_free(&r->by_jid);
	map_free(&r->by_nick);
	map_free(&r->by_client);
	free(r->jid);
	receivers_free(&r->everyone);
	for (i = 0; i < sizeof texts / sizeof texts[0]; i++)
		buf_free(texts[i]);
	*r = (struct room){ 0 };
}

static inline int
world_end(void **state)
{
	size_t i;

	(void)state;
	for (i = 0; i < sizeof rooms / sizeof *rooms; i++)
		if (rooms[i].jid != NULL)
			room_drop(&rooms[i]);
	buf_free(&said);
	buf_free(&world_answer);
	last_client = 0;
	world = NULL;
	world_admin = NULL;
	world_ended = world_removed = false;
	return 0;
}

/* A room with an owner, an admin and a member of a.test, as new ones are configured. */
static inline int
world_setup(void **state)
{
	(void)state;
	world = room_new(0, "cave@rooms.test");
	room_config_default(&world->config, &the_domain);
	affiliate(world, "owner@a.test", AFFILIATION_OWNER, NULL);
	affiliate(world, "admin@a.test", AFFILIATION_ADMIN, NULL);
	affiliate(world, "member@a.test", AFFILIATION_MEMBER, NULL);
	return 0;
}

/* Somebody in this room: user@a.test/x under a nick. */
static inline struct occupant *
world_enter(const char *bare, const char *nick, enum role_in_room role)
{
	struct buf full = { 0 };
	struct occupant *o;

	buf_printf(&full, "%s/x", bare);
	buf_add_char(&full, '\0');
	o = enter(world, full.bytes, nick, role)->occupant;
	buf_free(&full);
	return o;
}

/* What was said since the last call, as a string. */
static inline const char *
heard(void)
{
	static char *text;

	free(text);
	text = mem_alloc(buf_len(&said) + 1);
	if (buf_len(&said) != 0)
		memcpy(text, buf_slice(&said).ptr, buf_len(&said));
	buf_clear(&said);
	return text;
}

static inline void
assert_has(const char *text, const char *part)
{
	if (strstr(text, part) == NULL)
		fail_msg("\"%s\" is not in \"%s\"", part, text);
}

static inline void
assert_has_not(const char *text, const char *part)
{
	if (strstr(text, part) != NULL)
		fail_msg("\"%s\" is in \"%s\"", part, text);
}

/* -- what keeps rooms, as far as it matters here --------------------------------------------------- */

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
	return map_get(room->by_jid, bare);
}

enum affiliation
affiliation_of(const struct room *room, struct slice bare)
{
	const struct affiliate *a = affiliate_find(room, bare);
	struct jid jid;

	if (world_admin != NULL && slice_is(bare, world_admin))
		return AFFILIATION_OWNER;
	if (a == NULL) {
		jid_split(bare, &jid);
		a = affiliate_find(room, jid.domain);
	}
	return a != NULL ? a->affiliation : AFFILIATION_NONE;
}

bool
domain_is_admin(const struct domain *domain, struct slice bare)
{
	(void)domain;
	return world_admin != NULL && slice_is(bare, world_admin);
}

void
affiliation_set(struct room *room, struct slice bare, enum affiliation affiliation, struct slice nick,
    struct slice reason)
{
	struct affiliate *a = affiliate_find(room, bare), *made = NULL;

	if (affiliation != AFFILIATION_NONE || nick.len != 0) {
		made = mem_alloc(sizeof *made + bare.len + 1);
		made->affiliation = affiliation;
		made->nick = slice_dup(nick);
		made->reason = slice_dup(reason);
		made->jid_len = bare.len;
		memcpy(made->jid, bare.ptr, bare.len);
	}
	if (a != NULL) {
		map_remove(room->by_jid, slice_of(a->jid, a->jid_len));
		TAILQ_REMOVE(&room->affiliates, a, all);
		free(a->nick);
		free(a->reason);
		free(a);
	}
	if (made == NULL)
		return;
	TAILQ_INSERT_TAIL(&room->affiliates, made, all);
	map_put(room->by_jid, slice_of(made->jid, made->jid_len), made);
}

size_t
affiliation_count(const struct room *room, enum affiliation affiliation)
{
	const struct affiliate *a;
	size_t count = 0;

	TAILQ_FOREACH (a, &room->affiliates, all)
		count += a->affiliation == affiliation;
	return count;
}

struct affiliate *
affiliate_of_nick(const struct room *room, struct slice nick)
{
	struct affiliate *a;

	TAILQ_FOREACH (a, &room->affiliates, all) {
		if (a->nick != NULL && slice_is(nick, a->nick))
			return a;
	}
	return NULL;
}

enum role_in_room
affiliation_role(const struct room *room, enum affiliation affiliation)
{
	if (affiliation >= AFFILIATION_ADMIN)
		return IN_MODERATOR;
	return room->config.moderated && affiliation < AFFILIATION_MEMBER ? IN_VISITOR : IN_PARTICIPANT;
}

struct occupant *
occupant_find(const struct room *room, struct slice nick)
{
	return map_get(room->by_nick, nick);
}

struct occupant *
occupant_of(const struct room *room, struct slice bare)
{
	struct occupant *o;

	TAILQ_FOREACH (o, &room->occupants, all) {
		if (slice_equal(slice_of(o->bare, o->bare_len), bare))
			return o;
	}
	return NULL;
}

struct client *
client_find(const struct room *room, struct slice full)
{
	return map_get(room->by_client, full);
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

void
room_remove(struct room *room, bool forget)
{
	(void)room;
	world_removed = forget;
}

void
room_emptied(struct room *room, uint64_t now)
{
	(void)room;
	(void)now;
	world_ended = true;
}

/* -- what is said -------------------------------------------------------------------------------- */

static inline void
world_codes(unsigned status)
{
	static const unsigned codes[] = { 100, 101, 102, 103, 104, 110, 170, 171, 172, 173, 201, 210, 301, 303, 307,
		321, 322, 332, 333 };
	size_t i;

	for (i = 0; i < sizeof codes / sizeof codes[0]; i++) {
		if (status & 1u << i)
			buf_printf(&said, " %u", codes[i]);
	}
}

static inline void
world_change(const struct change *change)
{
	world_codes(change->status);
	if (change->actor_nick.ptr != NULL)
		buf_printf(&said, " by %.*s", SLICE_ARG(change->actor_nick));
	if (change->reason.len != 0)
		buf_printf(&said, " for %.*s", SLICE_ARG(change->reason));
	if (change->destroy.ptr != NULL)
		buf_printf(&said, " %.*s", SLICE_ARG(change->destroy));
	buf_add_char(&said, '\n');
}

void
presence_tell(struct occupant *occupant, const struct change *change, const struct client *but)
{
	(void)but;
	buf_printf(&said, "presence %s %s %s", occupant->nick, role_in_room_text(occupant->role),
	    affiliation_text(affiliation_of(occupant->room, occupant_bare(occupant))));
	world_change(change);
}

void
presence_broadcast_changed(struct room *room, unsigned before)
{
	buf_printf(&said, "broadcast %u %u\n", before, room->config.broadcast);
}

void
presence_expel(struct occupant *occupant, const struct change *change)
{
	buf_printf(&said, "gone %s %s", occupant->nick, affiliation_text(change->affiliation));
	world_change(change);
	world_leave(occupant);
}

/* A stanza in full. */
static inline void
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

int
answer_send(const struct frame *f)
{
	if (f->payload.len > FRAME_MAX / 2)
		return E_TOO_BIG;
	say(f->flags & FLAG_AVAILABLE ? "answer+" : "answer", f);
	return OK;
}

void
answer_result(const struct frame *request, struct slice payload)
{
	struct frame reply;

	stanza_result(request, payload, &reply);
	if (world == NULL) {
		answer_send(&reply);
		return;
	}
	assert_true(xmlin_valid(payload, SLICE(NS_CLIENT)));
	buf_clear(&world_answer);
	buf_add_slice(&world_answer, payload);
	buf_add_string(&said, "result\n");
}

void
answer_error(const struct frame *stanza, enum stanza_error error, const char *text)
{
	struct buf scratch = { 0 };
	struct frame reply;

	if (world != NULL) {
		buf_clear(&world_answer);
		buf_add_string(&world_answer, text != NULL ? text : "");
		buf_printf(&said, "error %s\n", stanza_error_text(error));
	} else if (stanza_error_reply(stanza, error, slice_string(text), &scratch, &reply)) {
		answer_send(&reply);
	}
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

/* Whatever is said is canonical. */
static inline void
world_payload(struct slice payload)
{
	assert_true(xmlin_valid(payload, SLICE(NS_CLIENT)));
	buf_printf(&said, " %.*s\n", SLICE_ARG(payload));
}

static inline const char *
nick_of(uint64_t handle)
{
	const struct occupant *o;
	const struct client *c;

	TAILQ_FOREACH(o, &world->occupants, all)
		TAILQ_FOREACH(c, &o->clients, siblings)
			if (c->handle == handle)
				return o->nick;
	fail_msg("nobody has the handle %u", (unsigned)handle);
	return NULL;
}

void
outbox_add(struct frame *f, const struct receivers *r)
{
	size_t i;
	struct frame handles = { .numbers = buf_slice(&r->handles) };

	if (world != NULL && frame_count(&handles) == 0)
		return;
	buf_add_string(&said, world != NULL ? "outbox" : "to");
	for (i = 0; i < frame_count(&handles); i++) {
		if (world != NULL)
			buf_printf(&said, "%c%s", i == 0 ? ' ' : ',', nick_of(frame_at(&handles, i)));
		else
			buf_printf(&said, " %u", (unsigned)frame_at(&handles, i));
	}
	if (world != NULL)
		world_payload(f->payload);
	else
		say(f->flags & FLAG_STORE ? " store" : " outbox", f);
}

size_t
outbox_pending(void)
{
	return buf_len(&said);
}

void
outbox_message(struct frame *f)
{
	if (world == NULL) {
		say("message", f);
		return;
	}
	buf_printf(&said, "message %.*s", SLICE_ARG(f->to));
	world_payload(f->payload);
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
	(void)room;
	buf_add_string(&said, "room");
	world_payload(payload);
}

/* -- what other tests link ----------------------------------------------------------------------- */

WEAK int
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

WEAK void
form_info(const struct room *room, bool inside, struct buf *out)
{
	(void)room;
	buf_add_string(out, inside ? "<x xmlns='" NS_DATA "' type='result'/>" : "<x xmlns='" NS_DATA "'/>");
}

static inline void
other(const char *who, const struct frame *f)
{
	buf_printf(&said, "%s %.*s\n", who, SLICE_ARG(f->id));
}

WEAK void
admin_request(struct room *room, const struct frame *f, uint64_t now)
{
	(void)room;
	(void)now;
	other("admin", f);
}

WEAK void
owner_request(struct room *room, const struct frame *f, uint64_t now)
{
	(void)room;
	(void)now;
	other("owner", f);
}

WEAK void
register_request(const struct frame *f, struct room *room, uint64_t now)
{
	(void)room;
	(void)now;
	other("register", f);
}

/* -- asking -------------------------------------------------------------------------------------- */

/* A stanza with one child, whose name, namespace and node become those of the frame. */
static inline struct frame
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

/* A request to the room, from somebody by name: its answer is in the log. */
static inline struct frame
world_request(const char *name, enum stanza_type type, const char *payload, struct buf *address)
{
	buf_clear(address);
	buf_printf(address, "%s@a.test/x", name);
	return (struct frame){ .type = FRAME_STANZA, .kind = STANZA_IQ, .subtype = type, .from = buf_slice(address),
		.to = room_jid(world), .id = SLICE("1"), .payload = slice_string(payload) };
}

#endif
