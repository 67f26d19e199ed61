"""Deletion of accounts: nothing of one is left for the next of its name, whichever process is away or killed."""

import os
import signal

import pytest

from clients import fence
from raw import condition, local
from suite import CommandFailed, Suite, wait_until
from test_mam import query


@pytest.fixture(scope="module")
def frail(programs):
    with Suite(auth={"iterations": 4096}) as suite:
        yield suite


def furnish(suite):
    """An account with messages in its archive and on its spool, and another that wrote them."""
    jid, friend = suite.accounts(2)
    client, other = suite.login(jid, available=0), suite.login(friend, available=0)
    other.say(jid, "seen")
    assert client.message() is not None
    client.say(friend, "said")
    assert other.message() is not None
    client.sync()
    client.end()
    wait_until(lambda: not suite.sessions(jid), message="the session ends")
    other.say(jid, "waits")
    other.sync()
    wait_until(lambda: len(suite.ctl("queue", "list", jid)) == 1)
    return jid, other


def is_empty(suite, jid):
    """The next account of this name finds nothing."""
    suite.account(jid.partition("@")[0])
    client = suite.login(jid, available=0)
    assert client.pending("message") == []
    assert query(client).messages == []
    assert suite.ctl("queue", "list", jid) == []
    return client


def stop(suite, name):
    """Stops a process, which is killed when it has to go on."""
    pid = suite.pid(name)
    os.kill(pid, signal.SIGSTOP)
    return pid


def is_taken(suite, jid):
    with pytest.raises(CommandFailed) as failure:
        suite.ctl("user", "add", jid, input="x\n")
    assert "are being removed, try again" in failure.value.text


def test_archive_and_spool(suite):
    jid, other = furnish(suite)
    suite.ctl("user", "del", jid)
    client = is_empty(suite, jid)
    # what the other side has is its own
    assert [b for b in query(other).bodies] == ["seen", "said", "waits"]
    other.say(jid, "hello again")
    assert client.message() is not None
    assert query(client).bodies == ["hello again"]


@pytest.mark.parametrize("killed", [["archived"], ["router", "archived"], ["authd", "archived"],
                                    ["authd", "router", "archived"], ["archived", "authd"]])
def test_archived_away(frail, killed):
    """An account that is deleted while archived does nothing, and is killed with others before it has."""
    jid, other = furnish(frail)
    stop(frail, "archived")
    frail.ctl("user", "del", jid)
    is_taken(frail, jid)
    for name in killed:
        frail.kill(name)
        if name == "archived":
            break
        is_taken(frail, jid)
    for name in killed[killed.index("archived") + 1:]:
        frail.kill(name)
    is_empty(frail, jid)


@pytest.mark.parametrize("killed", ["archived", "router", "authd"])
def test_killed_at_once(frail, killed):
    """A kill right behind the deletion: wherever it meets the three, they find the way on."""
    for _ in range(3):
        jid, other = furnish(frail)
        frail.ctl("user", "del", jid)
        frail.kill(killed)
        is_empty(frail, jid)


def test_many(frail):
    """Many at once are forgotten one after another, over a restart of archived."""
    jids = frail.accounts(40)
    writer = frail.login(frail.account())
    for jid in jids:
        writer.say(jid, "waits")
    writer.sync()
    wait_until(lambda: len(frail.ctl("queue", "list")) >= 40)
    stop(frail, "archived")
    for jid in jids:
        frail.ctl("user", "del", jid)
    assert frail.counter("authd", "forgetting") == 40
    frail.kill("archived")
    wait_until(lambda: frail.counter("authd", "forgetting") == 0, message="all are forgotten")
    assert not [r for r in frail.ctl("queue", "list") if r["account"] in jids]


def test_register_again(suite):
    """In-band: the account that was removed is gone, and its name may be taken by who registers next."""
    name = "again%d" % os.getpid()
    jid = name + "@example.test"
    form = "<query xmlns='jabber:iq:register'><username>%s</username><password>%s</password></query>"

    def register(password):
        stranger = suite.stream("example.test")
        answer = stranger.iq("set", form % (name, password), to="example.test")
        stranger.close()
        return answer

    assert register("one").get("type") == "result"
    client = suite.login(jid, password="one", available=0)
    client.say(jid, "a note")
    assert client.message() is not None
    assert client.iq("set", "<query xmlns='jabber:iq:register'><remove/></query>").get("type") == "result"

    def anew():
        answer = register("two")
        if answer.get("type") == "result":
            return True
        assert condition(answer) == "resource-constraint"
        return False

    wait_until(anew, message="registered again")
    client = suite.login(jid, password="two", available=0)
    assert query(client).messages == [] and client.pending("message") == []


def test_contacts_are_told(suite):
    """RFC 6121 section 8.5: whoever saw the account's presence, or was seen, is told that this has ended."""
    jid, friend = suite.accounts(2)
    client, other = suite.login(jid, available=0), suite.login(friend, available=0)
    other.iq("get", "<query xmlns='jabber:iq:roster'/>")
    for asker, asked, name in ((client, other, friend), (other, client, jid)):
        asker.send("<presence to='%s' type='subscribe'/>" % name)
        asked.wait(lambda e: local(e) == "presence" and e.get("type") == "subscribe")
        asked.send("<presence to='%s' type='subscribed'/>" % asker.jid.partition("/")[0])
        fence(asked)
    other.pending()
    suite.ctl("user", "del", jid)
    kinds = set()
    while not {"unsubscribe", "unsubscribed"} <= kinds:
        kinds.add(other.wait(lambda e: local(e) == "presence" and e.get("from") == jid).get("type"))
    roster = other.iq("get", "<query xmlns='jabber:iq:roster'/>")
    assert [i.get("subscription") for i in roster.iter("{jabber:iq:roster}item")] == ["none"]


def test_overwritten(suite):
    """What was in pages of its own is not in the files any more."""
    jid, friend = suite.accounts(2)
    mark = "mark%d" % os.getpid()
    client, other = suite.login(jid, available=0), suite.login(friend)
    client.iq("set", "<vCard xmlns='vcard-temp'><NOTE>%svcard%s</NOTE></vCard>" % (mark, "x" * 6000))
    client.say(jid, "%snote%s" % (mark, "x" * 6000))
    assert client.message() is not None
    client.end()
    wait_until(lambda: not suite.sessions(jid), message="the session ends")

    def has(name, text):
        path = suite.directory / "state" / name / "data.mdb"
        return (mark + text).encode() in path.read_bytes()

    assert has("authd", "vcard") and has("archived", "note")
    suite.ctl("user", "del", jid)
    wait_until(lambda: not has("authd", "vcard"), message="authd's file is overwritten")
    wait_until(lambda: not has("archived", "note"), message="archived's file is overwritten")
