"""Streams between servers (RFC 6120, XEP-0178, XEP-0198, XEP-0220, XEP-0288): two suites with each other."""

import json
import time

import pytest

from peer import EXTERNAL, Listener
from raw import NS, body, condition, local, q, text
from servers import Server, federation, issue
from suite import SLOW, CommandFailed, wait_until


@pytest.fixture(scope="module")
def pair():
    with federation() as (a, b):
        yield a, b


@pytest.fixture
def talkers(pair):
    a, b = pair
    juliet = a.login(a.account(), "balcony", available=0)
    romeo = b.login(b.account(), "orchard", available=0)
    return juliet, romeo


def bare(client):
    return client.jid.partition("/")[0]


def steps(suite, domain, direction="out"):
    shown = suite.ctl("peer", "show", domain)
    return next(a for a in shown["attempts"] if a["direction"] == direction)


def test_messages_both_ways(talkers):
    juliet, romeo = talkers
    juliet.say(bare(romeo), "Wherefore art thou")
    message = romeo.message()
    assert body(message) == "Wherefore art thou" and message.get("from") == juliet.jid
    romeo.say(juliet.jid, "here")
    answer = juliet.message()
    assert body(answer) == "here" and answer.get("from") == romeo.jid and answer.get("to") == juliet.jid


def test_order(talkers):
    juliet, romeo = talkers
    for number in range(200):
        juliet.say(romeo.jid, "number %d" % number)
    assert [body(romeo.message()) for _ in range(200)] == ["number %d" % n for n in range(200)]


def test_requests(talkers):
    juliet, romeo = talkers
    answer = juliet.iq("get", "<query xmlns='%s'/>" % NS["disco#info"], to="b.test")
    assert answer.get("type") == "result" and answer.get("from") == "b.test"
    juliet.send("<iq type='get' id='p1' to='%s'><ping xmlns='urn:xmpp:ping'/></iq>" % romeo.jid)
    request = romeo.wait(lambda e: local(e) == "iq")
    romeo.send("<iq type='result' id='p1' to='%s'/>" % request.get("from"))
    assert juliet.wait(lambda e: e.get("id") == "p1").get("type") == "result"
    answer = juliet.iq("get", "<vCard xmlns='vcard-temp'/>", to="nobody@b.test")
    assert answer.get("type") == "error"


def test_subscription_and_presence(talkers):
    juliet, romeo = talkers
    juliet.send("<presence type='subscribe' to='%s'/>" % bare(romeo))
    assert romeo.wait(lambda e: e.get("type") == "subscribe").get("from") == bare(juliet)
    romeo.send("<presence type='subscribed' to='%s'/>" % bare(juliet))
    juliet.wait(lambda e: e.get("type") == "subscribed")
    assert juliet.wait(lambda e: local(e) == "presence" and e.get("from") == romeo.jid).get("type") is None
    romeo.send("<presence><show>away</show></presence>")
    shown = juliet.wait(lambda e: local(e) == "presence" and e.get("from") == romeo.jid)
    assert shown.findtext(q("client", "show")) == "away"
    romeo.end()
    assert juliet.wait(lambda e: e.get("type") == "unavailable").get("from") == romeo.jid


def test_a_message_to_nobody_comes_back(talkers):
    juliet, _ = talkers
    juliet.say("nobody@b.test", "lost", id="m1")
    error = juliet.message()
    assert (error.get("type"), error.get("id"), error.get("from")) == ("error", "m1", "nobody@b.test")


def test_offline_storage_there(pair, talkers):
    a, b = pair
    juliet, _ = talkers
    account = b.account()
    juliet.say(account, "for later")
    wait_until(lambda: [r for r in b.ctl("queue", "list") if r["account"] == account])
    late = b.login(account, "late", available=0)
    assert body(late.message()) == "for later"


def test_why(pair, talkers):
    """The report says how it came to the connection."""
    a, b = pair
    juliet, romeo = talkers
    juliet.say(romeo.jid, "hello")
    romeo.message()
    attempt = steps(a, "b.test")
    names = [s["step"] for s in attempt["steps"]]
    assert attempt["verdict"] == "ok"
    for name in ("policy", "connect", "connected", "tls", "certificate", "authentication", "stream"):
        assert name in names, names
    assert [s for s in attempt["steps"] if s["step"] == "authentication"][0]["mechanism"] == "EXTERNAL"
    row = next(r for r in a.ctl("peer", "list") if r["domain"] == "b.test")
    assert row["state"] == "up" and row["from"] == "a.test"


def test_s2sd_is_killed(pair, talkers):
    a, b = pair
    juliet, romeo = talkers
    for number, (suite, name) in enumerate([(a, "s2sd"), (b, "s2sd"), (a, "router"), (b, "router"), (b, "archived")]):
        juliet.say(romeo.jid, "before %d" % number)
        assert body(romeo.message(20 * SLOW)) == "before %d" % number
        suite.kill(name)
        juliet.say(romeo.jid, "after %d" % number)
        assert body(romeo.message(20 * SLOW)) == "after %d" % number


def test_the_other_server_is_away_and_comes_back():
    with federation() as (a, b):
        juliet = a.login(a.account(), "balcony", available=0)
        account = b.account()
        juliet.say(account, "first")
        wait_until(lambda: [r for r in b.ctl("queue", "list") if r["account"] == account])
        b.stop()
        for number in range(3):
            juliet.say(account, "while away %d" % number)
        answer = juliet.iq("get", "<ping xmlns='urn:xmpp:ping'/>", to="b.test", seconds=20 * SLOW)
        assert condition(answer) == "remote-server-timeout", text(answer)
        b.start()
        a.ctl("peer", "test", "b.test")
        romeo = b.login(account, "orchard", available=0)
        assert [body(romeo.message(30 * SLOW)) for _ in range(4)] == ["first"] + ["while away %d" % n for n in range(3)]
        wait_until(lambda: not a.ctl("queue", "list"))


@pytest.mark.parametrize("certificate, why", [
    (("other.test", 30), "other.test"), (("b.test", -1), "expired")])
def test_a_bad_certificate(certificate, why):
    with federation(b_certificate=issue(*certificate)) as (a, b):
        juliet = a.login(a.account(), "balcony", available=0)
        answer = juliet.iq("get", "<ping xmlns='urn:xmpp:ping'/>", to="b.test", seconds=20 * SLOW)
        assert condition(answer) == "remote-server-timeout", text(answer)
        attempt = steps(a, "b.test")
        assert attempt["verdict"] == "failed"
        failed = [s for s in attempt["steps"] if s["verdict"] == "failed"]
        assert why in json.dumps([s for s in failed if s["step"] == "certificate"]), attempt


def test_the_initiators_certificate_is_bad():
    with federation(a_certificate=issue("other.test")) as (a, b):
        juliet = a.login(a.account(), "balcony", available=0)
        answer = juliet.iq("get", "<ping xmlns='urn:xmpp:ping'/>", to="b.test", seconds=20 * SLOW)
        assert condition(answer) == "remote-server-timeout", text(answer)
        assert steps(b, "a.test", "in")["verdict"] == "failed"


def test_dialback():
    """Where it is allowed it makes up for certificates that are not good."""
    allowed = {"authentication": "dialback"}
    with federation(a_s2s=allowed, b_s2s=allowed, a_certificate=issue("other.test"),
                    b_certificate=issue("another.test")) as (a, b):
        juliet = a.login(a.account(), "balcony", available=0)
        romeo = b.login(b.account(), "orchard", available=0)
        juliet.say(romeo.jid, "one")
        assert body(romeo.message(20 * SLOW)) == "one"
        romeo.say(juliet.jid, "two")
        assert body(juliet.message(20 * SLOW)) == "two"
        shown = a.ctl("peer", "show", "b.test")["attempts"]
        mechanisms = [s.get("mechanism") for attempt in shown for s in attempt["steps"] if s["step"] == "authentication"]
        assert "dialback" in mechanisms and "EXTERNAL" not in mechanisms, shown
        shown = [t for t in b.ctl("peer", "show", "a.test")["attempts"] if t["direction"] == "in"]
        assert "dialback" in {s.get("mechanism") for attempt in shown for s in attempt["steps"]}, shown


@pytest.mark.parametrize("stage, element, shown", [
    ("sasl", "<failure xmlns='%s'><not-authorized/><text xml:lang='en'>%%s</text></failure>" % NS["sasl"],
     "It refuses our certificate: not-authorized: It&\\x27s \\xe2\\x80\\xaeexpired"),
    ("sasl", "<failure xmlns='%s'><not-authorized/></failure>" % NS["sasl"], "It refuses our certificate: not-authorized"),
    ("stream", "<stream:error><not-authorized xmlns='{0}'/><text xmlns='{0}'>%s</text></stream:error>".format(NS["streams"]),
     "the peer says: not-authorized: It&\\x27s \\xe2\\x80\\xaeexpired"),
    ("stream", "<stream:error><not-authorized xmlns='{0}'/><text xmlns='{0}'>{1}</text></stream:error>".format(
        NS["streams"], "long " * 500), "the peer says: not-authorized: long long "),
])
def test_what_the_peer_says(stage, element, shown):
    """Its words are in the history, and nothing of it that would change the line."""
    with Listener() as listener, Server("a.test", peers={
            "b.test": {"address": ["127.0.0.1:%d" % listener.port]}}) as suite:
        juliet = suite.login(suite.account(), "balcony")
        juliet.send("<iq type='get' id='x' to='b.test'><ping xmlns='%s'/></iq>" % NS["ping"])
        callee = listener.accept()
        callee.secure(issue("b.test"), features=EXTERNAL)
        if stage == "sasl":
            callee.wait(lambda e: e.tag == q("sasl", "auth"))
        callee.send(element.replace("%s", "It&amp;'s \u202eexpired"))
        assert condition(juliet.wait(lambda e: e.get("id") == "x", 20 * SLOW)) == "remote-server-timeout"
        said = [s["reason"] for s in steps(suite, "b.test")["steps"] if s["verdict"] == "failed"]
        assert said and said[0].startswith(shown) and len(said[0]) < 250, said


def test_refused_by_policy():
    with federation(a_peer={"policy": "refuse"}) as (a, b):
        juliet = a.login(a.account(), "balcony", available=0)
        romeo = b.login(b.account(), "orchard", available=0)
        juliet.say(romeo.jid, "no", id="n1")
        error = juliet.message()
        assert error.get("id") == "n1" and condition(error) == "remote-server-not-found"
        answer = romeo.iq("get", "<ping xmlns='urn:xmpp:ping'/>", to="a.test", seconds=20 * SLOW)
        assert answer.get("type") == "error"


def test_no_such_domain(pair, talkers):
    juliet, _ = talkers
    juliet.say("somebody@nowhere.invalid", "hello", id="x1")
    error = juliet.message(30 * SLOW)
    assert error.get("id") == "x1" and condition(error) in ("remote-server-not-found", "remote-server-timeout")


# -- subscriptions are in custody as messages are


def presences(client, kind, seconds=30):
    return client.wait(lambda e: local(e) == "presence" and e.get("type") == kind, seconds * SLOW)


def subscription(client, contact):
    roster = client.iq("get", "<query xmlns='jabber:iq:roster'/>")
    items = {i.get("jid"): i for i in roster.iter(q("roster", "item"))}
    return (items[contact].get("subscription"), items[contact].get("ask")) if contact in items else None


def archived(client):
    client.send("<iq type='set' id='mam'><query xmlns='urn:xmpp:mam:2'/></iq>")
    found = []
    while True:
        element = client.next()
        if element.get("id") == "mam":
            return found
        if element.find("{urn:xmpp:mam:2}result") is not None:
            found += [e for e in element.iter() if local(e) in ("message", "presence") and e is not element]


def test_a_subscription_waits_for_the_other_server():
    """Over the death of each process, and a restart of everything; what follows from it comes in its order."""
    with federation() as (a, b):
        account, romeo_account = a.account(), b.account()
        juliet = a.login(account, "balcony", available=0)
        b.stop()
        juliet.send("<presence type='subscribe' to='%s'/>" % romeo_account)
        juliet.sync()
        wait_until(lambda: [r for r in a.ctl("queue", "list") if r["account"] == "b.test" and r["messages"] == 1])
        assert not juliet.pending("presence")
        for name in ("s2sd", "archived", "authd", "router"):
            a.kill(name)
        juliet.sync()
        assert subscription(juliet, romeo_account) == ("none", "subscribe")
        assert archived(juliet) == []
        a.stop()
        a.start()
        b.start()
        romeo = b.login(romeo_account, "orchard", available=0)
        a.ctl("peer", "test", "b.test")
        assert presences(romeo, "subscribe").get("from") == account
        wait_until(lambda: not a.ctl("queue", "list"))
        # the answer, and the presence that it lets through, wait in the same way
        a.stop()
        romeo.send("<presence type='subscribed' to='%s'/>" % account)
        wait_until(lambda: [r for r in b.ctl("queue", "list") if r["account"] == "a.test" and r["messages"] == 1])
        a.start()
        juliet = a.login(account, "balcony", available=0)
        b.ctl("peer", "test", "a.test")
        presences(juliet, "subscribed")
        assert subscription(juliet, romeo_account) == ("to", None)
        shown = juliet.wait(lambda e: local(e) == "presence" and e.get("from") == romeo.jid, 30 * SLOW)
        assert shown.get("type") is None
        assert archived(juliet) == [] and archived(romeo) == []


@pytest.mark.parametrize("victims", [("s2sd", "s2sd"), ("authd", "authd"), ("archived", "archived"),
                                     ("router", "router")])
def test_no_subscription_is_lost(pair, victims):
    """Requests to many while processes of both sides die: each arrives, and none twice."""
    a, b = pair
    juliet = a.login(a.account(), "balcony", available=0)
    contacts = [b.account() for _ in range(24)]
    for number, contact in enumerate(contacts):
        juliet.send("<presence type='subscribe' to='%s'/>" % contact)
        if number == 8:
            a.kill(victims[0], wait=False)
        if number == 16:
            b.kill(victims[1], wait=False)
        time.sleep(0.01)
    juliet.sync()
    for contact in contacts:
        romeo = b.login(contact, "orchard", available=0)
        assert presences(romeo, "subscribe").get("from") == bare(juliet)
        assert [e for e in romeo.pending("presence") if e.get("type") == "subscribe"] == []
        romeo.send("<presence type='subscribed' to='%s'/>" % bare(juliet))
        romeo.end()
    for _ in contacts:
        presences(juliet, "subscribed")
    wait_until(lambda: not a.ctl("queue", "list") and not b.ctl("queue", "list"), 30 * SLOW)
    wait_until(lambda: a.counter("authd", "outbox") == b.counter("authd", "outbox") == 0, 30 * SLOW)


def test_a_subscription_that_waits_too_long():
    with federation(a_s2s={"message-time": "2s"}) as (a, b):
        juliet = a.login(a.account(), "balcony", available=0)
        contact = b.account()
        b.stop()
        juliet.send("<presence type='subscribe' id='s1' to='%s'/>" % contact)
        error = presences(juliet, "error")
        assert error.get("from") == contact and condition(error) == "remote-server-timeout", text(error)
        wait_until(lambda: not a.ctl("queue", "list"))
        assert subscription(juliet, contact) == ("none", "subscribe")


def test_a_subscription_to_no_such_domain(pair, talkers):
    juliet, _ = talkers
    juliet.send("<presence type='subscribe' to='somebody@nowhere.invalid'/>")
    error = presences(juliet, "error")
    assert error.get("from") == "somebody@nowhere.invalid"
    assert condition(error) in ("remote-server-not-found", "remote-server-timeout")
