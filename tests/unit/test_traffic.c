/*
 * test_traffic.c: stanzas between servers on a stream that is ready: who may say what, what is answered, and
 * stream management; custody and the stream itself are played.
 *
 * Links: entry s2sd/traffic.c s2sd/once.c s2sd/rate.c
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "s2sd.h"

#include "error.h"
#include "mem.h"
#include "ns.h"

struct settings settings;
const struct stream_role incoming_role = { .ns = "jabber:server" };
const struct stream_role component_role = { .ns = NS_COMPONENT };

/* -- stand-ins ----------------------------------------------------------------------------------------- */

static struct stream stream;
static struct path path;
static struct remote capulet = { .name = (char *)"capulet.example" };
static struct domain ours = { .name = (char *)"localhost" };
static struct proof capulet_proof = { .remote = &capulet, .local = &ours };
static char condition[64];
static struct buf sent_bytes;
static struct frame sent;
static unsigned sent_count;
static int send_error;
static uint32_t acknowledged;
static bool full, managed;

struct proof *
stream_proof(const struct stream *s, struct slice from, struct slice to)
{
	(void)s;
	return slice_is(from, capulet.name) && slice_is(to, ours.name) ? &capulet_proof : NULL;
}

void
stream_error_with(struct stream *s, const char *c, const char *text, const char *extra)
{
	(void)extra;
	stream_error(s, c, text);
}

void
stream_error(struct stream *s, const char *c, const char *text)
{
	(void)s;
	(void)text;
	snprintf(condition, sizeof condition, "%s", c);
}

struct buf *
stream_out(struct stream *s)
{
	return &s->net.out;
}

int
remote_send(struct remote *remote, struct frame *f, uint64_t *seq, size_t *len)
{
	assert_ptr_equal(remote, &capulet);
	if (send_error)
		return send_error;
	buf_clear(&sent_bytes);
	assert_int_equal(frame_write(f, &sent_bytes), OK);
	assert_int_equal(frame_read(buf_slice(&sent_bytes), &sent), OK);
	*seq = ++sent_count;
	*len = buf_len(&sent_bytes);
	return OK;
}

bool
stream_is_open(const struct stream *s)
{
	return s->state == STREAM_READY;
}

void
stream_ease(struct stream *s)
{
	if (sm_window_low(&s->sm) && !uplink_full())
		transport_block(&s->net, false);
}

struct domain *
domain_find(struct slice name)
{
	return slice_is(name, ours.name) ? &ours : NULL;
}

void
incoming_spoke(struct stream *s)
{
	s->path = NULL; /* it wants none of ours */
}

bool
path_acknowledge(struct path *p, uint32_t h)
{
	assert_ptr_equal(p, &path);
	acknowledged = h;
	return h <= 5;
}

void
path_managed(struct path *p)
{
	assert_ptr_equal(p, &path);
	managed = true;
}

void
transport_block(struct transport *t, bool blocked)
{
	t->blocked = blocked;
}

void
transport_touch(struct transport *t)
{
	(void)t;
}

bool
uplink_full(void)
{
	return full;
}

void
deadline_hasten(struct deadline *d, uint64_t milliseconds)
{
	(void)d;
	(void)milliseconds;
}

static int
set_up(void **state)
{
	(void)state;
	sm_free(&stream.sm);
	buf_free(&stream.net.out);
	stream = (struct stream){ .state = STREAM_READY, .kind = STREAM_INCOMING, .path = &path };
	condition[0] = '\0';
	sent_count = 0;
	send_error = OK;
	full = managed = false;
	return 0;
}

static int
tear_down(void **state)
{
	(void)state;
	sm_free(&stream.sm);
	buf_free(&stream.net.out);
	buf_free(&sent_bytes);
	return 0;
}

static struct xml_element
element(const char *name, const char *type, const char *from, const char *to)
{
	return (struct xml_element){ .name = slice_string(name), .ns = SLICE("jabber:server"),
		.type = slice_string(type), .from = slice_string(from), .to = slice_string(to),
		.id = SLICE("i"), .payload = SLICE("<x xmlns='y'/>"), .children = 1,
		.child_name = SLICE("x"), .child_ns = SLICE("y"), .priority = -3 };
}

static void
say(const char *name, const char *type, const char *from, const char *to)
{
	struct xml_element e = element(name, type, from, to);

	condition[0] = '\0';
	buf_clear(&stream.net.out);
	traffic_element(&stream, &e);
}

static void
nonza(const char *name, const char *attribute, const char *value)
{
	struct xml_element e = { .name = slice_string(name), .ns = SLICE(NS_SM), .payload = SLICE("") };

	if (attribute != NULL) {
		e.attribute[0].name = slice_string(attribute);
		e.attribute[0].value = slice_string(value);
		e.attributes = 1;
	}
	condition[0] = '\0';
	buf_clear(&stream.net.out);
	traffic_element(&stream, &e);
}

static bool
answered(const char *text)
{
	char *out = slice_dup(buf_slice(&stream.net.out));
	bool found = strstr(out, text) != NULL;

	free(out);
	return found;
}

/* -- tests --------------------------------------------------------------------------------------------- */

static void
test_stanza(void **state)
{
	(void)state;
	say("message", "chat", "Nurse@CAPULET.example/X", "Romeo@localhost");
	assert_int_equal(sent_count, 1);
	assert_true(slice_is(sent.from, "nurse@capulet.example/X") && slice_is(sent.to, "romeo@localhost"));
	assert_true(sent.kind == STANZA_MESSAGE && sent.subtype == TYPE_CHAT && slice_is(sent.id, "i"));
	assert_true(slice_is(sent.payload, "<x xmlns='y'/>") && slice_is(sent.ns, "y"));
	say("presence", NULL, "nurse@capulet.example/x", "romeo@localhost");
	assert_true(sent.kind == STANZA_PRESENCE && sent.number == 125);
	say("iq", "get", "capulet.example", "localhost");
	assert_int_equal(sent_count, 3);
	assert_string_equal(condition, "");
	assert_int_equal(buf_len(&stream.net.out), 0);
}

static void
test_addresses(void **state)
{
	static const struct {
		const char *from, *to, *condition;
	} cases[] = {
		{ NULL, "romeo@localhost", "improper-addressing" },
		{ "nurse@capulet.example", NULL, "improper-addressing" },
		{ "", "romeo@localhost", "invalid-from" },
		{ "nurse@", "romeo@localhost", "invalid-from" },
		{ "nurse@capulet.example", "", "improper-addressing" },
		{ "nurse@capulet.example", "@localhost", "improper-addressing" },
		{ "nurse@verona.example", "romeo@localhost", "invalid-from" },
		{ "nurse@sub.capulet.example", "romeo@localhost", "invalid-from" },
		{ "romeo@localhost", "romeo@localhost", "invalid-from" },
		{ "nurse@capulet.example", "romeo@other.example", "invalid-from" },
		{ "nurse@capulet.example", "nurse@capulet.example", "invalid-from" },
	};
	size_t i;

	(void)state;
	for (i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		say("message", "chat", cases[i].from, cases[i].to);
		assert_string_equal(condition, cases[i].condition);
		say("iq", "get", cases[i].from, cases[i].to);
		assert_string_equal(condition, cases[i].condition);
	}
	assert_int_equal(sent_count, 0);
}

/* What is no good stanza is answered to whom it is from, and counts as handled. */
static void
test_refused(void **state)
{
	struct xml_element e;

	(void)state;
	nonza("enable", NULL, NULL);
	say("iq", "nonsense", "nurse@capulet.example", "localhost");
	assert_true(answered("<bad-request") && answered("to='nurse@capulet.example'") &&
	    answered("from='localhost'"));
	e = element("iq", "get", "nurse@capulet.example", "localhost");
	e.children = 0;
	e.payload = SLICE("");
	traffic_element(&stream, &e);
	e = element("iq", "set", "nurse@capulet.example", "localhost");
	e.children = 2;
	traffic_element(&stream, &e);
	e = element("iq", "get", "nurse@capulet.example", "localhost");
	e.id = SLICE_NONE;
	traffic_element(&stream, &e);
	send_error = E_TOO_BIG;
	say("message", "chat", "nurse@capulet.example", "romeo@localhost");
	assert_true(answered("<not-acceptable"));
	say("iq", "result", "nurse@capulet.example", "romeo@localhost");
	assert_int_equal(buf_len(&stream.net.out), 0); /* no answer to an answer */
	assert_int_equal(sent_count, 0);
	assert_string_equal(condition, "");
	assert_int_equal(sm_h(&stream.sm), 6);
	say("compress", NULL, "nurse@capulet.example", "romeo@localhost");
	assert_string_equal(condition, "unsupported-stanza-type");
	e = element("message", "chat", "nurse@capulet.example", "romeo@localhost");
	e.ns = SLICE("urn:x");
	traffic_element(&stream, &e);
	assert_string_equal(condition, "unsupported-stanza-type");
}

/* Stanzas are handled when their frames were taken, in order. */
static void
test_management(void **state)
{
	(void)state;
	nonza("r", NULL, NULL);
	assert_string_equal(condition, "unsupported-stanza-type");
	nonza("resume", "previd", "x");
	assert_true(answered("<failed xmlns='" NS_SM "'><item-not-found"));
	nonza("enable", NULL, NULL);
	assert_true(answered("<enabled xmlns='" NS_SM "'/>") && managed);
	nonza("enable", NULL, NULL);
	assert_true(answered("<unexpected-request"));
	say("message", "chat", "nurse@capulet.example", "romeo@localhost");
	say("message", "chat", "nurse@capulet.example", "romeo@localhost");
	assert_int_equal(sm_h(&stream.sm), 0);
	nonza("r", NULL, NULL);
	traffic_write(&stream, false);
	assert_int_equal(buf_len(&stream.net.out), 0);
	traffic_taken(&stream, 2);
	assert_int_equal(sm_h(&stream.sm), 0);
	traffic_taken(&stream, 1);
	traffic_write(&stream, false);
	assert_true(answered("<a xmlns='" NS_SM "' h='2'/>"));
	nonza("a", "h", "5");
	assert_string_equal(condition, "");
	assert_int_equal(acknowledged, 5);
	nonza("a", "h", "6");
	assert_string_equal(condition, "undefined-condition");
	nonza("a", "h", "-1");
	assert_string_equal(condition, "bad-format");
	nonza("a", "h", "4294967296");
	assert_string_equal(condition, "bad-format");
	nonza("a", NULL, NULL);
	assert_string_equal(condition, "bad-format");
	nonza("x", NULL, NULL);
	assert_string_equal(condition, "unsupported-stanza-type");
	stream.path = NULL;
	nonza("a", "h", "0");
	assert_string_equal(condition, "");
	nonza("a", "h", "1");
	assert_string_equal(condition, "undefined-condition");
	stream.kind = STREAM_COMPONENT;
	nonza("r", NULL, NULL);
	assert_string_equal(condition, "unsupported-stanza-type");
}

/* A peer that is faster than the router is not read until half of its window was taken. */
static void
test_window(void **state)
{
	uint64_t count;

	(void)state;
	while (!stream.net.blocked && sent_count < 100000)
		say("message", "chat", "nurse@capulet.example", "romeo@localhost");
	assert_true(stream.net.blocked && sent_count <= 1000);
	traffic_taken(&stream, 1);
	assert_true(stream.net.blocked);
	full = true;
	for (count = 2; count <= sent_count; count++)
		traffic_taken(&stream, count);
	assert_true(stream.net.blocked);
	full = false;
	stream_ease(&stream);
	assert_false(stream.net.blocked);
}

/* What is written has no archive id of ours. */
static void
test_write(void **state)
{
	struct frame f = { .type = FRAME_STANZA, .kind = STANZA_MESSAGE, .subtype = TYPE_CHAT,
		.archive_id = 77, .from = SLICE("romeo@localhost/r"), .to = SLICE("nurse@capulet.example"),
		.payload = SLICE("<body>x</body>"), .id = SLICE("i") };

	(void)state;
	traffic_stanza(&stream, &f);
	assert_true(answered("from='romeo@localhost/r'") && answered("to='nurse@capulet.example'") &&
	    answered("<body>x</body></message>"));
	assert_false(answered("stanza-id"));
	assert_false(answered("<delay"));
	buf_clear(&stream.net.out);
	f.flags = FLAG_SPOOL;
	f.stamp = 1700000000000;
	traffic_stanza(&stream, &f);
	assert_true(answered("<delay xmlns='" NS_DELAY "' from='localhost'"));
	assert_false(answered("stanza-id"));
}

#define TEST(name) cmocka_unit_test_setup_teardown(test_##name, set_up, tear_down)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(stanza),
		TEST(addresses),
		TEST(refused),
		TEST(management),
		TEST(window),
		TEST(write),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
