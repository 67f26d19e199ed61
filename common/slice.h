/*
 * slice.h: bytes somebody else owns, as {pointer, length}. Nothing depends on a NUL.
 *
 * A slice with ptr == NULL is "absent"; a slice with len == 0 and ptr != NULL is "empty".
 */
#ifndef ALDIS_SLICE_H
#define ALDIS_SLICE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct slice {
	const char *ptr;
	size_t len;
};

/* A slice of a string literal. */
#define SLICE(literal) ((struct slice){ ("" literal), sizeof(literal) - 1 })
#define SLICE_NONE     ((struct slice){ NULL, 0 })

/* For printf: printf("%.*s", SLICE_ARG(s)). */
#define SLICE_ARG(s) ((int)(s).len), ((s).ptr ? (s).ptr : "")

static inline struct slice
slice_of(const void *ptr, size_t len)
{
	return (struct slice){ ptr, len };
}

/* A slice of a C string; NULL gives an absent slice. */
static inline struct slice
slice_string(const char *s)
{
	return (struct slice){ s, s ? strlen(s) : 0 };
}

static inline bool
slice_equal(struct slice a, struct slice b)
{
	return a.len == b.len && (a.len == 0 || memcmp(a.ptr, b.ptr, a.len) == 0);
}

static inline bool
slice_is(struct slice a, const char *s)
{
	return slice_equal(a, slice_string(s));
}

/* The word of a list, which ends with NULL, that a text is; otherwise when it is none of them. */
static inline const char *
slice_among(struct slice a, const char *const *words, const char *otherwise)
{
	for (; *words != NULL; words++) {
		if (slice_is(a, *words))
			return *words;
	}
	return otherwise;
}

/* Orders like memcmp(3), a prefix before what it is a prefix of. */
static inline int
slice_compare(struct slice a, struct slice b)
{
	size_t n = a.len < b.len ? a.len : b.len;
	int order = n ? memcmp(a.ptr, b.ptr, n) : 0;

	if (order != 0)
		return order;
	return a.len < b.len ? -1 : a.len > b.len;
}

static inline bool
slice_starts(struct slice a, struct slice prefix)
{
	return a.len >= prefix.len && memcmp(a.ptr, prefix.ptr, prefix.len) == 0;
}

/* The part from offset on, at most len bytes; clamped to what there is. */
static inline struct slice
slice_part(struct slice a, size_t offset, size_t len)
{
	if (offset > a.len)
		offset = a.len;
	if (len > a.len - offset)
		len = a.len - offset;
	return (struct slice){ a.ptr ? a.ptr + offset : NULL, len };
}

/* Takes the first line off a text, without its newline, which the last one need not have; false when nothing is left. */
static inline bool
slice_line(struct slice *rest, struct slice *line)
{
	const char *end = rest->len != 0 ? memchr(rest->ptr, '\n', rest->len) : NULL;
	size_t len = end != NULL ? (size_t)(end - rest->ptr) : rest->len;

	*line = slice_part(*rest, 0, len);
	if (rest->len == 0)
		return false;
	*rest = slice_part(*rest, end != NULL ? len + 1 : len, rest->len);
	return true;
}

/* A NUL-terminated copy, to be freed; NULL for an absent slice. */
char *slice_dup(struct slice a);

/*
 * Reads a whole slice as an unsigned decimal number of at most max.
 * Returns 0, or E_MALFORMED when it is empty, has another character than digits, or is larger.
 */
int slice_number(struct slice a, uint64_t max, uint64_t *number);

#endif
