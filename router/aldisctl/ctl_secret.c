/*
 * ctl_secret.c: reads a password from the terminal or from standard input, never from the command
 * line, where other users would see it.
 *
 * Called by main.c. Fails when there is none, or when what was typed twice is not the same.
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <termios.h>
#include <unistd.h>

#include "ctl.h"
#include "error.h"
#include "mem.h"

#define SECRET_MAX 1023 /* bytes, as PRECIS allows */

/* Reads a line without its end. */
static int
line_read(FILE *in, char **secret)
{
	size_t room = 0;
	ssize_t len = getline(secret, &room, in);

	if (len < 0) {
		MEM_FREE(secret); /* nothing was read, not even a NUL was written */
		return E_MALFORMED;
	}
	if (len > 0 && (*secret)[len - 1] == '\n')
		(*secret)[--len] = '\0';
	if (len == 0 || len > SECRET_MAX || strlen(*secret) != (size_t)len) {
		ctl_secret_free(secret);
		return E_MALFORMED;
	}
	return OK;
}

/* Asks once; echo is off. */
static int
ask(FILE *terminal, const char *prompt, const char *what, char **secret)
{
	int error;

	fprintf(terminal, "%s ", prompt);
	ctl_print_text(slice_string(what), terminal);
	fprintf(terminal, ": ");
	fflush(terminal);
	error = line_read(terminal, secret);
	fprintf(terminal, "\n");
	return error;
}

/* Asks twice with the echo off, and puts the terminal back as it was. */
static int
terminal_read(FILE *terminal, const char *what, char **secret)
{
	struct termios before, silent;
	sigset_t stop, old;
	char *again = NULL;
	int error;

	if (tcgetattr(fileno(terminal), &before) < 0)
		return E_SYSTEM;
	silent = before;
	silent.c_lflag &= ~(tcflag_t)ECHO;
	/* Ctrl-C waits, so that the echo comes back. */
	sigemptyset(&stop);
	sigaddset(&stop, SIGINT);
	sigaddset(&stop, SIGTSTP);
	sigprocmask(SIG_BLOCK, &stop, &old);
	tcsetattr(fileno(terminal), TCSAFLUSH, &silent);
	error = ask(terminal, "Password of", what, secret);
	if (!error)
		error = ask(terminal, "Again, password of", what, &again);
	tcsetattr(fileno(terminal), TCSAFLUSH, &before);
	sigprocmask(SIG_SETMASK, &old, NULL);
	if (!error && strcmp(*secret, again) != 0) {
		ctl_secret_free(secret);
		error = E_MISMATCH;
	}
	ctl_secret_free(&again);
	return error;
}

int
ctl_secret_read(const char *what, char **secret)
{
	FILE *terminal;
	int error;

	*secret = NULL;
	if (!isatty(STDIN_FILENO)) {
		error = line_read(stdin, secret);
	} else {
		terminal = fopen("/dev/tty", "r+");
		if (terminal == NULL) {
			perror("aldisctl: /dev/tty");
			return E_SYSTEM;
		}
		error = terminal_read(terminal, what, secret);
		fclose(terminal);
	}
	if (error == E_MISMATCH)
		fprintf(stderr, "aldisctl: the passwords differ\n");
	else if (error)
		fprintf(stderr, "aldisctl: no password of 1 to %d bytes was given\n", SECRET_MAX);
	return error;
}

void
ctl_secret_free(char **secret)
{
	if (*secret != NULL)
		explicit_bzero(*secret, strlen(*secret));
	MEM_FREE(secret);
}
