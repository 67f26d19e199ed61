"""Tasks that give an account the keys of a newer mechanism: XEP-0480."""

import hashlib

import pytest

from raw import NS, AuthFailed, Scram, decode64, encode64, local, q, text

OLD = ["SCRAM-SHA-1-PLUS", "SCRAM-SHA-1"]
ALL = ["SCRAM-SHA-512", "SCRAM-SHA-256", "SCRAM-SHA-1-PLUS", "SCRAM-SHA-1", "PLAIN"]
T512, T256 = "UPGR-SCRAM-SHA-512", "UPGR-SCRAM-SHA-256"
WISH = "<upgrade xmlns='urn:xmpp:sasl:upgrade:0'>%s</upgrade>"
WANTED = WISH % T256 + WISH % T512


def name_of(jid):
    return jid.partition("@")[0]


@pytest.fixture
def old(make_suite):
    """A suite whose accounts were made when there was SCRAM-SHA-1 alone."""
    suite = make_suite(auth={"mechanisms": OLD})
    suite.made = [suite.account() for _ in range(2)]
    suite.options["auth"]["mechanisms"] = ALL
    suite.write_config()
    suite.ctl("reload")
    suite.killed["authd"] = suite.killed.get("authd", 0) + 1  # it starts again for other mechanisms
    return suite


def element(client, seconds=None):
    return client.sasl2(seconds)


def prove(client, account, password, inline=WANTED, mechanism="SCRAM-SHA-1", user=None):
    """Up to what comes after the proof, which has been checked."""
    scram = Scram(mechanism, user or name_of(account), password)
    client.start2(mechanism, scram.first(), inline)
    client.respond2(scram.final(decode64(client.sasl2().text).decode()))
    answer = client.sasl2()
    scram.verify(decode64(answer.findtext(q("sasl2", "additional-data"))).decode())
    return answer


def begin(client, name):
    client.send("<next xmlns='%s' task='%s'/>" % (NS["sasl2"], name))


def answer(client, salted):
    client.send("<task-data xmlns='%s'><hash xmlns='urn:xmpp:scram-upgrade:0'>%s</hash></task-data>" % (
        NS["sasl2"], encode64(salted)))


def salted_of(data, digest, password):
    salt = data.find("{urn:xmpp:scram-upgrade:0}salt")
    assert local(data) == "task-data" and salt is not None, text(data)
    assert int(salt.get("iterations")) == 4096
    return hashlib.pbkdf2_hmac(digest, password.encode(), decode64(salt.text), 4096)


def tasks(reply):
    assert local(reply) == "continue", text(reply)
    return [t.text for t in reply.iter(q("sasl2", "task"))]


def refused(client):
    with pytest.raises(AuthFailed) as reason:
        client.sasl2()
    return reason.value.condition


def works(suite, account, mechanism):
    client = suite.stream()
    try:
        client.authenticate2(mechanism, name_of(account), suite.password(account))
    except AuthFailed as failed:
        assert failed.condition == "invalid-mechanism"
        return False
    return True


def test_feature(suite):
    offer = suite.stream().features.find(q("sasl2", "authentication"))
    assert [u.text for u in offer.findall("{urn:xmpp:sasl:upgrade:0}upgrade")] == [T512, T256]


def test_both(old):
    account = old.made[0]
    password = old.password(account)
    assert not works(old, account, "SCRAM-SHA-256")
    client = old.stream()
    assert tasks(prove(client, account, password)) == [T512]
    begin(client, T512)
    answer(client, salted_of(client.sasl2(), "sha512", password))
    following = client.sasl2()
    assert following.find(q("sasl2", "additional-data")) is None
    assert tasks(following) == [T256]
    begin(client, T256)
    answer(client, salted_of(client.sasl2(), "sha256", password))
    success = client.sasl2()
    assert local(success) == "success"
    assert success.findtext(q("sasl2", "authorization-identifier")) == account
    old.kill("authd")
    for mechanism in ALL:
        assert works(old, account, mechanism)
    # Nothing is left to do.
    assert local(prove(old.stream(), account, password)) == "success"


def test_one_with_bind(old):
    """Only what was asked for; what else was wished for comes afterwards."""
    account = old.made[0]
    password = old.password(account)
    client = old.stream()
    reply = prove(client, account, password, WISH % "UPGR-BLOOP" + WISH % T256 +
                  "<bind xmlns='urn:xmpp:bind:0'/>")
    assert tasks(reply) == [T256]
    begin(client, T256)
    answer(client, salted_of(client.sasl2(), "sha256", password))
    success = client.sasl2()
    assert success.find(q("bind2", "bound")) is not None
    assert works(old, account, "SCRAM-SHA-256")
    assert not works(old, account, "SCRAM-SHA-512")


def test_plain(old):
    """The server has the password then, and needs no help."""
    account = old.made[0]
    assert works(old, account, "PLAIN")
    for mechanism in ALL:
        assert works(old, account, mechanism)


def test_older_client(old):
    """One that asks for nothing, and one of the older profile, log in as ever."""
    account = old.made[0]
    assert works(old, account, "SCRAM-SHA-1")
    client = old.stream()
    client.authenticate("SCRAM-SHA-1-PLUS", name_of(account), old.password(account))
    client.domain = "localhost"
    assert client.bind()
    client = old.stream()
    with pytest.raises(AuthFailed) as reason:
        client.authenticate("SCRAM-SHA-512", name_of(account), old.password(account))
    assert reason.value.condition == "invalid-mechanism"


def test_not_without_proof(old):
    account = old.made[0]
    client = old.stream()
    scram = Scram("SCRAM-SHA-1", name_of(account), "wrong")
    client.start2("SCRAM-SHA-1", scram.first(), WANTED)
    challenge = client.sasl2()
    begin(client, T256)
    assert refused(client) == "malformed-request"
    client.start2("SCRAM-SHA-1", scram.first(), WANTED)
    client.respond2(scram.final(decode64(client.sasl2().text).decode()))
    assert refused(client) == "not-authorized"


@pytest.mark.parametrize("sent", [
    "<next xmlns='urn:xmpp:sasl:2' task='UPGR-SCRAM-SHA-256'/>",
    "<next xmlns='urn:xmpp:sasl:2' task='SCRAM-SHA-512'/>",
    "<next xmlns='urn:xmpp:sasl:2'/>",
    "<task-data xmlns='urn:xmpp:sasl:2'><hash xmlns='urn:xmpp:scram-upgrade:0'>AAAA</hash></task-data>",
    "<response xmlns='urn:xmpp:sasl:2'>AAAA</response>",
])
def test_confused(old, sent):
    """When the first task was offered."""
    account = old.made[0]
    client = old.stream()
    prove(client, account, old.password(account))
    client.send(sent)
    assert refused(client) == "malformed-request"
    assert not works(old, account, "SCRAM-SHA-512")


@pytest.mark.parametrize("content", [
    "", "<hash xmlns='urn:xmpp:scram-upgrade:0'/>", "<hash xmlns='urn:xmpp:scram-upgrade:0'>AAA</hash>",
    "<hash xmlns='urn:x'>AAAA</hash>", "<hash xmlns='urn:xmpp:scram-upgrade:0'>AAAA</hash>",
    "<hash xmlns='urn:xmpp:scram-upgrade:0'>%s</hash>" % encode64(bytes(63)),
    "<hash xmlns='urn:xmpp:scram-upgrade:0'>%s</hash>" % encode64(bytes(65)),
])
def test_wrong_data(old, content):
    account = old.made[0]
    client = old.stream()
    prove(client, account, old.password(account))
    begin(client, T512)
    client.sasl2()
    client.send("<task-data xmlns='urn:xmpp:sasl:2'>%s</task-data>" % content)
    assert refused(client) == "malformed-request"
    assert not works(old, account, "SCRAM-SHA-512")
    client.authenticate2("SCRAM-SHA-1", name_of(account), old.password(account))


def test_abort(old):
    account = old.made[0]
    client = old.stream()
    prove(client, account, old.password(account))
    client.send("<abort xmlns='urn:xmpp:sasl:2'/>")
    assert refused(client) == "aborted"


def test_password_changed_meanwhile(old):
    """Keys of the old password are not added to those of the new one."""
    account = old.made[0]
    password = old.password(account)
    client = old.stream()
    prove(client, account, password)
    begin(client, T512)
    data = client.sasl2()
    old.ctl("user", "passwd", account, input="new one\n")
    answer(client, salted_of(data, "sha512", password))
    assert refused(client) == "temporary-auth-failure"
    client = old.stream()
    with pytest.raises(AuthFailed):
        client.authenticate2("SCRAM-SHA-512", name_of(account), password)
    client.authenticate2("SCRAM-SHA-512", name_of(account), "new one")


def test_authd_dies(old):
    account = old.made[0]
    client = old.stream()
    prove(client, account, old.password(account))
    old.kill("authd")
    begin(client, T512)
    assert refused(client) == "temporary-auth-failure"
