/*
 * fuzz_stream.c: bytes of a peer into the XML entry: whatever they are and however they are cut.
 *
 * Options: -max_len=4096
 *
 * Input: four bytes of choices (see struct choices), then the bytes of the stream. By choice they
 * are cut at each 0xFF, which is dropped, or into pieces of one length.
 * Asserts: all of the header and of elements that the callbacks are given is characters of XML;
 * a payload is canonical, has what the element says of it and nothing that is to be stripped;
 * limits hold; after an error or a stop nothing comes; between stanzas no memory is held; and cut
 * in another way the same bytes give the same.
 */
#include "fuzz.h"

#include "jid.h"
#include "ns.h"
#include "xml.h"
#include "xmlchar.h"
#include "xmlin.h"
#include "xmlout.h"

#define DOMAIN "capulet.example"

static const struct xml_limits limits[] = {
	{ 32768, 8, 32, 64, true },            /* as in c2sd before authentication */
	{ 262144, 32, 32, 20000, false },       /* and after */
	{ 300, 4, 3, 6, true },
	{ 262144, 64, 256, 20000, false },
	{ 1, 1, 1, 1, false },
	{ 5000, 64, 256, 100, false },
	{ 64, 1000, 1000, 1000, false },
	{ 262144, 2, 32, 2, false },
};

static const struct slice strip[] = {
	{ NS_SID, sizeof NS_SID - 1 }, { NS_OCCUPANT_ID, sizeof NS_OCCUPANT_ID - 1 }, { NULL, 0 },
};

enum action { NOTHING, RESTART, STOP, STOP_RESTART, RESTART_BETWEEN, ACTIONS };

struct choices {
	struct xml_limits limits;
	bool strips;
	size_t piece;        /* bytes of each piece; 0: cut at 0xFF */
	enum action action;
	unsigned when;       /* with which event */
};

struct reader {
	const struct choices *choices;
	struct xml_stream *stream;
	struct buf events;   /* what came, as text */
	unsigned count;
	bool stopped;        /* nothing may come */
};

static void
check_text(struct slice s)
{
	struct xmlchar chars = { 0 };

	CHECK(s.len == 0 || (xmlchar_check(&chars, s) && chars.need == 0));
}

static void
note(struct reader *r, const char *what, struct slice s)
{
	check_text(s);
	buf_add_string(&r->events, what);
	buf_add_char(&r->events, s.ptr == NULL ? '!' : '=');
	buf_add_number(&r->events, s.len);
	buf_add_slice(&r->events, s);
	buf_add_char(&r->events, '\n');
}

/* What every event does. */
static void
act(struct reader *r)
{
	const struct choices *c = r->choices;

	CHECK(!r->stopped);
	if (++r->count != c->when)
		return;
	if (c->action == STOP || c->action == STOP_RESTART)
		xml_stream_stop(r->stream);
	if (c->action == RESTART || c->action == STOP_RESTART)
		xml_stream_restart(r->stream);
	r->stopped = c->action == STOP || c->action == STOP_RESTART;
}

static void
on_header(void *arg, const struct xml_header *h)
{
	struct reader *r = arg;

	CHECK(h->name.len != 0);
	note(r, "header", h->name);
	note(r, "ns", h->ns);
	note(r, "content", h->content_ns);
	note(r, "from", h->from);
	note(r, "to", h->to);
	note(r, "id", h->id);
	note(r, "version", h->version);
	note(r, "lang", h->lang);
	act(r);
}

/* A namespace as it stands in canonical XML. */
static struct slice
escaped(struct slice ns, struct buf *out)
{
	buf_clear(out);
	buf_add_char(out, ' ');
	xml_add_value(out, ns);
	return slice_part(buf_slice(out), 1, buf_len(out));
}

static bool
is_own_name(const struct xml_element *e, const struct xmlin_element *child, struct slice ns,
    const char *parent, const char *name)
{
	return slice_is(e->name, parent) && slice_equal(child->ns, ns) &&
	    slice_is(child->name, name);
}

static void
check_not_stripped(const struct xml_element *e, const struct xmlin_element *child)
{
	struct buf scratch = { 0 };
	char out[JID_MAX + 1];
	struct slice from;
	struct jid jid;

	if (!slice_is(e->name, "message") && !slice_is(e->name, "presence") &&
	    !slice_is(e->name, "iq"))
		return;
	CHECK(!slice_is(child->ns, NS_OCCUPANT_ID));
	CHECK(!slice_is(child->ns, NS_SID) || slice_is(child->name, "origin-id"));
	if (slice_is(child->ns, NS_DELAY) && slice_is(child->name, "delay")) {
		CHECK(xmlin_attribute(child, "from", &scratch, &from) == OK);
		CHECK(jid_prepare(from, out, &jid) == OK && !slice_is(jid.domain, DOMAIN));
	}
	buf_free(&scratch);
}

/* Compares what an element says of its first child with the payload. */
static void
check_first(const struct xml_element *e, const struct xmlin_element *child)
{
	struct buf scratch = { 0 };
	struct slice node;
	int error;

	CHECK(slice_equal(e->child_name, child->name));
	CHECK(slice_equal(escaped(e->child_ns, &scratch), child->ns));
	buf_clear(&scratch);
	error = xmlin_attribute(child, "node", &scratch, &node);
	CHECK(error == OK || error == E_NOT_FOUND);
	CHECK((error == OK) == (e->child_node.ptr != NULL));
	CHECK(error != OK || slice_equal(node, e->child_node));
	buf_free(&scratch);
}

static void
check_payload(const struct reader *r, const struct xml_element *e)
{
	struct buf ns_text = { 0 };
	struct slice ns = escaped(e->ns, &ns_text);
	struct xmlin_element child;
	struct xmlin in;
	unsigned count = 0;
	uint32_t flags = 0;

	CHECK(e->payload.ptr != NULL);
	CHECK(e->payload.len <= r->choices->limits.stanza_bytes);
	xmlin_begin(&in, e->payload, ns);
	while (xmlin_child(&in, &child)) {
		if (count++ == 0)
			check_first(e, &child);
		if (r->choices->strips)
			check_not_stripped(e, &child);
		if (is_own_name(e, &child, ns, "message", "body"))
			flags |= FLAG_BODY | FLAG_CONTENT;
		if (is_own_name(e, &child, ns, "message", "error") ||
		    is_own_name(e, &child, ns, "presence", "error") ||
		    is_own_name(e, &child, ns, "iq", "error"))
			flags |= FLAG_ERROR;
	}
	CHECK(in.error == OK);
	CHECK(count == e->children && count <= r->choices->limits.elements);
	CHECK((e->flags & (FLAG_BODY | FLAG_ERROR)) == (flags & (FLAG_BODY | FLAG_ERROR)));
	CHECK((flags & FLAG_CONTENT) == 0 || (e->flags & FLAG_CONTENT) != 0);
	CHECK((e->flags & ~(uint32_t)FLAG_FROM_ENTRY) == 0);
	CHECK(e->priority >= -128 && e->priority <= 127);
	buf_free(&ns_text);
}

static void
on_element(void *arg, const struct xml_element *e)
{
	struct reader *r = arg;
	unsigned i;

	CHECK(e->attributes <= XML_ATTRIBUTES && e->name.len != 0);
	note(r, "element", e->name);
	note(r, "ns", e->ns);
	note(r, "from", e->from);
	note(r, "to", e->to);
	note(r, "id", e->id);
	note(r, "type", e->type);
	note(r, "lang", e->lang);
	for (i = 0; i < e->attributes; i++) {
		note(r, "attribute", e->attribute[i].name);
		note(r, "value", e->attribute[i].value);
	}
	note(r, "payload", e->payload);
	note(r, "text", e->text);
	buf_printf(&r->events, "%u %d %x\n", e->children, e->priority, e->flags);
	check_payload(r, e);
	act(r);
}

static void
on_end(void *arg)
{
	struct reader *r = arg;

	note(r, "end", SLICE_NONE);
	act(r);
	r->stopped |= r->choices->action != RESTART || r->count != r->choices->when;
}

static const struct xml_events events = { on_header, on_element, on_end };

/* Feeds one piece, and checks the state in which that leaves the stream. */
static int
feed(struct reader *r, struct slice piece, int before)
{
	struct slice copy = fuzz_copy(piece);
	const char *condition = NULL;
	unsigned count = r->count;
	int error = xml_stream_feed(r->stream, copy, &condition);

	fuzz_free(copy);
	CHECK(error == OK || error == E_MALFORMED || error == E_TOO_BIG);
	CHECK((error == OK) == (condition == NULL));
	CHECK(before == OK || (error == before && count == r->count));
	if (error != OK || r->stopped || !xml_stream_busy(r->stream))
		CHECK(xml_stream_memory(r->stream) == 0);
	if (r->stopped && r->choices->action == STOP_RESTART && r->count == r->choices->when) {
		CHECK(!xml_stream_busy(r->stream));
		r->stopped = false; /* the rest of the bytes at hand was not read */
	}
	if (r->choices->action == RESTART_BETWEEN && count < r->choices->when &&
	    r->count >= r->choices->when && error == OK) {
		xml_stream_restart(r->stream);
		r->stopped = false;
	}
	return error;
}

/* Reads all bytes; cut or in one. Returns the last error. */
static int
read_all(struct reader *r, struct slice bytes, bool cut)
{
	size_t piece = r->choices->piece;
	struct fuzz rest = fuzz_begin((const uint8_t *)bytes.ptr, bytes.len);
	int error = OK;

	r->stream = xml_stream_new(&r->choices->limits, r->choices->strips ? strip : NULL, &events, r);
	CHECK(xml_stream_memory(r->stream) == 0);
	xml_stream_set_domain(r->stream, SLICE(DOMAIN));
	while (fuzz_left(&rest) != 0)
		error = feed(r, !cut ? fuzz_take(&rest, fuzz_left(&rest)) :
		    piece == 0 ? fuzz_until(&rest, 0xFF) : fuzz_take(&rest, piece), error);
	xml_stream_free(&r->stream);
	return error;
}

static struct choices
choose(struct fuzz *f)
{
	struct choices c;
	uint8_t first = fuzz_byte(f), piece = fuzz_byte(f);

	c.limits = limits[first % COUNT_OF(limits)];
	c.strips = (first & 0x10) != 0;
	c.piece = piece < 128 ? piece % 64 : (size_t)64 << (piece & 7);
	c.action = (enum action)(fuzz_byte(f) % ACTIONS);
	c.when = fuzz_byte(f) % 16 + 1u;
	return c;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz f = fuzz_begin(data, size);
	const struct choices choices = choose(&f);
	struct choices other = choices;
	struct reader cut = { .choices = &choices }, whole = { .choices = &other };
	struct slice bytes = fuzz_take(&f, fuzz_left(&f));
	struct buf joined = { 0 };
	int error, error_whole;
	size_t i;

	other.limits.secret = !choices.limits.secret; /* wiping changes nothing */
	error = read_all(&cut, bytes, true);
	for (i = 0; i < bytes.len; i++)
		if (choices.piece != 0 || (unsigned char)bytes.ptr[i] != 0xFF)
			buf_add_char(&joined, bytes.ptr[i]);
	/* What these leave out depends on the pieces. */
	if (choices.action != STOP_RESTART && choices.action != RESTART_BETWEEN) {
		error_whole = read_all(&whole, buf_slice(&joined), false);
		CHECK(slice_equal(buf_slice(&cut.events), buf_slice(&whole.events)));
		/* An error within long text comes when that is read, which is in pieces. */
		CHECK((error == OK) == (error_whole == OK) || buf_len(&joined) > 4096);
	}
	buf_free(&joined);
	buf_free(&cut.events);
	buf_free(&whole.events);
	return 0;
}
