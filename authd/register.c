/*
 * register.c: in-band registration (XEP-0077): a new account for a stream that is not
 * authenticated, perhaps with an invitation (XEP-0445), password change and cancellation for an
 * account. Called by request.c.
 *
 * A stream shows its token first. That it was good is known to its c2sd, which puts it into what the
 * stream asks next; so authd remembers nothing between the two, and may be restarted.
 */
#include <gnutls/gnutls.h>

#include "authd.h"
#include "log.h"
#include "xmlout.h"

#define ACCOUNTS_MAX  50      /* names that one address may try to take */
#define ACCOUNTS_TIME 3600000 /* in so many milliseconds */
#define CHANGES_MAX   10      /* passwords that one account may set */
#define CHANGES_TIME  600000  /* in so many milliseconds: each costs as much as many logins */

#define TOKENS_MAX    20      /* tokens that are none, from one address */
#define TOKENS_TIME   600000  /* in so many milliseconds */

static struct throttle *made, *changed, *guessed;

int
register_open(void)
{
	made = throttle_new(ACCOUNTS_MAX, ACCOUNTS_TIME);
	changed = throttle_new(CHANGES_MAX, CHANGES_TIME);
	guessed = throttle_new(TOKENS_MAX, TOKENS_TIME);
	return OK;
}

void
register_close(void)
{
	throttle_free(&made);
	throttle_free(&changed);
	throttle_free(&guessed);
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

/* What a stream that wants an account has shown (XEP-0445). */
struct permit {
	bool invited;        /* by a token that is good */
	struct invite invite;
	struct slice token;
	struct buf text;     /* what invite points into */
};

/* Whether a token is one for accounts of this domain. */
static bool
token_read(struct slice token, struct slice domain, uint64_t now, bool late, struct invite *invite)
{
	return token.ptr != NULL && invite_find(token, now, late, invite) == OK &&
	    invite->flags & INVITE_REGISTER && slice_equal(invite->domain, domain);
}

/* Looks at the token of a request. It was good when the stream showed it; that it has expired since
 * does not matter, that it is used up does. */
static void
permit_read(const struct request *r, struct permit *permit)
{
	struct invite *invite = &permit->invite;
	size_t inviter;

	*permit = (struct permit){ .token = r->f->token };
	permit->invited = token_read(r->f->token, r->account, r->now, true, invite);
	if (!permit->invited)
		return;
	buf_add_slice(&permit->text, invite->inviter); /* that of the store moves */
	inviter = buf_len(&permit->text);
	buf_add_slice(&permit->text, invite->name);
	invite->inviter = slice_part(buf_slice(&permit->text), 0, inviter);
	invite->name = slice_part(buf_slice(&permit->text), inviter, SIZE_MAX);
	invite->domain = r->account;
}

static void
fields_send(const struct request *r, const struct permit *permit)
{
	struct buf payload = { 0 };

	buf_add_string(&payload, "<query xmlns='" NS_REGISTER "'><instructions>Choose a user name "
	    "and a password.</instructions>");
	if (permit->invited && permit->invite.name.len != 0)
		xml_add_element(&payload, "username", permit->invite.name);
	else
		buf_add_string(&payload, "<username/>");
	buf_add_string(&payload, "<password/></query>");
	request_answer(r->f, buf_slice(&payload));
	buf_free(&payload);
}

/* What an invitation says besides: it is used, and its inviter is a contact from the beginning. */
static void
welcome(const struct permit *permit, struct slice bare)
{
	const struct invite *invite = &permit->invite;

	log_info("invitation taken", "account=%s by=%s", log_quote(bare), log_quote(invite->inviter));
	invite_use(permit->token);
	if (invite->flags & INVITE_CONTACT && account_exists(invite->inviter) &&
	    presence_befriend(invite->inviter, bare) != OK)
		log_warn("inviter not made a contact", "account=%s inviter=%s reason=\"roster full\"",
		    log_quote(bare), log_quote(invite->inviter));
}

static void
create(const struct request *r, const struct form *form, const struct permit *permit)
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
	if (invite_reserved(buf_slice(&bare), r->now) &&
	    !invite_reserves(r->f->token, buf_slice(&bare), r->now))
		error = E_EXISTS;
	else
		error = account_create(buf_slice(&bare), form->password, r->now);
	/* Names that are taken count too, or one could find out which are. */
	if (error == OK || error == E_EXISTS)
		throttle_fail(made, address, r->now);
	if (error == E_EXISTS) {
		request_refuse(r->f, STANZA_ERROR_CONFLICT, "this name is taken");
	} else if (error == E_AGAIN) {
		request_refuse(r->f, STANZA_ERROR_RESOURCE_CONSTRAINT,
		    "the last account of this name is being removed, try again");
	} else if (error) {
		request_refuse(r->f, STANZA_ERROR_INTERNAL_SERVER_ERROR, NULL);
	} else {
		if (permit->invited)
			welcome(permit, buf_slice(&bare));
		request_answer(r->f, SLICE(""));
	}
done:
	buf_free(&bare);
}

static void
form_submitted(const struct request *r, const struct permit *permit)
{
	struct form form;
	int error = form_read(r, &form);

	if (error)
		request_refuse(r->f, STANZA_ERROR_NOT_ACCEPTABLE, error == E_NOT_FOUND ?
		    "user name and password are needed" : "user name or password have characters "
		    "that are not allowed");
	else if (permit->invited && permit->invite.name.len != 0 &&
	    !slice_equal(form.local, permit->invite.name))
		request_refuse(r->f, STANZA_ERROR_NOT_ACCEPTABLE, "the invitation is for another name");
	else
		create(r, &form, permit);
	gnutls_memset(&form, 0, sizeof form);
}

/* A request by a stream that is not authenticated; the account is the domain. */
static void
stranger(const struct request *r)
{
	const struct domain *domain = state_domain(r->account);
	struct permit permit;

	if (domain == NULL || domain->registration == REGISTRATION_NO) {
		request_refuse(r->f, STANZA_ERROR_SERVICE_UNAVAILABLE, NULL);
		return;
	}
	permit_read(r, &permit);
	if (domain->registration == REGISTRATION_INVITED && !permit.invited)
		request_refuse(r->f, STANZA_ERROR_NOT_ALLOWED, "an invitation is needed");
	else if (r->set)
		form_submitted(r, &permit);
	else
		fields_send(r, &permit);
	buf_free(&permit.text);
}

void
register_preauth(const struct request *r)
{
	const struct domain *domain = state_domain(r->account);
	char address_out[THROTTLE_ADDRESS];
	struct slice address = throttle_address(r->f->address, address_out), token;
	struct buf scratch = { 0 };
	struct invite invite;

	if (r->from.ptr != NULL)
		request_refuse(r->f, STANZA_ERROR_NOT_ALLOWED, "you have an account");
	else if (domain == NULL || domain->registration == REGISTRATION_NO)
		request_refuse(r->f, STANZA_ERROR_SERVICE_UNAVAILABLE, NULL);
	else if (!r->set || xmlin_attribute(&r->query, "token", &scratch, &token) != OK)
		request_refuse(r->f, STANZA_ERROR_BAD_REQUEST, NULL);
	else if (throttle_count(guessed, address, r->now) >= TOKENS_MAX)
		request_refuse(r->f, STANZA_ERROR_RESOURCE_CONSTRAINT, "too many wrong tokens");
	else if (token_read(token, r->account, r->now, false, &invite))
		request_answer(r->f, SLICE(""));
	else {
		throttle_fail(guessed, address, r->now);
		request_refuse(r->f, STANZA_ERROR_ITEM_NOT_FOUND,
		    "the token is invalid or has expired");
	}
	buf_free(&scratch);
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
	account_remove(r->from, false, r->now);
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
