/*
 * token.c: keys in PKCS#11 tokens: their URI (RFC 7512) and the file with the PIN. Called by
 * settings.c. Fails on what is no URI of a key, and on a PIN that is none.
 *
 * The token is not opened here: its module is code of others, and is loaded by authd only. So
 * whether token and key are there, and the PIN is right, is known when authd starts.
 */
#include <stdlib.h>

#include "aldisd.h"
#include "mem.h"

#define SCHEME  "pkcs11:"
#define PIN_MAX 255 /* bytes */

enum attribute { KEPT, TYPE, SOURCE, VALUE, MODULE };

/* Attributes of RFC 7512 section 2.3; those below the line belong behind the "?". */
static const struct {
	const char *name;
	enum attribute what;
	bool query;
} attributes[] = {
	{ "token", KEPT, false },
	{ "manufacturer", KEPT, false },
	{ "serial", KEPT, false },
	{ "model", KEPT, false },
	{ "library-manufacturer", KEPT, false },
	{ "library-version", KEPT, false },
	{ "library-description", KEPT, false },
	{ "slot-id", KEPT, false },
	{ "slot-manufacturer", KEPT, false },
	{ "slot-description", KEPT, false },
	{ "object", KEPT, false },
	{ "id", KEPT, false },
	{ "type", TYPE, false },
	{ "pin-source", SOURCE, true },
	{ "pin-value", VALUE, true },
	{ "module-name", MODULE, true },
	{ "module-path", MODULE, true },
};

bool
token_named(const char *key)
{
	return slice_starts(slice_string(key), SLICE(SCHEME));
}

/* The value of a hexadecimal digit, or -1. */
static int
digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c = (char)(c | 0x20);
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* Undoes percent-encoding. Returns false when it is malformed. */
static bool
decode(struct slice coded, struct buf *out)
{
	size_t i;

	for (i = 0; i < coded.len; i++) {
		int high, low;

		if (coded.ptr[i] != '%') {
			buf_add_char(out, coded.ptr[i]);
			continue;
		}
		high = i + 2 < coded.len ? digit(coded.ptr[i + 1]) : -1;
		low = high >= 0 ? digit(coded.ptr[i + 2]) : -1;
		if (low < 0 || (high == 0 && low == 0))
			return false;
		buf_add_char(out, (char)(high << 4 | low));
		i += 2;
	}
	return true;
}

/* The path in a pin-source, to be freed; NULL when it is none. */
static char *
source_path(struct slice coded)
{
	struct buf text = { 0 };
	char *path = NULL;
	struct slice name;

	if (decode(coded, &text)) {
		name = buf_slice(&text);
		if (slice_starts(name, SLICE("file:")))
			name = slice_part(name, 5, name.len);
		if (slice_starts(name, SLICE("///")))
			name = slice_part(name, 2, name.len);
		if (name.len > 1 && name.ptr[0] == '/' && name.ptr[1] != '/')
			path = slice_dup(name);
	}
	buf_free(&text);
	return path;
}

/* Checks one attribute; adds it to plain with what separates it, unless it is the PIN's source. */
static const char *
attribute_check(struct slice text, bool query, struct buf *plain, char **pin_file)
{
	static const char *const refused[] = {
		[VALUE] = "pin-value is not for this file: name one that has the PIN by pin-file",
		[MODULE] = "the module is named by pkcs11-module in section auth",
	};
	const char *equals = memchr(text.ptr, '=', text.len);
	size_t len = equals != NULL ? (size_t)(equals - text.ptr) : 0, i;
	struct slice value = slice_part(text, len + 1, text.len);
	size_t count = sizeof attributes / sizeof attributes[0];

	for (i = 0; i < count; i++) {
		if (attributes[i].query == query &&
		    slice_is(slice_part(text, 0, len), attributes[i].name))
			break;
	}
	if (i == count)
		return "there is an attribute in it that RFC 7512 does not know";
	if (attributes[i].what == VALUE || attributes[i].what == MODULE)
		return refused[attributes[i].what];
	if (attributes[i].what == TYPE && !slice_is(value, "private"))
		return "its type is not private";
	if (attributes[i].what != SOURCE) {
		if (buf_len(plain) > sizeof SCHEME - 1)
			buf_add_char(plain, ';');
		buf_add_slice(plain, text);
		return NULL;
	}
	if (*pin_file == NULL)
		*pin_file = source_path(value);
	return *pin_file != NULL ? NULL : "its pin-source is not file: and an absolute path";
}

/* Takes text up to the next separator off the front. */
static struct slice
part_take(struct slice *rest, char separator)
{
	const char *at = memchr(rest->ptr, separator, rest->len);
	size_t len = at != NULL ? (size_t)(at - rest->ptr) : rest->len;
	struct slice part = slice_part(*rest, 0, len);

	*rest = slice_part(*rest, at != NULL ? len + 1 : len, rest->len);
	return part;
}

const char *
token_check(const char *uri, struct buf *plain, char **pin_file)
{
	struct slice rest = slice_part(slice_string(uri), sizeof SCHEME - 1, SIZE_MAX);
	struct slice path = part_take(&rest, '?');
	const char *problem = NULL;

	*pin_file = NULL;
	buf_add_string(plain, SCHEME);
	if (path.len == 0)
		problem = "it names neither a token nor an object";
	while (problem == NULL && path.len != 0)
		problem = attribute_check(part_take(&path, ';'), false, plain, pin_file);
	while (problem == NULL && rest.len != 0)
		problem = attribute_check(part_take(&rest, '&'), true, plain, pin_file);
	if (problem != NULL)
		MEM_FREE(pin_file);
	return problem;
}

const char *
token_pin(struct slice content, struct slice *pin)
{
	size_t i;

	*pin = part_take(&content, '\n');
	if (pin->len != 0 && pin->ptr[pin->len - 1] == '\r')
		pin->len--;
	for (i = 0; i < content.len; i++) {
		if (content.ptr[i] != '\n' && content.ptr[i] != '\r')
			return "it has more than one line";
	}
	if (memchr(pin->ptr, '\0', pin->len) != NULL)
		return "there is a NUL in it";
	return pin->len == 0 || pin->len > PIN_MAX ? "its line has not 1 to 255 bytes" : NULL;
}
