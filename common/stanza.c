/*
 * stanza.c: names and types of stanzas, the replies to them, and writing them for a stream. Called
 * by every daemon that handles stanzas; stanza_write() for each that is delivered. Only the reading
 * of a type can fail.
 */
#include "stanza.h"

#include "error.h"
#include "jid.h"
#include "ns.h"
#include "xmlchar.h"
#include "xmlin.h"
#include "xmlout.h"

#define STAMP_MAX UINT64_C(253402300799999) /* 9999-12-31T23:59:59.999Z */

static const char *const kinds[STANZA_KIND_COUNT] = {
	[STANZA_MESSAGE] = "message", [STANZA_PRESENCE] = "presence", [STANZA_IQ] = "iq",
};

/* Every type, and the kinds that have it. */
static const struct type {
	const char *text; /* as written; NULL: no attribute */
	unsigned kinds;
} types[TYPE_COUNT] = {
	[TYPE_NORMAL] = { NULL, 1u << STANZA_MESSAGE },
	[TYPE_CHAT] = { "chat", 1u << STANZA_MESSAGE },
	[TYPE_GROUPCHAT] = { "groupchat", 1u << STANZA_MESSAGE },
	[TYPE_HEADLINE] = { "headline", 1u << STANZA_MESSAGE },
	[TYPE_AVAILABLE] = { NULL, 1u << STANZA_PRESENCE },
	[TYPE_UNAVAILABLE] = { "unavailable", 1u << STANZA_PRESENCE },
	[TYPE_SUBSCRIBE] = { "subscribe", 1u << STANZA_PRESENCE },
	[TYPE_SUBSCRIBED] = { "subscribed", 1u << STANZA_PRESENCE },
	[TYPE_UNSUBSCRIBE] = { "unsubscribe", 1u << STANZA_PRESENCE },
	[TYPE_UNSUBSCRIBED] = { "unsubscribed", 1u << STANZA_PRESENCE },
	[TYPE_PROBE] = { "probe", 1u << STANZA_PRESENCE },
	[TYPE_GET] = { "get", 1u << STANZA_IQ },
	[TYPE_SET] = { "set", 1u << STANZA_IQ },
	[TYPE_RESULT] = { "result", 1u << STANZA_IQ },
	[TYPE_ERROR] = { "error", 1u << STANZA_MESSAGE | 1u << STANZA_PRESENCE | 1u << STANZA_IQ },
};

/* Condition and type of each error. */
static const struct { const char *text, *type; } errors[STANZA_ERROR_COUNT] = {
#define STANZA_ERROR(name, text, type) [STANZA_ERROR_##name] = { text, type },
#include "stanza_error.def"
#undef STANZA_ERROR
};

const char *
stanza_error_text(enum stanza_error error)
{
	if (error == STANZA_ERROR_NONE || (unsigned)error >= STANZA_ERROR_COUNT)
		error = STANZA_ERROR_UNDEFINED_CONDITION;
	return errors[error].text;
}

const char *
stanza_kind_text(enum stanza_kind kind)
{
	return (unsigned)kind < STANZA_KIND_COUNT && kinds[kind] != NULL ? kinds[kind] : "none";
}

const char *
stanza_type_text(enum stanza_type type)
{
	return (unsigned)type < TYPE_COUNT ? types[type].text : NULL;
}

int
stanza_classify(struct slice name, struct slice type, enum stanza_kind *kind,
    enum stanza_type *subtype)
{
	unsigned k, t;

	*kind = STANZA_NONE;
	*subtype = TYPE_NONE;
	for (k = STANZA_MESSAGE; k < STANZA_KIND_COUNT && !slice_is(name, kinds[k]); k++)
		;
	if (k == STANZA_KIND_COUNT)
		return OK;
	*kind = (enum stanza_kind)k;
	for (t = TYPE_NONE; type.ptr != NULL && t < TYPE_COUNT; t++)
		if ((types[t].kinds & 1u << k) != 0 && types[t].text != NULL &&
		    slice_is(type, types[t].text)) {
			*subtype = (enum stanza_type)t;
			return OK;
		}
	if (*kind == STANZA_MESSAGE)
		*subtype = TYPE_NORMAL;
	else if (*kind == STANZA_PRESENCE && type.ptr == NULL)
		*subtype = TYPE_AVAILABLE;
	else
		return E_MALFORMED;
	return OK;
}

enum stanza_error
stanza_error_of(const struct frame *f)
{
	struct xmlin_element error, child;
	struct xmlin in;
	unsigned i;

	if (f->payload.len == 0 || !xmlin_find(f->payload, SLICE(NS_CLIENT), "error", NS_CLIENT, &error))
		return STANZA_ERROR_UNDEFINED_CONDITION;
	xmlin_begin(&in, error.content, error.ns);
	while (xmlin_child(&in, &child)) {
		if (!slice_is(child.ns, NS_STANZAS))
			continue;
		for (i = STANZA_ERROR_NONE + 1; i < STANZA_ERROR_COUNT; i++)
			if (slice_is(child.name, errors[i].text))
				return (enum stanza_error)i;
	}
	return STANZA_ERROR_UNDEFINED_CONDITION;
}

/* Begins the answer to a stanza. */
static void
reply_begin(const struct frame *original, enum stanza_type type, struct frame *reply)
{
	struct slice from = original->to, to = original->from, id = original->id;
	enum stanza_kind kind = original->kind;
	uint64_t handle = original->handle;

	*reply = (struct frame){ .type = FRAME_STANZA, .kind = kind, .subtype = type };
	reply->handle = handle;
	reply->from = from;
	reply->to = to;
	reply->id = id;
}

/* Whether text can be the value of an attribute; absent text is none. */
static bool
is_value(struct slice text)
{
	struct xmlchar chars = { 0 };

	return text.len == 0 || (xmlchar_check(&chars, text) && chars.need == 0);
}

static bool
is_address(struct slice text)
{
	struct jid jid;

	return text.ptr == NULL || jid_parse(text, &jid) == OK;
}

bool
stanza_is_canonical(const struct frame *f)
{
	return is_address(f->from) && is_address(f->to) && is_value(f->id) && is_value(f->lang) &&
	    (f->payload.len == 0 || xmlin_valid(f->payload, SLICE(NS_CLIENT)));
}

/* Whether a message has the mark of those that came to one alone by way of a room (XEP-0045 section 7.5). */
static bool
is_private(const struct frame *f)
{
	struct xmlin_element x;

	return f->kind == STANZA_MESSAGE && f->payload.len != 0 &&
	    xmlin_find(f->payload, SLICE(NS_CLIENT), "x", NS_MUC_USER, &x) && x.content.len == 0;
}

bool
stanza_error_reply(const struct frame *original, enum stanza_error error, struct slice text,
    struct buf *scratch, struct frame *reply)
{
	size_t at = buf_len(scratch);
	const char *condition = stanza_error_text(error);

	if (original->kind == STANZA_NONE || original->subtype == TYPE_ERROR ||
	    original->subtype == TYPE_RESULT)
		return false;
	if (error == STANZA_ERROR_NONE || (unsigned)error >= STANZA_ERROR_COUNT)
		error = STANZA_ERROR_UNDEFINED_CONDITION;
	buf_add_string(scratch, "<error type='");
	buf_add_string(scratch, errors[error].type);
	buf_add_string(scratch, "'>");
	xml_open(scratch, condition, SLICE(NS_STANZAS));
	buf_add_string(scratch, "/>");
	if (text.len != 0) {
		xml_open(scratch, "text", SLICE(NS_STANZAS));
		buf_add_string(scratch, " xml:lang='en'>");
		xml_add_text(scratch, text);
		buf_add_string(scratch, "</text>");
	}
	buf_add_string(scratch, "</error>");
	if (is_private(original))
		buf_add_string(scratch, "<x xmlns='" NS_MUC_USER "'/>");
	reply_begin(original, TYPE_ERROR, reply);
	reply->flags = FLAG_ERROR;
	reply->name = SLICE("error");
	reply->ns = SLICE(NS_CLIENT);
	reply->payload = slice_part(buf_slice(scratch), at, SIZE_MAX);
	return true;
}

void
stanza_result(const struct frame *request, struct slice payload, struct frame *reply)
{
	struct xmlin_element child;
	struct xmlin in;

	reply_begin(request, TYPE_RESULT, reply);
	reply->payload = payload.ptr != NULL ? payload : SLICE("");
	xmlin_begin(&in, reply->payload, SLICE(NS_CLIENT));
	if (xmlin_child(&in, &child)) {
		reply->name = child.name;
		reply->ns = child.ns;
	}
}

/* The domainpart of a bare JID. */
static struct slice
domain_of(struct slice bare)
{
	const char *at = bare.len != 0 ? memchr(bare.ptr, '@', bare.len) : NULL;

	return at == NULL ? bare : slice_part(bare, (size_t)(at - bare.ptr) + 1, bare.len);
}

static bool
is_carbon(const struct frame *f)
{
	return (f->flags & FLAG_CARBON) != 0 && f->kind == STANZA_MESSAGE;
}

/* The id in the archive that a stanza is written with; 0: none. One that only waited on the spool has
 * none that could be asked for. */
static uint64_t
written_id(const struct frame *f)
{
	if ((f->flags & FLAG_NO_PERMANENT) && !(f->flags & FLAG_ROOM))
		return 0;
	return is_carbon(f) ? f->number : f->archive_id;
}

/* What the server adds to a stored stanza: its archive id (XEP-0359), and when it came (XEP-0203).
 */
static void
write_additions(const struct frame *f, struct slice account, struct buf *out)
{
	bool room = (f->flags & FLAG_ROOM) != 0;
	char id[17], stamp[32];

	if (written_id(f) != 0) {
		stanza_archive_id(written_id(f), id);
		buf_add_string(out, "<stanza-id xmlns='" NS_SID "'");
		xml_add_attribute(out, "by", room ? jid_bare_of(f->from) : account);
		xml_add_attribute(out, "id", slice_of(id, 16));
		buf_add(out, "/>", 2);
	}
	if ((f->flags & FLAG_SPOOL) != 0) {
		stanza_stamp(f->stamp, stamp);
		buf_add_string(out, "<delay xmlns='" NS_DELAY "'");
		xml_add_attribute(out, "from", room ? jid_bare_of(f->from) : domain_of(jid_bare_of(account)));
		xml_add_attribute(out, "stamp", slice_string(stamp));
		buf_add(out, "/>", 2);
	}
}

/* Writes the stanza itself. ns: to be declared, if any. */
static void
write_stanza(const struct frame *f, struct slice ns, struct slice to, struct slice account,
    struct buf *out)
{
	const char *kind = stanza_kind_text(f->kind);
	bool additions = account.ptr != NULL && (written_id(f) != 0 || (f->flags & FLAG_SPOOL) != 0);

	xml_open(out, kind, ns);
	xml_add_attribute(out, "from", f->from);
	xml_add_attribute(out, "to", f->to.ptr != NULL ? f->to : to);
	xml_add_attribute(out, "id", f->id);
	xml_add_attribute(out, "type", slice_string(stanza_type_text(f->subtype)));
	xml_add_attribute(out, "xml:lang", f->lang);
	if (f->payload.len == 0 && !additions) {
		buf_add(out, "/>", 2);
		return;
	}
	buf_add_char(out, '>');
	buf_add_slice(out, f->payload);
	if (additions)
		write_additions(f, account, out);
	buf_add(out, "</", 2);
	buf_add_string(out, kind);
	buf_add_char(out, '>');
}

/* Writes a copy of a message in its wrapper; what an account says to itself it has sent. */
static void
write_carbon(const struct frame *f, struct slice to, struct slice account, struct buf *out)
{
	const char *way = slice_equal(jid_bare_of(f->from), account) ? "sent" : "received";

	xml_open(out, "message", SLICE_NONE);
	xml_add_attribute(out, "from", account);
	xml_add_attribute(out, "to", to);
	xml_add_attribute(out, "type", slice_string(stanza_type_text(f->subtype)));
	buf_add_char(out, '>');
	xml_open(out, way, SLICE(NS_CARBONS));
	buf_add_char(out, '>');
	xml_open(out, "forwarded", SLICE(NS_FORWARD));
	buf_add_char(out, '>');
	write_stanza(f, SLICE(NS_CLIENT), SLICE_NONE, account, out);
	buf_add_string(out, "</forwarded></");
	buf_add_string(out, way);
	buf_add_string(out, "></message>");
}

void
stanza_write(const struct frame *f, struct slice to, struct slice account, struct buf *out)
{
	if (is_carbon(f) && account.ptr != NULL)
		write_carbon(f, to, account, out);
	else
		write_stanza(f, SLICE_NONE, to, account, out);
}

void
stanza_forward(const struct frame *f, struct buf *out)
{
	write_stanza(f, SLICE(NS_CLIENT), SLICE_NONE, SLICE_NONE, out);
}

void
stanza_archive_id(uint64_t id, char text[17])
{
	int i;

	for (i = 15; i >= 0; i--, id >>= 4)
		text[i] = "0123456789abcdef"[id & 15];
	text[16] = '\0';
}

int
stanza_archive_id_read(struct slice text, uint64_t *id)
{
	static const char digits[] = "0123456789abcdef";
	size_t i;

	*id = 0;
	for (i = 0; i < text.len && text.len == 16; i++) {
		const char *digit = memchr(digits, text.ptr[i], 16);

		if (digit == NULL)
			return E_MALFORMED;
		*id = *id << 4 | (uint64_t)(digit - digits);
	}
	return text.len == 16 ? OK : E_MALFORMED;
}

/* Writes a number with exactly so many digits and what follows them. */
static char *
add_digits(char *at, uint64_t number, unsigned digits, char after)
{
	unsigned i;

	for (i = digits; i-- > 0; number /= 10)
		at[i] = (char)('0' + number % 10);
	at[digits] = after;
	return at + digits + 1;
}

/*
 * Days since 1970 become a date of the Gregorian calendar. Years are counted from a March, so that
 * the leap day is the last of its year, in eras of 400 years, which all have equally many days.
 */
void
stanza_stamp(uint64_t milliseconds, char text[32])
{
	uint64_t ms = milliseconds < STAMP_MAX ? milliseconds : STAMP_MAX;
	uint64_t days = ms / 86400000 + 719468; /* since 0000-03-01 */
	uint64_t second = ms / 1000 % 86400;
	uint64_t era = days / 146097, day = days % 146097;
	uint64_t year = (day - day / 1460 + day / 36524 - day / 146096) / 365;
	uint64_t month;
	char *at = text;

	day -= 365 * year + year / 4 - year / 100;
	month = (5 * day + 2) / 153; /* 0: March */
	day -= (153 * month + 2) / 5;
	year += 400 * era + (month >= 10);
	month = month < 10 ? month + 3 : month - 9;
	at = add_digits(at, year, 4, '-');
	at = add_digits(at, month, 2, '-');
	at = add_digits(at, day + 1, 2, 'T');
	at = add_digits(at, second / 3600, 2, ':');
	at = add_digits(at, second / 60 % 60, 2, ':');
	at = add_digits(at, second % 60, 2, '.');
	at = add_digits(at, ms % 1000, 3, 'Z');
	*at = '\0';
}

/* Takes exactly so many digits and what must follow them (NUL: nothing) off the front. */
static bool
take_digits(struct slice *text, unsigned digits, char after, unsigned max, unsigned *number)
{
	size_t len = digits + (after != '\0');
	uint64_t n;

	if (text->len < len || slice_number(slice_part(*text, 0, digits), max, &n) != OK ||
	    (after != '\0' && text->ptr[digits] != after))
		return false;
	*number = (unsigned)n;
	*text = slice_part(*text, len, SIZE_MAX);
	return true;
}

/* Takes a fraction of a second, if there is one; what is finer than milliseconds is left out. */
static bool
take_fraction(struct slice *text, unsigned *milliseconds)
{
	unsigned weight = 100;
	size_t len = 1;

	*milliseconds = 0;
	if (text->len == 0 || *text->ptr != '.')
		return true;
	for (; len < text->len && text->ptr[len] >= '0' && text->ptr[len] <= '9'; len++) {
		*milliseconds += weight * (unsigned)(text->ptr[len] - '0');
		weight /= 10;
	}
	*text = slice_part(*text, len, SIZE_MAX);
	return len > 1;
}

/* Takes the whole rest as a time zone, in minutes east of UTC. */
static bool
take_zone(struct slice text, int *minutes)
{
	unsigned hour, minute;
	bool west = text.len != 0 && *text.ptr == '-';

	*minutes = 0;
	if (slice_is(text, "Z"))
		return true;
	if (text.len == 0 || (!west && *text.ptr != '+'))
		return false;
	text = slice_part(text, 1, SIZE_MAX);
	if (!take_digits(&text, 2, ':', 14, &hour) || !take_digits(&text, 2, '\0', 59, &minute))
		return false;
	*minutes = (int)(60 * hour + minute) * (west ? -1 : 1);
	return text.len == 0;
}

/* Days from 1970 to a date: the reverse of what stanza_stamp() does. */
static int64_t
days_of(unsigned year, unsigned month, unsigned day)
{
	int64_t y = (int64_t)year - (month <= 2), era = (y >= 0 ? y : y - 399) / 400;
	int64_t of_era = y - era * 400;
	int64_t from_march = month > 2 ? (int64_t)month - 3 : (int64_t)month + 9;
	int64_t of_year = (153 * from_march + 2) / 5 + day - 1;

	return era * 146097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719468;
}

static unsigned
days_in(unsigned year, unsigned month)
{
	bool leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);

	if (month == 2)
		return leap ? 29 : 28;
	return month == 4 || month == 6 || month == 9 || month == 11 ? 30 : 31;
}

int
stanza_stamp_read(struct slice text, uint64_t *milliseconds)
{
	unsigned year, month, day, hour, minute, second, ms;
	int64_t seconds;
	int zone;

	*milliseconds = 0;
	/* A second 60 is a leap second. */
	if (!take_digits(&text, 4, '-', 9999, &year) || !take_digits(&text, 2, '-', 12, &month) ||
	    !take_digits(&text, 2, 'T', 31, &day) || !take_digits(&text, 2, ':', 23, &hour) ||
	    !take_digits(&text, 2, ':', 59, &minute) || !take_digits(&text, 2, '\0', 60, &second) ||
	    !take_fraction(&text, &ms) || !take_zone(text, &zone) ||
	    month == 0 || day == 0 || day > days_in(year, month))
		return E_MALFORMED;
	seconds = days_of(year, month, day) * 86400 + hour * 3600 + (int64_t)minute * 60 + second -
	    (int64_t)zone * 60;
	if (seconds >= 0)
		*milliseconds = (uint64_t)seconds * 1000 + ms;
	return OK;
}
