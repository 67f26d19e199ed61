/*
 * resolve_private.h: what resolve.c and resolver.c share.
 */
#ifndef ALDIS_RESOLVE_PRIVATE_H
#define ALDIS_RESOLVE_PRIVATE_H

#include <uv.h>

struct ub_ctx;

struct resolver {
	uv_loop_t *loop;
	uv_poll_t poll;         /* the pipe from libunbound's thread */
	struct ub_ctx *context;
	uint64_t timeout;       /* milliseconds of a round */
	size_t busy;            /* resolutions under way */
};

#endif
