/*
 * setting.c: the rows of option.def, and the values that each may have. Called by settings.c for
 * each value in the file, and again when it is cut into slices. Wrong values are answered with a
 * text for the administrator.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "aldisd.h"
#include "error.h"
#include "jid.h"
#include "log.h"
#include "service.h"

#define FILE_SIZE_MAX (256u << 10)
#define SIZE_LARGEST  (1ull << 60)
#define URI_LEN_MAX   1024
#define RESPONDER_LEN_MAX 500
#define TIME_LARGEST  (36600ull * 86400)
#define YEAR          (366u * 86400u)

/* Who gets an option, in option.def. */
#define SUPERVISOR ROLE_BIT(ROLE_NONE)
#define ROUTER     ROLE_BIT(ROLE_ROUTER)
#define AUTHD      ROLE_BIT(ROLE_AUTHD)
#define ARCHIVED   ROLE_BIT(ROLE_ARCHIVED)
#define C2SD       ROLE_BIT(ROLE_C2SD)
#define S2SD       ROLE_BIT(ROLE_S2SD)
#define MUCD       ROLE_BIT(ROLE_MUCD)
#define FORMSD     ROLE_BIT(ROLE_FORMSD)
#define SNMPD      ROLE_BIT(ROLE_SNMPD)
#define NOBODY     0u
#define EVERYBODY  ((1u << ROLE_COUNT) - 1)

const struct setting settings_all[] = {
#define OPTION(section, name, type, fallback, roles, live, help) \
	{ section, name, SETTING_##type, fallback, roles, live, help },
#include "option.def"
#undef OPTION
	{ NULL, NULL, SETTING_TEXT, NULL, 0, 0, NULL },
};

const struct setting *
setting_find(const char *section, const char *name)
{
	const struct setting *setting;

	for (setting = settings_all; setting->name != NULL; setting++) {
		if (strcmp(setting->section, section) == 0 && strcmp(setting->name, name) == 0)
			return setting;
	}
	return NULL;
}

/* -- the types --------------------------------------------------------------------------------- */

struct unit {
	char letter;
	uint64_t factor;
};

/* Reads a number with an optional unit behind it. */
static int
quantity(struct slice text, const struct unit *units, uint64_t max, uint64_t *number)
{
	uint64_t factor = 1;
	int error;

	for (; text.len > 1 && units->letter != '\0'; units++) {
		if (text.ptr[text.len - 1] == units->letter) {
			factor = units->factor;
			text.len--;
			break;
		}
	}
	error = slice_number(text, max / factor, number);
	*number *= factor;
	return error;
}

static const char *
take_text(struct slice text, struct buf *out)
{
	buf_add_slice(out, text);
	return NULL;
}

static const char *
take_number(struct slice text, struct buf *out)
{
	uint64_t number = 0;

	if (slice_number(text, UINT32_MAX, &number))
		return "is not a number";
	buf_add_number(out, number);
	return NULL;
}

static const char *
take_size(struct slice text, struct buf *out)
{
	static const struct unit units[] = {
		{ 'K', 1ull << 10 }, { 'M', 1ull << 20 }, { 'G', 1ull << 30 }, { 'T', 1ull << 40 },
		{ '\0', 0 },
	};
	uint64_t number = 0;

	if (quantity(text, units, SIZE_LARGEST, &number))
		return "is not a size: a number, with K, M, G or T behind it or nothing for bytes";
	buf_add_number(out, number);
	return NULL;
}

static const char *
take_time(struct slice text, struct buf *out)
{
	static const struct unit units[] = {
		{ 's', 1 }, { 'm', 60 }, { 'h', 3600 }, { 'd', 86400 }, { '\0', 0 },
	};
	uint64_t number = 0;

	if (quantity(text, units, TIME_LARGEST, &number))
		return "is not a time of at most 36600 days: a number, with s, m, h or d behind it or "
		       "nothing for seconds";
	buf_add_number(out, number);
	return NULL;
}

static const char *
take_flag(struct slice text, struct buf *out)
{
	static const char *const words[][2] = {
		{ "no", "yes" }, { "off", "on" }, { "false", "true" },
	};
	size_t i;

	for (i = 0; i < sizeof words / sizeof words[0]; i++) {
		if (slice_is(text, words[i][0]) || slice_is(text, words[i][1])) {
			buf_add_string(out, slice_is(text, words[i][1]) ? "yes" : "no");
			return NULL;
		}
	}
	return "is not yes or no";
}

static const char *
take_word(struct slice text, struct buf *out)
{
	size_t i;

	for (i = 0; i < text.len; i++) {
		if (text.ptr[i] == ' ')
			return "has a space in it: the values of a list are {\"like\", \"this\"}";
	}
	if (text.len == 0)
		return "is empty";
	buf_add_slice(out, text);
	return NULL;
}

/* -- what single options want besides their type ----------------------------------------------- */

static const char *
check_level(struct slice value)
{
	enum log_level level;

	return log_level_of(value, &level) ? "is not error, warn, info or debug" : NULL;
}

static const char *
check_log(struct slice value)
{
	if (slice_is(value, "syslog") || slice_is(value, "stderr"))
		return NULL;
	return value.len != 0 && value.ptr[0] == '/' ? NULL :
	    "is not syslog, stderr or the absolute path of a file";
}

static const char *
check_path(struct slice value)
{
	return value.len > 1 && value.ptr[0] == '/' ? NULL : "is not an absolute path";
}

static const char *
check_module(struct slice value)
{
	return value.len == 0 ? NULL : check_path(value);
}

/* The path of a socket must fit into its address. */
static const char *
check_socket(struct slice value)
{
	return value.len < 108 ? check_path(value) : "is too long for a socket, which may have 107 bytes";
}

static const char *
check_address(struct slice value)
{
	struct sockaddr_storage address;
	socklen_t len;

	return listener_address(value, &address, &len) ?
	    "is not an address like \"[::]:5222\" or \"192.0.2.1:5222\"" : NULL;
}

static const char *
check_workers(struct slice value)
{
	uint64_t number;

	return slice_number(value, WORKERS_MAX, &number) ? "is more than 64" : NULL;
}

static const char *
check_priority(struct slice value)
{
	char text[512];

	if (value.len >= sizeof text)
		return "is too long";
	memcpy(text, value.ptr, value.len);
	text[value.len] = '\0';
	return certificate_priority(text) ? NULL : "is not a priority string that GnuTLS understands";
}

static const char *
check_conflict(struct slice value)
{
	return slice_is(value, "replace") || slice_is(value, "refuse") || slice_is(value, "rename") ?
	    NULL : "is not replace, refuse or rename";
}

static const char *
check_jid(struct slice value)
{
	char text[JID_MAX + 1];
	struct jid jid;

	return jid_prepare(value, text, &jid) == OK ? NULL : "is not an address like \"juliet@example.org\"";
}

static const char *
check_service(struct slice value)
{
	struct service service;

	return service_read(value, &service) == OK ? NULL :
	    "is not a service like \"turn:turn.example.org:3478?transport=udp\"";
}

static const char *
check_registration(struct slice value)
{
	static const char *const words[] = { "no", "off", "false", "invited", "yes", "on", "true" };
	size_t i;

	for (i = 0; i < sizeof words / sizeof words[0]; i++) {
		if (slice_is(value, words[i]))
			return NULL;
	}
	return "is not no, invited or yes";
}

static const char *
check_invite(struct slice value)
{
	return slice_is(value, "nobody") || slice_is(value, "admins") || slice_is(value, "all") ? NULL :
	    "is not nobody, admins or all";
}

static const char *
check_account(struct slice value)
{
	char text[JID_MAX + 1];
	struct jid jid;

	return jid_prepare(value, text, &jid) == OK && jid.local.ptr != NULL && jid.resource.ptr == NULL ?
	    NULL : "is not an account like \"juliet@example.org\"";
}

/* A URI as far as it has a form (RFC 3986): a scheme, and behind its colon what may be in one. */
static const char *
check_uri(struct slice value)
{
	static const char letters[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";
	static const char others[] = "0123456789+-.";
	size_t i = 0;

	while (i < value.len && (strchr(letters, value.ptr[i]) != NULL ||
	    (i > 0 && strchr(others, value.ptr[i]) != NULL)))
		i++;
	if (i == 0 || i + 1 >= value.len || value.ptr[i] != ':' || value.len > URI_LEN_MAX)
		return "is not a URI like \"mailto:xmpp@example.org\"";
	for (; i < value.len; i++) {
		if (strchr(letters, value.ptr[i]) == NULL && strchr(others, value.ptr[i]) == NULL &&
		    strchr("-._~:/?#[]@!$&'()*+,;=%", value.ptr[i]) == NULL)
			return "has a character in it that a URI cannot have";
	}
	return NULL;
}

static const char *
check_page_url(struct slice value)
{
	return value.len == 0 ? NULL : check_uri(value);
}

static const char *
check_positive(struct slice value)
{
	return slice_is(value, "0") ? "must not be 0" : NULL;
}

static const char *
check_year(struct slice value)
{
	uint64_t seconds;

	return slice_number(value, YEAR, &seconds) ? "is more than 366 days" : NULL;
}

/* What is forwarded or archived has three elements around it, and must still be canonical. */
static const char *
check_depth(struct slice value)
{
	uint64_t depth;

	return slice_number(value, 60, &depth) == OK && depth != 0 ? NULL : "is not 1 to 60";
}

static const char *
check_page(struct slice value)
{
	uint64_t messages;

	return slice_number(value, 250, &messages) == OK && messages != 0 ? NULL : "is not 1 to 250";
}

static const char *
check_policy(struct slice value)
{
	return slice_is(value, "allow") || slice_is(value, "refuse") ? NULL : "is not allow or refuse";
}

static const char *
check_authentication(struct slice value)
{
	return value.len == 0 || slice_is(value, "certificate") || slice_is(value, "dialback") ? NULL
	    : "is not certificate or dialback";
}

static const char *
check_fetch(struct slice value)
{
	return value.len == 0 || slice_is(value, "off") || slice_is(value, "try") || slice_is(value, "require")
	    ? NULL : "is not off, try or require";
}

static const char *
check_responder(struct slice value)
{
	if (value.len == 0)
		return NULL;
	if (!slice_starts(value, SLICE("http://")) || value.len > RESPONDER_LEN_MAX)
		return "is not an http URL of at most 500 characters";
	return check_uri(value);
}

static const char *
check_content(struct slice value)
{
	return slice_is(value, "none") || slice_is(value, "sender") || slice_is(value, "body") ? NULL
	    : "is not none, sender or body";
}

static const struct check {
	const char *section, *name;
	const char *(*check)(struct slice value); /* gets the value as the daemons do */
} checks[] = {
	{ "", "state-directory", check_path },
	{ "", "control-socket", check_socket },
	{ "", "pid-file", check_path },
	{ "", "log", check_log },
	{ "", "log-level", check_level },
	{ "", "admins", check_account },
	{ "domain", "registration", check_registration },
	{ "domain", "invite", check_invite },
	{ "domain", "invite-page", check_page_url },
	{ "domain", "admins", check_account },
	{ "domain", "services", check_service },
	{ "domain", "report-to", check_jid },
	{ "domain", "contact-abuse", check_uri },
	{ "domain", "contact-admin", check_uri },
	{ "domain", "contact-feedback", check_uri },
	{ "domain", "contact-sales", check_uri },
	{ "domain", "contact-security", check_uri },
	{ "domain", "contact-status", check_uri },
	{ "domain", "contact-support", check_uri },
	{ "c2s", "listen", check_address },
	{ "c2s", "listen-tls", check_address },
	{ "s2s", "listen", check_address },
	{ "s2s", "listen-tls", check_address },
	{ "s2s", "listen-component", check_address },
	{ "s2s", "authentication", check_authentication },
	{ "s2s", "ocsp-fetch", check_fetch },
	{ "s2s", "ocsp-responder", check_responder },
	{ "peer", "policy", check_policy },
	{ "peer", "address", check_address },
	{ "peer", "authentication", check_authentication },
	{ "peer", "ocsp-fetch", check_fetch },
	{ "peer", "ocsp-responder", check_responder },
	{ "s2s", "tls-priority", check_priority },
	{ "s2s", "stanza-size", check_positive },
	{ "s2s", "stanza-depth", check_depth },
	{ "s2s", "domain-streams", check_positive },
	{ "s2s", "connections", check_positive },
	{ "s2s", "connections-per-address", check_positive },
	{ "s2s", "queue-stanzas", check_positive },
	{ "s2s", "queue-bytes", check_positive },
	{ "s2s", "queue-total", check_positive },
	{ "s2s", "window-total", check_positive },
	{ "c2s", "workers", check_workers },
	{ "c2s", "tls-priority", check_priority },
	{ "c2s", "stanza-size", check_positive },
	{ "c2s", "stanza-depth", check_depth },
	{ "c2s", "login-bytes", check_positive },
	{ "c2s", "login-time", check_positive },
	{ "c2s", "login-attempts", check_positive },
	{ "c2s", "stanza-time", check_positive },
	{ "c2s", "connections", check_positive },
	{ "c2s", "connections-per-address", check_positive },
	{ "c2s", "queue-stanzas", check_positive },
	{ "c2s", "queue-bytes", check_positive },
	{ "c2s", "queue-total", check_positive },
	{ "c2s", "window-total", check_positive },
	{ "c2s", "resource-conflict", check_conflict },
	{ "c2s", "sessions-per-account", check_positive },
	{ "c2s", "login-time", check_year },
	{ "c2s", "stanza-time", check_year },
	{ "c2s", "idle-time", check_year },
	{ "c2s", "resume-time", check_year },
	{ "auth", "failures-time", check_year },
	{ "archive", "page-messages", check_page },
	{ "auth", "iterations", check_positive },
	{ "auth", "service-time", check_positive },
	{ "auth", "invitations", check_positive },
	{ "auth", "invitation-time", check_positive },
	{ "auth", "pkcs11-module", check_module },
	{ "auth", "pkcs11-paths", check_path },
	{ "archive", "size", check_positive },
	{ "archive", "spool-messages", check_positive },
	{ "push", "errors", check_positive },
	{ "push", "interval", check_positive },
	{ "push", "content", check_content },
};

const char *
setting_value(const struct setting *setting, const char *text, struct buf *out)
{
	static const char *(*const takers[])(struct slice text, struct buf *out) = {
		[SETTING_TEXT] = take_text,
		[SETTING_NUMBER] = take_number,
		[SETTING_FLAG] = take_flag,
		[SETTING_LIST] = take_word,
		[SETTING_SIZE] = take_size,
		[SETTING_TIME] = take_time,
		[SETTING_FILE] = take_text,
	};
	static char answer[512];
	size_t before = buf_len(out), i;
	const char *problem = NULL;

	for (i = 0; text[i] != '\0' && problem == NULL; i++) {
		if ((unsigned char)text[i] < ' ' || text[i] == 0x7f)
			problem = "has a control character in it";
	}
	if (problem == NULL)
		problem = takers[setting->type](slice_of(text, i), out);
	for (i = 0; problem == NULL && i < sizeof checks / sizeof checks[0]; i++) {
		if (strcmp(checks[i].section, setting->section) == 0 &&
		    strcmp(checks[i].name, setting->name) == 0)
			problem = checks[i].check(slice_part(buf_slice(out), before, buf_len(out)));
	}
	if (problem == NULL)
		return NULL;
	buf_truncate(out, before);
	snprintf(answer, sizeof answer, "%s %s", log_quote(slice_string(text)), problem);
	return answer;
}

/* -- files ------------------------------------------------------------------------------------- */

const char *
setting_file(const char *path, struct buf *content)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	const char *problem = NULL;
	struct stat status;
	ssize_t got = 0;

	if (fd < 0)
		return strerror(errno);
	if (fstat(fd, &status) != 0)
		problem = strerror(errno);
	else if (!S_ISREG(status.st_mode))
		problem = "not a file";
	else if (status.st_size > (off_t)FILE_SIZE_MAX)
		problem = "too large";
	/* Reserved at once: what is read may be a key, and growing would leave copies behind. */
	if (problem == NULL)
		buf_reserve(content, FILE_SIZE_MAX);
	while (problem == NULL && buf_len(content) < FILE_SIZE_MAX) {
		got = read(fd, buf_reserve(content, 1), FILE_SIZE_MAX - buf_len(content));
		if (got < 0)
			problem = strerror(errno);
		if (got <= 0)
			break;
		buf_added(content, (size_t)got);
	}
	close(fd);
	return problem;
}

void
setting_base64(struct slice bytes, struct buf *out)
{
	static const char digits[] =
	    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
	size_t i;

	buf_reserve(out, bytes.len / 3 * 4 + 4);
	for (i = 0; i < bytes.len; i += 3) {
		const unsigned char *from = (const unsigned char *)bytes.ptr + i;
		size_t left = bytes.len - i;
		uint32_t group = (uint32_t)from[0] << 16 | (uint32_t)(left > 1 ? from[1] : 0) << 8 |
		    (left > 2 ? from[2] : 0);

		buf_add_char(out, digits[group >> 18]);
		buf_add_char(out, digits[group >> 12 & 63]);
		buf_add_char(out, left > 1 ? digits[group >> 6 & 63] : '=');
		buf_add_char(out, left > 2 ? digits[group & 63] : '=');
	}
}
