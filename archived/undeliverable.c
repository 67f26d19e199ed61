/*
 * undeliverable.c: messages to domains elsewhere that have waited for too long, or of which s2sd says that
 * they can never arrive. Called by batch.c. Fails when the store does.
 *
 * The sender's error goes on the sender's spool in the transaction that takes the message off the
 * domain's: so it gets one exactly, however long it is offline. The error to a subscription stanza, which is
 * presence, goes to the sessions that are there.
 */
#include "archived.h"

#include <stdlib.h>

#include "counter.h"
#include "jid.h"
#include "log.h"
#include "mem.h"
#include "stanza.h"
#include "xmlchar.h"

#define STEP         100       /* messages given up in one transaction */
#define DOMAIN_BYTES (64 << 10) /* of names in one frame */
#define WORDS_MAX    1024u     /* bytes of what s2sd says of a message */

/* -- how long messages wait --------------------------------------------------------------------- */

/* What the configuration says of a peer: its domain, or "*.example.net" for all below one. */
struct patience {
	char *name;
	uint64_t time; /* milliseconds */
};

static struct patience *peers;
static size_t peer_count;
static uint64_t message_time; /* for all others; 0: for ever */

void
undeliverable_close(void)
{
	while (peer_count > 0)
		free(peers[--peer_count].name);
	MEM_FREE(&peers);
}

void
undeliverable_configure(const struct config *config)
{
	struct slice title;

	undeliverable_close();
	message_time = config_number(config, "s2s", "", "message-time") * 1000;
	for (; config_title(config, "peer", peer_count, &title); peer_count++) {
		struct patience *peer;

		peers = mem_grow(peers, (peer_count + 1) * sizeof *peers);
		peer = &peers[peer_count];
		peer->name = slice_dup(title);
		peer->time = config_number(config, "peer", peer->name, "message-time") * 1000;
	}
}

/* Milliseconds for which a message to a domain waits; 0: for ever. The longest name that fits counts. */
static uint64_t
patience_of(struct slice domain)
{
	uint64_t time = message_time;
	size_t i, longest = 0;

	for (i = 0; i < peer_count; i++) {
		struct slice name = slice_string(peers[i].name);

		if (peers[i].time != 0 && domain_fits(name, domain) && domain_weight(name) > longest) {
			time = peers[i].time;
			longest = domain_weight(name);
		}
	}
	return time;
}

/* -- giving up --------------------------------------------------------------------------------- */

/* Puts an error for the sender of a message on the sender's spool, and gives it to the router. */
static int
answer(const struct frame *f, struct frame *reply, uint64_t now, struct buf *out)
{
	struct frame spooled;
	int error;

	reply->type = FRAME_STANZA;
	reply->flags = FLAG_STORE | FLAG_CONTENT | FLAG_ERROR |
	    (f->flags & FLAG_FROM_LOCAL ? FLAG_TO_LOCAL : FLAG_TO_REMOTE);
	reply->handle = reply->archive_id = 0;
	reply->stamp = now;
	error = batch_store(reply);
	if (error)
		return error;
	spooled = *reply;
	spooled.type = FRAME_SPOOLED;
	spooled.flags &= FLAG_FROM_ENTRY;
	spooled.archive_id = id_last();
	return frame_write(&spooled, out);
}

/* What senders are told. */
struct telling {
	enum stanza_error condition;
	struct slice text;
	uint64_t now;
	struct buf *out;
};

/* Tells a sender that has no spool, if it is there. */
static int
tell(void *arg, const struct frame *f)
{
	const struct telling *telling = arg;
	struct buf scratch = { 0 };
	struct frame reply;
	int error = OK;

	if (stanza_error_reply(f, telling->condition, telling->text, &scratch, &reply)) {
		reply.type = FRAME_SPOOLED;
		reply.flags = FLAG_ERROR;
		reply.handle = reply.archive_id = 0;
		reply.stamp = telling->now;
		error = frame_write(&reply, telling->out);
	}
	buf_free(&scratch);
	return error;
}

int
undeliverable_tell(const struct frame *f, enum stanza_error condition, struct slice text, uint64_t now,
    struct buf *out)
{
	struct telling telling = { condition, text, now, out };

	return elsewhere_each(f, tell, &telling);
}

/* Tells the sender of a message that is given up. */
static int
sender_tell(const struct frame *f, enum stanza_error condition, struct slice text, uint64_t now, struct buf *out)
{
	struct buf scratch = { 0 };
	struct frame reply;
	int error = OK;

	/* A room hears of messages that can never arrive: that is enough. What has waited for too long says nothing of
	 * those who were to get it. */
	if ((f->flags & FLAG_ROOM) && (f->kind == STANZA_PRESENCE || condition == STANZA_ERROR_REMOTE_SERVER_TIMEOUT))
		return OK;
	if (f->kind == STANZA_PRESENCE || (f->flags & FLAG_ROOM))
		return undeliverable_tell(f, condition, text, now, out);
	if ((f->flags & FLAG_TO_REMOTE) && stanza_error_reply(f, condition, text, &scratch, &reply))
		error = answer(f, &reply, now, out);
	buf_free(&scratch);
	return error;
}

/* Gives one message up. Returns 0 also when it is not there any more. */
static int
give_up(uint64_t account, uint64_t id, enum stanza_error condition, struct slice text, uint64_t now,
    struct buf *out)
{
	struct buf copy = { 0 };
	struct frame f;
	uint64_t stamp;
	int error;

	if (!spool_has(account, id))
		return OK;
	error = message_get(id, &stamp, &f);
	if (error == OK)
		error = frame_write(&f, &copy); /* the store is about to change */
	if (error == OK)
		error = frame_read(buf_slice(&copy), &f);
	if (error == OK)
		error = sender_tell(&f, condition, text, now, out);
	if (error == E_NOT_FOUND || error == E_MALFORMED)
		error = OK; /* unreadable: nobody can be told */
	if (error == OK)
		error = spool_remove(account, id);
	if (error == OK)
		COUNT(messages_expired);
	buf_free(&copy);
	return error;
}

static enum stanza_error
condition_of(struct slice text)
{
	unsigned i;

	for (i = STANZA_ERROR_NONE + 1; i < STANZA_ERROR_COUNT; i++) {
		if (slice_is(text, stanza_error_text((enum stanza_error)i)))
			return (enum stanza_error)i;
	}
	return STANZA_ERROR_REMOTE_SERVER_NOT_FOUND;
}

/* What s2sd says becomes part of each error: only text of XML, and not much of it. */
static struct slice
words_of(const struct frame *f)
{
	struct xmlchar chars = { 0 };

	return f->text.len <= WORDS_MAX && xmlchar_check(&chars, f->text) && chars.need == 0 ? f->text
	    : SLICE_NONE;
}

int
undeliverable_take(const struct frame *f, uint64_t now, struct buf *out)
{
	struct slice words = words_of(f);
	int error = OK;
	size_t i;

	for (i = 0; i + 1 < frame_count(f) && error == OK; i += 2)
		error = give_up(frame_at(f, i), frame_at(f, i + 1), condition_of(f->condition), words,
		    now, out);
	return error;
}

/* -- what has waited for too long -------------------------------------------------------------- */

struct search {
	uint64_t now;
	uint64_t account;
	uint64_t id;     /* 0: none found */
	int error;
};

/* Whether the oldest message of a domain has waited for too long. */
static void
search_account(void *arg, uint64_t account)
{
	struct search *search = arg;
	uint64_t id, stamp, time;
	struct frame f;

	if (search->id != 0 || search->error)
		return;
	search->error = spool_first(account, &id);
	if (search->error == E_NOT_FOUND)
		search->error = OK;
	if (search->error || id == 0 || message_get(id, &stamp, &f))
		return;
	time = patience_of(spool_owner(&f));
	if (time != 0 && search->now > time && id < id_floor(search->now - time)) {
		search->account = account;
		search->id = id;
	}
}

int
undeliverable_expire(uint64_t now, struct buf *out, bool *more)
{
	struct search search = { .now = now };
	unsigned count;
	int error = OK;

	*more = false;
	for (count = 0; count < STEP && error == OK && buf_len(out) < OUT_BYTES; count++) {
		/* Of the same domain as long as it has some. */
		search.id = 0;
		if (search.account != 0)
			search_account(&search, search.account);
		if (search.id == 0)
			spool_each_remote(search_account, &search);
		if (search.error || search.id == 0)
			return search.error;
		error = give_up(search.account, search.id, STANZA_ERROR_REMOTE_SERVER_TIMEOUT,
		    SLICE("The server could not be reached in time"), now, out);
	}
	*more = true;
	return error;
}

/* -- domains ----------------------------------------------------------------------------------- */

/* A domain for which something waits, and since when. */
struct waiter {
	uint64_t account, first;
};

struct waiters {
	struct waiter *all;
	size_t count, room;
};

static void
waiter_add(void *arg, uint64_t account)
{
	struct waiters *waiters = arg;
	uint64_t id;

	if (spool_first(account, &id))
		return;
	if (waiters->count == waiters->room) {
		waiters->room = waiters->room != 0 ? 2 * waiters->room : 64;
		waiters->all = mem_grow(waiters->all, waiters->room * sizeof *waiters->all);
	}
	waiters->all[waiters->count++] = (struct waiter){ account, id };
}

static int
waiter_order(const void *a, const void *b)
{
	const struct waiter *one = a, *two = b;

	return (one->first > two->first) - (one->first < two->first);
}

struct domains {
	struct buf text;
	struct buf *out;
	int error;
};

static void
domains_write(struct domains *domains)
{
	struct frame f = { .type = FRAME_REMOTE_WAITING, .text = buf_slice(&domains->text) };

	if (domains->error == OK && buf_len(&domains->text) != 0)
		domains->error = frame_write(&f, domains->out);
	buf_clear(&domains->text);
}

static void
domains_add(struct domains *domains, uint64_t id)
{
	uint64_t stamp;
	struct frame f;

	if (domains->error || message_get(id, &stamp, &f))
		return;
	buf_add_slice(&domains->text, spool_owner(&f));
	buf_add_char(&domains->text, '\n');
	if (buf_len(&domains->text) >= DOMAIN_BYTES)
		domains_write(domains);
}

int
undeliverable_domains(struct buf *out)
{
	struct domains domains = { .out = out };
	struct waiters waiters = { 0 };
	size_t i;

	/* Those that wait longest first: s2sd begins with these. */
	spool_each_remote(waiter_add, &waiters);
	if (waiters.count > 1)
		qsort(waiters.all, waiters.count, sizeof *waiters.all, waiter_order);
	for (i = 0; i < waiters.count; i++)
		domains_add(&domains, waiters.all[i].first);
	free(waiters.all);
	domains_write(&domains);
	buf_free(&domains.text);
	return domains.error;
}
