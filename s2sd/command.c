/*
 * command.c: what administrators can ask of s2sd. Called through daemon_command(); only reads.
 */
#include "s2sd.h"

#include "error.h"

static const char *const path_states[] = {
	[PATH_IDLE] = "idle", [PATH_TRYING] = "trying", [PATH_UP] = "up", [PATH_DOWN] = "down",
};

/* Adds a row for each path of a remote domain. */
static void
list_remote(void *arg, struct remote *remote)
{
	json_t *rows = arg;
	const struct path *path;

	LIST_FOREACH(path, &remote->paths, of_remote) {
		json_t *row = json_object();

		json_object_set_new(row, "domain", json_string(remote->name));
		json_object_set_new(row, "from", json_string(path->local));
		json_object_set_new(row, "state", json_string(path_states[path->state]));
		json_object_set_new(row, "waiting", json_integer((json_int_t)path->queue.count));
		if (path->stream != NULL)
			json_object_set_new(row, "address",
			    json_string(address_text(path->stream->net.address)));
		if (path->state == PATH_DOWN)
			json_object_set_new(row, "reason", json_string(path->reason));
		json_array_append_new(rows, row);
	}
}

static int
peer_list(struct slice *words, size_t count, json_t **result)
{
	(void)words;
	if (count != 0)
		return E_MALFORMED;
	*result = json_array();
	remotes_each(list_remote, *result);
	return OK;
}

/* What happened with a domain, and the state of its paths. */
static int
peer_show(struct slice *words, size_t count, json_t **result)
{
	char prepared[JID_PART_MAX + 1];
	struct remote *remote;
	struct slice domain;
	json_t *attempts;

	if (count != 1 || jid_prepare_domain(words[0], prepared, &domain) != OK) {
		*result = json_string("one domain is needed");
		return E_MALFORMED;
	}
	remote = remote_find(domain);
	attempts = attempts_json(history, domain);
	if (remote == NULL && attempts == NULL) {
		*result = json_string("nothing is known of it");
		return E_NOT_FOUND;
	}
	*result = json_object();
	json_object_set_new(*result, "paths", json_array());
	if (remote != NULL)
		list_remote(json_object_get(*result, "paths"), remote);
	json_object_set_new(*result, "attempts", attempts != NULL ? attempts : json_array());
	return OK;
}

/* Tries all paths to a domain now, from our first domain when there is none. */
static int
peer_test(struct slice *words, size_t count, json_t **result)
{
	char prepared[JID_PART_MAX + 1];
	struct domain *local;
	struct slice domain;

	if (count == 0 || count > 2 || jid_prepare_domain(words[0], prepared, &domain) != OK ||
	    domain_is_here(domain)) {
		*result = json_string("a domain of another server is needed");
		return E_MALFORMED;
	}
	local = count == 2 ? domain_find(words[1]) : domain_first();
	if (local == NULL) {
		*result = json_string("it can be tried from a domain of ours only");
		return E_NOT_FOUND;
	}
	path_test(path_get(remote_get(domain), slice_string(local->name)));
	*result = json_string("begun: see peer show");
	return OK;
}

const struct command s2sd_commands[] = {
	{ "peer list", "", "other servers and components that stanzas are exchanged with", peer_list },
	{ "peer show", "DOMAIN", "the state of a server, and step by step what happened with it", peer_show },
	{ "peer test", "DOMAIN [FROM]", "connect to a server now", peer_test },
	{ NULL, NULL, NULL, NULL },
};
