/*
 * attempt.h: what happened between us and a peer domain, step by step: the answer to "why is there
 * no connection", and to "why is there one".
 *
 * A history of domains, bounded: those heard of last are kept, of each the last attempts, of each
 * attempt so many steps; texts are cut, and there is a bound of all bytes. Bytes of a peer may go
 * into any text: what is not printable is escaped on the way in, so that everything in here is
 * printable UTF-8. No input or output, no clock but the one passed in.
 */
#ifndef ALDIS_ATTEMPT_H
#define ALDIS_ATTEMPT_H

#include <jansson.h>

#include "slice.h"

#define ATTEMPT_STEPS   64u  /* of an attempt; more are counted */
#define ATTEMPT_KEPT    16u  /* attempts of a domain */
#define ATTEMPT_FIELDS  8u   /* of a step */
#define ATTEMPT_TEXT    200u /* bytes of one value, after escaping, NUL included */
#define ATTEMPT_DETAILS 600u /* bytes of all fields of a step, NUL included */

enum attempt_direction { ATTEMPT_OUT, ATTEMPT_IN };

enum attempt_verdict {
	ATTEMPT_NOTED,   /* a fact, neither good nor bad */
	ATTEMPT_OK,
	ATTEMPT_FAILED,
	ATTEMPT_SKIPPED, /* not done, with the reason */
};

struct attempt;

/* The history of all domains. */
struct attempts;

/* Keeps this many domains, and bytes of attempts that have ended; the newest attempt may be beyond. */
struct attempts *attempts_new(size_t domains, size_t bytes);
void attempts_free(struct attempts **attempts);
size_t attempts_domains(const struct attempts *attempts); /* with a history: a gauge */
size_t attempts_bytes(const struct attempts *attempts);   /* of attempts that have ended: a gauge */

/*
 * Begins an attempt with a domain (canonical, or what a peer claims). milliseconds: the clock of all
 * that follows; stamp: the time of day then, milliseconds since 1970. It is valid until attempt_end(),
 * which must follow: attempts under way are beyond the bounds, and are shown as such.
 */
struct attempt *attempt_begin(struct attempts *attempts, struct slice domain,
    enum attempt_direction direction, uint64_t milliseconds, uint64_t stamp);
/* An attempt whose domain was not known when it began (from another server), or is another one. */
void attempt_domain(struct attempt *attempt, struct slice domain);

/*
 * Adds a step. fields: "key=value key=value", printf-like; a value that contains spaces stands in single
 * quotes: "address=%s reason='%s'". Values are cut at ATTEMPT_TEXT; a text of the peer
 * goes through attempt_text(), so that it cannot end its quotes. NULL or "": no fields.
 */
void attempt_step(struct attempt *attempt, uint64_t milliseconds, const char *name,
    enum attempt_verdict verdict, const char *fields, ...) __attribute__((format(printf, 5, 6)));
/* A text from outside, escaped to stand in quotes: what is not printable UTF-8, quotes and backslashes as
 * \xNN; cut. A ring of 8 static buffers, good for one attempt_step(). Absent: "". */
const char *attempt_text(struct slice text);

/* Ends it and takes it into the history. Clears the caller's pointer. result: one word or a few, printable. */
void attempt_end(struct attempt **attempt, uint64_t milliseconds, enum attempt_verdict verdict,
    const char *result);

/*
 * The attempts with a domain as JSON, first that which began or ended last; a new reference, NULL when
 * there are none.
 *
 *	[{"domain": "example.org", "direction": "out", "began": 1764295000123, "milliseconds": 412,
 *	  "verdict": "ok", "result": "authenticated", "steps-left-out": 0,
 *	  "steps": [{"at": 3, "step": "dns", "verdict": "ok", "type": "SRV", ...}, ...]}, ...]
 *
 * One that is under way has neither milliseconds nor verdict nor result.
 */
json_t *attempts_json(const struct attempts *attempts, struct slice domain);
/* All domains with a history: {"example.org": {"attempts": 3, "verdict": "failed", "result": ...,
 * "began": ...}, ...}, each with its last attempt that has ended. */
json_t *attempts_summary(const struct attempts *attempts);

const char *attempt_verdict_text(enum attempt_verdict verdict); /* "noted", "ok", "failed", "skipped" */

#endif
