/*
 * domain.c: our domains with their certificates, and the domains of external components.
 *
 * Called by main.c with the configuration, by stream.c and the kinds of streams to look up, and for a
 * handshake in a thread of the pool.
 */
#include "s2sd.h"

#include <pthread.h>
#include <stdlib.h>

#include "error.h"
#include "log.h"
#include "mem.h"

/* A domain is never freed: streams point to it, and there are few. */
static struct domain **domains;
static size_t domain_count;

/* Handshakes on the thread pool look domains up while a new configuration changes them. */
static pthread_mutex_t guard = PTHREAD_MUTEX_INITIALIZER;

static struct domain *
find(struct slice name, bool component)
{
	size_t i;

	for (i = 0; i < domain_count; i++) {
		if (domains[i]->component == component && slice_is(name, domains[i]->name))
			return domains[i];
	}
	return NULL;
}

struct domain *
domain_find(struct slice name)
{
	struct domain *domain = find(name, false);

	return domain != NULL && domain->served ? domain : NULL;
}

struct domain *
domain_first(void)
{
	size_t i;

	for (i = 0; i < domain_count; i++) {
		if (domains[i]->served && !domains[i]->component)
			return domains[i];
	}
	return NULL;
}

struct domain *
component_find(struct slice name)
{
	struct domain *domain = find(name, true);

	return domain != NULL && domain->served ? domain : NULL;
}

struct certificate *
domain_certificate(struct slice sni, const struct domain *domain)
{
	const struct domain *chosen = domain;
	struct certificate *certificate;
	size_t i;

	pthread_mutex_lock(&guard);
	for (i = 0; i < domain_count; i++) {
		struct domain *d = domains[i];

		if (!d->served || d->certificate == NULL)
			continue;
		if (sni.ptr != NULL && slice_is(sni, d->ascii)) {
			chosen = d;
			break;
		}
		if (chosen == NULL || chosen->certificate == NULL)
			chosen = d;
	}
	certificate = chosen != NULL && chosen->certificate != NULL ?
	    certificate_hold(chosen->certificate) : NULL;
	pthread_mutex_unlock(&guard);
	return certificate;
}

static struct domain *
domain_get(struct slice name, bool component)
{
	struct domain *domain = find(name, component);

	if (domain != NULL)
		return domain;
	domain = mem_alloc(sizeof *domain);
	domain->name = slice_dup(name);
	domain->component = component;
	if (jid_domain_ascii(name, domain->ascii) != OK)
		domain->ascii[0] = '\0';
	domains = mem_grow(domains, (domain_count + 1) * sizeof *domains);
	domains[domain_count++] = domain;
	return domain;
}

/* Gives a domain its certificate, unless it has it. */
static void
domain_certify(struct domain *domain, struct slice pem)
{
	struct certificate *certificate, *old = domain->certificate;

	if (pem.len == 0 || (old != NULL && certificate_is(old, pem)) ||
	    certificate_new(domain->name, pem, &certificate) != OK)
		return;
	domain->certificate = certificate;
	certificate_drop(&old);
}

/* Takes the titles of one kind of section. */
static int
domains_take(const struct config *config, const char *section, bool component)
{
	char prepared[JID_PART_MAX + 1];
	struct slice title, name;
	size_t i;

	for (i = 0; config_title(config, section, i, &title); i++) {
		struct domain *domain;
		char *key;

		if (jid_prepare_domain(title, prepared, &name) != OK) {
			log_error("domain refused", "name=%s reason=\"not a domain\"", log_quote(title));
			return E_MALFORMED;
		}
		domain = domain_get(name, component);
		domain->served = true;
		key = slice_dup(title);
		if (component) {
			MEM_FREE(&domain->title);
			domain->title = slice_dup(config_text(config, section, key, "name"));
		} else {
			domain_certify(domain, config_text(config, section, key, "certificate"));
		}
		free(key);
	}
	return OK;
}

int
domains_configure(const struct config *config)
{
	size_t i;
	int error;

	pthread_mutex_lock(&guard);
	for (i = 0; i < domain_count; i++)
		domains[i]->served = false;
	error = domains_take(config, "domain", false);
	if (error == OK)
		error = domains_take(config, "component", true);
	pthread_mutex_unlock(&guard);
	return error;
}

void
domains_register(struct buf *text)
{
	size_t i;

	if (settings.federation)
		buf_add_string(text, "domain *\n");
	for (i = 0; i < domain_count; i++) {
		if (domains[i]->served && domains[i]->component)
			buf_printf(text, "domain %s\n", domains[i]->name);
	}
}
