/*
 * responder.h: asking an OCSP responder over HTTP (RFC 6960 appendix A.1), and keeping what it said.
 *
 * Nothing here reads or believes an answer: it is bytes until ocsp_check() has seen its signature.
 */
#ifndef ALDIS_RESPONDER_H
#define ALDIS_RESPONDER_H

#include <time.h>

#include <uv.h>

#include "resolve.h"
#include "slice.h"

/* -- responder.c: requests under way ------------------------------------------------------------- */

/* Gets the response, or, when that is absent, why there is none; both are valid during the call. */
typedef void responder_done(void *arg, struct slice response, const char *why);

#define RESPONDER_TIME    5000u       /* milliseconds of a request, DNS included */
#define RESPONDER_ASKED   32u         /* requests under way */
#define RESPONDER_REQUEST 1024u       /* bytes of a request */
#define RESPONDER_HEADERS 8192u       /* bytes of the headers of an answer */
#define RESPONDER_HOST    256u        /* bytes of a host, NUL included */

/* Who waits for an answer. */
struct inquiry;

/* Makes libcurl ready: before the lock-down. Returns 0 or E_SYSTEM, logged. */
int responders_start(uv_loop_t *loop, struct resolver *resolver);
/* When no request is under way. The handles are closed by the loop, which must run once more. */
void responders_stop(void);
/*
 * Sends a request (DER) to an http URL, a NUL-terminated string; those who ask the same at the same time share
 * one. done() follows, never from within: with a response of at most OCSP_MAX bytes, or with the reason why
 * there is none and an absent response. Returns 0 with *inquiry, which is valid until done(), E_MALFORMED (no
 * URL that can be asked, or too big a request), or E_FULL; then nothing follows.
 */
int responder_ask(const char *url, struct slice request, responder_done *done, void *arg,
    struct inquiry **inquiry);
/* Gives it up: done() does not follow. Clears the caller's pointer. */
void responder_cancel(struct inquiry **inquiry);
size_t responders_busy(void); /* requests under way: a gauge */
/* The host and port of a URL that can be asked: http, without a user, a host name of ASCII letters or an
 * address, in which brackets are left out. Returns 0 or E_MALFORMED. */
int responder_url(const char *url, char host[RESPONDER_HOST], uint16_t *port);

/* -- answers.c: responses that hold for a while. No input or output, no clock but the one passed in --- */

struct answers;

/* Keeps this many responses, and this many bytes of them and their requests. */
struct answers *answers_new(size_t count, size_t bytes);
void answers_free(struct answers **answers);
/* Keeps the response to a request until a time, seconds since 1970; what came first gives way. One whose time
 * is over, or that is too big, is not kept. */
void answers_put(struct answers *answers, struct slice request, struct slice response, time_t until, time_t now);
/* The response to a request, valid until the next answers_put(); absent: there is none that still holds. */
struct slice answers_get(struct answers *answers, struct slice request, time_t now);
size_t answers_count(const struct answers *answers); /* a gauge */

#endif
