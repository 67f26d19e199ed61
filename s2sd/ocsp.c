/*
 * ocsp.c: OCSP (RFC 6960): requests, and checking responses. Called by verify.c; on threads of the pool. Fails
 * as verify.h says, always with a reason.
 */
#include <stdio.h>
#include <stdlib.h>

#include <gnutls/ocsp.h>

#include "error.h"
#include "verify.h"

#define SKEW        300 /* seconds that clocks may differ by */
#define SINGLES_MAX 16u /* statuses of a response that are looked at */

/* -- asking -------------------------------------------------------------------------------------- */

/* Where to ask: a URL of the printable characters that URLs have. */
void
ocsp_url(gnutls_x509_crt_t certificate, char url[OCSP_URL])
{
	gnutls_datum_t value;
	bool good = false;
	unsigned n, i;

	for (n = 0; !good && n < 16; n++) {
		int code = gnutls_x509_crt_get_authority_info_access(certificate, n, GNUTLS_IA_OCSP_URI, &value, NULL);

		if (code == GNUTLS_E_REQUESTED_DATA_NOT_AVAILABLE)
			break;
		if (code < 0)
			continue;
		good = value.size < OCSP_URL && value.size > 7 && strncmp((char *)value.data, "http://", 7) == 0;
		for (i = 0; good && i < value.size; i++)
			good = value.data[i] > ' ' && value.data[i] < 0x7f;
		if (good)
			snprintf(url, OCSP_URL, "%.*s", (int)value.size, (char *)value.data);
		gnutls_free(value.data);
	}
	if (!good)
		url[0] = '\0';
}

int
ocsp_request(gnutls_x509_crt_t certificate, gnutls_x509_crt_t issuer, struct buf *der)
{
	gnutls_ocsp_req_t request;
	gnutls_datum_t out;
	int code;

	if (gnutls_ocsp_req_init(&request) < 0)
		return E_SYSTEM;
	/* SHA-1 names the issuer only, and is what all responders know (RFC 5019). */
	code = gnutls_ocsp_req_add_cert(request, GNUTLS_DIG_SHA1, issuer, certificate);
	if (code >= 0)
		code = gnutls_ocsp_req_export(request, &out);
	if (code >= 0) {
		buf_add(der, out.data, out.size);
		gnutls_free(out.data);
	}
	gnutls_ocsp_req_deinit(request);
	return code < 0 ? E_SYSTEM : OK;
}

/* -- answers ------------------------------------------------------------------------------------- */

/* What a response says of one certificate. */
struct single {
	unsigned status;
	time_t this_update, next_update, revoked; /* -1: not said */
};

/* Finds what is said of the certificate. */
static int
single_find(gnutls_ocsp_resp_t response, gnutls_x509_crt_t certificate, struct single *single)
{
	unsigned n;

	for (n = 0; n < SINGLES_MAX; n++) {
		if (gnutls_ocsp_resp_get_single(response, n, NULL, NULL, NULL, NULL, &single->status,
		    &single->this_update, &single->next_update, &single->revoked, NULL) < 0)
			return E_MISMATCH;
		if (gnutls_ocsp_resp_check_crt(response, n, certificate) == 0)
			return OK;
	}
	return E_MISMATCH;
}

static int
said(char *reason, int code, const char *text)
{
	snprintf(reason, VERIFY_REASON, "%s", text);
	return code;
}

static int
single_check(const struct single *single, time_t now, char *reason)
{
	time_t until = single->next_update != (time_t)-1 ? single->next_update
	    : single->this_update + OCSP_AGE_MAX;

	if (single->this_update == (time_t)-1 || single->this_update > now + SKEW)
		return said(reason, E_AGAIN, "the response is of the future");
	if (single->status == GNUTLS_OCSP_CERT_REVOKED)
		return said(reason, E_FORBIDDEN, "revoked");
	if (until < now - SKEW)
		return said(reason, E_AGAIN, "the response is out of date");
	if (single->status != GNUTLS_OCSP_CERT_GOOD)
		return said(reason, E_NOT_FOUND, "the authority does not know the certificate");
	snprintf(reason, VERIFY_REASON, "good for %lld more seconds", (long long)(until > now ? until - now : 0));
	return OK;
}

static int
response_check(gnutls_ocsp_resp_t response, gnutls_x509_crt_t certificate, gnutls_x509_crt_t issuer,
    time_t now, char *reason, time_t *until)
{
	struct single single;
	unsigned status;
	int code;

	if (gnutls_ocsp_resp_get_status(response) != GNUTLS_OCSP_RESP_SUCCESSFUL)
		return said(reason, E_AGAIN, "the responder has no answer");
	if (gnutls_ocsp_resp_verify_direct(response, issuer, &status, 0) < 0 || status != 0)
		return said(reason, E_MISMATCH, "not signed by the issuer or who has its right to");
	if (single_find(response, certificate, &single) != OK)
		return said(reason, E_MISMATCH, "the response is of another certificate");
	code = single_check(&single, now, reason);
	if ((code == OK || code == E_FORBIDDEN) && single.next_update != (time_t)-1)
		*until = single.next_update < now + OCSP_AGE_MAX ? single.next_update : now + OCSP_AGE_MAX;
	return code;
}

int
ocsp_check(struct slice response, gnutls_x509_crt_t certificate, gnutls_x509_crt_t issuer, time_t now,
    char *reason, time_t *until)
{
	gnutls_datum_t der = { (unsigned char *)(uintptr_t)response.ptr, (unsigned)response.len };
	gnutls_ocsp_resp_t parsed;
	int code;

	*until = 0;
	if (response.len > OCSP_MAX)
		return said(reason, E_MALFORMED, "the response is too big");
	if (gnutls_ocsp_resp_init(&parsed) < 0)
		return said(reason, E_AGAIN, "out of memory");
	if (gnutls_ocsp_resp_import(parsed, &der) < 0)
		code = said(reason, E_MALFORMED, "the response is malformed");
	else
		code = response_check(parsed, certificate, issuer, now, reason, until);
	gnutls_ocsp_resp_deinit(parsed);
	return code;
}
