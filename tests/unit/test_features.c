/*
 * test_features.c: what a stream offers in each phase.
 *
 * Links: c2sd
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "c2sd.h"
#include "ns.h"

static const struct feature_limits limits = { 1000, 60 };
static char version[FEATURES_VERSION + 1]; /* of the last */

static char *
login(const char *mechanisms, unsigned bindings, bool registration)
{
	struct buf out = { 0 };
	char *text;

	const struct feature_login offer = {
		.mechanisms = slice_string(mechanisms),
		.fast = SLICE(" HT-SHA-256-EXPR HT-SHA-256-UNIQ HT-SHA-256-ENDP HT-SHA-256-NONE"),
		.bindings = bindings,
		.registration = registration,
		.client_state = true,
		.limits = limits,
	};

	features_login(&out, &offer, version);
	text = slice_dup(buf_slice(&out));
	buf_free(&out);
	return text;
}

static void
test_words(void **state)
{
	struct slice list = SLICE("  a  bc d "), word;

	(void)state;
	assert_true(features_word(&list, &word));
	assert_true(slice_is(word, "a"));
	assert_true(features_word(&list, &word));
	assert_true(slice_is(word, "bc"));
	assert_true(features_word(&list, &word));
	assert_true(slice_is(word, "d"));
	assert_false(features_word(&list, &word));
	assert_false(features_word(&list, &word));
}

static void
test_starttls_alone(void **state)
{
	struct buf out = { 0 };

	(void)state;
	features_starttls(&out);
	assert_true(slice_is(buf_slice(&out), "<stream:features><starttls xmlns='" NS_TLS
	    "'><required/></starttls></stream:features>"));
	buf_free(&out);
}

/* -PLUS is offered only with a channel binding, and the bindings are named (XEP-0440). */
static void
test_bindings(void **state)
{
	char *text = login(" SCRAM-SHA-1-PLUS PLAIN", 0, false);

	(void)state;
	assert_null(strstr(text, "PLUS"));
	assert_null(strstr(text, "channel-binding"));
	assert_non_null(strstr(text, "<mechanism>PLAIN</mechanism>"));
	free(text);
	text = login("SCRAM-SHA-1-PLUS PLAIN", BINDING_EXPORTER | BINDING_ENDPOINT, false);
	assert_non_null(strstr(text, "<mechanism>SCRAM-SHA-1-PLUS</mechanism>"));
	assert_non_null(strstr(text, "<channel-binding type='tls-exporter'/>"));
	assert_non_null(strstr(text, "<channel-binding type='tls-server-end-point'/>"));
	assert_null(strstr(text, "tls-unique"));
	free(text);
}

/* XEP-0388: not without a mechanism. */
static void
test_authentication(void **state)
{
	char *text = login("SCRAM-SHA-1-PLUS PLAIN", 0, false);

	(void)state;
	assert_non_null(strstr(text, "<authentication xmlns='" NS_SASL2 "'>"
	    "<mechanism>PLAIN</mechanism><inline>"));
	assert_non_null(strstr(text, "<bind xmlns='" NS_BIND2 "'><inline><feature var='" NS_CARBONS
	    "'/><feature var='" NS_CSI "'/><feature var='" NS_SM "'/>"));
	free(text);
	text = login("SCRAM-SHA-1-PLUS", 0, false);
	assert_null(strstr(text, "authentication"));
	free(text);
}

/* XEP-0484: those whose channel binding is there. */
static void
test_fast(void **state)
{
	char *text = login("PLAIN", BINDING_EXPORTER | BINDING_ENDPOINT, false);

	(void)state;
	assert_non_null(strstr(text, "<fast xmlns='" NS_FAST "'><mechanism>HT-SHA-256-EXPR</mechanism>"
	    "<mechanism>HT-SHA-256-ENDP</mechanism><mechanism>HT-SHA-256-NONE</mechanism></fast>"
	    "</inline></authentication>"));
	assert_null(strstr(text, "upgrade"));
	free(text);
	text = login("PLAIN", 0, false);
	assert_non_null(strstr(text, "<fast xmlns='" NS_FAST "'><mechanism>HT-SHA-256-NONE</mechanism>"
	    "</fast>"));
	free(text);
	assert_true(features_fast_fits(SLICE("HT-SHA-256-UNIQ"), BINDING_UNIQUE));
	assert_false(features_fast_fits(SLICE("HT-SHA-256-UNIQ"), BINDING_EXPORTER));
	assert_false(features_fast_fits(SLICE("HT-SHA-256"), BINDING_EXPORTER));
	assert_false(features_fast_fits(SLICE("-EXPR"), BINDING_EXPORTER));
}

/* XEP-0509: the same for the same, and another for anything else. */
static void
test_version(void **state)
{
	char *text = login("PLAIN", BINDING_EXPORTER, false), first[FEATURES_VERSION + 1];

	(void)state;
	memcpy(first, version, sizeof first);
	assert_non_null(strstr(text, version));
	assert_int_equal(strlen(version), FEATURES_VERSION);
	free(text);
	free(login("PLAIN", BINDING_EXPORTER, false));
	assert_string_equal(version, first);
	free(login("PLAIN", BINDING_EXPORTER, true));
	assert_string_not_equal(version, first);
	free(login("PLAIN", BINDING_ENDPOINT, false));
	assert_string_not_equal(version, first);
}

/* XEP-0480: tasks for what is offered. */
static void
test_upgrades(void **state)
{
	char *text = login("SCRAM-SHA-512-PLUS SCRAM-SHA-256 SCRAM-SHA-1", 0, false);

	(void)state;
	assert_non_null(strstr(text, "</inline><upgrade xmlns='" NS_UPGRADE "'>UPGR-SCRAM-SHA-512"
	    "</upgrade><upgrade xmlns='" NS_UPGRADE "'>UPGR-SCRAM-SHA-256</upgrade>"
	    "</authentication>"));
	free(text);
	text = login("SCRAM-SHA-256 SCRAM-SHA-1", 0, false);
	assert_null(strstr(text, "UPGR-SCRAM-SHA-512"));
	free(text);
}

/* What authd is told was offered: the same. */
static void
test_offered(void **state)
{
	struct buf out = { 0 };

	(void)state;
	features_offered(&out, SLICE(" SCRAM-SHA-1-PLUS PLAIN"), 0);
	assert_true(slice_equal(buf_slice(&out), SLICE("PLAIN ")));
	buf_clear(&out);
	features_offered(&out, SLICE("SCRAM-SHA-1-PLUS PLAIN"), BINDING_EXPORTER);
	assert_true(slice_equal(buf_slice(&out), SLICE("SCRAM-SHA-1-PLUS PLAIN \ntls-exporter ")));
	buf_free(&out);
}

static void
test_registration(void **state)
{
	char *text = login("PLAIN", 0, true);

	(void)state;
	assert_non_null(strstr(text, "<register xmlns='" NS_REGISTER_FEATURE "'/>"));
	free(text);
	text = login("PLAIN", 0, false);
	assert_null(strstr(text, "register"));
	free(text);
}

static void
test_bound(void **state)
{
	struct buf out = { 0 };
	char *text;

	(void)state;
	features_bound(&out, true, SLICE_NONE, &limits, true);
	text = slice_dup(buf_slice(&out));
	assert_null(strstr(text, NS_BIND));
	assert_non_null(strstr(text, "<sm xmlns='" NS_SM "'/>"));
	free(text);
	buf_clear(&out);
	features_bound(&out, false, SLICE_NONE, &limits, true);
	text = slice_dup(buf_slice(&out));
	assert_non_null(strstr(text, "<bind xmlns='" NS_BIND "'/>"));
	assert_non_null(strstr(text, "<sm xmlns='" NS_SM "'/>"));
	assert_non_null(strstr(text, "<ver xmlns='" NS_ROSTERVER "'/>"));
	assert_non_null(strstr(text, "<sub xmlns='" NS_PREAPPROVE "'/>"));
	assert_non_null(strstr(text, "<csi xmlns='" NS_CSI "'/>"));
	free(text);
	buf_clear(&out);
	features_bound(&out, false, SLICE_NONE, &limits, false);
	text = slice_dup(buf_slice(&out));
	assert_null(strstr(text, NS_CSI));
	free(text);
	buf_free(&out);
}

/* Entity capabilities (XEP-0115 section 6.3). */
static void
test_caps(void **state)
{
	struct buf out = { 0 };
	char *text;

	(void)state;
	features_bound(&out, false, SLICE("q07IKJEyjvHSyhy//CH0CxmKi8w="), &limits, true);
	text = slice_dup(buf_slice(&out));
	assert_non_null(strstr(text, "<c xmlns='" NS_CAPS "' hash='sha-1' node='" CAPS_NODE
	    "' ver='q07IKJEyjvHSyhy//CH0CxmKi8w='/><limits xmlns='" NS_LIMITS "'><max-bytes>1000</max-bytes>"
	    "<idle-seconds>60</idle-seconds></limits></stream:features>"));
	free(text);
	buf_free(&out);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_words),
		cmocka_unit_test(test_starttls_alone),
		cmocka_unit_test(test_bindings),
		cmocka_unit_test(test_authentication),
		cmocka_unit_test(test_fast),
		cmocka_unit_test(test_upgrades),
		cmocka_unit_test(test_version),
		cmocka_unit_test(test_offered),
		cmocka_unit_test(test_registration),
		cmocka_unit_test(test_bound),
		cmocka_unit_test(test_caps),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
