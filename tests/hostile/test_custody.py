"""test_custody.py: who may acknowledge what, and a hostile archived and authd.

The honest ones are there too: what they were given is theirs to answer.
"""

import pytest

from cast import handle, token
from frames import Frame
from program import DOMAIN

LAST = 2**64 - 1


def pass_on(world):
    """A frame of Juliet's that authd was given and has not acknowledged."""
    request = world.juliet.stanza("IQ", "SET", ns="jabber:iq:roster", name="query")
    world.c2sd.send(request)
    assert world.authd.expect("STANZA").seq == request.seq
    world.mark()
    return request.seq


def ack(world, *numbers, origin=None):
    return Frame("ACK", origin=world.c2sd.incarnation if origin is None else origin, numbers=numbers)


@pytest.mark.parametrize("role", ["ARCHIVED", "MUCD", "FORMSD"])
def test_ack_of_another(world, role):
    """An acknowledgement by who was not given the frame is refused: it would be lost."""
    bad = world.hostile(role)
    seq = pass_on(world)
    bad.send(ack(world, seq, seq), ack(world, 1, LAST))
    world.refused("frame refused peer=%s .*type=ACK reason=\"frames of another daemon\"" % role.lower())
    world.authd.send(ack(world, seq, seq))
    assert world.c2sd.expect("ACK").numbers == [seq, seq]


def test_ack_of_a_message_being_stored(fresh):
    """Only archived's STORED has a message acknowledged, not even authd's ACK."""
    world, romeo = fresh, fresh.romeo
    mucd = world.hostile("MUCD")
    sent = world.juliet.chat(romeo.bare)
    world.c2sd.send(sent)
    world.archived.expect("STANZA")
    for bad in (world.authd, world.archived, mucd):
        world.mark()
        bad.send(ack(world, sent.seq, sent.seq), ack(world, 1, LAST))
        world.refused("frame (dropped|refused) .*type=ACK")
    world.archived.send(Frame("STORED", origin=world.c2sd.incarnation,
                              numbers=[sent.seq, next(world.archive_ids), 7]))
    assert world.c2sd.expect("STANZA").receivers() == [romeo.handle]
    assert world.c2sd.expect("ACK").numbers == [sent.seq, sent.seq]


RANGES = {"from 0": (0, LAST), "inverted": (9, 3), "inverted, huge": (LAST, 1), "half a pair": (1,),
          "a pair and a half": (1, 1, 2)}


@pytest.mark.parametrize("what", RANGES)
def test_ranges_that_are_none(world, victims, what):
    bad = world.hostile("MUCD")
    bad.send(ack(world, *RANGES[what]))
    world.refused("type=ACK reason=\"frames of another daemon\"")


def test_ranges_of_authd(fresh):
    """Overlapping, repeated and huge ranges of the right daemon: each frame is acknowledged once."""
    world, juliet = fresh, fresh.juliet
    requests = [juliet.stanza("IQ", "SET", ns="jabber:iq:roster", name="query") for _ in range(4)]
    world.c2sd.send(*requests)
    for _ in requests:
        world.authd.expect("STANZA")
    first, last = requests[0].seq, requests[-1].seq
    assert last == first + 3
    world.authd.send(ack(world, first + 1, first + 1, first + 1, first + 1))
    assert world.c2sd.expect("ACK").numbers == [first + 1, first + 1]
    world.authd.send(ack(world, last, last, first, first + 2, 1, LAST))  # out of order
    assert world.c2sd.expect("ACK").numbers == [last, last, first, first, first + 2, first + 2]
    world.mark()
    world.authd.send(ack(world, first, last), ack(world, 1, LAST), ack(world, LAST, LAST))
    world.refused("frame dropped peer=authd .*type=ACK")


@pytest.mark.parametrize("origin", [0, 2, 3, 0xffffffff])
def test_ack_of_no_entry(world, victims, origin):
    """Origins that have nothing in custody: none, authd, archived, nobody."""
    world.hostile("MUCD").send(ack(world, 1, LAST, origin=origin))
    world.refused("type=ACK")


def test_many_pairs(world, victims):
    """As many ranges as a frame holds cost no more than reading them."""
    bad = world.hostile("MUCD")
    bad.send(ack(world, *[n for i in range(1, 250000) for n in (i, LAST)]))
    world.refused("type=ACK")


# -- a hostile archived ---------------------------------------------------------------------------------------


def test_stored_never_sent(world, victims):
    bad = world.hostile("ARCHIVED")
    world.mark()
    for numbers in ([1, 5, 7], [LAST, LAST, LAST], [0, 0, 0], [10**6, 5, 7] * 1000):
        bad.send(Frame("STORED", origin=world.c2sd.incarnation, numbers=numbers))
    bad.send(Frame("STORED", origin=99, numbers=[1, 2, 3]))
    world.refused("frame dropped peer=archived .*type=STORED reason=\"nobody waits for it\"")
    bad.send(Frame("STORED", origin=world.c2sd.incarnation, numbers=[1, 2]))
    world.refused("frame refused peer=archived .*type=STORED reason=\"not triples\"")


def spooled(session, to, **values):
    return Frame("STANZA", "MESSAGE", "CHAT", to=to, number=7, payload="<body>x</body>",
                 **{"handle": session.handle, "archive_id": 50, "flags": "CONTENT SPOOL",
                    "from": "romeo@localhost/x", **values})


def test_spool_not_asked_for(world, victims):
    """A session that is not fed gets nothing."""
    juliet = victims[0]
    bad = world.hostile("ARCHIVED")
    world.mark()
    bad.send(spooled(juliet, juliet.bare))
    world.refused("type=STANZA reason=\"not asked for\"")
    bad.send(Frame("DRAINED", handle=juliet.handle, number=9, flags="MORE"))
    world.refused("type=DRAINED reason=\"not asked for\"")
    bad.send(spooled(juliet, juliet.bare, handle=0), spooled(juliet, juliet.bare, handle=handle(99, 9)))
    world.silent()


@pytest.fixture
def fed(fresh):
    """A session that is being fed from its spool."""
    session = fresh.login("fed", available=False)
    fresh.c2sd.send(session.stanza("PRESENCE", "AVAILABLE", number=128))
    fresh.archived.expect("DRAIN")
    fresh.router.settle(fresh.c2sd)
    for link in (fresh.c2sd, fresh.authd):
        link.pump()
        link.frames.clear()
    fresh.mark()
    return session


BAD_SPOOL = {
    "another account": {"to": "romeo@localhost"},
    "no address": {"to": None},
    "not canonical": {"to": "FED@localhost"},
    "no sender": {"from": None},
    "sender not canonical": {"from": b"romeo\xff@localhost"},
    "no id": {"archive_id": 0},
}


@pytest.mark.parametrize("what", BAD_SPOOL)
def test_spool_of_another(fresh, fed, what):
    fresh.archived.send(spooled(fed, **{"to": fed.bare, **BAD_SPOOL[what]}))
    fresh.refused("type=STANZA reason=\"not its spool\"")


def test_spool_marks(fresh, fed):
    """Out of the spool comes a message for the session that asked, and nothing else."""
    fresh.archived.send(spooled(fed, fed.bare, numbers=[fresh.juliet.handle], origin=5, seq=6))
    got = fresh.c2sd.expect("STANZA")
    assert got.receivers() == [fed.handle] and "numbers" not in got.fields
    assert got.flags == Frame("STANZA", flags="CONTENT SPOOL").flags and got.seq == 0
    iq = spooled(fed, fed.bare)
    iq.kind, iq.subtype = "IQ", "SET"
    fresh.archived.send(iq)
    fresh.refused("type=STANZA reason=\"not its spool\"")


# -- a hostile authd ------------------------------------------------------------------------------------------


def test_answers_without_question(fresh):
    """AUTH_ answers for streams of which authd was not asked."""
    world, victims = fresh, [fresh.juliet]
    number = handle(world.c2sd.incarnation, 12345)
    bare = "nurse@localhost"
    for bad in (world.hostile("AUTHD"), world.authd):
        world.mark()
        bad.send(Frame("AUTH_SUCCESS", handle=number, jid=bare, token=token(number, bare)),
                 Frame("AUTH_SUCCESS", handle=victims[0].handle, jid=bare,
                       token=token(victims[0].handle, bare)),
                 Frame("AUTH_CHALLENGE", handle=victims[0].handle, data=b"x"),
                 Frame("AUTH_FAILURE", handle=victims[0].handle, condition="not-authorized"),
                 Frame("AUTH_SUCCESS", handle=handle(3, 1), jid=bare, token=token(handle(3, 1), bare)))
        world.refused("frame dropped peer=authd .*type=AUTH_SUCCESS reason=\"not asked\"")


GRANTS = [("nurse@elsewhere.example", 0), ("nurse@localhost/x", 0), ("NURSE@localhost", 0), (b"\xff@localhost", 0),
          ("nurse@localhost", 1), (None, 0)]


@pytest.mark.parametrize("jid,wrong", GRANTS)
def test_grant_that_is_none(fresh, jid, wrong):
    """A grant for no account of ours, or with a token that does not verify: the stream has failed."""
    world = fresh
    number = handle(world.c2sd.incarnation, next(world.counters))
    world.c2sd.send(Frame("AUTH_START", handle=number, name="PLAIN", domain=DOMAIN))
    world.authd.expect("AUTH_START")
    bare = jid.decode("latin-1") if isinstance(jid, bytes) else jid or ""
    world.authd.send(Frame("AUTH_SUCCESS", handle=number, jid=jid, token=token(number + wrong, bare)))
    assert world.c2sd.expect("AUTH_FAILURE").handle == number
    world.refused("grant refused")
    world.c2sd.send(Frame("SESSION_BIND", handle=number))
    world.refused("reason=\"no grant\"")


BAD_ACCOUNTS = ["romeo@elsewhere.example", "localhost", "romeo@localhost/x", "ROMEO@localhost", "",
                b"romeo\0@localhost", b"\xff@localhost", None]


@pytest.mark.parametrize("jid", BAD_ACCOUNTS)
def test_accounts_that_are_none(world, jid):
    """What authd says of addresses that are no accounts of ours reaches nobody, archived least."""
    bad = world.hostile("AUTHD")
    for frame in (Frame("ACCOUNT_IS", jid=jid, flags="MORE"), Frame("ROSTER", jid=jid, flags="EXISTS"),
                  Frame("ROSTER_CHANGE", jid=jid, to="romeo@localhost", number=2), Frame("FORGET", jid=jid, number=1)):
        bad.send(frame)
    world.refused("type=ACCOUNT_IS reason=\"not an account of ours\"", "type=FORGET reason=\"not an account of ours\"",
                  "type=ROSTER reason=\"not an account of ours\"")


def test_lists_that_are_none(world, victims):
    """A malformed roster is read as far as it goes; a change for no address is refused."""
    bad = world.hostile("AUTHD")
    for payload in (b"\1", b"\x40\4\0a@lo", b"\3\xff\xffa@localhost", b"\3\5\0\xff\xff\xff\xff\xff\0"):
        bad.send(Frame("ROSTER", jid=victims[0].bare, flags="EXISTS", payload=payload))
    world.refused("type=ROSTER reason=\"malformed list\"")
    bad.send(Frame("ROSTER_CHANGE", jid=victims[0].bare, to=b"\xff", number=2))
    world.silent()
    world.roster(victims[0].bare)
    world.silent()


@pytest.mark.parametrize("jid", BAD_ACCOUNTS)
def test_blocks_of_no_account(world, jid):
    """A block list of an address that is no account of ours is refused."""
    bad = world.hostile("AUTHD")
    bad.send(Frame("BLOCKS", jid=jid, text="juliet@localhost\n"))
    world.refused("type=BLOCKS reason=\"malformed list\"")


BAD_LISTS = [b"juliet@localhost", b"\n", b"juliet@localhost\n\n", b"JULIET@localhost\n", b"@\n", b"\xff@localhost\n",
             b"juliet@localhost\0\n", b"romeo@localhost\njuliet@localhost\n", b"a.example\na.example\n",
             b"x" * 100000 + b"\n", b"\n" * 100000]


@pytest.mark.parametrize("text", BAD_LISTS)
def test_block_lists_that_are_none(fresh, text):
    """It is refused whole: the list that was there before counts, and messages go as they went."""
    world, juliet, romeo = fresh, fresh.juliet, fresh.romeo
    world.authd.send(Frame("BLOCKS", jid=romeo.bare, text="juliet@localhost\n"))
    world.silent()
    world.authd.send(Frame("BLOCKS", jid=romeo.bare, text=text))
    world.refused("type=BLOCKS reason=\"malformed list\"")
    world.c2sd.send(juliet.chat(romeo.bare, "blocked"))
    answer = world.c2sd.expect("STANZA")
    assert answer.subtype == "ERROR" and b"service-unavailable" in answer.text("payload")
    world.c2sd.expect("ACK")
    world.authd.send(Frame("BLOCKS", jid=romeo.bare, text=b""))
    world.silent()
    world.exchange(juliet, romeo)


def test_blocks_of_others(world, victims):
    """Who is not authd blocks nobody."""
    for role in ("C2SD", "S2SD", "MUCD", "FORMSD", "ARCHIVED", "SNMPD"):
        bad = world.hostile(role)
        bad.send(Frame("BLOCKS", jid=victims[1].bare, text="juliet@localhost\n"))
        world.refused("frame refused peer=\\S+ .*type=BLOCKS")
        bad.close()
        world.router.hear("LOST")
    world.exchange(*victims)


def test_no_grant_key(world):
    """MECHANISMS without a key of 32 bytes changes nothing."""
    bad = world.hostile("AUTHD")
    for key in (b"short", b"", None, b"k" * 33):
        bad.send(Frame("MECHANISMS", token=key, text="localhost PLAIN"))
    world.refused("type=MECHANISMS reason=\"no key\"")


# -- answers out of the archive -------------------------------------------------------------------------------


def archived_says(session, kind="IQ", subtype="RESULT", **values):
    return Frame("STANZA", kind, subtype, handle=values.pop("handle", session.handle), id="q",
                 payload="<x xmlns='urn:x'/>", **{"from": session.bare, "to": session.jid, **values})


@pytest.mark.parametrize("jid, to", [("juliet@elsewhere.example", "romeo@localhost"), ("localhost", "romeo@localhost"),
                                     ("juliet@localhost/x", "romeo@localhost"), ("juliet@localhost", "romeo@localhost/x"),
                                     ("juliet@localhost", None), (None, "romeo@localhost")])
def test_roster_asked(world, victims, jid, to):
    """Of accounts of ours alone, and of bare addresses."""
    bad = world.hostile("ARCHIVED")
    world.mark()
    bad.send(Frame("ROSTER_ASK", jid=jid, to=to, archive_id=5, number=6))
    world.refused("type=ROSTER_ASK reason=\"malformed address\"")
    bad = world.hostile("AUTHD")
    world.mark()
    bad.send(Frame("ROSTER_IS", jid=jid, to=to, archive_id=5, number=6))
    world.refused("type=ROSTER_IS reason=\"malformed address\"")


def test_roster_passed(world):
    """A question and its answer: of its flags one alone is passed on."""
    world.archived.send(Frame("ROSTER_ASK", jid="juliet@localhost", to="romeo@localhost", archive_id=5, number=6,
                              flags="EXISTS STORE", text="x"))
    asked = world.authd.expect("ROSTER_ASK")
    assert (asked.text("jid"), asked.text("to"), asked.archive_id, asked.number, asked.flags, asked.text("text")) == (
        b"juliet@localhost", b"romeo@localhost", 5, 6, 0, None)
    world.authd.send(Frame("ROSTER_IS", jid="juliet@localhost", to="romeo@localhost", archive_id=5, number=6,
                           flags="EXISTS STORE"))
    told = world.archived.expect("ROSTER_IS")
    assert (told.archive_id, told.number) == (5, 6) and told.flags == Frame("ROSTER_IS", flags="EXISTS").flags


def test_archive_answers(world, victims):
    """archived answers a session in the name of its account, and says nothing else."""
    juliet, romeo = victims
    bad = world.hostile("ARCHIVED")
    world.mark()
    for good in (archived_says(juliet), archived_says(juliet, subtype="ERROR", flags="ERROR"),
                 archived_says(juliet, "MESSAGE", "NORMAL")):
        bad.send(good)
        got = world.c2sd.expect("STANZA")
        assert got.receivers() == [juliet.handle] and got.text("from") == juliet.bare.encode()
    for values, reason in (
            (dict({"from": romeo.bare}), "not its address"), (dict({"from": "localhost"}), "not its address"),
            (dict({"from": juliet.jid}), "not its address"), (dict(to=romeo.jid), "not its receivers"),
            (dict(to=juliet.bare), "not its receivers"), (dict(numbers=[romeo.handle]), "not its receivers"),
            (dict(audience="AVAILABLE"), "not its receivers"),
            (dict(handle=romeo.handle), "not its address"), (dict(subtype="SET"), "neither an answer nor a result"),
            (dict(kind="PRESENCE", subtype="AVAILABLE"), "neither an answer nor a result"),
            (dict(kind="MESSAGE", subtype="CHAT"), "neither an answer nor a result"),
            (dict(flags="STORE"), "flags"), (dict(archive_id=5), "flags")):
        bad = world.hostile("ARCHIVED")  # the first line of a link is always logged
        world.mark()
        bad.send(archived_says(juliet, **values))
        world.refused("type=STANZA reason=\"%s\"" % reason)
    bad.send(archived_says(juliet, handle=handle(99, 9)), archived_says(juliet, handle=0))
    world.silent()
