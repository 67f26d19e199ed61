/*
 * xml_sax.c: libxml2 and what its callbacks write: a top-level element with its payload in
 * canonical form, or a stream header.
 *
 * Called by xml.c with whole tags, after xml_scan.c has let them pass. Whatever fails is kept as
 * the first stream error condition; after it the callbacks do nothing. They never stop libxml2
 * themselves: what it may still read is one piece.
 */
#include "xml_private.h"

#include <libxml/parser.h>
#include <libxml/parserInternals.h>
#include <stdlib.h>

#include "jid.h"
#include "mem.h"
#include "ns.h"
#include "xmlin.h"
#include "xmlout.h"

#define PARSE_WORN    (64u << 10) /* bytes after which a fresh parser follows: its names are kept */
#define CONTEXT_BYTES (12u << 10) /* what libxml2 allocates for a push parser, about */
#define PROLOGUE_MAX  2048u       /* bytes of declarations that a stream keeps of its header */
#define OUT_ROOM      1024u

enum priority_state { PRIORITY_NONE, PRIORITY_READING, PRIORITY_READ };

struct xml_parse {
	xmlParserCtxtPtr context;
	const struct xml_limits *limits;
	const struct slice *strip, *domain;
	const char *condition;  /* first error */
	bool prologue_given;
	bool complete;          /* element has been read to its end */
	bool open;              /* the last start tag in out still lacks its '>' */
	bool stanza, message, presence;
	enum priority_state priority;
	unsigned depth;         /* open elements, that of the stream included */
	unsigned level;         /* those that a top-level element is within: 1 in a stream */
	bool (*holds)(void *arg, struct slice name, struct slice ns, unsigned depth);
	void *arg;
	bool opened, closed;    /* an element that holds top-level elements */
	unsigned skip;          /* open elements that are being stripped */
	bool secret;            /* a password was read, or may be */
	size_t fed;
	struct buf out;         /* payload; of a header its prologue */
	struct buf text;        /* directly within the top-level element */
	struct buf values;      /* its attributes */
	struct buf node;        /* its first child's */
	struct buf scratch;
	struct buf digits;      /* of a priority */
	struct xml_element element;
	struct xml_header header;
	const xmlChar *ns[XMLIN_DEPTH_MAX + 2 + XML_INNER_MAX]; /* namespace of each open element; libxml2 owns them */
};

/* An attribute as libxml2 gives it: five pointers. */
struct sax_attribute {
	const xmlChar *name, *prefix, *uri, *value, *end;
};

static void
fail(struct xml_parse *p, const char *condition)
{
	if (p->condition == NULL)
		p->condition = condition;
}

static struct slice
text_of(const xmlChar *s)
{
	return s != NULL ? slice_of(s, strlen((const char *)s)) : SLICE("");
}

static bool
text_is(const xmlChar *s, const char *literal)
{
	return s != NULL && strcmp((const char *)s, literal) == 0;
}

static bool
same_text(const xmlChar *a, const xmlChar *b)
{
	return a == b || (a != NULL && b != NULL && strcmp((const char *)a, (const char *)b) == 0);
}

/*
 * The value of an attribute or namespace declaration. As entities are not substituted, libxml2
 * leaves an ampersand as "&#38;" however it was written, and nothing else: it is undone here.
 */
static struct slice
value_of(struct xml_parse *p, struct slice raw)
{
	static const struct slice mark = { "&#38;", 5 };
	size_t i, from = 0;

	if (memchr(raw.ptr, '&', raw.len) == NULL)
		return raw;
	buf_clear(&p->scratch);
	for (i = 0; i < raw.len; i++) {
		if (raw.ptr[i] != '&' || !slice_starts(slice_part(raw, i, raw.len), mark))
			continue;
		buf_add(&p->scratch, raw.ptr + from, i + 1 - from);
		i += mark.len - 1;
		from = i + 1;
	}
	buf_add(&p->scratch, raw.ptr + from, raw.len - from);
	return buf_slice(&p->scratch);
}

/* A namespace, which lasts as long as the parser. */
static struct slice
ns_of(struct xml_parse *p, const xmlChar *uri)
{
	struct slice ns = text_of(uri);

	if (memchr(ns.ptr, '&', ns.len) == NULL)
		return ns;
	ns = value_of(p, ns);
	ns.ptr = (const char *)xmlDictLookup(p->context->dict, (const xmlChar *)ns.ptr, (int)ns.len);
	if (ns.ptr == NULL)
		fail(p, CONDITION_POLICY);
	return ns.ptr != NULL ? ns : SLICE("");
}

static struct slice
raw_value(const struct sax_attribute *a)
{
	return slice_of(a->value, (size_t)(a->end - a->value));
}

/* Keeps the value of an attribute of a top-level element; there is room for all of them. */
static struct slice
value_keep(struct xml_parse *p, const struct sax_attribute *a)
{
	struct slice value = value_of(p, raw_value(a));
	size_t at = buf_len(&p->values);

	buf_add_slice(&p->values, value);
	return slice_part(buf_slice(&p->values), at, value.len);
}

/* Makes room for the values of all attributes, so that none moves when the next is added. */
static void
values_reserve(struct xml_parse *p, const struct sax_attribute *attributes, int count)
{
	size_t len = 1;
	int i;

	for (i = 0; i < count; i++)
		len += (size_t)(attributes[i].end - attributes[i].value);
	buf_clear(&p->values);
	buf_reserve(&p->values, len);
}

static void
check_size(struct xml_parse *p)
{
	if (buf_len(&p->out) + buf_len(&p->text) > p->limits->stanza_bytes)
		fail(p, CONDITION_POLICY);
}

/* -- the header -------------------------------------------------------------------------------- */

/* Writes the opening tag with which a fresh parser begins. */
static void
prologue_write(struct xml_parse *p, const xmlChar *name, const xmlChar *prefix, int count,
    const xmlChar **namespaces)
{
	int i;

	buf_add_char(&p->out, '<');
	if (prefix != NULL) {
		buf_add_slice(&p->out, text_of(prefix));
		buf_add_char(&p->out, ':');
	}
	buf_add_slice(&p->out, text_of(name));
	for (i = 0; i < count; i++) {
		const xmlChar *declared = namespaces[2 * i];

		buf_add_string(&p->out, declared != NULL ? " xmlns:" : " xmlns");
		buf_add_slice(&p->out, text_of(declared));
		buf_add_string(&p->out, "='");
		xml_add_value(&p->out, value_of(p, text_of(namespaces[2 * i + 1])));
		buf_add_char(&p->out, '\'');
	}
	buf_add_char(&p->out, '>');
	if (buf_len(&p->out) > PROLOGUE_MAX)
		fail(p, CONDITION_POLICY);
}

static void
header_begin(struct xml_parse *p, const xmlChar *name, const xmlChar *uri, int count,
    const xmlChar **namespaces, const struct sax_attribute *a, int attributes)
{
	struct xml_header *h = &p->header;
	int i;

	values_reserve(p, a, attributes);
	*h = (struct xml_header){ .name = text_of(name), .ns = ns_of(p, uri) };
	for (i = 0; i < count; i++)
		if (namespaces[2 * i] == NULL)
			h->content_ns = ns_of(p, namespaces[2 * i + 1]);
	for (i = 0; i < attributes; i++) {
		struct slice value = value_keep(p, &a[i]);

		if (a[i].prefix != NULL) {
			if (text_is(a[i].prefix, "xml") && text_is(a[i].name, "lang"))
				h->lang = value;
		} else if (text_is(a[i].name, "from")) {
			h->from = value;
		} else if (text_is(a[i].name, "to")) {
			h->to = value;
		} else if (text_is(a[i].name, "id")) {
			h->id = value;
		} else if (text_is(a[i].name, "version")) {
			h->version = value;
		}
	}
}

/* -- a top-level element ----------------------------------------------------------------------- */

/* Where the value of a named attribute goes. */
static struct slice *
element_field(struct xml_element *e, const struct sax_attribute *a)
{
	const char *name = (const char *)a->name;

	if (a->prefix != NULL)
		return text_is(a->prefix, "xml") && strcmp(name, "lang") == 0 ? &e->lang : NULL;
	if (strcmp(name, "to") == 0)
		return &e->to;
	if (strcmp(name, "from") == 0)
		return &e->from;
	if (strcmp(name, "id") == 0)
		return &e->id;
	if (strcmp(name, "type") == 0)
		return &e->type;
	return NULL;
}

static void
element_begin(struct xml_parse *p, const xmlChar *name, const xmlChar *uri,
    const struct sax_attribute *a, int attributes)
{
	struct xml_element *e = &p->element;
	int i;

	*e = (struct xml_element){ .name = text_of(name), .ns = ns_of(p, uri) };
	p->message = text_is(name, "message");
	p->presence = text_is(name, "presence");
	p->stanza = p->message || p->presence || text_is(name, "iq");
	p->priority = PRIORITY_NONE;
	p->open = false;
	buf_clear(&p->out);
	buf_clear(&p->text);
	values_reserve(p, a, attributes);
	for (i = 0; i < attributes; i++) {
		struct slice *field = element_field(e, &a[i]);

		if (field == NULL && a[i].prefix != NULL)
			continue;
		if (field == NULL && e->attributes == XML_ATTRIBUTES) {
			fail(p, CONDITION_POLICY);
			return;
		}
		if (field == NULL) {
			e->attribute[e->attributes].name = text_of(a[i].name);
			field = &e->attribute[e->attributes++].value;
		}
		*field = value_keep(p, &a[i]);
	}
}

/* Reads a priority (RFC 6121 section 4.7.2.3). */
static int
priority_value(struct slice s)
{
	bool negative = false;
	uint64_t number;

	while (s.len != 0 && strchr(" \t\r\n", *s.ptr) != NULL)
		s = slice_part(s, 1, s.len);
	while (s.len != 0 && strchr(" \t\r\n", s.ptr[s.len - 1]) != NULL)
		s.len--;
	if (s.len > 1 && (*s.ptr == '-' || *s.ptr == '+')) {
		negative = *s.ptr == '-';
		s = slice_part(s, 1, s.len);
	}
	if (slice_number(s, UINT64_MAX, &number) != 0)
		return 0;
	if (negative)
		return number > 128 ? -128 : -(int)number;
	return number > 127 ? 127 : (int)number;
}

static void
element_end(struct xml_parse *p)
{
	struct xml_element *e = &p->element;

	p->complete = true;
	e->payload = buf_slice(&p->out);
	e->text = buf_slice(&p->text);
	if (e->child_node.ptr != NULL)
		e->child_node = buf_slice(&p->node);
	if (p->priority == PRIORITY_READ)
		e->priority = priority_value(buf_slice(&p->digits));
}

/* -- its children ------------------------------------------------------------------------------ */

static const struct sax_attribute *
attribute_find(const struct sax_attribute *a, int count, const char *name)
{
	int i;

	for (i = 0; i < count; i++)
		if (a[i].prefix == NULL && text_is(a[i].name, name))
			return &a[i];
	return NULL;
}

static bool (*domain_is_ours)(struct slice domain);

void
xml_set_ours(bool (*is_ours)(struct slice domain))
{
	domain_is_ours = is_ours;
}

/* Whether a delay claims to be ours: without from, from an address of a domain of ours, or from nonsense. A
 * component says it of what has waited with itself. */
static bool
delay_is_ours(struct xml_parse *p, const struct sax_attribute *from)
{
	char prepared[JID_MAX + 1], sender_text[JID_MAX + 1];
	struct jid jid, sender;

	if (from == NULL || jid_prepare(value_of(p, raw_value(from)), prepared, &jid) != 0)
		return true;
	if (p->domain->ptr != NULL && slice_equal(jid.domain, *p->domain))
		return true;
	if (domain_is_ours == NULL || !domain_is_ours(jid.domain))
		return false;
	return p->element.from.ptr == NULL || jid_prepare(p->element.from, sender_text, &sender) != 0 ||
	    !slice_equal(sender.domain, jid.domain);
}

/* Whether an archive's id is not that of an archive of the stanza's sender: it is from another server, which
 * speaks for nobody else (XEP-0359 section 4). */
static bool
stanza_id_is_forged(struct xml_parse *p, const struct sax_attribute *by)
{
	char by_text[JID_MAX + 1], from_text[JID_MAX + 1];
	struct jid owner, from;

	return by == NULL || p->element.from.ptr == NULL ||
	    jid_prepare(value_of(p, raw_value(by)), by_text, &owner) != 0 ||
	    jid_prepare(p->element.from, from_text, &from) != 0 ||
	    !slice_equal(owner.domain, from.domain);
}

/* What of a namespace of ours is the sender's to say: an origin-id (XEP-0359), a wish about carbons. */
static bool
is_senders(const struct xml_parse *p, const xmlChar *name, struct slice ns)
{
	if (slice_is(ns, NS_SID))
		return text_is(name, "origin-id");
	return slice_is(ns, NS_CARBONS) && (text_is(name, "private") || !(p->message || p->presence));
}

/* Whether a child of a stanza is left out. */
static bool
child_stripped(struct xml_parse *p, const xmlChar *name, struct slice ns,
    const struct sax_attribute *a, int count)
{
	const struct slice *strip;

	if (!p->stanza || p->holds != NULL)
		return false;
	for (strip = p->strip; strip != NULL && strip->ptr != NULL; strip++)
		if (slice_equal(ns, *strip))
			return !is_senders(p, name, ns);
	if (slice_is(ns, NS_SID) && text_is(name, "stanza-id"))
		return stanza_id_is_forged(p, attribute_find(a, count, "by"));
	return slice_is(ns, NS_DELAY) && text_is(name, "delay") &&
	    delay_is_ours(p, attribute_find(a, count, "from"));
}

/* What children say about a message: the first row that fits. */
static const struct message_child {
	struct slice ns; /* absent: the stream's */
	const char *name;
	uint32_t flags;
} message_children[] = {
#define OWN ""
#define MESSAGE_CHILD(ns, name, flags, text) { { ns, sizeof ns - 1 }, name, flags },
#include "message_child.def"
#undef MESSAGE_CHILD
#undef OWN
};

static uint32_t
message_flags(const struct xml_element *e, const xmlChar *name, struct slice ns, bool own)
{
	const struct message_child *row = message_children;
	const struct message_child *end = row + sizeof message_children / sizeof *row;

	for (; row < end; row++)
		if ((row->ns.len == 0 ? own : slice_equal(ns, row->ns)) &&
		    (row->name == NULL || text_is(name, row->name)))
			break;
	if (row == end)
		return FLAG_CONTENT;
	/* An error may repeat what it is about (XEP-0334 section 5). */
	return slice_is(ns, NS_HINTS) && slice_is(e->type, "error") ? 0 : row->flags;
}

/* From here on the parser holds a password, perhaps. */
static void
secret_note(struct xml_parse *p)
{
	p->element.flags |= FLAG_SECRET;
	p->secret = p->out.secret = p->text.secret = true;
}

/* Notes what is to be known of a child of a top-level element. */
static void
child_note(struct xml_parse *p, const xmlChar *name, struct slice ns, bool own,
    const struct sax_attribute *a, int count)
{
	struct xml_element *e = &p->element;
	const struct sax_attribute *node;

	if (e->children++ == 0) {
		e->child_name = text_of(name);
		e->child_ns = ns;
		node = attribute_find(a, count, "node");
		if (node != NULL) {
			buf_clear(&p->node);
			buf_add_slice(&p->node, value_of(p, raw_value(node)));
			e->child_node = SLICE("");
		}
	}
	if (p->message)
		e->flags |= message_flags(e, name, ns, own);
	else if (p->stanza && !p->presence && (slice_is(ns, NS_REGISTER) ||
	    slice_is(ns, NS_COMMANDS) || slice_is(ns, NS_PARS)))
		secret_note(p);
	if (p->stanza && own && text_is(name, "error"))
		e->flags |= FLAG_ERROR;
	if (p->presence && own && p->priority == PRIORITY_NONE && text_is(name, "priority")) {
		p->priority = PRIORITY_READING;
		buf_clear(&p->digits);
	}
}

/* Whether an attribute is in a namespace for which a prefix must be declared. */
static bool
needs_prefix(const struct sax_attribute *a)
{
	return a->prefix != NULL && !text_is(a->prefix, "xml");
}

/*
 * Declares the prefixes of an element's attributes, ns1, ns2, ..., and notes which of them each
 * has; 0: none. Namespaces are compared by address: libxml2 keeps each once.
 */
static void
prefixes_write(struct xml_parse *p, const struct sax_attribute *a, int count, unsigned *number)
{
	unsigned declared = 0;
	int i, j;

	for (i = 0; i < count; i++) {
		number[i] = 0;
		if (!needs_prefix(&a[i]))
			continue;
		for (j = 0; j < i && (number[j] == 0 || a[j].uri != a[i].uri); j++)
			;
		number[i] = j < i ? number[j] : ++declared;
		if (j < i)
			continue;
		buf_add(&p->out, " xmlns:ns", 9);
		buf_add_number(&p->out, declared);
		buf_add(&p->out, "='", 2);
		xml_add_value(&p->out, value_of(p, text_of(a[i].uri)));
		buf_add_char(&p->out, '\'');
	}
}

static void
attributes_write(struct xml_parse *p, const struct sax_attribute *a, int count)
{
	unsigned number[XML_ATTRIBUTES_MAX];
	int i;

	if (count > XML_ATTRIBUTES_MAX) {
		fail(p, CONDITION_POLICY);
		return;
	}
	prefixes_write(p, a, count, number);
	for (i = 0; i < count; i++) {
		buf_add_char(&p->out, ' ');
		if (number[i] != 0) {
			buf_add(&p->out, "ns", 2);
			buf_add_number(&p->out, number[i]);
			buf_add_char(&p->out, ':');
		} else if (a[i].prefix != NULL) {
			buf_add(&p->out, "xml:", 4);
		}
		buf_add_slice(&p->out, text_of(a[i].name));
		buf_add(&p->out, "='", 2);
		xml_add_value(&p->out, value_of(p, raw_value(&a[i])));
		buf_add_char(&p->out, '\'');
	}
}

/* Ends the start tag before what comes next. */
static void
tag_close(struct xml_parse *p)
{
	if (p->open)
		buf_add_char(&p->out, '>');
	p->open = false;
}

static void
child_begin(struct xml_parse *p, const xmlChar *name, const xmlChar *uri,
    const struct sax_attribute *a, int count)
{
	bool own = same_text(uri, p->ns[p->depth - 1]);

	if (p->depth == p->level + 1) {
		struct slice ns = ns_of(p, uri);

		if (child_stripped(p, name, ns, a, count)) {
			p->skip = 1;
			return;
		}
		child_note(p, name, ns, own, a, count);
	} else if (p->depth == p->level + 2 && p->message && own && slice_is(ns_of(p, uri), NS_MUC_USER) &&
	    (text_is(name, "invite") || text_is(name, "decline"))) {
		/* By way of the room (XEP-0045 sections 7.8.2 and 7.8.3). */
		p->element.flags |= FLAG_CONTENT | (text_is(name, "invite") ? FLAG_IM : 0u);
	}
	tag_close(p);
	buf_add_char(&p->out, '<');
	buf_add_slice(&p->out, text_of(name));
	if (!own) {
		buf_add(&p->out, " xmlns='", 8);
		xml_add_value(&p->out, value_of(p, text_of(uri)));
		buf_add_char(&p->out, '\'');
	}
	attributes_write(p, a, count);
	p->open = true;
	check_size(p);
}

/* An element at the place of a top-level one. */
static void
top_begin(struct xml_parse *p, const xmlChar *name, const xmlChar *prefix, const xmlChar *uri,
    int ns_count, const xmlChar **namespaces, const struct sax_attribute *a, int count)
{
	element_begin(p, name, uri, a, count);
	if (p->holds == NULL || p->level > XML_INNER_MAX ||
	    !p->holds(p->arg, p->element.name, p->element.ns, p->level))
		return;
	prologue_write(p, name, prefix, ns_count, namespaces);
	p->opened = true;
	p->level++;
}

/* -- libxml2's callbacks ----------------------------------------------------------------------- */

static void
on_start(void *arg, const xmlChar *name, const xmlChar *prefix, const xmlChar *uri, int ns_count,
    const xmlChar **namespaces, int count, int defaulted, const xmlChar **attributes)
{
	const struct sax_attribute *a = (const void *)attributes;
	struct xml_parse *p = arg;

	(void)defaulted;
	if (p->condition != NULL)
		return;
	if (p->depth == sizeof p->ns / sizeof p->ns[0]) {
		fail(p, CONDITION_POLICY);
		return;
	}
	if (text_is(prefix, "xml")) { /* no such element can be written without the prefix */
		fail(p, CONDITION_PREFIX);
		return;
	}
	p->ns[p->depth] = uri;
	if (p->skip != 0) {
		p->skip++;
	} else if (p->depth > p->level) {
		child_begin(p, name, uri, a, count);
	} else if (p->depth == p->level) {
		top_begin(p, name, prefix, uri, ns_count, namespaces, a, count);
	} else if (!p->prologue_given) {
		header_begin(p, name, uri, ns_count, namespaces, a, count);
		prologue_write(p, name, prefix, ns_count, namespaces);
	}
	p->depth++;
}

static void
on_end(void *arg, const xmlChar *name, const xmlChar *prefix, const xmlChar *uri)
{
	struct xml_parse *p = arg;

	(void)prefix;
	(void)uri;
	if (p->condition != NULL || p->depth == 0)
		return;
	p->depth--;
	if (p->skip != 0) {
		p->skip--;
	} else if (p->depth > p->level) {
		if (p->depth == p->level + 1 && p->priority == PRIORITY_READING)
			p->priority = PRIORITY_READ;
		if (p->open) {
			buf_add(&p->out, "/>", 2);
		} else {
			buf_add(&p->out, "</", 2);
			buf_add_slice(&p->out, text_of(name));
			buf_add_char(&p->out, '>');
		}
		p->open = false;
		check_size(p);
	} else if (p->depth == p->level) {
		element_end(p);
	} else if (p->depth != 0) {
		p->closed = true;
		p->level--;
	}
}

static void
on_text(void *arg, const xmlChar *bytes, int len)
{
	struct slice text = slice_of(bytes, (size_t)len);
	struct xml_parse *p = arg;

	if (p->condition != NULL || p->skip != 0 || len <= 0)
		return;
	if (p->depth == p->level + 1) {
		buf_add_slice(&p->text, text);
	} else if (p->depth > p->level + 1) {
		if (p->depth == p->level + 2 && p->priority == PRIORITY_READING)
			buf_add_slice(&p->digits, text);
		tag_close(p);
		xml_add_text(&p->out, text);
	}
	check_size(p);
}

static void
on_comment(void *arg, const xmlChar *text)
{
	(void)text;
	fail(arg, CONDITION_RESTRICTED);
}

static void
on_instruction(void *arg, const xmlChar *target, const xmlChar *data)
{
	(void)target;
	(void)data;
	fail(arg, CONDITION_RESTRICTED);
}

static void
on_subset(void *arg, const xmlChar *name, const xmlChar *external, const xmlChar *system)
{
	(void)name;
	(void)external;
	(void)system;
	fail(arg, CONDITION_RESTRICTED);
}

static void
on_declaration(void *arg, const xmlChar *name, int type, const xmlChar *public,
    const xmlChar *system, xmlChar *content)
{
	(void)name;
	(void)type;
	(void)public;
	(void)system;
	(void)content;
	fail(arg, CONDITION_RESTRICTED);
}

/* Libxml2 knows the five predefined entities without asking here. */
static xmlEntityPtr
on_entity(void *arg, const xmlChar *name)
{
	(void)name;
	fail(arg, CONDITION_RESTRICTED);
	return NULL;
}

static void
on_reference(void *arg, const xmlChar *name)
{
	(void)name;
	fail(arg, CONDITION_RESTRICTED);
}

static void
on_error(void *arg, xmlErrorPtr error)
{
	static const struct { int code; const char *condition; } conditions[] = {
		{ XML_NS_ERR_UNDEFINED_NAMESPACE, CONDITION_PREFIX },
		{ XML_ERR_UNDECLARED_ENTITY, CONDITION_RESTRICTED },
		{ XML_ERR_UNKNOWN_ENCODING, CONDITION_ENCODING },
		{ XML_ERR_UNSUPPORTED_ENCODING, CONDITION_ENCODING },
		{ XML_ERR_INVALID_ENCODING, CONDITION_ENCODING },
		{ XML_ERR_NAME_TOO_LONG, CONDITION_POLICY },
		{ XML_ERR_NO_MEMORY, CONDITION_POLICY },
		{ XML_ERR_INTERNAL_ERROR, CONDITION_POLICY }, /* limits of its own */
		{ XML_ERR_NONE, NULL },
	};
	size_t i;

	/* A namespace that is no URI is a name as good as any other: "vcard-temp". */
	if (error->level == XML_ERR_WARNING || error->code == XML_WAR_NS_URI ||
	    error->code == XML_WAR_NS_URI_RELATIVE)
		return;
	for (i = 0; conditions[i].condition != NULL && conditions[i].code != error->code; i++)
		;
	fail(arg, conditions[i].condition != NULL ? conditions[i].condition : CONDITION_MALFORMED);
}

static xmlSAXHandler handler = {
	.initialized = XML_SAX2_MAGIC,
	.startElementNs = on_start,
	.endElementNs = on_end,
	.characters = on_text,
	.ignorableWhitespace = on_text,
	.cdataBlock = on_text,
	.comment = on_comment,
	.processingInstruction = on_instruction,
	.internalSubset = on_subset,
	.externalSubset = on_subset,
	.entityDecl = on_declaration,
	.getEntity = on_entity,
	.getParameterEntity = on_entity,
	.reference = on_reference,
	.serror = on_error,
};

/* -- the parser -------------------------------------------------------------------------------- */

struct xml_parse *
xml_parse_new(const struct xml_limits *limits, const struct slice *strip, const struct slice *domain,
    struct slice prologue, unsigned inner)
{
	struct xml_parse *p = mem_alloc(sizeof *p);

	xml_memory_take_over();
	p->limits = limits;
	p->level = 1 + inner;
	p->secret = p->out.secret = p->text.secret = limits->secret;
	p->strip = strip;
	p->domain = domain;
	p->prologue_given = prologue.ptr != NULL;
	if (!p->prologue_given)
		prologue = SLICE("\n"); /* libxml2 waits for four bytes, a header may have three */
	p->context = xmlCreatePushParserCtxt(&handler, p, prologue.ptr, (int)prologue.len, NULL);
	if (p->context == NULL)
		abort();
	xmlCtxtUseOptions(p->context, XML_PARSE_NONET | XML_PARSE_IGNORE_ENC);
	xmlDictSetLimit(p->context->dict, 4 * (limits->stanza_bytes + PARSE_WORN) + PARSE_WORN);
	buf_reserve(&p->out, OUT_ROOM);
	return p;
}

void
xml_parse_free(struct xml_parse **parse)
{
	struct xml_parse *p = *parse;

	if (p == NULL)
		return;
	xml_memory_wipe(p->secret);
	xmlFreeParserCtxt(p->context);
	xml_memory_wipe(false);
	buf_free(&p->out);
	buf_free(&p->text);
	buf_free(&p->values);
	buf_free(&p->node);
	buf_free(&p->scratch);
	buf_free(&p->digits);
	MEM_FREE(parse);
}

const char *
xml_parse_feed(struct xml_parse *p, struct slice bytes)
{
	if (p->condition != NULL || bytes.len == 0)
		return p->condition;
	p->fed += bytes.len;
	xml_memory_wipe(p->secret);
	xmlParseChunk(p->context, bytes.ptr, (int)bytes.len, 0);
	xml_memory_wipe(false);
	if (p->context->disableSAX)
		fail(p, CONDITION_MALFORMED);
	return p->condition;
}

unsigned
xml_parse_depth(const struct xml_parse *p)
{
	return p->depth;
}

const struct xml_header *
xml_parse_header(struct xml_parse *p, struct slice *prologue)
{
	*prologue = buf_slice(&p->out);
	return p->header.name.ptr != NULL ? &p->header : NULL;
}

const struct xml_element *
xml_parse_element(struct xml_parse *p)
{
	bool complete = p->complete;

	p->complete = false;
	return complete ? &p->element : NULL;
}

void
xml_parse_holds(struct xml_parse *p,
    bool (*holds)(void *arg, struct slice name, struct slice ns, unsigned depth), void *arg)
{
	p->holds = holds;
	p->arg = arg;
}

const struct xml_element *
xml_parse_opened(struct xml_parse *p, struct slice *prologue)
{
	bool opened = p->opened;

	p->opened = false;
	*prologue = buf_slice(&p->out);
	return opened ? &p->element : NULL;
}

bool
xml_parse_closed(struct xml_parse *p)
{
	bool closed = p->closed;

	p->closed = false;
	return closed;
}

bool
xml_parse_secret(const struct xml_parse *p)
{
	return p->secret;
}

bool
xml_parse_worn(const struct xml_parse *p)
{
	return p->fed > PARSE_WORN;
}

size_t
xml_parse_memory(const struct xml_parse *p)
{
	return sizeof *p + CONTEXT_BYTES + xmlDictGetUsage(p->context->dict) + p->out.room +
	    p->text.room + p->values.room + p->node.room + p->scratch.room + p->digits.room;
}
