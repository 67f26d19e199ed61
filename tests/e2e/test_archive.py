"""What is in archives and what is not: hints (XEP-0334), extensions, types, preferences (XEP-0441), retention."""

import pytest

from clients import child, slix, stanza_id  # noqa: F401
from raw import NS, body, condition, q
from test_mam import query

CHATSTATE = "<composing xmlns='http://jabber.org/protocol/chatstates'/>"


def hint(name):
    return "<%s xmlns='urn:xmpp:hints'/>" % name


@pytest.fixture
def pair(suite):
    """Two sessions that are online, and the bare JIDs of their accounts."""
    juliet, romeo = suite.accounts(2)
    return suite.login(juliet, "balcony", available=0), suite.login(romeo, "garden", available=0), juliet, romeo


def archived(client, to=None):
    """The ids of the messages (as their senders gave them) in an archive."""
    return [m.get("id") for m in query(client).messages]


# payload, type, whether it waits for an absent receiver, whether it is archived
CONTENT = {
    "body": ("<body>a</body>", "chat", True, True),
    "normal": ("<body>a</body>", "normal", True, True),
    "headline": ("<body>a</body>", "headline", False, False),
    "headline-store": ("<body>a</body>" + hint("store"), "headline", True, True),
    "chatstate": (CHATSTATE, "chat", False, False),
    "chatstate-store": (CHATSTATE + hint("store"), "chat", True, True),
    "chatstate-ids": (CHATSTATE + "<origin-id xmlns='urn:xmpp:sid:0' id='1'/>", "chat", False, False),
    "encrypted": ("<encrypted xmlns='eu.siacs.conversations.axolotl'/>", "chat", True, True),
    "no-store": ("<body>a</body>" + hint("no-store"), "chat", False, False),
    "no-permanent-store": ("<body>a</body>" + hint("no-permanent-store"), "chat", True, False),
    "no-copy": ("<body>a</body>" + hint("no-copy"), "chat", True, True),
    "correction": ("<body>b</body><replace id='1' xmlns='urn:xmpp:message-correct:0'/>", "chat", True, True),
    "retraction": ("<retract id='1' xmlns='urn:xmpp:message-retract:1'/>", "chat", True, True),
    "reactions": ("<reactions id='1' xmlns='urn:xmpp:reactions:0'><reaction>&#x1f44b;</reaction></reactions>", "chat",
                  True, True),
    "no-reactions": ("<reactions id='1' xmlns='urn:xmpp:reactions:0'/>", "chat", True, True),
    "displayed": ("<displayed id='1' xmlns='urn:xmpp:chat-markers:0'/>", "chat", True, True),
    "receipt": ("<received id='1' xmlns='urn:xmpp:receipts'/>", "chat", True, True),
}


def test_content_live(pair):
    """What is delivered has a stanza-id exactly when it is in the archives."""
    juliet, romeo, a, b = pair
    ids = {}
    for name, (payload, kind, _, _) in CONTENT.items():
        juliet.send("<message to='%s' type='%s' id='%s'>%s</message>" % (b, kind, name, payload))
        got = romeo.message()
        assert got.get("id") == name
        ids[name] = stanza_id(got)
    wanted = [name for name, (_, _, _, kept) in CONTENT.items() if kept]
    for client in (juliet, romeo):
        page = query(client)
        assert [m.get("id") for m in page.messages] == wanted
        assert page.ids == [ids[name] for name in wanted]
    assert {name for name, id in ids.items() if id is None} == set(CONTENT) - set(wanted)


def test_content_absent(pair):
    """What waits for an absent receiver; what is neither stored nor a mere state comes back."""
    juliet, romeo, a, b = pair
    romeo.send("<presence type='unavailable'/>")
    romeo.sync()
    for name, (payload, kind, _, _) in CONTENT.items():
        juliet.send("<message to='%s' type='%s' id='%s'>%s</message>" % (b, kind, name, payload))
    juliet.sync()
    assert [(e.get("id"), condition(e)) for e in juliet.pending("message")] == [("no-store", "service-unavailable")]
    romeo.send("<presence/>")
    for name, (_, _, waits, kept) in CONTENT.items():
        if waits:
            got = romeo.message()
            assert got.get("id") == name and child(got, "delay", "delay") is not None
            assert (stanza_id(got) is not None) == kept
    romeo.sync()
    assert romeo.pending("message") == []
    assert archived(romeo) == [name for name, (_, _, _, kept) in CONTENT.items() if kept]


def test_not_permanent_copy(suite, pair):
    """A carbon of what is in no archive has no id either."""
    juliet, romeo, a, b = pair
    phone = suite.login(a, "phone", available=0)
    phone.iq("set", "<enable xmlns='urn:xmpp:carbons:2'/>")
    juliet.pending()
    juliet.send("<message to='%s' type='chat' id='x'><body>a</body>%s</message>" % (b, hint("no-permanent-store")))
    copy = phone.message()
    inner = copy.find("%s/%s/%s" % (q("carbons", "sent"), q("forward", "forwarded"), q("client", "message")))
    assert inner.get("id") == "x" and child(inner, "sid", "stanza-id") is None
    assert archived(phone) == []


@pytest.mark.parametrize("reason", ["nobody", "blocked"])
def test_bounced(make_suite, reason):
    """A message that came back does not look delivered in its sender's archive, and is in no other."""
    suite = make_suite()
    a = suite.account()
    juliet = suite.login(a, "balcony", available=0)
    to = "nobody-at-all@localhost"
    if reason == "blocked":
        to = suite.account()
        nurse = suite.login(to, "n", available=0)
        nurse.iq("set", "<block xmlns='urn:xmpp:blocking'><item jid='%s'/></block>" % a)
        nurse.end()
        suite.kill("router")
    juliet.send("<message to='%s' type='chat' id='m1'><body>a</body></message>" % to)
    error = juliet.message()
    assert (error.get("type"), error.get("id"), error.get("from")) == ("error", "m1", to)
    page = query(juliet)
    assert [(m.get("type"), m.get("id"), m.get("from")) for m in page.messages] == [
        ("chat", "m1", juliet.jid), ("error", "m1", to)]
    assert condition(page.messages[1]) == condition(error)
    suite.kill("archived")
    assert query(juliet).ids == page.ids
    if reason == "blocked":
        assert query(suite.login(to, "n")).ids == []


def test_features(pair):
    juliet = pair[0]
    for to, wanted in ((pair[2], "urn:xmpp:mam:2#groupchat-field"), (pair[2], "urn:xmpp:message-retract:1"),
                       ("localhost", "urn:xmpp:message-retract:1")):
        info = juliet.iq("get", "<query xmlns='%s'/>" % NS["disco#info"], to=to)
        assert [e.get("var") for e in info.iter(q("disco#info", "feature"))].count(wanted) == 1


def test_slixmpp(suite, slix):  # noqa: F811
    """What slixmpp sends as a correction, retraction, reaction, marker and receipt comes back out of the archive."""
    a, b = suite.accounts(2)
    romeo = suite.login(b, "garden", available=0)
    juliet = slix(suite, a, "slix", plugins=("xep_0308", "xep_0424", "xep_0444", "xep_0333", "xep_0184", "xep_0334"))
    xmpp = juliet.xmpp
    correction = xmpp.make_message(b, "two", mtype="chat")
    correction["replace"]["id"] = "1"
    for message in (xmpp.make_message(b, "one", mtype="chat"), correction):
        message.send()
    xmpp["xep_0424"].send_retraction(b, "1", mtype="chat", include_fallback=False)
    xmpp["xep_0444"].send_reactions(b, "1", ["\N{WAVING HAND SIGN}"])
    xmpp["xep_0333"].send_marker(b, "1", "displayed")
    receipt = xmpp.make_message(b, mtype="chat")
    receipt["receipt"] = "1"
    receipt.send()
    state = xmpp.make_message(b, mtype="chat")
    state.enable("no-store")
    state.send()
    juliet.sync()
    for _ in range(7):
        romeo.message()
    tags = [[e.tag for e in m] for m in query(romeo).messages]
    assert [q("client", "body")] in [[tag for tag in message if "}body" in tag] for message in tags], tags
    flat = [tag for message in tags for tag in message]
    for wanted in ("{urn:xmpp:message-correct:0}replace", "{urn:xmpp:reactions:0}reactions",
                   "{urn:xmpp:chat-markers:0}displayed", "{urn:xmpp:receipts}received"):
        assert flat.count(wanted) == 1
    assert sum(tag.endswith("}retract") or tag.endswith("}apply-to") for tag in flat) == 1
    assert len(tags) == 6
