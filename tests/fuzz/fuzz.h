/*
 * fuzz.h: what all fuzz targets share: taking an input apart, checks, and silence in the log.
 *
 * Included once by each tests/fuzz/fuzz_NOUN.c, which has LLVMFuzzerTestOneInput() and begins with
 * "Links: " and the daemons whose files it needs, as unit tests do. A target must leave nothing
 * behind: what one input did may not matter to the next.
 */
#ifndef ALDIS_FUZZ_H
#define ALDIS_FUZZ_H

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "error.h"
#include "log.h"
#include "slice.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerInitialize(int *argc, char ***argv);

/* A property that must hold for every input. */
#define CHECK(condition)                                                                    \
	do {                                                                                \
		if (!(condition)) {                                                         \
			fprintf(stderr, "%s:%d: does not hold: %s\n", __FILE__, __LINE__,   \
			    #condition);                                                    \
			abort();                                                            \
		}                                                                           \
	} while (0)

#define COUNT_OF(array) (sizeof(array) / sizeof((array)[0]))

/* An input that is being taken apart. When it is over, everything taken is zero or empty. */
struct fuzz {
	const uint8_t *at, *end;
};

static inline struct fuzz
fuzz_begin(const uint8_t *data, size_t size)
{
	return (struct fuzz){ data, data + size };
}

static inline size_t
fuzz_left(const struct fuzz *f)
{
	return (size_t)(f->end - f->at);
}

static inline uint8_t
fuzz_byte(struct fuzz *f)
{
	return f->at < f->end ? *f->at++ : 0;
}

/* A slice of the input itself: reading past it is not noticed, see fuzz_copy(). */
static inline struct slice
fuzz_take(struct fuzz *f, size_t len)
{
	struct slice s;

	if (len > fuzz_left(f))
		len = fuzz_left(f);
	s = slice_of(f->at, len);
	f->at += len;
	return s;
}

/* Up to a byte, which is taken too, or to the end. */
static inline struct slice
fuzz_until(struct fuzz *f, uint8_t stop)
{
	const uint8_t *found = fuzz_left(f) != 0 ? memchr(f->at, stop, fuzz_left(f)) : NULL;
	struct slice s = fuzz_take(f, found != NULL ? (size_t)(found - f->at) : fuzz_left(f));

	if (found != NULL)
		f->at++;
	return s;
}

/* The same bytes at the end of memory of their own, so that AddressSanitizer sees every byte that
 * is read past them. To be freed with fuzz_free(). */
static inline struct slice
fuzz_copy(struct slice s)
{
	char *copy = malloc(s.len != 0 ? s.len : 1);

	if (copy == NULL)
		abort();
	if (s.len != 0)
		memcpy(copy, s.ptr, s.len);
	return slice_of(copy, s.len);
}

static inline void
fuzz_free(struct slice s)
{
	free((void *)(uintptr_t)s.ptr);
}

/* Takes the place of log_line(), by the linker's --wrap: lines are made, so that what they print is
 * looked at, and not written. */
void __wrap_log_line(enum log_level level, const char *event, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

void
__wrap_log_line(enum log_level level, const char *event, const char *format, ...)
{
	char line[2048];
	va_list args;

	(void)level;
	CHECK(strlen(event) < 200);
	va_start(args, format);
	CHECK(vsnprintf(line, sizeof line, format, args) >= 0);
	va_end(args);
}

#endif
