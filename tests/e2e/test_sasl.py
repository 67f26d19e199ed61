"""Authentication: RFC 6120 section 6, RFC 5802, 7677, 5929, 9266, XEP-0440, XEP-0077."""

import re
import time
from xml.sax.saxutils import escape

import pytest

import raw
from raw import NS, AuthFailed, Closed, Scram, bindings, condition, mechanisms, q, text
from suite import SLOW, CommandFailed

PLUS = ["SCRAM-SHA-512-PLUS", "SCRAM-SHA-256-PLUS", "SCRAM-SHA-1-PLUS"]
PLAIN = ["SCRAM-SHA-512", "SCRAM-SHA-256", "SCRAM-SHA-1", "PLAIN"]


def name_of(jid):
    return jid.partition("@")[0]


def failure(client, mechanism, user, password, **options):
    """The condition with which an exchange fails."""
    with pytest.raises(AuthFailed) as reason:
        client.authenticate(mechanism, user, password, **options)
    return reason.value.condition


# -- features ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("domain", ["localhost", "example.test"])
def test_mechanisms(suite, domain):
    """In the order of preference of the option's default."""
    client = suite.stream(domain)
    assert mechanisms(client.features) == PLUS + PLAIN


def test_channel_binding_feature(suite):
    """XEP-0440; tls-unique is not for TLS 1.3 (RFC 9266 section 3)."""
    for version, expected in (("1.3", {"tls-exporter", "tls-server-end-point"}),
                              ("1.2", {"tls-exporter", "tls-unique", "tls-server-end-point"})):
        client = suite.connect()
        client.starttls(version=version)
        assert set(bindings(client.open())) == expected


def test_mechanisms_option(make_suite):
    suite = make_suite(auth={"mechanisms": ["SCRAM-SHA-256", "SCRAM-SHA-1-PLUS"]})
    account = suite.account()
    client = suite.stream()
    assert mechanisms(client.features) == ["SCRAM-SHA-256", "SCRAM-SHA-1-PLUS"]
    assert failure(client, "PLAIN", name_of(account), suite.password(account)) == "invalid-mechanism"
    client.authenticate("SCRAM-SHA-256", name_of(account), suite.password(account))


# -- downgrades -------------------------------------------------------------------------------------


@pytest.mark.parametrize("mechanism", PLUS + PLAIN[:3])
@pytest.mark.parametrize("version", ["1.2", "1.3"])
def test_downgrade(suite, mechanism, version):
    """What was offered (XEP-0474) and the version of TLS (XEP-0515) are part of what is proven."""
    account = suite.account()
    client = suite.connect()
    client.starttls(version=version)
    features = client.open()
    scram = client.authenticate(mechanism, name_of(account), suite.password(account))
    expected = raw.offer_hash(scram.hash, mechanisms(features), bindings(features))
    assert list(scram.fields) == ["r", "s", "i", "h", "t"]
    assert scram.fields["h"] == expected
    assert scram.fields["t"] == {"1.2": "0303", "1.3": "0304"}[version]


def test_downgrade_other_mechanisms(make_suite):
    suite = make_suite(auth={"mechanisms": ["SCRAM-SHA-1", "PLAIN"]})
    account = suite.account()
    client = suite.stream()
    scram = client.authenticate("SCRAM-SHA-1", name_of(account), suite.password(account))
    assert scram.fields["h"] == raw.offer_hash("sha1", ["PLAIN", "SCRAM-SHA-1"], bindings(client.features))


# -- mechanisms -------------------------------------------------------------------------------------


@pytest.mark.parametrize("domain", ["localhost", "example.test"])
@pytest.mark.parametrize("mechanism", PLAIN)
def test_mechanism(suite, mechanism, domain):
    account = suite.account(domain=domain)
    client = suite.login(account, "r", mechanism)
    assert client.jid == account + "/r"


@pytest.mark.parametrize("version, binding", [
    ("1.3", "tls-exporter"), ("1.3", "tls-server-end-point"),
    ("1.2", "tls-exporter"), ("1.2", "tls-unique"), ("1.2", "tls-server-end-point")])
@pytest.mark.parametrize("mechanism", PLUS)
@pytest.mark.parametrize("domain", ["localhost", "example.test"])
def test_channel_binding(suite, mechanism, version, binding, domain):
    account = suite.account(domain=domain)
    client = suite.connect()
    client.starttls(domain, version=version)
    client.open(domain)
    client.login(account, suite.password(account), "r", mechanism, binding=binding)
    client.sync()


@pytest.mark.parametrize("mechanism", PLUS)
@pytest.mark.parametrize("binding", ["tls-exporter", "tls-server-end-point"])
def test_wrong_channel_binding(suite, mechanism, binding):
    """Somebody sits in between."""
    account = suite.account()
    client = suite.stream()
    assert failure(client, mechanism, name_of(account), suite.password(account), binding=binding,
                   data=b"\1" * 32) in ("not-authorized", "malformed-request")
    client.authenticate(mechanism, name_of(account), suite.password(account), binding=binding)


@pytest.mark.parametrize("binding", ["tls-unique", "tls-foo", "tls-server-end-poin"])
def test_channel_binding_that_is_not_there(suite, binding):
    account = suite.account()
    client = suite.stream()
    assert failure(client, "SCRAM-SHA-256-PLUS", name_of(account), suite.password(account),
                   binding=binding, data=b"\0" * 12) in ("not-authorized", "malformed-request")


@pytest.mark.parametrize("mechanism", ["SCRAM-SHA-1", "SCRAM-SHA-256", "SCRAM-SHA-512"])
def test_downgrade_is_refused(suite, mechanism):
    """Flag y: the client saw no -PLUS, but it was offered (RFC 5802 section 6)."""
    account = suite.account()
    client = suite.stream()
    assert failure(client, mechanism, name_of(account), suite.password(account),
                   flag="y") in ("not-authorized", "malformed-request")


def test_flag_y_when_no_plus_is_offered(make_suite):
    suite = make_suite(auth={"mechanisms": ["SCRAM-SHA-256", "SCRAM-SHA-512"]})
    account = suite.account()
    for mechanism in ("SCRAM-SHA-256", "SCRAM-SHA-512"):
        suite.stream().authenticate(mechanism, name_of(account), suite.password(account), flag="y")


def test_plus_mechanism_without_binding_flag(suite):
    account = suite.account()
    client = suite.stream()
    scram = Scram("SCRAM-SHA-256-PLUS", name_of(account), "x", "n")
    client.auth("SCRAM-SHA-256-PLUS", scram.first())
    with pytest.raises(AuthFailed) as reason:
        client.sasl()
    assert reason.value.condition in ("malformed-request", "not-authorized")


def test_mechanism_without_plus_with_binding_flag(suite):
    account = suite.account()
    client = suite.stream()
    scram = Scram("SCRAM-SHA-256", name_of(account), "x", "tls-exporter", b"x")
    client.auth("SCRAM-SHA-256", scram.first())
    with pytest.raises(AuthFailed) as reason:
        client.sasl()
    assert reason.value.condition in ("malformed-request", "not-authorized")


@pytest.mark.parametrize("mechanism", ["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"])
def test_without_initial_response(suite, mechanism):
    """The server asks with an empty challenge (section 6.4.2, RFC 4422 section 5)."""
    account = suite.account()
    client = suite.stream()
    client.auth(mechanism)
    assert client.sasl() == ("challenge", "")
    if mechanism == "PLAIN":
        client.respond("\0%s\0%s" % (name_of(account), suite.password(account)))
        assert client.sasl()[0] == "success"
        return
    scram = Scram(mechanism, name_of(account), suite.password(account))
    client.respond(scram.first())
    client.respond(scram.final(client.sasl()[1]))
    name, rest = client.sasl()
    assert name == "success"
    scram.verify(rest)


NAMES = ["with=equals", "Ünïcode", "o'brien", "dot.ted", "very-long-" + "x" * 200]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("mechanism", ["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512-PLUS"])
def test_names(suite, name, mechanism):
    if "'" in name:  # not allowed in a localpart (RFC 7622 section 3.3.1)
        client = suite.stream()
        assert failure(client, mechanism, name, "x") in ("not-authorized", "malformed-request")
        return
    account = "%s-%s@localhost" % (name.lower(), mechanism.lower()[:12])
    account = account if account.isascii() else account.replace("Ü", "ü")
    suite.account(account.partition("@")[0], password="pass word")
    client = suite.login(account, "r", mechanism)
    assert client.jid == account + "/r"


@pytest.mark.parametrize("mechanism", PLAIN)
@pytest.mark.parametrize("password", ["sp ace", "ümläut ☃", "a,b=c", "x" * 1000, "<&'\">"])
def test_passwords(suite, mechanism, password):
    account = suite.account(password=password)
    suite.login(account, mechanism=mechanism)
    assert failure(suite.stream(), mechanism, name_of(account), password + "x") == "not-authorized"


def test_name_in_other_case(suite):
    account = suite.account()
    client = suite.stream()
    client.authenticate("SCRAM-SHA-256", name_of(account).upper(), suite.password(account))
    client.domain = "localhost"
    assert client.bind("r") == account + "/r"


def test_success_then_another_exchange_is_refused(suite):
    account = suite.account()
    client = suite.stream()
    client.authenticate("PLAIN", name_of(account), suite.password(account))
    client.open()
    client.auth("PLAIN", "\0%s\0%s" % (name_of(account), suite.password(account)))
    element = client.next()
    assert element.tag in (q("stream", "error"), q("sasl", "failure")), text(element)


# -- failures ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("mechanism", PLAIN + PLUS)
def test_wrong_password(suite, mechanism):
    account = suite.account()
    client = suite.stream()
    assert failure(client, mechanism, name_of(account), "wrong") == "not-authorized"
    client.authenticate(mechanism, name_of(account), suite.password(account))


@pytest.mark.parametrize("mechanism", ["SCRAM-SHA-512", "SCRAM-SHA-256", "SCRAM-SHA-1", "SCRAM-SHA-256-PLUS"])
def test_unknown_user_looks_like_any_other(suite, mechanism):
    """The same shape, iterations and length of salt; the salt stays the same."""
    account = suite.account()

    def challenge(user):
        client = suite.stream()
        plus = mechanism.endswith("-PLUS")
        scram = Scram(mechanism, user, "x", "tls-exporter" if plus else "n",
                      client.channel_binding("tls-exporter") if plus else b"")
        client.auth(mechanism, scram.first())
        name, message = client.sasl()
        assert name == "challenge"
        client.respond(scram.final(message))
        element = client.next()
        assert element.tag == q("sasl", "failure")
        server_nonce = re.match("r=([^,]*)", message).group(1)[len(scram.nonce):]
        shape = re.sub("(r|s)=[^,]*", lambda m: m.group(1), message), len(scram.salt), len(server_nonce)
        return shape, scram.salt, text(element)

    known, nobody, again = challenge(name_of(account)), challenge("nobody"), challenge("nobody")
    assert known[0] == nobody[0]
    assert known[2] == nobody[2]
    assert nobody[1] == again[1] != known[1]
    assert challenge("nobody2")[1] != nobody[1]
    assert challenge("NoBody")[1] == nobody[1], "a salt that depends on case tells who exists"


def test_unknown_user_with_plain(suite):
    account = suite.account()
    answers = []
    for user in (name_of(account), "nobody"):
        client = suite.stream()
        client.auth("PLAIN", "\0%s\0wrong" % user)
        answers.append(text(client.next()))
    assert answers[0] == answers[1]


def test_salt_of_the_other_domain_is_another(suite):
    salts = []
    for domain in ("localhost", "example.test"):
        client = suite.stream(domain)
        scram = Scram("SCRAM-SHA-256", "nobody", "x")
        client.auth("SCRAM-SHA-256", scram.first())
        scram.final(client.sasl()[1])
        salts.append(scram.salt)
    assert salts[0] != salts[1]


def test_account_of_the_other_domain(suite):
    account = suite.account(domain="example.test")
    client = suite.stream("localhost")
    assert failure(client, "SCRAM-SHA-256", name_of(account), suite.password(account)) == "not-authorized"


@pytest.mark.parametrize("content", ["!", "AB", "AAAA=AAA", "AGEA\nYg==", "=A==", "AA=", "&#65;B"])
def test_not_base64(suite, content):
    client = suite.stream()
    client.send("<auth xmlns='%s' mechanism='PLAIN'>%s</auth>" % (NS["sasl"], content))
    assert condition(client.next()) == "incorrect-encoding"
    client.auth("SCRAM-SHA-256", Scram("SCRAM-SHA-256", "nobody", "x").first())
    client.sasl()
    client.send("<response xmlns='%s'>%s</response>" % (NS["sasl"], content))
    assert condition(client.next()) == "incorrect-encoding"


@pytest.mark.parametrize("message", [
    b"", b"x", b"n,,", b"n,,n=,r=abc", b"n,,n=a", b"n,,r=abc", b"n,,n=a,r=", b"q,,n=a,r=abc", b"n,,m=x,n=a,r=abc",
    b"n,,n=a=4Db,r=abc", b"n,,n=\xff\xfe,r=abc", b"n,,n=a\0b,r=abc", b"n,,n=a,r=" + b"x" * 8000, b"p=,,n=a,r=abc"],
    ids=str)
@pytest.mark.parametrize("mechanism", ["SCRAM-SHA-256", "SCRAM-SHA-512"])
def test_first_message_that_is_none(suite, mechanism, message):
    client = suite.stream()
    client.auth(mechanism, message)
    with pytest.raises(AuthFailed) as reason:
        name, challenge = client.sasl()  # a name that cannot be may look like one that is not there
        assert name == "challenge"
        client.respond("c=biws,%s,p=%s" % (challenge.partition(",")[0], raw.encode64(b"x" * 32)))
        client.sasl()
    assert reason.value.condition in ("malformed-request", "not-authorized")
    account = suite.account()
    client.authenticate(mechanism, name_of(account), suite.password(account))


@pytest.mark.parametrize("message", [
    b"", b"x", b"c=biws", b"c=biws,r=other,p=AAAA", b"c=biws,r=%s", b"c=biws,r=%s,p=", b"c=biws,r=%s,p=!!!!",
    b"c=eSws,r=%s,p=AAAA", b"c=biws,r=%s,p=" + b"A" * 44, b"c=biws,r=%s,p=AAAA\0"], ids=str)
@pytest.mark.parametrize("mechanism", ["SCRAM-SHA-256", "SCRAM-SHA-512"])
def test_final_message_that_is_none(suite, mechanism, message):
    account = suite.account()
    client = suite.stream()
    client.auth(mechanism, Scram(mechanism, name_of(account), "x").first())
    nonce = re.match("r=([^,]*)", client.sasl()[1]).group(1)
    client.respond(message.replace(b"%s", nonce.encode()))
    with pytest.raises(AuthFailed) as reason:
        client.sasl()
    assert reason.value.condition in ("malformed-request", "not-authorized")
    client.authenticate(mechanism, name_of(account), suite.password(account))


@pytest.mark.parametrize("message", ["", "a", "\0a", "\0\0b", "\0a\0", "\0a\0b\0c", "a\0b"])
def test_plain_message_that_is_none(suite, message):
    client = suite.stream()
    client.auth("PLAIN", message)
    with pytest.raises(AuthFailed) as reason:
        client.sasl()
    assert reason.value.condition in ("malformed-request", "not-authorized", "invalid-authzid")


def test_abort(suite):
    account = suite.account()
    client = suite.stream()
    client.auth("SCRAM-SHA-256", Scram("SCRAM-SHA-256", name_of(account), "x").first())
    assert client.sasl()[0] == "challenge"
    client.send("<abort xmlns='%s'/>" % NS["sasl"])
    assert condition(client.next()) == "aborted"
    client.authenticate("SCRAM-SHA-256", name_of(account), suite.password(account))


def test_response_that_nobody_asked_for(suite):
    client = suite.stream()
    client.respond("hello")
    assert condition(client.next()) == "malformed-request"


@pytest.mark.parametrize("mechanism", ["X-NONE", "", "EXTERNAL", "scram-sha-256", "DIGEST-MD5", "ANONYMOUS"])
def test_unknown_mechanism(suite, mechanism):
    client = suite.stream()
    client.auth(mechanism, "x")
    assert condition(client.next()) == "invalid-mechanism"


def test_auth_without_mechanism(suite):
    client = suite.stream()
    client.send("<auth xmlns='%s'/>" % NS["sasl"])
    assert condition(client.next()) in ("invalid-mechanism", "malformed-request")


def test_second_auth_in_an_exchange(suite):
    account = suite.account()
    client = suite.stream()
    client.auth("SCRAM-SHA-256", Scram("SCRAM-SHA-256", name_of(account), "x").first())
    assert client.sasl()[0] == "challenge"
    client.auth("PLAIN", "\0%s\0%s" % (name_of(account), suite.password(account)))
    assert condition(client.next()) in ("malformed-request", "aborted")


@pytest.mark.parametrize("attempts", [1, 3])
def test_too_many_attempts(make_suite, attempts):
    suite = make_suite(c2s={"login-attempts": attempts}, auth={"failures-account": 1000})
    account = suite.account()
    client = suite.stream()
    for _ in range(attempts):
        assert failure(client, "SCRAM-SHA-256", name_of(account), "wrong") == "not-authorized"
    assert client.stream_error() == "policy-violation"
    suite.login(account)


def test_plain_before_tls(suite):
    account = suite.account()
    client = suite.connect()
    client.open()
    client.auth("PLAIN", "\0%s\0%s" % (name_of(account), suite.password(account)))
    element = client.next()
    assert condition(element) in ("encryption-required", "policy-violation", "not-authorized"), text(element)
    assert not suite.sessions(account)


# -- authorization identity -------------------------------------------------------------------------


@pytest.mark.parametrize("mechanism", ["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"])
def test_authzid(suite, mechanism):
    account, other = suite.accounts(2)
    client = suite.stream()
    for wrong in (other, "nobody@example.test", "@", account + "/r"):
        if wrong == "@":
            client = suite.stream()
        assert failure(client, mechanism, name_of(account), suite.password(account),
                       authzid=wrong) in ("invalid-authzid", "not-authorized", "malformed-request")
    suite.stream().authenticate(mechanism, name_of(account), suite.password(account), authzid=account)


# -- throttling -------------------------------------------------------------------------------------


def fail_once(suite, name, source="127.0.0.1"):
    began = time.monotonic()
    assert failure(suite.stream(source=source), "SCRAM-SHA-256", name, "wrong") == "not-authorized"
    return time.monotonic() - began


def test_account_is_slowed_not_locked(make_suite):
    """After so many failures attempts take their time; the right password works, from anywhere."""
    suite = make_suite(auth={"failures-account": 2, "failures-time": 60})
    account = suite.account()
    other = suite.account()
    name = name_of(account)
    times = [fail_once(suite, name, "127.0.0.%d" % (2 + i)) for i in range(5)]
    assert times[4] > times[0] + 0.5, times
    began = time.monotonic()
    suite.login(other)
    assert time.monotonic() - began < 1.0 * SLOW
    suite.login(account, source="127.0.0.99").sync()
    assert suite.counter("authd", "logins_slowed") >= 2


def test_address_is_slowed(make_suite):
    """Attempts on many accounts from one address; a clean address is not slowed."""
    suite = make_suite(auth={"failures-address": 3, "failures-account": 1000, "failures-time": 60})
    account = suite.account()
    times = [fail_once(suite, "nobody%d" % i) for i in range(6)]
    assert times[5] > times[0] + 0.5, times
    began = time.monotonic()
    suite.login(account, source="127.0.0.99").sync()
    assert time.monotonic() - began < 1.0 * SLOW


def test_failures_are_forgotten(make_suite):
    suite = make_suite(auth={"failures-account": 2, "failures-time": 1})
    name = name_of(suite.account())
    for _ in range(4):
        fail_once(suite, name)
    time.sleep(1.5)
    assert fail_once(suite, name) < 0.25 * SLOW


def test_success_does_not_count(make_suite):
    suite = make_suite(auth={"failures-account": 3})
    account = suite.account()
    for _ in range(8):
        suite.login(account).end()
    assert suite.counter("authd", "logins_slowed") == 0


# -- in-band registration (XEP-0077) ----------------------------------------------------------------


def form(name=None, password=None):
    fields = "".join("<%s>%s</%s>" % (k, escape(v), k)
                     for k, v in (("username", name), ("password", password)) if v is not None)
    return "<query xmlns='%s'>%s</query>" % (NS["register"], fields)


def test_registration_off(suite):
    client = suite.stream("localhost")
    assert client.features.find(q("register-feature", "register")) is None
    client.send("<iq type='set' id='r'>%s</iq>" % form("mallory", "secret"))
    element = client.next()
    assert element.tag == q("stream", "error") or element.get("type") == "error", text(element)
    with pytest.raises(CommandFailed):
        suite.ctl("user", "del", "mallory@localhost")


def test_registration(suite):
    client = suite.stream("example.test")
    assert client.features.find(q("register-feature", "register")) is not None
    fields = client.iq("get", form())
    query = fields.find(q("register", "query"))
    assert query.find(q("register", "username")) is not None
    assert query.find(q("register", "password")) is not None
    answer = client.iq("set", form("New.Comer", "pass word"))
    assert answer.get("type") == "result", text(answer)
    client.login("new.comer@example.test", "pass word", "r")
    client.sync()


@pytest.mark.parametrize("name, password, expected", [
    ("taken", "x", "conflict"), ("TAKEN", "x", "conflict"), (None, "x", "not-acceptable"),
    ("somebody", None, "not-acceptable"), ("", "x", "not-acceptable"), ("some body", "x", "not-acceptable"),
    ("a@b", "x", "not-acceptable"), ("x" * 1024, "x", "not-acceptable"), ("somebody", "", "not-acceptable")])
def test_registration_refused(suite, name, password, expected):
    try:
        suite.account("taken", domain="example.test")
    except CommandFailed:
        pass
    client = suite.stream("example.test")
    answer = client.iq("set", form(name, password))
    assert answer.get("type") == "error" and condition(answer) == expected, text(answer)


def test_registration_before_tls(suite):
    client = suite.connect()
    client.open("example.test")
    client.send("<iq type='get' id='r'>%s</iq>" % form())
    assert client.stream_error() == "not-authorized"


def test_too_many_registration_requests(suite):
    client = suite.stream("example.test")
    with pytest.raises(Closed):
        for _ in range(100):
            client.iq("get", form())
    assert [e for e in client.elements if e.tag == q("stream", "error")] or client.eof


@pytest.mark.parametrize("domain", ["localhost", "example.test"])
@pytest.mark.parametrize("to", ["domain", None])
def test_password_change(suite, domain, to):
    account = suite.account(domain=domain)
    client = suite.login(account)
    answer = client.iq("set", form(name_of(account), "new secret"), to=domain if to else None)
    assert answer.get("type") == "result", text(answer)
    for mechanism in ("PLAIN", "SCRAM-SHA-1", "SCRAM-SHA-256", "SCRAM-SHA-512"):
        suite.login(account, password="new secret", mechanism=mechanism).sync()
    assert failure(suite.stream(domain), "SCRAM-SHA-256", name_of(account),
                   suite.password(account)) == "not-authorized"
    client.sync()


def test_password_change_for_another(suite):
    account, other = suite.accounts(2)
    client = suite.login(account)
    for to in ("localhost", None, other):
        answer = client.iq("set", form(name_of(other), "stolen"), to=to)
        assert answer.get("type") == "error", text(answer)
    suite.login(other)


def test_cancellation(suite):
    account = suite.account(domain="example.test")
    client = suite.login(account)
    answer = client.iq("set", "<query xmlns='%s'><remove/></query>" % NS["register"])
    assert answer.get("type") == "result", text(answer)
    assert client.stream_error() == "not-authorized"
    assert failure(suite.stream("example.test"), "SCRAM-SHA-256", name_of(account),
                   suite.password(account)) == "not-authorized"


# -- accounts change meanwhile ----------------------------------------------------------------------


def test_deleted_account(suite):
    account = suite.account()
    client = suite.login(account)
    suite.ctl("user", "del", account)
    assert client.stream_error() in ("not-authorized", "policy-violation")
    assert failure(suite.stream(), "SCRAM-SHA-256", name_of(account),
                   suite.password(account)) == "not-authorized"


def test_deleted_between_login_and_bind(suite):
    account = suite.account()
    client = suite.stream()
    client.authenticate("SCRAM-SHA-256", name_of(account), suite.password(account))
    suite.ctl("user", "del", account)
    client.domain = "localhost"
    with pytest.raises((AssertionError, Closed)):
        client.bind("r")


def test_exchange_cut_off(suite):
    """Streams that end in mid-exchange leave nothing behind."""
    account = suite.account()
    for _ in range(10):
        client = suite.stream()
        client.auth("SCRAM-SHA-256", Scram("SCRAM-SHA-256", name_of(account), "x").first())
        client.close()
    suite.login(account)
