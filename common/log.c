/*
 * log.c: lines to stderr. Called everywhere; what cannot be written is lost.
 *
 * A line is "level: event key=value ..." and never longer than a pipe writes at once.
 */
#include "log.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unictype.h>
#include <unistd.h>
#include <unistr.h>

#include "counter.h"
#include "error.h"

#define LINE_MAX_BYTES 2048
#define QUOTE_MAX      200 /* bytes of a quoted text */
#define QUOTE_RING     8

/* Categories that do not print: controls, formats (which turn the direction), what is
 * unassigned. */
#define UNPRINTABLE                                                                      \
	(UC_CATEGORY_MASK_C | UC_CATEGORY_MASK_Zl | UC_CATEGORY_MASK_Zp)

static const char *const levels[] = {
	[LOG_LEVEL_ERROR] = "error",
	[LOG_LEVEL_WARN] = "warn",
	[LOG_LEVEL_INFO] = "info",
	[LOG_LEVEL_DEBUG] = "debug",
};

static enum log_level log_level = LOG_LEVEL_INFO;

void
log_set_level(enum log_level level)
{
	log_level = level;
}

int
log_level_of(struct slice text, enum log_level *level)
{
	unsigned i;

	for (i = 0; i < sizeof levels / sizeof levels[0]; i++) {
		if (slice_is(text, levels[i])) {
			*level = (enum log_level)i;
			return OK;
		}
	}
	return E_MALFORMED;
}

/* Writes one line, cut when it is too long, with nothing in it that could begin another. */
static void
line_write(char *line, int len)
{
	ssize_t written;
	int i;

	if (len < 0)
		return;
	if (len > LINE_MAX_BYTES - 1)
		len = LINE_MAX_BYTES - 1;
	for (i = 0; i < len; i++) {
		if ((unsigned char)line[i] < ' ' || line[i] == 0x7f)
			line[i] = ' ';
	}
	line[len] = '\n';
	do
		written = write(STDERR_FILENO, line, (size_t)len + 1);
	while (written < 0 && errno == EINTR);
	if (written < 0)
		COUNT(log_lost);
}

void
log_line(enum log_level level, const char *event, const char *format, ...)
{
	char line[LINE_MAX_BYTES + 1];
	int saved = errno, head, len;
	va_list args;

	if (level > log_level)
		return;
	head = snprintf(line, sizeof line, "%s: %s%s", levels[level], event,
	    format[0] != '\0' ? " " : "");
	if (head < 0 || head >= LINE_MAX_BYTES)
		return;
	va_start(args, format);
	len = vsnprintf(line + head, sizeof line - (size_t)head, format, args);
	va_end(args);
	line_write(line, len < 0 ? head : head + len);
	errno = saved;
}

/* Appends one byte as an escape. */
static char *
escape(char *at, unsigned char byte)
{
	static const char hex[] = "0123456789abcdef";

	*at++ = '\\';
	if (byte == '"' || byte == '\\') {
		*at++ = (char)byte;
		return at;
	}
	*at++ = 'x';
	*at++ = hex[byte >> 4];
	*at++ = hex[byte & 15];
	return at;
}

const char *
log_quote(struct slice text)
{
	static char ring[QUOTE_RING][QUOTE_MAX * 4 + 8];
	static unsigned next;
	char *out = ring[next++ % QUOTE_RING], *at = out;
	size_t i = 0;

	if (text.ptr == NULL)
		return "none";
	*at++ = '"';
	while (i < text.len && i < QUOTE_MAX) {
		const uint8_t *from = (const uint8_t *)text.ptr + i;
		size_t left = text.len - i;
		ucs4_t c;
		int n = u8_mbtoucr(&c, from, left);

		if (n > (int)(QUOTE_MAX - i))
			break;
		if (n <= 0) {
			at = escape(at, *from);
			i++;
		} else if (n == 1 && (c == '"' || c == '\\')) {
			at = escape(at, *from);
			i++;
		} else if (uc_is_general_category_withtable(c, UNPRINTABLE)) {
			for (; n > 0; n--)
				at = escape(at, (unsigned char)text.ptr[i++]);
		} else {
			memcpy(at, from, (size_t)n);
			at += n;
			i += (size_t)n;
		}
	}
	memcpy(at, i < text.len ? "\"..." : "\"", i < text.len ? 5 : 2);
	return out;
}

void
log_panic(const char *file, int line, const char *what)
{
	log_error("panic", "file=%s line=%d what=\"%s\"", file, line, what);
	abort();
}
