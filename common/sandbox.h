/*
 * sandbox.h: what a daemon gives up before it reads the first byte from outside (DESIGN section 7).
 */
#ifndef ALDIS_SANDBOX_H
#define ALDIS_SANDBOX_H

#include "role.h"

/*
 * Gives up what the role does not need: as root chroot to state_dir and the uid, always core and
 * file size limits, no_new_privs, not dumpable (a build with ALDIS_TEST stays dumpable, for the
 * leak checker). user: numbers "UID:GID" of the account to become, "" to stay. state_dir: the one
 * directory that the daemon may touch, which is "/" afterwards when the caller was root; NULL:
 * none. Returns 0, or an error, logged, that is fatal for the caller.
 */
int sandbox_enter(enum role role, const char *user, const char *state_dir);

#endif
