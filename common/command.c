/*
 * command.c: which command some words mean. Called by daemon.c, and by the router for those of
 * others. Fails on words that are none.
 */
#include "command.h"

#include "error.h"

const char *
command_condition(int error)
{
	static const char *const conditions[ERROR_COUNT] = {
		[E_AGAIN] = "recipient-unavailable",
		[E_CLOSED] = "recipient-unavailable",
		[E_MALFORMED] = "bad-request",
		[E_TOO_BIG] = "policy-violation",
		[E_TOO_MANY] = "policy-violation",
		[E_NOT_FOUND] = "item-not-found",
		[E_EXISTS] = "conflict",
		[E_FORBIDDEN] = "forbidden",
		[E_MISMATCH] = "not-acceptable",
		[E_UNSUPPORTED] = "feature-not-implemented",
		[E_FULL] = "resource-constraint",
	};

	if (error <= OK || error >= ERROR_COUNT || conditions[error] == NULL)
		return "internal-server-error";
	return conditions[error];
}

/* How many words the name of a command takes up when words begin with it, else 0. */
static size_t
name_matches(const char *name, const struct slice *words, size_t count)
{
	size_t used = 0;

	while (*name != '\0') {
		size_t len = strcspn(name, " ");

		if (used == count || !slice_equal(slice_of(name, len), words[used]))
			return 0;
		used++;
		name += len;
		name += strspn(name, " ");
	}
	return used;
}

const struct command *
command_find(const struct command *table, const struct slice *words, size_t count, size_t *used)
{
	const struct command *best = NULL;

	for (; table != NULL && table->name != NULL; table++) {
		size_t n = name_matches(table->name, words, count);

		if (n > *used) {
			best = table;
			*used = n;
		}
	}
	return best;
}

int
command_words(struct slice text, struct slice *words, size_t max, size_t *count)
{
	struct slice word;

	*count = 0;
	while (slice_line(&text, &word)) {
		if (*count == max)
			return E_TOO_MANY;
		words[(*count)++] = word;
	}
	return OK;
}
