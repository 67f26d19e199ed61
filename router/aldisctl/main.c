/*
 * main.c of aldisctl: the command-line tool: finds out which command is meant, sends it to the
 * router, and shows the answer. See aldisctl(8).
 *
 * The table of commands comes from the suite itself, so that a new daemon needs no change here.
 */
#include <errno.h>
#include <getopt.h>
#include <libgen.h>
#include <limits.h>
#include <stdlib.h>
#include <unistd.h>

#include "ctl.h"
#include "error.h"
#include "mem.h"

#define CONTROL_SOCKET "/run/aldis/control"

struct ctl {
	const char *socket_path;
	const char *config;      /* for check; NULL: aldisd's own default */
	bool json;
	bool replace;            /* for account import */
	struct ctl_socket *socket;
	uint64_t number;         /* of the last command sent */
};

static int
usage(void)
{
	fprintf(stderr, "usage: aldisctl [-j] [-c config] [-s socket] [--replace] command [argument ...]\n"
	    "       aldisctl help\n");
	return CTL_USAGE;
}

/* Becomes aldisd -n, which checks the configuration; the one beside us, in ../sbin, or in PATH. */
static int
check(const struct ctl *ctl)
{
	char *words[] = { (char *)"aldisd", (char *)"-n", NULL, NULL, NULL };
	char self[PATH_MAX], path[PATH_MAX + 32];
	ssize_t len;

	if (ctl->config != NULL) {
		words[2] = (char *)"-c";
		words[3] = (char *)(uintptr_t)ctl->config;
	}
	len = readlink("/proc/self/exe", self, sizeof self - 1);
	if (len > 0) {
		self[len] = '\0';
		dirname(self);
		snprintf(path, sizeof path, "%s/aldisd", self);
		execv(path, words);
		snprintf(path, sizeof path, "%s/../sbin/aldisd", self);
		execv(path, words);
	}
	execvp(words[0], words);
	fprintf(stderr, "aldisctl: aldisd is not found: %s\n", strerror(errno));
	return CTL_FAILED;
}

/* Sends a command and waits for its answer, which the caller frees. */
static int
ask(struct ctl *ctl, const struct slice *words, size_t count, struct ctl_reply *reply)
{
	int error;

	memset(reply, 0, sizeof *reply);
	error = ctl_socket_send(ctl->socket, ++ctl->number, words, count);
	if (!error)
		error = ctl_socket_receive(ctl->socket, reply);
	if (!error && reply->number != ctl->number)
		error = E_MALFORMED;
	if (error == E_MALFORMED) {
		fprintf(stderr, "aldisctl: malformed command or answer\n");
		return CTL_FAILED;
	}
	if (error) {
		fprintf(stderr, "aldisctl: no answer: %s\n", error_text(error));
		return CTL_FAILED;
	}
	if (reply->condition != NULL) {
		fprintf(stderr, "aldisctl: ");
		ctl_print_text(slice_string(reply->text[0] != '\0' ? reply->text : reply->condition),
		    stderr);
		fprintf(stderr, "\n");
		return CTL_FAILED;
	}
	return CTL_OK;
}

/* Gets the table of commands from the suite. */
static int
table_get(struct ctl *ctl, struct ctl_table *table)
{
	struct slice help = SLICE("help");
	struct ctl_reply reply;
	int status;

	status = ask(ctl, &help, 1, &reply);
	if (status == CTL_OK && ctl_table_read(reply.value, table) != OK) {
		fprintf(stderr, "aldisctl: the suite's list of commands is malformed\n");
		status = CTL_FAILED;
	}
	ctl_reply_free(&reply);
	return status;
}

static void
show(const struct ctl *ctl, const json_t *value)
{
	if (!ctl->json) {
		ctl_print(value, stdout);
		return;
	}
	json_dumpf(value, stdout, JSON_ENCODE_ANY | JSON_INDENT(2));
	printf("\n");
}

/* A command that the suite does: its words, the arguments, and the password when it takes one. */
static int
command_send(struct ctl *ctl, const struct ctl_match *match, char *const *arguments, size_t count)
{
	struct slice words[2 * CTL_WORDS_MAX];
	struct ctl_reply reply;
	int status;
	char *secret = NULL, *name, *rest, *word;
	size_t i, used = 0;

	if (match->secret && ctl_secret_read(count > 0 ? arguments[0] : match->command->name, &secret))
		return CTL_FAILED;
	rest = name = mem_string(match->command->name);
	while ((word = strsep(&rest, " ")) != NULL && used < CTL_COMMAND_WORDS)
		words[used++] = slice_string(word);
	for (i = 0; i < count; i++)
		words[used++] = slice_string(arguments[i]);
	if (secret != NULL)
		words[used++] = slice_string(secret);
	status = ask(ctl, words, used, &reply);
	if (status == CTL_OK)
		show(ctl, reply.value);
	ctl_reply_free(&reply);
	ctl_secret_free(&secret);
	free(name);
	return status;
}

/* user import FILE */
static int
import(struct ctl *ctl, const char *path)
{
	struct ctl_import result;
	int status = ctl_import(ctl->socket, path, &result);
	json_t *value = json_pack("{s:I, s:I}", "added", (json_int_t)result.added, "failed",
	    (json_int_t)result.failed);

	show(ctl, value);
	json_decref(value);
	return status;
}

/* account export FILE [JID], account import FILE [JID] */
static int
transfer(struct ctl *ctl, const char *name, char *const *arguments, size_t count)
{
	const struct ctl_restore options = { .path = arguments[0], .which = count > 1 ? arguments[1] :
		NULL, .replace = ctl->replace };
	json_t *value;
	int status = strcmp(name, "account export") == 0 ?
	    ctl_export(ctl->socket, arguments[0], options.which, &value) :
	    ctl_restore(ctl->socket, &options, &value);

	if (value != NULL)
		show(ctl, value);
	json_decref(value);
	return status;
}

/* room export ROOM [FILE] */
static int
room_export(struct ctl *ctl, char *const *arguments, size_t count)
{
	json_t *value;
	int status = ctl_room_export(ctl->socket, arguments[0], count > 1 ? arguments[1] : NULL, &value);

	if (value != NULL)
		show(ctl, value);
	json_decref(value);
	return status;
}

/* help */
static int
help(const struct ctl *ctl, const struct ctl_table *table)
{
	json_t *list;
	size_t i;

	if (!ctl->json) {
		ctl_table_print(table, stdout);
		return CTL_OK;
	}
	list = json_array();
	for (i = 0; i < table->count; i++)
		json_array_append_new(list, json_pack("{s:s, s:s, s:s}", "command",
		    table->commands[i].name, "arguments", table->commands[i].arguments, "help",
		    table->commands[i].help));
	show(ctl, list);
	json_decref(list);
	return CTL_OK;
}

/* Finds the command that the words mean and does it. */
static int
run(struct ctl *ctl, char *const *words, size_t count)
{
	struct ctl_table table = { 0 };
	struct ctl_match match;
	int status;

	status = table_get(ctl, &table);
	if (status != CTL_OK)
		return status;
	if (ctl_table_match(&table, words, count, &match, stderr) != OK)
		status = CTL_USAGE;
	else if (!match.command->local)
		status = command_send(ctl, &match, words + match.used, count - match.used);
	else if (strcmp(match.command->name, "user import") == 0)
		status = import(ctl, words[match.used]);
	else if (strncmp(match.command->name, "account ", 8) == 0)
		status = transfer(ctl, match.command->name, words + match.used, count - match.used);
	else if (strcmp(match.command->name, "room export") == 0)
		status = room_export(ctl, words + match.used, count - match.used);
	else if (strcmp(match.command->name, "help") == 0)
		status = help(ctl, &table);
	else
		status = check(ctl);
	ctl_table_free(&table);
	return status;
}

int
main(int argc, char **argv)
{
	static const struct option options[] = {
		{ "config", required_argument, NULL, 'c' },
		{ "json", no_argument, NULL, 'j' },
		{ "replace", no_argument, NULL, 'r' },
		{ "socket", required_argument, NULL, 's' },
		{ NULL, 0, NULL, 0 },
	};
	struct ctl ctl = { .socket_path = CONTROL_SOCKET };
	int status;
	int option;

	/* They may stand anywhere: no command has a word that begins with a dash. */
	while ((option = getopt_long(argc, argv, "c:js:", options, NULL)) != -1) {
		if (option == 'c')
			ctl.config = optarg;
		else if (option == 'j')
			ctl.json = true;
		else if (option == 'r')
			ctl.replace = true;
		else if (option == 's')
			ctl.socket_path = optarg;
		else
			return usage();
	}
	argv += optind;
	argc -= optind;
	if (argc == 0 || argc > CTL_WORDS_MAX)
		return usage();
	/* This one works when the suite does not run: it is for the time before. */
	if (strcmp(argv[0], "check") == 0 && argc == 1)
		return check(&ctl);
	if (ctl_socket_open(ctl.socket_path, &ctl.socket) != OK) {
		fprintf(stderr, "aldisctl: %s: %s\n", ctl.socket_path, strerror(errno));
		return CTL_ABSENT;
	}
	status = run(&ctl, argv, (size_t)argc);
	ctl_socket_close(&ctl.socket);
	if (fflush(stdout) != 0) {
		perror("aldisctl: standard output");
		status = CTL_FAILED;
	}
	return status;
}
