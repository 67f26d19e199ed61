/*
 * ticket.c: the key of TLS tickets, for all c2sd. Called by key.c. Cannot fail.
 *
 * It is random, lives for ticket-time, and is in memory only: whoever takes authd or its disk later cannot
 * open what was recorded before. All c2sd get the same with the time that is left, and ask again then.
 */
#include <gnutls/crypto.h>
#include <gnutls/gnutls.h>

#include "authd.h"
#include "log.h"

static uint8_t key[TICKET_KEY];
static uint64_t until; /* ticks; 0: there is none */

bool
ticket_give(uint64_t ticks, struct buf *out)
{
	uint32_t left;

	if (state.ticket_time == 0)
		return false;
	if (until == 0 || ticks >= until) {
		ASSERT(gnutls_rnd(GNUTLS_RND_KEY, key, sizeof key) == 0);
		until = ticks + state.ticket_time;
		log_info("ticket key", "seconds=%llu",
		    (unsigned long long)(state.ticket_time / 1000));
	}
	left = (uint32_t)((until - ticks + 999) / 1000);
	buf_add(out, key, sizeof key);
	buf_add(out, &left, sizeof left);
	return true;
}
