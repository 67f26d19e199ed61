/*
 * main.c: archived, which stores every message before anybody sees it. Started by aldisd; speaks
 * with the router alone.
 *
 * What came in one loop iteration is one transaction in flush(). When that fails, the disk being
 * full most likely, the frames stay in the batch, nothing is acknowledged, and the transaction is
 * tried again until there is room. Above BATCH_MAX nothing more is read, commands included.
 *
 * Nobody waits for what was delivered to be gone from the spool: that goes with the next transaction there is, or is
 * one after a short while. At some thousand messages a second that is half of all transactions.
 */
#include "archived.h"

#include "counter.h"
#include "log.h"
#include "ns.h"

#define RETRY_TIME  500                /* milliseconds after a failed transaction */
#define FULL_TIME   10                 /* while the router does not read */
#define LAZY_TIME   20                 /* for which DELIVERED waits for the transaction of something else */
#define LAZY_BYTES  (64 << 10)         /* of them, which do not wait */
#define EXPIRE_TIME (24ull * 3600 * 1000)
#define BATCH_MAX   (8u << 20)         /* bytes of frames that wait, above which nothing is read */

static struct {
	uv_timer_t wait;   /* until the next try */
	uint64_t lazy_until; /* ticks until which what may wait waits; 0: nothing does */
	bool urgent;       /* something in the batch may not wait */
	uv_timer_t expire;
	bool overdue;      /* a look is due */
	uv_work_t work;    /* on that index */
	uv_timer_t retention;
	bool waiting;
	bool failing;      /* the last transaction failed */
	bool paused;       /* the router's link is not read */
	struct out out;
} self;

/* Stops and continues reading. */
static void
pause_reading(bool paused)
{
	if (daemon_router() == NULL || paused == self.paused)
		return;
	link_pause(daemon_router(), paused);
	self.paused = paused;
	if (paused)
		COUNT(reads_stopped);
}

static void
wait_over(uv_timer_t *timer)
{
	(void)timer;
	self.waiting = false;
	daemon_dirty();
}

static void
wait_for(uint64_t time)
{
	self.waiting = true;
	uv_timer_start(&self.wait, wait_over, time, 0);
}

/* Whether what has come may wait for more. */
static bool
is_lazy(void)
{
	if (self.urgent || self.overdue || batch_bytes() == 0 || batch_bytes() > LAZY_BYTES)
		return false;
	if (self.lazy_until == 0)
		self.lazy_until = daemon_ticks() + LAZY_TIME;
	if (self.lazy_until <= daemon_ticks())
		return false;
	daemon_dirty_at(self.lazy_until);
	return true;
}

/* Sends what a committed transaction has to say. */
static void
out_send(struct out *out)
{
	struct slice whole, rest = buf_slice(&out->frames);
	size_t i;

	while (frame_next(rest, &whole) == OK) {
		if (daemon_router_up())
			link_send_raw(daemon_router(), whole);
		rest = slice_part(rest, whole.len, rest.len);
	}
	for (i = 0; i + 16 <= buf_len(&out->acks); i += 16) {
		struct frame f = { 0 };
		uint64_t origin;

		memcpy(&origin, buf_slice(&out->acks).ptr + i, 8);
		memcpy(&f.seq, buf_slice(&out->acks).ptr + i + 8, 8);
		f.origin = (uint32_t)origin;
		daemon_ack(&f);
	}
	buf_clear(&out->frames);
	buf_clear(&out->acks);
	if (out->frames.room > 2 * OUT_BYTES)
		buf_free(&out->frames);
}

/* Takes what waits, a transaction at a time, while the router reads the answers. */
static int
batch_take(void)
{
	int error = OK;

	while (error == OK && batch_bytes() != 0) {
		if (daemon_router() != NULL && link_full(daemon_router())) {
			wait_for(FULL_TIME);
			break;
		}
		error = batch_run(daemon_now(), &self.out);
		if (error == OK)
			out_send(&self.out);
	}
	self.urgent = batch_bytes() != 0;
	if (!self.urgent)
		self.lazy_until = 0;
	return error;
}

/* Removes some of a deleted account. */
static int
forget_some(void)
{
	int error;

	if (!forget_pending())
		return OK;
	error = forget_step();
	if (error) {
		state_abort();
		return error;
	}
	error = state_commit();
	if (error == OK && forget_pending())
		daemon_dirty();
	else if (error == OK)
		scrub_hurry();
	return error;
}

/* Gives up messages to domains elsewhere that have waited for too long. */
static int
give_up_some(void)
{
	int error;

	if (!self.overdue || (daemon_router() != NULL && link_full(daemon_router())))
		return OK;
	error = batch_give_up(daemon_now(), &self.out, &self.overdue);
	if (error)
		return error;
	out_send(&self.out);
	if (self.overdue)
		daemon_dirty();
	return OK;
}

/* Removes some of what is too old or too much. */
static int
retention_some(void)
{
	int error;

	if (!retention_pending())
		return OK;
	error = retention_step();
	if (error)
		state_abort();
	else
		error = state_commit();
	if (error == OK && retention_pending())
		daemon_dirty();
	return error;
}

/* Works on requests to archives, while the router reads the answers. */
static void
queries_step(void)
{
	int error;

	if (!mam_pending())
		return;
	if (daemon_router() != NULL && link_full(daemon_router())) {
		wait_for(FULL_TIME);
		return;
	}
	error = mam_step(&self.out);
	if (error)
		log_warn("request not answered", "reason=\"%s\"", error_text(error));
	out_send(&self.out);
	if (mam_pending())
		daemon_dirty();
}

/* -- the index of words -- */

static void
search_run(uv_work_t *work)
{
	(void)work;
	search_work();
}

static void
search_done(uv_work_t *work, int status)
{
	(void)work;
	(void)status;
	search_finish(daemon_ticks());
	daemon_dirty();
}

/* Has a thread of the pool do what is to be done next. */
static void
search_step(void)
{
	uint64_t now = daemon_ticks(), at = search_when();

	if (at <= now && search_prepare(now)) {
		uv_queue_work(daemon_loop(), &self.work, search_run, search_done);
		return;
	}
	at = search_when();
	if (at != UINT64_MAX)
		daemon_dirty_at(at);
}

/* -- what is free -- */

/* Overwrites some of it, when nothing else waits. */
static void
scrub_some(void)
{
	uint64_t now = daemon_ticks(), at = scrub_when(now), began = uv_hrtime();

	if (at <= now) {
		if (self.waiting || batch_bytes() != 0)
			return; /* there will be another iteration */
		scrub_step(now);
		scrub_took(now, (uv_hrtime() - began) / 1000000);
		at = scrub_when(now);
	}
	if (at != UINT64_MAX)
		daemon_dirty_at(at);
}

/* Logs a change between working and failing. */
static void
note(int error)
{
	if (error && !self.failing)
		log_error("messages not stored", "reason=\"%s\" retry=\"every %d ms\"",
		    error_text(error), RETRY_TIME);
	if (!error && self.failing)
		log_info("messages stored again", "spool=%llu",
		    (unsigned long long)spool_total());
	self.failing = error != OK;
}

/* The store is full: what is to go anyway goes now. */
static void
make_room(void)
{
	int error;

	self.overdue = true;
	if (!retention_pending())
		retention_begin(daemon_now());
	error = give_up_some();
	if (error == OK)
		error = retention_some();
	if (error)
		log_debug("no room made", "reason=\"%s\"", error_text(error));
}

static void
on_flush(void)
{
	int error;

	if (!self.waiting) {
		error = is_lazy() ? OK : batch_take();
		if (error == OK && redact_scrub())
			scrub_removed();
		if (error == OK)
			error = forget_some();
		if (error == OK)
			error = give_up_some();
		if (error == OK)
			error = retention_some();
		if (error == E_FULL)
			make_room();
		if (error)
			wait_for(RETRY_TIME);
		note(error);
		queries_step();
	}
	search_step();
	scrub_some();
	pause_reading(batch_bytes() > BATCH_MAX);
}

/* What waits because nobody waits for it: a command is to see it. */
static void
on_settle(void)
{
	int error = self.waiting ? OK : batch_take();

	if (error)
		wait_for(RETRY_TIME);
	note(error);
}

static void
on_frame(const struct frame *f, struct slice whole)
{
	if (!batch_add(f->type, whole))
		daemon_refuse(f, "not for archived");
	else if (f->type != FRAME_DELIVERED)
		self.urgent = true;
}

static void
on_router(void)
{
	struct frame last = { .type = FRAME_STORED, .archive_id = id_last() };

	daemon_send(&last);
	self.paused = false;
}

static void
on_router_gone(void)
{
	self.paused = false;
	batch_router_gone();
}

static void
on_expire(uv_timer_t *timer)
{
	int error = self.failing ? OK : batch_expire(daemon_now());

	(void)timer;
	if (error)
		log_warn("old origins not removed", "reason=\"%s\"", error_text(error));
}

/* Asks once more what nobody has answered: authd or the router was away. */
static void
rosters_ask(void)
{
	int error;

	if (self.failing || !daemon_router_up() || link_full(daemon_router()))
		return;
	error = prefs_ask_again(&self.out);
	if (error == OK)
		error = state_commit();
	else
		state_abort();
	if (error == OK)
		out_send(&self.out);
	else
		log_warn("rosters not asked", "reason=\"%s\"", error_text(error));
	buf_clear(&self.out.frames);
}

static void
on_tick(void)
{
	self.overdue = true;
	rosters_ask();
}

static void
on_retention(uv_timer_t *timer)
{
	retention_begin(daemon_now());
	uv_timer_start(timer, on_retention, retention_interval(), 0);
	daemon_dirty();
}

static void
on_gauges(void)
{
	GAUGE(batch_bytes, batch_bytes());
	index_gauges();
	spool_gauges();
	account_gauges();
	forget_gauges();
	mam_gauges();
	search_gauges();
	prefs_gauges();
	retention_gauges();
	scrub_gauges();
}

static int
on_configure(const struct config *config)
{
	int error;

	undeliverable_configure(config);
	retention_configure(config);
	state.push_body = slice_is(config_text(config, "push", "", "content"), "body");
	state.push_sender = state.push_body ||
	    slice_is(config_text(config, "push", "", "content"), "sender");
	state.page_messages = (uint32_t)config_number(config, "archive", "", "page-messages");
	error = state_open(daemon_state_dir(), config_number(config, "archive", "", "size"),
	    config_number(config, "archive", "", "spool-messages"), daemon_now());
	if (error == OK)
		search_open(daemon_state_dir());
	return error;
}

/* How long messages are kept, and wait, takes effect at once. */
static int
on_reconfigure(const struct config *config)
{
	undeliverable_configure(config);
	retention_configure(config);
	on_retention(&self.retention);
	return OK;
}

static int
on_start(uv_loop_t *loop)
{
	uv_timer_init(loop, &self.wait);
	uv_timer_init(loop, &self.expire);
	uv_timer_start(&self.expire, on_expire, EXPIRE_TIME, EXPIRE_TIME);
	uv_timer_init(loop, &self.retention);
	uv_timer_start(&self.retention, on_retention, 0, 0);
	daemon_dirty();
	/* A process may have been killed before it had done this. */
	if (!forget_pending())
		scrub_hurry();
	return OK;
}

int
main(void)
{
	static const struct daemon_hooks hooks = {
		.role = ROLE_ARCHIVED,
		.nice_pool = true, /* the index of words: messages go first */
		/* Some clients look for it among the features of the server (profanity). */
		.serves = "account-ns " NS_MAM "\n"
		    "feature " NS_MAM "\n"
		    "account-feature " NS_MAM "\n"
		    "account-feature " NS_MAM_EXTENDED "\n"
		    "account-feature " NS_FULLTEXT "\n"
		    "account-feature " NS_MAM_GROUPCHAT "\n"
		    "account-feature " NS_RETRACT "\n"
		    "feature " NS_RETRACT "\n",
		.commands = archived_commands,
		.transfers = archived_transfers,
		.configure = on_configure,
		.reconfigure = on_reconfigure,
		.start = on_start,
		.router = on_router,
		.router_gone = on_router_gone,
		.frame = on_frame,
		.flush = on_flush,
		.tick = on_tick,
		.settle = on_settle,
		.gauges = on_gauges,
	};

	return daemon_main(&hooks);
}
