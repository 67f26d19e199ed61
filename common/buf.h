/*
 * buf.h: a growing run of bytes with a read position.
 *
 * Bytes are appended at the end and consumed at the front; the memory in front is taken back when
 * the buffer runs empty or must grow. A zeroed struct is an empty buffer. Who bounds the length is
 * the caller: check buf_len() before appending what an outsider sizes. A buffer through which
 * passwords pass is made secret before the first of them is added.
 */
#ifndef ALDIS_BUF_H
#define ALDIS_BUF_H

#include "slice.h"

struct buf {
	char *bytes;
	size_t start; /* first byte not consumed */
	size_t end;   /* one past the last byte */
	size_t room;  /* bytes allocated */
	bool secret;  /* what is dropped, or moved elsewhere, is wiped where it was */
};

static inline size_t
buf_len(const struct buf *b)
{
	return b->end - b->start;
}

/* What is in the buffer; valid until the next call that changes it. */
static inline struct slice
buf_slice(const struct buf *b)
{
	return (struct slice){ b->bytes ? b->bytes + b->start : "", b->end - b->start };
}

/* Makes room for at least len more bytes and returns where they go; follow with buf_added(). */
char *buf_reserve(struct buf *b, size_t len);

static inline void
buf_added(struct buf *b, size_t len)
{
	b->end += len;
}

void buf_add(struct buf *b, const void *bytes, size_t len);
void buf_add_slice(struct buf *b, struct slice s);
void buf_add_string(struct buf *b, const char *s);
void buf_add_char(struct buf *b, char c);
void buf_add_hex(struct buf *b, const void *bytes, size_t len); /* two digits a byte, in lower case */
void buf_add_number(struct buf *b, uint64_t number); /* in decimal */
void buf_printf(struct buf *b, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Drops len bytes at the front. */
void buf_consume(struct buf *b, size_t len);

/* Overwrites what is in a secret buffer behind its first len bytes. */
void buf_wipe(struct buf *b, size_t len);

/* Cuts the buffer back to its first len bytes. */
static inline void
buf_truncate(struct buf *b, size_t len)
{
	if (b->secret)
		buf_wipe(b, len);
	b->end = b->start + len;
}

/* Empties the buffer and keeps its memory. */
static inline void
buf_clear(struct buf *b)
{
	buf_truncate(b, 0);
	b->start = b->end = 0;
}

/* Empties the buffer and gives its memory back. */
void buf_free(struct buf *b);

/* Gives memory back when the buffer is empty and holds more than keep bytes. */
void buf_trim(struct buf *b, size_t keep);

/* Gives memory back that has nothing in it: for what is kept as it is. Not of a secret one, unless it is empty. */
void buf_fit(struct buf *b);

#endif
