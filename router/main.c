/*
 * main.c of the router: start and loop. Everything else is in the files that router.h lists.
 */
#include "router.h"

#include "counter.h"

#define TICK 1000 /* milliseconds */

static uv_timer_t timer;
static bool ticking;

static int
reconfigure(const struct config *config)
{
	registry_set_domains(config);
	registry_set_served(config);
	sessions_configure(config);
	serverinfo_configure(config);
	adhoc_configure(config);
	push_configure(config);
	disco_changed();
	return 0;
}

static int
configure(const struct config *config)
{
	request_start();
	return reconfigure(config);
}

static void
listen_on(const char *name, int fd)
{
	if (slice_is(SLICE("control"), name))
		control_listen(fd);
}

static void
tick(uv_timer_t *t)
{
	(void)t;
	sessions_tick();
	drains_tick();
	push_tick();
	control_tick();
	peers_tick();
	follow_tick();
	flow_tick();
	daemon_dirty();
}

/* The clock runs only while something has a time: an idle router does not wake up. */
static void
flush(void)
{
	bool needed;

	disco_flush();
	peers_flush();
	needed = sessions_waiting() || drains_waiting() || push_waiting() || control_waiting() || peers_waiting() ||
	    follow_waiting() || flow_waiting();
	if (needed && !ticking)
		uv_timer_start(&timer, tick, TICK, TICK);
	else if (!needed && ticking)
		uv_timer_stop(&timer);
	ticking = needed;
}

static void
gauges(void)
{
	session_gauges();
	account_gauges();
	hold_gauges();
	fanout_gauges();
	rooms_gauges();
	follow_gauges();
	deliver_gauges();
	push_gauges();
	flow_gauges();
	control_gauges();
	adhoc_gauges();
	GAUGE(exchanges, exchange_count());
	GAUGE(registrations, registry_count());
}

static int
start(uv_loop_t *loop)
{
	uv_timer_init(loop, &timer);
	return 0;
}

int
main(void)
{
	static const struct daemon_hooks hooks = {
		.role = ROLE_ROUTER,
		.commands = router_commands,
		.configure = configure,
		.reconfigure = reconfigure,
		.listen = listen_on,
		.link = peer_linked,
		.start = start,
		.flush = flush,
		.gauges = gauges,
		.process = control_process,
	};

	return daemon_main(&hooks);
}
