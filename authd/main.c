/*
 * main.c: authd: hands frames to those who handle them, and commits once in each loop iteration.
 * What an iteration has to say waits in out.c until its transaction is on disk. When the commit
 * fails, nothing of the iteration has happened: requests get an error for an answer, questions that
 * only read are answered again.
 *
 * An answer may be a thousand times as long as its request. So an iteration whose answers are many
 * is ended early, and the router is not read while it has many of them to take.
 */
#include <unistd.h>

#include "authd.h"
#include "counter.h"
#include "log.h"
#include "watermark.h"

#define OUT_BYTES   (1u << 20) /* of answers, after which an iteration is committed */
#define AGAIN_TIME  1000 /* milliseconds that archived has for an answer */

static struct watermarks *marks;
static struct buf taken;     /* pairs of origin and seq, to be acknowledged */
static struct buf questions; /* frames that only read, of this iteration */
static bool durable;         /* the transaction has something to commit */
static bool stopped;         /* the router is not read */
static uv_timer_t again;     /* to ask archived once more */
static uv_timer_t scrub;     /* runs while free pages of the store are overwritten */
static uint64_t scrubbed;    /* pages below this one were */

static int commit(void);

/* -- frames -- */

/* A stanza. Requests that only read leave the watermark alone: they can be answered again, and cost
 * no commit. */
static void
stanza(const struct frame *f)
{
	bool reads = f->kind == STANZA_IQ && f->subtype == TYPE_GET;
	bool repeated = f->seq != 0 && !reads && !watermark_take(marks, f->origin, f->seq);

	request_remember(f);
	if (f->kind == STANZA_IQ && (f->subtype == TYPE_RESULT || f->subtype == TYPE_ERROR))
		push_answer(f, daemon_now());
	else if (f->kind == STANZA_IQ)
		request_handle(f, repeated, daemon_now());
	else if (f->kind == STANZA_PRESENCE)
		presence_handle(f, repeated);
	if (f->seq != 0) {
		buf_add_u64(&taken, f->origin);
		buf_add_u64(&taken, f->seq);
	}
}

/* Whether f->jid is a bare JID in its canonical form. */
static bool
jid_valid(const struct frame *f)
{
	struct jid jid;

	if (jid_parse(f->jid, &jid) == OK && jid.resource.ptr == NULL)
		return true;
	daemon_refuse(f, "not an account");
	return false;
}

static void
roster_wanted(const struct frame *f)
{
	if (jid_valid(f))
		roster_load(f->jid);
}

static void
pending_wanted(const struct frame *f)
{
	if (jid_valid(f))
		roster_pending(f->jid, f->handle);
}

static void
account_asked(const struct frame *f)
{
	if (jid_valid(f))
		account_tell(f->jid);
}

static void
roster_asked(const struct frame *f)
{
	struct jid contact;

	if (!jid_valid(f))
		return;
	if (jid_parse(f->to, &contact) != OK || contact.resource.ptr != NULL)
		daemon_refuse(f, "not a contact");
	else
		roster_tell(f);
}

static void
account_last(const struct frame *f)
{
	if (jid_valid(f))
		last_set(f->jid, f->stamp != 0 ? f->stamp : daemon_now());
}

/* Overwrites some of what is free in the file. */
static void
scrub_some(uv_timer_t *timer)
{
	bool more;
	int error = store_scrub(state.store, &scrubbed, STORE_SCRUB_PAGES, &more);

	if (error != E_AGAIN && (error || !more))
		uv_timer_stop(timer);
}

/* From the first page on. Also at the start: a process may have been killed before it was done. */
static void
scrub_begin(void)
{
	scrubbed = 0;
	uv_timer_start(&scrub, scrub_some, STORE_SCRUB_TIME, STORE_SCRUB_TIME);
}

/* The transaction with this answer comes behind that which has removed the account. */
static void
forgotten(const struct frame *f)
{
	if (!jid_valid(f))
		return;
	forget_done(f);
	scrub_begin();
}

static void
push_wanted(const struct frame *f)
{
	if (jid_valid(f))
		push_publish(f);
}

/* Nothing else of ours is in custody. */
static void
acknowledged(const struct frame *f)
{
	if (f->origin == daemon_incarnation())
		outbox_taken(f);
}

static const struct {
	void (*handle)(const struct frame *f);
	bool reads; /* it only asks, and can be asked again */
} handlers[FRAME_COUNT] = {
	[FRAME_STANZA] = { stanza, false },
	[FRAME_AUTH_START] = { login_frame, false },
	[FRAME_AUTH_STEP] = { login_frame, false },
	[FRAME_AUTH_ABORT] = { login_frame, false },
	[FRAME_ROSTER_LOAD] = { roster_wanted, true },
	[FRAME_ROSTER_PENDING] = { pending_wanted, true },
	[FRAME_ACCOUNT_ASK] = { account_asked, true },
	[FRAME_ROSTER_ASK] = { roster_asked, true },
	[FRAME_ACCOUNT_LAST] = { account_last, false },
	[FRAME_FORGOTTEN] = { forgotten, false },
	[FRAME_PUSH] = { push_wanted, true },
	[FRAME_ACK] = { acknowledged, false },
};

/* Stops reading while the router has many answers to take. */
static void
flow_check(void)
{
	bool full = daemon_router() != NULL && link_full(daemon_router());

	if (full == stopped)
		return;
	if (full)
		COUNT(reads_stopped);
	stopped = full;
	if (daemon_router() != NULL)
		link_pause(daemon_router(), stopped);
}

static void
frame(const struct frame *f, struct slice whole)
{
	if (handlers[f->type].handle == NULL) {
		daemon_refuse(f, "not for authd");
		return;
	}
	if (handlers[f->type].reads)
		buf_add_slice(&questions, whole);
	handlers[f->type].handle(f);
	daemon_dirty();
	if (out_frames().len < OUT_BYTES)
		return;
	COUNT(commits_early);
	commit();
	flow_check();
}

/* -- the end of an iteration -- */

/* Calls each() for the frames in a run of bytes. */
static void
frames_each(struct slice rest, void (*each)(const struct frame *f))
{
	struct slice whole;
	struct frame f;

	while (frame_next(rest, &whole) == OK) {
		rest = slice_part(rest, whole.len, rest.len);
		if (frame_read(whole, &f) == OK)
			each(&f);
	}
}

static void
question_again(const struct frame *f)
{
	handlers[f->type].handle(f);
}

/* Sends what has nothing to do with the transaction. A token that was not stored is none, and a use
 * of one that left no trace could be repeated. */
static void
login_send(const struct frame *f)
{
	struct frame failure = { .type = FRAME_AUTH_FAILURE, .handle = f->handle,
		.condition = SLICE("temporary-auth-failure") };

	if (f->type == FRAME_AUTH_SUCCESS && (f->flags & FLAG_STORE)) {
		daemon_send(&failure);
		return;
	}
	if (f->type == FRAME_AUTH_CHALLENGE || f->type == FRAME_AUTH_SUCCESS ||
	    f->type == FRAME_AUTH_FAILURE)
		daemon_send(f);
}

/* Undoes the iteration in memory, and answers for it. */
static void
failed(int error)
{
	log_error("commit failed", "error=\"%s\"", error_text(error));
	watermarks_revert(marks);
	forget_open();
	outbox_open();
	frames_each(out_frames(), login_send);
	out_clear();
	request_failed(error);
	frames_each(buf_slice(&questions), question_again);
}

/* Sends what is kept for contacts elsewhere, as far as the link takes it. */
static void
outbox_flush(void)
{
	struct frame f;

	while (daemon_router_up() && !link_full(daemon_router()) && outbox_next(&f)) {
		f.origin = daemon_incarnation();
		daemon_send(&f);
	}
}

/* Commits the iteration so far, and sends what it has to say. */
static int
commit(void)
{
	int error;
	size_t i;

	if (watermarks_save(marks, state.store, TABLE_WATERMARK))
		durable = true;
	error = store_commit(state.store);
	if (error == OK)
		request_committed();
	else
		failed(error);
	if (durable && error == OK)
		COUNT(commits);
	durable = false;
	frames_each(out_frames(), daemon_send);
	out_clear();
	outbox_flush();
	/* A stanza that was answered with an error has been dealt with too: kept on, it would hold up
	 * its sender's stream, and be done after the client was told that it was not. */
	for (i = 0; i < buf_len(&taken) / 16; i++) {
		struct frame f = { .type = FRAME_ACK };
		uint64_t origin;

		memcpy(&origin, buf_slice(&taken).ptr + 16 * i, 8);
		memcpy(&f.seq, buf_slice(&taken).ptr + 16 * i + 8, 8);
		f.origin = (uint32_t)origin;
		daemon_ack(&f);
	}
	buf_clear(&taken);
	buf_clear(&questions);
	return error;
}

/* Asks archived again about what it has not answered: it may have been away. */
static void
ask_again(uv_timer_t *timer)
{
	(void)timer;
	if (forget_pending() && daemon_router_up())
		forget_send(true);
	daemon_dirty();
}

static void
flush(void)
{
	commit();
	flow_check();
	if (forget_pending() && !uv_is_active((uv_handle_t *)&again))
		uv_timer_start(&again, ask_again, AGAIN_TIME, 0);
}

static void
router_up(void)
{
	login_router();
	forget_send(true);
	daemon_dirty();
}

static void
gauges(void)
{
	sasl_gauges();
	forget_gauges();
	outbox_gauges();
	GAUGE(key_jobs, key_jobs());
}

static void
router_gone(void)
{
	stopped = false;
	outbox_stop();
	login_router_gone();
}

/* -- the life of the daemon -- */

static int
configure(const struct config *config)
{
	int error = state_configure(config);

	if (error == OK)
		error = key_configure(config);
	if (error == OK)
		error = secret_configure(config);
	if (error == OK)
		error = state_open(daemon_state_dir());
	if (error)
		return error;
	command_commit = commit;
	marks = watermarks_new();
	error = watermarks_load(marks, state.store, TABLE_WATERMARK);
	if (error)
		return error;
	invite_open(daemon_now());
	return register_open();
}

static int
start(uv_loop_t *loop)
{
	uv_timer_init(loop, &again);
	uv_timer_init(loop, &scrub);
	scrub_begin();
	key_start(loop);
	return login_start(loop);
}

static void
link_given(enum role peer, unsigned index, uint32_t incarnation, int fd)
{
	if (ROLE_BIT(peer) & BY_ENTRY)
		key_link(daemon_loop(), peer, index, incarnation, fd);
	else
		close(fd);
}

static const char serves[] =
    "account-ns " NS_ROSTER "\n"
    "account-ns " NS_VCARD "\n"
    "account-ns " NS_PRIVATE "\n"
    "account-ns " NS_BLOCKING "\n"
    "account-ns " NS_PUSH "\n"
    "account-ns " NS_REGISTER "\n"
    "account-ns " NS_LAST "\n"
    "server-ns " NS_REGISTER "\n"
    "server-ns " NS_PARS "\n"
    "feature " NS_ROSTER "\n"
    "feature " NS_VCARD "\n"
    "feature " NS_PRIVATE "\n"
    "feature " NS_BLOCKING "\n"
    "feature " NS_REPORTING "\n"
    "feature " NS_REGISTER "\n"
    "account-feature " NS_VCARD "\n"
    "account-feature " NS_LAST "\n"
    "account-feature " NS_PUSH "\n";

static const struct daemon_hooks hooks = {
	.role = ROLE_AUTHD,
	.serves = serves,
	.serves_more = extdisco_serves,
	.commands = command_table,
	.transfers = transfer_table,
	.configure = configure,
	.reconfigure = key_reconfigure,
	.link = link_given,
	.start = start,
	.router = router_up,
	.router_gone = router_gone,
	.resend = outbox_resend,
	.frame = frame,
	.flush = flush,
	.gauges = gauges,
};

int
main(void)
{
	return daemon_main(&hooks);
}
