/*
 * sandbox_paths.c: Landlock: which files a process can reach, and on newer kernels that it makes no
 * TCP connection, binds no port and signals nobody outside. Called by sandbox.c.
 *
 * The kernel says which version of Landlock it has; rights that it does not know are left out. One
 * without Landlock is a warning: the other steps stand. ALDIS_LANDLOCK in the environment makes
 * it an older version, for tests.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/landlock.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "error.h"
#include "log.h"
#include "sandbox_private.h"

/* Of versions that our headers may not know. */
#define FS_REFER       (1ull << 13) /* version 2 */
#define FS_TRUNCATE    (1ull << 14) /* version 3 */
#define FS_IOCTL_DEV   (1ull << 15) /* version 5 */
#define NET_BIND_TCP    (1ull << 0) /* version 4 */
#define NET_CONNECT_TCP (1ull << 1)
#define SCOPE_ABSTRACT_UNIX_SOCKET (1ull << 0) /* version 6 */
#define SCOPE_SIGNAL               (1ull << 1)

struct ruleset {
	uint64_t files;
	uint64_t net;
	uint64_t scoped;
};

/* What each version brought. */
static const struct ruleset versions[] = {
	{ 0, 0, 0 },
	{ (1ull << 13) - 1, 0, 0 },
	{ FS_REFER, 0, 0 },
	{ FS_TRUNCATE, 0, 0 },
	{ 0, NET_BIND_TCP | NET_CONNECT_TCP, 0 },
	{ FS_IOCTL_DEV, 0, 0 },
	{ 0, 0, SCOPE_ABSTRACT_UNIX_SOCKET | SCOPE_SIGNAL },
};

#define VERSION_LAST ((long)(sizeof versions / sizeof versions[0]) - 1)

/* What one may do with its own files. */
#define OWN_FILES                                                                            \
	(LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_WRITE_FILE | FS_TRUNCATE)
#define OWN_DIRECTORY                                                                        \
	(OWN_FILES | LANDLOCK_ACCESS_FS_READ_DIR | LANDLOCK_ACCESS_FS_MAKE_REG |             \
	 LANDLOCK_ACCESS_FS_REMOVE_FILE | LANDLOCK_ACCESS_FS_MAKE_DIR |                      \
	 LANDLOCK_ACCESS_FS_REMOVE_DIR)

/* The version to use, 0 for none. */
static long
version_get(void)
{
	long version = syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_CREATE_RULESET_VERSION);
	uint64_t cap;

	if (version < 0)
		return 0;
	if (version > VERSION_LAST)
		version = VERSION_LAST;
	if (slice_number(slice_string(getenv("ALDIS_LANDLOCK")), (uint64_t)version, &cap) == OK)
		version = (long)cap;
	return version;
}

static int
add_path(int ruleset, const char *path, uint64_t handled)
{
	struct landlock_path_beneath_attr rule = { 0 };
	struct stat status;
	int error = OK;

	rule.parent_fd = open(path, O_PATH | O_CLOEXEC);
	if (rule.parent_fd < 0 || fstat(rule.parent_fd, &status) != 0)
		return sandbox_failed("landlock path");
	rule.allowed_access = handled & (S_ISDIR(status.st_mode) ? OWN_DIRECTORY : OWN_FILES);
	if (syscall(SYS_landlock_add_rule, ruleset, LANDLOCK_RULE_PATH_BENEATH, &rule, 0) != 0)
		error = sandbox_failed("landlock rule");
	close(rule.parent_fd);
	return error;
}

int
sandbox_paths_open(struct sandbox_paths *paths, const char *state_dir, bool may_connect,
    char *const *kept, size_t kept_count)
{
	struct ruleset handled = { 0 };
	long version = version_get(), i;
	size_t at;
	int error = OK;

	paths->ruleset = -1;
	if (version == 0) {
		log_warn("no landlock", "reason=\"this kernel has none\"");
		return OK;
	}
	for (i = 1; i <= version; i++) {
		handled.files |= versions[i].files;
		handled.net |= versions[i].net;
		handled.scoped |= versions[i].scoped;
	}
	if (may_connect)
		handled.net &= ~NET_CONNECT_TCP;
	paths->ruleset = (int)syscall(SYS_landlock_create_ruleset, &handled, sizeof handled, 0);
	if (paths->ruleset < 0)
		return sandbox_failed("landlock ruleset");
	if (state_dir != NULL)
		error = add_path(paths->ruleset, state_dir, handled.files);
	for (at = 0; error == OK && at < kept_count; at++)
		error = add_path(paths->ruleset, kept[at], handled.files);
	return error;
}

int
sandbox_paths_enter(struct sandbox_paths *paths)
{
	if (paths->ruleset < 0)
		return OK;
	if (syscall(SYS_landlock_restrict_self, paths->ruleset, 0) != 0)
		return sandbox_failed("landlock");
	close(paths->ruleset);
	paths->ruleset = -1;
	return OK;
}
