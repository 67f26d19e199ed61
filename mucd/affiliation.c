/*
 * affiliation.c: who is what in a room (XEP-0045 section 5.2), in memory with the room and in the store.
 * Called by whoever decides something. Fails when the store does, which the commit reports.
 */
#include "mucd.h"

#include <stdlib.h>

#include "mem.h"

#define KEY_SIZE 24

/* How many rooms an account owns. */
struct owner {
	size_t rooms;
	size_t len;
	char jid[];
};

static struct map *owners;

static void
owner_count(struct slice bare, bool more)
{
	struct owner *o = map_get(owners, bare);

	if (o == NULL && !more)
		return;
	if (o == NULL) {
		o = mem_alloc(sizeof *o + bare.len + 1);
		memcpy(o->jid, bare.ptr, bare.len);
		o->len = bare.len;
		map_put(owners, slice_of(o->jid, o->len), o);
	}
	if (more) {
		o->rooms++;
	} else if (--o->rooms == 0) {
		map_remove(owners, slice_of(o->jid, o->len));
		free(o);
	}
}

size_t
affiliation_owned(struct slice bare)
{
	const struct owner *o = map_get(owners, bare);

	return o != NULL ? o->rooms : 0;
}

/* Whose row it is, and whether it is an owner's. */
static bool
row_is_owner(struct slice value, struct slice *jid)
{
	struct value_reader r = { value, OK };
	unsigned affiliation;

	value_u8(&r);
	affiliation = value_u8(&r);
	*jid = value_slice(&r);
	return r.error == OK && affiliation == AFFILIATION_OWNER;
}

static bool
row_count(void *arg, struct slice key, struct slice value)
{
	struct slice jid;

	(void)arg;
	(void)key;
	if (row_is_owner(value, &jid))
		owner_count(jid, true);
	return true;
}

int
affiliations_open(void)
{
	struct owner *o;
	size_t at = 0;

	while (owners != NULL && (o = map_each(owners, &at)) != NULL)
		free(o);
	map_free(&owners);
	owners = map_new();
	return store_walk(store, TABLE_AFFILIATION, SLICE(""), SLICE(""), row_count, NULL);
}

static struct slice
row_key(const struct room *room, struct slice jid, char out[KEY_SIZE])
{
	char hash[32];

	store_key_u64(out, room->number);
	store_key_hash(hash, jid);
	memcpy(out + 8, hash, KEY_SIZE - 8);
	return slice_of(out, KEY_SIZE);
}

static struct slice
affiliate_jid(const struct affiliate *a)
{
	return slice_of(a->jid, a->jid_len);
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

	if (domain_is_admin(room->domain, bare))
		return AFFILIATION_OWNER;
	if (a != NULL && a->affiliation != AFFILIATION_NONE)
		return a->affiliation;
	jid_split(bare, &jid);
	a = jid.local.ptr != NULL ? affiliate_find(room, jid.domain) : NULL;
	return a != NULL ? a->affiliation : AFFILIATION_NONE;
}

static struct affiliate *
affiliate_new(struct room *room, struct slice jid)
{
	struct affiliate *a = mem_alloc(sizeof *a + jid.len + 1);

	memcpy(a->jid, jid.ptr, jid.len);
	a->jid_len = jid.len;
	TAILQ_INSERT_TAIL(&room->affiliates, a, all);
	map_put(room->by_jid, affiliate_jid(a), a);
	return a;
}

static void
affiliate_free(struct room *room, struct affiliate *a)
{
	TAILQ_REMOVE(&room->affiliates, a, all);
	map_remove(room->by_jid, affiliate_jid(a));
	free(a->nick);
	free(a->reason);
	free(a);
}

void
affiliation_set(struct room *room, struct slice bare, enum affiliation affiliation, struct slice nick,
    struct slice reason)
{
	struct affiliate *a = affiliate_find(room, bare);
	bool was = a != NULL && a->affiliation == AFFILIATION_OWNER, is = affiliation == AFFILIATION_OWNER;
	struct buf row = { 0 };
	char key[KEY_SIZE];

	if (was != is)
		owner_count(bare, is);
	if (affiliation == AFFILIATION_NONE && nick.len == 0) {
		store_remove(store, TABLE_AFFILIATION, row_key(room, bare, key));
		if (a != NULL)
			affiliate_free(room, a);
		return;
	}
	if (a == NULL)
		a = affiliate_new(room, bare);
	a->affiliation = affiliation;
	if (nick.ptr != a->nick || nick.ptr == NULL) {
		free(a->nick);
		a->nick = nick.len != 0 ? slice_dup(nick) : NULL;
	}
	if (reason.ptr != a->reason || reason.ptr == NULL) {
		free(a->reason);
		a->reason = reason.len != 0 ? slice_dup(reason) : NULL;
	}
	value_add_u8(&row, VALUE_VERSION);
	value_add_u8(&row, (uint8_t)affiliation);
	value_add_slice(&row, affiliate_jid(a));
	value_add_slice(&row, slice_string(a->nick));
	value_add_slice(&row, slice_string(a->reason));
	store_put(store, TABLE_AFFILIATION, row_key(room, affiliate_jid(a), key), buf_slice(&row));
	buf_free(&row);
}

size_t
affiliation_count(const struct room *room, enum affiliation affiliation)
{
	const struct affiliate *a;
	size_t count = 0;

	TAILQ_FOREACH(a, &room->affiliates, all)
		count += a->affiliation == affiliation;
	return count;
}

struct affiliate *
affiliate_of_nick(const struct room *room, struct slice nick)
{
	struct affiliate *a;

	TAILQ_FOREACH(a, &room->affiliates, all) {
		if (a->nick != NULL && slice_is(nick, a->nick))
			return a;
	}
	return NULL;
}

/* Table 5, initial roles; in an unmoderated room visitors are none but by a moderator's wish. */
enum role_in_room
affiliation_role(const struct room *room, enum affiliation affiliation)
{
	switch (affiliation) {
	case AFFILIATION_OWNER:
	case AFFILIATION_ADMIN:
		return IN_MODERATOR;
	case AFFILIATION_MEMBER:
		return IN_PARTICIPANT;
	case AFFILIATION_NONE:
		return room->config.members_only ? IN_NONE :
		    room->config.moderated ? IN_VISITOR : IN_PARTICIPANT;
	default:
		return IN_NONE;
	}
}

static bool
row_load(void *arg, struct slice key, struct slice value)
{
	struct room *room = arg;
	struct value_reader r = { value, OK };
	enum affiliation affiliation;
	struct slice jid, nick, reason;
	struct affiliate *a;

	(void)key;
	value_u8(&r);
	affiliation = (enum affiliation)(value_u8(&r) % AFFILIATION_COUNT);
	jid = value_slice(&r);
	nick = value_slice(&r);
	reason = value_slice(&r);
	if (r.error)
		return true;
	a = affiliate_new(room, jid);
	a->affiliation = affiliation;
	a->nick = slice_dup(nick);
	a->reason = slice_dup(reason);
	return true;
}

int
affiliations_load(struct room *room)
{
	char prefix[8];

	store_key_u64(prefix, room->number);
	return store_walk(store, TABLE_AFFILIATION, slice_of(prefix, 8), slice_of(prefix, 8), row_load, room);
}

void
affiliations_free(struct room *room)
{
	struct affiliate *a;

	while ((a = TAILQ_FIRST(&room->affiliates)) != NULL)
		affiliate_free(room, a);
}

static bool
row_remove(void *arg, struct slice key, struct slice value)
{
	struct slice jid;

	(void)arg;
	if (row_is_owner(value, &jid))
		owner_count(jid, false);
	store_remove(store, TABLE_AFFILIATION, key);
	return true;
}

int
affiliations_remove(const struct room *room)
{
	char prefix[8];

	store_key_u64(prefix, room->number);
	return store_walk(store, TABLE_AFFILIATION, slice_of(prefix, 8), slice_of(prefix, 8), row_remove, NULL);
}
