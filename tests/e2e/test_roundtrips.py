"""How often a client has to wait for the server until it is online, TCP's own handshake counted: what README
says. And what makes it so few: the key exchange that the client has begun with, authentication and binding in
one flight with the header (XEP-0388, XEP-0386, XEP-0484), made safe by XEP-0509."""

import subprocess
import uuid

import pytest

from raw import NS, AuthFailed, condition, encode64, local, q, text
from suite import ROOT

EXPR = "HT-SHA-256-EXPR"
INLINE = "<bind xmlns='urn:xmpp:bind:0'><tag>Lamp</tag><enable xmlns='urn:xmpp:carbons:2'/>" \
    "<enable xmlns='urn:xmpp:sm:3' resume='true'/></bind>"
ROSTER = "<iq type='get' id='roster'><query xmlns='jabber:iq:roster'/></iq><presence/>"
DIRECT, STARTTLS, OLD = 4, 5, 12  # in README


def name_of(jid):
    return jid.partition("@")[0]


def secured(suite, direct, version="1.3", **options):
    client = suite.connect(direct=direct)
    if direct:
        client.handshake("localhost", alpn=["xmpp-client"], version=version, **options)
    else:
        client.starttls_at_once("localhost", version=version, **options)
    return client


def begun(suite, account, agent):
    """A client's first login: its token, what the features were called, and the TLS session."""
    client = secured(suite, True)
    features = client.open("localhost", **{"from": account})
    name = features.find(q("iap", "config-version"))
    assert name.get("scheme") == "opaque"
    success = client.authenticate2("SCRAM-SHA-256-PLUS", name_of(account), suite.password(account),
                                   "<request-token xmlns='urn:xmpp:fast:0' mechanism='%s'/>" % EXPR, agent)
    return success.find(q("fast", "token")).get("token"), name.get("value"), client.session()


def iap(value):
    return "<config-version xmlns='urn:xmpp:iap:0' scheme='opaque' value='%s'/>" % value


def log_in_again(client, account, token, agent, value):
    """Header, authentication and binding in one flight; returns <success/>."""
    client.header("localhost", **{"from": account})
    client.start_fast(EXPR, name_of(account), token, agent, INLINE + iap(value), " count='1'")
    features = client.next()
    assert features.find(q("iap", "config-version")).get("value") == value
    success = client.sasl2()
    assert local(success) == "success", text(success)
    client.jid = success.findtext(q("sasl2", "authorization-identifier"))
    return success


@pytest.mark.parametrize("direct", [True, False])
@pytest.mark.parametrize("resumed", [False, True])
def test_again(suite, direct, resumed):
    """From a cold start to a session with carbons and stream management, and then the roster."""
    account, agent = suite.account(), str(uuid.uuid4())
    token, value, tls = begun(suite, account, agent)
    client = secured(suite, direct, **({"session": tls} if resumed else {}))
    assert client.resumed() == resumed
    success = log_in_again(client, account, token, agent, value)
    assert success.find(".//" + q("sm", "enabled")) is not None
    assert client.round_trips == (DIRECT if direct else STARTTLS) - 1
    client.send(ROSTER)
    assert client.wait(lambda e: e.get("id") == "roster").get("type") == "result"
    assert client.round_trips == (DIRECT if direct else STARTTLS)
    other = suite.login(account)
    romeo = suite.account()
    other.say(romeo, "copied")
    assert "copied" in text(client.message())


def test_resumption_again(suite):
    """A stream is resumed in the same flight."""
    account, agent = suite.account(), str(uuid.uuid4())
    token, value, tls = begun(suite, account, agent)
    client = secured(suite, True)
    previd = log_in_again(client, account, token, agent, value).find(".//" + q("sm", "enabled")).get("id")
    client.close()
    client = secured(suite, True)
    client.header("localhost", **{"from": account})
    client.start_fast(EXPR, name_of(account), token, agent,
                      "<resume xmlns='urn:xmpp:sm:3' previd='%s' h='0'/>" % previd + iap(value), " count='2'")
    assert client.next().tag == q("stream", "features")
    assert client.sasl2().find(q("sm", "resumed")) is not None
    assert client.round_trips == DIRECT - 1


def test_older_way(suite):
    """RFC 6120 with what came before SASL2, step by step."""
    account = suite.account()
    client = suite.connect()
    client.starttls("localhost", version="1.3")
    client.open("localhost")
    client.login(account, suite.password(account))
    client.enable()
    client.iq("set", "<enable xmlns='urn:xmpp:carbons:2'/>")
    client.send(ROSTER)
    client.wait(lambda e: e.get("id") == "roster")
    assert client.round_trips == OLD


def test_readme():
    words = " ".join((ROOT / "README.md").read_text().split())
    assert "%d round trips with direct TLS and %d with STARTTLS" % (DIRECT, STARTTLS) in words
    assert "%d by RFC 6120" % OLD in words


@pytest.mark.parametrize("groups", ["X25519:P-256", "P-256:X25519", "P-384:P-256", "X448:X25519", "P-521"])
def test_key_share(suite, groups):
    """The group that a client has begun with is taken: no HelloRetryRequest."""
    said = subprocess.run(["openssl", "s_client", "-connect", "127.0.0.1:%d" % suite.tls_port, "-tls1_3", "-msg",
                           "-alpn", "xmpp-client", "-groups", groups], input=b"", capture_output=True,
                          timeout=20).stdout.decode(errors="replace")
    assert said.count("ServerHello") == 1
    assert "Cipher is TLS_" in said


# -- XEP-0509 ---------------------------------------------------------------------------------------


def test_same_version_everywhere(make_suite):
    """Of both processes, after a restart, and of another connection; another one for other bindings."""
    suite = make_suite()

    def version(tls="1.3"):
        features = secured(suite, True, tls).open("localhost")
        return features.find(q("iap", "config-version")).get("value")

    first = {version() for _ in range(6)}
    suite.kill("c2sd.0")
    suite.kill("authd")
    assert {version() for _ in range(6)} == first
    assert version("1.2") not in first


def test_mismatch(make_suite):
    """The attempt is refused without being counted, and goes on with the features that have come."""
    suite = make_suite(c2s={"login-attempts": 2}, auth={"failures-account": 1})
    account, agent = suite.account(), str(uuid.uuid4())
    token, value, _ = begun(suite, account, agent)
    client = secured(suite, True)
    client.header("localhost", **{"from": account})
    for _ in range(3):
        client.start_fast(EXPR, name_of(account), token, agent, INLINE + iap("something else"))
    current = client.next().find(q("iap", "config-version")).get("value")
    for _ in range(3):
        failure = client.next()
        assert local(failure) == "failure" and condition(failure) == "aborted"
        assert failure.find(q("iap", "config-version-mismatch")) is not None
    client.start_fast(EXPR, name_of(account), token, agent, INLINE + iap(current))
    assert local(client.sasl2()) == "success"
    assert suite.counter("authd", "logins-slowed") == 0


@pytest.mark.parametrize("element, expected", [
    ("<config-version xmlns='urn:xmpp:iap:0'/>", "malformed-request"),
    (iap("x") * 2, "malformed-request"),
    (iap("x" * 300), "malformed-request"),
    (iap(""), "aborted"),
])
def test_malformed(suite, element, expected):
    client = suite.stream()
    client.start2("PLAIN", "\0a\0b", element)
    with pytest.raises(AuthFailed) as reason:
        client.sasl2()
    assert reason.value.condition == expected
