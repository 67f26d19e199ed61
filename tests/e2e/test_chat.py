"""Messages: RFC 6121 section 8, order, offline storage (XEP-0160), stanza-ids (XEP-0359)."""

import os
import re
import signal
import time

import pytest

from clients import child, slix, stanza_id  # noqa: F401
from raw import NS, body, condition, error_type, q, text
from suite import wait_until

DELAY = "<delay xmlns='urn:xmpp:delay' from='%s' stamp='2001-01-01T00:00:00Z'/>"
STAMP = re.compile(r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z$")


def messages(client):
    return [e for e in client.pending("message")]


def bodies(client):
    return [body(e) for e in messages(client)]


@pytest.fixture
def two(suite, slix):  # noqa: F811
    """Two slixmpp clients that are online."""
    a, b = suite.accounts(2)
    return slix(suite, a, "one", available=0), slix(suite, b, "two", available=0)


# -- 1:1 ----------------------------------------------------------------------------------------------


def test_both_ways(two):
    juliet, romeo = two
    juliet.xmpp.send_message(mto=romeo.bare, mbody="Wherefore art thou?", mtype="chat")
    message = romeo.message()
    assert body(message) == "Wherefore art thou?"
    assert message.get("from") == juliet.jid
    assert message.get("type") == "chat"
    assert stanza_id(message)
    assert child(message, "sid", "stanza-id").get("by") == romeo.bare
    assert child(message, "delay", "delay") is None
    romeo.xmpp.send_message(mto=message.get("from"), mbody="Here", mtype="chat")
    answer = juliet.message()
    assert body(answer) == "Here" and answer.get("to") == juliet.jid
    assert answer.get("from") == romeo.jid


@pytest.mark.parametrize("kind", ["normal", "chat", "headline"])
def test_types_to_bare(two, kind):
    juliet, romeo = two
    juliet.say(romeo.bare, "a " + kind, kind)
    message = romeo.message()
    assert body(message) == "a " + kind
    assert message.get("type", "normal") == kind


def test_no_type_and_unknown_type_are_normal(two):
    juliet, romeo = two
    juliet.send("<message to='%s'><body>none</body></message>" % romeo.bare)
    juliet.send("<message to='%s' type='shout'><body>unknown</body></message>" % romeo.bare)
    for words in ("none", "unknown"):
        message = romeo.message()
        assert (body(message), message.get("type", "normal")) == (words, "normal")


@pytest.mark.parametrize("kind", ["normal", "chat", "groupchat", "headline", "error"])
def test_types_to_full(two, kind):
    """RFC 6121 section 8.5.3.1: whatever the type, it is delivered to a matching full JID."""
    juliet, romeo = two
    juliet.say(romeo.jid, "x", kind)
    message = romeo.message()
    assert (body(message), message.get("type", "normal")) == ("x", kind)


def test_groupchat_to_bare(two):
    """Section 8.5.2.1.1: not delivered, and the sender gets service-unavailable."""
    juliet, romeo = two
    id = juliet.say(romeo.bare, "x", "groupchat")
    error = juliet.message()
    assert (error.get("type"), error.get("id")) == ("error", id)
    assert condition(error) == "service-unavailable" and error_type(error) == "cancel"
    assert error.get("from") == romeo.bare
    assert bodies(romeo) == []


def test_error_to_bare_is_dropped(two):
    juliet, romeo = two
    juliet.say(romeo.bare, "x", "error")
    juliet.sync()
    assert bodies(romeo) == []
    assert bodies(juliet) == []


def test_several_resources(suite):
    """Bare JID: all resources with a priority that is not negative; full JID: only that one."""
    a, b = suite.accounts(2)
    sender = suite.login(a)
    high, low = suite.login(b, "high", available=5), suite.login(b, "low", available=0)
    negative, silent = suite.login(b, "negative", available=-1), suite.login(b, "silent")
    others = (high, low, negative, silent)
    for kind in ("chat", "normal", "headline"):
        sender.say(b, "to all", kind)
        sender.sync()
        high.message()
        low.message()
        assert [bodies(c) for c in others] == [[]] * 4, kind
    for at, client in enumerate(others):
        sender.say(client.jid, "to one")
        client.message()
        assert [bodies(c) for c in others] == [[]] * 4


def test_full_jid_without_match(suite):
    """Section 8.5.3.2.1: chat goes to the bare JID's sessions, headline and groupchat to nobody."""
    a, b = suite.accounts(2)
    sender, receiver = suite.login(a), suite.login(b, "there", available=0)
    sender.say(b + "/gone", "chat", "chat")
    assert body(receiver.message()) == "chat"
    for kind in ("headline", "groupchat"):
        sender.say(b + "/gone", kind, kind)
        sender.sync()
    assert bodies(receiver) == []
    assert {e.get("type") for e in messages(sender)} <= {"error"}


def test_full_jid_without_match_normal(suite):
    """Section 8.5.3.2.1: a normal message is ignored or answered with an error, and not stored."""
    a, b = suite.accounts(2)
    sender, receiver = suite.login(a), suite.login(b, "there", available=0)
    sender.say(b + "/gone", "normal", "normal")
    sender.sync()
    got = messages(sender)
    assert bodies(receiver) == []
    assert [condition(e) for e in got] in ([], ["service-unavailable"])


@pytest.mark.parametrize("kind", ["chat", "normal", "headline", "groupchat"])
@pytest.mark.parametrize("resource", ["", "/somewhere"])
def test_no_such_account(suite, kind, resource):
    """Section 8.5.1: an error or nothing; here a message with content gets an error."""
    sender = suite.login(suite.account())
    id = sender.say("nobody%d@localhost%s" % (os.getpid(), resource), "x", kind)
    if kind == "headline":
        sender.sync()
        for error in messages(sender):
            assert condition(error) == "service-unavailable"
        return
    error = sender.message()
    assert (error.get("id"), error.get("type")) == (id, "error")
    assert condition(error) == "service-unavailable"


def test_unknown_domain(suite):
    sender = suite.login(suite.account())
    sender.say("romeo@nowhere.invalid", "x")
    error = sender.message()
    assert error.get("from") == "romeo@nowhere.invalid"
    assert condition(error) in ("remote-server-not-found", "service-unavailable")


def test_malformed_address(suite):
    """RFC 6120 section 8.1.1.1 and 8.3.3.8."""
    sender = suite.login(suite.account())
    for at, address in enumerate(("@localhost", "a b@localhost", "x@", "romeo@localhost/", "a" * 1024 + "@localhost")):
        id = sender.say(address, "x", id="m%d" % at)
        error = sender.message()
        assert (error.get("id"), condition(error), error_type(error)) == (id, "jid-malformed", "modify"), address


def test_error_is_not_answered(suite):
    """RFC 6120 section 8.3.1: no error for an error."""
    sender = suite.login(suite.account())
    for address in ("nobody@localhost", "nobody@localhost/x", "localhost", "a@nowhere.invalid", "a b@localhost"):
        sender.say(address, "x", "error")
        sender.send("<iq type='error' id='e1' to='%s'/><iq type='result' id='e2' to='%s'/>" % (address, address))
    sender.sync()
    assert sender.pending() == []


def test_to_oneself(two):
    juliet, _ = two
    juliet.say(juliet.bare, "note")
    message = juliet.message()
    assert (body(message), message.get("from")) == ("note", juliet.jid)
    juliet.say(juliet.jid, "note 2")
    assert body(juliet.message()) == "note 2"


def test_without_to(two):
    """RFC 6120 section 10.3.1: a message without `to` is one to the sender's bare JID."""
    juliet, _ = two
    juliet.send("<message type='chat' id='w'><body>to me</body></message>")
    message = juliet.message()
    assert (body(message), message.get("from")) == ("to me", juliet.jid)


def test_to_server(suite):
    """Nobody reads messages to the server: answered with an error, not lost."""
    sender = suite.login(suite.account())
    sender.say("localhost", "hello")
    assert condition(sender.message()) == "service-unavailable"


# -- content --------------------------------------------------------------------------------------------


def test_unicode(two):
    """Every class of characters that XML 1.0 allows comes through as it was sent."""
    juliet, romeo = two
    points = [0x9, 0xa, 0x20, 0x26, 0x27, 0x22, 0x3c, 0x3e, 0x7f, 0x80, 0x85, 0x9f, 0xa0, 0x2028, 0xd7ff, 0xe000,
              0xfffd, 0xfeff, 0x10000, 0x1f600, 0x1fffe, 0x10ffff, 0x202e, 0x301]
    words = "é ß 中文 עברית العربية ไทย 👩‍👩‍👧 ]]> <b>&amp;</b> " + "".join(map(chr, points)) + "  end  "
    juliet.say(romeo.bare, words)
    assert body(romeo.message()) == words
    juliet.send("<message to='%s' type='chat'><body>a&#13;b&#xD;&#x41;&amp;&lt;<![CDATA[<&]]></body></message>"
                % romeo.bare)
    assert body(romeo.message()) == "a\rb\rA&<<&"


def test_payload_is_kept(two):
    """Extensions, attributes, namespaces, xml:lang and order of children come through."""
    juliet, romeo = two
    juliet.send("<message to='%s' type='chat' xml:lang='it' id='p&lt;1'><subject>s</subject><body xml:lang='de'>b</body>"
                "<body>c</body><thread parent='p'>t</thread><x xmlns='urn:a' y:z='1' xmlns:y='urn:b' w='&#10;&quot;'>"
                "<y:q/><r xmlns=''>m<n/>o</r></x></message>" % romeo.bare)
    message = romeo.message()
    lang = "{http://www.w3.org/XML/1998/namespace}lang"
    assert message.get("id") == "p<1" and message.get(lang) == "it"
    found = [(e.tag.rpartition("}")[2], e.text) for e in message][:4]
    assert found == [("subject", "s"), ("body", "b"), ("body", "c"), ("thread", "t")]
    x = message.find("{urn:a}x")
    assert x.attrib == {"{urn:b}z": "1", "w": "\n\""}
    assert x[0].tag == "{urn:b}q" and x[1].tag == "r"
    assert x[1].text == "m" and x[1][0].tail == "o"


def test_long_body(two):
    juliet, romeo = two
    words = "0123456789" * 20000
    juliet.say(romeo.bare, words)
    assert body(romeo.message()) == words


def test_order(suite):
    """A thousand messages arrive in the order in which they were sent, once each."""
    a, b = suite.accounts(2)
    sender, receiver = suite.login(a), suite.login(b, available=0)
    sender.send("".join("<message to='%s' type='chat'><body>%d</body></message>" % (b, i) for i in range(1000)),
                seconds=10)
    got = [body(receiver.message()) for _ in range(1000)]
    assert got == [str(i) for i in range(1000)]
    assert bodies(receiver) == []


def test_mixed_order(suite):
    """What is not stored does not overtake what is: iq, headline and presence behind messages."""
    a, b = suite.accounts(2)
    sender, receiver = suite.login(a), suite.login(b, "r", available=0)
    text_ = ""
    for i in range(100):
        text_ += "<message to='%s' type='chat'><body>%d</body></message>" % (receiver.jid, i)
        text_ += "<message to='%s' type='headline'><body>h%d</body></message>" % (receiver.jid, i)
        text_ += "<presence to='%s' id='p%d'/>" % (receiver.jid, i)
        text_ += "<iq to='%s' id='i%d' type='result'/>" % (receiver.jid, i)
    sender.send(text_)
    got = []
    while len(got) < 400:
        e = receiver.next()
        got.append(body(e) or e.get("id"))
    assert got == [p + str(i) for i in range(100) for p in ("", "h", "p", "i")]


def test_spoofed_elements(two):
    """What only the server may say is taken out: stanza-ids by the receiver, delays in our name."""
    juliet, romeo = two
    fake = "<stanza-id xmlns='urn:xmpp:sid:0' id='fake' by='%s'/>"
    juliet.send("<message to='%s' type='chat'><body>x</body>" % romeo.bare + fake % romeo.bare + fake % romeo.bare +
                fake % "localhost" + DELAY % "localhost" + DELAY % romeo.bare +
                "<origin-id xmlns='urn:xmpp:sid:0' id='mine'/></message>")
    message = romeo.message()
    ids = message.findall(q("sid", "stanza-id"))
    assert [e.get("by") for e in ids] == [romeo.bare] and ids[0].get("id") != "fake"
    assert [e.get("from") for e in message.findall(q("delay", "delay"))] == []
    assert child(message, "sid", "origin-id").get("id") == "mine"


def test_spoofed_from(two):
    """RFC 6120 section 8.1.2.1: a `from` that is not one's own is an error or overwritten."""
    juliet, romeo = two
    juliet.send("<message to='%s' from='%s' type='chat'><body>x</body></message>" % (romeo.bare, juliet.bare))
    message = romeo.message()
    assert message.get("from") == juliet.jid


# -- offline ----------------------------------------------------------------------------------------------


def test_offline(suite, slix):  # noqa: F811
    """Messages wait in order, with the time of their arrival, and come once."""
    a, b = suite.accounts(2)
    sender = slix(suite, a, "s")
    for i in range(20):
        sender.say(b, str(i), "chat" if i % 2 else "normal")
    sender.say(b + "/gone", "20", "chat")
    sender.sync()
    began = time.gmtime()
    receiver = slix(suite, b, "r")
    assert bodies(receiver) == []  # not before presence
    receiver.available()
    got = [receiver.message() for _ in range(21)]
    assert [body(m) for m in got] == [str(i) for i in range(21)]
    for message in got:
        delay = child(message, "delay", "delay")
        assert delay is not None, text(message)
        assert delay.get("from") == "localhost" and STAMP.match(delay.get("stamp"))
        assert abs(time.mktime(time.strptime(delay.get("stamp")[:19], "%Y-%m-%dT%H:%M:%S")) -
                   time.mktime(began)) < 60
        assert child(message, "sid", "stanza-id").get("by") == b
        assert message.get("from") == sender.jid
    ids = [stanza_id(m) for m in got]
    assert len(set(ids)) == 21 and ids == sorted(ids)
    receiver.end()
    again = slix(suite, b, "r", available=0)
    assert bodies(again) == []


def test_negative_priority_stores(suite):
    """Section 8.5.2.2.1: with only negative resources a message waits."""
    a, b = suite.accounts(2)
    sender, receiver = suite.login(a), suite.login(b, "r", available=-1)
    sender.say(b, "wait")
    sender.sync()
    assert bodies(receiver) == []
    receiver.available(-5)
    assert bodies(receiver) == []
    receiver.available(1)
    message = receiver.message()
    assert body(message) == "wait" and child(message, "delay", "delay") is not None
    receiver.available(-1)
    receiver.available(1)
    assert bodies(receiver) == []


def test_not_stored_offline(suite):
    """XEP-0160 section 3: chat states alone, headlines and what says no-store do not wait."""
    a, b = suite.accounts(2)
    sender = suite.login(a)
    sender.send("<message to='%s' type='chat'><composing xmlns='%s'/></message>" % (b, NS["chatstates"]))
    sender.send("<message to='%s' type='chat'><active xmlns='%s'/><thread>t</thread></message>" % (
        b, NS["chatstates"]))
    sender.say(b, "news", "headline")
    sender.send("<message to='%s' type='error'><body>x</body></message>" % b)
    sender.say(b, "kept")
    sender.sync()
    got = messages(sender)
    assert [e for e in got if e.get("type") != "error"] == []
    receiver = suite.login(b, available=0)
    assert body(receiver.message()) == "kept"
    assert messages(receiver) == []
    assert suite.ctl("queue", "list", b) == []


def test_no_store_hint(suite):
    """XEP-0334: the sender does not want it on disk; it is delivered to who is there."""
    a, b = suite.accounts(2)
    sender = suite.login(a)
    hint = "<message to='%s' type='chat' id='n'><body>%s</body><no-store xmlns='urn:xmpp:hints'/></message>"
    sender.send(hint % (b, "offline"))
    sender.sync()
    receiver = suite.login(b, available=0)
    assert messages(receiver) == []
    sender.send(hint % (b, "online"))
    message = receiver.message()
    assert body(message) == "online"
    assert stanza_id(message) is None


def test_chat_states_live(two):
    juliet, romeo = two
    juliet.send("<message to='%s' type='chat'><composing xmlns='%s'/></message>" % (romeo.bare, NS["chatstates"]))
    message = romeo.message()
    assert child(message, "chatstates", "composing") is not None
    assert stanza_id(message) is None


def test_offline_limit(make_suite):
    """A full spool: the sender gets an error, and what was stored before stays."""
    suite = make_suite(archive={"spool-messages": 10})
    a, b = suite.accounts(2)
    sender = suite.login(a)
    for i in range(15):
        sender.say(b, str(i), id="l%d" % i)
    errors = [sender.message() for _ in range(5)]
    assert [e.get("id") for e in errors] == ["l%d" % i for i in range(10, 15)]
    for error in errors:
        assert error.get("type") == "error" and error.get("from") == b
        assert condition(error) in ("service-unavailable", "resource-constraint")
    receiver = suite.login(b, available=0)
    assert [body(receiver.message()) for _ in range(10)] == [str(i) for i in range(10)]
    assert bodies(receiver) == []
    sender.say(b, "room again")
    assert body(receiver.message()) == "room again"


def test_queue_empties(suite):
    """What was delivered is off the spool."""
    a, b = suite.accounts(2)
    sender = suite.login(a)
    for i in range(5):
        sender.say(b, str(i))
    sender.sync()
    assert len(wait_until(lambda: suite.ctl("queue", "list", b))) == 5
    receiver = suite.login(b, available=0)
    for i in range(5):
        receiver.message()
    wait_until(lambda: suite.ctl("queue", "list", b) == [], message="queue is empty")
    sender.say(b, "live")
    receiver.message()
    wait_until(lambda: suite.ctl("queue", "list", b) == [], message="queue is empty")


# -- what was acknowledged is stored -------------------------------------------------------------------------


@pytest.mark.parametrize("online", [False, True])
def test_acknowledged_is_stored(make_suite, online):
    """Acknowledged by XEP-0198, then kill -9 of everything: after the next start it is delivered."""
    suite = make_suite()
    a, b = suite.accounts(2)
    sender = suite.login(a)
    if online:
        # Online and not reading: nothing of it was delivered for certain.
        receiver = suite.login(b, "r", available=0)
        receiver.send("<enable xmlns='urn:xmpp:sm:3' resume='true'/>")
        receiver.wait(lambda e: e.tag == q("sm", "enabled"))
    sender.send("<enable xmlns='urn:xmpp:sm:3'/>")
    sender.wait(lambda e: e.tag == q("sm", "enabled"))
    for i in range(50):
        sender.say(b, str(i))
    sender.send("<r xmlns='urn:xmpp:sm:3'/>")
    h = int(sender.wait(lambda e: e.tag == q("sm", "a")).get("h"))
    pids = [p["pid"] for p in suite.status().values()] + [suite.process.pid]
    for pid in pids:
        os.kill(pid, signal.SIGKILL)
    suite.process.wait(10)
    for client in suite.clients:
        client.close()
    suite.clients.clear()
    suite.end_processes()
    suite.start()
    assert h > 0
    receiver = suite.login(b, "r", available=0)
    got = [receiver.message() for _ in range(h)]
    assert [body(m) for m in got] == [str(i) for i in range(h)]
