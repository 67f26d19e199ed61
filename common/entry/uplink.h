/*
 * uplink.h: frames to the router that must not be lost: in custody (custody.h) until they were taken.
 *
 * A daemon calls uplink_up(), uplink_resend(), uplink_down() from its hooks router(), resend(),
 * router_gone(), uplink_ack() with ACK, and uplink_flush() from flush().
 */
#ifndef ALDIS_UPLINK_H
#define ALDIS_UPLINK_H

#include "frame.h"

/* The first member of what wants to know that its frames were taken. */
struct uplink_sender {
	void (*taken)(struct uplink_sender *sender, uint64_t seq);
};

/* reported() is called when a report of delivery (uplink_delivered()) for this handle was taken. */
void uplink_start(void (*reported)(uint64_t handle));
/* Bytes in custody from which on uplink_full() holds. */
void uplink_limit(size_t bytes);
/* Keeps a frame in custody and sends it; sender may be NULL. Returns 0 with its number and
 * length. */
int uplink_send(struct uplink_sender *sender, const struct frame *f, uint64_t *seq, size_t *len);
void uplink_forget(const struct uplink_sender *sender);
void uplink_ack(const struct frame *f);
void uplink_resend(void);
void uplink_up(void);
void uplink_down(void);
bool uplink_live(void);     /* the router has asked for what it must take, and follows */
bool uplink_congested(void); /* the router does not take what we send */
bool uplink_full(void);     /* or too much is in custody: peers have to wait */
/* A stored message was delivered to who has this handle: gathered, sent by uplink_report(). Nobody waits for that, so
 * uplink_flush() lets it wait a little for something else that goes to the router: it is not woken up for this alone. */
void uplink_delivered(uint64_t handle, uint64_t archive_id);
bool uplink_delivering(uint64_t handle, uint64_t archive_id); /* and not reported() yet */
void uplink_report(void);
void uplink_flush(void);
void uplink_gauges(void);

#endif
