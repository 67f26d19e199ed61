/*
 * ctl_transfer.c: commands that move data of accounts, one at a time: nothing is sent before the last
 * answer was read, so that no process has more of an account than a page.
 *
 * Called by ctl_export.c and ctl_restore.c. A daemon that is away for a moment, or that has to finish the
 * deletion of an account first, is waited for. Fails when it takes too long, and when the suite is gone.
 */
#include <errno.h>
#include <stdlib.h>
#include <time.h>

#include "ctl.h"
#include "error.h"
#include "mem.h"

#define WORDS_MAX 8
#define PATIENCE  120 /* seconds, */
#define PAUSE     200 /* milliseconds between two tries */

static uint64_t last_number = 1u << 20; /* above those of main.c */

/* What stands for a refusal that may be none in a moment. */
static bool
is_passing(const struct ctl_reply *reply)
{
	return reply->condition != NULL && strcmp(reply->condition, "recipient-unavailable") == 0;
}

static int
ask_once(struct ctl_socket *ctl, const struct slice *words, size_t count, struct slice data,
    struct ctl_reply *reply)
{
	int error = ctl_socket_send_data(ctl, ++last_number, words, count, data);

	memset(reply, 0, sizeof *reply);
	if (!error)
		error = ctl_socket_receive(ctl, reply);
	if (!error && reply->number != last_number) {
		ctl_reply_free(reply);
		error = E_MALFORMED;
	}
	if (error)
		fprintf(stderr, "aldisctl: no answer: %s\n", error_text(error));
	return error ? E_SYSTEM : OK;
}

int
ctl_transfer(struct ctl_socket *ctl, const char *const *words, size_t count, struct slice data,
    json_t **value, char **why)
{
	static const struct timespec pause = { 0, PAUSE * 1000000l };
	struct slice slices[WORDS_MAX];
	struct ctl_reply reply;
	time_t until = time(NULL) + PATIENCE;
	size_t i;
	int error;

	for (i = 0; i < count && i < WORDS_MAX; i++)
		slices[i] = slice_string(words[i]);
	for (;;) {
		error = ask_once(ctl, slices, count, data, &reply);
		if (error || !is_passing(&reply) || time(NULL) >= until)
			break;
		ctl_reply_free(&reply);
		nanosleep(&pause, NULL);
	}
	*value = NULL;
	*why = NULL;
	if (error)
		return error;
	if (reply.condition == NULL) {
		*value = json_incref(reply.value);
	} else {
		*why = mem_string(reply.text[0] != '\0' ? reply.text : reply.condition);
		error = strcmp(reply.condition, "conflict") == 0 ? E_EXISTS :
		    strcmp(reply.condition, "item-not-found") == 0 ? E_NOT_FOUND : E_MISMATCH;
	}
	ctl_reply_free(&reply);
	return error;
}
