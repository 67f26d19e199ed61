/*
 * test_sandbox.c: each role under its own policy tries what it may and what it must not.
 *
 * Every attempt is made in a process of its own, which enters the sandbox as the daemon does, tries
 * one thing, and tells how it went by its exit status, or by the signal that ended it.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <netinet/in.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "error.h"
#include "sandbox_private.h"

#define NOBODY "65534:65534"

/* How an attempt can end: with what it did, with an errno, or with SIGSYS. */
enum outcome { DONE, REFUSAL, DEATH };

static const unsigned groups[ROLE_COUNT] = {
#define SANDBOX(role, gibibytes, calls) [ROLE_##role] = (calls),
#include "sandbox_role.def"
#undef SANDBOX
};

static const bool writes[ROLE_COUNT] = {
#define SANDBOX(role, gibibytes, calls) [ROLE_##role] = (gibibytes) != 0,
#include "sandbox_role.def"
#undef SANDBOX
};

/* What a daemon has when it is locked up, and what it should not reach. */
static struct {
	char base[64], own[96], other[96], secret[128], own_file[128];
	int file;            /* open, in its directory */
	int listening;       /* a socket, listening */
	int tcp, udp;        /* sockets, not connected */
	struct sockaddr_in peer;
	pid_t outsider;
} world;

/* -- attempts: 0 when it was done, else an errno ------------------------------------------------ */

static int
result(long code)
{
	return code < 0 ? errno : 0;
}

static int
open_outside(void)
{
	return result(open("/etc/passwd", O_RDONLY));
}

static int
open_other(void)
{
	return result(open(world.secret, O_RDWR));
}

static int
open_own(void)
{
	return result(open(world.own_file, O_RDWR));
}

static int
create_own(void)
{
	return result(open("new-file", O_RDWR | O_CREAT, 0600));
}

static int
stat_outside(void)
{
	struct stat status;

	return result(stat("/etc/passwd", &status));
}

static int
stat_descriptor(void)
{
	struct stat status;

	return result(fstat(world.file, &status));
}

static int
make_socket(void)
{
	return result(socket(AF_INET, SOCK_STREAM, 0));
}

static int
make_local_socket(void)
{
	return result(socket(AF_UNIX, SOCK_DGRAM, 0));
}

static int
connect_inherited(void)
{
	return result(connect(world.tcp, (struct sockaddr *)&world.peer, sizeof world.peer));
}

static int
send_to_stranger(void)
{
	return result(sendto(world.udp, "x", 1, 0, (struct sockaddr *)&world.peer,
	    sizeof world.peer));
}

static int
send_to_peer(void)
{
	int code = result(send(world.udp, "x", 1, 0));

	return code == EDESTADDRREQ ? 0 : code;
}

static int
bind_port(void)
{
	struct sockaddr_in any = { .sin_family = AF_INET };

	return result(bind(world.tcp, (struct sockaddr *)&any, sizeof any));
}

static int
accept_one(void)
{
	int code = result(accept4(world.listening, NULL, NULL, SOCK_NONBLOCK));

	return code == EAGAIN ? 0 : code;
}

static int
write_file(void)
{
	return result(write(world.file, "x", 1));
}

static int
sync_file(void)
{
	return result(fdatasync(world.file));
}

static int
execute(void)
{
	char *arguments[] = { NULL }, *variables[] = { NULL };

	return result(execve("/bin/true", arguments, variables));
}

static int
make_process(void)
{
	return result(syscall(SYS_clone, SIGCHLD, NULL, NULL, NULL, NULL));
}

static void *
idle(void *unused)
{
	return unused;
}

static int
make_thread(void)
{
	pthread_t thread;

	return pthread_create(&thread, NULL, idle, NULL);
}

static int
trace(void)
{
	return result(ptrace(PTRACE_ATTACH, world.outsider, NULL, NULL));
}

static int
read_memory(void)
{
	char byte;
	struct iovec to = { &byte, 1 }, from = { &world, 1 };

	return result(process_vm_readv(world.outsider, &to, 1, &from, 1, 0));
}

static int
open_memory(void)
{
	char path[64];

	snprintf(path, sizeof path, "/proc/%ld/mem", (long)world.outsider);
	return result(open(path, O_RDONLY));
}

static int
signal_other(void)
{
	return result(kill(world.outsider, SIGCONT));
}

static int
signal_thread_of_other(void)
{
	return result(syscall(SYS_tgkill, world.outsider, world.outsider, SIGCONT));
}

static int
signal_self(void)
{
	signal(SIGUSR1, SIG_IGN);
	return result(raise(SIGUSR1));
}

static int
signal_by_owner(void)
{
	return result(fcntl(world.tcp, F_SETOWN, world.outsider));
}

static int
map_code(void)
{
	return mmap(NULL, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) ==
	    MAP_FAILED ? errno : 0;
}

static int
make_code(void)
{
	void *page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	return result(mprotect(page, 4096, PROT_READ | PROT_EXEC));
}

static int
become_root(void)
{
	return result(syscall(SYS_setresuid, 0, 0, 0));
}

static int
change_root(void)
{
	return result(chroot("/"));
}

static int
mount_something(void)
{
	return result(mount("none", "/", "tmpfs", 0, NULL));
}

static int
load_program(void)
{
	return result(syscall(SYS_bpf, 0, NULL, 0));
}

static int
open_ring(void)
{
	return result(syscall(425, 1, NULL)); /* io_uring_setup */
}

static int
unknown_call(void)
{
	return result(syscall(SYS_sysfs, 3)) == ENOSYS ? ENOSYS : 0;
}

static int
raise_limit(void)
{
	struct rlimit limits = { RLIM_INFINITY, RLIM_INFINITY };

	return result(setrlimit(RLIMIT_FSIZE, &limits));
}

/* What is to come of it: done by who has one of these groups, and otherwise this. */
static const struct attempt {
	const char *name;
	int (*make)(void);
	unsigned allowed; /* CALLS() bits */
	enum outcome otherwise;
} attempts[] = {
	{ "open a file outside", open_outside, 0, REFUSAL },
	{ "open another's file", open_other, 0, REFUSAL },
	{ "open a file in its own directory", open_own, 0, REFUSAL },
	{ "make a file", create_own, 0, REFUSAL },
	{ "stat a file outside", stat_outside, 0, REFUSAL },
	{ "fstat", stat_descriptor, CALLS(LOOP), REFUSAL },
	{ "make a socket", make_socket, CALLS(CONNECT), REFUSAL },
	{ "make a local socket", make_local_socket, CALLS(CONNECT) | CALLS(SYSLOG), REFUSAL },
	{ "connect", connect_inherited, CALLS(CONNECT), REFUSAL },
	{ "send to a stranger", send_to_stranger, CALLS(CONNECT) | CALLS(SYSLOG), REFUSAL },
	{ "send to the peer", send_to_peer, CALLS(LOOP), REFUSAL },
	{ "accept", accept_one, CALLS(ACCEPT), REFUSAL },
	{ "sync a file", sync_file, CALLS(STORE), REFUSAL },
	{ "execve", execute, 0, DEATH },
	{ "make a process", make_process, 0, REFUSAL },
	{ "make a thread", make_thread, 0, REFUSAL },
	{ "ptrace", trace, 0, DEATH },
	{ "read another's memory", read_memory, 0, DEATH },
	{ "open another's memory", open_memory, 0, REFUSAL },
	{ "signal another", signal_other, 0, DEATH },
	{ "signal another's thread", signal_thread_of_other, 0, DEATH },
	{ "signal itself", signal_self, CALLS(LOOP), REFUSAL },
	{ "have another signalled", signal_by_owner, 0, REFUSAL },
	{ "map code", map_code, 0, REFUSAL },
	{ "make data code", make_code, 0, REFUSAL },
	{ "become root", become_root, 0, DEATH },
	{ "change root", change_root, 0, DEATH },
	{ "mount", mount_something, 0, DEATH },
	{ "load a program into the kernel", load_program, 0, DEATH },
	{ "open a ring", open_ring, 0, DEATH },
	{ "an unknown call", unknown_call, 0, REFUSAL },
	{ "raise a limit", raise_limit, 0, REFUSAL },
};

/* -- the process that tries -------------------------------------------------------------------- */

static void
make_file(const char *path)
{
	int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0666);

	assert_true(fd >= 0);
	assert_int_equal(fchmod(fd, 0666), 0);
	close(fd);
}

static int
setup(void **state)
{
	(void)state;
	snprintf(world.base, sizeof world.base, "/tmp/aldis-sandbox-XXXXXX");
	if (mkdtemp(world.base) == NULL || chmod(world.base, 0755) != 0)
		return -1;
	snprintf(world.own, sizeof world.own, "%s/own", world.base);
	snprintf(world.other, sizeof world.other, "%s/other", world.base);
	snprintf(world.secret, sizeof world.secret, "%s/other/secret", world.base);
	snprintf(world.own_file, sizeof world.own_file, "%s/own/file", world.base);
	if (mkdir(world.own, 0777) != 0 || mkdir(world.other, 0777) != 0 ||
	    chmod(world.own, 0777) != 0)
		return -1;
	make_file(world.secret);
	make_file(world.own_file);
	world.file = open(world.own_file, O_RDWR | O_CLOEXEC);
	world.listening = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
	world.outsider = getpid();
	world.peer.sin_family = AF_INET;
	world.peer.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	if (bind(world.listening, (struct sockaddr *)&world.peer, sizeof world.peer) != 0 ||
	    listen(world.listening, 8) != 0 ||
	    getsockname(world.listening, (struct sockaddr *)&world.peer,
	    &(socklen_t){ sizeof world.peer }) != 0)
		return -1;
	return 0;
}

static int
teardown(void **state)
{
	char path[160];

	(void)state;
	snprintf(path, sizeof path, "%s/new-file", world.own);
	unlink(path);
	unlink(world.secret);
	unlink(world.own_file);
	rmdir(world.own);
	rmdir(world.other);
	rmdir(world.base);
	close(world.file);
	close(world.listening);
	return 0;
}

/* A process of its own, with sockets of its own. */
static pid_t
process_new(void)
{
	pid_t pid = fork();

	assert_true(pid >= 0);
	if (pid == 0) {
		world.tcp = socket(AF_INET, SOCK_STREAM, 0);
		world.udp = socket(AF_INET, SOCK_DGRAM, 0);
	}
	return pid;
}

/* Locks this process up as a role. */
static void
lock_up(enum role role)
{
	bool root = geteuid() == 0, chrooted;

	signal(SIGXFSZ, SIG_IGN);
	if (chdir(world.own) != 0 ||
	    sandbox_enter(role, root ? NOBODY : "", world.own, &chrooted) != OK ||
	    sandbox_seal(role) != OK)
		_exit(200);
}

/* Waits for a process: its exit status, or -signal. */
static int
wait_for(pid_t pid)
{
	int status;

	assert_int_equal(waitpid(pid, &status, 0), pid);
	return WIFSIGNALED(status) ? -WTERMSIG(status) : WEXITSTATUS(status);
}

static int
run(enum role role, int (*make)(void))
{
	pid_t pid = process_new();

	if (pid == 0) {
		lock_up(role);
		_exit(make());
	}
	return wait_for(pid);
}

static bool
is_as_expected(const struct attempt *attempt, unsigned calls, int status)
{
	if ((attempt->allowed & calls) != 0)
		return status == 0;
	return attempt->otherwise == DEATH ? status == -SIGSYS : status > 0 && status < 200;
}

/* All attempts of all roles. */
static void
test_attempts(void **state)
{
	unsigned role, wrong = 0;
	size_t i;

	(void)state;
	for (role = ROLE_NONE + 1; role < ROLE_COUNT; role++) {
		for (i = 0; i < sizeof attempts / sizeof attempts[0]; i++) {
			int status = run((enum role)role, attempts[i].make);

			if (is_as_expected(&attempts[i], groups[role] | CALLS(LOOP), status))
				continue;
			print_error("%s: %s: status %d\n", role_text((enum role)role),
			    attempts[i].name, status);
			wrong++;
		}
	}
	assert_int_equal(wrong, 0);
}

/* Who keeps nothing on disk cannot write to a file that it was given. */
static void
test_file_size(void **state)
{
	unsigned role;

	(void)state;
	for (role = ROLE_NONE + 1; role < ROLE_COUNT; role++)
		assert_int_equal(run((enum role)role, write_file), writes[role] ? 0 : EFBIG);
}

/* -- Landlock alone ---------------------------------------------------------------------------- */

static bool
has_landlock(void)
{
	return syscall(SYS_landlock_create_ruleset, NULL, 0, 1u) > 0;
}

/* As much of Landlock as an older kernel has; files are opened without seccomp in between. */
static int
run_kept(enum role role, const char *version, const char *kept, int (*make)(void))
{
	pid_t pid = process_new();

	if (pid == 0) {
		bool chrooted = true;

		setenv("ALDIS_LANDLOCK", version, 1);
		if (chdir(world.own) != 0 || sandbox_keep(kept) != OK ||
		    sandbox_enter(role, geteuid() == 0 ? NOBODY : "", world.own, &chrooted) != OK ||
		    chrooted || sandbox_seal(role) != OK)
			_exit(200);
		_exit(make());
	}
	return wait_for(pid);
}

static void
test_kept_path(void **state)
{
	static const char *const versions[] = { "1", "2", "3", "4", "5", "6" };
	size_t i;

	(void)state;
	if (!has_landlock())
		skip();
	for (i = 0; i < sizeof versions / sizeof versions[0]; i++) {
		assert_int_equal(run_kept(ROLE_AUTHD, versions[i], world.other, open_other), 0);
		assert_int_equal(run_kept(ROLE_AUTHD, versions[i], world.other, open_own), 0);
		assert_int_equal(run_kept(ROLE_AUTHD, versions[i], world.other, create_own), 0);
		assert_int_equal(run_kept(ROLE_AUTHD, versions[i], world.other, open_outside),
		    EACCES);
		assert_int_equal(run_kept(ROLE_AUTHD, versions[i], world.secret, open_other), 0);
		assert_int_equal(run_kept(ROLE_AUTHD, versions[i], world.other, connect_inherited),
		    EACCES);
	}
	/* A kernel without it: the other steps stand. */
	assert_int_equal(run_kept(ROLE_AUTHD, "0", world.other, execute), -SIGSYS);
}

static void
test_kept_path_is_missing(void **state)
{
	(void)state;
	assert_int_equal(sandbox_keep("/nonexistent/path"), E_NOT_FOUND);
}

/* Bit by bit: what seccomp would hide. */
static int
after_entering(enum role role, int (*make)(void))
{
	pid_t pid = process_new();

	if (pid == 0) {
		bool chrooted;

		if (sandbox_enter(role, geteuid() == 0 ? NOBODY : "", world.own, &chrooted) != OK)
			_exit(200);
		_exit(make());
	}
	return wait_for(pid);
}

static int
has_new_privileges(void)
{
	return prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) == 1 ? 0 : 1;
}

static int
has_capabilities(void)
{
	struct __user_cap_header_struct head = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3];

	if (syscall(SYS_capget, &head, data) != 0)
		return 1;
	return (data[0].effective | data[0].permitted | data[1].effective | data[1].permitted) == 0 ?
	    0 : 2;
}

static int
open_secret_by_landlock(void)
{
	return open_other();
}

static int
has_core_limit(void)
{
	struct rlimit limits;

	return getrlimit(RLIMIT_CORE, &limits) == 0 && limits.rlim_max == 0 ? 0 : 1;
}

static void
test_steps(void **state)
{
	unsigned role;

	(void)state;
	for (role = ROLE_NONE + 1; role < ROLE_COUNT; role++) {
		assert_int_equal(after_entering((enum role)role, has_new_privileges), 0);
		assert_int_equal(after_entering((enum role)role, has_capabilities), 0);
		assert_int_equal(after_entering((enum role)role, has_core_limit), 0);
		if (geteuid() == 0 || has_landlock())
			assert_true(after_entering((enum role)role, open_secret_by_landlock) > 0);
		if (has_landlock())
			assert_true(after_entering((enum role)role, open_outside) > 0);
	}
}

/* Landlock says no to TCP by itself, from version 4 on. */
static void
test_no_connection_by_landlock(void **state)
{
	(void)state;
	if (syscall(SYS_landlock_create_ruleset, NULL, 0, 1u) < 4)
		skip();
	assert_int_equal(after_entering(ROLE_C2SD, connect_inherited), EACCES);
	assert_int_equal(after_entering(ROLE_C2SD, bind_port), EACCES);
	assert_int_equal(after_entering(ROLE_S2SD, connect_inherited), 0);
	assert_int_equal(after_entering(ROLE_S2SD, bind_port), EACCES);
}

static void
test_no_signal_by_landlock(void **state)
{
	(void)state;
	if (syscall(SYS_landlock_create_ruleset, NULL, 0, 1u) < 6)
		skip();
	assert_int_equal(after_entering(ROLE_ARCHIVED, signal_other), EPERM);
}

/* Root without a user of its own keeps its files, and nothing else. */
static int
root_alone(void)
{
	bool chrooted;

	if (sandbox_enter(ROLE_ARCHIVED, "", world.own, &chrooted) != OK || !chrooted)
		return 200;
	return has_capabilities();
}

static void
test_root_without_user(void **state)
{
	pid_t pid;

	(void)state;
	if (geteuid() != 0)
		skip();
	pid = process_new();
	if (pid == 0)
		_exit(root_alone());
	assert_int_equal(wait_for(pid), 0);
}

/* -- threads ----------------------------------------------------------------------------------- */

static int gate[2];

static void *
open_later(void *unused)
{
	char byte;

	(void)unused;
	if (read(gate[0], &byte, 1) != 1)
		return (void *)(intptr_t)-1;
	return (void *)(intptr_t)open_outside();
}

/* A thread made between the two steps is under all of it. */
static int
thread_in_between(void)
{
	pthread_t thread;
	bool chrooted;
	void *said;

	if (pipe(gate) != 0 ||
	    sandbox_enter(ROLE_C2SD, geteuid() == 0 ? NOBODY : "", world.own, &chrooted) != OK ||
	    pthread_create(&thread, NULL, open_later, NULL) != 0 || sandbox_seal(ROLE_C2SD) != OK ||
	    write(gate[1], "x", 1) != 1 || pthread_join(thread, &said) != 0)
		return 200;
	return (int)(intptr_t)said;
}

static int
thread_before(void)
{
	pthread_t thread;
	bool chrooted;

	if (pipe(gate) != 0 || pthread_create(&thread, NULL, open_later, NULL) != 0)
		return 200;
	return sandbox_enter(ROLE_C2SD, "", world.own, &chrooted);
}

static void
test_threads(void **state)
{
	pid_t pid = process_new();

	(void)state;
	if (pid == 0)
		_exit(thread_in_between());
	assert_int_equal(wait_for(pid), EACCES);
	pid = process_new();
	if (pid == 0)
		_exit(thread_before());
	assert_int_equal(wait_for(pid), E_SYSTEM);
}

/* -- logging ----------------------------------------------------------------------------------- */

/* With ALDIS_SECCOMP=log the answers are the same, and what is refused is said. */
static void
test_logging(void **state)
{
	char said[4096] = "";
	int fds[2];
	pid_t pid;

	(void)state;
	assert_int_equal(pipe(fds), 0);
	pid = process_new();
	if (pid == 0) {
		setenv("ALDIS_SECCOMP", "log", 1);
		dup2(fds[1], STDERR_FILENO);
		lock_up(ROLE_C2SD);
		_exit(open_outside() == EACCES && unknown_call() == ENOSYS && make_code() == EACCES &&
		    stat_descriptor() == 0 ? 0 : 1);
	}
	close(fds[1]);
	assert_int_equal(wait_for(pid), 0);
	assert_true(read(fds[0], said, sizeof said - 1) > 0);
	close(fds[0]);
	assert_non_null(strstr(said, "system call refused number="));
	assert_non_null(strstr(said, "system call unknown number="));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_attempts),
		cmocka_unit_test(test_file_size),
		cmocka_unit_test(test_kept_path),
		cmocka_unit_test(test_kept_path_is_missing),
		cmocka_unit_test(test_steps),
		cmocka_unit_test(test_no_connection_by_landlock),
		cmocka_unit_test(test_no_signal_by_landlock),
		cmocka_unit_test(test_root_without_user),
		cmocka_unit_test(test_threads),
		cmocka_unit_test(test_logging),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
