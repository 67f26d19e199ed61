/*
 * mucd_world.h: a room in memory for the tests of what changes it: the parts of mucd that keep rooms, tell
 * occupants and answer are replaced by lists and a log.
 *
 * world_log() has a line for each thing that was said, in order: "result", "error CONDITION", "presence NICK
 * ROLE AFFILIATION CODES", "gone NICK AFFILIATION CODES", "room PAYLOAD", "outbox RECEIVERS PAYLOAD", "message
 * TO PAYLOAD".
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <stdlib.h>

#include "mem.h"
#include "mucd.h"
#include "ns.h"

static struct domain world_domain = { .name = { "rooms.test", 10 }, .rooms_max = 10, .occupants_max = 100,
	.history_max = 50, .history = 20 };
static struct room *world;
static struct buf world_said;
static struct buf world_answer; /* payload of the last result, or text of the last error */
static const char *world_admin; /* of the domain */
static bool world_ended, world_removed;

static inline const char *
world_log(void)
{
	static char *text;

	free(text);
	buf_add_char(&world_said, '\0');
	text = mem_copy(buf_slice(&world_said).ptr, buf_len(&world_said));
	buf_clear(&world_said);
	return text;
}

/* -- what keeps rooms -- */

/* What hats are kept in, which no room here has. */
struct store *store;

void
daemon_dirty(void)
{
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
room_save(struct room *room)
{
	(void)room;
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

/* -- what tells -- */

static inline void
world_codes(unsigned status)
{
	static const unsigned codes[] = { 100, 101, 102, 103, 104, 110, 170, 171, 172, 173, 201, 210, 301, 303, 307,
		321, 322, 332, 333 };
	size_t i;

	for (i = 0; i < sizeof codes / sizeof codes[0]; i++) {
		if (status & 1u << i)
			buf_printf(&world_said, " %u", codes[i]);
	}
}

static inline void
world_change(const struct change *change)
{
	world_codes(change->status);
	if (change->actor_nick.ptr != NULL)
		buf_printf(&world_said, " by %.*s", SLICE_ARG(change->actor_nick));
	if (change->reason.len != 0)
		buf_printf(&world_said, " for %.*s", SLICE_ARG(change->reason));
	if (change->destroy.ptr != NULL)
		buf_printf(&world_said, " %.*s", SLICE_ARG(change->destroy));
	buf_add_char(&world_said, '\n');
}

void
presence_tell(struct occupant *occupant, const struct change *change, const struct client *but)
{
	(void)but;
	buf_printf(&world_said, "presence %s %s %s", occupant->nick, role_in_room_text(occupant->role),
	    affiliation_text(affiliation_of(occupant->room, slice_of(occupant->bare, occupant->bare_len))));
	world_change(change);
}

void
presence_broadcast_changed(struct room *room, unsigned before)
{
	buf_printf(&world_said, "broadcast %u %u\n", before, room->config.broadcast);
}

static inline void
world_leave(struct occupant *o)
{
	struct client *client;

	while ((client = TAILQ_FIRST(&o->clients)) != NULL) {
		TAILQ_REMOVE(&o->clients, client, siblings);
		map_remove(o->room->by_client, slice_of(client->jid, client->jid_len));
		o->room->client_count--;
		free(client);
	}
	TAILQ_REMOVE(&o->room->occupants, o, all);
	map_remove(o->room->by_nick, slice_of(o->nick, o->nick_len));
	o->room->occupant_count--;
	free(o->nick);
	free(o->bare);
	free(o);
}

void
presence_expel(struct occupant *occupant, const struct change *change)
{
	buf_printf(&world_said, "gone %s %s", occupant->nick, affiliation_text(change->affiliation));
	world_change(change);
	world_leave(occupant);
}

void
receivers_add(struct receivers *r, const struct client *client)
{
	if (buf_len(&r->elsewhere) != 0)
		buf_add_char(&r->elsewhere, ',');
	buf_add_string(&r->elsewhere, client->occupant->nick);
}

void
receivers_free(struct receivers *r)
{
	buf_free(&r->elsewhere);
}

/* Whatever is said is canonical. */
static inline void
world_payload(struct slice payload)
{
	assert_true(xmlin_valid(payload, SLICE(NS_CLIENT)));
	buf_printf(&world_said, " %.*s\n", SLICE_ARG(payload));
}

void
outbox_add(struct frame *f, const struct receivers *r)
{
	if (buf_len(&r->elsewhere) == 0)
		return;
	buf_printf(&world_said, "outbox %.*s", SLICE_ARG(buf_slice(&r->elsewhere)));
	world_payload(f->payload);
}

void
outbox_message(struct frame *f)
{
	buf_printf(&world_said, "message %.*s", SLICE_ARG(f->to));
	world_payload(f->payload);
}

void
message_announce(struct room *room, struct slice payload)
{
	(void)room;
	buf_add_string(&world_said, "room");
	world_payload(payload);
}

void
answer_result(const struct frame *request, struct slice payload)
{
	(void)request;
	assert_true(xmlin_valid(payload, SLICE(NS_CLIENT)));
	buf_clear(&world_answer);
	buf_add_slice(&world_answer, payload);
	buf_add_string(&world_said, "result\n");
}

void
answer_error(const struct frame *stanza, enum stanza_error error, const char *text)
{
	(void)stanza;
	buf_clear(&world_answer);
	buf_add_string(&world_answer, text != NULL ? text : "");
	buf_printf(&world_said, "error %s\n", stanza_error_text(error));
}

/* -- the room -- */

/* Somebody in the room: user@a.test/x under a nick. */
static inline struct occupant *
world_enter(const char *bare, const char *nick, enum role_in_room role)
{
	struct occupant *o = mem_alloc(sizeof *o);
	size_t len = strlen(bare) + 2;
	struct client *client = mem_alloc(sizeof *client + len + 1);

	o->room = world;
	o->nick = mem_string(nick);
	o->nick_len = strlen(nick);
	o->bare = mem_string(bare);
	o->bare_len = strlen(bare);
	o->role = role;
	TAILQ_INIT(&o->clients);
	client->occupant = o;
	client->jid_len = len;
	snprintf(client->jid, len + 1, "%s/x", bare);
	TAILQ_INSERT_TAIL(&o->clients, client, siblings);
	TAILQ_INSERT_TAIL(&world->occupants, o, all);
	map_put(world->by_nick, slice_of(o->nick, o->nick_len), o);
	map_put(world->by_client, slice_of(client->jid, len), client);
	world->occupant_count++;
	world->client_count++;
	return o;
}

static inline int
world_setup(void **state)
{
	(void)state;
	world = mem_alloc(sizeof *world);
	world->domain = &world_domain;
	world->jid = mem_string("cave@rooms.test");
	world->jid_len = strlen(world->jid);
	world->by_jid = map_new();
	world->by_nick = map_new();
	world->by_client = map_new();
	TAILQ_INIT(&world->affiliates);
	TAILQ_INIT(&world->hats);
	TAILQ_INIT(&world->occupants);
	room_config_default(&world->config, &world_domain);
	affiliation_set(world, SLICE("owner@a.test"), AFFILIATION_OWNER, SLICE_NONE, SLICE_NONE);
	affiliation_set(world, SLICE("admin@a.test"), AFFILIATION_ADMIN, SLICE_NONE, SLICE_NONE);
	affiliation_set(world, SLICE("member@a.test"), AFFILIATION_MEMBER, SLICE_NONE, SLICE_NONE);
	world_admin = NULL;
	world_ended = world_removed = false;
	return 0;
}

static inline int
world_teardown(void **state)
{
	struct affiliate *a;
	struct occupant *o;

	(void)state;
	while ((o = TAILQ_FIRST(&world->occupants)) != NULL)
		world_leave(o);
	while ((a = TAILQ_FIRST(&world->affiliates)) != NULL)
		affiliation_set(world, slice_of(a->jid, a->jid_len), AFFILIATION_NONE, SLICE_NONE, SLICE_NONE);
	map_free(&world->by_jid);
	map_free(&world->by_nick);
	map_free(&world->by_client);
	room_config_free(&world->config);
	free(world->jid);
	free(world);
	world_log();
	buf_free(&world_said);
	buf_free(&world_answer);
	return 0;
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
