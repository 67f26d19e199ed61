/*
 * settings.c: reads aldis.conf with libconfuse and cuts it into slices. Called by main.c at the
 * start and for -n, and by supervise.c on reload. Fails on anything in the file that is not right,
 * with its line.
 *
 * The tables that libconfuse wants are made from option.def. All values are strings for libconfuse;
 * what they mean is checked in setting.c, so that the messages are ours.
 */
#include <confuse.h>
#include <libgen.h>
#include <stdio.h>
#include <stdlib.h>

#include "aldisd.h"
#include "error.h"
#include "jid.h"
#include "mem.h"

#define DOMAIN "domain" /* a section for each domain of ours */

/* An option that is added behind the text. libconfuse takes the end of the file for the end of all
 * sections and comments: when this option has not arrived at the top, one was not closed. */
#define SENTINEL "end-of-file"

struct settings {
	struct buf slices[ROLE_COUNT];
	struct buf fixed[ROLE_COUNT]; /* of them, what the role does not take while it runs */
	struct config *own;
};

/* The file that is being read: libconfuse calls back without an argument of ours. */
static struct {
	struct buf *messages;
	const char *path;
	char *directory;   /* relative paths start here */
} reading;

/* -- messages ---------------------------------------------------------------------------------- */

/* Begins a message: "FILE:LINE: SECTION: ". */
static void
message_begin(cfg_t *cfg)
{
	/* libconfuse knows the file's name only in sections that it has just made. */
	buf_printf(reading.messages, "%s:%d: ", reading.path, cfg->line);
	if (cfg->title != NULL)
		buf_printf(reading.messages, "%s \"%s\": ", cfg->name, cfg->title);
	else if (strcmp(cfg->name, "root") != 0)
		buf_printf(reading.messages, "%s: ", cfg->name);
}

/* libconfuse's own messages, and those of cfg_error(). */
static void __attribute__((format(printf, 2, 0)))
on_error(cfg_t *cfg, const char *format, va_list args)
{
	char text[512];

	message_begin(cfg);
	vsnprintf(text, sizeof text, format, args);
	buf_add_string(reading.messages, strstr(text, "'" SENTINEL "'") == NULL ? text :
	    "the file ends before the section is closed");
	buf_add_char(reading.messages, '\n');
}

static void
warn(cfg_t *cfg, const char *text)
{
	message_begin(cfg);
	buf_printf(reading.messages, "warning: %s\n", text);
}

/* -- the tables of libconfuse ------------------------------------------------------------------ */

/* The absolute path of a file that is named in the configuration; to be freed. */
static char *
path_of(const char *name)
{
	struct buf path = { 0 };

	if (name[0] != '/')
		buf_printf(&path, "%s/", reading.directory);
	buf_add(&path, name, strlen(name) + 1);
	return path.bytes;
}

/* Called for every option in the file, when its line has been read. */
static int
option_check(cfg_t *cfg, cfg_opt_t *opt)
{
	const char *section = strcmp(cfg->name, "root") == 0 ? "" : cfg->name;
	const struct setting *setting = setting_find(section, opt->name);
	struct buf ignored = { 0 };
	const char *problem = NULL;
	unsigned i;

	for (i = 0; setting != NULL && problem == NULL && i < cfg_opt_size(opt); i++)
		problem = setting_value(setting, cfg_opt_getnstr(opt, i), &ignored);
	buf_free(&ignored);
	if (problem != NULL)
		cfg_error(cfg, "%s: %s", opt->name, problem);
	return problem != NULL ? -1 : 0;
}

/* The default of a list as libconfuse reads it; to be freed. */
static char *
list_default(const char *words)
{
	struct buf text = { 0 };
	const char *separator = "";

	buf_add_char(&text, '{');
	while (*words != '\0') {
		size_t len = strcspn(words, " ");

		buf_printf(&text, "%s\"%.*s\"", separator, (int)len, words);
		separator = ", ";
		words += len;
		words += strspn(words, " ");
	}
	buf_add(&text, "}", 2);
	return text.bytes;
}

/* The options of one section, ended by CFG_END; the caller frees def.parsed and the array. */
static cfg_opt_t *
section_table(const char *section, size_t room, size_t *count)
{
	const struct setting *setting;
	cfg_opt_t *table = mem_array(room + 1, sizeof *table);

	*count = 0;
	for (setting = settings_all; setting->name != NULL; setting++) {
		cfg_opt_t text = CFG_STR(setting->name, setting->fallback, CFGF_NONE);
		cfg_opt_t list = CFG_STR_LIST(setting->name, NULL, CFGF_NONE);

		if (strcmp(setting->section, section) != 0)
			continue;
		if (setting->type == SETTING_LIST)
			list.def.parsed = list_default(setting->fallback);
		table[*count] = setting->type == SETTING_LIST ? list : text;
		table[(*count)++].validcb = option_check;
	}
	table[*count] = (cfg_opt_t)CFG_END();
	return table;
}

static void
table_free(cfg_opt_t *table)
{
	size_t i;

	for (i = 0; table[i].name != NULL; i++) {
		free(table[i].def.parsed);
		if (table[i].subopts != NULL)
			table_free(table[i].subopts);
	}
	free(table);
}

/* Sections that there can be many of, each with a domain as its title. */
static const char *const titled[] = { DOMAIN, "component", "peer", "rooms" };
#define TITLED_COUNT (sizeof titled / sizeof titled[0])

static bool
is_titled(const char *section)
{
	size_t i;

	for (i = 0; i < TITLED_COUNT && strcmp(section, titled[i]) != 0; i++)
		;
	return i < TITLED_COUNT;
}

/* Whether this row is the first of its section. */
static bool
begins_section(const struct setting *setting)
{
	const struct setting *other;

	for (other = settings_all; other != setting; other++) {
		if (strcmp(other->section, setting->section) == 0)
			return false;
	}
	return true;
}

/* Makes a reader for the whole file. */
static cfg_t *
reader_new(void)
{
	const struct setting *setting;
	size_t total = 0, count, ignored;
	cfg_opt_t *table;
	cfg_t *cfg;

	for (setting = settings_all; setting->name != NULL; setting++)
		total++;
	table = section_table("", total + 1, &count);
	table[count++] = (cfg_opt_t)CFG_STR(SENTINEL, "", CFGF_NONE);
	for (setting = settings_all; setting->name != NULL; setting++) {
		cfg_opt_t section = CFG_SEC(setting->section, NULL, CFGF_NONE);

		if (setting->section[0] == '\0' || !begins_section(setting))
			continue;
		if (is_titled(setting->section))
			section.flags = CFGF_TITLE | CFGF_MULTI | CFGF_NO_TITLE_DUPES;
		section.subopts = section_table(setting->section, total, &ignored);
		table[count++] = section;
	}
	table[count] = (cfg_opt_t)CFG_END();
	cfg = cfg_init(table, CFGF_NONE);
	table_free(table);
	if (cfg != NULL)
		cfg_set_error_function(cfg, on_error);
	return cfg;
}

/* -- slices ------------------------------------------------------------------------------------ */

static void
add_escaped(struct buf *out, struct slice text)
{
	size_t i;

	for (i = 0; i < text.len; i++) {
		char c = text.ptr[i];

		if (c == '\\' || c == '\t' || c == '\n') {
			buf_add_char(out, '\\');
			c = c == '\t' ? 't' : c == '\n' ? 'n' : c;
		}
		buf_add_char(out, c);
	}
}

static void
line_add(struct buf *out, const struct setting *setting, struct slice title, struct slice value)
{
	buf_printf(out, "%s\t", setting->section);
	add_escaped(out, title);
	buf_printf(out, "\t%s\t", setting->name);
	add_escaped(out, value);
	buf_add_char(out, '\n');
}

/* Adds one value to the slices of those who may see it. */
static void
slices_add(struct settings *settings, const struct setting *setting, struct slice title,
    struct slice value)
{
	unsigned role;

	for (role = 0; role < ROLE_COUNT; role++) {
		if ((setting->roles & ROLE_BIT(role)) == 0)
			continue;
		line_add(&settings->slices[role], setting, title, value);
		if ((setting->live & ROLE_BIT(role)) == 0)
			line_add(&settings->fixed[role], setting, title, value);
	}
}

/* Adds all options of a section that are not files. */
static void
section_add(struct settings *settings, cfg_t *cfg, const char *section, struct slice title)
{
	const struct setting *setting;
	struct buf value = { 0 };
	unsigned i;

	for (setting = settings_all; setting->name != NULL; setting++) {
		if (strcmp(setting->section, section) != 0 || setting->type == SETTING_FILE)
			continue;
		for (i = 0; i < cfg_size(cfg, setting->name); i++) {
			buf_clear(&value);
			setting_value(setting, cfg_getnstr(cfg, setting->name, i), &value);
			slices_add(settings, setting, title, buf_slice(&value));
		}
	}
	buf_free(&value);
}

/* -- domains ----------------------------------------------------------------------------------- */

/* Reads a file for an option of this section. */
static int
file_read(cfg_t *cfg, const char *option, const char *name, struct buf *content)
{
	const char *problem;
	char *path;

	if (name == NULL || name[0] == '\0') {
		cfg_error(cfg, "%s is missing", option);
		return E_MALFORMED;
	}
	path = path_of(name);
	problem = setting_file(path, content);
	if (problem != NULL)
		cfg_error(cfg, "%s: %s: %s", option, path, problem);
	free(path);
	return problem != NULL ? E_MALFORMED : OK;
}

/* The value of an option of this section when it has one that is not empty, else NULL. */
static const char *
value_of(cfg_t *cfg, const char *option)
{
	const char *value = cfg_getstr(cfg, option);

	return value != NULL && value[0] != '\0' ? value : NULL;
}

static void
add_file(struct settings *settings, const cfg_t *cfg, const char *option, struct slice title,
    struct slice content)
{
	struct buf text = { .secret = true };

	setting_base64(content, &text);
	slices_add(settings, setting_find(cfg->name, option), title, buf_slice(&text));
	buf_free(&text);
}

/* Checks what can be checked of certificate and key; key absent: it is in a token. */
static int
pair_check(cfg_t *cfg, struct slice certificate, struct slice key, struct slice domain)
{
	const char *problem = NULL;
	char ascii[256];
	int error;

	if (jid_domain_ascii(domain, ascii))
		ascii[0] = '\0';
	error = certificate_check(certificate, key, ascii, &problem);
	if (error)
		cfg_error(cfg, "%s", problem);
	else if (problem != NULL)
		warn(cfg, problem);
	return error;
}

/* Adds a key that is in a file. */
static int
key_add(struct settings *settings, cfg_t *cfg, struct slice domain, struct slice certificate)
{
	struct buf key = { .secret = true };
	int error;

	error = file_read(cfg, "key", cfg_getstr(cfg, "key"), &key);
	if (error == OK && value_of(cfg, "pin-file") != NULL) {
		cfg_error(cfg, "pin-file: the key is not in a token");
		error = E_MALFORMED;
	}
	if (error == OK)
		error = pair_check(cfg, certificate, buf_slice(&key), domain);
	if (error == OK) {
		add_file(settings, cfg, "key", domain, buf_slice(&key));
		add_file(settings, cfg, "pin-file", domain, SLICE(""));
	}
	buf_free(&key);
	return error;
}

/* Reads the PIN for a token out of the file that pin-file names, or pin_source. */
static int
pin_add(struct settings *settings, cfg_t *cfg, struct slice domain, const char *pin_source)
{
	const char *name = value_of(cfg, "pin-file"), *problem = NULL;
	struct buf content = { .secret = true };
	struct slice pin = SLICE("");
	int error = OK;

	if (name != NULL && pin_source != NULL) {
		cfg_error(cfg, "pin-file: the key has a pin-source already");
		return E_MALFORMED;
	}
	name = name != NULL ? name : pin_source;
	if (name != NULL)
		error = file_read(cfg, "pin-file", name, &content);
	if (error == OK && name != NULL)
		problem = token_pin(buf_slice(&content), &pin);
	if (problem != NULL) {
		cfg_error(cfg, "pin-file: %s: %s", name, problem);
		error = E_MALFORMED;
	}
	if (error == OK)
		add_file(settings, cfg, "pin-file", domain, pin);
	buf_free(&content);
	return error;
}

/* Reads the secret for services, which is the one line of a file as a PIN is. */
static int
secret_add(struct settings *settings, cfg_t *cfg, struct slice domain)
{
	const char *name = value_of(cfg, "service-secret"), *problem = NULL;
	struct buf content = { .secret = true };
	struct slice secret = SLICE("");
	int error = OK;

	if (name != NULL)
		error = file_read(cfg, "service-secret", name, &content);
	if (error == OK && name != NULL)
		problem = token_pin(buf_slice(&content), &secret);
	if (problem != NULL) {
		cfg_error(cfg, "service-secret: %s: %s", name, problem);
		error = E_MALFORMED;
	}
	if (error == OK)
		add_file(settings, cfg, "service-secret", domain, secret);
	buf_free(&content);
	return error;
}

/* Adds a key that is in a PKCS#11 token: its URI, which is not base64 as it has a colon. */
static int
token_add(struct settings *settings, cfg_t *cfg, struct slice domain, struct slice certificate)
{
	struct buf uri = { 0 };
	char *pin_source = NULL;
	const char *problem = token_check(cfg_getstr(cfg, "key"), &uri, &pin_source);
	int error = OK;

	if (problem != NULL) {
		cfg_error(cfg, "key: %s", problem);
		error = E_MALFORMED;
	}
	if (error == OK)
		error = pair_check(cfg, certificate, SLICE_NONE, domain);
	if (error == OK)
		error = pin_add(settings, cfg, domain, pin_source);
	if (error == OK)
		slices_add(settings, setting_find(cfg->name, "key"), domain, buf_slice(&uri));
	free(pin_source);
	buf_free(&uri);
	return error;
}

/* Checks certificate and key of a domain and adds them. */
static int
credentials_add(struct settings *settings, cfg_t *cfg, struct slice domain)
{
	struct buf certificate = { 0 };
	const char *key = value_of(cfg, "key");
	int error;

	error = file_read(cfg, "certificate", cfg_getstr(cfg, "certificate"), &certificate);
	if (error == OK && key != NULL && token_named(key))
		error = token_add(settings, cfg, domain, buf_slice(&certificate));
	else if (error == OK)
		error = key_add(settings, cfg, domain, buf_slice(&certificate));
	if (error == OK)
		add_file(settings, cfg, "certificate", domain, buf_slice(&certificate));
	buf_free(&certificate);
	return error;
}

/* The same for who may have none: it has neither. */
static int
credentials_may_add(struct settings *settings, cfg_t *cfg, struct slice domain)
{
	static const char *const options[] = { "certificate", "key", "pin-file" };
	size_t i;

	if (value_of(cfg, "certificate") != NULL || value_of(cfg, "key") != NULL)
		return credentials_add(settings, cfg, domain);
	if (value_of(cfg, "pin-file") != NULL) {
		cfg_error(cfg, "pin-file: there is no key");
		return E_MALFORMED;
	}
	for (i = 0; i < sizeof options / sizeof options[0]; i++)
		add_file(settings, cfg, options[i], domain, SLICE(""));
	return OK;
}

/* Reads the title of a section: a domain, or with "*." before it its subdomains, which only a peer may
 * be. */
static int
title_read(cfg_t *section, char out[JID_PART_MAX + 3], struct slice *title)
{
	struct slice text = slice_string(cfg_title(section)), domain;
	size_t star = strcmp(section->name, "peer") == 0 && slice_starts(text, SLICE("*.")) ? 2 : 0;

	memcpy(out, "*.", 2);
	if (jid_prepare_domain(slice_part(text, star, text.len), out + star, &domain))
		return E_MALFORMED;
	*title = slice_of(out, star + domain.len);
	return OK;
}

/* Whether one of the first sections of a kind has this title once both are prepared. */
static bool
is_repeated(cfg_t *cfg, const char *kind, unsigned count, struct slice title)
{
	char out[JID_PART_MAX + 3];
	struct slice other;
	unsigned at;

	for (at = 0; at < count; at++) {
		if (title_read(cfg_getnsec(cfg, kind, at), out, &other) == OK &&
		    slice_equal(other, title))
			return true;
	}
	return false;
}

/* Adds a section with a title. */
static int
titled_add(struct settings *settings, cfg_t *cfg, const char *kind, unsigned i)
{
	cfg_t *section = cfg_getnsec(cfg, kind, i);
	bool own = strcmp(kind, DOMAIN) == 0;
	char out[JID_PART_MAX + 3];
	struct slice title;

	if (title_read(section, out, &title)) {
		cfg_error(section, "not a domain name");
		return E_MALFORMED;
	}
	if (is_repeated(cfg, kind, i, title)) {
		cfg_error(section, "the domain is there twice");
		return E_MALFORMED;
	}
	if (!own && is_repeated(cfg, DOMAIN, cfg_size(cfg, DOMAIN), title)) {
		cfg_error(section, "the domain is one with accounts here");
		return E_MALFORMED;
	}
	section_add(settings, section, kind, title);
	if (setting_find(kind, "certificate") == NULL)
		return OK;
	if (!own)
		return credentials_may_add(settings, section, title);
	return credentials_add(settings, section, title) || secret_add(settings, section, title)
	    ? E_MALFORMED : OK;
}

/* -- all of it --------------------------------------------------------------------------------- */

/* Cuts what was read into slices; goes on after a fault in a domain, to report all of them. */
static int
slices_make(struct settings *settings, cfg_t *cfg)
{
	const struct setting *setting;
	int error = OK;
	size_t kind;
	unsigned i;

	section_add(settings, cfg, "", SLICE(""));
	for (setting = settings_all; setting->name != NULL; setting++) {
		if (setting->section[0] == '\0' || !begins_section(setting))
			continue;
		if (!is_titled(setting->section))
			section_add(settings, cfg_getsec(cfg, setting->section), setting->section,
			    SLICE(""));
	}
	for (kind = 0; kind < TITLED_COUNT; kind++) {
		for (i = 0; i < cfg_size(cfg, titled[kind]); i++) {
			if (titled_add(settings, cfg, titled[kind], i))
				error = E_MALFORMED;
		}
	}
	if (cfg_size(cfg, DOMAIN) == 0) {
		buf_printf(reading.messages, "%s: there is no domain: at least one domain \"NAME\" "
		    "{ ... } is needed\n", reading.path);
		error = E_MALFORMED;
	}
	return error;
}

/* Has libconfuse read the file. */
static int
file_parse(cfg_t *cfg, const char *path)
{
	struct buf text = { 0 };
	const char *problem = setting_file(path, &text);
	size_t said = buf_len(reading.messages);
	int error = OK;

	if (problem != NULL) {
		buf_printf(reading.messages, "%s: %s\n", path, problem);
		error = E_MALFORMED;
	} else {
		if (buf_len(&text) != 0 && text.bytes[text.end - 1] != '\n')
			buf_add_char(&text, '\n');
		buf_add_string(&text, SENTINEL " = 1\n");
		buf_add_char(&text, '\0');
		if (cfg_parse_buf(cfg, text.bytes) != CFG_SUCCESS) {
			error = E_MALFORMED;
			/* libconfuse is silent when an option's name is an empty string. */
			if (buf_len(reading.messages) == said)
				cfg_error(cfg, "syntax error");
		} else if (cfg_getstr(cfg, SENTINEL)[0] == '\0') {
			buf_printf(reading.messages,
			    "%s: the file ends within a comment or a string\n", path);
			error = E_MALFORMED;
		}
	}
	buf_free(&text);
	return error;
}

int
settings_read(const char *path, struct buf *messages, struct settings **settings)
{
	struct settings *made = mem_alloc(sizeof *made);
	char *copy = mem_string(path);
	cfg_t *cfg;
	int error;

	made->slices[ROLE_AUTHD].secret = made->fixed[ROLE_AUTHD].secret = true;
	reading.messages = messages;
	reading.path = path;
	reading.directory = dirname(copy);
	cfg = reader_new();
	error = cfg != NULL ? file_parse(cfg, path) : E_SYSTEM;
	if (error == OK)
		error = slices_make(made, cfg);
	if (error == OK)
		error = config_read(buf_slice(&made->slices[ROLE_NONE]), &made->own);
	if (cfg != NULL)
		cfg_free(cfg);
	free(copy);
	memset(&reading, 0, sizeof reading);
	if (error)
		settings_free(&made);
	*settings = made;
	return error;
}

void
settings_free(struct settings **settings)
{
	unsigned role;

	if (*settings == NULL)
		return;
	for (role = 0; role < ROLE_COUNT; role++) {
		(*settings)->slices[role].secret = (*settings)->fixed[role].secret = true;
		buf_free(&(*settings)->slices[role]);
		buf_free(&(*settings)->fixed[role]);
	}
	config_free(&(*settings)->own);
	MEM_FREE(settings);
}

struct slice
settings_slice(const struct settings *settings, enum role role)
{
	return buf_slice(&settings->slices[role]);
}

enum settings_change
settings_change(const struct settings *before, const struct settings *now, enum role role)
{
	if (slice_equal(settings_slice(before, role), settings_slice(now, role)))
		return CHANGE_NONE;
	return slice_equal(buf_slice(&before->fixed[role]), buf_slice(&now->fixed[role])) ?
	    CHANGE_LIVE : CHANGE_RESTART;
}

const struct config *
settings_own(const struct settings *settings)
{
	return settings->own;
}

char *
settings_string(const struct settings *settings, const char *option)
{
	return slice_dup(config_text(settings->own, "", "", option));
}
