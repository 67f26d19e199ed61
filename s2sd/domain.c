/*
 * domain.c: the domains that are served here, whoever serves them: those with accounts and those of external
 * components out of the configuration, and those of other daemons, which the router tells; with the
 * certificates that they show.
 *
 * Called by main.c with the configuration and DOMAINS, by stream.c and the kinds of streams to look up, and
 * for a handshake in a thread of the pool. Fails on a title that is no domain; what the router tells and is
 * none is left out.
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

#define DOMAINS_MAX 4096u /* beyond them no more of other daemons are taken */

/* Handshakes on the thread pool look domains up while a new configuration changes them. */
static pthread_mutex_t guard = PTHREAD_MUTEX_INITIALIZER;

/* -- looking up --------------------------------------------------------------------------------- */

static struct domain *
find(struct slice name, enum role role)
{
	size_t i;

	for (i = 0; i < domain_count; i++) {
		if (domains[i]->role == role && slice_is(name, domains[i]->name))
			return domains[i];
	}
	return NULL;
}

/* Who serves a domain; NULL: nobody here. */
static struct domain *
served(struct slice name)
{
	size_t i;

	for (i = 0; i < domain_count; i++) {
		if (domains[i]->served && slice_is(name, domains[i]->name))
			return domains[i];
	}
	return NULL;
}

struct domain *
domain_find(struct slice name)
{
	struct domain *domain = served(name);

	return domain != NULL && !domain->alone ? domain : NULL;
}

bool
domain_is_here(struct slice name)
{
	return served(name) != NULL;
}

struct domain *
domain_first(void)
{
	size_t i;

	for (i = 0; i < domain_count; i++) {
		if (domains[i]->served && domains[i]->role == ROLE_AUTHD)
			return domains[i];
	}
	return NULL;
}

struct domain *
component_find(struct slice name)
{
	struct domain *domain = served(name);

	return domain != NULL && domain->role == ROLE_S2SD ? domain : NULL;
}

/* What a domain shows: its own certificate, or one of another domain that names it. */
static struct certificate *
shown(const struct domain *domain)
{
	return domain->certificate != NULL ? domain->certificate : domain->lent;
}

bool
domain_is_certified(const struct domain *domain)
{
	return shown(domain) != NULL;
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

		if (!d->served || shown(d) == NULL)
			continue;
		if (sni.ptr != NULL && slice_is(sni, d->ascii)) {
			chosen = d;
			break;
		}
		if (chosen == NULL || shown(chosen) == NULL)
			chosen = d;
	}
	certificate = chosen != NULL ? certificate_hold(shown(chosen)) : NULL;
	pthread_mutex_unlock(&guard);
	return certificate;
}

/* -- what the configuration says ---------------------------------------------------------------- */

static struct domain *
domain_get(struct slice name, enum role role)
{
	struct domain *domain = find(name, role);

	if (domain != NULL)
		return domain;
	domain = mem_alloc(sizeof *domain);
	domain->name = slice_dup(name);
	domain->role = role;
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
	struct certificate *certificate = NULL, *old = domain->certificate;

	if (pem.len != 0 && ((old != NULL && certificate_is(old, pem)) ||
	    certificate_new(domain->name, pem, &certificate) != OK))
		return;
	domain->certificate = certificate;
	certificate_drop(&old);
}

/* Whether a certificate names a domain. */
static bool
names(const struct certificate *certificate, const char *domain)
{
	struct slice der = certificate_leaf(certificate);
	gnutls_datum_t in = { (unsigned char *)(uintptr_t)der.ptr, (unsigned)der.len };
	char reason[VERIFY_REASON];
	gnutls_x509_crt_t crt;
	bool named;

	if (gnutls_x509_crt_init(&crt) < 0)
		return false;
	named = gnutls_x509_crt_import(crt, &in, GNUTLS_X509_FMT_DER) >= 0 &&
	    identity_matches(crt, slice_string(domain), reason);
	gnutls_x509_crt_deinit(crt);
	return named;
}

/* Lends those that have no certificate one of another domain that names them. */
static void
certificates_lend(void)
{
	size_t i, k;

	for (i = 0; i < domain_count; i++) {
		struct domain *d = domains[i];

		if (d->lent != NULL)
			certificate_drop(&d->lent);
		for (k = 0; k < domain_count && d->served && d->certificate == NULL && d->lent == NULL; k++) {
			struct domain *other = domains[k];

			if (other->served && other->certificate != NULL && names(other->certificate, d->name))
				d->lent = certificate_hold(other->certificate);
		}
	}
}

/* Takes the titles of one kind of section. */
static int
domains_take(const struct config *config, const char *section, enum role role)
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
		domain = domain_get(name, role);
		domain->served = true;
		key = slice_dup(title);
		if (role == ROLE_S2SD) {
			MEM_FREE(&domain->title);
			domain->title = slice_dup(config_text(config, section, key, "name"));
			domain->alone = !config_flag(config, section, key, "federate");
		}
		domain_certify(domain, config_text(config, section, key, "certificate"));
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
	for (i = 0; i < domain_count; i++) {
		if (domains[i]->role == ROLE_AUTHD || domains[i]->role == ROLE_S2SD)
			domains[i]->served = false;
	}
	error = domains_take(config, "domain", ROLE_AUTHD);
	if (error == OK)
		error = domains_take(config, "component", ROLE_S2SD);
	certificates_lend();
	pthread_mutex_unlock(&guard);
	return error;
}

/* -- what the router says ----------------------------------------------------------------------- */

/* Takes one domain of another daemon. */
static void
domain_take(struct slice line, enum role role)
{
	char prepared[JID_PART_MAX + 1];
	struct slice name;

	if (jid_prepare_domain(line, prepared, &name) != OK || !slice_equal(line, name) ||
	    (find(name, role) == NULL && (served(name) != NULL || domain_count >= DOMAINS_MAX)))
		log_warn("domain refused", "name=%s daemon=%s", log_quote(line), role_text(role));
	else
		domain_get(name, role)->served = true;
}

void
domains_of(const struct frame *f)
{
	enum role role = f->number < ROLE_COUNT ? (enum role)f->number : ROLE_NONE;
	struct slice lines = f->text, line;
	size_t i;

	if (role == ROLE_NONE || role == ROLE_AUTHD || role == ROLE_S2SD) {
		daemon_refuse(f, "no other daemon");
		return;
	}
	pthread_mutex_lock(&guard);
	for (i = 0; i < domain_count; i++) {
		if (domains[i]->role == role)
			domains[i]->served = false;
	}
	while (slice_line(&lines, &line))
		domain_take(line, role);
	certificates_lend();
	pthread_mutex_unlock(&guard);
	streams_configured();
}

void
domains_register(struct buf *text)
{
	size_t i;

	if (settings.federation)
		buf_add_string(text, "domain *\n");
	for (i = 0; i < domain_count; i++) {
		if (!domains[i]->served || domains[i]->role != ROLE_S2SD)
			continue;
		buf_printf(text, "domain %s\n", domains[i]->name);
		if (domains[i]->alone)
			buf_printf(text, "private %s\n", domains[i]->name);
	}
}
