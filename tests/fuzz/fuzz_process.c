/*
 * fuzz_process.c: packets on the control socket between the supervisor and its children.
 *
 * Input: a byte (how many descriptors go with it: its last two bits), then the packet.
 * Asserts: a packet is taken when it is as long as a message and its fields are in range, and then
 * is what was sent, with its one descriptor; no other descriptor stays open.
 *
 * Options: -max_len=400
 */
#include "fuzz.h"

#include <sys/socket.h>
#include <unistd.h>

#include "process.h"

static int sockets[2];

int
LLVMFuzzerInitialize(int *argc, char ***argv)
{
	(void)argc;
	(void)argv;
	CHECK(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, sockets) == 0);
	return 0;
}

/* The lowest descriptor that is free. */
static int
lowest_free(void)
{
	int fd = dup(sockets[0]);

	CHECK(fd >= 0);
	close(fd);
	return fd;
}

static void
packet_send(struct slice bytes, unsigned descriptors)
{
	int fds[3] = { sockets[0], sockets[1], sockets[0] };
	union {
		struct cmsghdr align;
		char bytes[CMSG_SPACE(sizeof fds)];
	} room;
	struct iovec piece = { (void *)(uintptr_t)bytes.ptr, bytes.len };
	struct msghdr packet = { .msg_iov = &piece, .msg_iovlen = 1 };
	struct cmsghdr *head;

	memset(&room, 0, sizeof room);
	if (descriptors != 0) {
		packet.msg_control = room.bytes;
		packet.msg_controllen = CMSG_SPACE(descriptors * sizeof(int));
		head = CMSG_FIRSTHDR(&packet);
		head->cmsg_level = SOL_SOCKET;
		head->cmsg_type = SCM_RIGHTS;
		head->cmsg_len = CMSG_LEN(descriptors * sizeof(int));
		memcpy(CMSG_DATA(head), fds, descriptors * sizeof(int));
	}
	CHECK(sendmsg(sockets[0], &packet, MSG_NOSIGNAL) == (ssize_t)bytes.len);
}

static bool
is_good(struct slice bytes, unsigned descriptors)
{
	struct process_message m;

	if (bytes.len != sizeof m || descriptors > 1)
		return false;
	memcpy(&m, bytes.ptr, sizeof m);
	return m.what >= PROCESS_CONFIG && m.what < PROCESS_WHAT_COUNT && m.role < ROLE_COUNT &&
	    m.state <= PROCESS_FAILED && strnlen(m.name, sizeof m.name) < sizeof m.name;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz f = fuzz_begin(data, size);
	unsigned descriptors = fuzz_byte(&f) & 3;
	struct slice bytes = fuzz_take(&f, fuzz_left(&f));
	struct process_message message;
	int before = lowest_free(), fd = -2, error;

	CHECK(process_receive(sockets[1], &message, &fd) == E_AGAIN && fd == -1);
	packet_send(bytes, descriptors);
	error = process_receive(sockets[1], &message, &fd);
	if (is_good(bytes, descriptors)) {
		CHECK(error == OK && memcmp(&message, bytes.ptr, sizeof message) == 0);
		CHECK((fd >= 0) == (descriptors == 1));
		if (fd >= 0)
			close(fd);
		CHECK(process_send(sockets[0], &message, -1) == OK);
		CHECK(process_receive(sockets[1], &message, &fd) == OK && fd == -1);
	} else {
		/* Nothing at all is the end of the socket. */
		CHECK(error == (bytes.len == 0 && descriptors == 0 ? E_CLOSED : E_MALFORMED));
		CHECK(fd == -1);
	}
	CHECK(lowest_free() == before);
	CHECK(process_receive(sockets[1], &message, &fd) == E_AGAIN);
	return 0;
}
