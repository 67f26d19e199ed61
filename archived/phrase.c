/*
 * phrase.c: what the text index gets of a message, and what it is asked for somebody who searches.
 * Called by search.c, query.c and page.c; no store, no output.
 *
 * What is made of a message may not change without SCHEMA_VERSION in text.c: a row is removed by
 * making the same again.
 */
#include "archived.h"

#include <unictype.h>
#include <unistr.h>

#include "jid.h"
#include "ns.h"

#define WORDS_MAX   (64u << 10) /* bytes of a message that are looked at */
#define TERMS_MAX   16
#define PREFIX_MIN  3           /* letters before an asterisk: fewer would find half the index */

/* -- text -- */

/* Whether each letter is a word: scripts that put no space between their words. */
static bool
is_alone(ucs4_t c)
{
	return (c >= 0x2e80 && c <= 0x9fff) || (c >= 0xf900 && c <= 0xfaff) ||
	    (c >= 0x20000 && c <= 0x3ffff);
}

/* Whether the tokenizer makes words of it. */
static bool
is_letter(ucs4_t c)
{
	if (c < 0x80)
		return (c >= '0' && c <= '9') || ((c | 0x20) >= 'a' && (c | 0x20) <= 'z');
	return uc_is_general_category_withtable(c, UC_CATEGORY_MASK_L | UC_CATEGORY_MASK_N |
	    UC_CATEGORY_MASK_Co);
}

static void
add_alone(struct slice piece, struct buf *out)
{
	buf_add_char(out, ' ');
	buf_add_slice(out, piece);
	buf_add_char(out, ' ');
}

/* Copies text with spaces around what stands alone, up to limit bytes of it, and never a double
 * quote. Returns the number of letters. */
static size_t
copy_text(struct slice text, size_t limit, struct buf *out)
{
	size_t at = 0, letters = 0;

	while (at < text.len && at < limit) {
		ucs4_t c;
		int len = u8_mbtouc(&c, (const uint8_t *)text.ptr + at, text.len - at);
		struct slice piece = slice_part(text, at, (size_t)len);

		at += (size_t)len;
		letters += is_letter(c);
		if (c == 0 || c == '"' || c == 0xfffd)
			buf_add_char(out, ' ');
		else if (is_alone(c))
			add_alone(piece, out);
		else
			buf_add_slice(out, piece);
	}
	return letters;
}

/* -- messages -- */

void
phrase_party(struct slice jid, struct buf *out)
{
	char hash[32];

	store_key_hash(hash, jid_bare_of(jid));
	buf_add_hex(out, hash, 8);
}

void
phrase_parties(const struct frame *f, struct buf *out)
{
	phrase_party(f->from, out);
	buf_add_char(out, ' ');
	phrase_party(f->to, out);
}

void
phrase_words(const struct frame *f, struct buf *out)
{
	struct xmlin_element child;
	struct buf scratch = { 0 };
	struct slice text;
	struct xmlin in;

	xmlin_begin(&in, f->payload, SLICE(NS_CLIENT));
	while (xmlin_child(&in, &child) && buf_len(out) < WORDS_MAX) {
		if (!slice_is(child.ns, NS_CLIENT) ||
		    (!slice_is(child.name, "body") && !slice_is(child.name, "subject")))
			continue;
		buf_clear(&scratch);
		if (xmlin_text(&child, &scratch, &text) != OK)
			continue;
		copy_text(text, WORDS_MAX - buf_len(out), out);
		buf_add_char(out, '\n');
	}
	buf_free(&scratch);
}

/* -- searches -- */

/* Takes a term off the front of what was typed: a word, or what stands between double quotes.
 * *prefix: an asterisk is behind it. False: there is none. */
static bool
term_take(struct slice *rest, struct slice *term, bool *prefix)
{
	size_t at = 0, from, end;
	bool quoted;

	while (at < rest->len && (unsigned char)rest->ptr[at] <= ' ')
		at++;
	if (at == rest->len)
		return false;
	quoted = rest->ptr[at] == '"';
	from = at += quoted;
	while (at < rest->len && rest->ptr[at] != '"' && (quoted || (unsigned char)rest->ptr[at] > ' '))
		at++;
	end = at;
	at += quoted && at < rest->len;
	*prefix = quoted ? at < rest->len && rest->ptr[at] == '*' :
	    end > from && rest->ptr[end - 1] == '*';
	if (quoted && *prefix)
		at++;
	*term = slice_part(*rest, from, end - from);
	*rest = slice_part(*rest, at, rest->len);
	return true;
}

int
phrase_read(struct slice typed, struct buf *expression)
{
	struct buf text = { 0 };
	unsigned count = 0;
	struct slice term;
	bool prefix;
	int error = typed.len > PHRASE_MAX ? E_TOO_BIG : OK;

	while (error == OK && term_take(&typed, &term, &prefix)) {
		size_t letters;

		buf_clear(&text);
		letters = copy_text(term, term.len, &text);
		if (letters == 0) /* nothing that is in the index */
			continue;
		if (count++ == TERMS_MAX)
			error = E_TOO_MANY;
		if (buf_len(expression) != 0)
			buf_add_string(expression, " AND ");
		buf_printf(expression, "text:\"%.*s\"%s", SLICE_ARG(buf_slice(&text)),
		    prefix && letters >= PREFIX_MIN ? "*" : "");
	}
	buf_free(&text);
	return error;
}
