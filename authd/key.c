/*
 * key.c: the private keys of the domains, used for entry daemons (c2sd, s2sd) over a link of its own
 * for each. Called by main.c. Keys never leave; the daemons get signatures. A key that cannot be read stops the start, a use that
 * is wrong is answered without data.
 *
 * Operations run on the thread pool: an RSA signature takes a millisecond. A key is not changed
 * once it is there, so that threads can use it side by side. A new configuration brings others; those
 * that it leaves out stay for a minute, for handshakes that began with their certificates.
 */
#include <gnutls/abstract.h>
#include <gnutls/gnutls.h>
#include <stdlib.h>
#include <sys/queue.h>

#include "authd.h"
#include "counter.h"
#include "log.h"
#include "map.h"
#include "mem.h"

#define JOBS_MAX 4096        /* that wait for a thread */
#define DATA_MAX (64u << 10) /* bytes to sign */
#define OLD_TIME 60000       /* milliseconds that a key stays when its domain has another one */
#define HANDLES  4           /* of a key in a token, as many as threads: GnuTLS uses each for one
                              * operation at a time, and a token may take long */

/* Sections with a domain for title, which may have a key. */
static const char *const sections[] = { "domain", "component" };
#define SECTIONS (sizeof sections / sizeof sections[0])

struct key {
	TAILQ_ENTRY(key) all;
	char *domain;
	unsigned char id[KEY_ID_SIZE];
	char *pin;           /* of its token, or NULL */
	gnutls_privkey_t handles[HANDLES];
	unsigned handle_count;
	unsigned next;       /* handle */
	unsigned jobs;       /* that use it now */
	bool wanted;         /* the configuration has it */
	uint64_t until;      /* daemon_ticks() at which it goes when it is not */
};
TAILQ_HEAD(keys, key);

struct job {
	uv_work_t request;
	uint64_t link_id;
	uint64_t number;
	struct key *key;
	gnutls_privkey_t handle;
	char *name;
	uint64_t algorithm;
	struct buf data;
	struct buf result;
	int error;
};

/* An entry daemon. Jobs name it by id: it may be gone when they are done. */
struct client {
	uint64_t id;
	enum role role;
	struct link *link;
};

static struct keys keys = TAILQ_HEAD_INITIALIZER(keys);
static struct map *clients; /* by id */
static uv_timer_t ageing;   /* runs while keys are to go */
static uint64_t next_id;
static size_t jobs;

/* -- keys -- */

int
key_identify(gnutls_pubkey_t public, unsigned char id[KEY_ID_SIZE])
{
	size_t len = KEY_ID_SIZE;

	return gnutls_pubkey_get_key_id(public, GNUTLS_KEYID_USE_SHA256, id, &len);
}

/* The same, of a private key. Returns a GnuTLS code. */
static int
private_identify(gnutls_privkey_t key, unsigned char id[KEY_ID_SIZE])
{
	gnutls_pubkey_t public = NULL;
	int code = gnutls_pubkey_init(&public);

	if (code == 0)
		code = gnutls_pubkey_import_privkey(public, key, 0, 0);
	if (code == 0)
		code = key_identify(public, id);
	if (public != NULL)
		gnutls_pubkey_deinit(public);
	return code;
}

/* Reads a PEM private key out of base64. */
static int
key_read(struct slice base64, gnutls_privkey_t *out, unsigned char id[KEY_ID_SIZE])
{
	const gnutls_datum_t in = { (unsigned char *)(uintptr_t)base64.ptr, (unsigned)base64.len };
	gnutls_privkey_t privkey = NULL;
	gnutls_datum_t pem = { NULL, 0 };
	int code = gnutls_base64_decode2(&in, &pem);

	if (code == 0)
		code = gnutls_privkey_init(&privkey);
	if (code == 0)
		code = gnutls_privkey_import_x509_raw(privkey, &pem, GNUTLS_X509_FMT_PEM, NULL, 0);
	if (code == 0)
		code = private_identify(privkey, id);
	if (pem.data != NULL)
		gnutls_memset(pem.data, 0, pem.size);
	gnutls_free(pem.data);
	if (code != 0 && privkey != NULL) {
		gnutls_privkey_deinit(privkey);
		privkey = NULL;
	}
	*out = privkey;
	if (code != 0)
		log_error("key not read", "error=\"%s\"", gnutls_strerror(code));
	return code == 0 ? OK : E_MALFORMED;
}

/* Reads a key that was in a file. Its one handle serves all threads. */
static int
key_load(struct key *key, struct slice base64)
{
	int error = key_read(base64, &key->handles[0], key->id);

	key->handle_count = error == OK;
	return error;
}

/* Takes the PIN out of base64; NULL when there is none. */
static char *
pin_read(struct slice base64)
{
	const gnutls_datum_t in = { (unsigned char *)(uintptr_t)base64.ptr, (unsigned)base64.len };
	gnutls_datum_t text = { NULL, 0 };
	char *pin = NULL;

	if (base64.len == 0 || gnutls_base64_decode2(&in, &text) != 0)
		return NULL;
	pin = slice_dup(slice_of(text.data, text.size));
	gnutls_memset(text.data, 0, text.size);
	gnutls_free(text.data);
	return pin;
}

/* Opens a key in a token, with a handle for each thread. */
static int
key_open(const struct config *config, const char *section, struct key *key, struct slice uri)
{
	char *text = slice_dup(uri);
	int error = token_open(config);

	key->pin = pin_read(config_text(config, section, key->domain, "pin-file"));
	while (error == OK && key->handle_count < HANDLES) {
		error = token_key(text, key->pin,
		    config_text(config, section, key->domain, "certificate"),
		    &key->handles[key->handle_count], key->id);
		key->handle_count += error == OK;
	}
	free(text);
	return error;
}

static void
key_free(struct key *key)
{
	while (key->handle_count > 0)
		gnutls_privkey_deinit(key->handles[--key->handle_count]);
	if (key->pin != NULL)
		gnutls_memset(key->pin, 0, strlen(key->pin));
	free(key->pin);
	free(key->domain);
	free(key);
}

static struct key *
key_find(struct slice domain, struct slice id)
{
	struct key *key;

	TAILQ_FOREACH(key, &keys, all) {
		if (slice_is(domain, key->domain) &&
		    slice_equal(id, slice_of(key->id, sizeof key->id)))
			return key;
	}
	return NULL;
}

/* Reads the key of a domain; *key is NULL when it has none. */
static int
key_new(const struct config *config, const char *section, struct slice domain, struct key **key)
{
	struct key *made = mem_alloc(sizeof *made);
	struct slice text;
	int error;

	*key = NULL;
	made->domain = slice_dup(domain);
	made->wanted = true;
	text = config_text(config, section, made->domain, "key");
	if (text.len == 0) {
		key_free(made);
		return OK;
	}
	error = slice_starts(text, SLICE("pkcs11:")) ? key_open(config, section, made, text) :
	    key_load(made, text);
	if (error) {
		log_error("key not read", "domain=%s", log_quote(domain));
		key_free(made);
		return error;
	}
	*key = made;
	return OK;
}

static void
keys_free(struct keys *list)
{
	struct key *key;

	while ((key = TAILQ_FIRST(list)) != NULL) {
		TAILQ_REMOVE(list, key, all);
		key_free(key);
	}
}

/* Reads all keys of a configuration. */
static int
keys_read(const struct config *config, struct keys *list)
{
	struct slice title;
	struct key *key;
	size_t i, k;
	int error = OK;

	TAILQ_INIT(list);
	for (k = 0; k < SECTIONS; k++) {
		for (i = 0; error == OK && config_title(config, sections[k], i, &title); i++) {
			error = key_new(config, sections[k], title, &key);
			if (error == OK && key != NULL)
				TAILQ_INSERT_TAIL(list, key, all);
		}
	}
	if (error)
		keys_free(list);
	return error;
}

int
key_configure(const struct config *config)
{
	clients = map_new();
	return keys_read(config, &keys);
}

/* Removes keys whose time is over. */
static void
age(uv_timer_t *timer)
{
	struct key *key, *next;
	bool more = false;

	for (key = TAILQ_FIRST(&keys); key != NULL; key = next) {
		next = TAILQ_NEXT(key, all);
		if (key->wanted)
			continue;
		more = true;
		if (key->jobs != 0 || key->until > daemon_ticks())
			continue;
		log_info("key forgotten", "domain=%s", key->domain);
		TAILQ_REMOVE(&keys, key, all);
		key_free(key);
	}
	if (!more)
		uv_timer_stop(timer);
}

void
key_start(uv_loop_t *loop)
{
	uv_timer_init(loop, &ageing);
}

/* Whether a key is in a token. */
static bool
needs_token(const struct config *config)
{
	struct slice title;
	bool token = false;
	size_t i, k;

	for (k = 0; k < SECTIONS; k++) {
		for (i = 0; !token && config_title(config, sections[k], i, &title); i++) {
			char *domain = slice_dup(title);

			token = slice_starts(config_text(config, sections[k], domain, "key"), SLICE("pkcs11:"));
			free(domain);
		}
	}
	return token;
}

int
key_reconfigure(const struct config *config)
{
	struct key *key, *known;
	struct keys fresh;
	int error;

	/* A token is opened before the sandbox is closed. */
	if (needs_token(config))
		return E_UNSUPPORTED;
	error = keys_read(config, &fresh);
	if (error)
		return error;
	TAILQ_FOREACH(key, &keys, all) {
		key->until = key->wanted ? daemon_ticks() + OLD_TIME : key->until;
		key->wanted = false;
	}
	while ((key = TAILQ_FIRST(&fresh)) != NULL) {
		TAILQ_REMOVE(&fresh, key, all);
		known = key_find(slice_string(key->domain), slice_of(key->id, sizeof key->id));
		if (known == NULL) {
			TAILQ_INSERT_TAIL(&keys, key, all);
		} else {
			known->wanted = true;
			key_free(key);
		}
	}
	uv_timer_start(&ageing, age, OLD_TIME / 4, OLD_TIME / 4);
	return OK;
}

void
key_close(void)
{
	keys_free(&keys);
	token_close();
	map_free(&clients);
}

/* -- operations -- */

static int
data_sign(gnutls_privkey_t key, uint64_t algorithm, const gnutls_datum_t *data,
    gnutls_datum_t *result)
{
	/* TLS 1.2 with RSA has hashed and encoded the data already. */
	if (algorithm == GNUTLS_SIGN_RSA_RAW)
		return gnutls_privkey_sign_hash2(key, GNUTLS_SIGN_RSA_RAW, 0, data, result);
	return gnutls_privkey_sign_data2(key, (gnutls_sign_algorithm_t)algorithm, 0, data, result);
}

static int
hash_sign(gnutls_privkey_t key, uint64_t algorithm, const gnutls_datum_t *data,
    gnutls_datum_t *result)
{
	return gnutls_privkey_sign_hash2(key, (gnutls_sign_algorithm_t)algorithm, 0, data, result);
}

static int
data_decrypt(gnutls_privkey_t key, uint64_t algorithm, const gnutls_datum_t *data,
    gnutls_datum_t *result)
{
	(void)algorithm;
	return gnutls_privkey_decrypt_data(key, 0, data, result);
}

static const struct {
	const char *name;
	int (*run)(gnutls_privkey_t key, uint64_t algorithm, const gnutls_datum_t *data,
	    gnutls_datum_t *result);
} operations[] = {
	{ "sign", data_sign },
	{ "sign-hash", hash_sign },
	{ "decrypt", data_decrypt },
};

/* Runs an operation; in any thread. */
static int
key_run(gnutls_privkey_t key, struct slice name, uint64_t algorithm, struct slice data,
    struct buf *result)
{
	const gnutls_datum_t in = { (unsigned char *)(uintptr_t)data.ptr, (unsigned)data.len };
	gnutls_datum_t out = { NULL, 0 };
	size_t i;
	int code = GNUTLS_E_INVALID_REQUEST;

	for (i = 0; i < sizeof operations / sizeof operations[0]; i++) {
		if (slice_is(name, operations[i].name))
			code = operations[i].run(key, algorithm, &in, &out);
	}
	if (code != 0)
		return E_UNSUPPORTED;
	buf_add(result, out.data, out.size);
	gnutls_memset(out.data, 0, out.size);
	gnutls_free(out.data);
	return OK;
}

size_t
key_jobs(void)
{
	return jobs;
}

int
key_use(struct slice domain, struct slice id, struct slice name, uint64_t algorithm,
    struct slice data, struct buf *result)
{
	const struct key *key = key_find(domain, id);

	if (key == NULL)
		return E_NOT_FOUND;
	if (data.ptr == NULL || data.len > DATA_MAX || algorithm > GNUTLS_SIGN_MAX)
		return E_MALFORMED;
	return key_run(key->handles[0], name, algorithm, data, result);
}

/* -- links -- */

static void
answer(struct link *link, uint64_t number, struct slice data, const char *condition)
{
	struct frame f = { .type = FRAME_KEY_RESULT, .number = number };

	f.data = data;
	f.condition = slice_string(condition);
	link_send(link, &f);
}

static void
job_run(uv_work_t *request)
{
	struct job *job = request->data;

	job->error = key_run(job->handle, slice_string(job->name), job->algorithm,
	    buf_slice(&job->data), &job->result);
}

static void
job_done(uv_work_t *request, int status)
{
	struct job *job = request->data;
	struct client *client = map_get(clients, slice_of(&job->link_id, sizeof job->link_id));

	jobs--;
	job->key->jobs--;
	COUNT(signatures);
	if (status != 0 || job->error)
		log_warn("key not used", "domain=%s operation=%s",
		    log_quote(slice_string(job->key->domain)), log_quote(slice_string(job->name)));
	if (client != NULL)
		answer(client->link, job->number,
		    status == 0 && job->error == OK ? buf_slice(&job->result) : SLICE_NONE, NULL);
	if (job->result.bytes != NULL)
		gnutls_memset(job->result.bytes, 0, job->result.room);
	buf_free(&job->data);
	buf_free(&job->result);
	free(job->name);
	free(job);
	daemon_dirty();
}

/* What s2sd asks of a secret: cheap enough for the loop. */
static void
answer_secret(struct link *link, const struct frame *f)
{
	struct buf result = { 0 };
	int error = f->data.len > DATA_MAX ? E_TOO_BIG
	    : secret_use(f, daemon_ticks(), &result);

	if (error)
		log_warn("secret not used", "domain=%s operation=%s reason=\"%s\"", log_quote(f->domain),
		    log_quote(f->name), error_text(error));
	answer(link, f->number, error ? SLICE_NONE : buf_slice(&result), NULL);
	buf_free(&result);
}

/* Gives the key of TLS tickets. */
static void
ticket_answer(struct link *link, uint64_t number)
{
	struct buf data = { .secret = true };
	bool given = ticket_give(daemon_ticks(), &data);

	answer(link, number, given ? buf_slice(&data) : SLICE_NONE, given ? NULL : "not-allowed");
	buf_free(&data);
}

static void
frame_received(void *arg, struct link *link, const struct frame *f, struct slice whole)
{
	struct client *client = arg;
	struct key *key = key_find(f->domain, f->token);
	struct job *job;

	(void)whole;
	if (f->type != FRAME_KEY_USE) {
		link_refuse(link, f->type, "not for this link");
		return;
	}
	if (client->role == ROLE_S2SD && f->archive_id == KEY_SECRET) {
		answer_secret(link, f);
		return;
	}
	if (client->role == ROLE_C2SD && slice_is(f->name, "ticket")) {
		ticket_answer(link, f->number);
		return;
	}
	if (key == NULL) {
		/* Of a configuration that we do not have yet, perhaps: it asks again. */
		log_info("key unknown", "domain=%s", log_quote(f->domain));
		answer(link, f->number, SLICE_NONE, "item-not-found");
		return;
	}
	if (f->data.ptr == NULL || f->data.len > DATA_MAX || f->name.ptr == NULL ||
	    f->archive_id > GNUTLS_SIGN_MAX || jobs >= JOBS_MAX) {
		log_warn("key use refused", "domain=%s operation=%s", log_quote(f->domain),
		    log_quote(f->name));
		answer(link, f->number, SLICE_NONE, "not-allowed");
		return;
	}
	job = mem_alloc(sizeof *job);
	job->request.data = job;
	job->link_id = client->id;
	job->number = f->number;
	job->key = key;
	job->handle = key->handles[key->next++ % key->handle_count];
	job->name = slice_dup(f->name);
	job->algorithm = f->archive_id;
	buf_add_slice(&job->data, f->data);
	jobs++;
	key->jobs++;
	uv_queue_work(daemon_loop(), &job->request, job_run, job_done);
}

static void
link_closed(void *arg, struct link *link)
{
	struct client *client = arg;

	daemon_lost(client->role, link_index(link), link_incarnation(link));
	map_remove(clients, slice_of(&client->id, sizeof client->id));
	free(client);
}

static const struct link_events events = { .frame = frame_received, .closed = link_closed };

void
key_link(uv_loop_t *loop, enum role peer, unsigned index, uint32_t incarnation, int fd)
{
	struct client *client = mem_alloc(sizeof *client);

	client->id = ++next_id;
	client->role = peer;
	client->link = link_new(loop, fd, peer, index, incarnation, &events, client);
	map_put(clients, slice_of(&client->id, sizeof client->id), client);
}
