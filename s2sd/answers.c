/*
 * answers.c: responses of OCSP that were checked, until they are out of date. Called by check.c; cannot fail.
 * A request names certificate and issuer and nothing else, so it is the key.
 */
#include "responder.h"

#include <stdlib.h>
#include <sys/queue.h>

#include "map.h"
#include "mem.h"

struct answer {
	TAILQ_ENTRY(answer) slot;
	struct slice request, response; /* both in bytes */
	time_t until;
	char bytes[];
};

struct answers {
	struct map *by_request;
	TAILQ_HEAD(, answer) order; /* that which came first, first */
	size_t count_limit, bytes_limit, bytes;
};

struct answers *
answers_new(size_t count, size_t bytes)
{
	struct answers *answers = mem_alloc(sizeof *answers);

	answers->by_request = map_new();
	TAILQ_INIT(&answers->order);
	answers->count_limit = count;
	answers->bytes_limit = bytes;
	return answers;
}

static size_t
size_of(const struct answer *a)
{
	return sizeof *a + a->request.len + a->response.len;
}

static void
forget(struct answers *answers, struct answer *a)
{
	map_remove(answers->by_request, a->request);
	TAILQ_REMOVE(&answers->order, a, slot);
	answers->bytes -= size_of(a);
	free(a);
}

void
answers_free(struct answers **answers)
{
	struct answer *a;

	while ((a = TAILQ_FIRST(&(*answers)->order)) != NULL)
		forget(*answers, a);
	map_free(&(*answers)->by_request);
	MEM_FREE(answers);
}

void
answers_put(struct answers *answers, struct slice request, struct slice response, time_t until, time_t now)
{
	struct answer *a = map_get(answers->by_request, request);

	if (a != NULL)
		forget(answers, a);
	if (until <= now || sizeof *a + request.len + response.len > answers->bytes_limit)
		return;
	a = mem_alloc(sizeof *a + request.len + response.len);
	memcpy(a->bytes, request.ptr, request.len);
	memcpy(a->bytes + request.len, response.ptr, response.len);
	a->request = slice_of(a->bytes, request.len);
	a->response = slice_of(a->bytes + request.len, response.len);
	a->until = until;
	map_put(answers->by_request, a->request, a);
	TAILQ_INSERT_TAIL(&answers->order, a, slot);
	answers->bytes += size_of(a);
	while (answers->bytes > answers->bytes_limit || map_count(answers->by_request) > answers->count_limit)
		forget(answers, TAILQ_FIRST(&answers->order));
}

struct slice
answers_get(struct answers *answers, struct slice request, time_t now)
{
	struct answer *a = map_get(answers->by_request, request);

	if (a != NULL && a->until <= now) {
		forget(answers, a);
		a = NULL;
	}
	return a != NULL ? a->response : SLICE_NONE;
}

size_t
answers_count(const struct answers *answers)
{
	return map_count(answers->by_request);
}
