"""Presence: subscriptions (RFC 6121 section 3 and appendix A), and presence itself (section 4)."""

import pytest

from clients import befriend, fence, slix  # noqa: F401
from raw import NS, local, q
from test_roster import get, push


def bare(client):
    return client.jid.partition("/")[0]


def send(client, kind, to, content="", id=None):
    client.send("<presence to='%s'%s%s>%s</presence>" % (
        to, " type='%s'" % kind if kind else "", " id='%s'" % id if id else "", content))


def expect(client, kind, sender, seconds=None):
    """The next presence of this type from this sender."""
    return client.wait(lambda e: local(e) == "presence" and e.get("type") == kind and e.get("from") == sender,
                       seconds)


def presences(client):
    """What has come, after all that this session has sent was dealt with."""
    fence(client)
    return [(e.get("type"), e.get("from")) for e in client.pending("presence")]


def state(client, contact):
    """How the roster shows a contact: subscription, ask, approved; None when it is not there."""
    item = get(client).get(contact)
    if item is None:
        return None
    return item.get("subscription"), item.get("ask"), item.get("approved")


def forget(*clients):
    for client in clients:
        fence(client)
    for client in clients:
        client.pending()


@pytest.fixture
def pair(suite):
    """Two accounts online that know nothing of each other; interested in their rosters."""
    a, b = suite.accounts(2)
    clients = suite.login(a, "a"), suite.login(b, "b")
    for client in clients:
        get(client)
        client.available()
        client.pending()
    return clients


@pytest.fixture
def friends(pair):
    befriend(*pair)
    return pair


# -- subscriptions -----------------------------------------------------------------------------------------


def test_handshake(pair):
    """Section 3.1: subscribe, pushes, subscribed, pushes, presence."""
    a, b = pair
    send(a, "subscribe", bare(b), "<status>please</status>", id="s1")
    item = push(a)
    assert (item.get("jid"), item.get("subscription"), item.get("ask")) == (bare(b), "none", "subscribe")
    request = expect(b, "subscribe", bare(a))
    assert request.findtext(q("client", "status")) == "please"
    assert request.get("to") == bare(b) and request.get("id") == "s1"
    assert state(b, bare(a)) is None  # pending in is not shown
    assert presences(a) == []
    send(b, "subscribed", bare(a))
    item = push(b)
    assert (item.get("jid"), item.get("subscription")) == (bare(a), "from")
    item = push(a)
    assert (item.get("subscription"), item.get("ask")) == ("to", None)
    expect(a, "subscribed", bare(b))
    expect(a, None, b.jid)
    assert state(a, bare(b)) == ("to", None, None)
    send(b, "subscribe", bare(a))
    expect(a, "subscribe", bare(b))
    send(a, "subscribed", bare(b))
    expect(b, "subscribed", bare(a))
    expect(b, None, a.jid)
    assert state(a, bare(b))[0] == state(b, bare(a))[0] == "both"


def test_handshake_with_slixmpp(suite, slix):  # noqa: F811
    """The same with a client's own words."""
    a, b = suite.accounts(2)
    one, two = slix(suite, a, "one"), slix(suite, b, "two")
    for client in (one, two):
        client.run(client.xmpp.get_roster())
        client.xmpp.send_presence(pstatus="I am " + client.jid)
    one.xmpp.send_presence_subscription(pto=b)
    expect(two, "subscribe", a)
    two.xmpp.send_presence(pto=a, ptype="subscribed")
    presence = expect(one, None, two.jid)
    assert presence.findtext(q("client", "status")) == "I am " + two.jid
    fence(one)
    assert one.xmpp.client_roster[b]["subscription"] == "to"
    assert two.xmpp.client_roster[a]["subscription"] == "from"


def test_to_full_jid(pair):
    """Section 3.1.2: a request is to the bare JID, whatever the client has written."""
    a, b = pair
    send(a, "subscribe", b.jid)
    assert push(a).get("jid") == bare(b)
    assert expect(b, "subscribe", bare(a)).get("to") == bare(b)


def test_denied(pair):
    """Section 3.2: the request is refused."""
    a, b = pair
    send(a, "subscribe", bare(b))
    push(a)
    expect(b, "subscribe", bare(a))
    send(b, "unsubscribed", bare(a))
    expect(a, "unsubscribed", bare(b))
    item = push(a)
    assert (item.get("subscription"), item.get("ask")) == ("none", None)
    assert state(b, bare(a)) is None
    assert presences(b) == []


def test_cancelled(friends):
    """Section 3.2: the contact takes its permission back, and seems to go offline."""
    a, b = friends
    send(b, "unsubscribed", bare(a))
    item = push(a)
    assert item.get("subscription") == "from"
    assert push(b).get("subscription") == "to"
    seen = {expect(a, "unavailable", b.jid) is not None, expect(a, "unsubscribed", bare(b)) is not None}
    assert seen == {True}
    b.available(3)
    assert presences(a) == []
    a.available(4)
    expect(b, None, a.jid)  # the other direction stays


def test_unsubscribe(friends):
    """Section 3.3: one does not want to see the contact any more."""
    a, b = friends
    send(a, "unsubscribe", bare(b))
    assert push(a).get("subscription") == "from"
    assert push(b).get("subscription") == "to"
    expect(b, "unsubscribe", bare(a))
    expect(a, "unavailable", b.jid)
    b.available(3)
    assert presences(a) == []


def test_request_taken_back(pair):
    a, b = pair
    send(a, "subscribe", bare(b))
    expect(b, "subscribe", bare(a))
    send(a, "unsubscribe", bare(b))
    fence(a)
    assert state(a, bare(b)) in (("none", None, None), None)
    send(b, "subscribed", bare(a))  # nobody asks any more: an approval in advance
    fence(b)
    fence(a)
    assert ("subscribed", bare(b)) not in presences(a)
    assert state(b, bare(a)) == ("none", None, "true")


def test_pre_approval(pair):
    """Section 3.4: approved before it is asked for."""
    a, b = pair
    assert a.features.find("{urn:xmpp:features:pre-approval}sub") is not None
    send(b, "subscribed", bare(a))
    item = push(b)
    assert (item.get("jid"), item.get("subscription"), item.get("approved")) == (bare(a), "none", "true")
    assert presences(a) == []
    send(a, "subscribe", bare(b))
    expect(a, "subscribed", bare(b))
    expect(a, None, b.jid)
    assert state(a, bare(b))[:2] == ("to", None)
    assert state(b, bare(a))[0] == "from"
    assert ("subscribe", bare(a)) not in presences(b)


def test_pre_approval_cancelled(pair):
    a, b = pair
    send(b, "subscribed", bare(a))
    push(b)
    send(b, "unsubscribed", bare(a))
    assert push(b).get("approved") in (None, "false")
    assert presences(a) == []
    send(a, "subscribe", bare(b))
    expect(b, "subscribe", bare(a))


def test_repeated_request(friends):
    """Sections 3.1.3 and 3.1.6: the contact is not bothered, and the answer tells nobody anything new."""
    a, b = friends
    send(a, "subscribe", bare(b))
    fence(a)
    assert presences(a) == [] and presences(b) == []
    assert state(a, bare(b))[0] == "both"


def test_removal(friends):
    """Section 2.5.2: removing a contact ends both subscriptions."""
    a, b = friends
    answer = a.iq("set", "<query xmlns='%s'><item jid='%s' subscription='remove'/></query>" % (
        NS["roster"], bare(b)))
    assert answer.get("type") == "result"
    assert push(a).get("subscription") == "remove"
    expect(b, "unsubscribe", bare(a))
    expect(b, "unsubscribed", bare(a))
    expect(b, "unavailable", a.jid)
    expect(a, "unavailable", b.jid)
    assert state(a, bare(b)) is None
    assert state(b, bare(a)) == ("none", None, None)


def test_pending_at_next_login(suite, pair):
    """Section 3.1.3: a request waits for the contact, whole, until it is answered."""
    a = pair[0]
    b = suite.account()
    send(a, "subscribe", b, "<status>hello</status><x xmlns='urn:x'>y</x>")
    push(a)
    for resource in ("first", "second"):
        client = suite.login(b, resource)
        get(client)
        assert presences(client) == []
        client.available()
        request = expect(client, "subscribe", bare(a))
        assert request.findtext(q("client", "status")) == "hello"
        assert request.findtext("{urn:x}x") == "y"
        client.end()
    client = suite.login(b, "third", available=0)
    expect(client, "subscribe", bare(a))
    send(client, "subscribed", bare(a))
    expect(a, "subscribed", b)
    client.end()
    client = suite.login(b, "fourth", available=0)
    assert ("subscribe", bare(a)) not in presences(client)


def test_request_to_nobody(pair):
    """Section 3.1.3: no such account: unsubscribed, or silence."""
    a, _ = pair
    send(a, "subscribe", "nobody-at-all@localhost")
    fence(a)
    got = presences(a)
    assert got in ([], [("unsubscribed", "nobody-at-all@localhost")])
    send(a, "subscribe", "nobody@nowhere.invalid")
    fence(a)


def test_request_to_oneself(pair):
    a, b = pair
    for kind in ("subscribe", "subscribed", "unsubscribe", "unsubscribed"):
        send(a, kind, bare(a))
    fence(a)
    assert presences(a) == []
    assert get(a) == {}


def test_spoofed_subscribed(pair):
    """Nobody asked: an unsolicited approval does nothing to the other side."""
    a, b = pair
    send(b, "subscribed", bare(a))
    send(b, "unsubscribe", bare(a))
    fence(b)
    assert presences(a) == [] and state(a, bare(b)) is None


# -- presence ------------------------------------------------------------------------------------------------


def test_broadcast(friends, suite):
    """Section 4.4: to contacts with a subscription and to own resources, whole."""
    a, b = friends
    second = suite.login(bare(b), "second", available=0)
    stranger = suite.login(suite.account(), available=0)
    forget(a, b, second, stranger)
    a.send("<presence id='p'><show>dnd</show><status>busy &amp; gone</status><priority>7</priority>"
           "<c xmlns='urn:caps' ver='1'/></presence>")
    for client in (b, second):
        presence = expect(client, None, a.jid)
        assert presence.findtext(q("client", "show")) == "dnd"
        assert presence.findtext(q("client", "status")) == "busy & gone"
        assert presence.findtext(q("client", "priority")) == "7"
        assert presence.find("{urn:caps}c").get("ver") == "1"
    expect(a, None, a.jid)
    assert presences(stranger) == []


def test_one_way(pair):
    """Only who is subscribed sees presence."""
    a, b = pair
    send(a, "subscribe", bare(b))
    expect(b, "subscribe", bare(a))
    send(b, "subscribed", bare(a))
    expect(a, None, b.jid)
    forget(a, b)
    a.available(1)
    assert presences(b) == []
    b.available(2)
    expect(a, None, b.jid)


def test_probes_at_login(friends, suite):
    """Section 4.2.2, 4.3: who comes online learns who is there, and they learn of it, once."""
    a, b = friends
    second = suite.login(bare(b), "second", available=5)
    forget(a, b, second)
    again = suite.login(bare(a), "again")
    assert presences(again) == []
    again.send("<presence/>")
    for client in (b, second):
        expect(again, None, client.jid)
        expect(client, None, again.jid)
    expect(again, None, a.jid)
    expect(a, None, again.jid)
    expect(again, None, again.jid)
    again.send("<presence><show>away</show></presence>")
    expect(again, None, again.jid)
    assert presences(again) == []
    assert [p for p in presences(b) if p != (None, again.jid)] == []


def test_no_presence_before_presence(friends, suite):
    """A session that is not available gets none."""
    a, b = friends
    silent = suite.login(bare(b), "silent")
    a.available(1)
    expect(b, None, a.jid)
    assert presences(silent) == []


def test_unavailable(friends):
    """Section 4.5: unavailable goes where available went, with its status; the session stays."""
    a, b = friends
    a.send("<presence type='unavailable'><status>bye</status></presence>")
    assert expect(b, "unavailable", a.jid).findtext(q("client", "status")) == "bye"
    b.available(1)
    assert [p for p in presences(a) if p[1] == b.jid] == []
    a.available(0)
    expect(a, None, b.jid)
    expect(b, None, a.jid)


@pytest.mark.parametrize("how", ["end", "close", "abort"])
def test_unavailable_on_disconnect(friends, how):
    """Section 4.5.2: however the stream ends, the contacts are told."""
    a, b = friends
    getattr(a, how)()
    expect(b, "unavailable", a.jid)
    assert presences(b) == []


def test_own_resources(suite):
    account = suite.account()
    one = suite.login(account, "one", available=0)
    two = suite.login(account, "two", available=0)
    expect(one, None, two.jid)
    expect(two, None, one.jid)
    two.end()
    expect(one, "unavailable", two.jid)


def test_bad_priority(friends):
    """Section 4.7.2.3: an integer from -128 to 127; anything else is an error or taken as 0."""
    a, b = friends
    for value in ("128", "-129", "x", "1.5", "99999999999999999999"):
        a.send("<presence id='b'><priority>%s</priority></presence>" % value)
        fence(a)
    for value in (-128, 127):
        a.available(value)
        assert expect(b, None, a.jid) is not None
    fence(a)


# -- directed presence ---------------------------------------------------------------------------------------


def test_directed(pair):
    """Section 4.6: to a stranger; withdrawn when the session ends, not before."""
    a, b = pair
    send(a, None, b.jid, "<status>psst</status>")
    presence = expect(b, None, a.jid)
    assert presence.findtext(q("client", "status")) == "psst" and presence.get("to") == b.jid
    a.available(1)
    assert presences(b) == []
    assert presences(a) == []
    a.end()
    expect(b, "unavailable", a.jid)


def test_directed_to_bare(pair):
    a, b = pair
    send(a, None, bare(b))
    expect(b, None, a.jid)
    a.send("<presence type='unavailable'/>")
    expect(b, "unavailable", a.jid)


def test_directed_withdrawn(pair):
    """Directed unavailable: once, and nothing more at the end."""
    a, b = pair
    send(a, None, b.jid)
    expect(b, None, a.jid)
    send(a, "unavailable", b.jid)
    expect(b, "unavailable", a.jid)
    a.end()
    assert presences(b) == []


def test_directed_without_broadcast(suite, pair):
    """From a session that has sent no presence at all; withdrawn on a broken connection."""
    b = pair[1]
    a = suite.login(suite.account(), "x")
    send(a, None, b.jid)
    expect(b, None, a.jid)
    a.abort()
    expect(b, "unavailable", a.jid)


def test_directed_to_friend(friends):
    """A contact who is subscribed gets one unavailable, not two."""
    a, b = friends
    send(a, None, b.jid)
    expect(b, None, a.jid)
    a.end()
    expect(b, "unavailable", a.jid)
    assert presences(b) == []


def test_directed_to_nobody(pair):
    """Section 4.6, 8.5.1: presence to nobody is silently ignored."""
    a, _ = pair
    send(a, None, "nobody-at-all@localhost")
    send(a, None, "nobody-at-all@localhost/x")
    send(a, None, bare(pair[1]) + "/none")
    send(a, None, "localhost")
    fence(a)
    assert presences(a) == []


# -- probes by clients -----------------------------------------------------------------------------------------


def test_probe(friends):
    a, b = friends
    send(a, "probe", bare(b))
    expect(a, None, b.jid)
    assert presences(b) == []


def test_probe_by_stranger(pair):
    """Section 4.3.2: a stranger learns nothing."""
    a, b = pair
    send(a, "probe", bare(b))
    fence(a)
    assert [p for p in presences(a) if p[0] is None] == []
    assert presences(b) == []


# -- a contact that is nowhere ---------------------------------------------------------------------------------


def test_presence_survives_router(make_suite):
    """kill -9 of the router: who was available still is, subscriptions go on."""
    suite = make_suite()
    a, b = suite.accounts(2)
    one, two = suite.login(a, "a", available=0), suite.login(b, "b", available=0)
    befriend(one, two)
    suite.kill("router")
    fence(one)
    fence(two)
    forget(one, two)
    one.send("<presence><show>away</show></presence>")
    assert expect(two, None, one.jid).findtext(q("client", "show")) == "away"
    one.end()
    expect(two, "unavailable", one.jid)
