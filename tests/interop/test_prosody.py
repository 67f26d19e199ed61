"""Prosody, as Debian has it, and a suite of ours: also with stream management and with streams for both ways."""

import pytest

from conversation import LONG, MANY, Conversation, World, await_delivery, bodies, is_message, mechanisms, numbered, steps
from gathering import Rooms
from peers import Prosody
from raw import body
from suite import wait_until


@pytest.fixture(scope="module")
def world():
    with World(Prosody, rooms=True) as world:
        yield world


class TestProsody(Conversation):
    """What all do."""


class TestRooms(Rooms):
    """What all do in rooms."""


@pytest.fixture
def managed():
    """Prosody with mod_smacks, which is for streams between servers too; direct TLS both ways."""
    with World(Prosody, direct=True, modules=["smacks"]) as world:
        yield world.ours["EXTERNAL"], world.peer


def in_order(found):
    """What has come, without what came again."""
    return list(dict.fromkeys(found))


def test_management(managed):
    """XEP-0198: Prosody goes away while messages are on their way: each comes, in order."""
    ours, peer = managed
    juliet = ours.login(ours.account(), "balcony", available=0)
    account = peer.account()
    words = numbered(MANY)
    for word in words[:MANY // 2]:
        juliet.say(account, word)
    wait_until(lambda: len(ours.ctl("queue", "list")) < MANY // 3, LONG, message="some have come")
    peer.kill()
    for word in words[MANY // 2:]:
        juliet.say(account, word)
    juliet.sync()
    peer.start()
    await_delivery(ours, peer)
    assert {s["management"] for s in steps(ours, peer.domain, "out", "stream")} == {"yes"}
    assert {s["tls"] for s in steps(ours, peer.domain, "out", "connect")} == {"direct"}
    romeo = peer.login(account, "orchard")
    romeo.send("<presence/>")
    found = []
    while len(set(found)) < MANY:
        found.append(body(romeo.wait(is_message, LONG)))
    assert in_order(found) == words


def test_management_of_the_peer(managed):
    """The same when it is us who are away: what we have not acknowledged is sent again, or its sender is told."""
    ours, peer = managed
    juliet = ours.login(ours.account(), "balcony", available=0)
    romeo = peer.login(peer.account(), "orchard", available=0)
    romeo.say(juliet.jid, "first")
    assert bodies(juliet, 1) == ["first"]
    words = numbered(MANY)
    for number, word in enumerate(words):
        romeo.say(juliet.jid, word, id="n%d" % number)
        if number == MANY // 2:
            ours.kill("s2sd", wait=False)
    romeo.say(juliet.jid, "last")
    found, refused = [], set()
    ours.await_running("s2sd", 0)

    def all_is_known():
        romeo.sync()
        refused.update(e.get("id") for e in romeo.pending("message") if e.get("type") == "error")
        juliet.sync()
        found.extend(body(e) for e in juliet.pending("message"))
        return all(word in found or "n%d" % number in refused for number, word in enumerate(words))

    wait_until(all_is_known, LONG, 0.2, "each message is there, or its sender knows")
    assert {s["tls"] for s in steps(ours, peer.domain, "in", "accepted")} <= {"direct"}
    assert "Received[s2sout]: <enabled " in peer.log_text()


def test_bidirectional():
    """XEP-0288: one stream for both ways, whoever opened it."""
    with World(Prosody, modules=["s2s_bidi"]) as world:
        ours, peer = world.ours["EXTERNAL"], world.peer
        juliet = ours.login(ours.account(), "balcony", available=0)
        romeo = peer.login(peer.account(), "orchard", available=0)

        def converse(first, second):
            first.say(second.jid, "question")
            assert bodies(second, 1) == ["question"]
            for word in numbered(20):
                second.say(first.jid, word)
            assert bodies(first, 20) == numbered(20)

        def directions():
            return {a["direction"] for a in ours.ctl("peer", "show", peer.domain)["attempts"]}

        converse(juliet, romeo)
        assert {s["bidi"] for s in steps(ours, peer.domain, "out", "stream")} == {"yes"}
        assert directions() == {"out"}
        ours.kill("s2sd")  # which ends that stream, and the history
        converse(romeo, juliet)
        assert directions() == {"in"} and mechanisms(ours, peer.domain, "in") == {"EXTERNAL"}


def test_a_subscription_waits(managed):
    """Prosody is away while we ask, and again while it is to hear our answer, which nobody sends again but we."""
    ours, peer = managed
    account, contact = ours.account(), peer.account()
    juliet = ours.login(account, "balcony", available=0)
    peer.kill()
    juliet.send("<presence type='subscribe' to='%s'/>" % contact)
    juliet.sync()
    wait_until(lambda: ours.ctl("queue", "list"))
    for name in ("s2sd", "authd", "archived", "router"):
        ours.kill(name)
    peer.start()
    await_delivery(ours, peer)
    romeo = peer.login(contact, "orchard", available=0)
    assert romeo.wait(lambda e: e.get("type") == "subscribe", LONG).get("from") == account
    romeo.send("<presence type='subscribed' to='%s'/><presence type='subscribe' to='%s'/>" % (account, account))
    assert juliet.wait(lambda e: e.get("type") == "subscribed", LONG).get("from") == contact
    juliet.wait(lambda e: e.get("type") == "subscribe", LONG)
    peer.kill()
    juliet.send("<presence type='subscribed' to='%s'/>" % contact)
    juliet.sync()
    wait_until(lambda: ours.ctl("queue", "list"))
    peer.start()
    romeo = peer.login(contact, "orchard", available=0)
    await_delivery(ours, peer)
    assert romeo.wait(lambda e: e.get("from") == juliet.jid, LONG).get("type") is None
    romeo.end()
    romeo = peer.login(contact, "garden")
    roster = romeo.iq("get", "<query xmlns='jabber:iq:roster'/>")
    assert [(i.get("jid"), i.get("subscription")) for i in roster[0]] == [(account, "both")]
