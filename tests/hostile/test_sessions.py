"""test_sessions.py: a c2sd that was taken over, and the sessions of others. It has a session of its own,
Mallory's, and knows the handles of the victims."""

import pytest

from cast import handle, token
from frames import Frame


@pytest.fixture
def bad(world):
    return world.hostile("C2SD")


@pytest.fixture
def mallory(world, bad):
    return world.login("mallory%d" % bad.incarnation, bad)


# -- whose name --------------------------------------------------------------------------------------------


def test_forged_from(world, bad, mallory, victims):
    """`from` is what was granted, whatever the frame says."""
    juliet, romeo = victims
    bad.send(mallory.stanza("MESSAGE", "HEADLINE", to=romeo.jid, **{"from": juliet.jid}))
    assert world.c2sd.expect("STANZA").text("from") == mallory.jid.encode()
    bad.send(mallory.stanza("PRESENCE", "AVAILABLE", to=romeo.jid, number=128, **{"from": juliet.jid}))
    assert world.c2sd.expect("STANZA").text("from") == mallory.jid.encode()
    bad.send(mallory.stanza("IQ", "GET", to=romeo.jid, ns="urn:x", name="x", **{"from": "localhost"}))
    assert world.c2sd.expect("STANZA").text("from") == mallory.jid.encode()


def test_forged_marks(world, bad, mallory, victims):
    """What only the router or archived may say of a stanza is taken off: where it is stored, that it comes
    out of a spool, its id, its receivers."""
    juliet, romeo = victims
    sent = mallory.stanza("MESSAGE", "HEADLINE", to=romeo.jid, archive_id=7, stamp=1,
                          numbers=[juliet.handle], jid=juliet.jid, text="x", token=b"t" * 32,
                          flags="CONTENT STORE FROM_LOCAL TO_LOCAL SPOOL EXISTS MORE BOUNCE")
    sent.audience = "CONNECTED"
    bad.send(sent)
    got = world.c2sd.expect("STANZA")
    assert got.receivers() == [romeo.handle] and got.audience == "NONE"
    assert got.flags == Frame("STANZA", flags="CONTENT").flags and got.archive_id == 0 and got.stamp > 1
    assert not {"jid", "text", "token"} & set(got.fields)


def test_forged_carbon(world, bad, mallory, victims):
    """No copy is made by who is not the router (XEP-0280), and none for sessions of others: nobody is said to
    have sent or got what was not sent through a session of its account."""
    juliet, romeo = victims
    for to, kind in ((romeo.jid, "HEADLINE"), (romeo.jid, "GROUPCHAT")):
        bad.send(mallory.stanza("MESSAGE", kind, to=to, flags="CONTENT BODY CARBON CARBONS", number=7,
                                **{"from": romeo.bare}))
        got = world.c2sd.expect("STANZA")
        assert got.receivers() == [romeo.handle] and got.text("from") == mallory.jid.encode()
        assert got.flags == Frame("STANZA", flags="CONTENT BODY").flags
    # The wish for copies of another's session is not taken.
    wish = mallory.stanza("IQ", "SET", name="enable", ns="urn:xmpp:carbons:2")
    wish.handle = juliet.handle
    bad.send(wish)
    world.refused("frame refused peer=c2sd .*type=STANZA reason=\"session of another daemon\"")


def test_stanza_of_a_victim(world, bad, mallory, victims):
    juliet, romeo = victims
    stolen = mallory.chat(romeo.bare)
    stolen.handle = juliet.handle
    bad.send(stolen)
    world.refused("frame refused peer=c2sd .*type=STANZA reason=\"session of another daemon\"")


def test_stanza_without_session(world, bad, mallory, victims):
    """Of a stream of its own that authd knows nothing of: also requests, but for in-band registration."""
    for ns, to in (("urn:x", "localhost"), ("jabber:iq:register", victims[0].bare),
                   ("jabber:iq:register", "elsewhere.example"), ("jabber:iq:roster", None),
                   ("urn:xmpp:pars:0", victims[0].bare), ("urn:xmpp:pars:0", "elsewhere.example")):
        request = mallory.stanza("IQ", "SET", to=to, ns=ns, name="query")
        request.handle = handle(bad.incarnation, 999)
        bad.send(request)
    world.refused("frame dropped peer=c2sd .*reason=\"no session\"")


def test_stranger_registers(world, bad, mallory, victims):
    """A registration is passed on with nothing that its sender could have made up but its address and the token of an
    invitation, at which authd looks again."""
    request = mallory.stanza("IQ", "SET", to="localhost", ns="jabber:iq:register", name="query",
                             jid=victims[0].bare, token=b"t" * 32, address="192.0.2.1",
                             **{"from": victims[0].jid})
    request.handle = handle(bad.incarnation, 998)
    bad.send(request)
    got = world.authd.expect("STANZA")
    assert got.handle == request.handle and got.text("address") == b"192.0.2.1"
    assert got.text("token") == b"t" * 32
    assert not {"from", "jid"} & set(got.fields) and got.seq == 0


ADDRESSES = ["ROMEO@localhost", "romeo@LOCALHOST", "romeo@localhost/", "@localhost", "romeo@", "", "a@b@c/d",
             b"romeo@localhost\0", b"romeo\xff@localhost", b"\xc0\xaf@localhost", "romeo@localhost\n",
             "x" * 1024 + "@localhost", "romeo@localhost/" + "r" * 1024, b"romeo@localhost/\xed\xa0\x80"]


@pytest.mark.parametrize("to", ADDRESSES)
def test_address_not_canonical(world, bad, mallory, to):
    sent = mallory.chat(to)
    bad.send(sent)
    world.refused("frame refused .*reason=\"malformed stanza\"")
    assert bad.expect("ACK").numbers == [sent.seq, sent.seq]


@pytest.mark.parametrize("kind,subtype", [("NONE", "CHAT"), ("MESSAGE", "GET"), ("IQ", "CHAT"), ("IQ", "NONE"),
                                          ("PRESENCE", "SET"), ("MESSAGE", "AVAILABLE")])
def test_type_of_another_kind(world, bad, mallory, victims, kind, subtype):
    bad.send(mallory.stanza(kind, subtype, to=victims[0].jid))
    world.refused("frame refused .*reason=\"malformed stanza\"")


# -- sessions that it was not granted -----------------------------------------------------------------------


def test_bind_without_grant(world, bad, victims):
    granted = world.grant(world.c2sd, "nurse@localhost")
    world.mark()
    for number in (victims[0].handle, granted, handle(bad.incarnation, 77), 0, 2**64 - 1):
        bad.send(Frame("SESSION_BIND", handle=number, resource="x"))
    world.refused("frame refused .*type=SESSION_BIND reason=\"no grant\"")
    world.c2sd.send(Frame("SESSION_BIND", handle=granted, resource="here"))  # it is still the victim's
    world.authd.expect("ROSTER_LOAD")
    world.roster("nurse@localhost")
    assert world.c2sd.expect("SESSION_BOUND").text("jid") == b"nurse@localhost/here"
    world.c2sd.send(Frame("SESSION_END", handle=granted))


def test_bind_twice(world, bad, mallory):
    bad.send(Frame("SESSION_BIND", handle=mallory.handle, resource="again"))
    world.refused("type=SESSION_BIND reason=\"no grant\"")


@pytest.mark.parametrize("resource", [b"\0", b"\xff", "", "a" * 1024, "a\nb"])
def test_bind_no_resource(world, bad, resource):
    number = world.grant(bad, "mallory@localhost")
    bad.send(Frame("SESSION_BIND", handle=number, resource=resource))
    got = bad.expect("SESSION_REFUSED")
    assert got.handle == number and got.text("condition") == b"bad-request"
    bad.send(Frame("SESSION_END", handle=number))


@pytest.fixture
def replaying(world):
    """A c2sd that has WELCOME and has not yet said READY: the time for its replay."""
    link = world.hostile("C2SD", ready=False)
    link.send(Frame("HELLO"))
    link.expect("WELCOME")
    link.expect("MECHANISMS")
    link.expect("CAPS")
    yield link
    link.close()
    world.router.hear("LOST")


def test_replay(world, replaying, victims):
    """Only with authd's token for this very stream and account, and a handle of its own."""
    juliet = victims[0]
    own = handle(replaying.incarnation, 1)
    good = token(own, "mallory@localhost")
    tries = [
        (own, juliet.jid, token(own, juliet.bare, b"k" * 32)),              # another key
        (own, juliet.jid, good),                                            # another account's
        (own, juliet.jid, token(juliet.handle, juliet.bare)),               # another stream's
        (juliet.handle, juliet.jid, token(juliet.handle, juliet.bare)),     # right, of another c2sd
        (handle(99, 1), juliet.jid, token(handle(99, 1), juliet.bare)),     # of one that never was
        (own, "mallory@localhost/x", good[:31]), (own, "mallory@localhost/x", good + b"x"),
        (own, "mallory@localhost/x", b""), (own, "mallory@localhost/x", None),
        (own, "MALLORY@localhost/x", good), (own, b"mallory@localhost/\xff", good), (own, None, good),
    ]
    for number, jid, grant in tries:
        world.mark()
        replaying.send(Frame("SESSION_REPLAY", handle=number, jid=jid, token=grant, flags="AVAILABLE",
                             number=130, payload="<priority>2</priority>"))
        killed = replaying.expect("SESSION_KILL")
        assert killed.handle == number and killed.text("condition") == b"not-authorized"
        world.silent()
    assert "type=SESSION_REPLAY reason=\"not granted\"" in world.router.log()


def test_replay_twice(world, replaying):
    """The second one with the same handle is refused, and the first one stays."""
    number = handle(replaying.incarnation, 1)
    replay = Frame("SESSION_REPLAY", handle=number, jid="mallory@localhost/a",
                   token=token(number, "mallory@localhost"))
    replaying.send(replay, replay)
    assert world.authd.expect("ROSTER_LOAD").text("jid") == b"mallory@localhost"
    world.roster("mallory@localhost")
    assert replaying.expect("SESSION_KILL").handle == number
    world.refused("type=SESSION_REPLAY reason=\"not granted\"", silent=False)
    world.archived.expect("DRAIN")
    replaying.send(Frame("SESSION_END", handle=number))
    world.authd.expect("ACCOUNT_LAST")


def test_replay_when_live(world, bad, mallory):
    """A session that was ended cannot be brought back with its old grant."""
    old = token(mallory.handle, mallory.bare)
    bad.send(Frame("SESSION_END", handle=mallory.handle))
    world.authd.expect("ACCOUNT_LAST")
    bad.send(Frame("SESSION_REPLAY", handle=mallory.handle, jid=mallory.jid, token=old))
    world.refused("type=SESSION_REPLAY reason=\"after READY\"")
    bad.send(mallory.chat("romeo@localhost"))
    world.refused("reason=\"no session\"")


@pytest.mark.parametrize("kind", ["SESSION_END", "SESSION_PAUSE", "SESSION_DRAIN", "SESSION_AWAY", "AUTH_START",
                                  "AUTH_STEP", "AUTH_ABORT"])
def test_handle_of_another(world, bad, victims, kind):
    bad.send(Frame(kind, handle=victims[0].handle, condition="x", name="PLAIN", data=b"x"))
    world.refused("frame refused peer=c2sd .*type=%s reason=\"(session|handle) of another daemon\"" % kind)


# -- resumption -----------------------------------------------------------------------------------------------


def test_resume_of_a_victim(world, bad, victims):
    """The session of another account is not found, and its c2sd is not asked."""
    number = world.grant(bad, "mallory@localhost")
    bad.send(Frame("SESSION_RESUME", handle=number, archive_id=victims[0].handle, text="id"))
    refusal = bad.expect("SESSION_MOVE")
    assert refusal.number == number and refusal.text("condition") == b"item-not-found"
    world.silent()
    bad.send(Frame("SESSION_RESUME", handle=victims[0].handle, archive_id=victims[1].handle, text="id"))
    world.refused("type=SESSION_RESUME reason=\"no grant\"")
    bad.send(Frame("SESSION_END", handle=number))


def test_move_not_asked_for(world, bad, mallory, victims):
    """Nobody gets a session, or a refusal, that he has not asked for: not even Mallory, elsewhere."""
    juliet = victims[0]
    waiting = world.grant(world.c2sd, mallory.bare)
    world.mark()
    for number in (waiting, juliet.handle):
        bad.send(Frame("SESSION_MOVE", handle=mallory.handle, number=number, flags="MORE", text="sm-id x\n"))
        bad.send(Frame("SESSION_MOVE", handle=mallory.handle, number=number))
        bad.send(Frame("SESSION_MOVE", handle=mallory.handle, number=number, condition="item-not-found"))
        bad.send(Frame("SESSION_MOVE", handle=juliet.handle, number=number, flags="MORE"))
    world.refused("type=SESSION_MOVE reason=\"not asked for\"")
    world.c2sd.send(Frame("SESSION_BIND", handle=waiting, resource="there"))
    assert world.c2sd.expect("SESSION_BOUND").handle == waiting
    world.c2sd.send(Frame("SESSION_END", handle=waiting))


def test_move_answers_another_question(world, bad, mallory, victims):
    """Asked for one session of an account, its holder cannot move another one."""
    other = world.login(mallory.bare.partition("@")[0], bad)
    waiting = world.grant(world.c2sd, mallory.bare)
    world.c2sd.send(Frame("SESSION_RESUME", handle=waiting, archive_id=mallory.handle, text="id", number=0))
    assert bad.expect("SESSION_RESUME").handle == waiting
    world.mark()
    bad.send(Frame("SESSION_MOVE", handle=other.handle, number=waiting, flags="MORE", text="sm-id x\n"))
    world.refused("type=SESSION_MOVE reason=\"not asked for\"")
    bad.send(Frame("SESSION_MOVE", handle=mallory.handle, number=waiting, flags="MORE", text="sm-id id\n"),
             Frame("SESSION_MOVE", handle=mallory.handle, number=waiting))
    assert world.c2sd.expect("SESSION_MOVE").number == waiting  # the one that was asked for
    assert world.c2sd.expect("SESSION_MOVE").number == waiting
    world.archived.expect("DRAIN")
    world.c2sd.send(Frame("SESSION_END", handle=waiting))


def test_resume_from_one_that_dies(world, bad, mallory):
    """The c2sd that was asked for a session dies with the question: the stream that waits is told."""
    waiting = world.grant(world.c2sd, mallory.bare)
    world.c2sd.send(Frame("SESSION_RESUME", handle=waiting, archive_id=mallory.handle, text="id", number=0))
    assert bad.expect("SESSION_RESUME").handle == waiting
    bad.close()
    world.router.hear("LOST")
    refusal = world.c2sd.expect("SESSION_MOVE")
    assert refusal.number == waiting and refusal.handle == mallory.handle
    assert refusal.text("condition") == b"item-not-found"
    world.c2sd.send(Frame("SESSION_END", handle=waiting))


def test_handover_to_a_victim(world, bad, mallory, victims):
    forged = Frame("STANZA", "MESSAGE", "CHAT", handle=victims[1].handle, flags="HANDOVER",
                   payload="<body>x</body>", **{"from": victims[0].jid})
    bad.send(forged)
    world.refused("type=STANZA reason=\"session of another daemon\"")


# -- registration ----------------------------------------------------------------------------------------------


def test_out_of_turn(world, victims):
    """Nothing counts before HELLO; HELLO and READY come once; an echo of RESEND is asked for."""
    bad = world.router.link("C2SD", 40, next(world.incarnations))
    stanza = Frame("STANZA", "MESSAGE", "CHAT", handle=victims[0].handle, seq=1, to=victims[1].bare)
    bad.send(Frame("READY"), stanza, Frame("AUTH_START", handle=handle(bad.incarnation, 1)),
             Frame("SESSION_REPLAY"), Frame("RESEND"), Frame("DELIVERED"))
    world.refused("type=READY reason=\"before HELLO\"", "type=STANZA reason=\"before HELLO\"")
    bad.send(Frame("HELLO"))
    bad.expect("WELCOME")
    bad.expect("MECHANISMS")
    bad.expect("CAPS")
    bad.send(Frame("HELLO", text="feature urn:x:late\n"), Frame("RESEND"), stanza)
    world.silent()
    bad.send(Frame("READY"))
    bad.expect("RESEND")
    bad.send(stanza, Frame("DELIVERED", seq=1, numbers=[victims[0].handle, 1]))  # before the echo
    world.silent()
    bad.send(Frame("RESEND"), Frame("RESEND"), Frame("READY"))
    world.silent()


@pytest.mark.parametrize("kind,reason", [("HELLO", "a second time"), ("READY", "not due"),
                                         ("RESEND", "not asked for")])
def test_once_only(world, bad, kind, reason):
    bad.send(Frame(kind, text="feature urn:x:late\n"))
    world.refused("type=%s reason=\"%s\"" % (kind, reason))


def test_numbers_go_back(world, bad, mallory, victims):
    """Numbers in custody that do not grow are refused: a watermark relies on their order."""
    first = mallory.stanza("MESSAGE", "HEADLINE", to=victims[0].jid)
    bad.send(first)
    world.c2sd.expect("STANZA")
    world.router.settle()
    world.mark()
    bad.send(first)
    first.seq = 0
    bad.send(first)
    world.refused("type=STANZA reason=\"out of order\"")


# -- deliveries ------------------------------------------------------------------------------------------------


def test_delivered_of_others(world, bad, mallory, victims):
    """Reports about others' sessions do not reach archived: the number alone does, for its watermark."""
    seq = next(bad.seqs)
    pairs = [n for s in victims for n in (s.handle, 1000)] + [handle(99, 1), 1, 0, 0, 2**64 - 1, 2**64 - 1, 5]
    bad.send(Frame("DELIVERED", seq=seq, origin=world.c2sd.incarnation, numbers=pairs))
    got = world.archived.expect("DELIVERED")
    assert got.numbers == [] and got.origin == bad.incarnation and got.seq == seq
    world.refused("type=DELIVERED reason=\"session of another daemon\"")


def test_delivered_never_sent(world, bad, mallory):
    """Mallory may take off Mallory's spool whatever he likes, and nobody else's."""
    seq = next(bad.seqs)
    bad.send(Frame("DELIVERED", seq=seq, numbers=[mallory.handle, 2**63]))
    got = world.archived.next()
    if got.type == "DROP":
        assert got.text("jid") == mallory.bare.encode() and got.archive_id == 2**63
        got = world.archived.next()
    assert got.type == "DELIVERED" and got.seq == seq and len(got.numbers) in (0, 2)
    world.silent()
