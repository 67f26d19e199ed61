/*
 * fuzz_request.c: what authd is asked about accounts: rosters, subscriptions, vCards, private XML,
 * registration, with any payload.
 *
 * Input: requests. A request is a byte that chooses its kind, one that chooses who asks whom, then
 * texts up to 0xFF: the payload, and where one is needed another address.
 * Asserts: an IQ get or set has exactly one answer, which is about its handle and has its id;
 * whatever is said is frames that authd may send, with canonical payloads and canonical addresses;
 * and each reads its own roster back in canonical XML with no more items than it may have.
 *
 * All of an input is one transaction, which is aborted at its end.
 *
 * Links: authd
 * Options: -max_len=2000
 */
#include "fuzz.h"

#include <unistd.h>

#include "authd.h"

#define NOW 1700000000000ull

static const char configuration[] =
    "auth\t\tmechanisms\tPLAIN\n"
    "auth\t\titerations\t4096\n"
    "auth\t\tfailures-account\t5\n"
    "auth\t\tfailures-address\t20\n"
    "auth\t\tfailures-time\t600\n"
    "auth\t\troster-items\t6\n"
    "auth\t\tvcard-size\t300\n"
    "auth\t\tvcard-strangers\tyes\n"
    "auth\t\tprivate-size\t300\n"
    "auth\t\tprivate-items\t3\n"
    "auth\t\tblock-items\t5\n"
    "auth\t\tfast-mechanisms\tHT-SHA-256-EXPR HT-SHA-256-UNIQ HT-SHA-256-ENDP HT-SHA-256-NONE\n"
    "auth\t\ttokens\t3\n"
    "auth\t\ttoken-lifetime\t2592000\n"
    "auth\t\ttoken-rotation\t86400\n"
    "auth\t\tticket-time\t21600\n"
    "auth\t\tservice-time\t86400\n"
    "auth\t\treports\t3\n"
    "auth\t\tinvitations\t3\n"
    "auth\t\tinvitation-time\t3600\n"
    "domain\texample.org\tservice-secret\tbm9ydGg=\n"
    "domain\texample.org\tservices\tstun:stun.example.org\n"
    "domain\texample.org\tservices\tturn:turn.example.org:3478?transport=udp\n"
    "domain\texample.org\tservices\tturn:turn.example.org:80?transport=tcp\n"
    "domain\texample.org\tservices\tturns:[2001:db8::1]:5349?transport=tcp\n"
    "domain\texample.org\tinvite-page\t\n"
    "push\t\tservices\t3\n"
    "push\t\terrors\t2\n"
    "domain\texample.org\tregistration\tyes\n"
    "domain\texample.net\tservice-secret\t\n"
    "domain\texample.net\tinvite-page\t\n"
    "domain\texample.net\tregistration\tno\n";

static const char *const addresses[] = {
	"romeo@example.org", "juliet@example.org", "nurse@remote.example", "nobody@example.org",
	"example.org", "example.net", "remote.example", "romeo@example.org/orchard",
};
static const char *const namespaces[] = {
	NS_ROSTER, NS_VCARD, NS_PRIVATE, NS_REGISTER, NS_LAST, "urn:x",
	NS_BLOCKING, NS_PARS,
};
static char directory[] = "/tmp/aldis-fuzz-request-XXXXXX";

static void
close_all(void)
{
	char path[128];

	register_close();
	state_close();
	snprintf(path, sizeof path, "%s/data.mdb", directory);
	unlink(path);
	snprintf(path, sizeof path, "%s/lock.mdb", directory);
	unlink(path);
	rmdir(directory);
}

int
LLVMFuzzerInitialize(int *argc, char ***argv)
{
	struct config *config;

	(void)argc;
	(void)argv;
	CHECK(mkdtemp(directory) != NULL);
	CHECK(config_read(slice_string(configuration), &config) == OK);
	CHECK(state_configure(config) == OK && state_open(directory) == OK);
	config_free(&config);
	CHECK(account_create(SLICE("romeo@example.org"), SLICE("pencil"), NOW) == OK);
	CHECK(account_create(SLICE("juliet@example.org"), SLICE("rosaline"), NOW) == OK);
	CHECK(store_commit(state.store) == OK);
	out_clear();
	register_open();
	atexit(close_all);
	return 0;
}

/* -- what authd says --------------------------------------------------------------------------- */

static void
check_address(struct slice address)
{
	struct jid jid;

	CHECK(address.ptr == NULL || jid_parse(address, &jid) == OK);
}

/* Returns whether it is an answer to a request with this handle. */
static bool
check_frame(const struct frame *f, uint64_t handle)
{
	CHECK((frame_senders(f->type) & BY_AUTHD) != 0);
	if (f->type != FRAME_STANZA)
		return false;
	CHECK(f->payload.ptr != NULL && stanza_is_canonical(f));
	check_address(f->from);
	check_address(f->to);
	if (f->kind != STANZA_IQ || f->handle != handle ||
	    (f->subtype != TYPE_RESULT && f->subtype != TYPE_ERROR))
		return false;
	CHECK(slice_is(f->id, "id1"));
	return true;
}

/* Reads all that was said. Returns how many answers there were. */
static unsigned
check_out(uint64_t handle)
{
	struct slice rest = out_frames(), whole;
	unsigned count = 0;
	struct frame f;

	while (frame_next(rest, &whole) == OK) {
		CHECK(frame_read(whole, &f) == OK);
		count += check_frame(&f, handle);
		rest = slice_part(rest, whole.len, rest.len);
	}
	CHECK(rest.len == 0);
	out_clear();
	return count;
}

/* -- what it is asked -------------------------------------------------------------------------- */

static void
ask(struct fuzz *f, uint8_t what, uint8_t who)
{
	struct frame frame = { .type = FRAME_STANZA, .kind = STANZA_IQ, .handle = 9,
		.id = SLICE("id1"), .address = SLICE("192.0.2.1") };
	struct slice payload = fuzz_copy(fuzz_until(f, 0xFF));

	frame.subtype = what & 0x40 ? TYPE_GET : TYPE_SET;
	frame.ns = what & 0x10 ? SLICE(NS_EXTDISCO) : slice_string(namespaces[what % 8]);
	frame.from = who & 0x80 ? SLICE_NONE : slice_string(addresses[who % 4]);
	frame.to = who & 0x40 ? SLICE_NONE : slice_string(addresses[who / 8 % 8]);
	frame.payload = payload;
	request_handle(&frame, (what & 0x20) != 0, NOW + 5000);
	CHECK(check_out(9) == 1);
	fuzz_free(payload);
}

static void
subscribe(struct fuzz *f, uint8_t what, uint8_t who)
{
	static const enum stanza_type types[] = {
		TYPE_SUBSCRIBE, TYPE_SUBSCRIBED, TYPE_UNSUBSCRIBE, TYPE_UNSUBSCRIBED,
	};
	struct frame frame = { .type = FRAME_STANZA, .kind = STANZA_PRESENCE, .handle = 9 };
	struct slice payload = fuzz_copy(fuzz_until(f, 0xFF));

	frame.subtype = types[what % 4];
	frame.from = slice_string(addresses[who % 8]);
	frame.to = slice_string(addresses[who / 8 % 8]);
	frame.payload = payload;
	if (!stanza_is_canonical(&frame)) /* the router has checked it */
		frame.payload = SLICE("");
	presence_handle(&frame, (what & 0x20) != 0);
	check_out(9);
	fuzz_free(payload);
}

/* An address out of the input, if it is one. */
static void
load(struct fuzz *f)
{
	struct slice text = fuzz_copy(fuzz_until(f, 0xFF));
	struct jid jid;

	if (jid_parse(text, &jid) == OK && jid.resource.ptr == NULL) {
		roster_load(text);
		roster_pending(text, 9);
		account_tell(text);
		last_set(text, NOW);
	}
	check_out(9);
	fuzz_free(text);
}

/* A roster as its owner gets it. */
static void
check_roster(const char *account)
{
	struct frame f = { .type = FRAME_STANZA, .kind = STANZA_IQ, .subtype = TYPE_GET,
		.handle = 9, .id = SLICE("id1"), .ns = SLICE(NS_ROSTER),
		.payload = SLICE("<query xmlns='" NS_ROSTER "'/>") };
	struct xmlin_element query, item;
	struct slice whole;
	struct xmlin in;
	struct frame reply;
	unsigned count = 0;

	f.from = slice_string(account);
	if (!account_exists(f.from))
		return;
	request_handle(&f, false, NOW + 6000);
	CHECK(frame_next(out_frames(), &whole) == OK && frame_read(whole, &reply) == OK);
	CHECK(reply.subtype == TYPE_RESULT && stanza_is_canonical(&reply));
	CHECK(xmlin_find(reply.payload, SLICE(NS_CLIENT), "query", NS_ROSTER, &query));
	xmlin_begin(&in, query.content, query.ns);
	while (xmlin_child(&in, &item))
		count++;
	CHECK(in.error == OK && count <= state.roster_items);
	out_clear();
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz f = fuzz_begin(data, size);
	unsigned count;

	for (count = 0; fuzz_left(&f) != 0 && count < 30; count++) {
		uint8_t what = fuzz_byte(&f), who = fuzz_byte(&f);

		if (what >= 0xF0)
			load(&f);
		else if (what >= 0x80)
			subscribe(&f, what, who);
		else
			ask(&f, what, who);
	}
	check_roster("romeo@example.org");
	check_roster("juliet@example.org");
	store_abort(state.store);
	request_committed();
	register_close(); /* what it counts against who registers */
	register_open();
	return 0;
}
