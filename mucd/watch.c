/*
 * watch.c: who is not there any more, and rooms that nobody uses. Called by inbox.c, with a transaction around it,
 * and by main.c when the router has come.
 *
 * Of sessions here the router knows; it is asked after each WELCOME. An occupant at another server is heard of, or
 * asked with a ping (XEP-0199) after some silence; one that does not answer, or whose server says that it is away,
 * leaves with status 333. That it is not reached is no reason, until it has been silent for as long.
 */
#include "mucd.h"

#include "log.h"
#include "ns.h"
#include "xmlin.h"

#define ANSWER_TIME   (2u * 60 * 1000)  /* milliseconds that an occupant has to answer a ping */
#define IDLE_EVERY    (60u * 1000)      /* between two looks for idle rooms */
#define IDLE_MOST     64u               /* rooms that one look removes */
#define HANDLES_MAX   65536u            /* in one OCCUPANTS */
#define PING_ID       "aldis-watch"     /* id of our pings */
#define INFO_ID       "aldis-watch-info"

/* -- errors -- */

/* Conditions by which a server says that nobody is there: those of XEP-0045 section 18.1 (ghost users), and two more
 * which servers use for what does not exist (RFC 6121 section 8.5). */
static const char *const gone[] = {
	"gone", "item-not-found", "recipient-unavailable", "redirect", "remote-server-not-found",
	"remote-server-timeout", "service-unavailable", "jid-malformed",
};

/* Whether an error is about a while: a link that is down, most of all. It says nothing of who is at the other end. */
static bool
is_wait(const struct frame *f)
{
	struct buf scratch = { 0 };
	struct xmlin_element error;
	struct slice type;
	bool wait;

	wait = xmlin_find(f->payload, SLICE(NS_CLIENT), "error", NS_CLIENT, &error) &&
	    xmlin_attribute(&error, "type", &scratch, &type) == OK && slice_is(type, "wait");
	buf_free(&scratch);
	return wait;
}

static bool
has_condition(const struct frame *f, const char *condition)
{
	struct xmlin_element error, child;

	return xmlin_find(f->payload, SLICE(NS_CLIENT), "error", NS_CLIENT, &error) &&
	    xmlin_find(error.content, error.ns, condition, NS_STANZAS, &child);
}

bool
watch_says_gone(const struct frame *f)
{
	size_t i;

	for (i = 0; i < sizeof gone / sizeof gone[0] && !is_wait(f); i++) {
		if (has_condition(f, gone[i]))
			return true;
	}
	return false;
}

/* -- sessions here -- */

void
watch_ask_router(void)
{
	struct frame f = { .type = FRAME_OCCUPANTS };
	struct buf numbers = { 0 };
	struct slice rest;

	clients_handles(&numbers);
	for (rest = buf_slice(&numbers); rest.len != 0; rest = slice_part(rest, f.numbers.len, rest.len)) {
		f.numbers = slice_part(rest, 0, 8u * HANDLES_MAX);
		daemon_send(&f);
	}
	buf_free(&numbers);
}

static void
session_gone(void *arg, struct client *client)
{
	enter_gone(client, "session has ended", *(const uint64_t *)arg);
}

void
watch_gone(const struct frame *f, uint64_t now)
{
	size_t i;

	for (i = 0; i < frame_count(f); i++)
		clients_of_handle(frame_at(f, i), session_gone, &now);
}

/* -- occupants elsewhere -- */

/* Asks a client something that only it can answer. Many clients have no ping, and their answer to it looks like that of
 * a server that does not know them: these are asked for what they are. */
static void
ask(struct client *client, bool info, uint64_t now)
{
	struct frame f = { .type = FRAME_STANZA, .kind = STANZA_IQ, .subtype = TYPE_GET,
		.from = room_jid(client->occupant->room), .to = client_jid(client),
		.id = info ? SLICE(INFO_ID) : SLICE(PING_ID), .name = info ? SLICE("query") : SLICE("ping"),
		.ns = info ? SLICE(NS_DISCO_INFO) : SLICE(NS_PING) };

	f.payload = info ? SLICE("<query xmlns='" NS_DISCO_INFO "'/>") : SLICE("<ping xmlns='" NS_PING "'/>");
	if (!client->again)
		client->asked = now;
	client->again = false;
	answer_send(&f);
}

bool
watch_answer(const struct frame *f, uint64_t now)
{
	bool ping = slice_is(f->id, PING_ID), info = slice_is(f->id, INFO_ID);
	struct room *room;
	struct client *client;

	if ((f->subtype != TYPE_RESULT && f->subtype != TYPE_ERROR) || (!ping && !info))
		return false;
	room = room_find(f->to);
	client = room != NULL ? client_find(room, f->from) : NULL;
	if (client == NULL || client->asked == 0)
		return true;
	/* A server that says who is away for a while has answered; one that was not reached has not. */
	if (f->subtype == TYPE_ERROR && is_wait(f) && !has_condition(f, "recipient-unavailable")) {
		client->again = true;
	} else if (f->subtype == TYPE_RESULT || !watch_says_gone(f)) {
		client->heard = now;
		client->asked = 0;
		client->again = false;
	} else if (ping && has_condition(f, "service-unavailable")) {
		ask(client, true, now);
	} else {
		enter_gone(client, "no longer there", now);
	}
	return true;
}

/* Looks at one client; it may leave. False: something is due and has to wait, since so much was said already. */
static bool
look(struct client *client, uint64_t silence, uint64_t now)
{
	bool late = client->asked != 0 && now >= client->asked + ANSWER_TIME;
	bool silent = client->again || (client->asked == 0 && now >= client->heard + silence);

	if (client->handle != 0 || silence == 0 || (!late && !silent))
		return true;
	if (outbox_pending() >= RUN_BYTES || answers_pending() >= RUN_BYTES)
		return false;
	if (late)
		enter_gone(client, "no answer", now);
	else
		ask(client, false, now);
	return true;
}

static bool
look_at_room(struct room *room, uint64_t now)
{
	struct buf clients = { 0 };
	const struct receivers *r = receivers_everyone(room);
	struct occupant *o;
	struct client *client;
	bool done = true;
	size_t i;

	if (buf_len(&r->elsewhere) == 0)
		return true;
	/* Who leaves takes its occupant along, perhaps: so a list first. */
	TAILQ_FOREACH(o, &room->occupants, all)
		TAILQ_FOREACH(client, &o->clients, siblings)
			buf_add(&clients, &client, sizeof client);
	for (i = 0; done && i < buf_len(&clients) / sizeof client; i++) {
		memcpy(&client, buf_slice(&clients).ptr + i * sizeof client, sizeof client);
		done = look(client, room->domain->silence, now);
	}
	buf_free(&clients);
	return done;
}

/* -- idle rooms -- */

struct idle {
	uint64_t before;
	struct buf names; /* lines */
	unsigned count;
};

static bool
room_is_idle(void *arg, const struct room *room)
{
	struct idle *idle = arg;

	/* What is not in memory has nobody in it. */
	if (room->client_count != 0 || room->active >= idle->before)
		return true;
	buf_add_slice(&idle->names, room_jid(room));
	buf_add_char(&idle->names, '\n');
	return ++idle->count < IDLE_MOST;
}

static void
idle_remove(const struct domain *domain, uint64_t now)
{
	struct idle idle = { .before = now > domain->idle_time ? now - domain->idle_time : 0 };
	struct slice rest, name;

	if (domain->idle_time == 0 || rooms_walk(domain, 0, room_is_idle, &idle) != OK) {
		buf_free(&idle.names);
		return;
	}
	rest = buf_slice(&idle.names);
	while (slice_line(&rest, &name)) {
		struct room *room = room_find(name);

		/* It may have been on the way in. */
		if (room == NULL || room->client_count != 0 || room->active >= idle.before)
			continue;
		log_info("room idle", "room=%s", log_quote(name));
		owner_destroy(room, SLICE_NONE, SLICE_NONE, SLICE_NONE);
	}
	buf_free(&idle.names);
}

bool
watch_tick(uint64_t now)
{
	static uint64_t idle_time;
	struct room *room, *next;
	bool done = true;
	size_t i;

	for (room = room_next(NULL); done && room != NULL; room = next) {
		next = room_next(room); /* it may end */
		done = look_at_room(room, now);
	}
	if (now < idle_time + IDLE_EVERY && now >= idle_time)
		return !done;
	idle_time = now;
	for (i = 0; domain_at(i) != NULL; i++)
		idle_remove(domain_at(i), now);
	return !done;
}
