/*
 * search.c: the index of words follows the archive, and is asked (XEP-0431). Called by main.c,
 * mam.c, page.c and archive.c. Nothing here is fatal: without its index the archive goes on.
 *
 * The index is worked on in jobs, one at a time:
 *
 *   search_prepare()   on the loop: decides what comes next and takes from the store what it needs
 *   search_work()      on any thread: the index, and nothing else
 *   search_finish()    on the loop: tells who has asked, and the store what is done
 *
 *   FIND     a search                          before the others, but one in two when they wait
 *   REMOVE   messages that left the archive    from TABLE_REMOVED, which has them until they have
 *                                              left the index too and that is on disk
 *   ADD      messages behind the cursor        by their ids; the cursor is in the index
 *   PURGE    a piece of a merge of the whole   what was removed is then no longer in the file
 *   RESET    the index is dropped, and begins anew; the cursor is 0
 *
 * What lies behind the cursor was committed; so whatever dies at whatever moment, it goes on at the
 * cursor of an index that is consistent. An index that is found damaged is dropped. While many messages wait,
 * several jobs are one transaction of the index: what is larger is merged less often.
 */
#include "archived.h"

#include <stdlib.h>
#include <sys/queue.h>

#include "counter.h"
#include "log.h"
#include "mem.h"

#define ADD_FIRST    100            /* messages of a job: those that are stored meanwhile wait for what it takes */
#define ADD_MESSAGES 500            /* the same of one behind several that had as many as they could, and none came */
#define ADD_BYTES    (256u << 10)
#define GATHER       4000           /* messages of a transaction of the index */
#define ADD_TIME     200            /* milliseconds between jobs, unless there are many messages */
#define BUSY_REST    4              /* while messages come: times what a job took, between jobs of what is behind */
#define REMOVE_ROWS  200
#define RETRY_TIME   5000           /* milliseconds after a failure */
#define PURGE_TIME   3600000        /* milliseconds from a purge to the next, at least */
#define PURGE_SHARE  20             /* of time, one is spent on purges, at most */
#define PURGE_PAUSE  20             /* milliseconds between its pieces */
#define FIND_IDS     200            /* of a job */

enum work { WORK_NONE, WORK_FIND, WORK_REMOVE, WORK_ADD, WORK_PURGE, WORK_RESET };

struct find {
	TAILQ_ENTRY(find) all;
	struct buf expression;
	uint64_t after, before;
	bool backward;
	bool ready;              /* ids are there, or error is */
	struct buf ids;
	int error;
	void (*done)(void *arg);
	void *arg;               /* NULL: nobody waits for it any more */
};

/* Those that are neither ready nor at hand. */
static TAILQ_HEAD(finds, find) finds = TAILQ_HEAD_INITIALIZER(finds);

static struct {
	unsigned piece;          /* messages of the next job, beyond ADD_FIRST */
	unsigned gathered;       /* messages of the open transaction of the index */
	bool opened;             /* there are files */
	bool usable;             /* text.c has it open */
	bool reset;              /* is to be made anew */
	bool removed;            /* there may be rows in TABLE_REMOVED */
	bool purge;              /* something was removed since the last purge */
	bool purging;            /* a purge has begun */
	bool failing;
	bool last_was_find;
	uint64_t committed;      /* the last id of a transaction that was */
	uint64_t cursor;         /* what is indexed */
	uint64_t kept;           /* the same, committed */
	uint64_t target;         /* until the cursor is here it is being made anew; 0: it is whole */
	uint64_t next_at;        /* no sooner is anything but a search done */
	uint64_t purge_at;       /* the next may begin */
	uint64_t purge_began;
} self;

/* The job at hand; what is below is the thread's while it works. */
static struct {
	enum work work;
	uint64_t began;          /* ticks */
	uint64_t committed;      /* then */
	struct find *find;
	struct buf rows;
	uint64_t cursor;         /* after it */
	unsigned taken;          /* messages */
	bool full;               /* there is more */
	bool open;               /* it leaves the transaction open */
	bool last;               /* with it the index is whole */
	bool first, done;        /* of a purge */
	uint64_t count;
	int error;
	struct buf keys;         /* ids of rows of TABLE_REMOVED that it does */
} job;

/* -- opening -- */

/* Reads how far the index is. */
static int
state_load(void)
{
	uint64_t purge = 0;
	int error = text_state_get("cursor", &self.cursor);

	if (error == OK)
		error = text_state_get("target", &self.target);
	if (error == OK)
		error = text_state_get("purge", &purge);
	self.purge = purge != 0;
	self.kept = self.cursor;
	return error;
}

int
search_open(const char *directory)
{
	int error = textfile_open(directory);

	if (error)
		return error;
	self.opened = self.removed = true;
	self.committed = id_last();
	error = text_open();
	self.usable = error == OK;
	if (error == OK)
		error = state_load();
	if (error == OK && self.cursor > self.committed) {
		log_warn("text index dropped", "reason=\"it is ahead of the archive\"");
		self.reset = true;
	} else if (error) {
		log_warn("text index dropped", "reason=\"%s\"", text_reason());
		self.reset = true;
	} else if (self.cursor == 0 && self.target == 0 && self.committed != 0) {
		log_info("text index begun", "reason=\"there is none\"");
		self.reset = true;
	}
	return OK;
}

void
search_close(void)
{
	struct find *find;

	while ((find = TAILQ_FIRST(&finds)) != NULL) {
		TAILQ_REMOVE(&finds, find, all);
		find->ready = true;
		if (find->arg == NULL)
			search_drop(&find);
	}
	text_close();
	textfile_close();
	buf_free(&job.rows);
	buf_free(&job.keys);
	memset(&self, 0, sizeof self);
	memset(&job, 0, sizeof job);
}

bool
search_reset(void)
{
	self.reset = self.opened;
	self.next_at = 0;
	return self.opened;
}

bool
search_may_have(uint64_t id)
{
	return self.opened && (id <= self.cursor || id <= job.cursor || !self.usable);
}

void
search_committed(uint64_t id)
{
	self.committed = id;
}

void
search_removed(void)
{
	self.removed = true;
}

bool
search_is_whole(void)
{
	return self.opened && !self.reset && self.target == 0 && self.usable;
}

/* -- searches -- */

struct find *
search_ask(struct slice expression, uint64_t after, uint64_t before, bool backward,
    void (*done)(void *arg), void *arg)
{
	struct find *find = mem_alloc(sizeof *find);

	buf_add_slice(&find->expression, expression);
	find->after = after;
	find->before = before;
	find->backward = backward;
	find->done = done;
	find->arg = arg;
	TAILQ_INSERT_TAIL(&finds, find, all);
	return find;
}

int
search_take(struct find *find, struct buf *ids, bool *more)
{
	buf_add_slice(ids, buf_slice(&find->ids));
	*more = buf_len(&find->ids) / 8 >= FIND_IDS;
	return find->error;
}

void
search_drop(struct find **at)
{
	struct find *find = *at;

	*at = NULL;
	if (find == NULL)
		return;
	find->arg = NULL;
	if (find == job.find)
		return; /* search_finish() does it */
	if (!find->ready)
		TAILQ_REMOVE(&finds, find, all);
	buf_free(&find->expression);
	buf_free(&find->ids);
	free(find);
}

/* -- what is to be done -- */

/* Adds what the index has or gets of a message to the rows of the job. */
static void
row_gather(uint64_t id, const struct frame *f)
{
	static struct buf party, words; /* keep their memory */

	buf_clear(&party);
	buf_clear(&words);
	phrase_words(f, &words);
	if (buf_len(&words) == 0)
		return;
	phrase_parties(f, &party);
	text_row_add(&job.rows, id, buf_slice(&party), buf_slice(&words));
	buf_trim(&words, 4096);
}

static bool
message_gather(void *arg, struct slice key, struct slice value)
{
	uint64_t id = store_key_read_u64(key.ptr);
	unsigned most = *(unsigned *)arg;
	uint64_t stamp;
	struct frame f;

	if (job.taken == most || buf_len(&job.rows) > ADD_BYTES) {
		job.full = true;
		return false;
	}
	job.taken++;
	job.cursor = id;
	if (message_read(value, &stamp, &f) == OK && message_is_archived(&f))
		row_gather(id, &f);
	return true;
}

static int
gather_add(void)
{
	unsigned most = ADD_FIRST + self.piece;
	char from[8];
	int error;

	job.cursor = self.cursor;
	store_key_u64(from, self.cursor + 1);
	error = store_walk(state.store, TABLE_MESSAGE, slice_of(from, sizeof from), SLICE(""),
	    message_gather, &most);
	if (!job.full && self.committed > job.cursor)
		job.cursor = self.committed;
	job.last = self.target != 0 && job.cursor >= self.target;
	job.open = job.full && !job.last && self.gathered + job.taken < GATHER;
	return error;
}

static bool
removed_gather(void *arg, struct slice key, struct slice value)
{
	uint64_t id = store_key_read_u64(key.ptr), stamp;
	unsigned *left = arg;
	struct frame f;

	if (*left == 0 || buf_len(&job.rows) > ADD_BYTES) {
		job.full = true;
		return false;
	}
	--*left;
	buf_add_u64(&job.keys, id);
	if (message_read(value, &stamp, &f) == OK)
		row_gather(id, &f);
	return true;
}

static int
gather_removed(void)
{
	unsigned left = REMOVE_ROWS;
	int error = store_walk(state.store, TABLE_REMOVED, SLICE(""), SLICE(""), removed_gather,
	    &left);

	if (error == OK && buf_len(&job.keys) == 0)
		self.removed = false;
	return error;
}

/* Whether there is anything else to do than searches; *at: when. */
static enum work
work_next(uint64_t *at)
{
	*at = self.next_at;
	if (self.reset || !self.usable)
		return WORK_RESET;
	if (self.removed)
		return WORK_REMOVE;
	if (self.cursor < self.committed)
		return WORK_ADD;
	if (!self.purge)
		return WORK_NONE;
	if (!self.purging && self.purge_at > *at)
		*at = self.purge_at;
	return WORK_PURGE;
}

uint64_t
search_when(void)
{
	uint64_t at;

	if (!self.opened || job.work != WORK_NONE)
		return UINT64_MAX;
	if (!TAILQ_EMPTY(&finds))
		return 0;
	return work_next(&at) == WORK_NONE ? UINT64_MAX : at;
}

/* Takes from the store what the work needs. */
static int
gather(enum work work)
{
	switch (work) {
	case WORK_ADD:
		return gather_add();
	case WORK_REMOVE:
		return gather_removed();
	case WORK_PURGE:
		job.first = !self.purging;
		self.purging = true;
		return OK;
	case WORK_RESET:
		job.cursor = self.committed; /* the target */
		return OK;
	default:
		return OK;
	}
}

bool
search_prepare(uint64_t now)
{
	enum work work;
	uint64_t at;
	int error;

	if (!self.opened || job.work != WORK_NONE)
		return false;
	work = work_next(&at);
	if (work != WORK_NONE && at > now)
		work = WORK_NONE;
	if (!TAILQ_EMPTY(&finds) && (work == WORK_NONE || !self.last_was_find))
		work = WORK_FIND;
	self.last_was_find = work == WORK_FIND;
	job.count = job.cursor = 0;
	job.error = OK;
	job.began = now;
	job.committed = self.committed;
	job.taken = 0;
	job.full = job.open = job.last = job.first = job.done = false;
	buf_clear(&job.rows);
	buf_clear(&job.keys);
	if (work == WORK_FIND) {
		job.find = TAILQ_FIRST(&finds);
		TAILQ_REMOVE(&finds, job.find, all);
	}
	error = gather(work);
	store_abort(state.store); /* ends the snapshot that was read */
	if (error) {
		self.next_at = now + RETRY_TIME;
		return false;
	}
	if (work == WORK_REMOVE && buf_len(&job.keys) == 0)
		return search_prepare(now);
	job.work = work;
	return work != WORK_NONE;
}

/* -- doing it -- */

void
search_work(void)
{
	switch (job.work) {
	case WORK_FIND:
		job.error = !text_is_open() ? E_AGAIN : text_find(buf_slice(&job.find->expression),
		    job.find->after, job.find->before, job.find->backward, FIND_IDS,
		    &job.find->ids);
		break;
	case WORK_ADD:
		job.error = text_add(buf_slice(&job.rows), job.cursor, job.open, &job.count);
		if (job.error == OK && job.last)
			job.error = text_state_put("target", 0);
		break;
	case WORK_REMOVE:
		job.error = text_remove(buf_slice(&job.rows), &job.count);
		break;
	case WORK_PURGE:
		job.error = text_purge(job.first, &job.done);
		break;
	case WORK_RESET:
		job.error = text_reset();
		if (job.error == OK)
			job.error = text_state_put("target", job.cursor);
		break;
	case WORK_NONE:
		break;
	}
}

/* -- afterwards -- */

static void
finish_find(void)
{
	struct find *find = job.find;

	job.find = NULL;
	find->ready = true;
	find->error = job.error;
	COUNT(text_searches);
	if (find->arg != NULL)
		find->done(find->arg);
	else
		search_drop(&find);
}

static void
finish_add(uint64_t now)
{
	bool busy = self.committed != job.committed;

	self.cursor = job.cursor;
	self.gathered += job.taken;
	COUNT_BY(text_added, job.count);
	if (!job.full)
		self.next_at = now + ADD_TIME;
	else if (busy)
		self.next_at = now + BUSY_REST * (now - job.began + 1);
	if (!job.full || busy)
		self.piece = 0;
	else if (ADD_FIRST + self.piece < ADD_MESSAGES)
		self.piece += ADD_FIRST;
	if (!job.last)
		return;
	self.target = 0;
	log_info("text index made", "until=%llx", (unsigned long long)self.cursor);
}

/* The index has forgotten them; now the store may. */
static void
finish_remove(uint64_t now)
{
	size_t i;
	int error = OK;

	COUNT_BY(text_removed, job.count);
	self.purge = self.purge || job.count != 0;
	for (i = 0; i < buf_len(&job.keys) && error == OK; i += 8) {
		uint64_t id;
		char key[8];

		memcpy(&id, buf_slice(&job.keys).ptr + i, 8);
		store_key_u64(key, id);
		error = store_remove(state.store, TABLE_REMOVED, slice_of(key, sizeof key));
		error = error == E_NOT_FOUND ? OK : error;
	}
	if (error)
		state_abort();
	else
		error = state_commit();
	/* Until now the store had their words. */
	if (error == OK && buf_len(&job.keys) != 0)
		scrub_removed();
	if (error)
		self.next_at = now + RETRY_TIME;
	else if (!job.full)
		self.removed = false;
}

static void
finish_purge(uint64_t now)
{
	uint64_t took;

	if (job.first)
		self.purge_began = now;
	self.next_at = now + PURGE_PAUSE;
	if (!job.done)
		return;
	self.purge = self.purging = false;
	took = now - self.purge_began;
	self.purge_at = now + (took * PURGE_SHARE > PURGE_TIME ? took * PURGE_SHARE : PURGE_TIME);
}

static void
finish_reset(void)
{
	self.reset = self.purge = self.purging = false;
	self.usable = true;
	self.cursor = 0;
	self.target = job.cursor;
	COUNT(text_resets);
}

/* Logs a change between working and failing, and drops an index that is damaged. */
static void
finish_failed(uint64_t now)
{
	self.purging = false;
	self.usable = text_is_open();
	if (!text_is_gathering()) { /* what was gathered is lost */
		self.cursor = self.kept;
		self.gathered = 0;
	}
	if (job.error == E_MALFORMED && !self.reset) {
		log_warn("text index dropped", "reason=\"%s\"", text_reason());
		self.reset = true;
		return;
	}
	if (!self.failing)
		log_error("text index not written", "reason=\"%s\" retry=\"every %d ms\"",
		    text_reason(), RETRY_TIME);
	self.failing = true;
	self.next_at = now + RETRY_TIME;
}

void
search_finish(uint64_t now)
{
	enum work work = job.work;

	job.work = WORK_NONE;
	if (job.error && !(work == WORK_FIND && job.error == E_AGAIN))
		finish_failed(now);
	else if (self.failing && work != WORK_FIND) {
		log_info("text index written again", "until=%llx", (unsigned long long)self.cursor);
		self.failing = false;
	}
	if (work == WORK_FIND)
		finish_find();
	else if (job.error)
		;
	else if (work == WORK_ADD)
		finish_add(now);
	else if (work == WORK_REMOVE)
		finish_remove(now);
	else if (work == WORK_PURGE)
		finish_purge(now);
	else if (work == WORK_RESET)
		finish_reset();
	if (work != WORK_FIND && !job.error && !job.open) {
		self.kept = self.cursor;
		self.gathered = 0;
	}
	job.cursor = 0;
}

void
search_gauges(void)
{
	GAUGE(text_building, self.opened && !search_is_whole());
}
