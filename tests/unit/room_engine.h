/*
 * room_engine.h: mucd whole but for its process, for unit tests: stanzas go in as frames, and what rooms say and
 * answer comes out as frames, with a store in a temporary directory.
 */
#ifndef ALDIS_TEST_ROOM_ENGINE_H
#define ALDIS_TEST_ROOM_ENGINE_H

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

static inline void
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

static inline void
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

static inline void
presence(const char *from, uint64_t handle, const char *to, enum stanza_type type, const char *payload)
{
	give((struct frame){ .kind = STANZA_PRESENCE, .subtype = type, .handle = handle, .from = slice_string(from),
		.to = slice_string(to), .payload = slice_string(payload) });
}

static inline void
say(const char *from, uint64_t handle, const char *to, const char *payload)
{
	give((struct frame){ .kind = STANZA_MESSAGE, .subtype = TYPE_GROUPCHAT, .handle = handle, .flags = FLAG_CONTENT,
		.from = slice_string(from), .to = slice_string(to), .payload = slice_string(payload), .id = SLICE("i") });
}

#define MUC_X "<x xmlns='" NS_MUC "'/>"

/* Enters a room that is made persistent and unlocked at once. */
static inline struct room *
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
static inline const char *
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

/* Frames as text: type or kind, receivers, payload; a line for each. */
static inline const char *
texts(struct buf *frames)
{
	static char text[65536];
	struct slice rest = buf_slice(frames), whole;
	struct frame f;
	size_t at = 0;

	text[0] = '\0';
	while (frame_next(rest, &whole) == OK && frame_read(whole, &f) == OK) {
		rest = slice_part(rest, whole.len, rest.len);
		assert_true(f.type != FRAME_STANZA || stanza_is_canonical(&f));
		at += (size_t)snprintf(text + at, sizeof text - at, "%s %s %.*s %zu: %.*s\n",
		    f.type == FRAME_STANZA ? stanza_kind_text(f.kind) : frame_text(f.type),
		    f.subtype == TYPE_UNAVAILABLE ? "gone" : f.subtype == TYPE_ERROR ? "error" : "", SLICE_ARG(f.from), frame_count(&f),
		    SLICE_ARG(f.payload));
		assert_true(at < sizeof text);
	}
	return text;
}

static inline void
has(const char *text, const char *part)
{
	if (strstr(text, part) == NULL)
		fail_msg("\"%s\" is not in \"%s\"", part, text);
}

static inline void
has_not(const char *text, const char *part)
{
	if (strstr(text, part) != NULL)
		fail_msg("\"%s\" is in \"%s\"", part, text);
}

/* The router says that all of it has arrived. */
static inline void
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

/* Runs tests with a directory for the store. */
static inline int
engine_tests(int (*tests)(void))
{
	char path[96];
	int failed;

	snprintf(directory, sizeof directory, "/tmp/aldis-test-XXXXXX");
	if (mkdtemp(directory) == NULL)
		return 1;
	signal(SIGXFSZ, SIG_IGN);
	log_set_level(LOG_LEVEL_ERROR);
	failed = tests();
	snprintf(path, sizeof path, "%s/data.mdb", directory);
	unlink(path);
	snprintf(path, sizeof path, "%s/lock.mdb", directory);
	unlink(path);
	rmdir(directory);
	return failed;
}

#endif
