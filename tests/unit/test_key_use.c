/*
 * test_key_use.c: questions about private keys of several threads at once over one link to an authd that
 * answers in its own order, late, not at all, or is restarted.
 *
 * Links: entry
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "buf.h"
#include "error.h"
#include "frame.h"
#include "key.h"

#define THREADS 4

static const unsigned char id[KEY_ID_SIZE] = "the public half";

struct asker {
	pthread_t thread;
	char text[16];
	gnutls_datum_t result;
	int error;
};

static struct asker askers[THREADS];
static int authd = -1;   /* the other end of the link */
static struct buf heard;

static void
link_make(void)
{
	int fds[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
	if (authd >= 0)
		close(authd);
	authd = fds[0];
	buf_clear(&heard);
	key_link(fds[1]);
}

static void *
ask(void *arg)
{
	struct asker *a = arg;
	gnutls_datum_t data = { (unsigned char *)a->text, (unsigned)strlen(a->text) };

	a->error = key_use("a.example", id, "sign", 1, &data, &a->result);
	return NULL;
}

static void
ask_all(void)
{
	unsigned i;

	for (i = 0; i < THREADS; i++) {
		askers[i] = (struct asker){ .error = -1 };
		snprintf(askers[i].text, sizeof askers[i].text, "question %u", i);
		assert_int_equal(pthread_create(&askers[i].thread, NULL, ask, &askers[i]), 0);
	}
}

/* Waits until so many questions have come; fills questions with views into what was heard. */
static void
hear(struct frame *questions, unsigned count)
{
	struct pollfd p = { .fd = authd, .events = POLLIN };
	struct slice rest, whole;
	unsigned found = 0;
	ssize_t n;

	while (found < count) {
		assert_int_equal(poll(&p, 1, 3000), 1);
		n = recv(authd, buf_reserve(&heard, 4096), 4096, 0);
		assert_true(n > 0);
		buf_added(&heard, (size_t)n);
		rest = buf_slice(&heard);
		for (found = 0; frame_next(rest, &whole) == OK; found++) {
			assert_true(found < count);
			assert_int_equal(frame_read(whole, &questions[found]), OK);
			rest = slice_part(rest, whole.len, rest.len);
		}
	}
}

/* Answers a question with its own text in brackets, or with a condition. */
static void
answer(const struct frame *question, const char *condition)
{
	struct frame f = { .type = FRAME_KEY_RESULT, .number = question->number };
	struct buf text = { 0 }, out = { 0 };

	assert_int_equal(question->type, FRAME_KEY_USE);
	assert_true(slice_is(question->domain, "a.example"));
	assert_true(slice_equal(question->token, slice_of(id, sizeof id)));
	buf_printf(&text, "[%.*s]", SLICE_ARG(question->data));
	if (condition == NULL)
		f.data = buf_slice(&text);
	f.condition = slice_string(condition);
	assert_int_equal(frame_write(&f, &out), OK);
	assert_int_equal(send(authd, buf_slice(&out).ptr, buf_len(&out), 0), buf_len(&out));
	buf_free(&text);
	buf_free(&out);
}

/* Waits for all threads: each has the answer to what it asked. */
static void
join_all(void)
{
	char expected[24];
	unsigned i;

	for (i = 0; i < THREADS; i++) {
		pthread_join(askers[i].thread, NULL);
		assert_int_equal(askers[i].error, OK);
		snprintf(expected, sizeof expected, "[%s]", askers[i].text);
		assert_true(slice_is(slice_of(askers[i].result.data, askers[i].result.size),
		    expected));
		gnutls_free(askers[i].result.data);
	}
}

static void
test_out_of_order(void **state)
{
	struct frame questions[THREADS];
	unsigned round, i;

	(void)state;
	link_make();
	for (round = 0; round < 20; round++) {
		ask_all();
		hear(questions, THREADS); /* all are asked before the first is answered */
		for (i = 0; i < THREADS; i++)
			answer(&questions[(i + round) % THREADS], NULL);
		join_all();
		buf_clear(&heard);
	}
}

static void
test_restart(void **state)
{
	struct frame questions[THREADS], stale;

	(void)state;
	link_make();
	ask_all();
	hear(questions, THREADS);
	answer(&questions[2], NULL);
	stale = questions[0];
	stale.number += 1000000; /* for nobody */
	answer(&stale, NULL);
	poll(NULL, 0, 100);
	link_make();
	hear(questions, THREADS - 1); /* what was not answered is asked again */
	answer(&questions[1], NULL);
	answer(&questions[0], NULL);
	answer(&questions[2], NULL);
	join_all();
}

static void
test_no_key_yet(void **state)
{
	struct frame questions[THREADS];
	unsigned i;

	(void)state;
	link_make();
	ask_all();
	hear(questions, THREADS);
	for (i = 0; i < THREADS; i++)
		answer(&questions[i], i % 2 == 0 ? "item-not-found" : NULL);
	buf_clear(&heard);
	hear(questions, THREADS / 2);
	for (i = 0; i < THREADS / 2; i++)
		answer(&questions[i], NULL);
	join_all();
}

static void
test_refused(void **state)
{
	struct frame question;

	(void)state;
	link_make();
	askers[0] = (struct asker){ .text = "question", .error = -1 };
	assert_int_equal(pthread_create(&askers[0].thread, NULL, ask, &askers[0]), 0);
	hear(&question, 1);
	answer(&question, "not-allowed");
	pthread_join(askers[0].thread, NULL);
	assert_int_equal(askers[0].error, E_FORBIDDEN);
	assert_null(askers[0].result.data);
}

/* A link on which nonsense comes is given up; the next one serves. */
static void
test_nonsense(void **state)
{
	struct frame questions[THREADS];
	unsigned i;

	(void)state;
	link_make();
	ask_all();
	hear(questions, THREADS);
	assert_int_equal(send(authd, "\0\0\0\0nonsense", 12, 0), 12);
	poll(NULL, 0, 100);
	link_make();
	hear(questions, THREADS);
	for (i = 0; i < THREADS; i++)
		answer(&questions[i], NULL);
	join_all();
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_out_of_order),
		cmocka_unit_test(test_restart),
		cmocka_unit_test(test_no_key_yet),
		cmocka_unit_test(test_refused),
		cmocka_unit_test(test_nonsense),
	};
	int failed = cmocka_run_group_tests(tests, NULL, NULL);

	buf_free(&heard);
	return failed;
}
