/*
 * process.h: what the supervisor and its children say to each other over the control socket.
 *
 * The control socket of a child is descriptor 3, AF_UNIX SOCK_SEQPACKET: one struct process_message
 * a packet, with at most one descriptor. From the supervisor: CONFIG (descriptor: sealed memfd),
 * LISTEN (descriptor; name), LINK (descriptor; peer, index, incarnation), GO (all was handed over),
 * PING. LINK also comes later, when a peer was restarted, and CONFIG when something has changed that
 * the child takes while it runs: it answers READY again, with state PROCESS_FAILED when it
 * cannot, and is restarted then. To the router STATE tells the state of each
 * child. From the child: READY, PONG, ASK (router only: name is "reload" or "restart NAME",
 * and the answer is an ASK with state PROCESS_RUNNING for done or PROCESS_FAILED, and a text in
 * name), LOST (role, index, incarnation: the link to this process was closed; when that process
 * turns out to be alive it is restarted, so that both sides get a fresh link; believed from the
 * router, and from authd about c2sd). The end of the socket means that the other side is gone: a
 * child then ends at once.
 *
 * What the supervisor says to its log role goes the same way: LISTEN (descriptor: a pipe to read;
 * name, pid: whose it is) and LOG (descriptor: the file to write to).
 */
#ifndef ALDIS_PROCESS_H
#define ALDIS_PROCESS_H

#include <stdint.h>
#include <sys/types.h>

#include "role.h"

#define PROCESS_CONTROL_FD 3

enum process_what {
	PROCESS_CONFIG = 1,
	PROCESS_LISTEN,
	PROCESS_LINK,
	PROCESS_GO,
	PROCESS_PING,
	PROCESS_READY,
	PROCESS_PONG,
	PROCESS_STATE, /* to the router: a child's state */
	PROCESS_ASK,
	PROCESS_LOST,
	PROCESS_LOG,
	PROCESS_WHAT_COUNT,
};

enum process_state { PROCESS_STARTING, PROCESS_RUNNING, PROCESS_FAILED };

struct process_message {
	uint32_t what;
	uint32_t role;         /* CONFIG: the child's own; LINK, STATE: the other's */
	uint32_t index;        /* likewise */
	uint32_t incarnation;  /* likewise */
	uint32_t state;        /* STATE */
	uint32_t restarts;     /* STATE */
	int64_t pid;           /* STATE */
	uint64_t since;        /* STATE: milliseconds since 1970 */
	char name[64];         /* LISTEN, ASK: NUL-terminated */
};

/* Returns 0, E_CLOSED at the end, E_AGAIN, E_MALFORMED or E_SYSTEM. fd: -1 for none. The receiver
 * owns *fd. */
int process_send(int socket, const struct process_message *message, int fd);
int process_receive(int socket, struct process_message *message, int *fd);

#endif
