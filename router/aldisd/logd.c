/*
 * logd.c: the log role, a process of its own: reads the stderr of each daemon from a pipe, and
 * writes its lines with time, name and pid, so that no daemon can speak in another's name. Called
 * by main.c when it was started as that. Ends when the supervisor has gone and all pipes have
 * ended.
 *
 * Lines come from processes that may have been taken over: they are cut, and what does not print is
 * taken out.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <syslog.h>
#include <time.h>
#include <unistd.h>

#include "aldisd.h"
#include "error.h"
#include "mem.h"
#include "sandbox.h"

#define LINE_LONGEST 2048
#define SOURCES_MAX  1024
#define LAST_WORDS   2000 /* milliseconds that pipes may stay open after the supervisor has gone */

struct source {
	int fd;
	char name[64];
	long pid;
	size_t len;
	bool cut; /* the rest of the line is dropped */
	char line[LINE_LONGEST];
};

static struct {
	struct source *all[SOURCES_MAX];
	size_t count;
	int file;       /* where lines go, -1: to syslog */
} logd = { .file = STDERR_FILENO };

/* -- writing ----------------------------------------------------------------------------------- */

/* The priority of a line by its first word; a stray one is a last word. */
static int
priority_of(const char *line)
{
	static const struct {
		const char *word;
		int priority;
	} words[] = {
		{ "error: ", LOG_ERR }, { "warn: ", LOG_WARNING },
		{ "info: ", LOG_INFO }, { "debug: ", LOG_DEBUG },
	};
	size_t i;

	for (i = 0; i < sizeof words / sizeof words[0]; i++) {
		if (strncmp(line, words[i].word, strlen(words[i].word)) == 0)
			return words[i].priority;
	}
	return LOG_ERR;
}

static void
write_line(const char *name, long pid, const char *line)
{
	char text[LINE_LONGEST + 160];
	struct timespec now;
	struct tm utc;
	ssize_t done = 0;
	int len, n;

	if (logd.file < 0) {
		syslog(priority_of(line), "%s[%ld]: %s", name, pid, line);
		return;
	}
	clock_gettime(CLOCK_REALTIME, &now);
	gmtime_r(&now.tv_sec, &utc);
	n = (int)strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%S", &utc);
	len = n + snprintf(text + n, sizeof text - (size_t)n, ".%03ldZ %s[%ld]: %s\n",
	    now.tv_nsec / 1000000, name, pid, line);
	while (done < len) {
		ssize_t written = write(logd.file, text + done, (size_t)(len - done));

		if (written < 0 && errno != EINTR)
			return;
		if (written > 0)
			done += written;
	}
}

/* -- reading ----------------------------------------------------------------------------------- */

static void
end_line(struct source *source)
{
	char line[LINE_LONGEST + 1];

	if (source->len != 0) {
		memcpy(line, source->line, source->len);
		line[source->len] = '\0';
		write_line(source->name, source->pid, line);
	}
	source->len = 0;
	source->cut = false;
}

static void
take_bytes(struct source *source, const char *bytes, size_t len)
{
	size_t i;

	for (i = 0; i < len; i++) {
		unsigned char c = (unsigned char)bytes[i];

		if (c == '\n')
			end_line(source);
		else if (source->len == sizeof source->line)
			source->cut = true;
		else
			source->line[source->len++] = c < ' ' || c == 0x7f ? ' ' : (char)c;
	}
}

/* Reads what is there; false at the end. */
static bool
source_read(struct source *source)
{
	char bytes[16384];
	ssize_t got = read(source->fd, bytes, sizeof bytes);

	if (got > 0)
		take_bytes(source, bytes, (size_t)got);
	return got > 0 || (got < 0 && (errno == EAGAIN || errno == EINTR));
}

static void
source_end(size_t i)
{
	struct source *source = logd.all[i];

	end_line(source);
	close(source->fd);
	free(source);
	logd.all[i] = logd.all[--logd.count];
}

static void
source_add(const struct process_message *message, int fd)
{
	struct source *source;

	if (fd < 0 || logd.count == SOURCES_MAX) {
		if (fd >= 0)
			close(fd);
		return;
	}
	source = mem_alloc(sizeof *source);
	source->fd = fd;
	source->pid = (long)message->pid;
	memcpy(source->name, message->name, sizeof source->name);
	fcntl(fd, F_SETFL, O_NONBLOCK);
	logd.all[logd.count++] = source;
}

/* Goes on to another file, to our own stderr ("stderr") or to syslog ("syslog"). */
static void
set_target(const struct process_message *message, int fd)
{
	if (logd.file > STDERR_FILENO)
		close(logd.file);
	logd.file = fd >= 0 ? fd : strcmp(message->name, "syslog") == 0 ? -1 : STDERR_FILENO;
}

/* Takes what the supervisor says; false when it has gone. */
static bool
control_read(void)
{
	struct process_message message;
	int fd, error;

	error = process_receive(PROCESS_CONTROL_FD, &message, &fd);
	if (error)
		return error == E_AGAIN;
	if (message.what == PROCESS_LISTEN)
		source_add(&message, fd);
	else if (message.what == PROCESS_LOG)
		set_target(&message, fd);
	else if (fd >= 0)
		close(fd);
	return true;
}

/* -- the process ------------------------------------------------------------------------------- */

/* Gives up all but writing lines. Files are opened by the supervisor; /dev/log, and what time it is
 * here, must be open before. Failing is fatal. */
static void
give_up(const char *user)
{
	bool chrooted;

	tzset();
	openlog("aldis", LOG_NDELAY, LOG_DAEMON);
	if (sandbox_enter(ROLE_LOG, user, NULL, &chrooted) != OK || sandbox_seal(ROLE_LOG) != OK)
		exit(EXIT_FAILURE);
}

int
logd_main(const char *user)
{
	static struct pollfd waits[SOURCES_MAX + 1];
	bool supervised = true;
	size_t i;

	prctl(PR_SET_NAME, "aldis-log", 0, 0, 0);
	signal(SIGINT, SIG_IGN);
	signal(SIGTERM, SIG_IGN);
	signal(SIGHUP, SIG_IGN);
	signal(SIGPIPE, SIG_IGN);
	give_up(user);
	while (supervised || logd.count != 0) {
		size_t count = logd.count;
		int ready;

		for (i = 0; i < count; i++)
			waits[i] = (struct pollfd){ .fd = logd.all[i]->fd, .events = POLLIN };
		waits[count] = (struct pollfd){
			.fd = supervised ? PROCESS_CONTROL_FD : -1, .events = POLLIN,
		};
		ready = poll(waits, count + 1, supervised ? -1 : LAST_WORDS);
		if (ready == 0)
			break;
		if (ready > 0 && waits[count].revents != 0)
			supervised = control_read();
		/* From the last one: ending one moves the last into its place. */
		for (i = count; ready > 0 && i-- > 0;) {
			if (waits[i].revents != 0 && !source_read(logd.all[i]))
				source_end(i);
		}
	}
	return 0;
}
