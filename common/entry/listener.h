/*
 * listener.h: listening sockets, and the limits on connections: in all, and from one address.
 *
 * A listener belongs to the supervisor, which hands it over by name; the daemon says what that means.
 */
#ifndef ALDIS_LISTENER_H
#define ALDIS_LISTENER_H

#include <sys/socket.h>

#include <uv.h>

struct address; /* of a peer: one for all its connections */

struct listener_limits {
	size_t connections, per_address;
	uint64_t idle_time; /* milliseconds of silence after which the kernel asks a peer */
};

/* From now on; accepting goes on when there is room again. */
void listeners_limit(const struct listener_limits *limits);
/* Takes a listening socket, before listeners_start(). kind is the daemon's, given to accepted(). */
void listener_add(const char *name, int fd, int kind);
/* Calls accepted() for each connection from now on; it takes over fd and the reference to address. */
void listeners_start(uv_loop_t *loop, void (*accepted)(int fd, struct address *address, int kind));
/* A connection has gone: there is room again. */
void listeners_resume(void);
/* Of a peer that we connect to: counts for no limit. */
struct address *address_new(const struct sockaddr_storage *peer);
const char *address_text(const struct address *address);
void address_drop(struct address **address);
void listeners_gauges(void);

#endif
