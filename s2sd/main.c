/*
 * main.c: the process: its start, frames of the router, and the end of a loop iteration.
 *
 * daemon_main() calls what is here. Nothing here fails after the start.
 */
#include "s2sd.h"

#include <unistd.h>

#include "error.h"
#include "log.h"

/* What a listening socket is for. */
enum { LISTENER_SERVER, LISTENER_SERVER_TLS, LISTENER_COMPONENT };

static void
on_listen(const char *name, int fd)
{
	listener_add(name, fd, strcmp(name, "component") == 0 ? LISTENER_COMPONENT
	    : strcmp(name, "s2s-tls") == 0 ? LISTENER_SERVER_TLS : LISTENER_SERVER);
}

static void
on_link(enum role peer, unsigned index, uint32_t incarnation, int fd)
{
	(void)index;
	(void)incarnation;
	if (peer == ROLE_AUTHD)
		key_link(fd);
	else
		close(fd);
}

static int
threads(void)
{
	return resolver_start(resolver);
}

static void
accepted(int fd, struct address *address, int kind)
{
	if (kind == LISTENER_COMPONENT)
		component_new(fd, address);
	else
		incoming_new(fd, address, kind == LISTENER_SERVER_TLS);
}

static int
start(uv_loop_t *loop)
{
	int error = tls_start(settings.tls_priority);

	if (error == OK)
		error = checks_start(loop);
	if (error != OK)
		return error;
	xml_set_ours(domain_is_here);
	deadlines_start(loop);
	uplink_start(remote_reported);
	transports_start(loop);
	listeners_start(loop, accepted);
	return OK;
}

/* -- the router -------------------------------------------------------------------------------- */

static void
on_router(void)
{
	uplink_up();
	remotes_replay();
}

static void
on_router_gone(void)
{
	uplink_down();
}

static void (*const handlers[FRAME_COUNT])(const struct frame *) = {
	[FRAME_ACK] = uplink_ack,
	[FRAME_STANZA] = remotes_stanza,
	[FRAME_REMOTE_WAITING] = remotes_waiting,
	[FRAME_DOMAINS] = domains_of,
	[FRAME_SESSION_DRAIN] = remote_draining,
	[FRAME_SESSION_KILL] = remote_kill,
};

static void
on_frame(const struct frame *f, struct slice whole)
{
	(void)whole;
	daemon_dirty();
	if (handlers[f->type] != NULL)
		handlers[f->type](f);
	else
		daemon_refuse(f, "not for s2sd");
}

static void
flush(void)
{
	streams_ease();
	transports_flush();
	uplink_flush();
}

static void
gauges(void)
{
	transports_gauges();
	listeners_gauges();
	tls_gauges();
	uplink_gauges();
	streams_gauges();
	remotes_gauges();
	paths_gauges();
	checks_gauges();
	callback_gauges();
}

int
main(void)
{
	static const struct daemon_hooks hooks = {
		.role = ROLE_S2SD,
		.serves_more = domains_register,
		.commands = s2sd_commands,
		.configure = settings_configure,
		.reconfigure = settings_reconfigure,
		.listen = on_listen,
		.link = on_link,
		.start = start,
		.threads = threads,
		.router = on_router,
		.router_gone = on_router_gone,
		.resend = uplink_resend,
		.frame = on_frame,
		.flush = flush,
		.gauges = gauges,
	};

	return daemon_main(&hooks);
}
