/*
 * authd.h: what the files of authd know of each other.
 *
 * Engines without input or output: all but main.c, login.c and key.c. They read and change the
 * store, and what they have to say goes to out.c, which main.c sends after the commit.
 */
#ifndef ALDIS_AUTHD_H
#define ALDIS_AUTHD_H

#include <gnutls/abstract.h>
#include <jansson.h>

#include "config.h"
#include "daemon.h"
#include "error.h"
#include "frame.h"
#include "jid.h"
#include "ns.h"
#include "roster.h"
#include "stanza.h"
#include "store.h"
#include "xmlin.h"

/* -- state.c: the store, the options, and the secrets ------------------------------------- */

/* All tables of the store; a key or value begins as the comment says. */
enum table {
	TABLE_ACCOUNT,   /* hash of bare JID -> account.c */
	TABLE_ROSTER,    /* account id, hash of contact -> roster.c */
	TABLE_REQUEST,   /* account id, hash of contact -> pending subscription request, roster.c */
	TABLE_VERSION,   /* account id -> version of the roster */
	TABLE_VCARD,     /* account id -> vCard */
	TABLE_PRIVATE,   /* account id, hash of name and namespace -> element */
	TABLE_LAST,      /* account id -> when its last session ended */
	TABLE_WATERMARK, /* origin -> sequence number */
	TABLE_META,      /* name -> secrets, next account id */
	TABLE_BLOCK,     /* account id -> its block list, block.c */
	TABLE_FAST,      /* account id, hash of user agent -> tokens, fast.c */
	TABLE_INVITE,    /* account id, hash of a token -> invite.c */
	TABLE_RESERVED,  /* hash of bare JID -> the invitation that reserves it, invite.c */
	TABLE_REPORT,    /* account id, number -> report.c */
	TABLE_PUSH,      /* account id, hash of service and node -> push.c */
	TABLE_OUTBOX,    /* number -> outbox.c */
	TABLE_COUNT
};

#define VALUE_VERSION 1 /* first byte of every value */
#define SECRET_SIZE   32

enum registration { REGISTRATION_NO, REGISTRATION_INVITED, REGISTRATION_YES };

struct domain {
	char *name;
	enum registration registration;
	char **report_to;            /* addresses that are told of reports */
	size_t report_count;
	char **services;             /* as service.h reads them */
	size_t service_count;
	char *service_secret;        /* NULL: none */
	char *invite_page;           /* URL before an invitation's, "": none */
};

struct state {
	struct store *store;
	struct domain *domains;
	size_t domain_count;
	char *mechanisms;            /* offered, in order, separated by spaces */
	char *fast_mechanisms;       /* the same, of those that take a token */
	uint32_t iterations;
	unsigned failures_account;
	unsigned failures_address;
	uint64_t failures_time;      /* milliseconds */
	size_t roster_items;
	size_t vcard_size;
	bool vcard_strangers;        /* those who have no subscription may read vCards */
	size_t private_size;
	size_t private_items;
	size_t block_items;
	size_t tokens;               /* user agents of an account that may have one */
	uint64_t token_lifetime;     /* milliseconds */
	uint64_t token_rotation;
	uint64_t ticket_time;        /* milliseconds; 0: no tickets */
	uint64_t service_time;       /* milliseconds that credentials are good */
	size_t reports;              /* of one account */
	size_t invitations;          /* of one account, open at a time */
	uint64_t invitation_time;    /* milliseconds */
	size_t push_services;
	unsigned push_errors;
	uint8_t grant_key[SECRET_SIZE];
	uint8_t salt_key[SECRET_SIZE];
	uint8_t dialback_key[SECRET_SIZE];
};

extern struct state state;

/* Reads the options. Returns 0, or an error that was logged. */
int state_configure(const struct config *config);
/* Opens the store in a directory, and makes the secrets when they are not there. */
int state_open(const char *directory);
void state_close(void);

const struct domain *state_domain(struct slice name); /* NULL: not ours */

/* Keys of tables: an account's id, with a hash behind it. */
#define KEY_HASHED 40
struct slice state_key(uint64_t id, char out[8]);
struct slice state_key_hashed(uint64_t id, struct slice bytes, char out[KEY_HASHED]);
/* Removes all rows of an account in a table. */
void state_remove_all(enum table table, uint64_t id);

/* -- out.c: frames that wait for the commit ----------------------------------------------- */

void out_send(const struct frame *f);
void out_raw(struct slice frames); /* whole frames */
struct slice out_frames(void);
void out_clear(void);

/* -- request.c: IQ requests --------------------------------------------------------------- */

/* Handles a STANZA of kind iq. repeated: it was taken before. */
void request_handle(const struct frame *f, bool repeated, uint64_t now);
/* Answers of the handlers. payload: canonical XML, may be empty. */
void request_answer(const struct frame *f, struct slice payload);
void request_refuse(const struct frame *f, enum stanza_error error, const char *text);

/* Remembers a stanza until the commit, and answers all with an error when it failed. */
void request_remember(const struct frame *f);
void request_committed(void);
void request_failed(int error);

/* What a handler in a namespace gets. */
struct request {
	const struct frame *f;
	struct xmlin_element query; /* the one child */
	struct slice from;          /* bare JID of the sender; absent: not authenticated */
	struct slice account;       /* bare JID of the account that is asked, or the domain */
	bool own;                   /* the sender's own account */
	bool set;
	bool repeated;
	uint64_t now;
};

/* -- account.c: accounts and their credentials -------------------------------------------- */

enum scram_hash { SCRAM_SHA1, SCRAM_SHA256, SCRAM_SHA512, SCRAM_HASHES };

#define SCRAM_SALT    16
#define SCRAM_KEY_MAX 64
#define SCRAM_SALT_MAX 64

/* What a server keeps of a password for one hash (RFC 5802 section 3). iterations 0: nothing, since the
 * account was made when this was not offered, or elsewhere. */
struct scram_keys {
	uint32_t iterations;
	size_t salt_len;
	uint8_t salt[SCRAM_SALT_MAX];
	uint8_t stored[SCRAM_KEY_MAX];
	uint8_t server[SCRAM_KEY_MAX];
};

#define ACCOUNT_DISABLED  1u
#define ACCOUNT_IMPORTING 2u /* its data comes piece by piece; nobody can log in yet */

struct account {
	uint64_t id;
	uint64_t created; /* milliseconds since 1970 */
	uint32_t flags;
	struct slice jid; /* in the store: valid until its next change */
	struct scram_keys keys[SCRAM_HASHES];
};

/* bare: canonical. Returns 0 or E_NOT_FOUND. a may be NULL. */
int account_find(struct slice bare, struct account *a);
/* Reads a row of the store. Returns 0 or E_MALFORMED. */
int account_of(struct slice value, struct account *a);
bool account_exists(struct slice bare);
/* password: prepared. Returns 0, E_EXISTS, E_AGAIN while messages of a deleted account of that name
 * may be left (forget.c), or an error of the store. Tells the router. */
int account_create(struct slice bare, struct slice password, uint64_t now);
int account_set_password(struct slice bare, struct slice password);
/* Adds the keys for one hash. proven: the keys by which the client has just proven its password; when the
 * account has others now, its password is another: E_MISMATCH. NULL: they come from elsewhere, and
 * proven_hash does not matter. */
int account_add_keys(struct slice bare, enum scram_hash hash, const struct scram_keys *keys,
    enum scram_hash proven_hash, const struct scram_keys *proven);
/* The hash by which a password is best checked. */
enum scram_hash account_hash(const struct account *a);
bool account_check_password(struct slice bare, struct slice password);
/* One without any keys. Likewise. */
int account_create_empty(struct slice bare, uint32_t flags, uint64_t now);
int account_set_flags(struct slice bare, uint32_t flags);
/* Removes it with all its data, and cancels its subscriptions unless quiet. Tells the router. */
int account_remove(struct slice bare, bool quiet, uint64_t now);
void account_clear(uint64_t id); /* its data in all tables, without a word */
/* In no order; each() returns false to stop. */
void account_each(bool (*each)(void *arg, const struct account *a), void *arg);
/* Answers ACCOUNT_ASK. */
void account_tell(struct slice bare);

/* -- forget.c: deleted accounts of which archived may still have messages ----------------- */

/* Counts what waits: when the store was opened, and when a transaction has failed. */
void forget_open(void);
/* Remembers, with the transaction that deletes it, that an account's messages must go. */
int forget_add(struct slice bare, uint64_t now);
/* Whether that of an account of this name is not done yet: it cannot be made again before. */
bool forget_waits(struct slice bare);
bool forget_pending(void);
/* Asks archived for the next one; again: also when it was asked and has not answered. */
void forget_send(bool again);
void forget_done(const struct frame *f); /* FORGOTTEN */
void forget_gauges(void);

/* -- outbox.c: subscription stanzas to contacts elsewhere -------------------------------------- */

/* Counts what waits: when the store was opened, and when a transaction has failed. */
void outbox_open(void);
/* Keeps a stanza, with the transaction at hand, until archived has it. */
void outbox_add(const struct frame *f);
void outbox_resend(void);                     /* RESEND: all of it is to be sent */
void outbox_stop(void);                       /* the router is gone */
/* The next one to be sent, between transactions, with seq and token. Its slices point into the store. */
bool outbox_next(struct frame *f);
void outbox_taken(const struct frame *f);     /* ACK */
void outbox_gauges(void);

/* -- scram.c: salted keys ----------------------------------------------------------------- */

size_t scram_size(enum scram_hash hash);      /* bytes of a key */
const char *scram_name(enum scram_hash hash); /* "SCRAM-SHA-256" */
int scram_mac(enum scram_hash hash);          /* a gnutls_mac_algorithm_t */
int scram_digest(enum scram_hash hash);       /* a gnutls_digest_algorithm_t */
/* Keys of a prepared password for a salt and iterations already in *keys. Takes milliseconds. */
int scram_derive(enum scram_hash hash, struct slice password, struct scram_keys *keys);
/* The same from what PBKDF2 makes, scram_size() bytes. */
int scram_derive_salted(enum scram_hash hash, const uint8_t *salted, struct scram_keys *keys);
/* A new random salt. */
int scram_salt(uint32_t iterations, struct scram_keys *keys);
/* The same as scram_derive() with a new random salt. */
int scram_make(enum scram_hash hash, struct slice password, uint32_t iterations,
    struct scram_keys *keys);
/* Keys of an account that does not exist: always the same for the same JID, and fit no password. */
void scram_false(enum scram_hash hash, const uint8_t secret[SECRET_SIZE], struct slice jid,
    uint32_t iterations, struct scram_keys *keys);
/* Compares in constant time. Takes milliseconds. */
bool scram_check(enum scram_hash hash, struct slice password, const struct scram_keys *keys);

/* -- scram_mech.c: the server side of SCRAM ----------------------------------------------- */

/* A client-first-message; slices point into the message or into scratch. */
struct scram_first {
	char flag;              /* n, y or p */
	struct slice binding;   /* with p: the name of the channel binding */
	struct slice header;    /* gs2-header */
	struct slice bare;      /* client-first-message-bare */
	struct slice authzid;   /* absent: none */
	struct slice username;
	struct slice nonce;
};

/* Returns 0 or E_MALFORMED. */
int scram_first_read(struct slice message, struct buf *scratch, struct scram_first *first);

struct scram_mech;

/* first, keys: copied. binding: data of the channel binding that first names; absent: none. */
struct scram_mech *scram_mech_new(enum scram_hash hash, const struct scram_keys *keys,
    const struct scram_first *first, struct slice binding);
void scram_mech_free(struct scram_mech **mech);
/* The server-first-message. nonce: the server's part, printable. */
/* attributes: of the server-first-message, each with a comma before it. */
void scram_mech_challenge(struct scram_mech *mech, struct slice nonce, struct slice attributes,
    struct buf *out);
/* Reads the client-final-message and gives the server-final-message. Returns 0, E_MALFORMED, or
 * E_MISMATCH when proof or channel binding are wrong. */
int scram_mech_final(struct scram_mech *mech, struct slice message, struct buf *out);

/* -- downgrade.c: attributes by which a client sees that it was deceived ------------------ */

/* Appends ",h=..." and ",t=..." for a server-first-message (XEP-0474, XEP-0515). offered: mechanisms
 * with spaces between and, on another line when there are any, channel bindings; tls: the version as
 * on the wire, 0: unknown. */
void downgrade_attributes(enum scram_hash hash, struct slice offered, uint64_t tls,
    struct buf *out);

/* -- throttle.c: slowing down those who fail ---------------------------------------------- */

struct throttle;

/* limit: failures without delay; window: milliseconds that they are remembered. */
struct throttle *throttle_new(unsigned limit, uint64_t window);
void throttle_free(struct throttle **throttle);
unsigned throttle_count(struct throttle *throttle, struct slice key, uint64_t now);
void throttle_fail(struct throttle *throttle, struct slice key, uint64_t now);
void throttle_undo(struct throttle *throttle, struct slice key, uint64_t now);
/* Milliseconds that an attempt must wait: 0 below the limit, THROTTLE_MAX at most. */
unsigned throttle_delay(struct throttle *throttle, struct slice key, uint64_t now);
size_t throttle_size(const struct throttle *throttle, uint64_t now); /* keys that it remembers */
/* The part of a network address by which it is counted: IPv4, or the first 64 bits of IPv6. */
#define THROTTLE_MAX  10000u
#define THROTTLE_ADDRESS 64
struct slice throttle_address(struct slice text, char out[THROTTLE_ADDRESS]);

/* -- fast.c: tokens of clients (XEP-0484) ------------------------------------------------- */

/* What a token is bound to; in the store: append only. */
enum fast_mechanism {
	FAST_NO, FAST_NONE, FAST_EXPORTER, FAST_UNIQUE, FAST_ENDPOINT, FAST_MECHANISMS
};

#define FAST_TOKEN 64  /* bytes of a token */
#define FAST_HASH  32  /* bytes of a proof */
#define FAST_AGENT 36  /* bytes of the id of a user agent, at most */
#define FAST_WORDS 128 /* bytes of its words about itself that are kept */

/* The client's message: user name and proof. Returns 0 or E_MALFORMED. */
int fast_message_read(struct slice message, struct slice *user, struct slice *hash);

struct fast_proof {
	uint64_t id;               /* of the account; 0: there is none */
	struct slice agent;
	enum fast_mechanism mechanism;
	struct slice binding;      /* data of its channel binding; absent: none */
	struct slice hash;         /* FAST_HASH bytes */
	uint64_t count;            /* 0: none */
	bool invalidate;
	uint64_t now;
};

struct fast_result {
	uint8_t answer[FAST_HASH]; /* what proves to the client that we know the token */
	bool due;                  /* it should be given another */
	bool stored;               /* something was: it holds when it is committed */
};

/* Returns 0, E_MISMATCH (fits no token), E_FORBIDDEN (it has expired), E_EXISTS (the count was used
 * before), or an error of the store. */
int fast_check(const struct fast_proof *proof, struct fast_result *result);

struct fast_wish {
	uint64_t id;
	struct slice agent;
	struct slice words;        /* of the client about itself; may be absent */
	enum fast_mechanism mechanism;
	uint64_t now;
};

/* Appends a new token. Returns 0 with the time at which it ends, or an error. */
int fast_issue(const struct fast_wish *wish, struct buf *token, uint64_t *expiry);
int fast_revoke(uint64_t id, struct slice agent); /* 0 or E_NOT_FOUND */
void fast_revoke_all(uint64_t id);

struct fast_entry {
	struct slice agent, words;
	uint64_t used, issued, expiry; /* milliseconds since 1970 */
	enum fast_mechanism mechanism;
};
void fast_each(uint64_t id, void (*each)(void *arg, const struct fast_entry *entry), void *arg);

/* -- mechanism.c: SASL mechanisms --------------------------------------------------------- */

struct mechanism {
	const char *name;
	enum scram_hash hash;
	bool plus;
	bool plain;
	enum fast_mechanism fast; /* it takes a token */
};

const struct mechanism *mechanism_find(struct slice name); /* NULL: there is none */
bool mechanism_offered(const struct mechanism *mechanism); /* by the configuration */
bool mechanism_plus_offered(void);                         /* any with a channel binding */
/* Whether a mechanism that is offered needs what this hash makes of a password. */
bool mechanism_hash_used(enum scram_hash hash);
/* fast: among those that take a token. */
bool mechanism_known(struct slice name, bool fast);
const char *mechanism_fast_name(unsigned fast);            /* of an enum fast_mechanism */
/* The text of MECHANISMS; the word "register" at the end of a line: in-band registration. */
void mechanism_list(struct buf *out);

/* -- sasl.c: exchanges by handle ---------------------------------------------------------- */

/* A password that must be checked by PBKDF2; sasl_job_run() may run in any thread. */
struct sasl_job {
	uint64_t handle;
	uint64_t serial;
	char password[JID_PART_MAX + 1];
	size_t len;
	enum scram_hash hash;
	struct scram_keys keys;
	bool right;
	bool missing[SCRAM_HASHES];           /* to be made if it is */
	struct scram_keys made[SCRAM_HASHES];
};

/* verify: takes a job, has it run, gives it to sasl_job_done(), and frees it. */
int sasl_open(void (*verify)(struct sasl_job *job));
void sasl_close(void);
void sasl_frame(const struct frame *f, uint64_t ticks); /* AUTH_START, AUTH_STEP, AUTH_ABORT */
void sasl_job_run(struct sasl_job *job);
void sasl_job_done(const struct sasl_job *job, uint64_t ticks);
/* Goes on with what was delayed and ends what is too old. Returns whether any is delayed. */
bool sasl_tick(uint64_t ticks);
bool sasl_busy(void);   /* whether there is any exchange */
void sasl_gauges(void);
void sasl_forget(void); /* the router is gone, and with it who waits for answers */

/* -- login.c: timer and threads for sasl.c ------------------------------------------------ */

int login_start(uv_loop_t *loop);
void login_frame(const struct frame *f);
void login_router(void);      /* sends MECHANISMS */
void login_router_gone(void);

/* -- roster.c: items in the store --------------------------------------------------------- */

#define ROSTER_GROUPS_MAX 32
#define ROSTER_TEXT_MAX   1023       /* bytes of a name or of a group's name */
#define ROSTER_BYTES_MAX  (512u << 10) /* of all values of a roster, so that it fits a frame */
#define ROSTER_PENDING_MAX 500       /* requests that wait for one account, beyond roster_items */
#define ROSTER_REQUEST_MAX 4096      /* bytes of a request's payload that are kept */

struct roster_item {
	unsigned bits;       /* roster.h */
	struct slice jid;    /* bare JID of the contact */
	struct slice name;   /* absent: none */
	size_t groups;
	struct slice group[ROSTER_GROUPS_MAX];
};

struct roster_size {
	size_t listed;
	size_t all;
	size_t bytes;
};

/* Reads an item; its slices point into memory, which is filled anew. Returns 0 or E_NOT_FOUND (then
 * *item is empty but for jid, which is contact). */
int roster_get(uint64_t id, struct slice contact, struct buf *memory, struct roster_item *item);
/* Reads a row of the store. Returns 0 or E_MALFORMED. */
int roster_item_of(struct slice value, struct roster_item *item);
/* Writes an item, or removes it when bits is 0. */
void roster_put(uint64_t id, const struct roster_item *item);
void roster_each(uint64_t id, bool (*each)(void *arg, const struct roster_item *item), void *arg);
void roster_measure(uint64_t id, struct roster_size *size);
/* Whether an item of so many bytes more may be added. */
bool roster_room(uint64_t id, size_t bytes);
/* Whether another request may wait for an account. */
bool roster_request_room(uint64_t id);
/* The opaque version, "ID-VERSION" in hexadecimal, and its advance. */
void roster_version(uint64_t id, char text[40]);
void roster_advance(uint64_t id);
/* Appends <item/>; removed: with subscription='remove' alone. */
void roster_write(const struct roster_item *item, bool removed, struct buf *out);
/* The roster push of an item. */
void roster_push(struct slice account, uint64_t id, const struct roster_item *item, bool removed,
    struct buf *out);
/* Pending requests. */
void roster_request_put(uint64_t id, struct slice contact, const struct frame *f);
/* Fills in id, lang and payload of a request that waits; they point into the store. */
void roster_request_get(uint64_t id, struct slice contact, struct frame *f);
void roster_request_remove(uint64_t id, struct slice contact);

/* Answers ROSTER_LOAD and ROSTER_PENDING. */
void roster_load(struct slice account);
void roster_pending(struct slice account, uint64_t handle);
/* Answers ROSTER_ASK. */
void roster_tell(const struct frame *f);

/* -- roster_iq.c: jabber:iq:roster -------------------------------------------------------- */

void roster_iq(const struct request *r);
/* Reads an <item/> with its subscription, for imports. Slices of *item point into the element, jid_out
 * (JID_MAX + 1 bytes) and scratch. */
enum stanza_error roster_item_read(const struct xmlin_element *element, struct buf *scratch,
    char *jid_out, struct roster_item *item);

/* -- subscription.c: the tables of RFC 6121 appendix A ------------------------------------ */

struct subscription_step {
	bool pass;     /* route (outbound) or deliver (inbound) the stanza */
	bool approve;  /* inbound subscribe: answer with subscribed for the account */
	unsigned bits; /* the new state */
};

/* type: TYPE_SUBSCRIBE, _SUBSCRIBED, _UNSUBSCRIBE or _UNSUBSCRIBED; bits: the state, with
 * ROSTER_APPROVED and ROSTER_LISTED. */
struct subscription_step subscription_outbound(enum stanza_type type, unsigned bits);
struct subscription_step subscription_inbound(enum stanza_type type, unsigned bits);
bool subscription_type(enum stanza_type type);

/* -- presence.c: subscription stanzas and what they change -------------------------------- */

void presence_handle(const struct frame *f, bool repeated);
/* Removes an item of a roster with what follows for the contact (RFC 6121 section 2.5). push: tell
 * the account's own sessions. */
void presence_remove(struct slice account, uint64_t id, const struct roster_item *item, bool push);
/* Stores an item that a roster set has changed, and tells the sessions. */
void presence_update(struct slice account, uint64_t id, const struct roster_item *item,
    unsigned old_bits);

/* Both get the other as a contact who sees their presence. Returns 0 or E_TOO_MANY. */
int presence_befriend(struct slice a, struct slice b);

/* -- vcard.c, private.c, block.c, push.c, register.c, last.c ----------------------------------------------- */

void vcard_iq(const struct request *r);
enum stanza_error vcard_put(uint64_t id, const struct xmlin_element *vcard);
void private_iq(const struct request *r);
enum stanza_error private_put(uint64_t id, const struct xmlin_element *element);
void block_iq(const struct request *r);
/* Appends the block list of an account. */
void block_get(uint64_t id, struct buf *list);
void block_set(uint64_t id, struct slice list); /* without a word to anybody */
bool block_fits(struct slice list);             /* it is not too long */
bool block_covers(uint64_t id, struct slice jid); /* whether it has blocked this address */
void push_iq(const struct request *r);
bool push_any(uint64_t id);                /* whether an account has push services */
/* PUSH: publishes to the push services of an account. */
void push_publish(const struct frame *f);
/* The answer of a push service, or of who could not reach it. */
void push_answer(const struct frame *f, uint64_t now);
void register_iq(const struct request *r);
void register_preauth(const struct request *r); /* XEP-0445 */
int register_open(void);
void register_close(void);
void last_iq(const struct request *r);
void last_set(struct slice account, uint64_t stamp);
uint64_t last_get(uint64_t id); /* 0: never */
/* Whether who asks may see the presence of the account. */
bool last_allowed(const struct request *r, const struct account *a);

/* -- extdisco.c: services besides XMPP ------------------------------------------------------ */

void extdisco_iq(const struct request *r);
void extdisco_configure(const struct config *config, const char *title, struct domain *domain);
void extdisco_close(struct domain *domain);
void extdisco_serves(struct buf *text); /* adds lines of HELLO */

/* -- report.c: what accounts say of whom they block ----------------------------------------- */

#define REPORT_ORIGIN      1u /* may be passed on to the domain of who is reported */
#define REPORT_THIRD_PARTY 2u /* may be passed on to others */

struct report {
	uint64_t number;
	uint64_t time;         /* milliseconds since 1970 */
	uint32_t flags;
	struct slice reporter; /* bare JID */
	struct slice reported; /* JID */
	struct slice reason;   /* a URN */
	struct slice text;     /* absent: none */
	struct slice lang;     /* of the text; absent: none */
	struct slice ids;      /* lines "BY ID" */
};

/* Keeps a <report/> of an account, unless it is malformed or there are too many, and tells of it. */
void report_add(struct slice reporter, uint64_t id, struct slice reported,
    const struct xmlin_element *element, uint64_t now);
void report_each(void (*each)(void *arg, const struct report *report), void *arg);
/* Likewise for one. Returns 0, E_NOT_FOUND, or an error of the store. */
int report_find(uint64_t number, void (*each)(void *arg, const struct report *report), void *arg);
int report_remove(uint64_t number);

/* -- invite.c: invitations ------------------------------------------------------------------ */

#define INVITE_TOKEN 64       /* bytes of a token, its NUL included */
#define INVITE_ID    17       /* of its name for administrators, likewise */
#define INVITE_LATE  3600000u /* milliseconds for which a stream may still use what it has shown */
#define INVITE_USES  1000u    /* accounts that one may make */

/* What an invitation is good for. */
#define INVITE_REGISTER 1u /* to make an account */
#define INVITE_CONTACT  2u /* to become a contact of the inviter */
#define INVITE_ROSTER   4u /* its URI is that of the inviter, for those who have an account too */

struct invite {
	uint64_t created, expires; /* milliseconds since 1970 */
	uint32_t uses;             /* left */
	uint32_t flags;
	struct slice domain;       /* of the accounts that it makes */
	struct slice inviter;      /* bare JID; absent: an administrator */
	struct slice name;         /* reserved local part; absent: any */
};

void invite_open(uint64_t now); /* removes what has expired */
/* Returns 0, E_NOT_FOUND (there is no such inviter), E_TOO_MANY, E_EXISTS (the name is taken), or an
 * error of the store. */
int invite_create(const struct invite *invite, uint64_t now, char token[INVITE_TOKEN]);
/* Slices of *invite are in the store: valid until its next change. late: also what has expired not
 * longer than INVITE_LATE ago. Returns 0 or E_NOT_FOUND. */
int invite_find(struct slice token, uint64_t now, bool late, struct invite *invite);
void invite_use(struct slice token);
bool invite_reserved(struct slice bare, uint64_t now);
/* Whether it is this token that reserves a name. */
bool invite_reserves(struct slice token, struct slice bare, uint64_t now);
void invite_each(void (*each)(void *arg, const char *id, const struct invite *invite), void *arg);
void invite_id(struct slice key, char id[INVITE_ID]);
int invite_revoke(struct slice id);
void invite_uri(const struct invite *invite, const char *token, struct buf *out);

/* -- token.c: keys in PKCS#11 tokens ------------------------------------------------------ */

/* Loads the module and keeps its files within reach; does nothing when that was done. */
int token_open(const struct config *config);
void token_close(void);
/* Opens a key and tries it. pin: its token's, or NULL; it must last as long as the key, which is
 * given it again when it has to log in once more. certificate: base64 of PEM. Returns 0 with the id
 * as of key_identify(), or E_SYSTEM with the reason logged. */
#define KEY_ID_SIZE 32
int token_key(const char *uri, char *pin, struct slice certificate, gnutls_privkey_t *key,
    unsigned char id[KEY_ID_SIZE]);

/* -- ticket.c: the key of TLS tickets ----------------------------------------------------- */

#define TICKET_KEY 64 /* bytes */

/* Appends the key and, as 32 bits, the seconds that it lasts. False: there are no tickets. */
bool ticket_give(uint64_t ticks, struct buf *out);

/* -- key.c: private keys for c2sd --------------------------------------------------------- */

int key_configure(const struct config *config);
void key_start(uv_loop_t *loop);
/* Other keys, while handshakes go on. E_UNSUPPORTED with a key in a token: authd must be restarted. */
int key_reconfigure(const struct config *config);
void key_close(void);
size_t key_jobs(void);  /* operations in a thread or waiting for one */
void key_link(uv_loop_t *loop, enum role peer, unsigned index, uint32_t incarnation, int fd);
/* What names a key: the SHA-256 of its public half. Returns a GnuTLS code. */
int key_identify(gnutls_pubkey_t public, unsigned char id[KEY_ID_SIZE]);
/* Uses the key of a domain with this id. Returns 0, or an error when it is refused. */
int key_use(struct slice domain, struct slice id, struct slice name, uint64_t algorithm,
    struct slice data, struct buf *result);

/* -- secret.c: what s2sd proves, or has proven to it, with secrets that it does not have ---------- */

/* Takes the secrets of components. */
int secret_configure(const struct config *config);
void secret_close(void);
/* f: KEY_USE. name: "component" (the handshake of XEP-0114 for this domain; data: the stream's id, text: what
 * the component has said): appends something when that is right. Or "dialback" (XEP-0185; data: the text of
 * receiver, originator and stream id): appends lower case hex. now: daemon_ticks(). Returns 0, E_NOT_FOUND when
 * there is no such secret, E_MISMATCH, E_TOO_MANY after attempts that were wrong, or E_UNSUPPORTED. */
int secret_use(const struct frame *f, uint64_t now, struct buf *result);
/* XEP-0185 section 3: a key in lower case hex, made with the hash of a secret in hex. Returns 0 or
 * E_SYSTEM. */
int secret_dialback(struct slice secret, struct slice text, struct buf *result);

/* -- export.c, import.c: data of accounts for aldisctl (XEP-0227) --------------------------- */

/* Parts of an account; each row of one is an element, in the namespace that the part has. */
extern const struct command transfer_table[];
int export_domains(struct slice *words, size_t count, json_t **result);
int export_accounts(struct slice *words, size_t count, json_t **result);
int export_part(struct slice *words, size_t count, json_t **result);
/* The address of an account in one of our domains, prepared. */
int import_account(struct slice word, char out[JID_MAX + 1], struct slice *bare, json_t **result);

/* -- command.c: administration ------------------------------------------------------------ */

extern const struct command command_table[];
/* Commits what a command has done; main.c sets it. */
extern int (*command_commit)(void);

#endif
