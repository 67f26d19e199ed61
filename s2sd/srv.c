/*
 * srv.c: SRV records: reading and ordering them. Called by resolve.c. Fails on malformed records.
 */
#include "error.h"
#include "srv.h"

#define HEAD  6u  /* priority, weight, port */
#define LABEL 63u

static uint16_t
number(const char *bytes)
{
	return (uint16_t)((unsigned)(uint8_t)bytes[0] << 8 | (uint8_t)bytes[1]);
}

/* A character of a host name in lower case, 0 when it is none. Names of hosts have underscores
 * against the rules (RFC 1123 section 2.1), and they work. */
static char
host_char(char c)
{
	if (c >= 'A' && c <= 'Z')
		return (char)(c - 'A' + 'a');
	return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '_' ? c : '\0';
}

/* Reads an uncompressed name of DNS to its end. */
static int
name_read(struct slice wire, char out[SRV_NAME])
{
	size_t at = 0, len = 0, label, i;

	for (;;) {
		if (at == wire.len)
			return E_MALFORMED;
		label = (uint8_t)wire.ptr[at++];
		if (label == 0)
			break;
		if (label > LABEL || label > wire.len - at || len + label + 2 > SRV_NAME)
			return E_MALFORMED;
		if (len > 0)
			out[len++] = '.';
		for (i = 0; i < label; i++) {
			out[len] = host_char(wire.ptr[at++]);
			if (out[len++] == '\0')
				return E_MALFORMED;
		}
	}
	out[len] = '\0';
	return at == wire.len ? OK : E_MALFORMED;
}

int
srv_read(struct slice rdata, struct srv *srv)
{
	int code;

	if (rdata.len <= HEAD)
		return E_MALFORMED;
	srv->priority = number(rdata.ptr);
	srv->weight = number(rdata.ptr + 2);
	srv->port = number(rdata.ptr + 4);
	code = name_read(slice_part(rdata, HEAD, rdata.len), srv->target);
	return code != OK ? code : srv->target[0] != '\0' && srv->port == 0 ? E_MALFORMED : OK;
}

/* Takes a record of a later place to an earlier one; those between move on. */
static void
move_up(struct srv *records, size_t from, size_t to)
{
	struct srv moved = records[from];

	memmove(&records[to + 1], &records[to], (from - to) * sizeof *records);
	records[to] = moved;
}

/* By priority, and those of weight 0 first among their like, in the order of DNS otherwise. */
static void
sort(struct srv *records, size_t count)
{
	size_t i, at;

	for (i = 1; i < count; i++) {
		const struct srv *r = &records[i];

		for (at = 0; at < i; at++) {
			if (r->priority < records[at].priority ||
			    (r->priority == records[at].priority && r->weight == 0 && records[at].weight != 0))
				break;
		}
		move_up(records, i, at);
	}
}

/* The next record of a group of one priority: the first at which the running sum of weights
 * reaches a random number. */
static size_t
choose(const struct srv *group, size_t count, uint32_t (*random)(void *arg, uint32_t n), void *arg)
{
	uint32_t sum = 0, wanted;
	size_t i;

	for (i = 0; i < count; i++)
		sum += group[i].weight;
	wanted = random(arg, sum);
	for (i = 0, sum = 0; i + 1 < count; i++) {
		sum += group[i].weight;
		if (sum >= wanted)
			break;
	}
	return i;
}

void
srv_order(struct srv *records, size_t count, uint32_t (*random)(void *arg, uint32_t n), void *arg)
{
	size_t at, end;

	sort(records, count);
	for (at = 0; at < count; at++) {
		for (end = at + 1; end < count && records[end].priority == records[at].priority; end++)
			;
		move_up(records, at + choose(&records[at], end - at, random, arg), at);
	}
}
