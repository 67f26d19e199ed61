/*
 * login.c: gives sasl.c its time and its threads. Called by main.c; a password is checked on the
 * thread pool because PBKDF2 takes milliseconds.
 */
#include <stdlib.h>

#include "authd.h"
#include "mem.h"

#define TICK_SOON 50   /* milliseconds, while an exchange is delayed */
#define TICK_IDLE 5000 /* while there are exchanges */

struct work {
	uv_work_t request;
	struct sasl_job *job;
};

static uv_timer_t timer;

static void ticked(uv_timer_t *handle);

/* Sets the timer to when something may have to be done. */
static void
schedule(void)
{
	bool soon = sasl_tick(daemon_ticks());

	if (soon || sasl_busy())
		uv_timer_start(&timer, ticked, soon ? TICK_SOON : TICK_IDLE, 0);
}

static void
ticked(uv_timer_t *handle)
{
	(void)handle;
	schedule();
	daemon_dirty();
}

static void
work_run(uv_work_t *request)
{
	struct work *work = request->data;

	sasl_job_run(work->job);
}

static void
work_done(uv_work_t *request, int status)
{
	struct work *work = request->data;

	if (status == 0)
		sasl_job_done(work->job, daemon_ticks());
	gnutls_memset(work->job, 0, sizeof *work->job);
	free(work->job);
	free(work);
	daemon_dirty();
}

static void
verify(struct sasl_job *job)
{
	struct work *work = mem_alloc(sizeof *work);

	work->job = job;
	work->request.data = work;
	if (uv_queue_work(daemon_loop(), &work->request, work_run, work_done) != 0)
		abort(); /* only for a NULL callback */
}

int
login_start(uv_loop_t *loop)
{
	uv_timer_init(loop, &timer);
	return sasl_open(verify);
}

void
login_frame(const struct frame *f)
{
	sasl_frame(f, daemon_ticks());
	schedule();
}

void
login_router(void)
{
	struct frame f = { .type = FRAME_MECHANISMS };
	struct buf text = { 0 };

	mechanism_list(&text);
	f.text = buf_slice(&text);
	f.token = slice_of(state.grant_key, SECRET_SIZE);
	daemon_send(&f);
	buf_free(&text);
}

void
login_router_gone(void)
{
	sasl_forget();
}
