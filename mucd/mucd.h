/*
 * mucd.h: what the files of mucd know of each other, grouped by file.
 *
 * All but main.c are engines: they take a stanza and the rooms and change rooms; what they have to say goes
 * into the outbox (outbox.c: in order, on disk) or is an answer (answer.c). main.c runs all that came in one
 * iteration, commits once, acknowledges, and sends.
 *
 *   stanza --> inbox.c --> room.c finds the room --> enter, leave, message, admin, owner, request ...
 *                                                        |                          |
 *                          occupants, affiliations, configuration (store)     outbox --> router
 *
 * Memory holds nothing that the store does not have, but for what says so: when a commit fails, all rooms
 * are forgotten, read again when they are wanted, and the stanzas of the iteration are handled again.
 */
#ifndef ALDIS_MUCD_H
#define ALDIS_MUCD_H

#include <sys/queue.h>

#include "buf.h"
#include "daemon.h"
#include "error.h"
#include "frame.h"
#include "jid.h"
#include "map.h"
#include "stanza.h"
#include "store.h"
#include "xmlin.h"

struct occupant;
struct room;

/* -- state.c: the store -------------------------------------------------------------------------- */

/* All tables, and the file that owns each. */
enum table {
	TABLE_META,        /* name -> number */
	TABLE_WATERMARK,   /* inbox.c: origin -> number */
	TABLE_NAME,        /* room.c: SHA-256 of the JID of a room -> its number */
	TABLE_ROOM,        /* room.c: number -> the room */
	TABLE_AFFILIATION, /* affiliation.c: room, first 16 bytes of SHA-256 of a bare JID -> affiliation */
	TABLE_CLIENT,      /* occupant.c: room, number of the client -> a client of an occupant */
	TABLE_OUTBOX,      /* outbox.c: number -> frame */
	TABLE_FORGET,      /* room.c: rooms whose archives archived has not forgotten yet */
	TABLE_HAT,         /* hat.c: room, number of the hat -> the hat, and who wears it */
	TABLE_COUNT
};

#define VALUE_VERSION 1 /* first byte of every value */

extern struct store *store;
int state_open(const char *directory);
int meta_get(const char *name, uint64_t fallback, uint64_t *number);
int meta_put(const char *name, uint64_t number);
int state_touch(void);                       /* writes something, so that a commit is one */

/* -- domain.c: the domains with rooms, and what may be done in them ------------------------------ */

struct domain {
	struct slice name;           /* canonical */
	struct slice title;          /* of the service, for people */
	uint32_t rooms_max, rooms_per_user, occupants_max, joined_max, history, history_max, rate;
	uint64_t idle_time, silence; /* milliseconds; 0: never */
	uint64_t rooms;              /* that there are */
};

int domains_configure(const struct config *config); /* also while we run */
void domains_serve(struct buf *text);               /* HELLO lines */
struct domain *domain_find(struct slice name);      /* NULL: not ours */
struct domain *domain_at(size_t i);                 /* the i-th; NULL behind the last */
bool domain_may_create(const struct domain *domain, struct slice bare, bool local);
bool domain_is_admin(const struct domain *domain, struct slice bare);

/* -- privilege.c: what roles and affiliations may do (XEP-0045 section 5), tables alone ----------- */

enum affiliation { AFFILIATION_OUTCAST, AFFILIATION_NONE, AFFILIATION_MEMBER, AFFILIATION_ADMIN,
	AFFILIATION_OWNER, AFFILIATION_COUNT };
enum role_in_room { IN_NONE, IN_VISITOR, IN_PARTICIPANT, IN_MODERATOR, IN_COUNT };

/* Names in XML; *_read: false when it is none of them. */
const char *affiliation_text(enum affiliation affiliation);
bool affiliation_read(struct slice text, enum affiliation *affiliation);
const char *role_in_room_text(enum role_in_room role);
bool role_in_room_read(struct slice text, enum role_in_room *role);

/* What a role may do (table 3); private messages and subjects depend on the configuration as well. */
enum privilege { PRIVILEGE_PRESENT, PRIVILEGE_HEAR, PRIVILEGE_PRESENCE, PRIVILEGE_NICK, PRIVILEGE_PRIVATE,
	PRIVILEGE_INVITE, PRIVILEGE_SPEAK, PRIVILEGE_SUBJECT, PRIVILEGE_KICK, PRIVILEGE_GRANT_VOICE,
	PRIVILEGE_REVOKE_VOICE, PRIVILEGE_COUNT };
bool privilege_has(const struct room *room, enum role_in_room role, enum privilege privilege);

/* -- privilege_change.c: who may change whose (sections 8 and 9), tables alone -------------------- */

/* The error for who asks, or STANZA_ERROR_NONE. self: it is about who asks. */
enum stanza_error privilege_affiliate(enum affiliation actor, enum affiliation from, enum affiliation to, bool self);
enum stanza_error privilege_role(enum role_in_room actor, enum affiliation actor_affiliation,
    enum role_in_room from, enum affiliation affiliation, enum role_in_room to, bool self);
bool privilege_reads_list(const struct room *room, enum affiliation reader, enum role_in_room role,
    enum affiliation list);

/* What a room says is one frame with all who get it (FRAME_MAX): half of it is for what is said, half for whom. */
#define SAID_BYTES     (FRAME_MAX / 2 - (64u << 10))
#define ADDRESSES_MOST (FRAME_MAX / 2)

/* Receivers of what a room says. */
struct receivers {
	struct buf handles;          /* numbers */
	struct buf elsewhere;        /* lines */
};

/* -- room.c: rooms from their first occupant to their end ------------------------------------------ */

/* Who: of those in a room. */
enum whom { WHOM_NOBODY, WHOM_MODERATORS, WHOM_PARTICIPANTS, WHOM_ANYONE, WHOM_COUNT };

/* What the owners have configured; room_config.def has a row for each, with its field of the form. */
struct room_config {
	struct buf name, description, lang, contact_ids, subject_lang, password, pubsub, ldapgroup;
	bool persistent, public_room, members_only, moderated, password_protected, non_anonymous;
	bool change_subject, invites, logged, member_list_public, moderation, reserved_nicks;
	enum whom private_messages;
	unsigned broadcast;          /* 1u << role_in_room of those whose presence is shown */
	unsigned member_list;        /* 1u << role_in_room of those who may read the lists */
	uint32_t occupants_max, history;
};

struct affiliate {
	TAILQ_ENTRY(affiliate) all;
	enum affiliation affiliation;
	char *nick;                  /* reserved (XEP-0045 section 7.10); NULL: none */
	char *reason;
	size_t jid_len;
	char jid[];                  /* a bare JID, or a domain (of outcasts and members) */
};

/* A hat of a room, and who wears it (XEP-0317): hat.c. */
struct hat {
	TAILQ_ENTRY(hat) all;
	uint64_t number;             /* of its row */
	char *uri, *title;
	char *hue;                   /* degrees, as they were given; NULL: none */
	struct map *wearers;         /* bare JIDs; each is its own value, a string */
};

struct room {
	TAILQ_ENTRY(room) all;
	TAILQ_ENTRY(room) dirty_rooms, visited_rooms;
	uint64_t number;
	struct domain *domain;
	char *jid;                   /* room@domain */
	size_t jid_len;
	struct room_config config;
	bool locked;                 /* new, and its owner has not said what it shall be (section 10.1) */
	bool dirty;                  /* room_save() */
	bool visited;                /* in memory, with perhaps nobody in it: rooms_trim() */
	bool ended;                  /* room_remove() */
	uint64_t created, active;    /* milliseconds since 1970: of the last message, or of the last to leave */
	struct buf subject;          /* the element, canonical; empty: never set */
	struct buf subject_nick;     /* who has set it */
	uint64_t subject_stamp;
	unsigned char occupant_key[32]; /* from which occupant ids are made (XEP-0421) */
	struct buf avatar, avatar_type, vcard; /* sha-1 of the avatar in hexadecimal, or empty; the vCard */
	TAILQ_HEAD(affiliates, affiliate) affiliates;
	struct map *by_jid;          /* affiliate of a bare JID or domain */
	TAILQ_HEAD(hats, hat) hats;  /* in the order in which they were made */
	TAILQ_HEAD(occupants, occupant) occupants; /* in the order in which they came */
	struct map *by_nick;         /* occupant */
	struct map *by_client;       /* client of a full JID */
	size_t occupant_count, client_count;
	size_t address_bytes;        /* that its clients take as receivers, at most */
	struct receivers everyone;   /* who is in it, when everyone_known */
	bool everyone_known;
};

static inline struct slice
room_jid(const struct room *room)
{
	return slice_of(room->jid, room->jid_len);
}
int rooms_open(void);                        /* loads the rooms that have occupants */
void rooms_forget(void);                     /* a transaction was aborted: memory is nothing worth */
struct room *room_find(struct slice jid);    /* of one of our domains; NULL: there is none */
/* A new one, locked, with the configuration that new rooms have. NULL: its domain has too many. */
struct room *room_make(struct domain *domain, struct slice jid, uint64_t now);
void room_save(struct room *room);           /* its row is written with this transaction */
int rooms_save(void);                        /* before the commit */
/* Its end: row, affiliations, hats, clients; archive as well when forget. The occupants were told. */
void room_remove(struct room *room, bool forget);
/* Something was said in it: it is not idle. */
void room_touch(struct room *room, uint64_t now);
/* A temporary room whose last occupant has gone ends; others are noted as idle from now on. */
void room_emptied(struct room *room, uint64_t now);
struct room *room_next(const struct room *room); /* of those in memory; NULL: the first one */
void rooms_trim(void);                       /* frees those that nobody is in, after the commit */
/* Rooms of a domain, in the order of their numbers, above one; each() may not change rooms. */
int rooms_walk(const struct domain *domain, uint64_t above, bool (*each)(void *arg, const struct room *room),
    void *arg);
void rooms_gauges(void);

/* -- affiliation.c: who is what in a room (section 5.2) --------------------------------------------- */

#define AFFILIATES_MAX  10000 /* of one room */
#define AFFILIATES_OPEN 5000  /* above which admins and owners alone add to them, who find room so */

/* Of a bare JID; admins of the domain are owners. A domain that was banned has all its users banned. */
enum affiliation affiliation_of(const struct room *room, struct slice bare);
struct affiliate *affiliate_find(const struct room *room, struct slice bare);
/* Writes it; AFFILIATION_NONE without a nick removes it. nick, reason: may be absent. */
void affiliation_set(struct room *room, struct slice bare, enum affiliation affiliation, struct slice nick,
    struct slice reason);
size_t affiliation_count(const struct room *room, enum affiliation affiliation);
struct affiliate *affiliate_of_nick(const struct room *room, struct slice nick); /* who has reserved it */
/* The role that somebody has who enters (section 5.1.2). */
enum role_in_room affiliation_role(const struct room *room, enum affiliation affiliation);
int affiliations_load(struct room *room);
int affiliations_remove(const struct room *room);
void affiliations_free(struct room *room);
/* Rooms, of all domains, of which it is an owner. */
size_t affiliation_owned(struct slice bare);
int affiliations_open(void);

/* -- hat.c: hats of a room, and who wears them (XEP-0317) ------------------------------------------- */

#define HATS_MAX    50           /* of a room */
#define HATS_ON_MAX 10           /* that one user wears in a room */
#define HATS_WORN_MAX 200        /* in a room, by all together */

struct hat *hat_find(const struct room *room, struct slice uri);
bool hat_is_worn(const struct hat *hat, struct slice bare);
/* Makes a hat, or gives the one with this URI another title and hue (absent: none). Returns 0 or E_FULL. */
int hat_make(struct room *room, struct slice uri, struct slice title, struct slice hue);
void hat_destroy(struct room *room, struct hat *hat); /* nobody wears it any more */
/* Puts it on somebody. Returns 0, E_EXISTS: it is on already, or E_FULL. */
int hat_put_on(struct room *room, struct hat *hat, struct slice bare);
int hat_take_off(struct room *room, struct hat *hat, struct slice bare); /* 0 or E_NOT_FOUND */
/* Appends the element that a presence has; nothing when there is none. */
void hats_write(const struct room *room, struct slice bare, struct buf *out);
#define HATS_HASH_SIZE 41
void hats_hash(const struct room *room, char text[HATS_HASH_SIZE]); /* other hats, another hash */
int hats_load(struct room *room);
int hats_remove(const struct room *room);
void hats_free(struct room *room);

/* -- occupant.c: who is in a room ------------------------------------------------------------------- */

/* One nick: one user, with one or several clients. */
struct occupant {
	TAILQ_ENTRY(occupant) all;
	struct room *room;
	char *nick;
	size_t nick_len;
	char *bare;
	size_t bare_len;
	enum role_in_room role;
	char id[65];                 /* XEP-0421 */
	bool shown;                  /* in memory alone: the others have been told that it is there */
	bool leaving;                /* in memory alone: it leaves with others, and need not be told of them */
	TAILQ_HEAD(clients, client) clients;
	uint64_t voice_asked;        /* in memory alone: when it has asked for voice */
	uint64_t rate_time, rate;    /* in memory alone */
};

struct client {
	TAILQ_ENTRY(client) siblings; /* the one that has sent presence last is the last one */
	TAILQ_ENTRY(client) of_session;
	struct occupant *occupant;
	uint64_t number;             /* of its row */
	uint64_t handle;             /* of its session; 0: elsewhere */
	struct buf presence;         /* children of its last presence, without what is the room's to say */
	struct buf lang;
	uint64_t joined;
	uint64_t told;               /* when it has sent presence */
	uint64_t heard, asked;       /* in memory alone: when something came of it, when it was pinged; 0 */
	bool again;                  /* in memory alone: the ping has not reached it */
	size_t jid_len;
	char jid[];                  /* full */
};

static inline struct slice
client_jid(const struct client *client)
{
	return slice_of(client->jid, client->jid_len);
}
static inline struct slice
occupant_nick(const struct occupant *occupant)
{
	return slice_of(occupant->nick, occupant->nick_len);
}
static inline struct slice
occupant_bare(const struct occupant *occupant)
{
	return slice_of(occupant->bare, occupant->bare_len);
}

struct occupant *occupant_find(const struct room *room, struct slice nick);
struct occupant *occupant_of(const struct room *room, struct slice bare); /* its first; NULL */
struct client *client_find(const struct room *room, struct slice full);
#define CLIENTS_MAX 32  /* of one occupant */
#define DOMAINS_MAX 256 /* elsewhere, of those in a room: each has its copy of what is said on its spool */
/* Whether a room has place for one more address among those to whom it speaks; the last places are for admins. */
bool client_fits(const struct room *room, struct slice full, bool admin);
/* Whether it has for one more domain elsewhere. */
bool domain_fits_room(const struct room *room, struct slice full);
/* Whether an occupant, or NULL, may have one more client. */
bool occupant_fits(const struct occupant *occupant);
/* Adds a client under a nick, which is free or its user's. */
struct client *client_add(struct room *room, struct slice full, uint64_t handle, struct slice nick,
    enum role_in_room role, uint64_t now);
void client_save(struct client *client);
/* Notes the presence that it has sent last. */
void client_set_presence(struct client *client, struct slice children, struct slice lang, uint64_t now);
/* It is another session that has this address now. */
void client_set_handle(struct client *client, uint64_t handle);
void client_remove(struct client *client);   /* and its occupant with the last of them */
void occupant_address(const struct occupant *occupant, struct buf *out); /* appends room@domain/nick */
void occupant_rename(struct occupant *occupant, struct slice nick);
void occupant_set_role(struct occupant *occupant, enum role_in_room role);
int clients_load(struct room *room);
int clients_remove(const struct room *room);
void clients_free(struct room *room);
int clients_open(void);
size_t clients_count(void);
/* Clients of all rooms by handle: gone is called for each of those that a session had. */
void clients_of_handle(uint64_t handle, void (*each)(void *arg, struct client *client), void *arg);
void clients_handles(struct buf *numbers);   /* each handle once */
size_t clients_of_account(struct slice bare); /* rooms that it is in */

/* -- outbox.c: what rooms say, in order, until the others have it -------------------------------------- */

void receivers_add(struct receivers *r, const struct client *client);
void receivers_free(struct receivers *r);
/* All who are in a room. Made once for many messages; good until somebody enters or leaves. */
const struct receivers *receivers_everyone(struct room *room);

int outbox_open(void);
/* A stanza of a room, in its place; f: from, kind, subtype, id, lang, payload and flags (FLAG_STORE) are set.
 * Nothing when nobody gets it and it is not stored. */
void outbox_add(struct frame *f, const struct receivers *r);
/* A message to somebody who need not be in the room; it is stored for that one. */
void outbox_message(struct frame *f);
/* The last messages of a room for one who has entered. */
void outbox_history(const struct room *room, const struct client *client, uint64_t since, uint64_t stanzas,
    uint64_t characters);
/* All messages of a room that come before this one leave its archive; the room stays. */
void outbox_forget(struct slice room);
/* Puts payload in the place of a message in the archive. own: the bare JID that must have sent it; absent: whoever
 * has. */
void outbox_redact(const struct room *room, uint64_t archive_id, struct slice own, struct slice payload);
/* Whether something is to leave the archive of a room that the router has not acknowledged. */
bool outbox_erases(struct slice room);
int outbox_save(void);                       /* rows, before the commit */
void outbox_send(void);                      /* after it */
size_t outbox_pending(void);                 /* bytes that this transaction adds */
bool outbox_idle(void);                      /* no rows are to be removed */
void outbox_revert(void);
void outbox_acked(const struct frame *f);    /* ACK of the router */
void outbox_resend(void);                    /* RESEND */
bool outbox_full(void);                      /* nothing is handled while it is */
void outbox_gauges(void);

/* -- answer.c: answers, which are not kept -------------------------------------------------------------- */

/* With a payload that is too large it is an error. */
void answer_result(const struct frame *request, struct slice payload);
void answer_error(const struct frame *stanza, enum stanza_error error, const char *text);
/* Any stanza that may be lost with us: f->from, f->to are set. Returns OK, or E_TOO_BIG and nothing is sent. */
int answer_send(const struct frame *f);
size_t answers_pending(void);                /* bytes of this iteration */
void answers_flush(void);                    /* after the commit */
void answers_release(void);                  /* an ACK has come */
void answers_clear(void);                    /* it failed */

/* -- inbox.c: what comes --------------------------------------------------------------------------------- */

#define RUN_BYTES (1u << 20) /* that rooms say, or that is answered, after which a transaction ends */

int inbox_open(void);
bool inbox_add(const struct frame *f, struct slice whole); /* false: not for mucd */
/* Handles what has come, and commits; an error is logged, and the same is tried again. */
int inbox_run(uint64_t now);
/* Commits what was done otherwise; with an error nothing of it has happened. */
int inbox_commit(void);
void inbox_tick(void);                       /* watch_tick() is due, with the next transaction */
void inbox_gauges(void);

/* -- presence.c: what occupants see of each other ---------------------------------------------------------- */

/* Status codes of XEP-0045 section 15.6.2 in a presence, as bits. */
enum status {
	STATUS_100 = 1 << 0, STATUS_101 = 1 << 1, STATUS_102 = 1 << 2, STATUS_103 = 1 << 3, STATUS_104 = 1 << 4,
	STATUS_110 = 1 << 5, STATUS_170 = 1 << 6, STATUS_171 = 1 << 7, STATUS_172 = 1 << 8, STATUS_173 = 1 << 9,
	STATUS_201 = 1 << 10, STATUS_210 = 1 << 11, STATUS_301 = 1 << 12, STATUS_303 = 1 << 13,
	STATUS_307 = 1 << 14, STATUS_321 = 1 << 15, STATUS_322 = 1 << 16, STATUS_332 = 1 << 17,
	STATUS_333 = 1 << 18,
};

/* What is said beside the state of an occupant. */
struct change {
	unsigned status;             /* enum status; 110 and 100 are added for whom they are */
	struct slice actor_nick;     /* who did it; absent: not said */
	struct slice reason;
	struct slice nick;           /* the new one, with 303 */
	struct slice destroy;        /* a <destroy/> element, instead of all else */
	enum affiliation affiliation; /* only presence_gone(): what it is afterwards */
};

/* Tells all who may see it the state of an occupant, and its own clients always. but: a client that is told
 * otherwise; may be NULL. */
void presence_tell(struct occupant *occupant, const struct change *change, const struct client *but);
/* Tells one client alone of its own occupant. */
void presence_tell_client(const struct client *client, const struct change *change);
bool presence_is_shown(const struct occupant *occupant); /* as the room is configured */
/* Changes the nick, and tells of it (section 7.6). */
void presence_rename(struct occupant *occupant, struct slice nick);
/* Tells one client, who has entered, of all others. */
/* most: bytes of what waits to be said, above which no more are told. */
void presence_show_room(const struct client *client, size_t most);
/* Tells one client, who may see it, of another occupant. */
void presence_show_occupant(const struct occupant *occupant, const struct client *client);
/* Tells that a client is leaving or being removed, then removes it: from the room when it was the last of its
 * occupant (change says why), else its other clients stay and only this one is told. */
void presence_gone(struct client *client, const struct change *change, struct slice payload);
/* Roles are shown now, or hidden, that were not: what that means for those who see them. */
void presence_broadcast_changed(struct room *room, unsigned before);
/* The same of all clients of an occupant. */
void presence_expel(struct occupant *occupant, const struct change *change);

/* -- pass.c: what of a stanza a room passes on ------------------------------------------------------------- */

/* Whether a child of a message or presence is the sender's to say. */
bool pass_message(const struct room *room, const struct xmlin_element *e);
bool pass_presence(const struct xmlin_element *e);
/* Appends the error of a payload without the addresses that it tells: who has said it, and where to somebody has gone
 * (RFC 6120 sections 8.3.2, 8.3.3.5, 8.3.3.14). words: what its server says besides as well, which may have an address
 * in it. */
void pass_error(struct slice payload, bool words, struct buf *out);

/* -- enter.c, leave in it: sections 7.2, 7.14, 7.6, 7.7 ------------------------------------------------------ */

void enter_presence(const struct frame *f, uint64_t now); /* every presence to room/nick */
void enter_show_subject(const struct client *client);
void enter_gone(struct client *client, const char *why, uint64_t now); /* its session or server is away: 333 */

/* -- probe.c: presence probes ---------------------------------------------------------------------------------- */

void probe_handle(const struct frame *f, struct room *room, struct slice nick); /* nick: absent, of the room */

/* -- message.c: messages to a room and to its occupants (7.4, 7.5, 7.8, 7.13, 8.1) --------------------------------- */

void message_handle(const struct frame *f, uint64_t now);
/* A message of the room itself to all who are in it (status codes of section 10.2.1 and the like). */
void message_announce(struct room *room, struct slice payload);

/* -- invite.c: invitations, declines, requests for voice: messages without a type to a room ---------------------- */

/* Whether the message was one of these, or the error for an invitation that we have sent (type error), and is
 * dealt with. sender: NULL when it is not in the room. */
bool invite_handle(struct room *room, struct client *sender, const struct frame *f, uint64_t now);

/* -- admin.c: muc#admin (sections 8, 9) --------------------------------------------------------------------------- */

void admin_request(struct room *room, const struct frame *f, uint64_t now);
/* Changes the affiliation of an account or domain with all that follows for its occupants: who may not be
 * there any more leaves (301, 321), roles change, owners and admins are moderators. Used by the forms and by
 * administrators too. nick: reserved from now on; absent: as it was; empty: none. Returns OK, or E_FORBIDDEN when it
 * would take the last owner, E_FULL when the list is as long as it may be. */
int admin_affiliate(struct room *room, struct slice bare, enum affiliation affiliation, struct slice nick,
    struct slice reason, struct slice actor_nick, uint64_t now);

/* Whether a nick can be reserved for an account: nobody else has reserved it or goes by it. */
bool admin_nick_free(const struct room *room, struct slice nick, struct slice bare);

/* Appends an <item/>; ns, nick, role, reason: may be absent. */
void admin_item(struct buf *out, const char *affiliation, struct slice ns, struct slice jid, struct slice nick,
    const char *role, struct slice reason);

/* -- form.c: data forms (XEP-0004) that are submitted, and that are written -------------------------------------- */

/* What was submitted. Values are kept in the order in which they came. */
struct form {
	bool cancelled;
	bool empty;                  /* no fields at all, but perhaps FORM_TYPE */
	struct buf text;             /* names and values */
	struct buf values;           /* positions in text */
};

/* Reads the first form among the children of an element (content and its namespace). form_type: what its
 * FORM_TYPE must be when it has one. Returns 0, E_NOT_FOUND: there is none, or E_MALFORMED: it is not one that is
 * submitted or cancelled, or a field is there twice. *form is to be freed in each case. */
int form_read(struct slice content, struct slice ns, const char *form_type, struct form *form);
void form_free(struct form *form);
bool form_has(const struct form *form, struct slice var);
/* The i-th value of a field. */
bool form_value(const struct form *form, struct slice var, size_t i, struct slice *value);
/* Appends a struct slice for each; they point into the form. Returns how many. */
size_t form_values(const struct form *form, struct slice var, struct buf *slices);
/* Name of the i-th of its fields, FORM_TYPE left out. */
bool form_var(const struct form *form, size_t i, struct slice *var);

/* Writing: type "form" or "result"; title, instructions, type of a field, label: may be NULL. */
void form_open(struct buf *out, const char *type, const char *form_type, const char *title,
    const char *instructions);
void form_field_open(struct buf *out, const char *var, const char *type, const char *label);
void form_option(struct buf *out, const char *label, struct slice value);
void form_field_close(struct buf *out);
/* A whole field; values: lines, each ended by a line feed. */
void form_field(struct buf *out, const char *var, const char *type, const char *label, struct slice values);
void form_close(struct buf *out);
/* Whether a text is one line of characters of XML. */
bool form_is_line(struct slice text);

/* -- setting.c: the configuration of a room, field by field; room_config.def ---------------------------------------- */

/* All that the owners configure at once. */
struct settings {
	const struct domain *domain;
	struct room_config config;
	struct buf admins, owners;   /* lines: bare JIDs */
	bool admins_given;           /* the list of admins was, and is not that which there is */
};

struct setting {
	const char *name, *var, *type, *label;
	const char *fallback;        /* of new rooms */
	size_t offset;
	/* NULL, or what is wrong with the values, for people. */
	const char *(*read)(struct settings *s, const struct setting *setting, const struct slice *values,
	    size_t count);
	/* Appends the values, lines. */
	void (*write)(const struct settings *s, const struct setting *setting, struct buf *lines);
	/* Adds what one can choose from; NULL: anything. */
	void (*choices)(const struct settings *s, const struct setting *setting, struct buf *out);
};

extern const struct setting setting_table[]; /* ends with a NULL name */
const struct setting *setting_find(struct slice name_or_var);
/* NULL, or why these values are none. */
const char *setting_read(const struct setting *setting, struct settings *s, const struct slice *values,
    size_t count);
void settings_of(const struct room *room, struct settings *s);
void settings_free(struct settings *s);
/* NULL, or why these do not fit together. */
const char *settings_check(const struct settings *s);

/* What new rooms of a domain have; *config is made. domain: NULL when all is going to be overwritten. */
void room_config_default(struct room_config *config, const struct domain *domain);
void room_config_free(struct room_config *config);
/* The form for the owners, filled in, and the information for everybody (muc#roominfo). */
void form_config(const struct room *room, struct buf *out);
void form_info(const struct room *room, bool inside, struct buf *out); /* inside: subject and occupants too */

/* -- owner.c: muc#owner (section 10) --------------------------------------------------------------------------------- */

void owner_request(struct room *room, const struct frame *f, uint64_t now);
/* Makes this the configuration, with all that follows (10.2): status codes, who must leave. What *config has is
 * the room's afterwards. */
void owner_configure(struct room *room, struct room_config *config, uint64_t now);
/* Makes all of it so, administrators and owners too. Returns OK, or an error (E_FORBIDDEN: no owner is left) with
 * *why for people, and nothing has changed. *s is to be freed. */
int owner_apply(struct room *room, struct settings *s, struct slice actor_nick, uint64_t now, const char **why);
/* Ends a room: all leave with <destroy/>. alternative, reason, password: may be absent. */
void owner_destroy(struct room *room, struct slice alternative, struct slice reason, struct slice password);

/* -- register.c: registration with a room (section 7.10), and its approval (9.9) --------------------------------------- */

void register_request(const struct frame *f, struct room *room, uint64_t now);
/* Whether a message is an administrator's answer to a request for registration, and is dealt with. */
bool register_handle(struct room *room, const struct frame *f, uint64_t now);
void register_committed(void);
void register_revert(void);                  /* nobody has asked in this transaction */

/* -- hat_command.c: the ad-hoc commands of a room (XEP-0050), which are those about hats ---------------------------- */

void hat_command_request(const struct frame *f, struct room *room, uint64_t now);
/* Appends the items of those that an address may use (disco#items), and the name of one; NULL: there is none. */
void hat_command_items(const struct room *room, struct slice full, struct buf *out);
const char *hat_command_name(struct slice node);
void hat_command_export(const struct hat *hat, struct buf *out); /* appends a form with all of it */

/* -- access.c: what somebody may know of a room who need not be in it (full: its address) ----------------------- */

bool access_inside(const struct room *room, struct slice full); /* with this client, or another one of its user */
bool access_known(const struct room *room, struct slice full);  /* that it is there, and what it is like */
bool access_reads(const struct room *room, struct slice full);  /* what is said in it, and who is in it */
bool access_real_jids(const struct room *room, struct slice full); /* of occupants (semi-anonymous rooms) */

/* -- request.c: other requests to a domain, a room or an occupant ---------------------------------------------------- */

void request_start(uint64_t now);                           /* the service has begun */
void request_handle(const struct frame *f, uint64_t now);   /* every iq */

/* disco.c: XEP-0030 of domain, room, occupant; relay.c: iq between occupants (and self-ping,
 * XEP-0410); vcard.c: avatar of a room; mam.c: the archive of a room; moderate.c: XEP-0425: */
void disco_request(const struct frame *f, struct room *room);
void relay_request(const struct frame *f, struct room *room, uint64_t now);
void relay_answer(const struct frame *f, uint64_t now);
void vcard_request(const struct frame *f, struct room *room);
/* Tells one client, who has entered, of the room's avatar (a presence of the room itself, XEP-0153), if it has one. */
void vcard_show(const struct client *client);
void mam_request(const struct frame *f, struct room *room);
void moderate_request(const struct frame *f, struct room *room, uint64_t now);
/* Whether an answer is that of the archive to a question of ours, and is dealt with. */
bool moderate_answer(const struct frame *f, uint64_t now);
/* What a client has said to all: if it takes back a message of its own (XEP-0424) the archive forgets that one. */
void moderate_retract(const struct client *sender, const struct frame *f, uint64_t now);

/* -- watch.c: who does not answer, rooms that nobody uses -------------------------------------------------------------- */

bool watch_tick(uint64_t now);                            /* there is more to do */
void watch_ask_router(void);                              /* which sessions are gone: OCCUPANTS */
void watch_gone(const struct frame *f, uint64_t now);     /* its answer */
/* Whether an iq is the answer of somebody whom we have asked, and is dealt with. */
bool watch_answer(const struct frame *f, uint64_t now);
bool watch_says_gone(const struct frame *f);              /* an error: its sender is not there any more */

/* -- command.c: what administrators can do -------------------------------------------------------------------------------- */

extern const struct command mucd_commands[];
extern const struct command mucd_transfers[];
/* Commits what a command has done, as at the end of an iteration, and returns whether it is on disk: set by main.c. */
extern int (*command_commit)(void);

#endif
