/*
 * form.c: data forms (XEP-0004): reads those that are submitted, writes those that are to be filled in and
 * those that inform.
 *
 * No state. What is read was bounded by the size of a stanza; fails on what is not such a form.
 */
#include "mucd.h"

#include "ns.h"
#include "xmlchar.h"
#include "xmlout.h"

#define FIELDS_MAX 256 /* of one form */

/* Where a value is in the text of a form; a field without values has one with len SIZE_MAX. */
struct place {
	size_t var, var_len, value, len;
};

static struct place
place_at(const struct form *form, size_t i)
{
	struct place place;

	memcpy(&place, buf_slice(&form->values).ptr + i * sizeof place, sizeof place);
	return place;
}

static size_t
place_count(const struct form *form)
{
	return buf_len(&form->values) / sizeof(struct place);
}

/* -- reading -- */

static void
place_add(struct form *form, size_t var, size_t var_len, struct slice value)
{
	struct place place = { var, var_len, buf_len(&form->text), value.ptr != NULL ? value.len : SIZE_MAX };

	buf_add_slice(&form->text, value);
	buf_add(&form->values, &place, sizeof place);
}

/* Values of a field that is kept under its name. */
static int
values_read(struct form *form, const struct xmlin_element *field, size_t var, size_t var_len)
{
	struct xmlin_element child;
	struct slice value;
	struct xmlin in;
	size_t count = 0;
	int error = OK;

	xmlin_begin(&in, field->content, field->ns);
	while (error == OK && xmlin_child(&in, &child)) {
		struct buf scratch = { 0 };

		if (slice_is(child.name, "value") && slice_is(child.ns, NS_DATA)) {
			error = xmlin_text(&child, &scratch, &value);
			if (error == OK) {
				place_add(form, var, var_len, value.ptr != NULL ? value : SLICE(""));
				count++;
			}
		}
		buf_free(&scratch);
	}
	if (count == 0)
		place_add(form, var, var_len, SLICE_NONE);
	return in.error ? E_MALFORMED : error;
}

static int
field_read(struct form *form, const struct xmlin_element *field, const char *form_type)
{
	struct buf scratch = { 0 };
	struct slice var, value;
	size_t at;
	int error = OK;

	if (xmlin_attribute(field, "var", &scratch, &var) != OK) {
		buf_free(&scratch); /* as one that is fixed */
		return OK;
	}
	if (form_has(form, var)) {
		error = E_MALFORMED;
	} else {
		at = buf_len(&form->text);
		buf_add_slice(&form->text, var);
		error = values_read(form, field, at, var.len);
	}
	if (error == OK && slice_is(var, "FORM_TYPE"))
		error = form_value(form, var, 0, &value) && slice_is(value, form_type) ? OK : E_MALFORMED;
	else if (error == OK)
		form->empty = false;
	buf_free(&scratch);
	return error;
}

int
form_read(struct slice content, struct slice ns, const char *form_type, struct form *form)
{
	struct xmlin_element x, field;
	struct buf scratch = { 0 };
	struct slice type;
	struct xmlin in;
	size_t count = 0;
	int error;

	*form = (struct form){ .empty = true };
	if (!xmlin_find(content, ns, "x", NS_DATA, &x))
		return E_NOT_FOUND;
	error = xmlin_attribute(&x, "type", &scratch, &type);
	if (error == OK && slice_is(type, "cancel"))
		form->cancelled = true;
	else if (error == OK && !slice_is(type, "submit"))
		error = E_MALFORMED;
	buf_free(&scratch);
	xmlin_begin(&in, x.content, x.ns);
	while (error == OK && xmlin_child(&in, &field)) {
		if (slice_is(field.name, "field") && slice_is(field.ns, NS_DATA))
			error = count++ < FIELDS_MAX ? field_read(form, &field, form_type) : E_MALFORMED;
	}
	return error || in.error ? E_MALFORMED : OK;
}

void
form_free(struct form *form)
{
	buf_free(&form->text);
	buf_free(&form->values);
}

bool
form_has(const struct form *form, struct slice var)
{
	size_t i;

	for (i = 0; i < place_count(form); i++) {
		struct place place = place_at(form, i);

		if (slice_equal(slice_part(buf_slice(&form->text), place.var, place.var_len), var))
			return true;
	}
	return false;
}

bool
form_value(const struct form *form, struct slice var, size_t i, struct slice *value)
{
	size_t at;

	for (at = 0; at < place_count(form); at++) {
		struct place place = place_at(form, at);

		if (place.len == SIZE_MAX ||
		    !slice_equal(slice_part(buf_slice(&form->text), place.var, place.var_len), var) || i-- != 0)
			continue;
		*value = slice_part(buf_slice(&form->text), place.value, place.len);
		return true;
	}
	return false;
}

size_t
form_values(const struct form *form, struct slice var, struct buf *slices)
{
	size_t at, count = 0;

	for (at = 0; at < place_count(form); at++) {
		struct place place = place_at(form, at);
		struct slice value = slice_part(buf_slice(&form->text), place.value, place.len);

		if (place.len == SIZE_MAX ||
		    !slice_equal(slice_part(buf_slice(&form->text), place.var, place.var_len), var))
			continue;
		buf_add(slices, &value, sizeof value);
		count++;
	}
	return count;
}

bool
form_var(const struct form *form, size_t i, struct slice *var)
{
	size_t at, last = SIZE_MAX;

	for (at = 0; at < place_count(form); at++) {
		struct place place = place_at(form, at);

		*var = slice_part(buf_slice(&form->text), place.var, place.var_len);
		if (place.var == last || slice_is(*var, "FORM_TYPE"))
			continue;
		last = place.var;
		if (i-- == 0)
			return true;
	}
	return false;
}

/* -- writing -- */

void
form_open(struct buf *out, const char *type, const char *form_type, const char *title,
    const char *instructions)
{
	xml_open(out, "x", SLICE(NS_DATA));
	xml_add_attribute(out, "type", slice_string(type));
	buf_add_char(out, '>');
	if (title != NULL)
		xml_add_element(out, "title", slice_string(title));
	if (instructions != NULL)
		xml_add_element(out, "instructions", slice_string(instructions));
	form_field_open(out, "FORM_TYPE", "hidden", NULL);
	xml_add_element(out, "value", slice_string(form_type));
	form_field_close(out);
}

void
form_field_open(struct buf *out, const char *var, const char *type, const char *label)
{
	buf_add_string(out, "<field");
	xml_add_attribute(out, "var", slice_string(var));
	xml_add_attribute(out, "type", slice_string(type));
	xml_add_attribute(out, "label", slice_string(label));
	buf_add_char(out, '>');
}

void
form_option(struct buf *out, const char *label, struct slice value)
{
	buf_add_string(out, "<option");
	xml_add_attribute(out, "label", slice_string(label));
	buf_add_char(out, '>');
	xml_add_element(out, "value", value);
	buf_add_string(out, "</option>");
}

void
form_field_close(struct buf *out)
{
	struct slice written = buf_slice(out);

	/* Only a start tag ends in a quote and a bracket: the field is empty. */
	if (written.len >= 2 && memcmp(written.ptr + written.len - 2, "'>", 2) == 0) {
		buf_truncate(out, written.len - 1);
		buf_add_string(out, "/>");
		return;
	}
	buf_add_string(out, "</field>");
}

bool
form_is_line(struct slice text)
{
	const char *at = text.ptr, *end = text.ptr + text.len;
	uint32_t point;

	while (at < end) {
		unsigned len = xmlchar_read(at, end, &point);

		if (len == 0 || point < ' ' || (point >= 0x7f && point < 0xa0) || point == 0x2028 ||
		    point == 0x2029)
			return false;
		at += len;
	}
	return true;
}

void
form_field(struct buf *out, const char *var, const char *type, const char *label, struct slice values)
{
	struct slice line;

	form_field_open(out, var, type, label);
	while (slice_line(&values, &line))
		xml_add_element(out, "value", line);
	form_field_close(out);
}

void
form_close(struct buf *out)
{
	buf_add_string(out, "</x>");
}
