/*
 * config.c: reads a daemon's slice of the configuration. Called by daemon.c, and by each daemon's
 * configure(). Fails on text that does not have the form; asking for an option that is not there
 * is a bug and panics.
 */
#include "config.h"

#include <stdlib.h>

#include "error.h"
#include "log.h"
#include "mem.h"

enum { SECTION, TITLE, OPTION, VALUE, COLUMNS };

struct line {
	struct slice column[COLUMNS];
	bool first; /* of its section and title */
};

struct config {
	char *text; /* what the lines point into */
	size_t len;
	struct line *lines;
	size_t count;
};

/* Resolves \\, \n and \t in place. */
static int
unescape(char *text, struct slice *s)
{
	size_t from, to = 0;

	for (from = 0; from < s->len; from++) {
		char c = s->ptr[from];

		if (c == '\\') {
			if (++from == s->len)
				return E_MALFORMED;
			c = s->ptr[from];
			if (c != '\\' && c != 'n' && c != 't')
				return E_MALFORMED;
			c = c == 'n' ? '\n' : c == 't' ? '\t' : c;
		}
		text[to++] = c;
	}
	s->len = to;
	return OK;
}

/* Splits a line, without its end, into its columns. */
static int
line_read(char *text, size_t len, struct line *line)
{
	size_t at = 0;
	unsigned i;

	for (i = 0; i < COLUMNS; i++) {
		char *tab = memchr(text + at, '\t', len - at);
		size_t end = tab != NULL ? (size_t)(tab - text) : len;

		if ((tab != NULL) != (i < VALUE))
			return E_MALFORMED;
		line->column[i] = slice_of(text + at, end - at);
		if (unescape(text + at, &line->column[i]))
			return E_MALFORMED;
		at = end + 1;
	}
	return line->column[OPTION].len != 0 ? OK : E_MALFORMED;
}

/* Tells whether the line at hand is the first of its section and title. Those of one title mostly
 * stand together: from the end, most are found at once. */
static bool
is_first(const struct config *config)
{
	size_t i = config->count - 1;
	const struct slice *column = config->lines[i].column;

	while (i-- > 0) {
		const struct slice *other = config->lines[i].column;

		if (slice_equal(other[TITLE], column[TITLE]) &&
		    slice_equal(other[SECTION], column[SECTION]))
			return false;
	}
	return true;
}

int
config_read(struct slice text, struct config **config)
{
	struct config *c = mem_alloc(sizeof *c);
	size_t room = 0, at = 0;
	int error = OK;

	c->text = mem_copy(text.ptr, text.len);
	c->len = text.len;
	while (at < text.len && error == OK) {
		char *end = memchr(c->text + at, '\n', text.len - at);
		size_t len;

		if (end == NULL) {
			error = E_MALFORMED;
			break;
		}
		if (c->count == room) {
			room = room != 0 ? room * 2 : 64;
			c->lines = mem_grow(c->lines, room * sizeof *c->lines);
		}
		len = (size_t)(end - c->text) - at;
		error = line_read(c->text + at, len, &c->lines[c->count++]);
		if (error == OK)
			c->lines[c->count - 1].first = is_first(c);
		at += len + 1;
	}
	if (error)
		config_free(&c);
	*config = c;
	return error;
}

void
config_free(struct config **config)
{
	if (*config == NULL)
		return;
	free((*config)->lines);
	/* There may be keys in it. */
	explicit_bzero((*config)->text, (*config)->len);
	free((*config)->text);
	MEM_FREE(config);
}

bool
config_list(const struct config *config, const char *section, const char *title,
    const char *option, size_t i, struct slice *value)
{
	size_t at;

	for (at = 0; at < config->count; at++) {
		const struct slice *column = config->lines[at].column;

		if (slice_is(column[OPTION], option) && slice_is(column[SECTION], section) &&
		    slice_is(column[TITLE], title) && i-- == 0) {
			*value = column[VALUE];
			return true;
		}
	}
	return false;
}

struct slice
config_text(const struct config *config, const char *section, const char *title,
    const char *option)
{
	struct slice value = SLICE_NONE;

	if (!config_list(config, section, title, option, 0, &value)) {
		log_error("option missing", "section=%s option=%s", section, option);
		log_panic(__FILE__, __LINE__, "option not in the slice");
	}
	return value;
}

/* Reads a number, a size or a time, with its unit if it has one. */
static int
quantity(struct slice text, uint64_t *number)
{
	static const struct {
		char letter;
		uint64_t factor;
	} units[] = {
		{ 'K', 1ull << 10 }, { 'M', 1ull << 20 }, { 'G', 1ull << 30 }, { 'T', 1ull << 40 },
		{ 's', 1 }, { 'm', 60 }, { 'h', 3600 }, { 'd', 86400 },
	};
	uint64_t factor = 1;
	size_t i;
	int error;

	for (i = 0; text.len > 1 && i < sizeof units / sizeof units[0]; i++) {
		if (text.ptr[text.len - 1] == units[i].letter) {
			factor = units[i].factor;
			text.len--;
			break;
		}
	}
	error = slice_number(text, UINT64_MAX / factor, number);
	if (error == OK)
		*number *= factor;
	return error;
}

uint64_t
config_number(const struct config *config, const char *section, const char *title,
    const char *option)
{
	uint64_t number = 0;

	if (quantity(config_text(config, section, title, option), &number)) {
		log_error("option is no number", "section=%s option=%s", section, option);
		log_panic(__FILE__, __LINE__, "option is no number");
	}
	return number;
}

bool
config_flag(const struct config *config, const char *section, const char *title,
    const char *option)
{
	static const char *const words[][2] = {
		{ "no", "yes" }, { "off", "on" }, { "false", "true" }, { "0", "1" },
	};
	struct slice value = config_text(config, section, title, option);
	size_t i;

	for (i = 0; i < sizeof words / sizeof words[0]; i++) {
		if (slice_is(value, words[i][0]))
			return false;
		if (slice_is(value, words[i][1]))
			return true;
	}
	log_error("option is no flag", "section=%s option=%s", section, option);
	log_panic(__FILE__, __LINE__, "option is no flag");
}

bool
config_title(const struct config *config, const char *section, size_t i, struct slice *title)
{
	size_t at;

	for (at = 0; at < config->count; at++) {
		const struct slice *column = config->lines[at].column;

		if (config->lines[at].first && slice_is(column[SECTION], section) && i-- == 0) {
			*title = column[TITLE];
			return true;
		}
	}
	return false;
}
