/*
 * vcard.c: the vCard of a room with its avatar (XEP-0054, XEP-0486), and that of the service. Called by
 * request.c, which has seen that the room may be known to who asks, and by enter.c. The vCard and the
 * SHA-1 of its photos, a line each, are in the room's row; disco.c shows the latter, and a presence of
 * the room itself has the first of them, for clients that look there (XEP-0153).
 */
#include <gnutls/crypto.h>
#include <gnutls/gnutls.h>
#include <stdlib.h>

#include "log.h"
#include "mucd.h"
#include "ns.h"
#include "xmlout.h"

#define VCARD_MAX  (64u << 10) /* bytes of a vCard */
#define PHOTOS_MAX 8
#define SHA1_BYTES 20

/* -- photos ------------------------------------------------------------------------------------ */

/* Appends the hash of a photo in base64. Returns 0 or E_MALFORMED. */
static int
photo_hash(struct slice base64, struct buf *out)
{
	gnutls_datum_t encoded, photo = { NULL, 0 };
	unsigned char hash[SHA1_BYTES];
	struct buf packed = { 0 };
	int error = OK;
	size_t i;

	for (i = 0; i < base64.len; i++)
		if (strchr(" \t\r\n", base64.ptr[i]) == NULL)
			buf_add_char(&packed, base64.ptr[i]);
	encoded.data = (unsigned char *)packed.bytes + packed.start;
	encoded.size = (unsigned)buf_len(&packed);
	if (buf_len(&packed) == 0 || gnutls_base64_decode2(&encoded, &photo) != 0)
		error = E_MALFORMED;
	else if (gnutls_hash_fast(GNUTLS_DIG_SHA1, photo.data, photo.size, hash) != 0)
		log_panic(__FILE__, __LINE__, "SHA-1 failed");
	if (error == OK)
		buf_add_hex(out, hash, sizeof hash);
	gnutls_free(photo.data);
	buf_free(&packed);
	return error;
}

/* Text of a child of a photo, absent: it has none. */
static struct slice
photo_part(const struct xmlin_element *photo, const char *name, struct buf *scratch)
{
	struct xmlin_element child;
	struct slice text;

	if (!xmlin_find(photo->content, photo->ns, name, NS_VCARD, &child) ||
	    xmlin_text(&child, scratch, &text) != OK)
		return SLICE_NONE;
	return text;
}

/* Appends the hashes of the photos of a vCard, a line each, and the type of the first. */
static int
photos_hash(const struct xmlin_element *vcard, struct buf *hashes, struct buf *type)
{
	struct xmlin_element photo;
	struct xmlin in;
	size_t count = 0;
	int error = OK;

	xmlin_begin(&in, vcard->content, vcard->ns);
	while (error == OK && xmlin_child(&in, &photo)) {
		struct buf scratch = { 0 }, type_scratch = { 0 };
		struct slice data;

		if (!slice_is(photo.name, "PHOTO") || !slice_is(photo.ns, NS_VCARD))
			continue;
		data = photo_part(&photo, "BINVAL", &scratch);
		if (data.len != 0) {
			if (count != 0)
				buf_add_char(hashes, '\n');
			else
				buf_add_slice(type, photo_part(&photo, "TYPE", &type_scratch));
			error = count++ < PHOTOS_MAX ? photo_hash(data, hashes) : E_TOO_MANY;
		}
		buf_free(&scratch);
		buf_free(&type_scratch);
	}
	return error;
}

/* -- telling occupants ------------------------------------------------------------------------- */

/* A presence of the room itself. */
static void
avatar_tell(const struct room *room, const struct receivers *receivers)
{
	struct slice hash = buf_slice(&room->avatar);
	const char *end = hash.len != 0 ? memchr(hash.ptr, '\n', hash.len) : NULL;
	struct buf payload = { 0 };
	struct frame f = { .type = FRAME_STANZA, .kind = STANZA_PRESENCE, .subtype = TYPE_AVAILABLE,
		.from = room_jid(room), .name = SLICE("x"), .ns = SLICE(NS_VCARD_UPDATE) };

	if (end != NULL)
		hash.len = (size_t)(end - hash.ptr);
	buf_add_string(&payload, "<x xmlns='" NS_VCARD_UPDATE "'>");
	if (hash.len != 0)
		xml_add_element(&payload, "photo", hash);
	else
		buf_add_string(&payload, "<photo/>");
	buf_add_string(&payload, "</x>");
	f.payload = buf_slice(&payload);
	outbox_add(&f, receivers);
	buf_free(&payload);
}

void
vcard_show(const struct client *client)
{
	const struct room *room = client->occupant->room;
	struct receivers receivers = { 0 };

	if (buf_len(&room->avatar) == 0)
		return;
	receivers_add(&receivers, client);
	avatar_tell(room, &receivers);
	receivers_free(&receivers);
}

/* -- requests ---------------------------------------------------------------------------------- */

static void
text_set(struct buf *to, struct slice text)
{
	buf_clear(to);
	buf_add_slice(to, text);
}

/* An empty vCard takes the old one away. */
static void
replace(struct room *room, const struct xmlin_element *vcard, struct slice hashes, struct slice type)
{
	bool other = !slice_equal(hashes, buf_slice(&room->avatar));

	text_set(&room->vcard, vcard->content.len != 0 ? vcard->whole : SLICE(""));
	text_set(&room->avatar, hashes);
	text_set(&room->avatar_type, type);
	room_save(room);
	message_announce(room, SLICE("<x xmlns='" NS_MUC_USER "'><status code='104'/></x>"));
	if (other)
		avatar_tell(room, receivers_everyone(room));
}

static void
set(const struct frame *f, struct room *room)
{
	struct buf hashes = { 0 }, type = { 0 };
	struct xmlin_element vcard;

	if (affiliation_of(room, jid_bare_of(f->from)) != AFFILIATION_OWNER)
		answer_error(f, STANZA_ERROR_FORBIDDEN, "Only owners may change the vCard of a room");
	else if (!xmlin_find(f->payload, SLICE(NS_CLIENT), "vCard", NS_VCARD, &vcard))
		answer_error(f, STANZA_ERROR_BAD_REQUEST, NULL);
	else if (vcard.whole.len > VCARD_MAX)
		answer_error(f, STANZA_ERROR_POLICY_VIOLATION, "The vCard is too large");
	else if (photos_hash(&vcard, &hashes, &type) != OK)
		answer_error(f, STANZA_ERROR_BAD_REQUEST, "A photo is not base64, or there are too many");
	else {
		replace(room, &vcard, buf_slice(&hashes), buf_slice(&type));
		answer_result(f, SLICE(""));
	}
	buf_free(&hashes);
	buf_free(&type);
}

static void
get_service(const struct frame *f)
{
	struct buf out = { 0 };

	buf_add_string(&out, "<vCard xmlns='" NS_VCARD "'>");
	xml_add_element(&out, "FN", domain_find(f->to)->title);
	xml_add_element(&out, "DESC", SLICE("Rooms of Aldis"));
	buf_add_string(&out, "</vCard>");
	answer_result(f, buf_slice(&out));
	buf_free(&out);
}

void
vcard_request(const struct frame *f, struct room *room)
{
	if (room == NULL)
		get_service(f);
	else if (f->subtype == TYPE_SET)
		set(f, room);
	else if (buf_len(&room->vcard) == 0)
		answer_error(f, STANZA_ERROR_ITEM_NOT_FOUND, "The room has no vCard");
	else
		answer_result(f, buf_slice(&room->vcard));
}
