/*
 * dns_server.h: a name server (knotd) on a free port of the loopback address, with a few zones, for
 * the tests of those who ask DNS.
 *
 * signed.test is signed, dns_server_anchors() has its key; plain.test is not; forged.test is not
 * either, and there is an anchor that says that it should be; broken.test cannot be loaded.
 */
#ifndef ALDIS_DNS_SERVER_H
#define ALDIS_DNS_SERVER_H

#include <arpa/inet.h>
#include <errno.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

struct dns_server {
	char dir[256], address[32], anchors[288];
	int port;
	pid_t pid;
};

/* Opens dir/name for writing, and writes. */
__attribute__((format(printf, 3, 4))) static inline void
dns_server_file(const struct dns_server *s, const char *name, const char *format, ...)
{
	char path[512];
	va_list args;
	FILE *file;

	snprintf(path, sizeof path, "%s/%s", s->dir, name);
	file = fopen(path, "w");
	if (file == NULL)
		abort();
	va_start(args, format);
	vfprintf(file, format, args);
	va_end(args);
	fclose(file);
}

/* A port of UDP and TCP on which nobody listens. */
static inline int
dns_server_free_port(void)
{
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t len = sizeof a;
	int udp = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0), tcp = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	int ok = bind(udp, (struct sockaddr *)&a, sizeof a) == 0 &&
	    getsockname(udp, (struct sockaddr *)&a, &len) == 0 && bind(tcp, (struct sockaddr *)&a, sizeof a) == 0;

	close(udp);
	close(tcp);
	return ok ? ntohs(a.sin_port) : 0;
}

static inline int
dns_server_answers(const struct dns_server *s)
{
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
		.sin_port = htons((uint16_t)s->port) };
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	int ok = connect(fd, (struct sockaddr *)&a, sizeof a) == 0;

	close(fd);
	return ok;
}

/* Starts a program with its output in dir/log. */
static inline pid_t
dns_server_run(const struct dns_server *s, const char *output, char *const argv[])
{
	char path[512];
	pid_t pid = fork();

	if (pid != 0)
		return pid;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	snprintf(path, sizeof path, "%s/%s", s->dir, output);
	if (freopen(path, "w", stdout) == NULL || dup2(1, 2) < 0)
		_exit(126);
	setenv("PATH", "/usr/sbin:/usr/bin:/sbin:/bin", 1);
	execvp(argv[0], argv);
	_exit(127);
}

/* The anchors: the key of signed.test, once in its own name, over several lines, and once in the name
 * of the zone that is not signed. */
static inline int
dns_server_keys(struct dns_server *s)
{
	char conf[512], path[512], line[1024], owner[128], rest[896];
	char *keymgr[] = { "keymgr", "-c", conf, "signed.test", "ds", NULL };
	FILE *in, *out;
	int status = -1, count = 0;

	snprintf(conf, sizeof conf, "%s/knot.conf", s->dir);
	waitpid(dns_server_run(s, "ds", keymgr), &status, 0);
	snprintf(path, sizeof path, "%s/ds", s->dir);
	in = fopen(path, "r");
	out = fopen(s->anchors, "w");
	if (status != 0 || in == NULL || out == NULL)
		abort();
	fprintf(out, "; the anchors\n\n$TTL 60\n");
	while (fgets(line, sizeof line, in) != NULL) {
		if (sscanf(line, "%127s DS %895[^\n]", owner, rest) != 2)
			continue;
		fprintf(out, "%s IN DS ( ; of many lines\n  %s )\n", owner, rest);
		fprintf(out, "forged.test. IN DS %s\n", rest);
		count++;
	}
	fclose(in);
	fclose(out);
	return count;
}

/* Ends it and removes its files. */
static inline void
dns_server_stop(struct dns_server *s)
{
	char command[512];

	if (s->pid > 0) {
		kill(s->pid, SIGKILL);
		waitpid(s->pid, NULL, 0);
	}
	snprintf(command, sizeof command, "rm -rf '%s'", s->dir);
	if (system(command) != 0)
		fprintf(stderr, "dns_server: %s\n", strerror(errno));
}

/* signed, plain: the records of these zones below their SOA and NS. Returns 0, or -1 with the reason on
 * stderr. */
static inline int
dns_server_start(struct dns_server *s, const char *signed_zone, const char *plain_zone)
{
	static const char head[] = "$TTL 300\n@ SOA ns hostmaster 1 3600 600 86400 60\n@ NS ns\nns A 127.0.0.1\n";
	const char *tmp = getenv("TMPDIR");
	char conf[512];
	char *knotd[] = { "knotd", "-c", conf, NULL };
	int i;

	memset(s, 0, sizeof *s);
	snprintf(s->dir, sizeof s->dir, "%.200s/aldis-dns-XXXXXX", tmp != NULL ? tmp : "/tmp");
	s->port = dns_server_free_port();
	if (mkdtemp(s->dir) == NULL || s->port == 0)
		return -1;
	snprintf(s->address, sizeof s->address, "127.0.0.1@%d", s->port);
	snprintf(s->anchors, sizeof s->anchors, "%s/anchors", s->dir);
	snprintf(conf, sizeof conf, "%s/knot.conf", s->dir);
	dns_server_file(s, "signed.test.zone", "%s%s", head, signed_zone);
	dns_server_file(s, "plain.test.zone", "%s%s", head, plain_zone);
	dns_server_file(s, "forged.test.zone", "%s@ A 192.0.2.66\n", head);
	dns_server_file(s, "knot.conf",
	    "server:\n    rundir: %s\n    listen: 127.0.0.1@%d\n    udp-workers: 1\n    tcp-workers: 1\n"
	    "    background-workers: 1\n"
	    "log:\n  - target: stdout\n    any: info\n"
	    "database:\n    storage: %s\n"
	    "policy:\n  - id: one\n    single-type-signing: on\n    algorithm: ECDSAP256SHA256\n"
	    "template:\n  - id: default\n    storage: %s\n    file: \"%%s.zone\"\n    zonefile-sync: -1\n"
	    "    journal-content: none\n"
	    "zone:\n  - domain: signed.test\n    dnssec-signing: on\n    dnssec-policy: one\n"
	    "  - domain: plain.test\n  - domain: forged.test\n  - domain: broken.test\n",
	    s->dir, s->port, s->dir, s->dir);
	s->pid = dns_server_run(s, "log", knotd);
	for (i = 0; i < 300; i++) {
		if (dns_server_answers(s) && dns_server_keys(s) > 0)
			return 0;
		nanosleep(&(struct timespec){ .tv_nsec = 50000000 }, NULL);
	}
	fprintf(stderr, "dns_server: knotd does not answer, see %s/log\n", s->dir);
	return -1;
}

#endif
