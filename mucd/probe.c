/*
 * probe.c: presence probes to rooms and to occupants (XEP-0045 section 17.3, RFC 6121 section 4.3.2): whoever is in the
 * room is told again what it may see. A room is probed like an account: its occupants are its resources. Called by
 * enter.c. To who is not in the room nothing is said, as accounts do it: nobody learns who is there.
 *
 * Servers probe in the name of an account or of a session; then all its clients in the room are told.
 */
#include "mucd.h"

#include "ns.h"

/* Nobody has this nick, or nobody who is shown. */
static void
nobody_tell(const struct frame *probe, const struct client *client)
{
	struct frame f = { .type = FRAME_STANZA, .kind = STANZA_PRESENCE, .subtype = TYPE_UNAVAILABLE,
		.flags = FLAG_MUC, .from = probe->to, .payload = SLICE("<x xmlns='" NS_MUC_USER
		"'><item affiliation='none' role='none'/></x>") };
	struct receivers r = { 0 };

	receivers_add(&r, client);
	outbox_add(&f, &r);
	receivers_free(&r);
}

static void
client_tell(const struct frame *probe, const struct client *client, struct slice nick)
{
	static const struct change none;
	const struct room *room = client->occupant->room;
	const struct occupant *o = nick.ptr != NULL ? occupant_find(room, nick) : NULL;

	if (nick.ptr == NULL)
		presence_show_room(client, RUN_BYTES);
	if (nick.ptr == NULL || o == client->occupant)
		presence_tell_client(client, &none);
	else if (o != NULL && presence_is_shown(o))
		presence_show_occupant(o, client);
	else
		nobody_tell(probe, client);
}

void
probe_handle(const struct frame *f, struct room *room, struct slice nick)
{
	const struct occupant *o;
	const struct client *client;

	TAILQ_FOREACH(o, &room->occupants, all) {
		TAILQ_FOREACH(client, &o->clients, siblings) {
			if (outbox_pending() >= RUN_BYTES)
				return; /* who asks for so much asks again */
			if (slice_equal(client_jid(client), f->from) || slice_equal(occupant_bare(o), f->from))
				client_tell(f, client, nick);
		}
	}
}
