/*
 * daemon.c: the life of a process under the supervisor, from its control socket to the loop. Called
 * by the main.c of each daemon. Fails, and so ends the process, when the configuration or the
 * sandbox cannot be set up; after that only the end of the supervisor ends it.
 */
#include "daemon.h"

#include <errno.h>
#include <malloc.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "counter.h"
#include "error.h"
#include "log.h"
#include "mem.h"
#include "sandbox.h"

#define CONFIG_MAX   (64u << 20) /* bytes of a slice of the configuration */
#define WORDS_MAX    32          /* words of a command */
#define POOL_DEFAULT 4           /* libuv's own number of threads */
#define POOL_MAX     1024
#define POOL_NICE    10
#define FLUSH_ROUNDS 4           /* how often flush() may ask for itself in one iteration */

static struct {
	const struct daemon_hooks *hooks;
	uv_loop_t loop;
	uv_poll_t control;
	uv_idle_t again;        /* keeps the loop from waiting while flush() is owed */
	uv_timer_t later;       /* until flush() is owed */
	uint64_t later_at;      /* ticks; 0: it does not run */
	struct config *config;
	struct link *router;
	struct acks *acks;
	char *user;
	char *state_dir;
	uint32_t incarnation;
	unsigned index;
	bool started;           /* the sandbox is closed, the loop runs */
	bool up;                /* WELCOME has come */
	bool ready;             /* the supervisor has been told */
	bool dirty;
	uint64_t now_ticks, now;
	struct slice command_data; /* of the command that runs */
} self;

/* -- the surroundings -------------------------------------------------------------------------- */

uv_loop_t *
daemon_loop(void)
{
	return &self.loop;
}

uint32_t
daemon_incarnation(void)
{
	return self.incarnation;
}

unsigned
daemon_index(void)
{
	return self.index;
}

const char *
daemon_state_dir(void)
{
	return self.state_dir;
}

bool
daemon_router_up(void)
{
	return self.up;
}

struct link *
daemon_router(void)
{
	return self.router;
}

uint64_t
daemon_ticks(void)
{
	return uv_now(&self.loop);
}

uint64_t
daemon_now(void)
{
	uint64_t ticks = uv_now(&self.loop);
	struct timespec now;

	if (self.now == 0 || ticks != self.now_ticks) {
		clock_gettime(CLOCK_REALTIME, &now);
		self.now = (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
		self.now_ticks = ticks;
	}
	return self.now;
}

void
daemon_send(const struct frame *f)
{
	/* Nothing comes before WELCOME: until then the router refuses it. */
	if (self.router != NULL && (self.up || f->type == FRAME_HELLO))
		link_send(self.router, f);
}

void
daemon_refuse(const struct frame *f, const char *reason)
{
	if (self.router != NULL)
		link_refuse(self.router, f->type, reason);
}

void
daemon_dirty(void)
{
	self.dirty = true;
}

static void
later_due(uv_timer_t *timer)
{
	(void)timer;
	self.later_at = 0;
	daemon_dirty();
}

void
daemon_dirty_at(uint64_t ticks)
{
	uint64_t now = daemon_ticks();

	if (self.later_at != 0 && self.later_at <= ticks)
		return;
	self.later_at = ticks > now ? ticks : now + 1;
	uv_timer_start(&self.later, later_due, self.later_at - now, 0);
}

void
daemon_ack(const struct frame *f)
{
	acks_add(self.acks, f->origin, f->seq);
	self.dirty = true;
}

/* -- to the supervisor ------------------------------------------------------------------------- */

static void
tell_supervisor(const struct process_message *message)
{
	int error = process_send(PROCESS_CONTROL_FD, message, -1);

	if (error)
		log_warn("supervisor not told", "what=%u reason=\"%s\"", message->what,
		    error_text(error));
}

static void
tell_ready(void)
{
	struct process_message message = { .what = PROCESS_READY };

	if (self.ready)
		return;
	self.ready = true;
	tell_supervisor(&message);
}

void
daemon_ask(const char *what)
{
	struct process_message message = { .what = PROCESS_ASK };

	if (strlen(what) >= sizeof message.name)
		return;
	memcpy(message.name, what, strlen(what));
	tell_supervisor(&message);
}

void
daemon_lost(enum role peer, unsigned index, uint32_t incarnation)
{
	struct process_message message = {
		.what = PROCESS_LOST, .role = peer, .index = index, .incarnation = incarnation,
	};

	tell_supervisor(&message);
}

/* -- commands ---------------------------------------------------------------------------------- */

void
daemon_gauges(void)
{
	link_gauges();
	if (self.hooks->gauges != NULL)
		self.hooks->gauges();
}

/* The counters that are not 0. */
static int
run_counters(struct slice *words, size_t count, json_t **result)
{
	unsigned i;

	(void)words;
	if (count != 0)
		return E_MALFORMED;
	daemon_gauges();
	*result = json_object();
	for (i = 0; i < COUNTER_COUNT; i++) {
		if (counters[i] != 0)
			json_object_set_new(*result, counter_name((enum counter)i),
			    json_integer((json_int_t)counters[i]));
	}
	return OK;
}

static const struct command builtin[] = {
	{ "counters", "", "what this daemon has counted", run_counters },
	{ NULL, NULL, NULL, NULL },
};

int
daemon_command(struct slice *words, size_t count, json_t **result)
{
	const struct command *command;
	size_t used = 0;

	*result = NULL;
	command = command_find(self.hooks->commands, words, count, &used);
	if (command == NULL)
		command = command_find(self.hooks->transfers, words, count, &used);
	if (command == NULL)
		command = command_find(builtin, words, count, &used);
	if (command == NULL)
		return E_NOT_FOUND;
	if (self.hooks->settle != NULL)
		self.hooks->settle();
	return command->run(words + used, count - used, result);
}

static void
handle_control(const struct frame *f)
{
	struct frame reply = { .type = FRAME_CONTROL_REPLY, .number = f->number };
	struct slice words[WORDS_MAX];
	json_t *result = NULL;
	char *text = NULL;
	size_t count;
	int error;

	self.command_data = f->data;
	error = command_words(f->text, words, WORDS_MAX, &count);
	if (error == OK)
		error = daemon_command(words, count, &result);
	self.command_data = SLICE_NONE;
	if (error == OK) {
		text = result != NULL ? json_dumps(result, JSON_COMPACT | JSON_ENCODE_ANY) : NULL;
		reply.payload = text != NULL ? slice_string(text) : SLICE("null");
	} else {
		reply.condition = slice_string(command_condition(error));
		reply.text = slice_string(json_string_value(result));
		if (reply.text.ptr == NULL)
			reply.text = slice_string(error_text(error));
	}
	daemon_send(&reply);
	if (text != NULL)
		explicit_bzero(text, strlen(text));
	free(text);
	json_decref(result);
}

struct slice
daemon_command_data(void)
{
	return self.command_data;
}

/* -- the router -------------------------------------------------------------------------------- */

static void
handle_welcome(const struct frame *f)
{
	struct frame ready = { .type = FRAME_READY };

	(void)f;
	self.up = true;
	if (self.hooks->router != NULL)
		self.hooks->router();
	daemon_send(&ready);
	tell_ready();
}

/* The echo tells the router where what is sent again begins. */
static void
handle_resend(const struct frame *f)
{
	if (self.hooks->resend == NULL)
		return;
	daemon_send(f);
	self.hooks->resend();
}

/* Frames that every daemon treats alike. */
static void (*const handlers[FRAME_COUNT])(const struct frame *f) = {
	[FRAME_WELCOME] = handle_welcome,
	[FRAME_RESEND] = handle_resend,
	[FRAME_CONTROL] = handle_control,
};

static void
router_frame(void *arg, struct link *link, const struct frame *f, struct slice whole)
{
	(void)arg;
	(void)link;
	self.dirty = true;
	if (handlers[f->type] != NULL)
		handlers[f->type](f);
	else if (self.hooks->frame != NULL)
		self.hooks->frame(f, whole);
}

static void
router_closed(void *arg, struct link *link)
{
	(void)arg;
	(void)link;
	self.router = NULL;
	self.up = false;
	log_info("router gone", "restart=awaited");
	if (self.hooks->router_gone != NULL)
		self.hooks->router_gone();
}

/* There is room on the link again: flush() goes on with what had to wait. */
static void
router_drained(void *arg, struct link *link)
{
	(void)arg;
	(void)link;
	self.dirty = true;
}

/* Registers with the router: what we serve, and our commands. */
static void
introduce(void)
{
	struct frame hello = { .type = FRAME_HELLO };
	const struct command *command = self.hooks->commands;
	struct buf text = { 0 };

	if (self.hooks->serves != NULL)
		buf_add_string(&text, self.hooks->serves);
	if (buf_len(&text) != 0 && text.bytes[text.end - 1] != '\n')
		buf_add_char(&text, '\n');
	if (self.hooks->serves_more != NULL)
		self.hooks->serves_more(&text);
	for (; command != NULL && command->name != NULL; command++)
		buf_printf(&text, "command %s\t%s\t%s\n", command->name, command->arguments,
		    command->help);
	for (command = self.hooks->transfers; command != NULL && command->name != NULL; command++)
		buf_printf(&text, "transfer %s\t%s\t%s\n", command->name, command->arguments,
		    command->help);
	hello.text = buf_slice(&text);
	daemon_send(&hello);
	buf_free(&text);
}

/* The supervisor has made a link to the router, the first one or one to its successor. */
static void
router_linked(const struct process_message *message, int fd)
{
	static const struct link_events events = {
		.frame = router_frame, .closed = router_closed, .drained = router_drained,
	};

	if (self.router != NULL) {
		link_close(&self.router);
		router_closed(NULL, NULL);
	}
	self.router = link_new(&self.loop, fd, ROLE_ROUTER, message->index, message->incarnation,
	    &events, NULL);
	if (self.started)
		introduce();
}

/* -- from the supervisor ----------------------------------------------------------------------- */

/* Reads the sealed memfd with our slice of the configuration. */
static int
read_config(int fd, struct config **config)
{
	struct stat status;
	struct slice level;
	char *text;
	size_t at = 0;
	enum log_level log_level;
	int error;

	if (fstat(fd, &status) != 0 || status.st_size < 0 || status.st_size > (off_t)CONFIG_MAX ||
	    lseek(fd, 0, SEEK_SET) != 0)
		return E_SYSTEM;
	text = mem_alloc((size_t)status.st_size + 1);
	while (at < (size_t)status.st_size) {
		ssize_t got = read(fd, text + at, (size_t)status.st_size - at);

		if (got <= 0 && errno != EINTR)
			break;
		if (got > 0)
			at += (size_t)got;
	}
	error = at == (size_t)status.st_size ? config_read(slice_of(text, at), config) :
	    E_SYSTEM;
	explicit_bzero(text, at);
	free(text);
	if (error)
		return error;
	level = config_text(*config, "", "", "log-level");
	if (log_level_of(level, &log_level) == OK)
		log_set_level(log_level);
	return OK;
}

/* Options have changed. What cannot be taken now is taken after a restart. */
static int
on_change(int fd)
{
	struct process_message ready = { .what = PROCESS_READY, .state = PROCESS_RUNNING };
	struct config *config = NULL;
	int error = read_config(fd, &config);

	if (error == OK && self.hooks->reconfigure != NULL)
		error = self.hooks->reconfigure(config);
	if (error) {
		ready.state = PROCESS_FAILED;
		log_warn("configuration not taken", "reason=\"%s\"", error_text(error));
	} else {
		log_info("configuration taken", "incarnation=%u", self.incarnation);
	}
	config_free(&config);
	tell_supervisor(&ready);
	self.dirty = true;
	return OK;
}

static int
on_config(const struct process_message *message, int fd)
{
	int error;

	if (fd < 0 || message->role != self.hooks->role || (self.config != NULL && !self.started))
		return E_MALFORMED;
	if (self.started) {
		error = on_change(fd);
		close(fd);
		return error;
	}
	self.index = message->index;
	self.incarnation = message->incarnation;
	error = read_config(fd, &self.config);
	close(fd);
	if (error)
		return error;
	self.user = slice_dup(config_text(self.config, "process", "", "user"));
	self.state_dir = slice_dup(config_text(self.config, "process", "", "directory"));
	return self.hooks->configure != NULL ? self.hooks->configure(self.config) : OK;
}

static int
on_listen(const struct process_message *message, int fd)
{
	if (fd < 0)
		return E_MALFORMED;
	if (self.hooks->listen != NULL)
		self.hooks->listen(message->name, fd);
	else
		close(fd);
	return OK;
}

static int
on_link(const struct process_message *message, int fd)
{
	if (fd < 0)
		return E_MALFORMED;
	if (message->role == ROLE_ROUTER)
		router_linked(message, fd);
	else if (self.hooks->link != NULL)
		self.hooks->link((enum role)message->role, message->index, message->incarnation,
		    fd);
	else
		close(fd);
	self.dirty = true;
	return OK;
}

static int
on_ping(const struct process_message *message, int fd)
{
	struct process_message pong = { .what = PROCESS_PONG };

	(void)message;
	(void)fd;
	tell_supervisor(&pong);
	if (self.hooks->tick != NULL) {
		self.hooks->tick();
		daemon_dirty();
	}
	return OK;
}

static int
on_process(const struct process_message *message, int fd)
{
	(void)fd;
	if (self.hooks->process != NULL)
		self.hooks->process(message);
	return OK;
}

static int (*const receivers[PROCESS_WHAT_COUNT])(const struct process_message *message, int fd) = {
	[PROCESS_CONFIG] = on_config,
	[PROCESS_LISTEN] = on_listen,
	[PROCESS_LINK] = on_link,
	[PROCESS_PING] = on_ping,
	[PROCESS_STATE] = on_process,
	[PROCESS_ASK] = on_process,
};

/* Takes one message; *what tells which. E_CLOSED: the supervisor is gone. */
static int
receive(uint32_t *what)
{
	struct process_message message;
	int fd, error;

	error = process_receive(PROCESS_CONTROL_FD, &message, &fd);
	if (error)
		return error;
	*what = message.what;
	if (receivers[message.what] != NULL)
		return receivers[message.what](&message, fd);
	if (fd >= 0)
		close(fd);
	return OK;
}

static void
control_ready(uv_poll_t *poll, int status, int events)
{
	uint32_t what;
	int error = OK;

	(void)poll;
	(void)status;
	(void)events;
	while (error == OK)
		error = receive(&what);
	if (error == E_CLOSED)
		_exit(0);
	if (error != E_AGAIN) {
		log_error("control socket failed", "reason=\"%s\"", error_text(error));
		_exit(1);
	}
}

/* -- the loop ---------------------------------------------------------------------------------- */

static void
send_ack(void *arg, uint32_t origin, struct slice pairs)
{
	struct frame ack = { .type = FRAME_ACK, .origin = origin, .numbers = pairs };

	(void)arg;
	daemon_send(&ack);
}

static void
nothing(uv_idle_t *idle)
{
	(void)idle;
}

/* The end of an iteration: the daemon commits, then what it acknowledges goes out. */
static void
finish(void)
{
	unsigned round;

	for (round = 0; self.dirty && round < FLUSH_ROUNDS; round++) {
		self.dirty = false;
		if (self.hooks->flush != NULL)
			self.hooks->flush();
	}
	acks_flush(self.acks, send_ack, NULL);
	if (self.dirty)
		uv_idle_start(&self.again, nothing);
	else
		uv_idle_stop(&self.again);
}

static uv_barrier_t pool_begun; /* one request for each thread: none does two */

static void
work(uv_work_t *request)
{
	(void)request;
	uv_barrier_wait(&pool_begun);
	/* Of this thread alone, as Linux has it. */
	if (self.hooks->nice_pool && setpriority(PRIO_PROCESS, 0, POOL_NICE) != 0)
		log_warn("thread not made nice", "reason=\"%s\"", strerror(errno));
}

static void
work_done(uv_work_t *request, int status)
{
	size_t *left = request->data;

	(void)status;
	(*left)--;
}

/* Starts the threads of the pool: before they would keep privileges, after sandbox_seal() they could
 * not be made. */
static void
warm_up(void)
{
	const char *wanted = getenv("UV_THREADPOOL_SIZE");
	uint64_t count = POOL_DEFAULT;
	uv_work_t *requests;
	size_t left, i;

	if (wanted != NULL &&
	    (slice_number(slice_string(wanted), POOL_MAX, &count) || count == 0))
		count = POOL_DEFAULT;
	left = (size_t)count;
	if (uv_barrier_init(&pool_begun, (unsigned)count) != 0)
		log_panic(__FILE__, __LINE__, "no barrier");
	requests = mem_array(left, sizeof *requests);
	for (i = 0; i < count; i++) {
		requests[i].data = &left;
		uv_queue_work(&self.loop, &requests[i], work, work_done);
	}
	while (left != 0)
		uv_run(&self.loop, UV_RUN_ONCE);
	uv_barrier_destroy(&pool_begun);
	free(requests);
}

static void
set_signals(void)
{
	signal(SIGPIPE, SIG_IGN);
	signal(SIGINT, SIG_IGN);
	signal(SIGHUP, SIG_IGN);
	signal(SIGTERM, SIG_DFL);
}

/* Everything until the sandbox is closed; returns an error that was logged. */
static int
set_up(void)
{
	bool chrooted = false;
	uint32_t what = 0;
	int error = OK;

	while (error == OK && what != PROCESS_GO)
		error = receive(&what);
	if (error == E_CLOSED)
		_exit(0);
	if (error == OK && self.config == NULL)
		error = E_MALFORMED;
	json_object_seed(0); /* reads /dev/urandom */
	if (error == OK && self.hooks->start != NULL)
		error = self.hooks->start(&self.loop);
	config_free(&self.config);
	if (error == OK)
		error = sandbox_enter(self.hooks->role, self.user, self.state_dir, &chrooted);
	if (error == OK) {
		warm_up();
		if (self.hooks->threads != NULL)
			error = self.hooks->threads();
	}
	if (error == OK) {
		error = sandbox_seal(self.hooks->role);
	}
	if (chrooted) {
		free(self.state_dir);
		self.state_dir = mem_string("/");
	}
	if (error)
		log_error("start failed", "reason=\"%s\"", error_text(error));
	return error;
}

/* Whether descriptor 3 is what the supervisor gives its children. */
static bool
is_supervised(void)
{
	int type = 0;
	socklen_t len = sizeof type;

	return getsockopt(PROCESS_CONTROL_FD, SOL_SOCKET, SO_TYPE, &type, &len) == 0 &&
	    type == SOCK_SEQPACKET;
}

int
daemon_main(const struct daemon_hooks *hooks)
{
	if (!is_supervised()) {
		fprintf(stderr, "%s is started by aldisd(8)\n", role_text(hooks->role));
		return 1;
	}
	self.hooks = hooks;
	self.acks = acks_new();
	set_signals();
	umask(077);
	/* One heap for all threads gives memory back; more of them read /proc as they shrink. */
	mallopt(M_ARENA_MAX, 1);
	ASSERT(uv_loop_init(&self.loop) == 0);
	uv_idle_init(&self.loop, &self.again);
	uv_timer_init(&self.loop, &self.later);
	if (set_up())
		return 1;
	self.started = true;
	ASSERT(uv_poll_init(&self.loop, &self.control, PROCESS_CONTROL_FD) == 0);
	uv_poll_start(&self.control, UV_READABLE, control_ready);
	link_before_flush(&self.loop, finish);
	if (self.router != NULL)
		introduce();
	if (hooks->role == ROLE_ROUTER)
		tell_ready();
	for (;;)
		uv_run(&self.loop, UV_RUN_DEFAULT);
}
