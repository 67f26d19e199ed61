/*
 * domain.c: the domains that clients may log in to, with their certificates and SASL mechanisms.
 *
 * Called by main.c with the configuration and with MECHANISMS, by tls.c and stream.c to look up. A
 * domain whose certificate cannot be read is served without TLS, which means that nobody can log
 * in to it: that is logged as an error.
 */
#include "c2sd.h"

#include <ctype.h>
#include <pthread.h>
#include <stdlib.h>

#include <gnutls/crypto.h>

#include "error.h"
#include "log.h"
#include "mem.h"

#define VER_LEN 28 /* of base64 of a SHA-1 */

/* A domain is never freed: streams point to it, and there are few. */
static struct domain **domains;
static size_t domain_count;

/* Handshakes on the thread pool look domains up while a new configuration changes them. */
static pthread_mutex_t guard = PTHREAD_MUTEX_INITIALIZER;

/* The last MECHANISMS and CAPS, for domains that come later. */
static struct buf mechanisms;
static struct buf capabilities;

static struct domain *
find(struct slice name)
{
	size_t i;

	for (i = 0; i < domain_count; i++) {
		if (slice_is(name, domains[i]->name))
			return domains[i];
	}
	return NULL;
}

struct domain *
domain_find(struct slice name)
{
	struct domain *domain = find(name);

	return domain != NULL && domain->served ? domain : NULL;
}

/* As a client sent it. */
static struct domain *
domain_of_sni(struct slice name)
{
	char prepared[JID_PART_MAX + 1];
	struct slice domain;
	size_t i;

	for (i = 0; i < domain_count; i++) {
		if (domains[i]->served && slice_is(name, domains[i]->ascii))
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
		if (domains[i]->served && domains[i]->certificate != NULL)
			return domains[i];
	}
	return NULL;
}

struct domain *
domain_meant(struct slice sni, struct domain *of_stream, struct certificate **certificate)
{
	struct domain *domain = NULL;

	pthread_mutex_lock(&guard);
	if (sni.ptr != NULL)
		domain = domain_of_sni(sni);
	if (domain == NULL || domain->certificate == NULL)
		domain = of_stream;
	if (domain == NULL || domain->certificate == NULL)
		domain = domain_default();
	*certificate = domain != NULL ? certificate_hold(domain->certificate) : NULL;
	pthread_mutex_unlock(&guard);
	return domain;
}

static struct domain *
domain_get(struct slice name)
{
	struct domain *domain = find(name);

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

/* Gives a domain its certificate, unless it has it; true when it is another one now. */
static bool
domain_certify(struct domain *domain, struct slice pem)
{
	struct certificate *certificate, *old = domain->certificate;

	if (pem.len == 0)
		log_warn("domain without certificate", "domain=%s", domain->name);
	if (pem.len == 0 || (old != NULL && certificate_is(old, pem)) ||
	    certificate_new(domain->name, pem, &certificate) != OK)
		return false;
	domain->certificate = certificate;
	certificate_drop(&old);
	return true;
}

/* Takes the titles of the configuration. *changed: a certificate is another one. */
static int
domains_take(const struct config *config, bool *changed)
{
	char prepared[JID_PART_MAX + 1];
	struct slice title, name;
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
		domain->served = true;
		key = slice_dup(title);
		*changed |= domain_certify(domain, config_text(config, "domain", key, "certificate"));
		free(key);
	}
	return OK;
}

int
domains_configure(const struct config *config)
{
	bool changed = false;
	size_t i;
	int error;

	pthread_mutex_lock(&guard);
	for (i = 0; i < domain_count; i++)
		domains[i]->served = false;
	error = domains_take(config, &changed);
	pthread_mutex_unlock(&guard);
	domains_mechanisms(SLICE_NONE);
	domains_caps(SLICE_NONE);
	if (changed)
		ticket_mix();
	return error;
}

void
domains_digest(unsigned char digest[DOMAINS_DIGEST])
{
	unsigned char one[DOMAINS_DIGEST];
	size_t i, j;

	memset(digest, 0, DOMAINS_DIGEST);
	/* They may have come in another order elsewhere. */
	for (i = 0; i < domain_count; i++) {
		struct buf text = { 0 };

		if (!domains[i]->served || domains[i]->certificate == NULL)
			continue;
		buf_printf(&text, "%s ", domains[i]->name);
		buf_add_slice(&text, certificate_pem(domains[i]->certificate));
		gnutls_hash_fast(GNUTLS_DIG_SHA256, buf_slice(&text).ptr, buf_len(&text), one);
		for (j = 0; j < DOMAINS_DIGEST; j++)
			digest[j] ^= one[j];
		buf_free(&text);
	}
}

/* Calls take() for each line of a text. */
static void
lines_each(struct slice lines, void (*take)(struct slice line))
{
	struct slice line;

	while (slice_line(&lines, &line))
		take(line);
}

/* One line of MECHANISMS: "DOMAIN MECHANISM ... [register]". Those that take a token begin with HT. */
static void
take_line(struct slice line)
{
	struct slice name, word;
	struct domain *domain;
	struct buf names = { 0 }, fast = { 0 };

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
		buf_add_char(slice_starts(word, SLICE("HT-")) ? &fast : &names, ' ');
		buf_add_slice(slice_starts(word, SLICE("HT-")) ? &fast : &names, word);
	}
	MEM_FREE(&domain->mechanisms);
	domain->mechanisms = slice_dup(buf_slice(&names));
	MEM_FREE(&domain->fast);
	domain->fast = slice_dup(buf_slice(&fast));
	buf_free(&names);
	buf_free(&fast);
}

void
domains_mechanisms(struct slice lines)
{
	if (lines.ptr != NULL) {
		buf_clear(&mechanisms);
		buf_add_slice(&mechanisms, lines);
	}
	lines_each(buf_slice(&mechanisms), take_line);
}

/* Whether this is base64 of a SHA-1. */
static bool
is_ver(struct slice ver)
{
	size_t i;

	if (ver.len != VER_LEN || ver.ptr[VER_LEN - 1] != '=')
		return false;
	for (i = 0; i < VER_LEN - 1; i++) {
		if (!isalnum((unsigned char)ver.ptr[i]) && ver.ptr[i] != '+' && ver.ptr[i] != '/')
			return false;
	}
	return true;
}

/* One line of CAPS: "DOMAIN VER". */
static void
take_caps(struct slice line)
{
	struct slice name, ver;
	struct domain *domain;

	if (!features_word(&line, &name) || !features_word(&line, &ver) || !is_ver(ver))
		return;
	domain = domain_find(name);
	if (domain == NULL)
		return;
	MEM_FREE(&domain->caps);
	domain->caps = slice_dup(ver);
}

void
domains_caps(struct slice lines)
{
	if (lines.ptr != NULL) {
		buf_clear(&capabilities);
		buf_add_slice(&capabilities, lines);
	}
	lines_each(buf_slice(&capabilities), take_caps);
}

void
domains_forget_mechanisms(void)
{
	size_t i;

	buf_clear(&mechanisms);
	for (i = 0; i < domain_count; i++) {
		MEM_FREE(&domains[i]->mechanisms);
		MEM_FREE(&domains[i]->fast);
	}
}

bool
domain_offers_fast(const struct domain *domain, struct slice mechanism, unsigned bindings)
{
	struct slice list = slice_string(domain->fast), word;

	while (features_word(&list, &word)) {
		if (slice_equal(word, mechanism))
			return features_fast_fits(word, bindings);
	}
	return false;
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
