/*
 * mem.h: allocation that cannot fail in sight.
 *
 * Sizes that come from outside are checked against a limit before they reach these functions, so
 * running out of memory here means that the machine is out of memory: the process aborts, and its
 * state comes back from the other daemons (DESIGN: crash-only).
 */
#ifndef ALDIS_MEM_H
#define ALDIS_MEM_H

#include <stddef.h>

void *mem_alloc(size_t size);                  /* zeroed */
void *mem_grow(void *old, size_t size);        /* realloc(3) */
void *mem_array(size_t count, size_t size);    /* zeroed; aborts on overflow of the product */
void *mem_copy(const void *from, size_t size); /* a copy of size bytes */
char *mem_string(const char *from);            /* strdup(3) */

/* Frees what *pointer points to and clears it: MEM_FREE(&thing->name). */
#define MEM_FREE(pointer)           \
	do {                        \
		free(*(pointer));   \
		*(pointer) = NULL;  \
	} while (0)

#endif
