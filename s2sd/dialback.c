/*
 * dialback.c: the elements and the keys of server dialback (XEP-0220, XEP-0185). Called by those who
 * read and write streams of servers. Fails on what peers send malformed, and when the key operation
 * does.
 */
#include "dialback.h"

#include <gnutls/crypto.h>
#include <gnutls/gnutls.h>

#include "error.h"
#include "ns.h"
#include "xmlin.h"
#include "xmlout.h"

#define HASH 32u

static const struct {
	const char *name;
	enum dialback_type type;
} types[] = {
	{ "valid", DIALBACK_VALID }, { "invalid", DIALBACK_INVALID }, { "error", DIALBACK_ERROR },
};

/* -- elements ------------------------------------------------------------------------------------ */

bool
dialback_is(const struct xml_element *element)
{
	return slice_is(element->ns, NS_DIALBACK) &&
	    (slice_is(element->name, "result") || slice_is(element->name, "verify"));
}

/* Reads an address that must be a domain and nothing more. */
static int
domain_read(struct slice text, char out[JID_PART_MAX + 1], struct slice *domain)
{
	return text.ptr == NULL || text.len == 0 ? E_MALFORMED : jid_prepare_domain(text, out, domain);
}

static int
type_read(struct slice text, enum dialback_type *type)
{
	size_t i;

	*type = DIALBACK_REQUEST;
	if (text.ptr == NULL)
		return OK;
	for (i = 0; i < sizeof types / sizeof types[0]; i++) {
		if (slice_is(text, types[i].name)) {
			*type = types[i].type;
			return OK;
		}
	}
	return E_MALFORMED;
}

static bool
is_space(char c)
{
	return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

static struct slice
trim(struct slice text)
{
	while (text.len > 0 && is_space(text.ptr[0]))
		text = slice_part(text, 1, text.len);
	while (text.len > 0 && is_space(text.ptr[text.len - 1]))
		text.len--;
	return text;
}

/* Whether a text is one word: it can be compared, written down, and told from what is beside it. */
static bool
is_word(struct slice text)
{
	size_t i;

	for (i = 0; i < text.len && (uint8_t)text.ptr[i] > ' ' && text.ptr[i] != 0x7f; i++)
		;
	return text.len > 0 && i == text.len;
}

/* The condition within the <error/> of a payload. */
static enum stanza_error
condition_read(struct slice payload)
{
	struct xmlin in, conditions;
	struct xmlin_element element;
	int i;

	xmlin_begin(&in, payload, SLICE(NS_DIALBACK));
	while (xmlin_child(&in, &element)) {
		if (!slice_is(element.name, "error") || !slice_is(element.ns, NS_SERVER))
			continue;
		xmlin_begin(&conditions, element.content, element.ns);
		while (xmlin_child(&conditions, &element)) {
			for (i = STANZA_ERROR_NONE + 1; i < STANZA_ERROR_COUNT; i++) {
				if (slice_is(element.ns, NS_STANZAS) &&
				    slice_is(element.name, stanza_error_text((enum stanza_error)i)))
					return (enum stanza_error)i;
			}
		}
		break;
	}
	return STANZA_ERROR_UNDEFINED_CONDITION;
}

/* Reads a stream id or a key: a word, not too long. */
static int
word_read(struct slice text, size_t max, struct slice *word, const char **condition)
{
	*word = text;
	if (text.len > max) {
		*condition = "policy-violation";
		return E_TOO_BIG;
	}
	*condition = "bad-format";
	return is_word(text) ? OK : E_MALFORMED;
}

int
dialback_read(const struct xml_element *element, struct dialback *d, const char **condition)
{
	int code;

	d->kind = slice_is(element->name, "verify") ? DIALBACK_VERIFY : DIALBACK_RESULT;
	d->id = d->key = SLICE_NONE;
	d->condition = STANZA_ERROR_NONE;
	*condition = "improper-addressing";
	if (domain_read(element->from, d->domains, &d->from) != OK ||
	    domain_read(element->to, d->domains + JID_PART_MAX + 1, &d->to) != OK)
		return E_MALFORMED;
	*condition = "bad-format";
	code = type_read(element->type, &d->type);
	if (code == OK && d->kind == DIALBACK_VERIFY)
		code = word_read(element->id, DIALBACK_ID_MAX, &d->id, condition);
	if (code == OK && d->type == DIALBACK_REQUEST)
		code = element->children > 0 ? E_MALFORMED
		    : word_read(trim(element->text), DIALBACK_KEY_MAX, &d->key, condition);
	if (code == OK && d->type == DIALBACK_ERROR)
		d->condition = condition_read(element->payload);
	return code;
}

static const char *
type_text(enum dialback_type type)
{
	size_t i;

	for (i = 0; i < sizeof types / sizeof types[0]; i++) {
		if (types[i].type == type)
			return types[i].name;
	}
	return NULL;
}

static void
error_write(enum stanza_error condition, struct buf *out)
{
	static const char *const kinds[] = {
		[STANZA_ERROR_NONE] = "cancel",
#define STANZA_ERROR(name, text, type) [STANZA_ERROR_##name] = type,
#include "stanza_error.def"
#undef STANZA_ERROR
	};

	if (condition == STANZA_ERROR_NONE)
		condition = STANZA_ERROR_UNDEFINED_CONDITION;
	buf_add_string(out, "<error");
	xml_add_attribute(out, "type", slice_string(kinds[condition]));
	buf_add_string(out, "><");
	buf_add_string(out, stanza_error_text(condition));
	xml_add_attribute(out, "xmlns", SLICE(NS_STANZAS));
	buf_add_string(out, "/></error>");
}

void
dialback_write(const struct dialback *d, struct buf *out)
{
	const char *name = d->kind == DIALBACK_VERIFY ? "db:verify" : "db:result";

	xml_open(out, name, SLICE_NONE);
	xml_add_attribute(out, "from", d->from);
	xml_add_attribute(out, "to", d->to);
	if (d->kind == DIALBACK_VERIFY)
		xml_add_attribute(out, "id", d->id);
	xml_add_attribute(out, "type", slice_string(type_text(d->type)));
	if (d->type == DIALBACK_VALID || d->type == DIALBACK_INVALID) {
		buf_add_string(out, "/>");
		return;
	}
	buf_add_char(out, '>');
	if (d->type == DIALBACK_ERROR)
		error_write(d->condition, out);
	else
		xml_add_text(out, d->key);
	buf_printf(out, "</%s>", name);
}

void
dialback_answer(const struct dialback *request, enum dialback_type type, enum stanza_error condition,
    struct dialback *answer)
{
	answer->kind = request->kind;
	answer->type = type;
	answer->from = request->to;
	answer->to = request->from;
	answer->id = request->id;
	answer->key = SLICE_NONE;
	answer->condition = type == DIALBACK_ERROR ? condition : STANZA_ERROR_NONE;
}

/* -- keys ---------------------------------------------------------------------------------------- */

int
dialback_key(struct slice target, struct slice sender, struct slice id, dialback_sign *sign, void *arg,
    char key[DIALBACK_KEY])
{
	struct buf text = { 0 };
	int code;

	if (!is_word(target) || !is_word(sender) || !is_word(id))
		return E_MALFORMED;
	buf_add_slice(&text, target);
	buf_add_char(&text, ' ');
	buf_add_slice(&text, sender);
	buf_add_char(&text, ' ');
	buf_add_slice(&text, id);
	code = sign(arg, buf_slice(&text), key);
	buf_free(&text);
	return code;
}

int
dialback_verify(const struct dialback *request, dialback_sign *sign, void *arg)
{
	char key[DIALBACK_KEY];
	int code = dialback_key(request->from, request->to, request->id, sign, arg, key);

	if (code != OK)
		return code;
	/* How long a key of ours is is no secret. */
	return request->key.len == DIALBACK_KEY - 1 &&
	    gnutls_memcmp(request->key.ptr, key, DIALBACK_KEY - 1) == 0 ? OK : E_MISMATCH;
}

static void
hex(const uint8_t bytes[HASH], char text[DIALBACK_KEY])
{
	static const char digits[] = "0123456789abcdef";
	size_t i;

	for (i = 0; i < HASH; i++) {
		text[2 * i] = digits[bytes[i] >> 4];
		text[2 * i + 1] = digits[bytes[i] & 15];
	}
	text[2 * HASH] = '\0';
}

int
dialback_mac(struct slice secret, struct slice text, char key[DIALBACK_KEY])
{
	char hashed[DIALBACK_KEY];
	uint8_t digest[HASH];
	int code = gnutls_hash_fast(GNUTLS_DIG_SHA256, secret.ptr, secret.len, digest);

	hex(digest, hashed);
	if (code == 0)
		code = gnutls_hmac_fast(GNUTLS_MAC_SHA256, hashed, DIALBACK_KEY - 1, text.ptr, text.len, digest);
	hex(digest, key);
	gnutls_memset(hashed, 0, sizeof hashed);
	gnutls_memset(digest, 0, sizeof digest);
	return code == 0 ? OK : E_SYSTEM;
}
