/*
 * fuzz_sasl.c: SASL exchanges as authd sees them: whatever a client says, who does not know the
 * password is not let in.
 *
 * Input: steps. A step is a byte that chooses what is done, a byte of details, and for what carries
 * a message its bytes up to 0xFF. In a message 0x01 becomes the server's last nonce, 0x02 and 0x03
 * base64 of what c= must say without and with a channel binding, 0x04 a proof of the right length,
 * so that the last message of SCRAM can be reached.
 * Asserts: no AUTH_SUCCESS, ever; each message has at most one answer, about its handle; failures
 * have a condition of RFC 6120; challenges are printable; when time is over nothing is left.
 *
 * Passwords are random and known to nobody; failures of one input are forgotten for the next.
 *
 * Links: authd
 * Options: -max_len=1024
 */
#include "fuzz.h"

#include <gnutls/crypto.h>
#include <gnutls/gnutls.h>
#include <unistd.h>

#include "authd.h"

#define NOW 1700000000000ull

static const char configuration[] =
    "auth\t\tmechanisms\tSCRAM-SHA-512-PLUS SCRAM-SHA-256-PLUS SCRAM-SHA-1-PLUS SCRAM-SHA-512 "
    "SCRAM-SHA-256 SCRAM-SHA-1 PLAIN\n"
    "auth\t\titerations\t4096\n"
    "auth\t\tfailures-account\t5\n"
    "auth\t\tfailures-address\t20\n"
    "auth\t\tfailures-time\t600\n"
    "auth\t\troster-items\t50\n"
    "auth\t\tvcard-size\t2000\n"
    "auth\t\tvcard-strangers\tyes\n"
    "auth\t\tprivate-size\t2000\n"
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

static const char *const mechanisms[] = {
	"SCRAM-SHA-512-PLUS", "SCRAM-SHA-256-PLUS", "SCRAM-SHA-1-PLUS", "SCRAM-SHA-512",
	"SCRAM-SHA-256", "SCRAM-SHA-1", "PLAIN", "DIGEST-MD5",
};

static const char *const fast[] = {
	"HT-SHA-256-NONE", "HT-SHA-256-EXPR", "HT-SHA-256-UNIQ", "HT-SHA-256-ENDP",
};

static const char *const conditions[] = {
	"aborted", "account-disabled", "credentials-expired", "encryption-required",
	"incorrect-encoding", "invalid-authzid", "invalid-mechanism", "malformed-request",
	"mechanism-too-weak", "not-authorized", "temporary-auth-failure",
};

static char directory[] = "/tmp/aldis-fuzz-sasl-XXXXXX";
static uint64_t ticks;
static struct sasl_job *job;  /* a password whose check has not ended */
static char nonce[256];       /* of the server, both parts */

/* -- the store, once --------------------------------------------------------------------------- */

static void
close_all(void)
{
	char path[128];

	state_close();
	snprintf(path, sizeof path, "%s/data.mdb", directory);
	unlink(path);
	snprintf(path, sizeof path, "%s/lock.mdb", directory);
	unlink(path);
	rmdir(directory);
}

static void
account_make(const char *jid)
{
	static const char digits[] = "0123456789abcdef";
	unsigned char random[32];
	char password[65];
	size_t i;

	CHECK(gnutls_rnd(GNUTLS_RND_KEY, random, sizeof random) == 0);
	for (i = 0; i < sizeof random; i++) {
		password[2 * i] = digits[random[i] >> 4];
		password[2 * i + 1] = digits[random[i] & 15];
	}
	CHECK(account_create(slice_string(jid), slice_of(password, 64), NOW) == OK);
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
	account_make("romeo@example.org");
	account_make("juliet@example.org");
	account_make("f\xC3\xBC@example.net");
	CHECK(store_commit(state.store) == OK);
	out_clear();
	atexit(close_all);
	return 0;
}

/* -- what authd says --------------------------------------------------------------------------- */

/* Keeps the nonce of a server-first-message. */
static void
nonce_keep(struct slice data)
{
	size_t len;

	if (data.len < 2 || memcmp(data.ptr, "r=", 2) != 0)
		return;
	for (len = 0; 2 + len < data.len && data.ptr[2 + len] != ',' && len < sizeof nonce - 1; len++)
		nonce[len] = data.ptr[2 + len];
	nonce[len] = '\0';
}

static void
check_frame(const struct frame *f)
{
	size_t i;

	CHECK(f->type == FRAME_AUTH_CHALLENGE || f->type == FRAME_AUTH_FAILURE);
	CHECK(f->handle >= 1 && f->handle <= 4);
	if (f->type == FRAME_AUTH_CHALLENGE) {
		CHECK(f->data.ptr != NULL && f->condition.ptr == NULL);
		for (i = 0; i < f->data.len; i++)
			CHECK(f->data.ptr[i] >= 0x20 && f->data.ptr[i] < 0x7F);
		nonce_keep(f->data);
		return;
	}
	for (i = 0; i < COUNT_OF(conditions) && !slice_is(f->condition, conditions[i]); i++)
		;
	CHECK(i < COUNT_OF(conditions));
}

/* Reads all that was said. Returns how many frames about one handle there were. */
static unsigned
check_out(uint64_t handle)
{
	struct slice rest = out_frames(), whole;
	unsigned count = 0;
	struct frame f;

	while (frame_next(rest, &whole) == OK) {
		CHECK(frame_read(whole, &f) == OK);
		check_frame(&f);
		count += f.handle == handle;
		rest = slice_part(rest, whole.len, rest.len);
	}
	CHECK(rest.len == 0);
	out_clear();
	return count;
}

/* -- what clients say -------------------------------------------------------------------------- */

static void
verify(struct sasl_job *one)
{
	if (job != NULL) { /* the one before comes too late */
		sasl_job_done(job, ticks);
		free(job);
	}
	job = one;
}

static void
job_end(void)
{
	struct sasl_job *one = job;

	job = NULL;
	if (one == NULL)
		return;
	sasl_job_run(one);
	CHECK(!one->right);
	sasl_job_done(one, ticks);
	free(one);
}

/* The message of a step, with its marks replaced. */
static struct slice
message_take(struct fuzz *f, size_t proof)
{
	struct slice raw = fuzz_until(f, 0xFF), copy;
	struct buf out = { 0 };
	size_t i, n;

	for (i = 0; i < raw.len; i++) {
		switch (raw.ptr[i]) {
		case 1: buf_add_string(&out, nonce); break;
		case 2: buf_add_string(&out, "biws"); break;                          /* n,, */
		case 3: buf_add_string(&out, "cD10bHMtZXhwb3J0ZXIsLGV4cG9ydGVy"); break; /* p=... */
		case 4:
			for (n = 0; n + 3 <= proof; n += 3)
				buf_add_string(&out, "AbCd");
			buf_add_string(&out, proof % 3 == 2 ? "AAA=" : proof % 3 == 1 ? "AA==" : "");
			break;
		default: buf_add_char(&out, raw.ptr[i]); break;
		}
	}
	copy = fuzz_copy(buf_slice(&out));
	buf_free(&out);
	return copy;
}

static void
start(struct fuzz *f, uint8_t what, uint64_t handle)
{
	struct frame frame = { .type = FRAME_AUTH_START, .handle = handle };
	uint8_t details = fuzz_byte(f);
	struct slice message = message_take(f, 20);

	frame.name = slice_string(mechanisms[details % COUNT_OF(mechanisms)]);
	if (what & 0x80) { /* with a token (XEP-0484) */
		frame.name = slice_string(fast[details % COUNT_OF(fast)]);
		frame.agent = details & 4 ? SLICE("d4565fa7-4d72-4749-b3d3-740edbf87770") : message;
		frame.node = message;
		frame.wanted = frame.name;
		frame.stamp = details & 8 ? 1 : 0;
		frame.flags |= details & 0x20 ? FLAG_INVALIDATE : 0u;
	}
	frame.domain = details & 8 ? SLICE("example.net") : SLICE("example.org");
	frame.domain = (details & 0xF8) == 0xF8 ? SLICE_NONE : frame.domain;
	frame.flags = details & 0x10 ? 0 : FLAG_TLS;
	frame.address = details & 0x20 ? SLICE("2001:db8::7") : SLICE("192.0.2.7");
	/* What was offered, which goes into the server-first-message: any bytes. */
	frame.text = details & 0x20 ? message : SLICE("PLAIN SCRAM-SHA-1 \ntls-exporter ");
	frame.number = handle * 0x101u;
	if (details & 0x40) {
		frame.binding_exporter = SLICE("exporter");
		frame.binding_endpoint = SLICE("endpoint");
	}
	if (details & 0x80)
		frame.binding_unique = SLICE("unique");
	frame.data = what & 0x40 ? SLICE_NONE : message;
	sasl_frame(&frame, ticks);
	CHECK(check_out(handle) <= 1);
	fuzz_free(message);
}

static void
step(struct fuzz *f, uint64_t handle)
{
	static const size_t proofs[] = { 20, 32, 64, 31 };
	struct frame frame = { .type = FRAME_AUTH_STEP, .handle = handle };
	struct slice message = message_take(f, proofs[fuzz_byte(f) % 4]);

	frame.data = message;
	sasl_frame(&frame, ticks);
	CHECK(check_out(handle) <= 1);
	fuzz_free(message);
}

static void
step_any(struct fuzz *f)
{
	uint8_t what = fuzz_byte(f);
	uint64_t handle = what / 8 % 4 + 1u;
	struct frame abort_frame = { .type = FRAME_AUTH_ABORT, .handle = handle };

	switch (what % 8) {
	case 0: case 1:
		start(f, what, handle);
		break;
	case 2: case 3: case 4:
		step(f, handle);
		break;
	case 5:
		sasl_frame(&abort_frame, ticks);
		CHECK(check_out(handle) <= 1);
		break;
	case 6:
		ticks += (uint64_t)fuzz_byte(f) * 100;
		sasl_tick(ticks);
		check_out(0);
		break;
	default:
		job_end();
		check_out(0);
		break;
	}
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz f = fuzz_begin(data, size);
	unsigned steps;

	ticks = 1000000;
	nonce[0] = '\0';
	CHECK(sasl_open(verify) == OK);
	for (steps = 0; fuzz_left(&f) != 0 && steps < 40; steps++)
		step_any(&f);
	job_end();
	check_out(0);
	ticks += 1000000;
	sasl_tick(ticks); /* what was delayed goes on, and what is too old ends */
	job_end();
	check_out(0);
	sasl_tick(ticks + 60000);
	CHECK(!sasl_busy());
	check_out(0);
	sasl_close();
	return 0;
}
