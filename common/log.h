/*
 * log.h: one line a decision, with its reason, as "event key=value ...".
 *
 * Lines go to stderr, which the supervisor made a pipe to the log role; that one stamps time,
 * daemon and pid. Never log a message body or a secret. Text from outside goes through
 * log_quote() only, which escapes what does not print.
 *
 *	log_info("session bound", "jid=%s resource=%s", ...);
 */
#ifndef ALDIS_LOG_H
#define ALDIS_LOG_H

#include "slice.h"

enum log_level { LOG_LEVEL_ERROR, LOG_LEVEL_WARN, LOG_LEVEL_INFO, LOG_LEVEL_DEBUG };

void log_set_level(enum log_level level);
int log_level_of(struct slice text, enum log_level *level); /* "error", "warn", "info", "debug" */

void log_line(enum log_level level, const char *event, const char *format, ...)
    __attribute__((format(printf, 3, 4), nonnull(2, 3)));

#define log_error(...) log_line(LOG_LEVEL_ERROR, __VA_ARGS__)
#define log_warn(...)  log_line(LOG_LEVEL_WARN, __VA_ARGS__)
#define log_info(...)  log_line(LOG_LEVEL_INFO, __VA_ARGS__)
#define log_debug(...) log_line(LOG_LEVEL_DEBUG, __VA_ARGS__)

/* Text from outside, quoted and cut to 200 bytes; a ring of static buffers, good for one log call:
 * log_warn("stream refused", "to=%s", log_quote(header->to)). */
const char *log_quote(struct slice text);

/* Our own bug: logs and dumps core. */
_Noreturn void log_panic(const char *file, int line, const char *what);
#define ASSERT(condition)                                            \
	do {                                                         \
		if (!(condition))                                    \
			log_panic(__FILE__, __LINE__, #condition);   \
	} while (0)

#endif
