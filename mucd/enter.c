/*
 * enter.c: presence of those who want into a room, are in it, or leave (XEP-0045 sections 7.2, 7.6, 7.7, 7.14).
 * Called by inbox.c for each presence, and by watch.c for those who are away. What is refused is answered with an
 * error; nothing else fails.
 */
#include "mucd.h"

#include <gnutls/gnutls.h>

#include "counter.h"
#include "log.h"
#include "ns.h"
#include "xmlout.h"

#define NICK_BYTES     512u   /* of a nick, most */
#define PRESENCE_BYTES 8192u  /* of a presence that is kept, most */

#define NOT_SAID       UINT64_MAX

/* -- what a presence says -- */

/* How much of what was said it wants (section 7.2.13). */
struct wanted {
	uint64_t since, stanzas, characters;
};

struct entry {
	const struct frame *f;
	struct jid to;
	struct slice bare;
	struct slice nick;        /* under which it is to be in */
	bool given;               /* that is not what it asked for */
	bool muc;                 /* it knows rooms: <x xmlns='.../muc'/> is there */
	struct buf password;
	struct wanted wanted;
	uint64_t now;
};

static uint64_t
number_attribute(const struct xmlin_element *e, const char *name)
{
	struct buf scratch = { 0 };
	struct slice value;
	uint64_t number = NOT_SAID;

	if (xmlin_attribute(e, name, &scratch, &value) != OK || slice_number(value, UINT32_MAX, &number) != OK)
		number = NOT_SAID;
	buf_free(&scratch);
	return number;
}

/* Who limits it in any way gets as much as that allows; who does not, as much as the domain says. */
static void
history_read(const struct xmlin_element *history, struct entry *e)
{
	uint64_t seconds = number_attribute(history, "seconds"), since = 0;
	struct wanted *w = &e->wanted;
	struct buf scratch = { 0 };
	struct slice value;

	w->stanzas = number_attribute(history, "maxstanzas");
	w->characters = number_attribute(history, "maxchars");
	if (xmlin_attribute(history, "since", &scratch, &value) == OK && stanza_stamp_read(value, &since) != OK)
		since = 0;
	buf_free(&scratch);
	if (seconds != NOT_SAID && seconds * 1000 < e->now && e->now - seconds * 1000 > since)
		since = e->now - seconds * 1000;
	if (seconds == 0)
		w->stanzas = 0;
	if (w->stanzas == NOT_SAID && (since != 0 || w->characters != NOT_SAID))
		w->stanzas = UINT32_MAX;
	w->since = since;
}

static void
entry_read(struct entry *e)
{
	struct xmlin_element x, child;
	struct slice text;

	e->wanted = (struct wanted){ 0, NOT_SAID, NOT_SAID };
	e->muc = xmlin_find(e->f->payload, SLICE(NS_CLIENT), "x", NS_MUC, &x);
	if (!e->muc)
		return;
	if (xmlin_find(x.content, x.ns, "history", NS_MUC, &child))
		history_read(&child, e);
	if (xmlin_find(x.content, x.ns, "password", NS_MUC, &child)) {
		struct buf scratch = { 0 };

		if (xmlin_text(&child, &scratch, &text) == OK)
			buf_add_slice(&e->password, text);
		buf_free(&scratch);
	}
}

/* Appends what of a stanza is passed on. */
static void
children_filter(struct slice payload, struct buf *out)
{
	struct xmlin_element e;
	struct xmlin in;

	xmlin_begin(&in, payload, SLICE(NS_CLIENT));
	while (xmlin_child(&in, &e)) {
		if (pass_presence(&e))
			buf_add_slice(out, e.whole);
	}
}

static bool
presence_fits(const struct frame *f)
{
	return f->payload.len + f->lang.len <= PRESENCE_BYTES;
}

/* Keeps the presence of a client; false when it is too large. */
static bool
presence_keep(struct client *client, const struct frame *f, uint64_t now)
{
	struct buf children = { 0 };

	if (!presence_fits(f))
		return false;
	children_filter(f->payload, &children);
	client_set_presence(client, buf_slice(&children), f->lang, now);
	buf_free(&children);
	return true;
}

/* -- what one who enters gets -- */

static void
history_send(const struct client *client, const struct wanted *wanted)
{
	const struct room *room = client->occupant->room;
	uint64_t most = room->domain->history_max, count = wanted->stanzas;

	if (room->config.history < most)
		most = room->config.history;
	if (count == NOT_SAID)
		count = room->domain->history;
	if (count > most)
		count = most;
	if (count == 0 || wanted->characters == 0 || !room->config.logged)
		return;
	outbox_history(room, client, wanted->since, count, wanted->characters);
}

/* The subject comes last, also when there is none (section 7.2.15). */
void
enter_show_subject(const struct client *client)
{
	const struct room *room = client->occupant->room;
	struct frame f = { .type = FRAME_STANZA, .kind = STANZA_MESSAGE, .subtype = TYPE_GROUPCHAT };
	struct buf from = { 0 }, payload = { 0 };
	struct receivers r = { 0 };
	char stamp[32];

	buf_add_slice(&from, room_jid(room));
	if (buf_len(&room->subject) != 0) {
		buf_add_char(&from, '/');
		buf_add_slice(&from, buf_slice(&room->subject_nick));
		buf_add_slice(&payload, buf_slice(&room->subject));
		stanza_stamp(room->subject_stamp, stamp);
		xml_open(&payload, "delay", SLICE(NS_DELAY));
		xml_add_attribute(&payload, "from", room_jid(room));
		xml_add_attribute(&payload, "stamp", slice_string(stamp));
		buf_add_string(&payload, "/>");
	} else {
		buf_add_string(&payload, "<subject/>");
	}
	f.from = buf_slice(&from);
	f.payload = buf_slice(&payload);
	receivers_add(&r, client);
	outbox_add(&f, &r);
	receivers_free(&r);
	buf_free(&from);
	buf_free(&payload);
}

/* All of the room, in the order of section 7.1. */
static void
room_show(struct client *client, const struct wanted *wanted, unsigned status, bool others)
{
	struct occupant *o = client->occupant;
	const struct change change = { .status = status | (o->room->config.logged ? STATUS_170 : 0u) };

	presence_show_room(client, SIZE_MAX);
	if (others)
		presence_tell(o, &change, NULL);
	else
		presence_tell_client(client, &change);
	vcard_show(client);
	history_send(client, wanted);
	enter_show_subject(client);
}

/* -- who may enter -- */

static bool
is_full(const struct room *room)
{
	uint32_t most = room->domain->occupants_max;

	if (room->config.occupants_max != 0 && room->config.occupants_max < most)
		most = room->config.occupants_max;
	return room->occupant_count >= most;
}

/* Whether this nick is somebody else's. */
static bool
nick_is_taken(const struct room *room, struct slice nick, struct slice bare)
{
	const struct occupant *o = occupant_find(room, nick);
	const struct affiliate *a = affiliate_of_nick(room, nick);

	return (o != NULL && !slice_equal(occupant_bare(o), bare)) ||
	    (a != NULL && !slice_equal(slice_of(a->jid, a->jid_len), bare));
}

/* Where reserved nicks have to be used, whoever has one gets it (section 7.2.2). */
static void
nick_choose(const struct room *room, struct entry *e)
{
	const struct affiliate *a = room->config.reserved_nicks ? affiliate_find(room, e->bare) : NULL;

	if (a == NULL || a->nick == NULL || slice_is(e->nick, a->nick))
		return;
	e->nick = slice_string(a->nick);
	e->given = true;
}

/* The status code of who goes by another nick than it asked for. */
static unsigned
nick_status(const struct entry *e)
{
	return e->given ? STATUS_210 : 0;
}

/* Takes as long whatever is wrong with it. */
static bool
password_fits(struct slice password, struct slice given)
{
	return password.len == given.len &&
	    (password.len == 0 || gnutls_memcmp(password.ptr, given.ptr, password.len) == 0);
}

/* The checks of section 7.2, in its order. */
static enum stanza_error
refusal(const struct room *room, const struct entry *e)
{
	enum affiliation a = affiliation_of(room, e->bare);

	if (a == AFFILIATION_OUTCAST)
		return STANZA_ERROR_FORBIDDEN;
	if (room->locked && a != AFFILIATION_OWNER)
		return STANZA_ERROR_ITEM_NOT_FOUND;
	if (room->config.members_only && a < AFFILIATION_MEMBER)
		return STANZA_ERROR_REGISTRATION_REQUIRED;
	if (room->config.password_protected && !domain_is_admin(room->domain, e->bare) &&
	    !password_fits(buf_slice(&room->config.password), buf_slice(&e->password)))
		return STANZA_ERROR_NOT_AUTHORIZED;
	if (nick_is_taken(room, e->nick, e->bare))
		return STANZA_ERROR_CONFLICT;
	if (a < AFFILIATION_ADMIN && is_full(room) && occupant_find(room, e->nick) == NULL)
		return STANZA_ERROR_SERVICE_UNAVAILABLE;
	/* With it what is said to all might not be one frame, and the longest addresses are nobody's. */
	if (!client_fits(room, e->f->from, a >= AFFILIATION_ADMIN) ||
	    (e->f->handle == 0 && !domain_fits_room(room, e->f->from)))
		return STANZA_ERROR_SERVICE_UNAVAILABLE;
	if (!occupant_fits(occupant_find(room, e->nick)))
		return STANZA_ERROR_RESOURCE_CONSTRAINT;
	return STANZA_ERROR_NONE;
}

/* Makes the room for who enters it first; its error when that may not be. */
static enum stanza_error
room_create(const struct entry *e, struct domain *domain, struct room **room)
{
	if (!domain_may_create(domain, e->bare, e->f->handle != 0))
		return STANZA_ERROR_NOT_ALLOWED;
	if (affiliation_owned(e->bare) >= domain->rooms_per_user && !domain_is_admin(domain, e->bare))
		return STANZA_ERROR_RESOURCE_CONSTRAINT;
	*room = room_make(domain, jid_bare(&e->to), e->now);
	if (*room == NULL)
		return STANZA_ERROR_RESOURCE_CONSTRAINT;
	/* One who does not know of configuration gets an instant room (section 7.2.1). */
	(*room)->locked = e->muc;
	affiliation_set(*room, e->bare, AFFILIATION_OWNER, SLICE_NONE, SLICE_NONE);
	return STANZA_ERROR_NONE;
}

static void
enter(struct entry *e, struct domain *domain, struct room *room)
{
	bool made = room == NULL;
	enum stanza_error error = STANZA_ERROR_NONE;
	struct client *client;
	struct occupant *o;

	if (clients_of_account(e->bare) >= domain->joined_max)
		error = STANZA_ERROR_RESOURCE_CONSTRAINT;
	else if (!presence_fits(e->f))
		error = STANZA_ERROR_NOT_ACCEPTABLE;
	else if (made)
		error = room_create(e, domain, &room);
	else
		error = refusal(room, e);
	if (error != STANZA_ERROR_NONE) {
		COUNT(entries_refused);
		answer_error(e->f, error, NULL);
		return;
	}
	o = occupant_find(room, e->nick);
	client = client_add(room, e->f->from, e->f->handle, e->nick,
	    o != NULL ? o->role : affiliation_role(room, affiliation_of(room, e->bare)), e->now);
	presence_keep(client, e->f, e->now);
	COUNT(entries);
	room_show(client, &e->wanted, (made ? STATUS_201 : 0u) | nick_status(e), true);
}

/* -- who is in -- */

static void
nick_change(struct client *client, const struct entry *e)
{
	struct occupant *o = client->occupant;

	if (nick_is_taken(o->room, e->nick, e->bare) || occupant_find(o->room, e->nick) != NULL) {
		answer_error(e->f, STANZA_ERROR_CONFLICT, NULL);
		return;
	}
	if (!privilege_has(o->room, o->role, PRIVILEGE_NICK)) {
		answer_error(e->f, STANZA_ERROR_NOT_ALLOWED, NULL);
		return;
	}
	if (!presence_keep(client, e->f, e->now)) {
		answer_error(e->f, STANZA_ERROR_NOT_ACCEPTABLE, "The presence is too large");
		return;
	}
	presence_rename(o, e->nick);
	if (e->muc) /* it believes that it enters */
		room_show(client, &e->wanted, nick_status(e), false);
}

static void
is_inside(struct client *client, struct entry *e)
{
	static const struct change none;
	struct occupant *o = client->occupant;

	client->heard = e->now;
	client_set_handle(client, e->f->handle);
	if (e->given && !e->muc && !slice_equal(occupant_nick(o), e->to.resource)) {
		answer_error(e->f, STANZA_ERROR_NOT_ACCEPTABLE, "Here you go by the nick that is reserved for you");
		return;
	}
	if (e->given && !e->muc) /* it was in before the nick was reserved, and stays what it is */
		e->nick = e->to.resource;
	if (!slice_equal(occupant_nick(o), e->nick)) {
		nick_change(client, e);
		return;
	}
	if (!presence_keep(client, e->f, e->now)) {
		answer_error(e->f, STANZA_ERROR_NOT_ACCEPTABLE, "The presence is too large");
		return;
	}
	/* It believes that it is not in: it gets what one who enters gets. */
	if (e->muc)
		room_show(client, &e->wanted, nick_status(e), false);
	else
		presence_tell(o, &none, NULL);
}

static void
leave(struct client *client, const struct frame *f, uint64_t now)
{
	static const struct change none;
	struct room *room = client->occupant->room;
	struct buf payload = { 0 };

	/* The router says so of a session that has ended, when its successor may be in already. */
	if (f->seq == 0 && f->handle != client->handle)
		return;
	if (f->payload.len <= PRESENCE_BYTES)
		children_filter(f->payload, &payload);
	presence_gone(client, &none, buf_slice(&payload));
	buf_free(&payload);
	room_emptied(room, now);
}

void
enter_gone(struct client *client, const char *why, uint64_t now)
{
	static const struct change gone = { .status = STATUS_333 };
	struct room *room = client->occupant->room;

	log_info("occupant gone", "room=%s jid=%s reason=\"%s\"", log_quote(room_jid(room)),
	    log_quote(client_jid(client)), why);
	COUNT(occupants_gone);
	presence_gone(client, &gone, SLICE_NONE);
	room_emptied(room, now);
}

/* -- every presence -- */

static bool
nick_is_good(struct slice nick)
{
	size_t i;

	for (i = 0; i < nick.len; i++) {
		if (nick.ptr[i] != ' ')
			return nick.len <= NICK_BYTES;
	}
	return false;
}

static void
available(struct entry *e, struct domain *domain, struct room *room)
{
	struct client *client = room != NULL ? client_find(room, e->f->from) : NULL;

	if (e->to.local.ptr == NULL) {
		answer_error(e->f, STANZA_ERROR_SERVICE_UNAVAILABLE, NULL);
		return;
	}
	if (e->to.resource.ptr == NULL) {
		answer_error(e->f, STANZA_ERROR_JID_MALFORMED, "No nick");
		return;
	}
	if (!nick_is_good(e->to.resource)) {
		answer_error(e->f, STANZA_ERROR_NOT_ACCEPTABLE, "Not a nick");
		return;
	}
	entry_read(e);
	e->nick = e->to.resource;
	if (room != NULL)
		nick_choose(room, e);
	if (client != NULL)
		is_inside(client, e);
	else
		enter(e, domain, room);
	buf_free(&e->password);
}

void
enter_presence(const struct frame *f, uint64_t now)
{
	struct entry e = { .f = f, .bare = jid_bare_of(f->from), .now = now, .password = { .secret = true } };
	struct domain *domain;
	struct room *room;
	struct client *client;

	jid_split(f->to, &e.to);
	domain = domain_find(e.to.domain);
	if (domain == NULL)
		return;
	room = e.to.local.ptr != NULL ? room_find(jid_bare(&e.to)) : NULL;
	if (f->subtype == TYPE_AVAILABLE) {
		available(&e, domain, room);
		return;
	}
	if (f->subtype == TYPE_PROBE && room != NULL) {
		probe_handle(f, room, e.to.resource);
		return;
	}
	client = room != NULL ? client_find(room, f->from) : NULL;
	if (f->subtype == TYPE_SUBSCRIBE)
		answer_error(f, STANZA_ERROR_NOT_ALLOWED, "Nobody subscribes to rooms, one enters them");
	else if (client != NULL && f->subtype == TYPE_UNAVAILABLE)
		leave(client, f, now);
	else if (client != NULL && f->subtype == TYPE_ERROR && watch_says_gone(f))
		enter_gone(client, "error for a presence", now);
}
