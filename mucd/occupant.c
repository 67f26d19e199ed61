/*
 * occupant.c: who is in a room, with which clients: in memory with the room, and a row for each client.
 * Called by what handles presence, and by what removes people. Fails when the store does, which the commit
 * reports.
 *
 * All rooms together know their clients by session and by account too: a session that has ended is in all of
 * its rooms, and an account may be in so many.
 */
#include "mucd.h"

#include <gnutls/crypto.h>
#include <stdlib.h>

#include "mem.h"

#define KEY_SIZE 16

#define ADDRESSES_LEAST (64u << 10) /* bytes of the addresses in a room, whatever its domain has configured */
#define ADDRESSES_KEPT  (8u << 10)  /* of these, for admins and owners */
#define ADDRESS_MEAN    128u        /* bytes of an address, when a room is full: clients have half of that */

/* All clients of one session. */
struct session {
	uint64_t handle;
	TAILQ_HEAD(, client) clients;
};

/* How many clients an account has in rooms. */
struct account {
	size_t clients;
	size_t len;
	char jid[];
};

static struct map *sessions, *accounts;
static uint64_t last_number; /* of a client */
static size_t client_total;

/* -- all rooms together -- */

int
clients_open(void)
{
	if (sessions == NULL) {
		sessions = map_new();
		accounts = map_new();
	}
	return meta_get("client", 0, &last_number);
}

static void
session_join(struct client *client)
{
	struct slice key = slice_of(&client->handle, sizeof client->handle);
	struct session *s;

	if (client->handle == 0)
		return;
	s = map_get(sessions, key);
	if (s == NULL) {
		s = mem_alloc(sizeof *s);
		s->handle = client->handle;
		TAILQ_INIT(&s->clients);
		map_put(sessions, slice_of(&s->handle, sizeof s->handle), s);
	}
	TAILQ_INSERT_TAIL(&s->clients, client, of_session);
}

static void
session_leave(struct client *client)
{
	struct session *s;

	if (client->handle == 0)
		return;
	s = map_get(sessions, slice_of(&client->handle, sizeof client->handle));
	TAILQ_REMOVE(&s->clients, client, of_session);
	if (TAILQ_EMPTY(&s->clients)) {
		map_remove(sessions, slice_of(&s->handle, sizeof s->handle));
		free(s);
	}
}

static void
account_join(struct slice bare)
{
	struct account *a = map_get(accounts, bare);

	if (a == NULL) {
		a = mem_alloc(sizeof *a + bare.len + 1);
		memcpy(a->jid, bare.ptr, bare.len);
		a->len = bare.len;
		map_put(accounts, slice_of(a->jid, a->len), a);
	}
	a->clients++;
	client_total++;
}

static void
account_leave(struct slice bare)
{
	struct account *a = map_get(accounts, bare);

	client_total--;
	if (--a->clients != 0)
		return;
	map_remove(accounts, bare);
	free(a);
}

size_t
clients_of_account(struct slice bare)
{
	const struct account *a = map_get(accounts, bare);

	return a != NULL ? a->clients : 0;
}

size_t
clients_count(void)
{
	return client_total;
}

void
clients_handles(struct buf *numbers)
{
	struct session *s;
	size_t at = 0;

	while ((s = map_each(sessions, &at)) != NULL)
		buf_add_u64(numbers, s->handle);
}

void
clients_of_handle(uint64_t handle, void (*each)(void *arg, struct client *client), void *arg)
{
	struct session *s = map_get(sessions, slice_of(&handle, sizeof handle));
	struct client *client, *next;

	for (client = s != NULL ? TAILQ_FIRST(&s->clients) : NULL; client != NULL; client = next) {
		next = TAILQ_NEXT(client, of_session); /* s goes with the last of them */
		each(arg, client);
	}
}

/* -- occupants -- */

struct occupant *
occupant_find(const struct room *room, struct slice nick)
{
	return map_get(room->by_nick, nick);
}

struct client *
client_find(const struct room *room, struct slice full)
{
	return map_get(room->by_client, full);
}

struct occupant *
occupant_of(const struct room *room, struct slice bare)
{
	struct occupant *o;

	TAILQ_FOREACH(o, &room->occupants, all) {
		if (slice_equal(occupant_bare(o), bare))
			return o;
	}
	return NULL;
}

void
occupant_address(const struct occupant *o, struct buf *out)
{
	buf_add_slice(out, room_jid(o->room));
	buf_add_char(out, '/');
	buf_add_slice(out, occupant_nick(o));
}

/* The id of a user in a room, which does not tell who it is (XEP-0421 section 3). */
static void
occupant_identify(struct occupant *o)
{
	static const char digits[] = "0123456789abcdef";
	unsigned char mac[32];
	size_t i;

	if (gnutls_hmac_fast(GNUTLS_MAC_SHA256, o->room->occupant_key, sizeof o->room->occupant_key, o->bare,
	    o->bare_len, mac) != 0)
		memset(mac, 0, sizeof mac);
	for (i = 0; i < sizeof mac; i++) {
		o->id[2 * i] = digits[mac[i] >> 4];
		o->id[2 * i + 1] = digits[mac[i] & 15];
	}
}

static struct occupant *
occupant_new(struct room *room, struct slice nick, struct slice bare, enum role_in_room role)
{
	struct occupant *o = mem_alloc(sizeof *o);

	o->room = room;
	o->nick = slice_dup(nick);
	o->nick_len = nick.len;
	o->bare = slice_dup(bare);
	o->bare_len = bare.len;
	o->role = role;
	TAILQ_INIT(&o->clients);
	occupant_identify(o);
	TAILQ_INSERT_TAIL(&room->occupants, o, all);
	map_put(room->by_nick, occupant_nick(o), o);
	room->occupant_count++;
	return o;
}

static void
occupant_free(struct occupant *o)
{
	TAILQ_REMOVE(&o->room->occupants, o, all);
	map_remove(o->room->by_nick, occupant_nick(o));
	o->room->occupant_count--;
	free(o->nick);
	free(o->bare);
	free(o);
}

void
occupant_rename(struct occupant *o, struct slice nick)
{
	struct client *client;

	map_remove(o->room->by_nick, occupant_nick(o));
	free(o->nick);
	o->nick = slice_dup(nick);
	o->nick_len = nick.len;
	map_put(o->room->by_nick, occupant_nick(o), o);
	TAILQ_FOREACH(client, &o->clients, siblings)
		client_save(client);
}

void
occupant_set_role(struct occupant *o, enum role_in_room role)
{
	struct client *client;

	o->role = role;
	TAILQ_FOREACH(client, &o->clients, siblings)
		client_save(client);
}

/* -- clients -- */

/* What a client takes as a receiver: its handle, or a line. */
static size_t
address_size(struct slice full)
{
	return full.len + sizeof(uint64_t);
}

bool
client_fits(const struct room *room, struct slice full, bool admin)
{
	size_t most = ADDRESSES_LEAST + (size_t)room->domain->occupants_max * ADDRESS_MEAN;

	if (most > ADDRESSES_MOST)
		most = ADDRESSES_MOST;
	return room->address_bytes + address_size(full) <= most - (admin ? 0 : ADDRESSES_KEPT);
}

bool
domain_fits_room(const struct room *room, struct slice full)
{
	struct map *domains = map_new();
	const struct occupant *o;
	const struct client *client;
	struct jid jid;
	bool fits;

	TAILQ_FOREACH(o, &room->occupants, all) {
		TAILQ_FOREACH(client, &o->clients, siblings) {
			if (client->handle != 0)
				continue;
			jid_split(client_jid(client), &jid);
			if (map_get(domains, jid.domain) == NULL)
				map_put(domains, jid.domain, domains);
		}
	}
	jid_split(full, &jid);
	fits = map_count(domains) < DOMAINS_MAX || map_get(domains, jid.domain) != NULL;
	map_free(&domains);
	return fits;
}

bool
occupant_fits(const struct occupant *o)
{
	const struct client *client;
	size_t count = 0;

	if (o != NULL)
		TAILQ_FOREACH(client, &o->clients, siblings)
			count++;
	return count < CLIENTS_MAX;
}

/* Adds a client to those of its occupant: who has said something last is the last. */
static void
client_place(struct client *client)
{
	struct occupant *o = client->occupant;
	struct client *before = TAILQ_LAST(&o->clients, clients);

	while (before != NULL && before->told > client->told)
		before = TAILQ_PREV(before, clients, siblings);
	if (before != NULL)
		TAILQ_INSERT_AFTER(&o->clients, before, client, siblings);
	else
		TAILQ_INSERT_HEAD(&o->clients, client, siblings);
}

static struct client *
client_new(struct occupant *o, struct slice full, uint64_t handle, uint64_t number, uint64_t told)
{
	struct client *client = mem_alloc(sizeof *client + full.len + 1);

	memcpy(client->jid, full.ptr, full.len);
	client->jid_len = full.len;
	client->occupant = o;
	client->handle = handle;
	client->number = number;
	client->told = told;
	client_place(client);
	map_put(o->room->by_client, client_jid(client), client);
	o->room->client_count++;
	o->room->address_bytes += address_size(full);
	o->room->everyone_known = false;
	session_join(client);
	account_join(occupant_bare(o));
	return client;
}

static void
client_free(struct client *client)
{
	struct occupant *o = client->occupant;

	session_leave(client);
	account_leave(occupant_bare(o));
	map_remove(o->room->by_client, client_jid(client));
	o->room->client_count--;
	o->room->address_bytes -= address_size(client_jid(client));
	o->room->everyone_known = false;
	TAILQ_REMOVE(&o->clients, client, siblings);
	if (TAILQ_EMPTY(&o->clients))
		occupant_free(o);
	buf_free(&client->presence);
	buf_free(&client->lang);
	free(client);
}

static struct slice
row_key(const struct client *client, char out[KEY_SIZE])
{
	store_key_u64(out, client->occupant->room->number);
	store_key_u64(out + 8, client->number);
	return slice_of(out, KEY_SIZE);
}

void
client_save(struct client *client)
{
	const struct occupant *o = client->occupant;
	struct buf row = { 0 };
	char key[KEY_SIZE];

	value_add_u8(&row, VALUE_VERSION);
	value_add_slice(&row, client_jid(client));
	value_add_slice(&row, occupant_nick(o));
	value_add_u8(&row, (uint8_t)o->role);
	value_add_u64(&row, client->handle);
	value_add_u64(&row, client->joined);
	value_add_u64(&row, client->told);
	value_add_slice(&row, buf_slice(&client->presence));
	value_add_slice(&row, buf_slice(&client->lang));
	store_put(store, TABLE_CLIENT, row_key(client, key), buf_slice(&row));
	buf_free(&row);
}

struct client *
client_add(struct room *room, struct slice full, uint64_t handle, struct slice nick, enum role_in_room role,
    uint64_t now)
{
	struct occupant *o = occupant_find(room, nick);
	struct client *client;

	if (o == NULL)
		o = occupant_new(room, nick, jid_bare_of(full), role);
	client = client_new(o, full, handle, ++last_number, now);
	client->joined = client->heard = now;
	meta_put("client", last_number);
	client_save(client);
	return client;
}

void
client_set_presence(struct client *client, struct slice children, struct slice lang, uint64_t now)
{
	buf_clear(&client->presence);
	buf_add_slice(&client->presence, children);
	buf_clear(&client->lang);
	buf_add_slice(&client->lang, lang);
	TAILQ_REMOVE(&client->occupant->clients, client, siblings);
	client->told = now;
	client_place(client);
	client_save(client);
}

void
client_set_handle(struct client *client, uint64_t handle)
{
	if (client->handle == handle)
		return;
	session_leave(client);
	client->occupant->room->everyone_known = false;
	client->handle = handle;
	session_join(client);
	client_save(client);
}

void
client_remove(struct client *client)
{
	char key[KEY_SIZE];

	store_remove(store, TABLE_CLIENT, row_key(client, key));
	client_free(client);
}

static bool
row_load(void *arg, struct slice key, struct slice value)
{
	struct room *room = arg;
	struct value_reader r = { value, OK };
	struct slice full, nick, presence, lang;
	uint64_t handle, joined, told;
	enum role_in_room role;
	struct client *client;
	struct occupant *o;

	value_u8(&r);
	full = value_slice(&r);
	nick = value_slice(&r);
	role = (enum role_in_room)(value_u8(&r) % IN_COUNT);
	handle = value_u64(&r);
	joined = value_u64(&r);
	told = value_u64(&r);
	presence = value_slice(&r);
	lang = value_slice(&r);
	if (r.error || key.len != KEY_SIZE)
		return true;
	o = occupant_find(room, nick);
	if (o == NULL)
		o = occupant_new(room, nick, jid_bare_of(full), role);
	client = client_new(o, full, handle, store_key_read_u64(key.ptr + 8), told);
	client->joined = joined;
	client->heard = daemon_now();
	o->shown = presence_is_shown(o);
	buf_add_slice(&client->presence, presence);
	buf_add_slice(&client->lang, lang);
	return true;
}

int
clients_load(struct room *room)
{
	char prefix[8];

	store_key_u64(prefix, room->number);
	return store_walk(store, TABLE_CLIENT, slice_of(prefix, 8), slice_of(prefix, 8), row_load, room);
}

void
clients_free(struct room *room)
{
	struct occupant *o;

	while ((o = TAILQ_FIRST(&room->occupants)) != NULL)
		client_free(TAILQ_FIRST(&o->clients));
}

static bool
row_remove(void *arg, struct slice key, struct slice value)
{
	(void)arg;
	(void)value;
	store_remove(store, TABLE_CLIENT, key);
	return true;
}

int
clients_remove(const struct room *room)
{
	char prefix[8];

	store_key_u64(prefix, room->number);
	return store_walk(store, TABLE_CLIENT, slice_of(prefix, 8), slice_of(prefix, 8), row_remove, NULL);
}
