/*
 * sm.h: the counters of stream management (XEP-0198), for any stream. No input or output.
 */
#ifndef ALDIS_SM_H
#define ALDIS_SM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct sm_stanza {
	uint64_t seq;    /* of its frame in custody; 0: handled here */
	uint32_t bytes;
	bool done;
};

struct sm {
	bool enabled;
	bool asked;              /* our <r/> has not been answered */
	bool answer;             /* the peer's <r/> is to be answered... */
	bool answered_late;      /* it was, in part, because it had waited for long */
	uint64_t answer_first;   /* ...when this many stanzas are handled, */
	uint64_t answer_last;    /* and then again at this one */
	uint32_t acked;          /* the peer's last h */
	uint32_t unasked;        /* stanzas written since the last <r/> */
	size_t unasked_bytes;
	uint64_t seen;           /* stanzas read from the peer, ever */
	uint64_t base;           /* of them, before <enable/> */
	/* a ring: those read and not yet handled, in order */
	struct sm_stanza *stanzas;
	uint32_t first, count, room;
	size_t bytes;
};

void sm_enable(struct sm *sm);
/* A stanza was read: its frame is in custody as seq, or seq is 0 and it is handled already. */
void sm_read(struct sm *sm, uint64_t seq, size_t bytes);
void sm_handled(struct sm *sm, uint64_t seq);   /* its frame was acknowledged */
uint32_t sm_h(const struct sm *sm);
bool sm_window_full(const struct sm *sm);       /* stop reading */
bool sm_window_low(const struct sm *sm);        /* read on */
void sm_request(struct sm *sm);                 /* <r/> was read */
bool sm_answer_due(const struct sm *sm);        /* all that it was about is handled */
bool sm_answer_waits(const struct sm *sm);      /* some of it is not, and nothing was said yet */
void sm_answered(struct sm *sm);                /* <a/> was written */
/* An h from the peer, with so many stanzas written and not acknowledged. Returns 0 with *count
 * newly acknowledged, or E_MISMATCH when it acknowledges more than was sent. */
int sm_acknowledge(struct sm *sm, uint32_t h, uint32_t outstanding, uint32_t *count);
void sm_wrote(struct sm *sm, size_t bytes);     /* a stanza was written */
bool sm_ask_due(const struct sm *sm);           /* enough was written to ask */
void sm_asked(struct sm *sm);                   /* <r/> was written */
void sm_detach(struct sm *sm);                  /* the connection is gone */
void sm_free(struct sm *sm);

#endif
