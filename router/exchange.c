/*
 * exchange.c: SASL exchanges for which authd owes an answer. Called by peer.c; what is begun when
 * too many are under way is refused there.
 *
 * When authd dies its exchanges die with it: those that wait are told at once, the others when
 * their next step reaches the new authd.
 */
#include "router.h"

#include <stdlib.h>

#include "mem.h"

#define EXCHANGES_MAX 16384 /* of one c2sd */

static struct map *exchanges; /* handles, by themselves */

bool
exchange_begin(struct peer *peer, uint64_t handle)
{
	uint64_t *entry;

	if (exchanges == NULL)
		exchanges = map_new();
	if (map_get(exchanges, slice_of(&handle, sizeof handle)) != NULL)
		return true;
	if (peer->exchanges >= EXCHANGES_MAX)
		return false;
	peer->exchanges++;
	entry = mem_copy(&handle, sizeof handle);
	map_put(exchanges, slice_of(entry, sizeof *entry), entry);
	return true;
}

size_t
exchange_count(void)
{
	return exchanges != NULL ? map_count(exchanges) : 0;
}

bool
exchange_end(uint64_t handle)
{
	struct peer *peer = peer_by_incarnation(HANDLE_INCARNATION(handle));
	uint64_t *entry = exchanges ? map_remove(exchanges, slice_of(&handle, sizeof handle)) : NULL;

	if (entry == NULL)
		return false;
	if (peer != NULL)
		peer->exchanges--;
	free(entry);
	return true;
}

void
exchanges_end(uint32_t incarnation)
{
	uint64_t *handle;
	size_t at = 0;

	while (exchanges != NULL && (handle = map_each(exchanges, &at)) != NULL) {
		struct frame failure = { .type = FRAME_AUTH_FAILURE, .handle = *handle,
			.condition = SLICE("temporary-auth-failure") };
		struct peer *peer = peer_by_incarnation(HANDLE_INCARNATION(*handle));

		if (incarnation != 0 && HANDLE_INCARNATION(*handle) != incarnation)
			continue;
		if (incarnation == 0 && peer != NULL)
			peer_send(peer, &failure);
		exchange_end(failure.handle);
	}
}
