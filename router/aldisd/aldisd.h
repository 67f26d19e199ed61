/*
 * aldisd.h: the supervisor's own header, grouped by file.
 *
 * The supervisor reads the configuration, opens what needs privileges, starts the daemons, makes
 * the sockets between them, and starts again what has died. It never reads a byte from the network.
 */
#ifndef ALDIS_ALDISD_H
#define ALDIS_ALDISD_H

#include <netinet/in.h>
#include <sys/types.h>
#include <uv.h>

#include "buf.h"
#include "config.h"
#include "process.h"
#include "role.h"

#define WORKERS_MAX 64 /* c2sd processes */

/* -- settings.c: aldis.conf -------------------------------------------------------------------- */

struct settings;

/*
 * Reads and checks a configuration file. messages: lines for people are appended, errors as
 * "FILE:LINE: SECTION: OPTION: what" and warnings with "warning: " after the line; there may be
 * warnings when 0 is returned.
 * Returns 0 or E_MALFORMED.
 */
int settings_read(const char *path, struct buf *messages, struct settings **settings);
void settings_free(struct settings **settings);

/* What a role gets of it, as config_read() reads it; only what option.def allows. */
struct slice settings_slice(const struct settings *settings, enum role role);
/* What has to be done so that a role follows a change of its slice. */
enum settings_change { CHANGE_NONE, CHANGE_LIVE, CHANGE_RESTART };
enum settings_change settings_change(const struct settings *before, const struct settings *now,
    enum role role);
/* The part that aldisd keeps to itself. */
const struct config *settings_own(const struct settings *settings);
/* An option at the top of that part, as a string to be freed. */
char *settings_string(const struct settings *settings, const char *option);

/* -- setting.c: the rows of option.def, and what values they take ------------------------------ */

enum setting_type {
	SETTING_TEXT, SETTING_NUMBER, SETTING_FLAG, SETTING_LIST, SETTING_SIZE, SETTING_TIME,
	SETTING_FILE,
};

struct setting {
	const char *section;
	const char *name;
	enum setting_type type;
	const char *fallback;   /* the default; words of a list are apart by a space */
	uint32_t roles;         /* ROLE_BITs of who gets it; that of ROLE_NONE: aldisd */
	uint32_t live;          /* of them, who takes a new value while running */
	const char *help;
};

extern const struct setting settings_all[]; /* ended by a NULL name */

const struct setting *setting_find(const char *section, const char *name); /* or NULL */
/* Checks one value and appends it as the daemons get it: numbers without unit, flags as yes or no.
 * Returns NULL, or what is wrong with it, good until the next call. */
const char *setting_value(const struct setting *setting, const char *text, struct buf *out);
/* Reads a file that an option names. Returns NULL, or what is wrong. */
const char *setting_file(const char *path, struct buf *content);
void setting_base64(struct slice bytes, struct buf *out);

/* -- certificate.c ----------------------------------------------------------------------------- */

/*
 * Checks that a PEM chain and a PEM key are well formed and belong together. key absent: it is in a
 * token, only the chain is checked.
 * Returns 0, or E_MALFORMED or E_MISMATCH with *problem set; with 0, *problem may hold a warning:
 * the chain has expired or does not name the domain (in ASCII form). Both are static texts.
 */
int certificate_check(struct slice certificate, struct slice key, const char *domain,
    const char **problem);
/* Whether GnuTLS understands a priority string. */
bool certificate_priority(const char *priority);

/* -- token.c: keys in PKCS#11 tokens ----------------------------------------------------------- */

/* Whether the option "key" names a key in a token. */
bool token_named(const char *key);
/* Checks the URI of a key (RFC 7512). plain: the URI without its pin-source is appended. *pin_file:
 * the path in that, to be freed, or NULL. Returns NULL, or what is wrong. */
const char *token_check(const char *uri, struct buf *plain, char **pin_file);
/* Finds the PIN in what its file has. Returns NULL, or what is wrong. */
const char *token_pin(struct slice content, struct slice *pin);

/* -- listener.c: listening sockets ------------------------------------------------------------- */

/* One address, with a socket for each process that listens there. */
struct listener {
	enum role role; /* whose it is */
	char *name;     /* "c2s": what the daemon is told */
	char *address;  /* as in the configuration */
	uint16_t port;  /* the real one when 0 was asked for */
	int *sockets;   /* one for each worker, all bound with SO_REUSEPORT */
	unsigned count;
};

struct listeners {
	struct listener *all;
	size_t count;
};

/* Reads "192.0.2.1:5222" or "[2001:db8::1]:5222". Returns 0 or E_MALFORMED. */
int listener_address(struct slice text, struct sockaddr_storage *address, socklen_t *len);
/*
 * Opens what the settings ask for, for so many workers. Sockets in old (may be NULL) that are still
 * wanted move to *listeners. problem: a line is appended for what failed. Returns 0 or E_SYSTEM;
 * old is as before in that case.
 */
int listeners_open(const struct settings *settings, unsigned workers, struct listeners *old,
    struct listeners *listeners, struct buf *problem);
void listeners_close(struct listeners *listeners);
/* The port of the first listener with this name, 0 when there is none. */
uint16_t listeners_port(const struct listeners *listeners, const char *name);

/* -- place.c: users, directories, the pid file and the control socket -------------------------- */

struct place {
	char user[24];      /* "UID:GID", "" to stay who we are */
	char *directory;    /* the one that the daemon may touch */
};

/* All append a line to problem and return E_SYSTEM when they fail. */
int place_prepare(const struct settings *settings, struct place places[ROLE_COUNT],
    struct buf *problem);
/* Writes and locks the pid file; E_EXISTS: another aldisd holds it. */
int place_pid_file(const char *path, struct buf *problem);
int place_control_socket(const char *path, int *fd, struct buf *problem);

/* -- incarnation.c: numbers of processes ------------------------------------------------------- */

/* Begins after all that were given before, which state_dir remembers. Returns 0 or E_SYSTEM. */
int incarnation_open(const char *state_dir, struct buf *problem);
/* Never 0, never given before. */
uint32_t incarnation_next(void);

/* -- logger.c: the supervisor's end of the log role -------------------------------------------- */

/* Starts the log role; our stderr becomes a pipe to it. target: "syslog", "stderr" or a path. */
int logger_start(const char *target, struct buf *problem);
/* A pipe for the stderr of a child: *write_end for it; the other end stays here under the name. */
int logger_pipe(int *read_end, int *write_end);
void logger_add(const char *name, pid_t pid, int read_end);
/* Reopens the file, or goes on to another target. */
int logger_target(const char *target, struct buf *problem);
/* Starts the log role again when it was this process that ended; true when it was. pipes() is to
 * call logger_add() for all children. */
bool logger_reap(pid_t pid, void (*pipes)(void));
/* Lets it write what it has, and waits for it. */
void logger_stop(void);

/* -- logd.c: the log role, a process of its own ------------------------------------------------ */

/* user: "UID:GID" of whom to become, "" to stay. */
int logd_main(const char *user);

/* -- spawn.c: how a child comes into being ----------------------------------------------------- */

/* The directory with the daemons; to be freed. NULL when there is none. */
char *spawn_directory(void);
bool spawn_exists(const char *directory, enum role role);
/* Starts directory/aldis-ROLE as title. control becomes its descriptor 3, error_output its stderr.
 * Returns 0 or E_SYSTEM. */
int spawn(const char *directory, enum role role, const char *title, int control,
    int error_output, pid_t *pid);
/* Starts ourselves again with one option and its value, for the log role. */
int spawn_self(const char *title, const char *letter, const char *value, int control,
    int error_output, pid_t *pid);
/* A sealed memfd with the bytes of both; -1 on failure. */
int spawn_memfd(struct slice first, struct slice second);
/* A stream socketpair for frames, with large buffers. */
int spawn_link(int fds[2]);

/* -- child.c: one daemon, from start to restart ------------------------------------------------ */

/*
 *          start              READY
 *   DOWN ---------> STARTING ------> RUNNING
 *                      |                |
 *                   too long       no PONG, LOST
 *                      v                v
 *                    ENDING (SIGABRT, then SIGKILL)
 *
 * From any of them its exit leads to DOWN, where a timer starts it again.
 */
enum child_phase { CHILD_DOWN, CHILD_STARTING, CHILD_RUNNING, CHILD_ENDING };

struct child {
	enum role role;
	unsigned index;
	char name[32];          /* "authd", "c2sd.1" */
	enum child_phase phase;
	pid_t pid;              /* 0 when DOWN */
	uint32_t incarnation;
	uv_poll_t *control;     /* NULL when DOWN or its socket has ended */
	int control_fd;
	int log_pipe;           /* read end of its stderr, -1 for none */
	uv_timer_t timer;       /* what it is for follows from the phase */
	bool was_ready;         /* in this life */
	bool configuring;       /* was sent a new CONFIG, and has not said that it took it */
	bool lost;              /* someone saw its link end */
	unsigned failures;      /* lives in a row that ended before READY */
	unsigned restarts;
	unsigned missed;        /* PINGs without PONG */
	uint64_t started;       /* loop time */
	uint64_t since;         /* milliseconds since 1970 of the last change of state */
};

void child_start(struct child *child);
/* Gives a running child its new slice of the configuration. */
void child_configure(struct child *child);
/* Starts a child again that is down, or ends it so that it is. */
void child_restart(struct child *child, const char *reason);
void child_exited(struct child *child, int status);
void child_ping(struct child *child);
void child_tell(struct child *child, const struct process_message *message, int fd);
enum process_state child_state(const struct child *child);

/* -- supervise.c: all of them ------------------------------------------------------------------ */

struct supervisor {
	uv_loop_t loop;
	const char *config_path;
	bool foreground;
	char *directory;        /* of the daemons */
	struct settings *settings;
	struct place places[ROLE_COUNT];
	struct listeners listeners;
	int control_socket;     /* for aldisctl, handed to the router */
	struct child *children;
	size_t count;
	bool started;           /* all were ready once */
	bool asked;             /* the router waits for the end of a reload */
	bool stopping;
	int status_pipe;        /* to the process that waits for the start, -1 in the foreground */
};

extern struct supervisor supervisor;

/* Runs until the suite is stopped; settings, config_path, foreground and status_pipe are set. */
_Noreturn void supervise(void);
/* A child is ready, or has taken its configuration: perhaps all have. */
void supervise_ready(void);
void supervise_tell_router(const struct child *child);
/* The router asks: "reload" or "restart NAME". */
void supervise_ask(const char *what);
struct child *supervise_find(enum role role, unsigned index);
/* Whether these two have a link between them. */
bool supervise_linked(enum role a, enum role b);

#endif
