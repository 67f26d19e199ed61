/*
 * registry.c: what the daemons said that they serve in HELLO: domains, namespaces of requests,
 * features and identities to announce, commands.
 *
 * The routing tables are these lines, looked up in order; there are a few dozen of them. Called by
 * peer.c, route.c, request.c and control.c; a line that is not understood is ignored.
 */
#include "router.h"

#include <stdlib.h>

#include "log.h"
#include "mem.h"

#define LINES_MAX 1024

struct line {
	TAILQ_ENTRY(line) all;
	struct peer *peer;      /* NULL: its daemon is away and will be back */
	enum role role;
	uint64_t since;         /* ticks when it went away */
	char *text;             /* "word value" */
	struct slice word, value;
};

static TAILQ_HEAD(, line) lines = TAILQ_HEAD_INITIALIZER(lines);
static unsigned line_count;
static struct map *local_domains;

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

/* Whether a daemon may serve this: our own domains are nobody's, and what faces the network gets no
 * requests to accounts or the server, nor an administrator's words. */
static bool
may_serve(const struct peer *peer, struct slice word, struct slice value)
{
	if (peer->role == ROLE_C2SD)
		return slice_is(word, "feature") || slice_is(word, "identity");
	if (peer->role == ROLE_S2SD && (slice_is(word, "account-ns") || slice_is(word, "server-ns")))
		return false;
	return !slice_is(word, "domain") || !registry_local_domain(value);
}

static void
line_add(struct peer *peer, struct slice text)
{
	const char *space = memchr(text.ptr, ' ', text.len);
	struct line *line = line_of(peer->role, text);

	if (line != NULL) {
		line->peer = peer;
		return;
	}
	if (space == NULL || line_count == LINES_MAX ||
	    !may_serve(peer, slice_of(text.ptr, (size_t)(space - text.ptr)),
	    slice_part(text, (size_t)(space - text.ptr) + 1, SIZE_MAX))) {
		log_warn("registration refused", "from=%s line=%s", role_text(peer->role),
		    log_quote(text));
		return;
	}
	line = mem_alloc(sizeof *line);
	line->peer = peer;
	line->role = peer->role;
	line->text = slice_dup(text);
	line->word = slice_of(line->text, (size_t)(space - text.ptr));
	line->value = slice_of(line->text + line->word.len + 1, text.len - line->word.len - 1);
	TAILQ_INSERT_TAIL(&lines, line, all);
	line_count++;
}

void
registry_add(struct peer *peer, struct slice text)
{
	while (text.len != 0) {
		const char *end = memchr(text.ptr, '\n', text.len);
		size_t len = end ? (size_t)(end - text.ptr) : text.len;

		if (len != 0)
			line_add(peer, slice_part(text, 0, len));
		text = slice_part(text, end ? len + 1 : len, SIZE_MAX);
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

void
registry_set_domains(const struct config *config)
{
	struct slice title;
	size_t i, at = 0;
	char *old;

	/* Also while we run: what is said of domains that are gone, routes like that of strangers. */
	while (local_domains != NULL && (old = map_each(local_domains, &at)) != NULL)
		free(old);
	map_free(&local_domains);
	local_domains = map_new();
	for (i = 0; config_title(config, "domain", i, &title); i++) {
		char *name = slice_dup(title);

		map_put(local_domains, slice_string(name), name);
	}
}

size_t
registry_count(void)
{
	return line_count;
}

bool
registry_local_domain(struct slice domain)
{
	return map_get(local_domains, domain) != NULL;
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

struct peer *
registry_domain(struct slice domain, bool *known)
{
	struct line *line = line_find("domain", domain);

	if (line == NULL)
		line = line_find("domain", SLICE("*"));
	*known = line != NULL;
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
	uint64_t away = 0;

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
