/*
 * textfile.c: how SQLite reaches the two files of the text index: a VFS over descriptors that were
 * opened before the sandbox closed. Called by text.c, and by SQLite. Fails as the disk does.
 *
 * There are the database and its write-ahead log, by two names; nothing else can be opened. Who
 * deletes one empties it, an empty one does not exist. The process has the files for itself, so
 * there are no locks and no shared memory.
 */
#include "archived.h"

#include <errno.h>
#include <fcntl.h>
#include <sqlite3.h>
#include <stdio.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "log.h"

#define PATH_LEN 256
#define AHEAD    (128 << 10) /* bytes written after which the disk gets them */

/* An open file, as SQLite wants it. */
struct textfile {
	sqlite3_file base;
	int fd;
	int written;             /* bytes that the disk was not yet asked to take */
};

static int main_fd = -1, log_fd = -1;

static int
fd_of(sqlite3_file *file)
{
	return ((struct textfile *)(void *)file)->fd;
}

/* -- what is done with a file -- */

static int
file_close(sqlite3_file *file)
{
	(void)file;
	return SQLITE_OK; /* the descriptors stay */
}

static int
file_read(sqlite3_file *file, void *out, int len, sqlite3_int64 offset)
{
	size_t at = 0;

	while (at < (size_t)len) {
		ssize_t got = pread(fd_of(file), (char *)out + at, (size_t)len - at,
		    offset + (off_t)at);

		if (got < 0 && errno != EINTR)
			return SQLITE_IOERR_READ;
		if (got == 0)
			break;
		at += got > 0 ? (size_t)got : 0;
	}
	memset((char *)out + at, 0, (size_t)len - at);
	return at == (size_t)len ? SQLITE_OK : SQLITE_IOERR_SHORT_READ;
}

/*
 * Has the disk take what was written, and waits for it: SQLite syncs megabytes at once, and a commit of messages
 * that comes meanwhile would wait behind all of them.
 */
static void
write_ahead(struct textfile *file, int len)
{
	file->written += len;
	if (file->written < AHEAD)
		return;
	file->written = 0;
	sync_file_range(file->fd, 0, 0, SYNC_FILE_RANGE_WAIT_BEFORE | SYNC_FILE_RANGE_WRITE |
	    SYNC_FILE_RANGE_WAIT_AFTER); /* a file to its end; what it cannot, the sync does */
}

static int
file_write(sqlite3_file *file, const void *bytes, int len, sqlite3_int64 offset)
{
	size_t at = 0;

	while (at < (size_t)len) {
		ssize_t put = pwrite(fd_of(file), (const char *)bytes + at, (size_t)len - at,
		    offset + (off_t)at);

		if (put < 0 && errno != EINTR)
			return errno == ENOSPC || errno == EDQUOT || errno == EFBIG ? SQLITE_FULL :
			    SQLITE_IOERR_WRITE;
		at += put > 0 ? (size_t)put : 0;
	}
	write_ahead((struct textfile *)(void *)file, len);
	return SQLITE_OK;
}

static int
file_truncate(sqlite3_file *file, sqlite3_int64 size)
{
	return ftruncate(fd_of(file), size) == 0 ? SQLITE_OK : SQLITE_IOERR_TRUNCATE;
}

static int
file_sync(sqlite3_file *file, int flags)
{
	(void)flags;
	return fdatasync(fd_of(file)) == 0 ? SQLITE_OK : SQLITE_IOERR_FSYNC;
}

static int
file_size(sqlite3_file *file, sqlite3_int64 *size)
{
	struct stat status;

	if (fstat(fd_of(file), &status) != 0)
		return SQLITE_IOERR_FSTAT;
	*size = status.st_size;
	return SQLITE_OK;
}

static int
file_lock(sqlite3_file *file, int level)
{
	(void)file;
	(void)level;
	return SQLITE_OK;
}

static int
file_reserved(sqlite3_file *file, int *reserved)
{
	(void)file;
	*reserved = 0;
	return SQLITE_OK;
}

static int
file_control(sqlite3_file *file, int what, void *arg)
{
	(void)file;
	(void)what;
	(void)arg;
	return SQLITE_NOTFOUND;
}

static int
file_sector(sqlite3_file *file)
{
	(void)file;
	return 4096;
}

static int
file_characteristics(sqlite3_file *file)
{
	(void)file;
	return SQLITE_IOCAP_POWERSAFE_OVERWRITE;
}

static const sqlite3_io_methods methods = {
	.iVersion = 1,
	.xClose = file_close,
	.xRead = file_read,
	.xWrite = file_write,
	.xTruncate = file_truncate,
	.xSync = file_sync,
	.xFileSize = file_size,
	.xLock = file_lock,
	.xUnlock = file_lock,
	.xCheckReservedLock = file_reserved,
	.xFileControl = file_control,
	.xSectorSize = file_sector,
	.xDeviceCharacteristics = file_characteristics,
};

/* -- the two files -- */

/* The descriptor of a name, -1: there is no such file. */
static int
fd_named(const char *name)
{
	if (name == NULL)
		return -1;
	if (strcmp(name, TEXTFILE_NAME) == 0)
		return main_fd;
	return strcmp(name, TEXTFILE_NAME "-wal") == 0 ? log_fd : -1;
}

static int
vfs_open(sqlite3_vfs *vfs, const char *name, sqlite3_file *file, int flags, int *out_flags)
{
	struct textfile *f = (struct textfile *)(void *)file;

	(void)vfs;
	f->fd = fd_named(name);
	f->written = 0;
	f->base.pMethods = f->fd >= 0 ? &methods : NULL;
	if (f->fd < 0)
		return SQLITE_CANTOPEN;
	if (out_flags != NULL)
		*out_flags = flags;
	return SQLITE_OK;
}

static int
vfs_delete(sqlite3_vfs *vfs, const char *name, int sync_directory)
{
	int fd = fd_named(name);

	(void)vfs;
	(void)sync_directory;
	return fd < 0 || ftruncate(fd, 0) == 0 ? SQLITE_OK : SQLITE_IOERR_DELETE;
}

static int
vfs_access(sqlite3_vfs *vfs, const char *name, int flags, int *there)
{
	struct stat status;
	int fd = fd_named(name);

	(void)vfs;
	(void)flags;
	*there = fd >= 0 && fstat(fd, &status) == 0 && status.st_size != 0;
	return SQLITE_OK;
}

static int
vfs_path(sqlite3_vfs *vfs, const char *name, int room, char *out)
{
	(void)vfs;
	return snprintf(out, (size_t)room, "%s", name) < room ? SQLITE_OK : SQLITE_CANTOPEN;
}

static int
vfs_randomness(sqlite3_vfs *vfs, int len, char *out)
{
	(void)vfs;
	memset(out, 0, (size_t)len);
	return getrandom(out, (size_t)len, 0) == len ? len : 0;
}

static int
vfs_sleep(sqlite3_vfs *vfs, int microseconds)
{
	(void)vfs;
	return microseconds; /* nobody holds a lock for which one could wait */
}

static int
vfs_time(sqlite3_vfs *vfs, double *days)
{
	(void)vfs;
	*days = 2440587.5 + (double)time(NULL) / 86400.0;
	return SQLITE_OK;
}

static int
vfs_last_error(sqlite3_vfs *vfs, int room, char *out)
{
	(void)vfs;
	(void)room;
	(void)out;
	return errno;
}

static sqlite3_vfs vfs_here = {
	.iVersion = 1,
	.szOsFile = sizeof(struct textfile),
	.mxPathname = PATH_LEN,
	.zName = "aldis",
	.xOpen = vfs_open,
	.xDelete = vfs_delete,
	.xAccess = vfs_access,
	.xFullPathname = vfs_path,
	.xRandomness = vfs_randomness,
	.xSleep = vfs_sleep,
	.xCurrentTime = vfs_time,
	.xGetLastError = vfs_last_error,
};

static int
open_in(const char *directory, const char *name)
{
	char path[PATH_LEN * 4];
	int fd;

	snprintf(path, sizeof path, "%s/%s", directory, name);
	fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0)
		log_error("text index not opened", "file=%s error=\"%s\"", path, strerror(errno));
	return fd;
}

int
textfile_open(const char *directory)
{
	main_fd = open_in(directory, TEXTFILE_NAME);
	log_fd = open_in(directory, TEXTFILE_NAME "-wal");
	/* The default one as well: SQLite takes its random numbers from there. */
	if (main_fd < 0 || log_fd < 0 || sqlite3_vfs_register(&vfs_here, 1) != SQLITE_OK) {
		textfile_close();
		return E_SYSTEM;
	}
	return OK;
}

int
textfile_empty(void)
{
	return ftruncate(log_fd, 0) == 0 && ftruncate(main_fd, 0) == 0 ? OK : E_SYSTEM;
}

void
textfile_close(void)
{
	if (main_fd >= 0)
		close(main_fd);
	if (log_fd >= 0)
		close(log_fd);
	main_fd = log_fd = -1;
}
