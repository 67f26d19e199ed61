/*
 * sasl.c: SASL exchanges by the handle of their stream (RFC 6120 section 6, RFC 4616, RFC 5802).
 * Called by login.c with the frames of the router, with the time, and with checked passwords. What
 * a client does wrong ends its exchange with a failure condition; nothing else can fail.
 *
 *	AUTH_START -> FIRST            no initial response: the empty challenge was sent
 *	first message -> DELAYED       an account or address with failures waits here
 *	           -> FINAL            SCRAM: the server-first-message was sent
 *	           -> CHECKING         PLAIN: PBKDF2 runs in a thread
 *	           -> ends             a token (XEP-0484): its proof is all
 *	FINAL, proven -> TASK          a task was offered that adds keys (XEP-0480)
 *	           -> SALTED           the client has begun it and got a salt; then TASK again, for the next
 *	then success or failure, and the exchange is gone. Nothing of it is durable but tokens (fast.c).
 *
 * Every client-first-message is read here, so that the account, its keys, the delay and the rules
 * for channel bindings are the same for all SCRAM mechanisms, which scram_mech.c then runs. The
 * password of PLAIN is prepared by RFC 8265, as those that stored keys are made of.
 *
 * Accounts that do not exist take the same way with false keys, and fail at the same step.
 */
#include <gnutls/crypto.h>
#include <gnutls/gnutls.h>
#include <stdlib.h>
#include <sys/queue.h>

#include "authd.h"
#include "counter.h"
#include "log.h"
#include "map.h"
#include "mem.h"

#define EXCHANGES_MAX 20000
#define EXCHANGE_TIME 60000 /* milliseconds */
#define MESSAGE_MAX   8192  /* bytes of a client's message */
#define OFFERED_MAX   4096  /* bytes of what c2sd has offered */
#define NONCE_BYTES   18
#define OPEN_MAX      20    /* exchanges of one account side by side that are not slowed */
#define CHECKS_MAX    64    /* passwords that are checked or wait for a thread */
#define CHECK_LATER   100   /* milliseconds until there may be room for one more */

enum binding { EXPORTER, UNIQUE, ENDPOINT, BINDINGS };

static const char *const binding_names[BINDINGS] = {
	"tls-exporter", "tls-unique", "tls-server-end-point"
};

enum exchange_state { FIRST, DELAYED, FINAL, CHECKING, TASK, SALTED };

#define UPGRADE "UPGR-" /* before the name of a mechanism: the task that adds its keys */

struct exchange {
	TAILQ_ENTRY(exchange) by_age;
	TAILQ_ENTRY(exchange) by_delay;
	uint64_t handle;
	uint64_t serial;
	uint64_t began;
	uint64_t due;                   /* DELAYED */
	enum exchange_state state;
	const struct mechanism *mechanism;
	char *domain;
	char *from;                     /* bare JID of the stream's header, NULL for none */
	char *account;                  /* bare JID, canonical; of no account when !exists */
	uint64_t account_id;            /* 0: of none */
	char *agent;                    /* id of the client's installation, NULL for none */
	char *words;                    /* its words about itself */
	enum fast_mechanism wanted;     /* it is to get a token for this */
	uint64_t count;                 /* with which it uses its token; 0: none */
	bool invalidate;
	bool stored;                    /* something of it must be committed */
	bool exists;
	bool disabled;
	bool counted;                   /* in open_exchanges */
	char address[THROTTLE_ADDRESS]; /* throttle_address() of the peer */
	size_t address_len;
	struct buf bindings[BINDINGS];  /* empty: none */
	enum scram_hash hash;           /* of keys */
	struct scram_keys keys;
	bool missing[SCRAM_HASHES];     /* keys that the account should have, and has not */
	bool upgrade[SCRAM_HASHES];     /* the client would add them */
	enum scram_hash task;           /* TASK, SALTED: which it is about to add */
	struct scram_keys added;        /* SALTED */
	struct scram_mech *scram;
	struct buf attributes;          /* of the server-first-message, see downgrade.c */
	struct buf message;             /* DELAYED: the first message */
};

TAILQ_HEAD(exchanges, exchange);

static struct map *exchanges; /* by handle */
static struct exchanges ages = TAILQ_HEAD_INITIALIZER(ages);
static struct exchanges delays = TAILQ_HEAD_INITIALIZER(delays);
static struct throttle *by_account, *by_address;
static struct throttle *open_exchanges; /* by account: guesses side by side gain nothing */
static uint64_t now;                    /* ticks of the caller */
static void (*verify)(struct sasl_job *job);
static uint64_t serial;
static unsigned checks; /* passwords with verify(), also of exchanges that have gone */

/* -- opening -- */

int
sasl_open(void (*verifier)(struct sasl_job *job))
{
	verify = verifier;
	checks = 0;
	exchanges = map_new();
	by_account = throttle_new(state.failures_account, state.failures_time);
	by_address = throttle_new(state.failures_address, state.failures_time);
	open_exchanges = throttle_new(OPEN_MAX, 2 * EXCHANGE_TIME);
	return OK;
}

/* -- an exchange -- */

static struct exchange *
exchange_find(uint64_t handle)
{
	return map_get(exchanges, slice_of(&handle, sizeof handle));
}

static void
exchange_free(struct exchange *ex)
{
	unsigned i;

	if (ex->counted)
		throttle_undo(open_exchanges, slice_string(ex->account), now);
	map_remove(exchanges, slice_of(&ex->handle, sizeof ex->handle));
	TAILQ_REMOVE(&ages, ex, by_age);
	if (ex->state == DELAYED)
		TAILQ_REMOVE(&delays, ex, by_delay);
	buf_free(&ex->attributes);
	scram_mech_free(&ex->scram);
	for (i = 0; i < BINDINGS; i++)
		buf_free(&ex->bindings[i]);
	if (ex->message.bytes != NULL)
		gnutls_memset(ex->message.bytes, 0, ex->message.room);
	buf_free(&ex->message);
	free(ex->domain);
	free(ex->from);
	free(ex->agent);
	free(ex->words);
	free(ex->account);
	gnutls_memset(&ex->keys, 0, sizeof ex->keys);
	gnutls_memset(&ex->added, 0, sizeof ex->added);
	free(ex);
}

void
sasl_forget(void)
{
	while (!TAILQ_EMPTY(&ages))
		exchange_free(TAILQ_FIRST(&ages));
}

void
sasl_close(void)
{
	sasl_forget();
	map_free(&exchanges);
	throttle_free(&by_account);
	throttle_free(&by_address);
	throttle_free(&open_exchanges);
}

static void
failure_send(uint64_t handle, const char *condition)
{
	struct frame f = { .type = FRAME_AUTH_FAILURE, .handle = handle };

	f.condition = slice_string(condition);
	out_send(&f);
}

static struct slice
exchange_address(const struct exchange *ex)
{
	return slice_of(ex->address, ex->address_len);
}

/* Ends an exchange with a condition of RFC 6120 section 6.5. */
static void
fail(struct exchange *ex, const char *condition, const char *reason)
{
	COUNT(logins_failed);
	log_info("login failed", "account=%s mechanism=%s condition=%s reason=\"%s\"",
	    log_quote(slice_string(ex->account)), ex->mechanism->name, condition, reason);
	failure_send(ex->handle, condition);
	exchange_free(ex);
}

/* Ends an exchange whose proof was wrong: this one counts. */
static void
fail_proof(struct exchange *ex)
{
	throttle_fail(by_account, slice_string(ex->account), now);
	throttle_fail(by_address, exchange_address(ex), now);
	fail(ex, "not-authorized", ex->exists ? "wrong proof" : "no such account");
}

static void
challenge(struct exchange *ex, struct slice data)
{
	struct frame f = { .type = FRAME_AUTH_CHALLENGE, .handle = ex->handle };

	f.data = data;
	out_send(&f);
}

/* Gives the client a token, if it is to have one. */
static void
token_give(struct exchange *ex, struct frame *f, struct buf *token)
{
	const struct fast_wish wish = {
		.id = ex->account_id,
		.agent = slice_string(ex->agent),
		.words = slice_string(ex->words),
		.mechanism = ex->wanted,
		.now = daemon_now(),
	};

	if (ex->wanted == FAST_NO || fast_issue(&wish, token, &f->stamp) != OK)
		return;
	f->text = buf_slice(token);
	ex->stored = true;
	log_info("token issued", "account=%s agent=%s mechanism=%s",
	    log_quote(slice_string(ex->account)), log_quote(wish.agent), mechanism_fast_name(ex->wanted));
}

/* Ends an exchange with the grant. data: additional data, may be absent. */
static void
succeed(struct exchange *ex, struct slice data)
{
	struct frame f = { .type = FRAME_AUTH_SUCCESS, .handle = ex->handle };
	struct buf fresh = { .secret = true };
	uint8_t token[SECRET_SIZE];
	gnutls_hmac_hd_t mac;

	if (gnutls_hmac_init(&mac, GNUTLS_MAC_SHA256, state.grant_key, SECRET_SIZE) != 0) {
		fail(ex, "temporary-auth-failure", "no memory for the grant");
		return;
	}
	f.jid = slice_string(ex->account);
	gnutls_hmac(mac, &ex->handle, sizeof ex->handle);
	gnutls_hmac(mac, f.jid.ptr, f.jid.len);
	gnutls_hmac_deinit(mac, token);
	f.data = data;
	f.token = slice_of(token, sizeof token);
	token_give(ex, &f, &fresh);
	f.flags = ex->stored ? FLAG_STORE : 0;
	COUNT(logins);
	log_info("login", "account=%s mechanism=%s", log_quote(f.jid), ex->mechanism->name);
	out_send(&f);
	buf_free(&fresh);
	exchange_free(ex);
}

/* -- the first message -- */

/* Finds the account of a user name and loads its keys, or false ones. */
static void
account_load(struct exchange *ex, struct slice username)
{
	char out[JID_PART_MAX + 1];
	struct slice local, jid;
	struct account account;
	struct buf text = { 0 };
	bool valid = jid_prepare_local(username, out, &local) == OK;
	unsigned i;

	ex->hash = ex->mechanism->hash;
	buf_add_slice(&text, valid ? local : slice_part(username, 0, JID_PART_MAX));
	buf_printf(&text, "@%s", ex->domain);
	jid = buf_slice(&text);
	ex->account = slice_dup(jid);
	/* Made for all, since it takes time. */
	ex->hash = ex->mechanism->hash;
	scram_false(ex->mechanism->hash, state.salt_key, jid, state.iterations, &ex->keys);
	ex->exists = valid && account_find(jid, &account) == OK;
	if (ex->exists) {
		ex->account_id = account.id;
		ex->disabled = account.flags & ACCOUNT_DISABLED;
		ex->hash = ex->mechanism->plain ? account_hash(&account) : ex->mechanism->hash;
		ex->keys = account.keys[ex->hash];
		for (i = 0; i < SCRAM_HASHES; i++)
			ex->missing[i] = account.keys[i].iterations == 0 &&
			    mechanism_hash_used((enum scram_hash)i);
		gnutls_memset(account.keys, 0, sizeof account.keys);
	}
	buf_free(&text);
}

/* Whether an authorization identity, when given, is the account itself, and whom the stream's header
 * names (XEP-0388). */
static bool
authzid_fits(const struct exchange *ex, struct slice authzid)
{
	char out[JID_MAX + 1];
	struct jid jid;

	if (authzid.ptr == NULL || authzid.len == 0)
		return true;
	return jid_prepare(authzid, out, &jid) == OK && slice_is(jid.full, ex->account) &&
	    (ex->from == NULL || slice_is(jid.full, ex->from));
}

/* Whether the server offers a -PLUS mechanism on this connection. */
static bool
plus_offered(const struct exchange *ex)
{
	bool bound = false;
	size_t i;

	for (i = 0; i < BINDINGS; i++)
		bound |= buf_len(&ex->bindings[i]) != 0;
	return bound && mechanism_plus_offered();
}

/*
 * Checks the flag of a client-first-message (RFC 5802 section 6). Returns a condition or NULL. None
 * of this is a guess at a password, so the condition is not not-authorized: there are clients that
 * begin with a binding which TLS 1.3 does not have, and go on to the next mechanism.
 */
static const char *
binding_check(const struct exchange *ex, const struct scram_first *first, enum binding *binding)
{
	*binding = BINDINGS;
	if (ex->mechanism->plus != (first->flag == 'p'))
		return "malformed-request";
	/* The client saw no -PLUS, but we offer it: somebody has cut it out of the list. */
	if (first->flag == 'y')
		return plus_offered(ex) ? "malformed-request" : NULL;
	if (first->flag == 'n')
		return NULL;
	for (*binding = 0; *binding < BINDINGS; (*binding)++) {
		if (slice_is(first->binding, binding_names[*binding]))
			break;
	}
	if (*binding == BINDINGS || buf_len(&ex->bindings[*binding]) == 0)
		return "malformed-request";
	return NULL;
}

/* Makes the server's nonce. */
static void
nonce_make(char text[2 * NONCE_BYTES + 1])
{
	uint8_t random[NONCE_BYTES];
	unsigned i;

	ASSERT(gnutls_rnd(GNUTLS_RND_NONCE, random, sizeof random) == 0);
	for (i = 0; i < NONCE_BYTES; i++) {
		text[2 * i] = "0123456789abcdef"[random[i] >> 4];
		text[2 * i + 1] = "0123456789abcdef"[random[i] & 15];
	}
	text[2 * NONCE_BYTES] = '\0';
}

/* Answers the client-first-message, which was read and admitted before. */
static void
scram_begin(struct exchange *ex)
{
	struct slice message = buf_slice(&ex->message);
	char nonce[2 * NONCE_BYTES + 1];
	struct buf scratch = { 0 }, out = { 0 };
	struct scram_first first;
	enum binding binding;

	if (scram_first_read(message, &scratch, &first) != OK ||
	    binding_check(ex, &first, &binding) != NULL) {
		fail(ex, "malformed-request", "first message");
		goto done;
	}
	ex->scram = scram_mech_new(ex->mechanism->hash, &ex->keys, &first,
	    binding < BINDINGS ? buf_slice(&ex->bindings[binding]) : SLICE_NONE);
	nonce_make(nonce);
	scram_mech_challenge(ex->scram, slice_string(nonce), buf_slice(&ex->attributes), &out);
	ex->state = FINAL;
	challenge(ex, buf_slice(&out));
done:
	buf_free(&scratch);
	buf_free(&out);
}

/* Splits a PLAIN message (RFC 4616 section 2). Returns 0 or E_MALFORMED. */
static int
plain_split(struct slice message, struct slice part[3])
{
	unsigned i;

	for (i = 0; i < 2; i++) {
		const char *nul = memchr(message.ptr, '\0', message.len);

		if (nul == NULL)
			return E_MALFORMED;
		part[i] = slice_of(message.ptr, (size_t)(nul - message.ptr));
		message = slice_part(message, part[i].len + 1, message.len);
	}
	part[2] = message;
	return part[1].len == 0 || part[2].len == 0 ||
	    memchr(part[2].ptr, '\0', part[2].len) != NULL ? E_MALFORMED : OK;
}

static void
exchange_delay(struct exchange *ex, unsigned milliseconds)
{
	ex->due = now + milliseconds;
	ex->state = DELAYED;
	TAILQ_INSERT_TAIL(&delays, ex, by_delay);
}

/* Has the password checked in a thread. Not too many at a time: a check costs milliseconds, and
 * goes on when its client has given up. */
static void
plain_begin(struct exchange *ex)
{
	struct slice part[3], password;
	struct sasl_job *job;

	if (checks >= CHECKS_MAX) {
		exchange_delay(ex, CHECK_LATER);
		return;
	}
	checks++;
	job = mem_alloc(sizeof *job);
	job->handle = ex->handle;
	job->serial = ex->serial;
	job->hash = ex->hash;
	job->keys = ex->keys;
	memcpy(job->missing, ex->missing, sizeof job->missing);
	/* A password that cannot be prepared fits no key, but takes its time all the same. */
	if (plain_split(buf_slice(&ex->message), part) == OK &&
	    jid_prepare_password(part[2], job->password, &password) == OK)
		job->len = password.len;
	gnutls_memset(ex->message.bytes, 0, ex->message.room);
	buf_free(&ex->message);
	ex->state = CHECKING;
	verify(job);
}

/* The binding of a mechanism that takes a token. */
static enum binding
token_binding(const struct mechanism *mechanism)
{
	static const enum binding bindings[FAST_MECHANISMS] = {
		[FAST_NO] = BINDINGS,
		[FAST_NONE] = BINDINGS,
		[FAST_EXPORTER] = EXPORTER,
		[FAST_UNIQUE] = UNIQUE,
		[FAST_ENDPOINT] = ENDPOINT,
	};

	return bindings[mechanism->fast];
}

/* Checks the proof of a token, which needs no second message. */
static void
token_begin(struct exchange *ex)
{
	enum binding binding = token_binding(ex->mechanism);
	struct fast_result result;
	struct slice user;
	struct fast_proof proof = {
		.id = ex->account_id,
		.agent = slice_string(ex->agent),
		.mechanism = ex->mechanism->fast,
		.binding = binding < BINDINGS ? buf_slice(&ex->bindings[binding]) : SLICE_NONE,
		.count = ex->count,
		.invalidate = ex->invalidate,
		.now = daemon_now(),
	};
	int error = fast_message_read(buf_slice(&ex->message), &user, &proof.hash);

	if (error == OK)
		error = fast_check(&proof, &result);
	if (error != OK)
		COUNT(tokens_refused);
	if (ex->disabled)
		fast_revoke_all(ex->account_id);
	if (error == E_FORBIDDEN) {
		fail(ex, "credentials-expired", "token has expired");
	} else if (error == E_EXISTS) {
		fail(ex, "not-authorized", "count was used before");
	} else if (error == E_MISMATCH || error == E_MALFORMED || !ex->exists) {
		fail_proof(ex);
	} else if (error != OK) {
		fail(ex, "temporary-auth-failure", "the store failed");
	} else if (ex->disabled) {
		fail(ex, "account-disabled", "disabled");
	} else {
		ex->stored = result.stored;
		if (result.due && ex->wanted == FAST_NO)
			ex->wanted = ex->mechanism->fast;
		succeed(ex, slice_of(result.answer, sizeof result.answer));
	}
}

static void
exchange_go(struct exchange *ex)
{
	if (ex->mechanism->plain)
		plain_begin(ex);
	else if (ex->mechanism->fast != FAST_NO)
		token_begin(ex);
	else
		scram_begin(ex);
}

/* Goes on with an exchange now or later. */
static void
exchange_admit(struct exchange *ex)
{
	struct slice account = slice_string(ex->account);
	const unsigned delays_of[] = {
		throttle_delay(by_account, account, now),
		throttle_delay(by_address, exchange_address(ex), now),
		throttle_delay(open_exchanges, account, now),
	};
	unsigned delay = 0, i;

	for (i = 0; i < sizeof delays_of / sizeof delays_of[0]; i++)
		delay = delays_of[i] > delay ? delays_of[i] : delay;
	throttle_fail(open_exchanges, account, now);
	ex->counted = true;
	if (delay == 0) {
		exchange_go(ex);
		return;
	}
	COUNT(logins_slowed);
	log_info("login slowed", "account=%s milliseconds=%u", log_quote(account), delay);
	exchange_delay(ex, delay);
}

/* Reads the client's first message. */
static void
first_message(struct exchange *ex, struct slice message)
{
	struct buf scratch = { 0 };
	struct scram_first first = { 0 };
	struct slice part[3] = { SLICE_NONE, SLICE_NONE, SLICE_NONE };
	const char *condition = NULL;
	enum binding binding;
	int error;

	if (ex->mechanism->plain) {
		error = plain_split(message, part);
	} else if (ex->mechanism->fast != FAST_NO) {
		error = fast_message_read(message, &part[1], &part[2]);
		binding = token_binding(ex->mechanism);
		if (ex->agent == NULL || (binding < BINDINGS && buf_len(&ex->bindings[binding]) == 0))
			condition = "malformed-request";
	} else {
		error = scram_first_read(message, &scratch, &first);
		part[0] = first.authzid;
		part[1] = first.username;
		if (error == OK)
			condition = binding_check(ex, &first, &binding);
	}
	if (error || condition != NULL) {
		fail(ex, error ? "malformed-request" : condition, "first message");
		goto done;
	}
	account_load(ex, part[1]);
	/* A token is for whom the header of the stream names. */
	if (ex->mechanism->fast != FAST_NO && ex->from != NULL)
		part[0] = slice_string(ex->from);
	if (!authzid_fits(ex, part[0])) {
		fail(ex, "invalid-authzid", "authorization identity");
		goto done;
	}
	/* No guess, so that the client goes on to one that its account has keys for; that tells who asks that
	 * there is such an account. */
	if (ex->exists && ex->mechanism->fast == FAST_NO && ex->keys.iterations == 0) {
		fail(ex, "invalid-mechanism", "no keys for this mechanism");
		goto done;
	}
	buf_add_slice(&ex->message, message);
	exchange_admit(ex);
done:
	buf_free(&scratch);
}

/* -- the final message -- */

/* Offers the next task that the client would do, if there is one. data: additional data. */
static bool
task_offer(struct exchange *ex, struct slice data)
{
	struct frame f = { .type = FRAME_AUTH_CHALLENGE, .handle = ex->handle };
	struct buf name = { 0 };
	unsigned i;

	for (i = SCRAM_HASHES; i-- > 0; ) {
		if (ex->upgrade[i] && ex->missing[i])
			break;
	}
	if (i >= SCRAM_HASHES)
		return false;
	ex->missing[i] = false;
	ex->task = (enum scram_hash)i;
	ex->state = TASK;
	buf_printf(&name, UPGRADE "%s", scram_name(ex->task));
	f.name = buf_slice(&name);
	f.data = data;
	out_send(&f);
	buf_free(&name);
	return true;
}

/* The client begins the task that was offered: it gets a salt. */
static void
task_begin(struct exchange *ex, struct slice name)
{
	struct frame f = { .type = FRAME_AUTH_CHALLENGE, .handle = ex->handle };
	size_t len = sizeof UPGRADE - 1;

	if (!slice_starts(name, SLICE(UPGRADE)) ||
	    !slice_is(slice_part(name, len, name.len), scram_name(ex->task))) {
		fail(ex, "malformed-request", "another task than was offered");
		return;
	}
	if (scram_salt(state.iterations, &ex->added) != OK) {
		fail(ex, "temporary-auth-failure", "no random bytes");
		return;
	}
	ex->state = SALTED;
	f.number = ex->added.iterations;
	f.data = slice_of(ex->added.salt, ex->added.salt_len);
	out_send(&f);
}

/* The client has done the task: salted is what PBKDF2 makes of its password. */
static void
task_end(struct exchange *ex, struct slice salted)
{
	int error;

	if (salted.len != scram_size(ex->task)) {
		fail(ex, "malformed-request", "of another length than the hash");
		return;
	}
	error = scram_derive_salted(ex->task, (const uint8_t *)salted.ptr, &ex->added);
	if (error == OK)
		error = account_add_keys(slice_string(ex->account), ex->task, &ex->added, ex->hash,
		    &ex->keys);
	ex->stored = true;
	if (error != OK)
		fail(ex, "temporary-auth-failure", "keys not added");
	else if (!task_offer(ex, SLICE_NONE))
		succeed(ex, SLICE_NONE);
}

/* What a proven identity still must be. */
static void
proven(struct exchange *ex, struct slice data)
{
	if (!ex->exists)
		fail_proof(ex);
	else if (ex->disabled)
		fail(ex, "account-disabled", "disabled");
	else if (!task_offer(ex, data))
		succeed(ex, data);
}

static void
final_message(struct exchange *ex, struct slice message)
{
	struct buf out = { 0 };
	int error = E_MALFORMED;

	if (memchr(message.ptr, '\0', message.len) == NULL)
		error = scram_mech_final(ex->scram, message, &out);
	if (error == OK)
		proven(ex, buf_slice(&out));
	else if (error == E_MALFORMED)
		fail(ex, "malformed-request", "final message");
	else
		fail_proof(ex);
	buf_free(&out);
}

void
sasl_job_run(struct sasl_job *job)
{
	struct slice password = slice_of(job->password, job->len);
	unsigned i;

	job->right = scram_check(job->hash, password, &job->keys) && job->len != 0;
	for (i = 0; i < SCRAM_HASHES; i++) {
		if (job->missing[i])
			job->missing[i] = job->right && scram_make((enum scram_hash)i, password,
			    state.iterations, &job->made[i]) == OK;
	}
	gnutls_memset(job->password, 0, sizeof job->password);
}

void
sasl_job_done(const struct sasl_job *job, uint64_t ticks)
{
	struct exchange *ex = exchange_find(job->handle);
	unsigned i;

	now = ticks;
	checks--;
	if (ex == NULL || ex->serial != job->serial || ex->state != CHECKING)
		return;
	/* With the password at hand its client need not do it. */
	for (i = 0; job->right && ex->exists && i < SCRAM_HASHES; i++) {
		if (job->missing[i] && account_add_keys(slice_string(ex->account), (enum scram_hash)i,
		    &job->made[i], ex->hash, &ex->keys) == OK)
			ex->missing[i] = false;
	}
	if (job->right)
		proven(ex, SLICE_NONE);
	else
		fail_proof(ex);
}

/* -- frames -- */

/* Why an exchange cannot begin, or NULL. */
static const char *
start_refused(const struct frame *f, const struct mechanism *mechanism)
{
	if (f->domain.ptr == NULL || state_domain(f->domain) == NULL || mechanism == NULL ||
	    !mechanism_offered(mechanism))
		return "invalid-mechanism";
	if (mechanism->plain && !(f->flags & FLAG_TLS))
		return "encryption-required";
	if (f->data.ptr != NULL && f->data.len > MESSAGE_MAX)
		return "malformed-request";
	if (map_count(exchanges) >= EXCHANGES_MAX) {
		COUNT(exchanges_refused);
		return "temporary-auth-failure";
	}
	return NULL;
}

/* The beginning of a text that ends with a whole character. */
static struct slice
words_cut(struct slice words)
{
	size_t len = FAST_WORDS;

	if (words.len <= len)
		return words;
	while (len > 0 && ((unsigned char)words.ptr[len] & 0xc0) == 0x80)
		len--;
	return slice_part(words, 0, len);
}

/* Whether the task that adds keys for a mechanism is in a list of names. */
static bool
task_named(struct slice list, const char *mechanism)
{
	size_t len, at = 0;

	for (; at < list.len; at += len + 1) {
		const char *end = memchr(list.ptr + at, ' ', list.len - at);
		struct slice name;

		len = end != NULL ? (size_t)(end - list.ptr) - at : list.len - at;
		name = slice_part(list, at, len);
		if (slice_starts(name, SLICE(UPGRADE)) && slice_is(slice_part(name,
		    sizeof UPGRADE - 1, len), mechanism))
			return true;
	}
	return false;
}

/* Takes what a client of SASL2 says of itself, and what it wants. */
static void
agent_take(struct exchange *ex, const struct frame *f)
{
	const struct mechanism *wanted = mechanism_find(f->wanted);
	unsigned i;

	for (i = SCRAM_SHA256; i < SCRAM_HASHES; i++)
		ex->upgrade[i] = task_named(f->tasks, scram_name((enum scram_hash)i));

	if (f->agent.ptr == NULL || f->agent.len == 0 || f->agent.len > FAST_AGENT)
		return;
	ex->agent = slice_dup(f->agent);
	ex->words = slice_dup(words_cut(f->node));
	ex->count = f->stamp;
	ex->invalidate = f->flags & FLAG_INVALIDATE;
	if (wanted != NULL && wanted->fast != FAST_NO && mechanism_offered(wanted))
		ex->wanted = wanted->fast;
}

static void
start(const struct frame *f)
{
	const struct mechanism *mechanism = mechanism_find(f->name);
	struct exchange *ex = exchange_find(f->handle);
	const char *condition = start_refused(f, mechanism);
	struct slice address;

	if (ex != NULL)
		exchange_free(ex);
	if (condition != NULL) {
		COUNT(logins_failed);
		log_info("login failed", "mechanism=%s condition=%s", log_quote(f->name), condition);
		failure_send(f->handle, condition);
		return;
	}
	ex = mem_alloc(sizeof *ex);
	ex->handle = f->handle;
	ex->serial = ++serial;
	ex->began = now;
	ex->state = FIRST;
	ex->mechanism = mechanism;
	ex->domain = slice_dup(f->domain);
	ex->from = slice_dup(f->from);
	address = throttle_address(f->address, ex->address);
	ex->address_len = address.len < sizeof ex->address ? address.len : sizeof ex->address;
	memmove(ex->address, address.ptr, ex->address_len);
	buf_add_slice(&ex->bindings[EXPORTER], f->binding_exporter);
	buf_add_slice(&ex->bindings[UNIQUE], f->binding_unique);
	buf_add_slice(&ex->bindings[ENDPOINT], f->binding_endpoint);
	agent_take(ex, f);
	if (!mechanism->plain && mechanism->fast == FAST_NO)
		downgrade_attributes(mechanism->hash, slice_part(f->text, 0, OFFERED_MAX), f->number,
		    &ex->attributes);
	map_put(exchanges, slice_of(&ex->handle, sizeof ex->handle), ex);
	TAILQ_INSERT_TAIL(&ages, ex, by_age);
	/* Both kinds of mechanism let the client speak first. */
	if (f->data.ptr != NULL)
		first_message(ex, f->data);
	else
		challenge(ex, SLICE(""));
}

static void
step(const struct frame *f)
{
	struct exchange *ex = exchange_find(f->handle);
	struct slice data = f->data.ptr != NULL ? f->data : SLICE("");

	if (ex == NULL)
		failure_send(f->handle, "temporary-auth-failure");
	else if (data.len > MESSAGE_MAX)
		fail(ex, "malformed-request", "message too long");
	else if (ex->state == FIRST)
		first_message(ex, data);
	else if (ex->state == FINAL && f->name.ptr == NULL)
		final_message(ex, data);
	else if (ex->state == TASK && f->name.ptr != NULL)
		task_begin(ex, f->name);
	else if (ex->state == SALTED && f->name.ptr == NULL)
		task_end(ex, data);
	else
		fail(ex, "malformed-request", "a response that nobody asked for");
}

static void
stop(const struct frame *f)
{
	struct exchange *ex = exchange_find(f->handle);

	if (ex != NULL)
		fail(ex, "aborted", "by the client");
}

void
sasl_frame(const struct frame *f, uint64_t ticks)
{
	static const struct {
		enum frame_type type;
		void (*handle)(const struct frame *f);
	} frames[] = {
		{ FRAME_AUTH_START, start },
		{ FRAME_AUTH_STEP, step },
		{ FRAME_AUTH_ABORT, stop },
	};
	size_t i;

	now = ticks;
	for (i = 0; f->handle != 0 && i < sizeof frames / sizeof frames[0]; i++) {
		if (frames[i].type == f->type)
			frames[i].handle(f);
	}
}

bool
sasl_tick(uint64_t ticks)
{
	struct exchange *ex, *next;

	now = ticks;
	for (ex = TAILQ_FIRST(&delays); ex != NULL; ex = next) {
		next = TAILQ_NEXT(ex, by_delay);
		if (ex->due > ticks)
			continue;
		TAILQ_REMOVE(&delays, ex, by_delay);
		ex->state = FIRST;
		exchange_go(ex);
	}
	while ((ex = TAILQ_FIRST(&ages)) != NULL && ticks - ex->began >= EXCHANGE_TIME)
		fail(ex, "temporary-auth-failure", "took too long");
	return !TAILQ_EMPTY(&delays);
}

void
sasl_gauges(void)
{
	const struct exchange *ex;
	size_t delayed = 0;

	TAILQ_FOREACH(ex, &delays, by_delay)
		delayed++;
	GAUGE(exchanges, map_count(exchanges));
	GAUGE(exchanges_delayed, delayed);
	GAUGE(password_checks, checks);
	GAUGE(failures_remembered, throttle_size(by_account, now) + throttle_size(by_address, now));
}

bool
sasl_busy(void)
{
	return !TAILQ_EMPTY(&ages);
}
