/*
 * request.c: every iq: finds who answers a namespace of the domain, of a room or of an occupant, and
 * checks what came. The smallest services are here as well: ping (XEP-0199), version (XEP-0092),
 * entity time (XEP-0202), last activity (XEP-0012) and unique names of rooms (XEP-0307). Called by
 * inbox.c; what is wrong with a request is answered with a stanza error.
 */
#include <gnutls/crypto.h>
#include <gnutls/gnutls.h>

#include "log.h"
#include "mucd.h"
#include "ns.h"
#include "xmlout.h"

#define UNIQUE_BYTES 10 /* of a name that nobody guesses and that meets no other */

static uint64_t started;

/* -- small services ---------------------------------------------------------------------------- */

static void
ping(const struct frame *f, struct room *room, uint64_t now)
{
	(void)room;
	(void)now;
	answer_result(f, SLICE(""));
}

static void
version(const struct frame *f, struct room *room, uint64_t now)
{
	(void)room;
	(void)now;
	answer_result(f, SLICE("<query xmlns='" NS_VERSION "'><name>Aldis</name><version>" ALDIS_VERSION
	    "</version></query>"));
}

static void
entity_time(const struct frame *f, struct room *room, uint64_t now)
{
	struct buf out = { 0 };
	char stamp[32];

	(void)room;
	stanza_stamp(now, stamp);
	buf_add_string(&out, "<time xmlns='" NS_TIME "'><tzo>+00:00</tzo>");
	xml_add_element(&out, "utc", slice_string(stamp));
	buf_add_string(&out, "</time>");
	answer_result(f, buf_slice(&out));
	buf_free(&out);
}

/* How long the service has been running. */
static void
last(const struct frame *f, struct room *room, uint64_t now)
{
	struct buf out = { 0 };

	(void)room;
	buf_add_string(&out, "<query xmlns='" NS_LAST "' seconds='");
	buf_add_number(&out, now > started ? (now - started) / 1000 : 0);
	buf_add_string(&out, "'/>");
	answer_result(f, buf_slice(&out));
	buf_free(&out);
}

void
request_start(uint64_t now)
{
	started = now;
}

/* A name that no room has, for who may make one. */
static void
unique(const struct frame *f, struct room *room, uint64_t now)
{
	const struct domain *domain = domain_find(f->to);
	unsigned char bytes[UNIQUE_BYTES];
	struct buf out = { 0 };

	(void)room;
	(void)now;
	if (!domain_may_create(domain, jid_bare_of(f->from), f->handle != 0)) {
		answer_error(f, STANZA_ERROR_NOT_ALLOWED, "You may not make rooms here");
		return;
	}
	if (gnutls_rnd(GNUTLS_RND_NONCE, bytes, sizeof bytes) != 0)
		log_panic(__FILE__, __LINE__, "no random bytes");
	buf_add_string(&out, "<unique xmlns='" NS_MUC_UNIQUE "'>");
	buf_add_hex(&out, bytes, sizeof bytes);
	buf_add_string(&out, "</unique>");
	answer_result(f, buf_slice(&out));
	buf_free(&out);
}

/* -- those of other files, with the arguments that they take ----------------------------------- */

static void
disco(const struct frame *f, struct room *room, uint64_t now)
{
	(void)now;
	disco_request(f, room);
}

static void
vcard(const struct frame *f, struct room *room, uint64_t now)
{
	(void)now;
	vcard_request(f, room);
}

static void
mam(const struct frame *f, struct room *room, uint64_t now)
{
	(void)now;
	mam_request(f, room);
}

static void
admin(const struct frame *f, struct room *room, uint64_t now)
{
	admin_request(room, f, now);
}

static void
owner(const struct frame *f, struct room *room, uint64_t now)
{
	owner_request(room, f, now);
}

/* -- who answers what -------------------------------------------------------------------------- */

enum scope { SCOPE_DOMAIN, SCOPE_ROOM };

static const struct service {
	enum scope scope;
	const char *ns;
	const char *name; /* of the payload; NULL: it has several */
	void (*get)(const struct frame *f, struct room *room, uint64_t now);
	void (*set)(const struct frame *f, struct room *room, uint64_t now); /* NULL: not allowed; get likewise */
	bool open;        /* also for those from whom the room is hidden */
} services[] = {
	{ SCOPE_DOMAIN, NS_DISCO_INFO, "query", disco, NULL, true },
	{ SCOPE_DOMAIN, NS_DISCO_ITEMS, "query", disco, NULL, true },
	{ SCOPE_DOMAIN, NS_PING, "ping", ping, NULL, true },
	{ SCOPE_DOMAIN, NS_VERSION, "query", version, NULL, true },
	{ SCOPE_DOMAIN, NS_TIME, "time", entity_time, NULL, true },
	{ SCOPE_DOMAIN, NS_LAST, "query", last, NULL, true },
	{ SCOPE_DOMAIN, NS_VCARD, "vCard", vcard, NULL, true },
	{ SCOPE_DOMAIN, NS_MUC_UNIQUE, "unique", unique, NULL, true },
	{ SCOPE_ROOM, NS_DISCO_INFO, "query", disco, NULL, false },
	{ SCOPE_ROOM, NS_DISCO_ITEMS, "query", disco, NULL, false },
	{ SCOPE_ROOM, NS_PING, "ping", ping, NULL, false },
	{ SCOPE_ROOM, NS_VERSION, "query", version, NULL, false },
	{ SCOPE_ROOM, NS_TIME, "time", entity_time, NULL, false },
	{ SCOPE_ROOM, NS_VCARD, "vCard", vcard, vcard, false },
	{ SCOPE_ROOM, NS_MAM, NULL, mam, mam, false }, /* query, metadata */
	{ SCOPE_ROOM, NS_MODERATE, "moderate", NULL, moderate_request, false },
	{ SCOPE_ROOM, NS_COMMANDS, "command", NULL, hat_command_request, false },
	{ SCOPE_ROOM, NS_MUC_ADMIN, "query", admin, admin, true },
	{ SCOPE_ROOM, NS_MUC_OWNER, "query", owner, owner, true },
	{ SCOPE_ROOM, NS_REGISTER, "query", register_request, register_request, true },
};

static const struct service *
service_find(const struct frame *f, enum scope scope)
{
	size_t i;

	for (i = 0; i < sizeof services / sizeof *services; i++)
		if (services[i].scope == scope && slice_is(f->ns, services[i].ns) &&
		    (services[i].name == NULL || slice_is(f->name, services[i].name)))
			return &services[i];
	return NULL;
}

/* Whether a request has the one child that its head tells of. */
static bool
is_well_formed(const struct frame *f)
{
	struct xmlin_element child, second;
	struct xmlin in;

	xmlin_begin(&in, f->payload, SLICE(NS_CLIENT));
	return xmlin_child(&in, &child) && !xmlin_child(&in, &second) && in.error == OK &&
	    slice_equal(child.ns, f->ns) && slice_equal(child.name, f->name);
}

static void
serve(const struct frame *f, enum scope scope, struct room *room, uint64_t now)
{
	const struct service *s = service_find(f, scope);

	if (scope == SCOPE_ROOM && (room == NULL ||
	    (!access_known(room, f->from) && (s == NULL || !s->open))))
		answer_error(f, STANZA_ERROR_ITEM_NOT_FOUND, "There is no such room");
	else if (s == NULL)
		answer_error(f, STANZA_ERROR_SERVICE_UNAVAILABLE, NULL);
	else if ((f->subtype == TYPE_SET ? s->set : s->get) == NULL)
		answer_error(f, STANZA_ERROR_NOT_ALLOWED, NULL);
	else if (f->subtype == TYPE_SET)
		s->set(f, room, now);
	else
		s->get(f, room, now);
}

void
request_handle(const struct frame *f, uint64_t now)
{
	struct jid from, to;

	/* The router has stamped and checked both; so that they can be believed here, it is done again. */
	if (jid_parse(f->from, &from) != OK || jid_parse(f->to, &to) != OK ||
	    domain_find(to.domain) == NULL) {
		log_warn("request refused", "from=%s to=%s reason=address", log_quote(f->from),
		    log_quote(f->to));
		return;
	}
	if (f->subtype != TYPE_GET && f->subtype != TYPE_SET) {
		if (!moderate_answer(f, now))
			relay_answer(f, now);
		return;
	}
	if (!is_well_formed(f))
		answer_error(f, STANZA_ERROR_BAD_REQUEST, NULL);
	else if (to.local.ptr == NULL && to.resource.ptr != NULL)
		answer_error(f, STANZA_ERROR_ITEM_NOT_FOUND, NULL);
	else if (to.local.ptr == NULL)
		serve(f, SCOPE_DOMAIN, NULL, now);
	else if (to.resource.ptr == NULL)
		serve(f, SCOPE_ROOM, room_find(f->to), now);
	else
		relay_request(f, room_find(jid_bare(&to)), now);
}
