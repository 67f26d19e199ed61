/*
 * slice.c: the few slice functions that are not inline. Called everywhere.
 */
#include "slice.h"

#include "error.h"
#include "mem.h"

char *
slice_dup(struct slice a)
{
	char *copy;

	if (a.ptr == NULL)
		return NULL;
	copy = mem_alloc(a.len + 1);
	memcpy(copy, a.ptr, a.len);
	return copy;
}

int
slice_number(struct slice a, uint64_t max, uint64_t *number)
{
	uint64_t n = 0;
	size_t i;

	if (a.len == 0)
		return E_MALFORMED;
	for (i = 0; i < a.len; i++) {
		unsigned digit = (unsigned char)a.ptr[i] - '0';

		if (digit > 9 || n > (max - digit) / 10)
			return E_MALFORMED;
		n = n * 10 + digit;
	}
	*number = n;
	return OK;
}
