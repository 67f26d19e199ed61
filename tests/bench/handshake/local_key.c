/*
 * local_key.c: for the bench alone: a library that handshake.py preloads into aldis-c2sd, so that the
 * same program signs with a key of its own, from the file in ALDIS_BENCH_KEY, and does not ask authd.
 * Fails like the function that it stands for.
 */
#include <gnutls/abstract.h>
#include <stdlib.h>

int
gnutls_privkey_import_ext4(gnutls_privkey_t key, void *arg, gnutls_privkey_sign_data_func sign_data,
    gnutls_privkey_sign_hash_func sign_hash, gnutls_privkey_decrypt_func decrypt,
    gnutls_privkey_deinit_func deinit, gnutls_privkey_info_func info, unsigned flags)
{
	const char *path = getenv("ALDIS_BENCH_KEY");
	gnutls_datum_t pem;
	int code;

	(void)arg;
	(void)sign_data;
	(void)sign_hash;
	(void)decrypt;
	(void)deinit;
	(void)info;
	(void)flags;
	if (path == NULL)
		return GNUTLS_E_FILE_ERROR;
	code = gnutls_load_file(path, &pem);
	if (code < 0)
		return code;
	code = gnutls_privkey_import_x509_raw(key, &pem, GNUTLS_X509_FMT_PEM, NULL, 0);
	gnutls_free(pem.data);
	return code;
}
