/*
 * token.c: keys in PKCS#11 tokens, by GnuTLS and p11-kit. Called by key.c before the sandbox is
 * closed: loads the module, logs in, and has the key sign something that its certificate verifies.
 * Fails when any of that does, with the reason logged.
 *
 * A token may lock itself after a few wrong PINs, and authd is started again and again when it
 * fails: so a PIN is given once each time, and not at all when the token says that it is the last.
 */
#include <gnutls/pkcs11.h>
#include <gnutls/x509.h>
#include <stdlib.h>

#include "authd.h"
#include "log.h"
#include "mem.h"
#include "sandbox.h"

static bool opened;

/* Loads the module that the configuration names, or those of p11-kit. */
static int
module_open(const struct config *config)
{
	char *module = slice_dup(config_text(config, "auth", "", "pkcs11-module"));
	bool named = module[0] != '\0';
	int code;

	code = gnutls_pkcs11_init(
	    named ? GNUTLS_PKCS11_FLAG_MANUAL : GNUTLS_PKCS11_FLAG_AUTO, NULL);
	if (code == 0 && named)
		code = gnutls_pkcs11_add_provider(module, NULL);
	if (code != 0)
		log_error("PKCS#11 module not loaded", "path=%s error=\"%s\"",
		    log_quote(slice_string(module)), gnutls_strerror(code));
	free(module);
	return code == 0 ? OK : E_SYSTEM;
}

/* Has the files that the module needs stay within reach. */
static int
paths_keep(const struct config *config)
{
	struct slice value;
	int error = OK;
	size_t i = 0;

	while (error == OK && config_list(config, "auth", "", "pkcs11-paths", i++, &value)) {
		char *path = slice_dup(value);

		error = sandbox_keep(path);
		if (error)
			log_error("PKCS#11 path not kept", "path=%s error=\"%s\"",
			    log_quote(value), error_text(error));
		free(path);
	}
	return error;
}

int
token_open(const struct config *config)
{
	int error = opened ? OK : module_open(config);

	if (error == OK && !opened)
		error = paths_keep(config);
	opened = error == OK;
	return error;
}

void
token_close(void)
{
	if (opened)
		gnutls_pkcs11_deinit();
	opened = false;
}

/* GnuTLS asks for the PIN. arg: the PIN, or NULL. */
static int
pin_give(void *arg, int attempt, const char *url, const char *label, unsigned flags, char *pin,
    size_t room)
{
	const char *known = arg;
	size_t len = known != NULL ? strlen(known) : 0;

	(void)url;
	if (len == 0 || len >= room || attempt > 0 ||
	    (flags & (GNUTLS_PIN_WRONG | GNUTLS_PIN_FINAL_TRY | GNUTLS_PIN_SO)) != 0) {
		log_error("PIN not given", "token=%s reason=\"%s\"", log_quote(slice_string(label)),
		    len == 0 ? "none is configured" : len >= room ? "it is too long" :
		    (flags & GNUTLS_PIN_FINAL_TRY) != 0 && attempt == 0 ?
		    "the token would lock itself if it is wrong" : "it is wrong");
		return GNUTLS_E_PKCS11_PIN_ERROR;
	}
	memcpy(pin, known, len + 1);
	return 0;
}

/* Has the key sign something, and the certificate verify it. Returns a GnuTLS code. */
static int
key_try(gnutls_privkey_t key, gnutls_pubkey_t public)
{
	static const char text[] = "does this key belong to this certificate?";
	const gnutls_datum_t data = { (unsigned char *)(uintptr_t)text, sizeof text - 1 };
	gnutls_digest_algorithm_t hash;
	gnutls_sign_algorithm_t algorithm;
	gnutls_datum_t signature = { NULL, 0 };
	int code;

	code = gnutls_pubkey_get_preferred_hash_algorithm(public, &hash, NULL);
	if (code < 0)
		return code;
	algorithm = gnutls_pk_to_sign(
	    (gnutls_pk_algorithm_t)gnutls_pubkey_get_pk_algorithm(public, NULL), hash);
	code = gnutls_privkey_sign_data2(key, algorithm, 0, &data, &signature);
	if (code >= 0 && gnutls_pubkey_verify_data2(public, algorithm, 0, &data, &signature) < 0)
		code = GNUTLS_E_CERTIFICATE_KEY_MISMATCH;
	gnutls_free(signature.data);
	return code;
}

/* The public key of the first certificate in base64 of PEM. Returns a GnuTLS code. */
static int
public_read(struct slice base64, gnutls_pubkey_t public)
{
	const gnutls_datum_t in = { (unsigned char *)(uintptr_t)base64.ptr, (unsigned)base64.len };
	gnutls_datum_t pem = { NULL, 0 };
	gnutls_x509_crt_t crt = NULL;
	int code = gnutls_base64_decode2(&in, &pem);

	if (code == 0)
		code = gnutls_x509_crt_init(&crt);
	if (code == 0)
		code = gnutls_x509_crt_import(crt, &pem, GNUTLS_X509_FMT_PEM);
	if (code == 0)
		code = gnutls_pubkey_import_x509(public, crt, 0);
	if (crt != NULL)
		gnutls_x509_crt_deinit(crt);
	gnutls_free(pem.data);
	return code;
}

int
token_key(const char *uri, char *pin, struct slice certificate, gnutls_privkey_t *out,
    unsigned char id[KEY_ID_SIZE])
{
	gnutls_privkey_t key = NULL;
	gnutls_pubkey_t public = NULL;
	int code = gnutls_privkey_init(&key);

	if (code == 0) {
		gnutls_privkey_set_pin_function(key, pin_give, pin);
		code = gnutls_privkey_import_url(key, uri, 0);
	}
	if (code == 0)
		code = gnutls_pubkey_init(&public);
	if (code == 0)
		code = public_read(certificate, public);
	if (code == 0)
		code = key_try(key, public);
	if (code >= 0)
		code = key_identify(public, id);
	if (public != NULL)
		gnutls_pubkey_deinit(public);
	if (code < 0) {
		log_error("token refused", "uri=%s error=\"%s\"", log_quote(slice_string(uri)),
		    gnutls_strerror(code));
		if (key != NULL)
			gnutls_privkey_deinit(key);
		key = NULL;
	}
	*out = key;
	return code < 0 ? E_SYSTEM : OK;
}
