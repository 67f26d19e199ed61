/*
 * test_config.c: a daemon's slice of the configuration, the logs' quoting and the counters' names.
 */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "buf.h"
#include "config.h"
#include "counter.h"
#include "error.h"
#include "log.h"

static const char good[] = "\t\tlog-level\tinfo\n"
			   "domain\tcapulet.example\tregistration\tno\n"
			   "domain\tcapulet.example\tcertificate\tQUJD\n"
			   "domain\tmontague.example\tregistration\tyes\n"
			   "domain\tmontague.example\tcertificate\t\n"
			   "c2s\t\tmechanism\tPLAIN\n"
			   "c2s\t\tother\tx\n"
			   "c2s\t\tmechanism\tEXTERNAL\n"
			   "c2s\t\tescaped\ta\\tb\\nc\\\\d\n"
			   "c2s\t\tsize\t256K\n"
			   "c2s\t\ttime\t5m\n"
			   "c2s\t\thuge\t99999999999999999999\n"
			   "c2s\t\toverflow\t17179869185G\n"
			   "c2s\t\tplain\t1048576\n";

static struct config *
read_good(void)
{
	struct config *config;

	assert_int_equal(config_read(slice_string(good), &config), OK);
	return config;
}

static void
test_values(void **state)
{
	struct config *config = read_good();
	struct slice value;

	(void)state;
	assert_true(slice_is(config_text(config, "", "", "log-level"), "info"));
	value = config_text(config, "domain", "capulet.example", "certificate");
	assert_true(slice_is(value, "QUJD"));
	value = config_text(config, "domain", "montague.example", "certificate");
	assert_true(value.ptr != NULL && value.len == 0);
	assert_false(config_flag(config, "domain", "capulet.example", "registration"));
	assert_true(config_flag(config, "domain", "montague.example", "registration"));
	assert_true(slice_is(config_text(config, "c2s", "", "escaped"), "a\tb\nc\\d"));
	assert_int_equal(config_number(config, "c2s", "", "size"), 262144);
	assert_int_equal(config_number(config, "c2s", "", "time"), 300);
	assert_int_equal(config_number(config, "c2s", "", "plain"), 1048576);
	config_free(&config);
	assert_null(config);
}

/* A daemon of a thousand domains starts at once. */
static void
test_many_titles(void **state)
{
	struct buf text = { 0 };
	struct config *config;
	clock_t began = clock();
	struct slice title;
	size_t i;

	(void)state;
	for (i = 0; i < 1000; i++)
		buf_printf(&text, "domain\td%zu.example\tregistration\tno\n"
		    "domain\td%zu.example\tcertificate\t\n", i, i);
	assert_int_equal(config_read(buf_slice(&text), &config), OK);
	for (i = 0; config_title(config, "domain", i, &title); i++)
		;
	assert_int_equal(i, 1000);
	assert_true((clock() - began) / CLOCKS_PER_SEC < 5);
	config_free(&config);
	buf_free(&text);
}

static void
test_lists(void **state)
{
	struct config *config = read_good();
	struct slice value;

	(void)state;
	assert_true(config_list(config, "c2s", "", "mechanism", 0, &value));
	assert_true(slice_is(value, "PLAIN"));
	assert_true(config_list(config, "c2s", "", "mechanism", 1, &value));
	assert_true(slice_is(value, "EXTERNAL"));
	assert_false(config_list(config, "c2s", "", "mechanism", 2, &value));
	assert_false(config_list(config, "c2s", "", "nothing", 0, &value));
	assert_true(config_title(config, "domain", 0, &value));
	assert_true(slice_is(value, "capulet.example"));
	assert_true(config_title(config, "domain", 1, &value));
	assert_true(slice_is(value, "montague.example"));
	assert_false(config_title(config, "domain", 2, &value));
	assert_true(config_title(config, "c2s", 0, &value));
	assert_false(config_title(config, "c2s", 1, &value));
	assert_false(config_title(config, "nothing", 0, &value));
	config_free(&config);
}

static void
test_malformed(void **state)
{
	static const char *const bad[] = {
		"a\n", "\n", "a\tb\n", "a\tb\tc\n", "a\tb\tc\td\te\n", "a\tb\tc\td", "a\tb\t\td\n",
		"a\tb\tc\td\\\n", "a\tb\tc\t\\x\n", "a\tb\tc\td\n\n",
	};
	struct config *config;

	(void)state;
	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
		assert_int_equal(config_read(slice_string(bad[i]), &config), E_MALFORMED);
		assert_null(config);
	}
	assert_int_equal(config_read(SLICE_NONE, &config), OK);
	assert_false(config_title(config, "domain", 0, &(struct slice){ 0 }));
	config_free(&config);
	config_free(&config);
}

/* Asking for what is not there is a bug: the process panics. */
static void
panics(void (*act)(const struct config *config))
{
	struct config *config = read_good();
	pid_t pid = fork();
	int status;

	if (pid == 0) {
		signal(SIGABRT, SIG_DFL);
		if (freopen("/dev/null", "w", stderr) == NULL)
			_exit(1);
		act(config);
		_exit(0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
	config_free(&config);
}

static void
ask_missing(const struct config *config)
{
	config_text(config, "c2s", "", "missing");
}

static void
ask_text_as_number(const struct config *config)
{
	config_number(config, "c2s", "", "mechanism");
}

static void
ask_huge(const struct config *config)
{
	config_number(config, "c2s", "", "huge");
}

static void
ask_overflow(const struct config *config)
{
	config_number(config, "c2s", "", "overflow");
}

static void
ask_text_as_flag(const struct config *config)
{
	config_flag(config, "c2s", "", "mechanism");
}

static void
test_panics(void **state)
{
	(void)state;
	panics(ask_missing);
	panics(ask_text_as_number);
	panics(ask_huge);
	panics(ask_overflow);
	panics(ask_text_as_flag);
}

static void
test_log_quote(void **state)
{
	char long_text[300];
	const char *first, *again;

	(void)state;
	assert_string_equal(log_quote(SLICE("romeo")), "\"romeo\"");
	assert_string_equal(log_quote(SLICE("")), "\"\"");
	assert_string_equal(log_quote(SLICE_NONE), "none");
	assert_string_equal(log_quote(SLICE("a\"b\\c")), "\"a\\\"b\\\\c\"");
	assert_string_equal(log_quote(SLICE("a\nb\x1b\x7f")), "\"a\\x0ab\\x1b\\x7f\"");
	assert_string_equal(log_quote(SLICE("a\0b")), "\"a\\x00b\"");
	assert_string_equal(log_quote(SLICE("J\xc3\xbcrgen")), "\"J\xc3\xbcrgen\"");
	/* invalid, cut short, a surrogate, and what turns the direction of a line */
	assert_string_equal(log_quote(SLICE("\xff\xc3")), "\"\\xff\\xc3\"");
	assert_string_equal(log_quote(SLICE("\xed\xa0\x80")), "\"\\xed\\xa0\\x80\"");
	assert_string_equal(log_quote(SLICE("\xe2\x80\xae")), "\"\\xe2\\x80\\xae\"");
	memset(long_text, 0x01, sizeof long_text);
	assert_int_equal(strlen(log_quote(slice_of(long_text, 300))), 200 * 4 + 2 + 3);
	memset(long_text, 'a', sizeof long_text);
	assert_int_equal(strlen(log_quote(slice_of(long_text, 300))), 200 + 2 + 3);
	assert_int_equal(strlen(log_quote(slice_of(long_text, 200))), 200 + 2);
	memcpy(long_text + 199, "\xc3\xbc", 2);
	assert_int_equal(strlen(log_quote(slice_of(long_text, 201))), 199 + 2 + 3);
	first = log_quote(SLICE("one"));
	again = log_quote(SLICE("two"));
	assert_string_equal(first, "\"one\"");
	assert_string_equal(again, "\"two\"");
}

/* Catches what a log call writes. */
static size_t
caught(enum log_level level, const char *text, char *out, size_t room)
{
	int pipes[2], saved = dup(STDERR_FILENO);
	ssize_t len;

	assert_int_equal(pipe(pipes), 0);
	assert_int_equal(write(pipes[1], "", 1), 1);
	assert_true(dup2(pipes[1], STDERR_FILENO) >= 0);
	log_line(level, "test line", "text=%s", text);
	assert_true(dup2(saved, STDERR_FILENO) >= 0);
	len = read(pipes[0], out, room);
	close(pipes[0]);
	close(pipes[1]);
	close(saved);
	assert_true(len >= 1);
	memmove(out, out + 1, (size_t)len - 1);
	return (size_t)len - 1;
}

static void
test_log_line(void **state)
{
	static char long_text[5000], out[8192];
	enum log_level level;
	size_t len;

	(void)state;
	len = caught(LOG_LEVEL_WARN, "a\nfake: line", out, sizeof out);
	assert_true(slice_is(slice_of(out, len), "warn: test line text=a fake: line\n"));
	memset(long_text, 'x', sizeof long_text - 1);
	len = caught(LOG_LEVEL_ERROR, long_text, out, sizeof out);
	assert_true(len <= 2048 && out[len - 1] == '\n' && out[len - 2] == 'x');
	assert_int_equal(caught(LOG_LEVEL_DEBUG, "x", out, sizeof out), 0);
	assert_int_equal(log_level_of(SLICE("debug"), &level), OK);
	log_set_level(level);
	assert_true(caught(LOG_LEVEL_DEBUG, "x", out, sizeof out) > 0);
	log_set_level(LOG_LEVEL_INFO);
	assert_int_equal(log_level_of(SLICE("loud"), &level), E_MALFORMED);
}

static void
test_counters(void **state)
{
	(void)state;
	assert_string_equal(counter_name(COUNTER_frames_in), "frames-in");
	assert_string_equal(counter_name(COUNTER_custody_bytes), "custody-bytes");
	assert_string_equal(counter_help(COUNTER_frames_in), "frames received");
	assert_string_equal(counter_name((enum counter)COUNTER_COUNT), "unknown");
	for (unsigned i = 0; i < COUNTER_COUNT; i++)
		assert_null(strchr(counter_name((enum counter)i), '_'));
	COUNT(commits);
	COUNT_BY(commits, 2);
	assert_int_equal(counters[COUNTER_commits], 3);
	GAUGE(spool, 7);
	assert_int_equal(counters[COUNTER_spool], 7);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_values),
		cmocka_unit_test(test_many_titles),
		cmocka_unit_test(test_lists),
		cmocka_unit_test(test_malformed),
		cmocka_unit_test(test_panics),
		cmocka_unit_test(test_log_quote),
		cmocka_unit_test(test_log_line),
		cmocka_unit_test(test_counters),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
