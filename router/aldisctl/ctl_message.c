/*
 * ctl_message.c: messages of a file become frames, in the way in which those of clients do: the same
 * parser reads them, prepares addresses, leaves out what only the server may set, and finds out what
 * kind of message it is.
 *
 * Called by ctl_restore.c. Fails on what is no message that an account can have.
 */
#include <stdlib.h>

#include "ctl.h"
#include "error.h"
#include "jid.h"
#include "mem.h"
#include "ns.h"
#include "stanza.h"
#include "xml.h"

#define HEADER "<stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams'>"

/* What a message says about itself; hints whether to store it have been followed where it was. */
#define FLAGS_KEPT (FLAG_CONTENT | FLAG_BODY | FLAG_PRIVATE | FLAG_IM | FLAG_MUC)

struct ctl_message {
	struct slice account;  /* owned */
	struct slice domain;
	struct xml_stream *stream;
	uint64_t stamp, id;
	struct buf *out;
	int error;
	bool read;
};

static const struct slice server_owned[] = {
	{ NS_SID, sizeof NS_SID - 1 }, { NS_CARBONS, sizeof NS_CARBONS - 1 },
	{ NS_OCCUPANT_ID, sizeof NS_OCCUPANT_ID - 1 }, { NULL, 0 },
};

static const struct xml_limits limits = {
	.stanza_bytes = 3u << 20, .depth = 64, .attributes = 256, .elements = 100000,
};

static void
on_header(void *arg, const struct xml_header *header)
{
	(void)arg;
	(void)header;
}

static void
on_end(void *arg)
{
	(void)arg;
}

/* Prepares an address; what a message leaves out is the account. */
static int
address(const struct ctl_message *m, struct slice text, char out[JID_MAX + 1], struct slice *prepared)
{
	struct jid jid;

	if (text.ptr == NULL || text.len == 0) {
		*prepared = m->account;
		return OK;
	}
	if (jid_prepare(text, out, &jid) != OK)
		return E_MALFORMED;
	*prepared = jid.full;
	return OK;
}

static int
element_take(struct ctl_message *m, const struct xml_element *e)
{
	struct frame f = { .type = FRAME_STANZA, .stamp = m->stamp, .archive_id = m->id,
		.flags = e->flags & FLAGS_KEPT };
	char from_out[JID_MAX + 1], to_out[JID_MAX + 1];
	struct slice from, to;

	if (!slice_is(e->ns, NS_CLIENT) || stanza_classify(e->name, e->type, &f.kind, &f.subtype) ||
	    f.kind != STANZA_MESSAGE || f.subtype == TYPE_ERROR ||
	    address(m, e->from, from_out, &from) || address(m, e->to, to_out, &to))
		return E_MALFORMED;
	f.from = from;
	f.to = to;
	f.id = e->id;
	f.lang = e->lang;
	f.payload = e->payload;
	f.name = e->child_name;
	f.ns = e->child_ns;
	return frame_write(&f, m->out);
}

static void
on_element(void *arg, const struct xml_element *e)
{
	struct ctl_message *m = arg;

	m->error = m->read ? E_MALFORMED : element_take(m, e);
	m->read = true;
}

static const struct xml_events events = { on_header, on_element, on_end };

static void
stream_begin(struct ctl_message *m)
{
	const char *condition;

	xml_stream_free(&m->stream);
	m->stream = xml_stream_new(&limits, server_owned, &events, m);
	xml_stream_set_domain(m->stream, m->domain);
	if (xml_stream_feed(m->stream, SLICE(HEADER), &condition) != OK)
		abort();
}

struct ctl_message *
ctl_message_new(struct slice account)
{
	struct ctl_message *m = mem_alloc(sizeof *m);
	struct jid jid;

	m->account = slice_of(slice_dup(account), account.len);
	jid_split(m->account, &jid);
	m->domain = jid.domain;
	stream_begin(m);
	return m;
}

void
ctl_message_free(struct ctl_message **message)
{
	struct ctl_message *m = *message;

	if (m == NULL)
		return;
	xml_stream_free(&m->stream);
	free((void *)(uintptr_t)m->account.ptr);
	MEM_FREE(message);
}

int
ctl_message_read(struct ctl_message *m, struct slice xml, uint64_t stamp, uint64_t id,
    struct buf *out)
{
	const char *condition;
	size_t before = buf_len(out);

	m->stamp = stamp;
	m->id = id;
	m->out = out;
	m->read = false;
	m->error = OK;
	if (xml_stream_feed(m->stream, xml, &condition) == OK && m->read && m->error == OK &&
	    !xml_stream_busy(m->stream))
		return OK;
	buf_truncate(out, before);
	stream_begin(m);
	return E_MALFORMED;
}
