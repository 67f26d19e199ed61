/*
 * adhoc_form.c: the XML of ad-hoc commands (XEP-0050) and of their data forms (XEP-0004).
 *
 * Reads the payload of a request with xmlin.h, and writes forms and results. No state, no input or
 * output; called by adhoc.c. What a client may have sent wrong comes back as the condition of
 * XEP-0050 section 4.4 that names it.
 */
#include "router.h"

#include <stdlib.h>

#include "mem.h"
#include "ns.h"
#include "xmlchar.h"
#include "xmlin.h"
#include "xmlout.h"

#define VALUE_MAX  4096 /* bytes of one value that is submitted */
#define COLUMNS_MAX 32  /* of a table */

/* -- reading ----------------------------------------------------------------------------------- */

/* Words of a command are lines: nothing that could be the end of one, or is no text. */
static bool
is_word(struct slice text)
{
	size_t i;

	for (i = 0; i < text.len; i++) {
		if ((unsigned char)text.ptr[i] < ' ' || text.ptr[i] == 0x7f)
			return false;
	}
	return text.len <= VALUE_MAX;
}

/* Keeps a value; false when there are too many, or it is none that a command takes. */
static bool
value_add(struct adhoc_request *r, struct slice var, struct slice value)
{
	if (r->count == ADHOC_VALUES_MAX || !is_word(value) || var.len > VALUE_MAX)
		return false;
	r->values[r->count].var = buf_len(&r->text);
	r->values[r->count].var_len = var.len;
	buf_add_slice(&r->text, var);
	r->values[r->count].value = buf_len(&r->text);
	r->values[r->count++].value_len = value.len;
	buf_add_slice(&r->text, value);
	return true;
}

static bool
field_read(struct adhoc_request *r, const struct xmlin_element *field)
{
	struct buf name = { 0 };
	struct xmlin_element child;
	struct slice var, value;
	struct xmlin in;
	bool good = true;

	if (xmlin_attribute(field, "var", &name, &var) != 0) {
		buf_free(&name);
		return true; /* such as a fixed one */
	}
	xmlin_begin(&in, field->content, field->ns);
	while (good && xmlin_child(&in, &child)) {
		struct buf text = { .secret = true };

		if (slice_is(child.name, "value") && slice_is(child.ns, NS_DATA))
			good = xmlin_text(&child, &text, &value) == 0 && value_add(r, var, value);
		buf_free(&text);
	}
	buf_free(&name);
	return good && in.error == 0;
}

static bool
form_read(struct adhoc_request *r, const struct xmlin_element *form)
{
	struct buf scratch = { 0 };
	struct xmlin_element field;
	struct slice type;
	struct xmlin in;
	bool good = xmlin_attribute(form, "type", &scratch, &type) == 0;

	/* Section 3.4.1: a form that is cancelled counts as one that is submitted. */
	good = good && (slice_is(type, "submit") || slice_is(type, "cancel"));
	buf_free(&scratch);
	xmlin_begin(&in, form->content, form->ns);
	while (good && xmlin_child(&in, &field)) {
		if (slice_is(field.name, "field") && slice_is(field.ns, NS_DATA))
			good = field_read(r, &field);
	}
	r->submitted = true;
	return good && in.error == 0;
}

static bool
action_read(const struct xmlin_element *command, enum adhoc_action *action)
{
	static const char *const names[] = { "execute", "complete", "next", "prev", "cancel" };
	struct buf scratch = { 0 };
	struct slice text;
	size_t i = 0;

	*action = ADHOC_EXECUTE;
	if (xmlin_attribute(command, "action", &scratch, &text) == 0) {
		while (i < sizeof names / sizeof *names && !slice_is(text, names[i]))
			i++;
		*action = (enum adhoc_action)i;
	}
	buf_free(&scratch);
	return i < sizeof names / sizeof *names;
}

const char *
adhoc_request_read(struct slice payload, struct adhoc_request *r)
{
	struct xmlin_element command, form;
	struct slice session;
	struct xmlin in;

	*r = (struct adhoc_request){ .text = { .secret = true } };
	xmlin_begin(&in, payload, SLICE(NS_CLIENT));
	if (!xmlin_child(&in, &command) || !slice_is(command.ns, NS_COMMANDS) ||
	    !slice_is(command.name, "command"))
		return "bad-payload";
	if (!action_read(&command, &r->action))
		return "malformed-action";
	if (xmlin_attribute(&command, "sessionid", &r->session, &session) == 0 &&
	    buf_len(&r->session) == 0)
		buf_add_slice(&r->session, session);
	if (buf_len(&r->session) > VALUE_MAX)
		return "bad-sessionid";
	xmlin_begin(&in, command.content, command.ns);
	while (xmlin_child(&in, &form)) {
		if (slice_is(form.name, "x") && slice_is(form.ns, NS_DATA) &&
		    (r->submitted || !form_read(r, &form)))
			return "bad-payload";
	}
	return in.error != 0 ? "bad-payload" : NULL;
}

void
adhoc_request_free(struct adhoc_request *r)
{
	buf_free(&r->session);
	buf_free(&r->text);
}

bool
adhoc_value(const struct adhoc_request *r, const char *var, size_t i, struct slice *value)
{
	struct slice text = buf_slice(&r->text);
	size_t at;

	for (at = 0; at < r->count; at++) {
		if (slice_is(slice_part(text, r->values[at].var, r->values[at].var_len), var) && i-- == 0) {
			*value = slice_part(text, r->values[at].value, r->values[at].value_len);
			return true;
		}
	}
	return false;
}

/* -- writing ----------------------------------------------------------------------------------- */

void
adhoc_text_write(struct slice text, struct buf *out)
{
	const char *at = text.ptr, *end = text.ptr + text.len;

	while (at < end) {
		uint32_t point;
		unsigned len = xmlchar_read(at, end, &point);

		xml_add_text(out, len != 0 ? slice_of(at, len) : SLICE("?"));
		at += len != 0 ? len : 1;
	}
}

void
adhoc_close(struct buf *out, size_t content, const char *name)
{
	if (buf_len(out) > content) {
		buf_printf(out, "</%s>", name);
		return;
	}
	buf_truncate(out, content - 1);
	buf_add_string(out, "/>");
}

/* An element with text. */
static void
text_element(const char *name, struct slice text, struct buf *out)
{
	size_t content;

	buf_printf(out, "<%s>", name);
	content = buf_len(out);
	adhoc_text_write(text, out);
	adhoc_close(out, content, name);
}

static void
form_begin(const char *type, const char *form_type, struct buf *out)
{
	buf_printf(out, "<x xmlns='" NS_DATA "' type='%s'>", type);
	if (form_type != NULL)
		buf_printf(out, "<field var='FORM_TYPE' type='hidden'><value>%s</value></field>", form_type);
}

void
adhoc_form_write(const struct adhoc_form *form, struct buf *out)
{
	size_t i;

	buf_add_string(out, "<actions execute='complete'><complete/></actions>");
	form_begin("form", form->form_type, out);
	text_element("title", form->title, out);
	for (i = 0; i < form->count; i++) {
		const struct adhoc_field *field = &form->fields[i];

		buf_printf(out, "<field var='%s' type='%s'", field->var, field->type);
		xml_add_attribute(out, "label", slice_string(field->label));
		buf_add_string(out, field->required ? "><required/></field>" : "/>");
	}
	buf_add_string(out, "</x>");
}

void
adhoc_note_write(const char *type, struct slice text, struct buf *out)
{
	size_t content;

	buf_printf(out, "<note type='%s'>", type);
	content = buf_len(out);
	adhoc_text_write(text, out);
	adhoc_close(out, content, "note");
}

/* A value of a result. */
static void
value_write(json_t *value, struct buf *out)
{
	char *text = NULL;

	if (json_is_string(value)) {
		text_element("value", slice_of(json_string_value(value), json_string_length(value)), out);
		return;
	}
	if (!json_is_null(value))
		text = json_dumps(value, JSON_COMPACT | JSON_ENCODE_ANY);
	text_element("value", slice_string(text ? text : ""), out);
	free(text);
}

static void
field_write(const char *var, json_t *value, struct buf *out)
{
	buf_add_string(out, "<field");
	xml_add_attribute(out, "var", slice_string(var));
	buf_add_char(out, '>');
	value_write(value, out);
	buf_add_string(out, "</field>");
}

/* A name that may be an attribute's value: the daemons choose them. */
static bool
is_name(const char *name)
{
	size_t i;

	for (i = 0; name[i] != '\0'; i++) {
		if (name[i] < ' ' || name[i] > '~')
			return false;
	}
	return i != 0;
}

/* A row of a table, or the fields of an object. */
static void
fields_write(json_t *object, struct buf *out)
{
	const char *name;
	unsigned columns = 0;
	json_t *value;

	json_object_foreach(object, name, value) {
		if (is_name(name) && columns++ < COLUMNS_MAX)
			field_write(name, value, out);
	}
}

static void
table_write(json_t *array, struct buf *out)
{
	const char *name;
	unsigned columns = 0;
	size_t i, start = buf_len(out), content;
	json_t *value;

	form_begin("result", NULL, out);
	buf_add_string(out, "<reported>");
	content = buf_len(out);
	json_object_foreach(json_array_get(array, 0), name, value) {
		if (!is_name(name) || columns++ >= COLUMNS_MAX)
			continue;
		buf_add_string(out, "<field");
		xml_add_attribute(out, "var", slice_string(name));
		xml_add_attribute(out, "label", slice_string(name));
		buf_add_string(out, "/>");
	}
	adhoc_close(out, content, "reported");
	for (i = 0; i < json_array_size(array) && buf_len(out) - start < ADHOC_RESULT_MAX; i++) {
		buf_add_string(out, "<item>");
		content = buf_len(out);
		fields_write(json_array_get(array, i), out);
		adhoc_close(out, content, "item");
	}
	buf_add_string(out, "</x>");
	if (i < json_array_size(array))
		adhoc_note_write("warn", SLICE("There is more than fits into an answer"), out);
}

void
adhoc_result_write(json_t *result, struct buf *out)
{
	size_t content;
	char *text;

	if (json_is_array(result) && json_is_object(json_array_get(result, 0))) {
		table_write(result, out);
	} else if (json_is_object(result)) {
		form_begin("result", NULL, out);
		content = buf_len(out);
		fields_write(result, out);
		adhoc_close(out, content, "x");
	} else if (json_is_string(result)) {
		adhoc_note_write("info", slice_of(json_string_value(result),
		    json_string_length(result)), out);
	} else if (json_is_array(result) && json_array_size(result) == 0) {
		adhoc_note_write("info", SLICE("None"), out);
	} else if (json_is_true(result)) {
		adhoc_note_write("info", SLICE("Done"), out);
	} else {
		text = json_dumps(result, JSON_COMPACT | JSON_ENCODE_ANY);
		adhoc_note_write("info", slice_part(slice_string(text ? text : ""), 0, ADHOC_RESULT_MAX), out);
		free(text);
	}
}
