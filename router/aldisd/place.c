/*
 * place.c: what must be there in the file system and in the user database before the daemons start.
 * Called by supervise.c once. Fails when it may not make a directory, a user is missing, or
 * another aldisd runs with the same pid file.
 */
#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "aldisd.h"
#include "error.h"
#include "mem.h"

/* Who keeps something on disk; the others see an empty directory. */
static const bool keeps_state[ROLE_COUNT] = {
	[ROLE_AUTHD] = true,
	[ROLE_ARCHIVED] = true,
	[ROLE_MUCD] = true,
	[ROLE_FORMSD] = true,
};

static int
failed(struct buf *problem, const char *what, const char *path)
{
	buf_printf(problem, "%s %s: %s\n", what, path, strerror(errno));
	return E_SYSTEM;
}

/* Makes a directory, and those above it. */
static int
make_directory(const char *path, mode_t mode, struct buf *problem)
{
	char *copy;
	int error;

	if (mkdir(path, mode) == 0 || errno == EEXIST)
		return OK;
	if (errno != ENOENT)
		return failed(problem, "cannot make the directory", path);
	copy = mem_string(path);
	error = make_directory(dirname(copy), 0755, problem);
	free(copy);
	if (error == OK && mkdir(path, mode) != 0 && errno != EEXIST)
		error = failed(problem, "cannot make the directory", path);
	return error;
}

/* Makes the directory in which a file is to be. */
static int
make_parent(const char *path, struct buf *problem)
{
	char *copy = mem_string(path);
	int error = make_directory(dirname(copy), 0755, problem);

	free(copy);
	return error;
}

/* Finds the account of a role; "" in user when it is to stay ours. */
static int
find_user(const char *prefix, enum role role, struct place *place, uid_t *uid, gid_t *gid,
    struct buf *problem)
{
	const struct passwd *entry;
	char name[128];

	*uid = geteuid();
	*gid = getegid();
	if (*uid != 0 || prefix[0] == '\0')
		return OK;
	snprintf(name, sizeof name, "%s%s", prefix, role_text(role));
	entry = getpwnam(name);
	if (entry == NULL) {
		buf_printf(problem, "there is no user %s: make it, or set user-prefix = \"\" to run "
		    "everything as root\n", name);
		return E_SYSTEM;
	}
	*uid = entry->pw_uid;
	*gid = entry->pw_gid;
	snprintf(place->user, sizeof place->user, "%u:%u", (unsigned)*uid, (unsigned)*gid);
	return OK;
}

static int
make_place(const char *state, const char *prefix, enum role role, struct place *place,
    struct buf *problem)
{
	struct buf path = { 0 };
	uid_t uid;
	gid_t gid;
	int error;

	buf_printf(&path, "%s/%s", state, keeps_state[role] ? role_text(role) : "empty");
	buf_add_char(&path, '\0');
	place->directory = path.bytes;
	error = find_user(prefix, role, place, &uid, &gid, problem);
	if (error == OK)
		error = make_directory(place->directory, keeps_state[role] ? 0700 : 0555, problem);
	if (error == OK && keeps_state[role] && geteuid() == 0 &&
	    chown(place->directory, uid, gid) != 0)
		error = failed(problem, "cannot give away the directory", place->directory);
	return error;
}

int
place_prepare(const struct settings *settings, struct place places[ROLE_COUNT],
    struct buf *problem)
{
	char *state = settings_string(settings, "state-directory");
	char *prefix = settings_string(settings, "user-prefix");
	unsigned role;
	int error;

	error = make_directory(state, 0755, problem);
	for (role = ROLE_NONE + 1; error == OK && role < ROLE_COUNT; role++) {
		if (role == ROLE_LOG || spawn_exists(supervisor.directory, (enum role)role))
			error = make_place(state, prefix, (enum role)role, &places[role], problem);
	}
	free(state);
	free(prefix);
	return error;
}

int
place_pid_file(const char *path, struct buf *problem)
{
	char pid[24];
	int fd, len, error;

	error = make_parent(path, problem);
	if (error)
		return error;
	/* Stays open for as long as we run, for the lock. */
	fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0644);
	if (fd < 0)
		return failed(problem, "cannot write the pid file", path);
	if (flock(fd, LOCK_EX | LOCK_NB) != 0) {
		if (errno == EWOULDBLOCK)
			buf_printf(problem, "aldisd is running already: %s is locked\n", path);
		else
			failed(problem, "cannot lock the pid file", path);
		close(fd);
		return E_EXISTS;
	}
	len = snprintf(pid, sizeof pid, "%ld\n", (long)getpid());
	if (ftruncate(fd, 0) != 0 || write(fd, pid, (size_t)len) != len) {
		error = failed(problem, "cannot write the pid file", path);
		close(fd);
	}
	return error;
}

int
place_control_socket(const char *path, int *fd, struct buf *problem)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	mode_t mask;
	int error, bound;

	error = make_parent(path, problem);
	if (error)
		return error;
	if (strlen(path) >= sizeof address.sun_path)
		return E_TOO_BIG;
	memcpy(address.sun_path, path, strlen(path));
	*fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (*fd < 0)
		return failed(problem, "cannot make the control socket", path);
	unlink(path);
	mask = umask(0117);
	bound = bind(*fd, (struct sockaddr *)&address, sizeof address);
	umask(mask);
	if (bound == 0 && listen(*fd, 64) == 0)
		return OK;
	error = failed(problem, "cannot make the control socket", path);
	close(*fd);
	*fd = -1;
	return error;
}
