/*
 * vcard.c: vCards (XEP-0054). Called by request.c. Row: version, the <vCard/> element in canonical
 * form.
 */
#include "authd.h"

enum stanza_error
vcard_put(uint64_t id, const struct xmlin_element *vcard)
{
	struct buf value = { 0 };
	char key[8];

	if (vcard->whole.len > state.vcard_size)
		return STANZA_ERROR_POLICY_VIOLATION;
	value_add_u8(&value, VALUE_VERSION);
	buf_add_slice(&value, vcard->whole);
	store_put(state.store, TABLE_VCARD, state_key(id, key), buf_slice(&value));
	buf_free(&value);
	return STANZA_ERROR_NONE;
}

static void
set(const struct request *r, const struct account *a)
{
	if (vcard_put(a->id, &r->query) != STANZA_ERROR_NONE)
		request_refuse(r->f, STANZA_ERROR_POLICY_VIOLATION, "the vCard is too large");
	else
		request_answer(r->f, SLICE(""));
}

/* Of others, no account, no vCard and no right to see it look the same, against the harvesting of addresses. */
static void
get(const struct request *r, const struct account *a)
{
	struct slice value;
	char key[8];

	if (a != NULL && (state.vcard_strangers || last_allowed(r, a)) &&
	    store_get(state.store, TABLE_VCARD, state_key(a->id, key), &value) == OK &&
	    value.len > 1 && value.ptr[0] == VALUE_VERSION)
		request_answer(r->f, slice_part(value, 1, value.len));
	else
		request_refuse(r->f, r->own ? STANZA_ERROR_ITEM_NOT_FOUND :
		    STANZA_ERROR_SERVICE_UNAVAILABLE, NULL);
}

void
vcard_iq(const struct request *r)
{
	struct account a;
	bool exists = account_find(r->account, &a) == OK;

	if (r->set && (!r->own || !exists))
		request_refuse(r->f, STANZA_ERROR_FORBIDDEN, NULL);
	else if (r->set)
		set(r, &a);
	else
		get(r, exists ? &a : NULL);
}
