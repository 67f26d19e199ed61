/*
 * serverinfo.c: the contact addresses of each domain (XEP-0157), a data form in its service
 * discovery (XEP-0128).
 *
 * They are options of a domain, taken at the start and while the router runs; that they are URIs
 * was checked where the file was read. Cannot fail.
 */
#include "router.h"

#include <stdlib.h>

#include "mem.h"
#include "ns.h"
#include "xmlout.h"

/* Options, and the fields that they become: in the order that entity capabilities want. */
static const struct {
	const char *option, *field;
} fields[] = {
	{ "contact-abuse", "abuse-addresses" },
	{ "contact-admin", "admin-addresses" },
	{ "contact-feedback", "feedback-addresses" },
	{ "contact-sales", "sales-addresses" },
	{ "contact-security", "security-addresses" },
	{ "contact-status", "status-addresses" },
	{ "contact-support", "support-addresses" },
};

#define FIELDS (sizeof fields / sizeof fields[0])

/* The addresses of a domain that has any. */
struct info {
	char *domain;
	char **texts; /* of all fields, in their order, sorted within each */
	size_t counts[FIELDS];
	size_t total;
};

static struct map *infos; /* by domain */

static void
info_free(struct info *info)
{
	size_t i;

	for (i = 0; i < info->total; i++)
		free(info->texts[i]);
	free(info->texts);
	free(info->domain);
	free(info);
}

static int
text_order(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

static void
field_read(struct info *info, const struct config *config, size_t field)
{
	struct slice value;

	while (config_list(config, "domain", info->domain, fields[field].option,
	    info->counts[field], &value)) {
		info->texts = mem_grow(info->texts, (info->total + 1) * sizeof *info->texts);
		info->texts[info->total++] = slice_dup(value);
		info->counts[field]++;
	}
	if (info->counts[field] > 1)
		qsort(info->texts + info->total - info->counts[field], info->counts[field],
		    sizeof *info->texts, text_order);
}

void
serverinfo_configure(const struct config *config)
{
	struct slice title;
	struct info *info;
	size_t i, field, at = 0;

	while (infos != NULL && (info = map_each(infos, &at)) != NULL)
		info_free(info);
	map_free(&infos);
	infos = map_new();
	for (i = 0; config_title(config, "domain", i, &title); i++) {
		info = mem_alloc(sizeof *info);
		info->domain = slice_dup(title);
		for (field = 0; field < FIELDS; field++)
			field_read(info, config, field);
		if (info->total != 0)
			map_put(infos, slice_string(info->domain), info);
		else
			info_free(info);
	}
}

void
serverinfo_add(struct slice domain, struct buf *out)
{
	const struct info *info = map_get(infos, domain);
	size_t field, i, at = 0;

	if (info == NULL)
		return;
	buf_add_string(out, "<x xmlns='" NS_DATA "' type='result'><field var='FORM_TYPE' type='hidden'>"
	    "<value>" NS_SERVERINFO "</value></field>");
	for (field = 0; field < FIELDS; field++) {
		if (info->counts[field] == 0)
			continue;
		buf_printf(out, "<field var='%s' type='list-multi'>", fields[field].field);
		for (i = 0; i < info->counts[field]; i++)
			xml_add_element(out, "value", slice_string(info->texts[at++]));
		buf_add_string(out, "</field>");
	}
	buf_add_string(out, "</x>");
}

void
serverinfo_ver(struct slice domain, struct buf *out)
{
	const struct info *info = map_get(infos, domain);
	size_t field, i, at = 0;

	if (info == NULL)
		return;
	buf_add_string(out, NS_SERVERINFO "<");
	for (field = 0; field < FIELDS; field++) {
		if (info->counts[field] != 0)
			buf_printf(out, "%s<", fields[field].field);
		for (i = 0; i < info->counts[field]; i++)
			buf_printf(out, "%s<", info->texts[at++]);
	}
}
