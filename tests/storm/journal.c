/*
 * journal.c: owns the file that tells oracle.py what the clients have seen: records of a fixed size
 * in machine order. Called by client.c. A write that fails is reported by journal_flush().
 *
 * The Aldis developers
 */
#include "storm.h"

#include <stdio.h>

/* 24 bytes: "<QBBHIQ" in Python. */
struct record {
	uint64_t time; /* monotonic nanoseconds */
	uint8_t kind, how;
	uint16_t client;
	uint32_t peer;
	uint64_t number;
};

static FILE *file;

int
journal_open(const char *path)
{
	file = fopen(path, "wb");
	return file != NULL ? 0 : -1;
}

void
journal_add(enum journal_kind kind, unsigned how, unsigned client, unsigned peer, uint64_t number)
{
	struct record r = {load_now(), (uint8_t)kind, (uint8_t)how, (uint16_t)client, peer, number};

	(void)fwrite(&r, sizeof r, 1, file);
}

int
journal_flush(void)
{
	return fflush(file) == 0 && ferror(file) == 0 ? 0 : -1;
}
