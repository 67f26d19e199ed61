/*
 * register.c: in-band registration (XEP-0077): a new account for a stream that is not
 * authenticated, password change and cancellation for an account. Called by request.c.
 */
#include <gnutls/gnutls.h>

#include "authd.h"
#include "log.h"
#include "xmlout.h"

#define ACCOUNTS_MAX  50      /* names that one address may try to take */
#define ACCOUNTS_TIME 3600000 /* in so many milliseconds */
#define CHANGES_MAX   10      /* passwords that one account may set */
#define CHANGES_TIME  600000  /* in so many milliseconds: each costs as much as many logins */

static struct throttle *made, *changed;

int
register_open(void)
{
	made = throttle_new(ACCOUNTS_MAX, ACCOUNTS_TIME);
	changed = throttle_new(CHANGES_MAX, CHANGES_TIME);
	return OK;
}

void
register_close(void)
{
	throttle_free(&made);
	throttle_free(&changed);
}

/* What a form says, prepared. */
struct form {
	char local_out[JID_PART_MAX + 1];
	char password_out[JID_PART_MAX + 1];
	struct slice local;
	struct slice password;
};

/* Reads the text of a field; absent or empty is an error. */
static int
field_read(const struct request *r, const char *name, struct buf *scratch, struct slice *text)
{
	struct xmlin_element field;

	if (!xmlin_find(r->query.content, r->query.ns, name, NS_REGISTER, &field) ||
	    xmlin_text(&field, scratch, text) != OK || text->len == 0)
		return E_MALFORMED;
	return OK;
}

/* Reads user name and password. Returns 0, E_NOT_FOUND when one is missing, E_MALFORMED when one
 * cannot be prepared. */
static int
form_read(const struct request *r, struct form *form)
{
	struct buf scratch = { 0 };
	struct slice name, password;
	int error = OK;

	buf_reserve(&scratch, r->query.whole.len); /* it never moves */
	if (field_read(r, "username", &scratch, &name) != OK ||
	    field_read(r, "password", &scratch, &password) != OK)
		error = E_NOT_FOUND;
	else if (jid_prepare_local(name, form->local_out, &form->local) != OK ||
	    jid_prepare_password(password, form->password_out, &form->password) != OK)
		error = E_MALFORMED;
	gnutls_memset(scratch.bytes, 0, scratch.room);
	buf_free(&scratch);
	return error;
}

/* -- new accounts -- */

static void
fields_send(const struct request *r)
{
	request_answer(r->f, SLICE("<query xmlns='" NS_REGISTER "'><instructions>Choose a user name "
	    "and a password.</instructions><username/><password/></query>"));
}

static void
create(const struct request *r, const struct form *form)
{
	char address_out[THROTTLE_ADDRESS];
	struct slice address = throttle_address(r->f->address, address_out);
	struct buf bare = { 0 };
	int error;

	buf_add_slice(&bare, form->local);
	buf_add_char(&bare, '@');
	buf_add_slice(&bare, r->account);
	if (r->repeated && account_check_password(buf_slice(&bare), form->password)) {
		request_answer(r->f, SLICE(""));
		goto done;
	}
	if (throttle_count(made, address, r->now) >= ACCOUNTS_MAX) {
		log_warn("registration refused", "address=%s reason=\"too many\"",
		    log_quote(r->f->address));
		request_refuse(r->f, STANZA_ERROR_NOT_ACCEPTABLE,
		    "too many registrations from this address");
		goto done;
	}
	error = account_create(buf_slice(&bare), form->password, r->now);
	/* Names that are taken count too, or one could find out which are. */
	if (error == OK || error == E_EXISTS)
		throttle_fail(made, address, r->now);
	if (error == E_EXISTS) {
		request_refuse(r->f, STANZA_ERROR_CONFLICT, "this name is taken");
	} else if (error) {
		request_refuse(r->f, STANZA_ERROR_INTERNAL_SERVER_ERROR, NULL);
	} else {
		request_answer(r->f, SLICE(""));
	}
done:
	buf_free(&bare);
}

/* A request by a stream that is not authenticated; the account is the domain. */
static void
stranger(const struct request *r)
{
	const struct domain *domain = state_domain(r->account);
	struct form form;
	int error;

	if (domain == NULL || !domain->registration) {
		request_refuse(r->f, STANZA_ERROR_SERVICE_UNAVAILABLE, NULL);
		return;
	}
	if (!r->set) {
		fields_send(r);
		return;
	}
	error = form_read(r, &form);
	if (error)
		request_refuse(r->f, STANZA_ERROR_NOT_ACCEPTABLE, error == E_NOT_FOUND ?
		    "user name and password are needed" : "user name or password have characters "
		    "that are not allowed");
	else
		create(r, &form);
	gnutls_memset(&form, 0, sizeof form);
}

/* -- the own account -- */

static void
own_get(const struct request *r, const struct jid *jid)
{
	struct buf payload = { 0 };

	xml_open(&payload, "query", SLICE(NS_REGISTER));
	buf_add_string(&payload, "><registered/>");
	xml_add_element(&payload, "username", jid->local);
	buf_add_string(&payload, "<password/></query>");
	request_answer(r->f, buf_slice(&payload));
	buf_free(&payload);
}

/* Removes the account; <remove/> must be the only child. */
static void
cancel(const struct request *r)
{
	struct xmlin in;
	struct xmlin_element child, second;

	xmlin_begin(&in, r->query.content, r->query.ns);
	if (!xmlin_child(&in, &child) || xmlin_child(&in, &second) || in.error) {
		request_refuse(r->f, STANZA_ERROR_BAD_REQUEST, NULL);
		return;
	}
	/* The answer goes first: what follows ends the session. */
	request_answer(r->f, SLICE(""));
	account_remove(r->from);
}

static void
password_change(const struct request *r, const struct jid *jid)
{
	struct form form;
	int error = form_read(r, &form);

	if (error)
		request_refuse(r->f, error == E_NOT_FOUND ? STANZA_ERROR_BAD_REQUEST :
		    STANZA_ERROR_NOT_ACCEPTABLE, NULL);
	else if (!slice_equal(form.local, jid->local))
		request_refuse(r->f, STANZA_ERROR_NOT_ALLOWED, "this is not your user name");
	else if (throttle_count(changed, r->from, r->now) >= CHANGES_MAX)
		request_refuse(r->f, STANZA_ERROR_RESOURCE_CONSTRAINT, "too many changes");
	else if (account_set_password(r->from, form.password) != OK)
		request_refuse(r->f, STANZA_ERROR_INTERNAL_SERVER_ERROR, NULL);
	else {
		throttle_fail(changed, r->from, r->now);
		request_answer(r->f, SLICE(""));
	}
	gnutls_memset(&form, 0, sizeof form);
}

void
register_iq(const struct request *r)
{
	struct xmlin_element remove;
	struct jid jid;

	if (r->from.ptr == NULL) {
		stranger(r);
		return;
	}
	jid_split(r->from, &jid);
	if (!r->own && !slice_equal(r->account, jid.domain)) {
		request_refuse(r->f, STANZA_ERROR_FORBIDDEN, NULL);
	} else if (!account_exists(r->from)) {
		/* A cancellation that is repeated has done its work. */
		if (r->set && r->repeated)
			request_answer(r->f, SLICE(""));
		else
			request_refuse(r->f, STANZA_ERROR_REGISTRATION_REQUIRED, NULL);
	} else if (!r->set) {
		own_get(r, &jid);
	} else if (xmlin_find(r->query.content, r->query.ns, "remove", NS_REGISTER, &remove)) {
		cancel(r);
	} else {
		password_change(r, &jid);
	}
}
