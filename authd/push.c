/*
 * push.c: push services of accounts (XEP-0357): requests, the store, what is published, and what comes
 * back. Called by request.c and main.c; the router says when, and how much waits. Fails when the store does.
 *
 * Row: version, u32 errors in a row, u64 when the first of them came, account, service, node, publish
 * options (the form, canonical).
 */
#include <gnutls/crypto.h>
#include <inttypes.h>
#include <stdlib.h>

#include "authd.h"
#include "counter.h"
#include "log.h"
#include "xmlout.h"

#define NODE_MAX     1023    /* bytes of a node */
#define OPTIONS_MAX  4096    /* bytes of publish options */
#define FAILING_TIME (UINT64_C(30) * 24 * 3600 * 1000) /* of waiting for a service that only says wait */
#define SENT_MAX     4096u   /* notifications whose answers are known */

struct service {
	char key[KEY_HASHED];
	uint32_t errors;
	uint64_t since;      /* of the first of these errors */
	struct slice account; /* these are in the store: valid until its next change */
	struct slice jid;
	struct slice node;   /* absent: none */
	struct slice options; /* absent: none */
};

/* The last notifications, so that an answer is found; older answers are ignored. */
static struct {
	uint64_t number;
	char key[KEY_HASHED];
} sent[SENT_MAX];
static uint64_t sent_last;
static uint64_t sent_secret; /* of this process: answers to another one are none to us */

/* -- rows -------------------------------------------------------------------------------------- */

static int
service_read(struct slice key, struct slice value, struct service *s)
{
	struct value_reader r = { value, OK };

	if (key.len != sizeof s->key || value_u8(&r) != VALUE_VERSION)
		return E_MALFORMED;
	memcpy(s->key, key.ptr, sizeof s->key);
	s->errors = value_u32(&r);
	s->since = value_u64(&r);
	s->account = value_slice(&r);
	s->jid = value_slice(&r);
	s->node = value_slice(&r);
	s->options = value_slice(&r);
	return r.error;
}

/* Writes a row; what s points to may be in the store. */
static void
service_write(const struct service *s)
{
	struct buf value = { 0 };

	value_add_u8(&value, VALUE_VERSION);
	value_add_u32(&value, s->errors);
	value_add_u64(&value, s->since);
	value_add_slice(&value, s->account);
	value_add_slice(&value, s->jid);
	value_add_slice(&value, s->node);
	value_add_slice(&value, s->options);
	store_put(state.store, TABLE_PUSH, slice_of(s->key, sizeof s->key), buf_slice(&value));
	buf_free(&value);
}

static void
service_key(uint64_t id, struct slice jid, struct slice node, char out[KEY_HASHED])
{
	struct buf text = { 0 };

	buf_add_slice(&text, jid);
	if (node.ptr != NULL) {
		buf_add_char(&text, '\0');
		buf_add_slice(&text, node);
	}
	state_key_hashed(id, buf_slice(&text), out);
	buf_free(&text);
}

static bool
row_count(void *arg, struct slice key, struct slice value)
{
	(void)key;
	(void)value;
	(*(size_t *)arg)++;
	return true;
}

static size_t
service_count(uint64_t id)
{
	char key[8];
	struct slice prefix = state_key(id, key);
	size_t count = 0;

	store_walk(state.store, TABLE_PUSH, prefix, prefix, row_count, &count);
	return count;
}

static bool
row_any(void *arg, struct slice key, struct slice value)
{
	(void)key;
	(void)value;
	*(bool *)arg = true;
	return false;
}

bool
push_any(uint64_t id)
{
	char key[8];
	struct slice prefix = state_key(id, key);
	bool any = false;

	store_walk(state.store, TABLE_PUSH, prefix, prefix, row_any, &any);
	return any;
}

/* -- requests ---------------------------------------------------------------------------------- */

/* What a request says. */
struct wanted {
	struct jid service;
	struct slice node;    /* absent: none */
	struct slice options; /* absent: none */
};

/* Whether a form has this value as its FORM_TYPE. */
static bool
form_is(const struct xmlin_element *form, const char *form_type)
{
	struct buf scratch = { 0 };
	struct xmlin_element field, value;
	struct slice text;
	struct xmlin in;
	bool found = false;

	xmlin_begin(&in, form->content, form->ns);
	while (!found && xmlin_child(&in, &field)) {
		buf_clear(&scratch);
		if (!slice_is(field.name, "field") || xmlin_attribute(&field, "var", &scratch, &text) != OK ||
		    !slice_is(text, "FORM_TYPE"))
			continue;
		buf_clear(&scratch);
		found = xmlin_find(field.content, field.ns, "value", NS_DATA, &value) &&
		    xmlin_text(&value, &scratch, &text) == OK && slice_is(text, form_type);
	}
	buf_free(&scratch);
	return found && in.error == OK;
}

/* Reads the publish options of a request, if there are any. */
static enum stanza_error
options_read(const struct xmlin_element *query, struct slice *options)
{
	enum stanza_error error = STANZA_ERROR_NONE;
	struct xmlin_element child;
	struct xmlin in;

	xmlin_begin(&in, query->content, query->ns);
	while (error == STANZA_ERROR_NONE && xmlin_child(&in, &child)) {
		if (!slice_is(child.name, "x") || !slice_is(child.ns, NS_DATA))
			continue; /* an extension that we do not know */
		if (options->ptr != NULL || !form_is(&child, NS_PUBLISH_OPTIONS))
			error = STANZA_ERROR_BAD_REQUEST;
		else if (child.whole.len > OPTIONS_MAX)
			error = STANZA_ERROR_POLICY_VIOLATION;
		*options = child.whole;
	}
	return error == STANZA_ERROR_NONE && in.error ? STANZA_ERROR_BAD_REQUEST : error;
}

/* Reads the attributes. prepared: gets the address. */
static enum stanza_error
wanted_read(const struct xmlin_element *query, char prepared[JID_MAX + 1], struct buf *scratch,
    struct buf *node, struct wanted *w)
{
	struct slice text;
	int error;

	if (xmlin_attribute(query, "jid", scratch, &text) != OK)
		return STANZA_ERROR_BAD_REQUEST;
	if (jid_prepare(text, prepared, &w->service) != OK)
		return STANZA_ERROR_JID_MALFORMED;
	error = xmlin_attribute(query, "node", node, &w->node);
	if (error == E_NOT_FOUND)
		w->node = SLICE_NONE;
	else if (error != OK || w->node.len > NODE_MAX)
		return STANZA_ERROR_BAD_REQUEST;
	return STANZA_ERROR_NONE;
}

static enum stanza_error
enable(const struct request *r, uint64_t id, struct wanted *w)
{
	struct service s = { .account = r->account, .jid = w->service.full, .node = w->node };
	enum stanza_error error = options_read(&r->query, &w->options);
	struct slice value;

	if (error != STANZA_ERROR_NONE)
		return error;
	/* A service that is an account here would be told whose notifications it gets, and accounts here
	 * could be sent what they did not ask for in the server's name. */
	if (state_domain(w->service.domain) != NULL)
		return STANZA_ERROR_NOT_ACCEPTABLE;
	s.options = w->options;
	service_key(id, s.jid, s.node, s.key);
	if (store_get(state.store, TABLE_PUSH, slice_of(s.key, sizeof s.key), &value) != OK &&
	    service_count(id) >= state.push_services)
		return STANZA_ERROR_RESOURCE_CONSTRAINT;
	service_write(&s);
	return STANZA_ERROR_NONE;
}

/* What is to be removed of an account, gathered before the store changes. */
struct disabling {
	struct slice service;
	struct buf keys;
};

static bool
row_disable(void *arg, struct slice key, struct slice value)
{
	struct disabling *d = arg;
	struct service s;

	if (service_read(key, value, &s) != OK || slice_equal(s.jid, d->service))
		buf_add_slice(&d->keys, key);
	return true;
}

static void
disable(uint64_t id, const struct wanted *w)
{
	struct disabling d = { .service = w->service.full };
	char key[KEY_HASHED];
	struct slice prefix;
	size_t at;

	if (w->node.ptr != NULL) {
		service_key(id, w->service.full, w->node, key);
		store_remove(state.store, TABLE_PUSH, slice_of(key, sizeof key));
		return;
	}
	prefix = state_key(id, key);
	store_walk(state.store, TABLE_PUSH, prefix, prefix, row_disable, &d);
	for (at = 0; at + KEY_HASHED <= buf_len(&d.keys); at += KEY_HASHED)
		store_remove(state.store, TABLE_PUSH, slice_part(buf_slice(&d.keys), at, KEY_HASHED));
	buf_free(&d.keys);
}

void
push_iq(const struct request *r)
{
	bool on = slice_is(r->query.name, "enable");
	struct buf scratch = { 0 }, node = { 0 };
	enum stanza_error error = STANZA_ERROR_BAD_REQUEST;
	char prepared[JID_MAX + 1];
	struct wanted w = { 0 };
	struct account a;
	bool before;

	if (!r->own || account_find(r->account, &a) != OK) {
		request_refuse(r->f, STANZA_ERROR_FORBIDDEN, NULL);
		return;
	}
	before = push_any(a.id);
	if (r->set && (on || slice_is(r->query.name, "disable")))
		error = wanted_read(&r->query, prepared, &scratch, &node, &w);
	if (error == STANZA_ERROR_NONE && on)
		error = enable(r, a.id, &w);
	else if (error == STANZA_ERROR_NONE)
		disable(a.id, &w);
	if (error != STANZA_ERROR_NONE) {
		request_refuse(r->f, error, NULL);
	} else {
		log_info(on ? "push service enabled" : "push service disabled", "account=%s service=%s",
		    log_quote(r->account), log_quote(w.service.full));
		if (push_any(a.id) != before)
			account_tell(r->account);
		request_answer(r->f, SLICE(""));
	}
	buf_free(&scratch);
	buf_free(&node);
}

/* -- publishing -------------------------------------------------------------------------------- */

static void
field_write(const char *var, struct slice value, struct buf *out)
{
	buf_printf(out, "<field var='%s'>", var);
	xml_add_element(out, "value", value);
	buf_add_string(out, "</field>");
}

/* Appends the publish request (XEP-0357 section 7). */
static void
publish_write(const struct service *s, const struct frame *f, struct buf *out)
{
	char count[24];
	int len = snprintf(count, sizeof count, "%" PRIu64, f->number);

	buf_add_string(out, "<pubsub xmlns='" NS_PUBSUB "'><publish");
	xml_add_attribute(out, "node", s->node);
	buf_add_string(out, "><item><notification xmlns='" NS_PUSH "'>"
	    "<x xmlns='" NS_DATA "' type='submit'>");
	field_write("FORM_TYPE", SLICE(NS_PUSH_SUMMARY), out);
	field_write("message-count", slice_of(count, (size_t)len), out);
	if (f->from.ptr != NULL)
		field_write("last-message-sender", f->from, out);
	if (f->text.ptr != NULL)
		field_write("last-message-body", f->text, out);
	buf_add_string(out, "</x></notification></item></publish>");
	if (s->options.ptr != NULL) {
		buf_add_string(out, "<publish-options>");
		buf_add_slice(out, s->options);
		buf_add_string(out, "</publish-options>");
	}
	buf_add_string(out, "</pubsub>");
}

/* Takes the next number for a notification. */
static uint64_t
sent_add(const char key[KEY_HASHED])
{
	uint64_t number = ++sent_last;

	if (sent_secret == 0)
		gnutls_rnd(GNUTLS_RND_NONCE, &sent_secret, sizeof sent_secret);
	sent[number % SENT_MAX].number = number;
	memcpy(sent[number % SENT_MAX].key, key, KEY_HASHED);
	return number;
}

struct publishing {
	const struct frame *f;
	struct slice domain;
};

static bool
row_publish(void *arg, struct slice key, struct slice value)
{
	const struct publishing *p = arg;
	struct frame out = { .type = FRAME_STANZA, .kind = STANZA_IQ, .subtype = TYPE_SET,
		.from = p->domain, .name = SLICE("pubsub"), .ns = SLICE(NS_PUBSUB) };
	struct buf payload = { 0 }, id = { 0 };
	struct service s;
	uint64_t number;

	if (service_read(key, value, &s) != OK) {
		log_error("push service unreadable", "account=%s", log_quote(p->f->jid));
		return true;
	}
	publish_write(&s, p->f, &payload);
	/* The text came through other hands. */
	if (xmlin_valid(buf_slice(&payload), SLICE(NS_CLIENT))) {
		number = sent_add(s.key);
		buf_printf(&id, "push-%016" PRIx64 "-%" PRIu64, sent_secret, number);
		out.to = s.jid;
		out.id = buf_slice(&id);
		out.payload = buf_slice(&payload);
		out_send(&out);
		COUNT(pushes_published);
	}
	buf_free(&payload);
	buf_free(&id);
	return true;
}

void
push_publish(const struct frame *f)
{
	struct publishing p = { .f = f };
	char key[8];
	struct slice prefix;
	struct account a;
	struct jid jid;

	if (jid_parse(f->jid, &jid) != OK || account_find(f->jid, &a) != OK)
		return;
	p.domain = jid.domain;
	prefix = state_key(a.id, key);
	store_walk(state.store, TABLE_PUSH, prefix, prefix, row_publish, &p);
}

/* -- answers ----------------------------------------------------------------------------------- */

/* Finds the notification that an answer is about; NULL when it is none of ours, or too old. */
static const char *
sent_find(struct slice id)
{
	char text[64], expected[64];
	const char *dash = id.len < sizeof text && id.len > 0 ? memrchr(id.ptr, '-', id.len) : NULL;
	uint64_t number;
	size_t at;

	if (dash == NULL || sent_last == 0)
		return NULL;
	at = (size_t)(dash - id.ptr) + 1;
	if (slice_number(slice_part(id, at, id.len), UINT64_MAX, &number) != OK || number == 0 ||
	    sent[number % SENT_MAX].number != number)
		return NULL;
	snprintf(expected, sizeof expected, "push-%016" PRIx64 "-%" PRIu64, sent_secret, number);
	return slice_is(id, expected) ? sent[number % SENT_MAX].key : NULL;
}

/* Whether an error says that it may be better later. */
static bool
is_transient(const struct frame *f)
{
	struct buf scratch = { 0 };
	struct xmlin_element error;
	struct slice type;
	bool transient;

	transient = xmlin_find(f->payload, SLICE(NS_CLIENT), "error", NS_CLIENT, &error) &&
	    xmlin_attribute(&error, "type", &scratch, &type) == OK && slice_is(type, "wait");
	buf_free(&scratch);
	return transient;
}

/* Removes a service that has failed too often. */
static void
give_up(const struct service *s)
{
	uint64_t id = store_key_read_u64(s->key);
	struct buf account = { 0 };

	buf_add_slice(&account, s->account);
	COUNT(push_services_removed);
	log_info("push service removed", "account=%s service=%s errors=%u", log_quote(s->account),
	    log_quote(s->jid), s->errors);
	store_remove(state.store, TABLE_PUSH, slice_of(s->key, sizeof s->key));
	if (!push_any(id))
		account_tell(buf_slice(&account));
	buf_free(&account);
}

void
push_answer(const struct frame *f, uint64_t now)
{
	const char *key = sent_find(f->id);
	struct slice value;
	struct service s;

	if (key == NULL || store_get(state.store, TABLE_PUSH, slice_of(key, KEY_HASHED), &value) != OK ||
	    service_read(slice_of(key, KEY_HASHED), value, &s) != OK || !slice_equal(f->from, s.jid))
		return;
	if (f->subtype == TYPE_RESULT) {
		if (s.errors == 0 && s.since == 0)
			return;
		s.errors = 0;
		s.since = 0;
		service_write(&s);
		return;
	}
	COUNT(pushes_failed);
	if (s.since == 0)
		s.since = now;
	if (!is_transient(f))
		s.errors++;
	if (s.errors >= state.push_errors || now - s.since >= FAILING_TIME)
		give_up(&s);
	else
		service_write(&s);
}
