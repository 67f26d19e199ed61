/*
 * state.c: the store, the options and the secrets that all files of authd use. Called by main.c at
 * the start; fails when the store cannot be opened or an option has no sense.
 */
#include <gnutls/crypto.h>
#include <stdlib.h>

#include "authd.h"
#include "log.h"
#include "mem.h"

#define STORE_SIZE (64ull << 30) /* address space, not disk */

struct state state;

static const char *const tables[] = {
	[TABLE_ACCOUNT] = "account",
	[TABLE_ROSTER] = "roster",
	[TABLE_REQUEST] = "request",
	[TABLE_VERSION] = "roster-version",
	[TABLE_VCARD] = "vcard",
	[TABLE_PRIVATE] = "private",
	[TABLE_LAST] = "last",
	[TABLE_WATERMARK] = "watermark",
	[TABLE_META] = "meta",
	[TABLE_BLOCK] = "block",
	[TABLE_FAST] = "fast",
	[TABLE_INVITE] = "invite",
	[TABLE_RESERVED] = "reserved",
	[TABLE_REPORT] = "report",
	[TABLE_PUSH] = "push",
	[TABLE_OUTBOX] = "outbox",
	[TABLE_COUNT] = NULL,
};

/* -- options -- */

/* Adds the known mechanisms of one value, which may name several, to the list. */
static void
mechanisms_add(struct buf *list, struct slice value, bool fast)
{
	size_t at = 0, end;

	for (; at < value.len; at = end + 1) {
		struct slice name;

		for (end = at; end < value.len && value.ptr[end] != ' '; end++)
			;
		name = slice_part(value, at, end - at);
		if (name.len == 0)
			continue;
		if (!mechanism_known(name, fast)) {
			log_warn("mechanism unknown", "name=%s", log_quote(name));
			continue;
		}
		if (buf_len(list) != 0)
			buf_add_char(list, ' ');
		buf_add_slice(list, name);
	}
}

static char *
mechanisms_read(const struct config *config, const char *option, bool fast)
{
	char *names;
	struct buf list = { 0 };
	struct slice value;
	size_t i;

	for (i = 0; config_list(config, "auth", "", option, i, &value); i++)
		mechanisms_add(&list, value, fast);
	names = slice_dup(buf_slice(&list));
	buf_free(&list);
	return names;
}

/* What an option says that once was a flag: the words of flags are kept. */
static enum registration
registration_read(struct slice word)
{
	if (slice_is(word, "invited"))
		return REGISTRATION_INVITED;
	return slice_is(word, "yes") || slice_is(word, "on") || slice_is(word, "true") ?
	    REGISTRATION_YES : REGISTRATION_NO;
}

/* Whom a domain has told of reports. */
static void
report_to_read(const struct config *config, const char *title, struct domain *d)
{
	char out[JID_MAX + 1];
	struct slice value;
	struct jid jid;
	size_t i;

	for (i = 0; config_list(config, "domain", title, "report-to", i, &value); i++) {
		if (jid_prepare(value, out, &jid) != OK)
			continue;
		d->report_to = mem_grow(d->report_to, (d->report_count + 1) * sizeof *d->report_to);
		d->report_to[d->report_count++] = slice_dup(jid.full);
	}
}

/* Reads the titles of the domains. */
static int
domains_read(const struct config *config)
{
	char out[JID_PART_MAX + 1];
	struct slice title, name;
	size_t i;

	for (i = 0; config_title(config, "domain", i, &title); i++) {
		char *copy = slice_dup(title);
		struct domain *d;

		if (jid_prepare_domain(title, out, &name) != OK) {
			log_error("domain malformed", "domain=%s", log_quote(title));
			free(copy);
			return E_MALFORMED;
		}
		state.domains = mem_grow(state.domains, (i + 1) * sizeof *state.domains);
		d = &state.domains[state.domain_count++];
		d->name = slice_dup(name);
		d->registration = registration_read(config_text(config, "domain", copy, "registration"));
		d->invite_page = slice_dup(config_text(config, "domain", copy, "invite-page"));
		d->report_to = NULL;
		d->report_count = 0;
		report_to_read(config, copy, d);
		extdisco_configure(config, copy, d);
		free(copy);
	}
	return OK;
}

int
state_configure(const struct config *config)
{
	state.iterations = (uint32_t)config_number(config, "auth", "", "iterations");
	state.failures_account = (unsigned)config_number(config, "auth", "", "failures-account");
	state.failures_address = (unsigned)config_number(config, "auth", "", "failures-address");
	state.failures_time = 1000 * config_number(config, "auth", "", "failures-time");
	state.roster_items = (size_t)config_number(config, "auth", "", "roster-items");
	state.vcard_size = (size_t)config_number(config, "auth", "", "vcard-size");
	state.vcard_strangers = config_flag(config, "auth", "", "vcard-strangers");
	state.private_size = (size_t)config_number(config, "auth", "", "private-size");
	state.private_items = (size_t)config_number(config, "auth", "", "private-items");
	state.block_items = (size_t)config_number(config, "auth", "", "block-items");
	state.tokens = (size_t)config_number(config, "auth", "", "tokens");
	state.token_lifetime = 1000 * config_number(config, "auth", "", "token-lifetime");
	state.ticket_time = 1000 * config_number(config, "auth", "", "ticket-time");
	state.token_rotation = 1000 * config_number(config, "auth", "", "token-rotation");
	state.service_time = 1000 * config_number(config, "auth", "", "service-time");
	state.reports = (size_t)config_number(config, "auth", "", "reports");
	state.invitations = (size_t)config_number(config, "auth", "", "invitations");
	state.invitation_time = 1000 * config_number(config, "auth", "", "invitation-time");
	state.push_services = (size_t)config_number(config, "push", "", "services");
	state.push_errors = (unsigned)config_number(config, "push", "", "errors");
	if (state.iterations < 4096 || state.iterations > 10000000) {
		log_error("option refused", "option=iterations value=%u range=4096-10000000",
		    state.iterations);
		return E_MALFORMED;
	}
	state.mechanisms = mechanisms_read(config, "mechanisms", false);
	state.fast_mechanisms = mechanisms_read(config, "fast-mechanisms", true);
	return domains_read(config);
}

const struct domain *
state_domain(struct slice name)
{
	size_t i;

	for (i = 0; i < state.domain_count; i++) {
		if (slice_is(name, state.domains[i].name))
			return &state.domains[i];
	}
	return NULL;
}

/* -- the store -- */

/* Reads a secret, or makes it. */
static int
secret_load(const char *name, uint8_t secret[SECRET_SIZE])
{
	struct slice value;
	char record[1 + SECRET_SIZE] = { VALUE_VERSION };
	int error = store_get(state.store, TABLE_META, slice_string(name), &value);

	if (error == OK && (value.len != sizeof record || value.ptr[0] != VALUE_VERSION)) {
		log_error("secret unreadable", "name=%s", name);
		return E_MALFORMED;
	}
	if (error == OK) {
		memcpy(secret, value.ptr + 1, SECRET_SIZE);
		return OK;
	}
	if (error != E_NOT_FOUND)
		return error;
	if (gnutls_rnd(GNUTLS_RND_KEY, secret, SECRET_SIZE) != 0)
		return E_SYSTEM;
	memcpy(record + 1, secret, SECRET_SIZE);
	return store_put(state.store, TABLE_META, slice_string(name),
	    slice_of(record, sizeof record));
}

int
state_open(const char *directory)
{
	int error = store_open(directory, tables, STORE_SIZE, &state.store);

	if (error == OK)
		error = secret_load("grant-key", state.grant_key);
	if (error == OK)
		error = secret_load("false-salt-key", state.salt_key);
	if (error == OK)
		error = secret_load("dialback-key", state.dialback_key);
	if (error == OK)
		error = store_commit(state.store);
	forget_open();
	outbox_open();
	return error;
}

void
state_close(void)
{
	size_t i;

	store_close(&state.store);
	for (i = 0; i < state.domain_count; i++) {
		free(state.domains[i].name);
		free(state.domains[i].invite_page);
		extdisco_close(&state.domains[i]);
		while (state.domains[i].report_count > 0)
			free(state.domains[i].report_to[--state.domains[i].report_count]);
		free(state.domains[i].report_to);
	}
	free(state.domains);
	free(state.mechanisms);
	free(state.fast_mechanisms);
	state = (struct state){ 0 };
}

/* -- keys -- */

struct slice
state_key(uint64_t id, char out[8])
{
	store_key_u64(out, id);
	return slice_of(out, 8);
}

struct slice
state_key_hashed(uint64_t id, struct slice bytes, char out[KEY_HASHED])
{
	store_key_u64(out, id);
	store_key_hash(out + 8, bytes);
	return slice_of(out, KEY_HASHED);
}

static bool
row_remove(void *arg, struct slice key, struct slice value)
{
	const enum table *table = arg;
	char copy[STORE_KEY_MAX];

	(void)value;
	memcpy(copy, key.ptr, key.len);
	store_remove(state.store, *table, slice_of(copy, key.len));
	return true;
}

void
state_remove_all(enum table table, uint64_t id)
{
	char key[8];
	struct slice prefix = state_key(id, key);

	store_walk(state.store, table, prefix, prefix, row_remove, &table);
}
