/*
 * ticket.c: the key of TLS tickets, which is the same for all c2sd, so that a client resumes its TLS
 * session with whatever process it reaches, also when that is new.
 *
 * Called by tls.c for each handshake, by main.c when there is a link to authd, by domain.c when
 * certificates have changed. The key comes from authd and lives for hours, here and there in memory
 * only; when its time is over, or authd is another, a new one is asked for. What is used is made of it and of the
 * certificates, so that no ticket outlives them. Without a key there are no tickets, and all goes on.
 */
#include "c2sd.h"

#include <gnutls/crypto.h>

#include "error.h"
#include "log.h"

#define TICKET_KEY 64u   /* what GnuTLS takes */
#define LATER_MS   5000u /* until authd is asked again that has not answered */

static uv_loop_t *loop;
static uv_timer_t timer;
static uv_work_t work;
static bool asking, once_more;
static int outcome;             /* of the question */
static gnutls_datum_t result;

static bool known;
static unsigned char given[TICKET_KEY], mixed[TICKET_KEY];

static void ask(void);

void
ticket_mix(void)
{
	unsigned char digest[DOMAINS_DIGEST];

	if (!known)
		return;
	domains_digest(digest);
	if (gnutls_hmac_fast(GNUTLS_MAC_SHA512, given, sizeof given, digest, sizeof digest,
	    mixed) != 0)
		known = false;
}

bool
ticket_key(gnutls_datum_t *key)
{
	*key = (gnutls_datum_t){ mixed, sizeof mixed };
	return known;
}

/* On a thread of the pool. */
static void
question(uv_work_t *w)
{
	static const unsigned char no_key[KEY_ID_SIZE];
	const gnutls_datum_t nothing = { NULL, 0 };

	(void)w;
	outcome = key_use("", no_key, "ticket", 0, &nothing, &result);
}

static void
due(uv_timer_t *t)
{
	(void)t;
	ask();
}

/* Takes the key, and returns the milliseconds until the next is to be asked for. */
static uint64_t
take(void)
{
	uint32_t seconds;

	known = outcome == OK && result.size == TICKET_KEY + sizeof seconds;
	if (!known)
		return outcome == E_FORBIDDEN ? 0 : LATER_MS;
	memcpy(given, result.data, TICKET_KEY);
	memcpy(&seconds, result.data + TICKET_KEY, sizeof seconds);
	ticket_mix();
	return 1000ull * (seconds > 0 ? seconds : 1);
}

static void
answered(uv_work_t *w, int status)
{
	uint64_t wait;

	(void)w;
	(void)status;
	asking = false;
	wait = take();
	if (result.data != NULL)
		gnutls_memset(result.data, 0, result.size);
	gnutls_free(result.data);
	result = (gnutls_datum_t){ NULL, 0 };
	if (wait != 0)
		uv_timer_start(&timer, due, wait, 0);
	if (once_more)
		ask();
}

static void
ask(void)
{
	once_more = asking;
	if (asking)
		return;
	asking = uv_queue_work(loop, &work, question, answered) == 0;
}

void
ticket_refresh(void)
{
	if (loop != NULL)
		ask();
}

void
ticket_start(uv_loop_t *l)
{
	loop = l;
	uv_timer_init(loop, &timer);
	uv_unref((uv_handle_t *)&timer);
	uv_timer_start(&timer, due, 0, 0); /* threads start when the process is locked up */
}
