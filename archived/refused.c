/*
 * refused.c: messages that were refused lately: if they come again the answer is the same, also after a
 * restart: they are below the watermark, and nobody may take them for stored. Each slot is a row of meta.
 * Called by batch.c. Fails when the store does.
 */
#include "archived.h"

#define REFUSED_MAX  1024

#define REFUSED_NAME "refused:"
static struct {
	uint32_t origin;
	uint64_t seq;
} refused[REFUSED_MAX];
static size_t refused_at;
static size_t begun_at;         /* refused_at before the transaction at hand */

bool
refused_has(const struct frame *f)
{
	size_t i;

	for (i = 0; i < REFUSED_MAX; i++) {
		if (refused[i].seq == f->seq && refused[i].origin == f->origin)
			return true;
	}
	return false;
}

static struct slice
refused_key(size_t slot, char out[sizeof REFUSED_NAME - 1 + 8])
{
	memcpy(out, REFUSED_NAME, sizeof REFUSED_NAME - 1);
	store_key_u64(out + sizeof REFUSED_NAME - 1, slot);
	return slice_of(out, sizeof REFUSED_NAME - 1 + 8);
}

int
refused_add(const struct frame *f)
{
	size_t slot = refused_at++ % REFUSED_MAX;
	char key[sizeof REFUSED_NAME - 1 + 8], value[17] = { VALUE_VERSION };

	refused[slot].origin = f->origin;
	refused[slot].seq = f->seq;
	store_key_u64(value + 1, f->origin);
	store_key_u64(value + 9, f->seq);
	return store_put(state.store, TABLE_META, refused_key(slot, key),
	    slice_of(value, sizeof value));
}

static bool
refused_load(void *arg, struct slice key, struct slice value)
{
	struct value_reader r = { .rest = value };
	uint64_t slot, origin, seq;

	(void)arg;
	value_u8(&r);
	origin = value_u64(&r);
	seq = value_u64(&r);
	if (r.error || key.len != sizeof REFUSED_NAME - 1 + 8)
		return true;
	slot = store_key_read_u64(key.ptr + sizeof REFUSED_NAME - 1) % REFUSED_MAX;
	refused[slot].origin = (uint32_t)origin;
	refused[slot].seq = seq;
	/* Incarnations grow, and so do numbers: the newest is the one to go on after. */
	if (refused_at == 0 || origin > refused[(refused_at - 1) % REFUSED_MAX].origin ||
	    (origin == refused[(refused_at - 1) % REFUSED_MAX].origin &&
	    seq > refused[(refused_at - 1) % REFUSED_MAX].seq))
		refused_at = slot + 1;
	return true;
}

int
refused_open(void)
{
	refused_at = 0;
	return store_walk(state.store, TABLE_META, SLICE(REFUSED_NAME), SLICE(REFUSED_NAME), refused_load, NULL);
}

void
refused_close(void)
{
	memset(refused, 0, sizeof refused);
}

void
refused_begin(void)
{
	begun_at = refused_at;
}

void
refused_revert(void)
{
	size_t begin = begun_at;

	if (refused_at - begin > REFUSED_MAX)
		begin = refused_at - REFUSED_MAX;
	while (refused_at > begin)
		refused[--refused_at % REFUSED_MAX].seq = 0;
	refused_at = begun_at;
}
