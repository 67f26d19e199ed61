/*
 * sandbox.h: what a process gives up before it reads the first byte from outside (DESIGN section
 * 7). Who may do what is in sandbox_role.def, and in aldis-sandbox(7).
 *
 * The order in a process: open everything, sandbox_enter(), start the threads that it needs,
 * sandbox_seal(). Landlock and no_new_privs belong to a thread and are inherited by those that it
 * makes, so there must be one thread when sandbox_enter() is called; after sandbox_seal() there can
 * be no more.
 */
#ifndef ALDIS_SANDBOX_H
#define ALDIS_SANDBOX_H

#include <stdbool.h>

#include "role.h"

/*
 * Before sandbox_enter(): what is below this directory, or this file, stays reachable, to read and
 * to write, whoever the process becomes. A role that keeps a path is not chrooted, and may open
 * files: Landlock alone restricts it then. For modules that open files of their own (PKCS#11).
 * Returns 0, or E_NOT_FOUND when there is no such path, E_TOO_MANY after 16.
 */
int sandbox_keep(const char *path);

/*
 * Gives up everything but system calls: limits, the root directory, the user, capabilities, new
 * privileges, being read by others, files (Landlock). user: numbers "UID:GID" of the account to
 * become, "" to stay. state_dir: the one directory that the role may have files in, which is "/"
 * afterwards when *chrooted is set; NULL: none. What a run without root cannot do is left out: root
 * directory, user, capabilities.
 * Returns 0, or an error, logged, that is fatal for the caller.
 */
int sandbox_enter(enum role role, const char *user, const char *state_dir, bool *chrooted);

/*
 * Gives up system calls (seccomp), for all threads. Opening a file, making a socket and the like
 * answer EACCES where the role may not; unknown calls ENOSYS; what is never right kills the
 * process. With ALDIS_SECCOMP=log in the environment the first two are also logged: "system call
 * refused", "system call unknown". Returns 0, or an error, logged, that is fatal for the caller.
 */
int sandbox_seal(enum role role);

#endif
