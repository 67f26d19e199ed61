/*
 * listener.c: listening sockets, and the limits on connections: in all and from one address.
 *
 * Called by main.c at start; the loop calls it for each connection, which it hands to the daemon.
 * Running out of descriptors, or into the limit of connections, stops accepting until a connection
 * has gone.
 */
#include "listener.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "counter.h"
#include "daemon.h"
#include "deadline.h"
#include "log.h"
#include "map.h"
#include "mem.h"
#include "transport.h"

#define LISTENERS_MAX 64
#define ACCEPT_ROUNDS 64

struct address {
	unsigned refs;
	bool counted;          /* in the table; not that of a connection that we made */
	unsigned char key[17]; /* family, and the address: of IPv6 the network of 64 bits */
	char text[INET6_ADDRSTRLEN];
};

static struct {
	uv_poll_t poll;
	int fd;
	int kind;
	bool stopped;
} listeners[LISTENERS_MAX];

static size_t listener_count;
static struct listener_limits limits;
static void (*accepted)(int fd, struct address *address, int kind);
static struct map *addresses;
static struct deadline retry;

static void acceptable(uv_poll_t *poll, int status, int events);

const char *
address_text(const struct address *address)
{
	return address != NULL ? address->text : "unknown";
}

static struct slice
address_key(const struct address *address)
{
	return slice_of(address->key, sizeof address->key);
}

/* Sets what identifies a peer, and its text. */
static void
address_set(struct address *address, const struct sockaddr_storage *peer)
{
	const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)peer;
	const struct sockaddr_in *in4 = (const struct sockaddr_in *)peer;
	const void *ip = &in6->sin6_addr;
	int family = peer->ss_family;
	size_t keyed = 8; /* bytes of the address that count */

	if (family == AF_INET6 && IN6_IS_ADDR_V4MAPPED(&in6->sin6_addr)) {
		family = AF_INET;
		ip = (const char *)&in6->sin6_addr + 12;
		keyed = 4;
	} else if (family == AF_INET) {
		ip = &in4->sin_addr;
		keyed = 4;
	} else if (family != AF_INET6) {
		keyed = 0;
	}
	address->key[0] = (unsigned char)family;
	memcpy(address->key + 1, ip, keyed);
	if (keyed == 0 || inet_ntop(family, ip, address->text, sizeof address->text) == NULL)
		memcpy(address->text, "unknown", 8);
}

/* Finds or makes the address of a peer and counts one more connection; NULL when it has too
 * many. */
static struct address *
address_get(const struct sockaddr_storage *peer)
{
	struct address fresh = { 0 }, *address;

	address_set(&fresh, peer);
	address = map_get(addresses, address_key(&fresh));
	if (address != NULL) {
		if (address->refs >= limits.per_address)
			return NULL;
		address->refs++;
		return address;
	}
	fresh.refs = 1;
	fresh.counted = true;
	address = mem_copy(&fresh, sizeof fresh);
	map_put(addresses, address_key(address), address);
	return address;
}

struct address *
address_new(const struct sockaddr_storage *peer)
{
	struct address *address = mem_alloc(sizeof *address);

	address_set(address, peer);
	address->refs = 1;
	return address;
}

void
address_drop(struct address **address)
{
	if (*address != NULL && --(*address)->refs == 0) {
		if ((*address)->counted)
			map_remove(addresses, address_key(*address));
		free(*address);
	}
	*address = NULL;
}

static void
stop_all(void)
{
	size_t i;

	COUNT(connections_stopped);
	for (i = 0; i < listener_count; i++) {
		uv_poll_stop(&listeners[i].poll);
		listeners[i].stopped = true;
	}
}

void
listeners_resume(void)
{
	size_t i;

	if (transport_count() >= limits.connections)
		return;
	for (i = 0; i < listener_count; i++) {
		if (!listeners[i].stopped)
			continue;
		listeners[i].stopped = false;
		uv_poll_start(&listeners[i].poll, UV_READABLE, acceptable);
	}
}

void
listeners_limit(const struct listener_limits *l)
{
	limits = *l;
	listeners_resume();
}

void
listeners_gauges(void)
{
	GAUGE(connections_addresses, map_count(addresses));
}

static void
retry_due(struct deadline *d)
{
	(void)d;
	listeners_resume();
}

/* What makes a dead peer noticed, and a small stanza go at once. */
static void
set_options(int fd)
{
	int on = 1, idle = (int)(limits.idle_time / 1000), patience;

	patience = (int)(2 * limits.idle_time < 60000 ? 60000 : 2 * limits.idle_time);
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
	setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on);
	setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &idle, sizeof idle);
	setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &patience, sizeof patience);
}

/* Takes a connection in, or closes it when its address has too many. */
static void
admit(int fd, const struct sockaddr_storage *peer, int kind)
{
	struct address *address = address_get(peer);

	if (address == NULL) {
		COUNT(connections_refused);
		close(fd);
		return;
	}
	COUNT(connections_total);
	set_options(fd);
	accepted(fd, address, kind);
}

static void
acceptable(uv_poll_t *poll, int status, int events)
{
	size_t i = (size_t)(uintptr_t)poll->data;
	struct sockaddr_storage peer;
	unsigned round;

	(void)status;
	(void)events;
	daemon_dirty();
	for (round = 0; round < ACCEPT_ROUNDS; round++) {
		socklen_t len = sizeof peer;
		int fd;

		if (transport_count() >= limits.connections) {
			log_warn("accepting stopped", "connections=%zu", transport_count());
			stop_all();
			return;
		}
		memset(&peer, 0, sizeof peer);
		fd = accept4(listeners[i].fd, (struct sockaddr *)&peer, &len, SOCK_NONBLOCK |
		    SOCK_CLOEXEC);
		if (fd >= 0) {
			admit(fd, &peer, listeners[i].kind);
			continue;
		}
		if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM) {
			log_warn("accepting stopped", "reason=\"%s\"", strerror(errno));
			stop_all();
			deadline_set(&retry, 1000);
		}
		if (errno != ECONNABORTED && errno != EINTR)
			return;
	}
}

void
listener_add(const char *name, int fd, int kind)
{
	if (listener_count == LISTENERS_MAX) {
		log_error("listener refused", "name=%s reason=\"more than %d\"", name,
		    LISTENERS_MAX);
		close(fd);
		return;
	}
	listeners[listener_count].fd = fd;
	listeners[listener_count].kind = kind;
	listener_count++;
}

void
listeners_start(uv_loop_t *loop, void (*a)(int fd, struct address *address, int kind))
{
	size_t i;

	accepted = a;
	addresses = map_new();
	retry.due = retry_due;
	for (i = 0; i < listener_count; i++) {
		uv_poll_init(loop, &listeners[i].poll, listeners[i].fd);
		listeners[i].poll.data = (void *)(uintptr_t)i;
		uv_poll_start(&listeners[i].poll, UV_READABLE, acceptable);
	}
}
