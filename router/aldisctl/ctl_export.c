/*
 * ctl_export.c: writes accounts into a file in the format of XEP-0227, a page at a time.
 *
 * Called by main.c. The daemons give elements, the form of the file is made here. Fails when the suite or
 * the disk does.
 */
#include <errno.h>
#include <stdlib.h>

#include "ctl.h"
#include "error.h"
#include "jid.h"
#include "mem.h"
#include "ns.h"
#include "xmlin.h"
#include "xmlout.h"

/* The parts of an account in the order of the schema: what they are called by the daemon that has them,
 * and what stands around their elements in the file. */
static const struct part {
	const char *words[2];   /* of the command, before and behind the account */
	const char *name;
	const char *before, *after;
	const char *within;     /* namespace that the elements are in */
} parts[] = {
	{ { "export", "messages" }, "spool", "<offline-messages>", "</offline-messages>\n", NS_PIE },
	{ { "export", "part" }, "credentials", "", "", NS_PIE },
	{ { "export", "part" }, "roster", "<query xmlns='" NS_ROSTER "'>", "</query>\n", NS_ROSTER },
	{ { "export", "part" }, "requests", "", "", NS_PIE },
	{ { "export", "part" }, "vcard", "", "", NS_PIE },
	{ { "export", "part" }, "private", "<query xmlns='" NS_PRIVATE "'>", "</query>\n", NS_PRIVATE },
	{ { "export", "part" }, "blocks", "<query xmlns='" NS_PRIVACY "'><default name='blocked'/>"
	    "<list name='blocked'>", "</list></query>\n", NS_PRIVACY },
	{ { "export", "messages" }, "archive", "<archive xmlns='" NS_PIE_MAM "'>\n", "</archive>\n",
	    NS_PIE_MAM },
};

struct export {
	struct ctl_socket *ctl;
	FILE *file;
	uint64_t accounts, messages;
	bool gone;  /* the account of which a page was asked is not there any more */
};

/* Asks; what is refused is said. */
static int
ask(struct export *ex, const char *const *words, size_t count, json_t **value)
{
	char *why;
	int error = ctl_transfer(ex->ctl, words, count, SLICE_NONE, value, &why);

	ex->gone = error == E_NOT_FOUND;
	if (why != NULL && !ex->gone) {
		fprintf(stderr, "aldisctl: ");
		ctl_print_text(slice_string(why), stderr);
		fprintf(stderr, "\n");
	}
	free(why);
	return error;
}

static void
text_write(struct export *ex, struct slice text)
{
	fwrite(text.ptr, 1, text.len, ex->file);
}

/* Writes the rows of a page. Returns 0 or E_MALFORMED. */
static int
rows_write(struct export *ex, const struct part *part, const json_t *page, uint64_t *written)
{
	const json_t *row;
	size_t i;

	json_array_foreach(json_object_get(page, "rows"), i, row) {
		struct slice text = slice_of(json_string_value(row), json_string_length(row));

		if (text.ptr == NULL || !ctl_is_element(text, part->within)) {
			fprintf(stderr, "aldisctl: an element of part %s is malformed\n", part->name);
			return E_MALFORMED;
		}
		if ((*written)++ == 0)
			fputs(part->before, ex->file);
		text_write(ex, text);
		fputc('\n', ex->file);
	}
	return OK;
}

/* Writes one part, page by page. */
static int
part_write(struct export *ex, const struct part *part, const char *jid)
{
	const char *words[] = { part->words[0], part->words[1], jid, part->name, NULL };
	uint64_t written = 0;
	char *next = NULL;
	json_t *page;
	int error;

	do {
		words[4] = next;
		error = ask(ex, words, next != NULL ? 5 : 4, &page);
		MEM_FREE(&next);
		if (error)
			break;
		error = rows_write(ex, part, page, &written);
		if (json_is_string(json_object_get(page, "next")))
			next = mem_string(json_string_value(json_object_get(page, "next")));
		json_decref(page);
		if (!error && ferror(ex->file)) {
			fprintf(stderr, "aldisctl: not written: %s\n", strerror(errno));
			error = E_SYSTEM;
		}
	} while (!error && next != NULL);
	free(next);
	if (written != 0)
		fputs(part->after, ex->file);
	if (strcmp(part->words[1], "messages") == 0)
		ex->messages += written;
	return error;
}

/* Writes an account; one that is deleted meanwhile ends with what was written. */
static int
account_write(struct export *ex, const char *jid)
{
	struct buf tag = { 0 };
	struct jid parts_of;
	size_t i;
	int error = OK;

	jid_split(slice_string(jid), &parts_of);
	buf_add_string(&tag, "<user");
	xml_add_attribute(&tag, "name", parts_of.local);
	buf_add_string(&tag, ">\n");
	text_write(ex, buf_slice(&tag));
	buf_free(&tag);
	for (i = 0; i < sizeof parts / sizeof parts[0] && !error; i++)
		error = part_write(ex, &parts[i], jid);
	fputs("</user>\n", ex->file);
	if (error == E_NOT_FOUND) {
		fprintf(stderr, "aldisctl: an account was deleted while it was exported\n");
		return OK;
	}
	ex->accounts += error == OK;
	return error;
}

/* Writes the accounts of a page. */
static int
page_write(struct export *ex, const json_t *page)
{
	const json_t *row;
	int error = OK;
	size_t i;

	json_array_foreach(json_object_get(page, "rows"), i, row) {
		if (!json_is_string(row))
			return E_MALFORMED;
		error = account_write(ex, json_string_value(row));
		if (error)
			break;
	}
	return error;
}

static int
domain_write(struct export *ex, const char *domain, const char *only)
{
	const char *words[] = { "export", "accounts", domain, NULL };
	struct buf tag = { 0 };
	char *next = NULL;
	json_t *page;
	int error = OK;

	buf_add_string(&tag, "<host");
	xml_add_attribute(&tag, "jid", slice_string(domain));
	buf_add_string(&tag, ">\n");
	text_write(ex, buf_slice(&tag));
	buf_free(&tag);
	if (only != NULL) {
		error = account_write(ex, only);
	} else {
		do {
			words[3] = next;
			error = ask(ex, words, next != NULL ? 4 : 3, &page);
			MEM_FREE(&next);
			if (error)
				break;
			error = page_write(ex, page);
			if (json_is_string(json_object_get(page, "next")))
				next = mem_string(json_string_value(json_object_get(page, "next")));
			json_decref(page);
		} while (!error && next != NULL);
		free(next);
	}
	fputs("</host>\n", ex->file);
	return error;
}

/* Prepares what is to be exported: a domain, and perhaps one account. Returns an exit code. */
static int
which_read(struct export *ex, const char *which, char out[JID_MAX + 1], char **domain,
    const char **only)
{
	const char *words[] = { "export", "part", out, "credentials" };
	struct jid jid;
	json_t *page;
	char *why;
	int error;

	if (jid_prepare(slice_string(which), out, &jid) != OK || jid.resource.ptr != NULL) {
		fprintf(stderr, "aldisctl: neither an account nor a domain: ");
		ctl_print_text(slice_string(which), stderr);
		fprintf(stderr, "\n");
		return CTL_USAGE;
	}
	*domain = slice_dup(jid.domain);
	if (jid.local.ptr == NULL)
		return CTL_OK;
	*only = out;
	error = ctl_transfer(ex->ctl, words, 4, SLICE_NONE, &page, &why);
	json_decref(page);
	if (why != NULL)
		fprintf(stderr, "aldisctl: %s\n", why);
	free(why);
	return error ? CTL_FAILED : CTL_OK;
}

/* Writes the whole document. */
static int
document_write(struct export *ex, const char *which)
{
	static const char *const words[] = { "export", "domains" };
	char out[JID_MAX + 1], *domain = NULL;
	const char *only = NULL;
	json_t *domains = NULL;
	const json_t *name;
	int error, status;
	size_t i;

	status = which != NULL ? which_read(ex, which, out, &domain, &only) : CTL_OK;
	if (status != CTL_OK) {
		free(domain);
		return status;
	}
	error = ask(ex, words, 2, &domains);
	fputs("<?xml version='1.0' encoding='UTF-8'?>\n<server-data xmlns='" NS_PIE "'>\n", ex->file);
	if (!error && domain != NULL) {
		error = domain_write(ex, domain, only);
	} else if (!error) {
		json_array_foreach(domains, i, name) {
			error = json_is_string(name) ? domain_write(ex, json_string_value(name), NULL) :
			    E_MALFORMED;
			if (error)
				break;
		}
	}
	fputs("</server-data>\n", ex->file);
	if (error == E_NOT_FOUND)
		fprintf(stderr, "aldisctl: no such domain here\n");
	json_decref(domains);
	free(domain);
	return error ? CTL_FAILED : CTL_OK;
}

int
ctl_export(struct ctl_socket *ctl, const char *path, const char *which, json_t **result)
{
	struct export ex = { .ctl = ctl, .file = stdout };
	bool standard = strcmp(path, "-") == 0;
	char *name = NULL;
	int status;

	*result = NULL;
	if (!standard)
		ex.file = ctl_file_open(path, &name);
	if (ex.file == NULL) {
		fprintf(stderr, "aldisctl: %s: %s\n", path, strerror(errno));
		return CTL_FAILED;
	}
	status = document_write(&ex, which);
	if (!standard)
		status = ctl_file_close(ex.file, name, path, status);
	free(name);
	if (!standard && status == CTL_OK)
		*result = json_pack("{s:I, s:I}", "accounts", (json_int_t)ex.accounts, "messages",
		    (json_int_t)ex.messages);
	return status;
}
