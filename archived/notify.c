/*
 * notify.c: what of that which waits for an account is worth a notification (XEP-0357). Called by batch.c.
 * Fails when the store does; a message that cannot be read is passed over.
 *
 * Receipts, markers and the like wait on the spool as well, and nobody is woken for them.
 */
#include "archived.h"

#include "jid.h"
#include "log.h"
#include "ns.h"

#define LOOK_MAX 100 /* messages that are looked at; what is behind them counts unseen */

/* -- one message ------------------------------------------------------------------------------- */

static const struct {
	const char *ns, *name;
	const char *child; /* that it must have, in the same namespace; NULL: none */
} wakers[] = {
	{ NS_EME, "encryption", NULL },
	{ NS_OMEMO, "encrypted", "payload" }, /* without one it carries a key */
	{ NS_OMEMO_OLD, "encrypted", "payload" },
	{ NS_OPENPGP, "openpgp", NULL },
	{ NS_OPENPGP_OLD, "x", NULL },
	{ NS_JINGLE_MESSAGE, "propose", NULL }, /* a call */
	{ NS_CONFERENCE, "x", NULL },           /* invitations */
	{ NS_MUC_USER, "x", "invite" },
};

static bool
is_waker(const struct xmlin_element *element)
{
	struct xmlin_element child;
	size_t i;

	for (i = 0; i < sizeof wakers / sizeof *wakers; i++) {
		if (!slice_is(element->ns, wakers[i].ns) || !slice_is(element->name, wakers[i].name))
			continue;
		return wakers[i].child == NULL || xmlin_find(element->content, element->ns, wakers[i].child,
		    wakers[i].ns, &child);
	}
	return false;
}

/* Puts the beginning of a text into out: whole characters. */
static void
text_take(struct slice text, struct buf *out)
{
	size_t len = text.len;

	if (len > NOTIFY_TEXT) {
		for (len = NOTIFY_TEXT; len > 0 && ((unsigned char)text.ptr[len] & 0xc0) == 0x80; len--)
			;
	}
	buf_clear(out);
	buf_add_slice(out, slice_part(text, 0, len));
}

bool
notify_is_due(const struct frame *message, struct buf *body)
{
	struct buf scratch = { 0 };
	struct xmlin_element element;
	bool due = false, omemo = false;
	struct slice text;
	struct xmlin in;

	buf_clear(body);
	if (message->subtype == TYPE_ERROR)
		return false;
	xmlin_begin(&in, message->payload, SLICE(NS_CLIENT));
	while (xmlin_child(&in, &element)) {
		/* With both, the one that has no payload is no message. */
		omemo |= slice_is(element.name, "encrypted") && !is_waker(&element);
		if (is_waker(&element)) {
			due = true;
		} else if (slice_is(element.name, "body") && slice_is(element.ns, NS_CLIENT) &&
		    buf_len(body) == 0 && xmlin_text(&element, &scratch, &text) == OK && text.len > 0) {
			text_take(text, body);
			due = true;
		}
	}
	buf_free(&scratch);
	return due && (!omemo || buf_len(body) > 0) && in.error == OK;
}

/* -- the spool --------------------------------------------------------------------------------- */

struct look {
	uint64_t seen;  /* rows */
	uint64_t due;   /* those of them that are worth it */
	bool full;      /* there are more */
	struct buf body, last, from; /* of the last one */
	int error;
};

static bool
look_step(void *arg, struct slice key, struct slice value)
{
	struct look *look = arg;
	struct frame f;
	uint64_t stamp;
	int error;

	(void)value;
	look->full = look->seen == LOOK_MAX;
	if (look->full)
		return false;
	look->seen++;
	error = message_get(place_id(key), &stamp, &f);
	if (error == OK && notify_is_due(&f, &look->body)) {
		look->due++;
		buf_clear(&look->last);
		buf_add_slice(&look->last, buf_slice(&look->body));
		buf_clear(&look->from);
		buf_add_slice(&look->from, f.from);
	} else if (error != OK && error != E_NOT_FOUND && error != E_MALFORMED) {
		look->error = error;
	}
	return look->error == OK;
}

static int
look_from(uint64_t account, uint64_t id, struct look *look)
{
	char from[PLACE_SIZE];
	struct slice key = place_key(account, id, from);
	int error;

	look->seen = look->due = 0;
	error = store_walk(state.store, TABLE_SPOOL, key, slice_part(key, 0, 8), look_step, look);
	return error ? error : look->error;
}

/* Counts what is worth a notification, if something since this id is. */
static int
look_at(uint64_t account, uint64_t id, struct look *look, uint64_t *due)
{
	struct look all = { 0 };
	int error = look_from(account, id, look);

	*due = look->due;
	if (error || look->due == 0 || id == 0)
		return error;
	error = look_from(account, 0, &all);
	*due = all.due;
	if (all.full)
		*due += spool_count(account) - all.seen;
	buf_free(&all.body);
	buf_free(&all.last);
	buf_free(&all.from);
	return error;
}

int
notify_answer(const struct frame *f, struct buf *out)
{
	struct frame answer = { .type = FRAME_PUSH, .jid = f->jid, .archive_id = f->archive_id };
	struct look look = { 0 };
	struct account *account;
	int error = account_find(f->jid, &account);

	if (error == OK)
		error = look_at(account->id, f->archive_id, &look, &answer.number);
	else if (error == E_NOT_FOUND)
		error = OK;
	if (answer.number != 0 && state.push_sender)
		answer.from = buf_slice(&look.from);
	if (answer.number != 0 && state.push_body && buf_len(&look.last) != 0)
		answer.text = buf_slice(&look.last);
	if (error == OK)
		error = frame_write(&answer, out);
	buf_free(&look.body);
	buf_free(&look.last);
	buf_free(&look.from);
	return error;
}
