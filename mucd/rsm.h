/*
 * rsm.h: pages of a list (XEP-0059) whose items have numbers that grow.
 *
 *	error = rsm_read(f->payload, NS_DISCO_ITEMS, 500, &r);
 *	... of each item, once, in their order: if (rsm_takes(&r, number)) rsm_add(&r, number, xml);
 *	rsm_write(&r, out);
 *	rsm_free(&r);
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
	/* what is on the page: the text of its items, and of each its number and how long it is */
	size_t skipped;
	struct buf items, places;
};

/* Reads the set in the query of a payload; without one it is the first page. max: the most items of one. */
enum stanza_error rsm_read(struct slice payload, const char *ns, size_t max, struct rsm *r);
/* Counts an item; true: it is on the page, as far as one can know before the others have come. */
bool rsm_takes(struct rsm *r, uint64_t number);
/* Adds it. Of a page that ends somewhere, the first item gives way when there are too many. */
void rsm_add(struct rsm *r, uint64_t number, struct slice item);
/* Appends the items, and the set: but not when none was asked for and the page is the whole list. */
void rsm_write(const struct rsm *r, struct buf *out);
void rsm_free(struct rsm *r);

#endif
