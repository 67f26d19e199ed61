/*
 * trust.c: trust anchors and certificate revocation lists. Called by main.c at start and when the
 * configuration changes, read by verify.c. Fails on what is not PEM of such.
 */
#include <stdatomic.h>
#include <stdlib.h>

#include "error.h"
#include "mem.h"
#include "verify.h"

#define CRLS_MAX 64u

struct trust {
	atomic_uint refs;
	gnutls_x509_trust_list_t list;
	gnutls_x509_crl_t crls[CRLS_MAX];
	size_t crl_count;
};

static gnutls_datum_t
datum(struct slice s)
{
	return (gnutls_datum_t){ (unsigned char *)(uintptr_t)s.ptr, (unsigned)s.len };
}

/* Takes over the anchors of another. */
static int
anchors_copy(gnutls_x509_trust_list_t list, const struct trust *old)
{
	gnutls_x509_trust_list_iter_t at = NULL;
	gnutls_x509_crt_t anchor;
	int count = 0;

	while (gnutls_x509_trust_list_iter_get_ca(old->list, &at, &anchor) == 0) {
		if (gnutls_x509_trust_list_add_cas(list, &anchor, 1, 0) == 1)
			count++;
		else
			gnutls_x509_crt_deinit(anchor);
	}
	gnutls_x509_trust_list_iter_deinit(at);
	return count;
}

static int
anchors_add(gnutls_x509_trust_list_t list, struct slice anchors, const struct trust *old)
{
	gnutls_datum_t pem = datum(anchors);
	int count;

	if (anchors.ptr != NULL)
		count = gnutls_x509_trust_list_add_trust_mem(list, &pem, NULL, GNUTLS_X509_FMT_PEM, 0, 0);
	else if (old != NULL)
		count = anchors_copy(list, old);
	else
		count = gnutls_x509_trust_list_add_system_trust(list, 0, 0);
	return count < 0 ? E_MALFORMED : count == 0 ? E_NOT_FOUND : OK;
}

/* Adds the CRLs of one file. */
static int
crls_add(struct trust *trust, struct slice text)
{
	gnutls_datum_t pem = datum(text);
	gnutls_x509_crl_t *crls;
	unsigned count, i;
	int code = OK;

	if (gnutls_x509_crl_list_import2(&crls, &count, &pem, GNUTLS_X509_FMT_PEM, 0) < 0)
		return E_MALFORMED;
	for (i = 0; i < count; i++) {
		if (trust->crl_count < CRLS_MAX) {
			trust->crls[trust->crl_count++] = crls[i];
			continue;
		}
		gnutls_x509_crl_deinit(crls[i]);
		code = E_TOO_MANY;
	}
	gnutls_free(crls);
	return code;
}

int
trust_new(struct slice anchors, const struct slice *crls, size_t crl_count, const struct trust *old,
    struct trust **trust)
{
	struct trust *made = mem_alloc(sizeof *made);
	size_t i;
	int code;

	atomic_init(&made->refs, 1);
	code = gnutls_x509_trust_list_init(&made->list, 0) < 0 ? E_SYSTEM : OK;
	if (code == OK)
		code = anchors_add(made->list, anchors, old);
	for (i = 0; code == OK && i < crl_count; i++)
		code = crls_add(made, crls[i]);
	if (code != OK) {
		trust_drop(&made);
		return code;
	}
	*trust = made;
	return OK;
}

struct trust *
trust_hold(struct trust *trust)
{
	atomic_fetch_add(&trust->refs, 1);
	return trust;
}

void
trust_drop(struct trust **trust)
{
	struct trust *t = *trust;
	size_t i;

	*trust = NULL;
	if (t == NULL || atomic_fetch_sub(&t->refs, 1) > 1)
		return;
	gnutls_x509_trust_list_deinit(t->list, 1);
	for (i = 0; i < t->crl_count; i++)
		gnutls_x509_crl_deinit(t->crls[i]);
	free(t);
}

gnutls_x509_trust_list_t
trust_list(const struct trust *trust)
{
	return trust->list;
}

gnutls_x509_crl_t
trust_crl(const struct trust *trust, gnutls_x509_crt_t issuer, size_t n)
{
	size_t i;

	for (i = 0; i < trust->crl_count; i++) {
		if (gnutls_x509_crl_check_issuer(trust->crls[i], issuer) && n-- == 0)
			return trust->crls[i];
	}
	return NULL;
}
