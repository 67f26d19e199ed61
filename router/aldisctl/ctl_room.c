/*
 * ctl_room.c: writes a room into a file: its configuration as a form that could be submitted (muc#roomconfig), its
 * affiliations as items of muc#admin, its hats as forms, and its messages as its archive has them, with who has sent each.
 *
 * Called by main.c. mucd gives the state, archived the messages, a page at a time; the form of the file is made
 * here. Fails when the suite or the disk does.
 */
#include <errno.h>
#include <stdlib.h>

#include "ctl.h"
#include "error.h"
#include "jid.h"
#include "mem.h"
#include "ns.h"
#include "xmlout.h"

/* Writes a page of rows; *written counts them. Returns 0 or E_MALFORMED. */
static int
rows_write(FILE *file, const json_t *page, const char *within, const char *before, uint64_t *written)
{
	const json_t *row;
	size_t i;

	json_array_foreach(json_object_get(page, "rows"), i, row) {
		struct slice text = slice_of(json_string_value(row), json_string_length(row));

		if (text.ptr == NULL || !ctl_is_element(text, within)) {
			fprintf(stderr, "aldisctl: an element of the room is malformed\n");
			return E_MALFORMED;
		}
		if ((*written)++ == 0)
			fputs(before, file);
		fwrite(text.ptr, 1, text.len, file);
		fputc('\n', file);
	}
	return OK;
}

/* Writes what a command has to say, page by page. */
static int
pages_write(struct ctl_socket *ctl, FILE *file, const char *const *words, const char *within, const char *before,
    uint64_t *written)
{
	const char *asked[] = { words[0], words[1], words[2], NULL };
	char *next = NULL, *why;
	json_t *page;
	int error;

	do {
		asked[3] = next;
		error = ctl_transfer(ctl, asked, next != NULL ? 4 : 3, SLICE_NONE, &page, &why);
		MEM_FREE(&next);
		if (why != NULL) {
			fprintf(stderr, "aldisctl: ");
			ctl_print_text(slice_string(why), stderr);
			fprintf(stderr, "\n");
		}
		free(why);
		if (error)
			break;
		error = rows_write(file, page, within, before, written);
		if (json_is_string(json_object_get(page, "next")))
			next = mem_string(json_string_value(json_object_get(page, "next")));
		json_decref(page);
		if (!error && ferror(file)) {
			fprintf(stderr, "aldisctl: not written: %s\n", strerror(errno));
			error = E_SYSTEM;
		}
	} while (!error && next != NULL);
	free(next);
	return error;
}

static int
room_write(struct ctl_socket *ctl, FILE *file, const char *room, uint64_t *messages)
{
	const char *state[] = { "room", "state", room }, *archive[] = { "room", "messages", room };
	struct buf tag = { 0 };
	uint64_t elements = 0;
	int error;

	xml_open(&tag, "room", SLICE(NS_ROOM_FILE));
	xml_add_attribute(&tag, "jid", slice_string(room));
	buf_add_string(&tag, ">\n");
	fputs("<?xml version='1.0' encoding='UTF-8'?>\n", file);
	fwrite(buf_slice(&tag).ptr, 1, buf_len(&tag), file);
	buf_free(&tag);
	error = pages_write(ctl, file, state, NS_ROOM_FILE, "", &elements);
	if (error)
		return error;
	error = pages_write(ctl, file, archive, NS_PIE_MAM, "<archive xmlns='" NS_PIE_MAM "'>\n", messages);
	if (*messages != 0)
		fputs("</archive>\n", file);
	fputs("</room>\n", file);
	return error;
}

int
ctl_room_export(struct ctl_socket *ctl, const char *room, const char *path, json_t **result)
{
	bool standard = path == NULL || strcmp(path, "-") == 0;
	FILE *file = stdout;
	char out[JID_MAX + 1], *name = NULL;
	uint64_t messages = 0;
	struct jid jid;
	int status;

	*result = NULL;
	if (jid_prepare(slice_string(room), out, &jid) != OK || jid.local.ptr == NULL || jid.resource.ptr != NULL) {
		fprintf(stderr, "aldisctl: not a room: ");
		ctl_print_text(slice_string(room), stderr);
		fprintf(stderr, "\n");
		return CTL_USAGE;
	}
	if (!standard)
		file = ctl_file_open(path, &name);
	if (file == NULL) {
		fprintf(stderr, "aldisctl: %s: %s\n", path, strerror(errno));
		return CTL_FAILED;
	}
	status = room_write(ctl, file, out, &messages) == OK ? CTL_OK : CTL_FAILED;
	if (!standard)
		status = ctl_file_close(file, name, path, status);
	free(name);
	if (!standard && status == CTL_OK)
		*result = json_pack("{s:s, s:I}", "room", out, "messages", (json_int_t)messages);
	return status;
}
