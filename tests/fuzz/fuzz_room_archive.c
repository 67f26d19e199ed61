/*
 * fuzz_room_archive.c: what archived is asked about rooms: messages, histories, requests, and what takes their place.
 *
 * Input: frames, each a byte of choice and the values of its fields; then they are taken as one transaction, with
 * honest messages before and behind.
 * Asserts: each is taken or refused, the transaction is committed, and the honest messages are in the history that
 * follows, which names no sender; requests come to an end.
 *
 * Links: archived
 * Options: -max_len=2000
 */
#include "fuzz.h"

#include <unistd.h>

#include "archived.h"
#include "ns.h"

#define ROOM "coven@rooms.example"
#define NOW  1790000000000ull

static struct out out;
static uint64_t seq, number, now = NOW;

int
LLVMFuzzerInitialize(int *argc, char ***argv)
{
	static char directory[] = "/dev/shm/fuzz_room_archive.XXXXXX"; /* commits cost nothing there */
	static const char *const files[] = { "data.mdb", "lock.mdb" };
	char path[64];
	size_t i;

	(void)argc;
	(void)argv;
	CHECK(mkdtemp(directory) != NULL);
	CHECK(state_open(directory, 1ull << 30, 1000, NOW) == OK);
	/* It stays open without a name. */
	for (i = 0; i < COUNT_OF(files); i++) {
		snprintf(path, sizeof path, "%s/%s", directory, files[i]);
		CHECK(unlink(path) == 0);
	}
	CHECK(rmdir(directory) == 0);
	return 0;
}

static void
add(const struct frame *f)
{
	struct buf bytes = { 0 };

	CHECK(frame_write(f, &bytes) == OK);
	CHECK(batch_add(f->type, buf_slice(&bytes)));
	buf_free(&bytes);
}

static void
add_honest(void)
{
	char token[ONCE_SIZE];
	struct frame f = { .type = FRAME_STANZA, .kind = STANZA_MESSAGE, .subtype = TYPE_GROUPCHAT, .origin = 5,
		.seq = ++seq, .flags = FLAG_STORE | FLAG_FROM_LOCAL | FLAG_ROOM | FLAG_CONTENT, .stamp = now,
		.from = SLICE(ROOM "/honest"), .to = SLICE(ROOM), .jid = SLICE("secret@sender.example"),
		.payload = SLICE("<body>honest</body>"), .token = { token, sizeof token } };

	store_key_u64(token, 1);
	store_key_u64(token + 8, ++number);
	add(&f);
}

/* A field: often what fits, else anything. */
static struct slice
field(struct fuzz *f, struct slice good)
{
	uint8_t choice = fuzz_byte(f);

	if (choice < 160)
		return good;
	return choice < 180 ? SLICE_NONE : fuzz_take(f, choice & 31);
}

/* A frame of the fuzzer. */
static void
add_any(struct fuzz *f)
{
	static const enum frame_type types[] = { FRAME_STANZA, FRAME_HISTORY, FRAME_ROOM_QUERY, FRAME_REDACT };
	static const uint64_t limits[] = { 20, UINT64_MAX };
	static const char *const payloads[] = { "<body>x</body>", "<query xmlns='urn:xmpp:mam:2'/>",
		"<query xmlns='urn:xmpp:mam:2'><x xmlns='jabber:x:data' type='submit'><field var='FORM_TYPE'><value>"
		"urn:xmpp:mam:2</value></field><field var='with'><value>" ROOM "/honest</value></field></x></query>",
		"<retracted xmlns='urn:xmpp:message-retract:1'/>", };
	struct frame any = { .type = types[fuzz_byte(f) % 4], .kind = fuzz_byte(f) % STANZA_KIND_COUNT,
		.subtype = fuzz_byte(f) % TYPE_COUNT, .origin = 5, .handle = fuzz_byte(f) % 3, .number = 7 };
	uint8_t choice = fuzz_byte(f);

	any.seq = choice & 1 ? ++seq : 0;
	any.flags = choice & 2 ? FLAG_STORE | FLAG_FROM_LOCAL | FLAG_ROOM | FLAG_CONTENT : choice & 0xf0u;
	any.archive_id = choice & 4 ? id_last() : choice;
	any.stamp = choice & 8 ? now : 0;
	if (any.type == FRAME_STANZA)
		any.flags |= FLAG_ROOM;
	any.from = field(f, SLICE(ROOM "/honest"));
	any.to = field(f, SLICE(ROOM));
	any.jid = field(f, any.type == FRAME_STANZA ? SLICE("secret@sender.example") : SLICE(ROOM));
	any.token = field(f, SLICE("0123456789abcdef"));
	any.payload = field(f, slice_string(payloads[fuzz_byte(f) % 4]));
	any.numbers = slice_of((const char *)limits, 8u * (fuzz_byte(f) % 3));
	add(&any);
}

/* What one input did does not matter to the next. */
static void
forget(void)
{
	char token[ONCE_SIZE];
	struct frame f = { .type = FRAME_FORGET, .origin = 5, .seq = ++seq, .jid = SLICE(ROOM),
		.token = { token, sizeof token } };

	store_key_u64(token, 1);
	store_key_u64(token + 8, ++number);
	add(&f);
	CHECK(batch_run(now, &out) == OK);
	while (forget_pending())
		CHECK(forget_step() == OK && state_commit() == OK);
}

/* Looks through what was answered. Returns messages of the history with this number. */
static unsigned
answers_check(uint64_t wanted)
{
	struct slice whole, rest = buf_slice(&out.frames);
	unsigned count = 0;
	struct frame f;

	while (frame_next(rest, &whole) == OK) {
		CHECK(frame_read(whole, &f) == OK);
		rest = slice_part(rest, whole.len, rest.len);
		if (f.type != FRAME_STANZA || !(f.flags & FLAG_SPOOL))
			continue;
		CHECK(f.jid.ptr == NULL && f.token.ptr == NULL && f.seq == 0);
		count += f.number == wanted && slice_is(f.from, ROOM "/honest");
	}
	CHECK(rest.len == 0);
	buf_clear(&out.frames);
	buf_clear(&out.acks);
	return count;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const uint64_t limits[] = { 2, UINT64_MAX };
	struct fuzz f = fuzz_begin(data, size);
	struct frame history = { .type = FRAME_HISTORY, .origin = 5, .jid = SLICE(ROOM), .handle = 1, .number = 99,
		.numbers = { (const char *)limits, sizeof limits } };
	unsigned steps = 0, honest = 0;

	now++;
	add_honest();
	while (fuzz_left(&f) != 0)
		add_any(&f);
	add_honest();
	add_honest();
	history.seq = ++seq;
	add(&history);
	while (batch_bytes() != 0) {
		CHECK(batch_run(now, &out) == OK);
		honest += answers_check(99);
	}
	CHECK(honest == 2);
	while (mam_pending()) {
		CHECK(mam_step(&out) == OK && ++steps < 10000);
		answers_check(0);
	}
	forget();
	answers_check(0);
	return 0;
}
