/*
 * follow.c: what follows a subscription stanza for a domain elsewhere on its way to archived.
 *
 *   (passed to authd) -> ASKED --(authd has committed, and sent what it keeps)--> nothing waits
 *
 * authd makes of such a stanza one that archived stores (outbox.c). A message that its sender sends behind it
 * would be there first, so what its c2sd has for archived waits here until authd has taken the stanza, and
 * behind that all it has in custody: both get an origin's frames in the order of their numbers. That takes as
 * long as a commit of authd. When authd is away, or takes a second, or there is a flood of such stanzas,
 * nothing waits.
 *
 * Called by route.c, hold.c and peer.c with frames in custody. What is here when its taker is away, or when its
 * origin sends all again, is dropped: it comes again.
 */
#include "router.h"

#include "counter.h"
#include "log.h"

#define PATIENCE 1000u /* milliseconds for authd */
#define FLOOD    16u   /* stanzas of an origin that wait here */

static size_t bytes;

/* Whether authd makes of this one that archived stores. */
static bool
is_asked(const struct peer *taker, const struct frame *f)
{
	struct jid to;

	if (taker->role != ROLE_AUTHD || !route_is_subscription(f) || f->to.ptr == NULL)
		return false;
	jid_split(f->to, &to);
	return !registry_local_domain(to.domain);
}

static void
pass(struct peer *origin, struct peer *taker, const struct frame *f)
{
	if (is_asked(taker, f)) {
		origin->asked_authd = f->seq;
		origin->asked_since = daemon_ticks();
	}
	peer_send(taker, f);
}

/* Passes on what need not wait; all: everything. */
static void
release(struct peer *origin, bool all)
{
	struct slice whole;
	struct frame f;
	uint64_t role;

	while (buf_len(&origin->following) != 0) {
		struct peer *taker;

		memcpy(&role, buf_slice(&origin->following).ptr, sizeof role);
		if (!all && role == ROLE_ARCHIVED && origin->asked_authd != 0)
			return;
		buf_consume(&origin->following, sizeof role);
		ASSERT(frame_next(buf_slice(&origin->following), &whole) == 0 && frame_read(whole, &f) == 0);
		taker = peer_of((enum role)role);
		if (taker != NULL)
			pass(origin, taker, &f);
		bytes -= sizeof role + whole.len;
		buf_consume(&origin->following, whole.len);
	}
	buf_free(&origin->following);
	origin->followers = 0;
}

void
follow_send(struct peer *taker, const struct frame *f)
{
	struct peer *origin = peer_by_incarnation(f->origin);
	size_t before;

	if (origin == NULL) {
		peer_send(taker, f);
		return;
	}
	before = buf_len(&origin->following);
	if (before == 0 && (taker->role != ROLE_ARCHIVED || origin->asked_authd == 0)) {
		pass(origin, taker, f);
		return;
	}
	buf_add_u64(&origin->following, taker->role);
	if (frame_write(f, &origin->following) != 0)
		buf_truncate(&origin->following, before); /* it was a frame when it came, and is one */
	bytes += buf_len(&origin->following) - before;
	origin->followers += is_asked(taker, f);
	if (origin->followers > FLOOD)
		follow_all(origin);
}

void
follow_taken(struct peer *origin, uint64_t seq)
{
	if (origin->asked_authd == 0 || seq < origin->asked_authd)
		return;
	origin->asked_authd = 0;
	release(origin, false);
}

void
follow_all(struct peer *origin)
{
	release(origin, true);
	origin->asked_authd = 0;
}

void
follow_clear(struct peer *origin)
{
	origin->asked_authd = 0;
	origin->followers = 0;
	bytes -= buf_len(&origin->following);
	buf_free(&origin->following);
}

void
follow_tick(void)
{
	struct peer *peer;

	TAILQ_FOREACH(peer, &peers, all) {
		if (peer->asked_authd != 0 && daemon_ticks() - peer->asked_since >= PATIENCE)
			follow_all(peer);
	}
}

bool
follow_waiting(void)
{
	return bytes != 0;
}

void
follow_gauges(void)
{
	GAUGE(following, bytes);
}
