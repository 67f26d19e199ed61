/*
 * seal.h: ids of stanzas that a room sends in the name of an occupant, by which what comes back finds
 * its way.
 */
#ifndef ALDIS_MUCD_SEAL_H
#define ALDIS_MUCD_SEAL_H

#include "buf.h"

struct client;
struct room;

struct seal {
	const char *kind;   /* a word, without "-" */
	uint64_t client;    /* number of the client in whose name it is */
	struct slice words; /* what else has to be known; empty: nothing */
	struct slice id;    /* that the client gave */
};

/* Appends an id; peer: the address from which an answer will come. */
void seal_write(const struct room *room, const struct seal *s, struct slice peer, struct buf *out);
/* Reads one back; s points into text. Returns 0, or E_MALFORMED or E_MISMATCH: it is none of ours. */
int seal_read(const struct room *room, const char *kind, struct slice text, struct slice peer,
    struct seal *s);
/* The client; NULL: it has left. */
struct client *seal_client(const struct room *room, const struct seal *s);

#endif
