/*
 * ctl_file.c: files that aldisctl writes for others to read: they appear whole or not at all, and have nothing in
 * them but elements in canonical form.
 *
 * A file is written beside its place and takes that when it is whole and on disk; it is for its owner alone, since
 * what is in it opens accounts. Called by ctl_export.c and ctl_room.c; fails when the disk does.
 */
#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <stdlib.h>
#include <unistd.h>

#include "ctl.h"
#include "error.h"
#include "mem.h"
#include "xmlin.h"

bool
ctl_is_element(struct slice row, const char *within)
{
	struct xmlin in;
	struct xmlin_element element, second;

	xmlin_begin(&in, row, slice_string(within));
	return xmlin_child(&in, &element) && !xmlin_child(&in, &second) && in.error == OK &&
	    element.whole.len == row.len;
}

FILE *
ctl_file_open(const char *path, char **name)
{
	struct buf text = { 0 };
	FILE *file = NULL;
	int fd;

	buf_printf(&text, "%s.XXXXXX", path);
	buf_add_char(&text, '\0');
	*name = mem_string(text.bytes);
	buf_free(&text);
	fd = mkostemp(*name, O_CLOEXEC); /* mode 0600 */
	if (fd >= 0)
		file = fdopen(fd, "w");
	if (file == NULL)
		MEM_FREE(name);
	return file;
}

/* Brings a directory's entries to disk. */
static int
directory_sync(const char *path)
{
	char *copy = mem_string(path);
	int fd = open(dirname(copy), O_RDONLY | O_DIRECTORY | O_CLOEXEC), error = -1;

	free(copy);
	if (fd >= 0) {
		error = fsync(fd);
		close(fd);
	}
	return error;
}

int
ctl_file_close(FILE *file, const char *name, const char *path, int status)
{
	bool failed = ferror(file) != 0 || fflush(file) != 0 || fsync(fileno(file)) != 0;

	failed |= fclose(file) != 0;
	if (status == CTL_OK && !failed)
		failed = rename(name, path) != 0 || directory_sync(path) != 0;
	if (failed && status == CTL_OK) {
		fprintf(stderr, "aldisctl: %s: %s\n", path, strerror(errno));
		status = CTL_FAILED;
	}
	if (status != CTL_OK)
		unlink(name);
	return status;
}
