/*
 * daemon.h: what every process under the supervisor is: started with a control socket as descriptor
 * 3, given its slice of the configuration, listening sockets and links, then locked down and run.
 *
 * The order of events in every daemon (main.c calls daemon_main() and does nothing else):
 *
 *   configure()   the configuration is there, until start() has returned; open the store, load, check
 *   listen()      once for each listening socket
 *   link()        once for each link other than the router's (c2sd and authd have one between them)
 *   start()       last moment to open anything; then sandbox_enter(), and HELLO goes to the router
 *   threads()     between the two steps of the sandbox: threads of a library are made here
 *   router()      WELCOME has come, also again after each restart of the router: send the replay.
 *                 The frame READY follows when this returns; the first time, the supervisor is told
 *                 that the daemon is ready, so a suite that has started is one in which all
 *                 daemons are registered
 *   resend()      each RESEND of the router, which was returned to it already: send again what is
 *                 in custody, in its order
 *   frame()       each frame from the router that is not handled here (WELCOME, RESEND, CONTROL
 *                 are)
 *   flush()       at the end of each loop iteration in which a frame came, the router's link had
 *                 room again after link_full(), or daemon_dirty() was called: commit, acknowledge;
 *                 then acknowledgements and output are sent
 *   router_gone() the router has died; its successor's link comes later
 *   reconfigure() options have changed that option.def says the role takes while it runs; with an
 *                 error nothing has changed, and the daemon is restarted
 *   tick()        every few seconds, when the supervisor asks whether the process lives: for what is done now and
 *                 then, so that an idle process is not woken up for it; followed by flush()
 *   settle()      before a command runs: for a process that lets some frames wait, so that it shows what they do
 *   gauges()      before the counters are shown: set those gauges that are not kept
 *
 * The router itself runs under daemon_main() as well: it is the hub, has no link to a router, gets
 * all links through link(), is ready after start(), and is told about processes through process().
 *
 * A daemon ends only by being killed, or by itself when the supervisor is gone.
 */
#ifndef ALDIS_DAEMON_H
#define ALDIS_DAEMON_H

#include <jansson.h>
#include <uv.h>

#include "command.h"
#include "config.h"
#include "custody.h"
#include "frame.h"
#include "link.h"
#include "process.h"

struct daemon_hooks {
	enum role role;
	const char *serves;              /* HELLO text, see frame.def; may be NULL */
	void (*serves_more)(struct buf *text); /* adds lines that depend on the configuration */
	const struct command *commands;  /* may be NULL */
	const struct command *transfers; /* those of the control socket alone; may be NULL */
	int (*configure)(const struct config *config);
	int (*reconfigure)(const struct config *config);
	void (*listen)(const char *name, int fd);
	void (*link)(enum role peer, unsigned index, uint32_t incarnation, int fd);
	int (*start)(uv_loop_t *loop);
	int (*threads)(void);
	void (*router)(void);
	void (*router_gone)(void);
	void (*resend)(void);            /* custody: send again what is unacknowledged */
	void (*frame)(const struct frame *f, struct slice whole);
	void (*flush)(void);
	void (*gauges)(void);
	void (*tick)(void);
	bool nice_pool;                  /* what the threads of its pool do comes behind all else */
	void (*settle)(void);
	/* To the router: STATE of each child, and the answer to ASK. All hooks may be NULL. */
	void (*process)(const struct process_message *message);
};

/* Runs the process until it ends. */
int daemon_main(const struct daemon_hooks *hooks);

/* The process-wide surroundings, for a daemon's own files. */
uv_loop_t *daemon_loop(void);
uint32_t daemon_incarnation(void);      /* our origin in custody */
unsigned daemon_index(void);            /* of several c2sd */
const char *daemon_state_dir(void);     /* "/" after the chroot of the sandbox */
bool daemon_router_up(void);            /* registered: WELCOME was received */
struct link *daemon_router(void);       /* NULL while the router is away */
uint64_t daemon_now(void);              /* milliseconds since 1970, read once an iteration */
uint64_t daemon_ticks(void);            /* monotonic milliseconds, read once an iteration */

/* Sends to the router; dropped when it is away (what matters is in custody). */
void daemon_send(const struct frame *f);
/* Counts and logs a frame of the router that is not taken (link_refuse()). */
void daemon_refuse(const struct frame *f, const char *reason);
/* Asks for flush() at the end of this iteration; or at this time (daemon_ticks()), perhaps earlier: who still waits
 * asks again. */
void daemon_dirty(void);
void daemon_dirty_at(uint64_t ticks);

/* Acknowledges a frame taken (f->origin, f->seq): gathered and sent after flush(). */
void daemon_ack(const struct frame *f);

/* Finds the command that words begin with, or the built-in "counters", and runs it; E_NOT_FOUND
 * when there is none. *result: as in struct command. For CONTROL frames this is done already. */
int daemon_command(struct slice *words, size_t count, json_t **result);

/* What came with the command that is running, beside its words: absent when nothing did. */
struct slice daemon_command_data(void);

/* Brings all gauges up to date. */
void daemon_gauges(void);

/* From the router: asks the supervisor to "reload" or "restart NAME". */
void daemon_ask(const char *what);
/* The link to this process was closed: when it turns out to be alive it is restarted. Believed
 * from the router, and from authd about c2sd. */
void daemon_lost(enum role peer, unsigned index, uint32_t incarnation);

#endif
