/*
 * router.h: the router's own header, grouped by file.
 *
 * The router holds nothing that the other daemons cannot tell it again: sessions come from
 * SESSION_REPLAY, rosters and the existence of accounts from authd, frames from those who have them
 * in custody. It never touches the disk and never reads a stanza's XML.
 */
#ifndef ALDIS_ROUTER_H
#define ALDIS_ROUTER_H

#include <sys/queue.h>

#include "daemon.h"
#include "frame.h"
#include "jid.h"
#include "map.h"
#include "roster.h"
#include "stanza.h"

struct account;
struct given;
struct helds;
struct session;

TAILQ_HEAD(givens, given);

/* -- peer.c: the daemons at the other ends of the links ---------------------------------------- */

/*
 *   (LINK from the supervisor) -> CONNECTED -> HELLO -> REGISTERED -> READY -> LIVE
 *
 * An entry daemon waits in CONNECTED, its HELLO kept, until authd has said how grants are verified.
 */
enum peer_state { PEER_CONNECTED, PEER_REGISTERED, PEER_LIVE };

struct peer {
	TAILQ_ENTRY(peer) all;
	struct link *link;
	enum role role;
	unsigned index;
	uint32_t incarnation;
	enum peer_state state;
	bool hello;             /* HELLO has come */
	bool resyncing;         /* RESEND was sent, its echo has not come */
	unsigned echoes;        /* that are to come */
	uint64_t seen;          /* highest number in custody that was handled */
	uint64_t last;          /* the one that came last, since the echo */
	struct passed *passed;  /* its frames that other daemons are to acknowledge */
	unsigned exchanges;     /* SASL exchanges for which authd owes it an answer */
	unsigned dropped;       /* frames of no use */
	uint64_t asked;         /* the last CONTROL that it got */
	uint64_t replied;       /* the last that it has answered */
	struct helds *storing;  /* its messages at archived, by number */
	struct buf serves;      /* HELLO text */
	struct acks *acks;
	struct givens given;    /* what rooms say that it has not TAKEN yet (fanout.c), in order */
	uint64_t said;          /* of mucd: the last number of what its rooms say, since the echo */
	uint64_t asked_authd;   /* its last subscription stanza for elsewhere that authd has not taken; 0: none */
	uint64_t asked_since;   /* ticks */
	unsigned followers;     /* such stanzas among what waits */
	struct buf following;   /* what waits for that (follow.c) */
	uint64_t joined;        /* ticks when it became live */
	bool congested;         /* its output was full and has not drained: its sessions are fed from
	                           the spool, and if it is authd nobody begins to log in */
};

TAILQ_HEAD(peers, peer);
extern struct peers peers;

void peer_linked(enum role role, unsigned index, uint32_t incarnation, int fd);
struct peer *peer_of(enum role role);          /* the live peer of a role with one process, or NULL */
struct peer *peer_by_incarnation(uint32_t incarnation); /* any state; NULL */
bool peer_is_entry(const struct peer *peer);   /* it brings frames of clients or servers */
/* Whether a frame in custody has its place in the order of its origin's; if not it is refused. */
bool peer_in_order(struct peer *peer, const struct frame *f);
void peer_send(struct peer *peer, const struct frame *f);
/* Closes its link: it does not read. The supervisor restarts it. */
void peer_lose(struct peer *peer, const char *reason);
/* Passes a frame in custody on to the daemon that is to take it. */
void peer_pass(struct peer *peer, const struct frame *f);
/* archived has stored what authd keeps; false when it was not given that. */
bool peer_kept(struct peer *authd, uint64_t seq);
/* Counts and logs a frame that this daemon should not have sent. */
void peer_refuse(struct peer *peer, const struct frame *f, const char *reason);
/* Logs a frame that is of no use, which an honest daemon can send too: a session has ended, who
 * asked has gone, the router was restarted. */
void peer_drop(struct peer *peer, const struct frame *f, const char *reason);
void peer_ack(uint32_t origin, uint64_t seq);  /* gathered, sent by peers_flush() */
void peers_flush(void);
void peers_tick(void);
bool peers_waiting(void);                      /* for a tick */
bool peers_replaying(void);                    /* some c2sd has not said yet which sessions it has */
/* Asks mucd and s2sd, when they are new to this router, for what they have in custody, once all sessions are known
 * that are to get it; a c2sd that does not tell of its own is not waited for longer than REPLAY_TIME (milliseconds). */
#define REPLAY_TIME 5000
void peers_ask_held(void);
void peers_resync(void);                       /* RESEND to all that have frames in custody */
void peer_grants_known(void);                  /* lets waiting entry daemons register */

/* -- passed.c: who may acknowledge what -------------------------------------------------------- */

struct passed *passed_new(void);
void passed_free(struct passed **passed);
void passed_clear(struct passed *passed);
/* seq: larger than all before it. False: too many. */
bool passed_add(struct passed *passed, uint64_t seq, enum role role);
/* Appends those of first..last that this role was given, as pairs, and forgets them. What is
 * acknowledged already is passed over; false when something was given to another role. */
bool passed_take(struct passed *passed, uint64_t first, uint64_t last, enum role role,
    struct buf *pairs);

/* -- follow.c: what follows a subscription stanza on its way to archived ------------------------- */

/* Sends a frame in custody to its taker, when it is its turn. */
void follow_send(struct peer *taker, const struct frame *f);
void follow_taken(struct peer *origin, uint64_t seq); /* authd has acknowledged up to this one */
void follow_all(struct peer *origin);          /* nothing waits any more: what is here goes on */
void follow_clear(struct peer *origin);        /* it comes again */
void follow_tick(void);
bool follow_waiting(void);                     /* for a tick */
void follow_gauges(void);

/* -- flow.c: which daemons are read ------------------------------------------------------------ */

void flow_check(void);  /* a link is full, or has drained */
void flow_tick(void);
bool flow_waiting(void); /* for a tick */
void flow_gauges(void);

/* -- exchange.c: SASL exchanges that wait for authd -------------------------------------------- */

bool exchange_begin(struct peer *peer, uint64_t handle); /* false: too many */
bool exchange_end(uint64_t handle);            /* whether there was one */
size_t exchange_count(void);
void exchanges_end(uint32_t incarnation);      /* of a c2sd that died; 0: authd did, all fail */

/* -- registry.c: what the daemons serve -------------------------------------------------------- */

void registry_add(struct peer *peer, struct slice text);
void registry_remove(const struct peer *peer);
size_t registry_count(void);
/* Whether authd has registered, so that nobody has what is its alone. */
bool registry_complete(void);
/* Whether of two commands (up to a tab) one begins with the words of the other. */
bool registry_overlaps(struct slice a, struct slice b);
/* Milliseconds for which the daemon that serves this domain or namespace has been away. */
#define AWAY_TIME 10000
uint64_t registry_away(struct slice domain, struct slice ns);
void registry_set_domains(const struct config *config); /* instead of what was set before */
void registry_set_served(const struct config *config); /* likewise: federation, components, rooms */
bool registry_local_domain(struct slice domain);     /* a domain with accounts */
bool registry_elsewhere(struct slice domain);        /* a domain that s2sd serves, or will when it is here */
bool registry_rooms(struct slice domain);            /* a domain of mucd, also while that is away */
/* Whether a daemon has named this domain: a component, or the domain of a service. */
bool registry_named(struct slice domain);
/* Whether such a domain is for this server alone. */
bool registry_private(struct slice domain);
/* Whether a daemon of this role has registered since the router was started. */
bool registry_heard(enum role role);
void registry_tell(struct peer *s2sd); /* DOMAINS of all others */
void registry_each_local(void (*each)(void *arg, struct slice domain), void *arg);
/* Who serves a domain, a namespace. *known: whether anybody does; NULL with *known: it is away. */
struct peer *registry_domain(struct slice domain, bool *known);
struct peer *registry_account_ns(struct slice ns, bool *known);
struct peer *registry_server_ns(struct slice ns, bool *known);
/* Each line of all registrations with this word: value is what follows it. */
void registry_each(const char *word, void (*each)(void *arg, struct peer *peer, struct slice value),
    void *arg);

/* -- account.c: accounts with sessions, their contacts, and who exists ------------------------- */

struct contact {
	char *jid;
	uint16_t len;
	uint8_t bits; /* roster.h */
};

struct account {
	char *jid;              /* bare, NUL-terminated */
	size_t jid_len;
	TAILQ_HEAD(sessions, session) sessions; /* bound, or waiting for the roster */
	struct contact *contacts;               /* sorted by jid */
	size_t contact_count, contact_room;
	char *blocks;           /* its block list (block.h) */
	size_t blocks_len;
	bool loaded;            /* contacts and blocks are what authd has */
	bool push;              /* it has push services (XEP-0357) */
	uint64_t spool;         /* archived's number for it, 0 while unknown */
	bool remote;            /* a domain elsewhere (remote.c): authd does not know it */
	bool pinned;            /* in use: account_drop() does nothing */
};

struct account *account_find(struct slice jid);
struct account *account_get(struct slice jid);  /* made when there is none; asks authd for the roster */
struct account *account_remote(struct slice domain); /* the same of a domain elsewhere */
void account_drop(struct account *account);     /* frees it when it has no sessions */
static inline struct slice
account_jid(const struct account *account)
{
	return slice_of(account->jid, account->jid_len);
}
static inline struct slice
account_blocks(const struct account *account)
{
	return slice_of(account->blocks, account->blocks_len);
}
void account_set_blocks(struct account *account, struct slice list);
unsigned account_bits(const struct account *account, struct slice contact); /* bare; 0: none */
void account_roster(struct peer *authd, const struct frame *f);        /* ROSTER */
void account_roster_change(struct peer *authd, const struct frame *f); /* ROSTER_CHANGE */
/* Questions of archived about rosters, and authd's answers: both are passed on. */
void account_roster_ask(struct peer *archived, const struct frame *f);
void account_roster_is(struct peer *authd, const struct frame *f);
/* A bare JID, canonical, of a local domain. */
bool account_is_ours(struct slice jid);
void account_reload_all(void);                     /* authd is back */
size_t account_count(void);
void account_gauges(void);

enum existence { EXISTENCE_UNKNOWN, EXISTENCE_YES, EXISTENCE_NO };
enum existence existence_get(struct slice jid);
/* push: it has push services. */
void existence_set(struct slice jid, bool exists, bool push, struct slice blocks);
struct slice existence_blocks(struct slice jid); /* its block list, if that is known */
bool existence_push(struct slice jid);           /* whether it is known to have push services */

/* -- block.c: who has blocked whom (XEP-0191) --------------------------------------------------- */

/* Whether an account is known to have blocked an address. */
bool block_is(struct slice owner, struct slice other);
/* Whether one of two has blocked the other; an account may be NULL. */
bool block_apart(const struct account *a, struct slice a_jid, const struct account *b,
    struct slice b_jid);
/* Whether a stanza goes to an address that its sender has blocked, and the answer to that. */
bool block_outgoing(const struct frame *f, const struct session *sender);
void block_refuse(const struct frame *f);
void block_changed(struct peer *authd, const struct frame *f); /* BLOCKS */

/* -- session.c: client streams from their grant to their end ----------------------------------- */

/*
 *   AUTH_SUCCESS -> GRANTED -> SESSION_BIND -> LOADING -> ROSTER -> BOUND -> SESSION_END -> (gone)
 *                              SESSION_REPLAY -^
 */
enum session_state { SESSION_GRANTED, SESSION_LOADING, SESSION_BOUND };

struct session {
	TAILQ_ENTRY(session) siblings;
	uint64_t handle;
	uint64_t first_handle;    /* before it moved: what its SM-ID names (XEP-0198) */
	struct peer *peer;        /* NULL: its c2sd has died, and the grace time runs */
	struct account *account;  /* from LOADING on */
	char *jid;                /* bare when GRANTED, full afterwards */
	size_t jid_len;
	unsigned char token[32];
	enum session_state state;
	bool announce;            /* SESSION_BOUND is owed when the roster comes */
	bool available, interested;
	bool remote;              /* a domain elsewhere, see remote.c */
	bool replayed;            /* it is older than this router */
	bool carbons;             /* it wants copies of messages (XEP-0280) */
	bool blocks;              /* it has asked for the block list (XEP-0191) */
	bool paused;              /* its client does not read */
	bool away;                /* its client has no connection (XEP-0198) */
	bool draining;            /* it is fed: archived is sending what it does not have */
	bool asked;               /* DRAIN was sent, DRAINED has not come */
	bool drain_again;         /* and must do so once more from the beginning */
	bool unseen;              /* it has not said yet whether it will be available... */
	bool held_back;           /* ...and waits, for what is on the spool may be for it then */
	uint64_t wanted;          /* GRANTED: first handle of the session that it wants to resume */
	uint32_t wanted_from;     /* and the c2sd that was asked for it */
	uint32_t moved_from;      /* incarnation of the c2sd that hands it over, 0: none */
	uint64_t moved_until;     /* ticks until which that one may pass on what comes late; 0: moving */
	struct buf resume;        /* in GRANTED: its SESSION_RESUME, when it came before all c2sd were live */
	bool killed;              /* SESSION_KILL was sent: nothing more for it */
	bool ending;              /* its end is in the queue: nothing may come behind it */
	int8_t priority;
	char *presence;           /* the last broadcast presence, a written frame */
	size_t presence_len;
	char **directed;          /* who got directed presence, and is told when it goes */
	size_t directed_count;
	uint64_t drain_id;        /* up to here the drain has gone */
	uint64_t level;           /* paused or draining: what was stored up to this id was given to it, but
	                             for what is on the spool; UINT64_MAX: not known yet */
	uint64_t copies_since;    /* copies of what was stored after this id were given to it */
	uint64_t since;           /* milliseconds since 1970 */
	uint64_t joined;          /* ticks when it was bound or replayed */
	uint64_t orphaned;        /* ticks when its c2sd died */
	struct helds *queue;      /* in order: being stored, and what waits behind; NULL when empty */
	unsigned queue_len;
	size_t queue_bytes;
};

struct session *session_find(uint64_t handle);
/* The session of a client that began with this handle, also when it has moved: its name for mucd. */
struct session *session_named(uint64_t first_handle);
static inline struct slice
session_jid(const struct session *s)
{
	return slice_of(s->jid, s->jid_len);
}
struct session *session_new(struct peer *peer, uint64_t handle, struct slice jid,
    const unsigned char token[32]);
/* AUTH_SUCCESS, before it is passed on; false: it is not to be believed. */
bool session_grant(const struct frame *f);
void session_bind(struct peer *peer, const struct frame *f);
void session_replay(struct peer *peer, const struct frame *f);
void session_ended(struct session *s, const struct frame *f); /* in its order */
void session_loaded(struct account *account, bool exists);
void session_kill(struct session *s, const char *condition, const char *text);
void sessions_ask_again(void);  /* for what may be resumed, now that one more c2sd is live */
void session_move(struct peer *peer, const struct frame *f);
void session_resume(struct peer *peer, const struct frame *f);
void session_handover(struct peer *peer, const struct frame *f); /* STANZA with FLAG_HANDOVER */
void session_set_presence(struct session *s, const struct frame *f); /* NULL: unavailable */
bool session_directed_add(struct session *s, struct slice jid);      /* false: too many */
void session_directed_remove(struct session *s, struct slice jid);
struct session *session_of_resource(const struct account *account, struct slice full);
void sessions_orphan(struct peer *peer);
void sessions_tick(void);
bool sessions_waiting(void);                         /* for a tick */
void sessions_configure(const struct config *config);
void session_set_grant_key(struct slice key);
void session_each(bool (*each)(void *arg, struct session *s), void *arg);
size_t session_count(void);
void session_gauges(void);

/* -- hold.c: order, and store-then-forward ----------------------------------------------------- */

/*
 * A frame of a session in its queue. STORING until archived has answered; a frame at the head that
 * is READY goes on, with all that is ready behind it.
 */
struct held {
	TAILQ_ENTRY(held) order;   /* in session->queue */
	TAILQ_ENTRY(held) storing; /* in the list of its origin while it is being stored */
	TAILQ_ENTRY(held) behind;  /* in the list of those that are stored and wait behind others */
	struct session *session;
	uint32_t origin;
	uint64_t seq;
	bool ready;
	bool discard;              /* the spool delivers it */
	bool refused;              /* the receiver's spool is full */
	bool late;                 /* stored, and its turn has not come */
	bool secret;               /* wiped when it is done */
	uint32_t skips;            /* FLAG_FROM_SKIPS, FLAG_TO_SKIPS */
	uint64_t archive_id;
	size_t len;
	char frame[];
};
TAILQ_HEAD(helds, held);

/* Handles a frame of a session now, or when all before it are done. */
void hold_frame(struct session *s, const struct frame *f);
/* Holds a message until archived has stored it, and passes it there. */
void hold_store(struct session *s, struct peer *peer, const struct frame *f);
/* A number that was seen before comes again: whether it is held. If it is being stored it is passed
 * to archived once more. */
bool hold_again(struct session *s, uint32_t origin, uint64_t seq);
void hold_stored(struct peer *archived, const struct frame *f); /* STORED */
void hold_peer_gone(struct peer *peer);
/* The highest archive id whose turn it was: all before it were given to those that are up to date, but
 * for those that are late. UINT64_MAX while it is not known. */
uint64_t hold_turned(void);
/* One that no queue has held has had its turn. */
void hold_turn(uint64_t id);
bool hold_is_late(uint64_t id);            /* the turn of this message is to come */
uint64_t hold_announced(void);             /* the last id that there was when archived registered */
void hold_catch_up(void);                  /* what was announced comes from archived, not by its turn */
void hold_gauges(void);
void hold_run(struct session *s);           /* goes on; s may be gone afterwards */

/* -- fanout.c: what rooms say, to all who get it ------------------------------------------------ */

/* A frame of mucd in custody: a stanza of a room, a message to somebody who is not in one, HISTORY, REDACT. */
void fanout_frame(struct peer *mucd, const struct frame *f);
/* STORED: false when it is not one of its own that is being stored. */
bool fanout_stored(uint32_t origin, uint64_t seq, uint64_t id, uint64_t spool);
void fanout_acked(struct peer *archived, const struct frame *f);   /* ACK of archived, of what mucd has sent */
const char *fanout_fault(const struct peer *mucd, const struct frame *f); /* fanout_fault.c: NULL when it may be said */
void fanout_history(struct peer *archived, const struct frame *f); /* STANZA with FLAG_ROOM */
void fanout_history_end(struct peer *archived, const struct frame *f);
void fanout_taken(struct peer *peer, const struct frame *f);       /* TAKEN */
void fanout_anew(struct peer *mucd);          /* its echo has come: it sends again what it keeps */
void fanout_archived(struct peer *archived);  /* another archived: it is asked again */
void fanout_peer_gone(struct peer *peer);
/* A session is another daemon's now: what the former one has not taken is sent once more. */
void fanout_moved(const struct session *s, const struct peer *from);
void fanout_gauges(void);

/* -- room.c: what mucd asks ----------------------------------------------------------------------- */

void room_occupants(struct peer *mucd, const struct frame *f);     /* OCCUPANTS */
void rooms_replayed(void);                    /* one more c2sd has told its sessions, or is gone */
void room_query(struct peer *mucd, const struct frame *f);         /* ROOM_QUERY */
/* What archived answers to one; false: it is not asked in the name of this room. */
bool room_answer(struct peer *archived, const struct frame *f);
void rooms_peer_gone(struct peer *peer);
void rooms_gauges(void);

/* -- route.c: where a frame goes --------------------------------------------------------------- */

/* A STANZA from an entry daemon, before it was ordered. */
void route_inbound(struct peer *peer, const struct frame *f);
/* A stanza of a session whose turn it is; archive_id is set when it was stored. */
void route_stanza(const struct frame *f, struct session *sender);
/* Whether a stanza asks for a subscription, grants or ends one. */
bool route_is_subscription(const struct frame *f);
/* A STANZA of authd that is in custody. */
void route_kept(struct peer *authd, const struct frame *f);
/* A STANZA from a service daemon. */
void route_service(struct peer *peer, const struct frame *f);
/* What archived answers to a session that has asked its account's archive, or who has asked a room's. */
void route_archive(struct peer *archived, const struct frame *f);
/* Whether a daemon may speak as this address, and whether a stanza of this kind has such a type. */
bool route_owns(const struct peer *peer, struct slice from);
bool route_type_fits(enum stanza_kind kind, enum stanza_type type);
/* An error reply to a stanza, sent to where it came from. */
void route_error(const struct frame *f, enum stanza_error error, const char *text);
/* A reply: by its handle when that is a session, else by its `to`. */
void route_reply(const struct frame *f);

/* -- deliver.c: RFC 6121 section 8 ------------------------------------------------------------- */

void deliver_message(const struct frame *f);   /* to a local account */
/* Whether a session takes messages to the bare JID (RFC 6121 section 8.5.2). */
static inline bool
takes_messages(const struct session *s)
{
	return s->available && s->priority >= 0 && !s->killed;
}
/* authd's answer, with its block list; push: it has push services. */
void deliver_exists(struct slice jid, bool exists, bool push, struct slice blocks);
/* Takes a stored message that is not to be delivered off the spool and the receiver's archive. */
void deliver_drop(const struct frame *f);
void deliver_gauges(void);
void deliver_ask_all(void);                    /* authd is back: what was asked is asked again */
void deliver_iq(const struct frame *f);        /* to a full JID of a local account */
void deliver_to(struct session *s, const struct frame *f);
/* archived has named the spool of the account that this message is for. */
void deliver_spool(struct slice frame, uint64_t spool);
void deliver_audience(const struct frame *f);
/* Receivers of one frame, gathered by c2sd: one frame for each c2sd. */
struct receivers;
struct receivers *receivers_begin(void);
void receivers_add(struct receivers *r, struct session *s);
void receivers_send(struct receivers *r, const struct frame *f);
/* The daemons among which they are. */
size_t receivers_count(const struct receivers *r);
struct peer *receivers_peer(const struct receivers *r, size_t i);

/* -- carbon.c: copies of messages for other sessions of an account (XEP-0280) ------------------- */

void carbon_request(const struct frame *f, struct session *sender, struct slice account);
void carbon_sent(const struct frame *f, const struct session *sender);
/* A message to an account was delivered, to this session or, when it is NULL, to all that take
 * messages to the bare JID. */
void carbon_received(const struct frame *f, const struct account *account,
    const struct session *taker);
/* The router has answered a message with an error. */
void carbon_error(const struct frame *original, const struct frame *error);
/* Whether a session gets a copy of a message that is not for itself; whether it had one. */
bool carbon_wanted(const struct frame *f, const struct session *s);
bool carbon_had(const struct frame *f, const struct session *s);
/* Makes a frame that was stored a copy. */
void carbon_make(struct frame *f);

/* -- drain.c: sessions fed from the spool ------------------------------------------------------ */

void drain_begin(struct session *s);
void drain_join(struct session *s, uint64_t level); /* it is new, and will be fed when it is bound */
/* Whether a stored message, or a copy, is given to a session now that its turn has come: not to one that
 * is fed. When this c2sd does not keep up it is fed from here on. */
bool drain_passes(struct session *s, uint64_t id);
void drain_all(void);                          /* archived is back */
void drain_peer(struct peer *peer);            /* its link has room again */
void drains_go_on(void);                        /* one more c2sd has told its sessions */
void drain_account(struct account *account);
void drain_stanza(struct peer *archived, const struct frame *f); /* FLAG_SPOOL */
void drain_done(struct peer *archived, const struct frame *f);   /* DRAINED */
void drain_missed(struct account *account, uint64_t id); /* this one for it was left on the spool */
void drains_tick(void);                        /* who has waited long enough for its presence */
bool drains_waiting(void);                     /* for a tick */
void drain_pause(struct session *s);
/* level: all up to it has come; number: as in SESSION_DRAIN. */
void drain_resume(struct session *s, uint64_t level, uint64_t number);

/* -- remote.c: domains elsewhere ---------------------------------------------------------------- */

/*
 * What s2sd deals with, another server or an external component, is a session here whose address is the
 * domain: what comes from it has its order (hold.c), what is stored for it waits on the spool of the domain
 * and is drained (drain.c), and one that does not take it is paused.
 */
void remote_open(struct peer *s2sd, const struct frame *f);    /* REMOTE_OPEN */
void remote_waiting(struct peer *peer, const struct frame *f); /* REMOTE_WAITING */
void remote_spooled(struct peer *archived, const struct frame *f);   /* SPOOLED */
void remotes_ask(void);        /* archived, for which domains it has something */
void remotes_drained(void);    /* the link to s2sd has room: the same if something was left out meanwhile */
/* A stanza to an address elsewhere; an error goes back when nobody takes it there. */
void remote_send(const struct frame *f);
/* Of what a room says to those elsewhere, beside FLAG_FROM_ENTRY. */
#define REMOTE_ROOM (FLAG_ROOM | FLAG_TO_REMOTE | FLAG_SPOOL)
/* Whether what a room says can be put on the spool for a receiver; else the room hears of it, if it must. */
bool remote_takes_room(const struct frame *f, struct slice to);
/* Whether a stanza goes from a domain that is for this server alone to another server. */
bool remote_forbids(const struct frame *f);
/* Why a stanza that s2sd has brought may not come from this domain, or not go where it wants; NULL when
 * it may. */
const char *remote_fault(const struct session *s, const struct frame *f);
/* The domain or account whose spool a message to this address waits on. */
struct slice remote_spool_of(struct slice to);

/* -- push.c: notifications of what waits for accounts whose clients are away (XEP-0357) ----------- */

/*
 *   (a message reaches nobody) -> ASKED --(archived: so many wait)--> authd publishes, QUIET
 *   QUIET --(a message)--> OWED --(push interval is over)--> ASKED
 *   QUIET --(push interval is over, or a client is back)--> forgotten
 */
void push_owe(struct slice account, uint64_t archive_id);
/* A stored message for an account is delivered. account, taker: NULL when it has no session, or when
 * no one of them has the address. */
void push_stored(const struct account *account, const struct session *taker, struct slice jid,
    uint64_t archive_id);
/* A session is left with stored stanzas that its client does not have, perhaps. */
void push_left(const struct account *account);
void push_counted(struct peer *archived, const struct frame *f);     /* PUSH */
void push_away(struct session *s, const struct frame *f);            /* SESSION_AWAY */
void push_answered(const struct frame *f);     /* an answer to one of our domains */
void push_configure(const struct config *config);
void push_tick(void);
bool push_waiting(void);                       /* for a tick */
void push_gauges(void);

/* -- presence.c -------------------------------------------------------------------------------- */

void presence_broadcast(struct session *s, const struct frame *f); /* no `to` */
void presence_directed(struct session *s, const struct frame *f);  /* available, unavailable, probe */
void presence_deliver(const struct frame *f);                      /* to a local account */
void presence_gone(struct session *s);                             /* the session ends */
/* A contact elsewhere hears that it may see an account's presence: it follows. */
void presence_granted(const struct frame *f);
/* Shows the presence of a session to another, or that it is gone. */
void presence_show(const struct session *s, struct session *to, bool shown);
void presence_withdraw(const struct session *s, struct slice to); /* from an address */
void presence_changed(struct account *account, struct slice contact, unsigned before, unsigned now);

/* -- request.c: requests that the router answers, and who answers the others ------------------- */

void request_account(const struct frame *f, struct session *sender, struct slice account);
void request_server(const struct frame *f, struct session *sender);
void request_start(void);
bool request_serves(struct slice ns); /* whether the router itself answers this namespace */

/* -- disco.c: service discovery (XEP-0030), entity capabilities of the server (XEP-0115) -------- */

void disco_info_server(const struct frame *f, struct session *sender);
void disco_items_server(const struct frame *f, struct session *sender);
void disco_info_account(const struct frame *f, struct session *sender);
void disco_items_account(const struct frame *f, struct session *sender);
/* Answers disco#info with a node; false when there is no such node. */
bool disco_node_server(const struct frame *f, struct session *sender);
void disco_changed(void);                       /* what is said of the server may be something else */
void disco_caps_send(struct peer *peer);        /* to a c2sd: what was announced last */
void disco_flush(void);                         /* announces what has changed */

/* -- serverinfo.c: contact addresses of a domain (XEP-0157) ------------------------------------ */

void serverinfo_configure(const struct config *config); /* instead of what was set before */
void serverinfo_add(struct slice domain, struct buf *out); /* the data form, if there is anything */
void serverinfo_ver(struct slice domain, struct buf *out); /* its part of a verification string */

/* -- control.c: administration ----------------------------------------------------------------- */

void control_listen(int fd);
void control_reply(struct peer *peer, const struct frame *f); /* from a daemon */
void control_peer_gone(uint32_t incarnation);  /* whose commands are answered at once */
void control_tick(void);
void control_gauges(void);
bool control_waiting(void);                     /* for a tick */
void control_process(const struct process_message *message);
extern const struct command router_commands[];
/* Calls each() for every command there is: its words, its arguments, what it does. */
typedef void (*control_command)(void *arg, struct slice name, struct slice arguments,
    struct slice help);
void control_each(control_command each, void *arg);
/* Runs a command (words, a line each) and calls done(), at once or later: problem is absent, or says
 * why it failed. result is borrowed. */
typedef void (*control_done)(void *arg, struct slice problem, json_t *result);
void control_run(struct slice text, control_done done, void *arg);

/* -- adhoc.c: commands of administrators' clients (XEP-0050, XEP-0133) -------------------------- */

void adhoc_configure(const struct config *config);
void adhoc_command(const struct frame *f, struct session *sender);      /* iq set */
/* disco#info and disco#items with a node; false when there is no such node. */
bool adhoc_info(const struct frame *f, struct session *sender);
bool adhoc_items(const struct frame *f, struct session *sender);
/* Whether a request to a domain that is mucd's is about commands, which are answered here; and the answer. */
bool adhoc_serves(const struct frame *f, const struct session *sender);
void adhoc_serve(const struct frame *f, struct session *sender);
void adhoc_gauges(void);

/* -- adhoc_form.c: the XML of ad-hoc commands, without state ------------------------------------ */

#define ADHOC_FIELDS_MAX 8
#define ADHOC_VALUES_MAX 64   /* of a form that was submitted */
#define ADHOC_RESULT_MAX (128u << 10) /* bytes of a result, about */

struct adhoc_field {
	char var[32];
	const char *label, *type;
	bool required;
};

struct adhoc_form {
	const char *form_type; /* NULL: none */
	struct slice title;
	struct adhoc_field fields[ADHOC_FIELDS_MAX];
	size_t count;
};

enum adhoc_action { ADHOC_EXECUTE, ADHOC_COMPLETE, ADHOC_NEXT, ADHOC_PREV, ADHOC_CANCEL };

/* What a client has sent. */
struct adhoc_request {
	enum adhoc_action action;
	struct buf session;    /* its sessionid; empty: none */
	bool submitted;        /* with a form that is filled in */
	struct buf text;       /* secret: what the values point into */
	struct { size_t var, var_len, value, value_len; } values[ADHOC_VALUES_MAX];
	size_t count;
};

/* Reads a payload. Returns 0, or the condition of XEP-0050 that stands for what is wrong. */
const char *adhoc_request_read(struct slice payload, struct adhoc_request *r);
void adhoc_request_free(struct adhoc_request *r);
/* The i-th value of a field; false when there is none. */
bool adhoc_value(const struct adhoc_request *r, const char *var, size_t i, struct slice *value);
void adhoc_form_write(const struct adhoc_form *form, struct buf *out);
/* A result of a command: a table, fields, or a note. */
void adhoc_result_write(json_t *result, struct buf *out);
void adhoc_note_write(const char *type, struct slice text, struct buf *out);
/* Writes the end tag of an element whose content begins at this length of out; an empty one gets
 * the canonical form <name/>. */
void adhoc_close(struct buf *out, size_t content, const char *name);
/* Character data: what XML cannot have becomes a question mark. */
void adhoc_text_write(struct slice text, struct buf *out);

#endif
