/*
 * test_search.c: searches for words in archives (XEP-0431), and the index behind them: archived's
 * engine on a store in a temporary directory, with the index's jobs done one after the other.
 *
 * Links: archived
 */
#include <fcntl.h>
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
#define SET(parts) "<set xmlns='http://jabber.org/protocol/rsm'>" parts "</set>"
#define FIELD(name, value) "<field var='" name "'><value>" value "</value></field>"
#define BUSY "resource-constraint"

static char directory[64];
static uint64_t now, seq, ticks;
static struct out out;
static char said[65536]; /* bodies, or the condition of an error, and whether that was all */
static uint64_t ids[4096];
static size_t id_count;

/* -- surroundings -- */

static const char *
path_of(const char *name)
{
	static char path[128];

	snprintf(path, sizeof path, "%s/%s", directory, name);
	return path;
}

static int
open_all(void)
{
	int error = state_open(directory, 256u << 20, 100000, now);

	return error ? error : search_open(directory);
}

/* Jobs that are at hand are not finished. */
static void
close_all(void)
{
	state_close();
	search_close();
}

static int
setup(void **arg)
{
	(void)arg;
	snprintf(directory, sizeof directory, "/tmp/test_search.XXXXXX");
	assert_non_null(mkdtemp(directory));
	now = NOW;
	seq = id_count = 0;
	state.index_copies = 32768;
	state.page_messages = 50;
	return open_all();
}

static int
teardown(void **arg)
{
	static const char *const names[] = { "data.mdb", "lock.mdb", "text.db", "text.db-wal" };
	size_t i;

	(void)arg;
	close_all();
	buf_free(&out.frames);
	buf_free(&out.acks);
	for (i = 0; i < sizeof names / sizeof *names; i++)
		unlink(path_of(names[i]));
	return rmdir(directory);
}

static void
add(const struct frame *f)
{
	struct buf bytes = { 0 };

	assert_int_equal(frame_write(f, &bytes), OK);
	assert_true(batch_add(f->type, buf_slice(&bytes)));
	buf_free(&bytes);
	assert_int_equal(batch_run(now, &out), OK);
}

/* Whether there is a job that is due; a second passes. */
static bool
job_next(void)
{
	ticks += 1000;
	return search_when() <= ticks && search_prepare(ticks);
}

/* Does what is to be done for the index. */
static void
index_run(void)
{
	unsigned jobs = 0;

	while (job_next()) {
		search_work();
		search_finish(ticks);
		assert_true(++jobs < 100000);
	}
}

static void
message(const char *from, const char *to, uint32_t flags, const char *payload)
{
	struct slice whole;
	struct frame f = {
		.type = FRAME_STANZA, .kind = STANZA_MESSAGE, .subtype = TYPE_CHAT,
		.flags = FLAG_STORE | FLAG_CONTENT | flags, .origin = ORIGIN, .seq = ++seq,
		.handle = HANDLE(ORIGIN, 77), .from = slice_string(from), .to = slice_string(to),
		.id = SLICE("m"), .payload = slice_string(payload), .stamp = now += 1000,
	};

	add(&f);
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
	char payload[512];

	snprintf(payload, sizeof payload, "<body>%s</body>", words);
	message(from, to, BOTH, payload);
}

static void
account_frame(enum frame_type type, const char *jid, uint32_t flags, uint64_t id)
{
	struct frame f = {
		.type = type, .origin = ORIGIN, .seq = ++seq, .jid = slice_string(jid), .flags = flags,
		.archive_id = id,
	};

	add(&f);
	buf_clear(&out.frames);
	buf_clear(&out.acks);
	while (forget_pending()) {
		assert_int_equal(forget_step(), OK);
		assert_int_equal(state_commit(), OK);
	}
}

static void
say(struct slice text)
{
	size_t len = strlen(said);

	snprintf(said + len, sizeof said - len, "%.*s ", SLICE_ARG(text));
}

static void
say_frame(const struct frame *f)
{
	struct xmlin_element a, b, c, d;
	struct xmlin in;

	if (f->type != FRAME_STANZA)
		return;
	if (f->kind == STANZA_MESSAGE) {
		assert_true(xmlin_find(f->payload, SLICE(NS_CLIENT), "result", NS_MAM, &a));
		assert_true(xmlin_find(a.content, a.ns, "forwarded", NS_FORWARD, &b));
		assert_true(xmlin_find(b.content, b.ns, "message", NS_CLIENT, &c));
		say(xmlin_find(c.content, c.ns, "body", NS_CLIENT, &d) ? d.content : SLICE("-"));
	} else if (f->subtype == TYPE_ERROR) {
		assert_true(xmlin_find(f->payload, SLICE(NS_CLIENT), "error", NS_CLIENT, &a));
		xmlin_begin(&in, a.content, a.ns);
		assert_true(xmlin_child(&in, &b));
		say(b.name);
	} else if (xmlin_find(f->payload, SLICE(NS_CLIENT), "fin", NS_MAM, &a) &&
	    xmlin_attribute(&a, "complete", NULL, &d.name) != OK) {
		say(SLICE("..."));
	}
}

/* Searches, and says what was found; index: meanwhile its jobs are done. */
static const char *
ask(const char *who, const char *text, const char *fields, const char *set, bool index)
{
	char payload[4096];
	struct slice whole, rest;
	struct frame f = {
		.type = FRAME_STANZA, .kind = STANZA_IQ, .subtype = TYPE_SET, .origin = ORIGIN,
		.seq = ++seq, .handle = HANDLE(ORIGIN, 9), .from = slice_string(who), .id = SLICE("q"),
		.name = SLICE("query"), .ns = SLICE(NS_MAM),
	};

	snprintf(payload, sizeof payload, "<query xmlns='urn:xmpp:mam:2'>"
	    "<x xmlns='jabber:x:data' type='submit'><field var='FORM_TYPE' type='hidden'>"
	    "<value>urn:xmpp:mam:2</value></field><field var='{urn:xmpp:fulltext:0}fulltext'>"
	    "%s%s%s</field>%s</x>%s</query>", *text ? "<value>" : "<value/>", text,
	    *text ? "</value>" : "", fields, set);
	f.payload = slice_string(payload);
	add(&f);
	said[0] = '\0';
	while (mam_pending()) {
		assert_int_equal(mam_step(&out), OK);
		if (index && !mam_pending())
			index_run();
	}
	for (rest = buf_slice(&out.frames); frame_next(rest, &whole) == OK;
	    rest = slice_part(rest, whole.len, rest.len)) {
		assert_int_equal(frame_read(whole, &f), OK);
		say_frame(&f);
	}
	buf_clear(&out.frames);
	buf_clear(&out.acks);
	return said;
}

static const char *
find(const char *who, const char *text)
{
	index_run();
	return ask(who, text, "", "", true);
}

/* Whether the files of the index have a word in them. */
static bool
file_has(const char *word)
{
	static const char *const names[] = { "text.db", "text.db-wal" };
	bool found = false;
	size_t i;

	for (i = 0; i < 2; i++) {
		size_t room = 16 << 20, len;
		char *bytes = malloc(room);
		FILE *file = fopen(path_of(names[i]), "r");

		assert_true(bytes != NULL && file != NULL);
		len = fread(bytes, 1, room, file);
		assert_true(len < room);
		fclose(file);
		found |= memmem(bytes, len, word, strlen(word)) != NULL;
		free(bytes);
	}
	return found;
}

/* Writes nonsense over a file of the index. */
static void
damage(const char *name, off_t offset, size_t len)
{
	char nonsense[65536];
	int fd = open(path_of(name), O_WRONLY);

	memset(nonsense, 0x5a, sizeof nonsense);
	assert_true(fd >= 0 && len <= sizeof nonsense);
	assert_int_equal(pwrite(fd, nonsense, len, offset), len);
	close(fd);
}

/* -- what is found -- */

static void
test_words(void **arg)
{
	(void)arg;
	chat(JULIET "/b", ROMEO, "Wherefore art thou Romeo");
	chat(ROMEO "/g", JULIET, "Déjà vu: my NAÏVE heart's &lt;love&gt; &amp; lark-song");
	chat(NURSE "/h", JULIET, "romeo");
	chat(ROMEO "/g", "rosaline@capulet.example", "wherefore");
	assert_string_equal(find(JULIET "/b", "romeo"), "Wherefore art thou Romeo romeo ");
	assert_string_equal(find(ROMEO "/g", "romeo"), "Wherefore art thou Romeo ");
	assert_string_equal(find(ROMEO "/g", "WHEREFORE"), "Wherefore art thou Romeo wherefore ");
	assert_string_equal(find(JULIET "/b", "thou romeo"), "Wherefore art thou Romeo ");
	assert_string_equal(find(JULIET "/b", "\"romeo thou\""), "");
	assert_string_equal(find(JULIET "/b", "\"art thou\" wherefore"), "Wherefore art thou Romeo ");
	assert_non_null(strstr(find(JULIET "/b", "deja naive"), "vu"));
	assert_non_null(strstr(find(JULIET "/b", "lark-song"), "vu"));
	assert_non_null(strstr(find(JULIET "/b", "déjà &lt;love&gt;"), "vu"));
	assert_string_equal(find(JULIET "/b", "nothing"), "");
	assert_string_equal(find("nobody@capulet.example/x", "romeo"), "");
	assert_string_equal(find(JULIET "/b", "wheref"), "");
	assert_string_equal(find(JULIET "/b", "wheref*"), "Wherefore art thou Romeo ");
	assert_string_equal(find(JULIET "/b", "\"art tho\"*"), "Wherefore art thou Romeo ");
	assert_string_equal(find(JULIET "/b", "wh*"), "");
}

/* Scripts without spaces; a combining accent is an accent; subjects; several bodies. */
static void
test_scripts(void **arg)
{
	(void)arg;
	chat(JULIET "/b", ROMEO, "今夜は月が綺麗ですね");
	chat(JULIET "/b", ROMEO, "cafe\xcc\x81");
	message(JULIET "/b", ROMEO, BOTH, "<subject>the balcony</subject>"
	    "<body xml:lang='it'>buonanotte</body><body>goodnight</body>");
	message(JULIET "/b", ROMEO, BOTH, "<x xmlns='urn:x'><body xmlns='jabber:client'>inner</body>"
	    "</x><body xmlns='urn:x'>foreign</body>");
	assert_string_equal(find(ROMEO "/g", "綺麗"), "今夜は月が綺麗ですね ");
	assert_string_equal(find(ROMEO "/g", "麗綺"), "");
	assert_string_equal(find(ROMEO "/g", "café"), "cafe\xcc\x81 ");
	assert_string_equal(find(ROMEO "/g", "balcony"), "buonanotte ");
	assert_string_equal(find(ROMEO "/g", "goodnight buonanotte"), "buonanotte ");
	assert_string_equal(find(ROMEO "/g", "inner"), "");
	assert_string_equal(find(ROMEO "/g", "foreign"), "");
}

/* Nothing that is typed is syntax: it finds what has these words, or nothing; nobody else's. */
static void
test_syntax(void **arg)
{
	static const char *const typed[] = {
		"\"", "\"\"", "*", "\"*", "(", "!!!", "\" OR text:romeo", "text:romeo", "party:x",
		"romeo OR nurse", "romeo NOT nurse", "NEAR(romeo nurse)", "{text}: romeo", "^romeo",
		"-romeo", "romeo\" OR \"nurse", "a + b", "';DROP TABLE words;--", "\xf0\x9f\x98\x80",
		"\xc2\xa0", "x\"y\"z*\"*",
	};
	char party[64] = { 0 };
	struct buf word = { 0 };
	size_t i;

	(void)arg;
	chat(NURSE "/h", ROMEO, "nurse or near text party not a b x y z drop table words");
	chat(JULIET "/b", ROMEO, "something");
	for (i = 0; i < sizeof typed / sizeof *typed; i++)
		assert_string_equal(find(JULIET "/b", typed[i]), "");
	/* Not even with the word that stands for somebody. */
	phrase_party(SLICE(NURSE), &word);
	memcpy(party, buf_slice(&word).ptr, buf_len(&word));
	buf_free(&word);
	assert_string_equal(find(JULIET "/b", party), "");
	assert_string_equal(find(ROMEO "/g", party), "");
	assert_string_equal(find(ROMEO "/g", "something !!!"), "something ");
	assert_string_equal(find(ROMEO "/g", "x \"y z\" AND"), "");
	assert_int_equal(counters[COUNTER_text_resets], 0);
}

static void
test_bounds(void **arg)
{
	char text[PHRASE_MAX + 2];

	(void)arg;
	chat(JULIET "/b", ROMEO, "a b c d e f g h i j k l m n o p");
	memset(text, 'a', sizeof text - 1);
	text[sizeof text - 1] = '\0';
	assert_string_equal(find(JULIET "/b", text), "policy-violation ");
	text[PHRASE_MAX] = '\0';
	assert_string_equal(find(JULIET "/b", text), "");
	assert_string_equal(find(JULIET "/b", "a b c d e f g h i j k l m n o p"),
	    "a b c d e f g h i j k l m n o p ");
	assert_string_equal(find(JULIET "/b", "a b c d e f g h i j k l m n o p q"),
	    "policy-violation ");
	/* An empty field is none. */
	assert_string_equal(find(JULIET "/b", ""), "a b c d e f g h i j k l m n o p ");
}

/* With the other fields, and by pages in both directions. */
static void
test_pages(void **arg)
{
	char words[32], set[256], id[17];
	unsigned i;

	(void)arg;
	for (i = 1; i <= 600; i++) {
		snprintf(words, sizeof words, "%s%u", i % 2 ? "odd n" : "even n", i);
		chat(i % 3 ? JULIET "/b" : NURSE "/h", ROMEO, words);
	}
	index_run();
	assert_string_equal(ask(ROMEO "/g", "odd", "", SET("<max>3</max>"), true),
	    "odd n1 odd n3 odd n5 ... ");
	assert_string_equal(ask(ROMEO "/g", "odd", "", SET("<max>2</max><before/>"), true),
	    "odd n597 odd n599 ... ");
	stanza_archive_id(ids[595], id);
	snprintf(set, sizeof set, SET("<after>%s</after>"), id);
	assert_string_equal(ask(ROMEO "/g", "odd", "", set, true), "odd n597 odd n599 ");
	snprintf(set, sizeof set, SET("<max>1</max><before>%s</before>"), id);
	assert_string_equal(ask(ROMEO "/g", "odd", "", set, true), "odd n595 ... ");
	assert_string_equal(ask(ROMEO "/g", "odd", FIELD("with", NURSE), SET("<max>2</max>"), true),
	    "odd n3 odd n9 ... ");
	assert_string_equal(ask(ROMEO "/g", "n7*", FIELD("with", NURSE), "", true), "");
	assert_string_equal(ask(ROMEO "/g", "odd", FIELD("start", "2026-09-21T14:23:15Z"), "", true),
	    "odd n595 odd n597 odd n599 ");
	assert_string_equal(ask(ROMEO "/g", "odd", FIELD("end", "2026-09-21T14:13:23Z"), "", true),
	    "odd n1 odd n3 ");
	snprintf(set, sizeof set, FIELD("ids", "%s"), id);
	assert_string_equal(ask(ROMEO "/g", "even", set, "", true), "even n596 ");
	assert_string_equal(ask(ROMEO "/g", "odd", set, "", true), "");
	/* More than one job of the index finds, of which none are one's own. */
	assert_string_equal(ask(ROMEO "/g", "odd n599", "", "", true), "odd n599 ");
	assert_string_equal(ask(ROMEO "/g", "odd", FIELD("with", "romeo@montague.example/x"), "", true),
	    "");
	assert_string_equal(ask(ROMEO "/g", "odd", "", SET("<after>0123456789abcdef</after>"), true),
	    "item-not-found ");
}

/* -- the index follows -- */

/* What is at hand when the process dies is done after the next start, and once. */
static void
test_crash(void **arg)
{
	unsigned i;

	(void)arg;
	for (i = 0; i < 4; i++) {
		chat(JULIET "/b", ROMEO, "lark");
		if (i == 1)
			index_run();
		assert_true(i != 2 || job_next());          /* taken, not done */
		if (i == 3) {
			assert_true(job_next());            /* done, not finished */
			search_work();
		}
		close_all();
		assert_int_equal(open_all(), OK);
	}
	assert_string_equal(find(ROMEO "/g", "lark"), "lark lark lark lark ");
	assert_string_equal(find(ROMEO "/g", "lark"), "lark lark lark lark ");
	chat(JULIET "/b", ROMEO, "lark");
	assert_string_equal(find(JULIET "/g", "lark"), "lark lark lark lark lark ");
	assert_int_equal(counters[COUNTER_text_resets], 0);
}

/* Many that wait are one transaction of the index: what is in it is found, taken out, and not lost by a crash. */
static void
test_gathered(void **arg)
{
	struct buf expression = { 0 }, found = { 0 };
	char words[32], expected[32];
	unsigned i, jobs;

	(void)arg;
	message(JULIET "/b", "x@example.org", FLAG_FROM_LOCAL, "<body>lark n0</body>");
	for (i = 1; i < 2000; i++) {
		snprintf(words, sizeof words, "lark n%u", i);
		chat(JULIET "/b", ROMEO, words);
	}
	for (jobs = 0; jobs < 3; jobs++) {
		assert_true(job_next());
		search_work();
		search_finish(ticks);
	}
	assert_int_equal(phrase_read(SLICE("n50"), &expression), OK);
	assert_int_equal(text_find(buf_slice(&expression), 0, UINT64_MAX, false, 9, &found), OK);
	assert_int_equal(buf_len(&found), 8);
	buf_free(&expression);
	buf_free(&found);
	account_frame(FRAME_DROP, JULIET, FLAG_BOUNCE, ids[0]);
	assert_int_equal(store_count(state.store, TABLE_REMOVED), 1);
	for (jobs = 0; jobs < 2; jobs++) { /* it is taken out, and more comes behind it */
		assert_true(job_next());
		search_work();
		search_finish(ticks);
	}
	assert_int_equal(store_count(state.store, TABLE_REMOVED), 0);
	close_all();
	assert_int_equal(open_all(), OK);
	index_run();
	assert_string_equal(find(JULIET "/b", "n0"), "");
	for (i = 1; i < 2000; i += 37) {
		snprintf(words, sizeof words, "n%u", i);
		snprintf(expected, sizeof expected, "lark n%u ", i);
		assert_string_equal(find(ROMEO "/g", words), expected);
	}
	assert_int_equal(counters[COUNTER_text_added], 2000 + 400);
	assert_int_equal(counters[COUNTER_text_resets], 0);
}

/* A message is removed from the index when nobody has it any more, and its words with it. */
static void
test_removed(void **arg)
{
	(void)arg;
	chat(JULIET "/b", ROMEO, "nightingale");
	chat(JULIET "/b", ROMEO, "pomegranate");
	index_run();
	assert_true(file_has("nightingale") && file_has("pomegranate"));
	account_frame(FRAME_FORGET, JULIET, 0, 0);
	assert_string_equal(find(ROMEO "/g", "nightingale"), "nightingale ");
	assert_string_equal(find(JULIET "/b", "nightingale"), "");
	account_frame(FRAME_FORGET, ROMEO, 0, 0);
	assert_int_equal(store_count(state.store, TABLE_REMOVED), 2);
	assert_string_equal(find(ROMEO "/g", "nightingale"), "");
	assert_int_equal(store_count(state.store, TABLE_REMOVED), 0);
	assert_int_equal(counters[COUNTER_text_removed], 2);
	assert_false(file_has("nightingale") || file_has("pomegranate"));
	/* An account of that name that comes later has nothing of it. */
	chat(JULIET "/b", ROMEO, "nightingale");
	assert_string_equal(find(ROMEO "/g", "nightingale"), "nightingale ");
}

/* A removal is not forgotten by a crash, at whatever moment; nor is a message that goes before
 * it was in the index ever in it. */
static void
test_removed_crash(void **arg)
{
	(void)arg;
	chat(JULIET "/b", "peer@example.org", "nightingale");
	message(JULIET "/b", "x@example.org", FLAG_FROM_LOCAL, "<body>early</body>");
	account_frame(FRAME_DROP, JULIET, FLAG_BOUNCE, ids[1]);
	assert_int_equal(store_count(state.store, TABLE_REMOVED), 0);
	index_run();
	assert_false(file_has("early"));
	message(JULIET "/b", "x@example.org", FLAG_FROM_LOCAL, "<body>pomegranate</body>");
	index_run();
	account_frame(FRAME_DROP, JULIET, FLAG_BOUNCE, ids[2]);
	close_all();
	assert_int_equal(open_all(), OK);
	assert_int_equal(store_count(state.store, TABLE_REMOVED), 1);
	assert_true(job_next());
	search_work(); /* done, not finished */
	close_all();
	assert_int_equal(open_all(), OK);
	assert_int_equal(store_count(state.store, TABLE_REMOVED), 1);
	index_run();
	assert_int_equal(store_count(state.store, TABLE_REMOVED), 0);
	assert_false(file_has("pomegranate"));
	assert_string_equal(find(JULIET "/b", "nightingale"), "nightingale ");
	assert_int_equal(counters[COUNTER_text_resets], 0);
}

/* -- the index is made anew -- */

/* While it is not whole, who searches is told to come again. */
static void
test_reindex(void **arg)
{
	unsigned i;

	(void)arg;
	for (i = 0; i < 1300; i++)
		chat(JULIET "/b", ROMEO, i % 100 ? "lark" : "needle");
	index_run();
	assert_true(search_is_whole() && search_reset());
	assert_string_equal(ask(ROMEO "/g", "needle", "", "", false), BUSY " ");
	for (i = 0; i < 3; i++) { /* dropped, and two of three pieces made */
		assert_true(job_next());
		search_work();
		search_finish(ticks);
		assert_string_equal(ask(ROMEO "/g", "needle", "", "", false), BUSY " ");
	}
	/* Nor does it look whole after a restart. */
	close_all();
	assert_int_equal(open_all(), OK);
	assert_string_equal(ask(ROMEO "/g", "needle", "", "", false), BUSY " ");
	assert_string_equal(find(ROMEO "/g", "needle"), "needle needle needle needle needle needle "
	    "needle needle needle needle needle needle needle ");
	assert_int_equal(counters[COUNTER_text_resets], 1);
	search_gauges();
	assert_int_equal(counters[COUNTER_text_building], 0);
}

/* The files are damaged, empty, or another's when it starts. */
static void
test_damaged(void **arg)
{
	unsigned i;

	(void)arg;
	for (i = 0; i < 300; i++)
		chat(JULIET "/b", ROMEO, i % 100 ? "lark" : "needle");
	for (i = 0; i < 5; i++) {
		index_run();
		close_all();
		if (i == 0)
			damage("text.db", 0, 4096);
		else if (i == 1)
			assert_int_equal(truncate(path_of("text.db"), 5000), 0);
		else if (i == 2)
			assert_int_equal(unlink(path_of("text.db")), 0);
		else if (i == 3)
			damage("text.db-wal", 0, 4096); /* nothing that could be taken for one */
		else
			damage("text.db", 100, 900);
		assert_int_equal(open_all(), OK);
		assert_string_equal(find(ROMEO "/g", "needle"), "needle needle needle ");
	}
	assert_in_range(counters[COUNTER_text_resets], 4, 5);
}

/* They are damaged while it runs: that shows when it is asked, and is mended. */
static void
test_damaged_later(void **arg)
{
	char words[64];
	unsigned i;

	(void)arg;
	for (i = 0; i < 3000; i++) {
		snprintf(words, sizeof words, "lark w%u v%u", i * 7919 % 3000, i * 104729 % 3001);
		chat(JULIET "/b", ROMEO, words);
	}
	index_run();
	close_all(); /* nothing is in the log or in memory now */
	assert_int_equal(open_all(), OK);
	for (i = 0; i < 4; i++)
		damage("text.db", (3 + 16 * i) * 4096, 16 * 4096);
	for (i = 0; i < 50 && counters[COUNTER_text_resets] == 0; i++) {
		snprintf(words, sizeof words, "w%u", i * 60);
		find(ROMEO "/g", words);
	}
	assert_int_equal(counters[COUNTER_text_resets], 1);
	for (i = 0; i < 3000; i += 100) {
		snprintf(words, sizeof words, "w%u", i);
		assert_int_equal(strncmp(find(ROMEO "/g", words), "lark w", 6), 0);
	}
}

/* Requests that go away while the index works for them. */
static void
test_given_up(void **arg)
{
	unsigned i;

	(void)arg;
	chat(JULIET "/b", ROMEO, "lark");
	index_run();
	for (i = 0; i < 3; i++) {
		struct frame f = {
			.type = FRAME_STANZA, .kind = STANZA_IQ, .subtype = TYPE_SET, .origin = ORIGIN,
			.seq = ++seq, .handle = HANDLE(ORIGIN, 9), .from = SLICE(ROMEO "/g"),
			.id = SLICE("q"), .name = SLICE("query"), .ns = SLICE(NS_MAM),
			.payload = SLICE("<query xmlns='urn:xmpp:mam:2'>"
			    "<x xmlns='jabber:x:data' type='submit'><field var='FORM_TYPE'>"
			    "<value>urn:xmpp:mam:2</value></field>"
			    "<field var='{urn:xmpp:fulltext:0}fulltext'><value>lark</value></field></x>"
			    "</query>"),
		};

		add(&f);
		assert_int_equal(mam_step(&out), OK);
		assert_false(mam_pending());
		if (i != 0)
			assert_true(job_next());
		if (i == 2)
			search_work();
		batch_router_gone();
		if (i == 1)
			search_work();
		if (i != 0)
			search_finish(ticks);
		mam_gauges();
		assert_int_equal(counters[COUNTER_queries_under_way], 0);
	}
	assert_string_equal(find(ROMEO "/g", "lark"), "lark ");
}

static int
fresh(void **arg)
{
	int error = setup(arg);

	index_run();
	memset(counters, 0, sizeof(counters[0]) * COUNTER_COUNT);
	return error;
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, fresh, teardown)
		TEST(test_words), TEST(test_scripts), TEST(test_syntax), TEST(test_bounds),
		TEST(test_pages), TEST(test_crash), TEST(test_gathered), TEST(test_removed), TEST(test_removed_crash),
		TEST(test_reindex), TEST(test_damaged), TEST(test_damaged_later),
		TEST(test_given_up),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
