/* test_process.c: the packets between the supervisor and its children. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "error.h"
#include "process.h"

struct pair {
	int here, there;
};

static int
setup(void **state)
{
	struct pair *pair = calloc(1, sizeof *pair);
	int fds[2];

	if (pair == NULL || socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK, 0, fds) != 0)
		return -1;
	pair->here = fds[0];
	pair->there = fds[1];
	*state = pair;
	return 0;
}

static int
teardown(void **state)
{
	struct pair *pair = *state;

	close(pair->here);
	if (pair->there >= 0)
		close(pair->there);
	free(pair);
	return 0;
}

static size_t
open_descriptors(void)
{
	size_t count = 0;
	int fd;

	for (fd = 0; fd < 256; fd++)
		count += fcntl(fd, F_GETFD) != -1;
	return count;
}

static void
test_message_and_descriptor(void **state)
{
	struct pair *pair = *state;
	struct process_message sent = {
		.what = PROCESS_LINK, .role = ROLE_C2SD, .index = 3, .incarnation = 77, .pid = -5,
		.since = UINT64_MAX, .name = "c2s-tls",
	};
	struct process_message got;
	int pipes[2], fd;
	char byte;

	assert_int_equal(pipe(pipes), 0);
	assert_int_equal(process_send(pair->here, &sent, pipes[1]), OK);
	assert_int_equal(process_receive(pair->there, &got, &fd), OK);
	assert_memory_equal(&sent, &got, sizeof got);
	assert_true(fd >= 0 && fd != pipes[1]);
	assert_true((fcntl(fd, F_GETFD) & FD_CLOEXEC) != 0);
	assert_int_equal(write(fd, "x", 1), 1);
	assert_int_equal(read(pipes[0], &byte, 1), 1);
	assert_int_equal(byte, 'x');
	close(fd);
	close(pipes[0]);
	close(pipes[1]);
}

static void
test_no_descriptor(void **state)
{
	struct pair *pair = *state;
	struct process_message sent = { .what = PROCESS_PING }, got;
	int fd = 99;

	assert_int_equal(process_receive(pair->there, &got, &fd), E_AGAIN);
	assert_int_equal(fd, -1);
	assert_int_equal(process_send(pair->here, &sent, -1), OK);
	assert_int_equal(process_receive(pair->there, &got, &fd), OK);
	assert_int_equal(got.what, PROCESS_PING);
	assert_int_equal(fd, -1);
}

static void
test_closed(void **state)
{
	struct pair *pair = *state;
	struct process_message message = { .what = PROCESS_PING };
	int fd;

	close(pair->there);
	pair->there = -1;
	assert_int_equal(process_receive(pair->here, &message, &fd), E_CLOSED);
	message.what = PROCESS_PING;
	assert_int_equal(process_send(pair->here, &message, -1), E_CLOSED);
}

static void
test_full_socket_is_not_waited_for(void **state)
{
	struct pair *pair = *state;
	struct process_message message = { .what = PROCESS_PING };
	int error = OK, i;

	for (i = 0; i < 1000000 && error == OK; i++)
		error = process_send(pair->here, &message, -1);
	assert_int_equal(error, E_AGAIN);
}

/* Everything that is no message is refused, and no descriptor is left open. */
static void
test_malformed(void **state)
{
	struct pair *pair = *state;
	struct process_message message, got;
	size_t before = open_descriptors();
	int fd, i;

	for (i = 0; i < 5; i++) {
		memset(&message, 0, sizeof message);
		message.what = PROCESS_STATE;
		if (i == 0)
			message.what = PROCESS_WHAT_COUNT;
		else if (i == 1)
			message.what = 0;
		else if (i == 2)
			message.role = ROLE_COUNT;
		else if (i == 3)
			message.state = PROCESS_FAILED + 1;
		else
			memset(message.name, 'a', sizeof message.name);
		assert_int_equal(process_send(pair->here, &message, pair->here), OK);
		assert_int_equal(process_receive(pair->there, &got, &fd), E_MALFORMED);
		assert_int_equal(fd, -1);
	}
	assert_int_equal(send(pair->here, "short", 5, 0), 5);
	assert_int_equal(process_receive(pair->there, &got, &fd), E_MALFORMED);
	{
		char large[sizeof message + 1] = { PROCESS_PING };

		assert_int_equal(send(pair->here, large, sizeof large, 0), (int)sizeof large);
	}
	assert_int_equal(process_receive(pair->there, &got, &fd), E_MALFORMED);
	assert_int_equal(open_descriptors(), before);
}

static void
test_too_many_descriptors(void **state)
{
	struct pair *pair = *state;
	struct process_message message = { .what = PROCESS_PING }, got;
	struct iovec piece = { .iov_base = &message, .iov_len = sizeof message };
	_Alignas(struct cmsghdr) char room[CMSG_SPACE(3 * sizeof(int))] = { 0 };
	struct msghdr packet = { .msg_iov = &piece, .msg_iovlen = 1, .msg_control = room };
	size_t before = open_descriptors(), count, i;
	int fd;

	for (count = 2; count <= 3; count++) {
		struct cmsghdr *head;

		packet.msg_controllen = CMSG_SPACE(count * sizeof(int));
		head = CMSG_FIRSTHDR(&packet);
		head->cmsg_level = SOL_SOCKET;
		head->cmsg_type = SCM_RIGHTS;
		head->cmsg_len = CMSG_LEN(count * sizeof(int));
		for (i = 0; i < count; i++)
			memcpy(CMSG_DATA(head) + i * sizeof(int), &pair->here, sizeof(int));
		assert_int_equal(sendmsg(pair->here, &packet, 0), (int)sizeof message);
		assert_int_equal(process_receive(pair->there, &got, &fd), E_MALFORMED);
		assert_int_equal(fd, -1);
	}
	assert_int_equal(open_descriptors(), before);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_message_and_descriptor, setup, teardown),
		cmocka_unit_test_setup_teardown(test_no_descriptor, setup, teardown),
		cmocka_unit_test_setup_teardown(test_closed, setup, teardown),
		cmocka_unit_test_setup_teardown(test_full_socket_is_not_waited_for, setup, teardown),
		cmocka_unit_test_setup_teardown(test_malformed, setup, teardown),
		cmocka_unit_test_setup_teardown(test_too_many_descriptors, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
