"""External service discovery (XEP-0215): what is configured, with credentials for TURN."""

import base64
import datetime
import hashlib
import hmac
import time

import pytest

from memory import Needles, readable
from raw import NS, condition, q, text
from suite import CommandFailed, Suite, wait_until

EXTDISCO = "urn:xmpp:extdisco:2"
SECRET = "the north wind and the sun disputed which"


@pytest.fixture(scope="module")
def suite(programs, tmp_path_factory):
    secret = tmp_path_factory.mktemp("secret") / "turn"
    secret.write_text(SECRET + "\n")
    with Suite(domains={
        "localhost": {"services": ["stun:stun.localhost:3478?transport=udp", "turn:turn.localhost:3478?transport=udp",
                                   "turn:turn.localhost:80?transport=tcp", "turns:[2001:db8::1]:5349?transport=tcp"],
                      "service-secret": str(secret)},
        "open.test": {"services": ["turn:turn.open.test", "ftp:ftp.open.test:21"]},
        "bare.test": {}}, auth={"service-time": "2h"}) as made:
        yield made


@pytest.fixture
def client(suite):
    return suite.login(suite.account())


def ask(client, attributes="", to="localhost", kind="get"):
    return client.iq(kind, "<services xmlns='%s'%s/>" % (EXTDISCO, attributes), to=to)


def credentials(client, content, to="localhost"):
    return client.iq("get", "<credentials xmlns='%s'>%s</credentials>" % (EXTDISCO, content), to=to)


def services(answer, name="services"):
    assert answer.get("type") == "result", text(answer)
    return [dict(e.attrib) for e in answer.find(q(EXTDISCO, name))]


def check(service, account):
    """Checks what a TURN server would check, and that it is good for the time that is configured."""
    until, _, user = service["username"].partition(":")
    assert user == account
    assert abs(int(until) - time.time() - 7200) < 60
    expires = datetime.datetime.strptime(service["expires"].partition(".")[0].rstrip("Z"), "%Y-%m-%dT%H:%M:%S")
    assert expires.replace(tzinfo=datetime.timezone.utc).timestamp() == int(until)
    mac = hmac.new(SECRET.encode(), service["username"].encode(), hashlib.sha1).digest()
    assert service["password"] == base64.b64encode(mac).decode()
    assert service["restricted"] == "true"


def test_all(client):
    found = services(ask(client))
    assert [(s["type"], s["host"], s["port"], s["transport"]) for s in found] == [
        ("stun", "stun.localhost", "3478", "udp"), ("turn", "turn.localhost", "3478", "udp"),
        ("turn", "turn.localhost", "80", "tcp"), ("turns", "2001:db8::1", "5349", "tcp")]
    assert set(found[0]) == {"type", "host", "port", "transport"}
    for service in found[1:]:
        check(service, client.jid.partition("/")[0])


def test_of_a_type(client):
    answer = ask(client, " type='turn'")
    assert answer.find(q(EXTDISCO, "services")).get("type") == "turn"
    assert [s["port"] for s in services(answer)] == ["3478", "80"]
    assert services(ask(client, " type='teapot'")) == []


def test_credentials(client):
    found = services(credentials(client, "<service host='turn.localhost' type='turn'/>"), "credentials")
    assert [s["port"] for s in found] == ["3478", "80"]
    for service in found:
        check(service, client.jid.partition("/")[0])
    found = services(credentials(client, "<service host='turn.localhost' type='turn' port='80'/>"), "credentials")
    assert [s["port"] for s in found] == ["80"]


@pytest.mark.parametrize("content, expected", [
    ("<service host='turn.localhost' type='turn' port='81'/>", "item-not-found"),
    ("<service host='elsewhere' type='turn'/>", "item-not-found"),
    ("<service host='stun.localhost' type='stun'/>", "item-not-found"),
    ("<service host='turn.localhost'/>", "bad-request"),
    ("<service type='turn'/>", "bad-request"),
    ("", "bad-request"),
    ("<service xmlns='x' host='turn.localhost' type='turn'/>", "bad-request"),
    ("<service host='turn.localhost' type='turn'/><service host='turn.localhost' type='turn'/>", "bad-request")])
def test_no_credentials(client, content, expected):
    assert condition(credentials(client, content)) == expected


def test_without_a_secret(suite):
    client = suite.login(suite.account(domain="open.test"))
    assert services(ask(client, to="open.test")) == [
        {"type": "turn", "host": "turn.open.test"}, {"type": "ftp", "host": "ftp.open.test", "port": "21"}]
    assert condition(credentials(client, "<service host='turn.open.test' type='turn'/>", to="open.test")) == \
        "item-not-found"


def test_who_may(suite, client):
    """Accounts of the domain, and nobody else."""
    other = suite.login(suite.account(domain="open.test"))
    assert condition(ask(other)) == "forbidden"
    bare = suite.login(suite.account(domain="bare.test"))
    assert condition(ask(bare, to="bare.test")) == "service-unavailable"
    assert condition(ask(client, kind="set")) == "bad-request"
    assert condition(client.iq("get", "<other xmlns='%s'/>" % EXTDISCO, to="localhost")) == "bad-request"
    stranger = suite.stream("localhost")
    stranger.send("<iq type='get' id='x' to='localhost'><services xmlns='%s'/></iq>" % EXTDISCO)
    assert stranger.stream_error() == "not-authorized"


def test_announced(make_suite, client):
    query = "<query xmlns='%s'/>" % NS["disco#info"]
    answer = client.iq("get", query, to="localhost")
    assert EXTDISCO in [f.get("var") for f in answer.iter(q("disco#info", "feature"))]
    plain = make_suite()
    client = plain.login(plain.account())
    answer = client.iq("get", query, to="localhost")
    assert EXTDISCO not in [f.get("var") for f in answer.iter(q("disco#info", "feature"))]
    assert condition(ask(client)) == "service-unavailable"


def test_secret_stays(suite, client):
    """Only authd has it, and no log."""
    ask(client)
    assert SECRET not in suite.log_text()
    problem = readable(suite.pid("authd"))
    if problem:
        pytest.skip(problem)
    needles = Needles()
    needles.secret("secret", SECRET.encode())
    for name in ("router", "c2sd.0", "c2sd.1", "archived"):
        assert needles.find(suite.pid(name)) == [], name
    assert needles.find(suite.pid("authd")) != []


@pytest.mark.parametrize("value", ["turn", "turn:", "turn:a@b", "turn:a:0", "turn:a?transport=UDP", "http://x"])
def test_what_is_no_service(suite, value):
    path = suite.config
    old = path.read_text()
    try:
        path.write_text(old.replace('"stun:stun.localhost:3478?transport=udp"', '"%s"' % value))
        seen = len(suite.log_text())
        with pytest.raises(CommandFailed):
            suite.ctl("reload")
        wait_until(lambda: "is not a service like" in suite.log_text()[seen:])
    finally:
        path.write_text(old)
