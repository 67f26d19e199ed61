/*
 * session.c: client streams from their grant to their end.
 *
 * A session begins with authd's AUTH_SUCCESS or, after a restart of the router, with a replay whose
 * token proves that there was one. Called by peer.c, hold.c, control.c. What c2sd claims about a
 * session that is not its own is ignored and logged.
 */
#include "router.h"

#include <gnutls/crypto.h>
#include <gnutls/gnutls.h>
#include <stdlib.h>

#include "counter.h"
#include "log.h"
#include "mem.h"

#define GRACE_TIME   5000 /* milliseconds that the sessions of a dead c2sd stay */
#define MOVED_TIME   10000 /* milliseconds in which the former holder may pass on what comes late */
#define DIRECTED_MAX 500

#define WORD_MIN 16u /* bytes of the word that names a client in its resource */

enum conflict { CONFLICT_REPLACE, CONFLICT_REFUSE, CONFLICT_RENAME };

static struct map *sessions; /* by handle */
static struct map *names;    /* by first_handle: of clients */
static char grant_key[32];
static enum conflict conflict_policy;
static uint64_t sessions_per_account;
static size_t orphan_count; /* sessions without a c2sd */

void
sessions_configure(const struct config *config)
{
	struct slice policy = config_text(config, "c2s", "", "resource-conflict");

	if (sessions == NULL) {
		sessions = map_new();
		names = map_new();
	}
	conflict_policy = slice_is(policy, "refuse") ? CONFLICT_REFUSE
	    : slice_is(policy, "rename") ? CONFLICT_RENAME : CONFLICT_REPLACE;
	sessions_per_account = config_number(config, "c2s", "", "sessions-per-account");
}

void
session_set_grant_key(struct slice key)
{
	memcpy(grant_key, key.ptr, sizeof grant_key);
}

struct session *
session_find(uint64_t handle)
{
	return map_get(sessions, slice_of(&handle, sizeof handle));
}

struct session *
session_named(uint64_t first_handle)
{
	struct session *s = map_get(names, slice_of(&first_handle, sizeof first_handle));

	return s != NULL && !s->remote ? s : NULL;
}

static void
name_set(struct session *s, uint64_t first_handle)
{
	s->first_handle = first_handle;
	if (map_get(names, slice_of(&first_handle, sizeof first_handle)) == NULL)
		map_put(names, slice_of(&s->first_handle, sizeof s->first_handle), s);
}

static void
name_clear(const struct session *s)
{
	struct slice name = slice_of(&s->first_handle, sizeof s->first_handle);

	if (map_get(names, name) == s)
		map_remove(names, name);
}

void
session_each(bool (*each)(void *arg, struct session *s), void *arg)
{
	struct session *s;
	size_t at = 0;

	while ((s = map_each(sessions, &at)) != NULL) {
		if (!each(arg, s))
			return;
	}
}

size_t
session_count(void)
{
	return map_count(sessions);
}

static bool
gauge(void *arg, struct session *s)
{
	size_t *sums = arg;

	sums[0] += s->directed_count;
	sums[1] += s->draining;
	return true;
}

void
session_gauges(void)
{
	size_t sums[2] = { 0, 0 };

	session_each(gauge, sums);
	GAUGE(directed, sums[0]);
	GAUGE(draining, sums[1]);
}

struct session *
session_new(struct peer *peer, uint64_t handle, struct slice jid, const unsigned char token[32])
{
	struct session *s = mem_alloc(sizeof *s);

	s->handle = handle;
	name_set(s, handle);
	s->peer = peer;
	s->jid = slice_dup(jid);
	s->jid_len = jid.len;
	s->since = daemon_now();
	memcpy(s->token, token, sizeof s->token);
	map_put(sessions, slice_of(&s->handle, sizeof s->handle), s);
	GAUGE(sessions, map_count(sessions));
	return s;
}

static void
directed_clear(struct session *s)
{
	size_t i;

	for (i = 0; i < s->directed_count; i++)
		free(s->directed[i]);
	MEM_FREE(&s->directed);
	s->directed_count = 0;
}

/* Frees a session whose queue is empty; nothing is announced. */
static void
session_free(struct session *s)
{
	struct account *account = s->account;

	orphan_count -= s->peer == NULL;
	map_remove(sessions, slice_of(&s->handle, sizeof s->handle));
	name_clear(s);
	GAUGE(sessions, map_count(sessions));
	if (account != NULL) {
		TAILQ_REMOVE(&account->sessions, s, siblings);
		account_drop(account);
	}
	directed_clear(s);
	buf_free(&s->resume);
	free(s->presence);
	free(s->jid);
	free(s);
}

/* Whether a token is authd's for this stream and account. */
static bool
grant_is_valid(uint64_t handle, struct slice bare, struct slice token)
{
	char expected[32];
	struct buf text = { 0 };
	int error;

	buf_add_u64(&text, handle);
	buf_add_slice(&text, bare);
	error = gnutls_hmac_fast(GNUTLS_MAC_SHA256, grant_key, sizeof grant_key, buf_slice(&text).ptr,
	    buf_len(&text), expected);
	buf_free(&text);
	return error == 0 && token.len == sizeof expected &&
	    gnutls_memcmp(expected, token.ptr, sizeof expected) == 0;
}

bool
session_grant(const struct frame *f)
{
	struct peer *peer = peer_by_incarnation(HANDLE_INCARNATION(f->handle));
	struct session *s = session_find(f->handle);
	struct jid jid;

	if (peer == NULL || s != NULL || jid_parse(f->jid, &jid) != 0 || jid.resource.ptr != NULL ||
	    !registry_local_domain(jid.domain) || !grant_is_valid(f->handle, f->jid, f->token)) {
		log_warn("grant refused", "account=%s", log_quote(f->jid));
		return false;
	}
	session_new(peer, f->handle, f->jid, (const unsigned char *)f->token.ptr);
	return true;
}

static void
bind_refuse(struct session *s, const char *condition)
{
	struct frame f = { .type = FRAME_SESSION_REFUSED, .handle = s->handle,
		.condition = slice_string(condition) };

	peer_send(s->peer, &f);
}

/* The full JID that a session asks for, or one of our choice; empty when it is no JID. */
static void
bind_name(const struct session *s, struct slice resource, struct buf *full)
{
	struct jid jid;

	buf_add_slice(full, jid_bare_of(session_jid(s)));
	buf_add_char(full, '/');
	if (resource.ptr != NULL) {
		buf_add_slice(full, resource);
	} else {
		unsigned char random[10];

		gnutls_rnd(GNUTLS_RND_NONCE, random, sizeof random);
		buf_add_hex(full, random, sizeof random);
	}
	if (jid_parse(buf_slice(full), &jid) != 0)
		buf_clear(full);
}

struct session *
session_of_resource(const struct account *account, struct slice full)
{
	struct session *s;

	TAILQ_FOREACH(s, &account->sessions, siblings) {
		if (!s->killed && slice_equal(session_jid(s), full))
			return s;
	}
	return NULL;
}

static unsigned
sessions_of(const struct account *account)
{
	struct session *s;
	unsigned n = 0;

	TAILQ_FOREACH(s, &account->sessions, siblings)
		n += !s->killed;
	return n;
}

/* Whether there is no place for one more session; one that will be replaced leaves its own. */
static bool
bind_crowded(const struct account *account, struct slice full)
{
	const struct session *other = session_of_resource(account, full);
	bool replaced = other != NULL &&
	    (other->peer == NULL || conflict_policy == CONFLICT_REPLACE);

	return sessions_of(account) - replaced >= sessions_per_account;
}

/* The word at the end of a resource that names a client, empty when there is none so long. */
static struct slice
bind_word(struct slice full)
{
	const char *slash = memrchr(full.ptr, '/', full.len);
	size_t at = slash != NULL ? (size_t)(slash - full.ptr) + 1 : full.len;

	return full.len - at >= WORD_MIN ? slice_part(full, at, full.len) : SLICE("");
}

/* Ends what the same client had before (XEP-0386), whatever the policy for conflicts. */
static void
bind_succeed(struct account *account, struct slice full)
{
	struct slice word = bind_word(full);
	struct session *s, *next;

	for (s = TAILQ_FIRST(&account->sessions); s != NULL && word.len > 0; s = next) {
		next = TAILQ_NEXT(s, siblings);
		if (!s->killed && slice_equal(bind_word(session_jid(s)), word))
			session_kill(s, "conflict", "Replaced by a new session");
	}
}

/* Makes the wanted address free, by the policy for conflicts; false when it stays taken. */
static bool
bind_resolve(struct session *s, struct account *account, struct buf *full)
{
	struct session *other = session_of_resource(account, buf_slice(full));

	if (other == NULL)
		return true;
	if (other->peer == NULL || conflict_policy == CONFLICT_REPLACE) {
		session_kill(other, "conflict", "Replaced by a new session");
		return true;
	}
	if (conflict_policy == CONFLICT_REFUSE)
		return false;
	buf_clear(full);
	bind_name(s, SLICE_NONE, full);
	return true;
}

/* Lets a session into its account: bound at once when the roster is here, else when it comes. */
static void
session_join(struct session *s, struct account *account, struct slice full, uint64_t level)
{
	free(s->jid);
	s->jid = slice_dup(full);
	s->jid_len = full.len;
	s->account = account;
	s->state = SESSION_LOADING;
	s->unseen = !s->available;
	s->joined = daemon_ticks();
	drain_join(s, level); /* nothing overtakes what is on the spool while the roster is awaited */
	TAILQ_INSERT_TAIL(&account->sessions, s, siblings);
	if (account->loaded)
		session_loaded(account, true);
}

void
session_bind(struct peer *peer, const struct frame *f)
{
	struct session *s = session_find(f->handle);
	struct buf full = { 0 };
	struct account *account;

	if (s == NULL || s->peer != peer || s->state != SESSION_GRANTED) {
		peer_refuse(peer, f, "no grant");
		return;
	}
	bind_name(s, f->resource, &full);
	account = account_get(session_jid(s));
	account->pinned = true;
	if (f->flags & FLAG_INLINE)
		bind_succeed(account, buf_slice(&full));
	if (buf_len(&full) == 0)
		bind_refuse(s, "bad-request");
	else if (bind_crowded(account, buf_slice(&full)))
		bind_refuse(s, "resource-constraint");
	else if (!bind_resolve(s, account, &full))
		bind_refuse(s, "conflict");
	else {
		s->announce = true;
		s->carbons = (f->flags & FLAG_CARBONS) != 0;
		s->copies_since = hold_turned();
		session_join(s, account, buf_slice(&full), hold_turned());
	}
	account->pinned = false;
	account_drop(account);
	buf_free(&full);
}

/* Tells a new session that it is bound, and has it fed: what waits for its full address comes
 * before what is sent to that now. */
static void
session_enter(struct session *s)
{
	struct frame f = { .type = FRAME_SESSION_BOUND, .handle = s->handle, .jid = session_jid(s),
		.archive_id = s->level };

	if (s->announce && s->peer != NULL)
		peer_send(s->peer, &f);
	if (s->peer != NULL)
		drain_begin(s);
	s->announce = false;
}

/* Sessions that waited for the roster are bound; those of no account are ended. */
void
session_loaded(struct account *account, bool exists)
{
	struct session *s, *next;

	for (s = TAILQ_FIRST(&account->sessions); s != NULL; s = next) {
		uint64_t handle = s->handle;
		bool loading = s->state == SESSION_LOADING;

		next = TAILQ_NEXT(s, siblings);
		s->state = SESSION_BOUND;
		if (!exists)
			session_kill(s, "not-authorized", "The account does not exist any more");
		else if (loading)
			session_enter(s);
		/* What was killed without a c2sd is gone. */
		if (loading && session_find(handle) == s)
			hold_run(s);
	}
}

/* Takes the addresses of directed presence, a line each. */
static void
replay_directed(struct session *s, struct slice lines)
{
	struct slice line;
	struct jid jid;

	while (slice_line(&lines, &line)) {
		if (jid_parse(line, &jid) == 0)
			session_directed_add(s, jid.full);
	}
}

/* The handle that a session had before it moved: mucd knows it by that, so it must have been granted to the same
 * account. */
static void
replay_name(struct session *s, const struct frame *f, struct slice bare)
{
	if (f->stamp == 0 || f->stamp == s->handle)
		return;
	if (grant_is_valid(f->stamp, bare, f->data)) {
		name_clear(s);
		name_set(s, f->stamp);
	} else {
		s->first_handle = f->stamp; /* its SM-ID has it */
	}
}

void
session_replay(struct peer *peer, const struct frame *f)
{
	struct session *s;
	struct jid jid;

	if (peer->state != PEER_REGISTERED) {
		peer_refuse(peer, f, "after READY");
		return;
	}
	if (HANDLE_INCARNATION(f->handle) != peer->incarnation || session_find(f->handle) != NULL ||
	    jid_parse(f->jid, &jid) != 0 || !grant_is_valid(f->handle, jid_bare(&jid), f->token)) {
		struct frame kill = { .type = FRAME_SESSION_KILL, .handle = f->handle,
			.condition = SLICE("not-authorized") };

		peer_refuse(peer, f, "not granted");
		peer_send(peer, &kill);
		return;
	}
	if (jid.resource.ptr == NULL) {
		session_new(peer, f->handle, f->jid, (const unsigned char *)f->token.ptr);
		return;
	}
	s = session_new(peer, f->handle, f->jid, (const unsigned char *)f->token.ptr);
	s->replayed = true;
	s->interested = (f->flags & FLAG_INTERESTED) != 0;
	s->carbons = (f->flags & FLAG_CARBONS) != 0;
	s->blocks = (f->flags & FLAG_BLOCKS) != 0;
	replay_name(s, f, jid_bare(&jid));
	replay_directed(s, f->text);
	if (f->flags & FLAG_AVAILABLE) {
		struct frame presence = { .type = FRAME_STANZA, .kind = STANZA_PRESENCE,
			.subtype = TYPE_AVAILABLE, .number = f->number, .from = f->jid,
			.payload = f->payload, .id = f->id, .lang = f->lang };

		session_set_presence(s, &presence);
	}
	s->copies_since = frame_count(f) != 0 ? frame_at(f, 0) : hold_turned();
	session_join(s, account_get(jid_bare(&jid)), f->jid,
	    f->archive_id != UINT64_MAX ? f->archive_id : hold_turned());
}

void
session_set_presence(struct session *s, const struct frame *f)
{
	struct buf bytes = { 0 };

	MEM_FREE(&s->presence);
	s->presence_len = 0;
	s->available = f != NULL;
	s->unseen = false;
	if (f == NULL)
		return;
	frame_write(f, &bytes);
	s->presence_len = buf_len(&bytes);
	s->presence = mem_copy(buf_slice(&bytes).ptr, s->presence_len);
	buf_free(&bytes);
	s->priority = (int8_t)((int)(f->number & 0xff) - 128);
}

bool
session_directed_add(struct session *s, struct slice jid)
{
	size_t i;

	for (i = 0; i < s->directed_count; i++) {
		if (slice_is(jid, s->directed[i]))
			return true;
	}
	if (s->directed_count == DIRECTED_MAX)
		return false;
	s->directed = mem_grow(s->directed, (s->directed_count + 1) * sizeof *s->directed);
	s->directed[s->directed_count++] = slice_dup(jid);
	return true;
}

void
session_directed_remove(struct session *s, struct slice jid)
{
	size_t i;

	for (i = 0; i < s->directed_count; i++) {
		if (!slice_is(jid, s->directed[i]))
			continue;
		free(s->directed[i]);
		s->directed[i] = s->directed[--s->directed_count];
		return;
	}
}

void
session_kill(struct session *s, const char *condition, const char *text)
{
	struct frame f = { .type = FRAME_SESSION_KILL, .handle = s->handle,
		.condition = slice_string(condition), .text = slice_string(text) };
	struct frame end = { .type = FRAME_SESSION_END, .handle = s->handle };

	if (s->killed)
		return;
	log_info("session killed", "session=%s reason=%s", s->jid, condition);
	presence_gone(s);
	s->killed = true;
	if (s->peer != NULL)
		peer_send(s->peer, &f); /* it answers with SESSION_END */
	else
		hold_frame(s, &end);
}

void
session_ended(struct session *s, const struct frame *f)
{
	struct account *account = s->account;
	bool undelivered = f->number != 0 || s->paused, away = s->away;

	if (account == NULL) {
		session_free(s);
		return;
	}
	log_info(s->remote ? "remote domain ended" : "session ended", "session=%s reason=%s", s->jid,
	    log_quote(f->condition));
	presence_gone(s);
	TAILQ_REMOVE(&account->sessions, s, siblings);
	s->account = NULL;
	session_free(s);
	if (account->remote) {
		account_drop(account);
		return;
	}
	if (TAILQ_EMPTY(&account->sessions)) {
		struct peer *authd = peer_of(ROLE_AUTHD);
		struct frame last = { .type = FRAME_ACCOUNT_LAST, .jid = account_jid(account),
			.stamp = daemon_now() };

		if (authd != NULL)
			peer_send(authd, &last);
	} else if (undelivered) {
		drain_account(account);
	}
	/* Of what came to a session that was away it was told then. */
	if (undelivered && !away)
		push_left(account);
	account_drop(account);
}

/* The session of an account that began with this handle. */
static struct session *
session_of_first(const struct account *account, uint64_t handle)
{
	struct session *s;

	if (account == NULL)
		return NULL;
	TAILQ_FOREACH(s, &account->sessions, siblings) {
		if (s->first_handle == handle)
			return s;
	}
	return NULL;
}

/* A stream on one c2sd wants a session that another one holds: both must be the same account's. */
void
session_resume(struct peer *peer, const struct frame *f)
{
	struct session *new = session_find(f->handle), *old;
	struct frame refusal = { .type = FRAME_SESSION_MOVE, .number = f->handle,
		.handle = f->archive_id, .condition = SLICE("item-not-found") };

	if (new == NULL || new->peer != peer || new->state != SESSION_GRANTED) {
		peer_refuse(peer, f, "no grant");
		return;
	}
	old = session_of_first(account_find(session_jid(new)), f->archive_id);
	if (old == NULL && peers_replaying()) {
		buf_clear(&new->resume);
		frame_write(f, &new->resume); /* it may be among those that are not told yet */
	} else if (old == NULL || old->peer == NULL || old->peer == peer || old->killed) {
		peer_send(peer, &refusal);
	} else {
		new->wanted = old->first_handle;
		new->wanted_from = old->peer->incarnation;
		peer_send(old->peer, f);
	}
}

static bool
ask_again(void *arg, struct session *s)
{
	struct buf asked = s->resume;
	struct frame f;

	(void)arg;
	s->resume = (struct buf){ 0 };
	if (buf_len(&asked) != 0 && s->peer != NULL && frame_read(buf_slice(&asked), &f) == 0)
		session_resume(s->peer, &f);
	buf_free(&asked);
	return true;
}

void
sessions_ask_again(void)
{
	session_each(ask_again, NULL);
}

/* Gives a session to the stream that resumes it: whose it was hands over what it holds. */
static void
session_rebind(struct session *old, struct session *new, uint64_t level)
{
	map_remove(sessions, slice_of(&old->handle, sizeof old->handle));
	map_remove(sessions, slice_of(&new->handle, sizeof new->handle));
	old->moved_from = old->peer->incarnation;
	old->moved_until = 0;
	old->handle = new->handle;
	old->away = false;
	old->peer = new->peer;
	memcpy(old->token, new->token, sizeof old->token);
	map_put(sessions, slice_of(&old->handle, sizeof old->handle), old);
	name_clear(new);
	buf_free(&new->resume);
	free(new->jid);
	free(new);
	GAUGE(sessions, map_count(sessions));
	/* Stored messages come after those that are handed over; what was on its way to the old holder
	 * is behind the level that this one has told. What archived was asked for it answers to the old
	 * handle: nobody waits for that. */
	drain_pause(old);
	old->asked = false;
	old->level = level;
}

/* Whether a SESSION_MOVE answers what was asked of this c2sd for a stream. */
static bool
move_is_due(const struct peer *peer, const struct session *old, const struct session *new,
    const struct frame *f)
{
	if (new->state != SESSION_GRANTED)
		return !(f->flags & FLAG_MORE) && f->condition.ptr == NULL &&
		    new->moved_from == peer->incarnation && new->moved_until == 0;
	if (new->wanted_from != peer->incarnation)
		return false;
	if (f->condition.ptr != NULL)
		return true;
	return (f->flags & FLAG_MORE) && old != NULL && old->peer == peer && old->account != NULL &&
	    old->first_handle == new->wanted && !old->killed &&
	    slice_equal(account_jid(old->account), session_jid(new));
}

/* The holder of a session hands it over: from the first SESSION_MOVE on it is the new stream's. */
void
session_move(struct peer *peer, const struct frame *f)
{
	struct session *old = session_find(f->handle), *new = session_find(f->number);

	if (HANDLE_INCARNATION(f->handle) != peer->incarnation) {
		peer_refuse(peer, f, "session of another daemon");
		return;
	}
	if ((f->flags & FLAG_MORE) && new == NULL && old != NULL && old->peer == peer && !old->ending) {
		/* The stream that it goes to has ended: nobody has it then. */
		struct frame end = { .type = FRAME_SESSION_END, .number = 1,
			.condition = SLICE("resumption interrupted") };

		old->ending = true;
		hold_frame(old, &end);
		return;
	}
	if (new == NULL || new->peer == NULL)
		return; /* the stream that wanted it has gone */
	if (!move_is_due(peer, old, new, f)) {
		peer_refuse(peer, f, "not asked for");
		return;
	}
	if (f->flags & FLAG_MORE) {
		session_rebind(old, new, f->archive_id);
		new = old;
	}
	peer_send(new->peer, f);
	if (f->flags & FLAG_MORE)
		fanout_moved(new, peer);
	if (new->state != SESSION_GRANTED && !(f->flags & FLAG_MORE)) {
		new->moved_until = daemon_ticks() + MOVED_TIME;
		drain_resume(new, new->level, 0);
	}
}

void
session_handover(struct peer *peer, const struct frame *f)
{
	struct session *s = session_find(f->handle);

	if (s == NULL || s->peer == NULL)
		return;
	if (s->moved_from != peer->incarnation)
		peer_refuse(peer, f, "session of another daemon");
	else if (s->moved_until == 0 || daemon_ticks() < s->moved_until)
		peer_send(s->peer, f);
}

/* Answers a stream that has asked for a session of a c2sd which has died with it. */
static void
resume_refuse(struct session *new, const struct peer *gone)
{
	struct frame refusal = { .type = FRAME_SESSION_MOVE, .number = new->handle,
		.handle = new->wanted, .condition = SLICE("item-not-found") };

	if (new->state != SESSION_GRANTED || new->peer == NULL || new->wanted == 0 ||
	    new->wanted_from != gone->incarnation)
		return;
	new->wanted = new->wanted_from = 0;
	peer_send(new->peer, &refusal);
}

void
sessions_orphan(struct peer *peer)
{
	struct session *s;
	size_t at = 0;

	if (!peer_is_entry(peer))
		return;
	while ((s = map_each(sessions, &at)) != NULL) {
		if (s->peer != peer) {
			resume_refuse(s, peer);
			continue;
		}
		s->peer = NULL;
		orphan_count++;
		s->orphaned = daemon_ticks();
		s->paused = s->draining = s->drain_again = false;
	}
}

bool
sessions_waiting(void)
{
	return orphan_count != 0;
}

/* Ends what a dead c2sd has left, once its clients had time to come back. */
void
sessions_tick(void)
{
	struct buf handles = { 0 };
	struct session *s;
	size_t at = 0, i;

	while ((s = map_each(sessions, &at)) != NULL) {
		if (s->peer == NULL && !s->ending && daemon_ticks() - s->orphaned >= GRACE_TIME)
			buf_add_u64(&handles, s->handle);
	}
	for (i = 0; i < buf_len(&handles) / 8; i++) {
		struct frame end = { .type = FRAME_SESSION_END, .number = 1,
			.condition = SLICE("its daemon died") };

		memcpy(&end.handle, buf_slice(&handles).ptr + 8 * i, 8);
		s = session_find(end.handle);
		if (s != NULL) {
			s->ending = true;
			hold_frame(s, &end);
		}
	}
	buf_free(&handles);
}
