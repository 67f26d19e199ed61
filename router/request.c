/*
 * request.c: requests that the router answers itself: service discovery (disco.c), ping
 * (XEP-0199), entity time (XEP-0202), version (XEP-0092), last activity of the server and of
 * accounts that are online (XEP-0012).
 * Carbons (XEP-0280) are carbon.c's.
 *
 * Called by route.c with get and set requests that no daemon has registered for. A payload is never
 * read: namespace, name and node of a request are in its frame.
 */
#include "router.h"

#include <time.h>

#include "ns.h"
#include "xmlout.h"

static uint64_t started; /* ticks */

static void
answer(const struct frame *f, struct slice payload)
{
	struct frame reply;

	stanza_result(f, payload, &reply);
	route_reply(&reply);
}

/* -- small services ---------------------------------------------------------------------------- */

static void
ping(const struct frame *f, struct session *sender)
{
	(void)sender;
	answer(f, SLICE(""));
}

static void
entity_time(const struct frame *f, struct session *sender)
{
	struct buf out = { 0 };
	char stamp[32];

	(void)sender;
	stanza_stamp(daemon_now(), stamp);
	buf_add_string(&out, "<time xmlns='" NS_TIME "'><tzo>+00:00</tzo>");
	xml_add_element(&out, "utc", slice_string(stamp));
	buf_add_string(&out, "</time>");
	answer(f, buf_slice(&out));
	buf_free(&out);
}

static void
version(const struct frame *f, struct session *sender)
{
	(void)sender;
	answer(f, SLICE("<query xmlns='" NS_VERSION "'><name>Aldis</name><version>" ALDIS_VERSION
	    "</version></query>"));
}

static void
last_server(const struct frame *f, struct session *sender)
{
	struct buf out = { 0 };

	(void)sender;
	buf_add_string(&out, "<query xmlns='" NS_LAST "' seconds='");
	buf_add_number(&out, (daemon_ticks() - started) / 1000);
	buf_add_string(&out, "'/>");
	answer(f, buf_slice(&out));
	buf_free(&out);
}

/* The account is online: authd answers for the others. */
static void
last_account(const struct frame *f, struct session *sender)
{
	(void)sender;
	answer(f, SLICE("<query xmlns='" NS_LAST "' seconds='0'/>"));
}

/* -- who answers what -------------------------------------------------------------------------- */

enum scope { SCOPE_SERVER, SCOPE_ACCOUNT };

static const struct service {
	enum scope scope;
	const char *ns;
	const char *name; /* of the payload */
	void (*get)(const struct frame *f, struct session *sender);
	void (*set)(const struct frame *f, struct session *sender); /* NULL: not allowed; get likewise */
	bool (*node)(const struct frame *f, struct session *sender); /* a get with a node; false, or NULL:
	                                                                there is no such node */
} services[] = {
	{ SCOPE_SERVER, NS_DISCO_INFO, "query", disco_info_server, NULL, disco_node_server },
	{ SCOPE_SERVER, NS_DISCO_ITEMS, "query", disco_items_server, NULL, adhoc_items },
	{ SCOPE_SERVER, NS_PING, "ping", ping, NULL, NULL },
	{ SCOPE_SERVER, NS_TIME, "time", entity_time, NULL, NULL },
	{ SCOPE_SERVER, NS_VERSION, "query", version, NULL, NULL },
	{ SCOPE_SERVER, NS_COMMANDS, "command", NULL, adhoc_command, NULL },
	{ SCOPE_SERVER, NS_LAST, "query", last_server, NULL, NULL },
	{ SCOPE_ACCOUNT, NS_DISCO_INFO, "query", disco_info_account, NULL, NULL },
	{ SCOPE_ACCOUNT, NS_DISCO_ITEMS, "query", disco_items_account, NULL, NULL },
	{ SCOPE_ACCOUNT, NS_PING, "ping", ping, NULL, NULL },
	{ SCOPE_ACCOUNT, NS_LAST, "query", last_account, NULL, NULL },
};

void
request_start(void)
{
	started = daemon_ticks();
}

bool
request_serves(struct slice ns)
{
	size_t i;

	for (i = 0; i < sizeof services / sizeof *services; i++) {
		if (slice_is(ns, services[i].ns))
			return true;
	}
	return slice_is(ns, NS_CARBONS);
}

static void
request_serve(const struct service *s, const struct frame *f, struct session *sender)
{
	void (*serve)(const struct frame *, struct session *) = f->subtype == TYPE_SET ? s->set : s->get;

	if (serve == NULL)
		route_error(f, STANZA_ERROR_NOT_ALLOWED, NULL);
	else if (f->subtype == TYPE_SET || f->node.len == 0)
		serve(f, sender);
	else if (s->node == NULL || !s->node(f, sender))
		route_error(f, STANZA_ERROR_ITEM_NOT_FOUND, NULL);
}

/* Answers from the table, or says that nobody does. */
static void
request_answer(const struct frame *f, struct session *sender, enum scope scope)
{
	size_t i;

	for (i = 0; i < sizeof services / sizeof *services; i++) {
		const struct service *s = &services[i];

		if (s->scope != scope || !slice_is(f->ns, s->ns) || !slice_is(f->name, s->name))
			continue;
		request_serve(s, f, sender);
		return;
	}
	route_error(f, STANZA_ERROR_SERVICE_UNAVAILABLE, NULL);
}

void
request_server(const struct frame *f, struct session *sender)
{
	request_answer(f, sender, SCOPE_SERVER);
}

/* Whether the sender of a request may see the presence of an account, by the roster of a side that is
 * here. */
static bool
is_allowed(const struct frame *f, const struct session *sender, struct slice jid)
{
	const struct account *account;

	if (!sender->remote)
		return slice_equal(jid, account_jid(sender->account)) ||
		    (account_bits(sender->account, jid) & ROSTER_TO);
	account = account_find(jid);
	return account != NULL && (account_bits(account, jid_bare_of(f->from)) & ROSTER_FROM);
}

/* Strangers get the answer that an account that does not exist gives (RFC 6121 section 8.5.1). */
void
request_account(const struct frame *f, struct session *sender, struct slice jid)
{
	bool allowed = is_allowed(f, sender, jid);

	if (slice_is(f->ns, NS_MAM))
		route_error(f, STANZA_ERROR_FORBIDDEN, NULL); /* also to who is blocked */
	else if (block_is(jid, f->from))
		route_error(f, STANZA_ERROR_SERVICE_UNAVAILABLE, NULL);
	else if (slice_is(f->ns, NS_CARBONS))
		carbon_request(f, sender, jid);
	else if (!allowed && slice_is(f->ns, NS_LAST) && f->subtype == TYPE_GET)
		route_error(f, STANZA_ERROR_FORBIDDEN, NULL);
	else if (!allowed)
		route_error(f, STANZA_ERROR_SERVICE_UNAVAILABLE, NULL);
	else
		request_answer(f, sender, SCOPE_ACCOUNT);
}
