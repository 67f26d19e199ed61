/*
 * role.c: the names of the roles. Called by the supervisor, the router and the logs; cannot fail.
 */
#include "role.h"

static const char *const texts[ROLE_COUNT] = {
	[ROLE_NONE] = "aldisd",
#define ROLE(name, text) [ROLE_##name] = text,
#include "role.def"
#undef ROLE
};

const char *
role_text(enum role role)
{
	if (role >= ROLE_COUNT)
		return "unknown";
	return texts[role];
}

enum role
role_of(struct slice text)
{
	unsigned role;

	for (role = ROLE_NONE + 1; role < ROLE_COUNT; role++) {
		if (slice_is(text, texts[role]))
			return (enum role)role;
	}
	return ROLE_NONE;
}
