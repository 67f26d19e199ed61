/*
 * certificate.c: whether certificates and keys are usable, before any daemon gets them. Called by
 * settings.c and setting.c. Fails on what GnuTLS does not understand.
 */
#include <gnutls/gnutls.h>
#include <gnutls/x509.h>
#include <time.h>

#include "aldisd.h"
#include "error.h"

static gnutls_datum_t
datum(struct slice s)
{
	return (gnutls_datum_t){ .data = (unsigned char *)(uintptr_t)s.ptr, .size = (unsigned)s.len };
}

bool
certificate_priority(const char *priority)
{
	gnutls_priority_t cache;

	if (gnutls_priority_init(&cache, priority, NULL) < 0)
		return false;
	gnutls_priority_deinit(cache);
	return true;
}

/* Reads the chain; *count certificates, the first of which is the domain's. */
static int
chain_check(const gnutls_datum_t *pem, const char *domain, const char **problem)
{
	gnutls_x509_crt_t *chain = NULL;
	unsigned count = 0, i;
	time_t now = time(NULL);

	if (gnutls_x509_crt_list_import2(&chain, &count, pem, GNUTLS_X509_FMT_PEM, 0) < 0 ||
	    count == 0) {
		*problem = "certificate: there is no certificate in PEM form in the file";
		return E_MALFORMED;
	}
	if (domain[0] != '\0' && !gnutls_x509_crt_check_hostname(chain[0], domain))
		*problem = "certificate: it is not for this domain";
	if (gnutls_x509_crt_get_expiration_time(chain[0]) < now)
		*problem = "certificate: it has expired";
	for (i = 0; i < count; i++)
		gnutls_x509_crt_deinit(chain[i]);
	gnutls_free(chain);
	return OK;
}

static int
key_check(const gnutls_datum_t *pem, const char **problem)
{
	gnutls_x509_privkey_t key;
	int result;

	if (gnutls_x509_privkey_init(&key) < 0)
		return E_SYSTEM;
	result = gnutls_x509_privkey_import2(key, pem, GNUTLS_X509_FMT_PEM, NULL, 0);
	gnutls_x509_privkey_deinit(key);
	if (result >= 0)
		return OK;
	*problem = result == GNUTLS_E_DECRYPTION_FAILED ? "key: it is protected by a password" :
	    "key: there is no private key in PEM form in the file";
	return E_MALFORMED;
}

int
certificate_check(struct slice certificate, struct slice key, const char *domain,
    const char **problem)
{
	gnutls_certificate_credentials_t credentials;
	gnutls_datum_t chain_pem = datum(certificate), key_pem = datum(key);
	int error, result;

	*problem = NULL;
	error = chain_check(&chain_pem, domain, problem);
	if (key.ptr == NULL)
		return error;
	if (error == OK)
		error = key_check(&key_pem, problem);
	if (error)
		return error;
	if (gnutls_certificate_allocate_credentials(&credentials) < 0)
		return E_SYSTEM;
	result = gnutls_certificate_set_x509_key_mem2(credentials, &chain_pem, &key_pem,
	    GNUTLS_X509_FMT_PEM, NULL, 0);
	gnutls_certificate_free_credentials(credentials);
	if (result >= 0)
		return OK;
	*problem = result == GNUTLS_E_CERTIFICATE_KEY_MISMATCH ?
	    "key: it does not belong to the certificate" :
	    "certificate and key cannot be used: GnuTLS refuses them";
	return E_MISMATCH;
}
