/*
 * fuzz_settings.c: aldis.conf, as aldisd reads it.
 *
 * Input: the file. A certificate "101" with the key "102" is a good pair for example.org.
 * Asserts: what is refused is refused with messages, each a line that begins with the file's name;
 * what is taken has a slice for each role that its daemon can read, with every option of that role
 * in every section, numbers that are numbers and flags that are flags; and no role gets a key but
 * authd.
 *
 * Links: router/aldisd
 * Options: -max_len=2048
 */
#include "fuzz.h"

#include <gnutls/gnutls.h>
#include <gnutls/x509.h>
#include <sys/mman.h>
#include <unistd.h>

#include "aldisd.h"

/* In memory, under names that do not change. */
#define FILE_CONFIG      100
#define FILE_CERTIFICATE 101
#define FILE_KEY         102
#define PATH             "/proc/self/fd/100"

static char secret[64]; /* a piece of the key as a slice has it */

static void
file_make(int fd, const void *bytes, size_t len)
{
	int made = memfd_create("fuzz", MFD_CLOEXEC);

	CHECK(made >= 0 && dup2(made, fd) == fd);
	close(made);
	CHECK(pwrite(fd, bytes, len, 0) == (ssize_t)len);
}

/* A self-signed pair. */
static void
pair_make(void)
{
	gnutls_x509_privkey_t key;
	gnutls_x509_crt_t crt;
	gnutls_datum_t pem;
	struct buf base64 = { 0 };

	gnutls_x509_privkey_init(&key);
	gnutls_x509_privkey_generate(key, GNUTLS_PK_ECDSA,
	    GNUTLS_CURVE_TO_BITS(GNUTLS_ECC_CURVE_SECP256R1), 0);
	gnutls_x509_crt_init(&crt);
	gnutls_x509_crt_set_version(crt, 3);
	gnutls_x509_crt_set_serial(crt, "\1", 1);
	gnutls_x509_crt_set_activation_time(crt, 1);
	gnutls_x509_crt_set_expiration_time(crt, 4000000000);
	gnutls_x509_crt_set_subject_alt_name(crt, GNUTLS_SAN_DNSNAME, "example.org", 11, 0);
	gnutls_x509_crt_set_key(crt, key);
	CHECK(gnutls_x509_crt_sign2(crt, crt, key, GNUTLS_DIG_SHA256, 0) == 0);
	CHECK(gnutls_x509_crt_export2(crt, GNUTLS_X509_FMT_PEM, &pem) == 0);
	file_make(FILE_CERTIFICATE, pem.data, pem.size);
	gnutls_free(pem.data);
	CHECK(gnutls_x509_privkey_export2(key, GNUTLS_X509_FMT_PEM, &pem) == 0);
	file_make(FILE_KEY, pem.data, pem.size);
	setting_base64(slice_of(pem.data, pem.size), &base64);
	snprintf(secret, sizeof secret, "%.*s", 60, buf_slice(&base64).ptr + 60);
	buf_free(&base64);
	gnutls_free(pem.data);
	gnutls_x509_crt_deinit(crt);
	gnutls_x509_privkey_deinit(key);
}

int
LLVMFuzzerInitialize(int *argc, char ***argv)
{
	(void)argc;
	(void)argv;
	pair_make();
	file_make(FILE_CONFIG, "", 0);
	return 0;
}

static void
check_messages(struct slice messages, bool refused)
{
	CHECK(!refused || messages.len != 0);
	CHECK(messages.len == 0 || messages.ptr[messages.len - 1] == '\n');
	CHECK(messages.len == 0 || slice_starts(messages, SLICE(PATH ":")));
}

/* An option of one section in a slice. */
static void
check_option(const struct config *config, const struct setting *setting, const char *title)
{
	struct slice value;

	if (setting->type == SETTING_NUMBER || setting->type == SETTING_SIZE ||
	    setting->type == SETTING_TIME)
		(void)config_number(config, setting->section, title, setting->name);
	else if (setting->type == SETTING_FLAG)
		(void)config_flag(config, setting->section, title, setting->name);
	else if (setting->type != SETTING_LIST)
		(void)config_text(config, setting->section, title, setting->name);
	else
		config_list(config, setting->section, title, setting->name, 0, &value);
}

/* True if a section is written once for each title. */
static bool
has_titles(const char *section)
{
	return strcmp(section, "domain") == 0 || strcmp(section, "component") == 0 ||
	    strcmp(section, "peer") == 0 || strcmp(section, "rooms") == 0;
}

/* Asking for what is not there panics. */
static void
check_slice(struct slice text, enum role role)
{
	const struct setting *setting;
	struct config *config;
	struct slice title;
	char *name;
	size_t i;

	CHECK(config_read(text, &config) == OK);
	for (setting = settings_all; setting->name != NULL; setting++) {
		if ((setting->roles & ROLE_BIT(role)) == 0)
			continue;
		if (!has_titles(setting->section))
			check_option(config, setting, "");
		for (i = 0; has_titles(setting->section) &&
		    config_title(config, setting->section, i, &title); i++) {
			name = slice_dup(title);
			check_option(config, setting, name);
			free(name);
		}
	}
	config_free(&config);
	CHECK(role == ROLE_AUTHD || text.len == 0 ||
	    memmem(text.ptr, text.len, secret, strlen(secret)) == NULL);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct settings *settings = NULL;
	struct buf messages = { 0 };
	unsigned role;
	int error;

	CHECK(ftruncate(FILE_CONFIG, 0) == 0);
	CHECK(pwrite(FILE_CONFIG, data, size, 0) == (ssize_t)size);
	error = settings_read(PATH, &messages, &settings);
	CHECK((error == OK) == (settings != NULL));
	check_messages(buf_slice(&messages), error != OK);
	for (role = 0; settings != NULL && role < ROLE_COUNT; role++)
		check_slice(settings_slice(settings, (enum role)role), (enum role)role);
	settings_free(&settings);
	buf_free(&messages);
	return 0;
}
