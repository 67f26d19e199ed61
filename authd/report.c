/*
 * report.c: what an account says of whom it blocks (XEP-0377): kept for the administrators, who are told
 * when they are online. Called by block.c, which has blocked by then: a report that is not kept is
 * counted and logged, and no error. Fails when the store does.
 *
 * Key: account id, number. Row: version, u64 time, u32 flags, reporter, reported, reason, text,
 * language of the text, lines "BY ID" of stanza ids. Numbers are never used again.
 */
#include <inttypes.h>

#include "authd.h"
#include "counter.h"
#include "log.h"
#include "xmlout.h"

#define KEY_BYTES  16
#define REASON_MAX 256
#define TEXT_MAX   4096
#define LANG_MAX   64
#define ID_MAX     512
#define IDS_MAX    8192 /* bytes of all stanza ids of a report */

/* -- reading ----------------------------------------------------------------------------------- */

/* What is in a <report/>, in buffers of its own. */
struct draft {
	struct report report;
	struct buf reason, text, lang, ids;
};

static void
draft_free(struct draft *d)
{
	buf_free(&d->reason);
	buf_free(&d->text);
	buf_free(&d->lang);
	buf_free(&d->ids);
}

/* Cuts text to a number of bytes, between characters. */
static struct slice
text_cut(struct slice text, size_t max)
{
	if (text.len <= max)
		return text;
	while (max > 0 && ((unsigned char)text.ptr[max] & 0xc0) == 0x80)
		max--;
	return slice_part(text, 0, max);
}

static void
text_read(const struct xmlin_element *element, struct draft *d)
{
	struct slice lang;

	if (d->report.text.ptr != NULL || xmlin_text(element, &d->text, &d->report.text) != OK)
		return;
	d->report.text = text_cut(d->report.text, TEXT_MAX);
	if (xmlin_attribute(element, "xml:lang", &d->lang, &lang) == OK && lang.len <= LANG_MAX)
		d->report.lang = lang;
}

/* Adds a line for a stanza id; what has none of the form, or is too much, is left out. */
static void
id_read(const struct xmlin_element *element, struct draft *d)
{
	struct buf by_text = { 0 }, id_text = { 0 };
	char prepared[JID_MAX + 1];
	struct slice by, id;
	struct jid jid;

	if (xmlin_attribute(element, "by", &by_text, &by) == OK &&
	    xmlin_attribute(element, "id", &id_text, &id) == OK && id.len != 0 && id.len <= ID_MAX &&
	    memchr(id.ptr, '\n', id.len) == NULL && jid_prepare(by, prepared, &jid) == OK &&
	    buf_len(&d->ids) + jid.full.len + id.len + 2 <= IDS_MAX)
		buf_printf(&d->ids, "%.*s %.*s\n", SLICE_ARG(jid_bare(&jid)), SLICE_ARG(id));
	buf_free(&by_text);
	buf_free(&id_text);
}

/* Reads a report; false when it has no reason, or is none at all. */
static bool
draft_read(const struct xmlin_element *report, struct draft *d)
{
	struct xmlin_element child;
	struct xmlin in;

	if (xmlin_attribute(report, "reason", &d->reason, &d->report.reason) != OK ||
	    d->report.reason.len == 0 || d->report.reason.len > REASON_MAX)
		return false;
	xmlin_begin(&in, report->content, report->ns);
	while (xmlin_child(&in, &child)) {
		bool own = slice_is(child.ns, NS_REPORTING);

		if (own && slice_is(child.name, "text"))
			text_read(&child, d);
		else if (own && slice_is(child.name, "report-origin"))
			d->report.flags |= REPORT_ORIGIN;
		else if (own && slice_is(child.name, "third-party"))
			d->report.flags |= REPORT_THIRD_PARTY;
		else if (slice_is(child.ns, NS_SID) && slice_is(child.name, "stanza-id"))
			id_read(&child, d);
	}
	d->report.ids = buf_slice(&d->ids);
	return in.error == OK;
}

/* -- the store --------------------------------------------------------------------------------- */

static int
row_read(struct slice key, struct slice value, struct report *report)
{
	struct value_reader r = { value, OK };

	*report = (struct report){ 0 };
	if (key.len != KEY_BYTES || value_u8(&r) != VALUE_VERSION)
		return E_MALFORMED;
	report->number = store_key_read_u64(key.ptr + 8);
	report->time = value_u64(&r);
	report->flags = value_u32(&r);
	report->reporter = value_slice(&r);
	report->reported = value_slice(&r);
	report->reason = value_slice(&r);
	report->text = value_slice(&r);
	report->lang = value_slice(&r);
	report->ids = value_slice(&r);
	return r.error;
}

static void
row_write(uint64_t id, const struct report *report)
{
	struct buf value = { 0 };
	char key[KEY_BYTES];

	store_key_u64(key, id);
	store_key_u64(key + 8, report->number);
	value_add_u8(&value, VALUE_VERSION);
	value_add_u64(&value, report->time);
	value_add_u32(&value, report->flags);
	value_add_slice(&value, report->reporter);
	value_add_slice(&value, report->reported);
	value_add_slice(&value, report->reason);
	value_add_slice(&value, report->text);
	value_add_slice(&value, report->lang);
	value_add_slice(&value, report->ids);
	store_put(state.store, TABLE_REPORT, slice_of(key, sizeof key), buf_slice(&value));
	buf_free(&value);
}

/* Takes the next number, which is never used again. */
static uint64_t
number_take(void)
{
	static const struct slice name = { "next-report", 11 };
	struct buf record = { 0 };
	struct slice value;
	uint64_t number = 1;

	if (store_get(state.store, TABLE_META, name, &value) == OK) {
		struct value_reader r = { value, OK };

		if (value_u8(&r) == VALUE_VERSION)
			number = value_u64(&r);
	}
	value_add_u8(&record, VALUE_VERSION);
	value_add_u64(&record, number + 1);
	store_put(state.store, TABLE_META, name, buf_slice(&record));
	buf_free(&record);
	return number;
}

static bool
count_row(void *arg, struct slice key, struct slice value)
{
	size_t *count = arg;

	(void)key;
	(void)value;
	return ++*count < state.reports;
}

/* -- telling ----------------------------------------------------------------------------------- */

/* A message to those whom the domain of the reporter names. It says who and why, no more: the text is in
 * the list. */
static void
tell(const struct report *report)
{
	const struct domain *domain;
	struct buf body = { 0 }, payload = { 0 };
	struct frame f = { .type = FRAME_STANZA, .kind = STANZA_MESSAGE, .subtype = TYPE_NORMAL,
		.flags = FLAG_CONTENT | FLAG_BODY, .name = SLICE("body"), .ns = SLICE(NS_CLIENT) };
	struct jid jid;
	size_t i;

	jid_split(report->reporter, &jid);
	domain = state_domain(jid.domain);
	if (domain == NULL)
		return;
	buf_printf(&body, "Report %" PRIu64 ": %.*s has blocked %.*s and says why: %.*s",
	    report->number, SLICE_ARG(report->reporter), SLICE_ARG(report->reported),
	    SLICE_ARG(report->reason));
	xml_add_element(&payload, "body", buf_slice(&body));
	f.payload = buf_slice(&payload);
	f.from = slice_string(domain->name);
	for (i = 0; i < domain->report_count; i++) {
		f.to = slice_string(domain->report_to[i]);
		out_send(&f);
	}
	buf_free(&body);
	buf_free(&payload);
}

void
report_add(struct slice reporter, uint64_t id, struct slice reported,
    const struct xmlin_element *element, uint64_t now)
{
	struct draft d = { .report = { .time = now, .reporter = reporter, .reported = reported } };
	char prefix[8];
	struct slice key = state_key(id, prefix);
	size_t count = 0;

	if (!draft_read(element, &d)) {
		COUNT(reports_dropped);
		log_info("report dropped", "account=%s reason=malformed", log_quote(reporter));
		draft_free(&d);
		return;
	}
	store_walk(state.store, TABLE_REPORT, key, key, count_row, &count);
	if (count >= state.reports) {
		COUNT(reports_dropped);
		log_warn("report dropped", "account=%s reported=%s reason=\"too many\"",
		    log_quote(reporter), log_quote(reported));
	} else {
		d.report.number = number_take();
		row_write(id, &d.report);
		COUNT(reports_filed);
		log_info("report filed", "number=%" PRIu64 " account=%s reported=%s why=%s",
		    d.report.number, log_quote(reporter), log_quote(reported), log_quote(d.report.reason));
		tell(&d.report);
	}
	draft_free(&d);
}

/* -- for administrators ------------------------------------------------------------------------ */

struct walk {
	void (*each)(void *arg, const struct report *report);
	void *arg;
	uint64_t only;     /* 0: all */
	bool remove;
	bool found;
};

static bool
walk_row(void *arg, struct slice key, struct slice value)
{
	struct walk *walk = arg;
	struct report report;
	char copy[KEY_BYTES];

	if (row_read(key, value, &report) != OK || (walk->only != 0 && walk->only != report.number))
		return true;
	walk->found = true;
	if (walk->remove) {
		memcpy(copy, key.ptr, sizeof copy);
		store_remove(state.store, TABLE_REPORT, slice_of(copy, sizeof copy));
	} else {
		walk->each(walk->arg, &report);
	}
	return walk->only == 0;
}

void
report_each(void (*each)(void *arg, const struct report *report), void *arg)
{
	struct walk walk = { .each = each, .arg = arg };

	store_walk(state.store, TABLE_REPORT, SLICE(""), SLICE(""), walk_row, &walk);
}

int
report_find(uint64_t number, void (*each)(void *arg, const struct report *report), void *arg)
{
	struct walk walk = { .each = each, .arg = arg, .only = number };
	int error = store_walk(state.store, TABLE_REPORT, SLICE(""), SLICE(""), walk_row, &walk);

	return error == OK && !walk.found ? E_NOT_FOUND : error;
}

int
report_remove(uint64_t number)
{
	struct walk walk = { .only = number, .remove = true };
	int error = store_walk(state.store, TABLE_REPORT, SLICE(""), SLICE(""), walk_row, &walk);

	return error == OK && !walk.found ? E_NOT_FOUND : error;
}
