/*
 * srv.h: SRV records (RFC 2782): reading them and putting them in the order in which they are to be
 * tried. No input or output, no randomness but the one passed in.
 */
#ifndef ALDIS_SRV_H
#define ALDIS_SRV_H

#include "slice.h"

#define SRV_NAME 256 /* bytes of a host name as text, NUL included */

struct srv {
	uint16_t priority, weight, port;
	bool direct;           /* of _xmpps-server: TLS from the first byte (XEP-0368) */
	bool secure;           /* DNSSEC says that it is its domain's */
	char target[SRV_NAME]; /* ASCII, lower case, no final dot; "": the service is not offered */
};

/*
 * Reads the data of a record: target is uncompressed, as libraries give it. direct and secure are
 * the caller's to set. Returns 0, or E_MALFORMED, also for a target that is not a host name and for
 * port 0 of one.
 */
int srv_read(struct slice rdata, struct srv *srv);

/* Puts records in order: by priority, and within one by weight, at random (RFC 2782).
 * random(arg, n) gives a number from 0 to n, both included. */
void srv_order(struct srv *records, size_t count, uint32_t (*random)(void *arg, uint32_t n), void *arg);

#endif
