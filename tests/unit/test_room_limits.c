/*
 * test_room_limits.c: what rooms say, answer and ask archives is bounded and in order, on a store in a
 * temporary directory.
 *
 * Links: mucd
 */
#include "room_engine.h"

static size_t
count(const struct buf *frames)
{
	struct slice rest = buf_slice(frames), whole;
	size_t n;

	for (n = 0; frame_next(rest, &whole) == OK; n++)
		rest = slice_part(rest, whole.len, rest.len);
	return n;
}

/* However long the addresses of those in a room are, what is said there is one frame for all of them. */
static void
test_long_addresses(void **state)
{
	struct room *room = room_with("long@" DOMAIN, "z@a.test/1", 65);
	uint32_t most = room->domain->occupants_max;
	size_t entered = 0, i;
	char from[2100], to[64];
	struct frame f;

	(void)state;
	room->domain->occupants_max = 2200;
	for (i = 0; i < 2200; i++) {
		snprintf(from, sizeof from, "%01023zu@b.test/%01023zu", i, i);
		snprintf(to, sizeof to, "long@" DOMAIN "/%zu", i);
		presence(from, 0, to, TYPE_AVAILABLE, MUC_X);
		assert_int_equal(inbox_run(now), OK);
		ack_all();
	}
	entered = room->client_count - 1;
	assert_in_range(entered, 50, 2000);
	assert_int_equal(count(&answered), 2200 - entered);
	say("z@a.test/1", 65, "long@" DOMAIN, "<body>to all</body>");
	assert_int_equal(inbox_run(now), OK);
	assert_int_equal(frame_read(buf_slice(&sent), &f), OK);
	assert_int_equal(f.text.len, entered * (2 * 1023 + strlen("@b.test/\n")));
	ack_all();
	buf_clear(&answered);
	room->domain->occupants_max = most;
}

/* A request to a room, with an id of some length. */
static void
ask(const char *from, const char *room, const char *payload, size_t id_len)
{
	struct buf id = { 0 };

	while (buf_len(&id) < id_len)
		buf_add_char(&id, 'i');
	give((struct frame){ .kind = STANZA_IQ, .subtype = TYPE_GET, .handle = 72, .from = slice_string(from),
		.to = slice_string(room), .id = buf_slice(&id), .payload = slice_string(payload),
		.name = SLICE("query"), .ns = slice_string(strstr(payload, NS_MUC_OWNER) ? NS_MUC_OWNER : NS_DISCO_INFO) });
	buf_free(&id);
}

/* What is answered in one iteration is bounded, and an answer that is larger than a frame is an error. */
static void
test_answers(void **state)
{
	struct room *room = room_with("asked@" DOMAIN, "z@a.test/1", 81);
	char jid[2100];
	struct frame f;
	size_t i;

	(void)state;
	for (i = 0; i < 40; i++)
		ask("b@a.test/1", "asked@" DOMAIN, "<query xmlns='" NS_DISCO_INFO "'/>", 60000);
	assert_int_equal(inbox_run(now), OK);
	assert_in_range(count(&answered), 1, 20);
	for (i = 0; i < 4; i++)
		assert_int_equal(inbox_run(now), OK);
	assert_int_equal(count(&answered), 40);
	buf_clear(&answered);
	for (i = 0; i < 4200; i++) {
		snprintf(jid, sizeof jid, "%01023zu@b.test", i);
		affiliation_set(room, slice_string(jid), AFFILIATION_OWNER, SLICE_NONE, SLICE_NONE);
	}
	ask("z@a.test/1", "asked@" DOMAIN, "<query xmlns='" NS_MUC_OWNER "'/>", 1);
	assert_int_equal(inbox_run(now), OK);
	assert_int_equal(frame_read(buf_slice(&answered), &f), OK);
	assert_int_equal(f.subtype, TYPE_ERROR);
	assert_true(slice_is(f.to, "z@a.test/1"));
	assert_non_null(memmem(f.payload.ptr, f.payload.len, "<resource-constraint", 20));
	buf_clear(&answered);
}

static void
iq(const char *from, const char *room, enum stanza_type type, const char *ns, const char *payload)
{
	give((struct frame){ .kind = STANZA_IQ, .subtype = type, .handle = 91, .from = slice_string(from),
		.to = slice_string(room), .id = SLICE("q"), .payload = slice_string(payload), .name = SLICE("query"),
		.ns = slice_string(ns) });
}

#define QUERY "<query xmlns='" NS_MAM "'/>"

/* Who asks a new room for its archive is not answered out of that of the old one, whose end has not arrived. */
static void
test_archive_of_the_dead(void **state)
{
	const struct rlimit none = { 4096, RLIM_INFINITY }, all = { RLIM_INFINITY, RLIM_INFINITY };
	struct room *room = room_with("grave@" DOMAIN, "y@a.test/1", 91);

	(void)state;
	outbox_resend();
	ack_all();
	answers_release();
	say("y@a.test/1", 91, "grave@" DOMAIN, "<body>a secret</body>");
	iq("y@a.test/1", "grave@" DOMAIN, TYPE_GET, NS_MAM, QUERY);
	assert_int_equal(inbox_run(now), OK);
	assert_string_equal(words(&answered), "ROOM_QUERY::0");
	buf_clear(&answered);
	iq("y@a.test/1", "grave@" DOMAIN, TYPE_SET, NS_MUC_OWNER, "<query xmlns='" NS_MUC_OWNER "'><destroy/></query>");
	assert_int_equal(inbox_run(now), OK);
	room_with("grave@" DOMAIN, "x@a.test/1", 91);
	room = room_find(SLICE("grave@" DOMAIN));
	assert_int_equal(affiliation_of(room, SLICE("y@a.test")), AFFILIATION_NONE);
	iq("x@a.test/1", "grave@" DOMAIN, TYPE_GET, NS_MAM, QUERY);
	iq("x@a.test/1", "asked@" DOMAIN, TYPE_GET, NS_MAM, QUERY);
	assert_int_equal(inbox_run(now), OK);
	assert_string_equal(words(&answered), "ROOM_QUERY::0"); /* of the other room */
	answers_release();
	assert_string_equal(words(&answered), "ROOM_QUERY::0");
	outbox_resend();
	ack_all();
	answers_release();
	assert_string_equal(words(&answered), "ROOM_QUERY::0 ROOM_QUERY::0");
	/* What was not committed does not go. */
	iq("x@a.test/1", "grave@" DOMAIN, TYPE_SET, NS_MUC_OWNER, "<query xmlns='" NS_MUC_OWNER "'><destroy/></query>");
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &none), 0);
	assert_int_not_equal(inbox_run(now), OK);
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &all), 0);
	assert_false(outbox_erases(SLICE("grave@" DOMAIN)));
	assert_int_equal(inbox_run(now), OK);
	assert_true(outbox_erases(SLICE("grave@" DOMAIN)));
	ack_all();
	assert_false(outbox_erases(SLICE("grave@" DOMAIN)));
	buf_clear(&answered);
}

/* Who leaves is told to those who stay, and not to those who leave with it: a room that many are to leave at once
 * would say so to each about each. */
static void
test_leaving_together(void **state)
{
	struct room *room;

	(void)state;
	room_with("raid@" DOMAIN, "w@a.test/1", 95);
	presence("v@b.test/1", 96, "raid@" DOMAIN "/v", TYPE_AVAILABLE, MUC_X);
	presence("u@b.test/1", 97, "raid@" DOMAIN "/u", TYPE_AVAILABLE, MUC_X);
	assert_int_equal(inbox_run(now), OK);
	ack_all();
	iq("w@a.test/1", "raid@" DOMAIN, TYPE_SET, NS_MUC_OWNER, "<query xmlns='" NS_MUC_OWNER "'><x xmlns='" NS_DATA
	    "' type='submit'><field var='muc#roomconfig_membersonly'><value>1</value></field></x></query>");
	assert_int_equal(inbox_run(now), OK);
	assert_string_equal(words(&sent), "message::3 presence-:v:1 presence-:v:1 presence-:u:1 presence-:u:1");
	ack_all();
	room = room_find(SLICE("raid@" DOMAIN));
	room->config.members_only = false;
	room_save(room);
	presence("v@b.test/1", 96, "raid@" DOMAIN "/v", TYPE_AVAILABLE, MUC_X);
	presence("u@b.test/1", 97, "raid@" DOMAIN "/u", TYPE_AVAILABLE, MUC_X);
	assert_int_equal(inbox_run(now), OK);
	assert_int_equal(room->client_count, 3);
	ack_all();
	iq("w@a.test/1", "raid@" DOMAIN, TYPE_SET, NS_MUC_ADMIN, "<query xmlns='" NS_MUC_ADMIN
	    "'><item affiliation='outcast' jid='b.test'/></query>");
	assert_int_equal(inbox_run(now), OK);
	assert_string_equal(words(&sent), "presence-:v:1 presence-:v:1 presence-:u:1 presence-:u:1");
	/* The owner was told, and each of them. */
	assert_int_equal(room->client_count, 1);
	ack_all();
	buf_clear(&answered);
}

static int
tests_run(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_long_addresses),
		cmocka_unit_test(test_answers),
		cmocka_unit_test(test_archive_of_the_dead),
		cmocka_unit_test(test_leaving_together),
	};

	open_all();
	return cmocka_run_group_tests(tests, NULL, NULL);
}

int
main(void)
{
	return engine_tests(tests_run);
}
