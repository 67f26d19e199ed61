/*
 * registry.c: what the daemons said that they serve in HELLO: domains, namespaces of requests,
 * features and identities to announce, commands.
 *
 * The routing tables are these lines, looked up in order; there are a few dozen of them. Called by
 * peer.c, route.c, request.c and control.c. A line that a role may not register, that is not well
 * formed, or that claims what a daemon of more trust has, is refused and logged.
 */
#include "router.h"

#include <stdlib.h>

#include "log.h"
#include "mem.h"
#include "xmlchar.h"

#define LINES_MAX 256  /* of one role */
#define TEXT_MAX  1200 /* bytes of a line */

struct line {
	TAILQ_ENTRY(line) all;
	struct peer *peer;      /* NULL: its daemon is away and will be back */
	enum role role;
	uint64_t since;         /* ticks when it went away */
	char *text;             /* "word value" */
	struct slice word, value;
};

static TAILQ_HEAD(, line) lines = TAILQ_HEAD_INITIALIZER(lines);
static unsigned line_counts[ROLE_COUNT];
static struct map *local_domains;
static struct map *components; /* by name: configured */
static struct map *rooms;      /* domains of mucd, likewise */
static uint64_t configured;    /* ticks */
static bool federation;

/* Finds the line of a daemon that is registering again. */
static struct line *
line_of(enum role role, struct slice text)
{
	struct line *line;

	TAILQ_FOREACH(line, &lines, all) {
		if (line->role == role && slice_is(text, line->text))
			return line;
	}
	return NULL;
}

/* The first line with this word and value; several c2sd may have the same. */
static struct line *
line_find(const char *word, struct slice value)
{
	struct line *line;

	TAILQ_FOREACH(line, &lines, all) {
		if (slice_equal(line->value, value) && slice_is(line->word, word))
			return line;
	}
	return NULL;
}

static bool
is_domain(const struct peer *peer, struct slice value)
{
	struct jid jid;

	if (slice_is(value, "*"))
		return peer->role == ROLE_S2SD; /* all that nobody else serves */
	return jid_parse(value, &jid) == 0 && jid.local.ptr == NULL && jid.resource.ptr == NULL &&
	    !registry_local_domain(value);
}

/* What is for this server alone: a domain that it has registered before. */
static bool
is_own(const struct peer *peer, struct slice value)
{
	const struct line *line = line_find("domain", value);

	return line != NULL && line->role == peer->role && !slice_is(value, "*");
}

/* The router's own services are nobody else's, but for what authd knows better. */
static bool
is_account_ns(const struct peer *peer, struct slice value)
{
	return peer->role == ROLE_AUTHD || !request_serves(value);
}

static bool
is_command(const struct peer *peer, struct slice value)
{
	const struct command *c;

	(void)peer;
	for (c = router_commands; c->name != NULL; c++) {
		if (registry_overlaps(slice_string(c->name), value))
			return false;
	}
	return true;
}

#define STORES (BY_AUTHD | BY_ARCHIVED | ROLE_BIT(ROLE_FORMSD))
#define SERVES (BY_SERVICE | ROLE_BIT(ROLE_S2SD))
#define HAS_DOMAINS (ROLE_BIT(ROLE_S2SD) | ROLE_BIT(ROLE_MUCD) | ROLE_BIT(ROLE_FORMSD))

/* The words of a registration: who may say them, and whether no two roles may say the same. */
static const struct word {
	const char *text;
	uint32_t roles;
	bool alone;
	bool (*check)(const struct peer *peer, struct slice value); /* NULL: anything goes */
} words[] = {
	{ "domain", HAS_DOMAINS, true, is_domain },
	{ "private", HAS_DOMAINS, false, is_own },
	{ "account-ns", STORES, true, is_account_ns },
	{ "server-ns", STORES, true, is_account_ns },
	{ "command", SERVES | ROLE_BIT(ROLE_SNMPD), true, is_command },
	{ "transfer", BY_AUTHD | BY_ARCHIVED | BY_MUCD, true, is_command },
	{ "identity", SERVES | BY_C2SD, false, NULL },
	{ "feature", SERVES | BY_C2SD, false, NULL },
	{ "account-feature", SERVES, false, NULL },
};

/* Of two roles that claim the same, that with the higher rank has it, and among equals who came
 * first: what faces the network has the lowest. */
static const uint8_t ranks[ROLE_COUNT] = {
	[ROLE_AUTHD] = 4, [ROLE_ARCHIVED] = 3, [ROLE_MUCD] = 2, [ROLE_FORMSD] = 2, [ROLE_SNMPD] = 2,
	[ROLE_S2SD] = 1,
};

bool
registry_overlaps(struct slice a, struct slice b)
{
	size_t i;

	for (i = 0;; i++) {
		bool a_ends = i == a.len || a.ptr[i] == '\t', b_ends = i == b.len || b.ptr[i] == '\t';

		if (a_ends || b_ends)
			return (a_ends || a.ptr[i] == ' ') && (b_ends || b.ptr[i] == ' ');
		if (a.ptr[i] != b.ptr[i])
			return false;
	}
}

static const struct word *
word_find(struct slice text)
{
	size_t i;

	for (i = 0; i < sizeof words / sizeof *words; i++) {
		if (slice_is(text, words[i].text))
			return &words[i];
	}
	return NULL;
}

static void
line_free(struct line *line)
{
	TAILQ_REMOVE(&lines, line, all);
	line_counts[line->role]--;
	free(line->text);
	free(line);
}

/* Makes room for what a daemon claims alone; false when one of more trust has it. */
static bool
claim(const struct peer *peer, struct slice word, struct slice value)
{
	struct line *line, *next;

	for (line = TAILQ_FIRST(&lines); line != NULL; line = next) {
		next = TAILQ_NEXT(line, all);
		if (line->role == peer->role || !slice_equal(line->word, word) ||
		    !(slice_is(word, "command") || slice_is(word, "transfer") ? registry_overlaps(line->value, value)
		    : slice_equal(line->value, value)))
			continue;
		if (ranks[line->role] >= ranks[peer->role])
			return false;
		log_warn("registration withdrawn", "from=%s line=%s by=%s", role_text(line->role),
		    log_quote(slice_string(line->text)), role_text(peer->role));
		line_free(line);
	}
	return true;
}

/* Whether a line is text of XML without controls: it becomes part of answers. */
static bool
is_text(struct slice text)
{
	const char *at = text.ptr, *end = text.ptr + text.len;

	while (at < end) {
		uint32_t point;
		unsigned len = xmlchar_read(at, end, &point);

		if (len == 0 || (point < ' ' && point != '\t'))
			return false;
		at += len;
	}
	return text.len <= TEXT_MAX;
}

/* Whether a daemon may register this line: word and value are its parts. */
static bool
may_serve(const struct peer *peer, struct slice text, struct slice word, struct slice value)
{
	const struct word *w = word_find(word);

	return w != NULL && (w->roles & ROLE_BIT(peer->role)) && value.len != 0 && is_text(text) &&
	    line_counts[peer->role] < LINES_MAX && (w->check == NULL || w->check(peer, value)) &&
	    (!w->alone || claim(peer, word, value));
}

/* Takes a line; false when it is refused. */
static bool
line_add(struct peer *peer, struct slice text)
{
	const char *space = memchr(text.ptr, ' ', text.len);
	struct line *line = line_of(peer->role, text);
	struct slice word, value;

	if (line != NULL) {
		line->peer = peer;
		return true;
	}
	word = slice_part(text, 0, space != NULL ? (size_t)(space - text.ptr) : text.len);
	value = slice_part(text, word.len + 1, SIZE_MAX);
	if (!may_serve(peer, text, word, value))
		return false;
	line = mem_alloc(sizeof *line);
	line->peer = peer;
	line->role = peer->role;
	line->text = slice_dup(text);
	line->word = slice_of(line->text, word.len);
	line->value = slice_of(line->text + word.len + 1, value.len);
	TAILQ_INSERT_TAIL(&lines, line, all);
	line_counts[peer->role]++;
	return true;
}

/* Forgets what a daemon served before it was restarted and does not serve any more. */
static void
lines_sweep(const struct peer *peer)
{
	struct line *line, *next;

	for (line = TAILQ_FIRST(&lines); line != NULL; line = next) {
		next = TAILQ_NEXT(line, all);
		if (line->role == peer->role && line->peer == NULL)
			line_free(line);
	}
}

/* Tells s2sd for which domains of another daemon it is the way to other servers. */
static void
domains_send(struct peer *s2sd, unsigned role)
{
	struct frame f = { .type = FRAME_DOMAINS, .number = role };
	struct buf text = { 0 };
	const struct line *line;

	if (role == ROLE_S2SD || !(HAS_DOMAINS & ROLE_BIT(role)))
		return;
	TAILQ_FOREACH(line, &lines, all) {
		if (line->role == role && slice_is(line->word, "domain") && !registry_private(line->value))
			buf_printf(&text, "%.*s\n", SLICE_ARG(line->value));
	}
	f.text = buf_len(&text) != 0 ? buf_slice(&text) : SLICE("");
	peer_send(s2sd, &f);
	buf_free(&text);
}

void
registry_add(struct peer *peer, struct slice text)
{
	struct peer *s2sd;
	unsigned refused = 0;
	struct slice line;

	while (slice_line(&text, &line)) {
		/* The first is told, the others are counted. */
		if (line.len != 0 && !line_add(peer, line) && refused++ == 0)
			log_warn("registration refused", "from=%s index=%u line=%s",
			    role_text(peer->role), peer->index, log_quote(line));
	}
	if (refused > 1)
		log_warn("registration refused", "from=%s index=%u lines=%u", role_text(peer->role),
		    peer->index, refused);
	lines_sweep(peer);
	disco_changed();
	TAILQ_FOREACH(s2sd, &peers, all) {
		if (s2sd->role == ROLE_S2SD && s2sd->state != PEER_CONNECTED)
			domains_send(s2sd, peer->role);
	}
}

void
registry_tell(struct peer *s2sd)
{
	unsigned role;

	for (role = 0; role < ROLE_COUNT; role++) {
		if (line_counts[role] != 0)
			domains_send(s2sd, role);
	}
}

/* Lines stay when their daemon dies: what it serves is away, not unknown. */
void
registry_remove(const struct peer *peer)
{
	struct line *line;

	TAILQ_FOREACH(line, &lines, all) {
		if (line->peer != peer)
			continue;
		line->peer = NULL;
		line->since = daemon_ticks();
	}
}

/* Reads the titles of a section anew. */
static void
titles_read(const struct config *config, const char *section, struct map **titles)
{
	struct slice title;
	size_t i, at = 0;
	char *old;

	while (*titles != NULL && (old = map_each(*titles, &at)) != NULL)
		free(old);
	map_free(titles);
	*titles = map_new();
	for (i = 0; config_title(config, section, i, &title); i++) {
		char *name = slice_dup(title);

		map_put(*titles, slice_string(name), name);
	}
}

void
registry_set_domains(const struct config *config)
{
	/* Also while we run: what is said of domains that are gone, routes like that of strangers. */
	titles_read(config, "domain", &local_domains);
}

void
registry_set_served(const struct config *config)
{
	titles_read(config, "component", &components);
	titles_read(config, "rooms", &rooms);
	configured = daemon_ticks();
	federation = config_flag(config, "s2s", "", "federation");
}

size_t
registry_count(void)
{
	size_t count = 0;
	unsigned role;

	for (role = 0; role < ROLE_COUNT; role++)
		count += line_counts[role];
	return count;
}

bool
registry_local_domain(struct slice domain)
{
	return map_get(local_domains, domain) != NULL;
}

void
registry_each_local(void (*each)(void *arg, struct slice domain), void *arg)
{
	const char *name;
	size_t at = 0;

	while ((name = map_each(local_domains, &at)) != NULL)
		each(arg, slice_string(name));
}

bool
registry_complete(void)
{
	return registry_heard(ROLE_AUTHD);
}

bool
registry_heard(enum role role)
{
	return line_counts[role] != 0;
}

/* Whether mucd will serve it, which has not registered with this router yet. */
static bool
is_awaited(struct slice domain)
{
	return rooms != NULL && map_get(rooms, domain) != NULL && line_find("domain", domain) == NULL;
}

bool
registry_elsewhere(struct slice domain)
{
	const struct line *line = line_find("domain", domain);

	if (line != NULL)
		return line->role == ROLE_S2SD;
	if (is_awaited(domain))
		return false;
	/* s2sd may not have registered with this router yet: what is for others is stored meanwhile. */
	return federation || (components != NULL && map_get(components, domain) != NULL) ||
	    line_find("domain", SLICE("*")) != NULL;
}

bool
registry_rooms(struct slice domain)
{
	const struct line *line = line_find("domain", domain);

	return line != NULL ? line->role == ROLE_MUCD : is_awaited(domain);
}

bool
registry_named(struct slice domain)
{
	return line_find("domain", domain) != NULL || is_awaited(domain);
}

bool
registry_private(struct slice domain)
{
	const struct line *line, *served = line_find("domain", domain);

	TAILQ_FOREACH(line, &lines, all) {
		if (served != NULL && line->role == served->role && slice_equal(line->value, domain) &&
		    slice_is(line->word, "private"))
			return true;
	}
	return false;
}

struct peer *
registry_domain(struct slice domain, bool *known)
{
	struct line *line = line_find("domain", domain);

	if (line == NULL && !is_awaited(domain))
		line = line_find("domain", SLICE("*"));
	*known = line != NULL || is_awaited(domain);
	return line ? line->peer : NULL;
}

struct peer *
registry_account_ns(struct slice ns, bool *known)
{
	struct line *line = line_find("account-ns", ns);

	*known = line != NULL;
	return line ? line->peer : NULL;
}

struct peer *
registry_server_ns(struct slice ns, bool *known)
{
	struct line *line = line_find("server-ns", ns);

	*known = line != NULL;
	return line ? line->peer : NULL;
}

uint64_t
registry_away(struct slice domain, struct slice ns)
{
	struct line *line;
	uint64_t away = domain.ptr != NULL && is_awaited(domain) ? daemon_ticks() - configured : 0;

	TAILQ_FOREACH(line, &lines, all) {
		bool serves = slice_equal(line->value, ns) || slice_equal(line->value, domain);

		if (serves && line->peer == NULL && daemon_ticks() - line->since > away)
			away = daemon_ticks() - line->since;
	}
	return away;
}

void
registry_each(const char *word, void (*each)(void *arg, struct peer *peer, struct slice value),
    void *arg)
{
	struct line *line;

	TAILQ_FOREACH(line, &lines, all) {
		if (slice_is(line->word, word))
			each(arg, line->peer, line->value);
	}
}
