/*
 * domain.c: the domains that clients may log in to, with their certificates and SASL mechanisms.
 *
 * Called by main.c with the configuration and with MECHANISMS, by tls.c and stream.c to look up. A
 * domain whose certificate cannot be read is served without TLS, which means that nobody can log
 * in to it: that is logged as an error.
 */
#include "c2sd.h"

#include <stdlib.h>

#include "error.h"
#include "log.h"
#include "mem.h"

/* A domain is never freed: streams point to it, and there are few. */
static struct domain **domains;
static size_t domain_count;

struct domain *
domain_find(struct slice name)
{
	size_t i;

	for (i = 0; i < domain_count; i++) {
		if (slice_is(name, domains[i]->name))
			return domains[i];
	}
	return NULL;
}

struct domain *
domain_of_sni(struct slice name)
{
	char prepared[JID_PART_MAX + 1];
	struct slice domain;
	size_t i;

	for (i = 0; i < domain_count; i++) {
		if (slice_is(name, domains[i]->ascii))
			return domains[i];
	}
	if (jid_prepare_domain(name, prepared, &domain) != OK)
		return NULL;
	return domain_find(domain);
}

struct domain *
domain_default(void)
{
	size_t i;

	for (i = 0; i < domain_count; i++) {
		if (domains[i]->certificate != NULL)
			return domains[i];
	}
	return NULL;
}

static struct domain *
domain_get(struct slice name)
{
	struct domain *domain = domain_find(name);

	if (domain != NULL)
		return domain;
	domain = mem_alloc(sizeof *domain);
	domain->name = slice_dup(name);
	if (jid_domain_ascii(name, domain->ascii) != OK)
		domain->ascii[0] = '\0';
	domains = mem_grow(domains, (domain_count + 1) * sizeof *domains);
	domains[domain_count++] = domain;
	return domain;
}

int
domains_configure(const struct config *config)
{
	char prepared[JID_PART_MAX + 1];
	struct certificate *certificate;
	struct slice title, name, pem;
	struct domain *domain;
	char *key;
	size_t i;

	for (i = 0; config_title(config, "domain", i, &title); i++) {
		if (jid_prepare_domain(title, prepared, &name) != OK) {
			log_error("domain refused", "name=%s reason=\"not a domain\"",
			    log_quote(title));
			return E_MALFORMED;
		}
		domain = domain_get(name);
		key = slice_dup(title);
		pem = config_text(config, "domain", key, "certificate");
		free(key);
		if (pem.len == 0)
			log_warn("domain without certificate", "domain=%s", domain->name);
		else if (certificate_new(domain->name, pem, &certificate) == OK)
			domain->certificate = certificate; /* a handshake may use the old one */
	}
	return OK;
}

/* One line of MECHANISMS: "DOMAIN MECHANISM ... [register]". */
static void
take_line(struct slice line)
{
	struct slice name, word;
	struct domain *domain;
	struct buf names = { 0 };

	if (!features_word(&line, &name))
		return;
	domain = domain_find(name);
	if (domain == NULL)
		return;
	domain->registration = false;
	while (features_word(&line, &word)) {
		if (slice_is(word, "register")) {
			domain->registration = true;
			continue;
		}
		buf_add_char(&names, ' ');
		buf_add_slice(&names, word);
	}
	MEM_FREE(&domain->mechanisms);
	domain->mechanisms = slice_dup(buf_slice(&names));
	buf_free(&names);
}

void
domains_mechanisms(struct slice lines)
{
	while (lines.len > 0) {
		const char *end = memchr(lines.ptr, '\n', lines.len);
		size_t len = end != NULL ? (size_t)(end - lines.ptr) : lines.len;

		take_line(slice_part(lines, 0, len));
		lines = slice_part(lines, end != NULL ? len + 1 : len, lines.len);
	}
}

void
domains_forget_mechanisms(void)
{
	size_t i;

	for (i = 0; i < domain_count; i++)
		MEM_FREE(&domains[i]->mechanisms);
}

bool
domain_offers(const struct domain *domain, struct slice mechanism, bool binding)
{
	struct slice list = slice_string(domain->mechanisms), word;
	bool plus = mechanism.len > 5 &&
	    memcmp(mechanism.ptr + mechanism.len - 5, "-PLUS", 5) == 0;

	if (plus && !binding)
		return false;
	while (features_word(&list, &word)) {
		if (slice_equal(word, mechanism))
			return true;
	}
	return false;
}
