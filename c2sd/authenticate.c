/*
 * authenticate.c: reads <authenticate/> (XEP-0388): the initial response, the client's software, and
 * what it wants done at once when it has authenticated.
 *
 * Called by sasl2.c. No input or output. What can fail is what the client wrote: it gets a failure
 * with the condition that is returned. A child that nobody here knows is left out, as the
 * specification allows more of them; one that is known may be there once.
 */
#include "c2sd.h"

#include <stdlib.h>

#include <gnutls/crypto.h>

#include "error.h"
#include "mem.h"
#include "ns.h"
#include "xmlin.h"

#define SOFTWARE_MAX 256u /* bytes of what a client says of itself */

#define TAG_MAX      256u /* bytes of its part of the resource */
#define SM_ID_MAX    256u
#define MECH_MAX     64u  /* of a mechanism */
#define TASKS_MAX    8u
#define WORD_BYTES   8u   /* of a resource, written in hexadecimal */

#define MALFORMED "malformed-request"

struct wishes *
wishes_new(void)
{
	struct wishes *w = mem_alloc(sizeof *w);

	w->data.secret = true;
	w->token.secret = true;
	return w;
}

void
wishes_free(struct wishes **wishes)
{
	struct wishes *w = *wishes;

	if (w == NULL)
		return;
	buf_free(&w->data);
	buf_free(&w->final);
	buf_free(&w->token);
	buf_free(&w->tasks);
	free(w->wanted);
	free(w->version);
	free(w->software);
	free(w->device);
	free(w->tag);
	free(w->previd);
	free(w->h);
	MEM_FREE(wishes);
}

/* Text and nothing else: no child. The caller frees scratch. */
static int
text_only(const struct xmlin_element *element, struct buf *scratch, struct slice *text)
{
	struct xmlin_element child;
	struct xmlin in;

	xmlin_begin(&in, element->content, element->ns);
	if (xmlin_child(&in, &child) || in.error != OK)
		return E_MALFORMED;
	return xmlin_text(element, scratch, text);
}

static const char *
read_initial(const struct xmlin_element *element, struct wishes *w)
{
	struct buf scratch = { .secret = true };
	const char *condition = NULL;
	struct slice text;

	w->has_data = true;
	if (text_only(element, &scratch, &text) != OK)
		condition = MALFORMED;
	else if (slice_is(text, "=") || sasl_decode(text, &w->data) != OK)
		condition = "incorrect-encoding";
	buf_free(&scratch);
	return condition;
}

bool
uuid_read(struct slice text, char uuid[UUID_LEN + 1])
{
	static const char form[] = "xxxxxxxx-xxxx-4xxx-vxxx-xxxxxxxxxxxx";
	size_t i;

	if (text.len != UUID_LEN)
		return false;
	for (i = 0; i < UUID_LEN; i++) {
		char c = text.ptr[i];

		if (c >= 'A' && c <= 'F')
			c = (char)(c - 'A' + 'a');
		uuid[i] = c;
		if (form[i] == 'x' ? memchr("0123456789abcdef", c, 16) == NULL
		    : form[i] == 'v' ? memchr("89ab", c, 4) == NULL : c != form[i])
			return false;
	}
	uuid[UUID_LEN] = '\0';
	return true;
}

/* Words of a client, which may be there once: no longer than max. */
static const char *
read_words(const struct xmlin_element *element, size_t max, char **words)
{
	struct buf scratch = { 0 };
	const char *condition = NULL;
	struct slice text;

	if (text_only(element, &scratch, &text) != OK || text.len > max || *words != NULL)
		condition = MALFORMED;
	else
		*words = slice_dup(text);
	buf_free(&scratch);
	return condition;
}

static const char *
read_agent(const struct xmlin_element *element, struct wishes *w)
{
	struct buf scratch = { 0 };
	const char *condition = NULL;
	struct xmlin_element child;
	struct slice id;
	struct xmlin in;
	int error = xmlin_attribute(element, "id", &scratch, &id);

	if (error != E_NOT_FOUND && (error != OK || !uuid_read(id, w->agent)))
		condition = MALFORMED;
	xmlin_begin(&in, element->content, element->ns);
	while (condition == NULL && xmlin_child(&in, &child)) {
		if (slice_is(child.ns, NS_SASL2) && slice_is(child.name, "software"))
			condition = read_words(&child, SOFTWARE_MAX, &w->software);
		else if (slice_is(child.ns, NS_SASL2) && slice_is(child.name, "device"))
			condition = read_words(&child, SOFTWARE_MAX, &w->device);
	}
	if (in.error != OK)
		condition = MALFORMED;
	buf_free(&scratch);
	return condition;
}

/* A copy of an attribute, NULL without one, or when it is longer than any of ours. */
static char *
attribute_copy(const struct xmlin_element *element, const char *name)
{
	struct buf scratch = { 0 };
	struct slice value;
	char *copy = NULL;

	if (xmlin_attribute(element, name, &scratch, &value) == OK && value.len <= SM_ID_MAX)
		copy = slice_dup(value);
	buf_free(&scratch);
	return copy;
}

static const char *
read_enable(const struct xmlin_element *element, struct wishes *w)
{
	char *resume, *max;

	if (w->enable)
		return MALFORMED;
	resume = attribute_copy(element, "resume");
	max = attribute_copy(element, "max");
	w->enable = true;
	management_wanted(slice_string(resume), slice_string(max), &w->enable_resume,
	    &w->enable_max);
	free(resume);
	free(max);
	return NULL;
}

static const char *
read_bind(const struct xmlin_element *element, struct wishes *w)
{
	const char *condition = NULL;
	struct xmlin_element child;
	struct xmlin in;

	w->bind = true;
	xmlin_begin(&in, element->content, element->ns);
	while (condition == NULL && xmlin_child(&in, &child)) {
		if (slice_is(child.ns, NS_BIND2) && slice_is(child.name, "tag"))
			condition = read_words(&child, TAG_MAX, &w->tag);
		else if (slice_is(child.ns, NS_SM) && slice_is(child.name, "enable"))
			condition = read_enable(&child, w);
		else if (slice_is(child.ns, NS_CARBONS) && slice_is(child.name, "enable"))
			w->carbons = true;
		else if (slice_is(child.ns, NS_CSI))
			w->inactive = slice_is(child.name, "inactive");
	}
	return in.error != OK ? MALFORMED : condition;
}

/* What is wrong with it is no failure to authenticate: see resume_begin(). */
static const char *
read_resume(const struct xmlin_element *element, struct wishes *w)
{
	w->resume = true;
	w->previd = attribute_copy(element, "previd");
	w->h = attribute_copy(element, "h");
	return NULL;
}

/* Reads an attribute that is true, false, or not there. */
static int
read_flag(const struct xmlin_element *element, const char *name, bool *flag)
{
	struct buf scratch = { 0 };
	struct slice value;
	int error = xmlin_attribute(element, name, &scratch, &value);

	if (error == OK && !slice_is(value, "0") && !slice_is(value, "false")) {
		*flag = slice_is(value, "1") || slice_is(value, "true");
		error = *flag ? OK : E_MALFORMED;
	}
	buf_free(&scratch);
	return error == E_NOT_FOUND ? OK : error;
}

static const char *
read_fast(const struct xmlin_element *element, struct wishes *w)
{
	struct buf scratch = { 0 };
	struct slice count;
	int error = xmlin_attribute(element, "count", &scratch, &count);

	w->fast = true;
	if (error == OK)
		error = slice_number(count, INT64_MAX, &w->count);
	if (error == OK && w->count == 0)
		error = E_MALFORMED; /* it counts from one */
	if (error == E_NOT_FOUND)
		error = OK;
	if (error == OK)
		error = read_flag(element, "invalidate", &w->invalidate);
	buf_free(&scratch);
	return error == OK ? NULL : MALFORMED;
}

static const char *
read_request_token(const struct xmlin_element *element, struct wishes *w)
{
	w->wanted = attribute_copy(element, "mechanism");
	return w->wanted != NULL && w->wanted[0] != '\0' && strlen(w->wanted) <= MECH_MAX ? NULL :
	    MALFORMED;
}

/* Whatever its scheme is, it must be ours to the letter. */
static const char *
read_version(const struct xmlin_element *element, struct wishes *w)
{
	w->version = attribute_copy(element, "value");
	return w->version != NULL ? NULL : MALFORMED;
}

/* The name of a task; authd knows which there are. Too many are left out. */
static const char *
read_upgrade(const struct xmlin_element *element, struct wishes *w)
{
	struct buf scratch = { 0 };
	const char *condition = NULL;
	struct slice name;

	if (text_only(element, &scratch, &name) != OK || name.len == 0 || name.len > MECH_MAX ||
	    memchr(name.ptr, ' ', name.len) != NULL) {
		condition = MALFORMED;
	} else if (w->task_names++ < TASKS_MAX) {
		if (buf_len(&w->tasks) != 0)
			buf_add_char(&w->tasks, ' ');
		buf_add_slice(&w->tasks, name);
	}
	buf_free(&scratch);
	return condition;
}

int
task_data_read(const struct xml_element *element, struct buf *data)
{
	struct buf scratch = { .secret = true };
	struct xmlin_element hash;
	struct slice text;
	int error = E_MALFORMED;

	data->secret = true;
	if (xmlin_find(element->payload, SLICE(NS_SASL2), "hash", NS_SCRAM_UPGRADE, &hash) &&
	    text_only(&hash, &scratch, &text) == OK && text.len != 0)
		error = sasl_decode(text, data);
	buf_free(&scratch);
	return error;
}

static const struct {
	const char *name, *ns;
	const char *(*read)(const struct xmlin_element *element, struct wishes *w);
	bool many; /* may be there several times */
} children[] = {
	{ "initial-response", NS_SASL2, read_initial, false },
	{ "user-agent", NS_SASL2, read_agent, false },
	{ "bind", NS_BIND2, read_bind, false },
	{ "resume", NS_SM, read_resume, false },
	{ "fast", NS_FAST, read_fast, false },
	{ "request-token", NS_FAST, read_request_token, false },
	{ "upgrade", NS_UPGRADE, read_upgrade, true },
	{ "config-version", NS_IAP, read_version, false },
};

#define CHILDREN (sizeof children / sizeof *children)

const char *
authenticate_read(const struct xml_element *element, struct wishes *w)
{
	struct xmlin_element child;
	bool seen[CHILDREN] = { false };
	struct xmlin in;
	const char *condition = NULL;
	size_t i;

	xmlin_begin(&in, element->payload, element->ns);
	while (condition == NULL && xmlin_child(&in, &child)) {
		for (i = 0; i < CHILDREN; i++) {
			if (!slice_is(child.name, children[i].name) ||
			    !slice_is(child.ns, children[i].ns))
				continue;
			condition = seen[i] && !children[i].many ? MALFORMED : children[i].read(&child, w);
			seen[i] = true;
		}
	}
	return in.error != OK ? MALFORMED : condition;
}

/* The word that names a client, or any. */
static void
word_make(const struct wishes *w, struct slice account, unsigned char word[WORD_BYTES])
{
	unsigned char hash[32];
	struct buf text = { 0 };

	if (w->agent[0] == '\0') {
		gnutls_rnd(GNUTLS_RND_NONCE, word, WORD_BYTES);
		return;
	}
	buf_printf(&text, "resource %s ", w->agent);
	buf_add_slice(&text, account);
	gnutls_hash_fast(GNUTLS_DIG_SHA256, buf_slice(&text).ptr, buf_len(&text), hash);
	memcpy(word, hash, WORD_BYTES);
	buf_free(&text);
}

void
wishes_resource(const struct wishes *w, struct slice account, struct buf *resource)
{
	char prepared[JID_PART_MAX + 1];
	unsigned char word[WORD_BYTES];
	struct slice part;
	size_t at;

	word_make(w, account, word);
	if (w->tag != NULL && w->tag[0] != '\0')
		buf_printf(resource, "%s/", w->tag);
	at = buf_len(resource);
	buf_add_hex(resource, word, WORD_BYTES);
	if (jid_prepare_resource(buf_slice(resource), prepared, &part) != OK) {
		buf_consume(resource, at); /* without the tag, which no resource can have in it */
		return;
	}
	buf_clear(resource);
	buf_add_slice(resource, part);
}
