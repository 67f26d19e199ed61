/*
 * policy.c: what the administrator wants of other servers, by their domain. Called by settings.c with the
 * configuration, by whoever deals with a remote domain. No input or output.
 */
#include "s2sd.h"

#include <stdlib.h>

#include "mem.h"

static struct policy *policies;
static size_t policy_count;
static struct policy fallback; /* for those that are not named */

static void
policy_free(struct policy *policy)
{
	size_t i;

	for (i = 0; i < POLICY_ADDRESSES; i++)
		free(policy->addresses[i]);
	free(policy->name);
	free(policy->ocsp_responder);
	*policy = (struct policy){ 0 };
}

enum ocsp_fetch
ocsp_fetch_read(struct slice text, enum ocsp_fetch otherwise)
{
	static const char *const texts[] = {
		[OCSP_OFF] = "off", [OCSP_TRY] = "try", [OCSP_REQUIRE] = "require",
	};
	size_t i;

	for (i = 0; i < sizeof texts / sizeof texts[0]; i++) {
		if (slice_is(text, texts[i]))
			return (enum ocsp_fetch)i;
	}
	return otherwise;
}

static void
policy_read(const struct config *config, struct slice title, struct policy *policy)
{
	struct slice text;
	size_t i;

	policy->name = slice_dup(title);
	policy->refuse = slice_is(config_text(config, "peer", policy->name, "policy"), "refuse");
	policy->direct_tls = config_flag(config, "peer", policy->name, "direct-tls");
	text = config_text(config, "peer", policy->name, "authentication");
	policy->dialback = text.len != 0 ? slice_is(text, "dialback") : settings.dialback;
	policy->ocsp_fetch = (uint8_t)ocsp_fetch_read(config_text(config, "peer", policy->name, "ocsp-fetch"),
	    settings.ocsp_fetch);
	text = config_text(config, "peer", policy->name, "ocsp-responder");
	policy->ocsp_responder = slice_dup(text.len != 0 ? text : slice_string(settings.ocsp_responder));
	for (i = 0; i < POLICY_ADDRESSES &&
	    config_list(config, "peer", policy->name, "address", i, &text); i++)
		policy->addresses[i] = slice_dup(text);
}

void
policies_configure(const struct config *config)
{
	struct slice title;

	while (policy_count > 0)
		policy_free(&policies[--policy_count]);
	while (config_title(config, "peer", policy_count, &title)) {
		policies = mem_grow(policies, (policy_count + 1) * sizeof *policies);
		policies[policy_count] = (struct policy){ 0 };
		policy_read(config, title, &policies[policy_count++]);
	}
	fallback.dialback = settings.dialback;
	fallback.ocsp_fetch = settings.ocsp_fetch;
	fallback.ocsp_responder = settings.ocsp_responder;
}

const struct policy *
policy_of(struct slice domain)
{
	const struct policy *best = NULL;
	size_t i, longest = 0;

	for (i = 0; i < policy_count; i++) {
		struct slice name = slice_string(policies[i].name);

		if (domain_fits(name, domain) && domain_weight(name) > longest) {
			best = &policies[i];
			longest = domain_weight(name);
		}
	}
	return best != NULL ? best : &fallback;
}
