/*
 * watermark.h: watermarks (custody.h) in a table of a store, where those of authd and mucd are. Origins have growing
 * numbers, which are the keys; the oldest give way, since they are of processes that ended long ago.
 */
#ifndef ALDIS_WATERMARK_H
#define ALDIS_WATERMARK_H

#include <stdbool.h>

#include "custody.h"
#include "store.h"

#define WATERMARK_ORIGINS 1024 /* that are kept over a restart */

/* Reads them all, at the start. The rows of the oldest are removed, with the next commit. Returns 0 or what
 * store_walk() does. */
int watermarks_load(struct watermarks *marks, struct store *store, unsigned table);
/* Writes those that moved, before a commit, which reports what fails. Returns whether there are any. */
bool watermarks_save(struct watermarks *marks, struct store *store, unsigned table);

#endif
