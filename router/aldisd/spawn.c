/*
 * spawn.c: fork(2), descriptors and execve(2). Called by child.c and logger.c. Fails when the
 * system has no more processes, descriptors or memory; a child whose program cannot be executed
 * says so on its stderr and ends.
 *
 * A child has nothing of ours but its control socket as descriptor 3, a pipe as stderr, and the few
 * variables of the environment that are meant for it.
 */
#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "aldisd.h"
#include "error.h"
#include "mem.h"

#ifndef ALDIS_LIBEXECDIR
#define ALDIS_LIBEXECDIR "/usr/libexec/aldis"
#endif

#define LINK_BUFFER (1 << 20)
#define VARIABLES   64

extern char **environ;

/* Variables of the environment that children get, when we have them. */
static const char *const passed_on[] = {
	"ALDIS_", "ASAN_OPTIONS=", "GSSAPI_MECH_CONF=", "KRB5_CONFIG=", "KRB5_KTNAME=",
	"LD_LIBRARY_PATH=", "LSAN_OPTIONS=", "MALLOC_", "SOFTHSM2_CONF=", "UBSAN_OPTIONS=",
	"UV_THREADPOOL_SIZE=",
};

/* -- programs ---------------------------------------------------------------------------------- */

static char *
program_path(const char *directory, enum role role)
{
	struct buf path = { 0 };

	buf_printf(&path, "%s/aldis-%s", directory, role_text(role));
	buf_add_char(&path, '\0');
	return path.bytes;
}

bool
spawn_exists(const char *directory, enum role role)
{
	char *path = program_path(directory, role);
	bool exists = access(path, X_OK) == 0;

	free(path);
	return exists;
}

char *
spawn_directory(void)
{
	static const char *const places[] = { "/../libexec/aldis", "" };
	char self[PATH_MAX], directory[PATH_MAX + 32];
	ssize_t len = readlink("/proc/self/exe", self, sizeof self - 1);
	size_t i;

	if (len > 0) {
		const char *own;

		self[len] = '\0';
		own = dirname(self);
		for (i = 0; i < sizeof places / sizeof places[0]; i++) {
			snprintf(directory, sizeof directory, "%s%s", own, places[i]);
			if (spawn_exists(directory, ROLE_ROUTER))
				return mem_string(directory);
		}
	}
	if (spawn_exists(ALDIS_LIBEXECDIR, ROLE_ROUTER))
		return mem_string(ALDIS_LIBEXECDIR);
	return NULL;
}

/* -- the child's side -------------------------------------------------------------------------- */

static void
pick_environment(char **variables)
{
	static char path[] = "PATH=/usr/bin:/bin";
	size_t count = 0, i;
	char **at;

	variables[count++] = path;
	for (at = environ; *at != NULL && count < VARIABLES - 1; at++) {
		for (i = 0; i < sizeof passed_on / sizeof passed_on[0]; i++) {
			if (strncmp(*at, passed_on[i], strlen(passed_on[i])) == 0) {
				variables[count++] = *at;
				break;
			}
		}
	}
	variables[count] = NULL;
}

/* Signals as a new process has them. */
static void
reset_signals(void)
{
	sigset_t none;
	int number;

	for (number = 1; number < 32; number++)
		signal(number, SIG_DFL);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
}

/* Becomes the program. All descriptors given are above 3. dies: goes when its parent goes. */
static _Noreturn void
become(const char *path, char *const *arguments, int control, int error_output, bool dies)
{
	char *variables[VARIABLES];
	int null = open("/dev/null", O_RDWR);

	reset_signals();
	setsid();
	if (dies && prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0) != 0)
		_exit(127);
	prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
	pick_environment(variables);
	if (null < 0 || dup2(null, 0) < 0 || dup2(null, 1) < 0 || dup2(error_output, 2) < 0 ||
	    dup2(control, PROCESS_CONTROL_FD) < 0 ||
	    close_range(PROCESS_CONTROL_FD + 1, ~0u, 0) != 0)
		_exit(127);
	execve(path, arguments, variables);
	dprintf(2, "error: cannot execute %s: %s\n", path, strerror(errno));
	_exit(127);
}

/* -- our side ---------------------------------------------------------------------------------- */

static int
start(const char *path, char *const *arguments, int control, int error_output, bool dies,
    pid_t *pid)
{
	sigset_t all, before;

	/* A signal to the child before execve(2) would come out of our own signal pipe. */
	sigfillset(&all);
	sigprocmask(SIG_SETMASK, &all, &before);
	*pid = fork();
	if (*pid == 0)
		become(path, arguments, control, error_output, dies);
	sigprocmask(SIG_SETMASK, &before, NULL);
	return *pid < 0 ? E_SYSTEM : OK;
}

int
spawn(const char *directory, enum role role, const char *title, int control,
    int error_output, pid_t *pid)
{
	char *path = program_path(directory, role), *name = mem_string(title);
	char *arguments[] = { name, NULL };
	int error = start(path, arguments, control, error_output, true, pid);

	free(path);
	free(name);
	return error;
}

int
spawn_self(const char *title, const char *letter, const char *value, int control,
    int error_output, pid_t *pid)
{
	char *name = mem_string(title), *word = mem_string(letter), *next = mem_string(value);
	char *arguments[] = { name, word, next, NULL };
	int error = start("/proc/self/exe", arguments, control, error_output, false, pid);

	free(name);
	free(word);
	free(next);
	return error;
}

static bool
write_all(int fd, struct slice bytes)
{
	while (bytes.len != 0) {
		ssize_t n = write(fd, bytes.ptr, bytes.len);

		if (n < 0 && errno != EINTR)
			return false;
		if (n > 0)
			bytes = slice_part(bytes, (size_t)n, bytes.len);
	}
	return true;
}

int
spawn_memfd(struct slice first, struct slice second)
{
	int fd = memfd_create("aldis-config", MFD_CLOEXEC | MFD_ALLOW_SEALING);

	if (fd < 0)
		return -1;
	if (write_all(fd, first) && write_all(fd, second) &&
	    fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE | F_SEAL_SEAL) == 0)
		return fd;
	close(fd);
	return -1;
}

/* As large as asked for, or as large as allowed. */
static void
enlarge(int fd, int option, int forced)
{
	int size = LINK_BUFFER;

	if (setsockopt(fd, SOL_SOCKET, forced, &size, sizeof size) != 0)
		setsockopt(fd, SOL_SOCKET, option, &size, sizeof size);
}

int
spawn_link(int fds[2])
{
	size_t i;

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fds) != 0)
		return E_SYSTEM;
	for (i = 0; i < 2; i++) {
		enlarge(fds[i], SO_SNDBUF, SO_SNDBUFFORCE);
		enlarge(fds[i], SO_RCVBUF, SO_RCVBUFFORCE);
	}
	return OK;
}
