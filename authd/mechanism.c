/*
 * mechanism.c: the SASL mechanisms that there are, and which of them are offered. Called by sasl.c,
 * state.c and login.c. Cannot fail.
 */
#include "authd.h"

static const struct mechanism mechanisms[] = {
	{ "SCRAM-SHA-512-PLUS", SCRAM_SHA512, true, false, FAST_NO },
	{ "SCRAM-SHA-256-PLUS", SCRAM_SHA256, true, false, FAST_NO },
	{ "SCRAM-SHA-1-PLUS", SCRAM_SHA1, true, false, FAST_NO },
	{ "SCRAM-SHA-512", SCRAM_SHA512, false, false, FAST_NO },
	{ "SCRAM-SHA-256", SCRAM_SHA256, false, false, FAST_NO },
	{ "SCRAM-SHA-1", SCRAM_SHA1, false, false, FAST_NO },
	{ "PLAIN", SCRAM_SHA256, false, true, FAST_NO },
	{ "HT-SHA-256-NONE", SCRAM_SHA256, false, false, FAST_NONE },
	{ "HT-SHA-256-EXPR", SCRAM_SHA256, false, false, FAST_EXPORTER },
	{ "HT-SHA-256-UNIQ", SCRAM_SHA256, false, false, FAST_UNIQUE },
	{ "HT-SHA-256-ENDP", SCRAM_SHA256, false, false, FAST_ENDPOINT },
};

const struct mechanism *
mechanism_find(struct slice name)
{
	size_t i;

	for (i = 0; i < sizeof mechanisms / sizeof mechanisms[0]; i++) {
		if (slice_is(name, mechanisms[i].name))
			return &mechanisms[i];
	}
	return NULL;
}

bool
mechanism_known(struct slice name, bool fast)
{
	const struct mechanism *mechanism = mechanism_find(name);

	return mechanism != NULL && (mechanism->fast != FAST_NO) == fast;
}

const char *
mechanism_fast_name(unsigned fast)
{
	size_t i;

	for (i = 0; i < sizeof mechanisms / sizeof mechanisms[0]; i++) {
		if (fast != FAST_NO && mechanisms[i].fast == fast)
			return mechanisms[i].name;
	}
	return "";
}

bool
mechanism_offered(const struct mechanism *mechanism)
{
	const char *name = mechanism->name;
	const char *list = mechanism->fast == FAST_NO ? state.mechanisms :
	    state.tokens != 0 ? state.fast_mechanisms : "";
	const char *at = list;
	size_t len = strlen(name);

	while ((at = strstr(at, name)) != NULL) {
		if ((at == list || at[-1] == ' ') && (at[len] == ' ' || at[len] == '\0'))
			return true;
		at += len;
	}
	return false;
}

void
mechanism_list(struct buf *out)
{
	size_t i;

	for (i = 0; i < state.domain_count; i++)
		buf_printf(out, "%s %s %s%s\n", state.domains[i].name, state.mechanisms,
		    state.tokens != 0 ? state.fast_mechanisms : "",
		    state.domains[i].registration != REGISTRATION_NO ? " register" : "");
}

bool
mechanism_plus_offered(void)
{
	size_t i;

	for (i = 0; i < sizeof mechanisms / sizeof mechanisms[0]; i++) {
		if (mechanisms[i].plus && mechanism_offered(&mechanisms[i]))
			return true;
	}
	return false;
}

bool
mechanism_hash_used(enum scram_hash hash)
{
	bool any = false;
	size_t i;

	for (i = 0; i < sizeof mechanisms / sizeof mechanisms[0]; i++) {
		if (mechanisms[i].fast != FAST_NO || !mechanism_offered(&mechanisms[i]))
			continue;
		if (mechanisms[i].hash == hash)
			return true;
		any = true;
	}
	return !any && hash == SCRAM_SHA256;
}
