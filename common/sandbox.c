/*
 * sandbox.c: what a process gives up before it reads the first byte from outside. Called by
 * daemon.c, and by the log role, when everything is open. Any failure is fatal there.
 *
 * The order is that of the steps below; what later steps need must still be allowed in earlier
 * ones. A step that a run without root cannot do is marked so, and is left out then.
 */
#include "sandbox_private.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "error.h"
#include "log.h"
#include "mem.h"

#define GIB      (1ull << 30)
#define KEPT_MAX 16

/* What a role keeps. */
static const struct keeps {
	rlim_t file_size; /* largest file that it may write; 0: it writes none */
	unsigned calls;
} keeps[ROLE_COUNT] = {
#define SANDBOX(role, gibibytes, groups) [ROLE_##role] = { (gibibytes) * GIB, groups },
#include "sandbox_role.def"
#undef SANDBOX
};

/* What there is to do. */
static struct {
	const struct keeps *keeps;
	const char *state_dir;
	char *kept[KEPT_MAX];
	size_t kept_count;
	struct sandbox_paths paths;
	uid_t uid;
	gid_t gid;
	bool other_user;
	bool chrooted;
} wanted;

int
sandbox_failed(const char *what)
{
	log_error("sandbox failed", "step=%s reason=\"%s\"", what, strerror(errno));
	return E_SYSTEM;
}

int
sandbox_keep(const char *path)
{
	if (access(path, F_OK) != 0)
		return E_NOT_FOUND;
	if (wanted.kept_count == KEPT_MAX)
		return E_TOO_MANY;
	wanted.kept[wanted.kept_count++] = mem_string(path);
	return OK;
}

/* -- steps ------------------------------------------------------------------------------------- */

/* Threads that exist already would keep what we give up. */
static int
check_threads(void)
{
	struct stat status;

	/* A directory has a link for itself, one for its name, and one for each directory in it. */
	if (stat("/proc/self/task", &status) == 0 && status.st_nlink > 3) {
		errno = EBUSY;
		return sandbox_failed("more than one thread");
	}
	return OK;
}

static int
limit(int resource, rlim_t value, const char *what)
{
	struct rlimit limits;

	if (getrlimit((__rlimit_resource_t)resource, &limits) != 0)
		return sandbox_failed(what);
	if (value > limits.rlim_max)
		value = limits.rlim_max;
	limits.rlim_cur = limits.rlim_max = value;
	return setrlimit((__rlimit_resource_t)resource, &limits) != 0 ? sandbox_failed(what) : OK;
}

/* Limits: no core files, no larger files than the role needs, as many descriptors as allowed. */
static int
set_limits(void)
{
	int error = limit(RLIMIT_CORE, 0, "RLIMIT_CORE");

	if (error == OK)
		error = limit(RLIMIT_FSIZE, wanted.keeps->file_size, "RLIMIT_FSIZE");
	if (error == OK)
		error = limit(RLIMIT_NOFILE, RLIM_INFINITY, "RLIMIT_NOFILE");
	return error;
}

static int
open_paths(void)
{
	return sandbox_paths_open(&wanted.paths, wanted.state_dir,
	    (wanted.keeps->calls & CALLS(CONNECT)) != 0, wanted.kept, wanted.kept_count);
}

/* What was made in the directory as root is to belong to who goes on with it. */
static int
give_files(void)
{
	struct dirent *entry;
	DIR *directory;

	if (wanted.state_dir == NULL || !wanted.other_user)
		return OK;
	directory = opendir(wanted.state_dir);
	if (directory == NULL)
		return sandbox_failed("state directory");
	while ((entry = readdir(directory)) != NULL) {
		if (entry->d_type == DT_REG && fchownat(dirfd(directory), entry->d_name, wanted.uid,
		    wanted.gid, AT_SYMLINK_NOFOLLOW) != 0)
			break;
	}
	closedir(directory);
	return entry != NULL ? sandbox_failed("owner of files") : OK;
}

static int
change_root(void)
{
	if (wanted.state_dir == NULL || wanted.kept_count != 0)
		return OK;
	if (chroot(wanted.state_dir) != 0 || chdir("/") != 0)
		return sandbox_failed("chroot");
	wanted.chrooted = true;
	return OK;
}

static int
become_user(void)
{
	if (!wanted.other_user)
		return OK;
	if (setgroups(0, NULL) != 0 || setresgid(wanted.gid, wanted.gid, wanted.gid) != 0 ||
	    setresuid(wanted.uid, wanted.uid, wanted.uid) != 0)
		return sandbox_failed("setuid");
	if (wanted.uid != 0 && setuid(0) == 0) {
		errno = EPERM;
		return sandbox_failed("setuid is not final");
	}
	return OK;
}

/* Who stays root stays the owner of files, and no more than that. */
static int
drop_capabilities(void)
{
	struct __user_cap_header_struct head = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct none[_LINUX_CAPABILITY_U32S_3] = { { 0 } };

	return syscall(SYS_capset, &head, none) != 0 ? sandbox_failed("capabilities") : OK;
}

/* No privileges through execve(2), no reading of our memory; a change of user clears both the
 * last and the signal that comes when the supervisor dies. */
static int
set_process(void)
{
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0)
		return sandbox_failed("no_new_privs");
#ifndef ALDIS_TEST
	if (prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) != 0)
		return sandbox_failed("dumpable");
#endif
	/* The log role stays for the last words of the others. */
	if (wanted.keeps != &keeps[ROLE_LOG] && prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0) != 0)
		return sandbox_failed("pdeathsig");
	return OK;
}

static int
enter_paths(void)
{
	return sandbox_paths_enter(&wanted.paths);
}

static const struct step {
	bool needs_root;
	int (*take)(void);
} steps[] = {
	{ false, check_threads },
	{ false, set_limits },
	{ false, open_paths },
	{ true, give_files },
	{ true, change_root },
	{ true, become_user },
	{ true, drop_capabilities },
	{ false, set_process },
	{ false, enter_paths },
};

/* -- all of it --------------------------------------------------------------------------------- */

/* Reads "UID:GID". */
static int
read_user(const char *user)
{
	const char *colon = strchr(user, ':');
	uint64_t uid, gid;

	if (user[0] == '\0')
		return OK;
	if (colon == NULL ||
	    slice_number(slice_of(user, (size_t)(colon - user)), UINT32_MAX - 1, &uid) ||
	    slice_number(slice_string(colon + 1), UINT32_MAX - 1, &gid))
		return E_MALFORMED;
	wanted.uid = (uid_t)uid;
	wanted.gid = (gid_t)gid;
	wanted.other_user = true;
	return OK;
}

int
sandbox_enter(enum role role, const char *user, const char *state_dir, bool *chrooted)
{
	bool root = geteuid() == 0;
	size_t i;
	int error;

	if (role <= ROLE_NONE || role >= ROLE_COUNT)
		return E_MALFORMED;
	wanted.keeps = &keeps[role];
	wanted.state_dir = state_dir;
	error = read_user(user);
	for (i = 0; error == OK && i < sizeof steps / sizeof steps[0]; i++) {
		if (root || !steps[i].needs_root)
			error = steps[i].take();
	}
	*chrooted = wanted.chrooted;
	return error;
}

int
sandbox_seal(enum role role)
{
	unsigned calls = CALLS(LOOP) | keeps[role].calls;

	if (wanted.kept_count != 0)
		calls |= CALLS(FILES);
	return sandbox_calls_enter(calls);
}
