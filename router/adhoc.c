/*
 * adhoc.c: the commands of administrators' clients: ad-hoc commands (XEP-0050) on our domains, with
 * the service administration set (XEP-0133), and invitations (XEP-0401).
 *
 * They are the commands of aldisctl(8), which control.c runs. Who may is the configuration's matter:
 * those of `admins` may give all of them; those of a domain's `admins` only what XEP-0133 has, about
 * accounts of that domain. Who may invite says the domain's `invite`; all that others than
 * administrators can do here is to invite to themselves. The address of who asks was stamped by the
 * router. A payload is read only when it comes from one of these.
 *
 * What commands there are is in adhoc_target.c, who may give them in adhoc_right.c, and adhoc_run.c has those under
 * way. Should the router die meanwhile, there is no answer, and the command is not done twice.
 */
#include "adhoc.h"

#include <gnutls/crypto.h>
#include <stdio.h>

#include "counter.h"
#include "ns.h"
#include "xmlout.h"

/* -- service discovery ------------------------------------------------------------------------- */

void
adhoc_answer(const struct frame *f, struct slice payload)
{
	struct frame reply;

	stanza_result(f, payload, &reply);
	route_reply(&reply);
}

bool
adhoc_info(const struct frame *f, struct session *sender)
{
	enum right right = adhoc_right_of(f, sender);
	bool list = slice_is(f->node, NS_COMMANDS);
	struct buf out = { 0 };
	struct target t = { .help = SLICE("Commands") };

	if (!list && right < RIGHT_ROOMS && (slice_starts(f->node, SLICE(NODE_ADMIN)) ||
	    slice_starts(f->node, SLICE(NODE_OWN)))) {
		route_error(f, STANZA_ERROR_FORBIDDEN, NULL);
		return true;
	}
	if (!list && !adhoc_target_find(f, right, &t))
		return false;
	xml_open(&out, "query", SLICE(NS_DISCO_INFO));
	xml_add_attribute(&out, "node", f->node);
	buf_printf(&out, "><identity category='automation' type='%s'",
	    list ? "command-list" : "command-node");
	xml_add_attribute(&out, "name", t.help);
	buf_add_string(&out, "/><feature var='" NS_COMMANDS "'/>");
	if (!list)
		buf_add_string(&out, "<feature var='" NS_DATA "'/>");
	buf_add_string(&out, "</query>");
	adhoc_answer(f, buf_slice(&out));
	buf_free(&out);
	return true;
}

struct items {
	struct buf *out;
	struct slice jid;
	enum right right;
};

static void
item_write(const struct items *items, struct slice node, struct slice label)
{
	buf_add_string(items->out, "<item");
	xml_add_attribute(items->out, "jid", items->jid);
	xml_add_attribute(items->out, "node", node);
	xml_add_attribute(items->out, "name", label);
	buf_add_string(items->out, "/>");
}

static void
item_each(void *arg, struct slice name, struct slice arguments, struct slice help)
{
	const struct items *items = arg;
	struct buf node = { 0 };

	(void)arguments;
	if (!adhoc_may_give(items->right, name))
		return;
	adhoc_node_write(name, &node);
	item_write(items, buf_slice(&node), help);
	buf_free(&node);
}

static void
invite_items(const struct frame *f, enum right right, const struct items *items)
{
	const struct admin_command *command = INVITE_CONTACT;

	for (; command <= INVITE_ACCOUNT; command++) {
		if (adhoc_invite_allowed(command, right, f))
			item_write(items, slice_string(command->node), slice_string(command->label));
	}
}

bool
adhoc_items(const struct frame *f, struct session *sender)
{
	enum right right = adhoc_right_of(f, sender);
	struct buf out = { 0 };
	struct items items = { &out, jid_bare_of(f->to), right };
	struct target t;
	size_t i, content;

	if (!slice_is(f->node, NS_COMMANDS) && !adhoc_target_find(f, right, &t))
		return false;
	xml_open(&out, "query", SLICE(NS_DISCO_ITEMS));
	xml_add_attribute(&out, "node", f->node);
	buf_add_char(&out, '>');
	content = buf_len(&out);
	if (slice_is(f->node, NS_COMMANDS)) { /* a command has no items */
		for (i = 0; i < ADMIN_COMMANDS && right >= RIGHT_DOMAIN; i++) {
			char node[sizeof NODE_ADMIN + 32];

			snprintf(node, sizeof node, NODE_ADMIN "%s", adhoc_commands[i].node);
			item_write(&items, slice_string(node), slice_string(adhoc_commands[i].label));
		}
		invite_items(f, right, &items);
		control_each(item_each, &items);
	}
	adhoc_close(&out, content, "query");
	adhoc_answer(f, buf_slice(&out));
	buf_free(&out);
	return true;
}

/* -- answers to commands ----------------------------------------------------------------------- */

/* "<command ...>" of an answer; session: what the client has given, or empty for a new one. Returns
 * where its content begins. */
size_t
adhoc_command_open(const struct frame *f, const char *status, struct slice session, struct buf *out)
{
	unsigned char random[8];
	char made[2 * sizeof random + 1];
	size_t i;

	if (session.len == 0) {
		gnutls_rnd(GNUTLS_RND_NONCE, random, sizeof random);
		for (i = 0; i < sizeof random; i++)
			snprintf(made + 2 * i, 3, "%02x", random[i]);
		session = slice_string(made);
	}
	xml_open(out, "command", SLICE(NS_COMMANDS));
	xml_add_attribute(out, "node", f->node);
	xml_add_attribute(out, "sessionid", session);
	xml_add_attribute(out, "status", slice_string(status));
	buf_add_char(out, '>');
	return buf_len(out);
}

/* bad-request with a condition of XEP-0050. */
static void
bad_request(const struct frame *f, const char *condition)
{
	struct buf payload = { 0 };
	struct frame reply;

	buf_printf(&payload, "<error type='modify'><bad-request xmlns='" NS_STANZAS "'/>"
	    "<%s xmlns='" NS_COMMANDS "'/></error>", condition);
	stanza_result(f, SLICE(""), &reply);
	reply.subtype = TYPE_ERROR;
	reply.flags = FLAG_ERROR;
	reply.name = SLICE("error");
	reply.ns = SLICE(NS_CLIENT);
	reply.payload = buf_slice(&payload);
	COUNT(bounced);
	route_reply(&reply);
	buf_free(&payload);
}

/* -- requests ---------------------------------------------------------------------------------- */

/* Answers a request whose form is still to be filled in, or that gives it up. */
static void
form_answer(const struct frame *f, const struct adhoc_form *form, const struct adhoc_request *r)
{
	bool cancel = r->action == ADHOC_CANCEL;
	struct buf out = { 0 };
	size_t content;

	content = adhoc_command_open(f, cancel ? "canceled" : "executing", buf_slice(&r->session), &out);
	if (!cancel)
		adhoc_form_write(form, &out);
	adhoc_close(&out, content, "command");
	adhoc_answer(f, buf_slice(&out));
	buf_free(&out);
}

void
adhoc_command(const struct frame *f, struct session *sender)
{
	enum right right = adhoc_right_of(f, sender);
	struct adhoc_request r;
	struct adhoc_form form;
	const char *condition;
	struct target t;

	if (right == RIGHT_NONE || (right == RIGHT_INVITE && !slice_starts(f->node,
	    SLICE(NS_INVITE "#")))) {
		route_error(f, STANZA_ERROR_FORBIDDEN, NULL);
		return;
	}
	if (!adhoc_target_find(f, right, &t)) {
		route_error(f, STANZA_ERROR_ITEM_NOT_FOUND, NULL);
		return;
	}
	condition = adhoc_request_read(f->payload, &r);
	adhoc_form_make(&t, &form);
	/* There is one stage: some clients call what follows its form the next one. */
	if (condition == NULL && (r.action == ADHOC_PREV || (r.action == ADHOC_NEXT && !r.submitted)))
		condition = "bad-action";
	if (condition != NULL)
		bad_request(f, condition);
	else if (r.action == ADHOC_CANCEL || (form.count != 0 && !r.submitted))
		form_answer(f, &form, &r);
	else
		adhoc_run_begin(f, right, &t, &form, &r);
	adhoc_request_free(&r);
}

bool
adhoc_serves(const struct frame *f, const struct session *sender)
{
	struct jid to;

	if (f->kind != STANZA_IQ || (f->subtype != TYPE_GET && f->subtype != TYPE_SET) || f->to.ptr == NULL ||
	    sender == NULL || sender->account == NULL)
		return false;
	jid_split(f->to, &to);
	if (to.local.ptr != NULL || to.resource.ptr != NULL)
		return false;
	if (slice_is(f->ns, NS_COMMANDS))
		return true;
	return f->subtype == TYPE_GET && (slice_is(f->ns, NS_DISCO_INFO) || slice_is(f->ns, NS_DISCO_ITEMS)) &&
	    (slice_is(f->node, NS_COMMANDS) || slice_starts(f->node, SLICE(NODE_OWN)));
}

void
adhoc_serve(const struct frame *f, struct session *sender)
{
	if (slice_is(f->ns, NS_COMMANDS) && f->subtype == TYPE_SET)
		adhoc_command(f, sender);
	else if (slice_is(f->ns, NS_COMMANDS))
		route_error(f, STANZA_ERROR_NOT_ALLOWED, NULL);
	else if (!(slice_is(f->ns, NS_DISCO_INFO) ? adhoc_info(f, sender) : adhoc_items(f, sender)))
		route_error(f, STANZA_ERROR_ITEM_NOT_FOUND, NULL);
}
