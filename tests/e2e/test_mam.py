"""Archives: XEP-0313 with the sets of XEP-0059 and the ids of XEP-0359, with raw clients, slixmpp and aioxmpp."""

import datetime
import os
import re
import signal
import time

import aioxmpp
import aioxmpp.rsm.xso
import pytest
import slixmpp

from clients import child, slix, stanza_id  # noqa: F401
from raw import NS, body, condition, error_type, q, text
from suite import Suite, run_async, wait_until
from test_clients import aio_client, online
from test_sm import authenticated, enable

FORM_TYPE = "<field var='FORM_TYPE' type='hidden'><value>urn:xmpp:mam:2</value></field>"


class Page:
    """The answer to a query: ids, bodies, the forwarded messages, and what <fin/> says."""

    def __init__(self, results, answer):
        self.answer = answer
        self.results = [child(r, "mam", "result") for r in results]
        self.ids = [r.get("id") for r in self.results]
        self.messages = [r.find("%s/%s" % (q("forward", "forwarded"), q("client", "message"))) for r in self.results]
        self.bodies = [body(m) for m in self.messages]
        fin = child(answer, "mam", "fin")
        self.complete = fin is not None and fin.get("complete") == "true"
        rsm = fin.find(q("rsm", "set")) if fin is not None else None
        self.first = rsm.findtext(q("rsm", "first")) if rsm is not None else None
        self.last = rsm.findtext(q("rsm", "last")) if rsm is not None else None


def query(client, fields=None, rsm=None, to=None, extra="", queryid=None):
    """Asks for a page. fields: name -> value or list of values; rsm: what is in <set/>."""
    form = ""
    if fields:
        form = "<x xmlns='jabber:x:data' type='submit'>%s%s</x>" % (FORM_TYPE, "".join(
            "<field var='%s'>%s</field>" % (name, "".join(
                "<value>%s</value>" % v for v in ([value] if isinstance(value, str) else value)))
            for name, value in fields.items()))
    if rsm is not None:
        form += "<set xmlns='%s'>%s</set>" % (NS["rsm"], rsm)
    answer = client.iq("set", "<query xmlns='urn:xmpp:mam:2'%s>%s%s</query>" % (
        " queryid='%s'" % queryid if queryid else "", form, extra), to=to)
    results = [e for e in client.elements if child(e, "mam", "result") is not None]
    for element in results:
        client.elements.remove(element)
        assert element.get("from") == client.jid.partition("/")[0]
        assert child(element, "mam", "result").get("queryid") == queryid
    return Page(results, answer)


@pytest.fixture
def pair(suite):
    """Two sessions that are online, and the bare JIDs of their accounts."""
    juliet, romeo = suite.accounts(2)
    return suite.login(juliet, "balcony", available=0), suite.login(romeo, "garden", available=0), juliet, romeo


def conversation(sender, receiver, to, count):
    """Sends messages and gets them. Returns the ids that the receiver saw."""
    seen = []
    for i in range(count):
        sender.say(to, "m%d" % (i + 1))
    for _ in range(count):
        seen.append(stanza_id(receiver.message()))
    assert None not in seen
    return seen


def test_features(pair):
    juliet = pair[0]
    for to in (None, pair[2]):
        info = juliet.iq("get", "<query xmlns='%s'/>" % NS["disco#info"], to=to)
        features = [e.get("var") for e in info.iter(q("disco#info", "feature"))]
        for wanted in ("urn:xmpp:mam:2", "urn:xmpp:mam:2#extended", "urn:xmpp:sid:0"):
            assert features.count(wanted) == 1


def test_same_ids_everywhere(suite, pair):
    """Live, out of the spool, and in both archives, a message has one id."""
    juliet, romeo, a, b = pair
    live = conversation(juliet, romeo, b, 2)
    romeo.send("<presence type='unavailable'/>")
    romeo.sync()
    juliet.say(b, "m3")
    juliet.sync()
    romeo.send("<presence/>")
    late = romeo.message()
    assert body(late) == "m3" and child(late, "delay", "delay") is not None
    page = query(romeo)
    assert page.ids == live + [stanza_id(late)] and page.bodies == ["m1", "m2", "m3"]
    assert page.complete and (page.first, page.last) == (page.ids[0], page.ids[-1])
    assert query(juliet, to=a).ids == page.ids


def test_message_is_whole(pair):
    """What was sent comes back: attributes, children of all namespaces, the sender's origin-id; not what only
    we may say."""
    juliet, romeo, a, b = pair
    juliet.send("<message to='%s' type='chat' id='x1' xml:lang='it'><body>a &amp; &lt;b&gt;</body>"
                "<origin-id xmlns='urn:xmpp:sid:0' id='o1'/><stanza-id xmlns='urn:xmpp:sid:0' by='%s' id='lie'/>"
                "<x xmlns='urn:x'><body xmlns='jabber:client'>c</body><y xmlns='urn:y' xmlns:p='urn:p' p:z='1'/></x>"
                "</message>" % (b, b))
    got = romeo.message()
    for client in (juliet, romeo):
        page = query(client, queryid="q1")
        message, = page.messages
        assert (message.get("from"), message.get("to")) == (juliet.jid, b)
        assert (message.get("id"), message.get("type")) == ("x1", "chat")
        assert message.get("{http://www.w3.org/XML/1998/namespace}lang") == "it"
        assert [e.tag for e in message] == [q("client", "body"), "{urn:xmpp:sid:0}origin-id", "{urn:x}x"]
        assert message.find("{urn:xmpp:sid:0}origin-id").get("id") == "o1"
        assert text(message.find("{urn:x}x")) == text(got.find("{urn:x}x"))
        assert page.ids == [stanza_id(got)]
        delay = page.results[0].find("%s/%s" % (q("forward", "forwarded"), q("delay", "delay")))
        assert delay.get("stamp").startswith(datetime.datetime.utcnow().strftime("%Y-"))


def test_pages(pair):
    juliet, romeo, a, b = pair
    ids = conversation(juliet, romeo, b, 7)
    seen, after = [], ""
    while True:
        page = query(romeo, rsm="<max>3</max>" + after)
        seen += page.ids
        if page.complete:
            break
        after = "<after>%s</after>" % page.last
    assert seen == ids
    seen, before = [], "<before/>"
    while True:
        page = query(romeo, rsm="<max>3</max>" + before, extra="<flip-page/>")
        seen += page.ids
        if page.complete:
            break
        before = "<before>%s</before>" % page.first
    assert seen == ids[::-1]
    assert query(romeo, {"after-id": ids[1], "before-id": ids[4]}).ids == ids[2:4]
    assert query(romeo, {"ids": [ids[5], ids[0]]}).ids == [ids[0], ids[5]]


def test_filters(suite, pair):
    juliet, romeo, a, b = pair
    nurse = suite.login(suite.account(), available=0)
    conversation(juliet, romeo, b, 1)
    conversation(nurse, juliet, a, 1)
    juliet.say(a, "note to self")
    juliet.message()
    conversation(romeo, juliet, juliet.jid, 1)
    assert query(juliet, {"with": b}).bodies == ["m1", "m1"]
    assert query(juliet, {"with": b.upper()}).bodies == ["m1", "m1"]
    assert query(juliet, {"with": romeo.jid}).bodies == ["m1"]
    assert query(juliet, {"with": a}).bodies == ["note to self"]
    assert query(juliet, {"with": "nobody@example.org"}).bodies == []
    page = query(juliet)
    stamp = page.results[2].find(".//" + q("delay", "delay")).get("stamp")
    later, earlier = query(juliet, {"start": stamp}), query(juliet, {"end": stamp})
    assert page.ids[2] in later.ids and page.ids[2] in earlier.ids
    assert sorted(set(later.ids + earlier.ids)) == page.ids


def test_errors(pair):
    juliet, romeo, a, b = pair
    ids = conversation(juliet, romeo, b, 1)
    for fields, rsm, wanted in (
            ({"before-id": "nonsense"}, None, "item-not-found"), ({"ids": ["0" * 16]}, None, "item-not-found"),
            (None, "<after>0000000000000000</after>", "item-not-found"),
            ({"ids": [ids[0], "f" * 16]}, None, "item-not-found"),
            ({"start": "yesterday"}, None, "bad-request"), ({"with": "@"}, None, "jid-malformed"),
            ({"{urn:x}y": "z"}, None, "feature-not-implemented"), (None, "<max>x</max>", "bad-request")):
        answer = query(juliet, fields, rsm).answer
        assert (answer.get("type"), condition(answer)) == ("error", wanted)
    for payload in ("<prefers xmlns='urn:xmpp:mam:2'/>", "<nonsense xmlns='urn:xmpp:mam:2'/>"):
        assert condition(juliet.iq("get", payload)) == "feature-not-implemented"
    fields = juliet.iq("get", "<query xmlns='urn:xmpp:mam:2'/>")
    assert [e.get("var") for e in fields.iter(q("data", "field"))] == [
        "FORM_TYPE", "with", "start", "end", "before-id", "after-id", "ids", "include-groupchat",
        "{urn:xmpp:fulltext:0}fulltext"]


def test_strangers(suite, pair):
    """Who is no session of the account learns nothing, not even whether there is one."""
    juliet, romeo, a, b = pair
    conversation(juliet, romeo, b, 1)
    for payload, kind in (("<query xmlns='urn:xmpp:mam:2'/>", "set"), ("<metadata xmlns='urn:xmpp:mam:2'/>", "get"),
                          ("<query xmlns='urn:xmpp:mam:2'/>", "get")):
        answers = [romeo.iq(kind, payload, to=to) for to in (a, "nobody@localhost")]
        assert [(condition(e), error_type(e)) for e in answers] == [("forbidden", "auth")] * 2
    answer = romeo.iq("set", "<query xmlns='urn:xmpp:mam:2'/>", to="localhost")
    assert condition(answer) == "service-unavailable"
    assert romeo.pending("message") == []


def test_metadata(pair):
    juliet, romeo, a, b = pair
    empty = juliet.iq("get", "<metadata xmlns='urn:xmpp:mam:2'/>")
    assert len(child(empty, "mam", "metadata")) == 0
    ids = conversation(juliet, romeo, b, 3)
    found = child(juliet.iq("get", "<metadata xmlns='urn:xmpp:mam:2'/>", to=a), "mam", "metadata")
    assert [(e.tag, e.get("id")) for e in found] == [(q("mam", "start"), ids[0]), (q("mam", "end"), ids[2])]


def test_taken_back(suite, pair):
    """The archive of an account that is not there does not come up when the account is made."""
    juliet = pair[0]
    juliet.say("later%d@localhost" % os.getpid(), "are you there?")
    assert condition(juliet.message()) == "service-unavailable"
    late = suite.account("later%d" % os.getpid())
    assert query(suite.login(late)).ids == []


def read_pages(client, asked):
    """Reads the answers to so many queries, which come in their order. Returns the conditions of those that
    were refused."""
    refused, results = [], 0
    for i in range(asked):
        while True:
            element = client.next(30)
            if element.tag == q("client", "iq"):
                break
            results += child(element, "mam", "result") is not None
        if element.get("type") == "error":
            refused.append((condition(element), error_type(element)))
    assert results == 50 * (asked - len(refused))
    return refused


def test_many_one_by_one(suite, pair):
    """A client that asks for many pages and does not read meanwhile gets them all, as it goes on reading."""
    juliet, romeo, a, b = pair
    conversation(juliet, romeo, b, 60)
    for i in range(60):
        romeo.send("<iq type='set' id='p%d'><query xmlns='urn:xmpp:mam:2'/></iq>" % i, read=False)
    assert read_pages(romeo, 60) == []
    romeo.sync()


def test_many_at_once(suite, pair):
    """As many in one record are too many, but each is answered, and the session stays."""
    juliet, romeo, a, b = pair
    conversation(juliet, romeo, b, 60)
    romeo.send("".join("<iq type='set' id='p%d'><query xmlns='urn:xmpp:mam:2'/></iq>" % i for i in range(200)))
    refused = read_pages(romeo, 200)
    assert set(refused) == {("resource-constraint", "wait")} and len(refused) <= 192
    romeo.sync()


@pytest.mark.parametrize("victim", ["archived", "router"])
def test_killed_while_asked(make_suite, victim):
    """Each request is answered, whoever is killed meanwhile."""
    suite = make_suite()
    a, b = suite.accounts(2)
    juliet, romeo = suite.login(a, available=0), suite.login(b, available=0)
    ids = conversation(juliet, romeo, b, 20)
    os.kill(suite.pid("archived"), signal.SIGSTOP)
    romeo.send("".join("<iq type='set' id='k%d'><query xmlns='urn:xmpp:mam:2'/></iq>" % i for i in range(3)))
    if victim == "router":
        os.kill(suite.pid("archived"), signal.SIGCONT)
    suite.kill(victim)
    answered = {}
    while len(answered) < 3:
        element = romeo.next(30)
        if element.get("type") == "result" and element.get("id", "").startswith("k"):
            answered[element.get("id")] = child(element, "mam", "fin").findtext(
                "%s/%s" % (q("rsm", "set"), q("rsm", "last")))
    assert set(answered.values()) == {ids[-1]}
    romeo.pending()
    assert query(romeo).ids == ids


@pytest.mark.parametrize("then", ["goes on", "archived", "router"])
@pytest.mark.parametrize("same", [True, False], ids=["same", "other"])
def test_moved_while_asked(make_suite, same, then):
    """A request is answered where the session is now, by whichever c2sd that is."""
    suite = make_suite()
    a, b = suite.accounts(2)
    juliet, romeo = suite.login(a, available=0), suite.login(b, "b", available=0)
    ids = conversation(juliet, romeo, b, 3)
    enable(romeo)
    there = suite.sessions(b)[romeo.jid]["c2sd"]
    for _ in range(50):
        new = authenticated(suite, b)
        at = int(re.findall(r"c2sd\.(\d)\[\d+\]: info: login jid=%s " % re.escape(b), suite.log_text())[-1])
        if (at == there) == same:
            break
        new.close()
    assert (at == there) == same
    pid = suite.pid("archived")
    os.kill(pid, signal.SIGSTOP)
    romeo.send("<iq type='set' id='moving'><query xmlns='urn:xmpp:mam:2'/></iq>")
    time.sleep(0.2)
    romeo.abort()
    new.send("<resume xmlns='urn:xmpp:sm:3' previd='%s' h='0'/>" % romeo.sm_id)
    time.sleep(0.3)
    if then == "router":
        suite.kill("router", wait=False)
    if then == "archived":
        suite.kill("archived")
    else:
        os.kill(pid, signal.SIGCONT)
    answer = new.wait(lambda e: e.tag in (q("sm", "resumed"), q("sm", "failed")), 30)
    assert answer.tag == q("sm", "resumed"), text(answer)
    answer = new.wait(lambda e: e.get("id") == "moving", 30)
    assert answer.get("type") == "result" and child(answer, "mam", "fin").get("complete") == "true"
    found = [child(e, "mam", "result").get("id") for e in new.elements if child(e, "mam", "result") is not None]
    assert found == ids


def test_page_messages(make_suite):
    suite = make_suite(archive={"page-messages": 4})
    a, b = suite.accounts(2)
    juliet, romeo = suite.login(a, available=0), suite.login(b, available=0)
    ids = conversation(juliet, romeo, b, 6)
    page = query(romeo, rsm="<max>100</max>")
    assert page.ids == ids[:4] and not page.complete
    wait_until(lambda: suite.counter("archived", "queries") == 1)


def test_slixmpp(suite, slix):  # noqa: F811
    """slixmpp pages through an archive by itself, in both directions."""
    a, b = suite.accounts(2)
    juliet, romeo = suite.login(a, available=0), suite.login(b, available=0)
    conversation(juliet, romeo, b, 25)
    client = slix(suite, b, "slix", plugins=("xep_0313",))

    async def walk(reverse):
        found = []
        async for message in client.xmpp["xep_0313"].iterate(with_jid=slixmpp.JID(a), reverse=reverse):
            found.append(message["mam_result"]["forwarded"]["stanza"]["body"])
        return found

    wanted = ["m%d" % (i + 1) for i in range(25)]
    assert client.loop.run_until_complete(walk(False)) == wanted
    assert sorted(client.loop.run_until_complete(walk(True))) == sorted(wanted)
    found = client.loop.run_until_complete(client.xmpp["xep_0313"].get_archive_metadata())
    assert found["mam_metadata"]["start"]["id"] < found["mam_metadata"]["end"]["id"]


def test_aioxmpp(suite):
    """aioxmpp has no archive client, but sets (XEP-0059): a query is made of them."""
    class Query(aioxmpp.xso.XSO):
        TAG = ("urn:xmpp:mam:2", "query")
        rsm = aioxmpp.xso.Child([aioxmpp.rsm.xso.ResultSetMetadata])

    class Fin(aioxmpp.xso.XSO):
        TAG = ("urn:xmpp:mam:2", "fin")
        complete = aioxmpp.xso.Attr("complete", type_=aioxmpp.xso.Bool(), default=False)
        rsm = aioxmpp.xso.Child([aioxmpp.rsm.xso.ResultSetMetadata])

    aioxmpp.IQ.as_payload_class(Query)
    aioxmpp.IQ.as_payload_class(Fin)
    a, b = suite.accounts(2)
    ids = conversation(suite.login(a, available=0), suite.login(b, available=0), b, 5)

    async def run():
        client = aio_client(suite, b, "aio")
        async with online(client):
            rsm = aioxmpp.rsm.xso.ResultSetMetadata.limit(2)
            pages = []
            while True:
                asked = Query()
                asked.rsm = rsm
                fin = await client.send(aioxmpp.IQ(aioxmpp.IQType.SET, payload=asked))
                pages.append((fin.rsm.first.value, fin.rsm.last.value))
                if fin.complete:
                    return pages
                rsm = fin.rsm.next_page(max_=2)

    assert run_async(run()) == [(ids[0], ids[1]), (ids[2], ids[3]), (ids[4], ids[4])]
