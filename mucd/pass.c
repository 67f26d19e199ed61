/*
 * pass.c: what of a stanza a room passes on. Called by enter.c, message.c, invite.c and relay.c. Changes nothing
 * and cannot fail.
 *
 * What occupants say comes from the address of the room, so that all which only a room or a server may say would
 * be believed: it is left out. What comes back to a room has addresses in it that not everybody may see.
 */
#include "mucd.h"
#include "ns.h"
#include "xmlout.h"

/* -- children ------------------------------------------------------------------------------------- */

/* Namespaces, or how they begin, of what no client says in a room: who is what in it, ids and badges that it gives,
 * and the old form of a delay, which does not say whose it is. */
static const char *const withheld[] = { NS_MUC, NS_OCCUPANT_ID, NS_HATS_ANY, NS_X_DELAY };

static bool
is_withheld(const struct xmlin_element *e)
{
	size_t i;

	for (i = 0; i < sizeof withheld / sizeof *withheld; i++)
		if (slice_starts(e->ns, slice_string(withheld[i])))
			return true;
	return false;
}

/* Whether an address in an attribute is that of somebody else than the room and its service. One that is none, or
 * is missing, is nobody's. */
static bool
is_others(const struct room *room, const struct xmlin_element *e, const char *name)
{
	struct buf scratch = { 0 };
	char text[JID_MAX + 1];
	struct slice value;
	struct jid jid;
	bool good = xmlin_attribute(e, name, &scratch, &value) == OK && jid_prepare(value, text, &jid) == OK &&
	    !slice_equal(jid_bare(&jid), room_jid(room)) && !slice_equal(jid_bare(&jid), room->domain->name);

	buf_free(&scratch);
	return good;
}

bool
pass_message(const struct room *room, const struct xmlin_element *e)
{
	if (is_withheld(e))
		return false;
	if (slice_is(e->ns, NS_SID) && slice_is(e->name, "stanza-id"))
		return is_others(room, e, "by");
	return !slice_is(e->ns, NS_DELAY) || is_others(room, e, "from");
}

bool
pass_presence(const struct xmlin_element *e)
{
	return !is_withheld(e) && !slice_is(e->ns, NS_DELAY);
}

/* -- errors --------------------------------------------------------------------------------------- */

/* Copies what an error says, but for where somebody has gone. */
static void
error_copy(const struct xmlin_element *error, bool words, struct buf *out)
{
	struct xmlin_element child;
	struct buf scratch = { 0 };
	struct slice type;
	struct xmlin in;
	size_t head;

	buf_add_string(out, "<error");
	if (xmlin_attribute(error, "type", &scratch, &type) == OK)
		xml_add_attribute(out, "type", type);
	buf_free(&scratch);
	buf_add_char(out, '>');
	head = buf_len(out);
	xmlin_begin(&in, error->content, error->ns);
	while (xmlin_child(&in, &child)) {
		if (slice_is(child.ns, NS_STANZAS) && (slice_is(child.name, "gone") || slice_is(child.name, "redirect")))
			buf_printf(out, "<%.*s xmlns='" NS_STANZAS "'/>", SLICE_ARG(child.name));
		else if (words)
			buf_add_slice(out, child.whole);
		else if (slice_is(child.ns, NS_STANZAS) && !slice_is(child.name, "text"))
			buf_printf(out, "<%.*s xmlns='" NS_STANZAS "'/>", SLICE_ARG(child.name));
	}
	xml_close(out, "error", head);
}

void
pass_error(struct slice payload, bool words, struct buf *out)
{
	struct xmlin_element e;
	struct xmlin in;

	xmlin_begin(&in, payload, SLICE(NS_CLIENT));
	while (xmlin_child(&in, &e)) {
		if (slice_is(e.name, "error") && slice_is(e.ns, NS_CLIENT))
			error_copy(&e, words, out);
	}
}
