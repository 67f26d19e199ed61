/*
 * metadata.c: the state of an account's archive at the time of binding, which Bind 2 tells (XEP-0386, XEP-0313
 * section "Archive metadata").
 *
 * Called by bind.c when a resource is bound, by session.c with what comes for the session. archived is asked in
 * the session's name, after it was bound: so what is stored and not in the answer comes to the session. It is
 * attached when the answer has come, or without it when archived is away or slow; till then what comes for it
 * waits, as for one that comes from another c2sd. Cannot fail.
 */
#include "c2sd.h"

#include "ns.h"

#define WAIT_TIME 500 /* milliseconds for which a client waits for the answer */
#define ID        "aldis:metadata:"
#define ID_SIZE   (sizeof ID + 16)

/* No client has this id by chance. */
static struct slice
id_of(const struct session *s, char out[ID_SIZE])
{
	int len = snprintf(out, ID_SIZE, ID "%016llx", (unsigned long long)s->handle);

	return slice_of(out, (size_t)len);
}

void
metadata_ask(struct conn *c, struct session *s)
{
	char id[ID_SIZE];
	struct frame f = { .type = FRAME_STANZA, .kind = STANZA_IQ, .subtype = TYPE_GET, .id = id_of(s, id),
		.name = SLICE("metadata"), .ns = SLICE(NS_MAM),
		.payload = SLICE("<metadata xmlns='" NS_MAM "'/>") };

	c->login->arriving = s;
	session_send(s, &f);
	deadline_set(&s->deadline, WAIT_TIME);
}

/* The client learns that it is bound. */
static void
finish(struct session *s, struct slice metadata)
{
	struct conn *c = stream_find(s->handle);

	deadline_clear(&s->deadline);
	if (c == NULL || c->login == NULL || c->login->arriving != s)
		return;
	c->login->arriving = NULL;
	sasl2_bound(c, s, metadata);
	session_take_later(s, &c->login->later);
	bind_done(c, s);
}

bool
metadata_answer(struct session *s, const struct frame *f)
{
	char id[ID_SIZE];
	bool good = f->subtype == TYPE_RESULT && slice_is(f->ns, NS_MAM) && slice_is(f->name, "metadata");

	if (f->kind != STANZA_IQ || (f->subtype != TYPE_RESULT && f->subtype != TYPE_ERROR) ||
	    !slice_equal(f->id, id_of(s, id)))
		return false;
	/* One that comes late is nobody's. */
	if (s->state == SESSION_ARRIVING)
		finish(s, good ? f->payload : SLICE_NONE);
	return true;
}

void
metadata_late(struct session *s)
{
	finish(s, SLICE_NONE);
}
