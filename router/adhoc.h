/*
 * adhoc.h: what the files of ad-hoc commands know of each other: adhoc.c, adhoc_right.c, adhoc_target.c
 * and adhoc_run.c.
 */
#ifndef ALDIS_ADHOC_H
#define ALDIS_ADHOC_H

#include "router.h"

/* -- adhoc_right.c: who may ------------------------------------------------------------------- */

/* RIGHT_INVITE: to invite contacts only; RIGHT_ROOMS: on a domain with rooms, commands about them. */
enum right { RIGHT_NONE, RIGHT_INVITE, RIGHT_ROOMS, RIGHT_DOMAIN, RIGHT_ALL };
enum inviters { INVITERS_NOBODY, INVITERS_ADMINS, INVITERS_ALL };

enum right adhoc_right_of(const struct frame *f, const struct session *sender); /* on the domain that f is for */
enum inviters adhoc_inviters(struct slice domain); /* who may invite to it */
struct slice adhoc_domain_of(struct slice bare);

/* -- adhoc_target.c: what commands there are, and the form of each ------------------------------- */

#define NODE_OWN    "urn:x-aldis:command#"
#define NODE_ADMIN  NS_ADMIN "#"

enum form { FORM_NONE, FORM_ACCOUNT, FORM_ACCOUNTS, FORM_ADD, FORM_PASSWORD, FORM_INVITE };
/* How the answer of a command becomes that of XEP-0133 or XEP-0401. */
enum result { RESULT_DONE, RESULT_NUMBER, RESULT_LIST, RESULT_INVITE, RESULT_COUNT };

struct admin_command {
	const char *node, *label;
	const char *command;  /* its words, a line each */
	enum form form;
	bool domain;          /* the domain is its last word */
	const char *key;      /* of the rows of its result, which are sessions or accounts */
	const char *only;     /* the flag of a row that counts; NULL: all do */
	const char *var;      /* the field of its result */
	enum result result;
};

#define ADMIN_COMMANDS 11
extern const struct admin_command adhoc_commands[ADMIN_COMMANDS]; /* of XEP-0133 */
extern const struct admin_command adhoc_invites[2];               /* of XEP-0401, which have nodes of their own */
#define INVITE_CONTACT (&adhoc_invites[0])
#define INVITE_ACCOUNT (&adhoc_invites[1])

/* A command that a node names. */
struct target {
	enum right right;                  /* of who asks */
	const struct admin_command *admin; /* NULL: one of our own */
	struct slice node;                 /* looked for */
	struct slice name, arguments, help;
	bool found;
};

/* Finds what a node names, among what there is for who asks. */
bool adhoc_target_find(const struct frame *f, enum right right, struct target *t);
void adhoc_form_make(const struct target *t, struct adhoc_form *form);
/* Whether who has a right may give a command of our own. */
bool adhoc_may_give(enum right right, struct slice name);
bool adhoc_invite_allowed(const struct admin_command *command, enum right right, const struct frame *f);
/* The node of one of our own commands, its words joined by hyphens. */
void adhoc_node_write(struct slice name, struct buf *out);
/* Takes the next word off the front of a run of words. */
bool adhoc_word_next(struct slice *rest, struct slice *word);

/* -- adhoc_run.c: commands under way -------------------------------------------------------------- */

/* Gives a command, and answers when it is done. */
void adhoc_run_begin(const struct frame *f, enum right right, const struct target *t,
    const struct adhoc_form *form, const struct adhoc_request *r);

/* -- adhoc.c: requests and answers ------------------------------------------------------------------ */

void adhoc_answer(const struct frame *f, struct slice payload);
/* "<command ...>" of an answer; session: what the client has given, or empty for a new one. Returns
 * where its content begins. */
size_t adhoc_command_open(const struct frame *f, const char *status, struct slice session, struct buf *out);

#endif
