/*
 * retention.c: removes from archives what is older than its domain keeps, and the oldest of what is more
 * than an account, or a room, may have. Called by main.c, a transaction for each step. Fails when the store does.
 *
 *   (its time, or a new configuration) -> copies on their way are written -> account after account, a
 *   bounded number of rows in a step -> (end)
 *
 * Where a pass stands is in memory alone: after a restart it begins anew, and finds what is left. The age of
 * a copy is that of its id. The spool is not touched: a message that waits goes when it was delivered.
 */
#include "archived.h"

#include <stdlib.h>

#include "counter.h"
#include "log.h"
#include "mem.h"

#define STEP_COPIES   200
#define STEP_ACCOUNTS 500
#define INTERVAL_MIN  1000   /* milliseconds between two passes */
#define INTERVAL_SIZE 60000  /* with a size alone */
#define INTERVAL_MAX  600000

struct limit {
	char *domain;
	uint64_t time;   /* milliseconds, 0: for ever */
	uint64_t bytes; /* of an account, 0: no limit */
};

static struct limit *limits;
static size_t limit_count;

static struct {
	bool running;
	uint64_t now;
	uint64_t account; /* the one that is worked on, or the last that is done */
	uint64_t removed;
} pass;

void
retention_close(void)
{
	size_t i;

	for (i = 0; i < limit_count; i++)
		free(limits[i].domain);
	MEM_FREE(&limits);
	limit_count = 0;
	pass.running = false;
}

/* Adds the limits of a section, a title for each domain. */
static void
limits_read(const struct config *config, const char *section)
{
	struct slice domain;
	size_t i;

	for (i = 0; config_title(config, section, i, &domain); i++) {
		struct limit *limit;

		limits = mem_grow(limits, (limit_count + 1) * sizeof *limits);
		limit = &limits[limit_count++];
		limit->domain = slice_dup(domain);
		limit->time = 1000 * config_number(config, section, limit->domain, "archive-time");
		limit->bytes = config_number(config, section, limit->domain, "archive-size");
	}
}

void
retention_configure(const struct config *config)
{
	retention_close();
	limits_read(config, "domain");
	limits_read(config, "rooms");
}

uint64_t
retention_interval(void)
{
	uint64_t interval = INTERVAL_MAX;
	size_t i;

	for (i = 0; i < limit_count; i++) {
		if (limits[i].time != 0 && limits[i].time / 10 < interval)
			interval = limits[i].time / 10;
		if (limits[i].bytes != 0 && interval > INTERVAL_SIZE)
			interval = INTERVAL_SIZE;
	}
	return interval > INTERVAL_MIN ? interval : INTERVAL_MIN;
}

bool
retention_domain(size_t i, struct slice *domain)
{
	if (i < limit_count)
		*domain = slice_string(limits[i].domain);
	return i < limit_count;
}

/* Those of the domain of an account or a room. */
static const struct limit *
limit_of(struct slice jid)
{
	struct slice domain = usage_domain(jid);
	size_t i;

	for (i = 0; i < limit_count; i++)
		if (slice_is(domain, limits[i].domain))
			return &limits[i];
	return NULL;
}

void
retention_begin(uint64_t now)
{
	if (pass.running)
		return;
	pass.running = true;
	pass.now = now;
	pass.account = pass.removed = 0;
	index_hurry();
}

bool
retention_pending(void)
{
	return pass.running;
}

/* A search for the next account that may have too much. */
struct search {
	unsigned left;
	bool more;        /* there are others */
	uint64_t at;      /* the last that was looked at */
	uint64_t account; /* found; 0: none */
	uint64_t before;  /* ids that are too old */
	uint64_t excess;  /* bytes that are too many */
};

static bool
account_try(void *arg, uint64_t account, const struct usage *usage, struct slice jid)
{
	struct search *search = arg;
	const struct limit *limit;

	if (search->left == 0) {
		search->more = true;
		return false;
	}
	search->left--;
	search->at = account;
	limit = usage->messages != 0 ? limit_of(jid) : NULL;
	if (limit == NULL || (limit->time == 0 && limit->bytes == 0))
		return true;
	search->before = limit->time != 0 && limit->time < pass.now ? id_floor(pass.now - limit->time) : 0;
	search->excess = limit->bytes != 0 && usage->bytes > limit->bytes ? usage->bytes - limit->bytes : 0;
	if (search->excess == 0 && archive_first(account) >= search->before)
		return true;
	search->account = account;
	return false;
}

/* Removes some of an account; it is looked at again until there is nothing more. */
static int
account_trim_archive(const struct search *search)
{
	size_t removed;
	int error = archive_remove_oldest(search->account, search->before, search->excess, STEP_COPIES,
	    &removed);

	if (error == OK && removed != 0)
		error = usage_removed(search->account, pass.now);
	if (error)
		return error;
	pass.removed += removed;
	COUNT_BY(copies_expired, removed);
	pass.account = removed == STEP_COPIES ? search->account - 1 : search->account;
	return OK;
}

int
retention_step(void)
{
	struct search search = { .left = STEP_ACCOUNTS };
	int error;

	if (!index_written())
		return index_some();
	error = usage_walk(pass.account, account_try, &search);
	if (error)
		return error;
	if (search.account != 0)
		return account_trim_archive(&search);
	pass.account = search.at;
	if (!search.more) {
		pass.running = false;
		if (pass.removed != 0)
			log_info("archives trimmed", "copies=%llu", (unsigned long long)pass.removed);
	}
	return OK;
}

void
retention_gauges(void)
{
	GAUGE(expiring, pass.running);
}
