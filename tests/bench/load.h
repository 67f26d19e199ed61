/*
 * load.h: private header of xmppload, the load generator: prototypes grouped under the file they
 * live in.
 *
 * Layers, downward only: framer, scram, histogram (no input/output) - conn (socket and TLS) -
 * login, chat, rooms, presence (what is said over a connection) - xmppload (options, loop, result).
 *
 * The Aldis developers
 */
#ifndef ALDIS_BENCH_LOAD_H
#define ALDIS_BENCH_LOAD_H

#ifndef _GNU_SOURCE
#define _GNU_SOURCE /* memmem, epoll_pwait2 */
#endif

#include <gnutls/gnutls.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct slice {
	const char *ptr;
	size_t len;
};

struct load;

/* framer.c: cuts a server's byte stream into stanzas without parsing them */

enum framer_event {
	FRAMER_MORE,   /* nothing whole is left in the buffer */
	FRAMER_OPEN,   /* the start tag of the stream */
	FRAMER_STANZA, /* one whole child of the stream */
	FRAMER_CLOSE   /* the end tag of the stream */
};

struct framer {
	size_t start; /* where the event that is being read began */
	size_t pos;   /* scanned up to here */
	unsigned depth;
};

/* Finds the next event in `data`; `out` gets its bytes, which stay owned by the caller. */
enum framer_event framer_next(struct framer *f, const char *data, size_t len, struct slice *out);
bool slice_starts(struct slice s, const char *prefix);
bool slice_has(struct slice s, const char *needle);

/* scram.c: the client side of SCRAM-SHA-1 (RFC 5802) */

#define SCRAM_HASH 20u /* bytes of a SHA-1 digest */
#define SCRAM_TEXT 512u

/* What one account's password came to; kept, so that only a first login pays for PBKDF2. */
struct scram_keys {
	char salt[128];
	unsigned iterations;
	unsigned char client[SCRAM_HASH], stored[SCRAM_HASH], server[SCRAM_HASH];
};

struct scram {
	char nonce[32];
	char first_bare[128];
	unsigned char signature[SCRAM_HASH]; /* what the server has to prove */
};

/* Each writes Base64 text into `out` (SCRAM_TEXT bytes); returns 0, or -1 when the peer's text is
 * wrong. */
int scram_first(struct scram *s, const char *user, char *out);
int scram_final(struct scram *s, struct scram_keys *keys, const char *password,
    struct slice challenge, char *out);
int scram_verify(const struct scram *s, struct slice success);
int scram_base64(const void *data, size_t len, char *out);

/* histogram.c: latencies in nanoseconds, with an error under 1.6 percent */

#define HISTOGRAM_SUB 64u
#define HISTOGRAM_ROWS 40u

struct histogram {
	uint64_t count, max, sum;
	uint64_t bucket[HISTOGRAM_ROWS * HISTOGRAM_SUB];
};

void histogram_add(struct histogram *h, uint64_t ns);
/* The value below which `share` (0 to 1) of all values lie. */
uint64_t histogram_quantile(const struct histogram *h, double share);

/* conn.c: one connection: TCP, TLS, buffers */

struct buf {
	char *data;
	size_t len, cap;
};

enum conn_phase { CONN_CLOSED, CONN_CONNECTING, CONN_HANDSHAKE, CONN_OPEN };

/* See login.c for the order of the steps. */
enum login_step {
	LOGIN_FEATURES,
	LOGIN_PROCEED,
	LOGIN_CHALLENGE,
	LOGIN_SUCCESS,
	LOGIN_BIND,
	LOGIN_PING,
	LOGIN_DONE
};

struct conn {
	struct load *load;
	unsigned index; /* place in load->conns */
	unsigned user;  /* which account */
	uint64_t began; /* when its connect started */
	int fd;
	gnutls_session_t tls;
	enum conn_phase phase;
	bool polled_out; /* EPOLLOUT is asked for */
	bool dirty;      /* waits in load->dirty for a flush */
	struct buf in, out;
	size_t out_done;
	struct framer framer;

	enum login_step step; /* login.c */
	bool authenticated;
	struct scram scram;

	bool sm; /* stream management is on; counters as in XEP-0198 */
	uint32_t sm_in, sm_out, sm_acked;

	uint32_t seq;         /* chat.c: messages sent */
	uint32_t expect;      /* next number from the peer */
	uint32_t outstanding; /* sent and not yet seen by the peer */
};

/* What a connection tells its user; none may free the connection. */
struct conn_ops {
	void (*up)(struct conn *c); /* TCP, and again TLS, is established */
	void (*stanza)(struct conn *c, enum framer_event event, struct slice s);
	void (*down)(struct conn *c, const char *why);
};

/* Bytes read from the socket that is being served and not yet taken by GnuTLS. */
struct rx {
	bool dry;
	size_t pos, len;
	char data[65536];
};

int conn_setup(struct load *load); /* TLS credentials; -1 when GnuTLS refuses */
void conn_open(struct conn *c);
void conn_starttls(struct conn *c);
void conn_restart(struct conn *c); /* forgets what was read: a new stream begins */
void conn_send(struct conn *c, const char *data, size_t len);
void conn_sends(struct conn *c, const char *text);
void conn_flush_all(struct load *load);
void conn_event(struct conn *c, uint32_t events);
void conn_fail(struct conn *c, const char *why); /* closes and reports */
void conn_close(struct conn *c);                 /* closes in silence */

/* login.c: from the first byte to a bound resource */

void login_begin(struct conn *c, unsigned user);
void login_up(struct conn *c);
void login_stanza(struct conn *c, struct slice s);
/* Counts, answers and takes notice of stream management; true when `s` was a part of it. */
bool login_sm(struct conn *c, struct slice s);
void login_acknowledge(struct conn *c);

/* chat.c: pairs that talk */

void chat_stanza(struct conn *c, struct slice s);
void chat_pump(struct conn *c);                 /* fills the window */
void chat_due(struct load *load, uint64_t now); /* sends what a fixed rate asks for by now */
uint64_t chat_next(const struct load *load);    /* when the next one is due */

/* Reads `digits` hexadecimal digits. */
bool chat_hex(const char *text, unsigned digits, uint64_t *value);

/* rooms.c: all in rooms, of whom some speak */

void rooms_begin(struct load *load);            /* all are logged in: they enter */
bool rooms_entered(const struct load *load);    /* all are in */
void rooms_stanza(struct conn *c, struct slice s);
void rooms_pump(struct conn *c);
void rooms_due(struct load *load, uint64_t now);

/* presence.c: one account and its contacts */

void presence_begin(struct load *load); /* all are logged in: they subscribe to each other */
bool presence_ready(void);
void presence_stanza(struct conn *c, struct slice s);
void presence_pump(struct load *load);
void presence_due(struct load *load, uint64_t now);

/* xmppload.c: options, the loop, the result */

enum load_mode { MODE_LOGINS, MODE_IDLE, MODE_CHAT, MODE_ROOMS, MODE_PRESENCE };
enum load_tls { TLS_START, TLS_DIRECT, TLS_NONE };
enum load_mech { MECH_SCRAM, MECH_PLAIN, MECH_NONE };
/* WARM (setting up) - "ready" - RUN - DRAIN (chat: what is under way) - "done" - CLOSE - END */
enum load_phase { LOAD_WARM, LOAD_RUN, LOAD_DRAIN, LOAD_CLOSE, LOAD_END };

struct options {
	enum load_mode mode;
	enum load_tls tls;
	enum load_mech mech;
	const char *host, *domain, *prefix, *password, *resource;
	unsigned port, number, concurrency, users, first;
	unsigned rooms, speakers;
	unsigned sources; /* addresses 127.0.0.1 and following to connect from; 0: the kernel's choice */
	const char *service; /* the domain of the rooms */
	unsigned seconds, messages, window, rate, body, timeout, sm_every;
	bool sm, sync, roster;
};

struct load {
	struct options o;
	int epoll;
	enum load_phase phase;
	struct sockaddr_in address;
	gnutls_certificate_credentials_t credentials;
	gnutls_priority_t priority;
	const struct conn_ops *ops;
	struct rx rx;
	struct conn *conns;
	struct conn **dirty;
	unsigned dirty_count;
	struct scram_keys *keys; /* one an account */
	unsigned run;            /* tells this run's messages from an earlier one's */
	char *filler;            /* what pads a body */

	unsigned target, started, in_flight, logged_in, failed, up; /* of the phase that runs */
	uint64_t begin, end, deadline;                              /* monotonic nanoseconds */
	unsigned turn; /* round robin of a fixed rate */
	uint64_t sent, received, in_window, duplicate, disordered, bounced, stale, lag;
	unsigned dropped, stream_errors;
	uint64_t changes; /* of presence */
	bool entering;    /* rooms, presence: what comes before the run has begun */
	struct histogram latency, login_time;
	char tls_text[96];
};

uint64_t load_now(void);
void load_logged_in(struct conn *c);
void load_log(struct load *load, const char *what, const char *why);

#endif
