/*
 * test_resolve.c: resolutions against a name server: SRV, addresses, TLSA, DNSSEC, and all that can be
 * wrong with them; also within the sandbox of s2sd.
 *
 * Links: s2sd
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "buf.h"
#include "dns_server.h"
#include "error.h"
#include "mem.h"
#include "resolve.h"
#include "sandbox.h"

#define SHA "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"

static const char signed_zone[] =
    "_xmpp-server._tcp SRV 20 0 5269 a\n"
    "_xmpps-server._tcp SRV 10 0 5270 B\n"
    "a A 192.0.2.1\na AAAA 2001:db8::1\n"
    "b A 192.0.2.3\n"
    "_5270._tcp.b TLSA 3 1 1 " SHA "\n_5270._tcp.b TLSA 9 9 9 00\n"
    /* addresses of its own, no SRV, and TLSA all the same */
    "lone A 192.0.2.4\n_5269._tcp.lone TLSA 2 0 1 " SHA "\n"
    /* a secure SRV record to a host that is not secure */
    "_xmpp-server._tcp.out SRV 0 0 5269 host.plain.test.\n"
    /* TLSA records that cannot be known: behind a zone that does not answer */
    "_xmpp-server._tcp.stop SRV 0 0 5269 stop\nstop A 192.0.2.5\n"
    "_5269._tcp.stop CNAME nowhere.broken.test.\n";

static const char plain_zone[] =
    "_xmpp-server._tcp SRV 5 0 5269 host\n"
    "host A 192.0.2.10\n"
    "_5269._tcp.host TLSA 3 1 1 " SHA "\n"
    "_xmpp-server._tcp.off SRV 0 0 0 .\noff A 192.0.2.11\n"
    "_xmpps-server._tcp.nodirect SRV 0 0 0 .\nnodirect A 192.0.2.12\n"
    "_xmpps-server._tcp.onlystart SRV 0 0 0 .\n_xmpp-server._tcp.onlystart SRV 0 0 5269 host\n"
    "empty TXT hello\n"
    "_xmpp-server._tcp.dangling SRV 0 0 5269 nosuch\ndangling A 192.0.2.13\n"
    "_xmpp-server._tcp.half CNAME x.broken.test.\nhalf A 192.0.2.14\n"
    "_xmpps-server._tcp.odd CNAME x.broken.test.\n_xmpp-server._tcp.odd SRV 0 0 5269 host\n"
    "_xmpp-server._tcp.malformed SRV 0 0 0 host\nmalformed A 192.0.2.15\n"
    "*.many A 192.0.2.16\n*.many AAAA 2001:db8::16\n"
    "_xmpp-server._tcp.alias CNAME _xmpp-server._tcp\n"
    "xn--bcher-kva A 192.0.2.17\n"
    "nine A 192.0.2.1\nnine A 192.0.2.2\nnine A 192.0.2.3\nnine A 192.0.2.4\nnine A 192.0.2.5\n"
    "nine A 192.0.2.6\nnine A 192.0.2.7\nnine A 192.0.2.8\nnine A 192.0.2.9\n"
    "_xmpp-server._tcp.wide SRV 0 1 1 nine\n_xmpp-server._tcp.wide SRV 0 1 2 nine\n"
    "_xmpp-server._tcp.wide SRV 0 1 3 nine\n_xmpp-server._tcp.wide SRV 0 1 4 nine\n"
    "_xmpp-server._tcp.wide SRV 0 1 5 nine\n";

static struct dns_server server;
static struct resolver *resolver;
static uv_loop_t *loop;

/* What has come of a resolution. */
struct seen {
	struct resolution *resolution;
	size_t answers, secure;
	struct buf text;
};

static void
on_answer(void *arg, const struct dns_answer *a)
{
	struct seen *seen = arg;

	assert_non_null(a->why);
	assert_true((a->records > 0) == (a->outcome == RESOLVE_OK));
	seen->answers++;
	seen->secure += a->secure;
	buf_printf(&seen->text, "%s %s %s\n", a->type, a->name, resolve_outcome_text(a->outcome));
}

static void
on_done(void *arg, struct resolution *resolution)
{
	struct seen *seen = arg;

	assert_null(seen->resolution);
	assert_int_equal(resolution->outcome == RESOLVE_OK, resolution->count > 0);
	assert_int_equal(resolution->outcome == RESOLVE_OK, resolution->why[0] == '\0');
	seen->resolution = resolution;
}

static const struct resolve_events events = { on_answer, on_done };

static void
resolver_open(struct resolver **r, const char *nameserver, const char *anchors, bool dnssec, uint64_t timeout)
{
	struct resolver_options options = { .nameserver = nameserver, .trust_anchor = anchors,
		.dnssec = dnssec, .timeout = timeout };

	assert_int_equal(resolver_new(loop, &options, r), 0);
	assert_int_equal(resolver_start(*r), 0);
}

static void
resolver_shut(struct resolver **r)
{
	assert_int_equal(resolver_busy(*r), 0);
	resolver_free(r);
	uv_run(loop, UV_RUN_NOWAIT);
	uv_run(loop, UV_RUN_NOWAIT);
}

/* Resolves, and gives the candidates as text: "ADDRESS PORT PRIORITY tls secure SOURCE TARGET TLSA". */
static struct seen
resolve_with(struct resolver *with, const char *domain, const struct configured *peers, size_t count)
{
	struct seen seen = { 0 };
	struct resolve *r;
	size_t i;

	assert_int_equal(resolve_begin(with, slice_string(domain), peers, count, &events, &seen, &r), 0);
	assert_null(seen.resolution);
	while (seen.resolution == NULL)
		uv_run(loop, UV_RUN_ONCE);
	buf_clear(&seen.text);
	for (i = 0; i < seen.resolution->count; i++) {
		const struct candidate *c = &seen.resolution->candidates[i];
		char address[INET6_ADDRSTRLEN];

		if (c->address.any.sa_family == AF_INET6)
			inet_ntop(AF_INET6, &c->address.six.sin6_addr, address, sizeof address);
		else
			inet_ntop(AF_INET, &c->address.four.sin_addr, address, sizeof address);
		assert_int_equal(ntohs(c->address.four.sin_port), c->port); /* at the same place in both */
		buf_printf(&seen.text, "%s %u %u %s%s%s %s %zu\n", address, (unsigned)c->port, (unsigned)c->priority,
		    c->direct ? "tls " : "", c->secure ? "secure " : "", resolve_source_text(c->source),
		    c->target, c->tlsa != NULL ? c->tlsa->count : 0);
	}
	buf_add_char(&seen.text, '\0');
	return seen;
}

static void
seen_free(struct seen *seen)
{
	resolution_free(&seen->resolution);
	buf_free(&seen->text);
}

static void
finds(const char *domain, const char *expected)
{
	struct seen seen = resolve_with(resolver, domain, NULL, 0);

	assert_string_equal(buf_slice(&seen.text).ptr, expected);
	assert_int_equal(seen.resolution->outcome, RESOLVE_OK);
	seen_free(&seen);
}

static void
fails_with(struct resolver *with, const char *domain, enum resolve_outcome outcome, const char *why)
{
	struct seen seen = resolve_with(with, domain, NULL, 0);

	assert_string_equal(resolve_outcome_text(seen.resolution->outcome), resolve_outcome_text(outcome));
	if (strstr(seen.resolution->why, why) == NULL)
		fail_msg("%s: %s", domain, seen.resolution->why);
	seen_free(&seen);
}

static void
test_secure(void **state)
{
	struct seen seen = resolve_with(resolver, "signed.test", NULL, 0);
	const struct tlsa_set *tlsa = seen.resolution->candidates[0].tlsa;

	(void)state;
	assert_string_equal(buf_slice(&seen.text).ptr,
	    "192.0.2.3 5270 10 tls secure srv b.signed.test 1\n"
	    "2001:db8::1 5269 20 secure srv a.signed.test 0\n"
	    "192.0.2.1 5269 20 secure srv a.signed.test 0\n");
	assert_int_equal(tlsa->unusable, 1);
	assert_int_equal(tlsa->records[0].usage, TLSA_DANE_EE);
	assert_int_equal(tlsa->records[0].data.len, 32);
	assert_int_equal(seen.answers, 2 + 4 + 2);
	assert_int_equal(seen.secure, 8);
	assert_true(seen.resolution->ttl > 0 && seen.resolution->ttl <= 300);
	assert_false(seen.resolution->truncated);
	seen_free(&seen);
	finds("lone.signed.test", "192.0.2.4 5269 0 secure address lone.signed.test 1\n");
	/* no proof for the address: DANE has nothing to say, and TLSA is not asked */
	seen = resolve_with(resolver, "out.signed.test", NULL, 0);
	assert_string_equal(buf_slice(&seen.text).ptr, "192.0.2.10 5269 0 srv host.plain.test 0\n");
	assert_int_equal(seen.answers, 4);
	seen_free(&seen);
	/* nobody may turn DANE off by answering badly */
	fails_with(resolver, "stop.signed.test", RESOLVE_SERVFAIL, "TLSA of _5269._tcp.stop.signed.test: servfail");
}

static void
test_plain(void **state)
{
	(void)state;
	finds("plain.test", "192.0.2.10 5269 5 srv host.plain.test 0\n");
	finds("alias.plain.test", "192.0.2.10 5269 5 srv host.plain.test 0\n");
	finds("host.plain.test", "192.0.2.10 5269 0 address host.plain.test 0\n");
	finds("any.many.plain.test",
	    "2001:db8::16 5269 0 address any.many.plain.test 0\n192.0.2.16 5269 0 address any.many.plain.test 0\n");
	finds("b\xc3\xbc" "cher.plain.test", "192.0.2.17 5269 0 address xn--bcher-kva.plain.test 0\n");
	finds("onlystart.plain.test", "192.0.2.10 5269 0 srv host.plain.test 0\n");
	/* one of the two services cannot be looked up, the other can */
	finds("odd.plain.test", "192.0.2.10 5269 0 srv host.plain.test 0\n");
	finds("192.0.2.99", "192.0.2.99 5269 0 literal 192.0.2.99 0\n");
	finds("[2001:db8::99]", "2001:db8::99 5269 0 literal 2001:db8::99 0\n");
}

static void
test_failures(void **state)
{
	(void)state;
	fails_with(resolver, "nosuch.plain.test", RESOLVE_NXDOMAIN, "AAAA of nosuch.plain.test: nxdomain");
	fails_with(resolver, "empty.plain.test", RESOLVE_NODATA, "of empty.plain.test: nodata");
	fails_with(resolver, "off.plain.test", RESOLVE_NOT_OFFERED, "off.plain.test");
	fails_with(resolver, "nodirect.plain.test", RESOLVE_NOT_OFFERED, "nodirect.plain.test");
	fails_with(resolver, "dangling.plain.test", RESOLVE_NXDOMAIN, "nosuch.plain.test: nxdomain");
	fails_with(resolver, "malformed.plain.test", RESOLVE_NODATA, "malformed.plain.test");
	/* no way back to other addresses by breaking SRV */
	fails_with(resolver, "half.plain.test", RESOLVE_SERVFAIL, "SRV of _xmpp-server._tcp.half.plain.test");
	fails_with(resolver, "broken.test", RESOLVE_SERVFAIL, "broken.test: servfail");
	fails_with(resolver, "forged.test", RESOLVE_BOGUS, "forged.test: bogus: validation failure");
}

static void
test_no_dnssec(void **state)
{
	struct resolver *without;
	struct seen seen;

	(void)state;
	resolver_open(&without, server.address, server.anchors, false, 5000);
	seen = resolve_with(without, "forged.test", NULL, 0);
	assert_string_equal(buf_slice(&seen.text).ptr, "192.0.2.66 5269 0 address forged.test 0\n");
	assert_int_equal(seen.secure, 0);
	seen_free(&seen);
	resolver_shut(&without);
}

static void
test_timeout(void **state)
{
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t len = sizeof a;
	int silent = socket(AF_INET, SOCK_DGRAM, 0);
	struct resolver *slow;
	struct resolve *r;
	struct seen seen = { 0 };
	char address[32];

	(void)state;
	assert_int_equal(bind(silent, (struct sockaddr *)&a, sizeof a), 0);
	assert_int_equal(getsockname(silent, (struct sockaddr *)&a, &len), 0);
	snprintf(address, sizeof address, "127.0.0.1@%d", ntohs(a.sin_port));
	resolver_open(&slow, address, NULL, true, 200);
	fails_with(slow, "plain.test", RESOLVE_TIMEOUT, "SRV of _xmpp-server._tcp.plain.test: timeout");
	/* given up, with questions under way */
	assert_int_equal(resolve_begin(slow, SLICE("plain.test"), NULL, 0, &events, &seen, &r), 0);
	assert_int_equal(resolver_busy(slow), 1);
	resolve_cancel(&r);
	assert_null(r);
	assert_null(seen.resolution);
	resolver_shut(&slow);
	close(silent);
}

static void
test_bounds(void **state)
{
	static struct seen seen[RESOLVE_MAX];
	struct resolve *r[RESOLVE_MAX], *more;
	char domain[64], longest[1100];
	size_t i;

	(void)state;
	for (i = 0; i < RESOLVE_MAX; i++) {
		snprintf(domain, sizeof domain, "d%zu.many.plain.test", i);
		assert_int_equal(resolve_begin(resolver, slice_string(domain), NULL, 0, &events, &seen[i], &r[i]), 0);
	}
	assert_int_equal(resolve_begin(resolver, SLICE("plain.test"), NULL, 0, &events, NULL, &more), E_FULL);
	/* some are given up while the answers come */
	for (i = 0; i < RESOLVE_MAX; i += 2)
		resolve_cancel(&r[i]);
	while (resolver_busy(resolver) > 0)
		uv_run(loop, UV_RUN_ONCE);
	for (i = 0; i < RESOLVE_MAX; i++) {
		assert_int_equal(seen[i].resolution != NULL, i % 2);
		if (seen[i].resolution != NULL)
			assert_int_equal(seen[i].resolution->count, 2);
		seen_free(&seen[i]);
	}
	seen[0] = resolve_with(resolver, "nine.plain.test", NULL, 0);
	assert_int_equal(seen[0].resolution->count, RESOLVE_ADDRESSES);
	assert_true(seen[0].resolution->truncated);
	seen_free(&seen[0]);
	seen[0] = resolve_with(resolver, "wide.plain.test", NULL, 0);
	assert_int_equal(seen[0].resolution->count, RESOLVE_CANDIDATES);
	assert_true(seen[0].resolution->truncated);
	seen_free(&seen[0]);
	memset(longest, 'a', sizeof longest);
	assert_int_equal(resolve_begin(resolver, slice_of(longest, 1000), NULL, 0, &events, NULL, &more), E_MALFORMED);
	assert_int_equal(resolver_busy(resolver), 0);
}

static void
test_configured(void **state)
{
	static const struct {
		const char *text, *host;
		unsigned port;
		bool direct;
	} rows[] = {
		{ "192.0.2.7", "192.0.2.7", 5269, false },
		{ "192.0.2.7:5000 tls", "192.0.2.7", 5000, true },
		{ "[2001:db8::7]", "2001:db8::7", 5269, false },
		{ "[2001:db8::7]:1", "2001:db8::7", 1, false },
		{ "host.example:65535", "host.example", 65535, false },
		{ "", NULL, 0, false }, { " tls", NULL, 0, false }, { ":5269", NULL, 0, false },
		{ "host:", NULL, 0, false }, { "host:0", NULL, 0, false }, { "host:65536", NULL, 0, false },
		{ "host:1x", NULL, 0, false }, { "[::1", NULL, 0, false }, { "[]:1", NULL, 0, false },
		{ "[::1]x", NULL, 0, false }, { "[host]:1", NULL, 0, false }, { "::1", NULL, 0, false },
		{ "a b:1", NULL, 0, false }, { "host TLS", NULL, 0, false },
		{ "[0000:0000:0000:0000:0000:0000:0000:0000:0000:0000:0000]", NULL, 0, false },
	};
	struct configured c[3];
	struct seen seen;
	size_t i;

	(void)state;
	for (i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		int code = configured_read(slice_string(rows[i].text), &c[0]);

		if ((code == OK) != (rows[i].host != NULL))
			fail_msg("%s: %d", rows[i].text, code);
		if (rows[i].host == NULL)
			continue;
		assert_true(slice_is(c[0].host, rows[i].host));
		assert_int_equal(c[0].port, rows[i].port);
		assert_int_equal(c[0].direct, rows[i].direct);
	}
	assert_int_equal(configured_read(SLICE("[2001:db8::7]:99 tls"), &c[0]), 0);
	assert_int_equal(configured_read(SLICE("b.signed.test:5270"), &c[1]), 0);
	assert_int_equal(configured_read(SLICE("nosuch.plain.test"), &c[2]), 0);
	seen = resolve_with(resolver, "whatever.example", c, 3);
	assert_string_equal(buf_slice(&seen.text).ptr,
	    "2001:db8::7 99 0 tls configured 2001:db8::7 0\n"
	    "192.0.2.3 5270 1 secure configured b.signed.test 1\n");
	seen_free(&seen);
}

static void
test_files(void **state)
{
	struct resolver_options options = { .nameserver = server.address, .dnssec = true, .timeout = 1000 };
	char path[512];
	struct resolver *r = NULL;
	struct seen seen;

	(void)state;
	options.trust_anchor = "/nonexistent";
	assert_int_equal(resolver_new(loop, &options, &r), E_NOT_FOUND);
	dns_server_file(&server, "none", "; nothing but a comment\n$TTL 1\n");
	snprintf(path, sizeof path, "%s/none", server.dir);
	options.trust_anchor = path;
	assert_int_equal(resolver_new(loop, &options, &r), E_MALFORMED);
	options.trust_anchor = NULL;
	options.nameserver = "not an address";
	assert_int_not_equal(resolver_new(loop, &options, &r), OK);
	options.nameserver = server.address;
	options.hosts = "/nonexistent";
	assert_int_equal(resolver_new(loop, &options, &r), E_NOT_FOUND);
	assert_null(r);
	dns_server_file(&server, "hosts", "192.0.2.200 by.file.test\n");
	snprintf(path, sizeof path, "%s/hosts", server.dir);
	options.hosts = path;
	assert_int_equal(resolver_new(loop, &options, &r), 0);
	assert_int_equal(resolver_start(r), 0);
	seen = resolve_with(r, "elsewhere.test", &(struct configured){ SLICE("by.file.test"), 5269, false, false }, 1);
	assert_string_equal(buf_slice(&seen.text).ptr, "192.0.2.200 5269 0 configured by.file.test 0\n");
	seen_free(&seen);
	resolver_shut(&r);
}

/* In a process of its own: locked up like s2sd, it resolves. Its exit status says how far it came. */
static void
locked_up(void)
{
	struct resolver_options options = { .nameserver = server.address, .trust_anchor = server.anchors,
		.dnssec = true, .timeout = 5000 };
	struct resolver *r;
	struct resolve *resolve;
	struct seen seen = { 0 };
	uv_loop_t own;
	bool chrooted;

	uv_loop_init(&own);
	setenv("ALDIS_SECCOMP", "log", 1);
	if (resolver_new(&own, &options, &r) != OK)
		_exit(1);
	if (sandbox_enter(ROLE_S2SD, getuid() == 0 ? "65534:65534" : "", NULL, &chrooted) != OK)
		_exit(2);
	if (resolver_start(r) != OK || sandbox_seal(ROLE_S2SD) != OK)
		_exit(3);
	if (resolve_begin(r, SLICE("signed.test"), NULL, 0, &events, &seen, &resolve) != OK)
		_exit(4);
	while (seen.resolution == NULL)
		uv_run(&own, UV_RUN_ONCE);
	_exit(seen.resolution->count == 3 && seen.resolution->candidates[0].secure ? 0 : 5);
}

static void
test_sandboxed(void **state)
{
	char text[4096];
	size_t len = 0;
	ssize_t n;
	int ends[2], status;
	pid_t pid;

	(void)state;
	assert_int_equal(pipe(ends), 0);
	pid = fork();
	if (pid == 0) {
		dup2(ends[1], 2);
		locked_up();
	}
	close(ends[1]);
	while ((n = read(ends[0], text + len, sizeof text - 1 - len)) > 0)
		len += (size_t)n;
	text[len] = '\0';
	close(ends[0]);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	if (status != 0 || strstr(text, "system call") != NULL)
		fail_msg("status %#x: %s", (unsigned)status, text);
}

static int
setup(void **state)
{
	(void)state;
	loop = uv_default_loop();
	if (dns_server_start(&server, signed_zone, plain_zone) != 0)
		return -1;
	resolver_open(&resolver, server.address, server.anchors, true, 5000);
	return 0;
}

static int
teardown(void **state)
{
	(void)state;
	resolver_shut(&resolver);
	dns_server_stop(&server);
	return uv_loop_close(loop);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_sandboxed), /* before there are threads */
		cmocka_unit_test(test_secure),
		cmocka_unit_test(test_plain),
		cmocka_unit_test(test_failures),
		cmocka_unit_test(test_no_dnssec),
		cmocka_unit_test(test_timeout),
		cmocka_unit_test(test_bounds),
		cmocka_unit_test(test_configured),
		cmocka_unit_test(test_files),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
