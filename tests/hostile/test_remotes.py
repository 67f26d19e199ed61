"""test_remotes.py: an s2sd that was taken over. It has a remote domain, capulet.example, and knows the handles
of the victims."""

import pytest

from cast import handle
from frames import Frame

CAPULET, NURSE = "capulet.example", "nurse@capulet.example"
ROOMS = "rooms.localhost"


class Remote:
    """A domain that a hostile s2sd has opened."""

    def __init__(self, world, link, domain=CAPULET):
        self.link, self.domain = link, domain
        self.handle = handle(link.incarnation, next(world.counters))
        link.send(Frame("REMOTE_OPEN", handle=self.handle, domain=domain))
        world.router.settle(link)
        world.archived.pump()
        while world.archived.frames and world.archived.frames[0].type == "REMOTE_WAITING":
            world.archived.frames.pop(0)
        drain = world.archived.expect("DRAIN")
        assert drain.handle == self.handle and drain.text("jid") == domain.encode()
        world.archived.send(Frame("DRAINED", handle=self.handle, number=7))
        world.router.settle(world.archived)

    def stanza(self, kind, subtype, **values):
        return Frame("STANZA", kind, subtype, origin=self.link.incarnation, seq=next(self.link.seqs),
                     **{"handle": self.handle, "payload": b"", "id": "x", "from": NURSE, **values})

    def chat(self, to, **values):
        return self.stanza("MESSAGE", "CHAT", to=to, **{"flags": "CONTENT BODY",
                                                        "payload": "<body>x</body>", **values})


@pytest.fixture
def bad(world):
    link = world.hostile("S2SD", "domain *\n")
    yield link
    link.close()
    world.router.hear("LOST")
    world.calm()


@pytest.fixture
def remote(world, bad):
    return Remote(world, bad)


@pytest.fixture
def mucd(world):
    link = world.hostile("MUCD", "domain %s\n" % ROOMS)
    yield link
    link.close()
    world.router.hear("LOST")


def taken(world, bad):
    """The frames of the hostile one were acknowledged, and nothing else was said to it."""
    world.router.settle(bad)
    bad.pump()
    frames, bad.frames = bad.frames, []
    return [f for f in frames if f.type != "ACK"]


def test_honest(world, bad, remote, victims):
    """What it may do, so that the other tests mean something."""
    juliet = victims[0]
    bad.send(remote.stanza("IQ", "GET", to=juliet.jid, ns="urn:x", name="x"))
    assert world.c2sd.expect("STANZA").text("from") == NURSE.encode()


@pytest.mark.parametrize("domain", ["localhost", "rooms.localhost", NURSE, "capulet.example/x", "Verona.example",
                                    "verona..example", "", None, b"ver\xffona.example", b"verona.example\0",
                                    "x" * 5000, CAPULET])
def test_open(world, bad, mucd, remote, domain):
    """A domain of ours, of mucd, one twice, and what is none."""
    number = handle(bad.incarnation, next(world.counters))
    bad.frames.clear()
    bad.send(Frame("REMOTE_OPEN", handle=number, domain=domain))
    world.refused("frame refused peer=s2sd .*type=REMOTE_OPEN")
    answers = [f for f in taken(world, bad) if f.type == "SESSION_KILL"]
    assert [f.handle for f in answers] == [number]


def test_open_handles(world, bad, remote, victims):
    """Another's handle, or one that is in use."""
    bad.frames.clear()
    numbers = [victims[0].handle, handle(world.c2sd.incarnation, 77777), remote.handle, 0, 2**64 - 1]
    for number in numbers:
        bad.send(Frame("REMOTE_OPEN", handle=number, domain="verona.example"))
    world.refused("type=REMOTE_OPEN reason=\"?handle")
    assert [f.handle for f in taken(world, bad) if f.type == "SESSION_KILL"] == numbers


FORGED = [{"from": "juliet@localhost"}, {"from": "localhost"}, {"from": "room@rooms.localhost/nick"},
          {"from": "nurse@verona.example"}, {"from": "nurse@sub.capulet.example"}, {"from": None}, {"from": ""},
          {"from": b"\xff@capulet.example"}, {"from": "Nurse@capulet.example"}, {"from": b"nurse\0@capulet.example"},
          {"to": None}, {"to": "ROMEO@localhost"}, {"to": "nurse@verona.example"}, {"to": "verona.example"}]


@pytest.mark.parametrize("values", FORGED)
def test_forged(world, bad, remote, victims, values):
    """Nobody gets what is in another's name, or for others elsewhere; and it does not come again."""
    values = {"to": victims[1].jid, **values}
    bad.send(remote.chat(**values), remote.stanza("IQ", "GET", ns="urn:x", name="x", **values),
             remote.stanza("PRESENCE", "AVAILABLE", **values),
             remote.stanza("PRESENCE", "SUBSCRIBE", **values))
    world.refused("frame refused peer=s2sd .*type=STANZA")
    assert taken(world, bad) == []


def test_forged_marks(world, bad, remote, victims):
    """What only the router may say of a stanza is taken off."""
    romeo = victims[1]
    frame = remote.stanza("IQ", "GET", to=romeo.jid, ns="urn:x", name="x", archive_id=7, stamp=1,
                          numbers=[victims[0].handle], jid=victims[0].jid, text="x", token=b"t" * 32,
                          flags="STORE FROM_LOCAL TO_LOCAL TO_REMOTE SPOOL MORE")
    frame.audience = "CONNECTED"
    bad.send(frame)
    got = world.c2sd.expect("STANZA")
    assert got.receivers() == [romeo.handle] and got.audience == "NONE" and got.archive_id == 0
    assert got.flags == 0 and not {"jid", "text", "token"} & set(got.fields)


def test_handles_of_others(world, bad, remote, victims):
    """A client's stream: no stanza, no end, no pause, no report."""
    juliet, romeo = victims
    bad.send(remote.chat(romeo.bare, handle=juliet.handle),
             Frame("SESSION_END", handle=juliet.handle), Frame("SESSION_PAUSE", handle=juliet.handle),
             Frame("SESSION_DRAIN", handle=juliet.handle))
    world.refused("session of another daemon")
    for kind in ("DELIVERED", "UNDELIVERABLE"):
        bad.send(Frame(kind, origin=bad.incarnation, seq=next(bad.seqs), numbers=[juliet.handle, 5],
                       condition="gone"))
        got = world.archived.expect(kind)
        assert not got.fields.get("numbers")
    world.silent()


def test_undeliverable(world, bad, remote):
    """Only its own domain's spool; numbers that are no pairs; the same number twice."""
    other = handle(bad.incarnation, 99999)
    seq = next(bad.seqs)
    bad.send(Frame("UNDELIVERABLE", origin=bad.incarnation, seq=seq, condition="gone", text="x",
                   numbers=[remote.handle, 5, other, 6, 0, 7, 2**64 - 1, 8, remote.handle]))
    got = world.archived.expect("UNDELIVERABLE")
    assert got.numbers == [7, 5] and got.origin == bad.incarnation and got.seq == seq
    bad.send(Frame("UNDELIVERABLE", origin=bad.incarnation, seq=seq, numbers=[remote.handle, 9]))
    world.refused("out of order")


def test_acknowledges(world, bad, remote, victims):
    """It takes no responsibility for anything."""
    sent = victims[0].chat(NURSE)
    victims[0].entry.send(sent)
    world.archived.expect("STANZA")
    for numbers in ([sent.seq, sent.seq], [1, 2**64 - 1]):
        bad.send(Frame("ACK", origin=world.c2sd.incarnation, numbers=numbers),
                 Frame("STORED", origin=world.c2sd.incarnation, numbers=[sent.seq, 5, 7]),
                 Frame("SPOOLED", jid=victims[0].bare), Frame("REMOTE_WAITING", text="x\n"))
    world.refused("frame refused peer=s2sd .*type=(ACK|STORED)")
    world.archived.send(Frame("STORED", origin=world.c2sd.incarnation, numbers=[sent.seq, 5, 7]))
    assert world.c2sd.expect("ACK").numbers == [sent.seq, sent.seq]
    got = [f for f in taken(world, bad) if f.type == "STANZA"]
    assert [f.handle for f in got] == [remote.handle] and got[0].archive_id == 5


def test_many_domains(world, bad):
    """Ten thousand domains cost memory that goes back."""
    before = world.router.memory()
    for number in range(10000):
        bad.send(Frame("REMOTE_OPEN", handle=handle(bad.incarnation, 10**6 + number), domain="d%d.example" % number))
    world.router.settle(bad)
    assert world.router.memory() - before < 64 << 20
    for number in range(10000):
        bad.send(Frame("SESSION_END", handle=handle(bad.incarnation, 10**6 + number)))
    world.router.settle(bad)
    world.archived.pump()
    world.archived.frames.clear()


def test_waiting_of_archived(world, bad):
    """What a lying archived says of domains goes to s2sd as it is: that one checks it."""
    world.archived.send(Frame("REMOTE_WAITING", text=b"\xff\n@\n\0"), Frame("SPOOLED", jid=b"\xff"), Frame("SPOOLED"))
    world.refused("frame refused peer=archived .*type=SPOOLED")
    assert [f.type for f in taken(world, bad)] == ["REMOTE_WAITING"]
