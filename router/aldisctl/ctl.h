/*
 * ctl.h: the parts of aldisctl.
 */
#ifndef ALDIS_CTL_H
#define ALDIS_CTL_H

#include <jansson.h>
#include <stdio.h>

#include "buf.h"
#include "slice.h"

/* Exit codes, aldisctl(8). */
enum ctl_exit {
	CTL_OK = 0,
	CTL_FAILED = 1,  /* the suite refused */
	CTL_USAGE = 2,   /* the command line is wrong */
	CTL_ABSENT = 3,  /* the suite cannot be reached */
};

#define CTL_WORDS_MAX 30 /* words of a command with its arguments and secret */

/* -- ctl_command.c: the table of commands, and which one the words mean ------------------------ */

#define CTL_COMMAND_WORDS 4 /* words of a command's name */

struct ctl_command {
	char *name;       /* "user add" */
	char *arguments;  /* "JID [FILE]" */
	char *help;
	bool local;       /* done by aldisctl itself */
};

struct ctl_table {
	struct ctl_command *commands;
	size_t count;
};

/* What a command line means. */
struct ctl_match {
	const struct ctl_command *command;
	size_t used;      /* words of the line that name the command; the rest are arguments */
	bool secret;      /* a password is to be read and appended */
};

/* Makes the table of what the suite answered to "help" (E_MALFORMED: not such a list), sorted by
 * name, with the commands that aldisctl does itself; help may be NULL. */
int ctl_table_read(const json_t *help, struct ctl_table *table);
void ctl_table_free(struct ctl_table *table);

/* Finds the command of which the words are unique prefixes. Returns 0, or E_NOT_FOUND or E_MISMATCH
 * (wrong number of arguments) after having written to out what would be possible. */
int ctl_table_match(const struct ctl_table *table, char *const *words, size_t count,
    struct ctl_match *match, FILE *out);

/* Writes all commands, a line each. */
void ctl_table_print(const struct ctl_table *table, FILE *out);

/* -- ctl_print.c: JSON for people -------------------------------------------------------------- */

/* Arrays of objects become tables, objects lines of key and value. What does not print is escaped.
 */
void ctl_print(const json_t *value, FILE *out);
/* Text from outside, with what does not print escaped. */
void ctl_print_text(struct slice text, FILE *out);

/* -- ctl_socket.c: the connection to the router ------------------------------------------------ */

struct ctl_socket;

struct ctl_reply {
	uint64_t number;
	json_t *value;    /* NULL when it failed; owned by who receives it */
	char *condition;  /* why it failed; owned likewise */
	char *text;
};

/* Returns 0 or E_SYSTEM with errno set. */
int ctl_socket_open(const char *path, struct ctl_socket **ctl);
void ctl_socket_close(struct ctl_socket **ctl);
/* Sends a command under a number of the caller's. Returns 0, E_MALFORMED (a word with a line break
 * in it), E_TOO_BIG, E_CLOSED or E_SYSTEM. */
int ctl_socket_send(struct ctl_socket *ctl, uint64_t number, const struct slice *words, size_t count);
/* The same with what goes beside the words. */
int ctl_socket_send_data(struct ctl_socket *ctl, uint64_t number, const struct slice *words,
    size_t count, struct slice data);
/* Waits for the next answer. Returns 0, E_AGAIN (none in time), E_CLOSED, E_MALFORMED or E_SYSTEM.
 */
int ctl_socket_receive(struct ctl_socket *ctl, struct ctl_reply *reply);
void ctl_reply_free(struct ctl_reply *reply);

/* -- ctl_transfer.c: commands that move data of accounts ---------------------------------------- */

/* A command of so many words with its data (absent: none), and its answer. Tries again for a while when
 * the suite says so. Returns 0 with *value, a new reference, or an error: E_SYSTEM after having said
 * why on stderr, any other with *why, which is the caller's: the suite has refused this. */
int ctl_transfer(struct ctl_socket *ctl, const char *const *words, size_t count, struct slice data,
    json_t **value, char **why);

/* -- ctl_file.c: files that are written ----------------------------------------------------------- */

/* Makes a file beside the place that it is for; *name, which is the caller's, is where. NULL with errno set. */
FILE *ctl_file_open(const char *path, char **name);
/* Gives a file that is whole its place, or removes it (status is not CTL_OK). Returns an exit code. */
int ctl_file_close(FILE *file, const char *name, const char *path, int status);
/* Whether a row is one element in canonical form, as it stands within a namespace: nothing else goes into a file. */
bool ctl_is_element(struct slice row, const char *within);

/* -- ctl_room.c: a room into a file ----------------------------------------------------------------- */

/* path: NULL or "-": standard output. Returns an exit code; *result: what to show, or NULL. */
int ctl_room_export(struct ctl_socket *ctl, const char *room, const char *path, json_t **result);

/* -- ctl_export.c: accounts into a file (XEP-0227) ----------------------------------------------- */

/* Writes accounts into a file, which appears whole or not at all ("-": standard output). which: an
 * account or a domain, NULL: all. Returns an exit code; *result: what to show. */
int ctl_export(struct ctl_socket *ctl, const char *path, const char *which, json_t **result);

/* -- ctl_restore.c: accounts out of such a file -------------------------------------------------- */

struct ctl_restore {
	const char *path;   /* "-": standard input */
	const char *which;  /* an account or a domain, NULL: all */
	bool replace;       /* accounts that are there are deleted first */
};

int ctl_restore(struct ctl_socket *ctl, const struct ctl_restore *options, json_t **result);

/* -- ctl_message.c: messages of a file become frames --------------------------------------------- */

struct ctl_message;

/* account: whose archive or spool it is out of. */
struct ctl_message *ctl_message_new(struct slice account);
void ctl_message_free(struct ctl_message **message);
/* Reads a <message/> in jabber:client, as it stands in a stream, and appends the frame to out. stamp:
 * when it was sent; id: of the archive, 0: none of ours. Returns 0 or E_MALFORMED: not such a message. */
int ctl_message_read(struct ctl_message *message, struct slice xml, uint64_t stamp, uint64_t id,
    struct buf *out);

/* -- ctl_secret.c: passwords ------------------------------------------------------------------- */

/* Asks twice on a terminal, without echo; else reads a line of standard input. Returns 0, or an
 * error after having said why on stderr. *secret is to be given to ctl_secret_free(). */
int ctl_secret_read(const char *what, char **secret);
void ctl_secret_free(char **secret);

/* -- ctl_import.c: many accounts from a file --------------------------------------------------- */

struct ctl_import {
	uint64_t added;
	uint64_t failed;
};

/* Splits a line "user@domain password"; the password goes to the end of the line. Returns 0,
 * E_NOT_FOUND for an empty line or comment, or E_MALFORMED. */
int ctl_import_line(struct slice line, struct slice *jid, struct slice *password);
/* Adds the accounts of a file ("-": standard input). Returns an exit code. */
int ctl_import(struct ctl_socket *ctl, const char *path, struct ctl_import *result);

#endif
