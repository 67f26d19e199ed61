/*
 * main.c: mucd, the rooms (XEP-0045). Started by aldisd; speaks with the router alone.
 *
 * What came in one loop iteration is one transaction in flush() (inbox.c). When that fails nothing is
 * acknowledged, and it is tried again every second.
 */
#include "log.h"
#include "mucd.h"
#include "ns.h"

#define RETRY_TIME 1000  /* milliseconds after a failed commit */
#define CLEAN_TIME 1000  /* until rows of what has arrived are removed, when nothing else is written */

static struct {
	uv_timer_t retry, clean;
	bool waiting; /* for the next try */
} self;

static void
on_retry(uv_timer_t *timer)
{
	(void)timer;
	self.waiting = false;
	daemon_dirty();
}

static void
on_clean(uv_timer_t *timer)
{
	(void)timer;
	if (!outbox_idle() && !self.waiting)
		inbox_commit();
	daemon_dirty();
}

static void
on_flush(void)
{
	if (!self.waiting && inbox_run(daemon_now()) != OK) {
		self.waiting = true;
		uv_timer_start(&self.retry, on_retry, RETRY_TIME, 0);
	}
	if (!outbox_idle() && !uv_is_active((uv_handle_t *)&self.clean))
		uv_timer_start(&self.clean, on_clean, CLEAN_TIME, 0);
}

static void
on_frame(const struct frame *f, struct slice whole)
{
	if (f->type == FRAME_ACK) {
		outbox_acked(f);
		answers_release();
	} else if (!inbox_add(f, whole)) {
		daemon_refuse(f, "not for mucd");
	}
}

static void
on_router(void)
{
	watch_ask_router();
}

static void
on_gauges(void)
{
	rooms_gauges();
	inbox_gauges();
	outbox_gauges();
}

static int
on_configure(const struct config *config)
{
	int error = domains_configure(config);

	command_commit = inbox_commit;
	if (error == OK)
		error = state_open(daemon_state_dir());
	if (error == OK)
		error = outbox_open();
	if (error == OK)
		error = inbox_open();
	if (error == OK)
		error = rooms_open();
	request_start(daemon_now());
	return error;
}

static int
on_start(uv_loop_t *loop)
{
	uv_timer_init(loop, &self.retry);
	uv_timer_init(loop, &self.clean);
	return OK;
}

int
main(void)
{
	static const struct daemon_hooks hooks = {
		.role = ROLE_MUCD,
		.serves_more = domains_serve,
		.commands = mucd_commands,
		.transfers = mucd_transfers,
		.configure = on_configure,
		.reconfigure = domains_configure,
		.start = on_start,
		.router = on_router,
		.resend = outbox_resend,
		.frame = on_frame,
		.flush = on_flush,
		.tick = inbox_tick, /* who is silent? */
		.gauges = on_gauges,
	};

	return daemon_main(&hooks);
}
