/*
 * block.h: block lists (XEP-0191): addresses in canonical form, each a line with its newline, sorted as
 * slice_compare() does. authd owns them, the router enforces them. No input or output.
 */
#ifndef ALDIS_BLOCK_H
#define ALDIS_BLOCK_H

#include "buf.h"
#include "slice.h"

/* Takes the next line off a list; false at its end. */
bool block_next(struct slice *list, struct slice *jid);
bool block_has(struct slice list, struct slice jid);     /* exactly this one */
/* Whether a list covers an address: itself, its bare JID, its domain with resource, or its domain. */
bool block_matches(struct slice list, struct slice jid);
/* Appends the list with one more address to out, or without it. */
void block_change(struct slice list, struct slice jid, bool add, struct buf *out);
bool block_valid(struct slice list);                     /* it is what this header says */

#endif
