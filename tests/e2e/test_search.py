"""Searches for words in archives (XEP-0431), and the index behind them, with raw clients and slixmpp."""

import os
import signal
import time

import pytest
from slixmpp.xmlstream.handler import Callback
from slixmpp.xmlstream.matcher import StanzaPath

from clients import slix  # noqa: F401
from raw import condition, error_type, q
from suite import wait_until
from test_mam import conversation, pair, query  # noqa: F401

FULLTEXT = "{urn:xmpp:fulltext:0}fulltext"
SOON = 1.0  # seconds from a message to its being found


def search(client, words, fields=None, **options):
    return query(client, {FULLTEXT: words, **(fields or {})}, **options)


def wait_found(client, words, count=1, seconds=30):
    """Waits until a search finds so many messages."""
    return wait_until(lambda: len(search(client, words).ids) == count, seconds, message="%s is found" % words)


def index_file(suite, name="text.db"):
    return next(suite.directory.glob("**/" + name))


def whole(suite):
    wait_until(lambda: suite.counter("archived", "text-building") == 0, message="the index is whole")


def test_announced(pair):  # noqa: F811
    info = pair[0].iq("get", "<query xmlns='http://jabber.org/protocol/disco#info'/>", to=pair[2])
    features = [e.get("var") for e in info.iter(q("disco#info", "feature"))]
    assert features.count("urn:xmpp:fulltext:0") == 1
    form = pair[0].iq("get", "<query xmlns='urn:xmpp:mam:2'/>")
    assert FULLTEXT in [e.get("var") for e in form.iter("{jabber:x:data}field")]


def test_found(suite, pair):  # noqa: F811
    """Both sides find a message a second after it was stored, nobody else does."""
    juliet, romeo, a, b = pair
    nurse = suite.login(suite.account(), available=0)
    juliet.say(b, "The lark, the herald of the morn; no Nachtigäll &amp; &lt;co&gt;")
    romeo.message()
    romeo.say(a, "more light and light")
    juliet.message()
    time.sleep(SOON)
    for client in (juliet, romeo):
        for words in ("lark", "LARK morn", "nachtigall", "\"the herald\"", "her* morn"):
            page = search(client, words)
            assert len(page.ids) == 1 and page.complete, words
            assert page.bodies[0].startswith("The lark")
        for words in ("herald the lark nothing", "\"herald the\"", "larks", "lark OR light", "*", "text:lark"):
            page = search(client, words)
            assert page.ids == [] and page.complete, words
    assert search(nurse, "lark").ids == []


def test_fields_and_sets(suite, pair):  # noqa: F811
    juliet, romeo, a, b = pair
    c = suite.account()
    nurse = suite.login(c, available=0)
    ids = conversation(juliet, romeo, b, 9)
    for i in range(3):
        nurse.say(b, "m%d more" % i)
        romeo.message()
    time.sleep(SOON)
    assert search(romeo, "m1").ids[0] == ids[0] and len(search(romeo, "m1").ids) == 2
    assert search(romeo, "m1", {"with": a}).ids == ids[:1]
    more = search(romeo, "more").ids
    first = search(romeo, "more", rsm="<max>2</max>")
    assert first.ids == more[:2] and not first.complete
    rest = search(romeo, "more", rsm="<max>2</max><after>%s</after>" % first.last)
    assert rest.ids == more[2:] and rest.complete
    last = search(romeo, "more", rsm="<max>1</max><before/>")
    assert last.ids == more[2:] and not last.complete
    assert search(romeo, "more", {"before-id": more[1], "with": c}).ids == more[:1]
    assert search(romeo, "more", {"ids": [ids[0], more[1]]}).ids == more[1:2]
    assert search(romeo, "more", {"end": "2020-01-01T00:00:00Z"}).ids == []
    assert search(romeo, "m1", queryid="q").ids[0] == ids[0]


def test_refused(pair):  # noqa: F811
    juliet = pair[0]
    for words in ("x" * 600, " ".join("abcdefghijklmnopqrstuvwxyz")):
        answer = search(juliet, words).answer
        assert condition(answer) == "policy-violation"
    answer = query(juliet, {FULLTEXT: ["a", "b"]}).answer
    assert condition(answer) == "bad-request"


def test_slixmpp(suite, slix):  # noqa: F811
    """slixmpp knows no such field; it sends the form that it is given, and gathers what comes."""
    a, b = suite.accounts(2)
    juliet, romeo = suite.login(a, available=0), suite.login(b, available=0)
    conversation(juliet, romeo, b, 3)
    time.sleep(SOON)
    client = slix(suite, b, "slix", plugins=("xep_0313", "xep_0004"))
    found = []
    client.xmpp.register_handler(Callback(
        "found", StanzaPath("message/mam_result"),
        lambda m: found.append(m["mam_result"]["forwarded"]["stanza"]["body"])))

    async def run():
        iq = client.xmpp.Iq(stype="set")
        form = client.xmpp["xep_0004"].make_form(ftype="submit")
        form.add_field(var="FORM_TYPE", ftype="hidden", value="urn:xmpp:mam:2")
        form.add_field(var=FULLTEXT, value="m2")
        iq["mam"].append(form)
        return await iq.send()

    fin = client.loop.run_until_complete(run())
    assert found == ["m2"]
    assert fin.xml.find(q("mam", "fin")).get("complete") == "true"


def test_deleted(make_suite):
    """What was only a deleted account's is in the index no more, nor in its files."""
    suite = make_suite()
    a, b = suite.accounts(2)
    juliet, romeo = suite.login(a, available=0), suite.login(b, available=0)
    juliet.say(a, "pomegranate")
    juliet.message()
    juliet.say(b, "both")
    romeo.message()
    wait_found(juliet, "pomegranate")
    files = [index_file(suite), index_file(suite, "text.db-wal")]
    assert any(b"pomegranate" in f.read_bytes() for f in files)
    suite.ctl("user", "del", a)
    wait_until(lambda: suite.counter("archived", "text-removed") == 1, message="it is removed")
    wait_until(lambda: not any(b"pomegranate" in f.read_bytes() for f in files), message="the words are gone")
    assert len(search(romeo, "both").ids) == 1


def test_killed(make_suite):
    """kill -9 of archived while messages come: each is found, once."""
    suite = make_suite()
    a, b = suite.accounts(2)
    juliet, romeo = suite.login(a, available=0), suite.login(b, available=0)
    count = 0
    for _ in range(5):
        for _ in range(40):
            count += 1
            juliet.say(b, "word%d all" % count)
        suite.kill("archived")
    for _ in range(count):
        romeo.message()
    wait_until(lambda: len(search(romeo, "all", rsm="<max>1</max><before/>").ids) == 1 and
               search(romeo, "word%d" % count).ids, 30, message="the last is found")
    seen, after = [], ""
    while True:
        page = search(romeo, "all", rsm=after)
        seen += page.bodies
        if page.complete:
            break
        after = "<after>%s</after>" % page.last
    assert sorted(seen) == sorted("word%d all" % (i + 1) for i in range(count))
    assert len(search(juliet, "word1").ids) == 1


@pytest.mark.parametrize("what", ["damaged", "missing", "empty"])
def test_files(make_suite, what):
    """An index that is damaged or missing is made anew, with a line in the log."""
    suite = make_suite()
    a, b = suite.accounts(2)
    juliet, romeo = suite.login(a, available=0), suite.login(b, available=0)
    conversation(juliet, romeo, b, 30)
    wait_found(romeo, "m30")
    os.kill(suite.pid("archived"), signal.SIGSTOP)
    for name in ("text.db", "text.db-wal"):
        path = index_file(suite, name)
        if what == "missing":
            path.unlink()
        elif what == "empty":
            path.write_bytes(b"")
        else:
            path.write_bytes(b"nonsense" * 4096)
    suite.kill("archived")
    whole(suite)
    wait_found(romeo, "m7")
    assert len(search(romeo, "m30").ids) == 1
    if what != "empty":
        assert "text index dropped" in suite.log_text() or "text index begun" in suite.log_text()
    wait_until(lambda: "text index made" in suite.log_text(), message="the log says so")


def test_reindex(make_suite):
    """aldisctl has it made anew, while all else goes on."""
    suite = make_suite()
    a, b = suite.accounts(2)
    juliet, romeo = suite.login(a, available=0), suite.login(b, available=0)
    conversation(juliet, romeo, b, 50)
    wait_found(romeo, "m50")
    assert "anew" in suite.ctl("archive", "reindex")
    assert len(query(romeo).ids) == 50
    answer = search(romeo, "m1").answer
    assert answer.get("type") == "result" or (condition(answer), error_type(answer)) == ("resource-constraint", "wait")
    conversation(juliet, romeo, b, 1)
    whole(suite)
    wait_found(romeo, "m1", 2)
    assert len(search(romeo, "m49").ids) == 1
    assert suite.counter("archived", "text-resets") == 1


@pytest.mark.parametrize("victim", ["archived", "router"])
def test_killed_while_asked(make_suite, victim):
    """Each search is answered, whoever is killed meanwhile."""
    suite = make_suite()
    a, b = suite.accounts(2)
    juliet, romeo = suite.login(a, available=0), suite.login(b, available=0)
    conversation(juliet, romeo, b, 5)
    wait_found(romeo, "m5")
    os.kill(suite.pid("archived"), signal.SIGSTOP)
    romeo.send("".join(
        "<iq type='set' id='k%d'><query xmlns='urn:xmpp:mam:2'><x xmlns='jabber:x:data' type='submit'>"
        "<field var='FORM_TYPE' type='hidden'><value>urn:xmpp:mam:2</value></field>"
        "<field var='%s'><value>m%d</value></field></x></query></iq>" % (i, FULLTEXT, i) for i in range(1, 4)))
    if victim == "router":
        os.kill(suite.pid("archived"), signal.SIGCONT)
    suite.kill(victim)
    answered = set()
    while len(answered) < 3:
        element = romeo.next(30)
        if element.get("id", "").startswith("k"):
            assert element.get("type") == "result"
            answered.add(element.get("id"))
