/*
 * error.c: the texts of the error space. Called by whoever logs or reports; cannot fail.
 */
#include "error.h"

const char *
error_text(int error)
{
	static const char *const texts[ERROR_COUNT] = {
		[OK] = "no error",
#define ERROR(name, text) [E_##name] = text,
#include "error.def"
#undef ERROR
	};

	if (error < 0 || error >= ERROR_COUNT)
		return "unknown error";
	return texts[error];
}
