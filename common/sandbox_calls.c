/*
 * sandbox_calls.c: seccomp: which system calls a process can make. Called by sandbox.c, last of all.
 * Fails when the kernel has no seccomp.
 *
 * The rows are in sandbox_call.def; calls that depend on their arguments are here.
 */
#include <errno.h>
#include <fcntl.h>
#include <seccomp.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <ucontext.h>
#include <unistd.h>

#include "error.h"
#include "log.h"
#include "sandbox_private.h"

#define NUMBERS_MAX 1024 /* of system calls */

/* What may become of a call. KILLED: the process ends. */
enum verdict { ALLOWED, REFUSED, KILLED };

struct call {
	const char *name;
	uint8_t verdict;
	uint8_t group;
};

static const struct call calls[] = {
#define ALLOW(group, name) { #name, ALLOWED, GROUP_##group },
#define REFUSE(name)       { #name, REFUSED, GROUP_LOOP },
#define KILL(name)         { #name, KILLED, GROUP_LOOP },
#include "sandbox_call.def"
#undef ALLOW
#undef REFUSE
#undef KILL
};

/* Rules of which one argument decides. */
struct condition {
	const char *name;
	uint8_t verdict;
	unsigned without; /* not for who has one of these groups */
	unsigned with;    /* only for who has one of these groups; 0: for everybody */
	struct scmp_arg_cmp argument;
};

#define IS(n, value)        { (n), SCMP_CMP_EQ, (value), 0 }
#define IS_NOT(n, value)    { (n), SCMP_CMP_NE, (value), 0 }
#define HAS(n, bits, value) { (n), SCMP_CMP_MASKED_EQ, (bits), (value) }

static const struct condition conditions[] = {
	/* no memory becomes code */
	{ "mmap", ALLOWED, 0, 0, HAS(2, PROT_EXEC, 0) },
	{ "mmap", REFUSED, 0, 0, HAS(2, PROT_EXEC, PROT_EXEC) },
	{ "mprotect", ALLOWED, 0, 0, HAS(2, PROT_EXEC, 0) },
	{ "mprotect", REFUSED, 0, 0, HAS(2, PROT_EXEC, PROT_EXEC) },
	/* fstat(2), not stat(2) */
	{ "newfstatat", ALLOWED, CALLS(FILES), 0, HAS(3, AT_EMPTY_PATH, AT_EMPTY_PATH) },
	{ "newfstatat", REFUSED, CALLS(FILES), 0, HAS(3, AT_EMPTY_PATH, 0) },
	/* to who is at the other end, and to nobody else */
	{ "sendto", ALLOWED, CALLS(CONNECT) | CALLS(SYSLOG), 0, IS(4, 0) },
	{ "sendto", REFUSED, CALLS(CONNECT) | CALLS(SYSLOG), 0, IS_NOT(4, 0) },
	{ "socket", REFUSED, CALLS(CONNECT), 0, IS_NOT(0, AF_UNIX) },
	{ "socket", REFUSED, CALLS(CONNECT) | CALLS(SYSLOG), 0, IS(0, AF_UNIX) },
	{ "socket", ALLOWED, 0, CALLS(SYSLOG), IS(0, AF_UNIX) },
	/* no signal that comes at the will of somebody else (F_SETOWN) */
	{ "fcntl", ALLOWED, 0, 0, IS(1, F_GETFL) },
	{ "fcntl", ALLOWED, 0, 0, IS(1, F_SETFL) },
	{ "fcntl", ALLOWED, 0, 0, IS(1, F_GETFD) },
	{ "fcntl", ALLOWED, 0, 0, IS(1, F_SETFD) },
	{ "fcntl", ALLOWED, 0, 0, IS(1, F_GETLK) },
	{ "fcntl", ALLOWED, 0, 0, IS(1, F_SETLK) },
	{ "fcntl", ALLOWED, 0, 0, IS(1, F_SETLKW) },
	{ "fcntl", ALLOWED, 0, 0, IS(1, F_DUPFD_CLOEXEC) },
	{ "ioctl", ALLOWED, 0, 0, IS(1, FIONBIO) },
	{ "ioctl", ALLOWED, 0, 0, IS(1, FIONREAD) },
	{ "prctl", ALLOWED, 0, 0, IS(0, PR_SET_NAME) },
	{ "prlimit64", ALLOWED, 0, 0, IS(2, 0) },
};

/* Numbers of calls that are refused, for on_trap(). */
static bool refused[NUMBERS_MAX];

static bool
applies(const struct condition *condition, unsigned groups)
{
	return (condition->without & groups) == 0 &&
	    (condition->with == 0 || (condition->with & groups) != 0);
}

/* -- logging ----------------------------------------------------------------------------------- */

static bool
is_logging(void)
{
	return slice_is(slice_string(getenv("ALDIS_SECCOMP")), "log");
}

/* Puts an error in the place of a call's result. */
static void
set_result(ucontext_t *context, int result)
{
#if defined(__x86_64__)
	context->uc_mcontext.gregs[REG_RAX] = result;
#elif defined(__aarch64__)
	context->uc_mcontext.regs[0] = (unsigned long long)result;
#else
	(void)context;
	(void)result;
	log_panic(__FILE__, __LINE__, "ALDIS_SECCOMP=log is not for this processor");
#endif
}

/* A call that is not allowed, while they are logged: answered as it would be otherwise. */
static void
on_trap(int signal_number, siginfo_t *info, void *context)
{
	int number = info->si_syscall;
	bool known = number >= 0 && number < NUMBERS_MAX && refused[number];

	(void)signal_number;
	log_warn(known ? "system call refused" : "system call unknown", "number=%d", number);
	set_result(context, known ? -EACCES : -ENOSYS);
}

static int
catch_traps(void)
{
	struct sigaction action = { .sa_sigaction = on_trap, .sa_flags = SA_SIGINFO | SA_NODEFER };

	sigemptyset(&action.sa_mask);
	return sigaction(SIGSYS, &action, NULL) != 0 ? sandbox_failed("SIGSYS") : OK;
}

/* -- the filter -------------------------------------------------------------------------------- */

/* What the kernel is told to do. */
static uint32_t
action_of(uint8_t verdict)
{
	switch (verdict) {
	case ALLOWED:
		return SCMP_ACT_ALLOW;
	case REFUSED:
		return SCMP_ACT_ERRNO(EACCES);
	}
	return SCMP_ACT_KILL_PROCESS;
}

/* Adds one rule; a call that this machine does not have needs none. Returns 0 or -errno. */
static int
rule_add(scmp_filter_ctx filter, const char *name, uint8_t verdict, unsigned count,
    const struct scmp_arg_cmp *argument)
{
	int number = seccomp_syscall_resolve_name(name);

	if (number < 0)
		return 0;
	if (verdict == REFUSED && number < NUMBERS_MAX)
		refused[number] = true;
	/* What is logged goes to on_trap(), like all that has no rule. */
	if (verdict == REFUSED && is_logging())
		return 0;
	return seccomp_rule_add_array(filter, action_of(verdict), number, count, argument);
}

/* Whether an earlier row that applies has the same call: what a role is given goes before what is
 * refused, since the rows stand in that order. */
static bool
is_decided(const struct call *call, unsigned groups)
{
	const struct call *other;

	for (other = calls; other != call; other++) {
		if (strcmp(other->name, call->name) == 0 &&
		    (other->verdict != ALLOWED || (groups & (1u << other->group)) != 0))
			return true;
	}
	return false;
}

static int
rules_add(scmp_filter_ctx filter, unsigned groups)
{
	const struct scmp_arg_cmp ours = IS(0, (scmp_datum_t)getpid());
	const struct scmp_arg_cmp others = IS_NOT(0, (scmp_datum_t)getpid());
	size_t i;
	int code;

	code = rule_add(filter, "tgkill", ALLOWED, 1, &ours);
	if (code == 0)
		code = rule_add(filter, "tgkill", KILLED, 1, &others);
	for (i = 0; code == 0 && i < sizeof conditions / sizeof conditions[0]; i++) {
		if (applies(&conditions[i], groups))
			code = rule_add(filter, conditions[i].name, conditions[i].verdict, 1,
			    &conditions[i].argument);
	}
	for (i = 0; code == 0 && i < sizeof calls / sizeof calls[0]; i++) {
		const struct call *call = &calls[i];

		if (call->verdict == ALLOWED && (groups & (1u << call->group)) == 0)
			continue;
		if (!is_decided(call, groups))
			code = rule_add(filter, call->name, call->verdict, 0, NULL);
	}
	return code;
}

int
sandbox_calls_enter(unsigned groups)
{
	scmp_filter_ctx filter =
	    seccomp_init(is_logging() ? SCMP_ACT_TRAP : SCMP_ACT_ERRNO(ENOSYS));
	int code = filter != NULL ? 0 : -ENOMEM;

	if (code == 0)
		code = seccomp_attr_set(filter, SCMP_FLTATR_CTL_TSYNC, 1);
	if (code == 0)
		code = seccomp_attr_set(filter, SCMP_FLTATR_CTL_OPTIMIZE, 2);
	if (code == 0)
		code = seccomp_attr_set(filter, SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_KILL_PROCESS);
	if (code == 0)
		code = rules_add(filter, groups);
	if (code == 0 && is_logging() && catch_traps())
		code = -errno;
	if (code == 0)
		code = seccomp_load(filter);
	if (filter != NULL)
		seccomp_release(filter);
	if (code != 0) {
		errno = -code;
		return sandbox_failed("seccomp");
	}
	return OK;
}
