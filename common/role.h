/*
 * role.h: who is who in the suite, and the numbers that name a running process.
 */
#ifndef ALDIS_ROLE_H
#define ALDIS_ROLE_H

#include <stdint.h>

#include "slice.h"

enum role {
	ROLE_NONE = 0, /* aldisd itself, aldisctl */
#define ROLE(name, text) ROLE_##name,
#include "role.def"
#undef ROLE
	ROLE_COUNT
};

#define ROLE_BIT(role) (1u << (role))

const char *role_text(enum role role);
enum role role_of(struct slice text); /* ROLE_NONE when unknown */

/*
 * A handle names one client stream (or server stream) for as long as the suite remembers it: the
 * incarnation of the process that holds it in the upper half, that process's own counter in the
 * lower. An incarnation is given by aldisd to each process at each start and never used again.
 * 0 is no handle.
 */
#define HANDLE(incarnation, counter) ((uint64_t)(incarnation) << 32 | (uint32_t)(counter))
#define HANDLE_INCARNATION(handle)   ((uint32_t)((handle) >> 32))

#endif
