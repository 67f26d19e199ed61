/*
 * xml_memory.c: memory of libxml2. Called by xml_sax.c; cannot fail.
 *
 * libxml2 keeps what it reads in buffers that it moves and frees. While it reads for a secret parser
 * what it gives back is wiped. One thread reads XML.
 */
#include <malloc.h>
#include <stdlib.h>

#include <libxml/xmlmemory.h>

#include "xml_private.h"

static bool wiping;

static void
memory_free(void *memory)
{
	if (wiping && memory != NULL)
		explicit_bzero(memory, malloc_usable_size(memory));
	free(memory);
}

static void *
memory_move(void *memory, size_t size)
{
	size_t old;
	void *moved;

	if (!wiping || memory == NULL)
		return realloc(memory, size);
	old = malloc_usable_size(memory);
	moved = malloc(size);
	if (moved == NULL)
		return NULL;
	memcpy(moved, memory, old < size ? old : size);
	memory_free(memory);
	return moved;
}

void
xml_memory_take_over(void)
{
	static bool done;

	if (!done && xmlMemSetup(memory_free, malloc, memory_move, strdup) != 0)
		abort();
	done = true;
}

void
xml_memory_wipe(bool wipe)
{
	wiping = wipe;
}
