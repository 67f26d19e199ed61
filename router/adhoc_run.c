/*
 * adhoc_run.c: ad-hoc commands under way: a form becomes one command or several of aldisctl(8), which control.c runs,
 * and their results the answer. Called by adhoc.c, and by control.c when a command is done. What is kept is who waits
 * for it; control.c has the time limit. What is wrong in a form is said in the answer.
 */
#include "adhoc.h"

#include <stdlib.h>

#include "counter.h"
#include "log.h"
#include "mem.h"
#include "ns.h"
#include "xmlout.h"

#define RUNS_MAX 64 /* commands under way */

/* A command under way, for whoever asked. */
struct run {
	struct buf head;             /* the request without its payload */
	const struct admin_command *admin; /* NULL: one of our own */
	enum right right;
	struct buf text;             /* secret: commands to be given, each ended by a NUL */
	struct buf notes;            /* what to say about those that failed */
	unsigned failed;
};

static unsigned runs;

static void
run_free(struct run *run)
{
	buf_free(&run->head);
	buf_free(&run->text);
	buf_free(&run->notes);
	free(run);
	runs--;
}

static void
result_done(struct run *run, json_t *result, struct buf *out)
{
	(void)run;
	(void)result;
	adhoc_note_write("info", SLICE("Done"), out);
}

/* The row's account, or its whole address for statistics; absent when it does not count. */
static struct slice
row_take(const struct run *run, json_t *row, struct slice domain)
{
	const struct admin_command *admin = run->admin;
	json_t *value = json_object_get(row, admin->key);
	struct slice jid = slice_of(json_string_value(value), json_string_length(value));
	struct jid parts;

	if (jid.ptr == NULL || jid_parse(jid, &parts) != 0 ||
	    (admin->only != NULL && !json_is_true(json_object_get(row, admin->only))))
		return SLICE_NONE;
	if (admin->form == FORM_ACCOUNT)
		return parts.resource;
	return slice_equal(parts.domain, domain) ? jid_bare(&parts) : SLICE_NONE;
}

/* Accounts once each, however many sessions they have. */
static json_t *
rows_take(struct run *run, json_t *result)
{
	json_t *set = json_object();
	struct frame f;
	size_t i;

	ASSERT(frame_read(buf_slice(&run->head), &f) == 0);
	for (i = 0; i < json_array_size(result); i++) {
		struct slice name = row_take(run, json_array_get(result, i), jid_bare_of(f.to));
		char *key = slice_dup(name);

		if (key != NULL)
			json_object_set_new(set, key, json_true());
		free(key);
	}
	return set;
}

static void
field_open(const struct run *run, struct buf *out)
{
	buf_printf(out, "<x xmlns='" NS_DATA "' type='result'><field var='FORM_TYPE' type='hidden'>"
	    "<value>" NS_ADMIN "</value></field><field var='%s'", run->admin->var);
	xml_add_attribute(out, "label", slice_string(run->admin->label));
	buf_add_char(out, '>');
}

static void
result_number(struct run *run, json_t *result, struct buf *out)
{
	json_t *set = rows_take(run, result);

	field_open(run, out);
	buf_printf(out, "<value>%zu</value></field></x>", json_object_size(set));
	json_decref(set);
}

static void
result_list(struct run *run, json_t *result, struct buf *out)
{
	json_t *set = rows_take(run, result), *value;
	bool more = false;
	const char *name;
	size_t content;

	field_open(run, out);
	content = buf_len(out);
	json_object_foreach(set, name, value) {
		if (buf_len(out) > ADHOC_RESULT_MAX) {
			more = true;
			break;
		}
		buf_add_string(out, "<value>");
		adhoc_text_write(slice_string(name), out);
		buf_add_string(out, "</value>");
	}
	adhoc_close(out, content, "field");
	buf_add_string(out, "</x>");
	if (more)
		adhoc_note_write("warn", SLICE("There is more than fits into an answer"), out);
	json_decref(set);
}

/* The fields of an invitation (XEP-0401 section 5.1). */
static void
result_invite(struct run *run, json_t *result, struct buf *out)
{
	static const char *const vars[] = { "uri", "landing-url", "expire" };
	size_t i;

	(void)run;
	buf_add_string(out, "<x xmlns='" NS_DATA "' type='result'><field var='FORM_TYPE' type='hidden'>"
	    "<value>" NS_INVITE "#invitation</value></field>");
	for (i = 0; i < sizeof vars / sizeof *vars; i++) {
		const char *text = json_string_value(json_object_get(result, vars[i]));

		if (text == NULL)
			continue;
		buf_printf(out, "<field var='%s' type='text-single'><value>", vars[i]);
		adhoc_text_write(slice_string(text), out);
		buf_add_string(out, "</value></field>");
	}
	buf_add_string(out, "</x>");
}

static void (*const results[RESULT_COUNT])(struct run *run, json_t *result, struct buf *out) = {
	[RESULT_DONE] = result_done, [RESULT_NUMBER] = result_number, [RESULT_LIST] = result_list,
	[RESULT_INVITE] = result_invite,
};

/* All its commands have been given; result: of the last, NULL when it failed. */
static void
run_finish(struct run *run, json_t *result)
{
	struct buf out = { 0 };
	struct frame f;
	size_t content;

	ASSERT(frame_read(buf_slice(&run->head), &f) == 0);
	content = adhoc_command_open(&f, "completed", f.resource, &out);
	if (result != NULL && run->failed == 0) {
		if (run->admin != NULL)
			results[run->admin->result](run, result, &out);
		else
			adhoc_result_write(result, &out);
	}
	buf_add_slice(&out, buf_slice(&run->notes));
	adhoc_close(&out, content, "command");
	f.resource = SLICE_NONE;
	adhoc_answer(&f, buf_slice(&out));
	buf_free(&out);
	run_free(run);
}

static void run_next(struct run *run, json_t *result);

static void
run_done(void *arg, struct slice problem, json_t *result)
{
	struct run *run = arg;

	if (problem.ptr != NULL) {
		run->failed++;
		adhoc_note_write("error", problem, &run->notes);
	}
	daemon_dirty();
	run_next(run, problem.ptr != NULL ? NULL : result);
}

/* Gives the next command, or answers. */
static void
run_next(struct run *run, json_t *result)
{
	struct slice rest = buf_slice(&run->text), text;
	struct buf copy = { .secret = true };

	if (rest.len == 0) {
		run_finish(run, result);
		return;
	}
	text = slice_part(rest, 0, strnlen(rest.ptr, rest.len));
	buf_add_slice(&copy, text);
	buf_consume(&run->text, text.len + 1);
	control_run(buf_slice(&copy), run_done, run); /* run may be gone afterwards */
	buf_free(&copy);
}

/* -- from a form to commands ------------------------------------------------------------------- */

/* An account that who asks may administer; it is prepared into out. */
static bool
account_take(const struct run *run, struct slice domain, struct slice value, char out[JID_MAX + 1],
    struct slice *account)
{
	struct jid jid;

	if (jid_prepare(value, out, &jid) != 0 || jid.local.ptr == NULL)
		return false;
	*account = jid.full;
	return run->right == RIGHT_ALL || slice_equal(jid.domain, domain);
}

/* The command of an invitation, likewise. */
static const char *
invite_text(struct run *run, const struct frame *f, const struct adhoc_request *r)
{
	struct slice inviter = jid_bare_of(f->from), domain = jid_bare_of(f->to), value;
	bool account = run->admin == INVITE_ACCOUNT;
	bool contact = !account || (adhoc_value(r, "roster-subscription", 0, &value) &&
	    (slice_is(value, "1") || slice_is(value, "true")));

	buf_printf(&run->text, "%s\ndomain=%.*s", run->admin->command, SLICE_ARG(domain));
	if (contact)
		buf_printf(&run->text, "\ncontact=%.*s", SLICE_ARG(inviter));
	if (account) {
		buf_add_string(&run->text, "\naccount=");
		if (adhoc_value(r, "username", 0, &value))
			buf_add_slice(&run->text, value);
	}
	buf_add_char(&run->text, '\0');
	return NULL;
}

/* Why a form of XEP-0133 cannot become commands; NULL: it has. */
static const char *
admin_text(struct run *run, const struct frame *f, const struct adhoc_request *r)
{
	const char *var = run->admin->form == FORM_ACCOUNTS ? "accountjids" : "accountjid";
	struct slice domain = jid_bare_of(f->to), value, account, password, again;
	char prepared[JID_MAX + 1];
	size_t i;

	if (run->admin == INVITE_CONTACT || run->admin == INVITE_ACCOUNT)
		return invite_text(run, f, r);
	if (run->admin->form == FORM_NONE) {
		buf_add_string(&run->text, run->admin->command);
		if (run->admin->domain) {
			buf_add_char(&run->text, '\n');
			buf_add_slice(&run->text, domain);
		}
		buf_add_char(&run->text, '\0');
		return NULL;
	}
	for (i = 0; adhoc_value(r, var, i, &value); i++) {
		if (!account_take(run, domain, value, prepared, &account))
			return "This is not an account that you administer";
		buf_add_string(&run->text, run->admin->command);
		buf_add_char(&run->text, '\n');
		buf_add_slice(&run->text, account);
		if (run->admin->form == FORM_ADD || run->admin->form == FORM_PASSWORD) {
			if (!adhoc_value(r, "password", 0, &password) || password.len == 0)
				return "A password is needed";
			if (run->admin->form == FORM_ADD && (!adhoc_value(r, "password-verify", 0, &again) ||
			    !slice_equal(password, again)))
				return "The two passwords are not the same";
			buf_add_char(&run->text, '\n');
			buf_add_slice(&run->text, password);
		}
		buf_add_char(&run->text, '\0');
		if (run->admin->form != FORM_ACCOUNTS)
			return NULL;
	}
	return i == 0 ? "An address is needed" : NULL;
}

/* Appends the values of a field as words. */
static void
own_words(struct run *run, const struct adhoc_field *field, const struct adhoc_request *r)
{
	bool several = strcmp(field->type, "text-multi") == 0;
	struct slice value, word;
	size_t i;

	for (i = 0; adhoc_value(r, field->var, i, &value) && (i == 0 || several); i++) {
		if (several && value.len == 0)
			continue;
		if (strcmp(field->var, "arguments") != 0) {
			buf_add_char(&run->text, '\n');
			buf_add_slice(&run->text, value);
			continue;
		}
		while (adhoc_word_next(&value, &word)) {
			buf_add_char(&run->text, '\n');
			buf_add_slice(&run->text, word);
		}
	}
}

/* On a domain with rooms a command is about one of that domain, and a list is that of the domain. */
static const char *
room_check(struct run *run, struct slice domain, const struct adhoc_form *form, const struct adhoc_request *r)
{
	char out[JID_MAX + 1];
	struct slice value;
	struct jid jid;

	if (form->count == 0) {
		buf_add_char(&run->text, '\n');
		buf_add_slice(&run->text, domain);
		return NULL;
	}
	if (strcmp(form->fields[0].var, "room") != 0 ||
	    !adhoc_value(r, "room", 0, &value) || jid_prepare(value, out, &jid) != 0 ||
	    !slice_equal(jid.domain, domain))
		return "This is not a room of this domain";
	return NULL;
}

/* Likewise of a form of our own commands: what is left out must be last. */
static const char *
own_text(struct run *run, struct slice domain, const struct target *t, const struct adhoc_form *form,
    const struct adhoc_request *r)
{
	struct slice rest = t->name, word;
	bool left_out = false;
	const char *fault;
	size_t i;

	while (adhoc_word_next(&rest, &word)) {
		if (buf_len(&run->text) != 0)
			buf_add_char(&run->text, '\n');
		buf_add_slice(&run->text, word);
	}
	fault = run->right == RIGHT_ROOMS ? room_check(run, domain, form, r) : NULL;
	if (fault != NULL)
		return fault;
	for (i = 0; i < form->count; i++) {
		struct slice value;
		bool given = adhoc_value(r, form->fields[i].var, 0, &value) && value.len != 0;

		if ((!given && form->fields[i].required) || (given && left_out))
			return "Something is missing";
		left_out = !given;
		if (given)
			own_words(run, &form->fields[i], r);
	}
	buf_add_char(&run->text, '\0');
	return NULL;
}

/* Keeps of a request what its answer needs; the session's id in `resource`, which a STANZA has not. */
static void
head_keep(struct run *run, const struct frame *f, struct slice session)
{
	struct frame head = *f;

	head.payload = SLICE_NONE;
	head.resource = session;
	head.flags = 0;
	frame_write(&head, &run->head);
}

void
adhoc_run_begin(const struct frame *f, enum right right, const struct target *t,
    const struct adhoc_form *form, const struct adhoc_request *r)
{
	struct run *run;
	const char *problem;

	if (runs >= (right == RIGHT_INVITE ? RUNS_MAX / 2 : RUNS_MAX)) {
		COUNT(adhoc_refused);
		route_error(f, STANZA_ERROR_RESOURCE_CONSTRAINT, "Too many commands are under way");
		return;
	}
	run = mem_alloc(sizeof *run);
	runs++;
	run->text.secret = true;
	run->admin = t->admin;
	run->right = right;
	head_keep(run, f, buf_slice(&r->session));
	problem = t->admin != NULL ? admin_text(run, f, r) : own_text(run, jid_bare_of(f->to), t, form, r);
	if (problem != NULL) {
		buf_clear(&run->text);
		run->failed++;
		adhoc_note_write("error", slice_string(problem), &run->notes);
	} else {
		log_info("command of a client", "node=%s by=%s", log_quote(f->node), log_quote(f->from));
	}
	run_next(run, NULL);
}

void
adhoc_gauges(void)
{
	GAUGE(adhoc, runs);
}
