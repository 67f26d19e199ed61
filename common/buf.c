/*
 * buf.c: the growing byte buffer. Called everywhere; cannot fail (mem.h).
 */
#include "buf.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "mem.h"

#define ROOM_MIN 256

/* Larger memory for what a secret buffer holds: realloc(3) would leave it behind. */
static char *
moved(struct buf *b, size_t room)
{
	char *bytes = mem_alloc(room);

	if (b->bytes == NULL)
		return bytes;
	memcpy(bytes, b->bytes, b->end);
	explicit_bzero(b->bytes, b->room);
	free(b->bytes);
	return bytes;
}

char *
buf_reserve(struct buf *b, size_t len)
{
	size_t used = b->end - b->start;
	size_t room;

	if (b->room - b->end >= len && b->bytes != NULL)
		return b->bytes + b->end;
	if (b->start != 0) {
		if (used != 0)
			memmove(b->bytes, b->bytes + b->start, used);
		if (b->secret)
			explicit_bzero(b->bytes + used, b->end - used);
		b->start = 0;
		b->end = used;
		if (b->room - b->end >= len)
			return b->bytes + b->end;
	}
	if (len > SIZE_MAX / 4 - used)
		abort();
	room = b->room ? b->room : ROOM_MIN;
	while (room < used + len)
		room *= 2;
	b->bytes = b->secret ? moved(b, room) : mem_grow(b->bytes, room);
	b->room = room;
	return b->bytes + b->end;
}

void
buf_add(struct buf *b, const void *bytes, size_t len)
{
	if (len == 0)
		return;
	memcpy(buf_reserve(b, len), bytes, len);
	b->end += len;
}

void
buf_add_slice(struct buf *b, struct slice s)
{
	buf_add(b, s.ptr, s.len);
}

void
buf_add_string(struct buf *b, const char *s)
{
	buf_add(b, s, strlen(s));
}

void
buf_add_char(struct buf *b, char c)
{
	*buf_reserve(b, 1) = c;
	b->end++;
}

void
buf_add_hex(struct buf *b, const void *bytes, size_t len)
{
	static const char digits[] = "0123456789abcdef";
	const unsigned char *from = bytes;
	char *to = buf_reserve(b, 2 * len);
	size_t i;

	for (i = 0; i < len; i++) {
		to[2 * i] = digits[from[i] >> 4];
		to[2 * i + 1] = digits[from[i] & 15];
	}
	buf_added(b, 2 * len);
}

void
buf_add_number(struct buf *b, uint64_t number)
{
	char digits[20];
	size_t at = sizeof digits;

	do {
		digits[--at] = (char)('0' + number % 10);
		number /= 10;
	} while (number != 0);
	buf_add(b, digits + at, sizeof digits - at);
}

void
buf_printf(struct buf *b, const char *format, ...)
{
	va_list args, again;
	int len;

	va_start(args, format);
	va_copy(again, args);
	len = vsnprintf(NULL, 0, format, args);
	va_end(args);
	if (len < 0)
		abort();
	vsnprintf(buf_reserve(b, (size_t)len + 1), (size_t)len + 1, format, again);
	va_end(again);
	b->end += (size_t)len;
}

void
buf_consume(struct buf *b, size_t len)
{
	if (b->secret)
		explicit_bzero(b->bytes + b->start, len);
	b->start += len;
	if (b->start == b->end)
		b->start = b->end = 0;
}

void
buf_wipe(struct buf *b, size_t len)
{
	if (b->bytes != NULL)
		explicit_bzero(b->bytes + b->start + len, b->end - b->start - len);
}

void
buf_free(struct buf *b)
{
	if (b->secret && b->bytes != NULL)
		explicit_bzero(b->bytes, b->room);
	free(b->bytes);
	*b = (struct buf){ 0 };
}

void
buf_trim(struct buf *b, size_t keep)
{
	if (b->start == b->end && b->room > keep)
		buf_free(b);
}

void
buf_fit(struct buf *b)
{
	if (b->secret || b->bytes == NULL || b->start == b->end) {
		buf_trim(b, 0);
		return;
	}
	b->bytes = mem_grow(b->bytes, b->end);
	b->room = b->end;
}
