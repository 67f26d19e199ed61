/*
 * ctl_socket.c: the connection of aldisctl to the router: one CONTROL frame a command, one
 * CONTROL_REPLY frame an answer, matched by their number.
 *
 * Called by main.c and ctl_import.c. Blocks; fails when the suite is away, is silent for too
 * long, or says what is no answer.
 */
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "ctl.h"
#include "error.h"
#include "frame.h"
#include "mem.h"

#define ANSWER_TIME 60000 /* milliseconds to wait for an answer */

struct ctl_socket {
	int fd;
	struct buf in;
};

int
ctl_socket_open(const char *path, struct ctl_socket **ctl)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	size_t len = strlen(path);
	int fd, saved;

	if (len >= sizeof address.sun_path) {
		errno = ENAMETOOLONG;
		return E_SYSTEM;
	}
	memcpy(address.sun_path, path, len);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return E_SYSTEM;
	if (connect(fd, (struct sockaddr *)&address, sizeof address) < 0) {
		saved = errno;
		close(fd);
		errno = saved;
		return E_SYSTEM;
	}
	*ctl = mem_alloc(sizeof **ctl);
	(*ctl)->fd = fd;
	return OK;
}

void
ctl_socket_close(struct ctl_socket **ctl)
{
	if (*ctl == NULL)
		return;
	close((*ctl)->fd);
	buf_free(&(*ctl)->in);
	MEM_FREE(ctl);
}

/* Writes all of it. */
static int
bytes_send(int fd, struct slice bytes)
{
	while (bytes.len > 0) {
		ssize_t sent = send(fd, bytes.ptr, bytes.len, MSG_NOSIGNAL);

		if (sent < 0 && errno == EINTR)
			continue;
		if (sent < 0)
			return errno == EPIPE || errno == ECONNRESET ? E_CLOSED : E_SYSTEM;
		bytes = slice_part(bytes, (size_t)sent, bytes.len);
	}
	return OK;
}

int
ctl_socket_send(struct ctl_socket *ctl, uint64_t number, const struct slice *words, size_t count)
{
	return ctl_socket_send_data(ctl, number, words, count, SLICE_NONE);
}

int
ctl_socket_send_data(struct ctl_socket *ctl, uint64_t number, const struct slice *words, size_t count,
    struct slice data)
{
	struct frame f = { .type = FRAME_CONTROL, .number = number, .data = data };
	struct buf text = { 0 }, out = { 0 };
	int error = OK;
	size_t i;

	for (i = 0; i < count && !error; i++) {
		if (words[i].len > 0 && memchr(words[i].ptr, '\n', words[i].len) != NULL)
			error = E_MALFORMED;
		if (i > 0)
			buf_add_char(&text, '\n');
		buf_add_slice(&text, words[i]);
	}
	f.text = buf_slice(&text);
	if (!error)
		error = frame_write(&f, &out);
	if (!error)
		error = bytes_send(ctl->fd, buf_slice(&out));
	/* They may hold a password. */
	if (text.bytes != NULL)
		explicit_bzero(text.bytes, text.room);
	if (out.bytes != NULL)
		explicit_bzero(out.bytes, out.room);
	buf_free(&text);
	buf_free(&out);
	return error;
}

/* Makes an answer of a frame. */
static int
reply_read(struct slice whole, struct ctl_reply *reply)
{
	json_error_t where;
	struct frame f;

	memset(reply, 0, sizeof *reply);
	if (frame_read(whole, &f) != OK || f.type != FRAME_CONTROL_REPLY)
		return E_MALFORMED;
	reply->number = f.number;
	if (f.condition.ptr != NULL) {
		reply->condition = slice_dup(f.condition);
		reply->text = f.text.ptr ? slice_dup(f.text) : mem_string("");
		return OK;
	}
	if (f.payload.len == 0) {
		reply->value = json_null();
		return OK;
	}
	reply->value = json_loadb(f.payload.ptr, f.payload.len, JSON_DECODE_ANY, &where);
	return reply->value ? OK : E_MALFORMED;
}

/* Reads what there is, after having waited for it. */
static int
bytes_receive(struct ctl_socket *ctl)
{
	struct pollfd wait = { ctl->fd, POLLIN, 0 };
	char *room;
	ssize_t got;
	int ready;

	do
		ready = poll(&wait, 1, ANSWER_TIME);
	while (ready < 0 && errno == EINTR);
	if (ready <= 0)
		return ready == 0 ? E_AGAIN : E_SYSTEM;
	room = buf_reserve(&ctl->in, 65536);
	got = read(ctl->fd, room, 65536);
	if (got < 0)
		return errno == EINTR ? OK : errno == ECONNRESET ? E_CLOSED : E_SYSTEM;
	if (got == 0)
		return E_CLOSED;
	buf_added(&ctl->in, (size_t)got);
	return OK;
}

int
ctl_socket_receive(struct ctl_socket *ctl, struct ctl_reply *reply)
{
	struct slice whole;
	int error;

	memset(reply, 0, sizeof *reply);
	while ((error = frame_next(buf_slice(&ctl->in), &whole)) == E_AGAIN) {
		error = bytes_receive(ctl);
		if (error)
			return error;
	}
	if (error)
		return E_MALFORMED;
	error = reply_read(whole, reply);
	buf_consume(&ctl->in, whole.len);
	return error;
}

void
ctl_reply_free(struct ctl_reply *reply)
{
	json_decref(reply->value);
	MEM_FREE(&reply->condition);
	MEM_FREE(&reply->text);
	reply->value = NULL;
}
