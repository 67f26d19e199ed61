"""What must not be in the memory of a process: keys, verifiers and passwords (DESIGN promise 3).

Everything is searched for with the same needles in authd, where it must be found: a search that finds
nothing anywhere proves nothing.
"""

import hashlib
import hmac
import os

import pytest

from memory import Needles, pieces, readable
from raw import NS, AuthFailed, Closed, encode64, text
from suite import KEYS, SANITIZED, Suite, make_certificate, session_processes, wait_until

DOMAINS = {"%s.test" % kind: {"kind": kind, "registration": "yes"} for kind in KEYS}
ADMIN = "admin@ec.test"
SCRAM = ["SCRAM-SHA-1", "SCRAM-SHA-256", "SCRAM-SHA-512"]
HASHES = {"SCRAM-SHA-1": "sha1", "SCRAM-SHA-256": "sha256", "SCRAM-SHA-512": "sha512"}
VALUE_VERSION = b"\1"  # of common/value.c


@pytest.fixture(scope="module")
def secrets(programs):
    if SANITIZED:
        pytest.skip("the sanitizer keeps what was freed, and its own copies")
    with Suite(domains=DOMAINS, top={"admins": [ADMIN]}) as suite:
        reason = readable(suite.pid("c2sd.0"))
        if reason:
            pytest.skip(reason)
        yield suite


def others(suite):
    """Pids of all processes but authd and the supervisor, by name; the log role too."""
    found = {name: p["pid"] for name, p in suite.status().items()}
    known = set(found.values()) | {suite.process.pid}
    for pid in session_processes(suite.process.pid):
        if pid not in known:
            found["log role %d" % pid] = pid
    del found["authd"]
    return found


def nowhere(suite, needles, *except_for):
    """Asserts that no process but authd and the supervisor has any of them."""
    places = {name: needles.find(pid) for name, pid in others(suite).items() if name not in except_for}
    assert not any(places.values()), {name: found for name, found in places.items() if found}


def client_of(suite, kind, version="1.3"):
    domain = kind + ".test"
    client = suite.connect()
    client.starttls(domain, version=version)
    client.open(domain)
    return client


def stored_secret(suite, name):
    """A secret of authd's store: the bytes that follow its name in the file."""
    data = (suite.directory / "state/authd/data.mdb").read_bytes()
    at = data.index(name.encode() + VALUE_VERSION) + len(name) + 1
    return data[at:at + 32]


# -- keys -------------------------------------------------------------------------------------------


def test_private_keys(secrets):
    """After handshakes of both versions with each, over all c2sd."""
    for kind in KEYS:
        for version in ("1.2", "1.3"):
            for _ in range(4):
                client_of(secrets, kind, version).end()
    by_kind = {}
    everything = Needles()
    for kind in KEYS:
        by_kind[kind] = Needles()
        for needles in (by_kind[kind], everything):
            needles.key(kind, make_certificate(kind + ".test", kind)[1])
    nowhere(secrets, everything)
    for kind, needles in by_kind.items():
        found = needles.names(secrets.pid("authd"))
        numbers = {name for name in found if not name.startswith(("PEM", "slice"))}
        assert numbers, "authd: the search does not find a key of kind %s: %s" % (kind, found)


def test_no_key_reaches_other_processes_again(secrets):
    """Restarted processes get their slices anew; so does authd, which is given the keys again."""
    needles = Needles()
    needles.key("ec", make_certificate("ec.test", "ec")[1])
    for name in ("c2sd.0", "archived", "authd"):
        secrets.kill(name)
    client_of(secrets, "ec").end()
    nowhere(secrets, needles)
    assert needles.find(secrets.pid("authd"))


# -- verifiers --------------------------------------------------------------------------------------


def verifier_needles(name, password, mechanism, salt, iterations):
    """Needles of what a password is stored as, and of what makes it."""
    digest = HASHES[mechanism]
    salted = hashlib.pbkdf2_hmac(digest, password.encode(), salt, iterations)
    client_key = hmac.new(salted, b"Client Key", digest).digest()
    server_key = hmac.new(salted, b"Server Key", digest).digest()
    needles = {"SaltedPassword": salted, "ClientKey": client_key, "ServerKey": server_key,
               "StoredKey": hashlib.new(digest, client_key).digest()}
    return {"%s %s of %s" % (mechanism, what, name): data for what, data in needles.items()}


def test_verifiers(secrets):
    """After logins with each mechanism, one that fails, and one that is given up."""
    jid = secrets.account(domain="ec.test", password="verified " + os.urandom(6).hex())
    user = jid.partition("@")[0]
    needles, stored = Needles(), Needles()
    for mechanism in SCRAM:
        for plus in ("", "-PLUS"):
            for _ in range(3):
                client = client_of(secrets, "ec")
                scram = client.authenticate(mechanism + plus, user, secrets.password(jid))
        for name, data in verifier_needles(jid, secrets.password(jid), mechanism, scram.salt,
                                           scram.iterations).items():
            needles.secret(name, data)
            if "StoredKey" in name or "ServerKey" in name:
                stored.add(name, data)
    client = client_of(secrets, "ec")
    with pytest.raises(AuthFailed):
        client.authenticate("SCRAM-SHA-256", user, "wrong")
    client.auth("SCRAM-SHA-256", "n,,n=%s,r=abcdefgh" % user)
    assert client.sasl()[0] == "challenge"
    client.close()
    client_of(secrets, "ec").authenticate("PLAIN", user, secrets.password(jid))
    nowhere(secrets, needles)
    assert stored.names(secrets.pid("authd")) == set(stored.named.values())
    # Out into a file, and back out of it: by way of the router.
    path = str(secrets.directory / "account.xml")
    for _ in range(3):
        secrets.ctl("account", "export", path, jid)
        secrets.ctl("account", "import", path, "--replace")
    nowhere(secrets, needles)
    client_of(secrets, "ec").authenticate("SCRAM-SHA-256", user, secrets.password(jid))


def test_secrets_of_authd(secrets):
    """The router has the key of the grants, and nobody else; what hides accounts is authd's alone."""
    client_of(secrets, "ec").end()
    grant, salt = Needles(), Needles()
    grant.secret("grant key", stored_secret(secrets, "grant-key"))
    salt.secret("key of false salts", stored_secret(secrets, "false-salt-key"))
    nowhere(secrets, grant, "router")
    nowhere(secrets, salt)
    assert "grant key" in grant.names(secrets.pid("router"))
    assert "grant key" in grant.names(secrets.pid("authd"))
    assert "key of false salts" in salt.names(secrets.pid("authd"))


# -- passwords --------------------------------------------------------------------------------------


def fresh(name):
    """A password that no other test has, and the needles for it: all of it, and its parts."""
    password = "%s %s" % (name, os.urandom(60).hex())
    needles = Needles()
    needles.secret(name, password.encode())
    for piece in pieces(password.encode(), 24):
        needles.add("part of " + name, piece)
    return password, needles


def send_bytes(client, data):
    """Sends each byte in a TLS record of its own."""
    for at in range(len(data)):
        client.send(data[at:at + 1])


def all_closed(suite):
    for client in suite.clients:
        client.close()
    suite.clients.clear()
    wait_until(lambda: sum(suite.counter("c2sd.%d" % i, "connections") for i in range(2)) == 0)


@pytest.mark.parametrize("version", ["1.2", "1.3"])
@pytest.mark.parametrize("way", ["initial response", "response", "byte by byte", "SASL2"])
def test_plain_password(secrets, version, way):
    """Right and wrong ones; while the connections are there and when they have gone."""
    (right, needles), (wrong, wrong_needles) = fresh("right"), fresh("wrong")
    needles.named.update(wrong_needles.named)
    jid = secrets.account(domain="ec.test", password=right)
    for password in (right, wrong) * 3:
        client = client_of(secrets, "ec", version)
        message = "\0%s\0%s" % (jid.partition("@")[0], password)
        if way == "initial response":
            client.auth("PLAIN", message)
        elif way == "byte by byte":
            send_bytes(client, "<auth xmlns='%s' mechanism='PLAIN'>%s</auth>" % (NS["sasl"], encode64(message)))
        elif way == "SASL2":
            client.start2("PLAIN", message)
        else:
            client.auth("PLAIN")
            assert client.sasl() == ("challenge", "")
            client.respond(message)
        answer = client.sasl2 if way == "SASL2" else client.sasl
        if password is right:
            answer()
        else:
            with pytest.raises(AuthFailed):
                answer()
    nowhere(secrets, needles)
    all_closed(secrets)
    nowhere(secrets, needles)


def test_password_that_is_not_taken(secrets):
    """What is malformed, given up, or comes while authd is away."""
    password, needles = fresh("password")
    message = encode64("\0nobody\0" + password)
    auth = "<auth xmlns='%s' mechanism='PLAIN'>%s" % (NS["sasl"], message)
    for ending in ("", "*</auth>", "</auth></auth>", "<x/></auth>", "<![CDATA[", "]]></auth>"):
        client = client_of(secrets, "ec")
        client.send(auth + ending)
        if ending:
            try:
                client.sasl()
            except (AuthFailed, AssertionError, Closed, TimeoutError):
                pass
    all_closed(secrets)
    nowhere(secrets, needles)
    client = client_of(secrets, "ec")
    secrets.kill("authd", wait=False)
    client.send(auth + "</auth>")
    with pytest.raises(AuthFailed):
        client.sasl(20)
    nowhere(secrets, needles)


@pytest.mark.parametrize("bytewise", [False, True])
def test_registered_password(secrets, bytewise):
    """Registration and a change of password (XEP-0077) carry one too."""
    (first, needles), (second, second_needles) = fresh("first"), fresh("second")
    needles.named.update(second_needles.named)
    client = client_of(secrets, "ec")
    user = "new" + os.urandom(4).hex()
    query = "<query xmlns='jabber:iq:register'><username>%s</username><password>%s</password></query>"
    send = (lambda data: send_bytes(client, data)) if bytewise else client.send
    for password in (first, second):
        send("<iq type='set' id='reg-%s'>%s</iq>" % (password[:5], query % (user, password)))
        answer = client.wait(lambda e: e.get("id") == "reg-" + password[:5], 20)
        assert answer.get("type") == "result", text(answer)
        if password is first:
            client.domain = "ec.test"
            client.login(user + "@ec.test", first)
    client.sync()
    nowhere(secrets, needles)
    client_of(secrets, "ec").authenticate("PLAIN", user, second)


@pytest.mark.parametrize("node", ["http://jabber.org/protocol/admin#add-user", "urn:x-aldis:command#user-add"])
@pytest.mark.parametrize("bytewise", [False, True])
def test_password_of_an_adhoc_command(secrets, node, bytewise):
    """An administrator's client sends one in a form (XEP-0133)."""
    if ADMIN not in secrets.passwords:
        secrets.account("admin", domain="ec.test")
    password, needles = fresh("password")
    client = client_of(secrets, "ec")
    client.domain = "ec.test"
    client.login(ADMIN, secrets.password(ADMIN))
    user = "new" + os.urandom(4).hex()
    fields = "".join("<field var='%s'><value>%s</value></field>" % pair for pair in (
        ("accountjid", user + "@ec.test"), ("jid", user + "@ec.test"), ("password", password),
        ("password-verify", password)))
    send = (lambda data: send_bytes(client, data)) if bytewise else client.send
    send("<iq type='set' id='add' to='ec.test'><command xmlns='http://jabber.org/protocol/commands' node='%s'>"
         "<x xmlns='jabber:x:data' type='submit'>%s</x></command></iq>" % (node, fields))
    answer = client.wait(lambda e: e.get("id") == "add", 20)
    assert answer.find(".//{http://jabber.org/protocol/commands}note").text == "Done", text(answer)
    client.sync()
    nowhere(secrets, needles)
    client_of(secrets, "ec").authenticate("PLAIN", user, password)


def test_password_of_aldisctl(secrets):
    password, needles = fresh("password")
    jid = secrets.account(domain="ec.test")
    secrets.ctl("user", "passwd", jid, input=password + "\n")
    nowhere(secrets, needles)
    client_of(secrets, "ec").authenticate("SCRAM-SHA-256", jid.partition("@")[0], password)
