/*
 * service.h: services besides XMPP, such as STUN and TURN, as the configuration writes them (XEP-0215).
 */
#ifndef ALDIS_SERVICE_H
#define ALDIS_SERVICE_H

#include "slice.h"

/* A view of the text that it was read from. */
struct service {
	struct slice type;
	struct slice host;      /* a name, or an address without brackets */
	struct slice port;      /* absent: that of the type */
	struct slice transport; /* absent: not said */
};

/*
 * Reads "TYPE:HOST[:PORT][?transport=TRANSPORT]", the form of the URIs of RFC 7064 and RFC 7065. Host: letters,
 * digits, dots and hyphens, or an IPv6 address in brackets. Returns 0 or E_MALFORMED.
 */
int service_read(struct slice text, struct service *service);

#endif
