/*
 * settings.c: the configuration as s2sd uses it. Called by daemon_main() at the start and on reload; fails
 * when a domain is none.
 */
#include "s2sd.h"

#include <stdlib.h>

#include "error.h"

#define LOGIN_BYTES    16384u /* of one element before it is known who speaks */
#define ATTRIBUTES     64u    /* of one element */
#define ELEMENTS       20000u /* of one stanza */
#define LOGIN_DEPTH    8u
#define LOGIN_ELEMENTS 64u

struct settings settings;

static uint64_t
number(const struct config *config, const char *option)
{
	return config_number(config, "s2s", "", option);
}

static void
take_options(const struct config *config)
{
	struct listener_limits limits;

	settings.login_time = 1000 * number(config, "login-time");
	settings.stanza_time = 1000 * number(config, "stanza-time");
	settings.idle_time = 1000 * number(config, "idle-time");
	settings.close_time = 1000 * number(config, "close-time");
	settings.domain_streams = number(config, "domain-streams");
	settings.domain_stanzas = number(config, "domain-stanzas");
	settings.domain_bytes = number(config, "domain-bytes");
	settings.queue_stanzas = number(config, "queue-stanzas");
	settings.queue_bytes = number(config, "queue-bytes");
	settings.queue_total = number(config, "queue-total");
	settings.federation = config_flag(config, "s2s", "", "federation");
	settings.dialback = slice_is(config_text(config, "s2s", "", "authentication"), "dialback");
	settings.ocsp_fetch = (uint8_t)ocsp_fetch_read(config_text(config, "s2s", "", "ocsp-fetch"), OCSP_OFF);
	free(settings.ocsp_responder);
	settings.ocsp_responder = slice_dup(config_text(config, "s2s", "", "ocsp-responder"));
	settings.limits = (struct xml_limits){
		.stanza_bytes = number(config, "stanza-size"),
		.depth = (unsigned)number(config, "stanza-depth"),
		.attributes = ATTRIBUTES,
		.elements = ELEMENTS,
	};
	settings.login_limits = (struct xml_limits){
		.stanza_bytes = LOGIN_BYTES,
		.depth = LOGIN_DEPTH,
		.attributes = ATTRIBUTES,
		.elements = LOGIN_ELEMENTS,
	};
	limits = (struct listener_limits){
		.connections = number(config, "connections"),
		.per_address = number(config, "connections-per-address"),
		.idle_time = settings.idle_time,
	};
	listeners_limit(&limits);
	uplink_limit(number(config, "window-total"));
	policies_configure(config);
}

int
settings_configure(const struct config *config)
{
	take_options(config);
	settings.tls_priority = slice_dup(config_text(config, "s2s", "", "tls-priority"));
	if (checks_configure(config) != OK)
		return E_MALFORMED;
	return domains_configure(config);
}

int
settings_reconfigure(const struct config *config)
{
	struct slice priority = config_text(config, "s2s", "", "tls-priority");
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
	return error;
}
