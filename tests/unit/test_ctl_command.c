/*
 * test_ctl_command.c: what command lines of aldisctl mean, and what it says to those that mean nothing.
 *
 * Links: router/aldisctl
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "ctl.h"
#include "error.h"

static const char answer[] =
    "[{\"command\":\"status\",\"arguments\":\"\",\"help\":\"state of all processes\"},"
    "{\"command\":\"show counters\",\"arguments\":\"\",\"help\":\"what was counted\"},"
    "{\"command\":\"session list\",\"arguments\":\"[JID]\",\"help\":\"sessions\"},"
    "{\"command\":\"session kick\",\"arguments\":\"JID\",\"help\":\"end sessions\"},"
    "{\"command\":\"user add\",\"arguments\":\"JID\",\"help\":\"make an account\"},"
    "{\"command\":\"user addition\",\"arguments\":\"\",\"help\":\"longer\"},"
    "{\"command\":\"user token\",\"arguments\":\"JID PASSWORD\",\"help\":\"with a secret\"},"
    "{\"command\":\"queue\",\"arguments\":\"[JID]\",\"help\":\"a command that others begin with\"},"
    "{\"command\":\"queue list\",\"arguments\":\"[JID]\",\"help\":\"stored messages\"}]";

static struct ctl_table table;
static char said[1024];

static int
table_setup(void **state)
{
	json_t *help = json_loads(answer, 0, NULL);
	int error = ctl_table_read(help, &table);

	(void)state;
	json_decref(help);
	return error;
}

static int
table_teardown(void **state)
{
	(void)state;
	ctl_table_free(&table);
	return 0;
}

/* Matches a line split at spaces; what was said is in said. */
static int
match(const char *line, struct ctl_match *m)
{
	char *copy = strdup(line), *rest = copy, *word, *words[CTL_WORDS_MAX];
	size_t count = 0;
	FILE *out;
	int error;

	memset(said, 0, sizeof said);
	while (count < CTL_WORDS_MAX && (word = strsep(&rest, " ")) != NULL)
		words[count++] = word;
	out = fmemopen(said, sizeof said - 1, "w");
	error = ctl_table_match(&table, words, count, m, out);
	fclose(out);
	free(copy);
	return error;
}

static void
assert_match(const char *line, const char *name, size_t used, bool secret)
{
	struct ctl_match m;

	assert_int_equal(match(line, &m), OK);
	assert_string_equal(m.command->name, name);
	assert_int_equal(m.used, used);
	assert_int_equal(m.secret, secret);
	assert_string_equal(said, "");
}

static void
assert_refused(const char *line, int error, const char *text)
{
	struct ctl_match m;

	assert_int_equal(match(line, &m), error);
	if (strstr(said, text) == NULL)
		fail_msg("\"%s\" says \"%s\", not \"%s\"", line, said, text);
}

static void
test_whole_words(void **state)
{
	(void)state;
	assert_match("status", "status", 1, false);
	assert_match("show counters", "show counters", 2, false);
	assert_match("session list", "session list", 2, false);
	assert_match("session list juliet@localhost", "session list", 2, false);
	assert_match("user import -", "user import", 2, false);
}

static void
test_prefixes(void **state)
{
	(void)state;
	assert_match("st", "status", 1, false);
	assert_match("sh c", "show counters", 2, false);
	assert_match("se k juliet@localhost/x", "session kick", 2, false);
	assert_match("us t j@h", "user token", 2, true);
}

static void
test_equal_word_wins(void **state)
{
	(void)state;
	assert_match("user add j@h", "user add", 2, true);
	assert_match("user additi", "user addition", 2, false);
}

static void
test_command_within_command(void **state)
{
	(void)state;
	assert_match("queue", "queue", 1, false);
	assert_match("queue romeo@localhost", "queue", 1, false);
	assert_match("queue list", "queue list", 2, false);
}

static void
test_ambiguous(void **state)
{
	(void)state;
	assert_refused("s", E_NOT_FOUND, "possibilities are: session, show, status\n");
	assert_refused("user", E_NOT_FOUND, "possibilities are: add, addition, import, token\n");
	assert_refused("user x", E_NOT_FOUND, "possibilities are: add, addition, import, token\n");
}

static void
test_unknown(void **state)
{
	(void)state;
	assert_refused("frobnicate", E_NOT_FOUND, "unknown command: frobnicate\npossibilities are: account");
	assert_refused("", E_NOT_FOUND, "possibilities are:");
	assert_refused("user \033[2J", E_NOT_FOUND, "\\u{1b}[2J");
}

static void
test_arguments(void **state)
{
	(void)state;
	assert_refused("status now", E_MISMATCH, "usage: aldisctl status\n");
	assert_refused("session kick", E_MISMATCH, "usage: aldisctl session kick JID\n");
	assert_refused("session list a b", E_MISMATCH, "usage: aldisctl session list [JID]\n");
}

/* Other users see command lines: a password there is refused, not used. */
static void
test_password_on_command_line(void **state)
{
	(void)state;
	assert_refused("user add j@h secret", E_MISMATCH, "standard input");
	assert_refused("user token j@h secret", E_MISMATCH, "usage: aldisctl user token JID\n");
	assert_match("user token j@h", "user token", 2, true);
}

static void
test_malformed_help(void **state)
{
	static const char *const bad[] = { "{}", "[1]", "[{\"command\":\"\"}]",
		"[{\"command\":\"a b c d e\"}]", "[{\"command\":7}]" };
	struct ctl_table other;
	size_t i;

	(void)state;
	for (i = 0; i < sizeof bad / sizeof bad[0]; i++) {
		json_t *help = json_loads(bad[i], 0, NULL);

		assert_non_null(help);
		assert_int_equal(ctl_table_read(help, &other), E_MALFORMED);
		json_decref(help);
	}
	assert_int_equal(ctl_table_read(NULL, &other), OK);
	assert_int_equal(other.count, 6);
	ctl_table_free(&other);
}

static void
test_import_lines(void **state)
{
	struct slice jid, password;

	(void)state;
	assert_int_equal(ctl_import_line(SLICE("j@h  two words \r\n"), &jid, &password), OK);
	assert_true(slice_is(jid, "j@h"));
	assert_true(slice_is(password, "two words "));
	assert_int_equal(ctl_import_line(SLICE("j@h\tx"), &jid, &password), OK);
	assert_true(slice_is(password, "x"));
	assert_int_equal(ctl_import_line(SLICE("\n"), &jid, &password), E_NOT_FOUND);
	assert_int_equal(ctl_import_line(SLICE("# j@h x\n"), &jid, &password), E_NOT_FOUND);
	assert_int_equal(ctl_import_line(SLICE("j@h\n"), &jid, &password), E_MALFORMED);
	assert_int_equal(ctl_import_line(SLICE(" j@h x\n"), &jid, &password), E_MALFORMED);
	assert_int_equal(ctl_import_line(slice_of("j@h a\0b", 7), &jid, &password), E_MALFORMED);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_whole_words),
		cmocka_unit_test(test_prefixes),
		cmocka_unit_test(test_equal_word_wins),
		cmocka_unit_test(test_command_within_command),
		cmocka_unit_test(test_ambiguous),
		cmocka_unit_test(test_unknown),
		cmocka_unit_test(test_arguments),
		cmocka_unit_test(test_password_on_command_line),
		cmocka_unit_test(test_malformed_help),
		cmocka_unit_test(test_import_lines),
	};

	return cmocka_run_group_tests_name("ctl_command", tests, table_setup, table_teardown);
}
