/*
 * fuzz_jid.c: addresses, their parts, and passwords: what is prepared is stable.
 *
 * Input: a byte that chooses what the rest is, then the text.
 * Asserts: preparing what was prepared changes nothing; what was prepared is characters of XML, as
 * long as it may be, and ends with a NUL; jid_parse() takes exactly what jid_prepare() would give;
 * the parts make up the whole; the ASCII form of a domain stands for the same domain.
 */
#include "fuzz.h"

#include "jid.h"
#include "precis.h"
#include "xmlchar.h"

/* What every result must be. */
static void
check_text(struct slice s, size_t most)
{
	struct xmlchar chars = { 0 };

	CHECK(s.ptr != NULL && s.len != 0 && s.len <= most);
	CHECK(s.ptr[s.len] == '\0' && memchr(s.ptr, '\0', s.len) == NULL);
	CHECK(xmlchar_check(&chars, s) && chars.need == 0);
}

static void
check_domain(struct slice domain)
{
	char ascii[256], out[JID_PART_MAX + 1];
	struct slice again;

	if (jid_domain_ascii(domain, ascii) != OK) {
		CHECK(domain.ptr[0] == '[' ? domain.len > 253 : false);
		return;
	}
	CHECK(strlen(ascii) <= 253);
	CHECK(jid_prepare_domain(slice_string(ascii), out, &again) == OK);
	CHECK(slice_equal(again, domain));
}

static void
check_part(int (*prepare)(struct slice, char *, struct slice *), struct slice text, bool domain)
{
	char out[JID_PART_MAX + 1], out_again[JID_PART_MAX + 1];
	struct slice part, again;
	int error = prepare(text, out, &part);

	CHECK(error == OK || error == E_MALFORMED || error == E_TOO_BIG);
	if (error != OK)
		return;
	check_text(part, JID_PART_MAX);
	CHECK(prepare(part, out_again, &again) == OK && slice_equal(part, again));
	if (domain)
		check_domain(part);
}

/* The parts stand in the whole, with their separators. */
static void
check_parts(const struct jid *jid)
{
	size_t len = jid->domain.len;

	check_text(jid->full, JID_MAX);
	CHECK(jid->domain.ptr != NULL && jid->domain.len != 0);
	if (jid->local.ptr != NULL) {
		CHECK(jid->local.ptr == jid->full.ptr);
		CHECK(jid->domain.ptr == jid->local.ptr + jid->local.len + 1);
		CHECK(jid->domain.ptr[-1] == '@' && jid->local.len != 0);
		len += jid->local.len + 1;
	}
	CHECK(jid_bare(jid).len == len && slice_equal(jid_bare_of(jid->full), jid_bare(jid)));
	if (jid->resource.ptr != NULL) {
		CHECK(jid->resource.ptr == jid->domain.ptr + jid->domain.len + 1);
		CHECK(jid->resource.ptr[-1] == '/' && jid->resource.len != 0);
		len += jid->resource.len + 1;
	}
	CHECK(jid->full.len == len);
}

static void
check_jid(struct slice text)
{
	char out[JID_MAX + 1], out_again[JID_MAX + 1];
	struct jid jid, again, split;
	int error = jid_prepare(text, out, &jid);
	bool canonical = jid_parse(text, &split) == OK;

	CHECK(error == OK || error == E_MALFORMED || error == E_TOO_BIG);
	CHECK(canonical == (error == OK && slice_equal(jid.full, text)));
	if (error != OK)
		return;
	check_parts(&jid);
	check_domain(jid.domain);
	CHECK(jid_prepare(jid.full, out_again, &again) == OK);
	CHECK(slice_equal(jid.full, again.full));
	CHECK(jid_parse(jid.full, &again) == OK);
	CHECK(slice_equal(jid.local, again.local) && slice_equal(jid.domain, again.domain) &&
	    slice_equal(jid.resource, again.resource));
	CHECK((jid.local.ptr == NULL) == (again.local.ptr == NULL) &&
	    (jid.resource.ptr == NULL) == (again.resource.ptr == NULL));
}

/* The profiles by themselves, into a room that may be too small. */
static void
check_profile(int (*profile)(struct slice, char *, size_t, size_t *), struct slice text,
    size_t room)
{
	char out[JID_PART_MAX], again[JID_PART_MAX];
	size_t len, len_again;
	int error = profile(text, out, room, &len);

	CHECK(error == OK || error == E_MALFORMED || error == E_TOO_BIG);
	if (error != OK || len == 0)
		return;
	CHECK(len <= room);
	CHECK(profile(slice_of(out, len), again, sizeof again, &len_again) == OK);
	CHECK(slice_equal(slice_of(out, len), slice_of(again, len_again)));
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz f = fuzz_begin(data, size);
	uint8_t what = fuzz_byte(&f);
	struct slice text = fuzz_copy(fuzz_take(&f, fuzz_left(&f)));
	size_t room = what >= 128 ? what - 128u : JID_PART_MAX;

	switch (what % 8) {
	case 0: check_part(jid_prepare_local, text, false); break;
	case 1: check_part(jid_prepare_domain, text, true); break;
	case 2: check_part(jid_prepare_resource, text, false); break;
	case 3: check_part(jid_prepare_password, text, false); break;
	case 4: check_profile(precis_username, text, room); break;
	case 5: check_profile(precis_opaque, text, room); break;
	case 6: check_profile(precis_domain, text, room); break;
	default: check_jid(text); break;
	}
	fuzz_free(text);
	return 0;
}
