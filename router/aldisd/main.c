/*
 * main.c of aldisd: the supervisor's main: the command line, and going into the background. All
 * else is in supervise.c. Exits with 1 when the configuration is wrong or the suite does not start.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "aldisd.h"
#include "error.h"
#include "log.h"
#include "mem.h"

#ifndef ALDIS_VERSION
#define ALDIS_VERSION "unknown"
#endif
#ifndef ALDIS_SYSCONFDIR
#define ALDIS_SYSCONFDIR "/etc"
#endif

struct options {
	const char *config;
	bool foreground;
	bool check;
	bool version;
	const char *log; /* we are the log role, of this user */
	bool wrong;
};

static void
set_config(struct options *options)
{
	options->config = optarg;
}

static void
set_foreground(struct options *options)
{
	options->foreground = true;
}

static void
set_check(struct options *options)
{
	options->check = true;
}

static void
set_version(struct options *options)
{
	options->version = true;
}

static void
set_log(struct options *options)
{
	options->log = optarg;
}

static const struct letter {
	int letter;
	void (*set)(struct options *options);
} letters[] = {
	{ 'c', set_config }, { 'f', set_foreground }, { 'n', set_check }, { 'v', set_version },
	{ 'L', set_log },
};

static struct options
options_read(int argc, char **argv)
{
	struct options options = { .config = ALDIS_SYSCONFDIR "/aldis/aldis.conf" };
	int letter;
	size_t i;

	while ((letter = getopt(argc, argv, "c:fnvL:")) != -1) {
		for (i = 0; i < sizeof letters / sizeof letters[0]; i++) {
			if (letters[i].letter == letter)
				break;
		}
		if (i == sizeof letters / sizeof letters[0])
			options.wrong = true;
		else
			letters[i].set(&options);
	}
	if (optind != argc)
		options.wrong = true;
	return options;
}

/* Closes what was left open to us, and sees that our own descriptors are above those that
 * children get. */
static void
set_descriptors(void)
{
	int fd;

	close_range(PROCESS_CONTROL_FD, ~0u, 0);
	do
		fd = open("/dev/null", O_RDWR | O_CLOEXEC);
	while (fd >= 0 && fd < PROCESS_CONTROL_FD);
}

/* We hold the keys of all domains for a while: no core file, no debugger of the same user. */
static void
protect(void)
{
	const struct rlimit none = { 0, 0 };

	setrlimit(RLIMIT_CORE, &none);
#ifndef ALDIS_TEST
	prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
#endif
}

/* Waits for the process in the background: what it writes is why it failed, an empty line that all
 * daemons are ready. */
static _Noreturn void
wait_for_start(int status)
{
	char text[1024];
	size_t len = 0;
	ssize_t got;

	while (len < sizeof text) {
		got = read(status, text + len, sizeof text - len);
		if (got < 0 && errno == EINTR)
			continue;
		if (got <= 0)
			break;
		len += (size_t)got;
	}
	if (len == 1 && text[0] == '\n')
		exit(0);
	if (len == 0)
		fprintf(stderr, "aldisd: ended before it was ready\n");
	else
		fprintf(stderr, "aldisd: %.*s", (int)len, text);
	exit(1);
}

/* Goes on in a process of its own session, while this one waits for it to be ready. */
static int
go_background(void)
{
	char *log = settings_string(supervisor.settings, "log");
	bool keep = strcmp(log, "stderr") == 0;
	int fds[2], null;
	pid_t pid;

	free(log);
	if (pipe2(fds, O_CLOEXEC) != 0)
		return E_SYSTEM;
	pid = fork();
	if (pid < 0)
		return E_SYSTEM;
	if (pid > 0) {
		close(fds[1]);
		wait_for_start(fds[0]);
	}
	close(fds[0]);
	supervisor.status_pipe = fds[1];
	setsid();
	null = open("/dev/null", O_RDWR | O_CLOEXEC);
	if (null < 0 || chdir("/") != 0 || dup2(null, STDIN_FILENO) < 0 ||
	    dup2(null, STDOUT_FILENO) < 0 || (!keep && dup2(null, STDERR_FILENO) < 0))
		return E_SYSTEM;
	close(null);
	return OK;
}

/* Reads the configuration and prints what is wrong with it. */
static int
read_settings(const char *path)
{
	struct buf messages = { 0 };
	int error;

	error = settings_read(path, &messages, &supervisor.settings);
	fprintf(stderr, "%.*s", SLICE_ARG(buf_slice(&messages)));
	buf_free(&messages);
	return error;
}

int
main(int argc, char **argv)
{
	struct options options = options_read(argc, argv);
	char path[PATH_MAX];

	if (options.wrong) {
		fprintf(stderr, "usage: aldisd [-fnv] [-c file]\n");
		return 1;
	}
	if (options.log != NULL)
		return logd_main(options.log);
	if (options.version) {
		puts("aldisd " ALDIS_VERSION);
		return 0;
	}
	set_descriptors();
	protect();
	umask(022);
	setvbuf(stdout, NULL, _IONBF, 0);
	if (read_settings(options.config))
		return 1;
	if (options.check) {
		settings_free(&supervisor.settings);
		return 0;
	}
	supervisor.directory = spawn_directory();
	if (supervisor.directory == NULL) {
		fprintf(stderr, "aldisd: the daemons are missing: there is no aldis-router\n");
		return 1;
	}
	supervisor.config_path = realpath(options.config, path) != NULL ? path : options.config;
	supervisor.foreground = options.foreground;
	if (!options.foreground && go_background()) {
		fprintf(stderr, "aldisd: cannot go into the background: %s\n", strerror(errno));
		return 1;
	}
	supervise();
}
