/*
 * settings.c: the configuration as c2sd uses it. Called by daemon_main() at the start; fails when
 * a domain is none.
 */
#include "c2sd.h"

#include <stdlib.h>

#include "error.h"

#define HEADER_BYTES   8192u  /* of one element before authentication, at least */
#define ATTRIBUTES     32u    /* of one element */
#define ELEMENTS       20000u /* of one stanza */
#define LOGIN_DEPTH    8u
#define LOGIN_ELEMENTS 64u

struct settings settings;

static uint64_t
number(const struct config *config, const char *option)
{
	return config_number(config, "c2s", "", option);
}

static bool
flag(const struct config *config, const char *option)
{
	return config_flag(config, "c2s", "", option);
}

static void
set_limits(const struct config *config)
{
	settings.limits = (struct xml_limits){
		.stanza_bytes = number(config, "stanza-size"),
		.depth = (unsigned)number(config, "stanza-depth"),
		.attributes = ATTRIBUTES,
		.elements = ELEMENTS,
	};
	settings.login_limits = (struct xml_limits){
		.stanza_bytes = settings.login_bytes > HEADER_BYTES ?
		    settings.login_bytes : HEADER_BYTES,
		.depth = LOGIN_DEPTH,
		.attributes = ATTRIBUTES,
		.elements = LOGIN_ELEMENTS,
		.secret = true,
	};
}

static void
take_options(const struct config *config)
{
	struct listener_limits limits;

	settings.login_bytes = number(config, "login-bytes");
	settings.login_attempts = (unsigned)number(config, "login-attempts");
	settings.login_time = 1000 * number(config, "login-time");
	settings.stanza_time = 1000 * number(config, "stanza-time");
	settings.idle_time = 1000 * number(config, "idle-time");
	settings.resume_time = 1000 * number(config, "resume-time");
	settings.queue_stanzas = number(config, "queue-stanzas");
	settings.queue_bytes = number(config, "queue-bytes");
	settings.queue_total = number(config, "queue-total");
	settings.client_state = flag(config, "client-state");
	set_limits(config);
	limits = (struct listener_limits){
		.connections = number(config, "connections"),
		.per_address = number(config, "connections-per-address"),
		.idle_time = settings.idle_time,
	};
	listeners_limit(&limits);
	uplink_limit(number(config, "window-total"));
}

int
settings_configure(const struct config *config)
{
	take_options(config);
	settings.tls_priority = slice_dup(config_text(config, "c2s", "", "tls-priority"));
	return domains_configure(config);
}

int
settings_reconfigure(const struct config *config)
{
	struct slice priority = config_text(config, "c2s", "", "tls-priority");
	char *wanted = slice_dup(priority);
	int error = OK;

	if (!slice_is(priority, settings.tls_priority))
		error = tls_set_priority(wanted);
	if (error) {
		free(wanted);
		return error;
	}
	free(settings.tls_priority);
	settings.tls_priority = wanted;
	take_options(config);
	error = domains_configure(config);
	streams_configured();
	sessions_configured();
	return error;
}
