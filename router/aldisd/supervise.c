/*
 * supervise.c: the suite as a whole: its start, its end, its reload. Called by main.c, which has
 * read the settings, and by child.c. The start fails, and all of it ends, when something cannot
 * be opened or a daemon ends before it was ready; after that nothing but a signal ends it.
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "aldisd.h"
#include "error.h"
#include "log.h"
#include "mem.h"

#define PING_EVERY 5000 /* milliseconds */

struct supervisor supervisor = { .control_socket = -1, .status_pipe = -1 };

/* -- the end ----------------------------------------------------------------------------------- */

/* Kills all daemons, which is how they always end, and takes away what we made. */
static _Noreturn void
stop(int code)
{
	char *control = settings_string(supervisor.settings, "control-socket");
	char *pid_file = settings_string(supervisor.settings, "pid-file");
	size_t i;

	for (i = 0; i < supervisor.count; i++) {
		if (supervisor.children[i].pid != 0)
			kill(supervisor.children[i].pid, SIGKILL);
	}
	for (i = 0; i < supervisor.count; i++) {
		if (supervisor.children[i].pid != 0)
			waitpid(supervisor.children[i].pid, NULL, 0);
	}
	if (supervisor.control_socket >= 0)
		unlink(control);
	unlink(pid_file);
	free(control);
	free(pid_file);
	log_info("suite stopped", "status=%d", code);
	logger_stop();
	exit(code);
}

/* Says why the start has failed to who waits for it: on stderr or through the pipe. */
static void
say_failure(const char *what)
{
	if (supervisor.status_pipe < 0 ||
	    write(supervisor.status_pipe, what, strlen(what)) < 0)
		fprintf(stderr, "aldisd: %s", what);
}

/* The start has failed when some daemons may run already. what: one line with its end. */
static _Noreturn void
fail(const char *what)
{
	log_error("start failed", "reason=%s", log_quote(slice_of(what, strlen(what) - 1)));
	say_failure(what);
	stop(1);
}

static void
on_stop(uv_signal_t *handle, int number)
{
	(void)handle;
	log_info("suite stops", "signal=%d", number);
	stop(0);
}

/* -- children ---------------------------------------------------------------------------------- */

struct child *
supervise_find(enum role role, unsigned index)
{
	size_t i;

	for (i = 0; i < supervisor.count; i++) {
		if (supervisor.children[i].role == role && supervisor.children[i].index == index)
			return &supervisor.children[i];
	}
	return NULL;
}

bool
supervise_linked(enum role a, enum role b)
{
	/* Besides those of the router: who speaks TLS has authd sign for it. */
	static const enum role pairs[][2] = {
		{ ROLE_AUTHD, ROLE_C2SD }, { ROLE_AUTHD, ROLE_S2SD },
	};
	size_t i;

	if (a == ROLE_ROUTER || b == ROLE_ROUTER)
		return true;
	for (i = 0; i < sizeof pairs / sizeof pairs[0]; i++) {
		if ((pairs[i][0] == a && pairs[i][1] == b) || (pairs[i][0] == b && pairs[i][1] == a))
			return true;
	}
	return false;
}

static void
tell_state(struct child *router, const struct child *child)
{
	struct process_message message = {
		.what = PROCESS_STATE, .role = child->role, .index = child->index,
		.incarnation = child->incarnation, .state = child_state(child),
		.restarts = child->restarts, .pid = child->pid, .since = child->since,
	};

	child_tell(router, &message, -1);
}

void
supervise_tell_router(const struct child *child)
{
	struct child *router = supervise_find(ROLE_ROUTER, 0);
	size_t i;

	if (router == NULL || router->control == NULL)
		return;
	if (child != router) {
		tell_state(router, child);
		return;
	}
	for (i = 0; i < supervisor.count; i++)
		tell_state(router, &supervisor.children[i]);
}

/* Answers the router. */
static void
answer(const char *text, int error)
{
	struct process_message message = {
		.what = PROCESS_ASK, .state = error ? PROCESS_FAILED : PROCESS_RUNNING,
	};
	struct child *router = supervise_find(ROLE_ROUTER, 0);

	supervisor.asked = false;
	memcpy(message.name, text, strlen(text));
	child_tell(router, &message, -1);
}

void
supervise_ready(void)
{
	uint16_t port = listeners_port(&supervisor.listeners, "c2s");
	size_t i;

	for (i = 0; i < supervisor.count; i++) {
		if (supervisor.children[i].phase != CHILD_RUNNING || supervisor.children[i].configuring)
			return;
	}
	if (supervisor.asked)
		answer("done", OK);
	log_info("suite ready", "processes=%zu c2s=%u", supervisor.count, port);
	if (supervisor.started)
		return;
	supervisor.started = true;
	if (supervisor.foreground)
		dprintf(STDOUT_FILENO, "ready: c2s %u\n", port);
	if (supervisor.status_pipe >= 0) {
		if (write(supervisor.status_pipe, "\n", 1) != 1)
			log_warn("start not reported", "reason=\"%s\"", strerror(errno));
		close(supervisor.status_pipe);
		supervisor.status_pipe = -1;
	}
}

/* Gives a restarted log role the pipes of all daemons. */
static void
add_pipes(void)
{
	size_t i;

	for (i = 0; i < supervisor.count; i++) {
		const struct child *child = &supervisor.children[i];

		if (child->log_pipe >= 0)
			logger_add(child->name, child->pid, child->log_pipe);
	}
}

static void
reap(pid_t pid, int status)
{
	char text[128];
	size_t i;

	if (logger_reap(pid, add_pipes))
		return;
	for (i = 0; i < supervisor.count; i++) {
		struct child *child = &supervisor.children[i];

		if (child->pid != pid)
			continue;
		child_exited(child, status);
		if (!supervisor.started && !child->was_ready) {
			snprintf(text, sizeof text, "%s did not start; the log says why\n", child->name);
			fail(text);
		}
	}
}

static void
on_child(uv_signal_t *handle, int number)
{
	int status;
	pid_t pid;

	(void)handle;
	(void)number;
	while ((pid = waitpid(-1, &status, WNOHANG)) > 0)
		reap(pid, status);
}

static void
on_ping(uv_timer_t *timer)
{
	size_t i;

	(void)timer;
	for (i = 0; i < supervisor.count; i++)
		child_ping(&supervisor.children[i]);
}

static unsigned
workers(const struct settings *settings)
{
	uint64_t wanted = config_number(settings_own(settings), "c2s", "", "workers");
	long processors = sysconf(_SC_NPROCESSORS_ONLN);

	if (wanted == 0)
		wanted = processors > 0 ? (uint64_t)processors : 1;
	return wanted < WORKERS_MAX ? (unsigned)wanted : WORKERS_MAX;
}

/* Makes the table of what is to run: each daemon whose program is there. */
static void
children_make(unsigned c2sd)
{
	unsigned role, index, count;

	supervisor.children = mem_array(ROLE_COUNT + c2sd, sizeof *supervisor.children);
	for (role = ROLE_NONE + 1; role < ROLE_COUNT; role++) {
		if (!spawn_exists(supervisor.directory, (enum role)role)) {
			if (role <= ROLE_S2SD)
				log_warn("program missing", "name=aldis-%s directory=%s",
				    role_text((enum role)role), supervisor.directory);
			continue;
		}
		count = role == ROLE_C2SD ? c2sd : 1;
		for (index = 0; index < count; index++) {
			struct child *child = &supervisor.children[supervisor.count++];

			child->role = (enum role)role;
			child->index = index;
			child->control_fd = child->log_pipe = -1;
			snprintf(child->name, sizeof child->name, role == ROLE_C2SD ? "%s.%u" : "%s",
			    role_text(child->role), index);
			uv_timer_init(&supervisor.loop, &child->timer);
			child->timer.data = child;
		}
	}
}

/* -- reload ------------------------------------------------------------------------------------ */

/* Options that the supervisor reads at its start only. */
static const char *const fixed[] = {
	"state-directory", "control-socket", "pid-file", "user-prefix",
};

static void
warn_fixed(const struct settings *before, const struct settings *now)
{
	size_t i;

	for (i = 0; i < sizeof fixed / sizeof fixed[0]; i++) {
		if (!slice_equal(config_text(settings_own(before), "", "", fixed[i]),
		    config_text(settings_own(now), "", "", fixed[i])))
			log_warn("option not reloaded", "option=%s reason=\"it takes effect when "
			    "aldisd is started again\"", fixed[i]);
	}
	if (workers(before) != workers(now))
		log_warn("option not reloaded", "option=workers reason=\"it takes effect when aldisd "
		    "is started again\"");
}

/* Logs each line of a text. */
static void
log_lines(enum log_level level, const char *event, const struct buf *text)
{
	struct slice rest = buf_slice(text);

	while (rest.len != 0) {
		const char *line_end = memchr(rest.ptr, '\n', rest.len);
		size_t len = line_end != NULL ? (size_t)(line_end - rest.ptr) : rest.len;

		log_line(level, event, "%.*s", (int)len, rest.ptr);
		rest = slice_part(rest, len + 1, rest.len);
	}
}

/* The next listener of a role, from *at on; NULL when there are no more. */
static const struct listener *
listener_next(const struct listeners *listeners, enum role role, size_t *at)
{
	while (*at < listeners->count && listeners->all[*at].role != role)
		(*at)++;
	return *at < listeners->count ? &listeners->all[(*at)++] : NULL;
}

/* Whether both have the same listeners for a role, in the same order. */
static bool
same_listeners(const struct listeners *a, const struct listeners *b, enum role role)
{
	const struct listener *one, *other;
	size_t at_a = 0, at_b = 0;

	do {
		one = listener_next(a, role, &at_a);
		other = listener_next(b, role, &at_b);
		if (one == NULL || other == NULL)
			return one == other;
	} while (strcmp(one->name, other->name) == 0 && strcmp(one->address, other->address) == 0);
	return false;
}

static int
log_to(const struct settings *settings, struct buf *problem)
{
	char *target = settings_string(settings, "log");
	int error;

	error = logger_target(supervisor.foreground && target[0] != '/' ? "stderr" : target, problem);
	free(target);
	return error;
}

/* Gives each daemon its new slice, and restarts those that cannot take it while they run. authd
 * stands before c2sd in the table: keys are there before the certificates that need them. listeners: the
 * roles that have others now. */
static void
apply_changes(const struct settings *before, const struct settings *now, uint32_t listeners)
{
	size_t i;

	for (i = 0; i < supervisor.count; i++) {
		struct child *child = &supervisor.children[i];
		enum settings_change change = settings_change(before, now, child->role);

		if (change == CHANGE_RESTART || (listeners & ROLE_BIT(child->role)))
			child_restart(child, "configuration");
		else if (change == CHANGE_LIVE)
			child_configure(child);
	}
}

/* Reads the configuration again; with an error in it nothing changes. */
static int
reload(void)
{
	struct settings *now = NULL, *before = supervisor.settings;
	struct listeners listeners = { 0 }, old;
	struct buf messages = { 0 };
	uint32_t changed;
	int error;

	error = settings_read(supervisor.config_path, &messages, &now);
	if (error == OK)
		error = listeners_open(now, workers(before), &supervisor.listeners, &listeners,
		    &messages);
	log_lines(error ? LOG_LEVEL_ERROR : LOG_LEVEL_WARN, "configuration", &messages);
	buf_clear(&messages);
	if (error) {
		log_error("reload refused", "file=%s", supervisor.config_path);
		goto out;
	}
	old = supervisor.listeners;
	changed = (same_listeners(&old, &listeners, ROLE_C2SD) ? 0 : ROLE_BIT(ROLE_C2SD)) |
	    (same_listeners(&old, &listeners, ROLE_S2SD) ? 0 : ROLE_BIT(ROLE_S2SD));
	supervisor.listeners = listeners;
	listeners_close(&old);
	warn_fixed(before, now);
	supervisor.settings = now;
	if (log_to(now, &messages))
		log_lines(LOG_LEVEL_ERROR, "log not changed", &messages);
	log_info("configuration reloaded", "file=%s", supervisor.config_path);
	apply_changes(before, now, changed);
	now = before;
out:
	settings_free(&now);
	buf_free(&messages);
	return error;
}

static void
on_reload(uv_signal_t *handle, int number)
{
	(void)handle;
	(void)number;
	reload();
}

/* -- what the router asks ---------------------------------------------------------------------- */

/* Restarts the processes of that name: "c2sd" are all of them, "c2sd.1" is one. */
static int
restart(const char *name)
{
	int error = E_NOT_FOUND;
	size_t i;

	for (i = 0; i < supervisor.count; i++) {
		struct child *child = &supervisor.children[i];

		if (strcmp(child->name, name) == 0 || strcmp(role_text(child->role), name) == 0) {
			child_restart(child, "asked");
			error = OK;
		}
	}
	return error;
}

void
supervise_ask(const char *what)
{
	static const char verb[] = "restart ";
	int error = E_UNSUPPORTED;

	log_info("asked", "what=%s", log_quote(slice_string(what)));
	if (strcmp(what, "reload") == 0)
		error = reload();
	else if (strncmp(what, verb, strlen(verb)) == 0)
		error = restart(what + strlen(verb));
	if (error) {
		answer(error == E_NOT_FOUND ? "there is no such process" :
		    error == E_UNSUPPORTED ? "not supported" : "refused; the log says why", error);
		return;
	}
	/* When all have followed. */
	supervisor.asked = true;
	supervise_ready();
}

/* -- the start --------------------------------------------------------------------------------- */

/* Opens all that may fail; the log comes last, so that what fails is said where we were started. */
static int
open_all(unsigned c2sd, struct buf *problem)
{
	char *state = settings_string(supervisor.settings, "state-directory");
	char *control = settings_string(supervisor.settings, "control-socket");
	char *pid_file = settings_string(supervisor.settings, "pid-file");
	char *log = settings_string(supervisor.settings, "log");
	int error;

	error = place_pid_file(pid_file, problem);
	if (error == OK) {
		error = place_prepare(supervisor.settings, supervisor.places, problem);
		if (error == OK)
			error = incarnation_open(state, problem);
		if (error == OK)
			error = listeners_open(supervisor.settings, c2sd, NULL, &supervisor.listeners,
			    problem);
		if (error == OK)
			error = place_control_socket(control, &supervisor.control_socket, problem);
		if (error == OK)
			error = logger_start(supervisor.foreground && log[0] != '/' ? "stderr" : log,
			    problem);
		if (error)
			unlink(pid_file);
	}
	free(state);
	free(control);
	free(pid_file);
	free(log);
	return error;
}

static void
on_signal(uv_signal_t *handle, uv_signal_cb callback, int number)
{
	uv_signal_init(&supervisor.loop, handle);
	uv_signal_start(handle, callback, number);
}

void
supervise(void)
{
	static uv_signal_t child, term, interrupt, hup;
	static uv_timer_t ping;
	struct buf problem = { 0 };
	unsigned c2sd = workers(supervisor.settings);
	size_t i;

	signal(SIGPIPE, SIG_IGN);
	ASSERT(uv_loop_init(&supervisor.loop) == 0);
	if (open_all(c2sd, &problem)) {
		buf_add_char(&problem, '\0');
		say_failure(problem.bytes);
		exit(1);
	}
	on_signal(&child, on_child, SIGCHLD);
	on_signal(&term, on_stop, SIGTERM);
	on_signal(&interrupt, on_stop, SIGINT);
	on_signal(&hup, on_reload, SIGHUP);
	uv_timer_init(&supervisor.loop, &ping);
	uv_timer_start(&ping, on_ping, PING_EVERY, PING_EVERY);
	children_make(c2sd);
	for (i = 0; i < supervisor.count; i++)
		child_start(&supervisor.children[i]);
	for (;;)
		uv_run(&supervisor.loop, UV_RUN_DEFAULT);
}
