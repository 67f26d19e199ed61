"""test_reload.py: a new configuration for a running suite. What clients hold stays open when certificates,
limits or domains change; what has changed holds for those who come after."""

import hashlib
import socket
import ssl
import threading
import time

import pytest

import raw
from raw import body
from suite import DOMAINS, CommandFailed, make_certificate, wait_until


def pids(suite):
    return {name: process["pid"] for name, process in suite.status().items()}


def reload(suite, restarted=()):
    """Has the suite read its file again; only these processes are to be others afterwards."""
    before = pids(suite)
    for name in restarted:
        suite.killed[name] = suite.killed.get(name, 0) + 1
    suite.write_config()
    suite.ctl("reload", seconds=60)
    after = pids(suite)
    assert {name for name in before if before[name] != after[name]} == set(restarted)
    assert all(process["state"] == "running" for process in suite.status().values())


def fingerprint(suite, domain="localhost"):
    """Of the certificate that a new connection sees."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.set_alpn_protocols(["xmpp-client"])
    with socket.create_connection(("127.0.0.1", suite.tls_port), 10) as s:
        with context.wrap_socket(s, server_hostname=domain) as tls:
            return hashlib.sha256(tls.getpeercert(True)).hexdigest()


def of_file(certificate):
    return hashlib.sha256(ssl.PEM_cert_to_DER_cert(open(certificate).read())).hexdigest()


@pytest.fixture
def chat(make_suite):
    """A suite in which two people, each at one c2sd, chat; talk() asserts that they still do."""
    suite = make_suite()
    juliet, romeo = suite.accounts(2)
    there = suite.login(romeo, available=0, worker=0)
    here = suite.login(juliet, available=0, worker=1)
    count = 0

    def talk():
        nonlocal count
        for sender, receiver, to in ((here, there, romeo), (there, here, juliet)):
            count += 1
            sender.say(to, "message %d" % count)
            assert body(receiver.message()) == "message %d" % count

    suite.talk = talk
    suite.here, suite.there = here, there
    talk()
    return suite


def test_nothing_has_changed(chat):
    reload(chat)
    chat.talk()


@pytest.mark.parametrize("kind", ("ec", "rsa"))
def test_certificate(chat, kind):
    """A new certificate with a new key: who is there stays, who comes sees it."""
    old = fingerprint(chat)
    chat.domains = {**DOMAINS, "localhost": {"kind": "renewed " + kind}}
    certificate, _ = make_certificate("localhost", "renewed " + kind)
    reload(chat)
    chat.talk()
    assert fingerprint(chat) == of_file(certificate) != old
    assert fingerprint(chat, "example.test") != of_file(certificate)
    # Also with channel binding to the certificate, and again after c2sd and authd have died.
    chat.login(chat.account(), mechanism="SCRAM-SHA-256-PLUS").end()
    for name in ("authd", "c2sd.0", "c2sd.1"):
        if not name.startswith("c2sd"):
            chat.kill(name)
            chat.talk()
        chat.login(chat.account()).end()
    assert fingerprint(chat) == of_file(certificate)


def test_certificate_while_many_log_in(chat):
    """No handshake fails because of a reload."""
    accounts = chat.accounts(4)
    failures, done, stop = [], [0], threading.Event()

    def again_and_again(jid):
        while not stop.is_set():
            try:
                client = raw.Client("127.0.0.1", chat.port, timeout=30)
                client.starttls("localhost")
                client.open("localhost")
                client.login(jid, chat.password(jid), None, "SCRAM-SHA-256")
                client.close()
                done[0] += 1
            except Exception as problem:  # any is a failure of the test
                failures.append(repr(problem))

    threads = [threading.Thread(target=again_and_again, args=(jid,)) for jid in accounts]
    for thread in threads:
        thread.start()
    try:
        for turn in range(6):
            chat.domains = {**DOMAINS, "localhost": {"kind": "turn%d %s" % (turn, ("ec", "rsa")[turn % 2])}}
            reload(chat)
            chat.talk()
            seen = done[0]
            wait_until(lambda: done[0] > seen + 8 or failures, 30)
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    assert not failures
    assert "key use refused" not in chat.log_text()


def test_session_is_not_resumed_over_a_change(chat):
    """TLS tickets end with the certificate that they were made for."""
    context = ssl.create_default_context(cafile=str(chat.ca))
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["xmpp-client"])

    def ticket():
        with socket.create_connection(("127.0.0.1", chat.tls_port), 10) as s:
            with context.wrap_socket(s, server_hostname="localhost") as tls:
                return tls.session

    def reused(session):
        for _ in range(20):
            with socket.create_connection(("127.0.0.1", chat.tls_port), 10) as s:
                with context.wrap_socket(s, server_hostname="localhost", session=session) as tls:
                    if tls.session_reused:
                        return True
        return False

    session = ticket()
    assert reused(session)
    chat.domains = {**DOMAINS, "localhost": {"kind": "renewed ec"}}
    reload(chat)
    context.load_verify_locations(str(chat.ca))
    assert not reused(session)
    assert reused(ticket())


def test_limits(chat):
    chat.options["c2s"].update({"stanza-size": "16K", "login-time": 2, "resume-time": 77, "idle-time": 1000})
    reload(chat)
    chat.talk()
    client = chat.login(chat.account())
    client.send("<message to='nobody@localhost'><body>%s</body></message>" % ("x" * 20000))
    assert client.stream_error() == "policy-violation"
    # Also for a stream that was there before.
    chat.here.send("<message to='nobody@localhost'><body>%s</body></message>" % ("x" * 20000))
    assert chat.here.stream_error() == "policy-violation"
    slow = chat.stream()
    assert slow.stream_error(seconds=10) == "connection-timeout"
    # And back again.
    chat.options["c2s"].update({"stanza-size": "256K", "login-time": 60})
    reload(chat)
    client = chat.login(chat.account(), available=0)
    client.say(client.jid, "x" * 20000)
    assert len(body(client.message())) == 20000


def test_connections(chat):
    """A limit below what is open refuses those who come, and lets them in when it is raised."""
    chat.options["c2s"].update({"connections-per-address": 1})
    reload(chat)
    chat.talk()
    with pytest.raises((raw.Closed, OSError)):
        for _ in range(20):
            chat.stream()
    chat.options["c2s"].update({"connections-per-address": 1000})
    reload(chat)
    chat.stream()


def test_tls_priority(chat):
    chat.options["c2s"].update(
        {"tls-priority": "NORMAL:-VERS-ALL:+VERS-TLS1.2:-RSA:%SERVER_PRECEDENCE"})
    reload(chat)
    chat.talk()
    context = chat.tls_context()
    context.set_alpn_protocols(["xmpp-client"])
    with socket.create_connection(("127.0.0.1", chat.tls_port), 10) as s:
        with context.wrap_socket(s, server_hostname="localhost") as tls:
            assert tls.version() == "TLSv1.2"


def test_domain_comes_and_goes(chat):
    """A new domain can be used at once; the sessions of one that goes are told so, and only they."""
    chat.domains = {**DOMAINS, "new.example": {}}
    reload(chat, ("authd",))
    chat.talk()
    mercutio = chat.account(domain="new.example")
    guest = chat.login(mercutio, available=0)
    guest.say(chat.here.jid.partition("/")[0], "from afar")
    assert body(chat.here.message()) == "from afar"
    assert guest.iq("get", "<query xmlns='http://jabber.org/protocol/disco#info'/>", to="new.example")
    asleep = chat.login(mercutio)
    asleep.enable(resume=True)
    asleep.abort()
    chat.domains = DOMAINS
    reload(chat, ("authd",))
    assert guest.stream_error() == "host-gone"
    wait_until(lambda: not chat.sessions(mercutio))
    chat.talk()
    late = chat.connect()
    with pytest.raises(raw.Closed, match="host-unknown"):
        late.open("new.example")


def test_registration(chat):
    """authd is restarted for it, and nobody notices."""
    chat.domains = {"localhost": {"registration": "yes"}, "example.test": {"kind": "rsa"}}
    reload(chat, ("authd",))
    chat.talk()
    register = "{http://jabber.org/features/iq-register}register"
    wait_until(lambda: chat.stream().features.find(register) is not None)


def test_log_level(chat):
    chat.options["top"]["log-level"] = "debug"
    reload(chat)
    chat.login(chat.account()).end()
    wait_until(lambda: ": debug: " in chat.log_text())


def test_each_daemon_is_restarted_only_for_its_own(chat):
    chat.options["archive"]["spool-messages"] = 9999
    reload(chat, ("archived",))
    chat.talk()
    chat.options["auth"]["roster-items"] = 1999
    reload(chat, ("authd",))
    chat.talk()


def test_error_in_the_file(chat):
    chat.config.write_text(chat.config.read_text() + "nonsense = 1\n")
    with pytest.raises(CommandFailed, match="refused; the log says why"):
        chat.ctl("reload", seconds=60)
    wait_until(lambda: "reload refused" in chat.log_text())
    chat.talk()


def test_listeners_restart_c2sd(chat):
    """The one change that clients notice: they come again, and nothing is lost."""
    chat.options["c2s"]["listen"] = ["127.0.0.1:%d" % chat.port, "127.0.0.2:%d" % chat.port]
    reload(chat, ("c2sd.0", "c2sd.1"))
    with socket.create_connection(("127.0.0.2", chat.port), 10):
        pass


def test_reload_under_load(chat):
    """Every message of a steady flow arrives in order while everything that can change changes."""
    count, turns = 300, 0

    def flow():
        for i in range(count):
            chat.here.say(chat.there.jid.partition("/")[0], "flow %d" % i)
            time.sleep(0.01)

    thread = threading.Thread(target=flow)
    thread.start()
    while thread.is_alive():
        turns += 1
        chat.options["c2s"]["stanza-time"] = 60 + turns
        chat.options["c2s"]["sessions-per-account"] = 20 + turns
        reload(chat)
    thread.join()
    assert turns > 3
    assert [body(chat.there.message()) for _ in range(count)] == ["flow %d" % i for i in range(count)]
