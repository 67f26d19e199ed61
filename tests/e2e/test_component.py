"""External components (XEP-0114): the handshake, stanzas both ways, what waits for one that is away."""

import asyncio
import hashlib
import time

import pytest
import slixmpp

import raw
from clients import slix  # noqa: F401
from raw import NS, body, condition, local, q, text
from suite import SLOW, CommandFailed, Suite, run_async, wait_until

DOMAIN = "echo.localhost"
SECRET = "s3cret & long"
COMPONENT = "jabber:component:accept"


class Component(raw.Client):
    """A component on a bare socket: its stanzas are returned as those of a client."""

    def __init__(self, suite, domain=DOMAIN, secret=SECRET):
        super().__init__("127.0.0.1", suite.component_port)
        self.timeout = raw.TIMEOUT * SLOW
        self.domain, self.secret = domain, secret
        suite.clients.append(self)

    def take(self, data):
        super().take(data)
        for element in self.elements:
            for part in element.iter():
                part.tag = part.tag.replace(COMPONENT, NS["client"])

    def begin(self):
        self.header(self.domain, version=None, ns=COMPONENT)
        return self.await_header()

    def shake(self, digest=None):
        identity = self.begin()["id"]
        digest = digest or hashlib.sha1((identity + self.secret).encode()).hexdigest()
        self.send("<handshake>%s</handshake>" % digest)
        return self

    def connect(self):
        self.shake()
        element = self.next()
        assert local(element) == "handshake", text(element)
        return self


@pytest.fixture(scope="module")
def hosting():
    with Suite(components={DOMAIN: {"secret": SECRET, "name": "Echo & Co"},
                           "mute.localhost": {"secret": "x"}, "closed.localhost": {}}) as suite:
        yield suite


@pytest.fixture
def juliet(hosting):
    return hosting.login(hosting.account(), "balcony", available=0)


def test_handshake(hosting):
    component = Component(hosting)
    header = component.begin()
    assert header["from"] == DOMAIN
    assert len(header["id"]) >= 16


@pytest.mark.parametrize("domain, secret", [
    (DOMAIN, "wrong"), ("closed.localhost", ""), ("mute.localhost", SECRET)])
def test_wrong_secret(hosting, domain, secret):
    assert Component(hosting, domain, secret).shake().stream_error() == "not-authorized"


@pytest.mark.parametrize("domain", ["localhost", "unknown.localhost", "not a domain"])
def test_unknown_domain(hosting, domain):
    component = Component(hosting, domain)
    component.begin()
    assert component.stream_error() == "host-unknown"


def test_nothing_before_the_handshake(hosting, juliet):
    component = Component(hosting)
    component.begin()
    component.send("<message from='a@%s' to='%s'><body>hi</body></message>" % (DOMAIN, juliet.jid))
    assert component.stream_error() == "not-authorized"
    assert juliet.pending("message") == []


def test_client_namespace_is_refused(hosting):
    component = Component(hosting)
    component.header(DOMAIN, version=None)
    assert component.stream_error() == "invalid-namespace"


def test_both_ways(hosting, juliet):
    component = Component(hosting).connect()
    juliet.say("bot@%s" % DOMAIN, "one")
    juliet.send("<presence to='bot@%s'/>" % DOMAIN)
    juliet.say("bot@%s/x" % DOMAIN, "two")
    message, presence, other = component.message(), component.presence(), component.message()
    assert [body(message), body(other)] == ["one", "two"]
    assert message.get("from") == other.get("from") == presence.get("from") == juliet.jid
    assert message.get("to") == "bot@" + DOMAIN and other.get("to") == "bot@%s/x" % DOMAIN
    assert message.find(q("sid", "stanza-id")) is None
    component.send("<message from='bot@%s/y' to='%s' type='chat'><body>three</body></message>" % (
        DOMAIN, juliet.jid))
    answer = juliet.message()
    assert body(answer) == "three" and answer.get("from") == "bot@%s/y" % DOMAIN


def test_requests_both_ways(hosting, juliet):
    component = Component(hosting).connect()
    juliet.send("<iq type='get' id='q1' to='%s'><ping xmlns='urn:xmpp:ping'/></iq>" % DOMAIN)
    request = component.wait(lambda e: local(e) == "iq")
    assert request[0].tag == "{urn:xmpp:ping}ping"
    component.send("<iq type='result' id='q1' from='%s' to='%s'/>" % (DOMAIN, juliet.jid))
    answer = juliet.wait(lambda e: e.get("id") == "q1")
    assert answer.get("type") == "result" and answer.get("from") == DOMAIN
    for to in (juliet.jid, "localhost"):
        component.send("<iq type='get' id='d' from='%s' to='%s'>"
                       "<query xmlns='http://jabber.org/protocol/disco#info'/></iq>" % (DOMAIN, to))
    info = component.wait(lambda e: local(e) == "iq" and e.get("from") == "localhost")
    assert info.get("type") == "result" and info.find(".//{*}identity") is not None
    asked = juliet.wait(lambda e: e.get("id") == "d")
    juliet.send("<iq type='result' id='d' to='%s'/>" % asked.get("from"))
    assert component.wait(lambda e: local(e) == "iq").get("from") == juliet.jid


def test_an_account_is_for_those_who_have_it(hosting, juliet):
    component = Component(hosting).connect()
    bare = juliet.jid.partition("/")[0]
    for payload, to in (("<query xmlns='jabber:iq:roster'/>", bare),
                        ("<query xmlns='urn:xmpp:mam:2'/>", bare),
                        ("<query xmlns='jabber:iq:register'/>", "localhost"),
                        ("<blocklist xmlns='urn:xmpp:blocking'/>", bare),
                        ("<query xmlns='http://jabber.org/protocol/disco#info'/>", bare)):
        kind = "set" if "mam" in payload else "get"
        component.send("<iq type='%s' id='x' from='a@%s' to='%s'>%s</iq>" % (kind, DOMAIN, to, payload))
        answer = component.wait(lambda e: local(e) == "iq")
        assert answer.get("type") == "error", text(answer)


@pytest.mark.parametrize("sender", [
    "juliet@localhost", "a@mute.localhost", "a@%s.localhost" % DOMAIN, "other.test", "@" + DOMAIN])
def test_it_speaks_for_its_own_domain_only(hosting, juliet, sender):
    component = Component(hosting).connect()
    component.send("<message from='%s' to='%s'><body>forged</body></message>" % (sender, juliet.jid))
    assert component.stream_error() == "invalid-from"
    assert juliet.pending("message") == []


@pytest.mark.parametrize("stanza", [
    "<message to='a@localhost'/>", "<message from='a@%s'/>" % DOMAIN, "<iq from='%s' type='get'/>" % DOMAIN])
def test_addresses_are_needed(hosting, stanza):
    component = Component(hosting).connect()
    component.send(stanza)
    assert component.stream_error() == "improper-addressing"


def test_a_malformed_request_is_answered(hosting, juliet):
    component = Component(hosting).connect()
    component.send("<iq from='%s' to='%s' type='get' id='two'><a xmlns='a:b'/><b xmlns='a:b'/></iq>" % (
        DOMAIN, juliet.jid))
    answer = component.wait(lambda e: local(e) == "iq")
    assert answer.get("id") == "two" and condition(answer) == "bad-request"


def test_what_waits_comes_in_order_and_once(hosting, juliet):
    """Messages for a component that is away are on the spool, also over a restart of everything."""
    for number in range(5):
        juliet.say("bot@%s" % DOMAIN, "waits %d" % number)
    juliet.sync()
    assert {"account": DOMAIN, "messages": 5} == {
        k: v for k, v in next(r for r in hosting.ctl("queue", "list") if r["account"] == DOMAIN).items()
        if k in ("account", "messages")}
    for name in ("s2sd", "router", "archived"):
        hosting.kill(name)
    component = Component(hosting).connect()
    assert [body(component.message()) for _ in range(5)] == ["waits %d" % n for n in range(5)]
    wait_until(lambda: not [r for r in hosting.ctl("queue", "list") if r["account"] == DOMAIN])
    component.close()
    again = Component(hosting).connect()
    juliet.say("bot@%s" % DOMAIN, "later")
    assert body(again.message()) == "later"


def test_subscriptions_wait_among_messages(hosting):
    """They have their place among the messages of their sender, and are in nobody's archive or other sessions."""
    account = hosting.account()
    juliet = hosting.login(account, "balcony", available=0)
    other = hosting.login(account, "garden", available=0)
    other.iq("set", "<enable xmlns='urn:xmpp:carbons:2'/>")
    bot = "bot@" + DOMAIN
    juliet.say(bot, "one")
    juliet.send("<presence type='subscribe' to='%s'/>" % bot)
    juliet.say(bot, "two")
    juliet.send("<presence type='unsubscribe' to='%s'/>" % bot)
    juliet.say(bot, "three")
    juliet.sync()
    wait_until(lambda: [r for r in hosting.ctl("queue", "list") if r["account"] == DOMAIN and r["messages"] == 5])
    for name in ("s2sd", "router", "archived", "authd"):
        hosting.kill(name)
    component = Component(hosting).connect()
    came = [component.wait(lambda e: e.get("from").startswith(account)) for _ in range(5)]
    assert [body(e) or e.get("type") for e in came] == ["one", "subscribe", "two", "unsubscribe", "three"]
    assert [e.get("from") for e in came if local(e) == "presence"] == [account, account]
    wait_until(lambda: not [r for r in hosting.ctl("queue", "list") if r["account"] == DOMAIN])
    assert len(other.pending("message")) == 3
    juliet.send("<iq type='set' id='m'><query xmlns='urn:xmpp:mam:2'/></iq>")
    found = []
    while True:
        element = juliet.next()
        if element.get("id") == "m":
            break
        found += [e.text for e in element.iter(q("client", "body"))]
    assert found == ["one", "two", "three"]


def test_requests_to_one_that_is_away_are_answered(hosting, juliet):
    answer = juliet.iq("get", "<ping xmlns='urn:xmpp:ping'/>", to="mute.localhost")
    assert condition(answer) == "remote-server-timeout", text(answer)


def test_a_new_connection_replaces_the_old(hosting, juliet):
    first = Component(hosting).connect()
    second = Component(hosting).connect()
    assert first.stream_error() == "conflict"
    juliet.say("bot@%s" % DOMAIN, "to the second")
    assert body(second.message()) == "to the second"


def test_subscription_both_ways(hosting, juliet):
    component = Component(hosting).connect()
    bare = juliet.jid.partition("/")[0]
    bot = "bot@" + DOMAIN
    juliet.send("<presence type='subscribe' to='%s'/>" % bot)
    request = component.presence()
    assert (request.get("type"), request.get("from"), request.get("to")) == ("subscribe", bare, bot)
    component.send("<presence type='subscribed' from='%s' to='%s'/>" % (bot, bare))
    component.send("<presence from='%s/r' to='%s'/>" % (bot, bare))
    assert juliet.wait(lambda e: e.get("from") == bot + "/r").get("type") is None
    component.send("<presence type='subscribe' from='%s' to='%s'/>" % (bot, bare))
    juliet.wait(lambda e: local(e) == "presence" and e.get("type") == "subscribe")
    juliet.send("<presence type='subscribed' to='%s'/>" % bot)
    assert component.wait(lambda e: e.get("type") == "subscribed").get("to") == bot
    shown = component.wait(lambda e: local(e) == "presence" and e.get("type") is None)
    assert shown.get("from") == juliet.jid
    component.send("<presence type='probe' from='%s' to='%s'/>" % (bot, bare))
    assert component.wait(lambda e: local(e) == "presence").get("from") == juliet.jid
    juliet.send("<presence type='unavailable'/>")
    assert component.wait(lambda e: e.get("type") == "unavailable").get("from") == juliet.jid


def test_a_probe_of_a_stranger_is_not_answered(hosting, juliet):
    component = Component(hosting).connect()
    bare = juliet.jid.partition("/")[0]
    for to in (bare, "nobody@localhost"):
        component.send("<presence type='probe' from='spy@%s' to='%s'/>" % (DOMAIN, to))
    component.send("<iq type='get' id='p' from='%s' to='localhost'><ping xmlns='urn:xmpp:ping'/></iq>" % DOMAIN)
    assert component.next().get("id") == "p"


def test_messages_are_in_the_archive_of_the_account(hosting, juliet):
    component = Component(hosting).connect()
    juliet.say("bot@%s" % DOMAIN, "for the record")
    assert body(component.message()) == "for the record"
    component.send("<message from='bot@%s' to='%s' type='chat'><body>noted</body></message>" % (
        DOMAIN, juliet.jid))
    juliet.message()
    juliet.send("<iq type='set' id='m'><query xmlns='urn:xmpp:mam:2'/></iq>")
    found = []
    while True:
        element = juliet.next()
        if element.get("id") == "m":
            break
        found += [e.text for e in element.iter(q("client", "body"))]
    assert found == ["for the record", "noted"]


def test_disco_lists_it(hosting, juliet):
    items = juliet.iq("get", "<query xmlns='%s'/>" % NS["disco#items"], to="localhost")
    assert DOMAIN in [e.get("jid") for e in items.iter(q("disco#items", "item"))]


def test_the_list_of_peers(hosting):
    Component(hosting).connect()
    rows = {row["domain"]: row for row in hosting.ctl("peer", "list")}
    assert rows[DOMAIN]["state"] == "up" and rows[DOMAIN]["address"] == "127.0.0.1"


def test_expired_messages_come_back():
    """A message that nobody took in time is returned, once, also to a sender who was away."""
    with Suite(s2s={"message-time": "2"}, components={DOMAIN: {"secret": SECRET}}) as suite:
        account = suite.account()
        client = suite.login(account, "balcony", available=0)
        client.say("bot@" + DOMAIN, "too late", id="lost1")
        client.sync()
        error = client.message(15 * SLOW)
        assert (error.get("type"), error.get("id")) == ("error", "lost1")
        assert condition(error) == "remote-server-timeout" and error.get("from") == "bot@" + DOMAIN
        client.say("bot@" + DOMAIN, "too late again", id="lost2")
        client.sync()
        client.end()
        wait_until(lambda: not [r for r in suite.ctl("queue", "list") if r["account"] == DOMAIN], 15 * SLOW)
        again = suite.login(account, "balcony", available=0)
        error = again.message()
        assert (error.get("type"), error.get("id")) == ("error", "lost2")
        assert again.pending("message") == []


def test_slixmpp_component(hosting, juliet):
    """A component of a library that was not written here."""
    async def run():
        component = slixmpp.ComponentXMPP(DOMAIN, SECRET, "127.0.0.1", hosting.component_port)
        component.register_plugin("xep_0030")
        component.register_plugin("xep_0199")
        ready = asyncio.Event()
        component.add_event_handler("session_start", lambda _: ready.set())
        component.add_event_handler("message", lambda m: component.send_message(
            mto=m["from"], mfrom=m["to"], mbody="echo " + m["body"], mtype="chat"))
        component.connect()
        await asyncio.wait_for(ready.wait(), 10 * SLOW)
        loop = asyncio.get_running_loop()

        def talk():
            juliet.say("bot@" + DOMAIN, "hello")
            answer = juliet.message()
            info = juliet.iq("get", "<query xmlns='%s'/>" % NS["disco#info"], to=DOMAIN)
            return answer, info
        answer, info = await loop.run_in_executor(None, talk)
        assert body(answer) == "echo hello"
        assert info.get("type") == "result", text(info)
        component.disconnect()
        await asyncio.sleep(0.2)
    run_async(run())


def test_a_peer_has_a_time_of_its_own():
    with Suite(s2s={"message-time": "1h"}, components={DOMAIN: {"secret": SECRET}},
               peers={"*.localhost": {"message-time": "1s"}}) as suite:
        client = suite.login(suite.account(), "balcony", available=0)
        client.say("bot@" + DOMAIN, "too late", id="lost1")
        assert client.message(15 * SLOW).get("id") == "lost1"
