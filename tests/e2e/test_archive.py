"""What is in archives and what is not: hints (XEP-0334), extensions, types, preferences (XEP-0441), retention."""

import os

import pytest

from clients import child, slix, stanza_id  # noqa: F401
from raw import NS, body, condition, q
from suite import CommandFailed, wait_until
from test_mam import query
from test_reload import reload

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


# -- preferences (XEP-0441) ----------------------------------------------------------------------------------


def items(name, jids):
    return "<%s>%s</%s>" % (name, "".join("<jid>%s</jid>" % j for j in jids), name) if jids else "<%s/>" % name


def prefer(client, default, always=(), never=(), to=None):
    """Sets preferences. Returns what the server says they are."""
    answer = client.iq("set", "<prefs xmlns='urn:xmpp:mam:2' default='%s'>%s%s</prefs>" % (
        default, items("always", always), items("never", never)), to=to)
    return preferences(answer)


def preferences(answer):
    prefs = child(answer, "mam", "prefs")
    assert answer.get("type") == "result" and [e.tag for e in prefs] == [q("mam", "always"), q("mam", "never")]
    return (prefs.get("default"),) + tuple([j.text for j in part] for part in prefs)


def show(client):
    return preferences(client.iq("get", "<prefs xmlns='urn:xmpp:mam:2'/>"))


def test_prefs(pair):
    juliet, romeo, a, b = pair
    assert show(juliet) == ("always", [], [])
    assert prefer(juliet, "never", ["Z@x.example", "a@X.example/Home", "z@x.example"], ["y.example"], to=a) == (
        "never", ["a@x.example/Home", "z@x.example"], ["y.example"])
    assert show(juliet) == ("never", ["a@x.example/Home", "z@x.example"], ["y.example"])
    assert show(romeo) == ("always", [], [])
    assert prefer(juliet, "always") == ("always", [], []) == show(juliet)


@pytest.mark.parametrize("payload, wanted", [
    ("<prefs xmlns='urn:xmpp:mam:2'/>", "bad-request"),
    ("<prefs xmlns='urn:xmpp:mam:2' default='sometimes'/>", "bad-request"),
    ("<prefs xmlns='urn:xmpp:mam:2' default='always'><always><jid>@</jid></always></prefs>", "jid-malformed"),
    ("<prefs xmlns='urn:xmpp:mam:2' default='always'><never><jid/></never></prefs>", "jid-malformed"),
    ("<prefs xmlns='urn:xmpp:mam:2' default='always'><never/><never/></prefs>", "bad-request"),
    ("<prefs xmlns='urn:xmpp:mam:2' default='always'/><x xmlns='y'/>", "bad-request"),
    ("<prefs xmlns='urn:xmpp:mam:2' default='always'>%s</prefs>" % items(
        "never", ["u%d@x.example" % i for i in range(1001)]), "policy-violation"),
])
def test_prefs_errors(pair, payload, wanted):
    juliet = pair[0]
    assert prefer(juliet, "never", ["a@x.example"]) == ("never", ["a@x.example"], [])
    assert condition(juliet.iq("set", payload)) == wanted
    assert show(juliet) == ("never", ["a@x.example"], [])


def test_prefs_of_others(pair):
    juliet, romeo, a, b = pair
    for kind in ("get", "set"):
        for to in (b, "nobody-at-all@localhost"):
            assert condition(juliet.iq(kind, "<prefs xmlns='urn:xmpp:mam:2' default='never'/>", to=to)) == "forbidden"
    assert show(romeo) == ("always", [], [])


def test_prefs_limit(pair):
    """As many as one may have, which also are shown."""
    juliet = pair[0]
    jids = sorted("u%d@x.example" % i for i in range(1000))
    assert prefer(juliet, "always", jids) == ("always", jids, []) == show(juliet)


def both_ways(juliet, romeo, names):
    """Sends a message each way, with these ids. Returns those that came with an id of an archive."""
    for (sender, receiver), name in zip(((juliet, romeo), (romeo, juliet)), names):
        sender.send("<message to='%s' type='chat' id='%s'><body>a</body></message>" % (receiver.jid, name))
        got = receiver.message()
        assert got.get("id") == name
        if stanza_id(got) is not None:
            yield name


@pytest.mark.parametrize("default, always, never, kept", [
    ("never", (), (), False),
    ("never", ("bare",), (), True),
    ("never", ("full",), (), True),
    ("never", ("other",), (), False),
    ("always", (), ("bare",), False),
    ("always", (), ("full",), False),
    ("always", (), ("other",), True),
    ("always", ("full",), ("bare",), True),
    ("never", ("bare",), ("full",), False),
    ("never", ("bare",), ("bare",), False),
    ("never", ("domain",), (), False),
])
def test_prefs_obeyed(pair, default, always, never, kept):
    """In both directions; what the other side has is not concerned."""
    juliet, romeo, a, b = pair
    names = {"bare": b, "full": romeo.jid, "other": b + "/other", "domain": "localhost"}
    prefer(juliet, default, [names[n] for n in always], [names[n] for n in never])
    with_id = list(both_ways(juliet, romeo, ("out", "in")))
    assert with_id == (["out", "in"] if kept else ["out"])
    assert archived(juliet) == (["out", "in"] if kept else [])
    assert archived(romeo) == ["out", "in"]


def test_prefs_absent(make_suite):
    """What waits on the spool is delivered, without an id; preferences survive, as does what was decided."""
    suite = make_suite()
    a, b = suite.accounts(2)
    juliet, romeo = suite.login(a, available=0), suite.login(b, available=0)
    assert prefer(romeo, "never")[0] == "never"
    romeo.send("<presence type='unavailable'/>")
    romeo.sync()
    juliet.send("<message to='%s' type='chat' id='m1'><body>a</body></message>" % b)
    juliet.sync()
    suite.kill("archived")
    assert show(romeo)[0] == "never"
    prefer(romeo, "always")
    romeo.send("<presence/>")
    got = romeo.message()
    assert got.get("id") == "m1" and stanza_id(got) is None and child(got, "delay", "delay") is not None
    assert archived(romeo) == [] and archived(juliet) == ["m1"]


def test_prefs_roster(make_suite):
    """Who is in the roster when the message comes, also that of an account that is not online, also when authd
    has to be waited for."""
    suite = make_suite()
    a, b, c = suite.accounts(3)
    juliet, romeo, nurse = (suite.login(j, "r", available=0) for j in (a, b, c))
    juliet.iq("set", "<query xmlns='jabber:iq:roster'><item jid='%s'/></query>" % b)
    juliet.pending()
    assert prefer(juliet, "roster", never=[], always=[])[0] == "roster"
    list(both_ways(juliet, romeo, ("m1", "m2")))
    list(both_ways(juliet, nurse, ("n1", "n2")))
    wait_until(lambda: archived(juliet) == ["m1", "m2"])
    assert archived(nurse) == ["n1", "n2"]
    juliet.end()
    romeo.send("<message to='%s' type='chat' id='m3'><body>a</body></message>" % a)
    nurse.send("<message to='%s' type='chat' id='n3'><body>a</body></message>" % a)
    romeo.sync()
    nurse.sync()
    suite.kill("authd")
    nurse.send("<message to='%s' type='chat' id='n4'><body>a</body></message>" % a)
    nurse.send("<message to='%s' type='chat' id='n5'><body>a</body></message>" % a)
    nurse.sync()
    suite.kill("archived")
    juliet = suite.login(a, "r", available=0)
    assert sorted(juliet.message().get("id") for _ in range(4)) == ["m3", "n3", "n4", "n5"]
    wait_until(lambda: archived(juliet) == ["m1", "m2", "m3"], 30)
    juliet.say(a, "to myself")
    assert stanza_id(juliet.message()) is not None
    wait_until(lambda: suite.counter("archived", "copies-asked") == 0)
    assert len(archived(juliet)) == 4


def test_prefs_deleted(suite, pair):
    juliet, romeo, a, b = pair
    prefer(juliet, "never", ["a@x.example"])
    suite.ctl("user", "del", a)
    name, domain = a.split("@")
    assert suite.account(name, domain) == a
    assert show(suite.login(a, "r")) == ("always", [], [])


def test_prefs_slixmpp(suite, slix):  # noqa: F811
    a = suite.account()
    client = slix(suite, a, "slix", plugins=("xep_0441",))
    plugin = client.xmpp["xep_0441"]

    async def run():
        await plugin.set_preferences(default="roster", always=["b@x.example"], never=["c@x.example"])
        return await plugin.get_preferences()

    default, always, never = client.loop.run_until_complete(run())
    assert default == "roster"
    assert ({str(j) for j in always}, {str(j) for j in never}) == ({"b@x.example"}, {"c@x.example"})


# -- retention -----------------------------------------------------------------------------------------------


def archives(suite, *jid):
    return {row["archive"]: row for row in suite.ctl("archive", "show", *jid)}


def test_show(suite, pair):
    juliet, romeo, a, b = pair
    for i in range(3):
        juliet.say(b, "x%d" % i)
        romeo.message()
    row = archives(suite, a)[a]
    assert (row["messages"], row["bytes"], row["removed"]) == (3, 3 * len("<body>x0</body>"), "")
    assert "2026" < row["oldest"] < row["newest"]
    everything = archives(suite)
    assert set(everything) == set(suite.domains)
    domain = archives(suite, "localhost")["localhost"]
    assert domain["messages"] >= 6 and domain["accounts"] >= 2 and domain["newest"] == row["newest"]
    assert archives(suite, "nobody-at-all@localhost")["nobody-at-all@localhost"]["messages"] == 0
    with pytest.raises(CommandFailed, match="not an address"):
        suite.ctl("archive", "show", "@")


def test_retention_overwrites(make_suite):
    """What has left archives because of its age is not in the files any more, nor its words in those of the index."""
    suite = make_suite()
    a, b = suite.accounts(2)
    juliet, romeo = suite.login(a, "r", available=0), suite.login(b, "r", available=0)
    word = "zeitgeist%d" % os.getpid()
    directory = suite.directory / "state" / "archived"

    def has(text):
        return [path.name for path in directory.iterdir() if text.encode() in path.read_bytes()]

    for i in range(3):
        juliet.say(b, "%s %s%s" % (word, "x" * 6000, word))
        romeo.message()
    wait_until(lambda: query(juliet, fields={"{urn:xmpp:fulltext:0}fulltext": word}).ids, 20)
    assert "data.mdb" in has(word)
    for client in juliet, romeo:
        client.send("<presence type='unavailable'/>")
        client.sync()
    suite.domains = {**suite.domains, "localhost": {**suite.domains["localhost"], "archive-time": 2}}
    reload(suite)
    wait_until(lambda: archives(suite, a)[a]["messages"] == 0, 30)
    wait_until(lambda: not has(word), 40, 0.2, "the files are overwritten")


@pytest.mark.parametrize("option, value", [("archive-time", 2), ("archive-size", 1)])
def test_retention(make_suite, option, value):
    """A reload sets it; messages leave the archives of one domain, stay in those of the other, and on the spool;
    pages and metadata are right."""
    suite = make_suite()
    other = next(name for name in suite.domains if name != "localhost")
    a, b = suite.account(), suite.account(domain=other)
    juliet, romeo = suite.login(a, "r", available=0), suite.login(b, "r", available=0)
    ids = []
    for i in range(5):
        juliet.send("<message to='%s' type='chat' id='m%d'><body>a</body></message>" % (b, i))
        ids.append(stanza_id(romeo.message()))
    romeo.send("<presence type='unavailable'/>")
    romeo.sync()
    romeo.send("<message to='%s' type='chat' id='m5'><body>a</body></message>" % a)
    juliet.message()
    juliet.send("<presence type='unavailable'/>")
    juliet.sync()
    romeo.send("<message to='%s' type='chat' id='waits'><body>a</body></message>" % a)
    romeo.sync()
    suite.domains = {**suite.domains, "localhost": {**suite.domains["localhost"], option: value}}
    reload(suite)
    wait_until(lambda: archives(suite, a)[a]["messages"] == 0, 30)
    row = archives(suite, a)[a]
    assert (row["bytes"], row["oldest"], row["newest"]) == (0, "", "") and row["removed"] > "2026"
    assert archives(suite, "localhost")["localhost"]["messages"] == 0
    assert archives(suite, b)[b]["messages"] == 7 == len(archived(romeo))
    assert query(juliet).ids == [] and query(juliet).complete
    assert condition(query(juliet, rsm="<after>%s</after>" % ids[1]).answer) == "item-not-found"
    metadata = juliet.iq("get", "<metadata xmlns='urn:xmpp:mam:2'/>")
    assert len(child(metadata, "mam", "metadata")) == 0
    assert suite.counter("archived", "copies-expired") == 7
    suite.kill("archived")
    juliet.send("<presence/>")
    assert juliet.message().get("id") == "waits"
    assert archived(romeo)[-1] == "waits" and archived(juliet) == []
