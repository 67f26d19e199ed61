/*
 * precis.c: PRECIS string classes and profiles, on libunistring's character properties. Called by
 * jid.c for text that is not ASCII. Fails on invalid UTF-8, on characters that a class refuses, on
 * mixed directions, and on text that is too long; aborts when memory is exhausted.
 *
 * libunistring has no PRECIS tables; property_of() derives them as RFC 8264 section 8 says, so they
 * follow the Unicode version of the library.
 */
#include "precis.h"

#include <errno.h>
#include <stdlib.h>
#include <unicase.h>
#include <unictype.h>
#include <uninorm.h>
#include <unistr.h>

#include "error.h"
#include "mem.h"

/* How often a result that still changes is enforced again before it is refused. */
#define PASSES_MORE 4

#define ZWNJ 0x200C
#define ZWJ  0x200D

/* The derived property of a code point (RFC 8264 section 8). */
enum property {
	PVALID,    /* in both classes */
	FREE_PVAL, /* in FreeformClass only */
	CONTEXT,   /* in both, where its contextual rule holds */
	REFUSED    /* disallowed or unassigned */
};

/* Unicode code points; cp is from malloc(3). */
struct points {
	uint32_t *cp;
	size_t len;
};

/* Section 9.6: code points whose derived property is set by hand. */
static const struct {
	uint32_t first;
	uint32_t last;
	enum property property;
} exceptions[] = {
	{ 0x00B7, 0x00B7, CONTEXT },
	{ 0x00DF, 0x00DF, PVALID },
	{ 0x0375, 0x0375, CONTEXT },
	{ 0x03C2, 0x03C2, PVALID },
	{ 0x05F3, 0x05F4, CONTEXT },
	{ 0x0640, 0x0640, REFUSED },
	{ 0x0660, 0x0669, CONTEXT },
	{ 0x06F0, 0x06F9, CONTEXT },
	{ 0x06FD, 0x06FE, PVALID },
	{ 0x07FA, 0x07FA, REFUSED },
	{ 0x0F0B, 0x0F0B, PVALID },
	{ 0x3007, 0x3007, PVALID },
	{ 0x302E, 0x302F, REFUSED },
	{ 0x3031, 0x3035, REFUSED },
	{ 0x303B, 0x303B, REFUSED },
	{ 0x30FB, 0x30FB, CONTEXT },
};

/* Section 9.9: Hangul_Syllable_Type L, V and T. unictype does not have the property, but the ranges
 * are full and will not grow. */
static const struct {
	uint32_t first;
	uint32_t last;
} old_hangul_jamo[] = {
	{ 0x1100, 0x11FF },
	{ 0xA960, 0xA97C },
	{ 0xD7B0, 0xD7C6 },
	{ 0xD7CB, 0xD7FB },
};

#define LETTER_DIGITS                                                                    \
	(UC_CATEGORY_MASK_Ll | UC_CATEGORY_MASK_Lu | UC_CATEGORY_MASK_Lo |               \
	    UC_CATEGORY_MASK_Nd | UC_CATEGORY_MASK_Lm | UC_CATEGORY_MASK_Mn |            \
	    UC_CATEGORY_MASK_Mc)
#define FREEFORM_EXTRA                                                                   \
	(UC_CATEGORY_MASK_Lt | UC_CATEGORY_MASK_Nl | UC_CATEGORY_MASK_No |               \
	    UC_CATEGORY_MASK_Me | UC_CATEGORY_MASK_Zs | UC_CATEGORY_MASK_S |             \
	    UC_CATEGORY_MASK_P)

/* Tells whether a code point is changed by NFKC (section 9.17, HasCompat). */
static bool
has_compat(uint32_t cp)
{
	uint32_t room[UC_DECOMPOSITION_MAX_LENGTH];
	size_t len = UC_DECOMPOSITION_MAX_LENGTH;
	uint32_t *result;
	bool changed;
	int tag;

	if (uc_decomposition(cp, &tag, room) < 0)
		return false;
	result = u32_normalize(UNINORM_NFKC, &cp, 1, room, &len);
	if (result == NULL)
		abort();
	changed = len != 1 || result[0] != cp;
	if (result != room)
		free(result);
	return changed;
}

/* Derives the property of a code point, in the order of section 8. */
static enum property
property_of(uint32_t cp)
{
	size_t i;

	for (i = 0; i < sizeof(exceptions) / sizeof(exceptions[0]); i++)
		if (cp >= exceptions[i].first && cp <= exceptions[i].last)
			return exceptions[i].property;
	if (cp >= 0x21 && cp <= 0x7E)
		return PVALID;
	if (uc_is_property_join_control(cp))
		return CONTEXT;
	for (i = 0; i < sizeof(old_hangul_jamo) / sizeof(old_hangul_jamo[0]); i++)
		if (cp >= old_hangul_jamo[i].first && cp <= old_hangul_jamo[i].last)
			return REFUSED;
	if (uc_is_property_default_ignorable_code_point(cp) ||
	    uc_is_property_not_a_character(cp))
		return REFUSED;
	/* What is unassigned or a control has no category of those below. */
	if (!uc_is_general_category_withtable(cp, LETTER_DIGITS | FREEFORM_EXTRA))
		return REFUSED;
	if (has_compat(cp))
		return FREE_PVAL;
	return uc_is_general_category_withtable(cp, LETTER_DIGITS) ? PVALID : FREE_PVAL;
}

/* Tells whether all code points are of a class, context aside. */
static bool
is_in_class(const struct points *p, bool freeform)
{
	size_t i;

	for (i = 0; i < p->len; i++) {
		enum property property = property_of(p->cp[i]);

		if (property == REFUSED || (property == FREE_PVAL && !freeform))
			return false;
	}
	return true;
}

static bool
has_range(const struct points *p, uint32_t first, uint32_t last)
{
	size_t i;

	for (i = 0; i < p->len; i++)
		if (p->cp[i] >= first && p->cp[i] <= last)
			return true;
	return false;
}

static bool
is_script(uint32_t cp, const char *name)
{
	const uc_script_t *script = uc_script(cp);

	return script != NULL && strcmp(script->name, name) == 0;
}

/* RFC 5892 appendix A.1, second half: between two letters that join across it. */
static bool
is_between_joining(const struct points *p, size_t at)
{
	int type;
	size_t i;

	for (i = at; i > 0 && uc_joining_type(p->cp[i - 1]) == UC_JOINING_TYPE_T; i--)
		;
	if (i == 0)
		return false;
	type = uc_joining_type(p->cp[i - 1]);
	if (type != UC_JOINING_TYPE_L && type != UC_JOINING_TYPE_D)
		return false;
	for (i = at + 1; i < p->len && uc_joining_type(p->cp[i]) == UC_JOINING_TYPE_T; i++)
		;
	if (i == p->len)
		return false;
	type = uc_joining_type(p->cp[i]);
	return type == UC_JOINING_TYPE_R || type == UC_JOINING_TYPE_D;
}

/* RFC 5892 appendix A.7: the katakana middle dot wants company of one of its scripts. */
static bool
has_japanese(const struct points *p)
{
	size_t i;

	for (i = 0; i < p->len; i++)
		if (is_script(p->cp[i], "Hiragana") || is_script(p->cp[i], "Katakana") ||
		    is_script(p->cp[i], "Han"))
			return true;
	return false;
}

/* Applies the rule of one code point about its neighbours, if it has one (A.1 to A.6). */
static bool
is_in_context(const struct points *p, size_t at)
{
	uint32_t before = at > 0 ? p->cp[at - 1] : 0;
	uint32_t after = at + 1 < p->len ? p->cp[at + 1] : 0;

	switch (p->cp[at]) {
	case ZWNJ:
		return uc_combining_class(before) == UC_CCC_VR || is_between_joining(p, at);
	case ZWJ:
		return uc_combining_class(before) == UC_CCC_VR;
	case 0x00B7: /* middle dot: Catalan */
		return before == 'l' && after == 'l';
	case 0x0375: /* Greek lower numeral sign */
		return is_script(after, "Greek");
	case 0x05F3: /* Hebrew geresh and gershayim */
	case 0x05F4:
		return is_script(before, "Hebrew");
	}
	return true;
}

/* Applies the contextual rules to a text. */
static bool
has_contexts(const struct points *p)
{
	size_t i;

	/* RFC 5892 appendix A.8 and A.9: Arabic-Indic digits of both kinds do not mix. */
	if (has_range(p, 0x0660, 0x0669) && has_range(p, 0x06F0, 0x06F9))
		return false;
	if (has_range(p, 0x30FB, 0x30FB) && !has_japanese(p))
		return false;
	for (i = 0; i < p->len; i++)
		if (!is_in_context(p, i))
			return false;
	return true;
}

#define BIT(class)  (1u << (class))
#define BIDI_RTL    (BIT(UC_BIDI_R) | BIT(UC_BIDI_AL) | BIT(UC_BIDI_AN))
#define BIDI_BOTH                                                                        \
	(BIT(UC_BIDI_EN) | BIT(UC_BIDI_ES) | BIT(UC_BIDI_CS) | BIT(UC_BIDI_ET) |         \
	    BIT(UC_BIDI_ON) | BIT(UC_BIDI_BN) | BIT(UC_BIDI_NSM))

/* The Bidi Rule of RFC 5893 section 2, for a text with right-to-left characters. */
static bool
has_one_direction(const struct points *p)
{
	unsigned seen = 0, first, last = 0;
	size_t i;

	for (i = 0; i < p->len; i++) {
		unsigned bit = BIT(uc_bidi_class(p->cp[i]));

		seen |= bit;
		if (bit != BIT(UC_BIDI_NSM))
			last = bit;
	}
	if ((seen & BIDI_RTL) == 0)
		return true;
	first = BIT(uc_bidi_class(p->cp[0]));
	/* A text that starts left-to-right may hold nothing of BIDI_RTL, which it does. */
	if (first != BIT(UC_BIDI_R) && first != BIT(UC_BIDI_AL))
		return false;
	if ((seen & ~(BIDI_RTL | BIDI_BOTH)) != 0)
		return false;
	if ((last & (BIDI_RTL | BIT(UC_BIDI_EN))) == 0)
		return false;
	return (seen & BIT(UC_BIDI_EN)) == 0 || (seen & BIT(UC_BIDI_AN)) == 0;
}

/* Maps a full-width or half-width code point to the one it is a variant of. */
static uint32_t
map_width(uint32_t cp)
{
	uint32_t room[UC_DECOMPOSITION_MAX_LENGTH];
	int tag;

	/* All of them are here, but for the ideographic space. */
	if (cp != 0x3000 && (cp < 0xFF00 || cp > 0xFFEF))
		return cp;
	if (uc_decomposition(cp, &tag, room) == 1 &&
	    (tag == UC_DECOMP_WIDE || tag == UC_DECOMP_NARROW))
		return room[0];
	return cp;
}

/* Replaces a text by what libunistring made of it. */
static void
points_take(struct points *p, uint32_t *cp, size_t len)
{
	if (cp == NULL)
		abort();
	free(p->cp);
	*p = (struct points){ cp, len };
}

/*
 * One pass of UsernameCaseMapped over p. The characters are judged last, as RFC 8264 section 7
 * orders: RFC 8265 section 3.3.1 reads as if before the case mapping and NFC, but that would refuse
 * what is canonically the same as a good text, such as Hangul that a system decomposes.
 */
static int
username_pass(struct points *p)
{
	uint32_t *cp;
	size_t i, len;

	for (i = 0; i < p->len; i++)
		p->cp[i] = map_width(p->cp[i]);
	cp = u32_tolower(p->cp, p->len, NULL, UNINORM_NFC, NULL, &len);
	points_take(p, cp, len);
	return has_one_direction(p) && is_in_class(p, false) && has_contexts(p) ? OK : E_MALFORMED;
}

/* One pass of OpaqueString over p. */
static int
opaque_pass(struct points *p)
{
	uint32_t *cp;
	size_t i, len;

	for (i = 0; i < p->len; i++)
		if (uc_is_general_category_withtable(p->cp[i], UC_CATEGORY_MASK_Zs))
			p->cp[i] = ' ';
	cp = u32_normalize(UNINORM_NFC, p->cp, p->len, NULL, &len);
	points_take(p, cp, len);
	return is_in_class(p, true) && has_contexts(p) ? OK : E_MALFORMED;
}

/* One pass of the domain mapping over p. */
static int
domain_pass(struct points *p)
{
	uint32_t *cp;
	size_t i, len;

	for (i = 0; i < p->len; i++) {
		p->cp[i] = map_width(p->cp[i]);
		if (p->cp[i] == 0x3002)
			p->cp[i] = '.';
		/* RFC 5895 maps letter by letter: no final sigma from a capital one. */
		if (p->cp[i] == 0x03A3)
			p->cp[i] = 0x03C3;
	}
	cp = u32_tolower(p->cp, p->len, NULL, UNINORM_NFC, NULL, &len);
	points_take(p, cp, len);
	return OK;
}

/* Decodes text; the only reason for it to fail is invalid UTF-8. */
static int
points_decode(struct slice text, struct points *p)
{
	if (text.len == 0)
		return E_MALFORMED;
	if (text.len > PRECIS_TEXT_MAX)
		return E_TOO_BIG;
	p->cp = u8_to_u32((const uint8_t *)text.ptr, text.len, NULL, &p->len);
	if (p->cp == NULL && errno != EILSEQ)
		abort();
	return p->cp != NULL ? OK : E_MALFORMED;
}

static int
points_encode(const struct points *p, char *out, size_t room, size_t *len)
{
	uint8_t *bytes;

	*len = room;
	bytes = u32_to_u8(p->cp, p->len, (uint8_t *)out, len);
	if (bytes == NULL)
		abort();
	if (bytes == (uint8_t *)out)
		return OK;
	free(bytes);
	return E_TOO_BIG;
}

/*
 * Passes over text until it no longer changes (RFC 8264 section 7). A canonical text takes one
 * pass, any other at least two.
 */
static int
enforce(int (*pass)(struct points *), struct slice text, char *out, size_t room, size_t *len)
{
	struct points now = { NULL, 0 }, before = { NULL, 0 };
	int error, passes;

	error = points_decode(text, &now);
	for (passes = 0; error == OK; passes++) {
		points_take(&before, mem_copy(now.cp, now.len * sizeof(*now.cp)), now.len);
		error = pass(&now);
		if (error != OK)
			break;
		if (u32_cmp2(now.cp, now.len, before.cp, before.len) == 0) {
			error = points_encode(&now, out, room, len);
			break;
		}
		if (passes == PASSES_MORE)
			error = E_MALFORMED;
	}
	free(now.cp);
	free(before.cp);
	return error;
}

int
precis_username(struct slice text, char *out, size_t room, size_t *len)
{
	return enforce(username_pass, text, out, room, len);
}

int
precis_opaque(struct slice text, char *out, size_t room, size_t *len)
{
	return enforce(opaque_pass, text, out, room, len);
}

int
precis_domain(struct slice text, char *out, size_t room, size_t *len)
{
	return enforce(domain_pass, text, out, room, len);
}
