/*
 * frame.h: what processes of the suite say to each other.
 *
 * A frame on a link is a fixed head and a run of fields, in the machine's byte order:
 *
 *   u32 length of the whole frame   u8 type   u8 kind   u8 subtype   u8 audience   u32 flags
 *   u32 origin   u64 seq   u64 handle   u64 archive_id   u64 number   u64 stamp
 *   then for each field that is present: u32 (field number << 24 | length), the bytes
 *
 * A struct frame is a view: its slices point into the bytes it was read from. All frames share all
 * fields; frame.def says which of them a frame uses. frame_read() refuses what does not fit this
 * form exactly; whether addresses in it are canonical is checked by who uses them.
 */
#ifndef ALDIS_FRAME_H
#define ALDIS_FRAME_H

#include "buf.h"
#include "role.h"
#include "slice.h"

#define FRAME_MAX  (4u << 20) /* longest frame, in bytes */
#define FRAME_HEAD 56u        /* bytes of the fixed head */

/* Who may send a frame, in frame.def. */
#define BY_ADMIN    ROLE_BIT(ROLE_NONE) /* aldisctl, on the control socket */
#define BY_ROUTER   ROLE_BIT(ROLE_ROUTER)
#define BY_AUTHD    ROLE_BIT(ROLE_AUTHD)
#define BY_ARCHIVED ROLE_BIT(ROLE_ARCHIVED)
#define BY_C2SD     ROLE_BIT(ROLE_C2SD)
#define BY_S2SD     ROLE_BIT(ROLE_S2SD)
#define BY_ENTRY    (BY_C2SD | BY_S2SD)
#define BY_MUCD     ROLE_BIT(ROLE_MUCD)
#define BY_SERVICE  (BY_AUTHD | BY_ARCHIVED | BY_MUCD | ROLE_BIT(ROLE_FORMSD))
#define BY_DAEMON   (BY_ENTRY | BY_SERVICE | ROLE_BIT(ROLE_SNMPD))

/* Among the senders of a frame: a password or a key is in it, and no process keeps its bytes longer
 * than it needs them. In a STANZA FLAG_SECRET says so. */
#define IS_SECRET (1u << 31)

enum frame_type {
	FRAME_NONE = 0,
#define FRAME(name, senders, text) FRAME_##name,
#include "frame.def"
#undef FRAME
	FRAME_COUNT
};

/* Kinds, types, flags and fields of stanzas are also on archived's disk: append only. */
enum stanza_kind { STANZA_NONE, STANZA_MESSAGE, STANZA_PRESENCE, STANZA_IQ, STANZA_KIND_COUNT };

/* The type attribute of a stanza; a presence without one is AVAILABLE, a message without one (or
 * with an unknown one, RFC 6121 section 5.2.2) is NORMAL. */
enum stanza_type {
	TYPE_NONE,
	TYPE_NORMAL, TYPE_CHAT, TYPE_GROUPCHAT, TYPE_HEADLINE,           /* message */
	TYPE_AVAILABLE, TYPE_UNAVAILABLE, TYPE_SUBSCRIBE, TYPE_SUBSCRIBED, /* presence */
	TYPE_UNSUBSCRIBE, TYPE_UNSUBSCRIBED, TYPE_PROBE,
	TYPE_GET, TYPE_SET, TYPE_RESULT,                                 /* iq */
	TYPE_ERROR,                                                      /* all three */
	TYPE_COUNT
};

/* Receivers that the router resolves, of the account in `to` (a bare JID). */
enum audience {
	AUDIENCE_NONE,        /* by handle, numbers or the delivery rules for `to` */
	AUDIENCE_CONNECTED,   /* all its sessions */
	AUDIENCE_INTERESTED,  /* those that asked for the roster */
	AUDIENCE_AVAILABLE,   /* those that sent presence */
	AUDIENCE_SUBSCRIBERS, /* who is subscribed to the presence of `from` */
	AUDIENCE_BLOCKS,      /* those that asked for the block list */
	AUDIENCE_COUNT
};

enum frame_flag {
	/* set where a stanza enters, from its children */
	FLAG_CONTENT    = 1u << 0, /* a message with something that must not be lost: see
	                              message_child.def */
	FLAG_BODY       = 1u << 1, /* has a body */
	FLAG_NO_STORE   = 1u << 2, /* asks not to be stored (XEP-0334) */
	FLAG_ERROR      = 1u << 3, /* has an error child (type='error') */
	/* set by the router or a service */
	FLAG_STORE      = 1u << 4, /* store, then forward */
	FLAG_FROM_LOCAL = 1u << 5, /* the archive of the sender's account gets it */
	FLAG_TO_LOCAL   = 1u << 6, /* the archive and spool of the receiver's account get it */
	FLAG_SPOOL      = 1u << 7, /* comes out of the spool: may be a repetition, carries a delay */
	FLAG_HANDOVER   = 1u << 8,
	/* of other frames, see frame.def */
	FLAG_TLS        = 1u << 9,
	FLAG_AVAILABLE  = 1u << 10,
	FLAG_INTERESTED = 1u << 11,
	FLAG_EXISTS     = 1u << 12,
	FLAG_MORE       = 1u << 13,
	FLAG_BOUNCE     = 1u << 14,
	FLAG_SECRET     = 1u << 15, /* a request with a password in it (XEP-0077, XEP-0050) */
	/* set where a message enters: what carbons ask of it (XEP-0280 section 6.1) */
	FLAG_PRIVATE    = 1u << 16, /* asks for no copies: private, or no-copy (XEP-0334) */
	FLAG_CARBONS    = 1u << 17, /* of a session: it wants copies of messages */
	FLAG_CARBON     = 1u << 18, /* this is a copy for other sessions of an account; number: its archive
	                               id */
	FLAG_NO_PERMANENT = 1u << 19, /* asks not to be archived (XEP-0334); from archived: is not */
	FLAG_INLINE     = 1u << 20, /* a resource that was made for a client's installation (XEP-0386) */
	FLAG_TO_REMOTE  = 1u << 21, /* the spool of the receiver's domain gets it */
	FLAG_IM         = 1u << 22, /* has a receipt, chat state, marker or invitation to a room */
	FLAG_MUC        = 1u << 23, /* is from or to an occupant of a room (muc#user) */
	FLAG_BLOCKS     = 1u << 24, /* of a session: it has asked for the block list (XEP-0191) */
	FLAG_KEEP       = 1u << 25, /* asks to be stored, whatever its type (XEP-0334) */
	/* of a message, by what the accounts want (XEP-0441); on archived's disk as well */
	FLAG_FROM_SKIPS = 1u << 26, /* it is not in the archive of the sender's account */
	FLAG_TO_SKIPS   = 1u << 27, /* nor in that of the receiver's */
	FLAG_INVALIDATE = 1u << 28, /* the token of this log-in ends with it (XEP-0484) */
	FLAG_PUSH       = 1u << 29, /* of an account: it has push services (XEP-0357) */
	FLAG_ROOM       = 1u << 30, /* of a room to its occupants, see "rooms" in frame.def; on archived's
	                               disk as well */
	FLAG_ALL        = (1u << 31) - 1,
	/* what an entry daemon may set in a STANZA */
	FLAG_FROM_ENTRY = FLAG_CONTENT | FLAG_BODY | FLAG_NO_STORE | FLAG_ERROR | FLAG_SECRET |
	    FLAG_PRIVATE | FLAG_IM | FLAG_MUC | FLAG_NO_PERMANENT | FLAG_KEEP,
};

enum frame_field {
#define FIELD(name, unit) FIELD_##name,
#include "frame_field.def"
#undef FIELD
	FIELD_COUNT
};

/* Bytes of the token in a STANZA from s2sd: what the message is named by on its server, so that it is
 * stored once when it comes twice. */
#define ONCE_SIZE 16

/* In KEY_USE, as archive_id: not a key, but a secret of another kind is used (by s2sd). */
#define KEY_SECRET UINT64_MAX

/* In STORED, for an archive id: not stored, the spool of the receiver is full. */
#define STORED_REFUSED UINT64_MAX
/* In STORED, beside a spool account: as FLAG_FROM_SKIPS and FLAG_TO_SKIPS. */
#define STORED_FROM_SKIPS (1ull << 63)
#define STORED_TO_SKIPS   (1ull << 62)
#define STORED_ACCOUNT    (STORED_TO_SKIPS - 1)

struct frame {
	enum frame_type type;
	enum stanza_kind kind;
	enum stanza_type subtype;
	enum audience audience;
	uint32_t flags;
	uint32_t origin;     /* incarnation of who keeps it until it is acknowledged; 0: nobody */
	uint64_t seq;        /* its number there; 0: not in custody */
	uint64_t handle;
	uint64_t archive_id;
	uint64_t number;     /* as the frame says; in a presence: its priority + 128 */
	uint64_t stamp;      /* milliseconds since 1970, when the suite accepted it */
	union {
		struct slice field[FIELD_COUNT]; /* absent: ptr == NULL */
		struct {
#define FIELD(name, unit) struct slice name;
#include "frame_field.def"
#undef FIELD
		};
	};
};

/*
 * Takes the first whole frame off the front of a stream of bytes.
 * *whole points into bytes. Returns 0, E_AGAIN when more bytes are needed, or E_MALFORMED or
 * E_TOO_BIG when the stream can never be understood again.
 */
int frame_next(struct slice bytes, struct slice *whole);

/* Reads one whole frame. Returns 0 or E_MALFORMED; every enum in *f is in range afterwards. */
int frame_read(struct slice whole, struct frame *f);

/* Appends a frame to out. Its length must stay within FRAME_MAX; returns 0 or E_TOO_BIG, and out
 * is as before in that case. */
int frame_write(const struct frame *f, struct buf *out);

const char *frame_text(enum frame_type type);          /* "STANZA" */
uint32_t frame_senders(enum frame_type type);          /* ROLE_BITs, IS_SECRET */
/* Whether bytes are a secret frame or the beginning of one; too few to tell are none. */
bool frame_is_secret(struct slice bytes);

/* Numbers of a `numbers` field, which may be unaligned. */
static inline size_t
frame_count(const struct frame *f)
{
	return f->numbers.len / 8;
}

static inline uint64_t
frame_at(const struct frame *f, size_t i)
{
	uint64_t n;

	memcpy(&n, f->numbers.ptr + 8 * i, 8);
	return n;
}

/* The id with which a stanza is on a spool; 0: it is on none, as what a room says to sessions. */
static inline uint64_t
frame_spooled(const struct frame *f)
{
	return (f->flags & (FLAG_ROOM | FLAG_TO_REMOTE)) == FLAG_ROOM ? 0 : f->archive_id;
}

/* A run of numbers under construction, for `numbers`. */
static inline void
buf_add_u64(struct buf *b, uint64_t n)
{
	buf_add(b, &n, 8);
}

#endif
