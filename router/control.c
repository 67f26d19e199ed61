/*
 * control.c: administration: the control socket of aldisctl(8), and the router's own commands. The
 * same commands come from administrators' clients by way of adhoc.c.
 *
 * A command is the router's own, or that of the daemon that has registered it, to which it is
 * passed with a number that its reply brings back. "show counters" asks all daemons. Who may
 * connect to the socket is decided by its mode; what comes over it is validated like everything
 * else. A client that does not read its answers, or has many commands under way, is not read.
 */
#include "router.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "counter.h"
#include "error.h"
#include "log.h"
#include "mem.h"

#define WORDS_MAX    16
#define CLIENTS_MAX  64
#define REQUESTS_MAX 1024  /* commands that other daemons work on, also of who has gone */
#define PIPELINE_MAX 16    /* of them, of one client before it is not read */
#define ANSWERS_MAX  (256u << 10) /* bytes that a client may leave unread before it is not read */
#define REQUEST_TIME 10000 /* milliseconds that a daemon has to answer */
#define RELOAD_TIME  60000 /* and the supervisor, which may restart some */
#define GATHER_TIME  3000  /* when all are asked: one that does not answer is left out */

struct client {
	TAILQ_ENTRY(client) all;
	struct link *link;
	unsigned pending; /* its commands that others work on */
};

/* Who wants an answer: a client of the socket, or a function. */
struct asker {
	struct client *client;  /* NULL: has gone, if there is no function */
	uint64_t number;        /* the client's */
	control_done done;
	void *arg;
};

/* A command that other daemons are working on. */
struct request {
	TAILQ_ENTRY(request) all;
	uint64_t number;
	struct asker asker;
	uint32_t incarnation;   /* of the daemon whose reply counts, 0: of all */
	unsigned missing;       /* replies that are still to come */
	bool gather;            /* "show counters": an array of what all say */
	bool transfer;          /* its reply is not for reading here */
	bool asked;             /* of the supervisor; there is one at most */
	json_t *result;
	uint64_t until;
	struct slice name;
};

/* What the supervisor has said about a child. */
struct process {
	TAILQ_ENTRY(process) all;
	struct process_message state;
};

static TAILQ_HEAD(, client) clients = TAILQ_HEAD_INITIALIZER(clients);
static TAILQ_HEAD(, request) requests = TAILQ_HEAD_INITIALIZER(requests);
static TAILQ_HEAD(, process) processes = TAILQ_HEAD_INITIALIZER(processes);
static unsigned client_count;
static size_t request_count;
static uint64_t last_number;
static uv_poll_t listener;
static int listener_fd;
static bool listener_rests; /* out of descriptors */

/* -- answers ----------------------------------------------------------------------------------- */

/* Reads a client as long as it reads us. */
static void
client_flow(struct client *client)
{
	link_pause(client->link, client->pending >= PIPELINE_MAX || link_full(client->link));
}

/* Takes the reference to result. */
static void
asker_answer(const struct asker *asker, int error, json_t *result)
{
	struct frame f = { .type = FRAME_CONTROL_REPLY, .number = asker->number };
	struct client *client = asker->client;
	char *text = NULL;

	if (error) {
		f.condition = slice_string(command_condition(error));
		f.text = json_is_string(result) ? slice_string(json_string_value(result))
		    : slice_string(error_text(error));
	}
	if (client == NULL) {
		if (asker->done != NULL)
			asker->done(asker->arg, f.text, result);
		json_decref(result);
		return;
	}
	if (!error) {
		text = json_dumps(result, JSON_COMPACT | JSON_ENCODE_ANY);
		f.payload = slice_string(text ? text : "null");
	}
	link_send(client->link, &f);
	client_flow(client);
	free(text);
	json_decref(result);
}

/* Forgets a request that was answered. */
static void
request_free(struct request *r)
{
	if (r->asker.client != NULL) {
		r->asker.client->pending--;
		client_flow(r->asker.client);
	}
	json_decref(r->result);
	TAILQ_REMOVE(&requests, r, all);
	request_count--;
	free(r);
}

static void
request_finish(struct request *r, int error, json_t *result)
{
	struct asker asker = r->asker;

	/* First of all: who gets the answer may give the next command. */
	request_free(r);
	asker_answer(&asker, error, result);
}

/* NULL: there are too many, which was answered. */
static struct request *
request_new(const struct asker *asker)
{
	struct request *r;

	if (request_count >= REQUESTS_MAX) {
		COUNT(control_refused);
		asker_answer(asker, E_AGAIN,
		    json_string("too many commands are under way, try again"));
		return NULL;
	}
	r = mem_alloc(sizeof *r);
	request_count++;
	if (asker->client != NULL) {
		asker->client->pending++;
		client_flow(asker->client);
	}
	r->number = ++last_number;
	r->asker = *asker;
	r->until = daemon_ticks() + REQUEST_TIME;
	TAILQ_INSERT_TAIL(&requests, r, all);
	return r;
}

static struct request *
request_find(uint64_t number)
{
	struct request *r;

	TAILQ_FOREACH(r, &requests, all) {
		if (r->number == number)
			return r;
	}
	return NULL;
}

/* -- the router's own commands ----------------------------------------------------------------- */

static int
command_status(struct slice *words, size_t count, json_t **result)
{
	static const char *const states[] = {
		[PROCESS_STARTING] = "starting", [PROCESS_RUNNING] = "running", [PROCESS_FAILED] = "failed",
	};
	struct process *p;

	(void)words;
	(void)count;
	*result = json_array();
	TAILQ_FOREACH(p, &processes, all) {
		const struct process_message *m = &p->state;
		char since[32], name[32];

		stanza_stamp(m->since, since);
		snprintf(name, sizeof name, m->role == ROLE_C2SD ? "%s.%u" : "%s",
		    role_text((enum role)m->role), m->index);
		json_array_append_new(*result, json_pack("{s:s, s:s, s:I, s:i, s:s}",
		    "process", name, "state", m->state <= PROCESS_FAILED ? states[m->state] : "unknown",
		    "pid", (json_int_t)m->pid, "restarts", (int)m->restarts, "since", since));
	}
	return OK;
}

struct session_list {
	json_t *array;
	struct slice account;
};

static bool
session_list_each(void *arg, struct session *s)
{
	struct session_list *list = arg;
	char since[32], handle[20];

	if (s->account == NULL ||
	    (list->account.ptr != NULL && !slice_equal(list->account, account_jid(s->account))))
		return true;
	if (s->remote)
		return true;
	stanza_stamp(s->since, since);
	snprintf(handle, sizeof handle, "%016llx", (unsigned long long)s->handle);
	json_array_append_new(list->array, json_pack("{s:s%, s:b, s:i, s:s, s:i, s:s, s:s}",
	    "session", s->jid, s->jid_len, "available", s->available, "priority",
	    s->available ? s->priority : 0, "state",
	    s->killed ? "ending" : s->paused ? "paused" : s->draining ? "draining" : "live",
	    "c2sd", s->peer ? (int)s->peer->index : -1, "since", since, "handle", handle));
	return true;
}

static int
command_session_list(struct slice *words, size_t count, json_t **result)
{
	struct session_list list = { json_array(), count ? words[0] : SLICE_NONE };

	session_each(session_list_each, &list);
	*result = list.array;
	return OK;
}

static int
command_session_kick(struct slice *words, size_t count, json_t **result)
{
	char text[JID_MAX + 1];
	struct jid jid;
	struct account *account;
	struct session *s, *next;
	int kicked = 0;

	if (count != 1 || jid_prepare(words[0], text, &jid) != 0) {
		*result = json_string("an account or a full JID is needed");
		return E_MALFORMED;
	}
	account = account_find(jid_bare(&jid));
	for (s = account ? TAILQ_FIRST(&account->sessions) : NULL; s != NULL; s = next) {
		next = TAILQ_NEXT(s, siblings);
		if (s->killed || (jid.resource.ptr != NULL && !slice_equal(session_jid(s), jid.full)))
			continue;
		session_kill(s, "policy-violation", "Ended by an administrator");
		kicked++;
	}
	if (kicked == 0) {
		*result = json_string("there is no such session");
		return E_NOT_FOUND;
	}
	*result = json_pack("{s:i}", "kicked", kicked);
	return OK;
}

struct visit {
	control_command each;
	void *arg;
};

/* "NAME\targuments\thelp" */
static void
visit_each(void *arg, struct peer *peer, struct slice value)
{
	const struct visit *visit = arg;
	const char *first = memchr(value.ptr, '\t', value.len);
	const char *second = first ? memchr(first + 1, '\t', value.len - (size_t)(first + 1 - value.ptr))
	    : NULL;
	const char *end = value.ptr + value.len;

	(void)peer;
	if (second == NULL)
		return;
	visit->each(visit->arg, slice_of(value.ptr, (size_t)(first - value.ptr)),
	    slice_of(first + 1, (size_t)(second - first - 1)),
	    slice_of(second + 1, (size_t)(end - second - 1)));
}

void
control_each(control_command each, void *arg)
{
	struct visit visit = { each, arg };
	const struct command *c;

	for (c = router_commands; c->name != NULL; c++)
		each(arg, slice_string(c->name), slice_string(c->arguments), slice_string(c->help));
	registry_each("command", visit_each, &visit);
}

static void
help_each(void *arg, struct slice name, struct slice arguments, struct slice help)
{
	json_array_append_new(arg, json_pack("{s:s%, s:s%, s:s%}", "command", name.ptr, name.len,
	    "arguments", arguments.ptr, arguments.len, "help", help.ptr, help.len));
}

static int
command_help(struct slice *words, size_t count, json_t **result)
{
	(void)words;
	(void)count;
	*result = json_array();
	control_each(help_each, *result);
	return OK;
}

/* Those of the table later: others have to be asked. */
static int
command_later(struct slice *words, size_t count, json_t **result)
{
	(void)words;
	(void)count;
	(void)result;
	return E_UNSUPPORTED;
}

const struct command router_commands[] = {
	{ "status", "", "the state of every process", command_status },
	{ "session list", "[JID]", "the sessions, or those of one account", command_session_list },
	{ "session kick", "JID", "end a session, or all of an account", command_session_kick },
	{ "show counters", "", "what the processes have counted", command_later },
	{ "reload", "", "read the configuration again", command_later },
	{ "help", "", "the commands there are", command_help },
	{ NULL, NULL, NULL, NULL },
};

/* -- commands of other daemons ----------------------------------------------------------------- */

static void
forward(struct request *r, struct peer *peer, struct slice text, struct slice data)
{
	struct frame f = { .type = FRAME_CONTROL, .number = r->number, .text = text, .data = data };

	r->missing++;
	if (peer->asked == 0)
		peer->replied = r->number - 1;
	peer->asked = r->number;
	peer_send(peer, &f);
}

/* Adds what a daemon has counted: numbers by names that there are, and nothing else that it
 * says. */
static void
counters_add(json_t *array, enum role role, unsigned index, struct slice json)
{
	json_t *object = json_loadb(json.ptr ? json.ptr : "", json.len, 0, NULL), *value;
	char name[32];
	unsigned c;

	snprintf(name, sizeof name, role == ROLE_C2SD ? "%s.%u" : "%s", role_text(role), index);
	for (c = 0; c < COUNTER_COUNT; c++) {
		value = json_object_get(object, counter_name((enum counter)c));
		if (json_is_integer(value))
			json_array_append_new(array, json_pack("{s:s, s:s, s:O}", "process", name,
			    "counter", counter_name((enum counter)c), "value", value));
	}
	json_decref(object);
}

static void
control_counters(const struct asker *asker)
{
	struct request *r = request_new(asker);
	struct peer *peer;
	unsigned c;

	if (r == NULL)
		return;
	daemon_gauges();
	r->until = daemon_ticks() + GATHER_TIME;
	r->gather = true;
	r->result = json_array();
	for (c = 0; c < COUNTER_COUNT; c++) {
		if (counters[c] != 0)
			json_array_append_new(r->result, json_pack("{s:s, s:s, s:I}", "process", "router",
			    "counter", counter_name((enum counter)c), "value", (json_int_t)counters[c]));
	}
	TAILQ_FOREACH(peer, &peers, all) {
		if (peer->state == PEER_LIVE)
			forward(r, peer, SLICE("counters"), SLICE_NONE);
	}
	if (r->missing == 0)
		request_finish(r, OK, json_incref(r->result));
}

/* Answered by asked_done(). */
static void
control_reload(const struct asker *asker)
{
	struct request *r;

	TAILQ_FOREACH(r, &requests, all) {
		if (r->asked) {
			asker_answer(asker, E_AGAIN, json_string("another reload is under way"));
			return;
		}
	}
	r = request_new(asker);
	if (r == NULL)
		return;
	r->asked = true;
	r->until = daemon_ticks() + RELOAD_TIME;
	daemon_ask("reload");
}

static const struct {
	struct slice text; /* words, a line each */
	void (*run)(const struct asker *asker);
} later[] = {
	{ { "show\ncounters", 13 }, control_counters },
	{ { "reload", 6 }, control_reload },
};

void
control_reply(struct peer *peer, const struct frame *f)
{
	struct request *r = request_find(f->number);
	json_t *result;

	/* Each question is answered once, in the order in which they were asked. */
	if (f->number <= peer->replied || f->number > peer->asked ||
	    (r != NULL && r->incarnation != 0 && r->incarnation != peer->incarnation)) {
		peer_refuse(peer, f, "not asked");
		return;
	}
	peer->replied = f->number;
	if (r == NULL)
		return; /* too late */
	r->missing--;
	if (r->gather) {
		counters_add(r->result, peer->role, peer->index, f->payload);
		if (r->missing == 0)
			request_finish(r, OK, json_incref(r->result));
		return;
	}
	if (r->asker.client != NULL && (r->transfer || f->condition.ptr != NULL)) {
		/* As it is: read here, what is secret in it would stay in memory. */
		struct frame out = { .type = FRAME_CONTROL_REPLY, .number = r->asker.number,
			.condition = f->condition, .text = f->text, .payload = f->payload };

		link_send(r->asker.client->link, &out);
		request_free(r);
		return;
	}
	if (f->condition.ptr != NULL) {
		request_finish(r, E_MALFORMED, f->text.ptr ? json_stringn(f->text.ptr, f->text.len) : NULL);
		return;
	}
	result = json_loadb(f->payload.ptr ? f->payload.ptr : "", f->payload.len, JSON_DECODE_ANY, NULL);
	request_finish(r, result ? OK : E_MALFORMED, result);
}

struct search {
	struct slice text;
	struct peer *peer;
	bool known;
};

/* Whether a registered command's words are the first of those given. */
static void
search_each(void *arg, struct peer *peer, struct slice value)
{
	struct search *search = arg;
	size_t i;

	for (i = 0; i < value.len && value.ptr[i] != '\t'; i++) {
		char c = value.ptr[i] == ' ' ? '\n' : value.ptr[i];

		if (i >= search->text.len || search->text.ptr[i] != c)
			return;
	}
	if (i < search->text.len && search->text.ptr[i] != '\n')
		return;
	search->known = true;
	search->peer = peer;
}

static size_t
split(struct slice text, struct slice words[WORDS_MAX])
{
	size_t n = 0;

	while (text.ptr != NULL && n < WORDS_MAX) {
		const char *end = text.len ? memchr(text.ptr, '\n', text.len) : NULL;
		size_t len = end ? (size_t)(end - text.ptr) : text.len;

		words[n++] = slice_part(text, 0, len);
		if (end == NULL)
			break;
		text = slice_part(text, len + 1, SIZE_MAX);
	}
	return n;
}

/* Runs a command: words, a line each; data: what comes with it. */
static void
command_run(const struct asker *asker, struct slice text, struct slice data)
{
	struct search search = { text, NULL, false };
	struct slice words[WORDS_MAX];
	bool transfer;
	size_t count = split(text, words);
	json_t *result = NULL;
	struct request *r;
	size_t i;
	int error;

	for (i = 0; i < sizeof later / sizeof *later; i++) {
		if (slice_equal(text, later[i].text)) {
			later[i].run(asker);
			return;
		}
	}
	registry_each("command", search_each, &search);
	/* What moves data of accounts is for aldisctl alone: no form of a client gives it. */
	transfer = !search.known && asker->client != NULL;
	if (transfer)
		registry_each("transfer", search_each, &search);
	if (search.known && !registry_complete())
		search.peer = NULL; /* whose command it is will turn out */
	if (search.peer != NULL) {
		r = request_new(asker);
		if (r == NULL)
			return;
		r->incarnation = search.peer->incarnation;
		r->transfer = transfer;
		forward(r, search.peer, text, data);
		return;
	}
	if (search.known) {
		asker_answer(asker, E_AGAIN, json_string("the daemon is away, try again"));
		return;
	}
	error = daemon_command(words, count, &result);
	if (error == E_NOT_FOUND && result == NULL)
		result = json_string("there is no such command");
	asker_answer(asker, error, result);
}

void
control_run(struct slice text, control_done done, void *arg)
{
	struct asker asker = { .done = done, .arg = arg };

	command_run(&asker, text, SLICE_NONE);
}

static void
on_command(void *arg, struct link *link, const struct frame *f, struct slice whole)
{
	struct asker asker = { .client = arg, .number = f->number };

	(void)link;
	(void)whole;
	daemon_dirty();
	command_run(&asker, f->text, f->data);
}

static void
on_client_closed(void *arg, struct link *link)
{
	struct client *client = arg;
	struct request *r;

	(void)link;
	TAILQ_FOREACH(r, &requests, all) {
		if (r->asker.client == client)
			r->asker.client = NULL;
	}
	TAILQ_REMOVE(&clients, client, all);
	client_count--;
	free(client);
}

static void
on_client_drained(void *arg, struct link *link)
{
	(void)link;
	client_flow(arg);
}

static const struct link_events client_events = {
	.frame = on_command, .closed = on_client_closed, .drained = on_client_drained,
};

static void
on_connection(uv_poll_t *poll, int status, int events)
{
	struct client *client;
	int fd = accept4(listener_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

	(void)poll;
	(void)status;
	(void)events;
	if (fd < 0 && (errno == EMFILE || errno == ENFILE)) {
		/* The socket stays readable: asked again at the next tick, not at once. */
		log_error("aldisctl not accepted", "reason=\"%s\"", strerror(errno));
		uv_poll_stop(&listener);
		listener_rests = true;
		daemon_dirty();
	}
	if (fd < 0)
		return;
	if (client_count == CLIENTS_MAX) {
		COUNT(control_refused);
		close(fd);
		return;
	}
	client = mem_alloc(sizeof *client);
	client_count++;
	TAILQ_INSERT_TAIL(&clients, client, all);
	client->link = link_new(daemon_loop(), fd, ROLE_NONE, 0, 0, &client_events, client);
	link_set_full(client->link, ANSWERS_MAX);
}

void
control_listen(int fd)
{
	listener_fd = fd;
	uv_poll_init(daemon_loop(), &listener, fd);
	uv_poll_start(&listener, UV_READABLE, on_connection);
}

void
control_tick(void)
{
	struct request *r, *next;

	if (listener_rests) {
		listener_rests = false;
		uv_poll_start(&listener, UV_READABLE, on_connection);
	}
	for (r = TAILQ_FIRST(&requests); r != NULL; r = next) {
		next = TAILQ_NEXT(r, all);
		if (r->until > daemon_ticks())
			continue;
		if (r->gather)
			request_finish(r, OK, json_incref(r->result));
		else
			request_finish(r, E_AGAIN, json_string(r->asked ? "not done in time; the status "
			    "says what does not run" : "the daemon did not answer in time"));
	}
}

void
control_peer_gone(uint32_t incarnation)
{
	struct request *r = TAILQ_FIRST(&requests);

	while (r != NULL) {
		if (r->gather || r->asked || r->incarnation != incarnation) {
			r = TAILQ_NEXT(r, all);
			continue;
		}
		request_finish(r, E_AGAIN,
		    json_string("the daemon has ended meanwhile; it may be done or not"));
		r = TAILQ_FIRST(&requests); /* who got the answer may have given another command */
	}
}

void
control_gauges(void)
{
	GAUGE(control_clients, client_count);
	GAUGE(control_requests, request_count);
}

bool
control_waiting(void)
{
	return listener_rests || !TAILQ_EMPTY(&requests);
}

/* The supervisor has done what it was asked first. */
static void
asked_done(const struct process_message *message)
{
	struct request *r;

	TAILQ_FOREACH(r, &requests, all) {
		if (r->asked)
			break;
	}
	if (r == NULL)
		return;
	if (message->state == PROCESS_FAILED)
		request_finish(r, E_MALFORMED, json_string(message->name));
	else
		request_finish(r, OK, json_pack("{s:s}", "reload", message->name));
	daemon_dirty();
}

void
control_process(const struct process_message *message)
{
	struct process *p;

	if (message->what == PROCESS_ASK)
		asked_done(message);
	if (message->what != PROCESS_STATE)
		return;
	TAILQ_FOREACH(p, &processes, all) {
		if (p->state.role == message->role && p->state.index == message->index)
			break;
	}
	if (p == NULL) {
		p = mem_alloc(sizeof *p);
		TAILQ_INSERT_TAIL(&processes, p, all);
	}
	p->state = *message;
}
