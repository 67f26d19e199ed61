/*
 * child.c: one daemon, from its start to its next. Called by supervise.c. A daemon that cannot be
 * started is tried again, later each time; one that has been ready is started again at once, but
 * not more than once a second, so that a crash that someone can cause does not become an outage by
 * our own waiting.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "aldisd.h"
#include "error.h"
#include "log.h"
#include "mem.h"

#define START_TIME    60000 /* milliseconds until READY */
#define RESTART_EVERY 1000  /* milliseconds from one start to the next at least */
#define BACK_OFF_MAX  64    /* seconds */
#define ABORT_TIME    2000  /* milliseconds from SIGABRT to SIGKILL */
#define LOST_TIME     1000  /* milliseconds that a process may outlive its link */
#define MISSED_MAX    3     /* PINGs without PONG */

static void end(struct child *child, const char *reason);

static uint64_t
now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

enum process_state
child_state(const struct child *child)
{
	if (child->phase == CHILD_RUNNING)
		return PROCESS_RUNNING;
	return child->failures != 0 ? PROCESS_FAILED : PROCESS_STARTING;
}

static void
set_phase(struct child *child, enum child_phase phase)
{
	child->phase = phase;
	child->since = now_ms();
	supervise_tell_router(child);
}

/* -- timers ------------------------------------------------------------------------------------ */

static void
down_over(struct child *child)
{
	child_start(child);
}

static void
starting_over(struct child *child)
{
	const struct child *router = supervise_find(ROLE_ROUTER, 0);

	/* Without a router nobody becomes ready: then this timer comes again. */
	if (child->role == ROLE_ROUTER || router->phase == CHILD_RUNNING || !supervisor.started)
		end(child, "not ready in time");
}

static void
running_over(struct child *child)
{
	if (child->lost)
		end(child, "lives without its link");
}

static void
ending_over(struct child *child)
{
	kill(child->pid, SIGKILL);
}

static void
timer_over(uv_timer_t *timer)
{
	static void (*const handlers[])(struct child *child) = {
		[CHILD_DOWN] = down_over,
		[CHILD_STARTING] = starting_over,
		[CHILD_RUNNING] = running_over,
		[CHILD_ENDING] = ending_over,
	};
	struct child *child = timer->data;

	handlers[child->phase](child);
}

static void
wait_for(struct child *child, uint64_t milliseconds)
{
	uv_timer_start(&child->timer, timer_over, milliseconds, 1000);
}

/* -- the end ----------------------------------------------------------------------------------- */

/* Aborts a process, and kills it when that does not help. */
static void
end(struct child *child, const char *reason)
{
	log_error("process aborted", "name=%s pid=%ld reason=\"%s\"", child->name,
	    (long)child->pid, reason);
	set_phase(child, CHILD_ENDING);
	kill(child->pid, SIGABRT);
	wait_for(child, ABORT_TIME);
}

void
child_restart(struct child *child, const char *reason)
{
	log_info("process restarts", "name=%s reason=\"%s\"", child->name, reason);
	child->failures = 0;
	if (child->phase == CHILD_DOWN) {
		wait_for(child, 0);
		return;
	}
	set_phase(child, CHILD_ENDING);
	kill(child->pid, SIGKILL);
}

static void
freed(uv_handle_t *handle)
{
	free(handle);
}

/* Closes our end of the control socket. */
static void
control_end(struct child *child)
{
	if (child->control == NULL)
		return;
	uv_close((uv_handle_t *)child->control, freed);
	close(child->control_fd);
	child->control = NULL;
	child->control_fd = -1;
}

/* How long to wait before the next start, in milliseconds. */
static uint64_t
pause_before_start(const struct child *child)
{
	uint64_t lived = uv_now(&supervisor.loop) - child->started, seconds;

	if (child->failures == 0)
		return lived < RESTART_EVERY ? RESTART_EVERY - lived : 0;
	seconds = child->failures > 6 ? BACK_OFF_MAX : 1u << (child->failures - 1);
	return seconds * 1000;
}

/* Gives back what belonged to a life that is over, and waits for the next. */
static void
go_down(struct child *child)
{
	control_end(child);
	child->configuring = false;
	if (child->log_pipe >= 0)
		close(child->log_pipe);
	child->log_pipe = -1;
	child->pid = 0;
	set_phase(child, CHILD_DOWN);
	wait_for(child, pause_before_start(child));
}

void
child_exited(struct child *child, int status)
{
	if (WIFSIGNALED(status))
		log_error("process ended", "name=%s pid=%ld signal=%d ready=%d", child->name,
		    (long)child->pid, WTERMSIG(status), child->was_ready);
	else
		log_error("process ended", "name=%s pid=%ld status=%d ready=%d", child->name,
		    (long)child->pid, WEXITSTATUS(status), child->was_ready);
	child->failures = child->was_ready ? 0 : child->failures + 1;
	child->restarts++;
	go_down(child);
}

/* -- what it says ------------------------------------------------------------------------------ */

static void
on_ready(struct child *child, const struct process_message *message)
{
	if (child->configuring && message->state == PROCESS_FAILED) {
		child_restart(child, "configuration");
		return;
	}
	child->configuring = false;
	if (child->phase != CHILD_STARTING) {
		supervise_ready();
		return;
	}
	child->was_ready = true;
	child->failures = 0;
	child->missed = 0;
	uv_timer_stop(&child->timer);
	set_phase(child, CHILD_RUNNING);
	supervise_ready();
}

static void
on_pong(struct child *child, const struct process_message *message)
{
	(void)message;
	child->missed = 0;
}

static void
on_ask(struct child *child, const struct process_message *message)
{
	if (child->role == ROLE_ROUTER)
		supervise_ask(message->name);
}

/* Someone says that another's link has ended. Usually that one is dying and we hear of it next. */
static void
on_lost(struct child *child, const struct process_message *message)
{
	struct child *other = supervise_find((enum role)message->role, message->index);

	if (other == NULL || other->incarnation != message->incarnation ||
	    other->phase != CHILD_RUNNING || other->lost ||
	    !(child->role == ROLE_ROUTER || (child->role == ROLE_AUTHD &&
	    (other->role == ROLE_C2SD || other->role == ROLE_S2SD))))
		return;
	other->lost = true;
	wait_for(other, LOST_TIME);
}

static void (*const receivers[PROCESS_WHAT_COUNT])(struct child *child,
    const struct process_message *message) = {
	[PROCESS_READY] = on_ready,
	[PROCESS_PONG] = on_pong,
	[PROCESS_ASK] = on_ask,
	[PROCESS_LOST] = on_lost,
};

/* Its control socket can be read. The end of it comes just before that of the process. */
static void
control_ready(uv_poll_t *poll, int status, int events)
{
	struct child *child = poll->data;
	struct process_message message;
	int fd, error = OK;

	(void)status;
	(void)events;
	while (child->control == poll) {
		error = process_receive(child->control_fd, &message, &fd);
		if (error)
			break;
		if (fd >= 0)
			close(fd);
		if (receivers[message.what] != NULL)
			receivers[message.what](child, &message);
	}
	if (child->control != poll || error == E_AGAIN)
		return;
	if (error != E_CLOSED)
		log_error("control socket failed", "name=%s reason=\"%s\"", child->name,
		    error_text(error));
	control_end(child);
	if (child->pid != 0)
		kill(child->pid, SIGKILL);
}

/* -- the start --------------------------------------------------------------------------------- */

/* One that does not take what it is told is of no use any more. */
void
child_tell(struct child *child, const struct process_message *message, int fd)
{
	int error;

	if (child->control == NULL)
		return;
	error = process_send(child->control_fd, message, fd);
	if (error == OK || error == E_CLOSED)
		return;
	log_error("process not told", "name=%s reason=\"%s\"", child->name, error_text(error));
	if (child->pid != 0)
		kill(child->pid, SIGKILL);
}

static void
send_config(struct child *child)
{
	const struct place *place = &supervisor.places[child->role];
	struct process_message message = {
		.what = PROCESS_CONFIG, .role = child->role, .index = child->index,
		.incarnation = child->incarnation,
	};
	struct buf process = { 0 };
	int fd;

	buf_printf(&process, "process\t\tuser\t%s\nprocess\t\tdirectory\t", place->user);
	buf_add_string(&process, place->directory);
	buf_add_char(&process, '\n');
	fd = spawn_memfd(buf_slice(&process), settings_slice(supervisor.settings, child->role));
	buf_free(&process);
	child_tell(child, &message, fd);
	if (fd >= 0)
		close(fd);
}

void
child_configure(struct child *child)
{
	/* One that is down gets it when it starts; one that starts may have read the old one. */
	if (child->phase == CHILD_DOWN)
		return;
	if (child->phase != CHILD_RUNNING) {
		child_restart(child, "configuration");
		return;
	}
	child->configuring = true;
	send_config(child);
}

static void
send_listener(struct child *child, const char *name, int fd)
{
	struct process_message message = { .what = PROCESS_LISTEN };

	memcpy(message.name, name, strnlen(name, sizeof message.name - 1));
	child_tell(child, &message, fd);
}

static void
send_listeners(struct child *child)
{
	size_t i;

	if (child->role == ROLE_ROUTER)
		send_listener(child, "control", supervisor.control_socket);
	for (i = 0; i < supervisor.listeners.count; i++) {
		const struct listener *listener = &supervisor.listeners.all[i];

		if (listener->role == child->role && child->index < listener->count)
			send_listener(child, listener->name, listener->sockets[child->index]);
	}
}

static void
send_link(struct child *to, const struct child *peer, int fd)
{
	struct process_message message = {
		.what = PROCESS_LINK, .role = peer->role, .index = peer->index,
		.incarnation = peer->incarnation,
	};

	child_tell(to, &message, fd);
	close(fd);
}

/* Makes a fresh link to each process that is there and gives each side its end. */
static void
send_links(struct child *child)
{
	int fds[2];
	size_t i;

	for (i = 0; i < supervisor.count; i++) {
		struct child *peer = &supervisor.children[i];

		if (peer == child || peer->control == NULL ||
		    !supervise_linked(child->role, peer->role))
			continue;
		if (spawn_link(fds)) {
			log_error("link not made", "name=%s peer=%s reason=\"%s\"", child->name,
			    peer->name, strerror(errno));
			continue;
		}
		send_link(child, peer, fds[0]);
		send_link(peer, child, fds[1]);
	}
}

/* Makes the control socket; returns the child's end, -1 on failure. */
static int
control_make(struct child *child)
{
	int fds[2], size = 1 << 20;

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fds) != 0)
		return -1;
	fcntl(fds[1], F_SETFL, 0);
	setsockopt(fds[0], SOL_SOCKET, SO_SNDBUF, &size, sizeof size);
	child->control_fd = fds[0];
	child->control = mem_alloc(sizeof *child->control);
	child->control->data = child;
	ASSERT(uv_poll_init(&supervisor.loop, child->control, fds[0]) == 0);
	uv_poll_start(child->control, UV_READABLE, control_ready);
	return fds[1];
}

/* Starts the program with a new control socket and pipe. */
static int
run(struct child *child)
{
	int control, error_output = -1, error;
	char title[48];

	snprintf(title, sizeof title, "aldis-%s", child->name);
	control = control_make(child);
	error = control < 0 ? E_SYSTEM : logger_pipe(&child->log_pipe, &error_output);
	if (error == OK)
		error = spawn(supervisor.directory, child->role, title, control, error_output,
		    &child->pid);
	if (error == OK)
		logger_add(child->name, child->pid, child->log_pipe);
	if (control >= 0)
		close(control);
	if (error_output >= 0)
		close(error_output);
	return error;
}

void
child_start(struct child *child)
{
	struct process_message go = { .what = PROCESS_GO };

	child->incarnation = incarnation_next();
	child->started = uv_now(&supervisor.loop);
	child->was_ready = child->lost = false;
	child->missed = 0;
	if (run(child)) {
		log_error("process not started", "name=%s reason=\"%s\"", child->name,
		    strerror(errno));
		child->failures++;
		go_down(child);
		return;
	}
	log_debug("process started", "name=%s pid=%ld incarnation=%u", child->name,
	    (long)child->pid, child->incarnation);
	send_config(child);
	send_listeners(child);
	send_links(child);
	child_tell(child, &go, -1);
	set_phase(child, CHILD_STARTING);
	wait_for(child, START_TIME);
}

void
child_ping(struct child *child)
{
	struct process_message ping = { .what = PROCESS_PING };

	if (child->phase != CHILD_RUNNING)
		return;
	if (child->missed >= MISSED_MAX) {
		end(child, "does not answer");
		return;
	}
	child->missed++;
	child_tell(child, &ping, -1);
}
