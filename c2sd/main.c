/*
 * main.c: the process: its start, frames of the router, and the end of a loop iteration.
 *
 * daemon_main() calls what is here. Nothing here fails after the start.
 */
#include "c2sd.h"

#include <unistd.h>

#include "error.h"
#include "log.h"

/* Another authd has another key for tickets. */
static void
links_authd(int fd)
{
	key_link(fd);
	ticket_refresh();
}

static void
on_link(enum role peer, unsigned index, uint32_t incarnation, int fd)
{
	(void)index;
	(void)incarnation;
	if (peer == ROLE_AUTHD)
		links_authd(fd);
	else
		close(fd);
}

static void
on_listen(const char *name, int fd)
{
	listener_add(name, fd, strcmp(name, "c2s-tls") == 0);
}

static void
on_accepted(int fd, struct address *address, int direct)
{
	conn_new(fd, address, direct != 0);
}

static bool
domain_is_ours(struct slice domain)
{
	return domain_find(domain) != NULL;
}

static int
start(uv_loop_t *loop)
{
	int error;

	error = tls_start(settings.tls_priority);
	if (error != OK)
		return error;
	xml_set_ours(domain_is_ours);
	deadlines_start(loop);
	ticket_start(loop);
	uplink_start(sessions_reported);
	transports_start(loop);
	listeners_start(loop, on_accepted);
	return OK;
}

/* -- the router -------------------------------------------------------------------------------- */

static void
on_router(void)
{
	uplink_up();
	sessions_replay();
	streams_router_back();
}

static void
on_router_gone(void)
{
	uplink_down();
	room_router_gone();
	domains_forget_mechanisms();
	streams_router_gone();
}

static void
on_resend(void)
{
	uplink_resend();
	sessions_resent();
}

static void
on_mechanisms(const struct frame *f)
{
	domains_mechanisms(f->text);
	streams_mechanisms();
}

static void
on_caps(const struct frame *f)
{
	domains_caps(f->text);
}

/* authd's answers about a stream. A grant for one that is gone is given back. */
static void
on_auth(const struct frame *f)
{
	struct conn *c = stream_find(f->handle);
	struct frame end = {
		.type = FRAME_SESSION_END, .handle = f->handle, .condition = SLICE("given up"),
	};

	if (c != NULL)
		sasl_frame(c, f);
	else if (f->type == FRAME_AUTH_SUCCESS)
		daemon_send(&end);
}

static void
on_bound(const struct frame *f)
{
	struct conn *c = stream_find(f->handle);

	if (c != NULL)
		bind_answer(c, f);
}

static void
on_ack(const struct frame *f)
{
	uplink_ack(f);
	if (f->origin == daemon_incarnation())
		feed_seen(f->archive_id);
}

static void (*const handlers[FRAME_COUNT])(const struct frame *) = {
	[FRAME_ACK] = on_ack,
	[FRAME_STANZA] = sessions_stanza,
	[FRAME_MECHANISMS] = on_mechanisms,
	[FRAME_CAPS] = on_caps,
	[FRAME_AUTH_CHALLENGE] = on_auth,
	[FRAME_AUTH_SUCCESS] = on_auth,
	[FRAME_AUTH_FAILURE] = on_auth,
	[FRAME_SESSION_BOUND] = on_bound,
	[FRAME_SESSION_REFUSED] = on_bound,
	[FRAME_SESSION_KILL] = session_kill,
	[FRAME_SESSION_FEED] = feed_frame,
	[FRAME_SESSION_RESUME] = resume_asked,
	[FRAME_SESSION_MOVE] = resume_moved,
	[FRAME_HISTORY_END] = room_seen,
};

static void
on_frame(const struct frame *f, struct slice whole)
{
	(void)whole;
	daemon_dirty();
	if (handlers[f->type] != NULL)
		handlers[f->type](f);
	else
		daemon_refuse(f, "not for c2sd");
}

static void
flush(void)
{
	conns_ease();
	transports_flush();
	uplink_flush();
	room_report();
}

static void
gauges(void)
{
	transports_gauges();
	listeners_gauges();
	tls_gauges();
	uplink_gauges();
	sessions_gauges();
}

int
main(void)
{
	static const struct daemon_hooks hooks = {
		.role = ROLE_C2SD,
		.configure = settings_configure,
		.reconfigure = settings_reconfigure,
		.listen = on_listen,
		.link = on_link,
		.start = start,
		.router = on_router,
		.router_gone = on_router_gone,
		.resend = on_resend,
		.frame = on_frame,
		.flush = flush,
		.gauges = gauges,
	};

	return daemon_main(&hooks);
}
