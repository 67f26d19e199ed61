/*
 * ctl_import.c: adds the accounts of a file, lines "user@domain password", over one connection,
 * with a window of commands that wait for their answers.
 *
 * Called by main.c. A line that fails is said and counted, and the rest goes on; a lost connection
 * ends it.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "ctl.h"
#include "error.h"
#include "mem.h"

#define WINDOW 64 /* commands sent and not yet answered */

struct import {
	struct ctl_socket *ctl;
	struct ctl_import *result;
	uint64_t waiting;             /* commands sent and not yet answered */
	char *jid[WINDOW];            /* by line number modulo WINDOW, for messages */
	uint64_t line[WINDOW];        /* the line of each slot; 0: free */
	bool progress;
};

int
ctl_import_line(struct slice line, struct slice *jid, struct slice *password)
{
	size_t at, to;

	while (line.len > 0 && (line.ptr[line.len - 1] == '\n' || line.ptr[line.len - 1] == '\r'))
		line.len--;
	if (line.len == 0 || line.ptr[0] == '#')
		return E_NOT_FOUND;
	if (memchr(line.ptr, '\0', line.len) != NULL)
		return E_MALFORMED;
	for (at = 0; at < line.len && line.ptr[at] != ' ' && line.ptr[at] != '\t'; at++)
		;
	for (to = at; to < line.len && (line.ptr[to] == ' ' || line.ptr[to] == '\t'); to++)
		;
	*jid = slice_part(line, 0, at);
	*password = slice_part(line, to, line.len);
	return jid->len > 0 && password->len > 0 ? OK : E_MALFORMED;
}

static void
import_failed(struct import *import, uint64_t line, struct slice jid, const char *why)
{
	import->result->failed++;
	fprintf(stderr, "line %llu: ", (unsigned long long)line);
	ctl_print_text(jid, stderr);
	fprintf(stderr, "%s", jid.len > 0 ? ": " : "");
	ctl_print_text(slice_string(why), stderr);
	fprintf(stderr, "\n");
}

/* Takes one answer; only a broken connection is an error. */
static int
import_answer(struct import *import)
{
	uint64_t done = import->result->added + import->result->failed;
	struct ctl_reply reply;
	unsigned slot;
	int error;

	error = ctl_socket_receive(import->ctl, &reply);
	if (error)
		return error;
	slot = (unsigned)(reply.number % WINDOW);
	if (reply.number == 0 || import->line[slot] != reply.number) {
		ctl_reply_free(&reply);
		return E_MALFORMED;
	}
	if (reply.condition == NULL)
		import->result->added++;
	else
		import_failed(import, reply.number, slice_string(import->jid[slot]),
		    reply.text[0] != '\0' ? reply.text : reply.condition);
	import->line[slot] = 0;
	MEM_FREE(&import->jid[slot]);
	import->waiting--;
	if (import->progress && (done + 1) % 100 == 0)
		fprintf(stderr, "\r%llu ", (unsigned long long)(done + 1));
	ctl_reply_free(&reply);
	return OK;
}

/* Sends one line's account when its slot is free. */
static int
import_send(struct import *import, uint64_t number, struct slice line)
{
	unsigned slot = (unsigned)(number % WINDOW);
	struct slice jid = SLICE(""), password;
	int error;

	error = ctl_import_line(line, &jid, &password);
	if (error == E_NOT_FOUND)
		return OK;
	if (error) {
		/* What cannot be told from a password is not shown. */
		import_failed(import, number, SLICE(""), "not \"user@domain password\"");
		return OK;
	}
	while (import->line[slot] != 0) {
		error = import_answer(import);
		if (error)
			return error;
	}
	error = ctl_socket_send(import->ctl, number,
	    (struct slice[]){ SLICE("user"), SLICE("add"), jid, password }, 4);
	if (error)
		return error;
	import->line[slot] = number;
	import->jid[slot] = slice_dup(jid);
	import->waiting++;
	return OK;
}

/* Sends all lines and waits for all answers. */
static int
import_run(struct import *import, FILE *in)
{
	uint64_t number = 0;
	char *line = NULL;
	size_t room = 0;
	ssize_t len;
	int error = OK;

	while (!error && (len = getline(&line, &room, in)) >= 0)
		error = import_send(import, ++number, slice_of(line, (size_t)len));
	while (!error && import->waiting > 0)
		error = import_answer(import);
	if (line != NULL)
		explicit_bzero(line, room);
	free(line);
	return error;
}

int
ctl_import(struct ctl_socket *ctl, const char *path, struct ctl_import *result)
{
	struct import import = { .ctl = ctl, .result = result, .progress = isatty(STDERR_FILENO) };
	bool standard = strcmp(path, "-") == 0;
	FILE *in = standard ? stdin : fopen(path, "re");
	int error, slot;

	memset(result, 0, sizeof *result);
	if (in == NULL) {
		fprintf(stderr, "aldisctl: %s: %s\n", path, strerror(errno));
		return CTL_FAILED;
	}
	error = import_run(&import, in);
	if (import.progress)
		fprintf(stderr, "\r");
	if (error)
		fprintf(stderr, "aldisctl: after %llu answers: %s\n",
		    (unsigned long long)(result->added + result->failed), error_text(error));
	else if (ferror(in)) {
		fprintf(stderr, "aldisctl: %s: cannot be read to its end\n", path);
		error = E_SYSTEM;
	}
	for (slot = 0; slot < WINDOW; slot++)
		free(import.jid[slot]);
	if (!standard)
		fclose(in);
	return error || result->failed > 0 ? CTL_FAILED : CTL_OK;
}
