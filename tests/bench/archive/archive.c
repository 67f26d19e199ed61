/*
 * archive.c: what archived's engine takes for messages and for pages out of large archives, without
 * processes and links around it: archive [messages [accounts [peers]]].
 *
 * Stores messages between accounts and their peers in a store in a temporary directory, in
 * transactions of 500, and then asks for pages. Times are those of this process on the wall, with
 * the store in the page cache.
 */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "archived.h"
#include "ns.h"

#define BATCH 500
#define PAGES 500

static uint64_t now = 1790000000000ull, seq;
static struct out out;

static double
clock_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec * 1e3 + (double)t.tv_nsec / 1e6;
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

static void
run(void)
{
	while (batch_bytes() != 0)
		check(batch_run(now, &out));
	while (mam_pending())
		check(mam_step(&out));
	buf_clear(&out.frames);
	buf_clear(&out.acks);
}

/* Every message is on its way from a local account to a contact elsewhere. */
static void
store(unsigned messages, unsigned accounts, unsigned peers)
{
	static const char payload[] = "<body>Wherefore art thou? Deny thy father and refuse thy name, "
	    "or, if thou wilt not, be but sworn my love</body>";
	char from[64], to[64];
	double start = clock_ms();
	unsigned i;

	for (i = 0; i < messages; i++) {
		struct frame f = { .kind = STANZA_MESSAGE, .subtype = TYPE_CHAT,
			.flags = FLAG_STORE | FLAG_CONTENT | FLAG_BODY | FLAG_FROM_LOCAL,
			.payload = slice_of(payload, sizeof payload - 1), .stamp = now };
		unsigned account = (unsigned)rand() % accounts;
		unsigned peer = i == messages / 3 ? peers : (unsigned)rand() % peers;

		snprintf(from, sizeof from, "user%u@localhost/balcony", i == messages / 3 ? 0 : account);
		snprintf(to, sizeof to, "peer%u@example.org", peer);
		f.from = slice_string(from);
		f.to = slice_string(to);
		add(&f);
		if (i % BATCH == BATCH - 1) {
			now += 100;
			run();
		}
	}
	run();
	printf("stored %u messages, %u accounts, %u peers: %.2f us each\n", messages, accounts, peers,
	    (clock_ms() - start) * 1e3 / messages);
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
	printf("  %-34s %8.3f ms, at most %.3f\n", what, (clock_ms() - begin) / PAGES, worst);
}

#define FORM(field, value) "<x xmlns='jabber:x:data' type='submit'><field var='FORM_TYPE'><value>" \
	NS_MAM "</value></field><field var='" field "'><value>" value "</value></field></x>"
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
	store(messages, accounts, peers);
	ask("first page", "");
	ask("last page", LAST);
	ask("with a contact", FORM("with", "peer7@example.org"));
	ask("with a contact, last page", FORM("with", "peer7@example.org") LAST);
	snprintf(rare, sizeof rare, FORM("with", "peer%u@example.org") LAST, peers);
	ask("with a contact of one message", rare);
	ask("with nobody", FORM("with", "nobody@example.org"));
	ask("from the middle on", FORM("start", "2026-09-21T14:14:30Z"));
	state_close();
	snprintf(path, sizeof path, "%s/data.mdb", directory);
	unlink(path);
	snprintf(path, sizeof path, "%s/lock.mdb", directory);
	unlink(path);
	return rmdir(directory);
}
