/*
 * test_room_engine.c: the rooms of mucd from frames to what they say, on a store in a temporary directory: entering,
 * messages, the outbox, a commit that fails, and what is left after a kill.
 *
 * Links: mucd
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "log.h"
#include "mucd.h"
#include "ns.h"

#define DOMAIN "rooms.test"
#define ORIGIN 7

static char directory[64];
static uint64_t now = 1790000000000ull, last_seq;
static struct buf sent, answered; /* frames */
static struct buf acked;          /* seqs */
static bool up = true;

/* -- in place of the process -- */

uint32_t daemon_incarnation(void) { return 42; }
uint64_t daemon_now(void) { return now; }
uint64_t daemon_ticks(void) { return now; }
void daemon_dirty(void) { }
bool daemon_router_up(void) { return up; }
struct link *daemon_router(void) { return up ? (struct link *)&up : NULL; }
bool link_full(const struct link *link) { (void)link; return false; }
void link_send_raw(struct link *link, struct slice frame) { (void)link; buf_add_slice(&sent, frame); }
void daemon_send(const struct frame *f) { frame_write(f, &answered); }
void daemon_ack(const struct frame *f) { buf_add_u64(&acked, f->seq); }
void daemon_refuse(const struct frame *f, const char *reason) { (void)f; (void)reason; fail(); }
struct slice daemon_command_data(void) { return SLICE_NONE; }

/* -- helpers -- */

static void
open_all(void)
{
	static const char text[] =
	    "rooms\t" DOMAIN "\tcreate\tall\nrooms\t" DOMAIN "\tname\tRooms\nrooms\t" DOMAIN "\trooms\t100\n"
	    "rooms\t" DOMAIN "\trooms-per-user\t100\nrooms\t" DOMAIN "\toccupants\t3\nrooms\t" DOMAIN "\tjoined\t5\n"
	    "rooms\t" DOMAIN "\thistory\t20\nrooms\t" DOMAIN "\thistory-most\t100\nrooms\t" DOMAIN "\tmessage-rate\t2\n"
	    "rooms\t" DOMAIN "\tidle-time\t100\nrooms\t" DOMAIN "\tsilence\t60\n";
	struct config *config;

	assert_int_equal(config_read(slice_string(text), &config), OK);
	assert_int_equal(domains_configure(config), OK);
	config_free(&config);
	assert_int_equal(state_open(directory), OK);
	assert_int_equal(outbox_open(), OK);
	assert_int_equal(inbox_open(), OK);
	assert_int_equal(rooms_open(), OK);
}

static void
give(struct frame f)
{
	struct buf whole = { 0 };
	struct frame read;

	f.type = FRAME_STANZA;
	if (f.seq == 0) {
		f.origin = ORIGIN;
		f.seq = ++last_seq;
	}
	assert_int_equal(frame_write(&f, &whole), OK);
	assert_int_equal(frame_read(buf_slice(&whole), &read), OK);
	assert_true(inbox_add(&read, buf_slice(&whole)));
	buf_free(&whole);
}

static void
presence(const char *from, uint64_t handle, const char *to, enum stanza_type type, const char *payload)
{
	give((struct frame){ .kind = STANZA_PRESENCE, .subtype = type, .handle = handle, .from = slice_string(from),
		.to = slice_string(to), .payload = slice_string(payload) });
}

static void
say(const char *from, uint64_t handle, const char *to, const char *payload)
{
	give((struct frame){ .kind = STANZA_MESSAGE, .subtype = TYPE_GROUPCHAT, .handle = handle, .flags = FLAG_CONTENT,
		.from = slice_string(from), .to = slice_string(to), .payload = slice_string(payload), .id = SLICE("i") });
}

#define MUC_X "<x xmlns='" NS_MUC "'/>"

/* Enters a room that is made persistent and unlocked at once. */
static struct room *
room_with(const char *jid, const char *owner, uint64_t handle)
{
	char to[128];
	struct room *room;

	snprintf(to, sizeof to, "%s/owner", jid);
	presence(owner, handle, to, TYPE_AVAILABLE, MUC_X);
	assert_int_equal(inbox_run(now), OK);
	room = room_find(slice_string(jid));
	assert_non_null(room);
	room->locked = false;
	room->config.persistent = true;
	room_save(room);
	assert_int_equal(inbox_commit(), OK);
	buf_clear(&sent);
	buf_clear(&answered);
	return room;
}

/* Writes what is in a run of frames, a word for each: kind, resource of from, number of receivers. */
static const char *
words(const struct buf *frames)
{
	static char text[4096];
	struct slice rest = buf_slice(frames), whole;
	struct frame f;
	size_t at = 0;

	text[0] = '\0';
	while (frame_next(rest, &whole) == OK && frame_read(whole, &f) == OK) {
		struct jid from = { 0 };

		rest = slice_part(rest, whole.len, rest.len);
		if (f.type == FRAME_STANZA && f.from.ptr != NULL)
			jid_split(f.from, &from);
		at += (size_t)snprintf(text + at, sizeof text - at, "%s%s%s:%.*s:%zu", at != 0 ? " " : "",
		    f.type == FRAME_STANZA ? stanza_kind_text(f.kind) : frame_text(f.type),
		    f.subtype == TYPE_UNAVAILABLE ? "-" : f.subtype == TYPE_ERROR ? "!" : "",
		    SLICE_ARG(from.resource), frame_count(&f));
	}
	return text;
}

/* The router says that all of it has arrived. */
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

/* -- tests -- */

/* What a killed process has left: who is in the room, and what has not arrived, in its order. */
static void
test_killed(void **state)
{
	uint64_t number = 0;
	struct slice rest, whole;
	struct room *room;
	struct frame f;
	pid_t child = fork();
	int status;

	(void)state;
	if (child == 0) {
		open_all();
		room_with("hall@" DOMAIN, "juliet@a.test/balcony", 11);
		presence("romeo@b.test/orchard", 0, "hall@" DOMAIN "/romeo", TYPE_AVAILABLE, MUC_X "<status>here</status>");
		say("juliet@a.test/balcony", 11, "hall@" DOMAIN, "<body>wherefore</body>");
		inbox_run(now);
		_exit(0);
	}
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_int_equal(status, 0);
	last_seq = 3;
	open_all();
	room = room_find(SLICE("hall@" DOMAIN));
	assert_non_null(room);
	assert_int_equal(room->occupant_count, 2);
	assert_int_equal(client_find(room, SLICE("juliet@a.test/balcony"))->handle, 11);
	assert_int_equal(affiliation_of(room, SLICE("juliet@a.test")), AFFILIATION_OWNER);
	assert_true(slice_is(buf_slice(&client_find(room, SLICE("romeo@b.test/orchard"))->presence),
	    "<status>here</status>"));
	buf_clear(&sent);
	outbox_resend();
	rest = buf_slice(&sent);
	while (frame_next(rest, &whole) == OK && frame_read(whole, &f) == OK) {
		rest = slice_part(rest, whole.len, rest.len);
		assert_int_equal(f.origin, daemon_incarnation());
		assert_true(f.number > number);
		number = f.number;
	}
	assert_true(number >= now << 20); /* above all that a store said that was restored since */
	assert_true(slice_starts(f.payload, SLICE("<body>wherefore</body><occupant-id xmlns='" NS_OCCUPANT_ID "' id='")));
	assert_int_equal(f.token.len, ONCE_SIZE);
	assert_true(f.flags & FLAG_STORE && f.flags & FLAG_ROOM);
	assert_true(slice_is(f.jid, "juliet@a.test"));
	assert_true(slice_is(f.text, "romeo@b.test/orchard\n"));
	/* What the dead one had taken is acknowledged again, and not done again. */
	buf_clear(&sent);
	last_seq = 2;
	say("juliet@a.test/balcony", 11, "hall@" DOMAIN, "<body>wherefore</body>");
	assert_int_equal(inbox_run(now), OK);
	assert_int_equal(buf_len(&sent), 0);
	assert_int_equal(buf_len(&acked), 8);
	last_seq = 100;
}

/* Rows go when all of them has arrived, with a later commit. */
static void
test_rows(void **state)
{
	(void)state;
	buf_clear(&sent);
	outbox_resend();
	ack_all();
	assert_false(outbox_idle());
	assert_int_equal(inbox_commit(), OK);
	assert_true(outbox_idle());
	assert_int_equal(store_count(store, TABLE_OUTBOX), 0);
	outbox_resend();
	assert_int_equal(buf_len(&sent), 0);
}

/* Entering: presences of the others, the own, history, subject; and to the others. */
static void
test_order(void **state)
{
	struct room *room = room_with("order@" DOMAIN, "a@a.test/1", 21);

	(void)state;
	presence("b@a.test/1", 22, "order@" DOMAIN "/b", TYPE_AVAILABLE, MUC_X);
	say("b@a.test/1", 22, "order@" DOMAIN, "<body>1</body>");
	presence("b@a.test/1", 22, "order@" DOMAIN "/b", TYPE_UNAVAILABLE, "");
	assert_int_equal(inbox_run(now), OK);
	assert_string_equal(words(&sent),
	    "presence:owner:1 presence:b:1 presence:b:1 HISTORY::2 message::1 message:b:2 presence-:b:1 presence-:b:1");
	assert_int_equal(room->client_count, 1);
	ack_all();
}

/* When a commit fails nothing has happened, and the same is handled again. */
static void
test_commit_fails(void **state)
{
	const struct rlimit none = { 4096, RLIM_INFINITY }, all = { RLIM_INFINITY, RLIM_INFINITY };
	struct room *room;

	(void)state;
	room_with("full@" DOMAIN, "a@a.test/1", 31);
	buf_clear(&acked);
	presence("b@a.test/1", 32, "full@" DOMAIN "/b", TYPE_AVAILABLE, MUC_X);
	presence("x@a.test/1", 33, "full@" DOMAIN, TYPE_AVAILABLE, MUC_X);
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &none), 0);
	assert_int_not_equal(inbox_run(now), OK);
	assert_int_equal(buf_len(&sent) + buf_len(&answered) + buf_len(&acked), 0);
	room = room_find(SLICE("full@" DOMAIN));
	assert_non_null(room);
	assert_int_equal(room->client_count, 1);
	assert_int_not_equal(inbox_run(now), OK);
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &all), 0);
	assert_int_equal(inbox_run(now), OK);
	room = room_find(SLICE("full@" DOMAIN));
	assert_int_equal(room->client_count, 2);
	assert_string_equal(words(&answered), "presence!::0");
	assert_string_equal(words(&sent), "presence:owner:1 presence:b:1 presence:b:1 HISTORY::2 message::1");
	assert_int_equal(buf_len(&acked), 16);
	ack_all();
}

/* One nick with several clients: the last presence counts, and who leaves while others stay tells itself alone. */
static void
test_clients(void **state)
{
	struct room *room = room_with("shared@" DOMAIN, "a@a.test/1", 41);
	struct occupant *o;

	(void)state;
	presence("b@a.test/1", 42, "shared@" DOMAIN "/b", TYPE_AVAILABLE, MUC_X "<status>one</status>");
	now++;
	presence("b@a.test/2", 43, "shared@" DOMAIN "/b", TYPE_AVAILABLE, MUC_X "<status>two</status>");
	assert_int_equal(inbox_run(now), OK);
	o = occupant_find(room, SLICE("b"));
	assert_int_equal(room->occupant_count, 2);
	assert_true(slice_is(client_jid(TAILQ_LAST(&o->clients, clients)), "b@a.test/2"));
	now++;
	presence("b@a.test/1", 42, "shared@" DOMAIN "/b", TYPE_AVAILABLE, "<status>again</status>");
	assert_int_equal(inbox_run(now), OK);
	assert_true(slice_is(client_jid(TAILQ_LAST(&o->clients, clients)), "b@a.test/1"));
	rooms_forget();
	room = room_find(SLICE("shared@" DOMAIN));
	o = occupant_find(room, SLICE("b"));
	assert_true(slice_is(client_jid(TAILQ_LAST(&o->clients, clients)), "b@a.test/1"));
	assert_int_equal(clients_of_account(SLICE("b@a.test")), 3); /* and in full@ */
	buf_clear(&sent);
	presence("b@a.test/1", 42, "shared@" DOMAIN "/b", TYPE_UNAVAILABLE, "");
	assert_int_equal(inbox_run(now), OK);
	assert_string_equal(words(&sent), "presence-:b:1");
	/* A session that has ended takes its clients along; the successor of one does not go with it. */
	buf_clear(&sent);
	give((struct frame){ .kind = STANZA_PRESENCE, .subtype = TYPE_AVAILABLE, .handle = 53, .from = SLICE("b@a.test/2"),
		.to = SLICE("shared@" DOMAIN "/b"), .payload = SLICE(MUC_X) });
	assert_int_equal(inbox_run(now), OK);
	assert_int_equal(client_find(room, SLICE("b@a.test/2"))->handle, 53);
	ack_all();
}

/* Nobody more than there is room for, and no more messages than there may be. */
static void
test_limits(void **state)
{
	int i;

	(void)state;
	room_with("small@" DOMAIN, "a@a.test/1", 61);
	presence("c@a.test/1", 62, "small@" DOMAIN "/c", TYPE_AVAILABLE, MUC_X);
	presence("d@a.test/1", 63, "small@" DOMAIN "/d", TYPE_AVAILABLE, MUC_X);
	presence("e@a.test/1", 64, "small@" DOMAIN "/e", TYPE_AVAILABLE, MUC_X);
	assert_int_equal(inbox_run(now), OK);
	assert_string_equal(words(&answered), "presence!:e:0");
	ack_all();
	buf_clear(&answered);
	for (i = 0; i < 8; i++)
		say("c@a.test/1", 62, "small@" DOMAIN, "<body>x</body>");
	assert_int_equal(inbox_run(now), OK);
	assert_string_equal(words(&answered), "message!::0 message!::0");
	buf_clear(&answered);
	now += 500;
	say("c@a.test/1", 62, "small@" DOMAIN, "<body>x</body>");
	assert_int_equal(inbox_run(now), OK);
	assert_int_equal(buf_len(&answered), 0);
	ack_all();
}

/* Who is elsewhere and silent is asked, and leaves when it does not answer; a room that nobody uses ends. */
static void
test_watch(void **state)
{
	struct room *room = room_with("silent@" DOMAIN, "a@a.test/1", 71);

	(void)state;
	presence("far@b.test/1", 0, "silent@" DOMAIN "/far", TYPE_AVAILABLE, MUC_X);
	assert_int_equal(inbox_run(now), OK);
	ack_all();
	now += 61 * 1000;
	inbox_tick();
	assert_int_equal(inbox_run(now), OK);
	assert_non_null(strstr(words(&answered), "iq::0"));
	now += 60 * 1000;
	inbox_tick();
	assert_int_equal(inbox_run(now), OK);
	assert_non_null(client_find(room, SLICE("far@b.test/1")));
	now += 61 * 1000;
	buf_clear(&sent);
	inbox_tick();
	assert_int_equal(inbox_run(now), OK);
	assert_null(client_find(room, SLICE("far@b.test/1")));
	assert_non_null(strstr(words(&sent), "presence-:far:1"));
	ack_all();
	presence("a@a.test/1", 71, "silent@" DOMAIN "/owner", TYPE_UNAVAILABLE, "");
	assert_int_equal(inbox_run(now), OK);
	assert_non_null(room_find(SLICE("silent@" DOMAIN)));
	now += 200 * 1000;
	buf_clear(&sent);
	inbox_tick();
	assert_int_equal(inbox_run(now), OK);
	assert_null(room_find(SLICE("silent@" DOMAIN)));
	assert_non_null(strstr(words(&sent), "FORGET"));
	ack_all();
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_killed), cmocka_unit_test(test_rows), cmocka_unit_test(test_order),
		cmocka_unit_test(test_commit_fails), cmocka_unit_test(test_clients), cmocka_unit_test(test_limits),
		cmocka_unit_test(test_watch),
	};
	char path[96];
	int failed;

	snprintf(directory, sizeof directory, "/tmp/aldis-test-XXXXXX");
	if (mkdtemp(directory) == NULL)
		return 1;
	signal(SIGXFSZ, SIG_IGN);
	log_set_level(LOG_LEVEL_ERROR);
	failed = cmocka_run_group_tests(tests, NULL, NULL);
	snprintf(path, sizeof path, "%s/data.mdb", directory);
	unlink(path);
	snprintf(path, sizeof path, "%s/lock.mdb", directory);
	unlink(path);
	rmdir(directory);
	return failed;
}
