/*
 * test_outqueue.c: the queue of a client: order, marks of the kernel, acknowledgements, bounds.
 *
 * Links: entry
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "mem.h"
#include "outqueue.h"

/* What done() was called with. */
struct seen {
	uint64_t ids[64];
	unsigned count;
};

static void
note(void *arg, const struct outqueue_item *item)
{
	struct seen *seen = arg;

	seen->ids[seen->count++] = item->archive_id;
}

static struct kept *
make(const char *id)
{
	struct frame f = { .type = FRAME_STANZA, .kind = STANZA_MESSAGE, .id = slice_string(id) };

	return kept_new(&f);
}

static void
add(struct outqueue *q, uint64_t archive_id)
{
	struct kept *kept = make("x");

	outqueue_add(q, kept, archive_id, kept->len);
}

static void
test_kept_is_shared(void **state)
{
	uint64_t numbers[3] = { 1, 2, 3 };
	struct frame f = { .type = FRAME_STANZA, .id = SLICE("a"), .numbers = slice_of(numbers,
	    24) }, back;
	struct kept *kept = kept_new(&f), *again = kept_hold(kept);

	(void)state;
	assert_int_equal(frame_read(slice_of(kept->frame, kept->len), &back), 0);
	assert_true(slice_is(back.id, "a"));
	assert_null(back.numbers.ptr);
	kept_drop(&kept);
	assert_null(kept);
	assert_int_equal(again->refs, 1);
	kept_drop(&again);
	kept_drop(&again);
}

static void
test_order_and_bytes(void **state)
{
	struct outqueue q = { 0 };
	struct seen seen = { 0 };
	uint64_t i;

	(void)state;
	for (i = 1; i <= 20; i++)
		add(&q, i % 2 ? i : 0);
	assert_int_equal(q.count, 20);
	assert_int_equal(q.loose, 10);
	assert_true(q.bytes > 20 * FRAME_HEAD && q.loose_bytes < q.bytes);
	for (i = 1; i <= 20; i++) {
		struct outqueue_item *item = outqueue_next(&q);

		assert_int_equal(item->archive_id, i % 2 ? i : 0);
		outqueue_wrote(&q, 100 * i);
	}
	assert_null(outqueue_next(&q));
	outqueue_taken(&q, 350, false, note, &seen);
	assert_int_equal(seen.count, 3);
	assert_int_equal(seen.ids[2], 3);
	outqueue_taken(&q, 2000, false, note, &seen);
	assert_int_equal(seen.count, 20);
	assert_int_equal(q.count + q.loose, 0);
	assert_int_equal(q.bytes + q.loose_bytes, 0);
	assert_null(q.items);
}

/* The kernel's word counts for what was written before management, the client's for the rest. */
static void
test_management(void **state)
{
	struct outqueue q = { 0 };
	struct seen seen = { 0 };

	(void)state;
	add(&q, 1);
	outqueue_wrote(&q, 10);
	add(&q, 2);
	outqueue_manage(&q);
	assert_int_equal(outqueue_unacknowledged(&q), 0);
	outqueue_wrote(&q, 20);
	add(&q, 3);
	outqueue_wrote(&q, 30);
	assert_int_equal(outqueue_unacknowledged(&q), 2);
	outqueue_taken(&q, 100, true, note, &seen);
	assert_int_equal(seen.count, 1);
	assert_int_equal(seen.ids[0], 1);
	outqueue_acknowledged(&q, 1, note, &seen);
	assert_int_equal(seen.ids[1], 2);
	assert_int_equal(q.count, 1);
	outqueue_clear(&q, note, &seen);
	assert_int_equal(seen.count, 3);
}

/* An acknowledgement of a later stanza covers those before management. */
static void
test_acknowledged_covers_early(void **state)
{
	struct outqueue q = { 0 };
	struct seen seen = { 0 };

	(void)state;
	add(&q, 1);
	outqueue_wrote(&q, 10);
	outqueue_manage(&q);
	add(&q, 2);
	outqueue_wrote(&q, 20);
	outqueue_acknowledged(&q, 1, note, &seen);
	assert_int_equal(seen.count, 2);
	assert_int_equal(q.count, 0);
}

static void
test_rewind(void **state)
{
	struct outqueue q = { 0 };
	uint64_t i;

	(void)state;
	add(&q, 1);
	outqueue_wrote(&q, 10);
	outqueue_manage(&q);
	for (i = 2; i <= 4; i++)
		add(&q, i);
	outqueue_wrote(&q, 20);
	outqueue_wrote(&q, 30);
	outqueue_rewind(&q);
	assert_int_equal(q.count, 3);
	assert_int_equal(outqueue_unacknowledged(&q), 0);
	assert_int_equal(outqueue_next(&q)->archive_id, 2);
	assert_true(outqueue_holds(&q, 4));
	assert_false(outqueue_holds(&q, 1));
	outqueue_clear(&q, NULL, NULL);
	assert_false(outqueue_holds(&q, 4));
}

static void
test_append(void **state)
{
	struct outqueue q = { 0 }, late = { 0 };
	struct seen seen = { 0 };
	uint64_t i;

	(void)state;
	add(&q, 1);
	for (i = 2; i <= 9; i++)
		add(&late, i);
	outqueue_append(&q, &late);
	assert_int_equal(late.count, 0);
	assert_null(late.items);
	outqueue_each(&q, note, &seen);
	assert_int_equal(seen.count, 9);
	assert_int_equal(seen.ids[8], 9);
	outqueue_clear(&q, NULL, NULL);
}

/* The ring keeps its order when it turns and grows at the same time. */
static void
test_ring_turns(void **state)
{
	struct outqueue q = { 0 };
	struct seen seen = { 0 };
	uint64_t id = 0, expected = 1;
	unsigned round, i;

	(void)state;
	for (round = 0; round < 200; round++) {
		for (i = 0; i < 3 + round % 5; i++) {
			add(&q, ++id);
			outqueue_wrote(&q, id);
		}
		seen.count = 0;
		outqueue_taken(&q, id - round % 4, false, note, &seen);
		for (i = 0; i < seen.count; i++)
			assert_int_equal(seen.ids[i], expected++);
	}
	outqueue_clear(&q, NULL, NULL);
}

/* What waits to be written, and the memory of all queues: a shared frame counts once. */
static void
test_sums(void **state)
{
	struct outqueue one = { 0 }, two = { 0 };
	size_t before = outqueue_memory(), total = outqueue_total(), single;
	struct kept *kept = make("shared");
	uint32_t len = kept->len;

	(void)state;
	outqueue_add(&one, kept_hold(kept), 0, len);
	single = outqueue_memory();
	outqueue_add(&two, kept_hold(kept), 0, len);
	assert_true(outqueue_memory() - single < 8 * sizeof(struct outqueue_item));
	kept_drop(&kept);
	add(&one, 7);
	outqueue_add(&one, make("y"), 0, 100);
	assert_int_equal(outqueue_total(), total + 4);
	assert_int_equal(one.loose_waiting, len + 100);
	outqueue_wrote(&one, 1);
	assert_int_equal(one.loose_waiting, 100);
	outqueue_wrote(&one, 2);
	assert_int_equal(one.loose_waiting, 100);
	outqueue_rewind(&one);
	assert_int_equal(one.loose_waiting, len + 100);
	outqueue_append(&two, &one);
	assert_int_equal(one.loose_waiting, 0);
	assert_int_equal(two.loose_waiting, 2 * len + 100);
	outqueue_wrote(&two, 3);
	outqueue_clear(&two, NULL, NULL);
	assert_int_equal(two.loose_waiting, 0);
	assert_int_equal(outqueue_total(), total);
	assert_int_equal(outqueue_memory(), before);
}

/* A copy is held under the id of its message, is not among what is not stored, and can become what is to be
 * reported. */
static void
test_copies(void **state)
{
	struct outqueue q = { 0 }, other = { 0 };

	(void)state;
	add(&other, 7);
	outqueue_copy(&other);
	add(&other, 8);
	outqueue_append(&q, &other);
	assert_int_equal(q.loose, 0);
	assert_true(outqueue_holds(&q, 7));
	assert_true(q.items[q.first].copy);
	assert_false(q.items[q.first + 1].copy);
	assert_false(outqueue_own(&q, 9));
	assert_true(outqueue_own(&q, 7));
	assert_false(q.items[q.first].copy);
	outqueue_clear(&q, NULL, NULL);
	assert_int_equal(outqueue_total(), 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_kept_is_shared),
		cmocka_unit_test(test_order_and_bytes),
		cmocka_unit_test(test_management),
		cmocka_unit_test(test_acknowledged_covers_early),
		cmocka_unit_test(test_rewind),
		cmocka_unit_test(test_append),
		cmocka_unit_test(test_copies),
		cmocka_unit_test(test_ring_turns),
		cmocka_unit_test(test_sums),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
