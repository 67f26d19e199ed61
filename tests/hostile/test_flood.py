"""test_flood.py: floods. The router's memory stays bounded, and the others are served meanwhile.

What a test prints with -s are the figures: how much was sent, how much memory that took.
"""

import re
import time

import pytest

from cast import handle
from frames import ROOT, Frame
from program import SANITIZED, WAIT

MB = 1 << 20
SLACK = (192 if SANITIZED else 48) * MB  # quarantine and red zones of the sanitizer
LINK_SOURCE = (ROOT / "common/link.c").read_text()
OUTPUT_MAX = int(re.search(r"#define OUTPUT_MAX\s+\((\d+)u << 20\)", LINK_SOURCE).group(1)) * MB


class Meter:
    """The most memory that the router has had since the beginning of a test."""

    def __init__(self, world):
        self.router, self.before, self.most, self.sent = world.router, world.router.memory(), 0, 0

    def look(self, sent=0):
        self.most = max(self.most, self.router.memory() - self.before)
        self.sent += sent

    def bounded(self, limit, what):
        self.look()
        print("%s: %.0f MB sent, the router had %.0f MB more at most" % (
            what, self.sent / MB, self.most / MB))
        assert self.most <= limit + SLACK


def headline(session, to, size=100):
    return session.stanza("MESSAGE", "HEADLINE", to=to, flags="CONTENT BODY",
                          payload="<body>%s</body>" % ("x" * size))


def whisper(world, seconds=WAIT / 3):
    """An honest exchange without archived, within a time: a headline there and back."""
    for sender, receiver in ((world.juliet, world.romeo), (world.romeo, world.juliet)):
        began = time.monotonic()
        world.c2sd.send(headline(sender, receiver.jid))
        while True:
            got = world.c2sd.next()
            if got.type == "STANZA" and got.text("from") == sender.jid.encode():
                break
            assert got.type == "ACK", got
        assert got.receivers() == [receiver.handle]
        assert world.c2sd.next().type in ("ACK", "STANZA")
        assert time.monotonic() - began < seconds


def test_refused_frames(fresh):
    """Frames of a type that is not its own: little work, and few lines in the log."""
    world, meter = fresh, Meter(fresh)
    bad = world.hostile("MUCD")
    flood = Frame("SESSION_KILL", handle=world.juliet.handle).bytes() * 5000
    for _ in range(20):
        bad.send_bytes(flood)
        meter.look(len(flood))
        whisper(world)
    world.router.settle(bad)
    assert len(world.said().splitlines()) < 40
    world.silent()
    meter.bounded(4 * MB, "refused frames")


@pytest.mark.parametrize("lie", ["DELIVERED", "ACK", "STORED", "AUTH_SUCCESS", "SESSION_BIND", "HELLO",
                                 "CONTROL_REPLY", "SESSION_REPLAY"])
def test_lines_in_the_log(fresh, lie):
    """No attack that is repeated fills the log."""
    world = fresh
    roles = {"ACK": "MUCD", "STORED": "ARCHIVED", "AUTH_SUCCESS": "AUTHD"}
    bad = world.hostile(roles.get(lie, "C2SD"))
    world.mark()
    for round in range(2000):
        bad.send(Frame(lie, handle=world.juliet.handle, seq=round + 1, origin=world.c2sd.incarnation,
                       numbers=[world.juliet.handle, 1, 2], jid="romeo@localhost", token=b"t" * 32,
                       text="domain localhost\n"))
    world.router.settle(bad)
    assert 1 <= len(world.said().splitlines()) < 40, world.said()[:2000]
    for link in (world.archived, world.authd):
        link.pump()
        assert all(f.type == "DELIVERED" and f.numbers == [] for f in link.frames)
        link.frames.clear()


def test_valid_frames(fresh):
    """Stanzas that are all right, as many as there is room for."""
    world, meter = fresh, Meter(fresh)
    bad = world.hostile("C2SD")
    mallory = world.login("mallory", bad)
    for _ in range(10):
        flood = b"".join(headline(mallory, mallory.jid, 2000).bytes() for _ in range(500))
        for at in range(0, len(flood), 1 << 18):
            bad.send_bytes(flood[at:at + (1 << 18)])
            bad.pump()
            bad.frames.clear()
        meter.look(len(flood))
        whisper(world)
    world.router.settle(bad)
    bad.pump()
    bad.frames.clear()
    meter.bounded(16 * MB, "valid frames")


def test_messages_that_are_not_stored(fresh):
    """archived does not answer: one session has so many under way, and is ended then."""
    world, meter = fresh, Meter(fresh)
    bad = world.hostile("C2SD")
    mallory = world.login("mallory", bad)
    flood = [mallory.chat("romeo@localhost", "x" * 20000).bytes() for _ in range(3000)]
    for data in flood:
        bad.send_bytes(data)
        world.archived.pump()
        meter.look(len(data))
    world.router.settle(bad)
    whisper(world)
    kinds = set()
    while "SESSION_KILL" not in kinds:
        kinds.add(bad.next().type)
    assert kinds <= {"SESSION_KILL", "ACK"}
    world.refused("queue full session=\"?mallory", silent=False)
    world.archived.pump()
    taken = [f for f in world.archived.frames if f.type == "STANZA"]
    assert len(taken) < 1100 and all(f.text("from") == mallory.jid.encode() for f in taken)
    world.archived.frames.clear()
    meter.bounded(64 * MB, "messages not stored")
    world.archived.send(Frame("STORED", origin=bad.incarnation,
                              numbers=[n for f in taken for n in (f.seq, 0, 7)]))
    bad.send(Frame("SESSION_END", handle=mallory.handle))
    world.router.settle(world.archived, bad)


def test_a_daemon_that_does_not_read(fresh):
    """Its output grows to its bound, then its link is dropped; after that the others are served as before,
    and until then they wait no longer than it may take to find out."""
    world, meter = fresh, Meter(fresh)
    deaf = world.entry(world.c2sd.index + 30)
    sleeper = world.login("sleeper", deaf)
    bad = world.hostile("C2SD")
    mallory = world.login("mallory", bad)
    world.mark()
    end = time.monotonic() + 3 * WAIT
    rest, longest = b"", 0
    while re.search("link (full|given up)", world.said()) is None:
        assert time.monotonic() < end and meter.sent < 2 * OUTPUT_MAX
        rest = rest or b"".join(headline(mallory, sleeper.jid, 1 << 18).bytes() for _ in range(64))
        taken = bad.offer(rest, 0.2)
        rest = rest[taken:]
        bad.pump()
        bad.frames.clear()
        meter.look(taken)
        began = time.monotonic()
        whisper(world, WAIT)
        longest = max(longest, time.monotonic() - began)
    assert world.router.hear("LOST") == ("C2SD", deaf.index, deaf.incarnation)
    whisper(world)
    print("the longest wait of an honest exchange: %.2f s" % longest)
    # A buffer that grows by doubling has twice its bytes for a moment.
    meter.bounded(2.2 * OUTPUT_MAX, "a daemon that does not read")
    bad.send_bytes(rest)
    world.router.settle(bad)
    bad.pump()
    bad.frames.clear()
    deaf.close()


def test_logins(fresh):
    """So many exchanges of one c2sd wait for authd; the clients of others can log in."""
    world, meter = fresh, Meter(fresh)
    bad = world.hostile("C2SD")
    for first in range(1, 20001, 1000):
        data = b"".join(Frame("AUTH_START", handle=handle(bad.incarnation, n), name="PLAIN", data=b"x").bytes()
                        for n in range(first, first + 1000))
        bad.send_bytes(data)
        meter.look(len(data))
        for link in (bad, world.authd):
            link.pump()
    world.router.settle(bad)
    bad.pump()
    world.authd.pump()
    asked, refused = len(world.authd.frames), [f.text("condition") for f in bad.frames]
    assert asked < 17000 and asked + len(refused) == 20000
    assert set(refused) == {b"temporary-auth-failure"}
    world.authd.frames.clear()
    nurse = world.login("nurse")
    world.c2sd.send(Frame("SESSION_END", handle=nurse.handle))
    world.authd.expect("ACCOUNT_LAST")
    meter.bounded(16 * MB, "logins")


@pytest.mark.parametrize("command", ["help", "session\nlist", "nonsense", "user\nadd\nnurse@localhost\nx",
                                     "show\ncounters"])
def test_commands(fresh, command):
    """A flood on the control socket by who does not read the answers, or asks who does not answer."""
    world, meter = fresh, Meter(fresh)
    for link in (world.authd, world.archived):
        link.pump()
    clerks = [world.router.aldisctl() for _ in range(3)]
    data = Frame("CONTROL", number=1, text=command).bytes() * 50000
    for clerk in clerks:
        meter.look(clerk.offer(data, 0.15))
    for _ in range(3):
        whisper_among_commands(world)
        meter.look()
    world.authd.pump()
    assert len(world.authd.frames) <= 64 * len(clerks)
    for link in (world.authd, world.archived):
        link.frames.clear()
    meter.bounded(64 * MB, "commands: " + command.replace("\n", " ")[:20])
    for clerk in clerks:
        clerk.close()
    world.router.settle()


def whisper_among_commands(world):
    """As whisper(), where the honest c2sd is asked for its counters too."""
    world.c2sd.send(headline(world.juliet, world.romeo.jid))
    while True:
        got = world.c2sd.next()
        if got.type == "STANZA":
            assert got.text("from") == world.juliet.jid.encode()
            break
        assert got.type in ("ACK", "CONTROL")


def test_many_commands(fresh):
    """Of one client's commands so many are under way; the others wait, and all are answered."""
    world = fresh
    clerk = world.router.aldisctl()
    for number in range(200):
        clerk.send(Frame("CONTROL", number=number, text="user\nadd\nnurse@localhost\nx"))
    world.router.settle()
    world.authd.pump()
    assert 1 <= len(world.authd.frames) <= 64
    for number in range(200):
        asked = world.authd.expect("CONTROL")
        world.authd.send(Frame("CONTROL_REPLY", number=asked.number, payload='"%d"' % number))
        assert clerk.expect("CONTROL_REPLY").text("payload") == b'"%d"' % number
    clerk.close()


def test_large_frames(fresh):
    """Frames as long as may be, in requests that nobody answers."""
    world, meter = fresh, Meter(fresh)
    bad = world.hostile("C2SD")
    mallory = world.login("mallory", bad)
    for _ in range(40):
        data = mallory.stanza("IQ", "SET", to="localhost", ns="urn:x", name="x",
                              payload="<x>%s</x>" % ("y" * (4 * MB - 40000))).bytes()
        bad.send_bytes(data)
        meter.look(len(data))
        bad.pump()
        bad.frames.clear()
    world.router.settle(bad)
    bad.pump()
    bad.frames.clear()
    whisper(world)
    meter.bounded(32 * MB, "large frames")
