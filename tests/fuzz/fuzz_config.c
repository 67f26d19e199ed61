/*
 * fuzz_config.c: a daemon's slice of the configuration, and the values in it.
 *
 * Input: the text of a slice.
 * Asserts: what is taken is lines of four columns, and each of them, unescaped by this file alone,
 * is found under its section, title and option at its place; titles are those of the lines; what is
 * refused leaves nothing.
 *
 * Options: -max_len=2048
 */
#include "fuzz.h"

#include "config.h"

enum { SECTION, TITLE, OPTION, VALUE, COLUMNS };

struct line {
	char *column[COLUMNS]; /* unescaped */
	size_t len[COLUMNS];
};

static void
unescape(struct slice raw, char **text, size_t *len)
{
	size_t i;

	*text = malloc(raw.len + 1);
	*len = 0;
	CHECK(*text != NULL);
	for (i = 0; i < raw.len; i++) {
		if (raw.ptr[i] != '\\') {
			(*text)[(*len)++] = raw.ptr[i];
			continue;
		}
		CHECK(++i < raw.len && strchr("\\nt", raw.ptr[i]) != NULL && raw.ptr[i] != '\0');
		(*text)[(*len)++] = raw.ptr[i] == 'n' ? '\n' : raw.ptr[i] == 't' ? '\t' : '\\';
	}
	(*text)[*len] = '\0';
}

/* Takes a line off the front of a text that was taken. */
static void
line_take(struct fuzz *f, struct line *line)
{
	const uint8_t *end = memchr(f->at, '\n', fuzz_left(f));
	struct fuzz columns = fuzz_begin(f->at, (size_t)(end - f->at));
	unsigned i;

	CHECK(end != NULL);
	f->at = end + 1;
	for (i = 0; i < COLUMNS; i++)
		unescape(fuzz_until(&columns, '\t'), &line->column[i], &line->len[i]);
	CHECK(fuzz_left(&columns) == 0 && line->len[OPTION] != 0);
}

static void
line_clear(struct line *line)
{
	unsigned i;

	for (i = 0; i < COLUMNS; i++)
		free(line->column[i]);
}

static bool
same_option(const struct line *a, const struct line *b)
{
	unsigned i;

	for (i = SECTION; i <= OPTION; i++)
		if (a->len[i] != b->len[i] || memcmp(a->column[i], b->column[i], a->len[i]) != 0)
			return false;
	return true;
}

/* A line is found by what it says; before: lines of the same option that stand above it. */
static void
check_line(const struct config *config, const struct line *line, size_t before)
{
	struct slice value, title;
	unsigned i;
	size_t n;

	for (i = SECTION; i <= OPTION; i++)
		if (strlen(line->column[i]) != line->len[i])
			return; /* cannot be asked for */
	CHECK(config_list(config, line->column[SECTION], line->column[TITLE], line->column[OPTION],
	    before, &value));
	CHECK(slice_equal(value, slice_of(line->column[VALUE], line->len[VALUE])));
	value = config_text(config, line->column[SECTION], line->column[TITLE],
	    line->column[OPTION]);
	CHECK(before != 0 || slice_equal(value, slice_of(line->column[VALUE], line->len[VALUE])));
	for (n = 0; config_title(config, line->column[SECTION], n, &title); n++)
		if (slice_equal(title, slice_of(line->column[TITLE], line->len[TITLE])))
			return;
	CHECK(false);
}

static void
check_config(const struct config *config, struct fuzz f)
{
	struct line lines[64];
	size_t count = 0, i, before;

	while (fuzz_left(&f) != 0 && count < COUNT_OF(lines)) {
		line_take(&f, &lines[count]);
		before = 0;
		for (i = 0; i < count; i++)
			before += same_option(&lines[i], &lines[count]);
		check_line(config, &lines[count++], before);
	}
	while (count != 0)
		line_clear(&lines[--count]);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct slice text = fuzz_copy(slice_of(data, size));
	struct config *config = NULL;
	int error = config_read(text, &config);

	CHECK((error == OK) == (config != NULL) && (error == OK || error == E_MALFORMED));
	if (config != NULL)
		check_config(config, fuzz_begin(data, size));
	config_free(&config);
	fuzz_free(text);
	return 0;
}
