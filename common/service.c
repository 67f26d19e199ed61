/*
 * service.c: reads what the configuration says of services besides XMPP. Called by aldisd, which checks it,
 * and by authd, which tells clients of them. No state.
 */
#include "service.h"

#include "error.h"

#define TYPE_MAX 32
#define HOST_MAX 253

static bool
is_letter(char c)
{
	return c >= 'a' && c <= 'z';
}

static bool
is_digit(char c)
{
	return c >= '0' && c <= '9';
}

/* The length of the run of letters, digits and others at the front. */
static size_t
run(struct slice text, const char *others)
{
	size_t i;

	for (i = 0; i < text.len; i++) {
		char c = text.ptr[i];

		if (!is_letter(c) && !is_digit(c) && (c < 'A' || c > 'Z') &&
		    (c == '\0' || strchr(others, c) == NULL))
			break;
	}
	return i;
}

/* A name in lower case: a letter, and letters, digits and hyphens after it. */
static bool
is_name(struct slice text)
{
	size_t i;

	for (i = 0; i < text.len; i++) {
		if (!is_letter(text.ptr[i]) && (i == 0 || (!is_digit(text.ptr[i]) && text.ptr[i] != '-')))
			return false;
	}
	return text.len != 0 && text.len <= TYPE_MAX;
}

/* Takes the host off the front. */
static bool
host_take(struct slice *rest, struct slice *host)
{
	bool bracket = rest->len != 0 && rest->ptr[0] == '[';
	size_t len;

	if (bracket)
		*rest = slice_part(*rest, 1, SIZE_MAX);
	len = run(*rest, bracket ? ":." : ".-");
	*host = slice_part(*rest, 0, len);
	*rest = slice_part(*rest, len, SIZE_MAX);
	if (bracket) {
		if (rest->len == 0 || rest->ptr[0] != ']')
			return false;
		*rest = slice_part(*rest, 1, SIZE_MAX);
	}
	return len != 0 && len <= HOST_MAX;
}

static bool
port_take(struct slice *rest, struct slice *port)
{
	uint64_t number = 0;
	size_t len = 1;

	if (rest->len == 0 || rest->ptr[0] != ':')
		return true;
	while (len < rest->len && is_digit(rest->ptr[len]))
		len++;
	*port = slice_part(*rest, 1, len - 1);
	*rest = slice_part(*rest, len, SIZE_MAX);
	return slice_number(*port, 65535, &number) == OK && number != 0 && port->ptr[0] != '0';
}

int
service_read(struct slice text, struct service *service)
{
	static const struct slice transport = { "?transport=", 11 };
	const char *colon = text.len != 0 ? memchr(text.ptr, ':', text.len) : NULL;
	struct slice rest;

	*service = (struct service){ .type = SLICE_NONE };
	if (colon == NULL)
		return E_MALFORMED;
	service->type = slice_part(text, 0, (size_t)(colon - text.ptr));
	rest = slice_part(text, service->type.len + 1, SIZE_MAX);
	if (!is_name(service->type) || !host_take(&rest, &service->host) ||
	    !port_take(&rest, &service->port))
		return E_MALFORMED;
	if (slice_starts(rest, transport)) {
		service->transport = slice_part(rest, transport.len, SIZE_MAX);
		return is_name(service->transport) ? OK : E_MALFORMED;
	}
	return rest.len == 0 ? OK : E_MALFORMED;
}
