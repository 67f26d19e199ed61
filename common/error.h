/*
 * error.h: the one error space of the suite.
 *
 * A function that can fail returns 0 or one of these, and gives its results through out-pointers.
 */
#ifndef ALDIS_ERROR_H
#define ALDIS_ERROR_H

enum error {
	OK = 0,
#define ERROR(name, text) E_##name,
#include "error.def"
#undef ERROR
	ERROR_COUNT
};

/* A short English text for an error; never NULL. */
const char *error_text(int error);

#endif
