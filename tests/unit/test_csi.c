/*
 * test_csi.c: what is held back from an inactive client, and in which order it goes out (XEP-0352).
 *
 * Links: c2sd
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "c2sd.h"
#include "mem.h"

static struct frame
stanza(enum stanza_kind kind, enum stanza_type type, uint32_t flags, const char *from, const char *id)
{
	return (struct frame){ .type = FRAME_STANZA, .kind = kind, .subtype = type, .flags = flags,
		.from = slice_string(from), .id = slice_string(id), .payload = SLICE("") };
}

static void
add(struct csi *csi, const struct frame *f)
{
	assert_true(csi_takes(f));
	csi_add(csi, f, kept_new(f));
}

static void
presence(struct csi *csi, enum stanza_type type, const char *from, const char *id)
{
	struct frame f = stanza(STANZA_PRESENCE, type, 0, from, id);

	add(csi, &f);
}

/* Takes the ids out of a queue. */
static void
read_id(void *arg, const struct outqueue_item *item)
{
	struct frame f;

	assert_int_equal(frame_read(slice_of(item->kept->frame, item->kept->len), &f), 0);
	assert_true(item->archive_id == 0 && item->bytes == item->kept->len);
	buf_add_slice(arg, f.id);
	buf_add_char(arg, ' ');
}

static void
flushes(struct csi *csi, const char *expected)
{
	struct outqueue q = { 0 };
	struct buf text = { 0 };

	csi_flush(csi, &q);
	assert_int_equal(csi_bytes(csi), 0);
	outqueue_each(&q, read_id, &text);
	buf_add_char(&text, '\0');
	assert_string_equal(buf_slice(&text).ptr, expected);
	outqueue_clear(&q, NULL, NULL);
	buf_free(&text);
	assert_int_equal(outqueue_memory(), 0);
}

static void
test_what_waits(void **state)
{
	static const struct {
		enum stanza_kind kind;
		enum stanza_type type;
		uint32_t flags;
		uint64_t archive_id;
		bool takes;
	} rows[] = {
		{ STANZA_PRESENCE, TYPE_AVAILABLE, 0, 0, true },
		{ STANZA_PRESENCE, TYPE_UNAVAILABLE, 0, 0, true },
		{ STANZA_PRESENCE, TYPE_SUBSCRIBE, 0, 0, false },
		{ STANZA_PRESENCE, TYPE_UNSUBSCRIBED, 0, 0, false },
		{ STANZA_PRESENCE, TYPE_PROBE, 0, 0, false },
		{ STANZA_PRESENCE, TYPE_ERROR, FLAG_ERROR, 0, false },
		{ STANZA_MESSAGE, TYPE_CHAT, FLAG_IM, 0, true },
		{ STANZA_MESSAGE, TYPE_CHAT, FLAG_IM | FLAG_CARBON, 0, true },
		{ STANZA_MESSAGE, TYPE_GROUPCHAT, FLAG_IM, 0, true },
		{ STANZA_MESSAGE, TYPE_NORMAL, 0, 0, true },
		{ STANZA_MESSAGE, TYPE_CHAT, FLAG_IM | FLAG_CONTENT, 0, false },
		{ STANZA_MESSAGE, TYPE_CHAT, FLAG_CONTENT | FLAG_BODY, 7, false },
		{ STANZA_MESSAGE, TYPE_CHAT, FLAG_CONTENT | FLAG_BODY | FLAG_CARBON, 0, false },
		{ STANZA_MESSAGE, TYPE_CHAT, 0, 7, false },
		{ STANZA_MESSAGE, TYPE_CHAT, 0, 0, true },
		{ STANZA_MESSAGE, TYPE_ERROR, FLAG_ERROR, 0, false },
		{ STANZA_MESSAGE, TYPE_HEADLINE, FLAG_CONTENT, 0, true },
		{ STANZA_MESSAGE, TYPE_HEADLINE, FLAG_CONTENT | FLAG_BODY, 0, false },
		{ STANZA_IQ, TYPE_GET, 0, 0, false },
		{ STANZA_IQ, TYPE_SET, 0, 0, false },
		{ STANZA_IQ, TYPE_RESULT, 0, 0, false },
		{ STANZA_IQ, TYPE_ERROR, FLAG_ERROR, 0, false },
	};
	size_t i;

	(void)state;
	for (i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct frame f = stanza(rows[i].kind, rows[i].type, rows[i].flags, "a@b/c", "x");

		f.archive_id = rows[i].archive_id;
		if (csi_takes(&f) != rows[i].takes)
			fail_msg("row %zu", i);
	}
}

static void
test_folds(void **state)
{
	struct csi *csi = csi_new();
	struct frame f;

	(void)state;
	flushes(csi, "");
	presence(csi, TYPE_AVAILABLE, "a@x/1", "1");
	presence(csi, TYPE_AVAILABLE, "a@x/2", "2");
	presence(csi, TYPE_UNAVAILABLE, "a@x/1", "3");
	presence(csi, TYPE_AVAILABLE, "b@x/1", "4");
	presence(csi, TYPE_AVAILABLE, "a@x/1", "5");
	flushes(csi, "2 4 5 ");
	/* Chat states of the same address are another matter, and each conversation's are. */
	presence(csi, TYPE_AVAILABLE, "a@x/1", "1");
	f = stanza(STANZA_MESSAGE, TYPE_CHAT, FLAG_IM, "a@x/1", "2");
	add(csi, &f);
	f.id = SLICE("3");
	add(csi, &f);
	f.to = SLICE("me@x");
	f.id = SLICE("4");
	add(csi, &f);
	f.to = SLICE("you@x");
	f.id = SLICE("5");
	add(csi, &f);
	f.id = SLICE("6");
	add(csi, &f);
	flushes(csi, "1 3 4 6 ");
	/* News is not folded: each is another. */
	f = stanza(STANZA_MESSAGE, TYPE_HEADLINE, FLAG_CONTENT, "a@x", "1");
	add(csi, &f);
	f.id = SLICE("2");
	add(csi, &f);
	presence(csi, TYPE_AVAILABLE, "a@x", "3");
	flushes(csi, "1 2 3 ");
	free(csi);
}

/* Memory is that of one stanza a sender, however often it changes. */
static void
test_bytes(void **state)
{
	struct csi *csi = csi_new();
	char from[32], expected[400] = "", id[8];
	size_t once = 0;
	unsigned i, round;

	(void)state;
	for (round = 0; round < 50; round++) {
		for (i = 0; i < 40; i++) {
			snprintf(from, sizeof from, "u%02u@x/r", i);
			snprintf(id, sizeof id, "%02u-%02u", round, i);
			presence(csi, round % 2 ? TYPE_AVAILABLE : TYPE_UNAVAILABLE, from, id);
		}
		once = once != 0 ? once : csi_bytes(csi);
		assert_int_equal(csi_bytes(csi), once);
	}
	for (i = 0; i < 40; i++)
		snprintf(expected + 6 * i, sizeof expected - 6 * i, "49-%02u ", i);
	flushes(csi, expected);
	free(csi);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_what_waits),
		cmocka_unit_test(test_folds),
		cmocka_unit_test(test_bytes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
