/*
 * test_bind.c: what a bind request may say (RFC 6120 section 7).
 *
 * Links: c2sd
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "c2sd.h"
#include "error.h"
#include "ns.h"

#define BIND(inner) "<bind xmlns='" NS_BIND "'>" inner "</bind>"

/* Reads a request with this payload; wanted: NULL for none. */
static void
accepts(const char *payload, const char *wanted)
{
	struct xml_element element = { .payload = slice_string(payload) };
	char prepared[JID_PART_MAX + 1];
	struct buf scratch = { 0 };
	struct slice resource;

	assert_int_equal(bind_resource(&element, &scratch, prepared, &resource), OK);
	assert_true(wanted == NULL ? resource.ptr == NULL : slice_is(resource, wanted));
	buf_free(&scratch);
}

static void
refuses(const char *payload)
{
	struct xml_element element = { .payload = slice_string(payload) };
	char prepared[JID_PART_MAX + 1];
	struct buf scratch = { 0 };
	struct slice resource;

	assert_int_not_equal(bind_resource(&element, &scratch, prepared, &resource), OK);
	buf_free(&scratch);
}

static void
test_resource(void **unused)
{
	(void)unused;
	accepts("<bind xmlns='" NS_BIND "'/>", NULL);
	accepts(BIND("<resource/>"), NULL);
	accepts(BIND("<resource>balcony</resource>"), "balcony");
	accepts(BIND("<resource>a &amp; b</resource>"), "a & b");
	accepts(BIND(" <resource>x</resource> "), "x");
}

static void
test_refused(void **unused)
{
	(void)unused;
	refuses(BIND("<resource>a<b/>c</resource>"));
	refuses(BIND("<resource><b/></resource>"));
	refuses(BIND("<resource>a</resource><resource>b</resource>"));
	refuses(BIND("<resource xmlns='other'>a</resource>"));
	refuses(BIND("<jid>a@b/c</jid>"));
	refuses(BIND("<resource>\xef\xbf\xbe</resource>"));
	refuses("<session xmlns='" NS_SESSION "'/>");
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_resource), cmocka_unit_test(test_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
