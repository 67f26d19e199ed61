"""Other servers that do what none should: as they connect to us, and as we connect to them.

Each of these ends as the RFC says, is in the log once, and leaves the suite as it was.
"""

import select
import time

import pytest

from peer import DIALBACK, EXTERNAL, MANAGEMENT, OFFER_DIALBACK, STARTTLS, Caller, Listener, db
from raw import NS, Closed, body, condition, encode64, local, q, text
from servers import Server, issue
from suite import SLOW, wait_until

numbers = iter(range(1, 1000))


@pytest.fixture(scope="module")
def listener():
    with Listener() as found:
        yield found


@pytest.fixture(scope="module")
def server(listener):
    """a.test and c.test. Servers of *.peer.test prove themselves by certificates, those of *.dial.test by dialback; all
    of them are where the listener is."""
    peer = {"address": ["127.0.0.1:%d" % listener.port]}
    with Server("a.test", domains={"a.test": {}, "c.test": {}}, s2s={"login-time": 4 * SLOW, "stanza-size": "100K"},
                peers={"*.peer.test": peer, "*.dial.test": {**peer, "authentication": "dialback"},
                       "refused.test": {"policy": "refuse"}}) as suite:
        yield suite


@pytest.fixture(autouse=True)
def clean(server, listener):
    """Nothing is left of a test but its line in the log."""
    yield
    listener.forget()
    for client in server.clients:
        client.close()
    server.clients.clear()
    wait_until(lambda: server.counter("s2sd", "dialbacks") == 0 and server.counter("s2sd", "streams-incoming") == 0)


@pytest.fixture
def juliet(server):
    return server.login(server.account(), "balcony", available=0)


def new(kind="peer"):
    """A domain that no other test has."""
    return "n%d.%s.test" % (next(numbers), kind)


def errors(server, since, domain):
    return [line for line in server.log_text(since).splitlines()
            if "stream error " in line and "domain=%s" % domain in line.replace('"', "")]


def ends(server, peer, wanted):
    """The stream ends with this error, which is in the log once."""
    assert peer.stream_error() == wanted
    peer.await_end()
    domain = getattr(peer, "own", "") or peer.names["to"]
    found = wait_until(lambda: errors(server, server.log_begin, domain), message="a line in the log")
    assert len(found) == 1 and "condition=" + wanted in found[0], found


def message(own, to, words="hello", **attributes):
    more = "".join(" %s='%s'" % pair for pair in attributes.items())
    return "<message from='romeo@%s' to='%s'%s><body>%s</body></message>" % (own, to, more, words)


def still_works(server, juliet):
    """A server that behaves gets its message through."""
    name = new()
    caller = Caller(server, name, "a.test").secure(issue(name)).external()
    caller.send(message(name, juliet.jid, "after all"))
    assert body(juliet.message()) == "after all"


# -- servers that connect to us ---------------------------------------------------------------------


def test_one_that_behaves(server, juliet):
    still_works(server, juliet)


def test_stanzas_before_tls(server, juliet):
    name = new()
    caller = Caller(server, name, "a.test").begin()
    assert [local(e) for e in caller.features] == ["starttls"]
    caller.send(message(name, juliet.jid))
    ends(server, caller, "policy-violation")
    assert juliet.pending("message") == []


def test_dialback_before_tls(server):
    name = new("dial")
    caller = Caller(server, name, "a.test").begin()
    caller.send(db("result", from_=name, to="a.test", key="1234"))
    ends(server, caller, "policy-violation")


def test_stanzas_before_authentication(server, juliet):
    name = new()
    caller = Caller(server, name, "a.test").secure(issue(name))
    caller.send(message(name, juliet.jid))
    ends(server, caller, "not-authorized")
    assert juliet.pending("message") == []


@pytest.mark.parametrize("from_, to, wanted", [
    ("other.peer.test", "a.test", "invalid-from"),      # not proven
    ("a.test", "a.test", "invalid-from"),               # one of ours
    (None, "c.test", "invalid-from"),                   # proven to another domain of ours only
    (None, "elsewhere.test", "host-unknown"),           # no relay
    (None, "", "improper-addressing"),
    ("@", "a.test", "invalid-from"),
])
def test_addresses_that_are_not_its_own(server, juliet, from_, to, wanted):
    name = new()
    caller = Caller(server, name, "a.test").secure(issue(name)).external()
    caller.send(message(from_ or name, juliet.jid.replace("a.test", to) if to == "a.test" else to and "x@" + to))
    ends(server, caller, wanted)
    assert juliet.pending("message") == []


@pytest.mark.parametrize("attribute", ["from", "to"])
def test_stanzas_without_an_address(server, attribute):
    name = new()
    caller = Caller(server, name, "a.test").secure(issue(name)).external()
    caller.send(message(name, "x@a.test").replace(" %s='" % attribute, " id='"))
    ends(server, caller, "improper-addressing")


def test_a_certificate_for_another_name(server):
    name = new()
    caller = Caller(server, name, "a.test")
    with pytest.raises(Closed, match="not-authorized"):
        caller.secure(issue("other.peer.test"))
    steps = server.ctl("peer", "show", name)["attempts"][0]["steps"]
    assert [s["verdict"] for s in steps if s.get("check") == "name"] == ["failed"], steps
    assert any(s["step"] == "policy" and s["verdict"] == "failed" for s in steps)


def test_no_certificate(server):
    with pytest.raises(Closed, match="not-authorized"):
        Caller(server, new(), "a.test").secure()


def test_external_for_another_name(server):
    name = new()
    caller = Caller(server, name, "a.test").secure(issue(name))
    caller.send("<auth xmlns='%s' mechanism='EXTERNAL'>%s</auth>" % (NS["sasl"], encode64("other.peer.test")))
    answer = caller.next()
    assert condition(answer) == "not-authorized", text(answer)
    caller.send(message(name, "x@a.test"))
    ends(server, caller, "not-authorized")


def test_external_without_a_good_certificate(server):
    name = new("dial")
    caller = Caller(server, name, "a.test").secure(issue("other.dial.test"))
    assert caller.features.find(q("sasl", "mechanisms")) is None
    caller.send("<auth xmlns='%s' mechanism='EXTERNAL'>=</auth>" % NS["sasl"])
    assert condition(caller.next()) == "not-authorized"


def test_it_says_that_it_is_us(server):
    with pytest.raises(Closed, match="invalid-from"):
        Caller(server, "c.test", "a.test").begin()


def test_it_is_refused(server):
    with pytest.raises(Closed, match="policy-violation"):
        Caller(server, "refused.test", "a.test").begin()


def test_a_domain_that_is_not_here(server):
    with pytest.raises(Closed, match="host-unknown"):
        Caller(server, new(), "nowhere.test").begin()


def test_another_name_in_the_second_header(server):
    """What was authenticated stays what it is."""
    name = new()
    caller = Caller(server, name, "a.test").secure(issue(name))
    caller.send("<auth xmlns='%s' mechanism='EXTERNAL'>=</auth>" % NS["sasl"])
    assert caller.next().tag == q("sasl", "success")
    caller.restart()
    caller.own = "other.peer.test"
    with pytest.raises(Closed, match="invalid-from"):
        caller.begin()


def test_elements_before_the_features(server):
    """With the header in one record, when the certificate has not been checked."""
    name = new("dial")
    caller = Caller(server, name, "a.test").begin()
    caller.send("<starttls xmlns='%s'/>" % NS["tls"])
    caller.next()
    caller.start_tls(issue(name), True)
    caller.send("<stream:stream xmlns='jabber:server' xmlns:db='%s' xmlns:stream='%s' version='1.0' from='%s' to='a.test'>"
                "<auth xmlns='%s' mechanism='EXTERNAL'>=</auth>" % (DIALBACK, NS["stream"], name, NS["sasl"]))
    ends(server, caller, "policy-violation")


def test_bytes_behind_starttls(server, juliet):
    """They were sent without TLS: they are nobody's."""
    name = new("dial")
    caller = Caller(server, name, "a.test").begin()
    caller.send("<starttls xmlns='%s'/>%s%s" % (
        NS["tls"], db("result", from_=name, to="a.test", key="injected"), message(name, juliet.jid, "injected")))
    answer = caller.next()
    assert answer.tag == q("tls", "proceed"), text(answer)
    caller.start_tls(issue(name), True)
    caller.begin()
    assert not caller.elements
    caller.external()
    assert juliet.pending("message") == []


@pytest.mark.parametrize("where", ["plain", "handshake", "tls", "stanza"])
@pytest.mark.parametrize("how", ["close", "abort"])
def test_closing_in_the_middle(server, juliet, where, how):
    name = new()
    caller = Caller(server, name, "a.test")
    if where == "plain":
        caller.send("<?xml version='1.0'?><stream:stre")
    elif where == "handshake":
        caller.begin()
        caller.send("<starttls xmlns='%s'/>" % NS["tls"])
        caller.next()
        caller.send(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03")
    else:
        caller.secure(issue(name))
        if where == "stanza":
            caller.external()
            caller.send("<message from='x@%s' to='%s'><body>half of" % (name, juliet.jid))
    getattr(caller, how)()
    wait_until(lambda: server.counter("s2sd", "streams-incoming") == 0)
    assert juliet.pending("message") == []
    still_works(server, juliet)


def test_a_header_that_does_not_end(server):
    caller = Caller(server, new(), "a.test")
    caller.own = "unknown"
    caller.send("<?xml version='1.0'?><stream:stream xmlns='jabber:server' a='" + "x" * 100000)
    assert caller.stream_error() == "policy-violation"
    caller.await_end()


def test_a_header_that_goes_on_slowly(server):
    caller = Caller(server, new(), "a.test")
    begin = time.monotonic()
    caller.send("<?xml version='1.0'?><stream:stream")
    while not caller.eof and time.monotonic() - begin < 12 * SLOW:
        caller.send(" ")
        try:
            caller.read_some(time.monotonic() + 0.3)
        except (TimeoutError, Closed):
            pass
    assert caller.eof and b"connection-timeout" in caller.received


@pytest.mark.parametrize("what", ["depth", "size", "login"])
def test_stanzas_that_are_too_much(server, juliet, what):
    name = new()
    caller = Caller(server, name, "a.test").secure(issue(name))
    if what == "login":
        caller.send("<auth xmlns='%s' mechanism='EXTERNAL'>%s</auth>" % (NS["sasl"], "A" * 20000))
    else:
        caller.external()
        inside = "<a xmlns='x'>" + "<a>" * 100 + "</a>" * 101 if what == "depth" else "<a xmlns='x'>%s</a>" % ("y" * 200000)
        caller.send(message(name, juliet.jid, "big").replace("</message>", inside + "</message>"))
    ends(server, caller, "policy-violation")
    assert juliet.pending("message") == []
    still_works(server, juliet)


def test_h_that_cannot_be(server, juliet):
    name = new()
    caller = Caller(server, name, "a.test").secure(issue(name)).external(bidi=True)
    caller.enable(resume=False)
    juliet.send("<iq type='get' id='%s' to='%s'><ping xmlns='%s'/></iq>" % (juliet.new_id(), name, NS["ping"]))
    assert local(caller.next()) == "iq"
    caller.acknowledge(7)
    ends(server, caller, "undefined-condition")


def test_an_acknowledgement_that_was_not_enabled(server):
    name = new()
    caller = Caller(server, name, "a.test").secure(issue(name)).external()
    caller.acknowledge(0)
    ends(server, caller, "unsupported-stanza-type")


def speak(caller, name):
    """On a stream in both directions ours go when the peer has spoken."""
    caller.send("<iq type='get' id='spoke' from='%s' to='a.test'><ping xmlns='urn:xmpp:ping'/></iq>" % name)


def test_two_streams_both_ways(server, juliet):
    """One of them has our stanzas, and when it ends the other one's end changes nothing."""
    name = new()
    first, second = (Caller(server, name, "a.test").secure(issue(name)).external(bidi=True) for _ in range(2))
    speak(first, name)
    for number in range(3):
        juliet.say("romeo@" + name, "number %d" % number)
        assert body(first.message()) == "number %d" % number
    second.end()
    juliet.say("romeo@" + name, "after the second")
    assert body(first.message()) == "after the second"
    first.end()
    third = Caller(server, name, "a.test").secure(issue(name)).external(bidi=True)
    speak(third, name)
    juliet.say("romeo@" + name, "third")
    assert body(third.message()) == "third"


# -- dialback ---------------------------------------------------------------------------------------


@pytest.fixture
def dialer(server):
    """A stream of which nothing is proven."""
    name = new("dial")
    return Caller(server, name, "a.test").secure(issue("other.dial.test"))


def asked(listener):
    """The connection on which we ask about a key: up to the question."""
    callee = listener.accept()
    callee.secure(issue("*.dial.test"))
    element = callee.next()
    assert element.tag == "{%s}verify" % DIALBACK, text(element)
    return callee, element


def verdict(callee, question, kind="valid", **changed):
    attributes = {"from_": question.get("to"), "to": question.get("from"), "id": question.get("id"), **changed}
    callee.send(db("verify", type=kind, **attributes))


def test_dialback_that_is_right(listener, dialer, juliet):
    dialer.send(db("result", from_=dialer.own, to="a.test", key="abcd"))
    callee, question = asked(listener)
    assert question.text == "abcd" and question.get("id") == dialer.root.get("id")
    verdict(callee, question)
    answer = dialer.next()
    assert answer.tag == "{%s}result" % DIALBACK and answer.get("type") == "valid", text(answer)
    dialer.send(message(dialer.own, juliet.jid, "proven"))
    assert body(juliet.message()) == "proven"


def test_dialback_that_is_not(server, listener, dialer, juliet):
    dialer.send(db("result", from_=dialer.own, to="a.test", key="abcd"))
    verdict(*asked(listener), kind="invalid")
    answer = dialer.next()
    assert answer.get("type") == "invalid", text(answer)
    dialer.send(message(dialer.own, juliet.jid))
    ends(server, dialer, "not-authorized")


@pytest.mark.parametrize("name", ["result", "verify"])
@pytest.mark.parametrize("kind", ["valid", "invalid", "error"])
def test_verdicts_that_nobody_asked_for(server, dialer, juliet, name, kind):
    """CVE-2012-3525 and those like it."""
    dialer.send(db(name, from_=dialer.own, to="a.test", id=dialer.root.get("id"), type=kind))
    ends(server, dialer, "invalid-from")


def test_a_verdict_on_the_wrong_stream(server, listener, dialer):
    """While the question is asked elsewhere, the stream that it is about answers it itself."""
    dialer.send(db("result", from_=dialer.own, to="a.test", key="abcd"))
    _, question = asked(listener)
    dialer.send(db("verify", from_=dialer.own, to="a.test", id=question.get("id"), type="valid"))
    ends(server, dialer, "invalid-from")


@pytest.mark.parametrize("changed", [
    {"id": "another"}, {"from_": "other.dial.test"}, {"to": "c.test"}, {"from_": "a.test"}])
def test_a_verdict_about_something_else(server, listener, dialer, juliet, changed):
    dialer.send(db("result", from_=dialer.own, to="a.test", key="abcd"))
    callee, question = asked(listener)
    verdict(callee, question, **changed)
    ends(server, callee, "invalid-from")
    answer = dialer.next()
    assert (local(answer), answer.get("type")) == ("result", "error"), text(answer)
    dialer.send(message(dialer.own, juliet.jid))
    assert dialer.stream_error() == "not-authorized"


def test_a_verdict_of_the_other_kind(server, listener, dialer):
    dialer.send(db("result", from_=dialer.own, to="a.test", key="abcd"))
    callee, question = asked(listener)
    callee.send(db("result", from_=dialer.own, to="a.test", type="valid"))
    ends(server, callee, "invalid-from")
    assert dialer.next().get("type") == "error"


@pytest.mark.parametrize("from_, to, wanted", [
    ("a.test", "a.test", "not-allowed"), ("c.test", "a.test", "not-allowed"),
    ("x.dial.test", "nowhere.test", "item-not-found"), ("x.peer.test", "a.test", "policy-violation"),
    ("refused.test", "a.test", "policy-violation")])
def test_keys_that_are_not_asked_about(dialer, from_, to, wanted):
    dialer.send(db("result", from_=from_, to=to, key="abcd"))
    answer = dialer.next()
    assert (answer.get("type"), condition(answer)) == ("error", wanted), text(answer)
    assert answer.get("from") == to and answer.get("to") == from_


@pytest.mark.parametrize("id, to", [("no-such-stream", "a.test"), ("x" * 250, "c.test")])
def test_keys_that_are_not_ours(dialer, id, to):
    dialer.send(db("verify", from_=dialer.own, to=to, id=id, key="guess"))
    answer = dialer.next()
    assert (local(answer), answer.get("type"), answer.get("id")) == ("verify", "invalid", id), text(answer)


def test_a_flood_of_domains(server, listener, dialer):
    """Nobody answers for any of them: no more than so many are asked about at a time."""
    dialer.send("".join(db("result", from_="f%d.dial.test" % n, to="a.test", key="k") for n in range(40)))
    ends(server, dialer, "policy-violation")
    wait_until(lambda: server.counter("s2sd", "dialbacks") == 0)


def test_a_flood_of_refusals(server, dialer):
    """Each is answered; the log has the 1st, 2nd, 4th and so on."""
    since = len(server.log.read_bytes())
    for number in range(60):
        dialer.send(db("result", from_="r%d.dial.test" % number, to="nobody.test", key="k"))
        dialer.wait(lambda e: local(e) == "result")
    told = [line for line in server.log_text(since).splitlines() if "dialback refused" in line]
    assert 1 <= len(told) <= 7, told


def test_a_flood_of_keys(server, dialer):
    """All in one record, and gone: nothing is left of those whose keys were being checked."""
    dialer.send("".join(db("verify", from_=dialer.own, to="a.test", id="i%d" % n, key="k") for n in range(12)))
    dialer.abort()
    wait_until(lambda: server.counter("s2sd", "dialbacks") == 0)
    second = Caller(server, new("dial"), "a.test").secure()
    second.send("".join(db("verify", from_=second.own, to="a.test", id="i%d" % n, key="k") for n in range(12)))
    assert {second.next().get("id") for _ in range(12)} == {"i%d" % n for n in range(12)}
    second.send("".join(db("verify", from_=second.own, to="a.test", id="i%d" % n, key="k") for n in range(40)))
    ends(server, second, "policy-violation")


def test_the_same_domain_twice(server, listener, dialer):
    dialer.send(2 * db("result", from_=dialer.own, to="a.test", key="k"))
    ends(server, dialer, "policy-violation")


def test_a_flood_of_answers(server, dialer, juliet):
    """It asks, and does not read what it is told: it is read no more, and given up in the end."""
    flood = db("result", from_="a.test", to="a.test", key="k") * 200
    before = server.memory("s2sd")
    with pytest.raises(TimeoutError):
        for _ in range(2000):
            dialer.send(flood, seconds=2, read=False)
    assert server.memory("s2sd") - before < 8 * SLOW << 20
    assert server.counter("s2sd", "answers-full") > 0
    dialer.close()
    still_works(server, juliet)


# -- servers that we connect to ---------------------------------------------------------------------


def call(juliet, listener, kind="peer"):
    """We want something of a server: its domain, the connection, and the id of the request."""
    name = new(kind)
    id = juliet.new_id()
    juliet.send("<iq type='get' id='%s' to='%s'><ping xmlns='%s'/></iq>" % (id, name, NS["ping"]))
    return name, listener.accept(), id


def fails(server, juliet, name, id, step, reason, **fields):
    """It is answered, and the history says why."""
    answer = juliet.wait(lambda e: e.get("id") == id, 20 * SLOW)
    assert condition(answer) == "remote-server-timeout", text(answer)
    attempt = server.ctl("peer", "show", name)["attempts"][0]
    found = [s for s in attempt["steps"] if s["step"] == step and s["verdict"] == "failed"]
    assert attempt["verdict"] == "failed" and any(
        reason in s.get("reason", "") and all(s.get(k) == v for k, v in fields.items()) for s in found), attempt
    assert len(wait_until(lambda: [line for line in server.log_text(server.log_begin).splitlines()
                                   if "path down " in line and name in line])) == 1


def test_it_does_not_offer_tls(server, juliet, listener):
    name, callee, id = call(juliet, listener)
    callee.answer(EXTERNAL + OFFER_DIALBACK)
    fails(server, juliet, name, id, "tls", "does not offer TLS")
    callee.await_end()
    assert b"ping" not in callee.received and b"<auth" not in callee.received


def test_it_refuses_tls(server, juliet, listener):
    name, callee, id = call(juliet, listener)
    callee.answer(STARTTLS)
    callee.next()
    callee.send("<failure xmlns='%s'/></stream:stream>" % NS["tls"])
    fails(server, juliet, name, id, "tls", "refuses TLS")


def test_bytes_behind_proceed(server, juliet, listener):
    """They were sent without TLS: the features in them do not count."""
    name, callee, id = call(juliet, listener)
    callee.answer(STARTTLS)
    callee.next()
    callee.send("<proceed xmlns='%s'/><stream:features>%s</stream:features>"
                "<success xmlns='%s'/>" % (NS["tls"], EXTERNAL, NS["sasl"]))
    callee.start_tls(issue(name), False)
    callee.answer("")  # no mechanism
    fails(server, juliet, name, id, "authentication", "does not accept our certificate")


@pytest.mark.parametrize("certificate, check", [
    (("other.peer.test",), "name"), (None, "dates")])
def test_its_certificate_is_not_good(server, juliet, listener, certificate, check):
    name, callee, id = call(juliet, listener)
    callee.secure(issue(*certificate) if certificate else issue(name, -1))
    fails(server, juliet, name, id, "certificate", "", check=check)


def test_it_never_answers(server, juliet, listener):
    name, callee, id = call(juliet, listener)
    fails(server, juliet, name, id, "stream", "out of time")
    callee.await_end()


def test_it_never_ends_its_header(server, juliet, listener):
    name, callee, id = call(juliet, listener)
    callee.names = {"to": name}
    callee.send("<?xml version='1.0'?><stream:stream xmlns='jabber:server' id='" + "x" * 60000)
    fails(server, juliet, name, id, "stream", "policy-violation")


def test_it_ends_in_the_handshake(server, juliet, listener):
    name, callee, id = call(juliet, listener)
    callee.answer(STARTTLS)
    callee.next()
    callee.send("<proceed xmlns='%s'/>" % NS["tls"])
    assert select.select([callee.socket], [], [], 5 * SLOW)[0] and callee.socket.recv(100)[0] == 0x16
    callee.abort()
    fails(server, juliet, name, id, "stream", "")


def test_it_ends_in_the_middle(server, juliet, listener):
    name, callee, id = call(juliet, listener)
    callee.secure(issue(name))
    callee.next()
    callee.send("<succ")
    callee.close()
    fails(server, juliet, name, id, "stream", "closed")


@pytest.mark.parametrize("unasked", [
    db("result", from_="%s", to="a.test", type="valid"), db("verify", from_="%s", to="a.test", id="theirs", type="valid"),
    "<success xmlns='%s'/>" % NS["sasl"], "<enabled xmlns='%s'/>" % NS["sm"],
    "<message from='x@%s' to='y@a.test'><body>early</body></message>"])
def test_answers_to_what_was_not_asked(server, juliet, listener, unasked):
    name, callee, id = call(juliet, listener)
    callee.secure(issue(name), features="")
    callee.send(unasked.replace("%s", name))
    answer = juliet.wait(lambda e: e.get("id") == id, 20 * SLOW)
    assert condition(answer) == "remote-server-timeout", text(answer)
    callee.await_end()
    assert server.ctl("peer", "show", name)["attempts"][0]["verdict"] == "failed"


def reached(juliet, listener, features=""):
    """A stream of ours to a server, which has the request."""
    name, callee, id = call(juliet, listener)
    callee.secure(issue(name))
    callee.accept_external(features)
    return name, callee, id


@pytest.mark.parametrize("from_", [None, "other.peer.test"])
def test_stanzas_on_our_stream(server, juliet, listener, from_):
    """It has not proven its domain, nor was bidi negotiated (XEP-0288)."""
    name, callee, id = reached(juliet, listener)
    callee.wait(lambda e: e.get("id") == id)
    callee.send(message(from_ or name, juliet.jid, "through the back door"))
    ends(server, callee, "invalid-from")
    assert juliet.pending("message") == []


def test_another_domain_on_a_bidi_stream(server, juliet, listener):
    name, callee, id = call(juliet, listener)
    callee.secure(issue(name), features=EXTERNAL + "<bidi xmlns='urn:xmpp:features:bidi'/>")
    assert callee.next().tag == "{urn:xmpp:bidi}bidi"
    callee.accept_external()
    callee.wait(lambda e: e.get("id") == id)
    callee.send(message(name, juliet.jid, "the same way"))
    assert body(juliet.message()) == "the same way"
    callee.send(message("other.peer.test", juliet.jid, "not that"))
    ends(server, callee, "invalid-from")
    assert juliet.pending("message") == []


def test_delays_in_our_name(server, juliet):
    """Not of the domain that it talks to, and of no other of ours; its own are its to say."""
    name = new()
    caller = Caller(server, name, "a.test").secure(issue(name)).external()
    delays = "".join("<delay xmlns='urn:xmpp:delay' from='%s' stamp='2001-01-01T00:00:00Z'/>" % domain
                     for domain in ("a.test", "c.test", name))
    caller.send("<message from='romeo@%s' to='%s'><body>x</body>%s</message>" % (name, juliet.jid, delays))
    assert [e.get("from") for e in juliet.message().iter("{urn:xmpp:delay}delay")] == [name]


@pytest.mark.parametrize("h", ["5", "-1", "4294967296", "x"])
def test_it_acknowledges_what_was_not_sent(server, juliet, listener, h):
    name, callee, id = reached(juliet, listener, MANAGEMENT)
    assert callee.next().tag == q("sm", "enable")
    callee.send("<enabled xmlns='%s'/>" % NS["sm"])
    callee.wait(lambda e: e.get("id") == id)
    callee.send("<a xmlns='%s' h='%s'/>" % (NS["sm"], h))
    ends(server, callee, "undefined-condition" if h == "5" else "bad-format")
    if h == "5":
        detail = callee.error.find(q("sm", "handled-count-too-high"))
        assert (detail.get("h"), detail.get("send-count")) == ("5", "1"), text(callee.error)


def test_dialback_on_our_stream(server, juliet, listener):
    """A verdict that comes once the stream is up, or a key of its own."""
    for element in (db("result", from_="%s", to="a.test", type="valid"),
                    db("result", from_="%s", to="a.test", key="k"),
                    db("verify", from_="%s", to="a.test", id="x", type="valid")):
        name, callee, id = reached(juliet, listener)
        callee.wait(lambda e: e.get("id") == id)
        callee.send(element.replace("%s", name))
        ends(server, callee, "policy-violation")


# -- how much of it ---------------------------------------------------------------------------------


def test_streams_of_one_domain():
    with Listener() as listener, Server(
            "a.test", s2s={"domain-streams": 3, "authentication": "dialback"},
            peers={"*.dial.test": {"address": ["127.0.0.1:%d" % listener.port]}}) as suite:
        callers = [Caller(suite, "x.dial.test", "a.test").secure(issue("x.dial.test")).external() for _ in range(3)]
        late = Caller(suite, "x.dial.test", "a.test").secure(issue("x.dial.test"))
        late.send("<auth xmlns='%s' mechanism='EXTERNAL'>=</auth>" % NS["sasl"])
        assert late.stream_error() == "policy-violation"
        dialer = Caller(suite, "x.dial.test", "a.test").secure()
        dialer.send(db("result", from_=dialer.own, to="a.test", key="k"))
        verdict(*asked(listener))
        answer = dialer.next()
        assert (answer.get("type"), condition(answer)) == ("error", "resource-constraint"), text(answer)
        Caller(suite, "y.dial.test", "a.test").secure(issue("y.dial.test")).external()
        callers[0].end()
        wait_until(lambda: suite.counter("s2sd", "streams-incoming") == 4)
        Caller(suite, "x.dial.test", "a.test").secure(issue("x.dial.test")).external()


@pytest.mark.parametrize("limits, words", [({"domain-stanzas": 20}, "x"), ({"domain-bytes": 10000}, "x" * 500)])
def test_one_that_sends_too_much_is_read_more_slowly(limits, words):
    """A hundred stanzas are there at once, by what may come in five seconds; fifty more take their time, and come."""
    with Server("a.test", s2s=limits) as suite:
        juliet = suite.login(suite.account(), "balcony", available=0)
        caller = Caller(suite, "b.test", "a.test").secure(issue("b.test")).external()
        begin = time.monotonic()
        for number in range(170):
            caller.send("<message from='romeo@b.test' to='%s' id='%d'><body>%s</body></message>" % (juliet.jid, number, words))
        other = Caller(suite, "c.test", "a.test").secure(issue("c.test")).external()
        other.send(message("c.test", juliet.jid, "meanwhile"))
        got = [juliet.message(20 * SLOW) for _ in range(171)]
        assert [m.get("id") for m in got if m.get("from") != "romeo@c.test"] == [str(n) for n in range(170)]
        assert got[-1].get("from") != "romeo@c.test"  # that one did not wait for the others
        assert time.monotonic() - begin > 1
        assert suite.counter("s2sd", "domains-slowed") > 0
        caller.send(message("b.test", juliet.jid, "and again"))
        assert body(juliet.message(20 * SLOW)) == "and again"


def test_a_stream_with_nothing_to_say_is_closed():
    with Listener() as listener, Server(
            "a.test", s2s={"close-time": 2},
            peers={"x.peer.test": {"address": ["127.0.0.1:%d" % listener.port]}}) as suite:
        juliet = suite.login(suite.account(), "balcony", available=0)
        for number in range(2):
            juliet.say("romeo@x.peer.test", "number %d" % number)
            callee = listener.accept()
            callee.secure(issue("x.peer.test"))
            callee.accept_external()
            assert body(callee.message()) == "number %d" % number
            juliet.say("romeo@x.peer.test", "more")
            assert body(callee.message()) == "more"
            begin = time.monotonic()
            callee.await_end(10 * SLOW)
            assert callee.ended and time.monotonic() - begin > 1
        assert juliet.pending("message") == []


def test_one_that_takes_streams_and_no_stanzas():
    """It is not called again and again; the message waits, and comes when it has thought better of it."""
    with Listener() as listener, Server(
            "a.test", peers={"x.peer.test": {"address": ["127.0.0.1:%d" % listener.port]}}) as suite:
        juliet = suite.login(suite.account(), "balcony", available=0)
        juliet.say("romeo@x.peer.test", "poison")
        times = []
        for attempt in range(3):
            callee = listener.accept(20 * SLOW)
            times.append(time.monotonic())
            callee.secure(issue("x.peer.test"))
            callee.accept_external(MANAGEMENT)
            assert callee.next().tag == q("sm", "enable")
            callee.send("<enabled xmlns='%s'/>" % NS["sm"])
            assert body(callee.message()) == "poison"
            callee.send("<a xmlns='%s' h='1'/>" % NS["sm"] if attempt == 2 else
                        "<stream:error><undefined-condition xmlns='%s'/></stream:error></stream:stream>" % NS["streams"])
        assert times[1] - times[0] < 2 * SLOW and times[2] - times[1] > 2, times
        wait_until(lambda: not suite.ctl("queue", "list"))
