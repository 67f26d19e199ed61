"""Tokens with which a client logs in again: XEP-0484."""

import datetime
import time
import uuid

import pytest

from memory import Needles, readable
from raw import NS, AuthFailed, body, encode64, local, q, text
from suite import SANITIZED, SLOW, CommandFailed

BIND = "<bind xmlns='urn:xmpp:bind:0'>%s</bind>"
REQUEST = "<request-token xmlns='urn:xmpp:fast:0' mechanism='%s'/>"
EXPR, ENDP, NONE, UNIQ = ("HT-SHA-256-" + end for end in ("EXPR", "ENDP", "NONE", "UNIQ"))


def name_of(jid):
    return jid.partition("@")[0]


def new_token(success):
    """The token in <success/>, None without one."""
    element = success.find(q("fast", "token"))
    return None if element is None else element.get("token")


def obtain(suite, account, agent, mechanism=EXPR, version=None, inline=""):
    """Logs in with the password and asks for a token. Returns the client and the token."""
    client = stream(suite, account, version)
    success = client.authenticate2("SCRAM-SHA-256", name_of(account), suite.password(account),
                                   REQUEST % mechanism + inline, agent)
    return client, new_token(success)


def stream(suite, account, version=None):
    client = suite.connect()
    client.starttls("localhost", version=version)
    client.open("localhost", **{"from": account})
    return client


def refused(client, seconds=None):
    with pytest.raises(AuthFailed) as reason:
        client.sasl2(seconds)
    return reason.value.condition


def offered(client):
    fast = client.features.find("%s/%s/%s" % (q("sasl2", "authentication"), q("sasl2", "inline"),
                                              q("fast", "fast")))
    assert fast.get("tls-0rtt") is None
    return [m.text for m in fast]


def test_feature(suite):
    """Among what is inline, and only there."""
    client = stream(suite, suite.account(), "1.3")
    assert offered(client) == [EXPR, ENDP, NONE]
    assert NS["fast"] not in text(client.features.find(q("sasl", "mechanisms")))
    assert offered(stream(suite, suite.account(), "1.2")) == [EXPR, UNIQ, ENDP, NONE]


@pytest.mark.parametrize("mechanism, version", [
    (EXPR, "1.3"), (ENDP, "1.3"), (NONE, "1.3"), (EXPR, "1.2"), (UNIQ, "1.2")])
def test_login(suite, mechanism, version):
    account, agent = suite.account(), str(uuid.uuid4())
    client, token = obtain(suite, account, agent, mechanism, version)
    assert len(token) == 64
    for _ in range(2):
        client = stream(suite, account, version)
        success = client.fast(mechanism, name_of(account), token, agent, BIND % "<tag>Lamp</tag>")
        assert new_token(success) is None
        assert client.jid.startswith(account + "/Lamp/")
        client.available()
        client.say(account, "again")
        assert body(client.message()) == "again"


def test_expiry_is_told(suite):
    client = suite.stream()
    account, agent = suite.account(), str(uuid.uuid4())
    success = client.authenticate2("PLAIN", name_of(account), suite.password(account),
                                   REQUEST % NONE, agent)
    expiry = datetime.datetime.fromisoformat(success.find(q("fast", "token")).get("expiry").replace("Z", "+00:00"))
    days = (expiry - datetime.datetime.now(datetime.timezone.utc)).total_seconds() / 86400
    assert 29.9 < days <= 30


def test_pinned(suite):
    """To its mechanism, its client, its account, and its connection."""
    account, other = suite.accounts(2)
    agent = str(uuid.uuid4())
    token = obtain(suite, account, agent)[1]
    client = stream(suite, account)
    client.start_fast(NONE, name_of(account), token, agent)
    assert refused(client) == "not-authorized"
    client.start_fast(EXPR, name_of(account), token, str(uuid.uuid4()))
    assert refused(client) == "not-authorized"
    client = stream(suite, account)
    client.start_fast(EXPR, name_of(other), token, agent)
    assert refused(client) == "invalid-authzid"
    client.start_fast(EXPR, name_of(account), token, agent, data=b"x" * 32)
    assert refused(client) == "not-authorized"
    client.fast(EXPR, name_of(account), token, agent)
    client = suite.stream()
    client.start_fast(EXPR, name_of(other), token, agent)
    assert refused(client) == "not-authorized"


def test_rotation(make_suite):
    """The old token is good until the new one is used, and no longer; one that got lost is none."""
    suite = make_suite(auth={"token-rotation": 0})
    account, agent = suite.account(), str(uuid.uuid4())

    def use(token):
        client = stream(suite, account)
        return new_token(client.fast(EXPR, name_of(account), token, agent))

    def fails(token):
        client = stream(suite, account)
        client.start_fast(EXPR, name_of(account), token, agent)
        return refused(client) == "not-authorized"

    first = obtain(suite, account, agent)[1]
    second = use(first)
    third = use(first)
    assert len({first, second, third}) == 3
    assert fails(second)
    suite.kill("authd")
    fourth = use(third)
    assert fails(first)
    assert use(fourth)


def test_expired(make_suite):
    suite = make_suite(auth={"token-lifetime": 2})
    account, agent = suite.account(), str(uuid.uuid4())
    token = obtain(suite, account, agent)[1]
    time.sleep(2.1)
    client = stream(suite, account)
    client.start_fast(EXPR, name_of(account), token, agent)
    assert refused(client) == "credentials-expired"
    client.authenticate2("SCRAM-SHA-256", name_of(account), suite.password(account))


def test_count(make_suite):
    """A count that was used is used, also when everything was killed meanwhile."""
    suite = make_suite()
    account, agent = suite.account(), str(uuid.uuid4())
    token = obtain(suite, account, agent)[1]

    def use(count):
        client = stream(suite, account)
        client.start_fast(EXPR, name_of(account), token, agent, attributes=" count='%d'" % count)
        return client

    assert local(use(7).sasl2()) == "success"
    suite.kill("authd")
    for count in (7, 6, 1):
        assert refused(use(count)) == "not-authorized"
    assert local(use(8).sasl2()) == "success"


@pytest.mark.parametrize("again", [False, True])
def test_invalidate(suite, again):
    """The token ends, and there is no new one but when it was asked for."""
    account, agent = suite.account(), str(uuid.uuid4())
    token = obtain(suite, account, agent)[1]
    client = stream(suite, account)
    success = client.fast(EXPR, name_of(account), token, agent, REQUEST % NONE if again else "",
                          " invalidate='true'")
    assert (new_token(success) is not None) == again
    assert client.bind("still here") == account + "/still here"
    client = stream(suite, account)
    client.start_fast(EXPR, name_of(account), token, agent)
    assert refused(client) == "not-authorized"
    if again:
        client.fast(NONE, name_of(account), new_token(success), agent)


def test_new_password(suite):
    account, agent = suite.account(), str(uuid.uuid4())
    client, token = obtain(suite, account, agent)
    client.bind()
    client.domain = "localhost"
    suite.ctl("user", "passwd", account, input="another one\n")
    suite.passwords[account] = "another one"
    client = stream(suite, account)
    client.start_fast(EXPR, name_of(account), token, agent)
    assert refused(client) == "not-authorized"


def test_deleted_account(suite):
    account, agent = suite.account(), str(uuid.uuid4())
    token = obtain(suite, account, agent)[1]
    suite.ctl("user", "del", account)
    suite.ctl("user", "add", account, input="again\n")
    client = stream(suite, account)
    client.start_fast(EXPR, name_of(account), token, agent)
    assert refused(client) == "not-authorized"


def test_administration(suite):
    account, agents = suite.account(), [str(uuid.uuid4()) for _ in range(2)]
    tokens = [obtain(suite, account, agent, NONE)[1] for agent in agents]
    shown = suite.ctl("user", "tokens", account)
    assert {row["agent"] for row in shown} == set(agents)
    assert {(row["client"], row["mechanism"]) for row in shown} == {("raw, bench", NONE)}
    assert not any(token in str(shown) for token in tokens)
    suite.ctl("user", "revoke", account, agents[0])
    with pytest.raises(CommandFailed):
        suite.ctl("user", "revoke", account, agents[0])
    client = stream(suite, account)
    client.start_fast(NONE, name_of(account), tokens[0], agents[0])
    assert refused(client) == "not-authorized"
    client.fast(NONE, name_of(account), tokens[1], agents[1])
    suite.ctl("user", "revoke", account)
    assert suite.ctl("user", "tokens", account) == []
    with pytest.raises(CommandFailed):
        suite.ctl("user", "tokens", "nobody@localhost")


def test_limit(make_suite):
    suite = make_suite(auth={"tokens": 2})
    account, agents = suite.account(), [str(uuid.uuid4()) for _ in range(3)]
    for agent in agents:
        obtain(suite, account, agent)
        time.sleep(0.01)
    assert {row["agent"] for row in suite.ctl("user", "tokens", account)} == set(agents[1:])


@pytest.mark.parametrize("auth", [{"tokens": 0}, {"fast-mechanisms": []}])
def test_off(make_suite, auth):
    suite = make_suite(auth=auth)
    account, agent = suite.account(), str(uuid.uuid4())
    client, token = obtain(suite, account, agent)
    assert token is None
    client = stream(suite, account)
    assert NS["fast"] not in text(client.features)
    client.start_fast(EXPR, name_of(account), "x" * 64, agent)
    assert refused(client) == "invalid-mechanism"


@pytest.mark.parametrize("content, expected", [
    ("<fast xmlns='urn:xmpp:fast:0' count='0'/>", "malformed-request"),
    ("<fast xmlns='urn:xmpp:fast:0' count='-1'/>", "malformed-request"),
    ("<fast xmlns='urn:xmpp:fast:0' count=''/>", "malformed-request"),
    ("<fast xmlns='urn:xmpp:fast:0' count='99999999999999999999'/>", "malformed-request"),
    ("<fast xmlns='urn:xmpp:fast:0' invalidate='maybe'/>", "malformed-request"),
    ("<fast xmlns='urn:xmpp:fast:0'/><fast xmlns='urn:xmpp:fast:0'/>", "malformed-request"),
    ("<fast xmlns='urn:xmpp:fast:0'/><request-token xmlns='urn:xmpp:fast:0'/>", "malformed-request"),
    ("<fast xmlns='urn:xmpp:fast:0'/>" + REQUEST % "", "malformed-request"),
    ("<fast xmlns='urn:xmpp:fast:0'/>" + REQUEST % ("x" * 65), "malformed-request"),
    ("", "invalid-mechanism"),
])
def test_malformed(suite, content, expected):
    client = suite.stream()
    client.start2(NONE, b"juliet\0" + bytes(32), content, str(uuid.uuid4()))
    assert refused(client) == expected


@pytest.mark.parametrize("initial", [b"", b"juliet", b"juliet\0", b"\0" + bytes(32), b"juliet\0" + bytes(31),
                                     b"juliet\0" + bytes(33)])
def test_malformed_message(suite, initial):
    client = suite.stream()
    client.start2(NONE, initial, "<fast xmlns='urn:xmpp:fast:0'/>", str(uuid.uuid4()))
    assert refused(client) == "malformed-request"


def test_without_agent(suite):
    """No token for who does not say which client it is, nor a log-in with one."""
    account = suite.account()
    assert obtain(suite, account, None)[1] is None
    client = suite.stream()
    client.start_fast(NONE, name_of(account), "x" * 64, None)
    assert refused(client) == "malformed-request"


def test_other_profile(suite):
    """A token is for SASL2, and the password for other mechanisms."""
    account, agent = suite.account(), str(uuid.uuid4())
    obtain(suite, account, agent, NONE)
    client = suite.stream()
    client.auth(NONE, b"x\0" + bytes(32))
    with pytest.raises(AuthFailed) as reason:
        client.sasl()
    assert reason.value.condition == "invalid-mechanism"
    client.start2("PLAIN", "\0%s\0%s" % (name_of(account), suite.password(account)),
                  "<fast xmlns='urn:xmpp:fast:0'/>", agent)
    assert refused(client) == "invalid-mechanism"
    client = suite.stream()
    success = client.authenticate2("PLAIN", name_of(account), suite.password(account), REQUEST % "PLAIN", agent)
    assert new_token(success) is None


def test_in_a_response(suite):
    """Without an initial response there is one round trip more."""
    import hmac
    account, agent = suite.account(), str(uuid.uuid4())
    token = obtain(suite, account, agent, NONE)[1]
    client = stream(suite, account)
    client.start2(NONE, None, "<fast xmlns='urn:xmpp:fast:0'/>", agent)
    assert local(client.sasl2()) == "challenge"
    client.respond2(name_of(account).encode() + b"\0" +
                    hmac.new(token.encode(), b"Initiator", "sha256").digest())
    assert local(client.sasl2()) == "success"


def test_resume(suite):
    """A broken stream is resumed with a token, which rotates there too."""
    account, agent = suite.account(), str(uuid.uuid4())
    enable = BIND % "<enable xmlns='urn:xmpp:sm:3' resume='true'/>"
    client = stream(suite, account)
    success = client.authenticate2("SCRAM-SHA-256", name_of(account), suite.password(account),
                                   REQUEST % EXPR + enable, agent)
    previd = success.find("%s/%s" % (q("bind2", "bound"), q("sm", "enabled"))).get("id")
    token = new_token(success)
    client.close()
    client = stream(suite, account)
    success = client.fast(EXPR, name_of(account), token, agent,
                          "<resume xmlns='urn:xmpp:sm:3' previd='%s' h='0'/>" % previd + REQUEST % EXPR)
    assert success.find(q("sm", "resumed")) is not None
    assert new_token(success) not in (None, token)


def test_slowed(make_suite):
    """Guesses count like those at passwords."""
    suite = make_suite(auth={"failures-account": 2})
    account, agent = suite.account(), str(uuid.uuid4())
    client = stream(suite, account)
    for _ in range(2):
        client.start_fast(NONE, name_of(account), "x" * 64, agent)
        assert refused(client) == "not-authorized"
    client = stream(suite, account)
    began = time.monotonic()
    client.start_fast(NONE, name_of(account), "x" * 64, agent)
    assert refused(client, 15 * SLOW) == "not-authorized"
    assert time.monotonic() - began > 0.2
    assert suite.counter("authd", "logins-slowed") == 1
    assert suite.counter("authd", "tokens-refused") == 3


@pytest.mark.skipif(SANITIZED, reason="the sanitizer keeps what was freed")
@pytest.mark.parametrize("version", ["1.2", "1.3"])
def test_secret(make_suite, version):
    """No process but authd has a token once the client has it."""
    suite = make_suite()
    reason = readable(suite.pid("c2sd.0"))
    if reason:
        pytest.skip(reason)
    account, agent, needles = suite.account(), str(uuid.uuid4()), Needles()
    clients = []
    for _ in range(4):
        client, token = obtain(suite, account, agent, NONE, version, BIND % "")
        needles.secret("token", token.encode())
        clients.append(client)
        clients.append(stream(suite, account, version))
        clients[-1].fast(NONE, name_of(account), token, agent)
    for name, process in suite.status().items():
        found = needles.find(process["pid"])
        assert bool(found) == (name == "authd"), (name, found)
