/*
 * account.c: accounts that have sessions, their contacts, and which accounts exist.
 *
 * Contacts are a copy of what authd has, sorted by address, kept while the account has a session.
 * Called by session.c, presence.c, deliver.c; authd's lists are validated, what is malformed is
 * left out and logged.
 */
#include "router.h"

#include <stdlib.h>

#include "block.h"
#include "counter.h"
#include "log.h"
#include "mem.h"

#define EXISTENCE_MAX  10000         /* entries of the cache */
#define EXISTENCE_TIME (60 * 1000)   /* milliseconds that one is believed */
#define EXISTENCE_BYTES (16u << 20)  /* of their block lists; what is more is asked each time */

struct existence_entry {
	char *jid;
	bool exists;
	bool push;
	uint64_t until;
	char *blocks;           /* block.h */
	size_t blocks_len;
};

static struct map *accounts;
static size_t remote_count; /* of them, domains elsewhere */
static struct map *existences;
static size_t existences_bytes;

struct account *
account_find(struct slice jid)
{
	return accounts ? map_get(accounts, jid) : NULL;
}

/* Asks authd for the roster; account_roster() gets it. */
static void
account_load(const struct account *account)
{
	struct peer *authd = peer_of(ROLE_AUTHD);
	struct frame f = { .type = FRAME_ROSTER_LOAD, .jid = account_jid(account) };

	if (authd != NULL)
		peer_send(authd, &f);
}

static struct account *
account_new(struct slice jid, bool remote)
{
	struct account *account = mem_alloc(sizeof *account);

	if (accounts == NULL)
		accounts = map_new();
	account->jid = slice_dup(jid);
	account->jid_len = jid.len;
	account->remote = account->loaded = remote;
	TAILQ_INIT(&account->sessions);
	map_put(accounts, account_jid(account), account);
	remote_count += remote;
	GAUGE(accounts_online, map_count(accounts) - remote_count);
	return account;
}

struct account *
account_get(struct slice jid)
{
	struct account *account = account_find(jid);

	if (account == NULL) {
		account = account_new(jid, false);
		account_load(account);
	}
	return account;
}

struct account *
account_remote(struct slice domain)
{
	struct account *account = account_find(domain);

	return account != NULL ? account : account_new(domain, true);
}

static void
contacts_free(struct account *account)
{
	size_t i;

	for (i = 0; i < account->contact_count; i++)
		free(account->contacts[i].jid);
	MEM_FREE(&account->contacts);
	account->contact_count = account->contact_room = 0;
}

void
account_drop(struct account *account)
{
	if (account->pinned || !TAILQ_EMPTY(&account->sessions))
		return;
	map_remove(accounts, account_jid(account));
	remote_count -= account->remote;
	GAUGE(accounts_online, map_count(accounts) - remote_count);
	contacts_free(account);
	free(account->blocks);
	free(account->jid);
	free(account);
}

void
account_set_blocks(struct account *account, struct slice list)
{
	free(account->blocks);
	account->blocks = list.len != 0 ? mem_copy(list.ptr, list.len) : NULL;
	account->blocks_len = list.len;
}

size_t
account_count(void)
{
	return accounts ? map_count(accounts) : 0;
}

void
account_gauges(void)
{
	const struct account *account;
	size_t at = 0, contacts = 0;

	while (accounts != NULL && (account = map_each(accounts, &at)) != NULL)
		contacts += account->contact_count;
	GAUGE(contacts, contacts);
	GAUGE(existences, existences ? map_count(existences) : 0);
	GAUGE(existences_bytes, existences_bytes);
}

/* Where a contact is, or where it belongs. */
static size_t
contact_position(const struct account *account, struct slice jid, bool *found)
{
	size_t low = 0, high = account->contact_count;

	*found = false;
	while (low < high) {
		size_t middle = low + (high - low) / 2;
		const struct contact *c = &account->contacts[middle];
		int order = slice_compare(slice_of(c->jid, c->len), jid);

		if (order == 0) {
			*found = true;
			return middle;
		}
		if (order < 0)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

unsigned
account_bits(const struct account *account, struct slice contact)
{
	bool found;
	size_t at = contact_position(account, contact, &found);

	return found ? account->contacts[at].bits : 0;
}

/* Sets a contact's bits, 0 removes it; returns what they were. */
static unsigned
contact_set(struct account *account, struct slice jid, unsigned bits)
{
	bool found;
	size_t at = contact_position(account, jid, &found);
	struct contact *c;
	unsigned before;

	if (found) {
		c = &account->contacts[at];
		before = c->bits;
		c->bits = (uint8_t)bits;
		if (bits == 0) {
			free(c->jid);
			account->contact_count--;
			memmove(c, c + 1, (account->contact_count - at) * sizeof *c);
		}
		return before;
	}
	if (bits == 0)
		return 0;
	if (account->contact_count == account->contact_room) {
		account->contact_room = account->contact_room ? 2 * account->contact_room : 4;
		account->contacts = mem_grow(account->contacts,
		    account->contact_room * sizeof *account->contacts);
	}
	c = &account->contacts[at];
	memmove(c + 1, c, (account->contact_count - at) * sizeof *c);
	account->contact_count++;
	*c = (struct contact){ slice_dup(jid), (uint16_t)jid.len, (uint8_t)bits };
	return 0;
}

/* Whether an address from another daemon is what it must be. */
static bool
is_bare(struct slice text)
{
	struct jid jid;

	return jid_parse(text, &jid) == 0 && jid.resource.ptr == NULL && text.len <= UINT16_MAX;
}

bool
account_is_ours(struct slice jid)
{
	struct jid parsed;

	const struct account *account = account_find(jid);

	/* One with sessions may be of a domain that a reload has taken away. */
	if (account != NULL)
		return !account->remote;
	return (jid_parse(jid, &parsed) == 0 &&
	    parsed.local.ptr != NULL && parsed.resource.ptr == NULL &&
	    registry_local_domain(parsed.domain));
}

void
account_roster(struct peer *authd, const struct frame *f)
{
	struct account *account = account_find(f->jid);
	struct slice list = f->payload, jid;
	bool exists = (f->flags & FLAG_EXISTS) != 0;
	unsigned bits;

	if (!account_is_ours(f->jid)) {
		peer_refuse(authd, f, "not an account of ours");
		return;
	}
	if (account == NULL)
		return;
	contacts_free(account);
	while (roster_unpack(&list, &bits, &jid)) {
		if (is_bare(jid))
			contact_set(account, jid, bits);
	}
	if (list.len != 0)
		peer_refuse(authd, f, "malformed list");
	if (block_valid(f->text))
		account_set_blocks(account, f->text);
	else
		peer_refuse(authd, f, "malformed block list");
	account->push = (f->flags & FLAG_PUSH) != 0;
	account->loaded = true;
	session_loaded(account, exists);
}

void
account_roster_change(struct peer *authd, const struct frame *f)
{
	struct account *account = account_find(f->jid);
	unsigned before, bits = (unsigned)(f->number & ROSTER_BITS);

	if (!account_is_ours(f->jid) || !is_bare(f->to)) {
		peer_refuse(authd, f, "malformed address");
		return;
	}
	if (account == NULL || !account->loaded)
		return;
	before = contact_set(account, f->to, bits);
	presence_changed(account, f->to, before, bits);
}

void
account_roster_ask(struct peer *archived, const struct frame *f)
{
	struct peer *authd = peer_of(ROLE_AUTHD);
	struct frame out = { .type = FRAME_ROSTER_ASK, .jid = f->jid, .to = f->to,
		.archive_id = f->archive_id, .number = f->number };

	if (!account_is_ours(f->jid) || !is_bare(f->to))
		peer_refuse(archived, f, "malformed address");
	else if (authd != NULL)
		peer_send(authd, &out); /* otherwise it is asked again */
}

void
account_roster_is(struct peer *authd, const struct frame *f)
{
	struct peer *archived = peer_of(ROLE_ARCHIVED);
	struct frame out = { .type = FRAME_ROSTER_IS, .jid = f->jid, .to = f->to,
		.archive_id = f->archive_id, .number = f->number, .flags = f->flags & FLAG_EXISTS };

	if (!account_is_ours(f->jid) || !is_bare(f->to))
		peer_refuse(authd, f, "malformed address");
	else if (archived != NULL)
		peer_send(archived, &out);
}

void
account_reload_all(void)
{
	struct account *account;
	size_t at = 0;

	while (accounts != NULL && (account = map_each(accounts, &at)) != NULL) {
		if (!account->remote)
			account_load(account);
	}
}

/* Forgets what is no longer believed, or everything when that is not enough. */
static void
existence_trim(void)
{
	struct existence_entry *e;
	bool all = false;

	do {
		size_t at = 0;

		while ((e = map_each(existences, &at)) != NULL) {
			if (!all && e->until > daemon_ticks())
				continue;
			map_remove(existences, slice_string(e->jid));
			existences_bytes -= e->blocks_len;
			free(e->blocks);
			free(e->jid);
			free(e);
		}
		all = true;
	} while (map_count(existences) >= EXISTENCE_MAX);
}

enum existence
existence_get(struct slice jid)
{
	struct existence_entry *e;

	if (account_find(jid) != NULL)
		return EXISTENCE_YES;
	e = existences ? map_get(existences, jid) : NULL;
	if (e == NULL || e->until <= daemon_ticks())
		return EXISTENCE_UNKNOWN;
	return e->exists ? EXISTENCE_YES : EXISTENCE_NO;
}

struct slice
existence_blocks(struct slice jid)
{
	const struct existence_entry *e = existences ? map_get(existences, jid) : NULL;

	return e != NULL && e->until > daemon_ticks() ? slice_of(e->blocks, e->blocks_len)
	    : SLICE_NONE;
}

bool
existence_push(struct slice jid)
{
	const struct existence_entry *e = existences ? map_get(existences, jid) : NULL;

	return e != NULL && e->until > daemon_ticks() && e->push;
}

void
existence_set(struct slice jid, bool exists, bool push, struct slice blocks)
{
	struct existence_entry *e;

	if (existences == NULL)
		existences = map_new();
	e = map_get(existences, jid);
	if (e == NULL) {
		if (map_count(existences) >= EXISTENCE_MAX)
			existence_trim();
		e = mem_alloc(sizeof *e);
		e->jid = slice_dup(jid);
		map_put(existences, slice_string(e->jid), e);
	}
	existences_bytes -= e->blocks_len;
	MEM_FREE(&e->blocks);
	e->blocks_len = 0;
	e->exists = exists;
	e->push = push;
	e->until = 0;
	if (blocks.len > EXISTENCE_BYTES - existences_bytes)
		return; /* not believed, since it could not be said whom it has blocked */
	e->until = daemon_ticks() + EXISTENCE_TIME;
	e->blocks = blocks.len != 0 ? mem_copy(blocks.ptr, blocks.len) : NULL;
	e->blocks_len = blocks.len;
	existences_bytes += blocks.len;
}
