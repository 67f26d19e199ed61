/*
 * test_remote.c: domains elsewhere in the router: what s2sd may open, what goes to them and comes from
 * them, pauses, restarts, and what can never arrive.
 *
 * Links: router
 */
#include "delivery_world.h"

#define S2SD_INCARNATION 8u
#define CAPULET "capulet.example"
#define NURSE   "nurse@capulet.example"

static struct link *s2sd;
static uint32_t s2sd_incarnation;
static uint64_t s2sd_seq;

static uint64_t
remote_of(unsigned n)
{
	return HANDLE(s2sd_incarnation, n);
}

static void
open_domain(unsigned n, const char *domain)
{
	struct frame f = { .type = FRAME_REMOTE_OPEN, .handle = remote_of(n),
		.domain = slice_string(domain) };

	world_say(s2sd, &f);
}

static struct frame
expect_drain(unsigned n, const char *domain)
{
	struct frame f = world_expect(archived, FRAME_DRAIN);

	assert_true(f.handle == remote_of(n));
	assert_true(slice_is(f.jid, domain));
	return f;
}

/* archived has sent what it was asked for. */
static void
say_drained_remote(unsigned n, uint64_t last, uint32_t flags)
{
	struct frame done = { .type = FRAME_DRAINED, .handle = remote_of(n), .archive_id = last,
		.number = 77, .flags = flags };

	world_say(archived, &done);
}

static void
open_fed(unsigned n, const char *domain)
{
	open_domain(n, domain);
	expect_drain(n, domain);
	say_drained_remote(n, 0, 0);
}

static void
register_s2sd(void)
{
	s2sd = world_start(ROLE_S2SD, 0, ++s2sd_incarnation);
	s2sd_seq = 0;
	world_hello(s2sd, "domain *\ndomain muse.localhost\n");
	world_expect(s2sd, FRAME_WELCOME);
}

static void
go_live(void)
{
	world_ready(s2sd);
	world_expect(s2sd, FRAME_RESEND);
	world_expect(archived, FRAME_REMOTE_WAITING);
	world_echo(s2sd);
}

static int
set_up_remote(void **state)
{
	int error = set_up(state);

	s2sd_incarnation = S2SD_INCARNATION - 1;
	register_s2sd();
	go_live();
	world_discard(c2sd);
	log_in(1, "romeo@localhost", "r");
	send_presence(1, 0);
	world_discard(archived);
	return error;
}

static int
tear_down_remote(void **state)
{
	if (s2sd != NULL)
		world_die(s2sd);
	s2sd = NULL;
	return tear_down(state);
}

/* A stanza of a remote domain, in custody of s2sd. */
static struct frame
inbound(unsigned n, enum stanza_kind kind, enum stanza_type type, const char *from, const char *to)
{
	return (struct frame){ .type = FRAME_STANZA, .kind = (uint8_t)kind, .subtype = (uint8_t)type,
		.handle = remote_of(n), .from = slice_string(from), .to = slice_string(to),
		.origin = s2sd_incarnation, .seq = ++s2sd_seq, .payload = SLICE(""), .id = SLICE("x") };
}

static struct frame
inbound_chat(unsigned n, const char *from, const char *to)
{
	struct frame f = inbound(n, STANZA_MESSAGE, TYPE_CHAT, from, to);

	f.flags = FLAG_CONTENT | FLAG_BODY;
	f.payload = SLICE("<body>x</body>");
	return f;
}

static struct frame
outbound_chat(unsigned n, const char *to)
{
	struct frame f = stanza(n, STANZA_MESSAGE, TYPE_CHAT, to);

	f.flags = FLAG_CONTENT | FLAG_BODY;
	f.payload = SLICE("<body>x</body>");
	return f;
}

static void
expect_taken(uint64_t seq)
{
	struct frame f = world_expect(s2sd, FRAME_ACK);

	assert_int_equal(f.origin, s2sd_incarnation);
	assert_true(frame_count(&f) == 2 && frame_at(&f, 0) <= seq && seq <= frame_at(&f, 1));
}

static void
store(uint32_t origin, uint64_t seq, uint64_t id)
{
	uint64_t numbers[3] = { seq, id, 77 };
	struct frame f = { .type = FRAME_STORED, .origin = origin,
		.numbers = slice_of(numbers, sizeof numbers) };

	world_say(archived, &f);
}

/* A message to a domain elsewhere, up to archived's commit. */
static void
send_stored(const char *to, uint64_t id)
{
	struct frame f = outbound_chat(1, to), stored;

	world_say(c2sd, &f);
	stored = world_expect(archived, FRAME_STANZA);
	assert_int_equal(stored.flags & (FLAG_STORE | FLAG_FROM_LOCAL | FLAG_TO_LOCAL | FLAG_TO_REMOTE),
	    FLAG_STORE | FLAG_FROM_LOCAL | FLAG_TO_REMOTE);
	world_silent(s2sd);
	say_stored(f.seq, id);
	expect_ack(f.seq);
}

static void
flow(unsigned n, enum frame_type type)
{
	struct frame f = { .type = type, .handle = remote_of(n) };

	world_say(s2sd, &f);
}

/* -- opening ---------------------------------------------------------------------------------------- */

static void
test_open(void **state)
{
	size_t before = session_count();

	(void)state;
	open_domain(1, CAPULET);
	expect_drain(1, CAPULET);
	world_silent(s2sd);
	assert_int_equal(session_count(), before + 1);
	assert_false(account_is_ours(SLICE(CAPULET)));
	say_drained_remote(1, 0, 0);
	flow(1, FRAME_SESSION_END);
	assert_int_equal(session_count(), before);
	open_fed(1, CAPULET);
}

static void
expect_no_open(uint64_t handle, const char *domain)
{
	struct frame f = { .type = FRAME_REMOTE_OPEN, .handle = handle, .domain = slice_string(domain) };
	unsigned before = world_refused;
	size_t sessions = session_count();

	world_say(s2sd, &f);
	assert_int_equal(world_refused, before + 1);
	f = world_expect(s2sd, FRAME_SESSION_KILL);
	assert_true(f.handle == handle && slice_is(f.condition, "conflict"));
	world_silent(archived);
	assert_int_equal(session_count(), sessions);
}

static struct link *
start_mucd(const char *serves)
{
	static uint32_t incarnation = 20;
	struct link *mucd = world_start(ROLE_MUCD, 0, incarnation++);

	world_hello(mucd, serves);
	world_expect(mucd, FRAME_WELCOME);
	return mucd;
}

/* It ends for good: the next one serves nothing. */
static void
stop_mucd(struct link *mucd)
{
	world_die(mucd);
	mucd = start_mucd("");
	world_die(mucd);
	world_discard(s2sd);
}

static void
test_open_refused(void **state)
{
	struct link *mucd = start_mucd("domain rooms.localhost\n");

	(void)state;
	world_expect(s2sd, FRAME_DOMAINS);
	world_ready(mucd);
	world_expect(c2sd, FRAME_RESEND);
	world_echo(c2sd);
	world_expect(s2sd, FRAME_RESEND);
	world_echo(s2sd);
	open_fed(1, CAPULET);
	expect_no_open(handle_of(9), "verona.example");
	expect_no_open(handle_of(1), "verona.example");
	expect_no_open(remote_of(1), "verona.example");
	expect_no_open(remote_of(2), CAPULET);
	expect_no_open(remote_of(2), "localhost");
	expect_no_open(remote_of(2), "rooms.localhost");
	expect_no_open(remote_of(2), NURSE);
	expect_no_open(remote_of(2), "capulet.example/x");
	expect_no_open(remote_of(2), "Verona.example");
	expect_no_open(remote_of(2), "verona..example");
	expect_no_open(remote_of(2), "");
	expect_no_open(remote_of(2), NULL);
	open_fed(2, "muse.localhost");
	stop_mucd(mucd);
}

/* -- to a domain ------------------------------------------------------------------------------------ */

static void
test_to_domain(void **state)
{
	struct frame f;

	(void)state;
	/* Older ones may be on the spool: what is stored does not come before s2sd has told of the domain. */
	send_stored(NURSE, 500);
	f = world_expect(s2sd, FRAME_REMOTE_WAITING);
	assert_true(slice_is(f.text, CAPULET));
	world_silent(s2sd);
	/* a request does */
	f = stanza(1, STANZA_IQ, TYPE_GET, NURSE "/x");
	world_say(c2sd, &f);
	expect_ack(f.seq);
	f = world_expect(s2sd, FRAME_STANZA);
	assert_true(f.handle == 0 && f.archive_id == 0 && f.kind == STANZA_IQ);
	open_fed(1, CAPULET);
	send_stored(NURSE, 501);
	f = world_expect(s2sd, FRAME_STANZA);
	assert_true(f.handle == remote_of(1) && f.archive_id == 501 && f.origin == 0 && f.seq == 0);
	assert_true(slice_is(f.from, "romeo@localhost/r") && slice_is(f.to, NURSE));
	assert_int_equal(f.flags & ~(uint32_t)FLAG_FROM_ENTRY, 0);
	/* a request, which nobody stores */
	f = stanza(1, STANZA_IQ, TYPE_GET, NURSE "/x");
	world_say(c2sd, &f);
	expect_ack(f.seq);
	f = world_expect(s2sd, FRAME_STANZA);
	assert_true(f.handle == remote_of(1) && f.archive_id == 0 && f.kind == STANZA_IQ);
	world_silent(archived);
}

/* An error for what nobody takes; what is stored waits. */
static void
test_to_domain_while_away(void **state)
{
	struct frame f;

	(void)state;
	world_die(s2sd);
	s2sd = NULL;
	f = stanza(1, STANZA_IQ, TYPE_GET, NURSE "/x");
	world_say(c2sd, &f);
	f = world_expect(c2sd, FRAME_STANZA);
	assert_int_equal(f.subtype, TYPE_ERROR);
	assert_true(slice_is(f.from, NURSE "/x"));
	world_expect(c2sd, FRAME_ACK);
	f = outbound_chat(1, NURSE);
	world_say(c2sd, &f);
	world_expect(archived, FRAME_STANZA);
	say_stored(f.seq, 500);
	expect_ack(f.seq);
	world_silent(c2sd);
	register_s2sd();
	go_live();
	world_silent(s2sd);
}

static void
set_elsewhere(const char *text)
{
	struct config *config;

	assert_int_equal(config_read(slice_string(text), &config), 0);
	registry_set_served(config);
	config_free(&config);
}

/* A router of which s2sd does not know yet stores what is for domains elsewhere, as the configuration says that
 * there are, and refuses the rest only for now. */
static void
test_not_registered(void **state)
{
	static const char *const names[] = { NURSE, "nurse@muse.localhost" };
	struct frame f;
	size_t i;

	(void)state;
	/* One that serves nothing, so that nothing of the one before is known. */
	world_die(s2sd);
	s2sd = world_start(ROLE_S2SD, 0, ++s2sd_incarnation);
	world_hello(s2sd, "");
	world_expect(s2sd, FRAME_WELCOME);
	world_die(s2sd);
	s2sd = NULL;
	for (i = 0; i < 2; i++) {
		set_elsewhere(i == 0 ? "s2s\t\tfederation\tyes\n"
		    : "s2s\t\tfederation\tno\ncomponent\tmuse.localhost\tname\t\n");
		f = outbound_chat(1, names[i]);
		world_say(c2sd, &f);
		assert_true(slice_is(world_expect(archived, FRAME_STANZA).to, names[i]));
		say_stored(f.seq, 500 + i);
		expect_ack(f.seq);
		world_silent(c2sd);
	}
	f = stanza(1, STANZA_IQ, TYPE_GET, "nurse@muse.localhost/x");
	world_say(c2sd, &f);
	f = world_expect(c2sd, FRAME_STANZA);
	assert_true(f.subtype == TYPE_ERROR && memmem(f.payload.ptr, f.payload.len, "type='wait'", 11));
	world_expect(c2sd, FRAME_ACK);
	set_elsewhere("s2s\t\tfederation\tno\n");
}

/* What is for a room waits at who has it until mucd has registered: it is not for another server. */
static void
test_rooms_awaited(void **state)
{
	struct frame f;

	(void)state;
	set_elsewhere("s2s\t\tfederation\tyes\nrooms\tden.localhost\tadmins\ta@localhost\n");
	f = outbound_chat(1, "dark@den.localhost");
	world_say(c2sd, &f);
	world_silent(archived);
	world_silent(s2sd);
	world_silent(c2sd);
	assert_true(registry_named(SLICE("den.localhost")));
	assert_true(registry_away(SLICE("den.localhost"), SLICE_NONE) < AWAY_TIME);
	set_elsewhere("s2s\t\tfederation\tno\n");
}

/* While the link to s2sd has no room, stored messages for a domain that it has not told of stay behind;
 * when there is room it hears of them. */
static void
test_congested(void **state)
{
	struct frame f;

	(void)state;
	s2sd->full = true;
	f = stanza(1, STANZA_IQ, TYPE_GET, NURSE "/x");
	world_say(c2sd, &f);
	world_expect(s2sd, FRAME_STANZA);
	expect_ack(f.seq);
	send_stored("paris@verona.example", 500);
	world_silent(s2sd);
	s2sd->full = false;
	s2sd->events->drained(s2sd->arg, s2sd);
	world_expect(archived, FRAME_REMOTE_WAITING);
	/* once is enough */
	s2sd->events->drained(s2sd->arg, s2sd);
	world_silent(archived);
}

static void
test_congested_open(void **state)
{
	(void)state;
	open_fed(1, CAPULET);
	s2sd->full = true;
	flow(1, FRAME_SESSION_PAUSE);
	flow(1, FRAME_SESSION_DRAIN);
	world_expect(s2sd, FRAME_SESSION_DRAIN);
	expect_drain(1, CAPULET);
	say_drained_remote(1, 0, 0);
	peer_of(ROLE_S2SD)->congested = true;
	send_stored(NURSE, 500);
	world_silent(s2sd);
	s2sd->full = false;
	s2sd->events->drained(s2sd->arg, s2sd);
	assert_true(expect_drain(1, CAPULET).archive_id == 0);
}

/* -- from a domain ---------------------------------------------------------------------------------- */

static void
test_from_domain(void **state)
{
	struct frame f, got;

	(void)state;
	open_fed(1, CAPULET);
	f = inbound_chat(1, NURSE "/x", "romeo@localhost");
	world_say(s2sd, &f);
	got = world_expect(archived, FRAME_STANZA);
	assert_int_equal(got.flags & (FLAG_STORE | FLAG_FROM_LOCAL | FLAG_TO_LOCAL | FLAG_TO_REMOTE),
	    FLAG_STORE | FLAG_TO_LOCAL);
	assert_true(got.origin == s2sd_incarnation && got.seq == f.seq);
	assert_true(slice_is(got.from, NURSE "/x"));
	world_silent(s2sd);
	store(s2sd_incarnation, f.seq, 600);
	expect_taken(f.seq);
	got = world_expect(c2sd, FRAME_STANZA);
	assert_true(got.archive_id == 600 && slice_is(got.from, NURSE "/x"));
	/* a request to the session, from the domain itself */
	f = inbound(1, STANZA_IQ, TYPE_GET, CAPULET, "romeo@localhost/r");
	world_say(s2sd, &f);
	got = world_expect(c2sd, FRAME_STANZA);
	assert_true(slice_is(got.from, CAPULET) && got.kind == STANZA_IQ);
	expect_taken(f.seq);
}

/* Refused, and taken nevertheless: it must not come again. */
static void
expect_forged(struct frame f)
{
	unsigned before = world_refused;

	world_say(s2sd, &f);
	assert_int_equal(world_refused, before + 1);
	expect_taken(f.seq);
	world_silent(s2sd);
	world_silent(c2sd);
	world_silent(archived);
	world_silent(authd);
}

static void
test_forged(void **state)
{
	struct frame f;

	(void)state;
	open_fed(1, CAPULET);
	open_fed(2, "muse.localhost");
	expect_forged(inbound_chat(1, "juliet@localhost", "romeo@localhost"));
	expect_forged(inbound_chat(1, "romeo@localhost/r", "romeo@localhost"));
	expect_forged(inbound_chat(1, "localhost", "romeo@localhost"));
	expect_forged(inbound_chat(1, "x@verona.example", "romeo@localhost"));
	expect_forged(inbound_chat(1, "x@sub.capulet.example", "romeo@localhost"));
	expect_forged(inbound_chat(1, "x@muse.localhost", "romeo@localhost"));
	expect_forged(inbound_chat(1, "Nurse@capulet.example", "romeo@localhost"));
	expect_forged(inbound_chat(1, NULL, "romeo@localhost"));
	expect_forged(inbound_chat(1, "", "romeo@localhost"));
	expect_forged(inbound_chat(1, NURSE, NULL));
	expect_forged(inbound_chat(1, NURSE, "ROMEO@localhost"));
	/* nobody elsewhere reaches others elsewhere through us */
	expect_forged(inbound_chat(1, NURSE, "x@verona.example"));
	expect_forged(inbound(1, STANZA_IQ, TYPE_GET, NURSE, "verona.example"));
	expect_forged(inbound(1, STANZA_PRESENCE, TYPE_SUBSCRIBE, NURSE, "x@verona.example"));
	expect_forged(inbound(1, STANZA_PRESENCE, TYPE_SUBSCRIBE, "juliet@localhost", "romeo@localhost"));
	expect_forged(inbound(1, STANZA_IQ, TYPE_CHAT, NURSE, "romeo@localhost/r"));
	/* what only the router sets is not taken over */
	f = inbound_chat(1, NURSE, "romeo@localhost");
	f.flags |= FLAG_STORE | FLAG_FROM_LOCAL | FLAG_TO_REMOTE | FLAG_SPOOL;
	f.archive_id = 77;
	f.jid = SLICE("juliet@localhost");
	world_say(s2sd, &f);
	f = world_expect(archived, FRAME_STANZA);
	assert_int_equal(f.flags & (FLAG_STORE | FLAG_FROM_LOCAL | FLAG_TO_LOCAL | FLAG_TO_REMOTE |
	    FLAG_SPOOL), FLAG_STORE | FLAG_TO_LOCAL);
	assert_true(f.archive_id == 0 && f.jid.ptr == NULL);
	store(s2sd_incarnation, s2sd_seq, 601);
	world_discard(s2sd);
	world_discard(c2sd);
}

/* -- domains of other daemons ----------------------------------------------------------------------- */

static void
expect_domains(const char *text)
{
	struct frame f = world_expect(s2sd, FRAME_DOMAINS);

	assert_int_equal(f.number, ROLE_MUCD);
	assert_true(slice_is(f.text, text));
}

/* s2sd hears of what others serve, whoever was there first, and not of what is private. */
static void
test_domains(void **state)
{
	struct link *mucd = start_mucd("domain rooms.localhost\ndomain inner.localhost\n"
	    "private inner.localhost\nprivate muse.localhost\ndomain talk.localhost\n");

	(void)state;
	expect_domains("rooms.localhost\ntalk.localhost\n");
	assert_true(registry_private(SLICE("inner.localhost")));
	assert_false(registry_private(SLICE("rooms.localhost")));
	assert_false(registry_private(SLICE("muse.localhost")));
	world_die(s2sd);
	s2sd = world_start(ROLE_S2SD, 0, ++s2sd_incarnation);
	world_hello(s2sd, "domain *\n");
	world_expect(s2sd, FRAME_WELCOME);
	expect_domains("rooms.localhost\ntalk.localhost\n");
	world_silent(s2sd);
	world_die(mucd);
	world_silent(s2sd); /* it is away, not gone */
	mucd = start_mucd("domain rooms.localhost\ndomain inner.localhost\n");
	expect_domains("rooms.localhost\ninner.localhost\n");
	world_die(mucd);
	mucd = start_mucd("identity conference text x\n");
	expect_domains("");
	stop_mucd(mucd);
}

/* A domain that a daemon serves is reached from elsewhere and speaks to others elsewhere; a private one is
 * not, and does not. */
static void
test_domains_reach(void **state)
{
	struct link *mucd = start_mucd("domain rooms.localhost\ndomain inner.localhost\n"
	    "private inner.localhost\n");
	struct frame f;

	(void)state;
	expect_domains("rooms.localhost\n");
	world_ready(mucd);
	world_expect(mucd, FRAME_RESEND);
	world_echo(mucd);
	world_expect(s2sd, FRAME_RESEND);
	world_echo(s2sd);
	world_discard(c2sd);
	open_fed(1, CAPULET);
	f = inbound_chat(1, NURSE, "den@rooms.localhost");
	world_say(s2sd, &f);
	f = world_expect(mucd, FRAME_STANZA);
	assert_true(slice_is(f.from, NURSE) && f.origin == s2sd_incarnation);
	expect_forged(inbound_chat(1, NURSE, "den@inner.localhost"));
	f = (struct frame){ .type = FRAME_STANZA, .kind = STANZA_MESSAGE, .subtype = TYPE_GROUPCHAT,
		.from = SLICE("den@rooms.localhost/x"), .to = SLICE(NURSE), .payload = SLICE("<body>x</body>") };
	world_say(mucd, &f);
	f = world_expect(s2sd, FRAME_STANZA);
	assert_true(f.handle == remote_of(1) && slice_is(f.from, "den@rooms.localhost/x"));
	f = (struct frame){ .type = FRAME_STANZA, .kind = STANZA_IQ, .subtype = TYPE_GET, .id = SLICE("i"),
		.from = SLICE("den@inner.localhost/x"), .to = SLICE(NURSE), .payload = SLICE("") };
	world_say(mucd, &f);
	world_silent(s2sd);
	f = world_expect(mucd, FRAME_STANZA);
	assert_int_equal(f.subtype, TYPE_ERROR);
	stop_mucd(mucd);
}

/* A component that is for this server alone: its stanzas to others elsewhere come back, unstored. */
static void
test_private_component(void **state)
{
	struct frame f, got;

	(void)state;
	world_die(s2sd);
	s2sd = world_start(ROLE_S2SD, 0, ++s2sd_incarnation);
	s2sd_seq = 0;
	world_hello(s2sd, "domain *\ndomain muse.localhost\nprivate muse.localhost\ndomain echo.localhost\n");
	world_expect(s2sd, FRAME_WELCOME);
	go_live();
	open_fed(1, "muse.localhost");
	open_fed(2, CAPULET);
	open_fed(3, "echo.localhost");
	f = inbound_chat(1, "clio@muse.localhost", NURSE);
	world_say(s2sd, &f);
	got = world_expect(s2sd, FRAME_STANZA);
	assert_true(got.handle == remote_of(1) && got.subtype == TYPE_ERROR);
	expect_taken(f.seq);
	world_silent(archived);
	expect_forged(inbound_chat(2, NURSE, "clio@muse.localhost"));
	f = inbound_chat(1, "clio@muse.localhost", "romeo@localhost");
	world_say(s2sd, &f);
	world_expect(archived, FRAME_STANZA);
	store(s2sd_incarnation, f.seq, 700);
	expect_taken(f.seq);
	world_expect(c2sd, FRAME_STANZA);
	f = inbound_chat(3, "echo.localhost", NURSE);
	world_say(s2sd, &f);
	got = world_expect(archived, FRAME_STANZA);
	assert_int_equal(got.flags & (FLAG_STORE | FLAG_TO_REMOTE | FLAG_FROM_LOCAL), FLAG_STORE | FLAG_TO_REMOTE);
	store(s2sd_incarnation, f.seq, 701);
	got = world_expect(s2sd, FRAME_STANZA);
	assert_true(got.handle == remote_of(2));
	expect_taken(f.seq);
	f = inbound_chat(2, NURSE, "echo.localhost");
	world_say(s2sd, &f);
	world_expect(archived, FRAME_STANZA);
	store(s2sd_incarnation, f.seq, 702);
	got = world_expect(s2sd, FRAME_STANZA);
	assert_true(got.handle == remote_of(3));
	expect_taken(f.seq);
}

static void
test_stranger_handle(void **state)
{
	struct frame f = inbound_chat(5, NURSE, "romeo@localhost");
	unsigned before = world_refused;

	(void)state;
	world_say(s2sd, &f);
	expect_taken(f.seq);
	world_silent(archived);
	/* a session of c2sd, by its own name */
	f = inbound_chat(5, "romeo@localhost/r", "romeo@localhost");
	f.handle = handle_of(1);
	world_say(s2sd, &f);
	assert_int_equal(world_refused, before + 1);
	expect_taken(f.seq);
	world_silent(archived);
	world_silent(c2sd);
	/* nor does s2sd ask for registration */
	f = inbound(6, STANZA_IQ, TYPE_SET, NULL, "localhost");
	f.ns = SLICE("jabber:iq:register");
	world_say(s2sd, &f);
	expect_taken(f.seq);
	world_silent(authd);
}

/* A component speaks to other domains, too: its domain is one of ours. */
static void
test_component_relays(void **state)
{
	struct frame f, got;

	(void)state;
	open_fed(1, CAPULET);
	open_fed(2, "muse.localhost");
	f = inbound_chat(2, "bot@muse.localhost", NURSE);
	world_say(s2sd, &f);
	got = world_expect(archived, FRAME_STANZA);
	assert_int_equal(got.flags & (FLAG_STORE | FLAG_FROM_LOCAL | FLAG_TO_LOCAL | FLAG_TO_REMOTE),
	    FLAG_STORE | FLAG_TO_REMOTE);
	store(s2sd_incarnation, f.seq, 602);
	got = world_expect(s2sd, FRAME_STANZA);
	assert_true(got.handle == remote_of(1) && got.archive_id == 602);
	expect_taken(f.seq);
	/* and a server elsewhere to the component */
	f = inbound_chat(1, NURSE, "bot@muse.localhost");
	world_say(s2sd, &f);
	world_expect(archived, FRAME_STANZA);
	store(s2sd_incarnation, f.seq, 603);
	got = world_expect(s2sd, FRAME_STANZA);
	assert_true(got.handle == remote_of(2) && got.archive_id == 603);
	expect_taken(f.seq);
}

/* What a domain sends keeps its order: a request waits behind a message that is being stored. */
static void
test_order(void **state)
{
	struct frame one, two;

	(void)state;
	open_fed(1, CAPULET);
	one = inbound_chat(1, NURSE "/x", "romeo@localhost");
	world_say(s2sd, &one);
	two = inbound(1, STANZA_IQ, TYPE_GET, NURSE "/x", "romeo@localhost/r");
	world_say(s2sd, &two);
	world_expect(archived, FRAME_STANZA);
	world_silent(c2sd);
	world_silent(s2sd);
	store(s2sd_incarnation, one.seq, 604);
	assert_int_equal(world_expect(c2sd, FRAME_STANZA).kind, STANZA_MESSAGE);
	assert_int_equal(world_expect(c2sd, FRAME_STANZA).kind, STANZA_IQ);
	expect_taken(two.seq);
	/* a number that was there is refused */
	two.seq = one.seq;
	world_say(s2sd, &two);
	world_silent(c2sd);
}

/* The sender's domain has ended while its message was being stored: it is delivered all the same. */
static void
test_end_while_stored(void **state)
{
	struct frame f;

	(void)state;
	open_fed(1, CAPULET);
	f = inbound_chat(1, NURSE "/x", "romeo@localhost");
	world_say(s2sd, &f);
	flow(1, FRAME_SESSION_END);
	world_expect(archived, FRAME_STANZA);
	store(s2sd_incarnation, f.seq, 605);
	assert_true(world_expect(c2sd, FRAME_STANZA).archive_id == 605);
	expect_taken(f.seq);
	assert_null(account_find(SLICE(CAPULET)));
}

/* -- subscriptions that authd keeps ------------------------------------------------------------------ */

#define AUTHD_INCARNATION 2u

static struct frame
kept(uint64_t seq, enum stanza_type type, const char *from, const char *to)
{
	return (struct frame){ .type = FRAME_STANZA, .kind = STANZA_PRESENCE, .subtype = (uint8_t)type,
		.origin = AUTHD_INCARNATION, .seq = seq, .token = SLICE("0123456789abcdef"),
		.from = slice_string(from), .to = slice_string(to), .payload = SLICE("") };
}

static void
expect_kept_ack(uint64_t seq)
{
	struct frame f = world_expect(authd, FRAME_ACK);

	assert_int_equal(f.origin, AUTHD_INCARNATION);
	assert_true(frame_at(&f, 0) == seq && frame_at(&f, 1) == seq);
}

/* archived has stored it, and gives it back. */
static void
give_back(uint64_t id, enum stanza_type type)
{
	struct frame f = { .type = FRAME_SPOOLED, .kind = STANZA_PRESENCE, .subtype = (uint8_t)type,
		.archive_id = id, .number = 77, .from = SLICE("romeo@localhost"), .to = SLICE(NURSE),
		.payload = SLICE(""), .stamp = 1 };

	world_say(archived, &f);
}

static void
test_kept(void **state)
{
	struct frame f = kept(4, TYPE_SUBSCRIBE, "romeo@localhost", NURSE), got;

	(void)state;
	open_fed(1, CAPULET);
	world_discard(authd);
	world_say(authd, &f); /* before its echo: it comes again */
	world_silent(archived);
	world_echo(authd);
	world_echo(authd);
	world_say(authd, &f);
	got = world_expect(archived, FRAME_STANZA);
	assert_int_equal(got.flags, FLAG_STORE | FLAG_TO_REMOTE | FLAG_NO_PERMANENT);
	assert_true(got.origin == AUTHD_INCARNATION && got.seq == 4 && got.token.len == ONCE_SIZE);
	assert_true(slice_is(got.from, "romeo@localhost") && slice_is(got.to, NURSE) && got.stamp != 0);
	world_silent(s2sd);
	world_silent(authd);
	give_back(900, TYPE_SUBSCRIBE);
	got = world_expect(s2sd, FRAME_STANZA);
	assert_true(got.handle == remote_of(1) && got.archive_id == 900 && got.seq == 0);
	assert_int_equal(got.subtype, TYPE_SUBSCRIBE);
	store(AUTHD_INCARNATION, 4, 900);
	expect_kept_ack(4);
	/* nothing that archived was not given is acknowledged */
	store(AUTHD_INCARNATION, 5, 901);
	world_silent(authd);
	/* when archived is new it comes again */
	f = kept(5, TYPE_UNSUBSCRIBE, "romeo@localhost", NURSE);
	world_say(authd, &f);
	world_expect(archived, FRAME_STANZA);
	world_resent = 0;
	world_die(archived);
	archived = world_start(ROLE_ARCHIVED, 0, 9);
	world_hello(archived, "");
	world_expect(archived, FRAME_WELCOME);
	world_ready(archived);
	assert_int_equal(world_resent, 1);
	world_discard(archived);
	world_discard(c2sd);
	world_discard(s2sd);
}

/* The presence that a grant lets through comes behind it, also out of the spool. */
static void
test_kept_grant(void **state)
{
	struct frame f = { .type = FRAME_ROSTER_CHANGE, .jid = SLICE("romeo@localhost"), .to = SLICE(NURSE),
		.number = ROSTER_LISTED | ROSTER_FROM };
	unsigned i;

	(void)state;
	open_fed(1, CAPULET);
	world_say(authd, &f);
	world_silent(s2sd);
	for (i = 0; i < 2; i++) {
		if (i == 0) {
			give_back(900, TYPE_SUBSCRIBED);
		} else {
			flow(1, FRAME_SESSION_PAUSE);
			flow(1, FRAME_SESSION_DRAIN);
			world_discard(s2sd);
			expect_drain(1, CAPULET);
			f = (struct frame){ .type = FRAME_STANZA, .kind = STANZA_PRESENCE,
				.subtype = TYPE_SUBSCRIBED, .handle = remote_of(1), .archive_id = 900,
				.number = 77, .flags = FLAG_SPOOL, .from = SLICE("romeo@localhost"),
				.to = SLICE(NURSE), .payload = SLICE("") };
			world_say(archived, &f);
		}
		f = world_expect(s2sd, FRAME_STANZA);
		assert_true(f.subtype == TYPE_SUBSCRIBED && f.archive_id == 900);
		f = world_expect(s2sd, FRAME_STANZA);
		assert_true(f.subtype == TYPE_AVAILABLE && slice_is(f.from, "romeo@localhost/r"));
		assert_true(slice_is(f.to, NURSE) && f.archive_id == 0);
		world_silent(s2sd);
	}
}

static struct frame
ask_nurse(void)
{
	struct frame f = stanza(1, STANZA_PRESENCE, TYPE_SUBSCRIBE, NURSE);

	world_say(c2sd, &f);
	return f;
}

static void
authd_takes(uint64_t seq)
{
	uint64_t pair[] = { seq, seq };
	struct frame f = { .type = FRAME_ACK, .origin = HANDLE_INCARNATION(handle_of(1)),
		.numbers = slice_of(pair, sizeof pair) };

	world_say(authd, &f);
	expect_ack(seq);
}

/* A message behind such a stanza goes to archived when authd has taken that, and so does all behind it; not
 * for ever. */
static void
test_follow(void **state)
{
	struct frame one, two, message, last;

	(void)state;
	open_fed(1, CAPULET);
	world_discard(authd);
	one = ask_nurse();
	message = outbound_chat(1, NURSE);
	world_say(c2sd, &message);
	two = ask_nurse();
	last = outbound_chat(1, NURSE);
	world_say(c2sd, &last);
	assert_int_equal(world_expect(authd, FRAME_STANZA).seq, one.seq);
	world_silent(authd);
	world_silent(archived);
	authd_takes(one.seq);
	assert_int_equal(world_expect(archived, FRAME_STANZA).seq, message.seq);
	assert_int_equal(world_expect(authd, FRAME_STANZA).seq, two.seq);
	world_silent(archived);
	follow_tick();
	world_silent(archived);
	world_ticks += 1000;
	follow_tick();
	assert_int_equal(world_expect(archived, FRAME_STANZA).seq, last.seq);
	/* nothing waits for an authd that has died */
	authd_takes(two.seq);
	one = ask_nurse();
	message = outbound_chat(1, NURSE);
	world_say(c2sd, &message);
	world_silent(archived);
	world_die(authd);
	assert_int_equal(world_expect(archived, FRAME_STANZA).seq, message.seq);
	authd = world_start(ROLE_AUTHD, 0, AUTHD_INCARNATION);
}

static void
test_follow_flood(void **state)
{
	struct frame f;
	unsigned i;

	(void)state;
	open_fed(1, CAPULET);
	ask_nurse();
	f = outbound_chat(1, NURSE);
	world_say(c2sd, &f);
	world_silent(archived);
	for (i = 0; i < 17; i++)
		ask_nurse();
	assert_int_equal(world_expect(archived, FRAME_STANZA).seq, f.seq);
	assert_false(follow_waiting());
}

/* What authd may not keep is refused, and does not come again; an error for nobody who is there is none. */
static void
test_kept_refused(void **state)
{
	struct frame bad[] = {
		kept(1, TYPE_AVAILABLE, "romeo@localhost", NURSE),
		kept(2, TYPE_SUBSCRIBE, NURSE, "romeo@localhost"),
		kept(3, TYPE_SUBSCRIBE, "romeo@localhost", "juliet@localhost"),
		kept(4, TYPE_SUBSCRIBE, NURSE, "x@verona.example"),
		kept(5, TYPE_SUBSCRIBE, "romeo@localhost", NURSE),
		kept(6, TYPE_SUBSCRIBE, "romeo@localhost", NURSE),
	}, f;
	unsigned refused = world_refused;
	size_t i;

	(void)state;
	world_echo(authd);
	world_echo(authd);
	world_discard(authd);
	bad[4].token = SLICE("short");
	bad[5].handle = remote_of(1);
	for (i = 0; i < sizeof bad / sizeof bad[0]; i++) {
		world_say(authd, &bad[i]);
		expect_kept_ack(i + 1);
	}
	assert_int_equal(world_refused, refused + 6);
	world_silent(archived);
	f = (struct frame){ .type = FRAME_SPOOLED, .kind = STANZA_PRESENCE, .subtype = TYPE_ERROR,
		.from = SLICE(NURSE), .to = SLICE("romeo@localhost"), .flags = FLAG_ERROR,
		.payload = SLICE("<error type='wait'/>") };
	world_say(archived, &f);
	f = world_expect(c2sd, FRAME_STANZA);
	assert_true(f.subtype == TYPE_ERROR && slice_is(f.from, NURSE));
	f = kept(0, TYPE_SUBSCRIBE, "juliet@localhost", "romeo@localhost");
	f.type = FRAME_SPOOLED;
	f.archive_id = 5;
	world_say(archived, &f);
	f.from = SLICE(NURSE);
	world_say(archived, &f);
	assert_int_equal(world_refused, refused + 8);
	world_silent(c2sd);
}

/* Nobody has named the domain: while s2sd is to come it may be one of its. */
static void
test_kept_for_nobody(void **state)
{
	struct frame f = kept(1, TYPE_SUBSCRIBE, "romeo@localhost", NURSE);

	(void)state;
	world_echo(authd);
	world_echo(authd);
	world_discard(authd);
	world_die(s2sd);
	s2sd = world_start(ROLE_S2SD, 0, ++s2sd_incarnation);
	world_hello(s2sd, "feature urn:x\n");
	world_say(authd, &f);
	expect_kept_ack(1);
	f = world_expect(c2sd, FRAME_STANZA);
	assert_true(f.subtype == TYPE_ERROR && f.kind == STANZA_PRESENCE);
	world_silent(archived);
	world_die(s2sd);
	s2sd = world_start(ROLE_S2SD, 0, ++s2sd_incarnation);
	world_hello(s2sd, ""); /* as before s2sd has registered */
	f = kept(2, TYPE_SUBSCRIBE, "romeo@localhost", NURSE);
	world_say(authd, &f);
	world_silent(authd);
	world_silent(c2sd);
	world_resent = 0;
	world_ready(s2sd);
	assert_int_equal(world_resent, 1);
	world_discard(archived);
}

/* What other servers have said is for sessions that a new router may not know yet: s2sd is asked for it when every
 * c2sd has told of its own, or one has been silent for too long. */
static void
test_held(void **state)
{
	struct link *late;
	unsigned i;

	(void)state;
	for (i = 0; i < 2; i++) {
		world_die(s2sd);
		late = world_start(ROLE_C2SD, 1, INCARNATION + 70 + i);
		world_hello(late, "");
		register_s2sd();
		world_ready(s2sd);
		world_expect(archived, FRAME_REMOTE_WAITING);
		world_silent(s2sd);
		assert_true(peers_waiting());
		world_ticks += 4000;
		peers_tick();
		world_silent(s2sd);
		if (i == 0) {
			world_ticks += 1500;
			peers_tick();
			world_expect(s2sd, FRAME_RESEND);
		} else {
			world_discard(late);
			world_ready(late);
			world_expect(s2sd, FRAME_RESEND);
		}
		world_echo(s2sd);
		world_die(late);
	}
	world_discard(authd);
	world_discard(archived);
}

/* -- pauses and the spool --------------------------------------------------------------------------- */

static void
spooled(unsigned n, uint64_t id, const char *to)
{
	struct frame f = { .type = FRAME_STANZA, .kind = STANZA_MESSAGE, .subtype = TYPE_CHAT,
		.handle = remote_of(n), .archive_id = id, .number = 77, .flags = FLAG_SPOOL | FLAG_CONTENT,
		.from = SLICE("romeo@localhost/r"), .to = slice_string(to), .payload = SLICE("") };

	world_say(archived, &f);
}

static void
test_pause(void **state)
{
	struct frame f;

	(void)state;
	open_fed(1, CAPULET);
	flow(1, FRAME_SESSION_PAUSE);
	send_stored(NURSE, 500);
	world_silent(s2sd);
	/* what is not stored is s2sd's to answer */
	f = stanza(1, STANZA_IQ, TYPE_GET, NURSE "/x");
	world_say(c2sd, &f);
	expect_ack(f.seq);
	world_expect(s2sd, FRAME_STANZA);
	flow(1, FRAME_SESSION_DRAIN);
	/* s2sd hears that what comes now begins anew */
	assert_true(world_expect(s2sd, FRAME_SESSION_DRAIN).handle == remote_of(1));
	assert_true(expect_drain(1, CAPULET).archive_id == 0);
	/* committed while the spool is read: archived has it */
	send_stored(NURSE, 501);
	world_silent(s2sd);
	spooled(1, 500, NURSE);
	f = world_expect(s2sd, FRAME_STANZA);
	assert_true(f.handle == remote_of(1) && f.archive_id == 500 && (f.flags & FLAG_SPOOL));
	say_drained_remote(1, 500, FLAG_MORE);
	assert_true(expect_drain(1, CAPULET).archive_id == 500);
	spooled(1, 501, NURSE);
	world_expect(s2sd, FRAME_STANZA);
	say_drained_remote(1, 501, 0);
	send_stored(NURSE, 502);
	f = world_expect(s2sd, FRAME_STANZA);
	assert_true(f.archive_id == 502 && !(f.flags & FLAG_SPOOL));
}

/* A pause in the middle of the spool, and all of it anew. */
static void
test_pause_in_drain(void **state)
{
	(void)state;
	open_domain(1, CAPULET);
	expect_drain(1, CAPULET);
	spooled(1, 500, NURSE);
	world_expect(s2sd, FRAME_STANZA);
	flow(1, FRAME_SESSION_PAUSE);
	spooled(1, 501, NURSE);
	world_silent(s2sd);
	flow(1, FRAME_SESSION_DRAIN);
	world_silent(archived);
	say_drained_remote(1, 501, FLAG_MORE);
	assert_true(expect_drain(1, CAPULET).archive_id == 0);
	say_drained_remote(1, 0, 0);
}

/* archived gives a domain nothing but what is for it. */
static void
test_foreign_spool(void **state)
{
	unsigned before = world_refused;

	(void)state;
	open_domain(1, CAPULET);
	expect_drain(1, CAPULET);
	spooled(1, 500, "x@verona.example");
	spooled(1, 501, "juliet@localhost");
	spooled(1, 502, "localhost");
	spooled(1, 503, NULL);
	assert_int_equal(world_refused, before + 4);
	world_silent(s2sd);
	say_drained_remote(1, 0, 0);
	spooled(1, 504, NURSE);
	assert_int_equal(world_refused, before + 5);
}

static void
test_waiting(void **state)
{
	struct frame f = { .type = FRAME_REMOTE_WAITING, .text = SLICE("capulet.example\nverona.example\n") };

	(void)state;
	world_say(archived, &f);
	assert_true(slice_equal(world_expect(s2sd, FRAME_REMOTE_WAITING).text, f.text));
}

/* -- never ------------------------------------------------------------------------------------------ */

static void
say_pairs(enum frame_type type, const uint64_t *pairs, size_t count)
{
	struct frame f = { .type = type, .numbers = slice_of(pairs, 8 * count),
		.origin = s2sd_incarnation, .seq = ++s2sd_seq, .condition = SLICE("remote-server-not-found"),
		.text = SLICE("no such domain") };

	world_say(s2sd, &f);
}

static void
test_undeliverable(void **state)
{
	uint64_t pairs[6] = { 0, 500, 0, 501, 0, 502 };
	uint64_t acked[2];
	struct frame f, ack = { .type = FRAME_ACK, .numbers = slice_of(acked, sizeof acked) };
	unsigned before = world_refused;

	(void)state;
	open_fed(1, CAPULET);
	pairs[0] = remote_of(1);
	pairs[2] = remote_of(7);   /* has ended */
	pairs[4] = handle_of(1);   /* a client's */
	say_pairs(FRAME_UNDELIVERABLE, pairs, 6);
	assert_int_equal(world_refused, before + 1);
	f = world_expect(archived, FRAME_UNDELIVERABLE);
	assert_true(frame_count(&f) == 2 && frame_at(&f, 0) == 77 && frame_at(&f, 1) == 500);
	assert_true(f.origin == s2sd_incarnation && f.seq == s2sd_seq);
	assert_true(slice_is(f.condition, "remote-server-not-found") && slice_is(f.text, "no such domain"));
	world_silent(s2sd);
	ack.origin = s2sd_incarnation;
	acked[0] = acked[1] = s2sd_seq;
	world_say(archived, &ack);
	expect_taken(s2sd_seq);
	say_pairs(FRAME_DELIVERED, pairs, 2);
	f = world_expect(archived, FRAME_DELIVERED);
	assert_true(frame_count(&f) == 2 && frame_at(&f, 0) == 77 && frame_at(&f, 1) == 500);
}

/* The number of the domain's spool is not known yet: a report names the domain, and what can never arrive
 * comes again. */
static void
test_reports_without_number(void **state)
{
	uint64_t pair[2] = { 0, 500 };
	struct frame f;

	(void)state;
	open_domain(1, CAPULET);
	expect_drain(1, CAPULET);
	pair[0] = remote_of(1);
	say_pairs(FRAME_DELIVERED, pair, 2);
	f = world_expect(archived, FRAME_DROP);
	assert_true(slice_is(f.jid, CAPULET) && f.archive_id == 500);
	assert_int_equal(frame_count(&(struct frame){ .numbers = world_expect(archived,
	    FRAME_DELIVERED).numbers }), 0);
	say_pairs(FRAME_UNDELIVERABLE, pair, 2);
	f = world_expect(archived, FRAME_UNDELIVERABLE);
	assert_int_equal(frame_count(&f), 0);
	world_silent(archived);
	say_drained_remote(1, 0, 0);
}

/* An error was put on a spool: who is there is fed. */
/* An error that archived has made comes to sessions as messages do, and to domains. */
static void
test_spooled(void **state)
{
	struct frame f = { .type = FRAME_SPOOLED, .kind = STANZA_MESSAGE, .subtype = TYPE_ERROR,
		.from = SLICE(NURSE), .to = SLICE("romeo@localhost/r"), .id = SLICE("lost"),
		.payload = SLICE("<error type='wait'/>"), .archive_id = 900 };
	unsigned before = world_refused;
	struct frame got;

	(void)state;
	open_fed(1, CAPULET);
	world_say(archived, &f);
	got = world_expect(c2sd, FRAME_STANZA);
	assert_true(got.archive_id == 900 && slice_is(got.id, "lost") && slice_is(got.from, NURSE));
	f.to = SLICE("echo@" CAPULET);
	f.from = SLICE("x@verona.example");
	f.archive_id = 901;
	world_say(archived, &f);
	got = world_expect(s2sd, FRAME_STANZA);
	assert_true(got.archive_id == 901 && got.handle == remote_of(1));
	assert_int_equal(world_refused, before);
	f.from = SLICE("juliet@localhost");
	world_say(archived, &f); /* one of ours is not elsewhere */
	f.from = SLICE(NURSE);
	f.subtype = TYPE_CHAT;
	world_say(archived, &f);
	f.subtype = TYPE_ERROR;
	f.to = SLICE("not an address/");
	world_say(archived, &f);
	assert_int_equal(world_refused, before + 3);
	world_silent(s2sd);
	world_silent(c2sd);
}

/* -- restarts --------------------------------------------------------------------------------------- */

static void
test_s2sd_restarts(void **state)
{
	(void)state;
	open_fed(1, CAPULET);
	world_die(s2sd);
	register_s2sd();
	go_live();
	send_stored(NURSE, 500);
	world_expect(s2sd, FRAME_REMOTE_WAITING);
	open_domain(1, CAPULET);
	assert_true(expect_drain(1, CAPULET).archive_id == 0);
	say_drained_remote(1, 0, 0);
	send_stored(NURSE, 501);
	assert_true(world_expect(s2sd, FRAME_STANZA).handle == remote_of(1));
	/* the handle of the time before names nothing */
	expect_no_open(HANDLE(S2SD_INCARNATION, 1), "verona.example");
}

/* What was not acknowledged before s2sd died is not lost when the message was being stored. */
static void
test_s2sd_dies_while_stored(void **state)
{
	struct frame f;
	uint32_t origin = s2sd_incarnation;

	(void)state;
	open_fed(1, CAPULET);
	f = inbound_chat(1, NURSE "/x", "romeo@localhost");
	world_say(s2sd, &f);
	world_expect(archived, FRAME_STANZA);
	world_die(s2sd);
	s2sd = NULL;
	store(origin, f.seq, 606);
	assert_true(world_expect(c2sd, FRAME_STANZA).archive_id == 606);
}

/* To a router that has been restarted s2sd tells its domains before it is ready, with their pauses. */
static void
test_replay(void **state)
{
	struct frame f;

	(void)state;
	world_die(s2sd);
	register_s2sd();
	open_domain(1, CAPULET);
	flow(1, FRAME_SESSION_PAUSE);
	open_domain(2, "verona.example");
	expect_drain(1, CAPULET);
	expect_drain(2, "verona.example");
	f = inbound_chat(1, NURSE, "romeo@localhost");
	world_say(s2sd, &f); /* comes again after RESEND */
	world_silent(archived);
	go_live();
	s2sd_seq = 0;
	f = inbound_chat(1, NURSE, "romeo@localhost");
	world_say(s2sd, &f);
	world_expect(archived, FRAME_STANZA);
	store(s2sd_incarnation, f.seq, 607);
	world_discard(s2sd);
	world_discard(c2sd);
	send_stored(NURSE, 500);
	world_silent(s2sd);
	say_drained_remote(2, 0, 0);
	send_stored("x@verona.example", 501);
	assert_true(world_expect(s2sd, FRAME_STANZA).handle == remote_of(2));
	say_drained_remote(1, 0, 0);
}

/* archived has been restarted: all domains are fed anew, and it is asked for others. */
static void
test_archived_restarts(void **state)
{
	unsigned domains = 0;
	struct frame f;

	(void)state;
	open_fed(1, CAPULET);
	world_die(archived);
	start_archived();
	world_expect(c2sd, FRAME_RESEND);
	world_echo(c2sd);
	world_expect(s2sd, FRAME_RESEND);
	world_echo(s2sd);
	f = world_expect(archived, FRAME_DRAIN);
	domains += slice_is(f.jid, CAPULET);
	f = world_expect(archived, FRAME_DRAIN);
	domains += slice_is(f.jid, CAPULET);
	assert_int_equal(domains, 1);
	world_expect(archived, FRAME_REMOTE_WAITING);
	say_drained_remote(1, 0, 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(test_##name, set_up_remote, tear_down_remote)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(open),
		TEST(open_refused),
		TEST(to_domain),
		TEST(to_domain_while_away),
		TEST(not_registered),
		TEST(rooms_awaited),
		TEST(congested),
		TEST(congested_open),
		TEST(from_domain),
		TEST(forged),
		TEST(follow), TEST(follow_flood), TEST(kept), TEST(kept_grant), TEST(kept_refused), TEST(kept_for_nobody),
		TEST(domains),
		TEST(domains_reach),
		TEST(private_component),
		TEST(stranger_handle),
		TEST(component_relays),
		TEST(order),
		TEST(end_while_stored),
		TEST(pause),
		TEST(pause_in_drain),
		TEST(foreign_spool),
		TEST(waiting),
		TEST(undeliverable),
		TEST(reports_without_number),
		TEST(spooled),
		TEST(s2sd_restarts),
		TEST(held),
		TEST(s2sd_dies_while_stored),
		TEST(replay),
		TEST(archived_restarts),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
