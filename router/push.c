/*
 * push.c: notifications of what waits for accounts whose clients are away (XEP-0357).
 *
 * Called by deliver.c and session.c when a stored message reaches no client that reads it, for accounts that
 * have push services. Here is decided when: archived says how much of what waits is worth one, authd
 * composes and publishes it. One at a time of an account, and one in a push interval: what comes
 * meanwhile is told of together. What is known here is lost with the router. Nothing here can fail.
 */
#include "router.h"

#include <stdlib.h>

#include "counter.h"
#include "log.h"
#include "map.h"
#include "mem.h"

#define PUSH_MAX   10000u /* accounts */
#define RETRY_TIME 1000   /* milliseconds, when archived or authd is away */

struct push {
	TAILQ_ENTRY(push) all;
	char *jid;
	uint64_t until;    /* ticks before which there is no other notification */
	uint64_t asked_id; /* archive id that archived was asked with */
	uint64_t owed_id;  /* of the first message that the next one will be about */
	bool asked;        /* archived has not answered */
	bool owed;
};

static TAILQ_HEAD(, push) pushes = TAILQ_HEAD_INITIALIZER(pushes);
static struct map *by_jid;
static uint64_t interval;  /* milliseconds */

static struct push *
push_find(struct slice jid)
{
	return by_jid != NULL ? map_get(by_jid, jid) : NULL;
}

static void
push_free(struct push *p)
{
	TAILQ_REMOVE(&pushes, p, all);
	map_remove(by_jid, slice_string(p->jid));
	free(p->jid);
	free(p);
}

static void
owe(struct push *p, uint64_t id)
{
	if (!p->owed || id < p->owed_id)
		p->owed_id = id;
	p->owed = true;
}

/* Asks archived how much waits. */
static void
ask(struct push *p)
{
	struct peer *archived = peer_of(ROLE_ARCHIVED);
	struct frame f = { .type = FRAME_PUSH, .jid = slice_string(p->jid), .archive_id = p->owed_id };

	if (archived == NULL || archived->congested) {
		p->until = daemon_ticks() + RETRY_TIME;
		return;
	}
	p->asked_id = p->owed_id;
	p->asked = true;
	p->owed = false;
	p->until = daemon_ticks() + interval;
	peer_send(archived, &f);
}

void
push_owe(struct slice account, uint64_t archive_id)
{
	struct push *p = push_find(account);

	if (p != NULL) {
		COUNT(pushes_folded);
		owe(p, archive_id);
		return;
	}
	if (by_jid == NULL)
		by_jid = map_new();
	if (map_count(by_jid) >= PUSH_MAX) {
		COUNT(pushes_dropped);
		return;
	}
	p = mem_alloc(sizeof *p);
	p->jid = slice_dup(account);
	map_put(by_jid, slice_string(p->jid), p);
	TAILQ_INSERT_TAIL(&pushes, p, all);
	owe(p, archive_id);
	ask(p);
}

static bool
is_awake(const struct session *s)
{
	return s->peer != NULL && !s->away && !s->killed;
}

/* Whether an account has a client that gets what is on the spool; one that has sent no presence yet will
 * be given it. */
static bool
is_read(const struct account *account)
{
	const struct session *s;

	if (account == NULL)
		return false;
	TAILQ_FOREACH(s, &account->sessions, siblings) {
		if (is_awake(s) && (takes_messages(s) || s->unseen))
			return true;
	}
	return false;
}

void
push_stored(const struct account *account, const struct session *taker, struct slice jid,
    uint64_t archive_id)
{
	/* Where the roster is awaited authd says later whether there is any service. */
	if (account != NULL ? !account->push && account->loaded : !existence_push(jid))
		return;
	if (!is_read(account) && (taker == NULL || !is_awake(taker)))
		push_owe(jid, archive_id);
}

void
push_left(const struct account *account)
{
	push_stored(account, NULL, account_jid(account), 0);
}

void
push_away(struct session *s, const struct frame *f)
{
	s->away = (f->flags & FLAG_AVAILABLE) == 0;
	if (s->away && f->number != 0 && s->account != NULL)
		push_left(s->account);
}

void
push_counted(struct peer *archived, const struct frame *f)
{
	struct push *p = push_find(f->jid);
	struct peer *authd = peer_of(ROLE_AUTHD);
	struct frame out = { .type = FRAME_PUSH, .jid = f->jid, .number = f->number, .from = f->from,
		.text = f->text };
	struct jid from;

	if (f->from.ptr != NULL && jid_parse(f->from, &from) != 0) {
		peer_refuse(archived, f, "malformed address");
	} else if (p == NULL || !p->asked || p->asked_id != f->archive_id) {
		peer_drop(archived, f, "not asked for");
	} else if (is_read(account_find(f->jid))) {
		push_free(p); /* a client is back meanwhile */
	} else if (f->number == 0) {
		p->asked = false;
		if (p->owed)
			ask(p);
		else
			push_free(p); /* so the next message is told of at once */
	} else {
		p->asked = false;
		if (authd != NULL && !authd->congested) {
			COUNT(pushes);
			peer_send(authd, &out);
		} else {
			owe(p, f->archive_id);
			p->until = daemon_ticks() + RETRY_TIME;
		}
	}
}

void
push_answered(const struct frame *f)
{
	struct peer *authd = peer_of(ROLE_AUTHD);
	struct frame out = *f;
	struct jid to;

	/* authd knows whether it has asked, and whom. */
	if (authd == NULL || authd->congested || f->to.ptr == NULL || !slice_starts(f->id, SLICE("push-")) ||
	    jid_parse(f->to, &to) != 0 || to.local.ptr != NULL || to.resource.ptr != NULL)
		return;
	out.origin = 0;
	out.seq = 0;
	out.handle = 0;
	peer_send(authd, &out);
}

void
push_configure(const struct config *config)
{
	interval = config_number(config, "push", "", "interval") * 1000;
}

void
push_tick(void)
{
	struct push *p, *next;

	for (p = TAILQ_FIRST(&pushes); p != NULL; p = next) {
		next = TAILQ_NEXT(p, all);
		if (p->until > daemon_ticks())
			continue;
		if (p->asked)
			owe(p, p->asked_id); /* archived has died */
		p->asked = false;
		if (!p->owed || is_read(account_find(slice_string(p->jid))))
			push_free(p);
		else
			ask(p);
	}
}

bool
push_waiting(void)
{
	return !TAILQ_EMPTY(&pushes);
}

void
push_gauges(void)
{
	GAUGE(pushes_pending, by_jid ? map_count(by_jid) : 0);
}
