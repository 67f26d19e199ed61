/*
 * archived.h: what the files of archived know of each other.
 *
 * All but main.c are engines: they read and change the store and leave what they have to say in a
 * struct out, which main.c sends after the commit.
 *
 * A message and its places:
 *
 *   message   archive id -> stamp, the stanza as a frame; once, however many have it
 *   archive   account, archive id -> whose copy it is; stays
 *   peer      account, peer, archive id: the same copies by peer; in a room's archive, by occupant
 *   spool     account, archive id -> waits for its receiver; goes when that has it
 *   removed   archive id -> a message that has gone, until the index of words has forgotten it
 *   asked     account, archive id -> the copy goes if the other one is not in the roster
 *
 * The row in message goes with the last of the others.
 */
#ifndef ALDIS_ARCHIVED_H
#define ALDIS_ARCHIVED_H

#include "buf.h"
#include "daemon.h"
#include "error.h"
#include "frame.h"
#include "stanza.h"
#include "store.h"
#include "xmlin.h"

/* -- state.c: the store and the options -------------------------------------------------------- */

/* All tables of the store, and the file that owns each. */
enum table {
	TABLE_MESSAGE,   /* archive.c */
	TABLE_ACCOUNT,   /* account.c */
	TABLE_ARCHIVE,   /* archive.c */
	TABLE_SPOOL,     /* spool.c */
	TABLE_WATERMARK, /* batch.c: origin -> number, time */
	TABLE_META,      /* name -> number */
	TABLE_PEER,      /* archive.c */
	TABLE_REMOVED,   /* archive.c, search.c: as message */
	TABLE_PREFS,     /* prefs.c */
	TABLE_ASKED,     /* prefs.c */
	TABLE_USAGE,     /* usage.c */
	TABLE_ONCE,      /* once.c */
	TABLE_SAID,      /* once.c */
	TABLE_COUNT
};

#define VALUE_VERSION 1 /* first byte of every value */

struct state {
	struct store *store;
	uint64_t spool_messages; /* undelivered messages of one account */
	size_t index_copies;     /* copies to gather before they go into the archive table */
	uint32_t page_messages;  /* messages of one answer to a query, at most */
	bool push_sender, push_body; /* notifications tell who sent the last message, what it says */
};

extern struct state state;

/* Opens the store and loads what the files keep in memory. size in bytes, now in milliseconds since
 * 1970. Returns 0, or an error that was logged. */
int state_open(const char *directory, uint64_t size, uint64_t spool_messages, uint64_t now);
extern const char *const state_tables[]; /* names, for store_open() */
void state_close(void);

/* Ends the transaction: commits it, and puts back what is in memory when that fails. */
int state_commit(void);
/* Puts back what is in memory and aborts the transaction. */
void state_abort(void);

/* The key of a row of an account: its id, then an archive id. */
#define PLACE_SIZE 16
struct slice place_key(uint64_t account, uint64_t id, char out[PLACE_SIZE]);
uint64_t place_id(struct slice key); /* the archive id */
/* Removes at most limit rows of an account, each by remove(). *more: whether there are others. */
typedef int place_remove(uint64_t account, uint64_t id, struct slice value);
int places_remove_some(enum table table, uint64_t account, size_t limit, place_remove *remove,
    bool *more);

/* Numbers in the meta table; fallback when there is none. */
int meta_get(const char *name, uint64_t fallback, uint64_t *number);
int meta_put(const char *name, uint64_t number);

/* -- id.c: archive ids ------------------------------------------------------------------------- */

/* Begin above this one, and above what was given out before. */
void id_begin(uint64_t last);
/* The next id; now in milliseconds since 1970. */
uint64_t id_next(uint64_t now);
uint64_t id_last(void);
/* The first id of a millisecond since 1970, and the millisecond of an id. */
uint64_t id_floor(uint64_t time);
uint64_t id_time(uint64_t id);
/* An id for a message that is brought, by its stamp; number: which of them. From ID_DIRECT on it has the
 * time of the stamp, and those of earlier ones are below all of these. */
#define ID_DIRECT 1577923200000ull /* 2020-01-02 */
uint64_t id_brought(uint64_t stamp, uint64_t number);

/* -- account.c: addresses and their numbers ---------------------------------------------------- */

#define PEER_HASH_SIZE 16

struct account {
	uint64_t id;   /* 0: nothing of this address is stored under its own account */
	char hash[32]; /* SHA-256 of the bare JID; its first PEER_HASH_SIZE bytes name a peer */
	enum { ACCOUNT_PREFS_UNKNOWN, ACCOUNT_PREFS_NONE, ACCOUNT_PREFS } prefs; /* whether it has some */
	size_t len;
	char jid[];    /* bare */
};

int account_open(void);
void account_close(void);
/* *account is set in any case, and valid until account_trim(). jid: bare. Returns 0, E_NOT_FOUND
 * or an error of the store. */
int account_find(struct slice jid, struct account **account);
/* The same, and gives it a number when it has none. */
int account_make(struct slice jid, struct account **account);
/* Forgets the number of an address: it gets a new one if it comes again. */
int account_remove(struct account *account);
/* Finds or makes the accounts of a message's two sides; one that is elsewhere keeps id 0. Of a message of a
 * room: the room's, and until the next call the hash of the occupant, under which it is found in the table peer. */
int account_sides(const struct frame *f, struct account **from, struct account **to);
void account_trim(void);                                        /* bounds the cache */
void account_gauges(void);
int account_save(void);                                         /* before the commit */
void account_settle(bool committed);

/* -- archive.c: messages and the copies of accounts -------------------------------------------- */

enum direction { DIRECTION_OUT = 1, DIRECTION_IN = 2, DIRECTION_SELF = 3 };

/* Whether a message belongs into archives at all, and not on the spool alone. */
static inline bool
message_is_archived(const struct frame *f)
{
	return !(f->flags & (FLAG_NO_STORE | FLAG_NO_PERMANENT));
}
int message_add(uint64_t id, uint64_t stamp, struct slice frame);
/* Puts another in the place of a message that is there; its bytes are overwritten. */
int message_replace(uint64_t id, uint64_t stamp, struct slice frame);
/* Reads a message; *f points into the store. Returns 0, E_NOT_FOUND, E_MALFORMED or of the
 * store. */
int message_get(uint64_t id, uint64_t *stamp, struct frame *f);
/* The same of a row that was read. */
int message_read(struct slice value, uint64_t *stamp, struct frame *f);
/* How far the stamps of messages are before or after the times of their ids, at most. */
struct skew { uint64_t before, after; };
const struct skew *archive_skew(void);
int archive_open(void);
int archive_save(void); /* before the commit */
void archive_settle(bool committed);
/* Sets *has when an account has a place for a message in a table; copies of index.c are not seen. */
int place_has(enum table table, uint64_t account, uint64_t id, bool *has);
/* Removes a message that neither of two accounts (0: none) has a place for any more. */
int message_release(uint64_t id, uint64_t one, uint64_t other);

/* peer: the other side's account, 0 when it has none here. */
int archive_put(uint64_t account, uint64_t id, enum direction direction, uint64_t peer,
    const char peer_hash[PEER_HASH_SIZE]);
/* Removes an account's copy. Returns 0 also when there is none. */
int archive_remove(uint64_t account, uint64_t id);
/* Removes at most count copies of an account; *more when that was not all. */
int archive_remove_some(uint64_t account, size_t count, bool *more);

/* Removes at most limit of an account's oldest copies: those with lower ids than before, and more until
 * excess bytes are freed. */
int archive_remove_oldest(uint64_t account, uint64_t before, uint64_t excess, size_t limit,
    size_t *removed);
uint64_t archive_first(uint64_t account);           /* its oldest copy in the table, or UINT64_MAX */
int archive_has_row(uint64_t account, uint64_t id); /* in the table: 0 or E_NOT_FOUND */

/* Copies of an account between two ids, which are left out, in or against their order; with one
 * peer when peer_hash is set. Those that are on their way into the table are among them. */
struct range {
	uint64_t account;
	const char *peer_hash;
	uint64_t after, before;
	bool backward;
};
/* Until each() returns false, which must not change the store. */
int archive_walk(const struct range *range, bool (*each)(void *arg, uint64_t id), void *arg);
/* Whether the account has a copy of each of these: 0 or E_NOT_FOUND. */
int archive_has(uint64_t account, const uint64_t *ids, size_t count);
bool ids_have(const struct buf *ids, uint64_t id); /* whether it is among sorted ones */

/* -- index.c: copies on their way into the archive table --------------------------------------- */

int index_open(void);
void index_close(void);
/* The copies of a message that was taken: from and to are its sides. */
void index_add(const struct frame *f, uint64_t id, const struct account *from,
    const struct account *to);
/* Appends the ids of an account's copies that are not in the table and above an id, in their order;
 * with one peer when peer_hash is set. */
void index_find(uint64_t account, const char *peer_hash, uint64_t above, struct buf *ids);
int index_some(void); /* writes a few, in each transaction */
int index_all(void);  /* writes all: before rows are looked up or removed */
/* From now on copies go into the table as soon as a transaction can take them, until index_written():
 * all that were made before are there. */
void index_hurry(void);
bool index_written(void);
size_t index_count(void); /* copies that are not in the table */
void index_settle(bool committed);
void index_gauges(void);

/* -- usage.c: how much archives have ------------------------------------------------------------ */

struct usage {
	uint64_t messages, bytes; /* copies in the table, and of their payloads */
	uint64_t removed;         /* when some were removed by retention.c, milliseconds since 1970; 0: never */
	uint64_t accounts;        /* of a domain: those that have messages */
};

/* Counts copies of an account in or out; id: of one of those that came. */
int usage_add(uint64_t account, uint64_t messages, uint64_t bytes, uint64_t id);
int usage_remove(uint64_t account, uint64_t bytes);
int usage_removed(uint64_t account, uint64_t now); /* notes that some were removed by retention.c */
int usage_resized(uint64_t account, uint64_t before, uint64_t after); /* bytes of one that was replaced */
int usage_forget(uint64_t account);
/* Reads the row of an account, or of a domain by its number. Returns 0, E_NOT_FOUND, or of the store;
 * *jid points into the store. */
int usage_get(uint64_t account, struct usage *usage, struct slice *jid);
struct slice usage_domain(struct slice jid); /* of an account's JID; absent when it is none */
/* Accounts with numbers above one, until each() returns false. */
typedef bool usage_each(void *arg, uint64_t account, const struct usage *usage, struct slice jid);
int usage_walk(uint64_t after, usage_each *each, void *arg);

/* -- retention.c: what is old, or too much ------------------------------------------------------- */

void retention_configure(const struct config *config);
void retention_close(void);
uint64_t retention_interval(void);                      /* milliseconds between the begins of passes */
bool retention_domain(size_t i, struct slice *domain);  /* the i-th that is configured */
void retention_begin(uint64_t now);
bool retention_pending(void);
int retention_step(void);
void retention_gauges(void);

/* -- scrub.c: pages that are free are overwritten ------------------------------------------------ */

void scrub_removed(void);              /* something was: its pages will be free */
void scrub_hurry(void);                /* an account was: now */
uint64_t scrub_when(uint64_t now);     /* ticks when the next step is due; UINT64_MAX: never */
void scrub_step(uint64_t now);         /* between transactions */
void scrub_took(uint64_t now, uint64_t took); /* milliseconds of the last step */
void scrub_gauges(void);

/* -- spool.c: messages that wait for their receivers ------------------------------------------- */

#define DRAIN_MESSAGES 128        /* most messages in the answer to a DRAIN */
#define DRAIN_BYTES    (512 << 10) /* no further message after so many bytes */

/* Whose spool a message waits on: the account's, or that of a domain elsewhere. */
struct slice spool_owner(const struct frame *f);
int spool_open(void);  /* counts what waits */
void spool_close(void);
enum spool_bit {
	SPOOL_ARCHIVED = 1, /* somebody has a copy in the archive */
	SPOOL_REMOTE = 2,   /* the spool is that of a domain elsewhere */
};
/* sender: account id, 0 for none here; bits: of enum spool_bit. */
int spool_add(uint64_t account, uint64_t id, uint64_t sender, unsigned bits);
/* Takes a message off. Returns 0 also when it is not there. */
int spool_remove(uint64_t account, uint64_t id);
/* Removes at most count messages of an account; *more when that was not all. */
int spool_remove_some(uint64_t account, size_t count, bool *more);
/* A copy leaves an archive: the message may go with this row, if there is one. */
int spool_last(uint64_t account, uint64_t id);
uint64_t spool_count(uint64_t account);
uint64_t spool_total(void);
/* Each account for which something waits. */
void spool_each(void (*each)(void *arg, uint64_t account, uint64_t count), void *arg);
/* Each domain elsewhere for which something waits. */
void spool_each_remote(void (*each)(void *arg, uint64_t account), void *arg);
/* The oldest message of a spool. Returns 0 or E_NOT_FOUND. */
int spool_first(uint64_t account, uint64_t *id);
bool spool_has(uint64_t account, uint64_t id);
/* Appends the answer to a DRAIN: STANZA frames and DRAINED. */
int spool_drain(const struct frame *f, struct buf *out);
void spool_settle(bool committed);
void spool_gauges(void);

/* -- forget.c: accounts and rooms that were deleted, piece by piece ---------------------------- */

int forget_open(void);
void forget_close(void);
/* Takes a FORGET, unless that has been done. */
int forget_take(const struct frame *f);
bool forget_pending(void);
/* Removes some rows of one account. */
int forget_step(void);
void forget_settle(bool committed);
void forget_gauges(void);

/* -- prefs.c: what an account wants in its archive (XEP-0441) ---------------------------------- */

struct out;
enum verdict {
	VERDICT_KEEP,
	VERDICT_LEAVE,
	VERDICT_ASK, /* keep it if the other one is in the roster */
	VERDICT_COUNT
};

/* Whether an account has messages from or to this address in its archive. */
int prefs_verdict(struct account *account, struct slice other, enum verdict *verdict);
/* Appends the preferences of an account to payload, or sets them first; *wrong: what is wrong with
 * the request. */
int prefs_show(struct slice jid, struct buf *payload);
int prefs_set(struct slice jid, const struct xmlin_element *element, struct buf *payload,
    enum stanza_error *wrong, const char **text);
int prefs_remove(uint64_t account);
bool prefs_exist(struct account *account);
/* Asks authd whether a copy stays, once more for those whose answer has not come, and takes ROSTER_IS. */
int prefs_ask(const struct account *account, uint64_t id, struct slice other, struct out *out);
int prefs_ask_again(struct out *out);
int prefs_answered(const struct frame *f);
void prefs_gauges(void);

/* -- query.c: what is asked of an archive (XEP-0313, XEP-0059) ---------------------------------- */

#define QUERY_IDS     1000 /* most ids that one may name */
#define QUERY_ID_MAX  1024 /* bytes of a queryid */

/* What was asked for; no message is in two filters' gap: all that are given must hold. */
struct query {
	struct buf with, queryid;     /* the address in canonical form; empty: none */
	bool has_queryid;
	uint64_t start, end;          /* milliseconds since 1970, both included */
	uint64_t after, before;       /* archive ids, both left out */
	struct buf ids;               /* those wanted, sorted; has_ids: no others */
	bool has_ids;
	struct buf needed;            /* ids that must exist, or it is an error */
	bool has_text;                /* words are looked for */
	struct buf text;              /* what FTS5 is asked for them; empty: nothing has such words */
	bool unknown;                 /* one was named that cannot exist */
	uint64_t max;                 /* messages of a page */
	bool paged;                   /* asks for what is before or after a page */
	bool backward, flip;
};

/* Reads <query/>. Returns STANZA_ERROR_NONE, or what is wrong with it; *text: why, or NULL. */
enum stanza_error query_read(const struct xmlin_element *element, struct query *query,
    const char **text);
void query_free(struct query *query);

/* -- page.c: finding the messages that answer a query ------------------------------------------ */

#define PAGE_BYTES (128 << 10) /* no further message after so many */

struct page {
	const struct query *query;
	struct slice jid;     /* whose archive */
	uint64_t account;     /* its number, 0: it has none */
	bool room, sees;      /* it is a room's; its asker may see who an occupant is */
	bool none;            /* nothing fits: it is asked by what the asker may not see */
	char peer_hash[32];   /* with: of the bare address, or in a room that of an occupant */
	bool by_peer;
	uint64_t at;          /* where the search goes on */
	bool begun, done;
	bool more;            /* there are messages behind the page */
	size_t bytes;
	struct buf found;     /* ids, in the order in which they were found */
	/* With words: */
	struct buf expression; /* what FTS5 is asked */
	struct buf hits;      /* ids that it gave, in the order of the search */
	size_t hit;           /* the next of these */
	bool hits_end;        /* there are no more behind them */
	bool wants;           /* needs more of them: page_range() says from where */
};

void page_begin(struct page *page, const struct query *query, struct slice jid, uint64_t account);
/* The same for the archive of a room. */
void page_begin_room(struct page *page, const struct query *query, struct slice jid, uint64_t account,
    bool sees);
/* Goes on with the search; *budget: rows that may be looked at, counted down. Returns 0, E_NOT_FOUND
 * when an id that must exist does not, or an error of the store. */
int page_step(struct page *page, unsigned *budget);
/* The ids between which it goes on. */
struct range page_range(const struct page *page);
void page_free(struct page *page);

/* -- textfile.c: the two files of the index of words, for SQLite ------------------------------- */

#define TEXTFILE_NAME "text.db"

int textfile_open(const char *directory);
int textfile_empty(void);
void textfile_close(void);

/* -- text.c: the index of words ---------------------------------------------------------------- */

/* One call at a time, from any thread. They return 0, E_FULL, E_SYSTEM, or E_MALFORMED when the
 * files are damaged or of another version, after which text_reset() makes an empty one. */
int text_open(void);
int text_reset(void);
void text_close(void);
bool text_is_open(void);
bool text_is_gathering(void); /* there is something that is not committed */
const char *text_reason(void); /* of the last error */
/* Adds a message to rows for text_add() and text_remove(). */
void text_row_add(struct buf *rows, uint64_t id, struct slice party, struct slice words);
/* *count: grows by those that were not there before, or were. more: others follow soon, and are committed with
 * these; should that fail, in any of these calls, all that was not committed is lost. */
int text_add(struct slice rows, uint64_t cursor, bool more, uint64_t *count);
int text_remove(struct slice rows, uint64_t *count);
/* Appends at most limit ids between two, which are left out. */
int text_find(struct slice expression, uint64_t after, uint64_t before, bool backward,
    unsigned limit, struct buf *ids);
/* A piece of a merge after which nothing is left of what was removed; first: begins one. */
int text_purge(bool first, bool *done);
/* Numbers: cursor, what is indexed; target, until where it is being made anew; purge, whether
 * something was removed. 0 when there is none. */
int text_state_get(const char *name, uint64_t *number);
int text_state_put(const char *name, uint64_t number);

/* -- phrase.c: words of messages, and of those who search -------------------------------------- */

#define PHRASE_MAX 512 /* bytes of what is searched for */

/* Appends the word that stands for a bare address; those of both sides of a message; its words. */
void phrase_party(struct slice jid, struct buf *out);
void phrase_parties(const struct frame *f, struct buf *out);
void phrase_words(const struct frame *f, struct buf *out);
/* Makes an expression of FTS5 of what somebody typed, of which nothing is syntax for that. Empty:
 * it has no word. Returns 0, E_TOO_BIG or E_TOO_MANY. */
int phrase_read(struct slice typed, struct buf *expression);

/* -- search.c: the index of words follows the archive, and is asked (XEP-0431) ----------------- */

/* Opens the index; after state_open(), before the sandbox closes. Returns 0, or an error, logged,
 * with which there is no index until the next start. */
int search_open(const char *directory);
void search_close(void);
void search_committed(uint64_t id); /* the last id of what was committed */
/* Whether the index may have a message that goes; then it goes into TABLE_REMOVED, and: */
bool search_may_have(uint64_t id);
void search_removed(void);
bool search_is_whole(void); /* false: it is being made, or there is none */
bool search_reset(void);    /* drops it, and makes it anew; false: there is none */

/* Asks for ids; done() is called, unless search_drop() was, when search_take() can be. */
struct find;
struct find *search_ask(struct slice expression, uint64_t after, uint64_t before, bool backward,
    void (*done)(void *arg), void *arg);
/* Appends what was found, or returns why not. *more: there may be others behind them. */
int search_take(struct find *find, struct buf *ids, bool *more);
void search_drop(struct find **find);

/* When there is something to do, in monotonic milliseconds, UINT64_MAX: never. */
uint64_t search_when(void);
/* One after the other, the second on any thread, if the first returned true. */
bool search_prepare(uint64_t now);
void search_work(void);
void search_finish(uint64_t now);
void search_gauges(void);

/* -- mam.c: requests to archives (XEP-0313) ---------------------------------------------------- */

/* Takes a request; its answer comes from mam_step(), after the commit. */
struct out;
int mam_take(const struct frame *f, struct slice whole, struct out *out);
/* The same of a ROOM_QUERY. */
int mam_take_room(const struct frame *f, struct slice whole, struct out *out);
bool mam_pending(void);
/* Works on the requests under way, a bounded piece of work each, and appends answers. */
int mam_step(struct out *out);
void mam_settle(bool committed);
void mam_router_gone(void); /* who has asked asks again */
void mam_gauges(void);
void mam_close(void);

/* -- batch.c: frames from the router, taken in one transaction --------------------------------- */

#define OUT_BYTES (1 << 20) /* a transaction ends when it has this much to say */

/* What is to be sent after the commit, in this order. */
struct out {
	struct buf frames; /* whole frames */
	struct buf acks;   /* pairs of 64 bits: origin, number */
};

int batch_open(uint64_t now);
void batch_close(void);
/* Keeps a copy of a frame until a transaction with it is committed; false: not for archived. */
bool batch_add(enum frame_type type, struct slice whole);
size_t batch_bytes(void);
/* What waits was asked for by a router that is gone: its DRAINs are not answered. */
void batch_router_gone(void);
/* Takes frames in one transaction and commits it. Returns 0, after which *out is to be sent and
 * emptied, or an error, after which everything is as before and can be tried again. */
int batch_run(uint64_t now, struct out *out);
/* Gives up some messages to domains elsewhere that have waited for too long, in a transaction of its
 * own; *more when that was not all. */
int batch_give_up(uint64_t now, struct out *out, bool *more);
/* Forgets origins from which nothing has come for 30 days. */
int batch_expire(uint64_t now);

/* Stores a message of our own making, within the open transaction. */
int batch_store(struct frame *f);

/* -- refused.c: messages that were refused ---------------------------------------------------------- */

int refused_open(void);
void refused_close(void);
bool refused_has(const struct frame *f);
int refused_add(const struct frame *f);      /* remembers one, with the open transaction */
void refused_begin(void);                    /* a transaction */
void refused_revert(void);                   /* it was aborted: what it has refused may be taken when it comes again */

/* -- bounce.c: messages without a receiver ------------------------------------------------------------ */

/* Nothing of the message is left with that account; its error goes into the archive of its sender. */
int bounce_take(struct account *account, uint64_t id, uint64_t now);

/* -- once.c: messages of other servers that come twice -------------------------------------------- */

/* Notes that a message with an id of its server (its token) is stored; *repeated: it was noted before. */
int once_take(const struct frame *f, uint64_t now, bool *repeated);
/* The same for messages of rooms, with the archive id that each got. Returns 0, E_NOT_FOUND when it was not
 * noted, or an error of the store. */
int once_room_find(const struct frame *f, uint64_t *id);
int once_room_add(const struct frame *f, uint64_t id);
/* The id of the first message with a higher number than a HISTORY; UINT64_MAX: none was stored yet. */
int once_room_after(const struct frame *f, uint64_t *id);
/* Forgets some of what is old. */
int once_expire(uint64_t now, bool *more);
int once_room_expire(uint64_t now, bool *more);

/* -- room.c: messages into the archives of rooms --------------------------------------------------- */

/* Whether a frame is a message of a room as mucd sends them, for its archive. */
bool room_is_message(const struct frame *f);
/* Whether it is a stanza of a room for somebody elsewhere, and for no archive. */
bool room_is_said(const struct frame *f);
/* Stores one; *id is the one that it got the first time when it is *repeated, 0 when it is for no archive. */
int room_store(const struct frame *f, uint64_t now, uint64_t *id, bool *repeated);
/* The number of a room's archive, 0: it has none. */
int room_account(struct slice jid, uint64_t *account);
/* Appends the children of a message but for what tells of addresses (muc#user): a client may have put it there. */
void room_payload(struct slice payload, struct buf *out);
/* Appends the <x/> that tells who has sent a message, when that is known. */
void room_sender(const struct frame *message, struct buf *out);

/* -- history.c: the last messages of a room (XEP-0045 section 7.2.13) -------------------------------- */

#define HISTORY_MESSAGES 1000        /* most messages of an answer */
#define HISTORY_BYTES    (512 << 10) /* of them */
#define HISTORY_ROWS     4000        /* looked at for one answer */

/* Appends the answer to a HISTORY: STANZA frames and HISTORY_END. */
int history_answer(const struct frame *f, struct buf *out);

/* -- elsewhere.c: what a room says to occupants at other domains --------------------------------------- */

/* Puts a stanza on the spools of the domains of receivers, full JIDs, a line each. room_id: its id in the archive of
 * the room, 0: none. A domain of which the spool is full is left out, and the room hears of it. */
int elsewhere_store(const struct frame *said, struct slice receivers, uint64_t room_id);
/* Calls each() for a frame of a spool, or with each of the receivers of what a room said, until it fails. */
int elsewhere_each(const struct frame *row, int (*each)(void *arg, const struct frame *f), void *arg);

/* -- redact.c: messages of rooms that were taken back (XEP-0424, XEP-0425) ----------------------------- */

int redact_take(const struct frame *f);
bool redact_scrub(void); /* something was, since the last call: free pages are to be overwritten */

/* -- undeliverable.c: messages to domains elsewhere that never arrive --------------------------- */

/* How long they wait: for all, and for some peers. */
void undeliverable_configure(const struct config *config);
void undeliverable_close(void);
/* Tells the sender of a stanza that is not a message, if it is there, that it does not arrive. */
int undeliverable_tell(const struct frame *f, enum stanza_error condition, struct slice text, uint64_t now,
    struct buf *out);
/* UNDELIVERABLE of s2sd. */
int undeliverable_take(const struct frame *f, uint64_t now, struct buf *out);
/* Gives up some of what has waited for too long; *more when that was not all. */
int undeliverable_expire(uint64_t now, struct buf *out, bool *more);
/* Appends REMOTE_WAITING frames: the domains for which something waits. */
int undeliverable_domains(struct buf *out);

/* -- notify.c: what is worth a notification (XEP-0357) ------------------------------------------ */

/* Answers PUSH. */
int notify_answer(const struct frame *f, struct buf *out);
/* Whether a client should be woken for this message. body: gets its text, at most NOTIFY_TEXT bytes. */
#define NOTIFY_TEXT 512
bool notify_is_due(const struct frame *message, struct buf *body);

/* -- command.c: what administrators can ask ---------------------------------------------------- */

extern const struct command archived_commands[];

/* -- transfer.c: messages for aldisctl, out and in (XEP-0227) ---------------------------------- */

extern const struct command archived_transfers[];

#endif
