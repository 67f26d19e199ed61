"""Rosters: RFC 6121 section 2."""

import pytest

from clients import slix  # noqa: F401
from raw import NS, condition, error_type, q, text
from suite import wait_until

ROSTER = q("roster", "query")
ITEM = q("roster", "item")


def query(content="", ver=None):
    return "<query xmlns='%s'%s>%s</query>" % (NS["roster"], "" if ver is None else " ver='%s'" % ver, content)


def get(client, ver=None):
    """The roster: JID -> item; None when it is unchanged since this version. Also client.ver."""
    answer = client.iq("get", query(ver=ver))
    assert answer.get("type") == "result", text(answer)
    found = answer.find(ROSTER)
    if found is None:
        return None
    client.ver = found.get("ver")
    return {item.get("jid"): item for item in found}


def put(client, content):
    return client.iq("set", query(content))


def add(client, jid, name=None, groups=(), **attributes):
    given = {"jid": jid, **({"name": name} if name is not None else {}), **attributes}
    answer = put(client, "<item%s>%s</item>" % (
        "".join(" %s='%s'" % g for g in given.items()), "".join("<group>%s</group>" % g for g in groups)))
    assert answer.get("type") == "result" and len(answer) == 0, text(answer)


def push(client):
    """The next roster push: its item; the client's answer is sent."""
    element = client.wait(lambda e: e.get("type") == "set" and e.find(ROSTER) is not None)
    assert element.get("from") in (None, client.jid.partition("/")[0])
    assert element.get("to") in (None, client.jid)
    items = element.findall(ROSTER + "/" + ITEM)
    assert len(items) == 1 and element.get("id")
    if not hasattr(client, "xmpp"):
        client.send("<iq type='result' id='%s'/>" % element.get("id"))
    client.ver = element.find(ROSTER).get("ver")
    return items[0]


def pushes(client):
    return [e for e in client.pending("iq") if e.get("type") == "set"]


def groups(item):
    return sorted(g.text for g in item.findall(q("roster", "group")))


def refused(answer, what, kind):
    assert answer.get("type") == "error", text(answer)
    assert (condition(answer), error_type(answer)) == (what, kind)


@pytest.fixture
def juliet(suite):
    client = suite.login(suite.account(), "balcony")
    assert get(client) == {}
    return client


def test_with_slixmpp(suite, slix):  # noqa: F811
    """A client adds, changes, removes and sees what another of its resources does."""
    a, b = suite.accounts(2)
    one, two = slix(suite, a, "one"), slix(suite, a, "two")
    for client in (one, two):
        client.run(client.xmpp.get_roster())
    one.run(one.xmpp.update_roster(b, name="Roméo & <co>", groups=["Friends", "Verona"]))
    push(two)
    wait_until(lambda: two.sync() or b in two.xmpp.client_roster, 3)
    assert two.xmpp.client_roster[b]["name"] == "Roméo & <co>"
    assert sorted(two.xmpp.client_roster[b]["groups"]) == ["Friends", "Verona"]
    assert two.xmpp.client_roster[b]["subscription"] == "none"
    two.run(two.xmpp.update_roster(b, name="R", groups=[]))
    push(one), push(one)
    one.sync()
    assert one.xmpp.client_roster[b]["name"] == "R" and one.xmpp.client_roster[b]["groups"] == []
    one.run(one.xmpp.del_roster_item(b))
    assert push(two).get("subscription") in ("none", "remove")
    two.sync()
    three = slix(suite, a, "three")
    three.run(three.xmpp.get_roster())
    assert b not in three.xmpp.client_roster


def test_set_and_get(juliet):
    add(juliet, "romeo@example.org", "Romeo", ["Friends", "Verona", "x y"])
    item = push(juliet)
    assert item.get("jid") == "romeo@example.org" and item.get("name") == "Romeo"
    assert item.get("subscription") == "none" and item.get("ask") is None
    assert groups(item) == ["Friends", "Verona", "x y"]
    roster = get(juliet)
    assert list(roster) == ["romeo@example.org"]
    assert groups(roster["romeo@example.org"]) == ["Friends", "Verona", "x y"]
    add(juliet, "romeo@example.org")
    item = push(juliet)
    assert item.get("name") in (None, "") and groups(item) == []


def test_remove(juliet):
    add(juliet, "romeo@example.org")
    push(juliet)
    add(juliet, "romeo@example.org", subscription="remove")
    item = push(juliet)
    assert (item.get("jid"), item.get("subscription")) == ("romeo@example.org", "remove")
    assert get(juliet) == {}


def test_remove_unknown(juliet):
    """Section 2.5.3: item-not-found."""
    refused(put(juliet, "<item jid='nobody@example.org' subscription='remove'/>"), "item-not-found", "cancel")
    assert pushes(juliet) == []


def test_addresses_are_prepared(juliet):
    add(juliet, "RoMeo@EXAMPLE.org")
    assert push(juliet).get("jid") == "romeo@example.org"
    add(juliet, "romeo@example.org", "again")
    push(juliet)
    assert [i.get("name") for i in get(juliet).values()] == ["again"]
    add(juliet, "conference.example.org", "a domain")
    assert push(juliet).get("jid") == "conference.example.org"


def test_subscription_and_ask_are_ignored(juliet):
    """Section 2.1.2.2 and 2.1.2.5: the client cannot set them."""
    add(juliet, "romeo@example.org", subscription="both", ask="subscribe", approved="true")
    item = push(juliet)
    assert item.get("subscription") == "none"
    assert item.get("ask") is None and item.get("approved") in (None, "false")


def test_pushes_to_interested_resources_only(suite, juliet):
    """Section 2.2 and 2.1.6: who has asked for the roster gets pushes, available or not."""
    account = juliet.jid.partition("/")[0]
    asked, not_asked = suite.login(account, "asked"), suite.login(account, "not", available=0)
    stranger = suite.login(suite.account(), available=0)
    get(stranger)
    get(asked)
    add(juliet, "romeo@example.org")
    push(juliet), push(asked)
    assert pushes(not_asked) == [] and pushes(stranger) == []


def test_no_push_without_get(suite):
    client = suite.login(suite.account())
    add(client, "romeo@example.org")
    assert pushes(client) == []


# -- errors ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("content,what,kind", [
    # section 2.3.3
    ("<item jid='a@x.org'/><item jid='b@x.org'/>", "bad-request", "modify"),
    ("", "bad-request", "modify"),
    ("<item/>", "bad-request", "modify"),
    ("<item name='x'/>", "bad-request", "modify"),
    ("<other jid='a@x.org'/>", "bad-request", "modify"),
    ("<item jid='a@x.org'><group>g</group><group>g</group></item>", "bad-request", "modify"),
    ("<item jid='a@x.org'><group></group></item>", "not-acceptable", "modify"),
    ("<item jid='a@x.org' name='%s'/>" % ("n" * 10000), "not-acceptable", "modify"),
    ("<item jid='a@x.org'><group>%s</group></item>" % ("g" * 10000), "not-acceptable", "modify"),
    ("<item jid='a b@x.org'/>", "jid-malformed", "modify"),
    ("<item jid='@x.org'/>", "jid-malformed", "modify"),
])
def test_bad_sets(juliet, content, what, kind):
    refused(put(juliet, content), what, kind)
    assert get(juliet) == {}
    assert pushes(juliet) == []


def test_own_address(juliet):
    """One cannot be one's own contact."""
    refused(put(juliet, "<item jid='%s'/>" % juliet.jid.partition("/")[0]), "not-allowed", "cancel")


def test_of_others(suite, juliet):
    """Section 2.3.3: forbidden, and nothing happens."""
    other = suite.account()
    owner = suite.login(other)
    get(owner)
    refused(juliet.iq("set", query("<item jid='a@x.org'/>"), to=other), "forbidden", "auth")
    answer = juliet.iq("get", query(), to=other)
    assert answer.get("type") == "error" and condition(answer) in ("forbidden", "service-unavailable")
    assert get(owner) == {}
    assert pushes(owner) == []


def test_get_with_item(juliet):
    """Section 2.1.3: a get has no item; it is refused or ignored, and changes nothing."""
    juliet.iq("get", query("<item jid='a@x.org'/>"))
    assert get(juliet) == {}


def test_to_own_bare_jid(juliet):
    answer = juliet.iq("set", query("<item jid='a@x.org'/>"), to=juliet.jid.partition("/")[0])
    assert answer.get("type") == "result"
    push(juliet)
    assert "a@x.org" in get(juliet)


def test_to_server(juliet):
    """A roster is an account's matter, not the server's."""
    answer = juliet.iq("get", query(), to="localhost")
    assert answer.get("type") == "error"
    assert condition(answer) in ("service-unavailable", "feature-not-implemented")


# -- versions ---------------------------------------------------------------------------------------------


def test_versions(suite):
    """Section 2.6: the feature, an empty result when nothing has changed, and the whole otherwise."""
    account = suite.account()
    client = suite.login(account)
    assert client.features.find(q("rosterver", "ver")) is not None
    assert get(client, "") == {}
    add(client, "a@x.org", "A")
    push(client)
    seen = client.ver
    assert seen
    assert get(client, seen) is None
    add(client, "b@x.org")
    push(client)
    assert client.ver != seen
    assert set(get(client, seen)) == {"a@x.org", "b@x.org"}
    assert set(get(client, "never heard of it")) == {"a@x.org", "b@x.org"}
    last = client.ver
    client.end()
    again = suite.login(account)
    assert get(again, last) is None
    add(again, "a@x.org", "AA")  # it is interested though it got nothing
    assert push(again).get("name") == "AA"


def test_version_survives(make_suite):
    """The roster and its version are the same after authd was killed."""
    suite = make_suite()
    client = suite.login(suite.account())
    get(client)
    add(client, "a@x.org", "A", ["g"])
    push(client)
    suite.kill("authd")
    assert get(client, client.ver) is None
    assert groups(get(client)["a@x.org"]) == ["g"]


# -- limits -----------------------------------------------------------------------------------------------


def test_limit_of_items(make_suite):
    suite = make_suite(auth={"roster-items": 5})
    client = suite.login(suite.account())
    get(client)
    for i in range(5):
        add(client, "c%d@x.org" % i)
    refused(put(client, "<item jid='c5@x.org'/>"), "resource-constraint", "wait")
    add(client, "c0@x.org", "changes are still possible")
    add(client, "c1@x.org", subscription="remove")
    add(client, "c5@x.org")
    assert len(get(client)) == 5


def test_many_groups(juliet):
    """Many groups are kept or refused, never half of them."""
    names = ["g%02d" % i for i in range(40)]
    content = "<item jid='a@x.org'>%s</item>" % "".join("<group>%s</group>" % g for g in names)
    answer = put(juliet, content)
    if answer.get("type") == "error":
        refused(answer, "not-acceptable", "modify")
        assert get(juliet) == {}
    else:
        assert groups(get(juliet)["a@x.org"]) == names


def test_large_roster(suite):
    """Hundreds of contacts come back whole."""
    client = suite.login(suite.account())
    text_ = "".join("<iq type='set' id='x%d'>%s</iq>" % (i, query("<item jid='c%d@x.org' name='n%d'/>" % (i, i)))
                    for i in range(400))
    client.send(text_)
    for i in range(400):
        answer = client.wait(lambda e: e.get("id") == "x%d" % i)
        assert answer.get("type") == "result"
    roster = get(client)
    assert len(roster) == 400 and roster["c77@x.org"].get("name") == "n77"
