/*
 * process.c: packets of the control sockets between the supervisor and its children. Called by
 * supervise.c on one side and daemon.c on the other. Fails when the other side has gone, does not
 * read, or sends what does not have the form.
 */
#include "process.h"

#include <errno.h>
#include <sys/socket.h>
#include <unistd.h>

#include "error.h"

/* Room for one descriptor, aligned as the kernel wants it. */
union room {
	struct cmsghdr align;
	char bytes[CMSG_SPACE(sizeof(int))];
};

static int
error_of(int number)
{
	if (number == EAGAIN || number == EWOULDBLOCK || number == ENOBUFS)
		return E_AGAIN;
	if (number == EPIPE || number == ECONNRESET || number == ENOTCONN)
		return E_CLOSED;
	return E_SYSTEM;
}

int
process_send(int socket, const struct process_message *message, int fd)
{
	struct iovec piece = { .iov_base = (void *)(uintptr_t)message, .iov_len = sizeof *message };
	struct msghdr packet = { .msg_iov = &piece, .msg_iovlen = 1 };
	union room room;
	ssize_t sent;

	memset(&room, 0, sizeof room);
	if (fd >= 0) {
		struct cmsghdr *head;

		packet.msg_control = room.bytes;
		packet.msg_controllen = sizeof room.bytes;
		head = CMSG_FIRSTHDR(&packet);
		head->cmsg_level = SOL_SOCKET;
		head->cmsg_type = SCM_RIGHTS;
		head->cmsg_len = CMSG_LEN(sizeof fd);
		memcpy(CMSG_DATA(head), &fd, sizeof fd);
	}
	do
		sent = sendmsg(socket, &packet, MSG_NOSIGNAL);
	while (sent < 0 && errno == EINTR);
	return sent < 0 ? error_of(errno) : OK;
}

/* Takes the first descriptor of a packet and closes all others; returns how many there were. */
static size_t
take_descriptors(struct msghdr *packet, int *fd)
{
	struct cmsghdr *head;
	size_t count = 0, i;

	for (head = CMSG_FIRSTHDR(packet); head != NULL; head = CMSG_NXTHDR(packet, head)) {
		if (head->cmsg_level != SOL_SOCKET || head->cmsg_type != SCM_RIGHTS)
			continue;
		for (i = 0; CMSG_LEN((i + 1) * sizeof(int)) <= head->cmsg_len; i++) {
			int one;

			memcpy(&one, CMSG_DATA(head) + i * sizeof one, sizeof one);
			if (count++ == 0)
				*fd = one;
			else
				close(one);
		}
	}
	return count;
}

static bool
is_well_formed(const struct process_message *message)
{
	return message->what != 0 && message->what < PROCESS_WHAT_COUNT &&
	    message->role < ROLE_COUNT && message->state <= PROCESS_FAILED &&
	    memchr(message->name, '\0', sizeof message->name) != NULL;
}

int
process_receive(int socket, struct process_message *message, int *fd)
{
	struct iovec piece = { .iov_base = message, .iov_len = sizeof *message };
	union room room;
	struct msghdr packet = {
		.msg_iov = &piece, .msg_iovlen = 1,
		.msg_control = room.bytes, .msg_controllen = sizeof room.bytes,
	};
	size_t count;
	ssize_t got;

	*fd = -1;
	memset(&room, 0, sizeof room);
	do
		got = recvmsg(socket, &packet, MSG_CMSG_CLOEXEC);
	while (got < 0 && errno == EINTR);
	if (got < 0)
		return error_of(errno);
	count = take_descriptors(&packet, fd);
	if (got == 0 && count == 0)
		return E_CLOSED;
	if (count > 1 || got != (ssize_t)sizeof *message ||
	    (packet.msg_flags & (MSG_TRUNC | MSG_CTRUNC)) != 0 || !is_well_formed(message)) {
		if (*fd >= 0)
			close(*fd);
		*fd = -1;
		return E_MALFORMED;
	}
	return OK;
}
