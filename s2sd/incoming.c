/*
 * incoming.c: streams that other servers open.
 */
#include "s2sd.h"

#include "ns.h"

static void
on_header(struct stream *s, const struct xml_header *h)
{
	(void)h;
	stream_header(s, SLICE_NONE, SLICE_NONE);
	stream_error(s, "not-authorized", NULL);
}

static void
on_element(struct stream *s, const struct xml_element *element)
{
	(void)element;
	stream_error(s, "not-authorized", NULL);
}

static void
on_secured(struct stream *s)
{
	(void)s;
}

static void
on_lost(struct stream *s, const char *why)
{
	(void)s;
	(void)why;
}

const struct stream_role incoming_role = {
	.ns = NS_SERVER,
	.header = on_header,
	.element = on_element,
	.secured = on_secured,
	.lost = on_lost,
};

void
incoming_new(int fd, struct address *address, bool direct)
{
	struct stream *s = stream_new(STREAM_INCOMING, fd, address, false);

	if (s != NULL)
		s->direct = direct;
}
