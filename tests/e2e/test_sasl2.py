"""SASL2: XEP-0388."""

import uuid

import pytest

import raw
from raw import NS, AuthFailed, Closed, Scram, encode64, local, mechanisms, mechanisms2, q, text
from suite import SLOW

PLUS = ["SCRAM-SHA-512-PLUS", "SCRAM-SHA-256-PLUS", "SCRAM-SHA-1-PLUS"]
PLAIN = ["SCRAM-SHA-512", "SCRAM-SHA-256", "SCRAM-SHA-1", "PLAIN"]
AGENT = str(uuid.uuid4())


def name_of(jid):
    return jid.partition("@")[0]


def failure(client, seconds=None):
    """The condition of the <failure/> that comes next."""
    with pytest.raises(AuthFailed) as reason:
        client.sasl2(seconds)
    return reason.value.condition


def plain(suite, account):
    return "\0%s\0%s" % (name_of(account), suite.password(account))


# -- the way that works -----------------------------------------------------------------------------


def test_feature(suite):
    """The same mechanisms as in the older feature, which stays."""
    client = suite.stream()
    assert mechanisms2(client.features) == mechanisms(client.features) == PLUS + PLAIN


def test_not_before_tls(suite):
    client = suite.connect()
    features = client.open()
    assert features.find(q("sasl2", "authentication")) is None
    client.start2("PLAIN", "\0juliet\0secret")
    assert failure(client) == "encryption-required"


@pytest.mark.parametrize("mechanism", PLUS + PLAIN)
def test_login(suite, mechanism):
    """Success has the address, features follow on the same stream, and binding goes on there."""
    account = suite.account()
    client = suite.stream()
    root = client.root
    success = client.authenticate2(mechanism, name_of(account), suite.password(account), agent=AGENT)
    assert success.findtext(q("sasl2", "authorization-identifier")) == account
    assert (success.find(q("sasl2", "additional-data")) is None) == (mechanism == "PLAIN")
    assert client.root is root
    assert client.features.find(q("bind", "bind")) is not None
    assert client.features.find(q("sasl2", "authentication")) is None
    assert client.bind("balcony") == account + "/balcony"
    client.available()
    client.say(account, "to myself")
    assert raw.body(client.message()) == "to myself"


@pytest.mark.parametrize("flag", ["tls-exporter", "tls-server-end-point"])
def test_binding(suite, flag):
    account = suite.account()
    client = suite.stream()
    client.authenticate2("SCRAM-SHA-256-PLUS", name_of(account), suite.password(account), flag=flag)
    client.bind()


def test_no_initial_response(suite):
    """An empty challenge, and the first message in a response."""
    account = suite.account()
    client = suite.stream()
    client.start2("PLAIN")
    challenge = client.sasl2()
    assert local(challenge) == "challenge" and not challenge.text
    client.respond2(plain(suite, account))
    assert local(client.sasl2()) == "success"


def test_pipelined(suite):
    """A client that knows what to expect sends header and authentication at once, and what comes in
    the smallest pieces is the same."""
    account = suite.account()
    for pieces in (False, True):
        client = suite.secured()
        whole = "<stream:stream to='localhost' version='1.0' xmlns='%s' xmlns:stream='%s' from='%s'>" \
            "<authenticate xmlns='%s' mechanism='PLAIN'><initial-response>%s</initial-response>" \
            "</authenticate>" % (NS["client"], NS["stream"], account, NS["sasl2"],
                                 encode64(plain(suite, account)))
        for piece in whole if pieces else [whole]:
            client.send(piece)
        assert client.next().tag == q("stream", "features")
        assert local(client.sasl2()) == "success"
        assert client.next().tag == q("stream", "features")
        client.domain = "localhost"
        client.bind()


def test_large_stanza_after(suite):
    """The limits of a stream that has not authenticated end with success."""
    account = suite.account()
    client = suite.stream()
    client.authenticate2("PLAIN", name_of(account), suite.password(account))
    client.bind()
    client.available()
    client.say(account, "x" * 100000)
    assert len(raw.body(client.message())) == 100000


# -- what fails -------------------------------------------------------------------------------------


def test_wrong_password(suite):
    account = suite.account()
    client = suite.stream()
    for mechanism in ("PLAIN", "SCRAM-SHA-1"):
        with pytest.raises(AuthFailed) as reason:
            client.authenticate2(mechanism, name_of(account), "wrong")
        assert reason.value.condition == "not-authorized"
    client.authenticate2("SCRAM-SHA-256", name_of(account), suite.password(account))
    assert client.bind()


def test_attempts(make_suite):
    """Guesses in both profiles count together."""
    suite = make_suite(c2s={"login-attempts": 2})
    account = suite.account()
    client = suite.stream()
    client.start2("PLAIN", "\0%s\0wrong" % name_of(account))
    assert failure(client) == "not-authorized"
    client.auth("PLAIN", "\0%s\0wrong" % name_of(account))
    with pytest.raises(AuthFailed):
        client.sasl()
    assert client.stream_error() == "policy-violation"


def test_trials(suite):
    """What fails without a guess ends the stream too, at some time."""
    client = suite.stream()
    for _ in range(16):
        client.start2("NONE-SUCH")
        assert failure(client) == "invalid-mechanism"
    assert client.stream_error() == "policy-violation"


AUTHENTICATE = "<authenticate xmlns='urn:xmpp:sasl:2' mechanism='PLAIN'>%s</authenticate>"
INITIAL = "<initial-response>AGEAYg==</initial-response>"


@pytest.mark.parametrize("content, expected", [
    ("<initial-response>=</initial-response>", "incorrect-encoding"),
    ("<initial-response>AGEA</initial-response>", "malformed-request"),
    ("<initial-response>A GEAYg==</initial-response>", "incorrect-encoding"),
    ("<initial-response>AGEAYg=</initial-response>", "incorrect-encoding"),
    ("<initial-response>AGE<a/>AYg==</initial-response>", "malformed-request"),
    (INITIAL + INITIAL, "malformed-request"),
    (INITIAL + "<user-agent id=''/>", "malformed-request"),
    (INITIAL + "<user-agent id='d4565fa7-4d72-3749-b3d3-740edbf87770'/>", "malformed-request"),
    (INITIAL + "<user-agent id='d4565fa7-4d72-4749-73d3-740edbf87770'/>", "malformed-request"),
    (INITIAL + "<user-agent id='d4565fa74d724749b3d3740edbf87770'/>", "malformed-request"),
    (INITIAL + "<user-agent><software>%s</software></user-agent>" % ("x" * 257), "malformed-request"),
    (INITIAL + "<user-agent><device><a/></device></user-agent>", "malformed-request"),
    (INITIAL + "<user-agent><device/><device/></user-agent>", "malformed-request"),
    (INITIAL + "<user-agent/><user-agent/>", "malformed-request"),
    (INITIAL, "not-authorized"),
    (INITIAL + "<user-agent id='D4565FA7-4D72-4749-B3D3-740EDBF87770'/><what xmlns='urn:x'/>",
     "not-authorized"),
])
def test_malformed(suite, content, expected):
    client = suite.stream()
    client.send(AUTHENTICATE % content)
    assert failure(client) == expected
    account = suite.account()
    client.authenticate2("PLAIN", name_of(account), suite.password(account))


@pytest.mark.parametrize("element", ["next task='X'", "task-data", "what", "challenge"])
def test_unknown_element(suite, element):
    """There are no tasks here."""
    client = suite.stream()
    client.send("<%s xmlns='urn:xmpp:sasl:2'/>" % element)
    assert failure(client) == "malformed-request"


def test_failure_form(suite):
    client = suite.stream()
    client.start2("NONE-SUCH")
    element = client.next()
    assert [child.tag for child in element] == [q("sasl", "invalid-mechanism")], text(element)


def test_abort(suite):
    account = suite.account()
    client = suite.stream()
    client.start2("SCRAM-SHA-256", Scram("SCRAM-SHA-256", name_of(account), "x").first())
    assert local(client.sasl2()) == "challenge"
    client.send("<abort xmlns='urn:xmpp:sasl:2'><text>no</text></abort>")
    assert failure(client) == "aborted"
    client.authenticate2("SCRAM-SHA-256", name_of(account), suite.password(account))


@pytest.mark.parametrize("other", [
    "<authenticate xmlns='urn:xmpp:sasl:2' mechanism='PLAIN'/>",
    "<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'/>",
    "<response xmlns='urn:ietf:params:xml:ns:xmpp-sasl'/>",
    "<iq type='get' id='1'><query xmlns='jabber:iq:register'/></iq>",
    "<presence/>",
])
def test_nothing_else_meanwhile(suite, other):
    """XEP-0388, During Authentication."""
    account = suite.account(domain="example.test")
    client = suite.stream("example.test")
    client.start2("SCRAM-SHA-256", Scram("SCRAM-SHA-256", name_of(account), "x").first())
    assert local(client.sasl2()) == "challenge"
    client.send(other)
    assert client.stream_error() == "policy-violation"


def test_profiles_do_not_mix(suite):
    """An exchange of RFC 6120 does not go on in the newer profile."""
    client = suite.stream()
    client.auth("PLAIN")
    client.sasl()
    client.respond2("x")
    assert client.stream_error() == "policy-violation"


@pytest.mark.parametrize("bound", [False, True])
def test_once(suite, bound):
    """After success there is no other authentication."""
    account = suite.account()
    client = suite.stream()
    client.authenticate2("PLAIN", name_of(account), suite.password(account))
    if bound:
        client.bind()
    client.start2("PLAIN", plain(suite, account))
    assert client.stream_error() == ("unsupported-stanza-type" if bound else "not-authorized")


def test_from(suite):
    """An authorization identity that is not whom the header names; without one the header is a hint."""
    juliet, romeo = suite.accounts(2)
    client = suite.secured()
    client.open("localhost", **{"from": romeo})
    with pytest.raises(AuthFailed) as reason:
        client.authenticate2("PLAIN", name_of(juliet), suite.password(juliet), authzid=juliet)
    assert reason.value.condition == "invalid-authzid"
    client.authenticate2("PLAIN", name_of(juliet), suite.password(juliet))
    client = suite.secured()
    with pytest.raises(Closed) as reason:
        client.open("localhost", **{"from": "juliet@example.test"})
    assert str(reason.value) == "invalid-from"


def test_authd_dies(make_suite):
    """In the middle of an exchange: the failure is one of this profile."""
    suite = make_suite()
    account = suite.account()
    client = suite.stream()
    client.start2("SCRAM-SHA-256", Scram("SCRAM-SHA-256", name_of(account), "x").first())
    assert local(client.sasl2()) == "challenge"
    suite.kill("authd")
    client.respond2("c=biws,r=x,p=AAAA")
    assert failure(client, 10 * SLOW) == "temporary-auth-failure"
    client.authenticate2("SCRAM-SHA-256", name_of(account), suite.password(account), seconds=10 * SLOW)
    client.bind()


def test_router_dies_before_bind(make_suite):
    """The grant outlives the router."""
    suite = make_suite()
    account = suite.account()
    client = suite.stream()
    client.authenticate2("SCRAM-SHA-256", name_of(account), suite.password(account))
    suite.kill("router")
    assert client.bind("b") == account + "/b"
