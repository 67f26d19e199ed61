/*
 * extdisco.c: services besides XMPP, such as STUN and TURN, with credentials for those that want some
 * (XEP-0215). Called by request.c, main.c and state.c.
 *
 * Credentials are what TURN servers share with those who send them users (use-auth-secret of coturn):
 * the name is the time of its end and the account, the password the base64 of its HMAC-SHA1 with the secret.
 * Nothing is kept of them.
 */
#include <gnutls/crypto.h>
#include <gnutls/gnutls.h>
#include <inttypes.h>
#include <stdlib.h>

#include "authd.h"
#include "log.h"
#include "mem.h"
#include "service.h"
#include "xmlout.h"

#define SHA1_BYTES 20

/* What the secret of a domain is good for. */
static bool
has_credentials(const struct domain *domain, const struct service *service)
{
	return domain->service_secret != NULL &&
	    (slice_is(service->type, "turn") || slice_is(service->type, "turns"));
}

/* Writes username, password and expires. */
static int
credentials_write(const struct request *r, const struct domain *domain, struct buf *out)
{
	const char *secret = domain->service_secret;
	uint64_t until = r->now + state.service_time;
	unsigned char mac[SHA1_BYTES];
	gnutls_datum_t raw = { mac, sizeof mac }, text = { NULL, 0 };
	struct buf name = { 0 };
	char stamp[32];
	int code;

	buf_printf(&name, "%" PRIu64 ":%.*s", until / 1000, SLICE_ARG(r->from));
	code = gnutls_hmac_fast(GNUTLS_MAC_SHA1, secret, strlen(secret), buf_slice(&name).ptr,
	    buf_len(&name), mac);
	if (code == 0)
		code = gnutls_base64_encode2(&raw, &text);
	if (code == 0) {
		stanza_stamp(until, stamp);
		xml_add_attribute(out, "username", buf_slice(&name));
		xml_add_attribute(out, "password", slice_of(text.data, text.size));
		xml_add_attribute(out, "expires", slice_string(stamp));
	} else {
		log_error("credentials not made", "error=\"%s\"", gnutls_strerror(code));
	}
	gnutls_free(text.data);
	buf_free(&name);
	return code == 0 ? OK : E_SYSTEM;
}

static int
service_write(const struct request *r, const struct domain *domain, const struct service *service,
    struct buf *out)
{
	int error = OK;

	buf_add_string(out, "<service");
	xml_add_attribute(out, "type", service->type);
	xml_add_attribute(out, "host", service->host);
	xml_add_attribute(out, "port", service->port);
	xml_add_attribute(out, "transport", service->transport);
	if (has_credentials(domain, service)) {
		buf_add_string(out, " restricted='true'");
		error = credentials_write(r, domain, out);
	}
	buf_add_string(out, "/>");
	return error;
}

/* What a client asks for; absent: any. */
struct wanted {
	struct slice type, host, port;
	bool credentials; /* only what has some */
};

/* Writes the services that are wanted. */
static int
services_write(const struct request *r, const struct domain *domain, const struct wanted *wanted,
    struct buf *out)
{
	struct service service;
	int error = OK;
	size_t i;

	for (i = 0; i < domain->service_count && error == OK; i++) {
		if (service_read(slice_string(domain->services[i]), &service) != OK ||
		    (wanted->type.ptr != NULL && !slice_equal(wanted->type, service.type)) ||
		    (wanted->host.ptr != NULL && !slice_equal(wanted->host, service.host)) ||
		    (wanted->port.ptr != NULL && service.port.ptr != NULL &&
		    !slice_equal(wanted->port, service.port)) ||
		    (wanted->credentials && !has_credentials(domain, &service)))
			continue;
		error = service_write(r, domain, &service, out);
	}
	return error;
}

static void
answer(const struct request *r, const struct domain *domain, const struct wanted *wanted)
{
	struct buf payload = { .secret = true };
	size_t content;
	int error;

	xml_open(&payload, wanted->credentials ? "credentials" : "services", SLICE(NS_EXTDISCO));
	if (!wanted->credentials)
		xml_add_attribute(&payload, "type", wanted->type);
	buf_add_char(&payload, '>');
	content = buf_len(&payload);
	error = services_write(r, domain, wanted, &payload);
	if (buf_len(&payload) > content) {
		buf_add_string(&payload, wanted->credentials ? "</credentials>" : "</services>");
	} else {
		buf_truncate(&payload, content - 1);
		buf_add_string(&payload, "/>");
	}
	if (error)
		request_refuse(r->f, STANZA_ERROR_INTERNAL_SERVER_ERROR, NULL);
	else if (wanted->credentials && buf_len(&payload) == content + 1)
		request_refuse(r->f, STANZA_ERROR_ITEM_NOT_FOUND, NULL);
	else
		request_answer(r->f, buf_slice(&payload));
	buf_free(&payload);
}

/* An attribute of a request; absent: it has none. */
static bool
attribute_read(const struct xmlin_element *element, const char *name, struct buf *scratch,
    struct slice *value)
{
	int error = xmlin_attribute(element, name, scratch, value);

	if (error == E_NOT_FOUND)
		*value = SLICE_NONE;
	return error == OK || error == E_NOT_FOUND;
}

static void
services(const struct request *r, const struct domain *domain)
{
	struct wanted wanted = { .credentials = false };
	struct buf scratch = { 0 };

	if (attribute_read(&r->query, "type", &scratch, &wanted.type))
		answer(r, domain, &wanted);
	else
		request_refuse(r->f, STANZA_ERROR_BAD_REQUEST, NULL);
	buf_free(&scratch);
}

/* For one service, of which there may be several: type and host must be there, the port may. */
static void
credentials(const struct request *r, const struct domain *domain)
{
	struct wanted wanted = { .credentials = true };
	struct buf type = { 0 }, host = { 0 }, port = { 0 };
	struct xmlin_element service, second;
	struct xmlin in;

	xmlin_begin(&in, r->query.content, r->query.ns);
	if (!xmlin_child(&in, &service) || xmlin_child(&in, &second) || in.error ||
	    !slice_is(service.name, "service") || !slice_is(service.ns, NS_EXTDISCO) ||
	    xmlin_attribute(&service, "type", &type, &wanted.type) != OK ||
	    xmlin_attribute(&service, "host", &host, &wanted.host) != OK ||
	    !attribute_read(&service, "port", &port, &wanted.port))
		request_refuse(r->f, STANZA_ERROR_BAD_REQUEST, NULL);
	else
		answer(r, domain, &wanted);
	buf_free(&type);
	buf_free(&host);
	buf_free(&port);
}

void
extdisco_iq(const struct request *r)
{
	const struct domain *domain = state_domain(r->account);
	struct jid from;

	jid_split(r->from, &from);
	if (domain == NULL || domain->service_count == 0)
		request_refuse(r->f, STANZA_ERROR_SERVICE_UNAVAILABLE, NULL);
	else if (!slice_equal(from.domain, r->account) || !account_exists(r->from))
		request_refuse(r->f, STANZA_ERROR_FORBIDDEN, NULL);
	else if (r->set)
		request_refuse(r->f, STANZA_ERROR_BAD_REQUEST, NULL);
	else if (slice_is(r->query.name, "services"))
		services(r, domain);
	else if (slice_is(r->query.name, "credentials"))
		credentials(r, domain);
	else
		request_refuse(r->f, STANZA_ERROR_BAD_REQUEST, NULL);
}

/* -- configuration ----------------------------------------------------------------------------- */

/* Takes the secret out of base64; NULL when there is none. */
static char *
secret_read(struct slice base64)
{
	const gnutls_datum_t in = { (unsigned char *)(uintptr_t)base64.ptr, (unsigned)base64.len };
	gnutls_datum_t text = { NULL, 0 };
	char *secret = NULL;

	if (base64.len == 0 || gnutls_base64_decode2(&in, &text) != 0)
		return NULL;
	secret = slice_dup(slice_of(text.data, text.size));
	gnutls_memset(text.data, 0, text.size);
	gnutls_free(text.data);
	return secret;
}

void
extdisco_configure(const struct config *config, const char *title, struct domain *domain)
{
	struct slice value;
	size_t i;

	domain->services = NULL;
	domain->service_count = 0;
	domain->service_secret = secret_read(config_text(config, "domain", title, "service-secret"));
	for (i = 0; config_list(config, "domain", title, "services", i, &value); i++) {
		domain->services = mem_grow(domain->services, (i + 1) * sizeof *domain->services);
		domain->services[domain->service_count++] = slice_dup(value);
	}
}

void
extdisco_close(struct domain *domain)
{
	while (domain->service_count > 0)
		free(domain->services[--domain->service_count]);
	free(domain->services);
	if (domain->service_secret != NULL)
		gnutls_memset(domain->service_secret, 0, strlen(domain->service_secret));
	free(domain->service_secret);
}

/* Nothing is announced where there is nothing. */
void
extdisco_serves(struct buf *text)
{
	size_t i;

	for (i = 0; i < state.domain_count && state.domains[i].service_count == 0; i++)
		;
	if (i < state.domain_count)
		buf_add_string(text, "server-ns " NS_EXTDISCO "\nfeature " NS_EXTDISCO "\n");
}
