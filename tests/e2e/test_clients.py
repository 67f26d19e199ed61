"""Clients that were not written here, each with its own parser, TLS and SASL, talk to each other."""

import asyncio
import contextlib
import datetime
import os
import re
import select
import shutil
import socket
import subprocess
import time

import aioxmpp
import aioxmpp.security_layer
import pytest

from clients import Refused, child, program, slix  # noqa: F401
from raw import body
from suite import SLOW, run_async, wait_until

MECHANISM = re.compile(r"login account=\"?(\S+?)\"? mechanism=(\S+)")


def mechanism(suite, account):
    """The SASL mechanism of an account's last login; its line comes to the log a little later."""
    return wait_until(lambda: [m for a, m in MECHANISM.findall(suite.log_text()) if a == account])[-1]


# -- slixmpp -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("direct", [False, True])
def test_slixmpp(suite, slix, direct):  # noqa: F811
    """STARTTLS and direct TLS, with the certificate verified."""
    client = slix(suite, suite.account(), "r", direct=direct)
    client.sync()
    assert client.jid.endswith("/r")


def test_slixmpp_with_channel_binding(suite, slix):  # noqa: F811
    """It knows tls-unique only, which is there in TLS 1.2: then it takes SCRAM with channel binding."""
    client = slix(suite, suite.account(), "r", tls12=True)
    assert mechanism(suite, client.bare) in ("SCRAM-SHA-512-PLUS", "SCRAM-SHA-256-PLUS", "SCRAM-SHA-1-PLUS")


def test_slixmpp_with_scram(make_suite, slix):  # noqa: F811
    """Without -PLUS on offer it takes plain SCRAM, over TLS 1.3."""
    suite = make_suite(auth={"mechanisms": ["SCRAM-SHA-512", "SCRAM-SHA-256", "SCRAM-SHA-1"]})
    client = slix(suite, suite.account(), "r")
    assert mechanism(suite, client.bare) in ("SCRAM-SHA-512", "SCRAM-SHA-256", "SCRAM-SHA-1")


def test_slixmpp_rejects_a_wrong_password(suite, slix):  # noqa: F811
    with pytest.raises(Refused):
        slix(suite, suite.account(), password="wrong")


# -- go-sendxmpp ---------------------------------------------------------------------------------------


def go(suite, account, *words, **options):
    environment = {**os.environ, "SSL_CERT_FILE": str(suite.ca), "HOME": str(suite.directory)}
    return subprocess.Popen(
        ["go-sendxmpp", "-u", account, "-p", suite.password(account), "-j", "localhost:%d" % suite.port, *words],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment,
        **options)


needs_go = pytest.mark.skipif(shutil.which("go-sendxmpp") is None, reason="go-sendxmpp is not installed")


@needs_go
@pytest.mark.parametrize("online", [True, False])
def test_go_sends(suite, slix, online):  # noqa: F811
    a, b = suite.accounts(2)
    receiver = slix(suite, b, "r", available=0) if online else None
    process = go(suite, a, b)
    out, err = process.communicate("Grüße aus Go\nzweite Zeile\n", timeout=15 * SLOW)
    assert process.returncode == 0, err
    receiver = receiver or slix(suite, b, "r", available=0)
    message = receiver.message()
    assert body(message).rstrip("\n") == "Grüße aus Go\nzweite Zeile"
    assert message.get("from").startswith(a + "/")
    assert (child(message, "delay", "delay") is None) == online
    assert mechanism(suite, a) is not None  # it prefers PLAIN


@needs_go
def test_go_sends_over_direct_tls(suite, slix):  # noqa: F811
    a, b = suite.accounts(2)
    receiver = slix(suite, b, "r", available=0)
    environment = {**os.environ, "SSL_CERT_FILE": str(suite.ca), "HOME": str(suite.directory)}
    done = subprocess.run(["go-sendxmpp", "-t", "-u", a, "-p", suite.password(a), "-j",
                           "localhost:%d" % suite.tls_port, b], input="direct\n", text=True, capture_output=True,
                          timeout=15 * SLOW, env=environment)
    assert done.returncode == 0, done.stderr
    assert body(receiver.message()).strip() == "direct"


@needs_go
def test_go_listens(suite, slix):  # noqa: F811
    a, b = suite.accounts(2)
    sender = slix(suite, a, "s")
    process = go(suite, b, "-l")
    try:
        wait_until(lambda: any(s["available"] for s in suite.sessions(b).values()), message="go-sendxmpp is online")
        sender.say(b, "hear me")
        sender.sync()
        assert select.select([process.stdout], [], [], 8 * SLOW)[0], "nothing was heard"
        assert "hear me" in process.stdout.readline()
    finally:
        process.kill()
        process.communicate(timeout=5)


@needs_go
def test_go_with_a_wrong_password(suite):
    account = suite.account()
    done = subprocess.run(["go-sendxmpp", "-u", account, "-p", "wrong", "-j", "localhost:%d" % suite.port, account],
                          input="x\n", text=True, capture_output=True, timeout=15 * SLOW,
                          env={**os.environ, "SSL_CERT_FILE": str(suite.ca), "HOME": str(suite.directory)})
    assert done.returncode != 0


# -- libstrophe ----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def strophe(tmp_path_factory):
    return program(tmp_path_factory.mktemp("strophe"), "strophe.c", "libstrophe")


class Lines:
    """A process whose lines are read with a limit of time."""

    def __init__(self, *command):
        self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                        stderr=subprocess.PIPE)
        self.buffer = b""

    def line(self, seconds=8 * SLOW):
        end = time.monotonic() + seconds
        while b"\n" not in self.buffer:
            left = end - time.monotonic()
            ready = left > 0 and select.select([self.process.stdout], [], [], left)[0]
            more = os.read(self.process.stdout.fileno(), 65536) if ready else b""
            assert more, "no line; so far %r, errors %r" % (
                self.buffer, self.process.stderr.read() if ready else "not read")
            self.buffer += more
        line, _, self.buffer = self.buffer.partition(b"\n")
        return line.decode()

    def end(self):
        if self.process.poll() is None:
            self.process.kill()
        self.process.communicate(timeout=5)


def test_strophe(suite, slix, strophe):  # noqa: F811
    """Logs in with SCRAM, receives, sends, and leaves."""
    a, b = suite.accounts(2)
    friend = slix(suite, a, "friend", available=0)
    client = Lines(strophe, b + "/strophe", suite.password(b), str(suite.port), str(suite.ca))
    try:
        assert client.line() == "online %s/strophe secured=1" % b
        assert mechanism(suite, b).startswith("SCRAM-SHA-")
        wait_until(lambda: any(s["available"] for s in suite.sessions(b).values()))
        for i in range(20):
            friend.say(b, "número %d <&>" % i)
        for i in range(20):
            assert client.line() == "%s número %d <&>" % (friend.jid, i)
        for i in range(20):
            message = friend.message()
            assert body(message) == "echo: número %d <&>" % i
            assert message.get("from") == b + "/strophe"
        friend.say(b, "quit")
        assert client.line() == friend.jid + " quit"
        assert client.process.wait(8 * SLOW) == 0
        wait_until(lambda: not suite.sessions(b), message="its session ends")
        # It acknowledges nothing when it leaves: what it had not acknowledged before waits for the next one.
        assert len(suite.ctl("queue", "list", b)) <= 21
    finally:
        client.end()


def test_strophe_gets_what_waited(suite, slix, strophe):  # noqa: F811
    a, b = suite.accounts(2)
    friend = slix(suite, a, "friend", available=0)
    for i in range(5):
        friend.say(b, str(i))
    friend.sync()
    client = Lines(strophe, b, suite.password(b), str(suite.port), str(suite.ca))
    try:
        assert client.line().startswith("online ")
        assert [client.line() for _ in range(5)] == ["%s %d" % (friend.jid, i) for i in range(5)]
        assert [body(friend.message()) for _ in range(5)] == ["echo: %d" % i for i in range(5)]
    finally:
        client.end()


def test_strophe_is_killed(suite, slix, strophe):  # noqa: F811
    """It has stream management on: its session waits to be resumed, and its messages on disk."""
    a, b = suite.accounts(2)
    friend = slix(suite, a, "friend", available=0)
    client = Lines(strophe, b + "/strophe", suite.password(b), str(suite.port), str(suite.ca))
    try:
        assert client.line().startswith("online ")
        wait_until(lambda: any(s["available"] for s in suite.sessions(b).values()))
    finally:
        client.end()
    friend.say(b, "while it is away")
    friend.sync()
    client = Lines(strophe, b + "/strophe", suite.password(b), str(suite.port), str(suite.ca))
    try:
        assert client.line().startswith("online ")
        assert client.line() == friend.jid + " while it is away"
    finally:
        client.end()


# -- aioxmpp ---------------------------------------------------------------------------------------------


def aio_client(suite, account, resource):
    jid = aioxmpp.JID.fromstr("%s/%s" % (account, resource))
    layer = aioxmpp.make_security_layer(suite.password(account), no_verify=True)
    connector = aioxmpp.connector.STARTTLSConnector()
    client = aioxmpp.PresenceManagedClient(
        jid, layer, override_peer=[("127.0.0.1", suite.port, connector)])
    client.backoff_start = client.backoff_cap = datetime.timedelta(seconds=0.05)
    client.received = asyncio.Queue()
    dispatcher = client.summon(aioxmpp.dispatcher.SimpleMessageDispatcher)
    dispatcher.register_callback(aioxmpp.MessageType.CHAT, None, client.received.put_nowait)
    return client


def chat(to, words):
    message = aioxmpp.Message(type_=aioxmpp.MessageType.CHAT, to=aioxmpp.JID.fromstr(to))
    message.body[None] = words
    return message


async def heard(client):
    message = await asyncio.wait_for(client.received.get(), 8 * SLOW)
    return message.body.any(), str(message.from_)


@contextlib.asynccontextmanager
async def online(client):
    """Connected and available."""
    async with client.connected() as stream:
        client.presence = aioxmpp.PresenceState(True)
        while not client.established:
            await asyncio.sleep(0.01)
        yield stream


def test_aioxmpp(suite):
    """Two of them chat; a message is sent when stream management has acknowledged it."""
    a, b = suite.accounts(2)

    async def talk():
        one, two = aio_client(suite, a, "one"), aio_client(suite, b, "two")
        async with online(one) as stream, online(two):
            assert stream.sm_enabled and stream.sm_resumable
            for i in range(20):
                await asyncio.wait_for(one.send(chat(b, "%d €" % i)), 8 * SLOW)
            assert [await heard(two) for _ in range(20)] == [("%d €" % i, a + "/one") for i in range(20)]
            await two.send(chat(a + "/one", "back"))
            assert await heard(one) == ("back", b + "/two")

    run_async(talk(), 20)
    assert mechanism(suite, a).startswith("SCRAM-SHA-")


def test_aioxmpp_roster_and_presence(suite):
    a, b = suite.accounts(2)

    async def talk():
        one, two = aio_client(suite, a, "one"), aio_client(suite, b, "two")
        rosters = [c.summon(aioxmpp.RosterClient) for c in (one, two)]
        seen = one.summon(aioxmpp.PresenceClient)
        came = asyncio.Event()
        seen.on_available.connect(lambda jid, stanza: came.set() if str(jid) == b + "/two" else None)
        approved = asyncio.Event()

        def approve(stanza):
            rosters[1].approve(stanza.from_)
            approved.set()

        rosters[1].on_subscribe.connect(approve)
        async with online(one), online(two):
            await rosters[0].set_entry(aioxmpp.JID.fromstr(b), name="Bee", add_to_groups={"Friends"})
            rosters[0].subscribe(aioxmpp.JID.fromstr(b))
            await asyncio.wait_for(approved.wait(), 8 * SLOW)
            await asyncio.wait_for(came.wait(), 8 * SLOW)
            item = rosters[0].items[aioxmpp.JID.fromstr(b)]
            for _ in range(200):
                if item.subscription == "to":
                    break
                await asyncio.sleep(0.02)
            assert (item.name, item.subscription, set(item.groups)) == ("Bee", "to", {"Friends"})
            info = await one.summon(aioxmpp.DiscoClient).query_info(aioxmpp.JID.fromstr("localhost"))
            assert ("server", "im") in {(i.category, i.type_) for i in info.identities}

    run_async(talk(), 20)


def test_aioxmpp_resumes(suite):
    """Its connection breaks: it resumes by itself, and misses nothing."""
    a, b = suite.accounts(2)
    sender = suite.login(a, "s")

    async def talk():
        client = aio_client(suite, b, "r")
        resumed, destroyed = asyncio.Event(), []
        client.on_stream_resumed.connect(resumed.set)
        client.on_stream_destroyed.connect(lambda reason=None: destroyed.append(reason))
        async with online(client) as stream:
            for round_ in range(3):
                resumed.clear()
                sender.say(b, "before %d" % round_)
                assert await heard(client) == ("before %d" % round_, a + "/s")
                stream._xmlstream.transport.get_extra_info("socket").shutdown(socket.SHUT_RDWR)
                sender.say(b, "meanwhile %d" % round_)
                sender.sync()
                await asyncio.wait_for(resumed.wait(), 8 * SLOW)
                assert await heard(client) == ("meanwhile %d" % round_, a + "/s")
                await asyncio.wait_for(client.send(chat(a + "/s", "from me %d" % round_)), 8 * SLOW)
            assert destroyed == [] and client.received.empty()

    run_async(talk(), 25)
    assert [body(sender.message()) for _ in range(3)] == ["from me %d" % i for i in range(3)]
