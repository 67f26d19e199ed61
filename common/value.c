/*
 * value.c: the values in a store. Called by the daemons that store. Reading fails on values that
 * are cut short, and the first error stays.
 *
 * Numbers are big-endian; a slice is its length in 32 bits and its bytes.
 */
#include "error.h"
#include "store.h"

#define ABSENT UINT32_MAX

/* Appends the lowest size bytes of a number. */
static void
number_add(struct buf *out, uint64_t n, unsigned size)
{
	while (size-- > 0)
		buf_add_char(out, (char)(n >> 8 * size));
}

/* Takes len bytes, or nothing and an error. */
static struct slice
take(struct value_reader *r, size_t len)
{
	struct slice taken;

	if (r->error == OK && len > r->rest.len)
		r->error = E_MALFORMED;
	if (r->error)
		return SLICE_NONE;
	taken = slice_of(r->rest.ptr, len);
	r->rest = slice_of(r->rest.ptr + len, r->rest.len - len);
	return taken;
}

static uint64_t
number_take(struct value_reader *r, unsigned size)
{
	struct slice bytes = take(r, size);
	uint64_t n = 0;
	size_t i;

	for (i = 0; i < bytes.len; i++)
		n = n << 8 | (unsigned char)bytes.ptr[i];
	return n;
}

void
value_add_u8(struct buf *out, uint8_t n)
{
	number_add(out, n, 1);
}

void
value_add_u32(struct buf *out, uint32_t n)
{
	number_add(out, n, 4);
}

void
value_add_u64(struct buf *out, uint64_t n)
{
	number_add(out, n, 8);
}

void
value_add_slice(struct buf *out, struct slice s)
{
	value_add_u32(out, s.ptr != NULL ? (uint32_t)s.len : ABSENT);
	buf_add_slice(out, s);
}

uint8_t
value_u8(struct value_reader *r)
{
	return (uint8_t)number_take(r, 1);
}

uint32_t
value_u32(struct value_reader *r)
{
	return (uint32_t)number_take(r, 4);
}

uint64_t
value_u64(struct value_reader *r)
{
	return number_take(r, 8);
}

struct slice
value_slice(struct value_reader *r)
{
	uint32_t len = value_u32(r);

	if (r->error || len == ABSENT)
		return SLICE_NONE;
	return take(r, len);
}

void
store_key_u64(char out[8], uint64_t n)
{
	unsigned i;

	for (i = 0; i < 8; i++)
		out[i] = (char)(n >> (56 - 8 * i));
}

uint64_t
store_key_read_u64(const char in[8])
{
	uint64_t n = 0;
	unsigned i;

	for (i = 0; i < 8; i++)
		n = n << 8 | (unsigned char)in[i];
	return n;
}
