/*
 * test_mam.c: requests to archives, from frames to answers: archived's engine on a store in a
 * temporary directory.
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
#include "ns.h"

#define JULIET "juliet@capulet.example"
#define ROMEO  "romeo@montague.example"
#define NURSE  "nurse@capulet.example"
#define NOW    1790000000000ull
#define ORIGIN 5
#define BOTH   (FLAG_FROM_LOCAL | FLAG_TO_LOCAL)
#define FORM(fields) \
	"<x xmlns='jabber:x:data' type='submit'><field var='FORM_TYPE' type='hidden'>" \
	"<value>urn:xmpp:mam:2</value></field>" fields "</x>"
#define FIELD(name, value) "<field var='" name "'><value>" value "</value></field>"
#define SET(parts) "<set xmlns='http://jabber.org/protocol/rsm'>" parts "</set>"

static char directory[64];
static uint64_t now, seq;
static struct out out;
static char said[65536]; /* what the engine answered, in words */
static char wanted[65536];
static uint64_t ids[4096]; /* of the messages of a test, in their order */
static size_t id_count;

/* -- surroundings -- */

static int
setup(void **arg)
{
	(void)arg;
	snprintf(directory, sizeof directory, "/tmp/test_mam.XXXXXX");
	assert_non_null(mkdtemp(directory));
	now = NOW;
	seq = 0;
	id_count = 0;
	state.index_copies = 32768;
	state.page_messages = 50;
	return state_open(directory, 256u << 20, 100000, now);
}

static int
teardown(void **arg)
{
	char path[96];

	(void)arg;
	state_close();
	buf_free(&out.frames);
	buf_free(&out.acks);
	snprintf(path, sizeof path, "%s/data.mdb", directory);
	unlink(path);
	snprintf(path, sizeof path, "%s/lock.mdb", directory);
	unlink(path);
	return rmdir(directory);
}

static void
reopen(void)
{
	state_close();
	assert_int_equal(state_open(directory, 256u << 20, 100000, now), OK);
}

static void
add(const struct frame *f)
{
	struct buf bytes = { 0 };

	assert_int_equal(frame_write(f, &bytes), OK);
	assert_true(batch_add(f->type, buf_slice(&bytes)));
	buf_free(&bytes);
}

static void
message_queue(const char *from, const char *to, uint32_t flags, const char *payload)
{
	struct frame f = {
		.type = FRAME_STANZA, .kind = STANZA_MESSAGE, .subtype = TYPE_CHAT,
		.flags = FLAG_STORE | FLAG_CONTENT | flags, .origin = ORIGIN, .seq = ++seq,
		.handle = HANDLE(ORIGIN, 77), .from = slice_string(from), .to = slice_string(to),
		.id = SLICE("m"), .payload = slice_string(payload), .stamp = now,
	};

	add(&f);
}

/* Stores a message at the next second. */
static void
message(const char *from, const char *to, uint32_t flags, const char *payload)
{
	struct slice whole;
	struct frame f;

	now += 1000;
	message_queue(from, to, flags, payload);
	assert_int_equal(batch_run(now, &out), OK);
	assert_int_equal(frame_next(buf_slice(&out.frames), &whole), OK);
	assert_int_equal(frame_read(whole, &f), OK);
	assert_int_equal(f.type, FRAME_STORED);
	assert_true(id_count < sizeof ids / sizeof *ids);
	ids[id_count++] = frame_at(&f, 1);
	buf_clear(&out.frames);
	buf_clear(&out.acks);
}

static void
chat(const char *from, const char *to, const char *words)
{
	char payload[256];

	snprintf(payload, sizeof payload, "<body>%s</body>", words);
	message(from, to, BOTH, payload);
}

static void
request(const char *from, const char *to, enum stanza_type type, const char *name,
    const char *payload)
{
	struct frame f = {
		.type = FRAME_STANZA, .kind = STANZA_IQ, .subtype = type, .origin = ORIGIN,
		.seq = ++seq, .handle = HANDLE(ORIGIN, 9), .from = slice_string(from),
		.to = slice_string(to), .id = SLICE("q"), .name = slice_string(name),
		.ns = SLICE(NS_MAM), .payload = slice_string(payload),
	};

	add(&f);
}

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

/* Writes text with archive ids as #1, #2, ... in the order in which they were given. */
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

/* The body of a forwarded message, and its id in the archive. */
static void
say_result(const struct frame *f)
{
	struct xmlin_element result, forwarded, message, body, delay;
	struct buf scratch = { 0 };
	struct slice id, queryid;

	assert_true(xmlin_valid(f->payload, SLICE(NS_CLIENT)));
	assert_true(xmlin_find(f->payload, SLICE(NS_CLIENT), "result", NS_MAM, &result));
	assert_int_equal(xmlin_attribute(&result, "id", &scratch, &id), OK);
	say_ids(id);
	if (xmlin_attribute(&result, "queryid", &scratch, &queryid) == OK)
		say("(%.*s)", SLICE_ARG(queryid));
	assert_true(xmlin_find(result.content, result.ns, "forwarded", NS_FORWARD, &forwarded));
	assert_true(xmlin_find(forwarded.content, forwarded.ns, "delay", NS_DELAY, &delay));
	if (!xmlin_find(forwarded.content, forwarded.ns, "message", NS_CLIENT, &message))
		say(" nothing; ");
	else if (xmlin_find(message.content, message.ns, "body", NS_CLIENT, &body))
		say(" %.*s; ", (int)(body.content.len < 40 ? body.content.len : 40), body.content.ptr);
	else
		say(" -; ");
	buf_free(&scratch);
}

static void
say_frame(const struct frame *f)
{
	if (f->type != FRAME_STANZA)
		return;
	assert_true(f->handle == HANDLE(ORIGIN, 9) && f->origin == 0 && f->seq == 0);
	assert_true(f->from.ptr != NULL && f->to.ptr != NULL && stanza_is_canonical(f));
	if (f->kind == STANZA_MESSAGE) {
		say_result(f);
		return;
	}
	assert_int_equal(f->kind, STANZA_IQ);
	assert_true(slice_is(f->id, "q"));
	if (f->subtype == TYPE_ERROR) {
		struct xmlin_element error, condition;
		struct xmlin in;

		assert_true(xmlin_find(f->payload, SLICE(NS_CLIENT), "error", NS_CLIENT, &error));
		xmlin_begin(&in, error.content, error.ns);
		assert_true(xmlin_child(&in, &condition));
		say("%.*s; ", SLICE_ARG(condition.name));
	} else {
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

/* Runs transactions and requests until nothing waits, and says what they answered. */
static const char *
answers(void)
{
	said[0] = '\0';
	while (batch_bytes() != 0) {
		assert_int_equal(batch_run(now, &out), OK);
		say_all();
	}
	while (mam_pending()) {
		assert_int_equal(mam_step(&out), OK);
		say_all();
	}
	buf_clear(&out.acks);
	return said;
}

static const char *
ask(const char *who, const char *query)
{
	char payload[16384];

	snprintf(payload, sizeof payload, "<query xmlns='urn:xmpp:mam:2'>%s</query>", query);
	if (*query == '\0')
		snprintf(payload, sizeof payload, "<query xmlns='urn:xmpp:mam:2'/>");
	request(who, NULL, TYPE_SET, "query", payload);
	return answers();
}

/* A query with the i-th id written for each of its %s. */
static const char *
ask_ids(const char *who, const char *format, size_t one, size_t other)
{
	char first[17], second[17], query[16384];
	const char *at;
	size_t len = 0, i = 0;

	stanza_archive_id(ids[one - 1], first);
	stanza_archive_id(ids[other - 1], second);
	for (at = format; *at != '\0'; at++) {
		if (*at == '$')
			len += (size_t)snprintf(query + len, sizeof query - len, "%s",
			    i++ == 0 ? first : second);
		else
			query[len++] = *at;
	}
	query[len] = '\0';
	return ask(who, query);
}

#define FIN_ALL(set)  "<fin xmlns='urn:xmpp:mam:2' complete='true'>" SET(set) "</fin>"
#define FIN_PART(set) "<fin xmlns='urn:xmpp:mam:2'>" SET(set) "</fin>"
#define ENDS(first, last) "<first>" first "</first><last>" last "</last>"
#define WHOLE(first, last, count) \
	FIN_ALL("<first index='0'>" first "</first><last>" last "</last><count>" count "</count>")
#define EMPTY FIN_ALL("<count>0</count>")
#define NONE  "<fin xmlns='urn:xmpp:mam:2' complete='true'><set xmlns='http://jabber.org/protocol/rsm'/></fin>"

/* -- tests -- */

static void
five(void)
{
	chat(JULIET "/balcony", ROMEO, "one");
	chat(ROMEO "/garden", JULIET "/balcony", "two");
	chat(NURSE "/hall", JULIET, "three");
	chat(JULIET "/balcony", JULIET, "four");
	chat(JULIET "/chamber", ROMEO "/garden", "five");
}

static void
test_all(void **arg)
{
	(void)arg;
	five();
	assert_string_equal(ask(JULIET "/balcony", ""),
	    "#1 one; #2 two; #3 three; #4 four; #5 five; " WHOLE("#1", "#5", "5"));
	assert_string_equal(ask(ROMEO "/x", ""), "#1 one; #2 two; #5 five; " WHOLE("#1", "#5", "3"));
	assert_string_equal(ask("nobody@capulet.example/x", ""), EMPTY);
	request(JULIET "/x", JULIET, TYPE_SET, "query",
	    "<query xmlns='urn:xmpp:mam:2' queryid='a&amp;b'>" SET("<max>1</max>") "</query>");
	assert_string_equal(answers(), "#1(a&b) one; " FIN_PART(ENDS("#1", "#1")));
}

/* The message as it was, in its element. */
static void
test_forwarded(void **arg)
{
	struct slice whole;
	struct frame f;

	(void)arg;
	message(JULIET "/balcony", ROMEO, BOTH,
	    "<body>a</body><x xmlns='urn:x'><body xmlns='jabber:client'>b</body></x>");
	request(JULIET "/balcony", NULL, TYPE_SET, "query", "<query xmlns='urn:xmpp:mam:2'/>");
	assert_int_equal(batch_run(now, &out), OK);
	assert_int_equal(buf_len(&out.frames), 0);
	assert_int_equal(buf_len(&out.acks), 0);
	assert_int_equal(mam_step(&out), OK);
	assert_int_equal(buf_len(&out.acks), 16);
	assert_int_equal(frame_next(buf_slice(&out.frames), &whole), OK);
	assert_int_equal(frame_read(whole, &f), OK);
	assert_true(slice_is(f.from, JULIET) && slice_is(f.to, JULIET "/balcony"));
	said[0] = '\0';
	say_ids(f.payload);
	assert_string_equal(said, "<result xmlns='urn:xmpp:mam:2' id='#1'>"
	    "<forwarded xmlns='urn:xmpp:forward:0'>"
	    "<delay xmlns='urn:xmpp:delay' stamp='2026-09-21T14:13:21.000Z'/>"
	    "<message xmlns='jabber:client' from='" JULIET "/balcony' to='" ROMEO "' id='m' type='chat'>"
	    "<body>a</body><x xmlns='urn:x'><body xmlns='jabber:client'>b</body></x>"
	    "</message></forwarded></result>");
	assert_true(stanza_is_canonical(&f));
	buf_clear(&out.frames);
	buf_clear(&out.acks);
}

static void
test_with(void **arg)
{
	(void)arg;
	five();
	for (int i = 0; i < 2; i++) {
		assert_string_equal(ask(JULIET "/b", FORM(FIELD("with", ROMEO))),
		    "#1 one; #2 two; #5 five; " WHOLE("#1", "#5", "3"));
		assert_string_equal(ask(JULIET "/b", FORM(FIELD("with", ROMEO "/garden"))),
		    "#2 two; #5 five; " WHOLE("#2", "#5", "2"));
		assert_string_equal(ask(JULIET "/b", FORM(FIELD("with", JULIET))),
		    "#4 four; " WHOLE("#4", "#4", "1"));
		assert_string_equal(ask(JULIET "/b", FORM(FIELD("with", JULIET "/chamber"))),
		    "#5 five; " WHOLE("#5", "#5", "1"));
		assert_string_equal(ask(JULIET "/b", FORM(FIELD("with", "Nurse@CAPULET.example"))),
		    "#3 three; " WHOLE("#3", "#3", "1"));
		assert_string_equal(ask(JULIET "/b", FORM(FIELD("with", "tybalt@x.example"))), EMPTY);
		assert_string_equal(ask(JULIET "/b", FORM(FIELD("with", ROMEO))
		    SET("<max>2</max><before/>")), "#2 two; #5 five; " FIN_PART(ENDS("#2", "#5")));
		/* The second time, all is in the tables. */
		assert_int_equal(index_all(), OK);
		assert_int_equal(state_commit(), OK);
	}
}

static void
test_times(void **arg)
{
	(void)arg;
	five(); /* at 21 to 25 seconds */
	assert_string_equal(ask(JULIET "/b", FORM(FIELD("start", "2026-09-21T14:13:23Z"))),
	    "#3 three; #4 four; #5 five; " WHOLE("#3", "#5", "3"));
	assert_string_equal(ask(JULIET "/b", FORM(FIELD("end", "2026-09-21T16:13:23.000+02:00"))),
	    "#1 one; #2 two; #3 three; " WHOLE("#1", "#3", "3"));
	assert_string_equal(ask(JULIET "/b", FORM(FIELD("start", "2026-09-21T14:13:22.001Z")
	    FIELD("end", "2026-09-21T14:13:24.999Z"))), "#3 three; #4 four; " WHOLE("#3", "#4", "2"));
	assert_string_equal(ask(JULIET "/b", FORM(FIELD("end", "1969-01-01T00:00:00Z"))), EMPTY);
	assert_string_equal(ask(JULIET "/b", FORM(FIELD("start", "9999-01-01T00:00:00Z"))), EMPTY);
}

/* A message that waited for long for the disk is found at its own time, also after a restart. */
static void
test_late(void **arg)
{
	(void)arg;
	chat(ROMEO "/x", JULIET, "first");
	message_queue(ROMEO "/x", JULIET, BOTH, "<body>late</body>");
	now += 3600 * 1000;
	assert_int_equal(batch_run(now, &out), OK);
	buf_clear(&out.frames);
	for (int i = 0; i < 2; i++) {
		ids[1] = id_last();
		id_count = 2;
		assert_string_equal(ask(JULIET "/b", FORM(FIELD("end", "2026-09-21T14:13:30Z"))),
		    "#1 first; #2 late; " WHOLE("#1", "#2", "2"));
		reopen();
	}
}

static void
test_ids(void **arg)
{
	(void)arg;
	five();
	assert_string_equal(ask_ids(JULIET "/b", FORM(FIELD("after-id", "$")), 3, 1),
	    "#4 four; #5 five; " WHOLE("#4", "#5", "2"));
	assert_string_equal(ask_ids(JULIET "/b", FORM(FIELD("after-id", "$")
	    FIELD("before-id", "$")), 1, 4), "#2 two; #3 three; " WHOLE("#2", "#3", "2"));
	assert_string_equal(ask_ids(JULIET "/b", FORM("<field var='ids'><value>$</value>"
	    "<value>$</value></field>"), 5, 2), "#2 two; #5 five; " WHOLE("#2", "#5", "2"));
	assert_string_equal(ask_ids(JULIET "/b", FORM("<field var='ids'><value>$</value>"
	    "<value>$</value></field>") SET("<max>1</max><before/>"), 5, 2),
	    "#5 five; " FIN_PART(ENDS("#5", "#5")));
	assert_string_equal(ask_ids(JULIET "/b", FORM("<field var='ids'><value>$</value></field>"
	    FIELD("with", NURSE)), 5, 2), EMPTY);
	/* #3 is not Romeo's: for him there is no such message. */
	assert_string_equal(ask_ids(ROMEO "/b", FORM(FIELD("after-id", "$")), 3, 1),
	    "item-not-found; ");
	assert_string_equal(ask_ids(ROMEO "/b", FORM("<field var='ids'><value>$</value>"
	    "<value>$</value></field>"), 1, 3), "item-not-found; ");
	assert_string_equal(ask_ids(ROMEO "/b", SET("<after>$</after>"), 3, 1), "item-not-found; ");
	assert_string_equal(ask_ids(ROMEO "/b", SET("<before>$</before>"), 3, 1),
	    "item-not-found; ");
	assert_string_equal(ask(JULIET "/b", SET("<after>nonsense</after>")), "item-not-found; ");
	assert_string_equal(ask(JULIET "/b", SET("<after>ffffffffffffffff</after>")),
	    "item-not-found; ");
	assert_string_equal(ask("nobody@capulet.example/b", SET("<after>0000000000000001</after>")),
	    "item-not-found; ");
}

static void
test_pages(void **arg)
{
	(void)arg;
	five();
	assert_string_equal(ask(JULIET "/b", SET("<max>2</max>")),
	    "#1 one; #2 two; " FIN_PART(ENDS("#1", "#2")));
	assert_string_equal(ask_ids(JULIET "/b", SET("<max>2</max><after>$</after>"), 2, 1),
	    "#3 three; #4 four; " FIN_PART(ENDS("#3", "#4")));
	assert_string_equal(ask_ids(JULIET "/b", SET("<max>2</max><after>$</after>"), 4, 1),
	    "#5 five; " FIN_ALL(ENDS("#5", "#5")));
	assert_string_equal(ask_ids(JULIET "/b", SET("<max>2</max><after>$</after>"), 5, 1), NONE);
	assert_string_equal(ask(JULIET "/b", SET("<max>2</max><before/>")),
	    "#4 four; #5 five; " FIN_PART(ENDS("#4", "#5")));
	assert_string_equal(ask(JULIET "/b", SET("<max>2</max><before/>") "<flip-page/>"),
	    "#5 five; #4 four; " FIN_PART(ENDS("#4", "#5")));
	assert_string_equal(ask(JULIET "/b", SET("<max>2</max>") "<flip-page/>"),
	    "#2 two; #1 one; " FIN_PART(ENDS("#1", "#2")));
	assert_string_equal(ask_ids(JULIET "/b", SET("<max>2</max><before>$</before>"), 4, 1),
	    "#2 two; #3 three; " FIN_PART(ENDS("#2", "#3")));
	assert_string_equal(ask_ids(JULIET "/b", SET("<max>2</max><before>$</before>"), 3, 1),
	    "#1 one; #2 two; " FIN_ALL(ENDS("#1", "#2")));
	assert_string_equal(ask(JULIET "/b", SET("<max>0</max>")),
	    "<fin xmlns='urn:xmpp:mam:2'><set xmlns='http://jabber.org/protocol/rsm'/></fin>");
	assert_string_equal(ask("nobody@x.example/b", SET("<max>0</max>")), EMPTY);
}

/* The server's own limit, in messages and in bytes. */
static void
test_limits(void **arg)
{
	static char large[PAGE_BYTES];
	size_t i;

	(void)arg;
	for (i = 0; i < 60; i++)
		chat(ROMEO "/x", JULIET, "x");
	wanted[0] = '\0';
	for (i = 0; i < 50; i++)
		snprintf(wanted + strlen(wanted), 16, "#%zu x; ", i + 1);
	strncat(wanted, FIN_PART(ENDS("#1", "#50")), sizeof wanted - strlen(wanted) - 1);
	assert_string_equal(ask(JULIET "/b", SET("<max>1000</max>")), wanted);
	assert_string_equal(ask(JULIET "/b", ""), wanted);
	memset(large, 'a', sizeof large);
	memcpy(large, "<body>", 6);
	memcpy(large + sizeof large - 8, "</body>", 8);
	message(ROMEO "/x", JULIET, BOTH, large);
	chat(ROMEO "/x", JULIET, "y");
	assert_string_equal(ask_ids(JULIET "/b", SET("<after>$</after>"), 59, 1),
	    "#60 x; " FIN_PART(ENDS("#60", "#60")));
	assert_string_equal(ask_ids(JULIET "/b", SET("<after>$</after>"), 60, 1),
	    "#61 aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa; " FIN_PART(ENDS("#61", "#61")));
}

/* Copies that are in memory, in the table, in both, and made again at the start. */
static void
test_places(void **arg)
{
	size_t i;

	(void)arg;
	state.index_copies = 16;
	for (i = 0; i < 40; i++) {
		chat(ROMEO "/x", i % 2 ? JULIET : NURSE, "x");
		if (i == 29)
			reopen();
	}
	wanted[0] = '\0';
	for (i = 1; i < 40; i += 2)
		snprintf(wanted + strlen(wanted), 16, "#%zu x; ", i + 1);
	strncat(wanted, WHOLE("#2", "#40", "20"), sizeof wanted - strlen(wanted) - 1);
	assert_string_equal(ask(JULIET "/b", ""), wanted);
	assert_string_equal(ask(JULIET "/b", SET("<before/>")), wanted);
	assert_string_equal(ask(JULIET "/b", FORM(FIELD("with", ROMEO))), wanted);
	assert_string_equal(ask(JULIET "/b", FORM(FIELD("with", ROMEO)) SET("<before/>")), wanted);
	reopen();
	assert_string_equal(ask(JULIET "/b", ""), wanted);
	assert_string_equal(ask_ids(JULIET "/b", SET("<max>1</max><before>$</before>"), 40, 1),
	    "#38 x; " FIN_PART(ENDS("#38", "#38")));
	assert_string_equal(ask_ids(JULIET "/b", FORM("<field var='ids'><value>$</value>"
	    "<value>$</value></field>"), 2, 40), "#2 x; #40 x; " WHOLE("#2", "#40", "2"));
	assert_int_equal(store_count(state.store, TABLE_PEER), store_count(state.store, TABLE_ARCHIVE));
	store_abort(state.store);
}

/* What was taken back, and what belongs to an account that was deleted. */
static void
test_gone(void **arg)
{
	struct frame drop = { .type = FRAME_DROP, .jid = SLICE(JULIET), .flags = FLAG_BOUNCE };
	struct frame forget = { .type = FRAME_FORGET, .jid = SLICE(JULIET) };

	(void)arg;
	five();
	drop.archive_id = ids[1];
	add(&drop);
	assert_string_equal(ask(JULIET "/b", FORM(FIELD("with", ROMEO))),
	    "#1 one; #5 five; " WHOLE("#1", "#5", "2"));
	ids[id_count++] = id_last(); /* the error, in the archive of who has sent it */
	add(&forget);
	assert_string_equal(ask(JULIET "/b", ""), EMPTY);
	while (forget_pending()) {
		assert_int_equal(forget_step(), OK);
		assert_int_equal(state_commit(), OK);
	}
	assert_string_equal(ask(ROMEO "/b", ""), "#1 one; #2 two; #5 five; #6 -; " WHOLE("#1", "#6", "4"));
	assert_int_equal(index_all(), OK);
	assert_int_equal(store_count(state.store, TABLE_PEER), 5); /* Romeo's, and the nurse's */
	assert_int_equal(store_count(state.store, TABLE_ARCHIVE), 5);
	store_abort(state.store);
}

static void
test_metadata(void **arg)
{
	(void)arg;
	five();
	request(JULIET "/b", JULIET, TYPE_GET, "metadata", "<metadata xmlns='urn:xmpp:mam:2'/>");
	assert_string_equal(answers(), "<metadata xmlns='urn:xmpp:mam:2'>"
	    "<start id='#1' timestamp='2026-09-21T14:13:21.000Z'/>"
	    "<end id='#5' timestamp='2026-09-21T14:13:25.000Z'/></metadata>");
	request("nobody@x.example/b", NULL, TYPE_GET, "metadata",
	    "<metadata xmlns='urn:xmpp:mam:2'/>");
	assert_string_equal(answers(), "<metadata xmlns='urn:xmpp:mam:2'/>");
	request(JULIET "/b", NULL, TYPE_GET, "query", "<query xmlns='urn:xmpp:mam:2'/>");
	assert_non_null(strstr(answers(), "<field type='list-multi' var='ids'>"));
}

static const struct { const char *query, *answer; } wrong[] = {
	{ FORM(FIELD("x", "y")), "feature-not-implemented; " },
	{ FORM(FIELD("include-groupchat", "perhaps")), "bad-request; " },
	{ FORM(FIELD("start", "yesterday")), "bad-request; " },
	{ FORM(FIELD("start", "2026-02-30T00:00:00Z")), "bad-request; " },
	{ FORM(FIELD("end", "2026-02-03T00:00:00")), "bad-request; " },
	{ FORM(FIELD("with", "@x")), "jid-malformed; " },
	{ FORM(FIELD("with", "a@x") FIELD("with", "b@x")), "bad-request; " },
	{ FORM("<field var='with'><value>a@x</value><value>b@x</value></field>"), "bad-request; " },
	{ FORM("<field><value>a</value></field>"), "bad-request; " },
	{ FORM("") FORM(""), "bad-request; " },
	{ FORM(FIELD("FORM_TYPE", "urn:xmpp:mam:2")), "bad-request; " },
	{ "<x xmlns='jabber:x:data' type='submit'/>", "bad-request; " },
	{ "<x xmlns='jabber:x:data' type='submit'>" FIELD("FORM_TYPE", "urn:x") "</x>", "bad-request; " },
	{ "<x xmlns='jabber:x:data' type='cancel'/>", "bad-request; " },
	{ "<x xmlns='jabber:x:data'/>", "bad-request; " },
	{ SET("<max>many</max>"), "bad-request; " },
	{ SET("<max>-1</max>"), "bad-request; " },
	{ SET("<max/>"), "bad-request; " },
	{ SET("<index>3</index>"), "feature-not-implemented; " },
	/* what is not wrong */
	{ FORM(FIELD("include-groupchat", "true")), EMPTY },
	{ FORM(FIELD("include-groupchat", "0")), EMPTY },
	{ FORM("<field var='with'/>") SET("<after/>"), EMPTY },
	{ FORM("<field var='start'><value/></field>") "<y xmlns='urn:y'/>", EMPTY },
};

static void
test_wrong(void **arg)
{
	static char many[65536];
	size_t i, len;

	(void)arg;
	for (i = 0; i < sizeof wrong / sizeof *wrong; i++)
		assert_string_equal(ask(JULIET "/b", wrong[i].query), wrong[i].answer);
	request(JULIET "/b", NULL, TYPE_SET, "query", "<query xmlns='urn:xmpp:mam:2' node='n'/>");
	assert_string_equal(answers(), "feature-not-implemented; ");
	request(JULIET "/b", NULL, TYPE_SET, "other", "<other xmlns='urn:xmpp:mam:2'/>");
	assert_string_equal(answers(), "feature-not-implemented; ");
	request(JULIET "/b", NULL, TYPE_SET, "query", "<query xmlns='urn:x'/>");
	assert_string_equal(answers(), "bad-request; ");
	request(JULIET "/b", NULL, TYPE_SET, "query", "<query xmlns='urn:xmpp:mam:2'/><a/>");
	assert_string_equal(answers(), "bad-request; ");
	request(JULIET "/b", NULL, TYPE_SET, "query", "<query");
	assert_string_equal(answers(), "bad-request; ");
	len = (size_t)snprintf(many, sizeof many, "<query xmlns='urn:xmpp:mam:2'>"
	    "<x xmlns='jabber:x:data' type='submit'><field var='ids'>");
	for (i = 0; i <= QUERY_IDS; i++)
		len += (size_t)snprintf(many + len, sizeof many - len, "<value>%016zx</value>", i);
	snprintf(many + len, sizeof many - len, "</field></x></query>");
	request(JULIET "/b", NULL, TYPE_SET, "query", many);
	assert_string_equal(answers(), "policy-violation; ");
	memset(many, 'q', sizeof many);
	memcpy(many, "<query xmlns='urn:xmpp:mam:2' queryid='", 39);
	memcpy(many + 2000, "'/>", 4);
	request(JULIET "/b", NULL, TYPE_SET, "query", many);
	assert_string_equal(answers(), "policy-violation; ");
}

/* An archive is for its own account. */
static void
test_strangers(void **arg)
{
	(void)arg;
	five();
	request(ROMEO "/b", JULIET, TYPE_SET, "query", "<query xmlns='urn:xmpp:mam:2'/>");
	assert_string_equal(answers(), "forbidden; ");
	request(ROMEO "/b", "nobody@capulet.example", TYPE_SET, "query",
	    "<query xmlns='urn:xmpp:mam:2'/>");
	assert_string_equal(answers(), "forbidden; ");
	request(ROMEO "/b", JULIET, TYPE_GET, "metadata", "<metadata xmlns='urn:xmpp:mam:2'/>");
	assert_string_equal(answers(), "forbidden; ");
}

/* A request is acknowledged when it was answered, and done again when it comes again. */
static void
test_repeated(void **arg)
{
	uint64_t pair[2];

	(void)arg;
	chat(JULIET "/b", ROMEO, "one");
	request(JULIET "/b", NULL, TYPE_SET, "query", "<query xmlns='urn:xmpp:mam:2'/>");
	seq--;
	request(JULIET "/b", NULL, TYPE_SET, "query", "<query xmlns='urn:xmpp:mam:2'/>");
	assert_int_equal(batch_run(now, &out), OK);
	assert_int_equal(buf_len(&out.acks), 0);
	assert_true(mam_pending());
	assert_int_equal(mam_step(&out), OK);
	assert_int_equal(buf_len(&out.acks), 16);
	memcpy(pair, buf_slice(&out.acks).ptr, 16);
	assert_true(pair[0] == ORIGIN && pair[1] == seq);
	buf_clear(&out.frames);
	buf_clear(&out.acks);
	seq--;
	assert_string_equal(ask(JULIET "/b", ""), "#1 one; " WHOLE("#1", "#1", "1"));
	/* Of a router that is gone nothing is answered. */
	request(JULIET "/b", NULL, TYPE_SET, "query", "<query xmlns='urn:xmpp:mam:2'/>");
	assert_int_equal(batch_run(now, &out), OK);
	request(JULIET "/b", NULL, TYPE_SET, "query", "<query xmlns='urn:xmpp:mam:2'/>");
	batch_router_gone();
	assert_string_equal(answers(), "");
}

/* What one account, and all, may ask at once. */
static void
test_many(void **arg)
{
	size_t refused = 0;
	const char *at;
	int i;

	(void)arg;
	chat(JULIET "/b", ROMEO, "one");
	for (i = 0; i < 40; i++)
		request(JULIET "/b", NULL, TYPE_SET, "query", "<query xmlns='urn:xmpp:mam:2'/>");
	for (at = answers(); (at = strstr(at, "resource-constraint")) != NULL; at++)
		refused++;
	assert_int_equal(refused, 32);
	mam_gauges();
	assert_int_equal(counters[COUNTER_queries_under_way], 0);
}

/* A search through many rows goes on in steps, and finds what is behind them. */
static void
test_steps(void **arg)
{
	unsigned steps = 0;
	int i;

	(void)arg;
	chat(ROMEO "/needle", JULIET, "first");
	for (i = 0; i < 9000; i++) {
		message_queue(ROMEO "/x", JULIET, BOTH, "<body>x</body>");
		if (i % 1000 == 0) {
			assert_int_equal(batch_run(now, &out), OK);
			buf_clear(&out.frames);
		}
	}
	chat(ROMEO "/needle", JULIET, "last");
	ids[1] = id_last();
	for (i = 0; i < 2; i++) {
		request(JULIET "/b", NULL, TYPE_SET, "query", i == 0 ?
		    "<query xmlns='urn:xmpp:mam:2'>" FORM(FIELD("with", ROMEO "/needle")) "</query>" :
		    "<query xmlns='urn:xmpp:mam:2'>" FORM(FIELD("with", ROMEO "/needle"))
		    SET("<before/>") "</query>");
		assert_int_equal(batch_run(now, &out), OK);
		buf_clear(&out.frames);
		said[0] = '\0';
		for (steps = 0; mam_pending(); steps++)
			assert_int_equal(mam_step(&out), OK);
		assert_in_range(steps, 5, 6);
		say_all();
		buf_clear(&out.acks);
		assert_string_equal(said, "#1 first; #2 last; " WHOLE("#1", "#2", "2"));
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
		TEST(test_all), TEST(test_forwarded), TEST(test_with), TEST(test_times),
		TEST(test_late), TEST(test_ids), TEST(test_pages), TEST(test_limits),
		TEST(test_places), TEST(test_gone), TEST(test_metadata), TEST(test_wrong),
		TEST(test_strangers), TEST(test_repeated), TEST(test_many), TEST(test_steps),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
