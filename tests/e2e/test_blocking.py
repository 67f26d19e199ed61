"""Blocking command: XEP-0191."""

import asyncio

import aioxmpp
import pytest

from clients import befriend, child, fence, slix  # noqa: F401
from raw import NS, body, condition, local, q, text
from suite import SLOW, run_async, wait_until
from test_clients import aio_client, online
from test_sm import enable as enable_sm, resumed

BLOCKING = NS["blocking"]


def items(element):
    return sorted(e.get("jid") for e in element.iter(q("blocking", "item")))


def blocklist(client):
    answer = client.iq("get", "<blocklist xmlns='%s'/>" % BLOCKING)
    assert answer.get("type") == "result" and answer[0].tag == q("blocking", "blocklist"), text(answer)
    return items(answer)


def change(client, name, *jids):
    content = "".join("<item jid='%s'/>" % jid for jid in jids)
    return client.iq("set", "<%s xmlns='%s'>%s</%s>" % (name, BLOCKING, content, name))


def block(client, *jids):
    assert change(client, "block", *jids).get("type") == "result"


def unblock(client, *jids):
    assert change(client, "unblock", *jids).get("type") == "result"


def bare(client):
    return client.jid.partition("/")[0]


def refused(client, wanted="service-unavailable"):
    answer = client.wait(lambda e: e.get("type") == "error")
    assert condition(answer) == wanted, text(answer)
    return answer


@pytest.fixture
def two(suite):
    a, b = suite.accounts(2)
    return suite.login(a, "r", available=0), suite.login(b, "r", available=0)


# -- the list ----------------------------------------------------------------------------------------------


def test_list(two):
    juliet, romeo = two
    assert blocklist(juliet) == []
    block(juliet, "Iago@Shakespeare.lit", "evil.example", "iago@shakespeare.lit")
    block(juliet, "a@b.example/R")
    assert blocklist(juliet) == ["a@b.example/R", "evil.example", "iago@shakespeare.lit"]
    unblock(juliet, "evil.example", "never@was.example")
    assert blocklist(juliet) == ["a@b.example/R", "iago@shakespeare.lit"]
    unblock(juliet)
    assert blocklist(juliet) == [] == blocklist(romeo)


def test_pushes(suite, two):
    """To those that have asked for the list, and to no others."""
    juliet, _ = two
    other, ignorant = suite.login(bare(juliet), "other"), suite.login(bare(juliet), "ignorant")
    blocklist(other)
    for name, jids in (("block", ["a@b.example", "c@d.example"]), ("unblock", ["a@b.example"]), ("unblock", [])):
        assert change(juliet, name, *jids).get("type") == "result"
        push = other.wait(lambda e: local(e) == "iq" and e.get("type") == "set")
        assert push[0].tag == q("blocking", name) and items(push) == jids and push.get("to") == other.jid
        assert push.get("from") in (None, bare(juliet)) and push.get("id")
    assert ignorant.pending("iq") == [] and juliet.pending("iq") == []


@pytest.mark.parametrize("payload,wanted", [
    ("<block xmlns='%s'/>", "bad-request"),
    ("<block xmlns='%s'><item/></block>", "bad-request"),
    ("<block xmlns='%s'><other jid='a@b.example'/></block>", "bad-request"),
    ("<block xmlns='%s'><item jid='@@'/></block>", "jid-malformed"),
    ("<unblock xmlns='%s'><item jid=''/></unblock>", "jid-malformed"),
    ("<blocklist xmlns='%s'/>", "bad-request"),
])
def test_errors(two, payload, wanted):
    juliet, romeo = two
    assert condition(juliet.iq("set", payload % BLOCKING)) == wanted
    assert blocklist(juliet) == []
    for to in (bare(romeo), "nobody-here@localhost"):
        assert condition(juliet.iq("get", "<blocklist xmlns='%s'/>" % BLOCKING, to=to)) == "forbidden"
        assert condition(juliet.iq("set", payload % BLOCKING, to=to)) == "forbidden"


def test_bound(make_suite):
    suite = make_suite(auth={"block-items": 3})
    a, = suite.accounts(1)
    juliet = suite.login(a)
    block(juliet, "a@x.example", "b@x.example", "c@x.example")
    assert condition(change(juliet, "block", "d@x.example")) == "resource-constraint"
    block(juliet, "a@x.example")
    unblock(juliet, "a@x.example")
    block(juliet, "d@x.example")
    assert blocklist(juliet) == ["b@x.example", "c@x.example", "d@x.example"]


def test_announced(two):
    info = two[0].iq("get", "<query xmlns='%s'/>" % NS["disco#info"], to="localhost")
    assert BLOCKING in {e.get("var") for e in info.iter(q("disco#info", "feature"))}


def test_forgotten_with_its_account(suite, two):
    juliet, romeo = two
    block(juliet, bare(romeo))
    juliet.end()
    suite.ctl("user", "del", bare(juliet))
    suite.ctl("user", "add", bare(juliet), input=suite.password(bare(juliet)) + "\n")
    assert blocklist(suite.login(bare(juliet))) == []


# -- what is sent to who has blocked ------------------------------------------------------------------------


@pytest.mark.parametrize("item", ["bare", "full", "domain", "domain/resource"])
def test_incoming(suite, item):
    a, = suite.accounts(1)
    b, = suite.accounts(1, domain="example.test")
    juliet, romeo = suite.login(a, "r", available=0), suite.login(b, "r", available=0)
    free = suite.login(b, "free", available=0)
    romeo.pending()
    block(juliet, {"bare": b, "full": b + "/r", "domain": "example.test",
                   "domain/resource": "example.test/r"}[item])
    for to in (a, juliet.jid):
        romeo.say(to, "hello")
        refused(romeo)
    romeo.send("<message to='%s' type='chat'><x xmlns='urn:x'/></message>" % a)
    refused(romeo)
    for kind in ("get", "set"):
        answer = romeo.iq(kind, "<x xmlns='urn:x'/>", to=juliet.jid)
        assert condition(answer) == "service-unavailable"
        assert condition(romeo.iq(kind, "<vCard xmlns='vcard-temp'/>", to=a)) == "service-unavailable"
    romeo.send("<presence to='%s'/><presence to='%s' type='probe'/>" % (juliet.jid, a))
    romeo.send("<iq to='%s' type='result' id='x'/>" % juliet.jid)
    romeo.send("<message to='%s' type='error'><error type='cancel'><gone xmlns='%s'/></error></message>" % (
        juliet.jid, NS["stanzas"]))
    assert romeo.pending() == []
    assert juliet.pending() == []
    free.say(a, "not blocked" if item in ("full", "domain/resource") else "blocked")
    if item in ("full", "domain/resource"):
        assert body(juliet.message()) == "not blocked"
    else:
        refused(free)
    unblock(juliet)
    romeo.say(a, "again")
    assert body(juliet.message()) == "again"


@pytest.mark.parametrize("known", [False, True])
def test_offline(suite, two, known):
    """As if the account were not there; nothing of it is kept. known: the router has heard of the list lately."""
    juliet, romeo = two
    block(juliet, bare(romeo))
    friend = suite.login(suite.account(), "f", available=0)
    juliet.end()
    wait_until(lambda: not suite.sessions(bare(juliet)))
    if not known:
        suite.kill("router")
    for i in range(3):
        romeo.say(bare(juliet), "no %d" % i)
        refused(romeo)
    friend.say(bare(juliet), "yes")
    friend.sync()
    wait_until(lambda: len(suite.ctl("queue", "list", bare(juliet))) == 1, message="only one waits")
    juliet = suite.login(bare(juliet), "r", available=0)
    assert body(juliet.message()) == "yes"
    assert juliet.pending("message") == []
    unblock(juliet)
    assert juliet.pending("message") == []


def test_subscription_request(suite, two):
    """Silence, also later; as if nobody were there."""
    juliet, romeo = two
    block(juliet, bare(romeo))
    romeo.send("<presence to='%s' type='subscribe'/>" % bare(juliet))
    fence(romeo)
    assert [e for e in romeo.pending("presence")] == []
    assert juliet.pending() == []
    other = suite.login(bare(juliet), "other", available=0)
    assert [e for e in other.pending("presence") if e.get("type") == "subscribe"] == []


# -- what who has blocked sends -----------------------------------------------------------------------------


def test_outgoing(suite, two):
    juliet, romeo = two
    watcher = suite.login(bare(juliet), "watcher", available=0)
    watcher.iq("set", "<enable xmlns='%s'/>" % NS["carbons"])
    block(juliet, bare(romeo))
    watcher.pending()
    juliet.pending()
    juliet.say(romeo.jid, "hello")
    answer = refused(juliet, "not-acceptable")
    assert answer.get("from") == romeo.jid
    assert answer.find(".//{urn:xmpp:blocking:errors}blocked") is not None, text(answer)
    answer = juliet.iq("get", "<x xmlns='urn:x'/>", to=romeo.jid)
    assert condition(answer) == "not-acceptable"
    juliet.send("<presence to='%s'/>" % romeo.jid)
    refused(juliet, "not-acceptable")
    juliet.send("<presence to='%s' type='subscribe'/>" % bare(romeo))
    refused(juliet, "not-acceptable")
    juliet.send("<iq to='%s' type='result' id='x'/>" % romeo.jid)
    assert juliet.pending() == []
    assert romeo.pending() == []
    assert watcher.pending("message") == []
    juliet.sync()  # the server itself cannot be blocked
    block(juliet, "localhost")
    juliet.sync()
    watcher.say(juliet.jid, "nor one's own sessions")
    assert body(juliet.message()) == "nor one's own sessions"


# -- presence ------------------------------------------------------------------------------------------------


def test_presence(suite, two):
    juliet, romeo = two
    befriend(juliet, romeo)
    block(juliet, bare(romeo))
    gone = romeo.presence()
    assert (gone.get("from"), gone.get("type")) == (juliet.jid, "unavailable")
    juliet.send("<presence><status>hidden</status></presence>")
    romeo.send("<presence><status>unseen</status></presence>")
    for client in (juliet, romeo):
        assert {e.get("from") for e in client.pending("presence")} == {client.jid}
    late = suite.login(bare(romeo), "late", available=0)
    late.send("<presence to='%s' type='probe'/>" % bare(juliet))
    assert juliet.jid not in {e.get("from") for e in late.pending("presence")}
    unblock(juliet, bare(romeo))
    for client in (romeo, late):
        back = client.wait(lambda e: e.get("from") == juliet.jid)
        assert back.get("type") is None and back.findtext(q("client", "status")) == "hidden"


def test_directed_presence(suite, two):
    juliet, romeo = two
    juliet.send("<presence to='%s'/>" % romeo.jid)
    assert romeo.wait(lambda e: e.get("from") == juliet.jid).get("type") is None
    block(juliet, romeo.jid)
    assert romeo.wait(lambda e: e.get("from") == juliet.jid).get("type") == "unavailable"
    juliet.end()
    wait_until(lambda: not suite.sessions(bare(juliet)))
    assert romeo.pending("presence") == []


# -- what survives ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("killed", ["router", "authd", "c2sd.0"])
def test_restart(make_suite, killed):
    suite = make_suite()
    a, b = suite.accounts(2)
    juliet, romeo = suite.login(a, "r", available=0, worker=1), suite.login(b, "r", available=0, worker=1)
    blocklist(juliet)
    block(juliet, b)
    juliet.pending()
    suite.kill(killed)
    romeo.say(a, "hello")
    refused(romeo)
    other = suite.login(a, "other")
    assert blocklist(other) == [b]
    unblock(other)
    push = juliet.wait(lambda e: local(e) == "iq" and e.get("type") == "set")
    assert push[0].tag == q("blocking", "unblock")
    romeo.say(a, "again")
    assert body(juliet.message()) == "again"


# -- real clients --------------------------------------------------------------------------------------------


def test_slixmpp(suite, slix):  # noqa: F811
    a, b = suite.accounts(2)
    juliet = slix(suite, a, "r", available=0, plugins=("xep_0191",))
    romeo = slix(suite, b, "r", available=0)
    plugin = juliet.xmpp["xep_0191"]
    assert not juliet.run(plugin.get_blocked())["blocklist"]["items"]
    juliet.run(plugin.block(b))
    assert {str(j) for j in juliet.run(plugin.get_blocked())["blocklist"]["items"]} == {b}
    romeo.say(a, "hello")
    assert condition(romeo.message()) == "service-unavailable"
    juliet.run(plugin.unblock(b))
    romeo.say(a, "hello")
    assert body(juliet.wait(lambda e: local(e) == "message")) == "hello"


def test_aioxmpp(suite):
    a, b = suite.accounts(2)
    romeo = suite.login(b, "r", available=0)

    async def talk():
        client = aio_client(suite, a, "r")
        blocking = client.summon(aioxmpp.BlockingClient)
        async with online(client):
            await asyncio.wait_for(blocking.block_jids([aioxmpp.JID.fromstr(b)]), 8 * SLOW)
            for _ in range(200):
                if blocking.blocklist:
                    break
                await asyncio.sleep(0.02)
            assert {str(j) for j in blocking.blocklist} == {b}
            romeo.say(a, "hello")
            refused(romeo)
            await asyncio.wait_for(blocking.unblock_all(), 8 * SLOW)
            for _ in range(200):
                if not blocking.blocklist:
                    break
                await asyncio.sleep(0.02)
            assert not blocking.blocklist

    run_async(talk(), 20)


def test_resumed(suite, two):
    """A resumed session still gets the pushes."""
    juliet, _ = two
    other = suite.login(bare(juliet), "other")
    blocklist(other)
    enable_sm(other)
    other.close()
    other = resumed(suite, other)
    block(juliet, "x@y.example")
    push = other.wait(lambda e: local(e) == "iq" and e.get("type") == "set")
    assert child(push, "blocking", "block") is not None
