/*
 * login.c: owns the negotiation of a client stream, from its first byte to a bound resource (RFC
 * 6120), and the client side of XEP-0198. xmppload.c starts it; conn.c feeds it stanzas. Anything
 * unexpected fails the connection.
 *
 *   FEATURES -starttls-> PROCEED -TLS-> FEATURES -auth-> [CHALLENGE ->] SUCCESS
 *   -> FEATURES -bind-> BIND -enable, presence, ping-> PING -> DONE
 *
 * The ping is what ends a login: its answer shows that the server has handled the presence before
 * it.
 *
 * The Aldis developers
 */
#include "load.h"

#include <stdio.h>
#include <string.h>

#define SASL_NS "urn:ietf:params:xml:ns:xmpp-sasl"

static void
login_header(struct conn *c)
{
	char text[512];
	int len = snprintf(text, sizeof text,
	    "<?xml version='1.0'?><stream:stream to='%s' version='1.0' xmlns='jabber:client'"
	    " xmlns:stream='http://etherx.jabber.org/streams'>",
	    c->load->o.domain);

	conn_restart(c);
	conn_send(c, text, (size_t)len);
	c->step = LOGIN_FEATURES;
}

void
login_begin(struct conn *c, unsigned user)
{
	c->user = user;
	c->began = load_now();
	c->authenticated = c->sm = false;
	c->sm_in = c->sm_out = c->sm_acked = 0;
	conn_restart(c);
	c->step = LOGIN_FEATURES;
	conn_open(c);
}

void
login_up(struct conn *c)
{
	if (c->load->o.tls == TLS_DIRECT && c->tls == NULL)
		conn_starttls(c);
	else
		login_header(c);
}

/* Ends the login. */
static void
login_done(struct conn *c)
{
	c->step = LOGIN_DONE;
	load_logged_in(c);
}

static void
login_auth(struct conn *c)
{
	const struct options *o = &c->load->o;
	char user[64], text[SCRAM_TEXT], stanza[SCRAM_TEXT + 128];
	bool plain = o->mech == MECH_PLAIN;
	int len;

	(void)snprintf(user, sizeof user, "%s%05u", o->prefix, c->user);
	if (plain) {
		char secret[192];

		len = snprintf(secret, sizeof secret, "%c%s%c%s", '\0', user, '\0', o->password);
		if (len < 0 || (size_t)len >= sizeof secret
		    || scram_base64(secret, (size_t)len, text) != 0)
			len = -1;
	} else {
		len = scram_first(&c->scram, user, text);
	}
	if (len < 0) {
		conn_fail(c, "user name or password too long");
		return;
	}
	len = snprintf(stanza, sizeof stanza, "<auth xmlns='" SASL_NS "' mechanism='%s'>%s</auth>",
	    plain ? "PLAIN" : "SCRAM-SHA-1", text);
	conn_send(c, stanza, (size_t)len);
	c->step = plain ? LOGIN_SUCCESS : LOGIN_CHALLENGE;
}

static void
login_features(struct conn *c, struct slice s)
{
	char text[224];
	int len;

	(void)s;
	if (c->load->o.tls == TLS_START && c->tls == NULL) {
		conn_sends(c, "<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>");
		c->step = LOGIN_PROCEED;
	} else if (c->authenticated) {
		len = snprintf(text, sizeof text,
		    "<iq type='set' id='bind'>"
		    "<bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'>"
		    "<resource>%s%u</resource></bind></iq>",
		    c->load->o.resource, c->index);
		conn_send(c, text, (size_t)len);
		c->step = LOGIN_BIND;
	} else if (c->load->o.mech == MECH_NONE) {
		login_done(c);
	} else {
		login_auth(c);
	}
}

static void
login_proceed(struct conn *c, struct slice s)
{
	(void)s;
	c->step = LOGIN_FEATURES;
	conn_starttls(c);
}

static void
login_challenge(struct conn *c, struct slice s)
{
	char text[SCRAM_TEXT], stanza[SCRAM_TEXT + 128];
	int len;

	if (scram_final(&c->scram, &c->load->keys[c->user], c->load->o.password, s, text) != 0) {
		conn_fail(c, "bad SCRAM challenge");
		return;
	}
	len = snprintf(stanza, sizeof stanza, "<response xmlns='" SASL_NS "'>%s</response>", text);
	conn_send(c, stanza, (size_t)len);
	c->step = LOGIN_SUCCESS;
}

static void
login_success(struct conn *c, struct slice s)
{
	if (c->load->o.mech == MECH_SCRAM && scram_verify(&c->scram, s) != 0) {
		conn_fail(c, "the server did not prove that it knows the password");
		return;
	}
	c->authenticated = true;
	login_header(c);
}

static void
login_bound(struct conn *c, struct slice s)
{
	if (!slice_has(s, "type='result'") && !slice_has(s, "type=\"result\"")) {
		conn_fail(c, "no resource");
		return;
	}
	if (c->load->o.sm)
		conn_sends(c, "<enable xmlns='urn:xmpp:sm:3'/>");
	if (c->load->o.roster)
		conn_sends(c, "<iq type='get' id='roster'><query xmlns='jabber:iq:roster'/></iq>");
	conn_sends(c, "<presence/><iq type='get' id='ready'><ping xmlns='urn:xmpp:ping'/></iq>");
	c->sm_out = c->load->o.roster ? 3 : 2;
	c->step = LOGIN_PING;
}

/* What each step waits for; the last one ignores all but the answer to the ping. */
static const struct {
	const char *wanted;
	void (*handle)(struct conn *c, struct slice s);
} steps[] = {
    [LOGIN_FEATURES] = {"<stream:features", login_features},
    [LOGIN_PROCEED] = {"<proceed", login_proceed},
    [LOGIN_CHALLENGE] = {"<challenge", login_challenge},
    [LOGIN_SUCCESS] = {"<success", login_success},
    [LOGIN_BIND] = {"<iq", login_bound},
};

void
login_acknowledge(struct conn *c)
{
	char text[64];
	int len =
	    snprintf(text, sizeof text, "<a xmlns='urn:xmpp:sm:3' h='%u'/>", (unsigned)c->sm_in);

	conn_send(c, text, (size_t)len);
}

bool
login_sm(struct conn *c, struct slice s)
{
	if (!c->sm)
		return false;
	if (slice_starts(s, "<message") || slice_starts(s, "<iq") || slice_starts(s, "<presence")) {
		c->sm_in++;
		return false;
	}
	if (slice_starts(s, "<r ") || slice_starts(s, "<r/")) {
		login_acknowledge(c);
		return true;
	}
	if (slice_starts(s, "<a ")) {
		const char *h = memmem(s.ptr, s.len, " h=", 3);
		uint32_t value = 0;

		for (h = h == NULL ? s.ptr + s.len : h + 4;
		     h < s.ptr + s.len && *h >= '0' && *h <= '9'; h++)
			value = value * 10 + (uint32_t)(*h - '0');
		c->sm_acked = value;
		return true;
	}
	return false;
}

void
login_stanza(struct conn *c, struct slice s)
{
	char why[160];

	if (c->step == LOGIN_PING) {
		if (slice_starts(s, "<enabled"))
			c->sm = true;
		else if (!login_sm(c, s) && slice_starts(s, "<iq") && slice_has(s, "ready"))
			login_done(c);
		return;
	}
	if (slice_starts(s, steps[c->step].wanted)) {
		steps[c->step].handle(c, s);
		return;
	}
	(void)snprintf(why, sizeof why, "at step %d: %.*s", (int)c->step,
	    s.len < 120 ? (int)s.len : 120, s.ptr);
	conn_fail(c, why);
}
