"""External components (XEP-0114) and other servers: their stanzas go both ways, unless the component is private."""

import contextlib

import pytest

from raw import NS, body, condition, local, q, text
from servers import federation, issue
from suite import SLOW, wait_until
from test_component import Component as AnyComponent

GATE, INNER, SECRET = "gate.a.test", "inner.a.test", "s3cret"
DIALBACK = {"authentication": "dialback"}


def Component(suite, domain=GATE):
    return AnyComponent(suite, domain, SECRET)


def own_certificate():
    certificate, key = issue(GATE)
    return {"certificate": certificate, "key": key}


@contextlib.contextmanager
def hosting(gate=None, **options):
    options.setdefault("a_certificate", issue("a.test", also=[GATE, INNER]))
    components = {GATE: {"secret": SECRET, **(gate or {})}, INNER: {"secret": SECRET, "federate": False}}
    with federation(a_components=components, **options) as (a, b):
        yield a, b


@pytest.fixture(scope="module")
def pair():
    with hosting() as (a, b):
        yield a, b


def talk(a, b, component):
    """Messages and requests both ways, whoever begins."""
    romeo = b.login(b.account(), "orchard", available=0)
    romeo.say("bot@" + GATE, "to the gate")
    message = component.message(30 * SLOW)
    assert body(message) == "to the gate" and message.get("from") == romeo.jid
    component.send("<message from='bot@%s' to='%s' type='chat'><body>from the gate</body></message>" % (GATE, romeo.jid))
    answer = romeo.message(30 * SLOW)
    assert body(answer) == "from the gate" and answer.get("from") == "bot@" + GATE
    romeo.send("<iq type='get' id='q1' to='%s'><ping xmlns='urn:xmpp:ping'/></iq>" % GATE)
    request = component.wait(lambda e: local(e) == "iq")
    component.send("<iq type='result' id='q1' from='%s' to='%s'/>" % (GATE, request.get("from")))
    assert romeo.wait(lambda e: e.get("id") == "q1").get("type") == "result"
    component.send("<iq type='get' id='q2' from='%s' to='b.test'><query xmlns='%s'/></iq>" % (GATE, NS["disco#info"]))
    answer = component.wait(lambda e: e.get("id") == "q2")
    assert answer.get("type") == "result" and answer.get("from") == "b.test", text(answer)
    return romeo


def mechanisms(suite, domain):
    return {s.get("mechanism") for attempt in suite.ctl("peer", "show", domain)["attempts"]
            for s in attempt["steps"] if s["step"] == "authentication"}


def test_by_a_certificate_of_the_server(pair):
    """The certificate of a.test names the component as well."""
    a, b = pair
    talk(a, b, Component(a).connect())
    assert mechanisms(a, "b.test") == {"EXTERNAL"} and mechanisms(b, GATE) == {"EXTERNAL"}
    rows = {(row["domain"], row["from"]) for row in a.ctl("peer", "list")}
    assert ("b.test", GATE) in rows, rows


@pytest.mark.parametrize("first", ["component", "server"])
def test_who_begins(first):
    with hosting() as (a, b):
        component = Component(a).connect()
        romeo = b.login(b.account(), "orchard", available=0)
        if first == "component":
            component.send("<message from='bot@%s' to='%s' type='chat'><body>x</body></message>" % (GATE, romeo.jid))
            assert body(romeo.message(30 * SLOW)) == "x"
        else:
            romeo.say("bot@" + GATE, "x")
            assert body(component.message(30 * SLOW)) == "x"


def test_by_a_certificate_of_its_own():
    with hosting(own_certificate(), a_certificate=issue("a.test")) as (a, b):
        talk(a, b, Component(a).connect())
        assert mechanisms(a, "b.test") == {"EXTERNAL"}


def test_a_certificate_that_comes_later():
    """A reload brings it; before, nobody believes that the component is who it says."""
    with hosting(a_certificate=issue("a.test")) as (a, b):
        component = Component(a).connect()
        component.send("<iq type='get' id='q' from='%s' to='b.test'><ping xmlns='urn:xmpp:ping'/></iq>" % GATE)
        answer = component.wait(lambda e: e.get("id") == "q", 30 * SLOW)
        assert condition(answer) == "remote-server-timeout", text(answer)
        a.components[GATE].update(own_certificate())
        a.write_config()
        a.ctl("reload")
        a.ctl("peer", "test", "b.test", GATE)
        talk(a, b, component)


def test_by_dialback():
    with hosting(a_s2s=DIALBACK, b_s2s=DIALBACK, a_certificate=issue("other.test"),
                 b_certificate=issue("another.test")) as (a, b):
        talk(a, b, Component(a).connect())
        assert mechanisms(b, GATE) == {"dialback"}


def test_what_waits_for_it(pair):
    """Messages of another server's accounts for a component that is away are on its spool."""
    a, b = pair
    romeo = b.login(b.account(), "orchard", available=0)
    for client in a.clients:
        client.close()
    wait_until(lambda: [r for r in a.ctl("peer", "list") if r["domain"] == GATE and r["state"] == "up"] == [])
    for number in range(3):
        romeo.say("bot@" + GATE, "waits %d" % number)
    wait_until(lambda: [r for r in a.ctl("queue", "list") if r["account"] == GATE and r["messages"] == 3])
    component = Component(a).connect()
    assert [body(component.message(30 * SLOW)) for _ in range(3)] == ["waits %d" % n for n in range(3)]
    wait_until(lambda: not a.ctl("queue", "list"))
    wait_until(lambda: not b.ctl("queue", "list"))


def test_a_private_one(pair):
    """Neither does it reach others, nor is it reached; here it works."""
    a, b = pair
    component = Component(a, INNER).connect()
    juliet = a.login(a.account(), "balcony", available=0)
    romeo = b.login(b.account(), "orchard", available=0)
    component.send("<message from='bot@%s' to='%s' type='chat' id='p1'><body>no</body></message>" % (INNER, romeo.jid))
    error = component.message()
    assert (error.get("type"), error.get("id")) == ("error", "p1") and condition(error) == "not-allowed"
    assert not a.ctl("queue", "list")
    romeo.say("bot@" + INNER, "no", id="p2")
    romeo.send("<iq type='get' id='p3' to='%s'><ping xmlns='urn:xmpp:ping'/></iq>" % INNER)
    answer = romeo.wait(lambda e: e.get("id") == "p3", 30 * SLOW)
    assert answer.get("type") == "error", text(answer)
    items = romeo.iq("get", "<query xmlns='%s'/>" % NS["disco#items"], to="a.test")
    assert {e.get("jid") for e in items.iter(q("disco#items", "item"))} == {GATE}
    juliet.say("bot@" + INNER, "yes")
    assert body(component.message()) == "yes"


def test_subscription(pair):
    a, b = pair
    component = Component(a).connect()
    romeo = b.login(b.account(), "orchard", available=0)
    bare, bot = romeo.jid.partition("/")[0], "bot@" + GATE
    component.send("<presence type='subscribe' from='%s' to='%s'/>" % (bot, bare))
    romeo.wait(lambda e: e.get("type") == "subscribe", 30 * SLOW)
    romeo.send("<presence type='subscribed' to='%s'/>" % bot)
    assert component.wait(lambda e: e.get("type") == "subscribed").get("to") == bot
    assert component.wait(lambda e: local(e) == "presence" and e.get("from") == romeo.jid).get("type") is None
