/*
 * last.c: when accounts were last online (XEP-0012). Called by main.c and request.c; the router
 * answers for accounts that are online. Row: version, u64 milliseconds since 1970.
 */
#include <inttypes.h>

#include "authd.h"
#include "xmlout.h"

void
last_set(struct slice account, uint64_t stamp)
{
	struct buf value = { 0 };
	struct account a;
	char key[8];

	if (account_find(account, &a) != OK)
		return;
	value_add_u8(&value, VALUE_VERSION);
	value_add_u64(&value, stamp);
	store_put(state.store, TABLE_LAST, state_key(a.id, key), buf_slice(&value));
	buf_free(&value);
}

uint64_t
last_get(uint64_t id)
{
	struct slice value;
	struct value_reader r;
	char key[8];

	if (store_get(state.store, TABLE_LAST, state_key(id, key), &value) != OK)
		return 0;
	r = (struct value_reader){ value, OK };
	return value_u8(&r) == VALUE_VERSION ? value_u64(&r) : 0;
}

bool
last_allowed(const struct request *r, const struct account *a)
{
	struct buf memory = { 0 };
	struct roster_item item;
	bool sees;

	if (r->own)
		return true;
	sees = roster_get(a->id, r->from, &memory, &item) == OK && item.bits & ROSTER_FROM;
	buf_free(&memory);
	return sees;
}

void
last_iq(const struct request *r)
{
	struct buf payload = { 0 };
	struct account a;
	uint64_t last;

	/* No account and no permission look the same. */
	if (account_find(r->account, &a) != OK || !last_allowed(r, &a)) {
		request_refuse(r->f, STANZA_ERROR_FORBIDDEN, NULL);
		return;
	}
	if (r->set) {
		request_refuse(r->f, STANZA_ERROR_BAD_REQUEST, NULL);
		return;
	}
	last = last_get(a.id);
	if (last == 0)
		last = a.created;
	buf_printf(&payload, "<query xmlns='" NS_LAST "' seconds='%" PRIu64 "'/>",
	    r->now > last ? (r->now - last) / 1000 : 0);
	request_answer(r->f, buf_slice(&payload));
	buf_free(&payload);
}
