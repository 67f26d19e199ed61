/*
 * private.c: private XML (XEP-0049). Called by request.c. One row for each name and namespace:
 * version, the element in canonical form.
 */
#include "authd.h"
#include "xmlout.h"

/* The key of an element: the account, and the hash of namespace and name. */
static struct slice
element_key(uint64_t id, const struct xmlin_element *element, char out[KEY_HASHED])
{
	struct buf text = { 0 };
	struct slice key;

	buf_add_slice(&text, element->ns);
	buf_add_char(&text, ' ');
	buf_add_slice(&text, element->name);
	key = state_key_hashed(id, buf_slice(&text), out);
	buf_free(&text);
	return key;
}

static bool
row_count(void *arg, struct slice key, struct slice value)
{
	(void)key;
	(void)value;
	(*(size_t *)arg)++;
	return true;
}

/* Whether an element may be stored. */
static enum stanza_error
element_check(uint64_t id, const struct xmlin_element *element)
{
	char key[KEY_HASHED], prefix[8];
	struct slice value;
	size_t count = 0;

	if (element->ns.len == 0 || slice_is(element->ns, NS_PRIVATE))
		return STANZA_ERROR_NOT_ACCEPTABLE;
	if (element->whole.len > state.private_size)
		return STANZA_ERROR_POLICY_VIOLATION;
	if (store_get(state.store, TABLE_PRIVATE, element_key(id, element, key), &value) == OK)
		return STANZA_ERROR_NONE;
	store_walk(state.store, TABLE_PRIVATE, state_key(id, prefix), state_key(id, prefix),
	    row_count, &count);
	return count < state.private_items ? STANZA_ERROR_NONE : STANZA_ERROR_RESOURCE_CONSTRAINT;
}

static void
element_put(uint64_t id, const struct xmlin_element *element)
{
	struct buf value = { 0 };
	char key[KEY_HASHED];

	value_add_u8(&value, VALUE_VERSION);
	buf_add_slice(&value, element->whole);
	store_put(state.store, TABLE_PRIVATE, element_key(id, element, key), buf_slice(&value));
	buf_free(&value);
}

enum stanza_error
private_put(uint64_t id, const struct xmlin_element *element)
{
	enum stanza_error error = element_check(id, element);

	if (error == STANZA_ERROR_NONE)
		element_put(id, element);
	return error;
}

/* Stores the elements up to the first that may not be; there is nearly always one. */
static void
set(const struct request *r, const struct account *a)
{
	struct xmlin in;
	struct xmlin_element element;
	enum stanza_error error = STANZA_ERROR_NONE;
	size_t count = 0;

	xmlin_begin(&in, r->query.content, r->query.ns);
	while (error == STANZA_ERROR_NONE && xmlin_child(&in, &element)) {
		count++;
		error = private_put(a->id, &element);
	}
	if (in.error || count == 0)
		error = in.error ? STANZA_ERROR_BAD_REQUEST : STANZA_ERROR_NOT_ACCEPTABLE;
	if (error != STANZA_ERROR_NONE)
		request_refuse(r->f, error, NULL);
	else
		request_answer(r->f, SLICE(""));
}

/* Answers with the element that is stored, or with the empty one that was asked for. */
static void
get(const struct request *r, const struct account *a)
{
	struct xmlin in;
	struct xmlin_element element, second;
	struct buf payload = { 0 };
	struct slice value;
	char key[KEY_HASHED];

	xmlin_begin(&in, r->query.content, r->query.ns);
	if (!xmlin_child(&in, &element) || xmlin_child(&in, &second) || in.error) {
		request_refuse(r->f, STANZA_ERROR_BAD_REQUEST, NULL);
		return;
	}
	if (element.ns.len == 0 || slice_is(element.ns, NS_PRIVATE)) {
		request_refuse(r->f, STANZA_ERROR_NOT_ACCEPTABLE, NULL);
		return;
	}
	xml_open(&payload, "query", SLICE(NS_PRIVATE));
	buf_add_char(&payload, '>');
	if (store_get(state.store, TABLE_PRIVATE, element_key(a->id, &element, key), &value) == OK &&
	    value.len > 1 && value.ptr[0] == VALUE_VERSION)
		buf_add_slice(&payload, slice_part(value, 1, value.len));
	else
		buf_add_slice(&payload, element.whole);
	buf_add_string(&payload, "</query>");
	request_answer(r->f, buf_slice(&payload));
	buf_free(&payload);
}

void
private_iq(const struct request *r)
{
	struct account a;

	if (!r->own || account_find(r->account, &a) != OK)
		request_refuse(r->f, STANZA_ERROR_FORBIDDEN, NULL);
	else if (r->set)
		set(r, &a);
	else
		get(r, &a);
}
