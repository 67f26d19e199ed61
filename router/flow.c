/*
 * flow.c: which daemons the router reads from: back-pressure between them.
 *
 * Called by peer.c when a link that is written to is full, at the end of each iteration, and every
 * second while somebody is not read. What waits to be sent decides:
 *
 *   to entry daemons more than ENTRY_STOP   nobody is read. They read always, whatever else they
 *                                           do, so this ends; one of them that has taken nothing
 *                                           for STUCK_TIME loses its link
 *   to takers more than TAKER_STOP          entry daemons are not read. A taker may stop reading
 *                                           for long (a full disk), but never waits for an entry
 *                                           daemon
 *
 * So nobody waits for somebody who waits for him: takers wait for the router, the router for entry
 * daemons, those for no one. TAKER_STOP is more than what windows let a few c2sd send (uplink.c):
 * while archived stores nothing, presence and requests go on.
 */
#include "router.h"

#include "counter.h"
#include "log.h"

#define ENTRY_STOP ((size_t)64 << 20)  /* bytes */
#define TAKER_STOP ((size_t)192 << 20)
#define LOW_PART   4                   /* reading goes on below this part of it */
#define STUCK_TIME 5000                /* milliseconds */

enum flow { FLOW_FREE, FLOW_ENTRIES, FLOW_ALL };

static enum flow flow;
static uint64_t stuck_since; /* ticks when the links to entry daemons were seen to move last */
static size_t stuck_bytes;   /* what waited then */

/* Bytes that wait for entry daemons, or for the others. */
static size_t
waiting(bool entry)
{
	const struct peer *peer;
	size_t bytes = 0;

	TAILQ_FOREACH(peer, &peers, all) {
		if (peer_is_entry(peer) == entry)
			bytes += link_pending(peer->link);
	}
	return bytes;
}

/* What may be read; who was stopped goes on at a lower mark. */
static enum flow
flow_due(void)
{
	size_t entries = waiting(true), takers = waiting(false);

	if (entries > (flow == FLOW_ALL ? ENTRY_STOP / LOW_PART : ENTRY_STOP))
		return FLOW_ALL;
	if (takers > (flow != FLOW_FREE ? TAKER_STOP / LOW_PART : TAKER_STOP))
		return FLOW_ENTRIES;
	return FLOW_FREE;
}

static bool
is_stopped(const struct peer *peer)
{
	return flow == FLOW_ALL || (flow == FLOW_ENTRIES && peer_is_entry(peer));
}

void
flow_check(void)
{
	enum flow due = flow_due();
	struct peer *peer;

	if (due == FLOW_FREE && flow == FLOW_FREE)
		return;
	if (due > flow) {
		COUNT(flow_stops);
		stuck_since = daemon_ticks();
		stuck_bytes = waiting(true);
		log_warn("reading stopped", "entries=%zu takers=%zu", stuck_bytes, waiting(false));
	}
	flow = due;
	TAILQ_FOREACH(peer, &peers, all)
		link_pause(peer->link, is_stopped(peer));
	daemon_dirty(); /* for the tick */
}

/* The entry daemon for which most waits. */
static struct peer *
flow_worst(void)
{
	struct peer *peer, *worst = NULL;

	TAILQ_FOREACH(peer, &peers, all) {
		if (peer_is_entry(peer) && (worst == NULL ||
		    link_pending(peer->link) > link_pending(worst->link)))
			worst = peer;
	}
	return worst;
}

void
flow_tick(void)
{
	size_t now = waiting(true);

	if (flow == FLOW_ALL && now >= stuck_bytes) {
		if (daemon_ticks() - stuck_since >= STUCK_TIME) {
			peer_lose(flow_worst(), "it does not read");
			stuck_since = daemon_ticks();
		}
	} else {
		stuck_since = daemon_ticks();
		stuck_bytes = now;
	}
	flow_check();
}

bool
flow_waiting(void)
{
	return flow != FLOW_FREE;
}

void
flow_gauges(void)
{
	const struct peer *peer;
	size_t stopped = 0;

	TAILQ_FOREACH(peer, &peers, all)
		stopped += is_stopped(peer);
	GAUGE(flow_stopped, stopped);
}
