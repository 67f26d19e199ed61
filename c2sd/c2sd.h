/*
 * c2sd.h: the private header of c2sd, grouped by file.
 *
 * A connection (conn) carries one stream; a bound stream has a session, which can outlive it. From
 * below to above, on what is in common/entry/: ticket, domain, features | conn, stream, sasl, authenticate,
 * sasl2, bind | session, feed, csi, presence, sessions, inbound, management, resume.
 */
#ifndef ALDIS_C2SD_H
#define ALDIS_C2SD_H

#include <sys/queue.h>

#include <gnutls/gnutls.h>
#include <uv.h>

#include "buf.h"
#include "daemon.h"
#include "deadline.h"
#include "frame.h"
#include "jid.h"
#include "key.h"
#include "listener.h"
#include "outqueue.h"
#include "sm.h"
#include "stanza.h"
#include "tls.h"
#include "transport.h"
#include "uplink.h"
#include "xml.h"

struct conn;
struct session;

/* -- settings.c: the configuration ------------------------------------------------------------- */

struct settings {
	struct xml_limits login_limits; /* before authentication */
	struct xml_limits limits;       /* afterwards */
	size_t login_bytes;
	unsigned login_attempts;
	uint64_t login_time, stanza_time, idle_time, resume_time; /* milliseconds */
	size_t queue_stanzas, queue_bytes, queue_total;
	char *tls_priority;
	bool client_state;
};

extern struct settings settings;

int settings_configure(const struct config *config);
/* The same while we run: limits hold from now on, streams of domains that are gone are closed. */
int settings_reconfigure(const struct config *config);

/* -- ticket.c: the key of TLS tickets ---------------------------------------------------------- */

void ticket_start(uv_loop_t *loop);
void ticket_refresh(void); /* authd is another: so is the key */
void ticket_mix(void);     /* certificates are others: no TLS session from before can be resumed */
/* False: there is none. It is valid until the next turn of the loop. */
bool ticket_key(gnutls_datum_t *key);

/* -- domain.c: the domains that clients may log in to ------------------------------------------ */

struct domain {
	char *name;                      /* canonical */
	char ascii[256];                 /* for SNI */
	struct certificate *certificate; /* NULL: none, no TLS */
	char *mechanisms;                /* " PLAIN SCRAM-SHA-1": NULL while unknown */
	char *fast;                      /* the same, of those that take a token (XEP-0484) */
	char *caps;                      /* its verification string (XEP-0115): NULL while unknown */
	bool registration;
	bool served;                     /* it is in the configuration */
};

int domains_configure(const struct config *config);   /* also while we run */
struct domain *domain_find(struct slice name);        /* canonical; NULL */
struct domain *domain_default(void);                  /* the first with a certificate; NULL */
/* The domain of a handshake: that of its SNI (absent: none), or the one of its stream (may be NULL),
 * or the first one; with a certificate in any case. In any thread. The caller gets a reference to
 * *certificate. Returns NULL when there is none. */
struct domain *domain_meant(struct slice sni, struct domain *of_stream,
    struct certificate **certificate);
/* A hash of all certificates: the same in all processes that have the same. */
#define DOMAINS_DIGEST 32
void domains_digest(unsigned char digest[DOMAINS_DIGEST]);
void domains_mechanisms(struct slice lines);          /* MECHANISMS has come; absent: the last again */
void domains_forget_mechanisms(void);                 /* the router is gone */
void domains_caps(struct slice lines);                /* CAPS has come; absent: the last again */
/* Whether a domain offers a mechanism; binding: -PLUS may be used. */
bool domain_offers(const struct domain *domain, struct slice mechanism, bool binding);
/* The same for a mechanism that takes a token; bindings: enum feature_binding bits. */
bool domain_offers_fast(const struct domain *domain, struct slice mechanism, unsigned bindings);

/* -- features.c: what a stream offers. No input or output -------------------------------------- */

enum feature_binding { BINDING_EXPORTER = 1, BINDING_UNIQUE = 2, BINDING_ENDPOINT = 4 };

void features_starttls(struct buf *out);
/* What the stream is read within from now on (XEP-0478). */
struct feature_limits {
	size_t bytes;            /* of one element */
	uint64_t seconds;        /* of silence */
};

/* What a stream offers before authentication. */
struct feature_login {
	struct slice mechanisms; /* names with spaces between */
	struct slice fast;       /* the same, of those that take a token (XEP-0484) */
	unsigned bindings;       /* enum feature_binding bits */
	bool registration;
	bool client_state;       /* XEP-0352 */
	struct feature_limits limits;
};
/* version: what names this offer (XEP-0509): the same for the same, also in another process. */
#define FEATURES_VERSION 24
void features_login(struct buf *out, const struct feature_login *offer,
    char version[FEATURES_VERSION + 1]);
/* Whether a mechanism that takes a token can be used with these bindings. */
bool features_fast_fits(struct slice mechanism, unsigned bindings);
/* After authentication. bound: a resource is there already (XEP-0386); caps: the verification string of
 * the domain (XEP-0115), absent while unknown. */
void features_bound(struct buf *out, bool bound, struct slice caps,
    const struct feature_limits *limits, bool client_state);
/* What features_login() offers: names of mechanisms and, on a second line if there are any, of channel
 * bindings, with spaces between. */
void features_offered(struct buf *out, struct slice mechanisms, unsigned bindings);
/* The next word of a list of words; false at its end. */
bool features_word(struct slice *list, struct slice *word);

/* -- conn.c: the connection of a client --------------------------------------------------------- */

/*
 * What an XML stream goes through (RFC 6120 section 4.3):
 *
 *   HEADER -> STARTTLS -> TLS -> LOGIN_HEADER -> LOGIN <-> LOGIN_WAIT -> BIND_HEADER -> BIND
 *              direct TLS ^                                                              |
 *                                                 ENDED <- BOUND <- BIND_WAIT, RESUME_WAIT
 *
 * In the WAIT states the next word is that of authd or the router. A stanza is durable when its
 * frame has been acknowledged (see sm.c), nothing before BOUND is.
 */
enum stream_state {
	STREAM_HEADER, STREAM_STARTTLS, STREAM_TLS, STREAM_LOGIN_HEADER, STREAM_LOGIN,
	    STREAM_LOGIN_WAIT,
	STREAM_BIND_HEADER, STREAM_BIND, STREAM_BIND_WAIT, STREAM_RESUME_WAIT, STREAM_BOUND,
	STREAM_ENDED, STREAM_STATE_COUNT
};

/* What a stream needs until it is bound. */
struct login {
	size_t bytes;              /* read so far */
	unsigned failures;         /* of SASL, and of bind: wrong credentials */
	unsigned trials;           /* of SASL that failed for any reason */
	unsigned requests;         /* registration */
	char *invite;              /* the token that it has shown (XEP-0445), NULL: none */
	char *invite_id;           /* of the request with it, while that is not answered */
	uint64_t until;            /* daemon_ticks() at which it must be bound */
	char *jid;                 /* bare, granted */
	unsigned char token[32];   /* the grant */
	size_t token_len;
	char *bind_id;             /* of the bind request */
	char *resource;            /* asked for, NULL for one of ours */
	char *previd;              /* to be resumed, at another c2sd */
	uint32_t resume_h;
	struct session *arriving;  /* comes from another c2sd, or waits for its metadata */
	struct outqueue *later;    /* what has come for it meanwhile */
	bool features_owed;        /* MECHANISMS is not known yet */
	char version[FEATURES_VERSION + 1]; /* of the features that were sent, "" for none */
	char *from;                /* whom the header says it is: prepared, NULL for nobody */
	struct wishes *wishes;     /* of an exchange of SASL2 that is under way, else NULL */
};

struct conn {
	struct transport net;      /* its bytes: first */
	TAILQ_ENTRY(conn) choke;
	uint8_t stream;            /* enum stream_state */
	bool choked;               /* in the list of those that wait for room on the link */
	bool header_sent;
	bool direct;               /* TLS from the first byte */
	bool probed;               /* silence was answered with a probe */
	bool known;                /* handle is in the table of streams */
	struct xml_stream *xml;
	uint64_t probed_at;        /* net.sealed, when it was last probed */
	uint64_t stanza_began;     /* daemon_ticks(), 0: no stanza is being read */
	uint64_t handle;           /* names the stream until it is bound or resumed */
	struct domain *domain;
	struct login *login;       /* until BOUND */
	struct session *session;   /* from BOUND on */
	char *lang;                /* default language of the stream */
};

#define OUT_HIGH 65536u /* bytes of stanzas that are made ready at a time */

void conn_new(int fd, struct address *address, bool direct);
void conn_encrypt(struct conn *c);           /* begins the handshake */
void conn_ease(struct conn *c);              /* reads on, now or when the link has room */
void conns_ease(void);                       /* the link to the router has room again, perhaps */
static inline bool
conn_is_open(const struct conn *c)
{
	return c->net.state == TRANSPORT_OPEN;
}
static inline const char *
conn_address(const struct conn *c)
{
	return address_text(c->net.address);
}
static inline struct buf *
conn_out(struct conn *c)
{
	return transport_out(&c->net);
}
static inline void
conn_touch(struct conn *c)
{
	transport_touch(&c->net);
}
static inline uint64_t
conn_written(const struct conn *c)
{
	return transport_written(&c->net);
}
static inline void
conn_block(struct conn *c, bool blocked)
{
	transport_block(&c->net, blocked);
}
static inline void
conn_flush(struct conn *c)
{
	transport_flush(&c->net);
}
static inline void
conn_finish(struct conn *c)
{
	transport_finish(&c->net);
}
static inline void
conn_close(struct conn *c) /* *c lives until the loop has let go of it */
{
	transport_close(&c->net);
}

/* -- stream.c: RFC 6120 streams ---------------------------------------------------------------- */

extern const struct xml_events stream_events;

void stream_begin(struct conn *c, uint64_t login_time);
/* Ends the stream with an error (RFC 6120 section 4.9) and the session with it. extra: more XML
 * in the error element, may be NULL. */
void stream_error(struct conn *c, const char *condition, const char *text, const char *extra);
/* The same, but leaves the session to whoever calls. */
void stream_error_only(struct conn *c, const char *condition, const char *text, const char *extra);
void stream_secured(struct conn *c);
void stream_authenticated(struct conn *c);   /* expect a header again */
void stream_features(struct conn *c, bool bound); /* those after authentication */
void stream_granted(struct conn *c);         /* the same, but no header follows (SASL2) */
void stream_bound(struct conn *c);           /* login is over */
void stream_lost(struct conn *c, const char *why); /* the connection is gone */
void stream_due(struct conn *c);             /* its deadline */
void stream_rearm(struct conn *c);           /* sets the deadline of a bound stream */
void stream_feed(struct conn *c, struct slice bytes); /* bytes that were read */
void streams_mechanisms(void);               /* MECHANISMS has come: features that are owed */
void streams_configured(void);               /* domains may be gone */
void streams_router_gone(void);
void streams_router_back(void);
/* Streams by handle, from authentication on until they are bound. */
struct conn *stream_find(uint64_t handle);
void stream_know(struct conn *c);
void stream_forget(struct conn *c);
uint64_t handle_new(void);

/* -- sasl.c: RFC 6120 section 6, relayed to authd ---------------------------------------------- */

void sasl_element(struct conn *c, const struct xml_element *element);
void sasl_frame(struct conn *c, const struct frame *f); /* AUTH_CHALLENGE, AUTH_SUCCESS,
    AUTH_FAILURE */
void sasl_drop(struct conn *c);                         /* the stream is gone: nothing is said */
void sasl_abandon(struct conn *c);                      /* the client is told */
unsigned sasl_bindings(struct conn *c);                 /* enum feature_binding bits */
/* An exchange, in either profile: how it begins (response absent: none), goes on, and fails. text is
 * base64. After sasl_fail() the stream may have ended. */
void sasl_start(struct conn *c, struct slice mechanism, struct slice response);
void sasl_respond(struct conn *c, struct slice text);
void sasl_abort(struct conn *c);
void sasl_fail(struct conn *c, const char *condition, struct slice text);
/* Decodes base64 without white space. Returns 0 or E_MALFORMED; the caller frees data, which is
 * secret, in any case. */
int sasl_decode(struct slice text, struct buf *data);
void sasl_encode(struct buf *out, struct slice data); /* appends base64 */
/* Sends AUTH_STEP for the exchange that is under way; name: of a task, or absent. */
void sasl_step(struct conn *c, struct slice name, struct slice data);
/* The client says what it must not in the middle of an exchange: that ends. */
void sasl_confused(struct conn *c, const char *condition);

/* -- authenticate.c: what a client says with <authenticate/> (XEP-0388). No input or output ----- */

#define UUID_LEN 36

/* Where a task stands (XEP-0480): authd has offered one, and it has sent a salt for it. */
enum sasl2_task { TASK_NONE, TASK_OFFERED, TASK_BEGUN };

struct wishes {
	struct buf data;          /* the initial response */
	bool has_data;
	char agent[UUID_LEN + 1]; /* id of the client's installation, "" without one */
	char *software, *device;  /* its own words, NULL for none */
	bool bind;                /* a resource (XEP-0386), */
	char *tag;                /* of which this is a part; NULL for nothing */
	bool carbons;             /* that gets copies of messages (XEP-0280), */
	bool inactive;            /* whose client nobody looks at (XEP-0352), */
	bool enable;              /* with stream management, */
	bool enable_resume;       /* that can be resumed, */
	uint64_t enable_max;      /* for so many seconds at most */
	struct buf tasks;         /* names of those that it would do (XEP-0480) */
	unsigned task_names;
	uint8_t task;             /* enum sasl2_task */
	bool fast;                /* it has a token (XEP-0484), */
	bool invalidate;          /* which is to end, */
	uint64_t count;           /* and uses it so many times; 0: it does not say */
	char *wanted;             /* the mechanism for which it wants one, NULL for none */
	char *version;            /* of the features that it has in mind (XEP-0509), NULL for none, */
	bool mismatch;            /* which are others now */
	bool resume;              /* a session resumed (XEP-0198), before all this: */
	char *previd, *h;         /* as it was written, NULL for nothing */
	const char *unresumed;    /* that has failed: a condition */
	struct buf final;         /* additional data of authd with success, until that is said */
	bool has_final;
	struct buf token;         /* the new one, and when it expires, likewise */
	uint64_t token_expiry;
};

struct wishes *wishes_new(void);
void wishes_free(struct wishes **wishes);
/* NULL, or the condition of a failure (RFC 6120 section 6.5). */
const char *authenticate_read(const struct xml_element *element, struct wishes *w);
/* What <task-data/> says: the base64 in its <hash/>. Returns 0 or E_MALFORMED; the caller frees data, which
 * is secret, in any case. */
int task_data_read(const struct xml_element *element, struct buf *data);
/* Whether text is a UUID of version 4 (RFC 9562); uuid: the same in lower case. */
bool uuid_read(struct slice text, char uuid[UUID_LEN + 1]);

/* Makes a resource for this account: <tag>/<word>, where the word is the same whenever the same
 * installation of a client binds, and tells nothing of its id. */
void wishes_resource(const struct wishes *w, struct slice account, struct buf *resource);

/* -- sasl2.c: XEP-0388, on top of sasl.c ------------------------------------------------------- */

void sasl2_element(struct conn *c, const struct xml_element *element);
void sasl2_granted(struct conn *c, const struct frame *f); /* AUTH_SUCCESS */
/* What was wished for is done, or not: <success/> is written, with all of that. */
void sasl2_bound(struct conn *c, struct session *s, struct slice metadata);
void sasl2_unbound(struct conn *c, struct slice condition);
void sasl2_resumed(struct conn *c, const struct session *s);
void sasl2_unresumed(struct conn *c, const char *condition);
void sasl2_challenge(struct conn *c, const struct frame *f); /* AUTH_CHALLENGE */
/* <failure/>, and the wishes are gone. */
void sasl2_failure(struct conn *c, const char *condition, struct slice text);

/* -- bind.c: resource binding, and requests before authentication ------------------------------ */

/* The resource that a bind request asks for, prepared into JID_PART_MAX + 1 bytes. Returns 0 with
 * *resource, absent when it leaves the choice to us, or an error. No input or output. */
int bind_resource(const struct xml_element *element, struct buf *scratch, char *prepared,
    struct slice *resource);
void bind_element(struct conn *c, const struct xml_element *element);   /* in BIND */
void bind_answer(struct conn *c, const struct frame *f); /* SESSION_BOUND, SESSION_REFUSED */
void bind_done(struct conn *c, struct session *s); /* the client was told */
void bind_ask(struct conn *c);                                          /* again, of a new router */
void register_element(struct conn *c, const struct xml_element *element); /* iq in LOGIN */
void register_answer(struct conn *c, const struct frame *f);

/* -- metadata.c: of the archive, at the time of binding -------------------------------------------- */

void metadata_ask(struct conn *c, struct session *s); /* then the client is told that it is bound */
bool metadata_answer(struct session *s, const struct frame *f); /* whether it is that */
void metadata_late(struct session *s);

/* -- csi.c: XEP-0352, what is held back from inactive clients ---------------------------------- */

struct csi;

struct csi *csi_new(void);
bool csi_takes(const struct frame *f); /* whether it is held back */
/* Holds a stanza, instead of an earlier one of the same sender; takes over the reference to kept. */
void csi_add(struct csi *csi, const struct frame *f, struct kept *kept);
void csi_flush(struct csi *csi, struct outqueue *q); /* all of it goes into the queue, in order */
size_t csi_bytes(const struct csi *csi);             /* of what is held; NULL: none */
void csi_gauges(void);
/* A stanza for an inactive session: true when it is held, false when it may go on behind all that was. */
bool csi_hold(struct session *s, const struct frame *f, struct kept **kept);
void csi_begin(struct session *s);                   /* its client is inactive */
void csi_end(struct session *s);                     /* it is active */
void csi_element(struct conn *c, const struct xml_element *element);

/* -- presence.c: what a new router must be told of a session's presence ------------------------ */

struct presence {
	struct buf broadcast;  /* the last one, a written frame; empty: unavailable */
	char **directed;       /* addresses, NUL-terminated */
	uint32_t count, room;
};

#define DIRECTED_MAX 500

/* Takes note of a presence that the client sends; *presence is made when it must be. */
void presence_note(struct presence **presence, const struct frame *f);
/* Sets the fields of SESSION_REPLAY and SESSION_MOVE; text gets the addresses, each a line after
 * prefix. */
void presence_tell(const struct presence *presence, struct frame *f, const char *prefix,
    struct buf *text);
/* A room has removed who has sent presence to this address, or has not let it in. */
void presence_refused(struct presence *presence, struct slice address);
void presence_add_directed(struct presence **presence, struct slice address);
void presence_free(struct presence **presence);

/* -- feed.c: where a session is in what was stored. No input or output -------------------------- */


/* The archive's id of a message, or of that of which this is a copy; 0: it is not stored. */
uint64_t feed_id(const struct frame *f);
void feed_seen(uint64_t id);     /* what was stored up to this id has come to sessions that are not fed */
uint64_t feed_level(const struct session *s); /* what was stored up to this id has come */
void feed_from(struct session *s, uint64_t level); /* it is fed, and has all up to there */
void feed_pause(struct session *s);           /* SESSION_PAUSE is sent */
void feed_ask(struct session *s, struct frame *f); /* writes SESSION_DRAIN */
/* Whether something stored is taken; else it comes again after SESSION_DRAIN, in its order. over: there is no
 * more room. */
bool feed_takes(struct session *s, const struct frame *f, bool over);
void feed_frame(const struct frame *f);       /* SESSION_FEED */

/* -- room.c: what rooms say -------------------------------------------------------------------- */

/* Whether a stanza of a room is new to a session; its place is behind it then. */
bool room_takes(struct session *s, const struct frame *f);
void room_seen(const struct frame *f);        /* STANZA, HISTORY_END: given to all its sessions */
void room_report(void);                       /* TAKEN, at the end of an iteration */
void room_router_gone(void);

/* -- session.c: bound sessions ----------------------------------------------------------------- */

/*
 *   ATTACHED <-> DETACHED     the connection broke, session management lets it be resumed
 *      |            |
 *   LEAVING  <------+         another c2sd has asked for it; waits until its frames are taken
 *      |
 *   MOVED                     gone; what still comes for it is passed on for a while
 *
 *   ARRIVING -> ATTACHED      comes from another c2sd
 *
 *   any -> ENDED              kept until all its frames are taken, since the router takes them only
 *                             from a session that it knows; then SESSION_END is sent
 */
enum session_state {
	SESSION_ATTACHED, SESSION_DETACHED, SESSION_LEAVING, SESSION_MOVED, SESSION_ARRIVING,
	SESSION_ENDED
};

struct session {
	struct uplink_sender sender; /* first */
	uint64_t handle;
	struct conn *conn;           /* in ATTACHED */
	uint8_t state;
	bool interested;             /* asked for the roster */
	bool carbons;                /* wants copies of messages */
	bool blocks;                 /* asked for the block list */
	bool paused;                 /* SESSION_PAUSE was sent */
	bool skipped;                /* and a stored message was left to archived, as are those behind, until
	                                the last SESSION_DRAIN is answered */
	bool fed;                    /* what is stored does not come at once: level counts */
	bool away;                   /* SESSION_AWAY was sent: it has no connection */
	uint16_t bare_len;
	uint16_t jid_len;
	uint32_t delivering;         /* DELIVERED that are not acknowledged */
	uint64_t undelivered;        /* stanzas that it was left with, in ENDED */
	char *why;                   /* it has ended */
	uint32_t resume_seconds;
	uint32_t arrived_written;    /* in ARRIVING: how many of its stanzas the client may have */
	char *jid;                   /* full */
	char *sm_id;                 /* NULL: not resumable */
	char *lang;
	unsigned char token[32];     /* its grant */
	unsigned char first_token[32]; /* that of the stream with which it began, elsewhere perhaps */
	struct presence *presence;
	struct sm sm;
	struct outqueue queue;
	struct csi *csi;             /* its client is inactive; NULL: active */
	struct deadline deadline;    /* of DETACHED, LEAVING and MOVED */
	uint64_t level;              /* fed: what was stored up to this id has come. UINT64_MAX: not known */
	uint64_t room_number;        /* what rooms say: its place, the last that it has got */
	uint64_t room_id;            /* and of a history the archive id; UINT64_MAX: no history */
	uint64_t copies_since;       /* copies of what was stored after this id have come */
	uint32_t drains;             /* SESSION_DRAIN that were sent */
	uint64_t moved_to;           /* handle, in LEAVING and MOVED; in DETACHED of who waits for it */
};

struct session *session_new(uint64_t handle, struct slice jid, const unsigned char token[32]);
struct session *session_find(uint64_t handle);
struct session *session_each(size_t *at); /* the next; *at is 0 before the first; NULL: none */
struct session *session_by_sm_id(struct slice id);
void session_name(struct session *s, struct slice sm_id); /* makes it resumable by this SM-ID */
void session_attach(struct session *s, struct conn *c);
void session_set_state(struct session *s, enum session_state state);
void session_forget_name(struct session *s);
/* Takes the connection away, which goes on to close. */
void session_part(struct session *s);
/* Ends it: undelivered requests are answered, the router is told. *s may be freed. */
void session_end(struct session *s, const char *why);
void session_free(struct session *s);
bool session_is_settled(const struct session *s); /* nothing of it waits to be taken */
void session_settle(struct session *s);    /* goes on when it is; *s may be freed */
/* The connection of a session is gone. properly: the stream was closed by both. */
void session_lost(struct session *s, bool properly, const char *why);
/* A stanza for it. kept: shared by all receivers of a frame, made by the first that needs it. */
void session_deliver(struct session *s, const struct frame *f, struct kept **kept);
void session_write(struct session *s);          /* from its queue to its connection */
void session_taken(struct session *s, uint64_t mark); /* the kernel has taken the stream so far */
void session_acknowledge(struct session *s, uint32_t count); /* the client has */
void session_limits(struct session *s);         /* SESSION_PAUSE, SESSION_DRAIN */
void session_ease(struct session *s);           /* reads on when it may */
void session_make_room(void);                   /* all queues together hold too much, perhaps */
/* Tells the router whether a client reads what this session is sent. waiting: stored stanzas that the
 * client has not acknowledged. */
void session_tell_away(struct session *s, bool away, uint64_t waiting);
/* A stored message is delivered: it comes off the spool. */
void session_report(struct session *s, uint64_t archive_id);
/* A stanza from a session to the router. Returns 0, or E_TOO_BIG. */
int session_send(struct session *s, struct frame *f);
void session_handled(struct session *s);        /* a stanza of its client was handled here */
bool sessions_may_move(void);                   /* whether one more may go to another c2sd */
/* Adds what has come for an arriving session to its queue. */
void session_take_later(struct session *s, struct outqueue **later);
void sessions_gauges(void);
static inline struct slice
session_jid(const struct session *s)
{
	return slice_of(s->jid, s->jid_len);
}
static inline struct slice
session_bare(const struct session *s)
{
	return slice_of(s->jid, s->bare_len);
}

/* -- sessions.c: what the router says to them, and all of them --------------------------------- */

void sessions_replay(void);                     /* to a new router */
void sessions_resent(void);                     /* after custody was sent again */
void sessions_configured(void);                 /* domains may be gone */
void sessions_stanza(const struct frame *f);    /* STANZA from the router */
void sessions_reported(uint64_t handle);        /* a report of delivery was taken */
void session_kill(const struct frame *f);       /* SESSION_KILL */

/* -- inbound.c: stanzas from clients ----------------------------------------------------------- */

void inbound_element(struct conn *c, const struct xml_element *element);

/* What is wrong with a stanza, or what it is. */
enum inbound_verdict { INBOUND_FINE, INBOUND_ERROR, INBOUND_STREAM_ERROR, INBOUND_DROP };
/* Turns an element into a frame, for a session with these addresses. to: JID_MAX + 1 bytes for
 * the prepared address. Sets *error for INBOUND_ERROR, *condition for INBOUND_STREAM_ERROR. No
 * input or output. */
enum inbound_verdict inbound_frame(const struct xml_element *element, struct slice full,
    struct slice bare, struct slice lang, char *to, struct frame *f, enum stanza_error *error,
    const char **condition);

/* -- management.c: the elements of XEP-0198 on a bound stream ---------------------------------- */

void management_element(struct conn *c, const struct xml_element *element);
/* Writes <a/> and <r/> that are due; late: also those that have waited. */
void management_write(struct session *s, bool late);
/* Enables it for a session, with <enabled/>; max: seconds that a client wants to have at most. */
void management_enable(struct session *s, bool resume, uint64_t max, struct buf *out);
/* What the attributes of <enable/> say; absent: SLICE_NONE. */
void management_wanted(struct slice resume_text, struct slice max_text, bool *resume,
    uint64_t *max);
void management_failed(struct conn *c, const char *condition, bool known, uint32_t h);
struct slice element_attribute(const struct xml_element *element, const char *name);
/* The client acknowledges more than was sent: ends the stream. */
void management_too_high(struct conn *c, uint32_t h, uint32_t sent);
/* An h from the client; false: the stream was ended with an error. */
bool management_acknowledge(struct conn *c, struct session *s, uint32_t h);

/* -- resume.c: XEP-0198 section 5, here and with other c2sd ------------------------------------ */

/* The handle in an SM-ID: that of the session when it was made; 0 when it is no SM-ID. */
uint64_t resume_handle(struct slice id);
void resume_element(struct conn *c, const struct xml_element *element); /* <resume/> */
void resume_begin(struct conn *c, struct slice previd, struct slice h); /* its attributes */
void add_resumed(struct buf *out, const struct session *s); /* <resumed/> */
void resume_ask(struct conn *c); /* the c2sd that holds it; again, of a new router */
void resume_attach(struct conn *c, struct session *s, uint32_t h);
void resume_taken(struct session *s); /* all frames of a detached session were taken */
void resume_asked(const struct frame *f);           /* SESSION_RESUME from the router */
void resume_leave(struct session *s); /* in LEAVING: its frames are taken */
void resume_late(struct session *s);  /* the time to resume it is over */
void resume_moved(const struct frame *f);           /* SESSION_MOVE from the router */

#endif
