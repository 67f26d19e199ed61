/*
 * callback.c: server dialback (XEP-0220) on streams. Its words are: a sender shows a key on a stream to a
 * target, which asks the sender's own server whether the key is good.
 *
 * As the sender: key_prove() for an outgoing stream; as the sender's own server: what is asked of us on an
 * incoming stream. Both have authd use the secret (XEP-0185), on a thread of the pool. As the target: a
 * question, for which outgoing.c opens a stream. What a stream may have under way is bounded.
 */
#include "s2sd.h"

#include <stdlib.h>

#include "counter.h"
#include "error.h"
#include "log.h"
#include "mem.h"

static size_t under_way;

void
callback_gauges(void)
{
	GAUGE(dialbacks, under_way);
}

/* -- base64 ------------------------------------------------------------------------------------- */

void
base64_add(struct buf *out, struct slice bytes)
{
	gnutls_datum_t in = { (unsigned char *)(uintptr_t)bytes.ptr, (unsigned)bytes.len }, text;

	if (bytes.len == 0 || gnutls_base64_encode2(&in, &text) != 0)
		return;
	buf_add(out, text.data, text.size);
	gnutls_free(text.data);
}

int
base64_read(struct slice text, struct buf *out)
{
	gnutls_datum_t in = { (unsigned char *)(uintptr_t)text.ptr, (unsigned)text.len }, bytes;

	if (text.len == 0)
		return OK;
	if (gnutls_base64_decode2(&in, &bytes) != 0)
		return E_MALFORMED;
	buf_add(out, bytes.data, bytes.size);
	gnutls_free(bytes.data);
	return OK;
}

/* -- keys of our own ---------------------------------------------------------------------------- */

/* A key that is made or checked on a thread of the pool. */
struct key_job {
	LIST_ENTRY(key_job) of_stream;
	uv_work_t work;
	struct stream *stream;   /* NULL: it has ended */
	struct dialback request; /* with its own copies of id and key */
	char *id, *key;
	char made[DIALBACK_KEY];
	int error;
};

/* The key operation, in a thread. */
static int
sign(void *arg, struct slice text, char key[DIALBACK_KEY])
{
	gnutls_datum_t data = { (unsigned char *)(uintptr_t)text.ptr, (unsigned)text.len };
	gnutls_datum_t result = { NULL, 0 };
	int error = key_secret("", "dialback", &data, &result);

	(void)arg;
	if (error == OK && result.size == DIALBACK_KEY - 1) {
		memcpy(key, result.data, result.size);
		key[result.size] = '\0';
	} else if (error == OK) {
		error = E_MALFORMED;
	}
	gnutls_free(result.data);
	return error;
}

static void
job_run(uv_work_t *work)
{
	struct key_job *job = work->data;
	const struct dialback *d = &job->request;

	job->error = d->kind == DIALBACK_VERIFY ? dialback_verify(d, sign, NULL)
	    : dialback_key(d->to, d->from, slice_string(job->id), sign, NULL, job->made);
}

static void
job_done(uv_work_t *work, int status)
{
	struct key_job *job = work->data;
	struct dialback answer = job->request;
	struct stream *s = job->stream;

	if (s != NULL) {
		LIST_REMOVE(job, of_stream);
		stream_ease(s);
		if (status != 0 || (job->error != OK && job->error != E_MISMATCH)) {
			stream_error(s, "internal-server-error", "the key could not be made");
		} else if (job->request.kind == DIALBACK_VERIFY) {
			dialback_answer(&job->request, job->error == OK ? DIALBACK_VALID : DIALBACK_INVALID,
			    STANZA_ERROR_NONE, &answer);
			dialback_write(&answer, stream_out(s));
		} else {
			answer.key = slice_string(job->made);
			dialback_write(&answer, stream_out(s));
		}
	}
	under_way--;
	free(job->id);
	free(job->key);
	free(job);
	daemon_dirty();
}

/* Begins a job; nothing more is read of the stream until it is done. What came along with it may begin others. */
static void
job_begin(struct stream *s, const struct dialback *request, struct slice id)
{
	struct key_job *job = mem_alloc(sizeof *job);
	struct dialback *d = &job->request;

	job->work.data = job;
	job->stream = s;
	*d = *request;
	memcpy(d->domains, request->from.ptr, request->from.len);
	d->from = slice_of(d->domains, request->from.len);
	memcpy(d->domains + request->from.len, request->to.ptr, request->to.len);
	d->to = slice_of(d->domains + request->from.len, request->to.len);
	job->id = slice_dup(id);
	job->key = slice_dup(request->key);
	d->id = request->id.ptr != NULL ? slice_string(job->id) : SLICE_NONE;
	d->key = slice_string(job->key);
	LIST_INSERT_HEAD(&s->jobs, job, of_stream);
	under_way++;
	transport_block(&s->net, true);
	uv_queue_work(daemon_loop(), &job->work, job_run, job_done);
}

void
key_prove(struct stream *s, struct slice local, struct slice remote)
{
	struct dialback d = { .kind = DIALBACK_RESULT, .type = DIALBACK_REQUEST, .from = local,
		.to = remote };

	job_begin(s, &d, slice_string(s->id));
}

/* -- questions about keys of others ------------------------------------------------------------- */

void
question_write(const struct question *question, struct buf *out)
{
	struct dialback d = {
		.kind = DIALBACK_VERIFY, .type = DIALBACK_REQUEST,
		.from = slice_string(question->local), .to = slice_string(question->remote),
		.id = slice_string(question->id), .key = slice_string(question->key),
	};

	dialback_write(&d, out);
}

#define QUIET_TIME 60000u /* milliseconds without one after which the first is told again */

/* Counts a refusal, and tells the 1st, 2nd, 4th, 8th and so on: a flood must not fill the log. */
static void
refused(struct stream *s, struct slice domain, struct slice to, const char *reason)
{
	static uint64_t last;
	static unsigned count;

	COUNT(streams_refused);
	if (daemon_ticks() - last >= QUIET_TIME)
		count = 0;
	last = daemon_ticks();
	count++;
	if ((count & (count - 1)) == 0)
		log_info("dialback refused", "domain=%s to=%s address=%s reason=%s refused=%u", log_quote(domain),
		    log_quote(to), address_text(s->net.address), reason, count);
}

/* Tells the other server what became of its <db:result/>. */
static void
answer(struct stream *s, const struct question *q, enum dialback_type type, enum stanza_error error)
{
	struct dialback d = {
		.kind = DIALBACK_RESULT, .type = type, .condition = error,
		.from = slice_string(q->local), .to = slice_string(q->remote),
	};
	struct domain *domain = domain_find(slice_string(q->local));

	if (!stream_is_open(s))
		return;
	if (type == DIALBACK_VALID && (domain == NULL ||
	    !stream_prove(s, remote_get(slice_string(q->remote)), domain))) {
		d.type = DIALBACK_ERROR;
		d.condition = domain == NULL ? STANZA_ERROR_ITEM_NOT_FOUND : STANZA_ERROR_RESOURCE_CONSTRAINT;
	}
	dialback_write(&d, stream_out(s));
	incoming_called_back(s, d.type == DIALBACK_VALID,
	    d.type == DIALBACK_ERROR ? stanza_error_text(d.condition) : "");
	if (d.type != DIALBACK_VALID) {
		refused(s, slice_string(q->remote), slice_string(q->local),
		    d.type == DIALBACK_ERROR ? stanza_error_text(d.condition) : "invalid");
		return;
	}
	log_info("stream authenticated", "domain=%s to=%s address=%s mechanism=dialback", q->remote,
	    q->local, address_text(s->net.address));
	if (s->state == STREAM_NEGOTIATE)
		stream_ready(s);
}

static void
question_free(struct question *q)
{
	under_way--;
	free(q->local);
	free(q->remote);
	free(q->id);
	free(q->key);
	free(q);
}

void
question_answered(struct question *q, enum dialback_type type, enum stanza_error error)
{
	if (q->stream != NULL) {
		LIST_REMOVE(q, of_stream);
		answer(q->stream, q, type, error);
	}
	question_free(q);
}

/* Whether a stream has as much under way as it may. */
static bool
is_busy(const struct stream *s)
{
	const struct question *q;
	const struct key_job *job;
	size_t count = 0;

	LIST_FOREACH(q, &s->questions, of_stream)
		count++;
	LIST_FOREACH(job, &s->jobs, of_stream)
		count++;
	return count >= CALLBACKS_MAX;
}

static void
ask(struct stream *s, const struct dialback *d)
{
	struct question *q;

	LIST_FOREACH(q, &s->questions, of_stream) {
		if (slice_is(d->from, q->remote) && slice_is(d->to, q->local)) {
			stream_error(s, "policy-violation", "the same dialback twice");
			return;
		}
	}
	q = mem_alloc(sizeof *q);
	q->stream = s;
	q->local = slice_dup(d->to);
	q->remote = slice_dup(d->from);
	q->id = mem_string(s->id);
	q->key = slice_dup(d->key);
	under_way++;
	LIST_INSERT_HEAD(&s->questions, q, of_stream);
	outgoing_ask(q, slice_string(q->local), slice_string(q->remote));
}

/* Why a <db:result/> is not asked about; STANZA_ERROR_NONE: it is. */
static enum stanza_error
refusal(const struct dialback *d)
{
	const struct policy *policy = policy_of(d->from);

	if (domain_find(d->to) == NULL)
		return STANZA_ERROR_ITEM_NOT_FOUND;
	if (domain_is_here(d->from))
		return STANZA_ERROR_NOT_ALLOWED; /* one of ours */
	return policy->refuse || !policy->dialback ? STANZA_ERROR_POLICY_VIOLATION : STANZA_ERROR_NONE;
}

void
callback_element(struct stream *s, const struct xml_element *element)
{
	enum stanza_error error;
	const char *condition;
	struct dialback d, reply;

	if (dialback_read(element, &d, &condition) != OK) {
		stream_error(s, condition, NULL);
		return;
	}
	if (d.type != DIALBACK_REQUEST) {
		stream_error(s, "invalid-from", "a result of dialback that nobody asked for");
		return;
	}
	if (is_busy(s)) {
		stream_error(s, "policy-violation", "too much dialback");
		return;
	}
	if (d.kind == DIALBACK_VERIFY && domain_find(d.to) != NULL) {
		job_begin(s, &d, d.id);
		return;
	}
	error = d.kind == DIALBACK_VERIFY ? STANZA_ERROR_ITEM_NOT_FOUND : refusal(&d);
	if (error == STANZA_ERROR_NONE) {
		ask(s, &d);
		return;
	}
	refused(s, d.from, d.to, stanza_error_text(error));
	dialback_answer(&d, DIALBACK_ERROR, error, &reply);
	dialback_write(&reply, stream_out(s));
}

void
callback_lost(struct stream *s)
{
	struct key_job *job;
	struct question *q;

	while ((job = LIST_FIRST(&s->jobs)) != NULL) {
		LIST_REMOVE(job, of_stream);
		job->stream = NULL;
	}
	while ((q = LIST_FIRST(&s->questions)) != NULL) {
		LIST_REMOVE(q, of_stream);
		q->stream = NULL;
		outgoing_cancel(&q->outgoing);
		question_free(q);
	}
}
