/*
 * transport.h: the bytes of a connection, in and out, in clear or through TLS, as server or as client.
 *
 * A daemon embeds struct transport in its own connection and says with hooks what happens with it. All
 * is called on the loop but certificate(). At the end of each iteration the daemon calls
 * transports_flush(), which writes what has gathered in transport_out().
 *
 * A transport ends with lost(), whoever ended it, and then, when the loop and the threads of the pool
 * have let go of it, with freed(). What the peer does can end its connection and nothing else.
 */
#ifndef ALDIS_TRANSPORT_H
#define ALDIS_TRANSPORT_H

#include <sys/queue.h>

#include <gnutls/gnutls.h>
#include <uv.h>

#include "buf.h"
#include "deadline.h"

struct address;
struct certificate;
struct transport;

/*
 *   CONNECTING                a socket of ours on its way to the peer
 *    |
 *   OPEN <-> HANDSHAKE        reading and writing; a thread of the pool has the TLS session
 *    |           |
 *   FINISHING    |            the stream has ended: what is left is written, then close_notify
 *    |           |
 *   LINGERING    |            our side is shut down, waiting for the peer's
 *    |           |
 *   DEAD <-------+            the handle closes
 */
enum transport_state {
	TRANSPORT_OPEN, TRANSPORT_CONNECTING, TRANSPORT_HANDSHAKE, TRANSPORT_FINISHING,
	TRANSPORT_LINGERING, TRANSPORT_DEAD
};

/* All must be there, but those that a daemon's connections never come to. */
struct transport_hooks {
	void (*connected)(struct transport *t); /* CONNECTING is over */
	void (*secured)(struct transport *t);   /* the handshake is done */
	/* Bytes of the stream, in the order in which they came, read only while they last. */
	void (*read)(struct transport *t, struct slice bytes);
	/* Whether there may be a secret in what is being read: its memory is wiped then. */
	bool (*is_secret)(const struct transport *t);
	/* Whether more may be read; before false it calls transport_block(t, true). */
	bool (*may_read)(struct transport *t);
	/* The kernel has taken all up to t->sealed: more may be appended to transport_out(). */
	void (*wrote)(struct transport *t);
	void (*due)(struct transport *t);       /* its deadline, in any state */
	/* The connection is gone. May come again, for nothing, until freed(). */
	void (*lost)(struct transport *t, const char *why);
	void (*freed)(struct transport *t);     /* frees what t is embedded in */
	/* In any thread: a reference to the certificate to show, which the transport drops. As a server:
	 * for this SNI (absent: none); NULL fails the handshake. As a client: NULL shows none. */
	struct certificate *(*certificate)(struct transport *t, struct slice sni);
};

struct transport {
	uv_poll_t poll;
	LIST_ENTRY(transport) all;
	TAILQ_ENTRY(transport) dirty;
	struct deadline deadline;
	const struct transport_hooks *hooks;
	int fd;
	uint8_t state;             /* enum transport_state */
	uint8_t watched;           /* events that the poll handle waits for */
	bool is_dirty;
	bool blocked;              /* nothing is read: back-pressure */
	bool write_blocked;        /* the kernel takes no more */
	bool threaded;             /* a thread of the pool works on it, or will */
	bool client;               /* of TLS */
	bool said_bye;
	struct address *address;
	gnutls_session_t tls;
	struct step *step;         /* of the handshake, while threaded */
	struct certificate *certificate; /* sent in the handshake */
	struct buf out;            /* bytes of the stream to be written */
	struct buf wire;           /* the same, as they go to the socket */
	struct buf cipher;         /* read from the socket and not yet taken by TLS */
	uint64_t sealed;           /* bytes that have left out for wire, ever */
	uint64_t heard;            /* daemon_ticks() of the last byte read */
};

void transports_start(uv_loop_t *loop);
void transports_flush(void);
size_t transport_count(void);
void transports_gauges(void);

/* Begins with *t, which is zero, and a socket that does not block; takes both over. connecting:
 * connect(2) is under way. Returns 0, or E_SYSTEM when the loop does not take it: the socket is closed
 * then, address is dropped, and no hook was called. */
int transport_open(struct transport *t, const struct transport_hooks *hooks, int fd,
    struct address *address, bool connecting);
/* Where to append what is to be sent; it is written at the end of the iteration. */
struct buf *transport_out(struct transport *t);
void transport_touch(struct transport *t);   /* transport_flush() at the end of the iteration */
void transport_flush(struct transport *t);   /* writes now */
uint64_t transport_written(const struct transport *t); /* position of the end of out in the stream */
void transport_block(struct transport *t, bool blocked); /* reads no more, or again */
bool transport_alive(const struct transport *t); /* the peer's TCP has acknowledged all that was sent */
void transport_finish(struct transport *t);  /* writes what is left and closes */
void transport_close(struct transport *t);   /* closes now; lost() is called */
void transport_lose(struct transport *t, const char *why); /* the same, with this reason */

/* For tls.c. */
void transport_watch(struct transport *t, int events);
void transport_secured(struct transport *t);
/* Reads and writes of GnuTLS (transport functions). */
ssize_t transport_pull(gnutls_transport_ptr_t t, void *bytes, size_t len);
ssize_t transport_push(gnutls_transport_ptr_t t, const void *bytes, size_t len);

#endif
