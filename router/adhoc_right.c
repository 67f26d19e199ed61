/*
 * adhoc_right.c: who may give which ad-hoc commands on which domain, as the configuration says. Called by
 * adhoc.c and adhoc_target.c; cannot fail. The address of who asks was stamped by the router.
 */
#include "adhoc.h"

#include <stdlib.h>

#include "mem.h"

static struct map *admins;        /* of everything: bare JIDs */
static struct map *domain_admins; /* "DOMAIN JID" */
static struct map *inviters;      /* domain -> "DOMAIN WORD", the word of its `invite` */

static void
names_free(struct map **names)
{
	size_t at = 0;
	char *name;

	while (*names != NULL && (name = map_each(*names, &at)) != NULL)
		free(name);
	map_free(names);
}

/* Adds the accounts that an option names. */
static void
names_read(struct map *names, const struct config *config, const char *section, const char *domain)
{
	char text[JID_MAX + 1], *name, *old;
	struct slice value;
	struct buf key = { 0 };
	struct jid jid;
	size_t i;

	for (i = 0; config_list(config, section, domain, "admins", i, &value); i++) {
		if (jid_prepare(value, text, &jid) != 0)
			continue;
		buf_clear(&key);
		if (domain[0] != '\0')
			buf_printf(&key, "%s ", domain);
		buf_add_slice(&key, jid_bare(&jid));
		name = slice_dup(buf_slice(&key));
		old = map_remove(names, slice_string(name));
		free(old);
		map_put(names, slice_string(name), name);
	}
	buf_free(&key);
}

enum inviters
adhoc_inviters(struct slice domain)
{
	struct slice text = slice_string(map_get(inviters, domain));
	struct slice word = slice_part(text, domain.len + 1, SIZE_MAX);

	if (slice_is(word, "all"))
		return INVITERS_ALL;
	return slice_is(word, "admins") ? INVITERS_ADMINS : INVITERS_NOBODY;
}

static void
inviters_read(struct slice domain, struct slice word)
{
	struct buf text = { 0 };
	char *line;

	buf_printf(&text, "%.*s %.*s", SLICE_ARG(domain), SLICE_ARG(word));
	line = slice_dup(buf_slice(&text));
	free(map_put(inviters, slice_of(line, domain.len), line));
	buf_free(&text);
}

void
adhoc_configure(const struct config *config)
{
	struct slice title;
	char *domain;
	size_t i;

	names_free(&admins);
	names_free(&domain_admins);
	names_free(&inviters);
	inviters = map_new();
	admins = map_new();
	domain_admins = map_new();
	names_read(admins, config, "", "");
	for (i = 0; config_title(config, "domain", i, &title); i++) {
		domain = slice_dup(title);
		names_read(domain_admins, config, "domain", domain);
		inviters_read(title, config_text(config, "domain", domain, "invite"));
		free(domain);
	}
	for (i = 0; config_title(config, "rooms", i, &title); i++) {
		domain = slice_dup(title);
		names_read(domain_admins, config, "rooms", domain);
		free(domain);
	}
}

struct slice
adhoc_domain_of(struct slice bare)
{
	struct jid jid;

	jid_split(bare, &jid);
	return jid.domain;
}

enum right
adhoc_right_of(const struct frame *f, const struct session *sender)
{
	struct slice domain = jid_bare_of(f->to);
	bool local = registry_local_domain(domain);
	struct buf key = { 0 };
	enum right right = RIGHT_NONE;

	if (sender == NULL || sender->account == NULL)
		return RIGHT_NONE;
	if (map_get(admins, account_jid(sender->account)) != NULL)
		return local ? RIGHT_ALL : RIGHT_ROOMS;
	buf_printf(&key, "%.*s %.*s", SLICE_ARG(domain), SLICE_ARG(account_jid(sender->account)));
	if (map_get(domain_admins, buf_slice(&key)) != NULL)
		right = local ? RIGHT_DOMAIN : RIGHT_ROOMS;
	buf_free(&key);
	if (right == RIGHT_NONE && adhoc_inviters(domain) == INVITERS_ALL &&
	    slice_equal(adhoc_domain_of(account_jid(sender->account)), domain))
		right = RIGHT_INVITE;
	return right;
}
