/*
 * strophe.c: a client made with libstrophe, for test_clients.py.
 *
 * usage: strophe JID PASSWORD PORT CAFILE
 *
 * Logs in, sends presence, writes "online JID", and from then on writes "FROM BODY" for every message and
 * answers it with "echo: BODY". The message "quit" closes the stream and ends it with status 0; anything
 * that goes wrong with status 1.
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strophe.h>
#include <unistd.h>

static int status = 1;

static void
reply(xmpp_conn_t *conn, xmpp_stanza_t *message, const char *body)
{
	xmpp_ctx_t *ctx = xmpp_conn_get_context(conn);
	xmpp_stanza_t *answer = xmpp_stanza_reply(message);
	size_t size = strlen(body) + sizeof "echo: ";
	char *text = malloc(size);

	snprintf(text, size, "echo: %s", body);
	xmpp_message_set_body(answer, text);
	xmpp_send(conn, answer);
	xmpp_stanza_release(answer);
	free(text);
	(void)ctx;
}

static int
on_message(xmpp_conn_t *conn, xmpp_stanza_t *message, void *data)
{
	const char *type = xmpp_stanza_get_type(message);
	char *body = xmpp_message_get_body(message);

	(void)data;
	if (body != NULL && (type == NULL || strcmp(type, "error") != 0)) {
		printf("%s %s\n", xmpp_stanza_get_from(message), body);
		fflush(stdout);
		if (strcmp(body, "quit") == 0) {
			status = 0;
			xmpp_disconnect(conn);
		} else {
			reply(conn, message, body);
		}
	}
	if (body != NULL)
		xmpp_free(xmpp_conn_get_context(conn), body);
	return 1;
}

static void
on_event(xmpp_conn_t *conn, xmpp_conn_event_t event, int error, xmpp_stream_error_t *stream_error,
    void *data)
{
	xmpp_ctx_t *ctx = xmpp_conn_get_context(conn);
	xmpp_stanza_t *presence;

	(void)error;
	(void)stream_error;
	(void)data;
	if (event != XMPP_CONN_CONNECT) {
		xmpp_stop(ctx);
		return;
	}
	xmpp_handler_add(conn, on_message, NULL, "message", NULL, NULL);
	presence = xmpp_presence_new(ctx);
	xmpp_send(conn, presence);
	xmpp_stanza_release(presence);
	printf("online %s secured=%d\n", xmpp_conn_get_bound_jid(conn), xmpp_conn_is_secured(conn));
	fflush(stdout);
}

int
main(int argc, char **argv)
{
	xmpp_ctx_t *ctx;
	xmpp_conn_t *conn;

	if (argc != 5)
		return 2;
	alarm(60); /* not longer than any test */
	xmpp_initialize();
	ctx = xmpp_ctx_new(NULL, xmpp_get_default_logger(XMPP_LEVEL_WARN));
	conn = xmpp_conn_new(ctx);
	xmpp_conn_set_flags(conn, XMPP_CONN_FLAG_MANDATORY_TLS);
	xmpp_conn_set_jid(conn, argv[1]);
	xmpp_conn_set_pass(conn, argv[2]);
	xmpp_conn_set_cafile(conn, argv[4]);
	if (xmpp_connect_client(conn, "127.0.0.1", (unsigned short)strtoul(argv[3], NULL, 10), on_event,
	    NULL) == XMPP_EOK)
		xmpp_run(ctx);
	xmpp_conn_release(conn);
	xmpp_ctx_free(ctx);
	xmpp_shutdown();
	return status;
}
