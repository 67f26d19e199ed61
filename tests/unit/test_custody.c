/*
 * test_custody.c: the three parts of custody.h, and a simulation of what they are for.
 *
 * The simulation has a client, an origin O that keeps its frames, a router R that keeps nothing,
 * and a taker T that commits effects and watermarks together. Links are FIFO. When a process is
 * killed, what is under way to it is lost, and of what it had written to a living one some may
 * still arrive, also later than what comes over the new link. Each schedule is drawn from its seed.
 * When all has come to rest, no message that the client saw acknowledged may be missing, and none
 * may be there twice.
 *
 * That it can fail is shown too: without the watermark, with a router that acknowledges early, and
 * with one that passes on frames to a new taker before the origin has begun to send again.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "custody.h"

#define SCHEDULES 3000
#define MESSAGES  60   /* of one schedule */
#define WINDOW    8    /* unacknowledged frames of the origin */
#define QUEUE     1024

/* -- the parts ------------------------------------------------------------------------------- */

/* What a callback saw, in words. */
static char seen[512];

static void __attribute__((format(printf, 1, 2)))
note(const char *format, ...)
{
	size_t len = strlen(seen);
	va_list args;

	va_start(args, format);
	vsnprintf(seen + len, sizeof seen - len, format, args);
	va_end(args);
}

static void
note_taken(void *arg, uint64_t seq, void *tag)
{
	(void)arg;
	note("%d%s ", (int)seq, tag != NULL ? (const char *)tag : "-");
}

static void
note_frame(void *arg, struct slice frame, void *tag)
{
	(void)arg;
	note("%.*s%s ", SLICE_ARG(frame), tag != NULL ? (const char *)tag : "-");
}

#define assert_seen(text)                        \
	do {                                     \
		assert_string_equal(seen, text); \
		seen[0] = '\0';                  \
	} while (0)

static void
test_keep(void **state)
{
	struct custody *custody = custody_new();
	char a[] = "a", b[] = "b";

	(void)state;
	assert_int_equal(custody_next(custody), 1);
	custody_ack(custody, 0, UINT64_MAX, note_taken, NULL);
	custody_keep(custody, SLICE("one"), a);
	custody_keep(custody, SLICE("two"), b);
	custody_keep(custody, SLICE("three"), a);
	custody_keep(custody, SLICE(""), NULL);
	assert_int_equal(custody_next(custody), 5);
	assert_int_equal(custody_count(custody), 4);
	assert_int_equal(custody_bytes(custody), 11);
	custody_resend(custody, note_frame, NULL);
	assert_seen("onea twob threea - ");
	custody_ack(custody, 2, 2, note_taken, NULL);
	custody_ack(custody, 2, 2, note_taken, NULL);
	custody_ack(custody, 3, 1, note_taken, NULL);
	assert_seen("2b ");
	custody_forget_tag(custody, a);
	custody_resend(custody, note_frame, NULL);
	assert_seen("one- three- - ");
	/* numbers never given out are ignored, now and when they are given out */
	custody_ack(custody, 3, 1000, note_taken, NULL);
	assert_seen("3- 4- ");
	custody_keep(custody, SLICE("five"), b);
	custody_ack(custody, 6, UINT64_MAX, NULL, NULL);
	assert_int_equal(custody_count(custody), 2);
	custody_ack(custody, 0, UINT64_MAX, note_taken, NULL);
	assert_seen("1- 5b ");
	assert_int_equal(custody_count(custody), 0);
	assert_int_equal(custody_bytes(custody), 0);
	custody_free(&custody);
	assert_null(custody);
	custody_free(&custody);
}

/* One frame that waits does not hold what was acknowledged around it, and is found again. */
static void
test_keep_long(void **state)
{
	struct custody *custody = custody_new();

	(void)state;
	custody_keep(custody, SLICE("stuck"), NULL);
	for (uint64_t i = 2; i < 100000; i++) {
		custody_keep(custody, SLICE("x"), NULL);
		if (i % 7 == 0)
			custody_ack(custody, i - 5, i, NULL, NULL);
	}
	assert_int_equal(custody_count(custody), 100000 / 7 + 4);
	custody_ack(custody, 2, UINT64_MAX, NULL, NULL);
	custody_resend(custody, note_frame, NULL);
	assert_seen("stuck- ");
	custody_ack(custody, 1, 1, note_taken, NULL);
	assert_seen("1- ");
	custody_free(&custody);
}

static void
note_mark(void *arg, uint32_t origin, uint64_t seq)
{
	(void)arg;
	note("%u:%d ", origin, (int)seq);
}

static void
test_watermarks(void **state)
{
	struct watermarks *marks = watermarks_new();

	(void)state;
	watermark_set(marks, 7, 10);
	assert_false(watermark_take(marks, 7, 10));
	watermarks_changed(marks, note_mark, NULL);
	assert_seen("");
	assert_true(watermark_take(marks, 7, 11));
	assert_false(watermark_take(marks, 7, 11));
	assert_true(watermark_take(marks, 7, 15));
	assert_false(watermark_take(marks, 7, 12));
	watermarks_changed(marks, note_mark, NULL);
	assert_seen("7:15 ");
	/* committed: the next transaction begins */
	watermarks_changed(marks, note_mark, NULL);
	assert_seen("");
	watermarks_revert(marks);
	assert_false(watermark_take(marks, 7, 15));
	assert_true(watermark_take(marks, 8, 1));
	watermarks_changed(marks, note_mark, NULL);
	assert_seen("8:1 ");
	watermarks_free(&marks);
	watermarks_free(&marks);
}

static void
test_watermarks_revert(void **state)
{
	struct watermarks *marks = watermarks_new();

	(void)state;
	/* aborted before it was told */
	assert_true(watermark_take(marks, 1, 5));
	watermarks_revert(marks);
	watermarks_changed(marks, note_mark, NULL);
	assert_seen("");
	/* told, and the commit failed */
	assert_true(watermark_take(marks, 1, 5));
	watermarks_changed(marks, note_mark, NULL);
	assert_seen("1:5 ");
	watermarks_revert(marks);
	/* told again, and committed; the next one fails and goes back to here, not farther */
	assert_true(watermark_take(marks, 1, 5));
	watermarks_changed(marks, note_mark, NULL);
	assert_seen("1:5 ");
	assert_false(watermark_take(marks, 1, 5));
	assert_true(watermark_take(marks, 1, 6));
	assert_true(watermark_take(marks, 2, 1));
	watermarks_changed(marks, note_mark, NULL);
	assert_seen("2:1 1:6 ");
	watermarks_revert(marks);
	assert_false(watermark_take(marks, 1, 5));
	assert_true(watermark_take(marks, 1, 6));
	/* an origin that is forgotten in the middle */
	assert_true(watermark_take(marks, 3, 1));
	watermark_forget(marks, 1);
	watermark_forget(marks, 99);
	watermarks_changed(marks, note_mark, NULL);
	assert_seen("3:1 ");
	watermarks_free(&marks);
}

static void
note_acks(void *arg, uint32_t origin, struct slice pairs)
{
	(void)arg;
	assert_int_equal(pairs.len % 16, 0);
	note("%u", origin);
	for (size_t i = 0; i < pairs.len; i += 16) {
		uint64_t first, last;

		memcpy(&first, pairs.ptr + i, 8);
		memcpy(&last, pairs.ptr + i + 8, 8);
		note(" %d-%d", (int)first, (int)last);
	}
	note("; ");
}

static void
test_acks(void **state)
{
	struct acks *acks = acks_new();

	(void)state;
	acks_flush(acks, note_acks, NULL);
	assert_seen("");
	for (uint64_t i = 5; i < 10; i++) {
		acks_add(acks, 1, i);
		acks_add(acks, 2, i * 2);
	}
	acks_add(acks, 1, 9);
	acks_add(acks, 1, 7);
	acks_add(acks, 1, 20);
	acks_add(acks, 1, 3);
	acks_flush(acks, note_acks, NULL);
	assert_seen("1 5-9 20-20 3-3; 2 10-10 12-12 14-14 16-16 18-18; ");
	acks_flush(acks, note_acks, NULL);
	assert_seen("");
	acks_add(acks, 1, UINT64_MAX);
	acks_add(acks, 1, 0);
	acks_free(&acks);
	acks_free(&acks);
}

static void
count_pairs(void *arg, uint32_t origin, struct slice pairs)
{
	size_t *total = arg;

	assert_int_equal(origin, 1);
	assert_true(pairs.len < 1 << 20); /* fits a frame */
	*total += pairs.len / 16;
}

static void
test_acks_many(void **state)
{
	struct acks *acks = acks_new();
	size_t total = 0;

	(void)state;
	for (uint64_t i = 0; i < 300000; i++)
		acks_add(acks, 1, i * 2);
	acks_flush(acks, count_pairs, &total);
	assert_int_equal(total, 300000);
	acks_free(&acks);
}

/* -- the simulation -------------------------------------------------------------------------- */

enum process { O, R, T, PROCESSES };

/* Where what is under way waits: at its receiver, from whom. */
enum box { O_FROM_R, R_FROM_O, R_FROM_T, T_FROM_R, BOXES };

static const struct {
	enum process from, to;
} boxes[BOXES] = {
	[O_FROM_R] = { R, O }, [R_FROM_O] = { O, R }, [R_FROM_T] = { T, R }, [T_FROM_R] = { R, T },
};

enum what { DATA, ACKED, ASK_AGAIN, AGAIN };

struct message {
	enum what what;
	uint32_t origin;
	uint64_t first, last; /* DATA: first is its number */
	unsigned id;          /* DATA: the client's */
};

struct queue {
	struct message items[QUEUE];
	size_t head, tail;
};

/* What is done wrong, for the negative controls. */
struct faults {
	bool no_watermark;
	bool early_ack;
	bool no_marker;
};

struct world {
	struct faults faults;
	unsigned seed;
	bool up[PROCESSES];
	struct queue now[BOXES]; /* over the link that is up */
	struct queue old[BOXES]; /* what a process that was killed had written */
	/* the client */
	unsigned sent;
	bool acked[MESSAGES + 1];
	/* O */
	uint32_t origin;
	unsigned first_id; /* what this O was given begins here */
	struct custody *custody;
	/* R */
	bool synced; /* O has begun to send again what this T may have missed */
	/* T */
	struct watermarks *marks;
	struct message batch[QUEUE];
	size_t batched;
	/* T's disk */
	unsigned effects[MESSAGES + 1];
	uint64_t disk_marks[1000];
};

static struct world w;

static unsigned
draw(unsigned below)
{
	return (unsigned)rand_r(&w.seed) % below;
}

static void
queue_add(struct queue *q, struct message message)
{
	assert_true(q->tail < QUEUE);
	q->items[q->tail++] = message;
}

static bool
queue_take(struct queue *q, struct message *message)
{
	if (q->head == q->tail)
		return false;
	*message = q->items[q->head++];
	if (q->head == q->tail)
		q->head = q->tail = 0;
	return true;
}

/* Writes to a link, if it is up. */
static void
post(enum box box, struct message message)
{
	if (w.up[boxes[box].from] && w.up[boxes[box].to])
		queue_add(&w.now[box], message);
}

static void
o_taken(void *arg, uint64_t seq, void *tag)
{
	(void)arg;
	(void)seq;
	w.acked[(uintptr_t)tag] = true;
}

static void
o_again(void *arg, struct slice frame, void *tag)
{
	struct message message;

	(void)arg;
	(void)tag;
	memcpy(&message, frame.ptr, sizeof message);
	post(R_FROM_O, message);
}

/* The client gives O a message. */
static void
o_send(void)
{
	struct message message = { .what = DATA, .origin = w.origin };

	if (!w.up[O] || w.sent == MESSAGES || custody_count(w.custody) >= WINDOW)
		return;
	message.first = custody_next(w.custody);
	message.id = ++w.sent;
	custody_keep(w.custody, slice_of(&message, sizeof message), (void *)(uintptr_t)message.id);
	post(R_FROM_O, message);
}

static void
o_receive(const struct message *message)
{
	if (message->what == ASK_AGAIN) {
		post(R_FROM_O,
		    (struct message){ .what = AGAIN, .origin = w.origin });
		custody_resend(w.custody, o_again, NULL);
	} else if (message->origin == w.origin) {
		custody_ack(w.custody, message->first, message->last, o_taken, NULL);
	}
}

static void
r_receive(const struct message *message)
{
	switch (message->what) {
	case AGAIN:
		/* over the link of the O that lives, not out of an old one */
		w.synced = w.synced || (w.up[T] && message->origin == w.origin);
		break;
	case ACKED:
		post(O_FROM_R, *message);
		break;
	default:
		if (w.faults.early_ack)
			post(O_FROM_R, (struct message){ ACKED, message->origin, message->first,
			    message->first, 0 });
		if (w.synced || w.faults.no_marker)
			post(T_FROM_R, *message);
	}
}

static void
t_mark(void *arg, uint32_t origin, uint64_t seq)
{
	(void)arg;
	w.disk_marks[origin] = seq;
}

static void
t_ack(void *arg, uint32_t origin, struct slice pairs)
{
	(void)arg;
	for (size_t i = 0; i < pairs.len; i += 16) {
		struct message message = { .what = ACKED, .origin = origin };

		memcpy(&message.first, pairs.ptr + i, 8);
		memcpy(&message.last, pairs.ptr + i + 8, 8);
		post(R_FROM_T, message);
	}
}

static void
t_no_mark(void *arg, uint32_t origin, uint64_t seq)
{
	(void)arg;
	(void)origin;
	(void)seq;
}

/* One transaction of T for all that came: effects and watermarks; then the acknowledgements. */
static void
t_commit(void)
{
	struct acks *acks;
	bool fails = draw(10) == 0;

	if (!w.up[T] || w.batched == 0)
		return;
	acks = acks_new();
	for (size_t i = 0; i < w.batched; i++) {
		const struct message *message = &w.batch[i];

		if ((watermark_take(w.marks, message->origin, message->first) ||
		    w.faults.no_watermark) && !fails)
			w.effects[message->id]++;
		acks_add(acks, message->origin, message->first);
	}
	if (draw(3) != 0 || !fails)
		watermarks_changed(w.marks, fails ? t_no_mark : t_mark, NULL);
	if (fails) {
		watermarks_revert(w.marks); /* the batch is kept, for another try */
	} else {
		acks_flush(acks, t_ack, NULL);
		w.batched = 0;
	}
	acks_free(&acks);
}

/* A link that has come up: the router asks for what may have been lost. */
static void
link_up(enum process a)
{
	if (w.up[R] && (a == R || a == T || a == O)) {
		w.synced = false;
		if (w.up[T])
			post(O_FROM_R, (struct message){ .what = ASK_AGAIN });
	}
}

static void
start(enum process p)
{
	w.up[p] = true;
	if (p == O) {
		w.custody = custody_new();
		w.origin++;
		w.first_id = w.sent + 1;
	} else if (p == T) {
		w.marks = watermarks_new();
		w.batched = 0;
		for (uint32_t i = 0; i <= w.origin; i++) {
			if (w.disk_marks[i] != 0)
				watermark_set(w.marks, i, w.disk_marks[i]);
		}
	}
	link_up(p);
}

static void
kill_process(enum process p)
{
	w.up[p] = false;
	for (unsigned box = 0; box < BOXES; box++) {
		struct message message;
		size_t arrive;

		if (boxes[box].to == p) {
			w.now[box] = w.old[box] = (struct queue){ 0 };
		} else if (boxes[box].from == p) {
			arrive = draw((unsigned)(w.now[box].tail - w.now[box].head) + 1);
			while (arrive-- > 0 && queue_take(&w.now[box], &message))
				queue_add(&w.old[box], message);
			w.now[box].head = w.now[box].tail = 0;
		}
	}
	if (p == O)
		custody_free(&w.custody);
	else if (p == T)
		watermarks_free(&w.marks);
}

/* A process reads one message that waits for it, from a link of its own. */
static void
receive(enum box box)
{
	struct message message;
	struct queue *first = draw(2) != 0 ? &w.now[box] : &w.old[box];

	if (!w.up[boxes[box].to])
		return;
	if (!queue_take(first, &message) &&
	    !queue_take(first == &w.old[box] ? &w.now[box] : &w.old[box], &message))
		return;
	if (boxes[box].to == O)
		o_receive(&message);
	else if (boxes[box].to == R)
		r_receive(&message);
	else if (w.batched < QUEUE)
		w.batch[w.batched++] = message;
}

static bool
at_rest(void)
{
	for (unsigned box = 0; box < BOXES; box++) {
		if (w.now[box].tail != 0 || w.old[box].tail != 0)
			return false;
	}
	return w.up[O] && w.up[R] && w.up[T] && w.batched == 0 && w.sent == MESSAGES;
}

static void
step(bool calm)
{
	enum process p = (enum process)draw(PROCESSES);

	if (!calm && draw(50) == 0 && w.up[p] && (p != O || w.origin < 900))
		kill_process(p);
	else if (!w.up[p] && draw(4) == 0)
		start(p);
	switch (draw(6)) {
	case 0:
		o_send();
		break;
	case 1:
		t_commit();
		break;
	default:
		receive((enum box)draw(BOXES));
	}
}

/* Runs one schedule to its end; counts what was lost and doubled. */
static void
run(unsigned seed, struct faults faults, bool *lost, bool *doubled)
{
	unsigned steps = 0;

	memset(&w, 0, offsetof(struct world, now));
	for (unsigned box = 0; box < BOXES; box++)
		w.now[box].head = w.now[box].tail = w.old[box].head = w.old[box].tail = 0;
	memset(&w.sent, 0, sizeof w - offsetof(struct world, sent));
	w.faults = faults;
	w.seed = seed;
	for (unsigned p = 0; p < PROCESSES; p++)
		start((enum process)p);
	while (w.sent < MESSAGES)
		step(false);
	while (!at_rest()) {
		step(true);
		assert_true(++steps < 1000000);
	}
	*lost = *doubled = false;
	for (unsigned id = 1; id <= MESSAGES; id++) {
		*lost = *lost || (w.acked[id] && w.effects[id] == 0);
		*doubled = *doubled || w.effects[id] > 1;
		/* what the last O was given has come to its end */
		*lost = *lost || (id >= w.first_id && !w.acked[id]);
	}
	custody_free(&w.custody);
	watermarks_free(&w.marks);
}

struct outcome {
	unsigned lost, doubled; /* schedules */
};

static struct outcome
simulate(struct faults faults)
{
	struct outcome outcome = { 0, 0 };

	for (unsigned seed = 1; seed <= SCHEDULES; seed++) {
		bool lost, doubled;

		run(seed, faults, &lost, &doubled);
		outcome.lost += lost;
		outcome.doubled += doubled;
	}
	print_message("%d schedules: loss in %u, duplicates in %u\n", SCHEDULES, outcome.lost,
	    outcome.doubled);
	return outcome;
}

static void
test_simulation(void **state)
{
	struct outcome outcome = simulate((struct faults){ false });

	(void)state;
	assert_int_equal(outcome.lost, 0);
	assert_int_equal(outcome.doubled, 0);
}

static void
test_without_watermark(void **state)
{
	struct outcome outcome = simulate((struct faults){ .no_watermark = true });

	(void)state;
	assert_int_equal(outcome.lost, 0);
	assert_true(outcome.doubled > SCHEDULES / 2);
}

static void
test_early_acknowledgement(void **state)
{
	struct outcome outcome = simulate((struct faults){ .early_ack = true });

	(void)state;
	assert_true(outcome.lost > SCHEDULES / 2);
	assert_int_equal(outcome.doubled, 0);
}

static void
test_without_marker(void **state)
{
	struct outcome outcome = simulate((struct faults){ .no_marker = true });

	(void)state;
	assert_true(outcome.lost > SCHEDULES / 10);
	assert_int_equal(outcome.doubled, 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_keep),
		cmocka_unit_test(test_keep_long),
		cmocka_unit_test(test_watermarks),
		cmocka_unit_test(test_watermarks_revert),
		cmocka_unit_test(test_acks),
		cmocka_unit_test(test_acks_many),
		cmocka_unit_test(test_simulation),
		cmocka_unit_test(test_without_watermark),
		cmocka_unit_test(test_early_acknowledgement),
		cmocka_unit_test(test_without_marker),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
