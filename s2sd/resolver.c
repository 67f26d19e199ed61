/*
 * resolver.c: libunbound: its settings, its files, its thread. Called by main.c once, before the
 * lock-down. Fails, with the reason logged, on files and addresses that are not what they should be.
 *
 * libunbound would read a file with trust anchors at its first question, when no file can be opened
 * any more; so the file is read here and given to it record by record.
 */
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unbound.h>
#include <unistd.h>

#include "buf.h"
#include "error.h"
#include "log.h"
#include "mem.h"
#include "resolve.h"
#include "resolve_private.h"

#define ANCHORS_MAX (256u << 10) /* bytes of a file */

static int
failed(const char *what, int code)
{
	log_error("resolver failed", "what=%s reason=\"%s\"", what, ub_strerror(code));
	return code == UB_SYNTAX ? E_MALFORMED : code == UB_READFILE ? E_NOT_FOUND : E_SYSTEM;
}

/* -- trust anchors ------------------------------------------------------------------------------- */

static int
file_read(const char *path, struct buf *out)
{
	FILE *file = fopen(path, "re");
	size_t n;

	if (file == NULL)
		return E_NOT_FOUND;
	do {
		n = fread(buf_reserve(out, 4096), 1, 4096, file);
		buf_added(out, n);
	} while (n > 0 && buf_len(out) <= ANCHORS_MAX);
	n = (size_t)ferror(file);
	fclose(file);
	return n != 0 ? E_SYSTEM : buf_len(out) > ANCHORS_MAX ? E_TOO_BIG : OK;
}

/* Takes the next record off the text of a zone file as one line: without comments, and with what
 * stands in parentheses joined. Returns false at the end. */
static bool
record_next(struct slice *text, struct buf *record)
{
	bool comment = false, quoted = false;
	unsigned depth = 0;

	buf_clear(record);
	while (text->len > 0) {
		char c = text->ptr[0];

		*text = slice_part(*text, 1, text->len);
		if (c == '\n') {
			comment = false;
			if (depth == 0 && buf_len(record) > 0)
				return true;
			c = ' ';
		}
		if (c == '"')
			quoted = !quoted;
		comment = comment || (c == ';' && !quoted);
		if (comment || c == '\r')
			continue;
		if (c == '(')
			depth++;
		if (c == ')' && depth > 0)
			depth--;
		if (c == '(' || c == ')' || c == '\t')
			c = ' ';
		if (c != ' ' || buf_len(record) > 0)
			buf_add_char(record, c);
	}
	return buf_len(record) > 0;
}

/* Gives libunbound the anchors of a file. */
static int
anchors_add(struct ub_ctx *context, const char *path)
{
	struct buf file = { 0 }, record = { 0 };
	struct slice text;
	size_t count = 0;
	int code = file_read(path, &file);

	text = buf_slice(&file);
	while (code == OK && record_next(&text, &record)) {
		if (buf_slice(&record).ptr[0] == '$')
			continue;
		buf_add_char(&record, '\0');
		code = ub_ctx_add_ta(context, buf_slice(&record).ptr) == 0 ? OK : E_SYSTEM;
		count++;
	}
	buf_free(&file);
	buf_free(&record);
	if (code == OK && count == 0)
		code = E_MALFORMED;
	if (code != OK)
		log_error("trust anchor unusable", "file=%s reason=\"%s\"", path, error_text(code));
	return code;
}

/* -- the resolver -------------------------------------------------------------------------------- */

/* Whom to ask. */
static int
servers_set(struct ub_ctx *context, const struct resolver_options *options)
{
	const char *path = options->resolv_conf != NULL ? options->resolv_conf : "/etc/resolv.conf";
	int code;

	if (options->nameserver != NULL && strcmp(options->nameserver, "none") == 0)
		return OK;
	if (options->nameserver != NULL) {
		code = ub_ctx_set_fwd(context, options->nameserver);
		return code != 0 ? failed("nameserver", code) : OK;
	}
	code = ub_ctx_resolvconf(context, path);
	if (code != 0 && code != UB_READFILE)
		return failed(path, code);
	if (code != 0)
		log_warn("no resolv.conf", "file=%s", path);
	return OK;
}

/* Options of unbound.conf(5). */
static int
options_set(struct ub_ctx *context, const struct resolver_options *options)
{
	static const struct {
		const char *name, *value;
	} rows[] = {
		{ "do-not-query-localhost:", "no" },     /* a forwarder on this machine is common */
		{ "trust-anchor-signaling:", "no" },
		{ "msg-cache-size:", "4m" },
		{ "rrset-cache-size:", "8m" },
		{ "key-cache-size:", "1m" },
		{ "cache-max-ttl:", "86400" },
		{ "cache-max-negative-ttl:", "900" },
	};
	size_t i;
	int code = 0;

	for (i = 0; code == 0 && i < sizeof rows / sizeof rows[0]; i++)
		code = ub_ctx_set_option(context, rows[i].name, rows[i].value);
	if (code == 0 && !options->dnssec)
		code = ub_ctx_set_option(context, "module-config:", "iterator");
	if (code != 0)
		return failed("options", code);
	if (options->hosts != NULL && (code = ub_ctx_hosts(context, options->hosts)) != 0)
		return failed(options->hosts, code);
	if (options->dnssec && options->trust_anchor != NULL)
		return anchors_add(context, options->trust_anchor);
	return OK;
}

/* Has names of closed networks asked for like all others; libunbound would say at once that there are
 * none (RFC 6761). That takes a file like unbound.conf(5), which has no name here. */
static int
zones_open(struct ub_ctx *context)
{
	static const struct slice text = SLICE("server:\n"
	    " local-zone: \"test.\" nodefault\n local-zone: \"home.arpa.\" nodefault\n");
	int fd = memfd_create("unbound.conf", MFD_CLOEXEC), code = UB_READFILE;
	char path[64];

	snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
	if (fd >= 0 && write(fd, text.ptr, text.len) == (ssize_t)text.len)
		code = ub_ctx_config(context, path);
	if (fd >= 0)
		close(fd);
	return code != 0 ? failed("zones", code) : OK;
}

int
resolver_new(uv_loop_t *loop, const struct resolver_options *options, struct resolver **resolver)
{
	struct ub_ctx *context = ub_ctx_create();
	int code;

	if (context == NULL)
		return failed("context", UB_NOMEM);
	ub_ctx_async(context, 1); /* a thread, not a process */
	code = zones_open(context);
	if (code == OK)
		code = options_set(context, options);
	if (code == OK)
		code = servers_set(context, options);
	if (code != OK) {
		ub_ctx_delete(context);
		return code;
	}
	*resolver = mem_alloc(sizeof **resolver);
	(*resolver)->loop = loop;
	(*resolver)->context = context;
	(*resolver)->timeout = options->timeout;
	return OK;
}

static void
on_readable(uv_poll_t *poll, int status, int events)
{
	struct resolver *resolver = poll->data;

	(void)events;
	if (status == 0)
		ub_process(resolver->context);
}

static void
on_started(void *arg, int error, struct ub_result *result)
{
	int *answered = arg;

	*answered = error == 0 ? 1 : -1;
	if (result != NULL)
		ub_resolve_free(result);
}

int
resolver_start(struct resolver *resolver)
{
	int answered = 0, id, code;

	/* The first question makes the thread; libunbound knows this name by itself. */
	code = ub_resolve_async(resolver->context, "localhost", 1, 1, &answered, on_started, &id);
	if (code == 0)
		code = ub_wait(resolver->context);
	if (code != 0 || answered != 1)
		return failed("thread", code != 0 ? code : UB_INITFAIL);
	code = uv_poll_init(resolver->loop, &resolver->poll, ub_fd(resolver->context));
	if (code != 0) {
		log_error("resolver failed", "what=poll reason=\"%s\"", uv_strerror(code));
		return E_SYSTEM;
	}
	resolver->poll.data = resolver;
	uv_poll_start(&resolver->poll, UV_READABLE, on_readable);
	return OK;
}

static void
resolver_delete(struct resolver *resolver)
{
	ub_ctx_delete(resolver->context);
	free(resolver);
}

static void
on_closed(uv_handle_t *handle)
{
	resolver_delete(handle->data);
}

void
resolver_free(struct resolver **resolver)
{
	if ((*resolver)->poll.data != NULL)
		uv_close((uv_handle_t *)&(*resolver)->poll, on_closed);
	else
		resolver_delete(*resolver); /* it was not started */
	*resolver = NULL;
}

size_t
resolver_busy(const struct resolver *resolver)
{
	return resolver->busy;
}
