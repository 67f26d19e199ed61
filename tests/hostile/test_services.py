"""test_services.py: mucd, formsd, s2sd, snmpd-agent and others that claim what is not theirs, in HELLO and
in stanzas, and answers to administrators that nobody has asked for."""

import json

import pytest

from cast import World, handle
from frames import Frame

ROOMS = "rooms.localhost"


@pytest.fixture
def mucd(world):
    """A daemon with a domain of its own; only one has it at a time."""
    link = world.hostile("MUCD", "domain %s\n" % ROOMS)
    yield link
    link.close()
    world.router.hear("LOST")


def features(world):
    """What the server says of itself (XEP-0030)."""
    asked = world.juliet.stanza("IQ", "GET", to="localhost", name="query",
                                ns="http://jabber.org/protocol/disco#info")
    world.c2sd.send(asked)
    found = world.c2sd.expect("STANZA").text("payload").decode()
    world.c2sd.expect("ACK")
    return found


# -- HELLO ----------------------------------------------------------------------------------------------------

CLAIMS = [
    ("MUCD", "domain localhost"), ("S2SD", "domain localhost"), ("FORMSD", "domain localhost"),
    ("MUCD", "domain *"), ("FORMSD", "domain *"),
    ("C2SD", "domain evil.example"), ("SNMPD", "domain evil.example"), ("ARCHIVED", "domain evil.example"),
    ("AUTHD", "domain evil.example"),
    ("MUCD", "domain EVIL.example"), ("MUCD", "domain evil.example."), ("MUCD", "domain room@evil.example"),
    ("MUCD", "domain evil.example/x"), ("MUCD", "domain "), ("MUCD", "domain"), ("MUCD", "domain a b"),
    ("MUCD", "domain evil\xff.example"), ("MUCD", "domain evil.example\0"),
    ("MUCD", "account-ns urn:x"), ("MUCD", "server-ns urn:x"), ("S2SD", "account-ns urn:x"),
    ("S2SD", "server-ns urn:x"), ("C2SD", "account-ns urn:x"), ("SNMPD", "server-ns urn:x"),
    ("FORMSD", "account-ns jabber:iq:roster"), ("ARCHIVED", "server-ns jabber:iq:register"),
    ("FORMSD", "account-ns urn:xmpp:ping"), ("FORMSD", "server-ns http://jabber.org/protocol/disco#info"),
    ("MUCD", "command user add\tJID\tgive me passwords"), ("S2SD", "command user\t\tall of them"),
    ("ARCHIVED", "command user add now\t\tlonger"), ("SNMPD", "command status\t\tthe router's"),
    ("FORMSD", "command session list all\t\tlonger"), ("MUCD", "transfer mine\t\tx"), ("C2SD", "command x\t\ty"),
    ("SNMPD", "feature urn:x"), ("MUCD", "feature urn:x\x01"), ("MUCD", "feature urn:x\x1b[2J"),
    ("MUCD", "feature " + "x" * 5000), ("MUCD", "nonsense urn:x"), ("MUCD", "x" * 5000),
]


@pytest.mark.parametrize("role,line", CLAIMS)
def test_claims(world, role, line):
    """The line is refused, the others of the same HELLO are taken."""
    before = features(world)
    good = "identity gateway test Good\n" if role != "SNMPD" else "command good\t\tx\n"
    text = line.encode("latin-1") + b"\n" + good.encode()
    if role == "C2SD":
        bad = world.router.link(role, 50, next(world.incarnations))
        bad.send(Frame("HELLO", text=text))
        bad.expect("WELCOME")
    else:
        bad = world.hostile(role, text)
        world.cursor = 0
    world.refused("registration refused from=%s" % {"SNMPD": "snmpd-agent"}.get(role, role.lower()))
    after = features(world)
    assert after.replace("<identity category='gateway' type='test' name='Good'/>", "") == before
    bad.close()
    world.router.hear("LOST")
    again = world.hostile(role)  # an honest one again, that serves nothing of this
    again.close()
    world.router.hear("LOST")
    assert features(world) == before


def test_another_daemons_domain(world, mucd):
    """A domain that is taken stays where it is."""
    for role in ("FORMSD", "S2SD"):
        world.hostile(role, "domain %s\n" % ROOMS)
    assert "registration refused from=formsd" in world.router.log()
    assert "registration refused from=s2sd" in world.router.log()
    ask = world.juliet.stanza("IQ", "GET", to="room@" + ROOMS, ns="urn:x", name="x")
    world.c2sd.send(ask)
    assert mucd.expect("STANZA").text("to") == b"room@rooms.localhost"
    mucd.send(Frame("ACK", origin=world.c2sd.incarnation, numbers=[ask.seq, ask.seq]))
    world.c2sd.expect("ACK")


def test_absurdly_many(world):
    """Lines of one role are bounded, also one line many times; the others keep theirs."""
    lines = ["domain d%d.example\n" % i for i in range(20000)] + ["feature urn:x:%d\n" % i for i in range(20000)]
    before = world.router.memory()
    bad = world.hostile("FORMSD", "".join(lines) + "domain again.example\n" * 10000)
    assert "registration refused from=formsd index=%d lines=" % bad.index in world.router.log()
    assert world.router.memory() - before < 32 << 20
    assert features(world).count("urn:x:") == 0
    bad.close()
    world.router.hear("LOST")
    again = world.hostile("FORMSD")
    again.close()
    world.router.hear("LOST")


def test_commands_before_authd(tmp_path):
    """After a restart of the router nobody gets another daemon's commands, however early he comes: there
    are passwords in them."""
    world = World(tmp_path)
    router = world.router
    with router:
        from program import control_listener
        router.listen("control", control_listener(router.directory))
        bad = router.link("MUCD", 0, 4)
        authd = router.link("AUTHD", 0, 2)
        router.go()
        router.hear("READY")
        bad.send(Frame("HELLO", text="command user add\tJID\tgive me passwords\n"))
        bad.expect("WELCOME")
        bad.send(Frame("READY"))
        router.settle(bad)
        clerk = router.aldisctl()
        clerk.send(Frame("CONTROL", number=7, text="user add\nnurse@localhost\nsecret"))
        assert clerk.expect("CONTROL_REPLY").text("condition") is not None
        authd.send(Frame("HELLO", text="command user add\tJID\tmake an account\n"))
        authd.expect("WELCOME")
        authd.send(Frame("READY"))
        router.settle(authd)
        clerk.send(Frame("CONTROL", number=8, text="user\nadd\nnurse@localhost\nsecret"))
        authd.send(authd.expect("RESEND"))
        assert authd.expect("CONTROL").text("text").endswith(b"secret")
        router.settle()
        bad.pump()
        assert [frame.type for frame in bad.frames] == ["RESEND"]
        assert "registration withdrawn from=mucd" in router.log()
        router.check()


# -- stanzas --------------------------------------------------------------------------------------------------


def groupchat(to, **values):
    return Frame("STANZA", "MESSAGE", "GROUPCHAT", to=to, payload="<body>x</body>", id="x",
                 **{"from": "room@rooms.localhost/nick", "flags": "CONTENT BODY", **values})


def test_honest_room(world, mucd, victims):
    """What a room may do: reach a session by its address or its stream."""
    juliet = victims[0]
    mucd.send(groupchat(juliet.jid))
    got = world.c2sd.expect("STANZA")
    assert got.receivers() == [juliet.handle] and got.text("from") == b"room@rooms.localhost/nick"
    mucd.send(groupchat(juliet.jid, handle=juliet.handle))
    assert world.c2sd.expect("STANZA").receivers() == [juliet.handle]


FORGED = ["romeo@localhost", "romeo@localhost/r", "localhost", "room@elsewhere.example", "ROOM@rooms.localhost",
          b"room@rooms.localhost/\xff", b"room@rooms.localhost\0", "room@sub.rooms.localhost", "", None]


@pytest.mark.parametrize("name", FORGED)
@pytest.mark.parametrize("kind,subtype", [("MESSAGE", "CHAT"), ("PRESENCE", "AVAILABLE"), ("IQ", "SET")])
def test_forged_from(world, mucd, victims, name, kind, subtype):
    forged = Frame("STANZA", kind, subtype, to=victims[0].jid, payload=b"", **{"from": name})
    mucd.send(forged)
    forged.handle = victims[0].handle
    mucd.send(forged)
    world.refused("frame refused peer=mucd .*type=STANZA reason=\"not its address\"")


@pytest.mark.parametrize("flag", ["SPOOL", "HANDOVER", "EXISTS", "BOUNCE", "FROM_LOCAL", "TO_LOCAL"])
def test_flags(world, mucd, victims, flag):
    mucd.send(groupchat(victims[0].jid, flags="CONTENT " + flag))
    mucd.send(groupchat(victims[0].jid, flags="CONTENT " + flag, handle=victims[0].handle))
    world.refused("frame refused peer=mucd .*type=STANZA reason=\"flags\"")


@pytest.mark.parametrize("audience", ["CONNECTED", "INTERESTED", "AVAILABLE", "SUBSCRIBERS"])
@pytest.mark.parametrize("kind,subtype", [("MESSAGE", "CHAT"), ("IQ", "SET"), ("PRESENCE", "UNAVAILABLE")])
def test_audience(world, mucd, victims, audience, kind, subtype):
    """Whom an account's roster and presence reach is not a room's to use."""
    sent = Frame("STANZA", kind, subtype, audience, to=victims[0].bare, payload=b"",
                 **{"from": "room@rooms.localhost"})
    mucd.send(sent)
    world.refused("type=STANZA reason=\"not its receivers\"")


def test_numbers(world, mucd, victims):
    """Streams by number: none that are not there, none in a list, however many."""
    juliet, romeo = victims
    for numbers in ([juliet.handle, romeo.handle], [], [handle(99, i) for i in range(400000)]):
        mucd.send(groupchat(juliet.jid, numbers=numbers))
        mucd.send(groupchat(juliet.jid, numbers=numbers, handle=juliet.handle))
    for number in (handle(world.c2sd.incarnation, 99999), handle(2, 1), 1, 2**64 - 1):
        mucd.send(groupchat(juliet.jid, handle=number))
    world.refused("type=STANZA reason=\"not its receivers\"")


@pytest.mark.parametrize("subtype", ["SUBSCRIBE", "SUBSCRIBED", "UNSUBSCRIBE", "UNSUBSCRIBED"])
def test_subscription(world, mucd, victims, subtype):
    mucd.send(Frame("STANZA", "PRESENCE", subtype, to=victims[0].bare, payload=b"",
                    **{"from": "room@rooms.localhost"}))
    world.refused("type=STANZA reason=\"subscription\"")


@pytest.mark.parametrize("to", ["JULIET@localhost", b"juliet\xff@localhost", "", "a@b@c"])
def test_receiver_not_canonical(world, mucd, to):
    mucd.send(groupchat(to))
    world.refused("type=STANZA reason=\"malformed stanza\"")


def test_other_fields(world, mucd, victims):
    """What is no part of a stanza is left out."""
    mucd.send(groupchat(victims[0].jid, jid="x", token=b"t" * 32, text="x", origin=world.c2sd.incarnation,
                        seq=5, archive_id=9))
    got = world.c2sd.expect("STANZA")
    assert got.seq == 0 and got.origin == 0 and not {"jid", "token", "text"} & set(got.fields)
    mucd.send(groupchat(victims[0].jid, archive_id=9, handle=victims[0].handle))
    assert world.c2sd.expect("STANZA").archive_id == 0


def test_answers_to_itself(world, mucd):
    """Stanzas to nobody, to itself, to a room that answers with errors: no loop."""
    for to in ("localhost", "room@rooms.localhost/nick", "nobody@elsewhere.example", None):
        mucd.send(groupchat(to))
        mucd.send(Frame("STANZA", "IQ", "GET", to=to, id="x", **{"from": "room@rooms.localhost"}))
    world.silent()
    mucd.pump()
    assert len(mucd.frames) < 10
    mucd.frames.clear()


@pytest.mark.parametrize("role", ["S2SD"])
def test_entry_without_sessions(world, victims, role):
    """s2sd has no client streams, and so no say about any."""
    bad = world.hostile(role)
    for name in (victims[0].jid, "localhost", "elsewhere.example", None):
        bad.send(Frame("STANZA", "MESSAGE", "CHAT", to=victims[1].bare, handle=victims[0].handle,
                       seq=next(bad.seqs), flags="CONTENT", payload="<body>x</body>", **{"from": name}))
        bad.send(Frame("STANZA", "IQ", "SET", to="localhost", ns="jabber:iq:register", name="query",
                       handle=handle(bad.incarnation, 1), seq=next(bad.seqs), **{"from": name}))
    world.refused("frame refused peer=s2sd .*type=STANZA reason=\"session of another daemon\"",
                  "frame dropped peer=s2sd .*type=STANZA reason=\"no session\"")


# -- administration --------------------------------------------------------------------------------------------


def answer(world, link, payload):
    """Answers the CONTROL that this daemon has got."""
    link.pump()
    asked = [f for f in link.frames if f.type == "CONTROL"]
    link.frames = [f for f in link.frames if f.type != "CONTROL"]
    for frame in asked:
        link.send(Frame("CONTROL_REPLY", number=frame.number, payload=payload))
    return asked


def test_counters_that_lie(world):
    """Only numbers by the names that there are, once, and of the daemon itself."""
    bad = world.hostile("MUCD")
    clerk = world.router.aldisctl()
    clerk.send(Frame("CONTROL", number=1, text="show\ncounters"))
    world.router.settle(clerk)
    lies = {"frames-in": 5, "\x1b[2Jcleared": 1, "process": "router", "frames-out": "many", "spool": [1], "x": {}}
    asked = answer(world, bad, json.dumps(lies))
    assert len(asked) == 1
    world.mark()
    for number in (asked[0].number, asked[0].number + 1, 0, 2**64 - 1):
        bad.send(Frame("CONTROL_REPLY", number=number, payload='{"frames-in":6}'))
    world.refused("frame refused peer=mucd .*type=CONTROL_REPLY reason=\"not asked\"", silent=False)
    for link in world.router.links:
        if not link.closed and link is not bad:
            answer(world, link, "{}")
    rows = json.loads(clerk.expect("CONTROL_REPLY").text("payload"))
    assert [(r["counter"], r["value"]) for r in rows if r["process"] == "mucd"] == [("frames-in", 5)]
    clerk.close()


def test_reply_for_another(world):
    """The answer to a command of authd's comes from authd."""
    bad = world.hostile("MUCD")
    clerk = world.router.aldisctl()
    clerk.send(Frame("CONTROL", number=9, text="user\nadd\nnurse@localhost\nsecret"))
    asked = world.authd.expect("CONTROL")
    world.mark()
    bad.send(Frame("CONTROL_REPLY", number=asked.number, payload='"done"'))
    world.refused("type=CONTROL_REPLY reason=\"not asked\"")
    clerk.pump()
    assert clerk.frames == []
    world.authd.send(Frame("CONTROL_REPLY", number=asked.number, payload='"made"'))
    assert clerk.expect("CONTROL_REPLY").text("payload") == b'"made"'
    clerk.close()


@pytest.mark.parametrize("payload", [b"", b"\xff", b"{", b"[" * 100000, b'"' + b"x" * 1000000, None])
def test_reply_that_is_no_json(world, payload):
    """The administrator is told that the daemon's answer is malformed."""
    clerk = world.router.aldisctl()
    clerk.send(Frame("CONTROL", number=9, text="user\nadd\nnurse@localhost\nsecret"))
    asked = world.authd.expect("CONTROL")
    world.authd.send(Frame("CONTROL_REPLY", number=asked.number, payload=payload))
    assert clerk.expect("CONTROL_REPLY").text("condition") is not None
    clerk.close()


def test_forged_carbon(world, mucd, victims):
    """A service cannot have c2sd write a copy in an account's name (XEP-0280)."""
    juliet, romeo = victims
    for sender in (ROOMS, romeo.bare):  # the third would be without a line
        mucd.send(Frame("STANZA", "MESSAGE", "CHAT", to=romeo.jid, flags="CONTENT BODY CARBON", number=7,
                        payload="<body>x</body>", **{"from": sender}))
        world.refused("frame refused peer=mucd .*type=STANZA reason=\"(flags|not its address)\"")
