/*
 * attempt.c: the history of attempts. Called by all who take part in reaching or admitting a peer.
 * Cannot fail: what does not fit is cut or counted.
 *
 * A step is kept as one text, its fields as they were given, and is taken apart when it is shown.
 */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/queue.h>

#include <unistr.h>

#include "attempt.h"
#include "buf.h"
#include "map.h"
#include "mem.h"

#define NAME_BYTES   24u  /* of a step, NUL included */
#define RESULT_BYTES 96u
#define DOMAIN_BYTES 512u /* of a domain, after escaping */
#define RING         8u

struct step {
	uint32_t at;             /* milliseconds since the attempt began */
	uint8_t verdict;
	char name[NAME_BYTES];
	char *fields;            /* NULL: none */
};

struct history;

struct attempt {
	TAILQ_ENTRY(attempt) slot;
	struct attempts *attempts;
	struct history *history;
	enum attempt_direction direction;
	bool ended;
	enum attempt_verdict verdict;
	uint64_t began, stamp, ended_at;
	char result[RESULT_BYTES];
	size_t left_out, count, bytes;
	struct step *steps;
};

/* All attempts with one domain, that which began or ended last first. */
struct history {
	TAILQ_ENTRY(history) slot;
	TAILQ_HEAD(, attempt) attempts;
	size_t ended, under_way;
	char domain[DOMAIN_BYTES];
};

struct attempts {
	struct map *by_domain;
	TAILQ_HEAD(histories, history) order; /* that heard of last first */
	size_t domains, bytes_limit; /* the bounds */
	size_t bytes;                /* of attempts that have ended */
};

const char *
attempt_verdict_text(enum attempt_verdict verdict)
{
	static const char *const texts[] = { "noted", "ok", "failed", "skipped" };

	return texts[verdict];
}

/* -- texts --------------------------------------------------------------------------------------- */

/* Whether a character is fit to be seen: no controls, nothing that changes the direction of a line. */
static bool
is_visible(ucs4_t c)
{
	return c >= 0x20 && c != '\\' && c != '\'' && !(c >= 0x7f && c < 0xa0) && c != 0x61c && !(c >= 0x200b && c <= 0x200f) &&
	    !(c >= 0x2028 && c <= 0x202e) && !(c >= 0x2060 && c <= 0x206f) && c != 0xfeff &&
	    !(c >= 0xfff9 && c <= 0xfffb) && !(c >= 0xe0000 && c <= 0xe007f);
}

/* Writes a text of anything so that it is printable UTF-8 and fits. quoted: its backslashes and quotes
 * are escaped as well, since it will stand in quotes; otherwise what was escaped before is left. */
static void
escape(struct slice text, bool quoted, char *out, size_t room)
{
	const uint8_t *at = (const uint8_t *)text.ptr, *end = at + text.len;
	size_t len = 0, bytes;

	while (at < end) {
		ucs4_t c;
		int n = u8_mbtoucr(&c, at, (size_t)(end - at));
		bool plain = n > 0 && (is_visible(c) || (!quoted && (c == '\\' || c == '\'')));

		bytes = n > 0 ? (size_t)n : 1;
		if (len + (plain ? bytes : 4 * bytes) >= room)
			break;
		if (plain) {
			memcpy(out + len, at, bytes);
			len += bytes;
		}
		for (; !plain && bytes > 0; bytes--, at++, len += 4)
			snprintf(out + len, room - len, "\\x%02x", *at);
		at += bytes;
	}
	out[len] = '\0';
}

const char *
attempt_text(struct slice text)
{
	static char ring[RING][ATTEMPT_TEXT];
	static unsigned next;
	char *out = ring[next++ % RING];

	escape(text, true, out, ATTEMPT_TEXT);
	return out;
}

/* Takes "key=value" off fields. Returns false at the end. A value in quotes that lacks its end, since the
 * text was cut, ends with the text. */
static bool
field_next(struct slice *fields, struct slice *key, struct slice *value)
{
	const char *end;
	struct slice rest;
	size_t len;

	while (fields->len > 0 && fields->ptr[0] == ' ')
		*fields = slice_part(*fields, 1, fields->len);
	end = fields->len > 0 ? memchr(fields->ptr, '=', fields->len) : NULL;
	if (end == NULL)
		return false;
	*key = slice_part(*fields, 0, (size_t)(end - fields->ptr));
	rest = slice_part(*fields, key->len + 1, fields->len);
	if (rest.len > 0 && rest.ptr[0] == '\'') {
		rest = slice_part(rest, 1, rest.len);
		end = memchr(rest.ptr, '\'', rest.len);
	} else {
		end = memchr(rest.ptr, ' ', rest.len);
	}
	len = end != NULL ? (size_t)(end - rest.ptr) : rest.len;
	*value = slice_part(rest, 0, len);
	*fields = slice_part(rest, end != NULL ? len + 1 : len, rest.len);
	return true;
}

/* -- histories ----------------------------------------------------------------------------------- */

static void
attempt_free(struct attempt *a)
{
	size_t i;

	if (a->ended)
		a->attempts->bytes -= a->bytes;
	for (i = 0; i < a->count; i++)
		free(a->steps[i].fields);
	free(a->steps);
	free(a);
}

static void
history_free(struct attempts *attempts, struct history *h)
{
	struct attempt *a;

	while ((a = TAILQ_FIRST(&h->attempts)) != NULL) {
		TAILQ_REMOVE(&h->attempts, a, slot);
		attempt_free(a);
	}
	map_remove(attempts->by_domain, slice_string(h->domain));
	TAILQ_REMOVE(&attempts->order, h, slot);
	free(h);
}

/* Forgets the domains that were not heard of for longest, but none with an attempt under way. */
static void
histories_trim(struct attempts *attempts)
{
	struct history *h, *before;

	for (h = TAILQ_LAST(&attempts->order, histories); h != NULL; h = before) {
		before = TAILQ_PREV(h, histories, slot);
		if (map_count(attempts->by_domain) <= attempts->domains && attempts->bytes <= attempts->bytes_limit)
			return;
		if (h->under_way == 0)
			history_free(attempts, h);
	}
}

/* The history of a domain, made when there is none, and moved to the front. */
static struct history *
history_get(struct attempts *attempts, struct slice domain)
{
	char name[DOMAIN_BYTES];
	struct history *h;

	escape(domain, true, name, sizeof name);
	h = map_get(attempts->by_domain, slice_string(name));
	if (h != NULL) {
		TAILQ_REMOVE(&attempts->order, h, slot);
	} else {
		h = mem_alloc(sizeof *h);
		TAILQ_INIT(&h->attempts);
		memcpy(h->domain, name, sizeof name);
		map_put(attempts->by_domain, slice_string(h->domain), h);
	}
	TAILQ_INSERT_HEAD(&attempts->order, h, slot);
	return h;
}

/* Forgets the oldest attempt that has ended, when there are too many. */
static void
history_trim(struct history *h)
{
	struct attempt *a, *oldest = NULL;

	if (h->ended <= ATTEMPT_KEPT)
		return;
	TAILQ_FOREACH(a, &h->attempts, slot) {
		if (a->ended)
			oldest = a;
	}
	TAILQ_REMOVE(&h->attempts, oldest, slot);
	h->ended--;
	attempt_free(oldest);
}

struct attempts *
attempts_new(size_t domains, size_t bytes)
{
	struct attempts *attempts = mem_alloc(sizeof *attempts);

	attempts->by_domain = map_new();
	TAILQ_INIT(&attempts->order);
	attempts->domains = domains;
	attempts->bytes_limit = bytes;
	return attempts;
}

void
attempts_free(struct attempts **attempts)
{
	struct history *h;

	while ((h = TAILQ_FIRST(&(*attempts)->order)) != NULL)
		history_free(*attempts, h);
	map_free(&(*attempts)->by_domain);
	MEM_FREE(attempts);
}

size_t
attempts_domains(const struct attempts *attempts)
{
	return map_count(attempts->by_domain);
}

size_t
attempts_bytes(const struct attempts *attempts)
{
	return attempts->bytes;
}

/* -- attempts ------------------------------------------------------------------------------------ */

static void
attempt_enter(struct attempt *a, struct slice domain)
{
	a->history = history_get(a->attempts, domain);
	a->history->under_way++;
	TAILQ_INSERT_HEAD(&a->history->attempts, a, slot);
	histories_trim(a->attempts);
}

struct attempt *
attempt_begin(struct attempts *attempts, struct slice domain, enum attempt_direction direction,
    uint64_t milliseconds, uint64_t stamp)
{
	struct attempt *a = mem_alloc(sizeof *a);

	a->attempts = attempts;
	a->direction = direction;
	a->began = milliseconds;
	a->stamp = stamp;
	attempt_enter(a, domain);
	return a;
}

void
attempt_domain(struct attempt *a, struct slice domain)
{
	struct history *old = a->history;

	TAILQ_REMOVE(&old->attempts, a, slot);
	old->under_way--;
	if (TAILQ_EMPTY(&old->attempts))
		history_free(a->attempts, old);
	attempt_enter(a, domain);
}

void
attempt_step(struct attempt *a, uint64_t milliseconds, const char *name, enum attempt_verdict verdict,
    const char *fields, ...)
{
	char raw[ATTEMPT_DETAILS], clean[ATTEMPT_DETAILS];
	struct step *step;
	va_list args;

	if (a->count == ATTEMPT_STEPS) {
		a->left_out++;
		return;
	}
	a->steps = mem_grow(a->steps, (a->count + 1) * sizeof *a->steps);
	step = &a->steps[a->count++];
	*step = (struct step){ .verdict = (uint8_t)verdict };
	step->at = milliseconds - a->began > UINT32_MAX ? UINT32_MAX : (uint32_t)(milliseconds - a->began);
	escape(slice_string(name), true, step->name, sizeof step->name);
	if (fields == NULL || fields[0] == '\0')
		return;
	va_start(args, fields);
	vsnprintf(raw, sizeof raw, fields, args);
	va_end(args);
	escape(slice_string(raw), false, clean, sizeof clean);
	step->fields = mem_string(clean);
	a->bytes += strlen(clean) + 1;
}

void
attempt_end(struct attempt **attempt, uint64_t milliseconds, enum attempt_verdict verdict, const char *result)
{
	struct attempt *a = *attempt;

	*attempt = NULL;
	a->ended = true;
	a->ended_at = milliseconds;
	a->verdict = verdict;
	escape(slice_string(result), true, a->result, sizeof a->result);
	a->bytes += sizeof *a + a->count * sizeof *a->steps;
	a->attempts->bytes += a->bytes;
	a->history->under_way--;
	a->history->ended++;
	/* To the front: what ended now is not the first to be forgotten, however long it took. */
	TAILQ_REMOVE(&a->history->attempts, a, slot);
	TAILQ_INSERT_HEAD(&a->history->attempts, a, slot);
	history_trim(a->history);
	histories_trim(a->attempts);
}

/* -- showing ------------------------------------------------------------------------------------- */

static json_t *
text_json(struct slice text)
{
	return json_stringn(text.ptr, text.len);
}

static json_t *
step_json(const struct step *step)
{
	struct slice fields = slice_string(step->fields), key, value;
	json_t *json = json_object();
	char name[NAME_BYTES + 1];
	size_t n;

	json_object_set_new(json, "at", json_integer(step->at));
	json_object_set_new(json, "step", json_string(step->name));
	json_object_set_new(json, "verdict", json_string(attempt_verdict_text(step->verdict)));
	for (n = 0; n < ATTEMPT_FIELDS && field_next(&fields, &key, &value); n++) {
		if (key.len == 0 || key.len >= sizeof name)
			continue;
		memcpy(name, key.ptr, key.len);
		name[key.len] = '\0';
		if (json_object_get(json, name) == NULL)
			json_object_set_new(json, name, text_json(value));
	}
	return json;
}

static json_t *
attempt_json(const struct attempt *a)
{
	json_t *json = json_object(), *steps = json_array();
	size_t i;

	json_object_set_new(json, "domain", json_string(a->history->domain));
	json_object_set_new(json, "direction", json_string(a->direction == ATTEMPT_OUT ? "out" : "in"));
	json_object_set_new(json, "began", json_integer((json_int_t)a->stamp));
	if (a->ended) {
		json_object_set_new(json, "milliseconds", json_integer((json_int_t)(a->ended_at - a->began)));
		json_object_set_new(json, "verdict", json_string(attempt_verdict_text(a->verdict)));
		json_object_set_new(json, "result", json_string(a->result));
	}
	for (i = 0; i < a->count; i++)
		json_array_append_new(steps, step_json(&a->steps[i]));
	json_object_set_new(json, "steps-left-out", json_integer((json_int_t)a->left_out));
	json_object_set_new(json, "steps", steps);
	return json;
}

json_t *
attempts_json(const struct attempts *attempts, struct slice domain)
{
	char name[DOMAIN_BYTES];
	const struct history *h;
	const struct attempt *a;
	json_t *json;

	escape(domain, true, name, sizeof name);
	h = map_get(attempts->by_domain, slice_string(name));
	if (h == NULL)
		return NULL;
	json = json_array();
	TAILQ_FOREACH(a, &h->attempts, slot)
		json_array_append_new(json, attempt_json(a));
	return json;
}

json_t *
attempts_summary(const struct attempts *attempts)
{
	json_t *json = json_object(), *entry;
	const struct history *h;
	const struct attempt *a;

	TAILQ_FOREACH(h, &attempts->order, slot) {
		entry = json_object();
		json_object_set_new(entry, "attempts", json_integer((json_int_t)(h->ended + h->under_way)));
		TAILQ_FOREACH(a, &h->attempts, slot) {
			if (a->ended)
				break;
		}
		if (a != NULL) {
			json_object_set_new(entry, "verdict", json_string(attempt_verdict_text(a->verdict)));
			json_object_set_new(entry, "result", json_string(a->result));
			json_object_set_new(entry, "began", json_integer((json_int_t)a->stamp));
		}
		json_object_set_new(json, h->domain, entry);
	}
	return json;
}
