/*
 * sandbox.c: what a daemon gives up before it reads the first byte from outside. Called by daemon.c
 * when everything is open. Any failure is fatal there.
 *
 * The order is that of the steps below; what later steps need must still be allowed in earlier
 * ones. A step that a run without root cannot do is marked so, and is left out then.
 */
#include "sandbox.h"

#include <errno.h>
#include <grp.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

#include "error.h"
#include "log.h"

#define GIB (1ull << 30)

/* What a role keeps. */
static const struct keeps {
	rlim_t file_size; /* largest file that it may write; 0: it writes none */
} keeps[ROLE_COUNT] = {
	[ROLE_ROUTER] = { 0 },
	[ROLE_AUTHD] = { 64 * GIB },
	[ROLE_ARCHIVED] = { 16384 * GIB },
	[ROLE_C2SD] = { 0 },
	[ROLE_S2SD] = { 0 },
	[ROLE_MUCD] = { 1024 * GIB },
	[ROLE_FORMSD] = { 1024 * GIB },
	[ROLE_SNMPD] = { 0 },
};

struct wanted {
	const struct keeps *keeps;
	const char *state_dir;
	uid_t uid;
	gid_t gid;
	bool other_user;
};

static int
failed(const char *what)
{
	log_error("sandbox failed", "step=%s reason=\"%s\"", what, strerror(errno));
	return E_SYSTEM;
}

static int
limit(int resource, rlim_t value, const char *what)
{
	struct rlimit limits;

	if (getrlimit((__rlimit_resource_t)resource, &limits) != 0)
		return failed(what);
	if (value > limits.rlim_max)
		value = limits.rlim_max;
	limits.rlim_cur = limits.rlim_max = value;
	return setrlimit((__rlimit_resource_t)resource, &limits) != 0 ? failed(what) : OK;
}

/* Limits: no core files, no larger files than the role needs, as many descriptors as allowed. */
static int
set_limits(const struct wanted *wanted)
{
	int error = limit(RLIMIT_CORE, 0, "RLIMIT_CORE");

	if (error == OK)
		error = limit(RLIMIT_FSIZE, wanted->keeps->file_size, "RLIMIT_FSIZE");
	if (error == OK)
		error = limit(RLIMIT_NOFILE, RLIM_INFINITY, "RLIMIT_NOFILE");
	return error;
}

static int
change_root(const struct wanted *wanted)
{
	if (wanted->state_dir == NULL)
		return OK;
	if (chroot(wanted->state_dir) != 0 || chdir("/") != 0)
		return failed("chroot");
	return OK;
}

static int
become_user(const struct wanted *wanted)
{
	if (!wanted->other_user)
		return OK;
	if (setgroups(0, NULL) != 0 || setresgid(wanted->gid, wanted->gid, wanted->gid) != 0 ||
	    setresuid(wanted->uid, wanted->uid, wanted->uid) != 0)
		return failed("setuid");
	if (wanted->uid != 0 && setuid(0) == 0) {
		errno = EPERM;
		return failed("setuid is not final");
	}
	return OK;
}

/* No privileges through execve(2), no reading of our memory; a change of user clears both the
 * last and the signal that comes when the supervisor dies. */
static int
set_process(const struct wanted *wanted)
{
	(void)wanted;
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0)
		return failed("no_new_privs");
#ifndef ALDIS_TEST
	if (prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) != 0)
		return failed("dumpable");
#endif
	if (prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0) != 0)
		return failed("pdeathsig");
	return OK;
}

static const struct step {
	bool needs_root;
	int (*take)(const struct wanted *wanted);
} steps[] = {
	{ false, set_limits },
	{ true, change_root },
	{ true, become_user },
	{ false, set_process },
};

/* Reads "UID:GID". */
static int
read_user(const char *user, struct wanted *wanted)
{
	const char *colon = strchr(user, ':');
	uint64_t uid, gid;

	if (user[0] == '\0')
		return OK;
	if (colon == NULL ||
	    slice_number(slice_of(user, (size_t)(colon - user)), UINT32_MAX - 1, &uid) ||
	    slice_number(slice_string(colon + 1), UINT32_MAX - 1, &gid))
		return E_MALFORMED;
	wanted->uid = (uid_t)uid;
	wanted->gid = (gid_t)gid;
	wanted->other_user = true;
	return OK;
}

int
sandbox_enter(enum role role, const char *user, const char *state_dir)
{
	struct wanted wanted = { .state_dir = state_dir };
	bool root = geteuid() == 0;
	size_t i;
	int error;

	if (role <= ROLE_NONE || role >= ROLE_COUNT)
		return E_MALFORMED;
	wanted.keeps = &keeps[role];
	error = read_user(user, &wanted);
	for (i = 0; error == OK && i < sizeof steps / sizeof steps[0]; i++) {
		if (root || !steps[i].needs_root)
			error = steps[i].take(&wanted);
	}
	return error;
}
