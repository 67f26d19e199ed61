/*
 * ctl_restore.c: brings accounts out of a file in the format of XEP-0227.
 *
 * Called by main.c. The file is read by the strict parser of common/, an element at a time, and what it
 * says goes to the daemons in pieces, one at a time; these check all of it again. Who stands in the file
 * and exists here is left alone, unless it is to be replaced. An account can log in when its end was read:
 * when this is killed, or the file ends early, it stays unfinished, and the same command begins it anew;
 * messages that are there are recognised.
 *
 *   level 1: <host/>   2: <user/>   3: its parts   4: messages in <archive/> and <offline-messages/>
 */
#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <linux/openat2.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "ctl.h"
#include "error.h"
#include "jid.h"
#include "mem.h"
#include "ns.h"
#include "stanza.h"
#include "xml.h"
#include "xmlin.h"
#include "xmlout.h"

#define PIECE_BYTES (256u << 10) /* of messages or elements that go with one command, about */
#define PART_BYTES  (3u << 20)   /* of one element: it must fit a frame */
#define READ_BYTES  65536
#define INCLUDES    8            /* files within files */
#define NOTICES     50           /* things of one kind that are said */

enum level { LEVEL_HOST = 1, LEVEL_USER, LEVEL_PART, LEVEL_MESSAGE };

struct restore {
	const struct ctl_restore *options;
	struct ctl_socket *ctl;
	struct slice only;        /* prepared; absent: all */
	char *domain;             /* of the <host/> that is open; NULL: not to be read */
	char *user;               /* the account that is being imported; NULL: none, or left out */
	struct ctl_message *message;
	const char *table;        /* of the messages that come */
	struct buf piece;         /* their frames */
	uint64_t imported, skipped, messages, known, left;
	uint64_t notices;
	unsigned includes;
	int error;                /* nothing more can be done */
};

/* One file that is being read. */
struct reader {
	struct restore *r;
	struct xml_stream *stream;
	unsigned base;            /* level of what stands in its root, minus one */
	bool included;            /* its root is what is written here around it */
	unsigned open;            /* elements of ours that are open, besides the root */
	int directory;            /* descriptor, for what it includes */
	bool ended;
};

/* -- what is said ------------------------------------------------------------------------------ */

static void
say(struct restore *r, struct slice what, const char *why)
{
	r->left++;
	if (r->notices++ >= NOTICES)
		return;
	fprintf(stderr, "aldisctl: ");
	if (r->user != NULL)
		fprintf(stderr, "%s: ", r->user); /* prepared: it prints */
	ctl_print_text(slice_part(what, 0, 200), stderr);
	fprintf(stderr, ": ");
	ctl_print_text(slice_string(why), stderr);
	fprintf(stderr, "%s\n", r->notices == NOTICES ? " (further ones are not shown)" : "");
}

/* -- to the daemons ---------------------------------------------------------------------------- */

/* Gives a command; what is refused is told as being about what. Returns 0 with *value, or an error. */
static int
give(struct restore *r, const char *const *words, size_t count, struct slice data, json_t **value,
    const char *what)
{
	char *why;
	int error;

	*value = NULL;
	if (r->error)
		return r->error;
	error = ctl_transfer(r->ctl, words, count, data, value, &why);
	if (error == E_SYSTEM)
		r->error = error;
	if (why != NULL)
		say(r, slice_string(what), why);
	free(why);
	return error;
}

/* Gives a part of the account that is open, and tells what of it was left out. */
static void
part_give(struct restore *r, const char *part, struct slice data)
{
	const char *words[] = { "import", "part", r->user, part };
	json_t *value;
	const json_t *row;
	size_t i;

	if (data.len > PART_BYTES) {
		say(r, slice_string(part), "too large");
		return;
	}
	if (give(r, words, 4, data, &value, part) != OK)
		return;
	json_array_foreach(json_object_get(value, "left"), i, row) {
		const char *what = json_string_value(json_object_get(row, "what"));
		const char *why = json_string_value(json_object_get(row, "reason"));

		say(r, slice_string(what ? what : part), why ? why : "left out");
	}
	json_decref(value);
}

static uint64_t
number_of(const json_t *value, const char *name)
{
	return (uint64_t)json_integer_value(json_object_get(value, name));
}

/* Gives the messages that were gathered. */
static void
piece_give(struct restore *r)
{
	const char *words[] = { "import", "messages", r->user, r->table };
	json_t *value;

	if (buf_len(&r->piece) == 0)
		return;
	if (give(r, words, 4, buf_slice(&r->piece), &value, r->table) == OK) {
		r->messages += number_of(value, "taken");
		r->known += number_of(value, "known");
		if (number_of(value, "refused") != 0)
			say(r, slice_string(r->table), "messages that are not this account's, have a time "
			    "that is still to come, or are too many");
	}
	json_decref(value);
	buf_clear(&r->piece);
}

/* -- accounts ---------------------------------------------------------------------------------- */

static struct slice
attribute(const struct xml_element *e, const char *name)
{
	unsigned i;

	for (i = 0; i < e->attributes; i++) {
		if (slice_is(e->attribute[i].name, name))
			return e->attribute[i].value;
	}
	return SLICE_NONE;
}

static void
host_open(struct restore *r, const struct xml_element *e)
{
	char out[JID_PART_MAX + 1];
	struct slice domain;

	MEM_FREE(&r->domain);
	if (jid_prepare_domain(attribute(e, "jid"), out, &domain) != OK)
		say(r, attribute(e, "jid"), "not a domain; what is in it is left out");
	else
		r->domain = slice_dup(domain);
}

/* Whether an account is among those that are wanted. */
static bool
is_wanted(const struct restore *r, const struct jid *jid)
{
	return r->only.ptr == NULL || slice_equal(r->only, jid->full) ||
	    slice_equal(r->only, jid->domain);
}

static void
user_open(struct restore *r, const struct xml_element *e)
{
	const char *words[] = { "import", "begin", NULL, "replace" };
	struct slice password = attribute(e, "password");
	char out[JID_MAX + 1];
	struct buf text = { 0 };
	struct jid jid;
	json_t *value = NULL;
	int error = E_MALFORMED;

	if (r->domain == NULL)
		return;
	buf_add_slice(&text, attribute(e, "name"));
	buf_printf(&text, "@%s", r->domain);
	if (attribute(e, "name").len == 0 || memchr(buf_slice(&text).ptr, '/', buf_len(&text)) != NULL ||
	    jid_prepare(buf_slice(&text), out, &jid) != OK) {
		say(r, buf_slice(&text), "this cannot be the name of an account");
		r->skipped++;
	} else if (is_wanted(r, &jid)) {
		words[2] = out;
		do {
			json_decref(value);
			error = give(r, words, r->options->replace ? 4 : 3, SLICE_NONE, &value, out);
		} while (!error && json_string_value(json_object_get(value, "state")) != NULL &&
		    strcmp(json_string_value(json_object_get(value, "state")), "removed") == 0);
		json_decref(value);
		r->skipped += error != OK;
	}
	buf_free(&text);
	if (error)
		return;
	r->user = mem_string(out);
	r->message = ctl_message_new(slice_string(out));
	if (password.len != 0)
		part_give(r, "password", password);
}

/* Forgets the account that is open. */
static void
user_forget(struct restore *r)
{
	ctl_message_free(&r->message);
	MEM_FREE(&r->user);
}

static void
user_close(struct restore *r)
{
	const char *words[] = { "import", "end", r->user };
	json_t *value;

	if (r->user == NULL)
		return;
	if (give(r, words, 3, SLICE_NONE, &value, r->user) == OK) {
		r->imported++;
		if (!json_is_true(json_object_get(value, "credentials")))
			say(r, SLICE("credentials"), "none of use here: it needs a new password");
	} else {
		r->skipped++;
	}
	json_decref(value);
	user_forget(r);
}

/* -- parts of an account ----------------------------------------------------------------------- */

/* Gives the children of an element, many at a time. */
static void
children_give(struct restore *r, const char *part, const struct xml_element *e)
{
	struct xmlin_element child;
	struct buf data = { 0 };
	struct xmlin in;

	xmlin_begin(&in, e->payload, e->ns);
	while (xmlin_child(&in, &child)) {
		if (buf_len(&data) != 0 && buf_len(&data) + child.whole.len > PIECE_BYTES) {
			part_give(r, part, buf_slice(&data));
			buf_clear(&data);
		}
		buf_add_slice(&data, child.whole);
	}
	if (buf_len(&data) != 0)
		part_give(r, part, buf_slice(&data));
	buf_free(&data);
}

/* Writes an element anew, as it stands in jabber:client. */
static void
element_write(const struct xml_element *e, struct buf *out)
{
	unsigned i;

	buf_add_char(out, '<');
	buf_add_slice(out, e->name);
	if (!slice_is(e->ns, NS_CLIENT))
		xml_add_attribute(out, "xmlns", e->ns);
	xml_add_attribute(out, "from", e->from);
	xml_add_attribute(out, "to", e->to);
	xml_add_attribute(out, "id", e->id);
	xml_add_attribute(out, "type", e->type);
	xml_add_attribute(out, "xml:lang", e->lang);
	for (i = 0; i < e->attributes; i++) {
		buf_add_char(out, ' ');
		buf_add_slice(out, e->attribute[i].name);
		buf_add_string(out, "='");
		xml_add_value(out, e->attribute[i].value);
		buf_add_char(out, '\'');
	}
	if (e->payload.len == 0) {
		buf_add_string(out, "/>");
		return;
	}
	buf_add_char(out, '>');
	buf_add_slice(out, e->payload);
	buf_add_string(out, "</");
	buf_add_slice(out, e->name);
	buf_add_char(out, '>');
}

static void
whole_give(struct restore *r, const char *part, const struct xml_element *e)
{
	struct buf data = { 0 };

	element_write(e, &data);
	part_give(r, part, buf_slice(&data));
	buf_free(&data);
}

static bool
attribute_is(const struct xmlin_element *e, const char *name, const char *value)
{
	struct buf scratch = { 0 };
	struct slice text;
	bool is = xmlin_attribute(e, name, &scratch, &text) == OK && slice_is(text, value);

	buf_free(&scratch);
	return is;
}

/* An item of a privacy list that blocks an address altogether becomes one of the block list. */
static void
privacy_item(struct restore *r, const struct xmlin_element *item, struct buf *data)
{
	struct buf scratch = { 0 };
	struct slice value;
	bool plain = !slice_is(item->name, "item") || item->content.len == 0;

	if (attribute_is(item, "action", "allow") &&
	    xmlin_attribute(item, "type", &scratch, &value) == E_NOT_FOUND) {
		/* What is not denied is allowed anyway. */
	} else if (plain && attribute_is(item, "type", "jid") && attribute_is(item, "action", "deny") &&
	    xmlin_attribute(item, "value", &scratch, &value) == OK) {
		buf_add_string(data, "<item");
		xml_add_attribute(data, "jid", value);
		buf_add_string(data, "/>");
	} else {
		say(r, item->head, "a rule of a privacy list that a block list cannot express");
	}
	buf_free(&scratch);
}

/* Privacy lists: what the default one blocks; there is no other here. */
static void
privacy_give(struct restore *r, const struct xml_element *e)
{
	struct xmlin_element child, item;
	struct buf name = { 0 }, other = { 0 }, data = { 0 };
	struct slice active = SLICE_NONE, text;
	struct xmlin in, items;

	if (xmlin_find(e->payload, e->ns, "default", NS_PRIVACY, &child))
		xmlin_attribute(&child, "name", &name, &active);
	xmlin_begin(&in, e->payload, e->ns);
	while (xmlin_child(&in, &child)) {
		if (!slice_is(child.name, "list"))
			continue;
		buf_clear(&other);
		if (xmlin_attribute(&child, "name", &other, &text) != OK || active.ptr == NULL ||
		    !slice_equal(text, active)) {
			say(r, child.head, "a privacy list that is not the default one");
			continue;
		}
		xmlin_begin(&items, child.content, child.ns);
		while (xmlin_child(&items, &item))
			privacy_item(r, &item, &data);
	}
	if (buf_len(&data) != 0)
		part_give(r, "blocks", buf_slice(&data));
	buf_free(&name);
	buf_free(&other);
	buf_free(&data);
}

static const struct {
	const char *name, *ns;
	void (*give)(struct restore *r, const char *part, const struct xml_element *e);
	const char *part;
} known_parts[] = {
	{ "scram-credentials", NS_PIE_SCRAM, whole_give, "credentials" },
	{ "query", NS_ROSTER, children_give, "roster" },
	{ "presence", NS_CLIENT, whole_give, "requests" },
	{ "vCard", NS_VCARD, whole_give, "vcard" },
	{ "query", NS_PRIVATE, children_give, "private" },
	{ "blocklist", NS_BLOCKING, children_give, "blocks" },
};

static void
part_take(struct restore *r, const struct xml_element *e)
{
	size_t i;

	struct xml_element request = *e;

	if (r->user == NULL)
		return;
	/* Prosody writes subscription requests in the namespace of the file. */
	if (slice_is(e->name, "presence") && slice_is(e->ns, NS_PIE)) {
		request.ns = SLICE(NS_CLIENT);
		e = &request;
	}
	if (slice_is(e->name, "query") && slice_is(e->ns, NS_PRIVACY)) {
		privacy_give(r, e);
		return;
	}
	for (i = 0; i < sizeof known_parts / sizeof known_parts[0]; i++) {
		if (slice_is(e->name, known_parts[i].name) && slice_is(e->ns, known_parts[i].ns)) {
			known_parts[i].give(r, known_parts[i].part, e);
			return;
		}
	}
	say(r, e->ns, "left out: there is nothing of this kind here");
}

/* -- messages ---------------------------------------------------------------------------------- */

/* The time of a <delay/> among children; false: there is none that can be read. */
static bool
delay_read(struct slice children, const char *ns, uint64_t *stamp)
{
	struct xmlin_element delay;
	struct buf scratch = { 0 };
	struct slice text;
	bool good = xmlin_find(children, slice_string(ns), "delay", NS_DELAY, &delay) &&
	    xmlin_attribute(&delay, "stamp", &scratch, &text) == OK &&
	    stanza_stamp_read(text, stamp) == OK && *stamp != 0;

	buf_free(&scratch);
	return good;
}

/* The id of ours that a message has: in the name of its account. */
static uint64_t
id_read(const struct restore *r, struct slice children)
{
	struct xmlin_element child;
	struct buf scratch = { 0 };
	struct slice text;
	struct xmlin in;
	uint64_t id = 0, found = 0;

	xmlin_begin(&in, children, SLICE(NS_CLIENT));
	while (xmlin_child(&in, &child)) {
		buf_clear(&scratch);
		if (slice_is(child.name, "stanza-id") && slice_is(child.ns, NS_SID) &&
		    attribute_is(&child, "by", r->user) &&
		    xmlin_attribute(&child, "id", &scratch, &text) == OK &&
		    stanza_archive_id_read(text, &id) == OK)
			found = id;
	}
	buf_free(&scratch);
	return found;
}

/* Adds a message to those that go with the next command. */
static void
message_add(struct restore *r, struct slice xml, uint64_t stamp, uint64_t id)
{
	if (ctl_message_read(r->message, xml, stamp, id, &r->piece) != OK)
		say(r, slice_string(r->table), "not a message of an account");
	if (buf_len(&r->piece) >= PIECE_BYTES)
		piece_give(r);
}

/* Section "Message Archive". */
static void
result_take(struct restore *r, const struct xml_element *e)
{
	struct xmlin_element forwarded, message;
	uint64_t stamp = 0, id = 0;

	if (!slice_is(e->name, "result") || !slice_is(e->ns, NS_MAM) ||
	    !xmlin_find(e->payload, e->ns, "forwarded", NS_FORWARD, &forwarded) ||
	    !delay_read(forwarded.content, NS_FORWARD, &stamp) ||
	    !xmlin_find(forwarded.content, forwarded.ns, "message", NS_CLIENT, &message)) {
		say(r, SLICE("archive"), "not a message with its time");
		return;
	}
	if (stanza_archive_id_read(e->id, &id) != OK)
		id = 0;
	message_add(r, message.whole, stamp, id);
}

/* Section "Offline Messages". */
static void
offline_take(struct restore *r, const struct xml_element *e)
{
	struct buf xml = { 0 };
	uint64_t stamp = 0;

	if (!slice_is(e->name, "message") || !slice_is(e->ns, NS_CLIENT) ||
	    !delay_read(e->payload, NS_CLIENT, &stamp)) {
		say(r, SLICE("offline-messages"), "not a message with its time");
		return;
	}
	element_write(e, &xml);
	message_add(r, buf_slice(&xml), stamp, id_read(r, e->payload));
	buf_free(&xml);
}

/* -- the document ------------------------------------------------------------------------------ */

static int file_read(struct restore *r, int fd, int directory, const struct reader *from,
    const char *name);

static unsigned
level(const struct reader *reader)
{
	return reader->base + reader->open + 1;
}

static bool
holds(void *arg, struct slice name, struct slice ns, unsigned depth)
{
	const struct reader *reader = arg;

	switch ((enum level)(reader->base + depth)) {
	case LEVEL_HOST:
		return slice_is(name, "host") && slice_is(ns, NS_PIE);
	case LEVEL_USER:
		return slice_is(name, "user") && slice_is(ns, NS_PIE);
	case LEVEL_PART:
		return (slice_is(name, "archive") && slice_is(ns, NS_PIE_MAM)) ||
		    (slice_is(name, "offline-messages") && slice_is(ns, NS_PIE));
	default:
		return false;
	}
}

static void
on_open(void *arg, const struct xml_element *e)
{
	struct reader *reader = arg;
	struct restore *r = reader->r;

	switch ((enum level)level(reader)) {
	case LEVEL_HOST:
		host_open(r, e);
		break;
	case LEVEL_USER:
		user_open(r, e);
		break;
	default:
		r->table = slice_is(e->name, "archive") ? "archive" : "spool";
	}
	reader->open++;
}

static void
on_close(void *arg)
{
	struct reader *reader = arg;
	struct restore *r = reader->r;

	reader->open--;
	switch ((enum level)level(reader)) {
	case LEVEL_HOST:
		MEM_FREE(&r->domain);
		break;
	case LEVEL_USER:
		user_close(r);
		break;
	default:
		piece_give(r);
		r->table = NULL;
	}
	if (r->error)
		xml_stream_stop(reader->stream);
}

/* Takes the percent-coding out of a relative reference. Returns 0, or E_MALFORMED when it is another
 * kind of one. */
static int
href_read(struct slice href, struct buf *path)
{
	static const char digits[] = "0123456789abcdef";
	size_t i;

	for (i = 0; i < href.len; i++) {
		const char *high, *low;
		char c = href.ptr[i];

		if (c == ':' || c == '?' || c == '#' || c == '\\')
			return E_MALFORMED;
		if (c == '%') {
			if (i + 2 >= href.len)
				return E_MALFORMED;
			high = memchr(digits, href.ptr[i + 1] | 0x20, 16);
			low = memchr(digits, href.ptr[i + 2] | 0x20, 16);
			if (high == NULL || low == NULL)
				return E_MALFORMED;
			c = (char)((high - digits) << 4 | (low - digits));
			i += 2;
		}
		if (c == '\0')
			return E_MALFORMED;
		buf_add_char(path, c);
	}
	buf_add_char(path, '\0');
	return href.len != 0 ? OK : E_MALFORMED;
}

/* Reads a file that the document includes: one below the directory of the file that names it, and
 * reached without a symbolic link. */
static void
include(struct reader *reader, const struct xml_element *e)
{
	struct open_how how = { .flags = O_RDONLY | O_CLOEXEC,
		.resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS };
	struct restore *r = reader->r;
	struct slice href = attribute(e, "href");
	struct buf path = { 0 };
	char *copy;
	int fd, directory;

	if (reader->directory < 0 || r->includes == INCLUDES || attribute(e, "parse").ptr != NULL ||
	    attribute(e, "xpointer").ptr != NULL || href_read(href, &path) != OK) {
		say(r, href, "not included: only files below this one, by a relative name");
		goto done;
	}
	fd = (int)syscall(SYS_openat2, reader->directory, path.bytes, &how, sizeof how);
	if (fd < 0) {
		say(r, href, strerror(errno));
		goto done;
	}
	copy = mem_string(path.bytes);
	how.flags |= O_DIRECTORY;
	directory = (int)syscall(SYS_openat2, reader->directory, dirname(copy), &how, sizeof how);
	free(copy);
	r->includes++;
	if (file_read(r, fd, directory, reader, path.bytes) != OK)
		r->error = E_MALFORMED;
	r->includes--;
	close(fd);
	if (directory >= 0)
		close(directory);
done:
	buf_free(&path);
}

static void
on_element(void *arg, const struct xml_element *e)
{
	struct reader *reader = arg;
	struct restore *r = reader->r;
	bool included = slice_is(e->name, "include") && slice_is(e->ns, NS_XINCLUDE);

	switch ((enum level)level(reader)) {
	case LEVEL_HOST:
	case LEVEL_USER:
		if (included)
			include(reader, e);
		else
			say(r, e->ns, "left out: there is nothing of this kind here");
		break;
	case LEVEL_PART:
		if (included)
			include(reader, e);
		else
			part_take(r, e);
		break;
	default:
		if (r->user != NULL && strcmp(r->table, "archive") == 0)
			result_take(r, e);
		else if (r->user != NULL)
			offline_take(r, e);
	}
	if (r->error)
		xml_stream_stop(reader->stream);
}

/* The root of what is included was written here; of the file itself it must be the right one. */
static void
on_header(void *arg, const struct xml_header *header)
{
	struct reader *reader = arg;

	if (slice_is(header->name, "server-data") && slice_is(header->ns, NS_PIE))
		return;
	fprintf(stderr, "aldisctl: this is not a file in the format of XEP-0227\n");
	reader->r->error = E_MALFORMED;
	xml_stream_stop(reader->stream);
}

static void
on_end(void *arg)
{
	((struct reader *)arg)->ended = true;
}

static const struct xml_events events = { on_header, on_element, on_end };
static const struct xml_document document = { holds, on_open, on_close };

/* A vCard with a picture, or a long roster, is one element. */
static const struct xml_limits limits = {
	.stanza_bytes = 16u << 20, .depth = 64, .attributes = 256, .elements = 1000000, .secret = true,
};

/* Leaves out the XML declaration of a file that is included. */
static struct slice
declaration_skip(struct slice bytes)
{
	const char *end;

	if (!slice_starts(bytes, SLICE("<?xml ")))
		return bytes;
	end = memmem(bytes.ptr, bytes.len < 256 ? bytes.len : 256, "?>", 2);
	return end != NULL ? slice_part(bytes, (size_t)(end + 2 - bytes.ptr), bytes.len) : bytes;
}

/* Feeds a whole file. Returns 0, or an error after having said why. */
static int
bytes_read(struct reader *reader, int fd, const char *name)
{
	char *bytes = mem_alloc(READ_BYTES);
	const char *condition = NULL;
	bool first = true;
	ssize_t got;
	int error = OK;

	if (reader->included)
		error = xml_stream_feed(reader->stream, SLICE("<server-data xmlns='" NS_PIE "'>"), &condition);
	while (!error && !reader->r->error && (got = read(fd, bytes, READ_BYTES)) != 0) {
		struct slice part = slice_of(bytes, got > 0 ? (size_t)got : 0);

		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0) {
			fprintf(stderr, "aldisctl: %s: %s\n", name, strerror(errno));
			error = E_SYSTEM;
			break;
		}
		if (reader->included && first)
			part = declaration_skip(part);
		first = false;
		error = xml_stream_feed(reader->stream, part, &condition);
	}
	if (reader->included && !error && !reader->r->error)
		error = xml_stream_feed(reader->stream, SLICE("</server-data>"), &condition);
	if (condition != NULL)
		fprintf(stderr, "aldisctl: %s: not read to its end: %s\n", name, condition);
	else if (!error && !reader->r->error && !reader->ended) {
		fprintf(stderr, "aldisctl: %s: it ends too early\n", name);
		error = E_MALFORMED;
	}
	explicit_bzero(bytes, READ_BYTES);
	free(bytes);
	return error ? error : reader->r->error;
}

static int
file_read(struct restore *r, int fd, int directory, const struct reader *from, const char *name)
{
	struct reader reader = { .r = r, .directory = directory, .included = from != NULL,
		.base = from != NULL ? level(from) - 1 : 0 };
	int error;

	reader.stream = xml_stream_new(&limits, NULL, &events, &reader);
	xml_stream_set_document(reader.stream, &document);
	error = bytes_read(&reader, fd, name);
	xml_stream_free(&reader.stream);
	return error;
}

int
ctl_restore(struct ctl_socket *ctl, const struct ctl_restore *options, json_t **result)
{
	struct restore r = { .options = options, .ctl = ctl };
	bool standard = strcmp(options->path, "-") == 0;
	char out[JID_MAX + 1], *copy;
	struct jid jid;
	int fd = 0, directory = -1;

	*result = NULL;
	if (options->which != NULL) {
		if (jid_prepare(slice_string(options->which), out, &jid) != OK || jid.resource.ptr != NULL) {
			fprintf(stderr, "aldisctl: neither an account nor a domain\n");
			return CTL_USAGE;
		}
		r.only = jid.full;
	}
	if (!standard) {
		fd = open(options->path, O_RDONLY | O_CLOEXEC);
		if (fd < 0) {
			fprintf(stderr, "aldisctl: %s: %s\n", options->path, strerror(errno));
			return CTL_FAILED;
		}
		copy = mem_string(options->path);
		directory = open(dirname(copy), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		free(copy);
	}
	r.piece.secret = true;
	if (file_read(&r, fd, directory, NULL, options->path) != OK)
		r.error = E_MALFORMED;
	if (r.user != NULL)
		fprintf(stderr, "aldisctl: %s is not finished; give the command again\n", r.user);
	*result = json_pack("{s:I, s:I, s:I, s:I, s:I}", "accounts", (json_int_t)r.imported, "skipped",
	    (json_int_t)r.skipped, "messages", (json_int_t)r.messages, "known", (json_int_t)r.known,
	    "left-out", (json_int_t)r.left);
	user_forget(&r);
	free(r.domain);
	buf_free(&r.piece);
	if (!standard)
		close(fd);
	if (directory >= 0)
		close(directory);
	return r.error || r.skipped != 0 ? CTL_FAILED : CTL_OK;
}
