/*
 * gnu.c: SCRAM-SHA-1 and SCRAM-SHA-256, with and without -PLUS, by GNU SASL. Called by sasl.c,
 * which has read the client-first-message before and knows the keys. Fails when GNU SASL does.
 *
 * GNU SASL asks for properties while a session is being made, when it cannot have a hook yet:
 * `current` tells the callback for whom.
 */
#include <gnutls/crypto.h>
#include <gnutls/gnutls.h>
#include <gsasl.h>
#include <stdlib.h>

#include "authd.h"
#include "mem.h"

enum { SALT, ITER, STORED, SERVER, EXPORTER, UNIQUE, PROPERTIES };

static const Gsasl_property properties[PROPERTIES] = {
	[SALT] = GSASL_SCRAM_SALT,
	[ITER] = GSASL_SCRAM_ITER,
	[STORED] = GSASL_SCRAM_STOREDKEY,
	[SERVER] = GSASL_SCRAM_SERVERKEY,
	[EXPORTER] = GSASL_CB_TLS_EXPORTER,
	[UNIQUE] = GSASL_CB_TLS_UNIQUE,
};

struct gnu {
	Gsasl_session *session;
	char *values[PROPERTIES]; /* NULL: not there */
};

static Gsasl *context;
static struct gnu *current;

static int
callback(Gsasl *ctx, Gsasl_session *session, Gsasl_property property)
{
	unsigned i;

	(void)ctx;
	for (i = 0; current != NULL && i < PROPERTIES; i++) {
		if (properties[i] == property && current->values[i] != NULL)
			return gsasl_property_set(session, property, current->values[i]);
	}
	return GSASL_NO_CALLBACK;
}

int
gnu_open(void)
{
	if (gsasl_init(&context) != GSASL_OK)
		return E_SYSTEM;
	gsasl_callback_set(context, callback);
	return OK;
}

void
gnu_close(void)
{
	if (context != NULL)
		gsasl_done(context);
	context = NULL;
}

/* Base64 of bytes, NULL for none. */
static char *
base64(const void *bytes, size_t len)
{
	const gnutls_datum_t in = { (unsigned char *)(uintptr_t)bytes, (unsigned)len };
	gnutls_datum_t out;
	char *text;

	if (len == 0 || gnutls_base64_encode2(&in, &out) != 0)
		return NULL;
	text = slice_dup(slice_of(out.data, out.size));
	gnutls_free(out.data);
	return text;
}

int
gnu_new(enum scram_hash hash, bool plus, const struct scram_keys *keys, struct slice exporter,
    struct slice unique, struct gnu **gnu)
{
	size_t size = scram_size(hash);
	struct gnu *g = mem_alloc(sizeof *g);
	struct buf text = { 0 };
	int code;

	buf_printf(&text, "%u", keys->iterations);
	g->values[SALT] = base64(keys->salt, keys->salt_len);
	g->values[ITER] = slice_dup(buf_slice(&text));
	g->values[STORED] = base64(keys->stored, size);
	g->values[SERVER] = base64(keys->server, size);
	/* GNU SASL refuses flag y when it knows a binding, even if no -PLUS was offered; what was
	 * offered is checked before, in sasl.c. */
	if (plus) {
		g->values[EXPORTER] = base64(exporter.ptr, exporter.len);
		g->values[UNIQUE] = base64(unique.ptr, unique.len);
	}
	buf_clear(&text);
	buf_printf(&text, "%s%s", scram_name(hash), plus ? "-PLUS" : "");
	buf_add_char(&text, '\0');
	current = g;
	code = gsasl_server_start(context, buf_slice(&text).ptr, &g->session);
	current = NULL;
	buf_free(&text);
	if (code != GSASL_OK)
		gnu_free(&g);
	*gnu = g;
	return code == GSASL_OK ? OK : E_UNSUPPORTED;
}

void
gnu_free(struct gnu **gnu)
{
	struct gnu *g = *gnu;
	unsigned i;

	if (g == NULL)
		return;
	if (g->session != NULL)
		gsasl_finish(g->session);
	for (i = 0; i < PROPERTIES; i++) {
		if (g->values[i] != NULL)
			gnutls_memset(g->values[i], 0, strlen(g->values[i]));
		free(g->values[i]);
	}
	MEM_FREE(gnu);
}

int
gnu_step(struct gnu *gnu, struct slice message, struct buf *out)
{
	char *reply = NULL;
	size_t len = 0;
	int code;

	current = gnu;
	code = gsasl_step(gnu->session, message.ptr, message.len, &reply, &len);
	current = NULL;
	if (code == GSASL_OK || code == GSASL_NEEDS_MORE) {
		buf_add(out, reply, len);
		gsasl_free(reply);
	}
	switch (code) {
	case GSASL_OK:
		return OK;
	case GSASL_NEEDS_MORE:
		return E_AGAIN;
	case GSASL_MECHANISM_PARSE_ERROR:
	case GSASL_BASE64_ERROR:
		return E_MALFORMED;
	}
	return E_MISMATCH;
}
