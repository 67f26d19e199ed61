/*
 * xmppload.c: owns the load generator's options, loop and result. compare.py runs it, or a person
 * does.
 *
 * Result: one JSON object on stdout. Progress: on stderr, "ready" when all is set up and "done"
 * when the load has passed; with --sync it waits for a line on stdin at both places, so that a
 * script can look at the server. Exit: 0; 1 when a login failed, a connection dropped or a message
 * was lost, doubled or disordered; 2 for a wrong command line; 3 when the time limit passed.
 *
 * The Aldis developers
 */
#include "load.h"

#include <arpa/inet.h>
#include <errno.h>
#include <getopt.h>
#include <gnutls/crypto.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#define SECOND UINT64_C(1000000000)
#define DRAIN_SECONDS 60u /* a slow server may have a thousand messages on its way */
#define EVENTS 256

static volatile sig_atomic_t stopped;

static void
on_signal(int number)
{
	(void)number;
	stopped = 1;
}

uint64_t
load_now(void)
{
	struct timespec t;

	(void)clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * SECOND + (uint64_t)t.tv_nsec;
}

void
load_log(struct load *load, const char *what, const char *why)
{
	if (load->stream_errors++ < 10)
		(void)fprintf(stderr, "xmppload: %s: %s\n", what, why);
}

/* Keeps `concurrency` logins going until `target` have begun. */
static void
load_fill(struct load *load)
{
	while (load->started < load->target && load->in_flight < load->o.concurrency) {
		struct conn *c = &load->conns[load->started];
		unsigned user;

		if (load->o.mode == MODE_LOGINS) {
			unsigned i = 0;

			while (i < load->o.concurrency && load->conns[i].phase != CONN_CLOSED)
				i++;
			if (i == load->o.concurrency)
				return;
			c = &load->conns[i];
		}
		user = load->o.first + load->started % load->o.users;
		load->started++;
		load->in_flight++;
		login_begin(c, user);
	}
}

void
load_logged_in(struct conn *c)
{
	struct load *load = c->load;

	load->in_flight--;
	load->logged_in++;
	load->up++;
	histogram_add(&load->login_time, load_now() - c->began);
	if (load->o.mode == MODE_LOGINS)
		conn_sends(c, "</stream:stream>");
}

static void
on_stanza(struct conn *c, enum framer_event event, struct slice s)
{
	char why[160];

	if (event == FRAMER_OPEN)
		return;
	if (event == FRAMER_CLOSE) {
		conn_fail(c, "stream closed by the server");
	} else if (slice_starts(s, "<stream:error")) {
		(void)snprintf(why, sizeof why, "%.*s", s.len < 150 ? (int)s.len : 150, s.ptr);
		conn_fail(c, why);
	} else if (c->step != LOGIN_DONE) {
		login_stanza(c, s);
	} else if (c->load->o.mode == MODE_ROOMS) {
		rooms_stanza(c, s);
	} else if (c->load->o.mode == MODE_PRESENCE) {
		presence_stanza(c, s);
	} else {
		chat_stanza(c, s);
	}
}

/* Whether messages are sent, and counted. */
static bool
load_talks(const struct load *load)
{
	return load->o.mode != MODE_LOGINS && load->o.mode != MODE_IDLE;
}

static void
on_down(struct conn *c, const char *why)
{
	struct load *load = c->load;

	if (c->step != LOGIN_DONE) {
		load->in_flight--;
		load->failed++;
		load_log(load, "login failed", why);
		return;
	}
	load->up--;
	if (load->o.mode == MODE_LOGINS || load->phase >= LOAD_CLOSE)
		return;
	load->dropped++;
	load_log(load, "connection dropped", why);
}

static const struct conn_ops ops = {login_up, on_stanza, on_down};

/* Tells the script where we are, and waits for its word if it wants that. */
static void
load_tell(struct load *load, const char *word)
{
	char line[64];

	(void)fprintf(stderr, "%s\n", word);
	if (load->o.sync && fgets(line, sizeof line, stdin) == NULL)
		stopped = 1;
}

/* All logins of the phase are over, one way or the other. */
static bool
load_settled(const struct load *load)
{
	if (load->started < load->target || load->in_flight > 0)
		return false;
	return load->o.mode != MODE_LOGINS || load->up == 0;
}

/* Serves what is ready within `wait`. */
static void
load_poll(struct load *load, const struct timespec *wait)
{
	struct epoll_event events[EVENTS];
	int count = epoll_pwait2(load->epoll, events, EVENTS, wait, NULL);

	for (int i = 0; i < count; i++)
		conn_event(events[i].data.ptr, events[i].events);
}

static void
load_run(struct load *load)
{
	load_tell(load, "ready");
	load->begin = load_now();
	load->deadline = load->begin + load->o.timeout * SECOND;
	if (load->o.mode == MODE_LOGINS) {
		memset(&load->login_time, 0, sizeof load->login_time);
		load->phase = LOAD_RUN;
		load->target = load->o.number;
		load->started = load->logged_in = 0;
		load_fill(load);
		return;
	}
	if (load->o.mode == MODE_IDLE || load->failed > 0) {
		load_poll(load, &(struct timespec){0, 0}); /* sees who was dropped while held */
		load->end = load->begin;
		load->phase = LOAD_CLOSE;
		return;
	}
	load->end = load->begin + load->o.seconds * SECOND;
	load->phase = LOAD_RUN;
	if (load->o.mode == MODE_PRESENCE)
		presence_pump(load);
	for (unsigned i = 0; i < load->o.number; i++) {
		if (load->o.mode == MODE_CHAT)
			chat_pump(&load->conns[i]);
		else if (load->o.mode == MODE_ROOMS)
			rooms_pump(&load->conns[i]);
	}
}

/* Brings about what must be before the run, when all are logged in; true when there is nothing left to do. */
static bool
load_prepared(struct load *load)
{
	bool presence = load->o.mode == MODE_PRESENCE;

	if ((!presence && load->o.mode != MODE_ROOMS) || load->failed + load->dropped > 0)
		return true;
	if (!load->entering && presence)
		presence_begin(load);
	else if (!load->entering)
		rooms_begin(load);
	return presence ? presence_ready() : rooms_entered(load);
}

/* The load has passed, or the time for it. */
static void
load_finish(struct load *load)
{
	if (load->o.mode == MODE_LOGINS)
		load->end = load_now();
	load->phase = LOAD_CLOSE;
	load_tell(load, "done");
}

/* Every acknowledgement asked for has come, or none was. */
static bool
load_acknowledged(const struct load *load)
{
	if (!load->o.sm)
		return true;
	for (unsigned i = 0; i < load->o.number; i++)
		if (load->conns[i].phase == CONN_OPEN
		    && load->conns[i].sm_acked < load->conns[i].sm_out)
			return false;
	return true;
}

/* Stops sending and asks for the last acknowledgements. */
static void
load_drain(struct load *load, uint64_t now)
{
	load->phase = LOAD_DRAIN;
	load->deadline = now + DRAIN_SECONDS * SECOND;
	for (unsigned i = 0; i < load->o.number; i++)
		if (load->conns[i].sm)
			conn_sends(&load->conns[i], "<r xmlns='urn:xmpp:sm:3'/>");
}

/* Moves from phase to phase; see the enum. */
static void
load_step(struct load *load)
{
	uint64_t now = load_now();

	if (load->phase == LOAD_WARM) {
		if (!load_settled(load))
			load_fill(load);
		else if (load_prepared(load))
			load_run(load);
	} else if (load->phase == LOAD_RUN && load->o.mode == MODE_LOGINS) {
		if (load_settled(load))
			load_finish(load);
		else
			load_fill(load);
	} else if (load->phase == LOAD_RUN) {
		if (load->o.rate > 0 && load->o.mode == MODE_ROOMS)
			rooms_due(load, now);
		else if (load->o.rate > 0 && load->o.mode == MODE_PRESENCE)
			presence_due(load, now);
		else if (load->o.rate > 0)
			chat_due(load, now);
		if (now >= load->end || (load->o.messages > 0 && load->sent >= load->o.messages))
			load_drain(load, now);
	} else if (load->phase == LOAD_DRAIN) {
		if ((load->received >= load->sent && load_acknowledged(load))
		    || now >= load->deadline)
			load_finish(load);
	}
}

/* How long the loop may sleep. */
static void
load_wait(const struct load *load, struct timespec *t)
{
	uint64_t now = load_now(), until = now + SECOND / 10;

	if (load->phase == LOAD_RUN && load_talks(load)) {
		if (load->end < until)
			until = load->end;
		if (load->o.rate > 0 && chat_next(load) < until)
			until = chat_next(load);
	}
	until = until > now ? until - now : 0;
	t->tv_sec = (time_t)(until / SECOND);
	t->tv_nsec = (long)(until % SECOND);
}

static int
load_loop(struct load *load)
{
	struct timespec wait;

	load->deadline = load_now() + load->o.timeout * SECOND;
	while (load->phase != LOAD_CLOSE) {
		load_step(load);
		conn_flush_all(load);
		if (load->phase == LOAD_CLOSE || stopped)
			break;
		if (load_now() > load->deadline && load->phase != LOAD_DRAIN) {
			(void)fprintf(stderr,
			    "xmppload: time limit of %u s passed with %u of %u logged in\n",
			    load->o.timeout, load->logged_in, load->target);
			return 3;
		}
		load_wait(load, &wait);
		load_poll(load, &wait);
	}
	return 0;
}

/* Says goodbye on all connections. */
static void
load_close(struct load *load)
{
	load->phase = LOAD_CLOSE;
	for (unsigned i = 0; i < load->o.number; i++) {
		if (load->conns[i].sm)
			login_acknowledge(&load->conns[i]); /* so that nothing is kept for later */
		conn_sends(&load->conns[i], "</stream:stream>");
	}
	conn_flush_all(load);
	for (unsigned i = 0; i < load->o.number; i++)
		conn_close(&load->conns[i]);
	load->phase = LOAD_END;
}

static uint64_t
load_unacknowledged(const struct load *load)
{
	uint64_t missing = 0;

	if (load->o.sm && load_talks(load))
		for (unsigned i = 0; i < load->o.number; i++)
			if (load->conns[i].sm_acked < load->conns[i].sm_out)
				missing += load->conns[i].sm_out - load->conns[i].sm_acked;
	return missing;
}

static void
print_count(const char *name, uint64_t value)
{
	(void)printf("\"%s\":%llu,", name, (unsigned long long)value);
}

static void
print_real(const char *name, double value)
{
	(void)printf("\"%s\":%.3f,", name, value);
}

static void
print_times(const char *name, const struct histogram *h)
{
	(void)printf("\"%s\":{", name);
	print_count("count", h->count);
	print_real("mean", h->count > 0 ? (double)h->sum / (double)h->count / 1e3 : 0.0);
	print_real("p50", (double)histogram_quantile(h, 0.5) / 1e3);
	print_real("p99", (double)histogram_quantile(h, 0.99) / 1e3);
	(void)printf("\"max\":%.3f},", (double)h->max / 1e3);
}

/* What only a chat has to say. */
static void
print_chat(const struct load *load, double seconds, uint64_t lost)
{
	const struct options *o = &load->o;

	print_count("sent", load->sent);
	print_count("received", load->received);
	print_count("lost", lost);
	print_count("duplicate", load->duplicate);
	print_count("disordered", load->disordered);
	print_count("bounced", load->bounced);
	print_count("unacknowledged", load_unacknowledged(load));
	print_count("stale", load->stale);
	if (o->mode == MODE_PRESENCE)
		print_count("changes", load->changes);
	print_count("window", o->window);
	print_count("rate", o->rate);
	print_real("messages_per_second", seconds > 0 ? (double)load->in_window / seconds : 0.0);
	print_real("client_lag_us", (double)load->lag / 1e3);
	(void)printf("\"stream_management\":%s,", o->sm ? "true" : "false");
	print_times("latency_us", &load->latency);
}

/* Prints the result; returns the exit status. */
static int
load_report(const struct load *load)
{
	static const char *const modes[] = {"logins", "idle", "chat", "rooms", "presence"};
	static const char *const ways[] = {"starttls", "direct", "none"};
	static const char *const mechs[] = {"scram-sha-1", "plain", "none"};
	const struct options *o = &load->o;
	double seconds = load->end > load->begin ? (double)(load->end - load->begin) / 1e9 : 0.0;
	uint64_t lost = load->sent > load->received ? load->sent - load->received : 0;
	bool bad = load->failed > 0 || load->dropped > 0 || lost > 0 || load->duplicate > 0
	    || load->disordered > 0 || load->bounced > 0 || load_unacknowledged(load) > 0;
	struct rusage usage;

	(void)printf("{\"mode\":\"%s\",\"tls\":\"%s\",\"cipher\":\"%s\",\"mechanism\":\"%s\",",
	    modes[o->mode], ways[o->tls], load->tls_text, mechs[o->mech]);
	print_count("connections", o->number);
	print_count("logged_in", load->logged_in);
	print_count("failed", load->failed);
	print_count("dropped", load->dropped);
	print_real("seconds", seconds);
	if (o->mode == MODE_LOGINS)
		print_real(
		    "logins_per_second", seconds > 0 ? (double)load->logged_in / seconds : 0.0);
	if (load_talks(load))
		print_chat(load, seconds, lost);
	print_times("login_us", &load->login_time);
	(void)getrusage(RUSAGE_SELF, &usage);
	(void)printf("\"client_cpu_seconds\":%.2f}\n",
	    (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec)
		+ (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6);
	return bad ? 1 : 0;
}

static const char usage_text[] =
    "usage: xmppload [options] logins|idle|chat|rooms|presence\n"
    "  -H, --host ADDRESS     IPv4 address of the server (127.0.0.1)\n"
    "  -p, --port PORT        (5222)\n"
    "  -d, --domain DOMAIN    (localhost)\n"
    "      --direct           TLS from the first byte\n"
    "      --plain            no TLS\n"
    "  -m, --mechanism NAME   scram (SCRAM-SHA-1), plain, or none: only open the stream\n"
    "  -n, --number N         connections, or logins in all (100)\n"
    "  -c, --concurrency C    logins under way at a time (20)\n"
    "  -u, --users N          accounts to share among them (N; for logins at most 100)\n"
    "      --first N          number of the first account (0)\n"
    "      --prefix TEXT      account I is TEXT followed by I in five digits (load)\n"
    "      --resource TEXT    connection I binds the resource TEXT followed by I (load)\n"
    "  -w, --password TEXT    of all accounts (secret)\n"
    "  -t, --seconds T        chat for this long (10)\n"
    "  -M, --messages M       or for this many messages\n"
    "  -W, --window W         messages under way a connection (5)\n"
    "  -r, --rate R           messages a second of all together, instead of a window\n"
    "  -b, --body BYTES       of text (100)\n"
    "  -s, --sm               enable stream management\n"
    "  -a, --ask K            with it, ask for an acknowledgement after each K messages (10)\n"
    "  -R, --rooms R          rooms that the connections share (1)\n"
    "  -S, --speakers S       connections that speak in them (10)\n"
    "      --roster           each login asks for the roster, as clients do\n"
    "      --sources N        connect from N addresses, 127.0.0.1 and following\n"
    "      --service DOMAIN   where the rooms are (rooms.localhost)\n"
    "      --sync             wait for a line on stdin at \"ready\" and \"done\"\n"
    "  -T, --timeout S        give up setting up, or the run, after this long (120)\n";

enum { OPT_DIRECT = 256, OPT_PLAIN, OPT_FIRST, OPT_PREFIX, OPT_SERVICE, OPT_SYNC, OPT_ROSTER,
	OPT_SOURCES, OPT_RESOURCE };

static const struct option long_options[] = {
    {"host", required_argument, NULL, 'H'},
    {"port", required_argument, NULL, 'p'},
    {"domain", required_argument, NULL, 'd'},
    {"direct", no_argument, NULL, OPT_DIRECT},
    {"plain", no_argument, NULL, OPT_PLAIN},
    {"mechanism", required_argument, NULL, 'm'},
    {"number", required_argument, NULL, 'n'},
    {"concurrency", required_argument, NULL, 'c'},
    {"users", required_argument, NULL, 'u'},
    {"first", required_argument, NULL, OPT_FIRST},
    {"prefix", required_argument, NULL, OPT_PREFIX},
    {"password", required_argument, NULL, 'w'},
    {"seconds", required_argument, NULL, 't'},
    {"messages", required_argument, NULL, 'M'},
    {"window", required_argument, NULL, 'W'},
    {"rate", required_argument, NULL, 'r'},
    {"body", required_argument, NULL, 'b'},
    {"sm", no_argument, NULL, 's'},
    {"ask", required_argument, NULL, 'a'},
    {"rooms", required_argument, NULL, 'R'},
    {"speakers", required_argument, NULL, 'S'},
    {"service", required_argument, NULL, OPT_SERVICE},
    {"roster", no_argument, NULL, OPT_ROSTER},
    {"resource", required_argument, NULL, OPT_RESOURCE},
    {"sources", required_argument, NULL, OPT_SOURCES},
    {"sync", no_argument, NULL, OPT_SYNC},
    {"timeout", required_argument, NULL, 'T'},
    {NULL, 0, NULL, 0},
};

static void
usage(void)
{
	(void)fputs(usage_text, stderr);
	exit(2);
}

/* Reads a number between 0 and `most`, or ends the program. */
static unsigned
number(const char *text, unsigned most)
{
	char *end;
	unsigned long value;

	errno = 0;
	value = strtoul(text, &end, 10);
	if (end == text || *end != '\0' || errno != 0 || value > most)
		usage();
	return (unsigned)value;
}

static enum load_mech
mechanism(const char *name)
{
	if (strcmp(name, "scram") == 0)
		return MECH_SCRAM;
	if (strcmp(name, "plain") == 0)
		return MECH_PLAIN;
	if (strcmp(name, "none") != 0)
		usage();
	return MECH_NONE;
}

/* The options that hold a number, their places and bounds. */
static const struct {
	int letter;
	size_t place;
	unsigned most;
} numbers[] = {
    {'p', offsetof(struct options, port), 65535},
    {'n', offsetof(struct options, number), 100000},
    {'c', offsetof(struct options, concurrency), 10000},
    {'u', offsetof(struct options, users), 100000},
    {OPT_FIRST, offsetof(struct options, first), 99999},
    {'t', offsetof(struct options, seconds), 86400},
    {'M', offsetof(struct options, messages), 100000000},
    {'W', offsetof(struct options, window), 10000},
    {'r', offsetof(struct options, rate), 1000000},
    {'b', offsetof(struct options, body), 600},
    {'a', offsetof(struct options, sm_every), 1000000},
    {'T', offsetof(struct options, timeout), 86400},
    {'R', offsetof(struct options, rooms), 10000},
    {'S', offsetof(struct options, speakers), 10000},
    {OPT_SOURCES, offsetof(struct options, sources), 250},
};

/* Takes the option when it is one of those. */
static bool
option_number(struct options *o, int letter, const char *text)
{
	for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++) {
		if (numbers[i].letter == letter) {
			*(unsigned *)(void *)((char *)o + numbers[i].place) =
			    number(text, numbers[i].most);
			return true;
		}
	}
	return false;
}

/* Refuses what does not go together. */
static void
options_check(struct options *o)
{
	if (o->users == 0)
		o->users = o->mode == MODE_LOGINS && o->number > 100 ? 100 : o->number;
	if (o->number == 0 || o->concurrency == 0 || (o->window == 0 && o->rate == 0)
	    || (o->mode == MODE_CHAT && o->number % 2 != 0)
	    || (o->mode != MODE_IDLE && o->mech == MECH_NONE))
		usage();
	if (o->mode == MODE_PRESENCE && (o->number < 2 || o->users != o->number))
		usage();
	if (o->mode == MODE_PRESENCE)
		o->roster = true;
	if (o->mode == MODE_ROOMS && (o->rooms == 0 || o->speakers == 0 || o->speakers > o->number))
		usage();
	if (strlen(o->service) > 128 || strlen(o->resource) > 32 || strlen(o->prefix) > 32
	    || strlen(o->password) > 64 || strlen(o->domain) > 128)
		usage();
}

static void
options_read(struct options *o, int argc, char **argv)
{
	int letter;

	while ((letter = getopt_long(
		    argc, argv, "H:p:d:m:n:c:u:w:t:M:W:r:b:sa:T:R:S:", long_options, NULL))
	    != -1) {
		if (option_number(o, letter, optarg))
			continue;
		switch (letter) {
		case 'H':
			o->host = optarg;
			break;
		case 'd':
			o->domain = optarg;
			break;
		case 'w':
			o->password = optarg;
			break;
		case 'm':
			o->mech = mechanism(optarg);
			break;
		case 's':
			o->sm = true;
			break;
		case OPT_PREFIX:
			o->prefix = optarg;
			break;
		case OPT_RESOURCE:
			o->resource = optarg;
			break;
		case OPT_SERVICE:
			o->service = optarg;
			break;
		case OPT_DIRECT:
			o->tls = TLS_DIRECT;
			break;
		case OPT_PLAIN:
			o->tls = TLS_NONE;
			break;
		case OPT_ROSTER:
			o->roster = true;
			break;
		case OPT_SYNC:
			o->sync = true;
			break;
		default:
			usage();
		}
	}
	if (optind != argc - 1)
		usage();
	if (strcmp(argv[optind], "logins") == 0)
		o->mode = MODE_LOGINS;
	else if (strcmp(argv[optind], "chat") == 0)
		o->mode = MODE_CHAT;
	else if (strcmp(argv[optind], "rooms") == 0)
		o->mode = MODE_ROOMS;
	else if (strcmp(argv[optind], "presence") == 0)
		o->mode = MODE_PRESENCE;
	else if (strcmp(argv[optind], "idle") != 0)
		usage();
	options_check(o);
}

static void
load_setup(struct load *load)
{
	struct options *o = &load->o;
	struct rlimit files;
	unsigned places = o->number > o->concurrency ? o->number : o->concurrency;

	if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
		if (files.rlim_max < places + 100u) {
			struct rlimit more = {places + 100u, places + 100u};

			(void)setrlimit(RLIMIT_NOFILE, &more); /* root may */
			(void)getrlimit(RLIMIT_NOFILE, &files);
		}
		files.rlim_cur = files.rlim_max;
		(void)setrlimit(RLIMIT_NOFILE, &files);
	}
	load->conns = calloc(places, sizeof *load->conns);
	load->dirty = calloc(places, sizeof *load->dirty);
	load->keys = calloc((size_t)o->first + o->users, sizeof *load->keys);
	load->filler = calloc(1, o->body + 1u);
	if (load->conns == NULL || load->dirty == NULL || load->keys == NULL
	    || load->filler == NULL)
		abort();
	memset(load->filler, 'x', o->body > 55 ? o->body - 55u : 0);
	for (unsigned i = 0; i < places; i++) {
		load->conns[i].load = load;
		load->conns[i].index = i;
		load->conns[i].fd = -1;
	}
	load->ops = &ops;
	load->address.sin_family = AF_INET;
	load->address.sin_port = htons((uint16_t)o->port);
	load->epoll = epoll_create1(EPOLL_CLOEXEC);
	if (inet_pton(AF_INET, o->host, &load->address.sin_addr) != 1)
		usage();
	if (load->epoll < 0 || conn_setup(load) != 0
	    || gnutls_rnd(GNUTLS_RND_NONCE, &load->run, sizeof load->run) != 0) {
		(void)fprintf(stderr, "xmppload: cannot set up: %s\n", strerror(errno));
		exit(1);
	}
	load->target = o->mode == MODE_LOGINS ? o->users : o->number;
}

int
main(int argc, char **argv)
{
	static struct load load = {.o = {.mode = MODE_IDLE,
				       .host = "127.0.0.1",
				       .domain = "localhost",
				       .prefix = "load",
				       .resource = "load",
				       .password = "secret",
				       .port = 5222,
				       .number = 100,
				       .concurrency = 20,
				       .seconds = 10,
				       .window = 5,
				       .rooms = 1,
				       .speakers = 10,
				       .service = "rooms.localhost",
				       .body = 100,
				       .timeout = 120,
				       .sm_every = 10}};
	struct sigaction action = {.sa_handler = on_signal};
	int rc, bad;

	options_read(&load.o, argc, argv);
	load_setup(&load);
	(void)sigaction(SIGINT, &action, NULL);
	(void)sigaction(SIGTERM, &action, NULL);
	rc = load_loop(&load);
	bad = load_report(&load);
	load_close(&load);
	return rc != 0 ? rc : bad;
}
