/*
 * ctl_command.c: the table of commands, and which of them a command line means.
 *
 * Owns the rows that the suite sent and those of aldisctl itself; called by aldisctl.c. Fails on an
 * answer of another form and on words that name no command or several.
 */
#include <stdlib.h>

#include "ctl.h"
#include "error.h"
#include "mem.h"

/* What aldisctl does itself. */
static const struct ctl_command locals[] = {
	{ (char *)"account export", (char *)"FILE [JID]",
	    (char *)"write accounts into a file (XEP-0227)", true },
	{ (char *)"account import", (char *)"FILE [JID]",
	    (char *)"bring accounts out of such a file", true },
	{ (char *)"check", (char *)"", (char *)"check the configuration file", true },
	{ (char *)"help", (char *)"", (char *)"list all commands", true },
	{ (char *)"room export", (char *)"ROOM [FILE]", (char *)"write a room with its messages into a file", true },
	{ (char *)"user import", (char *)"FILE", (char *)"add accounts: lines \"user@domain password\"",
	    true },
};

/* Commands that take a password even if their arguments do not say so. */
static const char *const secrets[] = { "user add", "user passwd" };

#define COUNT_OF(array) (sizeof(array) / sizeof((array)[0]))

/* Takes the next word off the front of a run of words. */
static bool
word_next(struct slice *rest, struct slice *word)
{
	size_t from = 0, to;

	while (from < rest->len && rest->ptr[from] == ' ')
		from++;
	for (to = from; to < rest->len && rest->ptr[to] != ' '; to++)
		;
	*word = slice_part(*rest, from, to - from);
	*rest = slice_part(*rest, to, rest->len);
	return word->len > 0;
}

/* The i-th word of a run of words; empty when there are fewer. */
static struct slice
word_at(const char *words, size_t i)
{
	struct slice rest = slice_string(words), word;

	while (word_next(&rest, &word)) {
		if (i-- == 0)
			return word;
	}
	return SLICE("");
}

static size_t
word_count(const char *words)
{
	struct slice rest = slice_string(words), word;
	size_t count = 0;

	while (word_next(&rest, &word))
		count++;
	return count;
}

static void
table_add(struct ctl_table *table, const char *name, const char *arguments, const char *help,
    bool local)
{
	struct ctl_command *command;

	table->commands = mem_grow(table->commands, (table->count + 1) * sizeof *table->commands);
	command = &table->commands[table->count++];
	command->name = mem_string(name);
	command->arguments = mem_string(arguments);
	command->help = mem_string(help);
	command->local = local;
}

static bool
is_local(const char *name)
{
	size_t i;

	for (i = 0; i < COUNT_OF(locals); i++) {
		if (strcmp(locals[i].name, name) == 0)
			return true;
	}
	return false;
}

static int
command_order(const void *a, const void *b)
{
	return strcmp(((const struct ctl_command *)a)->name, ((const struct ctl_command *)b)->name);
}

int
ctl_table_read(const json_t *help, struct ctl_table *table)
{
	const json_t *row;
	size_t i;

	memset(table, 0, sizeof *table);
	if (help != NULL && !json_is_array(help))
		return E_MALFORMED;
	for (i = 0; i < COUNT_OF(locals); i++)
		table_add(table, locals[i].name, locals[i].arguments, locals[i].help, true);
	json_array_foreach(help, i, row) {
		const char *name = json_string_value(json_object_get(row, "command"));
		const char *arguments = json_string_value(json_object_get(row, "arguments"));
		const char *text = json_string_value(json_object_get(row, "help"));

		if (name == NULL || word_count(name) == 0 || word_count(name) > CTL_COMMAND_WORDS) {
			ctl_table_free(table);
			return E_MALFORMED;
		}
		if (!is_local(name))
			table_add(table, name, arguments ? arguments : "", text ? text : "", false);
	}
	qsort(table->commands, table->count, sizeof *table->commands, command_order);
	return OK;
}

void
ctl_table_free(struct ctl_table *table)
{
	size_t i;

	for (i = 0; i < table->count; i++) {
		free(table->commands[i].name);
		free(table->commands[i].arguments);
		free(table->commands[i].help);
	}
	MEM_FREE(&table->commands);
	table->count = 0;
}

/* Whether the first count words of a command's name are those of another's. */
static bool
same_start(const struct ctl_command *a, const struct ctl_command *b, size_t count)
{
	size_t i;

	for (i = 0; i < count; i++) {
		if (!slice_equal(word_at(a->name, i), word_at(b->name, i)))
			return false;
	}
	return true;
}

/* The range first..last of the sorted table. */
struct range {
	size_t first, last;
};

/* Writes "possibilities are: a, b, c" of the commands in range, their word at position i. */
static void
possibilities_print(const struct ctl_table *table, struct range range, size_t i, struct slice prefix,
    FILE *out)
{
	struct slice before = SLICE("");
	const char *comma = " ";
	size_t at;

	fprintf(out, "possibilities are:");
	for (at = range.first; at < range.last; at++) {
		struct slice word = word_at(table->commands[at].name, i);

		if (word.len == 0 || slice_equal(word, before) || !slice_starts(word, prefix))
			continue;
		fprintf(out, "%s%.*s", comma, SLICE_ARG(word));
		comma = ", ";
		before = word;
	}
	fprintf(out, "\n");
}

/* Narrows range to the commands whose word at position i begins with typed; an equal word wins.
 * Returns the number of different words found. */
static size_t
range_narrow(const struct ctl_table *table, struct range *range, size_t i, struct slice typed)
{
	struct range found = { 0, 0 };
	size_t at, words = 0;

	for (at = range->first; at < range->last; at++) {
		struct slice word = word_at(table->commands[at].name, i);
		bool same = words > 0 &&
		    same_start(&table->commands[at], &table->commands[found.first], i + 1);

		if (word.len == 0 || !slice_starts(word, typed))
			continue;
		if (same) {
			found.last = at + 1;
			continue;
		}
		if (words > 0 && slice_equal(word_at(table->commands[found.first].name, i), typed))
			continue; /* an equal word was found before */
		words = slice_equal(word, typed) ? 1 : words + 1;
		found = (struct range){ at, at + 1 };
	}
	if (words == 1)
		*range = found;
	return words;
}

/* The command in range whose name ends after count words. */
static const struct ctl_command *
command_ending(const struct ctl_table *table, struct range range, size_t count)
{
	size_t at;

	for (at = range.first; at < range.last; at++) {
		if (word_count(table->commands[at].name) == count)
			return &table->commands[at];
	}
	return NULL;
}

static bool
command_has_secret(const struct ctl_command *command)
{
	size_t i;

	if (command->local)
		return false;
	for (i = 0; i < COUNT_OF(secrets); i++) {
		if (strcmp(command->name, secrets[i]) == 0)
			return true;
	}
	return strstr(command->arguments, "PASSWORD") != NULL;
}

/* Checks the number of arguments against "JID [FILE]"; a PASSWORD is not given as an argument. */
static int
arguments_check(const struct ctl_match *match, size_t given, FILE *out)
{
	struct slice rest = slice_string(match->command->arguments), word;
	size_t least = 0, most = 0;

	while (word_next(&rest, &word)) {
		if (memmem(word.ptr, word.len, "PASSWORD", 8) != NULL)
			continue;
		if (memmem(word.ptr, word.len, "...", 3) != NULL)
			most = CTL_WORDS_MAX;
		least += word.ptr[0] != '[';
		most++;
	}
	if (given >= least && given <= most)
		return OK;
	fprintf(out, "usage: aldisctl %s", match->command->name);
	rest = slice_string(match->command->arguments);
	while (word_next(&rest, &word)) {
		if (memmem(word.ptr, word.len, "PASSWORD", 8) == NULL)
			fprintf(out, " %.*s", SLICE_ARG(word));
	}
	fprintf(out, "\n");
	if (match->secret && given > most)
		fprintf(out, "The password is asked for, or read from standard input.\n");
	return E_MISMATCH;
}

int
ctl_table_match(const struct ctl_table *table, char *const *words, size_t count,
    struct ctl_match *match, FILE *out)
{
	struct range range = { 0, table->count };
	size_t i, found;

	for (i = 0; i < count; i++) {
		struct slice typed = slice_string(words[i]);

		found = typed.len > 0 ? range_narrow(table, &range, i, typed) : 0;
		if (found == 1)
			continue;
		if (found == 0 && i > 0 && command_ending(table, range, i) != NULL)
			break;
		fprintf(out, "%s command: ", found > 1 ? "ambiguous" : "unknown");
		ctl_print_text(typed, out);
		fprintf(out, "\n");
		possibilities_print(table, range, i, found > 1 ? typed : SLICE(""), out);
		return E_NOT_FOUND;
	}
	match->command = i > 0 ? command_ending(table, range, i) : NULL;
	if (match->command == NULL) {
		fprintf(out, "the command is not complete\n");
		possibilities_print(table, range, i, SLICE(""), out);
		return E_NOT_FOUND;
	}
	match->used = i;
	match->secret = command_has_secret(match->command);
	return arguments_check(match, count - i, out);
}

void
ctl_table_print(const struct ctl_table *table, FILE *out)
{
	size_t i, width = 0;

	for (i = 0; i < table->count; i++) {
		size_t len = strlen(table->commands[i].name) + strlen(table->commands[i].arguments) + 1;

		if (len > width)
			width = len;
	}
	for (i = 0; i < table->count; i++) {
		const struct ctl_command *command = &table->commands[i];

		fprintf(out, "%s %-*s  %s\n", command->name, (int)(width - strlen(command->name) - 1),
		    command->arguments, command->help);
	}
}
