/*
 * mem.c: the allocation wrappers. Called everywhere; aborts when memory is exhausted.
 */
#include "mem.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

void *
mem_alloc(size_t size)
{
	void *p = calloc(1, size ? size : 1);

	if (p == NULL)
		abort();
	return p;
}

void *
mem_grow(void *old, size_t size)
{
	void *p = realloc(old, size ? size : 1);

	if (p == NULL)
		abort();
	return p;
}

void *
mem_array(size_t count, size_t size)
{
	if (size != 0 && count > SIZE_MAX / size)
		abort();
	return mem_alloc(count * size);
}

void *
mem_copy(const void *from, size_t size)
{
	void *p = mem_alloc(size);

	if (size != 0)
		memcpy(p, from, size);
	return p;
}

char *
mem_string(const char *from)
{
	return mem_copy(from, strlen(from) + 1);
}
