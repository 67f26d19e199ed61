"""Accounts are invisible to strangers: whoever has no subscription gets the same answer, to the letter, from an
account that is not there, one that is offline, one that is online, and one that has blocked the sender."""

import re

import pytest

from clients import befriend, fence, slix  # noqa: F401
from raw import NS, condition, q, text
from suite import Suite
from test_blocking import block

INFO, ITEMS = NS["disco#info"], NS["disco#items"]
REQUESTS = {
    "last": "<query xmlns='jabber:iq:last'/>",
    "last, wrong name": "<last xmlns='jabber:iq:last'/>",
    "last, twice": "<query xmlns='jabber:iq:last'/><query xmlns='jabber:iq:last'/>",
    "vcard": "<vCard xmlns='vcard-temp'/>",
    "vcard, wrong name": "<card xmlns='vcard-temp'/>",
    "info": "<query xmlns='%s'/>" % INFO,
    "info, node": "<query xmlns='%s' node='x'/>" % INFO,
    "info, wrong name": "<info xmlns='%s'/>" % INFO,
    "items": "<query xmlns='%s'/>" % ITEMS,
    "ping": "<ping xmlns='urn:xmpp:ping'/>",
    "ping, wrong name": "<pong xmlns='urn:xmpp:ping'/>",
    "roster": "<query xmlns='jabber:iq:roster'/>",
    "private": "<query xmlns='jabber:iq:private'><x xmlns='x'/></query>",
    "register": "<query xmlns='jabber:iq:register'/>",
    "register, remove": "<query xmlns='jabber:iq:register'><remove/></query>",
    "blocklist": "<blocklist xmlns='urn:xmpp:blocking'/>",
    "block": "<block xmlns='urn:xmpp:blocking'><item jid='a.example'/></block>",
    "archive": "<query xmlns='urn:xmpp:mam:2'/>",
    "carbons": "<enable xmlns='urn:xmpp:carbons:2'/>",
    "preauth": "<preauth xmlns='urn:xmpp:pars:0' token='x'/>",
    "services": "<services xmlns='urn:xmpp:extdisco:2'/>",
    "commands": "<command xmlns='http://jabber.org/protocol/commands' node='x'/>",
    "unknown": "<x xmlns='urn:x'/>",
}


@pytest.fixture(scope="module")
def cast(programs):
    with Suite(domains={"localhost": {"services": ["stun:a"]}, "example.test": {"services": ["stun:a"]}},
               auth={"vcard-strangers": "no"}) as suite:
        stranger = suite.login(suite.account(), "s", available=0)
        online = suite.login(suite.account("online"), "r", available=0)
        blocker = suite.login(suite.account("blocker"), "r", available=0)
        gone = suite.login(suite.account("offline"), "r", available=0)
        for client in (online, blocker, gone):
            client.iq("set", "<vCard xmlns='vcard-temp'><FN>I</FN></vCard>")
        block(blocker, stranger.jid.partition("/")[0])
        gone.end()
        yield suite, stranger, online, blocker


WHO = ("nobody", "offline", "online", "blocker")


def answers(stranger, kind, payload, resource=""):
    """What each of them answers, without its name and the request's id."""
    said = []
    for name in WHO:
        jid = name + "@localhost" + resource
        answer = stranger.iq(kind, payload, to=jid)
        assert answer.get("from") == jid
        answer.set("from", "")
        answer.set("id", "")
        said.append(text(answer))
    return said


@pytest.mark.parametrize("kind", ["get", "set"])
@pytest.mark.parametrize("what", REQUESTS)
def test_requests(cast, what, kind):
    suite, stranger, online, blocker = cast
    said = answers(stranger, kind, REQUESTS[what])
    assert "type=\"error\"" in said[0]
    if what in ("last", "last, wrong name", "last, twice", "register", "register, remove", "roster", "private",
                "blocklist", "block", "carbons", "archive", "vcard", "vcard, wrong name"):
        # What authd refuses to anybody, it refuses to who is blocked as if there were no account.
        assert len(set(said[:3])) == 1, said
        assert said[3] == said[0] or "service-unavailable" in said[3]
    else:
        assert len(set(said)) == 1, said
    assert not [e for e in online.pending() if e.get("from") == stranger.jid], "it was asked"


@pytest.mark.parametrize("kind", ["get", "set"])
@pytest.mark.parametrize("what", ["ping", "last", "vcard", "info", "unknown"])
def test_requests_to_a_resource(cast, what, kind):
    suite, stranger, online, blocker = cast
    said = answers(stranger, kind, REQUESTS[what], "/nothing")
    assert len(set(said)) == 1 and "service-unavailable" in said[0], said


def test_blocker_is_nobody_at_its_resource(cast):
    suite, stranger, online, blocker = cast
    answer = stranger.iq("get", REQUESTS["ping"], to=blocker.jid)
    assert condition(answer) == "service-unavailable"
    assert not [e for e in blocker.pending() if e.get("from") == stranger.jid]


@pytest.mark.parametrize("kind", ["probe", "unsubscribe", "unsubscribed", "subscribed"])
def test_presence(cast, kind):
    """A probe is answered alike for all (RFC 6121 section 4.3.2), except that who has blocked says nothing
    (XEP-0191 section 3.2); nothing else is answered."""
    suite, stranger, online, blocker = cast
    stranger.pending()
    for name in WHO:
        for resource in ("", "/r", "/nothing"):
            stranger.send("<presence to='%s@localhost%s' type='%s'/>" % (name, resource, kind))
    fence(stranger)
    stranger.sync()
    seen = [text(e) for e in stranger.pending() if e.tag == q("client", "presence")]
    wanted = [re.sub("NAME", name, '<ns0:presence xmlns:ns0="jabber:client" from="NAME@localhost" '
                     'to="%s" type="unsubscribed" />' % stranger.jid.partition("/")[0])
              for name in WHO[:3] for _ in range(3)] if kind == "probe" else []
    assert seen == wanted


def test_requests_for_a_subscription(cast):
    """The roster shows the same of all, and no answer comes."""
    suite, stranger, online, blocker = cast
    stranger.iq("get", REQUESTS["roster"])
    for name in WHO:
        stranger.send("<presence to='%s@localhost' type='subscribe'/>" % name)
    fence(stranger)
    stranger.sync()
    items = {}
    for push in stranger.pending("iq"):
        for item in push.iter(q("roster", "item")):
            items.setdefault(item.get("jid").partition("@")[0], []).append(
                (item.get("subscription"), item.get("ask"), item.get("approved")))
    assert set(items) == set(WHO)
    assert len({str(v) for v in items.values()}) == 1, items
    for what in ("last", "vcard", "info", "ping"):
        said = answers(stranger, "get", REQUESTS[what])
        assert len(set(said[:3])) == 1, said
    for name in WHO:
        stranger.send("<presence to='%s@localhost' type='unsubscribe'/>" % name)
    fence(stranger)
    online.pending()


def test_contacts_see(cast):
    """The same requests, of who has a subscription."""
    suite, stranger, online, blocker = cast
    friend = suite.login(suite.account(), available=0)
    befriend(friend, online)
    for what in ("last", "vcard", "info", "items", "ping"):
        answer = friend.iq("get", REQUESTS[what], to="online@localhost")
        assert answer.get("type") == "result", text(answer)


def test_vcards_may_be_for_everybody(suite):
    """As they are by default; then it is no secret that there is such an account."""
    one, other = suite.login(suite.account()), suite.login(suite.account())
    one.iq("set", "<vCard xmlns='vcard-temp'><FN>I</FN></vCard>")
    assert other.iq("get", REQUESTS["vcard"], to=one.jid.partition("/")[0]).get("type") == "result"
