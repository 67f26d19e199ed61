/*
 * test_room_form.c: data forms, and the configuration of rooms in them: each field there and back, what is
 * refused, and that what is written is canonical.
 *
 * Links: mucd/form.c mucd/setting.c mucd/owner.c mucd/admin.c mucd/privilege_change.c mucd/privilege.c mucd/hat.c
 */
#include "room_world.h"

#define FORM(content) "<x xmlns='" NS_DATA "' type='submit'>" content "</x>"

static void
expect_form(const char *payload, int error)
{
	struct form form;

	assert_int_equal(form_read(slice_string(payload), SLICE(NS_CLIENT), NS_MUC_ROOMCONFIG, &form), error);
	form_free(&form);
}

static void
test_forms(void **state)
{
	(void)state;
	expect_form("", E_NOT_FOUND);
	expect_form("<x xmlns='other' type='submit'/>", E_NOT_FOUND);
	expect_form("<x xmlns='" NS_DATA "'/>", E_MALFORMED);
	expect_form("<x xmlns='" NS_DATA "' type='form'/>", E_MALFORMED);
	expect_form("<x xmlns='" NS_DATA "' type='result'/>", E_MALFORMED);
	expect_form("<x xmlns='" NS_DATA "' type='cancel'/>", OK);
	expect_form(FORM("<field/><field var='a'/><field var='b'><value/></field>"), OK);
	expect_form(FORM("<field var='a'/><field var='a'/>"), E_MALFORMED);
	expect_form(FORM("<field var='a'><value><b/></value></field>"), OK);
	expect_form(FORM("<field var='FORM_TYPE'><value>" NS_MUC_ROOMCONFIG "</value></field>"), OK);
	expect_form(FORM("<field var='FORM_TYPE'><value>" NS_MUC_REGISTER "</value></field>"), E_MALFORMED);
	expect_form(FORM("<field var='FORM_TYPE'/>"), E_MALFORMED);
}

static void
test_values(void **state)
{
	struct form form;
	struct slice value;
	struct buf many = { 0 };
	size_t i;

	(void)state;
	assert_int_equal(form_read(SLICE(FORM("<field var='FORM_TYPE'><value>" NS_MUC_ROOMCONFIG "</value></field>"
	    "<field var='a'><value>1 &amp; 2</value><value/><value>x</value></field><field var='b'/>"
	    "<field xmlns='y' var='c'><value>z</value></field>")), SLICE(NS_CLIENT), NS_MUC_ROOMCONFIG, &form), OK);
	assert_false(form.empty);
	assert_true(form_value(&form, SLICE("a"), 0, &value) && slice_is(value, "1 & 2"));
	assert_true(form_value(&form, SLICE("a"), 1, &value) && slice_is(value, ""));
	assert_true(form_value(&form, SLICE("a"), 2, &value) && slice_is(value, "x"));
	assert_false(form_value(&form, SLICE("a"), 3, &value));
	assert_true(form_has(&form, SLICE("b")));
	assert_false(form_value(&form, SLICE("b"), 0, &value));
	assert_false(form_has(&form, SLICE("c")));
	assert_true(form_var(&form, 0, &value) && slice_is(value, "a"));
	assert_true(form_var(&form, 1, &value) && slice_is(value, "b"));
	assert_false(form_var(&form, 2, &value));
	form_free(&form);
	buf_add_string(&many, "<x xmlns='" NS_DATA "' type='submit'>");
	for (i = 0; i < 257; i++)
		buf_printf(&many, "<field var='f%zu'/>", i);
	buf_add_string(&many, "</x>");
	assert_int_equal(form_read(buf_slice(&many), SLICE(NS_CLIENT), NS_MUC_ROOMCONFIG, &form), E_MALFORMED);
	form_free(&form);
	buf_free(&many);
}

/* -- settings -- */

/* Values that a setting takes, and as what they are written again; and values that it refuses. */
static const struct {
	const char *name;
	const char *taken, *written; /* lines */
} good[] = {
	{ "roomname", "A Dark Cave\n", "A Dark Cave\n" }, { "roomname", "", "" },
	{ "roomdesc", "<&' it is\n", "<&' it is\n" },
	{ "lang", "en\n", "en\n" }, { "lang", "zh-Hant-TW\n", "zh-Hant-TW\n" }, { "lang", "\n", "" },
	{ "contactjid", "a@B.test\na@b.test\nc.test\n", "a@b.test\nc.test\n" }, { "contactjid", "", "" },
	{ "pubsub", "xmpp:pubsub.a.test?;node=x\n", "xmpp:pubsub.a.test?;node=x\n" },
	{ "ldapgroup", "cn=witches,dc=a,dc=test\n", "cn=witches,dc=a,dc=test\n" },
	{ "persistentroom", "1\n", "1\n" }, { "persistentroom", "false\n", "0\n" },
	{ "publicroom", "true\n", "1\n" }, { "publicroom", "", "0\n" },
	{ "membersonly", "1\n", "1\n" }, { "moderatedroom", "1\n", "1\n" },
	{ "passwordprotectedroom", "1\n", "1\n" }, { "roomsecret", "cauldronburn\n", "cauldronburn\n" },
	{ "whois", "anyone\n", "anyone\n" }, { "whois", "moderators\n", "moderators\n" },
	{ "maxusers", "none\n", "none\n" }, { "maxusers", "100\n", "100\n" }, { "maxusers", "7\n", "7\n" },
	{ "changesubject", "1\n", "1\n" }, { "allowinvites", "1\n", "1\n" },
	{ "allowpm", "anyone\n", "anyone\n" }, { "allowpm", "participants\n", "participants\n" },
	{ "allowpm", "moderators\n", "moderators\n" }, { "allowpm", "none\n", "none\n" },
	{ "presencebroadcast", "visitor\nmoderator\n", "moderator\nvisitor\n" }, { "presencebroadcast", "", "" },
	{ "getmemberlist", "participant\n", "participant\n" }, { "getmemberlist", "\n", "" },
	{ "enablelogging", "0\n", "0\n" },
	{ "maxhistoryfetch", "10\n", "10\n" }, { "maxhistoryfetch", "\n", "50\n" }, { "maxhistoryfetch", "0\n", "0\n" },
	{ "moderation", "0\n", "0\n" }, { "reservednicks", "1\n", "1\n" },
	{ "roomadmins", "x@a.test\ny@a.test/r\nX@a.test\n", "x@a.test\ny@a.test\n" },
	{ "roomowners", "x@a.test\n", "x@a.test\n" }, { "roomowners", "\n", "" },
}, bad[] = {
	{ "roomname", "a\nb\n", NULL }, { "roomname", "a\x01\n", NULL }, { "roomname", "\xff\n", NULL },
	{ "lang", "e\n\n", NULL }, { "lang", "en_US\n", NULL }, { "lang", "-en\n", NULL }, { "lang", "en-\n", NULL },
	{ "lang", "toolongforatag\n", NULL }, { "lang", "1e\n", NULL },
	{ "contactjid", "@\n", NULL }, { "pubsub", "http://a.test/\n", NULL }, { "pubsub", "xmpp:\n", NULL },
	{ "persistentroom", "yes\n", NULL }, { "persistentroom", "1\n1\n", NULL }, { "publicroom", "2\n", NULL },
	{ "whois", "none\n", NULL }, { "whois", "", NULL }, { "whois", "anyone\nanyone\n", NULL },
	{ "maxusers", "0\n", NULL }, { "maxusers", "101\n", NULL }, { "maxusers", "-1\n", NULL },
	{ "maxusers", "", NULL }, { "maxusers", "ten\n", NULL }, { "maxusers", "99999999999999999999\n", NULL },
	{ "allowpm", "visitors\n", NULL }, { "allowpm", "", NULL },
	{ "presencebroadcast", "owner\n", NULL }, { "getmemberlist", "none\n", NULL },
	{ "maxhistoryfetch", "51\n", NULL }, { "maxhistoryfetch", "x\n", NULL }, { "maxhistoryfetch", "1\n2\n", NULL },
	{ "roomadmins", "a.test\n", NULL }, { "roomowners", "@a.test\n", NULL },
};

static const char *
lines_set(struct settings *s, const char *name, const char *lines)
{
	struct slice rest = slice_string(lines), values[8];
	size_t count = 0;

	while (slice_line(&rest, &values[count]))
		count++;
	return setting_read(setting_find(slice_string(name)), s, values, count);
}

static void
test_settings(void **state)
{
	const struct setting *setting;
	struct settings s;
	size_t i;

	(void)state;
	settings_of(world, &s);
	for (i = 0; i < sizeof good / sizeof good[0]; i++) {
		struct buf lines = { 0 };

		assert_null(lines_set(&s, good[i].name, good[i].taken));
		setting = setting_find(slice_string(good[i].name));
		setting->write(&s, setting, &lines);
		assert_true(slice_is(buf_slice(&lines), good[i].written));
		buf_free(&lines);
	}
	settings_free(&s);
	for (setting = setting_table; setting->name != NULL; setting++) {
		for (i = 0; i < sizeof good / sizeof good[0] && strcmp(good[i].name, setting->name) != 0; i++)
			;
		assert_true(i < sizeof good / sizeof good[0]); /* each is in the table above */
	}
}

/* What is refused leaves what there was. */
static void
test_refused(void **state)
{
	struct settings s;
	size_t i;

	(void)state;
	settings_of(world, &s);
	for (i = 0; i < sizeof bad / sizeof bad[0]; i++) {
		const struct setting *setting = setting_find(slice_string(bad[i].name));
		struct buf before = { 0 }, after = { 0 };

		setting->write(&s, setting, &before);
		if (lines_set(&s, bad[i].name, bad[i].taken) == NULL)
			fail_msg("%s took %s", bad[i].name, bad[i].taken);
		setting->write(&s, setting, &after);
		assert_true(slice_equal(buf_slice(&before), buf_slice(&after)));
		buf_free(&before);
		buf_free(&after);
	}
	settings_free(&s);
}

static void
test_long(void **state)
{
	char text[1100];
	struct slice value = { text, 1024 };
	struct settings s;

	(void)state;
	memset(text, 'x', sizeof text);
	settings_of(world, &s);
	assert_null(setting_read(setting_find(SLICE("roomdesc")), &s, &value, 1));
	value.len = 1025;
	assert_non_null(setting_read(setting_find(SLICE("roomdesc")), &s, &value, 1));
	settings_free(&s);
}

/* The form that the owner gets, given back as it is, changes nothing. */
static void
test_round_trip(void **state)
{
	struct xmlin_element x, field;
	struct buf out = { 0 }, query = { 0 }, address = { 0 };
	struct xmlin in;
	struct frame f;
	char *payload;
	size_t count = 0;

	(void)state;
	form_config(world, &out);
	assert_true(xmlin_valid(buf_slice(&out), SLICE(NS_CLIENT)));
	assert_true(xmlin_find(buf_slice(&out), SLICE(NS_CLIENT), "x", NS_DATA, &x));
	xmlin_begin(&in, x.content, x.ns);
	while (xmlin_child(&in, &field))
		count += slice_is(field.name, "field");
	assert_int_equal(count, 26); /* all of the table, and FORM_TYPE */
	buf_printf(&query, "<query xmlns='" NS_MUC_OWNER "'><x xmlns='" NS_DATA "' type='submit'>%.*s</x></query>",
	    SLICE_ARG(x.content));
	payload = slice_dup(buf_slice(&query));
	f = world_request("owner", TYPE_SET, payload, &address);
	world_enter("owner@a.test", "own", IN_MODERATOR);
	owner_request(world, &f, 1);
	assert_string_equal(heard(), "result\n");
	free(payload);
	buf_free(&out);
	buf_free(&query);
	buf_free(&address);
}

static void
test_info(void **state)
{
	struct buf out = { 0 };
	struct slice text;

	(void)state;
	buf_add_string(&world->subject, "<subject>Spells &amp; more</subject>");
	buf_add_string(&world->config.description, "The place");
	form_info(world, true, &out);
	text = buf_slice(&out);
	assert_true(xmlin_valid(text, SLICE(NS_CLIENT)));
	assert_non_null(memmem(text.ptr, text.len, "<value>Spells &amp; more</value>", 32));
	assert_non_null(memmem(text.ptr, text.len, "<value>The place</value>", 24));
	assert_non_null(memmem(text.ptr, text.len, NS_MUC_ROOMINFO, strlen(NS_MUC_ROOMINFO)));
	assert_null(memmem(text.ptr, text.len, "owner@", 6)); /* addresses are hidden */
	buf_clear(&out);
	world->config.non_anonymous = true;
	form_info(world, true, &out);
	assert_non_null(memmem(buf_slice(&out).ptr, buf_len(&out), "owner@", 6));
	buf_free(&world->subject);
	buf_free(&out);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_forms),
		cmocka_unit_test(test_values),
		cmocka_unit_test_setup_teardown(test_settings, world_setup, world_end),
		cmocka_unit_test_setup_teardown(test_refused, world_setup, world_end),
		cmocka_unit_test_setup_teardown(test_long, world_setup, world_end),
		cmocka_unit_test_setup_teardown(test_round_trip, world_setup, world_end),
		cmocka_unit_test_setup_teardown(test_info, world_setup, world_end),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
