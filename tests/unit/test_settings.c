/*
 * test_settings.c: aldis.conf: what is refused and where, defaults, and who gets what.
 *
 * Links: router/aldisd
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <gnutls/gnutls.h>
#include <gnutls/x509.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "aldisd.h"
#include "error.h"

#define DOMAIN "domain \"example.org\" { certificate = \"a.pem\" key = \"a.key\" }\n"

static char directory[] = "/tmp/aldis-settings-XXXXXX";
static char secret[64]; /* a piece of base64 from the key's slice */

static char *
path_in(const char *name)
{
	static char path[128];

	snprintf(path, sizeof path, "%s/%s", directory, name);
	return path;
}

static void
write_file(const char *name, const void *bytes, size_t len)
{
	FILE *file = fopen(path_in(name), "w");

	assert_non_null(file);
	assert_int_equal(fwrite(bytes, 1, len, file), len);
	fclose(file);
}

/* Makes NAME.pem and NAME.key, a self-signed pair for example.org. */
static void
make_pair(const char *name, time_t expires)
{
	gnutls_x509_privkey_t key;
	gnutls_x509_crt_t crt;
	gnutls_datum_t pem;
	char file[32];

	gnutls_x509_privkey_init(&key);
	gnutls_x509_privkey_generate(key, GNUTLS_PK_ECDSA,
	    GNUTLS_CURVE_TO_BITS(GNUTLS_ECC_CURVE_SECP256R1), 0);
	gnutls_x509_crt_init(&crt);
	gnutls_x509_crt_set_version(crt, 3);
	gnutls_x509_crt_set_serial(crt, "\1", 1);
	gnutls_x509_crt_set_activation_time(crt, 1);
	gnutls_x509_crt_set_expiration_time(crt, expires);
	gnutls_x509_crt_set_subject_alt_name(crt, GNUTLS_SAN_DNSNAME, "example.org", 11, 0);
	gnutls_x509_crt_set_key(crt, key);
	assert_int_equal(gnutls_x509_crt_sign2(crt, crt, key, GNUTLS_DIG_SHA256, 0), 0);
	gnutls_x509_crt_export2(crt, GNUTLS_X509_FMT_PEM, &pem);
	snprintf(file, sizeof file, "%s.pem", name);
	write_file(file, pem.data, pem.size);
	gnutls_free(pem.data);
	gnutls_x509_privkey_export2(key, GNUTLS_X509_FMT_PEM, &pem);
	snprintf(file, sizeof file, "%s.key", name);
	write_file(file, pem.data, pem.size);
	gnutls_free(pem.data);
	gnutls_x509_crt_deinit(crt);
	gnutls_x509_privkey_deinit(key);
}

static int
group_setup(void **state)
{
	(void)state;
	if (mkdtemp(directory) == NULL)
		return -1;
	make_pair("a", time(NULL) + 86400);
	make_pair("b", time(NULL) + 86400);
	make_pair("old", time(NULL) - 86400);
	write_file("not.pem", "hello\n", 6);
	return 0;
}

static int
group_teardown(void **state)
{
	static const char *const names[] = {
		"a.pem", "a.key", "b.pem", "b.key", "old.pem", "old.key", "not.pem", "aldis.conf",
	};
	size_t i;

	(void)state;
	for (i = 0; i < sizeof names / sizeof names[0]; i++)
		unlink(path_in(names[i]));
	return rmdir(directory);
}

/* Reads a configuration; the messages are a string to be freed. */
static int
read_text(const char *text, char **messages, struct settings **settings)
{
	struct buf b = { 0 };
	int error;

	write_file("aldis.conf", text, strlen(text));
	error = settings_read(path_in("aldis.conf"), &b, settings);
	*messages = slice_dup(buf_slice(&b));
	buf_free(&b);
	return error;
}

static struct settings *
read_good(const char *text)
{
	struct settings *settings = NULL;
	char *messages;
	int error = read_text(text, &messages, &settings);

	if (error)
		print_error("%s", messages);
	assert_int_equal(error, OK);
	free(messages);
	return settings;
}

/* The file is refused with exactly this message at this line. */
static void
expect_error(const char *text, int line, const char *message)
{
	struct settings *settings;
	char *messages, expected[512];

	assert_int_equal(read_text(text, &messages, &settings), E_MALFORMED);
	assert_null(settings);
	snprintf(expected, sizeof expected, "%s:%d: %s\n", path_in("aldis.conf"), line, message);
	assert_string_equal(messages, expected);
	free(messages);
}

static void
test_errors(void **state)
{
	(void)state;
	expect_error(DOMAIN "c2s {\n\tstanza-size = 12Q\n}\n", 3, "c2s: stanza-size: \"12Q\" is not a "
	    "size: a number, with K, M, G or T behind it or nothing for bytes");
	expect_error(DOMAIN "c2s { workers = \"many\" }\n", 2, "c2s: workers: \"many\" is not a number");
	expect_error(DOMAIN "c2s { workers = 65 }\n", 2, "c2s: workers: \"65\" is more than 64");
	expect_error("\n\nlog-level = loud\n" DOMAIN, 3,
	    "log-level: \"loud\" is not error, warn, info or debug");
	expect_error(DOMAIN "c2s {\n listen = {\"[::]:5222\",\n \"example.org:5222\"}\n}\n", 4,
	    "c2s: listen: \"example.org:5222\" is not an address like \"[::]:5222\" or "
	    "\"192.0.2.1:5222\"");
	expect_error(DOMAIN "c2s { resume-time = 10y }\n", 2, "c2s: resume-time: \"10y\" is not a time of "
	    "at most 36600 days: a number, with s, m, h or d behind it or nothing for seconds");
	expect_error(DOMAIN "c2s { resume-time = 367d }\n", 2,
	    "c2s: resume-time: \"367d\" is more than 366 days");
	expect_error(DOMAIN "c2s { stanza-size = 0 }\n", 2, "c2s: stanza-size: \"0\" must not be 0");
	expect_error(DOMAIN "c2s { stanza-depth = 61 }\n", 2, "c2s: stanza-depth: \"61\" is not 1 to 60");
	expect_error(DOMAIN "archive { page-messages = 0 }\n", 2,
	    "archive: page-messages: \"0\" is not 1 to 250");
	expect_error(DOMAIN "c2s { tls-priority = \"SSL2\" }\n", 2,
	    "c2s: tls-priority: \"SSL2\" is not a priority string that GnuTLS understands");
	expect_error("domain \"example.org\" {\n contact-abuse = {\"mailto:a@b\",\n \"abuse@b\"}\n}\n", 3,
	    "domain \"example.org\": contact-abuse: \"abuse@b\" is not a URI like \"mailto:xmpp@example.org\"");
	expect_error("domain \"example.org\" { contact-admin = {\"https:\"} }\n", 1, "domain \"example.org\": "
	    "contact-admin: \"https:\" is not a URI like \"mailto:xmpp@example.org\"");
	expect_error("domain \"example.org\" { contact-sales = {\"https://<b>\"} }\n", 1, "domain "
	    "\"example.org\": contact-sales: \"https://<b>\" has a character in it that a URI cannot have");
	expect_error("domain \"example.org\" { admins = {\"a@b/c\"} }\n", 1, "domain \"example.org\": admins: "
	    "\"a@b/c\" is not an account like \"juliet@example.org\"");
	expect_error("admins = {\"example.org\"}\n" DOMAIN, 1,
	    "admins: \"example.org\" is not an account like \"juliet@example.org\"");
	expect_error("state-directory = \"here\"\n" DOMAIN, 1,
	    "state-directory: \"here\" is not an absolute path");
}

/* libconfuse's own errors come with the line too. */
static void
test_unknown(void **state)
{
	struct settings *settings;
	char *messages, expected[256];

	(void)state;
	expect_error(DOMAIN "c2s {\n\n\tstanzasize = 1\n}\n", 4, "c2s: no such option 'stanzasize'");
	expect_error(DOMAIN "c3s {\n}\n", 2, "no such option 'c3s'");
	expect_error(DOMAIN "\n\"\" = 1\n", 3, "syntax error"); /* of which it says nothing */
	/* A file that was cut off. */
	expect_error(DOMAIN "c2s {\n", 3, "c2s: the file ends before the section is closed");
	assert_int_equal(read_text(DOMAIN "/* c2s { }\n", &messages, &settings), E_MALFORMED);
	assert_non_null(strstr(messages, "the file ends within a comment"));
	free(messages);
	assert_int_equal(read_text(DOMAIN "log = \"syslog\n", &messages, &settings), E_MALFORMED);
	assert_int_not_equal(strlen(messages), 0);
	free(messages);
	snprintf(expected, sizeof expected, "%s: No such file or directory\n", path_in("none.conf"));
	{
		struct buf b = { 0 };

		assert_int_equal(settings_read(path_in("none.conf"), &b, &settings), E_MALFORMED);
		buf_add_char(&b, '\0');
		assert_string_equal(b.bytes, expected);
		buf_free(&b);
	}
}

static void
test_domain_errors(void **state)
{
	struct settings *settings;
	char message[256], *messages;

	(void)state;
	assert_int_equal(read_text("log = stderr\n", &messages, &settings), E_MALFORMED);
	assert_non_null(strstr(messages, "aldis.conf: there is no domain: at least one domain"));
	free(messages);
	expect_error("domain \"exa mple\" {\n}\n", 2, "domain \"exa mple\": not a domain name");
	expect_error(DOMAIN "domain \"Example.ORG.\" { }\n", 2,
	    "domain \"Example.ORG.\": the domain is there twice");
	expect_error("domain \"example.org\" {\n certificate = \"a.pem\"\n}\n", 3,
	    "domain \"example.org\": key is missing");
	expect_error("domain \"example.org\" { key = \"a.key\" }\n", 1,
	    "domain \"example.org\": certificate is missing");
	expect_error("domain \"example.org\" { certificate = \"a.pem\" key = \"b.key\" }\n", 1,
	    "domain \"example.org\": key: it does not belong to the certificate");
	expect_error("domain \"example.org\" { certificate = \"not.pem\" key = \"b.key\" }\n", 1,
	    "domain \"example.org\": certificate: there is no certificate in PEM form in the file");
	expect_error("domain \"example.org\" { certificate = \"a.pem\" key = \"a.pem\" }\n", 1,
	    "domain \"example.org\": key: there is no private key in PEM form in the file");
	snprintf(message, sizeof message, "domain \"example.org\": certificate: %s: No such file or "
	    "directory", path_in("none.pem"));
	expect_error("domain \"example.org\" { certificate = \"none.pem\" key = \"a.key\" }\n", 1,
	    message);
	expect_error("domain \"example.org\" {\n registration = maybe\n}\n", 2,
	    "domain \"example.org\": registration: \"maybe\" is not no, invited or yes");
}

static void
test_warnings(void **state)
{
	struct settings *settings;
	char *messages;

	(void)state;
	assert_int_equal(read_text("domain \"example.org\" { certificate = \"old.pem\" key = \"old.key\" }"
	    "\ndomain \"example.net\" { certificate = \"a.pem\" key = \"a.key\" }\n", &messages,
	    &settings), OK);
	assert_non_null(strstr(messages, ":1: domain \"example.org\": warning: certificate: it has "
	    "expired\n"));
	assert_non_null(strstr(messages, ":2: domain \"example.net\": warning: certificate: it is not for "
	    "this domain\n"));
	free(messages);
	settings_free(&settings);
}

static const struct row {
	const char *section, *name, *fallback, *roles;
} rows[] = {
#define OPTION(section, name, type, fallback, roles, live, help) { section, name, fallback, #roles },
#include "option.def"
#undef OPTION
};

static struct config *
slice_of_role(const struct settings *settings, enum role role)
{
	struct config *config;

	assert_int_equal(config_read(settings_slice(settings, role), &config), OK);
	return config;
}

/* Whether option.def names the role in the row; written anew here, so not the code under test. */
static bool
may_see(const struct row *row, const char *role)
{
	const char *at = row->roles;
	size_t len = strlen(role);

	if (strcmp(row->roles, "EVERYBODY") == 0)
		return true;
	while ((at = strstr(at, role)) != NULL) {
		if ((at == row->roles || at[-1] == ' ') && (at[len] == '\0' || at[len] == ' '))
			return true;
		at += len;
	}
	return false;
}

/* Sections about other domains: a domain of ours is none of them, and only a peer may be a pattern. */
static void
test_other_domains(void **state)
{
	struct settings *settings = read_good(DOMAIN "peer \"*.Example.NET.\" { policy = refuse }\n");
	struct config *config = slice_of_role(settings, ROLE_S2SD);

	(void)state;
	assert_true(slice_is(config_text(config, "peer", "*.example.net", "policy"), "refuse"));
	config_free(&config);
	settings_free(&settings);
	expect_error(DOMAIN "component \"Example.org\" { }\n", 2,
	    "component \"Example.org\": the domain is one with accounts here");
	expect_error(DOMAIN "component \"*.example.net\" { }\n", 2,
	    "component \"*.example.net\": not a domain name");
	expect_error(DOMAIN "component \"c.test\" { certificate = \"a.pem\" }\n", 2,
	    "component \"c.test\": key is missing");
	expect_error(DOMAIN "component \"c.test\" { key = \"a.key\" }\n", 2,
	    "component \"c.test\": certificate is missing");
	expect_error(DOMAIN "component \"c.test\" { pin-file = \"a.key\" }\n", 2,
	    "component \"c.test\": pin-file: there is no key");
	expect_error(DOMAIN "component \"c.test\" { certificate = \"a.pem\" key = \"b.key\" }\n", 2,
	    "component \"c.test\": key: it does not belong to the certificate");
	expect_error(DOMAIN "peer \"a.test\" { }\npeer \"A.test\" { }\n", 3,
	    "peer \"A.test\": the domain is there twice");
	expect_error(DOMAIN "peer \"a.test\" { policy = perhaps }\n", 2,
	    "peer \"a.test\": policy: \"perhaps\" is not allow or refuse");
	expect_error(DOMAIN "peer \"a.test\" { authentication = trust }\n", 2,
	    "peer \"a.test\": authentication: \"trust\" is not certificate or dialback");
	expect_error(DOMAIN "s2s { ocsp-fetch = yes }\n", 2,
	    "s2s: ocsp-fetch: \"yes\" is not off, try or require");
	expect_error(DOMAIN "peer \"a.test\" { ocsp-responder = \"https://a.test/\" }\n", 2,
	    "peer \"a.test\": ocsp-responder: \"https://a.test/\" is not an http URL of at most 500 characters");
}

/* Every role gets all options that option.def gives it, and no other. */
static void
test_slices(void **state)
{
	static const struct {
		enum role role;
		const char *name;
	} roles[] = {
		{ ROLE_NONE, "SUPERVISOR" }, { ROLE_ROUTER, "ROUTER" }, { ROLE_AUTHD, "AUTHD" },
		{ ROLE_ARCHIVED, "ARCHIVED" }, { ROLE_C2SD, "C2SD" }, { ROLE_S2SD, "S2SD" },
		{ ROLE_MUCD, "MUCD" }, { ROLE_FORMSD, "FORMSD" }, { ROLE_SNMPD, "SNMPD" },
	};
	/* A list that is empty by default would not show. */
	struct settings *settings = read_good("admins = {\"a@b\"}\n"
	    "domain \"example.org\" { certificate = \"a.pem\" key = \"a.key\" admins = {\"a@b\"}\n"
	    "services = {\"stun:a\"} report-to = {\"a@b\"} contact-abuse = {\"a:b\"} contact-admin = {\"a:b\"} contact-feedback = {\"a:b\"}\n"
	    "contact-sales = {\"a:b\"} contact-security = {\"a:b\"} contact-status = {\"a:b\"}\n"
	    "contact-support = {\"a:b\"} }\nauth { pkcs11-paths = {\"/dev/null\"} }\n"
	    "s2s { listen-tls = {\"[::]:5270\"} listen-component = {\"[::1]:5347\"}\n"
	    "crl-files = {\"/x\"} }\n"
	    "component \"example.org.test\" { secret = \"x\" name = \"y\" }\n"
	    "rooms \"rooms.example.org\" { admins = {\"a@b\"} }\n"
	    "peer \"*.example.net\" { address = {\"192.0.2.1:5269\"} }\n");
	size_t i, r;

	(void)state;
	for (r = 0; r < sizeof roles / sizeof roles[0]; r++) {
		struct config *config = slice_of_role(settings, roles[r].role);

		for (i = 0; i < sizeof rows / sizeof rows[0]; i++) {
			const char *title = strcmp(rows[i].section, "domain") == 0 ? "example.org" :
			    strcmp(rows[i].section, "component") == 0 ? "example.org.test" :
			    strcmp(rows[i].section, "rooms") == 0 ? "rooms.example.org" :
			    strcmp(rows[i].section, "peer") == 0 ? "*.example.net" : "";
			struct slice value;

			if (config_list(config, rows[i].section, title, rows[i].name, 0, &value) !=
			    may_see(&rows[i], roles[r].name))
				fail_msg("%s: %s %s", roles[r].name, rows[i].section, rows[i].name);
		}
		config_free(&config);
	}
	settings_free(&settings);
}

/* The bytes of a key are nowhere but in authd's slice. */
static void
test_key_material(void **state)
{
	struct settings *settings = read_good(DOMAIN);
	struct config *authd = slice_of_role(settings, ROLE_AUTHD);
	struct slice key = config_text(authd, "domain", "example.org", "key");
	struct slice certificate = config_text(authd, "domain", "example.org", "certificate");
	unsigned role;

	(void)state;
	assert_true(key.len > 150);
	/* From the middle: the armour is the same in all files. */
	memcpy(secret, key.ptr + key.len / 2, 40);
	for (role = 0; role < ROLE_COUNT; role++) {
		struct slice slice = settings_slice(settings, (enum role)role);

		assert_int_equal(memmem(slice.ptr, slice.len, secret, 40) != NULL, role == ROLE_AUTHD);
	}
	assert_null(memchr(key.ptr, '\n', key.len));
	assert_memory_equal(certificate.ptr, "LS0tLS1CRUdJTiBDRVJUSUZJQ0FURS0tLS0t", 36);
	config_free(&authd);
	settings_free(&settings);
}

static void
test_defaults(void **state)
{
	struct settings *settings = read_good(DOMAIN);
	struct config *c2sd = slice_of_role(settings, ROLE_C2SD);
	struct config *authd = slice_of_role(settings, ROLE_AUTHD);
	struct slice value;
	char *text;

	(void)state;
	assert_int_equal(config_number(c2sd, "c2s", "", "stanza-size"), 256 * 1024);
	assert_int_equal(config_number(c2sd, "c2s", "", "resume-time"), 600);
	assert_true(slice_is(config_text(c2sd, "", "", "log-level"), "info"));
	assert_false(config_flag(authd, "domain", "example.org", "registration"));
	assert_true(config_list(authd, "auth", "", "mechanisms", 6, &value));
	assert_true(slice_is(value, "PLAIN"));
	assert_false(config_list(authd, "auth", "", "mechanisms", 7, &value));
	text = settings_string(settings, "state-directory");
	assert_string_equal(text, "/var/lib/aldis");
	free(text);
	config_free(&c2sd);
	config_free(&authd);
	settings_free(&settings);
}

/* A key in a token: authd gets its URI without the source of the PIN, and the PIN; nobody else. */
static void
test_token(void **state)
{
	static const char uri[] = "key = \"pkcs11:token=a%20b;object=c;type=private";
	size_t i;
	int role;

	(void)state;
	write_file("pin", "1234\r\n", 6);
	for (i = 0; i < 2; i++) {
		struct settings *settings;
		struct config *config;
		char text[512];

		snprintf(text, sizeof text, "domain \"example.org\" { certificate = \"a.pem\"\n"
		    "%s%s%s%s\" }\n", i == 0 ? "pin-file = \"pin\"\n" : "", uri,
		    i == 0 ? "" : "?pin-source=file:", i == 0 ? "" : path_in("%70in"));
		settings = read_good(text);
		config = slice_of_role(settings, ROLE_AUTHD);
		assert_true(slice_is(config_text(config, "domain", "example.org", "key"),
		    "pkcs11:token=a%20b;object=c;type=private"));
		assert_true(slice_is(config_text(config, "domain", "example.org", "pin-file"),
		    "MTIzNA=="));
		config_free(&config);
		for (role = 0; role < ROLE_COUNT; role++) {
			struct slice slice = settings_slice(settings, (enum role)role);

			assert_int_equal(memmem(slice.ptr, slice.len, "MTIzNA==", 8) != NULL,
			    role == ROLE_AUTHD);
			assert_int_equal(memmem(slice.ptr, slice.len, "token=a", 7) != NULL,
			    role == ROLE_AUTHD);
		}
		settings_free(&settings);
	}
	unlink(path_in("pin"));
}

/* Each default in option.def is one that would be accepted in the file. */
static void
test_defaults_are_valid(void **state)
{
	const struct setting *setting;
	struct buf out = { 0 };
	const char *problem;

	(void)state;
	for (setting = settings_all; setting->name != NULL; setting++) {
		char *words = strdup(setting->fallback), *word;
		char *rest = words[0] != '\0' ? words : NULL;

		while (setting->type == SETTING_LIST && (word = strsep(&rest, " ")) != NULL)
			assert_null(setting_value(setting, word, &out));
		if (setting->type != SETTING_LIST) {
			problem = setting_value(setting, setting->fallback, &out);
			if (problem != NULL)
				fail_msg("%s: %s", setting->name, problem);
		}
		free(words);
	}
	buf_free(&out);
}

static void
test_values(void **state)
{
	struct settings *settings = read_good(
	    "# a comment\n"
	    "log-level = debug\n"
	    "domain Example.ORG { certificate = a.pem key = a.key registration = yes }\n"
	    "domain \"b\\xc3\\xbc" "cher.example\" {\n certificate = \"a.pem\"\n key = \"a.key\"\n}\n"
	    "c2s {\n"
	    "  listen = {\"127.0.0.1:0\", \"[::1]:6222\"}\n"
	    "  listen-tls = {}\n"
	    "  stanza-size = 2M\n  resume-time = 2h\n  workers = 3\n"
	    "}\n"
	    "auth { mechanisms = {\"PLAIN\"} }\n");
	struct config *c2sd = slice_of_role(settings, ROLE_C2SD);
	struct config *authd = slice_of_role(settings, ROLE_AUTHD);
	const struct config *own = settings_own(settings);
	struct slice value;

	(void)state;
	assert_int_equal(config_number(c2sd, "c2s", "", "stanza-size"), 2 << 20);
	assert_int_equal(config_number(c2sd, "c2s", "", "resume-time"), 7200);
	assert_true(config_flag(authd, "domain", "example.org", "registration"));
	assert_true(config_title(authd, "domain", 1, &value));
	assert_true(slice_is(value, "b\xc3\xbc" "cher.example"));
	assert_false(config_title(authd, "domain", 2, &value));
	assert_int_equal(config_number(own, "c2s", "", "workers"), 3);
	assert_true(config_list(own, "c2s", "", "listen", 1, &value));
	assert_true(slice_is(value, "[::1]:6222"));
	assert_false(config_list(own, "c2s", "", "listen-tls", 0, &value));
	assert_true(config_list(authd, "auth", "", "mechanisms", 0, &value));
	assert_false(config_list(authd, "auth", "", "mechanisms", 1, &value));
	config_free(&c2sd);
	config_free(&authd);
	settings_free(&settings);
}

static void
test_address(void **state)
{
	static const char *const good[] = {
		"[::]:5222", "0.0.0.0:5222", "127.0.0.1:0", "[2001:db8::1]:65535",
	};
	static const char *const bad[] = {
		"", ":", ":5222", "5222", "[]:5222", "[::]:", "[::]:65536", "[::1:5222", "::1:5222",
		"1.2.3:5222", "[1.2.3.4]:5222", "localhost:5222", "1.2.3.4:-1", "1.2.3.4:5222 ",
		"[1111:2222:3333:4444:5555:6666:7777:8888:9999:aaaa:bbbb]:5222",
	};
	struct sockaddr_storage address;
	socklen_t len;
	size_t i;

	(void)state;
	for (i = 0; i < sizeof good / sizeof good[0]; i++)
		assert_int_equal(listener_address(slice_string(good[i]), &address, &len), OK);
	for (i = 0; i < sizeof bad / sizeof bad[0]; i++)
		assert_int_equal(listener_address(slice_string(bad[i]), &address, &len), E_MALFORMED);
}

static void
test_base64(void **state)
{
	static const char *const pairs[][2] = {
		{ "", "" }, { "f", "Zg==" }, { "fo", "Zm8=" }, { "foo", "Zm9v" }, { "foobar", "Zm9vYmFy" },
	};
	struct buf out = { 0 };
	size_t i;

	(void)state;
	for (i = 0; i < sizeof pairs / sizeof pairs[0]; i++) {
		buf_clear(&out);
		setting_base64(slice_string(pairs[i][0]), &out);
		assert_true(slice_is(buf_slice(&out), pairs[i][1]));
	}
	buf_free(&out);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_errors), cmocka_unit_test(test_unknown),
		cmocka_unit_test(test_domain_errors),
		cmocka_unit_test(test_other_domains), cmocka_unit_test(test_warnings),
		cmocka_unit_test(test_slices), cmocka_unit_test(test_key_material),
		cmocka_unit_test(test_defaults), cmocka_unit_test(test_token),
		cmocka_unit_test(test_defaults_are_valid),
		cmocka_unit_test(test_values), cmocka_unit_test(test_address),
		cmocka_unit_test(test_base64),
	};

	return cmocka_run_group_tests(tests, group_setup, group_teardown);
}
