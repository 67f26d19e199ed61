/*
 * test_room_archive.c: messages of rooms in archived: stored once, in the histories of those who enter, asked for,
 * taken back, forgotten.
 *
 * Links: archived
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#include "archived.h"
#include "counter.h"
#include "jid.h"
#include "ns.h"

#define ROOM    "coven@rooms.example"
#define OTHER   "heath@rooms.example"
#define FIRST   "hag66@shakespeare.example"
#define SECOND  "wiccarocks@shakespeare.example"
#define NOW     1790000000000ull
#define DAY     (24ull * 3600 * 1000)
#define SESSION HANDLE(5, 9)
#define NO_LIMIT UINT64_MAX

static char directory[64];
static uint64_t now = NOW, seq, number; /* ids grow from test to test, so the time does */
static uint32_t origin;
static struct out out;
static struct slice receivers; /* elsewhere, of what queue() makes */
static char said[65536];   /* what was answered, in words */
static uint64_t ids[256];  /* of the messages of a test, in the order in which they got them */
static size_t id_count;
static uint64_t last_spooled;

/* -- surroundings -- */

static void
configure(const char *text)
{
	struct config *config;

	assert_int_equal(config_read(slice_string(text), &config), OK);
	retention_configure(config);
	config_free(&config);
}

static void
open_store(void)
{
	assert_int_equal(state_open(directory, 64u << 20, 1000, now), OK);
	assert_int_equal(search_open(directory), OK);
	configure("rooms\trooms.example\tarchive-time\t0\nrooms\trooms.example\tarchive-size\t0\n");
}

static void
close_store(void)
{
	search_close();
	retention_close();
	state_close();
}

static int
setup(void **arg)
{
	(void)arg;
	snprintf(directory, sizeof directory, "/tmp/test_room_archive.XXXXXX");
	assert_non_null(mkdtemp(directory));
	seq = number = 0;
	origin = 20;
	receivers = SLICE_NONE;
	id_count = 0;
	now += DAY;
	state.index_copies = 32768;
	state.page_messages = 50;
	redact_scrub();
	open_store();
	return 0;
}

static int
teardown(void **arg)
{
	static const char *const files[] = { "data.mdb", "lock.mdb", TEXTFILE_NAME, TEXTFILE_NAME "-wal" };
	char path[128];
	size_t i;

	(void)arg;
	close_store();
	buf_free(&out.frames);
	buf_free(&out.acks);
	for (i = 0; i < sizeof files / sizeof files[0]; i++) {
		snprintf(path, sizeof path, "%s/%s", directory, files[i]);
		unlink(path);
	}
	return rmdir(directory);
}

static void
add(const struct frame *f)
{
	struct buf bytes = { 0 };

	assert_int_equal(frame_write(f, &bytes), OK);
	assert_true(batch_add(f->type, buf_slice(&bytes)));
	buf_free(&bytes);
}

static struct slice
token_of(uint64_t n, char token[ONCE_SIZE])
{
	store_key_u64(token, 0x1122334455667788);
	store_key_u64(token + 8, n);
	return slice_of(token, ONCE_SIZE);
}

static struct frame
message_of(const char *from, const char *sender, const char *payload)
{
	return (struct frame){ .type = FRAME_STANZA, .kind = STANZA_MESSAGE, .subtype = TYPE_GROUPCHAT,
		.flags = FLAG_STORE | FLAG_FROM_LOCAL | FLAG_ROOM | FLAG_CONTENT, .origin = origin, .seq = ++seq,
		.from = slice_string(from), .to = jid_bare_of(slice_string(from)), .id = SLICE("m"),
		.jid = slice_string(sender), .payload = slice_string(payload), .stamp = now };
}

/* Queues a message as mucd sends it. */
static void
queue(const char *from, const char *sender, const char *payload)
{
	static const uint64_t handles[] = { HANDLE(5, 1), HANDLE(6, 2) };
	struct frame f = message_of(from, sender, payload);
	char token[ONCE_SIZE];

	f.number = ++number;
	f.token = token_of(number, token);
	f.numbers = slice_of((const char *)handles, sizeof handles);
	f.text = receivers;
	add(&f);
}

/* -- what is answered -- */

static void
say(const char *format, ...) __attribute__((format(printf, 1, 2)));

static void
say(const char *format, ...)
{
	size_t len = strlen(said);
	va_list args;

	va_start(args, format);
	vsnprintf(said + len, sizeof said - len, format, args);
	va_end(args);
}

/* Writes text with archive ids as #1, #2, ... */
static void
say_ids(struct slice text)
{
	uint64_t id;
	size_t i, j;

	for (i = 0; i < text.len; i++) {
		if (stanza_archive_id_read(slice_part(text, i, 16), &id) == OK) {
			for (j = 0; j < id_count && ids[j] != id; j++)
				;
			if (j < id_count) {
				say("#%zu", j + 1);
				i += 15;
				continue;
			}
		}
		say("%c", text.ptr[i]);
	}
}

/* The number of an id; one that is new is noted. */
static size_t
id_number(uint64_t id)
{
	size_t i;

	for (i = 0; i < id_count && ids[i] != id; i++)
		;
	if (i == id_count) {
		assert_true(id_count < sizeof ids / sizeof ids[0]);
		ids[id_count++] = id;
	}
	return i + 1;
}

static void
say_history(const struct frame *f)
{
	assert_int_equal(f->subtype, TYPE_GROUPCHAT);
	assert_true((f->flags & (FLAG_ROOM | FLAG_SPOOL)) == (FLAG_ROOM | FLAG_SPOOL));
	assert_false(f->flags & (FLAG_STORE | FLAG_FROM_LOCAL | FLAG_TO_LOCAL));
	assert_null(f->jid.ptr);
	assert_null(f->token.ptr);
	assert_null(f->numbers.ptr);
	assert_null(f->text.ptr);
	assert_true(f->origin == 0 && f->seq == 0 && f->handle == SESSION && f->number == 77);
	assert_true(f->stamp != 0 && stanza_is_canonical(f));
	say("#%zu %.*s; ", id_number(f->archive_id), SLICE_ARG(f->payload));
}

static void
say_error(const struct frame *f)
{
	struct xmlin_element error, condition;
	struct xmlin in;

	assert_true(xmlin_find(f->payload, SLICE(NS_CLIENT), "error", NS_CLIENT, &error));
	xmlin_begin(&in, error.content, error.ns);
	assert_true(xmlin_child(&in, &condition));
	say("%.*s; ", SLICE_ARG(condition.name));
}

/* A result: the message in it, as it is forwarded. */
static void
say_result(const struct frame *f)
{
	struct xmlin_element result, forwarded, message;
	struct buf scratch = { 0 };
	struct slice id;

	assert_true(xmlin_find(f->payload, SLICE(NS_CLIENT), "result", NS_MAM, &result));
	assert_int_equal(xmlin_attribute(&result, "id", &scratch, &id), OK);
	say_ids(id);
	assert_true(xmlin_find(result.content, result.ns, "forwarded", NS_FORWARD, &forwarded));
	assert_true(xmlin_find(forwarded.content, forwarded.ns, "message", NS_CLIENT, &message));
	assert_int_equal(xmlin_attribute(&message, "from", &scratch, &id), OK);
	say(" %.*s: %.*s; ", SLICE_ARG(id), SLICE_ARG(message.content));
	assert_int_equal(xmlin_attribute(&message, "to", &scratch, &id), E_NOT_FOUND);
	buf_free(&scratch);
}

/* What is on the spool of a domain. */
static void
say_spooled(const struct frame *f)
{
	struct slice rest = f->text, line;

	assert_true((f->flags & FLAG_ROOM) && (f->flags & FLAG_TO_REMOTE) && f->stamp != 0 && frame_count(f) <= 1);
	assert_true(f->archive_id > last_spooled || f->type == FRAME_STANZA);
	assert_null(f->jid.ptr);
	last_spooled = f->archive_id;
	say("to %.*s: ", SLICE_ARG(f->to));
	while (slice_line(&rest, &line))
		say("%.*s%s", SLICE_ARG(line), rest.len != 0 ? " " : "; ");
	if (frame_count(f) == 1)
		say("#%zu ", id_number(frame_at(f, 0)));
	say("%.*s; ", SLICE_ARG(f->payload));
}

static void
say_frame(const struct frame *f)
{
	size_t i;

	if (f->type == FRAME_STORED) {
		for (i = 0; i < frame_count(f); i += 3) {
			assert_int_equal(frame_at(f, i + 2), 0);
			if (frame_at(f, i + 1) == 0 || frame_at(f, i + 1) == STORED_REFUSED)
				say("stored %s; ", frame_at(f, i + 1) == 0 ? "before" : "not");
			else
				say("stored #%zu; ", id_number(frame_at(f, i + 1)));
		}
	} else if (f->type == FRAME_SPOOLED && f->archive_id != 0) {
		say_spooled(f);
	} else if (f->type == FRAME_SPOOLED) {
		say("error to %.*s from %.*s: ", SLICE_ARG(f->to), SLICE_ARG(f->from));
		say_error(f);
	} else if (f->type == FRAME_DRAINED) {
		say("drained; ");
	} else if (f->type == FRAME_HISTORY_END) {
		assert_true(f->origin == origin && f->seq != 0);
		say("end; ");
	} else if (f->type == FRAME_STANZA && (f->flags & (FLAG_SPOOL | FLAG_TO_REMOTE)) == (FLAG_SPOOL | FLAG_TO_REMOTE)) {
		assert_int_equal(f->handle, SESSION);
		say_spooled(f);
	} else if (f->type == FRAME_STANZA && (f->flags & FLAG_SPOOL)) {
		say_history(f);
	} else if (f->type == FRAME_STANZA) {
		assert_true(slice_is(f->from, ROOM) && stanza_is_canonical(f));
		if (f->kind == STANZA_MESSAGE)
			say_result(f);
		else if (f->subtype == TYPE_ERROR)
			say_error(f);
		else
			say_ids(f->payload);
	}
}

static void
say_all(void)
{
	struct slice whole, rest = buf_slice(&out.frames);
	struct frame f;

	while (frame_next(rest, &whole) == OK) {
		assert_int_equal(frame_read(whole, &f), OK);
		say_frame(&f);
		rest = slice_part(rest, whole.len, rest.len);
	}
	assert_int_equal(rest.len, 0);
	buf_clear(&out.frames);
}

/* Has the index of words done what is to be done. */
static void
index_words(void)
{
	static uint64_t ticks;

	ticks += 10000;
	while (search_when() != UINT64_MAX && search_when() <= ticks && search_prepare(ticks)) {
		search_work();
		search_finish(ticks);
	}
}

/* Runs transactions and requests until nothing waits, and says what they answered. */
static const char *
answers(void)
{
	said[0] = '\0';
	while (batch_bytes() != 0) {
		assert_int_equal(batch_run(now, &out), OK);
		say_all();
	}
	for (index_words(); mam_pending(); index_words()) {
		assert_int_equal(mam_step(&out), OK);
		say_all();
	}
	return said;
}

/* Takes what is acknowledged: their numbers, in words. */
static const char *
acks(void)
{
	uint64_t pair[2];
	size_t i;

	said[0] = '\0';
	for (i = 0; i < buf_len(&out.acks); i += sizeof pair) {
		memcpy(pair, buf_slice(&out.acks).ptr + i, sizeof pair);
		assert_int_equal(pair[0], origin);
		say("%llu ", (unsigned long long)pair[1]);
	}
	buf_clear(&out.acks);
	return said;
}

static void
message(const char *from, const char *sender, const char *payload)
{
	size_t before = id_count;

	now += 1000;
	queue(from, sender, payload);
	answers();
	assert_int_equal(id_count, before + 1);
}

static void
three(void)
{
	message(ROOM "/first", FIRST, "<body>one</body>");
	message(ROOM "/second", SECOND, "<body>two</body>");
	message(ROOM "/first", FIRST, "<body>three</body>");
}

static void
history_queue(uint64_t messages, uint64_t characters, uint64_t since)
{
	uint64_t limits[] = { messages, characters };
	struct frame f = { .type = FRAME_HISTORY, .origin = origin, .seq = ++seq, .jid = SLICE(ROOM),
		.handle = SESSION, .from = SLICE(FIRST "/x"), .number = 77, .stamp = since,
		.numbers = slice_of((const char *)limits, sizeof limits) };

	add(&f);
}

static const char *
history(uint64_t messages, uint64_t characters, uint64_t since)
{
	history_queue(messages, characters, since);
	return answers();
}

static uint64_t
rows(enum table table)
{
	uint64_t count = store_count(state.store, table);

	store_abort(state.store);
	return count;
}

/* -- storing -- */

static void
test_stored(void **arg)
{
	struct frame f;
	uint64_t stamp;

	(void)arg;
	three();
	assert_int_equal(rows(TABLE_SPOOL), 0);
	assert_int_equal(rows(TABLE_MESSAGE), 3);
	assert_int_equal(message_get(ids[0], &stamp, &f), OK);
	assert_true(slice_is(f.jid, FIRST) && slice_is(f.to, ROOM) && slice_is(f.from, ROOM "/first"));
	assert_true(f.numbers.ptr == NULL && f.text.ptr == NULL && f.token.ptr == NULL && f.number == 0);
	assert_int_equal(stamp, now - 2000);
	store_abort(state.store);
	assert_int_equal(index_all(), OK);
	assert_int_equal(state_commit(), OK);
	assert_int_equal(rows(TABLE_ARCHIVE), 3);
	assert_int_equal(rows(TABLE_PEER), 3);
}

/* Sends all of them again. */
static void
again(uint64_t count)
{
	number = 0;
	while (number < count)
		queue(ROOM "/first", FIRST, "<body>again</body>");
}

static void
test_once(void **arg)
{
	(void)arg;
	three();
	/* The same mucd with its numbers, and one that has begun anew. */
	seq = 0;
	again(3);
	assert_string_equal(answers(), "stored #1; stored #2; stored #3; ");
	origin++;
	again(4);
	assert_string_equal(answers(), "stored #1; stored #2; stored #3; stored #4; ");
	close_store();
	open_store();
	again(4);
	assert_string_equal(answers(), "stored #1; stored #2; stored #3; stored #4; ");
	assert_int_equal(rows(TABLE_MESSAGE), 4);
	/* Both in one transaction. */
	queue(ROOM "/first", FIRST, "<body>five</body>");
	number--;
	queue(ROOM "/first", FIRST, "<body>five</body>");
	assert_string_equal(answers(), "stored #5; stored #5; ");
}

/* What is not to be archived has an id, and is stored once all the same. */
static void
test_no_store(void **arg)
{
	unsigned i;

	(void)arg;
	for (i = 0; i < 2; i++) {
		struct frame f = message_of(ROOM "/first", FIRST, "<body>secret</body>");
		char token[ONCE_SIZE];

		f.flags |= FLAG_NO_STORE;
		f.token = token_of(9, token);
		add(&f);
		assert_string_equal(answers(), "stored #1; ");
	}
	assert_int_equal(rows(TABLE_MESSAGE), 0);
	assert_string_equal(history(9, NO_LIMIT, 0), "end; ");
}

static void
test_wrong(void **arg)
{
	static const struct {
		const char *from, *to, *jid;
		size_t token;
		enum stanza_type type;
		uint32_t with, without;
	} tests[] = {
		{ ROOM "/first", ROOM, FIRST, 15, TYPE_GROUPCHAT, 0, 0 },
		{ ROOM "/first", ROOM, FIRST, 0, TYPE_GROUPCHAT, 0, 0 },
		{ ROOM "/first", ROOM, FIRST "/x", 16, TYPE_GROUPCHAT, 0, 0 },
		{ ROOM "/first", ROOM, "@", 16, TYPE_GROUPCHAT, 0, 0 },
		{ ROOM "/first", OTHER, FIRST, 16, TYPE_GROUPCHAT, 0, 0 },
		{ ROOM "/first", ROOM "/first", FIRST, 16, TYPE_GROUPCHAT, 0, 0 },
		{ ROOM "/first", NULL, FIRST, 16, TYPE_GROUPCHAT, 0, 0 },
		{ "rooms.example/first", "rooms.example", FIRST, 16, TYPE_GROUPCHAT, 0, 0 },
		{ NULL, ROOM, FIRST, 16, TYPE_GROUPCHAT, 0, 0 },
		{ ROOM "/first", ROOM, FIRST, 16, TYPE_CHAT, 0, 0 },
		{ ROOM "/first", ROOM, FIRST, 16, TYPE_ERROR, 0, 0 },
		{ ROOM "/first", ROOM, FIRST, 16, TYPE_GROUPCHAT, FLAG_TO_LOCAL, 0 },
		{ ROOM "/first", ROOM, FIRST, 16, TYPE_GROUPCHAT, FLAG_TO_REMOTE, 0 },
		{ ROOM "/first", ROOM, FIRST, 16, TYPE_GROUPCHAT, 0, FLAG_FROM_LOCAL },
		{ ROOM "/first", ROOM, FIRST, 16, TYPE_GROUPCHAT, 0, FLAG_STORE },
	};
	size_t i;

	(void)arg;
	for (i = 0; i < sizeof tests / sizeof tests[0]; i++) {
		struct frame f = message_of(ROOM "/first", tests[i].jid, "<body>x</body>");
		char token[ONCE_SIZE];

		f.from = slice_string(tests[i].from);
		f.to = slice_string(tests[i].to);
		f.subtype = tests[i].type;
		f.flags = (f.flags | tests[i].with) & ~tests[i].without;
		f.token = slice_part(token_of(1, token), 0, tests[i].token);
		add(&f);
		assert_string_equal(answers(), "stored not; ");
	}
	assert_int_equal(rows(TABLE_MESSAGE), 0);
	assert_int_equal(rows(TABLE_ACCOUNT), 0);
	/* An iq with the flag is none either. */
	struct frame f = message_of(ROOM "/first", FIRST, "<body>x</body>");
	f.kind = STANZA_IQ;
	f.subtype = TYPE_GET;
	add(&f);
	assert_string_equal(answers(), "stored not; ");
}

/* A message to somebody who is not in the room: as from a server elsewhere. */
static void
test_invitation(void **arg)
{
	struct frame f = message_of(ROOM, NULL, "<x xmlns='http://jabber.org/protocol/muc#user'/>");
	char token[ONCE_SIZE];

	(void)arg;
	f.flags = FLAG_STORE | FLAG_TO_LOCAL | FLAG_CONTENT;
	f.subtype = TYPE_NORMAL;
	f.to = SLICE(FIRST);
	f.token = token_of(1, token);
	add(&f);
	assert_int_equal(batch_run(now, &out), OK);
	buf_clear(&out.frames);
	assert_int_equal(rows(TABLE_SPOOL), 1);
	add(&f);
	assert_string_equal(answers(), "stored before; ");
	f.origin++;
	add(&f);
	assert_string_equal(answers(), "stored before; ");
	assert_int_equal(rows(TABLE_MESSAGE), 1);
}

/* -- receivers elsewhere -- */

static void
drain_queue(const char *domain)
{
	struct frame f = { .type = FRAME_DRAIN, .jid = slice_string(domain), .handle = SESSION, .number = 64,
		.stamp = UINT64_MAX };

	add(&f);
}

/* What is not for an archive: the presence of somebody. */
static void
presence_queue(const char *payload)
{
	struct frame f = message_of(ROOM "/first", NULL, payload);
	char token[ONCE_SIZE];

	f.kind = STANZA_PRESENCE;
	f.subtype = TYPE_AVAILABLE;
	f.flags = FLAG_ROOM;
	f.to = SLICE_NONE;
	f.number = ++number;
	f.token = token_of(number, token);
	f.text = receivers;
	add(&f);
}

#define TWO_DOMAINS "a@one.example/x\nb@two.example/y\nc@one.example/z\n"
#define TO_ONE "to one.example: a@one.example/x c@one.example/z; "
#define TO_TWO "to two.example: b@two.example/y; "

/* One row for each domain, in the transaction of the archive's, once, in the order of what was said. */
static void
test_elsewhere(void **arg)
{
	(void)arg;
	receivers = SLICE(TWO_DOMAINS);
	message(ROOM "/first", FIRST, "<body>one</body>");
	assert_string_equal(said, "stored #1; " TO_ONE "#1 <body>one</body>; " TO_TWO "#1 <body>one</body>; ");
	presence_queue("<status>two</status>");
	assert_string_equal(answers(), "stored before; " TO_ONE "<status>two</status>; " TO_TWO "<status>two</status>; ");
	assert_int_equal(rows(TABLE_SPOOL), 4);
	assert_int_equal(index_all(), OK);
	assert_int_equal(state_commit(), OK);
	assert_int_equal(rows(TABLE_ARCHIVE), 1);
	/* Said again by a mucd that has begun anew: nothing is stored. */
	number = 0;
	origin++;
	queue(ROOM "/first", FIRST, "<body>one</body>");
	presence_queue("<status>two</status>");
	assert_string_equal(answers(), "stored #1; stored before; ");
	assert_int_equal(rows(TABLE_SPOOL), 4);
	/* As a domain is fed, also by an archived that was started again. */
	close_store();
	open_store();
	drain_queue("one.example");
	assert_string_equal(answers(), TO_ONE "#1 <body>one</body>; " TO_ONE "<status>two</status>; drained; ");
	drain_queue("three.example");
	assert_string_equal(answers(), "drained; ");
}

/* The history of who enters comes behind its presence, once. */
static void
test_elsewhere_history(void **arg)
{
	uint64_t limits[] = { 2, NO_LIMIT };
	struct frame f = { .type = FRAME_HISTORY, .origin = origin, .jid = SLICE(ROOM), .to = SLICE("a@one.example/x"),
		.numbers = slice_of((const char *)limits, sizeof limits) };
	char token[ONCE_SIZE];

	(void)arg;
	three();
	receivers = SLICE("a@one.example/x\n");
	presence_queue("<status>in</status>");
	f.number = ++number;
	f.token = token_of(number, token);
	f.seq = ++seq;
	add(&f);
	queue(ROOM "/second", SECOND, "<body>four</body>");
#define A "to one.example: a@one.example/x; "
	assert_string_equal(answers(), "stored before; " A "<status>in</status>; " A "#2 <body>two</body>; " A
	    "#3 <body>three</body>; end; stored #4; " A "#4 <body>four</body>; ");
	f.seq = ++seq;
	add(&f);
	assert_string_equal(answers(), "end; ");
	drain_queue("one.example");
	assert_string_equal(answers(), A "<status>in</status>; " A "#2 <body>two</body>; " A "#3 <body>three</body>; "
	    A "#4 <body>four</body>; drained; ");
	/* Nowhere without a token. */
	f.token = SLICE_NONE;
	add(&f);
	assert_string_equal(answers(), "end; ");
}

#define REFUSED     "error to coven@rooms.example/first from a@one.example/x: service-unavailable; "
#define REFUSED_TOO "error to coven@rooms.example/first from c@one.example/z: service-unavailable; "

/* What s2sd gives up: the room hears of messages. A spool of which the half is full: of everything, since who misses
 * something is to be out. */
static void
test_elsewhere_vain(void **arg)
{
	struct frame f = { .type = FRAME_UNDELIVERABLE, .condition = SLICE("remote-server-not-found") };
	struct account *domain;
	uint64_t pair[2];

	(void)arg;
	receivers = SLICE("a@one.example/x\nc@one.example/z\n");
	message(ROOM "/first", FIRST, "<body>one</body>");
	presence_queue("<status>two</status>");
	answers();
	pair[1] = last_spooled;
	assert_int_equal(account_find(SLICE("one.example"), &domain), OK);
	pair[0] = domain->id;
	store_abort(state.store);
	f.numbers = slice_of((const char *)pair, sizeof pair);
	f.origin = 9;
	f.seq = 1;
	add(&f);
	assert_string_equal(answers(), "");
	assert_int_equal(rows(TABLE_SPOOL), 1);
	state.spool_messages = 1;
	queue(ROOM "/first", FIRST, "<body>three</body>");
	presence_queue("<status>four</status>");
	assert_string_equal(answers(), REFUSED REFUSED_TOO REFUSED REFUSED_TOO
	    "stored #2; stored before; ");
	state.spool_messages = 1000;
	assert_int_equal(rows(TABLE_SPOOL), 1);
	assert_int_equal(rows(TABLE_MESSAGE), 2 + 1);
}

/* Tokens that are old go, but for those that may still come. */
static void
test_tokens_expire(void **arg)
{
	bool more;

	(void)arg;
	three();
	number = 70000;
	now += 7 * DAY;
	message(ROOM "/first", FIRST, "<body>late</body>");
	assert_int_equal(once_room_expire(now, &more), OK);
	assert_int_equal(state_commit(), OK);
	assert_int_equal(rows(TABLE_SAID), 4);
	now += 3 * DAY;
	assert_int_equal(once_room_expire(now, &more), OK);
	assert_false(more);
	assert_int_equal(state_commit(), OK);
	assert_int_equal(rows(TABLE_SAID), 1);
	now += 300 * DAY;
	assert_int_equal(once_room_expire(now, &more), OK);
	assert_int_equal(state_commit(), OK);
	number--;
	queue(ROOM "/first", FIRST, "<body>late</body>");
	number = 0;
	queue(ROOM "/first", FIRST, "<body>late</body>");
	assert_string_equal(answers(), "stored #4; stored #5; ");
}

/* -- histories -- */

static void
test_history(void **arg)
{
	(void)arg;
	assert_string_equal(history(5, NO_LIMIT, 0), "end; ");
	three();
	message(OTHER "/first", FIRST, "<body>elsewhere</body>");
	assert_string_equal(history(5, NO_LIMIT, 0), "#1 <body>one</body>; #2 <body>two</body>; "
	    "#3 <body>three</body>; end; ");
	assert_string_equal(history(2, NO_LIMIT, 0), "#2 <body>two</body>; #3 <body>three</body>; end; ");
	assert_string_equal(history(0, NO_LIMIT, 0), "end; ");
	assert_string_equal(history(2, 0, 0), "end; ");
	assert_string_equal(history(UINT64_MAX, NO_LIMIT, now - 1000),
	    "#3 <body>three</body>; end; ");
	assert_string_equal(history(5, NO_LIMIT, now - 2000), "#2 <body>two</body>; #3 <body>three</body>; end; ");
	assert_string_equal(history(5, NO_LIMIT, now), "end; ");
	assert_string_equal(history(5, NO_LIMIT, UINT64_MAX), "end; ");
	/* The same when the copies are in the table, and after a restart. */
	assert_int_equal(index_all(), OK);
	assert_int_equal(state_commit(), OK);
	assert_string_equal(history(2, NO_LIMIT, 0), "#2 <body>two</body>; #3 <body>three</body>; end; ");
	message(ROOM "/second", SECOND, "<body>four</body>");
	close_store();
	open_store();
	assert_string_equal(history(2, NO_LIMIT, 0), "#3 <body>three</body>; #5 <body>four</body>; end; ");
}

/* In its place in the batch, also when that is a single transaction. */
static void
test_history_place(void **arg)
{
	(void)arg;
	queue(ROOM "/first", FIRST, "<body>one</body>");
	history_queue(5, NO_LIMIT, 0);
	queue(ROOM "/first", FIRST, "<body>two</body>");
	history_queue(5, NO_LIMIT, 0);
	history_queue(1, NO_LIMIT, 0);
	queue(ROOM "/first", FIRST, "<body>three</body>");
	assert_string_equal(answers(), "stored #1; #1 <body>one</body>; end; stored #2; #1 <body>one</body>; "
	    "#2 <body>two</body>; end; #2 <body>two</body>; end; stored #3; ");
	assert_string_equal(acks(), "");
}

/* Again when it comes again. */
static void
test_history_again(void **arg)
{
	(void)arg;
	three();
	history(1, NO_LIMIT, 0);
	seq--;
	assert_string_equal(history(1, NO_LIMIT, 0), "#3 <body>three</body>; end; ");
	history_queue(1, NO_LIMIT, 0);
	batch_router_gone();
	assert_string_equal(answers(), "");
}

/* Also when what comes behind it was stored meanwhile: it follows by itself. */
static void
test_history_later(void **arg)
{
	uint64_t limits[] = { 5, NO_LIMIT }, n;
	char token[ONCE_SIZE];
	struct frame f = { .type = FRAME_HISTORY, .origin = origin, .seq = ++seq, .jid = SLICE(ROOM),
		.handle = SESSION, .from = SLICE(FIRST "/x"), .number = 77,
		.numbers = slice_of((const char *)limits, sizeof limits) };

	(void)arg;
	message(ROOM "/first", FIRST, "<body>one</body>");
	n = ++number;
	message(ROOM "/second", SECOND, "<body>two</body>");
	f.token = token_of(n, token);
	add(&f);
	assert_string_equal(answers(), "#1 <body>one</body>; end; ");
	f.token = token_of(++number, token);
	f.seq = ++seq;
	add(&f);
	assert_string_equal(answers(), "#1 <body>one</body>; #2 <body>two</body>; end; ");
}

/* What has no content is archived, perhaps, but does not count. */
static void
test_history_content(void **arg)
{
	struct frame f;
	char token[ONCE_SIZE];

	(void)arg;
	three();
	f = message_of(ROOM "/first", FIRST, "<active xmlns='http://jabber.org/protocol/chatstates'/>");
	f.flags &= ~(uint32_t)FLAG_CONTENT;
	f.token = token_of(++number, token);
	add(&f);
	assert_string_equal(answers(), "stored #4; ");
	assert_string_equal(history(1, NO_LIMIT, 0), "#3 <body>three</body>; end; ");
}

/* Characters of the whole stanzas (XEP-0045 section 7.2.13), of which one may have several bytes. */
static void
test_history_characters(void **arg)
{
	uint64_t low = 1, high = 100000, limits[] = { 9, 0 };
	char token[ONCE_SIZE];
	struct frame f;
	struct buf xml = { 0 };
	uint64_t stamp;

	(void)arg;
	message(ROOM "/first", FIRST, "<body>one</body>");
	message(ROOM "/first", FIRST, "<body>\303\244\303\266\342\202\254</body>");
	while (low < high) {
		uint64_t middle = (low + high) / 2;

		if (strstr(history(9, middle, 0), "#2") != NULL)
			high = middle;
		else
			low = middle + 1;
	}
	assert_int_equal(message_get(ids[1], &stamp, &f), OK);
	f.flags = FLAG_SPOOL | FLAG_ROOM;
	f.archive_id = ids[1];
	f.to = SLICE(FIRST "/x");
	f.stamp = stamp;
	f.jid = SLICE_NONE;
	stanza_write(&f, SLICE_NONE, SLICE(ROOM), &xml);
	store_abort(state.store);
	assert_int_equal(low, buf_len(&xml) - 4);
	assert_string_equal(history(9, low, 0), "#2 <body>\303\244\303\266\342\202\254</body>; end; ");
	assert_string_equal(history(9, low - 1, 0), "end; ");
	/* The same for somebody elsewhere. */
	f = (struct frame){ .type = FRAME_HISTORY, .origin = origin, .seq = ++seq, .jid = SLICE(ROOM),
		.to = SLICE(FIRST "/x"), .number = 77, .token = token_of(1000, token) };
	limits[1] = low - 1;
	f.numbers = slice_of((const char *)limits, sizeof limits);
	add(&f);
	assert_string_equal(answers(), "end; ");
	limits[1]++;
	add(&f);
	assert_string_equal(answers(), "to shakespeare.example: hag66@shakespeare.example/x; #2 "
	    "<body>\303\244\303\266\342\202\254</body>; end; ");
	/* Both have the same number of characters. */
	assert_string_equal(history(9, 2 * low - 1, 0), "#2 <body>\303\244\303\266\342\202\254</body>; end; ");
	assert_non_null(strstr(history(9, 2 * low, 0), "#1 "));
	buf_free(&xml);
}

static void
test_history_wrong(void **arg)
{
	static const uint64_t limits[] = { 5, UINT64_MAX, 1 };
	struct frame f = { .type = FRAME_HISTORY, .origin = 20, .jid = SLICE(ROOM), .handle = SESSION };

	(void)arg;
	three();
	f.seq = ++seq;
	add(&f);
	assert_string_equal(answers(), "end; ");
	f.numbers = slice_of((const char *)limits, 8);
	add(&f);
	assert_string_equal(answers(), "end; ");
	f.numbers = slice_of((const char *)limits, 24);
	add(&f);
	assert_string_equal(answers(), "end; ");
	f.numbers = slice_of((const char *)limits, 16);
	f.handle = 0;
	add(&f);
	assert_string_equal(answers(), "end; ");
	f.to = SLICE("@x");
	add(&f);
	assert_string_equal(answers(), "end; ");
	f.jid = SLICE(ROOM "/first");
	add(&f);
	assert_string_equal(answers(), "");
}

/* -- requests -- */

#define FORM(fields) \
	"<x xmlns='jabber:x:data' type='submit'><field var='FORM_TYPE' type='hidden'>" \
	"<value>urn:xmpp:mam:2</value></field>" fields "</x>"
#define FIELD(name, value) "<field var='" name "'><value>" value "</value></field>"
#define SET(parts) "<set xmlns='http://jabber.org/protocol/rsm'>" parts "</set>"
#define WHOLE(first, last, count) "<fin xmlns='urn:xmpp:mam:2' complete='true'>" \
	SET("<first index='0'>" first "</first><last>" last "</last><count>" count "</count>") "</fin>"
#define EMPTY "<fin xmlns='urn:xmpp:mam:2' complete='true'>" SET("<count>0</count>") "</fin>"
#define ITEM(jid) "<x xmlns='http://jabber.org/protocol/muc#user'><item jid='" jid "'/></x>"
#define ONE   "#1 " ROOM "/first: <body>one</body>"
#define TWO   "#2 " ROOM "/second: <body>two</body>"
#define THREE "#3 " ROOM "/first: <body>three</body>"

static struct frame
query_of(const char *payload)
{
	return (struct frame){ .type = FRAME_ROOM_QUERY, .subtype = TYPE_SET, .jid = SLICE(ROOM),
		.from = SLICE(SECOND "/home"), .handle = SESSION, .id = SLICE("q"), .payload = slice_string(payload) };
}

static const char *
ask_as(uint32_t flags, const char *query)
{
	struct frame f = query_of("");
	char payload[4096];

	snprintf(payload, sizeof payload, "<query xmlns='urn:xmpp:mam:2'>%s</query>", query);
	f.payload = slice_string(payload);
	f.flags = flags;
	add(&f);
	return answers();
}

static const char *
ask(const char *query)
{
	return ask_as(0, query);
}

static void
test_query(void **arg)
{
	(void)arg;
	assert_string_equal(ask(FORM("")), EMPTY);
	three();
	message(OTHER "/first", FIRST, "<body>elsewhere</body>");
	assert_string_equal(ask(FORM("")), ONE "; " TWO "; " THREE "; " WHOLE("#1", "#3", "3"));
	assert_string_equal(ask_as(FLAG_AVAILABLE, FORM("")), ONE ITEM(FIRST) "; " TWO ITEM(SECOND) "; "
	    THREE ITEM(FIRST) "; " WHOLE("#1", "#3", "3"));
	assert_string_equal(ask(FORM(FIELD("include-groupchat", "false")) SET("<max>1</max><before/>")),
	    THREE "; <fin xmlns='urn:xmpp:mam:2'>" SET("<first>#3</first><last>#3</last>") "</fin>");
	assert_string_equal(ask(FORM(FIELD("after-id", "0000000000000001"))), "item-not-found; ");
}

/* By occupant and by sender, in the table and before, with and without words. */
static void
with(void)
{
	assert_string_equal(ask(FORM(FIELD("with", ROOM "/first"))),
	    ONE "; " THREE "; " WHOLE("#1", "#3", "2"));
	assert_string_equal(ask(FORM(FIELD("with", ROOM "/nobody"))), EMPTY);
	assert_string_equal(ask(FORM(FIELD("with", ROOM))), ONE "; " TWO "; " THREE "; " WHOLE("#1", "#3", "3"));
	assert_string_equal(ask(FORM(FIELD("with", OTHER "/first"))), EMPTY);
	assert_string_equal(ask(FORM(FIELD("with", FIRST))), EMPTY);
	assert_string_equal(ask_as(FLAG_AVAILABLE, FORM(FIELD("with", FIRST))),
	    ONE ITEM(FIRST) "; " THREE ITEM(FIRST) "; " WHOLE("#1", "#3", "2"));
	assert_string_equal(ask_as(FLAG_AVAILABLE, FORM(FIELD("with", FIRST "/x"))), EMPTY);
	assert_string_equal(ask(FORM(FIELD("{urn:xmpp:fulltext:0}fulltext", "two"))),
	    TWO "; " WHOLE("#2", "#2", "1"));
	assert_string_equal(ask(FORM(FIELD("with", ROOM "/first")
	    FIELD("{urn:xmpp:fulltext:0}fulltext", "three"))), THREE "; " WHOLE("#3", "#3", "1"));
	assert_string_equal(ask(FORM(FIELD("with", ROOM "/second")
	    FIELD("{urn:xmpp:fulltext:0}fulltext", "three"))), EMPTY);
	assert_string_equal(ask(FORM(FIELD("with", FIRST)
	    FIELD("{urn:xmpp:fulltext:0}fulltext", "three"))), EMPTY);
	assert_string_equal(ask_as(FLAG_AVAILABLE, FORM(FIELD("with", FIRST)
	    FIELD("{urn:xmpp:fulltext:0}fulltext", "three"))), THREE ITEM(FIRST) "; " WHOLE("#3", "#3", "1"));
}

static void
test_with(void **arg)
{
	(void)arg;
	three();
	message(OTHER "/first", FIRST, "<body>three two one</body>");
	with();
	assert_int_equal(index_all(), OK);
	assert_int_equal(state_commit(), OK);
	with();
}

/* What a client says of its address is left out; the room itself has no sender. */
static void
test_forged_address(void **arg)
{
	(void)arg;
	message(ROOM "/first", FIRST, "<body>x</body>" ITEM("pope@example.com") "<a xmlns='b:c'/>");
	message(ROOM, NULL, "<body>y</body>");
	assert_string_equal(ask(FORM("")), "#1 " ROOM "/first: <body>x</body><a xmlns='b:c'/>; #2 " ROOM
	    ": <body>y</body>; " WHOLE("#1", "#2", "2"));
	assert_string_equal(ask_as(FLAG_AVAILABLE, FORM("")), "#1 " ROOM
	    "/first: <body>x</body><a xmlns='b:c'/>" ITEM(FIRST) "; #2 " ROOM ": <body>y</body>; "
	    WHOLE("#1", "#2", "2"));
}

static void
test_other_requests(void **arg)
{
	static const struct {
		enum stanza_type type;
		const char *payload, *answer;
	} tests[] = {
		{ TYPE_GET, "<prefs xmlns='urn:xmpp:mam:2'/>", "feature-not-implemented; " },
		{ TYPE_SET, "<prefs xmlns='urn:xmpp:mam:2' default='never'><always/><never/></prefs>",
		    "feature-not-implemented; " },
		{ TYPE_GET, "<metadata xmlns='urn:xmpp:mam:2'/>", "<metadata xmlns='urn:xmpp:mam:2'><start id='#1'" },
		{ TYPE_GET, "<query xmlns='urn:xmpp:mam:2'/>", "<query xmlns='urn:xmpp:mam:2'><x xmlns='jabber:x:data'" },
		{ TYPE_SET, "<metadata xmlns='urn:xmpp:mam:2'/>", "feature-not-implemented; " },
		{ TYPE_SET, "<query xmlns='urn:xmpp:mam:1'/>", "service-unavailable; " },
		{ TYPE_SET, "<query xmlns='urn:xmpp:mam:2'/><query xmlns='urn:xmpp:mam:2'/>", "bad-request; " },
		{ TYPE_SET, "<query", "bad-request; " },
		{ TYPE_SET, "", "bad-request; " },
		{ TYPE_RESULT, "<query xmlns='urn:xmpp:mam:2'/>", "" },
	};
	size_t i;

	(void)arg;
	three();
	for (i = 0; i < sizeof tests / sizeof tests[0]; i++) {
		struct frame f = query_of(tests[i].payload);

		f.subtype = tests[i].type;
		add(&f);
		assert_int_equal(strncmp(answers(), tests[i].answer, strlen(tests[i].answer)), 0);
		assert_true((*said == '\0') == (tests[i].answer[0] == '\0'));
	}
	assert_int_equal(rows(TABLE_PREFS), 0);
}

/* Requests count for who asks, and an answer for somebody elsewhere has its address alone. */
static void
test_askers(void **arg)
{
	struct frame f = query_of("<query xmlns='urn:xmpp:mam:2'/>"), answer;
	struct slice whole;
	unsigned i;

	(void)arg;
	three();
	for (i = 0; i < 9; i++)
		add(&f);
	f.from = SLICE(FIRST "/x");
	f.handle = 0;
	add(&f);
	answers();
	assert_non_null(strstr(said, "resource-constraint; "));
	assert_null(strstr(strstr(said, "resource-constraint; ") + 1, "resource-constraint; "));
	f.payload = SLICE("<metadata xmlns='urn:xmpp:mam:2'/>");
	f.subtype = TYPE_GET;
	f.origin = origin;
	f.seq = ++seq;
	add(&f);
	assert_int_equal(batch_run(now, &out), OK);
	assert_int_equal(mam_step(&out), OK);
	assert_int_equal(frame_next(buf_slice(&out.frames), &whole), OK);
	assert_int_equal(frame_read(whole, &answer), OK);
	assert_true(answer.handle == 0 && slice_is(answer.to, FIRST "/x") && slice_is(answer.from, ROOM));
	assert_true(answer.flags == 0 && answer.seq == 0 && answer.jid.ptr == NULL);
	buf_clear(&out.frames);
	assert_int_equal(strtoull(acks(), NULL, 10), seq);
}

/* -- taking back -- */

#define NOTE "<retracted xmlns='urn:xmpp:message-retract:1'/>"

static void
redact_queue(size_t which, const char *from, const char *payload)
{
	struct frame f = { .type = FRAME_REDACT, .origin = origin, .seq = ++seq, .jid = SLICE(ROOM),
		.archive_id = which != 0 ? ids[which - 1] : 12345, .from = slice_string(from),
		.payload = slice_string(payload) };

	add(&f);
}

/* Takes a message back, and is acknowledged. */
static void
redact(size_t which, const char *from, const char *payload)
{
	char number_text[32];

	redact_queue(which, from, payload);
	answers();
	snprintf(number_text, sizeof number_text, "%llu ", (unsigned long long)seq);
	assert_string_equal(acks(), number_text);
}

static void
test_redacted(void **arg)
{
	struct usage usage;
	struct slice jid;
	uint64_t account;

	(void)arg;
	three();
	message(ROOM "/first", FIRST, "<occupant-id xmlns='urn:xmpp:occupant-id:0' id='o'/><body>wrong</body>");
	assert_non_null(strstr(ask(FORM(FIELD("{urn:xmpp:fulltext:0}fulltext", "wrong"))), "#4"));
	redact(4, NULL, NOTE);
	assert_true(redact_scrub());
	assert_false(redact_scrub());
	assert_string_equal(history(1, NO_LIMIT, 0), "#4 <occupant-id xmlns='urn:xmpp:occupant-id:0' id='o'/>" NOTE
	    "; end; ");
	assert_string_equal(ask(FORM(FIELD("ids", "%s"))), "item-not-found; ");
	assert_non_null(strstr(ask_as(FLAG_AVAILABLE, FORM(FIELD("with", ROOM "/first"))),
	    "#4 " ROOM "/first: <occupant-id xmlns='urn:xmpp:occupant-id:0' id='o'/>" NOTE ITEM(FIRST)));
	assert_string_equal(ask(FORM(FIELD("{urn:xmpp:fulltext:0}fulltext", "wrong"))), EMPTY);
	assert_int_equal(rows(TABLE_REMOVED), 0);
	/* Again, and with other words. */
	redact(4, NULL, NOTE);
	assert_false(redact_scrub());
	redact(4, NULL, NOTE "<body>moderated</body>");
	redact(4, NULL, NOTE);
	answers();
	assert_string_equal(ask(FORM(FIELD("{urn:xmpp:fulltext:0}fulltext", "moderated"))), EMPTY);
	assert_int_equal(room_account(SLICE(ROOM), &account), OK);
	assert_int_equal(usage_get(account, &usage, &jid), OK);
	assert_int_equal(usage.messages, 4);
	assert_int_equal(usage.bytes, strlen("<body>one</body><body>two</body><body>three</body>"
	    "<occupant-id xmlns='urn:xmpp:occupant-id:0' id='o'/>" NOTE));
	store_abort(state.store);
	close_store();
	open_store();
	assert_string_equal(history(1, NO_LIMIT, 0), "#4 <occupant-id xmlns='urn:xmpp:occupant-id:0' id='o'/>" NOTE
	    "; end; ");
}

/* What is not to be taken back is acknowledged, and stays. */
static void
test_not_redacted(void **arg)
{
	(void)arg;
	three();
	message(OTHER "/first", FIRST, "<body>elsewhere</body>");
	redact(0, NULL, NOTE);
	redact(4, NULL, NOTE);
	redact(1, SECOND, NOTE);
	redact(1, FIRST "/x", NOTE);
	redact(1, NULL, "<a>");
	redact(1, NULL, "text & more");
	assert_string_equal(ask(FORM("")), ONE "; " TWO "; " THREE "; " WHOLE("#1", "#3", "3"));
	assert_false(redact_scrub());
	redact(1, FIRST, NOTE);
	assert_true(redact_scrub());
	assert_string_equal(history(3, NO_LIMIT, 0), "#1 " NOTE "; #2 <body>two</body>; #3 <body>three</body>; end; ");
}

/* Whether the file of the store has a text. */
static bool
file_has(const char *text)
{
	char path[128], *bytes;
	bool found;
	long size;
	FILE *file;

	snprintf(path, sizeof path, "%s/data.mdb", directory);
	file = fopen(path, "rb");
	assert_non_null(file);
	assert_int_equal(fseek(file, 0, SEEK_END), 0);
	size = ftell(file);
	rewind(file);
	bytes = malloc((size_t)size);
	assert_int_equal(fread(bytes, 1, (size_t)size, file), (size_t)size);
	fclose(file);
	found = memmem(bytes, (size_t)size, text, strlen(text)) != NULL;
	free(bytes);
	return found;
}

static void
scrub(void)
{
	uint64_t next = 0;
	bool more = true;

	assert_int_equal(meta_put("scrubbed", now++), OK);
	assert_int_equal(state_commit(), OK);
	while (more)
		assert_int_equal(store_scrub(state.store, &next, STORE_SCRUB_PAGES, &more), OK);
}

/* In pages of its own: what may stay of a short one in unused room of pages is in ARCHITECTURE.md. */
static void
test_redacted_bytes(void **arg)
{
	static char large[20000];

	(void)arg;
	three();
	memset(large, 'x', sizeof large - 1);
	memcpy(large, "<body>", 6);
	memcpy(large + 15000, "alargesecret", 12);
	memcpy(large + sizeof large - 8, "</body>", 7);
	message(ROOM "/first", FIRST, large);
	three();
	assert_true(file_has("alargesecret"));
	redact(4, NULL, NOTE);
	index_words();
	assert_int_equal(rows(TABLE_REMOVED), 0);
	scrub();
	assert_false(file_has("alargesecret"));
}

/* -- forgetting, retention, administration -- */

static void
forget_queue(uint64_t n)
{
	char token[ONCE_SIZE];
	struct frame f = { .type = FRAME_FORGET, .jid = SLICE(ROOM), .origin = origin, .seq = ++seq,
		.token = token_of(n, token) };

	add(&f);
}

static void
forget_work(void)
{
	while (forget_pending()) {
		assert_int_equal(forget_step(), OK);
		assert_int_equal(state_commit(), OK);
	}
}

static void
test_forgotten(void **arg)
{
	(void)arg;
	three();
	forget_queue(++number);
	queue(ROOM "/first", FIRST, "<body>anew</body>");
	forget_queue(number - 1);
	history_queue(9, NO_LIMIT, 0);
	assert_string_equal(answers(), "stored #4; #4 <body>anew</body>; end; ");
	assert_string_equal(acks(), "4 6 ");
	forget_work();
	assert_int_equal(rows(TABLE_MESSAGE), 1);
	assert_int_equal(rows(TABLE_ARCHIVE), 0); /* it waits in memory */
	origin++;
	seq = 0;
	close_store();
	open_store();
	forget_queue(number - 1);
	again(3); /* they were stored, and are not stored again */
	assert_string_equal(answers(), "stored #1; stored #2; stored #3; ");
	assert_string_equal(acks(), "1 ");
	assert_string_equal(history(9, NO_LIMIT, 0), "#4 <body>anew</body>; end; ");
}

static void
retention_run(void)
{
	retention_begin(now);
	while (retention_pending()) {
		assert_int_equal(retention_step(), OK);
		assert_int_equal(state_commit(), OK);
	}
}

static void
test_retention(void **arg)
{
	unsigned i;

	(void)arg;
	three();
	configure("domain\tshakespeare.example\tarchive-time\t1\ndomain\tshakespeare.example\tarchive-size\t0\n"
	    "rooms\trooms.example\tarchive-time\t3600\nrooms\trooms.example\tarchive-size\t0\n");
	retention_run();
	assert_string_equal(ask(FORM("")), ONE "; " TWO "; " THREE "; " WHOLE("#1", "#3", "3"));
	now += 3600 * 1000 - 500;
	retention_run();
	assert_string_equal(ask(FORM("")), THREE "; " WHOLE("#3", "#3", "1"));
	configure("rooms\trooms.example\tarchive-time\t0\nrooms\trooms.example\tarchive-size\t100\n");
	for (i = 0; i < 10; i++)
		message(ROOM "/first", FIRST, "<body>four</body>");
	retention_run();
	assert_string_equal(history(99, NO_LIMIT, 0), "#9 <body>four</body>; "
	    "#10 <body>four</body>; #11 <body>four</body>; #12 <body>four</body>; #13 <body>four</body>; end; ");
}

/* Runs a command of administrators. Returns its answer as JSON. */
static const char *
run(const struct command *commands, const char *name, const char *one, const char *two)
{
	struct slice words[] = { slice_string(one), slice_string(two) };
	json_t *result = NULL;
	char *text;
	int error;

	while (strcmp(commands->name, name) != 0)
		commands++;
	error = commands->run(words, two != NULL ? 2 : one != NULL, &result);
	said[0] = '\0';
	if (error)
		say("%s ", error_text(error));
	text = json_dumps(result, JSON_COMPACT | JSON_ENCODE_ANY);
	say_ids(slice_string(text != NULL ? text : ""));
	free(text);
	json_decref(result);
	return said;
}

static void
test_commands(void **arg)
{
	char id[17];

	(void)arg;
	assert_string_equal(run(archived_transfers, "room messages", ROOM, NULL), "{\"rows\":[]}");
	message(ROOM "/first", FIRST, "<body>one</body>" ITEM("pope@example.com"));
	message(ROOM "/second", SECOND, "<body>two</body>");
	stanza_archive_id(ids[0], id);
	run(archived_transfers, "room messages", ROOM, NULL);
	assert_non_null(strstr(said, "<result xmlns='urn:xmpp:mam:2' id='#1'>"));
	assert_non_null(strstr(said, "<body>one</body>" ITEM(FIRST) "</message>"));
	assert_null(strstr(said, "pope"));
	run(archived_transfers, "room messages", ROOM, id);
	assert_null(strstr(said, "#1"));
	assert_non_null(strstr(said, "from='" ROOM "/second'"));
	assert_non_null(strstr(run(archived_transfers, "room messages", ROOM "/first", NULL), "not the address"));
	assert_non_null(strstr(run(archived_transfers, "room messages", "rooms.example", NULL), "not the address"));
	run(archived_transfers, "room messages", ROOM, "xyz");
	assert_non_null(strstr(said, error_text(E_MALFORMED)));
	run(archived_commands, "archive show", ROOM, NULL);
	assert_non_null(strstr(said, "\"archive\":\"" ROOM "\",\"messages\":2,"));
	run(archived_commands, "archive show", NULL, NULL);
	assert_non_null(strstr(said, "\"archive\":\"rooms.example\",\"accounts\":1,\"messages\":2,"));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(test_##name, setup, teardown)
		TEST(stored), TEST(once), TEST(no_store), TEST(wrong), TEST(invitation), TEST(elsewhere), TEST(elsewhere_history),
		TEST(elsewhere_vain), TEST(tokens_expire),
		TEST(history), TEST(history_place), TEST(history_again), TEST(history_later), TEST(history_content),
		TEST(history_characters), TEST(history_wrong), TEST(query), TEST(with), TEST(forged_address),
		TEST(other_requests), TEST(askers), TEST(redacted), TEST(not_redacted), TEST(redacted_bytes),
		TEST(forgotten), TEST(retention), TEST(commands),
#undef TEST
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
