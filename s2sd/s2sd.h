/*
 * s2sd.h: the private header of s2sd, grouped by file.
 *
 * A remote domain (remote) is another server's, or that of an external component; what is for it goes by a
 * path from one of our domains, which has a stream while the connection lasts. From below to above, on what
 * is in common/entry/: domain, policy | stream | traffic | component, incoming, outgoing | remote, path.
 */
#ifndef ALDIS_S2SD_H
#define ALDIS_S2SD_H

#include <sys/queue.h>

#include <gnutls/gnutls.h>
#include <uv.h>

#include "attempt.h"
#include "buf.h"
#include "daemon.h"
#include "dialback.h"
#include "deadline.h"
#include "frame.h"
#include "jid.h"
#include "key.h"
#include "listener.h"
#include "ns.h"
#include "outqueue.h"
#include "rate.h"
#include "resolve.h"
#include "sm.h"
#include "stanza.h"
#include "tls.h"
#include "transport.h"
#include "uplink.h"
#include "verify.h"
#include "xml.h"

struct path;
struct remote;
struct stream;

/* -- settings.c: the configuration ------------------------------------------------------------- */

struct settings {
	struct xml_limits login_limits; /* before it is known who speaks */
	struct xml_limits limits;       /* afterwards */
	uint64_t login_time, stanza_time, idle_time, close_time; /* milliseconds; close_time 0: never */
	size_t queue_stanzas, queue_bytes, queue_total;
	size_t domain_streams;
	uint64_t domain_stanzas, domain_bytes; /* a second; 0: any */
	bool federation;
	bool dialback;                  /* where no peer says otherwise, like the next two */
	uint8_t ocsp_fetch;             /* enum ocsp_fetch */
	char *ocsp_responder;           /* "": that in the certificate */
	char *tls_priority;
};

extern struct settings settings;

int settings_configure(const struct config *config);
int settings_reconfigure(const struct config *config);

/* -- domain.c: the domains that are served here -------------------------------------------------- */

struct domain {
	char *name;                      /* canonical */
	char ascii[256];                 /* for SNI */
	struct certificate *certificate; /* its own; NULL: none */
	struct certificate *lent;        /* without one: another domain's that names it; NULL: none */
	char *title;                     /* of a component: what service discovery says; else NULL */
	enum role role;                  /* who serves it: ROLE_AUTHD: it has accounts, ROLE_S2SD: a component */
	bool served;                     /* it is in the configuration, or its daemon has it */
	bool alone;                      /* other servers have no part in it */
};

int domains_configure(const struct config *config); /* also while we run */
void domains_of(const struct frame *f);             /* DOMAINS */
struct domain *domain_find(struct slice name);      /* canonical, one that other servers may reach; NULL */
bool domain_is_here(struct slice name);             /* canonical: whether it is served here, by whomever */
struct domain *domain_first(void);                  /* with accounts */
bool domain_is_certified(const struct domain *domain); /* it has a certificate to show */
struct domain *component_find(struct slice name);   /* canonical, of a component; NULL */
/* For a handshake, in any thread: a reference to the certificate of the domain in this SNI (absent:
 * none), of this domain (may be NULL), or of the first one; NULL when there is none. */
struct certificate *domain_certificate(struct slice sni, const struct domain *domain);
/* Adds the lines of HELLO: the domains that we serve, and which of them are for this server alone. */
void domains_register(struct buf *text);

/* -- policy.c: what the administrator wants of other servers ------------------------------------ */

#define POLICY_ADDRESSES 8

/* Whether the authority of a certificate is asked about it, when no response was stapled. */
enum ocsp_fetch {
	OCSP_OFF,
	OCSP_TRY,     /* no answer is as good as none asked for */
	OCSP_REQUIRE, /* no good answer, no good certificate */
};

struct policy {
	char *name;       /* a domain, or "*.example.net" */
	bool refuse;
	bool dialback;    /* it may prove its domain by dialback */
	bool direct_tls;
	uint8_t ocsp_fetch;   /* enum ocsp_fetch */
	char *ocsp_responder; /* the http URL to ask; "": that in the certificate */
	char *addresses[POLICY_ADDRESSES]; /* "192.0.2.1:5269"; NULL: no more */
};

void policies_configure(const struct config *config);
/* What holds for a domain: that of the longest name that fits it, or what holds for all. */
const struct policy *policy_of(struct slice domain);
/* Reads "off", "try", "require"; otherwise is what was given. */
enum ocsp_fetch ocsp_fetch_read(struct slice text, enum ocsp_fetch otherwise);

/* -- stream.c: XML streams between servers, and of components (RFC 6120 section 4) --------------- */

enum stream_kind { STREAM_INCOMING, STREAM_OUTGOING, STREAM_COMPONENT, STREAM_KIND_COUNT };

/*
 *   HEADER -> FEATURES ... what incoming.c, outgoing.c and component.c make of it -> READY -> ENDED
 */
enum stream_state {
	STREAM_HEADER,    /* the peer's header is expected */
	STREAM_NEGOTIATE, /* it has come: features, STARTTLS, authentication */
	STREAM_READY,     /* stanzas may be sent */
	STREAM_ENDED
};

/* A remote domain that has proven on a stream that it is one end of it, and our domain at the other. */
struct proof {
	LIST_ENTRY(proof) of_stream;
	LIST_ENTRY(proof) of_remote;
	struct stream *stream;
	struct remote *remote;
	struct domain *local; /* NULL: all of them (components) */
};

struct stream {
	struct transport net;    /* its bytes: first */
	LIST_ENTRY(stream) all;
	TAILQ_ENTRY(stream) choke;
	uint8_t kind;            /* enum stream_kind */
	uint8_t state;           /* enum stream_state */
	bool choked;             /* waits for room on the link */
	bool checking;           /* nothing is read until its certificate is checked */
	bool unheard;            /* it does not read our answers: we do not read it */
	uint64_t rest;           /* daemon_ticks() until which it is not read; 0: it is */
	uint64_t used;           /* daemon_ticks() of the last stanza */
	bool header_sent;
	bool direct;             /* TLS from the first byte */
	bool secured;            /* TLS is there */
	bool authenticated;      /* the headers of this time are the last ones */
	bool probed;             /* silence was answered with a probe */
	bool once;               /* the peer tells by their ids what comes twice (once.c) */
	struct xml_stream *xml;
	struct domain *domain;   /* ours: that of its `to` (incoming), or whom it is from (outgoing) */
	char *remote;            /* the other side's, as it says (prepared); NULL: unknown */
	char *id;                /* of the stream: ours, or the peer's when we are the initiator */
	char *lang;
	uint64_t until;          /* daemon_ticks() at which it must be READY */
	uint64_t stanza_began;   /* daemon_ticks(), 0: no stanza is being read */
	uint64_t probed_at;      /* net.sealed, when it was last probed */
	LIST_HEAD(, proof) proofs;
	struct path *path;       /* whose stanzas are written to it; NULL: none */
	struct sm sm;
	LIST_HEAD(, question) questions; /* of callback.c */
	LIST_HEAD(, key_job) jobs;       /* the same */
	void *negotiation;       /* of incoming.c, outgoing.c or component.c, which free it in lost() */
};

/* What a kind of stream does. */
struct stream_role {
	const char *ns;          /* content namespace */
	/* The peer's header has come and is well-formed; ours was sent if it is an answer. */
	void (*header)(struct stream *s, const struct xml_header *header);
	void (*element)(struct stream *s, const struct xml_element *element); /* in NEGOTIATE */
	void (*connected)(struct stream *s);
	void (*secured)(struct stream *s);
	void (*fed)(struct stream *s);  /* all bytes that came were read, and no element is unfinished */
	void (*lost)(struct stream *s, const char *why);
};
extern const struct stream_role incoming_role, outgoing_role, component_role;

/* Takes over the socket and the reference to address. NULL: it could not be taken, all was dropped.
 * connecting: connect(2) is under way, stream_connected() follows. */
struct stream *stream_new(enum stream_kind kind, int fd, struct address *address, bool connecting);
/* Sends our header: with an id of its own when it is an answer. to: prepared, may be absent. */
void stream_header(struct stream *s, struct slice from, struct slice to);
void stream_restart(struct stream *s);     /* a new header is expected */
/* From now on stanzas may be sent; the peer is who it says. */
void stream_ready(struct stream *s);
#define PROOFS_MAX 256u /* of one stream */

/* Notes that a remote domain has proven itself on a stream; local may be NULL: for all domains. Returns false
 * when there are too many on it, or the domain has too many streams. */
bool stream_prove(struct stream *s, struct remote *remote, struct domain *local);
/* The proof that covers a stanza with these domains; NULL: none. */
struct proof *stream_proof(const struct stream *s, struct slice from, struct slice to);
/* Ends the stream with an error (RFC 6120 section 4.9). text: may be NULL. */
void stream_error(struct stream *s, const char *condition, const char *text);
/* extra: an element that says more, written as it is. */
void stream_error_with(struct stream *s, const char *condition, const char *text, const char *extra);
void stream_finish(struct stream *s, const char *why); /* </stream:stream>, and the rest */
void stream_lose(struct stream *s, const char *why);   /* at once */
bool stream_is_open(const struct stream *s);           /* it can be written to */
void stream_ease(struct stream *s);                    /* reads on, unless something is in the way */
struct buf *stream_out(struct stream *s);
/* Adds what an error of the peer says: its condition, and ": " and its text if there is one. */
void peer_said(const struct xml_element *element, struct buf *out);
void stream_encrypt(struct stream *s, const struct tls_settings *how); /* secured() or lost() follows */
void stream_rearm(struct stream *s);
void streams_ease(void);                   /* the link to the router has room again, perhaps */
void streams_gauges(void);
void streams_configured(void);             /* domains may be gone */
size_t stream_count(enum stream_kind kind);

/* -- check.c: DNS, trust, and what happened: what both kinds of streams between servers need --------- */

extern struct resolver *resolver;
extern struct attempts *history;

/* Reads all files. Before the lock-down. */
int checks_configure(const struct config *config);
int checks_start(uv_loop_t *loop);
void checks_gauges(void);

/* Verifies on a thread of the pool that the peer of a stream is this domain's server. candidate: by which
 * it was found; NULL: the peer came to us. attempt: gets the steps of asking its authority. done() follows, unless
 * it is cancelled. */
struct check;
struct check *check_begin(struct stream *s, struct attempt *attempt, struct slice domain,
    const struct candidate *candidate, void (*done)(struct stream *s, const struct verify_result *result));
void check_cancel(struct check **check);
/* By DANE where there is any, else by PKIX (RFC 7673 section 4). */
bool check_is_good(const struct verify_result *result);
/* Why not: the reason of what has failed. */
const char *check_reason(const struct verify_result *result);
/* Tells the history of it, and of TLS. */
void check_report(struct attempt *attempt, const struct stream *s, const struct verify_result *result);

/* Adds the child elements of <features/>, of which these are of interest. */
struct features {
	bool starttls, external, dialback, bidi, sm, once;
};
void features_read(const struct xml_element *element, struct features *features);

/* -- traffic.c: stanzas and acknowledgements on a stream that is READY --------------------------- */

#define OUT_HIGH 65536u /* bytes of stanzas that are made ready at a time */

void traffic_element(struct stream *s, const struct xml_element *element);
/* Writes <a/> and <r/> that are due; late: also those that have waited. */
void traffic_write(struct stream *s, bool late);
/* Writes one stanza. */
void traffic_stanza(struct stream *s, const struct frame *f);
/* A frame of a remote domain was taken: streams that have it go on. */
void traffic_taken(struct stream *s, uint64_t seq);

/* -- once.c: messages that are stored once though they come twice. No input or output ------------- */

#define ONCE_FEATURE "<once xmlns='" NS_ONCE "'/>"

/* Writes the payload of a stored message with the element that names it. */
void once_add(const struct frame *f, struct buf *payload);
/* Takes that element out of a payload; *payload may point into scratch then. Returns whether there was one,
 * and its id. */
bool once_take(struct slice *payload, struct buf *scratch, char token[ONCE_SIZE]);

/* -- remote.c: remote domains, as the router knows them ----------------------------------------- */

struct remote {
	struct uplink_sender sender; /* first */
	uint64_t handle;
	char *name;                  /* canonical */
	bool component;
	struct rate rate;            /* at which its stanzas come */
	bool paused;                 /* SESSION_PAUSE was sent */
	bool killed;                 /* the router does not want it */
	uint32_t untaken;            /* frames in custody */
	uint32_t delivering;         /* reports that are not acknowledged */
	LIST_HEAD(, proof) proofs;
	LIST_HEAD(, path) paths;
	struct deadline deadline;    /* at which it ends when there is nothing to it */
	struct deadline relief;      /* while it is paused: of the next look whether it has room */
};

struct remote *remote_find(struct slice name);
struct remote *remote_get(struct slice name);       /* made when there is none, and told to the router */
/* A stanza of it for the router. Returns 0 with its number and length, or E_TOO_BIG. */
int remote_send(struct remote *remote, struct frame *f, uint64_t *seq, size_t *len);
/* Answers a stanza that cannot be delivered with an error; a stored one is given up for good. */
void remote_bounce(struct remote *remote, const struct frame *f, enum stanza_error error,
    const char *text);
void remote_settle(struct remote *remote);          /* something of it has ended: perhaps all has */
void remote_limits(struct remote *remote);          /* SESSION_PAUSE, SESSION_DRAIN */
void remote_drain(struct remote *remote);           /* wants all of its spool once more */
void remote_draining(const struct frame *f);        /* SESSION_DRAIN from the router */
void remotes_stanza(const struct frame *f);         /* STANZA from the router */
void remotes_waiting(const struct frame *f);        /* REMOTE_WAITING */
void remote_kill(const struct frame *f);            /* SESSION_KILL */
void remote_reported(uint64_t handle);
void remotes_replay(void);
void remotes_each(void (*each)(void *arg, struct remote *remote), void *arg);
void remotes_gauges(void);

/* -- path.c: from one of our domains to a remote one -------------------------------------------- */

/*
 *   IDLE -> TRYING -> UP -> (the stream has ended) -> DOWN -> TRYING ...
 *              |                                       ^
 *              +---------------(failed)----------------+
 */
enum path_state { PATH_IDLE, PATH_TRYING, PATH_UP, PATH_DOWN };

struct path {
	LIST_ENTRY(path) of_remote;
	struct remote *remote;
	char *local;              /* our domain; "" for a component: all */
	uint8_t state;            /* enum path_state */
	bool skipped;             /* stored messages were left to the spool */
	uint64_t row;             /* of a room, of which some receivers have had their stanza; 0: none */
	size_t row_had;           /* those whose line begins before this */
	struct outqueue queue;
	struct stream *stream;    /* in UP */
	struct outgoing *outgoing;/* in TRYING: of outgoing.c */
	unsigned failures;        /* one after the other */
	bool useful;              /* in UP: a stanza has reached the other server */
	bool hopeless;            /* in DOWN: it will not be better later */
	bool hurried;             /* has been tried before its time, and not got anything across since */
	enum stanza_error error;  /* of the last failure */
	char *reason;             /* the same, for people */
	struct deadline retry;    /* in DOWN */
};

struct path *path_get(struct remote *remote, struct slice local);
/* A stanza from the router; what cannot be delivered is answered. */
void path_deliver(struct path *path, const struct frame *f);
void path_test(struct path *path);                   /* connects now, unless it is up */
/* A domain that could not be reached has proven itself on a stream of its own: it is back, most likely. */
void path_heard(struct remote *remote, struct slice local);
/* Stanzas can be written to this stream, unless there is one already. */
void path_up(struct path *path, struct stream *s);
void path_write(struct path *path);                  /* from its queue to its stream */
void path_taken(struct path *path, uint64_t mark);   /* the kernel has taken the stream so far */
/* The peer has acknowledged; false: more than it was sent. */
bool path_acknowledge(struct path *path, uint32_t h);
void path_managed(struct path *path);                /* from now on, acknowledgements count */
void path_lost(struct path *path, const char *why);  /* its stream has ended */
/* No stream could be had. error: what who waits is told; permanent: it will not be better later. */
void path_failed(struct path *path, enum stanza_error error, bool permanent, const char *reason);
void path_free(struct path *path);
size_t paths_trying(void);                           /* how many look for a stream now */
void paths_gauges(void);

/* -- incoming.c, outgoing.c, component.c -------------------------------------------------------- */

void incoming_new(int fd, struct address *address, bool direct);
/* Tells the history of it what became of a dialback key that was shown on it. */
void incoming_called_back(struct stream *s, bool valid, const char *reason);
void incoming_spoke(struct stream *s);               /* the first element of a peer that is READY has come */
void component_new(int fd, struct address *address);
/* Begins to connect: path_up() or path_failed() follows, later. */
void outgoing_begin(struct path *path);
/* Begins to connect to ask a question: question_answered() follows. */
struct question;
struct outgoing *outgoing_ask(struct question *question, struct slice local, struct slice remote);
void outgoing_cancel(struct outgoing **o);

/* -- callback.c: dialback on streams (XEP-0220), and the keys that authd makes ------------------- */

/* Another server's word about a key that was shown on an incoming stream. */
struct question {
	LIST_ENTRY(question) of_stream;
	struct stream *stream;        /* NULL: it has ended */
	struct outgoing *outgoing;
	char *local, *remote, *id, *key;
};
void question_write(const struct question *question, struct buf *out);
void question_answered(struct question *question, enum dialback_type type, enum stanza_error error);

/* Has the key for an outgoing stream made, and sends <db:result/>. */
void key_prove(struct stream *s, struct slice local, struct slice remote);
/* Dialback on an incoming stream: asks about a key, or says of one whether it is ours. */
void callback_element(struct stream *s, const struct xml_element *element);
void callback_lost(struct stream *s);         /* its questions and jobs need no answer */
void callback_gauges(void);
/* How many keys are being made, or asked about. */
#define CALLBACKS_MAX 16u /* of one stream */

void base64_add(struct buf *out, struct slice bytes);
/* Returns 0 or E_MALFORMED; out is appended to. */
int base64_read(struct slice text, struct buf *out);

/* -- command.c: administration ------------------------------------------------------------------ */

extern const struct command s2sd_commands[];

#endif
