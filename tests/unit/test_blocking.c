/*
 * test_blocking.c: block lists as text (XEP-0191): order, matching, what is no list.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "block.h"

#define LIST "a@b.example\nb.example/R\nc@b.example/x\nd.example\nuser@b.example\n"

static void
test_matches(void **state)
{
	static const struct { const char *jid; bool blocked; } rows[] = {
		{ "a@b.example", true },            /* a bare JID: all its resources */
		{ "a@b.example/any", true },
		{ "aa@b.example", false },
		{ "@b.example", false },
		{ "c@b.example/x", true },          /* a full JID: only that */
		{ "c@b.example/y", false },
		{ "c@b.example", false },
		{ "b.example/R", true },            /* a resource of a domain, of its users too */
		{ "z@b.example/R", true },
		{ "b.example/r", false },
		{ "b.example", false },
		{ "z@b.example", false },
		{ "d.example", true },              /* a domain: all of it, not what stands below it */
		{ "z@d.example", true },
		{ "z@d.example/r", true },
		{ "d.example/r", true },
		{ "x.d.example", false },
		{ "user@b.example/1", true },
		{ "users@b.example", false },
		{ "not a jid@@", false },
		{ "", false },
	};
	size_t i;

	(void)state;
	assert_true(block_valid(SLICE(LIST)));
	for (i = 0; i < sizeof rows / sizeof *rows; i++) {
		if (block_matches(SLICE(LIST), slice_string(rows[i].jid)) != rows[i].blocked)
			fail_msg("%s", rows[i].jid);
	}
	assert_false(block_matches(SLICE(LIST), SLICE_NONE));
	assert_false(block_matches(SLICE(""), SLICE("a@b.example")));
	assert_false(block_matches(SLICE_NONE, SLICE("a@b.example")));
}

static void
test_valid(void **state)
{
	static const char *const bad[] = {
		"a@b.example", "a@b.example\nz", "b.example\na@b.example\n", "a@b\na@b\n", "\n", "A@B.example\n",
		"@@\n", "a@b.example\n\n",
	};
	size_t i;

	(void)state;
	assert_true(block_valid(SLICE("")) && block_valid(SLICE_NONE));
	for (i = 0; i < sizeof bad / sizeof *bad; i++) {
		if (block_valid(slice_string(bad[i])))
			fail_msg("%s", bad[i]);
	}
	/* What is no list matches nothing it must not, and ends. */
	assert_false(block_has(SLICE("zzz"), SLICE("zzz")));
}

/* Against the plainest list there is. */
static void
test_changes(void **state)
{
	struct buf list = { 0 }, next = { 0 };
	bool in[200] = { false };
	unsigned step, i, seed = 1;
	char jid[32];

	(void)state;
	for (step = 0; step < 2000; step++) {
		seed = seed * 1103515245u + 12345u;
		i = seed / 65536 % 200;
		snprintf(jid, sizeof jid, "u%u@x.example", i);
		in[i] = seed / 4096 % 3 != 0;
		buf_clear(&next);
		block_change(buf_slice(&list), slice_string(jid), in[i], &next);
		buf_clear(&list);
		buf_add_slice(&list, buf_slice(&next));
		assert_true(block_valid(buf_slice(&list)));
		if (step % 50 != 0)
			continue;
		for (i = 0; i < 200; i++) {
			snprintf(jid, sizeof jid, "u%u@x.example", i);
			assert_int_equal(block_has(buf_slice(&list), slice_string(jid)), in[i]);
		}
	}
	buf_free(&list);
	buf_free(&next);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_matches),
		cmocka_unit_test(test_valid),
		cmocka_unit_test(test_changes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
