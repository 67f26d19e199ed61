/*
 * domain.c: the domains with rooms, and what may be done in them, as configured. Called at the start, at a
 * reload, and for each stanza. Fails when a title is no domain; a domain that was added or taken away
 * restarts the daemon, since the router must hear of it.
 */
#include "mucd.h"

#include <stdlib.h>

#include "log.h"
#include "mem.h"

#define SECTION "rooms"

/* A domain with who may make rooms in it, and who administers it; lines. */
struct entry {
	struct domain domain;
	char *name, *title;
	struct buf create, admins;
};

static struct entry **entries;
static size_t entry_count;

static void
list_read(const struct config *config, const char *title, const char *option, struct buf *lines)
{
	struct slice value;
	size_t i;

	buf_clear(lines);
	for (i = 0; config_list(config, SECTION, title, option, i, &value); i++) {
		char out[JID_MAX + 1];
		struct jid jid;

		if (jid_prepare(value, out, &jid) == OK)
			value = jid.full;
		buf_add_slice(lines, value);
		buf_add_char(lines, '\n');
	}
}

static void
entry_read(struct entry *e, const struct config *config, const char *title)
{
	struct domain *d = &e->domain;

	d->rooms_max = (uint32_t)config_number(config, SECTION, title, "rooms");
	d->rooms_per_user = (uint32_t)config_number(config, SECTION, title, "rooms-per-user");
	d->occupants_max = (uint32_t)config_number(config, SECTION, title, "occupants");
	d->joined_max = (uint32_t)config_number(config, SECTION, title, "joined");
	d->history = (uint32_t)config_number(config, SECTION, title, "history");
	d->history_max = (uint32_t)config_number(config, SECTION, title, "history-most");
	d->rate = (uint32_t)config_number(config, SECTION, title, "message-rate");
	d->idle_time = 1000 * config_number(config, SECTION, title, "idle-time");
	d->silence = 1000 * config_number(config, SECTION, title, "silence");
	free(e->title);
	e->title = slice_dup(config_text(config, SECTION, title, "name"));
	d->title = slice_string(e->title);
	list_read(config, title, "create", &e->create);
	list_read(config, title, "admins", &e->admins);
}

static struct entry *
entry_find(struct slice name)
{
	size_t i;

	for (i = 0; i < entry_count; i++) {
		if (slice_equal(entries[i]->domain.name, name))
			return entries[i];
	}
	return NULL;
}

static struct entry *
entry_make(struct slice name)
{
	struct entry *e = mem_alloc(sizeof *e);

	e->name = slice_dup(name);
	e->domain.name = slice_string(e->name);
	entries = mem_grow(entries, (entry_count + 1) * sizeof *entries);
	entries[entry_count++] = e;
	return e;
}

int
domains_configure(const struct config *config)
{
	bool began = entries != NULL;
	struct slice title;
	size_t i;

	for (i = 0; config_title(config, SECTION, i, &title); i++) {
		char out[JID_PART_MAX + 1], *text = slice_dup(title);
		struct slice name;
		struct entry *e;

		if (jid_prepare_domain(title, out, &name) != OK) {
			log_error("domain malformed", "domain=%s", log_quote(title));
			free(text);
			return E_MALFORMED;
		}
		e = entry_find(name);
		if (e == NULL && began) {
			free(text);
			return E_UNSUPPORTED; /* restarted */
		}
		if (e == NULL)
			e = entry_make(name);
		entry_read(e, config, text);
		free(text);
	}
	return began && i != entry_count ? E_UNSUPPORTED : OK;
}

void
domains_serve(struct buf *text)
{
	size_t i;

	for (i = 0; i < entry_count; i++)
		buf_printf(text, "domain %s\n", entries[i]->name);
}

struct domain *
domain_find(struct slice name)
{
	struct entry *e = entry_find(name);

	return e != NULL ? &e->domain : NULL;
}

struct domain *
domain_at(size_t i)
{
	return i < entry_count ? &entries[i]->domain : NULL;
}

/* Whether one of the lines says it. */
static bool
has_line(const struct buf *lines, struct slice text)
{
	struct slice rest = buf_slice(lines), line;

	while (slice_line(&rest, &line)) {
		if (slice_equal(line, text))
			return true;
	}
	return false;
}

bool
domain_may_create(const struct domain *domain, struct slice bare, bool local)
{
	const struct entry *e = entry_find(domain->name);
	struct jid jid;

	if (domain_is_admin(domain, bare) || has_line(&e->create, SLICE("all")))
		return true;
	if (local && has_line(&e->create, SLICE("local")))
		return true;
	jid_split(bare, &jid);
	return has_line(&e->create, bare) || has_line(&e->create, jid.domain);
}

bool
domain_is_admin(const struct domain *domain, struct slice bare)
{
	return has_line(&entry_find(domain->name)->admins, bare);
}
