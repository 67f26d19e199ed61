"""test_rooms.py: what rooms say on its road: a mucd that was taken over, entry daemons that say TAKEN wrongly, an archived
that sends history unasked; and c2sd and s2sd behind a router that was killed, so that all comes again."""

import pytest

from cast import handle
from frames import Frame
from test_receivers import COMPONENT, Clients, Servers, c2sd_works, s2sd_works

ROOMS, ROOM, NICK = "rooms.localhost", "room@rooms.localhost", "room@rooms.localhost/nick"
TOKEN = b"0123456789abcdef"
LAST = 2**64 - 1
SID, DELAY = "{urn:xmpp:sid:0}stanza-id", "{urn:xmpp:delay}delay"


@pytest.fixture
def mucd(world):
    """mucd, which numbers what its rooms say."""
    link = world.hostile("MUCD", "domain %s\n" % ROOMS)
    link.number = next(world.counters) * 1000
    yield link
    link.close()
    world.router.hear("LOST")
    world.router.settle()


def said(link, *receivers, **values):
    """The next stanza of a room."""
    link.number += 1
    return Frame("STANZA", "MESSAGE", "GROUPCHAT", origin=link.incarnation, seq=next(link.seqs),
                 **{"from": NICK, "number": link.number, "numbers": list(receivers), "payload": "<body>x</body>",
                    "id": "x", "flags": "ROOM CONTENT BODY", **values})


def stored(link, *receivers, **values):
    return said(link, *receivers, **{"flags": "ROOM STORE FROM_LOCAL CONTENT BODY", "to": ROOM, "token": TOKEN,
                                     "jid": "juliet@localhost", **values})


def history(link, **values):
    link.number += 1
    return Frame("HISTORY", origin=link.incarnation, seq=next(link.seqs),
                 **{"jid": ROOM, "number": link.number, "numbers": [20, LAST], "token": TOKEN, **values})


def part(asked, archive_id, **values):
    return Frame("STANZA", "MESSAGE", "GROUPCHAT", handle=asked.handle, archive_id=archive_id, stamp=5,
                 **{"from": NICK, "number": asked.number, "payload": "<body>x</body>",
                    "flags": "ROOM SPOOL CONTENT BODY", **values})


def take(world, frame):
    """The honest c2sd gets a stanza, and takes it."""
    got = world.c2sd.expect("STANZA")
    assert got.number == frame.number and got.flags & 1 << 30
    world.c2sd.send(Frame("TAKEN", number=got.number))
    return got


def acked(mucd, frame):
    assert mucd.expect("ACK").numbers == [frame.seq, frame.seq]


# -- the road -------------------------------------------------------------------------------------------------


def test_order_behind_a_stored_message(world, mucd, victims):
    """What is not stored waits behind what is being stored, for all rooms."""
    juliet, romeo = victims
    first, second = stored(mucd, juliet.handle, romeo.handle), said(mucd, romeo.handle, **{"from": "a@" + ROOMS})
    mucd.send(first, second)
    assert world.archived.expect("STANZA").number == first.number
    world.silent()
    number = next(world.archive_ids)
    world.archived.send(Frame("STORED", origin=mucd.incarnation, numbers=[first.seq, number, 0]))
    got = take(world, first)
    assert sorted(got.numbers) == sorted([juliet.handle, romeo.handle]) and got.archive_id == number
    acked(mucd, first)
    assert take(world, second).numbers == [romeo.handle]
    acked(mucd, second)


def test_c2sd_killed(world, mucd, victims):
    """Who dies has taken all, and its sessions get nothing more."""
    entry = world.entry(next(world.indices))
    world.calm()
    nurse = world.login("nurse", entry)
    frame = said(mucd, victims[0].handle, nurse.handle)
    mucd.send(frame)
    assert entry.expect("STANZA").numbers == [nurse.handle]
    take(world, frame)
    world.silent()
    mucd.pump()
    assert mucd.frames == []
    entry.close()
    world.entries.remove(entry)
    world.router.hear("LOST")
    acked(mucd, frame)
    frame = said(mucd, nurse.handle)
    mucd.send(frame)
    acked(mucd, frame)


# -- mucd that was taken over -----------------------------------------------------------------------------------

FORGED = {
    "an account": ({"from": "juliet@localhost/x"}, "not its address"),
    "another domain": ({"from": "room@elsewhere.example/x"}, "not its address"),
    "nobody": ({"from": None}, "not its address"),
    "not canonical": ({"from": "ROOM@rooms.localhost/x"}, "not its address"),
    "another room's archive": ({"to": "other@" + ROOMS}, "not for its archive"),
    "an account's archive": ({"to": "juliet@localhost"}, "not for its archive"),
    "no token": ({"token": b"x"}, "not for its archive"),
    "a full sender": ({"jid": "juliet@localhost/x"}, "not for its archive"),
    "a spool": ({"flags": "ROOM STORE FROM_LOCAL TO_LOCAL"}, "flags"),
    "another server's spool": ({"flags": "ROOM STORE FROM_LOCAL TO_REMOTE"}, "flags"),
    "out of a spool": ({"flags": "ROOM SPOOL"}, "flags"),
    "a move": ({"flags": "ROOM HANDOVER"}, "flags"),
    "a copy": ({"flags": "ROOM CARBON"}, "flags"),
    "no archive": ({"flags": "ROOM FROM_LOCAL"}, "flags"),
    "an id": ({"archive_id": 9}, "not its receivers"),
    "a stream": ({"handle": handle(10, 1)}, "not its receivers"),
    "an audience": ({"audience": "AVAILABLE"}, "not its receivers"),
    "a line that is no address": ({"text": "a@b.example/c\nnot one\n"}, "not its receivers"),
    "a bare address": ({"text": "a@b.example"}, "not its receivers"),
    "the same number": ({"number": 0}, "number"),
}


@pytest.mark.parametrize("what", FORGED)
def test_forged(world, mucd, victims, what):
    """It is refused, has no effect, and mucd need not keep it."""
    values, reason = FORGED[what]
    frame = stored(mucd, victims[0].handle, **values)
    mucd.send(frame)
    world.refused("frame refused peer=mucd .*type=STANZA reason=\"%s\"" % reason)
    acked(mucd, frame)


@pytest.mark.parametrize("values,reason", [
    ({"from": "romeo@localhost/x"}, "not its address"), ({"to": "JULIET@localhost"}, "malformed stanza"),
    ({"token": b""}, "malformed stanza"), ({"to": None}, "malformed stanza"),
    ({"numbers": [handle(10, 1)]}, "not its receivers"), ({"text": "a@b.example/c"}, "not its receivers"),
    ({"flags": "STORE FROM_LOCAL"}, "flags"), ({"flags": "STORE TO_LOCAL"}, "flags"),
])
def test_forged_invitation(world, mucd, values, reason):
    frame = Frame("STANZA", "MESSAGE", "NORMAL", origin=mucd.incarnation, seq=next(mucd.seqs),
                  **{"from": ROOM, "to": "juliet@localhost", "token": TOKEN, "flags": "STORE CONTENT",
                     "payload": "<x/>", **values})
    mucd.send(frame)
    world.refused("frame refused peer=mucd .*type=STANZA reason=\"%s\"" % reason)
    acked(mucd, frame)


@pytest.mark.parametrize("kind,values,reason", [
    ("HISTORY", {"jid": "juliet@localhost"}, "not its address"), ("HISTORY", {"jid": NICK}, "not its address"),
    ("HISTORY", {"jid": ROOMS}, "not its address"), ("HISTORY", {"numbers": []}, "how much"),
    ("HISTORY", {"handle": 0}, "not its receivers"),
    ("HISTORY", {"to": "a@b.example/c"}, "not its receivers"),
    ("REDACT", {"jid": "juliet@localhost"}, "not its address"), ("REDACT", {"jid": None}, "not its address"),
])
def test_forged_orders(world, mucd, victims, kind, values, reason):
    frame = history(mucd, **{"handle": victims[0].handle, **values})
    frame.type = kind
    mucd.send(frame)
    world.refused("frame refused peer=mucd .*type=%s reason=\"%s\"" % (kind, reason))
    acked(mucd, frame)


def test_not_in_custody(world, mucd, victims):
    for flags in ("ROOM", "STORE", "ROOM STORE FROM_LOCAL"):
        frame = stored(mucd, victims[0].handle, flags=flags)
        frame.seq = 0
        mucd.send(frame)
    world.refused("frame refused peer=mucd .*type=STANZA reason=\"not in custody\"")
    mucd.pump()
    assert mucd.frames == []


@pytest.mark.parametrize("values", [
    {"jid": "juliet@localhost"}, {"jid": ROOMS}, {"jid": None}, {"from": "romeo@localhost/r"},
    {"from": "a@elsewhere.example/x"}, {"handle": 0}, {"subtype": "RESULT"}])
def test_forged_query(world, mucd, victims, values):
    """A query in the name of a session that has not asked, or of another archive."""
    juliet = victims[0]
    values = {"jid": ROOM, "from": juliet.jid, "handle": juliet.handle, "subtype": "SET", **values}
    mucd.send(Frame("ROOM_QUERY", id="q", payload="<x/>", **values))
    world.refused("frame (refused|dropped) peer=mucd .*type=ROOM_QUERY")


# -- those who have to take it -------------------------------------------------------------------------------------


def test_taken_wrongly(world, mucd, victims):
    """Nobody takes what he was not given."""
    frame = said(mucd, victims[0].handle)
    mucd.send(frame)
    assert world.c2sd.expect("STANZA").number == frame.number
    bad = world.hostile("C2SD")
    for number in (frame.number, 0, 1, LAST):
        bad.send(Frame("TAKEN", number=number))
    world.refused("frame refused peer=c2sd .*type=TAKEN reason=\"not given to it\"")
    mucd.pump()
    assert mucd.frames == []
    world.c2sd.send(Frame("TAKEN", number=frame.number))
    acked(mucd, frame)


def test_history_unasked(fresh):
    """archived speaks as a room to who has entered it, when it is asked for that, and to nobody else."""
    world, juliet, romeo = fresh, fresh.juliet, fresh.romeo
    mucd = world.hostile("MUCD", "domain %s\n" % ROOMS)
    mucd.number = 7
    asked = history(mucd, handle=juliet.handle)
    world.archived.send(part(asked, 5))
    world.refused("frame refused peer=archived .*type=STANZA reason=\"not asked for\"")
    mucd.send(asked)
    assert world.archived.expect("HISTORY").handle == juliet.handle
    bad = [part(asked, 5, **{"from": "other@%s/x" % ROOMS}), part(asked, 5, **{"from": romeo.jid}),
           part(asked, 0), part(asked, LAST), part(asked, 5, numbers=[romeo.handle]), part(asked, 5, to=romeo.jid),
           part(asked, 5, flags="ROOM"), part(asked, 5, flags="ROOM SPOOL STORE"), part(asked, 5, number=99)]
    bad.append(part(asked, 5))
    bad[-1].handle = romeo.handle
    world.archived.send(*bad)
    world.refused("frame refused peer=archived .*type=STANZA")
    world.archived.send(part(asked, 5), Frame("HISTORY_END", origin=mucd.incarnation, seq=asked.seq))
    assert world.c2sd.expect("STANZA").receivers() == [juliet.handle]
    assert world.c2sd.expect("HISTORY_END").number == asked.number
    world.archived.send(part(asked, 6), Frame("HISTORY_END", origin=mucd.incarnation, seq=asked.seq))
    world.silent()
    world.c2sd.send(Frame("TAKEN", number=asked.number))
    acked(mucd, asked)


def test_archived_killed(fresh):
    """The next archived gets what the last one has not answered, in order, and nothing is seen before."""
    world, juliet = fresh, fresh.juliet
    mucd = world.hostile("MUCD", "domain %s\n" % ROOMS)
    mucd.number = 7
    first, second = stored(mucd, juliet.handle), stored(mucd, juliet.handle)
    mucd.send(first)
    world.archived.expect("STANZA")
    world.archived.close()
    world.router.hear("LOST")
    mucd.send(second)
    world.router.settle(mucd)
    world.archived = world.router.link("ARCHIVED", 0, 30)
    world.archived.send(Frame("HELLO"))
    world.archived.expect("WELCOME")
    world.archived.send(Frame("READY"))
    got = []
    while len(got) < 2:
        frame = world.archived.next()
        got += [frame] if frame.type == "STANZA" else []
    assert [frame.seq for frame in got] == [first.seq, second.seq]
    world.c2sd.pump()
    assert not [frame for frame in world.c2sd.frames if frame.type == "STANZA"]
    for number, frame in enumerate((first, second)):
        world.archived.send(Frame("STORED", origin=mucd.incarnation, numbers=[frame.seq, 5000 + number, 0]))
    while (frame := world.c2sd.next()).type != "STANZA":
        if frame.type == "RESEND":
            world.c2sd.send(frame)
    assert frame.number == first.number
    take(world, second)
    assert mucd.expect("ACK").numbers == [first.seq, second.seq]
    world.archive_ids = iter(range(6000, 9000))


# -- c2sd and s2sd, with us as their router ---------------------------------------------------------------------------


def room_says(number, words, **values):
    return Frame("STANZA", "MESSAGE", "GROUPCHAT", number=number, payload="<body>%s</body>" % words,
                 **{"from": NICK, "flags": "ROOM CONTENT BODY", **values})


@pytest.fixture
def c2sd(tmp_path):
    with Clients("C2SD", tmp_path, incarnation=5) as program:
        yield program
        program.check()
        c2sd_works(program)


@pytest.fixture
def s2sd(tmp_path):
    with Servers("S2SD", tmp_path, incarnation=4) as program:
        yield program
        program.check()
        s2sd_works(program)


def test_nothing_twice_at_c2sd(c2sd):
    """What comes again is taken again, and not written; also from the next router."""
    client, number = c2sd.login()

    def history(*ids):
        return [room_says(1, "h%d" % i, handle=number, archive_id=i, stamp=5, flags="ROOM SPOOL CONTENT BODY MORE")
                for i in ids] + [Frame("HISTORY_END", number=1)]

    def live(n):
        return room_says(n, "m%d" % n, numbers=[number], archive_id=100 + n)

    c2sd.router.send(*history(10, 11)[:1])
    assert c2sd.quiet() == []
    c2sd.router.send(*history(10, 11))
    first, second = client.message(), client.message()
    assert [m.findtext("{jabber:client}body") for m in (first, second)] == ["h10", "h11"]
    assert first.find(DELAY).get("from") == ROOM and first.find(SID).get("by") == ROOM
    assert first.find(SID).get("id") == "%016x" % 10
    assert [f.number for f in c2sd.quiet() if f.type == "TAKEN"] == [1]
    c2sd.router.send(live(2), live(3), live(2))
    for n in (2, 3):
        message = client.message()
        assert message.findtext("{jabber:client}body") == "m%d" % n
        assert message.find(SID).get("by") == ROOM and message.find(DELAY) is None
    taken = [f.number for f in c2sd.quiet()]
    assert taken in ([3, 2], [2, 3, 2])
    c2sd.relink()
    c2sd.router.send(Frame("RESEND"))
    c2sd.router.expect("RESEND")
    c2sd.router.send(*history(10, 11), live(2), live(3), live(4))
    assert client.message().findtext("{jabber:client}body") == "m4"
    assert c2sd.quiet()[-1].number == 4
    client.close()


def test_room_at_s2sd(s2sd):
    """One frame for all who are in a domain: a stanza each, and what is in it twice, or for others, is not written."""
    client, number = s2sd.component()

    def row(n, *users, **values):
        receivers = "".join("%s@%s/x\n" % (user, COMPONENT) for user in users)
        return Frame("STANZA", "MESSAGE", "GROUPCHAT", payload="<body>m%d</body>" % n, handle=number, archive_id=n,
                     **{"from": NICK, "to": COMPONENT, "text": receivers, "numbers": [100 + n],
                        "flags": "ROOM TO_REMOTE CONTENT BODY", **values})

    def body():
        message = client.next()
        assert message.find(SID).get("by") == ROOM and message.find(SID).get("id").startswith("0000")
        return message.get("to").partition("@")[0], message.findtext("{jabber:component:accept}body")

    s2sd.router.send(row(2, "a", "b"), row(2, "a", "b", flags="ROOM TO_REMOTE CONTENT BODY SPOOL"), row(3, "b"))
    assert [body(), body(), body()] == [("a", "m2"), ("b", "m2"), ("b", "m3")]
    s2sd.router.send(row(4, "a", text="a@elsewhere.example/x\n"), row(5, "a", text="a@%s/x\nb\n" % COMPONENT),
                     row(6, "a", text=""), row(7, "a", flags="ROOM CONTENT BODY"), row(8, "a", to="x@" + COMPONENT),
                     row(9, "c"))
    assert body() == ("c", "m9")
    client.close()
