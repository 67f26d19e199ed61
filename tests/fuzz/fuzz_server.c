/*
 * fuzz_server.c: s2sd without a network: other servers and components that say anything, on streams that
 * they open and on those that s2sd opens, and a router that answers in any order.
 *
 * Input: steps. A step is a byte (lower half: what is done, upper half: with which of four connections, and
 * a choice) with what it needs, texts up to 0xFF. See the table of steps at the end. In what is said, 0x01
 * becomes the id of the last stream that s2sd answered, and 0x02 the last key of dialback that it sent.
 * Asserts: all that a peer gets are well-formed streams; frames to the router are of types that s2sd may
 * send, numbered in order; a stanza is canonical, is under the handle of the domain that it is from, which
 * is none of ours and was proven by a certificate, a handshake or (where that is allowed) dialback, and is
 * for an address; and when all connections have gone, frames were acknowledged and times are over, there is
 * no stream, no domain, no kept frame, and no key, question or attempt under way.
 *
 * main.c and all engines of s2sd are the real ones. The bytes of connections, TLS, certificates, DNS,
 * threads, the loop and the link to the router are played here: time is virtual.
 *
 * Links: s2sd
 * Options: -max_len=3000
 */
#include "fuzz.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#define main s2sd_main
#include "main.c"
#undef main

#include "counter.h"
#include "mem.h"
#include "ns.h"

#define CONNECTIONS 4
#define STREAMS     64
#define STEPS       60
#define INCARNATION 7u
#define DOMAIN      "capulet.example"
#define COMPONENT   "muse.capulet.example"
#define PEER        "montague.example"  /* at an address of the configuration; by certificate */
#define CALLER      "dial.example"      /* by dialback, too */
#define KEY         "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff"

/* What s2sd has as a connection. */
struct wire {
	struct transport *t;       /* NULL: free */
	enum stream_kind kind;
	bool securing, finishing, dead;
	struct xml_stream *peer;   /* reads what s2sd writes */
	struct check *check;
};

static struct wire wires[STREAMS];
static unsigned chosen[CONNECTIONS];
static const struct daemon_hooks *hooks;
static uv_loop_t loop;
static uint64_t ticks = 1000000, flush_at;
static bool up, dirty, full;
static uint64_t seq_last;
static char stream_id[64], shown_key[80];
static bool proven[3];    /* a good certificate was seen; dialback said valid; a handshake was good */
static char names[256][64]; /* domains that were opened, by the end of their handles */
static LIST_HEAD(, deadline) deadlines = LIST_HEAD_INITIALIZER(deadlines);

static const struct xml_limits limits = { 8u << 20, 70, 256, 1000000, false };

/* -- work, timers ------------------------------------------------------------------------------ */

#define QUEUE_MAX 512u

static struct { uv_work_t *work; uv_work_cb run; uv_after_work_cb after; } queue[QUEUE_MAX];
static unsigned queued;
static struct { uv_timer_t *timer; uv_timer_cb run; uint64_t at; } timers[QUEUE_MAX];
static struct { uv_handle_t *handle; uv_close_cb closed; } closing[QUEUE_MAX];
static unsigned timer_count, closing_count;

int
uv_queue_work(uv_loop_t *l, uv_work_t *work, uv_work_cb run, uv_after_work_cb after)
{
	(void)l;
	CHECK(queued < QUEUE_MAX);
	queue[queued].work = work;
	queue[queued].run = run;
	queue[queued++].after = after;
	return 0;
}

int
uv_timer_init(uv_loop_t *l, uv_timer_t *timer)
{
	timer->loop = l;
	return 0;
}

static void
timer_forget(const uv_timer_t *timer)
{
	unsigned i;

	for (i = 0; i < timer_count; i++) {
		if (timers[i].timer == timer)
			timers[i] = timers[--timer_count];
	}
}

int
uv_timer_start(uv_timer_t *timer, uv_timer_cb run, uint64_t timeout, uint64_t repeat)
{
	CHECK(repeat == 0);
	timer_forget(timer);
	CHECK(timer_count < QUEUE_MAX);
	timers[timer_count].timer = timer;
	timers[timer_count].run = run;
	timers[timer_count++].at = ticks + timeout;
	return 0;
}

int
uv_timer_stop(uv_timer_t *timer)
{
	timer_forget(timer);
	return 0;
}

void
uv_close(uv_handle_t *handle, uv_close_cb closed)
{
	timer_forget((uv_timer_t *)handle);
	CHECK(closing_count < QUEUE_MAX);
	closing[closing_count].handle = handle;
	closing[closing_count++].closed = closed;
}

void deadlines_start(uv_loop_t *l) { (void)l; }

void
deadline_clear(struct deadline *d)
{
	if (d->at != 0)
		LIST_REMOVE(d, slot);
	d->at = 0;
}

void
deadline_set(struct deadline *d, uint64_t milliseconds)
{
	deadline_clear(d);
	d->at = ticks + milliseconds;
	LIST_INSERT_HEAD(&deadlines, d, slot);
}

void
deadline_hasten(struct deadline *d, uint64_t milliseconds)
{
	if (d->at == 0 || d->at > ticks + milliseconds)
		deadline_set(d, milliseconds);
}

/* -- bytes ------------------------------------------------------------------------------------- */

static void on_peer_header(void *arg, const struct xml_header *h);
static void on_peer_element(void *arg, const struct xml_element *e);
static void on_peer_end(void *arg) { (void)arg; }
static const struct xml_events peer_events = { on_peer_header, on_peer_element, on_peer_end };

static struct wire *
wire_of(const struct transport *t)
{
	unsigned i;

	for (i = 0; i < STREAMS; i++) {
		if (wires[i].t == t)
			return &wires[i];
	}
	CHECK(false);
	return NULL;
}

static void
deadline_due(struct deadline *d)
{
	struct transport *t = (struct transport *)((char *)d - offsetof(struct transport, deadline));

	t->hooks->due(t);
}

void transports_start(uv_loop_t *l) { (void)l; }
void transports_gauges(void) { }
void transports_flush(void) { }

size_t
transport_count(void)
{
	size_t count = 0, i;

	for (i = 0; i < STREAMS; i++)
		count += wires[i].t != NULL;
	return count;
}

int
transport_open(struct transport *t, const struct transport_hooks *h, int fd, struct address *address,
    bool connecting)
{
	unsigned i;

	(void)address;
	for (i = 0; i < STREAMS && wires[i].t != NULL; i++)
		;
	if (i == STREAMS) {
		if (fd >= 0)
			close(fd);
		return E_SYSTEM;
	}
	t->hooks = h;
	t->fd = fd;
	t->state = connecting ? TRANSPORT_CONNECTING : TRANSPORT_OPEN;
	t->deadline.due = deadline_due;
	t->heard = ticks;
	wires[i] = (struct wire){ .t = t, .kind = ((struct stream *)(void *)t)->kind };
	wires[i].peer = xml_stream_new(&limits, NULL, &peer_events, &wires[i]);
	dirty = true;
	return OK;
}

struct buf *transport_out(struct transport *t) { dirty = true; return &t->out; }
void transport_touch(struct transport *t) { (void)t; dirty = true; }
uint64_t transport_written(const struct transport *t) { return t->sealed + buf_len(&t->out); }
void transport_block(struct transport *t, bool blocked) { t->blocked = blocked; dirty = true; }
bool transport_alive(const struct transport *t) { (void)t; return true; }

/* The peer reads all of it. */
void
transport_flush(struct transport *t)
{
	struct wire *w = wire_of(t);
	const char *condition = NULL;

	if ((t->state != TRANSPORT_OPEN && t->state != TRANSPORT_FINISHING) || buf_len(&t->out) == 0)
		return;
	t->sealed += buf_len(&t->out);
	if (xml_stream_feed(w->peer, buf_slice(&t->out), &condition) != OK) {
		fprintf(stderr, "%s: %.*s\n", condition, SLICE_ARG(buf_slice(&t->out)));
		CHECK(false);
	}
	buf_clear(&t->out);
}

void
transport_close(struct transport *t)
{
	struct wire *w = wire_of(t);

	if (!w->dead) {
		t->state = TRANSPORT_DEAD;
		w->dead = dirty = true;
		deadline_clear(&t->deadline);
		t->hooks->lost(t, "closed");
	}
}

void
transport_lose(struct transport *t, const char *why)
{
	t->hooks->lost(t, why);
	transport_close(t);
}

void
transport_finish(struct transport *t)
{
	if (t->state != TRANSPORT_OPEN) {
		if (t->state == TRANSPORT_HANDSHAKE || t->state == TRANSPORT_CONNECTING)
			transport_close(t);
		return;
	}
	t->state = TRANSPORT_FINISHING;
	t->blocked = true;
	wire_of(t)->finishing = dirty = true;
	deadline_set(&t->deadline, 2000);
}

void
tls_begin(struct transport *t, const struct tls_settings *how)
{
	CHECK(t->state == TRANSPORT_OPEN && buf_len(&t->out) == 0);
	t->client = how->client;
	t->state = TRANSPORT_HANDSHAKE;
	wire_of(t)->securing = dirty = true;
}

int tls_start(const char *priority) { (void)priority; return OK; }
int tls_set_priority(const char *priority) { (void)priority; return OK; }
void tls_gauges(void) { }
struct certificate *domain_certificate(struct slice sni, const struct domain *domain)
{ (void)sni; (void)domain; return NULL; }
void listener_add(const char *name, int fd, int kind) { (void)name; (void)fd; (void)kind; }
void listeners_limit(const struct listener_limits *l) { (void)l; }
void
listeners_start(uv_loop_t *l, void (*a)(int fd, struct address *address, int kind))
{
	(void)l;
	(void)a;
}
void listeners_gauges(void) { }
const char *address_text(const struct address *address) { (void)address; return "192.0.2.7"; }
struct address *address_new(const struct sockaddr_storage *peer) { (void)peer; return NULL; }
void address_drop(struct address **address) { *address = NULL; }
void key_link(int fd) { (void)fd; }

int
connect(int fd, const struct sockaddr *address, socklen_t len)
{
	(void)fd;
	(void)address;
	(void)len;
	errno = EINPROGRESS;
	return -1;
}

/* -- certificates, keys, DNS ------------------------------------------------------------------- */

/* A check of a certificate on its way; the next step says how it ends. */
struct check {
	struct stream *stream;
	void (*done)(struct stream *s, const struct verify_result *result);
	bool is_for_caller;
};

static struct check *checks[STREAMS * 4];
static unsigned check_count;
static bool good_next = true;

struct check *
check_begin(struct stream *s, struct attempt *attempt, struct slice domain, const struct candidate *candidate,
    void (*done)(struct stream *s, const struct verify_result *result))
{
	struct check *c = mem_alloc(sizeof *c);

	(void)attempt;
	(void)candidate;
	(void)domain;
	c->stream = s;
	c->done = done;
	CHECK(check_count < COUNT_OF(checks));
	checks[check_count++] = c;
	dirty = true;
	return c;
}

void
check_cancel(struct check **check)
{
	if (*check != NULL)
		(*check)->stream = NULL;
	*check = NULL;
}

static bool
checks_end(void)
{
	bool busy = check_count != 0;

	while (check_count > 0) {
		struct check *c = checks[--check_count];
		struct verify_result result = { .pkix = good_next ? VERIFY_OK : VERIFY_FAILED };

		if (c->stream != NULL) {
			proven[0] |= good_next;
			c->done(c->stream, &result);
		}
		free(c);
	}
	return busy;
}

int checks_configure(const struct config *config) { (void)config; return OK; }

int
checks_start(uv_loop_t *l)
{
	(void)l;
	history = attempts_new(4, 65536);
	return OK;
}

void checks_gauges(void) { }

void
check_report(struct attempt *attempt, const struct stream *s, const struct verify_result *result)
{
	(void)attempt;
	(void)s;
	(void)result;
}

const char *check_reason(const struct verify_result *result) { (void)result; return "no good certificate"; }

static bool key_fails;

int
key_secret(const char *domain, const char *name, const gnutls_datum_t *data, gnutls_datum_t *result)
{
	(void)domain;
	(void)data;
	CHECK(strcmp(name, "dialback") == 0);
	if (key_fails)
		return E_NOT_FOUND;
	result->data = gnutls_malloc(sizeof KEY);
	memcpy(result->data, KEY, sizeof KEY);
	result->size = sizeof KEY - 1;
	return OK;
}

int
key_compare(const char *domain, const char *name, const gnutls_datum_t *data, const char *said)
{
	(void)domain;
	(void)data;
	CHECK(strcmp(name, "component") == 0);
	return key_fails ? E_NOT_FOUND : strcmp(said, KEY) == 0 ? OK : E_FORBIDDEN;
}

/* A question to DNS. */
struct resolve {
	const struct resolve_events *events;
	void *arg;
};

static struct resolve *questions[QUEUE_MAX];
static unsigned question_count;
static enum resolve_outcome outcome_next;

int
resolve_begin(struct resolver *r, struct slice domain, const struct configured *peers, size_t count,
    const struct resolve_events *events, void *arg, struct resolve **resolve)
{
	(void)r;
	(void)domain;
	(void)peers;
	(void)count;
	if (question_count == QUEUE_MAX)
		return E_FULL;
	*resolve = questions[question_count++] = mem_alloc(sizeof **resolve);
	(*resolve)->events = events;
	(*resolve)->arg = arg;
	dirty = true;
	return OK;
}

void
resolve_cancel(struct resolve **resolve)
{
	if (*resolve != NULL)
		(*resolve)->events = NULL;
	*resolve = NULL;
}

void
resolution_free(struct resolution **resolution)
{
	free(*resolution);
	*resolution = NULL;
}

static bool
questions_end(void)
{
	bool busy = question_count != 0;

	while (question_count > 0) {
		struct resolve *q = questions[--question_count];
		struct resolution *found = mem_alloc(sizeof *found);

		found->outcome = outcome_next;
		if (found->outcome == RESOLVE_OK) {
			found->count = 1;
			found->candidates[0].address.four.sin_family = AF_INET;
			found->candidates[0].port = 5269;
			found->candidates[0].target = "xmpp." PEER;
		}
		if (q->events != NULL)
			q->events->done(q->arg, found);
		else
			free(found);
		free(q);
	}
	return busy;
}

/* -- the router's link ------------------------------------------------------------------------- */

static void
check_stanza(const struct frame *f)
{
	struct jid from, to;
	const char *name = names[(uint32_t)f->handle % COUNT_OF(names)];

	CHECK(stanza_is_canonical(f) && HANDLE_INCARNATION(f->handle) == INCARNATION);
	CHECK(f->from.ptr != NULL && jid_parse(f->from, &from) == OK && slice_is(from.domain, name));
	CHECK(f->to.ptr != NULL && jid_parse(f->to, &to) == OK);
	CHECK(!slice_is(from.domain, DOMAIN) && f->kind != STANZA_NONE);
	CHECK((f->flags & ~(uint32_t)FLAG_FROM_ENTRY) == 0 && f->archive_id == 0);
	if (f->subtype == TYPE_ERROR)
		return; /* may be an answer of our own to what could not be delivered */
	if (slice_is(from.domain, COMPONENT))
		CHECK(proven[2]);
	else if (slice_is(from.domain, CALLER))
		CHECK(proven[0] || proven[1]);
	else
		CHECK(proven[0]);
}

static void
check_frame(struct slice whole)
{
	struct slice next;
	struct frame f;

	CHECK(frame_next(whole, &next) == OK && next.len == whole.len);
	CHECK(frame_read(whole, &f) == OK && (frame_senders(f.type) & BY_S2SD) != 0);
	if (f.type == FRAME_REMOTE_OPEN) {
		char *name = names[(uint32_t)f.handle % COUNT_OF(names)];
		struct jid jid;

		CHECK(jid_parse(f.domain, &jid) == OK && jid.local.ptr == NULL && jid.resource.ptr == NULL);
		CHECK(!slice_is(f.domain, DOMAIN));
		snprintf(name, sizeof names[0], "%.*s", SLICE_ARG(f.domain));
	}
	if (f.type == FRAME_STANZA && f.from.len < 64)
		check_stanza(&f);
	if (f.seq != 0) {
		CHECK(f.origin == INCARNATION && f.seq <= seq_last + 1);
		seq_last = f.seq > seq_last ? f.seq : seq_last;
	}
}

void
daemon_send(const struct frame *f)
{
	struct buf out = { 0 };

	CHECK(frame_write(f, &out) == OK);
	if (up || f->type == FRAME_REMOTE_OPEN)
		check_frame(buf_slice(&out));
	buf_free(&out);
}

void
link_send_raw(struct link *link, struct slice frame)
{
	(void)link;
	check_frame(frame);
}

void daemon_refuse(const struct frame *f, const char *reason) { (void)f; (void)reason; }
bool link_full(const struct link *link) { (void)link; return full; }
struct link *daemon_router(void) { return up ? (struct link *)(void *)&loop : NULL; }
bool daemon_router_up(void) { return up; }
uint32_t daemon_incarnation(void) { return INCARNATION; }
uint64_t daemon_ticks(void) { return ticks; }
uint64_t daemon_now(void) { return 1800000000000 + ticks; }
uv_loop_t *daemon_loop(void) { return &loop; }
void daemon_dirty(void) { dirty = true; }
void daemon_dirty_at(uint64_t at) { flush_at = flush_at == 0 || at < flush_at ? at : flush_at; }

int
daemon_main(const struct daemon_hooks *h)
{
	hooks = h;
	return 0;
}

/* From memory of its own. */
static void
router_says(const struct frame *f)
{
	struct buf out = { 0 };
	struct slice copy;
	struct frame read;

	if (!up || frame_write(f, &out) != OK) {
		buf_free(&out);
		return;
	}
	copy = fuzz_copy(buf_slice(&out));
	buf_free(&out);
	CHECK(frame_read(copy, &read) == OK);
	hooks->frame(&read, copy);
	fuzz_free(copy);
}

/* -- what peers read --------------------------------------------------------------------------- */

static void
on_peer_header(void *arg, const struct xml_header *h)
{
	(void)arg;
	CHECK(slice_is(h->ns, NS_STREAM));
	if (h->id.ptr != NULL)
		snprintf(stream_id, sizeof stream_id, "%.*s", SLICE_ARG(h->id));
}

static void
on_peer_element(void *arg, const struct xml_element *e)
{
	struct wire *w = arg;

	if (slice_is(e->name, "proceed") || slice_is(e->name, "starttls") ||
	    (slice_is(e->name, "success") && slice_is(e->ns, NS_SASL)))
		xml_stream_restart(w->peer);
	if (slice_is(e->ns, NS_DIALBACK) && e->text.len != 0 && e->text.len < sizeof shown_key)
		snprintf(shown_key, sizeof shown_key, "%.*s", SLICE_ARG(e->text));
	if (slice_is(e->name, "handshake"))
		proven[2] = true;
}

/* -- the loop ---------------------------------------------------------------------------------- */

/* Lets a connection go on; false: there is nothing to do. */
static bool
wire_turn(struct wire *w)
{
	struct transport *t = w->t;

	if (t == NULL)
		return false;
	if (w->dead) {
		int fd = t->fd;

		buf_free(&t->out);
		w->t = NULL;
		xml_stream_free(&w->peer);
		deadline_clear(&t->deadline);
		t->hooks->freed(t);
		if (fd >= 0)
			close(fd);
		return true;
	}
	if (w->securing) {
		w->securing = false;
		t->state = TRANSPORT_OPEN;
		xml_stream_free(&w->peer);
		w->peer = xml_stream_new(&limits, NULL, &peer_events, w);
		t->hooks->secured(t);
		return true;
	}
	if (buf_len(&t->out) != 0) {
		transport_flush(t);
		if (t->state == TRANSPORT_OPEN)
			t->hooks->wrote(t);
		return true;
	}
	if (w->finishing) {
		transport_close(t);
		return true;
	}
	if (t->state == TRANSPORT_OPEN)
		t->hooks->wrote(t);
	return t->state == TRANSPORT_DEAD || buf_len(&t->out) != 0;
}

static bool
loop_turn(void)
{
	bool busy = queued != 0 || closing_count != 0;
	unsigned i;

	busy |= checks_end();
	busy |= questions_end();
	for (i = 0; i < queued; i++) {
		queue[i].run(queue[i].work);
		queue[i].after(queue[i].work, 0);
	}
	queued = 0;
	for (i = 0; i < closing_count; i++)
		closing[i].closed(closing[i].handle);
	closing_count = 0;
	for (i = 0; i < STREAMS; i++)
		busy |= wire_turn(&wires[i]);
	hooks->flush();
	return busy;
}

/* Runs until nothing more happens. */
static void
turn(void)
{
	unsigned round;

	for (round = 0; round < 200 && (loop_turn() || dirty); round++)
		dirty = false;
}

/* What was to be flushed by then is. */
static void
flush_late(uint64_t until)
{
	while (flush_at != 0 && flush_at <= until) {
		ticks = flush_at > ticks ? flush_at : ticks;
		flush_at = 0;
		turn();
	}
}

static void
time_pass(uint64_t milliseconds)
{
	uint64_t until = ticks + milliseconds;
	unsigned rounds;

	for (rounds = 0; rounds < 2000; rounds++) {
		struct deadline *d, *first = NULL;
		unsigned i, timer = QUEUE_MAX;

		flush_late(until);
		LIST_FOREACH(d, &deadlines, slot) {
			if (d->at <= until && (first == NULL || d->at < first->at))
				first = d;
		}
		for (i = 0; i < timer_count; i++) {
			if (timers[i].at <= until && (timer == QUEUE_MAX || timers[i].at < timers[timer].at))
				timer = i;
		}
		if (first == NULL && timer == QUEUE_MAX)
			break;
		if (first == NULL || (timer != QUEUE_MAX && timers[timer].at < first->at)) {
			uv_timer_t *t = timers[timer].timer;
			uv_timer_cb run = timers[timer].run;

			ticks = timers[timer].at > ticks ? timers[timer].at : ticks;
			timer_forget(t);
			run(t);
		} else {
			ticks = first->at > ticks ? first->at : ticks;
			deadline_clear(first);
			first->due(first);
		}
		turn();
	}
	ticks = until;
}

/* -- steps ------------------------------------------------------------------------------------- */

struct step {
	struct fuzz *f;
	unsigned n;     /* which connection */
	bool flag;      /* the choice */
};

/* The connection that a step is about. */
static struct wire *
wire_get(const struct step *s)
{
	struct wire *w = &wires[chosen[s->n]];

	return w->t != NULL && !w->dead ? w : NULL;
}

static struct stream *
stream_get(const struct step *s)
{
	struct wire *w = wire_get(s);

	return w != NULL ? (struct stream *)(void *)w->t : NULL;
}

/* Gives s2sd bytes of a peer, from memory of their own. */
static void
peer_says(struct wire *w, struct slice bytes)
{
	struct slice copy;

	if (w == NULL || w->t->state != TRANSPORT_OPEN || w->t->blocked || !w->t->hooks->may_read(w->t))
		return;
	copy = fuzz_copy(bytes);
	w->t->heard = ticks;
	w->t->hooks->read(w->t, copy);
	fuzz_free(copy);
	turn();
}

static void
peer_says_text(const struct step *s, const char *format, ...) __attribute__((format(printf, 2, 3)));

static void
peer_says_text(const struct step *s, const char *format, ...)
{
	char text[1024];
	va_list args;

	va_start(args, format);
	vsnprintf(text, sizeof text, format, args);
	va_end(args);
	peer_says(wire_get(s), slice_string(text));
}

/* The newest connection becomes that of a step. */
static void
choose_newest(const struct step *s, const bool *before)
{
	unsigned i;

	for (i = 0; i < STREAMS; i++) {
		if (wires[i].t != NULL && !before[i])
			chosen[s->n] = i;
	}
}

static void
do_connect(struct step *s)
{
	bool before[STREAMS];
	unsigned i, kind = fuzz_byte(s->f) % 3;

	for (i = 0; i < STREAMS; i++)
		before[i] = wires[i].t != NULL;
	if (kind == 2)
		component_new(-1, NULL);
	else
		incoming_new(-1, NULL, kind == 1);
	choose_newest(s, before);
	turn();
}

/* Bytes, with what s2sd itself has said in them. */
static void
do_bytes(struct step *s)
{
	struct slice text = fuzz_until(s->f, 0xff);
	struct buf out = { 0 };
	size_t i;

	for (i = 0; i < text.len; i++) {
		if (text.ptr[i] == 1)
			buf_add_string(&out, stream_id);
		else if (text.ptr[i] == 2)
			buf_add_string(&out, shown_key);
		else
			buf_add_char(&out, text.ptr[i]);
	}
	if (buf_len(&out) != 0)
		peer_says(wire_get(s), buf_slice(&out));
	buf_free(&out);
}

static const char *const domains[] = { PEER, CALLER, COMPONENT, DOMAIN };

/* A header as it should be. */
static void
do_header(struct step *s)
{
	unsigned which = fuzz_byte(s->f);
	struct stream *stream = stream_get(s);

	if (stream == NULL)
		return;
	if (stream->kind == STREAM_COMPONENT)
		peer_says_text(s, "<stream:stream xmlns='" NS_COMPONENT "' xmlns:stream='" NS_STREAM
		    "' to='" COMPONENT "'>");
	else
		peer_says_text(s, "<stream:stream xmlns='jabber:server' xmlns:stream='" NS_STREAM
		    "' xmlns:db='" NS_DIALBACK "' from='%s' to='%s' version='1.0' id='i%u'>",
		    domains[which % 4], s->flag ? domains[which / 4 % 4] : DOMAIN, which);
}

/* What lets a stream get on: features, STARTTLS, SASL, a handshake, by its state. */
static void
do_advance(struct step *s)
{
	struct stream *stream = stream_get(s);
	unsigned which = fuzz_byte(s->f);

	if (stream == NULL)
		return;
	if (stream->kind == STREAM_COMPONENT)
		peer_says_text(s, "<handshake>%s</handshake>", s->flag ? "0" : KEY);
	else if (stream->kind == STREAM_INCOMING && !stream->secured)
		peer_says_text(s, "<starttls xmlns='" NS_TLS "'/>");
	else if (stream->kind == STREAM_INCOMING && s->flag)
		peer_says_text(s, "<db:result from='%s' to='" DOMAIN "'>key</db:result>", domains[which % 4]);
	else if (stream->kind == STREAM_INCOMING)
		peer_says_text(s, "<auth xmlns='" NS_SASL "' mechanism='EXTERNAL'>=</auth>");
	else if (!stream->secured)
		peer_says_text(s, "<stream:features><starttls xmlns='" NS_TLS "'/></stream:features>"
		    "<proceed xmlns='" NS_TLS "'/>");
	else if (which & 1)
		peer_says_text(s, "<success xmlns='" NS_SASL "'/>");
	else
		peer_says_text(s, "<stream:features>%s%s%s</stream:features>", which & 2 ?
		    "<mechanisms xmlns='" NS_SASL "'><mechanism>EXTERNAL</mechanism></mechanisms>" : "",
		    which & 4 ? "<dialback xmlns='" NS_DIALBACK_FEATURE "'/>" : "",
		    which & 8 ? "<sm xmlns='" NS_SM "'/>" : "");
}

/* Words of dialback. */
static void
do_dialback(struct step *s)
{
	static const char *const types[] = { "", " type='valid'", " type='invalid'", " type='error'" };
	unsigned which = fuzz_byte(s->f);
	bool verify = which & 64;
	const char *type = types[which / 4 % 4];

	proven[1] |= which / 4 % 4 == 1;
	peer_says_text(s, "<db:%s from='%s' to='%s'%s id='%s'>%s</db:%s>", verify ? "verify" : "result",
	    domains[which % 4], s->flag ? CALLER : DOMAIN, type, stream_id, which & 128 ? KEY : shown_key,
	    verify ? "verify" : "result");
}

static void
do_stanza(struct step *s)
{
	unsigned which = fuzz_byte(s->f);
	static const char *const kinds[] = { "message", "presence", "iq", "iq" };
	static const char *const types[] = { "chat", "probe", "get", "result" };
	const char *kind = kinds[which / 4 % 4];

	peer_says_text(s, "<%s type='%s' from='u@%s/r' to='%s' id='a'><x xmlns='y'>z</x></%s>", kind,
	    types[which / 4 % 4], domains[which % 4], s->flag ? "x@" PEER : "juliet@" DOMAIN, kind);
}

static void
do_management(struct step *s)
{
	unsigned which = fuzz_byte(s->f);

	if (which % 4 == 0)
		peer_says_text(s, "<enable xmlns='" NS_SM "'/>");
	else if (which % 4 == 1)
		peer_says_text(s, "<r xmlns='" NS_SM "'/>");
	else
		peer_says_text(s, "<a xmlns='" NS_SM "' h='%u'/>", which / 4);
}

static void
do_close(struct step *s)
{
	struct wire *w = wire_get(s);

	if (w == NULL)
		return;
	if (s->flag)
		peer_says_text(s, "</stream:stream>");
	else
		transport_lose(w->t, "reset");
	turn();
}

/* A connection of ours that was on its way is there, or one of ours is taken up. */
static void
do_connected(struct step *s)
{
	unsigned i, at = fuzz_byte(s->f);

	for (i = 0; i < STREAMS; i++) {
		struct wire *w = &wires[(at + i) % STREAMS];

		if (w->t == NULL || w->dead || w->kind != STREAM_OUTGOING)
			continue;
		chosen[s->n] = (at + i) % STREAMS;
		if (w->t->state == TRANSPORT_CONNECTING && s->flag) {
			transport_lose(w->t, "connection refused");
		} else if (w->t->state == TRANSPORT_CONNECTING) {
			w->t->state = TRANSPORT_OPEN;
			w->t->hooks->connected(w->t);
		}
		break;
	}
	turn();
}

static uint64_t
some_handle(unsigned which)
{
	struct remote *remote = remote_find(slice_string(domains[which % 4]));

	return remote != NULL ? remote->handle : which % 4;
}

/* A stanza of the router. */
static void
do_routed(struct step *s)
{
	unsigned which = fuzz_byte(s->f), what = fuzz_byte(s->f);
	char to[80];
	struct frame f = { .type = FRAME_STANZA, .kind = what & 1 ? STANZA_MESSAGE : STANZA_IQ,
		.subtype = what & 1 ? TYPE_CHAT : TYPE_GET, .from = SLICE("juliet@" DOMAIN "/b"),
		.id = SLICE("r"), .name = SLICE("x"), .ns = SLICE("y"), .payload = SLICE("<x xmlns='y'/>"),
		.archive_id = what & 1 ? what / 4 % 32 : 0, .flags = what & 2 ? FLAG_SPOOL : 0 };

	snprintf(to, sizeof to, "u@%s", domains[which % 4]);
	f.to = slice_string(to);
	if (which & 16)
		f.handle = some_handle(which / 4);
	if (which & 32)
		f.payload = fuzz_until(s->f, 0xff);
	router_says(&f);
	turn();
}

static void
do_ack(struct step *s)
{
	uint64_t pair[2] = { 1, seq_last };
	struct frame f = { .type = FRAME_ACK, .origin = INCARNATION, .numbers = slice_of(pair, sizeof pair) };

	if (s->flag) {
		pair[0] = fuzz_byte(s->f);
		pair[1] = fuzz_byte(s->f);
	}
	router_says(&f);
	turn();
}

/* Any other frame of the router. */
static void
do_frame(struct step *s)
{
	unsigned which = fuzz_byte(s->f);
	struct frame f = { .type = which & 1 ? FRAME_SESSION_KILL : FRAME_REMOTE_WAITING,
		.handle = some_handle(which / 4), .condition = SLICE("conflict") };

	f.text = fuzz_until(s->f, 0xff);
	router_says(&f);
	turn();
}

static void
router_comes(void)
{
	up = true;
	hooks->router();
	hooks->resend();
	turn();
}

static void
do_router(struct step *s)
{
	if (s->flag && up) {
		up = false;
		hooks->router_gone();
	} else if (!up) {
		router_comes();
	} else {
		hooks->resend();
	}
	turn();
}

/* How the next certificates, keys and questions turn out; whether the link has room. */
static void
do_fate(struct step *s)
{
	unsigned which = fuzz_byte(s->f);

	good_next = which & 1;
	key_fails = which & 2;
	outcome_next = (enum resolve_outcome)(which / 4 % (RESOLVE_BOGUS + 1));
	full = s->flag;
	turn();
}

static void
do_time(struct step *s)
{
	time_pass((uint64_t)fuzz_byte(s->f) * (s->flag ? 5000 : 100));
}

static void (*const steps[16])(struct step *) = {
	do_connect, do_bytes, do_bytes, do_header, do_advance, do_dialback, do_stanza, do_management,
	do_close, do_connected, do_routed, do_ack, do_frame, do_router, do_fate, do_time,
};

/* -- beginning and end ------------------------------------------------------------------------- */

static void
configure(int (*take)(const struct config *))
{
	static const struct { const char *section, *name, *value; unsigned roles; } options[] = {
#define SUPERVISOR 0
#define EVERYBODY  1
#define S2SD       1
#define MUCD       0
#define C2SD       0
#define AUTHD      0
#define ARCHIVED   0
#define ROUTER     0
#define OPTION(section, name, type, value, roles, ...) { section, name, value, roles },
#include "option.def"
#undef OPTION
	};
	static const char *const peers[] = { PEER, CALLER };
	struct buf text = { 0 };
	struct config *config;
	size_t i, j;

	buf_add_string(&text, "s2s\t\tqueue-stanzas\t4\ns2s\t\tqueue-bytes\t4096\n");
	buf_add_string(&text, "domain\t" DOMAIN "\tcertificate\t\ncomponent\t" COMPONENT "\tname\tMuse\n"
	    "component\t" COMPONENT "\tfederate\tyes\ncomponent\t" COMPONENT "\tcertificate\t\n");
	for (i = 0; i < COUNT_OF(peers); i++) {
		buf_printf(&text, "peer\t%s\tauthentication\t%s\n", peers[i], i ? "dialback" : "certificate");
		buf_printf(&text, "peer\t%s\taddress\t192.0.2.1:5269\n", peers[i]);
		for (j = 0; j < COUNT_OF(options); j++)
			if (options[j].roles && strcmp(options[j].section, "peer") == 0)
				buf_printf(&text, "peer\t%s\t%s\t%s\n", peers[i], options[j].name,
				    options[j].value);
	}
	for (i = 0; i < COUNT_OF(options); i++)
		if (options[i].roles && strcmp(options[i].section, "domain") != 0 &&
		    strcmp(options[i].section, "component") != 0 && strcmp(options[i].section, "peer") != 0)
			buf_printf(&text, "%s\t\t%s\t%s\n", options[i].section, options[i].name,
			    options[i].value);
	CHECK(config_read(buf_slice(&text), &config) == OK);
	CHECK(take(config) == OK);
	config_free(&config);
	buf_free(&text);
}

int
LLVMFuzzerInitialize(int *argc, char ***argv)
{
	(void)argc;
	(void)argv;
	s2sd_main();
	configure(hooks->configure);
	CHECK(hooks->start(&loop) == OK);
	return 0;
}

static void
finish_path(void *arg, struct remote *remote)
{
	struct path *path;

	(void)arg;
	LIST_FOREACH(path, &remote->paths, of_remote)
		path->skipped = false; /* nothing waits on the spool any more */
}

/* Everything ends, and nothing is left. */
static void
end(void)
{
	struct frame waiting = { 0 };
	struct step all = { 0 };
	unsigned i, round;

	(void)waiting;
	full = key_fails = false;
	outcome_next = RESOLVE_NXDOMAIN;
	if (!up)
		router_comes();
	hooks->resend();
	for (round = 0; round < 6; round++) {
		for (i = 0; i < STREAMS; i++) {
			if (wires[i].t != NULL && !wires[i].dead)
				transport_lose(wires[i].t, "over");
		}
		turn();
		remotes_each(finish_path, NULL);
		do_ack(&all);
		time_pass(1000000);
		do_ack(&all);
	}
	hooks->gauges();
	CHECK(transport_count() == 0 && queued == 0 && check_count == 0 && question_count == 0);
	CHECK(counters[COUNTER_custody_frames] == 0 && counters[COUNTER_dialbacks] == 0);
	CHECK(counters[COUNTER_remotes] == 0 && counters[COUNTER_queue_stanzas] == 0);
	for (i = 0; i < STREAM_KIND_COUNT; i++)
		CHECK(stream_count((enum stream_kind)i) == 0);
	up = false;
	hooks->router_gone();
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz f = fuzz_begin(data, size);
	unsigned count;

	stream_id[0] = shown_key[0] = '\0';
	proven[0] = proven[1] = proven[2] = false;
	good_next = true;
	outcome_next = RESOLVE_OK;
	router_comes();
	for (count = 0; fuzz_left(&f) != 0 && count < STEPS; count++) {
		uint8_t what = fuzz_byte(&f);
		struct step step = { &f, what / 16 % CONNECTIONS, (what & 0x80) != 0 };

		steps[what % 16](&step);
	}
	end();
	return 0;
}
