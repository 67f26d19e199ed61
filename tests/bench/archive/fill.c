/*
 * fill.c: puts many messages into the store of an archived that does not run, through its own engine, so that a
 * server with a large archive can be measured: fill [-i] directory messages accounts others. growth.py runs it.
 *
 * Every second message is between two of the accounts that xmppload uses (load00000@localhost and its pair, and so
 * on), the rest between accounts that nobody else uses. Both sides have a copy, and each message is taken off the
 * spool as when its receiver has got it. The index of words is told that it has seen them, unless -i: then they are
 * indexed, which takes five times as long as the rest.
 *
 * Fails, with a word of why and exit status 1, when the store does.
 *
 * The Aldis developers
 */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "archived.h"

#define BATCH     4000
#define STORE_MAX (64ull << 30)
#define SPREAD    100 /* milliseconds of an archive's time that a transaction stands for */

static struct out out;
static uint32_t origin;
static uint64_t seq;

/* LMDB's commits find this one and do not wait for the disk; main() does it once at the end. */
int
fdatasync(int fd)
{
	(void)fd;
	return 0;
}

static void
check(int error)
{
	if (error != OK) {
		fprintf(stderr, "fill: %s\n", error_text(error));
		exit(1);
	}
}

static uint64_t
clock_ms(clockid_t clock)
{
	struct timespec t;

	clock_gettime(clock, &t);
	return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

static void
add(struct frame *f, enum frame_type type)
{
	static struct buf bytes;

	f->type = type;
	f->origin = origin;
	f->seq = ++seq;
	buf_clear(&bytes);
	check(frame_write(f, &bytes));
	if (!batch_add(f->type, buf_slice(&bytes)))
		check(E_MALFORMED);
}

/* Reports the messages of a STORED as delivered; counts them. */
static size_t
deliver(const struct frame *stored)
{
	static struct buf places;
	struct frame f = { 0 };
	size_t i, count = frame_count(stored) / 3;

	buf_clear(&places);
	for (i = 0; i < count; i++) {
		buf_add_u64(&places, frame_at(stored, 3 * i + 2));
		buf_add_u64(&places, frame_at(stored, 3 * i + 1));
	}
	f.numbers = buf_slice(&places);
	add(&f, FRAME_DELIVERED);
	return count;
}

/* Commits what waits; what was stored by it is delivered with the next transaction. */
static size_t
commit(uint64_t now)
{
	struct buf said = { 0 };
	struct slice whole, rest;
	struct frame f;
	size_t count = 0;

	while (batch_bytes() != 0) {
		check(batch_run(now, &out));
		buf_add_slice(&said, buf_slice(&out.frames));
		buf_clear(&out.frames);
		buf_clear(&out.acks);
	}
	for (rest = buf_slice(&said); frame_next(rest, &whole) == OK;
	    rest = slice_part(rest, whole.len, rest.len)) {
		check(frame_read(whole, &f));
		if (f.type == FRAME_STORED)
			count += deliver(&f);
	}
	buf_free(&said);
	return count;
}

static void
message(uint64_t i, unsigned accounts, unsigned others, uint64_t now)
{
	static const char text[] = "Wherefore art thou? Deny thy father and refuse thy name; or, if thou wilt not";
	struct frame f = { .kind = STANZA_MESSAGE, .subtype = TYPE_CHAT, .stamp = now,
		.flags = FLAG_STORE | FLAG_CONTENT | FLAG_BODY | FLAG_FROM_LOCAL | FLAG_TO_LOCAL };
	const char *prefix = i % 2 == 0 ? "load" : "other";
	unsigned user = (unsigned)rand() % (i % 2 == 0 ? accounts : others);
	char payload[256], from[64], to[64], id[32];

	snprintf(from, sizeof from, "%s%05u@localhost/load%u", prefix, user, user);
	snprintf(to, sizeof to, "%s%05u@localhost/load%u", prefix, user ^ 1, user ^ 1);
	snprintf(id, sizeof id, "f%llx", (unsigned long long)i);
	snprintf(payload, sizeof payload, "<body>%s, %llx</body>", text, (unsigned long long)i);
	f.from = slice_string(from);
	f.to = slice_string(to);
	f.id = slice_string(id);
	f.payload = slice_string(payload);
	add(&f, FRAME_STANZA);
}

static void
store(uint64_t messages, unsigned accounts, unsigned others)
{
	uint64_t span = (messages / BATCH + 1) * SPREAD, end = clock_ms(CLOCK_REALTIME), now = end - span;
	uint64_t start = clock_ms(CLOCK_MONOTONIC), took;
	size_t stored = 0;
	uint64_t i;

	for (i = 0; i < messages; i++) {
		message(i, accounts, others, now);
		if (i % BATCH == BATCH - 1) {
			stored += commit(now);
			now += SPREAD;
		}
	}
	stored += commit(now);
	commit(now);
	check(index_all());
	check(state_commit());
	took = clock_ms(CLOCK_MONOTONIC) - start;
	printf("stored %zu messages in %.1f s, %.1f us each; %llu wait\n", stored, (double)took / 1e3,
	    (double)took * 1e3 / (double)(messages + !messages), (unsigned long long)spool_total());
	if (stored != messages || spool_total() != 0)
		check(E_SYSTEM);
}

/* Has the index of words come up to the archive, or believe that it has. */
static void
words(const char *directory, bool index)
{
	uint64_t ticks = 0;

	if (index) {
		check(search_open(directory));
		while (search_prepare(ticks += 1000)) {
			search_work();
			search_finish(ticks);
		}
		search_close();
		return;
	}
	check(textfile_open(directory));
	if (text_open() != OK)
		check(text_reset());
	check(text_state_put("cursor", id_last()));
	text_close();
	textfile_close();
}

int
main(int argc, char **argv)
{
	bool index = argc > 1 && strcmp(argv[1], "-i") == 0;
	char **word = argv + 1 + index;
	unsigned accounts, others;
	uint64_t messages;

	if (argc - index != 5) {
		fprintf(stderr, "usage: fill [-i] directory messages accounts others\n");
		return 2;
	}
	messages = strtoull(word[1], NULL, 10);
	accounts = (unsigned)strtoul(word[2], NULL, 10);
	others = (unsigned)strtoul(word[3], NULL, 10);
	if (accounts < 2 || others < 2 || accounts % 2 != 0 || others % 2 != 0)
		check(E_MALFORMED);
	/* Above all incarnations that a supervisor gets to. */
	origin = 0x80000000u | ((uint32_t)time(NULL) & 0x7fffffffu);
	check(state_open(word[0], STORE_MAX, 100000, clock_ms(CLOCK_REALTIME)));
	store(messages, accounts, others);
	words(word[0], index);
	state_close();
	sync();
	return 0;
}
