/*
 * outgoing.c: streams that we open to other servers.
 */
#include "s2sd.h"

#include "ns.h"

static void
on_header(struct stream *s, const struct xml_header *h)
{
	(void)s;
	(void)h;
}

static void
on_element(struct stream *s, const struct xml_element *element)
{
	(void)element;
	stream_error(s, "not-authorized", NULL);
}

static void
on_lost(struct stream *s, const char *why)
{
	(void)s;
	(void)why;
}

const struct stream_role outgoing_role = {
	.ns = NS_SERVER,
	.header = on_header,
	.element = on_element,
	.lost = on_lost,
};

void
outgoing_begin(struct path *path)
{
	path_failed(path, STANZA_ERROR_REMOTE_SERVER_NOT_FOUND, true, "not yet");
}

void
outgoing_cancel(struct path *path)
{
	path->outgoing = NULL;
}
