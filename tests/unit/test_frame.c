/*
 * test_frame.c: frames to bytes and back, and everything that must be refused.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "error.h"
#include "frame.h"
#include "mem.h"

static const size_t units[FIELD_COUNT] = {
#define FIELD(name, unit) [FIELD_##name] = unit,
#include "frame_field.def"
#undef FIELD
};

/* A frame with every part of it set. */
static struct frame
full_frame(void)
{
	static char texts[FIELD_COUNT][32];
	struct frame f = {
		.type = FRAME_STANZA, .kind = STANZA_MESSAGE, .subtype = TYPE_CHAT,
		.audience = AUDIENCE_AVAILABLE, .flags = FLAG_ALL, .origin = 0xdeadbeef,
		.seq = 0x0102030405060708, .handle = HANDLE(7, 9), .archive_id = UINT64_MAX,
		.number = 42, .stamp = 1790000000000,
	};

	for (unsigned i = 0; i < FIELD_COUNT; i++) {
		snprintf(texts[i], sizeof texts[i], "field %2u %02x~~~~~~", i, i);
		f.field[i] = slice_of(texts[i], units[i] == 1 ? 3 + i : units[i] * 2);
	}
	return f;
}

static void
assert_same(const struct frame *a, const struct frame *b)
{
	assert_int_equal(a->type, b->type);
	assert_int_equal(a->kind, b->kind);
	assert_int_equal(a->subtype, b->subtype);
	assert_int_equal(a->audience, b->audience);
	assert_int_equal(a->flags, b->flags);
	assert_int_equal(a->origin, b->origin);
	assert_true(a->seq == b->seq && a->handle == b->handle &&
	    a->archive_id == b->archive_id && a->number == b->number && a->stamp == b->stamp);
	for (unsigned i = 0; i < FIELD_COUNT; i++) {
		assert_int_equal(a->field[i].ptr == NULL, b->field[i].ptr == NULL);
		assert_true(slice_equal(a->field[i], b->field[i]));
	}
}

static void
assert_round_trip(const struct frame *f)
{
	struct buf out = { 0 };
	struct slice whole;
	struct frame back;

	assert_int_equal(frame_write(f, &out), OK);
	assert_int_equal(frame_next(buf_slice(&out), &whole), OK);
	assert_int_equal(whole.len, buf_len(&out));
	assert_int_equal(frame_read(whole, &back), OK);
	assert_same(f, &back);
	buf_free(&out);
}

static void
test_round_trip(void **state)
{
	struct frame f = full_frame(), one;

	(void)state;
	assert_round_trip(&f);
	/* each field alone, as it is and empty */
	for (unsigned i = 0; i < FIELD_COUNT; i++) {
		one = (struct frame){ .type = FRAME_HELLO };
		one.field[i] = f.field[i];
		assert_round_trip(&one);
		one.field[i] = SLICE("");
		assert_round_trip(&one);
	}
	for (unsigned type = 1; type < FRAME_COUNT; type++) {
		one = (struct frame){ .type = (enum frame_type)type };
		assert_round_trip(&one);
	}
}

/* Any number of bytes short of the frame asks for more; read as a frame it is refused. */
static void
test_truncated(void **state)
{
	struct frame f = full_frame(), back;
	struct buf out = { 0 };
	struct slice whole;

	(void)state;
	frame_write(&f, &out);
	for (size_t len = 0; len < buf_len(&out); len++) {
		char *cut = mem_copy(buf_slice(&out).ptr, len); /* for the sanitizer */

		assert_int_equal(frame_next(slice_of(cut, len), &whole), E_AGAIN);
		assert_int_equal(frame_read(slice_of(cut, len), &back), E_MALFORMED);
		if (len >= 4) {
			uint32_t lie = (uint32_t)len;
			int error;

			/* with a length that fits, only whole fields may be read */
			memcpy(cut, &lie, 4);
			error = frame_read(slice_of(cut, len), &back);
			assert_true(error == OK || error == E_MALFORMED);
			assert_true(len >= FRAME_HEAD || error == E_MALFORMED);
		}
		free(cut);
	}
	buf_free(&out);
}

static void
test_stream(void **state)
{
	struct frame f = full_frame(), back;
	struct buf out = { 0 };
	struct slice whole;
	char head[4];
	uint32_t len;

	(void)state;
	for (unsigned i = 0; i < 3; i++) {
		f.seq = i;
		frame_write(&f, &out);
	}
	for (unsigned i = 0; i < 3; i++) {
		assert_int_equal(frame_next(buf_slice(&out), &whole), OK);
		assert_int_equal(frame_read(whole, &back), OK);
		assert_int_equal(back.seq, i);
		buf_consume(&out, whole.len);
	}
	assert_int_equal(frame_next(buf_slice(&out), &whole), E_AGAIN);
	buf_free(&out);
	for (len = 0; len < FRAME_HEAD; len++) {
		memcpy(head, &len, 4);
		assert_int_equal(frame_next(slice_of(head, 4), &whole), E_MALFORMED);
	}
	len = FRAME_MAX + 1;
	memcpy(head, &len, 4);
	assert_int_equal(frame_next(slice_of(head, 4), &whole), E_TOO_BIG);
	len = UINT32_MAX;
	memcpy(head, &len, 4);
	assert_int_equal(frame_next(slice_of(head, 4), &whole), E_TOO_BIG);
	len = FRAME_MAX;
	memcpy(head, &len, 4);
	assert_int_equal(frame_next(slice_of(head, 4), &whole), E_AGAIN);
}

/* Reads a frame of a head with one byte or word changed. */
static int
read_with(size_t at, uint32_t value, size_t size)
{
	struct frame f = { .type = FRAME_ACK }, back;
	struct buf out = { 0 };
	int error;

	frame_write(&f, &out);
	memcpy(out.bytes + at, &value, size);
	error = frame_read(buf_slice(&out), &back);
	buf_free(&out);
	return error;
}

static void
test_head(void **state)
{
	(void)state;
	assert_int_equal(read_with(4, FRAME_ACK, 1), OK);
	assert_int_equal(read_with(4, 0, 1), E_MALFORMED);
	assert_int_equal(read_with(4, FRAME_COUNT, 1), E_MALFORMED);
	assert_int_equal(read_with(4, 255, 1), E_MALFORMED);
	assert_int_equal(read_with(5, STANZA_KIND_COUNT - 1, 1), OK);
	assert_int_equal(read_with(5, STANZA_KIND_COUNT, 1), E_MALFORMED);
	assert_int_equal(read_with(6, TYPE_COUNT - 1, 1), OK);
	assert_int_equal(read_with(6, TYPE_COUNT, 1), E_MALFORMED);
	assert_int_equal(read_with(7, AUDIENCE_COUNT - 1, 1), OK);
	assert_int_equal(read_with(7, AUDIENCE_COUNT, 1), E_MALFORMED);
	assert_int_equal(read_with(8, FLAG_ALL, 4), OK);
	assert_int_equal(read_with(8, (uint32_t)FLAG_ALL + 1, 4), E_MALFORMED);
	assert_int_equal(read_with(8, UINT32_MAX, 4), E_MALFORMED);
	assert_int_equal(read_with(0, FRAME_HEAD - 1, 4), E_MALFORMED);
	assert_int_equal(read_with(0, FRAME_HEAD + 1, 4), E_MALFORMED);
	assert_int_equal(read_with(0, UINT32_MAX, 4), E_MALFORMED);
}

/* Reads a frame whose fields are these marks, each followed by as many bytes as given. */
static int
read_fields(const uint32_t (*fields)[2], size_t count)
{
	struct frame f = { .type = FRAME_ACK }, back;
	struct buf out = { 0 };
	char *exact;
	uint32_t len;
	int error;

	frame_write(&f, &out);
	for (size_t i = 0; i < count; i++) {
		buf_add(&out, &fields[i][0], 4);
		memset(buf_reserve(&out, fields[i][1]), 'x', fields[i][1]);
		buf_added(&out, fields[i][1]);
	}
	len = (uint32_t)buf_len(&out);
	memcpy(out.bytes, &len, 4);
	exact = mem_copy(out.bytes, len);
	error = frame_read(slice_of(exact, len), &back);
	free(exact);
	buf_free(&out);
	return error;
}

#define MARK(field, len) ((uint32_t)(field) << 24 | (len))

static void
test_fields(void **state)
{
	const struct {
		uint32_t fields[3][2];
		size_t count;
		int error;
	} cases[] = {
		{ { { MARK(FIELD_to, 5), 5 } }, 1, OK },
		{ { { MARK(FIELD_to, 0), 0 } }, 1, OK },
		{ { { MARK(FIELD_to, 6), 5 } }, 1, E_MALFORMED },
		{ { { MARK(FIELD_to, 0xffffff), 5 } }, 1, E_MALFORMED },
		{ { { MARK(FIELD_to, 4), 5 } }, 1, E_MALFORMED },
		{ { { MARK(FIELD_to, 3), 5 } }, 1, E_MALFORMED },
		{ { { MARK(FIELD_COUNT, 5), 5 } }, 1, E_MALFORMED },
		{ { { MARK(255, 5), 5 } }, 1, E_MALFORMED },
		/* any order */
		{ { { MARK(FIELD_to, 1), 1 }, { MARK(FIELD_from, 1), 1 } }, 2, OK },
		/* twice, also when empty */
		{ { { MARK(FIELD_to, 1), 1 }, { MARK(FIELD_to, 1), 1 } }, 2, E_MALFORMED },
		{ { { MARK(FIELD_to, 0), 0 }, { MARK(FIELD_to, 0), 0 } }, 2, E_MALFORMED },
		{ { { MARK(FIELD_to, 1), 1 }, { MARK(FIELD_id, 1), 1 },
		    { MARK(FIELD_to, 1), 1 } }, 3, E_MALFORMED },
		/* numbers come in eights */
		{ { { MARK(FIELD_numbers, 16), 16 } }, 1, OK },
		{ { { MARK(FIELD_numbers, 0), 0 } }, 1, OK },
		{ { { MARK(FIELD_numbers, 15), 15 } }, 1, E_MALFORMED },
		{ { { MARK(FIELD_numbers, 1), 1 } }, 1, E_MALFORMED },
		/* a length that swallows the next mark */
		{ { { MARK(FIELD_to, 9), 1 }, { MARK(FIELD_from, 4), 4 } }, 2, OK },
		{ { { MARK(FIELD_to, 8), 1 }, { MARK(FIELD_from, 4), 4 } }, 2, E_MALFORMED },
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
		assert_int_equal(read_fields(cases[i].fields, cases[i].count), cases[i].error);
}

/* Random changes of a frame never read out of bounds (the sanitizer watches). */
static void
test_mutated(void **state)
{
	struct frame f = full_frame(), back;
	struct buf out = { 0 };
	unsigned seed = 5, refused = 0;

	(void)state;
	frame_write(&f, &out);
	for (int i = 0; i < 50000; i++) {
		char *copy = mem_copy(out.bytes, buf_len(&out));
		int changes = 1 + rand_r(&seed) % 4;

		while (changes-- > 0)
			copy[4 + (unsigned)rand_r(&seed) % (buf_len(&out) - 4)] =
			    (char)rand_r(&seed);
		if (frame_read(slice_of(copy, buf_len(&out)), &back)) {
			refused++;
		} else {
			for (unsigned k = 0; k < FIELD_COUNT; k++)
				assert_true(back.field[k].ptr == NULL ||
				    (back.field[k].ptr >= copy + FRAME_HEAD &&
				    back.field[k].ptr + back.field[k].len <=
				    copy + buf_len(&out)));
		}
		free(copy);
	}
	assert_true(refused > 1000);
	buf_free(&out);
}

static void
test_too_big(void **state)
{
	struct frame f = { .type = FRAME_STANZA };
	struct buf out = { 0 };
	char *big = mem_alloc(FRAME_MAX);

	(void)state;
	buf_add_string(&out, "before");
	f.payload = slice_of(big, FRAME_MAX - FRAME_HEAD - 4);
	assert_int_equal(frame_write(&f, &out), OK);
	assert_int_equal(buf_len(&out), 6 + FRAME_MAX);
	buf_truncate(&out, 6);
	f.payload.len++;
	assert_int_equal(frame_write(&f, &out), E_TOO_BIG);
	f.payload = slice_of(big, FRAME_MAX / 2);
	f.data = slice_of(big, FRAME_MAX / 2);
	assert_int_equal(frame_write(&f, &out), E_TOO_BIG);
	assert_true(slice_is(buf_slice(&out), "before"));
	free(big);
	buf_free(&out);
}

static void
test_tables(void **state)
{
	(void)state;
	assert_string_equal(frame_text(FRAME_STANZA), "STANZA");
	assert_string_equal(frame_text((enum frame_type)FRAME_COUNT), "unknown");
	assert_int_equal(frame_senders(FRAME_NONE), 0);
	assert_int_equal(frame_senders((enum frame_type)FRAME_COUNT), 0);
	assert_int_equal(frame_senders(FRAME_STORED), ROLE_BIT(ROLE_ARCHIVED));
	for (unsigned i = 1; i < FRAME_COUNT; i++)
		assert_true(frame_senders((enum frame_type)i) != 0);
}

static void
test_secret(void **state)
{
	struct frame f = { .type = FRAME_AUTH_START, .data = SLICE("password") };
	struct buf out = { 0 };

	(void)state;
	assert_int_equal(frame_write(&f, &out), OK);
	assert_true(frame_is_secret(buf_slice(&out)));
	assert_true(frame_is_secret(slice_part(buf_slice(&out), 0, 5)));
	assert_false(frame_is_secret(slice_part(buf_slice(&out), 0, 4)));
	assert_false(frame_is_secret(SLICE("")));
	buf_clear(&out);
	f.type = FRAME_STANZA;
	assert_int_equal(frame_write(&f, &out), OK);
	assert_false(frame_is_secret(buf_slice(&out)));
	buf_clear(&out);
	f.flags = FLAG_SECRET;
	assert_int_equal(frame_write(&f, &out), OK);
	assert_true(frame_is_secret(buf_slice(&out)));
	out.bytes[4] = (char)FRAME_COUNT; /* no type of ours */
	out.bytes[9] = 0;
	assert_false(frame_is_secret(buf_slice(&out)));
	buf_free(&out);
}

static void
test_numbers(void **state)
{
	struct buf numbers = { 0 };
	struct frame f = { .type = FRAME_STORED };

	(void)state;
	buf_add_char(&numbers, 'x');
	buf_add_u64(&numbers, 1);
	buf_add_u64(&numbers, UINT64_MAX);
	f.numbers = slice_part(buf_slice(&numbers), 1, 16);
	assert_int_equal(frame_count(&f), 2);
	assert_true(frame_at(&f, 0) == 1 && frame_at(&f, 1) == UINT64_MAX);
	buf_free(&numbers);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_round_trip),
		cmocka_unit_test(test_truncated),
		cmocka_unit_test(test_stream),
		cmocka_unit_test(test_head),
		cmocka_unit_test(test_fields),
		cmocka_unit_test(test_mutated),
		cmocka_unit_test(test_too_big),
		cmocka_unit_test(test_tables),
		cmocka_unit_test(test_secret),
		cmocka_unit_test(test_numbers),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
