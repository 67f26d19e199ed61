"""Bind 2 (XEP-0386), and stream management inline (XEP-0198, section "SASL2 And BIND2 Interaction")."""

import os
import re
import signal
import uuid

import pytest

from raw import NS, body, encode64, local, q, text
from suite import SLOW, wait_until

BIND = "<bind xmlns='urn:xmpp:bind:0'>%s</bind>"
ENABLE = "<enable xmlns='urn:xmpp:sm:3' resume='true'/>"
RESUME = "<resume xmlns='urn:xmpp:sm:3' previd='%s' h='%s'/>"


def login(suite, account, inline, agent=None, mechanism="PLAIN"):
    """A client, and its <success/>."""
    client = suite.stream(account.partition("@")[2])
    success = client.authenticate2(mechanism, account.partition("@")[0], suite.password(account), inline, agent)
    return client, success


def bound(success):
    return success.find(q("bind2", "bound"))


def resource(client):
    return client.jid.partition("/")[2]


def test_feature(suite):
    inline = suite.stream().features.find("%s/%s" % (q("sasl2", "authentication"), q("sasl2", "inline")))
    assert [child.tag for child in inline] == [q("bind2", "bind"), q("sm", "sm"), q("fast", "fast")]
    assert [f.get("var") for f in inline.iter(q("bind2", "feature"))] == ["urn:xmpp:carbons:2", NS["csi"], NS["sm"]]


@pytest.mark.parametrize("mechanism", ["PLAIN", "SCRAM-SHA-512-PLUS"])
def test_bind(suite, mechanism):
    account = suite.account()
    client, success = login(suite, account, BIND % "<tag>Lamp</tag>", mechanism=mechanism)
    assert re.fullmatch(re.escape(account) + "/Lamp/[0-9a-f]{16}", client.jid)
    assert [local(child) for child in bound(success)] == ["metadata"]
    assert client.features.find(q("bind", "bind")) is None
    client.available()
    client.say(account, "hello")
    assert body(client.message()) == "hello"
    answer = client.iq("get", "<query xmlns='jabber:iq:roster'/>")
    assert answer.get("type") == "result"
    client.end()


def test_metadata(suite):
    """The archive's first and last id at the time of binding, as a query says; empty when the archive is."""
    account = suite.account()
    client, success = login(suite, account, BIND % "")
    assert len(bound(success)[0]) == 0
    client.available()
    for words in "one", "two":
        client.say(account, words)
        client.message()
    other, success = login(suite, account, BIND % ENABLE)
    metadata, enabled = bound(success)
    assert local(enabled) == "enabled"
    asked = other.iq("get", "<metadata xmlns='urn:xmpp:mam:2'/>")[0]
    assert metadata.tag == asked.tag == q("mam", "metadata") and len(metadata) == 2
    assert [(e.tag, e.attrib) for e in metadata] == [(e.tag, e.attrib) for e in asked]
    assert metadata[0].get("id") < metadata[1].get("id")
    other.await_handled(1)     # ours, and not that of the server


def test_without_archive(make_suite):
    """While archived does not answer, a client is bound without, after a moment, and what comes late is not told."""
    suite = make_suite()
    account = suite.account()
    archived = suite.pid("archived")
    os.kill(archived, signal.SIGSTOP)
    try:
        client, success = login(suite, account, BIND % "")
        assert len(bound(success)) == 0
        assert client.iq("get", "<ping xmlns='urn:xmpp:ping'/>").get("type") == "result"
    finally:
        os.kill(archived, signal.SIGCONT)
    client.available()
    client.say(account, "later")
    assert body(client.message()) == "later"
    assert client.pending("iq") == []


def test_not_without_success(suite):
    """A failed authentication does nothing of it."""
    account = suite.account()
    client = suite.stream()
    client.start2("PLAIN", "\0%s\0wrong" % account.partition("@")[0], BIND % "")
    assert local(client.next()) == "failure"
    assert suite.sessions(account) == {}
    client.authenticate2("PLAIN", account.partition("@")[0], suite.password(account))
    assert client.jid == account
    client.bind("here")


def test_stable_resource(suite):
    """The same for the same client, account and tag; it does not tell the id."""
    account, other = suite.accounts(2)
    agent, another = str(uuid.uuid4()), str(uuid.uuid4())
    first = resource(login(suite, account, BIND % "<tag>a</tag>", agent)[0])
    assert resource(login(suite, account, BIND % "<tag>a</tag>", agent.upper())[0]) == first
    assert resource(login(suite, account, BIND % "<tag>b</tag>", agent)[0]) == "b" + first[1:]
    assert resource(login(suite, account, BIND % "", agent)[0]) == first[2:]
    assert resource(login(suite, account, BIND % "<tag>a</tag>", another)[0]) != first
    assert resource(login(suite, other, BIND % "<tag>a</tag>", agent)[0]) != first
    assert agent[:8] not in first
    fresh = {resource(login(suite, account, BIND % "<tag>a</tag>")[0]) for _ in range(3)}
    assert len(fresh | {first}) == 4


@pytest.mark.parametrize("tag, expected", [
    ("", ""), ("a/b", "a/b/"), ("a &amp; b", "a & b/"), ("&#x7f;", ""), ("x" * 256, "x" * 256 + "/"),
])
def test_tags(suite, tag, expected):
    client, _ = login(suite, suite.account(), BIND % ("<tag>%s</tag>" % tag))
    assert resource(client)[:-16] == expected


@pytest.mark.parametrize("content", [
    "<tag>%s</tag>" % ("x" * 257), "<tag><a/></tag>", "<tag>a</tag><tag>b</tag>", ENABLE + ENABLE,
])
def test_malformed(suite, content):
    client = suite.stream()
    client.start2("PLAIN", "\0nobody\0x", BIND % content)
    answer = client.next()
    assert answer.find(q("sasl", "malformed-request")) is not None, text(answer)


@pytest.mark.parametrize("policy", ["replace", "refuse", "rename"])
def test_same_client_again(make_suite, policy):
    """The earlier session of the same client ends, whatever the policy and its tag; others stay."""
    suite = make_suite(c2s={"resource-conflict": policy})
    account, agent = suite.account(), str(uuid.uuid4())
    other, _ = login(suite, account, BIND % "<tag>a</tag>", str(uuid.uuid4()))
    old, _ = login(suite, account, BIND % ("<tag>a</tag>" + ENABLE), agent)
    new, _ = login(suite, account, BIND % "<tag>b</tag>", agent)
    assert old.stream_error() == "conflict"
    other.sync()
    new.sync()
    wait_until(lambda: set(suite.sessions(account)) == {new.jid, other.jid})


def test_no_place(make_suite):
    """Too many sessions: it has authenticated, and may see by RFC 6120 what is wrong."""
    suite = make_suite(c2s={"sessions-per-account": 1})
    account = suite.account()
    first, _ = login(suite, account, BIND % "")
    second, success = login(suite, account, BIND % "")
    assert bound(success) is None and second.jid == account
    assert second.features.find(q("bind", "bind")) is not None
    answer = second.iq("set", "<bind xmlns='%s'/>" % NS["bind"])
    assert answer.find("%s/%s" % (q("client", "error"), q("stanzas", "resource-constraint"))) is not None
    first.sync()


def test_carbons(make_suite):
    """From the first stanza on, also after the router has died, and not without having asked."""
    suite = make_suite()
    account, friend = suite.accounts(2)
    client, success = login(suite, account, BIND % "<enable xmlns='urn:xmpp:carbons:2'/>")
    assert [local(child) for child in bound(success)] == ["metadata"]
    without, _ = login(suite, account, BIND % "")
    sender = suite.login(account, "sender")
    sender.say(friend + "/none", "a copy")
    copy = client.message()
    assert copy.find("{urn:xmpp:carbons:2}sent") is not None and "a copy" in text(copy)
    assert without.pending("message") == []
    suite.kill("router")
    sender.say(friend + "/none", "another")
    assert "another" in text(client.message(20 * SLOW))


# -- stream management ------------------------------------------------------------------------------


def test_enable(suite):
    account = suite.account()
    client, success = login(suite, account, BIND % ENABLE)
    enabled = bound(success).find(q("sm", "enabled"))
    assert enabled.get("resume") == "true" and enabled.get("id") and int(enabled.get("max")) > 0
    client.available()
    assert client.await_handled(1) == 1
    client.send("<enable xmlns='%s'/>" % NS["sm"])
    assert client.wait(lambda e: e.tag == q("sm", "failed")) is not None
    limited, success = login(suite, account, BIND % "<enable xmlns='urn:xmpp:sm:3' resume='1' max='7'/>")
    assert bound(success).find(q("sm", "enabled")).get("max") == "7"
    plain, success = login(suite, account, BIND % "<enable xmlns='urn:xmpp:sm:3'/>")
    assert bound(success).find(q("sm", "enabled")).get("id") is None


@pytest.mark.parametrize("times", range(4))
def test_resume(suite, times):
    """On this c2sd or from the other one, as chance has it; what was not acknowledged comes again
    right behind <success/>, and a bind request is ignored."""
    account, friend = suite.accounts(2)
    client, success = login(suite, account, BIND % ENABLE, mechanism="SCRAM-SHA-256")
    sm_id, jid = bound(success).find(q("sm", "enabled")).get("id"), client.jid
    client.available()
    sender = suite.login(friend, "s")
    sender.say(jid, "one")
    assert body(client.message()) == "one"
    client.abort()
    sender.say(jid, "two")
    again, success = login(suite, account, RESUME % (sm_id, 1) + BIND % ENABLE)
    resumed = success.find(q("sm", "resumed"))
    assert resumed.get("previd") == sm_id and resumed.get("h") == "1"
    assert bound(success) is None and again.jid == account and again.features is None
    again.jid = jid
    assert [body(again.message()), body(again.message())] == ["one", "two"]
    assert again.pending("message") == []
    assert set(suite.sessions(account)) == {jid}


@pytest.mark.parametrize("previd, h", [
    ("none-such", 0), ("0000000000000001-" + "0" * 36, 0), ("x" * 300, 0), ("a", "x"), ("", 0)])
def test_not_resumed(suite, previd, h):
    """The failure is told, and a resource is bound all the same."""
    account = suite.account()
    client, success = login(suite, account, RESUME % (previd, h) + BIND % ("<tag>a</tag>" + ENABLE))
    assert success.find(q("sm", "failed")) is not None
    assert [local(child) for child in success][-2:] == ["failed", "bound"]
    assert resource(client).startswith("a/")
    client.available()
    assert client.await_handled(1) == 1


def test_not_resumed_not_bound(suite):
    account = suite.account()
    client, success = login(suite, account, RESUME % ("none-such", 0))
    assert success.find(q("sm", "failed")) is not None and client.jid == account
    assert client.bind("b") == account + "/b"


def test_resume_of_another(suite):
    """A session of another account is not there."""
    juliet, romeo = suite.accounts(2)
    client, success = login(suite, juliet, BIND % ENABLE)
    sm_id = bound(success).find(q("sm", "enabled")).get("id")
    _, success = login(suite, romeo, RESUME % (sm_id, 0))
    assert success.find(q("sm", "failed")).find(q("stanzas", "item-not-found")) is not None
    client.sync()


def test_resume_too_high(suite):
    """Acknowledges more than was sent."""
    account = suite.account()
    client, success = login(suite, account, BIND % ENABLE)
    sm_id = bound(success).find(q("sm", "enabled")).get("id")
    client.abort()
    again = suite.stream()
    again.start2("PLAIN", "\0%s\0%s" % (account.partition("@")[0], suite.password(account)),
                 RESUME % (sm_id, 5))
    assert again.stream_error() == "undefined-condition"


def test_early(suite):
    """What a client sends before it knows that it is bound ends the stream."""
    account = suite.account()
    client = suite.stream()
    initial = encode64("\0%s\0%s" % (account.partition("@")[0], suite.password(account)))
    client.send("<authenticate xmlns='%s' mechanism='PLAIN'><initial-response>%s</initial-response>%s"
                "</authenticate><presence/>" % (NS["sasl2"], initial, BIND % ""))
    assert client.stream_error() == "policy-violation"


def test_router_dies(make_suite):
    """While clients bind: each is bound by the next router, or told that it has not authenticated."""
    suite = make_suite()
    accounts = suite.accounts(20)
    clients = [suite.stream() for _ in accounts]
    for client, account in zip(clients, accounts):
        client.start2("PLAIN", "\0%s\0%s" % (account.partition("@")[0], suite.password(account)),
                      BIND % ENABLE)
    suite.kill("router")
    done = 0
    for client in clients:
        answer = client.next(20 * SLOW)
        if local(answer) == "failure":
            assert answer.find(q("sasl", "temporary-auth-failure")) is not None
            continue
        client.jid = answer.findtext(q("sasl2", "authorization-identifier"))
        assert bound(answer) is not None
        assert client.next().tag == q("stream", "features")
        client.sync(20 * SLOW)
        done += 1
    assert len(suite.sessions()) == done
