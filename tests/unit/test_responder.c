/*
 * test_responder.c: requests to OCSP responders over HTTP: what is sent, what of the answers is taken, and what
 * the bounds are. The responder is a thread of the test; libunbound knows the name localhost by itself.
 *
 * Links: s2sd
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <pthread.h>
#include <signal.h>
#include <unistd.h>

#include <cmocka.h>

#include "buf.h"
#include "error.h"
#include "mem.h"
#include "responder.h"
#include "verify.h"

#define OK_HEAD "HTTP/1.1 200 OK\r\nContent-Type: application/ocsp-response\r\n"

static uv_loop_t *loop;
static struct resolver *resolver;

/* -- the responder ------------------------------------------------------------------------------- */

/* What it answers to all, as long as nobody is connected; empty: nothing. The last request, and their number. */
static struct buf answer, request;
static unsigned requests;
static int listening;
static uint16_t port;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

/* Reads a request whose body is "request". */
static void
request_read(int fd, struct buf *in)
{
	ssize_t n;

	while ((n = read(fd, buf_reserve(in, 1024), 1024)) > 0) {
		buf_added(in, (size_t)n);
		if (buf_len(in) > 7 && memcmp(buf_slice(in).ptr + buf_len(in) - 7, "request", 7) == 0)
			return;
	}
}

static void *
serve(void *arg)
{
	struct buf in = { 0 };
	char byte;
	int fd;

	while ((fd = accept(listening, NULL, NULL)) >= 0) {
		buf_clear(&in);
		request_read(fd, &in);
		pthread_mutex_lock(&lock);
		requests++;
		buf_clear(&request);
		buf_add_slice(&request, buf_slice(&in));
		if (buf_len(&answer) > 0 && write(fd, buf_slice(&answer).ptr, buf_len(&answer)) < 0)
			perror("write");
		pthread_mutex_unlock(&lock);
		while (buf_len(&answer) == 0 && read(fd, &byte, 1) > 0)
			;
		close(fd);
	}
	buf_free(&in);
	return arg;
}

/* -- asking --------------------------------------------------------------------------------------- */

struct seen {
	unsigned count;
	struct buf response; /* or why there is none */
	bool good;
};

static void
on_done(void *arg, struct slice response, const char *why)
{
	struct seen *seen = arg;

	assert_true((response.ptr == NULL) != (why == NULL));
	seen->count++;
	seen->good = why == NULL;
	buf_clear(&seen->response);
	buf_add_slice(&seen->response, why == NULL ? response : slice_string(why));
}

static const char *
url_of(const char *host)
{
	static char url[64];

	snprintf(url, sizeof url, "http://%s:%u/path?q", host, port);
	return url;
}

/* Asks; what comes is what is expected, or why it does not begins so. */
static void
gives(const char *url, const char *reply, size_t len, bool good, const char *expected)
{
	struct seen seen = { 0 };
	struct inquiry *inquiry;

	pthread_mutex_lock(&lock);
	buf_clear(&answer);
	buf_add(&answer, reply, len);
	pthread_mutex_unlock(&lock);
	assert_int_equal(responder_ask(url, SLICE("request"), on_done, &seen, &inquiry), OK);
	assert_int_equal(seen.count, 0);
	assert_int_equal(responders_busy(), 1);
	while (seen.count == 0)
		uv_run(loop, UV_RUN_ONCE);
	assert_int_equal(seen.count, 1);
	assert_int_equal(responders_busy(), 0);
	buf_add_char(&seen.response, '\0');
	if (seen.good != good || strncmp(buf_slice(&seen.response).ptr, expected, strlen(expected)) != 0)
		fail_msg("%s: %s", reply, buf_slice(&seen.response).ptr);
	buf_free(&seen.response);
}

static void
test_answers(void **state)
{
	static const struct {
		const char *reply;
		bool good;
		const char *expected;
	} rows[] = {
		{ OK_HEAD "Content-Length: 4\r\n\r\nabcd", true, "abcd" },
		{ OK_HEAD "Content-Length: 4\r\n\r\nabcdefgh", true, "abcd" },
		{ OK_HEAD "\r\nabcd", true, "abcd" }, /* up to the end */
		{ "HTTP/1.0 200 x\r\ncontent-type: APPLICATION/OCSP-RESPONSE; x=y\r\n\r\nabcd", true, "abcd" },
		{ OK_HEAD "Transfer-Encoding: chunked\r\n\r\n2\r\nab\r\n2\r\ncd\r\n0\r\n\r\n", true, "abcd" },
		{ "HTTP/1.1 100 Continue\r\n\r\n" OK_HEAD "Content-Length: 4\r\n\r\nabcd", true, "abcd" },
		{ OK_HEAD "Transfer-Encoding: chunked\r\n\r\n2\r\nab\r\n9999999", false, "" },
		{ OK_HEAD "Transfer-Encoding: chunked\r\n\r\nnonsense", false, "" },
		{ OK_HEAD "Content-Length: 5\r\n\r\nabcd", false, "" },
		{ OK_HEAD "Content-Length: 0\r\n\r\n", false, "the answer is empty" },
		{ OK_HEAD "Content-Length: -1\r\n\r\nabcd", false, "" },
		{ OK_HEAD "Content-Encoding: gzip\r\nContent-Length: 4\r\n\r\nabcd", true, "abcd" }, /* is no response */
		{ "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nabcd", false, "the answer is not of OCSP" },
		{ "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n\r\nabcd", false, "the answer is not of OCSP" },
		{ "HTTP/1.1 302 Found\r\nLocation: http://192.0.2.1/\r\nContent-Length: 0\r\n\r\n", false,
		    "HTTP status 302" },
		{ "HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n", false, "HTTP status 500" },
		{ "HTTP/2 200\r\nContent-Length: 4\r\n\r\nabcd", false, "" },
		{ "abcd", false, "" }, /* HTTP/0.9 */
		{ "\r\n\r\n", false, "" },
	};
	size_t i;

	(void)state;
	for (i = 0; i < sizeof rows / sizeof rows[0]; i++)
		gives(url_of("127.0.0.1"), rows[i].reply, strlen(rows[i].reply), rows[i].good, rows[i].expected);
}

static void
test_bounds(void **state)
{
	struct buf big = { 0 };
	size_t i;

	(void)state;
	for (i = OCSP_MAX; i <= OCSP_MAX + 1; i++) {
		buf_clear(&big);
		buf_add_string(&big, OK_HEAD "\r\n");
		memset(buf_reserve(&big, i), 'x', i);
		buf_added(&big, i);
		gives(url_of("127.0.0.1"), buf_slice(&big).ptr, buf_len(&big), i == OCSP_MAX,
		    i == OCSP_MAX ? "xxx" : "the answer is too big");
	}
	buf_clear(&big);
	for (i = 0; i < 1000; i++)
		buf_add_string(&big, "HTTP/1.1 100 Continue\r\n\r\n");
	buf_add_string(&big, OK_HEAD "Content-Length: 4\r\n\r\nabcd");
	gives(url_of("127.0.0.1"), buf_slice(&big).ptr, buf_len(&big), false, "the headers of the answer are too big");
	buf_free(&big);
}

/* The request itself, to an address and to a name. */
static void
test_request(void **state)
{
	static const char reply[] = OK_HEAD "Content-Length: 4\r\n\r\nabcd";
	static const char *const hosts[] = { "127.0.0.1", "localhost" };
	char expected[256];
	size_t i;

	(void)state;
	setenv("http_proxy", "http://192.0.2.1/", 1);
	for (i = 0; i < 2; i++) {
		gives(url_of(hosts[i]), reply, sizeof reply - 1, true, "abcd");
		snprintf(expected, sizeof expected, "POST /path?q HTTP/1.1\r\nHost: %s:%u\r\n"
		    "Content-Type: application/ocsp-request\r\nAccept: application/ocsp-response\r\n"
		    "Content-Length: 7\r\n\r\nrequest", hosts[i], port);
		buf_add_char(&request, '\0');
		assert_string_equal(buf_slice(&request).ptr, expected);
	}
	unsetenv("http_proxy");
}

static void
test_failures(void **state)
{
	uint16_t open = port;

	(void)state;
	gives("http://nosuch.invalid/", "", 0, false, "");
	port = 1;
	gives(url_of("127.0.0.1"), "", 0, false, "");
	port = open;
	gives(url_of("127.0.0.1"), "", 0, false, "out of time");
}

/* Those who ask the same share it; who gives up is not told; only so many are asked at a time. */
static void
test_inquiries(void **state)
{
	struct inquiry *inquiries[RESPONDER_ASKED + 1], *other;
	struct seen seen[2] = { 0 };
	char text[16];
	unsigned before = requests;
	size_t i;

	(void)state;
	buf_clear(&answer);
	assert_int_equal(responder_ask(url_of("localhost"), SLICE("request"), on_done, &seen[0], &inquiries[0]), OK);
	assert_int_equal(responder_ask(url_of("localhost"), SLICE("request"), on_done, &seen[1], &other), OK);
	assert_int_equal(responders_busy(), 1);
	responder_cancel(&other);
	assert_null(other);
	assert_int_equal(responders_busy(), 1);
	for (i = 1; i <= RESPONDER_ASKED; i++) {
		snprintf(text, sizeof text, "other %zu", i);
		assert_int_equal(responder_ask(url_of("127.0.0.1"), slice_string(text), on_done, &seen[1],
		    &inquiries[i]), i < RESPONDER_ASKED ? OK : E_FULL);
	}
	for (i = 1; i < RESPONDER_ASKED; i++)
		responder_cancel(&inquiries[i]);
	while (seen[0].count == 0)
		uv_run(loop, UV_RUN_ONCE);
	assert_false(seen[0].good);
	assert_int_equal(seen[1].count, 0);
	assert_int_equal(responders_busy(), 0);
	assert_true(requests <= before + 1);
	buf_free(&seen[0].response);
	responder_cancel(&other); /* there is none: nothing */
}

static void
test_urls(void **state)
{
	static const struct {
		const char *url, *host;
		uint16_t port;
	} rows[] = {
		{ "http://ocsp.example", "ocsp.example", 80 },
		{ "http://Ocsp.Example:8080/a/b?c#d", "Ocsp.Example", 8080 },
		{ "http://192.0.2.1/", "192.0.2.1", 80 },
		{ "http://[2001:db8::1]:81/", "2001:db8::1", 81 },
		{ "https://ocsp.example/", NULL, 0 },
		{ "ftp://ocsp.example/", NULL, 0 },
		{ "file:///etc/passwd", NULL, 0 },
		{ "gopher://ocsp.example/", NULL, 0 },
		{ "ocsp.example", NULL, 0 },
		{ "http://user@ocsp.example/", NULL, 0 },
		{ "http://user:word@ocsp.example/", NULL, 0 },
		{ "http://", NULL, 0 },
		{ "http://ocsp.example./", NULL, 0 },
		{ "http://ocsp_example/", NULL, 0 },
		{ "http://ocsp.example:0/", NULL, 0 },
		{ "http://ocsp.example:65536/", NULL, 0 },
		{ "http://ocsp.example%20evil/", NULL, 0 },
		{ "http://b\xc3\xbc" "cher.example/", NULL, 0 },
		{ "http://[::1%25eth0]/", NULL, 0 },
		{ "http://ocsp.example:80:80/", NULL, 0 },
		{ "", NULL, 0 },
	};
	char host[RESPONDER_HOST], big[1000];
	uint16_t at;
	size_t i;

	(void)state;
	for (i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		int code = responder_url(rows[i].url, host, &at);

		if ((code == OK) != (rows[i].host != NULL))
			fail_msg("%s", rows[i].url);
		if (code == OK) {
			assert_string_equal(host, rows[i].host);
			assert_int_equal(at, rows[i].port);
		}
	}
	snprintf(big, sizeof big, "http://ocsp.example/%0600d", 1);
	assert_int_equal(responder_url(big, host, &at), E_MALFORMED);
	snprintf(big, sizeof big, "http://a%0300d/", 1);
	assert_int_equal(responder_url(big, host, &at), E_MALFORMED);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_urls),
		cmocka_unit_test(test_request),
		cmocka_unit_test(test_answers),
		cmocka_unit_test(test_bounds),
		cmocka_unit_test(test_failures),
		cmocka_unit_test(test_inquiries),
	};
	struct sockaddr_in at = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	struct resolver_options options = { .nameserver = "127.0.0.1@1", .timeout = 500 };
	socklen_t len = sizeof at;
	pthread_t thread;
	int failed;

	signal(SIGPIPE, SIG_IGN);
	listening = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (bind(listening, (struct sockaddr *)&at, len) != 0 || listen(listening, 64) != 0 ||
	    getsockname(listening, (struct sockaddr *)&at, &len) != 0)
		return 1;
	port = ntohs(at.sin_port);
	loop = uv_default_loop();
	if (resolver_new(loop, &options, &resolver) != OK || responders_start(loop, resolver) != OK ||
	    resolver_start(resolver) != OK || pthread_create(&thread, NULL, serve, NULL) != 0)
		return 1;
	failed = cmocka_run_group_tests(tests, NULL, NULL);
	shutdown(listening, SHUT_RDWR);
	pthread_join(thread, NULL);
	close(listening);
	responders_stop();
	resolver_free(&resolver);
	uv_run(loop, UV_RUN_DEFAULT);
	uv_loop_close(loop);
	buf_free(&answer);
	buf_free(&request);
	return failed;
}
