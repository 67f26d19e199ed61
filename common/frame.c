/*
 * frame.c: frames to bytes and back. Called for every frame on every link; what does not fit the
 * form is refused with an error and never half read.
 */
#include "frame.h"

#include "error.h"

static const uint8_t units[FIELD_COUNT] = {
#define FIELD(name, unit) [FIELD_##name] = unit,
#include "frame_field.def"
#undef FIELD
};

static const char *const texts[FRAME_COUNT] = {
	[FRAME_NONE] = "none",
#define FRAME(name, senders, text) [FRAME_##name] = #name,
#include "frame.def"
#undef FRAME
};

const char *
frame_text(enum frame_type type)
{
	return (unsigned)type < FRAME_COUNT ? texts[type] : "unknown";
}

uint32_t
frame_senders(enum frame_type type)
{
	static const uint32_t senders[FRAME_COUNT] = {
#define FRAME(name, by, text) [FRAME_##name] = by,
#include "frame.def"
#undef FRAME
	};

	return (unsigned)type < FRAME_COUNT ? senders[type] : 0;
}

bool
frame_is_secret(struct slice bytes)
{
	uint32_t flags;

	if (bytes.len < 5)
		return false;
	if (frame_senders((enum frame_type)(unsigned char)bytes.ptr[4]) & IS_SECRET)
		return true;
	if (bytes.len < 12)
		return false;
	memcpy(&flags, bytes.ptr + 8, 4);
	return (flags & FLAG_SECRET) != 0;
}

static uint32_t
get_u32(const char *at)
{
	uint32_t n;

	memcpy(&n, at, 4);
	return n;
}

static uint64_t
get_u64(const char *at)
{
	uint64_t n;

	memcpy(&n, at, 8);
	return n;
}

int
frame_next(struct slice bytes, struct slice *whole)
{
	uint32_t len;

	if (bytes.len < 4)
		return E_AGAIN;
	len = get_u32(bytes.ptr);
	if (len < FRAME_HEAD)
		return E_MALFORMED;
	if (len > FRAME_MAX)
		return E_TOO_BIG;
	if (bytes.len < len)
		return E_AGAIN;
	*whole = slice_of(bytes.ptr, len);
	return OK;
}

/* Reads the fixed head; the length was checked by frame_next() or is checked here. */
static int
head_read(struct slice whole, struct frame *f)
{
	const unsigned char *head = (const unsigned char *)whole.ptr;

	if (whole.len < FRAME_HEAD || get_u32(whole.ptr) != whole.len)
		return E_MALFORMED;
	if (head[4] == FRAME_NONE || head[4] >= FRAME_COUNT || head[5] >= STANZA_KIND_COUNT ||
	    head[6] >= TYPE_COUNT || head[7] >= AUDIENCE_COUNT)
		return E_MALFORMED;
	f->type = (enum frame_type)head[4];
	f->kind = (enum stanza_kind)head[5];
	f->subtype = (enum stanza_type)head[6];
	f->audience = (enum audience)head[7];
	f->flags = get_u32(whole.ptr + 8);
	f->origin = get_u32(whole.ptr + 12);
	f->seq = get_u64(whole.ptr + 16);
	f->handle = get_u64(whole.ptr + 24);
	f->archive_id = get_u64(whole.ptr + 32);
	f->number = get_u64(whole.ptr + 40);
	f->stamp = get_u64(whole.ptr + 48);
	return (f->flags & ~(uint32_t)FLAG_ALL) == 0 ? OK : E_MALFORMED;
}

int
frame_read(struct slice whole, struct frame *f)
{
	size_t at = FRAME_HEAD;
	int error;

	memset(f, 0, sizeof *f);
	error = head_read(whole, f);
	if (error)
		return error;
	while (at < whole.len) {
		uint32_t mark, len, field;

		if (whole.len - at < 4)
			return E_MALFORMED;
		mark = get_u32(whole.ptr + at);
		len = mark & 0xffffff;
		field = mark >> 24;
		at += 4;
		if (field >= FIELD_COUNT || len > whole.len - at || len % units[field] != 0 ||
		    f->field[field].ptr != NULL)
			return E_MALFORMED;
		f->field[field] = slice_of(whole.ptr + at, len);
		at += len;
	}
	return OK;
}

/* The bytes that a frame takes on the wire. */
static size_t
frame_size(const struct frame *f)
{
	size_t size = FRAME_HEAD;
	unsigned i;

	for (i = 0; i < FIELD_COUNT; i++) {
		if (f->field[i].ptr != NULL)
			size += 4 + f->field[i].len;
	}
	return size;
}

int
frame_write(const struct frame *f, struct buf *out)
{
	size_t size = frame_size(f);
	uint32_t len = (uint32_t)size;
	char *at, *start;
	unsigned i;

	if (size > FRAME_MAX)
		return E_TOO_BIG;
	at = start = buf_reserve(out, size);
	memcpy(at, &len, 4);
	at[4] = (char)f->type;
	at[5] = (char)f->kind;
	at[6] = (char)f->subtype;
	at[7] = (char)f->audience;
	memcpy(at + 8, &f->flags, 4);
	memcpy(at + 12, &f->origin, 4);
	memcpy(at + 16, &f->seq, 8);
	memcpy(at + 24, &f->handle, 8);
	memcpy(at + 32, &f->archive_id, 8);
	memcpy(at + 40, &f->number, 8);
	memcpy(at + 48, &f->stamp, 8);
	at += FRAME_HEAD;
	for (i = 0; i < FIELD_COUNT; i++) {
		uint32_t mark;

		if (f->field[i].ptr == NULL)
			continue;
		mark = (uint32_t)i << 24 | (uint32_t)f->field[i].len;
		memcpy(at, &mark, 4);
		memcpy(at + 4, f->field[i].ptr, f->field[i].len);
		at += 4 + f->field[i].len;
	}
	buf_added(out, (size_t)(at - start));
	return OK;
}
