/*
 * test_feed.c: where a session is in what was stored: what it takes and leaves, and what it tells a router.
 *
 * Links: c2sd
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "c2sd.h"

static const unsigned char token[32];

static struct frame
stored(uint64_t id, uint32_t flags)
{
	return (struct frame){ .type = FRAME_STANZA, .kind = STANZA_MESSAGE, .archive_id = id,
		.flags = flags };
}

static bool
takes(struct session *s, uint64_t id, uint32_t flags, bool over)
{
	struct frame f = stored(id, flags);

	return feed_takes(s, &f, over);
}

static void
say(struct session *s, uint32_t flags, uint64_t id, uint64_t number)
{
	struct frame f = { .type = FRAME_SESSION_FEED, .handle = s->handle, .flags = flags,
		.archive_id = id, .number = number };

	feed_frame(&f);
}

/* A copy has the id of its message. */
static void
test_id(void **state)
{
	struct frame f = stored(5, 0);

	(void)state;
	assert_true(feed_id(&f) == 5);
	f = (struct frame){ .flags = FLAG_CARBON, .number = 6 };
	assert_true(feed_id(&f) == 6);
	f.flags = 0;
	assert_true(feed_id(&f) == 0);
}

static void
test_pause(void **state)
{
	struct session *s = session_new(HANDLE(1, 1), SLICE("a@b/c"), token);
	struct frame ask = { .type = FRAME_SESSION_DRAIN };

	(void)state;
	feed_seen(10);
	feed_seen(9);
	assert_true(feed_level(s) == 10);
	feed_pause(s);
	feed_seen(12); /* to others */
	assert_true(takes(s, 11, 0, false)); /* on its way when it paused */
	assert_true(takes(s, 8, 0, true));   /* late: it comes once */
	assert_false(takes(s, 12, 0, true));
	assert_false(takes(s, 13, 0, false)); /* behind what was left out */
	assert_true(feed_level(s) == 11);
	feed_ask(s, &ask);
	assert_true(ask.archive_id == 11 && ask.number == 1);
	say(s, FLAG_MORE, 10, 0); /* crossed it */
	assert_false(takes(s, 14, 0, false));
	say(s, 0, 20, 0);
	assert_true(feed_level(s) == 11);
	say(s, FLAG_MORE, 11, 1);
	assert_true(takes(s, 12, FLAG_SPOOL, false));
	assert_true(takes(s, 3, FLAG_SPOOL, false)); /* off the spool */
	assert_true(feed_level(s) == 12);
	say(s, 0, 30, 0);
	assert_false(s->fed);
	assert_true(feed_level(s) == 30);
	session_free(s);
}

/* -- a client that reads slowly, by chance ----------------------------------------------------------------- */

/* The links between a router and c2sd, and what either knows of a session. Each message that is stored is for
 * the session, so it must come once, in the order of ids, whatever crosses on the way. */
#define WAY 4096u

struct way {
	struct frame frames[WAY]; /* without slices */
	unsigned first, count;
};

static struct {
	struct way down, up;      /* to c2sd, from it */
	uint64_t stored;          /* the last id */
	bool paused, draining;    /* router/drain.c */
	uint64_t level;
	struct session *session;
	unsigned waiting;         /* in the session's queue */
	uint64_t came;            /* to the queue last */
	uint64_t drains, skips;
} world;

enum { SOFT = 4, HARD = 8 };  /* the limits of the queue */

static uint32_t
chance(uint32_t below)
{
	static uint32_t random = 12345;

	random ^= random << 13;
	random ^= random >> 17;
	random ^= random << 5;
	return random % below;
}

static void
way_add(struct way *way, struct frame f)
{
	assert_true(way->count < WAY);
	way->frames[(way->first + way->count++) % WAY] = f;
}

static bool
way_take(struct way *way, struct frame *f)
{
	if (way->count == 0)
		return false;
	*f = way->frames[way->first++ % WAY];
	way->count--;
	return true;
}

/* A message is stored: a live session gets it. */
static void
world_store(void)
{
	world.stored++;
	if (!world.paused && !world.draining)
		way_add(&world.down, stored(world.stored, 0));
}

/* archived sends what is behind the level, and perhaps says that there is no more. */
static void
world_feed(void)
{
	if (world.paused || !world.draining)
		return;
	if (world.level < world.stored) {
		way_add(&world.down, stored(++world.level, FLAG_SPOOL));
		return;
	}
	world.draining = false;
	way_add(&world.down, (struct frame){ .type = FRAME_SESSION_FEED, .archive_id = world.stored,
		.handle = world.session->handle });
}

static void
world_router(void)
{
	struct frame f;

	if (!way_take(&world.up, &f))
		return;
	if (f.type == FRAME_SESSION_PAUSE) {
		world.level = world.draining ? world.level : world.stored;
		world.paused = true;
		return;
	}
	world.paused = false;
	world.draining = true;
	world.level = f.archive_id;
	way_add(&world.down, (struct frame){ .type = FRAME_SESSION_FEED, .flags = FLAG_MORE,
		.handle = f.handle, .archive_id = f.archive_id, .number = f.number });
}

/* As session_limits(). */
static void
world_limits(void)
{
	struct session *s = world.session;
	struct frame f = { .handle = s->handle };

	if (!s->paused && world.waiting > SOFT) {
		f.type = FRAME_SESSION_PAUSE;
		feed_pause(s);
		s->paused = true;
	} else if (s->paused && world.waiting <= SOFT / 2) {
		f.type = FRAME_SESSION_DRAIN;
		feed_ask(s, &f);
		s->paused = false;
		world.drains++;
	} else {
		return;
	}
	way_add(&world.up, f);
}

static void
world_c2sd(void)
{
	struct frame f;

	if (!way_take(&world.down, &f))
		return;
	if (f.type == FRAME_SESSION_FEED) {
		feed_frame(&f);
		return;
	}
	if (!(f.flags & FLAG_SPOOL))
		feed_seen(f.archive_id);
	if (!feed_takes(world.session, &f, world.session->paused && world.waiting >= HARD)) {
		world.skips++;
		return;
	}
	assert_true(f.archive_id == world.came + 1);
	world.came = f.archive_id;
	world.waiting++;
	world_limits();
}

/* The client reads. */
static void
world_client(void)
{
	if (world.waiting > 0)
		world.waiting--;
	world_limits();
}

/* What is not stored takes room as well: it makes the session pause again before its drain is answered. */
static void
world_loose(void)
{
	if (world.waiting < HARD)
		world.waiting++;
	world_limits();
}

/* SESSION_PAUSE and SESSION_DRAIN cross what is stored, what is fed and each other. */
static void
test_crossing(void **state)
{
	static void (*const steps[])(void) = { world_store, world_feed, world_router, world_c2sd,
		world_client, world_loose };
	uint64_t begin = 1000;
	unsigned i, step, phase = 0;

	(void)state;
	feed_seen(begin);
	world.stored = world.level = world.came = begin;
	world.session = session_new(HANDLE(1, 3), SLICE("a@b/e"), token);
	for (i = 0; i < 200000; i++) {
		if (i % 64 == 0)
			phase = chance(6); /* one is slower than the others for a while */
		step = chance(6);
		if (world.down.count + world.up.count > WAY / 2) {
			world_c2sd();
			world_router();
		} else if (step != phase || chance(4) == 0) {
			steps[step]();
		}
	}
	for (i = 0; i < 4000000 && (world.came < world.stored || world.session->fed); i++)
		steps[1 + i % 4]();
	assert_true(world.came == world.stored && !world.session->fed && world.down.count == 0);
	assert_true(world.drains > 100 && world.skips > 100);
	session_free(world.session);
}

/* Bound before anybody knows the last id; told later. */
static void
test_unknown(void **state)
{
	struct session *s = session_new(HANDLE(1, 2), SLICE("a@b/d"), token);

	(void)state;
	feed_from(s, UINT64_MAX);
	assert_true(feed_level(s) == UINT64_MAX);
	say(s, FLAG_MORE, 40, 0);
	assert_true(feed_level(s) == 40);
	say(s, FLAG_MORE, 35, 0); /* it is fed already */
	assert_true(feed_level(s) == 40);
	feed_from(s, 41);
	assert_true(takes(s, 42, FLAG_SPOOL, false) && feed_level(s) == 42);
	session_free(s);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_id),
		cmocka_unit_test(test_pause),
		cmocka_unit_test(test_crossing),
		cmocka_unit_test(test_unknown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
