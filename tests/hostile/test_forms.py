"""test_forms.py: bytes that are no frames, and frames of types that a role may not send."""

import random
import struct

import pytest

from frames import FIELDS, FRAME_MAX, FROM_ENTRY, HEAD, ROLES, SENDERS, Frame
from program import Dropped

PLAYED = [role for role in ROLES if role not in ("NONE", "ROUTER")]
DAEMONS = [role for role in PLAYED if role in SENDERS["HELLO"]]
FORBIDDEN = [(role, kind) for role in PLAYED for kind in SENDERS if role not in SENDERS[kind]]
# What a role may say to somebody, but not to the router.
MISPLACED = [("C2SD", "KEY_USE"), ("AUTHD", "KEY_RESULT")]

VICTIM = "juliet@localhost"


def loaded(kind, world):
    """A frame of this type that would do something if it were believed."""
    return Frame(kind, "MESSAGE", "CHAT", handle=world.juliet.handle, origin=world.c2sd.incarnation,
                 seq=1, number=world.juliet.handle, archive_id=1, numbers=[1, 1], jid=VICTIM,
                 to=VICTIM, text="domain evil.example\n", payload="<body>evil</body>", token=b"t" * 32,
                 condition="conflict", data=b"x", **{"from": "romeo@localhost/x"})


@pytest.mark.parametrize("role", PLAYED)
def test_types_of_other_roles(world, role):
    """Every frame type that frame.def does not let a role send is dropped with a line."""
    kinds = [kind for r, kind in FORBIDDEN if r == role]
    assert kinds
    for kind in kinds:
        bad = world.router.link(role, 63, next(world.incarnations))
        bad.send(loaded(kind, world))
        world.router.settle(bad)
        world.refused(r"frame refused peer=\S+ index=63 type=%s reason=\"not for this role\"" % kind)
        bad.pump()
        assert not bad.frames and not bad.closed


@pytest.mark.parametrize("role", DAEMONS)
def test_types_of_other_roles_live(world, role):
    """The same on one link of a daemon that is registered: none has an effect."""
    bad = world.hostile(role)
    bad.send(*[loaded(kind, world) for r, kind in FORBIDDEN if r == role])
    world.refused(r"frame refused peer=\S+ index=%d .*\"not for this role\"" % bad.index)


@pytest.mark.parametrize("role,kind", MISPLACED)
def test_not_for_the_router(world, role, kind):
    bad = world.hostile(role)
    bad.send(loaded(kind, world))
    world.refused(r"frame refused .*type=%s reason=\"not for the router\"" % kind)


# -- frames that do not fit the form -------------------------------------------------------------------------


def field(name, data, length=None):
    number = FIELDS.index(name) if isinstance(name, str) else name
    return struct.pack("=I", number << 24 | (len(data) if length is None else length)) + data


def raw(fields, **instead):
    head = Frame("STANZA", "MESSAGE", "CHAT", seq=1)
    return head.head(HEAD.size + len(fields), **instead) + fields


MALFORMED = {
    "field past the end": raw(field("to", b"x", 100)),
    "half a field head": raw(b"\1\0"),
    "unknown field": raw(field(len(FIELDS), b"x")),
    "field 255": raw(field(255, b"")),
    "repeated field": raw(field("to", b"a@localhost") + field("to", b"b@localhost")),
    "numbers not whole": raw(field("numbers", b"1234567")),
    "type 0": raw(b"", type=0),
    "type 255": raw(b"", type=255),
    "kind": raw(b"", kind=4),
    "subtype": raw(b"", subtype=200),
    "audience": raw(b"", audience=99),
    "unknown flag": raw(b"", flags=1 << 31),
}


@pytest.mark.parametrize("what", MALFORMED)
def test_malformed_frame(world, what):
    """The frame is dropped, the link goes on."""
    bad = world.hostile("C2SD")
    bad.send_bytes(MALFORMED[what])
    world.refused(r"frame refused peer=c2sd .*reason=\"malformed\"")
    number = world.grant(bad, "mallory@localhost")
    bad.send(Frame("SESSION_END", handle=number))


@pytest.mark.parametrize("length", [0, 1, HEAD.size - 1, FRAME_MAX + 1, 0xffffffff])
def test_length_that_lies(world, length):
    """Nothing behind it can be understood: the link is dropped."""
    bad = world.hostile("C2SD")
    bad.send_bytes(Frame("STANZA").head(length) + b"x" * 4096)
    world.dropped(bad, r"link malformed peer=c2sd index=%d" % bad.index)


def test_truncated_then_gone(world):
    """Half a frame and the end of the stream."""
    bad = world.hostile("MUCD")
    bad.send_bytes(Frame("STANZA", payload=b"x" * 1000).bytes()[:700])
    world.router.settle(bad)
    bad.close()
    assert world.router.hear("LOST") == ("MUCD", bad.index, bad.incarnation)
    world.refused("daemon gone name=mucd")


def test_byte_by_byte(world):
    """A frame in single bytes is a frame; a large one that never ends takes no more than its length."""
    bad = world.hostile("C2SD")
    for byte in Frame("AUTH_START", handle=bad.incarnation << 32 | 5, name="PLAIN").bytes():
        bad.send_bytes(bytes([byte]))
    assert world.authd.expect("AUTH_START").handle == bad.incarnation << 32 | 5
    before = world.router.memory()
    bad.send_bytes(Frame("STANZA").head(FRAME_MAX) + b"x" * (FRAME_MAX - 4096))
    world.silent()
    assert world.router.memory() - before < 3 * FRAME_MAX


def test_noise(world):
    """Random bytes, and good frames with single bits turned: whatever comes of it, nothing breaks."""
    noise = random.Random(1)
    for _ in range(20):
        bad = world.hostile("C2SD")
        try:
            bad.send_bytes(noise.randbytes(20000))
        except Dropped:
            pass
    bad = world.hostile("MUCD", "domain rooms.localhost\n")
    good = Frame("STANZA", "MESSAGE", "GROUPCHAT", to=world.juliet.jid, payload="<body>x</body>",
                 **{"from": "room@rooms.localhost/nick"}).bytes()
    for _ in range(2000):
        turned = bytearray(good)
        # Not in the length: that is another test.
        at = noise.randrange(4, len(turned))
        turned[at] ^= 1 << noise.randrange(8)
        bad.send_bytes(bytes(turned))
    world.router.settle(bad)
    world.c2sd.pump()
    for frame in world.c2sd.frames:
        assert frame.text("from").endswith(b"rooms.localhost/nick") or b"rooms.localhost" in frame.text("from")
        assert frame.receivers() == [world.juliet.handle]
        assert frame.flags & ~FROM_ENTRY == 0
    world.c2sd.frames.clear()
