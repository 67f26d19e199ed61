/*
 * disco.c: service discovery of the server and of accounts (XEP-0030), with the data forms of a
 * domain (XEP-0128), and the server's entity capabilities (XEP-0115): the hash of what it says of
 * itself, for c2sd to announce.
 *
 * Answers are made of what the daemons have registered and of the configuration, nothing else.
 * Called by request.c with requests, and by main.c at the end of an iteration to tell every c2sd
 * of a hash that has changed. Cannot fail.
 */
#include "router.h"

#include <gnutls/crypto.h>
#include <gnutls/gnutls.h>
#include <stdlib.h>

#include "log.h"
#include "mem.h"
#include "ns.h"
#include "xmlout.h"

#define SHA1_BYTES 20

struct identity {
	struct slice category, type, name;
};

/* What there is to say of a domain. */
struct disco {
	struct identity *identities;
	struct slice *features;
	size_t identity_count, feature_count;
};

static struct buf announced; /* the last CAPS: lines "DOMAIN VER" */
static bool changed;         /* it may be another one now */

/* -- gathering --------------------------------------------------------------------------------- */

static void
feature_gather(struct disco *d, struct slice ns)
{
	d->features = mem_grow(d->features, (d->feature_count + 1) * sizeof *d->features);
	d->features[d->feature_count++] = ns;
}

static void
each_feature(void *arg, struct peer *peer, struct slice value)
{
	(void)peer;
	feature_gather(arg, value);
}

/* "CATEGORY TYPE NAME" */
static void
each_identity(void *arg, struct peer *peer, struct slice value)
{
	struct disco *d = arg;
	struct slice part[2], rest = value;
	unsigned i;

	(void)peer;
	for (i = 0; i < 2; i++) {
		const char *space = memchr(rest.ptr, ' ', rest.len);

		if (space == NULL)
			return;
		part[i] = slice_of(rest.ptr, (size_t)(space - rest.ptr));
		rest = slice_part(rest, part[i].len + 1, SIZE_MAX);
	}
	d->identities = mem_grow(d->identities, (d->identity_count + 1) * sizeof *d->identities);
	d->identities[d->identity_count++] = (struct identity){ part[0], part[1], rest };
}

static int
identity_order(const void *a, const void *b)
{
	const struct identity *one = a, *two = b;
	int order = slice_compare(one->category, two->category);

	if (order == 0)
		order = slice_compare(one->type, two->type);
	return order != 0 ? order : slice_compare(one->name, two->name);
}

static int
feature_order(const void *a, const void *b)
{
	return slice_compare(*(const struct slice *)a, *(const struct slice *)b);
}

/* Sorts an array and takes out what is there twice; returns how many are left. */
static size_t
sort(void *array, size_t count, size_t size, int (*order)(const void *, const void *))
{
	char *bytes = array;
	size_t i, kept = 0;

	if (count == 0)
		return 0;
	qsort(array, count, size, order);
	for (i = 1; i < count; i++) {
		if (order(bytes + i * size, bytes + kept * size) != 0)
			memmove(bytes + ++kept * size, bytes + i * size, size);
	}
	return kept + 1;
}

/* Orders it, which is what entity capabilities are computed of. */
static void
disco_sort(struct disco *d)
{
	d->identity_count = sort(d->identities, d->identity_count, sizeof *d->identities,
	    identity_order);
	d->feature_count = sort(d->features, d->feature_count, sizeof *d->features, feature_order);
}

static void
gather_server(struct disco *d)
{
	static const char *const features[] = { NS_DISCO_INFO, NS_DISCO_ITEMS, NS_PING, NS_TIME,
		NS_VERSION, NS_LAST, NS_OFFLINE, NS_CAPS, NS_CARBONS, NS_CARBONS_RULES, NS_COMMANDS };
	size_t i;

	*d = (struct disco){ 0 };
	each_identity(d, NULL, SLICE("server im Aldis"));
	registry_each("identity", each_identity, d);
	for (i = 0; i < sizeof features / sizeof *features; i++)
		feature_gather(d, slice_string(features[i]));
	registry_each("feature", each_feature, d);
	disco_sort(d);
}

static void
gather_account(struct disco *d)
{
	*d = (struct disco){ 0 };
	each_identity(d, NULL, SLICE("account registered "));
	feature_gather(d, SLICE(NS_DISCO_INFO));
	feature_gather(d, SLICE(NS_DISCO_ITEMS));
	feature_gather(d, SLICE(NS_SID));
	feature_gather(d, SLICE(NS_CARBONS));
	feature_gather(d, SLICE(NS_CARBONS_RULES));
	registry_each("account-feature", each_feature, d);
	disco_sort(d);
}

static void
disco_free(struct disco *d)
{
	free(d->identities);
	free(d->features);
}

/* -- answers ----------------------------------------------------------------------------------- */

static void
answer(const struct frame *f, struct slice payload)
{
	struct frame reply;

	stanza_result(f, payload, &reply);
	route_reply(&reply);
}

static void
disco_write(const struct disco *d, struct buf *out)
{
	size_t i;

	for (i = 0; i < d->identity_count; i++) {
		buf_add_string(out, "<identity");
		xml_add_attribute(out, "category", d->identities[i].category);
		xml_add_attribute(out, "type", d->identities[i].type);
		if (d->identities[i].name.len != 0)
			xml_add_attribute(out, "name", d->identities[i].name);
		buf_add_string(out, "/>");
	}
	for (i = 0; i < d->feature_count; i++) {
		buf_add_string(out, "<feature");
		xml_add_attribute(out, "var", d->features[i]);
		buf_add_string(out, "/>");
	}
}

static void
info_answer(const struct frame *f, const struct disco *d, struct slice domain)
{
	struct buf out = { 0 };

	xml_open(&out, "query", SLICE(NS_DISCO_INFO));
	if (f->node.len != 0)
		xml_add_attribute(&out, "node", f->node);
	buf_add_char(&out, '>');
	disco_write(d, &out);
	if (domain.ptr != NULL)
		serverinfo_add(domain, &out);
	buf_add_string(&out, "</query>");
	answer(f, buf_slice(&out));
	buf_free(&out);
}

void
disco_info_server(const struct frame *f, struct session *sender)
{
	struct disco d;

	(void)sender;
	gather_server(&d);
	info_answer(f, &d, jid_bare_of(f->to));
	disco_free(&d);
}

void
disco_info_account(const struct frame *f, struct session *sender)
{
	struct disco d;

	(void)sender;
	gather_account(&d);
	info_answer(f, &d, SLICE_NONE);
	disco_free(&d);
}

struct items {
	struct buf *out;
	struct slice domain;
	bool elsewhere; /* who asks is */
};

/* Domains that daemons serve are items of the domain that they stand below. */
static void
each_domain(void *arg, struct peer *peer, struct slice value)
{
	struct items *items = arg;

	(void)peer;
	if (value.len <= items->domain.len + 1 ||
	    value.ptr[value.len - items->domain.len - 1] != '.' ||
	    !slice_equal(slice_part(value, value.len - items->domain.len, SIZE_MAX), items->domain) ||
	    (items->elsewhere && registry_private(value)))
		return;
	buf_add_string(items->out, "<item");
	xml_add_attribute(items->out, "jid", value);
	buf_add_string(items->out, "/>");
}

void
disco_items_server(const struct frame *f, struct session *sender)
{
	struct buf out = { 0 };
	struct items items = { &out, f->to, sender != NULL && sender->remote &&
	    !registry_named(account_jid(sender->account)) };
	size_t head;

	xml_open(&out, "query", SLICE(NS_DISCO_ITEMS));
	head = buf_len(&out);
	buf_add_char(&out, '>');
	registry_each("domain", each_domain, &items);
	if (buf_len(&out) > head + 1) {
		buf_add_string(&out, "</query>");
	} else {
		buf_truncate(&out, head);
		buf_add_string(&out, "/>");
	}
	answer(f, buf_slice(&out));
	buf_free(&out);
}

void
disco_items_account(const struct frame *f, struct session *sender)
{
	(void)sender;
	answer(f, SLICE("<query xmlns='" NS_DISCO_ITEMS "'/>"));
}

/* -- entity capabilities ----------------------------------------------------------------------- */

/* Appends the verification string of a domain, base64 of SHA-1 (XEP-0115 section 5.1). */
static void
ver_add(const struct disco *d, struct slice domain, struct buf *out)
{
	unsigned char hash[SHA1_BYTES];
	gnutls_datum_t binary = { hash, sizeof hash }, text;
	struct buf s = { 0 };
	size_t i;

	for (i = 0; i < d->identity_count; i++) {
		const struct identity *identity = &d->identities[i];

		buf_printf(&s, "%.*s/%.*s//%.*s<", SLICE_ARG(identity->category),
		    SLICE_ARG(identity->type), SLICE_ARG(identity->name));
	}
	for (i = 0; i < d->feature_count; i++)
		buf_printf(&s, "%.*s<", SLICE_ARG(d->features[i]));
	serverinfo_ver(domain, &s);
	if (gnutls_hash_fast(GNUTLS_DIG_SHA1, buf_slice(&s).ptr, buf_len(&s), hash) != 0 ||
	    gnutls_base64_encode2(&binary, &text) != 0)
		log_panic(__FILE__, __LINE__, "SHA-1 failed");
	buf_add(out, text.data, text.size);
	gnutls_free(text.data);
	buf_free(&s);
}

bool
disco_node_server(const struct frame *f, struct session *sender)
{
	struct slice prefix = SLICE(CAPS_NODE "#");
	struct buf ver = { 0 };
	struct disco d;
	bool known;

	if (!slice_starts(f->node, prefix))
		return adhoc_info(f, sender);
	gather_server(&d);
	ver_add(&d, jid_bare_of(f->to), &ver);
	known = slice_equal(slice_part(f->node, prefix.len, SIZE_MAX), buf_slice(&ver));
	buf_free(&ver);
	if (known)
		info_answer(f, &d, jid_bare_of(f->to));
	disco_free(&d);
	return known;
}

struct lines {
	struct disco disco;
	struct buf *out;
};

static void
line_add(void *arg, struct slice domain)
{
	struct lines *lines = arg;

	buf_add_slice(lines->out, domain);
	buf_add_char(lines->out, ' ');
	ver_add(&lines->disco, domain, lines->out);
	buf_add_char(lines->out, '\n');
}

void
disco_changed(void)
{
	changed = true;
}

void
disco_caps_send(struct peer *peer)
{
	struct frame f = { .type = FRAME_CAPS, .text = buf_slice(&announced) };

	if (f.text.len != 0)
		peer_send(peer, &f);
}

void
disco_flush(void)
{
	struct buf text = { 0 };
	struct lines lines = { .out = &text };
	struct peer *peer;

	if (!changed)
		return;
	changed = false;
	gather_server(&lines.disco);
	registry_each_local(line_add, &lines);
	disco_free(&lines.disco);
	if (slice_equal(buf_slice(&text), buf_slice(&announced))) {
		buf_free(&text);
		return;
	}
	buf_free(&announced);
	announced = text;
	TAILQ_FOREACH(peer, &peers, all) {
		if (peer->role == ROLE_C2SD && peer->state != PEER_CONNECTED)
			disco_caps_send(peer);
	}
}
