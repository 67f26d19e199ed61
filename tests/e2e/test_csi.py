"""Client state indication: XEP-0352."""

import pytest

from clients import slix  # noqa: F401
from raw import NS, body, local, q, text
from suite import wait_until
from test_sm import acknowledge, ask, enable as enable_sm, resumed

COMPOSING = "<composing xmlns='%s'/>" % NS["chatstates"]
PAUSED = "<paused xmlns='%s'/>" % NS["chatstates"]


def csi(client, state):
    client.send("<%s xmlns='%s'/>" % (state, NS["csi"]))


def status(friend, to, words):
    friend.send("<presence to='%s'><status>%s</status></presence>" % (to, words))


def statuses(elements):
    return [e.findtext(q("client", "status")) for e in elements if local(e) == "presence"]


@pytest.fixture
def pair(suite):
    """Juliet's phone, and Romeo, who tells it how he is."""
    a, b = suite.accounts(2)
    phone, romeo = suite.login(a, "phone", available=0), suite.login(b, "r", available=0)
    phone.pending()
    return phone, romeo


def arrived(client):
    """What has come without our asking: a round trip would bring it."""
    return [e for e in client.elements if local(e) in ("presence", "message")]


def test_offered(suite):
    a, = suite.accounts(1)
    client = suite.login(a)
    assert client.features.find(q("csi", "csi")) is not None


def test_folded_until_active(pair):
    phone, romeo = pair
    csi(phone, "inactive")
    phone.sync()
    for i in range(10):
        status(romeo, phone.jid, "s%d" % i)
        romeo.send("<message to='%s' type='chat'>%s</message>" % (phone.jid, PAUSED if i == 9 else COMPOSING))
    romeo.sync()
    csi(phone, "active")
    csi(phone, "active")
    found = phone.pending()
    assert statuses(found) == ["s9"]
    assert [local(e) for e in found] == ["presence", "message"]
    assert found[1].find(q("chatstates", "paused")) is not None
    status(romeo, phone.jid, "live")
    assert statuses([phone.presence()]) == ["live"]


def test_flushed_before_a_message(pair):
    """What was held comes first, in its order, and then what made it come."""
    phone, romeo = pair
    csi(phone, "inactive")
    phone.sync()
    status(romeo, phone.jid, "old")
    romeo.send("<message to='%s' type='chat'>%s</message>" % (phone.jid, COMPOSING))
    status(romeo, phone.jid, "new")
    romeo.say(phone.jid, "wake up")
    assert body(phone.wait(lambda e: body(e) is not None)) == "wake up"
    found = arrived(phone)
    assert [local(e) for e in found] == ["message", "presence"] and statuses(found) == ["new"]
    phone.elements.clear()
    # It is still inactive, and nothing comes but by the round trip's answer.
    status(romeo, phone.jid, "held")
    romeo.sync()
    assert arrived(phone) == []
    found = phone.pending()
    assert statuses(found) == ["held"]


@pytest.mark.parametrize("stanza", [
    "<presence to='%s' type='subscribe'/>",
    "<iq to='%s' type='get' id='q'><query xmlns='urn:any'/></iq>",
    "<message to='%s' type='headline'><body>news</body></message>",
    "<message to='%s' type='error'><error type='cancel'><gone xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/>"
    "</error></message>",
])
def test_important(pair, stanza):
    phone, romeo = pair
    csi(phone, "inactive")
    phone.sync()
    status(romeo, phone.jid, "before")
    to = phone.jid.partition("/")[0] if "subscribe" in stanza else phone.jid
    romeo.send(stanza % to)
    last = phone.wait(lambda e: e.get("type") in ("subscribe", "get", "headline", "error"))
    assert last is not None and statuses(arrived(phone)) == ["before"]


def test_not_counted(pair):
    """Stream management counts what was sent, and nothing that was folded away."""
    phone, romeo = pair
    enable_sm(phone)
    csi(phone, "inactive")
    phone.sync()                                     # 1
    for i in range(20):
        status(romeo, phone.jid, "s%d" % i)
    romeo.say(phone.jid, "hello")                    # 2, 3
    assert body(phone.message()) == "hello"
    assert statuses(arrived(phone)) == ["s19"]
    acknowledge(phone, 3)
    phone.sync()                                     # 4
    acknowledge(phone, 4)
    assert ask(phone) == 2
    phone.send("<a xmlns='%s' h='5'/>" % NS["sm"])
    assert phone.stream_error() == "undefined-condition"


def test_resumed_is_active(suite, pair):
    """What was held when the connection broke is not lost, and the resumed stream is active."""
    phone, romeo = pair
    enable_sm(phone)
    csi(phone, "inactive")
    phone.sync()
    status(romeo, phone.jid, "old")
    status(romeo, phone.jid, "held")
    romeo.sync()
    phone.close()
    wait_until(lambda: suite.sessions(phone.jid.partition("/")[0]))
    phone = resumed(suite, phone, 1)
    assert statuses([phone.presence()]) == ["held"]
    status(romeo, phone.jid, "live")
    assert statuses([phone.presence()]) == ["live"]
    acknowledge(phone, 3)
    assert phone.pending() == []


def test_bounded(make_suite):
    """Many senders: what is held goes out when it is half of what a queue may have."""
    suite = make_suite(c2s={"queue-stanzas": 20})
    a, b = suite.accounts(2)
    phone, romeo = suite.login(a, "phone", available=0), suite.login(b, "r", available=0)
    phone.pending()
    csi(phone, "inactive")
    phone.sync()
    rooms = [suite.login(b, "x%d" % i) for i in range(12)]
    for i, client in enumerate(rooms):
        status(client, phone.jid, "s%d" % i)
        client.sync()
    assert statuses([phone.presence() for _ in range(11)]) == ["s%d" % i for i in range(11)]
    assert sum(suite.counter(p, "csi-held") for p in suite.status() if p.startswith("c2sd")) == 1
    assert sum(suite.counter(p, "csi-full") for p in suite.status() if p.startswith("c2sd")) == 1
    csi(phone, "active")
    assert statuses([phone.presence()]) == ["s11"]
    assert phone.pending() == []


def test_wrong_element(pair):
    phone, _ = pair
    phone.send("<asleep xmlns='%s'/>" % NS["csi"])
    assert phone.stream_error() == "unsupported-stanza-type"


def test_too_early(suite):
    client = suite.stream()
    client.send("<inactive xmlns='%s'/>" % NS["csi"])
    assert client.stream_error() in ("not-authorized", "unsupported-stanza-type")


def test_slixmpp(suite, slix):  # noqa: F811
    a, b = suite.accounts(2)
    phone = slix(suite, a, "phone", available=0, plugins=("xep_0352",))
    romeo = slix(suite, b, "r", available=0)
    phone.pending()
    assert phone.xmpp["xep_0352"].enabled
    phone.xmpp["xep_0352"].send_inactive()
    phone.sync()
    for i in range(3):
        status(romeo, phone.jid, "s%d" % i)
    romeo.sync()
    phone.xmpp["xep_0352"].send_active()
    assert statuses(phone.pending()) == ["s2"]


INLINE = "<bind xmlns='urn:xmpp:bind:0'>%s</bind>"


@pytest.mark.parametrize("state", ["inactive", "active", "unknown"])
def test_inline(suite, state):
    """A client may be inactive from the beginning (XEP-0386)."""
    a, b = suite.accounts(2)
    phone, romeo = suite.stream(), suite.login(b, "r", available=0)
    phone.authenticate2("PLAIN", a.partition("@")[0], suite.password(a), INLINE % (
        "<%s xmlns='%s'/>" % (state, NS["csi"])))
    status(romeo, phone.jid, "first")
    status(romeo, phone.jid, "second")
    romeo.sync()
    csi(phone, "active")
    assert statuses(phone.pending()) == (["second"] if state == "inactive" else ["first", "second"])


def test_off(make_suite):
    """It is not offered, and who says that it is inactive gets everything all the same."""
    suite = make_suite(c2s={"client-state": False})
    a, b = suite.accounts(2)
    phone, romeo = suite.stream(), suite.login(b, "r", available=0)
    assert NS["csi"] not in text(phone.features)
    phone.authenticate2("PLAIN", a.partition("@")[0], suite.password(a), INLINE % (
        "<inactive xmlns='%s'/>" % NS["csi"]))
    assert NS["csi"] not in text(phone.features)
    phone.available()
    csi(phone, "inactive")
    phone.sync()
    status(romeo, phone.jid, "at once")
    assert statuses([phone.presence()]) == ["at once"]
    suite.options["c2s"]["client-state"] = True
    suite.write_config()
    suite.ctl("reload")
    assert NS["csi"] in text(suite.stream().features)
