/*
 * mam.c: requests to the archive of an account, or of a room (XEP-0313). Called by batch.c, which hands them over in
 * the order in which they came, and by main.c between transactions. Fails when the store does.
 *
 *   (STANZA) -> UNDER WAY -> (steps: a bounded number of rows each) -> answered, acknowledged -> gone
 *                   |  ^
 *                   v  | (search.c has found some)
 *                  WAITING, when words are looked for
 *
 * A request is acknowledged when it was answered: should this process die before, it comes again. It
 * has no watermark, since it may be done twice. So it sees all that was committed before it came, and
 * costs no write. What is read here holds up the next commit, hence the steps.
 *
 * An account's archive is for its own sessions. Others get the same answer whether there is such an
 * account or not. Who may ask a room's, mucd has found out before it sends the ROOM_QUERY.
 */
#include "archived.h"

#include <stdlib.h>
#include <sys/queue.h>

#include "counter.h"
#include "jid.h"
#include "log.h"
#include "mem.h"
#include "ns.h"
#include "xmlout.h"

#define REQUESTS_MAX   1024       /* under way */
#define REQUESTS_BYTES (16u << 20)
#define ACCOUNT_MAX    8          /* of one asker: their answers fit in the queue of a session */
#define STEP_ROWS      2000       /* looked at in a step, of all requests */

struct request {
	TAILQ_ENTRY(request) all;
	struct frame f;    /* points into bytes */
	struct slice jid;  /* bare, whose archive */
	struct slice asker; /* bare */
	bool room;         /* it is that of a room */
	const struct kind *kind;
	struct query query;
	struct page page;
	struct find *find; /* words are looked for, NULL: not now */
	bool waiting;      /* for that */
	bool settled;      /* the transaction with which it came was committed */
	size_t len;
	char bytes[];
};

static TAILQ_HEAD(requests, request) requests = TAILQ_HEAD_INITIALIZER(requests);
static size_t request_count, request_bytes, waiting_count;

/* -- answers -- */

/* Appends an answer: it comes from the account, whether that was named or not, or from the room. */
static int
answer(const struct frame *f, const struct frame *reply, struct out *out)
{
	struct frame copy = *reply;

	copy.from = f->to.ptr != NULL ? f->to : jid_bare_of(f->from);
	copy.to = f->from;
	copy.handle = f->handle;
	return frame_write(&copy, &out->frames);
}

static int
answer_result(const struct frame *f, struct slice payload, struct out *out)
{
	struct frame reply;

	stanza_result(f, payload, &reply);
	return answer(f, &reply, out);
}

static int
answer_error(const struct frame *f, enum stanza_error error, const char *text, struct out *out)
{
	struct buf scratch = { 0 };
	struct frame reply;
	int result = OK;

	if (stanza_error_reply(f, error, slice_string(text), &scratch, &reply))
		result = answer(f, &reply, out);
	buf_free(&scratch);
	return result;
}

/* -- pages -- */

static void
add_id(struct buf *out, const char *name, uint64_t id)
{
	char text[17];

	stanza_archive_id(id, text);
	xml_add_element(out, name, slice_of(text, 16));
}

static void
add_id_attribute(struct buf *out, uint64_t id)
{
	char text[17];

	stanza_archive_id(id, text);
	xml_add_attribute(out, "id", slice_of(text, 16));
}

static void
add_stamp_attribute(struct buf *out, const char *name, uint64_t stamp)
{
	char text[32];

	stanza_stamp(stamp, text);
	xml_add_attribute(out, name, slice_string(text));
}

/* Writes <result/>; without the message when that would not fit (XEP-0313 section 3.2 allows it). */
static void
result_write(const struct request *r, uint64_t id, uint64_t stamp, const struct frame *message,
    struct buf *out)
{
	xml_open(out, "result", SLICE(NS_MAM));
	if (r->query.has_queryid)
		xml_add_attribute(out, "queryid", buf_slice(&r->query.queryid));
	add_id_attribute(out, id);
	buf_add_char(out, '>');
	xml_open(out, "forwarded", SLICE(NS_FORWARD));
	buf_add_char(out, '>');
	xml_open(out, "delay", SLICE(NS_DELAY));
	add_stamp_attribute(out, "stamp", stamp);
	buf_add(out, "/>", 2);
	if (message != NULL)
		stanza_forward(message, out);
	buf_add_string(out, "</forwarded></result>");
}

/* Makes of a message of a room what the asker may see. */
static void
message_show(const struct request *r, struct frame *message, struct buf *scratch)
{
	buf_clear(scratch);
	room_payload(message->payload, scratch);
	if (r->f.flags & FLAG_AVAILABLE)
		room_sender(message, scratch);
	message->payload = buf_slice(scratch);
	message->to = SLICE_NONE;
}

/* Appends one message of a page; one that has gone since it was found is left out. */
static int
result_send(const struct request *r, uint64_t id, struct out *out)
{
	static struct buf payload, shown; /* keep their memory */
	struct frame message, reply = { .type = FRAME_STANZA, .kind = STANZA_MESSAGE,
		.subtype = TYPE_NORMAL, .name = SLICE("result"), .ns = SLICE(NS_MAM) };
	uint64_t stamp;
	int error = message_get(id, &stamp, &message);

	if (error)
		return error == E_NOT_FOUND || error == E_MALFORMED ? OK : error;
	if (r->room)
		message_show(r, &message, &shown);
	buf_clear(&payload);
	result_write(r, id, stamp, &message, &payload);
	reply.payload = buf_slice(&payload);
	error = answer(&r->f, &reply, out);
	if (error == E_TOO_BIG) {
		buf_clear(&payload);
		result_write(r, id, stamp, NULL, &payload);
		reply.payload = buf_slice(&payload);
		error = answer(&r->f, &reply, out);
	}
	buf_trim(&payload, PAGE_BYTES);
	buf_trim(&shown, PAGE_BYTES);
	return error;
}

/* The i-th id of a page in the order of the archive. */
static uint64_t
page_id(const struct page *page, size_t i)
{
	size_t count = buf_len(&page->found) / 8;
	uint64_t id;

	memcpy(&id, buf_slice(&page->found).ptr + 8 * (page->query->backward ? count - 1 - i : i), 8);
	return id;
}

static int
fin_send(const struct request *r, struct out *out)
{
	const struct page *page = &r->page;
	size_t count = buf_len(&page->found) / 8;
	bool whole = !page->more && !r->query.paged; /* then the count costs nothing */
	struct buf fin = { 0 };
	int error;

	xml_open(&fin, "fin", SLICE(NS_MAM));
	if (!page->more)
		buf_add_string(&fin, " complete='true'");
	buf_add_char(&fin, '>');
	xml_open(&fin, "set", SLICE(NS_RSM));
	if (count == 0 && !whole) {
		buf_add(&fin, "/>", 2);
	} else {
		buf_add_char(&fin, '>');
		if (count != 0 && whole)
			buf_add_string(&fin, "<first index='0'>");
		else if (count != 0)
			buf_add_string(&fin, "<first>");
		if (count != 0) {
			char text[17];

			stanza_archive_id(page_id(page, 0), text);
			buf_add_string(&fin, text);
			buf_add_string(&fin, "</first>");
			add_id(&fin, "last", page_id(page, count - 1));
		}
		if (whole)
			buf_printf(&fin, "<count>%zu</count>", count);
		buf_add_string(&fin, "</set>");
	}
	buf_add_string(&fin, "</fin>");
	error = answer_result(&r->f, buf_slice(&fin), out);
	buf_free(&fin);
	return error;
}

static int
page_send(const struct request *r, struct out *out)
{
	size_t count = buf_len(&r->page.found) / 8, i;
	int error = OK;

	for (i = 0; i < count && error == OK; i++)
		error = result_send(r, page_id(&r->page, r->query.flip ? count - 1 - i : i), out);
	return error ? error : fin_send(r, out);
}

/* -- what can be asked -- */

/* Finds the number of an account, 0: it has none, and so no archive yet. */
static int
account_number(struct slice jid, uint64_t *number)
{
	struct account *account;
	int error = account_find(jid, &account);

	*number = error == OK ? account->id : 0;
	return error == E_NOT_FOUND ? OK : error;
}

/* Something was found. */
static void
request_wake(void *arg)
{
	struct request *r = arg;

	r->waiting = false;
	waiting_count--;
}

/* Looks for more words, and waits for what is found. */
static void
request_search(struct request *r)
{
	struct range range = page_range(&r->page);

	r->find = search_ask(buf_slice(&r->page.expression), range.after, range.before,
	    range.backward, request_wake, r);
	r->waiting = true;
	waiting_count++;
}

/* Gives the page what was found. */
static int
request_found(struct request *r)
{
	bool more;
	int error;

	buf_clear(&r->page.hits);
	r->page.hit = 0;
	error = search_take(r->find, &r->page.hits, &more);
	r->page.hits_end = !more;
	search_drop(&r->find);
	return error;
}

/* A page of messages. */
static int
step_query(struct request *r, unsigned *budget, bool *done, struct out *out)
{
	uint64_t account;
	int error = OK;

	if (r->query.has_text && (!search_is_whole() || (r->find != NULL && request_found(r) != OK))) {
		*done = true;
		return answer_error(&r->f, STANZA_ERROR_RESOURCE_CONSTRAINT,
		    "The index of words is being made", out);
	}
	if (r->page.query == NULL) {
		error = account_number(r->jid, &account);
		if (error)
			return error;
		if (r->room)
			page_begin_room(&r->page, &r->query, r->jid, account,
			    r->f.flags & FLAG_AVAILABLE);
		else
			page_begin(&r->page, &r->query, r->jid, account);
	}
	error = page_step(&r->page, budget);
	*done = r->page.done || error == E_NOT_FOUND;
	if (error == OK && r->page.wants && !r->page.done)
		request_search(r);
	if (error == E_NOT_FOUND)
		return answer_error(&r->f, STANZA_ERROR_ITEM_NOT_FOUND, NULL, out);
	return error || !*done ? error : page_send(r, out);
}

/* The fields that a query may have. */
static int
step_form(struct request *r, unsigned *budget, bool *done, struct out *out)
{
	(void)budget;
	*done = true;
	return answer_result(&r->f, SLICE(
	    "<query xmlns='" NS_MAM "'><x xmlns='" NS_DATA "' type='form'>"
	    "<field type='hidden' var='FORM_TYPE'><value>" NS_MAM "</value></field>"
	    "<field type='jid-single' var='with'/>"
	    "<field type='text-single' var='start'/>"
	    "<field type='text-single' var='end'/>"
	    "<field type='text-single' var='before-id'/>"
	    "<field type='text-single' var='after-id'/>"
	    "<field type='list-multi' var='ids'>"
	    "<validate xmlns='" NS_VALIDATE "' datatype='xs:string'><open/></validate></field>"
	    "<field type='boolean' var='include-groupchat'/>"
	    "<field type='text-single' var='{" NS_FULLTEXT "}fulltext'/>"
	    "</x></query>"), out);
}

static bool
take_first(void *arg, uint64_t id)
{
	*(uint64_t *)arg = id;
	return false;
}

/* Writes the first or last message of an archive. */
static int
end_write(uint64_t account, bool backward, struct buf *out)
{
	struct range range = { .account = account, .before = UINT64_MAX, .backward = backward };
	uint64_t id = 0, stamp;
	struct frame f;
	int error = archive_walk(&range, take_first, &id);

	if (error || id == 0)
		return error;
	error = message_get(id, &stamp, &f);
	if (error)
		stamp = id_time(id);
	buf_add_string(out, backward ? "<end" : "<start");
	add_id_attribute(out, id);
	add_stamp_attribute(out, "timestamp", stamp);
	buf_add(out, "/>", 2);
	return error == E_NOT_FOUND || error == E_MALFORMED ? OK : error;
}

/* Where the archive begins and ends. */
static int
step_metadata(struct request *r, unsigned *budget, bool *done, struct out *out)
{
	struct buf ends = { 0 }, payload = { 0 };
	uint64_t account;
	int error = account_number(r->jid, &account);

	(void)budget;
	*done = true;
	if (error == OK && account != 0)
		error = end_write(account, false, &ends);
	if (error == OK && account != 0)
		error = end_write(account, true, &ends);
	xml_open(&payload, "metadata", SLICE(NS_MAM));
	if (buf_len(&ends) != 0) {
		buf_add_char(&payload, '>');
		buf_add_slice(&payload, buf_slice(&ends));
		buf_add_string(&payload, "</metadata>");
	} else {
		buf_add(&payload, "/>", 2);
	}
	if (error == OK)
		error = answer_result(&r->f, buf_slice(&payload), out);
	buf_free(&ends);
	buf_free(&payload);
	return error;
}

static const struct kind {
	const char *name;
	enum stanza_type type;
	int (*step)(struct request *r, unsigned *budget, bool *done, struct out *out);
	bool reads; /* has a query in it */
} kinds[] = {
	{ "query", TYPE_SET, step_query, true },
	{ "query", TYPE_GET, step_form, false },
	{ "metadata", TYPE_GET, step_metadata, false },
};

/* -- requests -- */

static const struct kind *
kind_find(const struct frame *f)
{
	size_t i;

	for (i = 0; i < sizeof kinds / sizeof kinds[0]; i++)
		if (slice_is(f->name, kinds[i].name) && f->subtype == kinds[i].type)
			return &kinds[i];
	return NULL;
}

static void
request_free(struct request *r)
{
	TAILQ_REMOVE(&requests, r, all);
	request_count--;
	request_bytes -= r->len;
	waiting_count -= r->waiting;
	search_drop(&r->find);
	query_free(&r->query);
	page_free(&r->page);
	free(r);
}

/* Reads the one child of a request, and in a query what is asked for. */
static enum stanza_error
request_read(struct request *r, const char **text)
{
	struct xmlin_element child, second;
	struct xmlin in;

	xmlin_begin(&in, r->f.payload, SLICE(NS_CLIENT));
	if (!xmlin_child(&in, &child) || xmlin_child(&in, &second) || in.error != OK ||
	    !slice_equal(child.ns, r->f.ns) || !slice_equal(child.name, r->f.name))
		return STANZA_ERROR_BAD_REQUEST;
	if (!slice_is(r->f.ns, NS_MAM))
		return STANZA_ERROR_SERVICE_UNAVAILABLE;
	r->kind = kind_find(&r->f);
	if (r->kind == NULL)
		return STANZA_ERROR_FEATURE_NOT_IMPLEMENTED;
	return r->kind->reads ? query_read(&child, &r->query, text) : STANZA_ERROR_NONE;
}

/* Whether there is no room for one more request of an asker. */
static bool
is_full(struct slice asker, size_t len)
{
	const struct request *r;
	unsigned own = 0;

	TAILQ_FOREACH(r, &requests, all)
		own += slice_equal(r->asker, asker);
	return own >= ACCOUNT_MAX || request_count >= REQUESTS_MAX ||
	    request_bytes + len > REQUESTS_BYTES;
}

/* Whether a request came again while it is under way. */
static bool
is_under_way(const struct frame *f)
{
	const struct request *r;

	TAILQ_FOREACH(r, &requests, all)
		if (f->seq != 0 && r->f.seq == f->seq && r->f.origin == f->origin)
			return true;
	return false;
}

static void
acknowledge(const struct frame *f, struct out *out)
{
	if (f->seq == 0)
		return;
	buf_add_u64(&out->acks, f->origin);
	buf_add_u64(&out->acks, f->seq);
}

static int
refuse(const struct frame *f, enum stanza_error error, const char *text, struct out *out)
{
	COUNT(queries_refused);
	acknowledge(f, out);
	return answer_error(f, error, text, out);
}

/* Shows or sets preferences, in the transaction with which the request came: it holds for what came
 * after it. */
static int
take_prefs(const struct frame *f, struct out *out)
{
	enum stanza_error wrong = STANZA_ERROR_NONE;
	struct xmlin_element child, second;
	struct slice jid = jid_bare_of(f->from);
	struct buf payload = { 0 };
	const char *text = NULL;
	struct xmlin in;
	int error = OK;

	xmlin_begin(&in, f->payload, SLICE(NS_CLIENT));
	if (!xmlin_child(&in, &child) || xmlin_child(&in, &second) || in.error != OK ||
	    !slice_equal(child.ns, f->ns) || !slice_equal(child.name, f->name))
		wrong = STANZA_ERROR_BAD_REQUEST;
	else if (f->subtype == TYPE_GET)
		error = prefs_show(jid, &payload);
	else
		error = prefs_set(jid, &child, &payload, &wrong, &text);
	if (error == OK && wrong != STANZA_ERROR_NONE) {
		error = refuse(f, wrong, text, out);
	} else if (error == OK) {
		COUNT(queries);
		acknowledge(f, out);
		error = answer_result(f, buf_slice(&payload), out);
	}
	buf_free(&payload);
	return error;
}

/* Makes of a ROOM_QUERY the request that mucd has got. */
static void
request_restore(struct frame *f)
{
	struct xmlin_element child;
	struct xmlin in;

	if (f->type != FRAME_ROOM_QUERY)
		return;
	f->kind = STANZA_IQ;
	f->to = f->jid;
	xmlin_begin(&in, f->payload, SLICE(NS_CLIENT));
	if (xmlin_child(&in, &child)) {
		f->name = child.name;
		f->ns = child.ns;
	}
}

/* Takes a request that may be answered; whole: the frame that it came in. */
static int
request_take(const struct frame *f, struct slice whole, struct out *out)
{
	enum stanza_error error;
	const char *text = NULL;
	struct request *r;

	if (is_full(jid_bare_of(f->from), whole.len))
		return refuse(f, STANZA_ERROR_RESOURCE_CONSTRAINT, "Too much is asked at once", out);
	r = mem_alloc(sizeof *r + whole.len);
	memcpy(r->bytes, whole.ptr, whole.len);
	r->len = whole.len;
	ASSERT(frame_read(slice_of(r->bytes, r->len), &r->f) == OK);
	request_restore(&r->f);
	r->asker = jid_bare_of(r->f.from);
	r->room = r->f.type == FRAME_ROOM_QUERY;
	r->jid = r->room ? r->f.jid : r->asker;
	TAILQ_INSERT_TAIL(&requests, r, all);
	request_count++;
	request_bytes += r->len;
	error = request_read(r, &text);
	if (error == STANZA_ERROR_NONE)
		return OK;
	request_free(r);
	return refuse(f, error, text, out);
}

int
mam_take(const struct frame *f, struct slice whole, struct out *out)
{
	if (is_under_way(f))
		return OK;
	if (f->handle == 0 || (f->to.ptr != NULL && !slice_equal(f->to, jid_bare_of(f->from))))
		return refuse(f, STANZA_ERROR_FORBIDDEN, NULL, out);
	if (slice_is(f->ns, NS_MAM) && slice_is(f->name, "prefs"))
		return take_prefs(f, out);
	return request_take(f, whole, out);
}

/* Rooms have no preferences (XEP-0441): what is not among the kinds is not implemented. */
int
mam_take_room(const struct frame *f, struct slice whole, struct out *out)
{
	struct frame asked = *f;
	struct jid from;

	if ((f->subtype != TYPE_GET && f->subtype != TYPE_SET) || jid_parse(f->from, &from) != OK) {
		daemon_refuse(f, "not a request");
		acknowledge(f, out);
		return OK;
	}
	if (is_under_way(f))
		return OK;
	request_restore(&asked);
	return request_take(&asked, whole, out);
}

bool
mam_pending(void)
{
	return request_count != waiting_count;
}

/* Works on one request. */
static int
request_step(struct request *r, unsigned *budget, struct out *out)
{
	size_t before = buf_len(&out->frames);
	bool done = false;
	int error = r->kind->step(r, budget, &done, out);

	if (error) {
		log_error("request not answered", "from=%s reason=\"%s\"", log_quote(r->f.from),
		    error_text(error));
		buf_truncate(&out->frames, before);
		error = answer_error(&r->f, STANZA_ERROR_INTERNAL_SERVER_ERROR, NULL, out);
		done = true;
	}
	if (done) {
		COUNT(queries);
		acknowledge(&r->f, out);
		request_free(r);
	} else {
		/* The others have their turn. */
		TAILQ_REMOVE(&requests, r, all);
		TAILQ_INSERT_TAIL(&requests, r, all);
	}
	return error;
}

/* The one whose turn it is. */
static struct request *
request_next(void)
{
	struct request *r = TAILQ_FIRST(&requests);

	while (r != NULL && r->waiting)
		r = TAILQ_NEXT(r, all);
	return r;
}

int
mam_step(struct out *out)
{
	unsigned budget = STEP_ROWS;
	struct request *r;
	int error = OK;

	while (error == OK && budget != 0 && buf_len(&out->frames) < OUT_BYTES &&
	    (r = request_next()) != NULL) {
		budget--;
		error = request_step(r, &budget, out);
	}
	store_abort(state.store); /* ends the snapshot that was read */
	return error;
}

void
mam_settle(bool committed)
{
	struct request *r, *next;

	for (r = TAILQ_FIRST(&requests); r != NULL; r = next) {
		next = TAILQ_NEXT(r, all);
		if (committed)
			r->settled = true;
		else if (!r->settled)
			request_free(r);
	}
}

void
mam_router_gone(void)
{
	mam_close();
}

void
mam_close(void)
{
	while (!TAILQ_EMPTY(&requests))
		request_free(TAILQ_FIRST(&requests));
}

void
mam_gauges(void)
{
	GAUGE(queries_under_way, request_count);
}
