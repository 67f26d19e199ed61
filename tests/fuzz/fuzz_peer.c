/*
 * fuzz_peer.c: what other servers and name servers hand to the small readers of s2sd: addresses of the
 * configuration, data of SRV and TLSA records, dialback elements.
 *
 * Input: a byte that says what is read, and the text.
 * Asserts: what is taken is within the input and what the headers promise: hosts that are hosts, names that
 * are ended, records that can be used, canonical domains, and dialback that reads again as it was written.
 *
 * Links: s2sd
 */
#include "fuzz.h"

#include "dialback.h"
#include "jid.h"
#include "ns.h"
#include "resolve.h"
#include "srv.h"
#include "tlsa.h"

static const struct xml_limits limits = { 65536, 16, 64, 1000000, false };

static void
try_configured(struct slice text)
{
	struct configured c;
	uintptr_t begin = (uintptr_t)text.ptr;

	if (configured_read(text, &c) != OK)
		return;
	CHECK(c.host.len != 0 && (uintptr_t)c.host.ptr >= begin &&
	    (uintptr_t)c.host.ptr + c.host.len <= begin + text.len);
	CHECK(c.port != 0);
}

static void
try_srv(struct slice text)
{
	struct srv srv;
	size_t i, len;

	if (srv_read(text, &srv) != OK)
		return;
	len = strnlen(srv.target, sizeof srv.target);
	CHECK(len < sizeof srv.target);
	for (i = 0; i < len; i++)
		CHECK((unsigned char)srv.target[i] > ' ' && (unsigned char)srv.target[i] < 127 &&
		    !(srv.target[i] >= 'A' && srv.target[i] <= 'Z'));
}

/* Several records, of which each begins with its length. */
static void
try_tlsa(struct fuzz *f)
{
	struct tlsa_set set = { 0 };
	unsigned records;
	size_t i;

	for (records = 0; fuzz_left(f) != 0 && records < 40; records++) {
		struct slice rdata = fuzz_copy(fuzz_take(f, fuzz_byte(f)));

		tlsa_add(&set, rdata);
		fuzz_free(rdata);
	}
	CHECK(set.count <= TLSA_MAX && set.count + set.unusable <= records);
	for (i = 0; i < set.count; i++) {
		CHECK(set.records[i].usage <= TLSA_DANE_EE && set.records[i].selector <= TLSA_SPKI &&
		    set.records[i].matching <= TLSA_SHA2_512 && set.records[i].data.len != 0);
		tlsa_matches(&set.records[i], SLICE("certificate"), SLICE("key"));
	}
	tlsa_clear(&set);
	CHECK(set.count == 0);
}

/* -- dialback ---------------------------------------------------------------------------------- */

static struct dialback last;
static struct buf written;
static unsigned read_count;

static void on_header(void *arg, const struct xml_header *h) { (void)arg; (void)h; }
static void on_end(void *arg) { (void)arg; }

static void
check_domain(struct slice domain)
{
	struct jid jid;

	CHECK(jid_parse(domain, &jid) == OK && jid.local.ptr == NULL && jid.resource.ptr == NULL);
}

static void
on_element(void *arg, const struct xml_element *element)
{
	const char *condition = NULL;
	struct dialback d;
	bool again = arg != NULL;

	if (!dialback_is(element))
		return;
	if (dialback_read(element, &d, &condition) != OK) {
		CHECK(condition != NULL && !again);
		return;
	}
	check_domain(d.from);
	check_domain(d.to);
	CHECK(d.id.len <= DIALBACK_ID_MAX && d.key.len <= DIALBACK_KEY_MAX);
	if (again) {
		CHECK(d.kind == last.kind && d.type == last.type);
		read_count++;
		return;
	}
	last = d;
	buf_clear(&written);
	dialback_write(&d, &written);
}

static const struct xml_events events = { on_header, on_element, on_end };

static void
feed(struct slice text, void *arg)
{
	struct xml_stream *stream = xml_stream_new(&limits, NULL, &events, arg);
	const char *condition;

	if (xml_stream_feed(stream, SLICE("<stream:stream xmlns='jabber:server' xmlns:stream='" NS_STREAM
	    "' xmlns:db='" NS_DIALBACK "' version='1.0'>"), &condition) == OK)
		xml_stream_feed(stream, text, &condition);
	xml_stream_free(&stream);
}

static void
try_dialback(struct slice text)
{
	static char again;

	buf_clear(&written);
	feed(text, NULL);
	read_count = 0;
	if (buf_len(&written) == 0)
		return;
	feed(buf_slice(&written), &again);
	CHECK(read_count == 1);
	buf_free(&written);
}

int
LLVMFuzzerInitialize(int *argc, char ***argv)
{
	(void)argc;
	(void)argv;
	return 0;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz f = fuzz_begin(data, size);
	uint8_t what = fuzz_byte(&f) % 4;
	struct slice text;

	if (what == 2) {
		try_tlsa(&f);
		return 0;
	}
	text = fuzz_copy(fuzz_take(&f, fuzz_left(&f)));
	if (what == 0)
		try_configured(text);
	else if (what == 1)
		try_srv(text);
	else
		try_dialback(text);
	fuzz_free(text);
	return 0;
}
