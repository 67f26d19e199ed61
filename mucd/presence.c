/*
 * presence.c: what occupants see of each other (XEP-0045 section 7.2.2 and on): makes the presences of a room,
 * for each kind of those who may see them. Called by all that changes who is in a room, or as what. Cannot fail.
 *
 * Who may see real addresses gets another stanza than who may not, and a client gets its own with more
 * status codes: three frames at most for a change, however many get them.
 */
#include "mucd.h"

#include "ns.h"
#include "xmlout.h"

/* Who is told something. */
enum sight {
	SIGHT_NICK = 0,      /* of the others: nicks only */
	SIGHT_JID = 1,       /* real addresses too */
	SIGHT_SELF = 2,      /* the occupant itself */
};

/* Codes that are for the occupant alone that they are about. */
#define SELF_ONLY ((unsigned)(STATUS_100 | STATUS_110 | STATUS_170 | STATUS_201 | STATUS_210))

static const struct { unsigned bit; const char *code; } codes[] = {
	{ STATUS_100, "100" }, { STATUS_101, "101" }, { STATUS_102, "102" }, { STATUS_103, "103" },
	{ STATUS_104, "104" }, { STATUS_110, "110" }, { STATUS_170, "170" }, { STATUS_171, "171" },
	{ STATUS_172, "172" }, { STATUS_173, "173" }, { STATUS_201, "201" }, { STATUS_210, "210" },
	{ STATUS_301, "301" }, { STATUS_303, "303" }, { STATUS_307, "307" }, { STATUS_321, "321" },
	{ STATUS_322, "322" }, { STATUS_332, "332" }, { STATUS_333, "333" },
};

static void
status_write(unsigned status, struct buf *out)
{
	size_t i;

	for (i = 0; i < sizeof codes / sizeof *codes; i++) {
		if (!(status & codes[i].bit))
			continue;
		buf_add_string(out, "<status code='");
		buf_add_string(out, codes[i].code);
		buf_add_string(out, "'/>");
	}
}

/* -- one presence -- */

/* What a presence says of an occupant. */
struct told {
	const struct occupant *occupant;
	const struct client *client;  /* of which it is, and whose address is shown */
	const struct change *change;
	struct slice payload;         /* children, canonical */
	struct slice lang;
	enum affiliation affiliation;
	enum role_in_room role;
	bool gone;
};

static void
item_write(const struct told *t, bool address, struct buf *out)
{
	const struct change *c = t->change;

	buf_add_string(out, "<item affiliation='");
	buf_add_string(out, affiliation_text(t->affiliation));
	buf_add_string(out, "' role='");
	buf_add_string(out, role_in_room_text(t->role));
	buf_add_char(out, '\'');
	if (address)
		xml_add_attribute(out, "jid", client_jid(t->client));
	xml_add_attribute(out, "nick", c->nick);
	if (c->actor_nick.len == 0 && c->reason.len == 0) {
		buf_add_string(out, "/>");
		return;
	}
	buf_add_char(out, '>');
	if (c->actor_nick.len != 0) {
		buf_add_string(out, "<actor");
		xml_add_attribute(out, "nick", c->actor_nick);
		buf_add_string(out, "/>");
	}
	if (c->reason.len != 0)
		xml_add_element(out, "reason", c->reason);
	buf_add_string(out, "</item>");
}

static void
payload_write(const struct told *t, enum sight sight, struct buf *out)
{
	const struct occupant *o = t->occupant;
	unsigned status = t->change->status;

	if (sight == SIGHT_SELF)
		status |= STATUS_110 | (o->room->config.non_anonymous && !t->gone ? STATUS_100 : 0u);
	else
		status &= ~SELF_ONLY;
	buf_add_slice(out, t->payload);
	if (!t->gone)
		hats_write(o->room, occupant_bare(o), out);
	xml_open(out, "occupant-id", SLICE(NS_OCCUPANT_ID));
	xml_add_attribute(out, "id", slice_string(o->id));
	buf_add_string(out, "/>");
	xml_open(out, "x", SLICE(NS_MUC_USER));
	buf_add_char(out, '>');
	item_write(t, sight != SIGHT_NICK, out);
	buf_add_slice(out, t->change->destroy);
	status_write(status, out);
	buf_add_string(out, "</x>");
}

static void
told_send(const struct told *t, enum sight sight, const struct receivers *r)
{
	const struct occupant *o = t->occupant;
	struct buf payload = { 0 }, from = { 0 };
	struct frame f = { .type = FRAME_STANZA, .kind = STANZA_PRESENCE, .flags = FLAG_MUC,
		.subtype = t->gone ? TYPE_UNAVAILABLE : TYPE_AVAILABLE, .lang = t->lang };

	if (buf_len(&r->handles) == 0 && buf_len(&r->elsewhere) == 0)
		return;
	payload_write(t, sight, &payload);
	occupant_address(o, &from);
	f.from = buf_slice(&from);
	f.payload = buf_slice(&payload);
	outbox_add(&f, r);
	buf_free(&payload);
	buf_free(&from);
}

/* -- to whom -- */

static bool
sees_jids(const struct occupant *o)
{
	return o->room->config.non_anonymous || o->role == IN_MODERATOR;
}

bool
presence_is_shown(const struct occupant *o)
{
	return o->room->config.broadcast & 1u << o->role;
}

static void
others_tell(const struct told *t)
{
	struct receivers r[2] = { 0 };
	const struct occupant *o;
	const struct client *client;

	TAILQ_FOREACH(o, &t->occupant->room->occupants, all) {
		if (o == t->occupant || o->leaving)
			continue;
		TAILQ_FOREACH(client, &o->clients, siblings)
			receivers_add(&r[sees_jids(o) ? SIGHT_JID : SIGHT_NICK], client);
	}
	told_send(t, SIGHT_NICK, &r[SIGHT_NICK]);
	told_send(t, SIGHT_JID, &r[SIGHT_JID]);
	receivers_free(&r[SIGHT_NICK]);
	receivers_free(&r[SIGHT_JID]);
}

static void
one_tell(const struct told *t, enum sight sight, const struct client *client)
{
	struct receivers r = { 0 };

	receivers_add(&r, client);
	told_send(t, sight, &r);
	receivers_free(&r);
}

static void
self_tell(const struct told *t, const struct client *but)
{
	struct receivers r = { 0 };
	const struct client *client;

	TAILQ_FOREACH(client, &t->occupant->clients, siblings) {
		if (client != but)
			receivers_add(&r, client);
	}
	told_send(t, SIGHT_SELF, &r);
	receivers_free(&r);
}

/* The state of an occupant: its presence is that of the client that said something last. */
static void
told_state(const struct occupant *o, const struct change *change, struct told *t)
{
	const struct client *client = TAILQ_LAST(&o->clients, clients);

	*t = (struct told){ .occupant = o, .client = client, .change = change,
		.payload = buf_slice(&client->presence), .role = o->role,
		.affiliation = affiliation_of(o->room, occupant_bare(o)) };
	if (buf_len(&client->lang) != 0)
		t->lang = buf_slice(&client->lang);
}

static void
told_gone(struct told *t, struct slice payload)
{
	t->gone = true;
	t->role = IN_NONE;
	t->payload = payload.ptr != NULL ? payload : SLICE("");
	t->lang = SLICE_NONE;
}

void
presence_tell(struct occupant *o, const struct change *change, const struct client *but)
{
	struct told t, hidden;

	told_state(o, change, &t);
	if (presence_is_shown(o)) {
		others_tell(&t);
	} else if (o->shown) {
		/* Its role is one of those that are not shown any more. */
		hidden = t;
		told_gone(&hidden, SLICE_NONE);
		others_tell(&hidden);
	}
	o->shown = presence_is_shown(o);
	self_tell(&t, but);
}

void
presence_tell_client(const struct client *client, const struct change *change)
{
	struct told t;

	told_state(client->occupant, change, &t);
	one_tell(&t, SIGHT_SELF, client);
}

void
presence_show_occupant(const struct occupant *o, const struct client *client)
{
	static const struct change none;
	struct told t;

	told_state(o, &none, &t);
	one_tell(&t, sees_jids(client->occupant) ? SIGHT_JID : SIGHT_NICK, client);
}

void
presence_show_room(const struct client *client, size_t most)
{
	const struct occupant *self = client->occupant, *o;

	TAILQ_FOREACH(o, &self->room->occupants, all) {
		if (outbox_pending() >= most)
			return;
		if (o != self && presence_is_shown(o))
			presence_show_occupant(o, client);
	}
}

void
presence_broadcast_changed(struct room *room, unsigned before)
{
	static const struct change none;
	struct occupant *o;
	struct told t;

	TAILQ_FOREACH(o, &room->occupants, all) {
		bool was = before & 1u << o->role, is = presence_is_shown(o);

		if (was == is)
			continue;
		told_state(o, &none, &t);
		if (!is)
			told_gone(&t, SLICE_NONE);
		others_tell(&t);
		o->shown = is;
	}
}

void
presence_gone(struct client *client, const struct change *change, struct slice payload)
{
	struct occupant *o = client->occupant;
	bool last = TAILQ_FIRST(&o->clients) == client && TAILQ_NEXT(client, siblings) == NULL;
	struct told t;

	told_state(o, change, &t);
	t.client = client;
	told_gone(&t, payload);
	if (change->destroy.len != 0)
		t.affiliation = AFFILIATION_NONE;
	else if (last && o->shown)
		others_tell(&t);
	one_tell(&t, SIGHT_SELF, client);
	client_remove(client);
}

void
presence_expel(struct occupant *o, const struct change *change)
{
	struct client *client, *next;

	for (client = TAILQ_FIRST(&o->clients); client != NULL; client = next) {
		next = TAILQ_NEXT(client, siblings); /* o goes with the last of them */
		presence_gone(client, change, SLICE_NONE);
	}
}

void
presence_rename(struct occupant *o, struct slice nick)
{
	const struct change old = { .status = STATUS_303, .nick = nick }, none = { 0 };
	struct told t;

	told_state(o, &old, &t);
	told_gone(&t, SLICE_NONE);
	t.role = o->role;
	if (o->shown)
		others_tell(&t);
	self_tell(&t, NULL);
	occupant_rename(o, nick);
	presence_tell(o, &none, NULL);
}
