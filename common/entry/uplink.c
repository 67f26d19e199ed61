/*
 * uplink.c: frames to the router that must not be lost: stanzas of peers, and reports of
 * delivery.
 *
 * Each is kept in custody until it is acknowledged, and sent again when the router asks for that.
 * What is sent before a new router has asked for the first time waits in custody: it must not
 * overtake older frames. Called by the daemon's sessions and main.c. sm.c bounds what is kept of each
 * session, the option window-total what is kept of all; reports of delivery are bounded by what was
 * delivered to us, which stops when archived does.
 */
#include "uplink.h"

#include <stdlib.h>
#include <sys/queue.h>

#include "counter.h"
#include "custody.h"
#include "daemon.h"
#include "error.h"
#include "log.h"
#include "mem.h"

#define REPORT_PAIRS 4096u         /* of one DELIVERED */
#define REPORT_TIME  20u           /* milliseconds for which a report waits for something else that is sent */

/* A DELIVERED frame on its way. */
struct report {
	struct uplink_sender sender; /* first */
	LIST_ENTRY(report) all;
	struct buf pairs;            /* handle, archive id */
};

static struct custody *custody;
static size_t limit;
static void (*reported)(uint64_t handle);
static bool live;
static LIST_HEAD(, report) reports = LIST_HEAD_INITIALIZER(reports);
static size_t report_pairs; /* in all of them */
static struct buf pairs;   /* of the next report */
static uint64_t report_at; /* daemon_ticks() at which it is due */
static bool stirred;       /* something was sent since the last flush */
static struct buf scratch;

void
uplink_start(void (*r)(uint64_t handle))
{
	custody = custody_new();
	reported = r;
}

void
uplink_limit(size_t bytes)
{
	limit = bytes;
}

void
uplink_gauges(void)
{
	GAUGE(custody_frames, custody_count(custody));
	GAUGE(custody_bytes, custody_bytes(custody));
	GAUGE(reports, report_pairs);
}

int
uplink_send(struct uplink_sender *sender, const struct frame *f, uint64_t *seq, size_t *len)
{
	struct frame copy = *f;
	int error;

	copy.origin = daemon_incarnation();
	copy.seq = custody_next(custody);
	buf_clear(&scratch);
	scratch.secret = (f->flags & FLAG_SECRET) != 0;
	error = frame_write(&copy, &scratch);
	if (error != OK)
		return error;
	stirred = true;
	custody_keep(custody, buf_slice(&scratch), sender);
	if (live && daemon_router() != NULL)
		link_send_raw(daemon_router(), buf_slice(&scratch));
	*seq = copy.seq;
	*len = buf_len(&scratch);
	buf_clear(&scratch);
	buf_trim(&scratch, 64u << 10);
	return OK;
}

void
uplink_forget(const struct uplink_sender *sender)
{
	custody_forget_tag(custody, sender);
}

static void
taken(void *arg, uint64_t seq, void *tag)
{
	struct uplink_sender *sender = tag;

	(void)arg;
	if (sender != NULL)
		sender->taken(sender, seq);
}

void
uplink_ack(const struct frame *f)
{
	size_t i;

	if (f->origin != daemon_incarnation())
		return;
	for (i = 0; i + 1 < frame_count(f); i += 2)
		custody_ack(custody, frame_at(f, i), frame_at(f, i + 1), taken, NULL);
}

static void
send_again(void *arg, struct slice frame, void *tag)
{
	(void)tag;
	link_send_raw(arg, frame);
}

void
uplink_resend(void)
{
	live = true;
	if (daemon_router() != NULL)
		custody_resend(custody, send_again, daemon_router());
}

void
uplink_up(void)
{
	live = false;
}

void
uplink_down(void)
{
	live = false;
}

bool
uplink_live(void)
{
	return live && daemon_router_up();
}

bool
uplink_congested(void)
{
	return daemon_router() != NULL && link_full(daemon_router());
}

bool
uplink_full(void)
{
	return custody_bytes(custody) > limit || uplink_congested();
}

/* -- reports of delivery ----------------------------------------------------------------------- */

static bool
has_pair(const struct buf *list, uint64_t handle, uint64_t archive_id)
{
	struct slice rest = buf_slice(list);
	uint64_t pair[2] = { handle, archive_id };

	for (; rest.len >= sizeof pair; rest = slice_part(rest, sizeof pair, rest.len)) {
		if (memcmp(rest.ptr, pair, sizeof pair) == 0)
			return true;
	}
	return false;
}

bool
uplink_delivering(uint64_t handle, uint64_t archive_id)
{
	struct report *report;

	if (has_pair(&pairs, handle, archive_id))
		return true;
	LIST_FOREACH(report, &reports, all) {
		if (has_pair(&report->pairs, handle, archive_id))
			return true;
	}
	return false;
}

/* A report was taken: its sessions have that much less on its way. */
static void
report_taken(struct uplink_sender *sender, uint64_t seq)
{
	struct report *report = (struct report *)sender;
	struct slice rest = buf_slice(&report->pairs);
	uint64_t handle;

	(void)seq;
	for (; rest.len >= 16; rest = slice_part(rest, 16, rest.len)) {
		memcpy(&handle, rest.ptr, 8);
		reported(handle);
	}
	report_pairs -= buf_len(&report->pairs) / 16;
	LIST_REMOVE(report, all);
	buf_free(&report->pairs);
	free(report);
}

void
uplink_delivered(uint64_t handle, uint64_t archive_id)
{
	if (buf_len(&pairs) == 0)
		report_at = daemon_ticks() + REPORT_TIME;
	buf_add_u64(&pairs, handle);
	buf_add_u64(&pairs, archive_id);
	if (buf_len(&pairs) >= 16 * REPORT_PAIRS)
		uplink_report();
	daemon_dirty();
}

void
uplink_report(void)
{
	struct frame f = { .type = FRAME_DELIVERED, .numbers = buf_slice(&pairs) };
	struct report *report;
	uint64_t seq;
	size_t len;

	if (buf_len(&pairs) == 0)
		return;
	report = mem_alloc(sizeof *report);
	report->sender.taken = report_taken;
	LIST_INSERT_HEAD(&reports, report, all);
	uplink_send(&report->sender, &f, &seq, &len);
	report->pairs = pairs;
	report_pairs += buf_len(&pairs) / 16;
	pairs = (struct buf){ 0 };
}

void
uplink_flush(void)
{
	if (stirred || report_at <= daemon_ticks())
		uplink_report();
	else if (buf_len(&pairs) != 0)
		daemon_dirty_at(report_at);
	stirred = false;
}
