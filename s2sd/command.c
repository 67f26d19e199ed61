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

const struct command s2sd_commands[] = {
	{ "peer list", "", "other servers and components that stanzas are exchanged with", peer_list },
	{ NULL, NULL, NULL, NULL },
};
