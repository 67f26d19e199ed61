"""Message carbons: XEP-0280, with its rules (urn:xmpp:carbons:rules:0)."""

import asyncio

import aioxmpp
import pytest
from slixmpp.exceptions import IqError

from clients import child, slix, stanza_id  # noqa: F401
from raw import NS, body, condition, q, text
from suite import SLOW, run_async
from test_clients import aio_client, chat, online
from test_sm import acknowledge, enable as enable_sm, resumed

CARBONS = NS["carbons"]


def carbons(client, name="enable"):
    answer = client.iq("set", "<%s xmlns='%s'/>" % (name, CARBONS))
    assert answer.get("type") == "result", text(answer)
    return client


def unwrap(element, way):
    """The message in a copy; its wrapper must be what section 7 and 8 ask."""
    assert [e.tag for e in element] == [q("carbons", way)], text(element)
    forwarded = element[0]
    assert [e.tag for e in forwarded] == [q("forward", "forwarded")]
    assert [e.tag for e in forwarded[0]] == [q("client", "message")]
    inner = forwarded[0][0]
    assert element.get("from") == element.get("to").partition("/")[0]
    assert element.get("type") == inner.get("type")
    return inner


def copy(client, way, words):
    element = client.message()
    inner = unwrap(element, way)
    assert element.get("to") == client.jid
    assert body(inner) == words, text(element)
    return inner


@pytest.fixture
def four(suite):
    """Juliet twice and Romeo twice, all with carbons."""
    a, b = suite.accounts(2)
    return [carbons(suite.login(jid, resource, available=0))
            for jid, resource in ((a, "one"), (a, "two"), (b, "one"), (b, "two"))]


def bare(client):
    return client.jid.partition("/")[0]


def nothing_more(*clients):
    for client in clients:
        assert client.pending("message") == [], client.jid


def test_both_sides(four):
    juliet, her_other, romeo, his_other = four
    her_other.pending()
    juliet.say(romeo.jid, "to one of yours", id="m1")
    original = romeo.message()
    assert body(original) == "to one of yours"
    received = copy(his_other, "received", "to one of yours")
    sent = copy(her_other, "sent", "to one of yours")
    for inner in received, sent:
        assert (inner.get("from"), inner.get("to"), inner.get("id")) == (juliet.jid, romeo.jid, "m1")
    # The archive has it once, under one id, for each account by its name.
    assert stanza_id(received) == stanza_id(original)
    assert child(received, "sid", "stanza-id").get("by") == bare(romeo)
    assert child(sent, "sid", "stanza-id").get("by") == bare(juliet)
    assert child(received, "delay", "delay") is None
    juliet.say(bare(romeo), "to all of yours")
    assert body(romeo.message()) == body(his_other.message()) == "to all of yours"
    copy(her_other, "sent", "to all of yours")
    nothing_more(*four)


def test_order(four):
    """Copies come in the order of the conversation, whoever speaks."""
    juliet, her_other, romeo, his_other = four
    for i in range(20):
        juliet.say(romeo.jid, "q%d" % i)
        assert body(romeo.message()) == "q%d" % i
        romeo.say(juliet.jid, "a%d" % i)
        assert body(juliet.message()) == "a%d" % i
    for i in range(20):
        copy(her_other, "sent", "q%d" % i)
        copy(her_other, "received", "a%d" % i)
        copy(his_other, "received", "q%d" % i)
        copy(his_other, "sent", "a%d" % i)
    nothing_more(*four)


def test_not_enabled(suite, four):
    juliet, her_other, romeo, his_other = four
    carbons(her_other, "disable")
    plain = suite.login(bare(romeo), "plain", available=0)
    juliet.say(romeo.jid, "hello")
    assert body(romeo.message()) == "hello"
    copy(his_other, "received", "hello")
    nothing_more(plain, her_other, *four)


@pytest.mark.parametrize("extra", ["<private xmlns='%s'/>" % CARBONS, "<no-copy xmlns='%s'/>" % NS["hints"],
                                   "<private xmlns='%s'/><no-copy xmlns='%s'/>" % (CARBONS, NS["hints"])])
def test_private(four, extra):
    juliet, her_other, romeo, his_other = four
    juliet.send("<message to='%s' type='chat'><body>secret</body>%s</message>" % (romeo.jid, extra))
    message = romeo.message()
    assert body(message) == "secret"
    # Version 0.14 and later: its receiver sees that it was.
    assert len(message.findall(q("carbons", "private"))) == extra.count("<private")
    nothing_more(*four)


@pytest.mark.parametrize("kind,content,copied", [
    ("chat", "<composing xmlns='http://jabber.org/protocol/chatstates'/>", True),
    ("chat", "<x xmlns='urn:any'/>", True),
    ("normal", "<body>a</body>", True),
    ("normal", "<x xmlns='urn:any'/>", False),
    ("normal", "<subject>a</subject>", False),
    ("normal", "<received xmlns='urn:xmpp:receipts' id='1'/>", True),
    ("normal", "<displayed xmlns='urn:xmpp:chat-markers:0' id='1'/>", True),
    ("normal", "<x xmlns='jabber:x:conference' jid='room@muc.localhost'/>", True),
    ("normal", "<x xmlns='http://jabber.org/protocol/muc#user'><invite to='a@localhost'/></x>", True),
    ("headline", "<body>a</body>", False),
    ("groupchat", "<body>a</body>", False),
    ("error", "<error type='cancel'><gone xmlns='%s'/></error>" % NS["stanzas"], True),
])
def test_rules(four, kind, content, copied):
    juliet, her_other, romeo, his_other = four
    juliet.send("<message to='%s' type='%s' id='r'>%s</message>" % (romeo.jid, kind, content))
    juliet.sync()
    assert romeo.message().get("id") == "r"
    for client, way in ((her_other, "sent"), (his_other, "received")):
        found = client.pending("message")
        assert len(found) == copied, text(found[0]) if found else ""
        if copied:
            assert unwrap(found[0], way).get("id") == "r"
    nothing_more(*four)


def test_bounce_is_copied(four):
    juliet, her_other, _, _ = four
    juliet.say("nobody-at-all@localhost", "hello?", id="b1")
    assert condition(juliet.message()) == "service-unavailable"
    copy(her_other, "sent", "hello?")
    error = unwrap(her_other.message(), "received")
    assert error.get("type") == "error" and error.get("id") == "b1" and condition(error) == "service-unavailable"
    # What bounces of a copy goes to nobody.
    her_other.send("<message to='%s' type='error' id='b2'><error type='cancel'><gone xmlns='%s'/></error>"
                   "</message>" % (bare(juliet), NS["stanzas"]))
    her_other.sync()
    nothing_more(*four)


def test_to_oneself(four):
    juliet, her_other, _, _ = four
    juliet.say(her_other.jid, "note")
    assert body(her_other.message()) == "note"
    nothing_more(*four)


@pytest.mark.parametrize("element", ["sent", "received"])
def test_forged(four, element):
    """What looks like a copy is left out where it enters, also from another session of the account."""
    juliet, her_other, romeo, _ = four
    forged = ("<%s xmlns='%s'><forwarded xmlns='%s'><message xmlns='jabber:client' from='%s' to='%s'>"
              "<body>forged</body></message></forwarded></%s>") % (
                  element, CARBONS, NS["forward"], romeo.jid, juliet.jid, element)
    for sender, kind in ((romeo, "chat"), (her_other, "chat"), (romeo, "normal")):
        sender.send("<message to='%s' type='%s'><body>x</body>%s</message>" % (juliet.jid, kind, forged))
        message = juliet.message()
        assert body(message) == "x" and child(message, "carbons", element) is None, text(message)


@pytest.mark.parametrize("to,payload,kind,wanted", [
    ("other", "<enable xmlns='%s'/>", "set", "not-allowed"),
    ("nobody@localhost", "<disable xmlns='%s'/>", "set", "not-allowed"),
    (None, "<enable xmlns='%s'/>", "get", "not-allowed"),
    (None, "<sent xmlns='%s'/>", "set", "bad-request"),
])
def test_errors(four, to, payload, kind, wanted):
    juliet, _, romeo, _ = four
    answer = juliet.iq(kind, payload % CARBONS, to=bare(romeo) if to == "other" else to)
    assert condition(answer) == wanted


def test_announced(four):
    juliet = four[0]
    for to in ("localhost", bare(juliet)):
        info = juliet.iq("get", "<query xmlns='%s'/>" % NS["disco#info"], to=to)
        features = {e.get("var") for e in info.iter(q("disco#info", "feature"))}
        assert {CARBONS, "urn:xmpp:carbons:rules:0"} <= features, text(info)


# -- what survives ---------------------------------------------------------------------------------------


def test_router_restarts(make_suite):
    suite = make_suite()
    a, b = suite.accounts(2)
    juliet, other, plain = (suite.login(a, r, available=0) for r in ("one", "two", "three"))
    carbons(other)
    carbons(plain)
    carbons(plain, "disable")
    romeo = suite.login(b, "one", available=0)
    suite.kill("router")
    juliet.sync()
    juliet.say(romeo.jid, "after")
    assert body(romeo.message()) == "after"
    copy(other, "sent", "after")
    nothing_more(plain, juliet)


def test_resumed(suite):
    """A detached session gets the copies that were made meanwhile, in order with what was for itself."""
    a, b = suite.accounts(2)
    juliet, romeo = suite.login(a, "one", available=0), suite.login(b, "one", available=0)
    other = carbons(suite.login(b, "two", available=0))
    other.pending()
    enable_sm(other)
    other.close()
    for i in range(5):
        juliet.say(romeo.jid, "copy %d" % i)
        juliet.say(b, "own %d" % i)
    juliet.sync()
    for _ in range(10):
        romeo.message()
    other = resumed(suite, other)
    for i in range(5):
        copy(other, "received", "copy %d" % i)
        assert body(other.message()) == "own %d" % i
    acknowledge(other, 10)
    nothing_more(other, romeo)
    juliet.say(romeo.jid, "later")
    copy(other, "received", "later")


def test_moved(make_suite):
    """To another c2sd, with what waited."""
    suite = make_suite()
    a, b = suite.accounts(2)
    juliet, romeo = suite.login(a, "one", available=0), suite.login(b, "one", available=0)
    for _ in range(6):
        other = carbons(suite.login(b, "two", available=0))
        other.pending()
        enable_sm(other)
        before = suite.sessions(b)[other.jid]["c2sd"]
        other.close()
        juliet.say(romeo.jid, "while away")
        juliet.sync()
        other = resumed(suite, other)
        copy(other, "received", "while away")
        juliet.say(romeo.jid, "again")
        copy(other, "received", "again")
        moved = suite.sessions(b)[other.jid]["c2sd"] != before
        other.end()
        romeo.pending()
        if moved:
            return
    pytest.fail("it was always resumed where it was")


def words_of(element):
    """What a message says, itself or as a copy."""
    inner = element.find(".//" + q("client", "message"))
    return body(element if inner is None else inner)


def test_five_clients_of_which_two_are_asleep(make_suite):
    """Each has everything once, in order: two that are awake, one with a negative priority, one that does not
    read, and one that is detached under stream management; while daemons are killed."""
    suite = make_suite()
    a, b = suite.accounts(2)
    names = ("awake", "managed", "quiet", "deaf", "detached")
    five = {name: carbons(suite.login(b, name, available=-1 if name == "quiet" else 0)) for name in names}
    for client in five.values():
        client.pending()
    for name in ("managed", "deaf", "detached"):
        enable_sm(five[name])
    five["detached"].close()
    romeo = suite.login(a, "r", available=0)
    said = []
    for i in range(120):
        if i == 40:
            suite.kill("archived")
        if i == 80:
            suite.kill("authd")
        to = b if i % 3 == 0 else "%s/%s" % (b, names[i % 5])
        said.append("%d to %s" % (i, to))
        romeo.say(to, said[-1])
    romeo.sync()
    five["detached"] = resumed(suite, five["detached"])
    for name, client in five.items():
        heard = [words_of(client.message()) for _ in said]
        assert sorted(heard) == sorted(said), name
        if name != "quiet":
            assert heard == said, name
        assert client.pending("message") == [], name


# -- real clients --------------------------------------------------------------------------------------------


def test_slixmpp(suite, slix):  # noqa: F811
    a, b = suite.accounts(2)
    one, two = (slix(suite, a, r, available=0, plugins=("xep_0280",)) for r in ("one", "two"))
    friend = slix(suite, b, "friend", available=0)
    heard = []
    two.xmpp.add_event_handler("carbon_sent", lambda m: heard.append(("sent", m["carbon_sent"]["body"])))
    two.xmpp.add_event_handler("carbon_received",
                               lambda m: heard.append(("received", m["carbon_received"]["body"])))
    two.run(two.xmpp["xep_0280"].enable())
    one.say(friend.jid, "hello")
    assert body(friend.message()) == "hello"
    friend.say(one.jid, "hello yourself")
    assert body(one.message()) == "hello yourself"
    two.until(lambda: len(heard) == 2)
    assert heard == [("sent", "hello"), ("received", "hello yourself")]
    two.run(two.xmpp["xep_0280"].disable())
    one.say(friend.jid, "more")
    friend.message()
    two.pending()
    assert len(heard) == 2
    with pytest.raises(IqError):
        iq = two.xmpp.make_iq_set(ito=b)
        iq.enable("carbon_enable")
        two.run(iq.send())


def test_aioxmpp(suite):
    a, b = suite.accounts(2)

    async def talk():
        one, two, friend = (aio_client(suite, *who) for who in ((a, "one"), (a, "two"), (b, "friend")))
        copies = asyncio.Queue()
        service = two.summon(aioxmpp.CarbonsClient)
        dispatcher = two.summon(aioxmpp.dispatcher.SimpleMessageDispatcher)
        dispatcher.register_callback(aioxmpp.MessageType.CHAT, aioxmpp.JID.fromstr(a), copies.put_nowait)
        async with online(one), online(two), online(friend):
            await service.enable()
            await asyncio.wait_for(one.send(chat(b + "/friend", "hello")), 8 * SLOW)
            message = await asyncio.wait_for(copies.get(), 8 * SLOW)
            inner = message.xep0280_sent.stanza
            assert (inner.body.any(), str(inner.to)) == ("hello", b + "/friend")
            await friend.send(chat(a + "/one", "back"))
            message = await asyncio.wait_for(copies.get(), 8 * SLOW)
            assert message.xep0280_received.stanza.body.any() == "back"
            await service.disable()

    run_async(talk(), 20)
