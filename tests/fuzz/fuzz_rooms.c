/*
 * fuzz_rooms.c: mucd whole but for its link: stanzas of several users, here and elsewhere, to two rooms and their
 * domain, sessions that end, time that passes, and memory that is read anew from the store.
 *
 * Input: steps, each a byte of choice, who, whereto, and one of the payloads below, or one of the fuzzer's own.
 * Asserts: what is in memory agrees with itself and with the store; a room has an owner; numbers of what rooms say
 * grow; all of it is canonical, from a room, and has receivers; nobody learns an address who may not see it.
 *
 * Links: mucd
 * Options: -max_len=600
 */
#include "fuzz.h"

#include <unistd.h>

#include "mucd.h"
#include "ns.h"

#define DOMAIN "rooms.test"
#define SECRET "zsecretz"    /* in no payload, only in one address */
#define ORIGIN 7

static uint64_t now = 1790000000000ull, last_seq, last_number;
static struct buf sent;     /* frames of the outbox that are not acknowledged */
static struct buf fresh;    /* frames that were sent in this step */
static bool again;          /* those are being sent again */
static char link_place;

/* -- users ---------------------------------------------------------------------------------------- */

static struct user {
	const char *jid;
	uint64_t handle;
	bool sees[2];           /* real addresses in a room, before or after a step */
} users[] = {
	{ "owner@a.test/1", 11, { false, false } },
	{ "admin@a.test/1", 12, { false, false } },
	{ "admin@a.test/2", 13, { false, false } },
	{ "guest@a.test/1", 14, { false, false } },
	{ "far@b.test/1", 0, { false, false } },
	{ SECRET "@a.test/1", 15, { false, false } },
};

static const char *const rooms[] = { "one@" DOMAIN, "two@" DOMAIN };
static const char *const nicks[] = { "own", "adm", "gue", "far", "hid", "x y" };

static const char *const payloads[] = {
	"<x xmlns='" NS_MUC "'/>",
	"<x xmlns='" NS_MUC "'><history maxstanzas='3' seconds='10'/><password>p</password></x>",
	"<show>away</show><x xmlns='" NS_MUC_USER "'><item role='moderator'/></x>",
	"<body>x</body>",
	"<body>x</body><stanza-id xmlns='" NS_SID "' by='ONE@" DOMAIN "' id='1'/><delay xmlns='" NS_DELAY "' from='one@" DOMAIN
	    "' stamp='2020-01-01T00:00:00Z'/>",
	"<subject>s</subject>",
	"<retract xmlns='" NS_RETRACT "' id='0000000000000001'/><body>r</body>",
	"<error type='cancel'><recipient-unavailable xmlns='" NS_STANZAS "'/></error>",
	"<x xmlns='" NS_MUC_USER "'><invite to='%j'><reason>r</reason></invite></x>",
	"<x xmlns='" NS_MUC_USER "'><invite to='%r/%n'/></x>",
	"<x xmlns='" NS_MUC_USER "'><decline to='%j'/></x>",
	"<x xmlns='" NS_DATA "' type='submit'><field var='FORM_TYPE'><value>" NS_MUC_REQUEST
	    "</value></field><field var='muc#role'><value>participant</value></field></x>",
	"<x xmlns='" NS_DATA "' type='submit'><field var='FORM_TYPE'><value>" NS_MUC_REQUEST
	    "</value></field><field var='muc#roomnick'><value>%n</value></field><field var='muc#request_allow'><value>1"
	    "</value></field></x>",
	"<query xmlns='" NS_MUC_ADMIN "'><item nick='%n' role='none'/></query>",
	"<query xmlns='" NS_MUC_ADMIN "'><item nick='%n' role='visitor'><reason>r</reason></item></query>",
	"<query xmlns='" NS_MUC_ADMIN "'><item nick='%n' role='moderator'/></query>",
	"<query xmlns='" NS_MUC_ADMIN "'><item jid='%j' affiliation='outcast'/></query>",
	"<query xmlns='" NS_MUC_ADMIN "'><item jid='%j' affiliation='none'/><item nick='%n' role='none'/></query>",
	"<query xmlns='" NS_MUC_ADMIN "'><item jid='%j' nick='%n' affiliation='member'/></query>",
	"<query xmlns='" NS_MUC_ADMIN "'><item jid='%j' affiliation='admin'/></query>",
	"<query xmlns='" NS_MUC_ADMIN "'><item jid='%j' affiliation='owner'/><item jid='owner@a.test' affiliation='none'/>"
	    "</query>",
	"<query xmlns='" NS_MUC_ADMIN "'><item jid='b.test' affiliation='outcast'/></query>",
	"<query xmlns='" NS_MUC_ADMIN "'><item affiliation='member'/></query>",
	"<query xmlns='" NS_MUC_ADMIN "'><item role='participant'/></query>",
	"<query xmlns='" NS_MUC_OWNER "'/>",
	"<query xmlns='" NS_MUC_OWNER "'><x xmlns='" NS_DATA "' type='submit'/></query>",
	"<query xmlns='" NS_MUC_OWNER "'><x xmlns='" NS_DATA "' type='cancel'/></query>",
	"<query xmlns='" NS_MUC_OWNER "'><x xmlns='" NS_DATA "' type='submit'>"
	    "<field var='muc#roomconfig_persistentroom'><value>1</value></field></x></query>",
	"<query xmlns='" NS_MUC_OWNER "'><x xmlns='" NS_DATA "' type='submit'>"
	    "<field var='muc#roomconfig_membersonly'><value>1</value></field></x></query>",
	"<query xmlns='" NS_MUC_OWNER "'><x xmlns='" NS_DATA "' type='submit'>"
	    "<field var='muc#roomconfig_moderatedroom'><value>1</value></field>"
	    "<field var='muc#roomconfig_presencebroadcast'><value>moderator</value></field></x></query>",
	"<query xmlns='" NS_MUC_OWNER "'><x xmlns='" NS_DATA "' type='submit'>"
	    "<field var='muc#roomconfig_passwordprotectedroom'><value>1</value></field>"
	    "<field var='muc#roomconfig_roomsecret'><value>p</value></field></x></query>",
	"<query xmlns='" NS_MUC_OWNER "'><x xmlns='" NS_DATA "' type='submit'>"
	    "<field var='muc#roomconfig_roomowners'><value>%j</value></field></x></query>",
	"<query xmlns='" NS_MUC_OWNER "'><destroy jid='two@" DOMAIN "'><reason>r</reason></destroy></query>",
	"<query xmlns='" NS_REGISTER "'/>",
	"<query xmlns='" NS_REGISTER "'><remove/></query>",
	"<query xmlns='" NS_REGISTER "'><x xmlns='" NS_DATA "' type='submit'><field var='FORM_TYPE'><value>"
	    NS_MUC_REGISTER "</value></field><field var='muc#register_roomnick'><value>%n</value></field></x></query>",
	"<query xmlns='" NS_DISCO_INFO "'/>",
	"<query xmlns='" NS_DISCO_ITEMS "'/>",
	"<query xmlns='" NS_MAM "'/>",
	"<ping xmlns='" NS_PING "'/>",
	"<vCard xmlns='" NS_VCARD "'/>",
	"<vCard xmlns='" NS_VCARD "'><PHOTO><TYPE>image/png</TYPE><BINVAL>aGVsbG8=</BINVAL></PHOTO></vCard>",
	"<moderate xmlns='" NS_MODERATE "' id='0000000000000001'><retract xmlns='" NS_RETRACT "'/></moderate>",
	"<command xmlns='" NS_COMMANDS "' node='" NS_HATS_COMMANDS ":create'/>",
	"<command xmlns='" NS_COMMANDS "' node='" NS_HATS_COMMANDS ":create' sessionid='s'><x xmlns='" NS_DATA
	    "' type='submit'><field var='hats#uri'><value>urn:h:%n</value></field><field var='hats#title'><value>t</value>"
	    "</field><field var='hats#hue'><value>1.5</value></field></x></command>",
	"<command xmlns='" NS_COMMANDS "' node='" NS_HATS_COMMANDS ":assign'><x xmlns='" NS_DATA "' type='submit'>"
	    "<field var='hats#uri'><value>urn:h:own</value></field><field var='hats#jid'><value>%j</value></field></x>"
	    "</command>",
	"<command xmlns='" NS_COMMANDS "' node='" NS_HATS_COMMANDS ":destroy'><x xmlns='" NS_DATA "' type='submit'>"
	    "<field var='hats#uri'><value>urn:h:own</value></field></x></command>",
	"<command xmlns='" NS_COMMANDS "' node='" NS_HATS_COMMANDS ":list-assigned'/>",
};

/* -- in place of the process ---------------------------------------------------------------------- */

uint32_t daemon_incarnation(void) { return 42; }
uint64_t daemon_now(void) { return now; }
uint64_t daemon_ticks(void) { return now; }
void daemon_dirty(void) { }
bool daemon_router_up(void) { return true; }
struct link *daemon_router(void) { return (struct link *)(void *)&link_place; }
bool link_full(const struct link *link) { (void)link; return false; }
void daemon_ack(const struct frame *f) { CHECK(f->origin == ORIGIN && f->seq != 0); }
void daemon_refuse(const struct frame *f, const char *reason) { (void)f; (void)reason; CHECK(false); }
struct slice daemon_command_data(void) { return SLICE_NONE; }

/* Whether a text has something in it that is somebody's address alone. */
static bool
tells(struct slice text)
{
	size_t i, len = strlen(SECRET);

	for (i = 0; text.ptr != NULL && i + len <= text.len; i++) {
		if (memcmp(text.ptr + i, SECRET, len) == 0)
			return true;
	}
	return false;
}

static size_t
room_index(struct slice address)
{
	return slice_starts(address, SLICE("two@")) ? 1 : 0;
}

/* Whoever gets it may see what is in it. */
static void
check_receiver(const struct frame *f, uint64_t handle, struct slice jid)
{
	size_t i;

	for (i = 0; i < COUNT_OF(users); i++) {
		const struct user *u = &users[i];

		if (handle != 0 ? u->handle != handle : u->handle != 0 || !slice_is(jid, u->jid))
			continue;
		CHECK(u->sees[room_index(f->from)] || slice_starts(slice_string(u->jid), SLICE(SECRET)));
	}
}

static void
check_stanza(const struct frame *f)
{
	struct slice rest = f->text, line;
	struct jid from;
	size_t i;

	CHECK(jid_parse(f->from, &from) == OK && slice_is(from.domain, DOMAIN));
	CHECK(stanza_is_canonical(f));
	/* Who declines tells who it is. */
	if (!tells(f->payload) || slice_starts(f->payload, SLICE("<x xmlns='" NS_MUC_USER "'><decline")))
		return;
	for (i = 0; i < frame_count(f); i++)
		check_receiver(f, frame_at(f, i), SLICE_NONE);
	while (slice_line(&rest, &line))
		check_receiver(f, 0, line);
}

void
link_send_raw(struct link *link, struct slice frame)
{
	struct frame f;

	(void)link;
	CHECK(frame_read(frame, &f) == OK);
	CHECK(f.seq != 0 && f.origin == daemon_incarnation());
	if (again)
		return;
	CHECK(f.number > last_number);
	last_number = f.number;
	buf_add_slice(&sent, frame);
	buf_add_slice(&fresh, frame);
}

void
daemon_send(const struct frame *f)
{
	CHECK(f->seq == 0);
	CHECK(frame_write(f, &fresh) == OK);
}

/* Looks at all that a step said. */
static void
check_fresh(void)
{
	struct slice rest = buf_slice(&fresh), whole;
	struct frame f;

	while (frame_next(rest, &whole) == OK && frame_read(whole, &f) == OK) {
		rest = slice_part(rest, whole.len, rest.len);
		if (f.type != FRAME_STANZA)
			continue;
		check_stanza(&f);
		if (f.seq == 0 && tells(f.payload))
			check_receiver(&f, f.handle, f.to);
		if (f.seq != 0 && f.flags & FLAG_ROOM)
			CHECK(f.flags & FLAG_STORE || frame_count(&f) != 0 || f.text.len != 0);
	}
	CHECK(rest.len == 0);
	buf_clear(&fresh);
}

/* -- start ------------------------------------------------------------------------------------------ */

int
LLVMFuzzerInitialize(int *argc, char ***argv)
{
	static const char text[] = "rooms\t" DOMAIN "\tcreate\tall\nrooms\t" DOMAIN "\tname\tRooms\n"
	    "rooms\t" DOMAIN "\trooms\t10\nrooms\t" DOMAIN "\trooms-per-user\t10\nrooms\t" DOMAIN "\toccupants\t4\n"
	    "rooms\t" DOMAIN "\tjoined\t5\nrooms\t" DOMAIN "\thistory\t20\nrooms\t" DOMAIN "\thistory-most\t100\n"
	    "rooms\t" DOMAIN "\tmessage-rate\t0\nrooms\t" DOMAIN "\tidle-time\t10000\nrooms\t" DOMAIN "\tsilence\t60\n";
	static char directory[] = "/dev/shm/fuzz_rooms.XXXXXX"; /* commits cost nothing there */
	static const char *const files[] = { "data.mdb", "lock.mdb" };
	struct config *config;
	char path[64];
	size_t i;

	(void)argc;
	(void)argv;
	CHECK(mkdtemp(directory) != NULL);
	CHECK(config_read(slice_string(text), &config) == OK);
	CHECK(domains_configure(config) == OK);
	config_free(&config);
	CHECK(state_open(directory) == OK && outbox_open() == OK && inbox_open() == OK && rooms_open() == OK);
	/* It stays open without a name. */
	for (i = 0; i < COUNT_OF(files); i++) {
		snprintf(path, sizeof path, "%s/%s", directory, files[i]);
		CHECK(unlink(path) == 0);
	}
	CHECK(rmdir(directory) == 0);
	return 0;
}

/* -- what must hold --------------------------------------------------------------------------------- */

static void
check_occupant(const struct room *room, const struct occupant *o, size_t *clients)
{
	const struct client *c;

	CHECK(o->room == room && !TAILQ_EMPTY(&o->clients) && o->role != IN_NONE);
	CHECK(occupant_find(room, occupant_nick(o)) == o);
	CHECK(affiliation_of(room, occupant_bare(o)) != AFFILIATION_OUTCAST);
	CHECK(!room->config.members_only || affiliation_of(room, occupant_bare(o)) >= AFFILIATION_MEMBER);
	TAILQ_FOREACH(c, &o->clients, siblings) {
		CHECK(c->occupant == o && client_find(room, client_jid(c)) == c);
		CHECK(slice_equal(jid_bare_of(client_jid(c)), occupant_bare(o)));
		(*clients)++;
	}
}

static void
check_room(const struct room *room, size_t *all_clients)
{
	const struct occupant *o;
	size_t occupants = 0, clients = 0;

	TAILQ_FOREACH(o, &room->occupants, all) {
		check_occupant(room, o, &clients);
		occupants++;
	}
	CHECK(!room->ended && !room->dirty);
	CHECK(room->client_count == clients && room->occupant_count == occupants);
	CHECK(map_count(room->by_client) == clients && map_count(room->by_nick) == occupants);
	CHECK(clients != 0 || (room->config.persistent && !room->locked));
	CHECK(affiliation_count(room, AFFILIATION_OWNER) != 0);
	*all_clients += clients;
}

static void
check_all(void)
{
	const struct room *room;
	size_t clients = 0, i;

	for (i = 0; i < COUNT_OF(rooms); i++)
		room_find(slice_string(rooms[i]));
	for (room = room_next(NULL); room != NULL; room = room_next(room))
		check_room(room, &clients);
	CHECK(clients == clients_count() && clients == store_count(store, TABLE_CLIENT));
	CHECK(domain_at(0)->rooms == store_count(store, TABLE_ROOM));
	CHECK(store_count(store, TABLE_NAME) == store_count(store, TABLE_ROOM));
}

/* Who sees addresses in which room; added to those who did before. */
static void
note_sight(bool anew)
{
	size_t i, j;

	for (i = 0; i < COUNT_OF(users); i++) {
		for (j = 0; j < COUNT_OF(rooms); j++) {
			const struct room *room = room_find(slice_string(rooms[j]));

			if (anew)
				users[i].sees[j] = false;
			users[i].sees[j] |= room != NULL && access_real_jids(room, slice_string(users[i].jid));
		}
	}
}

/* -- steps -------------------------------------------------------------------------------------------- */

/* Writes a payload with who and what it is about in it. */
static struct slice
payload_make(struct fuzz *f, struct buf *out)
{
	uint8_t choice = fuzz_byte(f);
	const char *text;

	if (choice >= COUNT_OF(payloads))
		return fuzz_take(f, choice & 63);
	for (text = payloads[choice]; *text != '\0'; text++) {
		uint8_t b = *text == '%' ? fuzz_byte(f) : 0;
		/* The last of the users is named by no payload. */
		const char *jid = users[b % (COUNT_OF(users) - 1)].jid;

		if (*text != '%') {
			buf_add_char(out, *text);
			continue;
		}
		text++;
		if (*text == 'j')
			buf_add_slice(out, jid_bare_of(slice_string(jid)));
		else
			buf_add_string(out, *text == 'n' ? nicks[b % COUNT_OF(nicks)] : rooms[b % COUNT_OF(rooms)]);
	}
	return buf_slice(out);
}

static void
address_make(struct fuzz *f, struct buf *to)
{
	uint8_t choice = fuzz_byte(f);

	if (choice % 16 == 15) {
		buf_add_string(to, DOMAIN);
		return;
	}
	buf_add_string(to, rooms[choice & 1]);
	if (choice & 2)
		return;
	buf_add_char(to, '/');
	buf_add_string(to, nicks[(choice >> 2) % COUNT_OF(nicks)]);
}

static void
give(struct frame *f)
{
	struct buf whole = { 0 };
	struct frame read;

	f->type = FRAME_STANZA;
	f->origin = ORIGIN;
	f->seq = ++last_seq;
	CHECK(frame_write(f, &whole) == OK && frame_read(buf_slice(&whole), &read) == OK);
	inbox_add(&read, buf_slice(&whole));
	buf_free(&whole);
}

/* What the router tells of a stanza beside it. */
static void
head_set(struct frame *f)
{
	struct xmlin_element child;
	struct xmlin in;

	xmlin_begin(&in, f->payload, SLICE(NS_CLIENT));
	if (xmlin_child(&in, &child)) {
		f->name = child.name;
		f->ns = child.ns;
	}
	f->flags = FLAG_CONTENT;
}

static void
step_stanza(struct fuzz *fuzz, uint8_t choice)
{
	static const struct {
		enum stanza_kind kind;
		enum stanza_type type;
	} types[] = { { STANZA_PRESENCE, TYPE_AVAILABLE }, { STANZA_PRESENCE, TYPE_UNAVAILABLE },
		{ STANZA_PRESENCE, TYPE_ERROR }, { STANZA_MESSAGE, TYPE_GROUPCHAT }, { STANZA_MESSAGE, TYPE_NORMAL },
		{ STANZA_MESSAGE, TYPE_CHAT }, { STANZA_MESSAGE, TYPE_ERROR }, { STANZA_IQ, TYPE_GET },
		{ STANZA_IQ, TYPE_SET }, { STANZA_IQ, TYPE_RESULT } };
	const struct user *u = &users[fuzz_byte(fuzz) % COUNT_OF(users)];
	struct buf payload = { 0 }, to = { 0 };
	struct frame f = { .kind = types[choice % COUNT_OF(types)].kind, .subtype = types[choice % COUNT_OF(types)].type,
		.from = slice_string(u->jid), .handle = u->handle, .id = SLICE("i1"), .stamp = now };

	address_make(fuzz, &to);
	f.to = buf_slice(&to);
	f.payload = payload_make(fuzz, &payload);
	head_set(&f);
	if (stanza_is_canonical(&f) && !tells(f.payload))
		give(&f);
	buf_free(&payload);
	buf_free(&to);
}

static void
step_gone(struct fuzz *fuzz)
{
	uint64_t handle = users[fuzz_byte(fuzz) % COUNT_OF(users)].handle;
	struct frame f = { .type = FRAME_OCCUPANTS, .numbers = { (const char *)&handle, sizeof handle } }, read;
	struct buf whole = { 0 };

	CHECK(frame_write(&f, &whole) == OK && frame_read(buf_slice(&whole), &read) == OK);
	CHECK(inbox_add(&read, buf_slice(&whole)));
	buf_free(&whole);
}

/* The router has all. */
static void
ack_all(void)
{
	struct slice rest = buf_slice(&sent), whole;
	struct frame f, ack = { .type = FRAME_ACK, .origin = daemon_incarnation() };
	struct buf pairs = { 0 };

	while (frame_next(rest, &whole) == OK && frame_read(whole, &f) == OK) {
		rest = slice_part(rest, whole.len, rest.len);
		buf_add_u64(&pairs, f.seq);
		buf_add_u64(&pairs, f.seq);
	}
	ack.numbers = buf_slice(&pairs);
	outbox_acked(&ack);
	buf_free(&pairs);
	buf_clear(&sent);
}

static void
step(struct fuzz *fuzz)
{
	uint8_t choice = fuzz_byte(fuzz);

	note_sight(true);
	if (choice < 230) {
		step_stanza(fuzz, choice);
	} else if (choice < 236) {
		step_gone(fuzz);
	} else if (choice < 242) {
		now += 1000ull * (1u << (choice & 7)) * 60;
		inbox_tick();
	} else if (choice < 246) {
		rooms_forget();
	} else if (choice < 250) {
		again = true;
		outbox_resend();
		again = false;
	} else {
		ack_all();
	}
	CHECK(inbox_run(now) == OK);
	note_sight(false);
	check_fresh();
	check_all();
}

/* What one input did does not matter to the next. */
static void
end(void)
{
	struct room *room;
	size_t i;

	for (i = 0; i < COUNT_OF(rooms); i++) {
		room = room_find(slice_string(rooms[i]));
		if (room != NULL)
			owner_destroy(room, SLICE_NONE, SLICE_NONE, SLICE_NONE);
	}
	CHECK(inbox_commit() == OK);
	ack_all();
	CHECK(inbox_commit() == OK);
	CHECK(store_count(store, TABLE_CLIENT) == 0 && store_count(store, TABLE_AFFILIATION) == 0);
	CHECK(store_count(store, TABLE_ROOM) == 0 && store_count(store, TABLE_OUTBOX) == 0);
	now += 7200 * 1000;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz f = fuzz_begin(data, size);

	while (fuzz_left(&f) != 0)
		step(&f);
	end();
	return 0;
}
