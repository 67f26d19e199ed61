/*
 * deliver.c: stanzas to local accounts, by the rules of RFC 6121 section 8.
 *
 * Called by route.c with stanzas whose addresses are canonical. A stored message (archive_id set)
 * that nobody can be given now stays on the spool; one for an account that may not exist waits for
 * authd's answer.
 */
#include "router.h"

#include <stdlib.h>

#include "block.h"
#include "counter.h"
#include "error.h"
#include "log.h"
#include "mem.h"

/* Messages that wait to hear whether their receiver exists, and their bytes. */
#define WAITING_MAX   10000
#define WAITING_BYTES (16u << 20)

/* A stored message whose receiver is not known to exist, without its payload: it is on disk, and an
 * error does not repeat it. */
struct waiting {
	TAILQ_ENTRY(waiting) all;
	char *jid;
	size_t len;
	char frame[];
};

static TAILQ_HEAD(, waiting) waiting = TAILQ_HEAD_INITIALIZER(waiting);
static size_t waiting_count, waiting_bytes;

/* -- receivers of one frame, gathered by c2sd -------------------------------------------------- */

#define PEERS_MAX 64

struct receivers {
	unsigned count;
	struct {
		struct peer *peer;
		struct buf handles;
	} of[PEERS_MAX];
};

struct receivers *
receivers_begin(void)
{
	static struct receivers receivers;

	receivers.count = 0;
	return &receivers;
}

void
receivers_add(struct receivers *r, struct session *s)
{
	unsigned i;

	if (s->peer == NULL || s->killed)
		return;
	for (i = 0; i < r->count && r->of[i].peer != s->peer; i++)
		;
	if (i == PEERS_MAX)
		return;
	if (i == r->count) {
		r->of[i].peer = s->peer;
		buf_clear(&r->of[i].handles);
		r->count++;
	}
	buf_add_u64(&r->of[i].handles, s->handle);
}

void
receivers_send(struct receivers *r, const struct frame *f)
{
	struct frame out = *f;
	unsigned i;

	out.audience = AUDIENCE_NONE;
	out.origin = 0;
	out.seq = 0;
	out.handle = 0;
	for (i = 0; i < r->count; i++) {
		out.numbers = buf_slice(&r->of[i].handles);
		peer_send(r->of[i].peer, &out);
	}
}

size_t
receivers_count(const struct receivers *r)
{
	return r->count;
}

struct peer *
receivers_peer(const struct receivers *r, size_t i)
{
	return r->of[i].peer;
}

void
deliver_to(struct session *s, const struct frame *f)
{
	struct frame out = *f;

	if (s->peer == NULL || s->killed)
		return;
	out.audience = AUDIENCE_NONE;
	out.origin = 0;
	out.seq = 0;
	out.handle = s->handle;
	peer_send(s->peer, &out);
}

/* -- messages ---------------------------------------------------------------------------------- */

/* Gives a message to one session, or leaves it to be fed to it. */
static void
message_give(struct receivers *r, struct session *s, const struct frame *f)
{
	if (f->archive_id == 0 || drain_passes(s, f->archive_id))
		receivers_add(r, s);
}

void
deliver_drop(const struct frame *f)
{
	struct peer *archived = peer_of(ROLE_ARCHIVED);
	struct frame drop = { .type = FRAME_DROP, .jid = remote_spool_of(f->to),
		.archive_id = f->archive_id, .flags = FLAG_BOUNCE };

	if (archived != NULL)
		peer_send(archived, &drop);
}

/* Tells the sender and archived that a stored message has no receiver. */
static void
message_bounce(const struct frame *f)
{
	if (f->archive_id != 0)
		deliver_drop(f);
	route_error(f, STANZA_ERROR_SERVICE_UNAVAILABLE, NULL);
}

/* Asks authd whether the receiver of a stored message exists. */
static void
message_wait(const struct frame *f, struct slice account)
{
	struct peer *authd = peer_of(ROLE_AUTHD);
	struct frame ask = { .type = FRAME_ACCOUNT_ASK, .jid = account }, head = *f;
	struct buf bytes = { 0 };
	struct waiting *w;

	head.payload = SLICE_NONE;
	/* Unheard, it stays on the spool as if the account existed. */
	if (waiting_count >= WAITING_MAX || waiting_bytes >= WAITING_BYTES ||
	    frame_write(&head, &bytes)) {
		COUNT(asked_dropped);
		return;
	}
	w = mem_alloc(sizeof *w + buf_len(&bytes));
	w->len = buf_len(&bytes);
	memcpy(w->frame, buf_slice(&bytes).ptr, w->len);
	w->jid = slice_dup(account);
	buf_free(&bytes);
	TAILQ_INSERT_TAIL(&waiting, w, all);
	waiting_count++;
	waiting_bytes += w->len;
	if (authd != NULL)
		peer_send(authd, &ask);
}

void
deliver_gauges(void)
{
	GAUGE(asked, waiting_count);
	GAUGE(asked_bytes, waiting_bytes);
}

void
deliver_ask_all(void)
{
	struct peer *authd = peer_of(ROLE_AUTHD);
	struct waiting *w;

	TAILQ_FOREACH(w, &waiting, all) {
		struct frame ask = { .type = FRAME_ACCOUNT_ASK, .jid = slice_string(w->jid) };

		if (authd != NULL)
			peer_send(authd, &ask);
	}
}

/* A message that no session takes now. */
static void
message_absent(const struct frame *f, struct slice account)
{
	enum existence existence = existence_get(account);

	if (f->subtype == TYPE_HEADLINE && f->archive_id == 0)
		return;
	if (f->archive_id == 0) {
		/* Not stored: without content (chat states) silence, else the sender must know. */
		if (f->flags & FLAG_CONTENT)
			route_error(f, STANZA_ERROR_SERVICE_UNAVAILABLE, NULL);
	} else if (existence == EXISTENCE_NO) {
		message_bounce(f);
	} else if (existence == EXISTENCE_UNKNOWN) {
		message_wait(f, account);
	}
}

void
deliver_message(const struct frame *f)
{
	struct slice bare = jid_bare_of(f->to.ptr ? f->to : f->from);
	struct account *account = account_find(bare);
	struct receivers *r = receivers_begin();
	struct session *taker, *s;
	struct frame out = *f;
	bool taken = false;

	if (block_is(bare, f->from)) {
		message_bounce(f);
		return;
	}
	taker = account ? session_of_resource(account, f->to) : NULL;
	if (taker != NULL) {
		message_give(r, taker, f);
		taken = true;
	} else if (f->subtype == TYPE_GROUPCHAT ||
	    (f->subtype == TYPE_NORMAL && f->to.len > bare.len)) {
		message_bounce(f);
		return;
	} else if (f->archive_id == 0 && (f->subtype == TYPE_ERROR ||
	    (f->subtype == TYPE_HEADLINE && f->to.len > bare.len))) {
		return;
	} else if (account != NULL && (f->subtype != TYPE_HEADLINE || f->to.len == bare.len)) {
		TAILQ_FOREACH(s, &account->sessions, siblings) {
			if (!takes_messages(s))
				continue;
			message_give(r, s, f);
			taken = true;
		}
	}
	if (f->archive_id != 0)
		push_stored(account, taker, bare, f->archive_id);
	if (taken) {
		COUNT(messages_routed);
		if (f->flags & FLAG_TO_SKIPS)
			out.flags |= FLAG_NO_PERMANENT;
		receivers_send(r, &out);
	} else {
		if (account != NULL && f->archive_id != 0)
			drain_missed(account, f->archive_id);
		message_absent(f, bare);
	}
	if (account != NULL)
		carbon_received(f, account, taker);
}

void
deliver_spool(struct slice frame, uint64_t spool)
{
	struct account *account;
	struct frame f;

	if (spool == 0 || frame_read(frame, &f) != 0 || f.to.ptr == NULL)
		return;
	account = account_find(remote_spool_of(f.to));
	if (account != NULL)
		account->spool = spool;
}

/* What is now known about an account lets the messages that waited for it go on. */
void
deliver_exists(struct slice jid, bool exists, bool push, struct slice blocks)
{
	struct account *account = account_find(jid);
	struct waiting *w, *next;
	struct frame f;

	existence_set(jid, exists, push, blocks);
	if (account != NULL)
		account->push = push;
	if (account != NULL && !exists)
		session_loaded(account, false);
	for (w = TAILQ_FIRST(&waiting); w != NULL; w = next) {
		next = TAILQ_NEXT(w, all);
		if (!slice_is(jid, w->jid))
			continue;
		TAILQ_REMOVE(&waiting, w, all);
		waiting_count--;
		waiting_bytes -= w->len;
		ASSERT(frame_read(slice_of(w->frame, w->len), &f) == 0);
		if (!exists || block_matches(blocks, f.from))
			message_bounce(&f);
		else if (push)
			push_owe(jid, f.archive_id);
		free(w->jid);
		free(w);
	}
}

/* -- iq and audiences -------------------------------------------------------------------------- */

void
deliver_iq(const struct frame *f)
{
	struct account *account = account_find(jid_bare_of(f->to));
	struct session *s = account ? session_of_resource(account, f->to) : NULL;

	if (s != NULL && s->peer != NULL && !block_is(account_jid(account), f->from)) {
		COUNT(iqs_routed);
		deliver_to(s, f);
	} else if (f->subtype == TYPE_GET || f->subtype == TYPE_SET) {
		route_error(f, STANZA_ERROR_SERVICE_UNAVAILABLE, NULL);
	}
}

static bool
is_in_audience(const struct session *s, enum audience audience)
{
	if (s->killed || s->state != SESSION_BOUND)
		return false;
	return audience == AUDIENCE_CONNECTED ||
	    (audience == AUDIENCE_INTERESTED && s->interested) ||
	    (audience == AUDIENCE_AVAILABLE && s->available) ||
	    (audience == AUDIENCE_BLOCKS && s->blocks);
}

void
deliver_audience(const struct frame *f)
{
	struct account *account = f->to.ptr ? account_find(jid_bare_of(f->to)) : NULL;
	struct receivers *r = receivers_begin();
	struct frame out = *f;
	struct session *s;

	if (account == NULL)
		return;
	TAILQ_FOREACH(s, &account->sessions, siblings) {
		if (is_in_audience(s, f->audience))
			receivers_add(r, s);
	}
	/* A roster push goes to the full JID of each (RFC 6121 section 2.1.6). */
	if (f->kind == STANZA_IQ)
		out.to = SLICE_NONE;
	receivers_send(r, &out);
}
