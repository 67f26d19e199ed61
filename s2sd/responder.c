/*
 * responder.c: requests to OCSP responders, by libcurl on the loop. Called by check.c; libunbound
 * finds the addresses (resolve.c). A request fails, with a reason, whenever there is not a whole answer in time.
 *
 *   RESOLVING --(addresses)--> TRANSFER --(answer, failure)--> done
 *       '---------------(failure, out of time, nobody waits any more)---^
 *
 * libcurl must never ask the C library for an address: that would take a thread and files, which the sandbox
 * has not. It is given the addresses of the one host (CURLOPT_RESOLVE), in a cache that each request has of its own,
 * so that none is used for another. It follows no redirection, speaks http only, and knows no proxy.
 */
#include "responder.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>
#include <sys/queue.h>

#include <curl/curl.h>

#include "buf.h"
#include "error.h"
#include "log.h"
#include "mem.h"
#include "verify.h"

#define ADDRESSES    8u  /* of a responder that are tried */
#define WHY_SIZE     RESOLVE_WHY
#define CONTENT_TYPE "application/ocsp-response"

struct inquiry {
	LIST_ENTRY(inquiry) slot;
	struct ask *ask;
	responder_done *done;
	void *arg;
};

/* A request under way. */
struct ask {
	LIST_ENTRY(ask) slot;
	LIST_HEAD(, inquiry) inquiries;
	char url[OCSP_URL];
	char host[RESPONDER_HOST];
	uint16_t port;
	uv_timer_t timer;
	struct buf request, response;
	size_t header_bytes;
	struct resolve *resolve;
	CURL *easy;
	CURLSH *share;                /* the addresses of this request */
	struct curl_slist *addresses;
	bool ending;                  /* those who wait are being told */
	char why[WHY_SIZE];           /* that we know better than libcurl */
};

/* A socket of libcurl's. */
struct watch {
	uv_poll_t poll;
	curl_socket_t fd;
};

static uv_loop_t *loop;
static struct resolver *resolver;
static CURLM *multi;
static struct curl_slist *headers;    /* of all requests */
static uv_timer_t timer;              /* libcurl's */
static LIST_HEAD(, ask) asks = LIST_HEAD_INITIALIZER(asks);
static size_t ask_count;

/* -- URLs ---------------------------------------------------------------------------------------- */

static bool
is_address(const char *host)
{
	uint8_t bytes[16];

	return inet_pton(AF_INET, host, bytes) == 1 || inet_pton(AF_INET6, host, bytes) == 1;
}

static bool
host_good(const char *host)
{
	size_t len = strlen(host);

	if (is_address(host))
		return true;
	return len > 0 && host[len - 1] != '.' && strspn(host, "abcdefghijklmnopqrstuvwxyz"
	    "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-.") == len;
}

/* Copies a part of a URL. Returns false when there is none, or it is too long. */
static bool
part_read(CURLU *url, CURLUPart part, unsigned flags, char *out, size_t size)
{
	char *text = NULL;
	bool good = curl_url_get(url, part, &text, flags) == CURLUE_OK && strlen(text) < size;

	if (good)
		memcpy(out, text, strlen(text) + 1);
	curl_free(text);
	return good;
}

int
responder_url(const char *text, char host[RESPONDER_HOST], uint16_t *port)
{
	char scheme[8], number[8], zone[RESPONDER_HOST], bracketed[RESPONDER_HOST];
	uint64_t n = 0;
	CURLU *url = curl_url();
	size_t len;
	bool good;

	good = strlen(text) < OCSP_URL &&
	    curl_url_set(url, CURLUPART_URL, text, CURLU_DISALLOW_USER) == CURLUE_OK &&
	    part_read(url, CURLUPART_SCHEME, 0, scheme, sizeof scheme) && strcmp(scheme, "http") == 0 &&
	    !part_read(url, CURLUPART_ZONEID, 0, zone, sizeof zone) &&
	    part_read(url, CURLUPART_HOST, 0, bracketed, sizeof bracketed) &&
	    part_read(url, CURLUPART_PORT, CURLU_DEFAULT_PORT, number, sizeof number) &&
	    slice_number(slice_string(number), UINT16_MAX, &n) == OK && n != 0;
	curl_url_cleanup(url);
	if (!good)
		return E_MALFORMED;
	len = strlen(bracketed);
	if (len > 2 && bracketed[0] == '[' && bracketed[len - 1] == ']') {
		memcpy(host, bracketed + 1, len - 2);
		host[len - 2] = '\0';
	} else {
		memcpy(host, bracketed, len + 1);
	}
	*port = (uint16_t)n;
	return host_good(host) ? OK : E_MALFORMED;
}

/* -- the end of a request ------------------------------------------------------------------------ */

static void
ask_closed(uv_handle_t *handle)
{
	struct ask *a = handle->data;

	buf_free(&a->request);
	buf_free(&a->response);
	free(a);
}

/* Lets go of all that it has. Nobody waits for it any more. */
static void
ask_close(struct ask *a)
{
	if (a->resolve != NULL)
		resolve_cancel(&a->resolve);
	if (a->easy != NULL) {
		curl_multi_remove_handle(multi, a->easy);
		curl_easy_cleanup(a->easy);
	}
	if (a->share != NULL)
		curl_share_cleanup(a->share);
	curl_slist_free_all(a->addresses);
	LIST_REMOVE(a, slot);
	ask_count--;
	uv_close((uv_handle_t *)&a->timer, ask_closed);
}

/* Tells those who wait. why: NULL, there is a response. */
static void
ask_end(struct ask *a, const char *why)
{
	struct inquiry *i;

	a->ending = true;
	while ((i = LIST_FIRST(&a->inquiries)) != NULL) {
		LIST_REMOVE(i, slot);
		i->done(i->arg, why == NULL ? buf_slice(&a->response) : SLICE_NONE, why);
		free(i);
	}
	ask_close(a);
}

static void
ask_late(uv_timer_t *t)
{
	ask_end(t->data, "out of time");
}

/* -- what libcurl wants --------------------------------------------------------------------------- */

/* What is wrong with an answer; NULL: nothing. */
static const char *
answer_problem(struct ask *a)
{
	const char *type = NULL;
	long status = 0;

	curl_easy_getinfo(a->easy, CURLINFO_RESPONSE_CODE, &status);
	curl_easy_getinfo(a->easy, CURLINFO_CONTENT_TYPE, &type);
	if (status != 200) {
		snprintf(a->why, sizeof a->why, "HTTP status %ld", status);
		return a->why;
	}
	if (type == NULL || strncasecmp(type, CONTENT_TYPE, strlen(CONTENT_TYPE)) != 0)
		return "the answer is not of OCSP";
	return buf_len(&a->response) == 0 ? "the answer is empty" : NULL;
}

/* Ends the requests that libcurl has done. */
static void
messages_take(void)
{
	CURLMsg *message;
	int left;

	while ((message = curl_multi_info_read(multi, &left)) != NULL) {
		CURLcode code = message->data.result;
		struct ask *a = NULL;

		if (message->msg != CURLMSG_DONE)
			continue;
		curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, &a);
		ask_end(a, code == CURLE_OK ? answer_problem(a)
		    : a->why[0] != '\0' ? a->why : curl_easy_strerror(code));
	}
}

static void
act(curl_socket_t fd, int events)
{
	int running;

	curl_multi_socket_action(multi, fd, events, &running);
	messages_take();
}

static void
on_timer(uv_timer_t *t)
{
	(void)t;
	act(CURL_SOCKET_TIMEOUT, 0);
}

static int
timer_set(CURLM *m, long milliseconds, void *arg)
{
	(void)m;
	(void)arg;
	if (milliseconds < 0)
		uv_timer_stop(&timer);
	else
		uv_timer_start(&timer, on_timer, (uint64_t)milliseconds, 0);
	return 0;
}

static void
on_socket(uv_poll_t *poll, int status, int events)
{
	struct watch *w = poll->data;

	act(w->fd, status < 0 ? CURL_CSELECT_ERR
	    : ((events & UV_READABLE) != 0 ? CURL_CSELECT_IN : 0) |
	    ((events & UV_WRITABLE) != 0 ? CURL_CSELECT_OUT : 0));
}

static void
watch_closed(uv_handle_t *handle)
{
	free(handle->data);
}

static int
socket_watch(CURL *easy, curl_socket_t fd, int what, void *arg, void *socket)
{
	struct watch *w = socket;

	(void)easy;
	(void)arg;
	if (what == CURL_POLL_REMOVE) {
		if (w != NULL) {
			uv_poll_stop(&w->poll);
			uv_close((uv_handle_t *)&w->poll, watch_closed);
			curl_multi_assign(multi, fd, NULL);
		}
		return 0;
	}
	if (w == NULL) {
		w = mem_alloc(sizeof *w);
		w->fd = fd;
		if (uv_poll_init(loop, &w->poll, fd) != 0) {
			free(w);
			return -1;
		}
		w->poll.data = w;
		curl_multi_assign(multi, fd, w);
	}
	uv_poll_start(&w->poll, (what != CURL_POLL_OUT ? UV_READABLE : 0) |
	    (what != CURL_POLL_IN ? UV_WRITABLE : 0), on_socket);
	return 0;
}

static size_t
on_body(char *bytes, size_t size, size_t count, void *arg)
{
	struct ask *a = arg;
	size_t len = size * count;

	if (len > OCSP_MAX - buf_len(&a->response)) {
		snprintf(a->why, sizeof a->why, "the answer is too big");
		return 0;
	}
	buf_add(&a->response, bytes, len);
	return len;
}

/* Headers are bounded as well: of interim answers there may be many. */
static size_t
on_header(char *bytes, size_t size, size_t count, void *arg)
{
	struct ask *a = arg;
	size_t len = size * count;

	(void)bytes;
	if (len > RESPONDER_HEADERS - a->header_bytes) {
		snprintf(a->why, sizeof a->why, "the headers of the answer are too big");
		return 0;
	}
	a->header_bytes += len;
	return len;
}

/* -- the beginning of a request ------------------------------------------------------------------ */

/* Gives libcurl the addresses of a host name; it looks for no others then. */
static bool
addresses_give(struct ask *a, const struct resolution *resolution)
{
	struct buf text = { 0 };
	char address[INET6_ADDRSTRLEN];
	size_t i;

	if (is_address(a->host))
		return true;
	buf_printf(&text, "%s:%u:", a->host, a->port);
	for (i = 0; i < resolution->count && i < ADDRESSES; i++) {
		const struct candidate *c = &resolution->candidates[i];
		bool six = c->address.any.sa_family == AF_INET6;

		uv_ip_name(&c->address.any, address, sizeof address);
		buf_printf(&text, six ? "%s[%s]" : "%s%s", i > 0 ? "," : "", address);
	}
	buf_add_char(&text, '\0');
	a->addresses = curl_slist_append(NULL, buf_slice(&text).ptr);
	buf_free(&text);
	return a->addresses != NULL && (a->share = curl_share_init()) != NULL &&
	    curl_share_setopt(a->share, CURLSHOPT_SHARE, CURL_LOCK_DATA_DNS) == CURLSHE_OK &&
	    curl_easy_setopt(a->easy, CURLOPT_SHARE, a->share) == CURLE_OK &&
	    curl_easy_setopt(a->easy, CURLOPT_RESOLVE, a->addresses) == CURLE_OK;
}

/* Describes the request to libcurl. Returns false when that has no memory, or lacks what we need. */
static bool
transfer_describe(struct ask *a)
{
	CURL *e = a->easy;
	struct slice body = buf_slice(&a->request);

	return curl_easy_setopt(e, CURLOPT_URL, a->url) == CURLE_OK &&
	    curl_easy_setopt(e, CURLOPT_PROTOCOLS_STR, "http") == CURLE_OK &&
	    curl_easy_setopt(e, CURLOPT_FOLLOWLOCATION, 0L) == CURLE_OK &&
	    curl_easy_setopt(e, CURLOPT_PROXY, "") == CURLE_OK &&
	    curl_easy_setopt(e, CURLOPT_NOSIGNAL, 1L) == CURLE_OK &&
	    curl_easy_setopt(e, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1) == CURLE_OK &&
	    curl_easy_setopt(e, CURLOPT_FORBID_REUSE, 1L) == CURLE_OK &&
	    curl_easy_setopt(e, CURLOPT_HTTPHEADER, headers) == CURLE_OK &&
	    curl_easy_setopt(e, CURLOPT_POST, 1L) == CURLE_OK &&
	    curl_easy_setopt(e, CURLOPT_POSTFIELDSIZE, (long)body.len) == CURLE_OK &&
	    curl_easy_setopt(e, CURLOPT_POSTFIELDS, body.ptr) == CURLE_OK &&
	    curl_easy_setopt(e, CURLOPT_WRITEFUNCTION, on_body) == CURLE_OK &&
	    curl_easy_setopt(e, CURLOPT_WRITEDATA, a) == CURLE_OK &&
	    curl_easy_setopt(e, CURLOPT_HEADERFUNCTION, on_header) == CURLE_OK &&
	    curl_easy_setopt(e, CURLOPT_HEADERDATA, a) == CURLE_OK &&
	    curl_easy_setopt(e, CURLOPT_PRIVATE, a) == CURLE_OK;
}

static void
on_resolved(void *arg, struct resolution *resolution)
{
	struct ask *a = arg;
	bool good = resolution->outcome == RESOLVE_OK;

	a->resolve = NULL;
	if (!good) {
		snprintf(a->why, sizeof a->why, "%s", resolution->why);
	} else {
		snprintf(a->why, sizeof a->why, "libcurl cannot do it");
		a->easy = curl_easy_init();
		good = a->easy != NULL && transfer_describe(a) && addresses_give(a, resolution) &&
		    curl_multi_add_handle(multi, a->easy) == CURLM_OK;
	}
	resolution_free(&resolution);
	if (good)
		a->why[0] = '\0';
	else
		ask_end(a, a->why);
}

static int
ask_begin(struct ask *a)
{
	static const struct resolve_events events = { .done = on_resolved };
	struct configured peer = { .host = slice_string(a->host), .port = a->port, .plain = true };

	return resolve_begin(resolver, slice_string(a->host), &peer, 1, &events, a, &a->resolve);
}

static struct ask *
ask_find(const char *url, struct slice request)
{
	struct ask *a;

	LIST_FOREACH(a, &asks, slot) {
		if (!a->ending && strcmp(a->url, url) == 0 && slice_equal(buf_slice(&a->request), request))
			return a;
	}
	return NULL;
}

static int
ask_new(const char *url, struct slice request, struct ask **ask)
{
	struct ask *a;
	int error;

	if (ask_count == RESPONDER_ASKED)
		return E_FULL;
	a = mem_alloc(sizeof *a);
	error = request.len > RESPONDER_REQUEST ? E_MALFORMED : responder_url(url, a->host, &a->port);
	if (error == OK)
		error = ask_begin(a);
	if (error != OK) {
		free(a);
		return error;
	}
	memcpy(a->url, url, strlen(url) + 1);
	buf_add_slice(&a->request, request);
	LIST_INIT(&a->inquiries);
	LIST_INSERT_HEAD(&asks, a, slot);
	ask_count++;
	uv_timer_init(loop, &a->timer);
	a->timer.data = a;
	uv_timer_start(&a->timer, ask_late, RESPONDER_TIME, 0);
	*ask = a;
	return OK;
}

int
responder_ask(const char *url, struct slice request, responder_done *done, void *arg,
    struct inquiry **inquiry)
{
	struct ask *a = ask_find(url, request);
	struct inquiry *i;
	int error = a != NULL ? OK : ask_new(url, request, &a);

	if (error != OK)
		return error;
	i = mem_alloc(sizeof *i);
	*i = (struct inquiry){ .ask = a, .done = done, .arg = arg };
	LIST_INSERT_HEAD(&a->inquiries, i, slot);
	*inquiry = i;
	return OK;
}

void
responder_cancel(struct inquiry **inquiry)
{
	struct inquiry *i = *inquiry;

	*inquiry = NULL;
	if (i == NULL)
		return;
	LIST_REMOVE(i, slot);
	if (LIST_EMPTY(&i->ask->inquiries) && !i->ask->ending)
		ask_close(i->ask);
	free(i);
}

size_t
responders_busy(void)
{
	return ask_count;
}

/* -- the start ----------------------------------------------------------------------------------- */

int
responders_start(uv_loop_t *l, struct resolver *r)
{
	loop = l;
	resolver = r;
	if (curl_global_init(CURL_GLOBAL_NOTHING) != 0 || (multi = curl_multi_init()) == NULL ||
	    (headers = curl_slist_append(NULL, "Content-Type: application/ocsp-request")) == NULL ||
	    curl_slist_append(headers, "Accept: " CONTENT_TYPE) == NULL ||
	    curl_slist_append(headers, "Expect:") == NULL) {
		log_error("libcurl failed", "reason=\"%s\"", curl_version());
		return E_SYSTEM;
	}
	curl_multi_setopt(multi, CURLMOPT_SOCKETFUNCTION, socket_watch);
	curl_multi_setopt(multi, CURLMOPT_TIMERFUNCTION, timer_set);
	uv_timer_init(loop, &timer);
	return OK;
}

void
responders_stop(void)
{
	curl_multi_cleanup(multi);
	curl_slist_free_all(headers);
	uv_close((uv_handle_t *)&timer, NULL);
	curl_global_cleanup();
}
