/*
 * room.c: rooms from their first occupant to their end, in memory and in the store.
 *
 * A room is read when somebody asks for it, and given back when nobody is in it. Called by all that
 * handle stanzas. Fails when the store does, which the commit reports.
 */
#include "mucd.h"

#include <gnutls/crypto.h>
#include <stdlib.h>

#include "counter.h"
#include "log.h"
#include "mem.h"

TAILQ_HEAD(rooms, room);

static struct rooms rooms = TAILQ_HEAD_INITIALIZER(rooms);     /* those in memory */
static TAILQ_HEAD(, room) dirty = TAILQ_HEAD_INITIALIZER(dirty);     /* whose rows are to be written */
static TAILQ_HEAD(, room) visited = TAILQ_HEAD_INITIALIZER(visited); /* in which perhaps nobody is */
static struct rooms removed = TAILQ_HEAD_INITIALIZER(removed); /* that end with this transaction */
static struct map *by_name;

/* -- rows -- */

#define CONFIG(member) offsetof(struct room_config, member)

/* What a row has of the configuration; append only. */
static const size_t config_texts[] = {
	CONFIG(name), CONFIG(description), CONFIG(lang), CONFIG(contact_ids), CONFIG(subject_lang),
	CONFIG(password), CONFIG(pubsub), CONFIG(ldapgroup),
};
static const size_t config_flags[] = {
	CONFIG(persistent), CONFIG(public_room), CONFIG(members_only), CONFIG(moderated),
	CONFIG(password_protected), CONFIG(non_anonymous), CONFIG(change_subject), CONFIG(invites),
	CONFIG(logged), CONFIG(member_list_public), CONFIG(moderation), CONFIG(reserved_nicks),
};

#define MEMBER(type, config, offset) ((type *)(void *)((char *)(config) + (offset)))
#define MEMBER_CONST(type, config, offset) ((const type *)(const void *)((const char *)(config) + (offset)))
#define COUNT_OF(array) (sizeof(array) / sizeof *(array))

static void
config_write(const struct room_config *config, struct buf *out)
{
	size_t i;

	value_add_u8(out, COUNT_OF(config_texts));
	for (i = 0; i < COUNT_OF(config_texts); i++)
		value_add_slice(out, buf_slice(MEMBER_CONST(struct buf, config, config_texts[i])));
	value_add_u8(out, COUNT_OF(config_flags));
	for (i = 0; i < COUNT_OF(config_flags); i++)
		value_add_u8(out, *MEMBER_CONST(bool, config, config_flags[i]));
	value_add_u8(out, (uint8_t)config->private_messages);
	value_add_u32(out, config->broadcast);
	value_add_u32(out, config->member_list);
	value_add_u32(out, config->occupants_max);
	value_add_u32(out, config->history);
}

/* Reads what config_write() has written, perhaps before there were as many members. */
static void
config_read_row(struct room_config *config, struct value_reader *r)
{
	unsigned i, count = value_u8(r);

	for (i = 0; i < count && r->error == OK; i++) {
		struct slice text = value_slice(r);

		if (i < COUNT_OF(config_texts)) {
			buf_clear(MEMBER(struct buf, config, config_texts[i]));
			buf_add_slice(MEMBER(struct buf, config, config_texts[i]), text);
		}
	}
	count = value_u8(r);
	for (i = 0; i < count && r->error == OK; i++) {
		bool flag = value_u8(r) != 0;

		if (i < COUNT_OF(config_flags))
			*MEMBER(bool, config, config_flags[i]) = flag;
	}
	config->private_messages = (enum whom)(value_u8(r) % WHOM_COUNT);
	config->broadcast = value_u32(r);
	config->member_list = value_u32(r);
	config->occupants_max = value_u32(r);
	config->history = value_u32(r);
}

static void
row_write(const struct room *room, struct buf *out)
{
	value_add_u8(out, VALUE_VERSION);
	value_add_slice(out, room_jid(room));
	value_add_u8(out, room->locked);
	value_add_u64(out, room->created);
	value_add_u64(out, room->active);
	value_add_slice(out, slice_of(room->occupant_key, sizeof room->occupant_key));
	config_write(&room->config, out);
	value_add_slice(out, buf_slice(&room->subject));
	value_add_slice(out, buf_slice(&room->subject_nick));
	value_add_u64(out, room->subject_stamp);
	value_add_slice(out, buf_slice(&room->avatar));
	value_add_slice(out, buf_slice(&room->avatar_type));
	value_add_slice(out, buf_slice(&room->vcard));
}

/* Reads a row; the room is to be freed in any case. */
static int
row_read(struct slice value, struct room *room)
{
	struct value_reader r = { value, OK };
	struct slice jid, key;
	struct jid parts;

	value_u8(&r);
	jid = value_slice(&r);
	room->locked = value_u8(&r) != 0;
	room->created = value_u64(&r);
	room->active = value_u64(&r);
	key = value_slice(&r);
	room_config_default(&room->config, NULL);
	config_read_row(&room->config, &r);
	buf_add_slice(&room->subject, value_slice(&r));
	buf_add_slice(&room->subject_nick, value_slice(&r));
	room->subject_stamp = value_u64(&r);
	buf_add_slice(&room->avatar, value_slice(&r));
	buf_add_slice(&room->avatar_type, value_slice(&r));
	buf_add_slice(&room->vcard, value_slice(&r));
	if (r.error || key.len != sizeof room->occupant_key || jid_parse(jid, &parts) != OK)
		return E_MALFORMED;
	memcpy(room->occupant_key, key.ptr, key.len);
	room->jid = slice_dup(jid);
	room->jid_len = jid.len;
	room->domain = domain_find(parts.domain);
	return room->domain != NULL ? OK : E_NOT_FOUND; /* a domain that is not configured any more */
}

static struct slice
number_key(uint64_t number, char out[8])
{
	store_key_u64(out, number);
	return slice_of(out, 8);
}

static struct slice
name_key(struct slice jid, char out[32])
{
	store_key_hash(out, jid);
	return slice_of(out, 32);
}

/* -- in memory -- */

static struct room *
room_new(void)
{
	struct room *room = mem_alloc(sizeof *room);

	TAILQ_INIT(&room->affiliates);
	TAILQ_INIT(&room->hats);
	TAILQ_INIT(&room->occupants);
	room->by_jid = map_new();
	room->by_nick = map_new();
	room->by_client = map_new();
	return room;
}

static void
room_free(struct room *room)
{
	clients_free(room);
	affiliations_free(room);
	hats_free(room);
	map_free(&room->by_jid);
	map_free(&room->by_nick);
	map_free(&room->by_client);
	room_config_free(&room->config);
	buf_free(&room->subject);
	buf_free(&room->subject_nick);
	buf_free(&room->avatar);
	buf_free(&room->avatar_type);
	buf_free(&room->vcard);
	receivers_free(&room->everyone);
	free(room->jid);
	free(room);
}

/* Notes that a room is in memory for a while only, when nobody is in it. */
static void
room_visit(struct room *room)
{
	if (!room->visited)
		TAILQ_INSERT_TAIL(&visited, room, visited_rooms);
	room->visited = true;
}

static void
room_enlist(struct room *room)
{
	room_visit(room);
	TAILQ_INSERT_TAIL(&rooms, room, all);
	map_put(by_name, room_jid(room), room);
}

/* Reads a room with all that belongs to it. */
static struct room *
room_load(uint64_t number)
{
	char key[8];
	struct slice value;
	struct room *room;

	if (store_get(store, TABLE_ROOM, number_key(number, key), &value) != OK)
		return NULL;
	room = room_new();
	room->number = number;
	if (row_read(value, room) != OK || affiliations_load(room) != OK || hats_load(room) != OK ||
	    clients_load(room) != OK) {
		log_warn("room not read", "number=%llu", (unsigned long long)number);
		room_free(room);
		return NULL;
	}
	room_enlist(room);
	return room;
}

/* A room that has somebody in it. */
static bool
room_of_client(void *arg, struct slice key, struct slice value)
{
	uint64_t *last = arg, number = store_key_read_u64(key.ptr);

	(void)value;
	if (number != *last)
		room_load(number);
	*last = number;
	return true;
}

static bool
room_counted(void *arg, struct slice key, struct slice value)
{
	struct value_reader r = { value, OK };
	struct domain *domain;
	struct jid jid;

	(void)arg;
	(void)key;
	value_u8(&r);
	jid_split(value_slice(&r), &jid);
	domain = domain_find(jid.domain);
	if (domain != NULL)
		domain->rooms++;
	return true;
}

int
rooms_open(void)
{
	uint64_t last = 0;
	size_t i;
	int error;

	by_name = map_new();
	for (i = 0; domain_at(i) != NULL; i++)
		domain_at(i)->rooms = 0;
	error = clients_open();
	if (error == OK)
		error = affiliations_open();
	if (error == OK)
		error = store_walk(store, TABLE_ROOM, SLICE(""), SLICE(""), room_counted, NULL);
	if (error == OK)
		error = store_walk(store, TABLE_CLIENT, SLICE(""), SLICE(""), room_of_client, &last);
	return error;
}

void
rooms_forget(void)
{
	struct room *room;

	while ((room = TAILQ_FIRST(&rooms)) != NULL) {
		TAILQ_REMOVE(&rooms, room, all);
		room_free(room);
	}
	while ((room = TAILQ_FIRST(&removed)) != NULL) {
		TAILQ_REMOVE(&removed, room, all);
		room_free(room);
	}
	TAILQ_INIT(&dirty);
	TAILQ_INIT(&visited);
	map_free(&by_name);
	if (rooms_open() != OK)
		log_error("rooms not read", "reason=\"the store fails\"");
}

struct room *
room_find(struct slice jid)
{
	struct room *room = map_get(by_name, jid);
	char key[32];
	struct slice value;

	if (room != NULL)
		return room;
	if (store_get(store, TABLE_NAME, name_key(jid, key), &value) != OK || value.len != 9)
		return NULL;
	return room_load(store_key_read_u64(value.ptr + 1));
}

struct room *
room_make(struct domain *domain, struct slice jid, uint64_t now)
{
	char name[32], row[9] = { VALUE_VERSION };
	struct room *room;
	uint64_t last;

	if (domain->rooms >= domain->rooms_max || meta_get("room", 0, &last) != OK)
		return NULL;
	room = room_new();
	if (gnutls_rnd(GNUTLS_RND_KEY, room->occupant_key, sizeof room->occupant_key) != 0) {
		room_free(room);
		return NULL;
	}
	room->number = last + 1;
	room->domain = domain;
	room->jid = slice_dup(jid);
	room->jid_len = jid.len;
	room->locked = true;
	room->created = room->active = now;
	room_config_default(&room->config, domain);
	meta_put("room", room->number);
	store_key_u64(row + 1, room->number);
	store_put(store, TABLE_NAME, name_key(jid, name), slice_of(row, sizeof row));
	domain->rooms++;
	room_enlist(room);
	room_save(room);
	log_info("room made", "room=%s", log_quote(jid));
	return room;
}

void
room_save(struct room *room)
{
	if (!room->dirty && !room->ended)
		TAILQ_INSERT_TAIL(&dirty, room, dirty_rooms);
	room->dirty = !room->ended;
	daemon_dirty();
}

#define ACTIVE_STEP 60000 /* milliseconds between two times that are written */

void
room_touch(struct room *room, uint64_t now)
{
	if (now < room->active + ACTIVE_STEP)
		return;
	room->active = now;
	room_save(room);
}

int
rooms_save(void)
{
	struct buf row = { 0 };
	struct room *room;
	char key[8];
	int error = OK;

	while (error == OK && (room = TAILQ_FIRST(&dirty)) != NULL) {
		buf_clear(&row);
		row_write(room, &row);
		error = store_put(store, TABLE_ROOM, number_key(room->number, key), buf_slice(&row));
		TAILQ_REMOVE(&dirty, room, dirty_rooms);
		room->dirty = false;
	}
	buf_free(&row);
	return error;
}

void
room_remove(struct room *room, bool forget)
{
	char key[32];

	TAILQ_REMOVE(&rooms, room, all);
	map_remove(by_name, room_jid(room));
	TAILQ_INSERT_TAIL(&removed, room, all);
	if (room->dirty)
		TAILQ_REMOVE(&dirty, room, dirty_rooms);
	if (room->visited)
		TAILQ_REMOVE(&visited, room, visited_rooms);
	room->dirty = room->visited = false;
	room->ended = true;
	clients_remove(room);
	affiliations_remove(room);
	hats_remove(room);
	store_remove(store, TABLE_NAME, name_key(room_jid(room), key));
	store_remove(store, TABLE_ROOM, number_key(room->number, key));
	room->domain->rooms--;
	if (forget)
		outbox_forget(room_jid(room));
	log_info("room ended", "room=%s", log_quote(room_jid(room)));
	daemon_dirty();
}

void
room_emptied(struct room *room, uint64_t now)
{
	if (room->ended || room->client_count != 0)
		return;
	room_visit(room);
	if (room->locked || !room->config.persistent) {
		room_remove(room, true);
		return;
	}
	room->active = now;
	room_save(room);
}

void
rooms_trim(void)
{
	struct room *room, *next;

	while ((room = TAILQ_FIRST(&removed)) != NULL) {
		TAILQ_REMOVE(&removed, room, all);
		room_free(room);
	}
	for (room = TAILQ_FIRST(&visited); room != NULL; room = next) {
		next = TAILQ_NEXT(room, visited_rooms);
		if (room->dirty)
			continue;
		TAILQ_REMOVE(&visited, room, visited_rooms);
		room->visited = false;
		if (room->client_count != 0)
			continue;
		TAILQ_REMOVE(&rooms, room, all);
		map_remove(by_name, room_jid(room));
		room_free(room);
	}
}

struct room *
room_next(const struct room *room)
{
	return room != NULL ? TAILQ_NEXT(room, all) : TAILQ_FIRST(&rooms);
}

/* -- all of a domain -- */

struct walk {
	const struct domain *domain;
	bool (*each)(void *arg, const struct room *room);
	void *arg;
};

/* The room as it is in memory, or else as its row says, without those who are in it. */
static bool
walk_room(void *arg, struct slice key, struct slice value)
{
	struct walk *walk = arg;
	struct value_reader r = { value, OK };
	struct room *room, *read = NULL;
	struct slice name;
	struct jid jid;
	bool more = true;

	value_u8(&r);
	name = value_slice(&r);
	jid_split(name, &jid);
	if (!slice_equal(jid.domain, walk->domain->name))
		return true;
	room = map_get(by_name, name);
	if (room == NULL) {
		room = read = room_new();
		room->number = store_key_read_u64(key.ptr);
		if (row_read(value, room) != OK)
			room = NULL;
	}
	if (room != NULL)
		more = walk->each(walk->arg, room);
	if (read != NULL)
		room_free(read);
	return more;
}

int
rooms_walk(const struct domain *domain, uint64_t above, bool (*each)(void *arg, const struct room *room),
    void *arg)
{
	struct walk walk = { domain, each, arg };
	char from[8];
	int error = rooms_save(); /* new ones have rows as well */

	if (error)
		return error;
	return store_walk(store, TABLE_ROOM, number_key(above + 1, from), SLICE(""), walk_room, &walk);
}

void
rooms_gauges(void)
{
	uint64_t all = 0;
	size_t i;

	for (i = 0; domain_at(i) != NULL; i++)
		all += domain_at(i)->rooms;
	GAUGE(rooms, all);
	GAUGE(rooms_open, map_count(by_name));
	GAUGE(occupants, clients_count());
}
