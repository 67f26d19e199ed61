/*
 * logger.c: the supervisor's end of the log role. Called by supervise.c and child.c. Fails when the
 * log file cannot be opened; a log role that dies is started again and gets all pipes once more, so
 * that nothing that is in them is lost.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "aldisd.h"
#include "error.h"
#include "log.h"
#include "mem.h"

#define PIPE_SIZE (256 << 10)

static struct {
	pid_t pid;
	int control;
	int error_output; /* what our stderr was, and what that of the log role is */
	int own_pipe;     /* what our stderr is now: its read end */
	char *target;
} logger = { .control = -1, .error_output = -1, .own_pipe = -1 };

/* One that does not take what it is told is started again, and then gets all pipes. */
static void
tell(const struct process_message *message, int fd)
{
	if (logger.control >= 0 && process_send(logger.control, message, fd) == E_AGAIN &&
	    logger.pid != 0)
		kill(logger.pid, SIGKILL);
}

static void
set_name(struct process_message *message, const char *name)
{
	size_t len = strnlen(name, sizeof message->name - 1);

	memcpy(message->name, name, len);
}

int
logger_target(const char *target, struct buf *problem)
{
	struct process_message message = { .what = PROCESS_LOG };
	char *copy;
	int fd = -1;

	if (target[0] == '/') {
		fd = open(target, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOCTTY, 0640);
		if (fd < 0) {
			buf_printf(problem, "cannot write the log %s: %s\n", target,
			    strerror(errno));
			return E_SYSTEM;
		}
	} else {
		set_name(&message, target);
	}
	tell(&message, fd);
	if (fd >= 0)
		close(fd);
	copy = mem_string(target);
	free(logger.target);
	logger.target = copy;
	return OK;
}

int
logger_pipe(int *read_end, int *write_end)
{
	int fds[2];

	if (pipe2(fds, O_CLOEXEC) != 0)
		return E_SYSTEM;
	/* A log that does not keep up loses lines; it must not stop the daemons. */
	fcntl(fds[1], F_SETFL, O_NONBLOCK);
	fcntl(fds[1], F_SETPIPE_SZ, PIPE_SIZE);
	*read_end = fds[0];
	*write_end = fds[1];
	return OK;
}

void
logger_add(const char *name, pid_t pid, int read_end)
{
	struct process_message message = { .what = PROCESS_LISTEN, .pid = pid };

	set_name(&message, name);
	tell(&message, read_end);
}

/* Starts the process; its control socket holds what is told to it until it reads. */
static int
role_start(void)
{
	int fds[2], error;

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fds) != 0)
		return E_SYSTEM;
	fcntl(fds[1], F_SETFL, 0);
	error = spawn_self("aldis-log", "-L", supervisor.places[ROLE_LOG].user, fds[1],
	    logger.error_output, &logger.pid);
	close(fds[1]);
	if (error) {
		close(fds[0]);
		return error;
	}
	logger.control = fds[0];
	return OK;
}

int
logger_start(const char *target, struct buf *problem)
{
	int write_end, error;

	logger.error_output = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, PROCESS_CONTROL_FD + 1);
	error = logger.error_output < 0 ? E_SYSTEM : role_start();
	if (error == OK)
		error = logger_target(target, problem);
	if (error == OK)
		error = logger_pipe(&logger.own_pipe, &write_end);
	if (error) {
		if (buf_len(problem) == 0)
			buf_printf(problem, "cannot start the log: %s\n", strerror(errno));
		return error;
	}
	logger_add("aldisd", getpid(), logger.own_pipe);
	dup2(write_end, STDERR_FILENO);
	close(write_end);
	return OK;
}

bool
logger_reap(pid_t pid, void (*pipes)(void))
{
	struct buf problem = { 0 };
	char *target;

	if (pid != logger.pid)
		return false;
	close(logger.control);
	logger.control = -1;
	logger.pid = 0;
	if (role_start() == OK) {
		target = mem_string(logger.target);
		logger_target(target, &problem);
		free(target);
		logger_add("aldisd", getpid(), logger.own_pipe);
		pipes();
	}
	log_error("log role restarted", "pid=%ld", (long)logger.pid);
	buf_free(&problem);
	return true;
}

void
logger_stop(void)
{
	if (logger.pid == 0)
		return;
	/* With the ends of all pipes and of its control socket closed it writes what it has and ends. */
	dup2(logger.error_output, STDERR_FILENO);
	close(logger.own_pipe);
	close(logger.control);
	waitpid(logger.pid, NULL, 0);
	logger.pid = 0;
}
