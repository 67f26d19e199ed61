/*
 * test_transport.c: connections in clear and in TLS, server and client against each other over a pair of
 * sockets: certificates that are shown, asked for and not verified, ALPN, SNI, channel bindings, what
 * a peer staples, and handshakes that fail. The keys are here, where a daemon asks authd.
 *
 * Links: entry
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <arpa/inet.h>
#include <gnutls/abstract.h>
#include <gnutls/x509.h>
#include <netinet/in.h>
#include <pthread.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "daemon.h"
#include "error.h"
#include "key.h"
#include "listener.h"
#include "mem.h"
#include "tls.h"
#include "transport.h"

#define TLS13 "NORMAL:-VERS-ALL:+VERS-TLS1.3"
#define TLS12 "NORMAL:-VERS-ALL:+VERS-TLS1.2"
#define PATIENCE 10000 /* milliseconds */

/* A domain with its self-signed certificate. */
struct domain {
	const char *name;
	gnutls_privkey_t key;
	gnutls_datum_t der, key_der;
	gnutls_datum_t pem;
	struct certificate *certificate;
};

/* One side. */
struct side {
	struct transport net; /* first */
	struct domain *domain; /* whose certificate it shows; NULL: none */
	bool connected, secured, freed;
	char lost[TLS_REASON_SIZE];
	char sni[TLS_NAME_SIZE];
	char peer[TLS_NAME_SIZE]; /* that its peer was known by when it was secured */
	struct buf in;
};

static uv_loop_t loop;
static struct domain capulet = { .name = "capulet.example" };
static struct domain montague = { .name = "montague.example" };
static struct side *server, *client;
static bool mute; /* authd does not answer */

/* -- the surroundings -------------------------------------------------------------------------- */

uint64_t daemon_ticks(void) { return uv_now(&loop); }
void daemon_dirty(void) { }
void daemon_dirty_at(uint64_t ticks) { (void)ticks; }

int
key_use(const char *domain, const unsigned char id[KEY_ID_SIZE], const char *what,
    unsigned algorithm, const gnutls_datum_t *data, gnutls_datum_t *result)
{
	struct domain *d = strcmp(domain, capulet.name) == 0 ? &capulet : &montague;

	(void)id;
	if (mute)
		return E_AGAIN;
	if (strcmp(what, "sign") == 0)
		return gnutls_privkey_sign_data2(d->key, (gnutls_sign_algorithm_t)algorithm, 0, data,
		    result) == 0 ? OK : E_FORBIDDEN;
	return gnutls_privkey_sign_hash2(d->key, (gnutls_sign_algorithm_t)algorithm, 0, data,
	    result) == 0 ? OK : E_FORBIDDEN;
}

/* Makes key and certificate; it is over already when expired. */
static void
domain_make(struct domain *d, bool expired)
{
	time_t now = time(NULL);
	gnutls_x509_privkey_t key;
	gnutls_x509_crt_t crt;
	gnutls_datum_t pem;

	gnutls_x509_privkey_init(&key);
	assert_int_equal(gnutls_x509_privkey_generate(key, GNUTLS_PK_ECDSA,
	    GNUTLS_CURVE_TO_BITS(GNUTLS_ECC_CURVE_SECP256R1), 0), 0);
	gnutls_x509_privkey_export2(key, GNUTLS_X509_FMT_DER, &d->key_der);
	gnutls_x509_crt_init(&crt);
	gnutls_x509_crt_set_version(crt, 3);
	gnutls_x509_crt_set_serial(crt, "\1", 1);
	gnutls_x509_crt_set_activation_time(crt, now - 7200);
	gnutls_x509_crt_set_expiration_time(crt, expired ? now - 3600 : now + 3600);
	gnutls_x509_crt_set_key(crt, key);
	gnutls_x509_crt_set_dn(crt, "CN=somebody", NULL);
	assert_int_equal(gnutls_x509_crt_sign2(crt, crt, key, GNUTLS_DIG_SHA256, 0), 0);
	gnutls_x509_crt_export2(crt, GNUTLS_X509_FMT_DER, &d->der);
	gnutls_x509_crt_export2(crt, GNUTLS_X509_FMT_PEM, &pem);
	gnutls_base64_encode2(&pem, &d->pem);
	gnutls_privkey_init(&d->key);
	gnutls_privkey_import_x509(d->key, key, GNUTLS_PRIVKEY_IMPORT_AUTO_RELEASE);
	assert_int_equal(certificate_new(d->name, slice_of(d->pem.data, d->pem.size),
	    &d->certificate), OK);
	gnutls_free(pem.data);
	gnutls_x509_crt_deinit(crt);
}

static void
domain_free(struct domain *d)
{
	certificate_drop(&d->certificate);
	gnutls_privkey_deinit(d->key);
	gnutls_free(d->der.data);
	gnutls_free(d->key_der.data);
	gnutls_free(d->pem.data);
}

/* -- hooks ------------------------------------------------------------------------------------- */

static struct side *
side_of(const struct transport *t)
{
	return (struct side *)(uintptr_t)t;
}

static void on_connected(struct transport *t) { side_of(t)->connected = true; }
static void on_read(struct transport *t, struct slice b) { buf_add_slice(&side_of(t)->in, b); }
static bool is_secret(const struct transport *t) { (void)t; return true; }
static bool may_read(struct transport *t) { (void)t; return true; }
static void on_wrote(struct transport *t) { (void)t; }
static void on_freed(struct transport *t) { side_of(t)->freed = true; }

static void
on_due(struct transport *t)
{
	transport_lose(t, "out of time");
}

static void
on_secured(struct transport *t)
{
	struct side *s = side_of(t);
	char name[TLS_NAME_SIZE];

	s->secured = true;
	if (!t->client && tls_server_name(t, name).ptr != NULL)
		memcpy(s->sni, name, sizeof name);
}

static void
on_lost(struct transport *t, const char *why)
{
	if (side_of(t)->lost[0] == '\0')
		(void)snprintf(side_of(t)->lost, TLS_REASON_SIZE, "%s", why);
}

static struct certificate *
on_certificate(struct transport *t, struct slice sni)
{
	struct domain *d = side_of(t)->domain;

	assert_true(!t->client || sni.ptr == NULL);
	return d != NULL ? certificate_hold(d->certificate) : NULL;
}

static const struct transport_hooks hooks = {
	on_connected, on_secured, on_read, is_secret, may_read, on_wrote, on_due, on_lost, on_freed,
	on_certificate,
};

/* -- running ----------------------------------------------------------------------------------- */

static void
awake(uv_timer_t *timer)
{
	(void)timer;
}

/* Runs the loop until the condition holds, or for PATIENCE. */
static void
run_until(bool (*holds)(void))
{
	uv_timer_t timer;
	uint64_t until;

	uv_update_time(&loop);
	until = uv_now(&loop) + PATIENCE;
	uv_timer_init(&loop, &timer);
	uv_timer_start(&timer, awake, 10, 10);
	while (!holds() && uv_now(&loop) < until) {
		uv_run(&loop, UV_RUN_ONCE);
		transports_flush();
	}
	uv_close((uv_handle_t *)&timer, NULL);
	uv_run(&loop, UV_RUN_NOWAIT);
	assert_true(holds());
}

static bool
are_secured(void)
{
	return server->secured && client->secured;
}

static bool
are_lost(void)
{
	return server->lost[0] != '\0' && client->lost[0] != '\0';
}

static bool
is_client_over(void)
{
	return client->connected || client->secured || client->lost[0] != '\0';
}

static bool
are_freed(void)
{
	return transport_count() == 0;
}

static bool
has_come(void)
{
	return buf_len(&server->in) == 9 && buf_len(&client->in) == 100000;
}

static void
side_open(struct side *s, int fd, struct domain *domain)
{
	s->domain = domain;
	assert_int_equal(transport_open(&s->net, &hooks, fd, NULL, false), OK);
}

/* Opens both sides, which show the certificates of these domains. */
static void
both_open(struct domain *of_server, struct domain *of_client)
{
	int fds[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds), 0);
	side_open(server, fds[0], of_server);
	side_open(client, fds[1], of_client);
}

static const struct tls_settings as_server = { .alpn = "xmpp-server", .ask = true };
static const struct tls_settings as_client = {
	.client = true, .server_name = "xn--capult-dva.example", .alpn = "xmpp-server",
};

static void
both_begin(const struct tls_settings *of_server)
{
	tls_begin(&server->net, of_server);
	tls_begin(&client->net, &as_client);
}

static void
assert_chain(const struct side *s, const struct domain *peer)
{
	unsigned count;
	const gnutls_datum_t *chain = transport_peer_chain(&s->net, &count);

	if (peer == NULL) {
		assert_null(chain);
		assert_int_equal(count, 0);
		return;
	}
	assert_int_equal(count, 1);
	assert_int_equal(chain->size, peer->der.size);
	assert_memory_equal(chain->data, peer->der.data, peer->der.size);
}

static int
setup(void **state)
{
	(void)state;
	mute = false;
	server = mem_alloc(sizeof *server);
	client = mem_alloc(sizeof *client);
	return tls_set_priority(TLS13);
}

static int
teardown(void **state)
{
	(void)state;
	if (server->net.hooks != NULL)
		transport_close(&server->net);
	if (client->net.hooks != NULL)
		transport_close(&client->net);
	run_until(are_freed);
	buf_free(&server->in);
	buf_free(&client->in);
	MEM_FREE(&server);
	MEM_FREE(&client);
	return 0;
}

/* -- tests ------------------------------------------------------------------------------------- */

/* What is the same in all versions of TLS: both know each other, and bytes go both ways. */
static void
converse(const char *priority, unsigned version)
{
	struct bindings of_server, of_client;
	gnutls_datum_t response;
	struct buf text = { 0 };
	unsigned i;

	assert_int_equal(tls_set_priority(priority), OK);
	both_open(&capulet, &montague);
	both_begin(&as_server);
	run_until(are_secured);
	assert_chain(client, &capulet);
	assert_chain(server, &montague);
	assert_string_equal(server->sni, as_client.server_name);
	assert_int_equal(tls_version(&server->net), version);
	assert_int_equal(tls_version(&client->net), version);
	assert_int_equal(transport_peer_status(&client->net, 0, &response), E_NOT_FOUND);
	tls_describe(&client->net, &text);
	assert_non_null(memmem(buf_slice(&text).ptr, buf_len(&text), "TLS1.", 5));
	buf_free(&text);

	bindings_get(&server->net, &of_server);
	bindings_get(&client->net, &of_client);
	assert_int_not_equal(of_server.exporter.size, 0);
	assert_int_equal(of_server.exporter.size, of_client.exporter.size);
	assert_memory_equal(of_server.exporter.data, of_client.exporter.data,
	    of_server.exporter.size);
	assert_int_equal(of_server.endpoint_len, 32);
	assert_int_equal(of_client.endpoint_len, 0);
	bindings_free(&of_server);
	bindings_free(&of_client);

	buf_add_string(transport_out(&client->net), "wherefore");
	for (i = 0; i < 10000; i++)
		buf_add_string(transport_out(&server->net), "0123456789");
	run_until(has_come);
	assert_memory_equal(buf_slice(&server->in).ptr, "wherefore", 9);
	assert_memory_equal(buf_slice(&client->in).ptr + 99990, "0123456789", 10);
	transport_finish(&client->net);
	run_until(are_lost);
	assert_string_equal(server->lost, "closed by the peer");
}

static void
test_tls13(void **state)
{
	(void)state;
	converse(TLS13, 0x0304);
}

static void
test_tls12(void **state)
{
	(void)state;
	converse(TLS12, 0x0303);
}

/* A client that has no certificate, or is not asked for it. */
static void
test_no_client_certificate(void **state)
{
	static const char *const priorities[] = { TLS13, TLS12 };
	struct tls_settings silent = { .alpn = "xmpp-server" };
	unsigned i;

	for (i = 0; i < 4; i++) {
		tls_set_priority(priorities[i / 2]);
		both_open(&capulet, i % 2 ? &montague : NULL);
		both_begin(i % 2 ? &silent : &as_server);
		run_until(are_secured);
		assert_chain(client, &capulet);
		assert_chain(server, NULL);
		if (i < 3) {
			teardown(state);
			setup(state);
		}
	}
}

/* Another protocol is spoken here. */
static void
test_alpn(void **state)
{
	struct tls_settings other = { .alpn = "xmpp-client", .ask = true };

	(void)state;
	both_open(&capulet, &montague);
	both_begin(&other);
	run_until(are_lost);
	assert_false(server->secured || client->secured);
	assert_non_null(strstr(client->lost, "No supported application protocol"));
}

/* A server without certificate, and one whose key does not answer. */
static void
test_no_key(void **state)
{
	unsigned i;

	for (i = 0; i < 2; i++) {
		mute = i == 1;
		both_open(mute ? &capulet : NULL, &montague);
		both_begin(&as_server);
		run_until(are_lost);
		assert_false(server->secured || client->secured);
		if (i == 0) {
			teardown(state);
			setup(state);
		}
	}
}

/* The peer goes in the middle, and we do while a thread works. */
static void
test_interrupted(void **state)
{
	int fds[2];

	(void)state;
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds), 0);
	side_open(client, fds[0], NULL);
	tls_begin(&client->net, &as_client);
	close(fds[1]);
	run_until(is_client_over);
	assert_false(client->secured);
	assert_string_not_equal(client->lost, "");
	run_until(are_freed);

	memset(client, 0, sizeof *client);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds), 0);
	side_open(client, fds[0], NULL);
	tls_begin(&client->net, &as_client);
	assert_true(client->net.threaded);
	transport_close(&client->net);
	run_until(are_freed);
	assert_true(client->freed && !client->secured);
	close(fds[1]);
	client->net.hooks = NULL;
}

/* Time does not go by in the state of a handshake that nobody answers. */
static void
test_due(void **state)
{
	int fds[2];

	(void)state;
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds), 0);
	side_open(client, fds[0], NULL);
	deadline_set(&client->net.deadline, 1000);
	tls_begin(&client->net, &as_client);
	run_until(is_client_over);
	assert_string_equal(client->lost, "out of time");
	close(fds[1]);
}

/* Sockets that connect while the loop runs: to where somebody listens, and where nobody does. */
static void
test_connecting(void **state)
{
	struct sockaddr_storage peer = { 0 };
	struct sockaddr_in *in = (struct sockaddr_in *)&peer;
	socklen_t len = sizeof *in;
	unsigned i;
	int fd, listener;

	(void)state;
	in->sin_family = AF_INET;
	in->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_int_equal(bind(listener, (struct sockaddr *)in, len), 0);
	assert_int_equal(listen(listener, 1), 0);
	assert_int_equal(getsockname(listener, (struct sockaddr *)in, &len), 0);
	for (i = 0; i < 2; i++) {
		memset(client, 0, sizeof *client);
		fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
		(void)connect(fd, (struct sockaddr *)in, len);
		assert_int_equal(transport_open(&client->net, &hooks, fd, address_new(&peer), true), OK);
		assert_int_equal(client->net.state, TRANSPORT_CONNECTING);
		assert_string_equal(address_text(client->net.address), "127.0.0.1");
		run_until(is_client_over);
		assert_int_equal(client->connected, i == 0);
		if (i == 0)
			transport_close(&client->net);
		else
			assert_string_equal(client->lost, "Connection refused");
		run_until(are_freed);
		close(listener);
	}
	client->net.hooks = NULL;
}

/* -- a server that staples --------------------------------------------------------------------- */

static int
staple(gnutls_session_t tls, void *arg, gnutls_datum_t *response)
{
	(void)tls;
	(void)arg;
	response->data = gnutls_malloc(6);
	memcpy(response->data, "status", 6);
	response->size = 6;
	return 0;
}

/* Serves one handshake, on a thread. */
static void *
stapler(void *arg)
{
	int fd = *(int *)arg, code;
	gnutls_certificate_credentials_t credentials;
	gnutls_session_t tls;

	gnutls_certificate_allocate_credentials(&credentials);
	gnutls_certificate_set_x509_key_mem(credentials, &capulet.der, &capulet.key_der,
	    GNUTLS_X509_FMT_DER);
	gnutls_certificate_set_ocsp_status_request_function(credentials, staple, NULL);
	gnutls_init(&tls, GNUTLS_SERVER);
	gnutls_priority_set_direct(tls, TLS13, NULL);
	gnutls_credentials_set(tls, GNUTLS_CRD_CERTIFICATE, credentials);
	gnutls_transport_set_int(tls, fd);
	do
		code = gnutls_handshake(tls);
	while (code < 0 && gnutls_error_is_fatal(code) == 0);
	gnutls_deinit(tls);
	gnutls_certificate_free_credentials(credentials);
	return (void *)(intptr_t)code;
}

static void
test_stapled(void **state)
{
	gnutls_datum_t response;
	pthread_t thread;
	void *code;
	int fds[2];

	(void)state;
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
	assert_int_equal(pthread_create(&thread, NULL, stapler, &fds[1]), 0);
	side_open(client, fds[0], NULL);
	tls_begin(&client->net, &as_client);
	run_until(is_client_over);
	pthread_join(thread, &code);
	assert_int_equal((intptr_t)code, 0);
	assert_true(client->secured);
	assert_int_equal(transport_peer_status(&client->net, 0, &response), OK);
	assert_int_equal(response.size, 6);
	assert_memory_equal(response.data, "status", 6);
	assert_int_equal(transport_peer_status(&client->net, 1, &response), E_NOT_FOUND);
	close(fds[1]);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_tls13, setup, teardown),
		cmocka_unit_test_setup_teardown(test_tls12, setup, teardown),
		cmocka_unit_test_setup_teardown(test_no_client_certificate, setup, teardown),
		cmocka_unit_test_setup_teardown(test_alpn, setup, teardown),
		cmocka_unit_test_setup_teardown(test_no_key, setup, teardown),
		cmocka_unit_test_setup_teardown(test_interrupted, setup, teardown),
		cmocka_unit_test_setup_teardown(test_due, setup, teardown),
		cmocka_unit_test_setup_teardown(test_connecting, setup, teardown),
		cmocka_unit_test_setup_teardown(test_stapled, setup, teardown),
	};
	int failed;

	uv_loop_init(&loop);
	deadlines_start(&loop);
	transports_start(&loop);
	if (tls_start(TLS13) != OK)
		return 1;
	domain_make(&capulet, false);
	domain_make(&montague, true);
	failed = cmocka_run_group_tests(tests, NULL, NULL);
	domain_free(&capulet);
	domain_free(&montague);
	return failed;
}
