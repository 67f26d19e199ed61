/*
 * component.c: external components (XEP-0114): a server of its own behind one of our listeners, which proves
 * with a secret that it may speak for a domain of the configuration.
 *
 *   HEADER -> (handshake) -> CHECKING, at authd on a thread of the pool -> READY
 *
 * Called by stream.c. A component that connects again takes the place of the connection before.
 */
#include "s2sd.h"

#include <stdlib.h>

#include "error.h"
#include "log.h"
#include "mem.h"
#include "ns.h"

/* What waits for the handshake, and then for authd. */
struct negotiation {
	uv_work_t work;
	struct stream *stream;   /* NULL: it has ended meanwhile */
	struct domain *domain;
	char *id, *said;
	bool checking;
	bool good;
};

static void
negotiation_free(struct negotiation *n)
{
	free(n->id);
	free(n->said);
	free(n);
}

static void
on_header(struct stream *s, const struct xml_header *h)
{
	char prepared[JID_PART_MAX + 1];
	struct slice name = SLICE_NONE;
	struct domain *domain = NULL;
	struct negotiation *n;

	if (h->to.ptr != NULL && jid_prepare_domain(h->to, prepared, &name) == OK)
		domain = component_find(name);
	stream_header(s, domain != NULL ? name : SLICE_NONE, SLICE_NONE);
	if (domain == NULL) {
		stream_error(s, "host-unknown", NULL);
		return;
	}
	free(s->remote);
	s->remote = mem_string(domain->name);
	n = mem_alloc(sizeof *n);
	n->stream = s;
	n->domain = domain;
	n->id = mem_string(s->id);
	s->negotiation = n;
}

/* In a thread: whether the component has said what it must, which only authd knows. */
static void
check(uv_work_t *work)
{
	struct negotiation *n = work->data;
	gnutls_datum_t id = { (unsigned char *)n->id, (unsigned)strlen(n->id) };

	n->good = key_compare(n->domain->name, "component", &id, n->said) == OK;
}

/* Whoever was connected for this domain gives way: its connection may be dead without our knowing. */
static void
replace(struct remote *remote)
{
	struct proof *proof;

	while ((proof = LIST_FIRST(&remote->proofs)) != NULL)
		stream_error(proof->stream, "conflict", "Replaced by a new connection");
}

static void
checked(uv_work_t *work, int status)
{
	struct negotiation *n = work->data;
	struct stream *s = n->stream;
	struct remote *remote;

	if (s == NULL) {
		negotiation_free(n);
		return;
	}
	s->negotiation = NULL;
	if (status != 0 || !n->good) {
		log_warn("component refused", "domain=%s address=%s", n->domain->name,
		    address_text(s->net.address));
		stream_error(s, "not-authorized", NULL);
	} else {
		remote = remote_get(slice_string(n->domain->name));
		replace(remote);
		log_info("component ready", "domain=%s address=%s", n->domain->name,
		    address_text(s->net.address));
		buf_add_string(stream_out(s), "<handshake/>");
		stream_prove(s, remote, NULL);
		stream_ready(s);
		path_up(path_get(remote, SLICE("")), s);
		transport_block(&s->net, false);
	}
	negotiation_free(n);
	daemon_dirty();
}

static void
on_element(struct stream *s, const struct xml_element *element)
{
	struct negotiation *n = s->negotiation;

	if (n == NULL || n->checking || !slice_is(element->ns, NS_COMPONENT) ||
	    !slice_is(element->name, "handshake")) {
		stream_error(s, "not-authorized", "the handshake comes first");
		return;
	}
	n->said = slice_dup(element->text);
	n->checking = true;
	n->work.data = n;
	/* Nothing more is read before it is known whose it is. */
	transport_block(&s->net, true);
	if (uv_queue_work(daemon_loop(), &n->work, check, checked) != 0)
		stream_error(s, "internal-server-error", NULL);
}

static void
on_lost(struct stream *s, const char *why)
{
	struct negotiation *n = s->negotiation;

	if (s->remote != NULL)
		log_info("component gone", "domain=%s reason=\"%s\"", s->remote, why);
	s->negotiation = NULL;
	if (n == NULL)
		return;
	n->stream = NULL;
	if (!n->checking)
		negotiation_free(n);
}

const struct stream_role component_role = {
	.ns = NS_COMPONENT,
	.header = on_header,
	.element = on_element,
	.lost = on_lost,
};

void
component_new(int fd, struct address *address)
{
	stream_new(STREAM_COMPONENT, fd, address, false);
}
