/*
 * fuzz_session.c: c2sd without a network: clients that say anything, and a router that answers in
 * any order.
 *
 * Input: steps. A step is a byte (lower half: what is done, upper half: with which of four clients,
 * and a choice) with what it needs, texts up to 0xFF. In what clients send, 0x01 becomes the last
 * SM-ID that c2sd gave. See the table of steps at the end.
 * Asserts: all that a client gets is one well-formed stream, or several after TLS and SASL; frames
 * to the router are of types that c2sd may send, stanzas in them are canonical, have no `from`, a
 * canonical `to`, no flag of ours, and numbers in order; and when clients have gone, frames were
 * acknowledged and times are over, there is no session, connection or kept frame left.
 *
 * main.c and all engines of c2sd are the real ones. TLS, listening, the loop and the link to the
 * router are played here: time is virtual, and a handshake always succeeds.
 *
 * Links: c2sd
 * Options: -max_len=3000
 */
#include "fuzz.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#define main c2sd_main
#include "main.c"
#undef main

#include "counter.h"
#include "ns.h"
#include "xmlchar.h"
#include "xmlin.h"
#include "xmlout.h"

#define CLIENTS     4
#define STEPS       60
#define INCARNATION 7u
#define DOMAIN      "capulet.example"
#define HEADER                                                                              \
	"<stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams' " \
	"to='" DOMAIN "' version='1.0'>"

struct client {
	uv_poll_t *poll;        /* NULL: not connected */
	uv_poll_cb ready;
	uv_close_cb closed;     /* set: it is closing */
	int events;             /* that c2sd waits for */
	int fd;                 /* our end; -1: closed by us */
	bool securing;          /* a handshake has begun */
	uint64_t handle;        /* the last that was seen */
	struct xml_stream *out; /* what it reads */
};

static struct client clients[CLIENTS];
static struct client *connecting;
static const struct daemon_hooks *hooks;
static uv_loop_t loop;
static uint64_t ticks = 1000000, flush_at;
static struct { uv_timer_cb run; uint64_t at; uv_timer_t *timer; } wheel;
static bool up, dirty;
static uint64_t seq_last;   /* of custody, as it was sent first */
static char sm_id[128];

static const struct xml_limits limits = { 8u << 20, 64, 256, 1000000, false };

/* -- libuv ------------------------------------------------------------------------------------- */

static struct conn *
conn_of(const uv_poll_t *poll)
{
	return (struct conn *)(uintptr_t)((const char *)poll - offsetof(struct conn, net.poll));
}

static struct client *
client_of(const void *handle)
{
	unsigned i;

	for (i = 0; i < CLIENTS; i++)
		if (clients[i].poll == handle)
			return &clients[i];
	CHECK(false);
	return NULL;
}

uint64_t
uv_now(const uv_loop_t *unused)
{
	(void)unused;
	return ticks;
}

int
uv_timer_init(uv_loop_t *l, uv_timer_t *timer)
{
	timer->loop = l;
	wheel.timer = timer;
	return 0;
}

int
uv_timer_start(uv_timer_t *timer, uv_timer_cb run, uint64_t timeout, uint64_t repeat)
{
	CHECK(timer == wheel.timer && repeat == 0);
	wheel.run = run;
	wheel.at = ticks + timeout;
	return 0;
}

int
uv_poll_init(uv_loop_t *l, uv_poll_t *poll_handle, int fd)
{
	(void)l;
	(void)fd;
	connecting->poll = poll_handle;
	return 0;
}

int
uv_poll_start(uv_poll_t *handle, int events, uv_poll_cb ready_cb)
{
	struct client *cl = client_of(handle);

	CHECK(cl->closed == NULL && events != 0);
	cl->events = events;
	cl->ready = ready_cb;
	return 0;
}

int
uv_poll_stop(uv_poll_t *handle)
{
	client_of(handle)->events = 0;
	return 0;
}

void
uv_close(uv_handle_t *handle, uv_close_cb closed)
{
	struct client *cl = client_of(handle);

	CHECK(cl->closed == NULL);
	cl->closed = closed;
	cl->events = 0;
	cl->securing = false;
}

int
uv_is_closing(const uv_handle_t *handle)
{
	return client_of(handle)->closed != NULL;
}

/* -- TLS, listening, keys ---------------------------------------------------------------------- */

int
tls_start(const char *priority)
{
	return tls_set_priority(priority);
}

int
tls_set_priority(const char *priority)
{
	return priority != NULL ? OK : E_MALFORMED;
}

void
ticket_start(uv_loop_t *unused)
{
	(void)unused;
}

void
ticket_refresh(void)
{
}

void
ticket_mix(void)
{
}

bool
ticket_key(gnutls_datum_t *key)
{
	(void)key;
	return false;
}

struct slice
certificate_pem(const struct certificate *certificate)
{
	(void)certificate;
	return SLICE("x");
}

bool
certificate_is(const struct certificate *certificate, struct slice pem)
{
	return certificate != NULL && slice_is(pem, "x");
}

int
certificate_new(const char *domain, struct slice pem, struct certificate **certificate)
{
	static char one;

	(void)domain;
	*certificate = (struct certificate *)(void *)&one;
	return pem.len != 0 ? OK : E_MALFORMED;
}

struct certificate *
certificate_hold(struct certificate *certificate)
{
	return certificate;
}

void
certificate_drop(struct certificate **certificate)
{
	*certificate = NULL;
}

void
tls_begin(struct transport *t, const struct tls_settings *how)
{
	CHECK(!how->client && !how->ask);
	t->state = TRANSPORT_HANDSHAKE;
	client_of(&t->poll)->securing = true;
}

void
tls_step(struct transport *t)
{
	(void)t;
	CHECK(false);
}

void
tls_cancel(struct transport *t)
{
	client_of(&t->poll)->securing = false;
}

unsigned
tls_version(const struct transport *t)
{
	(void)t;
	return 0x0304;
}

struct slice
tls_server_name(const struct transport *t, char name[TLS_NAME_SIZE])
{
	(void)t;
	(void)name;
	return SLICE_NONE;
}

void
bindings_get(const struct transport *t, struct bindings *b)
{
	(void)t;
	*b = (struct bindings){ .endpoint_len = 32 };
}

void
bindings_free(struct bindings *b)
{
	(void)b;
}

void listener_add(const char *name, int fd, int kind) { (void)name; (void)fd; (void)kind; }
void listeners_limit(const struct listener_limits *l) { (void)l; }
void
listeners_start(uv_loop_t *l, void (*accepted)(int fd, struct address *address, int kind))
{
	(void)l;
	(void)accepted;
}
void listeners_resume(void) { }
void listeners_gauges(void) { }
void tls_gauges(void) { }
const char *address_text(const struct address *address) { (void)address; return "192.0.2.7"; }
void address_drop(struct address **address) { *address = NULL; }
void key_link(int fd) { (void)fd; }

/* -- the router's link ------------------------------------------------------------------------- */

static void
check_stanza(const struct frame *f)
{
	struct jid jid;

	CHECK(stanza_is_canonical(f) && f->from.ptr == NULL);
	CHECK(f->to.ptr == NULL || jid_parse(f->to, &jid) == OK);
	CHECK((f->flags & ~(uint32_t)(FLAG_FROM_ENTRY | FLAG_HANDOVER)) == 0);
	CHECK(f->kind != STANZA_NONE && f->handle != 0);
}

/* What c2sd sends. */
static void
check_frame(struct slice whole)
{
	struct slice next;
	struct frame f;
	struct jid jid;

	CHECK(frame_next(whole, &next) == OK && next.len == whole.len);
	CHECK(frame_read(whole, &f) == OK && (frame_senders(f.type) & BY_C2SD) != 0);
	if (f.type == FRAME_AUTH_START && f.from.ptr != NULL)
		CHECK(jid_parse(f.from, &jid) == OK && jid.resource.ptr == NULL);
	if (f.type == FRAME_STANZA && !(f.flags & FLAG_HANDOVER))
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
	if (up)
		check_frame(buf_slice(&out));
	buf_free(&out);
}

void
link_send_raw(struct link *link, struct slice frame)
{
	(void)link;
	check_frame(frame);
}

bool link_full(const struct link *link) { (void)link; return false; }
struct link *daemon_router(void) { return up ? (struct link *)(void *)&loop : NULL; }
bool daemon_router_up(void) { return up; }
uint32_t daemon_incarnation(void) { return INCARNATION; }
uint64_t daemon_ticks(void) { return ticks; }
void daemon_dirty(void) { dirty = true; }
void daemon_dirty_at(uint64_t at) { flush_at = flush_at == 0 || at < flush_at ? at : flush_at; }

int
daemon_main(const struct daemon_hooks *h)
{
	hooks = h;
	return 0;
}

/* Gives c2sd a frame of the router, from memory of its own. */
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

/* -- what clients read ------------------------------------------------------------------------- */

static void
on_client_header(void *arg, const struct xml_header *h)
{
	(void)arg;
	CHECK(slice_is(h->ns, NS_STREAM) && slice_is(h->content_ns, NS_CLIENT));
}

static void
on_client_element(void *arg, const struct xml_element *e)
{
	struct client *cl = arg;
	unsigned i;

	/* A new stream follows. */
	if (slice_is(e->name, "proceed") ||
	    (slice_is(e->name, "success") && slice_is(e->ns, NS_SASL)))
		xml_stream_restart(cl->out);
	if (slice_is(e->name, "enabled") && e->id.len != 0 && e->id.len < sizeof sm_id) {
		for (i = 0; i < e->id.len; i++)
			sm_id[i] = e->id.ptr[i];
		sm_id[i] = '\0';
	}
}

static void
on_client_end(void *arg)
{
	(void)arg;
}

static const struct xml_events client_events = {
	on_client_header, on_client_element, on_client_end
};

static void
client_read(struct client *cl)
{
	const char *condition = NULL;
	static char bytes[65536];
	ssize_t n;

	while (cl->fd >= 0 && (n = recv(cl->fd, bytes, sizeof bytes, MSG_DONTWAIT)) > 0) {
		if (xml_stream_feed(cl->out, slice_of(bytes, (size_t)n), &condition) != OK) {
			fprintf(stderr, "%s: %.*s\n", condition, (int)n, bytes);
			CHECK(false);
		}
	}
}

/* -- the loop ---------------------------------------------------------------------------------- */

/* Calls c2sd for a socket that is ready. */
static bool
client_ready(struct client *cl)
{
	struct pollfd p = { .fd = cl->poll != NULL ? conn_of(cl->poll)->net.fd : -1 };
	int events;

	if (cl->poll == NULL || cl->closed != NULL)
		return false;
	if (cl->securing) {
		cl->securing = false;
		transport_secured(&conn_of(cl->poll)->net);
		return true;
	}
	p.events = (short)((cl->events & UV_READABLE ? POLLIN : 0) |
	    (cl->events & UV_WRITABLE ? POLLOUT : 0));
	if (cl->events == 0 || poll(&p, 1, 0) <= 0)
		return false;
	events = (p.revents & (POLLIN | POLLHUP | POLLERR) ? UV_READABLE : 0) |
	    (p.revents & POLLOUT ? UV_WRITABLE : 0);
	cl->ready(cl->poll, 0, events & cl->events);
	return true;
}

/* Ends what c2sd has closed. */
static void
client_closed(struct client *cl)
{
	if (cl->closed == NULL)
		return;
	client_read(cl);
	cl->closed((uv_handle_t *)cl->poll);
	if (cl->fd >= 0)
		close(cl->fd);
	xml_stream_free(&cl->out);
	*cl = (struct client){ .fd = -1, .handle = cl->handle };
}

/* Runs until nothing more happens. */
static void
turn(void)
{
	bool busy = true;
	unsigned i, round;

	for (round = 0; busy && round < 20; round++) {
		busy = false;
		for (i = 0; i < CLIENTS; i++)
			busy |= client_ready(&clients[i]);
		busy |= dirty;
		dirty = false;
		hooks->flush();
		for (i = 0; i < CLIENTS; i++) {
			struct client *cl = &clients[i];

			client_read(cl);
			client_closed(cl);
			if (cl->poll != NULL && conn_of(cl->poll)->session != NULL)
				cl->handle = conn_of(cl->poll)->session->handle;
			else if (cl->poll != NULL && conn_of(cl->poll)->login != NULL)
				cl->handle = conn_of(cl->poll)->handle;
		}
	}
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

	flush_late(until);
	while (wheel.run != NULL && wheel.at <= until) {
		uv_timer_cb run = wheel.run;

		ticks = wheel.at > ticks ? wheel.at : ticks;
		wheel.run = NULL;
		run(wheel.timer);
		turn();
		flush_late(until);
	}
	ticks = until;
}

/* -- steps ------------------------------------------------------------------------------------- */

struct step {
	struct fuzz *f;
	struct client *cl;
	bool flag;      /* the choice */
};

static void
client_connect(struct client *cl, bool direct)
{
	int fds[2];

	if (cl->poll != NULL)
		return;
	CHECK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fds) == 0);
	cl->fd = fds[0];
	cl->out = xml_stream_new(&limits, NULL, &client_events, cl);
	connecting = cl;
	conn_new(fds[1], NULL, direct);
	turn();
}

static void
client_write(struct client *cl, struct slice bytes)
{
	if (cl->fd >= 0 && bytes.len != 0 &&
	    send(cl->fd, bytes.ptr, bytes.len, MSG_NOSIGNAL | MSG_DONTWAIT) < 0)
		return;
	turn();
}

/* Text of the input that is characters of XML, as all text is that the router sends. */
static struct slice
text_take(struct fuzz *f)
{
	struct slice text = fuzz_until(f, 0xFF);
	struct xmlchar chars = { 0 };

	if (text.len == 0)
		return SLICE_NONE;
	return xmlchar_check(&chars, text) && chars.need == 0 ? text : SLICE("x");
}

static void
do_connect(struct step *s)
{
	client_connect(s->cl, s->flag);
}

static void
do_bytes(struct step *s)
{
	struct slice raw = fuzz_until(s->f, 0xFF);
	struct buf out = { 0 };
	size_t i;

	for (i = 0; i < raw.len; i++) {
		if (raw.ptr[i] == 1)
			buf_add_string(&out, sm_id);
		else
			buf_add_char(&out, raw.ptr[i]);
	}
	client_write(s->cl, buf_slice(&out));
	buf_free(&out);
}

static void
do_close(struct step *s)
{
	if (s->cl->fd < 0)
		return;
	if (s->flag) {
		shutdown(s->cl->fd, SHUT_WR);
	} else {
		close(s->cl->fd);
		s->cl->fd = -1;
	}
	turn();
}

static void
do_auth(struct step *s)
{
	static const unsigned char token[32] = { 1 };
	struct frame f = { .handle = s->cl->handle };
	uint8_t what = fuzz_byte(s->f);

	f.type = what % 3 == 0 ? FRAME_AUTH_SUCCESS : what % 3 == 1 ? FRAME_AUTH_CHALLENGE :
	    FRAME_AUTH_FAILURE;
	f.jid = what & 0x40 ? text_take(s->f) : what & 0x20 ? SLICE("romeo@" DOMAIN) :
	    SLICE("juliet@" DOMAIN);
	f.data = what & 0x80 ? fuzz_until(s->f, 0xFF) : SLICE_NONE;
	f.condition = SLICE("not-authorized");
	f.text = what & 0x10 ? text_take(s->f) : SLICE_NONE;
	f.token = slice_of(token, what & 0x08 ? 31 : 32);
	router_says(&f);
	turn();
}

static void
do_bound(struct step *s)
{
	struct frame f = { .type = FRAME_SESSION_BOUND, .handle = s->cl->handle };
	struct conn *c = s->cl->poll != NULL ? conn_of(s->cl->poll) : NULL;
	struct buf jid = { 0 };

	if (s->flag) {
		f.type = FRAME_SESSION_REFUSED;
		f.condition = text_take(s->f);
	}
	buf_printf(&jid, "%s/balcony", c != NULL && c->login != NULL && c->login->jid != NULL ?
	    c->login->jid : "juliet@" DOMAIN);
	f.jid = buf_slice(&jid);
	router_says(&f);
	turn();
	buf_free(&jid);
}

/* All that a client and the router do until a session is bound. */
static void
do_login(struct step *s)
{
	static const unsigned char token[32] = { 1 };
	struct frame success = { .type = FRAME_AUTH_SUCCESS, .token = slice_of(token, 32) };
	struct step bound = { s->f, s->cl, false };

	success.jid = s->flag ? SLICE("romeo@" DOMAIN) : SLICE("juliet@" DOMAIN);
	client_connect(s->cl, true);
	client_write(s->cl, SLICE(HEADER "<auth xmlns='" NS_SASL "' mechanism='PLAIN'>AGEAYg==</auth>"));
	success.handle = s->cl->handle;
	router_says(&success);
	turn();
	client_write(s->cl, SLICE(HEADER "<iq type='set' id='b'><bind xmlns='" NS_BIND "'/></iq>"));
	do_bound(&bound);
}

static void
do_ack(struct step *s)
{
	uint64_t pair[2] = { 1, seq_last };
	struct frame f = { .type = FRAME_ACK, .origin = INCARNATION };

	if (s->flag) {
		pair[0] = seq_last - fuzz_byte(s->f);
		pair[1] = pair[0] + fuzz_byte(s->f) % 16;
	}
	f.numbers = slice_of(pair, sizeof pair);
	router_says(&f);
	turn();
}

static void
do_stanza(struct step *s)
{
	struct frame f = { .type = FRAME_STANZA, .kind = STANZA_MESSAGE, .subtype = TYPE_CHAT };
	uint64_t handles[CLIENTS];
	uint8_t what = fuzz_byte(s->f), count = fuzz_byte(s->f);
	unsigned i;

	f.kind = (enum stanza_kind)(what % 3 + 1);
	f.subtype = f.kind == STANZA_MESSAGE ? TYPE_CHAT : f.kind == STANZA_IQ ? TYPE_GET :
	    TYPE_AVAILABLE;
	f.archive_id = what & 0x10 ? ticks + count : 0;
	f.flags = (what & 0x20 ? FLAG_SPOOL : 0) | (what & 0x08 ? FLAG_HANDOVER : 0);
	f.stamp = what & 0x40 ? UINT64_MAX : 1700000000000;
	f.from = SLICE("romeo@montague.example/orchard");
	f.to = what & 0x80 ? SLICE("juliet@" DOMAIN) : SLICE_NONE;
	f.id = text_take(s->f);
	f.lang = text_take(s->f);
	f.payload = fuzz_until(s->f, 0xFF); /* whether it is canonical is checked by c2sd */
	for (i = 0; i < CLIENTS; i++)
		handles[i] = clients[i].handle;
	if (s->flag)
		f.numbers = slice_of(handles, sizeof handles);
	else
		f.handle = s->cl->handle;
	for (i = 0; i <= count % 16u; i++) { /* so many that queues are full */
		router_says(&f);
		f.archive_id += f.archive_id != 0;
	}
	turn();
}

static void
do_kill(struct step *s)
{
	struct frame f = { .type = FRAME_SESSION_KILL, .handle = s->cl->handle };

	f.condition = s->flag ? text_take(s->f) : SLICE("conflict");
	f.text = text_take(s->f);
	router_says(&f);
	turn();
}

/* Another c2sd wants a session of ours. */
static void
do_asked(struct step *s)
{
	struct frame f = { .type = FRAME_SESSION_RESUME, .handle = HANDLE(9, 1) };

	f.text = s->flag ? text_take(s->f) : slice_string(sm_id);
	f.number = fuzz_byte(s->f);
	router_says(&f);
	turn();
}

/* A session comes from another c2sd. */
static void
do_moved(struct step *s)
{
	struct frame f = { .type = FRAME_SESSION_MOVE, .handle = HANDLE(9, 2) };
	uint8_t what = fuzz_byte(s->f);

	f.number = s->cl->handle;
	f.archive_id = what;
	f.jid = what & 1 ? SLICE("romeo@" DOMAIN "/x") : SLICE("juliet@" DOMAIN "/balcony");
	f.flags = (what & 2 ? FLAG_MORE : 0) | (what & 4 ? FLAG_AVAILABLE : 0) | FLAG_EXISTS;
	f.condition = what & 8 ? text_take(s->f) : SLICE_NONE;
	f.text = text_take(s->f);
	f.payload = what & 16 ? SLICE("<status>x</status>") : SLICE("");
	router_says(&f);
	turn();
}

/* The MECHANISMS of a router that is there. */
static void
mechanisms_say(struct slice text)
{
	struct frame f = { .type = FRAME_MECHANISMS, .text = text };

	router_says(&f);
	turn();
}

static void
router_comes(void)
{
	up = true;
	hooks->router();
	mechanisms_say(SLICE(DOMAIN " PLAIN SCRAM-SHA-256 SCRAM-SHA-256-PLUS register\n"));
	hooks->resend();
	turn();
}

static void
do_router(struct step *s)
{
	if (s->flag && up) {
		up = false;
		hooks->router_gone();
		turn();
	} else if (!up) {
		router_comes();
	} else {
		hooks->resend();
		turn();
	}
}

static void
do_time(struct step *s)
{
	time_pass((uint64_t)fuzz_byte(s->f) * (s->flag ? 5000 : 100));
}

/* Gives c2sd its options: small queues, else their defaults; and its domain, or another. */
static void
configure(int (*take)(const struct config *), const char *domain)
{
	static const struct { const char *section, *name, *value; unsigned roles; } options[] = {
#define SUPERVISOR 0
#define EVERYBODY  1
#define C2SD       1
#define AUTHD      0
#define ARCHIVED   0
#define S2SD       0
#define MUCD       0
#define ROUTER     0
#define OPTION(section, name, type, value, roles, ...) { section, name, value, roles },
#include "option.def"
#undef OPTION
	};
	struct buf text = { 0 };
	struct config *config;
	size_t i;

	buf_add_string(&text, "c2s\t\tqueue-stanzas\t4\nc2s\t\tqueue-bytes\t4096\n"
	    "c2s\t\tlogin-bytes\t2000\n");
	buf_printf(&text, "domain\t%s\tcertificate\tx\n", domain);
	for (i = 0; i < COUNT_OF(options); i++)
		if (options[i].roles && strcmp(options[i].section, "domain") != 0)
			buf_printf(&text, "%s\t\t%s\t%s\n", options[i].section, options[i].name,
			    options[i].value);
	CHECK(config_read(buf_slice(&text), &config) == OK);
	CHECK(take(config) == OK);
	config_free(&config);
	buf_free(&text);
}

/* The router tells of mechanisms, or aldisd of another configuration. */
static void
do_change(struct step *s)
{
	if (!s->flag) {
		mechanisms_say(text_take(s->f));
		return;
	}
	configure(hooks->reconfigure, fuzz_byte(s->f) & 1 ? "montague.example" : DOMAIN);
	turn();
}

/* Any other frame that the router may send. */
static void
do_frame(struct step *s)
{
	struct frame f = { .handle = s->cl->handle };
	unsigned i;

	f.type = (enum frame_type)(fuzz_byte(s->f) % FRAME_COUNT);
	if (f.type == FRAME_NONE || (frame_senders(f.type) & BY_ROUTER) == 0 ||
	    f.type == FRAME_STANZA)
		return;
	f.number = fuzz_byte(s->f);
	f.flags = fuzz_byte(s->f);
	for (i = 0; i < 4; i++) {
		unsigned field = fuzz_byte(s->f) % FIELD_COUNT;

		if (field != FIELD_numbers && field != FIELD_token && field != FIELD_data)
			f.field[field] = text_take(s->f);
	}
	router_says(&f);
	turn();
}

static void (*const steps[16])(struct step *) = {
	do_connect, do_bytes, do_bytes, do_close, do_login, do_auth, do_bound, do_ack, do_stanza,
	do_kill, do_asked, do_moved, do_router, do_time, do_change, do_frame,
};

/* -- beginning and end ------------------------------------------------------------------------- */

int
LLVMFuzzerInitialize(int *argc, char ***argv)
{
	unsigned i;

	(void)argc;
	(void)argv;
	c2sd_main();
	configure(hooks->configure, DOMAIN);
	CHECK(hooks->start(&loop) == OK);
	for (i = 0; i < CLIENTS; i++)
		clients[i].fd = -1;
	return 0;
}

/* Everything ends, and nothing is left. */
static void
end(void)
{
	struct step all = { .cl = &clients[0] };
	unsigned i;

	if (!up)
		router_comes();
	configure(hooks->reconfigure, DOMAIN);
	hooks->resend();
	for (i = 0; i < CLIENTS; i++) {
		if (clients[i].fd >= 0)
			close(clients[i].fd);
		clients[i].fd = -1;
	}
	turn();
	for (i = 0; i < 4; i++) {
		do_ack(&all);
		time_pass(1000000);
	}
	do_ack(&all);
	for (i = 0; i < CLIENTS; i++) {
		CHECK(clients[i].poll == NULL);
		clients[i].handle = 0;
	}
	hooks->gauges();
	CHECK(transport_count() == 0 && counters[COUNTER_sessions] == 0 &&
	    counters[COUNTER_custody_frames] == 0);
	up = false;
	hooks->router_gone();
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz f = fuzz_begin(data, size);
	unsigned count;

	ticks = (ticks / 512000 + 2) * 512000; /* a turn of the wheel of deadlines */
	sm_id[0] = '\0';
	router_comes();
	for (count = 0; fuzz_left(&f) != 0 && count < STEPS; count++) {
		uint8_t what = fuzz_byte(&f);
		struct step step = { &f, &clients[what / 16 % CLIENTS], (what & 0x80) != 0 };

		steps[what % 16](&step);
	}
	end();
	return 0;
}
