/*
 * dialback.h: server dialback (XEP-0220), what of it needs no stream: reading and writing its
 * elements, and the keys (XEP-0185). No input or output.
 *
 * The words are those of XEP-0220: the sender domain says that it is who it is, the target domain
 * wants to know. Whether an element answers a question that was asked on its stream is the caller's
 * matter, and must be asked (XEP-0220 section 3.1).
 */
#ifndef ALDIS_DIALBACK_H
#define ALDIS_DIALBACK_H

#include "buf.h"
#include "jid.h"
#include "stanza.h"
#include "xml.h"

#define DIALBACK_KEY     65u  /* bytes of a key of ours, NUL included: a SHA-256 in hexadecimal */
#define DIALBACK_KEY_MAX 512u /* bytes of a key of others */
#define DIALBACK_ID_MAX  256u /* bytes of a stream id */

enum dialback_kind { DIALBACK_RESULT, DIALBACK_VERIFY };
enum dialback_type { DIALBACK_REQUEST, DIALBACK_VALID, DIALBACK_INVALID, DIALBACK_ERROR };

/* One <db:result/> or <db:verify/>. from and to are canonical domains. */
struct dialback {
	enum dialback_kind kind;
	enum dialback_type type;
	struct slice from, to;
	struct slice id;              /* of a verify: the stream id; otherwise absent */
	struct slice key;             /* of a request: without the white space around it; otherwise absent */
	enum stanza_error condition;  /* of an error */
	char domains[2 * (JID_PART_MAX + 1)]; /* where from and to are */
};

/* Whether an element of a stream is one of dialback. */
bool dialback_is(const struct xml_element *element);

/*
 * Reads one. id and key point into *element. *condition is the stream error condition that names what is
 * wrong, otherwise. Returns 0, E_MALFORMED, E_TOO_BIG ("improper-addressing" for from and to that are
 * absent or not domains, "bad-format", "policy-violation"). An error without a condition that is known
 * is one of undefined-condition.
 */
int dialback_read(const struct xml_element *element, struct dialback *dialback, const char **condition);

/* Appends one as XML of a stream that has declared the prefix db. */
void dialback_write(const struct dialback *dialback, struct buf *out);

/* What answers a request: from and to change places. key and id as it is; points into *request. */
void dialback_answer(const struct dialback *request, enum dialback_type type, enum stanza_error condition,
    struct dialback *answer);

/* -- keys (XEP-0185) ----------------------------------------------------------------------------- */

/*
 * The key operation: HMAC-SHA256 of a text with a key that only its owner has (authd), in lower-case
 * hexadecimal; see dialback_mac(). Returns 0 or an error, which is passed on.
 */
typedef int dialback_sign(void *arg, struct slice text, char key[DIALBACK_KEY]);

/* Makes the key of a stream. target, sender: canonical domains. Returns 0, E_MALFORMED for what would not
 * be unique as a text (an empty part, a space in a domain), or what sign returned. */
int dialback_key(struct slice target, struct slice sender, struct slice id, dialback_sign *sign, void *arg,
    char key[DIALBACK_KEY]);
/* Whether a request to verify has the key that we made; for a `from` that is the target domain and a `to`
 * that is the sender domain. Takes as long whatever the key is. Returns 0, E_MISMATCH, or an error. */
int dialback_verify(const struct dialback *request, dialback_sign *sign, void *arg);

/* The key operation itself, for who has the secret: keyed with the hexadecimal SHA-256 of it. Returns 0 or
 * E_SYSTEM. */
int dialback_mac(struct slice secret, struct slice text, char key[DIALBACK_KEY]);

#endif
