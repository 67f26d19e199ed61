/*
 * archive.c: what archived's engine takes for messages and for pages out of large archives, without
 * processes and links around it: archive [messages [accounts [peers]]].
 *
 * Stores messages between accounts and their peers in a store in a temporary directory, in
 * transactions of 500, then as many of rooms (a room for each account, as many occupants as peers), has the index of
 * words follow, and then asks for pages and histories. Times are those of this process on the wall, with the store in the page cache; the index is written by the same
 * thread, which in archived is one of its own.
 */
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "archived.h"
#include "counter.h"
#include "ns.h"

#define BATCH 500
#define PAGES 500

static uint64_t now = 1790000000000ull, seq;
static struct out out;

static double
clock_of(clockid_t clock)
{
	struct timespec t;

	clock_gettime(clock, &t);
	return (double)t.tv_sec * 1e3 + (double)t.tv_nsec / 1e6;
}

static double
clock_ms(void)
{
	return clock_of(CLOCK_MONOTONIC);
}

static void
check(int error)
{
	if (error != OK) {
		fprintf(stderr, "archive: %s\n", error_text(error));
		exit(1);
	}
}

static void
add(struct frame *f)
{
	static struct buf bytes;

	f->type = FRAME_STANZA;
	f->origin = 5;
	f->seq = ++seq;
	f->handle = HANDLE(5, 1);
	buf_clear(&bytes);
	check(frame_write(f, &bytes));
	batch_add(f->type, buf_slice(&bytes));
}

/* Does what is to be done for the index of words next. */
static bool
index_step(void)
{
	static uint64_t ticks;

	if (!search_prepare(ticks += 1000))
		return false;
	search_work();
	search_finish(ticks);
	return true;
}

static void
run(void)
{
	while (batch_bytes() != 0)
		check(batch_run(now, &out));
	do {
		while (mam_pending())
			check(mam_step(&out));
		mam_gauges();
	} while (counters[COUNTER_queries_under_way] != 0 && index_step());
	buf_clear(&out.frames);
	buf_clear(&out.acks);
}

/* Words: of a vocabulary in which one is the rarer the later it comes; two that are in every
 * hundredth and in every thousandth message, and one that is in no other. */
static void
payload_write(unsigned i, char *out_bytes, size_t room)
{
	static const char first[] = "Wherefore art thou? Deny thy father and refuse thy name";
	unsigned words[6], w;

	for (w = 0; w < 6; w++) {
		unsigned r = (unsigned)rand() % 16;

		words[w] = (unsigned)rand() % (2u << r);
	}
	snprintf(out_bytes, room, "<body>%s, w%u w%u w%u w%u w%u w%u u%u%s%s</body>", first, words[0],
	    words[1], words[2], words[3], words[4], words[5], i, i % 100 == 7 ? " lark" : "",
	    i % 1000 == 7 ? " nightingale" : "");
}

/* Has the index of words come up to the archive. */
static void
follow(const char *directory, unsigned messages)
{
	char path[64];
	struct stat status;
	double start = clock_ms(), step, worst = 0;

	for (;;) {
		step = clock_ms();
		if (!index_step())
			break;
		step = clock_ms() - step;
		if (step > worst)
			worst = step;
	}
	snprintf(path, sizeof path, "%s/text.db", directory);
	if (stat(path, &status) != 0)
		exit(1);
	printf("indexed: %.2f us each, %.0f a second, %.1f bytes each; at most %.1f ms at once\n",
	    (clock_ms() - start) * 1e3 / messages, messages * 1e3 / (clock_ms() - start),
	    (double)status.st_size / messages, worst);
}

/* Every message is on its way from a local account to a contact elsewhere. */
static void
store(unsigned messages, unsigned accounts, unsigned peers)
{
	char payload[256];
	char from[64], to[64];
	double start = clock_ms(), used = clock_of(CLOCK_PROCESS_CPUTIME_ID);
	unsigned i;

	for (i = 0; i < messages; i++) {
		struct frame f = { .kind = STANZA_MESSAGE, .subtype = TYPE_CHAT,
			.flags = FLAG_STORE | FLAG_CONTENT | FLAG_BODY | FLAG_FROM_LOCAL, .stamp = now };
		/* One in twenty is of the first, as long as there are not more than as many others. */
		unsigned account = i % 20 == 7 ? 0 : (unsigned)rand() % accounts;
		unsigned peer = i == messages / 3 ? peers : (unsigned)rand() % peers;

		snprintf(from, sizeof from, "user%u@localhost/balcony", i == messages / 3 ? 0 : account);
		snprintf(to, sizeof to, "peer%u@example.org", peer);
		f.from = slice_string(from);
		f.to = slice_string(to);
		payload_write(i, payload, sizeof payload);
		f.payload = slice_string(payload);
		add(&f);
		if (i % BATCH == BATCH - 1) {
			now += 100;
			run();
		}
	}
	run();
	printf("stored %u messages, %u accounts, %u peers: %.2f us each, %.2f of CPU\n", messages, accounts, peers,
	    (clock_ms() - start) * 1e3 / messages,
	    (clock_of(CLOCK_PROCESS_CPUTIME_ID) - used) * 1e3 / messages);
}

/* Every message is said in a room. */
static void
store_rooms(unsigned messages, unsigned rooms, unsigned occupants)
{
	char payload[256], from[64], jid[64], token[ONCE_SIZE];
	double start = clock_ms(), used = clock_of(CLOCK_PROCESS_CPUTIME_ID);
	unsigned i;

	store_key_u64(token, 12345);
	for (i = 0; i < messages; i++) {
		struct frame f = { .kind = STANZA_MESSAGE, .subtype = TYPE_GROUPCHAT, .flags = FLAG_STORE |
			FLAG_CONTENT | FLAG_BODY | FLAG_FROM_LOCAL | FLAG_ROOM, .stamp = now };
		unsigned room = i % 20 == 7 ? 0 : (unsigned)rand() % rooms, nick = (unsigned)rand() % occupants;

		snprintf(from, sizeof from, "room%u@rooms.localhost/nick%u", room, nick);
		snprintf(jid, sizeof jid, "user%u@localhost", nick);
		store_key_u64(token + 8, i);
		f.token = slice_of(token, sizeof token);
		f.from = slice_string(from);
		f.to = slice_part(f.from, 0, (size_t)(strchr(from, '/') - from));
		f.jid = slice_string(jid);
		payload_write(i, payload, sizeof payload);
		f.payload = slice_string(payload);
		add(&f);
		if (i % BATCH == BATCH - 1) {
			now += 100;
			run();
		}
	}
	run();
	printf("stored %u messages of %u rooms, %u occupants: %.2f us each, %.2f of CPU\n", messages, rooms,
	    occupants, (clock_ms() - start) * 1e3 / messages,
	    (clock_of(CLOCK_PROCESS_CPUTIME_ID) - used) * 1e3 / messages);
}

/* Asks many times for what a frame says. */
static void
repeat(const char *what, struct frame *f, enum frame_type type)
{
	double start, worst = 0, begin = clock_ms();
	struct buf bytes = { 0 };
	unsigned i;

	f->type = type;
	f->handle = HANDLE(5, 1);
	check(frame_write(f, &bytes));
	for (i = 0; i < PAGES; i++) {
		start = clock_ms();
		batch_add(type, buf_slice(&bytes));
		run();
		if (clock_ms() - start > worst)
			worst = clock_ms() - start;
	}
	buf_free(&bytes);
	printf("  %-38s %8.3f ms, at most %.3f\n", what, (clock_ms() - begin) / PAGES, worst);
}

/* Asks for a page of a room many times, as somebody who may see its senders. */
static void
ask_room(const char *what, const char *query)
{
	struct frame f = { .subtype = TYPE_SET, .id = SLICE("q"), .from = SLICE("user0@localhost/balcony"),
		.jid = SLICE("room0@rooms.localhost"), .flags = FLAG_AVAILABLE };
	char payload[1024];

	snprintf(payload, sizeof payload, "<query xmlns='" NS_MAM "'>%s</query>", query);
	f.payload = slice_string(payload);
	repeat(what, &f, FRAME_ROOM_QUERY);
}

static void
ask_history(const char *what, uint64_t messages, uint64_t characters)
{
	uint64_t limits[] = { messages, characters };
	struct frame f = { .jid = SLICE("room0@rooms.localhost"), .to = SLICE("user0@localhost/balcony"),
		.number = 1, .numbers = slice_of((const char *)limits, sizeof limits) };

	repeat(what, &f, FRAME_HISTORY);
}

/* Asks for a page many times. */
static void
ask(const char *what, const char *query)
{
	char payload[1024];
	struct frame f = { .kind = STANZA_IQ, .subtype = TYPE_SET, .id = SLICE("q"),
		.from = SLICE("user0@localhost/balcony"), .name = SLICE("query"), .ns = SLICE(NS_MAM) };
	double start, worst = 0, begin = clock_ms();
	unsigned i;

	snprintf(payload, sizeof payload, "<query xmlns='" NS_MAM "'>%s</query>", query);
	f.payload = slice_string(payload);
	for (i = 0; i < PAGES; i++) {
		start = clock_ms();
		add(&f);
		run();
		if (clock_ms() - start > worst)
			worst = clock_ms() - start;
	}
	printf("  %-38s %8.3f ms, at most %.3f\n", what, (clock_ms() - begin) / PAGES, worst);
}

#define FORM(field, value) "<x xmlns='jabber:x:data' type='submit'><field var='FORM_TYPE'><value>" \
	NS_MAM "</value></field><field var='" field "'><value>" value "</value></field></x>"
#define WORDS(words) FORM("{" NS_FULLTEXT "}fulltext", words)
#define LAST "<set xmlns='" NS_RSM "'><before/></set>"

int
main(int argc, char **argv)
{
	unsigned messages = argc > 1 ? (unsigned)strtoul(argv[1], NULL, 10) : 1000000;
	unsigned accounts = argc > 2 ? (unsigned)strtoul(argv[2], NULL, 10) : 1;
	unsigned peers = argc > 3 ? (unsigned)strtoul(argv[3], NULL, 10) : 100;
	char directory[] = "/tmp/archive.XXXXXX", path[64], rare[256];

	if (mkdtemp(directory) == NULL)
		return 1;
	check(state_open(directory, 16ull << 30, 1000, now));
	check(search_open(directory));
	store(messages, accounts, peers);
	store_rooms(messages, accounts, peers);
	follow(directory, 2 * messages);
	ask("first page", "");
	ask("last page", LAST);
	ask("with a contact", FORM("with", "peer7@example.org"));
	ask("with a contact, last page", FORM("with", "peer7@example.org") LAST);
	snprintf(rare, sizeof rare, FORM("with", "peer%u@example.org") LAST, peers);
	ask("with a contact of one message", rare);
	ask("with nobody", FORM("with", "nobody@example.org"));
	ask("from the middle on", FORM("start", "2026-09-21T14:14:30Z"));
	ask("a word of every message", WORDS("wherefore"));
	ask("a word of every message, last page", WORDS("wherefore") LAST);
	ask("two of every message, last page", WORDS("wherefore father") LAST);
	ask("a word of one in 100", WORDS("lark") LAST);
	ask("a word of one in 1000", WORDS("nightingale"));
	ask("a frequent and a rare word", WORDS("wherefore nightingale"));
	ask("a phrase", WORDS("\"refuse thy name\""));
	ask("a word of one message of another", WORDS("u12345"));
	ask("the beginning of words", WORDS("nig*"));
	ask("the beginning of many words", WORDS("w12*"));
	ask("no such word", WORDS("capulet"));
	ask_history("20 messages of history", 20, UINT64_MAX);
	ask_history("10000 characters of history", 1000, 10000);
	ask_room("room, last page", LAST);
	ask_room("room, with an occupant, last page", FORM("with", "room0@rooms.localhost/nick7") LAST);
	ask_room("room, with a sender, last page", FORM("with", "user7@localhost") LAST);
	ask_room("room, a word of one in 100", WORDS("lark") LAST);
	state_close();
	search_close();
	snprintf(path, sizeof path, "%s/data.mdb", directory);
	unlink(path);
	snprintf(path, sizeof path, "%s/lock.mdb", directory);
	unlink(path);
	snprintf(path, sizeof path, "%s/text.db", directory);
	unlink(path);
	snprintf(path, sizeof path, "%s/text.db-wal", directory);
	unlink(path);
	return rmdir(directory);
}
