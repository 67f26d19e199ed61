"""Small services: XEP-0012, 0030, 0049, 0054, 0077 (password), 0092, 0199, 0202, and requests that nobody serves."""

import datetime

import pytest

import raw
from clients import befriend, slix  # noqa: F401
from raw import NS, condition, error_type, local, q, text

INFO, ITEMS = NS["disco#info"], NS["disco#items"]


def query(ns, content="", node=None, name="query"):
    return "<%s xmlns='%s'%s>%s</%s>" % (name, ns, " node='%s'" % node if node else "", content, name)


def refused(answer, what, kind=None):
    assert answer.get("type") == "error", text(answer)
    assert condition(answer) == what and kind in (None, error_type(answer)), text(answer)


def result(answer):
    assert answer.get("type") == "result", text(answer)
    return answer


def features(answer):
    return {f.get("var") for f in result(answer).iter(q("disco#info", "feature"))}


def identities(answer):
    return [(i.get("category"), i.get("type")) for i in result(answer).iter(q("disco#info", "identity"))]


@pytest.fixture
def juliet(suite):
    return suite.login(suite.account(), "balcony", available=0)


@pytest.fixture
def friends(suite):
    a, b = suite.accounts(2)
    clients = suite.login(a, "a", available=0), suite.login(b, "b", available=0)
    befriend(*clients)
    return clients


def bare(client):
    return client.jid.partition("/")[0]


# -- service discovery ------------------------------------------------------------------------------------


def test_disco_server(suite, slix):  # noqa: F811
    client = slix(suite, suite.account(), plugins=["xep_0030"])
    info = client.run(client.xmpp["xep_0030"].get_info(jid="localhost"))["disco_info"]
    assert ("server", "im") in {i[:2] for i in info["identities"]}
    wanted = {INFO, ITEMS, NS["ping"], NS["time"], NS["version"], NS["last"], NS["vcard"], NS["private"],
              NS["register"], NS["roster"], "msgoffline"}
    assert wanted <= set(info["features"])
    items = client.run(client.xmpp["xep_0030"].get_items(jid="localhost"))["disco_items"]
    assert list(items["items"]) == []


def test_disco_features_are_unique(juliet):
    for to in ("localhost", bare(juliet)):
        answer = result(juliet.iq("get", query(INFO), to=to))
        assert answer.get("from") == to
        all_ = [f.get("var") for f in answer.iter(q("disco#info", "feature"))]
        assert len(all_) == len(set(all_)) and INFO in all_


def test_disco_own_account(juliet):
    for to in (bare(juliet), None):
        answer = juliet.iq("get", query(INFO), to=to)
        assert identities(answer) == [("account", "registered")]
        assert {INFO, NS["vcard"]} <= features(answer)
        answer = result(juliet.iq("get", query(ITEMS), to=to))
        assert answer.find(q("disco#items", "query")) is not None


def test_disco_of_a_friend(friends):
    a, b = friends
    assert identities(a.iq("get", query(INFO), to=bare(b))) == [("account", "registered")]


def test_disco_of_a_stranger(suite, juliet):
    """XEP-0030 section 8: no account and no permission look the same, for info and items."""
    other = suite.account()
    for ns in (INFO, ITEMS):
        answers = [juliet.iq("get", query(ns), to=to) for to in (other, "nobody-at-all@localhost")]
        for answer in answers:
            refused(answer, "service-unavailable", "cancel")
        assert len({tuple(sorted((k, v) for k, v in a.find(q("client", "error")).attrib.items()))
                    for a in answers}) == 1


def test_disco_node(juliet):
    for to in ("localhost", bare(juliet)):
        for ns in (INFO, ITEMS):
            refused(juliet.iq("get", query(ns, node="there-is-no-such-node"), to=to), "item-not-found")


def test_disco_set(juliet):
    answer = juliet.iq("set", query(INFO), to="localhost")
    assert answer.get("type") == "error" and condition(answer) in (
        "not-allowed", "service-unavailable", "bad-request", "feature-not-implemented")


# -- ping, time, version ---------------------------------------------------------------------------------------


def test_ping(suite, slix):  # noqa: F811
    client = slix(suite, suite.account(), plugins=["xep_0199"])
    assert client.run(client.xmpp["xep_0199"].ping("localhost")) < 5
    assert client.run(client.xmpp["xep_0199"].ping(client.bare)) < 5


def test_ping_without_to(juliet):
    answer = result(juliet.iq("get", query(NS["ping"], name="ping")))
    assert answer.get("from") in (None, bare(juliet))


def test_ping_another_client(suite, slix):  # noqa: F811
    """A request to a full JID is that client's to answer."""
    a, b = suite.accounts(2)
    one, two = slix(suite, a, plugins=["xep_0199"]), slix(suite, b, "two", plugins=["xep_0199"])
    assert one.run(one.xmpp["xep_0199"].ping(two.jid)) < 5


def test_time(suite, slix):  # noqa: F811
    client = slix(suite, suite.account(), plugins=["xep_0202"])
    answer = client.run(client.xmpp["xep_0202"].get_entity_time("localhost")).xml
    assert answer.findtext(".//{urn:xmpp:time}tzo") in ("Z", "+00:00")
    utc = answer.findtext(".//{urn:xmpp:time}utc")
    assert utc.endswith("Z")
    now = datetime.datetime.now(datetime.timezone.utc)
    assert abs((datetime.datetime.fromisoformat(utc) - now).total_seconds()) < 60


def test_version(suite, slix):  # noqa: F811
    client = slix(suite, suite.account(), plugins=["xep_0092"])
    answer = client.run(client.xmpp["xep_0092"].get_version("localhost"))["software_version"]
    assert answer["name"] == "Aldis" and answer["version"]


# -- last activity ------------------------------------------------------------------------------------------------


def seconds(answer):
    return int(result(answer).find(q("last", "query")).get("seconds"))


def last(client, to):
    return client.iq("get", query(NS["last"]), to=to)


def test_last_server(suite, slix):  # noqa: F811
    client = slix(suite, suite.account(), plugins=["xep_0012"])
    answer = client.run(client.xmpp["xep_0012"].get_last_activity("localhost", local=False))
    assert 0 <= answer["last_activity"]["seconds"] < 3600


def test_last_online_and_offline(friends):
    a, b = friends
    assert seconds(last(a, bare(b))) == 0
    b.end()
    a.wait(lambda e: local(e) == "presence" and e.get("type") == "unavailable")
    assert 0 <= seconds(last(a, bare(b))) <= 5


def test_last_of_strangers(suite, juliet):
    """XEP-0012 section 4: forbidden, whether there is such an account or not, and online or not."""
    online, offline = suite.accounts(2)
    suite.login(online, available=0)
    for to in (online, offline, "nobody-at-all@localhost"):
        refused(last(juliet, to), "forbidden", "auth")


def test_last_of_own_account(juliet):
    assert seconds(last(juliet, bare(juliet))) == 0


# -- vCard --------------------------------------------------------------------------------------------------------


def vcard(content):
    return "<vCard xmlns='vcard-temp'>%s</vCard>" % content


def test_vcard_with_slixmpp(suite, slix):  # noqa: F811
    a, b = suite.accounts(2)
    one, two = slix(suite, a, plugins=["xep_0054"]), slix(suite, b, plugins=["xep_0054"])
    card = one.xmpp["xep_0054"].make_vcard()
    card["FN"] = "Juliet <Capulet> & co"
    card["PHOTO"]["TYPE"] = "image/png"
    card["PHOTO"]["BINVAL"] = b"\0\1\2\xff" * 1000
    one.run(one.xmpp["xep_0054"].publish_vcard(card))
    for client in (one, two):
        got = client.run(client.xmpp["xep_0054"].get_vcard(a, local=False, cached=False))["vcard_temp"]
        assert got["FN"] == "Juliet <Capulet> & co"
        assert got["PHOTO"]["BINVAL"] == b"\0\1\2\xff" * 1000


def test_vcard_replace(juliet):
    refused(juliet.iq("get", vcard("")), "item-not-found", "cancel")
    for name in ("one", "two"):
        result(juliet.iq("set", vcard("<FN>%s</FN>" % name)))
    for to in (None, bare(juliet)):
        card = result(juliet.iq("get", vcard(""), to=to)).find(q("vcard", "vCard"))
        assert [(local(e), e.text) for e in card] == [("FN", "two")]


def test_vcard_of_others(suite, juliet):
    other = suite.account()
    answers = [juliet.iq("get", vcard(""), to=to) for to in (other, "nobody-at-all@localhost")]
    assert {condition(a) for a in answers} == {"service-unavailable"}
    refused(juliet.iq("set", vcard("<FN>x</FN>"), to=other), "forbidden", "auth")
    owner = suite.login(other)
    refused(owner.iq("get", vcard("")), "item-not-found")


def test_vcard_limit(make_suite):
    suite = make_suite(auth={"vcard-size": "4K"})
    client = suite.login(suite.account())
    result(client.iq("set", vcard("<FN>small</FN>")))
    refused(client.iq("set", vcard("<FN>%s</FN>" % ("x" * 5000))), "policy-violation")
    assert result(client.iq("get", vcard(""))).findtext(".//{vcard-temp}FN") == "small"


# -- private XML -----------------------------------------------------------------------------------------------------


def private(content):
    return query(NS["private"], content)


def test_private(suite, juliet):
    empty = result(juliet.iq("get", private("<x xmlns='urn:a'/>"))).find(q("private", "query"))
    assert [e.tag for e in empty] == ["{urn:a}x"] and len(empty[0]) == 0
    result(juliet.iq("set", private("<x xmlns='urn:a' k='1'><y>z</y></x>")))
    result(juliet.iq("set", private("<x xmlns='urn:b'>other</x>")))
    got = result(juliet.iq("get", private("<x xmlns='urn:a'/>"))).find("%s/{urn:a}x" % q("private", "query"))
    assert got.get("k") == "1" and got.findtext("{urn:a}y") == "z"
    stranger = suite.login(suite.account())
    got = result(stranger.iq("get", private("<x xmlns='urn:a'/>"))).find("%s/{urn:a}x" % q("private", "query"))
    assert len(got) == 0 and not got.attrib
    answer = stranger.iq("get", private("<x xmlns='urn:a'/>"), to=bare(juliet))
    assert answer.get("type") == "error" and condition(answer) in ("forbidden", "service-unavailable")
    answer = stranger.iq("set", private("<x xmlns='urn:a'/>"), to=bare(juliet))
    assert answer.get("type") == "error"
    got = result(juliet.iq("get", private("<x xmlns='urn:a'/>"))).find("%s/{urn:a}x" % q("private", "query"))
    assert got.get("k") == "1"


def test_private_with_slixmpp(suite, slix):  # noqa: F811
    """Bookmarks (XEP-0048) as clients have kept them."""
    account = suite.account()
    one = slix(suite, account, "one", plugins=["xep_0048", "xep_0049"])
    bookmarks = one.xmpp["xep_0048"].stanza.Bookmarks()
    bookmarks.add_conference("room@muc.localhost", nick="Jule", autojoin=True)
    one.run(one.xmpp["xep_0049"].store(bookmarks))
    two = slix(suite, account, "two", plugins=["xep_0048", "xep_0049"])
    got = two.run(two.xmpp["xep_0049"].retrieve("bookmarks"))["private"]["bookmarks"]["conferences"]
    assert [(str(c["jid"]), c["nick"]) for c in got] == [("room@muc.localhost", "Jule")]


def test_private_errors(juliet):
    refused(juliet.iq("get", private("")), "bad-request", "modify")
    refused(juliet.iq("set", private("")), "not-acceptable", "modify")
    refused(juliet.iq("set", private("<x xmlns='jabber:iq:private'/>")), "not-acceptable", "modify")


def test_private_limits(make_suite):
    suite = make_suite(auth={"private-size": "2K", "private-items": 3})
    client = suite.login(suite.account())
    refused(client.iq("set", private("<x xmlns='urn:big'>%s</x>" % ("y" * 3000))), "policy-violation")
    for i in range(3):
        result(client.iq("set", private("<x xmlns='urn:n%d'/>" % i)))
    refused(client.iq("set", private("<x xmlns='urn:n3'/>")), "resource-constraint", "wait")
    result(client.iq("set", private("<x xmlns='urn:n1'>changed</x>")))


# -- password --------------------------------------------------------------------------------------------------------


def register(user, password):
    return query(NS["register"], "<username>%s</username><password>%s</password>" % (user, password))


@pytest.mark.parametrize("to", ["localhost", None])
def test_password_change(suite, to):
    """XEP-0077 section 3.3: the new password counts, the old one does not, sessions go on."""
    account = suite.account()
    user = account.partition("@")[0]
    client = suite.login(account)
    result(client.iq("set", register(user, "n&#xEB;w &amp; better"), to=to))
    client.sync()
    with pytest.raises(raw.AuthFailed) as failed:
        suite.login(account)
    assert failed.value.condition == "not-authorized"
    for mechanism in ("SCRAM-SHA-1", "SCRAM-SHA-256", "SCRAM-SHA-512", "PLAIN"):
        suite.login(account, password="nëw & better", mechanism=mechanism)


def test_password_change_with_slixmpp(suite, slix):  # noqa: F811
    account = suite.account()
    client = slix(suite, account, plugins=["xep_0077"])
    client.run(client.xmpp["xep_0077"].change_password("changed", jid="localhost"))
    assert slix(suite, account, password="changed").jid.startswith(account)


def test_password_change_refused(suite, juliet):
    user = bare(juliet).partition("@")[0]
    other = suite.account()
    refused(juliet.iq("set", register(other.partition("@")[0], "x"), to="localhost"), "not-allowed")
    refused(juliet.iq("set", query(NS["register"], "<username>%s</username>" % user), to="localhost"), "bad-request")
    answer = juliet.iq("set", register(user, ""), to="localhost")
    assert answer.get("type") == "error" and condition(answer) in ("bad-request", "not-acceptable")
    answer = juliet.iq("set", register(other.partition("@")[0], "x"), to=other)
    assert answer.get("type") == "error"
    suite.login(other)
    suite.login(bare(juliet))


def test_registered(juliet):
    answer = result(juliet.iq("get", query(NS["register"]), to="localhost")).find(q("register", "query"))
    assert answer.find(q("register", "registered")) is not None
    assert answer.findtext(q("register", "username")) == bare(juliet).partition("@")[0]


def test_cancelled_account(suite):
    """XEP-0077 section 3.2: the account goes, with its sessions."""
    account = suite.account()
    client, second = suite.login(account, "one"), suite.login(account, "two")
    client.send("<iq type='set' id='c' to='localhost'>%s</iq>" % query(NS["register"], "<remove/>"))
    answer = client.next()
    assert (answer.get("id"), answer.get("type")) == ("c", "result"), text(answer)
    assert client.stream_error() == "not-authorized"
    assert second.stream_error() == "not-authorized"
    with pytest.raises(raw.AuthFailed):
        suite.login(account)
    suite.account(account.partition("@")[0], password=suite.password(account))  # the name is free again


# -- requests that nobody serves -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["get", "set"])
def test_unknown_namespace(juliet, kind):
    """RFC 6120 section 8.4: service-unavailable, from who was asked."""
    for to in ("localhost", bare(juliet), None):
        answer = juliet.iq(kind, "<x xmlns='urn:unknown'/>", to=to)
        refused(answer, "service-unavailable", "cancel")
        assert answer.get("from") in ((to,) if to else (None, bare(juliet)))


def test_request_to_others(suite, friends):
    """RFC 6121 section 8.5: bare JIDs are answered by the server, full ones by the client."""
    a, b = friends
    refused(a.iq("get", "<x xmlns='urn:unknown'/>", to=bare(b)), "service-unavailable")
    refused(a.iq("get", "<x xmlns='urn:unknown'/>", to=bare(b) + "/none"), "service-unavailable")
    refused(a.iq("get", "<x xmlns='urn:unknown'/>", to=suite.account()), "service-unavailable")
    refused(a.iq("get", "<x xmlns='urn:unknown'/>", to="nobody-at-all@localhost/x"), "service-unavailable")
    refused(a.iq("get", "<x xmlns='urn:unknown'/>", to="nobody@nowhere.invalid"), "remote-server-not-found")
    assert b.pending() == []
    a.send("<iq type='get' id='q1' to='%s'><x xmlns='urn:unknown'>t</x></iq>" % b.jid)
    request = b.wait(lambda e: e.get("id") == "q1")
    assert request.get("from") == a.jid and request.get("to") == b.jid
    assert request.findtext("{urn:unknown}x") == "t"
    b.send("<iq type='result' id='q1' to='%s'><y xmlns='urn:unknown'/></iq>" % a.jid)
    answer = a.wait(lambda e: e.get("id") == "q1")
    assert answer.get("from") == b.jid and answer.find("{urn:unknown}y") is not None


def test_request_to_client_that_goes(friends):
    """A request is never left without an answer: the client leaves without having answered. While its session is on
    its way out, c2sd says so; then the router."""
    a, b = friends
    a.send("<iq type='get' id='q1' to='%s'><x xmlns='urn:unknown'/></iq>" % b.jid)
    b.wait(lambda e: e.get("id") == "q1")
    a.send("<iq type='get' id='q2' to='%s'><x xmlns='urn:unknown'/></iq>" % b.jid)
    b.abort()
    a.wait(lambda e: local(e) == "presence" and e.get("type") == "unavailable")
    a.send("<iq type='get' id='q3' to='%s'><x xmlns='urn:unknown'/></iq>" % b.jid)
    answer = a.wait(lambda e: e.get("id") == "q3")
    assert condition(answer) in ("service-unavailable", "recipient-unavailable"), text(answer)


def test_malformed_requests(juliet):
    """RFC 6120 section 8.2.3: an id, a type, and one child."""
    for at, (what, wanted) in enumerate((
            ("<iq type='get' id='%s' to='localhost'/>", {"bad-request"}),
            ("<iq type='set' id='%s'/>", {"bad-request"}),
            ("<iq type='get' id='%s'><ping xmlns='urn:xmpp:ping'/><ping xmlns='urn:xmpp:ping'/></iq>",
             {"bad-request"}),
            ("<iq type='ask' id='%s'><ping xmlns='urn:xmpp:ping'/></iq>", {"bad-request"}),
            ("<iq id='%s'><ping xmlns='urn:xmpp:ping'/></iq>", {"bad-request"}))):
        id = "bad%d" % at
        juliet.send(what % id)
        answer = juliet.wait(lambda e: e.get("id") == id)
        assert answer.get("type") == "error" and condition(answer) in wanted, (what, text(answer))


def test_requests_while_authd_is_away(make_suite):
    """A request is answered late, or with an error of type wait, never not at all."""
    suite = make_suite()
    client = suite.login(suite.account())
    suite.kill("authd", wait=False)
    for i in range(5):
        answer = client.iq("get", vcard(""))
        assert condition(answer) in ("item-not-found", "resource-constraint", "service-unavailable")
    old = suite.pid("authd")
    result(client.iq("set", vcard("<FN>x</FN>")))
    assert old == suite.pid("authd")
