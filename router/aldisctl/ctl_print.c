/*
 * ctl_print.c: JSON for people: tables, lines of key and value, plain text.
 *
 * Called by main.c with what the suite answered. Cannot fail. Strings may hold what users chose
 * (resources, names): characters that do not print are escaped, so that they cannot steer a
 * terminal.
 */
#include <stdlib.h>
#include <unictype.h>
#include <unistr.h>
#include <uniwidth.h>

#include "buf.h"
#include "ctl.h"
#include "mem.h"

/* Appends text with all that does not print escaped. */
static void
text_add(struct buf *out, struct slice text)
{
	const uint8_t *at = (const uint8_t *)text.ptr;
	size_t rest = text.len;

	while (rest > 0) {
		ucs4_t c;
		int len = u8_mbtouc(&c, at, rest);

		if (uc_is_general_category_withtable(c, UC_CATEGORY_MASK_C | UC_CATEGORY_MASK_Zl |
		    UC_CATEGORY_MASK_Zp))
			buf_printf(out, "\\u{%x}", (unsigned)c);
		else if (c == 0xfffd)
			buf_add_string(out, "\\u{fffd}");
		else
			buf_add(out, at, (size_t)len);
		at += len;
		rest -= (size_t)len;
	}
}

void
ctl_print_text(struct slice text, FILE *out)
{
	struct buf line = { 0 };

	text_add(&line, text);
	fprintf(out, "%.*s", SLICE_ARG(buf_slice(&line)));
	buf_free(&line);
}

/* Appends a value as one cell. */
static void
cell_add(struct buf *out, const json_t *value)
{
	char *text;

	switch (value ? json_typeof(value) : JSON_NULL) {
	case JSON_NULL:
		buf_add_char(out, '-');
		break;
	case JSON_STRING:
		if (json_string_length(value) == 0)
			buf_add_char(out, '-');
		text_add(out, slice_of(json_string_value(value), json_string_length(value)));
		break;
	case JSON_TRUE:
		buf_add_string(out, "yes");
		break;
	case JSON_FALSE:
		buf_add_string(out, "no");
		break;
	default:
		text = json_dumps(value, JSON_ENCODE_ANY | JSON_COMPACT);
		text_add(out, slice_string(text));
		free(text);
	}
}

static int
text_width(struct slice text)
{
	return u8_width((const uint8_t *)text.ptr, text.len, "UTF-8");
}

/* Appends a cell padded to width columns; numbers stand at the right. */
static void
cell_pad(struct buf *line, struct slice cell, int width, bool right, bool last)
{
	int pad = width - text_width(cell);

	for (; right && pad > 0; pad--)
		buf_add_char(line, ' ');
	buf_add_slice(line, cell);
	for (; !last && pad > 0; pad--)
		buf_add_char(line, ' ');
	if (!last)
		buf_add_string(line, "  ");
}

struct column {
	const char *key;
	int width;
	bool right; /* all values are numbers */
};

/* The keys of all rows in the order in which they come first; the caller frees the array. */
static size_t
columns_find(const json_t *rows, struct column **columns)
{
	const json_t *row, *value;
	const char *key;
	size_t i, c, count = 0;

	*columns = NULL;
	json_array_foreach(rows, i, row) {
		json_object_foreach((json_t *)(uintptr_t)row, key, value) {
			struct buf cell = { 0 };

			for (c = 0; c < count && strcmp((*columns)[c].key, key) != 0; c++)
				;
			if (c == count) {
				*columns = mem_grow(*columns, ++count * sizeof **columns);
				(*columns)[c] = (struct column){ key, text_width(slice_string(key)), true };
			}
			cell_add(&cell, value);
			if (text_width(buf_slice(&cell)) > (*columns)[c].width)
				(*columns)[c].width = text_width(buf_slice(&cell));
			if (!json_is_number(value) && !json_is_null(value))
				(*columns)[c].right = false;
			buf_free(&cell);
		}
	}
	return count;
}

/* Writes an array of objects as a table with a heading. */
static void
table_print(const json_t *rows, FILE *out)
{
	struct column *columns;
	size_t c, i, count = columns_find(rows, &columns);
	struct buf line = { 0 }, cell = { 0 };
	const json_t *row;

	for (c = 0; c < count; c++) {
		buf_clear(&cell);
		text_add(&cell, slice_string(columns[c].key));
		cell_pad(&line, buf_slice(&cell), columns[c].width, columns[c].right, c + 1 == count);
	}
	if (count > 0)
		fprintf(out, "%.*s\n", SLICE_ARG(buf_slice(&line)));
	json_array_foreach(rows, i, row) {
		buf_clear(&line);
		for (c = 0; c < count; c++) {
			buf_clear(&cell);
			cell_add(&cell, json_object_get(row, columns[c].key));
			cell_pad(&line, buf_slice(&cell), columns[c].width, columns[c].right,
			    c + 1 == count);
		}
		fprintf(out, "%.*s\n", SLICE_ARG(buf_slice(&line)));
	}
	buf_free(&line);
	buf_free(&cell);
	free(columns);
}

/* Whether a value is an array with objects in it, and so a table. */
static bool
is_table(const json_t *value)
{
	return json_is_array(value) && json_is_object(json_array_get(value, 0));
}

/* Writes an object: first its plain values, a line each, then its tables under their names. */
static void
object_print(const json_t *object, FILE *out)
{
	json_t *fields = (json_t *)(uintptr_t)object; /* the iterators want it so; nothing is changed */
	struct buf line = { 0 };
	const char *key;
	json_t *value;
	int width = 0;
	bool plain = false;

	json_object_foreach(fields, key, value) {
		if (!is_table(value) && text_width(slice_string(key)) > width)
			width = text_width(slice_string(key));
	}
	json_object_foreach(fields, key, value) {
		if (is_table(value))
			continue;
		buf_clear(&line);
		cell_pad(&line, slice_string(key), width, false, false);
		cell_add(&line, value);
		fprintf(out, "%.*s\n", SLICE_ARG(buf_slice(&line)));
		plain = true;
	}
	json_object_foreach(fields, key, value) {
		if (!is_table(value))
			continue;
		fprintf(out, "%s%s:\n", plain ? "\n" : "", key);
		table_print(value, out);
		plain = true;
	}
	buf_free(&line);
}

void
ctl_print(const json_t *value, FILE *out)
{
	struct buf line = { 0 };
	const json_t *item;
	size_t i;

	if (is_table(value)) {
		table_print(value, out);
	} else if (json_is_object(value)) {
		object_print(value, out);
	} else if (json_is_array(value)) {
		json_array_foreach(value, i, item) {
			buf_clear(&line);
			cell_add(&line, item);
			fprintf(out, "%.*s\n", SLICE_ARG(buf_slice(&line)));
		}
	} else if (json_is_string(value) || json_is_number(value)) {
		cell_add(&line, value);
		fprintf(out, "%.*s\n", SLICE_ARG(buf_slice(&line)));
	}
	buf_free(&line);
}
