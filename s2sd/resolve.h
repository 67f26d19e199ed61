/*
 * resolve.h: from a domain to the addresses at which its server can be reached (RFC 6120 section
 * 3.2, XEP-0368, RFC 7673), by DNS with DNSSEC.
 *
 * _xmpp-server._tcp and _xmpps-server._tcp are one list. Without either, the domain's own addresses
 * count, at port 5269. A domain that is an address is reached there. When one of the two cannot be
 * looked up and the other has no records, the resolution fails: an outage of DNS, or somebody who
 * makes one, does not turn into other addresses. For a target whose SRV record (or its proven
 * absence) and address are secure, TLSA records are looked up; a target whose TLSA records
 * cannot be is left out, since nobody may turn DANE off by stopping answers.
 *
 * Everything is bounded: 16 targets, 8 addresses of each, 32 candidates. libunbound keeps the cache.
 */
#ifndef ALDIS_RESOLVE_H
#define ALDIS_RESOLVE_H

#include <sys/socket.h>

#include <netinet/in.h>
#include <uv.h>

#include "slice.h"
#include "srv.h"
#include "tlsa.h"

#define RESOLVE_CANDIDATES 32u
#define RESOLVE_TARGETS    16u
#define RESOLVE_ADDRESSES  8u    /* of one target and family */
#define RESOLVE_WHY        256u  /* bytes of a reason, NUL included */
#define RESOLVE_MAX        256u  /* resolutions under way */
#define XMPP_SERVER_PORT   5269u /* RFC 6120 section 14.7 */

/* How a question to DNS, or a resolution, ended; a later one says more about why nothing was found. */
enum resolve_outcome {
	RESOLVE_OK,
	RESOLVE_NXDOMAIN,    /* there is no such name */
	RESOLVE_NODATA,      /* the name has no record of this type */
	RESOLVE_NOT_OFFERED, /* SRV says that there is no such service (target ".") */
	RESOLVE_TIMEOUT,
	RESOLVE_SERVFAIL,    /* the name servers cannot be reached, refuse, or answer nonsense */
	RESOLVE_BOGUS,       /* DNSSEC says that the answer is forged or broken */
};

const char *resolve_outcome_text(enum resolve_outcome outcome); /* "nxdomain" */

/* From which record a candidate is. */
enum resolve_source { SOURCE_SRV, SOURCE_ADDRESS, SOURCE_LITERAL, SOURCE_CONFIGURED };

const char *resolve_source_text(enum resolve_source source); /* "srv" */

/* An address to try. */
struct candidate {
	union {
		struct sockaddr any;
		struct sockaddr_in four;
		struct sockaddr_in6 six;
	} address;                  /* with the port */
	uint16_t port, priority, weight;
	bool direct;                /* TLS from the first byte */
	bool secure;                /* DNSSEC says so, of all records on the way */
	enum resolve_source source;
	const char *target;         /* the host's name, ASCII; the address for SOURCE_LITERAL */
	const struct tlsa_set *tlsa; /* NULL: none were looked up, or there are none, which is proven */
};

/* What was found. */
struct resolution {
	enum resolve_outcome outcome;  /* RESOLVE_OK exactly when there are candidates */
	char why[RESOLVE_WHY];         /* of another outcome: "AAAA of xmpp.example.org: timeout" */
	unsigned ttl;                  /* seconds for which all of it holds; 0: not from DNS */
	bool truncated;                /* there was more than fits */
	size_t count;
	struct candidate candidates[RESOLVE_CANDIDATES]; /* in the order of RFC 2782 */
	size_t targets_count;
	struct resolve_target *targets[RESOLVE_TARGETS]; /* what the candidates point to */
};

void resolution_free(struct resolution **resolution);

/* One answer of DNS, for the report why. Valid during the callback only. */
struct dns_answer {
	const char *name, *type;       /* "_xmpp-server._tcp.example.org", "SRV" */
	enum resolve_outcome outcome;
	bool secure;
	size_t records;
	unsigned ttl;
	const char *why;               /* "" when there is nothing to say */
};

struct resolve_events {
	void (*answer)(void *arg, const struct dns_answer *answer); /* may be NULL */
	/* The end, never from within resolve_begin(); resolution now belongs to the callee. */
	void (*done)(void *arg, struct resolution *resolution);
};

/* A peer that the configuration names: DNS is not asked where its domain is. */
struct configured {
	struct slice host; /* an address without brackets, or a host name, whose addresses are looked up */
	uint16_t port;
	bool direct;
	bool plain;        /* what is there has no TLS, so that TLSA records do not matter */
};

/* Reads "HOST[:PORT][ tls]", an IPv6 address in brackets. Returns 0 or E_MALFORMED. */
int configured_read(struct slice text, struct configured *configured);

struct resolver_options {
	const char *nameserver;   /* "ADDRESS[@PORT]" to ask; "none": ask from the root down; NULL: resolv_conf */
	const char *resolv_conf;  /* NULL: /etc/resolv.conf; without one, from the root down */
	const char *hosts;        /* a file like /etc/hosts; NULL: none */
	const char *trust_anchor; /* a file with DS or DNSKEY records; NULL: none, nothing is secure */
	bool dnssec;              /* false: answers are not checked, nothing is secure or bogus */
	uint64_t timeout;         /* milliseconds of each of the three rounds: SRV, addresses, TLSA */
};

struct resolver;
struct resolve;

/* Opens and reads all files: before sandbox_enter(). Makes no thread. Returns 0, or an error with the
 * reason logged: E_SYSTEM, E_MALFORMED (a file or address is not what it should be), E_NOT_FOUND. */
int resolver_new(uv_loop_t *loop, const struct resolver_options *options, struct resolver **resolver);
/* Makes libunbound's one thread: between sandbox_enter() and sandbox_seal(). Blocks until the thread
 * has answered a question that needs no network. Returns 0 or E_SYSTEM, logged. */
int resolver_start(struct resolver *resolver);
/* When no resolution is under way. The handles are closed by the loop, which must run once more. */
void resolver_free(struct resolver **resolver);
size_t resolver_busy(const struct resolver *resolver); /* resolutions under way: a gauge */

/*
 * Begins a resolution. domain: canonical (jid.h). peers: what the configuration says instead of DNS,
 * count 0: nothing. Returns 0, E_MALFORMED (no such domain can be in DNS), or E_FULL; then nothing
 * follows. *resolve is valid until done().
 */
int resolve_begin(struct resolver *resolver, struct slice domain, const struct configured *peers,
    size_t count, const struct resolve_events *events, void *arg, struct resolve **resolve);
/* Gives it up: done() does not follow. Clears the caller's pointer. */
void resolve_cancel(struct resolve **resolve);

#endif
