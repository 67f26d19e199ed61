/*
 * features.c: the <stream:features/> of each phase (RFC 6120 section 4.3.2). Called by stream.c.
 * No input or output; cannot fail.
 */
#include "c2sd.h"

#include <limits.h>

#include <gnutls/crypto.h>

#include "ns.h"
#include "xmlout.h"

static const char plus[] = "-PLUS";

/* Names of XEP-0440 for the channel bindings. */
static const struct {
	enum feature_binding bit;
	const char *name;
} bindings_known[] = {
	{ BINDING_EXPORTER, "tls-exporter" },
	{ BINDING_UNIQUE, "tls-unique" },
	{ BINDING_ENDPOINT, "tls-server-end-point" },
};

bool
features_word(struct slice *list, struct slice *word)
{
	size_t end = 0;

	while (list->len > 0 && *list->ptr == ' ')
		*list = slice_part(*list, 1, list->len);
	while (end < list->len && list->ptr[end] != ' ')
		end++;
	*word = slice_part(*list, 0, end);
	*list = slice_part(*list, end, list->len);
	return end > 0;
}

void
features_starttls(struct buf *out)
{
	buf_add_string(out, "<stream:features><starttls xmlns='" NS_TLS "'><required/></starttls>"
	    "</stream:features>");
}

static bool
is_plus(struct slice mechanism)
{
	size_t len = sizeof plus - 1;

	return mechanism.len > len && memcmp(mechanism.ptr + mechanism.len - len, plus, len) == 0;
}

/* "<mechanism/>" for each that can be used. */
static void
add_mechanisms(struct buf *out, struct slice mechanisms, unsigned bindings)
{
	struct slice word;

	while (features_word(&mechanisms, &word)) {
		if (!is_plus(word) || bindings != 0)
			xml_add_element(out, "mechanism", word);
	}
}

void
features_offered(struct buf *out, struct slice mechanisms, unsigned bindings)
{
	struct slice word;
	size_t i;

	while (features_word(&mechanisms, &word)) {
		if (is_plus(word) && bindings == 0)
			continue;
		buf_add_slice(out, word);
		buf_add_char(out, ' ');
	}
	if (bindings != 0)
		buf_add_char(out, '\n');
	for (i = 0; i < sizeof bindings_known / sizeof *bindings_known; i++) {
		if (bindings & bindings_known[i].bit)
			buf_printf(out, "%s ", bindings_known[i].name);
	}
}

bool
features_fast_fits(struct slice mechanism, unsigned bindings)
{
	static const struct {
		const char *end;
		unsigned bits; /* one of them must be there */
	} ends[] = {
		{ "-EXPR", BINDING_EXPORTER },
		{ "-UNIQ", BINDING_UNIQUE },
		{ "-ENDP", BINDING_ENDPOINT },
		{ "-NONE", UINT_MAX },
	};
	size_t i;

	for (i = 0; i < sizeof ends / sizeof *ends; i++) {
		size_t len = strlen(ends[i].end);

		if (mechanism.len > len &&
		    slice_is(slice_part(mechanism, mechanism.len - len, len), ends[i].end))
			return ends[i].bits == UINT_MAX || (bindings & ends[i].bits) != 0;
	}
	return false;
}

/* XEP-0484, unless there is no mechanism for it. */
static void
add_fast(struct buf *out, const struct feature_login *offer)
{
	struct slice list = offer->fast, word;
	bool any = false;

	while (features_word(&list, &word)) {
		if (!features_fast_fits(word, offer->bindings))
			continue;
		buf_add_string(out, any ? "" : "<fast xmlns='" NS_FAST "'>");
		xml_add_element(out, "mechanism", word);
		any = true;
	}
	buf_add_string(out, any ? "</fast>" : "");
}

/* The tasks that add the keys of a mechanism which is offered (XEP-0480): those of newer hashes. */
static void
add_upgrades(struct buf *out, struct slice mechanisms)
{
	static const char *const names[] = { "SCRAM-SHA-512", "SCRAM-SHA-256" };
	size_t i;

	for (i = 0; i < sizeof names / sizeof *names; i++) {
		struct slice list = mechanisms, word;
		bool there = false;

		while (features_word(&list, &word))
			there |= slice_starts(word, slice_string(names[i]));
		if (there)
			buf_printf(out, "<upgrade xmlns='" NS_UPGRADE "'>UPGR-%s</upgrade>", names[i]);
	}
}

/* XEP-0388, unless there is no mechanism at all. */
static void
add_authentication(struct buf *out, const struct feature_login *offer)
{
	struct buf list = { 0 };

	add_mechanisms(&list, offer->mechanisms, offer->bindings);
	if (buf_len(&list) != 0) {
		buf_add_string(out, "<authentication xmlns='" NS_SASL2 "'>");
		buf_add_slice(out, buf_slice(&list));
		buf_add_string(out, "<inline><bind xmlns='" NS_BIND2 "'><inline>"
		    "<feature var='" NS_CARBONS "'/>");
		if (offer->client_state)
			buf_add_string(out, "<feature var='" NS_CSI "'/>");
		buf_add_string(out, "<feature var='" NS_SM "'/></inline></bind><sm xmlns='" NS_SM "'/>");
		add_fast(out, offer);
		buf_add_string(out, "</inline>");
		add_upgrades(out, offer->mechanisms);
		buf_add_string(out, "</authentication>");
	}
	buf_free(&list);
}

/* XEP-0478. */
static void
add_limits(struct buf *out, const struct feature_limits *limits)
{
	buf_printf(out, "<limits xmlns='" NS_LIMITS "'><max-bytes>%zu</max-bytes>"
	    "<idle-seconds>%llu</idle-seconds></limits>", limits->bytes,
	    (unsigned long long)limits->seconds);
}

/* The beginning of the SHA-256 of a text, in hexadecimal. */
static void
version_make(struct slice text, char version[FEATURES_VERSION + 1])
{
	unsigned char hash[32] = { 0 };
	size_t i;

	gnutls_hash_fast(GNUTLS_DIG_SHA256, text.ptr, text.len, hash);
	for (i = 0; i < FEATURES_VERSION / 2; i++) {
		version[2 * i] = "0123456789abcdef"[hash[i] >> 4];
		version[2 * i + 1] = "0123456789abcdef"[hash[i] & 15];
	}
	version[FEATURES_VERSION] = '\0';
}

void
features_login(struct buf *out, const struct feature_login *offer,
    char version[FEATURES_VERSION + 1])
{
	unsigned bindings = offer->bindings;
	size_t begin = buf_len(out);
	size_t i;

	buf_add_string(out, "<stream:features><mechanisms xmlns='" NS_SASL "'>");
	add_mechanisms(out, offer->mechanisms, bindings);
	buf_add_string(out, "</mechanisms>");
	add_authentication(out, offer);
	if (bindings != 0) {
		buf_add_string(out, "<sasl-channel-binding xmlns='" NS_SASL_CB "'>");
		for (i = 0; i < sizeof bindings_known / sizeof *bindings_known; i++) {
			if (bindings & bindings_known[i].bit)
				buf_printf(out, "<channel-binding type='%s'/>",
				    bindings_known[i].name);
		}
		buf_add_string(out, "</sasl-channel-binding>");
	}
	if (offer->registration)
		buf_add_string(out, "<register xmlns='" NS_REGISTER_FEATURE "'/>"
		    "<register xmlns='" NS_IBR_TOKEN "'/>");
	add_limits(out, &offer->limits);
	version_make(slice_part(buf_slice(out), begin, buf_len(out)), version);
	buf_printf(out, "<config-version xmlns='" NS_IAP "' scheme='opaque' value='%s'/>", version);
	buf_add_string(out, "</stream:features>");
}

void
features_bound(struct buf *out, bool bound, struct slice caps,
    const struct feature_limits *limits, bool client_state)
{
	buf_add_string(out, "<stream:features>");
	if (!bound)
		buf_add_string(out, "<bind xmlns='" NS_BIND "'/>"
		    "<session xmlns='" NS_SESSION "'><optional/></session>");
	buf_add_string(out, "<sm xmlns='" NS_SM "'/><ver xmlns='" NS_ROSTERVER "'/>"
	    "<sub xmlns='" NS_PREAPPROVE "'/>");
	if (client_state)
		buf_add_string(out, "<csi xmlns='" NS_CSI "'/>");
	if (caps.len != 0) {
		buf_add_string(out, "<c xmlns='" NS_CAPS "' hash='sha-1' node='" CAPS_NODE "'");
		xml_add_attribute(out, "ver", caps);
		buf_add_string(out, "/>");
	}
	add_limits(out, limits);
	buf_add_string(out, "</stream:features>");
}
