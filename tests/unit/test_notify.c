/*
 * test_notify.c: what archived says is worth a notification (XEP-0357): messages, and what is on a spool.
 * Links: archived
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#include "archived.h"
#include "ns.h"

#define JULIET "juliet@capulet.example"
#define ROMEO  "romeo@montague.example/garden"
#define NOW    1790000000000ull
#define BODY(text) "<body>" text "</body>"
#define RECEIPT "<received xmlns='urn:xmpp:receipts' id='1'/>"

static char directory[64];
static uint64_t seq;
static struct out out;
static uint64_t ids[512];

static int
setup(void **arg)
{
	(void)arg;
	snprintf(directory, sizeof directory, "/tmp/test_notify.XXXXXX");
	assert_non_null(mkdtemp(directory));
	seq = 0;
	state.index_copies = 32768;
	state.push_sender = state.push_body = false;
	return state_open(directory, 256u << 20, 100000, NOW);
}

static int
teardown(void **arg)
{
	char path[96];

	(void)arg;
	state_close();
	buf_free(&out.frames);
	buf_free(&out.acks);
	snprintf(path, sizeof path, "%s/data.mdb", directory);
	unlink(path);
	snprintf(path, sizeof path, "%s/lock.mdb", directory);
	unlink(path);
	return rmdir(directory);
}

static void
add(const struct frame *f)
{
	struct buf bytes = { 0 };

	assert_int_equal(frame_write(f, &bytes), OK);
	assert_true(batch_add(f->type, buf_slice(&bytes)));
	buf_free(&bytes);
}

/* Has the engine take all that waits; gives the first answer of a type. */
static bool
run(enum frame_type type, struct frame *f)
{
	struct slice rest, whole;

	buf_clear(&out.frames);
	buf_clear(&out.acks);
	while (batch_bytes() != 0)
		assert_int_equal(batch_run(NOW, &out), OK);
	rest = buf_slice(&out.frames);
	while (frame_next(rest, &whole) == OK) {
		rest = slice_part(rest, whole.len, rest.len);
		assert_int_equal(frame_read(whole, f), OK);
		if (f->type == type)
			return true;
	}
	return false;
}

static void
message(const char *payload)
{
	struct frame f = {
		.type = FRAME_STANZA, .kind = STANZA_MESSAGE, .subtype = TYPE_CHAT,
		.flags = FLAG_STORE | FLAG_CONTENT | FLAG_TO_LOCAL, .origin = 5, .seq = ++seq,
		.from = SLICE(ROMEO), .to = SLICE(JULIET), .payload = slice_string(payload), .stamp = NOW,
	}, stored;

	add(&f);
	assert_true(run(FRAME_STORED, &stored));
	ids[seq] = frame_at(&stored, 1);
}

/* Asks what has come since the n-th message; the answer's texts last until the next one. */
static struct frame
count(uint64_t n)
{
	struct frame ask = { .type = FRAME_PUSH, .jid = SLICE(JULIET), .archive_id = n ? ids[n] : 0 }, got;

	add(&ask);
	assert_true(run(FRAME_PUSH, &got));
	assert_true(slice_is(got.jid, JULIET) && got.archive_id == ask.archive_id);
	return got;
}

static void
test_due(void **unused)
{
	static const struct { const char *payload; enum stanza_type type; bool due; } rows[] = {
		{ BODY("a"), TYPE_CHAT, true },
		{ BODY("a"), TYPE_NORMAL, true },
		{ BODY("a"), TYPE_ERROR, false },
		{ "<body/>", TYPE_CHAT, false },
		{ "<subject>s</subject>", TYPE_CHAT, false },
		{ "<body xmlns='urn:other'>a</body>", TYPE_CHAT, false },
		{ "<forwarded xmlns='urn:xmpp:forward:0'><body>a</body></forwarded>", TYPE_CHAT, false },
		{ RECEIPT, TYPE_CHAT, false },
		{ RECEIPT BODY("a"), TYPE_CHAT, true },
		{ "<encryption xmlns='urn:xmpp:eme:0' namespace='x'/>", TYPE_CHAT, true },
		{ "<encrypted xmlns='urn:xmpp:omemo:2'><header/></encrypted>", TYPE_CHAT, false },
		{ "<encrypted xmlns='urn:xmpp:omemo:2'><header/><payload>x</payload></encrypted>", TYPE_CHAT,
		  true },
		{ "<encrypted xmlns='urn:xmpp:omemo:2'><header/></encrypted>"
		  "<encryption xmlns='urn:xmpp:eme:0' namespace='urn:xmpp:omemo:2'/>", TYPE_CHAT, false },
		{ "<openpgp xmlns='urn:xmpp:openpgp:0'>x</openpgp>", TYPE_CHAT, true },
		{ "<propose xmlns='urn:xmpp:jingle-message:0' id='1'/>", TYPE_CHAT, true },
		{ "<retract xmlns='urn:xmpp:jingle-message:0' id='1'/>", TYPE_CHAT, false },
		{ "<x xmlns='http://jabber.org/protocol/muc#user'><invite/></x>", TYPE_NORMAL, true },
		{ "<x xmlns='http://jabber.org/protocol/muc#user'/>", TYPE_NORMAL, false },
		{ BODY("a") "<not closed>", TYPE_CHAT, false },
		{ "", TYPE_CHAT, false },
	};
	struct buf body = { 0 };
	size_t i;

	(void)unused;
	for (i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct frame f = { .kind = STANZA_MESSAGE, .subtype = rows[i].type,
			.payload = slice_string(rows[i].payload) };

		if (notify_is_due(&f, &body) != rows[i].due)
			fail_msg("%s", rows[i].payload);
	}
	buf_free(&body);
}

static void
test_count(void **unused)
{
	struct frame f;
	unsigned i;

	(void)unused;
	assert_true(count(0).number == 0); /* nobody has such an account yet */
	message(RECEIPT);
	assert_true(count(0).number == 0);
	message(BODY("one"));
	message(RECEIPT);
	assert_true(count(0).number == 1);
	assert_true(count(2).number == 1);
	assert_true(count(3).number == 0); /* since then a receipt */
	message(BODY("two"));
	assert_true(count(3).number == 2);
	f = count(0);
	assert_true(f.from.ptr == NULL && f.text.ptr == NULL);
	for (i = 0; i < 150; i++)
		message(BODY("more"));
	/* What is behind the first hundred is not looked at. */
	assert_true(count(seq).number == 152 - 0);
	assert_true(count(0).number >= 98);
}

static void
test_content(void **unused)
{
	struct frame f;
	struct buf text = { 0 };
	unsigned i;

	(void)unused;
	message(BODY("a&lt;b"));
	message(RECEIPT);
	state.push_sender = true;
	f = count(0);
	assert_true(slice_is(f.from, ROMEO) && f.text.ptr == NULL);
	state.push_body = true;
	f = count(0);
	assert_true(slice_is(f.from, ROMEO) && slice_is(f.text, "a<b"));
	assert_true(count(2).from.ptr == NULL);
	/* The beginning of a long one, in whole characters. */
	buf_add_string(&text, "<body>");
	for (i = 0; i < 400; i++)
		buf_add_string(&text, "\xe2\x98\x83");
	buf_add_string(&text, "</body>");
	buf_add_char(&text, '\0');
	message(buf_slice(&text).ptr);
	f = count(0);
	assert_int_equal(f.text.len, NOTIFY_TEXT / 3 * 3);
	buf_free(&text);
	message("<openpgp xmlns='urn:xmpp:openpgp:0'>x</openpgp>");
	f = count(0);
	assert_true(f.number == 3 && slice_is(f.from, ROMEO) && f.text.ptr == NULL);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_due),
		cmocka_unit_test_setup_teardown(test_count, setup, teardown),
		cmocka_unit_test_setup_teardown(test_content, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
