/*
 * client.c: makes full TLS handshakes, one after the other on each of some threads, and tells how long
 * they took. handshake.py starts it. Exits 1 when a handshake fails.
 *
 * usage: client port name version threads seconds
 *
 * It prints one line of JSON; times are in microseconds, from connect(2) to the end of the handshake as
 * the client sees it. Nothing is resumed, certificates are not verified, connections end with a reset.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <gnutls/gnutls.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define THREADS_MAX 64
#define SAMPLES_MAX 200000u /* of a thread */

struct worker {
	pthread_t thread;
	uint32_t *samples;
	size_t count;
	int error;       /* of GnuTLS, or errno */
};

static struct sockaddr_in address;
static const char *name;
static char priority[128];
static uint64_t end;
static gnutls_certificate_credentials_t credentials;

static uint64_t
now_us(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000;
}

/* One handshake on a fresh connection. Returns 0 or what went wrong. */
static int
handshake(void)
{
	const struct linger reset = { 1, 0 };
	const gnutls_datum_t alpn = { (unsigned char *)(uintptr_t)"xmpp-client", 11 };
	int fd = socket(AF_INET, SOCK_STREAM, 0), one = 1, result;
	gnutls_session_t tls;

	if (fd < 0 || connect(fd, (struct sockaddr *)&address, sizeof address) != 0)
		return errno;
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
	gnutls_init(&tls, GNUTLS_CLIENT);
	result = gnutls_priority_set_direct(tls, priority, NULL);
	gnutls_credentials_set(tls, GNUTLS_CRD_CERTIFICATE, credentials);
	gnutls_server_name_set(tls, GNUTLS_NAME_DNS, name, strlen(name));
	gnutls_alpn_set_protocols(tls, &alpn, 1, 0);
	gnutls_transport_set_int(tls, fd);
	while (result >= 0) {
		result = gnutls_handshake(tls);
		if (result == 0 || gnutls_error_is_fatal(result))
			break;
		result = 0;
	}
	gnutls_deinit(tls);
	setsockopt(fd, SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
	close(fd);
	return result;
}

static void *
work(void *arg)
{
	struct worker *w = arg;

	while (w->error == 0 && now_us() < end && w->count < SAMPLES_MAX) {
		uint64_t began = now_us();

		w->error = handshake();
		w->samples[w->count++] = (uint32_t)(now_us() - began);
	}
	return NULL;
}

static int
compare(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return (x > y) - (x < y);
}

/* Gathers what the threads have and prints it. Returns the exit status. */
static int
report(struct worker *workers, size_t threads, double seconds)
{
	size_t count = 0, i;
	uint32_t *all;
	int error = 0;

	for (i = 0; i < threads; i++)
		count += workers[i].count;
	all = calloc(count, sizeof *all);
	if (all == NULL || count == 0)
		return 1;
	for (i = 0, count = 0; i < threads; i++) {
		memcpy(all + count, workers[i].samples, workers[i].count * sizeof *all);
		count += workers[i].count;
		error = workers[i].error != 0 ? workers[i].error : error;
	}
	qsort(all, count, sizeof *all, compare);
	if (error != 0)
		fprintf(stderr, "client: %s\n", error < 0 ? gnutls_strerror(error) : strerror(error));
	printf("{\"handshakes\": %zu, \"seconds\": %.3f, \"p50\": %u, \"p99\": %u, \"max\": %u}\n", count,
	    seconds, all[count / 2], all[count * 99 / 100], all[count - 1]);
	free(all);
	return error != 0;
}

int
main(int argc, char **argv)
{
	static struct worker workers[THREADS_MAX];
	uint64_t began;
	size_t threads, i;

	if (argc != 6 || (threads = strtoul(argv[4], NULL, 10)) == 0 || threads > THREADS_MAX) {
		fprintf(stderr, "usage: client port name version threads seconds\n");
		return 2;
	}
	address.sin_family = AF_INET;
	address.sin_port = htons((uint16_t)strtoul(argv[1], NULL, 10));
	address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	name = argv[2];
	snprintf(priority, sizeof priority, "NORMAL:-VERS-ALL:+VERS-TLS%s", argv[3]);
	gnutls_certificate_allocate_credentials(&credentials);
	began = now_us();
	end = began + strtoul(argv[5], NULL, 10) * 1000000;
	for (i = 0; i < threads; i++) {
		workers[i].samples = calloc(SAMPLES_MAX, sizeof *workers[i].samples);
		if (workers[i].samples == NULL ||
		    pthread_create(&workers[i].thread, NULL, work, &workers[i]) != 0)
			return 1;
	}
	for (i = 0; i < threads; i++)
		pthread_join(workers[i].thread, NULL);
	return report(workers, threads, (double)(now_us() - began) / 1e6);
}
