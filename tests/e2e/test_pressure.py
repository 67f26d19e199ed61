"""Every queue of the suite driven to its bound (ARCHITECTURE.md, "Every queue and its bound"): the memory that
it takes stays bounded, its counter shows it, what happens at the bound is what is written there, and it goes on
when there is room again. Those that no client can fill alone are filled in tests/unit/test_flow.c and others."""

import contextlib
import os
import re
import select
import signal
import socket
import struct
import time
from pathlib import Path
from xml.sax.saxutils import quoteattr

import pytest
from OpenSSL import SSL

from raw import NS, Closed, body, condition, error_type, local, q
from suite import ROOT, SANITIZED, SLOW, CommandFailed, Suite, wait_until
from test_component import DOMAIN as ECHO, SECRET, Component

MIB = 1 << 20
SLACK = (400 if SANITIZED else 16) * MIB  # what memory may grow besides: buffers kept, quarantine of the sanitizer


@contextlib.contextmanager
def stopped(suite, name):
    """A daemon that does not run for a while, shorter than the supervisor's patience."""
    pid = suite.pid(name)
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


def counters(suite, name):
    """What all processes have counted under a name, added up; a stopped daemon is left out after a while."""
    return sum(c["value"] for c in suite.ctl("show", "counters", seconds=30 * SLOW) if c["counter"] == name)


def counted(suite, name, least=1, seconds=10 * SLOW):
    """Waits until a counter is at least so much."""
    return wait_until(lambda: counters(suite, name) >= least, seconds, 0.1, "%s is %d" % (name, least))


def is_zero(suite, name, seconds=20 * SLOW):
    """Waits until a gauge is 0 again."""
    wait_until(lambda: counters(suite, name) == 0, seconds, 0.1, "%s is 0" % name)


def memories(suite, *names):
    return {n: suite.memory(n) for n in names or ("router", "authd", "archived", "c2sd.0", "c2sd.1")}


def assert_bounded(suite, before, bound):
    for name, old in before.items():
        assert suite.memory(name) - old < bound + SLACK, name


def deaf_login(suite, account):
    """A client that acknowledges nothing, so that all that it gets stays in its queue."""
    client = suite.login(account, "deaf", available=0)
    client.enable(resume=False)
    return client


def push(client, data, seconds=1):
    """Sends without reading until all is sent or the server reads no more; the client is of no use after
    that. True: all was sent."""
    try:
        client.send(data, seconds=seconds, read=False)
        return not client.reset
    except TimeoutError:
        return False


def chat(to, text):
    return "<message to=%s type='chat'><body>%s</body></message>" % (quoteattr(to), text)


# -- windows: what was read and nobody has taken ----------------------------------------------------


def test_window_of_one_client(make_suite):
    """A client that sends faster than messages are stored is not read; nothing is lost."""
    suite = make_suite()
    juliet, romeo = suite.accounts(2)
    there, client = suite.login(romeo, available=0), suite.login(juliet)
    with stopped(suite, "archived"):
        client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        client.send("".join(chat(romeo, i) for i in range(400)))
        assert counted(suite, "windows-full")
        held = suite.counter("router", "held")
        assert 128 <= held <= 128 + 400 and suite.counter("router", "held-bytes") > held * 100
    assert [body(there.message(20 * SLOW)) for _ in range(400)] == [str(i) for i in range(400)]
    is_zero(suite, "held")
    is_zero(suite, "custody-frames")


def test_window_holds_what_is_answered_here(make_suite):
    """Stanzas that c2sd answers by itself wait for those before them, and count."""
    suite = make_suite()
    client = suite.login(suite.account())
    bad = "<iq type='get' id='bad'/>"
    with stopped(suite, "archived"):
        client.say(client.jid.partition("/")[0], "first")
        client.send(bad * 5000)
        counted(suite, "windows-full")
        answers = [e for e in client.elements if e.get("id") == "bad"]
        assert len(answers) < 5000
    for _ in range(5000):
        assert condition(client.wait(lambda e: e.get("id") == "bad", 20 * SLOW)) == "bad-request"
    is_zero(suite, "custody-frames")


@pytest.mark.timeout(120 * SLOW)
def test_archived_away_with_200_senders(make_suite):
    """Windows close, all clients of a c2sd wait at window-total, memory is flat; then all goes on."""
    senders, text = (40 if SANITIZED else 200), "x" * 4000
    total = 4 if SANITIZED else 16
    suite = make_suite(c2s={"window-total": "%dM" % total})
    accounts = suite.accounts(senders)
    romeo = suite.account()
    clients = [suite.login(a) for a in accounts]
    before = memories(suite)
    data = chat(romeo, text) * 130
    with stopped(suite, "archived"):
        for c in clients:
            push(c, data, 0.02)
        for name in ("c2sd.0", "c2sd.1"):
            assert suite.counter(name, "custody-bytes") < total * MIB + 128 * 1024
        full = memories(suite)
        assert_bounded(suite, before, 6 * total * MIB)
        assert counters(suite, "custody-full") > 0
        # Requests of a client whose c2sd has room would go on; logins do in any case.
        late = suite.stream()
        late.authenticate("SCRAM-SHA-256", *romeo_login(suite, romeo))
        assert_bounded(suite, full, 4 * MIB)
        late.close()
    for client in clients:
        client.abort()
    is_zero(suite, "custody-frames", 60 * SLOW)
    is_zero(suite, "held")
    is_zero(suite, "sessions-ended")
    client, there = suite.login(accounts[0]), suite.login(accounts[1], available=0)
    client.say(accounts[1], "last")
    assert body(there.message(20 * SLOW)) == "last"


def romeo_login(suite, jid):
    return jid.partition("@")[0], suite.password(jid)


# -- queues: what waits for clients -----------------------------------------------------------------


@pytest.fixture
def narrow(make_suite):
    """A suite with small queues."""
    return make_suite(c2s={"queue-stanzas": 50, "queue-bytes": "64K", "queue-total": "2M", "workers": 1})


def test_requests_to_a_client_that_does_not_read(narrow):
    """It ends at four times the limits; each request that it leaves is answered."""
    count = 500
    juliet, romeo = narrow.accounts(2)
    deaf = deaf_login(narrow, romeo)
    client = narrow.login(juliet)
    for i in range(count):
        client.send("<iq to=%s type='get' id='q%d'><x xmlns='u:x'>%s</x></iq>" % (
            quoteattr(deaf.jid), i, "x" * 2000))
    answers = {}
    while len(answers) < count:
        iq = client.wait(lambda e: e.tag == q("client", "iq"), 20 * SLOW)
        answers[iq.get("id")] = condition(iq)
    assert set(answers) == {"q%d" % i for i in range(count)}
    assert set(answers.values()) <= {"recipient-unavailable", "service-unavailable"}
    assert narrow.counter("c2sd.0", "queues-overflowed") == 1
    is_zero(narrow, "queue-stanzas")
    is_zero(narrow, "queue-bytes")
    again = narrow.login(romeo, available=0)
    client.say(romeo, "now")
    assert body(again.message()) == "now"


def test_presence_to_a_client_that_does_not_read(narrow):
    """It ends; others see the presence, and memory stays."""
    juliet, romeo, nurse = narrow.accounts(3)
    deaf = deaf_login(narrow, romeo)
    there = narrow.login(nurse, available=0)
    client = narrow.login(juliet)
    before = memories(narrow, "router", "c2sd.0")
    for i in range(300):
        for to in (deaf.jid, there.jid):
            client.send("<presence to=%s><status>%d %s</status></presence>" % (quoteattr(to), i, "x" * 2000))
    seen = [there.presence(20 * SLOW) for _ in range(300)]
    assert [int(e.findtext(q("client", "status")).split()[0]) for e in seen] == list(range(300))
    assert_bounded(narrow, before, 0)
    wait_until(lambda: not narrow.sessions(romeo), message="the session ends")
    assert narrow.counter("c2sd.0", "queues-overflowed") == 1


def test_messages_to_a_client_that_does_not_read(narrow):
    """It is cut over to the spool, and gets all of them in their order when it reads."""
    count = 400
    juliet, romeo = narrow.accounts(2)
    deaf = deaf_login(narrow, romeo)
    client = narrow.login(juliet)
    client.send("".join(chat(romeo, "%d %s" % (i, "x" * 2000)) for i in range(count)))
    client.sync(20 * SLOW)
    assert narrow.counter("c2sd.0", "queues-full") >= 1
    assert narrow.counter("c2sd.0", "sessions-paused") == 1
    assert 0 < narrow.counter("c2sd.0", "queue-bytes") < MIB
    assert narrow.counter("archived", "spool") > count / 2
    assert narrow.counter("archived", "spool-accounts") == 1
    for i in range(count):
        assert int(body(deaf.message(20 * SLOW)).split()[0]) == i
        deaf.acknowledge(i + 1)
    is_zero(narrow, "spool")
    is_zero(narrow, "sessions-paused")
    is_zero(narrow, "draining")


@pytest.mark.parametrize("kind", ["stored", "loose"])
def test_queues_of_many_clients(narrow, kind):
    """Together they take queue-total and no more: what is stored goes to the spool earlier, what is not ends
    the sessions that hold most."""
    count = 30
    accounts = narrow.accounts(count)
    deaf = [deaf_login(narrow, a) for a in accounts]
    juliet, romeo = narrow.accounts(2)
    client = narrow.login(juliet)
    bystander = narrow.login(romeo, available=0)
    stanza = {"stored": "<message to=%s type='chat'><body>%s</body></message>",
              "loose": "<message to=%s type='headline'><body>%s</body></message>"}[kind]
    most = 0
    for _ in range(20):
        for d in deaf:
            client.send(stanza % (quoteattr(d.jid), "x" * 8000))
        client.sync(20 * SLOW)
        most = max(most, narrow.counter("c2sd.0", "queue-bytes"))
    assert MIB / 2 < most < 2 * MIB + 128 * 1024
    ended = narrow.counter("c2sd.0", "queues-overflowed")
    if kind == "stored":
        assert ended == 0
        for d in deaf[:3]:
            for i in range(20):
                d.message(20 * SLOW)
                d.acknowledge(i + 1)
    else:
        assert 0 < ended < count
    client.say(romeo, "still here")
    assert body(bystander.message()) == "still here"


def test_answers_that_nobody_reads(narrow):
    """A client that asks what c2sd answers, and does not read, is not read any more; it gets all answers when
    it reads."""
    client = narrow.login(narrow.account(), receive_buffer=2048)
    before = memories(narrow, "c2sd.0")
    count = 6000  # more than the kernel takes
    whole = push(client, "<iq type='set' id='%s'><session xmlns='%s'/></iq>" % ("x" * 900, NS["session"]) * count, 5 * SLOW)
    counted(narrow, "answers-full")
    assert narrow.counter("c2sd.0", "queue-bytes") < MIB
    assert_bounded(narrow, before, MIB)
    for _ in range(count if whole else 0):
        assert client.next(20 * SLOW).get("type") == "result"


@pytest.mark.parametrize("presence", [True, False])
def test_answers_of_one_record(make_suite, presence):
    """More answers than a queue takes, to what came at once: the session ends, and c2sd lives."""
    suite = make_suite(c2s={"queue-stanzas": 10, "workers": 1})
    account = suite.account()
    client = suite.login(account, available=0 if presence else None, receive_buffer=2048)
    push(client, "<iq type='set' id='x'><session xmlns='%s'/></iq>" % NS["session"] * 40000, 5 * SLOW)
    counted(suite, "queues-overflowed")
    wait_until(lambda: not suite.sessions(account), message="the session ends")
    suite.login(account).sync()


def test_acknowledgements_that_nobody_reads(narrow):
    """One answer, later, is for all that was asked."""
    client = narrow.login(narrow.account(), receive_buffer=2048)
    client.enable()
    before = memories(narrow, "c2sd.0")
    for _ in range(40):
        client.send("<r xmlns='%s'/>" % NS["sm"] * 10000, 20 * SLOW, read=False)
    assert narrow.counter("c2sd.0", "output-bytes") < MIB / 4
    assert_bounded(narrow, before, 0)
    client.sync(20 * SLOW)
    client.elements.clear()
    assert client.ask() == 1


def test_refusals_that_nobody_reads(narrow):
    """They end the stream."""
    account = narrow.account()
    client = narrow.login(account, receive_buffer=2048)
    client.enable(resume=False)
    before = memories(narrow, "c2sd.0")
    push(client, "<enable xmlns='%s'/>" % NS["sm"] * 200000, 5 * SLOW)
    counted(narrow, "output-overflowed")
    wait_until(lambda: not narrow.sessions(account), message="the session ends")
    assert_bounded(narrow, before, 0)


@pytest.mark.timeout(120 * SLOW)
def test_long_answers(make_suite):
    """Requests of 200 bytes whose answers have 100 KB: authd commits early, and no daemon takes them all in."""
    suite = make_suite(c2s={"workers": 1})
    accounts = suite.accounts(8)
    clients = [suite.login(a) for a in accounts]
    card = "<vCard xmlns='%s'><DESC>%s</DESC></vCard>" % (NS["vcard"], "x" * 100000)
    for client in clients:
        assert client.iq("set", card, seconds=20 * SLOW).get("type") == "result"
    before = memories(suite, "router", "authd", "c2sd.0")
    get = "".join("<iq type='get' id='v%d'><vCard xmlns='%s'/></iq>" % (i, NS["vcard"]) for i in range(120))
    for client in clients[1:]:
        push(client, get)
    few = 24  # which fit its queue
    clients[0].send("".join(get.partition("v%d'" % few)[0].rpartition("<iq")[0]))
    for i in range(few):
        assert clients[0].wait(lambda e: e.get("id") == "v%d" % i, 30 * SLOW).get("type") == "result"
    assert suite.counter("authd", "commits-early") > 0
    assert_bounded(suite, before, 96 * MIB)
    for client in clients[1:]:
        client.abort()
    assert clients[0].iq("get", "<vCard xmlns='%s'/>" % NS["vcard"], seconds=20 * SLOW).get("type") == "result"


# -- connections and logins -------------------------------------------------------------------------


def test_connections_at_their_limit(make_suite):
    """No more are accepted until one has gone."""
    suite = make_suite(c2s={"connections": 8, "workers": 1})
    account = suite.account()
    clients = [suite.stream() for _ in range(7)]
    last = suite.login(account)
    waiting = suite.connect()
    counted(suite, "connections-stopped")
    assert suite.counter("c2sd.0", "connections") == 8
    assert suite.counter("c2sd.0", "connections-addresses") == 1
    with pytest.raises(TimeoutError):
        waiting.next(1)
    clients[0].abort()
    waiting.starttls()
    last.sync()


def test_authd_away(make_suite):
    """Handshakes and logins wait; those that wait for too long give back what they have, at once when no
    thread has begun with them."""
    suite = make_suite(c2s={"login-time": 6, "workers": 1})
    account = suite.account()
    client = suite.login(account)
    with stopped(suite, "authd"):
        waiting = [suite.connect() for _ in range(60)]
        for c in waiting:
            c.open("localhost")
            c.send("<starttls xmlns='%s'/>" % NS["tls"])
            assert c.next().tag == q("tls", "proceed")
            c.raw_send(HELLO, read=False)
        assert wait_until(lambda: client_counter(suite, "handshakes-waiting") >= 56)
        # Four are in threads that ask for a signature; the others are gone after login-time.
        wait_until(lambda: client_counter(suite, "connections") <= 5, 8 * SLOW, 0.2, "they are gone")
        client.sync()
    is_zero(suite, "handshakes-waiting")
    suite.login(account).sync()


def client_counter(suite, name):
    """A counter of c2sd.0, asked as one command of aldisctl while authd is stopped."""
    return suite.counter("c2sd.0", name)


def client_hello():
    """The first record of a TLS 1.2 handshake: its answer has a signature."""
    context = SSL.Context(SSL.TLS_METHOD)
    context.set_max_proto_version(SSL.TLS1_2_VERSION)
    tls = SSL.Connection(context, None)
    tls.set_connect_state()
    tls.set_tlsext_host_name(b"localhost")
    try:
        tls.do_handshake()
    except SSL.WantReadError:
        pass
    return tls.bio_read(65536)


HELLO = client_hello()


def test_logins_of_connections_that_drop(make_suite):
    """Exchanges that were begun by connections which have gone are gone too."""
    suite = make_suite(c2s={"workers": 1})
    account = suite.account()
    for _ in range(10):
        clients = [suite.stream() for _ in range(10)]
        for client in clients:
            client.auth("SCRAM-SHA-256", "n,,n=%s,r=nonce" % account.partition("@")[0])
        for client in clients:
            client.abort()
        suite.clients.clear()
    is_zero(suite, "exchanges")
    is_zero(suite, "exchanges-delayed")
    suite.login(account).sync()


def log_role(suite):
    """The pid of the log role."""
    children = Path("/proc/%d/task/%d/children" % (suite.process.pid, suite.process.pid)).read_text().split()
    return next((int(pid) for pid in children if Path("/proc/%s/comm" % pid).read_text() == "aldis-log\n"), None)


def test_log_that_does_not_keep_up(make_suite):
    """Lines are lost and counted; no daemon waits for the log."""
    suite = make_suite(c2s={"workers": 1})
    account = suite.account()
    log = log_role(suite)
    os.kill(log, signal.SIGSTOP)
    try:
        for _ in range(250):
            if suite.counter("authd", "log-lost"):
                break
            client = suite.stream()
            for _ in range(15):
                client.auth("SCRAM-SHA-1", "no such message")
                assert local(client.next()) == "failure"
            client.abort()
            suite.clients.remove(client)
        assert suite.counter("authd", "log-lost") > 0
        suite.login(account).sync()
    finally:
        os.kill(log, signal.SIGCONT)
    mark = suite.log.stat().st_size
    suite.login(account).sync()
    wait_until(lambda: "session bound" in suite.log_text(mark), message="the log goes on")


def test_log_role_that_takes_nothing(make_suite):
    """What the supervisor tells the log role has its place in the kernel only: one that does not take it is
    started again, and gets all pipes once more."""
    suite = make_suite()
    account = suite.account()
    log = log_role(suite)
    os.kill(log, signal.SIGSTOP)
    try:
        for _ in range(2000):
            suite.ctl("reload")
            if log_role(suite) != log:
                break
        wait_until(lambda: log_role(suite) not in (log, None))
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.kill(log, signal.SIGCONT)
    mark = suite.log.stat().st_size
    suite.login(account).sync()
    wait_until(lambda: "session bound" in suite.log_text(mark), message="the log goes on")


# -- administration ---------------------------------------------------------------------------------


def rows(path, macro):
    """Names of the rows of a .def file, in order."""
    text = re.sub(r"/\*.*?\*/", "", (ROOT / path).read_text(), flags=re.S)
    return re.findall(r"^%s\((\w+)," % macro, text, re.M)


class Control:
    """A connection to the control socket that speaks frames as aldisctl does."""

    def __init__(self, suite):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.connect(str(suite.socket))
        self.socket.setblocking(False)
        self.type = 1 + rows("common/frame.def", "FRAME").index("CONTROL")
        self.text = rows("common/frame_field.def", "FIELD").index("text")
        self.left = b""

    def frame(self, number, *words):
        text = "\n".join(words).encode()
        field = struct.pack("=I", self.text << 24 | len(text)) + text
        return struct.pack("=IBBBBIIQQQQQ", 56 + len(field), self.type, 0, 0, 0, 0, 0, 0, 0, 0, number, 0) + field

    def send(self, data, seconds=1):
        """Sends what the router takes; returns what is left."""
        end = time.monotonic() + seconds
        while data and time.monotonic() < end:
            if select.select([], [self.socket], [], 0.1)[1]:
                data = data[self.socket.send(data):]
        return data

    def numbers(self, count, rest=b"", seconds=30 * SLOW):
        """The numbers of so many answers, sending what is left meanwhile."""
        found, end = [], time.monotonic() + seconds
        while len(found) < count:
            assert time.monotonic() < end, "only %d answers" % len(found)
            readable, writable, _ = select.select([self.socket], [self.socket] if rest else [], [], 1)
            if writable:
                rest = rest[self.socket.send(rest):]
            if readable:
                data = self.socket.recv(1 << 20)
                assert data, "closed"
                self.left += data
            while len(self.left) >= 4 and len(self.left) >= struct.unpack_from("=I", self.left)[0]:
                found.append(struct.unpack_from("=Q", self.left, 40)[0])
                self.left = self.left[struct.unpack_from("=I", self.left)[0]:]
        return found


@pytest.mark.parametrize("words", [("help",), ("show", "counters"), ("user", "list")])
def test_control_client_that_does_not_read(make_suite, words):
    """The router reads no more of it; others are served, and it gets all its answers when it reads."""
    suite = make_suite()
    suite.accounts(100)
    count = 20000
    before = memories(suite, "router")
    control = Control(suite)
    rest = control.send(b"".join(control.frame(i, *words) for i in range(count)), 2 * SLOW)
    assert rest
    assert suite.status()["router"]["state"] == "running"
    assert suite.counter("router", "control-requests") <= 17
    assert suite.counter("router", "link-output") < MIB
    assert_bounded(suite, before, 2 * MIB)
    # What has been sent so far, and no half of a frame.
    whole = len(control.frame(0, *words))
    sent = (count * whole - len(rest) + whole - 1) // whole
    rest = rest[:sent * whole - (count * whole - len(rest))]
    assert control.numbers(sent, rest) == list(range(sent))
    control.socket.close()
    wait_until(lambda: suite.counter("router", "control-clients") == 1)


def test_commands_of_clients_that_go(make_suite):
    """Commands for a daemon that does not answer end with a word, also those of clients that have gone: the next
    ones are told to try again."""
    suite = make_suite()
    suite.account()
    with stopped(suite, "authd"):
        for _ in range(80):
            control = Control(suite)
            assert control.send(b"".join(control.frame(i, "user", "list") for i in range(16))) == b""
            control.socket.close()
        with pytest.raises(CommandFailed, match="too many commands are under way"):
            suite.ctl("user", "list")
    wait_until(lambda: ready(suite) and "control-requests" not in {
        c["counter"] for c in suite.ctl("show", "counters") if c["value"] > 1}, 30)
    assert suite.counter("router", "control-refused") > 0
    assert suite.ctl("user", "list")


def test_too_many_control_clients(suite):
    before = suite.counter("router", "control-refused")
    many = [Control(suite) for _ in range(70)]
    with pytest.raises(CommandFailed):
        suite.status()
    for control in many:
        control.socket.close()
    wait_until(lambda: ready(suite), message="aldisctl is served")
    assert suite.counter("router", "control-refused") > before
    wait_until(lambda: suite.counter("router", "control-clients") == 1)


def ready(suite):
    try:
        return suite.status()
    except CommandFailed:
        return None


# -- the disk ---------------------------------------------------------------------------------------


@pytest.mark.timeout(120 * SLOW)
def test_store_that_is_full(make_suite):
    """archived keeps a batch and then reads no more, windows close, presence and requests go on; when there is
    room all is stored."""
    suite = make_suite(archive={"size": "4M"})
    juliet, romeo = suite.accounts(2)
    senders = [suite.login(a) for a in suite.accounts(24)]
    client, other = suite.login(juliet), suite.login(romeo, "orchard", available=0)
    client.enable()
    before = memories(suite)
    count = 0
    while "messages not stored" not in suite.log_text():
        assert count < 5000
        client.send("".join(chat(juliet, "x" * 4000) for _ in range(20)), 10 * SLOW)
        count += 20
        suite.status()  # so that it does not get far ahead of the log
    counted(suite, "batch-bytes")
    for sender in senders:
        push(sender, "".join(chat(juliet, "x" * 4000) for _ in range(128)), 5 * SLOW)
    wait_until(lambda: suite.counter("router", "link-output") > 0, 30 * SLOW, message="archived is not read")
    third = suite.login(suite.account(), available=0)
    for i in range(3):
        third.send("<presence to=%s><status>%d</status></presence>" % (quoteattr(other.jid), i))
        assert other.presence().findtext(q("client", "status")) == str(i)
    other.sync()
    assert_bounded(suite, before, 32 * MIB)
    suite.options["archive"]["size"] = "1G"
    suite.write_config()
    suite.killed["archived"] = 1
    suite.ctl("reload")
    assert client.await_handled(count, 60 * SLOW) == count
    is_zero(suite, "custody-frames", 60 * SLOW)
    is_zero(suite, "held")
    assert suite.counter("archived", "messages-stored") > 0


# -- s2sd -----------------------------------------------------------------------------------------------------


@pytest.fixture
def remote():
    """A suite with a component, which is a domain elsewhere as any other server is, and small queues."""
    with Suite(components={ECHO: {"secret": SECRET}}, s2s={"queue-stanzas": 50, "queue-bytes": "256K"}) as suite:
        yield suite


def test_domain_does_not_read(remote):
    """What is stored for it is cut over to the spool, and comes from there when it reads, each once and in order; a
    request is answered by it afterwards."""
    count = 2000
    before = memories(remote, "router", "archived", "s2sd")
    juliet = remote.login(remote.account(), "balcony", available=0)
    component = Component(remote, ECHO, SECRET).connect()
    for n in range(count):
        juliet.say("bot@" + ECHO, "%d %s" % (n, "x" * 4000))
    juliet.sync(60 * SLOW)
    counted(remote, "queues-full")
    assert_bounded(remote, before, 32 * MIB)
    for n in range(count):
        assert body(component.message(60 * SLOW)).split()[0] == str(n)
    is_zero(remote, "spool")
    juliet.say("bot@" + ECHO, "last")
    assert body(component.message(20 * SLOW)) == "last"


def test_flood_from_a_domain(remote):
    """It is not read while archived takes nothing, and what it says to a client is there afterwards, each once."""
    count = 3000
    before = memories(remote, "router", "archived", "s2sd")
    juliet = remote.login(remote.account(), "balcony", available=0)
    component = Component(remote, ECHO, SECRET).connect()
    message = "<message type='chat' from='bot@%s' to='%s'><body>%%d %s</body></message>" % (
        ECHO, juliet.jid, "x" * 2000)
    sent = 0
    with stopped(remote, "archived"):
        with contextlib.suppress(Exception):  # it does not take all of it
            while sent < count:
                component.send(message % sent, seconds=1)
                sent += 1
        counted(remote, "windows-full")
        assert_bounded(remote, before, 32 * MIB)
    assert 0 < sent
    for n in range(min(sent, 100)):
        assert body(juliet.message(20 * SLOW)).split()[0] == str(n)
