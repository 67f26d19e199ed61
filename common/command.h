/*
 * command.h: administrators' commands (aldisctl, later ad-hoc commands): each daemon has a table of
 * those that it does.
 */
#ifndef ALDIS_COMMAND_H
#define ALDIS_COMMAND_H

#include <jansson.h>

#include "slice.h"

/* A row; a table ends with a NULL name. */
struct command {
	const char *name;       /* "user add" */
	const char *arguments;  /* "JID" for the usage line; "" for none */
	const char *help;       /* one line */
	/* words: the arguments after the name. Returns 0 with *result (a new reference), or an error
	 * with *result a JSON string that says why (or NULL). secret input (a password) is the last
	 * word. */
	int (*run)(struct slice *words, size_t count, json_t **result);
};

/* The command with the longest name that words begin with; *used: how many words that is, which must
 * be 0 before. table may be NULL. Returns NULL when there is none. */
const struct command *command_find(const struct command *table, const struct slice *words, size_t count,
    size_t *used);
/* Splits text into lines. Returns 0, or E_TOO_MANY after max of them. */
int command_words(struct slice text, struct slice *words, size_t max, size_t *count);
/* The stanza error condition that stands for an error, for CONTROL_REPLY. */
const char *command_condition(int error);

#endif
