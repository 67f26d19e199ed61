/*
 * chatters.c: owns the options, commands and loop of the clients of a storm. harness.py runs it.
 *
 * It logs all clients in and says "up". Then it does what stdin says, a command a line (see the
 * table commands[]), and says "quiet" when that was asked for and everything that was sent is
 * acknowledged. What happens goes into the journal, what is odd on stderr. Exit: 0; 1 when the
 * journal could not be written; 2 for a wrong command line. The end of stdin ends it.
 *
 * The Aldis developers
 */
#include "storm.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#define SECOND UINT64_C(1000000000)
#define EVENTS 256
#define PEERS  3u /* each client has as many it talks to */

struct storm storm = {.window = 100};

/* What is to be sent. */
static struct {
	unsigned rate;    /* messages a second of all together */
	unsigned clamour; /* the same, in rooms */
	unsigned limit;   /* messages to send yet, when limited */
	bool limited;
	int target;       /* all messages go to this one; -1: to everybody */
	unsigned breaks;  /* connections cut a minute */
	double due, cut;  /* messages and cuts that are owed */
	double owed;      /* messages in rooms */
	uint64_t last;
	unsigned turn, speaker;
	bool quit, quiet, up;
} self = {.target = -1};

uint64_t
load_now(void)
{
	struct timespec t;

	(void)clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * SECOND + (uint64_t)t.tv_nsec;
}

/* -- what is said ------------------------------------------------------------------------------ */

/* One of those that a client talks to. */
static unsigned
peer_of(unsigned client)
{
	static const unsigned steps[PEERS] = {1, 2, 5};

	if (self.target >= 0)
		return (unsigned)self.target;
	return (client + steps[(unsigned)random() % PEERS]) % storm.number;
}

/* Sends one message from whom it can, and now and then what else clients send. */
static bool
say_one(void)
{
	unsigned tries, client;

	for (tries = 0; tries < storm.number; tries++) {
		struct client *c;

		client = self.turn++ % storm.number;
		if ((int)client == self.target)
			continue;
		c = &storm.clients[client];
		if (!client_say(c, peer_of(client), random() % 4 == 0))
			continue;
		if (random() % 16 == 0)
			client_ping(c, random() % 4 == 0);
		if (random() % 40 == 0)
			client_show(c, false);
		return true;
	}
	return false;
}

/* Has one client speak in its room. */
static bool
speak_one(void)
{
	unsigned tries;

	for (tries = 0; tries < storm.number; tries++)
		if (room_say(&storm.clients[self.speaker++ % storm.number]))
			return true;
	return false;
}

static void
say(uint64_t now)
{
	double passed = (double)(now - self.last) / 1e9;

	self.last = now;
	self.due += passed * self.rate;
	self.cut += passed * self.breaks / 60;
	for (self.owed += passed * self.clamour; self.owed >= 1 && speak_one();)
		self.owed -= 1;
	if (self.owed > 1)
		self.owed = 1;
	while (self.due >= 1 && (!self.limited || self.limit > 0) && say_one()) {
		self.due -= 1;
		self.limit -= self.limited;
	}
	if (self.due > 1)
		self.due = 1; /* nobody could: that is not made up for */
	for (; self.cut >= 1; self.cut -= 1) {
		struct client *c = &storm.clients[(unsigned)random() % storm.number];

		if (c->step == STEP_UP && now - c->began > SECOND)
			client_break(c);
	}
}

/* -- commands ---------------------------------------------------------------------------------- */

static struct client *
client_at(unsigned i)
{
	return &storm.clients[i % storm.number];
}

static void
on_rate(unsigned n)
{
	self.rate = n;
	self.due = 0;
}

static void
on_clamour(unsigned n)
{
	self.clamour = n;
	self.owed = 0;
}

static void
on_limit(unsigned n)
{
	self.limit = n;
	self.limited = n != 0;
}

static void
on_target(unsigned n)
{
	self.target = (int)(n % storm.number);
}

static void
on_all(unsigned n)
{
	(void)n;
	self.target = -1;
}

static void
on_breaks(unsigned n)
{
	self.breaks = n;
}

static void
on_pause(unsigned n)
{
	client_pause(client_at(n), true);
}

static void
on_read(unsigned n)
{
	client_pause(client_at(n), false);
}

static void
on_leave(unsigned n)
{
	client_leave(client_at(n));
}

static void
on_quiet(unsigned n)
{
	(void)n;
	self.quiet = true;
}

/* Says on stderr who is not quiet. */
static void
on_who(unsigned n)
{
	unsigned i;

	(void)n;
	for (i = 0; i < storm.number; i++) {
		const struct client *c = &storm.clients[i];

		if (!client_is_quiet(c))
			(void)fprintf(stderr,
			    "%05u step %u port %u: %u unacknowledged, the first is message %u,"
			    " requests unanswered %llx\n",
			    i, (unsigned)c->step, c->port, c->count,
			    c->count > 0 ? c->queue[c->first].number : 0, (unsigned long long)c->waiting);
	}
}

/* What the journal has is in its file when this is answered. */
static void
on_flush(unsigned n)
{
	(void)n;
	(void)printf("%s\n", journal_flush() == 0 ? "flushed" : "failed");
	(void)fflush(stdout);
}

static void
on_quit(unsigned n)
{
	(void)n;
	self.quit = true;
}

static const struct {
	const char *word;
	void (*handle)(unsigned n);
} commands[] = {
	{"rate", on_rate},     /* N messages a second */
	{"clamour", on_clamour}, /* N a second in rooms */
	{"limit", on_limit},   /* but N in all; 0: no limit */
	{"target", on_target}, /* all to client N */
	{"all", on_all},       /* to everybody again */
	{"breaks", on_breaks}, /* cut N connections a minute */
	{"pause", on_pause},   /* client N stops reading */
	{"read", on_read},     /* and goes on */
	{"leave", on_leave},   /* client N closes its stream and logs in anew */
	{"quiet", on_quiet},   /* say so when all is acknowledged */
	{"who", on_who},       /* say on stderr who is not quiet */
	{"flush", on_flush},
	{"quit", on_quit},
};

static void
command(const char *line)
{
	unsigned n = 0;
	char word[16];
	size_t i;

	if (sscanf(line, "%15s %u", word, &n) < 1)
		return;
	for (i = 0; i < sizeof commands / sizeof commands[0]; i++)
		if (strcmp(word, commands[i].word) == 0)
			commands[i].handle(n);
}

/* Reads what stdin has. */
static void
commands_read(void)
{
	static char line[256];
	static size_t len;
	char *end;
	ssize_t got = read(STDIN_FILENO, line + len, sizeof line - 1 - len);

	if (got == 0 || (got < 0 && errno != EAGAIN) || len + 1 >= sizeof line) {
		self.quit = true;
		return;
	}
	len += got > 0 ? (size_t)got : 0;
	line[len] = '\0';
	while ((end = strchr(line, '\n')) != NULL) {
		*end = '\0';
		command(line);
		len -= (size_t)(end + 1 - line);
		memmove(line, end + 1, len + 1);
	}
}

/* -- the loop ---------------------------------------------------------------------------------- */

/* Whether all clients are up, or also quiet. */
static bool
all_are(bool quiet)
{
	unsigned i;

	for (i = 0; i < storm.number; i++)
		if (storm.clients[i].step != STEP_UP || (storm.rooms != 0 && !storm.clients[i].inside)
		    || (quiet && !client_is_quiet(&storm.clients[i])))
			return false;
	return true;
}

static void
tell(const char *word)
{
	(void)printf("%s\n", word);
	(void)fflush(stdout);
}

static void
step(void)
{
	uint64_t now = load_now();
	unsigned i;

	for (i = 0; i < storm.number; i++)
		client_tick(&storm.clients[i], now);
	say(now);
	if (!self.up && all_are(false)) {
		self.up = true;
		tell("up");
	}
	if (self.quiet && all_are(true)) {
		self.quiet = false;
		tell("quiet");
	}
	for (i = 0; i < storm.server_count; i++)
		conn_flush_all(&storm.servers[i]);
}

static void
loop(void)
{
	struct epoll_event events[EVENTS];
	struct timespec wait = {.tv_nsec = 5000000};
	int count, i;

	self.last = load_now();
	while (!self.quit) {
		step();
		count = epoll_pwait2(storm.servers[0].epoll, events, EVENTS, &wait, NULL);
		for (i = 0; i < count; i++) {
			if (events[i].data.ptr == NULL)
				commands_read();
			else
				conn_event(events[i].data.ptr, events[i].events);
		}
	}
}

/* -- the start --------------------------------------------------------------------------------- */

static void
usage(void)
{
	(void)fputs("usage: chatters DOMAIN:PORT[,DOMAIN:PORT] CLIENTS PASSWORD BODY SEED JOURNAL [ROOMS]\n", stderr);
	exit(2);
}

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

static void *
array(size_t count, size_t size)
{
	void *p = calloc(count, size);

	if (p == NULL)
		abort();
	return p;
}

static void
fail(void)
{
	(void)fprintf(stderr, "chatters: cannot set up: %s\n", strerror(errno));
	exit(1);
}

/* What the connections to a server share; all servers have one loop. */
static void
setup_server(struct load *load, int epoll)
{
	load->dirty = array(storm.number, sizeof *load->dirty);
	load->filler = array(1, load->o.body + 1u);
	memset(load->filler, 'x', load->o.body);
	if (load->o.body > 0)
		load->filler[0] = ' ';
	load->ops = &client_ops;
	load->address.sin_family = AF_INET;
	load->address.sin_port = htons((uint16_t)load->o.port);
	load->address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	load->epoll = epoll;
	if (conn_setup(load) != 0)
		fail();
}

static void
setup(void)
{
	struct epoll_event event = {.events = EPOLLIN};
	struct rlimit files;
	struct conn *conns = array(storm.number, sizeof *conns);
	int epoll = epoll_create1(EPOLL_CLOEXEC);
	unsigned i;

	if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
		files.rlim_cur = files.rlim_max;
		(void)setrlimit(RLIMIT_NOFILE, &files);
	}
	(void)fcntl(STDIN_FILENO, F_SETFL, O_NONBLOCK);
	if (epoll < 0 || epoll_ctl(epoll, EPOLL_CTL_ADD, STDIN_FILENO, &event) != 0)
		fail();
	for (i = 0; i < storm.server_count; i++)
		setup_server(&storm.servers[i], epoll);
	storm.clients = array(storm.number, sizeof *storm.clients);
	storm.keys = array(storm.number, sizeof *storm.keys);
	for (i = 0; i < storm.number; i++) {
		conns[i].load = &storm.servers[i % storm.server_count];
		conns[i].index = i;
		conns[i].fd = -1;
		storm.clients[i].conn = &conns[i];
		storm.clients[i].wanted = true;
	}
}

/* Reads "DOMAIN:PORT,DOMAIN:PORT", each with what is common to them. */
static void
servers_read(char *text, struct options common)
{
	char *one, *colon;

	for (one = strtok(text, ","); one != NULL; one = strtok(NULL, ",")) {
		colon = strchr(one, ':');
		if (colon == NULL || storm.server_count == SERVERS_MAX)
			usage();
		*colon = '\0';
		common.domain = one;
		common.port = number(colon + 1, 65535);
		storm.servers[storm.server_count++].o = common;
	}
	if (storm.server_count == 0)
		usage();
}

int
main(int argc, char **argv)
{
	if (argc != 7 && argc != 8)
		usage();
	storm.number = number(argv[2], 10000);
	srandom(number(argv[5], 4000000000));
	storm.rooms = argc > 7 ? number(argv[7], 100) : 0;
	servers_read(argv[1], (struct options){.prefix = "storm", .tls = TLS_DIRECT, .mech = MECH_SCRAM,
	    .number = storm.number, .password = argv[3], .body = number(argv[4], 200)});
	if (storm.number < 6 || journal_open(argv[6]) != 0)
		usage();
	setup();
	loop();
	return journal_flush() == 0 ? 0 : 1;
}
