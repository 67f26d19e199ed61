"""Bad input: what no client would send. RFC 6120 sections 4.9.3, 8 and 11, DESIGN promise 5.

Each gets the stream or stanza error that the RFC names, memory stays bounded, and the next client notices
nothing.
"""

import time

import pytest

from raw import NS, AuthFailed, Closed, body, condition, error_type, local, q, text
from suite import SANITIZED, SLOW, Suite, wait_until

MEGABYTE = 1 << 20
# What a process may grow by in a test that sends much more; sanitizers keep what was freed.
GROWTH = (24 if not SANITIZED else 400) * MEGABYTE


@pytest.fixture(scope="module")
def strict(programs):
    with Suite(c2s={"stanza-time": 1, "login-bytes": "16K", "stanza-size": "64K", "stanza-depth": 20,
                    "login-time": 20}) as suite:
        yield suite


@pytest.fixture
def served(suite):
    """After the test two clients are served: a chat from one to the other."""
    juliet, romeo = suite.accounts(2)
    there = suite.login(romeo, available=0)
    yield
    client = suite.login(juliet)
    client.say(romeo, "still there?")
    assert body(there.message()) == "still there?"


def at_stage(suite, stage):
    """A client that has come so far: first (nothing sent), header, tls, or bound."""
    if stage == "bound":
        return suite.login(suite.account(), available=0)
    if stage == "tls":
        return suite.stream()
    client = suite.connect()
    if stage == "header":
        client.open()
    return client


# -- XML that is not for XMPP -----------------------------------------------------------------------

BOMB = "<!DOCTYPE x [<!ENTITY a 'aaaaaaaaaa'>" + "".join(
    "<!ENTITY %s '%s'>" % (b, "&%s;" % a * 10) for a, b in zip("abcdefgh", "bcdefghi")) + "]>"
WRONG = ("not-well-formed",)
RESTRICTED = ("restricted-xml",)
EITHER = ("restricted-xml", "not-well-formed")

XML = {
    "dtd": ("<!DOCTYPE message SYSTEM 'file:///etc/passwd'>", RESTRICTED),
    "entity bomb": (BOMB, RESTRICTED),
    "entity declaration": ("<!ENTITY a 'b'>", EITHER),
    "comment": ("<!-- comment -->", RESTRICTED),
    "comment within": ("<message><!-- comment --></message>", RESTRICTED),
    "processing instruction": ("<?php echo 1 ?>", RESTRICTED),
    "processing instruction within": ("<message><?php echo 1 ?></message>", RESTRICTED),
    "stylesheet": ("<?xml-stylesheet href='x'?>", RESTRICTED),
    "second declaration": ("<?xml version='1.0'?>", EITHER),
    "dtd within": ("<message><!DOCTYPE x></message>", EITHER),
    "unknown entity": ("<message><body>&lol;</body></message>", EITHER),
    "html entity": ("<message><body>&nbsp;</body></message>", EITHER),
    "entity in attribute": ("<message to='&lol;'/>", EITHER),
    "overlong slash": (b"<message><body>\xc0\xaf</body></message>", WRONG),
    "overlong nul": (b"<message><body>\xc0\x80</body></message>", WRONG),
    "overlong three bytes": (b"<message><body>\xe0\x80\xaf</body></message>", WRONG),
    "overlong four bytes": (b"<message><body>\xf0\x80\x80\xaf</body></message>", WRONG),
    "surrogate": (b"<message><body>\xed\xa0\x80\xed\xb0\x80</body></message>", WRONG),
    "beyond unicode": (b"<message><body>\xf4\x90\x80\x80</body></message>", WRONG),
    "five bytes": (b"<message><body>\xf8\x88\x80\x80\x80</body></message>", WRONG),
    "lone continuation": (b"<message><body>\x80</body></message>", WRONG),
    "cut character": (b"<message><body>\xe2\x98</body></message>", WRONG),
    "latin-1": ("<message><body>ü</body></message>".encode("latin-1"), WRONG),
    "invalid in attribute": (b"<message to='\xff'/>", WRONG),
    "invalid in name": (b"<message><b\xffdy/></message>", WRONG),
    "nul": (b"<message><body>a\0b</body></message>", WRONG),
    "nul in tag": (b"<message\0/>", WRONG),
    "nul after lt": (b"<\0", WRONG),
    "nul reference": ("<message><body>&#0;</body></message>", WRONG),
    "control": (b"<message><body>\x01</body></message>", WRONG),
    "control reference": ("<message><body>&#x1b;</body></message>", WRONG),
    "surrogate reference": ("<message><body>&#xd800;</body></message>", WRONG),
    "noncharacter": ("<message><body>\ufffe</body></message>", WRONG),
    "huge reference": ("<message><body>&#99999999999999999999;</body></message>", WRONG),
    "attribute twice": ("<message to='a@localhost' to='b@localhost'/>", WRONG),
    "attribute twice by namespace": ("<message xmlns:a='u:x' xmlns:b='u:x' a:c='' b:c=''/>", WRONG +
                                     ("bad-namespace-prefix",)),
    "wrong end tag": ("<message><body></message></body>", WRONG),
    "end tag too many": ("<message/></message>", WRONG + ("bad-format", "not-authorized")),
    "two colons": ("<message><a:b:c xmlns:a='x:y'/></message>", WRONG + ("bad-namespace-prefix",)),
    "xml prefix bound anew": ("<message xmlns:xml='u:x'/>", WRONG + ("bad-namespace-prefix",)),
    "xmlns prefix bound": ("<message xmlns:xmlns='u:x'/>", WRONG + ("bad-namespace-prefix",)),
    "prefix unbound again": ("<message xmlns:a='u:x'><b xmlns:a=''/></message>", WRONG +
                             ("bad-namespace-prefix",)),
    "prefixed attribute unbound": ("<message foo:bar='1'/>", WRONG + ("bad-namespace-prefix",)),
    "text": ("hello", ("bad-format", "not-well-formed")),
}


@pytest.mark.parametrize("stage", ["header", "tls", "bound"])
@pytest.mark.parametrize("name", XML)
def test_xml(suite, name, stage):
    data, allowed = XML[name]
    client = at_stage(suite, stage)
    client.send(data)
    assert client.stream_error() in allowed
    at_stage(suite, "header").end()


@pytest.mark.parametrize("name", ["dtd", "entity bomb", "comment", "processing instruction", "stylesheet"])
@pytest.mark.parametrize("declared", [False, True])
def test_prolog(suite, name, declared):
    client = suite.connect()
    client.send(b"<?xml version='1.0'?>" if declared else b"")
    client.send(XML[name][0])
    assert client.stream_error() in EITHER


def test_bad_xml_byte_by_byte(suite):
    client = suite.connect()
    for byte in b"<?xml version='1.0'?><!DOCTYPE x [<!ENTITY a 'b'>]>":
        client.send(bytes([byte]))
    assert client.stream_error() in RESTRICTED


def test_unique_names_take_no_memory(suite, served):
    """libxml2 keeps every name that it has seen; a stream must not."""
    account = suite.account()
    client = suite.login(account)
    worker = "c2sd.%d" % suite.sessions(account)[client.jid]["c2sd"]
    before = suite.memory(worker)
    for batch in range(40):
        client.send("".join("<message to='%s'><n%d-%d-%s xmlns='u:%d'/></message>" % (
            account, batch, i, "x" * 80, batch * 1000 + i) for i in range(500)))
        client.sync()
        client.elements.clear()
    assert suite.memory(worker) - before < GROWTH


# -- sizes ------------------------------------------------------------------------------------------


def bounded(suite, stage, make, allowed=("policy-violation",)):
    """Sends a lot that must be refused before it has all been read; c2sd does not grow by it."""
    client = at_stage(suite, stage)
    before = [suite.memory("c2sd.%d" % i) for i in range(2)]
    for piece in make():
        if client.eof or client.reset or client.ended:
            break
        client.send(piece)
    assert client.stream_error() in allowed
    for i in range(2):
        assert suite.memory("c2sd.%d" % i) - before[i] < GROWTH / 3


@pytest.mark.parametrize("stage", ["header", "tls", "bound"])
def test_stanza_of_10_megabytes(suite, served, stage):
    def make():
        yield "<message to='juliet@localhost'><body>"
        for _ in range(160):
            yield "x" * 65536
        yield "</body></message>"
    bounded(suite, stage, make)


@pytest.mark.parametrize("stage", ["header", "tls", "bound"])
def test_attribute_of_10_megabytes(suite, served, stage):
    def make():
        yield "<message to='"
        for _ in range(160):
            yield "x" * 65536
        yield "'/>"
    bounded(suite, stage, make)


@pytest.mark.parametrize("stage", ["first", "header", "tls", "bound"])
def test_name_of_10_megabytes(suite, served, stage):
    def make():
        yield "<"
        for _ in range(160):
            yield "x" * 65536
    bounded(suite, stage, make, ("policy-violation", "not-well-formed"))


@pytest.mark.parametrize("stage", ["header", "tls", "bound"])
def test_10000_attributes(suite, served, stage):
    client = at_stage(suite, stage)
    client.send("<message %s/>" % " ".join("a%d='1'" % i for i in range(10000)))
    assert client.stream_error() == "policy-violation"


@pytest.mark.parametrize("where", ["<message %s/>", "<message><x xmlns='u:x' %s/></message>"])
def test_10000_namespace_declarations(suite, served, where):
    client = at_stage(suite, "bound")
    client.send(where % " ".join("xmlns:a%d='u:%d'" % (i, i) for i in range(10000)))
    assert client.stream_error() == "policy-violation"


@pytest.mark.parametrize("stage", ["header", "tls", "bound"])
def test_deep_nesting(suite, served, stage):
    client = at_stage(suite, stage)
    client.send("<message>" + "<x xmlns='u:x'>" * 5000)
    assert client.stream_error() == "policy-violation"


def test_many_elements(suite, served):
    client = at_stage(suite, "bound")
    client.send("<message>" + "<x/>" * 200000 + "</message>")
    assert client.stream_error() == "policy-violation"


def test_depth_at_the_limit(strict):
    """stanza-depth counts the stanza itself."""
    account = strict.account()
    client = strict.login(account, available=0)
    deep = "<message to='%s'>" % client.jid + "<x xmlns='u:x'>" * 19 + "</x>" * 19 + "</message>"
    client.send(deep)
    element = client.message()
    depth = 0
    while len(element):
        element, depth = element[0] if element[0].tag == "{u:x}x" else element[-1], depth + 1
    assert depth == 19
    client.send(deep.replace("</x>", "<x></x></x>", 1))
    assert client.stream_error() == "policy-violation"


def test_size_at_the_limit(strict):
    client = strict.login(strict.account(), available=0)
    size = 65536
    frame = "<message to='%s'><body>%%s</body></message>" % client.jid
    fill = size - len(frame) + 2
    client.send(frame % ("x" * fill))
    assert len(body(client.message())) == fill
    client.send(frame % ("x" * (fill + 1)))
    assert client.stream_error() == "policy-violation"


def test_stanza_that_grows_when_written(strict):
    """Escaping makes it larger inside than it came: the limit is for both."""
    client = strict.login(strict.account(), available=0)
    client.send("<message to='%s'><body><![CDATA[%s]]></body></message>" % (client.jid, "<" * 60000))
    assert client.stream_error() == "policy-violation"


def test_cdata_is_text(suite):
    client = suite.login(suite.account(), available=0)
    client.send("<message to='%s'><body><![CDATA[<a>&amp;]]>&lt;</body></message>" % client.jid)
    assert body(client.message()) == "<a>&amp;<"


# -- time -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("half", ["<message to='a@localhost'><body>half", "<message to='a", "<", "<message>"])
def test_half_a_stanza_and_silence(strict, half):
    client = strict.login(strict.account())
    began = time.monotonic()
    client.send(half)
    assert client.stream_error() in ("policy-violation", "connection-timeout")
    assert 0.8 < time.monotonic() - began < 4 * SLOW


def test_stanza_that_trickles(strict):
    client = strict.login(strict.account())
    began = time.monotonic()
    client.send("<message to='a@localhost'><body>")
    while not client.eof and time.monotonic() - began < 6 * SLOW:
        client.send("x")
        try:
            client.read_some(time.monotonic() + 0.1)
        except TimeoutError:
            pass
    assert client.stream_error() in ("policy-violation", "connection-timeout")


def test_slow_but_whole_stanzas(strict):
    """The budget is for one stanza, not for the stream."""
    client = strict.login(strict.account(), available=0)
    for i in range(4):
        client.send("<message to='%s'>" % client.jid)
        time.sleep(0.4)
        client.send("<body>%d</body></message>" % i)
        assert body(client.message()) == str(i)


# -- budgets before authentication ------------------------------------------------------------------


@pytest.mark.parametrize("stage", ["first", "header", "tls"])
def test_login_bytes(strict, stage):
    client = at_stage(strict, stage)
    client.send(" " * 40000)
    assert client.stream_error() == "policy-violation"
    strict.login(strict.account()).sync()


def test_login_bytes_of_many_small_pieces(strict):
    client = strict.stream()
    with pytest.raises(Closed):
        for _ in range(1000):
            client.send("<auth xmlns='%s' mechanism='X-%s'/>" % (NS["sasl"], "x" * 1000))
            element = client.next()
            if element.tag == q("stream", "error"):
                raise Closed(condition(element))
    client.await_end()


def test_login_bytes_do_not_count_afterwards(strict):
    client = strict.login(strict.account(), available=0)
    for _ in range(10):
        client.say(client.jid, "x" * 8000)
        assert len(body(client.message())) == 8000


def test_login_attempts(strict):
    client = strict.stream()
    for _ in range(3):
        with pytest.raises(AuthFailed):
            client.authenticate("PLAIN", "nobody", "x")
    assert client.stream_error() == "policy-violation"


def test_sasl_message_too_long(suite, served):
    client = suite.stream()
    client.auth("PLAIN", b"\0a\0" + b"x" * 20000)
    element = client.next()
    assert element.tag == q("stream", "error") or \
        condition(element) in ("malformed-request", "incorrect-encoding", "not-authorized"), text(element)


# -- elements and stanzas that must not be ----------------------------------------------------------


@pytest.mark.parametrize("stage", ["header", "tls", "bound"])
def test_unsolicited_features(suite, served, stage):
    client = at_stage(suite, stage)
    client.send("<stream:features><starttls xmlns='%s'/></stream:features>" % NS["tls"])
    assert client.stream_error() in ("unsupported-stanza-type", "policy-violation", "bad-format")


@pytest.mark.parametrize("stage", ["header", "tls", "bound"])
@pytest.mark.parametrize("nonza", [
    "<proceed xmlns='%s'/>" % NS["tls"], "<success xmlns='%s'/>" % NS["sasl"],
    "<challenge xmlns='%s'>YQ==</challenge>" % NS["sasl"], "<db:result xmlns:db='jabber:server:dialback'/>",
    "<handshake xmlns='jabber:component:accept'/>", "<compress xmlns='http://jabber.org/protocol/compress'/>"])
def test_unsolicited_nonza(suite, nonza, stage):
    client = at_stage(suite, stage)
    client.send(nonza)
    element = client.next()
    assert element.tag == q("stream", "error") or local(element) == "failure", text(element)


@pytest.mark.parametrize("sender", ["romeo@localhost", "romeo@localhost/r", "localhost", "example.test", "%s/other",
                                    "@localhost", "juliet@", "/", "a b@localhost"])
@pytest.mark.parametrize("stanza", ["<message from='{}' to='{}'><body>x</body></message>", "<presence from='{}'/>",
                                    "<iq from='{}' type='get' id='1'><ping xmlns='urn:xmpp:ping'/></iq>"])
def test_from_of_another(suite, sender, stanza):
    """RFC 6120 section 8.1.2.1: invalid-from."""
    account = suite.account()
    client = suite.login(account)
    client.send(stanza.format(sender.replace("%s", account), account))
    assert client.stream_error() == "invalid-from"


@pytest.mark.parametrize("form", ["{bare}", "{full}", "{upper}"])
def test_own_from_is_taken_and_written_anew(suite, form):
    account = suite.account()
    client = suite.login(account, "r", available=0)
    name, _, domain = account.partition("@")
    client.send("<message from='%s' to='%s'><body>x</body></message>" % (
        form.format(bare=account, full=client.jid, upper=name.upper() + "@" + domain), client.jid))
    assert client.message().get("from") == client.jid


BAD_ADDRESSES = ["@localhost", "a@", "a@b@localhost", "a b@localhost", "a@localhost/", "/r", "", "a@loc alhost",
                 "x" * 1024 + "@localhost", "a@localhost/" + "x" * 1024, "a@" + "x" * 1024, "a'b@localhost",
                 "\u0378@localhost", "a@localhost/\u0378", "a@-.-", "a@[::1"]


@pytest.mark.parametrize("to", BAD_ADDRESSES, ids=lambda a: ascii(a)[:24])
@pytest.mark.parametrize("kind", ["message", "presence", "iq"])
def test_bad_to(suite, to, kind):
    """jid-malformed (section 8.3.3.8), with the address as it was written."""
    client = suite.login(suite.account())
    content = "<ping xmlns='urn:xmpp:ping'/>" if kind == "iq" else ""
    client.send('<%s to="%s" id="bad"%s>%s</%s>' % (
        kind, to, " type='get'" if kind == "iq" else "", content, kind))
    error = client.wait(lambda e: e.get("id") == "bad")
    assert local(error) == kind and error.get("type") == "error"
    assert condition(error) == "jid-malformed" and error_type(error) == "modify"
    assert error.get("from") in (to, None), text(error)
    client.sync()


BAD_STANZAS = {
    "iq without id": "<iq type='get'><ping xmlns='urn:xmpp:ping'/></iq>",
    "iq with empty id": "<iq type='get' id=''><ping xmlns='urn:xmpp:ping'/></iq>",
    "iq without type": "<iq id='x'><ping xmlns='urn:xmpp:ping'/></iq>",
    "iq of unknown type": "<iq type='take' id='x'><ping xmlns='urn:xmpp:ping'/></iq>",
    "iq get without child": "<iq type='get' id='x'/>",
    "iq set without child": "<iq type='set' id='x'/>",
    "iq get with two children": "<iq type='get' id='x'><ping xmlns='urn:xmpp:ping'/><ping xmlns='urn:xmpp:ping'/></iq>",
    "presence of unknown type": "<presence type='gone' id='x'/>",
}


@pytest.mark.parametrize("name", BAD_STANZAS)
def test_bad_stanza(suite, name):
    """bad-request (sections 8.2.3, 8.3.3.1); the session goes on."""
    client = suite.login(suite.account())
    client.send(BAD_STANZAS[name])
    error = client.wait(lambda e: e.get("type") == "error")
    assert condition(error) == "bad-request" and error_type(error) == "modify", text(error)
    client.sync()


@pytest.mark.parametrize("stanza", [
    "<iq type='result' id='x'/>", "<iq type='result' id='x' to='localhost'/>", "<iq type='error' id='x'/>",
    "<iq type='result'/>", "<message type='error' to='nobody@localhost' id='x'/>",
    "<presence type='error' to='nobody@localhost' id='x'/>", "<iq type='result' id='x' to='@'/>",
    "<message type='error' to='@'/>", "<iq type='error' id='x' to='nobody@localhost/r'><error type='cancel'/></iq>"])
def test_no_error_for_an_answer(suite, stanza):
    """Answers and errors are never answered (section 8.3.1)."""
    client = suite.login(suite.account())
    client.send(stanza)
    assert client.pending() == []


def test_unknown_message_type_is_normal(suite):
    """RFC 6121 section 5.2.2."""
    client = suite.login(suite.account(), available=0)
    client.send("<message type='smoke-signal' to='%s'><body>x</body></message>" % client.jid)
    assert client.message().get("type") in (None, "normal")


def test_id_too_long(suite):
    client = suite.login(suite.account())
    client.send("<iq type='get' id='%s'><ping xmlns='urn:xmpp:ping'/></iq>" % ("x" * 10000))
    error = client.wait(lambda e: e.get("type") in ("error", "result"))
    assert error.get("type") == "result" or condition(error) in ("bad-request", "policy-violation")
    client.sync()


def test_what_only_the_server_may_say_is_left_out(suite):
    juliet, romeo = suite.accounts(2)
    there = suite.login(romeo, available=0)
    client = suite.login(juliet)
    client.send("<message to='%s' type='chat'><body>x</body>"
                "<stanza-id xmlns='%s' by='%s' id='forged'/><stanza-id xmlns='%s' by='%s' id='forged'/>"
                "<delay xmlns='%s' from='localhost' stamp='2002-09-10T23:08:25Z'/>"
                "<occupant-id xmlns='urn:xmpp:occupant-id:0' id='forged'/></message>" % (
                    romeo, NS["sid"], romeo, NS["sid"], juliet, NS["delay"]))
    message = there.message()
    assert body(message) == "x"
    assert "forged" not in text(message) and "2002" not in text(message), text(message)


def test_payload_is_written_anew(suite):
    """Other prefixes, quotes and references arrive as the same XML."""
    client = suite.login(suite.account(), available=0)
    client.send("<message to=\"%s\"><c:body xmlns:c='jabber:client'>a&#x20;&quot;&gt;</c:body>"
                "<p:x xmlns:p='u:p' p:a='1' b='\"&apos;'><y xmlns=''/><p:z/></p:x></message>" % client.jid)
    message = client.message()
    assert body(message) == 'a ">'
    x = message.find("{u:p}x")
    assert x.attrib == {"{u:p}a": "1", "b": "\"'"}
    assert [e.tag for e in x] == ["y", "{u:p}z"]


# -- clients that do not read -----------------------------------------------------------------------


@pytest.mark.timeout(60 * SLOW)
def test_receiver_that_does_not_read(suite, served):
    """Its messages wait on disk: memory stays bounded, and all arrive, in order, when it reads."""
    count = 1000 if SANITIZED else 6000
    juliet, romeo = suite.accounts(2)
    deaf = suite.login(romeo, available=0, receive_buffer=4096)
    client = suite.login(juliet)
    names = ["router", "c2sd.0", "c2sd.1"]
    before = [suite.memory(n) for n in names]
    filling = "x" * 2000
    for i in range(0, count, 500):
        client.send("".join("<message to='%s' type='chat'><body>%d %s</body></message>" % (romeo, i + j, filling)
                            for j in range(500)))
        client.sync(20 * SLOW)
    for name, old in zip(names, before):
        assert suite.memory(name) - old < GROWTH, name
    assert not [e for e in client.elements if e.get("type") == "error"]
    numbers = [int(body(deaf.message(20 * SLOW)).split()[0]) for _ in range(count)]
    assert numbers == list(range(count))
    assert deaf.pending("message") == []


@pytest.mark.parametrize("kind", ["headline", "iq", "presence"])
@pytest.mark.timeout(60 * SLOW)
def test_flood_of_what_is_not_stored(suite, served, kind):
    """Beyond four times the limits the session that does not read is ended."""
    juliet, romeo = suite.accounts(2)
    deaf = suite.login(romeo, "deaf", available=0, receive_buffer=4096)
    client = suite.login(juliet)
    names = ["router", "c2sd.0", "c2sd.1"]
    before = [suite.memory(n) for n in names]
    stanza = {"headline": "<message to='%s' type='headline'><body>%s</body></message>",
              "iq": "<iq to='%s' type='get' id='x'><x xmlns='u:x'>%s</x></iq>",
              "presence": "<presence to='%s'><status>%s</status></presence>"}[kind]
    for _ in range(20):
        client.send((stanza % (deaf.jid, "x" * 2000)) * 300)
        client.sync(20 * SLOW)
        if not suite.sessions(romeo):
            break
    for name, old in zip(names, before):
        assert suite.memory(name) - old < GROWTH, name
    assert not suite.sessions(romeo)
    if kind == "iq":
        client.wait(lambda e: condition(e) in ("recipient-unavailable", "service-unavailable"))


@pytest.mark.timeout(60 * SLOW)
def test_sender_that_does_not_read_answers(suite, served):
    """The server stops reading it, or ends it; either way it takes no memory."""
    account = suite.account()
    client = suite.login(account, receive_buffer=4096)
    names = ["router", "c2sd.0", "c2sd.1"]
    before = [suite.memory(n) for n in names]
    request = "".join("<iq type='get' id='%s' to='localhost'><query xmlns='%s'/></iq>" % ("x" * 1000, NS["disco#info"])
                      for _ in range(50))
    try:
        for _ in range(400):
            client.send(request, seconds=2, read=False)
            if client.reset:
                break
    except TimeoutError:
        pass
    for name, old in zip(names, before):
        assert suite.memory(name) - old < GROWTH, name
    client.abort()
    wait_until(lambda: not suite.sessions(account), message="session is gone")


def test_connections_that_say_nothing(suite, served):
    clients = [suite.connect() for _ in range(200)]
    at_stage(suite, "tls").end()
    for client in clients:
        client.abort()


def test_handshakes_that_stop_in_the_middle(suite, served):
    """More than there are threads for handshakes."""
    clients = []
    for _ in range(30):
        client = suite.connect(direct=True)
        client.raw_send(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"r" * 32, read=False)
        clients.append(client)
    began = time.monotonic()
    at_stage(suite, "tls").end()
    assert time.monotonic() - began < 4 * SLOW
    for client in clients:
        client.close()


@pytest.mark.parametrize("record", [b"\x16\x03\x01\xff\xff" + b"\0" * 70000, b"\x15\x03\x03\0\2\2\x28", b"\0" * 1000,
                                    b"\x16\x03\x01\0\0" * 5000], ids=["long", "alert", "zeros", "empty records"])
def test_records_that_are_none(suite, served, record):
    client = suite.connect(direct=True)
    client.raw_send(record, read=False)
    client.drain()


def test_garbage_within_tls(suite, served):
    """A record that was tampered with ends the connection, not more."""
    account = suite.account()
    client = suite.login(account)
    client.raw_send(b"\x17\x03\x03\0\x40" + b"\x55" * 64, read=False)
    client.drain()
    wait_until(lambda: not suite.sessions(account), message="session is gone")
