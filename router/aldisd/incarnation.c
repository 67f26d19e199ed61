/*
 * incarnation.c: the number of each process that is started. Called by child.c. Fails at the start
 * only, when the state directory cannot be written.
 *
 * A number must never come twice: custody would take the frames of a new process for those of an
 * old one and drop them. So what was given out is remembered, in blocks, beside the clock.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

#include "aldisd.h"
#include "error.h"
#include "log.h"

#define EPOCH 1767225600 /* 2026-01-01T00:00:00Z */
#define BLOCK 256

static int file = -1;
static uint32_t last;     /* the one given last */
static uint32_t reserved; /* the last one that the file remembers as given */

/* Remembers that numbers up to this one may have been given. */
static int
reserve(uint32_t number)
{
	char text[16];
	int len = snprintf(text, sizeof text, "%010u\n", number);

	if (pwrite(file, text, (size_t)len, 0) != len || fdatasync(file) != 0)
		return E_SYSTEM;
	reserved = number;
	return OK;
}

/* Reads the number in the file; 0 when it is new. */
static uint64_t
remembered(void)
{
	char text[16];
	ssize_t got = pread(file, text, sizeof text, 0);
	uint64_t number = 0;

	if (got < 11 || slice_number(slice_of(text, 10), UINT32_MAX, &number))
		return 0;
	return number;
}

int
incarnation_open(const char *state_dir, struct buf *problem)
{
	struct buf path = { 0 };
	uint64_t before;
	time_t now = time(NULL);

	buf_printf(&path, "%s/incarnation", state_dir);
	buf_add_char(&path, '\0');
	file = open(path.bytes, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (file < 0) {
		buf_printf(problem, "cannot write %s: %s\n", path.bytes, strerror(errno));
		buf_free(&path);
		return E_SYSTEM;
	}
	before = remembered();
	last = now > EPOCH ? (uint32_t)(now - EPOCH) : 0;
	if (last < before)
		last = (uint32_t)before;
	reserved = last;
	buf_free(&path);
	return OK;
}

uint32_t
incarnation_next(void)
{
	uint32_t clock = (uint32_t)(time(NULL) - EPOCH);

	last = last + 1 > clock || time(NULL) < EPOCH ? last + 1 : clock;
	if (last > reserved && reserve(last + BLOCK) != OK)
		log_error("incarnation not remembered", "number=%u reason=\"%s\"", last,
		    strerror(errno));
	return last;
}
