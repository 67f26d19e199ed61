/*
 * storm.h: private header of chatters, the clients of a storm: prototypes grouped under the file
 * they live in.
 *
 * Layers, downward only: framer, scram, conn (all of tests/bench) - journal - client, room - chatters.
 *
 * The Aldis developers
 */
#ifndef ALDIS_STORM_H
#define ALDIS_STORM_H

#include "load.h"

/* journal.c: what happened and when, for oracle.py, which has the same table */

enum journal_kind {
	JOURNAL_SENT = 1, /* client, peer, number: a message was given to the stream first */
	JOURNAL_ACKED,    /* client, number: the server counts it as handled */
	JOURNAL_GIVEN_UP, /* client, number: its session is lost, nobody knows */
	JOURNAL_GOT,      /* client, peer, number: a message of peer came */
	JOURNAL_BOUNCED,  /* client, number: the server answered it with an error */
	JOURNAL_UP,       /* client, peer: local port, number: when the connect began; how: enum up */
	JOURNAL_DOWN,     /* the same; how: enum down */
	JOURNAL_REFUSED,  /* client: the session was not resumed */
	JOURNAL_ASKED,    /* client, number: a request was sent; how: to whom */
	JOURNAL_ANSWERED, /* client, number: and answered */
	JOURNAL_SHOWN,    /* client: its first presence is acknowledged */
	JOURNAL_SPOKEN,   /* client, peer: room, number: a message was given to the stream for its room */
	JOURNAL_HEARD,    /* client, peer: who spoke, number; how: 1 when it is of the past (XEP-0203) */
	JOURNAL_ENTERED,  /* client, peer: room: its own presence came, after that of all others */
	JOURNAL_EXCLUDED, /* client, peer: room: it is not in it any more, or may not enter; how: 1 refused */
	JOURNAL_SEEN,     /* client, peer: room: presence of another one; how: 1 when that has gone */
	JOURNAL_KINDS
};

enum up { UP_NEW, UP_RESUMED };
enum down {
	DOWN_LOST,     /* the other side closed a connection that was up */
	DOWN_BROKEN,   /* we did, to resume */
	DOWN_LEFT,     /* we did, to come back anew */
	DOWN_FAILED,   /* it never came up */
	DOWN_STUCK     /* it did not come up in time */
};

int journal_open(const char *path);
/* Writes one record; the time is now. */
void journal_add(enum journal_kind kind, unsigned how, unsigned client, unsigned peer,
    uint64_t number);
int journal_flush(void); /* -1 when it could not be written */

/* client.c: one client, from its connect to its session, and over its next connections */

/*
 *   AWAY -> TLS -> FEATURES -> CHALLENGE -> SUCCESS -> FEATURES -+-> RESUMED --------------> UP
 *    ^                                                          '--> BOUND -> ENABLED ------^
 *    '--------------------------------- any, when the connection is gone
 */
enum client_step {
	STEP_AWAY, STEP_TLS, STEP_FEATURES, STEP_CHALLENGE, STEP_SUCCESS, STEP_RESUMED, STEP_BOUND,
	STEP_ENABLED, STEP_UP, STEP_COUNT
};

/* A stanza that the server has not counted. */
struct unacked {
	uint32_t number; /* of a message, 0: another stanza, NUMBER_SHOWN: the first presence */
	uint32_t len;
	char *text;
};

#define WINDOW_MAX   256u
#define NUMBER_SHOWN UINT32_MAX

struct client {
	struct conn *conn;
	enum client_step step;
	bool authenticated;
	bool wanted;        /* shall be connected */
	bool paused;        /* its socket is not read */
	bool inside;        /* its room */
	bool broken;        /* we are closing it ourselves: how is in down */
	enum down down;
	uint64_t began;     /* of this connect */
	uint64_t due;       /* when to connect */
	uint64_t asked;     /* when <r/> was sent last */
	unsigned port;      /* local */
	char sm_id[80];     /* empty: no session */
	uint32_t in;        /* stanzas from the server in this session */
	uint32_t handled;   /* the server's h */
	uint32_t number;    /* of the last message */
	uint32_t requests;
	uint64_t waiting;   /* bits: of the last 64 requests, those that were not answered */
	struct unacked queue[WINDOW_MAX];
	unsigned first, count;
	unsigned since_ask;
};

void client_connect(struct client *c);
void client_tick(struct client *c, uint64_t now); /* what is due */
/* Sends a message to another one; false when it cannot now. */
bool client_say(struct client *c, unsigned peer, bool full);
void client_ping(struct client *c, bool roster);  /* a request to the router, or to authd */
void client_show(struct client *c, bool first);   /* presence */
void client_break(struct client *c);              /* as a network does */
void client_leave(struct client *c);              /* properly, and comes back anew */
void client_pause(struct client *c, bool paused);
bool client_is_quiet(const struct client *c);
/* Sends a stanza and keeps it; number: of a message, 0: another one. There must be room. */
void client_send(struct client *c, uint32_t number, const char *text, size_t len);
bool client_has_room(const struct client *c);
extern const struct conn_ops client_ops;

/* room.c: the room of a client */

void room_enter(struct client *c);               /* it has a new session */
bool room_say(struct client *c);                 /* false when it cannot now */
bool room_message(struct client *c, struct slice s); /* whether it is one of a room */
void room_presence(struct client *c, struct slice s);

/* chatters.c: options, commands, the loop */

#define SERVERS_MAX 2u

/* Client N is at server N modulo their number. */
extern struct storm {
	struct load servers[SERVERS_MAX];
	unsigned server_count;
	struct client *clients;
	struct scram_keys *keys; /* of each client */
	unsigned number;         /* of clients */
	unsigned window;         /* messages of one client that are not acknowledged */
	unsigned rooms;          /* 0: none */
} storm;

#endif
