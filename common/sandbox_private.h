/*
 * sandbox_private.h: between sandbox.c, sandbox_calls.c and sandbox_paths.c.
 */
#ifndef ALDIS_SANDBOX_PRIVATE_H
#define ALDIS_SANDBOX_PRIVATE_H

#include "sandbox.h"

/* Groups of system calls, as in sandbox_call.def. */
enum sandbox_group {
	GROUP_LOOP, GROUP_ACCEPT, GROUP_CONNECT, GROUP_SYSLOG, GROUP_STORE, GROUP_FILES,
};
#define CALLS(group) (1u << GROUP_##group)

/* Logs a step that failed, with errno; returns E_SYSTEM. */
int sandbox_failed(const char *what);

/* -- sandbox_paths.c: Landlock ------------------------------------------------------------------ */

struct sandbox_paths {
	int ruleset; /* -1: this kernel has no Landlock */
};

/* Makes the rules while all paths are reachable. may_connect: TCP connections are allowed. */
int sandbox_paths_open(struct sandbox_paths *paths, const char *state_dir, bool may_connect,
    char *const *kept, size_t kept_count);
/* Puts the calling thread, and those that it will make, under them. */
int sandbox_paths_enter(struct sandbox_paths *paths);

/* -- sandbox_calls.c: seccomp ------------------------------------------------------------------- */

/* groups: CALLS() bits. Applies to all threads. */
int sandbox_calls_enter(unsigned groups);

#endif
