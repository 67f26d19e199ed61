/*
 * listener.c: the sockets at which clients and servers arrive, opened before anything gives up its privileges.
 * Called by supervise.c at the start and on reload. Fails when an address is in use or not ours.
 *
 * Each worker has its own socket for each address (SO_REUSEPORT), which stays open here while the
 * worker is restarted: connections wait in it and are not refused.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "aldisd.h"
#include "error.h"
#include "mem.h"

#define BACKLOG 4096

/* Options, whose sockets they are, and what the daemon is told that they are. */
static const struct kind {
	const char *section, *option;
	const char *name;
	enum role role;
} kinds[] = {
	{ "c2s", "listen", "c2s", ROLE_C2SD },
	{ "c2s", "listen-tls", "c2s-tls", ROLE_C2SD },
	{ "s2s", "listen", "s2s", ROLE_S2SD },
	{ "s2s", "listen-tls", "s2s-tls", ROLE_S2SD },
	{ "s2s", "listen-component", "component", ROLE_S2SD },
};

int
listener_address(struct slice text, struct sockaddr_storage *address, socklen_t *len)
{
	struct sockaddr_in *v4 = (struct sockaddr_in *)address;
	struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)address;
	char host[INET6_ADDRSTRLEN];
	struct slice name;
	uint64_t port;
	size_t at = text.len;

	while (at > 0 && text.ptr[at - 1] != ':')
		at--;
	if (at < 2 || slice_number(slice_part(text, at, text.len), UINT16_MAX, &port))
		return E_MALFORMED;
	name = slice_part(text, 0, at - 1);
	memset(address, 0, sizeof *address);
	if (name.len > 2 && name.ptr[0] == '[' && name.ptr[name.len - 1] == ']') {
		name = slice_part(name, 1, name.len - 2);
		v6->sin6_family = AF_INET6;
		v6->sin6_port = htons((uint16_t)port);
		*len = sizeof *v6;
	} else {
		v4->sin_family = AF_INET;
		v4->sin_port = htons((uint16_t)port);
		*len = sizeof *v4;
	}
	if (name.len >= sizeof host)
		return E_MALFORMED;
	memcpy(host, name.ptr, name.len);
	host[name.len] = '\0';
	return inet_pton(address->ss_family, host, address->ss_family == AF_INET6 ?
	    (void *)&v6->sin6_addr : (void *)&v4->sin_addr) == 1 ? OK : E_MALFORMED;
}

/* The port within an address, in network byte order. */
static in_port_t *
port_of(struct sockaddr_storage *address)
{
	return address->ss_family == AF_INET6 ? &((struct sockaddr_in6 *)address)->sin6_port :
	    &((struct sockaddr_in *)address)->sin_port;
}

/* Whether this is [::], which stands for all addresses of both families. */
static bool
is_any(const struct sockaddr_storage *address)
{
	return address->ss_family == AF_INET6 &&
	    IN6_IS_ADDR_UNSPECIFIED(&((const struct sockaddr_in6 *)address)->sin6_addr);
}

/* Opens and binds a socket; -1 with errno set. */
static int
open_bound(const struct sockaddr_storage *address, socklen_t len, bool shared)
{
	int fd = socket(address->ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	int on = 1, both = !is_any(address), saved;

	if (fd < 0)
		return -1;
	if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) == 0 &&
	    (!shared || setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof on) == 0) &&
	    (address->ss_family != AF_INET6 ||
	     setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &both, sizeof both) == 0) &&
	    bind(fd, (const struct sockaddr *)address, len) == 0)
		return fd;
	saved = errno;
	close(fd);
	errno = saved;
	return -1;
}

/* Whether the address can be bound by us alone: SO_REUSEPORT would share it with a stranger. */
static bool
is_free(const struct sockaddr_storage *address, socklen_t len)
{
	int fd = open_bound(address, len, false);

	if (fd < 0)
		return false;
	if (listen(fd, 1) != 0) {
		int saved = errno;

		close(fd);
		errno = saved;
		return false;
	}
	close(fd);
	return true;
}

static void
listener_close(struct listener *listener)
{
	unsigned i;

	for (i = 0; i < listener->count; i++)
		close(listener->sockets[i]);
	free(listener->sockets);
	free(listener->name);
	free(listener->address);
	memset(listener, 0, sizeof *listener);
}

/* Opens the sockets of one address. The first one decides about the port when it is 0. */
static int
sockets_open(struct listener *listener, struct sockaddr_storage *address, socklen_t len,
    unsigned workers)
{
	if (*port_of(address) != 0 && !is_free(address, len))
		return E_SYSTEM;
	while (listener->count < workers) {
		int fd = open_bound(address, len, true);

		if (fd < 0)
			return E_SYSTEM;
		listener->sockets[listener->count++] = fd;
		if (listen(fd, BACKLOG) != 0 ||
		    getsockname(fd, (struct sockaddr *)address, &len) != 0)
			return E_SYSTEM;
	}
	listener->port = ntohs(*port_of(address));
	return OK;
}

static int
listener_open(struct listener *listener, unsigned workers, struct buf *problem)
{
	struct sockaddr_storage address;
	struct sockaddr_in *v4 = (struct sockaddr_in *)&address;
	socklen_t len;
	int error;

	error = listener_address(slice_string(listener->address), &address, &len);
	if (error)
		return error;
	listener->sockets = mem_array(workers, sizeof(int));
	error = sockets_open(listener, &address, len, workers);
	if (error && listener->count == 0 && is_any(&address) &&
	    (errno == EAFNOSUPPORT || errno == EADDRNOTAVAIL)) {
		/* A machine without IPv6: all addresses are those of IPv4. */
		in_port_t port = *port_of(&address);

		memset(&address, 0, sizeof address);
		v4->sin_family = AF_INET;
		v4->sin_port = port;
		error = sockets_open(listener, &address, sizeof *v4, workers);
	}
	if (error)
		buf_printf(problem, "cannot listen at %s: %s\n", listener->address, strerror(errno));
	return error;
}

static struct listener *
find(const struct listeners *listeners, const char *name, const char *address)
{
	size_t i;

	for (i = 0; listeners != NULL && i < listeners->count; i++) {
		if (strcmp(listeners->all[i].name, name) == 0 &&
		    strcmp(listeners->all[i].address, address) == 0)
			return &listeners->all[i];
	}
	return NULL;
}

/* Opens one address unless it is open in old. Then it is left empty: it moves when all is well. */
static int
add(struct listeners *listeners, const struct kind *kind, struct slice address, unsigned workers,
    const struct listeners *old, struct buf *problem)
{
	struct listener *listener;

	listeners->all = mem_grow(listeners->all, (listeners->count + 1) * sizeof *listeners->all);
	listener = &listeners->all[listeners->count++];
	memset(listener, 0, sizeof *listener);
	listener->name = mem_string(kind->name);
	listener->role = kind->role;
	listener->address = slice_dup(address);
	if (find(old, kind->name, listener->address) != NULL)
		return OK;
	return listener_open(listener, kind->role == ROLE_C2SD ? workers : 1, problem);
}

int
listeners_open(const struct settings *settings, unsigned workers, struct listeners *old,
    struct listeners *listeners, struct buf *problem)
{
	struct slice address;
	int error = OK;
	size_t i, kind;

	memset(listeners, 0, sizeof *listeners);
	for (kind = 0; kind < sizeof kinds / sizeof kinds[0]; kind++) {
		for (i = 0; error == OK && config_list(settings_own(settings), kinds[kind].section,
		    "", kinds[kind].option, i, &address); i++)
			error = add(listeners, &kinds[kind], address, workers, old, problem);
	}
	if (error) {
		listeners_close(listeners);
		return error;
	}
	for (i = 0; i < listeners->count; i++) {
		struct listener *to = &listeners->all[i], *from = find(old, to->name, to->address);

		if (from != NULL && from->count != 0) {
			struct listener moved = *from;

			*from = *to;
			*to = moved;
		}
	}
	return OK;
}

void
listeners_close(struct listeners *listeners)
{
	size_t i;

	for (i = 0; i < listeners->count; i++)
		listener_close(&listeners->all[i]);
	free(listeners->all);
	memset(listeners, 0, sizeof *listeners);
}

uint16_t
listeners_port(const struct listeners *listeners, const char *name)
{
	size_t i;

	for (i = 0; i < listeners->count; i++) {
		if (strcmp(listeners->all[i].name, name) == 0)
			return listeners->all[i].port;
	}
	return 0;
}
