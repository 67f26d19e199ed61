/*
 * fuzz_custody.c: custody of frames, watermarks and gathered acknowledgements, against plain
 * models.
 *
 * Input: operations, a byte each with small numbers behind it.
 * Asserts: the sender keeps exactly the frames that are not acknowledged, in order, with their
 * tags, and gives each back once; a watermark takes a number once, and an aborted transaction takes
 * its marks back; the ranges of acknowledgements cover exactly what was added.
 *
 * Options: -max_len=2000
 */
#include "fuzz.h"

#include "custody.h"

#define FRAMES  1024
#define ORIGINS 4

/* -- the sender's side ------------------------------------------------------------------------- */

struct sender {
	struct custody *custody;
	uint64_t next;             /* number of the next frame */
	bool kept[FRAMES + 1];
	uint8_t tag[FRAMES + 1];   /* 0: none */
	uint64_t first, last;      /* that are being acknowledged */
	uint64_t seen;             /* of resent frames */
	size_t count;
};

static char tags[4];

static void
on_taken(void *arg, uint64_t seq, void *tag)
{
	struct sender *s = arg;

	CHECK(seq >= s->first && seq <= s->last && seq < s->next && s->kept[seq]);
	CHECK(tag == (s->tag[seq] != 0 ? &tags[s->tag[seq]] : NULL));
	s->kept[seq] = false;
}

static void
on_resent(void *arg, struct slice frame, void *tag)
{
	struct sender *s = arg;
	uint64_t seq;

	CHECK(frame.len >= sizeof seq);
	memcpy(&seq, frame.ptr, sizeof seq);
	CHECK(seq > s->seen && seq < s->next && s->kept[seq] && frame.len == 8 + seq % 7);
	CHECK(tag == (s->tag[seq] != 0 ? &tags[s->tag[seq]] : NULL));
	s->seen = seq;
	s->count++;
}

static void
sender_keep(struct sender *s, uint8_t tag)
{
	char frame[16] = { 0 };
	struct slice copy;

	if (s->next > FRAMES)
		return;
	CHECK(custody_next(s->custody) == s->next);
	memcpy(frame, &s->next, 8);
	copy = fuzz_copy(slice_of(frame, 8 + s->next % 7));
	custody_keep(s->custody, copy, tag % 4 != 0 ? &tags[tag % 4] : NULL);
	fuzz_free(copy);
	s->kept[s->next] = true;
	s->tag[s->next++] = tag % 4;
}

static void
sender_ack(struct sender *s, uint64_t first, uint64_t last)
{
	uint64_t i;

	s->first = first;
	s->last = last;
	custody_ack(s->custody, first, last, on_taken, s);
	for (i = first > 0 ? first : 1; i <= last && i < s->next; i++)
		CHECK(!s->kept[i]);
}

static void
sender_check(struct sender *s)
{
	size_t count = 0, bytes = 0;
	uint64_t i;

	for (i = 1; i < s->next; i++) {
		count += s->kept[i];
		bytes += s->kept[i] ? 8 + i % 7 : 0;
	}
	CHECK(custody_count(s->custody) == count && custody_bytes(s->custody) == bytes);
	s->seen = s->count = 0;
	custody_resend(s->custody, on_resent, s);
	CHECK(s->count == count);
}

static void
sender_forget(struct sender *s, uint8_t tag)
{
	uint64_t i;

	if (tag % 4 == 0)
		return;
	custody_forget_tag(s->custody, &tags[tag % 4]);
	for (i = 1; i < s->next; i++)
		if (s->tag[i] == tag % 4)
			s->tag[i] = 0;
}

static void
sender_step(struct sender *s, struct fuzz *f, uint8_t what)
{
	uint64_t first;

	if (what < 20) {
		sender_keep(s, fuzz_byte(f));
	} else if (what < 28) {
		first = (uint64_t)fuzz_byte(f) * 4 + what % 4u;
		sender_ack(s, first, first + fuzz_byte(f) % 32);
	} else if (what == 28) {
		sender_ack(s, s->next, UINT64_MAX); /* never given out */
	} else if (what == 29) {
		sender_forget(s, fuzz_byte(f));
	} else {
		sender_check(s);
	}
}

/* -- watermarks -------------------------------------------------------------------------------- */

struct taker {
	struct watermarks *marks;
	uint64_t now[ORIGINS], durable[ORIGINS];
	bool told; /* the transaction was committed, or not yet aborted, after it was told */
	unsigned changed;
};

static void
on_changed(void *arg, uint32_t origin, uint64_t seq)
{
	struct taker *t = arg;

	CHECK(origin < ORIGINS && (t->changed & 1u << origin) == 0);
	CHECK(seq == t->now[origin] && seq > t->durable[origin]);
	t->changed |= 1u << origin;
}

/* The transaction that was told is on disk: another begins. */
static void
taker_settle(struct taker *t)
{
	if (t->told)
		memcpy(t->durable, t->now, sizeof t->durable);
	t->told = false;
}

static void
taker_step(struct taker *t, struct fuzz *f, uint8_t what)
{
	uint32_t origin = what % ORIGINS, i;
	uint64_t seq;

	if (what < 24) {
		seq = fuzz_byte(f);
		taker_settle(t);
		CHECK(watermark_take(t->marks, origin, seq) == (seq > t->now[origin]));
		t->now[origin] = seq > t->now[origin] ? seq : t->now[origin];
	} else if (what < 28) {
		taker_settle(t);
		t->changed = 0;
		watermarks_changed(t->marks, on_changed, t);
		for (i = 0; i < ORIGINS; i++)
			CHECK(((t->changed >> i) & 1) == (t->now[i] != t->durable[i]));
		t->told = true;
	} else if (what < 30) {
		watermarks_revert(t->marks);
		memcpy(t->now, t->durable, sizeof t->now);
		t->told = false;
	} else if (what == 30) {
		watermark_forget(t->marks, origin);
		t->now[origin] = t->durable[origin] = 0;
	} else if (t->now[origin] == t->durable[origin]) {
		t->now[origin] = t->durable[origin] = fuzz_byte(f);
		watermark_set(t->marks, origin, t->now[origin]);
	}
}

/* -- acknowledgements -------------------------------------------------------------------------- */

struct gatherer {
	struct acks *acks;
	bool added[ORIGINS][256], sent[ORIGINS][256];
};

static void
on_send(void *arg, uint32_t origin, struct slice pairs)
{
	struct gatherer *g = arg;
	uint64_t pair[2], n;

	CHECK(origin < ORIGINS && pairs.len != 0 && pairs.len % 16 == 0);
	for (; pairs.len != 0; pairs = slice_part(pairs, 16, pairs.len)) {
		memcpy(pair, pairs.ptr, 16);
		CHECK(pair[0] <= pair[1] && pair[1] < 256);
		for (n = pair[0]; n <= pair[1]; n++)
			g->sent[origin][n] = true;
	}
}

static void
gatherer_flush(struct gatherer *g)
{
	acks_flush(g->acks, on_send, g);
	CHECK(memcmp(g->added, g->sent, sizeof g->added) == 0);
	memset(g->added, 0, sizeof g->added);
	memset(g->sent, 0, sizeof g->sent);
}

static void
gatherer_step(struct gatherer *g, struct fuzz *f, uint8_t what)
{
	uint8_t n;

	if (what == 31) {
		gatherer_flush(g);
		return;
	}
	n = fuzz_byte(f);
	acks_add(g->acks, what % ORIGINS, n);
	g->added[what % ORIGINS][n] = true;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct sender sender;
	static struct gatherer gatherer;
	struct fuzz f = fuzz_begin(data, size);
	struct taker taker = { .marks = watermarks_new() };

	memset(&sender, 0, sizeof sender);
	memset(&gatherer, 0, sizeof gatherer);
	sender.custody = custody_new();
	sender.next = 1;
	gatherer.acks = acks_new();
	while (fuzz_left(&f) != 0) {
		uint8_t what = fuzz_byte(&f);

		if (what < 0x80)
			sender_step(&sender, &f, what % 32);
		else if (what < 0xC0)
			taker_step(&taker, &f, what % 32);
		else
			gatherer_step(&gatherer, &f, what % 32);
	}
	sender_check(&sender);
	sender_ack(&sender, 0, UINT64_MAX);
	sender_check(&sender);
	gatherer_flush(&gatherer);
	custody_free(&sender.custody);
	watermarks_free(&taker.marks);
	acks_free(&gatherer.acks);
	return 0;
}
