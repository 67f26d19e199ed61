/*
 * fuzz_frame.c: bytes of a link as frames: what is read is what was written.
 *
 * Input: the bytes of a link.
 * Asserts: frame_next() gives no more than there is; a frame that is read is within its enums,
 * fields lie within it; written again it is as long, and reading that gives the same; frames with
 * their fields in order are written back byte for byte; frame_next() finds it in front of others.
 */
#include "fuzz.h"

#include "frame.h"

static void
check_equal(const struct frame *a, const struct frame *b)
{
	unsigned i;

	CHECK(a->type == b->type && a->kind == b->kind && a->subtype == b->subtype &&
	    a->audience == b->audience && a->flags == b->flags && a->origin == b->origin &&
	    a->seq == b->seq && a->handle == b->handle && a->archive_id == b->archive_id &&
	    a->number == b->number && a->stamp == b->stamp);
	for (i = 0; i < FIELD_COUNT; i++)
		CHECK((a->field[i].ptr == NULL) == (b->field[i].ptr == NULL) &&
		    slice_equal(a->field[i], b->field[i]));
}

/* What holds for every frame that frame_read() has taken. */
static void
check_read(struct slice whole, const struct frame *f)
{
	unsigned i;
	size_t n;

	CHECK(f->type > FRAME_NONE && f->type < FRAME_COUNT && f->kind < STANZA_KIND_COUNT &&
	    f->subtype < TYPE_COUNT && f->audience < AUDIENCE_COUNT);
	CHECK((f->flags & ~(uint32_t)FLAG_ALL) == 0);
	CHECK(strcmp(frame_text(f->type), "unknown") != 0 && frame_senders(f->type) != 0);
	for (i = 0; i < FIELD_COUNT; i++) {
		struct slice field = f->field[i];

		CHECK(field.ptr == NULL || (field.ptr >= whole.ptr + FRAME_HEAD &&
		    field.ptr + field.len <= whole.ptr + whole.len));
	}
	for (n = 0; n < frame_count(f); n++)
		(void)frame_at(f, n);
}

static void
check_frame(struct slice whole)
{
	struct buf out = { 0 }, again = { 0 };
	struct frame f, g;
	struct slice next;

	if (frame_read(whole, &f) != OK)
		return;
	check_read(whole, &f);
	buf_add_string(&out, "before");
	CHECK(frame_write(&f, &out) == OK);
	buf_consume(&out, 6);
	CHECK(buf_len(&out) == whole.len);
	CHECK(frame_next(buf_slice(&out), &next) == OK && next.len == whole.len);
	CHECK(frame_read(buf_slice(&out), &g) == OK);
	check_equal(&f, &g);
	CHECK(frame_write(&g, &again) == OK);
	CHECK(slice_equal(buf_slice(&out), buf_slice(&again)));
	/* One byte less is not whole. */
	CHECK(frame_next(slice_part(whole, 0, whole.len - 1), &next) == E_AGAIN);
	CHECK(frame_read(slice_part(whole, 0, whole.len - 1), &g) == E_MALFORMED);
	buf_free(&out);
	buf_free(&again);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct slice rest = slice_of(data, size), whole, copy;
	struct frame f;
	int error;

	/* Not behind frame_next(): others read from memory, such as what a store keeps. */
	copy = fuzz_copy(rest);
	if (frame_read(copy, &f) == OK)
		check_read(copy, &f);
	fuzz_free(copy);
	while ((error = frame_next(rest, &whole)) == OK) {
		CHECK(whole.ptr == rest.ptr && whole.len >= FRAME_HEAD && whole.len <= rest.len);
		copy = fuzz_copy(whole);
		check_frame(copy);
		fuzz_free(copy);
		rest = slice_part(rest, whole.len, rest.len);
	}
	CHECK(error == E_AGAIN || error == E_MALFORMED || error == E_TOO_BIG);
	return 0;
}
