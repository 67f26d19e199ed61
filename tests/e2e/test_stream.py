"""Streams: RFC 6120 sections 4 and 5, XEP-0368, RFC 7590."""

import time

import pytest
from OpenSSL import SSL

from raw import NS, Closed, condition, mechanisms, q, text
from suite import SLOW, Suite, wait_until

HOSTS = ["localhost", "example.test"]


def served(suite, domain="localhost"):
    """The next client is served."""
    client = suite.connect()
    client.open(domain)
    client.end()


# -- headers ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("domain", HOSTS)
def test_header_attributes(suite, domain):
    client = suite.connect()
    client.header(domain, xml_lang="de")
    header = client.await_header()
    assert client.root.tag == q("stream", "stream")
    assert header["from"] == domain
    assert header["version"] == "1.0"
    assert len(header["id"]) >= 16
    assert header["xml:lang"]
    assert "to" not in header
    assert b"xmlns='jabber:client'" in client.received
    client.end()


def test_header_to_is_the_from_of_the_client(suite):
    client = suite.connect()
    client.header("localhost", **{"from": "Juliet@localhost"})
    assert client.await_header()["to"] == "juliet@localhost"


def test_stream_ids_are_unique(suite):
    ids = set()
    for _ in range(5):
        client = suite.connect()
        client.open()
        ids.add(client.await_header()["id"])
        client.starttls()
        client.open()
        ids.add(client.await_header()["id"])
        client.end()
    assert len(ids) == 10


def test_domain_in_other_case(suite):
    client = suite.connect()
    client.open("LOCALHOST")
    assert client.await_header()["from"] == "localhost"


def test_header_byte_by_byte(suite):
    client = suite.connect()
    for byte in b"<?xml version='1.0' encoding='utf-8'?><stream:stream to='localhost' version='1.0' " \
                b"xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams'>":
        client.send(bytes([byte]))
    assert client.next().tag == q("stream", "features")


def test_header_without_declaration(suite):
    client = suite.connect()
    client.open(declaration=False)


def test_other_prefix_for_the_stream_namespace(suite):
    """RFC 6120 section 4.8.5 lets a server refuse it, with bad-namespace-prefix."""
    client = suite.connect()
    client.send("<s:stream to='localhost' version='1.0' xmlns='jabber:client' xmlns:s='%s'>" % NS["stream"])
    element = client.next()
    assert element.tag == q("stream", "features") or condition(element) == "bad-namespace-prefix"


def test_higher_version_is_answered_with_ours(suite):
    client = suite.connect()
    client.open(version="1.7")
    assert client.await_header()["version"] == "1.0"


WRONG_HEADERS = {
    "host-unknown": dict(to="nowhere.example"),
    "improper-addressing": dict(to=None),
    "unsupported-version": dict(version=None),
    "unsupported-version 0.9": dict(version="0.9"),
    "unsupported-version nonsense": dict(version="one"),
    "invalid-namespace stream": dict(stream="http://example.org/streams"),
    "invalid-namespace content": dict(ns="jabber:wrong"),
    "invalid-namespace server": dict(ns="jabber:server"),
    "invalid-namespace none": dict(ns=None),
    "invalid-from": {"from": "@@"},
}


@pytest.mark.parametrize("name", WRONG_HEADERS)
def test_wrong_header(suite, name):
    """The error comes after a header of ours, then the stream ends (section 4.9.1.2)."""
    client = suite.connect()
    client.header(**WRONG_HEADERS[name])
    assert client.stream_error() == name.split()[0]
    header = client.await_header()
    assert header["from"] in HOSTS and header["id"] and header["version"] == "1.0"
    served(suite)


def test_host_that_is_no_host(suite):
    client = suite.connect()
    client.header("ex ample")
    assert client.stream_error() in ("host-unknown", "improper-addressing")


def test_root_is_no_stream(suite):
    client = suite.connect()
    client.send("<stream:foo xmlns:stream='%s' xmlns='jabber:client' to='localhost' version='1.0'>" %
                NS["stream"])
    assert client.stream_error() == "bad-format"


# -- stream errors (section 4.9.3) ------------------------------------------------------------------

FIRST_BYTES = {
    "text": (b"hello", ("not-well-formed",)),
    "http": (b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n", ("not-well-formed",)),
    "utf-16": ("<?xml version='1.0'?><stream:stream".encode("utf-16"), ("unsupported-encoding",)),
    "latin-1": (b"<?xml version='1.0' encoding='ISO-8859-1'?><stream:stream to='localhost'>",
                ("unsupported-encoding",)),
    "xml 1.1": (b"<?xml version='1.1'?><stream:stream to='localhost'>", ("not-well-formed",)),
    "attribute twice": (b"<stream:stream to='a' to='b' xmlns='jabber:client' xmlns:stream='" +
                        NS["stream"].encode() + b"'>", ("not-well-formed",)),
    "unbound prefix": (b"<stream:stream to='localhost' version='1.0' xmlns='jabber:client'>",
                       ("bad-namespace-prefix", "not-well-formed", "invalid-namespace")),
    "end tag": (b"</stream:stream>", ("not-well-formed", "bad-format")),
    "element closed at once": (b"<stream:stream xmlns='jabber:client' xmlns:stream='" +
                               NS["stream"].encode() + b"' to='localhost' version='1.0'/>",
                               (None, "bad-format")),
}


@pytest.mark.parametrize("name", FIRST_BYTES)
def test_first_bytes(suite, name):
    data, allowed = FIRST_BYTES[name]
    client = suite.connect()
    client.send(data)
    if None in allowed:
        client.await_end()
        assert client.ended
    else:
        assert client.stream_error() in allowed
    served(suite)


WITHIN = {
    "bad-format": "text between stanzas",
    "bad-format cdata": "<![CDATA[text]]>",
    "bad-namespace-prefix": "<foo:message><body>no such prefix</body></foo:message>",
    "not-well-formed": "<message><body>open</message>",
    "not-well-formed bare ampersand": "<message><body>a & b</body></message>",
    "not-well-formed less than in attribute": "<message to='<'/>",
    "not-well-formed attribute without quotes": "<message to=romeo/>",
    "not-well-formed ]]>": "<message><body>]]></body></message>",
    "unsupported-stanza-type": "<pubsub xmlns='jabber:client'/>",
    "unsupported-stanza-type other namespace": "<message xmlns='http://example.org/'/>",
    "unsupported-stanza-type server namespace": "<message xmlns='jabber:server'/>",
    "invalid-from": "<message from='romeo@localhost/orchard' to='juliet@localhost'><body>x</body></message>",
    "invalid-from other resource": "<presence from='%s/another'/>",
    "invalid-from not an address": "<presence from='@'/>",
    "restricted-xml": "<message><!-- comment --></message>",
}


@pytest.mark.parametrize("name", WITHIN)
def test_stream_error_within_a_session(suite, name):
    account = suite.account()
    client = suite.login(account, "balcony")
    data = WITHIN[name]
    client.send(data % account if "%s" in data else data)
    assert client.stream_error() == name.split()[0]
    wait_until(lambda: account + "/balcony" not in suite.sessions(account), message="session is gone")
    suite.login(account, "balcony").sync()


def test_second_header_in_a_session(suite):
    client = suite.login(suite.account())
    client.header()
    assert client.stream_error() in ("bad-format", "invalid-namespace", "not-well-formed", "restricted-xml",
                                     "unsupported-stanza-type")


def test_error_of_the_client_ends_the_stream(suite):
    client = suite.login(suite.account())
    client.send("<stream:error><not-well-formed xmlns='%s'/></stream:error>" % NS["streams"])
    client.await_end()
    assert client.ended and not [e for e in client.elements if e.tag == q("stream", "error")]


# -- before authentication --------------------------------------------------------------------------

STANZAS = ["<message to='juliet@localhost'><body>x</body></message>", "<presence/>",
           "<iq type='get' id='1'><query xmlns='jabber:iq:roster'/></iq>",
           "<iq type='set' id='1'><bind xmlns='%s'/></iq>" % NS["bind"]]


@pytest.mark.parametrize("stanza", STANZAS)
def test_stanza_before_tls(suite, stanza):
    client = suite.connect()
    client.open()
    client.send(stanza)
    assert client.stream_error() == "not-authorized"


@pytest.mark.parametrize("stanza", STANZAS)
def test_stanza_before_authentication(suite, stanza):
    client = suite.stream()
    client.send(stanza)
    assert client.stream_error() == "not-authorized"


@pytest.mark.parametrize("stanza", STANZAS)
def test_stanza_before_the_new_header(suite, stanza):
    account = suite.account()
    client = suite.stream()
    client.authenticate("SCRAM-SHA-256", account.partition("@")[0], suite.password(account))
    client.send(stanza)
    assert client.stream_error()


@pytest.mark.parametrize("stanza", STANZAS[:3])
def test_stanza_before_bind(suite, stanza):
    account = suite.account()
    client = suite.stream()
    client.authenticate("SCRAM-SHA-256", account.partition("@")[0], suite.password(account))
    client.open()
    client.send(stanza)
    assert client.stream_error() == "not-authorized"


def test_header_as_another_account_after_sasl(suite):
    account = suite.account()
    client = suite.stream()
    client.authenticate("SCRAM-SHA-256", account.partition("@")[0], suite.password(account))
    client.header(**{"from": "somebody@localhost"})
    assert client.stream_error() == "invalid-from"


def test_header_to_another_domain_after_sasl(suite):
    account = suite.account()
    client = suite.stream()
    client.authenticate("SCRAM-SHA-256", account.partition("@")[0], suite.password(account))
    client.header("example.test")
    assert client.stream_error() in ("not-authorized", "host-unknown", "policy-violation")


def test_restart_after_sasl(suite):
    """A new id, and features for bind instead of SASL (section 6.4.6)."""
    account = suite.account()
    client = suite.stream()
    before = client.await_header()["id"]
    client.authenticate("SCRAM-SHA-256", account.partition("@")[0], suite.password(account))
    features = client.open()
    assert client.await_header()["id"] != before
    assert features.find(q("bind", "bind")) is not None
    assert features.find(q("sasl", "mechanisms")) is None
    assert features.find(q("tls", "starttls")) is None


def test_pipelined_login(suite):
    """All that need not wait for an answer may come in one segment: the header after <success/> may not."""
    account = suite.account()
    client = suite.stream()
    client.authenticate("PLAIN", account.partition("@")[0], suite.password(account))
    client.send("<?xml version='1.0'?><stream:stream to='localhost' version='1.0' xmlns='jabber:client' "
                "xmlns:stream='%s'><iq type='set' id='b'><bind xmlns='%s'/></iq>" % (NS["stream"], NS["bind"]))
    assert client.next().tag == q("stream", "features")
    assert client.next().get("type") == "result"


# -- STARTTLS (section 5) ---------------------------------------------------------------------------


def test_only_starttls_before_tls(suite):
    client = suite.connect()
    features = client.open()
    starttls = features.find(q("tls", "starttls"))
    assert starttls is not None and starttls.find(q("tls", "required")) is not None
    assert len(features) == 1, text(features)


def test_no_starttls_within_tls(suite):
    client = suite.stream()
    assert client.features.find(q("tls", "starttls")) is None
    client.send("<starttls xmlns='%s'/>" % NS["tls"])
    element = client.next()
    assert element.tag in (q("tls", "failure"), q("stream", "error")), text(element)


INJECTED = ["<auth xmlns='%s' mechanism='PLAIN'>AGEAYg==</auth>" % NS["sasl"], "<presence", "<iq type='get'/>",
            "<stream:stream xmlns='jabber:client' xmlns:stream='%s' to='localhost' version='1.0'>" % NS["stream"]]


@pytest.mark.parametrize("more", INJECTED)
def test_bytes_after_starttls(suite, more):
    """What an attacker puts behind <starttls/> is never taken for what came through TLS."""
    client = suite.connect()
    client.open()
    client.send("<starttls xmlns='%s'/>%s" % (NS["tls"], more))
    try:
        element = client.next()
        if element.tag == q("tls", "proceed"):
            client.handshake("localhost")
            client.open()
            pytest.fail("the stream went on")
        assert element.tag == q("stream", "error"), text(element)
    except (Closed, SSL.Error):
        pass
    client.await_end()
    served(suite)


def test_plain_bytes_instead_of_a_handshake(suite):
    client = suite.connect()
    client.open()
    client.send("<starttls xmlns='%s'/>" % NS["tls"])
    assert client.next().tag == q("tls", "proceed")
    client.raw_send(b"<stream:stream to='localhost'>" * 20, read=False)
    assert b"stream" not in client.drain()
    served(suite)


@pytest.mark.parametrize("version", ["1.2", "1.3"])
@pytest.mark.parametrize("domain", HOSTS)
def test_tls_versions(suite, version, domain):
    client = suite.connect()
    client.starttls(domain, version=version)
    assert client.tls.get_protocol_version_name() == "TLSv" + version
    assert mechanisms(client.open(domain))


def test_tls_1_1_is_refused(suite):
    client = suite.connect()
    with pytest.raises((SSL.Error, Closed)):
        client.starttls(version="1.1")
    served(suite)


@pytest.mark.parametrize("version", ["1.2", "1.3"])
@pytest.mark.parametrize("to, sni, expected", [
    ("localhost", "localhost", "localhost"),
    ("localhost", None, "localhost"),
    ("example.test", "example.test", "example.test"),
    ("example.test", None, "example.test"),
    ("localhost", "example.test", "example.test"),
    ("example.test", "unknown.example", "example.test"),
])
def test_certificate(suite, to, sni, expected, version):
    """SNI first, then `to` of the stream."""
    client = suite.connect()
    client.starttls(to, sni=sni, version=version)
    assert client.certificate().subject.rfc4514_string() == "CN=" + expected
    client.open(to)


def test_international_domain(make_suite):
    """Its A-label in SNI, its U-label in `to` and in addresses (RFC 7622 section 3.2)."""
    suite = make_suite(domains={"localhost": {}, "b\u00fccher.example": {}})
    account = suite.account(domain="b\u00fccher.example")
    client = suite.connect(direct=True)
    client.handshake("b\u00fccher.example", alpn=["xmpp-client"])
    assert client.certificate().subject.rfc4514_string() == "CN=xn--bcher-kva.example"
    client.open("b\u00fccher.example")
    assert client.login(account, suite.password(account), "r") == account + "/r"
    client = suite.connect()
    client.open("B\u00dcCHER.example")
    assert client.await_header()["from"] == "b\u00fccher.example"


# -- direct TLS (XEP-0368) --------------------------------------------------------------------------


@pytest.mark.parametrize("domain", HOSTS)
@pytest.mark.parametrize("alpn", [["xmpp-client"], ["h2", "xmpp-client"], None])
def test_direct_tls(suite, domain, alpn):
    client = suite.connect(direct=True)
    client.handshake(domain, alpn=alpn)
    assert client.tls.get_alpn_proto_negotiated() == (b"xmpp-client" if alpn else b"")
    assert client.certificate().subject.rfc4514_string() == "CN=" + domain
    assert "SCRAM-SHA-256-PLUS" in mechanisms(client.open(domain))


def test_direct_tls_with_wrong_alpn(suite):
    client = suite.connect(direct=True)
    with pytest.raises((SSL.Error, Closed)) as failure:
        client.handshake("localhost", alpn=["xmpp-server", "http/1.1"])
    assert "no application protocol" in str(failure.value)
    served(suite)


def test_direct_tls_without_sni(suite):
    client = suite.connect(direct=True)
    client.handshake(alpn=["xmpp-client"])
    assert client.certificate().subject.rfc4514_string() == "CN=localhost"
    client.open("localhost")


def test_direct_tls_whole_login(suite):
    account = suite.account()
    client = suite.connect(direct=True)
    client.handshake("localhost", alpn=["xmpp-client"])
    client.open("localhost")
    client.login(account, suite.password(account), "r")
    client.sync()


def test_stream_header_on_the_tls_port(suite):
    client = suite.connect(direct=True)
    client.raw_send(b"<?xml version='1.0'?><stream:stream to='localhost' version='1.0'>", read=False)
    assert b"stream" not in client.drain()
    served(suite)


# -- the end ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("stage", ["header", "tls", "sasl", "bound"])
def test_closing_handshake(suite, stage):
    """</stream:stream> is answered with ours, and then the connection ends (section 4.4)."""
    if stage == "header":
        client = suite.connect()
        client.open()
    elif stage == "tls":
        client = suite.stream()
    elif stage == "sasl":
        account = suite.account()
        client = suite.stream()
        client.authenticate("SCRAM-SHA-256", account.partition("@")[0], suite.password(account))
        client.open()
    else:
        client = suite.login(suite.account())
    client.send("</stream:stream>")
    client.await_end()
    assert client.ended
    assert not client.reset
    assert not client.elements, text(client.elements[0])


def test_what_was_sent_before_the_end_arrives(suite):
    juliet, romeo = suite.accounts(2)
    there = suite.login(romeo, available=0)
    client = suite.login(juliet)
    client.send("".join("<message to='%s' type='chat'><body>%d</body></message>" % (romeo, i)
                        for i in range(20)) + "</stream:stream>")
    client.await_end()
    assert client.ended
    assert [there.message().findtext(q("client", "body")) for _ in range(20)] == [str(i) for i in range(20)]


def test_connection_cut_ends_the_session(suite):
    account = suite.account()
    client = suite.login(account, "r")
    client.abort()
    wait_until(lambda: not suite.sessions(account), message="session is gone")


# -- time -------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def hasty(programs):
    with Suite(c2s={"login-time": 2, "idle-time": 1}) as suite:
        yield suite


def test_white_space_keeps_alive(hasty):
    client = hasty.login(hasty.account())
    for _ in range(8):
        time.sleep(0.5)
        client.send(b" \n")
    client.sync()


def test_silent_client_is_probed(hasty):
    """With a space, which a client need not answer; its TCP does."""
    client = hasty.login(hasty.account())
    before = len(client.received)
    end = time.monotonic() + 4.5
    while time.monotonic() < end:
        try:
            client.read_some(end)
        except TimeoutError:
            break
    assert client.received[before:] and client.received[before:].strip() == b"", client.received[before:]
    client.sync()


def test_dead_peer_with_stream_management(hasty):
    """Asked with <r/>, it does not answer."""
    account = hasty.account()
    client = hasty.login(account)
    client.send("<enable xmlns='%s'/>" % NS["sm"])
    assert client.next().tag == q("sm", "enabled")
    began = time.monotonic()
    client.wait(lambda e: e.tag == q("sm", "r"))
    client.await_end()
    assert 1.5 < time.monotonic() - began < 8 * SLOW


@pytest.mark.parametrize("stage", ["nothing", "header", "starttls", "tls", "sasl"])
def test_login_time(hasty, stage):
    account = hasty.account()
    began = time.monotonic()
    client = hasty.connect()
    if stage != "nothing":
        client.open()
    if stage == "starttls":
        client.send("<starttls xmlns='%s'/>" % NS["tls"])
        client.next()
    if stage in ("tls", "sasl"):
        client.starttls()
        client.open()
    if stage == "sasl":
        client.authenticate("SCRAM-SHA-256", account.partition("@")[0], hasty.password(account))
        client.open()
    if stage == "starttls":
        client.await_end()
    else:
        assert client.stream_error() in ("connection-timeout", "policy-violation")
    assert 1.5 < time.monotonic() - began < 5 * SLOW
    hasty.login(account).sync()


def test_login_time_ends_slow_trickles(hasty):
    """Bytes that come do not prolong it."""
    client = hasty.connect()
    began = time.monotonic()
    client.open()
    with pytest.raises((Closed, TimeoutError)):
        while time.monotonic() < began + 6:
            client.send(b" ")
            try:
                client.read_some(time.monotonic() + 0.2)
            except TimeoutError:
                pass
    assert client.eof and time.monotonic() - began < 5 * SLOW


# -- limits of connections --------------------------------------------------------------------------


def test_connections_per_address(make_suite):
    suite = make_suite(c2s={"connections-per-address": 3, "workers": 1})
    clients = [suite.connect() for _ in range(3)]
    for client in clients:
        client.open()
    refused = suite.connect()
    refused.header()
    with pytest.raises((Closed, TimeoutError)):
        element = refused.next()
        assert element.tag == q("stream", "error"), text(element)
        assert condition(element) in ("policy-violation", "resource-constraint")
        raise Closed()
    other = suite.connect(source="127.0.0.2")
    other.open()
    clients[0].end()

    def again():
        try:
            client = suite.connect()
            client.open()
            return True
        except (Closed, OSError):
            return False
    wait_until(again, message="room again")
