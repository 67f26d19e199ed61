/*
 * rsm.h: pages of a list (XEP-0059) whose items have numbers that grow.
 *
 *	error = rsm_read(f->payload, NS_DISCO_ITEMS, 500, &r);
 *	... rsm_count(&r, number) of each item;
 *	rsm_begin(&r);
 *	... of each item again: if (rsm_takes(&r, number)) write it;
 *	rsm_write(&r, out);
 */
#ifndef ALDIS_MUCD_RSM_H
#define ALDIS_MUCD_RSM_H

#include "buf.h"
#include "stanza.h"

struct rsm {
	/* what is asked for */
	bool asked, backward;
	uint64_t after, before;   /* numbers; neither of the two is on the page */
	size_t max, skip;
	/* what there is */
	size_t count, below, up_to;
	/* what is on the page */
	size_t taken, index;
	uint64_t first, last;
};

/* Reads the set in the query of a payload; without one it is the first page. max: the most items of one. */
enum stanza_error rsm_read(struct slice payload, const char *ns, size_t max, struct rsm *r);
void rsm_count(struct rsm *r, uint64_t number);
void rsm_begin(struct rsm *r);
bool rsm_takes(struct rsm *r, uint64_t number);
/* Nothing when no set was asked for and the page is the whole list. */
void rsm_write(const struct rsm *r, struct buf *out);

#endif
