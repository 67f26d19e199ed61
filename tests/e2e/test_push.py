"""Push notifications (XEP-0357): what push services are told of accounts whose clients are away."""

import time
from xml.sax.saxutils import quoteattr

import pytest

from clients import slix  # noqa: F401
from raw import NS, body, condition, local, text
from suite import SLOW, Suite, wait_until
from test_component import Component
from test_sm import resumed

PUSH = "urn:xmpp:push:0"
SERVICE = "push.localhost"
OTHER = "other-push.localhost"
PUBSUB = "{http://jabber.org/protocol/pubsub}"
SECRET = "s3cret"
INTERVAL = 2
OPTIONS = ("<x xmlns='jabber:x:data' type='submit'><field var='FORM_TYPE'><value>"
           "http://jabber.org/protocol/pubsub#publish-options</value></field>"
           "<field var='secret'><value>eruio&amp;234</value></field></x>")


def suite_of(**push):
    return Suite(components={SERVICE: {"secret": SECRET}, OTHER: {"secret": SECRET}},
                 push={"interval": str(INTERVAL), "services": "3", "errors": "2", **push})


@pytest.fixture(scope="module")
def pushing():
    with suite_of() as suite:
        yield suite


@pytest.fixture
def service(pushing):
    return Component(pushing, SERVICE, SECRET).connect()


class Pair:
    """An account whose client comes and goes, and a friend that writes to it."""

    mark = ""  # in the nodes of this test: what other tests have left may still be told of

    def __init__(self, suite):
        self.suite = suite
        self.account, friend = suite.accounts(2)
        Pair.mark = "." + self.account
        self.friend = suite.login(friend, "f", available=0)

    def log_in(self, resource="phone", available=0):
        return self.suite.login(self.account, resource, available=available)

    def enabled(self, jid=SERVICE, node="n1", inner=""):
        """Enables push and leaves."""
        client = self.log_in()
        answer = enable(client, jid, node, inner)
        assert answer.get("type") == "result", text(answer)
        client.end()
        self.await_away()

    def await_away(self):
        wait_until(lambda: not self.suite.sessions(self.account))

    def write(self, words="hello", to=None):
        self.friend.say(to or self.account, words)
        self.friend.sync()


@pytest.fixture
def pair(pushing):
    return Pair(pushing)


def request(name, jid=SERVICE, node="n1", inner=""):
    node = node and node + Pair.mark
    attributes = "".join(" %s=%s" % (k, quoteattr(v)) for k, v in (("jid", jid), ("node", node)) if v is not None)
    return "<%s xmlns='%s'%s%s" % (name, PUSH, attributes, ">%s</%s>" % (inner, name) if inner else "/>")


def enable(client, jid=SERVICE, node="n1", inner="", to=None):
    return client.iq("set", request("enable", jid, node, inner), to=to)


def disable(client, jid=SERVICE, node=None):
    return client.iq("set", request("disable", jid, node))


def is_push(element):
    publish = element.find(PUBSUB + "pubsub/" + PUBSUB + "publish")
    return publish is not None and (publish.get("node") or Pair.mark).endswith(Pair.mark)


class Notification:
    def __init__(self, iq):
        self.iq = iq
        self.publish = iq.find(PUBSUB + "pubsub/" + PUBSUB + "publish")
        self.node = self.publish.get("node") and self.publish.get("node")[:-len(Pair.mark)]
        form = self.publish.find("%sitem/{%s}notification/{jabber:x:data}x" % (PUBSUB, PUSH))
        self.fields = {f.get("var"): f.findtext("{jabber:x:data}value") for f in form}
        self.options = iq.find(PUBSUB + "pubsub/" + PUBSUB + "publish-options")
        assert self.fields.pop("FORM_TYPE") == "urn:xmpp:push:summary"
        assert (iq.get("type"), iq.get("from")) == ("set", "localhost")

    def __eq__(self, other):
        return (self.node, self.fields) == other


def notification(service, answer="<iq type='result' id=%(id)s from=%(from)s to='localhost'/>", seconds=None):
    iq = service.wait(is_push, seconds)
    if answer:
        service.send(answer % {k: quoteattr(iq.get(v)) for k, v in (("id", "id"), ("from", "to"))})
    return Notification(iq)


def error(condition, kind="cancel"):
    return ("<iq type='error' id=%%(id)s from=%%(from)s to='localhost'><error type='%s'>"
            "<%s xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error></iq>" % (kind, condition))


def silent(service, seconds=INTERVAL + 1.5):
    """Nothing comes for as long as a notification could be held back."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        time.sleep(0.1)
    service.send("<iq type='get' id='quiet' from='%s' to='localhost'><ping xmlns='urn:xmpp:ping'/></iq>" %
                 service.domain)
    service.wait(lambda e: e.get("id") == "quiet")
    found = [e for e in service.elements if is_push(e)]
    assert not found, [text(e) for e in found]


# -- requests


def test_feature_of_the_account(pair):
    client = pair.log_in()
    info = client.iq("get", "<query xmlns='%s'/>" % NS["disco#info"], to=pair.account)
    assert PUSH in [e.get("var") for e in info.iter("{%s}feature" % NS["disco#info"])]


@pytest.mark.parametrize("kind, payload, expected", [
    ("set", request("enable", jid=None), "bad-request"),
    ("set", request("disable", jid=None), "bad-request"),
    ("set", request("enable", jid="a@@b"), "jid-malformed"),
    ("set", request("enable", node="n" * 1024), "bad-request"),
    ("set", request("publish"), "bad-request"),
    ("get", request("enable"), "bad-request"),
    ("set", request("enable", inner="<x xmlns='jabber:x:data' type='submit'/>"), "bad-request"),
    ("set", request("enable", inner=OPTIONS + OPTIONS), "bad-request"),
    ("set", request("enable", inner=OPTIONS.replace("#publish-options", "#other")), "bad-request"),
    ("set", request("enable", inner=OPTIONS.replace("eruio", "e" * 4096)), "policy-violation"),
    ("set", request("enable", jid="localhost"), "not-acceptable"),
    ("set", request("enable", jid="somebody@localhost/x"), "not-acceptable"),
], ids=lambda v: v if len(v) < 20 else "payload")
def test_malformed(pair, kind, payload, expected):
    answer = pair.log_in().iq(kind, payload)
    assert answer.get("type") == "error" and condition(answer) == expected, text(answer)


def test_only_ones_own(pair):
    for to in (pair.friend.jid.partition("/")[0], "nobody@localhost"):
        answer = enable(pair.log_in(), to=to)
        assert condition(answer) in ("forbidden", "service-unavailable"), text(answer)


def test_so_many_and_no_more(pair):
    client = pair.log_in()
    for node in ("a", "b", None):
        assert enable(client, node=node).get("type") == "result"
    assert condition(enable(client, node="d")) == "resource-constraint"
    assert enable(client, node="a", inner=OPTIONS).get("type") == "result"  # it is there already
    assert disable(client, node="a").get("type") == "result"
    assert enable(client, node="d").get("type") == "result"
    assert disable(client).get("type") == "result"
    for node in ("1", "2", "3"):
        assert enable(client, node=node).get("type") == "result"


# -- notifications


def test_when_offline(pair, service):
    pair.enabled(inner=OPTIONS)
    pair.write("secret words")
    found = notification(service)
    assert found == ("n1", {"message-count": "1"})
    assert "secret words" not in text(found.iq) and pair.friend.jid not in text(found.iq)
    values = {f.get("var"): f.findtext("{jabber:x:data}value") for f in found.options[0]}
    assert values["secret"] == "eruio&234"
    client = pair.log_in()
    assert body(client.message()) == "secret words"


def test_the_last_options_count(pair, service):
    pair.enabled(inner=OPTIONS)
    pair.enabled()
    pair.write()
    assert notification(service).options is None


def test_no_node(pair, service):
    pair.enabled(node=None)
    pair.write()
    assert notification(service) == (None, {"message-count": "1"})


def test_all_services_of_the_account(pair, service, pushing):
    other = Component(pushing, OTHER, SECRET).connect()
    pair.enabled(node="n1")
    pair.enabled(node="n2")
    pair.enabled(OTHER, "n3")
    pair.write()
    assert sorted(notification(service).node for _ in range(2)) == ["n1", "n2"]
    assert notification(other).node == "n3"


def test_a_burst_is_told_of_once(pair, service):
    pair.enabled()
    for number in range(30):
        pair.friend.say(pair.account, "m%d" % number)
    pair.friend.sync()
    first = notification(service)
    assert 1 <= int(first.fields["message-count"]) <= 30
    began = time.monotonic()
    assert notification(service) == ("n1", {"message-count": "30"})
    assert time.monotonic() - began > (INTERVAL - 1.5)
    silent(service)


def test_not_while_a_client_reads(pair, service):
    pair.enabled()
    client = pair.log_in()
    pair.write("live")
    assert body(client.message()) == "live"
    silent(service)


def test_not_for_a_client_that_is_about_to_be_available(pair, service):
    pair.enabled()
    client = pair.log_in(available=None)
    pair.write("soon")
    client.available()
    assert body(client.message()) == "soon"
    silent(service)


def test_to_one_that_takes_no_messages(pair, service):
    pair.enabled()
    pair.log_in(available=-1)
    pair.write()
    assert notification(service) == ("n1", {"message-count": "1"})


@pytest.mark.parametrize("payload, kind", [
    ("<received xmlns='urn:xmpp:receipts' id='1'/>", "chat"),
    ("<displayed xmlns='urn:xmpp:chat-markers:0' id='1'/>", "chat"),
    ("<composing xmlns='http://jabber.org/protocol/chatstates'/>", "chat"),
    ("<body/><thread>x</thread>", "chat"),
    ("<encrypted xmlns='eu.siacs.conversations.axolotl'><header sid='1'/></encrypted>", "chat"),
    ("<body>not stored</body><no-store xmlns='urn:xmpp:hints'/>", "chat"),
    ("<body>news</body>", "headline"),
])
def test_not_worth_it(pair, service, payload, kind):
    pair.enabled()
    pair.friend.send("<message to='%s' type='%s'>%s</message>" % (pair.account, kind, payload))
    pair.friend.sync()
    silent(service, 1)
    pair.write("but this is")
    assert notification(service) == ("n1", {"message-count": "1"})


@pytest.mark.parametrize("payload", [
    "<encrypted xmlns='eu.siacs.conversations.axolotl'><header sid='1'/><payload>x</payload></encrypted>",
    "<encrypted xmlns='urn:xmpp:omemo:2'><header sid='1'/><payload>x</payload></encrypted>",
    "<openpgp xmlns='urn:xmpp:openpgp:0'>x</openpgp>",
    "<propose xmlns='urn:xmpp:jingle-message:0' id='1'/>",
    "<x xmlns='jabber:x:conference' jid='room@conference.example'/>",
])
def test_worth_it_without_a_body(pair, service, payload):
    pair.enabled()
    pair.friend.send("<message to='%s' type='chat'>%s</message>" % (pair.account, payload))
    assert notification(service) == ("n1", {"message-count": "1"})


def test_disabled(pair, service):
    pair.enabled()
    client = pair.log_in()
    assert disable(client, node="other").get("type") == "result"
    assert disable(client).get("type") == "result"
    client.end()
    pair.await_away()
    pair.write()
    silent(service)


def test_it_goes_with_the_account(pair, service, pushing):
    pair.enabled()
    password = pushing.password(pair.account)
    pushing.ctl("user", "del", pair.account)
    pushing.ctl("user", "add", pair.account, input=password + "\n", json_output=False)
    pair.write()
    silent(service)


# -- stream management


def detached(pair, available=0):
    client = pair.log_in(available=available)
    client.enable()
    client.sync()
    client.abort()
    return client


def test_a_detached_session(pair, service):
    pair.enabled()
    client = pair.log_in()
    client.sm_id = client.enable().get("id")
    client.sync()
    client.abort()
    wait_until(lambda: "session detached" in pair.suite.log_text())
    pair.write("to nobody")
    assert notification(service) == ("n1", {"message-count": "1"})


def test_what_a_lost_client_has_not_acknowledged(pair, service):
    pair.enabled()
    client = pair.log_in()
    client.enable()
    pair.write("one")
    pair.write("two")
    client.message()
    client.abort()
    assert notification(service) == ("n1", {"message-count": "2"})


def test_back_again(pair, service):
    pair.enabled()
    old = pair.log_in()
    old.sm_id = old.enable().get("id")
    old.abort()
    new = resumed(pair.suite, old)
    new.sync()
    pair.write("again")
    assert body(new.message()) == "again"
    silent(service)


def test_another_client_reads(pair, service):
    pair.enabled()
    detached(pair)
    laptop = pair.log_in("laptop")
    pair.write("here")
    assert body(laptop.message()) == "here"
    silent(service)
    laptop.end()
    wait_until(lambda: len(pair.suite.sessions(pair.account)) == 1)
    pair.write("there", pair.account + "/phone")
    assert notification(service).fields["message-count"] in ("1", "2")


# -- services that refuse


def test_errors_in_a_row(pair, service):
    pair.enabled()
    pair.write()
    notification(service, error("item-not-found"))
    pair.write()
    notification(service)                    # a result: the count begins anew
    pair.write()
    notification(service, error("item-not-found"))
    pair.write()
    notification(service, error("forbidden", "auth"))
    wait_until(lambda: "push service removed" in pair.suite.log_text())
    pair.write()
    silent(service)


def test_wait_is_not_refused(pair, service):
    pair.enabled()
    for number in range(4):
        pair.write()
        notification(service, error("resource-constraint", "wait"))
    pair.write()
    assert notification(service) == ("n1", {"message-count": "5"})


def test_others_cannot_refuse(pair, service, pushing):
    """An answer counts when it is the service's own."""
    pair.enabled()
    other = Component(pushing, OTHER, SECRET).connect()
    for _ in range(3):
        pair.write()
        found = notification(service, None)
        identity = quoteattr(found.iq.get("id"))
        forged = error("item-not-found")
        other.send(forged % {"id": identity, "from": quoteattr(OTHER)})
        pair.friend.send("<iq type='error' id=%s to='localhost'><error type='cancel'><item-not-found "
                         "xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error></iq>" % identity)
        pair.friend.sync()
        service.send(forged % {"id": "'push-0000000000000000-1'", "from": quoteattr(SERVICE)})
        service.send(forged % {"id": "'push-'", "from": quoteattr(SERVICE)})
    pair.write()
    assert notification(service).node == "n1"


def test_a_service_that_is_away(pair, pushing):
    """Nothing waits for it: it is told of all at its next notification."""
    pair.enabled()
    pair.write("unheard")
    time.sleep(INTERVAL + 1)
    service = Component(pushing, SERVICE, SECRET).connect()
    pair.write("heard")
    assert notification(service) == ("n1", {"message-count": "2"})


# -- what they are told, restarts, clients that were not written here


@pytest.mark.parametrize("content", ["sender", "body"])
def test_content(content):
    with suite_of(content=content) as suite:
        service = Component(suite, SERVICE, SECRET).connect()
        pair = Pair(suite)
        pair.enabled()
        pair.write("a < b & \N{SNOWMAN}")
        fields = {"message-count": "1", "last-message-sender": pair.friend.jid}
        if content == "body":
            fields["last-message-body"] = "a < b & \N{SNOWMAN}"
        assert notification(service) == ("n1", fields)
        pair.write("\N{SNOWMAN}" * 1000)
        found = notification(service).fields
        assert found["message-count"] == "2"
        if content == "body":
            assert found["last-message-body"] == "\N{SNOWMAN}" * 170


def test_after_restarts(pair, service, pushing):
    pair.enabled()
    for name in ("authd", "router", "archived"):
        pushing.kill(name)
        pair.write("after " + name)
        assert notification(service).node == "n1", name
    # A detached session is away to a new router as well.
    client = pair.log_in()
    client.enable()
    client.sync()
    client.abort()
    time.sleep(0.5)
    pushing.kill("router")
    pair.write("detached")
    assert notification(service).node == "n1"


def test_slixmpp(pair, service, slix):  # noqa: F811
    """A client of a library, which has no words of its own for this."""
    client = slix(pair.suite, pair.account, "phone", available=0)
    assert enable(client, node="slix", inner=OPTIONS).get("type") == "result"
    client.end()
    pair.await_away()
    pair.write()
    assert notification(service) == ("slix", {"message-count": "1"})
