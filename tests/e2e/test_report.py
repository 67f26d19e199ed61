"""Reports of blocked contacts (XEP-0377): what is kept, who is told, and what administrators see."""

from xml.sax.saxutils import escape, quoteattr

import pytest

from clients import befriend, slix, stanza_id  # noqa: F401
from raw import NS, body, condition, q, text
from suite import CommandFailed, Suite
from test_blocking import blocklist

SPAM, ABUSE = "urn:xmpp:reporting:spam", "urn:xmpp:reporting:abuse"


@pytest.fixture(scope="module")
def suite(programs):
    with Suite(domains={"localhost": {"report-to": ["chief@localhost", "deputy@localhost", "far@elsewhere.example"]}},
               auth={"reports": 4}) as made:
        made.account("chief")
        made.account("deputy")
        yield made


def item(jid, reason=None, content=""):
    report = "<report xmlns='%s' reason=%s>%s</report>" % (NS["reporting"], quoteattr(reason), content) \
        if reason is not None else ""
    return "<item jid=%s>%s</item>" % (quoteattr(jid), report)


def block(client, *items):
    answer = client.iq("set", "<block xmlns='%s'>%s</block>" % (NS["blocking"], "".join(items)))
    assert answer.get("type") == "result", text(answer)


def of(suite, client):
    bare = client.jid.partition("/")[0]
    return [r for r in suite.ctl("report", "list") if r["reporter"] == bare]


def test_announced(suite):
    client = suite.login(suite.account())
    answer = client.iq("get", "<query xmlns='%s'/>" % NS["disco#info"], to="localhost")
    assert NS["reporting"] in [f.get("var") for f in answer.iter(q("disco#info", "feature"))]


def test_report(suite):
    """With the ids that the archive gave to the messages in question."""
    chief = suite.login("chief@localhost", available=0)
    romeo, juliet = (suite.login(suite.account(), available=0) for _ in range(2))
    his, hers = (c.jid.partition("/")[0] for c in (romeo, juliet))
    romeo.say(hers, "buy this")
    archived = stanza_id(juliet.message())
    before = suite.counter("authd", "reports-filed")
    words = "He wants me to <buy> & more \U0001f600"
    block(juliet, item("a.example"), item(his, SPAM, (
        "<stanza-id xmlns='%s' by='%s' id='%s'/><text xml:lang='en'>%s</text><report-origin/>"
        % (NS["sid"], hers, archived, escape(words)))), item("b.example", ABUSE))
    assert blocklist(juliet) == sorted(["a.example", "b.example", his])
    told = [chief.message(), chief.message()]
    assert all(m.get("from") == "localhost" for m in told)
    rows = of(suite, juliet)
    assert [(r["reported"], r["reason"]) for r in rows] == [(his, SPAM), ("b.example", ABUSE)]
    for row, message in zip(rows, told):
        assert all(w in body(message) for w in (hers, row["reported"], row["reason"], str(row["number"])))
        assert "buy" not in body(message)
    shown = suite.ctl("report", "show", str(rows[0]["number"]))
    assert shown == {**rows[0], "text": words, "lang": "en", "stanza-ids": ["%s %s" % (hers, archived)],
                     "report-origin": True, "third-party": False}
    shown = suite.ctl("report", "show", str(rows[1]["number"]))
    assert shown["text"] is None and shown["stanza-ids"] == [] and shown["report-origin"] is False
    assert suite.counter("authd", "reports-filed") == before + 2
    assert words.encode() not in (suite.directory / "log").read_bytes() and "wants me" not in suite.log_text()


def test_what_is_none(suite):
    """Without a reason, elsewhere than in an item to be blocked, or in an older namespace."""
    juliet = suite.login(suite.account())
    block(juliet, "<item jid='a.example'><report xmlns='%s'/></item>" % NS["reporting"],
          "<item jid='b.example'><report xmlns='urn:xmpp:reporting:0'><spam/></report></item>", item("c.example", ""))
    juliet.iq("set", "<unblock xmlns='%s'>%s</unblock>" % (NS["blocking"], item("a.example", SPAM)))
    answer = juliet.iq("set", "<block xmlns='%s'>%s</block>" % (NS["blocking"], item("@", SPAM)))
    assert condition(answer) == "jid-malformed"
    answer = juliet.iq("set", "<report xmlns='%s' reason='%s'/>" % (NS["reporting"], SPAM), to="localhost")
    assert condition(answer) == "service-unavailable"
    assert of(suite, juliet) == []
    assert blocklist(juliet) == ["b.example", "c.example"]


def test_bound(suite):
    juliet = suite.login(suite.account())
    dropped = suite.counter("authd", "reports-dropped")
    block(juliet, *(item("x%d.example" % n, SPAM) for n in range(6)))
    assert len(of(suite, juliet)) == 4 and len(blocklist(juliet)) == 6
    assert suite.counter("authd", "reports-dropped") == dropped + 2
    suite.ctl("report", "delete", str(of(suite, juliet)[0]["number"]))
    block(juliet, item("y.example", SPAM))
    assert [r["reported"] for r in of(suite, juliet)] == ["x%d.example" % n for n in (1, 2, 3)] + ["y.example"]


def test_durable_and_deleted(suite):
    juliet = suite.login(suite.account())
    block(juliet, item("z.example", SPAM))
    suite.kill("authd")
    row, = of(suite, juliet)
    assert [r for r in suite.ctl("report", "list", "localhost") if r == row] == [row]
    suite.ctl("report", "delete", str(row["number"]))
    assert of(suite, juliet) == []
    for words in (("show", str(row["number"])), ("delete", str(row["number"])), ("show", "0"), ("show", "x"),
                  ("delete", "-1"), ("list", "nowhere.example")):
        with pytest.raises(CommandFailed):
            suite.ctl("report", *words)


def test_slixmpp_blocks_with_a_report(suite, slix):  # noqa: F811
    """Its blocking (XEP-0191), with the report in the item."""
    client = slix(suite, suite.account(), "r", plugins=("xep_0191",))
    iq = client.xmpp.make_iq_set()
    iq["block"]["items"] = {"spammer@example.org"}
    report = iq["block"].xml[0].makeelement("{%s}report" % NS["reporting"], {"reason": SPAM})
    iq["block"].xml[0].append(report)
    client.run(iq.send())
    assert [r["reported"] for r in of(suite, client)] == ["spammer@example.org"]
    assert blocklist(client) == ["spammer@example.org"]
